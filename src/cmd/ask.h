/* What `exec`, `logs`, `tootctl` and `rails` share: which servers are meant, what is asked of them,
 * and what they answer (host/ask.h).
 */
#pragma once
#include "cmd/cmd.h"
#include "host/ask.h"
#include "host/vault.h"

typedef struct AskTarget {
    const Resource *host; /* in the session's world */
    char *what;           /* Ask.what */
} AskTarget;

typedef struct AskSession {
    Cmd *c;
    World world;
    VEC(AskTarget) targets;
    const Vault *vault; /* c's */
} AskSession;

/* Looks at the island and finds who is meant by `where`: a server, a role, or (`services`) a
 * service, or "SERVER/SERVICE"; NULL: everybody. Servers that can't hear are left out with a word
 * on standard error; ERR_HEALTH with the reason if none is left, ERR_NOT_FOUND with what there is
 * for a name that nothing has. Then asks for the passphrase. `first`: the first that is healthy, or
 * else the first. */
int ask_session_open(Cmd *c, const char *where, bool services, bool first, AskSession *ret,
                     Err *err) _must_check_;
/* What is asked is of this role, also where a server has several. */
void ask_session_role(AskSession *s, const char *role);
void ask_session_close(AskSession *s);
DEFINE_CLEAR(AskSession, ask_session_close)

/* Whom the answer's parts go to. */
typedef struct AskOutput {
    /* `from`: "out", "err" or a service. False: nobody reads it any more. */
    bool (*part)(void *user, const AskTarget *t, const char *from, Str data);
    void (*end)(void *user, const AskTarget *t); /* no more of this one */
    void *user;
    int input_fd; /* ask->input: what is sent on; only of a single target */
} AskOutput;
/* Asks all targets, shows what comes, and returns when all have ended. ask->verb, argv, lines,
 * follow and limit are the caller's. *ret_status: the highest exit status, 128 + a signal's number.
 * ERR_INTERRUPTED after Ctrl-C, when the servers have been told to end it. */
int ask_session_run(AskSession *s, Ask *ask, const AskOutput *output, int *ret_status,
                    Err *err) _must_check_;

/* Runs `argv` (NULL-ended) on the targets; all that it writes is appended to *out. */
int ask_session_collect(AskSession *s, const char *const *argv, Msec limit, int *ret_status,
                        Buf *out, Err *err) _must_check_;

/* Whole lines with "web.0 worker.1 | " before them (or as JSON events), as an AskOutput. */
typedef struct AskLines AskLines;
/* `services`: its streams are services, whose names are shown; else "out" and "err", each of which
 * goes to its own place. */
AskLines *ask_lines_new(const Cmd *c, bool services);
AskOutput ask_lines_output(AskLines *l);
void ask_lines_free(AskLines *l);
