#include "cloud/config.h"
#include "cloud/config_source.h"

#include <strings.h>

static const char keys_of_password[] =
    "auth_url, username or user_id, password, user_domain_name or user_domain_id, project_name or "
    "project_id, project_domain_name or project_domain_id";
static const char keys_of_token[] =
    "auth_url, token, project_name or project_id, project_domain_name or project_domain_id";
static const char keys_of_credential[] =
    "auth_url, application_credential_id (or application_credential_name and username), "
    "application_credential_secret";

/* Rows of one type share all but the name. The misspelling stands in a provider's own manual. */
static const struct {
    const char *name;
    AuthType type;
    const char *secret, *keys;
} auth_types[] = {
    {"password", AUTH_PASSWORD, "password", keys_of_password},
    {"v3password", AUTH_PASSWORD, "password", keys_of_password},
    {"token", AUTH_TOKEN, "token", keys_of_token},
    {"v3token", AUTH_TOKEN, "token", keys_of_token},
    {"v3applicationcredential", AUTH_APPLICATION_CREDENTIAL, "application_credential_secret",
     keys_of_credential},
    {"v3application_credential", AUTH_APPLICATION_CREDENTIAL, "application_credential_secret",
     keys_of_credential},
};

/* Values that are only copied; `other` is used when the first is not there. */
static const struct {
    const char *name, *other;
    size_t offset;
} texts[] = {
    {"username", NULL, offsetof(CloudConfig, username)},
    {"user_id", NULL, offsetof(CloudConfig, user_id)},
    {"user_domain_name", "domain_name", offsetof(CloudConfig, user_domain_name)},
    {"user_domain_id", "domain_id", offsetof(CloudConfig, user_domain_id)},
    {"project_name", NULL, offsetof(CloudConfig, project_name)},
    {"project_id", NULL, offsetof(CloudConfig, project_id)},
    {"project_domain_name", "domain_name", offsetof(CloudConfig, project_domain_name)},
    {"project_domain_id", "domain_id", offsetof(CloudConfig, project_domain_id)},
    {"application_credential_id", NULL, offsetof(CloudConfig, application_credential_id)},
    {"application_credential_name", NULL, offsetof(CloudConfig, application_credential_name)},
    {"region_name", NULL, offsetof(CloudConfig, region)},
};

static char **text_at(CloudConfig *c, size_t offset)
{
    return (char **)(void *)((char *)c + offset);
}

static void read_texts(const ConfigSource *s, CloudConfig *c)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *value = config_source_value(s, texts[i].name);
        if (!value && texts[i].other)
            value = config_source_value(s, texts[i].other);
        if (value)
            *text_at(c, texts[i].offset) = xstrdup(value);
    }
}

/* A domain that nothing was said about: openstacksdk's default_domain, then, for a project, the
 * user's. */
static void default_domains(const ConfigSource *s, CloudConfig *c)
{
    const char *name = config_source_value(s, "default_domain_name");
    const char *id = config_source_value(s, "default_domain_id");

    if (!id)
        id = config_source_value(s, "default_domain");
    if (!c->user_domain_id && !c->user_domain_name) {
        c->user_domain_id = id ? xstrdup(id) : NULL;
        c->user_domain_name = !id && name ? xstrdup(name) : NULL;
    }
    if (!c->project_domain_id && !c->project_domain_name) {
        c->project_domain_id = c->user_domain_id ? xstrdup(c->user_domain_id) : NULL;
        c->project_domain_name = c->user_domain_name ? xstrdup(c->user_domain_name) : NULL;
    }
}

static int read_auth_type(const ConfigSource *s, size_t *ret_row, Err *err)
{
    const Setting *given = config_source_find(s, "auth_type");
    const char *names[ARRAY_LEN(auth_types) + 1] = {NULL};
    const char *word = given ? given->value : "password";

    if (!given && config_source_find(s, "application_credential_secret"))
        word = "v3applicationcredential";
    for (size_t i = 0; i < ARRAY_LEN(auth_types); i++) {
        names[i] = auth_types[i].name;
        if (streq(word, auth_types[i].name)) {
            *ret_row = i;
            return 0;
        }
    }
    const char *near = util_nearest(word, names);
    return config_source_error(s, given, err,
                               "auth_type `%s` is not known%s%s%s; allowed: password, v3password, "
                               "token, v3token, v3applicationcredential",
                               word, near ? ": did you mean `" : "", near ? near : "",
                               near ? "`?" : "");
}

