/* Cinder: its routes, version documents, types and quotas. */
#include "pocket/cinder.h"
#include "pocket/server.h"

#define MINOR_TEXT_(n) #n
#define MINOR_TEXT(n) MINOR_TEXT_(n)

static const struct {
    const char *id, *name;
} types[] = {
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f001", "__DEFAULT__"},
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f002", "file"},
    {"5f1b4a36-9d2c-4a7e-8a35-0c6d7be1f003", "b1.sr-r3-nvme-1000"},
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
    return json_make_new("{s:s, s:s, s:n, s:b, s:b, s:{}, s:n}", "id", types[i].id, "name",
                         types[i].name, "description", "is_public", 1,
                         "os-volume-type-access:is_public", 1, "extra_specs", "qos_specs_id");
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
        json_array_append_new(rows, type_view_new(i));
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
    r->json = json_make_new("{s:o}", "volume_type", type);
}

/* ---- quotas */

/* A volume that is being deleted counts until it is gone. */
static int64_t sum(Pocket *p, const char *project, bool sizes)
{
    _cleanup_json_ json_t *rows = store_list_new(p->store, CINDER_VOLUME, project);
    int64_t n = 0;
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (!cinder_volume_gone(row))
            n += sizes ? json_int(row, "size", 0) : 1;
    }
    return n;
}

static int64_t used_volumes(Pocket *p, const char *project)
{
    return sum(p, project, false);
}

static int64_t used_gigabytes(Pocket *p, const char *project)
{
    return sum(p, project, true);
}

static const Quota quotas[] = {
    {"volumes", 20, used_volumes}, {"gigabytes", 1000, used_gigabytes},
    {"snapshots", 10, NULL},       {"per_volume_gigabytes", -1, NULL},
    {"backups", 10, NULL},         {"backup_gigabytes", 1000, NULL},
    {"groups", 10, NULL},          {0},
};
const QuotaSet cinder_quotas = {"cinder_quota", quotas};

static bool quota_allowed(const PocketCall *c, const char *project, PocketReply *r)
{
    if (!cinder_path_ok(c, r))
        return false;
    if (row_admin(c) || streq(project, c->user->project_id))
        return true;
    cinder_fail(r, 403, "Policy doesn't allow volume_extension:quotas:show to be performed.");
    return false;
}

static void quota_answer(Pocket *p, const PocketCall *c, PocketReply *r, QuotaView view)
{
    const char *project = cinder_arg(c, 0);
    if (!quota_allowed(c, project, r))
        return;
    json_t *set = quota_view_new(p, &cinder_quotas, project, view, "in_use");
    row_text(set, "id", project);
    r->status = 200;
    r->json = json_make_new("{s:o}", "quota_set", set);
}

static void quota_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *usage = pocket_query(c, "usage");
    quota_answer(p, c, r, usage && strcasecmp(usage, "true") == 0 ? QUOTA_DETAILS : QUOTA_LIMITS);
}

static void quota_defaults(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_DEFAULTS);
}

static void quota_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *in = json_object_get(c->body, "quota_set");
    if (json_is_object(in) && quota_change(p, &cinder_quotas, cinder_arg(c, 0), in))
        quota_answer(p, c, r, QUOTA_LIMITS);
    else
        cinder_fail(r, 400, "Bad key(s) in quota set");
}

static void quota_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_reset(p, &cinder_quotas, cinder_arg(c, 0));
    r->status = 200;
}

static void limits(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!cinder_path_ok(c, r))
        return;
    const char *project = c->user->project_id;
    r->status = 200;
    r->json = json_make_new(
        "{s:{s:[], s:{s:I, s:I, s:I, s:I, s:I, s:i}}}", "limits", "rate", "absolute",
        "maxTotalVolumes", (json_int_t)quota_limit(p, &cinder_quotas, project, "volumes"),
        "maxTotalVolumeGigabytes", (json_int_t)quota_limit(p, &cinder_quotas, project, "gigabytes"),
        "maxTotalSnapshots", (json_int_t)quota_limit(p, &cinder_quotas, project, "snapshots"),
        "totalVolumesUsed", (json_int_t)used_volumes(p, project), "totalGigabytesUsed",
        (json_int_t)used_gigabytes(p, project), "totalSnapshotsUsed", 0);
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
    {"GET", "/v3", NEED_NOTHING, versions_v3},
    {"GET", "/v3/", NEED_NOTHING, versions_v3},
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
    ROUTE("DELETE", "volumes/{id}/metadata/{key}", NEED_MEMBER, cinder_metadata_delete),
    ROUTE("GET", "snapshots", NEED_PROJECT, snapshot_list),
    ROUTE("GET", "snapshots/detail", NEED_PROJECT, snapshot_list),
    ROUTE("POST", "snapshots", NEED_MEMBER, snapshot_create),
    ROUTE("GET", "types", NEED_PROJECT, type_list),
    ROUTE("GET", "types/{id}", NEED_PROJECT, type_show),
    ROUTE("GET", "limits", NEED_PROJECT, limits),
    ROUTE("GET", "os-availability-zone", NEED_PROJECT, zones),
    ROUTE("GET", "os-quota-sets/{of}", NEED_PROJECT, quota_show),
    ROUTE("GET", "os-quota-sets/{of}/defaults", NEED_PROJECT, quota_defaults),
    ROUTE("PUT", "os-quota-sets/{of}", NEED_ADMIN, quota_put),
    ROUTE("DELETE", "os-quota-sets/{of}", NEED_ADMIN, quota_delete),
    {0},
};
