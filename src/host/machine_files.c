#include "host/machine_files.h"
#include "base/log.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MB ((int64_t)1 << 20)
#define JOURNAL_SHARE 20 /* of the disk */
#define JOURNAL_MIN (64 * MB)
#define JOURNAL_MAX (2048 * MB)
#define FILE_MAX_BYTES ((size_t)1 << 20)

/* A file of our own. */
static int keep_file(const char *root, const char *path, Str content, bool *ret_changed, Err *err)
{
    _cleanup_free_ char *full = xasprintf("%s%s", root, path), *folder = path_folder(full);
    _cleanup_(buf_clear) Buf before = BUF_INIT(FILE_MAX_BYTES);

    if (file_read(full, &before, NULL) == 0 && str_eq(buf_as_str(&before), content))
        return 0;
    int r = file_mkdirs(folder, 0755, err);
    if (r == 0)
        r = file_write(full, content, 0644, err);
    if (r == 0 && ret_changed)
        *ret_changed = true;
    return r;
}

#define MAPS 262144 /* as Elasticsearch and OpenSearch ask for */

/* Not file_write: what is below /proc can't be replaced by another file. */
static int raise_maps(const char *path, Err *err)
{
    _cleanup_free_ char *text = xasprintf("%d\n", MAPS);

    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (n == (ssize_t)strlen(text))
        return 0;
    if (e == EROFS || e == EACCES || e == EPERM) {
        log_warn(
            "vm.max_map_count can't be raised to %d here: %s; a large search index may need it",
            MAPS, strerror(e));
        return 0;
    }
    return err_set(err, ERR_IO, "cannot raise vm.max_map_count: %s", strerror(e));
}

int machine_maps(const char *root, Err *err)
{
    _cleanup_free_ char *line = xasprintf("# Made by atoll.\nvm.max_map_count = %d\n", MAPS);
    _cleanup_free_ char *path = xasprintf("%s/proc/sys/vm/max_map_count", root), *text = NULL;
    _cleanup_(buf_clear) Buf now = BUF_INIT(BUF_MAX_LINE);
    int64_t have;

    int r = keep_file(root, "/etc/sysctl.d/60-atoll-search.conf", str_of(line), NULL, err);
    if (r == 0)
        r = file_read(path, &now, err);
    if (r < 0)
        return r;
    Str word = str_trim(buf_as_str(&now));
    text = xstrndup(word.p, word.n);
    if (parse_int(text, 0, INT64_MAX, &have) && have >= MAPS)
        return 0;
    return raise_maps(path, err);
}

void machine_journal_text(int64_t disk_bytes, Buf *ret)
{
    int64_t most = MIN(MAX(disk_bytes / JOURNAL_SHARE, JOURNAL_MIN), JOURNAL_MAX);

    buf_printf(ret, "# Made by atoll.\n[Journal]\nSystemMaxUse=%lldM\nRuntimeMaxUse=%lldM\n",
               (long long)(most / MB), (long long)(JOURNAL_MIN / MB));
}

int machine_journal(const char *root, bool *ret_changed, Err *err)
{
    _cleanup_free_ char *folder = xasprintf("%s/", root);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    struct statvfs fs;

    if (statvfs(folder, &fs) < 0)
        return err_set(err, ERR_IO, "cannot tell the size of the disk: %m");
    machine_journal_text((int64_t)(fs.f_blocks * fs.f_frsize), &text);
    return keep_file(root, "/etc/systemd/journald.conf.d/atoll.conf", buf_as_str(&text),
                     ret_changed, err);
}

/* After 20auto-upgrades and 50unattended-upgrades, which are the package's: lists add up unless
 * they are cleared. */
static const char updates[] =
    "// Made by atoll. Its agent reboots, between 03:00 and 05:00 UTC, after it has stopped the\n"
    "// services carefully.\n"
    "APT::Periodic::Update-Package-Lists \"1\";\n"
    "APT::Periodic::Unattended-Upgrade \"1\";\n"
    "APT::Periodic::AutocleanInterval \"7\";\n"
    "#clear Unattended-Upgrade::Allowed-Origins;\n"
    "#clear Unattended-Upgrade::Origins-Pattern;\n"
    "Unattended-Upgrade::Origins-Pattern {\n"
    "    \"origin=Debian,codename=${distro_codename},label=Debian-Security\";\n"
    "    \"origin=Debian,codename=${distro_codename}-security,label=Debian-Security\";\n"
    "};\n"
    "Unattended-Upgrade::Automatic-Reboot \"false\";\n";

int machine_updates(const char *root, Err *err)
{
    return keep_file(root, "/etc/apt/apt.conf.d/52atoll", str_of(updates), NULL, err);
}

