#include "cmd/restore.h"
#include "base/log.h"
#include "io/file.h"

#include <stdio.h>
#include <unistd.h>

#define TELL_MS 500
#define TELL_LINES_MS (10 * SECOND) /* where nobody looks at a terminal */

void cmd_restore_clear(CmdRestore *r)
{
    backup_settings_clear(&r->settings);
    store_drop(r->store);
    keypair_clear(&r->reader);
    catalogue_clear(&r->catalogue);
    wal_histories_clear(&r->histories);
    bases_clear(&r->bases);
    strlist_clear(&r->auditors);
    strlist_clear(&r->tablespaces);
    strlist_clear(&r->bad);
    strlist_clear(&r->bad_timelines);
    strlist_clear(&r->left_out);
    free(r->client);
    free(r->programs);
}

char *cmd_absolute_new(const char *path)
{
    char here[4096];

    if (path[0] == '/' || !getcwd(here, sizeof here))
        return xstrdup(path);
    return path_join(here, path);
}

static int own_file(char **ret, Err *err)
{
    char self[4096] = "";

    if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0)
        return err_set(err, ERR_IO, "where this program is can't be told: %m");
    *ret = xstrdup(self);
    return 0;
}

/* Without notes nobody has said which hosts there are: the one that is given, or those of the keys'
 * folder, are believed. */
static int believe_hosts(CmdRestore *r, const char *host, Err *err)
{
    if (r->catalogue.hosts.len > 0)
        return 0;
    if (!host)
        return backup_signers(&r->settings, BACKUP_KEY_HOST, &r->catalogue.hosts, err);
    strlist_add(&r->catalogue.hosts, host);
    return 0;
}

static void warn_of_bad(const CmdRestore *r)
{
    for (size_t i = 0; i < r->catalogue.strays.len; i++)
        log_warn("%s has the name of a note, and no auditor signed it: it is left out",
                 r->catalogue.strays.items[i].name);
    for (size_t i = 0; i < r->bad_timelines.len; i++)
        log_warn("nothing is restored from %s", r->bad_timelines.items[i]);
    for (size_t i = 0; i < r->bad.len; i++)
        log_warn("a backup can't be used: %s", r->bad.items[i]);
}

int cmd_restore_read(CmdRestore *r, const char *host, Err *err)
{
    int s = catalogue_load(r->store, &r->auditors, &r->catalogue, err);

    if (s == 0)
        s = believe_hosts(r, host, err);
    if (s == 0)
        s = wal_histories_load(r->store, &r->catalogue, &r->reader, &r->histories,
                               &r->bad_timelines, err);
    if (s == -ERR_DENIED)
        err_hint(err, "it is sealed to other keys than the drill key: --recovery-file reads it "
                      "with the recovery key");
    if (s == 0)
        s = bases_load(r->store, &r->catalogue, &r->bases, &r->bad, err);
    if (s == 0)
        warn_of_bad(r);
    return s;
}

int cmd_restore_target(const CmdRestoreOptions *o, Target *ret, Err *err)
{
    if (!o->at) {
        *ret = (Target){.kind = TARGET_LATEST};
        return 0;
    }
    if (!target_parse(o->at, ret))
        return err_set(err, ERR_USAGE,
                       "--at: '%s' is not latest, a time like 2026-11-29T01:30:00Z or an LSN like "
                       "16/B374D848",
                       o->at);
    return 0;
}

int cmd_restore_open(Cmd *c, const CmdRestoreOptions *o, CmdRestore *ret, Err *err)
{
    const StoreOptions store = {.stop = c->stop};
    int r = cmd_backup_settings(o->settings, &ret->settings, err);

    ret->c = c;
    cmd_backup_memory();
    if (r == 0)
        r = own_file(&ret->client, err);
    if (r == 0)
        r = backup_reader(&ret->settings, o->recovery_file, &ret->reader, err);
    if (r == 0)
        r = backup_settings_store(&ret->settings, c->cache_dir, &store, &ret->store, err);
    if (r == 0)
        r = backup_signers(&ret->settings, BACKUP_KEY_AUDIT, &ret->auditors, err);
    if (r == 0)
        r = cmd_restore_read(ret, NULL, err);
    if (r < 0)
        return r;
    const char *programs = o->programs ? o->programs : ret->settings.programs;
    ret->programs = programs ? cmd_absolute_new(programs) : NULL;
    for (size_t i = 0; i < o->tablespaces.len; i++)
        strlist_add(&ret->tablespaces, o->tablespaces.items[i]);
    return 0;
}

