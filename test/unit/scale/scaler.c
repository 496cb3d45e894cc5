/* Turns of a scaler on a scripted pool, with a clock that is passed in. Redis is a real one, which
 * is told what Sidekiq would say. */
#include "scale/scaler.h"
#include "redis_server.h"

/* A pool that does what it is told, or not. */
typedef struct Fake {
    char names[8][16];
    bool error[8], leaving[8];
    int n, sets, size, result, quota;
    char without[64];
    bool away, busy;
    Msec made;
} Fake;

static int look(void *self, Pool *ret, Err *err)
{
    const Fake *f = self;

    if (f->away)
        return err_set(err, ERR_TEMPORARY, "503");
    ret->quota = f->quota;
    for (int i = 0; i < f->n; i++)
        vec_push(&ret->servers, (PoolServer){.name = xstrdup(f->names[i]),
                                             .error = f->error[i],
                                             .leaving = f->leaving[i],
                                             .made = f->made});
    return 0;
}

static int set(void *self, int size, const char *const *without, int64_t generation, Err *err)
{
    Fake *f = self;
    (void)generation;
    (void)err;

    f->sets++;
    f->size = size;
    f->without[0] = 0;
    for (size_t n = 0; *without; without++)
        n += (size_t)snprintf(f->without + n, sizeof f->without - n, "%s ", *without);
    return 0;
}

static bool busy(void *self, int *ret_result, Err *err)
{
    Fake *f = self;

    *ret_result = f->result;
    if (f->result < 0)
        (void)err_set(err, (ErrKind)-f->result, "it failed");
    f->result = 0;
    return f->busy;
}

static const PoolDriver driver = {.name = "fake", .look = look, .set = set, .busy = busy};

typedef struct Scene {
    Redis *redis;
    ScaleConfig config;
    Fake pool;
    PoolRules rules;
    Scaler *scaler;
    ScalerTick tick;
    Msec now, mono;
} Scene;

static Scaler *another(Scene *s, const char *holder)
{
    return scaler_new(&(ScalerOptions){
        .config = &s->config,
        .redis = {.host = address, .port = 6379},
        .observe = {.prefix = "", .lease = "reef.worker", .holder = holder, .lease_ms = MINUTE},
        .tick_ms = 15 * SECOND,
        .rules = s->rules,
        .driver = &driver,
        .self = &s->pool});
}

/* `n` servers whose processes beat; the rule of depth, which needs no time to learn. */
static void begin_scene(Scene *s, int n)
{
    *s = (Scene){.redis = fresh(), .now = time_now(), .mono = HOUR};
    s->pool.made = s->now - HOUR;
    scale_config_default(&s->config);
    s->config.policy = SCALE_DEPTH;
    s->config.max = 6;
    s->config.threads = 5;
    s->config.sight_s = 0;
    s->config.depth.high = 10;
    s->config.depth.low = 5;
    s->config.depth.hold_s = 0;
    s->config.depth.cool_s = 0;
    s->config.n_queues = 1;
    s->config.queues[0] = (ScaleQueue){.name = "push", .slo_s = 60, .weight = 1};
    s->rules =
        (PoolRules){.join_ms = 10 * MINUTE, .drain_ms = 10 * MINUTE, .retry_ms = 10 * MINUTE};
    s->scaler = another(s, "one");
    s->pool.n = n;
    for (int i = 0; i < n; i++)
        snprintf(s->pool.names[i], sizeof s->pool.names[i], "worker.%d", i);
}

static void end_scene(Scene *s)
{
    scaler_tick_clear(&s->tick);
    s->scaler = scaler_free(s->scaler);
    s->redis = redis_close(s->redis);
}

static void says(Scene *s, int i, const char *busy_text, bool quiet)
{
    _cleanup_free_ char *identity = xasprintf("worker.%d.worker.1:10:aa", i);
    _cleanup_free_ char *info = xasprintf(
        "{\"hostname\":\"worker.%d.worker.1\",\"concurrency\":5,\"queues\":[\"push\"]}", i);
    beat(s->redis, identity, info, busy_text, 0);
    RUN(s->redis, "HSET", identity, "quiet", quiet ? "true" : "false");
}

static void turn(Scene *s)
{
    s->now = time_now();
    s->mono += 15 * SECOND;
    scaler_tick(s->scaler, s->mono, s->now, &s->tick);
}

static void jobs(Scene *s, int n)
{
    RUN(s->redis, "DEL", "queue:push");
    for (int i = 0; i < n; i++)
        push(s->redis, "push", "1795953600");
}

static size_t signals(Scene *s, int i)
{
    _cleanup_(redis_reply_clear) RedisReply n = {0};
    _cleanup_free_ char *key = xasprintf("worker.%d.worker.1:10:aa-signals", i);
    assert_int_equal(redis_command(s->redis, (const char *const[]){"LLEN", key, NULL}, &n, NULL),
                     0);
    return (size_t)n.integer;
}

