/* The decision, rule by rule. */
#include "steady.h"

static void test_follows_load(void **state)
{
    (void)state;
    /* Threads that are kept busy, and what has to come of it in the end, from either side. */
    static const struct {
        double threads;
        int from, least, most;
    } rows[] = {
        {10, 1, 1, 1},  {60, 1, 3, 4},    {60, 9, 3, 3},    {110, 2, 5, 6},
        {110, 9, 5, 5}, {240, 1, 10, 10}, {900, 3, 10, 10}, {0, 8, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Steady s;
        steady_begin(&s, SCALE_LATENCY, rows[i].from);
        s.rate = rows[i].threads;
        int n = steady_follow(&s, 4 * 3600);
        if (n < rows[i].least || n > rows[i].most)
            fail_msg("row %zu: %d servers", i, n);
        if (rows[i].threads < 250)
            assert_true(s.o.queues[0].age_s <= 60);
        steady_end(&s);
    }
}

static void test_asks_in_time(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_LATENCY, 4);
    s.c.max = 20;
    s.rate = 90;
    assert_int_equal(steady_for(&s, 3600), 4);
    assert_int_equal(s.d.binding, SCALE_BY_LOAD);
    s.rate = 200; /* twice what four servers do */
    int ticks = 0;
    while (steady_tick(&s) == 4 && ticks < 10)
        ticks++;
    assert_true(ticks <= 2);
    assert_true(s.d.desired >= 8);
    assert_string_equal(s.c.queues[s.d.terms.worst].name, "push");
    assert_non_null(strstr(s.d.reason, "push would wait"));
    /* While they boot no more are asked for at each tick. */
    int asked = s.d.desired;
    s.o.pool.desired = asked;
    s.o.pool.booting = asked - 4;
    for (int i = 0; i < 10; i++)
        assert_true(steady_tick(&s) <= 20);
    steady_end(&s);
}

/* Missing data never lowers a pool: what is missing, and for how long. */
static void test_blind(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        bool redis, api, reset;
        int standing, min, want;
    } rows[] = {
        {"Redis away", false, true, false, 7, 1, 7},
        {"the API away", true, false, false, 7, 1, 7},
        {"both", false, false, false, 7, 1, 7},
        {"all counters at 0", true, true, true, 7, 1, 7},
        {"under the least", false, true, false, 1, 3, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Steady s;
        steady_begin(&s, SCALE_LATENCY, rows[i].standing);
        s.c.min = rows[i].min;
        s.rate = rows[i].standing * 24.0;
        (void)steady_for(&s, 1800);
        s.rate = 0; /* nothing to do, as far as anybody can see */
        s.o.redis_ok = rows[i].redis;
        s.o.api_ok = rows[i].api;
        if (!rows[i].api)
            memset(&s.o.pool, 0, sizeof s.o.pool);
        if (rows[i].reset)
            s.o.queues[0] = (ScaleSeen){.known = true};
        for (int k = 0; k < 15; k++) {
            (void)steady_tick(&s);
            if (s.d.desired != rows[i].want)
                fail_msg("%s: %d after %d ticks (%s)", rows[i].what, s.d.desired, k + 1,
                         s.d.reason);
            if (rows[i].reset)
                break;
        }
        steady_end(&s);
    }
}

/* After Redis came back, and after a start, nothing goes at once. */
static void test_sight_comes_back(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_LATENCY, 7);
    assert_int_equal(steady_for(&s, 240), 7);
    s.o.redis_ok = false;
    assert_int_equal(steady_for(&s, 3600), 7);
    s.o.redis_ok = true;
    assert_int_equal(steady_for(&s, 240), 7);
    assert_int_equal(s.d.binding, SCALE_BY_HOLD);
    assert_true(steady_follow(&s, 900) < 7);
    steady_end(&s);
}

/* A queue whose error is its own leaves the others' numbers in use. */
static void test_one_queue_unknown(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_LATENCY, 2);
    s.c.n_queues = 2;
    s.c.queues[1] = (ScaleQueue){.name = "broken", .slo_s = 10, .weight = 1};
    s.rate = 100;
    assert_true(steady_for(&s, 300) >= 4);
    steady_end(&s);
}

