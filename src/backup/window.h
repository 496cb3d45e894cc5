/* Recovery windows: which positions of the log can be restored to, with which backups and pieces.
 * Pure.
 *
 * A backup reaches from its stop on to the first hole of its timeline's log, and from there on
 * along later timelines whose log begins before that hole. Where exactly a timeline parted from its
 * parent stands in history files, which only a reader's key opens; without it a window tells where
 * log *may* lead, and base_choose (restore.h) what holds.
 */
#pragma once
#include "backup/restore.h"

/* A stretch of log of which every position can be restored to. */
typedef struct Window {
    Timeline tli;
    Lsn start, end;
    Msec from, to; /* the store's times of the first and last piece of it */
} Window;
typedef VEC(Window) Windows;

typedef VEC(const Base *) BaseRefs;
/* Is all log from the backup's start to its stop in these? */
bool window_log_whole(const Base *b, const WalRanges *ranges);
/* `bases`: whole ones; others add nothing. `pieces` as wal_pieces sorts them. By timeline and
 * start. */
void windows_find(const BaseRefs *bases, const WalPieces *pieces, Windows *ret);
/* What is in `before` and not in `after`; times from the pieces of `before`. */
void windows_lost(const Windows *before, const Windows *after, const WalPieces *pieces,
                  Windows *ret);
