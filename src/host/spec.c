#include "host/spec.h"
#include "host/mail.h"
#include "host/release.h"
#include "host/tls.h"
#include "io/crypt.h"
#include "island/roles.h"

static const char *port_address(const World *w, const char *key, int generation)
{
    const Resource *port = world_find(w, RESOURCE_PORT, key, generation);
    if (!port)
        port = world_find(w, RESOURCE_PORT, key, 0);
    const char *address = port ? json_str(port->attrs, "address") : NULL;
    return address && *address ? address : NULL;
}

/* Peers by port key become peers by address; false if one has none yet. A server is its own peer,
 * also while an older generation still serves in its place. */
static bool resolve_peers(const Resource *want, json_t *spec, const World *w)
{
    const char *role;
    json_t *keys, *peers = json_object_get(spec, "peers");

    json_object_foreach (peers, role, keys) {
        for (size_t i = 0; i < json_array_size(keys); i++) {
            const char *key = json_string_value(json_array_get(keys, i));
            int generation = streq(key, want->key) ? want->generation : host_current(w, key);
            const char *address = key ? port_address(w, key, generation) : NULL;
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

/* It ran, and takes further settings now. */
static bool takes_further(const Resource *host)
{
    int64_t sent = json_int(host->attrs, "sent", 0);

    return sent > 1 && (json_int(host->attrs, "seen", 0) < sent ||
                        streq(json_str(host->attrs, "state"), "starting"));
}

/* Who has the queue keeps it; another gets it when who had it has stopped. */
static bool may_schedule(const Resource *want, const World *w)
{
    const Resource *own = world_find(w, RESOURCE_HOST, want->key, want->generation);

    if (own && json_bool(own->attrs, "sent_scheduler", false))
        return true;
    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];
        int64_t sent = json_int(r->attrs, "sent", 0);

        if (r->kind != RESOURCE_HOST || r == own)
            continue;
        if (json_bool(r->attrs, "sent_scheduler", false))
            return false;
        if (takes_further(r) || (sent > 1 && streq(json_str(r->attrs, "state"), "refused")))
            return false; /* it may have had it until now, or has it still */
    }
    return true;
}

json_t *host_spec_new(const Resource *want, const World *w)
{
    _cleanup_json_ json_t *spec = json_deep_copy(want->attrs);
    const char *address = port_address(w, want->key, want->generation);

    if (!spec || !address)
        return NULL;
    json_object_set_new(spec, "address", json_string(address));
    if (json_bool(spec, "scheduler", false) && !may_schedule(want, w))
        json_object_set_new(spec, "scheduler", json_false());
    _cleanup_(release_clear) ReleaseRecord release = {0};
    (void)release_read(w->mail, json_object_get(spec, "release"), &release); /* none: the file's */
    release_spec(&release, spec);
    if (!resolve_peers(want, spec, w) || !resolve_media(spec, w) || !resolve_volume(spec, w) ||
        !tls_spec(w->mail, spec))
        return NULL;
    return TAKE(spec);
}

json_t *host_stop_spec_new(const Resource *have)
{
    return json_make_new("{s:s, s:[], s:b}", "server", have->key, "roles", "stop", 1);
}

json_t *host_keeps_new(const json_t *spec)
{
    json_t *keeps = json_object();
    const json_t *v;
    size_t i;

    json_array_foreach (json_object_get(spec, "roles"), i, v) {
        const char *name = json_string_value(v);
        Role role;

        if (name && role_parse(name, &role) && role_rows[role].keeps)
            json_object_set_new(keeps, name,
                                json_string(json_str(spec, "volume") ? "volume" : "root"));
    }
    return keeps;
}

void host_kept(json_t *kept, const json_t *keeps)
{
    const char *role;
    json_t *disk;

    json_object_foreach ((json_t *)(uintptr_t)keeps, role, disk) {
        if (!streq(json_str(kept, role), "root"))
            json_object_set(kept, role, disk);
    }
}

bool host_was_sent(const Resource *have, const json_t *spec)
{
    char hash[17];

    host_spec_hash(spec, hash);
    return streq(json_str(have->attrs, "sent_spec"), hash);
}

bool host_was_sent_rest(const Resource *have, const json_t *spec)
{
    char hash[17];

    host_rest_hash(spec, hash);
    return streq(json_str(have->attrs, "sent_rest"), hash);
}

/* Its server is being deleted. */
static bool is_leaving(const Resource *host, const World *w)
{
    const Resource *server = world_find(w, RESOURCE_SERVER, host->key, host->generation);

    return server && server_leaving(server);
}

/* Healthy, or taking further settings: that does not stop it. */
static bool serves(const Resource *host, Msec now)
{
    return (streq(json_str(host->attrs, "state"), "healthy") || takes_further(host)) &&
           !mail_silent(host, now);
}

/* The better of two hosts of one key; NULL is the worst. */
static const Resource *better_host(const Resource *a, const Resource *b, const World *w)
{
    const Resource *const of[] = {a, b};
    int rank[2] = {0};

    for (size_t i = 0; i < 2; i++) {
        _cleanup_json_ json_t *stop = of[i] ? host_stop_spec_new(of[i]) : NULL;

        if (of[i] && !host_was_sent(of[i], stop) && !is_leaving(of[i], w))
            rank[i] = serves(of[i], w->now) ? 2 : 1;
    }
    if (!a || !b || rank[0] != rank[1])
        return !b || (a && rank[0] > rank[1]) ? a : b;
    /* Of healthy ones the newer; of others the one that was there before. */
    return (a->generation > b->generation) == (rank[0] == 2) ? a : b;
}

int host_current(const World *w, const char *key)
{
    const Resource *best = NULL;

    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];

        if (r->kind == RESOURCE_HOST && streq(r->key, key))
            best = best ? better_host(best, r, w) : r;
    }
    return best ? best->generation : 0;
}

static void hash_text(Str text, char ret[static 17])
{
    _cleanup_(buf_clear) Buf hex = BUF_INIT(BUF_MAX_LINE);

    crypt_hash(CRYPT_SHA256, text, &hex);
    BUG_IF(hex.len < 16);
    memcpy(ret, hex.p, 16);
    ret[16] = '\0';
}

void host_spec_hash(const json_t *spec, char ret[static 17])
{
    _cleanup_free_ char *text = json_text_new(spec);

    hash_text(str_of(text), ret);
}

void host_rest_hash(const json_t *spec, char ret[static 17])
{
    _cleanup_json_ json_t *rest = json_copy((json_t *)(uintptr_t)spec);

    json_object_del(rest, "peers");
    host_spec_hash(rest, ret);
}
