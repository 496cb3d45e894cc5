/* The lease: one run at a time works on an island.
 *
 * It is an empty security group `<island>-lease`, created first and deleted last: the oldest
 * (created_at, then id) holds. Its description: "atoll-lease:<island> holder=<who> run=<machine
 * id>:<pid>:<start ticks>:<nonce> until=<RFC 3339>". One that has expired, or whose process is dead
 * on this same machine, is taken over (deleted) at once. Renewing changes the description. Times
 * are the cloud's (cloud_now), so that the clocks of two machines need not agree.
 */
#pragma once
#include "cloud/kinds.h"

typedef struct Lease {
    char *id; /* of our group */
    char *description;
    Msec until;
    Msec created_at; /* by the cloud's clock: what is younger was made during this run */
    bool took_over;  /* a dead holder was found: unguarded kinds are to be listed twice before a
                        POST, since its last request may still land */
} Lease;

#define LEASE_LIFE (10 * MINUTE)

/* ERR_HELD with who holds it and until when. */
int lease_take(const Clouds *c, const char *holder, Msec now, Lease *ret, Err *err) _must_check_;
/* Renews when less than three quarters of its life are left (a batch may take a minute). ERR_HELD
 * if it is gone: stop at once. */
int lease_renew(const Clouds *c, Lease *l, Msec now, Err *err) _must_check_;
void lease_drop(const Clouds *c, Lease *l); /* failing is fine: it expires */
void lease_clear(Lease *l);
DEFINE_CLEAR(Lease, lease_clear)
/* Who holds it, for `status` and `lock`: NULL text when nobody. ret to be freed. */
int lease_show(const Clouds *c, Msec now, char **ret, Err *err) _must_check_;
/* `unlock --force`: removes every lease of the island. */
int lease_break(const Clouds *c, Err *err) _must_check_;
