/* Keystone's inside for the other services of pocket: who a token belongs to.
 *
 * Rows: domain, project, user, role, assignment ("user:project:role"), app_credential, token (id:
 * SHA-256 of its text, which is stored nowhere; project column: its user). A token's roles are
 * looked up at each use, so taking a role or a user away takes effect at once.
 *
 * All calls under pocket's lock.
 */
#pragma once
#include "pocket/pocket.h"

typedef struct Caller {
    PocketUser user; /* first: PocketCall.user of a handler in keystone is a Caller */
    char *user_domain_id, *project_domain_id;
    char *token_id;       /* row id */
    char *credential_id;  /* of the application credential it came from, or NULL */
    json_t *access_rules; /* of that credential: array, or NULL */
    json_t *token;        /* its row */
} Caller;

/* NULL: no such token, expired, or its user, project, roles or credential are gone. */
Caller *keystone_caller_new(Pocket *p, const char *token);
Caller *caller_free(Caller *c);
static inline void caller_drop(Caller *c)
{
    (void)caller_free(c);
}
DEFINE_CLEANUP(Caller *, caller_drop)
/* Access rules: true without any. `path` is raw. */
bool caller_may(const Caller *c, PocketService s, const char *method, const char *path);

/* Drops what has expired; a fresh cloud gets its domain, roles, projects and users, and
 * DIR/clouds.yaml with their passwords, written before the rows are committed. */
int keystone_start(Pocket *p, bool fresh, Err *err) _must_check_;
