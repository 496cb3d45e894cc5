/* Files through pages, packs and manifest into a folder store, and read back by the format alone.
 */
#include "backup/pages.h"
#include "backup/rate.h"
#include "io/file.h"

#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW ((Msec)1764378000000)
#define FILES 3
#define PACKS 32

typedef struct World {
    char folder[64], map[3][128];
    KeyPair reader, host;
    const char *recipients[2];
    StrList signers;
    ObjectSeal seal;
    Store *store;
    PageBinding binding;
    Buf files[FILES];
    Buf manifest;  /* object of the last run */
    StrList packs; /* that it names */
    int64_t stored, reused;
    size_t reuse_max;   /* of a run */
    Buf objects[PACKS]; /* that were read, of `packs` */
} World;

static const char *const paths[FILES] = {"base/5/1259", "base/5/16384", "PG_VERSION"};

static void fill(Buf *b, size_t n, uint32_t seed)
{
    buf_truncate(b, 0);
    for (uint32_t i = 0; b->len < n; i++) {
        uint32_t v[4] = {seed, i, i * 2654435761u, seed ^ i * 40503u};
        buf_add(b, v, MIN(sizeof v, n - b->len));
    }
}

static void forget_packs(World *w)
{
    for (size_t i = 0; i < PACKS; i++)
        buf_clear(&w->objects[i]);
}

static int setup(void **state)
{
    World *w = NEW(World);

    crypt_init();
    snprintf(w->folder, sizeof w->folder, "/tmp/atoll-pages.XXXXXX");
    if (!mkdtemp(w->folder))
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(w->map); i++)
        snprintf(w->map[i], sizeof w->map[i], "%s/map.%zu", w->folder, i);
    crypt_box_keys(&w->reader);
    crypt_sign_keys(&w->host);
    w->recipients[0] = w->reader.public_b64;
    strlist_add(&w->signers, w->host.public_b64);
    w->seal = (ObjectSeal){"7321", w->recipients, &w->host};
    pagemap_binding("7321", "folder", w->recipients, &w->binding);
    for (size_t i = 0; i < FILES; i++)
        w->files[i] = BUF_INIT(BUF_MAX_BODY);
    for (size_t i = 0; i < PACKS; i++)
        w->objects[i] = BUF_INIT(OBJECT_MAX);
    w->manifest = BUF_INIT(OBJECT_MAX);
    fill(&w->files[0], 3 * PAGE_BYTES + 100, 1);
    fill(&w->files[1], 1500 * PAGE_BYTES, 2);
    memset(w->files[1].p + 10 * PAGE_BYTES, 0, 300 * PAGE_BYTES); /* a hole */
    buf_str(&w->files[2], "15\n");
    _cleanup_free_ char *path = path_join(w->folder, "store");
    *state = w;
    return store_folder(path, true, &(StoreOptions){.patience_ms = 1}, &w->store, NULL);
}

static int teardown(void **state)
{
    World *w = *state;
    int r = file_remove_tree(w->folder, NULL);

    (void)store_free(w->store);
    keypair_clear(&w->reader);
    keypair_clear(&w->host);
    for (size_t i = 0; i < FILES; i++)
        buf_clear(&w->files[i]);
    buf_clear(&w->manifest);
    strlist_clear(&w->packs);
    strlist_clear(&w->signers);
    forget_packs(w);
    free(w);
    return r;
}

typedef struct Ask {
    const char *source, *map; /* files; or NULL */
    const char *sha256;       /* of the source: NULL: a journal */
    bool cut_off;             /* after the second file, no manifest, no end */
} Ask;

static int files_in(World *w, Pages *p, size_t count, Err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++) {
        Str rest = buf_as_str(&w->files[i]);
        /* In pieces that do not fit pages, as they come. */
        for (size_t n = 1000; r == 0 && rest.n > 0; n = n * 7 % 40000 + 1) {
            Str part = {rest.p, MIN(n, rest.n)};
            rest = (Str){rest.p + part.n, rest.n - part.n};
            r = pages_data(p, paths[i], part, err);
        }
        const ManifestFile f = {.path = paths[i], .kind = "file", .mode = 0600, .mtime = 1};
        if (r == 0)
            r = pages_end_file(p, &f, err);
    }
    return r;
}

