#include "io/pg_internal.h"

#include <poll.h>

#define CONNECT_TIMEOUT_MS (5 * SECOND)
/* CREATE DATABASE copies a template, on a slow volume too. */
#define STATEMENT_TIMEOUT_MS (2 * MINUTE)

/* False at the deadline. */
static bool wait_socket(const PGconn *c, short events, Msec deadline)
{
    for (;;) {
        Msec left = deadline - time_mono();
        struct pollfd p = {.fd = PQsocket(c), .events = events};
        if (left <= 0)
            return false;
        if (poll(&p, 1, (int)left) > 0)
            return true;
    }
}

/* The last line of what libpq says, without "FATAL:  28P01: " and the like; *ret_state gets the
 * five characters of the SQLSTATE (PostgreSQL, appendix A) or "". To be freed. */
static char *words_of(const char *text, char ret_state[static SQLSTATE_MAX])
{
    ret_state[0] = '\0';
    for (const char *p = text; (p = strstr(p, ":  "));) {
        p += 3;
        if (strspn(p, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && p[5] == ':') {
            memcpy(ret_state, p, 5);
            ret_state[5] = '\0';
            text = p + 6;
            break;
        }
    }
    /* A server's message is one line here, the rest says where in its source it is; libpq's own
     * ends with a line of advice. */
    text += strspn(text, " \n\t");
    return xstrndup(text, strcspn(text, "\n"));
}

static ErrKind kind_of_state(const char *state)
{
    static const struct {
        const char *prefix;
        ErrKind kind;
    } table[] = {
        {"28", ERR_AUTH},       /* invalid authorization, wrong password */
        {"3D", ERR_NOT_FOUND},  /* no such database */
        {"42501", ERR_DENIED},  /* insufficient privilege */
        {"08", ERR_TEMPORARY},  /* connection exceptions */
        {"53", ERR_TEMPORARY},  /* too many connections, disk full */
        {"57P", ERR_TEMPORARY}, /* starting up, shutting down */
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (starts_with(state, table[i].prefix))
            return table[i].kind;
    return ERR_IO;
}

static int connect_error(const PgTarget *t, const PGconn *c, char ret_state[static SQLSTATE_MAX],
                         Err *err)
{
    _cleanup_free_ char *words = words_of(PQerrorMessage(c), ret_state);
    ErrKind kind = *ret_state ? kind_of_state(ret_state) : ERR_TEMPORARY;

    /* Here libpq itself gave up, for want of a password; the server said nothing. */
    if (!*ret_state && PQconnectionNeedsPassword(c))
        kind = ERR_AUTH;
    return err_set(err, kind, "cannot connect to PostgreSQL at %s port %d: %s", t->host, t->port,
                   words);
}

static PGconn *start_connecting(const PgTarget *t, const char *name, bool replication)
{
    char port[16];
    snprintf(port, sizeof port, "%d", t->port);
    /* A walsender's peer that vanished without a word is noticed within half a minute. */
    const char *const names[] = {"host",
                                 "port",
                                 "user",
                                 "dbname",
                                 "password",
                                 "gssencmode",
                                 "application_name",
                                 "requirepeer",
                                 replication ? "replication" : NULL,
                                 "keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "tcp_user_timeout",
                                 NULL};
    const char *const values[] = {t->host,
                                  port,
                                  t->user,
                                  replication ? "replication" : t->database,
                                  t->password ? secret_expose(t->password).p : NULL,
                                  "disable",
                                  name,
                                  t->peer,
                                  "true",
                                  "10",
                                  "5",
                                  "4",
                                  "30000",
                                  NULL};
    return PQconnectStartParams(names, values, 0);
}

/* Step by step, because libpq's connect_timeout is per address and in whole seconds. */
int pg_connect(const PgTarget *t, const char *name, bool replication, PGconn **ret,
               char ret_state[static SQLSTATE_MAX], Err *err)
{
    _cleanup_(conn_drop) PGconn *c = start_connecting(t, name, replication);
    BUG_IF(!c);
    Msec timeout = t->timeout_ms ? t->timeout_ms : CONNECT_TIMEOUT_MS;
    Msec deadline = time_mono() + timeout;
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;

    ret_state[0] = '\0';
    if (PQstatus(c) == CONNECTION_BAD)
        return connect_error(t, c, ret_state, err);
    /* The SQLSTATE of a refused login is only in the verbose text. */
    PQsetErrorVerbosity(c, PQERRORS_VERBOSE);
    while (step != PGRES_POLLING_OK) {
        if (step == PGRES_POLLING_FAILED)
            return connect_error(t, c, ret_state, err);
        if (!wait_socket(c, step == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
            return err_set(err, ERR_TEMPORARY,
                           "cannot connect to PostgreSQL at %s port %d: no answer within %lld s",
                           t->host, t->port, (long long)(timeout / SECOND));
        step = PQconnectPoll(c);
    }
    *ret = TAKE(c);
    return 0;
}

static int connect_to(const PgTarget *t, PGconn **ret, Err *err)
{
    char state[SQLSTATE_MAX];
    return pg_connect(t, "atoll", false, ret, state, err);
}

PGresult *pg_next_result(PGconn *c, Msec deadline, bool *ret_late)
{
    *ret_late = false;
    while (PQisBusy(c)) {
        *ret_late = !wait_socket(c, POLLIN, deadline);
        if (*ret_late || !PQconsumeInput(c))
            return NULL;
    }
    return PQgetResult(c);
}

static bool begins_copy(const PGresult *r)
{
    ExecStatusType s = PQresultStatus(r);
    return s == PGRES_COPY_OUT || s == PGRES_COPY_IN || s == PGRES_COPY_BOTH;
}

/* Waits for the answer of the statement that was sent. */
static PGresult *get_result(PGconn *c, Msec deadline, bool *ret_late)
{
    PGresult *last = NULL;

    while (!last || !begins_copy(last)) {
        PGresult *next = pg_next_result(c, deadline, ret_late);
        if (!next)
            return last;
        PQclear(last);
        last = next;
    }
    return last;
}

int pg_result_error(const PGresult *r, char ret_state[static SQLSTATE_MAX], Err *err)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *words = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

    ret_state[0] = '\0';
    if (state && strlen(state) == 5)
        memcpy(ret_state, state, SQLSTATE_MAX);
    return err_set(err, kind_of_state(ret_state), "PostgreSQL: %s", words ? words : "failed");
}

int pg_ask(PGconn *c, const PgStatement *s, PGresult **ret, char ret_state[static SQLSTATE_MAX],
           Err *err)
{
    Msec timeout = s->timeout_ms ? s->timeout_ms : STATEMENT_TIMEOUT_MS;
    ret_state[0] = '\0';
    int sent = s->parameter ? PQsendQueryParams(c, s->text, 1, NULL, &s->parameter, NULL, NULL, 0)
                            : PQsendQuery(c, s->text);
    if (!sent)
        return err_set(err, ERR_TEMPORARY, "PostgreSQL: the connection was lost");

    bool late = false;
    _cleanup_(result_drop) PGresult *r = get_result(c, time_mono() + timeout, &late);
    if (late)
        return err_set(err, ERR_TEMPORARY, "PostgreSQL: no answer within %lld s",
                       (long long)(timeout / SECOND));
    if (!r || PQstatus(c) == CONNECTION_BAD)
        return err_set(err, ERR_TEMPORARY, "PostgreSQL: the connection was lost");
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY &&
        !begins_copy(r))
        return pg_result_error(r, ret_state, err);
    *ret = TAKE(r);
    return 0;
}

/* *ret_rows: how many rows came back (may be NULL). */
static int execute(PGconn *c, const PgStatement *s, int *ret_rows,
                   char ret_state[static SQLSTATE_MAX], Err *err)
{
    _cleanup_(result_drop) PGresult *r = NULL;
    int got = pg_ask(c, s, &r, ret_state, err);

    if (got == 0 && ret_rows)
        *ret_rows = PQntuples(r);
    return got;
}

int pg_query(const PgTarget *t, const char *statement, const char *parameter, StrList *ret,
             Err *err)
{
    char state[SQLSTATE_MAX];
    _cleanup_(conn_drop) PGconn *c = NULL;
    _cleanup_(result_drop) PGresult *r = NULL;
    int got = connect_to(t, &c, err);

    if (got == 0)
        got = pg_ask(c, PG_STATEMENT(statement, parameter, t->timeout_ms), &r, state, err);
    for (int row = 0; got == 0 && row < PQntuples(r); row++)
        for (int column = 0; column < PQnfields(r); column++)
            strlist_add(ret, PQgetvalue(r, row, column));
    return got;
}

int pg_set(const PgTarget *t, const char *setting, const char *value, Err *err)
{
    char state[SQLSTATE_MAX];
    _cleanup_(conn_drop) PGconn *c = NULL;
    int r = connect_to(t, &c, err);
    if (r < 0)
        return r;

    _cleanup_(pq_drop) char *literal =
        PQescapeLiteral(c, value ? value : "", strlen(value ? value : ""));
    _cleanup_free_ char *alter = value ? xasprintf("ALTER SYSTEM SET %s = %s", setting, literal)
                                       : xasprintf("ALTER SYSTEM RESET %s", setting);
    r = execute(c, PG_STATEMENT(alter, NULL, t->timeout_ms), NULL, state, err);
    if (r == 0)
        r = execute(c, PG_STATEMENT("SELECT pg_reload_conf()", NULL, t->timeout_ms), NULL, state,
                    err);
    return r < 0 ? err_wrap(err, "setting %s", setting) : 0;
}

/* "Already there": somebody else was quicker, which is as good. */
static int execute_once(PGconn *c, const char *statement, Err *err)
{
    char state[SQLSTATE_MAX];
    int r = execute(c, PG_STATEMENT(statement), NULL, state, err);

    /* duplicate_object, duplicate_database, and unique_violation, which two CREATEs at the same
     * moment end with. */
    if (r < 0 && (streq(state, "42710") || streq(state, "42P04") || streq(state, "23505"))) {
        err_clear(err);
        return 0;
    }
    return r;
}

int pg_run(const PgTarget *t, const char *const *statements, Err *err)
{
    _cleanup_(conn_drop) PGconn *c = NULL;
    int r = connect_to(t, &c, err);

    for (; r == 0 && *statements; statements++) {
        char state[SQLSTATE_MAX];
        r = execute(c, PG_STATEMENT(*statements, NULL, t->timeout_ms), NULL, state, err);
    }
    return r;
}

static int ensure_role(PGconn *c, const char *role, const Secret *password, Err *err)
{
    char state[SQLSTATE_MAX];
    int rows = 0;
    /* The server gets a SCRAM verifier: the password itself would be in its log of statements. */
    _cleanup_(pq_drop) char *verifier =
        PQencryptPasswordConn(c, secret_expose(password).p, role, "scram-sha-256");
    _cleanup_(pq_drop) char *name = PQescapeIdentifier(c, role, strlen(role));
    if (!verifier || !name)
        return err_set(err, ERR_CONFIG, "\"%s\" cannot be a role with that password", role);

    int r = execute(c, PG_STATEMENT("SELECT 1 FROM pg_roles WHERE rolname = $1", role), &rows,
                    state, err);
    if (r == 0 && rows == 0) {
        _cleanup_free_ char *create = xasprintf("CREATE ROLE %s LOGIN", name);
        r = execute_once(c, create, err);
    }
    if (r < 0)
        return r;
    _cleanup_free_ char *alter = xasprintf("ALTER ROLE %s LOGIN PASSWORD '%s'", name, verifier);
    return execute(c, PG_STATEMENT(alter), NULL, state, err);
}

static int ensure_database(PGconn *c, const char *database, const char *role, Err *err)
{
    char state[SQLSTATE_MAX];
    int rows = 0;
    int r = execute(c, PG_STATEMENT("SELECT 1 FROM pg_database WHERE datname = $1", database),
                    &rows, state, err);
    if (r < 0 || rows > 0)
        return r;

    _cleanup_(pq_drop) char *name = PQescapeIdentifier(c, database, strlen(database));
    _cleanup_(pq_drop) char *owner = PQescapeIdentifier(c, role, strlen(role));
    if (!name || !owner)
        return err_set(err, ERR_CONFIG, "\"%s\" cannot be the name of a database", database);
    /* The order of text is C's, which no libc release changes; what is a letter, and its upper
     * case, is Unicode's, or nobody could search for a name with an accent. */
    _cleanup_free_ char *create =
        xasprintf("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8' "
                  "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
                  name, owner);
    return execute_once(c, create, err);
}

int pg_ensure_database(const PgTarget *superuser, const char *role, const Secret *password,
                       const char *database, Err *err)
{
    _cleanup_(conn_drop) PGconn *c = NULL;
    int r = connect_to(superuser, &c, err);

    if (r == 0)
        r = ensure_role(c, role, password, err);
    if (r == 0)
        r = ensure_database(c, database, role, err);
    return r < 0 ? err_wrap(err, "making the database %s", database) : 0;
}
