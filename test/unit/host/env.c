#include "host/env.h"
#include "island/env_rules.h"

#include <setjmp.h>

#include <cmocka.h>

static const MediaEnv good = {
    .auth_url = "https://k.example:5000/v3",
    .username = "reef-media",
    .user_domain = "Default",
    .project_id = "0123456789abcdef",
    .region = "nz-1",
    .container = "user-uploads",
    .object_url = "https://s.example/v1/AUTH_0123/user-uploads",
};

static void set(Vault *v, const char *name, const char *value)
{
    _cleanup_secret_ Secret *s = secret_new(value, strlen(value));
    vault_set(v, name, s);
}

static Vault *vault_of_web(void)
{
    static const char *const names[] = {"db_password",           "redis_password",
                                        "media_password",        "secret_key_base",
                                        "vapid_private",         "vapid_public",
                                        "active_record_primary", "active_record_deterministic",
                                        "active_record_salt"};
    Vault *v = vault_new();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_free_ char *value = xasprintf("s-%s", names[i]);
        set(v, names[i], value);
    }
    set(v, "smtp_password", "p@ss-word=");
    return v;
}

static json_t *spec_of_web(void)
{
    return json_make_new(
        "{s:s, s:s, s:s, s:[s,s], s:{s:i,s:i}, s:{s:i,s:i}, s:{s:[s],s:[s]}, "
        "s:{s:s,s:s,s:s,s:s,s:s,s:s,s:s}, s:{s:s}, s:{s:s}}",
        "server", "web.0", "domain", "reef.example", "address", "10.77.0.10", "roles", "web",
        "worker", "processes", "web", 2, "worker", 1, "threads", "web", 5, "worker", 10, "peers",
        "postgres", "10.77.0.11", "redis", "10.77.0.12", "media", "auth_url", good.auth_url,
        "username", good.username, "user_domain", good.user_domain, "project_id", good.project_id,
        "region", good.region, "container", good.container, "object_url", good.object_url, "env",
        "SMTP_SERVER", "mail.example", "env_secrets", "SMTP_PASSWORD", "smtp_password");
}

static void join(const StrList *l, Buf *ret)
{
    for (size_t i = 0; i < l->len; i++)
        buf_printf(ret, "%s\n", l->items[i]);
}

static const char media_golden[] = "SWIFT_ENABLED=true\n"
                                   "SWIFT_AUTH_URL=https://k.example:5000/v3\n"
                                   "SWIFT_USERNAME=reef-media\n"
                                   "SWIFT_DOMAIN_NAME=Default\n"
                                   "SWIFT_PROJECT_ID=0123456789abcdef\n"
                                   "SWIFT_REGION=nz-1\n"
                                   "SWIFT_CONTAINER=user-uploads\n"
                                   "SWIFT_OBJECT_URL=https://s.example/v1/AUTH_0123/user-uploads\n";

static void the_media_block(void **state)
{
    (void)state;
    _cleanup_secret_ Secret *password = secret_new("pw", 2);
    _cleanup_(strlist_clear) StrList with = {0}, without = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE), shown = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *expect = xasprintf("%sSWIFT_PASSWORD=pw\n", media_golden);

    assert_int_equal(env_media(&good, password, &with, NULL), 0);
    join(&with, &text);
    assert_string_equal(text.p, expect);
    assert_int_equal(env_media(&good, NULL, &without, NULL), 0);
    join(&without, &shown);
    assert_true(starts_with(shown.p, media_golden));
    assert_true(starts_with(shown.p + strlen(media_golden), "# SWIFT_PASSWORD"));
}

