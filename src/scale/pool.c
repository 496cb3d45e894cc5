#include "scale/pool.h"

#include <uthash.h>

#define RETRY_FIRST (15 * SECOND)
#define RETRY_MAX (5 * MINUTE)

const char *const pool_states[POOL_STATES] = {"booting", "active", "draining",
                                              "leaving", "error",  "condemned"};

/* Of a process that is quiet. */
typedef struct Drain {
    char *identity;
    Msec since, told;
    double beat; /* the last that was looked at */
    int idle;    /* beats in a row without a job */
    bool there;
    UT_hash_handle hh;
} Drain;

/* Of a server: when a process of it was seen last, or it was seen first. */
typedef struct Sign {
    char *name;
    Msec at;
    bool there;
    UT_hash_handle hh;
} Sign;

struct PoolMemory {
    Drain *drains;
    Sign *signs;
};

PoolMemory *pool_memory_new(void)
{
    return NEW(PoolMemory);
}

/* Frees those that were not there, or all; the others have to be seen again. */
static void forget_drains(PoolMemory *m, bool all)
{
    Drain *d = m->drains;

    HASH_CLEAR(hh, m->drains);
    while (d) {
        Drain *next = d->hh.next;
        if (d->there && !all) {
            d->there = false;
            HASH_ADD_KEYPTR(hh, m->drains, d->identity, strlen(d->identity), d);
        } else {
            free(d->identity);
            free(d);
        }
        d = next;
    }
}

static void forget_signs(PoolMemory *m, bool all)
{
    Sign *g = m->signs;

    HASH_CLEAR(hh, m->signs);
    while (g) {
        Sign *next = g->hh.next;
        if (g->there && !all) {
            g->there = false;
            HASH_ADD_KEYPTR(hh, m->signs, g->name, strlen(g->name), g);
        } else {
            free(g->name);
            free(g);
        }
        g = next;
    }
}

void pool_blind(PoolMemory *m)
{
    forget_signs(m, true);
}

PoolMemory *pool_memory_free(PoolMemory *m)
{
    if (!m)
        return NULL;
    forget_drains(m, true);
    forget_signs(m, true);
    free(m);
    return NULL;
}

void pool_clear(Pool *p)
{
    for (size_t i = 0; i < p->servers.len; i++)
        free(p->servers.items[i].name);
    vec_clear(&p->servers);
}

bool pool_owns(const PoolServer *s, const SidekiqProcess *process)
{
    size_t n = strlen(s->name);

    return strncmp(process->host, s->name, n) == 0 &&
           (process->host[n] == '\0' || process->host[n] == '.');
}

static Drain *drain_of(PoolMemory *m, const SidekiqProcess *p, Msec now)
{
    Drain *d = NULL;

    HASH_FIND_STR(m->drains, p->identity, d);
    if (d)
        return d;
    d = NEW(Drain);
    d->identity = xstrdup(p->identity);
    d->since = now;
    HASH_ADD_KEYPTR(hh, m->drains, d->identity, strlen(d->identity), d);
    return d;
}

/* A beat is what the process wrote at that moment: the first after the signal may be from before
 * it, and a job may have come in between. */
static void note_drain(Drain *d, const SidekiqProcess *p)
{
    d->there = true;
    if (p->beat <= d->beat)
        return;
    d->beat = p->beat;
    d->idle = p->busy == 0 ? d->idle + 1 : 0;
}

void pool_told(PoolMemory *m, const SidekiqProcess *process, Msec now)
{
    drain_of(m, process, now)->told = now;
}

/* Signals are gone from Redis after a minute (Sidekiq's api.rb). */
static void note_told(PoolMemory *m, SidekiqProcess *p, Msec now)
{
    Drain *d = NULL;

    HASH_FIND_STR(m->drains, p->identity, d);
    p->told = p->alive && !p->quiet && d && d->told && now - d->told < MINUTE;
    if (p->told)
        d->there = true;
}

static Msec last_sign(PoolMemory *m, const PoolServer *s, bool alive, Msec now)
{
    Sign *g = NULL;

    HASH_FIND_STR(m->signs, s->name, g);
    if (!g) {
        g = NEW(Sign);
        g->name = xstrdup(s->name);
        g->at = now;
        HASH_ADD_KEYPTR(hh, m->signs, g->name, strlen(g->name), g);
    }
    if (alive)
        g->at = now;
    g->there = true;
    return g->at;
}

static Msec drain_limit(const PoolRules *rules, const SidekiqProcess *p)
{
    Msec most = p->queues.len ? 0 : rules->drain_ms;

    for (size_t i = 0; i < p->queues.len; i++) {
        Msec own = rules->drain_ms;
        for (size_t k = 0; rules->drain && k < rules->drain->len; k++)
            if (streq(rules->drain->items[k].queue, p->queues.items[i]))
                own = rules->drain->items[k].ms;
        most = MAX(most, own);
    }
    return most;
}

