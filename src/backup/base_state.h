/* What a base backup keeps in its state folder: the page map of the last backup, the journals of
 * runs that were cut off, and the note that says which map is the last one's. All of it may be
 * lost.
 *
 * A map is used on its own timeline only. A server that was a primary once, and is again, has a map
 * of long ago; meanwhile others made backups, a prune took the packs that it names, and a backup
 * upon it would be none.
 */
#pragma once
#include "backup/lsn.h"
#include "backup/pages.h"

typedef struct BaseState {
    char *folder;
    int lock_fd;
    PageMap *sources[PAGES_SOURCES_MAX]; /* best first */
    size_t source_count;
    StrList journals; /* of runs that were cut off */
    char *journal;    /* this run's */
    PageMapWriter *map;
    bool resumed;
} BaseState;
void base_state_clear(BaseState *s);
DEFINE_CLEAR(BaseState, base_state_clear)

typedef struct BaseStateAsk {
    const char *folder;
    const char *system;
    Timeline tli; /* of the server */
    PageBinding binding;
    bool full;
    Msec now;
} BaseStateAsk;
/* Locks the folder, reads what is there and begins a journal. A map that can't be used is a warning
 * that says so. ERR_HELD: another base backup runs. */
int base_state_open(const BaseStateAsk *ask, BaseState *ret, StrList *warnings,
                    Err *err) _must_check_;
/* The journal becomes the map; `sha256` is its (pagemap_finish). */
int base_state_finish(BaseState *s, const BaseStateAsk *ask, const char *sha256,
                      Err *err) _must_check_;
