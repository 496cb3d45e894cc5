/* How many servers a worker tier should have now. Pure: an observation and the time in it go in, a
 * decision comes out; nothing here reads a clock, a file or a socket. So a recorded day, a
 * simulator and the daemon drive the same code.
 *
 * Three policies:
 *   latency  (the default) foresees each queue's wait with the servers that are there and on their
 *            way, from arrivals, service times and backlog, and takes the least number that keeps
 *            every deadline; a deadline that can't be kept any more is weighed against its cost
 *   backlog  queued work over what one server does within the deadline, per queue, the largest
 *   depth    the rule of the 2020 report: over a length for a moment, up; under another for a
 *            while, down
 * All of them keep their hands off servers that are busy (the guard), go in slowly, and never go in
 * on data that is missing or was reset. Then come the bounds, in this order: the least number (the
 * file's, the calendar's), the budget, the most that the file, the quota or PostgreSQL allows.
 *
 * What a Scale remembers are estimates of rates: after a restart it holds the size until it has
 * them again, so nothing has to be kept. Thread: a Scale belongs to one thread at a time. Limits:
 * SCALE_QUEUES queues; more are not looked at.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#define SCALE_QUEUES 48
#define SCALE_SERVERS 1000 /* the largest `max` */
#define SCALE_CALENDAR 16
#define SCALE_NAME 64

typedef enum ScalePolicy { SCALE_LATENCY, SCALE_BACKLOG, SCALE_DEPTH, SCALE_POLICIES } ScalePolicy;
extern const char *const scale_policies[SCALE_POLICIES + 1]; /* NULL-ended */

/* What decided: the last term or bound that the number came from. */
typedef enum ScaleBinding {
    SCALE_BY_LOAD,     /* what the policy wants */
    SCALE_BY_HOLD,     /* it wants fewer, but not yet */
    SCALE_BY_BUSY,     /* it wants fewer, but these are busy */
    SCALE_BY_MIN,      /* the file's least */
    SCALE_BY_CALENDAR, /* the calendar's least */
    SCALE_BY_BUDGET,   /* the day's server-hours are used up */
    SCALE_BY_MAX,      /* the file's most */
    SCALE_BY_QUOTA,    /* the cloud's */
    SCALE_BY_POSTGRES, /* its connections */
    SCALE_BY_BLIND,    /* Redis tells nothing, or what it tells was reset: the size is held */
    SCALE_BY_POISON,   /* new servers do not come up: no more are made */
    SCALE_BINDINGS
} ScaleBinding;
extern const char *const scale_bindings[SCALE_BINDINGS];

typedef struct ScaleQueue {
    char name[SCALE_NAME];
    double slo_s;  /* a job has to begin within so long */
    double weight; /* how often a free thread looks there first; 1 */
} ScaleQueue;

/* At least `min` servers on the days of `days` (bit 0 Sunday) from minute to minute of the day,
 * UTC; a `to` that is not above `from` is on the next day. */
typedef struct ScaleHours {
    unsigned days;
    int from, to, min;
} ScaleHours;

typedef struct ScaleConfig {
    ScalePolicy policy;
    bool policy_stays; /* whatever a cfg that is read says */
    int min, max;
    int threads;     /* of one server */
    double boot_s;   /* from asking for a server to its first job, measured */
    double calm_s;   /* no server goes within so long after one was asked for */
    double window_s; /* and only what was too many all the time for so long */
    double sight_s;  /* nor within so long after a start, or Redis came back */
    double lead_s;   /* servers of the calendar are asked for so long before; boot_s if 0 */
    double budget;   /* server-hours a day (UTC); 0: none */
    int quota;       /* servers that the project may have; 0: not known */
    int pg_max;      /* connections that PostgreSQL takes; 0: not known */
    int pg_reserved; /* of them for others than this tier */
    struct {
        double high, low; /* jobs in all queues together */
        int up;           /* so many more at once */
        double hold_s;    /* so long under `low` */
        double cool_s;    /* so long from one step up to the next */
    } depth;
    double backlog_target; /* of the deadline; what `backlog` sizes for */
    bool per_tick;         /* done and ms are of this tick, not since counting began */
    ScaleQueue queues[SCALE_QUEUES];
    size_t n_queues;
    ScaleHours calendar[SCALE_CALENDAR];
    size_t n_calendar;
} ScaleConfig;

