/* How old an island's backups are, for status and deploy: by the object store's own times of what
 * was stored last. Three listings of one or two objects, at once. A quiet database stores nothing,
 * so an old log alone is no fault.
 *
 * Which backup was proven last the notes of the catalogue say, and they are believed only by the
 * audit key's public half: it is in the folder that `atoll backup settings` writes. Without it that
 * is not known here.
 */
#pragma once
#include "cmd/cmd.h"

typedef struct BackupAge {
    Msec log, copy, countersigned; /* 0: there is none */
    Msec proven;                   /* of the last good drill; 0: none, or not known */
    bool knows_proven, failed;     /* failed: the last drill was not good */
} BackupAge;
/* Only where island.backup.on. A catalogue that can't be read is a warning, and not known. */
int cmd_backup_age(Cmd *c, BackupAge *ret, Err *err) _must_check_;
/* "log stored 3 s ago, whole copy 5 h ago, countersigned 12 s ago; proven never" */
void cmd_backup_age_words(const BackupAge *age, Msec now, Buf *out);
/* What an operator has to be warned of; NULL: nothing. Constant. */
const char *cmd_backup_age_warning(const BackupAge *age, int every_h, Msec now);
