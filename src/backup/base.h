/* A base backup: the cluster's files, read once over the replication protocol, as pages in packs.
 *
 * Files are cut into pages of 8 KiB. Pages that an earlier backup stored are not sent again: the
 * page map (pagemap.h), which lies on the database's volume and may be lost, knows their hashes and
 * where they are. The others are put together, at most 128 pages a frame, into packs of 8 MiB, in
 * the order in which they come. A manifest lists the files and for each where its pages are: so
 * every backup is a full one, and a pack may be removed when no manifest that is kept names it.
 *
 * Manifest: object OBJECT_BASE. Facts, for anybody who audits: {"id", "label", "start", "stop"
 * (LSNs), "tli", "version" (server_version_num), "segment" (bytes), "bytes" (of files), "stored"
 * (new bytes in packs), "packs": [[name, bytes, head], ...] (all that the backup needs; head:
 * SHA-256 in hex of the pack's first bytes up to its first frame. The head holds the sealed data
 * key, so who checks it may read frames alone, and nobody can have put others in their place),
 * "map" (SHA-256 of the page map written with it, or ""), "checksums":
 * "verified"|"failed"|"off", "warnings":[...]}.
 *
 * Its frames, one behind another: the list of files, a JSON object a line (a line may go on in the
 * next frame):
 *   {"path":"base/5/1259", "kind":"file"|"dir"|"link", "mode", "size", "mtime" (s), "target"?,
 *    "tablespace"?, "runs":[[pack, frame, page in frame, pages], ...]}
 * pack is an index into "packs", or -1 for a hole of zeros. A run lies within one frame. A page is
 * PAGE_BYTES long there, filled up with zeros: of a file's last one, only what its size says
 * counts. A tablespace is a "link" of path pg_tblspc/<oid>, with its folder as target and its oid;
 * its files lie below that path and have its oid too. backup_label, tablespace_map and
 * backup_manifest are files like others.
 *
 * A run that was cut off is taken up: what its finished packs hold is in the map's journal, and is
 * not sent again (up to PAGEMAP_JOURNAL_MS later: a prune removes packs that no manifest names).
 *
 * Limits: the head of a manifest has at most 16 MiB, and so its list of packs about 110,000: 900 GB
 * stored. Memory: at most 64 MB at any size of the cluster.
 */
#pragma once
#include "backup/lsn.h"
#include "backup/object.h"
#include "backup/store.h"
#include "io/pg.h"

#define PAGE_BYTES 8192
#define FRAME_PAGES 128
#define PACK_BYTES ((size_t)8 << 20)

typedef struct BaseProgress {
    int64_t done, total; /* bytes of the cluster; total 0: not known, and it may grow */
    int64_t sent;        /* bytes stored */
    int64_t reused;      /* of `done`: stored by an earlier backup */
    int64_t rate_bytes;  /* a second at most, for now; 0: no limit */
} BaseProgress;

typedef struct BaseOptions {
    const PgTarget *server;
    Store *store;
    const ObjectSeal *seal; /* its `system` may be NULL: filled in from the server */
    const char *state;      /* folder; NULL: no page map, always full */
    const char *label;
    bool fast;           /* checkpoint at once, not spread */
    bool full;           /* send all pages, whatever the page map knows */
    int64_t rate_bytes;  /* a second at most; 0: as fast as it goes */
    const PgTarget *sql; /* follow the server's load, asked here (rate.h); or NULL */
    size_t threads;      /* of compression; 0: as many as processors, at most 4 */
    int level;           /* zstd's; 0: 1 */
    Msec now;
    const volatile sig_atomic_t *stop;
    void (*progress)(void *user, const BaseProgress *p);
    void *user;
} BaseOptions;

typedef struct BaseResult {
    char id[64];
    char *name; /* of the manifest in the store */
    json_t *facts;
    Lsn start, stop;
    int64_t bytes, stored, reused; /* of files; sent; not sent again */
    bool checksums_failed;
    StrList warnings; /* sentences; the facts have them too */
} BaseResult;
void base_result_clear(BaseResult *r);
DEFINE_CLEAR(BaseResult, base_result_clear)
/* ERR_AUTH, ERR_DENIED (no replication right), ERR_CONFIG (wal_level), ERR_CONFLICT (another
 * cluster than the state's: system identifier), the store's errors, ERR_INTERRUPTED. A page whose
 * checksum is wrong is no error: the backup is whole, its facts say "failed", and the verb is loud
 * about it. */
int base_take(const BaseOptions *o, BaseResult *ret, Err *err) _must_check_;

/* A backup can be restored when the store has the log up to its `stop` too. The database's side
 * can't read the store, but the slot's position is what the store has acknowledged (stream.h). */
typedef struct BaseWait {
    const PgTarget *server, *sql; /* sql: before 15; or NULL */
    const char *slot;
    Lsn stop;
    Msec wait_ms; /* at most */
    const volatile sig_atomic_t *interrupt;
} BaseWait;
/* *ret_at: where the slot is. ERR_TEMPORARY: not within the time (a hint says what to do);
 * ERR_NOT_FOUND: no such slot. */
int base_wait(const BaseWait *w, Lsn *ret_at, Err *err) _must_check_;
