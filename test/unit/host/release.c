#include "host/release.h"

#include <setjmp.h>

#include <cmocka.h>

static json_t *release_of(const char *kind, const char *version, const char *ref)
{
    return json_make_new("{s:s,s:s,s:s}", "kind", kind, "version", version, "ref", ref);
}

static json_t *object_of(const char *name, const char *type)
{
    return json_make_new("{s:s,s:s}", "name", name, "content_type", type);
}

/* What is written is what is read, whatever it says. */
static void a_record_comes_back(void **state)
{
    (void)state;
    for (int phase = 0; phase < RELEASE_PHASES; phase++) {
        _cleanup_(release_clear)
            ReleaseRecord r = {.number = 7,
                               .phase = (ReleasePhase)phase,
                               .now = release_of("canary", "1", ""),
                               .to = release_of("image", "v4.7.6", "ghcr.io/mastodon/mastodon"),
                               .prepare = (ReleasePrepare)(phase % PREPARES),
                               .attempt = 3,
                               .gate_s = 20,
                               .maintenance = phase % 2,
                               .index = phase ? xstrdup("0123456789abcdef") : NULL,
                               .index_due = phase > 3,
                               .db = 1 + phase,
                               .db_before = phase % 3,
                               .swap = (ReleaseSwap)(phase % SWAPS)};
        _cleanup_(release_clear) ReleaseRecord back = {0};
        _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE), again = BUF_INIT(BUF_MAX_LINE);
        _cleanup_free_ char *name = release_name(7);
        if (phase == RELEASE_ROLL) {
            strlist_add(&r.told, "web.0");
            strlist_add(&r.told, "worker.12");
        }
        if (r.swap == SWAP_MOVE) {
            r.restore = xstrdup("0123456789abcdef");
            r.restore_to = xstrdup("2026-11-29T01:30:00.000Z");
            r.turn = 3;
            r.was_closed = true;
        }
        release_type(&r, &type);
        _cleanup_json_ json_t *mail = json_make_new(
            "[o,o,o]", object_of("web.0/aa/in/00000009", "application/vnd.atoll.bundle"),
            object_of("release/00000006", "application/vnd.atoll.release; phase=done"),
            object_of(name, type.p));

        assert_true(release_read(mail, NULL, &back));
        assert_int_equal(back.number, 7);
        assert_int_equal(back.index != NULL, phase != 0);
        assert_int_equal(back.index_due, phase > 3);
        assert_int_equal(back.db, 1 + phase);
        assert_int_equal(back.swap, phase % SWAPS);
        release_type(&back, &again);
        assert_string_equal(again.p, type.p);
        assert_int_equal(release_newest(mail), 7);
        assert_int_equal(release_unknown(mail), 0);
    }
}

static void without_a_record_the_file_counts(void **state)
{
    _cleanup_json_ json_t *file = release_of("canary", "1", ""), *mail = json_array();
    _cleanup_(release_clear) ReleaseRecord r = {0};
    (void)state;

    assert_false(release_read(mail, file, &r));
    assert_int_equal(r.number, 0);
    assert_int_equal(r.phase, RELEASE_DONE);
    assert_int_equal(r.prepare, PREPARE_INSTALL);
    assert_true(release_same(r.now, file));
    assert_true(release_same(r.to, file));
}

/* Words that only a later version knows. */
static void what_is_not_understood_does_not_count(void **state)
{
    static const char *const types[] = {
        "application/vnd.atoll.release; phase=sideways; now=a,1,; to=a,1,; prepare=post",
        "application/vnd.atoll.release; phase=done; now=a; to=a,1,; prepare=post",
        "application/vnd.atoll.release; phase=done; now=a,1,; to=a,1,",
        "application/vnd.atoll.bundle; phase=done; now=a,1,; to=a,1,; prepare=post",
        "text/plain",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        _cleanup_json_ json_t *mail = json_make_new("[o]", object_of("release/00000001", types[i]));
        assert_int_equal(release_newest(mail), 0);
        assert_int_equal(release_unknown(mail), 1);
    }
}

