/* What is secret: the folder of keys, and the password. */
#include "backup/settings.h"
#include "io/file.h"

#include <unistd.h>

#define KEY_FILE_MAX ((size_t)4 << 10)
#define SIGN_BYTES 64 /* of an Ed25519 secret key: the seed, and the public half behind it */

/* `advice` is for whom it lacks. */
static const struct {
    const char *secret, *public, *advice;
    size_t bytes;
} kinds[BACKUP_KEYS] = {
    [BACKUP_KEY_HOST] = {"host.key", "host.pub", "it belongs on the database's side", SIGN_BYTES},
    [BACKUP_KEY_AUDIT] = {"audit.key", "audit.pub",
                          "it belongs on the side that audits, never on the database's host",
                          SIGN_BYTES},
    [BACKUP_KEY_DRILL] = {"drill.key", NULL,
                          "it belongs where drills run, never on the database's host; the recovery "
                          "key reads as well",
                          CRYPT_KEY_BYTES},
};

char *backup_key_path(const BackupSettings *s, const char *name)
{
    return path_join(s->keys, name);
}

static int read_public(const BackupSettings *s, const char *name, StrList *ret, Err *err)
{
    _cleanup_free_ char *path = backup_key_path(s, name);
    int r = keys_public(path, ret, err);

    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "`atoll backup init` makes it, once; on another machine copy it");
    if (r == 0 && ret->len == 0)
        return err_set(err, ERR_CONFIG, "%s has no key in it", path);
    return r;
}

int backup_keys_recipients(const BackupSettings *s, StrList *ret, Err *err)
{
    return read_public(s, "recipients", ret, err);
}

int backup_signers(const BackupSettings *s, BackupKey which, StrList *ret, Err *err)
{
    BUG_IF(!kinds[which].public);
    return read_public(s, kinds[which].public, ret, err);
}

/* An Ed25519 secret key ends with its public half (libsodium, crypto_sign_keypair). */
static int pair_of(BackupKey which, Secret **secret, KeyPair *ret, Err *err)
{
    if (which == BACKUP_KEY_DRILL)
        return crypt_box_public(*secret, ret, err);
    Buf public = BUF_INIT(BUF_MAX_LINE);
    Str bytes = secret_expose(*secret);
    crypt_base64(&public, bytes.p + SIGN_BYTES - CRYPT_KEY_BYTES, CRYPT_KEY_BYTES);
    *ret = (KeyPair){.secret = TAKE(*secret), .public_b64 = buf_detach(&public)};
    return 0;
}

int backup_key(const BackupSettings *s, BackupKey which, KeyPair *ret, Err *err)
{
    _cleanup_free_ char *path = backup_key_path(s, kinds[which].secret);
    _cleanup_(buf_wipe) Buf text = BUF_INIT(KEY_FILE_MAX), raw = BUF_INIT(KEY_FILE_MAX);
    int r = file_read(path, &text, err);

    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "%s; `atoll backup init` makes it", kinds[which].advice);
    if (r < 0)
        return r;
    if (!crypt_unbase64(&raw, str_trim(buf_as_str(&text))) || raw.len != kinds[which].bytes)
        return err_set(err, ERR_CONFIG, "%s is not a key of this kind", path);
    _cleanup_secret_ Secret *secret = secret_new(raw.p, raw.len);
    return pair_of(which, &secret, ret, err);
}

int backup_reader(const BackupSettings *s, const char *recovery_file, KeyPair *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(KEY_FILE_MAX);

    if (!recovery_file)
        return backup_key(s, BACKUP_KEY_DRILL, ret, err);
    int r = file_read(recovery_file, &text, err);
    if (r == 0)
        r = keys_recovery(buf_as_str(&text), ret, err);
    return r < 0 ? err_wrap(err, "reading the recovery key %s", recovery_file) : 0;
}

static int write_key(const BackupSettings *s, BackupKey which, const KeyPair *k, bool anew,
                     Err *err)
{
    _cleanup_free_ char *path = backup_key_path(s, kinds[which].secret);
    _cleanup_(buf_wipe) Buf text = BUF_INIT(KEY_FILE_MAX);
    Str bytes = secret_expose(k->secret);

    crypt_base64(&text, bytes.p, bytes.n);
    buf_char(&text, '\n');
    return anew ? file_write(path, buf_as_str(&text), 0600, err)
                : file_create(path, buf_as_str(&text), 0600, err);
}

