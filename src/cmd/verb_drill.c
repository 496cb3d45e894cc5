/* atoll drill: restores, asks, and writes down what was proven. */
#include "backup/drill.h"
#include "base/log.h"
#include "cmd/every.h"
#include "cmd/restore.h"

#include <stdio.h>
#include <unistd.h>

#define NOTE_TRIES 10

typedef struct Options {
    CmdRestoreOptions restore;
    const char *scratch;
    int64_t every_ms;
} Options;

static const Opt options[] = {
    {.name = "at",
     .type = OPT_STRING,
     .argument = "WHEN",
     .sentence = "Only this moment: latest, a time or an LSN (default: the newest backup to the "
                 "end of the log, then a random moment).",
     .offset = offsetof(Options, restore.at)},
    {.name = "scratch",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "Where to restore to; it is removed at the end, and must not be there before "
                 "(default: a new folder in /var/tmp).",
     .offset = offsetof(Options, scratch)},
    {.name = "every",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "Stay, and hold a drill whenever the last is older than this (7d).",
     .offset = offsetof(Options, every_ms),
     .min = MINUTE,
     .max = 365 * DAY},
    OPTS_RESTORE(Options, restore),
    OPT_END,
};

static void show(const Cmd *c, const Drill *d)
{
    static const char *const marks[] = {"ok ", "NOT", "-- "};
    char rto[TIME_TEXT_MAX] = "-", rpo[TIME_TEXT_MAX];

    if (c->common.json) {
        json_t *event = drill_report_new(d);
        BUG_IF(json_object_set_new(event, "event", json_string("drill")) < 0);
        cmd_json(event);
        return;
    }
    printf("the backup %s\n", d->base_id);
    for (size_t i = 0; i < d->lines.len; i++)
        printf("%s %-13s %s\n", marks[d->lines.items[i].outcome], d->lines.items[i].name,
               d->lines.items[i].words);
    if (d->rto_ms >= 0)
        time_span(d->rto_ms, rto);
    printf("    first query after %s", rto);
    if (d->rpo_ms >= 0)
        printf("; at most %s before the moment is missing", time_span(d->rpo_ms, rpo));
    putchar('\n');
}

/* Signed into the catalogue, so that `backup list` and `status` know. */
static int write_down(CmdRestore *r, const Drill *d, Err *err)
{
    _cleanup_(keypair_clear) KeyPair auditor = {0};
    _cleanup_(err_clear) Err missing = {0};
    int s = backup_key(&r->settings, BACKUP_KEY_AUDIT, &auditor, &missing);

    if (s == -ERR_NOT_FOUND || r->catalogue.notes.len == 0) {
        log_warn("this drill is not written into the catalogue: %s",
                 s < 0 ? missing.text : "nobody audits the store (`atoll backup audit`)");
        return 0;
    }
    if (s < 0)
        return err_move(err, &missing);
    for (int tries = 0; tries < NOTE_TRIES; tries++) {
        s = catalogue_note(r->store, &r->catalogue, &auditor, "drill", drill_report_new(d), err);
        if (s != -ERR_CONFLICT)
            break;
        /* An auditor wrote one meanwhile. */
        err_clear(err);
        s = catalogue_refresh(r->store, &r->auditors, &r->catalogue, err);
        if (s < 0)
            break;
    }
    return s < 0 ? err_wrap(err, "writing the drill into the catalogue") : 0;
}

typedef struct Tally {
    size_t done, failed;
} Tally;

