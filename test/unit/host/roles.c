/* From a spec to services: what is run, with what, and that secrets are where they may be. */
#include "host/control.h"
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
    "db_password",        "redis_password", "media_password",        "secret_key_base",
    "vapid_private",      "vapid_public",   "active_record_primary", "active_record_deterministic",
    "active_record_salt", "search_password"};

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
        {"stream", "stream"},
        {"worker", "prepare worker.1 worker.2"},
        {"edge web worker", "prepare web worker.1 worker.2 edge"},
        {"worker edge redis web stream postgres",
         "postgres-init postgres redis prepare web stream worker.1 worker.2 edge"},
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

static json_t *spec_of_search(const char *image)
{
    json_t *spec = spec_new("search");

    json_object_set_new(spec, "search",
                        json_make_new("{s:s, s:s, s:s, s:i}", "kind", "search", "ref", image,
                                      "version", "8.1", "heap_mb", 1024));
    return spec;
}

/* On a real server it is podman's, each image in its own words. */
static void search_is_a_container_of_its_own(void **state)
{
    Place *p = *state;
    static const struct {
        const char *image, *user, *health_user, *args[3], *env[8];
    } rows[] = {
        {"docker.elastic.co/elasticsearch/elasticsearch",
         "1000:0",
         "elastic",
         {"--tmpfs=/usr/share/elasticsearch/config",
          "--volume=/srv/atoll/search:/usr/share/elasticsearch/data",
          "--volume=/var/lib/atoll-services/search/logs:/usr/share/elasticsearch/logs"},
         {"discovery.type=single-node", "http.host=127.77.0.10", "http.port=9200",
          "transport.host=127.0.0.1", "xpack.security.enabled=true",
          "xpack.security.http.ssl.enabled=false", "ES_JAVA_OPTS=-Xms1024m -Xmx1024m",
          "ELASTIC_PASSWORD=S3CRET-search_password"}},
        {"docker.io/opensearchproject/opensearch",
         "1000:1000",
         "admin",
         {"--tmpfs=/usr/share/opensearch/config",
          "--volume=/srv/atoll/search:/usr/share/opensearch/data",
          "--volume=/var/lib/atoll-services/search/logs:/usr/share/opensearch/logs"},
         {"discovery.type=single-node", "http.host=127.77.0.10", "http.port=9200",
          "transport.host=127.0.0.1", "cluster.name=reef",
          "plugins.security.ssl.http.enabled=false", "OPENSEARCH_JAVA_OPTS=-Xms1024m -Xmx1024m",
          "OPENSEARCH_INITIAL_ADMIN_PASSWORD=S3CRET-search_password"}},
    };
    p->paths.root = "";
    p->paths.data = "/srv/atoll";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_of_search(rows[i].image);
        _cleanup_(services_clear) Services l = {0};
        _cleanup_free_ char *image = xasprintf("%s:8.1", rows[i].image);

        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        const Service *s = find(&l, "search");
        assert_string_equal(s->image, image);
        assert_int_equal(s->argv.len, 0); /* the image's own */
        assert_string_equal(s->image_user, rows[i].user);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].args); k++)
            assert_true(strlist_has(&s->image_args, rows[i].args[k]));
        for (size_t k = 0; k < ARRAY_LEN(rows[i].env); k++)
            assert_true(strlist_has(&s->env, rows[i].env[k]));
        assert_int_equal(s->health, HEALTH_SEARCH);
        assert_string_equal(s->health_user, rows[i].health_user);
        assert_string_equal(s->health_address, "127.77.0.10");
        assert_int_equal(s->health_port, 9200);
    }
}

static void search_on_pocket_is_a_stand_in(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_of_search("docker.elastic.co/elasticsearch/elasticsearch");
    _cleanup_json_ json_t *without = spec_new("search");
    _cleanup_(services_clear) Services l = {0}, none = {0};
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "search");
    assert_null(s->image);
    assert_int_equal(s->argv.len, 2);
    assert_string_equal(s->argv.items[1], "/r/usr/share/atoll/canary/search/server.rb");
    assert_true(strlist_has(&s->env, "path.data=/r/vol/search"));
    assert_true(strlist_has(&s->env, "http.host=127.77.0.10"));
    assert_int_equal(role_services(without, p->vault, &p->paths, &none, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.text, "which search server"));
}

