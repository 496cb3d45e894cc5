/* Nova: its routes, version documents, flavors, limits and quotas, start and stop. */
#include "pocket/nova.h"
#include "base/log.h"
#include "pocket/server.h"
#include <ctype.h>
#include <inttypes.h>

#define MINOR_TEXT_(n) #n
#define MINOR_TEXT(n) MINOR_TEXT_(n)
#define NAME_MAX_CHARS 255

/* Flavors limit nothing here; their figures count against quotas. The last one is for tests of what
 * people see when a cloud is full. */
static const Flavor flavors[] = {
    {"1", "m1.tiny", 1, 512, 1, false},
    {"2", "m1.small", 1, 2048, 20, false},
    {"3", "m1.medium", 2, 4096, 40, false},
    {"28153197-6690-4485-9dbc-fc24489b0683", "c1.c1r1", 1, 1024, 10, false},
    {"6371ec4a-47d1-4159-a42f-83b84b80eea7", "c1.c1r2", 1, 2048, 10, false},
    {"45060aa3-3400-4da0-bd9d-9559e172f678", "c1.c2r2", 2, 2048, 10, false},
    {"88597cff-9503-492c-b005-811056f26bd6", "c1.c4r8", 4, 8192, 10, false},
    {"0f6a3c55-8d0b-4f0e-9d1f-9b1f0a1d7e00", "pocket.hostless", 1, 512, 1, true},
    {0},
};

const Flavor *nova_flavor(const char *id)
{
    for (const Flavor *f = flavors; f->id; f++)
        if (streq(f->id, id))
            return f;
    return NULL;
}

json_t *nova_links_new(Pocket *p, const char *collection, const char *id)
{
    _cleanup_free_ char *url = pocket_url(p, POCKET_NOVA);
    _cleanup_free_ char *self = xasprintf("%s/v2.1/%s/%s", url, collection, id);
    _cleanup_free_ char *bookmark = xasprintf("%s/%s/%s", url, collection, id);
    return json_make_new("[{s:s, s:s}, {s:s, s:s}]", "rel", "self", "href", self, "rel", "bookmark",
                         "href", bookmark);
}

bool nova_name_valid(const char *name, PocketReply *r)
{
    bool ok = name && *name && strlen(name) <= NAME_MAX_CHARS && !isspace((unsigned char)name[0]) &&
              !isspace((unsigned char)name[strlen(name) - 1]);
    for (const char *s = name; ok && *s; s++)
        ok = (unsigned char)*s >= 0x20 && *s != 0x7f;
    if (!ok)
        nova_fail(r, 400, "Invalid input for field/attribute name. Value: %s.", name ? name : "");
    return ok;
}

/* ---- flavors */

static json_t *flavor_view_new(Pocket *p, const PocketCall *c, const Flavor *f, bool detail)
{
    json_t *view = json_make_new("{s:s, s:s, s:o}", "id", f->id, "name", f->name, "links",
                                 nova_links_new(p, "flavors", f->id));
    if (c->microversion >= 55)
        json_object_set_new(view, "description", json_null());
    if (!detail)
        return view;
    _cleanup_json_ json_t *more =
        json_make_new("{s:i, s:i, s:i, s:i, s:f, s:b, s:b}", "vcpus", f->vcpus, "ram", f->ram_mb,
                      "disk", f->disk_gb, "OS-FLV-EXT-DATA:ephemeral", 0, "rxtx_factor", 1.0,
                      "os-flavor-access:is_public", 1, "OS-FLV-DISABLED:disabled", 0);
    json_object_update(view, more);
    json_object_set_new(view, "swap", c->microversion >= 75 ? json_integer(0) : json_string(""));
    if (c->microversion >= 61)
        json_object_set_new(view, "extra_specs", json_object());
    return view;
}

static void flavors_answer(Pocket *p, const PocketCall *c, PocketReply *r, bool detail)
{
    json_t *rows = json_array();
    for (const Flavor *f = flavors; f->id; f++)
        json_array_append_new(rows, flavor_view_new(p, c, f, detail));
    pocket_page(p, POCKET_NOVA, c, r, "flavors", rows);
}

