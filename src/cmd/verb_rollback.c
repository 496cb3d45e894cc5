/* atoll rollback: back to the release before, as long as that can be. */
#include "cmd/deploy.h"

typedef struct Options {
    bool yes;
    int64_t lease_wait_ms;
} Options;

static const Opt options[] = {
    OPT_YES(Options),
    OPT_LEASE_WAIT(Options),
    OPT_END,
};

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_deploy_clear) CmdDeploy d = {.c = c, .lease_wait_ms = o->lease_wait_ms};
    ReleaseRecord next = {0};
    char from[128], to[128];

    int r = cmd_deploy_look(&d, err);
    if (r < 0)
        return r;
    if (!deploy_back(&d.record, &d.waves, &next, err))
        return -(int)err->kind;
    cmd_say(c, "%s on %s: back from %s to %s\n", c->island.name, c->island.cloud,
            release_words(d.record.to, from), release_words(d.record.now, to));
    r = o->yes ? 0 : cmd_ask("Go back? Type yes:", "yes", err);
    if (r < 0) {
        release_clear(&next);
        return r;
    }
    r = cmd_deploy_step(&d, &next, err);
    return r < 0 ? r : cmd_deploy_run(&d, err);
}

const Verb verb_rollback = {
    .name = "rollback",
    .usage = "rollback [options]",
    .sentence = "Take back a deploy whose last migrations have not begun.",
    .text =
        "Servers go back to the release before, in the reverse order. Once the migrations after "
        "the restart have begun that can't be done any more: the old code can't run on the new "
        "database. `atoll deploy --hold` stops before them.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
