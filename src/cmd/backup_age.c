#include "cmd/backup_age.h"

#include "backup/drill.h"
#include "base/log.h"
#include "cmd/backup.h"

/* Behind the pieces of a timeline its history file is listed: hence two. */
#define NEWEST "%s?format=json&reverse=true&limit=2&prefix=%s"

static Call newest_call(Cloud *cloud, const char *container, const char *prefix)
{
    return (Call){.cloud = cloud,
                  .service = CLOUD_OBJECT,
                  .kind = CALL_READ,
                  .method = "GET",
                  .path = xasprintf("/" NEWEST, container, prefix)};
}

/* The latest of the few that were listed; 0: none. */
static Msec latest(const json_t *listing)
{
    const json_t *row;
    size_t i;
    Msec at, newest = 0;

    json_array_foreach (listing, i, row) {
        if (time_parse(json_str_or(row, "last_modified", ""), &at))
            newest = MAX(newest, at);
    }
    return newest;
}

/* The last good drill, by the notes. */
static int find_proof(Cmd *c, const BackupSettings *s, BackupAge *ret, Err *err)
{
    _cleanup_(strlist_clear) StrList auditors = {0};
    _cleanup_(store_drop) Store *store = NULL;
    _cleanup_(catalogue_clear) Catalogue notes = {0};
    int r = backup_signers(s, BACKUP_KEY_AUDIT, &auditors, err);
    if (r == 0)
        r = backup_settings_store(s, c->cache_dir, &(StoreOptions){.stop = c->stop}, &store, err);
    if (r == 0)
        r = catalogue_load(store, &auditors, &notes, err);
    if (r < 0)
        return r;
    ret->knows_proven = true;
    const Note *good = drill_last(&notes, true), *last = drill_last(&notes, false);
    ret->proven = good ? good->at : 0;
    ret->failed = last && last != good;
    return 0;
}

static void look_for_proof(Cmd *c, BackupAge *ret)
{
    _cleanup_(backup_settings_clear) BackupSettings s = {0};
    _cleanup_(err_clear) Err err = {0};
    int r = cmd_backup_settings(NULL, &s, &err);

    if (r < 0 || !s.container || !streq(s.container, c->island.backup.container))
        return; /* none on this machine, or another island's */
    if (find_proof(c, &s, ret, &err) < 0)
        log_warn("which backup was proven last can't be told: %s", err.text);
}

int cmd_backup_age(Cmd *c, BackupAge *ret, Err *err)
{
    static const char *const prefixes[] = {"host/wal/", "host/base/", "catalogue/"};
    Msec *const fields[] = {&ret->log, &ret->copy, &ret->countersigned};
    Call calls[ARRAY_LEN(prefixes)];

    *ret = (BackupAge){0};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        calls[i] =
            newest_call(c->clouds.of[CLOUD_OF_BACKUP], c->island.backup.container, prefixes[i]);
    int r = cloud_perform(calls, ARRAY_LEN(calls), err);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (r == 0)
            *fields[i] = latest(calls[i].json);
        call_clear(&calls[i]);
    }
    if (r < 0)
        return err_wrap(err, "looking at the backups");
    look_for_proof(c, ret);
    return 0;
}

static const char *ago(Msec then, Msec now, char out[static TIME_TEXT_MAX])
{
    return time_span(MAX(now - then, SECOND), out);
}

void cmd_backup_age_words(const BackupAge *age, Msec now, Buf *out)
{
    char text[TIME_TEXT_MAX];

    if (age->log)
        buf_printf(out, "log stored %s ago", ago(age->log, now, text));
    else
        buf_str(out, "no log yet");
    if (age->copy)
        buf_printf(out, ", whole copy %s ago", ago(age->copy, now, text));
    else
        buf_str(out, ", no whole copy yet");
    if (age->countersigned)
        buf_printf(out, ", countersigned %s ago", ago(age->countersigned, now, text));
    if (age->proven)
        buf_printf(out, "; proven %s ago", ago(age->proven, now, text));
    else if (age->knows_proven)
        buf_str(out, "; never proven");
}

const char *cmd_backup_age_warning(const BackupAge *age, int every_h, Msec now)
{
    if (age->failed)
        return "THE LAST DRILL FAILED: a backup could not be restored, or what was restored is "
               "damaged. `atoll drill` says what; remove no older backup";
    if (!age->log || !age->copy)
        return "there is no backup yet that could be restored";
    /* One that was late by a whole turn will not come by itself. */
    if (now - age->copy > 2 * every_h * HOUR)
        return "the last whole copy is too old: `atoll logs postgres` says why no newer one came";
    if (!age->countersigned)
        return "nobody countersigns the backups: `atoll backup audit` does, from this machine";
    if (age->knows_proven && !age->proven)
        return "no backup was ever restored to prove it: `atoll drill`";
    return NULL;
}
