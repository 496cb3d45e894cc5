/* Tokens: login, validation, catalogue. Shapes: Identity API v3, "Authentication and token
 * management". */
#include "io/crypt.h"
#include "pocket/keystone_rows.h"
#include <stdio.h>

static void token_hash(const char *token, Buf *ret)
{
    crypt_hash(CRYPT_SHA256, str_of(token), ret);
}

Caller *caller_free(Caller *c)
{
    if (!c)
        return NULL;
    free(c->user.user_id);
    free(c->user.user_name);
    free(c->user.user_domain);
    free(c->user.project_id);
    free(c->user.project_name);
    strlist_clear(&c->user.roles);
    free(c->user_domain_id);
    free(c->project_domain_id);
    free(c->token_id);
    free(c->credential_id);
    json_decref(c->access_rules);
    json_decref(c->token);
    free(c);
    return NULL;
}

static bool enabled(const json_t *row)
{
    return row && json_bool(row, "enabled", true);
}

/* An application credential's roles: those it was given, as far as its user still has them. */
static bool credential_roles(Pocket *p, Caller *c, const json_t *credential, StrList *ret)
{
    StrList of_user = {0};
    if (c->user.project_id)
        ks_roles(p, c->user.user_id, c->user.project_id, true, &of_user);
    bool all = true;
    size_t i;
    json_t *name;
    json_array_foreach (json_object_get(credential, "role_names"), i, name) {
        all = all && strlist_has(&of_user, json_string_value(name));
        strlist_add(ret, json_string_value(name));
    }
    strlist_clear(&of_user);
    ks_imply(ret);
    return all;
}

static bool fill_credential(Pocket *p, Caller *c)
{
    _cleanup_json_ json_t *credential = store_get_new(p->store, "app_credential", c->credential_id);
    if (!credential)
        return false;
    Msec expires;
    const char *until = json_str(credential, "expires_at");
    if (until && (!time_parse(until, &expires) || expires <= p->now()))
        return false;
    c->user.application_credential = true;
    c->user.unrestricted = json_bool(credential, "unrestricted", false);
    json_t *rules = json_object_get(credential, "access_rules");
    c->access_rules = json_is_array(rules) ? json_incref(rules) : NULL;
    return credential_roles(p, c, credential, &c->user.roles);
}

static bool fill_project(Pocket *p, Caller *c, const char *project_id)
{
    _cleanup_json_ json_t *project = store_get_new(p->store, "project", project_id);
    if (!enabled(project))
        return false;
    c->user.project_id = xstrdup(project_id);
    c->user.project_name = xstrdup(json_str(project, "name"));
    c->project_domain_id = xstrdup(json_str(project, "domain_id"));
    return true;
}

/* Fills the caller from a token's row; false: what it stands for is gone. */
static bool fill(Pocket *p, Caller *c)
{
    const json_t *t = c->token;
    const char *project_id = json_str(t, "project_id"), *credential = json_str(t, "credential_id");
    _cleanup_json_ json_t *user = store_get_new(p->store, "user", json_str(t, "user_id"));
    if (json_int(t, "expires_ms", 0) <= p->now() || !enabled(user))
        return false;
    c->token_id = xstrdup(json_str(t, "id"));
    c->user.user_id = xstrdup(json_str(user, "id"));
    c->user.user_name = xstrdup(json_str(user, "name"));
    c->user.user_domain = xstrdup(json_str(user, "domain_id"));
    c->user_domain_id = xstrdup(json_str(user, "domain_id"));
    if (project_id && !fill_project(p, c, project_id))
        return false;
    if (credential) {
        c->credential_id = xstrdup(credential);
        return fill_credential(p, c);
    }
    if (project_id)
        ks_roles(p, c->user.user_id, project_id, true, &c->user.roles);
    return !project_id || c->user.roles.len > 0;
}

static Caller *caller_of_row_new(Pocket *p, json_t *row_taken)
{
    Caller *c = NEW(Caller);
    c->token = row_taken;
    if (!fill(p, c))
        return caller_free(c);
    return c;
}

Caller *keystone_caller_new(Pocket *p, const char *token)
{
    _cleanup_(buf_clear) Buf id = BUF_INIT(128);
    token_hash(token, &id);
    json_t *row = store_get_new(p->store, "token", id.p);
    return row ? caller_of_row_new(p, row) : NULL;
}

bool caller_may(const Caller *c, PocketService s, const char *method, const char *path)
{
    /* Keystone itself does not look at them: the middleware of the other services does. */
    if (!c->access_rules || s == POCKET_KEYSTONE)
        return true;
    size_t i;
    json_t *rule;
    json_array_foreach (c->access_rules, i, rule) {
        const char *service = json_str_or(rule, "service", "");
        bool volume = s == POCKET_CINDER && streq(service, "block-storage");
        if ((streq(service, service_type(s)) || volume) &&
            streq(json_str(rule, "method"), method) &&
            access_path_matches(json_str_or(rule, "path", ""), path))
            return true;
    }
    return false;
}

