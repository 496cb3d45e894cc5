#include "pocket/swift_rows.h"
#include <sqlite3.h>
#include <stdio.h>

static const char schema[] =
    "create table if not exists swift_account(account text primary key, meta text not null);"
    "create table if not exists swift_container(id integer primary key autoincrement,"
    " account text not null, name text not null, stamp integer not null, meta text not null,"
    " unique(account, name));"
    "create table if not exists swift_object(container integer not null, name text not null,"
    " version text not null, current integer not null, marker integer not null,"
    " bytes integer not null, etag text, type text, file text, stamp integer not null,"
    " delete_at integer not null, meta text not null, primary key(container, name, version));"
    "create unique index if not exists swift_current on swift_object(container, name)"
    " where current = 1;"
    "create index if not exists swift_file on swift_object(file) where file is not null;"
    "create index if not exists swift_expiry on swift_object(delete_at) where delete_at > 0;";

static int64_t last_stamp;

static _noreturn_ void fatal(sqlite3 *db, const char *what)
{
    fprintf(stderr, "pocket: store: %s: %s\n", what, sqlite3_errmsg(db));
    abort();
}

/* `types`: s for a text (NULL is null), i for an int64_t. */
static sqlite3_stmt *query(Pocket *p, const char *sql, const char *types, ...)
{
    sqlite3 *db = store_db(p->store);
    sqlite3_stmt *st;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        fatal(db, sql);
    va_list ap;
    va_start(ap, types);
    for (int i = 1; types[i - 1]; i++) {
        int r;
        if (types[i - 1] == 'i') {
            r = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
        } else {
            const char *text = va_arg(ap, const char *);
            r = text ? sqlite3_bind_text(st, i, text, -1, SQLITE_TRANSIENT)
                     : sqlite3_bind_null(st, i);
        }
        if (r != SQLITE_OK)
            fatal(db, sql);
    }
    va_end(ap);
    return st;
}

static bool step(sqlite3_stmt *st)
{
    int r = sqlite3_step(st);
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        fatal(sqlite3_db_handle(st), sqlite3_sql(st));
    return r == SQLITE_ROW;
}

static void run(sqlite3_stmt *st)
{
    (void)step(st);
    (void)sqlite3_finalize(st);
}

static const char *text_at(sqlite3_stmt *st, int column)
{
    return (const char *)sqlite3_column_text(st, column);
}

static char *copy_at(sqlite3_stmt *st, int column)
{
    const char *s = text_at(st, column);
    return s ? xstrdup(s) : NULL;
}

static json_t *json_at_new(sqlite3_stmt *st, int column)
{
    const char *s = text_at(st, column);
    json_t *j = s ? json_parse_new(s, strlen(s), NULL) : NULL;
    return j ? j : json_object();
}

void swift_container_clear(SwiftContainer *c)
{
    free(c->account);
    free(c->name);
    json_decref(c->meta);
    *c = (SwiftContainer){0};
}

void swift_object_clear(SwiftObject *o)
{
    free(o->name);
    free(o->version);
    free(o->etag);
    free(o->type);
    free(o->file);
    json_decref(o->meta);
    *o = (SwiftObject){0};
}

void swift_rows_start(Pocket *p)
{
    sqlite3 *db = store_db(p->store);
    if (sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK)
        fatal(db, "tables of Swift");
    sqlite3_stmt *st = query(p, "select max(stamp) from swift_object", "");
    if (step(st))
        last_stamp = MAX(last_stamp, sqlite3_column_int64(st, 0));
    (void)sqlite3_finalize(st);
}

int64_t swift_stamp(Pocket *p)
{
    int64_t now = p->now() * 100;
    last_stamp = MAX(now, last_stamp + 1);
    return last_stamp;
}

void swift_stamp_text(int64_t stamp, char out[static 32])
{
    (void)snprintf(out, 32, "%010lld.%05lld", (long long)(stamp / 100000),
                   (long long)(stamp % 100000));
}

json_t *swift_account_meta_new(Pocket *p, const char *account)
{
    sqlite3_stmt *st = query(p, "select meta from swift_account where account = ?1", "s", account);
    json_t *meta = step(st) ? json_at_new(st, 0) : json_object();
    (void)sqlite3_finalize(st);
    return meta;
}

