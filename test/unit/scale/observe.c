/* Looks at a real Redis that holds what Sidekiq would have written. Without redis-server: skipped.
 */
#include "scale/observe.h"
#include "redis_server.h"

#include <math.h>
#include <time.h>

static Observer *plain(void)
{
    return observer_new(&(ObserveOptions){.prefix = ""});
}

static void look(Observer *o, Redis *r, Observed *ret)
{
    _cleanup_(err_clear) Err err = {0};
    if (observer_tick(o, r, (double)time_now() / 1000, ret, &err) < 0)
        fail_msg("%s", err.text);
}

static const char info_6[] =
    "{\"hostname\":\"reef-worker-0\",\"concurrency\":5,\"queues\":[\"push\"]}";

/* One look: lengths, ages in the three forms, processes alive and dead, retries, a paused queue. */
static void test_look(void **state)
{
    (void)state;
    _cleanup_(redis_drop) Redis *r = fresh();
    _cleanup_(observed_clear) Observed s = {0};
    Observer *o = plain();
    double now = (double)time_now() / 1000;
    _cleanup_free_ char *in_s = xasprintf("%.3f", now - 50),
                        *in_ms = xasprintf("%.0f", now * 1000 - 50000);
    _cleanup_free_ char *text = xasprintf("\"%.3f\"", now - 50),
                        *soon = xasprintf("%.3f", now + 30);
    _cleanup_free_ char *later = xasprintf("%.3f", now + 200), *old = xasprintf("%.3f", now - 5000);

    push(r, "push", in_s);
    push(r, "pull", in_ms);
    push(r, "text", text);
    push(r, "requeued", in_s);
    push(r, "requeued", in_s);
    push(r, "requeued", in_s);
    RUN(r, "RPUSH", "queue:requeued", "{\"class\":\"Long\",\"enqueued_at\":1}"); /* put back */
    RUN(r, "SADD", "queues", "wrong", "empty");
    RUN(r, "SET", "queue:wrong", "a string");
    RUN(r, "SADD", "paused", "text");
    RUN(r, "ZADD", "retry", soon, "a", later, "b", old, "c");
    beat(r, "reef-worker-0:10:aa", info_6, "3", 4);
    beat(r, "reef-worker-1:10:bb", info_6, "9", 45);
    RUN(r, "SADD", "processes", "reef-worker-2:10:cc");
    look(o, r, &s);
    static const char *const fifty[] = {"push", "pull", "text", "requeued"};
    for (size_t i = 0; i < ARRAY_LEN(fifty); i++) {
        const ObservedQueue *q = observed_queue(&s, fifty[i]);
        assert_non_null(q);
        if (fabs(q->age_s - 50) > 5)
            fail_msg("%s: age %f", fifty[i], q->age_s);
    }
    assert_true(observed_queue(&s, "requeued")->len == 4);
    assert_false(observed_queue(&s, "wrong")->known);
    assert_true(observed_queue(&s, "empty")->known && observed_queue(&s, "empty")->age_s == 0);
    assert_true(observed_queue(&s, "text")->paused && !observed_queue(&s, "push")->paused);
    assert_true(s.due_60 == 2 && s.due_300 == 3);
    assert_int_equal(s.processes.len, 3);
    int alive = 0;
    for (size_t i = 0; i < 3; i++)
        alive += s.processes.items[i].alive;
    assert_int_equal(alive, 1);
    assert_true(s.busy == 3);
    (void)observer_free(o);
}

