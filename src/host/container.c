#include "host/container.h"
#include "host/marked.h"
#include "host/tree.h"
#include "io/child.h"
#include "io/file.h"

#include <signal.h>
#include <stdlib.h>

#define APP_TMP CONTAINER_FOLDER "/tmp"

char *container_image_new(const json_t *release)
{
    const char *ref = json_str_or(release, "ref", "");
    const char *version = json_str_or(release, "version", "");

    if (starts_with(ref, TREE_IMAGE_FILE))
        return xasprintf("localhost/atoll-archive:%s", version);
    return strchr(ref, '@') ? xstrdup(ref) : xasprintf("%s:%s", ref, version);
}

ContainerUse container_use(const Service *s)
{
    return s->once ? CONTAINER_ONCE : CONTAINER_SERVICE;
}

static void add_all(StrList *l, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        strlist_add(l, words[i]);
}

/* Signals of a terminal are not the point of a unit's, its outputs are: they are the unit's own.
 * podman refuses that where it has a terminal, which a further command may have. */
static const char *const use_words[][4] = {
    [CONTAINER_SERVICE] = {"--detach", "--sdnotify=conmon", "--log-driver=passthrough", NULL},
    [CONTAINER_ONCE] = {"--sdnotify=ignore", "--log-driver=passthrough", NULL},
    [CONTAINER_COMMAND] = {"--sdnotify=ignore", "--log-driver=none", "--interactive", NULL},
};

void container_argv(const Service *s, ContainerUse use, const char *env_file, StrList *ret)
{
    add_all(ret, (const char *const[]){"podman", CONTAINER_PODMAN, "run", "--rm", NULL});
    add_all(ret, use_words[use]);
    if (use == CONTAINER_COMMAND) {
        strlist_addf(ret, "--hostname=%s", s->name);
        strlist_add(ret, "--env=" MARKED_NAME); /* of podman's own */
    } else {
        /* --replace: what a power cut left of the one before has its name. */
        strlist_addf(ret, "--name=atoll-%s", s->name);
        strlist_add(ret, "--replace");
        /* A host name has 64 bytes at most, 32 of them are the start's. */
        bool fits = s->machine && strlen(s->machine) <= 64 - 1 - 32;
        strlist_addf(ret, "--hostname=%s-" CONTAINER_START_ID, fits ? s->machine : s->name);
    }
    add_all(ret, (const char *const[]){"--pull=never", "--network=host", "--cgroups=disabled",
                                       "--ulimit=host", NULL});
    strlist_addf(ret, "--user=%s", s->image_user ? s->image_user : CONTAINER_USER);
    add_all(ret, (const char *const[]){"--cap-drop=all", "--security-opt=no-new-privileges",
                                       "--read-only", NULL});
    if (!s->image_user)
        strlist_add(ret, "--tmpfs=" APP_TMP ":mode=1777");
    for (size_t i = 0; i < s->image_args.len; i++)
        strlist_add(ret, s->image_args.items[i]);
    for (size_t i = 0; i < s->dirs.len; i++)
        if (ends_with(s->dirs.items[i].path, "/tmp"))
            strlist_addf(ret, "--volume=%s:/tmp:nosuid,nodev", s->dirs.items[i].path);
    strlist_addf(ret, "--env-file=%s", env_file);
    strlist_add(ret, s->image);
    /* podman hands on the sockets that it has from systemd and says that the first process has
     * them; that is the image's tini. The shell becomes the program, whose number it knows. */
    if (s->keep_socket && use == CONTAINER_SERVICE)
        add_all(ret, (const char *const[]){"sh", "-c", "LISTEN_PID=$$ exec \"$@\"", "sh", NULL});
    for (size_t i = 0; i < s->argv.len; i++)
        strlist_add(ret, s->argv.items[i]);
}

void container_remove_argv(const Service *s, StrList *ret)
{
    add_all(ret, (const char *const[]){"podman", CONTAINER_PODMAN, "rm", "--force", "--ignore",
                                       "--time=0", NULL});
    strlist_addf(ret, "atoll-%s", s->name);
}

void container_env(const Service *s, Buf *ret)
{
    for (size_t i = 0; i < s->env.len; i++)
        buf_printf(ret, "%s\n", s->env.items[i]);
}

int container_command(Service *s, const char *env_file, const char *mark, Err *err)
{
    _cleanup_(buf_wipe) Buf env = BUF_INIT((size_t)256 << 10);
    _cleanup_free_ char *folder = path_folder(env_file);
    StrList argv = {0};

    container_env(s, &env);
    if (env.overflow)
        return err_set(err, ERR_CONFIG, "the environment of %s is too large", s->name);
    int r = file_mkdirs(folder, 0700, err);
    if (r == 0)
        r = file_write(env_file, buf_as_str(&env), 0600, err);
    if (r < 0)
        return r;
    container_argv(s, CONTAINER_COMMAND, env_file, &argv);
    strlist_clear(&s->argv);
    s->argv = argv;
    strlist_wipe(&s->env);
    add_all(&s->env,
            (const char *const[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", mark, NULL});
    return 0;
}

pid_t container_init(const Service *s, pid_t main_pid)
{
    _cleanup_free_ pid_t *pids = NULL;

    if (!s->image || container_use(s) != CONTAINER_SERVICE || main_pid <= 0)
        return 0;
    return child_descendants(main_pid, &pids) > 0 ? pids[0] : 0;
}

/* As /proc/PID/status says, in a mask of signals. */
static bool catches(pid_t pid, int sig)
{
    static const char name[] = "\nSigCgt:\t";
    _cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)pid);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    const char *at = file_read(path, &text, NULL) == 0 ? strstr(text.p, name) : NULL;
    return at && (strtoull(at + sizeof name - 1, NULL, 16) >> (sig - 1) & 1);
}

void container_signal(pid_t init, int sig)
{
    _cleanup_free_ pid_t *pids = NULL;

    /* An image without such a first process has its program there. */
    pid_t ear = child_descendants(init, &pids) > 0 ? pids[0] : init;
    if (sig == SIGTSTP && !catches(ear, sig))
        return;
    (void)kill(init, sig); /* it may have ended */
}

int container_host(pid_t init, char ret[static 65], Err *err)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/root/etc/hostname", (int)init);
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (init <= 0 || file_read(path, &text, NULL) < 0)
        return err_set(err, ERR_NOT_FOUND, "its container is not there yet");
    size_t n = strcspn(text.p, "\n");
    if (n == 0 || n > 64)
        return err_set(err, ERR_NOT_FOUND, "its container has no name");
    snprintf(ret, 65, "%.*s", (int)n, text.p);
    return 0;
}
