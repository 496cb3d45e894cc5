/* atoll version. */
#include "cmd/cmd.h"

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    (void)err;      /* cannot fail */
    if (c->common.json)
        cmd_json(json_make_new("{s:s, s:s}", "event", "version", "version", ATOLL_VERSION));
    else
        cmd_say(c, "atoll %s\n", ATOLL_VERSION);
    return 0;
}

const Verb verb_version = {
    .name = "version",
    .usage = "version",
    .sentence = "Print the version.",
    .text = "Prints the program's version.",
    .run = run,
};
