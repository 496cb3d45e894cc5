/* Some thousand half-made, half-removed islands: whatever the world is, doing what next says, in
 * any order and in any portions, ends; does only what the plan had; and leaves what must stay. */
#include "paper.h"
#include "plan/apply_driver.h"

#define WORLDS 10000
#define WEB "  web: {flavor: small, roles: [edge, web]}\n"
#define JOBS "  jobs: {flavor: small, roles: [worker]}\n"
#define DB "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n"
#define ALONE "  db: {flavor: big, roles: [postgres], volume: {size: 50GB}}\n"
#define TURNS 400

/* xorshift64*: a failing world is told by its seed. */
static uint64_t rng;
static uint32_t below(uint32_t n)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (uint32_t)((rng * 0x2545F4914F6CDD1DULL) >> 33) % n;
}

static uint64_t seed; /* of the world under test */
#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c))                                                                                  \
            fail_msg("seed %llu: %s", (unsigned long long)seed, #c);                               \
    } while (0)

static void drop(World *w, size_t at)
{
    resource_clear(&w->items.items[at]);
    vec_remove(&w->items, at);
}

static void set(Resource *r, const char *attr, json_t *value)
{
    json_object_set_new(r->attrs, attr, value);
}

static void set_status(Resource *r, const char *status)
{
    free(r->status);
    r->status = xstrdup(status);
}

static void spoil_server(Resource *r)
{
    static const char *const states[] = {"BUILD", "REBOOT", "ACTIVE", "ACTIVE"};

    r->created_at = NOW;
    set_status(r, states[below(ARRAY_LEN(states))]);
    if (below(6) == 0)
        set(r, "task", json_string("deleting"));
    if (below(4) == 0)
        set(r, "metadata", json_make_new("{s:s}", PLAN_MARK, "1"));
    if (below(5) == 0)
        set(r, "flavor", json_string("tiny"));
    else if (below(5) == 0)
        set_status(r, below(2) ? "RESIZE" : "VERIFY_RESIZE");
    if (below(5) == 0)
        set(r, "image", json_string("an older one"));
}

/* It could not do what it was told, which is not what it is to be told now. */
static void spoil_services(Resource *r)
{
    set(r, "hello", json_true());
    set(r, "sent", json_integer(2));
    set(r, "seen", json_integer(2));
    set(r, "state", json_string(below(2) ? "failed" : "refused"));
    set(r, "sent_spec", json_string("0000000000000000"));
    set(r, "sent_until", json_integer(NOW + DAY));
}

static void spoil_host(Resource *r)
{
    static const char *const states[] = {"", "starting", "healthy"};

    r->created_at = NOW;
    set(r, "hello", json_boolean(below(3) > 0));
    set(r, "sent", json_integer(below(2)));
    set(r, "seen", json_integer(below(2)));
    set(r, "state", json_string(states[below(3)]));
    if (below(3) == 0)
        set(r, "sent_spec", json_string("0000000000000000"));
    if (below(3) == 0)
        set(r, "sent_until", json_integer(below(2) ? NOW + DAY : 0));
    if (below(3) == 0)
        set(r, "state_since", json_integer(NOW - HOUR));
    if (below(4) == 0)
        spoil_services(r);
}

static void spoil_rules(Resource *r)
{
    json_t *rules = json_object_get(r->attrs, "rules");

    if (json_array_size(rules) && below(2))
        json_array_remove(rules, below((uint32_t)json_array_size(rules)));
    if (below(2))
        json_array_append_new(rules, json_string("in tcp 22 0.0.0.0/0"));
    if (below(4) == 0)
        json_array_append_new(rules, json_string("in tcp 9 group:jobs"));
}

