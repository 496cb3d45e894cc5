/* Volumes. The row is what is answered, with "_left" and "_then" while a state settles. A volume's
 * content is the folder DIR/volumes/ID. */
#include "io/file.h"
#include "pocket/cinder.h"
#include <inttypes.h>

void cinder_volume_put(Pocket *p, const json_t *row)
{
    store_put(p->store, CINDER_VOLUME, row_get(row, "project_id"), row_get(row, "name"), row);
}

char *cinder_volume_dir(Pocket *p, const char *volume_id)
{
    return xasprintf("%s/volumes/%s", p->dir, volume_id);
}

void cinder_volume_change(Pocket *p, json_t *row, const char *status, const char *then)
{
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_CINDER);
    row_text(row, "status", status);
    row_text(row, "_then", then);
    row_text(row, "updated_at", now);
    row_unsettle(p, row);
    cinder_volume_put(p, row);
}

static bool deleting(const json_t *row)
{
    return streq(row_get(row, "status"), "deleting");
}

bool cinder_volume_gone(const json_t *row)
{
    return deleting(row) && json_int(row, "_left", 0) <= 0;
}

/* What was on its way is there: another size or type with the final state. */
static void arrive(json_t *row, const char *status)
{
    static const char *const pairs[][2] = {{"_then_size", "size"}, {"_then_type", "volume_type"}};
    row_text(row, "status", status);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        json_t *value = json_object_get(row, pairs[i][0]);
        if (value)
            json_object_set(row, pairs[i][1], value);
        json_object_del(row, pairs[i][0]);
    }
    json_object_del(row, "_left");
    json_object_del(row, "_then");
}

/* Counts a look. False: the volume is gone. */
static bool look(Pocket *p, json_t *row)
{
    bool was_settling = row_settling(row);
    if (row_settle(row)) {
        if (deleting(row)) {
            (void)store_delete(p->store, CINDER_VOLUME, row_get(row, "id"));
            return false;
        }
        arrive(row, row_get(row, "_then"));
    }
    if (was_settling)
        cinder_volume_put(p, row);
    return true;
}

static void missing(PocketReply *r, const char *id)
{
    cinder_fail(r, 404, "Volume %s could not be found.", id);
}

json_t *cinder_volume_get_new(Pocket *p, const PocketCall *c, bool looks, PocketReply *r)
{
    const char *id = cinder_arg(c, 0);
    if (!cinder_path_ok(c, r))
        return NULL;
    _cleanup_json_ json_t *row = store_get_new(p->store, CINDER_VOLUME, id);
    bool there = row && row_own(c, row);
    if (there && (looks ? look(p, row) : !cinder_volume_gone(row)))
        return TAKE(row);
    missing(r, id);
    return NULL;
}

/* ---- views */

static json_t *links_new(Pocket *p, const json_t *row)
{
    _cleanup_free_ char *url = pocket_url(p, POCKET_CINDER);
    const char *id = row_get(row, "id"), *project = row_get(row, "project_id");
    _cleanup_free_ char *self = xasprintf("%s/v3/%s/volumes/%s", url, project, id);
    _cleanup_free_ char *bookmark = xasprintf("%s/%s/volumes/%s", url, project, id);
    return json_make_new("[{s:s, s:s}, {s:s, s:s}]", "rel", "self", "href", self, "rel", "bookmark",
                         "href", bookmark);
}

