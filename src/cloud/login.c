#include "cloud/login.h"

#include <stdio.h>

/* {"id": id} or {"name": name, "domain": {...}} */
static json_t *named_new(const char *id, const char *name, const char *domain_id,
                         const char *domain_name)
{
    if (id)
        return json_make_new("{s:s}", "id", id);
    json_t *j = json_make_new("{s:s*}", "name", name);
    if (domain_id || domain_name)
        json_object_set_new(j, "domain",
                            domain_id ? json_make_new("{s:s}", "id", domain_id)
                                      : json_make_new("{s:s}", "name", domain_name));
    return j;
}

static json_t *user_new(const CloudConfig *c)
{
    return named_new(c->user_id, c->username, c->user_domain_id, c->user_domain_name);
}

json_t *login_body_new(const CloudConfig *c)
{
    Str secret = c->secret ? secret_expose(c->secret) : STR_LIT("");
    json_t *value = json_stringn_nocheck(secret.p, secret.n);
    json_t *method = json_object();
    const char *word = NULL;

    switch (c->auth_type) {
    case AUTH_PASSWORD:
        word = "password";
        json_object_set_new(method, "user", user_new(c));
        json_object_set_new(json_object_get(method, "user"), "password", value);
        break;
    case AUTH_TOKEN:
        word = "token";
        json_object_set_new(method, "id", value);
        break;
    case AUTH_APPLICATION_CREDENTIAL:
        word = "application_credential";
        if (c->application_credential_id) {
            json_object_set_new(method, "id", json_string(c->application_credential_id));
        } else {
            json_object_set_new(method, "name", json_string(c->application_credential_name));
            json_object_set_new(method, "user", user_new(c));
        }
        json_object_set_new(method, "secret", value);
        break;
    }
    json_t *body =
        json_make_new("{s:{s:{s:[s], s:o}}}", "auth", "identity", "methods", word, word, method);
    /* An application credential belongs to a project: naming one is an error. */
    if (c->auth_type != AUTH_APPLICATION_CREDENTIAL)
        json_object_set_new(json_object_get(body, "auth"), "scope",
                            json_make_new("{s:o}", "project",
                                          named_new(c->project_id, c->project_name,
                                                    c->project_domain_id, c->project_domain_name)));
    return body;
}

static void forget_endpoints(Cloud *c)
{
    for (size_t i = 0; i < CLOUD_SERVICES; i++) {
        free(c->endpoints[i]);
        c->endpoints[i] = NULL;
    }
}

/* Seconds are rounded, and proxies may have an answer of a while ago. */
#define SKEW_MIN (30 * SECOND)

void login_note_date(Cloud *c, const char *date, Msec start, Msec end)
{
    Msec there;

    if (!date || !time_parse_http(date, &there))
        return;
    if (there > end + SKEW_MIN)
        c->skew_ms = there - end;
    else if (there < start - SKEW_MIN)
        c->skew_ms = there - start;
    else
        c->skew_ms = 0;
}

Msec cloud_skew(const Cloud *c)
{
    return c->skew_ms;
}

Msec cloud_now(const Cloud *c)
{
    return time_now() + c->skew_ms;
}

int login_accept(Cloud *c, const char *token, const json_t *answer, Err *err)
{
    const json_t *t = json_object_get(answer, "token"), *role;
    json_t *catalog = json_object_get(t, "catalog");
    const char *expires = json_str(t, "expires_at");
    Msec expires_at;
    size_t i;

    if (!token || !*token || !t || !json_str(t, "user.id"))
        return err_set(err, ERR_CORRUPT, "the answer to the login has no token");
    if (!expires || !time_parse(expires, &expires_at))
        return err_set(err, ERR_CORRUPT, "the answer to the login does not say when it ends");
    if (!json_str(t, "project.id") || !json_is_array(catalog))
        return err_set(err, ERR_AUTH, "the login is for no project: the token has no catalogue");

    int minor = cloud_compute_minor(c);
    json_t *roles = json_array();
    json_array_foreach (json_object_get(t, "roles"), i, role) {
        json_array_append_new(roles, json_string(json_str_or(role, "name", "")));
    }
    json_decref(c->session);
    c->session = json_make_new("{s:s, s:s, s:s, s:s, s:o, s:O, s:i}", "project_id",
                               json_str(t, "project.id"), "user_id", json_str(t, "user.id"),
                               "domain_id", json_str_or(t, "user.domain.id", "default"),
                               "domain_name", json_str_or(t, "user.domain.name", "Default"),
                               "roles", roles, "catalog", catalog, "compute_minor", minor);
    secret_free(c->token);
    c->token = secret_new(token, strlen(token));
    /* A clock that is wrong must not make every token look expired. */
    c->expires_at = expires_at - c->skew_ms;
    c->logins++;
    forget_endpoints(c);
    token_cache_save(c);
    return 0;
}

bool login_is_good(Cloud *c, Msec now)
{
    if (!c->token && !c->cache_looked) {
        c->cache_looked = true;
        token_cache_load(c, now);
    }
    return c->token && now < c->expires_at - TOKEN_SPARE;
}

void login_forget(Cloud *c)
{
    c->token = secret_free(c->token);
    token_cache_drop(c);
}

int cloud_compute_minor(const Cloud *c)
{
    return (int)json_int(c->session, "compute_minor", COMPUTE_MINOR);
}

void cloud_set_compute_minor(Cloud *c, int minor)
{
    json_object_set_new(c->session, "compute_minor", json_integer(minor));
    token_cache_save(c);
}

/* splitmix64: jitter needs no better. */
uint64_t cloud_random(Cloud *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
