/* Volumes. The row is what is answered, with "_left" and "_then" while a state settles. A volume's
 * content is the folder DIR/volumes/ID. */
#include "io/file.h"
#include "pocket/cinder.h"
#include <inttypes.h>

static void put(Pocket *p, const json_t *row)
{
    store_put(p->store, CINDER_VOLUME, row_get(row, "project_id"), row_get(row, "name"), row);
}

char *cinder_volume_dir(Pocket *p, const char *volume_id)
{
    return xasprintf("%s/volumes/%s", p->dir, volume_id);
}

/* `status` now, `then` after so many looks. */
static void change(Pocket *p, json_t *row, const char *status, const char *then)
{
    _cleanup_free_ char *now = pocket_stamp(p, POCKET_CINDER);
    row_text(row, "status", status);
    row_text(row, "_then", then);
    row_text(row, "updated_at", now);
    row_unsettle(p, row);
    put(p, row);
}

static bool deleting(const json_t *row)
{
    return streq(row_get(row, "status"), "deleting");
}

bool cinder_volume_gone(const json_t *row)
{
    return deleting(row) && json_int(row, "_left", 0) <= 0;
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
        row_text(row, "status", row_get(row, "_then"));
        json_object_del(row, "_then");
    }
    if (was_settling)
        put(p, row);
    return true;
}

static void missing(PocketReply *r, const char *id)
{
    cinder_fail(r, 404, "Volume %s could not be found.", id);
}

/* The caller's volume named by the path; NULL with a filled reply. */
static json_t *get_new(Pocket *p, const PocketCall *c, bool looks, PocketReply *r)
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

static json_t *view_new(Pocket *p, const json_t *row, bool detail)
{
    json_t *view = detail ? row_public_new(row)
                          : json_make_new("{s:O, s:O}", "id", json_object_get(row, "id"), "name",
                                          json_object_get(row, "name"));
    json_object_set_new(view, "links", links_new(p, row));
    if (!detail)
        return view;
    static const char *const nulls[] = {"snapshot_id", "source_volid", "replication_status",
                                        "consistencygroup_id", "migration_status"};
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
        json_object_set_new(view, nulls[i], json_null());
    json_object_set_new(view, "encrypted", json_false());
    json_object_set_new(view, "multiattach", json_false());
    row_text(view, "os-vol-tenant-attr:tenant_id", row_get(row, "project_id"));
    json_object_del(view, "project_id");
    return view;
}

