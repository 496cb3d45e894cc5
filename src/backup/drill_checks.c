/* What a restored server is asked: indexes, order of text, foreign keys, Mastodon's own rules. */
#include "backup/drill.h"
#include "io/pg.h"

#include <stdio.h>
#include <unistd.h>

#define STATEMENT_MS (12 * HOUR)
#define NAMED_MAX ((size_t)5) /* faults that a line names; the rest are counted */

/* Faults of one kind, over all databases. */
typedef struct Tally {
    size_t checked, faults;
    Buf words;
} Tally;
#define TALLY                                                                                      \
    {                                                                                              \
        .words = BUF_INIT(BUF_MAX_LINE)                                                            \
    }

static void tally_fault(Tally *t, const char *format, ...) _printf_(2, 3);
static void tally_fault(Tally *t, const char *format, ...)
{
    va_list ap;

    if (t->faults++ >= NAMED_MAX)
        return;
    va_start(ap, format);
    _cleanup_free_ char *words = xvasprintf(format, ap);
    va_end(ap);
    buf_printf(&t->words, "%s%s", t->words.len ? "; " : "", words);
}

/* Ends a tally with a line: what is wrong, or `good` with the number of what was checked. */
static void tally_end(Tally *t, const char *name, const char *good, DrillLines *ret)
{
    size_t more = t->faults > NAMED_MAX ? t->faults - NAMED_MAX : 0;

    if (t->faults == 0)
        drill_add(ret, name, DRILL_OK, "%zu %s", t->checked, good);
    else if (more)
        drill_add(ret, name, DRILL_FAILED, "%s; and %zu more", t->words.p, more);
    else
        drill_add(ret, name, DRILL_FAILED, "%s", t->words.p);
    buf_clear(&t->words);
}

static int ask(const DrillServer *s, const char *database, const char *statement, StrList *ret,
               Err *err)
{
    const PgTarget t = {.host = s->socket,
                        .port = s->port,
                        .user = s->role,
                        .database = database,
                        .timeout_ms = STATEMENT_MS};

    return pg_query(&t, statement, NULL, ret, err);
}

/* A database that can't be asked is a fault of its own. */
static bool ask_or_fault(const DrillServer *s, const char *database, const char *statement,
                         StrList *ret, Tally *t)
{
    _cleanup_(err_clear) Err err = {0};

    if (ask(s, database, statement, ret, &err) == 0)
        return true;
    tally_fault(t, "database %s: %s", database, err.text);
    return false;
}

static void check_indexes(const DrillServer *s, DrillLines *ret)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);
    char port[16], jobs[16];
    snprintf(port, sizeof port, "%d", s->port);
    snprintf(jobs, sizeof jobs, "%ld", MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L));
    const char *const argv[] = {"pg_amcheck",
                                "--all",
                                "--heapallindexed",
                                "--rootdescend",
                                "--install-missing",
                                "-h",
                                s->socket,
                                "-p",
                                port,
                                "-U",
                                s->role,
                                "-j",
                                jobs,
                                "--maintenance-db=template1",
                                NULL};
    int status = drill_program(s, argv, &out);
    Str rest = buf_as_str(&out), line;
    Tally t = TALLY;

    /* A finding is two lines: what it is about, and, set in, what is wrong. */
    while (status != 0 && str_next(&rest, '\n', &line)) {
        bool about = line.n > 0 && line.p[0] != ' ' && line.p[line.n - 1] == ':';
        Str next = {0};
        if (about && str_next(&rest, '\n', &next))
            tally_fault(&t, "%.*s %.*s", (int)MIN(line.n, (size_t)200), line.p,
                        (int)MIN(str_trim(next).n, (size_t)200), str_trim(next).p);
        else if (str_trim(line).n > 0 && strstr(out.p, "error:") && t.faults == 0)
            tally_fault(&t, "%.*s", (int)MIN(line.n, (size_t)300), line.p);
    }
    if (status == 0)
        drill_add(ret, "indexes", DRILL_OK, "every table and index of all databases is sound");
    else if (t.faults == 0)
        drill_add(ret, "indexes", DRILL_FAILED, "pg_amcheck: exit status %d: %.300s", status,
                  out.p);
    else
        tally_end(&t, "indexes", "", ret);
    buf_clear(&t.words);
}

