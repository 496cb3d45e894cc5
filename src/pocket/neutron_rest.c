/* The calls that all kinds have: list, show, create (one or many), update, delete, tags. */
#include "pocket/neutron.h"
#include <inttypes.h>

static const NeutronKind *kind_of(const PocketCall *c)
{
    /* "/v2.0/<collection>/..." */
    Str rest = str_of(c->path), part;
    for (int i = 0; i < 3; i++)
        if (!str_next(&rest, '/', &part))
            break;
    for (const NeutronKind *const *k = neutron_kinds; *k; k++)
        if (str_eq(part, str_of((*k)->path)))
            return *k;
    util_bug(__FILE__, __LINE__, "a route without a kind");
}

void neutron_put(Pocket *p, const NeutronKind *k, const json_t *row)
{
    store_put(p->store, k->name, row_get(row, "project_id"), row_get(row, "name"), row);
}

void neutron_bump(Pocket *p, const NeutronKind *k, json_t *row)
{
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_NEUTRON);
    json_object_set_new(row, "revision_number",
                        json_integer(json_int(row, "revision_number", 0) + 1));
    row_text(row, "updated_at", now);
    neutron_put(p, k, row);
}

void neutron_bump_id(Pocket *p, const NeutronKind *k, const char *id)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, k->name, id);
    if (row)
        neutron_bump(p, k, row);
}

json_t *neutron_view_new(Pocket *p, const NeutronKind *k, const json_t *row)
{
    json_t *view = row_public_new(row);
    if (k->view)
        k->view(p, view);
    return view;
}

bool neutron_visible(Pocket *p, const PocketCall *c, const NeutronKind *k, const json_t *row)
{
    return row_own(c, row) || (k->shared && k->shared(p, row));
}

json_t *neutron_get_new(Pocket *p, const PocketCall *c, const NeutronKind *k, const char *id,
                        PocketReply *r)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, k->name, id);
    if (row && neutron_visible(p, c, k, row))
        return TAKE(row);
    neutron_fail(r, 404, k->missing, "%s%s%s", k->missing_before, id, k->missing_after);
    return NULL;
}

/* The row if the caller may also change it. */
static json_t *get_own_new(Pocket *p, const PocketCall *c, const NeutronKind *k, const char *verb,
                           PocketReply *r)
{
    _cleanup_json_ json_t *row = neutron_get_new(p, c, k, c->args.items[0], r);
    if (!row || row_own(c, row))
        return TAKE(row);
    neutron_fail(r, 403, "PolicyNotAuthorized", "(rule:%s_%s) is disallowed by policy", verb,
                 k->name);
    return NULL;
}

bool neutron_if_match(const PocketCall *c, const json_t *row, PocketReply *r)
{
    const char *want = pocket_header(c, "If-Match");
    int64_t number, have = json_int(row, "revision_number", 0);
    /* Another ETag is not Neutron's: it takes no notice. */
    if (!want || !starts_with(want, "revision_number="))
        return true;
    if (!parse_int(want + strlen("revision_number="), 0, INT64_MAX, &number)) {
        neutron_fail(r, 400, "BadRequest",
                     "Bad if-match request: Revision number etag must be in the format of "
                     "revision_number=<int>.");
        return false;
    }
    if (number == have)
        return true;
    neutron_fail(r, 412, "RevisionNumberConstraintFailed",
                 "Constrained to %" PRId64 ", but current revision is %" PRId64, number, have);
    return false;
}

bool neutron_quota_left(Pocket *p, const NeutronKind *k, const char *project, int64_t more,
                        PocketReply *r)
{
    if (quota_allows(p, &neutron_quotas, project, k->name, more))
        return true;
    neutron_fail(r, 409, "OverQuota", "Quota exceeded for resources: ['%s'].", k->name);
    return false;
}

/* Whose the new row is; NULL with a 400 when a plain user names somebody else. Borrowed. */
static const char *owner(const PocketCall *c, const json_t *in, PocketReply *r)
{
    const char *asked = json_str_or(in, "project_id", json_str(in, "tenant_id"));
    const char *own = c ? c->user->project_id : "";
    if (!asked || streq(asked, own) || !c || row_admin(c))
        return asked ? asked : own;
    neutron_fail(r, 400, "HTTPBadRequest",
                 "Specifying 'project_id' or 'tenant_id' other than the authenticated project in "
                 "request requires admin privileges");
    return NULL;
}

