/* A program of the system that runs while the agent goes on: apt-get, nft, systemctl.
 *
 * What it prints goes to a file in memory, so that nobody has to read it meanwhile. It is in a
 * session of its own, and is not killed when the agent ends.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

typedef struct Job {
    pid_t pid; /* 0: none */
    int out;
    Msec started;
} Job;
#define JOB_LIMIT (30 * MINUTE) /* then it is killed */
#define JOB_OUTPUT_MAX ((size_t)4 << 20)

/* `path`: as in $PATH; NULL: the system's. `input` (may be empty) is its standard input. It runs in
 * /, in English, and apt and its like ask it nothing. */
int job_begin(Job *j, const char *path, const char *const *argv, Str input, Msec now,
              Err *err) _must_check_;
/* Returns when it has ended, or after so long. */
void job_wait(const Job *j, Msec most_ms);
/* True when it has ended: *ret_status as from waitpid (-1: somebody else has reaped it), what it
 * printed is appended to *out, and *j is none. */
bool job_end(Job *j, Msec now, int *ret_status, Buf *out) _must_check_;
/* ERR_TEMPORARY: "<doing>: <the line of its output that says best why it failed, or its status>".
 */
int job_failed(const char *doing, int status, const Buf *out, Err *err);
/* Forgets it; it runs on. */
void job_drop(Job *j);
