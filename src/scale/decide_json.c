/* The words of `atoll scale decide`. */
#include "base/time.h"
#include "scale/decide.h"

#include <math.h>
#include <stdio.h>

static double number(const json_t *j, const char *path, double def)
{
    const json_t *v = json_at(j, path);

    return json_is_number(v) ? json_number_value(v) : def;
}

static int whole(const json_t *j, const char *path, int def, int most)
{
    double v = number(j, path, def);

    return v <= 0 ? 0 : v >= most ? most : (int)v;
}

void scale_config_default(ScaleConfig *ret)
{
    *ret = (ScaleConfig){.policy = SCALE_LATENCY,
                         .min = 1,
                         .max = 1,
                         .threads = 25,
                         .boot_s = 180,
                         .calm_s = 1260,
                         .window_s = 120,
                         .sight_s = 300,
                         .pg_reserved = 30,
                         .depth = {.high = 2000, .low = 500, .up = 2, .hold_s = 600, .cool_s = 180},
                         .backlog_target = 0.5};
}

/* Numbers of the configuration: one row each. */
static const struct {
    const char *path;
    size_t offset;
    double min, max;
} numbers[] = {
    {"boot_s", offsetof(ScaleConfig, boot_s), 1, 7200},
    {"calm_s", offsetof(ScaleConfig, calm_s), 0, 86400},
    {"window_s", offsetof(ScaleConfig, window_s), 0, 3600},
    {"sight_s", offsetof(ScaleConfig, sight_s), 0, 86400},
    {"lead_s", offsetof(ScaleConfig, lead_s), 0, 86400},
    {"budget", offsetof(ScaleConfig, budget), 0, 1e6},
    {"depth.high", offsetof(ScaleConfig, depth.high), 0, 1e9},
    {"depth.low", offsetof(ScaleConfig, depth.low), 0, 1e9},
    {"depth.hold_s", offsetof(ScaleConfig, depth.hold_s), 0, 86400},
    {"depth.cool_s", offsetof(ScaleConfig, depth.cool_s), 0, 86400},
    {"backlog_target", offsetof(ScaleConfig, backlog_target), 0.01, 1},
};
static const struct {
    const char *path;
    size_t offset;
    int min, max;
} counts[] = {
    {"min", offsetof(ScaleConfig, min), 0, SCALE_SERVERS},
    {"max", offsetof(ScaleConfig, max), 0, SCALE_SERVERS},
    {"threads", offsetof(ScaleConfig, threads), 1, 10000},
    {"quota", offsetof(ScaleConfig, quota), 0, 100000},
    {"pg_max", offsetof(ScaleConfig, pg_max), 0, 1000000},
    {"pg_reserved", offsetof(ScaleConfig, pg_reserved), 0, 1000000},
    {"depth.up", offsetof(ScaleConfig, depth.up), 1, SCALE_SERVERS},
};

static int wrong(const char *path, double min, double max, Err *err)
{
    return err_set(err, ERR_CONFIG, "cfg.%s: not a number from %g to %g", path, min, max);
}

static int read_numbers(const json_t *cfg, ScaleConfig *c, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const json_t *v = json_at(cfg, numbers[i].path);
        double n = json_number_value(v);
        if (!v)
            continue;
        if (!json_is_number(v) || n < numbers[i].min || n > numbers[i].max)
            return wrong(numbers[i].path, numbers[i].min, numbers[i].max, err);
        memcpy((char *)c + numbers[i].offset, &n, sizeof n);
    }
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        const json_t *v = json_at(cfg, counts[i].path);
        double n = json_number_value(v);
        if (!v)
            continue;
        if (!json_is_number(v) || n < counts[i].min || n > counts[i].max)
            return wrong(counts[i].path, counts[i].min, counts[i].max, err);
        int count = (int)n;
        memcpy((char *)c + counts[i].offset, &count, sizeof count);
    }
    return 0;
}

