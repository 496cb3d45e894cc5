#include "host/ask.h"

#include <setjmp.h>

#include <cmocka.h>

#define NONCE "00112233aabbccdd"

static Ask ask_of(AskVerb verb)
{
    Ask a = {.verb = verb,
             .id = xstrdup("0123456789abcdef"),
             .by = xstrdup("me@here"),
             .what = xstrdup("web"),
             .lines = 7,
             .follow = true,
             .limit = HOUR,
             .until = 1800000000 * SECOND};

    strlist_add(&a.to, "a-key");
    a.data = BUF_INIT(ASK_INPUT_BYTES);
    if (verb == ASK_INPUT) {
        buf_add(&a.data, "a\0\xff", 3);
        a.eof = true;
    }
    a.input = verb == ASK_EXEC;
    if (verb == ASK_EXEC) {
        strlist_add(&a.argv, "bin/tootctl");
        strlist_add(&a.argv, "accounts");
        strlist_add(&a.argv, "s3cret\n");
    }
    return a;
}

static void it_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (int verb = 0; verb < ASK_VERBS; verb++) {
        _cleanup_(ask_clear) Ask a = ask_of((AskVerb)verb), b = {0};
        _cleanup_json_ json_t *j = NULL, *again = NULL;

        assert_int_equal(ask_write(&a, &j, NULL), 0);
        assert_int_equal(ask_read(j, &b, NULL), 0);
        assert_int_equal(ask_write(&b, &again, NULL), 0);
        assert_true(json_equal(j, again));
        assert_int_equal(b.verb, verb);
        assert_int_equal(b.until, a.until);
        assert_int_equal(b.argv.len, a.argv.len);
        assert_true(str_eq(buf_as_str(&b.data), buf_as_str(&a.data)));
    }
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } rows[] = {
        {"verb", "\"dance\""},
        {"verb", "1"},
        {"id", "\"0123\""},
        {"id", "null"},
        {"id", "\"../../../../../etc\""},
        {"argv", "[]"},
        {"argv", "[1]"},
        {"argv", "[\"a\\u0000b\"]"},
        {"to", "[]"},
        {"to", "[null]"},
        {"lines", "-1"},
        {"lines", "100001"},
        {"seconds", "0"},
        {"seconds", "-5"},
        {"seconds", "604801"},
        {"seconds", "9223372036854775807"},
        {"data", "\"!\""},
        {"until", "0"},
        {"until", "9223372036854775807"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(ask_clear) Ask a = ask_of(ASK_EXEC), b = {0};
        _cleanup_json_ json_t *j = NULL;
        json_t *value = json_loads(rows[i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

        assert_int_equal(ask_write(&a, &j, NULL), 0);
        assert_non_null(value);
        json_object_set_new(j, rows[i].key, value);
        if (ask_read(j, &b, NULL) != -ERR_CORRUPT)
            fail_msg("%s: %s was taken", rows[i].key, rows[i].value);
        assert_null(b.id);
    }
    _cleanup_(ask_clear) Ask logs = ask_of(ASK_LOGS), b = {0};
    _cleanup_json_ json_t *j = NULL;
    strlist_add(&logs.argv, "sh"); /* logs run no command */
    assert_int_equal(ask_write(&logs, &j, NULL), 0);
    assert_int_equal(ask_read(j, &b, NULL), -ERR_CORRUPT);
}

static void a_command_that_does_not_fit_is_the_users_mistake(void **state)
{
    (void)state;
    _cleanup_(ask_clear) Ask a = ask_of(ASK_EXEC), long_one = ask_of(ASK_EXEC);
    _cleanup_free_ char *word = xcalloc(1, ASK_ARGV_MAX + 1);
    json_t *j = NULL;

    strlist_add(&a.argv, "\xff");
    assert_int_equal(ask_write(&a, &j, NULL), -ERR_USAGE);
    memset(word, 'x', ASK_ARGV_MAX);
    strlist_add(&long_one.argv, word);
    assert_int_equal(ask_write(&long_one, &j, NULL), -ERR_USAGE);
    assert_null(j);
}

static void arguments_are_not_written_down(void **state)
{
    (void)state;
    static const struct {
        const char *argv[4];
        const char *expect;
    } rows[] = {
        {{"bin/tootctl", "accounts", "s3cret"}, "exec web: bin/tootctl accounts"},
        {{"bin/rails", "runner", "s3cret"}, "exec web: bin/rails runner"},
        {{"bin/tootctl", "--s3cret"}, "exec web: bin/tootctl"},
        {{"psql", "s3cret"}, "exec web: psql"},
        {{"a\nb c\x1b", "s3cret"}, "exec web: a?b?c?"},
        {{NULL}, "exec web"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(ask_clear) Ask a = ask_of(ASK_EXEC);
        strlist_wipe(&a.argv);
        for (size_t k = 0; rows[i].argv[k]; k++)
            strlist_add(&a.argv, rows[i].argv[k]);
        _cleanup_free_ char *words = ask_words(&a);
        assert_string_equal(words, rows[i].expect);
    }
}

static void a_role_means_its_services(void **state)
{
    (void)state;
    static const struct {
        const char *what, *service;
        bool expect;
    } rows[] = {
        {"worker", "worker.1", true},
        {"worker.1", "worker.1", true},
        {"worker.1", "worker.10", false},
        {"postgres", "postgres-init", true},
        {"web", "web", true},
        {"web", "webs", false},
        {"web", "edge", false},
        {"", "edge", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(ask_means(rows[i].what, rows[i].service), rows[i].expect);
}

static void a_chunk_is_for_its_place_and_reader(void **state)
{
    (void)state;
    _cleanup_(keypair_clear) KeyPair reader = {0}, stranger = {0};
    _cleanup_(strlist_clear) StrList to = {0};
    _cleanup_(chunk_clear) Chunk c = {0}, got = {0};
    _cleanup_(buf_clear) Buf sealed = BUF_INIT(ANSWER_SEALED_MAX);
    ChunkPlace place = {"web.0", NONCE, 7, 3};
    const char *from;
    Str data;

    crypt_init();
    crypt_box_keys(&reader);
    crypt_box_keys(&stranger);
    strlist_add(&to, reader.public_b64);
    chunk_add(&c, "out", (Str){"a\0b", 3});
    chunk_add(&c, "out", STR_LIT("c"));
    chunk_add(&c, "err", STR_LIT("d\n"));
    chunk_add(&c, "out", STR_LIT(""));
    chunk_say(&c, "end", json_make_new("{s:i}", "exit", 7));
    assert_int_equal(chunk_seal(&c, &place, &to, &sealed, NULL), 0);

    assert_int_equal(chunk_open(buf_as_str(&sealed), &place, &reader, &got, NULL), 0);
    assert_int_equal(json_int(got.head, "end.exit", 0), 7);
    assert_true(chunk_part(&got, 0, &from, &data));
    assert_string_equal(from, "out");
    assert_true(str_eq(data, (Str){"a\0bc", 4}));
    assert_true(chunk_part(&got, 1, &from, &data));
    assert_string_equal(from, "err");
    assert_true(str_eq(data, STR_LIT("d\n")));
    assert_true(chunk_part(&got, 2, &from, &data));
    assert_int_equal(data.n, 0);
    assert_false(chunk_part(&got, 3, &from, &data));

    const ChunkPlace elsewhere[] = {
        {"web.1", NONCE, 7, 3},
        {"web.0", "ffffffffffffffff", 7, 3},
        {"web.0", NONCE, 8, 3},
        {"web.0", NONCE, 7, 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        _cleanup_(chunk_clear) Chunk no = {0};
        assert_int_equal(chunk_open(buf_as_str(&sealed), &elsewhere[i], &reader, &no, NULL),
                         -ERR_CORRUPT);
        assert_null(no.head);
    }
    assert_int_equal(chunk_open(buf_as_str(&sealed), &place, &stranger, &got, NULL), -ERR_DENIED);
    _cleanup_free_ char *name = chunk_name(&place);
    assert_string_equal(name, "answer-00000007-000003");
}

/* Sealed well, by a host that is not what it should be. */
static void a_chunk_that_does_not_add_up_is_refused(void **state)
{
    (void)state;
    static const char *const insides[] = {
        "",
        "{}",
        "{}\n",
        "[]\nx",
        "{\"parts\":[]}\nx",
        "{\"parts\":[[\"out\",2]]}\nx",
        "{\"parts\":[[\"out\",-1],[\"out\",2]]}\nx",
        "{\"parts\":[[\"out\",9223372036854775807],[\"out\",2]]}\nx",
        "{\"parts\":[[1,1]]}\nx",
        "{\"parts\":[[\"out\"]]}\nx",
        "{\"parts\":[1]}\nx",
    };
    _cleanup_(keypair_clear) KeyPair reader = {0};
    ChunkPlace place = {"web.0", NONCE, 7, 3};

    crypt_box_keys(&reader);
    const char *const to[] = {reader.public_b64, NULL};
    for (size_t i = 0; i < ARRAY_LEN(insides); i++) {
        _cleanup_(chunk_clear) Chunk got = {0};
        _cleanup_(buf_clear) Buf sealed = BUF_INIT(ANSWER_SEALED_MAX);
        assert_int_equal(
            crypt_seal(to, "answer/web.0/" NONCE "/7/3", str_of(insides[i]), &sealed, NULL), 0);
        if (chunk_open(buf_as_str(&sealed), &place, &reader, &got, NULL) != -ERR_CORRUPT)
            fail_msg("'%s' was taken", insides[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_read_as_it_was_written),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(a_command_that_does_not_fit_is_the_users_mistake),
        cmocka_unit_test(arguments_are_not_written_down),
        cmocka_unit_test(a_role_means_its_services),
        cmocka_unit_test(a_chunk_is_for_its_place_and_reader),
        cmocka_unit_test(a_chunk_that_does_not_add_up_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
