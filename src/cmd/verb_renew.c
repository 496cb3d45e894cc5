/* atoll renew: new mailbox addresses for the servers whose own end soon. */
#include "cmd/cmd.h"
#include "cmd/every.h"
#include "host/spec.h"

typedef struct Options {
    int64_t every_ms, lease_wait_ms;
} Options;

static const Opt options[] = {
    {.name = "every",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "Stay, and look again after so long (6h).",
     .offset = offsetof(Options, every_ms),
     .min = MINUTE,
     .max = 7 * DAY},
    OPT_LEASE_WAIT(Options),
    OPT_END,
};

/* Nothing of its settings changes. */
static bool is_renewal(const CmdPlan *p, const Step *s)
{
    const Resource *have = world_find(&p->world, RESOURCE_HOST, s->key, s->generation);
    const Resource *want = goal_find(&p->goal, RESOURCE_HOST, s->key);

    if (s->verb != KIND_SEND || s->detail || !have || !want)
        return false;
    Resource as_it_is = *want;
    as_it_is.generation = s->generation;
    _cleanup_json_ json_t *spec = host_spec_new(&as_it_is, &p->world);
    return spec && host_was_sent(have, spec);
}

static int find(Cmd *c, GoalAsk *ret, Err *err)
{
    _cleanup_(cmd_plan_clear) CmdPlan plan = {0};
    int r = cmd_plan_quiet(c, &(GoalAsk){0}, &plan, err);

    for (size_t i = 0; r == 0 && i < plan.steps.len; i++)
        if (is_renewal(&plan, &plan.steps.items[i]))
            strlist_addf(&ret->only, "host.%s", plan.steps.items[i].key);
    return r;
}

/* Whatever else the island lacks is a person's to apply. */
static int work(Cmd *c, Err *err)
{
    const Options *o = c->options;
    _cleanup_(goal_ask_clear) GoalAsk ask = {0};
    _cleanup_(cmd_plan_clear) CmdPlan plan = {0};
    int r = find(c, &ask, err);

    if (r < 0 || ask.only.len == 0) {
        if (r == 0 && !o->every_ms)
            cmd_say(c, "No server's addresses end soon.\n");
        return r;
    }
    r = cmd_plan_quiet(c, &ask, &plan, err);
    if (r == 0)
        r = cmd_perform(c, &plan, &(CmdPerform){.lease_wait_ms = o->lease_wait_ms, .no_wait = true},
                        err);
    if (r == 0)
        cmd_say(c, "%zu servers have new addresses.\n", ask.only.len);
    return r;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    const Options *o = c->options;

    return o->every_ms
               ? cmd_every(c, &(CmdEvery){.word = "renew", .every_ms = o->every_ms, .work = work},
                           err)
               : work(c, err);
}

const Verb verb_renew = {
    .name = "renew",
    .usage = "renew [options]",
    .sentence = "Give servers new mailbox addresses before their own end.",
    .text =
        "A server hears and tells by addresses that live for thirty days; one whose addresses "
        "have ended can only be replaced. `atoll apply` renews them in the second half of that "
        "time, beside whatever else there is to do. This does that and nothing else: a server "
        "whose settings are not what the island file makes them is left to an apply. The control "
        "server runs it by itself, with --every.",
    .needs = NEED_ISLAND | NEED_CLOUD,
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
