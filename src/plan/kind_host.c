/* What runs on a server: it says hello, is sent a bundle, and reports. */
#include "host/boot.h"
#include "host/mail.h"
#include "host/spec.h"
#include "plan/kind.h"

/* The URLs of a first boot live 20 minutes (host/boot.h); after that nothing can come any more. */
#define HELLO_LIMIT (30 * MINUTE)
/* A bundle that a host has refused is sent once more by a run that comes so much later: it may have
 * been somebody else's, or the host knows more by now. */
#define REFUSED_AGAIN (30 * SECOND)
/* Of a boot that nobody has seen, and of services that start after it. */
#define BOOT_GUESS MINUTE
#define SERVICES_S 3
/* The edge asks a server that did not answer again after 2 s (role_edge.c). */
#define SEEN_AGAIN (4 * SECOND)

/* Half of the life is for the operator to come back in. */
static bool ends_soon(const Turn *t, const Resource *have)
{
    return json_int(have->attrs, "sent_until", 0) - t->now < MAIL_URL_LIFE / 2;
}

/* Data that it serves goes elsewhere. */
static bool loses_volume(const Turn *t, const Resource *host)
{
    const Resource *server = turn_find_at(t, RESOURCE_SERVER, host->key, host->generation);
    const Resource *want = goal_find(t->g, RESOURCE_SERVER, host->key);
    const json_t *v;
    size_t i;

    json_array_foreach (server ? json_object_get(server->attrs, "volumes") : NULL, i, v) {
        const char *key = json_string_value(v);

        if (want && !json_list_has(json_object_get(want->attrs, "volumes"), key) &&
            turn_find(t, RESOURCE_VOLUME, key))
            return true;
    }
    return false;
}

/* What Redis had does not go with its role. */
static char *left_behind_new(const Turn *t, const Resource *want)
{
    const Resource *old = data_elsewhere(t, want, ROLE_REDIS, "keeps");

    return old ? xasprintf("%s on %s", role_rows[ROLE_REDIS].keeps, old->key) : NULL;
}

static bool was_refused(const Turn *t, const Resource *have)
{
    return streq(json_str(have->attrs, "state"), "refused") &&
           json_int(have->attrs, "seen", 0) == json_int(have->attrs, "sent", 0) &&
           t->now - json_int(have->attrs, "state_since", 0) > REFUSED_AGAIN;
}

/* Its services are as they are to be, or have failed at it: nothing is under way. */
static bool is_settled(const Resource *have, const json_t *spec)
{
    return spec && host_was_sent(have, spec) &&
           json_int(have->attrs, "seen", 0) >= json_int(have->attrs, "sent", 0) &&
           !streq(json_str(have->attrs, "state"), "starting");
}

static bool hears(const Turn *t, const Resource *have)
{
    const Resource *server = turn_ready_at(t, RESOURCE_SERVER, have->key, have->generation);
    Msec until = json_int(have->attrs, "sent_until", 0);

    return server && json_bool(have->attrs, "hello", false) &&
           json_int(have->attrs, "sent", 0) > 0 && !mail_silent(have, t->now) &&
           (!until || until > t->now);
}

static bool is_healthy(const Resource *have)
{
    return streq(json_str(have->attrs, "state"), "healthy");
}

static bool has_role(const Resource *want, Role role)
{
    return json_list_has(json_object_get(want->attrs, "roles"), role_rows[role].name);
}

static bool serves_the_world(const Resource *want)
{
    return has_role(want, ROLE_EDGE) || has_role(want, ROLE_WEB) || has_role(want, ROLE_STREAM);
}

/* The other servers of its tier that can be told something, as wanted: NULL ends. */
static const Resource *next_twin(Turn *t, const Resource *want, size_t *i)
{
    while (*i < t->g->want.len) {
        const Resource *other = &t->g->want.items[(*i)++];

        if (other->kind != RESOURCE_HOST || streq(other->key, want->key) ||
            !same_tier(other->key, want->key) || !is_asked(t->g, RESOURCE_HOST, other->key))
            continue;
        other = turn_want(t, other);
        const Resource *have = turn_find_at(t, RESOURCE_HOST, other->key, other->generation);
        if (have && hears(t, have) && !json_bool(have->attrs, "hello_other", false))
            return other;
    }
    return NULL;
}

