/* Server groups, volumes, servers. States: iac.md 2.5. */
#include "host/mail.h"
#include "host/spec.h"
#include "plan/kind.h"

#define BUILD_LIMIT (30 * MINUTE)
#define RESIZE_LIMIT (15 * MINUTE)

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
    return (State){STATE_WAIT, "changing (attaching, detaching, extending or retyping)"};
}

static void volume_differ(Turn *t, const Resource *want, const Resource *have)
{
    json_int_t wanted = json_int(want->attrs, "size_gb", 0),
               is = json_int(have->attrs, "size_gb", 0);
    const char *type = json_str_or(want->attrs, "type", ""),
               *now = json_str_or(have->attrs, "type", "");

    if (wanted > is)
        turn_step(t, KIND_EXTEND, have, NULL, "%lld GB, to be %lld GB; it stays in use",
                  (long long)is, (long long)wanted);
    else if (wanted < is)
        turn_stuck(t, have, ERR_PARTIAL,
                   "it has %lld GB, the island file says %lld, and volumes only grow: put the old "
                   "size back in the island file",
                   (long long)is, (long long)wanted);
    else if (type[0] && !streq(type, now))
        turn_step(t, KIND_RETYPE, have, NULL, "type %s, to be %s", now[0] ? now : "none", type);
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
        if (!turn_ready_at(t, RESOURCE_PORT, json_string_value(v), want->generation))
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

    if (server_leaving(have))
        return (State){STATE_LEAVING, "being deleted"};
    if (streq(s, "ACTIVE") || streq(s, "VERIFY_RESIZE"))
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
    return (State){STATE_STUCK,
                   "somebody paused, suspended, shelved or rescued it; bring it back to "
                   "ACTIVE"};
}

static bool goes_away(const Step *s)
{
    return s->kind == RESOURCE_SERVER && (s->verb == KIND_RESIZE || s->verb == KIND_REBUILD);
}

/* All others of its tier are at work: then this one may be away for a while. */
static bool tier_works(Turn *t, const Resource *server)
{
    const Resource *own = turn_find_at(t, RESOURCE_HOST, server->key, server->generation);

    for (size_t i = 0; i < t->next->steps.len; i++) {
        if (goes_away(&t->next->steps.items[i]) &&
            same_tier(t->next->steps.items[i].key, server->key))
            return false;
    }
    if (own && (streq(json_str(own->attrs, "state"), "failed") || mail_silent(own, t->now)))
        return true; /* there is nothing to lose, and this may be its cure */
    for (size_t i = 0; i < t->g->want.len; i++) {
        const Resource *want = &t->g->want.items[i], *host, *other;

        if (want->kind != RESOURCE_HOST || streq(want->key, server->key) ||
            !same_tier(want->key, server->key))
            continue;
        want = turn_want(t, want);
        host = turn_find_at(t, RESOURCE_HOST, want->key, want->generation);
        other = turn_find_at(t, RESOURCE_SERVER, want->key, want->generation);
        if (!host || !other || !streq(other->status, "ACTIVE") ||
            !streq(json_str(host->attrs, "state"), "healthy") || mail_silent(host, t->now) ||
            !turn_told(t, want))
            return false;
    }
    return true;
}

/* It serves, and an older one of it is still there. */
static bool stands_in(const Turn *t, const Resource *server)
{
    for (size_t i = 0; i < t->w->items.len; i++) {
        const Resource *r = &t->w->items.items[i];

        if (r->kind == RESOURCE_SERVER && r->generation < server->generation &&
            streq(r->key, server->key))
            return host_current(t->w, server->key) == server->generation;
    }
    return false;
}

/* It has come back, and says how it is; or there is nothing that it could say. That its services
 * fail is another matter, and the way back is the flavor in the file. */