static void test_bounds(void **state)
{
    (void)state;
    /* Ten servers' work on a tier of three. */
    static const struct {
        ScaleBinding by;
        int quota, pg_max, pg_reserved, max, want;
        bool poison;
        double budget;
    } rows[] = {
        {SCALE_BY_MAX, 0, 0, 0, 6, 6, false, 0},         {SCALE_BY_QUOTA, 4, 0, 0, 8, 4, false, 0},
        {SCALE_BY_POSTGRES, 0, 200, 60, 8, 5, false, 0}, {SCALE_BY_QUOTA, 2, 0, 0, 8, 3, false, 0},
        {SCALE_BY_POSTGRES, 9, 100, 99, 8, 3, false, 0}, {SCALE_BY_POISON, 0, 0, 0, 8, 3, true, 0},
        {SCALE_BY_BUDGET, 0, 0, 0, 8, 2, false, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Steady s;
        steady_begin(&s, SCALE_LATENCY, 3);
        s.c.quota = rows[i].quota;
        s.c.pg_max = rows[i].pg_max;
        s.c.pg_reserved = rows[i].pg_reserved;
        s.c.max = rows[i].max;
        s.c.budget = rows[i].budget;
        s.o.pool.poison = rows[i].poison;
        s.rate = 250;
        (void)steady_for(&s, 1800);
        if (s.d.binding != rows[i].by || s.d.desired != rows[i].want)
            fail_msg("row %zu: %d by %s", i, s.d.desired, scale_bindings[s.d.binding]);
        steady_end(&s);
    }
}

static void test_calendar(void **state)
{
    (void)state;
    /* Sunday noon; 18:00 to 22:00 wants four, and a server needs three minutes. */
    static const struct {
        unsigned days;
        int from, to;
        double at_h;
        int want;
    } rows[] = {
        {0x7f, 18 * 60, 22 * 60, 12, 1},
        {0x7f, 18 * 60, 22 * 60, 17.9, 1},
        {0x7f, 18 * 60, 22 * 60, 17.96, 4},
        {0x7f, 18 * 60, 22 * 60, 21.9, 4},
        {0x7f, 18 * 60, 22 * 60, 22.01, 1},
        {0x7e, 18 * 60, 22 * 60, 20, 1},
        {0x01, 18 * 60, 22 * 60, 20, 4},
        {0x01, 23 * 60, 2 * 60, 25.5, 4},
        {0x02, 23 * 60, 2 * 60, 25.5, 1},
        {0x01, 0, 0, 23.5, 4}, /* 00:00 to 24:00 */
        {0x01, 0, 0, 24.01, 1},
        {0x02, 0, 60, 23.96, 4},
        {0x01, 0, 60, 23.96, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Steady s;
        steady_begin(&s, SCALE_LATENCY, 1);
        s.c.n_calendar = 1;
        s.c.calendar[0] = (ScaleHours){rows[i].days, rows[i].from, rows[i].to, 4};
        s.o.epoch = NOON + (rows[i].at_h - 12) * 3600;
        if (steady_tick(&s) != rows[i].want)
            fail_msg("row %zu: %d", i, s.d.desired);
        if (rows[i].want == 4)
            assert_int_equal(s.d.binding, SCALE_BY_CALENDAR);
        steady_end(&s);
    }
}

/* The report's rule: over, up at once and not again for a while; under for long, down by one. */
static void test_depth(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_DEPTH, 2);
    s.rate = 50;
    bool guarded = false; /* two are just enough, and all of them busy */
    for (int i = 0; i < 120; i++) {
        assert_int_equal(steady_tick(&s), 2);
        guarded |= s.d.binding == SCALE_BY_BUSY;
    }
    assert_true(guarded);
    s.o.queues[0].len = 3000;
    assert_int_equal(steady_tick(&s), 4);
    s.o.pool.active = s.o.pool.desired = 4;
    s.rate = 100;
    assert_int_equal(steady_tick(&s), 4); /* it cools */
    for (int i = 0; i < 12; i++)
        (void)steady_tick(&s);
    assert_true(s.d.desired >= 4);
    s.rate = 0;
    s.o.pool.active = s.o.pool.desired = 4;
    (void)steady_for(&s, 420);
    s.o.queues[0].len = 0;
    int downs = 0;
    for (int i = 0; i < 100; i++)
        downs += steady_tick(&s) == 3;
    assert_true(downs >= 1 && downs <= 3); /* each time anew after ten minutes */
    /* Below none there is nothing to say. */
    s.c.min = 0;
    s.o.pool.active = s.o.pool.desired = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(steady_tick(&s), 0);
        assert_int_equal(s.d.binding, SCALE_BY_LOAD);
    }
    assert_string_equal(s.d.reason, "it is right with 0 servers");
    steady_end(&s);
}

