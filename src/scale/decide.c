#include "scale/decide.h"

#include "scale/model.h"

#include <math.h>
#include <stdio.h>

/* The law's own numbers; found on the simulator (doc/scale.md), not on its seeds. */
#define TRIGGER_SHARE 0.7 /* of a deadline: more than this foreseen asks for servers */
#define AFTER_BOOT_S 60.0 /* so far behind a boot is looked for it */
#define CHOOSE_SHARE 0.9  /* how many are asked for: what may be used of a deadline then */
#define CHOOSE_S 600.0    /* over so long after a boot */
#define PRICE 1.4         /* server-hours that a late minute is worth */
#define DEEP 0.4          /* and a minute that is late by a whole deadline, times this */
#define TREND 1.0         /* arrivals that rise go on rising by this part */
#define TREND_MOST 0.5
#define IN_SHARE 0.5      /* servers go when less of a deadline is foreseen without them */
#define IN_AHEAD_S 1200.0 /* over so long */
#define IN_ARRIVALS 1.03  /* with arrivals times this */
#define IN_PART 0.5       /* of the tier goes at once at most */
#define IN_EVERY_S 60.0
#define BURST_RISE 0.5 /* a rise by this part of the tier within BURST_WITHIN_S is a burst */
#define BURST_WITHIN_S 240.0
#define BURST_PART 0.2 /* of it stays for longer: bursts come in trains */
#define BURST_S 3000.0
#define TRIM_S 300.0       /* what it asked for too much goes so soon, */
#define TRIM_LEAST 2       /* if it is so much at least, */
#define TRIM_ARRIVALS 1.15 /* and would not be needed with arrivals times this */
#define DEPTH_BUSY 0.85    /* the guard of `depth`: of the threads that stay may be busy */
#define LEARN_TICKS 4      /* rates are worth something after so many */
#define HISTORY 256

const char *const scale_policies[SCALE_POLICIES + 1] = {"latency", "backlog", "depth", NULL};
const char *const scale_bindings[SCALE_BINDINGS] = {"load",     "hold",   "busy",  "min",
                                                    "calendar", "budget", "max",   "quota",
                                                    "postgres", "blind",  "poison"};

struct Scale {
    Model model;
    bool begun;
    double t;
    double out_at, in_at; /* when the number rose and fell last */
    double sight_at;      /* since when Redis tells */
    bool blind;
    double used, day; /* server-hours of that day */
    int desired;
    ScalePool pool; /* the last that was told */
    struct {
        double since; /* of the rise */
        int from, floor;
        double until;
    } burst;
    double low_since, step_at; /* depth's */
    struct {
        double t;
        int keep;
    } past[HISTORY]; /* how far it might have shrunk */
    size_t n_past;
};

Scale *scale_new(void)
{
    return NEW(Scale);
}

Scale *scale_free(Scale *s)
{
    free(s);
    return NULL;
}

static int clamp(int n, int low, int high)
{
    return n < low ? low : n > high ? high : n;
}

static int servers_for(double threads, const ScaleConfig *c)
{
    double n = ceil(threads / c->threads - 1e-9);

    return n >= SCALE_SERVERS ? SCALE_SERVERS : (int)fmax(n, 0);
}

/* The calendar's least, also for what begins within the time that a server needs. */
static int calendar_min(const ScaleConfig *c, double epoch)
{
    double lead = c->lead_s > 0 ? c->lead_s : c->boot_s;
    int least = 0;

    for (size_t i = 0; i < c->n_calendar; i++) {
        const ScaleHours *h = &c->calendar[i];
        int span = h->to - h->from + (h->to > h->from ? 0 : 24 * 60);
        for (int back = 0; back < 2; back++) {
            double day = floor(epoch / 86400) - back;
            double start = day * 86400 + h->from * 60.0;
            /* One day further on, too: what begins right after midnight is prepared before it. */
            for (int on = 0; on < 2; on++, start += 86400) {
                int weekday = (int)fmod(floor(start / 86400) + 4, 7); /* 1970 began on a Thursday */
                bool now = epoch >= start - lead && epoch < start + span * 60.0;
                if (now && (h->days >> weekday & 1))
                    least = MAX(least, h->min);
            }
        }
    }
    return least;
}

