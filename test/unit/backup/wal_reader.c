#include "backup/store_driver.h"
#include "wal_store.h"

#include <stdio.h>

/* Segment `number` of a timeline; what it has must be `history`'s log from..to (within it), and
 * zeros around it. */
static void assert_segment(WalReader *w, Timeline tli, unsigned number, unsigned history, Lsn from,
                           Lsn to)
{
    char name[SEGMENT_NAME_MAX];
    _cleanup_(buf_clear) Buf got = BUF_INIT(SEGMENT), want = BUF_INIT(SEGMENT * 2);
    _cleanup_(err_clear) Err err = {0};
    Lsn start = (Lsn)number * SEGMENT;

    int r = wal_reader_get(w, segment_format(tli, start, SEGMENT, name), &got, &err);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", name, err.text);
    assert_int_equal(r, 0);
    assert_int_equal(got.len, SEGMENT);
    for (Lsn at = start; at < from; at++)
        buf_char(&want, 0);
    log_bytes(history, from, to, &want);
    while (want.len < SEGMENT)
        buf_char(&want, 0);
    assert_memory_equal(got.p, want.p, SEGMENT);
}

static int get(WalReader *w, const char *name, Err *err)
{
    _cleanup_(buf_clear) Buf got = BUF_INIT(SEGMENT);

    return wal_reader_get(w, name, &got, err);
}

static void segments_are_made_of_pieces(void **state)
{
    WalStore w;
    (void)state;

    wal_store_make(&w);
    /* Pieces of three sizes over twelve segments, overlapping, the last one short. */
    for (Lsn at = 100; at < 12 * SEGMENT; at += SEGMENT / 3)
        (void)add_piece_as(&w, 1, at, MIN(at + SEGMENT / 2, (Lsn)12 * SEGMENT - 7), 0, at % 2);
    WalReader *r = reader_of(&w, NULL, 1);
    assert_segment(r, 1, 0, 0, 100, SEGMENT);
    for (unsigned i = 1; i < 11; i++)
        assert_segment(r, 1, i, 0, (Lsn)i * SEGMENT, (Lsn)(i + 1) * SEGMENT);
    assert_segment(r, 1, 11, 0, (Lsn)11 * SEGMENT, (Lsn)12 * SEGMENT - 7);
    /* Back, ahead and over a stretch: no order is demanded. */
    assert_segment(r, 1, 2, 0, (Lsn)2 * SEGMENT, (Lsn)3 * SEGMENT);
    assert_segment(r, 1, 5, 0, (Lsn)5 * SEGMENT, (Lsn)6 * SEGMENT);
    assert_segment(r, 1, 2, 0, (Lsn)2 * SEGMENT, (Lsn)3 * SEGMENT);
    assert_int_equal(get(r, "00000001000000000000000C", NULL), -ERR_NOT_FOUND);
    assert_int_equal(get(r, "000000020000000000000001", NULL), -ERR_NOT_FOUND);
    assert_int_equal(get(r, "00000002.history", NULL), -ERR_NOT_FOUND);
    assert_int_equal(get(r, "00000001000000000000000", NULL), -ERR_USAGE);
    assert_int_equal(get(r, "../../etc/passwd", NULL), -ERR_USAGE);
    (void)wal_reader_free(r);
    wal_store_free(&w);
}

/* Whatever happens to a piece that the catalogue knows: never the end of the log. */
static void a_piece_that_is_gone_is_no_end(void **state)
{
    static const char *const hows[] = {"removed", "flipped", "cut", "swapped", "unreadable"};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(hows); i++) {
        WalStore w;
        _cleanup_(err_clear) Err err = {0};
        _cleanup_(buf_clear) Buf body = BUF_INIT(OBJECT_MAX);
        wal_store_make(&w);
        (void)add_piece_as(&w, 1, 0, SEGMENT, 0, 1);
        const char *name = add_piece_as(&w, 1, SEGMENT, SEGMENT + 5000, 0, i % 2);
        _cleanup_free_ char *path = path_join(w.folder, name);
        _cleanup_free_ char *first = path_join(w.folder, w.catalogue.objects.items[0].name);
        assert_int_equal(file_read(i == 3 ? first : path, &body, NULL), 0);
        assert_int_equal(unlink(path), 0);
        if (i == 1)
            body.p[body.len / 2] ^= 1;
        if (i == 2)
            buf_truncate(&body, body.len / 2);
        if (i == 4)
            assert_int_equal(file_mkdirs(path, 0700, NULL), 0);
        if (i > 0 && i < 4)
            assert_int_equal(file_write(path, buf_as_str(&body), 0600, NULL), 0);
        WalReader *r = reader_of(&w, NULL, 1);
        /* What was fetched ahead and failed is no fault of the segment before. */
        assert_segment(r, 1, 0, 0, 0, SEGMENT);
        int got = get(r, "000000010000000000000001", &err);
        assert_true(got < 0 && got != -ERR_NOT_FOUND);
        (void)wal_reader_free(r);
        wal_store_free(&w);
    }
}

