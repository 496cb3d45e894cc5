/* The real PostgreSQL, Redis and nginx of this machine, run by the child driver from a spec. Where
 * one of them is not installed its test is skipped. */
#include "host/role_services.h"
#include "io/child.h"
#include "io/http.h"
#include "io/httpd.h"
#include "io/pg.h"
#include "io/redis.h"

#include <setjmp.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "turns.h"

/* One of this process's own: the tests of two builds may run at the same time. */
static char address[32];

static Vault *vault_of_stores(void)
{
    static const char *const names[] = {"db_password", "redis_password"};
    Vault *v = vault_new();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_secret_ Secret *s = crypt_password_new(32);
        vault_set(v, names[i], s);
    }
    return v;
}

static void set_roles(Turns *t, const HostPaths *p, const Vault *v, const char *role)
{
    Services l = {0};
    _cleanup_(err_clear) Err err = {0};
    _cleanup_json_ json_t *spec =
        json_make_new("{s:s, s:s, s:[s], s:{s:i}, s:{s:[s]}}", "island", "reef", "address", address,
                      "roles", role, "listen", "http", 8099, "peers", "web", address);
    if (role_services(spec, v, p, &l, &err) < 0)
        fail_msg("%s", err.text);
    set_services(t, &l);
}

static HostPaths paths_of(const Turns *t, char **ret_data)
{
    HostPaths p;
    *ret_data = path_join(t->folder, "srv/atoll");
    assert_int_equal(host_paths_find(t->folder, &p, NULL), 0);
    p.address = address;
    p.data = *ret_data;
    return p;
}

static void postgres_has_a_database_for_mastodon(void **state)
{
    Turns *t = *state;
    _cleanup_(vault_drop) Vault *v = vault_of_stores();
    _cleanup_free_ char *data = NULL;
    _cleanup_secret_ Secret *wrong = secret_new("wrong", 5);
    HostPaths p = paths_of(t, &data);
    if (!p.pg_bin) {
        host_paths_clear(&p);
        skip();
    }
    PgTarget as_mastodon = {.host = address,
                            .port = 5432,
                            .user = "mastodon",
                            .database = "mastodon_production",
                            .password = vault_secret(v, "db_password")};

    set_roles(t, &p, v, "postgres");
    until_state(t, "postgres", SERVICE_HEALTHY);
    assert_int_equal(pg_run(&as_mastodon,
                            (const char *const[]){"CREATE TABLE x (i int)", "SELECT 1", NULL},
                            NULL),
                     0);
    as_mastodon.password = wrong;
    assert_int_equal(pg_run(&as_mastodon, (const char *const[]){"SELECT 1", NULL}, NULL),
                     -ERR_AUTH);
    /* Nobody is superuser over the network. */
    PgTarget as_root = {.host = address, .port = 5432, .user = "postgres", .database = "postgres"};
    assert_int_equal(pg_run(&as_root, (const char *const[]){"SELECT 1", NULL}, NULL), -ERR_AUTH);

    /* A new password comes with a new bundle; the database and the process stay. */
    pid_t pid = status_of(t, "postgres").pid;
    _cleanup_secret_ Secret *next = crypt_password_new(32);
    vault_set(v, "db_password", next);
    as_mastodon.password = next;
    set_roles(t, &p, v, "postgres");
    Msec deadline = time_mono() + DEADLINE_MS;
    while (pg_run(&as_mastodon, (const char *const[]){"SELECT * FROM x", NULL}, NULL) < 0) {
        assert_true(time_mono() < deadline);
        turn(t);
    }
    assert_int_equal(status_of(t, "postgres").pid, pid);

    stop_all(t);
    assert_false(child_alive(pid, 0));
    host_paths_clear(&p);
}

/* Where a socket's path would be too long PostgreSQL has one without a file: what is below the root
 * is all there is of a server. */
static void postgres_in_a_deep_root(void **state)
{
    Turns *t = *state;
    _cleanup_(vault_drop) Vault *v = vault_of_stores();
    _cleanup_free_ char *deep = xasprintf("%s/%0100d", t->folder, 0), *data = NULL;
    HostPaths p;
    assert_int_equal(host_paths_find(deep, &p, NULL), 0);
    if (!p.pg_bin) {
        host_paths_clear(&p);
        skip();
    }
    data = path_join(deep, "srv/atoll");
    p.address = address;
    p.data = data;
    PgTarget as_mastodon = {.host = address,
                            .port = 5432,
                            .user = "mastodon",
                            .database = "mastodon_production",
                            .password = vault_secret(v, "db_password")};

    assert_int_equal(file_mkdirs(deep, 0711, NULL), 0);
    set_roles(t, &p, v, "postgres");
    until_state(t, "postgres", SERVICE_HEALTHY);
    assert_int_equal(pg_run(&as_mastodon, (const char *const[]){"SELECT 1", NULL}, NULL), 0);
    stop_all(t);
    host_paths_clear(&p);
}

