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

static int row_compare(const json_t *a, const json_t *b, const char *key)
{
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    if (json_is_integer(x) && json_is_integer(y))
        return (json_integer_value(x) > json_integer_value(y)) -
               (json_integer_value(x) < json_integer_value(y));
    return strcmp(row_get(a, key), row_get(b, key));
}

/* By insertion: lists are short. */
void row_sort(json_t *rows, const char *key, bool down)
{
    for (size_t i = 1; i < json_array_size(rows); i++) {
        _cleanup_json_ json_t *row = json_incref(json_array_get(rows, i));
        size_t at = i;
        while (at > 0) {
            int order = row_compare(row, json_array_get(rows, at - 1), key);
            if (down ? order <= 0 : order >= 0)
                break;
            at--;
        }
        json_array_remove(rows, i);
        json_array_insert(rows, at, row);
    }
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

/* Clients send their own flags along. */
static bool quota_flag(const char *name)
{
    return streq(name, "force") || streq(name, "tenant_id");
}

const char *quota_unknown(const QuotaSet *set, json_t *limits)
{
    const char *name;
    json_t *value;
    json_object_foreach (limits, name, value) {
        if (!quota_flag(name) && !quota_find(set, name))
            return name;
    }
    return NULL;
}

/* A limit as a number or digits; false: it is neither, or below -1. */
static bool quota_number(const json_t *value, int64_t *ret)
{
    *ret = json_integer_value(value);
    return json_is_string(value) ? parse_int(json_string_value(value), -1, INT64_MAX, ret)
                                 : json_is_integer(value) && *ret >= -1;
}

const char *quota_overdrawn(Pocket *p, const QuotaSet *set, const char *project, json_t *limits,
                            int64_t *ret_limit)
{
    const char *name;
    json_t *value;
    json_object_foreach (limits, name, value) {
        if (!quota_flag(name) && quota_find(set, name) && quota_number(value, ret_limit) &&
            *ret_limit >= 0 && *ret_limit < quota_used(p, set, project, name))
            return name;
    }
    return NULL;
}

bool quota_change(Pocket *p, const QuotaSet *set, const char *project, json_t *limits)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, set->kind, project);
    if (!row)
        row = json_make_new("{s:s}", "id", project);
    const char *name;
    json_t *value;
    json_object_foreach (limits, name, value) {
        if (quota_flag(name))
            continue;
        int64_t n;
        if (!quota_number(value, &n) || !quota_find(set, name))
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
