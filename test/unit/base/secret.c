#include "base/secret.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "freed.h"

static void keeps_the_bytes(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *s = secret_new("a\0b", 3), *copy = secret_copy(s),
                            *empty = secret_new(NULL, 0);
    assert_int_equal(secret_expose(s).n, 3);
    assert_memory_equal(secret_expose(s).p, "a\0b", 4); /* with the NUL behind it */
    assert_ptr_not_equal(secret_expose(copy).p, secret_expose(s).p);
    assert_true(secret_eq(s, copy));
    assert_int_equal(secret_expose(empty).n, 0);
    assert_string_equal(secret_expose(empty).p, "");
    assert_null(secret_copy(NULL));
}

static void equality(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } rows[] = {
        {"key", "key", true}, {"key", "kez", false}, {"key", "xey", false}, {"key", "keys", false},
        {"", "", true},       {"", "k", false},      {"k", NULL, false},    {NULL, NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_secret_ Secret *a = rows[i].a ? secret_new(rows[i].a, strlen(rows[i].a)) : NULL;
        _cleanup_secret_ Secret *b = rows[i].b ? secret_new(rows[i].b, strlen(rows[i].b)) : NULL;
        assert_int_equal(secret_eq(a, b), rows[i].equal);
        assert_int_equal(secret_eq(b, a), rows[i].equal);
    }
}

static void freeing_overwrites(void **state)
{
    (void)state;
    assert_null(secret_free(NULL));
    char bytes[64];
    memset(bytes, 'S', sizeof bytes);
    Secret *s = secret_new(bytes, sizeof bytes), *copy = secret_copy(s);
    void *control = malloc(sizeof bytes);
    assert_non_null(control);
    memcpy(control, bytes, sizeof bytes);
    freed_mark = 'S';
    assert_null(secret_free(s));
    secret_drop(copy);
    freed_mark = 0;
    assert_int_equal(freed_unwiped, 0);
    /* Through a pointer, or the compiler would leave out a memcpy that only free() sees. */
    void (*volatile give_back)(void *) = __wrap_free;
    freed_mark = 'S';
    give_back(control);
    freed_mark = 0;
    assert_int_equal(freed_unwiped, 1); /* the watch works */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_bytes),
        cmocka_unit_test(equality),
        cmocka_unit_test(freeing_overwrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