static json_t *endpoints_new(const Pocket *p, const char *name, const char *url)
{
    static const char *const interfaces[] = {"public", "internal", "admin"};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(interfaces); i++) {
        /* Ids are made from what they name, so that they stay over restarts. */
        _cleanup_free_ char *label = xasprintf("endpoint %s %s", name, interfaces[i]);
        _cleanup_(buf_clear) Buf id = BUF_INIT(64);
        crypt_hash(CRYPT_MD5, str_of(label), &id);
        json_array_append_new(list, json_make_new("{s:s,s:s,s:s,s:s,s:s}", "id", id.p, "interface",
                                                  interfaces[i], "region", p->region, "region_id",
                                                  p->region, "url", url));
    }
    return list;
}

static json_t *catalog_new(Pocket *p, const char *project_id)
{
    static const struct {
        PocketService service;
        const char *name, *path;
        bool project;
    } rows[] = {
        {POCKET_KEYSTONE, "keystone", "/v3", false}, {POCKET_NOVA, "nova", "/v2.1", false},
        {POCKET_NEUTRON, "neutron", "", false},      {POCKET_CINDER, "cinderv3", "/v3/", true},
        {POCKET_GLANCE, "glance", "", false},        {POCKET_SWIFT, "swift", "/v1/AUTH_", true},
    };
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *base = pocket_url(p, rows[i].service);
        _cleanup_free_ char *url =
            xasprintf("%s%s%s", base, rows[i].path, rows[i].project ? project_id : "");
        _cleanup_(buf_clear) Buf id = BUF_INIT(64);
        crypt_hash(CRYPT_MD5, str_of(rows[i].name), &id);
        json_array_append_new(list,
                              json_make_new("{s:o,s:s,s:s,s:s}", "endpoints",
                                            endpoints_new(p, rows[i].name, url), "id", id.p, "name",
                                            rows[i].name, "type", service_type(rows[i].service)));
    }
    return list;
}

static json_t *domain_view_new(Pocket *p, const char *id)
{
    _cleanup_json_ json_t *d = store_get_new(p->store, "domain", id);
    return json_make_new("{s:s,s:s}", "id", id, "name", json_str_or(d, "name", ""));
}

static json_t *roles_view_new(Pocket *p, const StrList *names)
{
    json_t *list = json_array();
    for (size_t i = 0; i < names->len; i++) {
        _cleanup_json_ json_t *role = ks_role_new(p, names->items[i]);
        json_array_append_new(list, json_make_new("{s:s,s:s}", "id", json_str_or(role, "id", ""),
                                                  "name", names->items[i]));
    }
    return list;
}

static json_t *token_view_new(Pocket *p, const Caller *c, bool catalog)
{
    const PocketUser *u = &c->user;
    json_t *t = json_make_new(
        "{s:O,s:{s:o,s:s,s:s,s:n},s:[s],s:s,s:s}", "methods", json_object_get(c->token, "methods"),
        "user", "domain", domain_view_new(p, c->user_domain_id), "id", u->user_id, "name",
        u->user_name, "password_expires_at", "audit_ids", json_str_or(c->token, "audit_id", ""),
        "expires_at", json_str_or(c->token, "expires_at", ""), "issued_at",
        json_str_or(c->token, "issued_at", ""));
    if (u->project_id) {
        json_object_set_new(t, "project",
                            json_make_new("{s:o,s:s,s:s}", "domain",
                                          domain_view_new(p, c->project_domain_id), "id",
                                          u->project_id, "name", u->project_name));
        json_object_set_new(t, "is_domain", json_false());
        json_object_set_new(t, "roles", roles_view_new(p, &u->roles));
        if (catalog)
            json_object_set_new(t, "catalog", catalog_new(p, u->project_id));
    }
    if (c->credential_id) {
        _cleanup_json_ json_t *a = store_get_new(p->store, "app_credential", c->credential_id);
        json_t *view = json_make_new("{s:s,s:s,s:b}", "id", c->credential_id, "name",
                                     json_str_or(a, "name", ""), "restricted", !u->unrestricted);
        if (c->access_rules)
            json_object_set(view, "access_rules", c->access_rules);
        json_object_set_new(t, "application_credential", view);
    }
    return t;
}

/* Who logs in, found by one of the methods. */
typedef struct Login {
    json_t *user;       /* row */
    json_t *credential; /* row, with the method application_credential */
    json_t *old_token;  /* row, with the method token */
} Login;

