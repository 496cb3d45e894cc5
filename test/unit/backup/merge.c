/* Which segments are merged, and that what is put is their pieces. */
#include "backup/merge.h"
#include "io/file.h"
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((Lsn)1 << 20)
#define SEGMENT (4 * MIB)
#define BEFORE (100 * HOUR)
#define ZEROS "00000000000000000000000000000000000000000000000000000000000000ff"

typedef struct Row {
    Timeline tli;
    Lsn start, end; /* in MiB; 0, 0: the end */
    enum { IS_SEEN, IS_LISTED, IS_GONE, IS_MARKED, IS_YOUNG } is;
} Row;

/* Rows are in the order of their names. */
static void catalogue_of(const Row *rows, Catalogue *ret)
{
    StoreItems l = {0};
    size_t n = 0;

    for (const Row *r = rows; r->end; r++, n++)
        vec_push(&l, (StoreItem){.name = name_wal_new(r->tli, r->start * MIB, r->end * MIB, ZEROS),
                                 .bytes = 100});
    catalogue_join(ret, &l);
    store_items_clear(&l);
    assert_int_equal(ret->objects.len, n);
    for (size_t i = 0; i < n; i++) {
        Seen *s = &ret->objects.items[i];
        s->note = rows[i].is == IS_LISTED ? 0 : 1;
        s->gone = rows[i].is == IS_GONE;
        s->marked = rows[i].is == IS_MARKED;
        s->written = BEFORE - (rows[i].is == IS_YOUNG ? 0 : 1);
    }
}

static const struct {
    const char *what;
    Row rows[6];
    size_t segments, pieces; /* of the first */
} cases[] = {
    {"whole", {{1, 4, 5}, {1, 5, 7}, {1, 7, 8}}, 1, 3},
    {"one piece", {{1, 4, 8}}, 0, 0},
    {"a hole", {{1, 4, 5}, {1, 6, 8}}, 0, 0},
    {"no beginning", {{1, 5, 6}, {1, 6, 8}}, 0, 0},
    {"no end", {{1, 4, 5}, {1, 5, 7}}, 0, 0},
    {"overlapping", {{1, 4, 6}, {1, 5, 7}, {1, 6, 8}}, 1, 3},
    {"over its end", {{1, 4, 6}, {1, 6, 9}}, 0, 0},
    {"two timelines", {{1, 4, 6}, {2, 6, 8}}, 0, 0},
    {"two segments", {{1, 4, 6}, {1, 6, 8}, {1, 8, 9}, {1, 9, 12}}, 2, 2},
    {"not countersigned", {{1, 4, 6}, {1, 6, 8, IS_LISTED}}, 0, 0},
    {"gone", {{1, 4, 6}, {1, 6, 8, IS_GONE}}, 0, 0},
    {"marked", {{1, 4, 6}, {1, 6, 8, IS_MARKED}}, 0, 0},
    {"young", {{1, 4, 6}, {1, 6, 8, IS_YOUNG}}, 0, 0},
};

static void choose(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(catalogue_clear) Catalogue c = {0};
        _cleanup_(merges_clear) Merges m = {0};

        catalogue_of(cases[i].rows, &c);
        merge_choose(&c, SEGMENT, BEFORE, &m);
        if (m.len != cases[i].segments)
            fail_msg("%s: %zu segments", cases[i].what, m.len);
        if (m.len == 0)
            continue;
        assert_string_equal(m.items[0].segment, "segment/00000001/000000010000000000000001");
        assert_int_equal(m.items[0].from.len, cases[i].pieces);
        assert_string_equal(m.items[0].from.items[0], c.objects.items[0].name);
    }
}

static void once(void **state)
{
    static const Row rows[] = {{1, 4, 6}, {1, 6, 8}, {0}};
    _cleanup_(catalogue_clear) Catalogue c = {0};
    _cleanup_(merges_clear) Merges m = {0};

    (void)state;
    catalogue_of(rows, &c);
    vec_push(&c.notes,
             (Note){.kind = xstrdup("merged"),
                    .body = json_make_new("{s:s}", "segment",
                                          "segment/00000001/000000010000000000000001-0")});
    merge_choose(&c, SEGMENT, BEFORE, &m);
    assert_int_equal(m.len, 0);
}

static void put_piece(Store *s, const KeyPair *host, Catalogue *c, Lsn start, Lsn end, Buf *ret)
{
    _cleanup_(keypair_clear) KeyPair reader = {0};
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    char hash[OBJECT_HASH_MAX];

    crypt_box_keys(&reader);
    const char *recipients[] = {reader.public_b64, NULL};
    ObjectSeal seal = {.system = "73", .recipients = recipients, .signer = host};
    assert_int_equal(object_seal(&seal, OBJECT_WAL, STR_LIT("log"), json_object(), &b, hash, NULL),
                     0);
    _cleanup_free_ char *name = name_wal_new(1, start, end, hash);
    assert_int_equal(store_put(s, name, buf_as_str(&b), STORE_ANY, NULL), 0);
    vec_push(&c->objects, (Seen){.name = xstrdup(name), .bytes = (int64_t)b.len, .note = 1});
    catalogue_settle(c);
    buf_add(ret, b.p, b.len);
}

static void put(void **state)
{
    char folder[] = "/tmp/atoll-test-XXXXXX";
    _cleanup_(store_drop) Store *s = NULL;
    _cleanup_(keypair_clear) KeyPair host = {0};
    _cleanup_(catalogue_clear) Catalogue c = {0};
    _cleanup_(merges_clear) Merges m = {0};
    _cleanup_(buf_clear) Buf want = BUF_INIT(BUF_MAX_BODY), got = BUF_INIT(BUF_MAX_BODY),
                             hash = BUF_INIT(BUF_MAX_LINE);

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(store_folder(folder, false, &(StoreOptions){0}, &s, NULL), 0);
    crypt_sign_keys(&host);
    strlist_add(&c.hosts, host.public_b64);
    for (Lsn at = 4; at < 8; at++)
        put_piece(s, &host, &c, at * MIB, (at + 1) * MIB, &want);
    merge_choose(&c, SEGMENT, BEFORE, &m);
    assert_int_equal(m.len, 1);
    crypt_hash(CRYPT_SHA256, buf_as_str(&want), &hash);
    /* Twice: what a run that was cut off has put is good. */
    for (int i = 0; i < 2; i++) {
        Merged to = {0};
        assert_int_equal(merge_put(s, &c, &m.items[0], &to, NULL), 0);
        assert_string_equal(to.name, "segment/00000001/000000010000000000000001-0");
        assert_string_equal(to.hash, hash.p);
        free(to.name);
    }
    assert_int_equal(store_get(s, "segment/00000001/000000010000000000000001-0", 0, 0, &got, NULL),
                     0);
    assert_true(str_eq(buf_as_str(&got), buf_as_str(&want)));
    /* Somebody else's bytes under that name. */
    assert_int_equal(
        store_put(s, "segment/00000001/000000010000000000000001-0", STR_LIT("x"), STORE_ANY, NULL),
        0);
    Merged other = {0};
    assert_int_equal(merge_put(s, &c, &m.items[0], &other, NULL), 0);
    assert_string_equal(other.name, "segment/00000001/000000010000000000000001-1");
    free(other.name);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(choose), cmocka_unit_test(once),
                                       cmocka_unit_test(put)};

    crypt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
