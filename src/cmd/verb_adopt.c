/* atoll adopt: makes something that is there already the island's own. */
#include "cloud/adopt.h"
#include "cmd/cmd.h"

typedef struct Options {
    bool yes;
} Options;

static const Opt options[] = {
    OPT_YES(Options),
    OPT_END,
};

/* "volume.db.0", "router" */
static int parse_what(const char *what, ResourceKind *ret_kind, const char **ret_key, Err *err)
{
    size_t n = strcspn(what, ".");
    _cleanup_free_ char *prefix = xstrndup(what, n);

    *ret_key = what[n] ? what + n + 1 : "main";
    if (adopt_parse(prefix, ret_kind))
        return 0;
    const char *near = util_nearest(prefix, adopt_kinds);
    err_set(err, ERR_USAGE, "a '%s' can't be adopted%s%s%s", prefix, near ? ": did you mean " : "",
            near ? near : "", near ? "?" : "");
    return err_hint(err, "network, subnet, router, ip, group.TIER, volume.TIER.N; a network or "
                         "router that must stay somebody else's is named in the island file");
}

static const Resource *find_want(const Goal *g, ResourceKind kind, const char *key)
{
    for (size_t i = 0; i < g->want.len; i++)
        if (g->want.items[i].kind == kind && streq(g->want.items[i].key, key))
            return &g->want.items[i];
    return NULL;
}

static int check_key(const CmdPlan *p, ResourceKind kind, const char *key, Err *err)
{
    const ResourceRow *row = resource_row(kind);
    const Resource *taken = world_find(&p->world, kind, key, 0);
    _cleanup_(buf_clear) Buf keys = BUF_INIT(BUF_MAX_LINE);

    if (taken)
        return err_set(err, ERR_CONFLICT, "the island has its %s %s already: %s", row->word, key,
                       taken->id);
    if (find_want(&p->goal, kind, key))
        return 0;
    for (size_t i = 0; i < p->goal.want.len; i++)
        if (p->goal.want.items[i].kind == kind)
            buf_printf(&keys, "%s%s.%s", keys.len ? ", " : "", row->prefix,
                       p->goal.want.items[i].key);
    err_set(err, ERR_USAGE, "the island file wants no %s %s", row->word, key);
    return err_hint(err, "it wants: %s", keys.len ? keys.p : "none of the kind");
}

/* The engine is asked what it would make of it: stuck means that it does not fit. */
static int check_fit(const CmdPlan *p, const Resource *have, Err *err)
{
    _cleanup_(world_clear) World w = world_copy(&p->world);
    _cleanup_(next_clear) Next next = {0};

    (void)world_add(&w, resource_copy(have));
    int r = plan_next(&p->goal, &w, time_now(), &next, err);
    for (size_t i = 0; r == 0 && i < next.stucks.len; i++) {
        const Stuck *s = &next.stucks.items[i];

        if (s->kind == have->kind && streq(s->key, have->key))
            r = err_set(err, ERR_CONFLICT, "it does not fit the island file: %s", s->why);
    }
    return r;
}

static int adopt(Cmd *c, const CmdPlan *p, const Resource *want, const char *id, Err *err)
{
    const Options *o = c->options;
    _cleanup_(adoption_clear) Adoption a = {0};
    int r = adopt_look(&c->clouds, &p->world, want, id, &a, err);

    if (r == 0)
        r = check_fit(p, &a.have, err);
    if (r < 0)
        return r;
    cmd_say(c, "  %s %s (%s) becomes the island's %s %s%s%s\n", resource_row(want->kind)->word, id,
            *a.was ? a.was : "without a name", resource_row(want->kind)->word, want->key,
            resource_row(want->kind)->named ? ", called " : "",
            resource_row(want->kind)->named ? want->name : "");
    cmd_say(c, "  from then on `atoll apply` changes it, and `atoll destroy%s` deletes it\n",
            want->protect ? " --data" : "");
    if (!o->yes)
        r = cmd_ask("Adopt this? Type yes:", "yes", err);
    if (r == 0)
        r = adopt_write(&c->clouds, &a, err);
    if (r < 0)
        return r;
    if (c->common.json)
        cmd_json(json_make_new("{s:s, s:s, s:s, s:s}", "event", "adopted", "kind",
                               resource_row(want->kind)->prefix, "key", want->key, "id", id));
    cmd_say(c, "Done. next: `atoll plan`\n");
    return 0;
}

static int run(Cmd *c, char **operands, Err *err)
{
    _cleanup_(cmd_plan_clear) CmdPlan p = {0};
    ResourceKind kind;
    const char *key;

    if (!operands[0] || !operands[1])
        return err_set(err, ERR_USAGE, "usage: atoll adopt KIND[.KEY] ID");
    if (strchr(operands[1], '/') || !*operands[1])
        return err_set(err, ERR_USAGE, "'%s' is no id", operands[1]);
    ApplyLook look = cmd_look(c);
    int r = parse_what(operands[0], &kind, &key, err);
    if (r == 0)
        r = apply_look(&look, c->cache_dir, time_now(), &p.world, err);
    if (r == 0)
        r = island_preflight(&c->island, p.world.facts, err);
    if (r == 0)
        r = apply_goal(&c->island, &p.world, &(GoalAsk){0}, &p.goal, err);
    if (r == 0)
        r = check_key(&p, kind, key, err);
    return r < 0 ? r : adopt(c, &p, find_want(&p.goal, kind, key), operands[1], err);
}

const Verb verb_adopt = {
    .name = "adopt",
    .usage = "adopt [options] KIND[.KEY] ID",
    .sentence = "Make something that is there already the island's own.",
    .text =
        "A floating IP that people know, a volume with data, a network, subnet, router or security "
        "group that was made by hand: one change gives it the island's name and marker, so that "
        "the next plan takes it for what the island file wants (`atoll adopt ip ID`, `atoll adopt "
        "volume.db.0 ID`, `atoll adopt group.web ID`).\n\n"
        "Refused: what another island has marked, what is in use by servers that are not the "
        "island's, a key that is taken, and what does not fit the file (a subnet with other "
        "addresses, a volume that is larger than wanted).\n\n"
        "Where a project may have only one router or network, and it must stay somebody else's, "
        "name it in the island file instead (`network: {router: NAME}`, `network: {name: NAME, "
        "subnet: NAME}`): then it is used, and never changed.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .operands = 2,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
