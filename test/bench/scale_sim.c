/* A simulator of a worker tier: load (scale_load.h), servers that boot, fail and drain, outages of
 * Redis and of the cloud's API, and the policies that are compared on it. doc/scale.md has its
 * table.
 *
 *     scale_sim [--seed N[,N..]] [--days D] [--chaos] [--policy NAME] [--check] [--record FILE]
 *
 * `latency`, `backlog` and `depth` are atoll's own scale_decide, as the daemon calls it. The others
 * are told the true service times; atoll's are not. --check fails (exit 1) if what was promised
 * does not hold. --record writes the observations as `atoll scale decide` reads them.
 */
#include "scale/decide.h"
#include "scale_load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 25
#define MIN_SERVERS 1
#define MAX_SERVERS 30
#define TICK_S 15.0
#define MAX_MACHINES 4096
#define FLAP_S 1200.0

typedef struct Machine {
    enum { GONE, BOOTING, ACTIVE, DRAINING, BROKEN, STUCK } state;
    double until; /* of the state */
    double made;
} Machine;

typedef struct Chaos {
    bool on;
    double redis[6], api[4]; /* when outages begin */
} Chaos;

typedef struct World {
    Load load;
    Rng rng;
    Chaos chaos;
    Machine machines[MAX_MACHINES];
    size_t n;
    double t, hours;
    int desired, creates, flaps;
    int direction;
    double turned;
} World;

typedef struct View {
    double t, busy, len[QUEUES], age[QUEUES];
    int desired, active, booting;
} View;

typedef struct Policy {
    const char *name;
    int (*size)(void *state, const View *v); /* NULL: scale_decide */
    ScalePolicy ours;
} Policy;

typedef struct Score {
    double hours, bound, late_minutes, started, late;
    int flaps, creates;
} Score;

static bool within(const double *starts, size_t n, double t, double length)
{
    for (size_t i = 0; i < n; i++)
        if (t >= starts[i] && t < starts[i] + length)
            return true;
    return false;
}

static bool redis_out(const World *w)
{
    return w->chaos.on && within(w->chaos.redis, 6, w->t, 180);
}

static bool api_out(const World *w)
{
    return w->chaos.on && within(w->chaos.api, 4, w->t, 600);
}

static int count(const World *w, int state)
{
    int n = 0;

    for (size_t i = 0; i < w->n; i++)
        n += (int)w->machines[i].state == state;
    return n;
}

static void create(World *w)
{
    size_t i = 0;

    while (i < w->n && w->machines[i].state != GONE)
        i++;
    if (i == MAX_MACHINES)
        return;
    if (i == w->n)
        w->n++;
    double boot = fmin(fmax(180 * exp(0.25 * rng_normal(&w->rng)), 90), 420);
    double luck = rng_uniform(&w->rng);
    Machine m = {.state = BOOTING, .until = w->t + boot, .made = w->t};
    if (w->chaos.on && luck < 0.025)
        m = (Machine){.state = BROKEN, .until = w->t + 60, .made = w->t};
    else if (w->chaos.on && luck < 0.05)
        m = (Machine){.state = STUCK, .until = w->t + 600, .made = w->t};
    w->machines[i] = m;
    w->creates++;
}

/* The youngest goes; one that is still booting first. */
static bool remove_one(World *w)
{
    Machine *victim = NULL;

    for (int state = BOOTING; state <= (int)ACTIVE && !victim; state++)
        for (size_t i = 0; i < w->n; i++)
            if ((int)w->machines[i].state == state &&
                (!victim || w->machines[i].made > victim->made))
                victim = &w->machines[i];
    if (!victim)
        return false;
    bool worked = victim->state == ACTIVE;
    victim->state = worked ? DRAINING : GONE;
    victim->until = w->t + 15 + 25 * rng_uniform(&w->rng);
    return true;
}

static int standing(const World *w)
{
    return count(w, BOOTING) + count(w, ACTIVE) + count(w, STUCK);
}

static void act(World *w, int desired)
{
    desired = desired < MIN_SERVERS ? MIN_SERVERS : desired > MAX_SERVERS ? MAX_SERVERS : desired;
    if (desired != w->desired) {
        int direction = desired > w->desired ? 1 : -1;
        if (w->direction && direction != w->direction && w->t - w->turned < FLAP_S)
            w->flaps++;
        w->direction = direction;
        w->turned = w->t;
        w->desired = desired;
    }
    if (api_out(w))
        return;
    while (standing(w) < desired)
        create(w);
    while (standing(w) > desired && remove_one(w))
        ;
}

