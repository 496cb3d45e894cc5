#include "host/acme_store.h"
#include "io/file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_WORD "@folder@"
#define DEPTH_MAX 6

typedef struct Pack {
    const char *folder; /* certbot's service's */
    json_t *files, *links;
    size_t bytes;
} Pack;

static char *conf_path(const char *folder, const char *name)
{
    return xasprintf("%s/conf/%s", folder, name);
}

/* Each `from` becomes `to`. */
static char *replace_new(const char *text, const char *from, const char *to)
{
    Buf out = BUF_INIT(2 * ACME_STORE_MAX);
    const char *at;

    for (; (at = strstr(text, from)); text = at + strlen(from)) {
        buf_add(&out, text, (size_t)(at - text));
        buf_str(&out, to);
    }
    buf_str(&out, text);
    return buf_detach(&out);
}

static int add_file(Pack *p, const char *name, Err *err)
{
    _cleanup_free_ char *path = conf_path(p->folder, name), *text = NULL;
    _cleanup_(buf_wipe) Buf content = BUF_INIT(ACME_STORE_MAX);
    int r = file_read(path, &content, err);

    if (r < 0)
        return r;
    p->bytes += content.len;
    if (p->bytes > ACME_STORE_MAX)
        return err_set(err, ERR_CORRUPT, "%s/conf is larger than %zu bytes", p->folder,
                       ACME_STORE_MAX);
    text = starts_with(name, "renewal/") ? replace_new(content.p, p->folder, FOLDER_WORD)
                                         : xstrdup(content.p);
    json_t *value = json_string(text);
    explicit_bzero(text, strlen(text));
    if (!value)
        return err_set(err, ERR_CORRUPT, "%s is not text", path);
    json_object_set_new(p->files, name, value);
    return 0;
}

/* Regular files alone. One that goes while it is looked at is as if it had not been there. */
static int add_tree(Pack *p, const char *name, int depth, Err *err)
{
    _cleanup_free_ char *path = conf_path(p->folder, name);
    _cleanup_(strlist_clear) StrList names = {0};
    struct stat st;
    int r = 0;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set(err, ERR_IO, "cannot look at %s: %m", path);
    if (S_ISREG(st.st_mode))
        return add_file(p, name, err);
    if (!S_ISDIR(st.st_mode) || depth == DEPTH_MAX)
        return 0;
    r = file_list(path, &names, err);
    for (size_t i = 0; r == 0 && i < names.len; i++) {
        _cleanup_free_ char *below = path_join(name, names.items[i]);
        r = add_tree(p, below, depth + 1, err);
    }
    return r;
}

/* live/<domain>/cert.pem -> ../../archive/<domain>/cert3.pem */
static int add_live(Pack *p, const char *domain, const char *name, Err *err)
{
    _cleanup_free_ char *link = xasprintf("live/%s/%s.pem", domain, name);
    _cleanup_free_ char *path = conf_path(p->folder, link);
    char target[512];
    ssize_t n = readlink(path, target, sizeof target - 1);

    if (n < 0)
        return errno == ENOENT ? 0 : err_set(err, ERR_IO, "cannot read the link %s: %m", path);
    target[n] = '\0';
    if (!starts_with(target, "../../archive/"))
        return err_set(err, ERR_CORRUPT, "%s leads to %s", path, target);
    json_object_set_new(p->links, link, json_string(target));
    return add_file(p, target + strlen("../../"), err);
}

int acme_store_pack(const char *folder, const char *domain, Buf *ret, Err *err)
{
    static const char *const live[] = {"cert", "chain", "fullchain", "privkey"};
    _cleanup_json_ json_t *files = json_object(), *links = json_object();
    _cleanup_free_ char *settings = xasprintf("renewal/%s.conf", domain);
    Pack p = {.folder = folder, .files = files, .links = links};

    int r = add_tree(&p, "accounts", 0, err);
    if (r == 0)
        r = add_tree(&p, settings, 0, err);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(live); i++)
        r = add_live(&p, domain, live[i], err);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *all = json_make_new("{s:O, s:O}", "files", files, "links", links);
    char *text = json_text_new(all);
    buf_str(ret, text);
    explicit_bzero(text, strlen(text));
    free(text);
    return 0;
}

bool acme_store_there(const char *folder, const char *domain)
{
    _cleanup_free_ char *path = xasprintf("%s/conf/renewal/%s.conf", folder, domain);

    return file_exists(path);
}

/* Below one of certbot's own folders, and no way out of it. */
static bool is_inside(const char *name)
{
    static const char *const tops[] = {"accounts/", "archive/", "live/", "renewal/"};
    Str rest = str_of(name), part;

    while (str_next(&rest, '/', &part))
        if (part.n == 0 || str_eq(part, STR_LIT(".")) || str_eq(part, STR_LIT("..")))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(tops); i++)
        if (starts_with(name, tops[i]))
            return true;
    return false;
}

static int put_file(const char *folder, const char *name, const char *text, Err *err)
{
    _cleanup_free_ char *path = conf_path(folder, name), *above = path_folder(path);
    _cleanup_free_ char *whole = replace_new(text, FOLDER_WORD, folder);

    int r = file_mkdirs(above, 0700, err);
    if (r == 0)
        r = file_write(path, str_of(whole), 0600, err);
    explicit_bzero(whole, strlen(whole));
    return r;
}

static int put_files(const char *folder, const json_t *store, bool settings, Err *err)
{
    const char *name;
    json_t *text;

    json_object_foreach (json_object_get(store, "files"), name, text) {
        if (starts_with(name, "renewal/") != settings)
            continue;
        if (!is_inside(name) || !json_is_string(text))
            return err_set(err, ERR_CORRUPT, "certbot's store has %s", name);
        int r = put_file(folder, name, json_string_value(text), err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int put_links(const char *folder, const json_t *store, Err *err)
{
    const char *name;
    json_t *to;

    json_object_foreach (json_object_get(store, "links"), name, to) {
        const char *target = json_is_string(to) ? json_string_value(to) : "";
        _cleanup_free_ char *path = conf_path(folder, name), *above = path_folder(path);

        if (!is_inside(name) || !starts_with(target, "../../archive/") ||
            !is_inside(target + strlen("../../")))
            return err_set(err, ERR_CORRUPT, "certbot's store has %s", name);
        int r = file_mkdirs(above, 0700, err);
        if (r < 0)
            return r;
        if (symlink(target, path) < 0)
            return err_set(err, ERR_IO, "cannot make the link %s: %m", path);
    }
    return 0;
}

/* Where its settings are missing certbot takes what is there for somebody else's, and makes a
 * second certificate beside it. */
int acme_store_unpack(const char *folder, const char *domain, const json_t *store, Err *err)
{
    static const char *const tops[] = {"live", "archive"};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(tops); i++) {
        _cleanup_free_ char *path = xasprintf("%s/conf/%s/%s", folder, tops[i], domain);
        r = file_remove_tree(path, err);
    }
    if (r == 0)
        r = put_files(folder, store, false, err);
    if (r == 0)
        r = put_links(folder, store, err);
    return r < 0 ? r : put_files(folder, store, true, err);
}
