#include "backup/stream.h"

#define WAIT_LEAST_MS 20 /* or each message would be an object */

/* Two puts' time are left of the second: this one may be slower than the last. A store so slow
 * that the second can't be held gets few and large pieces. */
static Msec patience(const Piece *p)
{
    Msec slow = MIN(p->put_ms / 4, PIECE_WAIT_MS);
    return MAX(PIECE_WAIT_MS - 2 * p->put_ms, MAX(slow, WAIT_LEAST_MS));
}

Msec piece_wait(const Piece *p, Msec now)
{
    if (p->end == p->start)
        return -1;
    if (p->end % PIECE_BYTES == 0 || p->eager)
        return 0;
    return MAX(p->oldest + patience(p) - now, 0);
}

bool piece_due(const Piece *p, Msec now)
{
    return piece_wait(p, now) == 0;
}

static Lsn segment_start(Lsn l, uint32_t segment_bytes)
{
    return l - l % segment_bytes;
}

StreamPlace stream_begin(StreamPlace slot, StreamPlace server, StreamPlace known,
                         uint32_t segment_bytes)
{
    /* The slot may be behind: a server that crashed has its position as of the last checkpoint. */
    if (known.lsn && known.tli == server.tli && known.lsn >= slot.lsn)
        return known;
    /* After a promotion, the new primary's slot says what it still has of the old timeline. */
    if (known.lsn && known.tli < server.tli && known.lsn >= slot.lsn) {
        if (!slot.lsn)
            return known;
        if (slot.tli == known.tli)
            return slot;
    }
    /* Whoever reads a segment wants its first page too. */
    StreamPlace from = slot.lsn ? slot : server;
    return (StreamPlace){.tli = from.tli ? from.tli : server.tli,
                         .lsn = segment_start(from.lsn, segment_bytes)};
}

SyncStep sync_next(const SyncView *v, Msec now)
{
    if (v->wanted == BACKUP_ASYNC)
        return v->promoted ? SYNC_DEMOTE : SYNC_STAY;
    /* Earlier, commits would wait for us to catch up. */
    if (!v->promoted)
        return v->caught_up ? SYNC_PROMOTE : SYNC_STAY;
    if (v->wanted == BACKUP_GIVE_UP && v->since && now - v->since >= v->give_up_ms)
        return SYNC_DEMOTE;
    return SYNC_STAY;
}

SlotAlarm slot_alarm(const SlotView *v)
{
    static const int64_t gib = (int64_t)1 << 30;

    if (streq(v->status, "lost"))
        return SLOT_LOST;
    if (streq(v->status, "unreserved"))
        return SLOT_URGENT;
    if (v->keep < 0 || v->safe < 0)
        return v->held >= 8 * gib ? SLOT_URGENT : v->held >= gib ? SLOT_WARN : SLOT_FINE;
    if (v->safe < v->keep / 4)
        return SLOT_URGENT;
    return v->safe < v->keep / 2 ? SLOT_WARN : SLOT_FINE;
}
