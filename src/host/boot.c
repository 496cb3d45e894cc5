#include "host/boot.h"
#include "host/backup.h"
#include "host/bundle.h"
#include "host/spec.h"
#include "host/tree.h"
#include "io/crypt.h"
#include "io/file.h"

#include <sys/stat.h>

#define HELLO_MAX_BYTES ((size_t)4 << 10)
/* Nova takes 65,535 characters of base64; a script that nears this would be a mistake. */
#define USER_DATA_MAX ((size_t)4 << 10)
#define SEND_TRIES 50
/* An ask may go when no host that still hears can be waiting for its number: later than the URLs of
 * the bundle before it end. Until then a newer bundle has come, so its number is not given again.
 */
#define ASK_LIFE (MAIL_URL_LIFE + DAY)

/* The constant part. The values stand above it, in single quotes. They never reach the argv of a
 * program: printf is built into the shell, and curl reads its settings from standard input. The
 * network may come later than this script does, hence the patience. */
static const char script[] =
    "say() { echo \"atoll: $*\"; }\n"
    "root=${ATOLL_ROOT:-}\n"
    "dir=$(mktemp -d)\n"
    "trap 'rm -rf \"$dir\"' EXIT\n"
    "pkg=$dir/atoll.deb\n"
    "again() {\n"
    "    tries=0\n"
    "    until \"$@\"; do\n"
    "        tries=$((tries + 1))\n"
    "        [ \"$tries\" -lt 60 ] || { say \"giving up: $1\"; exit 1; }\n"
    "        sleep \"${ATOLL_BOOT_PAUSE:-5}\"\n"
    "    done\n"
    "}\n"
    "download() {\n"
    "    command -v curl >/dev/null || (umask 022; apt-get -q update && apt-get -qy install curl) "
    "|| "
    "return 1\n"
    "    printf 'url = \"%s\"\\noutput = \"%s\"\\n' \"$url\" \"$pkg\" |\n"
    "        curl --silent --show-error --fail --connect-timeout 10 --max-time 300 --config -\n"
    "}\n"
    "install_it() {\n"
    "    (umask 022; export DEBIAN_FRONTEND=noninteractive; apt-get -q update &&\n"
    "        apt-get -qy install --no-install-recommends \"$pkg\")\n"
    "}\n"
    "say 'downloading the package'\n"
    "again download\n"
    "printf '%s  %s\\n' \"$sha\" \"$pkg\" | sha256sum -c --status - ||\n"
    "    { say 'the package is not what it should be'; exit 1; }\n"
    "(umask 022; mkdir -p \"$root/etc\" \"$root/var/lib\")\n"
    "mkdir -p \"$root/etc/atoll\" \"$root/var/lib/atoll\"\n"
    "cp \"$pkg\" \"$root/var/lib/atoll/package.deb\"\n"
    "printf '%s\\n' \"$sha\" >\"$root/var/lib/atoll/package.sha256\"\n"
    "printf '%s\\n' \"$boot\" >\"$root/etc/atoll/boot.json\"\n"
    "say 'installing the package'\n"
    "if [ -n \"$root\" ]; then\n"
    "    dpkg-deb -x \"$pkg\" \"$root\"\n"
    "    cat >\"$root/var/lib/atoll/boot\" <<'END'\n"
    "#!/bin/sh\n"
    "exec \"$ATOLL_ROOT/usr/bin/atoll\" host --root \"$ATOLL_ROOT\"\n"
    "END\n"
    "    chmod 0700 \"$root/var/lib/atoll/boot\"\n"
    "    rm -rf \"$dir\"\n"
    "    say 'starting'\n"
    "    exec \"$root/usr/bin/atoll\" host --root \"$root\"\n"
    "fi\n"
    "again install_it\n"
    "say 'starting'\n"
    "systemctl enable --now atoll-host\n";

void boot_nonce(char ret[static 17])
{
    crypt_random_hex(ret, 16);
}

