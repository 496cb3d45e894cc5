/* What a prune does to a store: retention.h decides, this looks and acts.
 *
 * Needs the owner's login (nobody else's deletes versions) and the audit key (marks are notes). It
 * may be killed anywhere: what was removed without a note of it is removed again, which is nothing,
 * and noted then. An audit may run at the same time.
 */
#pragma once
#include "backup/retention.h"

#define PRUNE_BATCH 500 /* removals between two notes */

typedef struct Prune {
    Store *store; /* borrowed, as the next four */
    const KeyPair *auditor;
    const StrList *auditors, *hosts; /* public keys that are believed; hosts: where no note says */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *user, size_t done, size_t total); /* removals; or NULL */
    void *user;
    Catalogue catalogue; /* owned, as the next three */
    Bases bases;
    StrList bad;   /* manifests that can't be read, with why */
    StrList lying; /* objects that a note says were pruned and of which versions are there: they
                      count as there, since who has the audit key alone can only say so */
} Prune;
void prune_clear(Prune *p);
DEFINE_CLEAR(Prune, prune_clear)
/* Reads catalogue and manifests, anew if it was before. */
int prune_look(Prune *p, Err *err) _must_check_;
/* Takes marks back, sets new ones, removes what is to be removed (every version), and writes it
 * down. ERR_INTERRUPTED, the store's errors: run it again. */
int prune_act(Prune *p, const Retention *r, const RetentionRules *rules, Err *err) _must_check_;
