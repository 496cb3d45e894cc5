#include "deploy/deploy.h"

#include <setjmp.h>

#include <cmocka.h>

static json_t *release_of(const char *version)
{
    return json_make_new("{s:s,s:s,s:s}", "kind", "canary", "version", version, "ref", "");
}

static void host(ResourceVec *want, const char *key, const char *role, bool scheduler)
{
    vec_push(want, (Resource){.kind = RESOURCE_HOST,
                              .key = xstrdup(key),
                              .attrs = json_make_new("{s:[s], s:b}", "roles", role, "scheduler",
                                                     (int)scheduler)});
}

static void waves_of_an_island(DeployWaves *ret)
{
    ResourceVec want = {0};

    host(&want, "web.0", "web", false);
    host(&want, "web.1", "web", false);
    host(&want, "jobs.0", "worker", true);
    host(&want, "jobs.1", "worker", false);
    host(&want, "jobs.2", "worker", false);
    host(&want, "db.0", "postgres", false);
    host(&want, "push.0", "stream", false); /* atoll's own: of no release */
    deploy_waves(&want, ret);
    for (size_t i = 0; i < want.len; i++)
        resource_clear(&want.items[i]);
    vec_clear(&want);
}

static void words_of(const ReleaseRecord *r, Buf *b)
{
    buf_printf(b, "%s%s", b->len ? " " : "", release_phase_word(r->phase));
    for (size_t i = 0; i < r->told.len; i++)
        buf_printf(b, "%s%s", i ? "+" : ":", r->told.items[i]);
}

/* A deploy in which the steps whose numbers are in `fails` fail: the way it takes. */
static void the_way(void **state)
{
    static const struct {
        unsigned fails; /* bits */
        bool hold;
        DeployEnd end;
        const char *way, *runs;
    } rows[] = {
        {0, false, DEPLOY_ENDED,
         "fetch pre roll:web.0 roll:web.0+web.1 roll:web.0+web.1+jobs.1+jobs.2 "
         "roll:web.0+web.1+jobs.1+jobs.2+jobs.0 post:web.0+web.1+jobs.1+jobs.2+jobs.0 done",
         "2"},
        {0, true, DEPLOY_HOLDS,
         "fetch pre roll:web.0 roll:web.0+web.1 roll:web.0+web.1+jobs.1+jobs.2 "
         "roll:web.0+web.1+jobs.1+jobs.2+jobs.0 held:web.0+web.1+jobs.1+jobs.2+jobs.0",
         "1"},
        {1 << 0, false, DEPLOY_WENT_BACK, "fetch done", "1"},
        {1 << 1, false, DEPLOY_WENT_BACK, "fetch pre done", "1"},
        {1 << 2, false, DEPLOY_WENT_BACK, "fetch pre roll:web.0 back done", "1"},
        {1 << 4, false, DEPLOY_WENT_BACK,
         "fetch pre roll:web.0 roll:web.0+web.1 roll:web.0+web.1+jobs.1+jobs.2 "
         "back:web.0+web.1 back:web.0 back done",
         "1"},
        /* The way back fails too. */
        {1 << 2 | 1 << 3, false, DEPLOY_STUCK, "fetch pre roll:web.0 back", "1"},
        {1 << 6, false, DEPLOY_STUCK,
         "fetch pre roll:web.0 roll:web.0+web.1 roll:web.0+web.1+jobs.1+jobs.2 "
         "roll:web.0+web.1+jobs.1+jobs.2+jobs.0 post:web.0+web.1+jobs.1+jobs.2+jobs.0",
         "1"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(deploy_waves_clear) DeployWaves waves = {0};
        _cleanup_json_ json_t *to = release_of("2");
        _cleanup_(buf_clear) Buf way = BUF_INIT((size_t)64 << 10);
        ReleaseRecord first = {.number = 1, .now = release_of("1"), .to = release_of("1")}, r, next;
        DeployEnd end = DEPLOY_GOES_ON;
        int64_t number = 2;

        waves_of_an_island(&waves);
        deploy_begin(&first, to, 60, &r);
        release_clear(&first);
        for (unsigned step = 0; end == DEPLOY_GOES_ON; step++) {
            assert_int_equal(r.number, number++);
            words_of(&r, &way);
            next = (ReleaseRecord){0};
            end = deploy_next(&r, &waves, rows[i].fails >> step & 1, rows[i].hold, &next);
            if (!next.number)
                break;
            release_clear(&r);
            r = next;
        }
        if (end == DEPLOY_ENDED || end == DEPLOY_WENT_BACK)
            words_of(&r, &way);
        assert_string_equal(way.p, rows[i].way);
        assert_int_equal(end, rows[i].end);
        assert_string_equal(json_str(r.now, "version"), rows[i].runs);
        release_clear(&r);
    }
}

/* Where a person may still turn back. */
static void a_way_back(void **state)
{
    static const struct {
        ReleasePhase phase;
        const char *told;
        bool can;
        const char *next;
    } rows[] = {
        {RELEASE_DONE, NULL, false, NULL},
        {RELEASE_FETCH, NULL, true, "done"},
        {RELEASE_PRE, NULL, true, "done"},
        {RELEASE_ROLL, "web.0", true, "back"},
        {RELEASE_HELD, NULL, true, "back:web.0+web.1+jobs.1+jobs.2"},
        {RELEASE_POST, NULL, false, NULL},
        {RELEASE_BACK, "web.0", true, "back:web.0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(deploy_waves_clear) DeployWaves waves = {0};
        _cleanup_(release_clear) ReleaseRecord r = {
            .number = 5, .phase = rows[i].phase, .now = release_of("1"), .to = release_of("2")};
        _cleanup_(release_clear) ReleaseRecord next = {0};
        _cleanup_(err_clear) Err err = {0};
        _cleanup_(buf_clear) Buf words = BUF_INIT(BUF_MAX_LINE);

        waves_of_an_island(&waves);
        if (rows[i].told)
            strlist_add(&r.told, rows[i].told);
        assert_int_equal(deploy_back(&r, &waves, &next, &err), rows[i].can);
        if (!rows[i].can) {
            assert_non_null(err.hint);
            continue;
        }
        words_of(&next, &words);
        assert_string_equal(words.p, rows[i].next);
        assert_int_equal(next.number, 6);
        assert_string_equal(json_str(next.now, "version"), "1");
    }
}

/* After another release, and not after a way back; what was due stays so. */
static void indexes_are_looked_at_after_a_release(void **state)
{
    static const struct {
        ReleasePhase phase;
        bool has, due_before, failed, due;
    } rows[] = {
        {RELEASE_POST, true, false, false, true},   {RELEASE_POST, false, false, false, false},
        {RELEASE_FETCH, true, false, true, false},  {RELEASE_FETCH, true, true, true, true},
        {RELEASE_FETCH, false, false, true, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(deploy_waves_clear) DeployWaves waves = {0};
        _cleanup_(release_clear)
            ReleaseRecord r = {.number = 5,
                               .phase = rows[i].phase,
                               .now = release_of("1"),
                               .to = release_of("2"),
                               .index = rows[i].has ? xstrdup("0123456789abcdef") : NULL,
                               .index_due = rows[i].due_before};
        _cleanup_(release_clear) ReleaseRecord next = {0};

        (void)deploy_next(&r, &waves, rows[i].failed, false, &next);
        assert_int_equal(next.phase, RELEASE_DONE);
        assert_int_equal(next.index_due, rows[i].due);
        assert_int_equal(next.index != NULL, rows[i].has);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way),
        cmocka_unit_test(a_way_back),
        cmocka_unit_test(indexes_are_looked_at_after_a_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