static int run(World *w, const Ask *a, char sha256[static 65], Err *err)
{
    PageMap *source = NULL;
    _cleanup_(pagemap_writer_drop) PageMapWriter *map = NULL;
    _cleanup_(manifest_drop) Manifest *m = manifest_new();
    char hash[OBJECT_HASH_MAX];

    if (a->source)
        assert_int_equal(pagemap_open(a->source, &w->binding, a->sha256, NOW, &source, NULL), 0);
    if (a->map)
        assert_int_equal(pagemap_create(a->map, &w->binding, NOW, &map, NULL), 0);
    const PagesOptions o = {.sources = &source,
                            .source_count = a->source ? 1 : 0,
                            .map = map,
                            .manifest = m,
                            .reuse_max = w->reuse_max,
                            .packer = {.store = w->store,
                                       .seal = &w->seal,
                                       .run = "0123456789abcdef",
                                       .threads = 2,
                                       .level = 1}};
    _cleanup_(pages_drop) Pages *p = pages_new(&o);
    int r = files_in(w, p, a->cut_off ? 2 : FILES, err);
    if (r == 0)
        r = pages_finish(p, err);
    w->stored = pages_stored(p);
    w->reused = pages_reused(p);
    strlist_clear(&w->packs);
    for (size_t i = 0; r == 0 && i < pages_packs(p)->len; i++)
        strlist_add(&w->packs, pages_packs(p)->items[i].name);
    if (r == 0 && map && !a->cut_off)
        r = pagemap_finish(map, sha256, err);
    buf_truncate(&w->manifest, 0);
    if (r == 0 && !a->cut_off)
        r = manifest_end(m, &w->seal, json_object(), &w->manifest, hash, err);
    (void)pagemap_free(source);
    return r;
}

static Str read_pack(World *w, size_t i)
{
    char hash[OBJECT_HASH_MAX];
    Buf *b = &w->objects[i];

    assert_true(i < w->packs.len && i < PACKS);
    if (b->len > 0)
        return buf_as_str(b);
    assert_int_equal(store_get(w->store, w->packs.items[i], 0, 0, b, NULL), 0);
    assert_int_equal(object_check(buf_as_str(b), &w->signers, hash, NULL), 0);
    hash[32] = '\0';
    assert_true(ends_with(w->packs.items[i], hash));
    return buf_as_str(b);
}

/* One run of a line, from its pack. */
static void read_run(World *w, const json_t *run, Buf *out)
{
    int64_t pack = json_integer_value(json_array_get(run, 0));
    size_t frame = (size_t)json_integer_value(json_array_get(run, 1));
    size_t page = (size_t)json_integer_value(json_array_get(run, 2));
    size_t pages = (size_t)json_integer_value(json_array_get(run, 3));
    _cleanup_(buf_clear) Buf plain = BUF_INIT(OBJECT_MAX);
    _cleanup_(object_head_clear) ObjectHead head = {0};
    _cleanup_(secret_drop) Secret *key = NULL;
    size_t need = 0, at;

    if (pack < 0) {
        _cleanup_free_ char *zeros = xcalloc(pages, PAGE_BYTES);
        buf_add(out, zeros, pages * PAGE_BYTES);
        return;
    }
    Str object = read_pack(w, (size_t)pack);
    assert_int_equal(object_head(object, &need, &head, NULL), 0);
    assert_int_equal(object_key(&head, &w->reader, &key, NULL), 0);
    at = head.frames_at;
    assert_true(frame < head.frames.len);
    for (size_t i = 0; i < frame; i++)
        at += head.frames.items[i].stored;
    const ObjectFrame *f = &head.frames.items[frame];
    assert_int_equal(object_frame_open(key, (uint32_t)frame, (Str){object.p + at, f->stored},
                                       f->plain, &plain, NULL),
                     0);
    assert_true((page + pages) * PAGE_BYTES <= plain.len);
    buf_add(out, plain.p + page * PAGE_BYTES, pages * PAGE_BYTES);
}

static size_t check_restores(World *w)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(OBJECT_MAX);
    size_t files = 0, runs = 0;
    Str line;

    assert_int_equal(object_open(buf_as_str(&w->manifest), &w->reader, &text, NULL), 0);
    Str rest = buf_as_str(&text);
    for (; files < FILES && str_next(&rest, '\n', &line) && line.n > 0; files++) {
        _cleanup_json_ json_t *j = json_parse_new(line.p, line.n, NULL);
        _cleanup_(buf_clear) Buf out = BUF_INIT(OBJECT_MAX);
        const json_t *list = json_at(j, "runs");
        assert_string_equal(json_str(j, "path"), paths[files]);
        for (size_t i = 0; i < json_array_size(list); i++, runs++)
            read_run(w, json_array_get(list, i), &out);
        size_t size = (size_t)json_int(j, "size", -1);
        assert_true(size <= out.len && out.len - size < PAGE_BYTES);
        assert_int_equal(size, w->files[files].len);
        assert_memory_equal(out.p, w->files[files].p, size);
    }
    assert_int_equal(files, FILES);
    assert_int_equal(rest.n, 0);
    forget_packs(w);
    return runs;
}