static void set_text(Vault *v, const char *name, const char *text)
{
    _cleanup_secret_ Secret *s = secret_new(text, strlen(text));
    vault_set(v, name, s);
}

/* The verbs of an operator's machine, in a home folder of their own. */
static void control_works_as_an_operator(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("control");
    _cleanup_json_ json_t *clouds =
        json_make_new("{s:{s:s}, s:{s:s}}", "a", "cacert", "PEM", "b", "region_name", "r");
    _cleanup_(strlist_clear) StrList readers = {0};
    _cleanup_(services_clear) Services l = {0}, none = {0};
    _cleanup_(vault_drop) Vault *whole = vault_new(), *again = NULL;
    _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    json_object_set_new(spec, "control",
                        json_make_new("{s:s, s:s, s:s, s:s, s:[s], s:b}", "file", "island: reef\n",
                                      "environment", "staging", "ca_file", "ca.pem", "ca", "ROOT",
                                      "scale", "worker", "backup", 1));

    assert_int_equal(role_services(spec, p->vault, &p->paths, &none, &err), -ERR_CONFIG);
    vault_generate(whole);
    strlist_add(&readers, "own");
    strlist_add(&readers, "recovery");
    assert_int_equal(control_vault(whole, &readers, clouds, NULL), 0);
    assert_int_equal(control_vault(whole, &readers, clouds, NULL), 0); /* not one in the other */
    vault_set(p->vault, CONTROL_KIT, vault_secret(whole, CONTROL_KIT));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);

    const Service *s = find(&l, "control-scale.worker");
    join(&s->argv, " ", &argv);
    assert_string_equal(argv.p, "/r/usr/bin/atoll scale --tier worker --package "
                                "/r/var/lib/atoll-services/control-package/atoll.deb -f "
                                "/r/var/lib/atoll-services/control/island.yaml -e staging");
    assert_true(strlist_has(&s->after, "control-package"));
    assert_true(strlist_has(&s->env, "HOME=/r/var/lib/atoll-services/control"));
    assert_true(
        strlist_has(&s->env, "ATOLL_VAULT_FILE=/r/var/lib/atoll-services/control/vault.json"));
#define FILE_OF(name) file_of(s, "/control/" name)
    assert_string_equal(FILE_OF("island.yaml"), "island: reef\n");
    assert_string_equal(FILE_OF("ca.pem"), "ROOT");
    assert_string_equal(FILE_OF("ca-0.pem"), "PEM");
    assert_string_equal(FILE_OF(".config/atoll/keys/reef.pub"), "own\nrecovery\n");
    assert_string_equal(FILE_OF(".config/openstack/clouds.yaml"),
                        "{\"clouds\":{\"a\":{\"cacert\":\"/r/var/lib/atoll-services/control/"
                        "ca-0.pem\"},\"b\":{\"region_name\":\"r\"}}}");
    assert_int_equal(vault_read(str_of(FILE_OF("vault.json")), &again, NULL), 0);
    assert_null(vault_secret(again, CONTROL_KIT));
    assert_true(find(&l, "control-settings")->once);
    assert_true(strlist_has(&find(&l, "control-audit")->after, "control-settings"));
    (void)find(&l, "control-renew");
    /* No secret in an argv or an environment. */
    for (size_t i = 0; i < l.len; i++) {
        join(&l.items[i].argv, " ", &argv);
        assert_null(strstr(argv.p, "S3CRET"));
        join(&l.items[i].env, " ", &argv);
        assert_null(strstr(argv.p, "S3CRET"));
    }
}

/* While a database changes volumes: nothing works on it, and who has it fills it, or takes leave of
 * a timeline. PostgreSQL itself is the same before and after, or it would be started once more. */
