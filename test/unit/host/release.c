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
                               .maintenance = phase % 2};
        _cleanup_(release_clear) ReleaseRecord back = {0};
        _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE), again = BUF_INIT(BUF_MAX_LINE);
        _cleanup_free_ char *name = release_name(7);
        if (phase == RELEASE_ROLL) {
            strlist_add(&r.told, "web.0");
            strlist_add(&r.told, "worker.12");
        }
        release_type(&r, &type);
        _cleanup_json_ json_t *mail = json_make_new(
            "[o,o,o]", object_of("web.0/aa/in/00000009", "application/vnd.atoll.bundle"),
            object_of("release/00000006", "application/vnd.atoll.release; phase=done"),
            object_of(name, type.p));

        assert_true(release_read(mail, NULL, &back));
        assert_int_equal(back.number, 7);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back),
        cmocka_unit_test(without_a_record_the_file_counts),
        cmocka_unit_test(what_is_not_understood_does_not_count),
        cmocka_unit_test(what_a_host_is_told),
        cmocka_unit_test(a_database_is_told_nothing_of_it),
        cmocka_unit_test(what_ran_before_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
