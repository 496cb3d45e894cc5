/* Users, projects and domains. Shapes: Identity API v3. */
#include "pocket/keystone_rows.h"

/* Keys of a user's row that the outside never sees. */
static const char *const user_hidden[] = {"password", NULL};
/* What a client may set besides name, enabled and password. */
static const char *const user_extra[] = {"description", "email", "default_project_id", "options",
                                         NULL};

json_t *ks_user_view_new(const json_t *user)
{
    json_t *v = json_deep_copy(user);
    for (size_t i = 0; user_hidden[i]; i++)
        json_object_del(v, user_hidden[i]);
    json_object_set_new(v, "password_expires_at", json_null());
    if (!json_object_get(v, "options"))
        json_object_set_new(v, "options", json_object());
    return v;
}

static void put_user(Pocket *p, const json_t *row)
{
    store_put(p->store, "user", json_str(row, "domain_id"), json_str(row, "name"), row);
}

json_t *ks_add_user(Pocket *p, const char *name, const char *domain_id, const char *password)
{
    _cleanup_free_ char *id = pocket_uuid(false);
    json_t *row = json_make_new("{s:s,s:s,s:s,s:b}", "id", id, "name", name, "domain_id", domain_id,
                                "enabled", 1);
    if (password)
        json_object_set_new(row, "password", ks_hash_new(password));
    put_user(p, row);
    return row;
}

/* The user of the path whom the caller manages (or is, if `self`); NULL: the reply is filled. A
 * manager has no say over a user who is admin somewhere: that would make the manager one. */
static json_t *managed_user_new(Pocket *p, const PocketCall *c, PocketReply *r, const char *action,
                                bool self)
{
    const char *id = c->args.items[0];
    json_t *user = store_get_new(p->store, "user", id);
    bool own = self && ks_is_self(c, id);
    bool manages = ks_manages(c, user ? json_str(user, "domain_id") : DEFAULT_DOMAIN);
    if (manages && user && !own && !ks_admin(c)) {
        StrList roles = {0};
        ks_roles(p, id, NULL, false, &roles);
        manages = streq(action, "identity:get_user") || !strlist_has(&roles, "admin");
        strlist_clear(&roles);
    }
    if (!own && !manages)
        ks_forbidden(r, action);
    else if (!user)
        ks_missing(r, "user", id);
    else
        return user;
    json_decref(user);
    return NULL;
}

void ks_user_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const Caller *caller = caller_of(c);
    const char *domain = pocket_query(c, "domain_id");
    if (!domain && !ks_admin(c))
        domain = caller->project_domain_id;
    if (!ks_manages(c, domain)) {
        ks_forbidden(r, "identity:list_users");
        return;
    }
    json_t *rows = store_list_new(p->store, "user", domain);
    rows = ks_filter_new(c, rows, "name", "name");
    rows = ks_filter_new(c, rows, "enabled", "enabled");
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        json_array_append_new(views, ks_user_view_new(row));
    }
    json_decref(rows);
    ks_list(p, c, r, "users", views);
}

void ks_user_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *user = managed_user_new(p, c, r, "identity:get_user", true);
    if (user)
        ks_one(p, r, 200, "user", "users", ks_user_view_new(user));
    json_decref(user);
}

static void copy_extra(json_t *row, const json_t *from)
{
    for (size_t i = 0; user_extra[i]; i++) {
        json_t *v = json_object_get(from, user_extra[i]);
        if (v)
            json_object_set(row, user_extra[i], v);
    }
}

void ks_user_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "user");
    const char *name = json_str(in, "name"), *password = json_str(in, "password");
    const Caller *caller = caller_of(c);
    const char *domain = json_str(in, "domain_id");
    if (!domain)
        domain = caller->project_domain_id ? caller->project_domain_id : DEFAULT_DOMAIN;
    if (!ks_manages(c, domain)) {
        ks_forbidden(r, "identity:create_user");
        return;
    }
    if (!name || !*name) {
        pocket_fail(POCKET_KEYSTONE, r, 400, NULL, "'name' is a required property");
        return;
    }
    _cleanup_json_ json_t *known = store_get_new(p->store, "domain", domain);
    _cleanup_json_ json_t *there = store_find_new(p->store, "user", domain, name);
    if (!known) {
        ks_missing(r, "domain", domain);
    } else if (there) {
        pocket_fail(POCKET_KEYSTONE, r, 409, NULL,
                    "Conflict occurred attempting to store user - Duplicate entry found with name "
                    "%s at domain ID %s.",
                    name, domain);
    } else {
        _cleanup_json_ json_t *row = ks_add_user(p, name, domain, password);
        json_object_set_new(row, "enabled", json_boolean(json_bool(in, "enabled", true)));
        copy_extra(row, in);
        put_user(p, row);
        ks_one(p, r, 201, "user", "users", ks_user_view_new(row));
    }
}

