/* atoll backup dump: one database as pg_dump writes it. */
#include "backup/dump.h"
#include "cmd/backup.h"
#include "cmd/restore.h"

#include <stdio.h>
#include <unistd.h>

#define TERMINAL_MS 250
#define LINE_MS (30 * SECOND)
#define JSON_MS SECOND

typedef struct Options {
    const char *settings, *to, *database, *programs;
    bool one_file, check;
    int64_t jobs;
} Options;

static const Opt options[] = {
    OPT_SETTINGS(Options),
    {.name = "to",
     .type = OPT_STRING,
     .argument = "PATH",
     .sentence = "The new folder, or with --one-file the new file.",
     .offset = offsetof(Options, to)},
    {.name = "database",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "Which one (default: the only one besides `postgres`).",
     .offset = offsetof(Options, database)},
    {.name = "one-file",
     .type = OPT_FLAG,
     .sentence = "Write one file (pg_dump's custom format), by one connection.",
     .offset = offsetof(Options, one_file)},
    {.name = "jobs",
     .type = OPT_INT,
     .argument = "N",
     .sentence = "Tables that are read at once; 0: as many as processors, at most 4.",
     .offset = offsetof(Options, jobs),
     .min = 0,
     .max = 64,
     .def = "0"},
    {.name = "check",
     .type = OPT_FLAG,
     .sentence = "Let pg_restore read all of it once more before it gets its name.",
     .offset = offsetof(Options, check)},
    {.name = "programs",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "PostgreSQL's programs, in place of the settings' (default: Debian's of the "
                 "server's version). For an upgrade: those of the new version.",
     .offset = offsetof(Options, programs)},
    OPT_END,
};

typedef struct Shown {
    const Cmd *c;
    bool terminal, drawn;
    Msec began, at; /* time_mono; of the last line */
} Shown;

static void show(void *user, const DumpProgress *p)
{
    Shown *s = user;
    Msec now = time_mono();
    Msec pause = s->c->common.json ? JSON_MS : s->terminal ? TERMINAL_MS : LINE_MS;
    char written[SIZE_TEXT_MAX], total[SIZE_TEXT_MAX], span[TIME_TEXT_MAX];
    bool check = streq(p->phase, "check");

    if (s->c->common.quiet || now - s->at < pause)
        return;
    s->at = now;
    if (s->c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:I, s:I}", "event", "progress", "phase", p->phase,
                               "written", (json_int_t)p->written, "total", (json_int_t)p->total));
        return;
    }
    fprintf(stderr, "%s%s of a database of %s %s, %s%s", s->terminal ? "\r\033[K  ... " : "",
            size_format(p->written, written), size_format(p->total, total),
            check ? "written, being read back" : "written", time_span(now - s->began, span),
            s->terminal ? "" : "\n");
    fflush(stderr);
    s->drawn = s->terminal;
}

static void print_result(const Cmd *c, const char *to, const DumpResult *d, Msec took)
{
    char bytes[SIZE_TEXT_MAX], span[TIME_TEXT_MAX];

    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "event", "dump", "database",
                               d->database, "to", to, "manifest", d->manifest, "bytes",
                               (json_int_t)d->bytes, "files", (json_int_t)d->files, "ms",
                               (json_int_t)took));
        return;
    }
    cmd_say(c,
            "%s: the database %s, %s in %lld files, %s\nnext: createdb NEW && pg_restore -j 2 "
            "-d NEW %s\nit is not encrypted: who reads it has everything in it\n",
            to, d->database, size_format(d->bytes, bytes), (long long)d->files,
            time_span(took, span), to);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(backup_settings_clear) BackupSettings settings = {0};
    _cleanup_secret_ Secret *password = NULL;
    _cleanup_(dump_result_clear) DumpResult result = {0};
    PgTarget server;
    Shown shown = {.c = c,
                   .terminal = isatty(STDERR_FILENO) && !c->common.json && !c->common.quiet,
                   .began = time_mono(),
                   .at = time_mono()};

    if (!o->to || !*o->to)
        return err_set(err, ERR_USAGE, "--to PATH says where the dump goes");
    _cleanup_free_ char *to = cmd_absolute_new(o->to);
    for (size_t n = strlen(to); n > 1 && to[n - 1] == '/'; n--)
        to[n - 1] = '\0';
    int r = cmd_backup_settings(o->settings, &settings, err);
    if (r == 0)
        r = backup_settings_target(&settings, "postgres", &server, &password, err);
    if (r < 0)
        return r;
    const DumpOptions how = {.server = &server,
                             .database = o->database,
                             .programs = o->programs ? o->programs : settings.programs,
                             .to = to,
                             .one_file = o->one_file,
                             .jobs = (int)o->jobs,
                             .check = o->check,
                             .stop = c->stop,
                             .progress = show,
                             .user = &shown};
    r = dump_run(&how, &result, err);
    if (shown.drawn)
        fputs("\r\033[K", stderr);
    if (r == 0)
        print_result(c, to, &result, time_mono() - shown.began);
    return r;
}

const Verb verb_backup_dump = {
    .name = "backup dump",
    .usage = "backup dump --to PATH [options]",
    .sentence = "Write a database as pg_dump does, for an upgrade or for leaving.",
    .text =
        "Runs PostgreSQL's own pg_dump on the settings' server, by several connections that share "
        "one snapshot, and reads the table of contents back with pg_restore. The dump gets its "
        "name only when all parts of it ended well, it is on disk, and a manifest with the size "
        "and SHA-256 of each file lies beside it (in a folder " DUMP_MANIFEST
        ", else PATH.json). Until then it is in PATH.unfinished.\n\n"
        "Any pg_restore of the same version or a later one reads it. It is not encrypted. Roles "
        "are not in it: `pg_dumpall --globals-only`. The settings' role has to read all tables: "
        "GRANT pg_read_all_data TO it (PostgreSQL 14 and later), or name a superuser in a settings "
        "file of its own.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