/* What later microversions added, and what only admin sees. */
static void newer_view(const PocketCall *c, const json_t *row, json_t *view)
{
    _cleanup_json_ json_t *type = cinder_type_new(row_get(row, "volume_type"));
    const struct {
        int since;
        bool admin;
        const char *name;
        json_t *value;
    } parts[] = {{13, false, "group_id", json_null()},
                 {48, false, "shared_targets", json_false()},
                 {48, false, "service_uuid", json_null()},
                 {63, false, "volume_type_id", json_object_get(type, "id")},
                 {65, false, "consumes_quota", json_true()},
                 {21, true, "provider_id", json_null()},
                 {61, true, "cluster_name", json_null()},
                 {0, true, "migration_status", json_null()},
                 {0, true, "os-vol-mig-status-attr:migstat", json_null()},
                 {0, true, "os-vol-mig-status-attr:name_id", json_null()}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (c->microversion >= parts[i].since && (!parts[i].admin || row_admin(c)))
            json_object_set(view, parts[i].name, parts[i].value);
    if (row_admin(c))
        row_text(view, "os-vol-host-attr:host", "pocket");
}

static json_t *view_new(Pocket *p, const PocketCall *c, const json_t *row, bool detail)
{
    json_t *view = detail ? row_public_new(row)
                          : json_make_new("{s:O, s:O}", "id", json_object_get(row, "id"), "name",
                                          json_object_get(row, "name"));
    json_object_set_new(view, "links", links_new(p, row));
    if (!detail)
        return view;
    static const char *const nulls[] = {"snapshot_id", "source_volid", "replication_status",
                                        "consistencygroup_id"};
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
        json_object_set_new(view, nulls[i], json_null());
    json_object_set_new(view, "encrypted", json_false());
    json_object_set_new(view, "multiattach", json_false());
    row_text(view, "os-vol-tenant-attr:tenant_id", row_get(row, "project_id"));
    json_object_del(view, "project_id");
    newer_view(c, row, view);
    return view;
}

static void answer(Pocket *p, const PocketCall *c, const json_t *row, int status, PocketReply *r)
{
    r->status = status;
    r->json = json_make_new("{s:o}", "volume", view_new(p, c, row, true));
}

/* ---- lists */

/* All pairs of `want` are among the row's metadata. */
static bool metadata_has(const json_t *row, json_t *want)
{
    const char *key;
    json_t *value;
    json_object_foreach (want, key, value) {
        if (!json_equal(value, json_object_get(json_object_get(row, "metadata"), key)))
            return false;
    }
    return true;
}

static bool project_matches(const PocketCall *c, const json_t *row)
{
    const char *all = pocket_query(c, "all_tenants");
    bool every = row_admin(c) && all && !streq(all, "0") && strcasecmp(all, "false") != 0;
    if (!every && !streq(row_get(row, "project_id"), c->user->project_id))
        return false;
    return !every || row_query(c, "project_id", json_object_get(row, "project_id"));
}

static bool row_listed(const PocketCall *c, const json_t *row, json_t *metadata)
{
    static const char *const filters[] = {"name", "status", "bootable", "id"};
    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        if (!row_query(c, filters[i], json_object_get(row, filters[i])))
            return false;
    return !metadata || metadata_has(row, metadata);
}

/* Newest first, as Cinder sorts unless it is told otherwise: the first of sort=key:dir,... or
 * sort_key and sort_dir. The rows come oldest first. */
static json_t *sorted_new(const PocketCall *c, const json_t *rows)
{
    const char *sort = pocket_query(c, "sort");
    const char *key = pocket_query(c, "sort_key"), *dir = pocket_query(c, "sort_dir");
    _cleanup_free_ char *spec =
        sort ? xstrdup(sort) : xasprintf("%s:%s", key ? key : "created_at", dir ? dir : "desc");
    spec[strcspn(spec, ",")] = 0;
    char *colon = strchr(spec, ':');
    if (colon)
        *colon++ = 0;
    bool down = !colon || strcasecmp(colon, "asc") != 0;
    json_t *list = json_array();
    for (size_t n = json_array_size(rows), i = 0; i < n; i++)
        json_array_append(list, json_array_get(rows, down ? n - 1 - i : i));
    if (!streq(spec, "created_at"))
        row_sort(list, spec, down);
    return list;
}

/* False: the marker or the offset is none, and the reply is filled. */
static bool page_valid(Pocket *p, const PocketCall *c, int64_t *ret_offset, PocketReply *r)
{
    const char *marker = pocket_query(c, "marker"), *offset = pocket_query(c, "offset");
    _cleanup_json_ json_t *row = marker ? store_get_new(p->store, CINDER_VOLUME, marker) : NULL;
    *ret_offset = 0;
    if (marker && !(row && row_own(c, row))) {
        missing(r, marker);
        return false;
    }
    if (!offset || parse_int(offset, 0, INT32_MAX, ret_offset))
        return true;
    cinder_fail(r, 400, "Invalid input for query parameters offset. Value: %s.", offset);
    return false;
}

static void list(Pocket *p, const PocketCall *c, PocketReply *r, bool detail)
{
    const char *text = pocket_query(c, "metadata");
    _cleanup_json_ json_t *metadata = text ? cinder_dict_new(text) : NULL;
    int64_t offset;
    if (!cinder_path_ok(c, r) || !page_valid(p, c, &offset, r))
        return;
    _cleanup_json_ json_t *all = store_list_new(p->store, CINDER_VOLUME, NULL);
    _cleanup_json_ json_t *rows = sorted_new(c, all);
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        /* A filter that is no Python dict is compared as a text, which nothing is equal to. */
        bool listed = project_matches(c, row) && look(p, row) && !(text && !metadata) &&
                      row_listed(c, row, metadata);
        if (listed && offset-- <= 0)
            json_array_append_new(views, view_new(p, c, row, detail));
    }
    pocket_page(p, POCKET_CINDER, c, r, "volumes", views);
}

