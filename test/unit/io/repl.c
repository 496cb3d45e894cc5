#include "io/repl.h"
#include "pg_world.h"

static Repl *open_it(World *w, ReplSystem *ret)
{
    _cleanup_(err_clear) Err err = {0};
    Repl *r = NULL;
    if (repl_open(&w->admin, "unit", &r, ret, &err) < 0)
        fail_msg("%s", err.text);
    return r;
}

static void run(World *w, const char *statement)
{
    const char *const statements[] = {statement, NULL};
    _cleanup_(err_clear) Err err = {0};
    if (pg_run(&w->admin, statements, &err) < 0)
        fail_msg("%s: %s", statement, err.text);
}

static char *ask(World *w, const char *statement)
{
    _cleanup_(strlist_clear) StrList cells = {0};
    _cleanup_(err_clear) Err err = {0};
    if (pg_query(&w->admin, statement, NULL, &cells, &err) < 0)
        fail_msg("%s: %s", statement, err.text);
    assert_int_equal(cells.len, 1);
    return xstrdup(cells.items[0]);
}

static void test_open(void **state)
{
    World *w = need_server(state);
    ReplSystem system;
    _cleanup_(repl_drop) Repl *r = open_it(w, &system);
    _cleanup_free_ char *id = ask(w, "SELECT system_identifier FROM pg_control_system()");
    assert_string_equal(system.id, id);
    assert_int_equal(system.tli, 1);
    assert_int_equal(system.segment_bytes, 16 << 20);
    assert_true(system.version >= 130000 && system.flushed > 0);
    assert_false(system.checksums);
    assert_true(repl_fd(r) >= 0);
}

static void assert_refused(const PgTarget *t, ErrKind kind, const char *words, const char *hint)
{
    _cleanup_(err_clear) Err err = {0};
    _cleanup_(repl_drop) Repl *r = NULL;
    ReplSystem system;
    int got = repl_open(t, "unit", &r, &system, &err);
    if (got != -(int)kind || !strstr(err.text, words) || (hint && !strstr(err.hint, hint)))
        fail_msg("%d: %s; %s", got, err.text, err.hint ? err.hint : "no hint");
    assert_null(strstr(err.text, "secret"));
}

static void test_refused(void **state)
{
    World *w = need_server(state);
    _cleanup_secret_ Secret *wrong = secret_new("wrong", 5);
    PgTarget t = w->admin;

    t.password = wrong;
    assert_refused(&t, ERR_AUTH, "password authentication failed", "\\password admin");
    t.password = NULL;
    assert_refused(&t, ERR_AUTH, "no password supplied", "password file");
    run(w, "CREATE ROLE plain LOGIN PASSWORD 'it''s \\secret'");
    t = w->admin;
    t.user = "plain";
    assert_refused(&t, ERR_DENIED, "", "ALTER ROLE \"plain\" REPLICATION");
    t.port = 5433;
    assert_refused(&t, ERR_TEMPORARY, "No such file", NULL);
}

static void test_slot(void **state)
{
    World *w = need_server(state);
    ReplSystem system;
    _cleanup_(repl_drop) Repl *r = open_it(w, &system);
    _cleanup_(err_clear) Err err = {0};
    uint64_t lsn = 1;
    uint32_t tli = 0;

    assert_int_equal(repl_slot(r, "one", &w->admin, &lsn, &tli, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.hint, "--make-slot"));
    assert_int_equal(repl_slot_make(r, "one; DROP", &err), -ERR_CONFIG);
    assert_int_equal(repl_slot_make(r, "one", &err), 0);
    assert_int_equal(repl_slot_make(r, "one", &err), -ERR_CONFLICT);
    assert_int_equal(repl_slot(r, "one", &w->admin, &lsn, &tli, &err), 0);
    assert_true(lsn > 0 && lsn <= system.flushed);
    assert_int_equal(tli, 1);
    run(w, "SELECT pg_create_physical_replication_slot('never')");
    assert_int_equal(repl_slot(r, "never", &w->admin, &lsn, &tli, &err), 0);
    assert_int_equal(lsn, 0);
    /* The session goes on behind an error. */
    _cleanup_(buf_clear) Buf history = BUF_INIT(BUF_MAX_LINE);
    assert_true(repl_history(r, 7, &history, &err) < 0);
    assert_int_equal(repl_start(r, "two", system.flushed, 1, &err), -ERR_NOT_FOUND);
    assert_int_equal(repl_slot(r, "one", &w->admin, &lsn, &tli, &err), 0);
}

/* Both are found out only when the copy has begun, or not yet. */
static void test_elsewhere(void **state)
{
    World *w = need_server(state);
    ReplSystem system;
    ReplMessage m;
    ReplEvent e = REPL_NOTHING;
    struct {
        uint64_t lsn;
        ErrKind kind;
    } table[] = {{(uint64_t)9 << 40, ERR_CONFLICT}, {0, ERR_NOT_FOUND}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_(repl_drop) Repl *r = open_it(w, &system);
        _cleanup_(err_clear) Err err = {0};
        if (i == 0)
            assert_int_equal(repl_slot_make(r, "elsewhere", &err), 0);
        int got = repl_start(r, "elsewhere", table[i].lsn, 1, &err);
        for (Msec deadline = time_mono() + 20 * SECOND; got == 0 && time_mono() < deadline;) {
            struct pollfd p = {.fd = repl_fd(r), .events = POLLIN};
            poll(&p, 1, 100);
            got = repl_next(r, &e, &m, &err);
        }
        if (got != -(int)table[i].kind || !err.hint)
            fail_msg("%d: %s", got, err.text);
    }
}