static void check_collations(const DrillServer *s, const StrList *databases, DrillLines *ret)
{
    /* Name, version that its indexes were made with, this machine's. datcollversion: 15 and later.
     */
    static const char databases_sql[] =
        "SELECT datname, datcollversion, coalesce(pg_database_collation_actual_version(oid), "
        "'none') FROM pg_database WHERE datname = current_database() AND datcollversion IS NOT "
        "NULL AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)";
    static const char collations_sql[] =
        "SELECT quote_ident(collname), collversion, coalesce(pg_collation_actual_version(oid), "
        "'none') FROM pg_collation WHERE collversion IS NOT NULL AND collversion IS DISTINCT FROM "
        "pg_collation_actual_version(oid)";
    const char *const all[] = {databases_sql, collations_sql};
    _cleanup_(strlist_clear) StrList version = {0};
    int64_t number = 0;
    Tally t = TALLY;

    if (databases->len &&
        ask_or_fault(s, databases->items[0], "SHOW server_version_num", &version, &t) &&
        version.len == 1 && !parse_int(version.items[0], 0, INT32_MAX, &number))
        number = 0;
    for (size_t i = 0; i < databases->len; i++)
        for (size_t k = number >= 150000 ? 0 : 1; k < ARRAY_LEN(all); k++) {
            _cleanup_(strlist_clear) StrList cells = {0};
            if (!ask_or_fault(s, databases->items[i], all[k], &cells, &t))
                break;
            t.checked += k == 1;
            for (size_t c = 0; c + 2 < cells.len; c += 3)
                tally_fault(&t,
                            "%s %s of database %s is of version %s, this machine's is %s: "
                            "indexes on text may be out of order here",
                            k == 0 ? "the default order of text" : "collation",
                            k == 0 ? "" : cells.items[c], databases->items[i], cells.items[c + 1],
                            cells.items[c + 2]);
        }
    tally_end(&t, "collations", "databases order text as this machine does", ret);
}

/* Without indexes: they are what is being doubted. */
#define NO_INDEX                                                                                   \
    "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; "

static const char foreign_keys_sql[] =
    "SELECT c.conrelid::regclass || ' ' || c.conname, "
    "format('SELECT count(*) FROM %s%s k WHERE %s AND NOT EXISTS (SELECT FROM %s%s p WHERE %s)', "
    "CASE WHEN rel.relkind = 'p' THEN '' ELSE 'ONLY ' END, c.conrelid::regclass, "
    "string_agg(format('k.%I IS NOT NULL', ka.attname), ' AND ' ORDER BY o.n), "
    "CASE WHEN frel.relkind = 'p' THEN '' ELSE 'ONLY ' END, c.confrelid::regclass, "
    "string_agg(format('p.%I OPERATOR(%I.%s) k.%I', pa.attname, ns.nspname, op.oprname, "
    "ka.attname), ' AND ' ORDER BY o.n)) "
    "FROM pg_constraint c JOIN pg_class rel ON rel.oid = c.conrelid "
    "JOIN pg_class frel ON frel.oid = c.confrelid "
    "CROSS JOIN LATERAL unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY o(k, f, eq, n) "
    "JOIN pg_attribute ka ON ka.attrelid = c.conrelid AND ka.attnum = o.k "
    "JOIN pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = o.f "
    "JOIN pg_operator op ON op.oid = o.eq JOIN pg_namespace ns ON ns.oid = op.oprnamespace "
    "WHERE c.contype = 'f' AND c.convalidated AND c.conparentid = 0 "
    "GROUP BY c.oid, c.conrelid, c.conname, c.confrelid, rel.relkind, frel.relkind ORDER BY 1";

/* Rows of (name, statement that counts what is wrong). */
static void count_faults(const DrillServer *s, const char *database, const StrList *rows, Tally *t)
{
    for (size_t i = 0; i + 1 < rows->len; i += 2) {
        _cleanup_free_ char *statement = xasprintf(NO_INDEX "%s", rows->items[i + 1]);
        _cleanup_(strlist_clear) StrList count = {0};
        t->checked++;
        if (ask_or_fault(s, database, statement, &count, t) &&
            (count.len != 1 || !streq(count.items[0], "0")))
            tally_fault(t, "%s: %s rows (database %s)", rows->items[i],
                        count.len ? count.items[0] : "no", database);
    }
}

static void check_foreign_keys(const DrillServer *s, const StrList *databases, DrillLines *ret)
{
    Tally t = TALLY;

    for (size_t i = 0; i < databases->len; i++) {
        _cleanup_(strlist_clear) StrList rows = {0};
        if (ask_or_fault(s, databases->items[i], foreign_keys_sql, &rows, &t))
            count_faults(s, databases->items[i], &rows, &t);
    }
    tally_end(&t, "foreign_keys", "foreign keys: every row has its parent", ret);
}

/* A rule of Mastodon's; the statement counts what breaks it. Column: "table.column" that the rule
 * needs, or NULL; later releases move some. */