static void a_database_changes_volumes(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("worker edge redis web postgres");
    _cleanup_(services_clear) Services usual = {0}, none = {0}, fill = {0}, turn = {0};
    _cleanup_(buf_clear) Buf argv = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(role_services(spec, p->vault, &p->paths, &usual, NULL), 0);
    json_object_set_new(spec, "paused", json_true());
    json_object_set_new(spec, "restore",
                        json_make_new("{s:s, s:i}", "id", "0123456789abcdef", "attempt", 1));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &none, &err), -ERR_CONFIG);
    set_text(p->vault, "backup_kit_url", "https://S3CRET");
    set_text(p->vault, "backup_kit_key", "S3CRET");
    assert_int_equal(role_services(spec, p->vault, &p->paths, &fill, NULL), 0);
    assert_int_equal(fill.len, 4); /* postgres-init, postgres, redis, edge */
    assert_false(services_have(&fill, "web"));
    const Service *init = find(&fill, "postgres-init");
    join(&init->argv, " ", &argv);
    assert_string_equal(argv.p,
                        "/r/usr/bin/atoll backup receive --programs /usr/lib/postgresql/15/bin "
                        "/r/var/lib/atoll-services/postgres-init/kit /r/vol/postgres/pgdata");
    for (size_t i = 0; i < init->files.len; i++)
        assert_int_equal(init->files.items[i].mode, 0600);
    assert_string_equal(file_of(init, "kit/url"), "https://S3CRET");
    assert_string_equal(init->skip_path, "/r/vol/postgres/pgdata/PG_VERSION");
    assert_true(service_same(find(&usual, "postgres"), find(&fill, "postgres")));
    assert_true(service_same_files(find(&usual, "postgres"), find(&fill, "postgres")));

    json_object_del(spec, "restore");
    json_object_set_new(spec, "turn", json_make_new("{s:i, s:i}", "after", 2, "attempt", 1));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &turn, NULL), 0);
    assert_string_equal(find(&turn, "postgres-turn")->skip_path, "/r/vol/postgres/turned-2");
    assert_true(strlist_has(&find(&turn, "postgres")->after, "postgres-turn"));
    assert_true(service_same(find(&usual, "postgres"), find(&turn, "postgres")));
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

static void certbot_is_beside_the_edge_that_asks(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("edge");
    json_t *listen = json_object_get(spec, "listen");
    _cleanup_(services_clear) Services first = {0}, later = {0}, other = {0};

    set_text(p->vault, "tls_certificate", "CERT");
    set_text(p->vault, "tls_key", "S3CRET-key");
    json_object_set_new(listen, "https", json_integer(8443));
    json_object_set_new(listen, "acme",
                        json_make_new("{s:s, s:s, s:s, s:b}", "email", "a@b.c", "server",
                                      "https://ca.example/d", "ca", "PEM", "here", 1));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &first, NULL), 0);
    const Service *s = find(&first, "edge-certbot");
    assert_string_equal(s->argv.items[0], "/r/usr/bin/atoll");
    assert_string_equal(s->argv.items[2], "/r/var/lib/atoll-services/edge-certbot");
    assert_string_equal(s->after.items[0], "edge");
    assert_null(s->user);
    assert_true(
        strlist_has(&s->env, "REQUESTS_CA_BUNDLE=/r/var/lib/atoll-services/edge-certbot/ca.pem"));
    assert_string_equal(file_of(s, "ca.pem"), "PEM");
    const char *settings = file_of(s, "settings.json");
    assert_non_null(strstr(settings, "\"webroot\":\"/r/var/lib/atoll-services/edge/acme\""));
    assert_non_null(strstr(settings, "\"store\":null"));
    /* nginx serves that folder. */
    assert_non_null(strstr(file_of(find(&first, "edge"), "nginx.conf"),
                           "root \"/r/var/lib/atoll-services/edge/acme\";"));

    /* What an earlier server had: the same process goes on, and is told. */
    set_text(p->vault, "tls_store", "{\"files\":{\"accounts/a\":\"S3CRET\"}}");
    assert_int_equal(role_services(spec, p->vault, &p->paths, &later, NULL), 0);
    s = find(&later, "edge-certbot");
    assert_true(service_same(s, find(&first, "edge-certbot")));
    assert_false(service_same_files(s, find(&first, "edge-certbot")));
    assert_int_equal(s->reload_signal, SIGHUP);
    for (size_t i = 0; i < s->files.len; i++)
        assert_int_equal(s->files.items[i].mode, 0600);

    json_object_set_new(json_object_get(listen, "acme"), "here", json_false());
    assert_int_equal(role_services(spec, p->vault, &p->paths, &other, NULL), 0);
    assert_false(services_have(&other, "edge-certbot"));
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