/* Something that can be put right, or goes by itself. */
static void spoil(Resource *r)
{
    static const char *const volumes[] = {"creating", "attaching", "detaching", "deleting"};

    switch (r->kind) {
    case RESOURCE_GROUP:
        spoil_rules(r);
        break;
    case RESOURCE_INTERFACE:
        set(r, "router", json_string(""));
        break;
    case RESOURCE_FLOATING_IP:
        set(r, "port", json_string(below(2) ? "" : "port-of-nobody"));
        break;
    case RESOURCE_VOLUME:
        r->created_at = NOW - MINUTE;
        if (below(2))
            set_status(r, volumes[below(ARRAY_LEN(volumes))]);
        if (below(3) == 0)
            set(r, "size_gb", json_integer(1));
        if (below(3) == 0)
            set(r, "type", json_string("disk"));
        break;
    case RESOURCE_PORT:
        set(r, "groups", json_make_new("[s]", "default"));
        break;
    case RESOURCE_USER:
        set(r, "roles", json_array());
        break;
    case RESOURCE_CONTAINER:
        set(r, "read", json_make_new("[s]", ".r:*,.rlistings"));
        r->used = below(2);
        break;
    case RESOURCE_SERVER:
        spoil_server(r);
        break;
    case RESOURCE_HOST:
        spoil_host(r);
        break;
    default:
        break;
    }
}

/* A server has its port, a host is there if and only if its server is, a volume that no server has
 * is available, and none is younger than the servers. */
static void make_sane(World *w)
{
    for (size_t i = w->items.len; i-- > 0;) {
        Resource *r = &w->items.items[i];

        if (r->kind == RESOURCE_SERVER) {
            r->created_at = NOW;
            if (!world_find(w, RESOURCE_PORT, r->key, r->generation))
                drop(w, i);
        }
    }
    for (size_t i = w->items.len; i-- > 0;) {
        Resource *r = &w->items.items[i];

        if (r->kind == RESOURCE_HOST && !world_find(w, RESOURCE_SERVER, r->key, r->generation)) {
            drop(w, i);
        } else if (r->kind == RESOURCE_VOLUME && !world_find(w, RESOURCE_SERVER, r->key, 0)) {
            set(r, "server", json_string(""));
            if (streq(r->status, "in-use"))
                set_status(r, "available");
        }
    }
}

static void add_second(World *w, const Resource *of)
{
    Resource r = resource_copy(of);

    r.generation = 2;
    free(r.id);
    free(r.name);
    r.id = xasprintf("id-%s-%s-g2", resource_row(r.kind)->prefix, r.key);
    r.name = xasprintf("%s-g2", of->name);
    if (r.kind == RESOURCE_HOST)
        spoil_host(&r);
    (void)world_add(w, r);
}

/* In the middle of a replacement: beside a server without volumes stands the next one, or its port
 * alone. */
static void add_generations(World *w)
{
    size_t n = w->items.len;

    for (size_t i = 0; i < n; i++) {
        const char *key = w->items.items[i].key;
        bool port_only = below(4) == 0;

        if (w->items.items[i].kind != RESOURCE_SERVER || below(4) ||
            json_array_size(json_object_get(w->items.items[i].attrs, "volumes")) > 0 ||
            !world_find(w, RESOURCE_PORT, key, 1))
            continue;
        add_second(w, world_find(w, RESOURCE_PORT, key, 1));
        if (port_only)
            continue;
        add_second(w, world_find(w, RESOURCE_SERVER, key, 1));
        add_second(w, world_find(w, RESOURCE_HOST, key, 1));
    }
}

static World random_world(const Goal *from)
{
    World w = paper_built(from);
    uint32_t gone = below(100), odd = below(60);

    if (below(2))
        add_generations(&w);
    for (size_t i = w.items.len; i-- > 0;) {
        if (below(100) < gone && w.items.items[i].kind != RESOURCE_HOST)
            drop(&w, i);
        else if (below(100) < odd)
            spoil(&w.items.items[i]);
    }
    make_sane(&w);
    return w;
}

static bool is_wanted(const Goal *g, const Resource *r)
{
    return !g->destroy && goal_find(g, r->kind, r->key);
}

/* It goes although its key is wanted: another stands in for it, or is to be made around its
 * volume. */
static bool is_replaced(const World *w, const Resource *r)
{
    const Resource *newest = world_find(w, r->kind, r->key, 0);

    return (r->kind == RESOURCE_SERVER && is_marked(r)) ||
           ((r->kind == RESOURCE_SERVER || r->kind == RESOURCE_PORT) &&
            newest->generation > r->generation);
}