static bool is_back(const Resource *host, Msec resized)
{
    Msec reported = host ? json_int(host->attrs, "state_since", 0) : 0;

    return !host || !json_bool(host->attrs, "hello", false) || !json_int(host->attrs, "sent", 0) ||
           ((streq(json_str(host->attrs, "state"), "healthy") || mail_failed(host)) &&
            (!reported || reported > resized));
}

static void confirm(Turn *t, const Resource *want, const Resource *have)
{
    const Resource *host = turn_find_at(t, RESOURCE_HOST, have->key, have->generation);
    const char *flavor = json_str_or(want->attrs, "flavor", "");
    Msec resized = json_int(have->attrs, "updated", 0);

    if (!streq(json_str(have->attrs, "flavor"), flavor))
        turn_step(t, KIND_CONFIRM, have, NULL, "it was resized to %s; from there it goes to %s",
                  json_str_or(have->attrs, "flavor", "?"), flavor);
    else if (is_back(host, resized))
        turn_step(t, KIND_CONFIRM, have, NULL, "it is back with flavor %s", flavor);
    else
        turn_wait(t, have,
                  &(State){STATE_WAIT, "coming back after its resize", resized, RESIZE_LIMIT});
}

/* What it does is of no use without what it did before. */
static bool keeps_data(const Resource *host)
{
    _cleanup_json_ json_t *keeps = host_keeps_new(host->attrs);

    return json_object_size(keeps) > 0;
}

/* One that is younger than the server is empty. */
static void new_volume(Turn *t, const Resource *have, const char *key)
{
    _cleanup_free_ char *loss = root_disk_loss_new(t, have);

    if (loss)
        turn_stuck(t, have, ERR_PARTIAL,
                   "it keeps %s, and volume %s is new and empty: copy the data away, `atoll apply "
                   "--replace %s`, and copy it back",
                   loss, key, have->key);
    else
        turn_stuck(t, have, ERR_PARTIAL,
                   "volume %s is new: `atoll apply --replace %s` has the server made anew with it",
                   key, have->key);
}

/* "?" is of a plan. */
static bool is_elsewhere(const Resource *volume, const Resource *server)
{
    const char *at = json_str_or(volume->attrs, "server", "");

    return at[0] && !streq(at, "?") && !streq(at, server->key);
}

/* The wanted volume that comes in the place of `key` (a restored database), or NULL. */
static const char *comes_instead(const json_t *wanted, const char *key)
{
    const json_t *v;
    size_t i;

    json_array_foreach (wanted, i, v) {
        const char *other = json_string_value(v);

        if (!streq(other, key) && volume_is_of(other, key))
            return other;
    }
    return NULL;
}

/* Volumes that it lacks, and those that are no longer its own. */
static void server_volumes(Turn *t, const Resource *want, const Resource *have)
{
    const json_t *v, *there = json_object_get(have->attrs, "volumes");
    const json_t *wanted = json_object_get(want->attrs, "volumes");
    const Resource *host = goal_find(t->g, RESOURCE_HOST, have->key), *volume;
    size_t i;

    json_array_foreach (wanted, i, v) {
        const char *key = json_string_value(v);

        volume = turn_find(t, RESOURCE_VOLUME, key);
        if (!json_is_array(there) || json_list_has(there, key))
            continue;
        bool later = volume_generation(key) > 1 || comes_instead(there, key);
        if (!later && (!volume || !volume->created_at || volume->created_at > have->created_at))
            new_volume(t, have, key);
        else if (!turn_ready(t, RESOURCE_VOLUME, key))
            continue;
        else if (is_elsewhere(volume, have))
            turn_stuck(t, have, ERR_PARTIAL,
                       "its volume %s is attached to %s: detach it there, and apply again", key,
                       json_str_or(volume->attrs, "server", "?"));
        else if (streq(volume->status, "available"))
            turn_step(t, KIND_ATTACH, have, key, "volume %s is not attached to it", key);
    }
    json_array_foreach (there, i, v) {
        const char *key = json_string_value(v);

        const char *instead = comes_instead(wanted, key);

        if (json_list_has(wanted, key) || !turn_find(t, RESOURCE_VOLUME, key))
            continue;
        if (instead && !turn_ready(t, RESOURCE_VOLUME, instead))
            continue; /* until then it serves on with what it has */
        if (!instead && host && keeps_data(host))
            turn_stuck(t, have, ERR_PARTIAL,
                       "its data is on volume %s, which the island file no longer gives it: put "
                       "`volume` back, or say with `moved` which tier has it now",
                       key);
        else if (!turn_ready(t, RESOURCE_VOLUME, key))
            turn_wait(t, have, &(State){STATE_WAIT, "letting go of a volume"});
        else if (host_stop(t, have))
            continue;
        else if (host_stopped(t, have))
            turn_step(t, KIND_DETACH, have, key, "volume %s is no longer its own", key);
        else
            turn_stuck(t, have, ERR_HEALTH,
                       "volume %s is no longer its own, and it doesn't stop its services: `atoll "
                       "apply --replace %s` has it made anew",
                       key, have->key);
    }
}

