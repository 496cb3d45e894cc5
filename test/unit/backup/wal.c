#include "wal_rows.h"

/* Overlaps, holes, timelines, and what counts as there. */
static void ranges_are_stretches_without_a_hole(void **state)
{
    static const struct {
        PieceRow pieces[6];
        const char *want;
    } rows[] = {
        {{{0}}, ""},
        {{{1, 0, 10, .written = 5}, {1, 10, 20, .written = 7}}, "1:0-20@5-7"},
        /* One within another, one that overlaps, in any order. */
        {{{1, 8, 30, .written = 3}, {1, 0, 20, .written = 9}, {1, 2, 5, .written = 4}},
         "1:0-30@3-9"},
        {{{1, 0, 10}, {1, 11, 20}}, "1:0-10@0-0 1:11-20@0-0"},
        {{{1, 0, 10}, {2, 10, 20}, {1, 10, 15}}, "1:0-15@0-0 2:10-20@0-0"},
        /* Pruned is not there; gone without a note was never said to be there; gone with one is
         * somebody's deed, and counts. */
        {{{1, 0, 10, 1}, {1, 10, 20, 1, 2}, {1, 20, 30, 1}}, "1:0-10@0-0 1:20-30@0-0"},
        {{{1, 0, 10, 1}, {1, 10, 20, .gone = true}}, "1:0-10@0-0"},
        {{{1, 0, 10, 1}, {1, 10, 20, 1, .gone = true}}, "1:0-20@0-0"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(catalogue_clear) Catalogue c = {0};
        catalogue_rows(&c, rows[i].pieces);
        _cleanup_free_ char *got = ranges_text(&c);
        assert_string_equal(got, rows[i].want);
    }
}

/* The pieces of a merged segment count while the segment is there, under their own names. */
static void merged_pieces_are_in_their_segment(void **state)
{
    _cleanup_(catalogue_clear) Catalogue c = {0};
    static const PieceRow rows[] = {
        {1, 0, 10, 1, 9, .written = 5}, {1, 10, 20, 1, 9, .written = 6}, {1, 20, 30, 1}, {0}};
    const char *segment = "segment/00000001/000000010000000000000000-0";
    (void)state;

    catalogue_rows(&c, rows);
    json_t *body = json_make_new("{s:s,s:[s,s]}", "segment", segment, "from",
                                 c.objects.items[0].name, c.objects.items[1].name);
    vec_push(&c.notes, (Note){.number = 3, .kind = xstrdup("merged"), .body = body});
    _cleanup_free_ char *without = ranges_text(&c);
    assert_string_equal(without, "1:20-30@0-0");
    vec_push(&c.objects, (Seen){.name = xstrdup(segment), .note = 3, .written = 100});
    catalogue_sort(&c);
    _cleanup_free_ char *with = ranges_text(&c);
    assert_string_equal(with, "1:0-30@0-6");
    WalPieces pieces = {0};
    wal_pieces(&c, &pieces);
    assert_int_equal(pieces.len, 3);
    assert_string_equal(pieces.items[1].name, segment);
    assert_int_equal(name_parse(pieces.items[1].part).start, 10);
    vec_clear(&pieces);
}

static void histories_are_read_with_care(void **state)
{
    static const struct {
        Timeline tli;
        const char *text;
        int want; /* parents; 0: an error */
    } rows[] = {
        {2, "1\t0/3000110\tno recovery target specified\n", 1},
        {3, "# a comment\n\n1\t0/3000110\tx\n2\t1/0\tbefore 2026-11-29 00:00:00+00\n", 2},
        {2, "", 0},
        {2, "1\n", 0},
        {2, "1\tnowhere\tx\n", 0},
        {2, "2\t0/30\tits own parent\n", 0},
        {4, "2\t0/30\tx\n1\t0/40\tbackwards\n", 0},
        {4, "1\t0/40\tx\n2\t0/30\tbackwards\n", 0},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        WalHistory h = {0};
        int r = wal_history_parse(rows[i].tli, str_of(rows[i].text), &h, &err);
        assert_int_equal(r, rows[i].want ? 0 : -ERR_CORRUPT);
        assert_int_equal(h.parents.len, rows[i].want);
        vec_clear(&h.parents);
    }
}

/* Timeline 2 left 1 at 50, timeline 3 left 2 at 80. */
static void the_log_is_followed_over_promotions(void **state)
{
    static const struct {
        PieceRow pieces[6];
        Timeline tli, from_tli;
        Lsn from;
        const char *want; /* "TLI:END last beyond", or "" */
    } rows[] = {
        {{{1, 0, 40, .written = 7}}, 1, 1, 10, "1:40 7 0"},
        {{{1, 0, 40}}, 1, 1, 40, "1:40 0 0"},
        {{{1, 0, 40}}, 1, 1, 41, ""},
        {{{1, 5, 40}}, 1, 1, 4, ""},
        {{{1, 0, 40}, {1, 45, 60}}, 1, 1, 0, "1:40 0 45"},
        /* Over one promotion and two; what the old primary wrote behind it does not count. */
        {{{1, 0, 60}, {2, 50, 70, .written = 9}}, 2, 1, 0, "2:70 9 0"},
        {{{1, 0, 60}, {2, 48, 90}, {3, 80, 95}}, 3, 1, 0, "3:95 0 0"},
        {{{1, 0, 60}, {2, 48, 90}, {3, 80, 95}}, 3, 2, 60, "3:95 0 0"},
        {{{1, 0, 60}, {2, 48, 90}, {3, 80, 95}}, 2, 1, 0, "2:90 0 0"},
        /* A backup behind the switch is of another history. */
        {{{1, 0, 60}, {2, 50, 70}}, 2, 1, 55, ""},
        {{{1, 0, 60}, {2, 50, 70}}, 1, 1, 55, "1:60 0 0"},
        /* Nothing of the new timeline yet, or not its beginning. */
        {{{1, 0, 60}}, 2, 1, 0, "1:50 0 0"},
        {{{1, 0, 60}, {2, 55, 70}}, 2, 1, 0, "1:50 0 55"},
        {{{1, 0, 45}, {2, 50, 70}}, 2, 1, 0, "1:45 0 50"},
        /* No history says that 7 has anything to do with 1. */
        {{{1, 0, 60}, {7, 50, 70}}, 7, 1, 0, ""},
    };
    _cleanup_(wal_histories_clear) WalHistories h = {0};
    (void)state;

    history_row(&h, 2, "1\t0/32\tx\n");
    history_row(&h, 3, "1\t0/32\tx\n2\t0/50\tx\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(catalogue_clear) Catalogue c = {0};
        WalRanges ranges = {0};
        WalReach reach;
        char got[80] = "";
        catalogue_rows(&c, rows[i].pieces);
        wal_ranges(&c, &ranges);
        if (wal_reach(&ranges, &h, rows[i].tli, rows[i].from_tli, rows[i].from, &reach))
            snprintf(got, sizeof got, "%u:%llu %lld %llu", reach.tli, (unsigned long long)reach.end,
                     (long long)reach.last, (unsigned long long)reach.beyond);
        assert_string_equal(got, rows[i].want);
        vec_clear(&ranges);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_stretches_without_a_hole),
        cmocka_unit_test(merged_pieces_are_in_their_segment),
        cmocka_unit_test(histories_are_read_with_care),
        cmocka_unit_test(the_log_is_followed_over_promotions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
