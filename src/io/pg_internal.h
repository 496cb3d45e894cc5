/* libpq as pg.c and repl*.c share it; nobody else includes this. */
#pragma once
#include "base/time.h"
#include "io/pg.h"

#include <libpq-fe.h>

static inline void conn_drop(PGconn *c)
{
    PQfinish(c);
}
DEFINE_CLEANUP(PGconn *, conn_drop)
static inline void result_drop(PGresult *r)
{
    PQclear(r);
}
DEFINE_CLEANUP(PGresult *, result_drop)
static inline void pq_drop(char *p)
{
    PQfreemem(p);
}
DEFINE_CLEANUP(char *, pq_drop)

#define SQLSTATE_MAX 6 /* five characters and the end; PostgreSQL, appendix A */

/* Connects; with `replication` to a walsender. *ret_state: of a refusal, or "". The connection says
 * its errors with their SQLSTATE. */
int pg_connect(const PgTarget *t, const char *name, bool replication, PGconn **ret,
               char ret_state[static SQLSTATE_MAX], Err *err) _must_check_;
/* The next result of what was sent, or NULL when there is none more. *ret_late: the deadline (of
 * time_mono) has passed. */
PGresult *pg_next_result(PGconn *c, Msec deadline, bool *ret_late);

typedef struct PgStatement {
    const char *text, *parameter; /* parameter: $1, or NULL */
    Msec timeout_ms;              /* 0: 2 min */
} PgStatement;
#define PG_STATEMENT(...) (&(PgStatement){__VA_ARGS__})
/* Sends it and waits for its last result, or the one that begins a COPY. Owned by the caller; not
 * set when it failed: with the server's words, and the SQLSTATE or "". */
int pg_ask(PGconn *c, const PgStatement *s, PGresult **ret, char ret_state[static SQLSTATE_MAX],
           Err *err) _must_check_;
/* The error of a result that is one. */
int pg_result_error(const PGresult *r, char ret_state[static SQLSTATE_MAX], Err *err);
