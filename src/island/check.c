/* What no key can tell alone: does the whole make an instance that can run? */
#include "island/env_rules.h"
#include "island/load.h"
#include <arpa/inet.h>

bool cidr_parse(const char *text, uint32_t *ret_base, int *ret_prefix)
{
    const char *slash = strchr(text, '/');
    char address[INET_ADDRSTRLEN];
    struct in_addr in;
    int64_t prefix;

    if (!slash || (size_t)(slash - text) >= sizeof address)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (inet_pton(AF_INET, address, &in) != 1 || !parse_int(slash + 1, 0, 32, &prefix))
        return false;
    if (prefix < 32 && (ntohl(in.s_addr) & (UINT32_MAX >> prefix)))
        return false;
    *ret_base = ntohl(in.s_addr);
    *ret_prefix = (int)prefix;
    return true;
}

/* The node at a dotted path that the file may have; the nearest one there is otherwise. */
static const YamlNode *node_at(const IslandLoad *l, const YamlNode *from, const char *path)
{
    const YamlNode *n = from ? from : &l->yaml->root;
    Str rest = str_of(path), part;

    while (str_next(&rest, '.', &part)) {
        _cleanup_free_ char *key = xstrndup(part.p, part.n);
        const YamlNode *child = yaml_get(n, key);

        if (!child)
            break;
        n = child;
    }
    return n;
}

/* At the key where there is one, else at the value. */
static _printf_(4, 5) int fail(const IslandLoad *l, const YamlNode *n, Err *err, const char *format,
                               ...)
{
    _cleanup_free_ char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = xvasprintf(format, ap);
    va_end(ap);
    return n->key ? yaml_key_error(l->yaml, n, err, "%s", text)
                  : yaml_error(l->yaml, n, err, "%s", text);
}

/* Node is in an image only: a tree is packed without it, and what Debian 12 has is too old for it.
 */
static int check_stream(IslandLoad *l, Err *err)
{
    const Island *i = l->island;
    const YamlNode *n = node_at(l, NULL, "release.stream");
    const char *why =
        i->release.kind == RELEASE_CANARY ? "the canary has no streaming server"
        : i->release.kind == RELEASE_TREE ? "a tree comes without Node"
        : starts_with(i->release.image, "oci-archive:")
            ? "the streaming server has an image of its own, which is not in that file"
        : strchr(i->release.image, '@')
            ? "the streaming server has an image of its own, with another digest"
        : island_is_pocket(i) ? "a pocket cloud runs no images"
                              : NULL;

    if (!island_streams_node(i) || !why)
        return 0;
    (void)fail(l, n, err, "release.stream is \"node\", but %s", why);
    return err_hint(err, "leave it out: atoll serves the streaming API of any release");
}

static int check_release(IslandLoad *l, Err *err)
{
    Island *i = l->island;
    const YamlNode *n = node_at(l, NULL, "release");
    int kinds = (i->release.kind == RELEASE_CANARY) + !!i->release.image + !!i->release.tree;

    if (kinds != 1) {
        (void)fail(l, n, err,
                   kinds ? "release names more than one Mastodon"
                         : "release does not say which Mastodon");
        return err_hint(err, "give one of {image: ..., version: ...}, {tree: ..., version: ...}, "
                             "{canary: true}");
    }
    if (i->release.kind == RELEASE_CANARY && !i->release.version)
        i->release.version = xstrdup("1");
    if (!i->release.version) {
        (void)fail(l, n, err, "release.version is missing");
        return err_hint(err, "give the image's tag, or the tree's version, such as v4.7.6");
    }
    if (i->release.image)
        i->release.kind = RELEASE_IMAGE;
    else if (i->release.tree)
        i->release.kind = RELEASE_TREE;
    return check_stream(l, err);
}

static int check_owner(IslandLoad *l, Err *err)
{
    const YamlNode *n = node_at(l, NULL, "owner");

    if (!l->island->owner.name == !l->island->owner.email)
        return 0;
    return fail(l, n, err, "owner needs a name and an email");
}