static void answer(Pocket *p, const json_t *row, int status, PocketReply *r)
{
    r->status = status;
    r->json = json_make_new("{s:o}", "volume", view_new(p, row, true));
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

static void list(Pocket *p, const PocketCall *c, PocketReply *r, bool detail)
{
    const char *text = pocket_query(c, "metadata");
    _cleanup_json_ json_t *metadata = text ? cinder_dict_new(text) : NULL;
    if (!cinder_path_ok(c, r))
        return;
    if (text && !metadata) {
        cinder_fail(r, 400, "Invalid filters metadata are found in query options.");
        return;
    }
    _cleanup_json_ json_t *rows = store_list_new(p->store, CINDER_VOLUME, NULL);
    json_t *views = json_array();
    /* Newest first, as Cinder sorts unless it is told otherwise. */
    for (size_t i = json_array_size(rows); i-- > 0;) {
        json_t *row = json_array_get(rows, i);
        if (project_matches(c, row) && look(p, row) && row_listed(c, row, metadata))
            json_array_append_new(views, view_new(p, row, detail));
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
    _cleanup_json_ json_t *row = get_new(p, c, true, r);
    if (row)
        answer(p, row, 200, r);
}

/* ---- create */

static bool metadata_valid(json_t *metadata, PocketReply *r)
{
    const char *key;
    json_t *value;
    bool ok = !metadata || json_is_object(metadata);
    json_object_foreach (metadata, key, value) {
        ok = ok && *key && strlen(key) <= 255 && json_is_string(value) &&
             json_string_length(value) <= 255;
    }
    if (!ok)
        cinder_fail(r, 400, "Invalid input for field/attribute metadata.");
    return ok;
}

static void over_limit(PocketReply *r, const char *words)
{
    pocket_fail(POCKET_CINDER, r, 413, "overLimit", "%s", words);
    row_text(json_object_get(r->json, "overLimit"), "retryAfter", "0");
    strlist_add(&r->headers, "Retry-After: 0");
}

static bool quota_left(Pocket *p, const char *project, int64_t volumes, int64_t gigabytes,
                       PocketReply *r)
{
    int64_t limit = quota_limit(p, &cinder_quotas, project, "volumes");
    if (!quota_allows(p, &cinder_quotas, project, "volumes", volumes)) {
        _cleanup_free_ char *words =
            xasprintf("VolumeLimitExceeded: Maximum number of volumes allowed (%" PRId64
                      ") exceeded for quota 'volumes'.",
                      limit);
        over_limit(r, words);
        return false;
    }
    limit = quota_limit(p, &cinder_quotas, project, "gigabytes");
    if (!quota_allows(p, &cinder_quotas, project, "gigabytes", gigabytes)) {
        _cleanup_free_ char *words = xasprintf(
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed "
            "gigabytes quota. Requested %" PRId64 "G, quota is %" PRId64 "G and %" PRId64
            "G has been consumed.",
            gigabytes, limit, quota_used(p, &cinder_quotas, project, "gigabytes"));
        over_limit(r, words);
        return false;
    }
    return true;
}

/* The size in GiB as a number or digits; 0: none. */
static int64_t size_of(const json_t *size)
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
    if (size_of(json_object_get(in, "size")) < 1) {
        cinder_fail(r, 400,
                    "Invalid input received: Invalid volume size provided for create "
                    "request (size argument must be an integer and greater than zero).");
        return false;
    }
    return metadata_valid(json_object_get(in, "metadata"), r);
}

static json_t *row_new(Pocket *p, const PocketCall *c, const json_t *in, const json_t *type)
{
    _cleanup_free_ char *id = pocket_uuid(true), *now = pocket_stamp(p, POCKET_CINDER);
    json_t *row = json_make_new("{s:s, s:s, s:s, s:I, s:[], s:s, s:n, s:s, s:s}", "id", id,
                                "project_id", c->user->project_id, "user_id", c->user->user_id,
                                "size", (json_int_t)size_of(json_object_get(in, "size")),
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
    if (!quota_left(p, c->user->project_id, 1, size_of(json_object_get(in, "size")), r))
        return;
    _cleanup_json_ json_t *row = row_new(p, c, in, type);
    _cleanup_free_ char *dir = cinder_volume_dir(p, row_get(row, "id"));
    _cleanup_(err_clear) Err err = {0};
    /* 0711: the programs of a server run as several users. */
    if (file_mkdirs(dir, 0711, &err) < 0) {
        cinder_fail(r, 500, "%s", err.text);
        return;
    }
    change(p, row, "creating", "available");
    answer(p, row, 202, r);
}

/* ---- change */

void cinder_volume_update(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_new(p, c, false, r);
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
    if (!metadata_valid(json_object_get(in, "metadata"), r))
        return;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_object_get(in, keys[i][0]))
            json_object_set(row, keys[i][1], json_object_get(in, keys[i][0]));
    put(p, row);
    answer(p, row, 200, r);
}

void cinder_volume_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_new(p, c, false, r);
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
        change(p, row, "error_deleting", "error_deleting");
        return;
    }
    change(p, row, "deleting", "deleting");
    if (p->settle_lists == 0)
        (void)store_delete(p->store, CINDER_VOLUME, row_get(row, "id"));
}