static void flavor_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    flavors_answer(p, c, r, false);
}

static void flavor_detail(Pocket *p, const PocketCall *c, PocketReply *r)
{
    flavors_answer(p, c, r, true);
}

static const Flavor *flavor_of(const PocketCall *c, PocketReply *r)
{
    const Flavor *f = nova_flavor(c->args.items[0]);
    if (!f)
        nova_fail(r, 404, "Flavor %s could not be found.", c->args.items[0]);
    return f;
}

static void flavor_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const Flavor *f = flavor_of(c, r);
    if (!f)
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "flavor", flavor_view_new(p, c, f, true));
}

static void flavor_specs(_unused_ Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!flavor_of(c, r))
        return;
    r->status = 200;
    r->json = json_make_new("{s:{}}", "extra_specs");
}

/* ---- quotas and limits */

static int64_t sum(Pocket *p, const char *project, int64_t (*of)(const Flavor *f))
{
    _cleanup_json_ json_t *rows = store_list_new(p->store, NOVA_SERVER, project);
    int64_t n = 0;
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        const Flavor *f = nova_flavor(row_get(row, "flavor"));
        if (f && !nova_server_gone(row))
            n += of(f);
    }
    return n;
}

static int64_t one(_unused_ const Flavor *f)
{
    return 1;
}

static int64_t vcpus(const Flavor *f)
{
    return f->vcpus;
}

static int64_t ram(const Flavor *f)
{
    return f->ram_mb;
}

static int64_t used_instances(Pocket *p, const char *project)
{
    return sum(p, project, one);
}

static int64_t used_cores(Pocket *p, const char *project)
{
    return sum(p, project, vcpus);
}

static int64_t used_ram(Pocket *p, const char *project)
{
    return sum(p, project, ram);
}

static int64_t used_groups(Pocket *p, const char *project)
{
    return store_count(p->store, NOVA_GROUP, project);
}

static const Quota quotas[] = {
    {"instances", 20, used_instances},  {"cores", 40, used_cores},
    {"ram", 96 << 10, used_ram},        {"key_pairs", 100, NULL},
    {"metadata_items", 128, NULL},      {"server_groups", 20, used_groups},
    {"server_group_members", 20, NULL}, {0},
};
const QuotaSet nova_quotas = {"nova_quota", quotas};

static void quota_answer(Pocket *p, const PocketCall *c, PocketReply *r, QuotaView view)
{
    const char *project = c->args.items[0];
    if (!row_admin(c) && !streq(project, c->user->project_id)) {
        nova_fail(r, 403,
                  "Policy doesn't allow os_compute_api:os-quota-sets:show to be performed.");
        return;
    }
    json_t *set = quota_view_new(p, &nova_quotas, project, view, "in_use");
    /* The answer to a change does not say whose they are. */
    if (!streq(c->method, "PUT"))
        row_text(set, "id", project);
    r->status = 200;
    r->json = json_make_new("{s:o}", "quota_set", set);
}

static void quota_show(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_LIMITS);
}

static void quota_detail(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_DETAILS);
}

static void quota_defaults(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_answer(p, c, r, QUOTA_DEFAULTS);
}

static void quota_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *in = json_object_get(c->body, "quota_set");
    const char *project = c->args.items[0];
    int64_t limit;
    const char *over = row_matches(json_object_get(in, "force"), "true")
                           ? NULL
                           : quota_overdrawn(p, &nova_quotas, project, in, &limit);
    if (over)
        nova_fail(r, 400,
                  "Quota limit %" PRId64 " for %s must be greater than or equal to already used "
                  "and reserved %" PRId64 ".",
                  limit, over, quota_used(p, &nova_quotas, project, over));
    else if (json_is_object(in) && quota_change(p, &nova_quotas, project, in))
        quota_show(p, c, r);
    else if (quota_unknown(&nova_quotas, in))
        nova_fail(r, 400,
                  "Invalid input for field/attribute quota_set. Additional properties are not "
                  "allowed ('%s' was unexpected)",
                  quota_unknown(&nova_quotas, in));
    else
        nova_fail(r, 400, "Invalid input for field/attribute quota_set.");
}

