#include "base/time.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define T0 ((Msec)1795541499000) /* 2026-11-24T17:31:39Z */

static void formatting(void **state)
{
    (void)state;
    static const struct {
        Msec t;
        const char *text, *with_ms, *http;
    } rows[] = {
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
        {T0 + 123, "2026-11-24T17:31:39Z", "2026-11-24T17:31:39.123Z",
         "Tue, 24 Nov 2026 17:31:39 GMT"},
        {-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 GMT"},
        {-62135596800000, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z",
         "Mon, 01 Jan 0001 00:00:00 GMT"},
        {951782400000, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z",
         "Tue, 29 Feb 2000 00:00:00 GMT"},
    };
    char out[TIME_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(time_format(rows[i].t, false, out), rows[i].text);
        assert_string_equal(time_format(rows[i].t, true, out), rows[i].with_ms);
        assert_string_equal(time_format_http(rows[i].t, out), rows[i].http);
    }
    /* The ends of the type still fit. */
    assert_true(ends_with(time_format(INT64_MAX, true, out), "Z"));
    assert_true(ends_with(time_format(INT64_MIN, true, out), "Z"));
    assert_true(ends_with(time_format_http(INT64_MAX, out), " GMT"));
    assert_true(ends_with(time_format_http(INT64_MIN, out), " GMT"));
}

static void parsing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        Msec t;
    } good[] = {
        {"2026-11-24T17:31:39Z", T0},
        {"2026-11-24T17:31:39", T0},
        {"2026-11-24 17:31:39", T0},
        {"2026-11-24t17:31:39z", T0},
        {"2026-11-24T17:31:39.5Z", T0 + 500},
        {"2026-11-24T17:31:39.000001", T0},
        {"2026-11-24T17:31:39.123999999999999999999Z", T0 + 123},
        {"2026-11-24T19:31:39+02:00", T0},
        {"2026-11-24T12:01:39-0530", T0},
        {"2026-11-24 18:31:39.25+01", T0 + 250},
        {"2026-11-25T01:31:39+08:00", T0},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"2000-02-29T00:00:00Z", 951782400000},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        Msec t = 1;
        assert_true(time_parse(good[i].text, &t));
        assert_int_equal(t, good[i].t);
    }
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-24",
        "2026-11-24T17:31",
        "2026-11-24T17:31:39.",
        "2026-11-24T17:31:39.Z",
        "2026-11-24T17:31:39Zx",
        "2026-11-24T17:31:39 ",
        "2026-11-24T17:31:39+",
        "2026-11-24T17:31:39+2",
        "2026-11-24T17:31:39+02:",
        "2026-11-24T17:31:39+02:0",
        "2026-11-24T17:31:39+24:00",
        "2026-11-24T17:31:39+00:60",
        "2026-11-24T24:00:00Z",
        "2026-11-24T17:60:00Z",
        "2026-11-24T17:31:61Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "26-11-24T17:31:39Z",
        "2026-1-24T17:31:39Z",
        "2026-11-24_17:31:39Z",
        " 2026-11-24T17:31:39Z",
        "+026-11-24T17:31:39Z",
        NULL,
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Msec t = 4711;
        assert_false(time_parse(bad[i], &t));
        assert_int_equal(t, 4711);
    }
}

static void parsing_http(void **state)
{
    (void)state;
    Msec t = 4711;
    assert_true(time_parse_http("Tue, 24 Nov 2026 17:31:39 GMT", &t));
    assert_int_equal(t, T0);
    static const char *const bad[] = {
        "",
        "Tue, 24 Nov 2026 17:31:39",
        "Tue, 24 Nov 2026 17:31:39 UTC",
        "Tue, 24 Nov 2026 17:31:39 GMT ",
        "Xue, 24 Nov 2026 17:31:39 GMT",
        "Tue, 24 Nox 2026 17:31:39 GMT",
        "Tue, 31 Nov 2026 17:31:39 GMT",
        "Tue, 4 Nov 2026 17:31:39 GMT",
        "Tue 24 Nov 2026 17:31:39 GMT",
        "Tue, 24 Nov 2026 25:31:39 GMT",
        "2026-11-24T17:31:39Z",
        NULL,
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        t = 4711;
        assert_false(time_parse_http(bad[i], &t));
        assert_int_equal(t, 4711);
    }
}

/* What was formatted reads back, across leap years and the year's ends. */
static void round_trips(void **state)
{
    (void)state;
    char out[TIME_TEXT_MAX];
    for (Msec t = -30 * 366 * DAY; t < 300 * 366 * DAY; t += 13 * DAY + 7 * HOUR + 12345) {
        Msec back;
        assert_true(time_parse(time_format(t, true, out), &back));
        assert_int_equal(back, t);
        Msec second = t - (t % SECOND + SECOND) % SECOND;
        assert_true(time_parse_http(time_format_http(t, out), &back));
        assert_int_equal(back, second);
    }
}

static void spans(void **state)
{
    (void)state;
    static const struct {
        Msec ms;
        const char *text;
    } rows[] = {
        {0, "0 ms"},
        {350, "350 ms"},
        {999, "999 ms"},
        {SECOND, "1 s"},
        {12 * SECOND + 999, "12 s"},
        {MINUTE, "1 min"},
        {3 * MINUTE + 5 * SECOND, "3 min 5 s"},
        {2 * HOUR, "2 h"},
        {2 * HOUR + 59 * SECOND, "2 h"},
        {2 * HOUR + 30 * MINUTE, "2 h 30 min"},
        {DAY, "1 day"},
        {5 * DAY, "5 days"},
        {5 * DAY + 3 * HOUR, "5 days 3 h"},
        {-350, "-350 ms"},
        {-3 * MINUTE, "-3 min"},
        {INT64_MIN, "-106751991167 days 7 h"},
    };
    char out[TIME_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(time_span(rows[i].ms, out), rows[i].text);
}

static void minutes(void **state)
{
    static const struct {
        const char *text;
        int minute; /* -1: refused */
    } rows[] = {{"00:00", 0},  {"18:05", 1085}, {"23:59", 1439}, {"24:00", 0},  {"24:01", -1},
                {"12:60", -1}, {"9:00", -1},    {"09:00 ", -1},  {"09-00", -1}, {"", -1}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int minute = -1;
        assert_int_equal(time_parse_minute(rows[i].text, &minute), rows[i].minute >= 0);
        assert_int_equal(minute, rows[i].minute);
    }
}

static void clocks(void **state)
{
    (void)state;
    assert_true(time_now() > T0 - 100 * 366 * DAY);
    Msec before = time_mono();
    assert_true(time_mono() >= before);
    time_sleep(0);
    time_sleep(-SECOND);
    assert_true(time_mono() - before < MINUTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formatting),  cmocka_unit_test(parsing), cmocka_unit_test(parsing_http),
        cmocka_unit_test(round_trips), cmocka_unit_test(spans),   cmocka_unit_test(clocks),
        cmocka_unit_test(minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