typedef struct Rule {
    const char *name, *column, *statement;
} Rule;
static const Rule mastodon_rules[] = {
    {"schema_migrations is empty", NULL,
     "SELECT count(*) FROM (SELECT WHERE NOT EXISTS (SELECT FROM schema_migrations)) x"},
    {"accounts twice under one name", NULL,
     "SELECT count(*) FROM (SELECT FROM accounts GROUP BY lower(username), lower(coalesce(domain, "
     "'')) HAVING count(*) > 1) x"},
    {"statuses twice under one uri", "statuses.uri",
     "SELECT count(*) FROM (SELECT FROM statuses WHERE uri IS NOT NULL GROUP BY uri HAVING "
     "count(*) > 1) x"},
    {"tags twice under one name", "tags.name",
     "SELECT count(*) FROM (SELECT FROM tags GROUP BY lower(name) HAVING count(*) > 1) x"},
    {"users twice with one address", "users.email",
     "SELECT count(*) FROM (SELECT FROM users GROUP BY email HAVING count(*) > 1) x"},
    {"the instance's own actor (id -99) is missing", NULL,
     "SELECT count(*) FROM (SELECT WHERE NOT EXISTS (SELECT FROM accounts WHERE id = -99)) x"},
    {"local accounts without a private key", "accounts.private_key",
     "SELECT count(*) FROM accounts WHERE domain IS NULL AND suspended_at IS NULL AND "
     "coalesce(private_key, '') = ''"},
    {"local accounts without a user", "accounts.suspended_at",
     "SELECT count(*) FROM accounts a WHERE domain IS NULL AND id <> -99 AND suspended_at IS NULL "
     "AND NOT EXISTS (SELECT FROM users u WHERE u.account_id = a.id)"},
};

/* Sequences that would give out a number that is there already. */
static const char sequences_sql[] =
    "SELECT 'the sequence of ' || a.attrelid::regclass || '.' || a.attname || ' is behind', "
    "format('SELECT count(*) FROM (SELECT FROM %s HAVING max(%I) > (SELECT last_value FROM %s)) "
    "x', a.attrelid::regclass, a.attname, d.objid::regclass) "
    "FROM pg_depend d JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S' "
    "JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
    "JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum "
    "WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass "
    "AND d.deptype IN ('a', 'i') AND pg_get_expr(f.adbin, f.adrelid) LIKE 'nextval(%' ORDER BY 1";

static bool has_column(const DrillServer *s, const char *database, const char *column)
{
    const char *dot = strchr(column, '.');
    _cleanup_free_ char *statement =
        xasprintf("SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('%.*s') AND "
                  "attname = '%s' AND NOT attisdropped",
                  (int)(dot - column), column, dot + 1);
    _cleanup_(strlist_clear) StrList count = {0};

    return ask(s, database, statement, &count, NULL) == 0 && count.len == 1 &&
           streq(count.items[0], "1");
}

static void check_mastodon_in(const DrillServer *s, const char *database, Tally *t)
{
    _cleanup_(strlist_clear) StrList rows = {0}, sequences = {0};

    for (size_t i = 0; i < ARRAY_LEN(mastodon_rules); i++) {
        const Rule *rule = &mastodon_rules[i];
        if (rule->column && !has_column(s, database, rule->column))
            continue;
        strlist_add(&rows, rule->name);
        strlist_add(&rows, rule->statement);
    }
    /* A status' id has its time in ms, 16 bits further up. */
    if (s->reached_time > 0) {
        strlist_add(&rows, "statuses of the future");
        strlist_addf(&rows, "SELECT count(*) FROM statuses WHERE id >> 16 > %lld",
                     (long long)s->reached_time + (long long)MINUTE);
    }
    count_faults(s, database, &rows, t);
    if (ask_or_fault(s, database, sequences_sql, &sequences, t))
        count_faults(s, database, &sequences, t);
}

static void check_mastodon(const DrillServer *s, const StrList *databases, DrillLines *ret)
{
    static const char is_there[] =
        "SELECT count(*) FROM (VALUES ('accounts'), ('statuses'), ('users'), "
        "('schema_migrations')) t(n) WHERE to_regclass(n) IS NOT NULL";
    Tally t = TALLY;
    bool found = false;

    for (size_t i = 0; i < databases->len; i++) {
        _cleanup_(strlist_clear) StrList count = {0};
        if (ask(s, databases->items[i], is_there, &count, NULL) < 0 || count.len != 1 ||
            !streq(count.items[0], "4"))
            continue;
        found = true;
        check_mastodon_in(s, databases->items[i], &t);
    }
    if (found)
        tally_end(&t, "mastodon", "of Mastodon's rules hold", ret);
    else
        drill_add(ret, "mastodon", DRILL_SKIPPED, "no database has Mastodon's schema");
    buf_clear(&t.words);
}

static void tell(const DrillServer *s, int64_t done)
{
    if (s->progress)
        s->progress(s->progress_user, &(RestoreProgress){"checks", done, 4});
}

void drill_checks(const DrillServer *s, DrillLines *ret)
{
    _cleanup_(strlist_clear) StrList databases = {0};
    _cleanup_(err_clear) Err err = {0};

    if (ask(s, "template1", "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1",
            &databases, &err) < 0) {
        drill_add(ret, "indexes", DRILL_FAILED, "the server can't be asked: %s", err.text);
        return;
    }
    /* The order of text first: where it is another one, the next check has faults that are no
     * fault of the backup's. */
    check_collations(s, &databases, ret);
    tell(s, 1);
    check_indexes(s, ret);
    tell(s, 2);
    check_foreign_keys(s, &databases, ret);
    tell(s, 3);
    check_mastodon(s, &databases, ret);
    tell(s, 4);
}
