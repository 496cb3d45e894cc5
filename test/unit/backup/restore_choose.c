#include "backup/restore.h"
#include "wal_store.h"

static void targets_are_latest_times_or_places(void **state)
{
    Target t;
    (void)state;

    assert_true(target_parse("latest", &t) && t.kind == TARGET_LATEST);
    assert_true(target_parse("16/B374D848", &t) && t.kind == TARGET_LSN);
    assert_true(t.lsn == 0x16B374D848);
    assert_true(target_parse("2026-11-29T01:30:00Z", &t) && t.kind == TARGET_TIME);
    assert_true(target_parse("2026-11-29 01:30:00.25+01:00", &t) && t.kind == TARGET_TIME);
    assert_false(target_parse("yesterday", &t));
    assert_false(target_parse("", &t));
    assert_false(target_parse("16/", &t));
}

typedef struct BaseRow {
    const char *id;
    Timeline tli;
    Lsn start, stop;
    Msec written;
} BaseRow;

static void bases_rows(Bases *b, const BaseRow *rows)
{
    for (size_t i = 0; rows[i].id; i++) {
        Base one = {.name = xasprintf("host/base/%s-x", rows[i].id),
                    .tli = rows[i].tli,
                    .start = rows[i].start,
                    .stop = rows[i].stop,
                    .written = rows[i].written};
        snprintf(one.id, sizeof one.id, "%s", rows[i].id);
        vec_push(b, one);
    }
}

/* Three backups; timeline 2 left 1 at 50. Pieces were stored at the time of their end. */
static const BaseRow bases_table[] = {
    {"a", 1, 2, 4, 10}, {"b", 1, 20, 24, 30}, {"c", 2, 60, 64, 70}, {0}};
#define WHOLE                                                                                      \
    {                                                                                              \
        {1, 0, 30, .written = 30}, {1, 30, 55, .written = 55}, {2, 50, 90, .written = 90},         \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define TIME(t)                                                                                    \
    {                                                                                              \
        .kind = TARGET_TIME, .time = (t)                                                           \
    }
#define AT(l)                                                                                      \
    {                                                                                              \
        .kind = TARGET_LSN, .lsn = (l)                                                             \
    }

static void the_newest_backup_that_leads_there_is_chosen(void **state)
{
    static const struct {
        ChoiceAsk ask;
        PieceRow pieces[5];
        const char *want; /* "ID TLI end beyond out", or "" */
    } rows[] = {
        {{.target = {0}}, WHOLE, "c 2 90 0 0"},
        {{.target = AT(70)}, WHOLE, "c 2 90 0 0"},
        {{.target = AT(64)}, WHOLE, "c 2 90 0 0"},
        {{.target = AT(63)}, WHOLE, "b 2 90 0 0"},
        {{.target = AT(23)}, WHOLE, "a 2 90 0 0"},
        {{.target = AT(3)}, WHOLE, ""},
        {{.target = AT(91)}, WHOLE, ""},
        {{.target = TIME(69)}, WHOLE, "b 2 90 0 0"},
        {{.target = TIME(70)}, WHOLE, "c 2 90 0 0"},
        {{.target = TIME(9)}, WHOLE, ""},
        {{.target = TIME(91)}, WHOLE, ""},
        /* By name, and on a timeline that is not the newest. */
        {{.base = "a"}, WHOLE, "a 2 90 0 0"},
        {{.base = "host/base/b-x"}, WHOLE, "b 2 90 0 0"},
        {{.base = "d"}, WHOLE, ""},
        {{.base = "c", .tli = 1}, WHOLE, ""},
        {{.tli = 1}, WHOLE, "b 1 55 0 0"},
        {{.tli = 9}, WHOLE, ""},
        /* A hole behind the newest backup; one within its own log; nothing at all. */
        {{.target = {0}},
         {{1, 0, 55}, {2, 50, 70, .written = 80}, {2, 71, 90, .written = 90}, {0}},
         "c 2 70 71 0"},
        {{.target = TIME(85)},
         {{1, 0, 55}, {2, 50, 70, .written = 80}, {2, 71, 90, .written = 90}, {0}},
         ""},
        {{.target = {0}}, {{1, 0, 55}, {2, 50, 62}, {2, 63, 90}, {0}}, "b 2 62 63 0"},
        {{.target = {0}}, {{1, 0, 3}, {0}}, ""},
        {{.target = {0}}, {{0}}, ""},
        /* Timeline 3 has log, and no history that leads to it. */
        {{.target = {0}}, {{1, 0, 55}, {2, 50, 90}, {3, 80, 99}, {0}}, "c 2 90 0 3"},
    };
    _cleanup_(wal_histories_clear) WalHistories h = {0};
    _cleanup_(bases_clear) Bases bases = {0};
    (void)state;

    history_row(&h, 2, "1\t0/32\tx\n");
    bases_rows(&bases, bases_table);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(catalogue_clear) Catalogue c = {0};
        _cleanup_(err_clear) Err err = {0};
        Choice choice = {0};
        char got[100] = "";
        catalogue_rows(&c, rows[i].pieces);
        int r = base_choose(&bases, &c, &h, &rows[i].ask, &choice, &err);
        if (r == 0)
            snprintf(got, sizeof got, "%s %u %llu %llu %u", choice.base->id, choice.tli,
                     (unsigned long long)choice.end.end, (unsigned long long)choice.end.beyond,
                     choice.out);
        assert_string_equal(got, rows[i].want);
        assert_int_equal(r, *rows[i].want ? 0 : -ERR_NOT_FOUND);
        assert_true(r == 0 || err.hint);
    }
}

