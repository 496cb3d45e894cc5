#include "cloud/config_source.h"
#include "io/file.h"

#include <ctype.h>
#include <limits.h>
#include <unistd.h>

#define ENTRY_OF_ENVIRONMENT "envvars"

/* Old names that openstacksdk still takes. */
static const struct {
    const char *old, *name;
} aliases[] = {
    {"tenant_name", "project_name"},
    {"tenant_id", "project_id"},
    {"auth_token", "token"},
    {"endpoint_type", "interface"},
    {"auth_plugin", "auth_type"},
    {"user_name", "username"},
    {"object_store_region", "object_store_region_name"},
};

/* What may stand in an entry. The list is for messages: a key that is nearly one of these is a
 * mistake; any other is somebody else's setting and none of our business. */
static const char *const known_keys[] = {
    "auth", "auth_type", "auth_plugin", "regions", "region_name", "interface", "endpoint_type",
    "verify", "insecure", "cacert", "cert", "key", "profile", "cloud", "networks", "image_format",
    "object_store_region", "object_store_region_name", "force_ipv4", "api_timeout", "timeout",
    /* of auth */
    "auth_url", "username", "user_name", "user_id", "password", "user_domain_name",
    "user_domain_id", "project_name", "project_id", "project_domain_name", "project_domain_id",
    "tenant_name", "tenant_id", "domain_name", "domain_id", "default_domain", "default_domain_name",
    "default_domain_id", "token", "auth_token", "passcode", "trust_id", "system_scope",
    "application_credential_id", "application_credential_name", "application_credential_secret",
    "identity_provider", "protocol", "client_id", "client_secret", "access_token",
    "access_token_endpoint", "discovery_endpoint", NULL};

static const char *const known_endings[] = {"_endpoint_override", "_region_name",  "_api_version",
                                            "_interface",         "_service_type", "_service_name",
                                            "_timeout",           "_retries",      "_delay"};

/* Variables that choose or adjust, but are no login. */
static const char *const selectors[] = {"OS_CLOUD", "OS_REGION_NAME", "OS_CLIENT_CONFIG_FILE",
                                        "OS_CLIENT_SECURE_FILE", "OS_CLOUD_NAME"};
static const char *const not_ours[] = {"OS_TEST", "OS_STD", "OS_LOG"};

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_login_variable(const char *line)
{
    if (!starts_with(line, "OS_") || !strchr(line, '='))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(not_ours); i++)
        if (starts_with(line, not_ours[i]))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(selectors); i++) {
        size_t n = strlen(selectors[i]);
        if (strncmp(line, selectors[i], n) == 0 && line[n] == '=')
            return false;
    }
    return true;
}

static bool environment_has_login(void)
{
    for (char **line = environ; line && *line; line++)
        if (is_login_variable(*line))
            return true;
    return false;
}

static char *normal_name(const char *key)
{
    char *name = xstrdup(key);

    for (char *p = name; *p; p++)
        *p = *p == '-' ? '_' : (char)tolower((unsigned char)*p);
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        if (!streq(name, aliases[i].old))
            continue;
        free(name);
        return xstrdup(aliases[i].name);
    }
    return name;
}

static void add(ConfigSource *s, const char *key, const char *value, const Yaml *file,
                const YamlNode *node)
{
    if (!value || !*value)
        return;
    vec_push(&s->settings, (Setting){normal_name(key), xstrdup(value), file, node});
}

static void add_environment(ConfigSource *s)
{
    for (char **line = environ; line && *line; line++) {
        if (!is_login_variable(*line))
            continue;
        const char *equals = strchr(*line, '=');
        _cleanup_free_ char *key = xstrndup(*line + 3, (size_t)(equals - *line) - 3);
        add(s, key, equals + 1, NULL, NULL);
    }
}

/* The entry of a file, or what a region of it adds: its auth, then itself, which wins. */
static int add_map(ConfigSource *s, const Yaml *file, const YamlNode *map, Err *err);

static int check_key(const Yaml *file, const YamlNode *n, Err *err)
{
    _cleanup_free_ char *name = normal_name(n->key);

    for (size_t i = 0; i < ARRAY_LEN(known_endings); i++)
        if (ends_with(name, known_endings[i]))
            return 0;
    const char *near = util_nearest(name, known_keys);
    if (!near || streq(near, name))
        return 0;
    for (size_t i = 0; known_keys[i]; i++)
        if (streq(known_keys[i], name))
            return 0;
    return yaml_key_error(file, n, err, "unknown key `%s`: did you mean `%s`?", n->key, near);
}

