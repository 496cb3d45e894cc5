#include "stream/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    const char *html, *text;
} pages[] = {
    {"plain", "plain"},
    {"<p>a</p><p>b<br>c<br />d</p>", "a\n\nb\nc\nd"},
    {"&lt;b&gt; &amp;amp; &nbsp;&#x41;&eacute;", "<b> &amp; \xc2\xa0"
                                                 "A\xc3\xa9"},
    {"x<!-- no -->y<template>z</template>", "xy"},
    {"<script>var a = 1</script><style>p{}</style>", "var a = 1p{}"},
    {"<a href=\"https://hidden.example\" title=\"t\">shown</a>", "shown"},
    {"<p>open <b>tags", "open tags"},
    {"a < b", "a < b"},
    {"", ""},
};

static void test_html(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(1000);
        text_of_html(str_of(pages[i].html), &b);
        assert_string_equal(b.p, pages[i].text);
    }
}

static void test_status(void **state)
{
    (void)state;
    _cleanup_(js_clear) Js js = JS_INIT;
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);

    assert_true(js_read(&js, STR_LIT("{\"spoiler_text\":\"w\",\"content\":\"<p>c</p>\",\"poll\":{"
                                     "\"options\":[{\"title\":\"o1\"},{\"title\":\"o2\"}]},"
                                     "\"media_attachments\":[{\"description\":null},{"
                                     "\"description\":\"d\"}]}")));
    text_of_status(&js, js.nodes.items, &b);
    assert_string_equal(b.p, "w\n\nc\n\no1\n\no2\n\n\n\nd");
}

/* One filter of one or two keywords (the second may be NULL) against a text. */
static const struct {
    const char *first, *second;
    bool whole;
    const char *text, *match; /* NULL: none */
} rows[] = {
    {"coral", NULL, true, "the Coral reef", "Coral"},
    {"coral", NULL, true, "corals", NULL},
    {"coral", NULL, false, "corals", "coral"},
    {"a.c", NULL, false, "abc a.C", "a.C"},
    {"reef", "the reef", false, "at the reef", "the reef"}, /* leftmost */
    {"re", "reef", false, "reef", "re"},                    /* the first alternative */
    {"reef", "re", false, "reef", "reef"},
    {"\xc3\xbcn\xc3\xaf", NULL, true, "x\xc3\xbcn\xc3\xaf", "\xc3\xbcn\xc3\xaf"}, /* \b is ASCII */
    {"#tag", NULL, true, "a#tag b", "#tag"},
    {"#tag", NULL, true, "#tags", NULL},
    {"\xc3\x9cn\xc3\xaf", NULL, false, "\xc3\xbcN\xc3\x8f", "\xc3\xbcN\xc3\x8f"},
    {"stra\xc3\x9f"
     "e",
     NULL, false, "STRASSE", NULL},
    {"\xe1\xba\x9e", NULL, false, "\xc3\x9f", NULL}, /* capital and small sharp s */
    {"k", NULL, false, "\xe2\x84\xaa", NULL},        /* the Kelvin sign is no k */
    {"\xf0\x9f\x98\x80", NULL, false, "a\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    {"x", NULL, false, "", NULL},
};

static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Filters f = {0};
        Haystack h = {0};
        _cleanup_(buf_clear) Buf out = BUF_INIT(1000), expected = BUF_INIT(1000);
        const char *const words[] = {rows[i].first, rows[i].second};
        for (size_t k = 0; k < ARRAY_LEN(words); k++)
            if (words[k])
                filters_add(&f, &(FilterRow){.id = 5,
                                             .phrase = STR_LIT("P"),
                                             .action = 2,
                                             .keyword = str_of(words[k]),
                                             .whole_word = rows[i].whole});
        haystack_set(&h, str_of(rows[i].text));
        filters_match(&f, &h, 0, &out);
        if (rows[i].match)
            buf_printf(&expected,
                       "[{\"filter\":{\"id\":\"5\",\"title\":\"P\",\"context\":[],\"expires_at\":"
                       "null},\"keyword_matches\":[\"%s\"],\"status_matches\":null}]",
                       rows[i].match);
        else
            buf_str(&expected, "[]");
        assert_string_equal(out.p, expected.p);
        filters_clear(&f);
        haystack_clear(&h);
    }
}

static void test_expiry_and_form(void **state)
{
    (void)state;
    Filters f = {0};
    Haystack h = {0};
    const Str contexts[] = {STR_LIT("home"), STR_LIT("public")};
    _cleanup_(buf_clear) Buf out = BUF_INIT(1000);

    filters_add(
        &f,
        &(FilterRow){.id = 1, .phrase = STR_LIT("old"), .expires = 1000, .keyword = STR_LIT("x")});
    filters_add(&f, &(FilterRow){.id = 2,
                                 .phrase = STR_LIT("a \"b\""),
                                 .contexts = contexts,
                                 .contexts_len = 2,
                                 .expires = 86400123,
                                 .action = 1,
                                 .keyword = STR_LIT("x")});
    haystack_set(&h, STR_LIT("x"));
    assert_true(filters_live(&f, 2000));
    filters_match(&f, &h, 2000, &out);
    assert_string_equal(
        out.p, "[{\"filter\":{\"id\":\"2\",\"title\":\"a \\\"b\\\"\",\"context\":[\"home\","
               "\"public\"],\"expires_at\":\"1970-01-02T00:00:00.123Z\",\"filter_action\":"
               "\"hide\"},\"keyword_matches\":[\"x\"],\"status_matches\":null}]");
    assert_false(filters_live(&f, 86400123));
    filters_clear(&f);
    haystack_clear(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_html), cmocka_unit_test(test_status),
                                       cmocka_unit_test(test_matches),
                                       cmocka_unit_test(test_expiry_and_form)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
