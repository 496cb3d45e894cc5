#include "cmd/scale_clients.h"
#include "base/log.h"
#include "cmd/scale.h"

#define AGAIN 3

typedef struct Tick {
    ClientsSeen seen;
    ClientsDecision decision;
    int booting, leaving;
    const char *victim; /* whom fewest are connected to; of the pool */
    StrList gone;       /* servers in error */
    Err api, act;
    StrList did; /* in words */
} Tick;

static void tick_clear(Tick *t)
{
    strlist_clear(&t->gone);
    err_clear(&t->api);
    err_clear(&t->act);
    strlist_clear(&t->did);
}
DEFINE_CLEAR(Tick, tick_clear)

typedef struct Mute {
    char *name;
    Msec since; /* it has not told of its clients */
    bool still;
} Mute;

/* From tick to tick; a restart does without. */
typedef struct Memory {
    ClientsLaw law;
    ClientsDecision last;
    ScaleSaid said;
    int again;   /* so many ticks more is asked for what is wanted */
    char *going; /* the server that was told to go, as long as it is there */
    VEC(Mute) mutes;
    PoolRetry retry;
} Memory;

static void memory_clear(Memory *m)
{
    free(m->going);
    for (size_t i = 0; i < m->mutes.len; i++)
        free(m->mutes.items[i].name);
    vec_clear(&m->mutes);
}
DEFINE_CLEAR(Memory, memory_clear)

/* Since when. */
static Msec note_mute(Memory *m, const char *name, Msec now)
{
    for (size_t i = 0; i < m->mutes.len; i++) {
        Mute *one = &m->mutes.items[i];
        if (streq(one->name, name)) {
            one->still = true;
            return one->since;
        }
    }
    vec_push(&m->mutes, (Mute){xstrdup(name), now, true});
    return now;
}

/* Those that were noted in this tick stay; none if nobody tells, as when reports can't be read. */
static void keep_mutes(Memory *m, bool any_tells)
{
    size_t n = 0;

    for (size_t i = 0; i < m->mutes.len; i++) {
        Mute *one = &m->mutes.items[i];
        if (one->still && any_tells)
            m->mutes.items[n++] = (Mute){one->name, one->since, false};
        else
            free(one->name);
    }
    m->mutes.len = n;
}

/* Given up: another is made in its place. */
static bool given_up(const ScaleClients *s, const PoolServer *p, Memory *m, Tick *t)
{
    if (p->error)
        strlist_addf(&t->did, "%s is in error and goes", p->name);
    else if (p->clients < 0 && t->seen.now - note_mute(m, p->name, t->seen.now) >= s->join_ms)
        strlist_addf(&t->did, "%s does not serve for too long and goes", p->name);
    else
        return false;
    strlist_add(&t->gone, p->name);
    return true;
}

static void see(const ScaleClients *s, const Pool *pool, Memory *m, Tick *t)
{
    bool still_going = false, any_tells = false;
    int64_t fewest = INT64_MAX;

    t->seen.all_tell = true;
    for (size_t i = 0; i < pool->servers.len; i++) {
        const PoolServer *p = &pool->servers.items[i];
        bool goes = p->leaving || streq(p->name, m->going);

        t->leaving += goes;
        t->seen.clients += MAX(p->clients, 0);
        any_tells |= p->clients >= 0;
        still_going |= streq(p->name, m->going);
        if (goes || given_up(s, p, m, t))
            continue;
        t->seen.there++;
        t->seen.all_tell &= p->clients >= 0;
        t->booting += p->clients < 0;
        if (p->clients >= 0 && p->clients < fewest) {
            fewest = p->clients;
            t->victim = p->name;
        }
    }
    keep_mutes(m, any_tells);
    if (!still_going) {
        free(m->going);
        m->going = NULL;
    }
}

/* What was begun is gone on with until all are as they should be; and a little longer, since the
 * edge is told of a server that has come up. */
static void act(const ScaleClients *s, Memory *m, Tick *t)
{
    static const char *const none[] = {NULL};
    int more = t->decision.desired - t->seen.there;

    if (more > 0)
        strlist_addf(&t->did, "%d more to be made", more);
    if (more < 0 && t->victim)
        strlist_addf(&t->did, "%s sends its clients to the others and goes", t->victim);
    if (more < 0 && t->victim && !s->dry_run) {
        free(m->going);
        m->going = xstrdup(t->victim);
    }
    if (more || t->gone.len || t->booting || t->leaving)
        m->again = AGAIN;
    if (s->dry_run || m->again == 0)
        return;
    m->again--;
    if (m->going)
        strlist_add(&t->gone, m->going);
    if (pool_plan.set(s->pool, t->decision.desired,
                      t->gone.len ? (const char *const *)t->gone.items : none, 0, &t->act) < 0)
        pool_failed(&m->retry, t->seen.now);
}

/* True if something can be asked for now. */
static bool is_free(const ScaleClients *s, Memory *m, Tick *t)
{
    int result = 0;
    bool busy = pool_busy(&m->retry, &pool_plan, s->pool, t->seen.now, &result, &t->act);

    if (result < 0)
        m->again = AGAIN;
    return !busy && !pool_waits(&m->retry, t->seen.now);
}

static void say_json(const Tick *t)
{
    json_t *line =
        json_make_new("{s:s, s:i, s:s, s:s, s:{s:i, s:i, s:I, s:b}}", "event", "scale", "desired",
                      t->decision.desired, "binding", scale_bindings[t->decision.binding], "reason",
                      t->decision.reason, "inputs", "there", t->seen.there, "booting", t->booting,
                      "clients", (json_int_t)t->seen.clients, "all_tell", (int)t->seen.all_tell);
    json_object_set_new(line, "did", json_list_new(&t->did));
    cmd_json(line);
}

static void say(Cmd *c, const Tick *t, ScaleSaid *said)
{
    cmd_scale_trouble(&said->api_away, t->api.kind ? &t->api : NULL, SCALE_LOOKS_AGAIN);
    if (t->act.text)
        log_warn("%s", t->act.text);
    if (c->common.json) {
        say_json(t);
        return;
    }
    cmd_scale_say(c,
                  &(ScaleSay){.when = time_now(),
                              .there = t->seen.there,
                              .booting = t->booting > 0,
                              .desired = t->decision.desired,
                              .binding = t->decision.binding,
                              .reason = t->decision.reason,
                              .did = &t->did},
                  said);
}

void scale_clients(Cmd *c, const ScaleClients *s)
{
    /* Another may have been killed at it. */
    _cleanup_(memory_clear)
        Memory m = {.last = {.desired = -1}, .said = {.desired = -1}, .again = AGAIN};

    for (Msec at = time_mono(); cmd_scale_wait(c, at); at = MAX(at + s->every_ms, time_mono())) {
        _cleanup_(tick_clear) Tick t = {.seen = {.now = time_mono()}};
        _cleanup_(pool_clear) Pool pool = {0};

        bool may_act = is_free(s, &m, &t);
        if (pool_plan.look(s->pool, &pool, &t.api) == 0) {
            see(s, &pool, &m, &t);
            clients_decide(&m.law, &s->config, &t.seen, &t.decision);
            if (may_act)
                act(s, &m, &t);
            m.last = t.decision;
        } else {
            t.decision = m.last;
        }
        say(c, &t, &m.said);
    }
}