static void redis_answers_only_with_its_password(void **state)
{
    Turns *t = *state;
    _cleanup_(vault_drop) Vault *v = vault_of_stores();
    _cleanup_free_ char *data = NULL;
    _cleanup_secret_ Secret *wrong = secret_new("wrong", 5);
    _cleanup_(redis_drop) Redis *redis = NULL;
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    HostPaths p = paths_of(t, &data);
    if (!file_exists("/usr/bin/redis-server")) {
        host_paths_clear(&p);
        skip();
    }
    RedisTarget target = {.host = address, .port = 6379};

    set_roles(t, &p, v, "redis");
    until_state(t, "redis", SERVICE_HEALTHY);
    target.password = wrong;
    assert_int_equal(redis_open(&target, &redis, NULL), -ERR_AUTH);
    target.password = NULL;
    assert_int_equal(redis_open(&target, &redis, NULL), 0);
    assert_int_equal(redis_command(redis, (const char *const[]){"GET", "x", NULL}, &reply, NULL),
                     -ERR_AUTH);
    redis = redis_close(redis);
    target.password = vault_secret(v, "redis_password");
    assert_int_equal(redis_open(&target, &redis, NULL), 0);
    assert_int_equal(
        redis_command(redis, (const char *const[]){"SET", "x", "kept", NULL}, &reply, NULL), 0);
    redis_reply_clear(&reply);

    /* Killed, it comes back with what it had. */
    redis = redis_close(redis);
    assert_int_equal(kill(status_of(t, "redis").pid, SIGTERM), 0);
    Msec deadline = time_mono() + DEADLINE_MS;
    while (status_of(t, "redis").restarts == 0) {
        assert_true(time_mono() < deadline);
        turn(t);
    }
    until_state(t, "redis", SERVICE_HEALTHY);
    assert_int_equal(redis_open(&target, &redis, NULL), 0);
    assert_int_equal(redis_command(redis, (const char *const[]){"GET", "x", NULL}, &reply, NULL),
                     0);
    assert_string_equal(reply.text, "kept");
    stop_all(t);
    host_paths_clear(&p);
}

static void command(Redis *redis, const char *const *argv)
{
    _cleanup_(redis_reply_clear) RedisReply reply = {0};
    assert_int_equal(redis_command(redis, argv, &reply, NULL), 0);
}

/* Redis, and beside it Sidekiq as Redis shows it; its process is a shell that writes down its
 * signals. NULL where there is no Redis. `ret_id`: its name there, once it registers. */
static Redis *begin_worker(Turns *t, const Vault *v, char **ret_id)
{
    _cleanup_free_ char *data = NULL;
    Services l = {0};
    Redis *redis = NULL;
    char name[256] = "";
    HostPaths p = paths_of(t, &data);

    if (!file_exists("/usr/bin/redis-server")) {
        host_paths_clear(&p);
        return NULL;
    }
    set_roles(t, &p, v, "redis");
    until_state(t, "redis", SERVICE_HEALTHY);

    Service s = {.name = xstrdup("worker.1"),
                 .cwd = xstrdup(t->folder),
                 .health = HEALTH_SIDEKIQ,
                 .health_address = xstrdup(address),
                 .health_port = 6379,
                 .health_secret = vault_secret(v, "redis_password"),
                 .stop = STOP_QUIET_TERM,
                 .drain_ms = 10 * MINUTE};
    strlist_add(&s.argv, "sh");
    strlist_add(&s.argv, "-c");
    strlist_add(&s.argv, "trap 'echo TSTP >>$T' TSTP; trap 'echo TERM >>$T; exit 0' TERM; "
                         "echo up >>$T; while :; do sleep 0.02; done");
    strlist_add(&s.env, "PATH=/usr/bin:/bin");
    strlist_addf(&s.env, "T=%s/trace", t->folder);
    _cleanup_json_ json_t *spec =
        json_make_new("{s:s, s:s, s:[s]}", "island", "reef", "address", address, "roles", "redis");
    assert_int_equal(role_services(spec, v, &p, &l, NULL), 0);
    vec_push(&l, s);
    strlist_add(&vec_last(&l)->after, "redis");
    set_services(t, &l);
    host_paths_clear(&p);
    until_trace(t, "up\n");
    assert_true(status_of(t, "worker.1").pid > 0);

    assert_int_equal(gethostname(name, sizeof name - 1), 0);
    *ret_id = xasprintf("%s:%d:abcdef012345", name, (int)status_of(t, "worker.1").pid);
    assert_int_equal(redis_open(&(RedisTarget){.host = address,
                                               .port = 6379,
                                               .password = vault_secret(v, "redis_password")},
                                &redis, NULL),
                     0);
    return redis;
}

