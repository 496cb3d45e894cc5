#include "backup/pool.h"
#include "backup/stream_internal.h"

#include <pthread.h>

#define PUT_THREADS 8
#define AGAIN_MS 250 /* and twice as long each time, up to */
#define AGAIN_MOST_MS (5 * SECOND)

struct Puts {
    Pool *pool;
    Store *store;
    /* What the threads and the loop share. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool abandon;
    char trouble[TROUBLE_MAX];
};

Put *put_free(Put *p)
{
    if (!p)
        return NULL;
    buf_clear(&p->object);
    free(p->name);
    free(p);
    return NULL;
}

typedef struct Thread {
    Puts *puts;
    Store *store;
} Thread;

static void *begin(void *user)
{
    Puts *p = user;
    Thread *t = NEW(Thread);
    *t = (Thread){.puts = p, .store = store_clone(p->store)};
    return t;
}

static void end(void *state)
{
    Thread *t = state;
    (void)store_free(t->store);
    free(t);
}

/* Waits a little; false: it is given up. */
static bool again(Puts *p, const Err *err, Msec wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / SECOND;
    until.tv_nsec += (long)(wait_ms % SECOND) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&p->lock);
    snprintf(p->trouble, sizeof p->trouble, "%s%s%s", err->text, err->hint ? "; " : "",
             err->hint ? err->hint : "");
    int r = 0;
    while (!p->abandon && r == 0)
        r = pthread_cond_timedwait(&p->changed, &p->lock, &until);
    bool go = !p->abandon;
    pthread_mutex_unlock(&p->lock);
    return go;
}

/* Whatever the store says: space may come back, URLs may be renewed. Only the stream's own end is
 * a reason to stop. */
static void work(void *state, void *job)
{
    Thread *t = state;
    Put *put = job;
    _cleanup_(err_clear) Err err = {0};
    uint16_t jitter;

    for (Msec wait = AGAIN_MS;; wait = MIN(2 * wait, AGAIN_MOST_MS)) {
        Msec begun = time_mono();
        if (store_put(t->store, put->name, buf_as_str(&put->object), STORE_ANY, &err) == 0) {
            put->took = time_mono() - begun;
            put->done = true;
            break;
        }
        crypt_random(&jitter, sizeof jitter);
        if (!again(t->puts, &err, wait / 2 + jitter % wait))
            return;
        err_clear(&err);
    }
    pthread_mutex_lock(&t->puts->lock);
    t->puts->trouble[0] = '\0';
    pthread_mutex_unlock(&t->puts->lock);
}

Puts *puts_new(Store *store)
{
    Puts *p = NEW(Puts);
    pthread_condattr_t clock;

    p->store = store;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &clock);
    pthread_condattr_destroy(&clock);
    p->pool = pool_new(&(PoolWork){.begin = begin, .work = work, .end = end, .user = p},
                       PUT_THREADS, STREAM_WINDOW);
    return p;
}

static void drop(void *job)
{
    put_drop(job);
}

Puts *puts_free(Puts *p)
{
    if (!p)
        return NULL;
    pthread_mutex_lock(&p->lock);
    p->abandon = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    (void)pool_free(p->pool, drop);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

bool puts_full(Puts *p)
{
    return pool_full(p->pool);
}

size_t puts_count(Puts *p)
{
    return pool_count(p->pool);
}

int puts_fd(const Puts *p)
{
    return pool_fd(p->pool);
}

void puts_push(Puts *p, Put *put)
{
    pool_push(p->pool, put);
}

Put *puts_take(Puts *p)
{
    return pool_take(p->pool, false);
}

void puts_trouble(Puts *p, char out[static TROUBLE_MAX])
{
    pthread_mutex_lock(&p->lock);
    memcpy(out, p->trouble, TROUBLE_MAX);
    pthread_mutex_unlock(&p->lock);
}