void swift_account_put(Pocket *p, const char *account, const json_t *meta)
{
    _cleanup_free_ char *text = json_text_new(meta);
    run(query(p, "insert or replace into swift_account(account, meta) values(?1, ?2)", "ss",
              account, text));
}

static void read_container(sqlite3_stmt *st, SwiftContainer *ret)
{
    *ret = (SwiftContainer){.id = sqlite3_column_int64(st, 0),
                            .account = copy_at(st, 1),
                            .name = copy_at(st, 2),
                            .stamp = sqlite3_column_int64(st, 3),
                            .meta = json_at_new(st, 4)};
}

bool swift_container_get(Pocket *p, const char *account, const char *name, SwiftContainer *ret)
{
    sqlite3_stmt *st = query(p,
                             "select id, account, name, stamp, meta from swift_container"
                             " where account = ?1 and name = ?2",
                             "ss", account, name);
    bool found = step(st);
    if (found)
        read_container(st, ret);
    (void)sqlite3_finalize(st);
    return found;
}

void swift_container_put(Pocket *p, SwiftContainer *c)
{
    _cleanup_free_ char *meta = json_text_new(c->meta);
    if (c->id) {
        run(query(p, "update swift_container set meta = ?2 where id = ?1", "is", c->id, meta));
        return;
    }
    run(query(p, "insert into swift_container(account, name, stamp, meta) values(?1, ?2, ?3, ?4)",
              "ssis", c->account, c->name, c->stamp, meta));
    c->id = sqlite3_last_insert_rowid(store_db(p->store));
}

void swift_container_delete(Pocket *p, const SwiftContainer *c)
{
    run(query(p, "delete from swift_container where id = ?1", "i", c->id));
}

SwiftUse swift_container_use(Pocket *p, const SwiftContainer *c)
{
    sqlite3_stmt *st = query(p,
                             "select coalesce(sum(current), 0), coalesce(sum(bytes), 0),"
                             " coalesce(sum(version != 'null'), 0) from swift_object"
                             " where container = ?1",
                             "i", c->id);
    SwiftUse use = {0};
    if (step(st))
        use = (SwiftUse){.objects = sqlite3_column_int64(st, 0),
                         .bytes = sqlite3_column_int64(st, 1),
                         .versions = sqlite3_column_int64(st, 2)};
    (void)sqlite3_finalize(st);
    return use;
}

#define OBJECT_COLUMNS                                                                             \
    "container, name, version, current, marker, bytes, etag, type, file, stamp, delete_at, meta"

static void read_object(sqlite3_stmt *st, SwiftObject *ret)
{
    *ret = (SwiftObject){.container = sqlite3_column_int64(st, 0),
                         .name = copy_at(st, 1),
                         .version = copy_at(st, 2),
                         .current = sqlite3_column_int(st, 3) != 0,
                         .marker = sqlite3_column_int(st, 4) != 0,
                         .bytes = sqlite3_column_int64(st, 5),
                         .etag = copy_at(st, 6),
                         .type = copy_at(st, 7),
                         .file = copy_at(st, 8),
                         .stamp = sqlite3_column_int64(st, 9),
                         .delete_at = sqlite3_column_int64(st, 10),
                         .meta = json_at_new(st, 11)};
}

bool swift_object_get(Pocket *p, const SwiftContainer *c, const char *name, const char *version,
                      SwiftObject *ret)
{
    sqlite3_stmt *st = query(p,
                             "select " OBJECT_COLUMNS " from swift_object where container = ?1"
                             " and name = ?2 and (version = ?3 or (?3 is null and current = 1))",
                             "iss", c->id, name, version);
    bool found = step(st);
    if (found)
        read_object(st, ret);
    (void)sqlite3_finalize(st);
    return found;
}

void swift_object_put(Pocket *p, const SwiftObject *o)
{
    _cleanup_free_ char *meta = json_text_new(o->meta);
    run(query(p,
              "insert or replace into swift_object(" OBJECT_COLUMNS
              ") values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
              "issiiisssiis", o->container, o->name, o->version, (int64_t)o->current,
              (int64_t)o->marker, o->bytes, o->etag, o->type, o->file, o->stamp, o->delete_at,
              meta));
}

