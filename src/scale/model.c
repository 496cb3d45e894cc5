#include "scale/model.h"

#include <math.h>

#define FAST_S 30.0    /* an arrival rate's memory, of the last moments */
#define SLOW_S 300.0   /* and of the last minutes */
#define SERVICE_S 90.0 /* a service time's */
#define HIDDEN_S 30.0  /* that of what the counters don't tell */
#define SERVICE_GUESS 0.5
#define STEP_S 15.0 /* of what is foreseen */

/* The weight of what is new in a mean that fades with `memory`; in the beginning all counts alike.
 */
static double fresh(double dt, double memory, double ticks)
{
    return fmax(1 - exp(-dt / memory), 1 / (ticks + 1));
}

static bool went_back(const Model *m, const ScaleConfig *c, const ScaleObservation *o)
{
    if (c->per_tick)
        return false;
    for (size_t q = 0; q < c->n_queues; q++)
        if (m->queues[q].known && o->queues[q].known && o->queues[q].done < m->queues[q].done)
            return true;
    return false;
}

static void tick_queue(ModelQueue *q, const ScaleSeen *s, bool per_tick, double dt, double ticks)
{
    double done = per_tick ? s->done : s->done - q->done;
    double ms = fmax(per_tick ? s->ms : s->ms - q->ms, 0);
    double arrived = fmax(s->len - q->len + done, 0) / dt;
    double fade = exp(-dt / SERVICE_S);

    q->sum_done = q->sum_done * fade + done;
    q->sum_ms = q->sum_ms * fade + ms;
    q->fast += (arrived - q->fast) * fresh(dt, FAST_S, ticks);
    q->slow += (arrived - q->slow) * fresh(dt, SLOW_S, ticks);
}

/* A job that is pushed back keeps its old enqueued_at, so an age may jump (sidekiq#5506). It can't
 * truly grow faster than time does, unless the queue was empty of what is there now. */
static double believed(const ModelQueue *q, const ScaleSeen *s, double dt)
{
    return q->known ? fmin(s->age_s, q->age_s + dt) : s->age_s;
}

/* Which servers are under way, and since when: only their number is told. */
static void note_boots(Model *m, const ScaleObservation *o)
{
    int booting = MIN(MAX(o->pool.booting, 0), SCALE_BOOTS);

    while (m->n_boots > booting) {
        memmove(m->boots, m->boots + 1, (size_t)(m->n_boots - 1) * sizeof *m->boots);
        m->n_boots--;
    }
    while (m->n_boots < booting)
        m->boots[m->n_boots++] = o->t;
}

bool model_tick(Model *m, const ScaleConfig *c, const ScaleObservation *o)
{
    double dt = o->t - m->t;
    bool reset = went_back(m, c, o);

    note_boots(m, o);
    /* After a gap nobody can tell when what has come has come. */
    bool counts = m->ticks >= 0 && m->since >= 0 && dt > 0 && dt <= 3.5 * fmax(o->tick, 1);
    if (reset || !counts) {
        for (size_t q = 0; q < SCALE_QUEUES; q++)
            m->queues[q].known = false;
        if (m->since < 0 || reset)
            m->ticks = 0;
        m->since = o->t;
    }
    double ran = 0;
    for (size_t i = 0; i < c->n_queues; i++) {
        ModelQueue *q = &m->queues[i];
        const ScaleSeen *s = &o->queues[i];
        if (!s->known)
            continue; /* what was known goes on */
        if (q->known) {
            tick_queue(q, s, c->per_tick, dt, m->ticks);
            ran += (c->per_tick ? s->ms : s->ms - q->ms) / 1000 / dt;
        }
        q->age_s = believed(q, s, dt);
        q->len = s->len;
        q->done = s->done;
        q->ms = s->ms;
        q->known = true;
    }
    if (counts && !reset) {
        double w = fresh(dt, HIDDEN_S, m->ticks);
        m->busy += (o->busy - m->busy) * w;
        m->ran += (ran - m->ran) * w;
        m->due += (o->due_60 / 60 - m->due) * w;
        m->ticks++;
    }
    m->t = o->t;
    return !reset;
}

/* Failed jobs are in no sum of milliseconds (Sidekiq counts those of successes only), and a frozen
 * process is busy with nothing: what keeps the threads busy is more than the counters say. */
static double hidden(const Model *m)
{
    if (m->busy < 4 || m->ran <= 0)
        return 1;
    return fmin(fmax(m->busy / m->ran, 1), 20);
}

