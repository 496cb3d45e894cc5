#include "backup/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A ring of `bound` jobs: [first, begun) are worked on or done, [begun, end) wait. */
typedef struct Slot {
    void *job;
    bool done;
} Slot;

struct Pool {
    PoolWork work;
    pthread_mutex_t lock;
    pthread_cond_t more, done; /* something to begin; something has ended */
    pthread_t *threads;
    size_t thread_count;
    Slot *slots;
    size_t bound;
    uint64_t first, begun, end; /* counted from the beginning; slot: modulo bound */
    bool closing;
    int fd;
};

static Slot *slot_of(const Pool *p, uint64_t i)
{
    return &p->slots[i % p->bound];
}

static void ring(const Pool *p)
{
    uint64_t one = 1;

    /* It can only fail when 2^64 - 1 jobs are done and not taken. */
    ssize_t n = write(p->fd, &one, sizeof one);
    BUG_IF(n != sizeof one);
}

static void *thread_main(void *arg)
{
    Pool *p = arg;
    void *state = p->work.begin ? p->work.begin(p->work.user) : NULL;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->closing && p->begun == p->end)
            pthread_cond_wait(&p->more, &p->lock);
        if (p->closing)
            break;
        Slot *s = slot_of(p, p->begun++);
        pthread_mutex_unlock(&p->lock);
        p->work.work(state, s->job);
        pthread_mutex_lock(&p->lock);
        s->done = true;
        pthread_cond_signal(&p->done);
        ring(p);
    }
    pthread_mutex_unlock(&p->lock);
    if (p->work.end)
        p->work.end(state);
    return NULL;
}

Pool *pool_new(const PoolWork *w, size_t threads, size_t bound)
{
    Pool *p = NEW(Pool);
    sigset_t all, old;

    *p = (Pool){.work = *w, .thread_count = threads, .bound = bound};
    BUG_IF(threads == 0 || bound == 0);
    p->slots = xcalloc(bound, sizeof *p->slots);
    p->threads = xcalloc(threads, sizeof *p->threads);
    p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    BUG_IF(p->fd < 0 || pthread_mutex_init(&p->lock, NULL) != 0 ||
           pthread_cond_init(&p->more, NULL) != 0 || pthread_cond_init(&p->done, NULL) != 0);
    /* Signals are the owner's. */
    sigfillset(&all);
    BUG_IF(pthread_sigmask(SIG_SETMASK, &all, &old) != 0);
    for (size_t i = 0; i < threads; i++)
        BUG_IF(pthread_create(&p->threads[i], NULL, thread_main, p) != 0);
    BUG_IF(pthread_sigmask(SIG_SETMASK, &old, NULL) != 0);
    return p;
}

Pool *pool_free(Pool *p, void (*drop)(void *job))
{
    if (!p)
        return NULL;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->thread_count; i++)
        BUG_IF(pthread_join(p->threads[i], NULL) != 0);
    for (uint64_t i = p->first; drop && i < p->end; i++)
        drop(slot_of(p, i)->job);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    close(p->fd);
    free(p->threads);
    free(p->slots);
    free(p);
    return NULL;
}

size_t pool_count(Pool *p)
{
    /* Only the owner changes these two. */
    return (size_t)(p->end - p->first);
}

bool pool_full(Pool *p)
{
    return pool_count(p) == p->bound;
}

void pool_push(Pool *p, void *job)
{
    BUG_IF(pool_full(p));
    pthread_mutex_lock(&p->lock);
    *slot_of(p, p->end++) = (Slot){.job = job};
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

void *pool_take(Pool *p, bool wait)
{
    void *job = NULL;

    pthread_mutex_lock(&p->lock);
    if (p->first < p->end) {
        Slot *s = slot_of(p, p->first);
        while (wait && !s->done)
            pthread_cond_wait(&p->done, &p->lock);
        if (s->done) {
            job = s->job;
            p->first++;
        }
    }
    if (!job) {
        /* Nothing to take: whoever polls is woken by the next that ends. */
        uint64_t drained;
        ssize_t n = read(p->fd, &drained, sizeof drained);
        BUG_IF(n < 0 && errno != EAGAIN);
    }
    pthread_mutex_unlock(&p->lock);
    return job;
}

int pool_fd(const Pool *p)
{
    return p->fd;
}
