/* atoll scale: keeps a tier as large as its queues, or its clients, need it. */
#include "base/log.h"
#include "cmd/scale.h"
#include "cmd/scale_clients.h"
#include "io/child.h"
#include "io/crypt.h"
#include "io/file.h"
#include "scale/pool_heat.h"
#include "scale/scaler.h"

#include <stdio.h>
#include <unistd.h>

#define LEASE_TICKS 4
#define LEASE_LEAST (20 * SECOND)

typedef struct Options {
    const char *tier, *redis, *user, *password_file, *sentinel, *prefix, *policy, *record, *package;
    const char *redis_ca, *config, *exec, *heat, *cloud;
    int64_t every_ms, drain_ms, join_ms, retry_ms;
    bool dry_run, redis_tls;
} Options;

static const Opt options[] = {
    {.name = "tier",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "Which tier, where the file has several with `scale`.",
     .offset = offsetof(Options, tier)},
    {.name = "dry-run",
     .type = OPT_FLAG,
     .sentence = "Look and decide, but change nothing: no server, no lease, no signal.",
     .offset = offsetof(Options, dry_run)},
    {.name = "record",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Append every observation to FILE, for `atoll scale replay`.",
     .offset = offsetof(Options, record)},
    {.name = "every",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "From one look to the next.",
     .offset = offsetof(Options, every_ms),
     .def = "15s",
     .min = SECOND,
     .max = 5 * MINUTE},
    {.name = "drain",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "A server that goes may take so long for the jobs it has; then they are put back. "
                 "Queues with a time of their own: servers.TIER.scale.drain in the island file.",
     .offset = offsetof(Options, drain_ms),
     .def = "10m"},
    {.name = "join",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "A new server has to take jobs within so long, else it is given up.",
     .offset = offsetof(Options, join_ms),
     .def = "15m"},
    {.name = "retry",
     .type = OPT_SPAN,
     .argument = "SPAN",
     .sentence = "After three in a row were given up, one more is tried so much later.",
     .offset = offsetof(Options, retry_ms),
     .def = "10m"},
    OPT_SCALE_POLICY(Options),
    {.name = "redis",
     .type = OPT_STRING,
     .argument = "HOST[:PORT]",
     .sentence = "Where Sidekiq's Redis is (default: the island's own).",
     .offset = offsetof(Options, redis)},
    {.name = "redis-user",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "A user of Redis's ACL.",
     .offset = offsetof(Options, user)},
    {.name = "redis-password-file",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Its first line is the password (default: the island's vault has it).",
     .offset = offsetof(Options, password_file)},
    {.name = "redis-tls",
     .type = OPT_FLAG,
     .sentence = "TLS to Redis, and to a Sentinel; the certificate has to be of that HOST.",
     .offset = offsetof(Options, redis_tls)},
    {.name = "redis-ca",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Roots of that certificate as PEM (default: this machine's).",
     .offset = offsetof(Options, redis_ca)},
    {.name = "sentinel",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "--redis is a Sentinel, and this the master's name.",
     .offset = offsetof(Options, sentinel)},
    {.name = "prefix",
     .type = OPT_STRING,
     .argument = "TEXT",
     .sentence = "What all keys of Sidekiq begin with (REDIS_NAMESPACE, with a colon).",
     .offset = offsetof(Options, prefix),
     .def = ""},
    {.name = "exec",
     .type = OPT_STRING,
     .argument = "COMMAND",
     .sentence = "Servers are this command's, and there is no island: needs --config and --redis.",
     .offset = offsetof(Options, exec)},
    {.name = "heat",
     .type = OPT_STRING,
     .argument = "STACK[/GROUP]",
     .sentence =
         "Servers are a group of this Heat stack, and there is no island: needs --config and "
         "--redis.",
     .offset = offsetof(Options, heat)},
    {.name = "cloud",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "For --heat: the entry of clouds.yaml (default: $OS_CLOUD, or the only one).",
     .offset = offsetof(Options, cloud)},
    {.name = "config",
     .type = OPT_STRING,
     .argument = "FILE",
     .sentence = "Bounds and deadlines as JSON: what an observation has as cfg (doc/scale.md).",
     .offset = offsetof(Options, config)},
    OPT_PACKAGE(Options, ", which new servers install."),
    OPT_END,
};

typedef struct Run {
    Cmd *c;
    const Options *o;
    ScaleConfig config;
    PlanPool plan;
    ExecPool exec;
    HeatPool heat;
    const PoolDriver *driver;
    void *self; /* the driver's */
    Secret *password;
    char *host, *lease, *holder;
    int port;
    FILE *record;
    ScaleSaid said;
    bool follows;
} Run;

static void run_clear(Run *r)
{
    pool_plan_clear(&r->plan);
    pool_child_end(&r->exec.child);
    pool_heat_clear(&r->heat);
    (void)secret_free(r->password);
    free(r->host);
    free(r->lease);
    free(r->holder);
    if (r->record)
        (void)fclose(r->record); /* each line was flushed */
}
DEFINE_CLEAR(Run, run_clear)

static int find_tier(Run *r, Err *err)
{
    const Tier *found = NULL;

    for (size_t i = 0; i < r->c->island.n_tiers; i++) {
        const Tier *t = &r->c->island.tiers[i];
        if (!t->scale.on || (r->o->tier && !streq(t->name, r->o->tier)))
            continue;
        if (found) {
            (void)err_set(err, ERR_USAGE, "servers.%s and servers.%s have `scale`", found->name,
                          t->name);
            return err_hint(err, "--tier says which; each has an `atoll scale` of its own");
        }
        found = t;
    }
    if (!found) {
        (void)err_set(err, ERR_CONFIG, "%s%s has no `scale`", r->o->tier ? "servers." : "",
                      r->o->tier ? r->o->tier : r->c->common.file);
        return err_hint(err, "servers: {worker: {..., scale: {min: 1, max: 5}}}");
    }
    r->plan = (PlanPool){.c = r->c, .tier = found, .package = r->o->package};
    r->lease = xasprintf("%s.%s", r->c->island.name, found->name);
    return cmd_scale_config(&r->c->island, found, &r->config, err);
}

static int read_config(Run *r, Err *err)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);

    if (!r->o->config)
        return 0;
    int k = file_read(r->o->config, &text, err);
    if (k < 0)
        return k;
    _cleanup_json_ json_t *cfg = json_parse_new(text.p, text.len, err);
    k = cfg ? scale_config_read(cfg, &r->config, err) : -ERR_CONFIG;
    return k < 0 ? err_wrap(err, "%s", r->o->config) : 0;
}

