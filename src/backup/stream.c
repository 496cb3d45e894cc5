#include "backup/catalogue.h"
#include "backup/stream_internal.h"
#include "base/log.h"
#include "io/repl.h"

#include <poll.h>

#define TELL_MS                                                                                    \
    (1 * SECOND)         /* to PostgreSQL, at least so often: wal_sender_timeout may be short      \
                          */
#define TURN_MESSAGES 64 /* between two looks at everything else */
#define RETRY_MS 200     /* and twice as long each time, up to */
#define RETRY_MOST_MS (5 * SECOND)
/* A slot whose last reader is dead is free again after wal_sender_timeout, a minute by default. */
#define BUSY_FIRST_MS (10 * SECOND)
#define BUSY_MS (90 * SECOND)
#define CHOKED_MS (5 * SECOND)
#define EAGER_PUTS 3 /* where commits wait: so many at once, then what comes goes together */
#define GOING_DOWN_MS (5 * SECOND)

typedef struct Stream {
    const StreamOptions *o;
    ObjectSeal seal;
    char run[17];
    Memory memory; /* .stored: without a hole before it */
    MemoryFile file;
    Puts *puts;
    Watch watch;

    Repl *repl;
    ReplSystem server;
    bool wrong;           /* the server is not ours: no use in waiting */
    bool flowing;         /* the log comes */
    bool was_flowing;     /* at least once */
    bool parked;          /* no more can be taken, and PostgreSQL is left alone meanwhile */
    bool hurry;           /* the server asked: what is here goes now */
    StreamPlace next;     /* where to begin as soon as all before it is stored; lsn 0: nowhere */
    Lsn slot_at;          /* the slot's position: nothing before it is told */
    Msec retry_at, retry; /* all these of time_mono */
    Msec busy_until, gone, choked, next_tell, next_status, next_probe;
    Lsn told;

    Timeline tli;
    Piece piece;
    Buf bytes;    /* of the piece */
    Str rest;     /* of the last message: not yet in a piece */
    Msec sent_ms; /* server's time of the last message */
    char prev[OBJECT_HASH_MAX];
    Msec progress; /* when something was stored, or the first byte came that was not */

    Err why; /* it ends for this reason */
    StreamStatus status;
    char trouble[TROUBLE_MAX], said[TROUBLE_MAX];
} Stream;

static StreamPlace known(const Stream *s)
{
    return s->tli ? (StreamPlace){s->tli, s->piece.end} : s->memory.stored;
}

/* No more is read: what is here is stored, and that is the end. */
static bool stopping(const Stream *s)
{
    return s->why.kind || (s->o->stop && *s->o->stop);
}

static int push(Stream *s, ObjectKind kind, Str plain, json_t *facts, Put *taken, Err *err)
{
    _cleanup_(put_drop) Put *put = taken;

    put->object = BUF_INIT(OBJECT_MAX);
    put->plain = plain.n;
    int r = object_seal(&s->seal, kind, plain, facts, &put->object, put->hash, err);
    if (r < 0)
        return r;
    put->name = kind == OBJECT_HISTORY
                    ? name_history_new(put->tli, put->hash)
                    : name_wal_new(put->tli, s->piece.start, put->end, put->hash);
    puts_push(s->puts, TAKE(put));
    return 0;
}

/* Cuts what was collected. There is room. */
static int cut(Stream *s, Err *err)
{
    char start[LSN_TEXT_MAX], end[LSN_TEXT_MAX];
    json_t *facts =
        json_make_new("{s:I, s:s, s:s, s:s, s:I, s:s}", "tli", (json_int_t)s->tli, "start",
                      lsn_format(s->piece.start, start), "end", lsn_format(s->piece.end, end),
                      "prev", s->prev, "sent", (json_int_t)s->sent_ms, "run", s->run);
    Put *put = NEW(Put);

    put->tli = s->tli;
    put->end = s->piece.end;
    char *hash = put->hash;
    int r = push(s, OBJECT_WAL, buf_as_str(&s->bytes), facts, put, err);
    if (r < 0)
        return err_wrap(err, "sealing a piece of the log");
    memcpy(s->prev, hash, sizeof s->prev);
    buf_truncate(&s->bytes, 0);
    s->hurry = false;
    s->piece.start = s->piece.end;
    return 0;
}

