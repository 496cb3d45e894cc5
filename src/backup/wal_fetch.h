/* Inside the reading of the log: one object is fetched and opened, by a thread of a pool. */
#pragma once
#include "backup/wal.h"

/* Bytes of the log that lie at a place. */
typedef struct Part {
    Lsn start;
    Buf bytes;
} Part;
typedef VEC(Part) Parts;

/* One object to fetch: `count` pieces that lie in it, one behind another. */
typedef struct Fetch {
    const WalReaderOptions *o;
    void *user;             /* the caller's */
    const WalPiece *pieces; /* borrowed */
    size_t count;
    Parts parts;   /* one for each piece, in their order */
    char *trouble; /* what was got over; or NULL */
    bool rubbish;  /* with an error: it was never one of ours, and so proves nothing */
    Err err;
} Fetch;
void wal_fetch_free(void *f);
/* A merged segment comes from its newest version, else from an earlier one, else from the pieces
 * that it was made of. ERR_CORRUPT, also for one that is gone; ERR_DENIED: not sealed to this
 * reader; ERR_CONFLICT: of another cluster. */
int wal_fetch(Store *store, Fetch *f, Err *err) _must_check_;
