/* Templates, members and what became of a group, as Heat 19 tells them, shortened. */
#include "cloud/heat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEMPLATE(resources)                                                                        \
    "{\"heat_template_version\":\"2018-08-31\",\"resources\":{" resources "}}"
#define GROUP(name, type, properties)                                                              \
    "\"" name "\":{\"type\":\"OS::Heat::" type "\",\"properties\":{" properties "}}"
#define SIZE(property) "\"" property "\":{\"get_param\":\"n\"}"
#define VICTIMS "\"removal_policies\":[{\"resource_list\":{\"get_param\":[\"v\"]}}]"
#define NET "\"net\":{\"type\":\"OS::Neutron::Net\"}"

static void templates(void **state)
{
    static const struct {
        const char *text, *name;
        const char *group, *victims; /* or group NULL: */
        const char *words;
        size_t sizes;
        bool autoscaling;
    } rows[] = {
        {TEMPLATE(NET "," GROUP("pool", "ResourceGroup", SIZE("count") "," VICTIMS)), NULL, "pool",
         "v", NULL, 1, false},
        {TEMPLATE(GROUP("pool", "AutoScalingGroup",
                        SIZE("min_size") "," SIZE("max_size") "," SIZE("desired_capacity"))),
         NULL, "pool", NULL, NULL, 1, true},
        {TEMPLATE(GROUP(
             "pool", "AutoScalingGroup",
             "\"min_size\":0,\"max_size\":{\"get_param\":\"most\"}," SIZE("desired_capacity"))),
         NULL, "pool", NULL, NULL, 2, true},
        {TEMPLATE(GROUP("a", "ResourceGroup", SIZE("count") "," VICTIMS) "," GROUP(
             "b", "AutoScalingGroup", SIZE("desired_capacity"))),
         "b", "b", NULL, NULL, 1, true},
        {TEMPLATE(GROUP("a", "ResourceGroup", SIZE("count") "," VICTIMS) "," GROUP(
             "b", "AutoScalingGroup", SIZE("desired_capacity"))),
         NULL, NULL, NULL, "several groups, and one has to be named: a, b", 0, false},
        {TEMPLATE(GROUP("a", "ResourceGroup", SIZE("count") "," VICTIMS)), "pool", NULL, NULL,
         "no group pool, but a", 0, false},
        {TEMPLATE(NET), NULL, NULL, NULL,
         "no OS::Heat::ResourceGroup and no OS::Heat::AutoScalingGroup", 0, false},
        {TEMPLATE(GROUP("pool", "ResourceGroup", "\"count\":3," VICTIMS)), NULL, NULL, NULL,
         "count of the group pool is no parameter", 0, false},
        {TEMPLATE(GROUP("pool", "ResourceGroup", SIZE("count"))), NULL, NULL, NULL,
         "resource_list of removal_policies of the group pool is no parameter", 0, false},
        {TEMPLATE(GROUP("pool", "AutoScalingGroup", SIZE("min_size") "," SIZE("max_size"))), NULL,
         NULL, NULL, "desired_capacity of the group pool is no parameter", 0, false},
        {"[]", NULL, NULL, NULL, "no OS::Heat::ResourceGroup", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *j = json_parse_new(rows[i].text, strlen(rows[i].text), NULL);
        _cleanup_(heat_group_clear) HeatGroup g = {0};
        _cleanup_(err_clear) Err err = {0};
        int r = heat_group_read(j, rows[i].name, &g, &err);

        assert_non_null(j);
        assert_int_equal(r, rows[i].group ? 0 : -ERR_CONFIG);
        if (rows[i].words && !strstr(err.text, rows[i].words))
            fail_msg("%s, not %s", err.text, rows[i].words);
        assert_true(streq(g.name, rows[i].group));
        assert_true(streq(g.victims, rows[i].victims));
        assert_int_equal(g.sizes.len, rows[i].sizes);
        assert_int_equal(g.autoscaling, rows[i].autoscaling);
    }
}

#define IN(stack, name)                                                                            \
    "\"links\":[{\"rel\":\"self\",\"href\":\"http://h/v1/p/stacks/" stack "/resources/" name       \
    "\"},{\"rel\":\"stack\",\"href\":\"http://h/v1/p/stacks/" stack "\"}],"                        \
    "\"resource_name\":\"" name "\","
#define STATUS(word) "\"resource_status\":\"" word "\","
#define TYPE(word) "\"resource_type\":\"" word "\","
#define ID(word) "\"physical_resource_id\":\"" word "\""
#define CHILD ",\"parent_resource\":\"pool\""

/* Servers themselves, and one that is a stack with a server in it. */
static void members(void **state)
{
    static const char resources[] =
        "[{" IN("w/1", "pool") STATUS("CREATE_COMPLETE") TYPE("OS::Heat::ResourceGroup")
            ID("2") "},{" IN("w/1", "other") TYPE("OS::Heat::ResourceGroup")
                ID("9") "},{" IN("w-pool/2", "0") STATUS("CREATE_COMPLETE")
                    TYPE("OS::Nova::Server") "\"creation_time\":\"2026-11-30T01:52:27Z\"," ID("s0")
                        CHILD "},{" IN("w-pool/2", "1") STATUS("CREATE_COMPLETE")
                            TYPE("worker.yaml") ID("3") CHILD
        "},{" IN("w-pool-1/3", "port") STATUS("CREATE_COMPLETE") TYPE("OS::Neutron::Port")
            ID("p") ",\"parent_resource\":\"1\"},{" IN("w-pool-1/3", "server")
                STATUS("CREATE_COMPLETE") TYPE("OS::Nova::Server")
                    ID("s1") ",\"parent_resource\":\"1\"},{" IN("w-pool/2", "2")
                        STATUS("CREATE_IN_PROGRESS") TYPE("OS::Nova::Server") ID("") CHILD
        "},{" IN("w-pool/2", "3") STATUS("CREATE_COMPLETE") TYPE("OS::Nova::Server") ID("gone")
            CHILD "},{" IN("w-pool/2", "4") STATUS("DELETE_COMPLETE") TYPE("OS::Nova::Server")
                ID("") CHILD "},{" IN("w-other/9", "0") TYPE("OS::Nova::Server") ID("s9") CHILD
        "},7]";
    static const char servers[] =
        "[{\"id\":\"s0\",\"name\":\"w-0\",\"status\":\"ACTIVE\",\"created\":"
        "\"2026-11-30T01:52:30Z\"},{\"id\":\"s1\",\"name\":\"w-1\",\"status\":\"ERROR\"},"
        "{\"id\":\"s9\",\"name\":\"w-9\",\"status\":\"ACTIVE\"}]";
    static const struct {
        const char *name, *server;
        bool error;
    } expected[] = {
        {"0", "w-0", false}, {"1", "w-1", true}, {"2", NULL, false}, {"3", NULL, false}};
    _cleanup_json_ json_t *r = json_parse_new(resources, strlen(resources), NULL);
    _cleanup_json_ json_t *s = json_parse_new(servers, strlen(servers), NULL);
    _cleanup_(heat_members_clear) HeatMembers m = {0};
    const HeatGroup g = {.name = (char *)(uintptr_t) "pool"};

    (void)state;
    assert_non_null(r);
    assert_non_null(s);
    heat_members_read(r, s, &g, &m);
    assert_int_equal(m.items.len, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_string_equal(m.items.items[i].name, expected[i].name);
        assert_true(streq(m.items.items[i].server, expected[i].server));
        assert_int_equal(m.items.items[i].error, expected[i].error);
    }
    Msec made;
    assert_true(time_parse("2026-11-30T01:52:30Z", &made));
    assert_int_equal(m.items.items[0].made, made);
    assert_string_equal(m.items.items[0].path, "/stacks/w-pool/2/resources/0");
}

/* Servers by one letter each; a capital one goes. */
static HeatMembers group_of(const char *letters)
{
    HeatMembers m = {0};

    for (const char *p = letters; *p; p++) {
        char id[2] = {(char)(*p | 32), 0};
        vec_push(&m.items, (HeatMember){.name = xstrdup(id),
                                        .path = xstrdup(""),
                                        .status = xstrdup(""),
                                        .id = xstrdup(id),
                                        .server = *p == '-' ? NULL : xstrdup(id),
                                        .goes = *p < 'a'});
    }
    return m;
}

static void what_became(void **state)
{
    static const struct {
        const char *before;
        int size;
        const char *now, *words;
    } rows[] = {
        {"aBcd", 3, "acd", NULL},
        {"aBcd", 3, "acd-", NULL}, /* one without a server is none */
        {"abc", 5, "abcde", NULL},
        {"aBc", 3, "acd", NULL},
        {"aBcd", 3, "abcd", "4 servers, not 3, b is still there"},
        {"aBcd", 3, "bcd", "a is gone, and was to stay, b is still there"},
        {"aBcd", 3, "cd", "2 servers, not 3, a is gone, and was to stay"},
        {"abc", 5, "abc", "3 servers, not 5"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(heat_members_clear) HeatMembers before = group_of(rows[i].before);
        _cleanup_(heat_members_clear) HeatMembers now = group_of(rows[i].now);
        _cleanup_(err_clear) Err err = {0};

        assert_int_equal(heat_verify(&before, rows[i].size, &now, &err),
                         rows[i].words ? -ERR_PARTIAL : 0);
        if (rows[i].words && !ends_with(err.text, rows[i].words))
            fail_msg("%s, not %s", err.text, rows[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates),
        cmocka_unit_test(members),
        cmocka_unit_test(what_became),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