/* Reads until `until` has come; returns the position behind what came. */
static uint64_t read_until(Repl *r, uint64_t from, uint64_t until)
{
    _cleanup_(err_clear) Err err = {0};
    Msec deadline = time_mono() + 20 * SECOND;
    ReplMessage m;
    ReplEvent e;

    while (from < until) {
        if (time_mono() > deadline)
            fail_msg("%llx of %llx", (unsigned long long)from, (unsigned long long)until);
        if (repl_next(r, &e, &m, &err) < 0)
            fail_msg("%s", err.text);
        if (e == REPL_NOTHING) {
            struct pollfd p = {.fd = repl_fd(r), .events = POLLIN};
            assert_true(poll(&p, 1, 10000) > 0);
        }
        if (e != REPL_WAL)
            continue;
        assert_int_equal(m.start, from);
        assert_true(m.sent_ms > time_now() - MINUTE && m.sent_ms < time_now() + MINUTE);
        from += m.data.n;
    }
    return from;
}

static void test_stream(void **state)
{
    World *w = need_server(state);
    ReplSystem system;
    _cleanup_(repl_drop) Repl *r = open_it(w, &system), *other = open_it(w, &system);
    _cleanup_(err_clear) Err err = {0};
    ReplMessage m;
    ReplEvent e;

    assert_int_equal(repl_slot_make(r, "log", &err), 0);
    uint64_t from = system.flushed & ~(uint64_t)(system.segment_bytes - 1);
    assert_int_equal(repl_start(r, "log", from, 1, &err), 0);
    assert_int_equal(repl_start(other, "log", from, 1, &err), -ERR_CONFLICT);
    assert_non_null(strstr(err.hint, "slot of its own"));
    run(w, "CREATE TABLE t AS SELECT generate_series(1, 50000) AS x");
    _cleanup_free_ char *end = ask(w, "SELECT pg_current_wal_flush_lsn() - '0/0'");
    int64_t until = 0;
    assert_true(parse_int(end, 1, INT64_MAX, &until));
    from = read_until(r, from, (uint64_t)until);

    /* The slot follows what is said to be flushed. */
    assert_int_equal(repl_status(r, from, from, time_now(), &err), 0);
    char *moved = xstrdup("0");
    for (Msec deadline = time_mono() + 20 * SECOND; time_mono() < deadline;) {
        free(moved);
        moved = ask(w, "SELECT restart_lsn - '0/0' FROM pg_replication_slots "
                       "WHERE slot_name = 'log'");
        if (strtoull(moved, NULL, 10) == from)
            break;
        poll(NULL, 0, 10);
    }
    assert_int_equal(strtoull(moved, NULL, 10), from);
    free(moved);

    run(w, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
           "WHERE slot_name = 'log'");
    int got = 0;
    for (Msec deadline = time_mono() + 20 * SECOND; got == 0 && time_mono() < deadline;) {
        struct pollfd p = {.fd = repl_fd(r), .events = POLLIN};
        poll(&p, 1, 100);
        got = repl_next(r, &e, &m, &err);
    }
    assert_int_equal(got, -ERR_TEMPORARY);
}

/* Its walsender hangs in the middle, and the connection stands. */
static void test_base_hangs(void **state)
{
    World *w = need_server(state);
    const ReplBase ask_base = {
        .label = "unit", .fast = true, .rate_bytes = 1 << 20, .quiet_ms = 2 * SECOND};
    ReplSystem system;
    _cleanup_(repl_drop) Repl *r = open_it(w, &system);
    _cleanup_(err_clear) Err err = {0};
    ReplBegin begin;
    ReplPart part = REPL_DATA;
    Str data;
    int64_t pid = 0;
    int got = repl_base(r, &ask_base, &begin, &err);

    assert_int_equal(got, 0);
    _cleanup_free_ char *text =
        ask(w, "SELECT pid FROM pg_stat_replication WHERE application_name = 'unit'");
    assert_true(parse_int(text, 1, INT32_MAX, &pid));
    assert_int_equal(kill((pid_t)pid, SIGSTOP), 0);
    Msec started = time_mono();
    while (got == 0 && part != REPL_END && time_mono() - started < MINUTE)
        got = repl_base_next(r, &part, &data, &err);
    assert_int_equal(kill((pid_t)pid, SIGCONT), 0);
    assert_int_equal(got, -ERR_TEMPORARY);
    assert_non_null(strstr(err.text, "has sent nothing of the backup for 2 s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_slot),   cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_stream), cmocka_unit_test(test_base_hangs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
