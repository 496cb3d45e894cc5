/* BASE_BACKUP (PostgreSQL documentation, "Streaming Replication Protocol"; what 15 sends was seen,
 * what 13 and 14 send is as documented there). */
#include "base/time.h"
#include "io/repl_internal.h"

#include <poll.h>

#define WORDS_MAX ((size_t)8 << 10)
#define LABEL_MAX 1000 /* MAXPGPATH less the end */
#define ONE_COPY_VERSION 150000
#define QUIET_MS (10 * MINUTE)
/* Longer than checkpoint_timeout can be, over which a spread checkpoint goes. */
#define CHECKPOINT_MS (25 * HOUR)

/* Where a base backup is: before 15 each archive is a COPY of its own, and so is the manifest. */
struct ReplBaseState {
    Msec wait_ms, quiet_ms; /* now, and once the checkpoint is over */
    const volatile sig_atomic_t *stop;
    PGresult *spaces; /* spcoid, spclocation, size */
    int next_space;   /* before 15: whose archive comes next */
    bool copying;
    PGresult *end; /* stop position */
    Buf words;     /* warnings of the server */
    Buf name;      /* of an archive, before 15 */
};

void repl_base_free(ReplBaseState *b)
{
    if (!b)
        return;
    PQclear(b->spaces);
    PQclear(b->end);
    buf_clear(&b->words);
    buf_clear(&b->name);
    free(b);
}

static void notice(void *arg, const PGresult *r)
{
    ReplBaseState *b = arg;
    const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *words = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

    if (streq(severity, "WARNING") && words)
        buf_printf(&b->words, "%s%s", b->words.len ? "\n" : "", words);
}

/* A server that is gone is noticed by TCP, one that hangs by its silence; a person who waits no
 * longer by the flag. */
static int wait_input(const Repl *r, Err *err)
{
    Msec until = time_mono() + r->base->wait_ms;
    char span[TIME_TEXT_MAX];

    for (;;) {
        struct pollfd p = {.fd = PQsocket(r->c), .events = POLLIN};
        if (r->base->stop && *r->base->stop)
            return err_set(err, ERR_INTERRUPTED, "interrupted");
        Msec left = until - time_mono();
        if (poll(&p, 1, (int)MIN(MAX(left, (Msec)0), (Msec)500)) > 0)
            return 0;
        if (left <= 0)
            return err_set(
                err, ERR_TEMPORARY,
                "PostgreSQL has sent nothing of the backup for %s and is still connected",
                time_span(r->base->wait_ms, span));
    }
}

static int lost(const Repl *r, Err *err)
{
    _cleanup_free_ char *words = xstrdup(PQerrorMessage(r->c));
    words[strcspn(words, "\n")] = '\0';
    return err_set(err, ERR_TEMPORARY,
                   "PostgreSQL: the connection was lost in the middle of a "
                   "backup%s%s",
                   *words ? ": " : "", words);
}

/* NULL: no more. An error of the server's is a result too. */
static int next_result(Repl *r, PGresult **ret, Err *err)
{
    while (PQisBusy(r->c)) {
        int got = wait_input(r, err);
        if (got < 0)
            return got;
        if (!PQconsumeInput(r->c))
            return lost(r, err);
    }
    *ret = PQgetResult(r->c);
    return 0;
}

static int server_error(const Repl *r, const PGresult *p, Err *err)
{
    char state[SQLSTATE_MAX];

    if (!p || !PQresultErrorField(p, PG_DIAG_SQLSTATE))
        return lost(r, err);
    return pg_result_error(p, state, err);
}

static int expect(Repl *r, ExecStatusType wanted, PGresult **ret, Err *err)
{
    _cleanup_(result_drop) PGresult *p = NULL;
    int got = next_result(r, &p, err);

    if (got < 0)
        return got;
    if (!p || PQresultStatus(p) != wanted)
        return server_error(r, p, err);
    *ret = TAKE(p);
    return 0;
}