/* ".../", ".../v2.0" and ".../v3/" all become ".../v3". */
static int read_auth_url(const ConfigSource *s, const char *region, char **ret, Err *err)
{
    const Setting *given = config_source_find(s, "auth_url");
    static const char placeholder[] = "{region_name}";
    _cleanup_(buf_clear) Buf url = BUF_INIT(BUF_MAX_LINE);

    const Setting *profile = config_source_find(s, "profile");

    if (!profile)
        profile = config_source_find(s, "cloud");
    if (!given && profile)
        return config_source_error(
            s, profile, err,
            "the profile `%s` is not in a clouds-public.yaml (those that come "
            "with openstacksdk or stand at an address are not read): write "
            "`auth_url` into `auth`",
            profile->value);
    if (!given)
        return config_source_error(s, NULL, err, "the cloud `%s` has no `auth_url`", s->name);
    const char *rest = given->value;
    for (const char *at; region && (at = strstr(rest, placeholder));
         rest = at + strlen(placeholder))
        buf_printf(&url, "%.*s%s", (int)(at - rest), rest, region);
    buf_str(&url, rest);
    if (!starts_with(url.p, "http://") && !starts_with(url.p, "https://"))
        return config_source_error(s, given, err, "auth_url must begin with https:// (or http://)");
    while (ends_with(url.p, "/"))
        buf_truncate(&url, url.len - 1);
    static const char *const versions[] = {"/v2.0", "/v3"};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        if (ends_with(url.p, versions[i]))
            buf_truncate(&url, url.len - strlen(versions[i]));
    while (ends_with(url.p, "/"))
        buf_truncate(&url, url.len - 1);
    buf_str(&url, "/v3");
    *ret = buf_detach(&url);
    return 0;
}

static int read_bool(const ConfigSource *s, const char *name, bool def, bool *ret, Err *err)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"yes", true}, {"on", true},   {"1", true},
                 {"false", false}, {"no", false}, {"off", false}, {"0", false}};
    const Setting *given = config_source_find(s, name);

    *ret = def;
    if (!given)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(given->value, words[i].word) == 0) {
            *ret = words[i].value;
            return 0;
        }
    }
    return config_source_error(s, given, err, "`%s` must be true or false, not `%s`", name,
                               given->value);
}

/* "~/ca.pem"; to be freed. */
static char *home_path(const char *path)
{
    const char *home = getenv("HOME");

    if (!path)
        return NULL;
    return starts_with(path, "~/") && home ? xasprintf("%s%s", home, path + 1) : xstrdup(path);
}

static int read_tls(const ConfigSource *s, CloudConfig *c, Err *err)
{
    bool verify = true, insecure = false;
    int r = read_bool(s, "verify", true, &verify, err);

    if (r == 0)
        r = read_bool(s, "insecure", false, &insecure, err);
    if (r < 0)
        return r;
    c->insecure = !verify || insecure;
    c->ca_file = home_path(config_source_value(s, "cacert"));
    c->cert_file = home_path(config_source_value(s, "cert"));
    c->key_file = home_path(config_source_value(s, "key"));
    return 0;
}

/* "publicURL" is "public"; NULL with *err if it is neither of the three. To be freed. */
static char *interface_new(const ConfigSource *s, const Setting *given, Err *err)
{
    static const char *const allowed[] = {"public", "internal", "admin"};
    const char *word = given ? given->value : "public";
    char *name = xstrndup(word, strlen(word) - (ends_with(word, "URL") ? 3 : 0));

    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        if (streq(allowed[i], name))
            return name;
    (void)config_source_error(s, given, err, "%s must be public, internal or admin, not `%s`",
                              given ? given->name : "interface", word);
    free(name);
    return NULL;
}

