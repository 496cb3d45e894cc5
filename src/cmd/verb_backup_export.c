/* atoll backup export: a proven copy as a plain archive. */
#include "backup/drill.h"
#include "backup/export.h"
#include "base/log.h"
#include "cmd/restore.h"
#include "io/file.h"

#include <stdio.h>
#include <unistd.h>

#define TERMINAL_MS 250
#define LINE_MS (30 * SECOND)
#define JSON_MS SECOND
#define MIB ((int64_t)1 << 20)

typedef struct Options {
    CmdRestoreOptions restore;
    const char *to, *to_cloud, *scratch;
    int64_t piece_mib, level;
} Options;

static const Opt options[] = {
    {.name = "to",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "The new folder.",
     .offset = offsetof(Options, to)},
    {.name = "to-cloud",
     .type = OPT_STRING,
     .argument = "CLOUD/CONTAINER/NAME",
     .sentence = "Or where in a container: an entry of clouds.yaml, and a name of its own.",
     .offset = offsetof(Options, to_cloud)},
    OPT_RESTORE_AT(Options, restore),
    {.name = "scratch",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "Where the database is restored to meanwhile; it is removed at the end (default: "
                 "FOLDER.unfinished, or one in /var/tmp).",
     .offset = offsetof(Options, scratch)},
    {.name = "piece",
     .type = OPT_INT,
     .argument = "MIB",
     .sentence = "Size of each piece.",
     .offset = offsetof(Options, piece_mib),
     .min = EXPORT_PIECE_MIN / MIB,
     .max = 4096,
     .def = "256"},
    {.name = "level",
     .type = OPT_INT,
     .argument = "N",
     .sentence = "Of zstd, 1 to 19.",
     .offset = offsetof(Options, level),
     .min = 1,
     .max = 19,
     .def = "3"},
    OPTS_RESTORE(Options, restore),
    OPT_END,
};

typedef struct Export {
    CmdRestore *restore;
    const Options *o;
    ExportPlace *place;
    const char *folder; /* the cluster, once it was restored */
    int64_t version;
    ExportResult result;
    bool terminal, drawn, done;
    Msec at; /* of the last line */
} Export;

static void show_progress(void *user, int64_t plain_bytes)
{
    Export *e = user;
    const CmdCommon *common = &e->restore->c->common;
    Msec now = time_mono();
    char bytes[SIZE_TEXT_MAX];

    if (common->quiet || now - e->at < (common->json  ? JSON_MS
                                        : e->terminal ? TERMINAL_MS
                                                      : LINE_MS))
        return;
    e->at = now;
    if (common->json) {
        cmd_json(json_make_new("{s:s, s:s, s:I}", "event", "progress", "phase", "export", "done",
                               (json_int_t)plain_bytes));
        return;
    }
    fprintf(stderr, "%s%s of the cluster packed%s", e->terminal ? "\r\033[K  ... " : "",
            size_format(plain_bytes, bytes), e->terminal ? "" : "\n");
    fflush(stderr);
    e->drawn = e->terminal;
}

/* What the drill proved, while it is still there. */
static int export_proven(void *user, const Drill *d, Err *err)
{
    Export *e = user;
    _cleanup_json_ json_t *report = drill_report_new(d);
    const ExportOptions how = {.folder = e->folder,
                               .place = e->place,
                               .drill = report,
                               .version = e->version,
                               .piece_bytes = e->o->piece_mib * MIB,
                               .level = (int)e->o->level,
                               .threads = (size_t)e->o->restore.threads,
                               .stop = e->restore->c->stop,
                               .progress = show_progress,
                               .user = e};

    cmd_restore_line_end(e->restore);
    int r = export_run(&how, &e->result, err);
    e->done = r == 0;
    if (e->drawn)
        fputs("\r\033[K", stderr);
    return r;
}

static void show(const Export *e, const Drill *d, const char *to)
{
    const Cmd *c = e->restore->c;
    char bytes[SIZE_TEXT_MAX], plain[SIZE_TEXT_MAX], lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX];

    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s}", "event", "export", "to",
                               to, "backup", d->base_id, "reached", lsn_format(d->reached, lsn),
                               "pieces", (json_int_t)e->result.pieces, "bytes",
                               (json_int_t)e->result.bytes, "plain_bytes",
                               (json_int_t)e->result.plain_bytes, "restore", e->result.command));
        return;
    }
    cmd_say(c, "%s: the cluster at %s%s%s, %s in %lld pieces (%s unpacked)\n", to,
            lsn_format(d->reached, lsn), d->reached_time ? ", its last transaction of " : "",
            d->reached_time ? time_format(d->reached_time, true, time) : "",
            size_format(e->result.bytes, bytes), (long long)e->result.pieces,
            size_format(e->result.plain_bytes, plain));
    cmd_say(c,
            "next: %s\nIT IS NOT ENCRYPTED: who reads it has everything that is in the database\n",
            e->result.command);
}

static int failed_drill(const Drill *d, Err *err)
{
    const DrillLine *bad = NULL;

    for (size_t i = 0; !bad && i < d->lines.len; i++)
        if (d->lines.items[i].outcome == DRILL_FAILED)
            bad = &d->lines.items[i];
    err_set(err, ERR_CORRUPT, "THE DRILL FAILED (%s: %s): nothing was exported",
            bad ? bad->name : "?", bad ? bad->words : "?");
    return err_hint(err, "`atoll drill` has all of its lines; --at or --base takes another one");
}

