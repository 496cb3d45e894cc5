/* Cinder: its routes, version documents, types and quotas. */
#include "pocket/cinder.h"
#include "pocket/server.h"

#define MINOR_TEXT_(n) #n
#define MINOR_TEXT(n) MINOR_TEXT_(n)

/* The first is the default. Volumes of all types are folders; a type on another backend can be
 * reached by a migration only. */
static const struct {
    const char *id, *name, *backend;
} types[] = {
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f001", "__DEFAULT__", "pocket"},
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f002", "file", "pocket"},
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f003", "b1.sr-r3-nvme-1000", "pocket-far"},
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f004", "pocket", "pocket"},
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f005", "pocket-ssd", "pocket"},
};

static bool has_project(const PocketCall *c)
{
    /* The first argument stands right behind the version. */
    return c->args.len > 0 && starts_with(c->path, "/v3/") &&
           starts_with(c->path + 4, c->args.items[0]) &&
           c->path[4 + strlen(c->args.items[0])] == '/';
}

const char *cinder_arg(const PocketCall *c, size_t n)
{
    size_t at = n + (has_project(c) ? 1 : 0);
    return at < c->args.len ? c->args.items[at] : NULL;
}

bool cinder_path_ok(const PocketCall *c, PocketReply *r)
{
    if (!has_project(c) || streq(c->args.items[0], c->user->project_id) || row_admin(c))
        return true;
    cinder_fail(r, 400, "Malformed request url");
    return false;
}

/* ---- types */

static json_t *type_view_new(size_t i)
{
    return json_make_new("{s:s, s:s, s:n, s:b, s:b, s:{}}", "id", types[i].id, "name",
                         types[i].name, "description", "is_public", 1,
                         "os-volume-type-access:is_public", 1, "extra_specs");
}

/* Admin sees more. */
static json_t *type_answer_new(const PocketCall *c, json_t *view)
{
    if (row_admin(c)) {
        const char *backend = cinder_type_backend(row_get(view, "name"));
        json_object_set_new(view, "qos_specs_id", json_null());
        json_object_set_new(view, "extra_specs",
                            json_make_new("{s:s}", "volume_backend_name", backend));
    }
    return view;
}

const char *cinder_type_backend(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (streq(name, types[i].name))
            return types[i].backend;
    return NULL;
}

json_t *cinder_type_new(const char *id_or_name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (!id_or_name || streq(id_or_name, types[i].id) || streq(id_or_name, types[i].name))
            return type_view_new(i);
    return NULL;
}

static void type_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!cinder_path_ok(c, r))
        return;
    json_t *rows = json_array();
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        json_array_append_new(rows, type_answer_new(c, type_view_new(i)));
    pocket_page(p, POCKET_CINDER, c, r, "volume_types", rows);
}

static void type_show(_unused_ Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *id = cinder_arg(c, 0);
    if (!cinder_path_ok(c, r))
        return;
    json_t *type = cinder_type_new(streq(id, "default") ? NULL : id);
    if (!type) {
        cinder_fail(r, 404, "Volume type %s could not be found.", id);
        return;
    }
    r->status = 200;
    r->json = json_make_new("{s:o}", "volume_type", type_answer_new(c, type));
}

static void type_create(_unused_ Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (cinder_path_ok(c, r))
        cinder_fail(r, 501, "The types of the pocket cloud are fixed");
}

/* ---- documents and what is always empty */

static json_t *version_doc_new(Pocket *p)
{
    _cleanup_free_ char *url = pocket_url(p, POCKET_CINDER);
    _cleanup_free_ char *href = xasprintf("%s/v3/", url);
    return json_make_new(
        "{s:[{s:s, s:s, s:s, s:s, s:s, s:[{s:s, s:s}], s:[{s:s, s:s}]}]}", "versions", "id", "v3.0",
        "status", "CURRENT", "version", "3." MINOR_TEXT(POCKET_VOLUME_MINOR), "min_version", "3.0",
        "updated", "2022-08-31T00:00:00Z", "links", "rel", "self", "href", href, "media-types",
        "base", "application/json", "type", "application/vnd.openstack.volume+json;version=3");
}

