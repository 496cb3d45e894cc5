/* Resize (with its confirmation) and rebuild. As measured on Zed: a resize shows the new flavor
 * from VERIFY_RESIZE on, a confirmation answers 204 and is seen when the state has become ACTIVE
 * again, and a server that was shut down is so afterwards. Programs are asked to end before both,
 * as Nova's drivers do. */
#include "io/crypt.h"
#include "pocket/nova.h"
#include "pocket/server.h"

#define USER_DATA_MAX 65535 /* base64 characters */

static const char *const resizable[] = {"active", "stopped", NULL};
static const char *const resized[] = {"resized", NULL};
static const char *const rebuildable[] = {"active", "stopped", "error", NULL};

/* ---- schemas */

typedef struct Prop {
    const char *name; /* NULL ends the table */
    int since, until; /* microversions; 0: no end */
} Prop;

static const Prop resize_props[] = {{"flavorRef", 1, 0}, {"OS-DCF:diskConfig", 1, 0}, {0}};
static const Prop rebuild_props[] = {{"imageRef", 1, 0},
                                     {"name", 1, 0},
                                     {"adminPass", 1, 0},
                                     {"metadata", 1, 0},
                                     {"accessIPv4", 1, 0},
                                     {"accessIPv6", 1, 0},
                                     {"personality", 1, 56},
                                     {"user_data", 57, 0},
                                     {"preserve_ephemeral", 1, 0},
                                     {"key_name", 54, 0},
                                     {"description", 19, 0},
                                     {"trusted_image_certificates", 63, 0},
                                     {"hostname", 90, 0},
                                     {"OS-DCF:diskConfig", 1, 0},
                                     {0}};

static bool known(const PocketCall *c, const Prop *props, const char *name)
{
    for (const Prop *p = props; p->name; p++)
        if (streq(p->name, name))
            return c->microversion >= p->since && (!p->until || c->microversion <= p->until);
    return false;
}

/* 400 for an action's body that is no object, has something unknown or lacks the first of `props`.
 */
static bool schema_valid(const PocketCall *c, const char *action, const Prop *props,
                         const json_t *in, PocketReply *r)
{
    const char *name;
    json_t *value;
    if (!json_is_object(in)) {
        nova_fail(r, 400, "Invalid input for field/attribute %s. None is not of type 'object'",
                  action);
        return false;
    }
    json_object_foreach ((json_t *)(uintptr_t)in, name, value) {
        if (known(c, props, name))
            continue;
        nova_fail(r, 400,
                  "Invalid input for field/attribute %s. Additional properties are not allowed "
                  "('%s' was unexpected)",
                  action, name);
        return false;
    }
    if (json_object_get(in, props->name))
        return true;
    nova_fail(r, 400, "Invalid input for field/attribute %s. '%s' is a required property", action,
              props->name);
    return false;
}

/* ---- resize */

/* Boots again, if it is on at all. A failed boot ends in ERROR. */
static const char *boot_again(Pocket *p, json_t *row, const char *then)
{
    if (json_bool(row, "_off", false) || nova_restart(p, row))
        return then;
    nova_power_on(p, row);
    return streq(row_get(row, "status"), "ERROR") ? "ERROR" : then;
}

void nova_resize(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r)
{
    if (!schema_valid(c, "resize", resize_props, in, r) || !nova_ready(row, "resize", resizable, r))
        return;
    const Flavor *next = nova_flavor_ref(json_object_get(in, "flavorRef"), r);
    const Flavor *now = nova_flavor(row_get(row, "flavor"));
    if (!next)
        return;
    if (next == now) {
        nova_fail(r, 400, "When resizing, instances must change flavor!");
        return;
    }
    const NovaNeed need = {0, next->vcpus - now->vcpus, next->ram_mb - now->ram_mb};
    if (!nova_quota_left(p, row_get(row, "project_id"), &need, r))
        return;
    bool off = streq(nova_vm_state(row), "stopped");
    r->status = 202;
    json_object_set_new(row, "_off", json_boolean(off));
    if (next->hostless) {
        /* No host for it: Nova has said 202 by then, and leaves the server as it was. */
        nova_server_change(p, row, "RESIZE", "resize_prep", off ? "SHUTOFF" : "ACTIVE");
        return;
    }
    row_text(row, "_old_flavor", now->id);
    row_text(row, "_then_flavor", next->id);
    const char *then = boot_again(p, row, "VERIFY_RESIZE");
    nova_server_change(p, row, "RESIZE", "resize_prep", then);
}

/* True if it waits for a confirmation. One that was confirmed a moment ago does not any more,
 * though it still looks so. */
static bool unconfirmed(const json_t *row, const char *action, PocketReply *r)
{
    if (!nova_ready(row, action, resized, r))
        return false;
    if (!row_settling(row))
        return true;
    nova_fail(r, 400, "Instance has not been resized.");
    return false;
}

static const char *final_state(const json_t *row)
{
    return json_bool(row, "_off", false) ? "SHUTOFF" : "ACTIVE";
}

void nova_confirm_resize(Pocket *p, _unused_ const PocketCall *c, _unused_ const json_t *in,
                         json_t *row, PocketReply *r)
{
    if (!unconfirmed(row, "confirmResize", r))
        return;
    json_object_del(row, "_old_flavor");
    nova_server_change(p, row, "VERIFY_RESIZE", NULL, final_state(row));
    r->status = 204;
}