json_t *neutron_row_new(Pocket *p, const PocketCall *c, const NeutronKind *k, json_t *in,
                        PocketReply *r)
{
    const char *project = owner(c, in, r);
    if (!project)
        return NULL;
    _cleanup_free_ char *id = pocket_uuid(true), *now = pocket_stamp(p, POCKET_NEUTRON);
    _cleanup_json_ json_t *row = json_object();
    if (!neutron_check(k, c, in, ON_POST, row, r))
        return NULL;
    row_text(row, "id", id);
    row_text(row, "project_id", project);
    row_text(row, "tenant_id", project);
    json_object_set_new(row, "revision_number", json_integer(k->first_revision));
    row_text(row, "created_at", now);
    row_text(row, "updated_at", now);
    if (k->tagged && !json_object_get(row, "tags"))
        json_object_set_new(row, "tags", json_array());
    return TAKE(row);
}

void neutron_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const NeutronKind *k = kind_of(c);
    const char *marker = pocket_query(c, "marker");
    if (!neutron_query_check(k, c, r))
        return;
    if (marker) {
        _cleanup_json_ json_t *row = neutron_get_new(p, c, k, marker, r);
        if (!row)
            return;
    }
    if (k == &kind_group)
        free(neutron_default_group(p, c->user->project_id));
    _cleanup_json_ json_t *rows = store_list_new(p->store, k->name, NULL);
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (!neutron_visible(p, c, k, row))
            continue;
        _cleanup_json_ json_t *view = neutron_view_new(p, k, row);
        if (neutron_query_matches(c, view))
            json_array_append(views, view);
    }
    neutron_sort(c, views);
    pocket_page(p, POCKET_NEUTRON, c, r, k->plural, views);
    json_array_foreach (json_object_get(r->json, k->plural), i, row) {
        neutron_fields(c, row);
    }
}

/* 201 or 200 with {"port": {...}}. */
static void answer(Pocket *p, const NeutronKind *k, const json_t *row, int status, PocketReply *r)
{
    r->status = status;
    r->json = json_make_new("{s:o}", k->name, neutron_view_new(p, k, row));
}

void neutron_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const NeutronKind *k = kind_of(c);
    _cleanup_json_ json_t *row = neutron_get_new(p, c, k, c->args.items[0], r);
    if (!row)
        return;
    answer(p, k, row, 200, r);
    neutron_fields(c, json_object_get(r->json, k->name));
}

/* Makes one row and appends it to `made` as it is answered. */
static bool create_one(Pocket *p, const PocketCall *c, const NeutronKind *k, json_t *in,
                       json_t *made, PocketReply *r)
{
    if (!json_is_object(in)) {
        neutron_fail(r, 400, "HTTPBadRequest", "Unable to find '%s' in request body", k->name);
        return false;
    }
    _cleanup_json_ json_t *row = neutron_row_new(p, c, k, in, r);
    if (!row || !neutron_quota_left(p, k, row_get(row, "project_id"), 1, r) ||
        !k->create(p, c, in, row, r))
        return false;
    neutron_put(p, k, row);
    if (k->created)
        k->created(p, row);
    json_array_append_new(made, neutron_view_new(p, k, row));
    return true;
}

void neutron_create(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const NeutronKind *k = kind_of(c);
    json_t *one = json_object_get(c->body, k->name);
    json_t *many = json_object_get(c->body, k->plural);
    if (!one && !(json_is_array(many) && json_array_size(many) > 0)) {
        neutron_fail(r, 400, "HTTPBadRequest", "Unable to find '%s' in request body", k->name);
        return;
    }
    _cleanup_json_ json_t *bodies = one ? json_make_new("[O]", one) : json_incref(many);
    if (!one && k->bulk && !k->bulk(p, c, bodies, r))
        return;
    _cleanup_json_ json_t *made = json_array();
    size_t i;
    json_t *in;
    json_array_foreach (bodies, i, in) {
        if (!create_one(p, c, k, in, made, r))
            return;
    }
    r->status = 201;
    r->json = one ? json_make_new("{s:O}", k->name, json_array_get(made, 0))
                  : json_make_new("{s:O}", k->plural, made);
    neutron_forward_sync(p);
}

void neutron_update(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const NeutronKind *k = kind_of(c);
    _cleanup_json_ json_t *row = get_own_new(p, c, k, "update", r);
    if (!row)
        return;
    json_t *in = json_object_get(c->body, k->name);
    if (!json_is_object(in)) {
        neutron_fail(r, 400, "HTTPBadRequest", "Unable to find '%s' in request body", k->name);
        return;
    }
    _cleanup_json_ json_t *next = json_deep_copy(row);
    if (!neutron_check(k, c, in, ON_PUT, next, r) || !neutron_if_match(c, row, r) ||
        (k->update && !k->update(p, c, in, row, next, r)))
        return;
    neutron_bump(p, k, next); /* also when nothing changed */
    answer(p, k, next, 200, r);
    neutron_forward_sync(p);
}