static void step_machines(World *w)
{
    for (size_t i = 0; i < w->n; i++) {
        Machine *m = &w->machines[i];
        if (m->state == GONE)
            continue;
        w->hours += STEP_S / 3600;
        if (w->t + STEP_S < m->until || m->state == ACTIVE)
            continue;
        if (m->state == BOOTING)
            m->state = ACTIVE;
        else if (!api_out(w))
            m->state = GONE;
    }
}

static void view(const World *w, View *v)
{
    *v = (View){.t = w->t,
                .busy = w->load.busy,
                .desired = w->desired,
                .active = count(w, ACTIVE),
                .booting = count(w, BOOTING) + count(w, STUCK)};
    for (size_t q = 0; q < QUEUES; q++) {
        const Queue *k = &w->load.queues[q];
        v->len[q] = k->jobs;
        v->age[q] = k->len ? w->t - k->items[k->head].t : 0;
    }
}

static void observe(const World *w, const View *v, ScaleObservation *o)
{
    *o = (ScaleObservation){.t = v->t,
                            .epoch = 1795910400 + v->t,
                            .tick = TICK_S,
                            .redis_ok = !redis_out(w),
                            .api_ok = !api_out(w)};
    if (o->api_ok) {
        o->pool.desired = w->desired;
        o->pool.active = v->active;
        o->pool.booting = v->booting;
        o->pool.draining = count(w, DRAINING);
        o->pool.error = count(w, BROKEN);
    }
    if (!o->redis_ok)
        return;
    o->busy = round(v->busy);
    o->due_60 = load_due(&w->load, w->t, 60);
    o->due_300 = load_due(&w->load, w->t, 300);
    for (size_t q = 0; q < QUEUES; q++)
        o->queues[q] = (ScaleSeen){.known = true,
                                   .len = round(v->len[q]),
                                   .age_s = v->age[q],
                                   .done = round(w->load.queues[q].done),
                                   .ms = round(w->load.queues[q].ms)};
}

static void sim_config(ScalePolicy policy, ScaleConfig *c)
{
    scale_config_default(c);
    c->policy = policy;
    c->min = MIN_SERVERS;
    c->max = MAX_SERVERS;
    c->threads = THREADS;
    c->boot_s = 215; /* nine in ten boots are shorter */
    c->n_queues = QUEUES;
    for (size_t q = 0; q < QUEUES; q++) {
        c->queues[q] = (ScaleQueue){.slo_s = queue_rows[q].slo_s, .weight = queue_rows[q].weight};
        snprintf(c->queues[q].name, sizeof c->queues[q].name, "%s", queue_rows[q].name);
    }
}

/* --- what others do ------------------------------------------------------------------------- */

typedef struct Hpa {
    double t[64];
    int rec[64];
    size_t n;
} Hpa;

static int ceil_int(double v)
{
    return v > 100000 ? 100000 : (int)ceil(v - 1e-9);
}

/* Kubernetes' horizontal autoscaler with its defaults: tolerance 0.1, up by 4 or 100 % in 15 s,
 * down by the largest of the last 300 s. `ratio`: of the metric to its target, for all that stand.
 */
static int hpa(Hpa *h, const View *v, double wanted)
{
    double ratio = v->desired > 0 ? wanted / v->desired : 1;
    int rec = fabs(1 - ratio) <= 0.1 ? v->desired : ceil_int(wanted);

    rec = rec < MIN_SERVERS ? MIN_SERVERS : rec > MAX_SERVERS ? MAX_SERVERS : rec;
    if (h->n == 64) {
        memmove(h->t, h->t + 1, 63 * sizeof *h->t);
        memmove(h->rec, h->rec + 1, 63 * sizeof *h->rec);
        h->n = 63;
    }
    h->t[h->n] = v->t;
    h->rec[h->n++] = rec;
    int most = rec;
    for (size_t i = 0; i < h->n; i++)
        if (h->t[i] >= v->t - 300 && h->rec[i] > most)
            most = h->rec[i];
    if (rec < v->desired)
        return most < v->desired ? most : v->desired;
    int up = v->desired + (v->desired > 4 ? v->desired : 4);
    return rec > up ? up : rec;
}

static double total(const View *v)
{
    double sum = 0;

    for (size_t q = 0; q < QUEUES; q++)
        sum += v->len[q];
    return sum;
}

static int keda_len5(void *state, const View *v)
{
    return hpa(state, v, total(v) / 5);
}

