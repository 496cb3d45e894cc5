#include "host/backup.h"

#include "io/crypt.h"

/* pg_monitor: how far the slot is, and how much of the log is still there. */
const char *const backup_role_statements[] = {
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '" BACKUP_ROLE "') THEN "
    "CREATE ROLE " BACKUP_ROLE " LOGIN REPLICATION; END IF; END $$",
    "GRANT pg_monitor TO " BACKUP_ROLE,
    NULL,
};

void backup_pairs_clear(BackupPairs *p)
{
    keypair_clear(&p->host);
    keypair_clear(&p->audit);
    keypair_clear(&p->drill);
}

/* 32 bytes for one use. */
static int seed(const Vault *v, const char *label, Secret **ret, Err *err)
{
    _cleanup_secret_ Secret *hex = vault_derive_new(v, label);
    _cleanup_(buf_wipe) Buf bytes = BUF_INIT(CRYPT_KEY_BYTES);

    if (!hex || !crypt_unhex(&bytes, secret_expose(hex)) || bytes.len != CRYPT_KEY_BYTES)
        return err_set(err, ERR_CORRUPT, "the vault has no master key");
    *ret = secret_new(bytes.p, bytes.len);
    return 0;
}

int backup_pairs(const Vault *v, BackupPairs *ret, Err *err)
{
    _cleanup_secret_ Secret *host = NULL, *audit = NULL, *drill = NULL;
    int r = seed(v, "backup/host", &host, err);
    if (r == 0)
        r = seed(v, "backup/audit", &audit, err);
    if (r == 0)
        r = seed(v, "backup/drill", &drill, err);
    if (r < 0)
        return r;
    crypt_sign_keys_from(host, &ret->host);
    crypt_sign_keys_from(audit, &ret->audit);
    r = crypt_box_public(drill, &ret->drill, err);
    if (r < 0)
        backup_pairs_clear(ret);
    return r;
}

void backup_readers(const BackupPairs *p, const StrList *recipients, StrList *ret)
{
    for (size_t i = 0; i < recipients->len; i++)
        strlist_add(ret, recipients->items[i]);
    strlist_add(ret, p->drill.public_b64);
}

static void set_text(Vault *v, const char *name, const Buf *text)
{
    _cleanup_secret_ Secret *s = secret_new(text->p, text->len);

    vault_set(v, name, s);
}

int backup_vault(Vault *v, const StrList *recipients, Err *err)
{
    _cleanup_(backup_pairs_clear) BackupPairs pairs = {0};
    _cleanup_(strlist_clear) StrList readers = {0};
    _cleanup_(buf_wipe) Buf key = BUF_INIT(BUF_MAX_LINE), lines = BUF_INIT(BUF_MAX_LINE);
    int r = backup_pairs(v, &pairs, err);
    if (r < 0)
        return r;
    Str secret = secret_expose(pairs.host.secret);
    crypt_base64(&key, secret.p, secret.n);
    set_text(v, BACKUP_HOST_KEY, &key);
    backup_readers(&pairs, recipients, &readers);
    for (size_t i = 0; i < readers.len; i++)
        buf_printf(&lines, "%s\n", readers.items[i]);
    set_text(v, BACKUP_RECIPIENTS, &lines);
    return 0;
}

int backup_url(Cloud *cloud, const Vault *v, const char *container, Msec expires, char **ret,
               Err *err)
{
    _cleanup_secret_ Secret *key = vault_derive_new(v, "temp-url/backup");
    _cleanup_free_ char *path = xasprintf("%s/host/", container);

    return swift_temp_url(cloud, key, "PUT", path, true, expires, ret, err);
}

char *backup_kit_path_new(const char *island, const char *id)
{
    return xasprintf("%s-mail/" BACKUP_KIT_FOLDER "%s", island, id);
}

static char *kit_label_new(const char *id)
{
    return xasprintf("restore/%s", id);
}

static Secret *kit_secret_new(const Vault *v, const char *id)
{
    _cleanup_free_ char *label = kit_label_new(id);

    return vault_derive_new(v, label);
}

int backup_kit_key(const Vault *v, const char *id, KeyPair *ret, Err *err)
{
    _cleanup_free_ char *label = kit_label_new(id);
    _cleanup_secret_ Secret *secret = NULL;
    int r = seed(v, label, &secret, err);

    return r < 0 ? r : crypt_box_public(secret, ret, err);
}

int backup_kit_secrets(const BackupKitAsk *ask, const Vault *v, char **ret_url, Secret **ret_key,
                       Err *err)
{
    _cleanup_secret_ Secret *mail = vault_derive_new(v, "temp-url/mail");
    _cleanup_secret_ Secret *key = kit_secret_new(v, ask->id);
    _cleanup_free_ char *path = backup_kit_path_new(ask->island, ask->id);

    if (!mail || !key)
        return err_set(err, ERR_CORRUPT, "the vault has no master key");
    int r = swift_temp_url(ask->cloud, mail, "GET", path, false, ask->expires, ret_url, err);
    if (r == 0)
        *ret_key = TAKE(key);
    return r;
}

int backup_read_url(Cloud *cloud, const Vault *v, const char *container, const char *name,
                    Msec expires, char **ret, Err *err)
{
    _cleanup_secret_ Secret *key = vault_derive_new(v, "temp-url/backup");
    _cleanup_free_ char *path = xasprintf("%s/%s", container, name);

    return swift_temp_url(cloud, key, "GET", path, false, expires, ret, err);
}
