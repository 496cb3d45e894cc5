#include "backup/pagemap.h"
#include "io/file.h"

#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW ((Msec)1764378000000)

typedef struct Place {
    char folder[64], path[128];
    PageBinding binding;
    char sha256[65];
} Place;

static PackRef ref(int i)
{
    PackRef r = {.bytes = 1000 + i};
    r.name = xasprintf("host/pack/run-%06d-%032d", i, i);
    memset(r.head, 'a' + i % 6, 64);
    return r;
}

static void chunk(PageChunk *c, uint32_t first, uint32_t count, uint32_t pack)
{
    c->first = first;
    c->count = count;
    for (uint32_t i = 0; i < count; i++) {
        memset(c->hashes[i].bytes, 0, sizeof c->hashes[i].bytes);
        memcpy(c->hashes[i].bytes, &(uint32_t){first + i}, 4);
        c->places[i] = (PagePlace){pack, (uint16_t)(i / 128), (uint16_t)(i % 128)};
    }
}

/* Two files: "base/5/1" of 1024 + 7 pages in packs 0 and 1, "base/5/2" of 3 in pack 0. */
static void write_map(Place *p, bool end)
{
    static const char *const keys[] = {"b", "a", NULL};
    _cleanup_(pagemap_writer_drop) PageMapWriter *w = NULL;
    _cleanup_free_ PageChunk *c = NEW(PageChunk);

    pagemap_binding("7321", "folder /mnt", keys, &p->binding);
    assert_int_equal(pagemap_create(p->path, &p->binding, NOW, &w, NULL), 0);
    for (int i = 0; i < 2; i++) {
        PackRef r = ref(i);
        chunk(c, i ? 1024 : 0, i ? 7 : 1024, (uint32_t)i);
        assert_int_equal(pagemap_add_pages(w, "base/5/1", c, NULL), 0);
        assert_int_equal(pagemap_add_pack(w, (uint32_t)i, &r, NULL), 0);
        free(r.name);
    }
    chunk(c, 0, 3, 0);
    assert_int_equal(pagemap_add_pages(w, "base/5/2", c, NULL), 0);
    if (end)
        assert_int_equal(pagemap_finish(w, p->sha256, NULL), 0);
}

