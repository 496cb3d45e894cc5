/* Connections to PostgreSQL in the loop: at most `size` (of DB_POOL its share), made when asked for
 * and closed after ten idle seconds, but one. libpq without blocking.
 *
 * Statements are a table; each connection prepares those it uses (unless told not to, for poolers
 * that mix sessions). Everything asked is a plain read: what was under way on a connection that was
 * lost is asked once more on another. When no server can be reached, all that waits fails at once.
 * One thread: the loop's. Wait for a connection: PG_WAIT_MS.
 */
#pragma once
#include "base/time.h"
#include "stream/config.h"
#include <libpq-fe.h>
#include <uv.h>

#define PG_WAIT_MS (15 * SECOND)
#define PG_PARAMETERS 4

typedef struct PgPool PgPool;
typedef struct PgStatement {
    const char *name, *sql;
    int parameters;
} PgStatement;

/* `result`: rows (PGRES_TUPLES_OK), borrowed; NULL: it failed. Called from the loop, never from
 * inside pg_pool_ask. */
typedef void PgDone(void *user, const PGresult *result);

/* Of a result; borrowed. NULL is "", and 0. */
Str pg_cell(const PGresult *r, int row, int column);
int64_t pg_cell_int(const PGresult *r, int row, int column);

PgPool *pg_pool_new(uv_loop_t *loop, const StreamConfig *config, size_t size);
/* Ends all connections; what waits is told that it failed. */
PgPool *pg_pool_free(PgPool *p);
/* Copies the values (NULL is SQL's). The statement must live as long as the pool. */
void pg_pool_ask(PgPool *p, const PgStatement *s, const char *const *values, PgDone *done,
                 void *user);
/* Called about every second. */
void pg_pool_tick(PgPool *p);

typedef struct PgPoolNumbers {
    size_t total, idle, waiting;
    uint64_t statements, failed;
} PgPoolNumbers;
void pg_pool_numbers(const PgPool *p, PgPoolNumbers *ret);
