/* The table of keys, and how a value of each type is read. */
#include "base/table.h"
#include "base/time.h"
#include "island/environment.h"
#include "island/search.h"

static void *field(const IslandLoad *l, const IslandRow *row)
{
    char *base = l->tier ? (char *)l->tier : (char *)l->island;

    return base + row->offset;
}

static int wrong(const IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    _cleanup_free_ char *path = load_path(l, row->path, n->key);

    return yaml_wrong(l->yaml, n, &(YamlRow){path, row->type, row->allowed}, err);
}

static bool printable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    }
    return true;
}

static void set_text(char **field_text, const char *text)
{
    free(*field_text);
    *field_text = xstrdup(text);
}

static int read_section(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_MAP)
        return wrong(l, row, n, err);
    return load_map(l, row->path, n, err);
}

static int read_text(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !n->text[0] || !printable(n->text))
        return wrong(l, row, n, err);
    set_text(field(l, row), n->text);
    return 0;
}

bool island_version_ok(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    return *s && strlen(s) <= 64 && strchr(letters, *s) &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
               strlen(s);
}

/* Starts with a letter; then letters, digits and (where the row's min allows) inner dashes. */
static bool name_ok(const char *s, size_t max, bool dash)
{
    size_t n = strlen(s);

    if (n < 1 || n > max || s[0] < 'a' || s[0] > 'z' || s[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        bool ok = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');

        if (!ok && !(dash && s[i] == '-'))
            return false;
    }
    return true;
}

static int read_island_name(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !name_ok(n->text, (size_t)row->max, true))
        return wrong(l, row, n, err);
    set_text(field(l, row), n->text);
    return 0;
}

static bool domain_ok(const char *s)
{
    Str rest = str_of(s), label;
    int labels = 0;
    bool letter = false;

    if (rest.n > 253)
        return false;
    while (str_next(&rest, '.', &label)) {
        labels++;
        letter = false;
        if (!label.n || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++) {
            char c = label.p[i];

            if (c >= 'a' && c <= 'z')
                letter = true;
            else if (!(c >= '0' && c <= '9') && c != '-')
                return false;
        }
    }
    /* The last label of an address has no letter. */
    return labels >= 2 && letter;
}

static int read_domain(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !domain_ok(n->text))
        return wrong(l, row, n, err);
    set_text(field(l, row), n->text);
    return 0;
}

static int read_count(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    int64_t value;

    if (n->type != YAML_SCALAR || !parse_int(n->text, row->min, row->max, &value))
        return wrong(l, row, n, err);
    *(int *)field(l, row) = (int)value;
    return 0;
}

#define GB ((int64_t)1000 * 1000 * 1000)

static int read_size(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    int64_t bytes;

    if (n->type != YAML_SCALAR || !size_parse(n->text, &bytes) || bytes % GB ||
        bytes / GB < row->min || bytes / GB > row->max)
        return wrong(l, row, n, err);
    *(int *)field(l, row) = (int)(bytes / GB);
    return 0;
}

static int read_hours(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    int64_t ms;

    if (n->type != YAML_SCALAR || !span_parse(n->text, &ms) || ms % HOUR || ms / HOUR < row->min ||
        ms / HOUR > row->max)
        return wrong(l, row, n, err);
    *(int *)field(l, row) = (int)(ms / HOUR);
    return 0;
}

/* One of the words of row->allowed. */
static int read_word(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    Str rest = str_of(row->allowed), word;

    if (n->type != YAML_SCALAR)
        return wrong(l, row, n, err);
    while (str_next(&rest, ',', &word)) {
        if (str_eq(str_trim(word), str_of(n->text))) {
            set_text(field(l, row), n->text);
            return 0;
        }
    }
    return wrong(l, row, n, err);
}

static int read_list(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    StrList *list = field(l, row);

    if (n->type != YAML_LIST)
        return wrong(l, row, n, err);
    for (size_t i = 0; i < n->len; i++) {
        const YamlNode *item = &n->items[i];

        if (item->type != YAML_SCALAR || !item->text[0] || !printable(item->text))
            return wrong(l, row, item, err);
        if (strlist_has(list, item->text))
            return yaml_error(l->yaml, item, err, "\"%s\" is in the list twice", item->text);
        strlist_add(list, item->text);
    }
    return 0;
}

