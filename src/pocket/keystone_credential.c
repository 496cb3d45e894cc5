/* Application credentials. Shapes: Identity API v3, "Application Credentials". The client may
 * choose the secret; access rules are stored and enforced for every service. */
#include "io/crypt.h"
#include "pocket/keystone_rows.h"

static void refuse(PocketReply *r, const char *detail)
{
    pocket_fail(POCKET_KEYSTONE, r, 400, NULL, "Invalid application credential: %s", detail);
}

/* The user of the path is the caller, or the caller is admin and only looks. */
static bool may_look(const PocketCall *c, PocketReply *r, const char *action)
{
    if (ks_is_self(c, c->args.items[0]) || ks_admin(c))
        return true;
    ks_forbidden(r, action);
    return false;
}

static bool may_change(const PocketCall *c, PocketReply *r, const char *action)
{
    if (!ks_is_self(c, c->args.items[0])) {
        ks_forbidden(r, action);
        return false;
    }
    if (c->user->application_credential && !c->user->unrestricted) {
        ks_forbidden(r, "Using method 'application_credential' is not allowed for managing "
                        "additional application credentials");
        return false;
    }
    return true;
}

static json_t *view_new(Pocket *p, const json_t *row, const char *secret)
{
    json_t *v = json_deep_copy(row);
    json_object_del(v, "secret_hash");
    json_object_del(v, "role_names");
    json_t *roles = json_array();
    size_t i;
    json_t *name;
    json_array_foreach (json_object_get(row, "role_names"), i, name) {
        _cleanup_json_ json_t *role = ks_role_new(p, json_string_value(name));
        json_array_append_new(roles,
                              json_make_new("{s:s,s:s,s:n}", "id", json_str_or(role, "id", ""),
                                            "name", json_string_value(name), "domain_id"));
    }
    json_object_set_new(v, "roles", roles);
    if (secret)
        json_object_set_new(v, "secret", json_string(secret));
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    _cleanup_free_ char *href = xasprintf("%s/v3/users/%s/application_credentials/%s", base,
                                          json_str(row, "user_id"), json_str(row, "id"));
    json_object_set_new(v, "links", json_make_new("{s:s}", "self", href));
    return v;
}

void ks_credential_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!may_look(c, r, "identity:list_application_credentials"))
        return;
    json_t *rows = store_list_new(p->store, "app_credential", c->args.items[0]);
    rows = ks_filter_new(c, rows, "name", "name");
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        json_array_append_new(views, view_new(p, row, NULL));
    }
    json_decref(rows);
    ks_list(p, c, r, "application_credentials", views);
}

static json_t *find_new(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *row = store_get_new(p->store, "app_credential", c->args.items[1]);
    if (row && streq(json_str(row, "user_id"), c->args.items[0]))
        return row;
    json_decref(row);
    ks_missing(r, "application credential", c->args.items[1]);
    return NULL;
}

void ks_credential_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!may_look(c, r, "identity:get_application_credential"))
        return;
    _cleanup_json_ json_t *row = find_new(p, c, r);
    if (!row)
        return;
    r->status = 200;
    r->json = json_make_new("{s:o}", "application_credential", view_new(p, row, NULL));
}

void ks_credential_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!may_change(c, r, "identity:delete_application_credential"))
        return;
    _cleanup_json_ json_t *row = find_new(p, c, r);
    if (!row)
        return;
    store_delete(p->store, "app_credential", json_str(row, "id"));
    r->status = 204;
}

/* The roles asked for (by id or name), each one the caller has; without any, all he has. NULL:
 * refused. */
static json_t *wanted_roles_new(Pocket *p, const PocketCall *c, const json_t *wanted,
                                PocketReply *r)
{
    if (json_array_size(wanted) == 0)
        return json_list_new(&c->user->roles);
    json_t *names = json_array();
    size_t i;
    json_t *want;
    json_array_foreach (wanted, i, want) {
        const char *id = json_str(want, "id"), *name = json_str(want, "name");
        _cleanup_json_ json_t *role = id     ? store_get_new(p->store, "role", id)
                                      : name ? ks_role_new(p, name)
                                             : NULL;
        if (!role || !pocket_has_role(c->user, json_str(role, "name"))) {
            _cleanup_free_ char *why =
                xasprintf("Could not find role assignment with role: %s, user or group: %s, "
                          "project, domain, or system: %s.",
                          id     ? id
                          : name ? name
                                 : "",
                          c->user->user_id, c->user->project_id ? c->user->project_id : "");
            refuse(r, why);
            json_decref(names);
            return NULL;
        }
        json_array_append(names, json_object_get(role, "name"));
    }
    return names;
}