static bool has_role(const Island *i, Role role)
{
    for (size_t k = 0; k < i->n_tiers; k++)
        if (i->tiers[k].roles & ROLE_BIT(role))
            return true;
    return false;
}

/* Only where the file has them: defaults say nothing of what is wanted. */
static int check_search(IslandLoad *l, Err *err)
{
    const YamlNode *n = yaml_get(&l->yaml->root, "search");

    if (!n || has_role(l->island, ROLE_SEARCH))
        return 0;
    (void)fail(l, n, err, "search is given, but no servers carry the role \"search\"");
    return err_hint(err, "add it to the roles of a tier: search: {flavor: ..., roles: [search]}");
}

static bool cidr_private(const IslandLoad *l, uint32_t base, int prefix)
{
    static const struct {
        uint32_t base;
        int prefix;
    } nets[] = {{0x0a000000, 8}, {0xac100000, 12}, {0xc0a80000, 16}, {0x64400000, 10}};

    if (prefix < 16 || prefix > 28)
        return false;
    if (base >> 24 == 127)
        return island_is_pocket(l->island);
    for (size_t k = 0; k < ARRAY_LEN(nets); k++) {
        if (base >> (32 - nets[k].prefix) == nets[k].base >> (32 - nets[k].prefix))
            return true;
    }
    return false;
}

/* A network that is used has its own router, addresses and resolvers. */
static int check_used_network(IslandLoad *l, Err *err)
{
    static const char *const own[] = {"cidr", "dns", "router"};
    const Island *i = l->island;
    const YamlNode *n = node_at(l, NULL, "network");

    if (!i->network.name[0] || !i->network.subnet[0]) {
        (void)fail(l, n, err, "network.%s is missing", i->network.name[0] ? "subnet" : "name");
        return err_hint(err, "a network that is there already needs both, name and subnet");
    }
    for (size_t k = 0; k < ARRAY_LEN(own); k++)
        if (yaml_get(n, own[k]))
            return fail(l, yaml_get(n, own[k]), err,
                        "network.%s goes with a network of the island's own, not with network.name",
                        own[k]);
    return 0;
}

static int check_network(IslandLoad *l, Err *err)
{
    Island *i = l->island;
    const YamlNode *n = node_at(l, NULL, "network.cidr");
    unsigned char binary[sizeof(struct in6_addr)];
    uint32_t base;
    int prefix;

    if (i->network.name[0] || i->network.subnet[0])
        return check_used_network(l, err);
    if (!cidr_parse(i->network.cidr, &base, &prefix) || !cidr_private(l, base, prefix)) {
        (void)fail(l, n, err, "network.cidr is \"%s\"; it must be a private IPv4 network",
                   i->network.cidr);
        return err_hint(err, "allowed: /16 to /28 within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 "
                             "or 100.64.0.0/10, no bits behind the prefix: 10.77.0.0/24");
    }
    /* Network, broadcast, gateway and up to two addresses of the cloud's own DHCP. */
    if (island_count(i) + 5 > 1 << (32 - prefix))
        return fail(l, n, err,
                    "network.cidr has too few addresses for %d servers: take a larger one",
                    island_count(i));
    n = node_at(l, NULL, "network.dns");
    for (size_t k = 0; k < i->network.dns.len; k++) {
        const char *dns = i->network.dns.items[k];

        if (inet_pton(AF_INET, dns, binary) != 1 && inet_pton(AF_INET6, dns, binary) != 1)
            return yaml_error(l->yaml, &n->items[k], err, "\"%s\" is not an IP address", dns);
    }
    return 0;
}

static int no_certificate(Err *err)
{
    return err_hint(err, "give edge.tls: {acme: EMAIL} or {certificate: FILE, key: FILE}");
}