void neutron_remove(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const NeutronKind *k = kind_of(c);
    _cleanup_json_ json_t *row = get_own_new(p, c, k, "delete", r);
    if (!row || !neutron_if_match(c, row, r) || (k->remove && !k->remove(p, c, row, r)))
        return;
    (void)store_delete(p->store, k->name, row_get(row, "id"));
    r->status = 204;
    neutron_forward_sync(p);
}

#define TAGS_MAX 50
#define TAG_TEXT_MAX 255

static bool bad_tags(const json_t *value, const char *what, PocketReply *r)
{
    _cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    neutron_fail(r, 400, "InvalidInput", "Invalid input for operation: %s %s.",
                 text ? text : "tags", what);
    return false;
}

/* A comma, which no filter could find, and an empty text are taken. */
static bool tags_valid(const json_t *tags, PocketReply *r)
{
    size_t i;
    json_t *tag;
    if (!json_is_array(tags))
        return bad_tags(tags, "is not a list", r);
    json_array_foreach (tags, i, tag) {
        if (!json_is_string(tag))
            return bad_tags(tag, "is not a valid string", r);
        if (json_string_length(tag) > TAG_TEXT_MAX)
            return bad_tags(tag, "exceeds maximum length of 255", r);
    }
    return json_array_size(tags) <= TAGS_MAX || bad_tags(tags, "has more than 50 items", r);
}

/* A subnet's revision is also its network's. */
static void tags_store(Pocket *p, const NeutronKind *k, json_t *row, json_t *tags)
{
    if (json_equal(json_object_get(row, "tags"), tags))
        return;
    json_object_set(row, "tags", tags);
    neutron_bump(p, k, row);
    if (k == &kind_subnet)
        neutron_bump_id(p, &kind_network, row_get(row, "network_id"));
}

void neutron_tags_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = neutron_get_new(p, c, kind_of(c), c->args.items[0], r);
    if (!row)
        return;
    r->status = 200;
    r->json = json_make_new("{s:O}", "tags", json_object_get(row, "tags"));
}

void neutron_tags_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *tags = json_object_get(c->body, "tags");
    _cleanup_json_ json_t *row = get_own_new(p, c, kind_of(c), "update", r);
    if (!row || !tags_valid(tags, r))
        return;
    tags_store(p, kind_of(c), row, tags);
    r->status = 200;
    r->json = json_make_new("{s:O}", "tags", tags);
}

void neutron_tags_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_own_new(p, c, kind_of(c), "update", r);
    if (!row)
        return;
    _cleanup_json_ json_t *none = json_array();
    tags_store(p, kind_of(c), row, none);
    r->status = 204;
}

/* Where the tag stands, or -1. */
static ssize_t tag_find(const json_t *row, const char *tag)
{
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(row, "tags"), i, item) {
        if (streq(json_string_value(item), tag))
            return (ssize_t)i;
    }
    return -1;
}

static void tag_missing(const char *tag, PocketReply *r)
{
    neutron_fail(r, 404, "TagNotFound", "Tag %s could not be found.", tag);
}

void neutron_tag_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = neutron_get_new(p, c, kind_of(c), c->args.items[0], r);
    if (!row)
        return;
    if (tag_find(row, c->args.items[1]) < 0)
        tag_missing(c->args.items[1], r);
    else
        r->status = 204;
}

void neutron_tag_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *tag = c->args.items[1];
    _cleanup_json_ json_t *row = get_own_new(p, c, kind_of(c), "update", r);
    if (!row)
        return;
    _cleanup_json_ json_t *tags = json_copy(json_object_get(row, "tags"));
    if (tag_find(row, tag) < 0)
        json_array_append_new(tags, json_string(tag));
    if (!tags_valid(tags, r))
        return;
    tags_store(p, kind_of(c), row, tags);
    r->status = 201;
}

void neutron_tag_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_own_new(p, c, kind_of(c), "update", r);
    if (!row)
        return;
    ssize_t at = tag_find(row, c->args.items[1]);
    if (at < 0) {
        tag_missing(c->args.items[1], r);
        return;
    }
    _cleanup_json_ json_t *tags = json_copy(json_object_get(row, "tags"));
    json_array_remove(tags, (size_t)at);
    tags_store(p, kind_of(c), row, tags);
    r->status = 204;
}