static int unknown_word(const IslandLoad *l, const YamlNode *n, const char *what,
                        const char *const *words, Err *err)
{
    const char *near = util_nearest(n->text, words);
    _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; words[i]; i++)
        buf_printf(&all, "%s%s", i ? ", " : "", words[i]);
    if (near)
        (void)yaml_error(l->yaml, n, err, "unknown %s \"%s\": did you mean \"%s\"?", what, n->text,
                         near);
    else
        (void)yaml_error(l->yaml, n, err, "unknown %s \"%s\"", what, n->text);
    return err_hint(err, "allowed: %s", all.p);
}

static int read_queues(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type == YAML_LIST) {
        for (size_t i = 0; i < n->len; i++) {
            const YamlNode *item = &n->items[i];
            bool known = false;

            if (item->type != YAML_SCALAR)
                return wrong(l, row, item, err);
            for (size_t k = 0; island_queues[k]; k++)
                known = known || streq(item->text, island_queues[k]);
            if (!known)
                return unknown_word(l, item, "queue", island_queues, err);
        }
    }
    return read_list(l, row, n, err);
}

static int read_roles(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_LIST || !n->len)
        return wrong(l, row, n, err);
    for (size_t i = 0; i < n->len; i++) {
        const YamlNode *item = &n->items[i];
        Role role;

        if (item->type != YAML_SCALAR)
            return wrong(l, row, item, err);
        if (!role_parse(item->text, &role))
            return unknown_word(l, item, "role", role_names(), err);
        if (l->tier->roles & ROLE_BIT(role))
            return yaml_error(l->yaml, item, err, "role \"%s\" is in the list twice", item->text);
        l->tier->roles |= ROLE_BIT(role);
    }
    return 0;
}

/* {web: 2, worker: 3}: a number for roles that have processes and threads of their own. */
static int read_role_count(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    static const char *const roles[] = {"web", "worker", NULL};
    int *counts = field(l, row);
    int64_t value;

    if (!streq(n->key, "web") && !streq(n->key, "worker")) {
        const char *near = util_nearest(n->key, roles);

        if (near)
            (void)yaml_key_error(l->yaml, n, err, "unknown role \"%s\": did you mean \"%s\"?",
                                 n->key, near);
        else
            (void)yaml_key_error(l->yaml, n, err, "role \"%s\" has no number of its own here",
                                 n->key);
        return err_hint(err, "allowed: web, worker");
    }
    if (n->type != YAML_SCALAR || !parse_int(n->text, row->min, row->max, &value))
        return wrong(l, row, n, err);
    counts[streq(n->key, "web") ? ROLE_WEB : ROLE_WORKER] = (int)value;
    return 0;
}

static int read_tier(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    Island *i = l->island;
    Tier *t;
    int r;

    if (!name_ok(n->key, 16, false)) {
        (void)yaml_key_error(l->yaml, n, err, "\"%s\" can't be the name of servers", n->key);
        return err_hint(err, "allowed: up to 16 of a-z and 0-9, a letter first, no dash");
    }
    if (n->type != YAML_MAP)
        return wrong(l, row, n, err);
    if (i->n_tiers == ISLAND_TIERS_MAX)
        return yaml_key_error(l->yaml, n, err, "more than %d kinds of servers", ISLAND_TIERS_MAX);
    t = &i->tiers[i->n_tiers];
    l->tiers[i->n_tiers++] = n;
    t->name = xstrdup(n->key);
    for (int k = 0; k < ROLES; k++) {
        t->processes[k] = 1;
        t->threads[k] = 5;
    }
    l->tier = t;
    r = load_map(l, row->path, n, err);
    l->tier = NULL;
    return r;
}

/* It stands in content types, in names of folders and after an image's colon. */
static int read_version(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !island_version_ok(n->text))
        return wrong(l, row, n, err);
    set_text(field(l, row), n->text);
    return 0;
}