/* 6.4: all jobs are counted together; 7 and 8: by class. */
static void test_counts(void **state)
{
    (void)state;
    static const char *const versions[] = {"6.4", "7", "8"};
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        _cleanup_(redis_drop) Redis *r = fresh();
        _cleanup_(observed_clear) Observed s = {0};
        Observer *o = plain();
        _cleanup_free_ char *key = sidekiq_minute_key((double)time_now() / 1000, v == 2);
        push(r, "push", "1795953600");
        push(r, "pull", "1795953600");
        beat(r, "reef-worker-0:10:aa", info_6, "2", 1);
        RUN(r, "HSET", v == 0 ? "reef-worker-0:10:aa:workers" : "reef-worker-0:10:aa:work", "t1",
            "{\"queue\":\"push\",\"payload\":\"{}\",\"run_at\":1}", "t2",
            "{\"queue\":\"push\",\"payload\":{},\"run_at\":1}");
        RUN(r, "SET", "stat:processed", "1000");
        if (v > 0)
            RUN(r, "HSET", key, "pushJob|p", "40", "pushJob|ms", "4000");
        look(o, r, &s);
        assert_true(observed_queue(&s, "push")->done == 0); /* of before our time */
        RUN(r, "INCRBY", "stat:processed", "100");
        if (v > 0)
            RUN(r, "HSET", key, "pushJob|p", "120", "pushJob|ms", "12000", "pushJob|f", "3",
                "pullJob|p", "20", "pullJob|ms", "30000");
        look(o, r, &s);
        const ObservedQueue *a = observed_queue(&s, "push"), *b = observed_queue(&s, "pull");
        if (fabs(a->done + b->done - 100) > 1)
            fail_msg("%s: %f and %f done", versions[v], a->done, b->done);
        if (v == 0)
            assert_true(a->done > 99); /* all that was seen at work was push */
        else
            assert_true(a->done == 80 && a->ms == 8000 && b->done == 20 && b->ms == 30000);
        assert_false(s.reset);
        RUN(r, "FLUSHALL");
        look(o, r, &s);
        assert_true(s.reset && s.queues.len == 0 && s.processes.len == 0);
        (void)observer_free(o);
    }
}

/* Two that want to lead: one does, with a number that grows; a lost lease is nobody's. */
static void test_lease(void **state)
{
    (void)state;
    _cleanup_(redis_drop) Redis *r = fresh();
    _cleanup_(observed_clear) Observed a = {0};
    _cleanup_(observed_clear) Observed b = {0};
    ObserveOptions options = {
        .prefix = "", .lease = "reef.worker", .holder = "one", .lease_ms = 30000};
    Observer *one = observer_new(&options);
    options.holder = "two";
    Observer *two = observer_new(&options);

    look(one, r, &a);
    look(two, r, &b);
    assert_true(a.leader && !b.leader);
    assert_string_equal(b.holder, "one");
    look(one, r, &a);
    assert_true(a.leader && a.generation == 1 && b.generation == 1);
    RUN(r, "DEL", "atoll:scale:reef.worker"); /* its time ran out */
    look(two, r, &b);
    look(one, r, &a);
    assert_true(b.leader && b.generation == 2 && !a.leader && a.generation == 2);
    assert_int_equal(observer_leave(one, r, NULL), 0); /* not its own: nothing happens */
    look(two, r, &b);
    assert_true(b.leader && b.generation == 2);
    assert_int_equal(observer_leave(two, r, NULL), 0);
    look(one, r, &a);
    assert_true(a.leader && a.generation == 3);
    (void)observer_free(one);
    (void)observer_free(two);
}

static void test_prefix_and_signal(void **state)
{
    (void)state;
    _cleanup_(redis_drop) Redis *r = fresh();
    _cleanup_(observed_clear) Observed s = {0};
    _cleanup_(redis_reply_clear) RedisReply list = {0};
    Observer *o = observer_new(&(ObserveOptions){.prefix = "mastodon:"});

    RUN(r, "SADD", "mastodon:queues", "default");
    RUN(r, "LPUSH", "mastodon:queue:default", "{}", "{}");
    look(o, r, &s);
    assert_true(observed_queue(&s, "default")->len == 2);
    assert_int_equal(observer_signal(o, r, "w:1:a", "TSTP", NULL), 0);
    assert_int_equal(
        redis_command(r, (const char *const[]){"LRANGE", "mastodon:w:1:a-signals", "0", "-1", NULL},
                      &list, NULL),
        0);
    assert_int_equal(list.len, 1);
    assert_string_equal(list.items[0].text, "TSTP");
    (void)observer_free(o);
}

static void test_redis_fails(void **state)
{
    (void)state;
    _cleanup_(redis_drop) Redis *r = fresh();
    _cleanup_(redis_drop) Redis *other = open_redis();
    _cleanup_(observed_clear) Observed s = {0};
    _cleanup_(err_clear) Err err = {0};
    Observer *o = plain();

    RUN(r, "CLIENT", "SETNAME", "scaler");
    RUN(other, "CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal");
    assert_int_equal(observer_tick(o, r, 1, &s, &err), -ERR_TEMPORARY);
    assert_true(redis_broken(r));
    (void)observer_free(o);
}

