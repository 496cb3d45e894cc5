/* From a spec to services: what is run, with what, and that secrets are where they may be. */
#include "host/role_services.h"

#include <pwd.h>
#include <setjmp.h>
#include <signal.h>

#include <cmocka.h>

typedef struct Place {
    Vault *vault;
    HostPaths paths;
} Place;

static const char *const secrets[] = {
    "db_password",       "redis_password", "media_password",        "secret_key_base",
    "vapid_private",     "vapid_public",   "active_record_primary", "active_record_deterministic",
    "active_record_salt"};

static int setup(void **state)
{
    Place *p = NEW(Place);
    p->vault = vault_new();
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        _cleanup_free_ char *text = xasprintf("S3CRET-%s", secrets[i]);
        _cleanup_secret_ Secret *s = secret_new(text, strlen(text));
        vault_set(p->vault, secrets[i], s);
    }
    p->paths = (HostPaths){.root = "/r",
                           .address = "127.77.0.10",
                           .data = "/r/vol",
                           .canary = "/r/usr/share/atoll/canary",
                           .pg_bin = "/usr/lib/postgresql/15/bin"};
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    (void)vault_free(p->vault);
    free(p);
    return 0;
}

/* A server of an island that is all on one, with the given roles. */
static json_t *spec_new(const char *roles)
{
    json_t *list = json_array();
    Str rest = str_of(roles), part;
    while (str_next(&rest, ' ', &part))
        json_array_append_new(list, json_stringn(part.p, part.n));
    return json_make_new(
        "{s:s,s:s,s:s,s:s,s:o,s:{s:i,s:i},s:{s:i,s:i},s:[],s:{s:s,s:s},s:{s:s,s:{s:s,s:s}},"
        "s:b,s:{s:i,s:i,s:s},"
        "s:{s:[s],s:[s],s:[s,s]},s:{s:s,s:s,s:s,s:s,s:s,s:s,s:s},s:{},s:{}}",
        "island", "reef", "domain", "reef.example", "server", "all.0", "address", "127.77.0.10",
        "roles", list, "processes", "web", 2, "worker", 2, "threads", "web", 5, "worker", 10,
        "queues", "release", "kind", "canary", "version", "1", "prepare", "do", "install",
        "release", "kind", "canary", "version", "1", "scheduler", 1, "listen", "http", 8080,
        "https", 0, "pair", "", "peers", "postgres", "127.77.0.11", "redis", "127.77.0.12", "web",
        "127.77.0.10", "127.77.0.13", "media", "auth_url", "http://127.0.0.1:1/v3", "username",
        "reef-media", "user_domain", "Default", "project_id", "p", "region", "pocket-1",
        "container", "reef-media", "object_url", "http://127.0.0.1:2/v1/AUTH_p/reef-media", "env",
        "env_secrets");
}

static const Service *find(const Services *l, const char *name)
{
    for (size_t i = 0; i < l->len; i++)
        if (streq(l->items[i].name, name))
            return &l->items[i];
    fail_msg("there is no service %s", name);
    return NULL;
}

static void join(const StrList *l, const char *between, Buf *ret)
{
    buf_truncate(ret, 0);
    for (size_t i = 0; i < l->len; i++)
        buf_printf(ret, "%s%s", i ? between : "", l->items[i]);
}

static const char *file_of(const Service *s, const char *name)
{
    for (size_t i = 0; i < s->files.len; i++)
        if (ends_with(s->files.items[i].path, name))
            return s->files.items[i].content.p;
    fail_msg("%s has no file %s", s->name, name);
    return NULL;
}

