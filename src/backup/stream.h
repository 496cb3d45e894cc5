/* `atoll backup stream`: a replication client that turns WAL into objects as it is written.
 *
 * It asks for the log through a physical slot and cuts it into pieces: where a MiB of the log ends
 * (so that no piece reaches over a segment's end), or when the oldest byte would otherwise be
 * stored later than a second after it came. What it tells PostgreSQL as flushed is what the store
 * has acknowledged without a hole before it, never what was received: so the log stays on the
 * primary until it is safe elsewhere, and no disk is needed here. An idle cluster costs no request.
 *
 * Where it begins: behind what it knows to have stored (the state's folder, which may be lost),
 * else at the start of the segment that the slot's position lies in.
 *
 * Where a timeline ends, the server says which one follows and where; its history file is stored
 * before any piece of it. A store that is away stops nothing but the stream: pieces are tried again
 * until it is back, and at most 16 MiB are held. PostgreSQL is told all along that somebody is
 * there; once nothing more can be taken for 5 s it is left alone until there is room, for it can't
 * get rid of a client that doesn't read. A server that is away is waited for; one that shuts down
 * while the store is away is let go, since it would wait for the stream.
 *
 * Synchronous: the slot's name is the application_name that synchronous_standby_names has, set by
 * the SQL login once the stream has caught up (superuser, or from 15 on GRANT ALTER SYSTEM ON
 * PARAMETER synchronous_standby_names and EXECUTE on pg_reload_conf()). `strict` leaves it there
 * when the stream ends, also by SIGTERM: a commit that is answered while nobody stores it is what
 * strict says can't happen; a stream without `synchronous` takes its own name away again.
 * `give_up` takes it away after that time without progress and at a clean end, says from when to
 * when commits were answered before they were stored, and sets it again once it has caught up. A
 * stream that is killed leaves it set: something must start it again (systemd does).
 */
#pragma once
#include "backup/lsn.h"
#include "backup/object.h"
#include "backup/settings.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define PIECE_WAIT_MS 1000 /* from a byte's coming to its being stored */
#define STREAM_WINDOW 16   /* pieces under way */
#define STREAM_DRAIN_MS (30 * SECOND)

/* What was collected. Pure. */
typedef struct Piece {
    Lsn start, end;
    Msec oldest; /* when its first byte came */
    Msec put_ms; /* what a put takes, as seen lately */
    bool eager;  /* commits wait for it, and little else is under way */
} Piece;
/* Is it to be cut now? */
bool piece_due(const Piece *p, Msec now);
/* How long until it will be; -1: nothing is waiting. */
Msec piece_wait(const Piece *p, Msec now);

typedef struct StreamPlace {
    Timeline tli;
    Lsn lsn; /* 0: none */
} StreamPlace;
/* Where to begin. Pure. `slot`: its position; `known`: what is stored by what we remember. */
StreamPlace stream_begin(StreamPlace slot, StreamPlace server, StreamPlace known,
                         uint32_t segment_bytes);

/* Whether commits wait for us, and what is to be done about it. Pure. */
typedef enum SyncStep { SYNC_STAY, SYNC_PROMOTE, SYNC_DEMOTE } SyncStep;
typedef struct SyncView {
    BackupSync wanted;
    bool promoted;  /* our name is in synchronous_standby_names */
    bool caught_up; /* all that the server has is stored */
    Msec since;     /* when the oldest byte that is not stored came, or the connection went; 0 */
    Msec give_up_ms;
} SyncView;
SyncStep sync_next(const SyncView *v, Msec now);

/* A slot as pg_replication_slots has it; how near the server is to throwing the log away. Pure. */
typedef enum SlotAlarm { SLOT_FINE, SLOT_WARN, SLOT_URGENT, SLOT_LOST } SlotAlarm;
typedef struct SlotView {
    const char *status; /* wal_status: "reserved", "extended", "unreserved", "lost", "" */
    int64_t safe;       /* safe_wal_size, bytes; -1: max_slot_wal_keep_size is not set */
    int64_t keep;       /* max_slot_wal_keep_size, bytes; -1 */
    int64_t held;       /* bytes of log that are kept for the slot */
} SlotView;
/* Half of what may be kept is used: a warning; three quarters: urgent. Without a limit it is the
 * disk that fills up: a warning from 1 GiB on, urgent from 8 GiB on. */
SlotAlarm slot_alarm(const SlotView *v);

typedef struct StreamStatus {
    Timeline tli;
    Lsn received, stored, server; /* server: its end as last told */
    Msec stored_at;               /* when all was stored; by this machine's clock; 0: never */
    Msec put_ms;                  /* what a put takes, as seen lately */
    uint64_t pieces, bytes, stored_bytes;
    bool connected, synchronous; /* synchronous: commits wait for it */
    const char *trouble;         /* or NULL; without a line's end */
} StreamStatus;

typedef struct StreamOptions {
    const PgTarget *server; /* replication */
    const PgTarget *sql;    /* for synchronous_standby_names and the slot's alarm; or NULL */
    const char *slot;
    bool make_slot;
    Store *store;           /* its patience is of one try; the stream itself tries again for ever */
    const ObjectSeal *seal; /* its `system` may be NULL: filled in from the server */
    const char *state;      /* folder, or NULL: each run is a chain of its own */
    BackupSync synchronous;
    Msec give_up_ms;
    Lsn until; /* ends when all up to here is stored; 0: never */
    const volatile sig_atomic_t *stop;
    void (*ready)(void *user);                         /* once, when the log comes; or NULL */
    void (*status)(void *user, const StreamStatus *s); /* each second, and at changes; or NULL */
    void *user;
} StreamOptions;
/* Runs until *stop (then what was received is stored first, at most 30 s: 0, or ERR_TEMPORARY if
 * that was not enough; nothing is lost, it is sent again), or an error that waiting can't heal:
 * ERR_AUTH, ERR_DENIED, ERR_CONFIG, ERR_NOT_FOUND (slot gone, WAL removed: says the window that is
 * lost and that a new base backup is needed), ERR_CONFLICT (slot in use; another cluster),
 * ERR_HELD (another stream has this state). */
int stream_run(const StreamOptions *o, Err *err) _must_check_;
