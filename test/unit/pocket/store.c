#include "pocket/store.h"
#include "io/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Folder {
    char dir[64];
    char *path;
    Store *store;
    bool fresh;
} Folder;

static void open_it(Folder *f)
{
    assert_int_equal(store_open(f->path, &f->store, &f->fresh, NULL), 0);
}

static int setup(void **state)
{
    Folder *f = NEW(Folder);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/atoll-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = path_join(f->dir, "pocket.db");
    open_it(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Folder *f = *state;
    (void)store_close(f->store);
    int r = file_remove_tree(f->dir, NULL);
    free(f->path);
    free(f);
    return r;
}

static void put(Folder *f, const char *kind, const char *project, const char *name, const char *id,
                int value)
{
    _cleanup_json_ json_t *row = json_make_new("{s:s,s:i}", "id", id, "value", value);
    store_put(f->store, kind, project, name, row);
}

/* The ids of a kind as "a b c". */
static void assert_ids(Folder *f, const char *kind, const char *project, const char *want)
{
    _cleanup_json_ json_t *rows = store_list_new(f->store, kind, project);
    _cleanup_(buf_clear) Buf b = BUF_INIT(BUF_MAX_LINE);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        buf_printf(&b, "%s%s", i ? " " : "", json_str(row, "id"));
    }
    assert_string_equal(b.p, want);
    assert_int_equal(store_count(f->store, kind, project), (int64_t)json_array_size(rows));
}

static void test_rows(void **state)
{
    Folder *f = *state;
    assert_true(f->fresh);
    put(f, "port", "p1", "web", "c", 1);
    put(f, "port", "p2", "db", "a", 2);
    put(f, "port", "p1", "web", "b", 3);
    put(f, "volume", "p1", NULL, "a", 4);
    assert_ids(f, "port", NULL, "c a b");
    assert_ids(f, "port", "p1", "c b");
    assert_ids(f, "server", NULL, "");
    /* A second put keeps the place in the order. */
    put(f, "port", "p1", "edge", "c", 5);
    assert_ids(f, "port", NULL, "c a b");
    _cleanup_json_ json_t *c = store_get_new(f->store, "port", "c");
    _cleanup_json_ json_t *web = store_find_new(f->store, "port", NULL, "web");
    _cleanup_json_ json_t *none = store_find_new(f->store, "port", "p2", "web");
    _cleanup_json_ json_t *volume = store_get_new(f->store, "volume", "c");
    assert_int_equal(json_int(c, "value", 0), 5);
    assert_string_equal(json_str(web, "id"), "b");
    assert_null(none);
    assert_null(volume);
    assert_null(store_get_new(f->store, "port", NULL));
    assert_true(store_delete(f->store, "port", "a"));
    assert_false(store_delete(f->store, "port", "a"));
    assert_ids(f, "port", NULL, "c b");
}

static void test_transactions(void **state)
{
    Folder *f = *state;
    store_begin(f->store);
    put(f, "port", NULL, NULL, "kept", 1);
    store_end(f->store, true);
    store_begin(f->store);
    put(f, "port", NULL, NULL, "dropped", 1);
    assert_true(store_delete(f->store, "port", "kept"));
    store_end(f->store, false);
    assert_ids(f, "port", NULL, "kept");
}

static void test_reopen(void **state)
{
    Folder *f = *state;
    /* A crash before the first commit leaves a file; the cloud is as fresh as before. */
    (void)store_close(f->store);
    open_it(f);
    assert_true(f->fresh);
    put(f, "port", NULL, NULL, "x", 7);
    (void)store_close(f->store);
    open_it(f);
    assert_false(f->fresh);
    assert_ids(f, "port", NULL, "x");
}

static void test_bad_file(void **state)
{
    Folder *f = *state;
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *path = path_join(f->dir, "other");
    assert_int_equal(
        file_write(path, STR_LIT("this is no database, and long enough to tell"), 0600, NULL), 0);
    Store *s;
    bool fresh;
    assert_int_equal(store_open(path, &s, &fresh, &err), -ERR_IO);
    assert_non_null(strstr(err.text, "other"));
    assert_null(store_close(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
