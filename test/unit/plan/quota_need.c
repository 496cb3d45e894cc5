#include "plan/quota_need.h"
#include "paper.h"

#include <limits.h>

static void set_flavors(World *w)
{
    json_object_set_new(w->facts, "flavors",
                        json_make_new("{s:{s:s, s:i, s:i}, s:{s:s, s:i, s:i}}", "small", "id", "f1",
                                      "vcpus", 2, "ram_mb", 2048, "big", "id", "f2", "vcpus", 4,
                                      "ram_mb", 8192));
}

static void plan_of(const Goal *g, World *w, Steps *ret)
{
    _cleanup_(err_clear) Err err = {0};

    set_flavors(w);
    if (plan_make(g, w, NOW, ret, &err) < 0)
        fail_msg("%s", err.text);
}

static void a_first_apply(void **state)
{
    static const int64_t expected[QUOTA_ITEMS] = {
        [QUOTA_INSTANCES] = 2,     [QUOTA_CORES] = 6,         [QUOTA_RAM_MB] = 10240,
        [QUOTA_SERVER_GROUPS] = 2, [QUOTA_GROUP_MEMBERS] = 1, [QUOTA_VOLUMES] = 1,
        [QUOTA_GIGABYTES] = 50,    [QUOTA_NETWORKS] = 1,      [QUOTA_SUBNETS] = 1,
        [QUOTA_ROUTERS] = 1,       [QUOTA_PORTS] = 3,         [QUOTA_FLOATING_IPS] = 1,
        [QUOTA_GROUPS] = 3, /* with the lease */
    };
    Goal g = paper_goal(paper_two_tiers);
    World w = paper_world();
    _cleanup_(steps_clear) Steps steps = {0};
    int64_t need[QUOTA_ITEMS], rules = 3 * 2;

    (void)state;
    plan_of(&g, &w, &steps);
    quota_need(&g, &w, &steps, need);
    for (size_t i = 0; i < g.want.len; i++)
        if (g.want.items[i].kind == RESOURCE_GROUP)
            rules += (int64_t)json_array_size(json_object_get(g.want.items[i].attrs, "rules"));
    for (size_t i = 0; i < QUOTA_ITEMS; i++)
        if (i != QUOTA_RULES && need[i] != expected[i])
            fail_msg("%s: %lld", quota_rows[i].many, (long long)need[i]);
    assert_int_equal(need[QUOTA_RULES], rules);
    goal_clear(&g);
    world_clear(&w);
}

static void nothing_to_do(void **state)
{
    Goal g = paper_goal(paper_two_tiers);
    World w = paper_built(&g);
    Steps steps = {0};
    int64_t need[QUOTA_ITEMS];

    (void)state;
    set_flavors(&w);
    quota_need(&g, &w, &steps, need);
    for (size_t i = 0; i < QUOTA_ITEMS; i++)
        assert_int_equal(need[i], 0);
    goal_clear(&g);
    world_clear(&w);
}

