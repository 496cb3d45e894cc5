/* Which backups and which stretches of log are kept: a pure function of the catalogue.
 *
 * Only the store's times, notes and LSNs count: never a time that the database's host wrote, since
 * whoever has stolen it writes what he likes. When an object came is the store's time of it, held
 * between the time of the note that saw it and that of an earlier note (10 minutes and more); so a
 * folder's touched file, or a clock that jumped, moves nothing by more than the auditor's pause.
 *
 * A backup is *whole* when every pack that its manifest names and all log from its start to its
 * stop were countersigned and not pruned (notes say so, not the listing: deleting an object takes
 * nothing out of the rules). It is *proven* when a note of a drill says that it was restored. Kept:
 *   - of each of the last `daily` days, `weekly` ISO weeks and `monthly` months (UTC) that have a
 *     whole backup: the one that was whole first, and the first proven one. Whatever comes later,
 *     proven or not, takes the place of neither: so a flood of forged backups, or of forged log
 *     that makes an old backup look whole, displaces nothing that was countersigned before it;
 *   - the anchor, which is the newest backup that was whole before now - window, and every backup
 * and all log that came after it. Where there is none: every backup and all log;
 *   - the newest proven backup, the newest whose last drill was good, and all log from their
 *     starts;
 *   - whatever those need: packs, log from start to stop, history files of their timelines and of
 *     the kept log's;
 *   - what is not countersigned, with what it needs; what has a name that is not ours;
 *   - packs that came less than RETENTION_RUN_MS ago: their manifest may be on its way. (base.h
 *     therefore goes on with no run that is older than half of that.)
 *
 * Log "from a backup on" is what came after its manifest, in time or in notes, and what lies behind
 * its start on its timeline or a later one and came at most RETENTION_RUN_MS before the manifest: a
 * cluster that begins again at timeline 1 (pg_upgrade, another system identifier) has LSNs that can
 * be compared with nobody else's, and time parts them.
 *
 * Log that is kept is kept once: a piece whose bytes are wholly in a merged segment (a note
 * "merged" says so, and the segment's size is that of all its pieces) is kept as that segment, and
 * the piece itself is not. That needs the segment to be countersigned, in the listing and not
 * marked; otherwise both stay. A segment goes when none of its pieces' log is kept.
 *
 * Mark, wait, delete: `prune` marks (a note) what is not kept; only what was marked at least
 * `grace` ago and is still not kept is removed. A mark on something that is kept is taken back
 * (`unmark`), whoever made it.
 *
 * What an owner of the audit key can do by notes that lie: call a forged backup proven, so that an
 * older proven one is kept by the other rules only; and skip the wait for what is not kept anyway.
 */
#pragma once
#include "backup/settings.h"
#include "backup/window.h"

#define RETENTION_RUN_MS (7 * DAY) /* from a backup's first pack to its manifest, at most */

typedef struct Kept {
    char *name; /* of the manifest; its id alone could be had twice */
    char id[64];
    Msec came;
    bool proven, whole;
    char *why; /* "daily 2026-11-29, newest proven" */
} Kept;
typedef VEC(Kept) KeptList;

typedef struct Retention {
    KeptList keep;   /* oldest first */
    StrList mark;    /* names of objects to be marked */
    StrList unmark;  /* marked, and kept all the same */
    StrList remove;  /* names to be removed now, in this order: manifests before what they need */
    int64_t waiting; /* marked, and not yet due */
    Windows before, after, lost; /* what can be restored now; once all that is not kept is gone;
                                    and the difference */
} Retention;
void retention_clear(Retention *r);
DEFINE_CLEAR(Retention, retention_clear)
typedef struct RetentionRules {
    BackupKeep keep;
    Msec grace_ms;       /* between mark and removal */
    Msec now;            /* the store's */
    const StrList *lost; /* manifests that can't be read and that the owner has given up; or NULL */
} RetentionRules;
/* `bases` has every manifest that is not pruned. ERR_CORRUPT when the catalogue does not let it be
 * told: a note of an unknown kind, a manifest that can't be read (what it needs is not known).
 * Nothing is to be removed then. */
int retention_decide(const Catalogue *c, const Bases *bases, const RetentionRules *rules,
                     Retention *ret, Err *err) _must_check_;
