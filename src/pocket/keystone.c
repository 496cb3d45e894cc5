/* Routes and version documents of Keystone, and what its files share. */
#include "io/crypt.h"
#include "pocket/keystone_rows.h"

static json_t *version_new(Pocket *p)
{
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    _cleanup_free_ char *href = xasprintf("%s/v3/", base);
    return json_make_new("{s:s,s:s,s:s,s:[{s:s,s:s}],s:[{s:s,s:s}]}", "id", "v3.14", "status",
                         "stable", "updated", "2020-04-07T00:00:00Z", "links", "rel", "self",
                         "href", href, "media-types", "base", "application/json", "type",
                         "application/vnd.openstack.identity-v3+json");
}

static void get_versions(Pocket *p, const PocketCall *c, PocketReply *r)
{
    (void)c;
    r->status = 300;
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    strlist_addf(&r->headers, "Location: %s/v3/", base);
    r->json = json_make_new("{s:{s:[o]}}", "versions", "values", version_new(p));
}

static void get_v3(Pocket *p, const PocketCall *c, PocketReply *r)
{
    (void)c;
    r->status = 200;
    r->json = json_make_new("{s:o}", "version", version_new(p));
}

#define GRANT "/v3/projects/{project}/users/{user}/roles/{role}"
#define CREDENTIALS "/v3/users/{user}/application_credentials"

const PocketRoute keystone_routes[] = {
    {"GET", "/", NEED_NOTHING, get_versions},
    {"GET", "/v3", NEED_NOTHING, get_v3},
    {"POST", "/v3/auth/tokens", NEED_NOTHING, ks_token_post},
    {"GET", "/v3/auth/tokens", NEED_TOKEN, ks_token_get},
    {"DELETE", "/v3/auth/tokens", NEED_TOKEN, ks_token_delete},
    {"GET", "/v3/auth/catalog", NEED_TOKEN, ks_catalog_get},
    {"GET", "/v3/auth/projects", NEED_TOKEN, ks_auth_projects},
    {"GET", "/v3/users", NEED_TOKEN, ks_user_list},
    {"POST", "/v3/users", NEED_TOKEN, ks_user_post},
    {"GET", "/v3/users/{user}", NEED_TOKEN, ks_user_get},
    {"PATCH", "/v3/users/{user}", NEED_TOKEN, ks_user_patch},
    {"DELETE", "/v3/users/{user}", NEED_TOKEN, ks_user_delete},
    {"POST", "/v3/users/{user}/password", NEED_NOTHING, ks_user_password},
    {"GET", "/v3/users/{user}/projects", NEED_TOKEN, ks_user_projects},
    {"GET", CREDENTIALS, NEED_TOKEN, ks_credential_list},
    {"POST", CREDENTIALS, NEED_TOKEN, ks_credential_post},
    {"GET", CREDENTIALS "/{id}", NEED_TOKEN, ks_credential_get},
    {"DELETE", CREDENTIALS "/{id}", NEED_TOKEN, ks_credential_delete},
    {"GET", "/v3/domains", NEED_TOKEN, ks_domain_list},
    {"POST", "/v3/domains", NEED_TOKEN, ks_domain_post},
    {"GET", "/v3/domains/{domain}", NEED_TOKEN, ks_domain_get},
    {"GET", "/v3/projects", NEED_TOKEN, ks_project_list},
    {"POST", "/v3/projects", NEED_TOKEN, ks_project_post},
    {"GET", "/v3/projects/{project}", NEED_TOKEN, ks_project_get},
    {"PATCH", "/v3/projects/{project}", NEED_TOKEN, ks_project_patch},
    {"DELETE", "/v3/projects/{project}", NEED_TOKEN, ks_project_delete},
    {"GET", "/v3/roles", NEED_TOKEN, ks_role_list},
    {"POST", "/v3/roles", NEED_TOKEN, ks_role_post},
    {"GET", "/v3/roles/{role}", NEED_TOKEN, ks_role_get},
    {"DELETE", "/v3/roles/{role}", NEED_TOKEN, ks_role_delete},
    {"GET", "/v3/projects/{project}/users/{user}/roles", NEED_TOKEN, ks_grant_list},
    {"PUT", GRANT, NEED_TOKEN, ks_grant_put},
    {"DELETE", GRANT, NEED_TOKEN, ks_grant_delete},
    {"HEAD", GRANT, NEED_TOKEN, ks_grant_head},
    {"GET", GRANT, NEED_TOKEN, ks_grant_head},
    {"GET", "/v3/role_assignments", NEED_TOKEN, ks_assignment_list},
    {0},
};

bool ks_admin(const PocketCall *c)
{
    return pocket_has_role(c->user, "admin");
}

bool ks_manages(const PocketCall *c, const char *domain_id)
{
    if (ks_admin(c))
        return true;
    const Caller *caller = caller_of(c);
    return pocket_has_role(c->user, "manager") && streq(caller->project_domain_id, domain_id);
}

bool ks_is_self(const PocketCall *c, const char *user_id)
{
    return c->user && streq(c->user->user_id, user_id);
}

void ks_forbidden(PocketReply *r, const char *action)
{
    pocket_fail(POCKET_KEYSTONE, r, 403, NULL,
                "You are not authorized to perform the requested action: %s.", action);
}

void ks_missing(PocketReply *r, const char *kind, const char *id)
{
    pocket_fail(POCKET_KEYSTONE, r, 404, NULL, "Could not find %s: %s.", kind, id);
}

