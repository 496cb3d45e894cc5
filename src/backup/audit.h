/* Countersigning: the second identity's look at a store (catalogue.h says why).
 *
 * Each look lists the store once and writes a note about what it has not told of before: names,
 * sizes, hashes and times as the store has them. Nothing is read but the first object, for the
 * cluster's identifier, and pieces of the log that are merged: their bytes are put one behind
 * another, which needs no key.
 */
#pragma once
#include "backup/catalogue.h"

#define AUDIT_PAUSE_MS (30 * SECOND)

typedef struct Audit {
    Store *store;
    const KeyPair *auditor;
    const StrList *auditors, *hosts; /* public keys: audit.pub, host.pub */
    uint32_t segment_bytes; /* of the cluster: its finished segments are merged; 0: none are */
    Msec merge_after_ms;    /* age of a segment's youngest piece then */
    Catalogue catalogue;    /* owned */
} Audit;
void audit_clear(Audit *a);
DEFINE_CLEAR(Audit, audit_clear)

typedef struct AuditLook {
    size_t seen;   /* objects that were new */
    int64_t bytes; /* of them */
    size_t merged; /* segments */
    size_t odd;    /* names that nothing of ours has, they are in no note; and strays */
    Msec newest;   /* when the store got the newest object of the host; 0: none */
} AuditLook;
/* One look. Without any object that a known host signed there is no catalogue to begin: `seen` is 0
 * then, or ERR_DENIED with what to do when there are objects of strangers only. ERR_CONFLICT:
 * another auditor is at work, again and again. */
int audit_look(Audit *a, AuditLook *ret, Err *err) _must_check_;
/* Pure: is it time to say that nothing comes any more? */
bool audit_is_quiet(const AuditLook *l, Msec alarm_ms, Msec now);