/* It does Mastodon's work, and does it well: then new servers come up before it is told to leave
 * some of it to them. */
static bool works(const Resource *want, const Resource *have)
{
    return is_healthy(have) && (serves_the_world(want) || has_role(want, ROLE_WORKER));
}

/* Servers of one tier take other settings one after the other if they serve the world, and else all
 * after the first; with one that does not become healthy it ends, and the last that serves is told
 * after those that they may cure. Not if nothing else differs than whom they talk to: an edge only
 * reads its list anew, and where the database has moved none of them works until it is told. True
 * if it is not its turn yet. */
static bool wait_for_twins(Turn *t, const Resource *want, const Resource *have, const json_t *spec)
{
    bool proven = false, blocked = false;
    size_t i = 0, twins = 0, serving = 0;
    const Resource *other;
    Msec fresh = 0;

    /* While there is something to fetch a deploy is under way, which has an order of its own. */
    if (!works(want, have) || host_was_sent_rest(have, spec) || json_object_get(spec, "fetch"))
        return false;
    while ((other = next_twin(t, want, &i))) {
        const Resource *twin = turn_find_at(t, RESOURCE_HOST, other->key, other->generation);
        _cleanup_json_ json_t *its = host_spec_new(other, t->w);
        bool well = is_settled(twin, its) && is_healthy(twin);
        /* A report comes every minute: of one that was told long ago it is no news. */
        bool lately = t->now - json_int(twin->attrs, "sent_at", 0) < 10 * MINUTE;
        Msec since = well && lately ? json_int(twin->attrs, "state_since", 0) : 0;

        if (its && host_was_sent(twin, its))
            blocked |= !well;
        else
            blocked |= goal_find(t->g, RESOURCE_HOST, twin->key) <
                       goal_find(t->g, RESOURCE_HOST, want->key);
        proven |= well;
        twins++;
        serving += is_healthy(twin);
        if (t->now - since < SEEN_AGAIN)
            fresh = MAX(fresh, since);
    }
    if (proven && !serves_the_world(want))
        return false;
    blocked |= twins && !serving && serves_the_world(want);
    if (blocked)
        turn_blocked(t, have, "another server of its tier takes its settings first");
    else if (fresh)
        turn_wait(t, have, &(State){STATE_WAIT, "another of its tier serves first", fresh});
    return blocked || fresh;
}

/* While it restarts its services, and no other one of its tier stands in for it. */
static int downtime_s(Turn *t, const Resource *want, const Resource *have, const json_t *spec)
{
    bool alone = has_role(want, ROLE_EDGE) || has_role(want, ROLE_POSTGRES) ||
                 has_role(want, ROLE_REDIS) || has_role(want, ROLE_SEARCH);
    size_t i = 0;

    if (!is_healthy(have))
        return 0;
    return alone || host_was_sent_rest(have, spec) || !next_twin(t, want, &i) ? SERVICES_S : 0;
}

static void host_send(Turn *t, const Resource *want, const Resource *have, const json_t *spec)
{
    bool same = host_was_sent(have, spec);
    Msec until = json_int(have->attrs, "sent_until", 0);
    char span[TIME_TEXT_MAX];
    Step *s;

    if (!json_int(have->attrs, "sent", 0)) {
        s = turn_step(t, KIND_SEND, have, NULL, "no settings sent yet");
        s->loss = left_behind_new(t, want);
        return;
    }
    if (was_refused(t, have)) {
        turn_step(t, KIND_SEND, have, NULL, "it refused what it was sent last");
        return;
    }
    if (same && until) {
        turn_step(t, KIND_SEND, have, NULL, "its mailbox addresses end in %s",
                  time_span(until - t->now, span));
        return;
    }
    if (same) {
        turn_step(t, KIND_SEND, have, NULL, "it is not known when its mailbox addresses end");
        return;
    }
    s = turn_step(t, KIND_SEND, have, NULL, "its settings are not what the island file makes them");
    s->downtime_s = downtime_s(t, want, have, spec);
    s->loss = left_behind_new(t, want);
}