static int read_queues(const json_t *queues, ScaleConfig *c, Err *err)
{
    const char *name = NULL;
    json_t *v = NULL;

    c->n_queues = 0;
    json_object_foreach ((json_t *)(uintptr_t)queues, name, v) /* it takes no const */
    {
        if (c->n_queues == SCALE_QUEUES)
            return err_set(err, ERR_CONFIG, "cfg.queues: more than %d", SCALE_QUEUES);
        if (strlen(name) >= SCALE_NAME)
            return err_set(err, ERR_CONFIG, "cfg.queues: a name of more than %d bytes",
                           SCALE_NAME - 1);
        ScaleQueue *q = &c->queues[c->n_queues++];
        *q = (ScaleQueue){.slo_s = number(v, "slo", 0), .weight = number(v, "weight", 1)};
        memcpy(q->name, name, strlen(name) + 1);
        if (!(q->slo_s >= 1 && q->slo_s <= 864000))
            return err_set(err, ERR_CONFIG, "cfg.queues.%s.slo: not a number from 1 to 864000",
                           name);
        if (!(q->weight > 0 && q->weight <= 1e6))
            return err_set(err, ERR_CONFIG, "cfg.queues.%s.weight: not a number up to 1000000",
                           name);
    }
    return 0;
}

static bool read_days(const json_t *days, unsigned *ret)
{
    unsigned known = 0;

    *ret = 0x7f;
    if (!days)
        return true;
    *ret = 0;
    for (size_t i = 0; time_days[i]; i++)
        if (json_list_has(days, time_days[i])) {
            *ret |= 1u << i;
            known++;
        }
    return known > 0 && known == json_array_size(days);
}

static int read_calendar(const json_t *rows, ScaleConfig *c, Err *err)
{
    c->n_calendar = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        ScaleHours h = {.min = whole(row, "min", 0, SCALE_SERVERS)};
        if (i == SCALE_CALENDAR)
            return err_set(err, ERR_CONFIG, "cfg.calendar: more than %d", SCALE_CALENDAR);
        if (!time_parse_minute(json_str_or(row, "from", ""), &h.from) ||
            !time_parse_minute(json_str_or(row, "to", ""), &h.to) ||
            !read_days(json_at(row, "days"), &h.days))
            return err_set(
                err, ERR_CONFIG,
                "cfg.calendar: %zu: from and to are \"HH:MM\" (UTC), days are names like "
                "\"mon\"",
                i);
        c->calendar[c->n_calendar++] = h;
    }
    return 0;
}

int scale_config_read(const json_t *cfg, ScaleConfig *ret, Err *err)
{
    ScaleConfig c = *ret;

    if (!cfg)
        return 0;
    const char *policy = json_str(cfg, "policy");
    if (policy) {
        int found = -1;
        for (int i = 0; i < SCALE_POLICIES; i++)
            if (streq(policy, scale_policies[i]))
                found = i;
        if (found < 0) {
            (void)err_set(err, ERR_CONFIG, "cfg.policy: there is no policy '%s'", policy);
            const char *near = util_nearest(policy, scale_policies);
            return err_hint(err, near ? "did you mean %s?" : "latency, backlog or depth", near);
        }
        if (!c.policy_stays)
            c.policy = (ScalePolicy)found;
    }
    c.per_tick =
        streq(json_str(cfg, "counters"), "tick") || (c.per_tick && !json_at(cfg, "counters"));
    int r = read_numbers(cfg, &c, err);
    if (r == 0 && json_at(cfg, "queues"))
        r = read_queues(json_at(cfg, "queues"), &c, err);
    if (r == 0 && json_at(cfg, "calendar"))
        r = read_calendar(json_at(cfg, "calendar"), &c, err);
    if (r == 0 && c.max < c.min)
        r = err_set(err, ERR_CONFIG, "cfg.max: less than cfg.min");
    if (r == 0)
        *ret = c;
    return r;
}

static void read_seen(const json_t *queues, const ScaleConfig *c, ScaleObservation *o)
{
    for (size_t i = 0; i < c->n_queues; i++) {
        const json_t *q = json_object_get(queues, c->queues[i].name);
        o->queues[i] = (ScaleSeen){.known = json_is_number(json_object_get(q, "len")),
                                   .len = fmax(number(q, "len", 0), 0),
                                   .age_s = fmax(number(q, "age", 0), 0),
                                   .done = fmax(number(q, "done", 0), 0),
                                   .ms = fmax(number(q, "ms", 0), 0)};
    }
}

