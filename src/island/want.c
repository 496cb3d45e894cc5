#include "island/want.h"
#include "island/load.h"
#include "island/search.h"

static void add(ResourceVec *ret, const Island *i, ResourceKind kind, const char *key,
                json_t *attrs)
{
    Resource r = {.kind = kind,
                  .key = xstrdup(key),
                  .generation = 1,
                  .name = resource_name(i->name, kind, key, 1),
                  .cloud = CLOUD_OF_ISLAND,
                  .attrs = attrs,
                  .protect = island_protects(kind, key)};

    vec_push(ret, r);
}

bool island_protects(ResourceKind kind, const char *key)
{
    return kind == RESOURCE_VOLUME || kind == RESOURCE_FLOATING_IP ||
           (kind == RESOURCE_CONTAINER &&
            (streq(key, "media") || streq(key, "vault") || streq(key, "backup")));
}

/* The id of the external network; its name (or "") where the cloud does not have it. */
static const char *external_id(const Island *i, const json_t *facts)
{
    json_t *nets = json_at(facts, "external");
    const json_t *id = NULL;

    if (i->network.external[0])
        id = json_object_get(nets, i->network.external);
    else if (json_object_size(nets) == 1)
        id = json_object_iter_value(json_object_iter(nets));
    return json_is_string(id) ? json_string_value(id) : i->network.external;
}

static char *gateway(const Island *i)
{
    uint32_t base = 0;
    int prefix = 0;

    BUG_IF(!cidr_parse(i->network.cidr, &base, &prefix));
    base++;
    return xasprintf("%u.%u.%u.%u", base >> 24, base >> 16 & 255, base >> 8 & 255, base & 255);
}

/* The id of something that is there already and is only used; its name where the cloud does not
 * have it. */
static const char *foreign_id(const json_t *facts, const char *part, const char *name)
{
    const json_t *found = json_object_get(json_at(facts, part), name);
    const char *id = json_is_object(found) ? json_str(found, "id") : json_string_value(found);

    return id ? id : name;
}

static void want_own_network(const Island *i, const json_t *facts, ResourceVec *ret)
{
    _cleanup_free_ char *first = gateway(i);
    bool foreign = i->network.router[0] != '\0';

    add(ret, i, RESOURCE_NETWORK, "main", json_object());
    add(ret, i, RESOURCE_SUBNET, "main",
        json_make_new("{s:s, s:s, s:s, s:o, s:b}", "network", "main", "cidr", i->network.cidr,
                      "gateway", first, "dns", json_list_new(&i->network.dns), "dhcp", 1));
    if (!foreign)
        add(ret, i, RESOURCE_ROUTER, "main",
            json_make_new("{s:s}", "external", external_id(i, facts)));
    add(ret, i, RESOURCE_INTERFACE, "main",
        json_make_new("{s:s, s:s, s:s, s:s}", "network", "main", "subnet", "main", "address", first,
                      "router",
                      foreign ? foreign_id(facts, "routers", i->network.router) : "main"));
    if (foreign)
        json_object_set_new(vec_last(ret)->attrs, "foreign", json_true());
}