/* Private memory of this process, in KiB. */
static int64_t private_kib(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    int64_t sum = 0;

    while (f && fgets(line, sizeof line, f))
        if (starts_with(line, "Private_"))
            sum += strtoll(strchr(line, ':') + 1, NULL, 10);
    if (f)
        fclose(f);
    return sum;
}

/* Microseconds that Redis itself was at work. */
static double redis_usec(Redis *r)
{
    _cleanup_(redis_reply_clear) RedisReply info = {0};
    double sum = 0;

    assert_int_equal(
        redis_command(r, (const char *const[]){"INFO", "commandstats", NULL}, &info, NULL), 0);
    for (const char *at = info.text; (at = strstr(at, "usec=")); at += 5)
        sum += strtod(at + 5, NULL);
    return sum;
}

#define RUNS 21
static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* 40 queues and 500 processes of 10 threads. */
static void test_large(void **state)
{
    (void)state;
    _cleanup_(redis_drop) Redis *r = fresh();
    _cleanup_(observed_clear) Observed s = {0};
    Observer *o = plain();
    double own[RUNS], cpu = 0;

    for (int q = 0; q < 40; q++) {
        _cleanup_free_ char *name = xasprintf("queue%d", q);
        for (int i = 0; i < 5; i++)
            push(r, name, "1795953600");
    }
    for (int p = 0; p < 500; p++) {
        _cleanup_free_ char *identity = xasprintf("reef-worker-%d:10:0123456789ab", p);
        _cleanup_free_ char *work = xasprintf("%s:work", identity);
        _cleanup_free_ char *info = xasprintf(
            "{\"hostname\":\"reef-worker-%d\",\"started_at\":1.5,\"pid\":10,\"tag\":\"live\","
            "\"concurrency\":10,\"queues\":[\"default\",\"push\",\"ingress\",\"pull\",\"mailers\"],"
            "\"labels\":[],\"identity\":\"reef-worker-%d:10:0123456789ab\",\"version\":\"7.3.9\"}",
            p, p);
        beat(r, identity, info, "10", 1);
        for (int t = 0; t < 10; t++) {
            _cleanup_free_ char *tid = xasprintf("t%d", t);
            RUN(r, "HSET", work, tid,
                "{\"queue\":\"queue1\",\"payload\":\"{\\\"class\\\":\\\"A\\\",\\\"args\\\":[12345,"
                "\\\"https://a.example/some/address/of/an/"
                "inbox\\\"],\\\"jid\\\":\\\"0123456789\\\"}"
                "\",\"run_at\":1795953600}");
        }
    }
    look(o, r, &s); /* the first reads what stays the same */
    size_t trips = redis_trips(r);
    for (int i = 0; i < RUNS; i++) {
        double before = redis_usec(r);
        struct timespec from, to;
        clock_t busy = clock();
        clock_gettime(CLOCK_MONOTONIC, &from);
        look(o, r, &s);
        clock_gettime(CLOCK_MONOTONIC, &to);
        cpu += (double)(clock() - busy) * 1000 / CLOCKS_PER_SEC / RUNS;
        double wall =
            (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
        own[i] = (wall - (redis_usec(r) - before)) / 1000;
    }
    trips = redis_trips(r) - trips;
    qsort(own, RUNS, sizeof *own, by_number);
    print_message("# a tick: %.2f ms beside Redis' own time, %.2f ms of them at work, %zu round "
                  "trips, %lld KiB private\n",
                  own[RUNS / 2], cpu, (trips - 2 * RUNS) / RUNS, (long long)private_kib());
    assert_int_equal(s.processes.len, 500);
    assert_true(s.busy == 5000);
    assert_int_equal(trips, 2 * RUNS + 2 * RUNS); /* two of a tick, and two of INFO */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(private_kib() < 8 * 1024);
    assert_true(cpu < 10); /* of waiting a shared machine may have more */
#endif
    (void)observer_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look),        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_lease),       cmocka_unit_test(test_prefix_and_signal),
        cmocka_unit_test(test_redis_fails), cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, redis_begin, redis_end);
}
