/* One look at Sidekiq's Redis: queues, processes, work done, retries that are due; two round trips,
 * however many queues and processes there are. Writes its lease and the signals it is asked for,
 * and nothing else.
 *
 * Counters: Sidekiq 6.5 and later count runs and milliseconds by class, and the queue of a class is
 * learnt from jobs that are seen; 6.4 counts all jobs together, which are then shared out by the
 * threads that each queue was seen to keep busy, as are those of classes nobody has seen yet. So
 * done and ms of a queue are estimates there, and their sums are not.
 *
 * Thread: an Observer belongs to one thread at a time. It remembers what counters were; a new one
 * needs two ticks. Limits: OBSERVE_QUEUES, OBSERVE_PROCESSES; what is beyond them is counted in
 * `left_out`.
 */
#pragma once
#include "base/vec.h"
#include "io/redis.h"
#include "island/roles.h"
#include "scale/sidekiq.h"

#define OBSERVE_QUEUES 256
#define OBSERVE_PROCESSES 2000
#define OBSERVE_WORK 16 /* processes whose work is looked into in one tick */

typedef struct ObservedQueue {
    char *name;
    bool known;  /* false: Redis gave an error for this queue, or it is not there */
    bool paused; /* Sidekiq Pro's; nobody takes from it */
    double len, age_s;
    double done, ms; /* since this Observer began */
    double busy;     /* threads at work on it, a fading mean */
} ObservedQueue;

typedef struct Observed {
    double epoch;    /* Redis' clock */
    double offset_s; /* of Redis' clock to ours */
    VEC(ObservedQueue) queues;
    VEC(SidekiqProcess) processes; /* the dead ones of the set, too */
    double busy;                   /* threads at work in those that are alive */
    double due_60, due_300;
    bool reset; /* counters went back: Redis was flushed, or is another one */
    size_t left_out;
    bool leader;        /* the lease is ours */
    int64_t generation; /* grows with each change of holder: who has a lower one must not act */
    char *holder;       /* who has the lease, if it is not ours */
} Observed;
void observed_clear(Observed *o);
DEFINE_CLEAR(Observed, observed_clear)
/* NULL if there is none. */
const ObservedQueue *observed_queue(const Observed *o, const char *name);

typedef struct ObserveOptions {
    const char *prefix; /* of all of Sidekiq's keys (REDIS_NAMESPACE), with its colon; "" */
    const char *lease;  /* "reef.worker"; NULL: no lease, and no writing at all */
    const char *holder; /* a name that no other run has */
    Msec lease_ms;
} ObserveOptions;

typedef struct Observer Observer;
Observer *observer_new(const ObserveOptions *options); /* copies */
Observer *observer_free(Observer *o);                  /* takes NULL, returns NULL */
/* `now`: epoch seconds of this machine. *ret is dropped first. Errors are those of Redis: as a
 * whole, not of one queue. */
int observer_tick(Observer *o, Redis *r, double now, Observed *ret, Err *err) _must_check_;
/* "TSTP": no more jobs, for good, with a mark for the host's agent that this is meant
 * (SIDEKIQ_DRAIN_MARK); "TERM": the end. It is read at the process's next beat, and is
 * gone after a minute. */
int observer_signal(const Observer *o, Redis *r, const char *identity, const char *signal_name,
                    Err *err) _must_check_;
/* Lets go of the lease, if it is still ours. Who does not, leaves it to its time. */
int observer_leave(const Observer *o, Redis *r, Err *err);