void ks_user_patch(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = managed_user_new(p, c, r, "identity:update_user", false);
    if (!row)
        return;
    const json_t *in = json_object_get(c->body, "user");
    const char *name = json_str(in, "name"), *password = json_str(in, "password");
    if (name)
        json_object_set_new(row, "name", json_string(name));
    json_object_set_new(row, "enabled",
                        json_boolean(json_bool(in, "enabled", json_bool(row, "enabled", true))));
    copy_extra(row, in);
    if (password) {
        json_object_set_new(row, "password", ks_hash_new(password));
        ks_drop_tokens(p, json_str(row, "id"), NULL);
    }
    put_user(p, row);
    ks_one(p, r, 200, "user", "users", ks_user_view_new(row));
}

void ks_user_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *row = managed_user_new(p, c, r, "identity:delete_user", false);
    if (!row)
        return;
    const char *id = json_str(row, "id");
    ks_drop_tokens(p, id, NULL);
    ks_drop_credentials(p, id, NULL);
    _cleanup_json_ json_t *grants = store_list_new(p->store, "assignment", NULL);
    size_t i;
    json_t *grant;
    json_array_foreach (grants, i, grant) {
        if (streq(json_str(grant, "user_id"), id))
            store_delete(p->store, "assignment", json_str(grant, "id"));
    }
    store_delete(p->store, "user", id);
    r->status = 204;
}

/* A user changes his own password: needs no token, only the old one. */
void ks_user_password(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "user");
    const char *old = json_str(in, "original_password"), *password = json_str(in, "password");
    _cleanup_json_ json_t *row = store_get_new(p->store, "user", c->args.items[0]);
    if (!row || !json_bool(row, "enabled", true) ||
        !ks_hash_fits(json_object_get(row, "password"), old)) {
        ks_unauthorized(p, r);
    } else if (json_bool(row, "options.lock_password", false)) {
        pocket_fail(POCKET_KEYSTONE, r, 400, NULL,
                    "You cannot change your password at this time due to password policy "
                    "disallowing password changes. Please contact your administrator to reset "
                    "your password.");
    } else if (!password || !*password) {
        pocket_fail(POCKET_KEYSTONE, r, 400, NULL, "'password' is a required property");
    } else {
        json_object_set_new(row, "password", ks_hash_new(password));
        put_user(p, row);
        ks_drop_tokens(p, json_str(row, "id"), NULL);
        r->status = 204;
    }
}

/* The projects on which a user has a role. */
static json_t *projects_of_new(Pocket *p, const char *user_id)
{
    json_t *list = json_array();
    _cleanup_json_ json_t *projects = store_list_new(p->store, "project", NULL);
    size_t i;
    json_t *project;
    json_array_foreach (projects, i, project) {
        StrList roles = {0};
        ks_roles(p, user_id, json_str(project, "id"), false, &roles);
        if (roles.len > 0)
            json_array_append(list, project);
        strlist_clear(&roles);
    }
    return list;
}

void ks_auth_projects(Pocket *p, const PocketCall *c, PocketReply *r)
{
    ks_list(p, c, r, "projects", projects_of_new(p, c->user->user_id));
}

void ks_user_projects(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *user = managed_user_new(p, c, r, "identity:list_user_projects", true);
    if (user)
        ks_list(p, c, r, "projects", projects_of_new(p, json_str(user, "id")));
    json_decref(user);
}

void ks_domain_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    json_t *rows = ks_filter_new(c, store_list_new(p->store, "domain", NULL), "name", "name");
    if (ks_manages(c, DEFAULT_DOMAIN)) {
        ks_list(p, c, r, "domains", rows);
        return;
    }
    json_decref(rows);
    ks_forbidden(r, "identity:list_domains");
}

void ks_domain_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *id = c->args.items[0];
    const Caller *caller = caller_of(c);
    if (!ks_admin(c) && !streq(caller->project_domain_id, id)) {
        ks_forbidden(r, "identity:get_domain");
        return;
    }
    json_t *row = store_get_new(p->store, "domain", id);
    if (row)
        ks_one(p, r, 200, "domain", "domains", row);
    else
        ks_missing(r, "domain", id);
}

/* Domains and projects are made by the admin alone, and have a name. */
static bool admin_names(const PocketCall *c, PocketReply *r, const char *policy, const char *name)
{
    if (!ks_admin(c))
        ks_forbidden(r, policy);
    else if (!name || !*name)
        pocket_fail(POCKET_KEYSTONE, r, 400, NULL, "'name' is a required property");
    else
        return true;
    return false;
}

