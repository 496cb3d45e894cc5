#include "host/tree.h"
#include "base/log.h"
#include "host/mail.h"
#include "io/crypt.h"
#include "io/file.h"

#include <sys/stat.h>

#define TREE_TYPE "application/vnd.atoll.tree"
#define PREFIX "release-"
#define SUFFIX ".tar.gz"
#define MB 1000000

bool tree_is_needed(const json_t *release)
{
    const char *kind = json_str_or(release, "kind", "");

    return streq(kind, "tree") ||
           (streq(kind, "image") && starts_with(json_str_or(release, "ref", ""), TREE_IMAGE_FILE));
}

char *tree_name(const char *version)
{
    return xasprintf(PREFIX "%s" SUFFIX, version);
}

static char *tree_path(const char *island, const char *version)
{
    return xasprintf("%s-boot/" PREFIX "%s" SUFFIX, island, version);
}

static int look_at_file(const char *path, struct stat *ret, Err *err)
{
    if (stat(path, ret) < 0) {
        (void)err_set(err, ERR_PREFLIGHT, "cannot find the release's archive %s: %m", path);
        return err_hint(err, "`tar -czf %s -C TREE .` packs a source tree", path);
    }
    if (!S_ISREG(ret->st_mode)) {
        (void)err_set(err, ERR_PREFLIGHT, "the release's archive %s is no file", path);
        return err_hint(err, "`tar -czf FILE.tar.gz -C TREE .` packs a source tree");
    }
    if (ret->st_size > TREE_MAX_BYTES) {
        (void)err_set(err, ERR_PREFLIGHT,
                      "the release's archive %s has %lld MB; Swift takes 5 GB as one object, and "
                      "atoll 4",
                      path, (long long)(ret->st_size / MB));
        return err_hint(err, "leave out of the tree what a server does not run: .git, node_modules "
                             "once the assets are built, tests, caches");
    }
    return 0;
}

int tree_file_check(const char *path, Err *err)
{
    struct stat st;

    return look_at_file(path, &st, err);
}

static void mac_of(const Vault *v, const char *version, const char *sha256, Buf *ret_hex)
{
    _cleanup_secret_ Secret *key = vault_derive_new(v, "tree");
    _cleanup_free_ char *text = xasprintf("%s/%s", version, sha256);

    crypt_hmac(CRYPT_SHA256, key, str_of(text), ret_hex);
}

/* The SHA-256 of what is there. ERR_NOT_FOUND. */
static int find(const TreeInput *in, const Vault *v, const char *version, char **ret_sha256,
                Err *err)
{
    _cleanup_free_ char *path = tree_path(in->island, version), *type = NULL;
    _cleanup_(buf_clear) Buf good = BUF_INIT(BUF_MAX_LINE);

    int r = swift_type(in->cloud, path, &type, err);
    if (r < 0)
        return r;
    Str sha = mail_param(type, TREE_TYPE, "sha256"), mac = mail_param(type, TREE_TYPE, "mac");
    _cleanup_free_ char *sha256 = xstrndup(sha.p ? sha.p : "", sha.n);
    mac_of(v, version, sha256, &good);
    if (sha.n == 64 && crypt_equal(buf_as_str(&good), mac)) {
        *ret_sha256 = TAKE(sha256);
        return 0;
    }
    (void)err_set(err, ERR_DENIED, "%s was not put there with this island's vault", path);
    return err_hint(err,
                    "delete that object, then give the archive: `atoll deploy %s --from "
                    "FILE.tar.gz`",
                    version);
}

static int compare(const TreeInput *in, const char *version, const char *file_sha256,
                   const char *sha256, Err *err)
{
    if (streq(file_sha256, sha256))
        return 0;
    (void)err_set(err, ERR_CONFLICT,
                  "%s is another archive than the one that %s has in the cloud: a version is never "
                  "changed",
                  in->file, version);
    return err_hint(err, "give the other tree another version, or the right archive");
}

static int upload(const TreeInput *in, const Vault *v, const char *version, const char *sha256,
                  Err *err)
{
    _cleanup_free_ char *path = tree_path(in->island, version);
    _cleanup_(buf_clear) Buf mac = BUF_INIT(BUF_MAX_LINE);
    struct stat st;

    int r = look_at_file(in->file, &st, err);
    if (r < 0)
        return r;
    mac_of(v, version, sha256, &mac);
    _cleanup_free_ char *type = xasprintf(TREE_TYPE "; sha256=%s; mac=%s", sha256, mac.p);
    log_info("uploading the release %s, %lld MB", version, (long long)((st.st_size + MB - 1) / MB));
    return swift_put(in->cloud, path,
                     &(SwiftPut){.file = in->file, .content_type = type, .only_new = true}, err);
}

