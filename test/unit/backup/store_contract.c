/* What every store must do, as one table of rows: run on a folder here, and on Swift by
 * test/story/backup_store.py, which says where in ATOLL_TEST_STORE ("cloud/container", an entry of
 * clouds.yaml). */
#include "backup/store.h"
#include "io/crypt.h"
#include "io/file.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define LARGE ((size_t)8 << 20)

static Store *store;
static bool versioned;

/* Each row has names of its own. */
static char *name_of(const char *row, const char *rest)
{
    return xasprintf("%s/%s", row, rest);
}

static void put(const char *name, const char *text)
{
    _cleanup_(err_clear) Err err = {0};

    if (store_put(store, name, str_of(text), STORE_ANY, &err) < 0)
        fail_msg("%s", err.text);
}

static void expect_text(const char *name, const char *text)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};

    if (store_get(store, name, 0, 0, &b, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(b.p, text);
}

static void list(const char *prefix, bool versions, StoreItems *ret)
{
    _cleanup_(err_clear) Err err = {0};

    if (store_list(store, prefix, versions, ret, &err) < 0)
        fail_msg("%s", err.text);
}

static void round_trip(const char *row)
{
    _cleanup_free_ char *name = name_of(row, "a/b-1.x_Y"), *empty = name_of(row, "empty");

    put(name, "hello");
    expect_text(name, "hello");
    put(empty, "");
    expect_text(empty, "");
}

static void ranges(const char *row)
{
    static const struct {
        int64_t offset, size;
        const char *text; /* NULL: ERR_CORRUPT */
    } parts[] = {{0, 3, "012"}, {2, 4, "2345"}, {7, 0, "789"}, {0, 10, "0123456789"},
                 {9, 1, "9"},   {8, 3, NULL},   {20, 1, NULL}};
    _cleanup_free_ char *name = name_of(row, "digits");

    put(name, "0123456789");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        buf_str(&b, "before ");
        int r = store_get(store, name, parts[i].offset, parts[i].size, &b, NULL);
        assert_int_equal(r, parts[i].text ? 0 : -ERR_CORRUPT);
        if (parts[i].text)
            assert_string_equal(b.p + strlen("before "), parts[i].text);
    }
}

static void large(const char *row)
{
    _cleanup_free_ char *name = name_of(row, "large"), *bytes = xcalloc(LARGE, 1);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_BODY), small = BUF_INIT(100);

    crypt_random(bytes, LARGE);
    assert_int_equal(store_put(store, name, (Str){bytes, LARGE}, STORE_ANY, NULL), 0);
    assert_int_equal(store_get(store, name, 0, 0, &b, NULL), 0);
    assert_int_equal(b.len, LARGE);
    assert_memory_equal(b.p, bytes, LARGE);
    /* More than the caller wants to hold. */
    assert_int_equal(store_get(store, name, 0, 0, &small, NULL), -ERR_CORRUPT);
}

static void missing(const char *row)
{
    _cleanup_free_ char *name = name_of(row, "nothing"), *below = name_of(row, "a/b");
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    StoreItem item = {.name = name};
    StoreItems l = {0};

    assert_int_equal(store_get(store, name, 0, 0, &b, NULL), -ERR_NOT_FOUND);
    assert_int_equal(store_get(store, below, 0, 0, &b, NULL), -ERR_NOT_FOUND);
    assert_int_equal(store_delete(store, &item, NULL), 0);
    list(name, true, &l);
    assert_int_equal(l.len, 0);
}

static void only_new(const char *row)
{
    _cleanup_free_ char *name = name_of(row, "note");
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(store_put(store, name, STR_LIT("first"), STORE_NEW, NULL), 0);
    assert_int_equal(store_put(store, name, STR_LIT("second"), STORE_NEW, &err), -ERR_CONFLICT);
    assert_non_null(strstr(err.text, name));
    expect_text(name, "first");
}

static void listing(const char *row)
{
    static const char *const names[] = {"a", "a/b", "a/bc", "b/1", "b/10", "b/2"};
    StoreItems l = {0};
    _cleanup_free_ char *all = name_of(row, ""), *some = name_of(row, "a/b");

    for (size_t i = ARRAY_LEN(names); i > 0; i--) {
        /* In a folder "a" can't be a file and a folder. */
        _cleanup_free_ char *name = name_of(row, i == 1 ? "0" : names[i - 1]);
        put(name, names[i - 1]);
    }
    list(all, false, &l);
    assert_int_equal(l.len, ARRAY_LEN(names));
    for (size_t i = 0; i < l.len; i++) {
        const char *want = i == 0 ? "0" : names[i];
        assert_string_equal(l.items[i].name + strlen(all), want);
        assert_int_equal(l.items[i].bytes, (int64_t)strlen(names[i]));
        assert_true(l.items[i].newest);
        assert_true(l.items[i].written > store_now(store) - HOUR);
        assert_true(l.items[i].written < store_now(store) + MINUTE);
        if (l.items[i].etag) {
            _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);
            crypt_hash(CRYPT_MD5, str_of(names[i]), &md5);
            assert_string_equal(l.items[i].etag, md5.p);
        }
    }
    assert_int_equal(store_expiries(store, &l, NULL), 0);
    for (size_t i = 0; i < l.len; i++)
        assert_false(l.items[i].expires);
    store_items_clear(&l);
    list(some, false, &l);
    assert_int_equal(l.len, 2);
    store_items_clear(&l);
}