static int read_interface(const ConfigSource *s, CloudConfig *c, Err *err)
{
    c->interface = interface_new(s, config_source_find(s, "interface"), err);
    return c->interface ? 0 : -ERR_CONFIG;
}

/* "object_store_endpoint_override: URL" to "object-store=URL", and so on. The old word for an
 * address stands behind the new one, which is found first. */
static const struct {
    const char *ending, *joint;
} override_kinds[] = {{"_endpoint_override", "="},
                      {"_region_name", "@region="},
                      {"_interface", "@interface="},
                      {"_endpoint", "="}};

/* Of OpenID's discovery, and of no service. */
static bool is_of_login(const char *name)
{
    return streq(name, "access_token_endpoint") || streq(name, "discovery_endpoint");
}

static int read_overrides(const ConfigSource *s, CloudConfig *c, Err *err)
{
    for (size_t j = 0; j < ARRAY_LEN(override_kinds); j++) {
        const char *ending = override_kinds[j].ending;
        for (size_t i = 0; i < s->settings.len; i++) {
            const Setting *t = &s->settings.items[i];
            bool interface = streq(ending, "_interface");
            if (!ends_with(t->name, ending) || is_of_login(t->name) ||
                config_source_find(s, t->name) != t)
                continue;
            _cleanup_free_ char *service = xstrndup(t->name, strlen(t->name) - strlen(ending));
            _cleanup_free_ char *word = interface ? interface_new(s, t, err) : xstrdup(t->value);
            if (!word)
                return -ERR_CONFIG;
            for (char *p = service; *p; p++)
                *p = (char)(*p == '_' ? '-' : *p);
            strlist_addf(&c->overrides, "%s%s%s", service, override_kinds[j].joint, word);
        }
    }
    return 0;
}

static int missing(const ConfigSource *s, size_t row, const char *what, Err *err)
{
    return config_source_error(s, NULL, err, "the cloud `%s` has no %s; auth_type %s takes: %s",
                               s->name, what, auth_types[row].name, auth_types[row].keys);
}

static int check(const ConfigSource *s, size_t row, const CloudConfig *c, Err *err)
{
    bool user_domain = c->user_domain_id || c->user_domain_name;
    bool credential = c->auth_type == AUTH_APPLICATION_CREDENTIAL;

    if (credential && !c->application_credential_id && !c->application_credential_name)
        return missing(s, row, "application_credential_id", err);
    bool by_user = c->auth_type == AUTH_PASSWORD || (credential && !c->application_credential_id);
    if (by_user && !c->username && !c->user_id)
        return missing(s, row, "username", err);
    if (!c->secret)
        return missing(s, row, auth_types[row].secret, err);
    if (by_user && !c->user_id && !user_domain) {
        missing(s, row, "user_domain_name", err);
        return err_hint(err, "most clouds: user_domain_name: Default");
    }
    if (credential)
        return 0;
    if (!c->project_id && !c->project_name)
        return missing(s, row, "project_name", err);
    if (!c->project_id && !c->project_domain_id && !c->project_domain_name) {
        missing(s, row, "project_domain_name", err);
        return err_hint(err, "most clouds: project_domain_name: Default");
    }
    return 0;
}

static int read_all(const ConfigSource *s, CloudConfig *c, Err *err)
{
    size_t row = 0;

    c->name = xstrdup(s->name);
    c->source = xstrdup(s->source);
    read_texts(s, c);
    default_domains(s, c);
    int r = read_overrides(s, c, err);
    if (r == 0)
        r = read_auth_type(s, &row, err);
    if (r == 0)
        r = read_auth_url(s, c->region, &c->auth_url, err);
    if (r == 0)
        r = read_tls(s, c, err);
    if (r == 0)
        r = read_interface(s, c, err);
    if (r < 0)
        return r;
    c->auth_type = auth_types[row].type;
    const char *secret = config_source_value(s, auth_types[row].secret);
    if (secret)
        c->secret = secret_new(secret, strlen(secret));
    return check(s, row, c, err);
}

