/* The programs of one ask (host/ask_run.h): how they are started, their pipes, their end.
 *
 * A command is one program with two streams of output; logs are a program and a stream for each
 * service. Owned by its run. Nothing waits but programs_await, and the killing for at most half a
 * second for each process.
 */
#pragma once
#include "host/ask.h"
#include "host/service.h"

#define PROGRAM_STREAMS 32

/* One stream of output; `pid` is its program's, of which there may be two streams. */
typedef struct Source {
    char *name;
    int fd; /* -1: at its end */
    pid_t pid;
} Source;

typedef struct Programs {
    const char *id; /* of the ask; borrowed: the mark of what they start */
    Source sources[PROGRAM_STREAMS];
    size_t n_sources;
    Chunk out;                  /* what was read and is not sent yet */
    int64_t out_bytes, out_max; /* 0: no limit; what is behind it is read and dropped */
    bool cut;                   /* something was */
    int in_fd;                  /* -1: no input, or no more */
    Buf in;                     /* what is not written there yet */
    bool eof;
    int64_t in_bytes; /* passed on, or dropped because nobody reads it */
    int status;       /* of the first program */
} Programs;

void programs_clear(Programs *r);
/* Starts the command of a service as this user (NULL: as it is), without waiting. */
int programs_exec(Programs *r, const Service *s, const char *user, bool input,
                  Err *err) _must_check_;
/* Starts what shows the log of a service. */
int programs_log(Programs *r, const char *service, const StrList *argv, Err *err) _must_check_;
/* To all of them, and their groups; SIGKILL also to everything that they started. */
void programs_signal(Programs *r, int sig);
/* True when all have ended; what they left running is killed then. */
bool programs_reap(Programs *r);
/* Waits for what was killed. */
void programs_await(Programs *r);
/* Some stream has not come to its end. */
bool programs_open(const Programs *r);
/* Reads into `out` until that is a full chunk, or so much was dropped. False if there is nothing
 * more now. */
bool programs_read(Programs *r);
/* More input; false if it is more than may be on its way. */
bool programs_input(Programs *r, Str data, bool eof);
/* Writes what of it is taken now. */
void programs_pass_input(Programs *r);
