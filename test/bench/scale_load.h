/* The load and the queues of the simulator (scale_sim.c): what comes, when, and how it is worked
 * off.
 *
 * Discrete steps of STEP_S; jobs are fluid in cohorts, first in first out; free threads look at the
 * queues by their weights. Everything random comes from the seed. No public trace of Mastodon's
 * queues was found: the shapes are made up, from what its operators report.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STEP_S 5.0
#define QUEUES 4
#define MAX_WAVES 24

typedef struct Rng {
    uint64_t s;
    double spare;
    bool has_spare;
} Rng;
double rng_uniform(Rng *r);
double rng_normal(Rng *r);

typedef enum Trace { TRACE_DIURNAL, TRACE_VIRAL, TRACE_INGRESS, TRACE_RETRY, TRACES } Trace;
extern const char *const trace_names[TRACES];

typedef struct QueueRow {
    const char *name;
    double slo_s, weight;
    double service_s; /* of one job */
    double share;     /* of the work on a plain day */
} QueueRow;
extern const QueueRow queue_rows[QUEUES]; /* default push ingress pull */

typedef struct Wave {
    double from, to, size, fade_s;
} Wave;

typedef struct Cohort {
    double t, jobs, service_s;
    int tries; /* so often it failed already */
    bool dead; /* goes to the host that is away */
} Cohort;

typedef struct Queue {
    Cohort *items;
    size_t head, len, cap;
    double jobs, done, ms; /* queued; done and their milliseconds since the beginning */
    double rate_noise;
} Queue;

typedef struct Load {
    Trace trace;
    double days;
    Rng rng;
    Wave waves[MAX_WAVES];
    size_t n_waves;
    Queue queues[QUEUES];
    double *retries; /* [step][tries]: jobs that the retry set gives then */
    size_t steps;
    double started, late;           /* jobs */
    bool minute_late;               /* in this minute */
    double late_minutes, work_done; /* so far; thread-seconds */
    double busy;                    /* threads, in the last step */
} Load;
#define MAX_TRIES 8

void load_begin(Load *l, Trace trace, uint64_t seed, double days);
void load_end(Load *l);
/* What comes in the step at `t`. Called for every step, whatever the servers do. */
void load_arrive(Load *l, double t);
/* `threads` work for a step; notes lateness. */
void load_work(Load *l, double t, double threads);
double load_due(const Load *l, double t, double within_s);
/* Server-hours of the least that anybody could do with: `least` servers always on, and all else
 * that has to be done before its deadline, by parts of servers that need no boot. */
double load_lower_bound(Trace trace, uint64_t seed, double days, int least, int threads);