/* Must all that was collected go now, however little it is? */
static bool forced(const Stream *s)
{
    return stopping(s) || s->next.lsn || s->hurry || (s->o->until && s->piece.end >= s->o->until);
}

/* How long until what was collected is cut; -1: for as long as nothing else happens. */
static Msec cut_wait(Stream *s, Msec now)
{
    size_t under_way = puts_count(s->puts);

    if (s->bytes.len == 0 || puts_full(s->puts))
        return -1;
    if (forced(s))
        return 0;
    /* A store that takes nothing is no reason for many small objects. */
    if (*s->trouble && under_way && s->piece.end % PIECE_BYTES)
        return -1;
    s->piece.eager = s->watch.promoted && under_way < EAGER_PUTS;
    return piece_wait(&s->piece, now);
}

/* In the order in which they were pushed: so `stored` never jumps over a hole. */
static void take_stored(Stream *s, Msec now)
{
    for (Put *p; (p = puts_take(s->puts));) {
        _cleanup_(put_drop) Put *put = p;
        BUG_IF(!put->done);
        s->progress = now;
        s->status.stored_bytes += put->object.len;
        if (put->history) {
            s->memory.history = put->tli;
            continue;
        }
        s->piece.put_ms = MAX(put->took, s->piece.put_ms - (s->piece.put_ms - put->took + 7) / 8);
        s->status.pieces++;
        s->status.bytes += put->plain;
        s->memory.stored = (StreamPlace){put->tli, put->end};
        memcpy(s->memory.hash, put->hash, sizeof s->memory.hash);
        memory_write(&s->file, &s->memory);
    }
    if (s->memory.stored.lsn == s->piece.end)
        s->status.stored_at = time_now();
}

/* As much of the rest as pieces have room for. */
static int collect(Stream *s, Msec now, Err *err)
{
    while (s->rest.n) {
        size_t room = PIECE_BYTES - s->piece.end % PIECE_BYTES;
        if (s->bytes.len && room == PIECE_BYTES) { /* it ends where a MiB does */
            if (puts_full(s->puts))
                return 0;
            int r = cut(s, err);
            if (r < 0)
                return r;
        }
        if (s->bytes.len == 0)
            s->piece.oldest = now;
        if (s->memory.stored.lsn == s->piece.end)
            s->progress = now;
        size_t n = MIN(room, s->rest.n);
        buf_add(&s->bytes, s->rest.p, n);
        s->piece.end += n;
        s->rest = (Str){s->rest.p + n, s->rest.n - n};
    }
    return 0;
}

static int tell(Stream *s, Msec now, Err *err)
{
    Lsn stored = s->memory.stored.lsn;
    bool ours = s->memory.stored.tli == s->tli && stored >= s->slot_at;

    s->next_tell = now + TELL_MS;
    s->told = stored;
    /* Not as written either: for remote_write that would be a promise. */
    return repl_status(s->repl, ours ? stored : 0, ours ? stored : 0, time_now(), err);
}

static int received(Stream *s, const ReplMessage *m, Msec now, Err *err)
{
    char got[LSN_TEXT_MAX], wanted[LSN_TEXT_MAX];

    if (m->start != s->piece.end)
        return err_set(err, ERR_CORRUPT, "PostgreSQL sent the log from %s where %s was to come",
                       lsn_format(m->start, got), lsn_format(s->piece.end, wanted));
    s->rest = m->data;
    s->sent_ms = m->sent_ms;
    return collect(s, now, err);
}

static int read_log(Stream *s, Msec now, Err *err)
{
    int r = collect(s, now, err);

    for (int i = 0; r == 0 && s->flowing && !s->rest.n && i < TURN_MESSAGES; i++) {
        ReplMessage m;
        ReplEvent event;
        r = repl_next(s->repl, &event, &m, err);
        if (r < 0 || event == REPL_NOTHING)
            return r;
        if (event != REPL_TIMELINE)
            s->status.server = m.server;
        if (event == REPL_WAL)
            r = received(s, &m, now, err);
        /* We tell it all the time: so it asks because it is about to stop, and waits for us. */
        if (event == REPL_KEEPALIVE && m.reply) {
            s->hurry = true;
            r = tell(s, now, err);
        }
        if (event == REPL_TIMELINE) {
            log_info("timeline %u has ended; %u follows", s->tli, m.next_tli);
            s->flowing = false;
            s->next = (StreamPlace){m.next_tli, m.next_start};
        }
    }
    return r;
}

