#include "scale/scaler.h"

#define CONDEMNED_MAX 3 /* so many in a row that never beat: the image is bad, no more are made */

struct Scaler {
    ScalerOptions o;
    Observer *observer;
    Redis *redis;
    Scale *scale;
    PoolMemory *memory;
    Observed seen;
    Pool pool;
    bool had_workers; /* some tick saw a process of the pool */
    ScalePool told;   /* of the last tick that saw all */
    bool knows;       /* there was one */
    int desired;      /* what was asked for, while the driver is at it */
    int failed;       /* servers that were given up since the last one that came up */
    Msec failed_at;
    StrList given_up; /* these, by name and age: each counts once */
    PoolRetry retry;
    bool unfinished; /* what was begun last has failed: parts of it may be left */
    bool quota;      /* the last failure was one of quota */
};

Scaler *scaler_new(const ScalerOptions *o)
{
    Scaler *s = NEW(Scaler);

    s->o = *o;
    s->observer = observer_new(&o->observe);
    s->scale = scale_new();
    s->memory = pool_memory_new();
    return s;
}

Scaler *scaler_free(Scaler *s)
{
    if (!s)
        return NULL;
    if (s->redis)
        observer_leave(s->observer, s->redis, NULL); /* else its time runs out */
    s->redis = redis_close(s->redis);
    s->observer = observer_free(s->observer);
    s->scale = scale_free(s->scale);
    s->memory = pool_memory_free(s->memory);
    observed_clear(&s->seen);
    pool_clear(&s->pool);
    strlist_clear(&s->given_up);
    free(s);
    return NULL;
}

void scaler_tick_clear(ScalerTick *t)
{
    strlist_clear(&t->did);
    err_clear(&t->redis);
    err_clear(&t->api);
    err_clear(&t->act);
    *t = (ScalerTick){0};
}

static bool look_at_redis(Scaler *s, Msec epoch, Err *err)
{
    int r = s->redis ? 0 : redis_open(&s->o.redis, &s->redis, err);

    if (r == 0)
        r = observer_tick(s->observer, s->redis, (double)epoch / 1000, &s->seen, err);
    /* After any error: replies of before may still be on their way. */
    if (r < 0)
        s->redis = redis_close(s->redis);
    return r == 0;
}

static bool look_at_pool(Scaler *s, Err *err)
{
    Pool p = {0};
    int r = s->o.driver->look(s->o.self, &p, err);

    if (r < 0) {
        pool_clear(&p);
        return false;
    }
    pool_clear(&s->pool);
    s->pool = p;
    return true;
}

static void fill_queues(const Scaler *s, ScaleObservation *o)
{
    for (size_t i = 0; i < s->o.config->n_queues; i++) {
        const ObservedQueue *q = observed_queue(&s->seen, s->o.config->queues[i].name);
        /* One that nobody ever pushed to is not in the set: it is empty. */
        o->queues[i].known = !q || (q->known && !q->paused);
        if (q)
            o->queues[i] = (ScaleSeen){o->queues[i].known, q->len, q->age_s, q->done, q->ms};
    }
}

static int workers(const Pool *p)
{
    int n = 0;

    for (size_t i = 0; i < p->servers.len; i++)
        n += p->servers.items[i].processes;
    return n;
}

/* Of those that are to stay. The last one that goes is silent before it is gone. */
static bool any_stands(const Pool *p)
{
    for (size_t i = 0; i < p->servers.len; i++)
        if (!p->servers.items[i].leaving)
            return true;
    return false;
}

/* It stands in the list for some turns more. */
static void give_up(Scaler *s, const PoolServer *p, Msec mono)
{
    _cleanup_free_ char *name = xasprintf("%s %lld", p->name, (long long)p->made);

    if (strlist_has(&s->given_up, name))
        return;
    strlist_add(&s->given_up, name);
    s->failed++;
    s->failed_at = mono;
}

/* What the servers are is known from Redis: without it they are what they were, and for one who has
 * just begun all that are there. */
