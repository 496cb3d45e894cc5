#include "host/env.h"
#include "island/env_rules.h"
#include "island/roles.h"

static bool is_name(const char *name)
{
    if (!*name || (*name >= '0' && *name <= '9'))
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
           strlen(name);
}

static bool has_name(const StrList *l, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < l->len; i++)
        if (strncmp(l->items[i], name, n) == 0 && l->items[i][n] == '=')
            return true;
    return false;
}

static int add(StrList *ret, const char *name, Str value, Err *err)
{
    if (!env_reads_alike(value))
        return err_set(err, ERR_CONFIG,
                       "the value of %s has a space, a quote, '#', '$' or a backslash in it, which "
                       "dotenv and Docker read differently",
                       name);
    strlist_addf(ret, "%s=%.*s", name, (int)value.n, value.p);
    return 0;
}

static int add_text(StrList *ret, const char *name, const char *value, Err *err)
{
    return add(ret, name, str_of(value), err);
}

static int add_secret(StrList *ret, const char *name, const Vault *secrets, const char *secret,
                      Err *err)
{
    const Secret *value = vault_secret(secrets, secret);
    if (!value)
        return err_set(err, ERR_CONFIG, "%s needs the secret %s, which is not there", name, secret);
    return add(ret, name, secret_expose(value), err);
}

/* --- media --- */

/* fog posts to <url>/auth/tokens, and to /v3//auth/tokens when there is a slash at the end. */
static char *auth_url_new(const char *url)
{
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    bool v3 = n >= 3 && strncmp(url + n - 3, "/v3", 3) == 0;
    return xasprintf("%.*s%s", (int)n, url, v3 ? "" : "/v3");
}

static char *no_slash_new(const char *url)
{
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    return xstrndup(url, n);
}

static int check_media(const MediaEnv *m, Err *err)
{
    const struct {
        const char *name, *value;
    } needed[] = {
        {"SWIFT_AUTH_URL", m->auth_url},     {"SWIFT_USERNAME", m->username},
        {"SWIFT_PROJECT_ID", m->project_id}, {"SWIFT_CONTAINER", m->container},
        {"SWIFT_OBJECT_URL", m->object_url},
    };
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!needed[i].value || !*needed[i].value)
            return err_set(err, ERR_CONFIG, "%s has no value", needed[i].name);
    if (strstr(m->auth_url, "/auth/tokens"))
        return err_set(err, ERR_CONFIG, "SWIFT_AUTH_URL must end in /v3, not in /auth/tokens");
    return 0;
}

int env_media(const MediaEnv *m, const Secret *password, StrList *ret, Err *err)
{
    int r = check_media(m, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *auth_url = auth_url_new(m->auth_url);
    _cleanup_free_ char *object_url = no_slash_new(m->object_url);
    const struct {
        const char *name, *value;
    } rows[] = {
        {"SWIFT_ENABLED", "true"},
        {"SWIFT_AUTH_URL", auth_url},
        {"SWIFT_USERNAME", m->username},
        {"SWIFT_DOMAIN_NAME", m->user_domain && *m->user_domain ? m->user_domain : "Default"},
        {"SWIFT_PROJECT_ID", m->project_id},
        /* An empty region matches no endpoint; without one the only one is taken. */
        {"SWIFT_REGION", m->region && *m->region ? m->region : NULL},
        {"SWIFT_CONTAINER", m->container},
        {"SWIFT_OBJECT_URL", object_url},
    };
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rows); i++)
        if (rows[i].value)
            r = add_text(ret, rows[i].name, rows[i].value, err);
    if (r == 0 && password)
        r = add(ret, "SWIFT_PASSWORD", secret_expose(password), err);
    else if (r == 0)
        strlist_add(ret, "# SWIFT_PASSWORD= the secret media_password of the island's vault");
    return r;
}

/* --- a role --- */

