#include "host/keys.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#define RECOVERY_HEAD "atoll-recovery-1-"
#define RECOVERY_GROUP 8
#define CHECK_DIGITS 8
#define KEY_FILE_MAX ((size_t)16 << 10)
#define PASSPHRASE_MAX ((size_t)4 << 10)

KeyFiles keys_paths(const char *island)
{
    _cleanup_free_ char *config = path_config();
    /* Without a home, the working folder: the message that follows names the path. */
    const char *base = config ? config : ".";

    return (KeyFiles){.key_path = xasprintf("%s/keys/%s.key", base, island),
                      .pub_path = xasprintf("%s/keys/%s.pub", base, island)};
}

void keyfiles_clear(KeyFiles *k)
{
    free(k->key_path);
    free(k->pub_path);
    *k = (KeyFiles){0};
}

/* The first digits of the SHA-256 of the key: a slip of the pen is noticed before it is used. */
static void add_check(Buf *b, Str key)
{
    _cleanup_(buf_wipe) Buf hex = BUF_INIT(BUF_MAX_LINE);
    crypt_hash(CRYPT_SHA256, key, &hex);
    buf_add(b, hex.p, CHECK_DIGITS);
}

Secret *keys_recovery_text_new(const Secret *key)
{
    _cleanup_(buf_wipe) Buf hex = BUF_INIT(BUF_MAX_LINE), text = BUF_INIT(BUF_MAX_LINE);
    Str raw = secret_expose(key);

    crypt_hex(&hex, raw.p, raw.n);
    buf_str(&text, RECOVERY_HEAD);
    for (size_t i = 0; i < hex.len; i += RECOVERY_GROUP) {
        buf_add(&text, hex.p + i, MIN((size_t)RECOVERY_GROUP, hex.len - i));
        buf_char(&text, '-');
    }
    add_check(&text, raw);
    return secret_new(text.p, text.len);
}

static int mistyped(Err *err)
{
    return err_set(err, ERR_CORRUPT, "this is not a recovery key, or it was mistyped");
}

int keys_recovery(Str text, KeyPair *ret, Err *err)
{
    _cleanup_(buf_wipe) Buf digits = BUF_INIT(BUF_MAX_LINE), raw = BUF_INIT(BUF_MAX_LINE),
                            check = BUF_INIT(BUF_MAX_LINE);
    Str s = str_trim(text);
    size_t head = strlen(RECOVERY_HEAD);

    if (s.n <= head || strncasecmp(s.p, RECOVERY_HEAD, head) != 0)
        return mistyped(err);
    /* People copy by hand: dashes, spaces and capitals do not matter. */
    for (size_t i = head; i < s.n; i++)
        if (!strchr("- \t\r\n", s.p[i]))
            buf_char(&digits, (char)(s.p[i] >= 'A' && s.p[i] <= 'F' ? s.p[i] + 32 : s.p[i]));
    if (digits.len != 2 * CRYPT_KEY_BYTES + CHECK_DIGITS ||
        !crypt_unhex(&raw, (Str){digits.p, 2 * CRYPT_KEY_BYTES}))
        return mistyped(err);
    add_check(&check, buf_as_str(&raw));
    if (!crypt_equal(buf_as_str(&check), (Str){digits.p + 2 * CRYPT_KEY_BYTES, CHECK_DIGITS}))
        return mistyped(err);
    _cleanup_secret_ Secret *secret = secret_new(raw.p, raw.len);
    return crypt_box_public(secret, ret, err);
}

/* The public file comes last and without it nothing can be sealed: a key file alone is what a run
 * that was cut off left behind, and is made again. */
static int write_files(const KeyFiles *files, const KeyPair *own, const KeyPair *recovery,
                       const Secret *passphrase, KeepRecovery *keep, void *user, Err *err)
{
    _cleanup_(buf_wipe) Buf wrapped = BUF_INIT(KEY_FILE_MAX);
    _cleanup_(buf_clear) Buf public = BUF_INIT(KEY_FILE_MAX);

    if (file_exists(files->pub_path))
        return err_set(err, ERR_CONFLICT, "there are keys already: %s", files->pub_path);
    int r = crypt_wrap(own->secret, passphrase, &wrapped, err);
    if (r < 0)
        return r;
    _cleanup_secret_ Secret *text = keys_recovery_text_new(recovery->secret);
    r = keep(user, text, err);
    if (r < 0)
        return r;
    r = file_write(files->key_path, buf_as_str(&wrapped), 0600, err);
    if (r < 0)
        return r;
    buf_printf(&public, "%s\n%s\n", own->public_b64, recovery->public_b64);
    return file_create(files->pub_path, buf_as_str(&public), 0644, err);
}

int keys_make(const char *island, const Secret *passphrase, KeepRecovery *keep, void *user,
              Err *err)
{
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths(island);
    _cleanup_(keypair_clear) KeyPair own = {0}, recovery = {0};
    _cleanup_free_ char *folder =
        xstrndup(files.key_path, (size_t)(strrchr(files.key_path, '/') - files.key_path));
    _cleanup_free_ char *lock = xasprintf("%s/.%s.lock", folder, island);
    int lock_fd = -1;

    int r = file_mkdirs(folder, 0700, err);
    if (r == 0)
        r = file_lock(lock, &lock_fd, err);
    if (r < 0)
        return err_wrap(err, "making the keys of %s", island);
    crypt_box_keys(&own);
    crypt_box_keys(&recovery);
    r = write_files(&files, &own, &recovery, passphrase, keep, user, err);
    (void)unlink(lock); /* an empty file; whoever comes next makes it again */
    close(lock_fd);
    return r < 0 ? err_wrap(err, "making the keys of %s", island) : 0;
}