/* The least of all that limits the number, and which it is. */
static int cap_of(const Scale *s, const ScaleConfig *c, int current, ScaleBinding *ret_by)
{
    int cap = c->max;

    *ret_by = SCALE_BY_MAX;
    if (c->quota > 0 && c->quota < cap) {
        cap = c->quota;
        *ret_by = SCALE_BY_QUOTA;
    }
    if (c->pg_max > 0) {
        int fits = MAX(c->pg_max - c->pg_reserved, 0) / MAX(c->threads, 1);
        if (fits < cap) {
            cap = fits;
            *ret_by = SCALE_BY_POSTGRES;
        }
    }
    if (c->budget > 0) {
        /* What is left of the day's hours, over what is left of the day, holds at least the least;
         * so much more as is left is free to be used now. */
        double left = c->budget - s->used - c->min * (86400 - fmod(s->day, 86400)) / 3600;
        int may = left > 0 ? cap : clamp(current, c->min, MAX(current - 1, c->min));
        if (may < cap) {
            cap = may;
            *ret_by = SCALE_BY_BUDGET;
        }
    }
    return MAX(cap, 0);
}

/* The least number that is worth its price: servers are paid for as long as they stay at least, a
 * late minute as PRICE server-hours. */
static int needed(Scale *s, const ScaleConfig *c, const ScaleObservation *o, int current, int most,
                  ScaleTerms *t)
{
    const Foresight trigger = {.horizon_s = c->boot_s * 1.3 + AFTER_BOOT_S,
                               .share = TRIGGER_SHARE,
                               .arrivals = 1,
                               .rush = true};
    Foreseen now = model_foresee(&s->model, c, o, current, &trigger);
    t->late_s = now.late_s;
    t->worst = now.worst;
    t->worst_at = now.worst_at;
    if (now.late_s <= 0)
        return current;
    double rise = fmin(fmax(t->rush / fmax(t->work, 1) - 1, 0), TREND_MOST);
    const Foresight choose = {.horizon_s = c->boot_s + CHOOSE_S,
                              .from_s = c->boot_s,
                              .share = CHOOSE_SHARE,
                              .arrivals = 1 + TREND * rise,
                              .rush = true};
    double hours = (c->calm_s + c->boot_s) / 3600, least = INFINITY;
    /* Where nothing keeps the deadlines the arrivals are at least to be kept up with. */
    int best = MIN(MAX(current, servers_for(t->rush - o->other, c)), most);
    for (int n = best; n <= most; n++) {
        Foreseen f = model_foresee(&s->model, c, o, n, &choose);
        double late = f.late_s / 60;
        double cost = (n - current) * hours + (late + f.over_s / 60 * DEEP) * PRICE;
        if (cost < least - 1e-9) {
            least = cost;
            best = n;
        }
        if (late <= 0)
            break;
    }
    return best;
}

/* How few would do for a while. */
static int keep_of(const Scale *s, const ScaleConfig *c, const ScaleObservation *o, int current)
{
    const Foresight f = {.horizon_s = IN_AHEAD_S,
                         .share = IN_SHARE,
                         .arrivals = o->t - s->out_at < c->calm_s ? TRIM_ARRIVALS : IN_ARRIVALS,
                         .rush = true};
    int n = current;

    while (n > c->min && model_foresee(&s->model, c, o, n - 1, &f).late_s <= 0)
        n--;
    return n;
}

/* The most of what was needed over the window. */
static int keep_past(Scale *s, double window_s, double t, int keep)
{
    size_t from = 0;

    while (from < s->n_past && s->past[from].t < t - window_s)
        from++;
    if (s->n_past == HISTORY && from == 0)
        from = 1;
    memmove(s->past, s->past + from, (s->n_past - from) * sizeof *s->past);
    s->n_past -= from;
    s->past[s->n_past].t = t;
    s->past[s->n_past++].keep = keep;
    for (size_t i = 0; i < s->n_past; i++)
        keep = MAX(keep, s->past[i].keep);
    return keep;
}

/* A steep rise is a burst, and a burst often has followers: a part of it stays. */
static void note_burst(Scale *s, double t, int before, int after)
{
    if (after > before) {
        if (t - s->burst.since > BURST_WITHIN_S) {
            s->burst.since = t;
            s->burst.from = before;
        }
        int rise = after - s->burst.from;
        if (rise >= 2 && rise >= BURST_RISE * s->burst.from) {
            s->burst.floor = MAX(t < s->burst.until ? s->burst.floor : 0,
                                 s->burst.from + (int)ceil(rise * BURST_PART));
            s->burst.until = t + BURST_S;
        }
    }
}

static int want_latency(Scale *s, const ScaleConfig *c, const ScaleObservation *o, int current,
                        ScaleTerms *t)
{
    /* Beyond the bounds, too: so that it can be said what these cost. */
    t->needed = needed(s, c, o, current, MIN(2 * MAX(c->max, current) + 2, SCALE_SERVERS), t);
    t->keep = keep_past(s, c->window_s, o->t,
                        t->needed > current ? t->needed : keep_of(s, c, o, current));
    if (o->t < s->burst.until)
        t->keep = MAX(t->keep, MIN(s->burst.floor, current));
    return MAX(t->needed > current ? t->needed : 0, t->keep);
}