static char *command_new(const Repl *r, const ReplBase *b, const char *quoted_label)
{
    int64_t rate_kb = MIN(MAX(b->rate_bytes / 1024, (int64_t)32), (int64_t)1 << 20);
    _cleanup_free_ char *rate = NULL;
    bool old = r->version < ONE_COPY_VERSION;

    if (b->rate_bytes > 0)
        rate = xasprintf("%sMAX_RATE %lld", old ? " " : ", ", (long long)rate_kb);
    if (old)
        return xasprintf("BASE_BACKUP LABEL '%s' PROGRESS%s NOWAIT%s TABLESPACE_MAP MANIFEST 'yes' "
                         "MANIFEST_CHECKSUMS 'CRC32C'",
                         quoted_label, b->fast ? " FAST" : "", rate ? rate : "");
    return xasprintf("BASE_BACKUP (LABEL '%s', PROGRESS, CHECKPOINT '%s', WAIT 'false'%s, "
                     "TABLESPACE_MAP, VERIFY_CHECKSUMS 'true', MANIFEST 'yes', MANIFEST_CHECKSUMS "
                     "'CRC32C')",
                     quoted_label, b->fast ? "fast" : "spread", rate ? rate : "");
}

static int quote_label(const char *label, Buf *ret, Err *err)
{
    for (const char *p = label; *p; p++) {
        if ((unsigned char)*p < ' ')
            return err_set(err, ERR_USAGE, "a label is one line of text");
        buf_char(ret, *p);
        if (*p == '\'')
            buf_char(ret, '\'');
    }
    if (ret->overflow)
        return err_set(err, ERR_USAGE, "a label has at most %d bytes", LABEL_MAX / 2);
    return 0;
}

static int read_position(const PGresult *p, uint64_t *ret_lsn, uint32_t *ret_tli, Err *err)
{
    int64_t tli = 0;

    if (PQntuples(p) != 1 || PQnfields(p) < 2 || !repl_lsn(PQgetvalue(p, 0, 0), ret_lsn) ||
        !parse_int(PQgetvalue(p, 0, 1), 1, UINT32_MAX, &tli))
        return err_set(err, ERR_CORRUPT, "PostgreSQL: where the backup stands can't be read");
    *ret_tli = (uint32_t)tli;
    return 0;
}

static int begin(Repl *r, const char *command, ReplBegin *ret, Err *err)
{
    _cleanup_(result_drop) PGresult *start = NULL, *copy = NULL;
    ReplBaseState *b = r->base;

    if (!PQsendQuery(r->c, command))
        return lost(r, err);
    int got = expect(r, PGRES_TUPLES_OK, &start, err);
    b->wait_ms = b->quiet_ms;
    if (got == 0)
        got = read_position(start, &ret->start, &ret->tli, err);
    if (got == 0)
        got = expect(r, PGRES_TUPLES_OK, &b->spaces, err);
    if (got < 0)
        return got;
    ret->bytes = 0;
    for (int i = 0; i < PQntuples(b->spaces); i++) {
        int64_t kb = 0;
        if (PQnfields(b->spaces) >= 3 &&
            parse_int(PQgetvalue(b->spaces, i, 2), 0, INT64_MAX / 1024, &kb))
            ret->bytes += kb * 1024;
    }
    if (r->version < ONE_COPY_VERSION)
        return 0;
    b->copying = true;
    return expect(r, PGRES_COPY_OUT, &copy, err);
}

int repl_base(Repl *r, const ReplBase *b, ReplBegin *ret, Err *err)
{
    _cleanup_(buf_clear) Buf label = BUF_INIT(LABEL_MAX / 2);

    int got = quote_label(b->label, &label, err);
    if (got < 0)
        return got;
    repl_base_free(r->base);
    r->base = NEW(ReplBaseState);
    *r->base = (ReplBaseState){.wait_ms = b->checkpoint_ms ? b->checkpoint_ms : CHECKPOINT_MS,
                               .quiet_ms = b->quiet_ms ? b->quiet_ms : QUIET_MS,
                               .stop = b->stop,
                               .words = BUF_INIT(WORDS_MAX),
                               .name = BUF_INIT(BUF_MAX_LINE)};
    PQsetNoticeReceiver(r->c, notice, r->base);
    _cleanup_free_ char *command = command_new(r, b, label.p);
    got = begin(r, command, ret, err);
    return got < 0 ? err_wrap(err, "beginning a base backup") : 0;
}