static int setup(void **state)
{
    Place *p = NEW(Place);
    snprintf(p->folder, sizeof p->folder, "/tmp/atoll-pagemap.XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    snprintf(p->path, sizeof p->path, "%s/pages", p->folder);
    write_map(p, true);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    int r = file_remove_tree(p->folder, NULL);
    free(p);
    return r;
}

static void map_free(PageMap *m)
{
    (void)pagemap_free(m);
}
DEFINE_CLEANUP(PageMap *, map_free)

static void test_round_trip(void **state)
{
    Place *p = *state;
    _cleanup_(map_free) PageMap *m = NULL;
    _cleanup_free_ PageChunk *c = NEW(PageChunk);
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(pagemap_open(p->path, &p->binding, p->sha256, NOW, &m, &err), 0);
    assert_int_equal(pagemap_pages(m), 1034);
    assert_true(pagemap_made(m) == NOW);
    assert_true(pagemap_find(m, "base/5/1", 1023, c));
    assert_int_equal(c->first, 0);
    assert_int_equal(c->count, 1024);
    assert_int_equal(c->places[1023].frame, 7);
    assert_int_equal(c->places[1023].page, 127);
    assert_int_equal(c->hashes[1000].bytes[0] | c->hashes[1000].bytes[1] << 8, 1000);
    assert_true(pagemap_find(m, "base/5/1", 1030, c));
    assert_int_equal(c->first, 1024);
    assert_int_equal(c->places[0].pack, 1);
    assert_true(pagemap_find(m, "base/5/2", 0, c));
    assert_false(pagemap_find(m, "base/5/1", 1031, c));
    assert_false(pagemap_find(m, "base/5/2", 3, c));
    assert_false(pagemap_find(m, "base/5/3", 0, c));
    assert_false(pagemap_find(m, "base/5/1\n", 0, c));
    PageMapPack *k = pagemap_pack(m, 1);
    assert_int_equal(k->ref.bytes, 1001);
    assert_int_equal(k->now, PAGEMAP_NO_PACK);
    assert_int_equal(strlen(k->ref.head), 64);
    assert_true(starts_with(k->ref.name, "host/pack/run-000001-"));
    assert_null(pagemap_pack(m, 2));
}

static void test_binding(void **state)
{
    Place *p = *state;
    static const char *const same[] = {"a", "b", NULL}, *const other[] = {"a", "c", NULL};
    PageBinding b;
    PageMap *m = NULL;

    pagemap_binding("7321", "folder /mnt", same, &b);
    assert_memory_equal(&b, &p->binding, sizeof b);
    const struct {
        const char *system, *words;
        const char *const *keys;
    } table[] = {{"7322", "folder /mnt", same},
                 {"7321", "folder /mnu", same},
                 {"7321", "folder /mnt", other}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        pagemap_binding(table[i].system, table[i].words, table[i].keys, &b);
        assert_int_equal(pagemap_open(p->path, &b, p->sha256, NOW, &m, NULL), -ERR_CHANGED);
    }
}

static void rewrite(const Place *p, Str s)
{
    FILE *f = fopen(p->path, "w");
    assert_non_null(f);
    if (s.n > 0)
        assert_int_equal(fwrite(s.p, s.n, 1, f), 1);
    fclose(f);
}

/* A complete map counts when every bit of it is right, and not at all otherwise. */
static void test_any_bit(void **state)
{
    Place *p = *state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    PageMap *m = NULL;

    assert_int_equal(file_read(p->path, &b, NULL), 0);
    for (size_t at = 0; at < b.len; at += 1 + at / 20) {
        b.p[at] ^= 4;
        rewrite(p, buf_as_str(&b));
        assert_true(pagemap_open(p->path, &p->binding, p->sha256, NOW, &m, NULL) < 0);
        b.p[at] ^= 4;
    }
    rewrite(p, (Str){b.p, b.len - 1});
    assert_int_equal(pagemap_open(p->path, &p->binding, p->sha256, NOW, &m, NULL), -ERR_CORRUPT);
    rewrite(p, buf_as_str(&b));
    _cleanup_(map_free) PageMap *good = NULL;
    assert_int_equal(pagemap_open(p->path, &p->binding, p->sha256, NOW, &good, NULL), 0);
}

/* A run that was cut off at some byte: what is whole counts, and nothing else. */
static void test_journal(void **state)
{
    Place *p = *state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);
    size_t pages = 0;
    bool stored = false;

    assert_int_equal(file_read(p->path, &b, NULL), 0);
    for (size_t n = 48; n <= b.len; n += b.len - n < 60 ? 1 : 61) {
        _cleanup_(map_free) PageMap *m = NULL;
        rewrite(p, (Str){b.p, n});
        assert_int_equal(pagemap_open(p->path, &p->binding, NULL, NOW + HOUR, &m, NULL), 0);
        assert_true(pagemap_pages(m) >= pages);
        pages = pagemap_pages(m);
        assert_true(pages == 0 || pages == 1024 || pages == 1031 || pages == 1034);
        const PageMapPack *k = pagemap_pack(m, 0);
        assert_true(!stored || k);
        stored = k && k->ref.name;
        assert_true(!stored || pages >= 1024);
    }
    assert_int_equal(pages, 1034);
    PageMap *m = NULL;
    assert_int_equal(pagemap_open(p->path, &p->binding, NULL, NOW + 3 * DAY, &m, NULL),
                     -ERR_CHANGED);
    rewrite(p, (Str){b.p, 47});
    assert_int_equal(pagemap_open(p->path, &p->binding, NULL, NOW, &m, NULL), -ERR_CORRUPT);
    unlink(p->path);
    assert_int_equal(pagemap_open(p->path, &p->binding, NULL, NOW, &m, NULL), -ERR_NOT_FOUND);
}

/* Bits that are wrong in a journal end it there. */
static void test_journal_bits(void **state)
{
    Place *p = *state;
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY);

    assert_int_equal(file_read(p->path, &b, NULL), 0);
    for (size_t at = 48; at < b.len; at += 1 + at / 20) {
        _cleanup_(map_free) PageMap *m = NULL;
        b.p[at] ^= 64;
        rewrite(p, buf_as_str(&b));
        b.p[at] ^= 64;
        assert_int_equal(pagemap_open(p->path, &p->binding, NULL, NOW, &m, NULL), 0);
        assert_true(pagemap_pages(m) < 1034 || at > b.len - 24);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_binding, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal_bits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
