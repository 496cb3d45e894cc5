/* The files of a real server that are atoll's: drop-ins, masks of units, authorised keys.
 *
 * Each call makes the file what it should be, and writes nothing where it is so already. `root`: ""
 * on a real server. Files of the system that are not atoll's own are not touched, but for one
 * marked block in authorized_keys.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

/* journald's limits: a twentieth of the disk, at least 64 MB and at most 2 GB; 64 MB in memory. By
 * default journald takes a tenth, up to 4 GB, and a sixth of a small /run. *ret_changed: it has to
 * be restarted to see it. */
int machine_journal(const char *root, bool *ret_changed, Err *err) _must_check_;
/* The drop-in alone, for a disk of so many bytes. Pure. */
void machine_journal_text(int64_t disk_bytes, Buf *ret);
/* What apt does by itself: security updates every day, and no reboot. */
int machine_updates(const char *root, Err *err) _must_check_;
/* PostgreSQL's package is not to make a cluster when it is installed. */
int machine_no_cluster(const char *root, Err *err) _must_check_;
/* What a search server asks of the kernel: so many areas of memory of one process as Lucene's files
 * need ("vm.max_map_count"). Kept for the next boot, and raised now. Where that may not be done
 * (a container, whose kernel is its host's) it is left as it is, and said. */
int machine_maps(const char *root, Err *err) _must_check_;
/* Masks a unit: it can't be started, by hand or by a package. ERR_CONFLICT if an administrator has
 * a unit of his own there. *ret_changed: systemd has to be told. */
int machine_mask(const char *root, const char *unit, bool *ret_changed, Err *err) _must_check_;

/* Makes `keys` (an array of strings; lines of authorized_keys) the ones that may log in as `debian`
 * or, where there is no such user, as root: a marked block in ~/.ssh/authorized_keys. Lines outside
 * it stay. */
int machine_ssh_keys(const char *root, const json_t *keys, Err *err) _must_check_;
/* The file with the block made so; without keys there is no block. Pure. */
void machine_ssh_text(Str before, const json_t *keys, Buf *ret);