static void login_clear(Login *l)
{
    json_decref(l->user);
    json_decref(l->credential);
    json_decref(l->old_token);
}
DEFINE_CLEAR(Login, login_clear)

/* The login's methods: 0, or the status of the refusal. What an id names and is not there is 404
 * in Keystone, and not 401. */
static int by_password(Pocket *p, const json_t *identity, Login *l)
{
    const json_t *by = json_at(identity, "password.user");
    const char *password = json_str(by, "password");
    if (!password || !(json_str(by, "id") || json_object_get(by, "domain")))
        return 400;
    l->user = ks_user_new(p, by);
    return l->user && ks_hash_fits(json_object_get(l->user, "password"), password) ? 0 : 401;
}

static int by_token(Pocket *p, const json_t *identity, Login *l)
{
    const char *token = json_str(identity, "token.id");
    _cleanup_(caller_drop) Caller *c = token ? keystone_caller_new(p, token) : NULL;
    if (!c)
        return token ? 404 : 400;
    /* A token of a restricted credential can't be exchanged for a wider one. */
    if (c->credential_id)
        return 401;
    l->user = store_get_new(p->store, "user", c->user.user_id);
    l->old_token = json_incref(c->token);
    return 0;
}

static int by_credential(Pocket *p, const json_t *identity, Login *l)
{
    const json_t *by = json_object_get(identity, "application_credential");
    const char *id = json_str(by, "id"), *name = json_str(by, "name");
    if (id) {
        l->credential = store_get_new(p->store, "app_credential", id);
    } else if (name) {
        _cleanup_json_ json_t *user = ks_user_new(p, json_object_get(by, "user"));
        if (user)
            l->credential = store_find_new(p->store, "app_credential", json_str(user, "id"), name);
    }
    if (!l->credential)
        return id ? 404 : 401;
    if (!ks_hash_fits(json_object_get(l->credential, "secret_hash"), json_str(by, "secret")))
        return 401;
    l->user = store_get_new(p->store, "user", json_str(l->credential, "user_id"));
    return 0;
}

static const struct {
    const char *name;
    int (*find)(Pocket *p, const json_t *identity, Login *l);
} methods[] = {
    {"password", by_password}, {"token", by_token}, {"application_credential", by_credential}};

/* True if the caller asked for no scope and has a project of his own to fall back to. */
static const char *default_project(Pocket *p, const Login *l)
{
    const char *id = json_str(l->user, "default_project_id");
    if (!id)
        return NULL;
    StrList roles = {0};
    ks_roles(p, json_str(l->user, "id"), id, false, &roles);
    bool any = roles.len > 0;
    strlist_clear(&roles);
    return any ? id : NULL;
}

/* The project to scope to, a copy, or NULL for none. False: not allowed. */
static bool find_scope(Pocket *p, const Login *l, const json_t *scope, char **ret)
{
    *ret = NULL;
    if (l->credential) {
        const char *id = json_str(l->credential, "project_id");
        *ret = id ? xstrdup(id) : NULL;
        return !scope || json_is_null(scope); /* it has its own; asking for one is refused */
    }
    if (json_is_string(scope))
        return true; /* "unscoped" */
    if (!scope || json_is_null(scope)) {
        const char *id = default_project(p, l);
        *ret = id ? xstrdup(id) : NULL;
        return true;
    }
    _cleanup_json_ json_t *project = ks_project_new(p, json_object_get(scope, "project"));
    if (!project)
        return false;
    *ret = xstrdup(json_str(project, "id"));
    return true;
}

void ks_drop_expired(Pocket *p)
{
    _cleanup_json_ json_t *rows = store_list_new(p->store, "token", NULL);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (json_int(row, "expires_ms", 0) <= p->now())
            store_delete(p->store, "token", json_str(row, "id"));
    }
}

static void time_text(Msec t, char out[static TIME_TEXT_MAX])
{
    (void)time_format(t, false, out);
    size_t n = strlen(out);
    (void)snprintf(out + n - 1, TIME_TEXT_MAX - n + 1, ".000000Z");
}