/* `own`: the hash of the file here, if there is one. */
static int put(const TreeInput *in, const Vault *v, const char *version, const char *own,
               char **ret_sha256, Err *err)
{
    bool has_file = in->file && streq(in->file_version, version);
    int r = find(in, v, version, ret_sha256, err);

    if (r != -ERR_NOT_FOUND)
        return r;
    err_clear(err);
    if (!has_file) {
        (void)err_set(err, ERR_PREFLIGHT, "the archive of the release %s is not in %s-boot",
                      version, in->island);
        return err_hint(err, "`atoll deploy %s --from FILE.tar.gz` puts it there", version);
    }
    r = upload(in, v, version, own, err);
    if (r == 0)
        *ret_sha256 = xstrdup(own);
    if (r != -ERR_CONFLICT)
        return r;
    err_clear(err); /* another run was faster */
    return find(in, v, version, ret_sha256, err);
}

int tree_put(const TreeInput *in, const Vault *v, const char *version, char **ret_sha256, Err *err)
{
    const char *known = json_string_value(json_object_get(in->known, version));
    _cleanup_(buf_clear) Buf own = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *sha256 = NULL;
    int r = 0;

    if (known) {
        *ret_sha256 = xstrdup(known);
        return 0;
    }
    /* Without the file it has to be in the cloud: any machine may go on with an island. */
    if (in->file && streq(in->file_version, version) && file_exists(in->file)) {
        r = tree_file_check(in->file, err);
        if (r == 0)
            r = crypt_hash_file(CRYPT_SHA256, in->file, &own, err);
    }
    if (r == 0)
        r = put(in, v, version, own.p, &sha256, err);
    if (r == 0 && own.len)
        r = compare(in, version, own.p, sha256, err);
    if (r < 0)
        return r;
    if (in->known)
        json_object_set_new(in->known, version, json_string(sha256));
    *ret_sha256 = TAKE(sha256);
    return 0;
}

int tree_is_there(Cloud *cloud, const char *island, const char *version, bool *ret, Err *err)
{
    _cleanup_free_ char *path = tree_path(island, version), *type = NULL;
    _cleanup_(err_clear) Err own = {0};

    int r = swift_type(cloud, path, &type, &own);
    if (r < 0 && r != -ERR_NOT_FOUND)
        return err_move(err, &own);
    *ret = r == 0;
    return 0;
}

/* Adds one release of a spec; NULL and other kinds are passed over. */
static int add_url(const TreeInput *in, const Vault *v, const json_t *release, Msec expires,
                   json_t *trees, Err *err)
{
    const char *version = json_str_or(release, "version", "");
    _cleanup_free_ char *path = tree_path(in->island, version), *sha256 = NULL, *url = NULL;
    _cleanup_secret_ Secret *key = NULL;

    if (!tree_is_needed(release) || json_object_get(trees, version))
        return 0;
    int r = tree_put(in, v, version, &sha256, err);
    if (r < 0)
        return r;
    key = vault_derive_new(v, "temp-url/boot");
    r = swift_temp_url(in->cloud, key, "GET", path, false, expires, &url, err);
    if (r == 0)
        json_object_set_new(trees, version,
                            json_make_new("{s:s, s:s}", "url", url, "sha256", sha256));
    return r;
}

int tree_urls(const TreeInput *in, const Vault *v, const json_t *spec, Msec expires, json_t **ret,
              Err *err)
{
    _cleanup_json_ json_t *trees = json_object();
    const json_t *more;
    size_t i;

    int r = add_url(in, v, json_object_get(spec, "release"), expires, trees, err);
    if (r == 0)
        r = add_url(in, v, json_at(spec, "prepare.release"), expires, trees, err);
    json_array_foreach (json_object_get(spec, "fetch"), i, more) {
        if (r == 0)
            r = add_url(in, v, more, expires, trees, err);
    }
    if (r == 0)
        *ret = TAKE(trees);
    return r;
}

static bool is_kept(const char *name, const json_t *keep)
{
    const json_t *release;
    size_t i;

    json_array_foreach (keep, i, release) {
        _cleanup_free_ char *kept = tree_name(json_str_or(release, "version", ""));

        if (tree_is_needed(release) && streq(name, kept))
            return true;
    }
    return false;
}

int tree_prune(Cloud *cloud, const char *island, const json_t *keep, Err *err)
{
    _cleanup_free_ char *container = xasprintf("%s-boot", island);
    _cleanup_json_ json_t *list = NULL;
    const json_t *object;
    size_t i;

    int r = swift_list(cloud, container, PREFIX, &list, err);
    json_array_foreach (list, i, object) {
        const char *name = json_str_or(object, "name", "");
        _cleanup_free_ char *path = xasprintf("%s/%s", container, name);

        if (r == 0 && ends_with(name, SUFFIX) && !is_kept(name, keep))
            r = swift_delete(cloud, path, err);
    }
    return r;
}
