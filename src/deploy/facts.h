/* What servers say before a deploy, read from the words of their own programs: free disk, and which
 * migrations of a release the database does not have yet. Pure.
 */
#pragma once
#include "base/buf.h"
#include "base/json.h"

/* Free kilobytes, from `df -Pk PATH`; -1 if it is not that. */
int64_t facts_free_kb(Str df);

/* What a release's indexes are made from: 16 hex digits of the digest that `sha256sum` printed of
 * the definitions (`app/chewy`); to be freed. NULL if it is not that. */
char *facts_index_new(Str sha256sum);

typedef struct Pending {
    int before, after; /* the restart: pre- and post-deployment migrations */
} Pending;
/* Migrations whose version is not among the database's (`SELECT version FROM schema_migrations`,
 * one a line). `listing`: of `ls db/migrate db/post_migrate`, where a folder's name ends in ':'.
 * False if the listing is none. */
bool facts_pending(Str listing, Str applied, Pending *ret);
