#include "pocket/store.h"
#include <sqlite3.h>
#include <stdio.h>

typedef enum Statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_PUT,
    ST_GET,
    ST_FIND,
    ST_LIST,
    ST_DELETE,
    ST_COUNT,
    STATEMENTS
} Statement;

/* ?2 of the last four is the project or NULL. */
static const char *const statement_text[STATEMENTS] = {
    [ST_BEGIN] = "begin immediate",
    [ST_COMMIT] = "commit",
    [ST_ROLLBACK] = "rollback",
    [ST_PUT] = "insert into object(kind, id, project, name, seq, body) values(?1, ?2, ?3, ?4,"
               " (select coalesce(max(seq), 0) + 1 from object), ?5)"
               " on conflict(kind, id) do update set project = excluded.project,"
               " name = excluded.name, body = excluded.body",
    [ST_GET] = "select body from object where kind = ?1 and id = ?2",
    [ST_FIND] = "select body from object where kind = ?1 and (?2 is null or project = ?2)"
                " and name = ?3 order by seq limit 1",
    [ST_LIST] = "select body from object where kind = ?1 and (?2 is null or project = ?2)"
                " order by seq",
    [ST_DELETE] = "delete from object where kind = ?1 and id = ?2",
    [ST_COUNT] = "select count(*) from object where kind = ?1 and (?2 is null or project = ?2)",
};

/* WAL with FULL: one fsync of the log at each commit, and a commit that returned survives a power
 * cut. */
static const char schema[] =
    "pragma journal_mode = wal; pragma synchronous = full;"
    "create table if not exists object(kind text not null, id text not null, project text,"
    " name text, seq integer not null, body text not null, primary key(kind, id)) without rowid;"
    "create unique index if not exists object_seq on object(seq);"
    "create index if not exists object_order on object(kind, seq);"
    "create index if not exists object_project on object(kind, project, seq);"
    "create index if not exists object_name on object(kind, name);";

struct Store {
    sqlite3 *db;
    sqlite3_stmt *st[STATEMENTS];
    bool open; /* inside begin and end */
};

static _noreturn_ void fatal(Store *s, const char *what)
{
    fprintf(stderr, "pocket: store: %s: %s\n", what, sqlite3_errmsg(s->db));
    abort();
}

/* Binds the texts from ?1 on (NULL is SQL's null). */
static sqlite3_stmt *prepare(Store *s, Statement which, const char *const *texts, int n)
{
    sqlite3_stmt *st = s->st[which];
    for (int i = 0; i < n; i++) {
        int r = texts[i] ? sqlite3_bind_text(st, i + 1, texts[i], -1, SQLITE_TRANSIENT)
                         : sqlite3_bind_null(st, i + 1);
        if (r != SQLITE_OK)
            fatal(s, "bind");
    }
    return st;
}

/* True: a row; false: the end. Anything else is fatal. */
static bool step(Store *s, sqlite3_stmt *st)
{
    int r = sqlite3_step(st);
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        fatal(s, sqlite3_sql(st));
    return r == SQLITE_ROW;
}

static void run(Store *s, Statement which, const char *const *texts, int n)
{
    sqlite3_stmt *st = prepare(s, which, texts, n);
    (void)step(s, st);
    (void)sqlite3_reset(st);
}

static json_t *body_new(Store *s, sqlite3_stmt *st)
{
    const char *text = (const char *)sqlite3_column_text(st, 0);
    json_t *j = json_parse_new(text ? text : "", (size_t)sqlite3_column_bytes(st, 0), NULL);
    if (!j)
        fatal(s, "a row is not JSON");
    return j;
}

int store_open(const char *path, Store **ret, bool *ret_fresh, Err *err)
{
    Store *s = NEW(Store);
    char *why = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK ||
        sqlite3_exec(s->db, schema, NULL, NULL, &why) != SQLITE_OK) {
        int r = err_set(err, ERR_IO, "opening %s: %s", path, why ? why : sqlite3_errmsg(s->db));
        sqlite3_free(why);
        (void)store_close(s);
        return r;
    }
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(s->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i],
                               NULL) != SQLITE_OK)
            fatal(s, statement_text[i]);
    sqlite3_stmt *any;
    if (sqlite3_prepare_v2(s->db, "select 1 from object limit 1", -1, &any, NULL) != SQLITE_OK)
        fatal(s, "first look");
    *ret_fresh = !step(s, any);
    (void)sqlite3_finalize(any);
    *ret = s;
    return 0;
}

Store *store_close(Store *s)
{
    if (!s)
        return NULL;
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->st[i]);
    (void)sqlite3_close(s->db);
    free(s);
    return NULL;
}

struct sqlite3 *store_db(Store *s)
{
    return s->db;
}

void store_begin(Store *s)
{
    BUG_IF(s->open);
    run(s, ST_BEGIN, NULL, 0);
    s->open = true;
}

void store_end(Store *s, bool keep)
{
    BUG_IF(!s->open);
    run(s, keep ? ST_COMMIT : ST_ROLLBACK, NULL, 0);
    s->open = false;
}

void store_put(Store *s, const char *kind, const char *project, const char *name,
               const json_t *body)
{
    const char *id = json_str(body, "id");
    BUG_IF(!id);
    _cleanup_free_ char *text = json_text_new(body);
    run(s, ST_PUT, (const char *const[]){kind, id, project, name, text}, 5);
}

json_t *store_get_new(Store *s, const char *kind, const char *id)
{
    if (!id)
        return NULL;
    sqlite3_stmt *st = prepare(s, ST_GET, (const char *const[]){kind, id}, 2);
    json_t *j = step(s, st) ? body_new(s, st) : NULL;
    (void)sqlite3_reset(st);
    return j;
}

json_t *store_find_new(Store *s, const char *kind, const char *project, const char *name)
{
    sqlite3_stmt *st = prepare(s, ST_FIND, (const char *const[]){kind, project, name}, 3);
    json_t *j = step(s, st) ? body_new(s, st) : NULL;
    (void)sqlite3_reset(st);
    return j;
}

json_t *store_list_new(Store *s, const char *kind, const char *project)
{
    json_t *rows = json_array();
    sqlite3_stmt *st = prepare(s, ST_LIST, (const char *const[]){kind, project}, 2);
    while (step(s, st))
        json_array_append_new(rows, body_new(s, st));
    (void)sqlite3_reset(st);
    return rows;
}

bool store_delete(Store *s, const char *kind, const char *id)
{
    run(s, ST_DELETE, (const char *const[]){kind, id}, 2);
    return sqlite3_changes(s->db) > 0;
}

int64_t store_count(Store *s, const char *kind, const char *project)
{
    sqlite3_stmt *st = prepare(s, ST_COUNT, (const char *const[]){kind, project}, 2);
    int64_t n = step(s, st) ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_reset(st);
    return n;
}
