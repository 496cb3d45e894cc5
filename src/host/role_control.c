/* The control server: atoll's own verbs, with what the operator's machine has for them laid out as
 * a home folder (host/control.h). Each is a service of its own: what one can't do stops no other.
 */
#include "host/control.h"
#include "host/role.h"
#include "host/upgrade.h"

#define HOME "control"
#define STOP_MS (70 * SECOND) /* an apply of the scaler's ends what it is at */

static char *home_new(const RoleContext *c, const char *name)
{
    return role_path(c, HOME, name);
}

/* clouds.yaml (YAML reads JSON), and who signed their servers. */
static void add_logins(const RoleContext *c, const json_t *kit, Service *s)
{
    _cleanup_json_ json_t *clouds = json_deep_copy(json_object_get(kit, "clouds"));
    _cleanup_json_ json_t *all = json_make_new("{s:O}", "clouds", clouds);
    const char *name;
    json_t *entry;
    int n = 0;

    json_object_foreach (clouds, name, entry) {
        const char *pem = json_str(entry, "cacert");
        _cleanup_free_ char *file = pem ? xasprintf("ca-%d.pem", n++) : NULL;
        _cleanup_free_ char *path = pem ? home_new(c, file) : NULL;

        if (!pem)
            continue;
        buf_str(service_file(s, 0600, xstrdup(path)), pem);
        json_object_set_new(entry, "cacert", json_string(path));
    }
    role_json(s, home_new(c, ".config/openstack/clouds.yaml"), all);
}

static void add_recipients(const RoleContext *c, const json_t *kit, Service *s)
{
    _cleanup_free_ char *name =
        xasprintf(".config/atoll/keys/%s.pub", json_str_or(c->spec, "island", ""));
    Buf *b = service_file(s, 0600, home_new(c, name));
    const json_t *v;
    size_t i;

    json_array_foreach (json_object_get(kit, "recipients"), i, v) {
        buf_printf(b, "%s\n", json_string_value(v));
    }
}

static void add_files(const RoleContext *c, const json_t *kit, Service *s)
{
    static const char *const folders[] = {
        "", ".config", ".config/openstack", ".config/atoll", ".config/atoll/keys", ".cache"};
    const json_t *control = json_object_get(c->spec, "control");
    const char *ca = json_str_or(control, "ca_file", "");

    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        service_dir(s, 0700, home_new(c, folders[i]));
    buf_str(service_file(s, 0600, home_new(c, "island.yaml")), json_str_or(control, "file", ""));
    if (*ca)
        buf_str(service_file(s, 0600, home_new(c, ca)), json_str_or(control, "ca", ""));
    role_json(s, home_new(c, "vault.json"), json_object_get(kit, "vault"));
    add_logins(c, kit, s);
    add_recipients(c, kit, s);
}

/* What a verb needs to know that works on the island. */
static void add_island(const RoleContext *c, Service *s)
{
    _cleanup_free_ char *file = home_new(c, "island.yaml");
    const char *environment = json_str_or(c->spec, "control.environment", "");

    role_argv(s, (const char *const[]){"-f", file, NULL});
    if (*environment)
        role_argv(s, (const char *const[]){"-e", environment, NULL});
}

/* A verb and its options, NULL-ended; `island`: it works on the island file. */
static Service verb(const RoleContext *c, const json_t *kit, const char *name,
                    const char *const *argv, bool island)
{
    Service s = role_service(c, ROLE_CONTROL, name);
    _cleanup_free_ char *atoll = xasprintf("%s/usr/bin/atoll", c->paths->root);
    _cleanup_free_ char *home = home_new(c, ""), *vault = home_new(c, "vault.json");

    role_argv(&s, (const char *const[]){atoll, NULL});
    role_argv(&s, argv);
    if (island)
        add_island(c, &s);
    role_plain_env(&s);
    strlist_addf(&s.env, "HOME=%s", home);
    strlist_addf(&s.env, CONTROL_VAULT_ENV "=%s", vault);
    strlist_add(&s.env, "USER=control");
    strlist_add(&s.env, "ATOLL_VERSION=" ATOLL_VERSION); /* another one starts it anew */
    add_files(c, kit, &s);
    s.health = HEALTH_RUNNING;
    s.stop = STOP_TERM;
    s.stop_ms = STOP_MS;
    return s;
}

/* New servers install atoll's own package, which the agent alone can read. */
static Service package_service(const RoleContext *c, const char *to)
{
    Service s = role_service(c, ROLE_CONTROL, "control-package");
    _cleanup_free_ char *from = xasprintf("%s/" UPGRADE_PACKAGE, c->paths->root);

    free(TAKE(s.user));
    vec_last(&s.dirs)->mode = 0755;
    role_argv(&s, (const char *const[]){"install", "-m", "0644", from, to, NULL});
    role_plain_env(&s);
    strlist_add(&s.env, "ATOLL_VERSION=" ATOLL_VERSION);
    s.once = true;
    s.health = HEALTH_ONCE;
    return s;
}

static void add_scalers(const RoleContext *c, const json_t *kit, Services *ret)
{
    const json_t *tiers = json_at(c->spec, "control.scale"), *tier;
    _cleanup_free_ char *package = role_path(c, "control-package", "atoll.deb");
    size_t i;

    if (json_array_size(tiers) > 0)
        vec_push(ret, package_service(c, package));
    json_array_foreach (tiers, i, tier) {
        const char *t = json_string_value(tier);
        _cleanup_free_ char *name = xasprintf("control-scale.%s", t);
        Service s =
            verb(c, kit, name,
                 (const char *const[]){"scale", "--tier", t, "--package", package, NULL}, true);

        role_after(ret, &s, (const char *const[]){"control-package", NULL});
        vec_push(ret, s);
    }
}

/* The settings are made by the verb that makes them for an operator. */
static void add_backup(const RoleContext *c, const json_t *kit, Services *ret)
{
    _cleanup_free_ char *settings = home_new(c, ".config/atoll/backup.yaml");
    Service make = verb(c, kit, "control-settings",
                        (const char *const[]){"backup", "settings", "--to", settings, NULL}, true);
    Service audit = verb(c, kit, "control-audit",
                         (const char *const[]){"backup", "audit", "--settings", settings,
                                               "--merge-after", "1h", NULL},
                         false);

    make.once = true;
    make.health = HEALTH_ONCE;
    vec_push(ret, make);
    role_after(ret, &audit, (const char *const[]){"control-settings", NULL});
    vec_push(ret, audit);
}

int role_control(const RoleContext *c, Services *ret, Err *err)
{
    const Secret *secret = NULL;
    int r = role_secret(c, CONTROL_KIT, &secret, err);

    if (r < 0)
        return r;
    Str text = secret_expose(secret);
    _cleanup_json_ json_t *kit = json_parse_new(text.p, text.n, err);
    if (!kit)
        return err_wrap(err, "what the control server is given");
    vec_push(ret, verb(c, kit, "control-renew",
                       (const char *const[]){"renew", "--every", "6h", "--lease-wait", "10m", NULL},
                       true));
    add_scalers(c, kit, ret);
    if (json_bool(c->spec, "control.backup", false))
        add_backup(c, kit, ret);
    return 0;
}