void ks_domain_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "domain");
    const char *name = json_str(in, "name");
    if (!admin_names(c, r, "identity:create_domain", name))
        return;
    _cleanup_json_ json_t *there = store_find_new(p->store, "domain", NULL, name);
    if (there) {
        pocket_fail(POCKET_KEYSTONE, r, 409, NULL,
                    "Conflict occurred attempting to store domain - Duplicate entry found with "
                    "name %s.",
                    name);
        return;
    }
    _cleanup_free_ char *id = pocket_uuid(false);
    json_t *row = json_make_new("{s:s,s:s,s:b,s:s}", "id", id, "name", name, "enabled",
                                json_bool(in, "enabled", true), "description",
                                json_str_or(in, "description", ""));
    store_put(p->store, "domain", NULL, name, row);
    ks_one(p, r, 201, "domain", "domains", row);
}

void ks_project_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const Caller *caller = caller_of(c);
    const char *domain = pocket_query(c, "domain_id");
    if (!domain && !ks_admin(c))
        domain = caller->project_domain_id;
    if (!ks_manages(c, domain)) {
        ks_forbidden(r, "identity:list_projects");
        return;
    }
    json_t *rows = store_list_new(p->store, "project", domain);
    ks_list(p, c, r, "projects", ks_filter_new(c, rows, "name", "name"));
}

void ks_project_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *id = c->args.items[0];
    json_t *row = store_get_new(p->store, "project", id);
    bool own = streq(c->user->project_id, id);
    if (!own && !ks_manages(c, row ? json_str(row, "domain_id") : NULL)) {
        ks_forbidden(r, "identity:get_project");
    } else if (!row) {
        ks_missing(r, "project", id);
    } else {
        ks_one(p, r, 200, "project", "projects", json_incref(row));
    }
    json_decref(row);
}

void ks_project_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const json_t *in = json_object_get(c->body, "project");
    const char *name = json_str(in, "name");
    const char *domain = json_str_or(in, "domain_id", DEFAULT_DOMAIN);
    if (!admin_names(c, r, "identity:create_project", name))
        return;
    _cleanup_json_ json_t *there = store_find_new(p->store, "project", domain, name);
    if (there) {
        pocket_fail(POCKET_KEYSTONE, r, 409, NULL,
                    "Conflict occurred attempting to store project - it is not permitted to have "
                    "two projects with the same name in the same domain: %s.",
                    name);
        return;
    }
    _cleanup_free_ char *id = pocket_uuid(false);
    json_t *row = json_make_new("{s:s,s:s,s:s,s:b,s:s,s:b,s:s,s:[]}", "id", id, "name", name,
                                "domain_id", domain, "enabled", json_bool(in, "enabled", true),
                                "description", json_str_or(in, "description", ""), "is_domain", 0,
                                "parent_id", domain, "tags");
    store_put(p->store, "project", domain, name, row);
    ks_one(p, r, 201, "project", "projects", row);
}

void ks_project_patch(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *id = c->args.items[0];
    const json_t *in = json_object_get(c->body, "project");
    if (!ks_admin(c)) {
        ks_forbidden(r, "identity:update_project");
        return;
    }
    json_t *row = store_get_new(p->store, "project", id);
    if (!row) {
        ks_missing(r, "project", id);
        return;
    }
    static const char *const keys[] = {"name", "description", "enabled", NULL};
    for (size_t i = 0; keys[i]; i++) {
        json_t *v = json_object_get(in, keys[i]);
        if (v)
            json_object_set(row, keys[i], v);
    }
    store_put(p->store, "project", json_str(row, "domain_id"), json_str(row, "name"), row);
    ks_one(p, r, 200, "project", "projects", row);
}

/* What the project holds in other services stays, without an owner who can log in: as in a real
 * cloud. */
void ks_project_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *id = c->args.items[0];
    if (!ks_admin(c)) {
        ks_forbidden(r, "identity:delete_project");
        return;
    }
    _cleanup_json_ json_t *grants = store_list_new(p->store, "assignment", id);
    size_t i;
    json_t *grant;
    json_array_foreach (grants, i, grant) {
        const char *user = json_str(grant, "user_id");
        ks_drop_tokens(p, user, id);
        ks_drop_credentials(p, user, id);
        store_delete(p->store, "assignment", json_str(grant, "id"));
    }
    if (store_delete(p->store, "project", id))
        r->status = 204;
    else
        ks_missing(r, "project", id);
}
