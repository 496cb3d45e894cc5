/* What a listing says about the catalogue, and holes of the log: rows. */
#include "backup/verify.h"
#include "past.h"

#define NOW ((Msec)1795953600 * SECOND)

static bool has(const Findings *f, FindingKind kind, const char *name)
{
    for (size_t i = 0; i < f->len; i++)
        if (f->items[i].kind == kind && streq(f->items[i].name, name))
            return true;
    return false;
}

static void list(StoreItems *l, const char *name, int64_t bytes, bool newest)
{
    vec_push(l,
             (StoreItem){
                 .name = xstrdup(name), .bytes = bytes, .written = NOW - HOUR, .newest = newest});
}

static void test_listing(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {.now = NOW - HOUR};
    const char *names[6];
    StoreItems l = {0};
    Findings f = {0};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        names[i] = past_wal(&p, 1, 10 * i, 10 * i + 10);
    past_audit(&p);
    const char *late = past_wal(&p, 1, 60, 70);
    past_seen(&p, names[3])->pruned = 1; /* a note says so, and it is there */
    past_seen(&p, names[5])->gone = true;
    list(&l, "host/photo", 1, true);
    list(&l, names[0], 100, true);
    list(&l, names[1], 99, true);
    list(&l, names[2], 100, false);
    list(&l, names[2], 5, true);
    list(&l, names[3], 100, true);
    list(&l, names[4], 100, false);
    list(&l, late, 100, true);
    l.items[1].expires = true;
    verify_listing(&p.c, &l, NOW, &f);
    assert_int_equal(f.len, 8);
    assert_true(has(&f, FINDING_EXTRA, "host/photo"));
    assert_true(has(&f, FINDING_EXPIRES, names[0]));
    assert_true(has(&f, FINDING_CHANGED, names[1]));
    assert_true(has(&f, FINDING_VERSION, names[2]));
    assert_true(has(&f, FINDING_EXTRA, names[3]));
    assert_true(has(&f, FINDING_MISSING, names[4]));
    assert_true(has(&f, FINDING_MISSING, names[5]));
    assert_true(has(&f, FINDING_LATE, late));
    verify_clear(&f);
    store_items_clear(&l);
}

/* A hole is found; one that a prune made is none; a put that was repeated is no second version. */
static void test_gaps(void **state)
{
    (void)state;
    _cleanup_(past_clear) Past p = {.now = NOW - HOUR};
    Findings f = {0};

    const char *first = past_wal(&p, 1, 0, 10);
    past_base(&p, 1, 0, 5, json_array());
    const char *between = past_wal(&p, 1, 10, 20);
    const char *after = past_wal(&p, 1, 20, 30);
    past_audit(&p);
    verify_backups(&p.c, &p.bases, &f);
    assert_int_equal(f.len, 0);
    past_seen(&p, between)->pruned = 1;
    verify_backups(&p.c, &p.bases, &f);
    assert_int_equal(f.len, 0);
    const char *beyond = past_wal(&p, 1, 40, 50);
    past_seen(&p, first)->pruned = 1;
    verify_backups(&p.c, &p.bases, &f);
    assert_int_equal(f.len, 2);
    assert_true(has(&f, FINDING_GAP, p.bases.items[0].name));
    assert_true(has(&f, FINDING_GAP, beyond));
    assert_false(has(&f, FINDING_GAP, after));
    verify_clear(&f);
}

/* Pieces of the runs a and b: tli 1, start to end, after which. */
static void test_chain(void **state)
{
    static const struct {
        struct {
            const char *run;
            Lsn start, end;
            char id, prev; /* 0: none */
        } pieces[4];
        char bad; /* whose is the finding; 0: nobody's */
    } rows[] = {
        {{{"a", 0, 10, 'a', 0}, {"a", 10, 20, 'b', 'a'}, {"a", 20, 30, 'c', 'b'}}, 0},
        {{{"a", 0, 10, 'a', 0}, {"a", 20, 30, 'c', 'b'}}, 'c'},
        /* The run died when b was not stored and c was; another one sent them again. */
        {{{"a", 0, 10, 'a', 0}, {"a", 20, 30, 'c', 'b'}, {"b", 10, 35, 'd', 'a'}}, 0},
        {{{"a", 20, 30, 'c', 'b'}, {"b", 10, 25, 'd', 0}, {"b", 25, 30, 'e', 'd'}}, 0},
        {{{"a", 20, 30, 'c', 'b'}, {"b", 10, 25, 'd', 0}, {"b", 26, 40, 'e', 0}}, 'c'},
        {{{"a", 20, 30, 'c', 'b'}, {"a", 10, 35, 'd', 0}}, 'c'},
        {{{"a", 0, 10, 'a', 0}, {"b", 20, 30, 'c', 'a'}}, 'c'},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(chain_links_clear) ChainLinks links = {0};
        Catalogue c = {0};
        Findings f = {0};
        char names[4][2] = {{0}};
        for (size_t k = 0; k < 4 && rows[i].pieces[k].run; k++) {
            char prev = rows[i].pieces[k].prev;
            names[k][0] = rows[i].pieces[k].id;
            ChainLink l = {.name = names[k],
                           .parts = {.kind = NAME_WAL,
                                     .tli = 1,
                                     .start = rows[i].pieces[k].start,
                                     .end = rows[i].pieces[k].end},
                           .run = xstrdup(rows[i].pieces[k].run),
                           .prev = prev ? xstrndup(&prev, 1) : xstrdup("")};
            l.parts.identity[0] = rows[i].pieces[k].id;
            vec_push(&links, l);
        }
        verify_chain(&c, &links, &f);
        assert_int_equal(f.len, rows[i].bad ? 1 : 0);
        if (rows[i].bad)
            assert_int_equal(f.items[0].name[0], rows[i].bad);
        verify_clear(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_listing), cmocka_unit_test(test_gaps),
                                       cmocka_unit_test(test_chain)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
