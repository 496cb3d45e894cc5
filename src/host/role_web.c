/* Mastodon's own processes: what prepares the database, Puma, Sidekiq. The canary stands for
 * Mastodon with the same processes and the same environment (data/canary/README.md). */
#include "host/env.h"
#include "host/role.h"

#define APP_START (3 * MINUTE) /* another server may have to prepare the database first */

static int check_release(const RoleContext *c, Err *err)
{
    const char *kind = json_str_or(json_object_get(c->spec, "release"), "kind", "");

    if (streq(kind, "canary"))
        return 0;
    if (streq(kind, "image") || streq(kind, "tree"))
        return err_set(err, ERR_CONFIG,
                       "a release from %s is not built yet in atoll %s; "
                       "`release: {canary: true}` is",
                       streq(kind, "image") ? "an image" : "a source tree", ATOLL_VERSION);
    return err_set(err, ERR_CONFIG, "a release of the kind '%s' is not known to atoll %s", kind,
                   ATOLL_VERSION);
}

/* What all of them share; `s` is the caller's also on failure. */
static int app_service(const RoleContext *c, const char *role, Service *s, Err *err)
{
    int r = check_release(c, err);
    if (r == 0)
        r = env_role(c->spec, c->secrets, role, &s->env, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *home = role_path(c, s->name, ""), *tmp = role_path(c, s->name, "tmp");
    strlist_addf(&s->env, "HOME=%s", home);
    strlist_addf(&s->env, "TMPDIR=%s", tmp);
    service_dir(s, 0700, TAKE(tmp));
    free(s->cwd);
    s->cwd = xstrdup(c->paths->canary);
    s->start_ms = APP_START;
    return 0;
}

static bool has_service(const Services *s, const char *name)
{
    for (size_t i = 0; i < s->len; i++)
        if (streq(s->items[i].name, name))
            return true;
    return false;
}

/* Asked once for web and once for worker: whichever a preparing server has. */
int role_prepare(const RoleContext *c, Services *ret, Err *err)
{
    if (!json_bool(c->spec, "prepare", false) || has_service(ret, "prepare"))
        return 0;
    Service s = role_service(c, ROLE_WEB, "prepare");
    int r = app_service(c, "prepare", &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    role_argv(&s, (const char *const[]){"ruby", "bin/prepare", NULL});
    role_after(ret, &s, (const char *const[]){"postgres", "redis", NULL});
    s.once = true;
    s.health = HEALTH_ONCE;
    s.stop_ms = 1 * MINUTE; /* a migration is better ended by itself */
    vec_push(ret, s);
    return 0;
}

int role_web(const RoleContext *c, Services *ret, Err *err)
{
    Service s = role_service(c, ROLE_WEB, "web");
    int r = app_service(c, "web", &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    role_argv(&s, (const char *const[]){"puma", "-C", "config/puma.rb", NULL});
    role_after(ret, &s, (const char *const[]){"postgres", "redis", "prepare", NULL});
    s.health = HEALTH_HTTP;
    s.health_path = xstrdup(role_rows[ROLE_WEB].health);
    s.stop = STOP_TERM;
    s.stop_ms = 40 * SECOND; /* Puma gives its requests 30 s */
    vec_push(ret, s);
    return 0;
}

/* Mastodon's own weights (mastodon.md 2.3). */
static const struct {
    const char *name;
    int weight;
} queue_rows[] = {
    {"default", 8}, {"push", 6},      {"ingress", 4}, {"mailers", 2},
    {"pull", 1},    {"scheduler", 1}, {"fasp", 1},
};

static bool wants_queue(const RoleContext *c, const char *queue, bool schedules)
{
    const json_t *queues = json_object_get(c->spec, "queues");
    bool all = json_array_size(queues) == 0;

    /* Exactly one process of an island may listen to it: jobs would be pushed once per listener. */
    if (streq(queue, "scheduler") && !schedules)
        return false;
    for (size_t i = 0; i < json_array_size(queues); i++)
        if (streq(json_string_value(json_array_get(queues, i)), queue))
            return true;
    return all;
}

/* Returns how many queues it has. */
static int add_queues(const RoleContext *c, bool schedules, Service *s)
{
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(queue_rows); i++) {
        if (!wants_queue(c, queue_rows[i].name, schedules))
            continue;
        strlist_add(&s->argv, "-q");
        strlist_addf(&s->argv, "%s,%d", queue_rows[i].name, queue_rows[i].weight);
        n++;
    }
    return n;
}

static int worker(const RoleContext *c, int64_t number, const Secret *redis_password, Services *ret,
                  Err *err)
{
    _cleanup_free_ char *name = xasprintf("worker.%lld", (long long)number);
    const json_t *redis = json_object_get(json_object_get(c->spec, "peers"), "redis");
    bool schedules = number == 1 && json_bool(c->spec, "scheduler", false);
    Service s = role_service(c, ROLE_WORKER, name);

    int r = app_service(c, "worker", &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    role_argv(&s,
              (const char *const[]){"sidekiq", "-r", "./app/worker.rb", "-t", "25", "-c", NULL});
    strlist_addf(&s.argv, "%lld",
                 (long long)json_int(json_object_get(c->spec, "threads"), "worker", 5));
    if (add_queues(c, schedules, &s) == 0) {
        service_clear(&s); /* only `scheduler` was asked for, and another process has it */
        return 0;
    }
    role_after(ret, &s, (const char *const[]){"postgres", "redis", "prepare", NULL});
    s.health = HEALTH_SIDEKIQ;
    free(s.health_address);
    s.health_address = xstrdup(json_string_value(json_array_get(redis, 0)));
    s.health_port = role_rows[ROLE_REDIS].port;
    s.health_secret = redis_password;
    s.stop = STOP_QUIET_TERM;
    s.drain_ms = 2 * MINUTE;
    s.stop_ms = 35 * SECOND; /* more than -t, in which unfinished jobs are put back */
    vec_push(ret, s);
    return 0;
}

int role_worker(const RoleContext *c, Services *ret, Err *err)
{
    int64_t n = json_int(json_object_get(c->spec, "processes"), "worker", 1);
    const Secret *password;

    int r = role_secret(c, "redis_password", &password, err);
    for (int64_t i = 1; r == 0 && i <= n; i++)
        r = worker(c, i, password, ret, err);
    return r;
}
