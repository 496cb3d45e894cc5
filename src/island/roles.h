/* What a role is: the one table of facts that security rules, bundles, checks and docs use.
 *
 * A role is what a server does. Which servers carry which roles is the island file's; what a role
 * listens on and whom it must reach is here, once. host/ knows how to run it.
 */
#pragma once
/* Written beside the signal by who has told a Sidekiq process to be quiet and waits for it
 * (`atoll scale`), and followed by its identity: then quiet is as it should be. */
#define SIDEKIQ_DRAIN_MARK "atoll:drain:"
#include "base/util.h"

typedef enum Role {
    ROLE_EDGE,   /* nginx: TLS, routing to web and streaming */
    ROLE_WEB,    /* Puma */
    ROLE_STREAM, /* the streaming API */
    ROLE_WORKER, /* Sidekiq */
    ROLE_REDIS,
    ROLE_POSTGRES,
    ROLE_SEARCH,
    ROLE_CONTROL, /* works on the island itself: scales tiers, countersigns backups (host/control.h)
                   */
    ROLES
} Role;

#define ROLE_BIT(r) (1u << (r))

typedef struct RoleRow {
    const char *name;
    const char *sentence; /* for the reference */
    int port;             /* TCP it listens on; 0: none (edge: the island's own ports) */
    unsigned clients;     /* roles that connect to it: the security rules */
    bool world;           /* and everybody (edge) */
    bool single;          /* exactly one server of an island carries it */
    bool required;        /* at least one server must */
    const char *user;     /* system user its services run as */
    const char *keeps;    /* what would be lost with its disk, in words; NULL: nothing */
    const char *health;   /* path for HTTP health checks, or NULL for a TCP or protocol check */
} RoleRow;
extern const RoleRow role_rows[ROLES];
bool role_parse(const char *name, Role *ret) _must_check_;
/* Their names, NULL-ended, in the order of the table: for "did you mean". */
const char *const *role_names(void);