static void test_full_then_little(void **state)
{
    World *w = *state;
    char sha256[65], second[65];
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(run(w, &(Ask){.map = w->map[0]}, sha256, &err), 0);
    assert_true(check_restores(w) < 20);
    assert_int_equal(w->reused, 0);
    int64_t whole = w->stored;
    /* Nothing changed: nothing goes. */
    assert_int_equal(run(w, &(Ask){w->map[0], w->map[1], sha256}, second, &err), 0);
    assert_int_equal(w->stored, 0);
    check_restores(w);
    /* One byte, a longer file, a page of a hole that is none now. */
    w->files[1].p[700 * PAGE_BYTES + 5]++;
    w->files[1].p[11 * PAGE_BYTES] = 1;
    buf_str(&w->files[0], "more");
    assert_int_equal(run(w, &(Ask){w->map[1], w->map[2], second}, sha256, &err), 0);
    assert_true(w->stored > 0 && w->stored < whole / 100);
    check_restores(w);
    /* Without the map all goes, and is right. */
    assert_int_equal(run(w, &(Ask){0}, sha256, &err), 0);
    assert_true(w->stored > whole / 2);
    check_restores(w);
}

static void test_cut_off(void **state)
{
    World *w = *state;
    char sha256[65];
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(run(w, &(Ask){.map = w->map[0], .cut_off = true}, sha256, &err), 0);
    int64_t before = w->stored;
    assert_int_equal(run(w, &(Ask){.source = w->map[0], .map = w->map[1]}, sha256, &err), 0);
    assert_true(before > 100000 && w->stored < 5000);
    check_restores(w);
}

/* Many small changes over many backups: the number of pieces stays bounded. */
static void test_pieces_are_bounded(void **state)
{
    World *w = *state;
    char sha256[65] = "", next[65];
    _cleanup_(err_clear) Err err = {0};
    const char *source = NULL;
    size_t runs = 0, most = 0;

    for (unsigned i = 0; i < 12; i++) {
        for (size_t page = i; page < 1024; page += 17)
            w->files[1].p[page * PAGE_BYTES + 7 * i]++;
        const char *map = w->map[i % 2];
        assert_int_equal(run(w, &(Ask){source, map, source ? sha256 : NULL}, next, &err), 0);
        memcpy(sha256, next, 65);
        source = map;
        if (i % 3 == 2)
            runs = check_restores(w);
        most = MAX(most, runs);
    }
    assert_true(most > 200 && most < PAGES_RUNS_MAX + 200);
}

/* A page of each old pack stays: the list of packs would grow until no manifest could hold it. */
static void test_packs_are_bounded(void **state)
{
    World *w = *state;
    char sha256[65] = "", next[65];
    _cleanup_(err_clear) Err err = {0};
    const char *source = NULL;

    w->reuse_max = 3;
    for (unsigned i = 0; i < 12; i++) {
        w->files[1].p[(1000 + i) * PAGE_BYTES]++;
        const char *map = w->map[i % 2];
        assert_int_equal(run(w, &(Ask){source, map, source ? sha256 : NULL}, next, &err), 0);
        assert_in_range(w->packs.len, 1, w->reuse_max + 2);
        check_restores(w);
        memcpy(sha256, next, 65);
        source = map;
    }
    assert_true(w->reused > 0);
}

/* The store's error comes out of any later call, and nothing hangs or leaks. */
static void test_store_is_gone(void **state)
{
    World *w = *state;
    char sha256[65];
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *path = path_join(w->folder, "store");

    assert_int_equal(file_remove_tree(path, NULL), 0);
    assert_int_equal(file_create(path, STR_LIT("a file"), 0600, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        fill(&w->files[1], (1 + 1500 * i) * PAGE_BYTES, (uint32_t)i);
        assert_true(run(w, &(Ask){.map = w->map[0]}, sha256, &err) < 0);
        assert_non_null(err.text);
        err_clear(&err);
    }
}

static void test_rate(void **state)
{
    (void)state;
    static const struct {
        int64_t limit;
        RateLook look;
        int64_t next;
    } table[] = {
        {0, {0, 0, 100 << 20}, 0},              /* nobody works */
        {0, {8, 1, 100 << 20}, 0},              /* one that waits is no queue */
        {0, {9, 3, 100 << 20}, 50 << 20},       /* a third waits */
        {0, {20, 3, 100 << 20}, 0},             /* few of many */
        {6 << 20, {4, 4, 6 << 20}, RATE_LEAST}, /* never below */
        {40 << 20, {0, 0, 40 << 20}, 50 << 20}, /* back again */
        {RATE_MOST - 1, {0, 0, RATE_MOST}, 0},  /* no limit */
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(rate_next(table[i].limit, &table[i].look), table[i].next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_full_then_little, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pieces_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packs_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_is_gone, setup, teardown),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