static void registers(Redis *redis, const char *id)
{
    command(redis, (const char *const[]){"SADD", "processes", id, NULL});
    command(redis,
            (const char *const[]){"HSET", id, "busy", "0", "quiet", "false", "beat", "1", NULL});
}

static void is_waited_for(Turns *t)
{
    for (int i = 0; i < 50; i++) {
        t->now += TURN_MS;
        assert_false(supervisor_stop(t->d, t->now));
        (void)poll(NULL, 0, TURN_REAL_MS);
    }
}

static void a_worker_is_drained_before_it_is_ended(void **state)
{
    Turns *t = *state;
    _cleanup_(vault_drop) Vault *v = vault_of_stores();
    _cleanup_free_ char *id = NULL;
    _cleanup_(redis_drop) Redis *redis = begin_worker(t, v, &id);

    if (!redis)
        skip();
    registers(redis, id);
    until_state(t, "worker.1", SERVICE_HEALTHY);
    /* Quiet, and nobody drains it: it does nothing, and that is not well. */
    command(redis, (const char *const[]){"HSET", id, "quiet", "true", NULL});
    until_state(t, "worker.1", SERVICE_STARTING);
    assert_string_equal(status_of(t, "worker.1").why,
                        "Sidekiq takes no jobs: it was told to be quiet");
    /* A scaler drains it, and has said so. */
    _cleanup_free_ char *mark = xasprintf("atoll:drain:%s", id);
    command(redis, (const char *const[]){"SET", mark, "1", NULL});
    until_state(t, "worker.1", SERVICE_HEALTHY);
    command(redis, (const char *const[]){"HSET", id, "quiet", "false", NULL});
    until_state(t, "worker.1", SERVICE_HEALTHY);

    /* 0 busy but not quiet yet, then quiet with a job at work: it is waited for. */
    (void)supervisor_stop(t->d, t->now);
    until_trace(t, "up\nTSTP\n");
    is_waited_for(t);
    command(redis, (const char *const[]){"HSET", id, "busy", "1", "quiet", "true", NULL});
    is_waited_for(t);
    until_trace(t, "up\nTSTP\n");
    command(redis, (const char *const[]){"HSET", id, "busy", "0", NULL});
    stop_all(t);
    until_trace(t, "up\nTSTP\nTERM\n");
}

/* Stopped before it was ready: it may not have had a handler yet, so it is told again, once. */
static void a_young_worker_is_told_again(void **state)
{
    Turns *t = *state;
    _cleanup_(vault_drop) Vault *v = vault_of_stores();
    _cleanup_free_ char *id = NULL;
    _cleanup_(redis_drop) Redis *redis = begin_worker(t, v, &id);

    if (!redis)
        skip();
    (void)supervisor_stop(t->d, t->now);
    until_trace(t, "up\nTSTP\n");
    is_waited_for(t);
    registers(redis, id);
    is_waited_for(t);
    until_trace(t, "up\nTSTP\nTSTP\n");
    command(redis, (const char *const[]){"HSET", id, "quiet", "true", NULL});
    stop_all(t);
    until_trace(t, "up\nTSTP\nTSTP\nTERM\n");
}

static void say_hello(HttpdCall *c)
{
    c->answered = true;
    c->reply.status = 200;
    const char *proto = httpd_header(c, "X-Forwarded-Proto");
    buf_printf(&c->reply.body, "%s %s for %s by %s", c->method, c->target,
               httpd_header(c, "X-Real-IP"), proto ? proto : "?");
}
static const HttpdHandler hello_handler = {.begin = say_hello};

static void ask(const char *path, const char *header, HttpResponse *ret)
{
    _cleanup_(http_drop) Http *http = http_new(NULL);
    _cleanup_(strlist_clear) StrList headers = {0};
    _cleanup_free_ char *url = xasprintf("http://%s:8099%s", address, path);
    if (header)
        strlist_add(&headers, header);
    http_perform(http, &(HttpRequest){.method = "GET", .url = url, .headers = &headers}, ret, 1);
}

