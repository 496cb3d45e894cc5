/* atoll stream: Mastodon's streaming server. */
#include "base/log.h"
#include "cmd/cmd.h"
#include "io/systemd.h"
#include "stream/server.h"

#include <stdio.h>

typedef struct Options {
    const char *root, *namespace;
    OptList set;
    bool show;
} Options;

static const Opt options[] = {
    {.name = "root",
     .type = OPT_STRING,
     .argument = "FOLDER",
     .sentence = "Mastodon's folder, for its .env.production (default: this folder, or the one "
                 "above).",
     .offset = offsetof(Options, root)},
    {.name = "namespace",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "Mastodon 4.3 and older: the same as its REDIS_NAMESPACE.",
     .offset = offsetof(Options, namespace)},
    {.name = "set",
     .type = OPT_LIST,
     .argument = "NAME=VALUE",
     .sentence = "A bound or an interval, as ATOLL_STREAM_NAME in the environment; may be given "
                 "again.",
     .offset = offsetof(Options, set)},
    {.name = "show-settings",
     .type = OPT_FLAG,
     .sentence = "Print the bounds and intervals, and end.",
     .offset = offsetof(Options, show)},
    OPT_END,
};

static const char *environment(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

/* Upstream's own tests wait for these words. */
#define READY "Streaming API now listening on %s"

static void ready(void *user, const char *where)
{
    const Cmd *c = user;

    if (c->common.json)
        log_info(READY, where);
    else
        printf(READY "\n", where);
    (void)fflush(stdout); /* whoever started it may not listen */
    systemd_notify("READY=1");
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(stream_config_clear) StreamConfig config = {0};
    StreamEnvironment e = {.get = environment, .root = o->root, .namespace = o->namespace};

    int r = stream_config_read(&e, &config, err);
    for (size_t i = 0; r == 0 && i < o->set.len; i++)
        r = stream_settings_set(&config.settings, o->set.items[i], err);
    if (r < 0)
        return r;
    if (o->show) {
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
        stream_settings_show(&config.settings, &text);
        fputs(text.p, stdout);
        return 0;
    }
    LogLevel level = c->common.verbose ? LOG_LEVEL_DEBUG : config.log_level;
    if (c->common.json)
        log_init_pino("streaming", level);
    else
        log_init("stream", level);
    return stream_serve(&(StreamRun){.config = &config, .stop = c->stop, .ready = ready, .user = c},
                        err);
}

const Verb verb_stream = {
    .name = "stream",
    .usage = "stream [options]",
    .sentence = "Serve Mastodon's streaming API, in place of its Node server.",
    .text =
        "A drop-in replacement for the streaming server of Mastodon 4.4 and newer: the same "
        "environment (NODE_ENV, PORT, BIND, SOCKET, DATABASE_URL or DB_*, REDIS_*, LOG_LEVEL, "
        "TRUSTED_PROXY_IP), read from the process and from .env.production (or .env) in Mastodon's "
        "folder; the same routes, streams, errors and metrics.\n\n"
        "It never writes to PostgreSQL, and to Redis only subscribed: keys. What it bounds is "
        "listed by --show-settings; each bound is counted in /metrics. --set loops=N shares its "
        "clients among N threads; to Redis, in its bounds and in its metrics it remains one.\n\n"
        "With --json its log is what the Node server's is: an object a line, on standard "
        "output.\n\n"
        "SIGTERM closes its clients with 1001, which makes them come back, and ends it. Under "
        "systemd it is Type=notify.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
