/* The plan of a goal: made, printed, performed. Shared by plan, apply and destroy. */
#include "cmd/cmd.h"
#include "cmd/progress.h"
#include <stdio.h>
#include <unistd.h>

void cmd_plan_clear(CmdPlan *p)
{
    world_clear(&p->world);
    goal_clear(&p->goal);
    steps_clear(&p->steps);
}

typedef struct Tally {
    int add, change, remove, downtime_s, losses;
} Tally;

static Tally tally(const Steps *steps)
{
    Tally t = {0};
    for (size_t i = 0; i < steps->len; i++) {
        const Step *s = &steps->items[i];
        t.add += s->verb == KIND_CREATE;
        t.remove += s->verb == KIND_DELETE;
        t.change += s->verb != KIND_CREATE && s->verb != KIND_DELETE;
        t.downtime_s += s->downtime_s;
        t.losses += s->loss != NULL;
    }
    return t;
}

static void print_steps(const Cmd *c, const CmdPlan *p)
{
    for (size_t i = 0; i < p->steps.len; i++) {
        if (c->common.json) {
            json_t *event = plan_step_json_new(&p->goal, &p->steps.items[i]);
            json_object_set_new(event, "event", json_string("planned_change"));
            cmd_json(event);
            continue;
        }
        _cleanup_(buf_clear) Buf line = BUF_INIT(BUF_MAX_LINE);
        plan_line(&p->goal, &p->steps.items[i], &line);
        cmd_say(c, "%s\n", line.p);
    }
}

/* What is not as the file says, and no step can put right; and, into `under_way`, what only needs
 * time. */
static int print_open(const Cmd *c, CmdPlan *p, Msec now, Buf *under_way, Err *err)
{
    _cleanup_(next_clear) Next next = {0};
    int r = plan_next(&p->goal, &p->world, now, &next, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < next.stucks.len; i++) {
        const Stuck *s = &next.stucks.items[i];
        if (c->common.json) {
            cmd_json(json_make_new("{s:s, s:s, s:s, s:s}", "event", "stuck", "kind",
                                   resource_row(s->kind)->prefix, "key", s->key, "why", s->why));
            continue;
        }
        _cleanup_(buf_clear) Buf line = BUF_INIT(BUF_MAX_LINE);
        plan_stuck_line(s, &line);
        cmd_say(c, "%s\n", line.p);
    }
    for (size_t i = 0; c->common.json && i < next.waits.len; i++) {
        const Wait *w = &next.waits.items[i];
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s}", "event", "under_way", "kind",
                               resource_row(w->kind)->prefix, "key", w->key, "what", w->what));
    }
    plan_under_way(&next, now, under_way);
    p->stuck = next.stucks.len;
    p->open = next.stucks.len + next.waits.len;
    return 0;
}

static void print_summary(const Cmd *c, const CmdPlan *p, const char *under_way)
{
    size_t stuck = p->stuck;
    Tally t = tally(&p->steps);
    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:i, s:i, s:i, s:i, s:I}", "event", "change_summary", "add",
                               t.add, "change", t.change, "remove", t.remove, "downtime_s",
                               t.downtime_s, "calls", (json_int_t)c->calls));
        return;
    }
    _cleanup_(buf_clear) Buf cost = BUF_INIT(BUF_MAX_LINE);
    cmd_cost(c, &cost);
    if (p->steps.len == 0 && stuck > 0) {
        cmd_say(c,
                "No changes that atoll could make; %zu thing%s marked ! %s looking at%s%s. %s.\n",
                stuck, stuck == 1 ? "" : "s", stuck == 1 ? "needs" : "need", *under_way ? "; " : "",
                under_way, cost.p);
        return;
    }
    if (p->steps.len == 0 && *under_way) {
        cmd_say(c, "No changes to make; %s. %s.\n", under_way, cost.p);
        return;
    }
    if (p->steps.len == 0) {
        cmd_say(c, "No changes: %s is as the file says. %s.\n", c->island.name, cost.p);
        return;
    }
    cmd_say(c, "Plan: %d to add, %d to change, %d to delete.", t.add, t.change, t.remove);
    if (t.downtime_s)
        cmd_say(c, " Downtime: about %d s.", t.downtime_s);
    if (t.losses)
        cmd_say(c, " DATA IS LOST in %d of them.", t.losses);
    cmd_say(c, " %s.\n", cost.p);
}