static void server_differ(Turn *t, const Resource *want, const Resource *have)
{
    const char *flavor = json_str_or(want->attrs, "flavor", ""),
               *now = json_str_or(have->attrs, "flavor", "");
    const char *image = json_str_or(want->attrs, "image", ""),
               *born = json_str_or(have->attrs, "image", "");
    bool resize = !streq(flavor, now), rebuild = t->g->rebuild && born[0] && !streq(image, born);

    if (streq(have->status, "VERIFY_RESIZE")) {
        confirm(t, want, have);
        return;
    }
    if ((resize || rebuild) && stands_in(t, have)) {
        turn_blocked(t, have, "the one that it stands in for goes first");
    } else if ((resize || rebuild) && !tier_works(t, have)) {
        turn_blocked(t, have, "another server of its tier is not at work");
    } else if (resize) {
        Step *s = turn_step(t, KIND_RESIZE, have, NULL, "flavor %s, to be %s", now, flavor);

        s->downtime_s = turn_boot_s(t, have->key);
    } else if (rebuild) {
        Step *s = turn_step(t, KIND_REBUILD, have, NULL, "image %s, to be %s; root disk erased",
                            born, image);

        s->downtime_s = turn_boot_s(t, have->key);
        s->loss = root_disk_loss_new(t, have);
    } else {
        server_volumes(t, want, have);
    }
}

static bool floating_on(const Turn *t, const Resource *r, const void *with)
{
    return streq(linked_id(r, "port"), with) && goal_find(t->g, r->kind, r->key);
}

/* Nobody needs it any more, and its own services have stopped. */
static bool server_leave(Turn *t, const Resource *have)
{
    const Resource *host = turn_find_at(t, RESOURCE_HOST, have->key, have->generation);
    const Resource *port = turn_find_at(t, RESOURCE_PORT, have->key, have->generation);
    bool comes_back = goal_find(t->g, RESOURCE_SERVER, have->key) &&
                      turn_find(t, RESOURCE_SERVER, have->key) == have;

    if (t->g->destroy)
        return false;
    if (!comes_back && !turn_all_told(t, have)) {
        turn_blocked(t, have, "not every other server has been told to do without it");
        return true;
    }
    if (!comes_back && port && turn_any(t, RESOURCE_FLOATING_IP, floating_on, port->id)) {
        turn_blocked(t, have, "a floating IP is still on it");
        return true;
    }
    /* What holds data makes room for who is to have it. */
    if (!comes_back && host && !json_object_size(json_object_get(host->attrs, "keeps")) &&
        others_come_up(t, have)) {
        turn_blocked(t, have, "new servers come up first");
        return true;
    }
    return host_stop(t, have);
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
                              .leave = server_leave,
                              .made = server_made,
                              .status = "ACTIVE",
                              .words = server_words};