static int check_acme(IslandLoad *l, Err *err)
{
    const Island *i = l->island;

    if (*i->edge.tls_certificate || *i->edge.tls_key) {
        (void)fail(l, node_at(l, NULL, "edge.tls"), err,
                   "edge.tls has both files and acme: only one of them can be served");
        return no_certificate(err);
    }
    if (*i->edge.acme_server && !starts_with(i->edge.acme_server, "https://"))
        return fail(l, node_at(l, NULL, "edge.tls.server"), err,
                    "edge.tls.server is \"%s\"; it must be https://...", i->edge.acme_server);
    if (*i->edge.acme_ca && !*i->edge.acme_server)
        return fail(l, node_at(l, NULL, "edge.tls.ca"), err,
                    "edge.tls.ca is for an authority of your own: edge.tls.server is missing");
    if (i->edge.https == 0)
        return fail(l, node_at(l, NULL, "edge.https"), err,
                    "edge.https is 0: nothing would serve the certificate");
    if (i->edge.http != 80 && !*i->edge.acme_server) {
        (void)fail(l, node_at(l, NULL, "edge.http"), err,
                   "edge.http is %d, and Let's Encrypt looks at port 80 alone", i->edge.http);
        return err_hint(err, "leave it out; or name another authority with edge.tls.server");
    }
    return 0;
}

static int check_tls(IslandLoad *l, Err *err)
{
    const Island *i = l->island;
    const YamlNode *n = node_at(l, NULL, "edge.tls");

    if (*i->edge.acme_email)
        return check_acme(l, err);
    if (*i->edge.acme_server || *i->edge.acme_ca) {
        (void)fail(l, n, err, "edge.tls.acme is missing: an address that the authority writes to");
        return no_certificate(err);
    }
    if (!*i->edge.tls_certificate && !*i->edge.tls_key) {
        (void)fail(l, n, err, "edge.tls is empty");
        return no_certificate(err);
    }
    if (*i->edge.tls_certificate && *i->edge.tls_key)
        return 0;
    (void)yaml_key_error(l->yaml, n, err, "edge.tls.%s is missing",
                         *i->edge.tls_key ? "certificate" : "key");
    return err_hint(err, "it must be a file: a path, relative to this file");
}

static int check_edge(IslandLoad *l, Err *err)
{
    Island *i = l->island;
    const YamlNode *n = node_at(l, NULL, "edge.https");
    const YamlNode *edge = yaml_get(&l->yaml->root, "edge");
    int r = edge && yaml_get(edge, "tls") ? check_tls(l, err) : 0;

    if (r < 0)
        return r;
    if (i->edge.https && !i->edge.tls_certificate[0] && !i->edge.acme_email[0]) {
        (void)fail(l, n, err, "edge.https needs a certificate");
        return no_certificate(err);
    }
    if (i->edge.https == i->edge.http)
        return fail(l, n, err, "edge.http and edge.https are the same port");
    return 0;
}

/* Keys of a tier that say something about a role it does not have. */
static int check_tier(IslandLoad *l, size_t at, Err *err)
{
    static const char *const maps[] = {"processes", "threads"};
    const Tier *t = &l->island->tiers[at];
    const YamlNode *n = l->tiers[at], *map;
    Role role;

    for (size_t k = 0; k < ARRAY_LEN(maps); k++) {
        map = yaml_get(n, maps[k]);
        for (size_t m = 0; map && m < map->len; m++) {
            if (role_parse(map->items[m].key, &role) && !(t->roles & ROLE_BIT(role)))
                return fail(l, &map->items[m], err, "servers.%s does not have the role \"%s\"",
                            t->name, map->items[m].key);
        }
    }
    if (t->queues.len && !(t->roles & ROLE_BIT(ROLE_WORKER)))
        return fail(l, node_at(l, n, "queues"), err,
                    "servers.%s has queues, but not the role \"worker\"", t->name);
    if (t->roles & ROLE_BIT(ROLE_POSTGRES) && !t->volume_gb) {
        (void)fail(l, n, err,
                   "servers.%s carries postgres and has no volume: the database would "
                   "go with the server",
                   t->name);
        return err_hint(err, "give it one: volume: {size: 50GB}");
    }
    return 0;
}