static void count_pool(Scaler *s, Msec mono, ScaleObservation *o)
{
    ScalePool *p = &o->pool;

    if (!o->redis_ok || !o->api_ok) {
        pool_blind(s->memory);
        *p = s->told;
        p->active = s->knows ? p->active : (int)s->pool.servers.len;
        return;
    }
    p->active = pool_in_state(&s->pool, POOL_ACTIVE);
    p->booting = pool_in_state(&s->pool, POOL_BOOTING);
    p->draining = pool_in_state(&s->pool, POOL_DRAINING) + pool_in_state(&s->pool, POOL_LEAVING);
    p->error = pool_in_state(&s->pool, POOL_ERROR) + pool_in_state(&s->pool, POOL_CONDEMNED);
    if (p->active > s->told.active) {
        s->failed = 0;
        strlist_clear(&s->given_up);
    }
    for (size_t i = 0; i < s->pool.servers.len; i++) {
        const PoolServer *server = &s->pool.servers.items[i];
        if (server->state == POOL_ERROR || server->state == POOL_CONDEMNED)
            give_up(s, server, mono);
    }
    p->poison = s->failed >= CONDEMNED_MAX && mono - s->failed_at < s->o.rules.retry_ms;
    s->told = *p;
    s->knows = true;
}

static void observe(Scaler *s, Msec mono, Msec epoch, ScalerTick *t)
{
    ScaleObservation *o = &t->seen;
    bool redis = look_at_redis(s, epoch, &t->redis), api = look_at_pool(s, &t->api);

    *o = (ScaleObservation){.t = (double)mono / 1000,
                            .epoch = (double)epoch / 1000,
                            .tick = (double)s->o.tick_ms / 1000,
                            .api_ok = api};
    if (redis) {
        pool_judge(&s->pool, &s->seen, s->memory, &s->o.rules, (Msec)(s->seen.epoch * 1000));
        fill_queues(s, o);
        o->busy = s->seen.busy;
        o->other = pool_others(&s->pool, &s->seen);
        o->due_60 = s->seen.due_60;
        o->due_300 = s->seen.due_300;
    }
    /* Flushed, or another Redis: no process of servers that are there is no news of them. */
    bool gone = redis && s->had_workers && workers(&s->pool) == 0 && any_stands(&s->pool);
    if (redis && gone && !t->redis.text)
        (void)err_set(&t->redis, ERR_TEMPORARY, "Redis tells of no process of the pool any more");
    if (redis && s->seen.left_out && !t->redis.text)
        (void)err_set(&t->redis, ERR_TEMPORARY,
                      "Redis has %zu queues or processes more than are looked at (%d and %d)",
                      s->seen.left_out, OBSERVE_QUEUES, OBSERVE_PROCESSES);
    o->redis_ok = redis && !s->seen.reset && !gone && !s->seen.left_out;
    s->had_workers |= redis && workers(&s->pool) > 0;
    count_pool(s, mono, o);
    t->leader = redis && (s->seen.leader || !s->o.observe.lease);
    t->holder = s->seen.holder;
    t->pool = &s->pool;
}

static int quieten(Scaler *s, const PoolServer *server, Err *err)
{
    int r = 0;

    for (size_t k = 0; r == 0 && k < s->seen.processes.len; k++) {
        const SidekiqProcess *p = &s->seen.processes.items[k];
        if (!p->alive || p->quiet || p->told || !pool_owns(server, p))
            continue;
        r = observer_signal(s->observer, s->redis, p->identity, "TSTP", err);
        if (r == 0)
            pool_told(s->memory, p, (Msec)(s->seen.epoch * 1000));
    }
    return r;
}

/* Its host, which is told to stop at the same time, would first wait for the jobs again. */
static int end_overdue(Scaler *s, Err *err)
{
    int r = 0;

    for (size_t i = 0; i < s->pool.servers.len; i++) {
        const PoolServer *server = &s->pool.servers.items[i];
        if (server->state != POOL_DRAINING || server->drained || !server->overdue)
            continue;
        for (size_t k = 0; r == 0 && k < s->seen.processes.len; k++) {
            const SidekiqProcess *p = &s->seen.processes.items[k];
            if (p->alive && pool_owns(server, p))
                r = observer_signal(s->observer, s->redis, p->identity, "TERM", err);
        }
    }
    return r;
}

/* Least busy first; what is signalled can't be taken back (Sidekiq's quiet is for good). Of a
 * server of which some processes were told before a kill the others follow. */
