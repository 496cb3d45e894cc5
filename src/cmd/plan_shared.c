/* The plan of a goal: made, printed, performed. Shared by plan, apply and destroy. */
#include "base/log.h"
#include "cloud/quota.h"
#include "cmd/cmd.h"
#include "cmd/progress.h"
#include "host/backup.h"
#include <stdio.h>
#include <unistd.h>

void cmd_plan_clear(CmdPlan *p)
{
    world_clear(&p->world);
    goal_clear(&p->goal);
    steps_clear(&p->steps);
    next_clear(&p->next);
}

bool cmd_plan_done(const CmdPlan *p)
{
    return p->steps.len + p->next.waits.len + p->next.stucks.len == 0;
}

/* Goal, steps and what comes next for the world that was looked at. */
static int make_plan(Cmd *c, const GoalAsk *ask, Msec now, CmdPlan *ret, Err *err)
{
    int r = ask->destroy ? 0 : island_preflight(&c->island, ret->world.facts, err);
    if (r == 0 && !ask->destroy)
        r = cmd_tls_look(c, &ret->world, err);
    if (r < 0)
        return r;
    goal_clear(&ret->goal);
    steps_clear(&ret->steps);
    next_clear(&ret->next);
    r = apply_goal(&c->island, &ret->world, ask, &ret->goal, err);
    if (r == 0)
        r = plan_make(&ret->goal, &ret->world, now, &ret->steps, err);
    return r < 0 ? r : plan_next(&ret->goal, &ret->world, now, &ret->next, err);
}

/* What a cloud offers is kept for an hour; a new server is not made from an image that was replaced
 * in the meantime, and what is missing may have come. */
static bool wants_fresh_facts(const Cmd *c, const CmdPlan *p, int r)
{
    bool asked = json_bool(p->world.facts, "asked", false);
    bool wants = r == -ERR_PREFLIGHT || (r == 0 && cmd_plan_creates(p, RESOURCE_SERVER));
    return wants && !asked && c->cache_dir;
}

static void add_all(StrList *to, const OptList *from)
{
    for (size_t i = 0; i < from->len; i++)
        strlist_add(to, from->items[i]);
}

void cmd_ask_goal(const CmdAsk *ask, GoalAsk *ret)
{
    ret->rebuild = ask->rebuild;
    add_all(&ret->only, &ask->only);
    add_all(&ret->replace, &ask->replace);
    add_all(&ret->release, &ask->release);
}

ApplyLook cmd_look(const Cmd *c)
{
    return (ApplyLook){&c->clouds, &c->island, c->release, c->stop};
}

int cmd_plan_quiet(Cmd *c, const GoalAsk *ask, CmdPlan *ret, Err *err)
{
    Msec now = time_now();
    ApplyLook look = cmd_look(c);
    int r = apply_look(&look, c->cache_dir, now, &ret->world, err);
    if (r < 0)
        return r;
    int64_t unknown = ask->destroy ? 0 : release_unknown(ret->world.mail);
    if (unknown) {
        (void)err_set(err, ERR_CONFLICT,
                      "a later version of atoll has written down the release (record %lld), in "
                      "words that atoll %s does not know",
                      (long long)unknown, ATOLL_VERSION);
        return err_hint(err, "use that version, or a later one");
    }
    now = cloud_now(c->clouds.of[CLOUD_OF_ISLAND]);
    r = make_plan(c, ask, now, ret, err);
    if (wants_fresh_facts(c, ret, r)) {
        err_clear(err);
        r = world_facts(&c->clouds, c->cache_dir, true, now, &ret->world, err);
        if (r == 0)
            r = make_plan(c, ask, now, ret, err);
    }
    return r;
}

int cmd_plan(Cmd *c, const GoalAsk *ask, CmdPlan *ret, Err *err)
{
    cmd_say(c, "%s on %s\n", c->island.name, c->island.cloud);
    int r = cmd_plan_quiet(c, ask, ret, err);
    if (r < 0)
        return r;
    Msec now = cloud_now(c->clouds.of[CLOUD_OF_ISLAND]);
    /* Asked first, so that the plan's cost is whole; said last, below what it is about. */
    _cleanup_(err_clear) Err quota = {0};
    int fits = cmd_plan_quota(c, ret, &quota);
    cmd_plan_print(c, ret, now);
    if (!ask->destroy)
        cmd_tls_warn(c, now);
    _cleanup_(err_clear) Err clock = {0};
    if (cmd_check_clock(c, &clock) < 0)
        log_warn("%s; %s", clock.text, clock.hint);
    return fits == 0 ? 0 : err_move(err, &quota);
}

/* By then its container is there. */
static int need_vault(void *user, const Vault **ret, Err *err)
{
    return cmd_need_vault(user, true, ret, err);
}

static int before_send(void *user, Err *err)
{
    Cmd *c = user;

    int r = cmd_tls_vault(c, c->vault, err);
    if (r == 0 && cmd_has_control(c))
        r = cmd_control_kit(c, err);
    if (r == 0 && c->island.backup.on)
        r = backup_vault(c->vault, &c->keys.recipients, err);
    return r;
}

/* A wrong passphrase is better known before the lease than in the middle of the steps. */
static bool needs_keys(const CmdPlan *p)
{
    for (size_t i = 0; i < p->steps.len; i++) {
        const Step *s = &p->steps.items[i];
        if (s->verb == KIND_SEND || s->verb == KIND_REBUILD ||
            (s->verb == KIND_CREATE && (s->kind == RESOURCE_SERVER || s->kind == RESOURCE_USER ||
                                        s->kind == RESOURCE_CONTAINER)))
            return true;
    }
    return false;
}

void cmd_holder(char ret[static 320])
{
    char machine[256] = "";
    const char *who = getenv("USER");

    (void)gethostname(machine, sizeof machine - 1); /* only words for another operator */
    snprintf(ret, 320, "%s@%s", who ? who : "root", machine);
}

int cmd_perform(Cmd *c, CmdPlan *p, const CmdPerform *how, Err *err)
{
    int clock = p->steps.len ? cmd_check_clock(c, err) : 0;
    if (clock < 0)
        return clock;
    if (cmd_plan_creates(p, RESOURCE_SERVER)) {
        int r = quota_may_create_servers(&c->clouds, err);
        if (r < 0)
            return r;
    }
    if (needs_keys(p)) {
        int r = cmd_need_keys(c, err);
        if (r == 0)
            r = cmd_control_check(c, err);
        if (r < 0)
            return r;
    }
    _cleanup_free_ char *tree = cmd_tree_file_new(c);
    if (!c->trees)
        c->trees = json_object();
    char holder[320];
    cmd_holder(holder);
    Progress *progress =
        progress_new(isatty(STDERR_FILENO), c->common.json, c->common.quiet, c->common.color);
    ApplyContext context = {.clouds = &c->clouds,
                            .island = &c->island,
                            .need_vault = need_vault,
                            .before_send = before_send,
                            .need_vault_user = c,
                            .package = how->package,
                            .tree = tree,
                            .tree_version = c->island.release.version,
                            .trees = c->trees,
                            .cache_dir = c->cache_dir,
                            .holder = holder,
                            .lease_wait_ms = how->lease_wait_ms,
                            .timeout_ms = how->timeout_ms,
                            .release = c->release,
                            .no_wait = how->no_wait,
                            .stop = c->stop,
                            .event = progress_event,
                            .user = progress};
    int r = apply_run(&context, &p->goal, &p->steps, &p->world, err);
    progress_free(progress);
    return r;
}