static int add_map(ConfigSource *s, const Yaml *file, const YamlNode *map, Err *err)
{
    const YamlNode *auth = yaml_get(map, "auth");
    int r = 0;

    if (auth && auth->type != YAML_MAP)
        return yaml_error(file, auth, err, "`auth` must be a map (auth_url, username, ...)");
    if (auth)
        r = add_map(s, file, auth, err);
    for (size_t i = 0; r == 0 && i < map->len; i++) {
        const YamlNode *n = &map->items[i];
        r = check_key(file, n, err);
        if (r == 0 && n->type == YAML_SCALAR)
            add(s, n->key, n->text, file, n);
    }
    return r;
}

/* `regions` is a list of names or of {name, values}. */
static const char *region_name(const YamlNode *n)
{
    return n->type == YAML_SCALAR ? n->text : yaml_text(n, "name");
}

static int add_region(ConfigSource *s, const YamlNode *list, const char *wanted, Err *err)
{
    const YamlNode *chosen = NULL;
    _cleanup_(buf_clear) Buf names = BUF_INIT(BUF_MAX_LINE);

    if (list->type != YAML_LIST || list->len == 0)
        return yaml_error(&s->clouds, list, err, "`regions` must be a list of names");
    for (size_t i = 0; i < list->len; i++) {
        const char *name = region_name(&list->items[i]);
        if (!name)
            return yaml_error(&s->clouds, &list->items[i], err, "a region needs a `name`");
        strlist_add(&s->regions, name);
        buf_printf(&names, "%s%s", i ? ", " : "", name);
        if (!chosen && (!wanted || streq(wanted, name)))
            chosen = &list->items[i];
    }
    if (!chosen)
        return yaml_error(&s->clouds, list, err,
                          "the cloud `%s` has no region `%s` (OS_REGION_NAME); it has: %s", s->name,
                          wanted, names.p);
    add(s, "region_name", region_name(chosen), &s->clouds, chosen);
    const YamlNode *values = yaml_get(chosen, "values");
    return values && values->type == YAML_MAP ? add_map(s, &s->clouds, values, err) : 0;
}

/* The first file of a name in the places where openstacksdk looks; NULL if there is none. */
static char *find_file(const char *override_variable, const char *stem)
{
    static const char *const endings[] = {".yaml", ".yml", ".json"};
    const char *home = env("HOME"), *xdg = env("XDG_CONFIG_HOME");
    const char *override = env(override_variable);
    _cleanup_(strlist_clear) StrList folders = {0};

    if (override && file_exists(override))
        return xstrdup(override);
    strlist_add(&folders, ".");
    if (xdg)
        strlist_addf(&folders, "%s/openstack", xdg);
    if (home)
        strlist_addf(&folders, "%s/.config/openstack", home);
    strlist_add(&folders, "/etc/openstack");
    for (size_t i = 0; i < folders.len; i++) {
        for (size_t j = 0; j < ARRAY_LEN(endings); j++) {
            char *path = xasprintf("%s/%s%s", folders.items[i], stem, endings[j]);
            if (file_exists(path))
                return path;
            free(path);
        }
    }
    return NULL;
}

/* "clouds.yaml of /home/jo/.config/openstack" */
static char *source_words(const char *path)
{
    const char *slash = strrchr(path, '/');
    char cwd[PATH_MAX];

    if (!slash)
        return xstrdup(path);
    if (starts_with(path, "./") && slash == path + 1 && getcwd(cwd, sizeof cwd))
        return xasprintf("%s of %s", slash + 1, cwd);
    return xasprintf("%s of %.*s", slash + 1, slash == path ? 1 : (int)(slash - path), path);
}

static const YamlNode *clouds_of(const Yaml *file)
{
    const YamlNode *clouds = file->name ? yaml_get(&file->root, "clouds") : NULL;
    return clouds && clouds->type == YAML_MAP ? clouds : NULL;
}

static void names_of(const YamlNode *clouds, StrList *ret)
{
    for (size_t i = 0; clouds && i < clouds->len; i++)
        strlist_add(ret, clouds->items[i].key);
}

static int no_file(Err *err)
{
    err_set(err, ERR_NOT_FOUND,
            "no clouds.yaml (looked in this folder, ~/.config/openstack and /etc/openstack), and "
            "no OS_* variables");
    return err_hint(err, "your cloud's dashboard has it under API Access: save it as "
                         "~/.config/openstack/clouds.yaml");
}

