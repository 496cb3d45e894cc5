/* atoll backup base: the whole cluster into the repository. */
#include "backup/base.h"
#include "base/log.h"
#include "cmd/backup.h"
#include "cmd/every.h"
#include "io/file.h"
#include <stdio.h>
#include <unistd.h>

#define STORE_PATIENCE (10 * MINUTE)
#define TERMINAL_MS 250
#define LINE_MS (30 * SECOND)
#define JSON_MS SECOND

typedef struct Options {
    const char *settings, *label, *rate;
    bool full, spread;
    int64_t every_ms, wait_ms, threads, level;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    {.name = "full",
     .type = OPT_FLAG,
     .sentence = "Send all pages, also those that an earlier backup has stored.",
     .offset = offsetof(Options, full)},
    {.name = "label",
     .type = OPT_STRING,
     .argument = "TEXT",
     .sentence = "What the backup is called in lists.",
     .offset = offsetof(Options, label),
     .def = "atoll"},
    {.name = "rate",
     .type = OPT_STRING,
     .argument = "SIZE",
     .sentence =
         "Read at most so much a second (20MB), or `auto`: give way to the server's clients "
         "when they wait for its disk.",
     .offset = offsetof(Options, rate)},
    {.name = "spread",
     .type = OPT_FLAG,
     .sentence =
         "Let the server take its time for the checkpoint that a backup begins with (minutes) "
         "instead of asking for it at once.",
     .offset = offsetof(Options, spread)},
    {.name = "every",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "Stay, and take a backup whenever the last is older than this.",
     .offset = offsetof(Options, every_ms),
     .min = MINUTE,
     .max = 30 * DAY},
    {.name = "wait",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "Wait so long until the log that the backup needs is stored too; 0s: do not ask.",
     .offset = offsetof(Options, wait_ms),
     .min = 0,
     .max = DAY,
     .def = "60s"},
    {.name = "threads",
     .type = OPT_INT,
     .argument = "N",
     .sentence = "Threads that compress; 0: as many as processors, at most 4.",
     .offset = offsetof(Options, threads),
     .min = 0,
     .max = 16,
     .def = "0"},
    {.name = "level",
     .type = OPT_INT,
     .argument = "N",
     .sentence = "Level of zstd: more is smaller and slower.",
     .offset = offsetof(Options, level),
     .min = 1,
     .max = 19,
     .def = "1"},
    OPT_END,
};

typedef struct Shown {
    const Cmd *c;
    bool terminal, drawn;
    Msec began, at; /* time_mono; of the last line */
    int64_t tenths; /* of the whole, at the last line */
} Shown;

/* "43 %, 1.2 GB of 2.8 GB, 210 MB/s, 120 MB sent, 2 min left" */
static void words_of(const Shown *s, const BaseProgress *p, Msec now, Buf *out)
{
    char done[SIZE_TEXT_MAX], total[SIZE_TEXT_MAX], sent[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX];
    char span[TIME_TEXT_MAX];
    Msec passed = MAX(now - s->began, (Msec)1);
    int64_t whole = MAX(p->total, p->done), speed = p->done * SECOND / passed;

    buf_printf(out, "%lld %%, %s of %s, %s/s, %s sent",
               whole ? (long long)(100 * p->done / whole) : 0LL, size_format(p->done, done),
               size_format(whole, total), size_format(speed, rate), size_format(p->sent, sent));
    if (p->rate_bytes > 0)
        buf_printf(out, ", held to %s/s", size_format(p->rate_bytes, rate));
    if (speed > 0 && passed > 2 * SECOND)
        buf_printf(out, ", %s left", time_span((whole - p->done) / speed * SECOND + SECOND, span));
}

static void show(void *user, const BaseProgress *p)
{
    Shown *s = user;
    Msec now = time_mono();
    int64_t tenths = p->total > 0 ? 10 * p->done / p->total : 0;
    Msec pause = s->c->common.json ? JSON_MS : s->terminal ? TERMINAL_MS : LINE_MS;
    bool tenth = !s->terminal && !s->c->common.json && tenths > s->tenths;

    if (s->c->common.quiet || (now - s->at < pause && !tenth) || p->done == 0)
        return;
    s->at = now;
    s->tenths = tenths;
    if (s->c->common.json) {
        cmd_json(json_make_new("{s:s, s:I, s:I, s:I, s:I, s:I}", "event", "progress", "done",
                               (json_int_t)p->done, "total", (json_int_t)p->total, "sent",
                               (json_int_t)p->sent, "reused", (json_int_t)p->reused, "rate",
                               (json_int_t)p->rate_bytes));
        return;
    }
    _cleanup_(buf_clear) Buf line = BUF_INIT(BUF_MAX_LINE);
    words_of(s, p, now, &line);
    fprintf(stderr, s->terminal ? "\r\033[K  ... %s" : "%s\n", line.p);
    fflush(stderr);
    s->drawn = s->terminal;
}

static void erase(Shown *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->drawn = false;
}

static int read_rate(const char *text, const CmdWriter *w, BaseOptions *o, Err *err)
{
    if (!text)
        return 0;
    if (streq(text, "auto")) {
        o->sql = &w->sql;
        return 0;
    }
    if (size_parse(text, &o->rate_bytes) && o->rate_bytes >= 32768)
        return 0;
    err_set(err, ERR_USAGE, "--rate takes a size of at least 32kB (20MB), or auto, not '%s'", text);
    return -ERR_USAGE;
}

