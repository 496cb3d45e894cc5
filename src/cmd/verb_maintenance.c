/* atoll maintenance: the edge says that the instance is being worked on, or serves it again. */
#include "cmd/deploy.h"
#include "host/spec.h"

typedef struct Options {
    int64_t lease_wait_ms;
} Options;

static const Opt options[] = {
    OPT_LEASE_WAIT(Options),
    OPT_END,
};

static const Resource *host_there(const World *w, const char *key)
{
    int generation = host_current(w, key);

    return generation ? world_find(w, RESOURCE_HOST, key, generation) : NULL;
}

/* Only edges that are there are looked at and told: what else is under way, or not well, must not
 * be in the way of closing the door. */
static void ask_edges(const Island *i, const World *w, GoalAsk *ask)
{
    strlist_clear(&ask->only);
    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];

        for (int n = 0; t->roles & ROLE_BIT(ROLE_EDGE) && n < t->count; n++) {
            _cleanup_free_ char *key = xasprintf("%s.%d", t->name, n);

            if (host_there(w, key))
                strlist_addf(&ask->only, "%s.%s", resource_row(RESOURCE_HOST)->prefix, key);
        }
    }
}

/* What the file has meanwhile of an edge would be sent along with it; and one that does Mastodon's
 * work is told nothing new while the engine waits for servers that are to share it. */
static int check_hosts(const CmdDeploy *d, Err *err)
{
    const World *w = &d->plan.world;

    for (size_t i = 0; i < d->plan.goal.want.len; i++) {
        Resource want = d->plan.goal.want.items[i]; /* borrows */
        const Resource *have = want.kind == RESOURCE_HOST ? host_there(w, want.key) : NULL;
        _cleanup_free_ char *name =
            xasprintf("%s.%s", resource_row(RESOURCE_HOST)->prefix, want.key);

        if (want.kind != RESOURCE_HOST || (have && !strlist_has(&d->ask.only, name)))
            continue;
        want.generation = have ? have->generation : 0;
        _cleanup_json_ json_t *spec = have ? host_spec_new(&want, w) : NULL;
        if (spec && host_was_sent(have, spec))
            continue;
        (void)err_set(err, ERR_PREFLIGHT, "%s is otherwise not what the island file says: %s %s",
                      d->c->island.name, have ? "host" : "no server", want.key);
        return err_hint(err, "`atoll plan` shows it, `atoll apply` makes it so; then again");
    }
    return 0;
}

static int write_down(CmdDeploy *d, bool on, Err *err)
{
    ReleaseRecord next = {0};

    int r = check_hosts(d, err);
    if (r < 0)
        return r;
    release_next(&d->record, &next);
    next.maintenance = on;
    return cmd_deploy_step(d, &next, err);
}

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    _cleanup_(cmd_deploy_clear) CmdDeploy d = {.c = c, .lease_wait_ms = o->lease_wait_ms};
    const char *word = operands[0] ? operands[0] : "";
    bool on = streq(word, "on");

    if (!on && !streq(word, "off"))
        return err_set(err, ERR_USAGE, "`atoll maintenance` is told on or off");
    int r = cmd_deploy_look(&d, err);
    if (r == 0)
        r = cmd_deploy_installed(&d, err);
    if (r < 0)
        return r;
    ask_edges(&c->island, &d.plan.world, &d.ask);
    if (d.ask.only.len == 0) {
        (void)err_set(err, ERR_PREFLIGHT, "no server of %s with the role edge is there",
                      c->island.name);
        return err_hint(err, "`atoll apply` makes it");
    }
    bool was = d.record.maintenance;
    if (was != on)
        r = write_down(&d, on, err);
    /* Also when it is written down already: the run that did may have died before it told them. */
    if (r == 0)
        r = cmd_deploy_converge(&d, err);
    if (r < 0)
        return r;
    if (c->common.json)
        cmd_json(json_make_new("{s:s, s:b, s:b, s:I}", "event", "maintenance", "on", on, "was", was,
                               "number", (json_int_t)d.record.number));
    cmd_say(c, "%s is %s%s.\n", c->island.name, was == on ? "already " : "",
            on ? "closed for maintenance: its edge answers 503" : "open");
    return 0;
}

const Verb verb_maintenance = {
    .name = "maintenance",
    .usage = "maintenance on|off [options]",
    .operands = 1,
    .sentence = "Close the instance to the world for a while, or open it again.",
    .text =
        "On: the edge answers every request with a short page and status 503, which tells other "
        "servers to deliver later (Retry-After: 120), but for /health and what a certificate is "
        "renewed with. Web servers and workers go on: jobs are done, a deploy can be made. Off: as "
        "before. Nothing is restarted either way; requests that are being answered are answered to "
        "their end.\n\n"
        "It stands in the cloud, beside the release: every machine sees it, `atoll status` shows "
        "it, and `atoll apply` and `atoll deploy` leave it as it is. A deploy that runs at the "
        "same "
        "moment stops where it is; `atoll deploy` goes on with it.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
