#include "cloud.h"
#include "pocket/neutron.h"

static const char base[] = "{'security_group_id':'G','direction':'ingress','ethertype':'IPv4',"
                           "'protocol':'tcp','port_range_min':443,'port_range_max':443}";

/* What Neutron takes for the same rule as `base`. */
static void test_key(void **state)
{
    (void)state;
    static const struct {
        const char *change; /* merged into base */
        bool same;
    } rows[] = {
        {"{}", true},
        {"{'description':'other words'}", true},
        {"{'id':'x','created_at':'now'}", true},
        {"{'protocol':'TCP'}", true},
        {"{'protocol':'6'}", true},
        {"{'protocol':6}", true},
        {"{'remote_ip_prefix':'0.0.0.0/0'}", true},
        {"{'remote_ip_prefix':null}", true},
        {"{'remote_group_id':null}", true},
        {"{'protocol':'udp'}", false},
        {"{'protocol':null}", false},
        {"{'ethertype':'IPv6'}", false},
        {"{'direction':'egress'}", false},
        {"{'port_range_max':444}", false},
        {"{'remote_ip_prefix':'10.0.0.0/8'}", false},
        {"{'remote_group_id':'H'}", false},
        {"{'security_group_id':'H'}", false},
    };
    _cleanup_json_ json_t *one = cloud_json_new(base);
    _cleanup_free_ char *want = neutron_rule_key(one);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *rule = json_deep_copy(one);
        _cleanup_json_ json_t *change = cloud_json_new(rows[i].change);
        json_object_update(rule, change);
        _cleanup_free_ char *key = neutron_rule_key(rule);
        if (streq(key, want) != rows[i].same)
            fail_msg("%s: \"%s\" against \"%s\"", rows[i].change, key, want);
    }
}

static void test_default_rules(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *id = cloud_make(c, POCKET_NEUTRON, "/v2.0/security-groups",
                                         "security_group", "{'security_group':{'name':'web'}}");
    assert_int_equal(json_array_size(json_at(c->answer, "security_group.security_group_rules")), 2);
    /* Every project has `default`, with what its members send each other let in. */
    assert_int_equal(cloud_get(c, POCKET_NEUTRON, "/v2.0/security-groups?name=default"), 200);
    assert_int_equal(cloud_count(c, "security_groups"), 1);
    const json_t *group = json_array_get(json_object_get(c->answer, "security_groups"), 0);
    assert_int_equal(json_array_size(json_object_get(group, "security_group_rules")), 4);
    /* The egress rule again is a duplicate; its id is in the message. */
    assert_int_equal(cloud_send(c, POCKET_NEUTRON, "POST", "/v2.0/security-group-rules",
                                "{'security_group_rule':{'security_group_id':'%s',"
                                "'direction':'egress','remote_ip_prefix':'0.0.0.0/0'}}",
                                id),
                     409);
    assert_string_equal(cloud_text(c, "NeutronError.type"), "SecurityGroupRuleExists");
    _cleanup_free_ char *message = xstrdup(cloud_text(c, "NeutronError.message"));
    _cleanup_free_ char *target =
        xasprintf("/v2.0/security-group-rules?security_group_id=%s&ethertype=IPv4", id);
    assert_int_equal(cloud_get(c, POCKET_NEUTRON, target), 200);
    assert_int_equal(cloud_count(c, "security_group_rules"), 1);
    assert_non_null(strstr(message, cloud_nth(c, "security_group_rules", 0, "id")));
}

static void test_refused(void **state)
{
    Cloud *c = *state;
    static const struct {
        const char *rule; /* beside security_group_id */
        int status;
        const char *type;
    } rows[] = {
        {"'direction':'in'", 400, "HTTPBadRequest"},
        {"'protocol':'tcp'", 400, "HTTPBadRequest"}, /* no direction */
        {"'direction':'ingress','colour':'red'", 400, "HTTPBadRequest"},
        {"'direction':'ingress','ethertype':'IPX'", 400, "SecurityGroupRuleInvalidEtherType"},
        {"'direction':'ingress','protocol':'tpc'", 400, "SecurityGroupRuleInvalidProtocol"},
        {"'direction':'ingress','protocol':256", 400, "SecurityGroupRuleInvalidProtocol"},
        {"'direction':'ingress','port_range_min':1,'port_range_max':2", 400,
         "SecurityGroupProtocolRequiredWithPorts"},
        {"'direction':'ingress','protocol':'tcp','port_range_min':9,'port_range_max':2", 400,
         "SecurityGroupInvalidPortRange"},
        {"'direction':'ingress','protocol':'tcp','port_range_min':9", 400,
         "SecurityGroupInvalidPortRange"},
        {"'direction':'ingress','protocol':'tcp','port_range_min':1,'port_range_max':70000", 400,
         "SecurityGroupInvalidPortValue"},
        {"'direction':'ingress','remote_ip_prefix':'ten'", 400, "InvalidCIDR"},
        {"'direction':'ingress','remote_ip_prefix':'::/0'", 400,
         "SecurityGroupRuleParameterConflict"},
        {"'direction':'ingress','remote_group_id':'00000000-0000-4000-8000-000000000000'", 404,
         "SecurityGroupNotFound"},
    };
    _cleanup_free_ char *id = cloud_make(c, POCKET_NEUTRON, "/v2.0/security-groups",
                                         "security_group", "{'security_group':{'name':'bad'}}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status =
            cloud_send(c, POCKET_NEUTRON, "POST", "/v2.0/security-group-rules",
                       "{'security_group_rule':{'security_group_id':'%s',%s}}", id, rows[i].rule);
        if (status != rows[i].status || !streq(cloud_text(c, "NeutronError.type"), rows[i].type))
            fail_msg("%s: %d %s", rows[i].rule, status, cloud_text(c, "NeutronError.type"));
    }
}