static int keda_tuned(void *state, const View *v)
{
    double most = 0;

    for (size_t q = 0; q < QUEUES; q++) {
        const QueueRow *r = &queue_rows[q];
        most = fmax(most, v->len[q] / (0.5 * r->slo_s * THREADS / r->service_s));
    }
    return hpa(state, v, most);
}

static int hpa_busy(void *state, const View *v)
{
    return hpa(state, v, v->busy / (0.85 * THREADS));
}

typedef struct Heat {
    double len[20], acted;
    size_t n;
} Heat;

/* An alarm on the mean of 300 s, one server up or down, cooldown 300 s. */
static int heat_alarm(void *state, const View *v)
{
    Heat *h = state;
    double mean = 0;

    h->len[h->n++ % 20] = total(v);
    for (size_t i = 0; i < 20; i++)
        mean += h->len[i] / 20;
    if (v->t - h->acted < 300 || h->n < 20)
        return v->desired;
    int by = mean > 1000 ? 1 : mean < 100 ? -1 : 0;
    if (by)
        h->acted = v->t;
    return v->desired + by;
}

static int static_size = MIN_SERVERS;
static int static_peak(void *state, const View *v)
{
    (void)state;
    (void)v;
    return static_size;
}

static const Policy policies[] = {
    {.name = "latency", .ours = SCALE_LATENCY},
    {.name = "backlog", .ours = SCALE_BACKLOG},
    {.name = "depth", .ours = SCALE_DEPTH},
    {"hpa-busy85", hpa_busy, 0},
    {"heat-alarm", heat_alarm, 0},
    {"keda-tuned", keda_tuned, 0},
    {"keda-len5", keda_len5, 0},
    {"static-peak", static_peak, 0},
};

static void make_chaos(World *w, double days)
{
    for (size_t i = 0; i < 6; i++)
        w->chaos.redis[i] = days * 86400 * ((double)i + rng_uniform(&w->rng)) / 6;
    for (size_t i = 0; i < 4; i++)
        w->chaos.api[i] = days * 86400 * ((double)i + rng_uniform(&w->rng)) / 4;
}

static FILE *recording;

static int decide(Scale *s, const ScaleConfig *c, const World *w, const View *v)
{
    ScaleObservation o;
    ScaleDecision d;

    observe(w, v, &o);
    scale_decide(s, c, &o, &d);
    if (recording) {
        json_t *line = scale_observation_new(c, &o);
        json_object_set_new(line, "decided", json_integer(d.desired));
        char *text = json_text_new(line);
        fprintf(recording, "%s\n", text);
        free(text);
        json_decref(line);
    }
    return d.desired;
}

static void run(const Policy *p, Trace trace, uint64_t seed, double days, bool chaos, Score *ret)
{
    static World world; /* large */
    World *w = &world;
    Scale *s = scale_new();
    ScaleConfig c;
    char state[1024] = {0};

    _Static_assert(sizeof(Hpa) <= sizeof state && sizeof(Heat) <= sizeof state, "room");
    sim_config(p->ours, &c);
    *w = (World){.rng = {.s = seed * 31 + (uint64_t)trace + 17}, .chaos.on = chaos, .desired = 4};
    make_chaos(w, days);
    load_begin(&w->load, trace, seed, days);
    for (int i = 0; i < 4; i++)
        w->machines[w->n++] = (Machine){.state = ACTIVE};
    for (size_t i = 0; i < w->load.steps; i++) {
        w->t = (double)i * STEP_S;
        if (i % (size_t)(TICK_S / STEP_S) == 0) {
            View v;
            view(w, &v);
            /* Others hold while their metric is away. */
            int n = !p->size                     ? decide(s, &c, w, &v)
                    : redis_out(w) || api_out(w) ? w->desired
                                                 : p->size(state, &v);
            act(w, n);
        }
        load_arrive(&w->load, w->t);
        load_work(&w->load, w->t, count(w, ACTIVE) * THREADS);
        step_machines(w);
    }
    ret->hours += w->hours;
    ret->late_minutes += w->load.late_minutes;
    ret->started += w->load.started;
    ret->late += w->load.late;
    ret->flaps += w->flaps;
    ret->creates += w->creates;
    load_end(&w->load);
    (void)scale_free(s);
}

static double score_of(const Score *s)
{
    return s->bound > 0 ? (s->hours + s->late_minutes) / s->bound : 0;
}

/* The smallest that is late for a minute at most. */
static void run_static(const Policy *p, Trace trace, uint64_t seed, double days, bool chaos,
                       Score *ret)
{
    for (static_size = MIN_SERVERS; static_size < MAX_SERVERS; static_size++) {
        Score one = {0};
        run(p, trace, seed, days, chaos, &one);
        /* The first minutes are those of a tier that begins with four. */
        if (one.late_minutes <= 1 + 8)
            break;
    }
    run(p, trace, seed, days, chaos, ret);
}

