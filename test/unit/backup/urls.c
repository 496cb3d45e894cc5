/* The file of PUT-only addresses: which one is taken, what is refused, what is never shown. */
#include "backup/store_urls.h"
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#define URL(prefix, until)                                                                         \
    "http://h:8080/v1/AUTH_p/c/" prefix "?temp_url_sig=sesame&temp_url_expires=" until
#define LINE(from, until) "2026-11-" from "T00:00:00Z " URL("host/", until) "\n"

static void chosen(void **state)
{
    _cleanup_(urls_clear) UrlList l = {0};
    Msec day;

    (void)state;
    assert_int_equal(
        urls_parse("f", STR_LIT("# mine\n\n" LINE("03", "30") LINE("01", "10") LINE("02", "20")),
                   &l, NULL),
        0);
    assert_int_equal(l.len, 3);
    assert_string_equal(l.items[0].base, "http://h:8080/v1/AUTH_p/c/host/");
    assert_string_equal(secret_expose(l.items[0].query).p,
                        "temp_url_sig=sesame&temp_url_expires=30");
    static const struct {
        const char *now;
        Msec until; /* of the one that is chosen; 0: none */
    } rows[] = {{"2026-10-31T23:59:59Z", 0},
                {"2026-11-01T00:00:00Z", 10 * SECOND},
                {"2026-11-02T12:00:00Z", 20 * SECOND},
                {"2027-01-01T00:00:00Z", 30 * SECOND}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(time_parse(rows[i].now, &day));
        const Url *u = urls_choose(&l, day);
        assert_int_equal(u ? u->until : 0, rows[i].until);
    }
}

static void refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "# nothing\n",
        "2026-11-01T00:00:00Z\n",
        "yesterday " URL("host/", "1") "\n",
        "2026-11-01T00:00:00Z " URL("other/", "1") "\n",
        "2026-11-01T00:00:00Z " URL("ghost/", "1") "\n",
        "2026-11-01T00:00:00Z " URL("host/", "soon") "\n",
        "2026-11-01T00:00:00Z " URL("host/", "") "\n",
        "2026-11-01T00:00:00Z http://h/v1/AUTH_p/c/host/?temp_url_sig=sesame\n",
        LINE("01", "10") "2026-11-01T00:00:00Z sesame\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        _cleanup_(urls_clear) UrlList l = {0};
        _cleanup_(err_clear) Err err = {0};
        if (urls_parse("f", str_of(wrong[i]), &l, &err) != -ERR_CONFIG)
            fail_msg("taken: %s", wrong[i]);
        assert_null(strstr(err.text, "sesame"));
        if (i + 1 == ARRAY_LEN(wrong))
            assert_non_null(strstr(err.text, "f:2: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(chosen), cmocka_unit_test(refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