static int check_roles(IslandLoad *l, Err *err)
{
    const Island *i = l->island;

    for (int role = 0; role < ROLES; role++) {
        const RoleRow *row = &role_rows[role];
        const Tier *first = NULL;
        int servers = 0;

        for (size_t k = 0; k < i->n_tiers; k++) {
            const Tier *t = &i->tiers[k];

            if (!(t->roles & ROLE_BIT(role)))
                continue;
            servers += t->count;
            if (row->single && servers > 1 && !first) {
                (void)fail(l, node_at(l, l->tiers[k], "count"), err,
                           "servers.%s would be %d servers with the role \"%s\"", t->name, t->count,
                           row->name);
                return err_hint(err, "exactly one server may carry it: count: 1");
            }
            if (row->single && servers > 1) {
                (void)fail(l, node_at(l, l->tiers[k], "roles"), err,
                           "role \"%s\" is carried by servers.%s and by servers.%s", row->name,
                           first->name, t->name);
                return err_hint(err, "exactly one server may carry it: take it out of one of them");
            }
            first = t;
        }
        if (row->required && !servers) {
            (void)fail(l, node_at(l, NULL, "servers"), err, "no servers carry the role \"%s\"",
                       row->name);
            return err_hint(err, "add it to the roles of a tier; an instance needs edge, web, "
                                 "worker, redis and postgres, and one server may carry them all");
        }
    }
    return 0;
}

/* Hours that want more than there may be would want it in vain. */
static int check_calendar(IslandLoad *l, const Tier *t, const YamlNode *scale, Err *err)
{
    const YamlNode *calendar = yaml_get(scale, "calendar");

    for (size_t i = 0; i < t->scale.calendar.len; i++)
        if (t->scale.calendar.items[i].min > t->scale.max)
            return fail(l, yaml_get(&calendar->items[i], "min"), err,
                        "servers.%s.scale.calendar: min is more than the tier's max", t->name);
    return 0;
}

/* Servers that come and go hold nothing. */
static int check_scale(IslandLoad *l, Err *err)
{
    static const struct {
        const char *key;
        bool stream;
    } of_one[] = {{"queues", false}, {"drain", false},    {"policy", false},
                  {"budget", false}, {"calendar", false}, {"clients", true}};
    const Island *i = l->island;

    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];
        const YamlNode *n = node_at(l, l->tiers[k], "scale");

        if (!t->scale.on)
            continue;
        bool stream = t->roles == ROLE_BIT(ROLE_STREAM);
        if (t->roles != ROLE_BIT(ROLE_WORKER) && !stream) {
            (void)fail(l, n, err,
                       "servers.%s can't be scaled: its only role is not worker, nor stream",
                       t->name);
            return err_hint(err, "give the workers, or the streaming servers, a tier of their own");
        }
        for (size_t j = 0; j < ARRAY_LEN(of_one); j++) {
            const YamlNode *key = yaml_get(n, of_one[j].key);
            if (key && of_one[j].stream != stream)
                return fail(l, key, err, "servers.%s.scale: %s is for tiers of %s", t->name,
                            of_one[j].key, of_one[j].stream ? "streaming servers" : "workers");
        }
        if (stream && t->scale.min < 1)
            return fail(l, n, err, "servers.%s.scale: min is at least 1", t->name);
        if (yaml_get(l->tiers[k], "count"))
            return fail(l, node_at(l, l->tiers[k], "count"), err,
                        "servers.%s has count and scale: one of them", t->name);
        if (t->volume_gb)
            return fail(l, n, err, "servers.%s has a volume: it can't be scaled", t->name);
        if (t->scale.min > t->scale.max)
            return fail(l, n, err, "servers.%s.scale: min is more than max", t->name);
        if (strlist_has(&t->queues, "scheduler"))
            return fail(l, n, err, "servers.%s takes the scheduler's queue: it can't be scaled",
                        t->name);
        int r = check_calendar(l, t, n, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Mastodon's schedule is run by whoever takes the scheduler queue: twice is as wrong as never
 * (mastodon.md, Sidekiq). A tier without a list takes all queues, and atoll gives the scheduler
 * queue to one process of it. */
static int check_queues(IslandLoad *l, Err *err)
{
    const Island *i = l->island;
    const Tier *first = NULL, *any = NULL;

    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];
        int processes = t->count * t->processes[ROLE_WORKER];
        const YamlNode *n = node_at(l, l->tiers[k], "queues");

        if (!(t->roles & ROLE_BIT(ROLE_WORKER)))
            continue;
        if (!t->queues.len && !any && !t->scale.on)
            any = t;
        if (!strlist_has(&t->queues, "scheduler"))
            continue;
        if (first)
            return fail(l, n, err,
                        "the scheduler queue is in servers.%s and in servers.%s: exactly one "
                        "process may take it",
                        first->name, t->name);
        if (processes > 1)
            return fail(l, n, err,
                        "the scheduler queue would be taken by %d processes of servers.%s: exactly "
                        "one may; give it to a tier with one process",
                        processes, t->name);
        first = t;
    }
    for (size_t q = 0; island_queues[q] && !any; q++) {
        bool taken = false;

        for (size_t k = 0; k < i->n_tiers; k++) {
            const Tier *t = &i->tiers[k];
            taken = taken || strlist_has(&t->queues, island_queues[q]) ||
                    (t->scale.on && (t->roles & ROLE_BIT(ROLE_WORKER)) && !t->queues.len &&
                     !streq(island_queues[q], "scheduler"));
        }
        if (!taken) {
            (void)fail(l, node_at(l, NULL, "servers"), err, "nobody takes the queue \"%s\"",
                       island_queues[q]);
            return err_hint(err, "add it to the queues of a tier with the role worker; a tier "
                                 "without queues takes all");
        }
    }
    return 0;
}

