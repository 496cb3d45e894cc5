/* A drill: a backup is proven by restoring it, and by asking the result.
 *
 * Into a scratch folder, a PostgreSQL without network. Each check is a line:
 *   restore       the target was reached
 *   manifest      pg_verifybackup: the files are those that the server sent
 *   indexes       pg_amcheck on all databases, heapallindexed and rootdescend
 *   collations    versions of databases' and collations' order of text, against this machine's
 *   foreign_keys  each counted by a join that uses no index
 *   mastodon      where its schema is: no duplicates under its unique indexes, local accounts have
 *                 their users and keys, the instance's actor is there, sequences are ahead, no id
 *                 is of the future. (Counts in account_stats are near values even in a whole
 *                 database, and media are in another store: neither is asked here.)
 *   checksums     pg_checksums on every page, once PostgreSQL has stopped
 * and RTO and RPO are measured. The report goes into the catalogue as a note, signed by the audit
 * key. A failed drill is the loudest thing the program says.
 */
#pragma once
#include "backup/restore.h"

typedef enum DrillOutcome { DRILL_OK, DRILL_FAILED, DRILL_SKIPPED, DRILL_OUTCOMES } DrillOutcome;
extern const char *const drill_outcomes[DRILL_OUTCOMES]; /* "ok", "failed", "skipped" */
typedef struct DrillLine {
    const char *name; /* "checksums" */
    DrillOutcome outcome;
    char *words;
} DrillLine;
typedef VEC(DrillLine) DrillLines;
typedef struct Drill {
    DrillLines lines;
    char *base; /* the manifest's name */
    char base_id[64];
    Target target;
    Lsn reached;
    Msec reached_time;
    Msec rto_ms; /* until the first query; -1: not measured */
    Msec rpo_ms; /* what may be missing before the target, or before the log's end, at most; -1 */
    bool ok;     /* no line failed */
} Drill;
void drill_clear(Drill *d);
DEFINE_CLEAR(Drill, drill_clear)
/* `o->to` is the scratch folder; it is removed at the end, with what is in its tablespaces
 * elsewhere. A check that fails, and a backup that can't be restored, is a line. An error says that
 * nothing was proven either way: the store was away, no space, no programs. `o->keep_running` and
 * `files_ready` are the drill's own. */
int drill_run(const RestoreOptions *o, Drill *ret, Err *err) _must_check_;
/* The same; what a drill proved is given to `then` before it is removed: `o->to` is a cluster that
 * was stopped in order, with RESTORE_MARKER still in it. Not called when a line failed. */
typedef int DrillThen(void *user, const Drill *d, Err *err);
int drill_run_then(const RestoreOptions *o, DrillThen *then, void *user, Drill *ret,
                   Err *err) _must_check_;
/* The body of the note: {"base": the manifest's whole name (an id could be had twice), "id", "ok",
 * "target", "reached", "reached_time", "rto_ms", "rpo_ms", "lines":[[name, outcome, words], ...]}.
 */
json_t *drill_report_new(const Drill *d);
/* The newest note of a drill, or of a good one; NULL. Borrowed. */
const Note *drill_last(const Catalogue *c, bool good);

/* What the server itself is asked, database by database (drill_checks.c). Adds lines. */
typedef struct DrillServer {
    const char *socket, *programs;
    const char *user; /* to run programs as; or NULL */
    const char *role;
    int port;
    Msec reached_time;
    void (*progress)(void *user, const RestoreProgress *p);
    void *progress_user;
} DrillServer;
void drill_checks(const DrillServer *s, DrillLines *ret);
void drill_add(DrillLines *l, const char *name, DrillOutcome outcome, const char *format, ...)
    _printf_(4, 5);
/* Runs one of PostgreSQL's own checking programs: its exit status, or -1 with words. Its output is
 * appended. */
int drill_program(const DrillServer *s, const char *const *argv, Buf *ret_out);
