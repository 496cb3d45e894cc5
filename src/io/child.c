#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define MAX_GROUPS 256
#define LISTEN_PID "LISTEN_PID="

/* Everything the new process needs, worked out before the fork: after it, in a program with
 * threads, only async-signal-safe calls are allowed (signal-safety(7)). */
typedef struct Launch {
    const ChildSpec *spec;
    char *program;
    char *const *env;
    int fds[3];                              /* what becomes 0, 1 and 2 */
    char listen_pid[sizeof LISTEN_PID + 20]; /* one of env's; the number is known after the fork */
    int report_fd;                           /* closes by itself when exec succeeds */
    pid_t parent;
    bool drop;
    uid_t uid;
    gid_t gid;
    gid_t groups[MAX_GROUPS];
    int groups_n;
} Launch;

/* What the new process writes to the report pipe when it gives up. */
typedef struct Failure {
    const char *stage; /* the same address in both processes */
    int error;
} Failure;

static const char *spec_path(const ChildSpec *spec)
{
    if (!spec->env)
        return getenv("PATH");
    for (const char *const *e = spec->env; *e; e++)
        if (starts_with(*e, "PATH="))
            return *e + strlen("PATH=");
    return NULL;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The program's path, to be freed; NULL if it is not there. */
static char *find_program(const ChildSpec *spec)
{
    const char *name = spec->argv[0];
    if (strchr(name, '/'))
        return xstrdup(name);

    const char *path = spec_path(spec);
    Str rest = str_of(path ? path : "/usr/local/bin:/usr/bin:/bin"), part;
    while (str_next(&rest, ':', &part)) {
        char *full = xasprintf("%.*s/%s", (int)(part.n ? part.n : 1), part.n ? part.p : ".", name);
        if (is_program(full))
            return full;
        free(full);
    }
    return NULL;
}

int child_program(const ChildSpec *spec, char **ret, Err *err)
{
    char *program = find_program(spec);

    if (!program)
        return err_set(err, ERR_NOT_FOUND, "cannot start %s: not found in PATH", spec->argv[0]);
    *ret = program;
    return 0;
}

int child_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, Err *err)
{
    char text[16 << 10];
    struct passwd pw, *found = NULL;

    int e = getpwnam_r(name, &pw, text, sizeof text, &found);
    if (e != 0)
        return err_set(err, ERR_IO, "cannot look up the user %s: %s", name, strerror(e));
    if (!found)
        return err_set(err, ERR_IO, "there is no user %s on this machine", name);
    *ret_uid = pw.pw_uid;
    *ret_gid = pw.pw_gid;
    return 0;
}

static int find_user(const char *name, Launch *l, Err *err)
{
    int r = child_user(name, &l->uid, &l->gid, err);
    if (r < 0)
        return r;
    l->drop = true;
    l->groups_n = MAX_GROUPS;
    if (getgrouplist(name, l->gid, l->groups, &l->groups_n) < 0)
        return err_set(err, ERR_IO, "the user %s is in more than %d groups", name, MAX_GROUPS);
    return 0;
}

static _noreturn_ void give_up(const Launch *l, const char *stage)
{
    Failure f = {stage, errno};
    /* Nobody is left to tell if this fails: the parent then sees exit status 127. */
    if (write(l->report_fd, &f, sizeof f) < 0)
        _exit(126);
    _exit(127);
}

