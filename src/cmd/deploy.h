/* What deploy, rollback and maintenance share: a record is put into the cloud, and the hosts are
 * made as it says. For a change of release, one step after the other. */
#pragma once
#include "cmd/cmd.h"
#include "deploy/deploy.h"

typedef struct CmdDeploy {
    Cmd *c;
    GoalAsk ask;  /* which hosts it is about; all, if it says nothing */
    CmdPlan plan; /* of the world as it was seen last */
    ReleaseRecord record;
    DeployWaves waves;
    Msec lease_wait_ms;
    bool hold;
} CmdDeploy;

/* Looks. */
int cmd_deploy_look(CmdDeploy *d, Err *err) _must_check_;
/* ERR_PREFLIGHT if no apply has come to its end yet; ERR_CONFLICT while a restore is under way. */
int cmd_deploy_installed(const CmdDeploy *d, Err *err) _must_check_;
/* ERR_PREFLIGHT if a plan has changes. */
int cmd_deploy_unchanged(const CmdDeploy *d, Err *err) _must_check_;
/* How much disk the servers have left; ERR_PREFLIGHT for too little. */
int cmd_deploy_disk(CmdDeploy *d, Err *err) _must_check_;
/* Says how many migrations the fetched release brings. */
int cmd_deploy_pending(CmdDeploy *d, Err *err) _must_check_;
/* Puts `next` into the cloud (taken) and makes it the record. */
int cmd_deploy_step(CmdDeploy *d, ReleaseRecord *next, Err *err) _must_check_;
/* Makes the hosts as the record says; the plan is made with it in sight, though a listing may be a
 * moment behind. ERR_HEALTH if one does not become well. */
int cmd_deploy_converge(CmdDeploy *d, Err *err) _must_check_;
/* The same once more after some seconds: what was restarted has to stay healthy for longer than the
 * edge leaves out one that refused it (role_edge.c: 2 s), or else the next would be stopped while
 * the edge still spares the last. */
int cmd_deploy_settle(CmdDeploy *d, Err *err) _must_check_;
/* Goes on from the record until it ends. ERR_HEALTH if it went back, or is stuck. */
int cmd_deploy_run(CmdDeploy *d, Err *err) _must_check_;
void cmd_deploy_clear(CmdDeploy *d);
DEFINE_CLEAR(CmdDeploy, cmd_deploy_clear)
