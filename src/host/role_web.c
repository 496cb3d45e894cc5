/* Mastodon's own processes: what prepares the database, Puma, Sidekiq. The canary stands for
 * Mastodon with the same processes and the same environment (data/canary/README.md). */
#include "host/container.h"
#include "host/env.h"
#include "host/release_store.h"
#include "host/role.h"

#define APP_START (3 * MINUTE) /* another server may have to prepare the database first */
#define MIGRATION_LIMIT (24 * HOUR)

/* How a program of a release is run, by the release's kind. */
static const struct {
    const char *kind;
    const char *prefix[3]; /* NULL-ended */
    bool image;            /* in a container; otherwise in the release's folder */
} launch_rows[] = {
    {"canary", {NULL}, false},
    {"tree", {"bundle", "exec", NULL}, false},
    {"image", {"bundle", "exec", NULL}, true},
};

/* The tree belongs to root, so nothing may want to write into it. The bundle's own settings are the
 * tree's (.bundle/config); bundler's other files go to HOME. */
static void tree_env(Service *s)
{
    strlist_addf(&s->env, "BUNDLE_GEMFILE=%s/Gemfile", s->cwd);
    strlist_add(&s->env, "BUNDLE_FROZEN=true");
    strlist_add(&s->env, "BOOTSNAP_READONLY=true");
}

static int launch_image(const RoleContext *c, const json_t *release, Service *s, Err *err)
{
    if (*c->paths->root)
        return err_set(err, ERR_CONFIG,
                       "an image is run by podman on a real server; pocket's own "
                       "servers run a tree or the canary");
    s->image = container_image_new(release);
    return 0;
}

static int launch(const RoleContext *c, const json_t *release, Service *s, Err *err)
{
    const char *kind = json_str_or(release, "kind", "");

    for (size_t i = 0; i < ARRAY_LEN(launch_rows); i++) {
        if (!streq(launch_rows[i].kind, kind))
            continue;
        role_argv(s, launch_rows[i].prefix);
        if (launch_rows[i].image)
            return launch_image(c, release, s, err);
        free(s->cwd);
        s->cwd = release_folder_new(c->paths->root, release);
        if (streq(kind, "tree"))
            tree_env(s);
        return 0;
    }
    return err_set(err, ERR_CONFIG, "a release of the kind '%s' is not known to atoll %s", kind,
                   ATOLL_VERSION);
}

/* What is the machine's and not a container's. */
static void without(StrList *env, const char *name)
{
    _cleanup_(strlist_wipe) StrList all = *env;
    size_t n = strlen(name);

    *env = (StrList){0};
    for (size_t i = 0; i < all.len; i++)
        if (strncmp(all.items[i], name, n) != 0 || all.items[i][n] != '=')
            strlist_add(env, all.items[i]);
}

/* Where it may write: in a container the folder is its /tmp, whoever its user is there. */
static void app_folders(const RoleContext *c, Service *s)
{
    _cleanup_free_ char *home = role_path(c, s->name, ""), *tmp = role_path(c, s->name, "tmp");

    if (s->image) {
        without(&s->env, "PATH");
    } else {
        strlist_addf(&s->env, "HOME=%s", home);
        strlist_addf(&s->env, "TMPDIR=%s", tmp);
    }
    service_dir(s, s->image ? 01777 : 0700, TAKE(tmp));
}

int app_service(const RoleContext *c, const json_t *release, const char *role, Service *s, Err *err)
{
    int r = launch(c, release, s, err);
    if (r == 0)
        r = env_role(c->spec, c->secrets, role, &s->env, err);
    if (r < 0)
        return r;
    app_folders(c, s);
    s->start_ms = json_int(c->spec, "gate_s", APP_START / SECOND) * SECOND;
    return 0;
}

static const json_t *own_release(const RoleContext *c)
{
    return json_object_get(c->spec, "release");
}

/* What "prepare" in a spec means (host/release.h). Migrations that a deploy asks for are tried
 * once: whether they are tried again is for a person to say. */
static const struct {
    const char *word, *task;
    bool skip_post, once_only;
} prepare_rows[] = {
    {"install", "db:prepare", false, false},
    {"pre", "db:migrate", true, true},
    {"post", "db:migrate", false, true},
};

