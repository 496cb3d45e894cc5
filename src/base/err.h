/* What went wrong, once, in words for a person.
 *
 * A function that can fail returns 0 or a negative ErrKind and takes an `Err *` as its last
 * argument. The error is set once, where it is noticed (err_set), and may be wrapped on the way up
 * (err_wrap: "creating server reef-web-0: <what was there>"). At most one hint: the next command
 * to type or the thing to change. Only a verb or a daemon's loop prints an error (style.md 5).
 *
 *     static int open_it(const char *path, Err *err)
 *     {
 *         if (...) return err_set(err, ERR_IO, "cannot open %s: %m", path);
 *         ...
 *     }
 *     if (open_it(p, err) < 0) return err_wrap(err, "reading the key");
 *
 * Ownership: Err owns its strings; `_cleanup_(err_clear) Err err = {0};` at the edge. A NULL `err`
 * is allowed and drops the words. Thread: an Err belongs to one thread at a time.
 */
#pragma once
#include "base/util.h"

typedef enum ErrKind {
    ERR_NONE = 0,
    ERR_USAGE,       /* the command line is wrong */
    ERR_CONFIG,      /* a file of the user's is wrong: island file, clouds.yaml, key file */
    ERR_AUTH,        /* login refused */
    ERR_DENIED,      /* logged in, but not allowed */
    ERR_NOT_FOUND,   /* the thing is not there */
    ERR_CONFLICT,    /* the service says: not now, or already there */
    ERR_QUOTA,       /* a quota or limit is used up; never retried */
    ERR_TEMPORARY,   /* may go through later: network, 429, 503; retried within a budget */
    ERR_CORRUPT,     /* data is not what its hash, signature or format says */
    ERR_IO,          /* a file, a socket, a child process of this machine */
    ERR_INTERRUPTED, /* the person pressed Ctrl-C */
    ERR_BUG,         /* ours */
    ERR_PARTIAL,     /* partly done, safe to rerun */
    ERR_HELD,        /* another run holds the island's lease */
    ERR_CHANGED,     /* the world is no longer what the plan said */
    ERR_AMBIGUOUS,   /* which object is ours can't be told; a person has to look */
    ERR_PREFLIGHT,   /* a need that can be known before the first write is not met */
    ERR_HEALTH,      /* what was brought up does not answer as it should */
    ERR_KINDS
} ErrKind;

/* One row a kind: this table is also what the man page's EXIT STATUS and retries come from. */
typedef struct ErrRow {
    const char *name;     /* "temporary" */
    int exit_code;        /* doc/design.md, "The command line" */
    bool retry;           /* may be tried again within a budget */
    const char *sentence; /* for the man page */
} ErrRow;

typedef struct Err {
    ErrKind kind;
    char *text;       /* without a final full stop */
    char *hint;       /* or NULL */
    char *request_id; /* the cloud's, or NULL */
} Err;

/* Sets *err (dropping what was there) and returns -kind. `%m` works. */
int err_set(Err *err, ErrKind kind, const char *format, ...) _printf_(3, 4);
/* Puts "<format>: " before the text; keeps kind, hint and request id; returns -kind. */
int err_wrap(Err *err, const char *format, ...) _printf_(2, 3);
/* Adds the hint if there is none yet: the innermost knows best. Returns -kind. */
int err_hint(Err *err, const char *format, ...) _printf_(2, 3);
/* Keeps the cloud's request id. Copies. */
void err_request_id(Err *err, const char *id);
/* Moves `from` to `to` (which is dropped first); returns -kind. */
int err_move(Err *to, Err *from);
/* Frees the strings and sets the kind to ERR_NONE. Takes NULL. */
void err_clear(Err *err);
/* The row of a kind; never NULL. */
const ErrRow *err_row(ErrKind kind);
/* The exit code for a return value of ours: 0 for 0, the row's for a negative kind. */
int err_exit_code(int r);

DEFINE_CLEAR(Err, err_clear)
