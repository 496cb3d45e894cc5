/* What runs on a server: it says hello, is sent a bundle, and reports. */
#include "host/boot.h"
#include "host/spec.h"
#include "plan/kind.h"

/* The URLs of a first boot live 20 minutes (host/boot.h); after that nothing can come any more. */
#define HELLO_LIMIT (30 * MINUTE)

static bool same_spec(const Resource *have, const json_t *spec)
{
    char hash[17];

    host_spec_hash(spec, hash);
    return streq(json_str(have->attrs, "sent_spec"), hash);
}

/* Half of the life is for the operator to come back in. */
static bool ends_soon(const Turn *t, const Resource *have)
{
    return json_int(have->attrs, "sent_until", 0) - t->now < MAIL_URL_LIFE / 2;
}

static void host_send(Turn *t, const Resource *have, int64_t sent, bool same)
{
    Msec until = json_int(have->attrs, "sent_until", 0);
    char span[TIME_TEXT_MAX];
    Step *s;

    if (!sent) {
        turn_step(t, KIND_SEND, have, NULL, "no settings sent yet");
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
    s->downtime_s = streq(json_str(have->attrs, "state"), "healthy") ? 5 : 0;
}

/* What became of the newest bundle. */
static void host_report(Turn *t, const Resource *have)
{
    const char *state = json_str_or(have->attrs, "state", "");
    int64_t sent = json_int(have->attrs, "sent", 0), seen = json_int(have->attrs, "seen", 0);
    bool bad = streq(state, "failed") || streq(state, "refused");
    bool silent = mail_silent(have, t->now);

    if (silent && (seen < sent || !bad)) {
        turn_wait(t, have, &(State){STATE_WAIT, "silent", json_int(have->attrs, "state_since", 0)});
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

static void host_differ(Turn *t, const Resource *want, const Resource *have)
{
    int64_t sent = json_int(have->attrs, "sent", 0);
    Msec until = json_int(have->attrs, "sent_until", 0);
    _cleanup_json_ json_t *spec = NULL;
    char span[TIME_TEXT_MAX];
    bool same;

    if (!turn_ready(t, RESOURCE_SERVER, have->key)) {
        turn_blocked(t, have, "its server does not run");
        return;
    }
    if (!json_bool(have->attrs, "hello", false)) {
        turn_wait(t, have, &(State){STATE_WAIT, "booting", have->created_at, HELLO_LIMIT});
        return;
    }
    spec = host_spec_new(want, t->w);
    same = spec && same_spec(have, spec);
    if (sent && until && until <= t->now)
        turn_stuck(t, have, ERR_HEALTH,
                   "its mailbox addresses ended %s ago, so it can't be told anything any more; "
                   "delete server %s in the cloud and apply again to have it made anew (volumes "
                   "stay)",
                   time_span(t->now - until, span), have->name ? have->name : have->key);
    else if (!spec)
        turn_blocked(t, have, "a port or the media user that its settings name is not there");
    else if (!sent || !same || ends_soon(t, have))
        host_send(t, have, sent, same);
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