static void the_edge_sends_streams_to_every_streaming_server(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("edge");
    _cleanup_(services_clear) Services one = {0}, two = {0}, closed = {0};
    json_t *peers = json_object_get(spec, "peers");

    json_object_set_new(peers, "stream", json_make_new("[s, s]", "127.77.0.14", "127.77.0.15"));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &two, NULL), 0);
    const char *conf = file_of(find(&two, "edge"), "nginx.conf");
    assert_non_null(
        strstr(conf, "upstream streaming {\n        zone streaming 64k;\n        least_conn;\n"
                     "        server 127.77.0.14:4000 max_fails=1 fail_timeout=2s;\n"
                     "        server 127.77.0.15:4000 max_fails=1 fail_timeout=2s;\n"));
    const char *location = strstr(conf, "location ^~ /api/v1/streaming {");
    assert_non_null(location);
    assert_non_null(strstr(location, "proxy_set_header Upgrade $http_upgrade;"));
    assert_non_null(strstr(location, "proxy_buffering off;"));
    assert_non_null(strstr(conf, "worker_shutdown_timeout 1h;"));

    json_object_set_new(peers, "stream", json_make_new("[s]", "127.77.0.14"));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &one, NULL), 0);
    conf = file_of(find(&one, "edge"), "nginx.conf");
    assert_non_null(strstr(conf, "server 127.77.0.14:4000 max_fails=0;\n    }"));
    json_object_set_new(spec, "maintenance", json_true());
    assert_int_equal(role_services(spec, p->vault, &p->paths, &closed, NULL), 0);
    assert_null(strstr(file_of(find(&closed, "edge"), "nginx.conf"), "/api/v1/streaming"));
}

/* Atoll's own, with nothing of Mastodon's secrets but what it logs in with. */
static void streaming_is_atolls_own(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("stream");
    _cleanup_(services_clear) Services l = {0};
    json_t *env = json_object_get(spec, "env");

    json_object_set_new(env, "ATOLL_STREAM_CONNECTIONS", json_string("500"));
    json_object_set_new(env, "SMTP_SERVER", json_string("mail.example"));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "stream");
    assert_string_equal(s->argv.items[0], "/r/usr/bin/atoll");
    assert_string_equal(s->argv.items[1], "stream");
    assert_true(s->notify);
    assert_int_equal(s->health, HEALTH_HTTP);
    assert_string_equal(s->health_path, "/api/v1/streaming/health");
    assert_int_equal(s->health_port, 4000);
    static const char *const has[] = {"BIND=127.77.0.10",
                                      "PORT=4000",
                                      "DB_HOST=127.77.0.11",
                                      "DB_USER=mastodon",
                                      "DB_PASS=S3CRET-db_password",
                                      "REDIS_HOST=127.77.0.12",
                                      "NODE_ENV=production",
                                      "REDIS_PASSWORD=S3CRET-redis_password",
                                      "ATOLL_STREAM_CONNECTIONS=500"};
    for (size_t i = 0; i < ARRAY_LEN(has); i++)
        assert_true(strlist_has(&s->env, has[i]));
    for (size_t i = 0; i < s->env.len; i++) {
        assert_false(starts_with(s->env.items[i], "SMTP_"));
        assert_false(starts_with(s->env.items[i], "SECRET_"));
        assert_false(starts_with(s->env.items[i], "REDIS_NAMESPACE"));
    }

    /* And what is the streaming server's own restarts nothing else. */
    _cleanup_json_ json_t *web = spec_new("web");
    _cleanup_(services_clear) Services w = {0};
    json_object_set(web, "env", env);
    assert_int_equal(role_services(web, p->vault, &p->paths, &w, NULL), 0);
    s = find(&w, "web");
    assert_true(strlist_has(&s->env, "SMTP_SERVER=mail.example"));
    assert_false(strlist_has(&s->env, "ATOLL_STREAM_CONNECTIONS=500"));
}

