#include "deploy/version.h"
#include <setjmp.h>

#include <cmocka.h>

static Version parsed(const char *text)
{
    _cleanup_(err_clear) Err err = {0};
    Version v;
    if (version_parse(text, &v, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return v;
}

static void what_is_understood(_unused_ void **state)
{
    static const struct {
        const char *text, *kept;
        bool canary, tag, pre;
        int major, minor, patch;
    } rows[] = {
        {"v4.7.6", "4.7.6", false, false, false, 4, 7, 6},
        {"4.7.6", "4.7.6", false, false, false, 4, 7, 6},
        {"4.7.0-rc.1", "4.7.0-rc.1", false, false, true, 4, 7, 0},
        {"v4.8.0-alpha.1+glitch", "4.8.0-alpha.1+glitch", false, false, true, 4, 8, 0},
        {"4.6.5+glitch.2", "4.6.5+glitch.2", false, false, false, 4, 6, 5},
        {"v4.7", "4.7", false, true, false, 4, 7, VERSION_UNSAID},
        {"v3.10.20", "3.10.20", false, false, false, 3, 10, 20},
        {"2", "2", true, false, false, 2, VERSION_UNSAID, VERSION_UNSAID},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Version v = parsed(rows[i].text);
        assert_string_equal(v.text, rows[i].kept);
        assert_int_equal(v.canary, rows[i].canary);
        assert_int_equal(version_is_tag(&v), rows[i].tag);
        assert_int_equal(version_is_pre(&v), rows[i].pre);
        assert_int_equal(v.major, rows[i].major);
        assert_int_equal(v.minor, rows[i].minor);
        assert_int_equal(v.patch, rows[i].patch);
    }
}

static void what_is_refused(_unused_ void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "is not a version"},
        {"v", "is not a version"},
        {"v4", "names no minor version"},
        {"latest", "from one day to the next"},
        {"edge", "from one day to the next"},
        {"nightly", "from one day to the next"},
        {"4.7.", "is not a version"},
        {"4..7", "is not a version"},
        {".7", "is not a version"},
        {"4.7.6.1", "is not a version"},
        {"4.07.6", "is not a version"},
        {"4.7.6 ", "is not a version"},
        {"-4.7.6", "is not a version"},
        {"4.7-rc.1", "is not a version"},
        {"4.7.0-", "is not a version"},
        {"4.7.0-rc..1", "is not a version"},
        {"4.7.0-rc.", "is not a version"},
        {"4.7.0+", "is not a version"},
        {"4.7.0-rc/../x", "is not a version"},
        {"4.7.123456", "is not a version"},
        {"99999999999999999999", "is not a version"},
        {"4.7.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "is too long"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        Version v = {.major = 77};
        assert_int_equal(version_parse(rows[i].text, &v, &err), -ERR_CONFIG);
        if (!strstr(err.text, rows[i].words))
            fail_msg("%s: %s", rows[i].text, err.text);
        assert_non_null(err.hint);
        assert_int_equal(v.major, 77);
        assert_int_equal(version_parse(rows[i].text, &v, NULL), -ERR_CONFIG);
    }
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

/* Each before the next, against all others. */
static void the_order(_unused_ void **state)
{
    static const char *const mastodon[] = {
        "3.5.9",      "4.0.0",      "4.7.0-alpha", "4.7.0-alpha.1", "4.7.0-alpha.beta",
        "4.7.0-beta", "4.7.0-rc.2", "4.7.0-rc.10", "4.7.0-rc.10.1", "4.7.0",
        "4.7.6",      "4.7.10",     "4.10.0",      "5.0.0",
    };
    static const char *const canary[] = {"1", "2", "10"};
    for (size_t i = 0; i < ARRAY_LEN(mastodon); i++)
        for (size_t j = 0; j < ARRAY_LEN(mastodon); j++) {
            Version a = parsed(mastodon[i]), b = parsed(mastodon[j]);
            assert_int_equal(sign(version_compare(&a, &b)), sign((int)i - (int)j));
        }
    for (size_t i = 0; i < ARRAY_LEN(canary); i++)
        for (size_t j = 0; j < ARRAY_LEN(canary); j++) {
            Version a = parsed(canary[i]), b = parsed(canary[j]);
            assert_int_equal(sign(version_compare(&a, &b)), sign((int)i - (int)j));
        }
    Version plain = parsed("v4.7.6"), fork = parsed("4.7.6+glitch"), tag = parsed("4.7");
    Version zero = parsed("4.7.0");
    assert_int_equal(version_compare(&plain, &fork), 0);
    assert_int_equal(version_compare(&tag, &zero), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_understood),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