static int work(Export *e, const Target *target, const ExportWork *scratch, const char *to,
                Err *err)
{
    _cleanup_(drill_clear) Drill d = {0};
    _cleanup_free_ char *cluster = path_join(scratch->path, "cluster");
    RestoreOptions how;
    Choice choice;
    int r = cmd_restore_choose(e->restore, &e->o->restore, target, &choice, err);

    if (r < 0)
        return r;
    e->folder = cluster;
    e->version = json_int(choice.base->facts, "version", 0);
    cmd_restore_options(e->restore, &e->o->restore, &choice, target, &how);
    how.to = cluster;
    r = drill_run_then(&how, export_proven, e, &d, err);
    cmd_restore_line_end(e->restore);
    if (r == 0 && !e->done)
        r = failed_drill(&d, err);
    if (r == 0)
        show(e, &d, to);
    e->folder = NULL;
    return r;
}

/* CLOUD/CONTAINER/NAME; NAME may have slashes. */
static int open_cloud(Cmd *c, const char *to, const ExportWork *work, Cloud **ret_cloud,
                      ExportPlace *ret, Err *err)
{
    const char *slash = strchr(to, '/'), *second = slash ? strchr(slash + 1, '/') : NULL;

    if (!second || slash == to || second == slash + 1 || !second[1] || ends_with(to, "/"))
        return err_set(err, ERR_USAGE,
                       "--to-cloud %s: CLOUD/CONTAINER/NAME, an entry of clouds.yaml, a container, "
                       "and a name in it",
                       to);
    _cleanup_free_ char *cloud = xstrndup(to, (size_t)(slash - to));
    _cleanup_free_ char *container = xstrndup(slash + 1, (size_t)(second - slash - 1));
    int r = cmd_cloud(c, cloud, ret_cloud, err);
    return r < 0 ? r : export_to_container(*ret_cloud, container, second + 1, work, ret, err);
}

static int run_to(Cmd *c, const Options *o, const Target *target, Err *err)
{
    _cleanup_(cmd_restore_clear) CmdRestore restore = {0};
    _cleanup_(export_work_clear) ExportWork scratch = {0}, beside = {0};
    _cleanup_(export_place_clear) ExportPlace place = {0};
    _cleanup_free_ char *to = o->to ? cmd_absolute_new(o->to) : xstrdup(o->to_cloud);
    _cleanup_free_ char *usual = o->to ? xasprintf("%s.unfinished", to)
                                       : xasprintf("/var/tmp/atoll-export-%d", (int)geteuid());
    _cleanup_free_ char *own = o->scratch ? cmd_absolute_new(o->scratch) : NULL;
    Export e = {.restore = &restore,
                .o = o,
                .place = &place,
                .terminal = isatty(STDERR_FILENO) && !c->common.json && !c->common.quiet,
                .at = time_mono()};
    Cloud *cloud = NULL;
    int r = cmd_restore_open(c, &o->restore, &restore, err);

    if (r == 0 && (o->to || !own))
        r = export_work_open(usual, &beside, err);
    if (r == 0 && own)
        r = export_work_open(own, &scratch, err);
    const ExportWork *near = beside.path ? &beside : &scratch;
    if (r == 0)
        r = o->to ? export_to_folder(to, near, &place, err)
                  : open_cloud(c, to, near, &cloud, &place, err);
    if (r == 0) {
        log_warn("what is exported is NOT ENCRYPTED: who reads it has everything in the database");
        r = work(&e, target, own ? &scratch : &beside, to, err);
    }
    export_result_clear(&e.result);
    (void)cloud_free(cloud);
    return r;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    Target target;

    if (!o->to == !o->to_cloud || (o->to && !*o->to))
        return err_set(err, ERR_USAGE, "--to FOLDER or --to-cloud CLOUD/CONTAINER/NAME says where");
    if (o->restore.tablespaces.len > 0)
        return err_set(err, ERR_USAGE, "an export has its tablespaces in it: no --tablespace");
    int r = cmd_restore_target(&o->restore, &target, err);
    return r < 0 ? r : run_to(c, o, &target, err);
}

const Verb verb_backup_export = {
    .name = "backup export",
    .usage = "backup export --to FOLDER [options]",
    .sentence = "Write a proven copy of the database as a plain archive, for leaving.",
    .text =
        "Restores a backup into a scratch folder, holds a drill on it, and packs what was proven: "
        "one tar archive compressed by zstd, in pieces, with their SHA-256, a README and a "
        "manifest that is written last (" EXPORT_MANIFEST ": without it an export is not one). "
        "To read it takes curl (or cat), zstd and tar, and to use it PostgreSQL of the same major "
        "version; nothing of atoll, and no key. The command is told, and stands in the README.\n\n"
        "IT IS NOT ENCRYPTED: it is for leaving, and for people who come later without keys. Files "
        "are 0600; a container that everybody may read is refused.\n\n"
        "Until it is whole a folder is called FOLDER.unfinished. A run that was killed leaves what "
        "nobody takes for an export; the same command removes it and begins anew. A backup whose "
        "drill fails is not exported.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