/* Data goes from one tier to one other, and stays there. */
static int check_move(IslandLoad *l, size_t at, const YamlNode *n, Err *err)
{
    const Island *i = l->island;
    const IslandMove *m = &i->moved.items[at];
    const Tier *to = island_tier(i, m->to), *from = island_tier(i, m->from);

    if (streq(m->to, m->from))
        return fail(l, n, err, "moved: from %s to itself", m->to);
    if (!to) {
        (void)fail(l, n, err, "moved names the tier \"%s\", which is not in servers", m->to);
        return err_hint(err, "moved: {new tier: old tier}");
    }
    if (!to->volume_gb)
        return fail(l, n, err, "moved: servers.%s has no volume", m->to);
    if (from && from->volume_gb) {
        (void)fail(l, n, err, "moved: servers.%s still has a volume of its own", m->from);
        return err_hint(err, "take `volume` out of servers.%s: servers.%s has it now", m->from,
                        m->to);
    }
    for (size_t o = 0; o < i->moved.len; o++) {
        const IslandMove *other = &i->moved.items[o];

        if (streq(other->to, m->from))
            return fail(l, n, err,
                        "moved: %s is old here and new elsewhere; apply one after the other",
                        m->from);
        if (o != at && streq(other->from, m->from))
            return fail(l, n, err, "moved: the volumes of %s can't be those of %s and of %s",
                        m->from, other->to, m->to);
    }
    return 0;
}

static int check_moved(IslandLoad *l, Err *err)
{
    const YamlNode *map = yaml_get(&l->yaml->root, "moved");
    int r = 0;

    for (size_t k = 0; r == 0 && k < l->island->moved.len; k++)
        r = check_move(l, k, yaml_get(map, l->island->moved.items[k].to), err);
    return r;
}