static void test_more(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 1);
    says(&s, 0, "5", false);
    jobs(&s, 50);
    turn(&s);
    assert_true(s.tick.leader && s.tick.seen.redis_ok);
    assert_int_equal(s.pool.sets, 1);
    assert_int_equal(s.pool.size, 3);
    /* While that goes on nothing else is asked for. */
    s.pool.busy = true;
    turn(&s);
    assert_int_equal(s.pool.sets, 1);
    end_scene(&s);
}

/* A drain from the signal to the end, over a restart of the scaler; a fresh one sees it in Redis.
 */
static void test_drain(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 3);
    s.config.min = 2;
    for (int i = 0; i < 3; i++)
        says(&s, i, i == 1 ? "0" : "1", false);
    for (int i = 0; i < 8 && signals(&s, 1) == 0; i++)
        turn(&s); /* it has to see for a while before it lets anything go */
    assert_int_equal(signals(&s, 1), 1);
    assert_int_equal(signals(&s, 0) + signals(&s, 2), 0);
    assert_int_equal(s.pool.sets, 0);
    turn(&s); /* it has not heard it yet: it is not told twice, and no other in its place */
    assert_int_equal(signals(&s, 0) + signals(&s, 1) + signals(&s, 2), 1);
    says(&s, 1, "1", true);
    s.scaler = scaler_free(s.scaler);
    s.scaler = another(&s, "two");
    for (int i = 0; i < 4; i++) {
        says(&s, 1, "1", true); /* a job that lasts */
        turn(&s);
        assert_int_equal(s.tick.seen.pool.draining, 1);
    }
    assert_int_equal(s.pool.sets, 0);
    for (int i = 0; i < 100 && s.pool.sets == 0; i++) {
        says(&s, 1, "0", true);
        turn(&s);
    }
    assert_int_equal(s.pool.sets, 1);
    assert_string_equal(s.pool.without, "worker.1 ");
    assert_int_equal(s.pool.size, 2);
    end_scene(&s);
}

/* One whose jobs last longer than it may drain is told to end and goes in the same turn: of these
 * two the host would wait for the jobs again, and the process would be started anew. */
static void test_overdue(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 2);
    s.rules.drain_ms = 1;
    s.scaler = scaler_free(s.scaler);
    s.scaler = another(&s, "one");
    jobs(&s, 7);
    says(&s, 0, "1", false);
    for (int i = 0; i < 1000 && s.pool.sets == 0; i++) {
        says(&s, 1, "3", true);
        assert_int_equal(signals(&s, 1), 0);
        turn(&s);
    }
    assert_int_equal(s.pool.sets, 1);
    assert_string_equal(s.pool.without, "worker.1 ");
    assert_string_equal(s.tick.did.items[0],
                        "worker.1 has 3 jobs left and no more time: it is stopped, and they are "
                        "put back");
    _cleanup_(redis_reply_clear) RedisReply told = {0};
    assert_int_equal(
        redis_command(
            s.redis,
            (const char *const[]){"LRANGE", "worker.1.worker.1:10:aa-signals", "0", "-1", NULL},
            &told, NULL),
        0);
    assert_int_equal(told.len, 1);
    assert_string_equal(told.items[0].text, "TERM");
    assert_int_equal(signals(&s, 0), 0);
    end_scene(&s);
}

/* Each row of what can be missing: nothing is told to go, nothing is made. */
static void test_missing(void **state)
{
    (void)state;
    static const enum {
        FLUSHED,
        API,
        NO_LEASE,
        STALE,
        TOO_MANY
    } rows[] = {FLUSHED, API, NO_LEASE, STALE, TOO_MANY};
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        Scene s;
        begin_scene(&s, 3);
        for (int i = 0; i < 3; i++)
            says(&s, i, "1", false);
        jobs(&s, 7); /* neither too many nor too few */
        RUN(s.redis, "SET", "stat:processed", "1000");
        for (int i = 0; i < 8; i++)
            turn(&s);
        jobs(&s, 0);
        if (rows[k] == FLUSHED)
            RUN(s.redis, "FLUSHALL");
        if (rows[k] == API)
            s.pool.away = true;
        if (rows[k] == NO_LEASE)
            RUN(s.redis, "SET", "atoll:scale:reef.worker", "somebody else");
        for (int i = 0; i < 3 && rows[k] == STALE; i++) {
            _cleanup_free_ char *identity = xasprintf("worker.%d.worker.1:10:aa", i);
            RUN(s.redis, "HSET", identity, "beat", "1000.5");
        }
        for (int i = 0; i < OBSERVE_QUEUES && rows[k] == TOO_MANY; i++) {
            _cleanup_free_ char *name = xasprintf("other.%d", i);
            RUN(s.redis, "SADD", "queues", name);
        }
        for (int i = 0; i < 5; i++) {
            turn(&s);
            if (rows[k] == TOO_MANY)
                assert_non_null(strstr(s.tick.redis.text, "has 1 queues or processes more"));
            if (rows[k] != NO_LEASE && s.tick.decision.desired < 3)
                fail_msg("row %zu: %d (%s)", k, s.tick.decision.desired, s.tick.decision.reason);
        }
        assert_int_equal(s.pool.sets, 0);
        assert_int_equal(signals(&s, 0) + signals(&s, 1) + signals(&s, 2), 0);
        end_scene(&s);
    }
}

