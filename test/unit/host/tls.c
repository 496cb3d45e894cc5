#include "host/tls.h"

#include <setjmp.h>

#include <cmocka.h>

#define MARK "0123456789abcdef"

static json_t *listing_new(const char *name, const char *type)
{
    return json_make_new("[{s:s, s:s}, {s:s, s:s}]", "name", "release/00000001", "content_type",
                         "application/vnd.atoll.release; mark=" MARK "; until=9", "name", name,
                         "content_type", type);
}

static void the_record_says_what_was_written(void **state)
{
    (void)state;
    Cert c = {.mark = MARK, .begins = 1767225600 * SECOND, .ends = 1775001600 * SECOND}, back;
    _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);

    tls_record_type(&c, &type);
    assert_string_equal(type.p, "application/vnd.atoll.tls; mark=" MARK
                                "; from=1767225600; until=1775001600");
    _cleanup_json_ json_t *mail = listing_new("tls", type.p);
    assert_true(tls_record_read(mail, &back));
    assert_string_equal(back.mark, c.mark);
    assert_true(back.begins == c.begins && back.ends == c.ends);
}

static void what_is_no_record_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *name, *type;
    } rows[] = {
        {"tls.0", "application/vnd.atoll.tls; mark=" MARK "; from=1; until=2"},
        {"tls", "application/json"},
        {"tls", "application/vnd.atoll.tls; mark=" MARK "; from=1"},
        {"tls", "application/vnd.atoll.tls; mark=012345678; from=1; until=2"},
        {"tls", "application/vnd.atoll.tls; mark=0123456789ABCDEF; from=1; until=2"},
        {"tls", "application/vnd.atoll.tls; mark=" MARK "; from=1; until=x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *mail = listing_new(rows[i].name, rows[i].type);
        Cert c;
        assert_false(tls_record_read(mail, &c));
    }
}

static json_t *spec_new(int https, const char *pair)
{
    return json_make_new("{s:{s:i, s:s}}", "listen", "https", https, "pair", pair);
}

/* Where the operator's file is not, the cloud's certificate counts; where it is, the file's. */
static void a_spec_has_the_mark_of_one_of_them(void **state)
{
    (void)state;
    static const struct {
        int https;
        const char *pair;
        bool recorded, ok;
        const char *becomes;
    } rows[] = {
        {443, "", true, true, MARK}, {443, "fedcba9876543210", true, true, "fedcba9876543210"},
        {443, "", false, false, ""}, {443, "fedcba9876543210", false, true, "fedcba9876543210"},
        {0, "", true, true, ""},     {0, "", false, true, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new(rows[i].https, rows[i].pair);
        _cleanup_json_ json_t *mail =
            rows[i].recorded
                ? listing_new("tls", "application/vnd.atoll.tls;mark=" MARK ";from=1;until=2")
                : NULL;
        assert_int_equal(tls_spec(mail, spec), rows[i].ok);
        assert_string_equal(json_str(spec, "listen.pair"), rows[i].becomes);
    }
    /* An edge that asks for it begins without. */
    _cleanup_json_ json_t *asks = spec_new(443, "");
    json_object_set_new(json_object_get(asks, "listen"), "acme", json_object());
    assert_true(tls_spec(NULL, asks));
    assert_string_equal(json_str(asks, "listen.pair"), "");
    /* What is told to stop listens to nothing. */
    _cleanup_json_ json_t *stop = json_object();
    assert_true(tls_spec(NULL, stop));
}

static void the_letter_that_begins_last_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *names[3]; /* NULL-ended */
        int found;            /* -1: none of them */
    } rows[] = {
        {{"web.0/n/out/tls-" MARK "-1-2"}, 0},
        {{"web.0/n/out/tls-" MARK "-1-9", "web.1/m/out/tls-" MARK "-3-4"}, 1},
        {{"web.0/n/out/tls-" MARK "-5-9", "web.0/n/out/tls-" MARK "-3-99"}, 0},
        {{"web.0/n/in/tls-" MARK "-1-2", "web.0/n/out/00000001-healthy"}, -1},
        {{"web.0/n/out/tls-0123-1-2", "web.0/n/out/tls-" MARK "-1"}, -1},
        {{"web.0/n/out/tls-" MARK "-1-2-3", "n/out/tls-" MARK "-1-2"}, -1},
        {{"web.0//out/tls-" MARK "-1-2", "tls"}, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *mail = json_array();
        const char *name = NULL;
        Cert c;
        for (size_t k = 0; rows[i].names[k]; k++)
            json_array_append_new(mail, json_make_new("{s:s}", "name", rows[i].names[k]));
        assert_int_equal(tls_letter_find(mail, &c, &name), rows[i].found >= 0);
        if (rows[i].found >= 0)
            assert_string_equal(name, rows[i].names[rows[i].found]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_record_says_what_was_written),
        cmocka_unit_test(what_is_no_record_is_none),
        cmocka_unit_test(a_spec_has_the_mark_of_one_of_them),
        cmocka_unit_test(the_letter_that_begins_last_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
