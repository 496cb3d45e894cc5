/* The logical way: one database as PostgreSQL's own pg_dump writes it, for an upgrade and for
 * leaving. What comes out is read by any pg_restore of that version or later; nothing of atoll is
 * needed for it, and no key: it is not encrypted, and only its owner may read it.
 *
 * A folder (pg_dump -Fd, several connections that share one snapshot) or one file (-Fc). It has its
 * name once it is whole: pg_dump ended well, which it does only if each of its parts did and what
 * they wrote is on disk; pg_restore read its table of contents (with `check` all of it); and a
 * manifest was made. Before that it lies in `<to>.unfinished`, which goes when a run fails. A run
 * that was killed leaves it, and the next one to the same place takes it away.
 *
 * Manifest: in a folder DUMP_MANIFEST, beside a file its name and ".json":
 *   {"database", "server": server_version_num, "began", "ended" (RFC 3339), "files":[{"name",
 *    "bytes", "sha256"}, ...]}
 *
 * Roles and tablespaces belong to the cluster and are in no dump (`pg_dumpall --globals-only`).
 */
#pragma once
#include "base/json.h"
#include "base/time.h"
#include "io/pg.h"
#include <signal.h>

#define DUMP_MANIFEST "atoll-dump.json"

typedef struct DumpProgress {
    const char *phase;      /* "dump", "check" */
    int64_t written, total; /* bytes on disk so far; of the database, uncompressed */
} DumpProgress;

typedef struct DumpOptions {
    const PgTarget *server; /* its `database` may be NULL: dump_database */
    const char *database;   /* or NULL: the only one that is not PostgreSQL's own */
    const char *programs;   /* folder of pg_dump and pg_restore; NULL: Debian's of that version */
    const char *to;         /* absolute; must not be there, its folder must */
    bool one_file;
    int jobs;   /* connections at once, into a folder; 0: as many as processors, at most 4 */
    bool check; /* read all of it once more */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *user, const DumpProgress *p);
    void *user;
} DumpOptions;

typedef struct DumpResult {
    char *database, *manifest; /* manifest: its path */
    int64_t bytes, files;
} DumpResult;
void dump_result_clear(DumpResult *r);
DEFINE_CLEAR(DumpResult, dump_result_clear)
/* ERR_CONFLICT: `to` is there. ERR_HELD: another run makes it. ERR_NOT_FOUND: its folder, or the
 * database. ERR_CONFIG: no programs. ERR_QUOTA: no space. ERR_AUTH, ERR_DENIED, ERR_TEMPORARY: the
 * server's. ERR_IO: pg_dump failed otherwise, with its words. ERR_INTERRUPTED. */
int dump_run(const DumpOptions *o, DumpResult *ret, Err *err) _must_check_;

/* Pure. Which database is meant: `all` are those that can be connected to and are no templates.
 * NULL with an error (ERR_USAGE, names them) where that can't be told. Borrowed. */
const char *dump_database(const StrList *all, Err *err);
/* Pure. The kind of a failure by the words of pg_dump or pg_restore, in English. */
ErrKind dump_failure(Str words);