/* What became of the newest bundle. */
static void host_report(Turn *t, const Resource *have)
{
    const char *state = json_str_or(have->attrs, "state", "");
    int64_t sent = json_int(have->attrs, "sent", 0), seen = json_int(have->attrs, "seen", 0);
    bool bad = mail_failed(have), silent = mail_silent(have, t->now);

    if (silent && (seen < sent || !bad)) {
        turn_wait(t, have,
                  &(State){STATE_WAIT, WAIT_SILENT, json_int(have->attrs, "state_since", 0)});
    } else if (seen < sent) {
        turn_wait(t, have, &(State){STATE_WAIT, "taking its settings"});
    } else if (streq(state, "healthy")) {
        return;
    } else if (bad) {
        turn_stuck(t, have, ERR_HEALTH, "its services %s",
                   state[0] == 'f' ? "did not become healthy" : "were refused by the host");
        vec_last(&t->next->stucks)->report = xstrdup(json_str_or(have->attrs, "report", ""));
    } else {
        turn_wait(t, have, &(State){STATE_WAIT, "starting services"});
    }
}

bool turn_told(const Turn *t, const Resource *want)
{
    const Resource *have = turn_find_at(t, RESOURCE_HOST, want->key, want->generation);
    _cleanup_json_ json_t *spec = have && hears(t, have) ? host_spec_new(want, t->w) : NULL;

    return spec && is_settled(have, spec);
}

/* Its mailbox addresses ended: it goes on with what it has, and can't be told otherwise. */
static bool is_cut_off(const Turn *t, const Resource *have)
{
    Msec until = json_int(have->attrs, "sent_until", 0);

    return until && until <= t->now &&
           turn_ready_at(t, RESOURCE_SERVER, have->key, have->generation);
}

/* One that is silent is no reason to wait. */
bool turn_all_told(const Turn *t, const Resource *except)
{
    for (size_t i = 0; i < t->g->want.len; i++) {
        const Resource *want = &t->g->want.items[i], *have;

        if (want->kind != RESOURCE_HOST)
            continue;
        want = turn_want((Turn *)(uintptr_t)t, want);
        have = turn_find_at(t, RESOURCE_HOST, want->key, want->generation);
        if (except && streq(except->key, want->key) && except->generation == want->generation)
            continue;
        if (have && (is_cut_off(t, have) || (hears(t, have) && !turn_told(t, want))))
            return false;
    }
    return true;
}

bool host_stop(Turn *t, const Resource *server)
{
    const Resource *have = turn_find_at(t, RESOURCE_HOST, server->key, server->generation);
    _cleanup_json_ json_t *spec = have ? host_stop_spec_new(have) : NULL;

    if (!have || !hears(t, have) || is_settled(have, spec))
        return false;
    if (host_was_sent(have, spec)) {
        turn_wait(t, have, &(State){STATE_WAIT, "finishing what it is at"});
    } else {
        bool goes = !turn_wanted(t, server);
        Step *s = turn_step(t, KIND_SEND, have, "stop", "%s",
                            goes ? "its server goes: services are stopped, jobs finished"
                                 : "a volume of it goes: services are stopped, jobs finished");

        if (json_array_size(json_object_get(server->attrs, "volumes")) > 0 &&
            (!goes || is_marked(server)))
            s->downtime_s = turn_boot_s(t, server->key);
    }
    return true;
}

bool host_stopped(const Turn *t, const Resource *server)
{
    const Resource *have = turn_find_at(t, RESOURCE_HOST, server->key, server->generation);
    _cleanup_json_ json_t *spec = have ? host_stop_spec_new(have) : NULL;

    return have &&
           (!json_int(have->attrs, "sent", 0) || (is_settled(have, spec) && !mail_failed(have)));
}

