/* The driver on a scripted Heat: what it asks, in which order, and what it believes. What real Heat
 * does is test/openstack/heat.py's. */
#include "scale/pool_heat.h"
#include "../cloud/stage.h"

#define STACK(status, updated)                                                                     \
    "{\"stacks\":[{\"id\":\"1\",\"stack_name\":\"w\",\"stack_status\":\"" status                   \
    "\",\"stack_status_reason\":\"Quota exceeded for instances\",\"updated_time\":" updated "}]}"
#define BEFORE STACK("CREATE_COMPLETE", "null")
#define UNDER_WAY STACK("UPDATE_IN_PROGRESS", "\"2026-11-30T01:52:38Z\"")
#define AFTER STACK("UPDATE_COMPLETE", "\"2026-11-30T01:52:38Z\"")
#define FAILED STACK("UPDATE_FAILED", "\"2026-11-30T01:52:38Z\"")
#define OK(text)                                                                                   \
    {                                                                                              \
        200, NULL, text                                                                            \
    }

#define RESOURCE_GROUP                                                                             \
    "{\"resources\":{\"pool\":{\"type\":\"OS::Heat::ResourceGroup\",\"properties\":{\"count\":"    \
    "{\"get_param\":\"size\"},\"removal_policies\":[{\"resource_list\":{\"get_param\":"            \
    "\"victims\"}}]}}}}"
#define AUTOSCALING_GROUP                                                                          \
    "{\"resources\":{\"pool\":{\"type\":\"OS::Heat::AutoScalingGroup\",\"properties\":"            \
    "{\"desired_capacity\":{\"get_param\":\"size\"},\"max_size\":{\"get_param\":\"most\"},"        \
    "\"min_size\":0}}}}"

#define LINKS(stack, name)                                                                         \
    "\"resource_name\":\"" name                                                                    \
    "\",\"links\":[{\"rel\":\"self\",\"href\":\"http://h/stacks/" stack "/resources/" name         \
    "\"},{\"rel\":\"stack\",\"href\":\"http://h/stacks/" stack "\"}]"
#define MEMBER(name)                                                                               \
    ",{" LINKS(                                                                                    \
        "w-pool/2",                                                                                \
        name) ",\"resource_status\":\"CREATE_COMPLETE\",\"parent_resource\":"                      \
              "\"pool\",\"resource_type\":\"OS::Nova::Server\",\"physical_resource_id\":\"s" name  \
              "\"}"
#define MEMBERS(more)                                                                              \
    "{\"resources\":[{" LINKS("w/1", "pool") ",\"physical_resource_id\":\"2\"}" more "]}"
#define SERVER(n) "{\"id\":\"s" n "\",\"name\":\"Pool_w." n "\",\"status\":\"ACTIVE\"}"
#define FOUR MEMBERS(MEMBER("0") MEMBER("1") MEMBER("2") MEMBER("3"))
#define THREE MEMBERS(MEMBER("0") MEMBER("2") MEMBER("3"))
#define SERVERS "{\"servers\":[" SERVER("0") "," SERVER("1") "," SERVER("2") "," SERVER("3") "]}"

static const char *const nobody[] = {NULL};
static const char *const the_second[] = {"pool-w-1", NULL};

static HeatPool open_pool(Stage *s)
{
    HeatPool p = {0};
    _cleanup_(err_clear) Err err = {0};

    if (pool_heat_open(s->cloud, "w", &p, &err) < 0)
        fail_msg("%s", err.text);
    return p;
}

static size_t look_at(HeatPool *p)
{
    _cleanup_(err_clear) Err err = {0};
    Pool pool = {0};

    if (pool_heat.look(p, &pool, &err) < 0)
        fail_msg("%s", err.text);
    size_t n = pool.servers.len;
    if (n)
        assert_string_equal(pool.servers.items[0].name, "pool-w-0");
    pool_clear(&pool);
    return n;
}

/* All that was PATCHed: a line each, the address and the body. */
static void check_patches(const Stage *s, const char *expected)
{
    _cleanup_(buf_clear) Buf got = BUF_INIT(BUF_MAX_LINE);

    for (size_t i = 0; i < s->log.len; i++)
        if (starts_with(s->log.items[i], "PATCH "))
            buf_printf(&got, "%s %s\n", s->log.items[i] + strlen("PATCH /heat/v1/p1"),
                       s->bodies.items[i]);
    assert_string_equal(got.p, expected);
}

