#include "pocket/neutron_address.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_cidr(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* NULL: refused */
    } rows[] = {
        {"10.0.0.0/24", "10.0.0.0/24"},
        {"10.0.0.5/24", "10.0.0.0/24"},
        {"127.79.4.7/8", "127.0.0.0/8"},
        {"10.0.0.1/32", "10.0.0.1/32"},
        {"10.0.0.0", NULL},
        {"10.0.0/24", NULL},
        {"10.0.0.0/33", NULL},
        {"10.0.0.0/7", NULL},
        {"10.0.0.0/-1", NULL},
        {"10.0.0.0/24 ", NULL},
        {"::/0", NULL},
        {"", NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Cidr c;
        char text[ADDRESS_TEXT_MAX];
        bool ok = cidr_parse(rows[i].text, &c);
        assert_int_equal(ok, rows[i].want != NULL);
        if (ok)
            assert_string_equal(cidr_text(c, text), rows[i].want);
    }
}

static void test_overlap(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool want;
    } rows[] = {
        {"10.0.0.0/24", "10.0.0.0/24", true},   {"10.0.0.0/24", "10.0.0.128/25", true},
        {"10.0.0.128/25", "10.0.0.0/24", true}, {"10.0.0.0/25", "10.0.0.128/25", false},
        {"10.0.0.0/8", "10.255.1.0/24", true},  {"10.0.0.0/24", "10.0.1.0/24", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Cidr a, b;
        assert_true(cidr_parse(rows[i].a, &a));
        assert_true(cidr_parse(rows[i].b, &b));
        assert_int_equal(cidr_overlap(a, b), rows[i].want);
    }
}

/* Pools as "first-last first-last". */
static void test_pools(void **state)
{
    (void)state;
    static const struct {
        const char *cidr, *gateway, *want;
    } rows[] = {
        {"10.0.0.0/24", "10.0.0.1", "10.0.0.2-10.0.0.254 "},
        {"10.0.0.0/24", "10.0.0.254", "10.0.0.1-10.0.0.253 "},
        {"10.0.0.0/24", "10.0.0.9", "10.0.0.1-10.0.0.8 10.0.0.10-10.0.0.254 "},
        {"10.0.0.0/24", NULL, "10.0.0.1-10.0.0.254 "},
        {"10.0.0.0/30", "10.0.0.1", "10.0.0.2-10.0.0.2 "},
        {"10.0.0.0/31", "10.0.0.0", "10.0.0.1-10.0.0.1 "},
        {"10.0.0.0/32", "10.0.0.0", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Cidr c;
        uint32_t gateway = 0;
        AddressRanges pools = {0};
        char text[128] = "", a[ADDRESS_TEXT_MAX], b[ADDRESS_TEXT_MAX];
        assert_true(cidr_parse(rows[i].cidr, &c));
        assert_true(!rows[i].gateway || address_parse(rows[i].gateway, &gateway));
        cidr_pools(c, gateway, &pools);
        for (size_t j = 0; j < pools.len; j++) {
            size_t n = strlen(text);
            snprintf(text + n, sizeof text - n, "%s-%s ", address_text(pools.items[j].first, a),
                     address_text(pools.items[j].last, b));
        }
        assert_string_equal(text, rows[i].want);
        vec_clear(&pools);
    }
}

static void test_lowest(void **state)
{
    (void)state;
    AddressRanges pools = {0};
    Addresses used = {0};
    uint32_t a;
    vec_push(&pools, (AddressRange){2, 3});
    vec_push(&pools, (AddressRange){0xfffffffe, 0xffffffff});
    static const uint32_t want[] = {2, 3, 0xfffffffe, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(address_free(&pools, &used, &a));
        assert_int_equal(a, want[i]);
        vec_push(&used, a);
    }
    assert_false(address_free(&pools, &used, &a));
    /* One that was given back is the next. */
    vec_remove(&used, 1);
    assert_true(address_free(&pools, &used, &a));
    assert_int_equal(a, 3);
    vec_clear(&pools);
    vec_clear(&used);
}

static void test_prefix(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int family; /* 0: refused */
    } rows[] = {{"0.0.0.0/0", 4},   {"10.1.2.3", 4}, {"::/0", 6}, {"2001:db8::/32", 6},
                {"10.0.0.0/33", 0}, {"::/129", 0},   {"ten", 0},  {"", 0},
                {NULL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int family = 0;
        assert_int_equal(prefix_parse(rows[i].text, &family), rows[i].family != 0);
        assert_int_equal(family, rows[i].family);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cidr),   cmocka_unit_test(test_overlap), cmocka_unit_test(test_pools),
        cmocka_unit_test(test_lowest), cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