/* Whoever writes over an object leaves the first, where the store has versions. */
static void overwritten(const char *row)
{
    static const char *const texts[] = {"one", "second", "thirdly"};
    _cleanup_free_ char *name = name_of(row, "x");
    StoreItems l = {0};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        put(name, texts[i]);
    expect_text(name, "thirdly");
    list(name, true, &l);
    assert_int_equal(l.len, versioned ? 3 : 1);
    for (size_t i = 0; i < l.len && i < ARRAY_LEN(texts); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        const char *want = texts[versioned ? i : 2];
        assert_int_equal(store_get_version(store, &l.items[i], 0, 0, &b, NULL), 0);
        assert_string_equal(b.p, want);
        assert_int_equal(l.items[i].bytes, (int64_t)strlen(want));
        assert_int_equal(l.items[i].newest, i + 1 == l.len);
        assert_int_equal(l.items[i].version != NULL, versioned);
    }
    if (versioned) {
        assert_int_equal(store_delete(store, &l.items[2], NULL), 0);
        StoreItems rest = {0};
        list(name, true, &rest);
        assert_int_equal(rest.len, 2);
        store_items_clear(&rest);
    }
    store_items_clear(&l);
}

static void removed(const char *row)
{
    _cleanup_free_ char *name = name_of(row, "x"), *other = name_of(row, "xy");
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    StoreItems l = {0};

    put(name, "here");
    put(other, "stays");
    list(name, true, &l);
    assert_int_equal(l.len, 2);
    assert_int_equal(store_delete(store, &l.items[0], NULL), 0);
    assert_int_equal(store_delete(store, &l.items[0], NULL), 0);
    store_items_clear(&l);
    assert_int_equal(store_get(store, name, 0, 0, &b, NULL), -ERR_NOT_FOUND);
    list(name, true, &l);
    assert_int_equal(l.len, 1);
    store_items_clear(&l);
    expect_text(other, "stays");
}

static void names(const char *row)
{
    static const char *const bad[] = {"",      "/a",   "a/",  "../a", "a/../b",
                                      "a/./b", "a//b", "a b", "a\n"};

    (void)row;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
        if (store_put(store, bad[i], STR_LIT("x"), STORE_ANY, NULL) == 0)
            fail_msg("taken: \"%s\"", bad[i]);
        if (store_get(store, bad[i], 0, 0, &b, NULL) == 0)
            fail_msg("read: \"%s\"", bad[i]);
    }
}

typedef struct Worker {
    pthread_t thread;
    Store *own;
    const char *row;
    int number, failed;
} Worker;

static void *work(void *user)
{
    Worker *w = user;

    for (int i = 0; i < 10; i++) {
        _cleanup_free_ char *name = xasprintf("%s/%d-%d", w->row, w->number, i);
        w->failed += store_put(w->own, name, str_of(name), STORE_ANY, NULL) < 0;
    }
    return NULL;
}

static void clones(const char *row)
{
    Worker workers[4];
    StoreItems l = {0};
    uint64_t before = store_requests(store);
    _cleanup_free_ char *all = name_of(row, "");

    for (int i = 0; i < 4; i++) {
        workers[i] = (Worker){.own = store_clone(store), .row = row, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failed, 0);
        (void)store_free(workers[i].own);
    }
    assert_true(store_requests(store) >= before + 40);
    list(all, false, &l);
    assert_int_equal(l.len, 40);
    store_items_clear(&l);
}

static const struct {
    const char *name;
    void (*run)(const char *row);
} rows[] = {
    {"round_trip", round_trip},   {"ranges", ranges},     {"large", large},
    {"missing", missing},         {"only_new", only_new}, {"listing", listing},
    {"overwritten", overwritten}, {"removed", removed},   {"names", names},
    {"clones", clones},
};

static void run_row(void **state)
{
    size_t i = *(size_t *)*state;

    rows[i].run(rows[i].name);
}

static int open_swift(const char *place)
{
    const char *slash = strchr(place, '/');
    _cleanup_free_ char *cloud = xstrndup(place, (size_t)(slash - place));
    _cleanup_(cloud_config_clear) CloudConfig config = {0};
    _cleanup_(err_clear) Err err = {0};
    int r = cloud_config_load(cloud, &config, &err);

    versioned = true;
    if (r == 0)
        r = store_swift(
            &(StoreSwift){.config = &config, .container = slash + 1, .prefix = "contract/"},
            &(StoreOptions){0}, &store, &err);
    if (r < 0)
        fprintf(stderr, "%s\n", err.text);
    return r;
}

int main(void)
{
    char folder[] = "/tmp/atoll-test-XXXXXX";
    const char *place = getenv("ATOLL_TEST_STORE");
    size_t numbers[ARRAY_LEN(rows)];
    struct CMUnitTest tests[ARRAY_LEN(rows)] = {0};

    crypt_init();
    if (!mkdtemp(folder))
        return 1;
    if (place ? open_swift(place) : store_folder(folder, false, &(StoreOptions){0}, &store, NULL))
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        numbers[i] = i;
        tests[i] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = run_row, .initial_state = &numbers[i]};
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)store_free(store);
    failed += file_remove_tree(folder, NULL) < 0;
    return failed;
}