/* What AWS calls an acceptable backlog per instance: what one does within the deadline. */
static int want_backlog(Scale *s, const ScaleConfig *c, const ScaleObservation *o, ScaleTerms *t)
{
    double threads = 0;

    for (size_t q = 0; q < c->n_queues; q++)
        threads += s->model.queues[q].len * model_service(&s->model, q) /
                   (c->queues[q].slo_s * c->backlog_target);
    t->needed = servers_for(threads - o->other, c);
    t->keep = keep_past(s, c->window_s, o->t, t->needed);
    return t->keep;
}

static int want_depth(Scale *s, const ScaleConfig *c, const ScaleObservation *o, int current,
                      ScaleTerms *t)
{
    double len = 0;

    for (size_t q = 0; q < c->n_queues; q++)
        len += s->model.queues[q].len;
    t->needed = t->keep = current;
    if (len >= c->depth.low || s->low_since < 0)
        s->low_since = o->t;
    if (len > c->depth.high) {
        if (o->t - s->step_at < c->depth.cool_s)
            return current;
        s->step_at = o->t;
        return t->needed = current + c->depth.up;
    }
    if (current > 0 && len < c->depth.low && o->t - s->low_since >= c->depth.hold_s) {
        s->low_since = o->t;
        return t->keep = current - 1;
    }
    return current;
}

static int want(Scale *s, const ScaleConfig *c, const ScaleObservation *o, int current,
                ScaleTerms *t)
{
    switch (c->policy) {
    case SCALE_DEPTH:
        return want_depth(s, c, o, current, t);
    case SCALE_BACKLOG:
        return want_backlog(s, c, o, t);
    default:
        return want_latency(s, c, o, current, t);
    }
}

/* Going in: not so soon, not so many, not below what is busy. */
static int slow_in(const Scale *s, const ScaleConfig *c, const ScaleObservation *o, int current,
                   int target, ScaleDecision *d)
{
    bool depth = c->policy == SCALE_DEPTH;
    double calm = depth ? 0 : c->calm_s;
    if (!depth && o->t < s->burst.until && current - target >= TRIM_LEAST)
        calm = fmin(calm, TRIM_S);

    if (target >= current)
        return target;
    if (!o->api_ok || o->t - s->out_at < calm || o->t - s->sight_at < c->sight_s ||
        (!depth && o->t - s->in_at < IN_EVERY_S) || o->pool.booting > 0 ||
        s->model.ticks < LEARN_TICKS) {
        d->binding = SCALE_BY_HOLD;
        return current;
    }
    int step = MAX((int)(current * IN_PART), 1);
    target = MAX(target, current - step);
    if (target < d->terms.guard) {
        d->binding = SCALE_BY_BUSY;
        target = MIN(d->terms.guard, current);
    }
    return target;
}

/* "1 server" */
static const char *servers_text(int n, char ret[static 24])
{
    snprintf(ret, 24, "%d server%s", n, n == 1 ? "" : "s");
    return ret;
}

static void say(const ScaleConfig *c, int current, ScaleDecision *d)
{
    char n[24];
    const ScaleTerms *t = &d->terms;
    const char *queue = t->worst < c->n_queues ? c->queues[t->worst].name : "no queue";
    const char *why = scale_bindings[d->binding];

    switch (d->binding) {
    case SCALE_BY_BLIND:
        snprintf(d->reason, sizeof d->reason,
                 "Redis tells nothing that can be used: the size is held at %d", d->desired);
        return;
    case SCALE_BY_POISON:
        snprintf(d->reason, sizeof d->reason,
                 "new servers do not come up: no more than %d until one does", d->desired);
        return;
    case SCALE_BY_HOLD:
        snprintf(d->reason, sizeof d->reason,
                 "%d would do, but not yet: servers go slowly, and when all is known",
                 MAX(t->keep, c->min));
        return;
    case SCALE_BY_BUSY:
        snprintf(d->reason, sizeof d->reason, "%d would do, but there is work for %d",
                 MAX(t->keep, c->min), t->guard);
        return;
    case SCALE_BY_LOAD:
        break;
    default:
        snprintf(d->reason, sizeof d->reason, "%s: %d (the load asks for %d)", why, d->desired,
                 t->needed);
        return;
    }
    if (c->policy == SCALE_LATENCY && d->desired > current)
        snprintf(d->reason, sizeof d->reason, "%s would wait %.0f %% of its deadline with %s",
                 queue, t->worst_at * 100, servers_text(current, n));
    else if (d->desired > current)
        snprintf(d->reason, sizeof d->reason, "the queues are too long for %s",
                 servers_text(current, n));
    else if (d->desired < current)
        snprintf(d->reason, sizeof d->reason, "every deadline is kept with %s",
                 servers_text(d->desired, n));
    else
        snprintf(d->reason, sizeof d->reason, "it is right with %s", servers_text(current, n));
}

