/* The init of a server: what `atoll-pocket --server-init ID [NETNS]` is. Runs in the server's
 * folder, with the console as its output and a pipe from pocket as its input (see server.h). */
#include "io/child.h"
#include "io/file.h"
#include "pocket/server.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOFT_WAIT (10 * SECOND)

typedef struct Init {
    pid_t main;      /* what the boot started; 0: it has ended, or nothing was started */
    Msec restart_at; /* a soft reboot's patience ends; 0: none is going on */
} Init;

static void say(const char *what, const char *why)
{
    (void)fprintf(stderr, "[pocket] %s%s%s\n", what, *why ? ": " : "", why);
}

/* Reaps whatever has ended. */
static void reap(Init *in)
{
    int status;
    char text[64];
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != in->main)
            continue;
        in->main = 0;
        say("the boot's program has ended", child_status_text(status, text));
    }
}

static void kill_all(Init *in)
{
    for (;;) {
        _cleanup_free_ pid_t *pids = NULL;
        reap(in);
        size_t n = child_descendants(getpid(), &pids);
        if (n == 0)
            return;
        for (size_t i = 0; i < n; i++)
            child_kill_tree(pids[i]);
        time_sleep(1); /* a killed process needs a moment until it can be reaped */
    }
}

/* Value of NAME=value in the environment list, or "". */
static const char *value_of(const StrList *env, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < env->len; i++)
        if (strncmp(env->items[i], name, n) == 0 && env->items[i][n] == '=')
            return env->items[i] + n + 1;
    return "";
}

static int read_env(StrList *ret, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = file_read("boot", &text, err);
    if (r < 0)
        return r;
    Str rest = buf_as_str(&text), line;
    while (str_next(&rest, '\n', &line))
        if (line.n > 0)
            strlist_addf(ret, "%.*s", (int)line.n, line.p);
    return 0;
}

static bool executable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* What a rebuild has prepared becomes the root. Nothing runs in the old one. */
static bool take_new_root(Err *err)
{
    if (!file_exists("root.new"))
        return true;
    return file_remove_tree("root", err) == 0 && file_rename("root.new", "root", err) == 0;
}

static void boot(Init *in)
{
    _cleanup_(strlist_clear) StrList env = {0};
    _cleanup_(err_clear) Err err = {0};
    if (!take_new_root(&err) || read_env(&env, &err) < 0) {
        say("no boot", err.text);
        return;
    }
    const char *root = value_of(&env, "ATOLL_ROOT");
    _cleanup_free_ char *hook = xasprintf("%s/var/lib/atoll/boot", root);
    _cleanup_free_ char *script = xasprintf("%s/var/lib/cloud/user-data", root);
    bool hooked = executable(hook);
    if (!hooked && !executable(script)) {
        say("user_data is no script: nothing to run", "");
        return;
    }
    const char *const argv[] = {hooked ? hook : script, NULL};
    say("boot", hooked ? "var/lib/atoll/boot" : "user_data");
    ChildSpec spec = {
        .argv = argv, .env = (const char *const *)env.items, .cwd = root, .new_session = true};
    if (child_spawn(&spec, &in->main, &err) < 0)
        say("no boot", err.text);
}

static void begin_restart(Init *in)
{
    say("restart", "");
    in->restart_at = time_mono() + SOFT_WAIT;
    if (in->main > 0)
        (void)kill(in->main, SIGTERM);
}

static void continue_restart(Init *in)
{
    if (in->restart_at == 0 || (in->main > 0 && time_mono() < in->restart_at))
        return;
    in->restart_at = 0;
    kill_all(in);
    boot(in);
}

/* One turn. False: the power is gone. */
static bool turn(Init *in, int signals)
{
    struct pollfd polls[] = {{.fd = 0, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    struct signalfd_siginfo info;
    char command;
    (void)poll(polls, 2, in->restart_at ? 100 : -1);
    if (polls[1].revents && read(signals, &info, sizeof info) == (ssize_t)sizeof info &&
        info.ssi_signo == SIGTERM)
        return false;
    if (polls[0].revents) {
        ssize_t n = read(0, &command, 1);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        if (n == 1 && command == 'r')
            begin_restart(in);
    }
    reap(in);
    continue_restart(in);
    return true;
}

/* A pocket that was killed leaves inits that are still taking their trees down, and the next one
 * may be quicker: two lives of one server never overlap. The kernel gives the lock back. */
static bool wait_for_former_life(void)
{
    int fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return false;
    return fd >= 0;
}

/* Where its network is, everything that it starts is too. */
static bool enter_network(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool in = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
    if (fd >= 0)
        close(fd);
    return in;
}

int server_init_main(int argc, char **argv)
{
    Init in = {0};
    sigset_t set;
    if (argc < 3) {
        say("usage: --server-init ID [NETNS]", "");
        return 64;
    }
    if (argc > 3 && !enter_network(argv[3])) {
        say("no boot: its network", strerror(errno));
        return 1;
    }
    (void)umask(022);
    (void)prctl(PR_SET_NAME, "pocket-server");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    /* The console is a file that may be full: a failed line is no reason to lose a server. */
    (void)signal(SIGPIPE, SIG_IGN);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (signals < 0 || !wait_for_former_life()) {
        say("no boot", strerror(errno));
        return 1;
    }
    boot(&in);
    while (turn(&in, signals))
        ;
    kill_all(&in);
    say("power off", "");
    return 0;
}