/* Puts the descriptors in place, whatever numbers they have (they may be each other's). */
static bool place_fds(const Launch *l)
{
    int high[3], first = l->spec->listen_fd ? 4 : 3, listens = -1;

    if (l->spec->listen_fd && (listens = fcntl(l->spec->listen_fd, F_DUPFD_CLOEXEC, 4)) < 0)
        return false;
    for (int i = 0; i < 3; i++)
        if ((high[i] = fcntl(l->fds[i], F_DUPFD_CLOEXEC, 3)) < 0)
            return false;
    for (int i = 0; i < 3; i++)
        if (dup2(high[i], i) < 0)
            return false;
    if (listens >= 0 && dup2(listens, 3) < 0)
        return false;
    if (close_range((unsigned)first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return true;
    /* A kernel before 5.11, or a sandbox without the call. */
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    for (int fd = first; fd < (int)MIN(limit.rlim_cur, (rlim_t)1 << 20); fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return true;
}

static void reset_signals(void)
{
    /* The kernel's struct sigaction, all zero: SIG_DFL. Not through libc, which refuses its own two
     * signals, though its posix_spawn (make and ninja start us with that) makes them ignored. */
    static const char dfl[64];
    sigset_t none;

    /* The kernel refuses SIGKILL and SIGSTOP: nothing to do about those. */
    for (int s = 1; s <= SIGRTMAX; s++)
        (void)syscall(SYS_rt_sigaction, s, dfl, NULL, (size_t)SIGRTMAX / 8);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What printf would do, which may not be called here. */
static void write_listen_pid(Launch *l)
{
    char digits[16], *to = l->listen_pid + strlen(LISTEN_PID);
    size_t n = 0;

    for (pid_t pid = getpid(); pid > 0; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (n > 0)
        *to++ = digits[--n];
    *to = '\0';
}

static _noreturn_ void run_child(Launch *l)
{
    const ChildSpec *spec = l->spec;

    reset_signals();
    if (spec->new_session && setsid() < 0)
        give_up(l, "starting a session");
    if (!place_fds(l))
        give_up(l, "passing descriptors");
    write_listen_pid(l);
    if (spec->no_network) {
        /* In a container root may be refused it; the restore of a backup must not fail for that. */
        (void)!unshare(CLONE_NEWNET);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            give_up(l, "giving up further rights");
    }
    if (l->drop && (setgroups((size_t)l->groups_n, l->groups) < 0 ||
                    setresgid(l->gid, l->gid, l->gid) < 0 || setresuid(l->uid, l->uid, l->uid) < 0))
        give_up(l, "becoming the user");
    if (spec->cwd && chdir(spec->cwd) < 0)
        give_up(l, "entering the folder");
    if (spec->subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        give_up(l, "becoming a subreaper");
    if (spec->die_with_parent) {
        /* After the change of user, which clears it. The parent may be gone already. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
            give_up(l, "following the parent");
        if (getppid() != l->parent)
            _exit(127);
    }
    execve(l->program, (char *const *)(uintptr_t)spec->argv, l->env);
    give_up(l, "executing it");
}

/* Reads the report; 0 when exec succeeded. */
static int read_report(int fd, const char *program, pid_t pid, Err *err)
{
    Failure f;
    ssize_t n;

    while ((n = read(fd, &f, sizeof f)) < 0 && errno == EINTR)
        ;
    if (n != sizeof f)
        return 0;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return err_set(err,
                   f.error == ENOENT && streq(f.stage, "executing it") ? ERR_NOT_FOUND : ERR_IO,
                   "cannot start %s: %s: %s", program, f.stage, strerror(f.error));
}

static int launch(Launch *l, pid_t *ret_pid, Err *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    /* Above those that it is given, in case the caller runs without them. */
    l->report_fd = fcntl(report[1], F_DUPFD_CLOEXEC, 4);
    close(report[1]);

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = l->report_fd < 0 ? -1 : fork();
    if (pid == 0)
        run_child(l);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (l->report_fd >= 0)
        close(l->report_fd);

    errno = saved;
    int r = pid < 0 ? err_set(err, ERR_IO, "cannot fork: %m")
                    : read_report(report[0], l->program, pid, err);
    close(report[0]);
    if (r == 0)
        *ret_pid = pid;
    return r;
}

/* The environment with what says which descriptor to listen on; the texts are `l`'s. */
static char **listen_env_new(Launch *l)
{
    size_t n = 0;

    while (l->env[n])
        n++;
    char **env = xcalloc(n + 3, sizeof *env);
    for (size_t i = 0; i < n; i++)
        env[i] = l->env[i];
    env[n] = (char *)(uintptr_t) "LISTEN_FDS=1";
    memcpy(l->listen_pid, LISTEN_PID, sizeof LISTEN_PID);
    env[n + 1] = l->listen_pid;
    return env;
}

int child_spawn(const ChildSpec *spec, pid_t *ret_pid, Err *err)
{
    Launch l = {
        .spec = spec,
        .env = spec->env ? (char *const *)(uintptr_t)spec->env : environ,
        .fds = {spec->in_fd, spec->out_fd ? spec->out_fd : 1, spec->err_fd ? spec->err_fd : 2},
        .parent = getpid(),
    };
    _cleanup_free_ char *program = NULL;
    _cleanup_free_ char **env = NULL;
    int r = child_program(spec, &program, err);
    if (!program)
        return r;
    l.program = program;
    if (spec->listen_fd) {
        env = listen_env_new(&l);
        l.env = env;
    }
    if (spec->user) {
        r = find_user(spec->user, &l, err);
        if (r < 0)
            return err_wrap(err, "starting %s", spec->argv[0]);
    }
    int null_fd = -1;
    if (l.fds[0] == 0) {
        l.fds[0] = null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null_fd < 0)
            return err_set(err, ERR_IO, "cannot open /dev/null: %m");
    }
    r = launch(&l, ret_pid, err);
    if (null_fd >= 0)
        close(null_fd);
    return r;
}

/* Input goes through a file in memory: no pipe to fill while output is read, no SIGPIPE. */
static int input_file(Str input, int *ret_fd, Err *err)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot make a file in memory: %m");
    for (size_t at = 0; at < input.n;) {
        ssize_t n = pwrite(fd, input.p + at, input.n - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int r = err_set(err, ERR_IO, "cannot write to a file in memory: %m");
            close(fd);
            return r;
        }
        at += (size_t)n;
    }
    *ret_fd = fd;
    return 0;
}

/* Reads what is there without waiting; false at the end of the output. */
static bool drain(int fd, Buf *out)
{
    char piece[16 << 10];

    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n > 0 && out)
            buf_add(out, piece, (size_t)n);
        if (n == 0)
            return false;
        if (n < 0 && errno != EINTR)
            return errno == EAGAIN;
    }
}

/* Waits for the process, not only for the end of its output: a daemon it left behind may hold the
 * pipe open for ever. Returns false at the deadline. */
static bool collect(pid_t pid, int fd, Msec deadline, Buf *out, int *ret_status)
{
    enum { TICK_MS = 20 };
    bool open = true;
    Msec pause = 1;

    for (;;) {
        if (open) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            if (poll(&p, 1, TICK_MS) > 0)
                open = drain(fd, out);
        } else {
            time_sleep(pause);
            pause = MIN(2 * pause, (Msec)TICK_MS);
        }
        pid_t done = waitpid(pid, ret_status, WNOHANG);
        if (done == pid) {
            if (open)
                (void)drain(fd, out);
            return true;
        }
        if (time_mono() >= deadline)
            return false;
    }
}

int child_run(const ChildSpec *spec, Str input, Msec timeout_ms, Buf *out, int *ret_status,
              Err *err)
{
    ChildSpec s = *spec;
    int in = -1, pipe_fds[2];
    Msec deadline = time_mono() + timeout_ms;

    if (input.n > 0) {
        int r = input_file(input, &in, err);
        if (r < 0)
            return r;
        s.in_fd = in;
    }
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        int r = err_set(err, ERR_IO, "cannot make a pipe: %m");
        if (in >= 0)
            close(in);
        return r;
    }
    (void)fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    s.out_fd = s.err_fd = pipe_fds[1];
    pid_t pid = -1;
    int r = child_spawn(&s, &pid, err);
    close(pipe_fds[1]);
    if (in >= 0)
        close(in);
    if (r == 0 && !collect(pid, pipe_fds[0], deadline, out, ret_status)) {
        char span[TIME_TEXT_MAX];
        child_kill_tree(pid);
        while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
            ;
        r = err_set(err, ERR_TEMPORARY, "%s did not end within %s", spec->argv[0],
                    time_span(timeout_ms, span));
    }
    close(pipe_fds[0]);
    return r;
}

const char *child_status_text(int status, char out[static 64])
{
    if (WIFEXITED(status))
        snprintf(out, 64, "exit status %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        snprintf(out, 64, "killed by signal %d (%.32s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, 64, "wait status %#x", (unsigned)status);
    return out;
}

void child_notify(const char *state)
{
    /* Without a service manager, or with one that went away, there is nobody to tell. */
    (void)sd_notify(0, state);
}