static int add_task(const json_t *prepare, Service *s, Err *err)
{
    const char *word = json_str_or(prepare, "do", "");

    for (size_t i = 0; i < ARRAY_LEN(prepare_rows); i++) {
        if (!streq(word, prepare_rows[i].word))
            continue;
        role_argv(s, (const char *const[]){"bin/rails", prepare_rows[i].task, NULL});
        if (prepare_rows[i].skip_post)
            strlist_add(&s->env, "SKIP_POST_DEPLOYMENT_MIGRATIONS=true");
        s->no_retry = prepare_rows[i].once_only;
        if (s->no_retry) {
            /* Another attempt is another environment: it is run again. */
            strlist_addf(&s->env, "ATOLL_ATTEMPT=%lld", (long long)json_int(prepare, "attempt", 1));
            s->start_ms = MIGRATION_LIMIT;
        }
        return 0;
    }
    return err_set(err, ERR_CONFIG, "what to prepare, '%s', is not known to atoll %s", word,
                   ATOLL_VERSION);
}

/* Asked once for web and once for worker: whichever a preparing server has. */
int role_prepare(const RoleContext *c, Services *ret, Err *err)
{
    const json_t *prepare = json_object_get(c->spec, "prepare");

    if (!json_is_object(prepare) || services_have(ret, "prepare"))
        return 0;
    Service s = role_service(c, ROLE_WEB, "prepare");
    int r = app_service(c, json_object_get(prepare, "release"), "prepare", &s, err);
    if (r == 0)
        r = add_task(prepare, &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    role_after(ret, &s, (const char *const[]){"postgres", "redis", NULL});
    s.once = true;
    s.health = HEALTH_ONCE;
    s.stop_ms = 1 * MINUTE; /* a migration is better ended by itself */
    vec_push(ret, s);
    return 0;
}

/* A database is made before it is used. The migrations of a deploy are done beside what runs. */
static void after_stores(const RoleContext *c, const Services *so_far, Service *s)
{
    bool install = streq(json_str(json_object_get(c->spec, "prepare"), "do"), "install");

    role_after(so_far, s,
               (const char *const[]){"postgres", "redis", install ? "prepare" : NULL, NULL});
}

int role_web(const RoleContext *c, Services *ret, Err *err)
{
    Service s = role_service(c, ROLE_WEB, "web");
    int r = app_service(c, own_release(c), "web", &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    role_argv(&s, (const char *const[]){"puma", "-C", "config/puma.rb", NULL});
    after_stores(c, ret, &s);
    s.health = HEALTH_HTTP;
    s.health_path = xstrdup(role_rows[ROLE_WEB].health);
    s.stop = STOP_TERM;
    s.stop_ms = 40 * SECOND; /* Puma gives its requests 30 s */
    /* Puma takes the socket that stands in BIND and PORT (Binder#create_activated_fds). With
     * another web server nginx is better refused: it asks that one then. */
    s.keep_socket = json_bool(c->spec, "only_web", false);
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

int role_queue_weight(const char *queue)
{
    for (size_t i = 0; i < ARRAY_LEN(queue_rows); i++)
        if (streq(queue_rows[i].name, queue))
            return queue_rows[i].weight;
    return 1;
}

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

    int r = app_service(c, own_release(c), "worker", &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    role_argv(&s, (const char *const[]){"sidekiq", "-t", "25", "-c", NULL});
    strlist_addf(&s.argv, "%lld",
                 (long long)json_int(json_object_get(c->spec, "threads"), "worker", 5));
    if (add_queues(c, schedules, &s) == 0) {
        service_clear(&s); /* only `scheduler` was asked for, and another process has it */
        return 0;
    }
    /* What Sidekiq calls its machine in Redis: by it a scaler finds the server of a process. A
     * container has a host name for that (container.c). (Sidekiq's lib/sidekiq/component.rb, before
     * 7 util.rb). */
    if (c->paths->server)
        s.machine = xasprintf("%s.%s", c->paths->server, name);
    if (s.machine && !s.image)
        strlist_addf(&s.env, "DYNO=%s", s.machine);
    after_stores(c, ret, &s);
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