/* The last server of a pool that may be empty was told to go: that its process is gone is no news
 * of Redis, and what was begun is gone on with. */
static void test_the_last_goes(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 1);
    s.config.min = 0;
    says(&s, 0, "0", true);
    turn(&s);
    assert_true(s.tick.seen.redis_ok);
    s.pool.leaving[0] = true;
    RUN(s.redis, "DEL", "processes", "worker.0.worker.1:10:aa");
    int sets = s.pool.sets;
    turn(&s);
    assert_true(s.tick.seen.redis_ok);
    assert_int_equal(s.pool.sets, sets + 1);
    assert_int_equal(s.pool.size, 0);
    end_scene(&s);
}

/* Redis away, and back: the connection is made anew. */
static void test_redis_away(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 2);
    says(&s, 0, "1", false);
    says(&s, 1, "1", false);
    turn(&s);
    RUN(s.redis, "CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal");
    turn(&s);
    assert_true(!s.tick.seen.redis_ok && s.tick.redis.text);
    assert_int_equal(s.tick.decision.desired, 2);
    assert_int_equal(s.tick.decision.binding, SCALE_BY_BLIND);
    turn(&s);
    assert_true(s.tick.seen.redis_ok);
    end_scene(&s);
}

/* Servers that never come up are given up; after three in a row no more are made. */
static void test_poison(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 4);
    says(&s, 0, "5", false); /* the other three never speak */
    jobs(&s, 50);
    s.rules.join_ms = 1;
    s.scaler = scaler_free(s.scaler);
    s.scaler = another(&s, "one");
    for (int i = 0; i < 1000 && !strstr(s.pool.without, "worker.3"); i++)
        turn(&s);
    assert_string_equal(s.pool.without, "worker.1 worker.2 worker.3 ");
    assert_int_equal(s.pool.size, 1); /* none in their place */
    s.pool.n = 1;
    turn(&s);
    assert_int_equal(s.tick.decision.binding, SCALE_BY_POISON);
    assert_int_equal(s.tick.decision.desired, 1);
    int sets = s.pool.sets, turns = 0;
    while (s.pool.sets == sets && turns < 100) {
        turn(&s);
        turns++;
    }
    assert_true(turns > 35 && turns < 45); /* ten minutes later one is tried again, */
    assert_int_equal(s.tick.decision.desired, 3);
    assert_int_equal(s.pool.size, 2);
    snprintf(s.pool.names[1], sizeof s.pool.names[1], "worker.1");
    s.pool.n = 2;
    s.pool.made = time_now();
    turn(&s);
    assert_int_equal(s.pool.size, 2); /* and waited for */
    says(&s, 1, "5", false);
    turn(&s);
    assert_true(s.pool.size > 2);
    end_scene(&s);
}

/* A failure is tried again, later and later; a quota is not run into at each turn. */
static void test_failures(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 1);
    says(&s, 0, "5", false);
    jobs(&s, 50);
    turn(&s);
    assert_int_equal(s.pool.sets, 1);
    s.pool.result = -ERR_QUOTA;
    turn(&s);
    assert_non_null(s.tick.act.text);
    assert_int_equal(s.tick.decision.binding, SCALE_BY_QUOTA);
    assert_int_equal(s.pool.sets, 1);
    turn(&s);
    assert_int_equal(s.pool.sets, 2);
    /* Also where nothing more is wanted: a half of it may be left. */
    s.pool.result = -ERR_PARTIAL;
    jobs(&s, 7);
    for (int i = 0; i < 10 && s.pool.sets == 2; i++)
        turn(&s);
    assert_int_equal(s.pool.sets, 3);
    assert_int_equal(s.pool.size, 1);
    for (int i = 0; i < 10; i++)
        turn(&s);
    assert_int_equal(s.pool.sets, 3);
    end_scene(&s);
}

/* What the cloud has room for is known before anything is asked of it. */
static void test_quota(void **state)
{
    (void)state;
    Scene s;
    begin_scene(&s, 1);
    says(&s, 0, "5", false);
    jobs(&s, 50);
    s.pool.quota = 1;
    turn(&s);
    assert_int_equal(s.tick.decision.binding, SCALE_BY_QUOTA);
    assert_int_equal(s.tick.quota, 1);
    assert_int_equal(s.pool.sets, 0);
    s.config.quota = 2; /* a file's own is kept where it is less */
    s.pool.quota = 9;
    turn(&s);
    assert_int_equal(s.tick.quota, 2);
    assert_int_equal(s.pool.size, 2);
    end_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more),          cmocka_unit_test(test_drain),
        cmocka_unit_test(test_missing),       cmocka_unit_test(test_redis_away),
        cmocka_unit_test(test_poison),        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_overdue),       cmocka_unit_test(test_quota),
        cmocka_unit_test(test_the_last_goes),
    };
    return cmocka_run_group_tests(tests, redis_begin, redis_end);
}
