/* atoll plan: what would change, and why. Writes nothing. */
#include "cmd/cmd.h"

typedef struct Options {
    bool detailed_exitcode, destroy, data;
} Options;

static const Opt options[] = {
    {.name = "detailed-exitcode",
     .type = OPT_FLAG,
     .sentence = "Exit with 2 when there are changes, or something is under way or stuck.",
     .offset = offsetof(Options, detailed_exitcode)},
    {.name = "destroy",
     .type = OPT_FLAG,
     .sentence = "Show what `atoll destroy` would do.",
     .offset = offsetof(Options, destroy)},
    {.name = "data",
     .type = OPT_FLAG,
     .sentence = "With --destroy: the protected things too.",
     .offset = offsetof(Options, data)},
    OPT_END,
};

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_plan_clear) CmdPlan plan = {0};
    int r = cmd_plan(c, o->destroy, o->data, &plan, err);
    if (r < 0)
        return r;
    return o->detailed_exitcode && plan.steps.len + plan.open > 0 ? 2 : 0;
}

const Verb verb_plan = {
    .name = "plan",
    .usage = "plan [options]",
    .sentence = "Show what would change, and why.",
    .text = "Reads the cloud, compares it with the island file, and prints every step that `atoll "
            "apply` would take, each with its reason, its downtime and what data it loses. A "
            "missing flavor, image, volume type or network is known before anything is written.\n\n"
            "There is no state file: the cloud is the state.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