static void each_role_has_its_services(void **state)
{
    Place *p = *state;
    static const struct {
        const char *roles, *services;
    } rows[] = {
        {"postgres", "postgres-init postgres"},
        {"redis", "redis"},
        {"edge", "edge"},
        {"web", "prepare web"},
        {"worker", "prepare worker.1 worker.2"},
        {"edge web worker", "prepare web worker.1 worker.2 edge"},
        {"worker edge redis web postgres",
         "postgres-init postgres redis prepare web worker.1 worker.2 edge"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new(rows[i].roles);
        _cleanup_(services_clear) Services l = {0};
        _cleanup_(strlist_clear) StrList names = {0};
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        for (size_t k = 0; k < l.len; k++)
            strlist_add(&names, l.items[k].name);
        join(&names, " ", &text);
        assert_string_equal(text.p, rows[i].services);
    }
}

/* Whatever is shown to everyone who can run ps, or read a file that is not 0600. */
static void secrets_are_in_no_argv_and_no_open_file(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("worker edge redis web postgres");
    _cleanup_(services_clear) Services l = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);

    for (size_t i = 0; i < l.len; i++) {
        const Service *s = &l.items[i];
        _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
        join(&s->argv, " ", &argv);
        assert_null(strstr(argv.p, "S3CRET"));
        for (size_t k = 0; k < s->files.len; k++)
            assert_true(s->files.items[k].mode == 0600 ||
                        !strstr(s->files.items[k].content.p, "S3CRET"));
    }
    static const char *const without[] = {"postgres-init", "postgres", "redis", "edge"};
    for (size_t i = 0; i < ARRAY_LEN(without); i++) {
        _cleanup_(buf_clear) Buf env = BUF_INIT(BUF_MAX_LINE);
        join(&find(&l, without[i])->env, "\n", &env);
        assert_null(strstr(env.p, "S3CRET"));
    }
}

static void postgres_is_closed_but_for_mastodon(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("postgres");
    _cleanup_(services_clear) Services l = {0};
    _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "postgres"), *init = find(&l, "postgres-init");

    join(&s->argv, " ", &argv);
    assert_string_equal(argv.p, "/usr/lib/postgresql/15/bin/postgres "
                                "--config-file=/r/var/lib/atoll-services/postgres/postgresql.conf");
    const char *conf = file_of(s, "postgresql.conf");
    assert_non_null(strstr(conf, "data_directory = '/r/vol/postgres/pgdata'\n"));
    assert_non_null(strstr(conf, "listen_addresses = '127.77.0.10'\n"));
    assert_non_null(strstr(conf, "port = 5432\n"));
    assert_string_equal(file_of(s, "pg_hba.conf"),
                        "local all postgres peer map=atoll\n"
                        "host mastodon_production mastodon samenet scram-sha-256\n"
                        "host mastodon_production mastodon 127.0.0.0/8 scram-sha-256\n");
    assert_string_equal(s->health_path, "/r/run/pg");
    /* As a unit it may write to nothing but what is named here. */
    assert_string_equal(s->dirs.items[1].path, "/r/vol/postgres");
    assert_true(strlist_has(&s->after, "postgres-init"));
    assert_int_equal(s->stop, STOP_FAST);
    assert_int_equal(s->health, HEALTH_POSTGRES);
    assert_true(init->once);
    assert_string_equal(init->skip_path, "/r/vol/postgres/pgdata/PG_VERSION");
}

/* And leaves nothing outside of it. */
static void a_deep_root_gets_a_socket_without_a_file(void **state)
{
    Place *p = *state;
    char deep[200];
    memset(deep, 'x', sizeof deep - 1);
    deep[0] = '/';
    deep[sizeof deep - 1] = '\0';
    p->paths.root = deep;
    _cleanup_json_ json_t *spec = spec_new("postgres");
    _cleanup_(services_clear) Services l = {0};

    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "postgres");
    assert_true(starts_with(s->health_path, "@atoll-"));
    for (size_t i = 0; i < s->dirs.len; i++)
        assert_true(starts_with(s->dirs.items[i].path, deep) ||
                    starts_with(s->dirs.items[i].path, p->paths.data));
    assert_true(strlen(s->health_path) + strlen("/.s.PGSQL.5432") <= 107);
}

static void redis_keeps_its_queues(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("redis");
    _cleanup_(services_clear) Services l = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "redis");
    static const char *const lines[] = {
        "bind 127.77.0.10\n",
        "port 6379\n",
        "requirepass \"S3CRET-redis_password\"\n",
        "appendonly yes\n",
        "save \"\"\n",
        "maxmemory-policy noeviction\n",
        "daemonize no\n",
        "dir \"/r/vol/redis\"\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_non_null(strstr(file_of(s, "redis.conf"), lines[i]));
    assert_int_equal(s->argv.len, 2);
}