static int read_search_image(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    const char *why = n->type == YAML_SCALAR ? search_image_why(n->text) : NULL;

    if (n->type != YAML_SCALAR || !n->text[0])
        return wrong(l, row, n, err);
    if (why) {
        (void)yaml_error(l->yaml, n, err, "search.image \"%s\" can't be pulled", n->text);
        return err_hint(err, "%s", why);
    }
    set_text(field(l, row), n->text);
    return 0;
}

static int read_owner_name(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

    if (n->type != YAML_SCALAR || !n->text[0] || strlen(n->text) > 30 ||
        strspn(n->text, letters) != strlen(n->text))
        return wrong(l, row, n, err);
    set_text(field(l, row), n->text);
    return 0;
}

static int read_email(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    const char *at = n->type == YAML_SCALAR ? strchr(n->text, '@') : NULL;

    if (!at || at == n->text || !domain_ok(at + 1) || n->text[0] == '-' || !printable(n->text) ||
        strchr(n->text, ' '))
        return wrong(l, row, n, err);
    set_text(field(l, row), n->text);
    return 0;
}

static int read_canary(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !streq(n->text, "true"))
        return wrong(l, row, n, err);
    l->island->release.kind = RELEASE_CANARY;
    return 0;
}

static int read_env(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    const YamlNode *secret = yaml_get(n, "secret");
    IslandEnv env = {0};
    bool ok = n->key[0] >= 'A' && n->key[0] <= 'Z';

    for (const char *p = n->key; *p; p++)
        ok = ok && ((*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_');
    if (!ok) {
        (void)yaml_key_error(l->yaml, n, err, "\"%s\" can't be the name of a variable", n->key);
        return err_hint(err, "allowed: A-Z, 0-9 and _, a letter first");
    }
    if (n->type == YAML_SCALAR && printable(n->text)) {
        env.value = xstrdup(n->text);
    } else if (n->type == YAML_MAP && n->len == 1 && secret && secret->type == YAML_SCALAR) {
        for (const char *p = secret->text; *p; p++)
            ok = ok && ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_');
        if (!ok || !secret->text[0]) {
            (void)yaml_error(l->yaml, secret, err, "\"%s\" can't be the name of a secret",
                             secret->text);
            return err_hint(err, "allowed: a-z, 0-9 and _");
        }
        env.secret = xstrdup(secret->text);
    } else {
        return wrong(l, row, n, err);
    }
    env.name = xstrdup(n->key);
    vec_push(&l->island->env, env);
    return 0;
}

static int read_moved(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !name_ok(n->text, 16, false))
        return wrong(l, row, n, err);
    vec_push(&l->island->moved, (IslandMove){.to = xstrdup(n->key), .from = xstrdup(n->text)});
    return 0;
}

static int read_login(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_SCALAR || !n->text[0] || !printable(n->text))
        return wrong(l, row, n, err);
    vec_push(&l->island->control.logins,
             (IslandLogin){.cloud = xstrdup(n->key), .login = xstrdup(n->text)});
    return 0;
}

static int read_environment(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    (void)row; /* it has its own words */
    return environment_check(l->yaml, n, err);
}

static int read_scale(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    l->tier->scale.on = true;
    return read_section(l, row, n, err);
}

static int read_queue_span(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    bool known = false;
    int64_t ms = 0;

    for (size_t k = 0; island_queues[k]; k++)
        known = known || streq(n->key, island_queues[k]);
    if (!known || streq(n->key, "scheduler")) {
        const char *near = util_nearest(n->key, island_queues);
        (void)yaml_key_error(l->yaml, n, err, "there is no queue \"%s\" for such servers", n->key);
        return err_hint(
            err, near ? "did you mean %s?" : "default, push, ingress, mailers, pull, fasp", near);
    }
    if (n->type != YAML_SCALAR || !span_parse(n->text, &ms) || ms < row->min || ms > row->max)
        return wrong(l, row, n, err);
    QueueSpans *spans = field(l, row);
    vec_push(spans, (QueueSpan){xstrdup(n->key), ms});
    return 0;
}

