/* A tier under a plain load, for tables: one queue or two whose jobs come and are done evenly. */
#pragma once
#include "scale/decide.h"

#include <math.h>
#include <setjmp.h>

#include <cmocka.h>

#define TICK 15.0
/* Sunday 2026-11-29 12:00 UTC. */
#define NOON 1795953600.0

typedef struct Steady {
    Scale *scale;
    ScaleConfig c;
    ScaleObservation o;  /* the next */
    ScaleDecision d;     /* the last */
    double rate, work_s; /* arrivals a second of the first queue, and seconds of a job */
} Steady;

static inline void steady_begin(Steady *s, ScalePolicy policy, int servers)
{
    *s = (Steady){.scale = scale_new(), .work_s = 1};
    scale_config_default(&s->c);
    s->c.policy = policy;
    s->c.min = 1;
    s->c.max = 10;
    s->c.n_queues = 1;
    s->c.queues[0] = (ScaleQueue){.name = "push", .slo_s = 60, .weight = 1};
    s->o = (ScaleObservation){
        .t = 1000, .epoch = NOON, .tick = TICK, .redis_ok = true, .api_ok = true};
    s->o.pool.active = s->o.pool.desired = servers;
    s->o.queues[0].known = true;
}

static inline void steady_end(Steady *s)
{
    s->scale = scale_free(s->scale);
}

/* A tick's worth of arrivals and work, then the decision. The pool is not changed by it. */
static inline int steady_tick(Steady *s)
{
    ScaleSeen *q = &s->o.queues[0];
    double can = s->o.pool.active * s->c.threads * TICK / s->work_s, come = s->rate * TICK;
    double done = fmin(q->len + come, can);

    q->len += come - done;
    q->age_s = s->rate > 0 ? q->len / s->rate : 0;
    q->done += done;
    q->ms += done * s->work_s * 1000;
    s->o.busy = done * s->work_s / TICK;
    scale_decide(s->scale, &s->c, &s->o, &s->d);
    s->o.t += TICK;
    s->o.epoch += TICK;
    return s->d.desired;
}

static inline int steady_for(Steady *s, double seconds)
{
    int last = 0;

    for (double t = 0; t < seconds; t += TICK)
        last = steady_tick(s);
    return last;
}
/* The same, and the pool becomes what was decided: at once. */
static inline int steady_follow(Steady *s, double seconds)
{
    for (double t = 0; t < seconds; t += TICK)
        s->o.pool.active = s->o.pool.desired = steady_tick(s);
    return s->o.pool.desired;
}