/* The other history differs in the overlap. */
static void of_two_histories_the_first_countersigned_counts(void **state)
{
    static const struct {
        int64_t notes[2]; /* of history 0's piece, and of history 1's */
        int want;         /* whose bytes; -1: neither is used */
    } rows[] = {{{1, 0}, 0}, {{0, 1}, 1}, {{0, 0}, -1}, {{1, 1}, -1}, {{1, 2}, 0}, {{3, 2}, 1}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        WalStore w;
        wal_store_make(&w);
        (void)add_piece_as(&w, 1, 0, 6000, 0, rows[i].notes[0]);
        (void)add_piece_as(&w, 1, 3000, 9000, 1, rows[i].notes[1]);
        WalReader *r = reader_of(&w, NULL, 1);
        if (rows[i].want == 0)
            assert_segment(r, 1, 0, 0, 0, 6000);
        else if (rows[i].want == 1)
            assert_segment(r, 1, 0, 1, 3000, 9000);
        else
            assert_int_equal(get(r, "000000010000000000000000", NULL), -ERR_CORRUPT);
        assert_int_equal(wal_reader_forks(r)->len, rows[i].want < 0 ? 0 : 1);
        (void)wal_reader_free(r);
        wal_store_free(&w);
    }
}

/* Whoever can put, and has no key, puts rubbish where old log lies; or beyond it. */
static void rubbish_takes_nothing_away(void **state)
{
    static const struct {
        Lsn start, end;
        int64_t note;
        bool good;
    } rows[] = {{0, 500, 2, true},      {2500, 7500, 2, true},  {2500, 7500, 0, true},
                {2500, 7500, 1, false}, {2500, 9001, 2, false}, {9000, 9001, 2, false}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        WalStore w;
        char *name =
            name_wal_new(1, rows[i].start, rows[i].end, "0123456789abcdef0123456789abcdef");
        wal_store_make(&w);
        (void)add_piece_as(&w, 1, 0, 3000, 0, 1);
        (void)add_piece_as(&w, 1, 6000, 9000, 0, 1);
        (void)add_piece_as(&w, 1, 3000, 6000, 0, 1);
        assert_int_equal(store_put(w.store, name, STR_LIT("rubbish"), STORE_ANY, NULL), 0);
        vec_push(&w.catalogue.objects, (Seen){.name = name, .note = rows[i].note});
        catalogue_sort(&w.catalogue);
        WalReader *r = reader_of(&w, NULL, 1);
        if (rows[i].good)
            assert_segment(r, 1, 0, 0, 0, 9000);
        else
            assert_int_equal(get(r, "000000010000000000000000", NULL), -ERR_CORRUPT);
        assert_int_equal(wal_reader_forks(r)->len, rows[i].good ? 1 : 0);
        (void)wal_reader_free(r);
        wal_store_free(&w);
    }
}