static void set_text(Vault *v, const char *name, const char *text)
{
    _cleanup_secret_ Secret *s = secret_new(text, strlen(text));
    vault_set(v, name, s);
}

static void the_edge_ends_tls_where_there_is_a_certificate(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("edge");
    json_t *listen = json_object_get(spec, "listen");
    _cleanup_(services_clear) Services none = {0}, l = {0}, other = {0}, usual = {0};
    _cleanup_(err_clear) Err err = {0};

    json_object_set_new(listen, "https", json_integer(8443));
    json_object_set_new(listen, "pair", json_string("0123456789abcdef"));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &none, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.text, "no secret tls_certificate"));

    set_text(p->vault, "tls_certificate", "CERT");
    set_text(p->vault, "tls_key", "S3CRET-key");
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "edge");
    const char *conf = file_of(s, "nginx.conf");
    assert_string_equal(file_of(s, "/edge/certificate.pem"), "CERT");
    assert_string_equal(file_of(s, "/edge/key.pem"), "S3CRET-key");
    for (size_t i = 0; i < s->files.len; i++)
        assert_int_equal(s->files.items[i].mode, 0600);
    assert_null(s->user); /* the files are then root's */
    assert_null(strstr(conf, "S3CRET"));
    assert_non_null(strstr(conf, "listen 127.77.0.10:8443 ssl http2;"));
    assert_non_null(strstr(conf, "ssl_protocols TLSv1.2 TLSv1.3;"));
    assert_non_null(strstr(conf, "return 301 https://$host:8443$request_uri;"));
    assert_non_null(strstr(conf, "location = /health {"));
    assert_non_null(strstr(conf, "location ^~ /.well-known/acme-challenge/ {"));
    assert_non_null(
        strstr(conf, "ssl_certificate \"/r/var/lib/atoll-services/edge/certificate.pem\";"));

    /* Another certificate: the same service goes on, with other files, and is told. */
    set_text(p->vault, "tls_certificate", "NEWER");
    assert_int_equal(role_services(spec, p->vault, &p->paths, &other, NULL), 0);
    assert_true(service_same(s, find(&other, "edge")));
    assert_false(service_same_files(s, find(&other, "edge")));
    assert_int_equal(s->reload_signal, SIGHUP);

    json_object_set_new(listen, "https", json_integer(443));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &usual, NULL), 0);
    assert_non_null(strstr(file_of(find(&usual, "edge"), "nginx.conf"),
                           "return 301 https://$host$request_uri;"));
}

static void the_edge_sends_to_every_web_server(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("edge");
    _cleanup_(services_clear) Services l = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const char *conf = file_of(find(&l, "edge"), "nginx.conf");

    assert_non_null(strstr(conf, "server 127.77.0.10:3000 "));
    assert_non_null(strstr(conf, "server 127.77.0.13:3000 "));
    assert_non_null(strstr(conf, "listen 127.77.0.10:8080;"));
    assert_non_null(strstr(conf, "location ^~ /metrics {\n            return 404;"));
    assert_null(strstr(conf, "/api/v1/streaming"));
    assert_null(strstr(conf, "ssl"));
    assert_null(strstr(conf, "\nuser "));
    /* Less severe lines have the request in them, with access tokens. */
    assert_non_null(strstr(conf, "error_log stderr crit;\n"));
}