void ks_unauthorized(const Pocket *p, PocketReply *r)
{
    pocket_fail(POCKET_KEYSTONE, r, 401, NULL,
                "The request you have made requires authentication.");
    _cleanup_free_ char *url = pocket_url(p, POCKET_KEYSTONE);
    strlist_addf(&r->headers, "WWW-Authenticate: Keystone uri=\"%s/v3\"", url);
}

static void add_self(Pocket *p, json_t *row, const char *path)
{
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    _cleanup_free_ char *href = xasprintf("%s/v3/%s/%s", base, path, json_str_or(row, "id", ""));
    json_object_set_new(row, "links", json_make_new("{s:s}", "self", href));
}

void ks_one(Pocket *p, PocketReply *r, int status, const char *singular, const char *path,
            json_t *row)
{
    add_self(p, row, path);
    r->status = status;
    r->json = json_make_new("{s:o}", singular, row);
}

void ks_list(Pocket *p, const PocketCall *c, PocketReply *r, const char *plural, json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (!json_object_get(row, "links"))
            add_self(p, row, plural);
    }
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    _cleanup_free_ char *self = xasprintf("%s%s", base, c->path);
    r->status = 200;
    r->json = json_make_new("{s:o,s:{s:n,s:s,s:n}}", plural, rows, "links", "next", "self", self,
                            "previous");
}

json_t *ks_filter_new(const PocketCall *c, json_t *rows_taken, const char *name, const char *key)
{
    const char *want = pocket_query(c, name);
    if (!want)
        return rows_taken;
    json_t *kept = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows_taken, i, row) {
        const json_t *v = json_object_get(row, key);
        bool fits = json_is_boolean(v)
                        ? (strcasecmp(want, "false") != 0 && !streq(want, "0")) == json_is_true(v)
                        : streq(json_string_value(v), want);
        if (fits)
            json_array_append(kept, row);
    }
    json_decref(rows_taken);
    return kept;
}

void ks_imply(StrList *names)
{
    static const struct {
        const char *role, *implied;
    } rows[] = {
        {"admin", "manager"}, {"admin", "member"}, {"manager", "reader"}, {"member", "reader"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strlist_has(names, rows[i].role) && !strlist_has(names, rows[i].implied))
            strlist_add(names, rows[i].implied);
}

void ks_roles(Pocket *p, const char *user_id, const char *project_id, bool implied,
              StrList *ret_names)
{
    _cleanup_json_ json_t *rows = store_list_new(p->store, "assignment", project_id);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (!streq(json_str(row, "user_id"), user_id))
            continue;
        _cleanup_json_ json_t *role = store_get_new(p->store, "role", json_str(row, "role_id"));
        if (role)
            strlist_add(ret_names, json_str(role, "name"));
    }
    if (implied)
        ks_imply(ret_names);
}

json_t *ks_role_new(Pocket *p, const char *name)
{
    return store_find_new(p->store, "role", NULL, name);
}

/* Rows of a user (the project column of these kinds), all or those of one project. */
static void drop_rows(Pocket *p, const char *kind, const char *user_id, const char *project_id)
{
    _cleanup_json_ json_t *rows = store_list_new(p->store, kind, user_id);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (!project_id || streq(json_str(row, "project_id"), project_id))
            store_delete(p->store, kind, json_str(row, "id"));
    }
}

void ks_drop_tokens(Pocket *p, const char *user_id, const char *project_id)
{
    drop_rows(p, "token", user_id, project_id);
}

void ks_drop_credentials(Pocket *p, const char *user_id, const char *project_id)
{
    drop_rows(p, "app_credential", user_id, project_id);
}

static void hash_of(const char *salt, const char *secret, Buf *ret_hex)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_LINE);
    buf_printf(&text, "%s:%s", salt, secret);
    crypt_hash(CRYPT_SHA256, buf_as_str(&text), ret_hex);
}

json_t *ks_hash_new(const char *secret)
{
    _cleanup_free_ char *salt = pocket_uuid(false);
    _cleanup_(buf_clear) Buf hash = BUF_INIT(128);
    hash_of(salt, secret, &hash);
    return json_make_new("{s:s,s:s}", "salt", salt, "hash", hash.p);
}

bool ks_hash_fits(const json_t *hash, const char *secret)
{
    const char *salt = json_str(hash, "salt"), *want = json_str(hash, "hash");
    if (!salt || !want || !secret)
        return false;
    _cleanup_(buf_clear) Buf have = BUF_INIT(128);
    hash_of(salt, secret, &have);
    return crypt_equal(str_of(want), buf_as_str(&have));
}

json_t *ks_domain_new(Pocket *p, const json_t *by)
{
    const char *id = json_str(by, "id"), *name = json_str(by, "name");
    if (id)
        return store_get_new(p->store, "domain", id);
    _cleanup_json_ json_t *rows = store_list_new(p->store, "domain", NULL);
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (name && strcasecmp(json_str(row, "name"), name) == 0)
            return json_incref(row);
    }
    return NULL;
}

/* By {"id"} or by {"name", "domain": {...}}; the project column of users and projects is their
 * domain. */
static json_t *named_new(Pocket *p, const char *kind, const json_t *by)
{
    const char *id = json_str(by, "id"), *name = json_str(by, "name");
    if (id)
        return store_get_new(p->store, kind, id);
    _cleanup_json_ json_t *domain = ks_domain_new(p, json_object_get(by, "domain"));
    if (!domain || !name)
        return NULL;
    return store_find_new(p->store, kind, json_str(domain, "id"), name);
}

json_t *ks_user_new(Pocket *p, const json_t *by)
{
    return named_new(p, "user", by);
}

json_t *ks_project_new(Pocket *p, const json_t *by)
{
    return named_new(p, "project", by);
}