static void disconnect(Stream *s, Msec now)
{
    uint16_t jitter;

    s->repl = repl_free(s->repl);
    s->flowing = false;
    s->next.lsn = 0;
    s->rest = (Str){0}; /* it lay in the connection; it will be sent again */
    if (!s->gone)
        s->gone = now;
    crypt_random(&jitter, sizeof jitter);
    s->retry = s->retry ? MIN(2 * s->retry, RETRY_MOST_MS) : RETRY_MS;
    s->retry_at = now + s->retry / 2 + jitter % s->retry;
}

static int check_system(Stream *s, Err *err)
{
    const char *wanted = s->seal.system ? s->seal.system : s->memory.system;
    StreamPlace k = known(s);

    s->wrong = true;
    if (*wanted && !streq(wanted, s->server.id)) {
        (void)err_set(
            err, ERR_CONFLICT,
            "this PostgreSQL is another cluster: system identifier %s, the backup is of %s",
            s->server.id, wanted);
        return err_hint(err, "was it made anew? Then begin with an empty repository and state");
    }
    if (k.tli > s->server.tli) {
        (void)err_set(err, ERR_CONFLICT,
                      "this PostgreSQL is on timeline %u, and %u is stored already", s->server.tli,
                      k.tli);
        return err_hint(err, "it is an old primary: another one was promoted since");
    }
    snprintf(s->memory.system, sizeof s->memory.system, "%s", s->server.id);
    s->seal.system = s->memory.system;
    s->wrong = false;
    return 0;
}

static int find_slot(Stream *s, StreamPlace *ret, Err *err)
{
    const StreamOptions *o = s->o;
    int r = repl_slot(s->repl, o->slot, o->sql, &ret->lsn, &ret->tli, err);

    if (r != -ERR_NOT_FOUND || !o->make_slot || s->was_flowing)
        return r;
    err_clear(err);
    r = repl_slot_make(s->repl, o->slot, err);
    return r < 0 ? r : repl_slot(s->repl, o->slot, o->sql, &ret->lsn, &ret->tli, err);
}

static int connect_to(Stream *s, Err *err)
{
    char lost[LSN_TEXT_MAX], from[LSN_TEXT_MAX];
    StreamPlace slot = {0}, k = known(s);

    int r = repl_open(s->o->server, s->o->slot, &s->repl, &s->server, err);
    if (r == 0)
        r = check_system(s, err);
    if (r == 0)
        r = find_slot(s, &slot, err);
    if (r == 0)
        r = watch_begin(&s->watch, err);
    if (r < 0)
        return r;
    s->slot_at = slot.lsn;
    s->status.server = s->server.flushed;
    s->next = stream_begin(slot, (StreamPlace){s->server.tli, s->server.flushed}, k,
                           s->server.segment_bytes);
    if (k.lsn && k.lsn < s->next.lsn)
        log_warn(
            "the log from %s to %s is not known to be stored: if `atoll backup verify` names a "
            "gap there, take a new base backup",
            lsn_format(k.lsn, lost), lsn_format(s->next.lsn, from));
    return 0;
}

static int store_history(Stream *s, Timeline tli, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(PIECE_BYTES);
    Put *put = NEW(Put);

    put->tli = tli;
    put->history = true;
    int r = repl_history(s->repl, tli, &text, err);
    if (r == 0)
        return push(s, OBJECT_HISTORY, buf_as_str(&text),
                    json_make_new("{s:I}", "tli", (json_int_t)tli), put, err);
    (void)put_free(put);
    return r;
}