/* Its MD5 is the one that the store told from the start: then it never was a piece. */
static void rubbish_from_the_start_is_absent(void **state)
{
    static const struct {
        const char *now;
        bool absent;
    } rows[] = {{"rubbish", true}, {"damaged", false}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        WalStore w;
        _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);
        char *name = name_wal_new(1, 2500, SEGMENT + 9, "0123456789abcdef0123456789abcdef");
        wal_store_make(&w);
        (void)add_piece_as(&w, 1, 0, 3000, 0, 1);
        assert_int_equal(store_put(w.store, name, str_of(rows[i].now), STORE_ANY, NULL), 0);
        crypt_hash(CRYPT_MD5, STR_LIT("rubbish"), &md5);
        vec_push(&w.catalogue.objects, (Seen){.name = name, .note = 1, .etag = xstrdup(md5.p)});
        catalogue_sort(&w.catalogue);
        WalReader *r = reader_of(&w, NULL, 1);
        /* Who asked believed that the log goes on: nothing is given silently. */
        assert_int_equal(get(r, "000000010000000000000000", NULL), -ERR_CORRUPT);
        assert_int_equal(wal_reader_rubbish(r)->len, rows[i].absent ? 1 : 0);
        if (rows[i].absent)
            assert_string_equal(wal_reader_rubbish(r)->items[0], name);
        (void)wal_reader_free(r);
        w.catalogue.settled = w.catalogue.objects.len;
        if (rows[i].absent) {
            assert_true(catalogue_disown(&w.catalogue, name));
            assert_false(catalogue_disown(&w.catalogue, name));
            r = reader_of(&w, NULL, 1);
            assert_segment(r, 1, 0, 0, 0, 3000);
            assert_int_equal(get(r, "000000010000000000000001", NULL), -ERR_NOT_FOUND);
            (void)wal_reader_free(r);
        }
        /* Where a real piece has the stretch, nothing rests on it. */
        w.catalogue.objects.items[name == w.catalogue.objects.items[1].name].rubbish = false;
        (void)add_piece_as(&w, 1, 3000, SEGMENT + 9, 0, 2);
        r = reader_of(&w, NULL, 1);
        if (rows[i].absent)
            assert_segment(r, 1, 0, 0, 0, SEGMENT);
        else
            assert_int_equal(get(r, "000000010000000000000000", NULL), -ERR_CORRUPT);
        assert_int_equal(wal_reader_forks(r)->len, rows[i].absent ? 1 : 0);
        (void)wal_reader_free(r);
        wal_store_free(&w);
    }
}

/* Timeline 2 left 1 in the middle of segment 1, where timeline 1 went on otherwise. */
static void a_timeline_begins_with_its_parents_log(void **state)
{
    Lsn at = SEGMENT + 70000;
    char lsn[LSN_TEXT_MAX];
    WalStore w;
    _cleanup_(wal_histories_clear) WalHistories h = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    (void)state;

    wal_store_make(&w);
    _cleanup_free_ char *history = xasprintf("1\t%s\tno reason\n", lsn_format(at, lsn));
    add_history(&w, 2, history);
    (void)add_piece_as(&w, 1, 0, at, 0, 1);
    (void)add_piece_as(&w, 1, at, 2 * SEGMENT + 300, 1, 1);
    /* Wholly behind the switch, in its segment. */
    (void)add_piece_as(&w, 1, at + 500, at + 900, 1, 1);
    (void)add_piece_as(&w, 2, at, 3 * SEGMENT, 0, 1);
    _cleanup_(strlist_clear) StrList bad = {0};
    assert_int_equal(wal_histories_load(w.store, &w.catalogue, &w.reader, &h, &bad, NULL), 0);
    assert_int_equal(h.len, 1);
    assert_true(wal_counts(&h, 2, 1) == at);
    WalReader *r = reader_of(&w, &h, 2);
    assert_int_equal(wal_reader_get(r, "00000002.history", &text, NULL), 0);
    assert_string_equal(text.p, history);
    assert_segment(r, 1, 0, 0, 0, SEGMENT);
    assert_segment(r, 2, 1, 0, SEGMENT, 2 * SEGMENT);
    assert_segment(r, 2, 2, 0, 2 * SEGMENT, 3 * SEGMENT);
    /* Nothing of the old timeline behind the switch. */
    assert_segment(r, 1, 1, 0, SEGMENT, at);
    assert_int_equal(get(r, "000000010000000000000002", NULL), -ERR_NOT_FOUND);
    assert_int_equal(get(r, "000000020000000000000000", NULL), -ERR_NOT_FOUND);
    (void)wal_reader_free(r);
    wal_store_free(&w);
}

