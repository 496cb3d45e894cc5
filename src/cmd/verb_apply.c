/* atoll apply: makes the cloud what the island file says. */
#include "cmd/cmd.h"

typedef struct Options {
    bool yes, no_wait;
    const char *package;
    int64_t lease_wait_ms;
    CmdAsk ask;
} Options;

static const Opt options[] = {
    OPT_YES(Options),
    OPT_PACKAGE(Options,
                ", which new servers install (default: beside the program, or in apt's archive)."),
    {.name = "no-wait",
     .type = OPT_FLAG,
     .sentence =
         "Leave when only servers' services are waited for; a later apply tells new servers "
         "what to run.",
     .offset = offsetof(Options, no_wait)},
    OPT_LEASE_WAIT(Options),
    OPTS_ASK(Options, ask),
    OPT_END,
};

/* Only new servers need the package; so it is looked for when there is one to be made. */
static int find_package(const Options *o, const CmdPlan *p, char **ret, Err *err)
{
    return cmd_plan_creates(p, RESOURCE_SERVER) ? cmd_package(o->package, ret, err) : 0;
}

/* A saved plan has its options in it. */
static int read_saved(const Cmd *c, const char *path, CmdSaved *ret, Err *err)
{
    const Options *o = c->options;

    if (o->ask.rebuild || o->ask.only.len || o->ask.replace.len || o->ask.release.len) {
        err_set(err, ERR_USAGE,
                "the plan %s has its own options: --only, --replace, --delete and "
                "--allow-rebuild are given when it is made",
                path);
        return err_hint(err, "`atoll plan --out %s` with them", path);
    }
    return cmd_saved_read(c, path, ret, err);
}

/* From the first whole apply on, the cloud says which release runs, and only a deploy changes it.
 * Then the owner's account, then the search index. Each is done once, and what a killed run left is
 * done by the next. */
static int finish_install(Cmd *c, const CmdPlan *p, Err *err)
{
    _cleanup_(release_clear) ReleaseRecord r = {0};
    int k = 0;

    cmd_release_read(c, &p->world, &r);
    if (r.number == 0) {
        r.number = 1;
        k = cmd_release_put(c, &r, err);
    }
    if (k < 0)
        return k;
    if (!r.owner && c->island.owner.name) {
        k = cmd_owner_make(c, err);
        if (k < 0)
            return err_wrap(err, "making the owner's account");
        r.number++;
        r.owner = true;
        k = cmd_release_put(c, &r, err);
    }
    return k < 0 ? k : cmd_search_settle(c, &r, err);
}

/* A tree that can't be had is better known before servers wait for it. */
static int check_tree(Cmd *c, const CmdPlan *p, Err *err)
{
    _cleanup_(release_clear) ReleaseRecord r = {0};

    if (p->steps.len == 0)
        return 0;
    cmd_release_read(c, &p->world, &r);
    int k = cmd_tree_look(c, r.now, NULL, err);
    return k < 0 || release_same(r.now, r.to) ? k : cmd_tree_look(c, r.to, NULL, err);
}

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    _cleanup_(cmd_plan_clear) CmdPlan plan = {0};
    _cleanup_(cmd_saved_clear) CmdSaved saved = {0};
    _cleanup_(goal_ask_clear) GoalAsk ask = {0};
    _cleanup_free_ char *package = NULL;
    int r = operands[0] ? read_saved(c, operands[0], &saved, err) : 0;
    if (r < 0)
        return r;
    cmd_ask_goal(&o->ask, &ask);
    r = cmd_plan(c, operands[0] ? &saved.ask : &ask, &plan, err);
    if (r == 0 && operands[0])
        r = cmd_saved_check(&saved, &plan, err);
    if (r == 0)
        r = find_package(o, &plan, &package, err);
    if (r == 0)
        r = check_tree(c, &plan, err);
    if (r < 0)
        return r;
    if (plan.steps.len > 0 && !o->yes && !operands[0]) {
        r = cmd_ask("Apply this? Type yes:", "yes", err);
        if (r < 0)
            return r;
    }
    r = cmd_perform(
        c, &plan,
        &(CmdPerform){.package = package, .lease_wait_ms = o->lease_wait_ms, .no_wait = o->no_wait},
        err);
    if (r == 0 && !o->no_wait && !plan.goal.only.len)
        r = finish_install(c, &plan, err);
    if (r < 0)
        return r;
    if (plan.steps.len == 0)
        return 0;
    _cleanup_(buf_clear) Buf cost = BUF_INIT(BUF_MAX_LINE);
    cmd_cost(c, &cost);
    cmd_say(c, "Done: %s is as the file says%s%s. %s.\n", c->island.name,
            plan.goal.only.len ? ", as far as --only reaches" : "",
            o->no_wait ? "; its servers may still be starting" : "", cost.p);
    return 0;
}

const Verb verb_apply = {
    .name = "apply",
    .usage = "apply [options] [FILE]",
    .operands = 1,
    .sentence = "Make the cloud what the island file says.",
    .text =
        "Prints the plan, asks, and performs it: independent steps in parallel, waiting only "
        "for what the next step needs. It can be interrupted or killed at any moment; the next "
        "apply goes on from what is there.\n\n"
        "With FILE, a plan written by `atoll plan --out`, nothing is asked and nothing is done "
        "that "
        "is not in it: another island file, another project or a step more is refused (exit 5).\n\n"
        "A step that was not in the printed plan is refused (exit 5). One run at a time works on "
        "an island (exit 4): the lease is a security group in the cloud, and a holder that died "
        "on this machine is taken over at once.\n\n"
        "The first apply makes the island's secrets and seals them into the vault container, for "
        "the operator's key and the recovery key that `atoll init` made.\n\n"
        "Where a tier has the role search, its indexes are made by Mastodon's own tootctl, once, "
        "after the owner's account. If that fails all else is done (exit 3), and the next apply "
        "tries it again.\n\n"
        "The certificate and key of edge.tls are checked (the key is the certificate's, the domain "
        "is in it, it has not ended) and sealed into the vault too; servers are sent them with "
        "their settings, and nginx takes a renewed one without a dropped connection. Where the "
        "files are not, or are older, the island keeps what it has: so renewing is replacing the "
        "files and `atoll apply`, and a server that is made anew needs no files.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
