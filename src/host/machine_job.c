#include "host/machine_job.h"
#include "io/child.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILURE_MAX ((size_t)300) /* bytes of its words */
#define SYSTEM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int memory_file(Str content, int *ret_fd, Err *err)
{
    int fd = memfd_create("atoll-job", MFD_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot make a file in memory: %m");
    if (content.n > 0 && pwrite(fd, content.p, content.n, 0) != (ssize_t)content.n) {
        int r = err_set(err, ERR_IO, "cannot write to a file in memory: %m");
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int job_begin(Job *j, const char *path, const char *const *argv, Str input, Msec now, Err *err)
{
    _cleanup_free_ char *path_env = xasprintf("PATH=%s", path ? path : SYSTEM_PATH);
    const char *const env[] = {path_env,
                               "HOME=/",
                               "LC_ALL=C",
                               "DEBIAN_FRONTEND=noninteractive",
                               "APT_LISTCHANGES_FRONTEND=none",
                               "NEEDRESTART_SUSPEND=1", /* it would restart the agent */
                               NULL};
    int in = 0, out = -1;

    int r = memory_file((Str){0}, &out, err);
    if (r == 0 && input.n > 0)
        r = memory_file(input, &in, err);
    if (r == 0)
        r = child_spawn(&(ChildSpec){.argv = argv,
                                     .env = env,
                                     .cwd = "/",
                                     .in_fd = in,
                                     .out_fd = out,
                                     .err_fd = out,
                                     .new_session = true},
                        &j->pid, err);
    if (in > 0)
        close(in);
    if (r < 0 && out >= 0)
        close(out);
    if (r == 0) {
        j->out = out;
        j->started = now;
    }
    return r;
}

/* True when it has ended; after JOB_LIMIT it is made to. The output is appended to *out. */
bool job_end(Job *j, Msec now, int *ret_status, Buf *out)
{
    char piece[4096];
    ssize_t n;
    off_t at = 0;

    if (now - j->started > JOB_LIMIT)
        child_kill_tree(j->pid);
    pid_t done = waitpid(j->pid, ret_status, WNOHANG);
    if (done == 0 || (done < 0 && errno == EINTR))
        return false;
    if (done < 0)
        *ret_status = -1;
    while ((n = pread(j->out, piece, sizeof piece, at)) > 0) {
        buf_add(out, piece, (size_t)n);
        at += n;
    }
    close(j->out);
    *j = (Job){0};
    return true;
}

/* The line of what a program printed that says best why it failed: the first that begins like a
 * failure, or else the last. */
static Str failure_line(const Buf *out)
{
    static const char *const marks[] = {"W: Failed to fetch ", "E: ", "dpkg: error",
                                        "Error: ", "Failed to "};
    Str rest = buf_as_str(out), line, last = {"", 0};

    while (str_next(&rest, '\n', &line)) {
        line = str_trim(line);
        if (line.n > 0)
            last = line;
        for (size_t i = 0; i < ARRAY_LEN(marks); i++)
            if (line.n > strlen(marks[i]) && memcmp(line.p, marks[i], strlen(marks[i])) == 0)
                return line;
    }
    return last;
}

int job_failed(const char *doing, int status, const Buf *out, Err *err)
{
    char text[64];
    Str line = failure_line(out);

    if (line.n == 0)
        line = str_of(child_status_text(status, text));
    return err_set(err, ERR_TEMPORARY, "%s: %.*s", doing, (int)MIN(line.n, FAILURE_MAX), line.p);
}

void job_wait(const Job *j, Msec most_ms)
{
    int fd = pidfd_open(j->pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    (void)poll(&p, 1, (int)MAX(most_ms, (Msec)0)); /* an interrupted wait is a short one */
    if (fd >= 0)
        close(fd);
}

void job_drop(Job *j)
{
    if (j->pid)
        close(j->out);
    *j = (Job){0};
}