int cloud_config_load(const char *name, CloudConfig *ret, Err *err)
{
    _cleanup_(config_source_clear) ConfigSource source = {0};
    CloudConfig c = {0};
    int r = config_source_load(name, &source, err);

    if (r < 0)
        return r;
    r = read_all(&source, &c, err);
    if (r < 0) {
        cloud_config_clear(&c);
        return r;
    }
    *ret = c;
    return 0;
}

static void add_text(json_t *to, const char *name, const char *text)
{
    if (text)
        json_object_set_new(to, name, json_string(text));
}

/* "object-store=URL" to "object_store_endpoint_override: URL", and so on. */
static void add_override(json_t *entry, const char *text)
{
    const char *value = strchr(text, '=') + 1;

    for (size_t i = 0; i < ARRAY_LEN(override_kinds); i++) {
        const char *joint = override_kinds[i].joint;
        size_t n = strcspn(text, "=@");
        if (!starts_with(text + n, joint))
            continue;
        _cleanup_free_ char *name = xasprintf("%.*s%s", (int)n, text, override_kinds[i].ending);
        for (char *p = name; *p; p++)
            *p = (char)(*p == '-' ? '_' : *p);
        add_text(entry, name, value);
        return;
    }
}

json_t *cloud_config_entry_new(const CloudConfig *c)
{
    size_t row = 0;
    json_t *auth = json_object(), *entry = json_object();

    while (auth_types[row].type != c->auth_type)
        row++;
    add_text(auth, "auth_url", c->auth_url);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        bool region = texts[i].offset == offsetof(CloudConfig, region);
        add_text(region ? entry : auth, texts[i].name,
                 *text_at((CloudConfig *)(uintptr_t)c, texts[i].offset));
    }
    add_text(auth, auth_types[row].secret, secret_expose(c->secret).p);
    json_object_set_new(entry, "auth", auth);
    add_text(entry, "auth_type", auth_types[row].name);
    add_text(entry, "interface", c->interface);
    add_text(entry, "cacert", c->ca_file);
    add_text(entry, "cert", c->cert_file);
    add_text(entry, "key", c->key_file);
    json_object_set_new(entry, "verify", json_boolean(!c->insecure));
    for (size_t i = 0; i < c->overrides.len; i++)
        add_override(entry, c->overrides.items[i]);
    return entry;
}

/* Those that no row of `texts` has. */
static const size_t other_texts[] = {
    offsetof(CloudConfig, name),     offsetof(CloudConfig, source),
    offsetof(CloudConfig, auth_url), offsetof(CloudConfig, interface),
    offsetof(CloudConfig, ca_file),  offsetof(CloudConfig, cert_file),
    offsetof(CloudConfig, key_file),
};

static void copy_text(const CloudConfig *c, size_t offset, CloudConfig *ret)
{
    const char *const *text = (const char *const *)(const void *)((const char *)c + offset);

    *text_at(ret, offset) = *text ? xstrdup(*text) : NULL;
}

void cloud_config_copy(const CloudConfig *c, CloudConfig *ret)
{
    *ret = (CloudConfig){.auth_type = c->auth_type, .insecure = c->insecure};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        copy_text(c, texts[i].offset, ret);
    for (size_t i = 0; i < ARRAY_LEN(other_texts); i++)
        copy_text(c, other_texts[i], ret);
    ret->secret = c->secret ? secret_copy(c->secret) : NULL;
    for (size_t i = 0; i < c->overrides.len; i++)
        strlist_add(&ret->overrides, c->overrides.items[i]);
}

void cloud_config_clear(CloudConfig *c)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(*text_at(c, texts[i].offset));
    for (size_t i = 0; i < ARRAY_LEN(other_texts); i++)
        free(*text_at(c, other_texts[i]));
    secret_free(c->secret);
    strlist_clear(&c->overrides);
    *c = (CloudConfig){0};
}
