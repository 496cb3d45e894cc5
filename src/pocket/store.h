/* Rows of the pocket cloud: JSON documents in one SQLite table, `object(kind, id, project, name,
 * seq, body)`, durable when a transaction has ended. A person can look with `sqlite3 pocket.db
 * "select kind, name, body from object"`.
 *
 * All calls are made under pocket's lock. Every failure of SQLite is fatal (prints, aborts): a
 * cloud that lost its rows must not go on.
 */
#pragma once
#include "base/json.h"

typedef struct Store Store;
struct sqlite3;

/* `fresh`: no object was ever committed to the file (a crash before the first commit counts). */
int store_open(const char *path, Store **ret, bool *ret_fresh, Err *err) _must_check_;
Store *store_close(Store *s);
void store_begin(Store *s);
/* Commits (fsync) or rolls back. */
void store_end(Store *s, bool keep);

/* Inserts or replaces. `body` (borrowed) has at least "id"; `project` and `name` may be NULL. seq
 * is given at insert and kept: lists are in order of creation. */
void store_put(Store *s, const char *kind, const char *project, const char *name,
               const json_t *body);
json_t *store_get_new(Store *s, const char *kind, const char *id); /* NULL if not there */
/* The first of that name, in creation order; project NULL: any. */
json_t *store_find_new(Store *s, const char *kind, const char *project, const char *name);
/* All of a kind, oldest first; project NULL: any. */
json_t *store_list_new(Store *s, const char *kind, const char *project);
bool store_delete(Store *s, const char *kind, const char *id);
int64_t store_count(Store *s, const char *kind, const char *project);
/* For the one service whose rows need tables of their own (Swift: swift_rows.h). Same lock, same
 * transactions. */
struct sqlite3 *store_db(Store *s);