/* Spec of a host in each phase: what it runs, what else it has, what it prepares. */
static void what_a_host_is_told(void **state)
{
    static const struct {
        ReleasePhase phase;
        ReleasePrepare prepare;
        const char *told, *runs, *fetch, *prepares;
    } rows[] = {
        {RELEASE_DONE, PREPARE_INSTALL, NULL, "1", NULL, "install 1"},
        {RELEASE_FETCH, PREPARE_POST, NULL, "1", "2", "post 1"},
        {RELEASE_PRE, PREPARE_PRE, NULL, "1", "2", "pre 2"},
        {RELEASE_ROLL, PREPARE_PRE, "web.1", "1", "2", "pre 2"},
        {RELEASE_ROLL, PREPARE_PRE, "web.0", "2", "1", "pre 2"},
        {RELEASE_HELD, PREPARE_PRE, NULL, "2", "1", "pre 2"},
        {RELEASE_POST, PREPARE_POST, NULL, "2", "1", "post 2"},
        {RELEASE_BACK, PREPARE_NONE, "web.0", "2", "1", NULL},
        {RELEASE_BACK, PREPARE_NONE, "web.1", "1", "2", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(release_clear) ReleaseRecord r = {.phase = rows[i].phase,
                                                    .prepare = rows[i].prepare,
                                                    .now = release_of("canary", "1", ""),
                                                    .to = release_of("canary", "2", ""),
                                                    .gate_s = 180};
        _cleanup_json_ json_t *spec =
            json_make_new("{s:s,s:[s],s:b}", "server", "web.0", "roles", "web", "prepare", 1);
        if (rows[i].told)
            strlist_add(&r.told, rows[i].told);
        release_spec(&r, spec);
        assert_string_equal(json_str(json_object_get(spec, "release"), "version"), rows[i].runs);
        const json_t *fetch = json_array_get(json_object_get(spec, "fetch"), 0);
        assert_string_equal(json_str_or(fetch, "version", "-"),
                            rows[i].fetch ? rows[i].fetch : "-");
        const json_t *prepare = json_object_get(spec, "prepare");
        _cleanup_free_ char *words =
            xasprintf("%s %s", json_str_or(prepare, "do", ""),
                      json_str_or(json_object_get(prepare, "release"), "version", ""));
        assert_string_equal(words, rows[i].prepares ? rows[i].prepares : " ");
    }
}

/* A server without Mastodon's code changes in no deploy. */
static void a_database_is_told_nothing_of_it(void **state)
{
    _cleanup_(release_clear) ReleaseRecord r = {.phase = RELEASE_ROLL,
                                                .now = release_of("canary", "1", ""),
                                                .to = release_of("canary", "2", ""),
                                                .maintenance = true};
    _cleanup_json_ json_t *spec = json_make_new("{s:s,s:[s,s],s:b}", "server", "db.0", "roles",
                                                "postgres", "redis", "prepare", 0);
    _cleanup_json_ json_t *bare =
        json_make_new("{s:s,s:[s,s]}", "server", "db.0", "roles", "postgres", "redis");
    (void)state;

    release_spec(&r, spec);
    assert_true(json_equal(spec, bare));
}

/* Of a server that only streams: nothing, unless it runs Mastodon's own server for it. */
static void a_streaming_server_is_told_of_nodes_image(void **state)
{
    static const struct {
        bool node;
        const char *version, *ref, *image, *kind;
    } rows[] = {
        {false, "v4.7.6", "r/mastodon", NULL, NULL},
        {true, "v4.7.6", "r/mastodon", "r/mastodon-streaming", "streaming"},
        {true, "v4.3.0", "r/mastodon", "r/mastodon-streaming", "streaming"},
        {true, "v4.2.9", "r/mastodon", "r/mastodon", "image"},
        {true, "4.10", "r/mastodon", "r/mastodon-streaming", "streaming"},
        {true, "edge", "r/mastodon", "r/mastodon-streaming", "streaming"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(release_clear)
            ReleaseRecord r = {.phase = RELEASE_DONE,
                               .now = release_of("image", rows[i].version, rows[i].ref),
                               .to = release_of("image", rows[i].version, rows[i].ref)};
        _cleanup_json_ json_t *spec =
            json_make_new("{s:s,s:[s],s:b}", "server", "push.0", "roles", "stream", "prepare", 0);
        if (rows[i].node)
            json_object_set_new(spec, "streams_node", json_true());
        release_spec(&r, spec);
        assert_false(json_bool(spec, "paused", false));
        const json_t *image = json_object_get(spec, "streaming");
        assert_null(json_object_get(spec, "release"));
        assert_null(json_object_get(spec, "streams_node"));
        if (rows[i].image) {
            assert_string_equal(json_str(image, "ref"), rows[i].image);
            assert_string_equal(json_str(image, "version"), rows[i].version);
            assert_string_equal(json_str(image, "kind"), rows[i].kind);
        } else {
            assert_null(image);
        }
        r.swap = SWAP_CLOSE; /* nobody is at the database while it is changed for another */
        release_spec(&r, spec);
        assert_true(json_bool(spec, "paused", false));
    }
}

/* By whatever ran last, however many steps were between. */
static void what_ran_before_is_told(void **state)
{
    static const struct {
        const char *now[5];
        const char *before; /* of the newest */
    } rows[] = {
        {{"1"}, NULL},
        {{"1", "1", "1", "1"}, NULL},
        {{"1", "1", "2"}, "1"},
        {{"1", "1", "2", "2", "2"}, "1"},
        {{"1", "2", "2", "3", "3"}, "2"},
        {{"1", "2", "2", "1", "1"}, "2"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *mail = json_array();
        _cleanup_(release_clear) ReleaseRecord r = {0};
        int n = 0;

        while (n < 5 && rows[i].now[n])
            n++;
        /* A listing is in no order that counts. */
        for (int k = n; k-- > 0;) {
            _cleanup_free_ char *name = release_name(k + 1);
            _cleanup_free_ char *type = xasprintf(
                "application/vnd.atoll.release; phase=done; now=tree,%s,; to=tree,9,; prepare=post",
                rows[i].now[k]);
            json_array_append_new(mail, object_of(name, type));
        }
        assert_true(release_read(mail, NULL, &r));
        _cleanup_json_ json_t *before = release_before_new(mail, &r);
        assert_string_equal(json_str_or(before, "version", "-"),
                            rows[i].before ? rows[i].before : "-");
    }
}

/* The last twenty that were finished stay with the steps between them, and what ran before. */
static void old_records_may_go(void **state)
{
    static const struct {
        int finished; /* each with one step before it, from number 1 on */
        bool open;    /* and a step after the last */
        int change;   /* so many of them are of the release before */
        int first;    /* the oldest that stays */
    } rows[] = {
        {0, false, 0, 1},   {20, true, 15, 2}, {21, false, 15, 4}, {25, false, 15, 12},
        {25, true, 15, 12}, {25, true, 2, 4},  {25, true, 0, 1},   {100, false, 90, 162},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *mail = json_array();
        _cleanup_(strlist_clear) StrList old = {0};
        int n = 2 * rows[i].finished + rows[i].open;

        json_array_append_new(mail,
                              object_of("db.0/aa/in/00000009", "application/vnd.atoll.bundle"));
        for (int number = 1; number <= n; number++) {
            _cleanup_free_ char *name = release_name(number);
            _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);
            _cleanup_(release_clear) ReleaseRecord r = {
                .number = number,
                .phase = number % 2 ? RELEASE_ROLL : RELEASE_DONE,
                .now = release_of("canary", number <= 2 * rows[i].change ? "1" : "2", ""),
                .to = release_of("canary", "2", ""),
                .attempt = 1};
            release_type(&r, &type);
            json_array_append_new(mail, object_of(name, type.p));
        }
        release_old(mail, &old);
        assert_int_equal(old.len, MIN(rows[i].first - 1, RELEASE_OLD_MAX));
        for (size_t k = 0; k < old.len; k++) {
            _cleanup_free_ char *name = release_name((int64_t)k + 1);
            assert_string_equal(old.items[k], name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back),
        cmocka_unit_test(without_a_record_the_file_counts),
        cmocka_unit_test(what_is_not_understood_does_not_count),
        cmocka_unit_test(what_a_host_is_told),
        cmocka_unit_test(a_database_is_told_nothing_of_it),
        cmocka_unit_test(a_streaming_server_is_told_of_nodes_image),
        cmocka_unit_test(what_ran_before_is_told),
        cmocka_unit_test(old_records_may_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
