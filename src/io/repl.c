#include "base/time.h"
#include "io/repl_internal.h"

#include <endian.h>

#define OLDEST_VERSION 130000
#define SLOT_NAME_MAX 63 /* NAMEDATALEN - 1 */
/* PostgreSQL's own time is microseconds since 2000-01-01. */
#define PG_EPOCH_MS (946684800 * SECOND)

bool repl_lsn(const char *text, uint64_t *ret)
{
    char *end = NULL;
    uint64_t high = strtoull(text, &end, 16);
    if (end == text || *end != '/' || high > UINT32_MAX)
        return false;
    const char *second = end + 1;
    uint64_t low = strtoull(second, &end, 16);
    if (end == second || *end || low > UINT32_MAX)
        return false;
    *ret = high << 32 | low;
    return true;
}

int repl_ask(Repl *r, const char *command, PGresult **ret, char ret_state[static SQLSTATE_MAX],
             Err *err)
{
    return pg_ask(r->c, PG_STATEMENT(command, NULL, REPL_TIMEOUT_MS), ret, ret_state, err);
}

/* A row that must be there, of at least so many columns. */
static int ask_row(Repl *r, const char *command, int columns, PGresult **ret, Err *err)
{
    char state[SQLSTATE_MAX];
    _cleanup_(result_drop) PGresult *row = NULL;

    int got = repl_ask(r, command, &row, state, err);
    if (got < 0)
        return err_wrap(err, "%s", command);
    if (PQntuples(row) != 1 || PQnfields(row) < columns)
        return err_set(err, ERR_CORRUPT, "PostgreSQL answered %s with %d rows of %d columns",
                       command, PQntuples(row), PQnfields(row));
    *ret = TAKE(row);
    return 0;
}

/* Another kind than the SQLSTATE's class says, and what the person can do. */
static int explain(Err *err, ErrKind kind, const char *hint)
{
    if (err)
        err->kind = kind;
    (void)err_hint(err, "%s", hint);
    return -(int)kind;
}

/* Why a walsender would not have us. (auth.c, postinit.c and walsender.c of PostgreSQL; the names
 * of files and settings in its messages are the same in every language.) */
static int refused(const PgTarget *t, const char *state, Err *err)
{
    bool local = t->host[0] == '/';
    _cleanup_free_ char *hint = NULL;

    if (strstr(err->text, "pg_hba.conf")) {
        hint = xasprintf("add a line to the server's pg_hba.conf, above those that refuse it, and "
                         "reload: %s replication %s %s scram-sha-256",
                         local ? "local" : "host", t->user,
                         local ? "" : "<this machine's address>/32");
        return explain(err, ERR_DENIED, hint);
    }
    if (streq(state, "42501")) {
        hint = xasprintf("as a superuser: ALTER ROLE \"%s\" REPLICATION", t->user);
        return explain(err, ERR_DENIED, hint);
    }
    if (err->kind == ERR_AUTH) {
        hint = xasprintf("the password file must hold the password of the role %s; a superuser "
                         "makes the role by CREATE ROLE \"%s\" LOGIN REPLICATION, and sets its "
                         "password with psql's \\password %s",
                         t->user, t->user, t->user);
        return explain(err, ERR_AUTH, hint);
    }
    if (streq(state, "53300") && strstr(err->text, "max_wal_senders"))
        /* None at all is what wal_level minimal demands. */
        return explain(err, strstr(err->text, "currently 0)") ? ERR_CONFIG : ERR_TEMPORARY,
                       "set wal_level = replica and max_wal_senders = 10 (or more than it is) in "
                       "postgresql.conf, and restart the server");
    return -(int)err->kind;
}

/* "16MB" as SHOW prints it. */
static uint32_t parse_size(const char *text)
{
    char *end = NULL;
    unsigned long n = strtoul(text, &end, 10);
    unsigned shift = streq(end, "kB") ? 10 : streq(end, "MB") ? 20 : streq(end, "GB") ? 30 : 0;
    uint64_t bytes = (uint64_t)n << shift;

    return n <= 1024 * 1024 && bytes <= (1u << 30) ? (uint32_t)bytes : 0;
}

