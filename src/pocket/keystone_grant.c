/* Roles and who has them. Shapes: Identity API v3, "Roles". */
#include "pocket/keystone_rows.h"

static json_t *role_view_new(const json_t *row)
{
    return json_make_new("{s:s,s:s,s:n,s:n,s:{}}", "id", json_str_or(row, "id", ""), "name",
                         json_str_or(row, "name", ""), "domain_id", "description", "options");
}

void ks_role_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    if (!ks_manages(c, DEFAULT_DOMAIN)) {
        ks_forbidden(r, "identity:list_roles");
        return;
    }
    json_t *rows = ks_filter_new(c, store_list_new(p->store, "role", NULL), "name", "name");
    json_t *views = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        json_array_append_new(views, role_view_new(row));
    }
    json_decref(rows);
    ks_list(p, c, r, "roles", views);
}

void ks_role_get(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *id = c->args.items[0];
    if (!ks_manages(c, DEFAULT_DOMAIN)) {
        ks_forbidden(r, "identity:get_role");
        return;
    }
    _cleanup_json_ json_t *row = store_get_new(p->store, "role", id);
    if (row)
        ks_one(p, r, 200, "role", "roles", role_view_new(row));
    else
        ks_missing(r, "role", id);
}

void ks_role_post(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *name = json_str(c->body, "role.name");
    if (!ks_admin(c)) {
        ks_forbidden(r, "identity:create_role");
        return;
    }
    _cleanup_json_ json_t *there = name ? ks_role_new(p, name) : NULL;
    if (!name || there) {
        pocket_fail(POCKET_KEYSTONE, r, name ? 409 : 400, NULL,
                    name ? "Conflict occurred attempting to store role - Duplicate entry."
                         : "'name' is a required property");
        return;
    }
    _cleanup_free_ char *id = pocket_uuid(false);
    _cleanup_json_ json_t *row = json_make_new("{s:s,s:s}", "id", id, "name", name);
    store_put(p->store, "role", NULL, name, row);
    ks_one(p, r, 201, "role", "roles", role_view_new(row));
}

void ks_role_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *id = c->args.items[0];
    if (!ks_admin(c)) {
        ks_forbidden(r, "identity:delete_role");
        return;
    }
    _cleanup_json_ json_t *grants = store_list_new(p->store, "assignment", NULL);
    size_t i;
    json_t *grant;
    json_array_foreach (grants, i, grant) {
        if (streq(json_str(grant, "role_id"), id))
            store_delete(p->store, "assignment", json_str(grant, "id"));
    }
    if (store_delete(p->store, "role", id))
        r->status = 204;
    else
        ks_missing(r, "role", id);
}

/* The three things a grant is made of, all there and the caller allowed; false: reply filled. */
typedef struct Grant {
    json_t *project, *user, *role;
    char *id;
} Grant;

static void grant_clear(Grant *g)
{
    json_decref(g->project);
    json_decref(g->user);
    json_decref(g->role);
    free(g->id);
}
DEFINE_CLEAR(Grant, grant_clear)

static bool grant_find(Pocket *p, const PocketCall *c, PocketReply *r, const char *action, Grant *g)
{
    const char *project = c->args.items[0], *user = c->args.items[1], *role = c->args.items[2];
    g->project = store_get_new(p->store, "project", project);
    g->user = store_get_new(p->store, "user", user);
    g->role = store_get_new(p->store, "role", role);
    bool manages = ks_manages(c, g->project ? json_str(g->project, "domain_id") : DEFAULT_DOMAIN);
    /* A domain manager hands out any role but the one above it. */
    bool too_high = g->role && streq(json_str(g->role, "name"), "admin") && !ks_admin(c);
    if (!manages || too_high)
        ks_forbidden(r, action);
    else if (!g->project)
        ks_missing(r, "project", project);
    else if (!g->user)
        ks_missing(r, "user", user);
    else if (!g->role)
        ks_missing(r, "role", role);
    else
        g->id = xasprintf("%s:%s:%s", user, project, role);
    return g->id;
}

void ks_grant_put(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_(grant_clear) Grant g = {0};
    if (!grant_find(p, c, r, "identity:create_grant", &g))
        return;
    _cleanup_json_ json_t *row =
        json_make_new("{s:s,s:s,s:s,s:s}", "id", g.id, "user_id", json_str(g.user, "id"),
                      "project_id", json_str(g.project, "id"), "role_id", json_str(g.role, "id"));
    store_put(p->store, "assignment", json_str(g.project, "id"), json_str(g.user, "id"), row);
    r->status = 204;
}

static void no_grant(const PocketCall *c, PocketReply *r)
{
    pocket_fail(POCKET_KEYSTONE, r, 404, NULL,
                "Could not find role assignment with role: %s, user or group: %s, project, domain, "
                "or system: %s.",
                c->args.items[2], c->args.items[1], c->args.items[0]);
}