/* Who asks for too much is told what there is. */
static void what_can_be_had_is_told(void **state)
{
    _cleanup_(catalogue_clear) Catalogue c = {0};
    _cleanup_(wal_histories_clear) WalHistories h = {0};
    _cleanup_(bases_clear) Bases bases = {0};
    _cleanup_(err_clear) Err err = {0};
    static const PieceRow pieces[] = {
        {1, 0, 40, .written = 5 * MINUTE}, {1, 45, 90, .written = 9 * MINUTE}, {0}};
    static const BaseRow rows[] = {
        {"a", 1, 2, 4, MINUTE}, {"b", 1, 20, 24, 2 * MINUTE}, {"c", 1, 60, 64, 8 * MINUTE}, {0}};
    Choice choice;
    (void)state;

    catalogue_rows(&c, pieces);
    bases_rows(&bases, rows);
    ChoiceAsk ask = {.target = TIME(6 * MINUTE)};
    assert_int_equal(base_choose(&bases, &c, &h, &ask, &choice, &err), -ERR_NOT_FOUND);
    assert_string_equal(err.text, "no backup leads to 1970-01-01T00:06:00Z");
    assert_string_equal(err.hint, "what can be had: 1970-01-01T00:01:00Z to 1970-01-01T00:05:00Z "
                                  "(0/4 to 0/28); 1970-01-01T00:08:00Z to 1970-01-01T00:09:00Z "
                                  "(0/40 to 0/5A); --at latest is the end of what is stored");
}

/* What a thief of the host's key can write: a segment of no length would be divided by. */
static void a_manifest_that_can_not_be_is_no_backup(void **state)
{
    static const int64_t segments[] = {0, 1, 3 << 20, INT64_C(1) << 31, -1, 16 << 20};
    WalStore w;
    Bases bases = {0};
    _cleanup_(strlist_clear) StrList bad = {0};
    (void)state;

    wal_store_make(&w);
    for (size_t i = 0; i < ARRAY_LEN(segments); i++) {
        _cleanup_(buf_clear) Buf object = BUF_INIT(OBJECT_MAX);
        char hash[OBJECT_HASH_MAX];
        _cleanup_free_ char *id = xasprintf("20261129T013000Z-%016zu", i);
        json_t *facts =
            json_make_new("{s:s, s:i, s:s, s:s, s:I}", "id", id, "tli", 1, "start", "0/1000000",
                          "stop", "0/2000000", "segment", (json_int_t)segments[i]);
        assert_int_equal(
            object_seal(&w.seal, OBJECT_BASE, STR_LIT("list"), facts, &object, hash, NULL), 0);
        char *name = name_base_new(id, hash);
        assert_int_equal(store_put(w.store, name, buf_as_str(&object), STORE_ANY, NULL), 0);
        vec_push(&w.catalogue.objects, (Seen){.name = name, .note = 1});
    }
    catalogue_sort(&w.catalogue);
    assert_int_equal(bases_load(w.store, &w.catalogue, &bases, &bad, NULL), 0);
    assert_int_equal(bases.len, 1);
    assert_int_equal(bad.len, ARRAY_LEN(segments) - 1);
    bases_clear(&bases);
    wal_store_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_latest_times_or_places),
        cmocka_unit_test(the_newest_backup_that_leads_there_is_chosen),
        cmocka_unit_test(what_can_be_had_is_told),
        cmocka_unit_test(a_manifest_that_can_not_be_is_no_backup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
