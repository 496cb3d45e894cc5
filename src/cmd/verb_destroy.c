/* atoll destroy: takes the island down; data only when asked twice. */
#include "cmd/cmd.h"

typedef struct Options {
    bool yes, data;
    const char *confirm;
    int64_t lease_wait_ms;
} Options;

static const Opt options[] = {
    {.name = "yes",
     .letter = 'y',
     .type = OPT_FLAG,
     .sentence = "Do not ask (with --data, --confirm is needed as well).",
     .offset = offsetof(Options, yes)},
    {.name = "data",
     .type = OPT_FLAG,
     .sentence = "Delete the protected things too: volumes, media, vault, floating IP.",
     .offset = offsetof(Options, data)},
    {.name = "confirm",
     .type = OPT_STRING,
     .argument = "ISLAND",
     .sentence = "The island's name, typed beforehand.",
     .offset = offsetof(Options, confirm)},
    OPT_LEASE_WAIT(Options),
    OPT_END,
};

static int confirm(const Cmd *c, const Options *o, Err *err)
{
    const char *name = c->island.name;
    if (o->confirm && !streq(o->confirm, name))
        return err_set(err, ERR_USAGE, "--confirm says '%s', the island is '%s'", o->confirm, name);
    if (o->confirm || (o->yes && !o->data))
        return 0;
    if (o->yes) {
        err_set(err, ERR_USAGE, "--data with --yes needs the island's name as well");
        return err_hint(err, "--confirm %s", name);
    }
    _cleanup_free_ char *question = xasprintf(
        "%s Type the island's name (%s):",
        o->data ? "This deletes the data of the island, for ever." : "Destroy this?", name);
    return cmd_ask(question, name, err);
}

/* A user that somebody else has made was never the island's. */
static bool is_kept(const Resource *have)
{
    return have->kind != RESOURCE_HOST && !json_bool(have->attrs, "given", false);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_plan_clear) CmdPlan plan = {0};
    int r = cmd_plan(c, &(GoalAsk){.destroy = true, .data = o->data}, &plan, err);
    if (r == 0 && plan.steps.len > 0)
        r = confirm(c, o, err);
    if (r == 0)
        r = cmd_perform(c, &plan, &(CmdPerform){.lease_wait_ms = o->lease_wait_ms}, err);
    if (r < 0)
        return r;
    size_t kept = 0;
    for (size_t i = 0; i < plan.world.items.len; i++)
        kept += is_kept(&plan.world.items.items[i]);
    _cleanup_(buf_clear) Buf cost = BUF_INIT(BUF_MAX_LINE);
    cmd_cost(c, &cost);
    if (kept == 0) {
        cmd_say(c, "Done: nothing of %s is left. %s.\n", c->island.name, cost.p);
        return 0;
    }
    cmd_say(c, "Done. Kept, because they hold data or an address people know:\n");
    for (size_t i = 0; i < plan.world.items.len; i++) {
        const Resource *have = &plan.world.items.items[i];
        if (is_kept(have))
            cmd_say(c, "  %s %s (%s)\n", resource_row(have->kind)->word, have->key, have->name);
    }
    cmd_say(c, "%s. %s.\n",
            o->data ? "No command of atoll's deletes backups: their container goes by hand"
                    : "`atoll destroy --data` deletes them, but for backups",
            cost.p);
    return 0;
}

const Verb verb_destroy = {
    .name = "destroy",
    .usage = "destroy [options]",
    .sentence = "Take the island down; its data stays unless --data is given.",
    .text =
        "Deletes everything that carries the island's marker, in the order that the services "
        "accept, except what is protected: volumes, the media and vault containers, the floating "
        "IP. With --data these go as well, after the island's name was typed. Backups stay "
        "whatever is said: their container is deleted by hand.\n\n"
        "Nothing without the island's marker is touched.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