/* A thief's histories of a timeline that is there already: his own, and rubbish. */
static void the_first_history_of_a_timeline_counts(void **state)
{
    static const struct {
        int64_t notes[3]; /* of the two that differ, and of rubbish */
        Lsn want;         /* 0: it can't be told */
    } rows[] = {{{1, 2, 3}, 0x100}, {{3, 2, 4}, 0x200}, {{1, 0, 2}, 0x100}, {{0, 2, 0}, 0x200},
                {{1, 1, 2}, 0},     {{2, 3, 1}, 0},     {{2, 3, 2}, 0}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        WalStore w;
        WalHistories h = {0};
        _cleanup_(err_clear) Err err = {0};
        char *rubbish = name_history_new(2, "0123456789abcdef0123456789abcdef");
        wal_store_make(&w);
        assert_int_equal(store_put(w.store, rubbish, STR_LIT("rubbish"), STORE_ANY, NULL), 0);
        vec_push(&w.catalogue.objects, (Seen){.name = rubbish, .note = rows[i].notes[2]});
        add_history_as(&w, 2, "1\t0/100\tno reason\n", rows[i].notes[0]);
        add_history_as(&w, 2, "1\t0/200\tno reason\n", rows[i].notes[1]);
        _cleanup_(strlist_clear) StrList bad = {0};
        assert_int_equal(wal_histories_load(w.store, &w.catalogue, &w.reader, &h, &bad, &err), 0);
        assert_int_equal(bad.len, rows[i].want ? 0 : 1);
        assert_true(wal_counts(&h, 2, 1) == rows[i].want);
        wal_histories_clear(&h);
        wal_store_free(&w);
    }
}