#define RULE(group, port)                                                                          \
    "{'security_group_id':'" group                                                                 \
    "','direction':'ingress','protocol':'tcp','port_range_min':" port ",'port_range_max':" port    \
    "}"

/* All of a bulk POST or nothing. */
static void test_bulk(void **state)
{
    Cloud *c = *state;
    const char *path = "/v2.0/security-group-rules";
    _cleanup_free_ char *a = cloud_make(c, POCKET_NEUTRON, "/v2.0/security-groups",
                                        "security_group", "{'security_group':{'name':'a'}}");
    _cleanup_free_ char *b = cloud_make(c, POCKET_NEUTRON, "/v2.0/security-groups",
                                        "security_group", "{'security_group':{'name':'b'}}");
    _cleanup_free_ char *list = xasprintf("%s?security_group_id=%s", path, a);
    assert_int_equal(
        cloud_send(c, POCKET_NEUTRON, "POST", path,
                   "{'security_group_rules':[" RULE("%s", "1") "," RULE("%s", "1") "]}", a, a),
        409);
    assert_string_equal(cloud_text(c, "NeutronError.type"), "DuplicateSecurityGroupRuleInPost");
    assert_int_equal(
        cloud_send(c, POCKET_NEUTRON, "POST", path,
                   "{'security_group_rules':[" RULE("%s", "1") "," RULE("%s", "2") "]}", a, b),
        400);
    assert_string_equal(cloud_text(c, "NeutronError.type"), "SecurityGroupNotSingleGroupRules");
    assert_int_equal(
        cloud_send(c, POCKET_NEUTRON, "POST", path,
                   "{'security_group_rules':[" RULE("%s", "1") "," RULE("%s", "2") "]}", a, a),
        201);
    assert_int_equal(cloud_count(c, "security_group_rules"), 2);
    /* One of two is there already: the new one isn't made either. */
    assert_int_equal(
        cloud_send(c, POCKET_NEUTRON, "POST", path,
                   "{'security_group_rules':[" RULE("%s", "3") "," RULE("%s", "2") "]}", a, a),
        409);
    assert_string_equal(cloud_text(c, "NeutronError.type"), "SecurityGroupRuleExists");
    assert_int_equal(cloud_get(c, POCKET_NEUTRON, list), 200);
    assert_int_equal(cloud_count(c, "security_group_rules"), 4);
}

static void test_delete(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *a = cloud_make(c, POCKET_NEUTRON, "/v2.0/security-groups",
                                        "security_group", "{'security_group':{'name':'gone'}}");
    _cleanup_free_ char *b = cloud_make(c, POCKET_NEUTRON, "/v2.0/security-groups",
                                        "security_group", "{'security_group':{'name':'stays'}}");
    free(cloud_make(c, POCKET_NEUTRON, "/v2.0/security-group-rules", "security_group_rule",
                    "{'security_group_rule':{'security_group_id':'%s','direction':'ingress',"
                    "'remote_group_id':'%s'}}",
                    b, a));
    _cleanup_free_ char *path = xasprintf("/v2.0/security-groups/%s", a);
    assert_int_equal(cloud_call(c, POCKET_NEUTRON, "DELETE", path, NULL), 204);
    assert_int_equal(cloud_call(c, POCKET_NEUTRON, "DELETE", path, NULL), 404);
    /* The rule that let it in went with it. */
    _cleanup_free_ char *list = xasprintf("/v2.0/security-group-rules?security_group_id=%s", b);
    assert_int_equal(cloud_get(c, POCKET_NEUTRON, list), 200);
    assert_int_equal(cloud_count(c, "security_group_rules"), 2);
    /* `default` can neither be made, renamed nor removed. */
    assert_int_equal(cloud_send(c, POCKET_NEUTRON, "POST", "/v2.0/security-groups",
                                "{'security_group':{'name':'default'}}"),
                     409);
    assert_int_equal(cloud_get(c, POCKET_NEUTRON, "/v2.0/security-groups?name=default"), 200);
    _cleanup_free_ char *own =
        xasprintf("/v2.0/security-groups/%s", cloud_nth(c, "security_groups", 0, "id"));
    assert_int_equal(cloud_call(c, POCKET_NEUTRON, "DELETE", own, NULL), 409);
    assert_string_equal(cloud_text(c, "NeutronError.type"), "SecurityGroupCannotRemoveDefault");
}

static int setup(void **state)
{
    *state = cloud_new(false);
    return 0;
}

static int teardown(void **state)
{
    cloud_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),     cmocka_unit_test(test_default_rules),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_delete),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
