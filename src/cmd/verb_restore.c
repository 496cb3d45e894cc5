/* atoll restore: a database as it was, and the client that PostgreSQL runs meanwhile. */
#include "base/log.h"
#include "cmd/restore_island.h"

#include <stdio.h>

typedef struct Options {
    CmdRestoreOptions restore;
    const char *to;
    bool island, undo, dry_run, yes;
    int64_t lease_wait_ms;
} Options;

static const Opt options[] = {
    OPT_RESTORE_AT(Options, restore),
    {.name = "to",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "Where to; it must be empty or not there.",
     .offset = offsetof(Options, to)},
    {.name = "island",
     .type = OPT_FLAG,
     .sentence = "The island's own database, onto a new volume; the one that it has is kept.",
     .offset = offsetof(Options, island)},
    {.name = "undo",
     .type = OPT_FLAG,
     .sentence = "With --island: back to the volume of before, which was kept.",
     .offset = offsetof(Options, undo)},
    {.name = "dry-run",
     .type = OPT_FLAG,
     .sentence = "With --island: say what would be done, and do nothing.",
     .offset = offsetof(Options, dry_run)},
    OPT_YES(Options),
    OPT_LEASE_WAIT(Options),
    OPTS_RESTORE(Options, restore),
    OPT_END,
};

static void report_json(const char *to, const Choice *choice, const RestoreResult *r)
{
    char lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX] = "";

    if (r->reached_time)
        time_format(r->reached_time, true, time);
    cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
                           "event", "restored", "user", r->user, "to", to, "base", choice->base->id,
                           "reached", lsn_format(r->reached, lsn), "reached_time", time, "timeline",
                           (json_int_t)r->tli, "files_ms", (json_int_t)r->files_ms, "query_ms",
                           (json_int_t)r->query_ms, "fetched_bytes", (json_int_t)r->fetched_bytes,
                           "file_bytes", (json_int_t)r->file_bytes, "requests",
                           (json_int_t)r->requests, "resumed", r->resumed));
}

static void report(const Cmd *c, const char *to, const Choice *choice, const RestoreResult *r)
{
    char lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX], files[TIME_TEXT_MAX], query[TIME_TEXT_MAX];

    for (size_t i = 0; i < r->warnings.len; i++)
        log_warn("%s", r->warnings.items[i]);
    if (c->common.json) {
        report_json(to, choice, r);
        return;
    }
    cmd_say(c, "restored to %s, from the backup %s\n", to, choice->base->id);
    cmd_say(c, "reached     %s; %s%s\n", lsn_format(r->reached, lsn),
            r->reached_time ? "the last transaction is of "
                            : "no transaction was committed since the backup",
            r->reached_time ? time_format(r->reached_time, true, time) : "");
    cmd_say(c, "files       %lld MB in %s; %lld MB fetched%s; they belong to %s\n",
            (long long)(r->file_bytes / 1000000), time_span(r->files_ms, files),
            (long long)(r->fetched_bytes / 1000000),
            r->resumed ? " by this run, which took up an unfinished one" : "", r->user);
    cmd_say(c, "first query after %s; %llu requests\n", time_span(r->query_ms, query),
            (unsigned long long)r->requests);
    cmd_say(c,
            "PostgreSQL has stopped again. The cluster is on timeline %u: start it as any "
            "other, and make a new backup of it soon.\n",
            r->tli);
}

static int run_island(Cmd *c, const Options *o, Err *err)
{
    const CmdRestoreOptions *to = &o->restore;

    if (to->settings || to->recovery_file || to->programs || to->tablespaces.len)
        return err_set(err, ERR_USAGE,
                       "--settings, --recovery-file, --programs and --tablespace go with --to");
    int r = cmd_prepare(c, NEED_ISLAND | NEED_CLOUD, err);

    return r < 0 ? r
                 : cmd_restore_island(c,
                                      &(CmdRestoreIsland){.restore = &o->restore,
                                                          .undo = o->undo,
                                                          .dry_run = o->dry_run,
                                                          .yes = o->yes,
                                                          .lease_wait_ms = o->lease_wait_ms},
                                      err);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_restore_clear) CmdRestore r = {0};
    _cleanup_(restore_result_clear) RestoreResult result = {0};
    RestoreOptions how;
    Target target;
    Choice choice;

    if (o->island && !o->to)
        return run_island(c, o, err);
    if (!o->to || o->island)
        return err_set(err, ERR_USAGE, "one of --to FOLDER and --island is needed");
    if (o->undo || o->dry_run)
        return err_set(err, ERR_USAGE, "--undo and --dry-run go with --island");
    int s = cmd_restore_target(&o->restore, &target, err);
    if (s == 0)
        s = cmd_restore_open(c, &o->restore, &r, err);
    if (s == 0)
        s = cmd_restore_choose(&r, &o->restore, &target, &choice, err);
    if (s < 0)
        return s;
    _cleanup_free_ char *to = cmd_absolute_new(o->to);
    cmd_restore_options(&r, &o->restore, &choice, &target, &how);
    how.to = to;
    s = cmd_restore_run(&r, &how, &result, err);
    if (s == 0)
        report(c, to, &choice, &result);
    return s;
}

const Verb verb_restore = {
    .name = "restore",
    .usage = "restore --to FOLDER | --island [--at WHEN] [options]",
    .sentence = "Bring a database back, as it was at any moment.",
    .text =
        "Fetches the newest backup that leads to the moment, writes its files, and has PostgreSQL "
        "itself play the log up to there, closed to the network. At the end the cluster is on disk "
        "and stopped: start it as any other. All transactions up to the moment are there, and none "
        "behind it; with an LSN (as pg_current_wal_lsn() tells it) what was written before it.\n\n"
        "A moment behind what is stored is refused, and what can be had is told: `--at latest` is "
        "the end of the log. What the store has not is known from the catalogue; a store that is "
        "away ends the restore with an error, never the log. A folder that is not finished holds "
        "the file atoll-restore-unfinished, and the same command goes on where it was.\n\n"
        "It needs PostgreSQL's programs of the version that the cluster was of, and the drill key "
        "or the recovery key.\n\n"
        "With --island it is the database of the island file's island, and needs no settings: the "
        "edge answers 503, Mastodon's processes are stopped, a new volume is made for the "
        "database's server, which fills it and starts on it, and everything comes back. The "
        "server gets no key that reads backups, only those of the objects that lead to the "
        "moment, and addresses that end after a day. The volume of before is kept: --undo goes "
        "back to it, and again to the other. How far it is stands in the cloud; interrupted or "
        "killed at any moment, the same command goes on, from any machine.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};

static int run_segment(Cmd *c, char **operands, Err *err)
{
    (void)c;
    (void)err; /* PostgreSQL reads nothing but the exit code */
    if (!operands[0] || !operands[1] || !operands[2])
        return 200;
    return segment_client(operands[0], operands[1], operands[2]);
}

const Verb verb_backup_segment = {
    .name = "backup segment",
    .usage = "backup segment SOCKET NAME PATH",
    .sentence = "PostgreSQL's restore_command while a restore runs.",
    .text = "Run by PostgreSQL, not by people. Exit code 0: the file is at PATH; 1: there is none, "
            "by the catalogue; 200: it could not be had, and recovery must end with an error.",
    .operands = 3,
    .hidden = true,
    .run = run_segment,
};