/* A container's name, which stands in the file at `key`. */
static int check_container(IslandLoad *l, const char *key, const char *name, Err *err)
{
    static const char *const ours[] = {"boot", "mail", "vault"};
    const YamlNode *n = node_at(l, NULL, key);
    bool ok = strlen(name) <= 63;

    for (const char *p = name; *p; p++)
        ok = ok && ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '.');
    if (!ok) {
        (void)fail(l, n, err, "%s is \"%s\"", key, name);
        return err_hint(err, "allowed: up to 63 of a-z, 0-9, dots and dashes");
    }
    for (size_t k = 0; k < ARRAY_LEN(ours); k++) {
        _cleanup_free_ char *taken = xasprintf("%s-%s", l->island->name, ours[k]);

        if (streq(name, taken))
            return fail(l, n, err, "%s is \"%s\", which atoll keeps for itself", key, name);
    }
    return 0;
}

static int check_backup(IslandLoad *l, Err *err)
{
    const Island *i = l->island;
    int r = check_container(l, "backup.container", i->backup.container, err);

    if (r == 0 && streq(i->backup.container, i->media.container))
        r = fail(l, node_at(l, NULL, "backup.container"), err,
                 "backup.container is \"%s\", where media are kept", i->backup.container);
    if (r < 0 || !*i->backup.media_container)
        return r;
    const char *copy = i->backup.media_container;
    const char *media = *i->media.cloud ? i->media.cloud : i->cloud;
    r = check_container(l, "backup.media.container", copy, err);
    if (r == 0 && streq(i->backup.media_cloud, media) && streq(copy, i->media.container))
        r = fail(l, node_at(l, NULL, "backup.media.container"), err,
                 "backup.media is \"%s\" of %s, where media are kept", copy, media);
    return r;
}

static bool uses_cloud(const Island *i, const char *name)
{
    const char *clouds[4];

    island_clouds(i, clouds);
    for (size_t k = 0; clouds[k]; k++)
        if (streq(clouds[k], name))
            return true;
    return false;
}

/* What goes to the control server is said, not guessed: the owner of another project could destroy
 * what is kept there. */
static int check_logins(IslandLoad *l, const YamlNode *tier, Err *err)
{
    const Island *i = l->island;
    const YamlNode *n = node_at(l, NULL, "control.logins");
    const char *clouds[4];

    for (size_t k = 0; k < i->control.logins.len; k++)
        if (!uses_cloud(i, i->control.logins.items[k].cloud)) {
            (void)yaml_key_error(l->yaml, &n->items[k], err,
                                 "control.logins.%s: the island has no such cloud",
                                 i->control.logins.items[k].cloud);
            return err_hint(err, "what stands in cloud, media.cloud or backup.cloud");
        }
    island_clouds(i, clouds);
    for (size_t k = 1; clouds[k]; k++) {
        if (yaml_get(n, clouds[k]))
            continue;
        (void)fail(l, yaml_get(&l->yaml->root, "control") ? node_at(l, NULL, "control") : tier, err,
                   "control.logins.%s is missing: which login may the control server have there?",
                   clouds[k]);
        return err_hint(err,
                        "not its owner's: he could destroy what is kept there (doc/control.md)");
    }
    return 0;
}

/* Who has it has everything of the island: nobody else's code runs there, and nobody connects. */
static int check_control(IslandLoad *l, Err *err)
{
    const Island *i = l->island;
    const YamlNode *control = NULL;

    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];
        if (!(t->roles & ROLE_BIT(ROLE_CONTROL)))
            continue;
        control = l->tiers[k];
        if (t->roles != ROLE_BIT(ROLE_CONTROL)) {
            (void)fail(l, node_at(l, l->tiers[k], "roles"), err,
                       "servers.%s has the role control and others: it has the island's keys, and "
                       "shares its server with nobody",
                       t->name);
            return err_hint(err, "give it a tier of its own, the smallest flavor will do");
        }
    }
    if (!control && yaml_get(&l->yaml->root, "control")) {
        (void)fail(l, node_at(l, NULL, "control"), err,
                   "control says what a server gets that is not there");
        return err_hint(err, "servers: {control: {flavor: ..., roles: [control]}}");
    }
    if (control && (*i->edge.acme_ca == '/' || strstr(i->edge.acme_ca, "..")))
        return fail(l, node_at(l, NULL, "edge.tls.ca"), err,
                    "edge.tls.ca is \"%s\": with a control server, which gets it, it has to be "
                    "beside the island file",
                    i->edge.acme_ca);
    return control ? check_logins(l, control, err) : 0;
}

