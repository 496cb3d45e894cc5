/* A plain folder as a store: for tests and for a disk of one's own. Each object is a file of its
 * name; it has no versions and tells no hashes. */
#include "backup/store_driver.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef struct Folder {
    Store store;
    char *path;
} Folder;

static const char *path_of(const Store *s)
{
    return ((const Folder *)(const void *)s)->path;
}

/* Writing failed: is the disk full? Then waiting does not help, but somebody can. */
static int maybe_full(const char *path, Err *err)
{
    struct statvfs v;
    Err full = {0};

    if (err->kind != ERR_IO || statvfs(path, &v) != 0 || v.f_bavail > 0)
        return -(int)err->kind;
    err_set(&full, ERR_QUOTA, "no space left: %s", err->text);
    err_hint(&full, "make room on the disk of %s", path);
    return err_move(err, &full);
}

static int folder_put(Store *s, const char *name, Str body, StorePut how, Err *err)
{
    _cleanup_(err_clear) Err own = {0};
    _cleanup_free_ char *path = path_join(path_of(s), name), *folder = path_folder(path);
    int r = file_mkdirs(folder, 0700, &own);

    store_count(s, 1);
    if (r == 0)
        r = how == STORE_NEW ? file_create(path, body, 0600, &own)
                             : file_write(path, body, 0600, &own);
    if (r == 0)
        return 0;
    (void)maybe_full(path_of(s), &own);
    return err_move(err, &own);
}

/* The bytes of an open file, `size` from `offset` (0: to the end). */
static int read_part(int fd, int64_t offset, int64_t size, Buf *ret, Err *err)
{
    enum { CHUNK = 256 << 10 };
    _cleanup_free_ char *chunk = xrealloc(NULL, CHUNK, 1);
    int64_t left = size > 0 ? size : INT64_MAX;

    while (left > 0) {
        ssize_t n = pread(fd, chunk, (size_t)MIN(left, (int64_t)CHUNK), offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_IO, "%m");
        if (n == 0)
            break;
        buf_add(ret, chunk, (size_t)n);
        if (ret->overflow)
            break;
        offset += n;
        left -= n;
    }
    return 0;
}

static int folder_get(Store *s, const char *name, const char *version, int64_t offset, int64_t size,
                      Buf *ret, Err *err)
{
    _cleanup_free_ char *path = path_join(path_of(s), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    (void)version; /* there are none */
    store_count(s, 1);
    if (fd < 0)
        return err_set(err, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO, "%m");
    int r = read_part(fd, offset, size, ret, err);
    close(fd);
    return r;
}

/* All files below `at` (a name, or "" for the folder itself). A file that goes meanwhile is not
 * there. */
static int walk(Store *s, const char *at, const char *prefix, StoreItems *ret, Err *err)
{
    _cleanup_free_ char *path = *at ? path_join(path_of(s), at) : xstrdup(path_of(s));
    DIR *d = opendir(path);
    int r = 0;

    if (!d)
        return errno == ENOENT ? 0 : err_set(err, ERR_IO, "cannot read %s: %m", path);
    for (const struct dirent *e; r == 0 && (errno = 0, e = readdir(d));) {
        if (e->d_name[0] == '.') /* also what is half-written (io/file.c) */
            continue;
        _cleanup_free_ char *name = *at ? path_join(at, e->d_name) : xstrdup(e->d_name);
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISDIR(st.st_mode) && strncmp(name, prefix, MIN(strlen(name), strlen(prefix))) == 0)
            r = walk(s, name, prefix, ret, err);
        else if (!S_ISDIR(st.st_mode) && starts_with(name, prefix))
            vec_push(ret, (StoreItem){.name = xstrdup(name),
                                      .bytes = st.st_size,
                                      .written =
                                          st.st_mtim.tv_sec * SECOND + st.st_mtim.tv_nsec / 1000000,
                                      .newest = true});
    }
    if (r == 0 && errno)
        r = err_set(err, ERR_IO, "cannot read %s: %m", path);
    closedir(d);
    return r;
}

static int folder_list(Store *s, const char *prefix, bool versions, StoreItems *ret, Err *err)
{
    (void)versions;
    store_count(s, 1);
    return walk(s, "", prefix, ret, err);
}

static int folder_remove(Store *s, const StoreItem *item, Err *err)
{
    _cleanup_free_ char *path = path_join(path_of(s), item->name);

    store_count(s, 1);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set(err, ERR_IO, "%m");
    return 0;
}

static Store *folder_clone(const Store *s)
{
    Folder *f = NEW(Folder);

    store_init_clone(&f->store, s);
    f->path = xstrdup(path_of(s));
    return &f->store;
}

static void folder_free(Store *s)
{
    free(((Folder *)(void *)s)->path);
}

int store_folder(const char *path, bool make, const StoreOptions *o, Store **ret, Err *err)
{
    static const StoreDriver driver = {.put = folder_put,
                                       .clone = folder_clone,
                                       .free = folder_free,
                                       .get = folder_get,
                                       .list = folder_list,
                                       .remove = folder_remove};
    struct stat st;

    if (make) {
        int r = file_mkdirs(path, 0700, err);
        if (r < 0)
            return r;
    }
    if (stat(path, &st) != 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %m", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_CONFIG, "%s is not a folder", path);
    Folder *f = NEW(Folder);
    store_init(&f->store, &driver, o, xasprintf("folder %s", path));
    f->path = xstrdup(path);
    *ret = &f->store;
    return 0;
}
