#include "cmd/deploy.h"
#include "base/log.h"
#include <stdio.h>

/* Migrations of a large table may take hours. */
#define MIGRATION_LIMIT (24 * HOUR)
/* Beside the gate: a release is fetched in half an hour, jobs are drained in minutes, apt may wait
 * for half an hour when atoll itself is upgraded. What takes longer is a server that is gone. */
#define PHASE_LIMIT (1 * HOUR)
#define SETTLE (4 * SECOND)

void cmd_deploy_clear(CmdDeploy *d)
{
    goal_ask_clear(&d->ask);
    cmd_plan_clear(&d->plan);
    release_clear(&d->record);
    deploy_waves_clear(&d->waves);
}

static Msec limit_of(const ReleaseRecord *r)
{
    return r->phase == RELEASE_PRE || r->phase == RELEASE_POST ? MIGRATION_LIMIT
                                                               : PHASE_LIMIT + r->gate_s * SECOND;
}

/* Only settings of hosts change in a deploy: anything else is for a plan that somebody reads. */
static int only_sends(const CmdDeploy *d, Err *err)
{
    for (size_t i = 0; i < d->plan.steps.len; i++) {
        const Step *s = &d->plan.steps.items[i];

        if (s->verb == KIND_SEND && s->kind == RESOURCE_HOST)
            continue;
        (void)err_set(err, ERR_PREFLIGHT, "the island is not what its file says: %s %s differs",
                      resource_row(s->kind)->word, s->key);
        return err_hint(err, "`atoll plan` shows it, `atoll apply` makes it so; then again");
    }
    return 0;
}

int cmd_deploy_look(CmdDeploy *d, Err *err)
{
    cmd_plan_clear(&d->plan);
    d->plan = (CmdPlan){0};
    int r = cmd_plan_quiet(d->c, &d->ask, &d->plan, err);
    if (r < 0)
        return r;
    release_clear(&d->record);
    cmd_release_read(d->c, &d->plan.world, &d->record);
    d->c->release = d->record.number;
    deploy_waves_clear(&d->waves);
    deploy_waves(&d->plan.goal.want, &d->waves);
    return 0;
}

int cmd_deploy_installed(const CmdDeploy *d, Err *err)
{
    if (d->record.swap != SWAP_NONE) {
        (void)err_set(err, ERR_CONFLICT, "a restore of the database is under way");
        return err_hint(err, "`atoll status` shows it, and what goes on with it");
    }
    if (d->record.number > 0)
        return 0;
    (void)err_set(err, ERR_PREFLIGHT, "%s is not installed yet", d->c->island.name);
    return err_hint(err, "`atoll apply` installs it, with the release that the file names");
}

int cmd_deploy_unchanged(const CmdDeploy *d, Err *err)
{
    if (d->plan.steps.len == 0)
        return 0;
    (void)err_set(err, ERR_PREFLIGHT, "the island is not what its file says: %zu changes",
                  d->plan.steps.len);
    return err_hint(err, "`atoll apply` first");
}

int cmd_deploy_step(CmdDeploy *d, ReleaseRecord *next, Err *err)
{
    int r = cmd_release_put(d->c, next, err);

    if (r == 0) {
        release_clear(&d->record);
        d->record = *next;
        *next = (ReleaseRecord){0};
    } else {
        release_clear(next);
    }
    return r;
}

static void say(const CmdDeploy *d)
{
    _cleanup_free_ char *words = deploy_words_new(&d->record);
    const ReleaseRecord *r = &d->record;

    if (d->c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:O, s:O, s:I}", "event", "phase", "phase",
                               release_phase_word(r->phase), "now", r->now, "to", r->to, "number",
                               (json_int_t)r->number));
    else
        cmd_say(d->c, "%s\n", words);
}

int cmd_deploy_converge(CmdDeploy *d, Err *err)
{
    _cleanup_(release_clear) ReleaseRecord mine = {0};

    release_copy(&mine, &d->record);
    int r = cmd_deploy_look(d, err);
    if (r < 0)
        return r;
    if (d->record.number > mine.number) {
        (void)err_set(err, ERR_CHANGED, "another run has gone on with the release meanwhile");
        return err_hint(err, "`atoll deploy` goes on from there");
    }
    r = only_sends(d, err);
    return r < 0 ? r
                 : cmd_perform(d->c, &d->plan,
                               &(CmdPerform){.lease_wait_ms = d->lease_wait_ms,
                                             .timeout_ms = limit_of(&mine)},
                               err);
}