void cinder_volume_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    list(p, c, r, false);
}

void cinder_volume_detail(Pocket *p, const PocketCall *c, PocketReply *r)
{
    list(p, c, r, true);
}

void cinder_volume_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, true, r);
    if (row)
        answer(p, c, row, 200, r);
}

/* ---- create */

static bool texts_valid(const json_t *in, PocketReply *r)
{
    static const char *const keys[] = {"name", "description"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *text = json_str(in, keys[i]);
        if (!text || strlen(text) <= 255)
            continue;
        cinder_fail(r, 400, "Invalid input for field/attribute %s. Value: %s. '%s' is too long",
                    keys[i], text, text);
        return false;
    }
    return true;
}

int64_t cinder_size(const json_t *size)
{
    int64_t n = json_integer_value(size);
    if (json_is_string(size) && !parse_int(json_string_value(size), 1, INT32_MAX, &n))
        return 0;
    return n;
}

static bool body_valid(const json_t *in, PocketReply *r)
{
    static const char *const sources[] = {"imageRef", "snapshot_id", "source_volid", "backup_id",
                                          "source_replica"};
    if (!json_is_object(in)) {
        cinder_fail(r, 400, "Missing required element 'volume' in request body.");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        if (json_is_string(json_object_get(in, sources[i]))) {
            cinder_fail(r, 501, "The pocket cloud makes empty volumes only, not from %s",
                        sources[i]);
            return false;
        }
    if (cinder_size(json_object_get(in, "size")) < 1) {
        cinder_fail(r, 400,
                    "Invalid input received: Invalid volume size provided for create "
                    "request (size argument must be an integer and greater than zero).");
        return false;
    }
    const char *zone = json_str(in, "availability_zone");
    if (zone && !streq(zone, "nova")) {
        cinder_fail(r, 400, "Invalid input received: Availability zone '%s' is invalid", zone);
        return false;
    }
    return texts_valid(in, r) && cinder_metadata_valid(json_object_get(in, "metadata"), r);
}

static json_t *row_new(Pocket *p, const PocketCall *c, const json_t *in, const json_t *type)
{
    _cleanup_free_ char *id = pocket_uuid(true), *now = pocket_stamp(p, POCKET_CINDER);
    json_t *row = json_make_new("{s:s, s:s, s:s, s:I, s:[], s:s, s:n, s:s, s:s}", "id", id,
                                "project_id", c->user->project_id, "user_id", c->user->user_id,
                                "size", (json_int_t)cinder_size(json_object_get(in, "size")),
                                "attachments", "created_at", now, "updated_at", "bootable", "false",
                                "availability_zone", json_str_or(in, "availability_zone", "nova"));
    json_t *metadata = json_object_get(in, "metadata");
    json_object_set_new(row, "metadata", metadata ? json_deep_copy(metadata) : json_object());
    json_object_set(row, "volume_type", json_object_get(type, "name"));
    row_text(row, "name", json_str_or(in, "name", ""));
    row_text(row, "description", json_str(in, "description"));
    return row;
}

void cinder_volume_create(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "volume");
    if (!cinder_path_ok(c, r) || !body_valid(in, r))
        return;
    _cleanup_json_ json_t *type = cinder_type_new(json_str(in, "volume_type"));
    if (!type) {
        cinder_fail(r, 404, "Volume type with name %s could not be found.",
                    json_str(in, "volume_type"));
        return;
    }
    const CinderNeed need = {.type = row_get(type, "name"),
                             .volumes = 1,
                             .gigabytes = cinder_size(json_object_get(in, "size")),
                             .total = cinder_size(json_object_get(in, "size"))};
    if (!cinder_quota_left(p, c->user->project_id, &need, r))
        return;
    _cleanup_json_ json_t *row = row_new(p, c, in, type);
    _cleanup_free_ char *dir = cinder_volume_dir(p, row_get(row, "id"));
    _cleanup_(err_clear) Err err = {0};
    /* 0711: the programs of a server run as several users. */
    if (file_mkdirs(dir, 0711, &err) < 0) {
        cinder_fail(r, 500, "%s", err.text);
        return;
    }
    cinder_volume_change(p, row, "creating", "available");
    row_text(row, "updated_at", NULL);
    cinder_volume_put(p, row);
    answer(p, c, row, 202, r);
}