static void print(const char *name, uint64_t seed, bool chaos, const Score *each, const Score *all)
{
    printf("%-12s %4llu %-5s", name, (unsigned long long)seed, chaos ? "chaos" : "calm");
    for (size_t i = 0; i < TRACES; i++)
        printf(" | %.2f / %-4.0f", each[i].hours / each[i].bound, each[i].late_minutes);
    printf(" | %6.0f h %.3f x %5.0f min %5.2f%% %4d flaps %5d made  J %.3f\n", all->hours,
           all->hours / all->bound, all->late_minutes, 100 * all->late / all->started, all->flaps,
           all->creates, score_of(all));
    fflush(stdout);
}

static void run_all(const Policy *p, uint64_t seed, double days, bool chaos, int only, Score *ret)
{
    Score each[TRACES] = {0}, all = {0};

    for (int t = 0; t < (int)TRACES; t++) {
        if (only >= 0 && t != only)
            continue;
        if (p->size == static_peak)
            run_static(p, (Trace)t, seed, days, chaos, &each[t]);
        else
            run(p, (Trace)t, seed, days, chaos, &each[t]);
        each[t].bound = load_lower_bound((Trace)t, seed, days, MIN_SERVERS, THREADS);
        all.hours += each[t].hours;
        all.bound += each[t].bound;
        all.late_minutes += each[t].late_minutes;
        all.started += each[t].started;
        all.late += each[t].late;
        all.flaps += each[t].flaps;
        all.creates += each[t].creates;
    }
    print(p->name, seed, chaos, each, &all);
    *ret = all;
}

/* What the issue promises, by the day: 60 late minutes and 60 flaps in 16 days. */
static bool check(const char *name, const Score *s, double days, const Score *latency)
{
    double part = days * TRACES / 16;

    if (streq(name, "latency"))
        return s->hours <= 1.25 * s->bound && s->late_minutes <= ceil(60 * part) &&
               s->flaps <= ceil(60 * part);
    return !streq(name, "depth") || score_of(s) <= 1.4 * score_of(latency);
}

typedef struct Ask {
    const char *policy, *seeds;
    double days;
    bool chaos, both, check;
    int trace;
} Ask;

static bool read_ask(int argc, char **argv, Ask *a)
{
    *a = (Ask){.seeds = "1,2,3", .days = 4, .trace = -1};
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : "";
        bool flag = true;
        if (streq(argv[i], "--chaos"))
            a->chaos = true;
        else if (streq(argv[i], "--both"))
            a->both = true;
        else if (streq(argv[i], "--check"))
            a->check = true;
        else
            flag = false;
        if (flag)
            continue;
        if (streq(argv[i], "--seed"))
            a->seeds = next;
        else if (streq(argv[i], "--days"))
            a->days = strtod(next, NULL);
        else if (streq(argv[i], "--policy"))
            a->policy = next;
        else if (streq(argv[i], "--trace"))
            a->trace = (int)strtol(next, NULL, 10);
        else if (streq(argv[i], "--record"))
            recording = fopen(next, "w");
        else
            return false;
        i++;
    }
    return true;
}

/* All policies on one seed; false if a promise is not held. */
static bool run_seed(const Ask *a, uint64_t seed, bool chaos)
{
    Score latency = {0};
    bool good = true;

    for (size_t p = 0; p < ARRAY_LEN(policies); p++) {
        Score s = {0};
        if (a->policy && !strstr(a->policy, policies[p].name))
            continue;
        run_all(&policies[p], seed, a->days, chaos, a->trace, &s);
        if (streq(policies[p].name, "latency"))
            latency = s;
        if (a->check && !check(policies[p].name, &s, a->days, &latency)) {
            printf("%s: not as promised\n", policies[p].name);
            good = false;
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;
    Ask a;

    if (!read_ask(argc, argv, &a))
        return 64;
    for (const char *at = a.seeds; *at;) {
        char *end = NULL;
        uint64_t seed = strtoull(at, &end, 10);
        if (end == at)
            return 64;
        at = *end ? end + 1 : end;
        for (int chaos = a.chaos; chaos <= (a.both ? 1 : (int)a.chaos); chaos++)
            good &= run_seed(&a, seed, chaos);
    }
    if (recording)
        fclose(recording);
    return good ? 0 : 1;
}
