#include "backup/pool.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct Job {
    int in, out;
    pthread_mutex_t *gate; /* held: the job does not end; or NULL */
} Job;

static atomic_int begun, ended;

static void *begin(void *user)
{
    atomic_fetch_add(&begun, 1);
    return user;
}

static void end(void *state)
{
    (void)state;
    atomic_fetch_add(&ended, 1);
}

static void work(void *state, void *job)
{
    Job *j = job;
    const int *factor = state;

    if (j->gate) {
        pthread_mutex_lock(j->gate);
        pthread_mutex_unlock(j->gate);
    }
    j->out = j->in * *factor;
}

static void test_order(void **state)
{
    int factor = 3, taken = 0;
    PoolWork w = {begin, work, end, &factor};
    Pool *p = pool_new(&w, 4, 8);
    Job jobs[1000];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        if (pool_full(p)) {
            const Job *j = pool_take(p, true);
            assert_ptr_equal(j, &jobs[taken]);
            assert_int_equal(j->out, 3 * taken++);
        }
        jobs[i] = (Job){.in = i};
        pool_push(p, &jobs[i]);
    }
    for (const Job *j; (j = pool_take(p, true));)
        assert_int_equal(j->out, 3 * taken++);
    assert_int_equal(taken, 1000);
    assert_int_equal(pool_count(p), 0);
    pool_free(p, NULL);
    assert_int_equal(atomic_load(&begun), 4);
    assert_int_equal(atomic_load(&ended), 4);
}

static void test_fd_and_bound(void **state)
{
    int factor = 1;
    PoolWork w = {begin, work, end, &factor};
    Pool *p = pool_new(&w, 2, 3);
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    Job jobs[3] = {{.in = 1, .gate = &gate}, {.in = 2}, {.in = 3}};
    struct pollfd fd = {.fd = pool_fd(p), .events = POLLIN};

    (void)state;
    assert_null(pool_take(p, false));
    assert_null(pool_take(p, true));
    assert_int_equal(poll(&fd, 1, 0), 0);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 3; i++)
        pool_push(p, &jobs[i]);
    assert_true(pool_full(p));
    /* The second may be done, but the first is not: nothing to take. */
    assert_null(pool_take(p, false));
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < 3; i++) {
        Job *j;
        while (!(j = pool_take(p, false)))
            assert_int_equal(poll(&fd, 1, 10000), 1);
        assert_int_equal(j->out, i + 1);
    }
    assert_null(pool_take(p, false));
    assert_int_equal(poll(&fd, 1, 0), 0);
    pool_free(p, NULL);
}

static int dropped;
static void drop(void *job)
{
    dropped += ((Job *)job)->in;
}

static void test_dropped(void **state)
{
    int factor = 1;
    PoolWork w = {begin, work, end, &factor};
    Pool *p = pool_new(&w, 1, 3);
    Job jobs[3] = {{.in = 1}, {.in = 10}, {.in = 100}};

    (void)state;
    for (int i = 0; i < 3; i++)
        pool_push(p, &jobs[i]);
    pool_free(p, drop);
    assert_int_equal(dropped, 111);
    assert_null(pool_free(NULL, drop));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_fd_and_bound),
        cmocka_unit_test(test_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
