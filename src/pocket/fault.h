/* Faults on demand: rules in a file of JSON lines, read again whenever the file changes, so that a
 * test steers a running cloud by replacing the file.
 *
 *   which requests:  {"n":17}  the 17th       {"every":3}  each third
 *                    {"chance":0.3,"seed":7}  none of them: each
 *   out of which:    "service":"nova"         "match":"POST /v2.0/ports"
 *                    (method or *, and how the path starts; with * in it: the whole path, as a
 *                    shell pattern)
 *   what happens:    "do":"delay","ms":500                    "when":"before" (default) or "after"
 *                    "do":"status","status":429,"retry_after":1,"message":"..."   nothing happens
 *                    "do":"reset"       connection reset; "when":"before" or "after" the effect
 *                    "do":"truncate"    effect, then the reply's body is cut; "bytes":N (default
 *                                       half)
 *                    "do":"kill","pid_file":"..."  SIGKILL to that process, "before" or "after"
 *                    "do":"stop"        SIGKILL to pocket itself, "before" or "after"
 *                    "do":"late","pid_file":"...","ms":200  SIGKILL to that process; when it is
 *                                       dead, and so much later, the effect; nobody is answered
 *                    "do":"barrier","name":"x","parties":2,"ms":10000  held until so many wait at
 *                                       the barrier of that name, then all of them go on together;
 *                                       a request that waited so long in vain goes on alone
 *   how often:       "times":2 (default: without limit)
 *
 * A rule counts the requests that fit its service and match, from the moment the file was read.
 * The first rule that hits wins; the others count all the same. Unknown keys are errors.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/time.h"

typedef enum FaultKind {
    FAULT_NONE,
    FAULT_DELAY,
    FAULT_STATUS,
    FAULT_RESET,
    FAULT_TRUNCATE,
    FAULT_KILL,
    FAULT_STOP,
    FAULT_LATE,
    FAULT_BARRIER
} FaultKind;

typedef struct Fault {
    FaultKind kind;
    bool after;    /* the effect */
    Msec delay_ms; /* delay, late; barrier: the longest wait */
    int parties;   /* of a barrier */
    int status, retry_after_s;
    int64_t bytes;  /* truncate; -1: half */
    char *message;  /* or NULL */
    char *pid_file; /* or NULL */
    char *name;     /* of a barrier, or NULL */
} Fault;

typedef struct Faults Faults;

/* `path` may be missing: then there are no rules yet. ERR_CONFIG with the line for a bad rule. */
int faults_open(const char *path, Faults **ret, Err *err) _must_check_;
Faults *faults_close(Faults *f);
/* Counts the request and says what shall happen to it; *ret is to be cleared. `path` is raw,
 * without the query. Thread: any. A file that has become bad is reported on standard error, and
 * its good lines are used. */
void faults_next(Faults *f, const char *service, const char *method, const char *path, Fault *ret);
/* Waits at the barrier of this fault; true when the others have come, false after delay_ms or when
 * *stopping. Barriers stand as long as the Faults: a changed file does not move who waits. */
bool faults_meet(Faults *f, const Fault *fault, const volatile bool *stopping);
void fault_clear(Fault *f);
const char *fault_word(FaultKind k);