static int check_media(IslandLoad *l, Err *err)
{
    const Island *i = l->island;
    const char *url = i->media.url;
    int r = check_container(l, "media.container", i->media.container, err);

    if (r < 0)
        return r;
    if (streq(i->media.isolation, "project") && !i->media.cloud[0])
        return fail(l, node_at(l, NULL, "media.isolation"), err,
                    "media.isolation: project needs media.cloud, a login to a project of its own");
    if (url[0] &&
        ((!starts_with(url, "https://") && !starts_with(url, "http://")) || ends_with(url, "/")))
        return fail(l, node_at(l, NULL, "media.url"), err,
                    "media.url is \"%s\"; it must be https://... without a slash at its end", url);
    return 0;
}

static int check_env_value(const IslandLoad *l, const IslandEnv *e, const YamlNode *n, Err *err)
{
    if (!e->secret && !env_reads_alike(str_of(e->value))) {
        (void)yaml_error(l->yaml, n, err,
                         "the value of env.%s has a space, a quote, '#', '$' or a backslash in it",
                         e->name);
        return err_hint(err, "dotenv and Docker read such values differently");
    }
    if (e->secret && !env_secret_made(e->secret)) {
        (void)yaml_error(l->yaml, yaml_get(n, "secret"), err,
                         "env.%s: putting a secret of your own into the vault (%s) is not built "
                         "yet",
                         e->name, e->secret);
        return err_hint(err, "take the variable out");
    }
    return 0;
}

static int check_env(IslandLoad *l, Err *err)
{
    const Island *i = l->island;

    for (size_t k = 0; k < i->env.len; k++) {
        const IslandEnv *e = &i->env.items[k];
        const YamlNode *n = node_at(l, NULL, "env")->items + k;
        const char *why = env_rule_why(e->name);

        if (!why && has_role(i, ROLE_SEARCH) && env_rule_search(e->name))
            why = "search is the tier with the role search";
        if (why)
            return fail(l, n, err, "env.%s is set by atoll: %s", e->name, why);
        if (check_env_value(l, e, n, err) < 0)
            return -ERR_CONFIG;
    }
    return 0;
}

static int check_ssh_keys(IslandLoad *l, Err *err)
{
    const StrList *keys = &l->island->ssh_keys;
    const YamlNode *n = node_at(l, NULL, "ssh_keys");

    for (size_t k = 0; k < keys->len; k++) {
        const char *key = keys->items[k];

        if (strstr(key, "PRIVATE KEY"))
            return yaml_error(l->yaml, &n->items[k], err,
                              "this is a private key: give the public "
                              "one, and make a new pair");
        if ((!starts_with(key, "ssh-") && !starts_with(key, "ecdsa-") &&
             !starts_with(key, "sk-")) ||
            !strchr(key, ' '))
            return yaml_error(l->yaml, &n->items[k], err,
                              "this is not a public key: give a line such as "
                              "\"ssh-ed25519 AAAA... jo\"");
    }
    return 0;
}

int check_island(IslandLoad *l, Err *err)
{
    static int (*const checks[])(IslandLoad *, Err *) = {
        check_release, check_owner, check_roles,    check_scale, check_queues,
        check_network, check_edge,  check_search,   check_media, check_backup,
        check_control, check_env,   check_ssh_keys, check_moved};
    int r;

    for (size_t k = 0; k < l->island->n_tiers; k++) {
        if ((r = check_tier(l, k, err)) < 0)
            return r;
    }
    for (size_t k = 0; k < ARRAY_LEN(checks); k++) {
        if ((r = checks[k](l, err)) < 0)
            return r;
    }
    return 0;
}
