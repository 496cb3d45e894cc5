/* atoll plan: what would change, and why. Writes nothing. */
#include "cmd/cmd.h"

typedef struct Options {
    bool detailed_exitcode, destroy, data;
    const char *out;
    CmdAsk ask;
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
    OPTS_ASK(Options, ask),
    {.name = "out",
     .letter = 'o',
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Write the plan to FILE (0600, no secrets); `atoll apply FILE` performs it.",
     .offset = offsetof(Options, out)},
    OPT_END,
};

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_plan_clear) CmdPlan plan = {0};
    _cleanup_(goal_ask_clear) GoalAsk ask = {.destroy = o->destroy, .data = o->data};
    if (o->destroy && o->out) {
        err_set(err, ERR_USAGE, "--destroy is not written to a file");
        return err_hint(err, "`atoll destroy` shows it, asks, and does it");
    }
    cmd_ask_goal(&o->ask, &ask);
    int r = cmd_plan(c, &ask, &plan, err);
    if (r == 0 && o->out)
        r = cmd_saved_write(c, &ask, &plan, o->out, err);
    if (r < 0)
        return r;
    if (o->out)
        cmd_say(c, "Written to %s: `atoll apply %s` performs exactly this.\n", o->out, o->out);
    return o->detailed_exitcode && !cmd_plan_done(&plan) ? 2 : 0;
}

const Verb verb_plan = {
    .name = "plan",
    .usage = "plan [options]",
    .sentence = "Show what would change, and why.",
    .text = "Reads the cloud, compares it with the island file, and prints every step that `atoll "
            "apply` would take, each with its reason, its downtime and what data it loses; of "
            "what is there, when it was last changed and (servers) by whom. A missing flavor, "
            "image, volume type or network, and a quota that is too small, are known before "
            "anything is written (exit 8).\n\n"
            "Volumes, the floating IP, the media and vault containers are kept when the file no "
            "longer names them: the plan says so, and `--delete` lets one go by its full name.\n\n"
            "There is no state file: the cloud is the state. A plan written with --out is what a "
            "person has agreed to: `atoll apply FILE` does nothing that is not in it.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