static void bound(Scale *s, const ScaleConfig *c, const ScaleObservation *o, int current,
                  ScaleDecision *d)
{
    ScaleBinding by = SCALE_BY_MAX;
    int cap = cap_of(s, c, current, &by), least = c->min;
    ScaleBinding floor_by = SCALE_BY_MIN;

    if (d->terms.calendar > least) {
        least = d->terms.calendar;
        floor_by = SCALE_BY_CALENDAR;
    }
    d->terms.cap = cap;
    if (d->desired < least) {
        d->desired = least;
        d->binding = floor_by;
    }
    if (d->desired > cap) {
        /* What limits growth takes nothing away by itself, but the file's own maximum and the
         * budget do. */
        int held = by == SCALE_BY_QUOTA || by == SCALE_BY_POSTGRES ? MIN(current, c->max) : cap;
        d->desired = MAX(held, cap);
        d->binding = by;
    }
    if (o->pool.poison && d->desired > current) {
        d->desired = current;
        d->binding = SCALE_BY_POISON;
    }
}

static void account(Scale *s, const ScaleObservation *o)
{
    double day = floor(o->epoch / 86400);
    double dt = s->begun ? fmin(fmax(o->t - s->t, 0), 3600) : 0;

    if (!s->begun || floor(s->day / 86400) < day)
        s->used = 0;
    s->day = o->epoch;
    s->used += (o->pool.active + o->pool.booting + o->pool.draining) * dt / 3600;
}

static void fill_terms(const Scale *s, const ScaleConfig *c, const ScaleObservation *o,
                       ScaleTerms *t)
{
    t->work = model_work(&s->model, c, false);
    t->rush = model_work(&s->model, c, true);
    for (size_t q = 0; q < c->n_queues; q++)
        t->backlog += s->model.queues[q].len * model_service(&s->model, q);
    t->guard = servers_for((o->busy - o->other) / (c->policy == SCALE_DEPTH ? DEPTH_BUSY : 1), c);
    t->calendar = calendar_min(c, o->epoch);
    t->used = s->used;
    t->worst = SCALE_QUEUES;
}

/* What the API does not tell now it told before. */
static ScaleObservation with_pool(const Scale *s, const ScaleObservation *o)
{
    ScaleObservation seen = *o;

    if (!o->api_ok && s->begun) {
        seen.pool = s->pool;
        seen.pool.desired = s->desired;
    }
    return seen;
}

void scale_decide(Scale *s, const ScaleConfig *c, const ScaleObservation *told, ScaleDecision *ret)
{
    const ScaleObservation seen = with_pool(s, told), *o = &seen;
    int standing = o->pool.active + o->pool.booting;
    int current = o->pool.desired > 0 ? o->pool.desired : standing;
    ScaleDecision d = {.binding = SCALE_BY_LOAD, .desired = current};

    if (!s->begun) {
        s->out_at = s->step_at = -INFINITY;
        s->in_at = -INFINITY;
        s->sight_at = o->t; /* who begins has seen nothing yet */
        s->low_since = -1;
        s->burst.since = s->burst.until = -INFINITY;
        s->model.since = -1;
        current = d.desired = MAX(current, standing);
    }
    account(s, o);
    bool sees = o->redis_ok && model_tick(&s->model, c, o);
    fill_terms(s, c, o, &d.terms);
    d.terms.needed = d.terms.keep = current;
    if (!sees || s->blind)
        s->sight_at = o->t;
    s->blind = !sees;
    if (!sees) {
        d.binding = SCALE_BY_BLIND;
    } else {
        int target = want(s, c, o, current, &d.terms);
        d.desired = slow_in(s, c, o, current, target, &d);
    }
    bound(s, c, o, current, &d);
    note_burst(s, o->t, current, d.desired);
    if (d.desired > current)
        s->out_at = o->t;
    if (d.desired < current)
        s->in_at = o->t;
    s->desired = d.desired;
    s->pool = o->pool;
    s->t = o->t;
    s->begun = true;
    say(c, current, &d);
    *ret = d;
}
