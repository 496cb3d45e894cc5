/* Threads that work on jobs, with a bound on how many there are and results in the order of the
 * jobs: the pipelines of stream (puts), base (compression, puts) and restore (gets, decompression).
 *
 * One thread owns the pool: it pushes, takes and frees. `work` runs in the pool's threads, a job in
 * one thread; `begin` and `end` make and free what a thread keeps for itself (a Store of its own).
 */
#pragma once
#include "base/err.h"

typedef struct Pool Pool;

typedef struct PoolWork {
    void *(*begin)(void *user);           /* or NULL: the thread's state is NULL */
    void (*work)(void *state, void *job); /* outcome goes into the job */
    void (*end)(void *state);             /* or NULL */
    void *user;
} PoolWork;

/* `threads` work at once; at most `bound` jobs are in the pool, finished ones that were not taken
 * included. */
Pool *pool_new(const PoolWork *w, size_t threads, size_t bound);
/* Waits for what is being worked on (not for what is not begun) and ends the threads. Jobs that
 * were not taken are given to `drop` (or NULL), in order. Takes NULL, returns NULL. */
Pool *pool_free(Pool *p, void (*drop)(void *job));
bool pool_full(Pool *p);
size_t pool_count(Pool *p); /* jobs in it */
/* BUG if it is full. */
void pool_push(Pool *p, void *job);
/* The oldest job if it is done; NULL if it is not, or there is none. With `wait`: NULL only when
 * there is none. */
void *pool_take(Pool *p, bool wait);
/* A descriptor that poll(2) finds readable when pool_take may have something; the pool empties it.
 */
int pool_fd(const Pool *p);