static void quota_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    quota_reset(p, &nova_quotas, c->args.items[0]);
    r->status = 202;
}

static void limits(Pocket *p, const PocketCall *c, PocketReply *r)
{
    static const struct {
        const char *name, *quota;
        bool used;
    } rows[] = {{"maxTotalInstances", "instances", false},
                {"maxTotalCores", "cores", false},
                {"maxTotalRAMSize", "ram", false},
                {"maxTotalKeypairs", "key_pairs", false},
                {"maxServerMeta", "metadata_items", false},
                {"maxServerGroups", "server_groups", false},
                {"maxServerGroupMembers", "server_group_members", false},
                {"totalInstancesUsed", "instances", true},
                {"totalCoresUsed", "cores", true},
                {"totalRAMUsed", "ram", true},
                {"totalServerGroupsUsed", "server_groups", true}};
    const char *project = c->user->project_id;
    json_t *absolute = json_object();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t n = rows[i].used ? quota_used(p, &nova_quotas, project, rows[i].quota)
                                 : quota_limit(p, &nova_quotas, project, rows[i].quota);
        json_object_set_new(absolute, rows[i].name, json_integer(n));
    }
    r->status = 200;
    r->json = json_make_new("{s:{s:[], s:o}}", "limits", "rate", "absolute", absolute);
}

static void zones(_unused_ Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:[{s:s, s:{s:b}, s:n}]}", "availabilityZoneInfo", "zoneName", "nova",
                            "zoneState", "available", 1, "hosts");
}

/* ---- versions */

static json_t *version_new(Pocket *p)
{
    _cleanup_free_ char *url = pocket_url(p, POCKET_NOVA);
    _cleanup_free_ char *href = xasprintf("%s/v2.1/", url);
    return json_make_new("{s:s, s:s, s:s, s:s, s:s, s:[{s:s, s:s}]}", "id", "v2.1", "status",
                         "CURRENT", "version", "2." MINOR_TEXT(POCKET_COMPUTE_MINOR), "min_version",
                         "2.1", "updated", "2013-07-23T11:33:21Z", "links", "rel", "self", "href",
                         href);
}

static void versions_root(Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:[o]}", "versions", version_new(p));
}

static void versions_v21(Pocket *p, _unused_ const PocketCall *c, PocketReply *r)
{
    r->status = 200;
    r->json = json_make_new("{s:o}", "version", version_new(p));
}

/* ---- life cycle */

void nova_start(Pocket *p, _unused_ bool fresh)
{
    server_sweep(p, "servers", NOVA_SERVER);
    if (!p->servers_run)
        return;
    _cleanup_json_ json_t *rows = store_list_new(p->store, NOVA_SERVER, NULL);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        const char *status = row_get(row, "status");
        bool starting = streq(row_get(row, "_then"), "ACTIVE");
        bool off = (streq(status, "SHUTOFF") && !starting) || streq(status, "ERROR") ||
                   (json_bool(row, "_off", false) && !streq(status, "ACTIVE"));
        if (off || streq(row_get(row, "task_state"), "deleting"))
            continue;
        nova_power_on(p, row);
        if (streq(row_get(row, "status"), "ERROR"))
            log_warn("server %s did not start", row_get(row, "name"));
        nova_server_put(p, row);
    }
}

void nova_stop(Pocket *p)
{
    pocket_lock(p);
    server_all_off();
    pocket_unlock(p);
}

/* ---- routes */

#define SERVER "/v2.1/servers/{id}"

