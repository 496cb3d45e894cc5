/* The servers of a scaled tier, whoever makes and removes them, and what is to be done about their
 * number. A driver is a few functions; the rest is pure.
 *
 * A server is found in Redis by what its Sidekiq processes call their machine: the server's name,
 * or that and a dot and more ("worker.0.worker.1"). States come from both: the cloud says that it
 * is there, Sidekiq's heartbeat that it works. Nothing is kept: after a kill the next tick sees the
 * same, and a server whose processes are quiet is one that is being drained.
 */
#pragma once
#include "base/time.h"
#include "island/island.h"
#include "scale/observe.h"

typedef enum PoolState {
    POOL_BOOTING,   /* asked for; no process of it beats yet */
    POOL_ACTIVE,    /* takes jobs */
    POOL_DRAINING,  /* quiet: finishes what it has, or has finished */
    POOL_LEAVING,   /* told to go, by whomever */
    POOL_ERROR,     /* the cloud says so */
    POOL_CONDEMNED, /* silent for too long, as far as anybody looked */
    POOL_STATES
} PoolState;
extern const char *const pool_states[POOL_STATES];

typedef struct PoolServer {
    char *name; /* "worker.0", for an island's */
    bool error, leaving;
    Msec made;       /* when it was asked for; 0: not known */
    int64_t clients; /* of a streaming server: connected to it; -1: it does not tell */
    PoolState state; /* pool_judge's, and what is below */
    int busy, processes;
    bool drained; /* quiet and without a job on two beats */
    bool overdue; /* it drains for longer than it may */
    bool chosen;  /* by pool_victims */
} PoolServer;

typedef struct Pool {
    VEC(PoolServer) servers;
    int quota; /* so many there may be, these among them; 0: not known */
} Pool;
void pool_clear(Pool *p);
DEFINE_CLEAR(Pool, pool_clear)

/* How servers come and go. `self` is the driver's own. */
typedef struct PoolDriver {
    const char *name; /* "plan" */
    /* Names, error, leaving, made of all that are there or under way; and the quota. */
    int (*look)(void *self, Pool *ret, Err *err);
    /* Begins to make the pool have `size` servers, of which none is one of `without` (NULL-ended):
     * those go, and only they, as far as `size` allows. Absolute, so that it may be asked again.
     * `generation` is the lease's. Returns at once; `busy` tells when it is done. */
    int (*set)(void *self, int size, const char *const *without, int64_t generation, Err *err);
    /* True while what was begun goes on. An end with an error is told once, in *err. */
    bool (*busy)(void *self, int *ret_result, Err *err);
} PoolDriver;

/* After a failure nothing is asked of a driver for 15 s, then for twice as long, at most 5 min;
 * {0}: there was none. `now` never goes back. */
typedef struct PoolRetry {
    Msec at, wait;
} PoolRetry;
void pool_failed(PoolRetry *r, Msec now);
bool pool_waits(const PoolRetry *r, Msec now);
/* The driver's `busy`, with its failures counted. */
bool pool_busy(PoolRetry *r, const PoolDriver *driver, void *self, Msec now, int *ret_result,
               Err *err);

typedef struct PoolRules {
    Msec join_ms;            /* a server may be silent for so long */
    Msec drain_ms;           /* and be done with its jobs within so long, */
    const QueueSpans *drain; /* or within the longest of the queues that a process takes from; or
                                NULL. Borrowed */
    Msec retry_ms;           /* where none come up, one is tried so long after the last */
} PoolRules;

/* What is remembered of drains from tick to tick; lost by a restart without harm: two beats more.
 */
typedef struct PoolMemory PoolMemory;
PoolMemory *pool_memory_new(void);
PoolMemory *pool_memory_free(PoolMemory *m); /* takes NULL, returns NULL */

/* Redis told nothing that can be used: how long servers are silent is counted anew. */
void pool_blind(PoolMemory *m);
/* A process was sent TSTP: it counts as quiet before it says so, for a minute. */
void pool_told(PoolMemory *m, const SidekiqProcess *process, Msec now);
/* Fills in the states. `now` epoch ms, of Redis. */
void pool_judge(Pool *p, Observed *seen, PoolMemory *m, const PoolRules *rules, Msec now);
int pool_in_state(const Pool *p, PoolState state);
/* Threads of processes that take jobs and are not the pool's. */
int pool_others(const Pool *p, const Observed *seen);
/* The `n` that had best go: the least busy of those that are active, then the youngest; never the
 * one with the schedule, nor the last that takes some queue once the others have gone, nor one with
 * a Sidekiq that takes no signals. Appends names; there may be fewer. */
void pool_victims(Pool *p, const Observed *seen, size_t n, StrList *ret);
/* Is it a process of this server? */
bool pool_owns(const PoolServer *s, const SidekiqProcess *process);