static const struct {
    const char *name, *secret;
} secret_rows[] = {
    {"SECRET_KEY_BASE", "secret_key_base"},
    {"VAPID_PRIVATE_KEY", "vapid_private"},
    {"VAPID_PUBLIC_KEY", "vapid_public"},
    {"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY", "active_record_primary"},
    {"ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY", "active_record_deterministic"},
    {"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT", "active_record_salt"},
};

static const char *first_peer(const json_t *spec, const char *role)
{
    const json_t *list = json_object_get(json_object_get(spec, "peers"), role);
    return json_string_value(json_array_get(list, 0));
}

static int add_peer(const json_t *spec, const char *role, const char *host_name,
                    const char *port_name, int port, StrList *ret, Err *err)
{
    const char *address = first_peer(spec, role);
    if (!address)
        return err_set(err, ERR_CONFIG, "no server of the island carries the role %s", role);
    int r = add_text(ret, host_name, address, err);
    if (r == 0)
        strlist_addf(ret, "%s=%d", port_name, port);
    return r;
}

static int add_stores(const json_t *spec, const Vault *secrets, StrList *ret, Err *err)
{
    int r =
        add_peer(spec, "postgres", "DB_HOST", "DB_PORT", role_rows[ROLE_POSTGRES].port, ret, err);
    if (r < 0)
        return r;
    strlist_add(ret, "DB_NAME=mastodon_production");
    strlist_add(ret, "DB_USER=mastodon");
    r = add_secret(ret, "DB_PASS", secrets, "db_password", err);
    if (r == 0)
        r = add_peer(spec, "redis", "REDIS_HOST", "REDIS_PORT", role_rows[ROLE_REDIS].port, ret,
                     err);
    if (r == 0)
        r = add_secret(ret, "REDIS_PASSWORD", secrets, "redis_password", err);
    return r;
}

/* Where an island has a search server. Without ES_PRESET Mastodon warns its administrators, and a
 * single node's indexes would wait for replicas for ever (mastodon.md 3.5). */
static int add_search(const json_t *spec, const Vault *secrets, StrList *ret, Err *err)
{
    if (!first_peer(spec, "search"))
        return 0;
    strlist_add(ret, "ES_ENABLED=true");
    int r = add_peer(spec, "search", "ES_HOST", "ES_PORT", role_rows[ROLE_SEARCH].port, ret, err);
    if (r == 0)
        r = add_text(ret, "ES_USER", json_str_or(spec, "search_user", "elastic"), err);
    if (r == 0)
        r = add_secret(ret, "ES_PASS", secrets, "search_password", err);
    strlist_add(ret, "ES_PRESET=single_node_cluster");
    return r;
}

static int add_media(const json_t *spec, const Vault *secrets, StrList *ret, Err *err)
{
    const json_t *media = json_object_get(spec, "media");
    if (!json_is_object(media))
        return err_set(err, ERR_CONFIG, "the bundle says nothing of the media");
    return env_media(&(MediaEnv){.auth_url = json_str(media, "auth_url"),
                                 .username = json_str(media, "username"),
                                 .user_domain = json_str(media, "user_domain"),
                                 .project_id = json_str(media, "project_id"),
                                 .region = json_str(media, "region"),
                                 .container = json_str(media, "container"),
                                 .object_url = json_str(media, "object_url")},
                     vault_secret(secrets, "media_password"), ret, err);
}

static int check_own(const StrList *so_far, const char *name, Err *err)
{
    const char *why = env_rule_why(name);

    if (!is_name(name))
        return err_set(err, ERR_CONFIG, "'%s' cannot be the name of a variable", name);
    if (why)
        return err_set(err, ERR_CONFIG, "%s may not be set: %s", name, why);
    if (has_name(so_far, name))
        return err_set(err, ERR_CONFIG, "%s may not be set: atoll sets it from the island", name);
    return 0;
}

/* Those of a streaming server's bounds are its alone: nothing of these restarts Mastodon. */
static bool is_for(const char *name, bool streaming)
{
    bool bound = starts_with(name, ENV_STREAM);

    return streaming ? bound || streq(name, "LOG_LEVEL") || streq(name, "TRUSTED_PROXY_IP")
                     : !bound;
}

