/* atoll exec: a command on a server; and its short forms for Mastodon's own, tootctl and rails. */
#include "cmd/ask.h"
#include <stdio.h>
#include <unistd.h>

typedef struct Options {
    bool all, input;
    const char *role, *on;
    int64_t limit;
} Options;

#define OPT_INPUT                                                                                  \
    {                                                                                              \
        .name = "input", .letter = 'i', .type = OPT_FLAG,                                          \
        .sentence = "Pass standard input on to the command.", .offset = offsetof(Options, input)   \
    }
#define OPT_LIMIT                                                                                  \
    {                                                                                              \
        .name = "limit", .type = OPT_SPAN, .argument = "SPAN",                                     \
        .sentence = "End the command after so long.", .offset = offsetof(Options, limit),          \
        .min = SECOND, .max = ASK_LIMIT_MAX, .def = "12h"                                          \
    }

static const Opt exec_options[] = {
    {.name = "all",
     .type = OPT_FLAG,
     .sentence =
         "On all servers of the role, not only on the first healthy one; each line with its "
         "server before it.",
     .offset = offsetof(Options, all)},
    {.name = "role",
     .type = OPT_STRING,
     .argument = "ROLE",
     .sentence = "Of a server with several roles: as a program of this one.",
     .offset = offsetof(Options, role)},
    OPT_INPUT,
    OPT_LIMIT,
    OPT_END,
};

static const Opt app_options[] = {
    {.name = "on",
     .type = OPT_STRING,
     .argument = "SERVER",
     .sentence = "On this server (default: the first healthy one with the role web).",
     .offset = offsetof(Options, on)},
    OPT_INPUT,
    OPT_LIMIT,
    OPT_END,
};

/* As it comes: what the command wrote, and nothing else. */
static bool pass_on(void *user, const AskTarget *t, const char *from, Str data)
{
    (void)user;
    (void)t;
    FILE *to = streq(from, "err") ? stderr : stdout;

    return fwrite(data.p, 1, data.n, to) == data.n && fflush(to) == 0;
}

static int ask(Cmd *c, const char *where, const char *role, const char *program, char **words,
               Err *err)
{
    const Options *o = c->options;
    _cleanup_(ask_session_close) AskSession s = {0};
    _cleanup_(ask_clear) Ask a = {.verb = ASK_EXEC, .limit = o->limit, .input = o->input};
    _cleanup_json_ json_t *json = NULL;
    int status = 0;

    if (program)
        strlist_add(&a.argv, program);
    for (size_t i = 0; words[i]; i++)
        strlist_add(&a.argv, words[i]);
    int r = ask_write(&(Ask){.argv = a.argv, .id = "", .by = ""}, &json, err);
    if (r == 0)
        r = ask_session_open(c, where, false, !o->all, &s, err);
    if (r < 0)
        return r;
    if (role)
        ask_session_role(&s, role);
    AskLines *lines = o->all || c->common.json ? ask_lines_new(c, false) : NULL;
    AskOutput output = lines ? ask_lines_output(lines) : (AskOutput){.part = pass_on};
    output.input_fd = STDIN_FILENO;
    r = ask_session_run(&s, &a, &output, &status, err);
    ask_lines_free(lines);
    if (r == 0 && c->common.json)
        cmd_json(json_make_new("{s:s, s:i}", "event", "exit", "status", status));
    return r < 0 ? r : status;
}

static int run_exec(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;

    if (!operands[0] || !operands[1]) {
        err_set(err, ERR_USAGE, "%s", operands[0] ? "no command is given" : "where to run it?");
        return err_hint(err, "usage: atoll %s", c->verb->usage);
    }
    if (o->all && o->input)
        return err_set(err, ERR_USAGE, "--input goes to one server, and --all means many");
    return ask(c, operands[0], o->role, NULL, operands + 1, err);
}

static int run_app(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    _cleanup_free_ char *program = xasprintf("bin/%s", c->verb->name);

    return ask(c, o->on ? o->on : "web", "web", program, operands, err);
}

const Verb verb_exec = {
    .name = "exec",
    .usage = "exec [options] ROLE|SERVER -- COMMAND...",
    .sentence = "Run a command on a server.",
    .text =
        "The command goes to the server through its mailbox in the object store, sealed and signed "
        "as its settings are, and its output comes back the same way, sealed to you: no port is "
        "open for it. It runs as the user of the role's services, with their environment and (web, "
        "worker) in Mastodon's folder; `psql` and `redis-cli -h $ATOLL_ADDRESS` (in sh -c) find "
        "their server. There is no shell in between and no terminal, and input only with -i.\n\n"
        "A ROLE that several servers have means the first healthy one (said on standard error), or "
        "with --all each. A SERVER (web.0) with several roles runs it for the first of web, "
        "worker, "
        "postgres, redis, edge, or for --role.\n\n"
        "The exit status is the command's; 128 and the signal's number if a signal ended it; the "
        "highest of several. Ctrl-C has the server end it. So does the end of --limit; what a "
        "command leaves running is ended with it. Behind 16 MB output is dropped, and this is "
        "said.\n\n"
        "A server looks every second, or every 10 when nothing has changed for 10 minutes, so the "
        "first command may take a moment. The server's audit log (/var/log/atoll/audit.log) gets "
        "who asked, the program without its arguments, and how it ended.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .operands = SIZE_MAX,
    .options_size = sizeof(Options),
    .options = exec_options,
    .run = run_exec,
};

#define APP_VERB                                                                                   \
    .needs = NEED_ISLAND | NEED_CLOUD, .operands = SIZE_MAX, .verbatim = true,                     \
    .options_size = sizeof(Options), .options = app_options, .run = run_app

const Verb verb_tootctl = {
    .name = "tootctl",
    .usage = "tootctl [options] ARGUMENTS...",
    .sentence = "Run Mastodon's tootctl on a server with the role web.",
    .text =
        "`atoll exec web -- bin/tootctl ARGUMENTS...`. Options of atoll's stand before the first "
        "of tootctl's words.",
    APP_VERB,
};

const Verb verb_rails = {
    .name = "rails",
    .usage = "rails [options] ARGUMENTS...",
    .sentence = "Run Mastodon's bin/rails on a server with the role web.",
    .text = "`atoll exec web -- bin/rails ARGUMENTS...`. Options of atoll's stand before the first "
            "of rails' words. `atoll rails -i console` reads what you type "
            "line by line; there is no terminal, so without editing.",
    APP_VERB,
};