typedef struct ScaleSeen {
    bool known; /* Redis told of this queue */
    double len, age_s;
    double done, ms; /* jobs done, and their milliseconds, since counting began */
} ScaleSeen;

typedef struct ScalePool {
    int desired; /* what was asked for last; what is there is active + booting */
    int active, booting, draining, error;
    bool poison; /* new servers do not come up */
} ScalePool;

typedef struct ScaleObservation {
    double t;      /* seconds, never goes back */
    double epoch;  /* seconds since 1970 */
    double tick;   /* seconds between two observations */
    bool redis_ok; /* queues and busy are fresh */
    bool api_ok;   /* the pool's numbers are */
    ScalePool pool;
    double busy;  /* threads with a job */
    double other; /* threads that take from these queues too and are not the tier's */
    ScaleSeen queues[SCALE_QUEUES]; /* in the order of the configuration's */
    double due_60, due_300;         /* jobs that the retry set will give within so many seconds */
} ScaleObservation;

/* The numbers that a decision was made of. */
typedef struct ScaleTerms {
    double work;     /* threads that the arrivals keep busy */
    double rush;     /* the same, of the last moments */
    double backlog;  /* thread-seconds of queued work */
    int needed;      /* what keeps the deadlines */
    int keep;        /* how far it may shrink */
    int guard;       /* the busy threads' */
    int calendar;    /* the calendar's least; 0: none */
    int cap;         /* the least of all that limits */
    double used;     /* server-hours of this day */
    double late_s;   /* foreseen with the servers that are there, out of the time looked ahead */
    size_t worst;    /* the queue that is nearest to its deadline; SCALE_QUEUES: none */
    double worst_at; /* its foreseen wait, as a share of its deadline */
} ScaleTerms;

typedef struct ScaleDecision {
    int desired; /* servers that should be there or on their way */
    ScaleBinding binding;
    ScaleTerms terms;
    char reason[160]; /* one sentence without its full stop */
} ScaleDecision;

typedef struct Scale Scale;

Scale *scale_new(void);
Scale *scale_free(Scale *s); /* takes NULL, returns NULL */
/* The next decision. Observations come in the order of their `t`. */
void scale_decide(Scale *s, const ScaleConfig *c, const ScaleObservation *o, ScaleDecision *ret);

/* Fills in what a person need not say. */
void scale_config_default(ScaleConfig *ret);
/* The form of `atoll scale decide` (doc/scale.md). `cfg` may be NULL: nothing changes. ERR_CONFIG
 * with the key's name. */
int scale_config_read(const json_t *cfg, ScaleConfig *ret, Err *err) _must_check_;
/* ERR_CORRUPT for what is no observation. Queues that the configuration does not name are left
 * out. */
int scale_observation_read(const json_t *line, const ScaleConfig *c, ScaleObservation *ret,
                           Err *err) _must_check_;
/* The same line again, with its cfg: what `atoll scale replay` reads. To be freed. */
json_t *scale_observation_new(const ScaleConfig *c, const ScaleObservation *o);
/* All of it for one line: its cfg is taken over, the observation read, and decided. After an error
 * the Scale is as it was. */
int scale_decide_line(Scale *s, ScaleConfig *c, Str line, ScaleObservation *ret_seen,
                      ScaleDecision *ret, Err *err) _must_check_;
/* {"v": 1, "t", "desired", "binding", "reason", "policy", "terms": {..}, "inputs": {..}} */
json_t *scale_decision_new(const ScaleConfig *c, const ScaleObservation *o, const ScaleDecision *d);
