/* Backups of an island's database: what the vault, the bundle and the database's server know of
 * them. (What a backup is: src/backup.)
 *
 * All keys come from the vault's master key, so an island that is older than its backups needs no
 * new secret: the host key signs on the database's server, the audit key countersigns and the drill
 * key reads, both on the operator's side. Recipients of backups are the operator's key, the
 * recovery key and the drill key. The server is given the host key, the recipients' public halves
 * and a prefix TempURL that can PUT below host/ in the container, and nothing else: it can't read,
 * list or delete.
 */
#pragma once
#include "cloud/cloud.h"
#include "host/vault.h"

/* Names among a bundle's secrets. */
#define BACKUP_HOST_KEY "backup_host_key"     /* base64, as in a keys folder (backup/settings.h) */
#define BACKUP_RECIPIENTS "backup_recipients" /* public keys, one a line */
#define BACKUP_URL "backup_url"
/* Of a restore on the island: where its kit (backup/kit.h) is, and the key that opens it. */
#define BACKUP_KIT_URL "backup_kit_url"
#define BACKUP_KIT_KEY "backup_kit_key" /* 64 hex digits */
/* PostgreSQL's role that may replicate and read statistics, and no data; and what makes it, which
 * may be repeated. */
#define BACKUP_ROLE "atoll_backup"
extern const char *const backup_role_statements[];

typedef struct BackupPairs {
    KeyPair host, audit, drill;
} BackupPairs;
void backup_pairs_clear(BackupPairs *p);
DEFINE_CLEAR(BackupPairs, backup_pairs_clear)
/* ERR_CORRUPT when the vault has no master key. */
int backup_pairs(const Vault *v, BackupPairs *ret, Err *err) _must_check_;
/* All who may read: `recipients` of keys_recipients, and the drill key. Appends. */
void backup_readers(const BackupPairs *p, const StrList *recipients, StrList *ret);
/* Puts BACKUP_HOST_KEY and BACKUP_RECIPIENTS into a vault in memory, for the bundles to come. */
int backup_vault(Vault *v, const StrList *recipients, Err *err) _must_check_;
/* The URL, good until `expires`. To be freed. */
/* A restore's kit: an object of the mail container, "restore/<id>", and its key, which no machine
 * has to remember. Paths as swift_put takes them; to be freed. */
#define BACKUP_KIT_FOLDER "restore/"
char *backup_kit_path_new(const char *island, const char *id);
int backup_kit_key(const Vault *v, const char *id, KeyPair *ret, Err *err) _must_check_;
typedef struct BackupKitAsk {
    Cloud *cloud; /* the island's */
    const char *island, *id;
    Msec expires;
} BackupKitAsk;
/* What its database's server is told: an address that reads it, and the secret key in hex. */
int backup_kit_secrets(const BackupKitAsk *ask, const Vault *v, char **ret_url, Secret **ret_key,
                       Err *err) _must_check_;
/* An address that reads one object of the backups' container. To be freed. */
int backup_read_url(Cloud *cloud, const Vault *v, const char *container, const char *name,
                    Msec expires, char **ret, Err *err) _must_check_;
int backup_url(Cloud *cloud, const Vault *v, const char *container, Msec expires, char **ret,
               Err *err) _must_check_;