/* Goal and steps for the world that was looked at. */
static int make_plan(Cmd *c, bool destroy, bool data, Msec now, CmdPlan *ret, Err *err)
{
    int r = destroy ? 0 : island_preflight(&c->island, ret->world.facts, err);
    if (r < 0)
        return r;
    goal_clear(&ret->goal);
    steps_clear(&ret->steps);
    apply_goal(&c->island, &ret->world, destroy, data, &ret->goal);
    return plan_make(&ret->goal, &ret->world, now, &ret->steps, err);
}

/* What a cloud offers is kept for an hour; a new server is not made from an image that was replaced
 * in the meantime, and what is missing may have come. */
static bool wants_fresh_facts(const Cmd *c, const CmdPlan *p, int r)
{
    bool wants = r == -ERR_PREFLIGHT;
    for (size_t i = 0; r == 0 && i < p->steps.len; i++)
        wants |= p->steps.items[i].kind == RESOURCE_SERVER && p->steps.items[i].verb == KIND_CREATE;
    return wants && c->cache_dir;
}

int cmd_plan(Cmd *c, bool destroy, bool data, CmdPlan *ret, Err *err)
{
    Msec now = time_now();
    cmd_say(c, "%s on %s\n", c->island.name, c->island.cloud);
    int r = apply_look(&c->clouds, &c->island, c->cache_dir, false, now, &ret->world, err);
    if (r < 0)
        return r;
    r = make_plan(c, destroy, data, now, ret, err);
    if (wants_fresh_facts(c, ret, r)) {
        err_clear(err);
        r = world_facts(&c->clouds, c->cache_dir, true, now, &ret->world, err);
        if (r == 0)
            r = make_plan(c, destroy, data, now, ret, err);
    }
    if (r < 0)
        return r;
    print_steps(c, ret);
    _cleanup_(buf_clear) Buf under_way = BUF_INIT(BUF_MAX_LINE);
    r = print_open(c, ret, now, &under_way, err);
    if (r < 0)
        return r;
    print_summary(c, ret, under_way.p);
    return 0;
}

/* The vault of one run: opened when the first step needs it, with keys that were asked for before.
 */
typedef struct LazyVault {
    Cmd *c;
    CmdKeys keys;
    Vault *vault;
} LazyVault;

static int need_vault(void *user, const Vault **ret, Err *err)
{
    LazyVault *lazy = user;
    if (!lazy->vault) {
        int r = cmd_vault(lazy->c, &lazy->keys, true, &lazy->vault, err);
        if (r < 0)
            return r;
    }
    *ret = lazy->vault;
    return 0;
}

/* A wrong passphrase is better known before the lease than in the middle of the steps. */
static bool needs_keys(const CmdPlan *p)
{
    for (size_t i = 0; i < p->steps.len; i++) {
        const Step *s = &p->steps.items[i];
        if (s->verb == KIND_SEND ||
            (s->verb == KIND_CREATE && (s->kind == RESOURCE_SERVER || s->kind == RESOURCE_USER ||
                                        s->kind == RESOURCE_CONTAINER)))
            return true;
    }
    return false;
}

int cmd_perform(Cmd *c, CmdPlan *p, const char *package, Msec lease_wait_ms, Err *err)
{
    LazyVault lazy = {.c = c};
    if (needs_keys(p)) {
        int r = cmd_keys(c, &lazy.keys, err);
        if (r < 0) {
            cmd_keys_clear(&lazy.keys);
            return r;
        }
    }
    char holder[320], machine[256] = "";
    (void)gethostname(machine, sizeof machine - 1); /* only words for another operator */
    const char *who = getenv("USER");
    snprintf(holder, sizeof holder, "%s@%s", who ? who : "root", machine);
    Progress *progress =
        progress_new(isatty(STDERR_FILENO), c->common.json, c->common.quiet, c->common.color);
    ApplyContext context = {.clouds = &c->clouds,
                            .island = &c->island,
                            .need_vault = need_vault,
                            .need_vault_user = &lazy,
                            .package = package,
                            .cache_dir = c->cache_dir,
                            .holder = holder,
                            .lease_wait_ms = lease_wait_ms,
                            .stop = c->stop,
                            .event = progress_event,
                            .user = progress};
    int r = apply_run(&context, &p->goal, &p->steps, &p->world, err);
    progress_free(progress);
    vault_free(lazy.vault);
    cmd_keys_clear(&lazy.keys);
    return r;
}
