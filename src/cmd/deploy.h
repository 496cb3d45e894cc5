/* What deploy and rollback share: the steps of a change of release, one after the other. */
#pragma once
#include "cmd/cmd.h"
#include "deploy/deploy.h"

typedef struct CmdDeploy {
    Cmd *c;
    CmdPlan plan; /* of the world as it was seen last */
    ReleaseRecord record;
    DeployWaves waves;
    Msec lease_wait_ms;
    bool hold;
} CmdDeploy;

/* Looks. ERR_PREFLIGHT if the island is otherwise not what its file says, or not well. */
int cmd_deploy_look(CmdDeploy *d, Err *err) _must_check_;
/* Puts `next` into the cloud (taken) and makes it the record. */
int cmd_deploy_step(CmdDeploy *d, ReleaseRecord *next, Err *err) _must_check_;
/* Goes on from the record until it ends. ERR_HEALTH if it went back, or is stuck. */
int cmd_deploy_run(CmdDeploy *d, Err *err) _must_check_;
void cmd_deploy_clear(CmdDeploy *d);
DEFINE_CLEAR(CmdDeploy, cmd_deploy_clear)