/* A drop-in that createcluster.conf of postgresql-common includes. */
int machine_no_cluster(const char *root, Err *err)
{
    return keep_file(root, "/etc/postgresql-common/createcluster.d/atoll.conf",
                     STR_LIT("# Made by atoll, which makes its own.\n"
                             "create_main_cluster = false\n"),
                     NULL, err);
}

int machine_mask(const char *root, const char *unit, bool *ret_changed, Err *err)
{
    _cleanup_free_ char *folder = xasprintf("%s/etc/systemd/system", root);
    _cleanup_free_ char *path = path_join(folder, unit);
    char target[16] = "";

    int r = file_mkdirs(folder, 0755, err);
    if (r < 0)
        return r;
    if (symlink("/dev/null", path) == 0) {
        *ret_changed = true;
        return 0;
    }
    if (errno != EEXIST)
        return err_set(err, ERR_IO, "cannot mask %s: %m", unit);
    if (readlink(path, target, sizeof target - 1) > 0 && streq(target, "/dev/null"))
        return 0;
    return err_set(err, ERR_CONFLICT,
                   "%s is somebody's own unit; atoll runs that program itself, and needs it gone",
                   path);
}

/* --- authorised keys --- */

static const char begin_line[] = "# atoll: the next lines are ssh_keys of the island file";
static const char end_line[] = "# atoll: end";

void machine_ssh_text(Str before, const json_t *keys, Buf *ret)
{
    Str rest = before, line;
    bool inside = false;

    while (rest.n > 0 && str_next(&rest, '\n', &line)) {
        if (str_eq(line, str_of(begin_line))) {
            inside = true;
        } else if (inside && str_eq(line, str_of(end_line))) {
            inside = false;
        } else if (!inside) {
            buf_add(ret, line.p, line.n);
            buf_char(ret, '\n');
        }
    }
    if (json_array_size(keys) == 0)
        return;
    buf_printf(ret, "%s\n", begin_line);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        buf_printf(ret, "%.*s\n", key ? (int)strcspn(key, "\r\n") : 0, key ? key : "");
    }
    buf_printf(ret, "%s\n", end_line);
}

/* Who the keys log in as. *ret_home to be freed. */
static int find_login(const char *root, char **ret_home, uid_t *ret_uid, gid_t *ret_gid, Err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/etc/passwd", root);
    FILE *f = fopen(path, "re");
    const struct passwd *pw;

    if (!f)
        return err_set(err, ERR_IO, "cannot open %s: %m", path);
    while ((pw = fgetpwent(f))) {
        bool debian = streq(pw->pw_name, "debian");

        if (!debian && !streq(pw->pw_name, "root"))
            continue;
        free(*ret_home);
        *ret_home = xasprintf("%s%s", root, pw->pw_dir);
        *ret_uid = pw->pw_uid;
        *ret_gid = pw->pw_gid;
        if (debian)
            break;
    }
    (void)fclose(f); /* only read */
    return *ret_home ? 0 : err_set(err, ERR_IO, "%s names neither debian nor root", path);
}

/* The folder is its user's, who could put links there: none is followed. */
static int read_keys(const char *path, Buf *ret, Err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT ? 0 : err_set(err, ERR_IO, "cannot open %s: %m", path);
    int r = 0;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        r = err_set(err, ERR_IO, "%s is no file", path);
    _cleanup_free_ char *same = xasprintf("/proc/self/fd/%d", fd);
    if (r == 0)
        r = file_read(same, ret, err);
    close(fd);
    return r;
}

static int own_folder(const char *path, uid_t uid, gid_t gid, Err *err)
{
    struct stat st;

    if (mkdir(path, 0700) == 0 && lchown(path, uid, gid) == 0)
        return 0;
    if (lstat(path, &st) < 0)
        return err_set(err, ERR_IO, "cannot make %s: %m", path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != uid)
        return err_set(err, ERR_IO, "%s is not a folder of its user", path);
    return 0;
}

int machine_ssh_keys(const char *root, const json_t *keys, Err *err)
{
    _cleanup_free_ char *home = NULL;
    _cleanup_(buf_clear) Buf before = BUF_INIT(FILE_MAX_BYTES), after = BUF_INIT(FILE_MAX_BYTES);
    uid_t uid = 0;
    gid_t gid = 0;

    int r = find_login(root, &home, &uid, &gid, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *folder = path_join(home, ".ssh");
    _cleanup_free_ char *path = path_join(folder, "authorized_keys");
    r = read_keys(path, &before, err);
    if (r < 0)
        return r;
    machine_ssh_text(buf_as_str(&before), keys, &after);
    if (after.overflow)
        return err_set(err, ERR_IO, "%s is too large", path);
    if (str_eq(buf_as_str(&before), buf_as_str(&after)))
        return 0;
    r = own_folder(folder, uid, gid, err);
    return r == 0 ? file_write_as(path, buf_as_str(&after), 0600, uid, gid, err) : r;
}
