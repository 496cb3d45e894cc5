/* Server groups, volumes, servers. States: iac.md 2.5. */
#include "plan/kind.h"

#define BUILD_LIMIT (30 * MINUTE)

/* Server group. */

static void server_group_differ(Turn *t, const Resource *want, const Resource *have)
{
    (void)turn_same(t, want, have, "policy",
                    "delete it once its servers are gone, and apply again");
}

static bool in_server_group(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    return streq(json_str(r->attrs, "group"), with) ||
           (starts_with(r->key, with) && r->key[strlen(with)] == '.');
}

static bool server_group_leave(Turn *t, const Resource *have)
{
    if (!turn_any(t, RESOURCE_SERVER, in_server_group, have->key))
        return false;
    turn_blocked(t, have, "a server is still in the group");
    return true;
}

static void server_group_words(const Resource *r, Buf *out)
{
    buf_str(out, json_str(r->attrs, "policy"));
}

const PlanKind plan_server_group = {.differ = server_group_differ,
                                    .leave = server_group_leave,
                                    .status = "",
                                    .words = server_group_words};

/* Volume. */

static State volume_state(const Resource *have)
{
    const char *s = have->status ? have->status : "";

    if (starts_with(s, "error"))
        return (State){STATE_STUCK, have->fault ? have->fault : s};
    if (streq(s, "available") || streq(s, "in-use"))
        return (State){STATE_READY};
    if (streq(s, "deleting"))
        return (State){STATE_LEAVING, "being deleted"};
    if (streq(s, "creating") || streq(s, "downloading"))
        return (State){STATE_WAIT, "being created", have->created_at, BUILD_LIMIT};
    return (State){STATE_WAIT, "changing (attaching, detaching or extending)"};
}

static void volume_differ(Turn *t, const Resource *want, const Resource *have)
{
    if (!turn_same(t, want, have, "size_gb", "put the old size back in the island file"))
        return;
    if (json_str_or(want->attrs, "type", "")[0])
        (void)turn_same(t, want, have, "type", "put the old type back in the island file");
}

static bool volume_leave(Turn *t, const Resource *have)
{
    if (!json_str_or(have->attrs, "server", "")[0] && !streq(have->status, "in-use"))
        return false;
    turn_blocked(t, have, "a server still has it attached");
    return true;
}

static void volume_made(json_t *attrs)
{
    json_object_set_new(attrs, "server", json_string(""));
}

static void volume_words(const Resource *r, Buf *out)
{
    const char *type = json_str_or(r->attrs, "type", "");

    buf_printf(out, "%lld GB%s%s", (long long)json_int(r->attrs, "size_gb", 0), type[0] ? ", " : "",
               type);
}

const PlanKind plan_volume = {.state = volume_state,
                              .differ = volume_differ,
                              .leave = volume_leave,
                              .made = volume_made,
                              .status = "available",
                              .words = volume_words};

/* Server. */

static bool any_attached(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    (void)with;
    return json_str_or(r->attrs, "router", "")[0] != '\0';
}

static const char *server_blocked(const Turn *t, const Resource *want)
{
    const json_t *v;
    size_t i;

    json_array_foreach (json_object_get(want->attrs, "ports"), i, v) {
        if (!turn_ready(t, RESOURCE_PORT, json_string_value(v)))
            return "its port is not there";
    }
    json_array_foreach (json_object_get(want->attrs, "volumes"), i, v) {
        const Resource *volume = turn_ready(t, RESOURCE_VOLUME, json_string_value(v));

        if (!volume || !streq(volume->status, "available"))
            return "its volume is not available";
    }
    if (!turn_ready(t, RESOURCE_SERVER_GROUP, json_str(want->attrs, "group")))
        return "its server group is not there";
    /* Its first minutes need the way out, its package and its mailbox. */
    if (!turn_ready(t, RESOURCE_CONTAINER, "boot") || !turn_ready(t, RESOURCE_CONTAINER, "mail"))
        return "the containers that it boots from are not there";
    if (!turn_ready(t, RESOURCE_CONTAINER, "vault"))
        return "the vault is not there";
    if (!turn_any(t, RESOURCE_INTERFACE, any_attached, NULL))
        return "the router does not reach its network";
    return NULL;
}

static State server_state(const Resource *have)
{
    static const char *const passing[] = {"BUILD",         "REBUILD",  "REBOOT",
                                          "HARD_REBOOT",   "RESIZE",   "MIGRATING",
                                          "REVERT_RESIZE", "PASSWORD", "UNKNOWN"};
    const char *s = have->status ? have->status : "";

    if (streq(s, "DELETED") || streq(json_str(have->attrs, "task"), "deleting"))
        return (State){STATE_LEAVING, "being deleted"};
    if (streq(s, "ACTIVE"))
        return (State){STATE_READY};
    if (streq(s, "ERROR"))
        return (State){STATE_STUCK,
                       have->fault ? have->fault : "the cloud says ERROR, and not why"};
    if (streq(s, "BUILD"))
        return (State){STATE_WAIT, "being built", have->created_at, BUILD_LIMIT};
    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        if (streq(s, passing[i]))
            return (State){STATE_WAIT, "changing (the cloud is at work on it)"};
    }
    if (streq(s, "SHUTOFF"))
        return (State){STATE_STUCK, "it is shut off; start it with `openstack server start`"};
    if (streq(s, "VERIFY_RESIZE"))
        return (State){STATE_STUCK, "somebody resized it; confirm with `openstack server resize "
                                    "confirm`"};
    return (State){STATE_STUCK,
                   "somebody paused, suspended, shelved or rescued it; bring it back to "
                   "ACTIVE"};
}

static void server_differ(Turn *t, const Resource *want, const Resource *have)
{
    const json_t *v, *there = json_object_get(have->attrs, "volumes");
    size_t i;

    if (!turn_same(t, want, have, "flavor",
                   "put the old flavor back; or delete this server in the cloud and apply again "
                   "(volumes stay)"))
        return;
    json_array_foreach (json_object_get(want->attrs, "volumes"), i, v) {
        if (!json_is_array(there) || list_has(there, json_string_value(v)))
            continue;
        turn_stuck(
            t, have, ERR_PARTIAL,
            "volume %s is not attached to it, and attaching is not built yet: attach it with "
            "`openstack server add volume`, or delete the server in the cloud and apply again "
            "(volumes stay)",
            json_string_value(v));
    }
}

static void server_made(json_t *attrs)
{
    json_object_set_new(attrs, "metadata", json_object());
    json_object_set_new(attrs, "task", json_string(""));
}

static void server_words(const Resource *r, Buf *out)
{
    const json_t *v;
    size_t i;

    buf_printf(out, "%s, %s", json_str_or(r->attrs, "flavor", "?"),
               json_str_or(r->attrs, "image", "?"));
    json_array_foreach (json_object_get(r->attrs, "volumes"), i, v) {
        buf_printf(out, ", volume %s", json_string_value(v));
    }
}

const PlanKind plan_server = {.blocked = server_blocked,
                              .state = server_state,
                              .differ = server_differ,
                              .made = server_made,
                              .status = "ACTIVE",
                              .words = server_words};
