#include "pocket/server.h"
#include "base/log.h"
#include "base/vec.h"
#include "io/child.h"
#include "io/file.h"
#include "pocket/netns.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONSOLE_MAX ((size_t)100 << 10) /* as Nova's libvirt driver shows */
#define DISK_NAME_MAX 20                /* characters of a volume's id in its link */

/* The servers that are on. */
typedef struct Machine {
    char *id;
    pid_t pid;   /* of its init */
    int control; /* our end of its standard input */
} Machine;
static VEC(Machine) machines;

static char *path_of(const Pocket *p, const char *id, const char *what)
{
    return xasprintf("%s/servers/%s%s%s", p->dir, id, *what ? "/" : "", what);
}

static Machine *find(const char *id)
{
    for (size_t i = 0; i < machines.len; i++)
        if (streq(machines.items[i].id, id))
            return &machines.items[i];
    return NULL;
}

static void forget(Machine *m)
{
    close(m->control);
    free(m->id);
    vec_remove(&machines, (size_t)(m - machines.items));
}

bool server_is_on(const char *id)
{
    Machine *m = find(id);
    if (!m)
        return false;
    /* Somebody may have killed its init: that server is off. */
    if (waitpid(m->pid, NULL, WNOHANG) == 0)
        return true;
    forget(m);
    return false;
}

static void cut(Machine *m)
{
    child_kill_tree(m->pid);
    while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    forget(m);
}

void server_off(const char *id)
{
    Machine *m = find(id);
    if (m)
        cut(m);
}

void server_all_off(void)
{
    while (machines.len > 0)
        cut(vec_last(&machines));
    vec_clear(&machines);
}

void server_remove(Pocket *p, const char *id)
{
    _cleanup_free_ char *dir = path_of(p, id, "");
    _cleanup_(err_clear) Err err = {0};
    server_off(id);
    if (file_remove_tree(dir, &err) < 0)
        log_err(&err);
}

void server_sweep(Pocket *p, const char *what, const char *kind)
{
    _cleanup_free_ char *dir = path_join(p->dir, what);
    _cleanup_(strlist_clear) StrList names = {0};
    if (file_list(dir, &names, NULL) < 0)
        return; /* none was ever made */
    for (size_t i = 0; i < names.len; i++) {
        _cleanup_json_ json_t *row = store_get_new(p->store, kind, names.items[i]);
        _cleanup_free_ char *path = path_join(dir, names.items[i]);
        _cleanup_(err_clear) Err err = {0};
        if (!row && file_remove_tree(path, &err) < 0)
            log_err(&err);
    }
}

/* A root folder without anything but the script for its first boot. */
static int make_root(Pocket *p, const char *id, const char *root, Str user_data, Err *err)
{
    _cleanup_free_ char *dir = path_of(p, id, root);
    _cleanup_free_ char *cloud = path_join(dir, "var/lib/cloud");
    _cleanup_free_ char *copy = path_of(p, id, "user_data");
    _cleanup_free_ char *script = path_join(cloud, "user-data");
    int r = file_mkdirs(cloud, 0711, err);
    if (r == 0)
        r = file_write(copy, user_data, 0600, err);
    /* Its own copy inside, for running. */
    if (r == 0 && user_data.n > 2 && memcmp(user_data.p, "#!", 2) == 0)
        r = file_write(script, user_data, 0700, err);
    return r < 0 ? err_wrap(err, "making the server's folder") : 0;
}

int server_make(Pocket *p, const char *id, Str user_data, Err *err)
{
    return make_root(p, id, "root", user_data, err);
}

static int plug_root(Pocket *p, const char *root, const json_t *volumes, Err *err)
{
    _cleanup_free_ char *dir = path_join(root, "dev/disk/by-id");
    int r = file_remove_tree(dir, err);
    if (r == 0)
        r = file_mkdirs(dir, 0755, err);
    if (r < 0)
        return err_wrap(err, "plugging volumes in");
    size_t i;
    json_t *item;
    json_array_foreach (volumes, i, item) {
        const char *volume = json_string_value(item);
        _cleanup_free_ char *folder = cinder_volume_dir(p, volume);
        _cleanup_free_ char *target = realpath(folder, NULL);
        _cleanup_free_ char *link = xasprintf("%s/virtio-%.*s", dir, DISK_NAME_MAX, volume);
        if (symlink(target ? target : folder, link) < 0)
            return err_set(err, ERR_IO, "cannot plug in volume %s: %m", volume);
    }
    return 0;
}

/* Also into the root that a rebuild has prepared, if its boot has not taken it yet. */
int server_plug(Pocket *p, const char *id, const json_t *volumes, Err *err)
{
    _cleanup_free_ char *root = path_of(p, id, "root"), *next = path_of(p, id, "root.new");
    int r = file_exists(next) ? plug_root(p, next, volumes, err) : 0;
    return r < 0 || (file_exists(next) && !file_exists(root)) ? r
                                                              : plug_root(p, root, volumes, err);
}

