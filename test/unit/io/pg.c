#include "pg_world.h"

static void assert_fails(const PgTarget *t, const char *statement, ErrKind kind, const char *words)
{
    const char *const statements[] = {statement, NULL};
    _cleanup_(err_clear) Err err = {0};
    int r = pg_run(t, statements, &err);
    if (r != -(int)kind || !strstr(err.text, words))
        fail_msg("%s gives %d: %s", statement, r, err.text);
    assert_null(strchr(err.text, '\n'));
    assert_null(strstr(err.text, "secret"));
}

static void test_errors(void **state)
{
    World *w = need_server(state);
    _cleanup_secret_ Secret *wrong = secret_new("wrong", 5);
    PgTarget t = w->admin;

    assert_fails(&t, "SELEC 1", ERR_IO, "syntax error at or near");
    assert_fails(&t, "SELECT 1/0", ERR_IO, "division by zero");
    t.password = wrong;
    assert_fails(&t, "SELECT 1", ERR_AUTH, "password authentication failed for user \"admin\"");
    t = w->admin;
    t.user = "nobody-of-that-name";
    assert_fails(&t, "SELECT 1", ERR_AUTH, "password authentication failed");
    t = w->admin;
    t.database = "elsewhere";
    assert_fails(&t, "SELECT 1", ERR_NOT_FOUND, "database \"elsewhere\" does not exist");
    t = w->admin;
    t.port = 5433;
    assert_fails(&t, "SELECT 1", ERR_TEMPORARY, "No such file or directory");
    t.host = "127.0.0.1";
    t.port = 1;
    assert_fails(&t, "SELECT 1", ERR_TEMPORARY, "Connection refused");
    /* The connection goes away in the middle. */
    assert_fails(&w->admin, "SELECT pg_terminate_backend(pg_backend_pid())", ERR_TEMPORARY, "");
}

/* A probe waits no longer than it says, and talks to that user's server only. */
static void test_limits(void **state)
{
    World *w = need_server(state);
    static const char *const ask[] = {"SELECT 1", NULL};
    PgTarget t = w->admin;
    Msec start = time_mono();

    t.timeout_ms = 1 * SECOND;
    assert_int_equal(pg_run(&t, ask, NULL), 0);
    assert_fails(&t, "SELECT pg_sleep(60)", ERR_TEMPORARY, "no answer within 1 s");
    assert_true(time_mono() - start < 30 * SECOND);
    t.peer = "nobody";
    assert_fails(&t, "SELECT 1", ERR_TEMPORARY, "peer");
    if (w->user) {
        t.peer = w->user;
        assert_int_equal(pg_run(&t, ask, NULL), 0);
    }
}

/* The first failing statement ends it; those before it have happened. */
static void test_run(void **state)
{
    World *w = need_server(state);
    static const char *const statements[] = {"CREATE TABLE a (x int)", "CREATE TABLE a (x int)",
                                             "CREATE TABLE b (x int)", NULL};
    static const char *const drop[] = {"DROP TABLE a", NULL};
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(pg_run(&w->admin, statements, &err), -ERR_IO);
    assert_string_equal(err.text, "PostgreSQL: relation \"a\" already exists");
    assert_fails(&w->admin, "DROP TABLE b", ERR_IO, "does not exist");
    assert_int_equal(pg_run(&w->admin, drop, &err), 0);
}

static void test_ensure(void **state)
{
    World *w = need_server(state);
    _cleanup_secret_ Secret *first = secret_new("p'1\\\"", 5), *second = secret_new("two", 3);
    _cleanup_(err_clear) Err err = {0};
    const char *role = "mast\"odon", *database = "Masto-don'1";
    PgTarget t = w->admin;
    t.user = role;
    t.database = database;

    t.password = first;
    if (pg_ensure_database(&w->admin, role, first, database, &err) < 0)
        fail_msg("%s", err.text);
    static const char *const use[] = {
        "CREATE TABLE t (x text)",
        "DO $$ BEGIN ASSERT (SELECT datcollate = 'C' AND pg_encoding_to_char(encoding) = 'UTF8' "
        "FROM pg_database WHERE datname = current_database()); "
        "ASSERT lower(U&'\\00C9') = U&'\\00E9'; END $$",
        NULL};
    if (pg_run(&t, use, &err) < 0)
        fail_msg("%s", err.text);

    /* Again, with another password: the data stays, the password changes. */
    assert_int_equal(pg_ensure_database(&w->admin, role, second, database, &err), 0);
    static const char *const again[] = {"INSERT INTO t VALUES ('x')", NULL};
    assert_int_equal(pg_run(&t, again, &err), -ERR_AUTH);
    t.password = second;
    assert_int_equal(pg_run(&t, again, &err), 0);
    /* That role may not make databases. */
    assert_int_equal(pg_ensure_database(&t, "other", second, "other", &err), -ERR_DENIED);
    assert_true(starts_with(err.text, "making the database other: "));
}

/* Neither password may be in the server's log, also when it logs every statement. */
static void test_log(void **state)
{
    World *w = need_server(state);
    static const char *const log_all[] = {"ALTER ROLE admin SET log_statement = 'all'", NULL};
    _cleanup_secret_ Secret *password = secret_new("xyzzy-plugh", 11);
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(buf_clear) Buf log = BUF_INIT(BUF_MAX_BODY);
    _cleanup_free_ char *path = path_join(w->folder, "log");
    assert_int_equal(pg_run(&w->admin, log_all, &err), 0);
    assert_int_equal(pg_ensure_database(&w->admin, "quiet", password, "quiet", &err), 0);
    assert_int_equal(file_read(path, &log, &err), 0);
    assert_non_null(strstr(log.p, "ALTER ROLE"));
    assert_null(strstr(log.p, "xyzzy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors), cmocka_unit_test(test_limits), cmocka_unit_test(test_run),
        cmocka_unit_test(test_ensure), cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
