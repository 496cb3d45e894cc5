#include "cloud/config_source.h"
#include "io/file.h"

#include <ctype.h>
#include <limits.h>
#include <unistd.h>

#define ENTRY_OF_ENVIRONMENT "envvars"

/* Of settings of one name: `auth` wins over what stands beside it, a name over its alias. */
enum { RANK_AUTH = 1, RANK_NAME = 2, RANK_STRONG = 4 };

/* Old names that openstacksdk still takes; one of them wins over the new one. */
static const struct {
    const char *old, *name;
    int rank;
} aliases[] = {
    {"tenant_name", "project_name", 0},
    {"tenant_id", "project_id", 0},
    {"auth_token", "token", 0},
    {"endpoint_type", "interface", RANK_STRONG},
    {"auth_plugin", "auth_type", 0},
    {"user_name", "username", 0},
    {"object_store_region", "object_store_region_name", 0},
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

static const char *const known_endings[] = {"_endpoint_override", "_endpoint",     "_endpoint_type",
                                            "_region_name",       "_api_version",  "_interface",
                                            "_service_type",      "_service_name", "_timeout",
                                            "_retries",           "_delay"};

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

static char *normal_name(const char *key, int *ret_rank)
{
    char *name = xstrdup(key);

    *ret_rank = RANK_NAME;

    for (char *p = name; *p; p++)
        *p = *p == '-' ? '_' : (char)tolower((unsigned char)*p);
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        if (!streq(name, aliases[i].old))
            continue;
        *ret_rank = aliases[i].rank;
        free(name);
        return xstrdup(aliases[i].name);
    }
    /* nova_endpoint_type and the like. */
    static const char old[] = "_endpoint_type";
    if (ends_with(name, old)) {
        char *renamed = xasprintf("%.*s_interface", (int)(strlen(name) - strlen(old)), name);
        free(name);
        return renamed;
    }
    return name;
}

static void add_ranked(ConfigSource *s, const char *key, const char *value, int rank,
                       const Yaml *file, const YamlNode *node)
{
    int of_name = 0;

    if (!value || !*value)
        return;
    char *name = normal_name(key, &of_name);
    vec_push(&s->settings, (Setting){name, xstrdup(value), rank + of_name, file, node});
}

