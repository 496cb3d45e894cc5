/* Pieces of a finished segment, put one behind another into one object: a day's log is then some
 * hundred objects to fetch and to list, not some ten thousand.
 *
 * The pieces stay as they are, encrypted and signed; the object only joins them, so no key is
 * needed, and a note ("merged", catalogue.h) says which they were. They are removed by `prune`, not
 * here.
 */
#pragma once
#include "backup/wal.h"

#define MERGE_MOST 16 /* in one go */

typedef struct Merge {
    char *segment; /* "segment/<timeline>/<file name>", without "-<n>" */
    StrList from;  /* names of the pieces, by their places */
} Merge;
typedef VEC(Merge) Merges;
void merges_clear(Merges *m);
DEFINE_CLEAR(Merges, merges_clear)
/* Pure. Segments that are there from their first to their last byte, in two pieces or more, all
 * countersigned and not marked, all stored before `before`, which no note calls merged; at most
 * MERGE_MOST, oldest first. */
void merge_choose(const Catalogue *c, uint32_t segment_bytes, Msec before, Merges *ret);
/* Puts the object. *ret_name: to be freed; *ret_sha256: of the object. What is there already with
 * the same bytes is good (a run that was cut off). ERR_CONFLICT: other bytes have that name. */
typedef struct Merged {
    char *name;
    char hash[OBJECT_HASH_MAX];
    const char *bad; /* with an error: the piece that can't be had, borrowed from *m; or NULL */
} Merged;
int merge_put(Store *s, const Catalogue *c, const Merge *m, Merged *ret, Err *err) _must_check_;
