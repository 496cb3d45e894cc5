/* atoll status: one screen: what runs, how well, and what is under way. */
#include "base/log.h"
#include "cmd/status.h"
#include <stdio.h>

typedef struct Options {
    bool all;
} Options;

static const Opt options[] = {
    {.name = "long",
     .letter = 'l',
     .type = OPT_FLAG,
     .sentence = "Tell of every server's services, not only of what is not well.",
     .offset = offsetof(Options, all)},
    OPT_END,
};

static void print_addresses(const Cmd *c, const World *w)
{
    const Resource *address = world_find(w, RESOURCE_FLOATING_IP, "main", 0);
    const char *ip = address ? json_str_or(address->attrs, "address", "") : "";
    const char *object_url = json_str_or(w->facts, "clouds.media.object_url", "");
    if (c->common.json) {
        cmd_json(json_make_new("{s:s, s:s, s:i, s:i, s:s, s:s}", "event", "addresses",
                               "floating_ip", ip, "http", c->island.edge.http, "https",
                               c->island.edge.https, "media", object_url, "container",
                               c->island.media.container));
        return;
    }
    if (*ip && c->island.edge.https && c->island.edge.https != 443)
        cmd_say(c, "web          https://%s:%d/ at %s\n", c->island.domain, c->island.edge.https,
                ip);
    else if (*ip && c->island.edge.https)
        cmd_say(c, "web          https://%s/ at %s\n", c->island.domain, ip);
    else if (*ip && c->island.edge.http != 80)
        cmd_say(c, "web          http://%s:%d/\n", ip, c->island.edge.http);
    else if (*ip)
        cmd_say(c, "web          http://%s/\n", ip);
    cmd_say(c, "media        %s/%s/\n", object_url, c->island.media.container);
}

static void print_json(json_t *island, const json_t *rows)
{
    json_t *row;
    size_t i;

    json_object_set_new(island, "event", json_string("island"));
    cmd_json(json_incref(island));
    json_array_foreach (rows, i, row) {
        json_object_set_new(row, "event", json_string("server"));
        cmd_json(json_incref(row));
    }
}

/* What the edge serves, by what the cloud says: no call. */
static void print_certificate(const Cmd *c, Msec now)
{
    char at[TIME_TEXT_MAX], span[TIME_TEXT_MAX];
    bool soon = c->has_tls && c->tls.ends - now < TLS_WARN;

    if (!c->island.edge.https || !c->has_tls)
        return;
    time_format(c->tls.ends, false, at);
    if (c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:b}", "event", "certificate", "ends", at, "warning",
                               soon ? 1 : 0));
    else
        cmd_say(c, "tls          certificate until %s\n", at);
    if (soon && c->tls.ends <= now)
        log_warn("the certificate ended at %s: browsers refuse it; put a new one at %s and apply",
                 at, c->island.edge.tls_certificate);
    else if (soon)
        log_warn("the certificate ends in %s: put a new one at %s and apply",
                 time_span(c->tls.ends - now, span), c->island.edge.tls_certificate);
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;
    _cleanup_(cmd_plan_clear) CmdPlan p = {0};
    _cleanup_(next_clear) Next next = {0};
    _cleanup_(buf_clear) Buf cost = BUF_INIT(BUF_MAX_LINE), under_way = BUF_INIT(BUF_MAX_LINE);

    int r = apply_look(&c->clouds, &c->island, c->cache_dir, false, time_now(), &p.world, err);
    if (r < 0)
        return r;
    Msec now = cloud_now(c->clouds.of[CLOUD_OF_ISLAND]);
    _cleanup_(err_clear) Err no_file = {0};
    if (cmd_tls_look(c, &p.world, &no_file) < 0)
        log_warn("%s", no_file.text);
    r = apply_goal(&c->island, &p.world, &(GoalAsk){0}, &p.goal, err);
    if (r == 0)
        r = plan_next(&p.goal, &p.world, now, &next, err);
    if (r < 0)
        return r;
    bool differs = next.steps.len || next.stucks.len;
    _cleanup_json_ json_t *rows = status_servers_new(c, &p.world, now);
    _cleanup_json_ json_t *island =
        status_island_new(c, &p.world, rows, !differs && next.waits.len == 0);
    if (c->common.json) {
        print_json(island, rows);
        print_addresses(c, &p.world);
        print_certificate(c, now);
        return 0;
    }
    cmd_cost(c, &cost);
    plan_under_way(&next, now, &under_way);
    cmd_say(c, "%s (%s) on %s: %s. %s.\n\n", c->island.name, c->island.domain, c->island.cloud,
            differs          ? "differs from the file, see `atoll plan`"
            : next.waits.len ? under_way.p
                             : "as the file says",
            cost.p);
    status_print_island(c, &p.world, island);
    print_addresses(c, &p.world);
    print_certificate(c, now);
    putchar('\n');
    status_print_servers(c, rows, now, o->all);
    return 0;
}

const Verb verb_status = {
    .name = "status",
    .usage = "status [options]",
    .sentence = "Show what runs, how well, and what is under way.",
    .text = "The release, a change of it that is under way or waits, maintenance, when the "
            "certificate ends (with a warning in its "
            "last 14 days), jobs that wait "
            "and are at work (as counted within the last minutes), and the public addresses. Each "
            "server with what its host last reported and when (\"silent\" when it has not for 5 "
            "minutes): health, the release it runs, how long the agent has been up. Where a server "
            "does not run HEALTH has the cloud's word. Below that, what is not well, in the host's "
            "own words, and a host whose atoll is another version; with -l every service.\n\n"
            "It reads one object for each server more than `atoll plan` does.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
