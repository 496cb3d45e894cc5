/* atoll status: one screen: servers, health, addresses. */
#include "base/log.h"
#include "cmd/cmd.h"
#include "host/mail.h"
#include "io/columns.h"
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

typedef struct Row {
    const char *server, *status, *address, *health;
    char roles[120], since[TIME_TEXT_MAX], reported[TIME_TEXT_MAX];
} Row;

static void roles_text(const Island *i, const char *server, char *out, size_t size)
{
    _cleanup_free_ char *tier = xstrndup(server, strcspn(server, "."));
    const Tier *t = island_tier(i, tier);
    Buf text = BUF_INIT(size - 1);
    for (int r = 0; t && r < ROLES; r++)
        if (t->roles & ROLE_BIT(r))
            buf_printf(&text, "%s%s", text.len ? " " : "", role_rows[r].name);
    memcpy(out, text.p, text.len + 1);
    buf_clear(&text);
}

static Row row_of(const Island *i, const World *w, const Resource *server, Msec now)
{
    Row row = {
        .server = server->key, .status = server->status, .address = "", .health = "no report"};
    roles_text(i, server->key, row.roles, sizeof row.roles);
    const Resource *port = world_find(w, RESOURCE_PORT, server->key, 0);
    if (port)
        row.address = json_str_or(port->attrs, "address", "");
    const Resource *host = world_find(w, RESOURCE_HOST, server->key, 0);
    if (!host)
        return row;
    const char *state = json_str_or(host->attrs, "state", "");
    row.health = *state ? state : json_bool(host->attrs, "hello", false) ? "new" : "booting";
    if (mail_silent(host, now))
        row.health = "silent";
    Msec since = json_int(host->attrs, "state_since", 0);
    if (since > 0) {
        time_span(MAX(now - since, 0), row.since);
        time_format(since, false, row.reported);
    }
    return row;
}

static void print_json(const Row *r)
{
    cmd_json(json_make_new("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "event", "server", "key",
                           r->server, "roles", r->roles, "status", r->status, "address", r->address,
                           "health", r->health, "reported", r->reported));
}

static void print_rows(const Cmd *c, const World *w)
{
    struct winsize size = {0};
    int width =
        isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
    Columns *table = columns_new(
        (const char *const[]){"SERVER", "ROLES", "STATUS", "ADDRESS", "HEALTH", "REPORTED", NULL});
    Msec now = cloud_now(c->clouds.of[CLOUD_OF_ISLAND]);
    for (size_t i = 0; i < w->items.len; i++) {
        if (w->items.items[i].kind != RESOURCE_SERVER)
            continue;
        Row r = row_of(&c->island, w, &w->items.items[i], now);
        _cleanup_free_ char *ago = *r.since ? xasprintf("%s ago", r.since) : xstrdup("");
        if (c->common.json)
            print_json(&r);
        else
            columns_row(table, (const char *const[]){r.server, r.roles, r.status, r.address,
                                                     r.health, ago});
    }
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    columns_print(table, &text, width);
    columns_free(table);
    if (!c->common.json)
        fputs(text.p, stdout);
}

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
        cmd_say(c, "\nweb     https://%s:%d/ at %s\n", c->island.domain, c->island.edge.https, ip);
    else if (*ip && c->island.edge.https)
        cmd_say(c, "\nweb     https://%s/ at %s\n", c->island.domain, ip);
    else if (*ip && c->island.edge.http != 80)
        cmd_say(c, "\nweb     http://%s:%d/\n", ip, c->island.edge.http);
    else if (*ip)
        cmd_say(c, "\nweb     http://%s/\n", ip);
    cmd_say(c, "media   %s/%s/\n", object_url, c->island.media.container);
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
        cmd_say(c, "tls     certificate until %s\n", at);
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
    _cleanup_(cmd_plan_clear) CmdPlan p = {0};
    Msec now = time_now();
    int r = apply_look(&c->clouds, &c->island, c->cache_dir, false, now, &p.world, err);
    if (r < 0)
        return r;
    now = cloud_now(c->clouds.of[CLOUD_OF_ISLAND]);
    _cleanup_(next_clear) Next next = {0};
    _cleanup_(err_clear) Err no_file = {0};
    if (cmd_tls_look(c, &p.world, &no_file) < 0)
        log_warn("%s", no_file.text);
    r = apply_goal(&c->island, &p.world, &(GoalAsk){0}, &p.goal, err);
    if (r == 0)
        r = plan_next(&p.goal, &p.world, now, &next, err);
    if (r < 0)
        return r;
    _cleanup_(buf_clear) Buf cost = BUF_INIT(BUF_MAX_LINE);
    cmd_cost(c, &cost);
    _cleanup_(buf_clear) Buf under_way = BUF_INIT(BUF_MAX_LINE);
    plan_under_way(&next, now, &under_way);
    cmd_say(c, "%s (%s) on %s: %s. %s.\n\n", c->island.name, c->island.domain, c->island.cloud,
            next.steps.len || next.stucks.len ? "differs from the file, see `atoll plan`"
            : next.waits.len                  ? under_way.p
                                              : "as the file says",
            cost.p);
    print_rows(c, &p.world);
    print_addresses(c, &p.world);
    print_certificate(c, now);
    return 0;
}

const Verb verb_status = {
    .name = "status",
    .usage = "status [options]",
    .sentence = "Show the servers, their health and the addresses.",
    .text = "Each server with its roles, the cloud's status, its address, and what its host last "
            "reported of its services' health and when (\"silent\" when it has not for 5 minutes); "
            "the public addresses; when the certificate ends, with a warning in its last 14 days; "
            "whether the island is as the file says.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .run = run,
};
