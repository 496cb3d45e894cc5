#include "scale_load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const trace_names[TRACES] = {"diurnal", "viral", "ingress", "retry"};
const QueueRow queue_rows[QUEUES] = {
    {"default", 30, 8, 0.10, 0.20},
    {"push", 60, 6, 0.50, 0.35},
    {"ingress", 120, 4, 0.25, 0.30},
    {"pull", 600, 1, 1.00, 0.15},
};
/* Threads that a plain day keeps busy on average. */
static const double mean_work[TRACES] = {100, 72, 85, 78};
#define DEAD_SHARE 0.06 /* of push jobs go to the host that will be away */
#define TIMEOUT_S 7.0

double rng_uniform(Rng *r)
{
    uint64_t z = (r->s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

double rng_normal(Rng *r)
{
    if (r->has_spare) {
        r->has_spare = false;
        return r->spare;
    }
    double a = sqrt(-2 * log(1 - rng_uniform(r))), b = 2 * M_PI * rng_uniform(r);
    r->spare = a * sin(b);
    r->has_spare = true;
    return a * cos(b);
}

static double between(Rng *r, double low, double high)
{
    return low + (high - low) * rng_uniform(r);
}

static void add_wave(Load *l, double from, double length, double size, double fade_s)
{
    if (l->n_waves < MAX_WAVES)
        l->waves[l->n_waves++] = (Wave){from, from + length, size, fade_s};
}

/* What happens on these days; a part of a day has its part of the events. */
static void make_waves(Load *l)
{
    Rng *r = &l->rng;
    int events = (int)fmax(round(l->days), 1);
    double each = l->days * 86400 / events;

    for (int i = 0; i < events; i++) {
        /* The first half of each day but one, which is at night: the trough is at 4 h. */
        double at = i * each + each * (i == 1 ? between(r, 0.12, 0.2) : between(r, 0.3, 0.75));
        if (l->trace == TRACE_VIRAL) {
            add_wave(l, at, 2400, between(r, 140, 260), between(r, 180, 420));
            at += between(r, 600, 2400);
            add_wave(l, at, 2400, between(r, 90, 200), between(r, 180, 420));
            at += between(r, 600, 2400);
            add_wave(l, at, 2400, between(r, 90, 200), between(r, 180, 420));
        } else if (l->trace == TRACE_INGRESS) {
            double away = between(r, 3600, 3 * 3600);
            add_wave(l, at - away, away, -0.4, 0);
            add_wave(l, at, between(r, 1200, 2700), between(r, 3, 5.5), 0);
        } else if (l->trace == TRACE_RETRY) {
            add_wave(l, at, between(r, 3600, 2 * 3600), 1, 0);
        }
    }
}

void load_begin(Load *l, Trace trace, uint64_t seed, double days)
{
    *l = (Load){.trace = trace, .days = days, .rng = {.s = seed * 7919 + (uint64_t)trace * 104729}};
    l->steps = (size_t)(days * 86400 / STEP_S);
    l->retries = calloc((l->steps + 1) * MAX_TRIES, sizeof *l->retries);
    if (!l->retries)
        abort();
    make_waves(l);
}

void load_end(Load *l)
{
    for (size_t q = 0; q < QUEUES; q++)
        free(l->queues[q].items);
    free(l->retries);
}

static void push(Queue *q, Cohort c)
{
    if (c.jobs <= 0)
        return;
    if (q->head > 0 && q->head + q->len == q->cap) {
        memmove(q->items, q->items + q->head, q->len * sizeof *q->items);
        q->head = 0;
    }
    if (q->len == q->cap) {
        q->cap = q->cap ? 2 * q->cap : 64;
        q->items = realloc(q->items, q->cap * sizeof *q->items);
        if (!q->items)
            abort();
    }
    q->items[q->head + q->len++] = c;
    q->jobs += c.jobs;
}

static double wave_at(const Load *l, double t)
{
    double sum = 0;

    for (size_t i = 0; i < l->n_waves; i++) {
        const Wave *w = &l->waves[i];
        if (t >= w->from && t < w->to)
            sum += w->size * (w->fade_s > 0 ? exp(-(t - w->from) / w->fade_s) : 1);
    }
    return sum;
}

static bool host_away(const Load *l, double t)
{
    return l->trace == TRACE_RETRY && wave_at(l, t) > 0;
}

/* Threads that queue q's arrivals are worth at `t`. */
static double work_rate(const Load *l, size_t q, double t)
{
    double day = mean_work[l->trace] * (1 - 0.667 * cos((t - 4 * 3600) / 86400 * 2 * M_PI));
    double plain = day * queue_rows[q].share, wave = wave_at(l, t);

    if (l->trace == TRACE_VIRAL)
        return plain + wave * (q == 1 ? 0.75 : q == 0 ? 0.15 : q == 3 ? 0.1 : 0);
    if (l->trace == TRACE_INGRESS && q == 2)
        return plain * fmax(1 + wave, 0);
    return plain;
}

void load_arrive(Load *l, double t)
{
    size_t step = (size_t)(t / STEP_S);

    for (size_t q = 0; q < QUEUES; q++) {
        Queue *k = &l->queues[q];
        /* 10 % of noise with a memory of five minutes, and each step's own. */
        double memory = exp(-STEP_S / 300);
        k->rate_noise =
            k->rate_noise * memory + 0.1 * sqrt(1 - memory * memory) * rng_normal(&l->rng);
        double mean =
            work_rate(l, q, t) / queue_rows[q].service_s * STEP_S * fmax(1 + k->rate_noise, 0);
        double jobs = fmax(round(mean + sqrt(mean) * rng_normal(&l->rng)), 0);
        double dead = l->trace == TRACE_RETRY && q == 1 ? jobs * DEAD_SHARE : 0;
        push(k, (Cohort){.t = t, .jobs = jobs - dead, .service_s = queue_rows[q].service_s});
        push(k, (Cohort){.t = t, .jobs = dead, .service_s = queue_rows[q].service_s, .dead = true});
    }
    for (int tries = 1; tries < MAX_TRIES && step < l->steps; tries++)
        push(&l->queues[1], (Cohort){.t = t,
                                     .jobs = l->retries[step * MAX_TRIES + (size_t)tries],
                                     .service_s = queue_rows[1].service_s,
                                     .tries = tries,
                                     .dead = true});
}

/* Sidekiq's own delay: count^4 + 15 and up to 10 (count + 1) more. */
static void retry_later(Load *l, double t, double jobs, int tries)
{
    int next = tries + 1;

    if (next >= MAX_TRIES)
        return;
    for (int part = 0; part < 4; part++) {
        double delay = pow(tries, 4) + 15 + 10 * (tries + 1) * (part + 0.5) / 4;
        size_t step = (size_t)((t + delay) / STEP_S);
        if (step < l->steps)
            l->retries[step * MAX_TRIES + (size_t)next] += jobs / 4;
    }
}

static double head_service(const Load *l, const Queue *k, double t)
{
    const Cohort *c = &k->items[k->head];

    return c->dead && host_away(l, t) ? TIMEOUT_S : c->service_s;
}

static void take(Load *l, size_t q, double jobs, double service, double t)
{
    Queue *k = &l->queues[q];
    Cohort *c = &k->items[k->head];
    bool failed = c->dead && service > c->service_s;

    l->started += jobs;
    if (t - c->t > queue_rows[q].slo_s) {
        l->late += jobs;
        l->minute_late = true;
    }
    k->done += jobs;
    if (failed)
        retry_later(l, t, jobs, c->tries);
    else
        k->ms += jobs * service * 1000; /* Sidekiq adds up those of successes only */
    k->jobs -= jobs;
    c->jobs -= jobs;
    if (c->jobs <= 1e-9) {
        k->head++;
        k->len--;
        if (k->len == 0) {
            k->head = 0;
            k->jobs = 0;
        }
    }
}

void load_work(Load *l, double t, double threads)
{
    double all = threads * STEP_S, left = all;

    while (left > 1e-6) {
        double picks = 0, service[QUEUES] = {0};
        for (size_t q = 0; q < QUEUES; q++)
            if (l->queues[q].len) {
                service[q] = head_service(l, &l->queues[q], t);
                picks += queue_rows[q].weight * service[q];
            }
        if (picks <= 0)
            break;
        double before = left;
        for (size_t q = 0; q < QUEUES; q++) {
            if (service[q] <= 0)
                continue;
            double head = l->queues[q].items[l->queues[q].head].jobs;
            double jobs = fmin(head, queue_rows[q].weight * before / picks);
            take(l, q, jobs, service[q], t);
            left -= jobs * service[q];
        }
    }
    l->busy = (all - fmax(left, 0)) / STEP_S;
    l->work_done += l->busy * STEP_S;
    for (size_t q = 0; q < QUEUES; q++) {
        const Queue *k = &l->queues[q];
        if (k->len && t + STEP_S - k->items[k->head].t > queue_rows[q].slo_s)
            l->minute_late = true;
    }
    if (fmod(t + STEP_S, 60) < STEP_S / 2) {
        l->late_minutes += l->minute_late;
        l->minute_late = false;
    }
}

double load_due(const Load *l, double t, double within_s)
{
    double sum = 0;
    size_t from = (size_t)(t / STEP_S) + 1, to = (size_t)((t + within_s) / STEP_S);

    for (size_t s = from; s <= to && s < l->steps; s++)
        for (size_t n = 1; n < MAX_TRIES; n++)
            sum += l->retries[s * MAX_TRIES + n];
    return sum;
}

/* The earliest deadline first; what its deadline passes is bought. */
double load_lower_bound(Trace trace, uint64_t seed, double days, int least, int threads)
{
    Load l;
    double bought = 0;

    load_begin(&l, trace, seed, days);
    for (size_t i = 0; i < l.steps; i++) {
        double t = (double)i * STEP_S, left = least * threads * STEP_S;
        load_arrive(&l, t);
        for (;;) {
            size_t next = QUEUES;
            double deadline = INFINITY;
            for (size_t q = 0; q < QUEUES; q++) {
                const Queue *k = &l.queues[q];
                if (!k->len)
                    continue;
                double d = k->items[k->head].t + queue_rows[q].slo_s;
                if (d < deadline) {
                    deadline = d;
                    next = q;
                }
            }
            if (next == QUEUES)
                break;
            bool due = deadline <= t + STEP_S;
            if (!due && left <= 1e-6)
                break;
            Queue *k = &l.queues[next];
            double service = head_service(&l, k, t), jobs = k->items[k->head].jobs;
            if (!due || left >= jobs * service)
                jobs = fmin(jobs, left / service);
            double work = jobs * service;
            bought += fmax(work - left, 0);
            left = fmax(left - work, 0);
            take(&l, next, jobs, service, t);
        }
    }
    load_end(&l);
    return least * days * 24 + bought / threads / 3600;
}