/* Each rule with service, method and path, and an id of its own. NULL: refused. */
static json_t *access_rules_new(const json_t *rules, PocketReply *r)
{
    json_t *out = json_array();
    size_t i;
    json_t *rule;
    json_array_foreach (rules, i, rule) {
        const char *service = json_str(rule, "service"), *method = json_str(rule, "method");
        const char *path = json_str(rule, "path");
        if (!service || !method || !path || path[0] != '/') {
            refuse(r, "an access rule needs service, method and path.");
            json_decref(out);
            return NULL;
        }
        _cleanup_free_ char *id = pocket_uuid(false);
        json_array_append_new(out, json_make_new("{s:s,s:s,s:s,s:s}", "id", id, "service", service,
                                                 "method", method, "path", path));
    }
    return out;
}

/* Everything but roles and rules that can be wrong; false: refused. */
static bool check(Pocket *p, const PocketCall *c, const json_t *in, PocketReply *r)
{
    const char *name = json_str(in, "name"), *until = json_str(in, "expires_at");
    if (!name || !*name) {
        pocket_fail(POCKET_KEYSTONE, r, 400, NULL, "'name' is a required property");
        return false;
    }
    Msec expires;
    if (until && (!time_parse(until, &expires) || expires <= p->now())) {
        pocket_fail(POCKET_KEYSTONE, r, 400, NULL,
                    "The 'expires_at' must not be before now. The server could not comply with "
                    "the request since it is either malformed or otherwise incorrect. The client "
                    "is assumed to be in error.");
        return false;
    }
    _cleanup_json_ json_t *there =
        store_find_new(p->store, "app_credential", c->user->user_id, name);
    if (there)
        pocket_fail(POCKET_KEYSTONE, r, 409, NULL,
                    "Conflict occurred attempting to store application_credential - Duplicate "
                    "entry found with name %s.",
                    name);
    return !there;
}

/* What was not said stays null, which means no. */
static json_t *unrestricted_new(const json_t *in)
{
    json_t *v = json_object_get(in, "unrestricted");
    return json_is_boolean(v) ? json_incref(v) : json_null();
}

void ks_credential_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "application_credential");
    if (!may_change(c, r, "identity:create_application_credential") || !check(p, c, in, r))
        return;
    json_t *roles = wanted_roles_new(p, c, json_object_get(in, "roles"), r);
    json_t *wanted_rules = json_object_get(in, "access_rules");
    json_t *rules = roles && wanted_rules ? access_rules_new(wanted_rules, r) : NULL;
    if (!roles || (wanted_rules && !rules)) {
        json_decref(roles);
        return;
    }
    _cleanup_secret_ Secret *made = crypt_password_new(64);
    const char *secret = json_str_or(in, "secret", secret_expose(made).p);
    _cleanup_free_ char *id = pocket_uuid(false);
    _cleanup_json_ json_t *row = json_make_new(
        "{s:s,s:s,s:s?,s:s,s:s?,s:o,s:s?,s:o,s:n,s:o}", "id", id, "name", json_str(in, "name"),
        "description", json_str(in, "description"), "user_id", c->user->user_id, "project_id",
        c->user->project_id, "role_names", roles, "expires_at", json_str(in, "expires_at"),
        "unrestricted", unrestricted_new(in), "system", "secret_hash", ks_hash_new(secret));
    if (rules)
        json_object_set_new(row, "access_rules", rules);
    store_put(p->store, "app_credential", c->user->user_id, json_str(in, "name"), row);
    r->status = 201;
    r->json = json_make_new("{s:o}", "application_credential", view_new(p, row, secret));
}