static void the_edge_passes_requests_on(void **state)
{
    Turns *t = *state;
    _cleanup_(vault_drop) Vault *v = vault_of_stores();
    _cleanup_free_ char *data = NULL;
    HostPaths p = paths_of(t, &data);
    if (!file_exists("/usr/sbin/nginx")) {
        host_paths_clear(&p);
        skip();
    }
    static const struct {
        const char *path, *header;
        int status;
        const char *body;
    } rows[] = {
        {"/@jo?access_token=hide", NULL, 200, "GET /@jo for 127.0.0.1 by http"},
        {"/", "X-Forwarded-Proto: https", 200, "GET / for 127.0.0.1 by https"},
        {"/", "X-Forwarded-Proto: gopher", 200, "GET / for 127.0.0.1 by http"},
        {"/metrics", NULL, 404, NULL},
        {"/metrics/more", NULL, 404, NULL},
    };
    Httpd *web = NULL;
    int fd, port;
    assert_int_equal(httpd_listen(address, 3000, &fd, &port, NULL), 0);
    assert_int_equal(httpd_start(fd, &hello_handler, NULL, &web, NULL), 0);

    set_roles(t, &p, v, "edge");
    until_state(t, "edge", SERVICE_HEALTHY);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(http_response_clear) HttpResponse r = {0};
        ask(rows[i].path, rows[i].header, &r);
        assert_int_equal(r.status, rows[i].status);
        if (rows[i].body)
            assert_string_equal(r.body.p, rows[i].body);
    }
    (void)httpd_stop(web);
    _cleanup_(http_response_clear) HttpResponse down = {0};
    ask("/", NULL, &down);
    assert_int_equal(down.status, 502);

    _cleanup_free_ char *log = path_join(t->folder, "log/edge.log");
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    assert_int_equal(file_read(log, &text, NULL), 0);
    assert_non_null(strstr(text.p, "/@jo 200"));
    /* The line of the failed request may hold what nginx was asked; no token was in that one. */
    assert_null(strstr(text.p, "hide"));
    stop_all(t);
    host_paths_clear(&p);
}

/* All roles on one server with the canary for Mastodon: in order, up to a page through the edge.
 * There is no Swift here: /health does not ask it. */
static void an_island_on_one_server(void **state)
{
    Turns *t = *state;
    static const char *const programs[] = {"/usr/bin/puma", "/usr/bin/sidekiq", "/usr/sbin/nginx",
                                           "/usr/bin/redis-server"};
    static const char *const names[] = {"postgres-init", "postgres", "redis",    "prepare",
                                        "web",           "worker.1", "worker.2", "edge"};
    _cleanup_(vault_drop) Vault *v = vault_new();
    _cleanup_free_ char *data = NULL;
    HostPaths p = paths_of(t, &data);
    const char *canary = getenv("ATOLL_CANARY");
    bool can = canary && p.pg_bin;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        can = can && file_exists(programs[i]);
    if (!can) {
        host_paths_clear(&p);
        skip();
    }
    _cleanup_free_ char *releases = path_join(t->folder, "opt/atoll/releases");
    _cleanup_free_ char *release = path_join(releases, "canary-1");
    assert_int_equal(file_mkdirs(releases, 0755, NULL), 0);
    assert_int_equal(symlink(canary, release), 0);
    vault_generate(v);
    _cleanup_json_ json_t *spec = json_make_new(
        "{s:s,s:s,s:s,s:[s,s,s,s,s],s:{s:i,s:i},s:{s:i,s:i},s:[],s:{s:s,s:s},"
        "s:{s:s,s:{s:s,s:s}},s:b,s:{s:i},"
        "s:{s:[s],s:[s],s:[s]},s:{s:s,s:s,s:s,s:s,s:s,s:s,s:s}}",
        "island", "reef", "domain", "reef.example", "address", address, "roles", "edge", "web",
        "worker", "redis", "postgres", "processes", "web", 1, "worker", 2, "threads", "web", 2,
        "worker", 2, "queues", "release", "kind", "canary", "version", "1", "prepare", "do",
        "install", "release", "kind", "canary", "version", "1", "scheduler", 1, "listen", "http",
        8099, "peers", "postgres", address, "redis", address, "web", address, "media", "auth_url",
        "http://127.0.0.1:1/v3", "username", "u", "user_domain", "Default", "project_id", "p",
        "region", "r", "container", "c", "object_url", "http://127.0.0.1:1/v1/AUTH_p/c");
    _cleanup_(err_clear) Err err = {0};
    Services l = {0};
    if (role_services(spec, v, &p, &l, &err) < 0)
        fail_msg("%s", err.text);
    set_services(t, &l);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        until_state(t, names[i], SERVICE_HEALTHY);
    _cleanup_(http_response_clear) HttpResponse r = {0};
    ask("/health", NULL, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body.p, "OK");
    stop_all(t);
    host_paths_clear(&p);
}

int main(void)
{
    crypt_init();
    snprintf(address, sizeof address, "127.%d.%d.10", 64 + getpid() % 64, getpid() / 64 % 256);
#define TEST(f) cmocka_unit_test_setup_teardown(f, turns_setup, turns_teardown)
    const struct CMUnitTest tests[] = {
        TEST(postgres_has_a_database_for_mastodon),
        TEST(postgres_in_a_deep_root),
        TEST(redis_answers_only_with_its_password),
        TEST(a_worker_is_drained_before_it_is_ended),
        TEST(a_young_worker_is_told_again),
        TEST(the_edge_passes_requests_on),
        TEST(an_island_on_one_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