/* And changes a file only: that is a reload. */
static void a_closed_edge_still_says_that_it_is_well(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("edge");
    _cleanup_(services_clear) Services before = {0}, after = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &before, NULL), 0);
    json_object_set_new(spec, "maintenance", json_true());
    assert_int_equal(role_services(spec, p->vault, &p->paths, &after, NULL), 0);
    const Service *edge = find(&after, "edge");
    const char *conf = file_of(edge, "nginx.conf"), *all = strstr(conf, "location / {");

    assert_true(service_same(find(&before, "edge"), edge));
    assert_false(service_same_files(find(&before, "edge"), edge));
    assert_int_equal(edge->reload_signal, SIGHUP);
    assert_non_null(strstr(conf, "location = /health {\n            proxy_pass http://web;"));
    assert_non_null(strstr(conf, "location ^~ /.well-known/acme-challenge/ {"));
    assert_non_null(strstr(conf, "location ^~ /metrics {"));
    assert_null(strstr(all, "proxy_pass"));
    assert_non_null(strstr(all, "add_header Retry-After 120 always;"));
    assert_non_null(strstr(all, "return 503 '<!doctype html>"));
}

static void only_one_process_schedules(void **state)
{
    Place *p = *state;
    static const struct {
        bool schedules;
        const char *queue; /* NULL: all */
        const char *first, *second;
    } rows[] = {
        {true, NULL,
         "-q default,8 -q push,6 -q ingress,4 -q mailers,2 -q pull,1 -q scheduler,1 -q fasp,1",
         "-q default,8 -q push,6 -q ingress,4 -q mailers,2 -q pull,1 -q fasp,1"},
        {false, NULL, "-q default,8 -q push,6 -q ingress,4 -q mailers,2 -q pull,1 -q fasp,1",
         "-q default,8 -q push,6 -q ingress,4 -q mailers,2 -q pull,1 -q fasp,1"},
        {true, "push", "-q push,6", "-q push,6"},
        {true, "scheduler", "-q scheduler,1", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new("worker");
        _cleanup_(services_clear) Services l = {0};
        _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
        json_object_set_new(spec, "scheduler", json_boolean(rows[i].schedules));
        if (rows[i].queue)
            json_object_set_new(spec, "queues", json_make_new("[s]", rows[i].queue));
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        join(&find(&l, "worker.1")->argv, " ", &argv);
        assert_true(ends_with(argv.p, rows[i].first));
        assert_true(starts_with(argv.p, "sidekiq -t 25 -c 10 -q "));
        assert_int_equal(l.len, rows[i].second ? 3 : 2);
        if (rows[i].second) {
            join(&find(&l, "worker.2")->argv, " ", &argv);
            assert_true(ends_with(argv.p, rows[i].second));
        }
    }
}

static void only_the_preparing_server_waits_for_prepare(void **state)
{
    Place *p = *state;
    for (int prepare = 0; prepare < 2; prepare++) {
        _cleanup_json_ json_t *spec = spec_new("web worker postgres");
        _cleanup_(services_clear) Services l = {0};
        if (!prepare)
            json_object_del(spec, "prepare");
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        assert_int_equal(strlist_has(&find(&l, "web")->after, "prepare"), prepare);
        assert_int_equal(strlist_has(&find(&l, "worker.1")->after, "prepare"), prepare);
        assert_true(strlist_has(&find(&l, "web")->after, "postgres"));
        assert_false(strlist_has(&find(&l, "web")->after, "redis"));
        if (prepare)
            assert_true(strlist_has(&find(&l, "prepare")->after, "postgres"));
    }
}

/* What the host that prepares does in a deploy, beside what runs. */
static void migrations_of_a_deploy(void **state)
{
    Place *p = *state;
    static const struct {
        const char *what, *argv;
        bool skip_post, no_retry;
    } rows[] = {
        {"install", "bin/rails db:prepare", false, false},
        {"pre", "bin/rails db:migrate", true, true},
        {"post", "bin/rails db:migrate", false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new("web");
        _cleanup_(services_clear) Services l = {0};
        _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
        json_t *prepare = json_object_get(spec, "prepare");
        json_object_set_new(prepare, "do", json_string(rows[i].what));
        json_object_set_new(json_object_get(prepare, "release"), "version", json_string("2"));
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        const Service *s = find(&l, "prepare");
        join(&s->argv, " ", &argv);
        assert_string_equal(argv.p, rows[i].argv);
        assert_string_equal(s->cwd, "/r/opt/atoll/releases/canary-2");
        assert_string_equal(find(&l, "web")->cwd, "/r/opt/atoll/releases/canary-1");
        assert_int_equal(strlist_has(&s->env, "SKIP_POST_DEPLOYMENT_MIGRATIONS=true"),
                         rows[i].skip_post);
        assert_int_equal(s->no_retry, rows[i].no_retry);
        assert_int_equal(strlist_has(&find(&l, "web")->after, "prepare"), !rows[i].no_retry);
    }
}

static void a_tree_runs_with_its_own_bundle(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("web");
    _cleanup_(services_clear) Services l = {0};
    _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
    json_object_set_new(spec, "release",
                        json_make_new("{s:s,s:s}", "kind", "tree", "version", "v4.7.6"));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    join(&find(&l, "web")->argv, " ", &argv);
    assert_string_equal(argv.p, "bundle exec puma -C config/puma.rb");
    assert_string_equal(find(&l, "web")->cwd, "/r/opt/atoll/releases/tree-v4.7.6");
    /* It can be run from anywhere, and writes nowhere but into what is the service's. */
    const StrList *env = &find(&l, "web")->env;
    assert_true(strlist_has(env, "BUNDLE_GEMFILE=/r/opt/atoll/releases/tree-v4.7.6/Gemfile"));
    assert_true(strlist_has(env, "BUNDLE_FROZEN=true"));
    assert_true(strlist_has(env, "HOME=/r/var/lib/atoll-services/web"));
}

/* The image's name in podman, and what of the environment is the image's own. */
static void an_image_runs_in_containers(void **state)
{
    Place *p = *state;
    static const struct {
        const char *ref, *image;
    } rows[] = {
        {"ghcr.io/mastodon/mastodon", "ghcr.io/mastodon/mastodon:v4.7.6"},
        {"ghcr.io/mastodon/mastodon@sha256:00ff", "ghcr.io/mastodon/mastodon@sha256:00ff"},
        {"oci-archive:mastodon.tar", "localhost/atoll-archive:v4.7.6"},
    };
    p->paths.root = "";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new("web worker");
        _cleanup_(services_clear) Services l = {0};
        _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
        json_object_set_new(spec, "release",
                            json_make_new("{s:s,s:s,s:s}", "kind", "image", "version", "v4.7.6",
                                          "ref", rows[i].ref));
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        const Service *s = find(&l, "web");
        assert_string_equal(s->image, rows[i].image);
        assert_string_equal(find(&l, "worker.2")->image, rows[i].image);
        assert_null(find(&l, "prepare")->image); /* the spec's prepare is another release */
        join(&s->argv, " ", &argv);
        assert_string_equal(argv.p, "bundle exec puma -C config/puma.rb");
        for (size_t k = 0; k < s->env.len; k++)
            assert_false(starts_with(s->env.items[k], "PATH=") ||
                         starts_with(s->env.items[k], "HOME=") ||
                         starts_with(s->env.items[k], "TMPDIR="));
        assert_true(strlist_has(&s->env, "DB_PASS=S3CRET-db_password"));
        assert_string_equal(s->dirs.items[1].path, "/var/lib/atoll-services/web/tmp");
        assert_int_equal(s->dirs.items[1].mode, 01777);
    }
}

static void a_worker_is_stopped_carefully(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("worker");
    _cleanup_(services_clear) Services l = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "worker.1");

    assert_int_equal(s->stop, STOP_QUIET_TERM);
    assert_int_equal(s->health, HEALTH_SIDEKIQ);
    assert_string_equal(s->health_address, "127.77.0.12");
    assert_int_equal(s->health_port, 6379);
    assert_true(s->stop_ms > 25 * SECOND);
    assert_string_equal(s->cwd, "/r/opt/atoll/releases/canary-1");
}

