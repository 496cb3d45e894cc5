/* The parts of a restore, among themselves (restore.h is for everybody else): its marker, its
 * files, its log. One thread, but where a pool is.
 */
#pragma once
#include "backup/restore.h"
#include "backup/restore_plan.h"

/* The file RESTORE_MARKER: a line of JSON that says what is being restored, then one for each part
 * that is done: "pack 7", "files". It is locked as long as the restore runs. Lines count only on
 * the same start of the machine, since nothing is forced to disk before the end. */
typedef struct RestoreMarker {
    int fd;
    bool resumed;
    StrList done;
} RestoreMarker;
/* Makes the folder `o->to` ready: new, taken up, or emptied of another unfinished restore. `plan`
 * tells the tablespaces. */
int marker_open(const RestoreOptions *o, const RestorePlan *plan, RestoreMarker *ret,
                Err *err) _must_check_;
bool marker_has(const RestoreMarker *m, const char *line);
int marker_add(RestoreMarker *m, const char *line, Err *err) _must_check_;
/* Everything of the folder and its tablespaces to disk, and the marker away. */
int marker_finish(const RestoreOptions *o, const RestorePlan *plan, RestoreMarker *m,
                  Err *err) _must_check_;
void marker_close(RestoreMarker *m);
DEFINE_CLEAR(RestoreMarker, marker_close)

/* Who the files belong to: the caller, or as root the user that PostgreSQL runs as. */
typedef struct RestoreOwner {
    const char *user; /* NULL: nothing is changed */
    uid_t uid;
    gid_t gid;
} RestoreOwner;

/* Files, folders, links and all pages. Adds to ret->fetched_bytes and file_bytes. */
int restore_files(const RestoreOptions *o, const RestorePlan *plan, const RestoreOwner *owner,
                  RestoreMarker *m, RestoreResult *ret, Err *err) _must_check_;
/* An error `r` that comes of the backup's own objects, if it is of that kind: ret->base_bad.
 * Returns r. */
int restore_blame(int r, RestoreResult *ret);
/* PostgreSQL up to the target, promoted and answering; then stopped unless keep_running. */
int restore_log(const RestoreOptions *o, const RestoreOwner *owner, Msec started,
                RestoreResult *ret, Err *err) _must_check_;