static void want_network(const Island *i, const json_t *facts, ResourceVec *ret)
{
    _cleanup_free_ char *edge = island_first_server(i, ROLE_EDGE);
    const char *external = external_id(i, facts);

    if (!i->network.name[0])
        want_own_network(i, facts, ret);
    if (edge)
        add(ret, i, RESOURCE_FLOATING_IP, "main",
            json_make_new("{s:s, s:s}", "external", external, "port", edge));
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void world_rules(StrList *rules, int port)
{
    if (!port)
        return;
    strlist_addf(rules, "in tcp %d 0.0.0.0/0", port);
    strlist_addf(rules, "in tcp %d ::/0", port);
}

/* Who may connect to a tier: by group, so that more servers need no more rules. */
static json_t *rules_new(const Island *i, const Tier *t)
{
    _cleanup_(strlist_clear) StrList rules = {0};

    for (int role = 0; role < ROLES; role++) {
        const RoleRow *row = &role_rows[role];

        if (!(t->roles & ROLE_BIT(role)))
            continue;
        if (row->world) {
            world_rules(&rules, i->edge.http);
            world_rules(&rules, i->edge.https);
        }
        for (size_t k = 0; row->port && k < i->n_tiers; k++) {
            if (i->tiers[k].roles & row->clients)
                strlist_addf(&rules, "in tcp %d group:%s", row->port, i->tiers[k].name);
        }
    }
    if (rules.len)
        qsort(rules.items, rules.len, sizeof *rules.items, by_text);
    return json_list_new(&rules);
}

static json_t *counts_new(const Tier *t, const int *counts)
{
    json_t *o = json_object();

    if (t->roles & ROLE_BIT(ROLE_WEB))
        json_object_set_new(o, "web", json_integer(counts[ROLE_WEB]));
    if (t->roles & ROLE_BIT(ROLE_WORKER))
        json_object_set_new(o, "worker", json_integer(counts[ROLE_WORKER]));
    return o;
}

/* The servers that the roles of a tier connect to. */
static json_t *peers_new(const Island *i, const Tier *t)
{
    static const Role roles[] = {ROLE_POSTGRES, ROLE_REDIS, ROLE_WEB, ROLE_STREAM, ROLE_SEARCH};
    json_t *o = json_object();

    for (size_t r = 0; r < ARRAY_LEN(roles); r++) {
        json_t *keys;

        if (!(t->roles & role_rows[roles[r]].clients))
            continue;
        keys = json_array();
        for (size_t k = 0; k < i->n_tiers; k++) {
            const Tier *peer = &i->tiers[k];

            for (int n = 0; peer->roles & ROLE_BIT(roles[r]) && n < peer->count; n++) {
                if (!tier_has(peer, n))
                    continue;
                _cleanup_free_ char *key = xasprintf("%s.%d", peer->name, n);

                json_array_append_new(keys, json_string(key));
            }
        }
        if (role_rows[roles[r]].required || json_array_size(keys) > 0 || roles[r] == ROLE_STREAM)
            json_object_set_new(o, role_rows[roles[r]].name, keys);
        else
            json_decref(keys);
    }
    return o;
}

json_t *island_release_new(const Island *i)
{
    static const char *const words[] = {
        [RELEASE_IMAGE] = "image", [RELEASE_TREE] = "tree", [RELEASE_CANARY] = "canary"};

    return json_make_new("{s:s, s:s, s:s}", "kind", words[i->release.kind], "version",
                         i->release.version, "ref", i->release.image ? i->release.image : "");
}

static json_t *listen_new(const Island *i, const Tier *t, const char *key)
{
    _cleanup_free_ char *first = island_first_server(i, ROLE_EDGE);

    if (!(t->roles & ROLE_BIT(ROLE_EDGE)))
        return json_make_new("{s:i, s:i, s:s}", "http", 0, "https", 0, "pair", "");
    json_t *listen = json_make_new("{s:i, s:i, s:s}", "http", i->edge.http, "https", i->edge.https,
                                   "pair", i->edge.https ? i->edge.tls_mark : "");
    if (*i->edge.acme_email)
        json_object_set_new(listen, "acme",
                            json_make_new("{s:s, s:s, s:s, s:b}", "email", i->edge.acme_email,
                                          "server", i->edge.acme_server, "ca", i->edge.acme_ca_pem,
                                          "here", streq(first, key)));
    return listen;
}

/* Mastodon's own: what runs its code. */
#define MASTODON (ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_STREAM) | ROLE_BIT(ROLE_WORKER))

static void add_env(const Island *i, const Tier *t, json_t *attrs)
{
    json_t *values = json_object(), *secrets = json_object();

    for (size_t k = 0; t->roles & MASTODON && k < i->env.len; k++) {
        const IslandEnv *e = &i->env.items[k];

        if (e->secret)
            json_object_set_new(secrets, e->name, json_string(e->secret));
        else
            json_object_set_new(values, e->name, json_string(e->value));
    }
    json_object_set_new(attrs, "env", values);
    json_object_set_new(attrs, "env_secrets", secrets);
    if (t->roles & (ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER)))
        json_object_set_new(attrs, "media",
                            json_make_new("{s:s, s:s, s:s}", "container", i->media.container,
                                          "user", "media", "url", i->media.url));
}

/* What a search server needs to know, and what those that ask it do beside its address. */
static void add_search(const Island *i, const json_t *facts, const Tier *t, json_t *attrs)
{
    const unsigned asks = ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER);
    const json_t *flavor = json_object_get(json_at(facts, "flavors"), t->flavor);

    if (t->roles & ROLE_BIT(ROLE_SEARCH))
        json_object_set_new(attrs, "search",
                            json_make_new("{s:s, s:s, s:s, s:i}", "kind", "search", "ref",
                                          i->search.image, "version", i->search.version, "heap_mb",
                                          search_heap_mb(json_int(flavor, "ram_mb", 0),
                                                         t->roles == ROLE_BIT(ROLE_SEARCH))));
    if (t->roles & asks && json_at(attrs, "peers.search"))
        json_object_set_new(attrs, "search_user", json_string(search_user(i->search.image)));
}