static int check_ca(const Options *o, Err *err)
{
    if (!o->redis_ca || access(o->redis_ca, R_OK) == 0)
        return 0;
    return err_set(err, ERR_IO, "--redis-ca: cannot read %s: %m", o->redis_ca);
}

static int read_password(Run *r, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    const Vault *vault = NULL;

    if (r->o->password_file) {
        int k = file_read(r->o->password_file, &text, err);
        if (k == 0)
            r->password = secret_new(text.p, strcspn(text.p, "\r\n"));
        return k;
    }
    if (r->o->redis)
        return 0;
    int k = cmd_need_vault(r->c, false, &vault, err);
    if (k == 0 && vault_secret(vault, "redis_password"))
        r->password = secret_copy(vault_secret(vault, "redis_password"));
    return k;
}

/* Where Redis is: as was said, else where the island has it. */
static int find_redis(Run *r, Err *err)
{
    const char *given = r->o->redis;
    const char *colon = given ? strrchr(given, ':') : NULL;
    int64_t port = r->o->sentinel ? 26379 : 6379;

    if (colon && (strchr(given, ':') == colon) && !parse_int(colon + 1, 1, 65535, &port))
        return err_set(err, ERR_USAGE, "--redis %s: HOST[:PORT]", given);
    r->port = (int)port;
    if (given) {
        bool v6 = colon && strchr(given, ':') != colon;
        r->host = xstrndup(given, colon && !v6 ? (size_t)(colon - given) : strlen(given));
        return 0;
    }
    Pool pool = {0};
    int k = pool_plan.look(&r->plan, &pool, err);
    pool_clear(&pool);
    if (k < 0)
        return k;
    if (!r->plan.redis)
        return err_set(err, ERR_NOT_FOUND, "it is not known where Redis is: --redis says so");
    r->host = xstrdup(r->plan.redis);
    return 0;
}

static void open_exec(Run *r)
{
    r->exec.command = r->o->exec;
    r->driver = &pool_exec;
    r->self = &r->exec;
    r->lease = xstrdup("pool");
}

static int open_heat(Run *r, Err *err)
{
    r->driver = &pool_heat;
    r->self = &r->heat;
    r->lease = xasprintf("heat.%s", r->o->heat);
    int k = cmd_cloud(r->c, r->o->cloud, &r->c->owned[CLOUD_OF_ISLAND], err);
    return k < 0 ? k : pool_heat_open(r->c->owned[CLOUD_OF_ISLAND], r->o->heat, &r->heat, err);
}

