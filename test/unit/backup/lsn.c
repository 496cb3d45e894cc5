#include "backup/lsn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_texts(void **state)
{
    static const struct {
        const char *text;
        Lsn lsn;
        const char *back; /* NULL: refused */
    } rows[] = {
        {"0/0", 0, "0/0"},
        {"16/B374D848", 0x16b374d848, "16/B374D848"},
        {"16/b374d848", 0x16b374d848, "16/B374D848"},
        {"FFFFFFFF/FFFFFFFF", UINT64_MAX, "FFFFFFFF/FFFFFFFF"},
        {"", 0, NULL},
        {"16", 0, NULL},
        {"16/", 0, NULL},
        {"/1", 0, NULL},
        {"1/2/3", 0, NULL},
        {"123456789/1", 0, NULL},
        {"1/123456789", 0, NULL},
        {"1/ 2", 0, NULL},
    };
    char out[LSN_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Lsn l = 42;
        assert_int_equal(lsn_parse(rows[i].text, &l), rows[i].back != NULL);
        assert_true(l == (rows[i].back ? rows[i].lsn : 42));
        if (rows[i].back)
            assert_string_equal(lsn_format(l, out), rows[i].back);
    }
}

static void test_segments(void **state)
{
    static const struct {
        Timeline tli;
        Lsn at;
        uint32_t bytes;
        const char *name;
        Lsn start;
    } rows[] = {
        {1, 0x1000028, 16 << 20, "000000010000000000000001", 0x1000000},
        {2, 0x1ffffffff, 16 << 20, "0000000200000001000000FF", 0x1ff000000},
        {1, 0x140000000, 1 << 30, "000000010000000100000001", 0x140000000},
        {255, 0x100000, 1 << 20, "000000FF0000000000000001", 0x100000},
    };
    char out[SEGMENT_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Timeline tli;
        Lsn start;
        assert_string_equal(segment_format(rows[i].tli, rows[i].at, rows[i].bytes, out),
                            rows[i].name);
        assert_true(segment_parse(rows[i].name, rows[i].bytes, &tli, &start));
        assert_int_equal(tli, rows[i].tli);
        assert_true(start == rows[i].start);
    }
    Timeline tli;
    Lsn start;
    /* A segment of 1 GiB has only four in each 4 GiB. */
    assert_false(segment_parse("000000010000000000000004", 1 << 30, &tli, &start));
    assert_false(segment_parse("00000001000000000000001", 16 << 20, &tli, &start));
    assert_false(segment_parse("000000010000000000000001.partial", 16 << 20, &tli, &start));
    assert_true(history_parse("0000000A.history", &tli));
    assert_int_equal(tli, 10);
    assert_false(history_parse("0000000A.histor", &tli));
    assert_false(history_parse("A.history", &tli));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
