#include "host/mail.h"

#include <setjmp.h>

#include <cmocka.h>

#define NONCE "00112233aabbccdd"
#define OTHER "ffffffffffffffff"
#define SPEC "0123456789abcdef"

static void add_server(World *w, const char *key, const char *nonce)
{
    Resource r = {.kind = RESOURCE_SERVER,
                  .key = xstrdup(key),
                  .generation = 1,
                  .name = xasprintf("reef-%s", key),
                  .id = xstrdup("id-1"),
                  .status = xstrdup("ACTIVE"),
                  .created_at = 1000};
    r.attrs = nonce ? json_make_new("{s:{s:s}}", "metadata", "atoll-boot", nonce) : json_object();
    (void)world_add(w, r);
}

static void add_object(json_t *listing, const char *name, const char *type, const char *stamp)
{
    json_array_append_new(listing, json_make_new("{s:s, s:s, s:s}", "name", name, "content_type",
                                                 type, "last_modified", stamp));
}

static void names_are_built(void **state)
{
    (void)state;
    _cleanup_free_ char *in = mail_in("web.0", NONCE, 3);
    _cleanup_free_ char *out = mail_out("web.0", NONCE, 12, "healthy");
    _cleanup_free_ char *hello = mail_hello("web.0", NONCE);

    assert_string_equal(in, "web.0/" NONCE "/in/00000003");
    assert_string_equal(out, "web.0/" NONCE "/out/00000012-healthy");
    assert_string_equal(hello, "web.0/" NONCE "/out/hello");
}

static void object_names_go_before_the_query(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *expect;
    } rows[] = {
        {"https://s/v1/A/reef-mail/web.0/n/in/?temp_url_sig=ab&temp_url_prefix=x/",
         "https://s/v1/A/reef-mail/web.0/n/in/00000001?temp_url_sig=ab&temp_url_prefix=x/"},
        {"http://s/in/", "http://s/in/00000001"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *url = mail_url(rows[i].prefix, "00000001");
        assert_string_equal(url, rows[i].expect);
    }
}

static void the_newest_report_of_the_highest_number_counts(void **state)
{
    (void)state;
    _cleanup_(world_clear) World w = {0};
    _cleanup_json_ json_t *l = json_array();
    add_server(&w, "web.0", NONCE);

    add_object(l, "web.0/" NONCE "/out/hello", "application/json", "2026-11-24T10:00:00.000000");
    add_object(l, "web.0/" NONCE "/in/00000002", MAIL_BUNDLE_TYPE "; spec=" SPEC "; rest=" OTHER,
               "2026-11-24T10:00:02.000000");
    add_object(l, "web.0/" NONCE "/in/00000001", MAIL_BUNDLE_TYPE "; spec=ffffffffffffffff",
               "2026-11-24T10:00:01.000000");
    add_object(l, "web.0/" NONCE "/out/00000001-healthy", "application/json",
               "2026-11-24T11:00:00.000000");
    add_object(l, "web.0/" NONCE "/out/00000002-healthy", "application/json",
               "2026-11-24T10:00:05.000900");
    add_object(l, "web.0/" NONCE "/out/00000002-starting", "application/json",
               "2026-11-24T10:00:05.000100");
    mail_read(l, &w);

    const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
    Msec expect;
    assert_non_null(host);
    assert_string_equal(host->id, "id-1");
    assert_string_equal(json_str(host->attrs, "boot"), NONCE);
    assert_string_equal(json_str(host->attrs, "server_status"), "ACTIVE");
    assert_true(json_bool(host->attrs, "hello", false));
    assert_int_equal(json_int(host->attrs, "sent", -1), 2);
    assert_string_equal(json_str(host->attrs, "sent_spec"), SPEC);
    assert_string_equal(json_str(host->attrs, "sent_rest"), OTHER);
    assert_true(time_parse("2026-11-24T10:00:02Z", &expect));
    assert_int_equal(json_int(host->attrs, "sent_at", 0), expect);
    assert_int_equal(json_int(host->attrs, "seen", -1), 2);
    assert_string_equal(json_str(host->attrs, "state"), "healthy");
    assert_string_equal(json_str(host->attrs, "report"), "web.0/" NONCE "/out/00000002-healthy");
    assert_true(time_parse("2026-11-24T10:00:05.000900", &expect));
    assert_int_equal(json_int(host->attrs, "state_since", 0), expect);
}

