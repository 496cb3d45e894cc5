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
    return check_external(i, facts, err);
}
