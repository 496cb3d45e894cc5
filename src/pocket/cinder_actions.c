/* Actions on volumes. */
#include "pocket/cinder.h"
#include <inttypes.h>

typedef void CinderAction(Pocket *p, const PocketCall *c, const json_t *in, json_t *row,
                          PocketReply *r);

static bool new_size_valid(const json_t *in, int64_t old, PocketReply *r)
{
    int64_t size = cinder_size(json_object_get(in, "new_size"));
    if (!json_object_get(in, "new_size"))
        cinder_fail(r, 400,
                    "Invalid input for field/attribute os-extend. 'new_size' is a required "
                    "property");
    else if (size < 1)
        cinder_fail(r, 400, "Invalid input for field/attribute new_size.");
    else if (size <= old)
        cinder_fail(r, 400,
                    "Invalid input received: New size for extend must be greater than current "
                    "size. (current: %" PRId64 ", extended: %" PRId64 ").",
                    old, size);
    else
        return true;
    return false;
}

static void extend(Pocket *p, const PocketCall *c, const json_t *in, json_t *row, PocketReply *r)
{
    int64_t size = cinder_size(json_object_get(in, "new_size")), old = json_int(row, "size", 0);
    const char *status = row_get(row, "status");
    bool in_use = streq(status, "in-use") && c->microversion >= 42;
    if (!new_size_valid(in, old, r))
        return;
    if (!streq(status, "available") && !in_use) {
        cinder_fail(r, 400,
                    "Invalid volume: Volume %s status must be '{'status': 'available'}' to "
                    "extend, currently %s.",
                    row_get(row, "id"), status);
        return;
    }
    const CinderNeed need = {
        .type = row_get(row, "volume_type"), .gigabytes = size - old, .total = size};
    if (!cinder_quota_left(p, row_get(row, "project_id"), &need, r))
        return;
    json_object_set_new(row, "_then_size", json_integer(size));
    cinder_volume_change(p, row, "extending", in_use ? "in-use" : "available");
    r->status = 202;
}

static void set_bootable(Pocket *p, _unused_ const PocketCall *c, const json_t *in, json_t *row,
                         PocketReply *r)
{
    row_text(row, "bootable", json_bool(in, "bootable", false) ? "true" : "false");
    cinder_volume_put(p, row);
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
    static const char *const settling[] = {"_left", "_then", "_then_size", "_then_type"};
    for (size_t i = 0; i < ARRAY_LEN(settling); i++)
        json_object_del(row, settling[i]);
    row_text(row, "status", status);
    cinder_volume_put(p, row);
    r->status = 202;
}

static bool retype_valid(const json_t *in, PocketReply *r)
{
    const char *policy = json_str_or(in, "migration_policy", "never");
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)in, name, value) {
        if (streq(name, "new_type") || streq(name, "migration_policy"))
            continue;
        cinder_fail(r, 400,
                    "Invalid input for field/attribute os-retype. Additional properties are not "
                    "allowed ('%s' was unexpected)",
                    name);
        return false;
    }
    if (!json_str(in, "new_type"))
        cinder_fail(r, 400,
                    "Invalid input for field/attribute os-retype. 'new_type' is a required "
                    "property");
    else if (!streq(policy, "never") && !streq(policy, "on-demand"))
        cinder_fail(r, 400,
                    "Invalid input for field/attribute migration_policy. Value: %s. '%s' is not "
                    "one of ['on-demand', 'never']",
                    policy, policy);
    else
        return true;
    return false;
}

/* A type on another backend with the policy `never`: Cinder says 202, tries, and leaves the volume
 * with its type. The answer proves nothing. */
static void retype(Pocket *p, _unused_ const PocketCall *c, const json_t *in, json_t *row,
                   PocketReply *r)
{
    if (!retype_valid(in, r))
        return;
    const char *asked = json_str(in, "new_type"), *now = row_get(row, "volume_type");
    const char *status = row_get(row, "status");
    _cleanup_json_ json_t *type = cinder_type_new(asked);
    if (!type) {
        cinder_fail(r, 404, "Volume type with name %s could not be found.", asked);
        return;
    }
    bool idle = streq(status, "available") || streq(status, "in-use");
    if (!idle || streq(now, row_get(type, "name"))) {
        cinder_fail(r, 400,
                    "Invalid volume: Retype needs volume to be in available or in-use state, not "
                    "be part of an active migration or a consistency group, requested type has to "
                    "be different that the one from the volume, and for in-use volumes front-end "
                    "qos specs cannot change.");
        return;
    }
    bool near = streq(cinder_type_backend(now), cinder_type_backend(row_get(type, "name")));
    if (near || streq(json_str(in, "migration_policy"), "on-demand"))
        json_object_set(row, "_then_type", json_object_get(type, "name"));
    _cleanup_free_ char *then = xstrdup(status);
    cinder_volume_change(p, row, "retyping", then);
    r->status = 202;
}

static const struct {
    const char *name;
    CinderAction *act;
} actions[] = {{"os-extend", extend},
               {"os-set_bootable", set_bootable},
               {"os-reset_status", reset_status},
               {"os-retype", retype}};

void cinder_volume_action(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = cinder_volume_get_new(p, c, false, r);
    if (!row)
        return;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        const json_t *in = json_object_get(c->body, actions[i].name);
        if (in) {
            actions[i].act(p, c, in, row, r);
            return;
        }
    }
    const char *name = c->body ? json_object_iter_key(json_object_iter(c->body)) : NULL;
    cinder_fail(r, 400,
                "There is no such action: %s. Verify the request body and Content-Type header and "
                "try again.",
                name ? name : "");
}
