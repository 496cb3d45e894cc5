#include "deploy/facts.h"
#include "base/util.h"

#include <setjmp.h>

#include <cmocka.h>

static void free_disk(void **state)
{
    static const struct {
        const char *df;
        int64_t kb;
    } rows[] = {
        {"Filesystem     1024-blocks     Used Available Capacity Mounted on\n"
         "/dev/vda1        264091096 18353208  82223332      19% /\n",
         82223332},
        {"Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 10 10 0 100% /\n", 0},
        {"df: .: No such file or directory\n", -1},
        {"a\nb c\n", -1},
        {"a\n/dev/vda1 1 2 many 3\n", -1},
        {"", -1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(facts_free_kb(str_of(rows[i].df)), rows[i].kb);
}

#define LISTING                                                                                    \
    "../canary-2/db/migrate:\n20261101090000_create_probes.rb\n20261102090000_add_queue.rb\n\n"    \
    "../canary-2/db/post_migrate:\n20261101090200_index_runs.rb\n20261102090100_demand.rb\n"       \
    "README.md\n"

static void pending_migrations(void **state)
{
    static const struct {
        const char *listing, *applied;
        bool ok;
        int before, after;
    } rows[] = {
        {LISTING, "20261101090000\n20261101090200\n", true, 1, 1},
        {LISTING, "", true, 2, 2},
        {LISTING,
         "20261101090000\n20261102090000\n20261101090200\n20261102090100\n20300101000000\n", true,
         0, 0},
        /* A part of a number is another number. */
        {LISTING, "2026110109000\n202611010902001\n", true, 2, 2},
        {"ls: cannot access 'db/migrate': No such file or directory\n", "", false, 0, 0},
        {"", "", false, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Pending p = {0};
        assert_int_equal(facts_pending(str_of(rows[i].listing), str_of(rows[i].applied), &p),
                         rows[i].ok);
        assert_int_equal(p.before, rows[i].before);
        assert_int_equal(p.after, rows[i].after);
    }
}

static void definitions_of_indexes(void **state)
{
    static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const struct {
        const char *tail;
        bool ok;
    } rows[] = {{"  -\n", true}, {"", true}, {"0  -\n", false}, {"\n  -", false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *text = xasprintf("%s%s", digest, rows[i].tail);
        _cleanup_free_ char *index = facts_index_new(str_of(text));
        assert_int_equal(index != NULL, rows[i].ok);
        if (index)
            assert_string_equal(index, "0123456789abcdef");
    }
    assert_null(facts_index_new(str_of("sh: 1: cd: can't cd to app/chewy\n")));
    assert_null(facts_index_new(str_of("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_disk),
        cmocka_unit_test(pending_migrations),
        cmocka_unit_test(definitions_of_indexes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
