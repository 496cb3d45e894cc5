#include "plan/ask.h"
#include "island/want.h"
#include "plan/kind.h"

void goal_ask_clear(GoalAsk *a)
{
    strlist_clear(&a->only);
    strlist_clear(&a->replace);
    strlist_clear(&a->release);
    strlist_clear(&a->replace_ids);
    *a = (GoalAsk){0};
}

static void add_once(StrList *l, const char *name)
{
    if (!strlist_has(l, name))
        strlist_add(l, name);
}

/* "volume.db.0"; of a server and its host also "web.0" and the tier, "web". */
static void add_names(StrList *names, const Resource *r)
{
    _cleanup_free_ char *whole = xasprintf("%s.%s", resource_row(r->kind)->prefix, r->key);

    if (r->kind == RESOURCE_SERVER) {
        _cleanup_free_ char *tier = xstrndup(r->key, strcspn(r->key, "."));

        add_once(names, tier);
        add_once(names, r->key);
    }
    add_once(names, whole);
}

static void join(Buf *out, const StrList *l)
{
    for (size_t i = 0; i < l->len; i++)
        buf_printf(out, "%s%s", i ? ", " : "", l->items[i]);
}

/* Servers and tiers are what people mean; all other names are many. */
static void join_short(Buf *out, const StrList *l)
{
    _cleanup_(strlist_clear) StrList few = {0};

    for (size_t i = 0; i < l->len; i++) {
        const char *dot = strchr(l->items[i], '.');

        if (!dot || (dot[1] >= '0' && dot[1] <= '9'))
            strlist_add(&few, l->items[i]);
    }
    join(out, &few);
}

static int check_only(const GoalAsk *ask, const World *w, Goal *g, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0};

    for (size_t i = 0; i < g->want.len; i++)
        add_names(&names, &g->want.items[i]);
    for (size_t i = 0; i < w->items.len; i++)
        add_names(&names, &w->items.items[i]);
    for (size_t i = 0; i < ask->only.len; i++) {
        const char *name = ask->only.items[i], *near;
        _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);

        if (ask->agreed || strlist_has(&names, name)) {
            strlist_add(&g->only, name);
            continue;
        }
        near = names.len ? util_nearest(name, (const char *const *)names.items) : NULL;
        join_short(&all, &names);
        (void)err_set(err, ERR_USAGE, "--only %s: neither the file nor the cloud has that%s%s%s",
                      name, near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        return err_hint(err, "a tier, a server, or kind.key such as volume.db.0; there are: %s",
                        all.p);
    }
    return 0;
}

static int resolve_replace(const GoalAsk *ask, const World *w, Goal *g, Err *err)
{
    for (size_t i = 0; i < ask->replace_ids.len; i++)
        strlist_add(&g->replace, ask->replace_ids.items[i]);
    for (size_t i = 0; i < ask->replace.len; i++) {
        const char *key = ask->replace.items[i];
        const Resource *have = world_find(w, RESOURCE_SERVER, key, 0);
        _cleanup_(strlist_clear) StrList there = {0};
        _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);

        if (have && have->id && goal_find(g, RESOURCE_SERVER, key)) {
            strlist_add(&g->replace, have->id);
            continue;
        }
        if (have) {
            (void)err_set(err, ERR_USAGE, "--replace %s: the file no longer has that server", key);
            return err_hint(err, "without the option it goes, and nothing takes its place");
        }
        for (size_t k = 0; k < w->items.len; k++)
            if (w->items.items[k].kind == RESOURCE_SERVER)
                add_once(&there, w->items.items[k].key);
        join(&all, &there);
        const char *near = there.len ? util_nearest(key, (const char *const *)there.items) : NULL;
        (void)err_set(err, ERR_USAGE, "--replace %s: that server is not there%s%s%s", key,
                      near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        return err_hint(err, "there is: %s", there.len ? all.p : "no server at all");
    }
    return 0;
}

bool goal_keeps(const Goal *g, const Resource *have)
{
    return island_protects(have->kind, have->key) && !g->data && !goal_moved(g, have) &&
           !strlist_has(&g->release, have->name) &&
           (g->destroy || !goal_find(g, have->kind, have->key));
}

static int check_release(const GoalAsk *ask, const World *w, Goal *g, Err *err)
{
    _cleanup_(strlist_clear) StrList kept = {0};

    for (size_t i = 0; i < w->items.len; i++)
        if (goal_keeps(g, &w->items.items[i]))
            add_once(&kept, w->items.items[i].name);
    for (size_t i = 0; i < ask->release.len; i++) {
        const char *name = ask->release.items[i], *near;
        _cleanup_(buf_clear) Buf all = BUF_INIT(BUF_MAX_LINE);

        if (ask->agreed || strlist_has(&kept, name)) {
            strlist_add(&g->release, name);
            continue;
        }
        for (size_t k = 0; k < g->want.len; k++)
            if (g->want.items[k].protect && streq(g->want.items[k].name, name))
                return err_set(err, ERR_USAGE, "--delete %s: the island file still wants it", name);
        near = kept.len ? util_nearest(name, (const char *const *)kept.items) : NULL;
        join(&all, &kept);
        (void)err_set(err, ERR_USAGE, "--delete %s: nothing that is kept has that name%s%s%s", name,
                      near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        return err_hint(err, "kept, though the file does not name it: %s",
                        kept.len ? all.p : "nothing");
    }
    return 0;
}

int goal_ask(const GoalAsk *ask, const World *w, Goal *g, Err *err)
{
    g->destroy = ask->destroy;
    g->data = ask->data;
    g->rebuild = ask->rebuild;
    int r = check_only(ask, w, g, err);
    if (r == 0)
        r = resolve_replace(ask, w, g, err);
    return r < 0 ? r : check_release(ask, w, g, err);
}