static int read_calendar(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    if (n->type != YAML_LIST || n->len > ISLAND_CALENDAR_MAX)
        return wrong(l, row, n, err);
    for (size_t i = 0; i < n->len; i++) {
        if (n->items[i].type != YAML_MAP)
            return wrong(l, row, &n->items[i], err);
        vec_push(&l->tier->scale.calendar, (TierHours){.days = 0x7f});
        int r = load_map(l, row->path, &n->items[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_clock(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    TierHours *h = vec_last(&l->tier->scale.calendar);

    if (n->type != YAML_SCALAR ||
        !time_parse_minute(n->text, streq(n->key, "from") ? &h->from : &h->to))
        return wrong(l, row, n, err);
    return 0;
}

static int read_least(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    int64_t min = 0;

    if (n->type != YAML_SCALAR || !parse_int(n->text, row->min, row->max, &min))
        return wrong(l, row, n, err);
    vec_last(&l->tier->scale.calendar)->min = (int)min;
    return 0;
}

static int read_days(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    unsigned days = 0;

    if (n->type != YAML_LIST || !n->len)
        return wrong(l, row, n, err);
    for (size_t i = 0; i < n->len; i++) {
        const YamlNode *item = &n->items[i];
        unsigned day = 0;
        if (item->type != YAML_SCALAR)
            return wrong(l, row, item, err);
        while (time_days[day] && !streq(item->text, time_days[day]))
            day++;
        if (!time_days[day])
            return unknown_word(l, item, "day", time_days, err);
        days |= 1u << day;
    }
    vec_last(&l->tier->scale.calendar)->days = days;
    return 0;
}

static int read_policy(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    static const char *const policies[] = {"latency", "backlog", "depth", NULL};

    for (size_t i = 0; policies[i]; i++)
        if (n->type == YAML_SCALAR && streq(n->text, policies[i])) {
            set_text(field(l, row), n->text);
            return 0;
        }
    return n->type == YAML_SCALAR ? unknown_word(l, n, "policy", policies, err)
                                  : wrong(l, row, n, err);
}

static int read_boot(IslandLoad *l, const IslandRow *row, const YamlNode *n, Err *err)
{
    int64_t ms = 0;

    if (n->type != YAML_SCALAR || !span_parse(n->text, &ms) || ms < SECOND || ms > 2 * HOUR)
        return wrong(l, row, n, err);
    *(int64_t *)field(l, row) = ms;
    return 0;
}

const char *const island_queues[] = {"default", "push",      "ingress", "mailers",
                                     "pull",    "scheduler", "fasp",    NULL};

#define AT(f) .offset = offsetof(Island, f)
#define TIER(f) .offset = offsetof(Tier, f)

const IslandRow island_rows[] = {
    {"island", "a name", NULL, "up to 21 of a-z, 0-9 and inner dashes, a letter first",
     "What everything of this island is called in the cloud. It can't be changed later.",
     read_island_name, AT(name), .max = 21},
    {"domain", "a domain name", NULL,
     "lower case, at least one dot, no https://, xn--... for others",
     "LOCAL_DOMAIN: the part of an account's name behind the @. It can't be changed later.",
     read_domain, AT(domain)},
    {"cloud", "an entry of clouds.yaml", NULL,
     "a name in clouds.yaml; pocket for the embedded cloud",
     "The project that servers, networks and volumes are made in.", read_text, AT(cloud)},
    {"image", "an image's name", "debian-12", "as `openstack image list` shows it",
     "What servers start from. Kept by servers that are there.", read_text, AT(image)},
    {"release", "a map", NULL,
     "one of {image, version}, {tree, version}, {canary: true}; and stream", "Which Mastodon runs.",
     read_section},
    {"release.image", "an image's address", "",
     "as for podman pull, without a tag, maybe with @sha256:...; or oci-archive:FILE",
     "A container image, as Mastodon's own. FILE is one that `podman save --format oci-archive` "
     "or skopeo made; it is uploaded once, to the island's own cloud.",
     read_text, AT(release.image)},
    {"release.version", "a version", "", "such as v4.7.6: letters, digits, dots, dashes",
     "The image's tag, or the tree's version. Of an island that is there `atoll deploy` changes "
     "it.",
     read_version, AT(release.version)},
    {"release.tree", "a file", "",
     "a .tar.gz of a source tree with its gems and assets, beside this file",
     "A source tree, packed. `atoll` uploads it, and servers run it with its own bundle.",
     read_text, AT(release.tree)},
    {"release.canary", "true", "", "true", "The small stand-in that comes with atoll, for a trial.",
     read_canary},
    {"release.stream", "atoll or node", "atoll", "atoll, node",
     "Who serves the streaming API where a tier has the role stream: atoll itself, or the "
     "release's "
     "own Node server (of an image from a registry), for comparison.",
     read_word, AT(release.stream)},
    {"owner", "a map", "", "name, email",
     "The account that owns the instance. The first apply makes it and shows its password, once.",
     read_section},
    {"owner.name", "a name", "", "letters, digits and _, as in Mastodon",
     "The account's name, without the domain.", read_owner_name, AT(owner.name)},
    {"owner.email", "an address", "", "name@domain", "Where its mail goes.", read_email,
     AT(owner.email)},
    {"search", "a map", "{}", "image, version",
     "The search server, where a tier has the role search. It is a container of podman's.",
     read_section},
    {"search.image", "an image's address", SEARCH_IMAGE,
     "with its registry and without a tag, maybe with @sha256:...",
     "Elasticsearch, or (`opensearch` in the name) OpenSearch, as for podman pull.",
     read_search_image, AT(search.image)},
    {"search.version", "a version", SEARCH_VERSION,
     "such as 8.19.17: letters, digits, dots, dashes",
     "The image's tag. Which one fits a release of Mastodon its docker-compose.yml says: 7.17.29 "
     "in "
     "4.3, 8.19 in 4.7.",
     read_version, AT(search.version)},
    {"network", "a map", "{}", "external, cidr, dns, router, name, subnet",
     "The island's network: its own, unless `name` and `subnet` say otherwise.", read_section},
    {"network.external", "a network's name", "", "as `openstack network list --external` shows it",
     "Where the router and the public address are; needed where there are several.", read_text,
     AT(network.external)},
    {"network.cidr", "an IPv4 network", "<10.77.0.0/24; 127.77.0.0/24 on a pocket cloud>",
     "a private network of /16 to /28, such as 10.77.0.0/24", "Addresses of the servers.",
     read_text, AT(network.cidr)},
    {"network.dns", "a list of addresses", "", "IP addresses",
     "Resolvers for the servers; without it the cloud's own.", read_list, AT(network.dns)},
    {"network.router", "a router's name", "", "as `openstack router list` shows it",
     "A router that is there already, where a project may have only one: it is used, and never "
     "changed or deleted. Without it the island has its own.",
     read_text, AT(network.router)},
    {"network.name", "a network's name", "", "as `openstack network list` shows it",
     "A network that is there already: servers get ports on it, and it is never changed or "
     "deleted. It reaches the external network by a router of its own.",
     read_text, AT(network.name)},
    {"network.subnet", "a subnet's name", "", "as `openstack subnet list` shows it",
     "The subnet of network.name that servers get their addresses from.", read_text,
     AT(network.subnet)},
    {"servers", "a map", NULL, "tiers by name", "Tiers of servers, each with its roles.",
     read_section},
    {"servers.*", "a map", NULL, "flavor, roles, count, processes, threads, queues, volume",
     "One tier. Servers are called by its name and a number from 0.", read_tier},
    {"servers.*.flavor", "a flavor's name", NULL, "as `openstack flavor list` shows it",
     "Size of a server.", read_text, TIER(flavor)},
    {"servers.*.roles", "a list of roles", NULL,
     "edge, web, stream, worker, redis, postgres, search", "What its servers do.", read_roles},
    {"servers.*.count", "a number", "1", "1 to 64", "How many servers.", read_count, TIER(count), 1,
     ISLAND_COUNT_MAX},
    {"servers.*.processes", "a map", "", "web, worker", "Processes on one server, by role.",
     read_section},
    {"servers.*.processes.*", "a number", "1", "1 to 32", "Puma workers, or Sidekiq processes.",
     read_role_count, TIER(processes), 1, 32},
    {"servers.*.threads", "a map", "", "web, worker", "Threads of one process, by role.",
     read_section},
    {"servers.*.threads.*", "a number", "5", "1 to 100", "Each needs a database connection.",
     read_role_count, TIER(threads), 1, 100},
    {"servers.*.queues", "a list of queues", "",
     "default, push, ingress, mailers, pull, scheduler, fasp",
     "What its workers take, the first named first; without it all queues.", read_queues,
     TIER(queues)},
    {"servers.*.volume", "a map", "", "size, type", "A disk that outlives the server.",
     read_section},
    {"servers.*.volume.size", "a size with its unit", NULL, "whole GB, such as 50GB",
     "Size of the volume. It can grow, also while in use; it never shrinks.", read_size,
     TIER(volume_gb), 1, 100000},
    {"servers.*.volume.type", "a volume type's name", "",
     "as `openstack volume type list` shows it", "SSD or disk; without it the cloud's default.",
     read_text, TIER(volume_type)},
    {"servers.*.scale", "a map", "",
     "min, max; of workers queues, drain, policy, boot, budget, calendar; of streaming servers "
     "clients",
     "In place of count, where the only role is worker, or stream: `atoll scale` moves the number "
     "of "
     "servers between min and max with the queues, or the clients, and apply leaves it as it is.",
     read_scale},
    {"servers.*.scale.min", "a number", "1", "0 to 64", "The least servers.", read_count,
     TIER(scale.min), 0, ISLAND_COUNT_MAX},
    {"servers.*.scale.max", "a number", NULL, "1 to 64",
     "The most; each needs `processes` times `threads` connections of the database.", read_count,
     TIER(scale.max), 1, ISLAND_COUNT_MAX},
    {"servers.*.scale.queues", "a map", "{}", "default: 30s, push: 60s, ingress: 2m, pull: 10m",
     "In which time a job has to begin, by queue; without it these four, as on the left.",
     read_section},
    {"servers.*.scale.queues.*", "a span", "", "1s to 24h", "One queue's deadline.",
     read_queue_span, TIER(scale.queues), SECOND, DAY},
    {"servers.*.scale.drain", "a map", "{}", "pull: 30m",
     "How long a server that goes may take for jobs of these queues; others have what `atoll scale "
     "--drain` says (10m). A process has the longest of those that it takes from.",
     read_section},
    {"servers.*.scale.drain.*", "a span", "", "1s to 1h", "One queue's time.", read_queue_span,
     TIER(scale.drain), SECOND, HOUR},
    {"servers.*.scale.policy", "a policy", "latency", "latency, backlog, depth",
     "How `atoll scale` decides (doc/scale.md).", read_policy, TIER(scale.policy)},
    {"servers.*.scale.boot", "a span", "3m", "1s to 2h",
     "What a new server takes until it does its first job.", read_boot, TIER(scale.boot_ms)},
    {"servers.*.scale.budget", "a number", "0", "0 (no limit) to 100000", "Server-hours a day.",
     read_count, TIER(scale.budget_h), 0, 100000},
    {"servers.*.scale.calendar", "a list of maps", "", "from, to, days, min; at most 16",
     "Hours with a least number of their own: {from: 18:00, to: 23:00, days: [fri, sat], min: 3}. "
     "They are there when the hour begins, since `boot` is known.",
     read_calendar},
    {"servers.*.scale.calendar.from", "a time of day", NULL, "00:00 to 24:00, UTC",
     "When it begins.", read_clock},
    {"servers.*.scale.calendar.to", "a time of day", NULL, "00:00 to 24:00, UTC",
     "When it ends; if that is not later, on the next day.", read_clock},
    {"servers.*.scale.calendar.days", "a list of days", "", "sun, mon, tue, wed, thu, fri, sat",
     "On which days it begins; without it on all.", read_days},
    {"servers.*.scale.calendar.min", "a number", NULL, "1 to 64", "The least servers then.",
     read_least, .min = 1, .max = ISLAND_COUNT_MAX},
    {"servers.*.scale.clients", "a number", "10000", "1 to 1000000",
     "Of streaming servers: so many connected clients are one server's; a quarter more have room.",
     read_count, TIER(scale.clients), 1, 1000000},
    {"moved", "a map", "", "tier: the tier that had its volumes",
     "Tiers whose volumes another tier had, so that data goes on under a new name; take it out "
     "once it is applied.",
     read_section},
    {"moved.*", "a tier's name", "", "a tier that is no longer in the file, or has no volume now",
     "moved: {db: web} makes volume web.0 that of db.0, web.1 that of db.1.", read_moved},
    {"edge", "a map", "{}", "http, https, tls", "How the world reaches the island.", read_section},
    {"edge.http", "a port", "80", "1 to 65535", "Plain HTTP.", read_count, AT(edge.http), 1, 65535},
    {"edge.https", "a port", "<443 with edge.tls, else 0>", "0 (none) to 65535",
     "HTTPS; needs edge.tls.", read_count, AT(edge.https), 0, 65535},
    {"edge.tls", "a map", "", "{acme, server, ca} or {certificate, key}",
     "The certificate for the domain: asked for and renewed by itself, or from files.",
     read_section},
    {"edge.tls.acme", "an e-mail address", "", "one that is read: the authority writes to it",
     "The edge has certbot ask an ACME authority for a certificate, and renew it. Giving it says "
     "that you agree to that authority's terms (Let's Encrypt: letsencrypt.org/repository). The "
     "domain's address record has to lead to the island's floating IP.",
     read_email, AT(edge.acme_email)},
    {"edge.tls.server", "an address", "", "https://..., the authority's ACME directory",
     "Another authority than Let's Encrypt; "
     "https://acme-staging-v02.api.letsencrypt.org/directory is for trying out.",
     read_text, AT(edge.acme_server)},
    {"edge.tls.ca", "a file", "", "a path, relative to this file",
     "Who signs that authority's own server, PEM, where the system does not know it: for one of "
     "your own, such as step-ca.",
     read_text, AT(edge.acme_ca)},
    {"edge.tls.certificate", "a file", "", "a path, relative to this file",
     "Certificate and chain, PEM; `apply` puts it into the vault. Where it is not there, the "
     "island "
     "keeps the one it has.",
     read_text, AT(edge.tls_certificate)},
    {"edge.tls.key", "a file", "", "a path, relative to this file", "Its private key, PEM.",
     read_text, AT(edge.tls_key)},
    {"media", "a map", "{}", "container, cloud, isolation, role, url, user",
     "Where uploads are kept: a Swift container.", read_section},
    {"media.container", "a container's name", "<NAME-media>", "a-z, 0-9, dots and dashes",
     "The container; it is made if it is not there.", read_text, AT(media.container)},
    {"media.cloud", "an entry of clouds.yaml", "<the island's>", "a name in clouds.yaml",
     "A project of its own for media: whoever breaks into one can't reach the other.", read_text,
     AT(media.cloud)},
    {"media.isolation", "a level", "<project with media.cloud, else none>",
     "project, container, none",
     "What `media check` must find for the upload user; less is its exit code 8.", read_word,
     AT(media.isolation)},
    {"media.role", "a role's name", "media", "a Keystone role that may do nothing else",
     "Role of the upload user on the media project.", read_text, AT(media.role)},
    {"media.url", "an address", "", "https://... without a slash at its end",
     "Public address of the media, if not Swift's own.", read_text, AT(media.url)},
    {"media.user", "a map", "", "name, id, password_file",
     "An upload user that somebody has made for you, where your login may not manage users: it is "
     "used, and never listed, changed or deleted.",
     read_section},
    {"media.user.name", "a user's name", NULL, "in the domain of the login to the media project",
     "Its name.", read_text, AT(media.user)},
    {"media.user.id", "a user's id", NULL,
     "as `openstack user show` or the provider's portal has it",
     "Its id, for the container's write ACL.", read_text, AT(media.user_id)},
    {"media.user.password_file", "a file", NULL, "a path on the machine that runs atoll",
     "Its first line is the password; read by each apply, and kept in no vault.", read_text,
     AT(media.password_file)},
    {"backup", "a map", "", "cloud, container, every, keep, media",
     "Continuous backup of the database: its log a second behind, and whole copies; without this "
     "key there is none.",
     read_section},
    {"backup.cloud", "an entry of clouds.yaml", "<the island's>", "a name in clouds.yaml",
     "A project of its own for backups: whoever breaks into the island's can't reach them.",
     read_text, AT(backup.cloud)},
    {"backup.container", "a container's name", "<NAME-backup>", "a-z, 0-9, dots and dashes",
     "The container; it is made if it is not there, and `destroy` leaves it.", read_text,
     AT(backup.container)},
    {"backup.every", "a span of hours", "24h", "1h to 720h",
     "How often the whole database is looked through; pages that did not change are not sent "
     "again.",
     read_hours, AT(backup.every_h), 1, 720},
    {"backup.keep", "a map", "{}", "daily, weekly, monthly, window",
     "What `atoll backup prune` keeps.", read_section},
    {"backup.keep.daily", "a number", "7", "0 to 1000", "The first backup of so many days.",
     read_count, AT(backup.keep.daily), 0, 1000},
    {"backup.keep.weekly", "a number", "4", "0 to 1000", "And of so many weeks.", read_count,
     AT(backup.keep.weekly), 0, 1000},
    {"backup.keep.monthly", "a number", "6", "0 to 1000", "And of so many months.", read_count,
     AT(backup.keep.monthly), 0, 1000},
    {"backup.keep.window", "a number of days", "7", "1 to 1000",
     "Every moment of so many days can be restored.", read_count, AT(backup.keep.window_d), 1,
     1000},
    {"backup.media", "a map", "", "cloud, container",
     "Where `atoll backup media` keeps uploads a second time; `atoll backup settings` writes it "
     "down for it.",
     read_section},
    {"backup.media.cloud", "an entry of clouds.yaml", NULL, "a name in clouds.yaml",
     "A login of another project, best of another cloud.", read_text, AT(backup.media_cloud)},
    {"backup.media.container", "a container's name", NULL, "a-z, 0-9, dots and dashes",
     "The container; the first run makes it, and `destroy` leaves it.", read_text,
     AT(backup.media_container)},
    {"control", "a map", "", "logins", "What the server with the role control is given.",
     read_section},
    {"control.logins", "a map", "", "NAME: another entry of clouds.yaml",
     "Which login it gets in place of NAME. Without a row for the island's own `cloud` it gets "
     "that "
     "one; media.cloud and backup.cloud need a row, since their owner could destroy what is kept "
     "there.",
     read_section},
    {"control.logins.*", "an entry of clouds.yaml", "",
     "a name in clouds.yaml; best of an application credential",
     "For backup.cloud: one that may GET and HEAD the container and all in it, and PUT below "
     "catalogue/ and segment/ (doc/control.md).",
     read_login},
    {"env", "a map", "", "NAME: value, NAME: {secret: name}",
     "Further variables of Mastodon's environment; ATOLL_STREAM_NAME is a bound of the streaming "
     "server's (`atoll stream --show-settings`).",
     read_section},
    {"env.*", "a value, or {secret: name}", "",
     "text without spaces, quotes, #, $ and backslashes, or a secret that the vault makes, by name",
     "One variable.", read_env},
    {"environments", "a map", "", "names: staging, test",
     "Further islands from this file, for `atoll -e NAME`: each is called ISLAND-NAME, is on "
     "NAME.DOMAIN, and has keys, servers, a vault and uploads of its own. Without this key any "
     "name is taken.",
     read_section},
    {"environments.*", "a map", "", "any key of this file but `island`",
     "What is other there: maps key by key, all else as a whole, `release` too. {} where nothing "
     "is. On a pocket cloud network.cidr has to be.",
     read_environment},
    {"ssh_keys", "a list of public keys", "", "lines as in authorized_keys",
     "Who may log in to the servers; without it nobody.", read_list, AT(ssh_keys)},
    {0},
};
