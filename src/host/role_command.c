/* A command of an operator's (host/ask.h), as one of a role's own services would be run. */
#include "host/role.h"

/* Of a server with several roles: whose command it is when nobody says. */
static const Role order[] = {ROLE_WEB,   ROLE_WORKER, ROLE_STREAM, ROLE_POSTGRES,
                             ROLE_REDIS, ROLE_SEARCH, ROLE_EDGE,   ROLE_CONTROL};

static int find_role(const json_t *spec, const char *name, Role *ret, Err *err)
{
    const json_t *roles = json_object_get(spec, "roles");

    if (*name) {
        if (role_parse(name, ret) && json_list_has(roles, name))
            return 0;
        return err_set(err, ERR_NOT_FOUND, "this server does not have the role %s", name);
    }
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (json_list_has(roles, role_rows[order[i]].name)) {
            *ret = order[i];
            return 0;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "this server has no role");
}

/* `psql` finds its server by it. */
static int add_socket(const RoleContext *c, Service *s, Err *err)
{
    _cleanup_(services_clear) Services all = {0};

    int r = role_postgres(c, &all, err);
    for (size_t i = 0; i < all.len; i++)
        if (all.items[i].health == HEALTH_POSTGRES)
            strlist_addf(&s->env, "PGHOST=%s", all.items[i].health_path);
    strlist_add(&s->env, "PGUSER=postgres");
    return r;
}

/* `redis-cli` takes it from there. */
static int add_password(const RoleContext *c, Service *s, Err *err)
{
    const Secret *password;

    int r = role_secret(c, "redis_password", &password, err);
    if (r == 0)
        strlist_addf(&s->env, "REDISCLI_AUTH=%s", secret_expose(password).p);
    return r;
}

static int fill(const RoleContext *c, Role role, Service *s, Err *err)
{
    int r = 0;

    if (role == ROLE_WEB || role == ROLE_WORKER) {
        r = app_service(c, json_object_get(c->spec, "release"), role_rows[role].name, s, err);
        strlist_clear(&s->argv); /* the operator's own words alone */
    } else {
        _cleanup_free_ char *home = role_path(c, s->name, "");
        role_plain_env(s);
        strlist_addf(&s->env, "HOME=%s", home);
    }
    if (r == 0 && role == ROLE_POSTGRES)
        r = add_socket(c, s, err);
    if (r == 0 && role == ROLE_REDIS)
        r = add_password(c, s, err);
    strlist_addf(&s->env, "ATOLL_ADDRESS=%s", c->paths->address);
    return r;
}

int role_command(const json_t *spec, const Vault *secrets, const HostPaths *p, const char *role,
                 const StrList *argv, Service *ret, Err *err)
{
    RoleContext c = {.spec = spec, .secrets = secrets, .paths = p};
    Role which;

    BUG_IF(!p->address || !p->data);
    int r = find_role(spec, role, &which, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *name = xasprintf("exec-%s", role_rows[which].name);
    Service s = role_service(&c, which, name);
    r = fill(&c, which, &s, err);
    if (r < 0) {
        service_clear(&s);
        return r;
    }
    for (size_t i = 0; i < argv->len; i++)
        strlist_add(&s.argv, argv->items[i]);
    *ret = s;
    return 0;
}