char *root_disk_loss_new(const Turn *t, const Resource *server)
{
    const Resource *host = turn_find_at(t, RESOURCE_HOST, server->key, server->generation);
    Buf words = BUF_INIT(BUF_MAX_LINE);

    for (size_t role = 0; host && role < ROLES; role++) {
        const RoleRow *row = &role_rows[role];

        if (row->keeps && streq(json_str(json_object_get(host->attrs, "kept"), row->name), "root"))
            buf_printf(&words, "%s%s", words.len ? " and " : "", row->keeps);
    }
    if (words.len)
        buf_str(&words, ", on its root disk");
    return words.len ? buf_detach(&words) : NULL;
}

/* "root", "volume" or NULL. */
static const char *keeps(const Resource *host, Role role, const char *when)
{
    return json_str(json_object_get(host->attrs, when), role_rows[role].name);
}

const Resource *data_elsewhere(const Turn *t, const Resource *want, Role role, const char *when)
{
    const char *volume = json_str(want->attrs, "volume");
    const Resource *own = turn_find(t, RESOURCE_HOST, want->key), *wanted;

    if (!has_role(want, role) ||
        (own && (keeps(own, role, "keeps") || streq(keeps(own, role, "kept"), "root"))))
        return NULL;
    wanted = volume ? goal_find(t->g, RESOURCE_VOLUME, volume) : NULL;
    if (wanted && (turn_find(t, RESOURCE_VOLUME, volume) || turn_moved(t, wanted)))
        return NULL;
    for (size_t i = 0; i < t->w->items.len; i++) {
        const Resource *r = &t->w->items.items[i];

        const char *disk =
            r->kind == RESOURCE_HOST && !streq(r->key, want->key) ? keeps(r, role, when) : NULL;

        if (disk && (streq(disk, "root") || turn_any(t, RESOURCE_VOLUME, is_volume_of, r->key)))
            return r;
    }
    return NULL;
}

int turn_boot_s(const Turn *t, const char *key)
{
    const Resource *host = turn_find(t, RESOURCE_HOST, key);
    const Resource *server = host ? turn_find_at(t, RESOURCE_SERVER, key, host->generation) : NULL;
    Msec took = server ? json_int(host->attrs, "hello_at", 0) - server->created_at : 0;

    if (!server || !server->created_at || took <= 0 || took > 30 * MINUTE)
        took = BOOT_GUESS;
    return (int)(took / SECOND) + SERVICES_S;
}

/* A volume that it is to have is still another server's. */
static bool waits_for_volume(const Turn *t, const Resource *want)
{
    const char *key = json_str(want->attrs, "volume");
    const Resource *volume = key ? goal_find(t->g, RESOURCE_VOLUME, key) : NULL;
    const Resource *there = volume ? turn_find(t, RESOURCE_VOLUME, key) : NULL;

    return there ? streq(there->status, "in-use") && !turn_find(t, RESOURCE_SERVER, want->key)
                 : volume && turn_moved(t, volume);
}

/* A server that is not there yet, or is in its first minutes; but for one that can't come, or waits
 * for a volume. */
static bool comes_up(Turn *t, const Resource *want)
{
    const Resource *server = turn_find_at(t, RESOURCE_SERVER, want->key, want->generation);
    const Resource *have = turn_find_at(t, RESOURCE_HOST, want->key, want->generation);

    if (waits_for_volume(t, want) || (server && plan_server.state(server).is == STATE_STUCK))
        return false;
    if (!have || !json_bool(have->attrs, "hello", false))
        return !have || !have->created_at || t->now < have->created_at + HELLO_LIMIT;
    return json_int(have->attrs, "sent", 0) <= 1 && !is_healthy(have) && !mail_failed(have);
}

bool others_come_up(Turn *t, const Resource *self)
{
    for (size_t i = 0; i < t->g->want.len; i++) {
        const Resource *want = &t->g->want.items[i];

        if (want->kind == RESOURCE_HOST && !streq(want->key, self->key) &&
            comes_up(t, turn_want(t, want)))
            return true;
    }
    return false;
}