static void a_resource_group(void **state)
{
    StageRule rules[] = {
        {"GET /heat/v1/p1/stacks?name=w",
         {OK(BEFORE), OK(BEFORE), OK(BEFORE), OK(UNDER_WAY), OK(AFTER)}},
        {"GET /heat/v1/p1/stacks/w/1/template", {OK(RESOURCE_GROUP)}},
        {"GET /heat/v1/p1/stacks/w/1/resources?nested_depth=2", {OK(FOUR), OK(THREE)}},
        {"GET /compute/v2.1/servers/detail", {OK(SERVERS)}},
        {"PATCH /heat/v1/p1/stacks/w/1", {{202, NULL, "202 Accepted\n\n"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    HeatPool p = open_pool(s);
    int result = 1;

    (void)state;
    assert_int_equal(look_at(&p), 4);
    assert_int_equal(pool_heat.set(&p, 4, nobody, 1, NULL), 0); /* so it is: nothing is asked */
    assert_int_equal(pool_heat.set(&p, 3, the_second, 1, NULL), 0);
    assert_true(pool_heat.busy(&p, &result, NULL)); /* it has not begun */
    assert_true(pool_heat.busy(&p, &result, NULL));
    assert_int_equal(result, 0);
    assert_false(pool_heat.busy(&p, &result, NULL));
    assert_int_equal(result, 0);
    assert_false(pool_heat.busy(&p, &result, NULL));
    assert_int_equal(look_at(&p), 3);
    check_patches(s, "/stacks/w/1 {\"parameters\":{\"size\":3,\"victims\":[\"1\"]}}\n");
    pool_heat_clear(&p);
    stage_close_all(s);
}

/* The victim is marked first; and it is still there when the update is complete. */
static void an_autoscaling_group(void **state)
{
    StageRule rules[] = {
        {"GET /heat/v1/p1/stacks?name=w", {OK(BEFORE), OK(BEFORE), OK(AFTER)}},
        {"GET /heat/v1/p1/stacks/w/1/template", {OK(AUTOSCALING_GROUP)}},
        {"GET /heat/v1/p1/stacks/w/1/resources?nested_depth=2", {OK(FOUR), OK(FOUR)}},
        {"GET /compute/v2.1/servers/detail", {OK(SERVERS)}},
        {"PATCH /heat/v1/p1/stacks/w-pool/2/resources/1", {OK("null")}},
        {"PATCH /heat/v1/p1/stacks/w/1", {{202, NULL, "202 Accepted\n\n"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    HeatPool p = open_pool(s);
    _cleanup_(err_clear) Err err = {0};
    int result = 0;

    (void)state;
    assert_int_equal(look_at(&p), 4);
    assert_int_equal(pool_heat.set(&p, 3, the_second, 1, NULL), 0);
    assert_false(pool_heat.busy(&p, &result, &err));
    assert_int_equal(result, -ERR_PARTIAL);
    assert_non_null(strstr(err.text, "stack w: "));
    assert_non_null(strstr(err.text, "4 servers, not 3, Pool_w.1 is still there"));
    check_patches(s, "/stacks/w-pool/2/resources/1 {\"mark_unhealthy\":true,"
                     "\"resource_status_reason\":\"atoll scale: it goes\"}\n"
                     "/stacks/w/1 {\"parameters\":{\"size\":3,\"most\":3}}\n");
    pool_heat_clear(&p);
    stage_close_all(s);
}

/* An update that fails, of the quota; another one's, which is waited for; and a 409. */
static void not_done(void **state)
{
    StageRule rules[] = {
        {"GET /heat/v1/p1/stacks?name=w",
         {OK(BEFORE), OK(BEFORE), OK(FAILED), OK(UNDER_WAY), OK(UNDER_WAY), OK(FAILED)}},
        {"GET /heat/v1/p1/stacks/w/1/template", {OK(RESOURCE_GROUP)}},
        {"GET /heat/v1/p1/stacks/w/1/resources?nested_depth=2",
         {OK(FOUR), OK(FOUR), OK(FOUR), OK(MEMBERS(MEMBER("0") MEMBER("1") MEMBER("7")))}},
        {"GET /compute/v2.1/servers/detail", {OK(SERVERS)}},
        {"PATCH /heat/v1/p1/stacks/w/1",
         {{202, NULL, "202 Accepted\n\n"},
          {409, NULL, "{\"error\":{\"message\":\"Stack w already has an action in progress\"}}"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    HeatPool p = open_pool(s);
    _cleanup_(err_clear) Err err = {0};
    int result = 0;

    (void)state;
    assert_int_equal(look_at(&p), 4);
    assert_int_equal(pool_heat.set(&p, 6, nobody, 1, NULL), 0);
    assert_false(pool_heat.busy(&p, &result, &err));
    assert_int_equal(result, -ERR_QUOTA);
    assert_non_null(strstr(err.text, "stack w: UPDATE_FAILED: Quota exceeded"));
    assert_true(pool_heat.busy(&p, &result, NULL));
    assert_int_equal(look_at(&p), 4);
    assert_int_equal(pool_heat.set(&p, 6, nobody, 1, &err), -ERR_TEMPORARY);
    assert_non_null(strstr(err.text, "UPDATE_IN_PROGRESS"));
    /* What has no server goes with the next, by name. */
    assert_int_equal(look_at(&p), 2);
    assert_int_equal(pool_heat.set(&p, 3, nobody, 1, &err), -ERR_CONFLICT);
    assert_non_null(strstr(err.text, "already has an action in progress"));
    check_patches(s, "/stacks/w/1 {\"parameters\":{\"size\":6,\"victims\":[]}}\n"
                     "/stacks/w/1 {\"parameters\":{\"size\":3,\"victims\":[\"7\"]}}\n");
    pool_heat_clear(&p);
    stage_close_all(s);
}

static void no_stack(void **state)
{
    StageRule rules[] = {{"GET /heat/v1/p1/stacks?name=a%20b", {OK("{\"stacks\":[]}")}}, {NULL}};
    Stage *s = stage_open(rules);
    _cleanup_(pool_heat_clear) HeatPool p = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    assert_int_equal(pool_heat_open(s->cloud, "a b/pool", &p, &err), -ERR_NOT_FOUND);
    assert_string_equal(err.text, "there is no stack a b");
    stage_close_all(s);
}

static void host_names(void **state)
{
    static const struct {
        const char *server, *host;
    } rows[] = {
        {"workers-pool-abc-0-xyz", "workers-pool-abc-0-xyz"},
        {"Pool_a.pool 1", "pool-a-pool-1"},
        {"-w\xc3\xa4rme!.", "wrme"},
        {"0123456789012345678901234567890123456789012345678901234567890-_6789",
         "0123456789012345678901234567890123456789012345678901234567890"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *host = pool_heat_host_new(rows[i].server);
        assert_string_equal(host, rows[i].host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resource_group), cmocka_unit_test(an_autoscaling_group),
        cmocka_unit_test(not_done),         cmocka_unit_test(no_stack),
        cmocka_unit_test(host_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
