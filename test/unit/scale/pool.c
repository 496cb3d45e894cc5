/* What servers are, by the cloud and by Sidekiq, and which go. */
#include "scale/pool.h"

#include <setjmp.h>

#include <cmocka.h>

#define NOW (1000 * HOUR)

typedef struct Scene {
    Pool pool;
    Observed seen;
    PoolMemory *memory;
    Msec now;
} Scene;

static void begin(Scene *s)
{
    *s = (Scene){.memory = pool_memory_new(), .now = NOW};
}

static void end(Scene *s)
{
    pool_clear(&s->pool);
    observed_clear(&s->seen);
    s->memory = pool_memory_free(s->memory);
}

static PoolServer *server(Scene *s, const char *name, Msec age)
{
    vec_push(&s->pool.servers, (PoolServer){.name = xstrdup(name), .made = NOW - age});
    return vec_last(&s->pool.servers);
}

/* A process of `host` that has just beaten; its queues parted by spaces. */
static SidekiqProcess *process(Scene *s, const char *host, int busy, const char *queues)
{
    SidekiqProcess p = {.identity = xasprintf("%s:%zu:aa", host, s->seen.processes.len),
                        .host = xstrdup(host),
                        .alive = true,
                        .busy = busy,
                        .threads = 5,
                        .beat = 1};
    Str rest = str_of(queues), part;

    while (str_next(&rest, ' ', &part)) {
        _cleanup_free_ char *name = xstrndup(part.p, part.n);
        strlist_add(&p.queues, name);
    }
    vec_push(&s->seen.processes, p);
    return vec_last(&s->seen.processes);
}

static void judge(Scene *s)
{
    static const PoolRules rules = {.join_ms = 10 * MINUTE, .drain_ms = 5 * MINUTE};
    pool_judge(&s->pool, &s->seen, s->memory, &rules, s->now);
}

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        bool error, leaving, alive, quiet;
        Msec age;
        PoolState state;
    } rows[] = {
        {"it works", false, false, true, false, HOUR, POOL_ACTIVE},
        {"it works, and is young", false, false, true, false, 0, POOL_ACTIVE},
        {"quiet", false, false, true, true, HOUR, POOL_DRAINING},
        {"new", false, false, false, false, 9 * MINUTE, POOL_BOOTING}, /* looked at for so long */
        {"never came up", false, false, false, false, 11 * MINUTE, POOL_CONDEMNED},
        {"in error", true, false, false, false, 0, POOL_ERROR},
        {"on its way out", false, true, true, true, HOUR, POOL_LEAVING},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Scene s;
        begin(&s);
        PoolServer *p = server(&s, "worker.1", rows[i].age);
        p->error = rows[i].error;
        p->leaving = rows[i].leaving;
        SidekiqProcess *k = process(&s, "worker.1.worker.1", 1, "push");
        k->alive = rows[i].alive;
        k->quiet = rows[i].quiet;
        process(&s, "worker.10.worker.1", 4, "push"); /* another's, whose name begins alike */
        judge(&s);
        s.now += rows[i].age;
        judge(&s);
        if (p->state != rows[i].state || p->busy != (rows[i].alive ? 1 : 0))
            fail_msg("%s: %s, %d busy", rows[i].what, pool_states[p->state], p->busy);
        end(&s);
    }
}

/* Drained is: quiet, and without a job on two beats; looking twice at one beat proves nothing. */
static void test_drained(void **state)
{
    (void)state;
    Scene s;
    begin(&s);
    PoolServer *p = server(&s, "worker.1", HOUR);
    SidekiqProcess *a = process(&s, "worker.1.worker.1", 0, "push");
    process(&s, "web.0.worker.1", 0, "push");
    judge(&s);
    assert_int_equal(p->state, POOL_ACTIVE);
    pool_told(s.memory, a, s.now);
    judge(&s);
    assert_int_equal(p->state, POOL_DRAINING); /* told is as good as quiet, for a victim */
    assert_false(p->drained);
    static const struct {
        double beat;
        int busy;
        bool drained;
    } rows[] = {{2, 0, false}, {2, 0, false}, {3, 1, false}, {4, 0, false},
                {4, 0, false}, {5, 0, true},  {5, 0, true},  {6, 1, false}};
    s.seen.processes.items[0].quiet = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        s.seen.processes.items[0].beat = rows[i].beat;
        s.seen.processes.items[0].busy = rows[i].busy;
        judge(&s);
        if (p->drained != rows[i].drained)
            fail_msg("row %zu", i);
    }
    assert_false(p->overdue);
    s.now += 6 * MINUTE;
    judge(&s);
    assert_true(p->overdue);

    /* A queue of the process' has more time, or all that it takes from have less. */
    static const struct {
        int64_t pull_ms, push_ms;
        bool overdue;
    } limits[] = {{7 * MINUTE, MINUTE, false}, {MINUTE, 7 * MINUTE, false}, {MINUTE, MINUTE, true}};
    strlist_clear(&s.seen.processes.items[0].queues);
    strlist_add(&s.seen.processes.items[0].queues, "pull");
    strlist_add(&s.seen.processes.items[0].queues, "push");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        QueueSpan spans[] = {{"pull", limits[i].pull_ms}, {"push", limits[i].push_ms}};
        const QueueSpans drain = {.items = spans, .len = 2};
        const PoolRules rules = {.join_ms = HOUR, .drain_ms = HOUR, .drain = &drain};
        pool_judge(&s.pool, &s.seen, s.memory, &rules, s.now);
        assert_int_equal(p->overdue, limits[i].overdue);
    }
    end(&s);
}