static Secret *boot_key_new(const Vault *v, const char *server, const char *nonce)
{
    _cleanup_free_ char *label = xasprintf("boot/%s/%s", server, nonce);
    return vault_derive_new(v, label);
}

int boot_package(Cloud *cloud, const char *island, const char *package, Buf *ret_sha, Err *err)
{
    _cleanup_(buf_clear) Buf sha = BUF_INIT(BUF_MAX_LINE);
    _cleanup_json_ json_t *list = NULL;
    struct stat st;

    if (stat(package, &st) < 0) {
        (void)err_set(err, ERR_CONFIG, "cannot find atoll's own package %s: %m", package);
        return err_hint(err, "--package names it");
    }
    int r = crypt_hash_file(CRYPT_SHA256, package, &sha, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *container = xasprintf("%s-boot", island);
    _cleanup_free_ char *name = xasprintf("%s.deb", sha.p);
    r = swift_list(cloud, container, name, &list, err);
    if (r < 0)
        return r;
    if (json_array_size(list) == 0 ||
        json_int(json_array_get(list, 0), "bytes", -1) != (int64_t)st.st_size) {
        _cleanup_free_ char *path = xasprintf("%s/%s", container, name);
        r = swift_put(
            cloud, path,
            &(SwiftPut){.file = package, .content_type = "application/vnd.debian.binary-package"},
            err);
    }
    if (r == 0)
        buf_add(ret_sha, sha.p, sha.len);
    return r;
}

/* The two prefix TempURLs of a server's mailbox. */
static int mailbox_urls(Cloud *cloud, const Vault *v, const char *island, const char *server,
                        const char *nonce, Msec expires, char **ret_in, char **ret_out, Err *err)
{
    _cleanup_secret_ Secret *key = vault_derive_new(v, "temp-url/mail");
    _cleanup_free_ char *in_path = xasprintf("%s-mail/%s/%s/in/", island, server, nonce);
    _cleanup_free_ char *out_path = xasprintf("%s-mail/%s/%s/out/", island, server, nonce);
    _cleanup_free_ char *in = NULL;

    int r = swift_temp_url(cloud, key, "GET", in_path, true, expires, &in, err);
    if (r == 0)
        r = swift_temp_url(cloud, key, "PUT", out_path, true, expires, ret_out, err);
    if (r == 0)
        *ret_in = TAKE(in);
    return r;
}

static int boot_json(const BootInput *in, const Vault *v, Buf *ret, Err *err)
{
    _cleanup_free_ char *in_url = NULL, *out_url = NULL;
    _cleanup_(keypair_clear) KeyPair sign = {0};
    _cleanup_secret_ Secret *k = boot_key_new(v, in->server, in->nonce);
    /* The first bundle brings URLs of its own, so those that the metadata service shows are short.
     */
    Msec expires = in->now + BOOT_URL_LIFE;

    int r = vault_sign_keys(v, &sign, err);
    if (r == 0)
        r = mailbox_urls(in->cloud, v, in->island, in->server, in->nonce, expires, &in_url,
                         &out_url, err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *boot =
        json_make_new("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "v", 1, "server", in->server,
                      "nonce", in->nonce, "k", secret_expose(k).p, "sign_public", sign.public_b64,
                      "in", in_url, "out", out_url, "expires", (json_int_t)(expires / SECOND));
    _cleanup_free_ char *text = json_text_new(boot);
    buf_str(ret, text);
    explicit_bzero(text, strlen(text));
    return 0;
}

void boot_script(const char *sha256, const char *package_url, const char *boot_json_text, Buf *ret)
{
    buf_str(ret, "#!/bin/sh\nset -eu\numask 077\nsha=");
    buf_shell_quote(ret, sha256);
    buf_str(ret, "\nurl=");
    buf_shell_quote(ret, package_url);
    buf_str(ret, "\nboot=");
    buf_shell_quote(ret, boot_json_text);
    buf_char(ret, '\n');
    buf_str(ret, script);
}

int boot_user_data(const BootInput *in, const Vault *v, Buf *ret_user_data, Err *err)
{
    _cleanup_(buf_clear) Buf sha = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(buf_wipe) Buf boot = BUF_INIT(USER_DATA_MAX), text = BUF_INIT(USER_DATA_MAX);
    _cleanup_free_ char *url = NULL;
    _cleanup_secret_ Secret *key = vault_derive_new(v, "temp-url/boot");

    int r = boot_package(in->cloud, in->island, in->package, &sha, err);
    if (r < 0)
        return err_wrap(err, "uploading atoll's package");
    _cleanup_free_ char *path = xasprintf("%s-boot/%s.deb", in->island, sha.p);
    r = swift_temp_url(in->cloud, key, "GET", path, false, in->now + BOOT_URL_LIFE, &url, err);
    if (r == 0)
        r = boot_json(in, v, &boot, err);
    if (r < 0)
        return err_wrap(err, "making the first boot of %s", in->server);
    boot_script(sha.p, url, boot.p, &text);
    if (boot.overflow || text.overflow)
        return err_set(err, ERR_BUG, "the first boot of %s needs more than %zu bytes", in->server,
                       USER_DATA_MAX);
    buf_add(ret_user_data, text.p, text.len);
    return 0;
}

static void hello_mac(const Secret *k, const char *server, const char *nonce,
                      const char *public_b64, Buf *ret_hex)
{
    _cleanup_free_ char *text = xasprintf("hello/%s/%s/%s", server, nonce, public_b64);
    crypt_hmac(CRYPT_SHA256, k, str_of(text), ret_hex);
}

void boot_hello_make(const Secret *k, const char *server, const char *nonce, const char *public_b64,
                     Buf *ret)
{
    _cleanup_(buf_clear) Buf mac = BUF_INIT(BUF_MAX_LINE);

    hello_mac(k, server, nonce, public_b64, &mac);
    _cleanup_json_ json_t *hello =
        json_make_new("{s:i, s:s, s:s}", "v", 1, "public", public_b64, "mac", mac.p);
    _cleanup_free_ char *text = json_text_new(hello);
    buf_str(ret, text);
}

int boot_hello_check(const Secret *k, const char *server, const char *nonce, Str text,
                     char **ret_public, Err *err)
{
    _cleanup_json_ json_t *hello = json_parse_new(text.p, text.n, NULL);
    const char *public = json_str(hello, "public"), *mac = json_str(hello, "mac");
    _cleanup_(buf_clear) Buf good = BUF_INIT(BUF_MAX_LINE), raw = BUF_INIT(BUF_MAX_LINE);

    if (!public || !mac || json_int(hello, "v", 0) != 1)
        return err_set(err, ERR_CORRUPT, "the hello of %s is not what a host writes", server);
    hello_mac(k, server, nonce, public, &good);
    if (!crypt_equal(buf_as_str(&good), str_of(mac)))
        return err_set(err, ERR_DENIED,
                       "the hello of %s was not written by the server that was made", server);
    if (!crypt_unbase64(&raw, str_of(public)) || raw.len != CRYPT_KEY_BYTES)
        return err_set(err, ERR_CORRUPT, "the hello of %s has no usable key", server);
    *ret_public = xstrdup(public);
    return 0;
}

/* What stands for a host's public key in the content type of its bundles. */
static void key_mark(const char *public_b64, char ret[static 17])
{
    _cleanup_(buf_clear) Buf raw = BUF_INIT(BUF_MAX_LINE), hex = BUF_INIT(BUF_MAX_LINE);

    BUG_IF(!crypt_unbase64(&raw, str_of(public_b64))); /* the hello was checked */
    crypt_hash(CRYPT_SHA256, buf_as_str(&raw), &hex);
    snprintf(ret, 17, "%.16s", hex.p);
}

static int check_key(const SendInput *in, const char *mark, Err *err)
{
    if (!in->expect_key || !in->expect_key[0] || streq(in->expect_key, mark))
        return 0;
    (void)err_set(err, ERR_DENIED,
                  "the hello of %s has another key than its settings were sealed to before: "
                  "the server was set up anew, or somebody else has its bootstrap key and wants to "
                  "be sent its secrets",
                  in->server);
    return err_hint(err, "delete the server in the cloud and apply again to have it made anew "
                         "(volumes stay)");
}

static int read_hello(const SendInput *in, const Vault *v, char **ret_public, Buf *ret_md5,
                      Err *err)
{
    _cleanup_secret_ Secret *k = boot_key_new(v, in->server, in->nonce);
    _cleanup_free_ char *name = mail_hello(in->server, in->nonce);
    _cleanup_free_ char *path = xasprintf("%s-mail/%s", in->island, name);
    _cleanup_(buf_clear) Buf text = BUF_INIT(HELLO_MAX_BYTES);

    int r = swift_get(in->cloud, path, HELLO_MAX_BYTES, &text, err);
    if (r < 0)
        return err_wrap(err, "reading the hello of %s", in->server);
    crypt_hash(CRYPT_MD5, buf_as_str(&text), ret_md5);
    return boot_hello_check(k, in->server, in->nonce, buf_as_str(&text), ret_public, err);
}

/* What the next plan must know of a bundle (host/mail.h). */
static char *bundle_type_new(const json_t *spec, const char *key_mark, const char *hello_md5,
                             Msec expires)
{
    _cleanup_json_ json_t *keeps = host_keeps_new(spec);
    Buf type = BUF_INIT(BUF_MAX_LINE);
    const char *role;
    json_t *disk;
    char hash[17], rest[17];

    host_spec_hash(spec, hash);
    host_rest_hash(spec, rest);
    buf_printf(&type, "%s; spec=%s; rest=%s; until=%lld; key=%s; hello=%.16s", MAIL_BUNDLE_TYPE,
               hash, rest, (long long)(expires / SECOND), key_mark, hello_md5);
    if (json_bool(spec, "scheduler", false))
        buf_str(&type, "; scheduler=1");
    json_object_foreach (keeps, role, disk) {
        buf_printf(&type, "; %s=%s", role, json_string_value(disk));
    }
    return buf_detach(&type);
}

/* NULL where the spec names none. */
static int package_url(const SendInput *in, const Vault *v, char **ret, Err *err)
{
    _cleanup_secret_ Secret *key = vault_derive_new(v, "temp-url/boot");
    const char *sha = json_str(in->spec, "atoll");
    _cleanup_free_ char *path = xasprintf("%s-boot/%s.deb", in->island, sha ? sha : "");

    return sha ? swift_temp_url(in->cloud, key, "GET", path, false, in->now + PACKAGE_URL_LIFE, ret,
                                err)
               : 0;
}

/* Who is sent something: the host's key, and what stands for it and for its hello in content types.
 */
typedef struct Addressee {
    char *public;
    char key_mark[17], hello_mark[17];
} Addressee;

static void addressee_clear(Addressee *a)
{
    free(a->public);
}
DEFINE_CLEAR(Addressee, addressee_clear)

/* If it is who it should be; *ret is the caller's also if not. */
static int find_addressee(const SendInput *in, const Vault *v, Addressee *ret, Err *err)
{
    _cleanup_(buf_clear) Buf md5 = BUF_INIT(BUF_MAX_LINE);

    int r = read_hello(in, v, &ret->public, &md5, err);
    if (r < 0)
        return r;
    key_mark(ret->public, ret->key_mark);
    snprintf(ret->hello_mark, sizeof ret->hello_mark, "%.16s", md5.p);
    return check_key(in, ret->key_mark, err);
}

/* ERR_CONFLICT if the number is taken. */
static int put(const SendInput *in, int64_t number, const SwiftPut *what, Err *err)
{
    _cleanup_free_ char *name = mail_in(in->server, in->nonce, number);
    _cleanup_free_ char *path = xasprintf("%s-mail/%s", in->island, name);

    return swift_put(in->cloud, path, what, err);
}

static int send_as(const SendInput *in, int64_t number, const Addressee *to, const Vault *v,
                   Err *err)
{
    _cleanup_free_ char *in_url = NULL, *out_url = NULL, *package = NULL, *backup = NULL,
                        *kit = NULL;
    _cleanup_secret_ Secret *kit_key = NULL;
    const char *restore = json_str(in->spec, "restore.id");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUNDLE_TEXT_MAX);
    _cleanup_json_ json_t *trees = NULL;
    Msec expires = in->now + MAIL_URL_LIFE;

    int r = mailbox_urls(in->cloud, v, in->island, in->server, in->nonce, expires, &in_url,
                         &out_url, err);
    if (r == 0)
        r = package_url(in, v, &package, err);
    if (r == 0)
        r = tree_urls(&(TreeInput){.cloud = in->cloud,
                                   .island = in->island,
                                   .file = in->tree,
                                   .file_version = in->tree_version,
                                   .known = in->trees},
                      v, in->spec, expires, &trees, err);
    if (r == 0 && in->backup_cloud)
        r = backup_url(in->backup_cloud, v, json_str_or(in->spec, "backup.container", ""), expires,
                       &backup, err);
    if (r == 0 && restore)
        r = backup_kit_secrets(
            &(BackupKitAsk){in->cloud, in->island, restore, in->now + KIT_URL_LIFE}, v, &kit,
            &kit_key, err);
    if (r == 0)
        r = bundle_make(
            &(BundleHead){in->server, in->nonce, number}, to->public, in->spec, v,
            &(BundleUrls){in_url, out_url, expires / SECOND, package, trees, backup, kit, kit_key},
            &text, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *type = bundle_type_new(in->spec, to->key_mark, to->hello_mark, expires);
    r = put(in, number,
            &(SwiftPut){.body = buf_as_str(&text), .content_type = type, .only_new = true}, err);
    return r < 0 ? err_wrap(err, "sending bundle %lld to %s", (long long)number, in->server) : 0;
}

/* Somebody has put something at `number`: true if that is an ask, and where to go on. */
static bool after_an_ask(const SendInput *in, int64_t *number)
{
    _cleanup_free_ char *container = xasprintf("%s-mail", in->island);
    _cleanup_free_ char *prefix = xasprintf("%s/%s/in/", in->server, in->nonce);
    _cleanup_json_ json_t *listing = NULL;
    bool ask = false;

    if (swift_list(in->cloud, container, prefix, &listing, NULL) < 0)
        return false;
    int64_t next = mail_next(listing, in->server, in->nonce, *number, &ask);
    if (ask)
        *number = MAX(next, *number + 1);
    return ask;
}

int boot_send(const SendInput *in, const Vault *v, Err *err)
{
    _cleanup_(addressee_clear) Addressee to = {0};
    int64_t number = in->number;

    int r = find_addressee(in, v, &to, err);
    if (r < 0)
        return r;
    for (int tries = 0; tries < SEND_TRIES; tries++) {
        r = send_as(in, number, &to, v, err);
        if (r != -ERR_CONFLICT || !after_an_ask(in, &number))
            break;
    }
    return r;
}

int boot_ask(const SendInput *in, const json_t *ask, const Vault *v, int64_t *ret_number, Err *err)
{
    _cleanup_(addressee_clear) Addressee to = {0};
    int64_t number = in->number;

    int r = find_addressee(in, v, &to, err);
    if (r < 0)
        return r;
    r = -ERR_CONFLICT;
    for (int tries = 0; r == -ERR_CONFLICT && tries < SEND_TRIES; tries++, number++) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUNDLE_TEXT_MAX);

        r = bundle_make_ask(&(BundleHead){in->server, in->nonce, number}, to.public, ask, v, &text,
                            err);
        if (r == 0)
            r = put(in, number,
                    &(SwiftPut){.body = buf_as_str(&text),
                                .content_type = MAIL_ASK_TYPE,
                                .delete_after_s = ASK_LIFE / SECOND,
                                .only_new = true},
                    err);
        if (r == 0)
            *ret_number = number;
    }
    return r < 0 ? err_wrap(err, "sending an ask to %s", in->server) : 0;
}