/* Steps by hand: growth in place, and a server that stands beside the one it replaces. */
static void changes(void **state)
{
    static const struct {
        KindVerb verb;
        ResourceKind kind;
        const char *key, *have; /* attrs of what is there */
        QuotaItem item;
        int64_t need;
    } rows[] = {
        {KIND_EXTEND, RESOURCE_VOLUME, "db.0", "{\"size_gb\": 20}", QUOTA_GIGABYTES, 30},
        {KIND_RESIZE, RESOURCE_SERVER, "db.0", "{\"flavor\": \"small\"}", QUOTA_CORES, 2},
        {KIND_RESIZE, RESOURCE_SERVER, "db.0", "{\"flavor\": \"small\"}", QUOTA_RAM_MB, 6144},
        {KIND_RESIZE, RESOURCE_SERVER, "web.0", "{\"flavor\": \"big\"}", QUOTA_CORES, 0},
        {KIND_CREATE, RESOURCE_SERVER, "web.0", "{\"flavor\": \"small\", \"group\": \"web\"}",
         QUOTA_GROUP_MEMBERS, 2},
        {KIND_DELETE, RESOURCE_SERVER, "web.0", "{\"flavor\": \"small\"}", QUOTA_INSTANCES, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Goal g = paper_goal(paper_two_tiers);
        World w = paper_world();
        Step step = {.verb = rows[i].verb, .kind = rows[i].kind, .key = xstrdup(rows[i].key)};
        Steps steps = {.items = &step, .len = 1};
        int64_t need[QUOTA_ITEMS];

        set_flavors(&w);
        (void)world_add(
            &w, (Resource){.kind = rows[i].kind,
                           .key = xstrdup(rows[i].key),
                           .attrs = json_parse_new(rows[i].have, strlen(rows[i].have), NULL)});
        quota_need(&g, &w, &steps, need);
        if (need[rows[i].item] != rows[i].need)
            fail_msg("row %zu: %lld", i, (long long)need[rows[i].item]);
        free(step.key);
        goal_clear(&g);
        world_clear(&w);
    }
}

static void does_it_fit(void **state)
{
    static const struct {
        QuotaItem item;
        int64_t need;
        Quota have;
        const char *text; /* NULL: it fits */
    } rows[] = {
        {QUOTA_INSTANCES, 3, {10, 7}, NULL},
        {QUOTA_INSTANCES, 3, {10, 8}, "needs 3 more servers, 2 are left of 10"},
        {QUOTA_INSTANCES, 1, {10, 12}, "needs 1 more server, 0 are left of 10"},
        {QUOTA_CORES, 4, {20, 19}, "needs 4 more cores, 1 is left of 20"},
        {QUOTA_INSTANCES, 300, {-1, 8}, NULL},
        {QUOTA_INSTANCES, 0, {0, 0}, NULL},
        {QUOTA_PORTS, 5, {4, -1}, "needs 5 more ports, 4 are left of 4"},
        {QUOTA_PORTS, 5, {5, -1}, NULL},
        {QUOTA_GROUP_MEMBERS, 40, {10, 0}, "needs 40 servers in one server group, 10 are allowed"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        int64_t need[QUOTA_ITEMS] = {0};
        Quota have[QUOTA_ITEMS];

        for (size_t k = 0; k < QUOTA_ITEMS; k++)
            have[k] = (Quota){-1, -1};
        need[rows[i].item] = rows[i].need;
        have[rows[i].item] = rows[i].have;
        assert_int_equal(quota_fits(need, have, &err), rows[i].text ? -ERR_PREFLIGHT : 0);
        if (rows[i].text && !strstr(err.text, rows[i].text))
            fail_msg("row %zu: %s", i, err.text);
    }
    _cleanup_(err_clear) Err err = {0};
    int64_t need[QUOTA_ITEMS] = {[QUOTA_INSTANCES] = 2, [QUOTA_VOLUMES] = 1};
    Quota none[QUOTA_ITEMS] = {{0, 0}};
    assert_int_equal(quota_fits(need, none, &err), -ERR_PREFLIGHT);
    assert_non_null(strstr(err.text, "0 are left of 0; needs 1 more volume"));
}

static void room(void **state)
{
    static const struct {
        Quota servers, cores;
        int left; /* of servers with two cores each */
    } rows[] = {
        {{10, 8}, {20, 16}, 2}, {{10, 8}, {20, 17}, 1},       {{10, 12}, {20, 0}, 0},
        {{-1, 8}, {9, -1}, 4},  {{-1, -1}, {-1, 5}, INT_MAX},
    };
    static const int64_t one[QUOTA_ITEMS] = {[QUOTA_INSTANCES] = 1, [QUOTA_CORES] = 2};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const Quota have[QUOTA_ITEMS] = {
            [QUOTA_INSTANCES] = rows[i].servers, [QUOTA_CORES] = rows[i].cores};
        assert_int_equal(quota_room(one, have), rows[i].left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_apply), cmocka_unit_test(nothing_to_do), cmocka_unit_test(changes),
        cmocka_unit_test(does_it_fit),   cmocka_unit_test(room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