/* Each of these was a broken Mastodon (mastodon.md 1.2). */
static void the_traps_of_swift(void **state)
{
    (void)state;
    static const struct {
        const char *auth_url, *region, *object_url, *domain;
        const char *line, *never;
    } rows[] = {
        {"https://k/v3/", "r", "https://s/c", "d", "SWIFT_AUTH_URL=https://k/v3", "v3/"},
        {"https://k/v3///", "r", "https://s/c", "d", "SWIFT_AUTH_URL=https://k/v3", "v3/"},
        {"https://k", "r", "https://s/c", "d", "SWIFT_AUTH_URL=https://k/v3", NULL},
        {"https://k/identity", "r", "https://s/c", "d", "SWIFT_AUTH_URL=https://k/identity/v3",
         NULL},
        {"https://k/v3", "", "https://s/c", "d", "SWIFT_ENABLED=true", "SWIFT_REGION"},
        {"https://k/v3", NULL, "https://s/c", "d", "SWIFT_ENABLED=true", "SWIFT_REGION"},
        {"https://k/v3", "r", "https://s/c/", "d", "SWIFT_OBJECT_URL=https://s/c", "/c/"},
        {"https://k/v3", "r", "https://s/c", "", "SWIFT_DOMAIN_NAME=Default", NULL},
        {"https://k/v3", "r", "https://s/c", NULL, "SWIFT_DOMAIN_NAME=Default", NULL},
        {"https://k/v3", "r", "https://s/c", "d", "SWIFT_PROJECT_ID=0123456789abcdef",
         "SWIFT_TENANT"},
        {"https://k/v3", "r", "https://s/c", "d", "SWIFT_ENABLED=true", "SWIFT_CACHE_TTL"},
        {"https://k/v3", "r", "https://s/c", "d", "SWIFT_ENABLED=true", "S3_"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        MediaEnv m = good;
        _cleanup_(strlist_clear) StrList l = {0};
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
        m.auth_url = rows[i].auth_url;
        m.region = rows[i].region;
        m.object_url = rows[i].object_url;
        m.user_domain = rows[i].domain;
        assert_int_equal(env_media(&m, NULL, &l, NULL), 0);
        assert_true(strlist_has(&l, rows[i].line));
        join(&l, &text);
        assert_true(!rows[i].never || !strstr(text.p, rows[i].never));
    }
}

/* All or nothing of search: where an island has such a server. */
static void search_is_there_or_not_spoken_of(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_of_web();
    _cleanup_json_ json_t *spec = spec_of_web();
    _cleanup_(strlist_clear) StrList without = {0}, with = {0}, none = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(err_clear) Err err = {0};

    assert_int_equal(env_role(spec, v, "web", &without, NULL), 0);
    join(&without, &text);
    assert_null(strstr(text.p, "ES_"));
    json_object_set_new(json_object_get(spec, "peers"), "search",
                        json_make_new("[s]", "10.77.0.13"));
    json_object_set_new(spec, "search_user", json_string("admin"));
    assert_int_equal(env_role(spec, v, "web", &none, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.text, "ES_PASS needs the secret search_password"));
    set(v, "search_password", "Sr-1");
    assert_int_equal(env_role(spec, v, "worker", &with, NULL), 0);
    static const char *const lines[] = {"ES_ENABLED=true", "ES_HOST=10.77.0.13",
                                        "ES_PORT=9200",    "ES_USER=admin",
                                        "ES_PASS=Sr-1",    "ES_PRESET=single_node_cluster"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_true(strlist_has(&with, lines[i]));
}

static void media_that_cannot_work_are_refused(void **state)
{
    (void)state;
    struct {
        MediaEnv m;
        const char *name;
    } rows[] = {
        {good, "SWIFT_AUTH_URL"},   {good, "SWIFT_AUTH_URL"},  {good, "SWIFT_USERNAME"},
        {good, "SWIFT_PROJECT_ID"}, {good, "SWIFT_CONTAINER"}, {good, "SWIFT_OBJECT_URL"},
        {good, "SWIFT_CONTAINER"},
    };
    rows[0].m.auth_url = "https://k/v3/auth/tokens";
    rows[1].m.auth_url = NULL;
    rows[2].m.username = "";
    rows[3].m.project_id = NULL;
    rows[4].m.container = "";
    rows[5].m.object_url = NULL;
    rows[6].m.container = "user uploads";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(strlist_clear) StrList l = {0};
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(env_media(&rows[i].m, NULL, &l, &err), -ERR_CONFIG);
        assert_non_null(strstr(err.text, rows[i].name));
    }
}

static void the_whole_of_web(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_of_web();
    _cleanup_json_ json_t *spec = spec_of_web();
    _cleanup_(strlist_clear) StrList l = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *expect = xasprintf(
        "RAILS_ENV=production\nNODE_ENV=production\nRAILS_SERVE_STATIC_FILES=true\n"
        "MALLOC_ARENA_MAX=2\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\n"
        "BIND=10.77.0.10\nPORT=3000\nWEB_CONCURRENCY=2\nMAX_THREADS=5\n"
        "LOCAL_DOMAIN=reef.example\nSECRET_KEY_BASE=s-secret_key_base\n"
        "VAPID_PRIVATE_KEY=s-vapid_private\nVAPID_PUBLIC_KEY=s-vapid_public\n"
        "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY=s-active_record_primary\n"
        "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY=s-active_record_deterministic\n"
        "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT=s-active_record_salt\n"
        "DB_HOST=10.77.0.11\nDB_PORT=5432\nDB_NAME=mastodon_production\nDB_USER=mastodon\n"
        "DB_PASS=s-db_password\nREDIS_HOST=10.77.0.12\nREDIS_PORT=6379\n"
        "REDIS_PASSWORD=s-redis_password\n"
        "%sSWIFT_PASSWORD=s-media_password\nSMTP_SERVER=mail.example\nSMTP_PASSWORD=p@ss-word=\n",
        media_golden);

    assert_int_equal(env_role(spec, v, "web", &l, NULL), 0);
    join(&l, &text);
    assert_string_equal(text.p, expect);
}

static void a_worker_has_no_port_and_no_pool(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_of_web();
    _cleanup_json_ json_t *spec = spec_of_web();
    _cleanup_(strlist_clear) StrList l = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    static const char *const never[] = {"\nPORT=",    "\nBIND=",    "DB_POOL", "MAX_THREADS",
                                        "OTP_SECRET", "SKIP_POST_", "S3_",     "SWIFT_TENANT"};

    assert_int_equal(env_role(spec, v, "worker", &l, NULL), 0);
    join(&l, &text);
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        assert_null(strstr(text.p, never[i]));
}

static void own_variables_that_break_it_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"SWIFT_TENANT", ""},
        {"SWIFT_TENANT", "x"},
        {"SWIFT_PASSWORD", "x"},
        {"S3_ENABLED", "true"},
        {"S3_ALIAS_HOST", "x"},
        {"SKIP_POST_DEPLOYMENT_MIGRATIONS", "false"},
        {"SELF_DESTRUCT", "x"},
        {"REDIS_NAMESPACE", "x"},
        {"RAILS_ENV", "test"},
        {"DB_PASS", "x"},
        {"LOCAL_DOMAIN", "x.y"},
        {"BIND", "0.0.0.0"},
        {"1X", "x"},
        {"A B", "x"},
        {"", "x"},
        {"X", "two words"},
        {"X", "a#b"},
        {"X", "$HOME"},
        {"X", "it's"},
        {"X", "\"q\""},
        {"X", "a\\b"},
        {"X", "a\nb"},
        {"X", "`x`"},
        {"X", "tab\there"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(vault_drop) Vault *v = vault_of_web();
        _cleanup_json_ json_t *spec = spec_of_web();
        _cleanup_(strlist_clear) StrList l = {0};
        _cleanup_(err_clear) Err err = {0};
        json_object_set_new(spec, "env", json_make_new("{s:s}", rows[i].name, rows[i].value));
        assert_int_equal(env_role(spec, v, "web", &l, &err), -ERR_CONFIG);
        assert_non_null(strstr(err.text, rows[i].name));
        assert_int_equal(l.len, 0);
    }
}