static int identify(Repl *r, ReplSystem *ret, Err *err)
{
    _cleanup_(result_drop) PGresult *system = NULL, *segment = NULL, *checksums = NULL;
    int64_t tli = 0;

    int got = ask_row(r, "IDENTIFY_SYSTEM", 3, &system, err);
    if (got == 0)
        got = ask_row(r, "SHOW wal_segment_size", 1, &segment, err);
    if (got == 0)
        got = ask_row(r, "SHOW data_checksums", 1, &checksums, err);
    if (got < 0)
        return got;
    *ret = (ReplSystem){.version = r->version,
                        .segment_bytes = parse_size(PQgetvalue(segment, 0, 0)),
                        .checksums = streq(PQgetvalue(checksums, 0, 0), "on")};
    snprintf(ret->id, sizeof ret->id, "%s", PQgetvalue(system, 0, 0));
    if (!parse_int(PQgetvalue(system, 0, 1), 1, UINT32_MAX, &tli) ||
        !repl_lsn(PQgetvalue(system, 0, 2), &ret->flushed) || !ret->segment_bytes)
        return err_set(err, ERR_CORRUPT, "PostgreSQL: IDENTIFY_SYSTEM says what nobody can read");
    ret->tli = (uint32_t)tli;
    return 0;
}

int repl_open(const PgTarget *t, const char *name, Repl **ret, ReplSystem *ret_system, Err *err)
{
    char state[SQLSTATE_MAX];
    _cleanup_(repl_drop) Repl *r = NEW(Repl);
    _cleanup_(err_clear) Err own = {0};

    if (pg_connect(t, name, true, &r->c, state, &own) < 0) {
        (void)refused(t, state, &own);
        return err_move(err, &own);
    }
    r->version = PQserverVersion(r->c);
    if (r->version < OLDEST_VERSION)
        return err_set(err, ERR_CONFIG, "PostgreSQL is of version %d; backups need 13 or later",
                       r->version / 10000);
    int got = identify(r, ret_system, err);
    if (got < 0)
        return got;
    *ret = TAKE(r);
    return 0;
}

static void drop_copy(Repl *r)
{
    PQfreemem(r->copy);
    r->copy = NULL;
}

Repl *repl_free(Repl *r)
{
    if (!r)
        return NULL;
    drop_copy(r);
    PQclear(r->end);
    repl_base_free(r->base);
    PQfinish(r->c);
    free(r);
    return NULL;
}

int repl_fd(const Repl *r)
{
    return PQsocket(r->c);
}