int cmd_deploy_settle(CmdDeploy *d, Err *err)
{
    for (Msec waited = 0; waited < SETTLE && !*d->c->stop; waited += 100)
        time_sleep(100);
    if (*d->c->stop) {
        (void)err_set(err, ERR_INTERRUPTED, "interrupted");
        return err_hint(err, "`atoll deploy` goes on from here, `atoll rollback` goes back");
    }
    return cmd_deploy_converge(d, err);
}

static int conclude(const CmdDeploy *d, DeployEnd end, const Err *why, Err *err)
{
    char words[128], other[128];
    const ReleaseRecord *r = &d->record;

    switch (end) {
    case DEPLOY_ENDED:
        cmd_say(d->c, "Done: %s runs %s.\n", d->c->island.name, release_words(r->now, words));
        return 0;
    case DEPLOY_HOLDS:
        cmd_say(d->c,
                "%s runs %s. The migrations after it wait: `atoll deploy` does them, `atoll "
                "rollback` goes back.\n",
                d->c->island.name, release_words(r->to, words));
        return 0;
    case DEPLOY_WENT_BACK:
        if (!why->text) {
            cmd_say(d->c, "Done: %s runs %s again.\n", d->c->island.name,
                    release_words(r->now, words));
            return 0;
        }
        return err_set(err, ERR_HEALTH, "%s; %s runs %s", why->text, d->c->island.name,
                       release_words(r->now, words));
    case DEPLOY_STUCK:
        (void)err_set(err, ERR_HEALTH, "%s", why->text ? why->text : "stopped");
        return r->phase == RELEASE_POST
                   ? err_hint(err,
                              "%s runs everywhere; its migrations after the restart did not end. "
                              "Mend what they say, then `atoll deploy` tries them again",
                              release_words(r->to, words))
                   : err_hint(err, "`atoll rollback` tries the way back to %s again",
                              release_words(r->now, other));
    case DEPLOY_GOES_ON:
        break;
    }
    return 0;
}

int cmd_deploy_run(CmdDeploy *d, Err *err)
{
    /* What failed first is the reason; the way back must not hide it. */
    _cleanup_(err_clear) Err why = {0};

    for (;;) {
        _cleanup_(err_clear) Err failed = {0};
        ReleaseRecord next = {0};

        say(d);
        int r = cmd_deploy_converge(d, &failed);
        if (r == 0 && (d->record.phase == RELEASE_ROLL || d->record.phase == RELEASE_BACK))
            r = cmd_deploy_settle(d, &failed);
        if (r == 0 && d->record.phase == RELEASE_FETCH)
            r = cmd_deploy_pending(d, &failed);
        if (r < 0 && r != -ERR_HEALTH)
            return err_move(err, &failed);
        if (r < 0 && (!why.text || d->record.phase == RELEASE_BACK)) {
            log_warn("%s", failed.text);
            (void)err_move(&why, &failed);
        }
        DeployEnd end = deploy_next(&d->record, &d->waves, r < 0, d->hold, &next);
        if (next.number) {
            r = cmd_deploy_step(d, &next, err);
            if (r < 0)
                return r;
        }
        if (end == DEPLOY_GOES_ON)
            continue;
        bool settled = end == DEPLOY_ENDED || end == DEPLOY_WENT_BACK;
        /* What every host keeps on its disk changes once more. Why it went back is the better
         * reason; what is left to do then, the next plan shows. */
        r = settled ? cmd_deploy_converge(d, err) : 0;
        if (settled)
            cmd_tree_prune(d->c, &d->plan.world, &d->record);
        if (r < 0 && !why.text)
            return r;
        r = conclude(d, end, &why, err);
        return r == 0 && end == DEPLOY_ENDED ? cmd_search_settle(d->c, &d->record, err) : r;
    }
}
