#include "io/columns.h"

#include <setjmp.h>

#include <cmocka.h>

static void assert_printed(int width, const char *expected)
{
    static const char *const names[] = {"NAME", "STATE", "WORDS", NULL};
    static const char *const rows[][3] = {
        {"reef-web-0", "ACTIVE", "serving the web since yesterday"},
        {"\xc3\xa9t\xc3\xa9", NULL, "x"},
    };
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    Columns *c = columns_new(names);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        columns_row(c, rows[i]);
    columns_print(c, &out, width);
    assert_null(columns_free(c));
    assert_string_equal(out.p, expected);
}

static void test_widths(void **state)
{
    (void)state;
    assert_printed(0, "NAME       STATE  WORDS\n"
                      "reef-web-0 ACTIVE serving the web since yesterday\n"
                      "\xc3\xa9t\xc3\xa9               x\n");
    assert_printed(200, "NAME       STATE  WORDS\n"
                        "reef-web-0 ACTIVE serving the web since yesterday\n"
                        "\xc3\xa9t\xc3\xa9               x\n");
    assert_printed(30, "NAME       STATE  WORDS\n"
                       "reef-web-0 ACTIVE serving the \n"
                       "\xc3\xa9t\xc3\xa9               x\n");
    /* The second from the right gives way only when the last is down to its name. */
    assert_printed(22, "NAME       STATE WORDS\n"
                       "reef-web-0 ACTIV servi\n"
                       "\xc3\xa9t\xc3\xa9              x\n");
    assert_printed(5, "NAME STATE WORDS\n"
                      "reef ACTIV servi\n"
                      "\xc3\xa9t\xc3\xa9        x\n");
}

static void test_empty(void **state)
{
    (void)state;
    static const char *const names[] = {"A", "B", NULL};
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    Columns *c = columns_new(names);
    columns_print(c, &out, 80);
    columns_free(c);
    assert_true(out.len < 10);
    assert_null(columns_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