void swift_object_delete(Pocket *p, const SwiftObject *o)
{
    run(query(p, "delete from swift_object where container = ?1 and name = ?2 and version = ?3",
              "iss", o->container, o->name, o->version));
}

void swift_object_hide(Pocket *p, const SwiftContainer *c, const char *name)
{
    run(query(p,
              "update swift_object set current = 0, delete_at = 0 where container = ?1"
              " and name = ?2 and current = 1",
              "is", c->id, name));
}

bool swift_file_used(Pocket *p, const char *file)
{
    sqlite3_stmt *st = query(p, "select 1 from swift_object where file = ?1", "s", file);
    bool used = step(st);
    (void)sqlite3_finalize(st);
    return used;
}

void swift_reap(Pocket *p, int64_t seconds, StrList *ret_files)
{
    static const char where[] = "current = 1 and delete_at > 0 and delete_at < ?1";
    _cleanup_free_ char *files = xasprintf(
        "select file from swift_object where %s and version = 'null' and file is not null", where);
    sqlite3_stmt *st = query(p, files, "i", seconds);
    while (step(st))
        strlist_add(ret_files, text_at(st, 0));
    (void)sqlite3_finalize(st);
    _cleanup_free_ char *gone =
        xasprintf("delete from swift_object where %s and version = 'null'", where);
    run(query(p, gone, "i", seconds));
    _cleanup_free_ char *hidden =
        xasprintf("update swift_object set current = 0, delete_at = 0 where %s", where);
    run(query(p, hidden, "i", seconds));
}

static bool in_prefix(const char *name, const char *prefix)
{
    return !prefix || starts_with(name, prefix);
}

void swift_walk_objects(Pocket *p, const SwiftContainer *c, const SwiftWalk *w)
{
    /* ?2 the lower bound (exclusive), ?3 the upper (exclusive), ?4 the prefix as a first bound.
     * Version ids have one width, so that their order as text is their order in time. */
    _cleanup_free_ char *sql = xasprintf(
        "select " OBJECT_COLUMNS " from swift_object where container = ?1 and (%d or current = 1)"
        " and (?2 is null or name > ?2 or (?5 is not null and name = ?2 and version < ?5))"
        " and (?3 is null or name < ?3) and (?4 is null or name >= ?4)"
        " order by name %s, stamp desc",
        w->versions, w->reverse ? "desc" : "asc");
    const char *low = w->reverse ? w->end_marker : w->marker;
    const char *high = w->reverse ? w->marker : w->end_marker;
    sqlite3_stmt *st = query(p, sql, "issss", c->id, low && *low ? low : NULL,
                             high && *high ? high : NULL, w->prefix, w->version_marker);
    bool more = true;
    while (more && step(st)) {
        _cleanup_(swift_object_clear) SwiftObject o = {0};
        read_object(st, &o);
        if (in_prefix(o.name, w->prefix))
            more = w->see(w->user, &o);
        else
            more = w->reverse; /* behind the last name with the prefix there is none */
    }
    (void)sqlite3_finalize(st);
}

void swift_walk_containers(Pocket *p, const char *account, const SwiftWalk *w)
{
    _cleanup_free_ char *sql =
        xasprintf("select id, account, name, stamp, meta from swift_container where account = ?1"
                  " and (?2 is null or name > ?2) and (?3 is null or name < ?3)"
                  " and (?4 is null or name >= ?4) order by name %s",
                  w->reverse ? "desc" : "asc");
    const char *low = w->reverse ? w->end_marker : w->marker;
    const char *high = w->reverse ? w->marker : w->end_marker;
    sqlite3_stmt *st = query(p, sql, "ssss", account, low && *low ? low : NULL,
                             high && *high ? high : NULL, w->prefix);
    bool more = true;
    while (more && step(st)) {
        _cleanup_(swift_container_clear) SwiftContainer c = {0};
        read_container(st, &c);
        if (in_prefix(c.name, w->prefix))
            more = w->see_container(w->user, &c);
        else
            more = w->reverse;
    }
    (void)sqlite3_finalize(st);
}
