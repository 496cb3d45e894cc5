#include "io/child.h"
#include "io/file.h"
#include "io/httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SH(script) ((const char *const[]){"sh", "-c", script, NULL})
#define SPEC(...) (&(ChildSpec){.argv = __VA_ARGS__})

/* Runs a shell script and compares its output and status. */
static void assert_run(const ChildSpec *spec, const char *input, const char *output, int status)
{
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    int got = -1;
    if (child_run(spec, str_of(input), 10 * SECOND, &out, &got, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(out.p, output);
    assert_int_equal(WEXITSTATUS(got), status);
}

static bool wait_gone(pid_t pid)
{
    for (Msec end = time_mono() + 5 * SECOND; time_mono() < end; time_sleep(5))
        if (!child_alive(pid, 0))
            return true;
    return false;
}

static void test_run(void **state)
{
    (void)state;
    assert_run(SPEC(SH("echo out; echo err >&2; exit 3")), "", "out\nerr\n", 3);
    assert_run(SPEC(SH("cat")), "given", "given", 0);
    /* Without input there is an end of file, not the terminal. */
    assert_run(SPEC(SH("cat")), NULL, "", 0);
    assert_run(&(ChildSpec){.argv = SH("echo $A$B; pwd"),
                            .env = (const char *const[]){"A=1", "PATH=/usr/bin:/bin", NULL},
                            .cwd = "/"},
               "", "1\n/\n", 0);
}

static void test_run_much(void **state)
{
    (void)state;
    size_t n = 3 << 20;
    char *big = xcalloc(n + 1, 1);
    memset(big, 'x', n);
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_BODY), small = BUF_INIT(100);
    _cleanup_(err_clear) Err err = {0};
    int status;

    assert_int_equal(child_run(SPEC(SH("cat")), (Str){big, n}, 20 * SECOND, &out, &status, &err),
                     0);
    assert_int_equal(out.len, n);
    assert_int_equal(child_run(SPEC(SH("cat")), (Str){big, n}, 20 * SECOND, &small, &status, &err),
                     0);
    assert_int_equal(status, 0);
    assert_true(small.overflow);
    assert_int_equal(child_run(SPEC(SH("cat")), (Str){big, n}, 20 * SECOND, NULL, &status, &err),
                     0);
    assert_int_equal(status, 0);
    free(big);
}

static void test_run_timeout(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    int status;

    /* The grandchild has to go too. */
    assert_int_equal(
        child_run(SPEC(SH("sleep 600 & echo $!; wait")), STR_LIT(""), 300, &out, &status, &err),
        -ERR_TEMPORARY);
    assert_non_null(strstr(err.text, "did not end within"));
    int64_t pid;
    *strchr(out.p, '\n') = '\0';
    assert_true(parse_int(out.p, 2, INT32_MAX, &pid));
    assert_true(wait_gone((pid_t)pid));
}

/* A daemon that keeps the output open must not keep us. */
static void test_run_daemon(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    int status;
    Msec start = time_mono();

    assert_int_equal(
        child_run(SPEC(SH("sleep 60 & echo $!")), STR_LIT(""), 30 * SECOND, &out, &status, &err),
        0);
    assert_true(time_mono() - start < 20 * SECOND);
    int64_t pid;
    *strchr(out.p, '\n') = '\0';
    assert_true(parse_int(out.p, 2, INT32_MAX, &pid));
    child_kill_tree((pid_t)pid);
}

static void test_not_there(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err err = {0};
    char folder[] = "/tmp/atoll-child.XXXXXX";
    assert_non_null(mkdtemp(folder));
    _cleanup_free_ char *script = path_join(folder, "script"), *text = path_join(folder, "text");
    assert_int_equal(file_write(script, STR_LIT("#!/nonexistent/sh\n"), 0755, &err), 0);
    assert_int_equal(file_write(text, STR_LIT("hello"), 0644, &err), 0);
    const struct {
        const char *program;
        const char *path;
        int kind;
    } table[] = {
        {"atoll-no-such-program", "PATH=/usr/bin:/bin", ERR_NOT_FOUND},
        {"sh", "PATH=/nonexistent", ERR_NOT_FOUND},
        {"/nonexistent/program", "PATH=/bin", ERR_NOT_FOUND},
        {script, "PATH=/bin", ERR_NOT_FOUND},
        {text, "PATH=/bin", ERR_IO},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        pid_t pid = -1;
        const char *const argv[] = {table[i].program, NULL}, *const env[] = {table[i].path, NULL};
        assert_int_equal(child_spawn(&(ChildSpec){.argv = argv, .env = env}, &pid, &err),
                         -table[i].kind);
        assert_int_equal(pid, -1);
        assert_non_null(strstr(err.text, table[i].program));
    }
    pid_t pid = -1;
    assert_int_equal(child_spawn(&(ChildSpec){.argv = SH(":"), .cwd = "/nonexistent"}, &pid, &err),
                     -ERR_IO);
    assert_int_equal(child_spawn(&(ChildSpec){.argv = SH(":"), .user = "no-such-user"}, &pid, &err),
                     -ERR_IO);
    /* No zombie is left of those that failed after the fork. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(file_remove_tree(folder, &err), 0);
}

/* Only 0, 1 and 2 reach the program, also where the caller forgot close-on-exec. */
static void test_descriptors(void **state)
{
    (void)state;
    int leak = fcntl(0, F_DUPFD, 100);
    assert_true(leak >= 100);
    assert_run(SPEC(SH("ls /proc/$$/fd; :")), "", "0\n1\n2\n", 0);
    close(leak);
}

/* Output and error may be given as each other. */
static void test_listen(void **state)
{
    (void)state;
    int fd, port;
    static const char script[] = "test $LISTEN_PID = $$ && readlink /proc/$$/fd/3 | head -c 7; "
                                 "echo \" $LISTEN_FDS $A\"; test -e /proc/$$/fd/4; echo $?";
    static const char *const env[] = {"A=1", "PATH=/usr/bin:/bin", NULL};

    assert_int_equal(httpd_listen("127.0.0.1", 0, &fd, &port, NULL), 0);
    for (int high = 0; high < 2; high++) {
        assert_run(&(ChildSpec){.argv = SH(script), .env = env, .listen_fd = fd}, "",
                   "socket: 1 1\n1\n", 0);
        int other = fcntl(fd, F_DUPFD_CLOEXEC, 20);
        assert_true(other >= 20);
        close(fd);
        fd = other;
    }
    close(fd);
}

static void test_swapped(void **state)
{
    (void)state;
    int out[2], err_pipe[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err_pipe, O_CLOEXEC), 0);
    int keep1 = fcntl(1, F_DUPFD_CLOEXEC, 3), keep2 = fcntl(2, F_DUPFD_CLOEXEC, 3);
    dup2(out[1], 1);
    dup2(err_pipe[1], 2);
    pid_t pid;
    int r = child_spawn(
        &(ChildSpec){.argv = SH("echo out; echo err >&2"), .out_fd = 2, .err_fd = 1}, &pid, NULL);
    dup2(keep1, 1);
    dup2(keep2, 2);
    close(keep1);
    close(keep2);
    assert_int_equal(r, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    char a[8] = "", b[8] = "";
    assert_int_equal(read(out[0], a, 7), 4);
    assert_int_equal(read(err_pipe[0], b, 7), 4);
    assert_string_equal(a, "err\n");
    assert_string_equal(b, "out\n");
    for (int i = 0; i < 2; i++) {
        close(out[i]);
        close(err_pipe[i]);
    }
}

static void ignore(int s)
{
    (void)s;
}

/* Neither ignored, handled nor blocked signals are handed down. */
static void test_signals(void **state)
{
    (void)state;
    struct sigaction old_pipe, old_usr1, ign = {.sa_handler = SIG_IGN},
                                         act = {.sa_handler = ignore};
    sigset_t term, before;
    /* One of libc's own, which sigaction() refuses, as posix_spawn leaves it: the kernel's struct
     * begins with the handler. */
    const uintptr_t libc_ign[8] = {(uintptr_t)SIG_IGN}, libc_dfl[8] = {0};
    assert_int_equal(syscall(SYS_rt_sigaction, SIGRTMIN - 1, libc_ign, NULL, 8), 0);
    sigaction(SIGPIPE, &ign, &old_pipe);
    sigaction(SIGUSR1, &act, &old_usr1);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    assert_run(SPEC(SH("exec sed -n '/^Sig[BIC]/p' /proc/self/status")), "",
               "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n",
               0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGPIPE, &old_pipe, NULL);
    sigaction(SIGUSR1, &old_usr1, NULL);
    assert_int_equal(syscall(SYS_rt_sigaction, SIGRTMIN - 1, libc_dfl, NULL, 8), 0);
}

static void test_user(void **state)
{
    (void)state;
    struct passwd *pw = getpwnam("nobody");
    if (getuid() != 0 || !pw)
        skip();
    char expected[64];
    snprintf(expected, sizeof expected, "%u %u %u\n", pw->pw_uid, pw->pw_gid, pw->pw_gid);
    assert_run(&(ChildSpec){.argv = SH("echo $(id -u) $(id -g) $(id -G)"), .user = "nobody"}, "",
               expected, 0);
}

static void test_session(void **state)
{
    (void)state;
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    int status;
    /* Field 6 of stat is the session. */
    assert_int_equal(
        child_run(&(ChildSpec){.argv = SH("cut -d' ' -f1,6 /proc/$$/stat"), .new_session = true},
                  STR_LIT(""), 10 * SECOND, &out, &status, NULL),
        0);
    char *space = strchr(out.p, ' ');
    assert_non_null(space);
    *space = '\0';
    out.p[strcspn(space + 1, "\n") + (size_t)(space + 1 - out.p)] = '\0';
    assert_string_equal(out.p, space + 1);
}

static void test_die_with_parent(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t middle = fork();
    if (middle == 0) {
        pid_t pid = 0;
        int r = child_spawn(&(ChildSpec){.argv = (const char *const[]){"sleep", "600", NULL},
                                         .die_with_parent = true},
                            &pid, NULL);
        if (r < 0 || write(pipe_fds[1], &pid, sizeof pid) < 0)
            _exit(1);
        _exit(0);
    }
    pid_t pid;
    assert_int_equal(read(pipe_fds[0], &pid, sizeof pid), sizeof pid);
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    assert_true(wait_gone(pid));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* An orphan becomes the child of the subreaper above it, not of init. */
static void test_subreaper(void **state)
{
    (void)state;
    assert_run(&(ChildSpec){.argv = SH("me=$$; p=$( (sleep 30 >/dev/null & echo $!) ); "
                                       "[ \"$(cut -d' ' -f4 /proc/$p/stat)\" = $me ] && echo mine; "
                                       "kill $p"),
                            .subreaper = true},
               "", "mine\n", 0);
}

static void test_kill_tree(void **state)
{
    (void)state;
    _cleanup_(err_clear) Err err = {0};
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t pid;
    /* Three generations, one of which traps every signal it can, in a group of its own. */
    assert_int_equal(
        child_spawn(&(ChildSpec){.argv = SH("sh -c \"trap '' TERM HUP INT; sleep 600 & echo up; "
                                            "while :; do sleep 1; done\" & "
                                            "setsid sleep 600 & wait"),
                                 .out_fd = pipe_fds[1]},
                    &pid, &err),
        0);
    close(pipe_fds[1]);
    char up[3];
    assert_int_equal(read(pipe_fds[0], up, 3), 3);
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = 0;
    for (Msec end = time_mono() + 5 * SECOND; n < 4 && time_mono() < end; time_sleep(5)) {
        free(pids);
        n = child_descendants(pid, &pids);
    }
    assert_true(n >= 4);
    int64_t ticks = child_start_ticks(pid);
    assert_true(ticks > 0);
    assert_true(child_alive(pid, ticks));
    assert_true(child_alive(pid, 0));
    assert_false(child_alive(pid, ticks + 1));

    child_kill_tree(pid);
    /* A zombie is not alive. */
    assert_true(wait_gone(pid));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(child_start_ticks(pid), 0);
    for (size_t i = 0; i < n; i++)
        assert_true(wait_gone(pids[i]));
    /* The pipe has no writer left: end of file. */
    char rest[64];
    assert_int_equal(read(pipe_fds[0], rest, sizeof rest), 0);
    close(pipe_fds[0]);
    assert_false(child_alive(0, 0));
    assert_false(child_alive(-1, 0));
}

static void test_status_text(void **state)
{
    (void)state;
    char text[64];
    assert_string_equal(child_status_text(3 << 8, text), "exit status 3");
    assert_string_equal(child_status_text(9, text), "killed by signal 9 (Killed)");
}

static void test_notify(void **state)
{
    (void)state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/atoll-notify.XXXXXX", got[32] = "";
    assert_non_null(mkdtemp(folder));
    snprintf(a.sun_path, sizeof a.sun_path, "%s/s", folder);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);

    unsetenv("NOTIFY_SOCKET");
    child_notify("READY=1");
    assert_int_equal(recv(fd, got, sizeof got - 1, 0), -1);
    setenv("NOTIFY_SOCKET", a.sun_path, 1);
    child_notify("READY=1");
    assert_int_equal(recv(fd, got, sizeof got - 1, 0), 7);
    assert_string_equal(got, "READY=1");
    unsetenv("NOTIFY_SOCKET");
    close(fd);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

/* Sees no network but its own, which has nothing up; and can't gain rights. */
static void without_network(void **state)
{
    (void)state;
    const char *const argv[] = {"sh", "-c",
                                "grep NoNewPrivs /proc/self/status; ls /sys/class/net; "
                                "readlink /proc/self/ns/net",
                                NULL};
    _cleanup_(buf_clear) Buf out = BUF_INIT(BUF_MAX_LINE);
    char own[64] = "";
    int status = -1;

    assert_true(readlink("/proc/self/ns/net", own, sizeof own - 1) > 0);
    assert_int_equal(child_run(&(ChildSpec){.argv = argv, .no_network = true}, (Str){0}, 10000,
                               &out, &status, NULL),
                     0);
    assert_int_equal(status, 0);
    assert_non_null(strstr(out.p, "NoNewPrivs:\t1"));
    if (geteuid() == 0 && unshare(0) == 0 && !strstr(out.p, own))
        return;
    /* Where it may not, it is as it was. */
    assert_non_null(strstr(out.p, own));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_network),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_run_much),
        cmocka_unit_test(test_run_timeout),
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_run_daemon),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_swapped),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_die_with_parent),
        cmocka_unit_test(test_subreaper),
        cmocka_unit_test(test_kill_tree),
        cmocka_unit_test(test_status_text),
        cmocka_unit_test(test_notify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
