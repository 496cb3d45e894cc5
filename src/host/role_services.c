#include "host/role.h"
#include "io/file.h"

#include <pwd.h>
#include <unistd.h>

#define PG_FOLDER "/usr/lib/postgresql"

/* In the order in which they are described: `after` names only those before it. */
static const struct {
    Role role;
    RoleFunction *function;
    bool pauses; /* it works on the database: not while that is changed for another */
} role_functions[] = {
    {ROLE_POSTGRES, role_postgres, false}, {ROLE_REDIS, role_redis, false},
    {ROLE_SEARCH, role_search, false},     {ROLE_WEB, role_prepare, true},
    {ROLE_WORKER, role_prepare, true},     {ROLE_WEB, role_web, true},
    {ROLE_STREAM, role_stream, true},      {ROLE_WORKER, role_worker, true},
    {ROLE_EDGE, role_edge, false},         {ROLE_EDGE, role_certbot, false},
    {ROLE_CONTROL, role_control, false},
};

/* The newest PostgreSQL that is installed, or NULL. */
static const char *find_postgres(void)
{
    _cleanup_(strlist_clear) StrList names = {0};
    int64_t best = 0;

    if (file_list(PG_FOLDER, &names, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < names.len; i++) {
        _cleanup_free_ char *initdb = xasprintf(PG_FOLDER "/%s/bin/initdb", names.items[i]);
        int64_t version;
        if (parse_int(names.items[i], 1, 1000, &version) && version > best && file_exists(initdb))
            best = version;
    }
    return best ? xasprintf(PG_FOLDER "/%lld/bin", (long long)best) : NULL;
}

int host_paths_find(const char *root, HostPaths *ret, Err *err)
{
    if (*root && *root != '/')
        return err_set(err, ERR_USAGE, "the root folder %s must be given from the top", root);
    *ret = (HostPaths){.root = xstrdup(root),
                       .canary = xasprintf("%s/usr/share/atoll/canary", root),
                       .pg_bin = find_postgres(),
                       .as_root = geteuid() == 0};
    return 0;
}

void host_paths_again(HostPaths *p)
{
    free((char *)(uintptr_t)p->pg_bin);
    p->pg_bin = find_postgres();
}

void host_paths_clear(HostPaths *p)
{
    free((char *)(uintptr_t)p->root);
    free((char *)(uintptr_t)p->canary);
    free((char *)(uintptr_t)p->pg_bin);
    *p = (HostPaths){0};
}

/* In percent of the server, so that they follow its flavor. The stores have no limit of memory:
 * they are the last to go when there is none left, and Mastodon's own processes, which come back by
 * themselves, the first. */
static const ServiceLimits role_limits[ROLES] = {
    [ROLE_EDGE] = {.memory_percent = 25, .tasks = 512, .files = 65536, .oom_adjust = -100},
    [ROLE_WEB] = {.memory_percent = 70, .tasks = 1024, .files = 65536, .oom_adjust = 200},
    [ROLE_STREAM] = {.memory_percent = 50, .tasks = 512, .files = 65536, .oom_adjust = 100},
    [ROLE_WORKER] = {.memory_percent = 60, .tasks = 1024, .files = 16384, .oom_adjust = 300},
    [ROLE_REDIS] = {.tasks = 256, .files = 65536, .oom_adjust = -500},
    [ROLE_POSTGRES] = {.tasks = 2048, .files = 16384, .oom_adjust = -800},
    [ROLE_SEARCH] = {.memory_percent = 80, .tasks = 4096, .files = 65536},
    [ROLE_CONTROL] = {.memory_percent = 50, .tasks = 256, .files = 4096},
};

char *role_path(const RoleContext *c, const char *service, const char *name)
{
    return xasprintf("%s/var/lib/atoll-services/%s%s%s", c->paths->root, service, *name ? "/" : "",
                     name);
}

/* On a pocket server the package is unpacked, not installed: nobody made its users. */
static char *user_new(const RoleContext *c, Role role)
{
    const char *name = role_rows[role].user;

    if (!c->paths->as_root || !name)
        return NULL;
    return xstrdup(getpwnam(name) ? name : "nobody");
}

Service role_service(const RoleContext *c, Role role, const char *name)
{
    Service s = {.name = xstrdup(name), .user = user_new(c, role), .cwd = role_path(c, name, "")};

    service_dir(&s, 0700, role_path(c, name, ""));
    s.health_address = xstrdup(c->paths->address);
    s.health_port = role_rows[role].port;
    s.limits = role_limits[role];
    return s;
}

void role_json(Service *s, char *path, const json_t *j)
{
    char *text = json_text_new(j);

    buf_str(service_file(s, 0600, path), text);
    explicit_bzero(text, strlen(text));
    free(text);
}

void role_argv(Service *s, const char *const *argv)
{
    for (size_t i = 0; argv[i]; i++)
        strlist_add(&s->argv, argv[i]);
}

void role_plain_env(Service *s)
{
    strlist_add(&s->env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    strlist_add(&s->env, "LANG=C.UTF-8");
}

void role_after(const Services *so_far, Service *s, const char *const *names)
{
    for (size_t i = 0; names[i]; i++)
        if (services_have(so_far, names[i]))
            strlist_add(&s->after, names[i]);
}

int role_secret(const RoleContext *c, const char *name, const Secret **ret, Err *err)
{
    *ret = vault_secret(c->secrets, name);
    return *ret ? 0 : err_set(err, ERR_CONFIG, "the bundle has no secret %s", name);
}

/* user_new's way out is for pocket: on a real server services of different roles as one user could
 * read each other's secrets. */
static int check_users(const RoleContext *c, Err *err)
{
    if (!c->paths->as_root || *c->paths->root || c->paths->paper)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(role_functions); i++) {
        const char *name = role_rows[role_functions[i].role].user;
        if (c->roles & ROLE_BIT(role_functions[i].role) && name && !getpwnam(name))
            return err_set(err, ERR_CONFIG, "there is no user %s on this server", name);
    }
    return 0;
}

static int read_roles(const json_t *spec, unsigned *ret, Err *err)
{
    const json_t *names = json_object_get(spec, "roles");

    if (json_bool(spec, "stop", false))
        return 0;
    if (json_array_size(names) == 0)
        return err_set(err, ERR_CONFIG, "the bundle names no role for this server");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        Role role;
        if (!role_parse(name ? name : "", &role))
            return err_set(err, ERR_CONFIG, "the role %s is not known to atoll %s",
                           name ? name : "?", ATOLL_VERSION);
        *ret |= ROLE_BIT(role);
    }
    return 0;
}

int role_services(const json_t *spec, const Vault *secrets, const HostPaths *p, Services *ret,
                  Err *err)
{
    RoleContext c = {.spec = spec, .secrets = secrets, .paths = p};
    _cleanup_(services_clear) Services all = {0};
    bool paused = json_bool(spec, "paused", false);

    BUG_IF(!p->address || !p->data);
    int r = read_roles(spec, &c.roles, err);
    if (r == 0)
        r = check_users(&c, err);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(role_functions); i++)
        if (c.roles & ROLE_BIT(role_functions[i].role) && !(paused && role_functions[i].pauses))
            r = role_functions[i].function(&c, &all, err);
    if (r < 0)
        return r;
    *ret = all;
    all = (Services){0};
    return 0;
}
