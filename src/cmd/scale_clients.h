/* `atoll scale` on a tier of streaming servers: the loop around scale/clients.h. Clients are
 * counted by the servers' own reports, which come within the minute, so that nothing has to reach
 * them from where this runs. There is no lease: two that run may each choose another server to go,
 * and what the later one asks for is what stands. */
#pragma once
#include "cmd/scale_pool.h"
#include "scale/clients.h"

typedef struct ScaleClients {
    PlanPool *pool;
    ClientsConfig config;
    Msec every_ms;
    Msec join_ms; /* one that does not serve for so long, while another does, is given up */
    bool dry_run;
} ScaleClients;
/* Until *c->stop; then the tier stays as it is. */
void scale_clients(Cmd *c, const ScaleClients *s);
