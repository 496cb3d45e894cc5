/* PostgreSQL's streaming replication protocol, through libpq (PostgreSQL documentation, "Streaming
 * Replication Protocol"; reference of message forms there). One walsender session a Repl; a Repl
 * belongs to one thread.
 *
 * Servers from 13 on; 15 is what was run. Statements' words are the server's own.
 */
#pragma once
#include "base/time.h"
#include "io/pg.h"
#include <signal.h>

typedef struct Repl Repl;

typedef struct ReplSystem {
    char id[24]; /* system identifier, decimal */
    uint32_t tli;
    uint64_t flushed; /* LSN */
    int version;      /* server_version_num: 150014 */
    uint32_t segment_bytes;
    bool checksums;
} ReplSystem;

/* Connects (application_name `name`) and asks who it is. ERR_TEMPORARY: away or starting; ERR_AUTH;
 * ERR_DENIED: no replication right, no line in pg_hba.conf (a hint has the line); ERR_CONFIG:
 * wal_level too low, older than 13. */
int repl_open(const PgTarget *t, const char *name, Repl **ret, ReplSystem *ret_system,
              Err *err) _must_check_;
Repl *repl_free(Repl *r);
static inline void repl_drop(Repl *r)
{
    (void)repl_free(r);
}
DEFINE_CLEANUP(Repl *, repl_drop)
int repl_fd(const Repl *r); /* for poll(2) */

/* A physical slot. *ret_lsn: its restart position; 0: it has none yet. ERR_NOT_FOUND; ERR_CONFLICT:
 * a logical one. (READ_REPLICATION_SLOT, 15 and later; before: by `sql`, or ERR_CONFIG without
 * one.) */
int repl_slot(Repl *r, const char *slot, const PgTarget *sql, uint64_t *ret_lsn, uint32_t *ret_tli,
              Err *err) _must_check_;
/* Makes it, keeping the log from now on (RESERVE_WAL). ERR_CONFLICT: it is there. ERR_QUOTA:
 * max_replication_slots. */
int repl_slot_make(Repl *r, const char *slot, Err *err) _must_check_;
/* The history file of a timeline (not of 1), appended. */
int repl_history(Repl *r, uint32_t tli, Buf *ret, Err *err) _must_check_;

/* START_REPLICATION. ERR_CONFLICT: the slot is in use, or the server's history has no such place.
 * ERR_NOT_FOUND: that part of the log was removed. Where the copy has already begun the two come
 * from repl_next. */
int repl_start(Repl *r, const char *slot, uint64_t lsn, uint32_t tli, Err *err) _must_check_;
typedef enum ReplEvent {
    REPL_NOTHING,   /* nothing has come; wait for repl_fd */
    REPL_WAL,       /* start, data */
    REPL_KEEPALIVE, /* server, reply */
    REPL_TIMELINE   /* this one is at its end: next_tli, next_start. Then repl_start with them */
} ReplEvent;
typedef struct ReplMessage {
    uint64_t start, server;
    int64_t sent_ms; /* server's time, Unix epoch */
    Str data;        /* valid until the next call */
    bool reply;      /* an answer is wanted at once */
    uint32_t next_tli;
    uint64_t next_start;
} ReplMessage;
/* Does not wait. ERR_TEMPORARY: the connection is gone, or the server shuts down. Others: as above.
 */
int repl_next(Repl *r, ReplEvent *ret_event, ReplMessage *ret, Err *err) _must_check_;
/* Standby status update; `applied` stays invalid (remote_apply would hang: backup.md 4.4). */
int repl_status(Repl *r, uint64_t written, uint64_t flushed, int64_t now_ms, Err *err) _must_check_;

/* BASE_BACKUP (grammar of 15; the older one for 13 and 14). */
typedef struct ReplBase {
    const char *label;
    bool fast;
    int64_t rate_bytes; /* MAX_RATE, 32 kB to 1 GB a second; 0: none */
    /* A server that sends nothing for so long hangs: ERR_TEMPORARY. Until the checkpoint is over
     * (0: 25 hours, since a spread one goes over checkpoint_timeout), and then (0: 10 minutes). */
    Msec checkpoint_ms, quiet_ms;
    const volatile sig_atomic_t *stop; /* or NULL; ends each wait with ERR_INTERRUPTED */
} ReplBase;
typedef enum ReplPart { REPL_ARCHIVE, REPL_DATA, REPL_MANIFEST, REPL_PROGRESS, REPL_END } ReplPart;
typedef struct ReplBegin {
    uint64_t start;
    uint32_t tli;
    int64_t bytes; /* estimated; all tablespaces */
} ReplBegin;
/* Waits for the checkpoint. ERR_DENIED, ERR_QUOTA: as repl_open. ERR_USAGE:
 * a label that is none. */
int repl_base(Repl *r, const ReplBase *b, ReplBegin *ret, Err *err) _must_check_;
/* The next part; waits. ARCHIVE: `name` ("base.tar", "16400.tar") and `path` in data as
 * "name\0path"; DATA: a piece of it, or of the manifest after MANIFEST; valid until the next call.
 */
int repl_base_next(Repl *r, ReplPart *ret_part, Str *ret_data, Err *err) _must_check_;
typedef struct ReplBaseEnd {
    uint64_t stop;
    uint32_t tli;
    bool checksums_failed; /* SQLSTATE XX001 at the end: all data came, some page is damaged */
    char *words;           /* the server's, of warnings too; owned; or NULL */
} ReplBaseEnd;
int repl_base_end(Repl *r, ReplBaseEnd *ret, Err *err) _must_check_;