/* Pieces in a merged segment, of which one is still there by itself. */
static void merged_segments_are_parted_again(void **state)
{
    WalStore w;
    const char *segment = "segment/00000001/000000010000000000000000-0";
    _cleanup_(buf_clear) Buf all = BUF_INIT(OBJECT_MAX);
    json_t *from = json_array();
    Buf made[4];
    (void)state;

    wal_store_make(&w);
    for (Lsn at = 0; at < SEGMENT; at += SEGMENT / 4) {
        char *name;
        Buf object = piece_of(&w, 1, at, at + SEGMENT / 4, 0, &name);
        buf_add(&all, object.p, object.len);
        made[at / (SEGMENT / 4)] = object;
        BUG_IF(json_array_append_new(from, json_string(name)) < 0);
        vec_push(&w.catalogue.objects, (Seen){.name = name, .note = 1, .pruned = 5});
    }
    assert_int_equal(store_put(w.store, segment, buf_as_str(&all), STORE_ANY, NULL), 0);
    vec_push(&w.catalogue.objects, (Seen){.name = xstrdup(segment), .note = 4});
    catalogue_sort(&w.catalogue);
    vec_push(&w.catalogue.notes,
             (Note){.number = 4,
                    .kind = xstrdup("merged"),
                    .body = json_make_new("{s:s, s:o}", "segment", segment, "from", from)});
    WalReader *r = reader_of(&w, NULL, 1);
    assert_segment(r, 1, 0, 0, 0, SEGMENT);
    (void)wal_reader_free(r);
    /* Cut short, it is read from the pieces, which are hidden or not yet removed. */
    buf_truncate(&all, all.len / 2);
    assert_int_equal(store_put(w.store, segment, buf_as_str(&all), STORE_ANY, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        const char *name = w.catalogue.objects.items[i].name;
        assert_true(name_parse(name).start == i * (SEGMENT / 4));
        if (i > 0) /* the half has that one */
            assert_int_equal(store_put(w.store, name, buf_as_str(&made[i]), STORE_ANY, NULL), 0);
    }
    r = reader_of(&w, NULL, 1);
    assert_segment(r, 1, 0, 0, 0, SEGMENT);
    assert_int_equal(wal_reader_forks(r)->len, 1);
    (void)wal_reader_free(r);
    /* Without one of them it is no end of the log. */
    _cleanup_free_ char *last = path_join(w.folder, w.catalogue.objects.items[3].name);
    assert_int_equal(unlink(last), 0);
    r = reader_of(&w, NULL, 1);
    assert_int_equal(get(r, "000000010000000000000000", NULL), -ERR_CORRUPT);
    (void)wal_reader_free(r);
    for (size_t i = 0; i < 4; i++)
        buf_clear(&made[i]);
    wal_store_free(&w);
}

/* A store of one segment that was written over: a plain get gives what was written last. */
typedef struct Twice {
    Store store;
    const char *name;
    Str first;
} Twice;

static int twice_get(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
                     Buf *ret, Err *err)
{
    const Twice *t = (const Twice *)(const void *)s;
    (void)offset;
    (void)size;

    if (!streq(name, t->name))
        return err_set(err, ERR_NOT_FOUND, "not there");
    Str all = streq(version, "1") ? t->first : STR_LIT("rubbish");
    buf_add(ret, all.p, all.n);
    return 0;
}

static int twice_list(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err)
{
    const Twice *t = (const Twice *)(const void *)s;
    (void)versions;
    (void)err;

    if (!starts_with(t->name, prefix))
        return 0;
    for (int i = 1; i <= 2; i++)
        vec_push(ret, (StoreItem){.name = xstrdup(t->name),
                                  .version = xasprintf("%d", i),
                                  .written = i,
                                  .newest = i == 2});
    return 0;
}

static Store *twice_clone(const Store *s)
{
    Twice *t = NEW(Twice);

    *t = *(const Twice *)(const void *)s;
    store_init_clone(&t->store, s);
    return &t->store;
}

static void twice_free(Store *s)
{
    (void)s;
}

static void a_merged_segment_that_was_written_over_is_read_as_it_was(void **state)
{
    static const StoreDriver driver = {
        .get = twice_get, .list = twice_list, .clone = twice_clone, .free = twice_free};
    const char *segment = "segment/00000001/000000010000000000000000-0";
    _cleanup_(buf_clear) Buf all = BUF_INIT(OBJECT_MAX);
    Twice *t = NEW(Twice);
    json_t *from = json_array();
    WalStore w;
    (void)state;

    wal_store_make(&w);
    for (Lsn at = 0; at < SEGMENT; at += SEGMENT / 2) {
        char *name;
        _cleanup_(buf_clear) Buf object = piece_of(&w, 1, at, at + SEGMENT / 2, 0, &name);
        buf_add(&all, object.p, object.len);
        BUG_IF(json_array_append_new(from, json_string(name)) < 0);
        vec_push(&w.catalogue.objects, (Seen){.name = name, .note = 1, .pruned = 5});
    }
    vec_push(&w.catalogue.objects, (Seen){.name = xstrdup(segment), .note = 4});
    catalogue_sort(&w.catalogue);
    vec_push(&w.catalogue.notes,
             (Note){.number = 4,
                    .kind = xstrdup("merged"),
                    .body = json_make_new("{s:s, s:o}", "segment", segment, "from", from)});
    store_init(&t->store, &driver, &(StoreOptions){.patience_ms = 1}, xstrdup("two versions"));
    t->name = segment;
    t->first = buf_as_str(&all);
    store_drop(w.store);
    w.store = &t->store;
    WalReader *r = reader_of(&w, NULL, 1);
    assert_segment(r, 1, 0, 0, 0, SEGMENT);
    assert_int_equal(wal_reader_forks(r)->len, 1);
    assert_non_null(strstr(wal_reader_forks(r)->items[0], "an earlier version"));
    (void)wal_reader_free(r);
    wal_store_free(&w);
}

static void keys_and_clusters_of_others_are_refused(void **state)
{
    WalStore w;
    KeyPair own;
    (void)state;

    wal_store_make(&w);
    (void)add_piece_as(&w, 1, 0, 5000, 0, 1);
    own = w.reader;
    w.reader = (KeyPair){0};
    crypt_box_keys(&w.reader);
    WalReader *r = reader_of(&w, NULL, 1);
    assert_int_equal(get(r, "000000010000000000000000", NULL), -ERR_DENIED);
    (void)wal_reader_free(r);
    keypair_clear(&w.reader);
    w.reader = own;
    w.catalogue.system[0] = '6';
    r = reader_of(&w, NULL, 1);
    assert_int_equal(get(r, "000000010000000000000000", NULL), -ERR_CONFLICT);
    (void)wal_reader_free(r);
    wal_store_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_are_made_of_pieces),
        cmocka_unit_test(a_piece_that_is_gone_is_no_end),
        cmocka_unit_test(of_two_histories_the_first_countersigned_counts),
        cmocka_unit_test(rubbish_takes_nothing_away),
        cmocka_unit_test(rubbish_from_the_start_is_absent),
        cmocka_unit_test(a_timeline_begins_with_its_parents_log),
        cmocka_unit_test(the_first_history_of_a_timeline_counts),
        cmocka_unit_test(merged_segments_are_parted_again),
        cmocka_unit_test(a_merged_segment_that_was_written_over_is_read_as_it_was),
        cmocka_unit_test(keys_and_clusters_of_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