/* Its unit outlasts the time that it gives its clients, whichever way that is written. */
static void a_streaming_server_may_let_its_clients_go(void **state)
{
    Place *p = *state;
    static const struct {
        const char *drain;
        Msec stop_ms;
    } rows[] = {
        {NULL, 10 * SECOND}, {"", 10 * SECOND}, {"30s", 35 * SECOND}, {"20000", 25 * SECOND}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new("stream");
        _cleanup_(services_clear) Services l = {0};
        if (rows[i].drain)
            json_object_set_new(json_object_get(spec, "env"), "ATOLL_STREAM_DRAIN",
                                json_string(rows[i].drain));
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        assert_int_equal(find(&l, "stream")->stop_ms, rows[i].stop_ms);
    }
}

static void mastodons_own_streaming_is_in_its_image(void **state)
{
    Place *p = *state;
    _cleanup_json_ json_t *spec = spec_new("stream");
    _cleanup_(services_clear) Services l = {0}, pocket = {0};

    json_object_set_new(spec, "streaming",
                        json_make_new("{s:s, s:s, s:s}", "kind", "streaming", "version", "v4.7.6",
                                      "ref", "ghcr.io/mastodon/mastodon-streaming"));
    assert_int_equal(role_services(spec, p->vault, &p->paths, &pocket, NULL), -ERR_CONFIG);
    p->paths.root = "";
    p->paths.paper = true;
    assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    const Service *s = find(&l, "stream");
    assert_string_equal(s->image, "ghcr.io/mastodon/mastodon-streaming:v4.7.6");
    assert_string_equal(s->argv.items[0], "node");
    assert_true(strlist_has(&s->env, "PORT=4000"));
    assert_false(s->notify);
}

/* It keeps its socket over a restart, and its edge asks it again; but not where another one could
 * be asked. */
static void an_only_web_server_keeps_its_socket(void **state)
{
    Place *p = *state;
    static const struct {
        bool only, image;
    } rows[] = {{true, false}, {false, false}, {true, true}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *spec = spec_new("edge web");
        _cleanup_(services_clear) Services l = {0};
        p->paths.root = rows[i].image ? "" : "/r";
        json_object_set_new(spec, "only_web", json_boolean(rows[i].only));
        if (rows[i].only)
            json_array_remove(json_object_get(json_object_get(spec, "peers"), "web"), 1);
        if (rows[i].image)
            json_object_set_new(json_object_get(spec, "release"), "kind", json_string("image"));
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
        const Service *web = find(&l, "web");
        assert_int_equal(web->keep_socket, rows[i].only);
        assert_string_equal(web->health_address, "127.77.0.10");
        assert_true(strlist_has(&web->env, "BIND=127.77.0.10"));
        const char *conf = file_of(find(&l, "edge"), "nginx.conf");
        const char *twice = strstr(conf, "server 127.77.0.10:3000 max_fails=0;\n"
                                         "        server 127.77.0.10:3000 max_fails=0;\n");
        assert_int_equal(twice != NULL, rows[i].only);
    }
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
        {"control", NULL, NULL, "no secret control_kit"},
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
    static const char *const roles[] = {"postgres", "redis", "web worker", "edge", "stream"};
    p->paths.as_root = true;
    p->paths.root = "";
    p->paths.pg_bin = NULL;
    p->paths.paper = true;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        _cleanup_json_ json_t *spec = spec_new(roles[i]);
        _cleanup_(services_clear) Services l = {0};
        assert_int_equal(role_services(spec, p->vault, &p->paths, &l, NULL), 0);
    }
    _cleanup_json_ json_t *spec = spec_new("control");
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
        TEST(search_is_a_container_of_its_own),
        TEST(control_works_as_an_operator),
        TEST(search_on_pocket_is_a_stand_in),
        TEST(a_database_changes_volumes),
        TEST(the_edge_ends_tls_where_there_is_a_certificate),
        TEST(certbot_is_beside_the_edge_that_asks),
        TEST(the_edge_sends_to_every_web_server),
        TEST(the_edge_sends_streams_to_every_streaming_server),
        TEST(streaming_is_atolls_own),
        TEST(a_streaming_server_may_let_its_clients_go),
        TEST(mastodons_own_streaming_is_in_its_image),
        TEST(an_only_web_server_keeps_its_socket),
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
