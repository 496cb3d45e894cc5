/* atoll logs: what the services of the island write. */
#include "cmd/ask.h"

#define FOLLOW_LIMIT (15 * MINUTE) /* and again, while somebody reads */
#define LOOK_LIMIT (2 * MINUTE)

typedef struct Options {
    bool follow;
    int64_t lines;
} Options;

static const Opt options[] = {
    {.name = "follow",
     .letter = 'f',
     .type = OPT_FLAG,
     .sentence = "Go on with new lines until Ctrl-C.",
     .offset = offsetof(Options, follow)},
    {.name = "lines",
     .letter = 'n',
     .type = OPT_INT,
     .argument = "N",
     .sentence = "So many of the last lines of each service.",
     .offset = offsetof(Options, lines),
     .min = 0,
     .max = ASK_LINES_MAX,
     .def = "100"},
    OPT_END,
};

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    _cleanup_(ask_session_close) AskSession s = {0};
    _cleanup_(ask_clear) Ask a = {.verb = ASK_LOGS,
                                  .lines = o->lines,
                                  .follow = o->follow,
                                  .limit = o->follow ? FOLLOW_LIMIT : LOOK_LIMIT};
    int status = 0;

    int r = ask_session_open(c, operands[0], true, false, &s, err);
    if (r < 0)
        return r;
    AskLines *lines = ask_lines_new(c, true);
    AskOutput output = ask_lines_output(lines);
    r = ask_session_run(&s, &a, &output, &status, err);
    ask_lines_free(lines);
    return r;
}

const Verb verb_logs = {
    .name = "logs",
    .usage = "logs [options] [SERVER|ROLE|SERVICE|SERVER/SERVICE]",
    .sentence = "Show what the services write.",
    .text =
        "All services, or those of a server (web.0), of a role (worker: on each server that has "
        "it), "
        "or one (worker.2, prepare, postgres-init; web.0/worker.2 on one server). A name that "
        "could "
        "be both is the server's. Each line has its server and service before it. The lines come "
        "through the servers' mailboxes, sealed to you, as `atoll exec` has it; they are what "
        "journald keeps, or below a pocket server's root var/log/atoll/SERVICE.log.\n\n"
        "Here -f is --follow; another island file is named by --file.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .operands = 1,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
