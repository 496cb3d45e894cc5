#include "backup/store.h"

#include "io/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

static int make_folder(void **state)
{
    char *path = xstrdup("/tmp/atoll-store-XXXXXX");
    *state = mkdtemp(path);
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    int r = file_remove_tree(*state, NULL);
    free(*state);
    return r;
}

static Store *open_folder(void **state)
{
    Store *s = NULL;
    assert_int_equal(store_folder(*state, true, &(StoreOptions){0}, &s, NULL), 0);
    return s;
}

static void assert_content(Store *s, const char *name, int64_t offset, int64_t size,
                           const char *want)
{
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);
    assert_int_equal(store_get(s, name, offset, size, &b, NULL), 0);
    assert_string_equal(b.p, want);
}

static void test_put_and_get(void **state)
{
    _cleanup_(store_drop) Store *s = open_folder(state);
    _cleanup_(store_drop) Store *other = store_clone(s);
    _cleanup_(buf_clear) Buf b = BUF_INIT(1000);

    assert_int_equal(store_get(s, "host/a", 0, 0, &b, NULL), -ERR_NOT_FOUND);
    assert_int_equal(store_put(s, "host/a", STR_LIT("0123456789"), STORE_NEW, NULL), 0);
    assert_content(other, "host/a", 0, 0, "0123456789");
    assert_content(other, "host/a", 3, 4, "3456");
    assert_content(other, "host/a", 7, 0, "789");
    assert_int_equal(store_get(s, "host/a", 7, 4, &b, NULL), -ERR_CORRUPT);
    assert_int_equal(store_put(other, "host/a", STR_LIT("x"), STORE_NEW, NULL), -ERR_CONFLICT);
    assert_content(s, "host/a", 0, 0, "0123456789");
    assert_int_equal(store_put(other, "host/a", STR_LIT("x"), STORE_ANY, NULL), 0);
    assert_content(s, "host/a", 0, 0, "x");
    assert_true(store_requests(s) >= 9);
    assert_true(store_requests(s) == store_requests(other));

    Buf small = BUF_INIT(3);
    assert_int_equal(store_put(s, "host/b", STR_LIT("0123"), STORE_ANY, NULL), 0);
    assert_int_equal(store_get(s, "host/b", 0, 0, &small, NULL), -ERR_CORRUPT);
    buf_clear(&small);
}

static void test_list_and_delete(void **state)
{
    _cleanup_(store_drop) Store *s = open_folder(state);
    _cleanup_(store_items_clear) StoreItems l = {0};
    static const char *const names[] = {"b/2", "a", "b/1", "bc", "b/c/d"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(store_put(s, names[i], STR_LIT("abc"), STORE_NEW, NULL), 0);
    assert_int_equal(store_list(s, "b/", true, &l, NULL), 0);
    assert_int_equal(l.len, 3);
    assert_string_equal(l.items[0].name, "b/1");
    assert_string_equal(l.items[1].name, "b/2");
    assert_string_equal(l.items[2].name, "b/c/d");
    assert_int_equal(l.items[0].bytes, 3);
    assert_true(l.items[0].newest && !l.items[0].version);
    assert_int_equal(store_delete(s, &l.items[0], NULL), 0);
    assert_int_equal(store_delete(s, &l.items[0], NULL), 0);
    store_items_clear(&l);
    assert_int_equal(store_list(s, "", false, &l, NULL), 0);
    assert_int_equal(l.len, 4);
    store_items_clear(&l);
    assert_int_equal(store_list(s, "b", false, &l, NULL), 0);
    assert_int_equal(l.len, 3);
}

static void test_names(void **state)
{
    _cleanup_(store_drop) Store *s = open_folder(state);
    static const char *const bad[] = {"",      "/a",  "a/",   "a//b",        "../a", "a/../b",
                                      "a/./b", "a b", "a\nb", "a?multipart", "a%2e"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(store_put(s, bad[i], STR_LIT("x"), STORE_ANY, NULL), -ERR_CORRUPT);
    Store *none = NULL;
    assert_int_equal(store_folder("/nonexistent/x", false, &(StoreOptions){0}, &none, NULL),
                     -ERR_NOT_FOUND);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_and_get, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_list_and_delete, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_names, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