int scale_observation_read(const json_t *line, const ScaleConfig *c, ScaleObservation *ret,
                           Err *err)
{
    static const int most = SCALE_SERVERS * 10;

    if (!json_is_object(line))
        return err_set(err, ERR_CORRUPT, "an observation is a JSON object");
    if (json_int(line, "v", 1) != 1)
        return err_set(err, ERR_CORRUPT, "an observation of version %lld: this atoll knows 1",
                       (long long)json_int(line, "v", 1));
    if (!json_is_number(json_at(line, "t")))
        return err_set(err, ERR_CORRUPT, "an observation without a number `t`");
    *ret = (ScaleObservation){.t = number(line, "t", 0),
                              .epoch = number(line, "epoch", number(line, "t", 0)),
                              .tick = number(line, "tick", 15),
                              .redis_ok = json_bool(line, "redis_ok", true),
                              .api_ok = json_bool(line, "api_ok", true),
                              .busy = fmax(number(line, "busy", 0), 0),
                              .other = fmax(number(line, "other", 0), 0),
                              .due_60 = fmax(number(line, "retry_due.60", 0), 0),
                              .due_300 = fmax(number(line, "retry_due.300", 0), 0)};
    ret->pool.active = whole(line, "pool.active", 0, most);
    ret->pool.booting = whole(line, "pool.booting", 0, most);
    ret->pool.draining = whole(line, "pool.draining", 0, most);
    ret->pool.error = whole(line, "pool.error", 0, most);
    ret->pool.desired = whole(line, "pool.desired", 0, most);
    ret->pool.poison = json_bool(line, "pool.poison", false);
    /* Without its pool or its queues it is an observation of nothing, not of none. */
    ret->api_ok = ret->api_ok && json_is_object(json_at(line, "pool"));
    ret->redis_ok = ret->redis_ok && json_is_object(json_at(line, "queues"));
    read_seen(json_at(line, "queues"), c, ret);
    return 0;
}

/* Three digits behind the point are enough for a person, and for a replay. */
static json_t *real_new(double v)
{
    return json_real(isfinite(v) ? round(v * 1000) / 1000 : 0);
}

static json_t *config_new(const ScaleConfig *c)
{
    json_t *queues = json_object(),
           *cfg = json_make_new("{s:s}", "policy", scale_policies[c->policy]);

    for (size_t i = 0; i < c->n_queues; i++)
        json_object_set_new(queues, c->queues[i].name,
                            json_make_new("{s:o, s:o}", "slo", real_new(c->queues[i].slo_s),
                                          "weight", real_new(c->queues[i].weight)));
    json_object_set_new(cfg, "queues", queues);
    static const char depth_prefix[] = "depth.";
    json_t *depth = json_object();
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        double v = 0;
        memcpy(&v, (const char *)c + numbers[i].offset, sizeof v);
        bool deep = starts_with(numbers[i].path, depth_prefix);
        json_object_set_new(deep ? depth : cfg, numbers[i].path + (deep ? 6 : 0), real_new(v));
    }
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        int v = 0;
        memcpy(&v, (const char *)c + counts[i].offset, sizeof v);
        bool deep = starts_with(counts[i].path, depth_prefix);
        json_object_set_new(deep ? depth : cfg, counts[i].path + (deep ? 6 : 0), json_integer(v));
    }
    json_object_set_new(cfg, "depth", depth);
    json_t *calendar = json_array();
    for (size_t i = 0; i < c->n_calendar; i++) {
        const ScaleHours *h = &c->calendar[i];
        char from[16], to[16];
        snprintf(from, sizeof from, "%02d:%02d", h->from / 60, h->from % 60);
        snprintf(to, sizeof to, "%02d:%02d", h->to / 60, h->to % 60);
        json_t *days = json_array();
        for (size_t k = 0; time_days[k]; k++)
            if (h->days >> k & 1)
                json_array_append_new(days, json_string(time_days[k]));
        json_array_append_new(calendar, json_make_new("{s:s, s:s, s:o, s:i}", "from", from, "to",
                                                      to, "days", days, "min", h->min));
    }
    json_object_set_new(cfg, "calendar", calendar);
    return cfg;
}