static int drain(Scaler *s, int n, ScalerTick *t)
{
    _cleanup_(strlist_clear) StrList victims = {0};
    int r = 0;

    if (n > 0)
        pool_victims(&s->pool, &s->seen, (size_t)n, &victims);
    for (size_t i = 0; r == 0 && i < s->pool.servers.len; i++) {
        const PoolServer *server = &s->pool.servers.items[i];
        if (server->chosen || server->state == POOL_DRAINING)
            r = quieten(s, server, &t->act);
        if (server->chosen)
            strlist_addf(&t->did, "%s is told to finish: %d jobs at work", server->name,
                         server->busy);
    }
    return r;
}

static bool must_go(const PoolServer *p, ScalerTick *t)
{
    switch (p->state) {
    case POOL_DRAINING:
        if (!p->drained && !p->overdue)
            return false;
        if (p->drained)
            strlist_addf(&t->did, "%s has finished and goes", p->name);
        else
            strlist_addf(&t->did,
                         "%s has %d jobs left and no more time: it is stopped, and they are put "
                         "back",
                         p->name, p->busy);
        return true;
    case POOL_ERROR:
        strlist_addf(&t->did, "%s is in error and goes", p->name);
        return true;
    case POOL_CONDEMNED:
        strlist_addf(&t->did, "%s is silent for too long and goes", p->name);
        return true;
    default:
        return false;
    }
}

static void failed(Scaler *s, int r)
{
    s->unfinished = true;
    s->quota = r == -ERR_QUOTA || r == -ERR_PREFLIGHT;
}

/* Makes and removes servers. What was begun is gone on with until all are as they should be. */
static void move_pool(Scaler *s, int more, Msec mono, ScalerTick *t)
{
    _cleanup_(strlist_clear) StrList go = {0};
    int size = 0, unsettled = 0;

    for (size_t i = 0; i < s->pool.servers.len; i++) {
        const PoolServer *p = &s->pool.servers.items[i];
        if (must_go(p, t))
            strlist_add(&go, p->name);
        else
            size += p->state != POOL_LEAVING;
        unsettled += p->state == POOL_BOOTING || p->state == POOL_LEAVING;
    }
    if (go.len == 0 && more <= 0 && unsettled == 0 && !s->unfinished)
        return;
    s->unfinished = false;
    if (more > 0)
        strlist_addf(&t->did, "%d more to be made", more);
    static const char *const none[] = {NULL};
    int r = s->o.driver->set(s->o.self, size + MAX(more, 0),
                             go.len ? (const char *const *)go.items : none, s->seen.generation,
                             &t->act);
    if (r < 0) {
        pool_failed(&s->retry, mono);
        failed(s, r);
    }
}

static void act(Scaler *s, Msec mono, ScalerTick *t)
{
    const ScaleObservation *o = &t->seen;
    int more = t->decision.desired - o->pool.active - o->pool.booting;

    if (drain(s, -more, t) < 0 || pool_waits(&s->retry, mono) || end_overdue(s, &t->act) < 0)
        return;
    if (s->failed >= CONDEMNED_MAX)
        more = MIN(more, 1 - o->pool.booting); /* one is tried */
    move_pool(s, more, mono, t);
}

/* The file's or the cloud's, whichever is less; after a refusal, what is there. */
static int quota_now(const Scaler *s, const ScaleObservation *o, Msec mono)
{
    int given = s->o.config->quota, live = s->pool.quota;

    if (s->quota && pool_waits(&s->retry, mono))
        return o->pool.active + o->pool.booting;
    return given && live ? MIN(given, live) : MAX(given, live);
}

void scaler_tick(Scaler *s, Msec mono, Msec epoch, ScalerTick *ret)
{
    int result = 0;

    scaler_tick_clear(ret);
    bool busy = pool_busy(&s->retry, s->o.driver, s->o.self, mono, &result, &ret->act);
    if (result < 0)
        failed(s, result);
    observe(s, mono, epoch, ret);
    ScaleObservation *o = &ret->seen;
    o->pool.desired = busy ? s->desired : o->pool.active + o->pool.booting;
    ScaleConfig config = *s->o.config;
    ret->quota = config.quota = quota_now(s, o, mono);
    scale_decide(s->scale, &config, o, &ret->decision);
    s->desired = ret->decision.desired;
    if (!s->o.dry_run && ret->leader && o->redis_ok && o->api_ok && !busy)
        act(s, mono, ret);
}
