/* A verb with --every: it stays, and does its work whenever the last time is too long ago. What
 * fails is tried again after 5 minutes (or the span, if that is shorter), since work that is late
 * is better than a service that has given up; what found something (ERR_CORRUPT) has been done.
 * Failures are logged. Ends at a signal: 0.
 */
#pragma once
#include "cmd/cmd.h"

typedef struct CmdEvery {
    const char *word; /* for the log: "backup base" */
    Msec every_ms;
    Msec last;        /* when it was done last; 0: never, or not known: it is due */
    const char *path; /* a file that remembers it instead (and may be lost); or NULL */
    int (*work)(Cmd *c, Err *err);
} CmdEvery;
int cmd_every(Cmd *c, const CmdEvery *e, Err *err) _must_check_;
