#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
    _cleanup_(err_clear) Err err = {0};
    json_t *j = json_parse_new(text, strlen(text), &err);
    assert_non_null(j);
    assert_int_equal(err.kind, ERR_NONE);
    return j;
}

static void one_document(void **state)
{
    (void)state;
    static const char *const good[] = {"{}", " [1, 2] \n", "null", "1", "\"x\"", "true", "-0.5e3"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        _cleanup_json_ json_t *j = parse(good[i]);
        assert_non_null(j);
    }
    static const char *const bad[] = {"",
                                      "{",
                                      "{} {}",
                                      "[1,]",
                                      "{\"a\":1,\"a\":2}",
                                      "nul",
                                      "'x'",
                                      "{\"a\" 1}",
                                      "\"\xff\"",
                                      "\"\\u0000\"",
                                      "[1] x",
                                      "1e999999",
                                      "9223372036854775808"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_(err_clear) Err err = {0};
        assert_null(json_parse_new(bad[i], strlen(bad[i]), &err));
        assert_int_equal(err.kind, ERR_CORRUPT);
        assert_non_null(strstr(err.text, "not valid JSON: line 1, column "));
        assert_null(json_parse_new(bad[i], strlen(bad[i]), NULL));
    }
    _cleanup_(err_clear) Err err = {0};
    assert_null(json_parse_new("{\n  1}", 6, &err));
    assert_string_equal(err.text, "not valid JSON: line 2, column 3: string or '}' expected");
}

static void an_error_quotes_nothing(void **state)
{
    (void)state;
    static const char text[] = "{\"password\": hunter2}";
    _cleanup_(err_clear) Err err = {0};
    assert_null(json_parse_new(text, sizeof text - 1, &err));
    assert_null(strstr(err.text, "hunter2"));
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    char text[100000];
    memset(text, '[', sizeof text);
    _cleanup_(err_clear) Err err = {0};
    assert_null(json_parse_new(text, sizeof text, &err));
    assert_int_equal(err.kind, ERR_CORRUPT);
}

static void getters_default(void **state)
{
    (void)state;
    _cleanup_json_ json_t *j =
        parse("{\"server\": {\"flavor\": {\"id\": \"c1\"}, \"n\": 7, \"r\": 1.5,"
              " \"on\": true, \"list\": [1], \"none\": null}}");
    assert_string_equal(json_str(j, "server.flavor.id"), "c1");
    assert_int_equal(json_int(j, "server.n", 1), 7);
    assert_true(json_bool(j, "server.on", false));
    assert_true(json_is_array(json_at(j, "server.list")));
    assert_true(json_is_null(json_at(j, "server.none")));

    static const char *const absent[] = {
        "server.flavor.id.x", "server.list.0", "x", "server..n", "", "server.", ".server",
        "server.none.x"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_null(json_at(j, absent[i]));
    assert_null(json_str(j, "server.n"));
    assert_string_equal(json_str_or(j, "server.n", "d"), "d");
    assert_string_equal(json_str_or(j, "server.flavor.id", "d"), "c1");
    assert_int_equal(json_int(j, "server.flavor.id", 3), 3);
    assert_int_equal(json_int(j, "server.r", 3), 3);
    assert_int_equal(json_int(j, "server.on", 3), 3);
    assert_true(json_bool(j, "server.n", true));
    assert_false(json_bool(j, "server.none", false));
    assert_null(json_at(NULL, "server"));
    assert_null(json_str(NULL, "server"));
    assert_int_equal(json_int(NULL, "x", 9), 9);
}

static void equal_values_give_equal_text(void **state)
{
    (void)state;
    _cleanup_json_ json_t *a = parse("{\"b\": [1, 2.5, null], \"a\": \"x\\ny\\u00e4\"}");
    _cleanup_json_ json_t *b = parse("{\"a\":\"x\\ny\xc3\xa4\",\n\"b\":[1,2.5,null]}");
    _cleanup_free_ char *left = json_text_new(a), *right = json_text_new(b);
    assert_string_equal(left, right);
    assert_string_equal(left, "{\"a\":\"x\\ny\xc3\xa4\",\"b\":[1,2.5,null]}");
    _cleanup_json_ json_t *s = json_string("x");
    _cleanup_free_ char *scalar = json_text_new(s);
    assert_string_equal(scalar, "\"x\"");
}

static void making(void **state)
{
    (void)state;
    _cleanup_json_ json_t *j = json_make_new("{s:s, s:i, s:{s:b}, s:s?, s:s*}", "name", "reef", "n",
                                             3, "in", "on", 1, "none", NULL, "left out", NULL);
    _cleanup_free_ char *text = json_text_new(j);
    assert_string_equal(text, "{\"in\":{\"on\":true},\"n\":3,\"name\":\"reef\",\"none\":null}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_document),
        cmocka_unit_test(an_error_quotes_nothing),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(getters_default),
        cmocka_unit_test(equal_values_give_equal_text),
        cmocka_unit_test(making),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