/* The next message of the COPY in r->copy; *ret_n: its length, or -1 at the COPY's end. */
static int next_copy(Repl *r, int *ret_n, Err *err)
{
    PQfreemem(r->copy);
    r->copy = NULL;
    for (;;) {
        *ret_n = PQgetCopyData(r->c, &r->copy, 1);
        if (*ret_n > 0 || *ret_n == -1)
            return 0;
        if (*ret_n < -1)
            return lost(r, err);
        int got = wait_input(r, err);
        if (got < 0)
            return got;
        if (!PQconsumeInput(r->c))
            return lost(r, err);
    }
}

/* 15 and later: all in one COPY, each message with its type. */
static int parse_message(Str m, ReplPart *ret_part, Str *ret_data, Err *err)
{
    static const struct {
        char type;
        ReplPart part;
    } table[] = {{'n', REPL_ARCHIVE}, {'d', REPL_DATA}, {'m', REPL_MANIFEST}, {'p', REPL_PROGRESS}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (m.n > 0 && m.p[0] == table[i].type) {
            *ret_part = table[i].part;
            *ret_data = (Str){m.p + 1, m.n - 1};
            /* Two texts, both with their end. */
            if (*ret_part == REPL_ARCHIVE &&
                (m.n < 3 || m.p[m.n - 1] != '\0' || strlen(m.p + 1) + 2 >= m.n))
                break;
            return 0;
        }
    return err_set(err, ERR_CORRUPT, "PostgreSQL sent a message that is none of a backup's");
}

/* Before 15: the next COPY is an archive's or the manifest's, in the order of the tablespaces. */
static int begin_copy(Repl *r, ReplPart *ret_part, Str *ret_data, Err *err)
{
    ReplBaseState *b = r->base;
    _cleanup_(result_drop) PGresult *p = NULL;

    if (b->next_space > PQntuples(b->spaces)) {
        *ret_part = REPL_END;
        return 0;
    }
    int got = expect(r, PGRES_COPY_OUT, &p, err);
    if (got < 0)
        return got;
    int i = b->next_space++;
    b->copying = true;
    *ret_part = REPL_MANIFEST;
    if (i == PQntuples(b->spaces))
        return 0;
    bool base = PQgetisnull(b->spaces, i, 0);
    *ret_part = REPL_ARCHIVE;
    buf_truncate(&b->name, 0);
    buf_printf(&b->name, "%s.tar%c%s", base ? "base" : PQgetvalue(b->spaces, i, 0), '\0',
               base ? "" : PQgetvalue(b->spaces, i, 1));
    *ret_data = (Str){b->name.p, b->name.len + 1};
    return 0;
}

int repl_base_next(Repl *r, ReplPart *ret_part, Str *ret_data, Err *err)
{
    ReplBaseState *b = r->base;
    bool old = r->version < ONE_COPY_VERSION;
    int n = 0;

    *ret_data = (Str){"", 0};
    for (;;) {
        if (!b->copying && old)
            return begin_copy(r, ret_part, ret_data, err);
        int got = next_copy(r, &n, err);
        if (got < 0)
            return got;
        if (n > 0 && old) {
            *ret_part = REPL_DATA;
            *ret_data = (Str){r->copy, (size_t)n};
            return 0;
        }
        if (n > 0)
            return parse_message((Str){r->copy, (size_t)n}, ret_part, ret_data, err);
        b->copying = false;
        if (!old) {
            *ret_part = REPL_END;
            return 0;
        }
    }
}

/* Where the log has to be had up to, and then possibly the error that a page's checksum was wrong.
 */
int repl_base_end(Repl *r, ReplBaseEnd *ret, Err *err)
{
    ReplBaseState *b = r->base;

    *ret = (ReplBaseEnd){0};
    for (;;) {
        _cleanup_(result_drop) PGresult *p = NULL;
        int got = next_result(r, &p, err);
        if (got < 0)
            return got;
        if (!p)
            break;
        const char *state = PQresultErrorField(p, PG_DIAG_SQLSTATE);
        if (PQresultStatus(p) == PGRES_TUPLES_OK && !b->end)
            b->end = TAKE(p);
        else if (PQresultStatus(p) == PGRES_FATAL_ERROR && b->end && streq(state, "XX001"))
            ret->checksums_failed = true;
        else if (PQresultStatus(p) == PGRES_FATAL_ERROR)
            return server_error(r, p, err);
    }
    if (!b->end)
        return lost(r, err);
    int got = read_position(b->end, &ret->stop, &ret->tli, err);
    if (got == 0 && b->words.len > 0)
        ret->words = xstrdup(b->words.p);
    return got;
}