static int no_such_entry(const ConfigSource *s, const char *name, Err *err)
{
    const YamlNode *clouds = clouds_of(&s->clouds);
    _cleanup_(strlist_clear) StrList names = {0};
    _cleanup_(buf_clear) Buf list = BUF_INIT(BUF_MAX_LINE);

    names_of(clouds, &names);
    for (size_t i = 0; i < names.len; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", names.items[i]);
    const YamlNode *at = clouds ? clouds : &s->clouds.root;
    if (!names.len)
        return yaml_error(&s->clouds, at, err, "there are no `clouds` in this file");
    if (!name)
        return yaml_error(&s->clouds, at, err,
                          "several clouds and no choice: set OS_CLOUD to one "
                          "of %s",
                          list.p);
    const char *near = util_nearest(name, (const char *const *)names.items);
    return yaml_error(&s->clouds, at, err, "no cloud `%s` here%s%s%s; there are: %s", name,
                      near ? ": did you mean `" : "", near ? near : "", near ? "`?" : "", list.p);
}

static int load_files(ConfigSource *s, Err *err)
{
    _cleanup_free_ char *clouds = find_file("OS_CLIENT_CONFIG_FILE", "clouds");
    _cleanup_free_ char *secure = find_file("OS_CLIENT_SECURE_FILE", "secure");
    int r = 0;

    if (clouds) {
        s->source = source_words(clouds);
        r = yaml_load(clouds, &s->clouds, err);
    }
    if (r == 0 && secure)
        r = yaml_load(secure, &s->secure, err);
    return r;
}

static int collect(ConfigSource *s, const char *region, Err *err)
{
    const YamlNode *entry = yaml_get(clouds_of(&s->clouds), s->name);
    const YamlNode *secure = clouds_of(&s->secure);

    if (!entry)
        return no_such_entry(s, s->name, err);
    if (entry->type != YAML_MAP)
        return yaml_error(&s->clouds, entry, err, "the cloud `%s` must be a map", s->name);
    s->entry = entry;
    int r = add_map(s, &s->clouds, entry, err);
    secure = secure ? yaml_get(secure, s->name) : NULL;
    if (r == 0 && secure && secure->type == YAML_MAP)
        r = add_map(s, &s->secure, secure, err);
    const YamlNode *regions = yaml_get(entry, "regions");
    if (r == 0 && regions)
        return add_region(s, regions, region, err);
    if (r == 0)
        add(s, "region_name", region, NULL, NULL);
    return r;
}

static int load(const char *name, ConfigSource *s, Err *err)
{
    const char *of_environment = env("OS_CLOUD_NAME") ? env("OS_CLOUD_NAME") : ENTRY_OF_ENVIRONMENT;
    bool has_login = environment_has_login();

    if (!name)
        name = env("OS_CLOUD");
    if (has_login && (!name || streq(name, of_environment))) {
        s->name = xstrdup(of_environment);
        s->source = xstrdup("the environment (OS_*)");
        add_environment(s);
        add(s, "region_name", env("OS_REGION_NAME"), NULL, NULL);
        return 0;
    }
    int r = load_files(s, err);
    if (r < 0)
        return r;
    if (!s->clouds.name)
        return no_file(err);
    const YamlNode *clouds = clouds_of(&s->clouds);
    if (!name && clouds && clouds->len == 1)
        name = clouds->items[0].key;
    if (!name || !clouds)
        return no_such_entry(s, name, err);
    s->name = xstrdup(name);
    return collect(s, env("OS_REGION_NAME"), err);
}

/* The nodes point into ret->clouds, so it is filled in its place. */
int config_source_load(const char *name, ConfigSource *ret, Err *err)
{
    *ret = (ConfigSource){0};
    int r = load(name, ret, err);
    if (r < 0)
        config_source_clear(ret);
    return r;
}

const Setting *config_source_find(const ConfigSource *s, const char *name)
{
    for (size_t i = s->settings.len; i-- > 0;)
        if (streq(s->settings.items[i].name, name))
            return &s->settings.items[i];
    return NULL;
}

const char *config_source_value(const ConfigSource *s, const char *name)
{
    const Setting *found = config_source_find(s, name);
    return found ? found->value : NULL;
}

int config_source_error(const ConfigSource *s, const Setting *at, Err *err, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    _cleanup_free_ char *words = xvasprintf(format, ap);
    va_end(ap);
    if (at && at->file)
        return yaml_error(at->file, at->node, err, "%s", words);
    if (s->entry)
        return yaml_key_error(&s->clouds, s->entry, err, "%s", words);
    return err_set(err, ERR_CONFIG, "%s: %s", s->source ? s->source : "clouds.yaml", words);
}

static void wipe_node(YamlNode *n)
{
    if (n->text)
        explicit_bzero(n->text, strlen(n->text));
    for (size_t i = 0; i < n->len; i++)
        wipe_node(&n->items[i]);
}

void config_source_clear(ConfigSource *s)
{
    for (size_t i = 0; i < s->settings.len; i++) {
        Setting *t = &s->settings.items[i];
        explicit_bzero(t->value, strlen(t->value));
        free(t->value);
        free(t->name);
    }
    vec_clear(&s->settings);
    wipe_node(&s->clouds.root);
    wipe_node(&s->secure.root);
    yaml_clear(&s->clouds);
    yaml_clear(&s->secure);
    strlist_clear(&s->regions);
    free(s->name);
    free(s->source);
    *s = (ConfigSource){0};
}