static int open_island(Run *r, Err *err)
{
    r->driver = &pool_plan;
    r->self = &r->plan;
    int k = cmd_prepare(r->c, NEED_ISLAND | NEED_CLOUD, err);
    return k < 0 ? k : find_tier(r, err);
}

static int open_pool(Run *r, Err *err)
{
    const Options *o = r->o;
    const char *option = o->exec ? "--exec" : "--heat";

    if (o->exec && o->heat)
        return err_set(err, ERR_USAGE, "--exec and --heat: the servers are of one of them");
    if ((o->exec || o->heat) && (!o->config || !o->redis))
        return err_set(err, ERR_USAGE, "%s needs --config and --redis: there is no island", option);
    if (o->exec)
        open_exec(r);
    return o->exec ? 0 : o->heat ? open_heat(r, err) : open_island(r, err);
}

static bool streams(const Run *r)
{
    return r->plan.tier && r->plan.tier->roles == ROLE_BIT(ROLE_STREAM);
}

static int check_streams(const Options *o, Err *err)
{
    const char *option = o->policy ? "policy" : o->record ? "record" : o->redis ? "redis" : NULL;

    return option ? err_set(err, ERR_USAGE, "--%s is for workers: this tier follows its clients",
                            option)
                  : 0;
}

static int open_all(Run *r, Err *err)
{
    const Options *o = r->o;

    scale_config_default(&r->config);
    int k = open_pool(r, err);
    if (k == 0)
        k = read_config(r, err);
    if (k < 0 || streams(r))
        return k < 0 ? k : check_streams(o, err);
    k = cmd_scale_policy(o->policy, &r->config, err);
    if (k == 0)
        k = check_ca(o, err);
    if (k == 0)
        k = read_password(r, err);
    if (k == 0)
        k = find_redis(r, err);
    if (k == 0 && o->record && !(r->record = fopen(o->record, "ae")))
        k = err_set(err, ERR_IO, "cannot write %s: %m", o->record);
    uint64_t nonce = 0;
    char who[320];
    crypt_random(&nonce, sizeof nonce);
    cmd_holder(who);
    r->holder = xasprintf("%s %d %016llx", who, (int)getpid(), (unsigned long long)nonce);
    return k;
}

/* What it was decided with. */
static ScaleConfig config_at(const Run *r, const ScalerTick *t)
{
    ScaleConfig c = r->config;

    c.quota = t->quota;
    return c;
}

static void note(const Run *r, const ScalerTick *t)
{
    if (!r->record)
        return;
    ScaleConfig config = config_at(r, t);
    json_t *line = scale_observation_new(&config, &t->seen);
    json_object_set_new(line, "decided", json_integer(t->decision.desired));
    _cleanup_free_ char *text = json_text_new(line);
    if (fprintf(r->record, "%s\n", text) < 0 || fflush(r->record) != 0)
        log_warn("cannot write the recording: %m");
    json_decref(line);
}

static void say_json(const Run *r, const ScalerTick *t)
{
    ScaleConfig config = config_at(r, t);
    json_t *line = scale_decision_new(&config, &t->seen, &t->decision);

    json_object_set_new(line, "event", json_string("scale"));
    json_object_set_new(line, "did", json_list_new(&t->did));
    json_object_set_new(line, "leader", json_boolean(t->leader));
    cmd_json(line);
}

static void say(Run *r, const ScalerTick *t)
{
    const ScaleDecision *d = &t->decision;

    cmd_scale_trouble(&r->said.redis_away, t->seen.redis_ok ? NULL : &t->redis,
                      "Redis tells again");
    cmd_scale_trouble(&r->said.api_away, t->seen.api_ok ? NULL : &t->api, SCALE_LOOKS_AGAIN);
    if (t->act.text)
        log_warn("%s", t->act.text);
    if (t->seen.redis_ok && !t->leader && !r->follows && !r->o->dry_run)
        log_info("%s has the lease: this one only looks on", t->holder ? t->holder : "another");
    r->follows = t->seen.redis_ok && !t->leader;
    if (r->c->common.json) {
        say_json(r, t);
        return;
    }
    cmd_scale_say(r->c,
                  &(ScaleSay){.when = (Msec)(t->seen.epoch * 1000),
                              .there = t->seen.pool.active + t->seen.pool.booting,
                              .booting = t->seen.pool.booting > 0,
                              .desired = d->desired,
                              .binding = d->binding,
                              .reason = d->reason,
                              .did = &t->did},
                  &r->said);
}