static bool lacks_volume(const Turn *t, const Resource *want)
{
    const Resource *server = turn_find_at(t, RESOURCE_SERVER, want->key, want->generation);
    const char *key = json_str(want->attrs, "volume");
    const json_t *there = server ? json_object_get(server->attrs, "volumes") : NULL;

    return key && json_is_array(there) && !json_list_has(there, key);
}

/* Its services see a volume as it is when they are told of it. */
static bool volume_changes(const Turn *t, const Resource *want)
{
    const char *key = json_str(want->attrs, "volume");
    const Resource *there = key ? turn_find(t, RESOURCE_VOLUME, key) : NULL;
    const Resource *volume = key ? goal_find(t->g, RESOURCE_VOLUME, key) : NULL;

    return volume && there &&
           (!turn_ready(t, RESOURCE_VOLUME, key) ||
            json_int(there->attrs, "size_gb", 0) < json_int(volume->attrs, "size_gb", 0));
}

/* The world still comes here, and is to go elsewhere. */
static bool leaves_for_another(const Turn *t, const Resource *r, const void *with)
{
    const Resource *host = with, *want = goal_find(t->g, RESOURCE_FLOATING_IP, r->key);

    return want && streq(json_str(r->attrs, "port"), host->key) &&
           !streq(json_str(want->attrs, "port"), host->key);
}

static void host_differ(Turn *t, const Resource *want, const Resource *have)
{
    int64_t sent = json_int(have->attrs, "sent", 0);
    Msec until = json_int(have->attrs, "sent_until", 0);
    _cleanup_json_ json_t *spec = NULL;
    char span[TIME_TEXT_MAX];
    bool same;

    if (!turn_ready_at(t, RESOURCE_SERVER, have->key, have->generation)) {
        turn_blocked(t, have, "its server does not run");
        return;
    }
    if (!json_bool(have->attrs, "hello", false)) {
        turn_wait(t, have, &(State){STATE_WAIT, "booting", have->created_at, HELLO_LIMIT});
        return;
    }
    spec = host_spec_new(want, t->w);
    same = spec && host_was_sent(have, spec);
    if (sent && until && until <= t->now)
        turn_stuck(t, have, ERR_HEALTH,
                   "its mailbox addresses ended %s ago, so it can't be told anything any more; "
                   "`atoll apply --replace %s` has it made anew (volumes stay)",
                   time_span(t->now - until, span), have->key);
    else if (json_bool(have->attrs, "hello_other", false))
        turn_stuck(t, have, ERR_DENIED,
                   "somebody has said hello with its bootstrap key a second time: whoever can read "
                   "its user_data has tried to be sent its secrets, and was not; `atoll apply "
                   "--replace %s` has it made anew (volumes stay)",
                   have->key);
    else if (!spec)
        turn_blocked(t, have, "a port or the media user that its settings name is not there");
    else if (loses_volume(t, have))
        turn_blocked(t, have, "its volume goes first");
    else if (!same && lacks_volume(t, want))
        turn_blocked(t, have, "its volume is not attached");
    else if (!same && volume_changes(t, want))
        turn_blocked(t, have, "its volume is still changing");
    else if (sent && !same && turn_any(t, RESOURCE_FLOATING_IP, leaves_for_another, have))
        turn_blocked(t, have, "the floating IP moves first");
    else if (sent && !same && works(want, have) && !json_bool(spec, "paused", false) &&
             others_come_up(t, want))
        turn_blocked(t, have, "new servers come up first");
    else if (sent && !same && !json_bool(spec, "paused", false) &&
             wait_for_twins(t, want, have, spec))
        return;
    else if (!sent || !same || ends_soon(t, have) || was_refused(t, have))
        host_send(t, want, have, spec);
    else
        host_report(t, have);
}

static void host_words(const Resource *r, Buf *out)
{
    const json_t *v;
    size_t i;

    json_array_foreach (json_object_get(r->attrs, "roles"), i, v) {
        buf_printf(out, "%s%s", i ? ", " : "", json_string_value(v));
    }
}

/* It comes and goes with its server: plan.c makes no step for that. */
const PlanKind plan_host = {.differ = host_differ, .status = "", .words = host_words};