/* (ReplicationSlotValidateName of slot.c) It stands in commands as it is. */
static int check_slot(const char *slot, Err *err)
{
    size_t n = strlen(slot);

    if (n == 0 || n > SLOT_NAME_MAX || slot[strspn(slot, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        return err_set(err, ERR_CONFIG, "\"%s\" cannot be a slot's name: 1 to %d of a-z, 0-9 and _",
                       slot, SLOT_NAME_MAX);
    return 0;
}

/* Servers before 15 tell it only by SQL, and not which timeline its position is of. */
static int slot_by_sql(const PgTarget *sql, const char *slot, StrList *ret, Err *err)
{
    if (!sql)
        return err_set(err, ERR_CONFIG,
                       "PostgreSQL before 15 tells a slot's position only to an SQL login");
    return pg_query(sql,
                    "SELECT slot_type, restart_lsn, 0 FROM pg_catalog.pg_replication_slots "
                    "WHERE slot_name = $1",
                    slot, ret, err);
}

static int slot_by_walsender(Repl *r, const char *slot, StrList *ret, Err *err)
{
    _cleanup_free_ char *command = xasprintf("READ_REPLICATION_SLOT %s", slot);
    _cleanup_(result_drop) PGresult *row = NULL;
    char state[SQLSTATE_MAX];

    int got = repl_ask(r, command, &row, state, err);
    /* feature_not_supported: a logical one. */
    if (got < 0 && streq(state, "0A000")) {
        strlist_add(ret, "logical");
        err_clear(err);
        return 0;
    }
    for (int i = 0; got == 0 && !PQgetisnull(row, 0, 0) && i < PQnfields(row); i++)
        strlist_add(ret, PQgetvalue(row, 0, i));
    return got;
}

int repl_slot(Repl *r, const char *slot, const PgTarget *sql, uint64_t *ret_lsn, uint32_t *ret_tli,
              Err *err)
{
    _cleanup_(strlist_clear) StrList cells = {0};
    int64_t tli = 0;

    int got = check_slot(slot, err);
    if (got == 0)
        got = r->version >= 150000 ? slot_by_walsender(r, slot, &cells, err)
                                   : slot_by_sql(sql, slot, &cells, err);
    if (got < 0)
        return err_wrap(err, "reading the slot %s", slot);
    if (cells.len == 0) {
        (void)err_set(err, ERR_NOT_FOUND, "PostgreSQL has no replication slot %s", slot);
        return explain(err, ERR_NOT_FOUND, "`atoll backup stream --make-slot` makes it");
    }
    if (!streq(cells.items[0], "physical")) {
        (void)err_set(err, ERR_CONFLICT, "the slot %s is a logical one", slot);
        return explain(err, ERR_CONFLICT, "name another in the settings");
    }
    *ret_lsn = 0;
    if (cells.len >= 2 && *cells.items[1] && !repl_lsn(cells.items[1], ret_lsn))
        return err_set(err, ERR_CORRUPT, "PostgreSQL: \"%s\" is no LSN", cells.items[1]);
    if (cells.len >= 3 && *cells.items[2] && !parse_int(cells.items[2], 0, UINT32_MAX, &tli))
        return err_set(err, ERR_CORRUPT, "PostgreSQL: \"%s\" is no timeline", cells.items[2]);
    *ret_tli = (uint32_t)tli;
    return 0;
}

int repl_slot_make(Repl *r, const char *slot, Err *err)
{
    char state[SQLSTATE_MAX];
    _cleanup_(result_drop) PGresult *row = NULL;
    _cleanup_free_ char *command =
        xasprintf("CREATE_REPLICATION_SLOT %s PHYSICAL RESERVE_WAL", slot);

    int got = check_slot(slot, err);
    if (got < 0)
        return got;
    got = repl_ask(r, command, &row, state, err);
    if (got < 0 && streq(state, "42710"))
        return err_set(err, ERR_CONFLICT, "the slot %s is there already", slot);
    /* configuration_limit_exceeded */
    if (got < 0 && streq(state, "53400"))
        return explain(err, ERR_QUOTA,
                       "drop a slot that nobody uses, or raise max_replication_slots and restart "
                       "the server");
    return got < 0 ? err_wrap(err, "making the slot %s", slot) : 0;
}

int repl_history(Repl *r, uint32_t tli, Buf *ret, Err *err)
{
    _cleanup_(result_drop) PGresult *row = NULL;
    _cleanup_free_ char *command = xasprintf("TIMELINE_HISTORY %u", tli);

    int got = ask_row(r, command, 2, &row, err);
    if (got == 0)
        buf_add(ret, PQgetvalue(row, 0, 1), (size_t)PQgetlength(row, 0, 1));
    return got;
}

/* An error of START_REPLICATION, or in the middle of the stream. */
static int stream_error(int r, const char *state, Err *err)
{
    static const struct {
        const char *state;
        ErrKind kind;
        const char *hint;
    } table[] = {
        {"55006", ERR_CONFLICT,
         "another `atoll backup stream` (or pg_receivewal) reads from this slot: "
         "pg_stat_replication says from where; end it, or give this one a slot of its own"},
        {"58P01", ERR_NOT_FOUND,
         "that part of the log is gone from the server: take a new base backup"},
        {"42704", ERR_NOT_FOUND, "`atoll backup stream --make-slot` makes it"},
        /* object_not_in_prerequisite_state: the slot was invalidated */
        {"55000", ERR_NOT_FOUND,
         "the slot no longer holds the log: drop it, begin with --make-slot, and take a new base "
         "backup"},
        /* internal_error: "requested starting point is not in this server's history", "is ahead of
         * the WAL flush position" */
        {"XX000", ERR_CONFLICT,
         "this server's log does not go on where the stored one ends: was the server restored, or "
         "another standby promoted? Begin with a new slot and a new base backup"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (streq(state, table[i].state))
            return explain(err, table[i].kind, table[i].hint);
    return r;
}

int repl_start(Repl *r, const char *slot, uint64_t lsn, uint32_t tli, Err *err)
{
    char state[SQLSTATE_MAX];
    _cleanup_(result_drop) PGresult *answer = NULL;
    _cleanup_free_ char *command = xasprintf("START_REPLICATION SLOT %s PHYSICAL %X/%X TIMELINE %u",
                                             slot, (unsigned)(lsn >> 32), (unsigned)lsn, tli);

    int got = check_slot(slot, err);
    if (got < 0)
        return got;
    (void)PQsetnonblocking(r->c, 0);
    got = repl_ask(r, command, &answer, state, err);
    if (got < 0) {
        got = stream_error(got, state, err);
        (void)err_wrap(err, "reading the log from %X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
        return got;
    }
    /* Exactly at the end of an old timeline there is nothing to copy. */
    PQclear(r->end);
    r->end = NULL;
    if (PQresultStatus(answer) == PGRES_TUPLES_OK)
        r->end = TAKE(answer);
    else if (PQresultStatus(answer) != PGRES_COPY_BOTH)
        return err_set(err, ERR_TEMPORARY, "PostgreSQL ended the log before it began");
    else
        (void)PQsetnonblocking(r->c, 1); /* cannot fail with nothing to send */
    return 0;
}

static int timeline(Repl *r, ReplEvent *ret_event, ReplMessage *ret, Err *err)
{
    _cleanup_(result_drop) PGresult *row = TAKE(r->end);
    int64_t tli = 0;

    if (PQntuples(row) != 1 || PQnfields(row) < 2 ||
        !parse_int(PQgetvalue(row, 0, 0), 1, UINT32_MAX, &tli) ||
        !repl_lsn(PQgetvalue(row, 0, 1), &ret->next_start))
        return err_set(err, ERR_CORRUPT, "PostgreSQL: which timeline follows can't be read");
    ret->next_tli = (uint32_t)tli;
    *ret_event = REPL_TIMELINE;
    return 0;
}

/* The server has ended the COPY: at a timeline's end, an error, or because it shuts down. */
static int copy_ended(Repl *r, ReplEvent *ret_event, ReplMessage *ret, Err *err)
{
    Msec deadline = time_mono() + REPL_TIMEOUT_MS;
    char state[SQLSTATE_MAX];
    bool late = false;

    (void)PQsetnonblocking(r->c, 0);
    for (PGresult *next; (next = pg_next_result(r->c, deadline, &late));) {
        _cleanup_(result_drop) PGresult *p = next;
        ExecStatusType status = PQresultStatus(p);
        if (status == PGRES_FATAL_ERROR) {
            if (!PQresultErrorField(p, PG_DIAG_SQLSTATE))
                break; /* libpq's own: the connection was lost */
            int got = pg_result_error(p, state, err);
            return stream_error(got, state, err);
        }
        if ((status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) && PQputCopyEnd(r->c, NULL) <= 0)
            break;
        if (status == PGRES_TUPLES_OK) {
            PQclear(r->end);
            r->end = TAKE(p);
        }
    }
    if (!r->end)
        return err_set(err, ERR_TEMPORARY, "PostgreSQL ended the connection");
    return timeline(r, ret_event, ret, err);
}

static uint64_t read_u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

static int64_t unix_ms(uint64_t pg_us)
{
    return (int64_t)pg_us / 1000 + PG_EPOCH_MS;
}

/* XLogData and the primary's keepalive ("Streaming Replication Protocol"). */
static int parse(Str m, ReplEvent *ret_event, ReplMessage *ret, Err *err)
{
    if (m.n >= 25 && m.p[0] == 'w') {
        *ret_event = REPL_WAL;
        ret->start = read_u64(m.p + 1);
        ret->server = read_u64(m.p + 9);
        ret->sent_ms = unix_ms(read_u64(m.p + 17));
        ret->data = (Str){m.p + 25, m.n - 25};
        return 0;
    }
    if (m.n >= 18 && m.p[0] == 'k') {
        *ret_event = REPL_KEEPALIVE;
        ret->server = read_u64(m.p + 1);
        ret->sent_ms = unix_ms(read_u64(m.p + 9));
        ret->reply = m.p[17] != 0;
        return 0;
    }
    return err_set(err, ERR_CORRUPT, "PostgreSQL sent a message that is none of the replication's");
}

int repl_next(Repl *r, ReplEvent *ret_event, ReplMessage *ret, Err *err)
{
    *ret = (ReplMessage){0};
    *ret_event = REPL_NOTHING;
    drop_copy(r);
    if (r->end)
        return timeline(r, ret_event, ret, err);

    int n = PQgetCopyData(r->c, &r->copy, 1);
    if (n == 0) {
        if (!PQconsumeInput(r->c))
            return copy_ended(r, ret_event, ret, err);
        n = PQgetCopyData(r->c, &r->copy, 1);
    }
    (void)PQflush(r->c); /* what it could not take before; a broken one is noticed by reading */
    if (n == 0)
        return 0;
    if (n < 0)
        return copy_ended(r, ret_event, ret, err);
    return parse((Str){r->copy, (size_t)n}, ret_event, ret, err);
}

int repl_status(Repl *r, uint64_t written, uint64_t flushed, int64_t now_ms, Err *err)
{
    char m[1 + 8 + 8 + 8 + 8 + 1] = {'r'};
    uint64_t fields[] = {htobe64(written), htobe64(flushed), 0,
                         htobe64((uint64_t)(now_ms - PG_EPOCH_MS) * 1000)};

    memcpy(m + 1, fields, sizeof fields);
    /* 0: its buffer is full of earlier ones. The next one says the same and more. */
    if (PQputCopyData(r->c, m, sizeof m) < 0 || PQflush(r->c) < 0)
        return err_set(err, ERR_TEMPORARY, "PostgreSQL: the connection was lost");
    return 0;
}