/* Environment of the next boot, for the init to read. */
static int write_boot(Pocket *p, const ServerSpec *spec, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *path = path_of(p, spec->id, "boot"), *dir = path_of(p, spec->id, "");
    _cleanup_free_ char *real = realpath(dir, NULL), *boot_id = pocket_uuid(true);
    if (!real)
        return err_set(err, ERR_IO, "cannot enter the server's folder: %m");
    buf_printf(&text,
               "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
               "HOME=%s/root\nLANG=C.UTF-8\nATOLL_ROOT=%s/root\nATOLL_ADDRESS=%s\n"
               "ATOLL_HOSTNAME=%s\nATOLL_BOOT_ID=%s\nATOLL_VOLUMES=",
               real, real, spec->address ? spec->address : "", spec->name, boot_id);
    size_t i;
    json_t *item;
    json_array_foreach (spec->volumes, i, item) {
        _cleanup_free_ char *folder = cinder_volume_dir(p, json_string_value(item));
        _cleanup_free_ char *target = realpath(folder, NULL);
        buf_printf(&text, "%s%s=%s", i ? ":" : "", json_string_value(item),
                   target ? target : folder);
    }
    buf_char(&text, '\n');
    return file_write(path, buf_as_str(&text), 0600, err);
}

static int start_init(Pocket *p, const char *id, Machine *ret, Err *err)
{
    _cleanup_free_ char *dir = path_of(p, id, ""), *console = path_of(p, id, "console.log");
    int ends[2];
    int log = open(console, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return err_set(err, ERR_IO, "cannot open %s: %m", console);
    if (pipe2(ends, O_CLOEXEC) < 0) {
        close(log);
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    }
    _cleanup_free_ char *netns = netns_path(p, id);
    const char *const argv[] = {"/proc/self/exe", "--server-init", id, netns, NULL};
    const char *const env[] = {"LANG=C.UTF-8", NULL};
    ChildSpec spec = {.argv = argv,
                      .env = env,
                      .cwd = dir,
                      .in_fd = ends[0],
                      .out_fd = log,
                      .err_fd = log,
                      .new_session = true,
                      .subreaper = true};
    int r = child_spawn(&spec, &ret->pid, err);
    close(ends[0]);
    close(log);
    if (r < 0) {
        close(ends[1]);
        return r;
    }
    ret->control = ends[1];
    ret->id = xstrdup(id);
    return 0;
}

int server_on(Pocket *p, const ServerSpec *spec, Err *err)
{
    Machine m = {0};
    server_off(spec->id);
    netns_sync(p);
    int r = server_plug(p, spec->id, spec->volumes, err);
    if (r == 0)
        r = write_boot(p, spec, err);
    if (r == 0)
        r = start_init(p, spec->id, &m, err);
    if (r < 0)
        return err_wrap(err, "switching server %s on", spec->name);
    vec_push(&machines, m);
    return 0;
}

bool server_restart(Pocket *p, const ServerSpec *spec)
{
    Machine *m = server_is_on(spec->id) ? find(spec->id) : NULL;
    return m && write_boot(p, spec, NULL) == 0 && write(m->control, "r", 1) == 1;
}

/* Prepares the root beside the old one; the init takes it when nothing uses that any more, now or
 * at the next boot. */
int server_rebuild(Pocket *p, const ServerSpec *spec, Str user_data, Err *err)
{
    _cleanup_free_ char *next = path_of(p, spec->id, "root.new");
    int r = file_remove_tree(next, err);
    if (r == 0)
        r = make_root(p, spec->id, "root.new", user_data, err);
    if (r == 0)
        r = server_plug(p, spec->id, spec->volumes, err);
    if (r < 0)
        return err_wrap(err, "rebuilding server %s", spec->name);
    if (server_is_on(spec->id) && !server_restart(p, spec))
        return err_set(err, ERR_IO, "server %s cannot be asked to boot again", spec->name);
    return 0;
}

/* Bytes that are not UTF-8 would make the whole answer no JSON. */
static void add_printable(Buf *ret, Str text)
{
    for (size_t i = 0; i < text.n;) {
        unsigned char c = (unsigned char)text.p[i];
        size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
        _cleanup_json_ json_t *good = n > 1 && i + n <= text.n ? json_stringn(text.p + i, n) : NULL;
        bool plain = n == 1 && (c >= 0x20 || c == '\n' || c == '\t' || c == '\r' || c == 0x1b);
        if (good || plain)
            buf_add(ret, text.p + i, n);
        else
            buf_char(ret, '?');
        i += good || plain ? n : 1;
    }
}

void server_console(Pocket *p, const char *id, int64_t lines, Buf *ret)
{
    _cleanup_free_ char *path = path_of(p, id, "console.log");
    _cleanup_free_ char *text = xcalloc(1, CONSOLE_MAX);
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    off_t from = fstat(fd, &st) == 0 && st.st_size > (off_t)CONSOLE_MAX
                     ? st.st_size - (off_t)CONSOLE_MAX
                     : 0;
    ssize_t n = pread(fd, text, CONSOLE_MAX, from);
    close(fd);
    size_t end = n > 0 ? (size_t)n : 0, start = end;
    /* A final newline ends the last line; it does not begin another. */
    for (int64_t seen = 0; lines > 0 && start > 0; start--)
        if (text[start - 1] == '\n' && start < end && ++seen == lines)
            break;
    if (lines <= 0)
        start = 0;
    add_printable(ret, (Str){text + start, end - start});
}