/* Begins at `next`, once what is to be stored before is stored. */
static int begin(Stream *s, Err *err)
{
    StreamPlace k = known(s);
    bool goes_on = s->tli && k.tli == s->next.tli && k.lsn == s->next.lsn;
    char at[LSN_TEXT_MAX];

    if (!goes_on && (s->bytes.len || puts_count(s->puts)))
        return 0;
    if (s->next.tli > 1 && s->memory.history != s->next.tli) {
        int r = store_history(s, s->next.tli, err);
        if (r < 0 || puts_count(s->puts))
            return r;
    }
    int r = repl_start(s->repl, s->o->slot, s->next.lsn, s->next.tli, err);
    if (r < 0)
        return r;
    if (!goes_on) {
        bool follows = k.lsn == s->next.lsn;
        s->piece.start = s->piece.end = s->next.lsn;
        memcpy(s->prev, follows ? s->memory.hash : "", follows ? sizeof s->prev : 1);
        s->memory.stored = s->next;
        s->tli = s->next.tli;
    }
    log_info("the log comes from %s, timeline %u", lsn_format(s->next.lsn, at), s->tli);
    s->next.lsn = 0;
    s->flowing = true;
    s->gone = s->retry = s->busy_until = 0;
    if (!s->was_flowing && s->o->ready)
        s->o->ready(s->o->user);
    s->was_flowing = true;
    return tell(s, time_mono(), err);
}

/* What waiting heals is waited for. */
static int failed(Stream *s, int r, Msec now, Err *err)
{
    char from[LSN_TEXT_MAX], to[LSN_TEXT_MAX];

    if (r == -ERR_NOT_FOUND && known(s).lsn && s->server.flushed)
        return err_wrap(err, "the log behind %s (the server is at %s) is not stored",
                        lsn_format(known(s).lsn, from), lsn_format(s->server.flushed, to));
    if (r == -ERR_CONFLICT && !s->busy_until)
        s->busy_until = now + (s->was_flowing ? BUSY_MS : BUSY_FIRST_MS);
    bool waits = r == -ERR_TEMPORARY ||
                 (r == -ERR_CONFLICT && !s->wrong && now < s->busy_until && !stopping(s));
    if (!waits)
        return r;
    disconnect(s, now);
    snprintf(s->trouble, sizeof s->trouble, "%s", err->text);
    return 0;
}

/* Can no more be taken? Then nothing is read, and PostgreSQL keeps it. */
static bool choked(Stream *s)
{
    return s->rest.n && puts_full(s->puts);
}

static void wait_for(Stream *s, Msec now)
{
    Msec wait = s->next_status - now, due = cut_wait(s, now);
    bool reading = s->flowing && !choked(s) && !stopping(s);
    struct pollfd fds[] = {{.fd = puts_fd(s->puts), .events = POLLIN},
                           {.fd = reading ? repl_fd(s->repl) : -1, .events = POLLIN}};

    if (due >= 0)
        wait = MIN(wait, due);
    if (s->flowing)
        wait = MIN(wait, s->next_tell - now);
    if (!s->repl && !s->parked)
        wait = MIN(wait, s->retry_at - now);
    (void)poll(fds, ARRAY_LEN(fds), (int)MAX(wait, 0)); /* a signal is as good as anything */
}

/* A server that stops waits until all its log is flushed here; a store that is away would keep it
 * from it. */
static void let_go(Stream *s, Msec now)
{
    if (!s->flowing || !*s->trouble || now < s->next_probe)
        return;
    s->next_probe = now + GOING_DOWN_MS;
    if (!watch_going_down(&s->watch))
        return;
    log_warn("the server takes no logins: the stream lets go of it, in case it waits to stop");
    disconnect(s, now);
}

/* PostgreSQL can't end a walsender whose client doesn't read: it would wait for room in the socket,
 * to say so. A checkpoint that takes the slot away waits for that, and everybody for the checkpoint
 * (seen with 15). So after a while the connection is given up; the slot keeps the log all the same.
 */
static void park(Stream *s, Msec now)
{
    if (s->parked && puts_count(s->puts) <= STREAM_WINDOW / 2) {
        s->parked = false;
        s->retry_at = now;
    }
    if (!s->flowing || !choked(s)) {
        s->choked = 0;
        return;
    }
    if (!s->choked)
        s->choked = now;
    if (now - s->choked < CHOKED_MS)
        return;
    s->repl = repl_free(s->repl);
    s->flowing = false;
    s->rest = (Str){0};
    s->parked = true;
}