/* Bundles say which hello they answer. */
static void another_hello_is_noticed(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        _cleanup_(world_clear) World w = {0};
        _cleanup_json_ json_t *l = json_array();
        add_server(&w, "web.0", NONCE);

        add_object(l, "web.0/" NONCE "/out/hello", "", "2026-11-24T10:00:00.000000");
        json_object_set_new(json_array_get(l, 0), "hash",
                            json_string(other ? "ffffffffffffffff0000000000000000"
                                              : "0123456789abcdef0000000000000000"));
        add_object(l, "web.0/" NONCE "/in/00000001", MAIL_BUNDLE_TYPE "; hello=0123456789abcdef",
                   "2026-11-24T10:00:01.000000");
        mail_read(l, &w);
        const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
        assert_int_equal(json_bool(host->attrs, "hello_other", !other), other);
    }
}

static void a_later_failure_wins_over_an_older_health(void **state)
{
    (void)state;
    _cleanup_(world_clear) World w = {0};
    _cleanup_json_ json_t *l = json_array();
    add_server(&w, "web.0", NONCE);

    add_object(l, "web.0/" NONCE "/out/00000002-failed", "", "2026-11-24T10:01:00.000000");
    add_object(l, "web.0/" NONCE "/out/00000002-healthy", "", "2026-11-24T10:00:00.000000");
    mail_read(l, &w);
    const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
    assert_string_equal(json_str(host->attrs, "state"), "failed");
}

static void strange_names_and_other_boots_are_ignored(void **state)
{
    (void)state;
    static const char *const names[] = {
        "web.0/" OTHER "/out/hello",
        "web.0/" OTHER "/in/00000009",
        "web.0/" OTHER "/out/00000009-healthy",
        "web.00/" NONCE "/in/00000009",
        "web.0/" NONCE "/in/9",
        "web.0/" NONCE "/in/000000009",
        "web.0/" NONCE "/in/0000000x",
        "web.0/" NONCE "/in/00000000",
        "web.0/" NONCE "/in/00000009/more",
        "web.0/" NONCE "/out/00000009",
        "web.0/" NONCE "/out/00000009-",
        "web.0/" NONCE "/out/00000009-happy",
        "web.0/" NONCE "/out/00000009-healthy-x",
        "web.0/" NONCE "/out/hello2",
        "web.0/" NONCE "/elsewhere/hello",
        "",
        "db.0/" NONCE "/in/00000009",
    };
    _cleanup_(world_clear) World w = {0};
    _cleanup_json_ json_t *l = json_array();
    add_server(&w, "web.0", NONCE);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        add_object(l, names[i], MAIL_BUNDLE_TYPE "; spec=" SPEC, "2026-11-24T10:00:00.000000");
    json_array_append_new(l, json_object());

    mail_read(l, &w);
    const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
    assert_non_null(host);
    assert_false(json_bool(host->attrs, "hello", true));
    assert_int_equal(json_int(host->attrs, "sent", -1), 0);
    assert_string_equal(json_str(host->attrs, "sent_spec"), "");
    assert_int_equal(json_int(host->attrs, "seen", -1), 0);
    assert_string_equal(json_str(host->attrs, "state"), "");
    assert_string_equal(json_str(host->attrs, "report"), "");
}

static void content_types_without_a_spec(void **state)
{
    (void)state;
    static const char *const types[] = {
        "",
        "application/octet-stream; spec=" SPEC,
        MAIL_BUNDLE_TYPE,
        MAIL_BUNDLE_TYPE "; spec=",
        MAIL_BUNDLE_TYPE "; spec=0123",
        MAIL_BUNDLE_TYPE "; spec=XYZ3456789abcdef",
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        _cleanup_(world_clear) World w = {0};
        _cleanup_json_ json_t *l = json_array();
        add_server(&w, "web.0", NONCE);
        add_object(l, "web.0/" NONCE "/in/00000001", types[i], "");
        mail_read(l, &w);
        const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
        assert_int_equal(json_int(host->attrs, "sent", -1), 1);
        assert_string_equal(json_str(host->attrs, "sent_spec"), "");
    }
}

