#include "pocket/rows.h"
#include <inttypes.h>

bool row_admin(const PocketCall *c)
{
    return c->user && pocket_has_role(c->user, "admin");
}

bool row_own(const PocketCall *c, const json_t *row)
{
    const char *project = json_str(row, "project_id");
    return row_admin(c) || (project && c->user && streq(project, c->user->project_id));
}

void row_text(json_t *row, const char *key, const char *value)
{
    json_object_set_new(row, key, value ? json_string(value) : json_null());
}

const char *row_get(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s ? s : "";
}

/* As oslo.utils' bool_from_string. */
static bool truth(const char *text)
{
    static const char *const yes[] = {"true", "1", "t", "on", "y", "yes"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (strcasecmp(text, yes[i]) == 0)
            return true;
    return false;
}

bool row_matches(const json_t *value, const char *text)
{
    if (!value || json_is_null(value))
        return *text == 0;
    if (json_is_string(value))
        return streq(json_string_value(value), text);
    if (json_is_boolean(value))
        return json_is_true(value) == truth(text);
    int64_t n;
    if (json_is_integer(value))
        return parse_int(text, INT64_MIN, INT64_MAX, &n) && n == json_integer_value(value);
    size_t i;
    json_t *item;
    json_array_foreach (value, i, item) {
        if (row_matches(item, text))
            return true;
    }
    return false;
}

bool row_query(const PocketCall *c, const char *name, const json_t *value)
{
    const json_t *q = json_object_get(c->query, name);
    if (!q)
        return true;
    if (json_is_string(q))
        return row_matches(value, json_string_value(q));
    size_t i;
    json_t *item;
    json_array_foreach (q, i, item) {
        if (row_matches(value, json_string_value(item)))
            return true;
    }
    return false;
}

void row_unsettle(const Pocket *p, json_t *row)
{
    json_object_set_new(row, "_left", json_integer(p->settle_lists));
}

bool row_settling(const json_t *row)
{
    return json_object_get(row, "_left") != NULL;
}

bool row_settle(json_t *row)
{
    if (!row_settling(row))
        return false;
    int64_t left = json_int(row, "_left", 0);
    if (left > 0) {
        json_object_set_new(row, "_left", json_integer(left - 1));
        return false;
    }
    json_object_del(row, "_left");
    return true;
}

json_t *row_public_new(const json_t *row)
{
    json_t *copy = json_deep_copy(row);
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(copy, next, key, value)
    {
        if (*key == '_')
            json_object_del(copy, key);
    }
    return copy;
}

static const Quota *quota_find(const QuotaSet *set, const char *name)
{
    for (const Quota *q = set->rows; q->name; q++)
        if (streq(q->name, name))
            return q;
    return NULL;
}

int64_t quota_limit(Pocket *p, const QuotaSet *set, const char *project, const char *name)
{
    const Quota *q = quota_find(set, name);
    BUG_IF(!q);
    _cleanup_json_ json_t *changed = store_get_new(p->store, set->kind, project);
    const json_t *limit = json_object_get(changed, name);
    return limit ? json_integer_value(limit) : q->limit;
}

int64_t quota_used(Pocket *p, const QuotaSet *set, const char *project, const char *name)
{
    const Quota *q = quota_find(set, name);
    BUG_IF(!q);
    return q->used ? q->used(p, project) : 0;
}

bool quota_allows(Pocket *p, const QuotaSet *set, const char *project, const char *name,
                  int64_t more)
{
    int64_t limit = quota_limit(p, set, project, name);
    return limit < 0 || quota_used(p, set, project, name) + more <= limit;
}

json_t *quota_view_new(Pocket *p, const QuotaSet *set, const char *project, QuotaView view,
                       const char *used_word)
{
    json_t *out = json_object();
    for (const Quota *q = set->rows; q->name; q++) {
        int64_t limit = view == QUOTA_DEFAULTS ? q->limit : quota_limit(p, set, project, q->name);
        json_t *value = json_integer(limit);
        if (view == QUOTA_DETAILS)
            value = json_make_new("{s:o, s:I, s:i}", "limit", value, used_word,
                                  (json_int_t)(q->used ? q->used(p, project) : 0), "reserved", 0);
        json_object_set_new(out, q->name, value);
    }
    return out;
}

bool quota_change(Pocket *p, const QuotaSet *set, const char *project, json_t *limits)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, set->kind, project);
    if (!row)
        row = json_make_new("{s:s}", "id", project);
    const char *name;
    json_t *value;
    json_object_foreach (limits, name, value) {
        /* Clients send their own flags along. */
        if (streq(name, "force") || streq(name, "tenant_id"))
            continue;
        int64_t n = json_integer_value(value);
        bool number = json_is_string(value) ? parse_int(json_string_value(value), -1, INT64_MAX, &n)
                                            : json_is_integer(value);
        if (!number || n < -1 || !quota_find(set, name))
            return false;
        json_object_set_new(row, name, json_integer(n));
    }
    store_put(p->store, set->kind, project, NULL, row);
    return true;
}

void quota_reset(Pocket *p, const QuotaSet *set, const char *project)
{
    (void)store_delete(p->store, set->kind, project);
}