static void follow_queues(Run *r)
{
    const Options *o = r->o;
    Msec lease = MAX(LEASE_TICKS * o->every_ms, LEASE_LEAST);
    const PoolRules rules = {.join_ms = o->join_ms,
                             .drain_ms = o->drain_ms,
                             .drain = r->plan.tier ? &r->plan.tier->scale.drain : NULL,
                             .retry_ms = o->retry_ms};
    Scaler *s = scaler_new(&(ScalerOptions){.config = &r->config,
                                            .redis = {.host = r->host,
                                                      .port = r->port,
                                                      .password = r->password,
                                                      .user = o->user,
                                                      .sentinel = o->sentinel,
                                                      .tls = o->redis_tls || o->redis_ca,
                                                      .ca_file = o->redis_ca,
                                                      .timeout_ms = 2 * SECOND},
                                            .observe = {.prefix = o->prefix,
                                                        .lease = o->dry_run ? NULL : r->lease,
                                                        .holder = r->holder,
                                                        .lease_ms = lease},
                                            .tick_ms = o->every_ms,
                                            .rules = rules,
                                            .driver = r->driver,
                                            .self = r->self,
                                            .dry_run = o->dry_run});

    for (Msec at = time_mono(); cmd_scale_wait(r->c, at); at = MAX(at + o->every_ms, time_mono())) {
        _cleanup_(scaler_tick_clear) ScalerTick t = {0};
        scaler_tick(s, time_mono(), time_now(), &t);
        say(r, &t);
        note(r, &t);
    }
    (void)scaler_free(s);
}

static void follow_clients(Run *r)
{
    const Tier *t = r->plan.tier;

    scale_clients(r->c, &(ScaleClients){.pool = &r->plan,
                                        .config = {.min = t->scale.min,
                                                   .max = t->scale.max,
                                                   .each = t->scale.clients,
                                                   .calm_ms = (Msec)(r->config.calm_s * SECOND)},
                                        .every_ms = r->o->every_ms,
                                        .join_ms = r->o->join_ms,
                                        .dry_run = r->o->dry_run});
}

static int run(Cmd *c, char **operands, Err *err)
{
    (void)operands; /* none */
    _cleanup_(run_clear) Run r = {.c = c, .o = c->options, .said = {.desired = -1}};

    int k = open_all(&r, err);
    if (k < 0)
        return k;
    child_notify("READY=1");
    if (streams(&r))
        follow_clients(&r);
    else
        follow_queues(&r);
    child_notify("STOPPING=1");
    return 0;
}

const Verb verb_scale = {
    .name = "scale",
    .usage = "scale [options]",
    .sentence =
        "Keep a tier of workers as large as its queues need it, or of streaming servers as its "
        "clients do.",
    .text =
        "Looks at Sidekiq's queues in Redis and at the tier's servers, decides how many there "
        "should "
        "be (doc/scale.md says how), and has the same engine as `atoll apply` make or remove them, "
        "within the bounds of the island file's `scale`. Each decision is one line; with --json "
        "with all it was made of. It stays in the foreground until a signal; SIGTERM leaves the "
        "pool as it is.\n\n"
        "A server goes only when it has finished: it is told over Redis to take no more jobs, is "
        "waited for until no job is left on two heartbeats, and then stopped and deleted. Never "
        "the "
        "one with Mastodon's schedule, nor the last that takes a queue. Without Redis or without "
        "the cloud nothing is removed. Of two that run, one acts: the lease is in Redis.\n\n"
        "A tier of streaming servers follows the clients that their hosts report "
        "(doc/scale.md).\n\n"
        "With --exec the servers are somebody else's: `COMMAND list` prints a line for each (its "
        "name, which its Sidekiq has as host name or DYNO; maybe `error` or `leaving`; maybe its "
        "age in seconds), and `COMMAND set SIZE [NAME...]` makes them SIZE, without those NAMEs, "
        "which have finished, or, after --drain, were just sent TERM: who deletes them at once "
        "loses "
        "their jobs. ATOLL_GENERATION is a number that grows with each change of who "
        "acts.\n\n"
        "With --heat they are an OS::Heat::ResourceGroup or OS::Heat::AutoScalingGroup of "
        "somebody's stack, whose template takes the size, and a ResourceGroup's victims, from "
        "parameters (doc/scale.md has an example). One update at a time names size and victims, "
        "and is believed when the servers that are there afterwards are the ones that were asked "
        "for. No signal is sent. A server's Sidekiq has as host name what Nova makes of the "
        "server's name.",
    .options_size = sizeof(Options),
    .options = options,
    .run = run,
};
