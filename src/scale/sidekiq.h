/* What Sidekiq 6.4 to 8.1 writes into Redis, read: a job's age, a process's state. Pure; the facts
 * and the version of each are in Sidekiq's own lib/ (api.rb, launcher.rb, metrics/tracking.rb).
 */
#pragma once
#include "base/buf.h"
#include "base/json.h"
#include "base/time.h"

/* A process that beats every 5 s (6.x) or 10 s (7, 8) is dead after so long. */
#define SIDEKIQ_BEAT_MAX_S 30.0

typedef struct SidekiqJob {
    double at;  /* seconds since 1970 when it was put into its queue; 0: not told */
    char *name; /* of the class that the run-time counters name it by; NULL: not told */
} SidekiqJob;
/* `job`: the element of a queue. Its time is enqueued_at, else created_at, in all forms that were
 * ever written: float seconds (to 7.x), integer milliseconds (8.0 on), either as text. */
void sidekiq_job(Str job, SidekiqJob *ret);
void sidekiq_job_clear(SidekiqJob *j);
DEFINE_CLEAR(SidekiqJob, sidekiq_job_clear)

typedef struct SidekiqProcess {
    char *identity; /* host:pid:nonce */
    char *host;     /* as the process calls its machine: DYNO, else its name */
    bool alive;     /* its hash is there and its beat is not older than SIDEKIQ_BEAT_MAX_S */
    bool quiet;     /* takes no more jobs */
    bool told;      /* to be so, and has not heard it yet; pool_judge's */
    bool embedded;  /* takes no signals */
    int busy, threads;
    double beat; /* epoch, by the clock of its machine */
    StrList queues;
} SidekiqProcess;
/* `fields`: of HMGET identity info concurrency busy beat quiet, NULL where nil. `now`: Redis'. */
void sidekiq_process(const char *identity, const char *const fields[static 5], double now,
                     SidekiqProcess *ret);
void sidekiq_process_clear(SidekiqProcess *p);
/* The queue of an entry of IDENTITY:work; to be freed, or NULL. */
char *sidekiq_work_queue_new(Str entry);

/* The hashes that may hold the run-time counters of the minute `t` is in, for 6.5 and 7, and for 8;
 * without the prefix. To be freed. */
char *sidekiq_minute_key(double t, bool of_8);
