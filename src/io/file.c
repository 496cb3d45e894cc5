#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void fd_close_p(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define _cleanup_fd_ __attribute__((cleanup(fd_close_p)))

static ErrKind kind_of_errno(void)
{
    return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
}

int file_read(const char *path, Buf *ret, Err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_set(err, kind_of_errno(), "cannot open %s: %m", path);

    /* Not by st_size: files in /proc say 0, and a file may grow while it is read. The piece holds
     * what may be a secret, hence on the stack and wiped. */
    char piece[16 << 10];
    int r = 0;
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = err_set(err, ERR_IO, "cannot read %s: %m", path);
            break;
        }
        if (n == 0)
            break;
        buf_add(ret, piece, (size_t)n);
        if (ret->overflow) {
            r = err_set(err, ERR_CORRUPT, "%s is larger than %zu bytes", path, ret->max);
            break;
        }
    }
    explicit_bzero(piece, sizeof piece);
    return r;
}

static int write_all(int fd, Str content)
{
    while (content.n > 0) {
        ssize_t n = write(fd, content.p, content.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        content.p += n;
        content.n -= (size_t)n;
    }
    return 0;
}

char *path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

bool path_is_inner(const char *path)
{
    Str rest = str_of(path), part;

    if (!*path)
        return false;
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    while (str_next(&rest, '/', &part))
        if (part.n == 0 || str_eq(part, STR_LIT(".")) || str_eq(part, STR_LIT("..")))
            return false;
    return true;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A rename is only there after a power cut once its folder is written. */
int file_sync_folder(const char *folder, Err *err)
{
    _cleanup_fd_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot open the folder %s: %m", folder);
    /* Some file systems cannot sync a folder and say EINVAL; there is nothing more to do then. */
    if (fsync(fd) < 0 && errno != EINVAL)
        return err_set(err, ERR_IO, "cannot sync the folder %s: %m", folder);
    return 0;
}

static int sync_folder_of(const char *path, Err *err)
{
    _cleanup_free_ char *folder = path_folder(path);

    return file_sync_folder(folder, err);
}

typedef struct Look {
    unsigned mode;
    uid_t uid;
    gid_t gid;
} Look;
#define LOOK_AS_IT_IS(m) (&(Look){(m), (uid_t)-1, (gid_t)-1})

/* Writes the content, durable, under a new name in the folder of `path`; the name is to be freed
 * and unlinked by the caller. Owner and mode are set on the descriptor: whoever owns the folder
 * may put something else under the name at any moment. */
static int write_temporary(const char *path, Str content, const Look *look, char **ret_name,
                           Err *err)
{
    _cleanup_free_ char *folder = path_folder(path);
    _cleanup_free_ char *name = xasprintf("%s/.%.200s.XXXXXX", folder, name_of(path));
    _cleanup_fd_ int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return err_set(err, kind_of_errno(), "cannot make a file in %s: %m", folder);
    bool own = look->uid != (uid_t)-1 || look->gid != (gid_t)-1;
    /* The mode last: a new owner takes bits of it away. */
    if (write_all(fd, content) < 0 || (own && fchown(fd, look->uid, look->gid) < 0) ||
        fchmod(fd, look->mode) < 0 || fsync(fd) < 0) {
        int r = err_set(err, ERR_IO, "cannot write %s: %m", path);
        unlink(name);
        return r;
    }
    *ret_name = TAKE(name);
    return 0;
}

static int write_over(const char *path, Str content, const Look *look, Err *err)
{
    _cleanup_free_ char *name = NULL;
    int r = write_temporary(path, content, look, &name, err);
    if (r < 0)
        return r;
    BUG_IF(!name);
    if (rename(name, path) < 0) {
        r = err_set(err, ERR_IO, "cannot rename to %s: %m", path);
        unlink(name);
        return r;
    }
    return sync_folder_of(path, err);
}

int file_write(const char *path, Str content, unsigned mode, Err *err)
{
    return write_over(path, content, LOOK_AS_IT_IS(mode), err);
}

int file_write_as(const char *path, Str content, unsigned mode, uid_t uid, gid_t gid, Err *err)
{
    return write_over(path, content, &(Look){mode, uid, gid}, err);
}

int file_create(const char *path, Str content, unsigned mode, Err *err)
{
    _cleanup_free_ char *name = NULL;
    int r = write_temporary(path, content, LOOK_AS_IT_IS(mode), &name, err);
    if (r < 0)
        return r;
    /* A link, not a rename: of two at the same moment exactly one wins. */
    BUG_IF(!name);
    if (link(name, path) < 0)
        r = err_set(err, errno == EEXIST ? ERR_CONFLICT : ERR_IO, "cannot create %s: %m", path);
    unlink(name);
    return r < 0 ? r : sync_folder_of(path, err);
}

int file_rename(const char *from, const char *to, Err *err)
{
    if (rename(from, to) < 0)
        return err_set(err, kind_of_errno(), "cannot rename %s to %s: %m", from, to);
    return sync_folder_of(to, err);
}

int file_mkdirs(const char *path, unsigned mode, Err *err)
{
    _cleanup_free_ char *part = xstrdup(path);

    for (char *p = part + (*part == '/'); *part; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        /* umask may have taken bits of the mode away. */
        if (mkdir(part, mode) == 0 ? chmod(part, mode) < 0 : errno != EEXIST)
            return err_set(err, ERR_IO, "cannot make the folder %s: %m", part);
        *p = end;
        if (end == '\0')
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set(err, ERR_IO, "cannot make the folder %s: %m", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_IO, "cannot make the folder %s: a file is there", path);
    return 0;
}

/* True if something is mounted on this open folder. */
static bool is_mount(int fd)
{
    struct statx sx;
    return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &sx) == 0 &&
           (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int remove_below(int folder, const char *path, Err *err);

static int remove_entry(int folder, const char *name, const char *path, bool top, Err *err)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return 0;
    /* Linux says EISDIR, POSIX and some file systems EPERM. */
    if (errno != EISDIR && errno != EPERM)
        return err_set(err, ERR_IO, "cannot remove %s: %m", path);
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot remove %s: %m", path);
    /* What is mounted below (a bind mount of the real machine, say) is not this tree's. */
    if (!top && is_mount(fd)) {
        close(fd);
        return err_set(err, ERR_IO, "cannot remove %s: something is mounted on it", path);
    }
    int r = remove_below(fd, path, err);
    if (r < 0)
        return r;
    if (unlinkat(folder, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_set(err, ERR_IO, "cannot remove %s: %m", path);
    return 0;
}

/* Empties an open folder; takes the descriptor. */
static int remove_below(int folder, const char *path, Err *err)
{
    DIR *dir = fdopendir(folder);
    if (!dir) {
        int r = err_set(err, ERR_IO, "cannot read the folder %s: %m", path);
        close(folder);
        return r;
    }
    int r = 0;
    for (struct dirent *d; r == 0 && (errno = 0, d = readdir(dir));) {
        if (streq(d->d_name, ".") || streq(d->d_name, ".."))
            continue;
        _cleanup_free_ char *below = path_join(path, d->d_name);
        r = remove_entry(dirfd(dir), d->d_name, below, false, err);
    }
    closedir(dir);
    return r;
}

int file_remove_tree(const char *path, Err *err)
{
    return remove_entry(AT_FDCWD, path, path, true, err);
}

int file_absent(const char *path, Err *err)
{
    struct stat st;

    if (lstat(path, &st) == 0)
        return err_set(err, ERR_CONFLICT, "%s is there already", path);
    return errno == ENOENT ? 0 : err_set(err, kind_of_errno(), "cannot look for %s: %m", path);
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int file_list(const char *path, StrList *ret, Err *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return err_set(err, kind_of_errno(), "cannot read the folder %s: %m", path);

    StrList names = {0};
    errno = 0;
    for (struct dirent *d; (errno = 0, d = readdir(dir));)
        if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
            strlist_add(&names, d->d_name);
    int r = errno ? err_set(err, ERR_IO, "cannot read the folder %s: %m", path) : 0;
    closedir(dir);
    if (r < 0) {
        strlist_clear(&names);
        return r;
    }
    if (names.len > 0)
        qsort(names.items, names.len, sizeof *names.items, compare_names);
    strlist_clear(ret);
    *ret = names;
    return 0;
}

int file_lock(const char *path, int *ret_fd, Err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot open %s: %m", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = errno == EWOULDBLOCK ? err_set(err, ERR_HELD, "%s is locked by another run", path)
                                     : err_set(err, ERR_IO, "cannot lock %s: %m", path);
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

char *path_join(const char *a, const char *b)
{
    size_t n = strlen(a);

    if (n == 0)
        return xstrdup(b);
    while (n > 0 && a[n - 1] == '/')
        n--;
    while (*b == '/')
        b++;
    return xasprintf("%.*s/%s", (int)n, a, b);
}

/* XDG base directories: a relative value is to be ignored. */
static char *xdg_folder(const char *variable, const char *below_home)
{
    const char *base = getenv(variable), *home = getenv("HOME");

    if (base && *base == '/')
        return path_join(base, "atoll");
    if (!home || *home != '/')
        return NULL;
    return xasprintf("%s/%s/atoll", streq(home, "/") ? "" : home, below_home);
}

char *path_config(void)
{
    return xdg_folder("XDG_CONFIG_HOME", ".config");
}

char *path_cache(void)
{
    return xdg_folder("XDG_CACHE_HOME", ".cache");
}
