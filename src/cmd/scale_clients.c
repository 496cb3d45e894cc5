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

/* From tick to tick; a restart does without. */
typedef struct Memory {
    ClientsLaw law;
    ClientsDecision said;
    int again;   /* so many ticks more is asked for what is wanted */
    char *going; /* the server that was told to go, as long as it is there */
} Memory;

static void see(const Pool *pool, Memory *m, Tick *t)
{
    int64_t fewest = INT64_MAX;
    bool still_going = false;

    t->seen.all_tell = true;
    for (size_t i = 0; i < pool->servers.len; i++) {
        const PoolServer *p = &pool->servers.items[i];

        if (p->error)
            strlist_add(&t->gone, p->name);
        bool goes = p->leaving || streq(p->name, m->going);
        t->leaving += goes;
        t->seen.clients += MAX(p->clients, 0);
        still_going |= streq(p->name, m->going);
        if (p->error || goes)
            continue;
        t->seen.there++;
        t->seen.all_tell &= p->clients >= 0;
        t->booting += p->clients < 0;
        if (p->clients >= 0 && p->clients < fewest) {
            fewest = p->clients;
            t->victim = p->name;
        }
    }
    if (!still_going) {
        free(m->going);
        m->going = NULL;
    }
}

/* What was begun is gone on with until all are as they should be; and a little longer, since the
 * edge is told of a server that has come up. */
static void act(const ScaleClients *s, Memory *m, Tick *t)
{
    int more = t->decision.desired - t->seen.there;

    if (more > 0)
        strlist_addf(&t->did, "%d more to be made", more);
    for (size_t i = 0; i < t->gone.len; i++)
        strlist_addf(&t->did, "%s is in error and goes", t->gone.items[i]);
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
    static const char *const none[] = {NULL};
    (void)pool_plan.set(s->pool, t->decision.desired,
                        t->gone.len ? (const char *const *)t->gone.items : none, 0, &t->act);
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

static void say(Cmd *c, const Tick *t, ClientsDecision *said)
{
    char when[TIME_TEXT_MAX];

    if (t->api.text)
        log_warn("%s: the size is held", t->api.text);
    if (t->act.text)
        log_warn("%s", t->act.text);
    if (c->common.json) {
        say_json(t);
        return;
    }
    time_format(time_now(), false, when);
    if (t->decision.desired != said->desired || t->decision.binding != said->binding)
        cmd_say(c, "%s  %d%s, wanted %d: %s (%s)\n", when, t->seen.there,
                t->booting ? " with those that boot" : "", t->decision.desired, t->decision.reason,
                scale_bindings[t->decision.binding]);
    for (size_t i = 0; i < t->did.len; i++)
        cmd_say(c, "%s  %s\n", when, t->did.items[i]);
    *said = t->decision;
}

void scale_clients(Cmd *c, const ScaleClients *s)
{
    Memory m = {.said = {.desired = -1}, .again = AGAIN}; /* another may have been killed at it */

    for (Msec at = time_mono(); cmd_scale_wait(c, at); at = MAX(at + s->every_ms, time_mono())) {
        _cleanup_(tick_clear) Tick t = {.seen = {.now = time_mono()}};
        _cleanup_(pool_clear) Pool pool = {0};
        int result = 0;

        bool busy = pool_plan.busy(s->pool, &result, &t.act);
        if (pool_plan.look(s->pool, &pool, &t.api) == 0) {
            see(&pool, &m, &t);
            clients_decide(&m.law, &s->config, &t.seen, &t.decision);
            if (!busy)
                act(s, &m, &t);
        } else {
            t.decision = m.said;
        }
        say(c, &t, &m.said);
    }
    free(m.going);
}
