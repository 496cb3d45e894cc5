/* A few statements to a PostgreSQL server, through libpq: enough to make a role and a database and
 * to ask whether it answers. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

typedef struct PgTarget {
    const char *host; /* address, or the folder of a unix socket */
    int port;
    const char *user, *database;
    const Secret *password; /* or NULL */
    const char *peer;       /* over a socket: the server must run as this user; NULL: as any */
    int64_t timeout_ms;     /* of connecting, and of each statement; 0: the limits below */
} PgTarget;

/* Runs statements one by one, each a literal text with no parameters of foreign origin. The first
 * failing one ends it with the server's own words. Connecting: at most 5 s; a statement: 2 min;
 * or as the target says.
 * ERR_TEMPORARY when the server cannot be reached or is starting up, ERR_AUTH when the login is
 * refused, ERR_NOT_FOUND when there is no such database, ERR_IO for a statement that fails. */
int pg_run(const PgTarget *t, const char *const *statements, Err *err) _must_check_;
/* One statement (with $1, if `parameter` is not NULL), and the cells of its rows, one row behind
 * the other; a NULL is "". Errors as above. */
int pg_query(const PgTarget *t, const char *statement, const char *parameter, StrList *ret,
             Err *err) _must_check_;
/* A setting for the whole server, at once and for good (ALTER SYSTEM, then a reload); NULL: as the
 * configuration file has it. `setting` is our own word. ERR_DENIED if the user may not. */
int pg_set(const PgTarget *t, const char *setting, const char *value, Err *err) _must_check_;
/* Makes the login role (or sets its password) and a database owned by it (encoding UTF8, collation
 * C, so that a move between distributions cannot corrupt indexes; character types of C.UTF-8, so
 * that upper and lower case are known beyond ASCII), if they are not there. The password itself is
 * not sent. ERR_DENIED if the user may not. */
int pg_ensure_database(const PgTarget *superuser, const char *role, const Secret *password,
                       const char *database, Err *err) _must_check_;