/* As it was put, and as real Swift lists it: without the spaces. */
static void a_content_type_says_when_and_to_whom(void **state)
{
    (void)state;
    static const struct {
        const char *type, *key;
        Msec until;
    } rows[] = {
        {MAIL_BUNDLE_TYPE "; spec=" SPEC "; until=1764000000; key=" OTHER, OTHER, 1764000000000},
        {MAIL_BUNDLE_TYPE ";spec=" SPEC ";until=1764000000;key=" OTHER, OTHER, 1764000000000},
        {MAIL_BUNDLE_TYPE "; key=" OTHER "; spec=" SPEC, OTHER, 0},
        {MAIL_BUNDLE_TYPE "; spec=" SPEC "; until=soon; key=ff", "", 0},
        {MAIL_BUNDLE_TYPE "; spec=" SPEC "; until=; key=", "", 0},
        {MAIL_BUNDLE_TYPE "; spec=" SPEC "; until=99999999999999999999", "", 0},
        {MAIL_BUNDLE_TYPE "; spec=" SPEC "; until=-1", "", 0},
        {MAIL_BUNDLE_TYPE "; spec=" SPEC, "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(world_clear) World w = {0};
        _cleanup_json_ json_t *l = json_array();
        add_server(&w, "web.0", NONCE);
        add_object(l, "web.0/" NONCE "/in/00000001", rows[i].type, "");
        mail_read(l, &w);
        const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
        assert_string_equal(json_str(host->attrs, "sent_spec"), SPEC);
        assert_string_equal(json_str(host->attrs, "sent_key"), rows[i].key);
        assert_int_equal(json_int(host->attrs, "sent_until", -1), rows[i].until);
    }
}

/* What an older bundle had kept is there whatever the newest says; a stop says nothing. */
static void what_a_host_keeps(void **state)
{
    static const struct {
        const char *types[3], *keeps, *kept;
    } rows[] = {
        {{"", "", ""}, "{}", "{}"},
        {{";redis=root", "", ""}, "{}", "{\"redis\":\"root\"}"},
        {{"; redis=root", "; redis=volume", "; postgres=volume"},
         "{\"postgres\":\"volume\"}",
         "{\"postgres\":\"volume\",\"redis\":\"root\"}"},
        {{"", "", "; redis=elsewhere; web=root"}, "{}", "{}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(world_clear) World w = {0};
        _cleanup_json_ json_t *l = json_array();
        _cleanup_free_ char *keeps = NULL, *kept = NULL;

        add_server(&w, "web.0", NONCE);
        for (int n = 0; n < 3; n++) {
            _cleanup_free_ char *name = xasprintf("web.0/" NONCE "/in/0000000%d", n + 1);
            _cleanup_free_ char *type =
                xasprintf(MAIL_BUNDLE_TYPE "; spec=" SPEC "%s", rows[i].types[n]);

            add_object(l, name, type, "");
        }
        mail_read(l, &w);
        const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
        keeps = json_text_new(json_object_get(host->attrs, "keeps"));
        kept = json_text_new(json_object_get(host->attrs, "kept"));
        assert_string_equal(keeps, rows[i].keeps);
        assert_string_equal(kept, rows[i].kept);
    }
}

static void a_host_without_news_is_silent(void **state)
{
    (void)state;
    _cleanup_(world_clear) World w = {0};
    _cleanup_json_ json_t *l = json_array();
    Msec at;
    add_server(&w, "web.0", NONCE);
    add_server(&w, "db.0", OTHER); /* it has not reported yet */
    add_object(l, "web.0/" NONCE "/out/00000001-healthy", "", "2026-11-24T10:00:00.000000");
    mail_read(l, &w);
    assert_true(time_parse("2026-11-24T10:00:00Z", &at));
    const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
    assert_false(mail_silent(host, at - MINUTE));
    assert_false(mail_silent(host, at + 5 * MINUTE));
    assert_true(mail_silent(host, at + 5 * MINUTE + 1));
    /* It has five minutes from what it is told. */
    json_object_set_new(host->attrs, "sent_at", json_integer(at + HOUR));
    assert_false(mail_silent(host, at + HOUR + MINUTE));
    assert_true(mail_silent(host, at + HOUR + 6 * MINUTE));
    assert_false(mail_silent(world_find(&w, RESOURCE_HOST, "db.0", 1), at + DAY));
}

static void every_server_gets_a_host(void **state)
{
    (void)state;
    _cleanup_(world_clear) World w = {0};
    _cleanup_json_ json_t *l = json_array();
    add_server(&w, "web.0", NONCE);
    add_server(&w, "db.0", NULL); /* no nonce: made by an attempt that nobody remembers */
    add_object(l, "db.0//out/hello", "", "");

    mail_read(l, &w);
    assert_int_equal(w.items.len, 4);
    const Resource *host = world_find(&w, RESOURCE_HOST, "db.0", 1);
    assert_string_equal(json_str(host->attrs, "boot"), "");
    assert_false(json_bool(host->attrs, "hello", true));
}

/* They have numbers, and nothing else of them is a host's state. */
static void asks_are_no_bundles(void **state)
{
    (void)state;
    static const char *const ask_types[] = {MAIL_ASK_TYPE, MAIL_ASK_TYPE ";x=y"};
    for (size_t i = 0; i < ARRAY_LEN(ask_types); i++) {
        _cleanup_(world_clear) World w = {0};
        _cleanup_json_ json_t *l = json_array();
        bool ask = false;
        add_server(&w, "web.0", NONCE);

        /* By a host that is too old to know them; listed before what tells that it is an ask. */
        add_object(l, "web.0/" NONCE "/out/00000003-refused", "", "2026-11-24T10:00:09.000000");
        add_object(l, "web.0/" NONCE "/out/00000002-healthy", "", "2026-11-24T10:00:05.000000");
        add_object(l, "web.0/" NONCE "/out/answer-00000004-000000", "",
                   "2026-11-24T10:00:10.000000");
        add_object(l, "web.0/" NONCE "/in/00000004", ask_types[i], "2026-11-24T10:00:09.000000");
        add_object(l, "web.0/" NONCE "/in/00000003", ask_types[i], "2026-11-24T10:00:08.000000");
        add_object(l, "web.0/" NONCE "/in/00000002",
                   MAIL_BUNDLE_TYPE "; spec=" SPEC "; scheduler=1; redis=root",
                   "2026-11-24T10:00:02.000000");
        mail_read(l, &w);
        const Resource *host = world_find(&w, RESOURCE_HOST, "web.0", 1);
        Msec sent_at;
        assert_int_equal(json_int(host->attrs, "sent", -1), 2);
        assert_int_equal(json_int(host->attrs, "next", -1), 5);
        assert_int_equal(json_int(host->attrs, "seen", -1), 2);
        assert_string_equal(json_str(host->attrs, "state"), "healthy");
        assert_string_equal(json_str(host->attrs, "sent_spec"), SPEC);
        assert_true(json_bool(host->attrs, "sent_scheduler", false));
        assert_string_equal(json_str(host->attrs, "keeps.redis"), "root");
        assert_true(time_parse("2026-11-24T10:00:02Z", &sent_at));
        assert_int_equal(json_int(host->attrs, "sent_at", 0), sent_at);

        assert_int_equal(mail_next(l, "web.0", NONCE, 3, &ask), 5);
        assert_true(ask);
        assert_int_equal(mail_next(l, "web.0", NONCE, 2, &ask), 5);
        assert_false(ask);
        assert_int_equal(mail_next(l, "web.1", NONCE, 1, &ask), 1);
        assert_false(ask);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_built),
        cmocka_unit_test(object_names_go_before_the_query),
        cmocka_unit_test(the_newest_report_of_the_highest_number_counts),
        cmocka_unit_test(another_hello_is_noticed),
        cmocka_unit_test(a_later_failure_wins_over_an_older_health),
        cmocka_unit_test(strange_names_and_other_boots_are_ignored),
        cmocka_unit_test(content_types_without_a_spec),
        cmocka_unit_test(a_content_type_says_when_and_to_whom),
        cmocka_unit_test(what_a_host_keeps),
        cmocka_unit_test(asks_are_no_bundles),
        cmocka_unit_test(a_host_without_news_is_silent),
        cmocka_unit_test(every_server_gets_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
