/* A tier that Heat has: an OS::Heat::ResourceGroup or an OS::Heat::AutoScalingGroup of servers,
 * made by somebody else's stack (cloud/heat.h says what of its template has to be a parameter).
 *
 * A change is one PATCH that names size and victims; while the stack is at anything, by whomever,
 * nothing is asked. Its end is believed only when the servers, read again, are the ones that were
 * asked for. A failed update may be followed by another; what it has left without a server goes
 * with the next. Sizes are absolute and victims are those that have finished their jobs, so two
 * that both believe to have the lease do each other no harm: its generation isn't used, since a
 * Redis that forgot it would stop the pool for good.
 *
 * A server's name is what Nova makes a host name of its name; its Sidekiq has to call its machine
 * so, as cloud-init sets it. Thread: belongs to one, as its Cloud does.
 */
#pragma once
#include "cloud/heat.h"
#include "scale/pool.h"

typedef struct HeatPool {
    Cloud *cloud;     /* borrowed */
    char *name;       /* of the stack */
    char *group_name; /* or NULL: the only one of its template */
    HeatStack stack;
    HeatGroup group;
    HeatMembers now;    /* of the last look; empty once something was asked */
    HeatMembers before; /* when it was asked */
    bool asked;         /* for `size`, of which nothing is known yet */
    int size;
    char *updated; /* what the stack had then */
    Msec asked_at; /* time_mono */
} HeatPool;
extern const PoolDriver pool_heat; /* self: a HeatPool */
/* `what`: "STACK" or "STACK/GROUP". Looks at the stack and at its template. *ret is to be cleared
 * after an error, too. */
int pool_heat_open(Cloud *c, const char *what, HeatPool *ret, Err *err) _must_check_;
void pool_heat_clear(HeatPool *p);
DEFINE_CLEAR(HeatPool, pool_heat_clear)
/* Nova's sanitize_hostname: what cloud-init calls a server of this name. To be freed. */
char *pool_heat_host_new(const char *server);