static void extend(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r)
{
    int64_t size = size_of(json_object_get(in, "new_size")), old = json_int(row, "size", 0);
    const char *status = row_get(row, "status");
    bool in_use = streq(status, "in-use") && c->microversion >= 42;
    if (!streq(status, "available") && !in_use) {
        cinder_fail(r, 400,
                    "Invalid volume: Volume %s status must be '('available',)' to extend, "
                    "currently %s.",
                    row_get(row, "id"), status);
        return;
    }
    if (size <= old) {
        cinder_fail(r, 400,
                    "Invalid input received: New size for extend must be greater than current "
                    "size. (current: %" PRId64 ", extended: %" PRId64 ").",
                    old, size);
        return;
    }
    if (!quota_left(p, row_get(row, "project_id"), 0, size - old, r))
        return;
    json_object_set_new(row, "size", json_integer(size));
    change(p, row, "extending", in_use ? "in-use" : "available");
    r->status = 202;
}

static void set_bootable(Pocket *p, _unused_ const PocketCall *c, const json_t *in, json_t *row,
                         PocketReply *r)
{
    row_text(row, "bootable", json_bool(in, "bootable", false) ? "true" : "false");
    put(p, row);
    r->status = 200;
}

static void reset_status(Pocket *p, const PocketCall *c, const json_t *in, json_t *row,
                         PocketReply *r)
{
    const char *status = json_str(in, "status");
    if (!row_admin(c)) {
        cinder_fail(r, 403,
                    "Policy doesn't allow volume_extension:volume_admin_actions:reset_status to be "
                    "performed.");
        return;
    }
    if (!status) {
        cinder_fail(r, 400, "Must specify 'status'");
        return;
    }
    row_text(row, "status", status);
    json_object_del(row, "_left");
    put(p, row);
    r->status = 202;
}

static void retype(_unused_ Pocket *p, _unused_ const PocketCall *c, _unused_ const json_t *in,
                   _unused_ json_t *row, PocketReply *r)
{
    cinder_fail(r, 501, "The pocket cloud does not retype: all its types are folders");
}

static const struct {
    const char *name;
    void (*act)(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r);
} actions[] = {{"os-extend", extend},
               {"os-set_bootable", set_bootable},
               {"os-reset_status", reset_status},
               {"os-retype", retype}};

void cinder_volume_action(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_new(p, c, false, r);
    if (!row)
        return;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        const json_t *in = json_object_get(c->body, actions[i].name);
        if (in) {
            actions[i].act(p, c, in, row, r);
            return;
        }
    }
    cinder_fail(r, 400, "There is no such action");
}

/* ---- metadata */

static void metadata_answer(const json_t *row, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:O}", "metadata", json_object_get(row, "metadata"));
}

void cinder_metadata_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_new(p, c, false, r);
    if (row)
        metadata_answer(row, r);
}

static void metadata_change(Pocket *p, const PocketCall *c, bool replace, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_new(p, c, false, r);
    json_t *in = json_object_get(c->body, "metadata");
    if (!row)
        return;
    if (!json_is_object(in)) {
        cinder_fail(r, 400, "Missing required element 'metadata' in request body.");
        return;
    }
    if (!metadata_valid(in, r))
        return;
    if (replace)
        json_object_set(row, "metadata", in);
    else
        json_object_update(json_object_get(row, "metadata"), in);
    put(p, row);
    metadata_answer(row, r);
}

void cinder_metadata_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    metadata_change(p, c, false, r);
}

void cinder_metadata_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    metadata_change(p, c, true, r);
}

void cinder_metadata_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = get_new(p, c, false, r);
    if (!row)
        return;
    if (json_object_del(json_object_get(row, "metadata"), cinder_arg(c, 1)) < 0) {
        cinder_fail(r, 404, "Volume %s has no metadata with key %s.", row_get(row, "id"),
                    cinder_arg(c, 1));
        return;
    }
    put(p, row);
    r->status = 200;
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
    put(p, row);
    return true;
}

void cinder_detach(Pocket *p, const char *volume_id)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, CINDER_VOLUME, volume_id);
    if (!row)
        return;
    json_object_set_new(row, "attachments", json_array());
    row_text(row, "status", "available");
    json_object_del(row, "_left");
    put(p, row);
}