/* The island file's own variables, as far as they are values and no secrets. */
static int add_values(const json_t *spec, bool streaming, StrList *ret, Err *err)
{
    const char *name;
    json_t *value;
    int r = 0;

    json_object_foreach (json_object_get(spec, "env"), name, value) {
        if (!is_for(name, streaming))
            continue;
        r = check_own(ret, name, err);
        if (r == 0)
            r = add_text(ret, name, json_string_value(value), err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The island file's own variables. */
static int add_own(const json_t *spec, const Vault *secrets, StrList *ret, Err *err)
{
    const char *name;
    json_t *value;
    int r = add_values(spec, false, ret, err);

    if (r < 0)
        return r;
    json_object_foreach (json_object_get(spec, "env_secrets"), name, value) {
        r = check_own(ret, name, err);
        if (r == 0)
            r = add_secret(ret, name, secrets, json_string_value(value), err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Read before any env file, so they are only ever in the process's own environment. */
static void add_process(const json_t *spec, const char *role, StrList *ret)
{
    strlist_add(ret, "RAILS_ENV=production");
    strlist_add(ret, "NODE_ENV=production");
    strlist_add(ret, "RAILS_SERVE_STATIC_FILES=true");
    strlist_add(ret, "MALLOC_ARENA_MAX=2");
    strlist_add(ret, "LANG=C.UTF-8");
    strlist_add(ret, "PATH=/usr/local/bin:/usr/bin:/bin");
    if (!streq(role, "web"))
        return;
    const json_t *processes = json_object_get(spec, "processes");
    const json_t *threads = json_object_get(spec, "threads");
    strlist_addf(ret, "BIND=%s", json_str_or(spec, "address", ""));
    strlist_addf(ret, "PORT=%d", role_rows[ROLE_WEB].port);
    strlist_addf(ret, "WEB_CONCURRENCY=%lld", (long long)json_int(processes, "web", 1));
    strlist_addf(ret, "MAX_THREADS=%lld", (long long)json_int(threads, "web", 5));
}

int env_stream(const json_t *spec, const Vault *secrets, StrList *ret, Err *err)
{
    _cleanup_(strlist_wipe) StrList all = {0};

    strlist_add(&all, "NODE_ENV=production");
    strlist_addf(&all, "BIND=%s", json_str_or(spec, "address", ""));
    strlist_addf(&all, "PORT=%d", role_rows[ROLE_STREAM].port);
    int r = add_stores(spec, secrets, &all, err);
    if (r == 0)
        r = add_values(spec, true, &all, err);
    if (r < 0)
        return err_wrap(err, "the environment of stream");
    for (size_t i = 0; i < all.len; i++)
        strlist_add(ret, all.items[i]);
    return 0;
}

int env_role(const json_t *spec, const Vault *secrets, const char *role, StrList *ret, Err *err)
{
    _cleanup_(strlist_wipe) StrList all = {0};
    const char *domain = json_str_or(spec, "domain", "");

    if (!*domain)
        return err_set(err, ERR_CONFIG, "the environment of %s: LOCAL_DOMAIN has no value", role);
    add_process(spec, role, &all);
    int r = add_text(&all, "LOCAL_DOMAIN", domain, err);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(secret_rows); i++)
        r = add_secret(&all, secret_rows[i].name, secrets, secret_rows[i].secret, err);
    if (r == 0)
        r = add_stores(spec, secrets, &all, err);
    if (r == 0)
        r = add_search(spec, secrets, &all, err);
    if (r == 0)
        r = add_media(spec, secrets, &all, err);
    if (r == 0)
        r = add_own(spec, secrets, &all, err);
    if (r < 0)
        return err_wrap(err, "the environment of %s", role);
    for (size_t i = 0; i < all.len; i++)
        strlist_add(ret, all.items[i]);
    return 0;
}