static void check_step(const Goal *g, const World *w, const Steps *plan, const Step *s)
{
    bool found = false;

    if (!plan_has(plan, s)) {
        _cleanup_free_ char *words = plan_words_new(s);

        fail_msg("seed %llu: not in the plan: %s", (unsigned long long)seed, words);
    }
    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];

        if (r->kind != s->kind || !streq(r->key, s->key))
            continue;
        found = found || r->generation == s->generation;
        if (r->generation != s->generation)
            continue;
        if (s->verb != KIND_DELETE && s->verb != KIND_EMPTY)
            continue;
        /* Nothing that is wanted, and no data unless it was said. */
        CHECK(!is_wanted(g, r) || is_replaced(w, r) || strlist_has(&g->replace, r->id));
        CHECK(g->data || !island_protects(r->kind, r->key));
        CHECK(streq(r->id, s->id));
    }
    CHECK(found == (s->verb != KIND_CREATE));
    CHECK(s->verb != KIND_CREATE || is_wanted(g, &(Resource){.kind = s->kind, .key = s->key}));
}

/* What was just made has an id of its own, as in a cloud, and may take its time. */
static void give_id(Resource *r)
{
    static unsigned next_id;

    if (!streq(r->id, "?"))
        return;
    free(r->id);
    r->id = xasprintf("new-%u", next_id++);
    r->created_at = r->kind == RESOURCE_VOLUME ? NOW - MINUTE : NOW;
    if (r->kind == RESOURCE_VOLUME && below(2))
        set_status(r, "creating");
    if (r->kind == RESOURCE_SERVER && below(2))
        set_status(r, "BUILD");
    if (r->kind == RESOURCE_HOST && below(2))
        set(r, "hello", json_false());
}

/* So may a host with what it was told. */
static void take_time(World *w, const Step *s)
{
    Resource *host = s->verb == KIND_SEND ? plan_target(w, s) : NULL;

    if (!host || below(2))
        return;
    set(host, "seen", json_integer(json_int(host->attrs, "sent", 0) - below(2)));
    set(host, "state", json_string(below(2) ? "starting" : "healthy"));
}

/* Some of the steps, in any order: at least one. */
static void do_some(const Goal *g, World *w, const Steps *plan, const Steps *steps)
{
    size_t *order = xcalloc(steps->len, sizeof *order);
    size_t n = 1 + below((uint32_t)steps->len);

    for (size_t i = 0; i < steps->len; i++) {
        size_t k = below((uint32_t)i + 1);

        order[i] = order[k];
        order[k] = i;
    }
    for (size_t i = 0; i < steps->len; i++)
        check_step(g, w, plan, &steps->items[i]);
    for (size_t i = 0; i < n; i++) {
        plan_predict(g, w, &steps->items[order[i]]);
        take_time(w, &steps->items[order[i]]);
    }
    for (size_t i = 0; i < w->items.len; i++)
        give_id(&w->items.items[i]);
    free(order);
}

static void check_end(const Goal *g, const World *before, const World *w)
{
    for (size_t i = 0; !g->destroy && i < g->want.len; i++)
        CHECK(world_find(w, g->want.items[i].kind, g->want.items[i].key, 0));
    for (size_t i = 0; i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];

        CHECK(r->kind != RESOURCE_SERVER || !is_marked(r));
        CHECK(world_find(w, r->kind, r->key, 0) == r);
    }
    for (size_t i = 0; i < w->items.len; i++)
        CHECK(is_wanted(g, &w->items.items[i]) ||
              island_protects(w->items.items[i].kind, w->items.items[i].key));
    for (size_t i = 0; !g->data && i < before->items.len; i++) {
        const Resource *r = &before->items.items[i];

        CHECK(!island_protects(r->kind, r->key) || streq(r->status, "deleting") ||
              world_find_id(w, r->kind, r->id));
    }
}

/* Some of the servers are asked to be made anew; none in the middle of a resize, which may end
 * before or after it. */
