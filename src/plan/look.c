/* Looking at the world: the cloud's lists, and the mail of the hosts. */
#include "host/mail.h"
#include "island/want.h"
#include "plan/apply_driver.h"

static void drop_hosts(World *w)
{
    for (size_t i = w->items.len; i-- > 0;) {
        if (w->items.items[i].kind != RESOURCE_HOST)
            continue;
        resource_clear(&w->items.items[i]);
        vec_remove(&w->items, i);
    }
}

/* Only a server that runs can have written. */
static bool any_active(const World *w)
{
    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];

        if (r->kind == RESOURCE_SERVER &&
            (streq(r->status, "ACTIVE") || streq(r->status, "VERIFY_RESIZE")))
            return true;
    }
    return false;
}

/* `listed`: this look has brought the mail along; otherwise it is one call more. */
static int look_hosts(const Clouds *c, bool listed, World *w, Err *err)
{
    _cleanup_free_ char *container = xasprintf("%s-mail", c->island);
    _cleanup_json_ json_t *listing = NULL;
    int r;

    drop_hosts(w);
    if (listed) {
        listing = json_incref(w->mail);
    } else if (any_active(w) && world_find(w, RESOURCE_CONTAINER, "mail", 0)) {
        r = swift_list(c->of[CLOUD_OF_ISLAND], container, "", &listing, err);
        /* Deleted under our eyes: then nobody has mail. */
        if (r == -ERR_NOT_FOUND)
            err_clear(err);
        else if (r < 0)
            return err_wrap(err, "reading the mail of the servers");
    }
    if (!listing)
        listing = json_array();
    mail_read(listing, w);
    return 0;
}

int apply_look_kinds(const Clouds *c, const Island *i, unsigned mask, World *w, Err *err)
{
    _cleanup_(strlist_clear) StrList names = {0}, containers = {0};
    unsigned kinds = mask & ~KIND_BIT(RESOURCE_HOST);
    _cleanup_free_ char *mail = xasprintf("%d:%s-mail", CLOUD_OF_ISLAND, i->name);
    int r;

    island_containers(i, &names);
    for (size_t k = 0; k < names.len; k++)
        strlist_addf(&containers, "%s%s", names.items[k], streq(names.items[k], mail) ? "/" : "");
    w->now = cloud_now(c->of[CLOUD_OF_ISLAND]);
    if (kinds) {
        r = world_look(c, kinds, (const char *const *)containers.items, w, err);
        if (r < 0)
            return r;
    }
    if (mask & (KIND_BIT(RESOURCE_HOST) | KIND_BIT(RESOURCE_SERVER)))
        return look_hosts(c, mask & KIND_BIT(RESOURCE_CONTAINER), w, err);
    return 0;
}

int apply_look(const Clouds *c, const Island *i, const char *cache_dir, bool fresh, Msec now,
               World *ret, Err *err)
{
    World w = {0};
    int r = world_facts(c, cache_dir, fresh, now, &w, err);

    if (r == 0)
        r = apply_look_kinds(c, i, KIND_ALL, &w, err);
    if (r < 0) {
        world_clear(&w);
        return r;
    }
    world_clear(ret);
    *ret = w;
    return 0;
}

int apply_goal(const Island *i, const World *w, const GoalAsk *ask, Goal *ret, Err *err)
{
    *ret = (Goal){0};
    island_want(i, w->facts, &ret->want);
    return goal_ask(ask, w, ret, err);
}