void nova_revert_resize(Pocket *p, _unused_ const PocketCall *c, _unused_ const json_t *in,
                        json_t *row, PocketReply *r)
{
    if (!unconfirmed(row, "revertResize", r))
        return;
    const Flavor *now = nova_flavor(row_get(row, "flavor"));
    const Flavor *old = nova_flavor(row_get(row, "_old_flavor"));
    const NovaNeed need = {0, old->vcpus - now->vcpus, old->ram_mb - now->ram_mb};
    if (!nova_quota_left(p, row_get(row, "project_id"), &need, r))
        return;
    json_object_set(row, "_then_flavor", json_object_get(row, "_old_flavor"));
    json_object_del(row, "_old_flavor");
    const char *then = boot_again(p, row, final_state(row));
    nova_server_change(p, row, "REVERT_RESIZE", "resize_reverting", then);
    r->status = 202;
}

/* ---- rebuild */

static bool image_valid(Pocket *p, const PocketCall *c, const char *id, PocketReply *r)
{
    _cleanup_json_ json_t *image = store_get_new(p->store, "image", id);
    bool ours = image && (streq(row_get(image, "visibility"), "public") ||
                          streq(row_get(image, "owner"), c->user->project_id) || row_admin(c));
    if (!ours)
        nova_fail(r, 400, "Cannot find image for rebuild");
    else if (!streq(row_get(image, "status"), "active"))
        nova_fail(r, 400, "Image %s is not active.", id);
    else
        return true;
    return false;
}

static bool rebuild_valid(Pocket *p, const PocketCall *c, const json_t *in, const json_t *row,
                          PocketReply *r)
{
    const char *user_data = json_str(in, "user_data"), *key = json_str(in, "key_name");
    if (!schema_valid(c, "rebuild", rebuild_props, in, r))
        return false;
    if ((json_object_get(in, "name") && !nova_name_valid(json_str(in, "name"), r)) ||
        !nova_metadata_valid(json_object_get(in, "metadata"), r))
        return false;
    if (user_data && strlen(user_data) > USER_DATA_MAX) {
        nova_fail(r, 400, "Invalid input for field/attribute user_data. Value is too long");
        return false;
    }
    if (!nova_ready(row, "rebuild", rebuildable, r) ||
        !image_valid(p, c, json_str_or(in, "imageRef", ""), r))
        return false;
    _cleanup_json_ json_t *pair = key ? nova_keypair_new(p, row_get(row, "user_id"), key) : NULL;
    if (key && !pair)
        nova_fail(r, 400, "Invalid key_name provided.");
    return !key || pair;
}

/* What was given replaces what was there; user_data and key_name may be null: none. */
static void take_changes(const json_t *in, json_t *row)
{
    static const char *const pairs[][2] = {{"imageRef", "image"},    {"name", "name"},
                                           {"metadata", "metadata"}, {"description", "description"},
                                           {"key_name", "key_name"}, {"user_data", "user_data"},
                                           {"hostname", "hostname"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        json_t *value = json_object_get(in, pairs[i][0]);
        if (value)
            json_object_set_new(row, pairs[i][1], json_deep_copy(value));
    }
}

/* Before 2.75 the answer has fewer keys than a GET. */
static json_t *rebuild_view_new(Pocket *p, const PocketCall *c, const json_t *in, const json_t *row)
{
    static const char *const later[] = {"OS-EXT-AZ:availability_zone",
                                        "OS-EXT-STS:power_state",
                                        "OS-EXT-STS:task_state",
                                        "OS-EXT-STS:vm_state",
                                        "OS-SRV-USG:launched_at",
                                        "OS-SRV-USG:terminated_at",
                                        "config_drive",
                                        "os-extended-volumes:volumes_attached",
                                        "security_groups"};
    _cleanup_secret_ Secret *password = crypt_password_new(12);
    json_t *view = nova_view_new(p, c, row, true);
    for (size_t i = 0; c->microversion < 75 && i < ARRAY_LEN(later); i++)
        json_object_del(view, later[i]);
    if (c->microversion < 54)
        json_object_del(view, "key_name");
    if (c->microversion >= 57)
        row_text(view, "user_data", json_str(row, "user_data"));
    row_text(view, "adminPass", json_str_or(in, "adminPass", secret_expose(password).p));
    return view;
}

void nova_rebuild(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r)
{
    if (!rebuild_valid(p, c, in, row, r))
        return;
    take_changes(in, row);
    json_object_set_new(row, "_off", json_boolean(streq(nova_vm_state(row), "stopped")));
    json_object_del(row, "fault");
    row_text(row, "status", "REBUILD");
    /* Nova takes what is no base64 here, unlike at create: then there is nothing to run. */
    _cleanup_(buf_wipe) Buf text = BUF_INIT((size_t)48 << 10);
    if (!crypt_unbase64(&text, str_of(row_get(row, "user_data"))) || text.overflow)
        buf_truncate(&text, 0);
    nova_wipe(p, row, buf_as_str(&text));
    if (streq(row_get(row, "status"), "REBUILD") && !json_bool(row, "_off", false) &&
        !server_is_on(row_get(row, "id")))
        nova_power_on(p, row); /* it was in ERROR */
    bool failed = streq(row_get(row, "status"), "ERROR");
    nova_server_change(p, row, "REBUILD", "rebuilding", failed ? "ERROR" : final_state(row));
    _cleanup_free_ char *url = pocket_url(p, POCKET_NOVA);
    r->status = 202;
    r->json = json_make_new("{s:o}", "server", rebuild_view_new(p, c, in, row));
    strlist_addf(&r->headers, "Location: %s/v2.1/servers/%s", url, row_get(row, "id"));
}