int keys_open(const char *island, const Secret *passphrase, KeyPair *ret, Err *err)
{
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths(island);
    _cleanup_(buf_wipe) Buf wrapped = BUF_INIT(KEY_FILE_MAX);
    _cleanup_secret_ Secret *secret = NULL;

    int r = file_read(files.key_path, &wrapped, err);
    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "atoll init makes it; on another machine, copy it from the first");
    if (r == 0)
        r = crypt_unwrap(buf_as_str(&wrapped), passphrase, &secret, err);
    if (r == 0)
        r = crypt_box_public(secret, ret, err);
    return r < 0 ? err_wrap(err, "opening the key %s", files.key_path) : 0;
}

int keys_public(const char *path, StrList *ret, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(KEY_FILE_MAX);
    _cleanup_(strlist_clear) StrList found = {0};

    int r = file_read(path, &text, err);
    if (r < 0)
        return r;
    Str rest = buf_as_str(&text), line;
    while (str_next(&rest, '\n', &line)) {
        line = str_trim(line);
        _cleanup_(buf_clear) Buf raw = BUF_INIT(BUF_MAX_LINE);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (!crypt_unbase64(&raw, line) || raw.len != CRYPT_KEY_BYTES)
            return err_set(err, ERR_CONFIG, "%s: a line is not a public key", path);
        strlist_addf(&found, "%.*s", (int)line.n, line.p);
    }
    *ret = found;
    found = (StrList){0};
    return 0;
}

int keys_recipients(const char *island, StrList *ret, Err *err)
{
    _cleanup_(keyfiles_clear) KeyFiles files = keys_paths(island);

    int r = keys_public(files.pub_path, ret, err);
    if (r == -ERR_NOT_FOUND)
        return err_hint(err, "atoll init makes it; on another machine, copy it from the first");
    if (r < 0 || ret->len == 2)
        return r;
    size_t len = ret->len;
    strlist_clear(ret);
    return err_set(err, ERR_CONFIG, "%s: two public keys belong in it, there are %zu",
                   files.pub_path, len);
}

static int passphrase_from_file(const char *path, Secret **ret, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(PASSPHRASE_MAX);

    int r = file_read(path, &text, err);
    if (r < 0)
        return err_wrap(err, "reading the passphrase");
    size_t n = strcspn(text.p, "\r\n"); /* the first line, wherever the file was written */
    if (n == 0)
        return err_set(err, ERR_USAGE, "the passphrase file %s is empty", path);
    *ret = secret_new(text.p, n);
    return 0;
}

static int read_line(int fd, Buf *ret, Err *err)
{
    for (char c;;) {
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR)
            return err_set(err, ERR_INTERRUPTED, "interrupted");
        if (n < 0)
            return err_set(err, ERR_IO, "cannot read from the terminal: %m");
        if (n == 0 || c == '\n')
            return 0;
        buf_char(ret, c);
    }
}

static int ask(int tty, const char *question, Secret **ret, Err *err)
{
    struct termios before, quiet;
    _cleanup_(buf_wipe) Buf line = BUF_INIT(PASSPHRASE_MAX);

    if (tcgetattr(tty, &before) < 0)
        return err_set(err, ERR_IO, "cannot prepare the terminal: %m");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(tty, TCSAFLUSH, &quiet) < 0)
        return err_set(err, ERR_IO, "cannot prepare the terminal: %m");
    dprintf(tty, "%s: ", question);
    int r = read_line(tty, &line, err);
    (void)tcsetattr(tty, TCSAFLUSH, &before); /* nothing better to do if it fails */
    dprintf(tty, "\n");
    if (r < 0)
        return r;
    if (line.overflow || line.len == 0)
        return err_set(err, ERR_USAGE, "the passphrase is %s", line.len ? "too long" : "empty");
    *ret = secret_new(line.p, line.len);
    return 0;
}

static int ask_twice(int tty, bool confirm, Secret **ret, Err *err)
{
    _cleanup_secret_ Secret *first = NULL, *second = NULL;

    int r = ask(tty, "Passphrase of the island's key", &first, err);
    if (r == 0 && confirm)
        r = ask(tty, "The same again", &second, err);
    if (r == 0 && confirm && !secret_eq(first, second))
        r = err_set(err, ERR_USAGE, "the two passphrases differ");
    if (r == 0)
        *ret = TAKE(first);
    return r;
}

int keys_passphrase(bool confirm, Secret **ret, Err *err)
{
    const char *path = getenv("ATOLL_PASSPHRASE_FILE");
    if (path && *path)
        return passphrase_from_file(path, ret, err);

    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0) {
        (void)err_set(err, ERR_USAGE,
                      "the passphrase of the island's key is needed, and there is "
                      "no terminal to ask on");
        return err_hint(err, "put it into a file (mode 0600) and set ATOLL_PASSPHRASE_FILE");
    }
    int r = ask_twice(tty, confirm, ret, err);
    close(tty);
    return r;
}