const PocketRoute nova_routes[] = {
    {"GET", "/", NEED_NOTHING, versions_root},
    {"GET", "/v2.1", NEED_NOTHING, versions_v21},
    {"GET", "/v2.1/", NEED_NOTHING, versions_v21},
    {"GET", "/v2.1/flavors", NEED_PROJECT, flavor_list},
    {"GET", "/v2.1/flavors/detail", NEED_PROJECT, flavor_detail},
    {"GET", "/v2.1/flavors/{id}", NEED_PROJECT, flavor_show},
    {"GET", "/v2.1/flavors/{id}/os-extra_specs", NEED_PROJECT, flavor_specs},
    {"GET", "/v2.1/limits", NEED_PROJECT, limits},
    {"GET", "/v2.1/os-availability-zone", NEED_PROJECT, zones},
    {"GET", "/v2.1/os-availability-zone/detail", NEED_ADMIN, zones},
    {"GET", "/v2.1/os-quota-sets/{project}", NEED_PROJECT, quota_show},
    {"GET", "/v2.1/os-quota-sets/{project}/detail", NEED_PROJECT, quota_detail},
    {"GET", "/v2.1/os-quota-sets/{project}/defaults", NEED_PROJECT, quota_defaults},
    {"PUT", "/v2.1/os-quota-sets/{project}", NEED_ADMIN, quota_put},
    {"DELETE", "/v2.1/os-quota-sets/{project}", NEED_ADMIN, quota_delete},
    {"GET", "/v2.1/os-keypairs", NEED_PROJECT, nova_keypair_list},
    {"POST", "/v2.1/os-keypairs", NEED_MEMBER, nova_keypair_create},
    {"GET", "/v2.1/os-keypairs/{name}", NEED_PROJECT, nova_keypair_show},
    {"DELETE", "/v2.1/os-keypairs/{name}", NEED_MEMBER, nova_keypair_delete},
    {"GET", "/v2.1/os-server-groups", NEED_PROJECT, nova_group_list},
    {"POST", "/v2.1/os-server-groups", NEED_MEMBER, nova_group_create},
    {"GET", "/v2.1/os-server-groups/{id}", NEED_PROJECT, nova_group_show},
    {"DELETE", "/v2.1/os-server-groups/{id}", NEED_MEMBER, nova_group_delete},
    {"GET", "/v2.1/servers", NEED_PROJECT, nova_server_list},
    {"GET", "/v2.1/servers/detail", NEED_PROJECT, nova_server_detail},
    {"POST", "/v2.1/servers", NEED_MEMBER, nova_server_create},
    {"GET", SERVER, NEED_PROJECT, nova_server_show},
    {"PUT", SERVER, NEED_MEMBER, nova_server_update},
    {"DELETE", SERVER, NEED_MEMBER, nova_server_delete},
    {"POST", SERVER "/action", NEED_MEMBER, nova_server_action},
    {"GET", SERVER "/os-instance-actions", NEED_PROJECT, nova_act_list},
    {"GET", SERVER "/os-instance-actions/{request}", NEED_PROJECT, nova_act_show},
    {"GET", SERVER "/ips", NEED_PROJECT, nova_server_ips},
    {"GET", SERVER "/metadata", NEED_PROJECT, nova_metadata_get},
    {"POST", SERVER "/metadata", NEED_MEMBER, nova_metadata_post},
    {"PUT", SERVER "/metadata", NEED_MEMBER, nova_metadata_put},
    {"GET", SERVER "/metadata/{key}", NEED_PROJECT, nova_metadata_key_get},
    {"PUT", SERVER "/metadata/{key}", NEED_MEMBER, nova_metadata_key_put},
    {"DELETE", SERVER "/metadata/{key}", NEED_MEMBER, nova_metadata_key_delete},
    {"GET", SERVER "/tags", NEED_PROJECT, nova_tags_get},
    {"PUT", SERVER "/tags", NEED_MEMBER, nova_tags_put},
    {"DELETE", SERVER "/tags", NEED_MEMBER, nova_tags_delete},
    {"GET", SERVER "/tags/{tag}", NEED_PROJECT, nova_tag_get},
    {"PUT", SERVER "/tags/{tag}", NEED_MEMBER, nova_tag_put},
    {"DELETE", SERVER "/tags/{tag}", NEED_MEMBER, nova_tag_delete},
    {"GET", SERVER "/os-volume_attachments", NEED_PROJECT, nova_attachment_list},
    {"POST", SERVER "/os-volume_attachments", NEED_MEMBER, nova_attachment_create},
    {"GET", SERVER "/os-volume_attachments/{volume}", NEED_PROJECT, nova_attachment_show},
    {"DELETE", SERVER "/os-volume_attachments/{volume}", NEED_MEMBER, nova_attachment_delete},
    {0},
};