static int count_of(const Island *i, Role role)
{
    int n = 0;

    for (size_t k = 0; k < i->n_tiers; k++)
        if (i->tiers[k].roles & ROLE_BIT(role))
            n += i->tiers[k].count;
    return n;
}

/* The file itself, so that what works there works on the same island; and what there is to do. */
static json_t *control_new(const Island *i)
{
    json_t *tiers = json_array(), *logins = json_object();
    const char *clouds[4];

    for (size_t k = 0; k < i->n_tiers; k++)
        if (i->tiers[k].scale.on)
            json_array_append_new(tiers, json_string(i->tiers[k].name));
    island_clouds(i, clouds);
    for (size_t k = 0; clouds[k]; k++)
        json_object_set_new(logins, clouds[k], json_string(island_login(i, clouds[k])));
    return json_make_new("{s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:s}", "file", i->text, "environment",
                         i->environment, "ca_file", i->edge.acme_ca, "ca", i->edge.acme_ca_pem,
                         "scale", tiers, "logins", logins, "backup", i->backup.on, "pair",
                         i->edge.https ? i->edge.tls_mark : "");
}

static json_t *host_new(const Island *i, const json_t *facts, const Tier *t, const char *key)
{
    _cleanup_free_ char *prepare = island_first_server(i, ROLE_WEB), *plan = island_scheduler(i);
    json_t *attrs, *roles = json_array();

    for (int r = 0; r < ROLES; r++) {
        if (t->roles & ROLE_BIT(r))
            json_array_append_new(roles, json_string(role_rows[r].name));
    }
    attrs = json_make_new("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o}",
                          "island", i->name, "domain", i->domain, "server", key, "roles", roles,
                          "processes", counts_new(t, t->processes), "threads",
                          counts_new(t, t->threads), "queues", json_list_new(&t->queues), "release",
                          island_release_new(i), "prepare", streq(prepare, key), "scheduler",
                          streq(plan, key), "listen", listen_new(i, t, key), "peers",
                          peers_new(i, t), "volume", t->volume_gb ? json_string(key) : json_null(),
                          "ssh_keys", json_list_new(&i->ssh_keys));
    if (t->volume_gb)
        json_object_set_new(attrs, "volume_gb", json_integer(t->volume_gb));
    if (t->roles & ROLE_BIT(ROLE_WEB))
        json_object_set_new(attrs, "only_web", json_boolean(count_of(i, ROLE_WEB) == 1));
    if (t->roles & ROLE_BIT(ROLE_STREAM) && island_streams_node(i))
        json_object_set_new(attrs, "streams_node", json_true());
    if (i->backup.on && t->roles & ROLE_BIT(ROLE_POSTGRES))
        json_object_set_new(attrs, "backup",
                            json_make_new("{s:s, s:i}", "container", i->backup.container, "every_h",
                                          i->backup.every_h));
    if (t->roles & ROLE_BIT(ROLE_CONTROL))
        json_object_set_new(attrs, "control", control_new(i));
    add_env(i, t, attrs);
    add_search(i, facts, t, attrs);
    return attrs;
}

/* "web.0" for db.0 where the file says `moved: {db: web}`; to be freed, or NULL. */
static char *moved_from(const Island *i, const Tier *t, int number)
{
    for (size_t k = 0; k < i->moved.len; k++)
        if (streq(i->moved.items[k].to, t->name))
            return xasprintf("%s.%d", i->moved.items[k].from, number);
    return NULL;
}

static void want_volume(const Island *i, const Tier *t, int number, const char *key,
                        ResourceVec *ret)
{
    _cleanup_free_ char *moved = moved_from(i, t, number);

    add(ret, i, RESOURCE_VOLUME, key,
        json_make_new("{s:i, s:s}", "size_gb", t->volume_gb, "type", t->volume_type));
    if (moved)
        json_object_set_new(vec_last(ret)->attrs, "moved", json_string(moved));
}

