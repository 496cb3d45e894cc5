/* Which database a dump is of, and what a pg_dump that failed died of. */
#include "backup/dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_database(void **state)
{
    static const struct {
        const char *all[4];
        const char *meant, *words; /* meant NULL: the error says these words */
    } rows[] = {
        {{"postgres", "mastodon"}, "mastodon", NULL},
        {{"mastodon"}, "mastodon", NULL},
        {{"postgres"}, "postgres", NULL},
        {{"bench", "mastodon", "postgres"}, NULL, "bench, mastodon"},
        {{NULL}, NULL, "0 databases"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(strlist_clear) StrList all = {0};
        _cleanup_(err_clear) Err err = {0};
        for (size_t k = 0; rows[i].all[k]; k++)
            strlist_add(&all, rows[i].all[k]);
        const char *got = dump_database(&all, &err);
        if (!streq(got, rows[i].meant) || (rows[i].words && !strstr(err.text, rows[i].words)))
            fail_msg("row %zu: %s, %s", i, got ? got : "-", err.text ? err.text : "-");
        if (!got)
            assert_int_equal(err.kind, ERR_USAGE);
    }
}

/* Words of PostgreSQL 15. */
static void test_failure(void **state)
{
    static const struct {
        const char *words;
        ErrKind kind;
    } rows[] = {
        {"pg_dump: error: could not write to file: No space left on device", ERR_QUOTA},
        {"pg_dump: error: query failed: ERROR:  permission denied for table users\npg_dump: "
         "detail: Query was: LOCK TABLE public.users IN ACCESS SHARE MODE",
         ERR_DENIED},
        {"connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  password "
         "authentication failed for user \"backup\"",
         ERR_AUTH},
        {"pg_dump: error: Dumping the contents of table \"t\" failed: PQgetCopyData() failed.\n"
         "pg_dump: detail: Error message from server: server closed the connection unexpectedly",
         ERR_TEMPORARY},
        {"pg_dump: error: a worker process died unexpectedly", ERR_IO},
        {"", ERR_IO},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(dump_failure(str_of(rows[i].words)), rows[i].kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_database),
        cmocka_unit_test(test_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