static void ask_replace(Goal *g, const World *w)
{
    for (size_t i = 0; !g->destroy && i < w->items.len; i++) {
        const Resource *r = &w->items.items[i];

        if (r->kind == RESOURCE_SERVER && goal_find(g, r->kind, r->key) &&
            !streq(r->status, "RESIZE") && below(4) == 0)
            strlist_add(&g->replace, r->id);
    }
}

static void converges(Goal *g, const Goal *from)
{
    _cleanup_(world_clear) World w = random_world(from), before = world_copy(&w);
    _cleanup_(steps_clear) Steps plan = {0};
    _cleanup_(err_clear) Err err = {0};
    int r;

    if (below(3) == 0)
        ask_replace(g, &w);
    r = plan_make(g, &w, NOW, &plan, &err);
    /* The database's volume is gone, and another is there: that a person has to say, too. */
    if (r == -ERR_CONFIG)
        return;
    if (r < 0)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
    for (int turn = 0; turn < TURNS; turn++) {
        _cleanup_(next_clear) Next n = {0};

        /* Killed, and run again: from what is half done another plan is made. */
        if (turn && below(8) == 0) {
            steps_clear(&plan);
            if (plan_make(g, &w, NOW, &plan, &err) < 0)
                fail_msg("seed %llu, run again: %s", (unsigned long long)seed, err.text);
        }
        paper_next(g, &w, &n);
        /* What it keeps is in use as far as anybody knows: that a person has to decide. */
        if (n.stucks.len && strstr(n.stucks.items[0].why, "doesn't stop its services"))
            return;
        if (n.stucks.len)
            fail_msg("seed %llu: %s %s: %s", (unsigned long long)seed,
                     resource_row(n.stucks.items[0].kind)->prefix, n.stucks.items[0].key,
                     n.stucks.items[0].why);
        if (!n.steps.len && !n.waits.len) {
            check_end(g, &before, &w);
            return;
        }
        if (n.steps.len)
            do_some(g, &w, &plan, &n.steps);
        /* Time passes now and then, and always when there is nothing else to do. */
        if (!n.steps.len || below(3) == 0)
            plan_settle(&w);
    }
    fail_msg("seed %llu: it does not end", (unsigned long long)seed);
}

static void any_world(void **state)
{
    /* From either to either; from the last pair's only forward: a database does not go back by
     * itself. */
    static const char *const texts[][2] = {
        {paper_two_tiers, paper_more},
        {PAPER_HEAD WEB JOBS DB,
         PAPER_HEAD "  front: {flavor: small, roles: [edge, web]}\n" JOBS DB},
        {PAPER_HEAD WEB JOBS DB, PAPER_HEAD WEB "  sidekiq: {flavor: small, roles: [worker]}\n" DB},
        {PAPER_HEAD WEB JOBS ALONE "  redis: {flavor: small, roles: [redis]}\n",
         PAPER_HEAD WEB JOBS ALONE "  cache: {flavor: small, roles: [redis]}\n"},
        {paper_all, paper_apart},
    };
    Goal goals[ARRAY_LEN(texts)][2];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        goals[i][0] = paper_goal(texts[i][0]);
        goals[i][1] = paper_goal(texts[i][1]);
    }
    /* Fewer where each takes long: under sanitizers. */
    const char *asked = getenv("ATOLL_WORLDS");
    uint64_t worlds = asked ? strtoull(asked, NULL, 10) : WORLDS;

    for (seed = 1; seed <= worlds; seed++) {
        size_t which = seed % ARRAY_LEN(texts);
        bool forward = which == ARRAY_LEN(texts) - 1;
        Goal *pair = goals[which], g = pair[forward || seed / ARRAY_LEN(texts) % 2];

        rng = seed * 0x9E3779B97F4A7C15ULL;
        g.destroy = below(4) == 0;
        g.data = below(3) == 0;
        g.rebuild = below(3) == 0;
        g.replace = (StrList){0};
        converges(&g, &pair[below(2)]);
        strlist_clear(&g.replace);
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        goal_clear(&goals[i][0]);
        goal_clear(&goals[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_world)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
