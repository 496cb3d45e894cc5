/* The settings file of backup, restore and drill: for people without an island, and what an
 * island's host is given for its services. YAML; unknown keys are errors with file:line:column.
 *
 *     postgres: {host: /run/postgresql, port: 5432, user: backup, password_file: /etc/atoll/pg}
 *     slot: atoll
 *     repository: {folder: /mnt/usb/reef}             # or
 *     repository: {cloud: catalyst-backup, container: reef-backup}   # an entry of clouds.yaml; or
 *     repository: {urls: /etc/atoll/backup.urls}      # PUT-only, for the database's side
 *     keys: /etc/atoll/backup                         # folder, see below
 *     synchronous: no                                 # strict, or {give_up: 30s}
 *     state: /var/lib/atoll/backup                    # page map, chain; may be lost
 *     keep: {daily: 7, weekly: 4, monthly: 6, window: 7d}
 *     programs: /usr/lib/postgresql/15/bin            # for restore and drill
 *     media: {from: {cloud: catalyst, container: reef-media},
 *             to: {cloud: other, container: reef-media}}    # of `backup media`
 *
 * One table (backup_setting_rows) has every key; paths are relative to the file's folder. Errors
 * are ERR_CONFIG with file:line:column, what is allowed and the nearest right spelling.
 *
 * Keys are made by `atoll backup init`, each of its own file in the folder: `recipients` (public
 * halves, one a line: recovery, drill), `host.key` (signs on the database's side), `host.pub`,
 * `audit.key` (countersigns), `audit.pub`, `drill.key` (reads). Move `drill.key` and `audit.key`
 * away from the database's host; the recovery key is shown once. Each verb needs only some of them.
 * A key file is one line of base64: the secret half.
 */
#pragma once
#include "backup/store.h"
#include "host/keys.h"
#include "io/pg.h"
#include "io/yaml.h"

typedef enum BackupSync { BACKUP_ASYNC, BACKUP_STRICT, BACKUP_GIVE_UP } BackupSync;

typedef struct BackupKeep {
    int64_t daily, weekly, monthly;
    Msec window_ms;
} BackupKeep;

/* A container of `media`. */
typedef struct BackupPlace {
    char *cloud, *container; /* NULL where not given */
} BackupPlace;
void backup_place_clear(BackupPlace *p);
DEFINE_CLEAR(BackupPlace, backup_place_clear)

typedef struct BackupSettings {
    char *path; /* of the file */
    char *host, *user, *slot;
    char *password_file; /* NULL: none */
    int64_t port;
    /* The repository: exactly one of folder, cloud and urls; the others NULL. `prefix` is "" or
     * ends in a slash. */
    char *folder, *cloud, *container, *prefix, *urls;
    char *keys;
    char *state, *programs; /* NULL where not given */
    BackupSync synchronous;
    Msec give_up_ms;
    BackupKeep keep;
    BackupPlace media_from, media_to;
} BackupSettings;
/* One key: parser, errors and doc/backup-settings.md come from it. */
typedef struct BackupSettingRow BackupSettingRow;
struct BackupSettingRow {
    const char *path, *type;
    const char *def; /* as written in a file; NULL: it must be given; "": none */
    const char *allowed, *sentence;
    int (*read)(BackupSettings *s, const Yaml *y, const BackupSettingRow *row, const YamlNode *n,
                Err *err);
    size_t offset;
    int64_t min, max;
};
extern const BackupSettingRow backup_setting_rows[]; /* ended by a NULL path */
/* doc/backup-settings.md. */
void backup_settings_reference(Buf *out);
/* `name` is for messages, and its folder is what paths are relative to. */
int backup_settings_parse(const char *name, Str text, BackupSettings *ret, Err *err) _must_check_;
/* ERR_NOT_FOUND with what to do. */
int backup_settings_load(const char *path, BackupSettings *ret, Err *err) _must_check_;
void backup_settings_clear(BackupSettings *s);
DEFINE_CLEAR(BackupSettings, backup_settings_clear)

/* Opens the repository. The drivers' errors. */
int backup_settings_store(const BackupSettings *s, const char *cache_dir, const StoreOptions *o,
                          Store **ret, Err *err) _must_check_;
/* Where PostgreSQL is; strings are borrowed from s, the password is read from its file (owned by
 * the caller through *ret_password). `database`: NULL for replication. */
int backup_settings_target(const BackupSettings *s, const char *database, PgTarget *ret,
                           Secret **ret_password, Err *err) _must_check_;

/* The keys folder. */
int backup_keys_recipients(const BackupSettings *s, StrList *ret, Err *err) _must_check_;
typedef enum BackupKey {
    BACKUP_KEY_HOST,
    BACKUP_KEY_AUDIT,
    BACKUP_KEY_DRILL,
    BACKUP_KEYS
} BackupKey;
/* ERR_NOT_FOUND with what to do. */
int backup_key(const BackupSettings *s, BackupKey which, KeyPair *ret, Err *err) _must_check_;
/* Public halves that are believed: of host.pub and audit.pub (one a line: a replaced host adds
 * one). */
int backup_signers(const BackupSettings *s, BackupKey which, StrList *ret, Err *err) _must_check_;
/* The drill key, or with `recovery_file` the recovery key from its text. */
int backup_reader(const BackupSettings *s, const char *recovery_file, KeyPair *ret,
                  Err *err) _must_check_;
/* "recipients", "host.key"... in the folder of keys; to be freed. */
char *backup_key_path(const BackupSettings *s, const char *name);
/* Puts keys that come from elsewhere (an island's vault) into the folder: for each kind the public
 * half, and of audit and drill the secret one; `readers` become the recipients. What is there is
 * written over. */
int backup_keys_put(const BackupSettings *s, const KeyPair keys[static BACKUP_KEYS],
                    const StrList *readers, Err *err) _must_check_;
/* Makes all that are missing; `keep` is shown the recovery key before anything is written.
 * ERR_CONFLICT when there are recipients already. What a run that was cut off left is kept and
 * used.
 */
int backup_keys_make(const BackupSettings *s, KeepRecovery *keep, void *user,
                     Err *err) _must_check_;
