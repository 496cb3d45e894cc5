/* atoll host: the program on every server; started by user_data, never by a person. */
#include "base/log.h"
#include "cmd/cmd.h"
#include "host/agent.h"
#include "io/systemd.h"

#include <unistd.h>

typedef struct Options {
    const char *root;
} Options;

static const Opt options[] = {
    {.name = "root",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "The server's root folder (default: /).",
     .offset = offsetof(Options, root)},
    OPT_END,
};

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    log_init("host", c->common.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    const char *root = o->root ? o->root : "";
    bool real = !*root && systemd_is_there();
    int r = agent_run(&(AgentOptions){.root = root,
                                      .driver = real ? &driver_systemd : &driver_child,
                                      .stop = c->stop},
                      err);
    if (r <= 0)
        return r;
    _cleanup_free_ char *program = xasprintf("%s/usr/bin/atoll", root);
    execl(program, program, "host", "--root", root, (char *)NULL);
    return err_set(err, ERR_IO, "cannot start %s: %m", program);
}

const Verb verb_host = {
    .name = "host",
    .usage = "host [options]",
    .sentence = "Run what a server of an island runs (started by its first boot).",
    .text =
        "Reads etc/atoll/boot.json below its root, makes its own keys, reports the public half, "
        "and from then on follows sealed, signed, numbered bundles from its inbox in Swift: "
        "writes files, runs services, reports their health. Stops them carefully on SIGTERM.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