/* Taking a role away also ends what was derived from it: tokens and application credentials. */
void ks_grant_delete(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_(grant_clear) Grant g = {0};
    if (!grant_find(p, c, r, "identity:revoke_grant", &g))
        return;
    if (!store_delete(p->store, "assignment", g.id)) {
        no_grant(c, r);
        return;
    }
    ks_drop_tokens(p, json_str(g.user, "id"), json_str(g.project, "id"));
    ks_drop_credentials(p, json_str(g.user, "id"), json_str(g.project, "id"));
    r->status = 204;
}

void ks_grant_head(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_(grant_clear) Grant g = {0};
    if (!grant_find(p, c, r, "identity:check_grant", &g))
        return;
    _cleanup_json_ json_t *row = store_get_new(p->store, "assignment", g.id);
    if (row)
        r->status = 204;
    else
        no_grant(c, r);
}

void ks_grant_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const char *project = c->args.items[0], *user = c->args.items[1];
    _cleanup_json_ json_t *row = store_get_new(p->store, "project", project);
    if (!ks_manages(c, row ? json_str(row, "domain_id") : DEFAULT_DOMAIN)) {
        ks_forbidden(r, "identity:list_grants");
        return;
    }
    StrList names = {0};
    ks_roles(p, user, project, false, &names);
    json_t *views = json_array();
    for (size_t i = 0; i < names.len; i++) {
        _cleanup_json_ json_t *role = ks_role_new(p, names.items[i]);
        json_array_append_new(views, role_view_new(role));
    }
    strlist_clear(&names);
    ks_list(p, c, r, "roles", views);
}

/* {"id"}, with {"name", "domain"} if names are wanted. */
static json_t *party_new(Pocket *p, const char *kind, const char *id, bool names)
{
    json_t *v = json_make_new("{s:s}", "id", id);
    if (!names)
        return v;
    _cleanup_json_ json_t *row = store_get_new(p->store, kind, id);
    json_object_set_new(v, "name", json_string(json_str_or(row, "name", "")));
    const char *domain_id = json_str(row, "domain_id");
    if (domain_id) {
        _cleanup_json_ json_t *domain = store_get_new(p->store, "domain", domain_id);
        json_object_set_new(
            v, "domain",
            json_make_new("{s:s,s:s}", "id", domain_id, "name", json_str_or(domain, "name", "")));
    }
    return v;
}

static void add_assignment(Pocket *p, json_t *list, const json_t *row, const char *role_id,
                           bool names)
{
    const char *user = json_str(row, "user_id"), *project = json_str(row, "project_id");
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    _cleanup_free_ char *href =
        xasprintf("%s/v3/projects/%s/users/%s/roles/%s", base, project, user, role_id);
    json_array_append_new(list, json_make_new("{s:o,s:o,s:{s:o},s:{s:s}}", "role",
                                              party_new(p, "role", role_id, names), "user",
                                              party_new(p, "user", user, names), "scope", "project",
                                              party_new(p, "project", project, names), "links",
                                              "assignment", href));
}

static void add_with_implied(Pocket *p, json_t *list, const json_t *row, const char *role_filter,
                             bool effective, bool names)
{
    const char *own = json_str(row, "role_id");
    if (!effective) {
        if (!role_filter || streq(role_filter, own))
            add_assignment(p, list, row, own, names);
        return;
    }
    _cleanup_json_ json_t *role = store_get_new(p->store, "role", own);
    StrList all = {0};
    strlist_add(&all, json_str_or(role, "name", ""));
    ks_imply(&all);
    for (size_t i = 0; i < all.len; i++) {
        _cleanup_json_ json_t *r = ks_role_new(p, all.items[i]);
        const char *id = json_str(r, "id");
        if (id && (!role_filter || streq(role_filter, id)))
            add_assignment(p, list, row, id, names);
    }
    strlist_clear(&all);
}

/* A flag of a query is set by its bare name too. */
static bool flag(const PocketCall *c, const char *name)
{
    const char *v = pocket_query(c, name);
    return v && strcasecmp(v, "false") != 0 && !streq(v, "0");
}

void ks_assignment_list(Pocket *p, const PocketCall *c, PocketReply *r)
{
    const Caller *caller = caller_of(c);
    if (!ks_manages(c, caller->project_domain_id)) {
        ks_forbidden(r, "identity:list_role_assignments");
        return;
    }
    const char *user = pocket_query(c, "user.id"), *role = pocket_query(c, "role.id");
    json_t *rows = store_list_new(p->store, "assignment", pocket_query(c, "scope.project.id"));
    json_t *list = json_array();
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        if (!user || streq(user, json_str(row, "user_id")))
            add_with_implied(p, list, row, role, flag(c, "effective"), flag(c, "include_names"));
    }
    json_decref(rows);
    _cleanup_free_ char *base = pocket_url(p, POCKET_KEYSTONE);
    _cleanup_free_ char *self = xasprintf("%s/v3/role_assignments", base);
    r->status = 200;
    r->json = json_make_new("{s:o,s:{s:n,s:s,s:n}}", "role_assignments", list, "links", "next",
                            "self", self, "previous");
}