static void show(Stream *s, Msec now)
{
    bool changed = !streq(s->trouble, s->said);

    if (changed && *s->trouble)
        log_warn("%s", s->trouble);
    if (changed && !*s->trouble)
        log_info("it goes on");
    memcpy(s->said, s->trouble, sizeof s->said);
    if (!changed && now < s->next_status)
        return;
    s->next_status = now + SECOND;
    s->status.tli = s->tli;
    s->status.received = s->piece.end;
    s->status.stored = s->memory.stored.lsn;
    s->status.put_ms = s->piece.put_ms;
    s->status.connected = s->flowing;
    s->status.synchronous = s->watch.promoted;
    s->status.trouble = *s->trouble ? s->trouble : NULL;
    if (s->o->status)
        s->o->status(s->o->user, &s->status);
}

static void look_after(Stream *s, Msec now)
{
    Lsn stored = s->memory.stored.lsn;
    bool behind = stored != s->piece.end;

    if (!s->gone)
        puts_trouble(s->puts, s->trouble);
    watch_step(&s->watch,
               &(WatchView){.caught_up = s->flowing && !behind && stored >= s->status.server,
                            .since = behind ? s->progress : s->gone,
                            .stored = stored},
               now);
    let_go(s, now);
    park(s, now);
    show(s, now);
}

static int talk(Stream *s, Msec now, Err *err)
{
    int r = 0;

    if (!s->repl && !s->parked && now >= s->retry_at && !stopping(s))
        r = connect_to(s, err);
    if (r == 0 && s->repl && s->next.lsn && !stopping(s))
        r = begin(s, err);
    if (r == 0 && s->flowing && !stopping(s))
        r = read_log(s, now, err);
    if (r == 0 && s->flowing && (s->told != s->memory.stored.lsn || now >= s->next_tell))
        r = tell(s, now, err);
    return r;
}

static int turn(Stream *s, Err *err)
{
    Msec now = time_mono();

    take_stored(s, now);
    int r = talk(s, now, err);
    if (r < 0) {
        r = failed(s, r, now, err);
        if (r < 0)
            return r;
        err_clear(err);
    }
    if (cut_wait(s, now) == 0)
        r = cut(s, err);
    if (r == 0)
        look_after(s, now);
    return r;
}

static bool done(const Stream *s)
{
    Lsn stored = s->memory.stored.lsn;

    if (s->o->until && stored >= s->o->until)
        return true;
    return stopping(s) && s->bytes.len == 0 && puts_count(s->puts) == 0;
}

/* What came may be nowhere else any more: so it is stored also when the stream can't go on. */
static int end(Stream *s, Err *err)
{
    if (s->why.kind)
        return err_move(err, &s->why);
    if (s->flowing)
        (void)tell(s, time_mono(), err); /* if it is gone: the slot stays where it was */
    return 0;
}

static int loop(Stream *s, Err *err)
{
    Msec deadline = 0;

    for (;;) {
        int r = turn(s, err);
        if (r < 0 && s->why.kind)
            return err_move(err, &s->why);
        if (r < 0) {
            disconnect(s, time_mono());
            (void)err_move(&s->why, err);
        }
        if (done(s))
            return end(s, err);
        if (stopping(s) && !deadline)
            deadline = time_mono() + STREAM_DRAIN_MS;
        if (deadline && time_mono() >= deadline) {
            log_warn("not all that came could be stored: %s", s->trouble);
            return s->why.kind ? err_move(err, &s->why)
                               : err_set(err, ERR_TEMPORARY,
                                         "ended before all that came was stored; PostgreSQL keeps "
                                         "it and sends it again");
        }
        wait_for(s, time_mono());
    }
}

int stream_run(const StreamOptions *o, Err *err)
{
    _cleanup_(err_clear) Err own = {0};
    _cleanup_free_ Stream *s = NEW(Stream);

    crypt_random_hex(s->run, sizeof s->run - 1);
    s->o = o;
    s->seal = *o->seal;
    s->bytes = BUF_INIT(PIECE_BYTES);
    s->watch = (Watch){
        .sql = o->sql, .slot = o->slot, .wanted = o->synchronous, .give_up_ms = o->give_up_ms};
    int r = memory_open(o->state, &s->file, &s->memory, &own);
    if (r == 0) {
        s->puts = puts_new(o->store);
        r = loop(s, &own);
        watch_end(&s->watch);
        s->puts = puts_free(s->puts);
    }
    if (r < 0)
        (void)err_move(err, &own);
    s->repl = repl_free(s->repl);
    buf_clear(&s->bytes);
    err_clear(&s->why);
    memory_close(&s->file);
    return r;
}
