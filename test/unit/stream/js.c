#include "stream/js.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What JSON.stringify(JSON.parse(from)) gives; NULL: not JSON. */
static const struct {
    const char *from, *to;
} rows[] = {
    {"{\"a\":1,\"b\":[true,false,null]}", "{\"a\":1,\"b\":[true,false,null]}"},
    {" { \"a\" :\t1 ,\n\"b\" : { } } ", "{\"a\":1,\"b\":{}}"},
    {"\"\\u003cp\\u003e\\u0026\\u2028\\/\"", "\"<p>&\xe2\x80\xa8/\""},
    {"\"\\u0000\\u001F\\b\\f\\n\\r\\t\\\"\\\\\"", "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\\""},
    {"\"\\ud83d\\uDE00 \\uD83D \\ude00\"", "\"\xf0\x9f\x98\x80 \\ud83d \\ude00\""},
    {"\"\xff\xe2\x82 \xed\xa0\x80\"",
     "\"\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"1.0", "1"},
    {"-0", "0"},
    {"-0.0", "0"},
    {"1e400", "null"},
    {"12345678901234567890", "12345678901234567000"},
    {"123456789012345", "123456789012345"},
    {"9007199254740993", "9007199254740992"},
    {"1.7777777777777777", "1.7777777777777777"},
    {"0.1", "0.1"},
    {"1e21", "1e+21"},
    {"1e20", "100000000000000000000"},
    {"0.000001", "0.000001"},
    {"1e-7", "1e-7"},
    {"1.25e-7", "1.25e-7"},
    {"-123.456E+2", "-12345.6"},
    {"5e-324", "5e-324"},
    {"1.5e-310", "1.5e-310"},
    {"2.2250738585072014e-308", "2.2250738585072014e-308"},
    {"0.1000", "0.1"},
    {"100.25", "100.25"},
    {"{\"b\":1,\"a\":2,\"b\":3}", "{\"b\":3,\"a\":2}"},
    {"{\"x\":0,\"10\":1,\"2\":{\"z\":1,\"1\":2},\"01\":4}",
     "{\"2\":{\"1\":2,\"z\":1},\"10\":1,\"x\":0,\"01\":4}"},
    {"{\"4294967295\":1,\"4294967294\":2}", "{\"4294967294\":2,\"4294967295\":1}"},
    {"{\"2\":1,\"a\":0,\"2\":5}", "{\"2\":5,\"a\":0}"},
    {"", NULL},
    {"{", NULL},
    {"[1,]", NULL},
    {"{\"a\":1,}", NULL},
    {"{a:1}", NULL},
    {"01", NULL},
    {"1.", NULL},
    {".5", NULL},
    {"+1", NULL},
    {"1 2", NULL},
    {"\"\n\"", NULL},
    {"\"\\x\"", NULL},
    {"\"\\u12\"", NULL},
    {"tru", NULL},
    {"nulll", NULL},
    {"\"open", NULL},
};

static void test_rewrites(void **state)
{
    (void)state;
    _cleanup_(js_clear) Js js = JS_INIT;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool ok = js_read(&js, str_of(rows[i].from));
        assert_int_equal(ok, rows[i].to != NULL);
        if (ok)
            assert_string_equal(js.out.p, rows[i].to);
    }
}

static void test_finds(void **state)
{
    (void)state;
    _cleanup_(js_clear) Js js = JS_INIT;
    _cleanup_(buf_clear) Buf text = BUF_INIT(1000);
    int64_t id = 0;

    assert_true(
        js_read(&js, STR_LIT("{\"9\":0,\"a\":{\"id\":\"123\",\"n\":[1,{\"t\":\"\\ud800x\\n\"},3]},"
                             "\"b\":\"\",\"1\":0}")));
    const JsNode *root = js.nodes.items, *a = js_get(&js, root, "a"), *n = js_get(&js, a, "n");
    assert_true(js_id(&js, js_get(&js, a, "id"), &id));
    assert_int_equal(id, 123);
    const JsNode *e = js_first(&js, n);
    e = js_after(&js, n, e);
    assert_true(js_string(&js, js_get(&js, e, "t"), &text));
    assert_string_equal(text.p, "\xef\xbf\xbdx\n");
    e = js_after(&js, n, e);
    assert_true(str_eq(js_text(&js, e), STR_LIT("3")));
    assert_null(js_after(&js, n, e));
    assert_null(js_get(&js, n, "a"));
    assert_null(js_get(&js, NULL, "a"));
    assert_false(js_truthy(&js, js_get(&js, root, "b")));
    assert_false(js_truthy(&js, js_get(&js, root, "9")));
    assert_true(js_truthy(&js, a));
    assert_false(js_id(&js, a, &id));
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    _cleanup_(js_clear) Js js = JS_INIT;
    _cleanup_(buf_clear) Buf deep = BUF_INIT(1 << 20);

    for (int i = 0; i < JS_DEPTH; i++)
        buf_char(&deep, '[');
    for (int i = 0; i < JS_DEPTH; i++)
        buf_char(&deep, ']');
    assert_true(js_read(&js, buf_as_str(&deep)));
    buf_truncate(&deep, 0);
    for (int i = 0; i < 200000; i++)
        buf_str(&deep, "[");
    assert_false(js_read(&js, buf_as_str(&deep)));
}

static void test_quotes(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);

    js_quote(&b, STR_LIT("a\"\\\n\x01\xc3\xbc\xff"));
    assert_string_equal(b.p, "\"a\\\"\\\\\\n\\u0001\xc3\xbc\xef\xbf\xbd\"");
    buf_truncate(&b, 0);
    js_quote_again(&b, STR_LIT("{\"a\":\"\\n\"}"));
    assert_string_equal(b.p, "\"{\\\"a\\\":\\\"\\\\n\\\"}\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewrites), cmocka_unit_test(test_finds),
        cmocka_unit_test(test_depth_is_bounded), cmocka_unit_test(test_quotes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
