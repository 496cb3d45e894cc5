/* Processes of this machine. Everything is started with an argv (never a shell) and an explicit
 * environment. No secret belongs into argv: /proc shows it to everyone.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"
#include <sys/types.h>

typedef struct ChildSpec {
    const char *const *argv;   /* NULL-ended; argv[0] is looked up in the spec's PATH */
    const char *const *env;    /* NULL-ended "NAME=value"; NULL: the parent's */
    const char *cwd;           /* NULL: the parent's */
    const char *user;          /* drop to this user and its groups; NULL: stay. Needs root */
    int in_fd, out_fd, err_fd; /* 0: /dev/null for in, inherited for out and err */
    /* A listening socket that it is to serve on, borrowed: it becomes its descriptor 3, and
     * LISTEN_FDS and LISTEN_PID are added to its environment (sd_listen_fds(3)). 0: none. */
    int listen_fd;
    bool new_session;     /* setsid */
    bool die_with_parent; /* SIGKILL when the parent's thread ends (PR_SET_PDEATHSIG) */
    bool subreaper;       /* orphans below it become its children */
    bool no_network; /* it is not trusted: a network namespace of its own (as root, where the kernel
                        lets us; else it is as it was), and no rights by set-user-id */
} ChildSpec;

/* ERR_NOT_FOUND if the program is not there, ERR_IO otherwise; exec's own failure is reported
 * here, not by an exit status. */
int child_spawn(const ChildSpec *spec, pid_t *ret_pid, Err *err) _must_check_;
/* Where child_spawn would find argv[0], to be freed. ERR_NOT_FOUND. */
int child_program(const ChildSpec *spec, char **ret, Err *err) _must_check_;
/* The user and main group of that name: ERR_IO if there is none. */
int child_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, Err *err) _must_check_;
/* Runs it to its end with the given standard input; collects both outputs into *out (NULL: drop).
 * After timeout_ms it is killed with its descendants: ERR_TEMPORARY. *ret_status as from waitpid.
 */
int child_run(const ChildSpec *spec, Str input, Msec timeout_ms, Buf *out, int *ret_status,
              Err *err) _must_check_;
/* "exit status 3", "killed by signal 9 (Killed)". Returns `out`. */
const char *child_status_text(int status, char out[static 64]);
/* True if the process exists and started at `start_ticks` (0: any). */
bool child_alive(pid_t pid, int64_t start_ticks);
/* Field 22 of /proc/PID/stat: with the pid it names a process for ever; 0 if it is gone. */
int64_t child_start_ticks(pid_t pid);
/* Kills a process and all its descendants with SIGKILL, stopping them first so that none escapes
 * by forking: a power cut. Does not reap those that are not the caller's children. */
void child_kill_tree(pid_t root);
/* Pids of all descendants, nearest first; to be freed by the caller. */
size_t child_descendants(pid_t root, pid_t **ret_pids);
/* Tells systemd (READY=1, STOPPING=1, STATUS=...); without it a no-op. */
void child_notify(const char *state);