static void what_is_not_built_is_refused_in_words(void **state)
{
    Place *p = *state;
    static const struct {
        const char *roles, *path, *value, *words;
    } rows[] = {
        {"stream", NULL, NULL, "stream is not built yet"},
        {"search", NULL, NULL, "search is not built yet"},
        {"web nonsense", NULL, NULL, "nonsense is not known"},
        {"", NULL, NULL, "is not known"},
        {"web", "release", "image", "run by podman on a real server"},
        {"worker", "release", "x", "kind 'x' is not known"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new(rows[i].roles);
        _cleanup_(services_clear) Services l = {0};
        _cleanup_(err_clear) Err err = {0};
        if (rows[i].path)
            json_object_set_new(json_object_get(spec, rows[i].path), "kind",
                                json_string(rows[i].value));
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, &err), -ERR_CONFIG);
        assert_non_null(strstr(err.text, rows[i].words));
        assert_int_equal(l.len, 0);
    }
    _cleanup_json_ json_t *spec = spec_new("postgres");
    _cleanup_(services_clear) Services l = {0};
    p->paths.pg_bin = NULL;
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), -ERR_CONFIG);
}

/* A bundle comes to a server before its packages do: what can be installed is no reason to refuse
 * it, what this version does not know is. */
static void on_paper_nothing_need_be_installed(void **state)
{
    Place *p = *state;
    static const char *const roles[] = {"postgres", "redis", "web worker", "edge"};
    p->paths.as_root = true;
    p->paths.root = "";
    p->paths.pg_bin = NULL;
    p->paths.paper = true;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        _cleanup_json_ json_t *spec = spec_new(roles[i]);
        _cleanup_(services_clear) Services l = {0};
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    }
    _cleanup_json_ json_t *spec = spec_new("stream");
    _cleanup_(services_clear) Services l = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), -ERR_CONFIG);
}

