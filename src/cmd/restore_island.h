/* atoll restore --island: the database of an island as it was, on a volume of its own.
 *
 *   none ─► close ─► move ─► none
 *             │        └─ undo: move, to the volume of before ─► none
 *             └─ undo: none
 *
 * Each step is a record in the cloud (host/release.h), written before it is taken, and the engine
 * makes the island so: whoever runs the same command again, from whatever machine, goes on. The
 * lease is held while something is changed.
 *
 * close: the edge answers 503, and nothing of Mastodon's runs any more. Then the log that counts is
 * stored, the backup is chosen, and what the server needs for it is put together (backup/kit.h).
 * move: a new volume is made (or one that is kept is taken), the database's server stops all it
 * runs, changes one for the other, fills the new one and starts again. The volume of before is only
 * detached. Then everything is started, on the database as it is.
 */
#pragma once
#include "cmd/restore.h"

typedef struct CmdRestoreIsland {
    const CmdRestoreOptions *restore; /* at, base, timeline */
    bool undo, dry_run, yes;
    Msec lease_wait_ms;
} CmdRestoreIsland;
/* ERR_PREFLIGHT: no backup, no volume, or the island is otherwise not what its file says;
 * ERR_NOT_FOUND: nothing leads to the moment, or no volume is kept; ERR_CONFLICT: a deploy or
 * another restore is under way; ERR_HEALTH: the database did not come up. */
int cmd_restore_island(Cmd *c, const CmdRestoreIsland *o, Err *err) _must_check_;
/* The volumes of the database that are kept, by name in the cloud, the newest first. */
void cmd_restore_kept(const Goal *g, const World *w, StrList *ret);
/* While a restore is under way: what it is at, and what goes on with it; to be freed. NULL: none
 * is.
 */
char *cmd_restore_words_new(const ReleaseRecord *r);