/* A signal that was never read is gone after a minute: the server takes jobs, and may be told anew.
 */
static void test_signal_unread(void **state)
{
    (void)state;
    Scene s;
    begin(&s);
    PoolServer *p = server(&s, "worker.1", HOUR);
    pool_told(s.memory, process(&s, "worker.1", 0, "push"), s.now);
    judge(&s);
    assert_int_equal(p->state, POOL_DRAINING);
    s.now += 2 * MINUTE;
    judge(&s);
    assert_int_equal(p->state, POOL_ACTIVE);
    end(&s);
}

/* Two processes on one server: it is done when both are. */
static void test_two_processes(void **state)
{
    (void)state;
    Scene s;
    begin(&s);
    PoolServer *p = server(&s, "worker.1", HOUR);
    process(&s, "worker.1.worker.1", 0, "push")->quiet = true;
    process(&s, "worker.1.worker.2", 0, "push");
    for (int beat = 2; beat < 6; beat++) {
        s.seen.processes.items[0].beat = s.seen.processes.items[1].beat = beat;
        judge(&s);
        assert_int_equal(p->state, POOL_DRAINING);
        assert_false(p->drained);
    }
    s.seen.processes.items[1].quiet = true;
    for (int beat = 6; beat < 8; beat++) {
        s.seen.processes.items[0].beat = s.seen.processes.items[1].beat = beat;
        judge(&s);
    }
    assert_true(p->drained);
    end(&s);
}

static void test_victims(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct {
            const char *host, *queues;
            int busy;
            Msec age;
        } is[4];
        const char *embedded; /* host of the one that takes no signals; or NULL */
        const char *others;   /* queues of a process that is not the pool's; or NULL */
        size_t n;
        const char *want; /* names, parted by spaces */
    } rows[] = {
        {"the least busy",
         {{"w.0", "push", 3, HOUR}, {"w.1", "push", 1, HOUR}, {"w.2", "push", 2, HOUR}},
         NULL,
         NULL,
         1,
         "w.1 "},
        {"the youngest of equals",
         {{"w.0", "push", 0, HOUR}, {"w.1", "push", 0, MINUTE}},
         NULL,
         NULL,
         1,
         "w.1 "},
        {"never all of a queue",
         {{"w.0", "push", 0, HOUR}, {"w.1", "push", 0, MINUTE}},
         NULL,
         NULL,
         2,
         "w.1 "},
        {"all, where others take it",
         {{"w.0", "push", 0, HOUR}, {"w.1", "push", 0, MINUTE}},
         NULL,
         "push",
         2,
         "w.1 w.0 "},
        {"never the last of one of several",
         {{"w.0", "push pull", 0, HOUR}, {"w.1", "push", 4, HOUR}, {"w.2", "push", 5, HOUR}},
         NULL,
         NULL,
         3,
         "w.1 w.2 "},
        {"never the schedule's",
         {{"w.0", "push scheduler", 0, HOUR}, {"w.1", "push", 9, HOUR}},
         NULL,
         "push scheduler",
         2,
         "w.1 "},
        {"nobody", {{"w.0", "push", 0, HOUR}}, NULL, NULL, 1, ""},
        {"never one that takes no signals",
         {{"w.0", "push", 0, HOUR}, {"w.1", "push", 9, HOUR}},
         "w.0",
         NULL,
         1,
         "w.1 "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Scene s;
        _cleanup_(strlist_clear) StrList victims = {0};
        _cleanup_(buf_clear) Buf got = BUF_INIT(BUF_MAX_LINE);
        begin(&s);
        for (size_t k = 0; k < 4 && rows[i].is[k].host; k++) {
            server(&s, rows[i].is[k].host, rows[i].is[k].age);
            process(&s, rows[i].is[k].host, rows[i].is[k].busy, rows[i].is[k].queues)->embedded =
                rows[i].embedded && streq(rows[i].embedded, rows[i].is[k].host);
        }
        if (rows[i].others)
            process(&s, "web.0.worker.1", 0, rows[i].others);
        judge(&s);
        pool_victims(&s.pool, &s.seen, rows[i].n, &victims);
        for (size_t k = 0; k < victims.len; k++)
            buf_printf(&got, "%s ", victims.items[k]);
        if (!streq(got.p, rows[i].want))
            fail_msg("%s: %s", rows[i].what, got.p);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_signal_unread), cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_victims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
