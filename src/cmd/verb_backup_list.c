/* atoll backup list: which backups there are, and to which moments one can restore. */
#include "backup/drill.h"
#include "cmd/backup.h"
#include "cmd/cmd.h"
#include "io/columns.h"
#include <stdio.h>

typedef struct Options {
    const char *settings;
} Options;

static const Opt options[] = {OPT_SETTINGS(Options), OPT_END};

typedef struct List {
    Catalogue catalogue;
    Bases bases;
    WalRanges ranges;
    StrList bad;
} List;

static void list_clear(List *l)
{
    catalogue_clear(&l->catalogue);
    bases_clear(&l->bases);
    vec_clear(&l->ranges);
    strlist_clear(&l->bad);
}
DEFINE_CLEAR(List, list_clear)

/* The last drill of a backup that was good; NULL: it is not proven. */
static const Note *proof_of(const Catalogue *c, const Base *b)
{
    const Note *proof = NULL;

    for (size_t i = 0; i < c->notes.len; i++) {
        const Note *n = &c->notes.items[i];
        if (streq(n->kind, "drill") && json_bool(n->body, "ok", false) &&
            streq(json_str(n->body, "base"), b->name))
            proof = n;
    }
    return proof;
}

static int load(Cmd *c, List *l, Err *err)
{
    const Options *o = c->options;
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    _cleanup_(store_drop) Store *store = NULL;
    int r = cmd_backup_settings(o->settings, &s, err);

    if (r == 0)
        r = backup_settings_store(&s, c->cache_dir, &(StoreOptions){.stop = c->stop}, &store, err);
    if (r == 0)
        r = cmd_backup_catalogue(&s, store, &l->catalogue, err);
    if (r == 0)
        r = bases_load(store, &l->catalogue, &l->bases, &l->bad, err);
    if (r == 0)
        wal_ranges(&l->catalogue, &l->ranges);
    return r;
}

static void print_json(const List *l)
{
    char at[TIME_TEXT_MAX], from[LSN_TEXT_MAX], to[LSN_TEXT_MAX], proven[TIME_TEXT_MAX];

    for (size_t i = 0; i < l->bases.len; i++) {
        const Base *b = &l->bases.items[i];
        const Note *proof = proof_of(&l->catalogue, b);
        cmd_json(json_make_new(
            "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:s?, s:O}", "event", "backup",
            "id", b->id, "name", b->name, "written", time_format(b->written, false, at), "start",
            lsn_format(b->start, from), "stop", lsn_format(b->stop, to), "tli", (json_int_t)b->tli,
            "bytes", (json_int_t)json_int(b->facts, "bytes", 0), "stored",
            (json_int_t)json_int(b->facts, "stored", 0), "countersigned", b->note > 0, "proven",
            proof ? time_format(proof->at, false, proven) : NULL, "facts", b->facts));
    }
    for (size_t i = 0; i < l->ranges.len; i++) {
        const WalRange *w = &l->ranges.items[i];
        cmd_json(json_make_new("{s:s, s:I, s:s, s:s, s:s, s:s}", "event", "log", "tli",
                               (json_int_t)w->tli, "start", lsn_format(w->start, from), "end",
                               lsn_format(w->end, to), "first", time_format(w->first, false, at),
                               "last", time_format(w->last, false, proven)));
    }
    for (size_t i = 0; i < l->bad.len; i++)
        cmd_json(json_make_new("{s:s, s:s}", "event", "bad", "words", l->bad.items[i]));
}

/* "12.3 MB" (of 1000 kB); returns out. */
static const char *megabytes(int64_t bytes, char out[static 32])
{
    snprintf(out, 32, "%lld.%lld MB", (long long)(bytes / 1000000),
             (long long)(bytes % 1000000 / 100000));
    return out;
}

static void print_bases(const List *l, Buf *out)
{
    Columns *table = columns_new(
        (const char *const[]){"BACKUP", "STORED AT", "SIZE", "NEW BYTES", "PROVEN", NULL});

    for (size_t i = 0; i < l->bases.len; i++) {
        const Base *b = &l->bases.items[i];
        const Note *proof = proof_of(&l->catalogue, b);
        char at[TIME_TEXT_MAX], proven[TIME_TEXT_MAX], size[32], stored[32];

        columns_row(table,
                    (const char *const[]){b->id, time_format(b->written, false, at),
                                          megabytes(json_int(b->facts, "bytes", 0), size),
                                          megabytes(json_int(b->facts, "stored", 0), stored),
                                          proof ? time_format(proof->at, false, proven)
                                                : (b->note ? "no" : "no; not countersigned")});
    }
    columns_print(table, out, 0);
    columns_free(table);
}

static void print_ranges(const List *l, Buf *out)
{
    Columns *table =
        columns_new((const char *const[]){"TIMELINE", "LOG FROM", "TO", "STORED FROM", "TO", NULL});

    for (size_t i = 0; i < l->ranges.len; i++) {
        const WalRange *w = &l->ranges.items[i];
        char first[TIME_TEXT_MAX], last[TIME_TEXT_MAX], from[LSN_TEXT_MAX], to[LSN_TEXT_MAX];
        _cleanup_free_ char *tli = xasprintf("%u", w->tli);

        columns_row(table,
                    (const char *const[]){tli, lsn_format(w->start, from), lsn_format(w->end, to),
                                          time_format(w->first, false, first),
                                          time_format(w->last, false, last)});
    }
    columns_print(table, out, 0);
    columns_free(table);
}

static void print(const List *l)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY);

    if (l->bases.len)
        print_bases(l, &out);
    else
        buf_str(&out, "No backups yet.\n");
    if (l->ranges.len) {
        buf_char(&out, '\n');
        print_ranges(l, &out);
    }
    if (l->catalogue.notes.len == 0)
        buf_str(&out, "\nNobody countersigns: `atoll backup audit` does.\n");
    for (size_t i = 0; i < l->bad.len; i++)
        buf_printf(&out, "\nnot a backup: %s\n", l->bad.items[i]);
    fputs(out.p, stdout);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    _cleanup_(list_clear) List l = {0};
    int r = load(c, &l, err);

    if (r < 0)
        return r;
    if (c->common.json)
        print_json(&l);
    else
        print(&l);
    return 0;
}

const Verb verb_backup_list = {
    .name = "backup list",
    .usage = "backup list [options]",
    .sentence = "Show the backups, which of them are proven, and the log behind them.",
    .text =
        "A backup is proven when a drill has restored it (see `atoll drill`); the time is that of "
        "the last good one. New bytes are what it added to the repository: pages that earlier "
        "backups stored are not sent again. Times are the repository's. Below stand the stretches "
        "of log without a hole: one can restore to any moment on them that lies behind a backup. "
        "Needs a login to the repository, audit.pub and host.pub, and no key that reads.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