static int write_public(const BackupSettings *s, BackupKey which, const KeyPair *k, Err *err)
{
    _cleanup_free_ char *path = backup_key_path(s, kinds[which].public);
    _cleanup_free_ char *line = xasprintf("%s\n", k->public_b64);

    return file_write(path, str_of(line), 0644, err);
}

int backup_keys_put(const BackupSettings *s, const KeyPair keys[static BACKUP_KEYS],
                    const StrList *readers, Err *err)
{
    _cleanup_free_ char *recipients = backup_key_path(s, "recipients");
    _cleanup_(buf_clear) Buf lines = BUF_INIT(BUF_MAX_LINE);
    int r = file_mkdirs(s->keys, 0700, err);

    for (int which = 0; r == 0 && which < BACKUP_KEYS; which++) {
        if (kinds[which].public)
            r = write_public(s, (BackupKey)which, &keys[which], err);
        if (r == 0 && which != BACKUP_KEY_HOST) /* the host's stays with the host */
            r = write_key(s, (BackupKey)which, &keys[which], true, err);
    }
    for (size_t i = 0; i < readers->len; i++)
        buf_printf(&lines, "%s\n", readers->items[i]);
    return r < 0 ? r : file_write(recipients, buf_as_str(&lines), 0644, err);
}

/* The key that is there, or a new one; and its public file. */
static int ensure_key(const BackupSettings *s, BackupKey which, KeyPair *ret, Err *err)
{
    _cleanup_free_ char *path = backup_key_path(s, kinds[which].secret);
    int r;

    if (file_exists(path)) {
        r = backup_key(s, which, ret, err);
    } else {
        if (which == BACKUP_KEY_DRILL)
            crypt_box_keys(ret);
        else
            crypt_sign_keys(ret);
        r = write_key(s, which, ret, false, err);
    }
    if (r < 0 || !kinds[which].public)
        return r;
    _cleanup_free_ char *public = backup_key_path(s, kinds[which].public);
    return file_exists(public) ? 0 : write_public(s, which, ret, err);
}

/* The recipients come last: without them nothing is sealed, so a run that was cut off is done again
 * with another recovery key, and no backup is ever sealed to one that nobody has. */
static int make(const BackupSettings *s, KeepRecovery *keep, void *user, Err *err)
{
    _cleanup_free_ char *recipients = backup_key_path(s, "recipients");
    _cleanup_(keypair_clear) KeyPair recovery = {0}, drill = {0};

    if (file_exists(recipients))
        return err_set(err, ERR_CONFLICT, "there are keys already: %s", recipients);
    crypt_box_keys(&recovery);
    _cleanup_secret_ Secret *text = keys_recovery_text_new(recovery.secret);
    int r = keep(user, text, err);
    for (int which = 0; r == 0 && which < BACKUP_KEYS; which++) {
        _cleanup_(keypair_clear) KeyPair k = {0};
        r = ensure_key(s, (BackupKey)which, &k, err);
        if (r == 0 && which == BACKUP_KEY_DRILL) {
            drill = k;
            k = (KeyPair){0};
        }
    }
    if (r < 0)
        return r;
    _cleanup_free_ char *lines =
        xasprintf("# recovery, drill\n%s\n%s\n", recovery.public_b64, drill.public_b64);
    return file_create(recipients, str_of(lines), 0644, err);
}

int backup_keys_make(const BackupSettings *s, KeepRecovery *keep, void *user, Err *err)
{
    _cleanup_free_ char *lock = backup_key_path(s, ".lock");
    int fd = -1;
    int r = file_mkdirs(s->keys, 0700, err);

    if (r == 0)
        r = file_lock(lock, &fd, err);
    if (r == 0)
        r = make(s, keep, user, err);
    if (fd >= 0) {
        (void)unlink(lock); /* an empty file; whoever comes next makes it again */
        close(fd);
    }
    return r < 0 ? err_wrap(err, "making the keys in %s", s->keys) : 0;
}

int backup_settings_target(const BackupSettings *s, const char *database, PgTarget *ret,
                           Secret **ret_password, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_secret_ Secret *password = NULL;

    if (s->password_file) {
        int r = file_read(s->password_file, &text, err);
        if (r < 0)
            return err_wrap(err, "reading postgres.password_file");
        size_t n = strcspn(text.p, "\r\n");
        if (n == 0)
            return err_set(err, ERR_CONFIG, "%s (postgres.password_file) has no first line",
                           s->password_file);
        password = secret_new(text.p, n);
    }
    *ret = (PgTarget){.host = s->host,
                      .port = (int)s->port,
                      .user = s->user,
                      .database = database,
                      .password = password};
    *ret_password = TAKE(password);
    return 0;
}
