#include "island/environment.h"

#define NAME_MAX_LEN 16
#define DOMAIN_MAX_LEN 253
#define ISLAND_MAX_LEN 21

bool environment_name_ok(const char *name)
{
    size_t n = strlen(name);

    return n >= 1 && n <= NAME_MAX_LEN && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") == n;
}

/* Keys of the file that an environment may have too. */
static bool may_differ(const IslandRow *row)
{
    return !strchr(row->path, '.') && !streq(row->path, "island") &&
           !streq(row->path, "environments");
}

static int wrong_key(const Yaml *yaml, const YamlNode *environment, const YamlNode *n, Err *err)
{
    _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);
    const char *names[32] = {0}, *near;
    size_t len = 0;

    for (const IslandRow *row = island_rows; row->path && len + 1 < ARRAY_LEN(names); row++) {
        if (!may_differ(row))
            continue;
        buf_printf(&all, "%s%s", len ? ", " : "", row->path);
        names[len++] = row->path;
    }
    near = util_nearest(n->key, names);
    (void)yaml_key_error(yaml, n, err, "environments.%s can't have \"%s\"%s%s%s", environment->key,
                         n->key, near ? ": did you mean \"" : "", near ? near : "",
                         near ? "\"?" : "");
    return err_hint(err, "allowed: %s", all.p);
}

int environment_check(const Yaml *yaml, const YamlNode *environment, Err *err)
{
    if (!environment_name_ok(environment->key)) {
        (void)yaml_key_error(yaml, environment, err, "\"%s\" can't be the name of an environment",
                             environment->key);
        return err_hint(err, "allowed: up to %d of a-z and 0-9, a letter first", NAME_MAX_LEN);
    }
    if (environment->type != YAML_MAP) {
        (void)yaml_error(yaml, environment, err, "environments.%s must be a map", environment->key);
        return err_hint(err, "{} where only its name and domain are others");
    }
    for (size_t i = 0; i < environment->len; i++) {
        const IslandRow *row = island_rows;

        while (row->path && !(may_differ(row) && streq(row->path, environment->items[i].key)))
            row++;
        if (!row->path)
            return wrong_key(yaml, environment, &environment->items[i], err);
    }
    return 0;
}

static YamlNode *child_of(YamlNode *map, const char *key)
{
    for (size_t i = 0; i < map->len; i++)
        if (streq(map->items[i].key, key))
            return &map->items[i];
    return NULL;
}

/* Moves what stands in `over` into `base`; what it takes the place of stays in `over`. */
static void put_over(YamlNode *base, YamlNode *over, bool top)
{
    for (size_t i = 0; i < over->len;) {
        YamlNode *from = &over->items[i], *to = child_of(base, from->key);
        bool whole = top && streq(from->key, "release");

        if (!to) {
            base->items = xrealloc(base->items, base->len + 1, sizeof *base->items);
            base->items[base->len++] = *from;
            over->len--;
            memmove(from, from + 1, (over->len - i) * sizeof *from);
            continue;
        }
        if (to->type == YAML_MAP && from->type == YAML_MAP && !whole) {
            put_over(to, from, false);
        } else {
            YamlNode before = *to;

            *to = *from;
            *from = before;
        }
        i++;
    }
}

static int unknown(const Yaml *yaml, const YamlNode *all, const char *name, Err *err)
{
    _cleanup_(buf_clear) Buf list = BUF_INIT(BUF_MAX_LINE);
    _cleanup_(strlist_clear) StrList names = {0};
    const char *near = NULL;

    for (size_t i = 0; i < all->len; i++) {
        buf_printf(&list, "%s%s", i ? ", " : "", all->items[i].key);
        strlist_add(&names, all->items[i].key);
    }
    if (names.len)
        near = util_nearest(name, (const char *const *)names.items);
    (void)yaml_key_error(yaml, all, err, "there is no environment \"%s\"%s%s%s", name,
                         near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return err_hint(err, "there is: %s", names.len ? list.p : "none");
}

/* Uploads of two islands in one container would be deleted with the first. */
static int check_container(const Yaml *yaml, const YamlNode *own, Err *err)
{
    const YamlNode *container = yaml_get(yaml_get(own, "media"), "container");
    const char *base = yaml_text(yaml_get(&yaml->root, "media"), "container");
    const char *island = yaml_text(&yaml->root, "island");
    _cleanup_free_ char *usual = xasprintf("%s-media", island ? island : "");

    if (!container || container->type != YAML_SCALAR ||
        !streq(container->text, base ? base : usual))
        return 0;
    return yaml_error(yaml, container, err,
                      "media.container \"%s\" is that of the island without -e", container->text);
}

int environment_overlay(Yaml *yaml, Environment *e, Err *err)
{
    YamlNode *all = yaml->root.type == YAML_MAP ? child_of(&yaml->root, "environments") : NULL;

    if (!all)
        return 0;
    if (all->type != YAML_MAP)
        return yaml_error(yaml, all, err, "environments must be a map");
    YamlNode *own = child_of(all, e->name);
    if (!own)
        return unknown(yaml, all, e->name, err);
    int r = environment_check(yaml, own, err);
    if (r == 0)
        r = check_container(yaml, own, err);
    if (r < 0)
        return r;
    e->has_domain = yaml_get(own, "domain") != NULL;
    e->has_container = yaml_get(yaml_get(own, "media"), "container") != NULL;
    e->has_url = yaml_get(yaml_get(own, "media"), "url") != NULL;
    /* It is taken out of the tree while the tree grows. */
    YamlNode over = *own;
    own->items = NULL;
    own->len = 0;
    put_over(&yaml->root, &over, true);
    own = child_of(child_of(&yaml->root, "environments"), e->name);
    own->items = over.items;
    own->len = over.len;
    return 0;
}

static void suffix(char **text, const char *with)
{
    char *longer = xasprintf("%s-%s", *text, with);

    free(*text);
    *text = longer;
}

int environment_finish(IslandLoad *l, const Environment *e, Err *err)
{
    Island *i = l->island;
    const YamlNode *root = &l->yaml->root;

    suffix(&i->name, e->name);
    if (strlen(i->name) > ISLAND_MAX_LEN)
        return yaml_error(l->yaml, yaml_get(root, "island"), err,
                          "with -e %s the island would be called %s: more than %d letters", e->name,
                          i->name, ISLAND_MAX_LEN);
    if (!e->has_domain) {
        char *domain = xasprintf("%s.%s", e->name, i->domain);

        free(i->domain);
        i->domain = domain;
    }
    if (strlen(i->domain) > DOMAIN_MAX_LEN)
        return yaml_error(l->yaml, yaml_get(root, "domain"), err,
                          "with -e %s the domain would be longer than %d letters", e->name,
                          DOMAIN_MAX_LEN);
    if (i->media.container && !e->has_container)
        suffix(&i->media.container, e->name);
    if (!e->has_url)
        free(TAKE(i->media.url));
    return 0;
}
