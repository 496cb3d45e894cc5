/* The write-ahead log as it lies in a store: which pieces there are, what they cover, segments made
 * of them.
 *
 * Which pieces exist is decided by the catalogue (catalogue.h), never by an answer 404: one that a
 * note saw and that no note says was pruned counts as there, and when it can't be had that is an
 * error. On one timeline pieces may overlap (the stream began anew from the slot's position); where
 * they do they must hold the same bytes. Two pieces that differ where they overlap are a fork, and
 * nothing of it is used silently: what was countersigned first wins, since whoever has stolen the
 * host can only come later; two of the same standing are an error. What can't be read is left out
 * where pieces that were countersigned before have all of it. Who can put, and has no key, may put
 * rubbish under a piece's name. What is no object of ours, and has the MD5 that the store first
 * told of it, was not damaged: it never was a piece, and is as if it were not there. What has
 * another MD5 was a piece perhaps, and is an error.
 *
 * A timeline that began by a promotion has a history: its parents and up to where each counts
 * (timeline history file: PostgreSQL, access/transam/timeline.c). Its lineage is that list and
 * itself.
 */
#pragma once
#include "backup/catalogue.h"

typedef struct WalPiece {
    Timeline tli;
    Lsn start, end;
    const char *name; /* of the object that holds it; borrowed from the catalogue */
    const char *part; /* its own name: the same, or in a merged segment the one it had before */
    int64_t note;     /* that saw the piece, also one that is merged; 0: not countersigned */
    Msec written;     /* when the store got it */
} WalPiece;
typedef VEC(WalPiece) WalPieces;

/* A stretch without a hole. */
typedef struct WalRange {
    Timeline tli;
    Lsn start, end;
    Msec first, last; /* when the store got its first and last piece */
} WalRange;
typedef VEC(WalRange) WalRanges;

/* Pure: by timeline, start, longest first. */
void wal_pieces(const Catalogue *c, WalPieces *ret);
void wal_ranges(const Catalogue *c, WalRanges *ret);
/* The same of some of them, in that order. */
void wal_ranges_of(const WalPieces *pieces, WalRanges *ret);

typedef struct WalParent {
    Timeline tli;
    Lsn end; /* the log of `tli` counts up to here */
} WalParent;
typedef struct WalHistory {
    Timeline tli;
    VEC(WalParent) parents; /* oldest first */
} WalHistory;
typedef VEC(WalHistory) WalHistories;
void wal_histories_clear(WalHistories *h);
DEFINE_CLEAR(WalHistories, wal_histories_clear)
/* Pure: of a history file's text. ERR_CORRUPT. */
int wal_history_parse(Timeline tli, Str text, WalHistory *ret, Err *err) _must_check_;
/* All that the store has, by timeline. Of several the one that was countersigned first. A timeline
 * whose history can't be told, damaged or put there by a stranger, is left out and told in
 * *ret_bad: nothing leads to it. ERR_DENIED when none at all is sealed to this reader. */
int wal_histories_load(Store *s, const Catalogue *c, const KeyPair *reader, WalHistories *ret,
                       StrList *ret_bad, Err *err) _must_check_;

/* Where the log of `tli` leads from a place on it or on a timeline it came from. */
typedef struct WalReach {
    Timeline tli; /* that the end is on */
    Lsn end;
    Msec last;  /* when the store got the piece that ends there */
    Lsn beyond; /* behind a hole there is more log of this lineage, from here on; 0: none */
} WalReach;
/* Pure. False if `from` on `from_tli` is not of its lineage, or no piece holds it. */
bool wal_reach(const WalRanges *ranges, const WalHistories *h, Timeline tli, Timeline from_tli,
               Lsn from, WalReach *ret);
/* Up to where the log of `of` counts for `tli`: UINT64_MAX for itself, 0 if it is no parent. */
Lsn wal_counts(const WalHistories *h, Timeline tli, Timeline of);

typedef struct WalReader WalReader;
/* Borrows all but makes clones of `store`. Fetches ahead with `threads` (0: 4), bounded by 8
 * segments or 32 MiB, but for two segments. */
typedef struct WalReaderOptions {
    Store *store;
    const Catalogue *catalogue;
    const KeyPair *reader;
    uint32_t segment_bytes;
    size_t threads;
    const WalHistories *histories; /* or NULL */
    Timeline tli; /* whose lineage is read: nothing of a parent behind where it counts; 0: any */
} WalReaderOptions;
WalReader *wal_reader_new(const WalReaderOptions *o);
WalReader *wal_reader_free(WalReader *w);
static inline void wal_reader_drop(WalReader *w)
{
    (void)wal_reader_free(w);
}
DEFINE_CLEANUP(WalReader *, wal_reader_drop)
/* The segment that `at` lies in will be asked for first: it and the next ones are fetched from now
 * on. A hint. */
void wal_reader_expect(WalReader *w, Timeline tli, Lsn at);
/* A segment's bytes, exactly segment_bytes of them, in place of what *ret has; what no piece holds
 * is zero, which ends recovery there. The front of a timeline's first segment is its parent's. Or a
 * history file, appended. ERR_NOT_FOUND: the catalogue has no byte of it, certain. Any other error
 * (also for a name that is none, a piece that is gone): it could not be had, and must never be
 * taken for the end of the log.
 */
int wal_reader_get(WalReader *w, const char *file_name, Buf *ret, Err *err) _must_check_;
/* Pieces that were left out since one that was countersigned before says otherwise, and merged
 * segments that had to be read from elsewhere. Sentences; borrowed. */
const StrList *wal_reader_forks(const WalReader *w);
/* Names of pieces that never were any of ours, in a stretch that no other piece has. Each was an
 * ERR_CORRUPT: what rests on the catalogue that named them is to be thought over without them
 * (catalogue_disown). Borrowed. */
const StrList *wal_reader_rubbish(const WalReader *w);
