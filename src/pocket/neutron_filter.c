/* Lists of Neutron: filters, order, fields. */
#include "pocket/neutron.h"

static const char *const reserved[] = {"fields",   "limit",        "marker", "page_reverse",
                                       "sort_key", "sort_dir",     "tags",   "tags-any",
                                       "not-tags", "not-tags-any", NULL};
static const char *const common[] = {"id",        "name",       "description",     "project_id",
                                     "tenant_id", "created_at", "revision_number", "updated_at",
                                     "status",    NULL};

static bool in_list(const char *const *list, const char *name)
{
    for (size_t i = 0; list && list[i]; i++)
        if (streq(list[i], name))
            return true;
    return false;
}

/* How often a name is in the query. */
static size_t query_count(const PocketCall *c, const char *name)
{
    const json_t *q = json_object_get(c->query, name);
    return json_is_array(q) ? json_array_size(q) : q ? 1 : 0;
}

static bool limit_valid(const PocketCall *c, PocketReply *r)
{
    const char *limit = pocket_query(c, "limit");
    int64_t n;
    if (!limit || parse_int(limit, 0, INT32_MAX, &n))
        return true;
    neutron_fail(r, 400, "BadRequest",
                 "Bad limit request: Limit must be an integer 0 or greater and not '%s'.", limit);
    return false;
}

bool neutron_query_check(const NeutronKind *k, const PocketCall *c, PocketReply *r)
{
    const char *name;
    json_t *value;
    json_object_foreach (c->query, name, value) {
        bool known = in_list(reserved, name) || in_list(common, name) || in_list(k->filters, name);
        for (const NeutronAttr *a = k->attrs; a->name && !known; a++)
            known = streq(a->name, name);
        if (!known) {
            neutron_fail(r, 400, "HTTPBadRequest", "['%s'] is invalid attribute for filtering",
                         name);
            return false;
        }
    }
    if (query_count(c, "sort_key") != query_count(c, "sort_dir")) {
        neutron_fail(r, 400, "HTTPBadRequest",
                     "The number of sort_keys and sort_dirs must be same");
        return false;
    }
    return limit_valid(c, r);
}

/* `list` is "a,b,c". any: one of them is among the tags; else all are. */
static bool tags_match(const json_t *tags, const char *list, bool any)
{
    Str rest = str_of(list), part;
    while (str_next(&rest, ',', &part)) {
        bool has = false;
        size_t i;
        json_t *tag;
        json_array_foreach (tags, i, tag) {
            has = has || str_eq(str_of(json_string_value(tag)), part);
        }
        if (has == any)
            return any;
    }
    return !any;
}

static bool tag_filters(const PocketCall *c, const json_t *tags)
{
    static const struct {
        const char *name;
        bool any, want;
    } filters[] = {{"tags", false, true},
                   {"tags-any", true, true},
                   {"not-tags", false, false},
                   {"not-tags-any", true, false}};
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        const char *list = pocket_query(c, filters[i].name);
        if (list && tags_match(tags, list, filters[i].any) != filters[i].want)
            return false;
    }
    return true;
}

/* fixed_ips=ip_address=10.0.0.3, fixed_ips=subnet_id=...: all that are asked for must be there. */
static bool fixed_ips_match(const json_t *fixed, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return false;
    _cleanup_free_ char *key = xstrndup(text, (size_t)(equals - text));
    size_t i;
    json_t *item;
    json_array_foreach (fixed, i, item) {
        if (streq(json_str(item, key), equals + 1))
            return true;
    }
    return false;
}

static bool fixed_ips_filter(const json_t *query, const json_t *fixed)
{
    if (json_is_string(query))
        return fixed_ips_match(fixed, json_string_value(query));
    size_t i;
    json_t *item;
    json_array_foreach (query, i, item) {
        if (!fixed_ips_match(fixed, json_string_value(item)))
            return false;
    }
    return true;
}

bool neutron_query_matches(const PocketCall *c, const json_t *view)
{
    if (!tag_filters(c, json_object_get(view, "tags")))
        return false;
    const char *name;
    json_t *value;
    json_object_foreach (c->query, name, value) {
        if (in_list(reserved, name))
            continue;
        const json_t *mine = json_object_get(view, name);
        if (streq(name, "fixed_ips") ? !fixed_ips_filter(value, mine) : !row_query(c, name, mine))
            return false;
    }
    return true;
}

static int compare_values(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) < json_integer_value(b)   ? -1
               : json_integer_value(a) > json_integer_value(b) ? 1
                                                               : 0;
    if (json_is_boolean(a) && json_is_boolean(b))
        return (int)json_is_true(a) - (int)json_is_true(b);
    const char *x = json_string_value(a), *y = json_string_value(b);
    return strcmp(x ? x : "", y ? y : "");
}

/* The i-th value of a name in the query, or NULL. */
static const char *nth(const PocketCall *c, const char *name, size_t i)
{
    const json_t *q = json_object_get(c->query, name);
    if (json_is_array(q))
        return json_string_value(json_array_get(q, i));
    return i == 0 ? json_string_value(q) : NULL;
}

static int compare_rows(const PocketCall *c, const json_t *a, const json_t *b)
{
    const char *key;
    for (size_t i = 0; (key = nth(c, "sort_key", i)); i++) {
        int order = compare_values(json_object_get(a, key), json_object_get(b, key));
        if (order != 0)
            return streq(nth(c, "sort_dir", i), "desc") ? -order : order;
    }
    return 0;
}

/* By insertion: lists are short, and equal rows stay in order of creation. */
void neutron_sort(const PocketCall *c, json_t *views)
{
    if (!pocket_query(c, "sort_key"))
        return;
    for (size_t i = 1; i < json_array_size(views); i++) {
        _cleanup_json_ json_t *row = json_incref(json_array_get(views, i));
        size_t at = i;
        while (at > 0 && compare_rows(c, row, json_array_get(views, at - 1)) < 0)
            at--;
        json_array_remove(views, i);
        json_array_insert(views, at, row);
    }
}

static bool field_wanted(const json_t *fields, const char *name)
{
    if (json_is_string(fields))
        return streq(json_string_value(fields), name);
    size_t i;
    json_t *item;
    json_array_foreach (fields, i, item) {
        if (streq(json_string_value(item), name))
            return true;
    }
    return false;
}

void neutron_fields(const PocketCall *c, json_t *view)
{
    const json_t *fields = json_object_get(c->query, "fields");
    if (!fields)
        return;
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(view, next, name, value)
    {
        if (!field_wanted(fields, name))
            json_object_del(view, name);
    }
}
