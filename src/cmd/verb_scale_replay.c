/* atoll scale replay: what would have been done on a recorded day. */
#include "base/time.h"
#include "cmd/scale.h"
#include <errno.h>
#include <stdio.h>

typedef struct Options {
    const char *policy;
} Options;

static const Opt options[] = {OPT_SCALE_POLICY(Options), OPT_END};

typedef struct Replay {
    const Cmd *c;
    const char *file;
    Scale *scale;
    ScaleConfig config;
    int before;
    double since, until, standing_h, desired_h;
    size_t ticks, rises, falls, blind;
} Replay;

static void say(const Replay *p, const ScaleObservation *o, const ScaleDecision *d)
{
    char when[TIME_TEXT_MAX];

    cmd_say(p->c, "%s  %3d -> %-3d %s (%s)\n", time_format((Msec)(o->epoch * 1000), false, when),
            p->before, d->desired, d->reason, scale_bindings[d->binding]);
}

static int each(void *user, size_t number, Str line, Err *err)
{
    Replay *p = user;
    ScaleObservation seen = {0};
    ScaleDecision d = {0};

    _cleanup_json_ json_t *j = json_parse_new(line.p, line.n, err);
    int r = j ? scale_config_read(json_at(j, "cfg"), &p->config, err) : -ERR_CORRUPT;
    if (r == 0)
        r = scale_observation_read(j, &p->config, &seen, err);
    if (r < 0)
        return err_wrap(err, "%s:%zu", p->file, number);
    scale_decide(p->scale, &p->config, &seen, &d);
    if (p->c->common.json)
        cmd_json(scale_decision_new(&p->config, &seen, &d));
    if (p->ticks == 0) {
        p->since = p->until = seen.t;
        p->before = seen.pool.active + seen.pool.booting;
    }
    double hours = (seen.t - p->until) / 3600;
    p->standing_h += hours * (seen.pool.active + seen.pool.booting + seen.pool.draining);
    p->desired_h += hours * d.desired;
    if (d.desired != p->before)
        say(p, &seen, &d);
    p->rises += d.desired > p->before;
    p->falls += d.desired < p->before;
    p->blind += d.binding == SCALE_BY_BLIND;
    p->before = d.desired;
    p->until = seen.t;
    p->ticks++;
    return 0;
}

static int run(Cmd *c, char **operands, Err *err)
{
    const Options *o = c->options;
    Replay p = {.c = c, .file = operands[0]};
    char span[TIME_TEXT_MAX];

    if (!p.file) {
        err_set(err, ERR_USAGE, "which recording?");
        return err_hint(err, "usage: atoll scale replay FILE");
    }
    scale_config_default(&p.config);
    int r = cmd_scale_policy(o->policy, &p.config, err);
    if (r < 0)
        return r;
    p.config.policy_stays = o->policy;
    FILE *f = fopen(p.file, "re");
    if (!f)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s: %m", p.file);
    p.scale = scale_new();
    r = cmd_scale_lines(f, p.file, each, &p, err);
    (void)fclose(f); /* it was only read */
    p.scale = scale_free(p.scale);
    if (r < 0)
        return r;
    cmd_say(c,
            "%zu observations over %s: %zu times more, %zu times fewer, %zu blind.\n"
            "Server-hours: %.1f asked for here, %.1f stood then.\n",
            p.ticks, time_span((Msec)((p.until - p.since) * 1000), span), p.rises, p.falls, p.blind,
            p.desired_h, p.standing_h);
    return 0;
}

const Verb verb_scale_replay = {
    .name = "scale replay",
    .usage = "scale replay [options] FILE",
    .operands = 1,
    .sentence = "Tell what would have been done on a recorded day.",
    .text =
        "Reads a recording of `atoll scale run --record FILE` (or any observations of `atoll scale "
        "decide`) and prints each change that would have been asked for, with its reason, and what "
        "it comes to in server-hours. With --json each decision is a line. The recorded pool "
        "stays as it was: what other sizes would have done to the queues a replay can't tell; "
        "the simulator of doc/scale.md can.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