double model_service(const Model *m, size_t q)
{
    const ModelQueue *k = &m->queues[q];
    double plain =
        k->sum_done >= 1 && k->sum_ms > 0 ? k->sum_ms / k->sum_done / 1000 : SERVICE_GUESS;

    return fmax(plain, 0.001) * hidden(m);
}

double model_work(const Model *m, const ScaleConfig *c, bool rush)
{
    double sum = 0;

    for (size_t q = 0; q < c->n_queues; q++)
        sum += (rush ? m->queues[q].fast : m->queues[q].slow) * model_service(m, q);
    return sum;
}

/* A queue on its way through the minutes ahead. */
typedef struct Ahead {
    double left;    /* jobs in it */
    double service; /* seconds of one */
    double rate;    /* arrivals a second */
    double served, at_first, age_s;
} Ahead;

/* Threads take a job by the queues' weights as long as there are any. */
static void serve(Ahead *a, const ScaleConfig *c, double work)
{
    while (work > 1e-9) {
        double picks = 0, used = 0;
        for (size_t q = 0; q < c->n_queues; q++)
            if (a[q].left > 1e-9)
                picks += c->queues[q].weight * a[q].service;
        if (picks <= 0)
            return;
        for (size_t q = 0; q < c->n_queues; q++) {
            if (a[q].left <= 1e-9)
                continue;
            double jobs = fmin(a[q].left, c->queues[q].weight * work / picks);
            a[q].left -= jobs;
            a[q].served += jobs;
            used += jobs * a[q].service;
        }
        if (used <= 1e-9)
            return;
        work -= used;
    }
}

/* How long the head of a queue has waited after `tau` seconds: what was there came evenly over the
 * age of its oldest, the rest comes evenly from now on. */
static double head_age(const Ahead *a, double tau)
{
    if (a->left <= 1e-6)
        return 0;
    if (a->served < a->at_first)
        return tau + a->age_s * (1 - a->served / a->at_first);
    return fmax(a->rate > 0 ? tau - (a->served - a->at_first) / a->rate : 0, 0);
}

static double servers_after(const Model *m, const ScaleConfig *c, const ScaleObservation *o, int n,
                            double tau)
{
    int active = MIN(o->pool.active, n), booting = MIN(m->n_boots, n - active);
    int come = active;

    for (int i = 0; i < booting; i++)
        come += tau >= fmax(c->boot_s - (o->t - m->boots[i]), 0.25 * c->boot_s);
    if (tau >= c->boot_s)
        come += n - active - booting;
    return come;
}

/* Times the arrivals, for what the retry set is about to give beside what it usually gives (that is
 * in the arrivals). Which queue a retry goes to is not told. */
static double retries_at(const Model *m, const ScaleObservation *o, double tau)
{
    double rate = tau <= 60 ? o->due_60 / 60 : tau <= 300 ? (o->due_300 - o->due_60) / 240 : 0;
    double all = 0;

    for (size_t q = 0; q < SCALE_QUEUES; q++)
        all += m->queues[q].slow;
    return all > 0 ? 1 + fmax(rate - m->due, 0) / all : 1;
}

Foreseen model_foresee(const Model *m, const ScaleConfig *c, const ScaleObservation *o, int n,
                       const Foresight *f)
{
    Ahead a[SCALE_QUEUES] = {0};
    Foreseen seen = {.worst = SCALE_QUEUES};

    for (size_t q = 0; q < c->n_queues; q++) {
        const ModelQueue *k = &m->queues[q];
        double rate = f->rush ? fmax(k->fast, k->slow) : k->slow;
        a[q] = (Ahead){.left = k->len,
                       .at_first = k->len,
                       .age_s = k->age_s,
                       .service = model_service(m, q),
                       .rate = rate * f->arrivals};
    }
    int steps = (int)(f->horizon_s / STEP_S);
    for (int step = 1; step <= steps; step++) {
        double tau = step * STEP_S;
        double more = retries_at(m, o, tau);
        double over = 0;
        for (size_t q = 0; q < c->n_queues; q++)
            a[q].left += a[q].rate * more * STEP_S;
        double threads = servers_after(m, c, o, n, tau - STEP_S / 2) * c->threads + o->other;
        serve(a, c, threads * STEP_S);
        for (size_t q = 0; q < c->n_queues; q++) {
            double at = head_age(&a[q], tau) / c->queues[q].slo_s;
            if (tau < f->from_s)
                continue;
            if (at > seen.worst_at) {
                seen.worst_at = at;
                seen.worst = q;
            }
            over = fmax(over, at - f->share);
        }
        seen.late_s += over > 0 ? STEP_S : 0;
        seen.over_s += over * STEP_S;
    }
    return seen;
}