static void versions_root(Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    r->status = 300;
    r->json = version_doc_new(p);
}

static void versions_v3(Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    r->status = 200;
    r->json = version_doc_new(p);
}

/* The pocket cloud makes no snapshots: a volume is a folder that programs write to. */
static void snapshot_list(_unused_ Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!cinder_path_ok(c, r))
        return;
    r->status = 200;
    r->json = json_make_new("{s:[]}", "snapshots");
}

static void snapshot_create(_unused_ Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (cinder_path_ok(c, r))
        cinder_fail(r, 501, "The pocket cloud makes no snapshots");
}

static void zones(_unused_ Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!cinder_path_ok(c, r))
        return;
    r->status = 200;
    r->json = json_make_new("{s:[{s:s, s:{s:b}}]}", "availabilityZoneInfo", "zoneName", "nova",
                            "zoneState", "available", 1);
}

void cinder_start(Pocket *p, _unused_ bool fresh)
{
    server_sweep(p, "volumes", CINDER_VOLUME);
}

/* ---- routes */

#define ROUTE(method, path, need, handler)                                                         \
    {method, "/v3/" path, need, handler},                                                          \
    {                                                                                              \
        method, "/v3/{project}/" path, need, handler                                               \
    }

const PocketRoute cinder_routes[] = {
    {"GET", "/", NEED_NOTHING, versions_root},
    {"GET", "/v3", NEED_TOKEN, versions_v3},
    {"GET", "/v3/", NEED_TOKEN, versions_v3},
    ROUTE("GET", "volumes", NEED_PROJECT, cinder_volume_list),
    ROUTE("POST", "volumes", NEED_MEMBER, cinder_volume_create),
    ROUTE("GET", "volumes/detail", NEED_PROJECT, cinder_volume_detail),
    ROUTE("GET", "volumes/{id}", NEED_PROJECT, cinder_volume_show),
    ROUTE("PUT", "volumes/{id}", NEED_MEMBER, cinder_volume_update),
    ROUTE("DELETE", "volumes/{id}", NEED_MEMBER, cinder_volume_delete),
    ROUTE("POST", "volumes/{id}/action", NEED_MEMBER, cinder_volume_action),
    ROUTE("GET", "volumes/{id}/metadata", NEED_PROJECT, cinder_metadata_get),
    ROUTE("POST", "volumes/{id}/metadata", NEED_MEMBER, cinder_metadata_post),
    ROUTE("PUT", "volumes/{id}/metadata", NEED_MEMBER, cinder_metadata_put),
    ROUTE("GET", "volumes/{id}/metadata/{key}", NEED_PROJECT, cinder_metadata_key_get),
    ROUTE("PUT", "volumes/{id}/metadata/{key}", NEED_MEMBER, cinder_metadata_key_put),
    ROUTE("DELETE", "volumes/{id}/metadata/{key}", NEED_MEMBER, cinder_metadata_delete),
    ROUTE("GET", "snapshots", NEED_PROJECT, snapshot_list),
    ROUTE("GET", "snapshots/detail", NEED_PROJECT, snapshot_list),
    ROUTE("POST", "snapshots", NEED_MEMBER, snapshot_create),
    ROUTE("GET", "types", NEED_PROJECT, type_list),
    ROUTE("POST", "types", NEED_ADMIN, type_create),
    ROUTE("GET", "types/{id}", NEED_PROJECT, type_show),
    ROUTE("GET", "limits", NEED_PROJECT, cinder_limits),
    ROUTE("GET", "os-availability-zone", NEED_PROJECT, zones),
    ROUTE("GET", "os-quota-sets/{of}", NEED_PROJECT, cinder_quota_show),
    ROUTE("GET", "os-quota-sets/{of}/defaults", NEED_PROJECT, cinder_quota_defaults),
    ROUTE("PUT", "os-quota-sets/{of}", NEED_ADMIN, cinder_quota_put),
    ROUTE("DELETE", "os-quota-sets/{of}", NEED_ADMIN, cinder_quota_delete),
    {0},
};
