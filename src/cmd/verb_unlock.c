/* atoll unlock: shows who holds the lease, and breaks it when told to. */
#include "cmd/cmd.h"
#include "plan/lease.h"

typedef struct Options {
    bool force;
} Options;

static const Opt options[] = {
    {.name = "force",
     .type = OPT_FLAG,
     .sentence = "Remove the lease, whoever holds it.",
     .offset = offsetof(Options, force)},
    OPT_END,
};

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_free_ char *holder = NULL;
    int r = lease_show(&c->clouds, time_now(), &holder, err);
    if (r < 0)
        return r;
    cmd_say(c, "The lease of %s: %s\n", c->island.name, holder ? holder : "nobody holds it");
    if (!holder || !o->force)
        return 0;
    r = lease_break(&c->clouds, err);
    if (r == 0)
        cmd_say(c, "Removed.\n");
    return r;
}

const Verb verb_unlock = {
    .name = "unlock",
    .usage = "unlock [options]",
    .sentence = "Show who holds the island's lease; --force removes it.",
    .text =
        "A run holds the lease while it works, and renews it; one that died is taken over when "
        "the lease ends, or at once on the machine where it ran. --force is for the rest: use it "
        "when you know that the holder is gone.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
