/* atoll scale decide: observations in, decisions out, a line each. */
#include "base/log.h"
#include "cmd/scale.h"
#include <stdio.h>

typedef struct Options {
    const char *policy;
} Options;

static const Opt options[] = {OPT_SCALE_POLICY(Options), OPT_END};

typedef struct Dialogue {
    const Options *o;
    Scale *scale;
    ScaleConfig config;
    int desired; /* the last */
    bool answered;
    size_t bad;
} Dialogue;

static void answer(json_t *line)
{
    _cleanup_free_ char *text = json_text_new(line);

    puts(text);
    (void)fflush(stdout); /* whoever asked waits for it; main finds a broken pipe */
    json_decref(line);
}

/* What can't be read is answered too, by the last size: who asks is in step with the answers. */
static int each(void *user, size_t number, Str line, Err *err)
{
    Dialogue *d = user;
    ScaleObservation seen;
    ScaleDecision decision;
    _cleanup_(err_clear) Err bad = {0};
    (void)err; /* no line ends it */

    int r = scale_decide_line(d->scale, &d->config, line, &seen, &decision, &bad);
    if (r == 0) {
        d->desired = decision.desired;
        d->answered = true;
        answer(scale_decision_new(&d->config, &seen, &decision));
        return ferror(stdout) ? err_set(err, ERR_IO, "cannot write the answer: %m") : 0;
    }
    d->bad++;
    log_warn("line %zu: %s", number, bad.text);
    json_t *words = json_make_new("{s:i, s:s}", "v", 1, "error", bad.text);
    if (d->answered)
        json_object_set_new(words, "desired", json_integer(d->desired));
    answer(words);
    return 0;
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    Dialogue d = {.o = c->options};

    scale_config_default(&d.config);
    int r = cmd_scale_policy(d.o->policy, &d.config, err);
    if (r < 0)
        return r;
    d.config.policy_stays = d.o->policy;
    d.scale = scale_new();
    r = cmd_scale_lines(stdin, "standard input", each, &d, err);
    d.scale = scale_free(d.scale);
    return r == 0 && d.bad ? err_set(err, ERR_CORRUPT, "%zu lines were no observations", d.bad) : r;
}

const Verb verb_scale_decide = {
    .name = "scale decide",
    .usage = "scale decide [options] < OBSERVATIONS",
    .sentence = "Decide a pool's size: JSON lines in, JSON lines out.",
    .text =
        "Reads observations of the queues and the pool, one JSON object a line, and answers each "
        "at once with a line that has the number of servers that should be there (`desired`), what "
        "bound it, why, and the terms it was made of. It is the same code as `atoll scale` runs, "
        "for a simulator, a notebook, or another tool's hands. Nothing else is read or written.\n\n"
        "An observation has t and epoch (seconds), tick, cfg (min, max, threads, boot_s, queues "
        "with slo and weight, policy), redis_ok, api_ok, pool (desired, active, booting, draining, "
        "error), busy, queues (len, age in seconds, done and ms, which count up), and retry_due. "
        "doc/scale.md has all of it. A line that is none is answered with `error` and the last "
        "size; the exit code tells of it at the end.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