static void test_backlog(void **state)
{
    (void)state;
    /* Half a deadline of 60 s and jobs of 1 s: 25 threads do 750 in that time. */
    static const struct {
        double len;
        int want;
    } rows[] = {{100, 2}, {1500, 2}, {1501, 3}, {4000, 6}, {100000, 10}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Steady s;
        steady_begin(&s, SCALE_BACKLOG, 2);
        s.rate = 50;
        (void)steady_for(&s, 300);
        s.o.queues[0].len = rows[i].len;
        if (steady_tick(&s) != rows[i].want)
            fail_msg("row %zu: %d", i, s.d.desired);
        steady_end(&s);
    }
}

/* A job that was pushed back on TERM keeps its old enqueued_at (sidekiq#5506): no reason to grow.
 */
static void test_age_lies(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_LATENCY, 4);
    s.rate = 80;
    (void)steady_for(&s, 1800);
    s.o.queues[0].len = 1;
    (void)steady_tick(&s);
    s.o.queues[0] =
        (ScaleSeen){true, 1, 900, s.o.queues[0].done + 1200, s.o.queues[0].ms + 1200000};
    scale_decide(s.scale, &s.c, &s.o, &s.d);
    assert_int_equal(s.d.desired, 4);
    steady_end(&s);
}

/* Busy threads whose counters stand still are at work on something: a frozen process, or jobs that
 * fail slowly. They count. */
static void test_hidden_work(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_LATENCY, 2);
    s.rate = 20;
    (void)steady_for(&s, 600);
    double plain = s.d.terms.work;
    for (int i = 0; i < 40; i++) {
        s.o.queues[0].done += 20 * TICK;
        s.o.queues[0].ms += 20 * TICK * 1000;
        s.o.queues[0].len = s.o.queues[0].age_s = 0;
        s.o.busy = 48;
        scale_decide(s.scale, &s.c, &s.o, &s.d);
        s.o.t += TICK;
    }
    assert_true(plain > 15 && plain < 25);
    assert_true(s.d.terms.work > 40);
    assert_true(s.d.desired >= 2);
    steady_end(&s);
}

/* A gap (a machine that slept, a clock that jumped) is no rate. */
static void test_gap(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_LATENCY, 3);
    s.rate = 60;
    (void)steady_for(&s, 900);
    double before = s.d.terms.rush;
    s.o.t += 7200;
    s.o.epoch += 7200;
    s.o.queues[0].len = 20;
    s.o.queues[0].done += 500000;
    s.o.queues[0].ms += 1;
    (void)steady_tick(&s);
    assert_true(fabs(s.d.terms.rush - before) < 1);
    steady_end(&s);
}

/* Going in is slow, and never while some still boot. */
static void test_in_is_slow(void **state)
{
    (void)state;
    Steady s;

    steady_begin(&s, SCALE_LATENCY, 9);
    s.rate = 10;
    s.o.pool.booting = 1;
    s.o.pool.desired = 10;
    assert_int_equal(steady_for(&s, 1800), 10);
    assert_int_equal(s.d.binding, SCALE_BY_HOLD);
    s.o.pool.booting = 0;
    s.o.pool.desired = 9;
    int least = 9;
    for (int i = 0; i < 400 && s.o.pool.active > 1; i++) {
        int n = steady_tick(&s);
        assert_true(n >= (s.o.pool.active + 1) / 2);
        s.o.pool.active = s.o.pool.desired = n;
        least = MIN(least, n);
    }
    assert_int_equal(least, 1);
    steady_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows_load),
        cmocka_unit_test(test_asks_in_time),
        cmocka_unit_test(test_blind),
        cmocka_unit_test(test_sight_comes_back),
        cmocka_unit_test(test_one_queue_unknown),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_age_lies),
        cmocka_unit_test(test_hidden_work),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_in_is_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