static json_t *inputs_new(const ScaleConfig *c, const ScaleObservation *o)
{
    json_t *queues = json_object();

    for (size_t i = 0; i < c->n_queues; i++)
        if (o->queues[i].known)
            json_object_set_new(
                queues, c->queues[i].name,
                json_make_new("{s:o, s:o, s:o, s:o}", "len", real_new(o->queues[i].len), "age",
                              real_new(o->queues[i].age_s), "done", real_new(o->queues[i].done),
                              "ms", real_new(o->queues[i].ms)));
    json_t *in = json_make_new("{s:b, s:b, s:{s:i, s:i, s:i, s:i, s:i, s:b}, s:o, s:{s:o, s:o}}",
                               "redis_ok", o->redis_ok, "api_ok", o->api_ok, "pool", "desired",
                               o->pool.desired, "active", o->pool.active, "booting",
                               o->pool.booting, "draining", o->pool.draining, "error",
                               o->pool.error, "poison", o->pool.poison, "busy", real_new(o->busy),
                               "retry_due", "60", real_new(o->due_60), "300", real_new(o->due_300));
    json_object_set_new(in, "queues", queues);
    if (o->other > 0)
        json_object_set_new(in, "other", real_new(o->other));
    return in;
}

json_t *scale_observation_new(const ScaleConfig *c, const ScaleObservation *o)
{
    json_t *line = inputs_new(c, o), *cfg = config_new(c);

    if (c->per_tick)
        json_object_set_new(cfg, "counters", json_string("tick"));
    json_object_set_new(line, "v", json_integer(1));
    json_object_set_new(line, "t", real_new(o->t));
    json_object_set_new(line, "epoch", real_new(o->epoch));
    json_object_set_new(line, "tick", real_new(o->tick));
    json_object_set_new(line, "cfg", cfg);
    return line;
}

json_t *scale_decision_new(const ScaleConfig *c, const ScaleObservation *o, const ScaleDecision *d)
{
    const ScaleTerms *t = &d->terms;
    json_t *terms = json_make_new("{s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:o, s:o}", "work",
                                  real_new(t->work), "rush", real_new(t->rush), "backlog_s",
                                  real_new(t->backlog), "needed", t->needed, "keep", t->keep,
                                  "guard", t->guard, "calendar", t->calendar, "cap", t->cap,
                                  "used_h", real_new(t->used), "late_s", real_new(t->late_s));

    if (t->worst < c->n_queues) {
        json_object_set_new(terms, "worst", json_string(c->queues[t->worst].name));
        json_object_set_new(terms, "worst_at", real_new(t->worst_at));
    }
    return json_make_new("{s:i, s:o, s:o, s:i, s:s, s:s, s:s, s:i, s:i, s:o, s:o}", "v", 1, "t",
                         real_new(o->t), "epoch", real_new(o->epoch), "desired", d->desired,
                         "binding", scale_bindings[d->binding], "reason", d->reason, "policy",
                         scale_policies[c->policy], "min", c->min, "max", c->max, "terms", terms,
                         "inputs", inputs_new(c, o));
}

int scale_decide_line(Scale *s, ScaleConfig *c, Str line, ScaleObservation *ret_seen,
                      ScaleDecision *ret, Err *err)
{
    _cleanup_json_ json_t *j = json_parse_new(line.p, line.n, err);
    ScaleConfig config = *c;

    if (!j)
        return -ERR_CORRUPT;
    int r = scale_config_read(json_at(j, "cfg"), &config, err);
    if (r == 0)
        r = scale_observation_read(j, &config, ret_seen, err);
    if (r < 0)
        return r;
    *c = config;
    scale_decide(s, c, ret_seen, ret);
    return 0;
}