int cmd_restore_choose(CmdRestore *r, const CmdRestoreOptions *o, const Target *target, Choice *ret,
                       Err *err)
{
    const ChoiceAsk ask = {
        .target = *target, .base = o->base, .tli = (Timeline)o->timeline, .without = &r->left_out};
    char end[LSN_TEXT_MAX], beyond[LSN_TEXT_MAX];
    int s = base_choose(&r->bases, &r->catalogue, &r->histories, &ask, ret, err);

    if (s < 0)
        return s;
    if (ret->out && target->kind == TARGET_LATEST)
        log_warn("there is log of timeline %u that no backup leads to: what happened on it is not "
                 "restored; `atoll backup verify` tells what is missing",
                 ret->out);
    if (ret->end.beyond && target->kind == TARGET_LATEST)
        log_warn("the log has a hole: it is stored up to %s and again from %s on; what comes after "
                 "%s is not restored",
                 lsn_format(ret->end.end, end), lsn_format(ret->end.beyond, beyond), end);
    if (ret->base->note == 0 && r->catalogue.notes.len > 0)
        log_warn("the backup %s is not countersigned yet: nobody but the database's host says "
                 "when it came",
                 ret->base->id);
    return 0;
}

static void draw(CmdRestore *r, const RestoreProgress *p, Msec now)
{
    char left[TIME_TEXT_MAX];
    int64_t since = p->done - r->phase_first;
    Msec took = now - r->phase_began;
    int percent = p->total > 0 ? (int)(p->done * 100 / p->total) : 0;
    bool bytes = !streq(p->phase, "checks");
    bool known = since > 0 && took > SECOND && p->total > p->done;
    if (known)
        time_span((p->total - p->done) * took / since, left);
    _cleanup_free_ char *words =
        bytes ? xasprintf("%s: %lld of %lld MB, %d %%", p->phase, (long long)(p->done >> 20),
                          (long long)(p->total >> 20), percent)
              : xasprintf("%s: %lld of %lld", p->phase, (long long)p->done, (long long)p->total);
    bool terminal = isatty(STDERR_FILENO);
    fprintf(stderr, "%s%s%s%s%s", terminal ? "\r\033[K" : "", words, known ? ", " : "",
            known ? left : "", known ? " left" : "");
    if (!terminal)
        fputc('\n', stderr);
    r->drawn = terminal;
    fflush(stderr);
}

static void progress(void *user, const RestoreProgress *p)
{
    CmdRestore *r = user;
    Msec now = time_mono();

    if (!streq(p->phase, r->phase)) {
        r->phase = p->phase;
        r->phase_began = now;
        r->phase_first = p->done;
    }
    bool live = r->c->common.json || isatty(STDERR_FILENO);
    if (r->c->common.quiet || now - r->told < (live ? TELL_MS : TELL_LINES_MS))
        return;
    r->told = now;
    if (r->c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:I, s:I}", "event", "progress", "phase", p->phase,
                               "done", (json_int_t)p->done, "total", (json_int_t)p->total));
    else
        draw(r, p, now);
}

void cmd_restore_line_end(CmdRestore *r)
{
    if (r->drawn)
        fputs("\r\033[K", stderr);
    r->drawn = false;
}

static int without(void *user, const StrList *rubbish, Err *err)
{
    CmdRestore *r = user;

    cmd_restore_line_end(r);
    for (size_t i = 0; i < rubbish->len; i++)
        if (catalogue_disown(&r->catalogue, rubbish->items[i]))
            log_warn("RUBBISH: %s is no piece of the log, and never was one (its bytes are those "
                     "that were put first): it is taken for absent. Find out who can write here",
                     rubbish->items[i]);
    return cmd_restore_choose(r, r->asked, r->target, r->choice, err);
}

void cmd_restore_options(CmdRestore *r, const CmdRestoreOptions *o, Choice *choice,
                         const Target *target, RestoreOptions *ret)
{
    r->told = time_mono();
    r->asked = o;
    r->target = target;
    r->choice = choice;
    if (!r->programs) /* where Debian has those of the backup's version */
        r->programs = xasprintf("/usr/lib/postgresql/%lld/bin",
                                (long long)json_int(choice->base->facts, "version", 0) / 10000);
    *ret = (RestoreOptions){.store = r->store,
                            .catalogue = &r->catalogue,
                            .reader = &r->reader,
                            .choice = choice,
                            .histories = &r->histories,
                            .target = *target,
                            .programs = r->programs,
                            .client = r->client,
                            .user = o->user,
                            .role = o->role,
                            .tablespaces = &r->tablespaces,
                            .threads = (size_t)o->threads,
                            .stop = r->c->stop,
                            .without = without,
                            .without_user = r,
                            .progress = progress,
                            .progress_user = r};
}

int cmd_restore_run(CmdRestore *r, const RestoreOptions *o, RestoreResult *ret, Err *err)
{
    for (;;) {
        _cleanup_(err_clear) Err own = {0}, none = {0};
        int s = restore_run(o, ret, &own);
        cmd_restore_line_end(r);
        if (s == 0)
            return 0;
        const char *id = r->choice->base->id;
        strlist_add(&r->left_out, r->choice->base->name);
        if (!ret->base_bad || r->asked->base ||
            cmd_restore_choose(r, r->asked, r->target, r->choice, &none) < 0)
            return err_move(err, &own);
        log_warn("THE BACKUP %s CAN'T BE RESTORED: %s. It begins again from the one before it, %s",
                 id, own.text, r->choice->base->id);
        restore_result_clear(ret);
        *ret = (RestoreResult){0};
    }
}
