/* What is left of a project's quotas, and whether its login may make servers: asked before the
 * first write of a plan that makes things.
 *
 * Sources: Nova GET /limits (absolute), Cinder GET /os-quota-sets/{project}?usage=true, Neutron GET
 * /quotas/{project}/details.json (extension quota_details; else /quotas/{project}, which has no
 * usage). -1 is "no limit" everywhere.
 */
#pragma once
#include "cloud/kinds.h"

typedef enum QuotaItem {
    QUOTA_INSTANCES,
    QUOTA_CORES,
    QUOTA_RAM_MB,
    QUOTA_SERVER_GROUPS,
    QUOTA_GROUP_MEMBERS, /* servers in one server group */
    QUOTA_VOLUMES,
    QUOTA_GIGABYTES,
    QUOTA_NETWORKS,
    QUOTA_SUBNETS,
    QUOTA_ROUTERS,
    QUOTA_PORTS,
    QUOTA_FLOATING_IPS,
    QUOTA_GROUPS,
    QUOTA_RULES,
    QUOTA_ITEMS
} QuotaItem;

typedef struct QuotaRow {
    const char *one, *many; /* "server", "servers": in a sentence behind a number */
    CloudService service;
} QuotaRow;
extern const QuotaRow quota_rows[QUOTA_ITEMS];

typedef struct Quota {
    int64_t limit; /* -1: none, or not known */
    int64_t used;  /* reserved ones too; -1: the service does not tell */
} Quota;

/* Asks the services of the items in `mask` (bits 1 << QUOTA_X), in one batch. A service that does
 * not tell this login (403, 404, ...) leaves its items at -1: then the write itself will tell. */
int quota_look(const Clouds *c, unsigned mask, Quota ret[static QUOTA_ITEMS],
               Err *err) _must_check_;
/* The same of an answer; pure. False if it has none of what it should have. */
bool quota_read(CloudService s, const json_t *answer, Quota ret[static QUOTA_ITEMS]);

/* May the island's login make servers? A POST /servers that can't succeed, since its flavor is
 * not there, is judged by policy first: 400 or 404 means that it may; 403 is ERR_DENIED. */
int quota_may_create_servers(const Clouds *c, Err *err) _must_check_;