static void own_variables_that_are_fine(void **state)
{
    (void)state;
    static const char *const values[] = {"",    "a=b",   "https://x/y?z", "a,b",
                                         "50%", "<a@b>", "~!*(){}[]"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        _cleanup_(vault_drop) Vault *v = vault_of_web();
        _cleanup_json_ json_t *spec = spec_of_web();
        _cleanup_(strlist_clear) StrList l = {0};
        _cleanup_free_ char *line = xasprintf("ES_PREFIX=%s", values[i]);
        json_object_set_new(spec, "env", json_make_new("{s:s}", "ES_PREFIX", values[i]));
        assert_int_equal(env_role(spec, v, "web", &l, NULL), 0);
        assert_true(strlist_has(&l, line));
    }
}

/* The table of what is refused knows all that atoll sets; else the file's check would let through
 * what the host refuses. And the vault has each secret that a file may name. */
static void what_atoll_sets_is_in_the_table(void **state)
{
    (void)state;
    static const char *const roles[] = {"web", "worker"};
    static const char *const secrets[] = {
        "db_password",           "redis_password",
        "media_password",        "secret_key_base",
        "vapid_private",         "vapid_public",
        "active_record_primary", "active_record_deterministic",
        "active_record_salt",
    };
    _cleanup_(vault_drop) Vault *v = vault_of_web(), *generated = vault_new();
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        _cleanup_json_ json_t *spec = spec_of_web();
        _cleanup_(strlist_clear) StrList l = {0};
        json_object_del(spec, "env");
        json_object_del(spec, "env_secrets");
        assert_int_equal(env_role(spec, v, roles[i], &l, NULL), 0);
        for (size_t k = 0; k < l.len; k++) {
            _cleanup_free_ char *name = xstrndup(l.items[k], strcspn(l.items[k], "="));
            if (!env_rule_why(name))
                fail_msg("%s is set by atoll, and a file may set it too", name);
        }
    }
    vault_generate(generated);
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        assert_true(env_secret_made(secrets[i]));
        assert_non_null(vault_secret(generated, secrets[i]));
    }
    assert_false(env_secret_made("master"));
    assert_false(env_secret_made("sign_secret"));
    assert_false(env_secret_made("smtp_password"));
    assert_null(env_rule_why("SMTP_SERVER"));
    assert_null(env_rule_why("PORTS"));
}

