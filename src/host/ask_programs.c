#include "host/ask_programs.h"
#include "host/marked.h"
#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20) /* so much is written between two turns at most */
#define PIECE ((size_t)32 << 10)

void programs_clear(Programs *r)
{
    for (size_t i = 0; i < r->n_sources; i++) {
        free(r->sources[i].name);
        if (r->sources[i].fd >= 0)
            close(r->sources[i].fd);
    }
    if (r->in_fd >= 0)
        close(r->in_fd);
    buf_wipe(&r->in);
    chunk_clear(&r->out);
}

/* A pipe whose reading end is source `name`; *ret_fd is the other end. */
static int add_source(Programs *r, const char *name, int *ret_fd, Err *err)
{
    int fds[2];

    BUG_IF(r->n_sources == PROGRAM_STREAMS);
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    /* Where a user has used up what pipes may hold it stays at 64 KiB: slower, no less right. */
    (void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES);
    r->sources[r->n_sources++] = (Source){.name = xstrdup(name), .fd = fds[0]};
    *ret_fd = fds[1];
    return 0;
}

/* A pipe to its input, if it is to have one; *ret_fd is the reading end. */
static int add_input(Programs *r, bool input, int *ret_fd, Err *err)
{
    int fds[2];

    if (!input)
        return 0;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, ERR_IO, "cannot make a pipe: %m");
    (void)fcntl(fds[1], F_SETFL, O_NONBLOCK);
    *ret_fd = fds[0];
    r->in_fd = fds[1];
    r->in = BUF_INIT(ASK_INPUT_AHEAD + ASK_INPUT_BYTES);
    return 0;
}

/* Starts it with two pipes, which become its sources, and maybe one for its input. */
int programs_exec(Programs *r, const Service *s, const char *user, bool input, Err *err)
{
    int in = 0, out = -1, errors = -1;
    pid_t pid = 0;

    int e = add_input(r, input, &in, err);
    if (e == 0)
        e = add_source(r, "out", &out, err);
    if (e == 0)
        e = add_source(r, "err", &errors, err);
    if (e == 0)
        e = child_spawn(&(ChildSpec){.argv = (const char *const *)s->argv.items,
                                     .env = (const char *const *)s->env.items,
                                     .cwd = s->cwd,
                                     .user = user,
                                     .in_fd = in,
                                     .out_fd = out,
                                     .err_fd = errors,
                                     .new_session = true,
                                     .die_with_parent = true},
                        &pid, err);
    if (in > 0)
        close(in);
    if (out >= 0)
        close(out);
    if (errors >= 0)
        close(errors);
    if (e == 0)
        r->sources[0].pid = r->sources[1].pid = pid;
    return e;
}

int programs_log(Programs *r, const char *service, const StrList *argv, Err *err)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", NULL};
    int out = -1, null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (null_fd < 0)
        return err_set(err, ERR_IO, "cannot open /dev/null: %m");
    int e = add_source(r, service, &out, err);
    if (e == 0)
        e = child_spawn(
            &(ChildSpec){.argv = (const char *const *)argv->items,
                         .env = env,
                         .cwd = "/",
                         .out_fd = out,
                         /* Its own words: a log that was turned over, or is not there. */
                         .err_fd = null_fd,
                         .new_session = true,
                         .die_with_parent = true},
            &r->sources[r->n_sources - 1].pid, err);
    if (out >= 0)
        close(out);
    close(null_fd);
    return e;
}

/* Signals all programs */
void programs_signal(Programs *r, int sig)
{
    for (size_t i = 0; i < r->n_sources; i++) {
        pid_t pid = r->sources[i].pid;
        if (pid <= 0 || (i > 0 && pid == r->sources[i - 1].pid))
            continue;
        if (sig == SIGKILL)
            child_kill_tree(pid);
        (void)kill(-pid, sig);
    }
    if (sig == SIGKILL)
        marked_kill(r->id);
}

bool programs_open(const Programs *r)
{
    for (size_t i = 0; i < r->n_sources; i++)
        if (r->sources[i].fd >= 0)
            return true;
    return false;
}

void programs_await(Programs *r)
{
    for (size_t i = 0; i < r->n_sources; i++) {
        pid_t pid = r->sources[i].pid;
        if (pid <= 0 || (i > 0 && pid == r->sources[i - 1].pid))
            continue;
        while (waitpid(pid, i == 0 ? &r->status : NULL, 0) < 0 && errno == EINTR)
            ;
    }
}

bool programs_reap(Programs *r)
{
    bool alive = false;

    for (size_t i = 0; i < r->n_sources; i++) {
        Source *s = &r->sources[i];
        int status;

        if (s->pid > 0) {
            pid_t pid = s->pid, got = waitpid(pid, &status, WNOHANG);
            if (got == pid && i == 0)
                r->status = status;
            for (size_t k = i; got != 0 && k < r->n_sources; k++)
                if (r->sources[k].pid == pid)
                    r->sources[k].pid = -1;
            if (got != 0)
                (void)kill(-pid, SIGKILL);
        }
        alive = alive || s->pid > 0;
    }
    if (!alive)
        marked_kill(r->id);
    return !alive;
}

/* Reads at most so many bytes; how many, or 0 if there is nothing now. */
static size_t read_source(Programs *r, Source *s, size_t max)
{
    char piece[PIECE];

    if (s->fd < 0)
        return 0;
    ssize_t n = read(s->fd, piece, MIN(sizeof piece, max));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        close(s->fd);
        s->fd = -1;
        return 0;
    }
    size_t keep = (size_t)n;
    if (r->out_max > 0)
        keep = (size_t)MIN((int64_t)n, r->out_max - r->out_bytes);
    r->cut = r->cut || keep < (size_t)n;
    r->out_bytes += (int64_t)keep;
    if (keep > 0)
        chunk_add(&r->out, s->name, (Str){piece, keep});
    return (size_t)n;
}

bool programs_read(Programs *r)
{
    size_t room = ANSWER_CHUNK_BYTES - r->out.bytes.len, before = room + 1;

    while (room > 0 && room < before) {
        before = room;
        for (size_t i = 0; i < r->n_sources && room > 0; i++)
            room -= read_source(r, &r->sources[i], room);
    }
    return room == 0;
}

bool programs_input(Programs *r, Str data, bool eof)
{
    if (r->in_fd < 0) { /* it has closed it */
        r->in_bytes += (int64_t)data.n;
        return true;
    }
    buf_add(&r->in, data.p, data.n);
    r->eof = r->eof || eof;
    return !r->in.overflow;
}

void programs_pass_input(Programs *r)
{
    while (r->in_fd >= 0 && r->in.len > 0) {
        ssize_t n = write(r->in_fd, r->in.p, r->in.len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        /* It does not read on: the rest goes nowhere, as at the end of any pipe. */
        if (n < 0)
            r->eof = true;
        size_t done = n < 0 ? r->in.len : (size_t)n;
        r->in_bytes += (int64_t)done;
        buf_cut(&r->in, done);
    }
    if (r->in_fd >= 0 && r->eof) {
        close(r->in_fd);
        r->in_fd = -1;
    }
}