/* Who unpacks a package below a root, as on pocket, has none of its users. */
static void a_real_server_has_the_users_of_its_roles(void **state)
{
    Place *p = *state;
    static const struct {
        const char *roles, *user;
    } rows[] = {{"web", "mastodon"}, {"redis", "redis"}, {"postgres", "postgres"}};
    p->paths.as_root = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new(rows[i].roles);
        _cleanup_(services_clear) Services below = {0}, l = {0};
        _cleanup_(err_clear) Err err = {0};
        bool there = getpwnam(rows[i].user) != NULL;
        p->paths.root = "/r";
        assert_int_equal(role_services(spec, p->vault, &p->paths, &below, NULL), 0);
        assert_string_equal(below.items[0].user, there ? rows[i].user : "nobody");
        p->paths.root = "";
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, &err),
                         there ? 0 : -ERR_CONFIG);
        if (there)
            assert_string_equal(l.items[0].user, rows[i].user);
        else
            assert_non_null(strstr(err.text, rows[i].user));
    }
}

static void the_same_spec_gives_the_same_services(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("worker edge redis web postgres");
    _cleanup_(services_clear) Services a = {0}, b = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &a, NULL), 0);
    assert_int_equal(role_services(spec, p->vault, &p->paths, &b, NULL), 0);

    assert_int_equal(a.len, b.len);
    for (size_t i = 0; i < a.len; i++) {
        assert_true(service_same(&a.items[i], &b.items[i]));
        assert_true(service_same_files(&a.items[i], &b.items[i]));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_role_has_its_services),
        TEST(secrets_are_in_no_argv_and_no_open_file),
        TEST(postgres_is_closed_but_for_mastodon),
        TEST(a_deep_root_gets_a_socket_without_a_file),
        TEST(redis_keeps_its_queues),
        TEST(the_edge_ends_tls_where_there_is_a_certificate),
        TEST(the_edge_sends_to_every_web_server),
        TEST(a_closed_edge_still_says_that_it_is_well),
        TEST(only_one_process_schedules),
        TEST(only_the_preparing_server_waits_for_prepare),
        TEST(migrations_of_a_deploy),
        TEST(a_tree_runs_with_its_own_bundle),
        TEST(an_image_runs_in_containers),
        TEST(a_worker_is_stopped_carefully),
        TEST(what_is_not_built_is_refused_in_words),
        TEST(on_paper_nothing_need_be_installed),
        TEST(a_real_server_has_the_users_of_its_roles),
        TEST(the_same_spec_gives_the_same_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
