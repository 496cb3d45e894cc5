/* The drivers of `atoll scale` (scale/pool.h): a tier of an island, and a command for anything
 * else.
 */
#pragma once
#include "cmd/cmd.h"
#include "scale/pool.h"

typedef struct PlanPool {
    Cmd *c;
    const Tier *tier;
    const char *package;
    pid_t child;           /* `atoll scale set` at work; 0: none */
    uint64_t there, going; /* numbers, of the last look */
    char *redis;           /* address of the island's Redis; owned, NULL until it was seen */
    json_t *flavor;        /* of the tier's servers, as the cloud has it; NULL until it was asked */
    int quota;             /* so many servers of it there may be; 0: not known */
    Msec quota_at;         /* time_mono of that; 0: never */
} PlanPool;
/* The tier's servers, through the engine of plan and apply, in a child process. */
extern const PoolDriver pool_plan; /* self: a PlanPool */
void pool_plan_clear(PlanPool *p);
DEFINE_CLEAR(PlanPool, pool_plan_clear)

typedef struct ExecPool {
    const char
        *command; /* a program; it is run as `COMMAND list` and `COMMAND set SIZE [NAME...]` */
    pid_t child;
} ExecPool;
extern const PoolDriver pool_exec; /* self: an ExecPool */
/* Ends a child that is still at work. */
void pool_child_end(pid_t *child);