static int drill_at(CmdRestore *r, const Options *o, const Target *target, Tally *tally, Err *err)
{
    RestoreOptions how;
    Choice choice;
    _cleanup_(drill_clear) Drill d = {0};
    int s = cmd_restore_choose(r, &o->restore, target, &choice, err);

    if (s < 0)
        return s;
    _cleanup_free_ char *to = o->scratch ? cmd_absolute_new(o->scratch)
                                         : xasprintf("/var/tmp/atoll-drill-%lld-%d",
                                                     (long long)time_now(), (int)getpid());
    cmd_restore_options(r, &o->restore, &choice, target, &how);
    how.to = to;
    s = drill_run(&how, &d, err);
    cmd_restore_line_end(r);
    if (s < 0)
        return err_wrap(err, "nothing was proven");
    show(r->c, &d);
    tally->done++;
    tally->failed += !d.ok;
    s = write_down(r, &d, err);
    if (s < 0 && !d.ok) {
        /* Nothing is louder than a drill that failed. */
        log_warn("%s", err->text);
        err_clear(err);
        return 0;
    }
    return s;
}

/* A moment between the oldest backup and the end of the log that some backup leads to. */
static bool random_moment(CmdRestore *r, const Options *o, Target *ret)
{
    const ChoiceAsk last = {.base = o->restore.base, .tli = (Timeline)o->restore.timeline};
    Choice newest;

    if (r->bases.len == 0 ||
        base_choose(&r->bases, &r->catalogue, &r->histories, &last, &newest, NULL) < 0)
        return false;
    Msec from = r->bases.items[0].written, span = newest.end.last - from;
    for (int tries = 0; span > 0 && tries < 20; tries++) {
        uint64_t random;
        ChoiceAsk ask = last;
        Choice choice;
        crypt_random(&random, sizeof random);
        ask.target = (Target){.kind = TARGET_TIME, .time = from + (Msec)(random % (uint64_t)span)};
        if (base_choose(&r->bases, &r->catalogue, &r->histories, &ask, &choice, NULL) == 0) {
            *ret = ask.target;
            return true;
        }
    }
    return false;
}

static int drill(Cmd *c, Err *err)
{
    const Options *o = c->options;
    _cleanup_(cmd_restore_clear) CmdRestore r = {0};
    Target target;
    Tally tally = {0};

    int s = cmd_restore_target(&o->restore, &target, err);
    if (s == 0)
        s = cmd_restore_open(c, &o->restore, &r, err);
    if (s == 0)
        s = drill_at(&r, o, &target, &tally, err);
    if (s == 0 && !o->restore.at && random_moment(&r, o, &target))
        s = drill_at(&r, o, &target, &tally, err);
    if (s < 0 || tally.failed == 0)
        return s;
    err_set(err, ERR_CORRUPT,
            "THE DRILL FAILED: %zu of %zu restores did not bring back a sound "
            "database",
            tally.failed, tally.done);
    return err_hint(err, "do not delete older backups; the lines marked NOT say what is wrong");
}

/* The catalogue remembers the last one. */
static int last_drill(Cmd *c, Msec *ret, Err *err)
{
    const Options *o = c->options;
    _cleanup_(cmd_restore_clear) CmdRestore r = {0};
    int s = cmd_restore_open(c, &o->restore, &r, err);

    if (s < 0)
        return s;
    const Note *last = drill_last(&r.catalogue, false);
    *ret = last ? last->at : 0;
    return 0;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    CmdEvery every = {.word = "drill", .every_ms = o->every_ms, .work = drill};

    if (!o->every_ms)
        return drill(c, err);
    int s = last_drill(c, &every.last, err);
    return s < 0 ? s : cmd_every(c, &every, err);
}

const Verb verb_drill = {
    .name = "drill",
    .usage = "drill [options]",
    .sentence = "Prove a backup: restore it and ask the result.",
    .text =
        "Restores into a scratch folder, with a PostgreSQL that nobody else reaches, and asks: are "
        "the files those that were sent (pg_verifybackup), are tables and indexes sound "
        "(pg_amcheck, every index entry looked up both ways), is text ordered as this machine "
        "orders it, does every foreign key hold, is every page's checksum right; with Mastodon's "
        "schema also its own rules. Measures how long until the first query, and how much before "
        "the moment may be missing.\n\n"
        "The report goes into the catalogue, signed with the audit key: `backup list` and `status` "
        "show which backup was proven last. A drill that fails ends with exit code 1; one that "
        "could not be held (the store away, no space) proves nothing either way, and says so.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
