/* What the cloud must have before the first write. */
#include "island/want.h"

static int lacks(const Island *i, const char *path, const char *what, const char *name,
                 const StrList *there, Err *err)
{
    const char *near = there->len ? util_nearest(name, (const char *const *)there->items) : NULL;
    _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *place = island_place(i, path);

    for (size_t k = 0; k < there->len && k < 24; k++)
        buf_printf(&all, "%s%s", k ? ", " : "", there->items[k]);
    if (there->len > 24)
        buf_printf(&all, " and %zu more", there->len - 24);
    (void)err_set(err, ERR_PREFLIGHT, "%s: the cloud has no %s \"%s\"%s%s%s", place, what, name,
                  near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return err_hint(err, "there is: %s", there->len ? all.p : "none that this login can see");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a part of the facts: an object's keys, or an array of names. Sorted. */
static void names_of(const json_t *facts, const char *part, StrList *ret)
{
    json_t *from = json_at(facts, part), *value;
    const char *key;
    size_t k;

    json_object_foreach (from, key, value) {
        strlist_add(ret, key);
    }
    json_array_foreach (from, k, value) {
        if (json_is_string(value))
            strlist_add(ret, json_string_value(value));
    }
    if (ret->len)
        qsort(ret->items, ret->len, sizeof *ret->items, by_text);
}

static int check_external(const Island *i, const json_t *facts, Err *err)
{
    _cleanup_(strlist_clear) StrList there = {0};
    _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);

    names_of(facts, "external", &there);
    if (i->network.external[0])
        return strlist_has(&there, i->network.external)
                   ? 0
                   : lacks(i, "network.external", "external network", i->network.external, &there,
                           err);
    if (there.len == 1)
        return 0;
    if (!there.len)
        return err_set(err, ERR_PREFLIGHT,
                       "%s: network.external: the cloud has no external network "
                       "that this login can see",
                       i->path);
    for (size_t k = 0; k < there.len; k++)
        buf_printf(&all, "%s%s", k ? ", " : "", there.items[k]);
    (void)err_set(err, ERR_PREFLIGHT,
                  "%s: network.external is missing: the cloud has %zu external networks", i->path,
                  there.len);
    return err_hint(err, "give one of: %s", all.p);
}

/* What the file names and only uses. */
static int check_used(const Island *i, const json_t *facts, Err *err)
{
    const struct {
        const char *name, *part, *path, *what;
    } rows[] = {
        {i->network.router, "routers", "network.router", "router"},
        {i->network.name, "networks", "network.name", "network"},
        {i->network.subnet, "subnets", "network.subnet", "subnet"},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        _cleanup_(strlist_clear) StrList there = {0};

        if (!rows[k].name[0])
            continue;
        names_of(facts, rows[k].part, &there);
        if (!strlist_has(&there, rows[k].name))
            return lacks(i, rows[k].path, rows[k].what, rows[k].name, &there, err);
    }
    if (!i->network.name[0])
        return 0;
    const char *network =
        json_string_value(json_object_get(json_at(facts, "networks"), i->network.name));
    const json_t *subnet = json_object_get(json_at(facts, "subnets"), i->network.subnet);
    _cleanup_free_ char *place = island_place(i, "network.subnet");
    if (streq(json_str(subnet, "network"), network))
        return 0;
    return err_set(err, ERR_PREFLIGHT, "%s: the subnet %s is not of the network %s", place,
                   i->network.subnet, i->network.name);
}

int island_preflight(const Island *i, const json_t *facts, Err *err)
{
    _cleanup_(strlist_clear) StrList flavors = {0}, images = {0}, types = {0};

    names_of(facts, "flavors", &flavors);
    names_of(facts, "images", &images);
    names_of(facts, "volume_types", &types);
    if (!strlist_has(&images, i->image))
        return lacks(i, "image", "image", i->image, &images, err);
    for (size_t k = 0; k < i->n_tiers; k++) {
        const Tier *t = &i->tiers[k];

        if (!strlist_has(&flavors, t->flavor)) {
            _cleanup_free_ char *path = xasprintf("servers.%s.flavor", t->name);

            return lacks(i, path, "flavor", t->flavor, &flavors, err);
        }
        if (t->volume_type[0] && !strlist_has(&types, t->volume_type)) {
            _cleanup_free_ char *path = xasprintf("servers.%s.volume.type", t->name);

            return lacks(i, path, "volume type", t->volume_type, &types, err);
        }
    }
    int r = check_external(i, facts, err);
    return r < 0 ? r : check_used(i, facts, err);
}