static void judge(PoolServer *s, const Observed *seen, PoolMemory *m, const PoolRules *rules,
                  Msec now)
{
    int alive = 0, quiet = 0, drained = 0;
    bool overdue = false;

    s->busy = s->processes = 0;
    for (size_t i = 0; i < seen->processes.len; i++) {
        const SidekiqProcess *p = &seen->processes.items[i];
        if (!p->alive || !pool_owns(s, p))
            continue;
        alive++;
        s->busy += p->busy;
        quiet += p->told;
        if (!p->quiet)
            continue;
        Drain *d = drain_of(m, p, now);
        note_drain(d, p);
        quiet++;
        drained += d->idle >= 2;
        overdue |= now - d->since > drain_limit(rules, p);
    }
    s->processes = alive;
    s->drained = alive > 0 && drained == alive;
    s->overdue = overdue;
    Msec silent = now - MAX(last_sign(m, s, alive > 0, now), s->made);
    s->state = s->error                  ? POOL_ERROR
               : s->leaving              ? POOL_LEAVING
               : alive > 0 && quiet > 0  ? POOL_DRAINING
               : alive > 0               ? POOL_ACTIVE
               : silent > rules->join_ms ? POOL_CONDEMNED
                                         : POOL_BOOTING;
}

/* One that takes jobs, and will. */
static bool stays(const Pool *pool, const SidekiqProcess *p)
{
    for (size_t i = 0; i < pool->servers.len; i++)
        if (pool->servers.items[i].chosen && pool_owns(&pool->servers.items[i], p))
            return false;
    return p->alive && !p->quiet && !p->told;
}

/* Nobody else takes one of its queues, or it runs the schedule, or can't be told to finish. */
static bool is_keeper(const PoolServer *s, const Pool *pool, const Observed *seen)
{
    for (size_t i = 0; i < seen->processes.len; i++) {
        const SidekiqProcess *p = &seen->processes.items[i];
        if (!p->alive || p->quiet || p->told || !pool_owns(s, p))
            continue;
        if (p->embedded)
            return true;
        for (size_t q = 0; q < p->queues.len; q++) {
            const char *queue = p->queues.items[q];
            bool others = false;
            for (size_t k = 0; k < seen->processes.len && !others; k++) {
                const SidekiqProcess *other = &seen->processes.items[k];
                others = !pool_owns(s, other) && stays(pool, other) &&
                         strlist_has(&other->queues, queue);
            }
            if (streq(queue, "scheduler") || !others)
                return true;
        }
    }
    return false;
}

void pool_failed(PoolRetry *r, Msec now)
{
    r->wait = r->wait ? MIN(2 * r->wait, RETRY_MAX) : RETRY_FIRST;
    r->at = now + r->wait;
}

bool pool_waits(const PoolRetry *r, Msec now)
{
    return now < r->at;
}

bool pool_busy(PoolRetry *r, const PoolDriver *driver, void *self, Msec now, int *ret_result,
               Err *err)
{
    bool busy = driver->busy(self, ret_result, err);

    if (*ret_result < 0)
        pool_failed(r, now);
    else if (!busy && !pool_waits(r, now))
        r->wait = 0;
    return busy;
}

void pool_judge(Pool *p, Observed *seen, PoolMemory *m, const PoolRules *rules, Msec now)
{
    for (size_t i = 0; i < seen->processes.len; i++)
        note_told(m, &seen->processes.items[i], now);
    for (size_t i = 0; i < p->servers.len; i++)
        judge(&p->servers.items[i], seen, m, rules, now);
    forget_drains(m, false);
    forget_signs(m, false);
}

int pool_in_state(const Pool *p, PoolState state)
{
    int n = 0;

    for (size_t i = 0; i < p->servers.len; i++)
        n += p->servers.items[i].state == state;
    return n;
}

int pool_others(const Pool *p, const Observed *seen)
{
    int threads = 0;

    for (size_t i = 0; i < seen->processes.len; i++) {
        const SidekiqProcess *process = &seen->processes.items[i];
        bool ours = false;
        for (size_t k = 0; k < p->servers.len; k++)
            ours |= pool_owns(&p->servers.items[k], process);
        if (ours || !process->alive || process->quiet || process->told)
            continue;
        threads += process->threads;
    }
    return threads;
}

static int by_cost(const void *a, const void *b)
{
    const PoolServer *x = *(const PoolServer *const *)a, *y = *(const PoolServer *const *)b;

    if (x->busy != y->busy)
        return x->busy < y->busy ? -1 : 1;
    return x->made > y->made ? -1 : x->made < y->made ? 1 : -strcmp(x->name, y->name);
}

void pool_victims(Pool *p, const Observed *seen, size_t n, StrList *ret)
{
    VEC(PoolServer *) list = {0};

    for (size_t i = 0; i < p->servers.len; i++)
        if (p->servers.items[i].state == POOL_ACTIVE)
            vec_push(&list, &p->servers.items[i]);
    if (list.len)
        qsort(list.items, list.len, sizeof *list.items, by_cost);
    for (size_t i = 0; i < list.len && n > 0; i++) {
        if (is_keeper(list.items[i], p, seen))
            continue;
        list.items[i]->chosen = true;
        strlist_add(ret, list.items[i]->name);
        n--;
    }
    vec_clear(&list);
}