static json_t *token_row_new(Pocket *p, const char *token, const char *method, const Login *l,
                             const char *project_id)
{
    Msec now = p->now(), expires = now + p->core->token_life_s * SECOND;
    /* A token got with a token lives no longer than that one. */
    if (l->old_token)
        expires = MIN(expires, json_int(l->old_token, "expires_ms", 0));
    char issued_text[TIME_TEXT_MAX], expires_text[TIME_TEXT_MAX];
    /* Keystone's times are whole seconds, written with six zeros behind the point. */
    expires = expires / SECOND * SECOND;
    time_text(now, issued_text);
    time_text(expires, expires_text);
    _cleanup_(buf_clear) Buf id = BUF_INIT(128);
    token_hash(token, &id);
    _cleanup_(buf_clear) Buf audit = BUF_INIT(64);
    unsigned char random[16];
    crypt_random(random, sizeof random);
    crypt_base64_url(&audit, random, sizeof random);
    json_t *row = json_make_new("{s:s,s:s,s:s?,s:s?,s:[s],s:s,s:s,s:s,s:I}", "id", id.p, "user_id",
                                json_str(l->user, "id"), "project_id", project_id, "credential_id",
                                json_str(l->credential, "id"), "methods", method, "audit_id",
                                audit.p, "issued_at", issued_text, "expires_at", expires_text,
                                "expires_ms", (json_int_t)expires);
    return row;
}

static void issue(Pocket *p, const PocketCall *c, PocketReply *r, const char *method,
                  const Login *l, const char *project_id)
{
    static int since_sweep;
    if (++since_sweep % 200 == 0)
        ks_drop_expired(p);
    _cleanup_secret_ Secret *token = crypt_password_new(64);
    const char *text = secret_expose(token).p;
    json_t *row = token_row_new(p, text, method, l, project_id);
    _cleanup_(caller_drop) Caller *caller = caller_of_row_new(p, json_incref(row));
    if (caller) {
        store_put(p->store, "token", json_str(row, "user_id"), NULL, row);
        r->status = 201;
        bool catalog = !json_object_get(c->query, "nocatalog");
        r->json = json_make_new("{s:o}", "token", token_view_new(p, caller, catalog));
        strlist_addf(&r->headers, "X-Subject-Token: %s", text);
        strlist_add(&r->headers, "Vary: X-Auth-Token");
    } else {
        ks_unauthorized(p, r);
    }
    json_decref(row);
}

void ks_token_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *identity = json_at(c->body, "auth.identity");
    const json_t *wanted = json_object_get(identity, "methods");
    if (!json_is_array(wanted) || json_array_size(wanted) == 0) {
        pocket_fail(POCKET_KEYSTONE, r, 400, NULL,
                    "Expecting to find identity in auth. The server could not comply with the "
                    "request since it is either malformed or otherwise incorrect. The client is "
                    "assumed to be in error.");
        return;
    }
    const char *name = json_string_value(json_array_get(wanted, 0));
    _cleanup_(login_clear) Login login = {0};
    _cleanup_free_ char *project_id = NULL;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (!streq(methods[i].name, name))
            continue;
        int status = methods[i].find(p, identity, &login);
        if (status == 400 || status == 404)
            pocket_fail(POCKET_KEYSTONE, r, status, NULL,
                        status == 400 ? "Invalid input for the method %s." : "Could not find %s.",
                        name);
        else if (!status && enabled(login.user) &&
                 find_scope(p, &login, json_at(c->body, "auth.scope"), &project_id))
            issue(p, c, r, name, &login, project_id);
        else
            ks_unauthorized(p, r);
        return;
    }
    ks_unauthorized(p, r);
}

/* The caller behind X-Subject-Token, whom the caller may look at; NULL: the reply is filled. */
static Caller *subject_new(Pocket *p, const PocketCall *c, PocketReply *r, const char *action)
{
    const char *token = pocket_header(c, "X-Subject-Token");
    Caller *s = token ? keystone_caller_new(p, token) : NULL;
    if (!s) {
        pocket_fail(POCKET_KEYSTONE, r, 404, NULL, "Could not find token.");
        return NULL;
    }
    if (ks_admin(c) || streq(s->user.user_id, c->user->user_id))
        return s;
    ks_forbidden(r, action);
    return caller_free(s);
}

void ks_token_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_(caller_drop) Caller *s = subject_new(p, c, r, "identity:validate_token");
    if (!s)
        return;
    r->status = 200;
    bool catalog = !json_object_get(c->query, "nocatalog");
    r->json = json_make_new("{s:o}", "token", token_view_new(p, s, catalog));
    strlist_addf(&r->headers, "X-Subject-Token: %s", pocket_header(c, "X-Subject-Token"));
}

void ks_token_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_(caller_drop) Caller *s = subject_new(p, c, r, "identity:revoke_token");
    if (!s)
        return;
    store_delete(p->store, "token", s->token_id);
    r->status = 204;
}

void ks_catalog_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!c->user->project_id) {
        ks_forbidden(r, "identity:get_auth_catalog");
        return;
    }
    r->status = 200;
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    _cleanup_free_ char *self = xasprintf("%s/v3/auth/catalog", base);
    r->json = json_make_new("{s:o,s:{s:s,s:n,s:n}}", "catalog", catalog_new(p, c->user->project_id),
                            "links", "self", self, "next", "previous");
}
