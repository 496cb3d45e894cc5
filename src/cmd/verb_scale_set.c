/* atoll scale set: which servers a scaled tier has. The scaler's hands: a process of its own, so
 * that it goes on looking meanwhile, and stays small. */
#include "cmd/cmd.h"

typedef struct Options {
    const char *package;
} Options;

static const Opt options[] = {
    OPT_PACKAGE(Options, ", which new servers install."),
    OPT_END,
};

/* "0,2,5"; "none". */
static int read_numbers(const char *text, uint64_t *ret, Err *err)
{
    Str rest = str_of(streq(text, "none") ? "" : text), part;

    *ret = 0;
    while (rest.n && str_next(&rest, ',', &part)) {
        _cleanup_free_ char *word = xstrndup(part.p, part.n);
        int64_t n = 0;
        if (!parse_int(word, 0, ISLAND_COUNT_MAX - 1, &n))
            return err_set(err, ERR_USAGE, "'%s' is no number of a server (0 to %d)", word,
                           ISLAND_COUNT_MAX - 1);
        *ret |= (uint64_t)1 << n;
    }
    return 0;
}

static Tier *find_tier(Cmd *c, const char *name, Err *err)
{
    for (size_t i = 0; i < c->island.n_tiers; i++)
        if (streq(c->island.tiers[i].name, name) && c->island.tiers[i].scale.on)
            return &c->island.tiers[i];
    (void)err_set(err, ERR_CONFIG, "servers.%s has no scale in %s", name, c->island.path);
    return NULL;
}

/* Whom the edge sends clients to, it has to be told. Its servers themselves are left as they are:
 * what a person has changed of them in the file, a person applies. */
static void ask_edge(const Island *i, GoalAsk *ask)
{
    for (size_t k = 0; k < i->n_tiers; k++)
        for (int n = 0; i->tiers[k].roles & ROLE_BIT(ROLE_EDGE) && n < i->tiers[k].count; n++)
            strlist_addf(&ask->only, "host.%s.%d", i->tiers[k].name, n);
}

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    _cleanup_(cmd_plan_clear) CmdPlan plan = {0};
    _cleanup_(goal_ask_clear) GoalAsk ask = {0};
    _cleanup_free_ char *package = NULL;

    if (!operands[0] || !operands[1])
        return err_set(err, ERR_USAGE, "which tier, and which servers?");
    Tier *tier = find_tier(c, operands[0], err);
    if (!tier)
        return -ERR_CONFIG;
    int r = read_numbers(operands[1], &tier->numbers, err);
    tier->scale.told = true;
    strlist_add(&ask.only, tier->name);
    if (tier->roles & ROLE_BIT(ROLE_STREAM))
        ask_edge(&c->island, &ask);
    if (r == 0)
        r = cmd_plan_quiet(c, &ask, &plan, err);
    if (r == 0)
        r = cmd_plan_quota(c, &plan, err);
    if (r == 0 && cmd_plan_creates(&plan, RESOURCE_SERVER))
        r = cmd_package(o->package, &package, err);
    if (r < 0 || cmd_plan_done(&plan))
        return r;
    return cmd_perform(
        c, &plan, &(CmdPerform){.package = package, .lease_wait_ms = MINUTE, .no_wait = true}, err);
}

const Verb verb_scale_set = {
    .name = "scale set",
    .usage = "scale set [options] TIER NUMBERS",
    .operands = 2,
    .hidden = true,
    .sentence = "Give a scaled tier these servers.",
    .text =
        "What `atoll scale` calls to have servers made and removed: NUMBERS are those that stay or "
        "are to be made (0,2,5). Works on that tier, within its bounds, and tells the edge of "
        "streaming servers.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
