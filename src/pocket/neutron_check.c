/* Attributes of a body against the kind's table, with Neutron's words. */
#include "pocket/neutron.h"
#include <ctype.h>
#include <inttypes.h>

#define TEXT_MAX 255

bool neutron_is_uuid(const char *s)
{
    if (!s || strlen(s) != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
            return false;
    }
    return true;
}

static const NeutronAttr *find(const NeutronKind *k, const char *name)
{
    for (const NeutronAttr *a = k->attrs; a->name; a++)
        if (streq(a->name, name))
            return a;
    return NULL;
}

static bool invalid(PocketReply *r, const NeutronAttr *a, const json_t *value, const char *what)
{
    _cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    neutron_fail(r, 400, "HTTPBadRequest", "Invalid input for %s. Reason: %s is not %s.", a->name,
                 text ? text : "value", what);
    return false;
}

/* As oslo's convert_to_boolean. NULL when it is none. */
static json_t *bool_new(const json_t *v)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {{"true", true}, {"false", false}, {"1", true}, {"0", false}};
    if (json_is_boolean(v))
        return json_boolean(json_is_true(v));
    if (json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 1))
        return json_boolean(json_integer_value(v) == 1);
    const char *s = json_string_value(v);
    for (size_t i = 0; s && i < ARRAY_LEN(words); i++)
        if (strcasecmp(words[i].text, s) == 0)
            return json_boolean(words[i].value);
    return NULL;
}

static json_t *int_new(const json_t *v)
{
    int64_t n;
    if (json_is_integer(v))
        return json_integer(json_integer_value(v));
    if (json_is_string(v) && parse_int(json_string_value(v), INT64_MIN, INT64_MAX, &n))
        return json_integer(n);
    return NULL;
}

/* The value in its proper type, or NULL with a filled reply. */
static json_t *convert_new(const NeutronAttr *a, json_t *v, PocketReply *r)
{
    static const char *const what[] = {
        [ATTR_TEXT] = "a valid string", [ATTR_ID] = "a valid UUID", [ATTR_BOOL] = "a boolean",
        [ATTR_INT] = "an integer",      [ATTR_LIST] = "a list",     [ATTR_OBJECT] = "a dictionary",
        [ATTR_ANY] = "a value"};
    const char *s = json_string_value(v);
    json_t *out = NULL;
    if (json_is_null(v) && (a->flags & OR_NULL))
        return json_null();
    switch (a->type) {
    case ATTR_TEXT:
        out = s && strlen(s) <= TEXT_MAX ? json_incref(v) : NULL;
        break;
    case ATTR_ID:
        out = neutron_is_uuid(s) || (s && !*s && (a->flags & OR_EMPTY)) ? json_incref(v) : NULL;
        break;
    case ATTR_BOOL:
        out = bool_new(v);
        break;
    case ATTR_INT:
        out = int_new(v);
        break;
    case ATTR_LIST:
        out = json_is_array(v) ? json_deep_copy(v) : NULL;
        break;
    case ATTR_OBJECT:
        out = json_is_object(v) ? json_deep_copy(v) : NULL;
        break;
    case ATTR_ANY:
        out = json_deep_copy(v);
        break;
    }
    if (!out)
        (void)invalid(r, a, v, what[a->type]);
    return out;
}

static bool is_default(const NeutronAttr *a, const json_t *value)
{
    if (!a->def)
        return false;
    _cleanup_json_ json_t *def = json_loads(a->def, JSON_DECODE_ANY, NULL);
    return json_equal(def, value);
}

static bool set_one(const NeutronKind *k, const PocketCall *c, const char *name, json_t *value,
                    unsigned flag, json_t *row, PocketReply *r)
{
    /* Handled by neutron_row_new. */
    if (streq(name, "project_id") || streq(name, "tenant_id"))
        return true;
    const NeutronAttr *a = find(k, name);
    if (!a && !json_object_get(row, name)) {
        neutron_fail(r, 400, "HTTPBadRequest", "Unrecognized attribute(s) '%s'", name);
        return false;
    }
    if (!a || !(a->flags & flag)) {
        if (flag == ON_POST)
            neutron_fail(r, 400, "HTTPBadRequest", "Attribute '%s' not allowed in POST", name);
        else
            neutron_fail(r, 400, "HTTPBadRequest", "Cannot update read-only attribute %s", name);
        return false;
    }
    json_t *converted = convert_new(a, value, r);
    if (!converted)
        return false;
    if ((a->flags & BY_ADMIN) && c && !row_admin(c) && !is_default(a, converted)) {
        json_decref(converted);
        neutron_fail(r, 403, "PolicyNotAuthorized", "(rule:%s_%s:%s) is disallowed by policy",
                     flag == ON_POST ? "create" : "update", k->name, name);
        return false;
    }
    json_object_set_new(row, name, converted);
    return true;
}

bool neutron_check(const NeutronKind *k, const PocketCall *c, json_t *in, unsigned flag,
                   json_t *row, PocketReply *r)
{
    const char *name;
    json_t *value;
    json_object_foreach (in, name, value) {
        if (!set_one(k, c, name, value, flag, row, r))
            return false;
    }
    if (flag != ON_POST)
        return true;
    for (const NeutronAttr *a = k->attrs; a->name; a++) {
        if (json_object_get(row, a->name))
            continue;
        if (a->flags & NEEDED) {
            neutron_fail(r, 400, "HTTPBadRequest",
                         "Failed to parse request. Required attribute '%s' not specified", a->name);
            return false;
        }
        if (a->def)
            json_object_set_new(row, a->name, json_loads(a->def, JSON_DECODE_ANY, NULL));
    }
    return true;
}
