#include "host/spec.h"
#include "io/crypt.h"

static const char *port_address(const World *w, const char *key, int generation)
{
    const Resource *port = world_find(w, RESOURCE_PORT, key, generation);
    if (!port)
        port = world_find(w, RESOURCE_PORT, key, 0);
    const char *address = port ? json_str(port->attrs, "address") : NULL;
    return address && *address ? address : NULL;
}

/* Peers by port key become peers by address; false if one has none yet. */
static bool resolve_peers(json_t *spec, const World *w)
{
    const char *role;
    json_t *keys, *peers = json_object_get(spec, "peers");

    json_object_foreach (peers, role, keys) {
        for (size_t i = 0; i < json_array_size(keys); i++) {
            const char *key = json_string_value(json_array_get(keys, i));
            const char *address = key ? port_address(w, key, 0) : NULL;
            if (!address)
                return false;
            json_array_set_new(keys, i, json_string(address));
        }
    }
    return true;
}

/* The facts of the media's cloud, which may be the island's own. */
static const json_t *media_facts(const World *w)
{
    const json_t *facts = json_at(w->facts, "clouds.media");
    return facts ? facts : json_at(w->facts, "clouds.island");
}

static json_t *object_url_new(const json_t *media, const json_t *facts, const char *container)
{
    Buf url = BUF_INIT(BUF_MAX_LINE);
    const char *own = json_str_or(media, "url", "");

    if (*own) {
        buf_str(&url, own);
    } else {
        buf_printf(&url, "%s/", json_str_or(facts, "object_url", ""));
        buf_url_quote(&url, container, "");
    }
    while (url.len > 0 && url.p[url.len - 1] == '/')
        buf_truncate(&url, url.len - 1);
    json_t *text = json_string(url.p);
    buf_clear(&url);
    return text;
}

/* {container, user, url} becomes all that a host needs to know to upload; false if the user is not
 * there yet. */
static bool resolve_media(json_t *spec, const World *w)
{
    const json_t *media = json_object_get(spec, "media");
    if (!json_is_object(media))
        return true;

    const Resource *user = world_find(w, RESOURCE_USER, json_str_or(media, "user", "media"), 0);
    const json_t *facts = media_facts(w);
    const char *container = json_str_or(media, "container", "");
    if (!user || !user->name || !facts || !json_str(facts, "project_id"))
        return false;
    json_t *resolved = json_make_new(
        "{s:s, s:s, s:s, s:s, s:s, s:s}", "container", container, "username", user->name,
        "user_domain", json_str_or(facts, "domain_name", "Default"), "project_id",
        json_str_or(facts, "project_id", ""), "region", json_str_or(facts, "region", ""),
        "auth_url", json_str_or(facts, "auth_url", ""));
    json_object_set_new(resolved, "object_url", object_url_new(media, facts, container));
    json_object_set_new(spec, "media", resolved);
    return true;
}

static bool resolve_volume(json_t *spec, const World *w)
{
    const char *key = json_str(spec, "volume");
    if (!key || !*key)
        return true;
    const Resource *volume = world_find(w, RESOURCE_VOLUME, key, 0);
    if (!volume || !volume->id || !*volume->id)
        return false;
    json_object_set_new(spec, "volume_id", json_string(volume->id));
    return true;
}

json_t *host_spec_new(const Resource *want, const World *w)
{
    _cleanup_json_ json_t *spec = json_deep_copy(want->attrs);
    const char *address = port_address(w, want->key, want->generation);

    if (!spec || !address)
        return NULL;
    json_object_set_new(spec, "address", json_string(address));
    if (!resolve_peers(spec, w) || !resolve_media(spec, w) || !resolve_volume(spec, w))
        return NULL;
    return TAKE(spec);
}

void host_spec_hash(const json_t *spec, char ret[static 17])
{
    _cleanup_free_ char *text = json_text_new(spec);
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);

    crypt_hash(CRYPT_SHA256, str_of(text), &hex);
    BUG_IF(hex.len < 16);
    memcpy(ret, hex.p, 16);
    ret[16] = '\0';
}