/* A secret's value is never in a message. */
static void a_bad_secret_is_named_and_not_shown(void **state)
{
    (void)state;
    _cleanup_(vault_drop) Vault *v = vault_of_web();
    _cleanup_json_ json_t *spec = spec_of_web();
    _cleanup_(strlist_clear) StrList l = {0};
    _cleanup_(err_clear) Err err = {0};
    set(v, "smtp_password", "open sesame");

    assert_int_equal(env_role(spec, v, "web", &l, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.text, "SMTP_PASSWORD"));
    assert_null(strstr(err.text, "sesame"));
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *key, *word;
    } rows[] = {
        {"peers", "postgres"},
        {"media", "media"},
        {"domain", "LOCAL_DOMAIN"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(vault_drop) Vault *v = vault_of_web();
        _cleanup_json_ json_t *spec = spec_of_web();
        _cleanup_(strlist_clear) StrList l = {0};
        _cleanup_(err_clear) Err err = {0};
        json_object_del(spec, rows[i].key);
        assert_int_equal(env_role(spec, v, "web", &l, &err), -ERR_CONFIG);
        assert_non_null(strstr(err.text, rows[i].word));
    }
    _cleanup_(vault_drop) Vault *empty = vault_new();
    _cleanup_json_ json_t *spec = spec_of_web();
    _cleanup_(strlist_clear) StrList l = {0};
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(env_role(spec, empty, "web", &l, &err), -ERR_CONFIG);
    assert_non_null(strstr(err.text, "secret_key_base"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_media_block),
        cmocka_unit_test(the_traps_of_swift),
        cmocka_unit_test(search_is_there_or_not_spoken_of),
        cmocka_unit_test(media_that_cannot_work_are_refused),
        cmocka_unit_test(the_whole_of_web),
        cmocka_unit_test(a_worker_has_no_port_and_no_pool),
        cmocka_unit_test(what_atoll_sets_is_in_the_table),
        cmocka_unit_test(own_variables_that_break_it_are_refused),
        cmocka_unit_test(own_variables_that_are_fine),
        cmocka_unit_test(a_bad_secret_is_named_and_not_shown),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
