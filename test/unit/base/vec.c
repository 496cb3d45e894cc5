#include "base/vec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef VEC(int) Ints;

static void grows_and_keeps(void **state)
{
    (void)state;
    Ints v = {0};
    for (int i = 0; i < 1000; i++)
        vec_push(&v, i);
    assert_int_equal(v.len, 1000);
    assert_true(v.cap >= v.len && v.cap < 4 * v.len);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(v.items[i], i);
    assert_int_equal(*vec_last(&v), 999);
    vec_clear(&v);
    assert_null(v.items);
    assert_int_equal(v.len, 0);
    vec_push(&v, 5);
    assert_int_equal(v.items[0], 5);
    vec_clear(&v);
}

static void remove_keeps_order(void **state)
{
    (void)state;
    Ints v = {0};
    for (int i = 0; i < 4; i++)
        vec_push(&v, i);
    vec_remove(&v, 1);
    vec_remove(&v, 2);
    vec_remove(&v, 0);
    assert_int_equal(v.len, 1);
    assert_int_equal(v.items[0], 2);
    vec_remove(&v, 0);
    assert_int_equal(v.len, 0);
    vec_clear(&v);
}

static void takes_structs(void **state)
{
    (void)state;
    typedef struct Pair {
        const char *name;
        int64_t value;
    } Pair;
    VEC(Pair) v = {0};
    vec_push(&v, (Pair){"a", 1});
    vec_push(&v, (Pair){.name = "b", .value = 2});
    assert_string_equal(vec_last(&v)->name, "b");
    assert_int_equal(v.items[0].value, 1);
    vec_clear(&v);
}

static void grow_only_when_needed(void **state)
{
    (void)state;
    size_t cap = 0;
    char *p = vec_grow(NULL, &cap, 100, 1);
    assert_int_equal(cap, 100);
    assert_ptr_equal(vec_grow(p, &cap, 100, 1), p);
    assert_int_equal(cap, 100);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_keeps),
        cmocka_unit_test(remove_keeps_order),
        cmocka_unit_test(takes_structs),
        cmocka_unit_test(grow_only_when_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