static void want_port(const Island *i, const json_t *facts, const Tier *t, const char *key,
                      ResourceVec *ret)
{
    bool foreign = i->network.name[0] != '\0';

    add(ret, i, RESOURCE_PORT, key,
        json_make_new("{s:s, s:s, s:[s]}", "network",
                      foreign ? foreign_id(facts, "networks", i->network.name) : "main", "subnet",
                      foreign ? foreign_id(facts, "subnets", i->network.subnet) : "main", "groups",
                      t->name));
    if (foreign)
        json_object_set_new(vec_last(ret)->attrs, "foreign", json_true());
}

static void want_server(const Island *i, const json_t *facts, const Tier *t, int number,
                        ResourceVec *ret)
{
    _cleanup_free_ char *key = xasprintf("%s.%d", t->name, number);
    json_t *volumes = json_array();

    want_port(i, facts, t, key, ret);
    if (t->volume_gb) {
        json_array_append_new(volumes, json_string(key));
        want_volume(i, t, number, key, ret);
    }
    add(ret, i, RESOURCE_SERVER, key,
        json_make_new("{s:s, s:s, s:[s], s:o, s:s}", "flavor", t->flavor, "image", i->image,
                      "ports", key, "volumes", volumes, "group", t->name));
    add(ret, i, RESOURCE_HOST, key, host_new(i, facts, t, key));
}

static void want_container(const Island *i, const char *key, json_t *attrs, ResourceVec *ret)
{
    Resource *r;

    add(ret, i, RESOURCE_CONTAINER, key, attrs);
    r = vec_last(ret);
    free(r->name);
    if (streq(key, "media")) {
        r->name = xstrdup(i->media.container);
        r->cloud = CLOUD_OF_MEDIA;
    } else if (streq(key, "backup")) {
        r->name = xstrdup(i->backup.container);
        r->cloud = CLOUD_OF_BACKUP;
    } else {
        r->name = xasprintf("%s-%s", i->name, key);
    }
}

static json_t *container_new(bool versions, bool temp_url)
{
    return json_make_new("{s:[], s:[], s:s, s:b, s:b}", "read", "write", "cors", "", "versions",
                         versions, "temp_url", temp_url);
}

static void want_objects(const Island *i, ResourceVec *ret)
{
    _cleanup_free_ char *origin = xasprintf("https://%s", i->domain);

    /* The roles of one that is given are its maker's. */
    add(ret, i, RESOURCE_USER, "media",
        i->media.user_id[0] ? json_make_new("{s:[]}", "roles")
                            : json_make_new("{s:[s]}", "roles", i->media.role));
    vec_last(ret)->cloud = CLOUD_OF_MEDIA;
    want_container(i, "boot", container_new(false, true), ret);
    want_container(i, "mail", container_new(false, true), ret);
    want_container(i, "vault", container_new(true, false), ret);
    /* World-readable, not listable; one user may write (design: the field report). */
    want_container(i, "media",
                   json_make_new("{s:[s], s:[s], s:s, s:b, s:b}", "read", ".r:*", "write", "media",
                                 "cors", origin, "versions", 0, "temp_url", 0),
                   ret);
    /* The database's server may add to it, by addresses that can do nothing else, and what it
     * writes over is kept. */
    if (i->backup.on)
        want_container(i, "backup", container_new(true, true), ret);
}

void island_want(const Island *i, const json_t *facts, ResourceVec *ret)
{
    want_network(i, facts, ret);
    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];

        add(ret, i, RESOURCE_GROUP, t->name, json_make_new("{s:o}", "rules", rules_new(i, t)));
        add(ret, i, RESOURCE_SERVER_GROUP, t->name,
            json_make_new("{s:s}", "policy", "soft-anti-affinity"));
    }
    want_objects(i, ret);
    for (size_t k = 0; k < i->n_tiers; k++) {
        /* Of a scaled tier any number up to the largest may be among those that stayed. */
        for (int n = 0; n < ISLAND_COUNT_MAX; n++)
            if (tier_has(&i->tiers[k], n))
                want_server(i, facts, &i->tiers[k], n, ret);
    }
}

void island_containers(const Island *i, StrList *ret)
{
    static const char *const ours[] = {"boot", "mail", "vault"};

    for (size_t k = 0; k < ARRAY_LEN(ours); k++)
        strlist_addf(ret, "%d:%s-%s", CLOUD_OF_ISLAND, i->name, ours[k]);
    strlist_addf(ret, "%d:%s", CLOUD_OF_MEDIA, i->media.container);
    if (i->backup.on)
        strlist_addf(ret, "%d:%s", CLOUD_OF_BACKUP, i->backup.container);
}