static void add(ConfigSource *s, const char *key, const char *value, const Yaml *file,
                const YamlNode *node)
{
    add_ranked(s, key, value, 0, file, node);
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

static int check_key(const Yaml *file, const YamlNode *n, Err *err)
{
    int rank = 0;
    _cleanup_free_ char *name = normal_name(n->key, &rank);

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

static int add_scalars(ConfigSource *s, const Yaml *file, const YamlNode *map, int rank, Err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < map->len; i++) {
        const YamlNode *n = &map->items[i];
        r = check_key(file, n, err);
        if (r == 0 && n->type == YAML_SCALAR)
            add_ranked(s, n->key, n->text, rank, file, n);
    }
    return r;
}

/* The entry of a file, or what a region of it adds, with its auth. */
static int add_map(ConfigSource *s, const Yaml *file, const YamlNode *map, Err *err)
{
    const YamlNode *auth = yaml_get(map, "auth");

    if (auth && auth->type != YAML_MAP)
        return yaml_error(file, auth, err, "`auth` must be a map (auth_url, username, ...)");
    int r = auth ? add_scalars(s, file, auth, RANK_AUTH, err) : 0;
    return r < 0 ? r : add_scalars(s, file, map, 0, err);
}

/* `regions` is a list of names or of {name, values}. */
static const char *region_name(const YamlNode *n)
{
    return n->type == YAML_SCALAR ? n->text : yaml_text(n, "name");
}

static int no_such_region(const ConfigSource *s, const Yaml *file, const YamlNode *at,
                          const char *wanted, const char *names, Err *err)
{
    return yaml_error(file, at, err,
                      "the cloud `%s` has no region `%s` (OS_REGION_NAME); it has: %s", s->name,
                      wanted, names);
}

/* `region_name: one` allows that one alone; "one,two" is an old way to write `regions`. */
static int add_region_name(ConfigSource *s, const char *wanted, Err *err)
{
    const Setting *given = config_source_find(s, "region_name");
    const char *chosen = NULL;

    if (!given) {
        add(s, "region_name", wanted, NULL, NULL);
        return 0;
    }
    Str rest = str_of(given->value), name;
    while (str_next(&rest, ',', &name)) {
        name = str_trim(name);
        _cleanup_free_ char *text = xstrndup(name.p, name.n);
        strlist_add(&s->regions, text);
        if (!chosen && (!wanted || streq(wanted, text)))
            chosen = s->regions.items[s->regions.len - 1];
    }
    if (!chosen)
        return no_such_region(s, given->file, given->node, wanted, given->value, err);
    add(s, "region_name", chosen, given->file, given->node);
    return 0;
}

static int add_region(ConfigSource *s, const Yaml *file, const YamlNode *list, const char *wanted,
                      Err *err)
{
    const YamlNode *chosen = NULL;
    _cleanup_(buf_clear) Buf names = BUF_INIT(BUF_MAX_LINE);

    if (list->type != YAML_LIST || list->len == 0)
        return yaml_error(file, list, err, "`regions` must be a list of names");
    for (size_t i = 0; i < list->len; i++) {
        const char *name = region_name(&list->items[i]);
        if (!name)
            return yaml_error(file, &list->items[i], err, "a region needs a `name`");
        strlist_add(&s->regions, name);
        buf_printf(&names, "%s%s", i ? ", " : "", name);
        if (!chosen && (!wanted || streq(wanted, name)))
            chosen = &list->items[i];
    }
    if (!chosen)
        return no_such_region(s, file, list, wanted, names.p, err);
    add(s, "region_name", region_name(chosen), file, chosen);
    const YamlNode *values = yaml_get(chosen, "values");
    return values && values->type == YAML_MAP ? add_map(s, file, values, err) : 0;
}

/* The first file of a name in the places where openstacksdk looks; NULL if there is none. */
static char *find_file(const char *override_variable, const char *stem)
{
    static const char *const endings[] = {".yaml", ".yml", ".json"};
    const char *home = env("HOME"), *xdg = env("XDG_CONFIG_HOME");
    const char *override = override_variable ? env(override_variable) : NULL;
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
            /* One that can't be read is passed over, too. */
            if (access(path, R_OK) == 0)
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

/* What `profile` (or, as it was called once, `cloud`) puts below the entry: a part of
 * clouds-public.yaml. NULL if it has none of that name: then the entry must do alone. */
static int load_profile(ConfigSource *s, const YamlNode *entry, const YamlNode **ret, Err *err)
{
    const char *name = yaml_text(entry, "profile");
    _cleanup_free_ char *path = find_file(NULL, "clouds-public");

    *ret = NULL;
    if (!name)
        name = yaml_text(entry, "cloud");
    if (!name || !path)
        return 0;
    int r = yaml_load(path, &s->vendors, err);
    const YamlNode *all = r == 0 ? yaml_get(&s->vendors.root, "public-clouds") : NULL;
    const YamlNode *profile = all ? yaml_get(all, name) : NULL;
    if (profile && profile->type != YAML_MAP)
        return yaml_error(&s->vendors, profile, err, "the profile `%s` must be a map", name);
    *ret = profile;
    return r;
}

static int collect(ConfigSource *s, const char *region, Err *err)
{
    const YamlNode *clouds = clouds_of(&s->clouds), *secure = clouds_of(&s->secure),
                   *profile = NULL;
    const YamlNode *entry = clouds ? yaml_get(clouds, s->name) : NULL;

    secure = secure ? yaml_get(secure, s->name) : NULL;
    if (!entry && !secure)
        return no_such_entry(s, s->name, err);
    if (entry && entry->type != YAML_MAP)
        return yaml_error(&s->clouds, entry, err, "the cloud `%s` must be a map", s->name);
    s->entry = entry;
    int r = entry ? load_profile(s, entry, &profile, err) : 0;
    if (r == 0 && profile)
        r = add_map(s, &s->vendors, profile, err);
    if (r == 0 && entry)
        r = add_map(s, &s->clouds, entry, err);
    if (r == 0 && secure && secure->type == YAML_MAP)
        r = add_map(s, &s->secure, secure, err);
    if (r < 0)
        return r;
    const YamlNode *regions = entry ? yaml_get(entry, "regions") : NULL;
    const YamlNode *of_profile = profile ? yaml_get(profile, "regions") : NULL;
    if (regions)
        return add_region(s, &s->clouds, regions, region, err);
    if (of_profile && !config_source_find(s, "region_name"))
        return add_region(s, &s->vendors, of_profile, region, err);
    return add_region_name(s, region, err);
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
    if (!s->clouds.name && !(name && s->secure.name))
        return no_file(err);
    const YamlNode *clouds = clouds_of(&s->clouds);
    if (has_login && clouds && yaml_get(clouds, of_environment))
        return yaml_key_error(
            &s->clouds, yaml_get(clouds, of_environment), err,
            "`%s` is also the name of the login that OS_* make; rename this one, or "
            "set OS_CLOUD_NAME",
            of_environment);
    if (!name && clouds && clouds->len == 1)
        name = clouds->items[0].key;
    if (!name || (!clouds && !clouds_of(&s->secure)))
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
    const Setting *best = NULL;

    for (size_t i = s->settings.len; i-- > 0;) {
        const Setting *one = &s->settings.items[i];

        if (streq(one->name, name) && (!best || one->rank > best->rank))
            best = one;
    }
    return best;
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
    wipe_node(&s->vendors.root);
    yaml_clear(&s->vendors);
    yaml_clear(&s->clouds);
    yaml_clear(&s->secure);
    strlist_clear(&s->regions);
    free(s->name);
    free(s->source);
    *s = (ConfigSource){0};
}