static void print_result(const Cmd *c, const BaseResult *b, Msec took, bool log_stored)
{
    char bytes[SIZE_TEXT_MAX], stored[SIZE_TEXT_MAX], reused[SIZE_TEXT_MAX], span[TIME_TEXT_MAX];
    char start[LSN_TEXT_MAX], stop[LSN_TEXT_MAX];

    for (size_t i = 0; i < b->warnings.len; i++)
        log_warn("%s", b->warnings.items[i]);
    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:b, s:I, s:O}",
                               "event", "base", "id", b->id, "name", b->name, "start",
                               lsn_format(b->start, start), "stop", lsn_format(b->stop, stop),
                               "bytes", (json_int_t)b->bytes, "stored", (json_int_t)b->stored,
                               "reused", (json_int_t)b->reused, "checksums",
                               json_str_or(b->facts, "checksums", ""), "log_stored", log_stored,
                               "ms", (json_int_t)took, "warnings", json_at(b->facts, "warnings")));
        return;
    }
    cmd_say(c, "backup %s: %s in %s; %s sent, %s were stored already\n", b->id,
            size_format(b->bytes, bytes), time_span(took, span), size_format(b->stored, stored),
            size_format(b->reused, reused));
}

/* Who only has the files has no backup yet. */
static int wait_log(Cmd *c, const CmdWriter *w, const BaseResult *b, bool *ret_stored, Err *err)
{
    const Options *o = c->options;
    Lsn at = 0;
    const BaseWait wait = {.server = &w->server,
                           .sql = &w->sql,
                           .slot = w->settings.slot,
                           .stop = b->stop,
                           .wait_ms = o->wait_ms,
                           .interrupt = c->stop};
    _cleanup_(err_clear) Err own = {0};

    if (o->wait_ms == 0)
        return 0;
    int r = base_wait(&wait, &at, &own);
    *ret_stored = r == 0;
    if (r == 0)
        return 0;
    err_set(err, ERR_PARTIAL,
            "the backup's files are stored, but it can't be restored before the log is: %s",
            own.text);
    return own.hint ? err_hint(err, "%s", own.hint) : -ERR_PARTIAL;
}

static int take(Cmd *c, Err *err)
{
    const Options *o = c->options;
    _cleanup_(cmd_writer_clear) CmdWriter w = {0};
    _cleanup_(base_result_clear) BaseResult result = {0};
    Shown shown = {.c = c,
                   .terminal = isatty(STDERR_FILENO) && !c->common.json && !c->common.quiet,
                   .began = time_mono(),
                   .at = time_mono()};
    bool log_stored = false;
    int r = cmd_writer_open(c, o->settings, STORE_PATIENCE, &w, err);
    BaseOptions base = {.server = &w.server,
                        .store = w.store,
                        .seal = &w.seal,
                        .state = w.settings.state,
                        .label = o->label,
                        .fast = !o->spread,
                        .full = o->full,
                        .threads = (size_t)o->threads,
                        .level = (int)o->level,
                        .now = time_now(),
                        .stop = c->stop,
                        .progress = show,
                        .user = &shown};
    if (r == 0)
        r = read_rate(o->rate, &w, &base, err);
    if (r == 0)
        r = base_take(&base, &result, err);
    erase(&shown);
    if (r < 0)
        return r;
    r = wait_log(c, &w, &result, &log_stored, err);
    print_result(c, &result, time_mono() - shown.began, log_stored);
    if (result.checksums_failed) {
        err_set(err, ERR_CORRUPT,
                "the server found pages with wrong checksums: its disk, memory or storage damages "
                "data. The backup %s is stored as it was read, damage included",
                result.id);
        return err_hint(err, "do not prune older backups; look at the warnings above, and at the "
                             "kernel's log; `atoll restore` an older one beside and compare");
    }
    return r;
}

static int keep_taking(Cmd *c, Err *err)
{
    const Options *o = c->options;
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    int r = cmd_backup_settings(o->settings, &s, err);

    if (r == 0 && !s.state) {
        (void)err_set(err, ERR_CONFIG, "%s has no `state`, where --every remembers the last backup",
                      s.path);
        r = err_hint(err, "add state: FOLDER to it");
    }
    if (r < 0)
        return r;
    _cleanup_free_ char *path = path_join(s.state, "base-last");
    const CmdEvery every = {
        .word = "backup base", .every_ms = o->every_ms, .path = path, .work = take};
    return cmd_every(c, &every, err);
}

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;

    (void)operands; /* none */
    cmd_backup_memory();
    return o->every_ms ? keep_taking(c, err) : take(c, err);
}

const Verb verb_backup_base = {
    .name = "backup base",
    .usage = "backup base [options]",
    .sentence = "Store the whole database cluster; what is stored already is not sent again.",
    .text =
        "Reads the cluster's files over PostgreSQL's replication protocol, once, without a copy on "
        "this machine's disk, and stores them as encrypted packs of pages. Pages that an earlier "
        "backup has stored are not sent again, yet each backup restores by itself. Which pages "
        "these are is known by a page map in the settings' `state` folder; without it, or when it "
        "is damaged or of another cluster, all are sent. A run that was cut off is taken up.\n\n"
        "The server checks the pages' checksums while it reads. If one is wrong the backup is "
        "kept, "
        "marked as failed, and the exit code is 1.\n\n"
        "A backup can be restored when the log up to its end is stored as well, which is the work "
        "of `atoll backup stream`. Where that does not come within --wait the exit code is 3.\n\n"
        "With --rate auto the server is asked once a second how many of its clients work, and how "
        "many of them wait for its disk or log: when two or more and a third of them do, the rate "
        "is "
        "halved (down to 4 MB/s), otherwise it grows by a quarter. This needs a role that may read "
        "pg_stat_activity (pg_monitor).",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