/* ---- change */

void cinder_volume_update(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    json_t *in = json_object_get(c->body, "volume");
    if (!row)
        return;
    if (!json_is_object(in)) {
        cinder_fail(r, 400, "Missing required element 'volume' in request body.");
        return;
    }
    /* The openstack client still sends the names of Cinder v1. */
    static const char *const keys[][2] = {{"display_name", "name"},
                                          {"display_description", "description"},
                                          {"name", "name"},
                                          {"description", "description"},
                                          {"metadata", "metadata"}};
    if (!cinder_metadata_valid(json_object_get(in, "metadata"), r))
        return;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_object_get(in, keys[i][0]))
            json_object_set(row, keys[i][1], json_object_get(in, keys[i][0]));
    cinder_volume_put(p, row);
    answer(p, c, row, 200, r);
}

void cinder_volume_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    if (!row)
        return;
    const char *status = row_get(row, "status");
    if (!streq(status, "available") && !starts_with(status, "error") && !deleting(row)) {
        cinder_fail(r, 400,
                    "Invalid volume: Volume status must be available or error or error_restoring "
                    "or error_extending or error_managing and must not be migrating, attached, "
                    "belong to a group, have snapshots, awaiting a transfer, or be disassociated "
                    "from snapshots after volume transfer.");
        return;
    }
    r->status = 202;
    if (deleting(row))
        return;
    _cleanup_free_ char *dir = cinder_volume_dir(p, row_get(row, "id"));
    _cleanup_(err_clear) Err err = {0};
    if (file_remove_tree(dir, &err) < 0) {
        cinder_volume_change(p, row, "error_deleting", "error_deleting");
        return;
    }
    cinder_volume_change(p, row, "deleting", "deleting");
    if (p->settle_lists == 0)
        (void)store_delete(p->store, CINDER_VOLUME, row_get(row, "id"));
}

/* ---- Nova's calls */

bool cinder_attach(Pocket *p, const char *volume_id, const char *server_id)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, CINDER_VOLUME, volume_id);
    /* Nova asks Cinder for the volume first, which is a look. */
    if (!row || !look(p, row) || !streq(row_get(row, "status"), "available"))
        return false;
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_CINDER), *id = pocket_uuid(true);
    row_text(row, "status", "in-use");
    json_object_set_new(row, "attachments",
                        json_make_new("[{s:s, s:s, s:s, s:s, s:s, s:n, s:s}]", "id", volume_id,
                                      "volume_id", volume_id, "attachment_id", id, "server_id",
                                      server_id, "device", "/dev/vdb", "host_name", "attached_at",
                                      now));
    cinder_volume_put(p, row);
    return true;
}

void cinder_detach(Pocket *p, const char *volume_id)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, CINDER_VOLUME, volume_id);
    if (!row)
        return;
    json_object_set_new(row, "attachments", json_array());
    arrive(row, "available");
    cinder_volume_put(p, row);
}
