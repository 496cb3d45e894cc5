/* Looking at the world: the cloud's lists, and the mail of the hosts. */
#include "host/mail.h"
#include "host/release.h"
#include "host/spec.h"
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

static int look_once(const Clouds *c, const Island *i, unsigned mask, World *w, Err *err)
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

static void pause_second(const ApplyLook *l)
{
    for (int i = 0; i < 10 && !(l->stop && *l->stop); i++)
        time_sleep(SECOND / 10);
}

int apply_look_kinds(const ApplyLook *l, unsigned mask, World *w, Err *err)
{
    for (int i = 0; i < APPLY_LOOKS; i++) {
        int r = look_once(l->clouds, l->island, mask, w, err);
        if (r < 0 || release_newest(w->mail) >= l->release)
            return r;
        pause_second(l);
    }
    return err_set(err, ERR_TEMPORARY,
                   "the cloud does not show yet what was written about the release");
}

int apply_look(const ApplyLook *l, const char *cache_dir, Msec now, World *ret, Err *err)
{
    World w = {0};
    int r = world_facts(l->clouds, cache_dir, false, now, &w, err);

    if (r == 0)
        r = apply_look_kinds(l, KIND_ALL, &w, err);
    if (r < 0) {
        world_clear(&w);
        return r;
    }
    world_clear(ret);
    *ret = w;
    return 0;
}

bool apply_going(const World *w, const Resource *server)
{
    const Resource *host = world_find(w, RESOURCE_HOST, server->key, server->generation);
    _cleanup_json_ json_t *stop = host ? host_stop_spec_new(host) : NULL;
    const char *mark = json_str_or(json_object_get(server->attrs, "metadata"), PLAN_MARK, "");

    return server_leaving(server) || (host && !*mark && host_was_sent(host, stop));
}

uint64_t apply_numbers(const World *w, const char *tier)
{
    uint64_t numbers = 0;
    size_t n = strlen(tier);

    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];
        int64_t number = 0;
        if (r->kind == RESOURCE_SERVER && starts_with(r->key, tier) && r->key[n] == '.' &&
            parse_int(r->key + n + 1, 0, ISLAND_COUNT_MAX - 1, &number))
            numbers |= (uint64_t)!apply_going(w, r) << number;
    }
    return numbers;
}

uint64_t apply_clamp(uint64_t numbers, int min, int max)
{
    while (__builtin_popcountll(numbers) > max)
        numbers &= ~((uint64_t)1 << (63 - __builtin_clzll(numbers)));
    for (int n = 0; __builtin_popcountll(numbers) < min; n++)
        numbers |= (uint64_t)1 << n;
    return numbers;
}

int apply_goal(const Island *i, const World *w, const GoalAsk *ask, Goal *ret, Err *err)
{
    /* Only the scaler moves a scaled tier inside its bounds. */
    Island now = *i; /* shares all it holds */

    *ret = (Goal){0};
    for (size_t k = 0; k < now.n_tiers; k++) {
        Tier *t = &now.tiers[k];
        uint64_t numbers = t->scale.told ? t->numbers : apply_numbers(w, t->name);
        if (t->scale.on)
            t->numbers = apply_clamp(numbers, t->scale.min, t->scale.max);
    }
    island_want(&now, w->facts, &ret->want);
    int r = ask->destroy ? 0 : release_want(w, &ret->want, err);
    return r < 0 ? r : goal_ask(ask, w, ret, err);
}
