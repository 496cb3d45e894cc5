#include "cmd/scale.h"
#include "base/log.h"
#include "host/role_services.h"

#include <stdio.h>

#define SLICE_MS 100
/* Connections for the streaming service, backups, a person. */
#define PG_SPARE 30

int cmd_scale_lines(FILE *from, const char *name, ScaleEach *each, void *user, Err *err)
{
    _cleanup_free_ char *line = xcalloc(SCALE_LINE_MAX, 1);
    int r = 0;

    for (size_t number = 1; r == 0 && fgets(line, SCALE_LINE_MAX, from); number++) {
        Str text = str_trim(str_of(line));
        bool whole = strchr(line, '\n') || feof(from);
        if (!whole)
            return err_set(err, ERR_CORRUPT, "%s:%zu: a line of more than %zu bytes", name, number,
                           SCALE_LINE_MAX - 2);
        if (text.n)
            r = each(user, number, text, err);
    }
    return r == 0 && ferror(from) ? err_set(err, ERR_IO, "cannot read %s: %m", name) : r;
}

bool cmd_scale_wait(const Cmd *c, Msec until)
{
    while (!*c->stop && time_mono() < until)
        time_sleep(MIN(SLICE_MS, until - time_mono()));
    return !*c->stop;
}

int cmd_scale_policy(const char *name, ScaleConfig *c, Err *err)
{
    if (!name)
        return 0;
    _cleanup_json_ json_t *cfg = json_make_new("{s:s}", "policy", name);
    int r = scale_config_read(cfg, c, err);
    return r < 0 ? err_set(err, ERR_USAGE, "--policy: latency, backlog or depth, not '%s'", name)
                 : 0;
}

_Static_assert(ISLAND_CALENDAR_MAX <= SCALE_CALENDAR, "all that a file may have");

static void add_queue(ScaleConfig *c, const char *name, double slo_s)
{
    ScaleQueue *q = &c->queues[c->n_queues++];

    *q = (ScaleQueue){.slo_s = slo_s, .weight = role_queue_weight(name)};
    snprintf(q->name, sizeof q->name, "%s", name);
}

/* Each thread of Mastodon's has one of its own. */
static int connections(const Tier *t)
{
    static const Role roles[] = {ROLE_WEB, ROLE_WORKER};
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (t->roles & ROLE_BIT(roles[i]))
            n += t->count * t->processes[roles[i]] * t->threads[roles[i]];
    return n;
}

int cmd_scale_config(const Island *island, const Tier *t, ScaleConfig *c, Err *err)
{
    static const struct {
        const char *name;
        double slo_s;
    } usual[] = {{"default", 30}, {"push", 60}, {"ingress", 120}, {"pull", 600}};

    c->min = t->scale.min;
    c->max = t->scale.max;
    c->threads = t->processes[ROLE_WORKER] * t->threads[ROLE_WORKER];
    c->boot_s = (double)t->scale.boot_ms / SECOND;
    c->budget = t->scale.budget_h;
    c->pg_max = ROLE_POSTGRES_CONNECTIONS;
    c->pg_reserved = PG_SPARE;
    for (size_t i = 0; i < island->n_tiers; i++)
        c->pg_reserved += &island->tiers[i] == t ? 0 : connections(&island->tiers[i]);
    for (size_t i = 0; i < t->scale.queues.len && i < SCALE_QUEUES; i++)
        add_queue(c, t->scale.queues.items[i].queue, (double)t->scale.queues.items[i].ms / SECOND);
    for (size_t i = 0; i < t->scale.calendar.len; i++) {
        const TierHours *h = &t->scale.calendar.items[i];
        c->calendar[c->n_calendar++] = (ScaleHours){h->days, h->from, h->to, h->min};
    }
    for (size_t i = 0; i < ARRAY_LEN(usual) && t->scale.queues.len == 0; i++)
        add_queue(c, usual[i].name, usual[i].slo_s);
    return cmd_scale_policy(t->scale.policy, c, err);
}

void cmd_scale_say(const Cmd *c, const ScaleSay *what, ScaleSaid *said)
{
    char when[TIME_TEXT_MAX];

    time_format(what->when, false, when);
    if (what->desired != said->desired || what->binding != said->binding)
        cmd_say(c, "%s  %d%s, wanted %d: %s (%s)\n", when, what->there,
                what->booting ? " with those that boot" : "", what->desired, what->reason,
                scale_bindings[what->binding]);
    for (size_t i = 0; i < what->did->len; i++)
        cmd_say(c, "%s  %s\n", when, what->did->items[i]);
    said->desired = what->desired;
    said->binding = what->binding;
}

void cmd_scale_trouble(bool *state, const Err *err, const char *over)
{
    if (err && err->kind == ERR_INTERRUPTED)
        return;
    if (err && !*state)
        log_warn("%s: the size is held", err->text ? err->text : "what Redis counts was reset");
    else if (!err && *state)
        log_info("%s", over);
    *state = err != NULL;
}
