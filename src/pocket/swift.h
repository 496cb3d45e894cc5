/* Swift: accounts, containers and objects, with the semantics that were measured on a real one
 * (reference: openstack.md a to g). The facts in comments beside the code name its letters.
 *
 * Rows are in tables of their own beside the store's (swift_rows.h); a body is a file of its own
 * under DIR/swift, never changed after it was written. A PUT is durable in this order: body to
 * DIR/swift/tmp, fsync, rename, fsync of the folder, row committed, 201. So what a crash leaves
 * behind is a file without a row, and the next start removes it.
 *
 * Not here: symlinks, container sync, account ACLs, storage policies, archive extraction, the S3
 * face, static web. They are answered with 501, or ignored where Swift without them ignores them.
 */
#pragma once
#include "pocket/pocket.h"

/* Makes tables and folders, removes files without rows. Under the lock, in a transaction. */
int swift_start(Pocket *p, Err *err) _must_check_;
