#include "cloud/answer.h"
#include "cloud/login.h"

#include <ctype.h>
#include <stdio.h>

/* Types that a catalogue may call a service, the preferred first, and what its address must end
 * with when no version is in it (iac.md 2.1). A version in the address is believed. */
static const struct {
    const char *types[4];
    const char *suffix;
    bool by_project;     /* the project's id comes behind the version */
    const char *refused; /* a version that is another API */
} services[CLOUD_SERVICES] = {
    [CLOUD_IDENTITY] = {{"identity"}, "/v3", false, NULL},
    [CLOUD_COMPUTE] = {{"compute"}, "/v2.1", false, NULL},
    [CLOUD_NETWORK] = {{"network"}, "/v2.0", false, NULL},
    [CLOUD_VOLUME] = {{"volumev3", "block-storage", "volume"}, "/v3", true, "/v2"},
    [CLOUD_IMAGE] = {{"image"}, "/v2", false, NULL},
    [CLOUD_OBJECT] = {{"object-store"}, NULL, false, NULL},
    [CLOUD_ORCHESTRATION] = {{"orchestration"}, "/v1", true, NULL},
};

static bool is_of(CloudService s, const char *type)
{
    for (size_t i = 0; i < ARRAY_LEN(services[s].types) && services[s].types[i]; i++)
        if (streq(services[s].types[i], type))
            return true;
    return false;
}

/* "object-store=..." and "object-store@region=...": the value, or NULL. */
static const char *override_of(const CloudConfig *c, CloudService s, const char *what)
{
    for (size_t i = 0; i < c->overrides.len; i++) {
        const char *line = c->overrides.items[i];
        size_t n = strcspn(line, "@=");
        _cleanup_free_ char *type = xstrndup(line, n);
        if (is_of(s, type) && starts_with(line + n, what))
            return line + n + strlen(what);
    }
    return NULL;
}

bool catalogue_overrides(const CloudConfig *c, CloudService s)
{
    return override_of(c, s, "=") != NULL;
}

static const char *interface_of(const CloudConfig *c, CloudService s)
{
    const char *own = override_of(c, s, "@interface=");

    return own ? own : c->interface ? c->interface : "public";
}

/* The version part of an address ("/v2.1"), at its start; NULL if there is none. */
static const char *version_in(const char *url)
{
    const char *host = strstr(url, "://");

    for (const char *p = host ? strchr(host + 3, '/') : NULL; p; p = strchr(p + 1, '/'))
        if (p[1] == 'v' && isdigit((unsigned char)p[2]))
            return p;
    return NULL;
}

static char *with_suffix(CloudService s, const char *address, const char *project_id)
{
    Buf url = BUF_INIT(BUF_MAX_LINE);

    buf_str(&url, address);
    while (ends_with(url.p, "/"))
        buf_truncate(&url, url.len - 1);
    const char *version = version_in(url.p);
    if (!version && services[s].suffix) {
        buf_str(&url, services[s].suffix);
        version = url.p + url.len - strlen(services[s].suffix);
    }
    if (version && services[s].by_project && !strchr(version + 1, '/'))
        buf_printf(&url, "/%s", project_id);
    return buf_detach(&url);
}

static bool is_region(const json_t *endpoint, const char *region)
{
    return !region || streq(region, json_str(endpoint, "region")) ||
           streq(region, json_str(endpoint, "region_id"));
}

/* The address of an entry for an interface and a region; the first of several. NULL if none. */
static const char *address_in(CloudService s, const json_t *entry, const CloudConfig *c,
                              const char *region, const char **ret_region)
{
    const json_t *e;
    size_t i;

    json_array_foreach (json_object_get(entry, "endpoints"), i, e) {
        const char *url = json_str(e, "url");
        if (!url || !streq(json_str(e, "interface"), interface_of(c, s)) || !is_region(e, region))
            continue;
        const char *version = version_in(url);
        size_t n = services[s].refused ? strlen(services[s].refused) : 0;
        if (n && version && strncmp(version, services[s].refused, n) == 0)
            continue;
        *ret_region = json_str(e, "region") ? json_str(e, "region") : json_str(e, "region_id");
        return url;
    }
    return NULL;
}

static void add_once(Buf *list, StrList *seen, const char *word)
{
    if (!word || !*word || strlist_has(seen, word))
        return;
    buf_printf(list, "%s%s", seen->len ? ", " : "", word);
    strlist_add(seen, word);
}

static int not_there(const json_t *catalog, const CloudConfig *c, CloudService s, Err *err)
{
    _cleanup_(buf_clear) Buf types = BUF_INIT(BUF_MAX_LINE), regions = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(strlist_clear) StrList seen_types = {0}, seen_regions = {0};
    const json_t *entry, *e;
    size_t i, j;

    json_array_foreach (catalog, i, entry) {
        add_once(&types, &seen_types, json_str(entry, "type"));
        json_array_foreach (json_object_get(entry, "endpoints"), j, e) {
            add_once(&regions, &seen_regions, json_str(e, "region"));
        }
    }
    err_set(err, ERR_NOT_FOUND,
            "the cloud %s has no %s%s%s (%s, interface %s); it has %s in the regions %s",
            c->name ? c->name : "", answer_service_name(s), c->region ? " in region " : "",
            c->region ? c->region : "", services[s].types[0], interface_of(c, s),
            types.len ? types.p : "nothing", regions.len ? regions.p : "(none)");
    return err_hint(err, "an address of your own goes into clouds.yaml as "
                         "<service>_endpoint_override");
}

int catalogue_endpoint(const json_t *catalog, const CloudConfig *c, const char *project_id,
                       CloudService s, char **ret_url, const char **ret_region, Err *err)
{
    const char *region = override_of(c, s, "@region=");
    const char *address = override_of(c, s, "=");
    const json_t *entry;
    size_t i;

    if (!region)
        region = c->region;
    *ret_region = region;
    for (size_t t = 0; !address && t < ARRAY_LEN(services[s].types) && services[s].types[t]; t++)
        json_array_foreach (catalog, i, entry) {
            if (!address && streq(json_str(entry, "type"), services[s].types[t]))
                address = address_in(s, entry, c, region, ret_region);
        }
    if (!address)
        return not_there(catalog, c, s, err);
    *ret_url = with_suffix(s, address, project_id);
    return 0;
}
