#include "cloud.h"

#define N POCKET_NEUTRON

/* A network with one subnet; ids to be freed. */
typedef struct Net {
    char *network, *subnet;
} Net;

static Net net_new(Cloud *c, const char *name, const char *cidr)
{
    Net n;
    n.network = cloud_make(c, N, "/v2.0/networks", "network", "{'network':{'name':'%s'}}", name);
    n.subnet =
        cloud_make(c, N, "/v2.0/subnets", "subnet",
                   "{'subnet':{'network_id':'%s','ip_version':4,'cidr':'%s'}}", n.network, cidr);
    return n;
}

static void net_clear(Net *n)
{
    free(n->network);
    free(n->subnet);
}

static char *port_new(Cloud *c, const Net *n)
{
    return cloud_make(c, N, "/v2.0/ports", "port", "{'port':{'network_id':'%s'}}", n->network);
}

static int call_id(Cloud *c, const char *method, const char *collection, const char *id,
                   const char *body)
{
    _cleanup_free_ char *path = xasprintf("/v2.0/%s/%s", collection, id);
    return cloud_call(c, N, method, path, body);
}

static const char *fixed(const Cloud *c)
{
    return json_str_or(json_array_get(json_at(c->answer, "port.fixed_ips"), 0), "ip_address", "");
}

static const char *type(const Cloud *c)
{
    return cloud_text(c, "NeutronError.type");
}

static int64_t revision(Cloud *c, const char *collection, const char *key, const char *id)
{
    _cleanup_free_ char *path = xasprintf("%s.revision_number", key);
    assert_int_equal(call_id(c, "GET", collection, id, NULL), 200);
    return json_int(c->answer, path, -1);
}

static void test_addresses(void **state)
{
    Cloud *c = *state;
    Net n = net_new(c, "a", "127.81.0.0/29");
    static const char *const want[] = {"127.81.0.2", "127.81.0.3", "127.81.0.4"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        free(port_new(c, &n));
        assert_string_equal(fixed(c), want[i]);
        assert_string_equal(cloud_text(c, "port.status"), "DOWN");
        assert_true(starts_with(cloud_text(c, "port.mac_address"), "fa:16:3e:"));
        assert_int_equal(json_array_size(json_at(c->answer, "port.security_groups")), 1);
    }
    /* A chosen one; the same again; one that is not of the network. */
    static const struct {
        const char *address;
        int status;
        const char *type;
    } rows[] = {{"127.81.0.6", 201, ""},
                {"127.81.0.6", 409, "IpAddressAlreadyAllocated"},
                {"127.82.0.6", 400, "InvalidIpForNetwork"},
                {"six", 400, "InvalidIpForNetwork"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(cloud_send(c, N, "POST", "/v2.0/ports",
                                    "{'port':{'network_id':'%s',"
                                    "'fixed_ips':[{'ip_address':'%s'}]}}",
                                    n.network, rows[i].address),
                         rows[i].status);
        assert_string_equal(type(c), rows[i].type);
    }
    /* One is left, then none. */
    free(port_new(c, &n));
    assert_string_equal(fixed(c), "127.81.0.5");
    assert_int_equal(
        cloud_send(c, N, "POST", "/v2.0/ports", "{'port':{'network_id':'%s'}}", n.network), 409);
    assert_string_equal(type(c), "IpAddressGenerationFailure");
    /* A bulk of which the second fails leaves nothing. */
    assert_int_equal(cloud_get(c, N, "/v2.0/ports?fixed_ips=ip_address=127.81.0.5"), 200);
    _cleanup_free_ char *last = xstrdup(cloud_nth(c, "ports", 0, "id"));
    assert_int_equal(call_id(c, "DELETE", "ports", last, NULL), 204);
    assert_int_equal(cloud_send(c, N, "POST", "/v2.0/ports",
                                "{'ports':[{'network_id':'%s'},{'network_id':'%s'}]}", n.network,
                                n.network),
                     409);
    assert_int_equal(cloud_get(c, N, "/v2.0/ports?fixed_ips=ip_address=127.81.0.5"), 200);
    assert_int_equal(cloud_count(c, "ports"), 0);
    net_clear(&n);
}

static void test_in_use(void **state)
{
    Cloud *c = *state;
    Net n = net_new(c, "b", "127.82.0.0/24");
    _cleanup_free_ char *port = port_new(c, &n);
    assert_int_equal(cloud_send(c, N, "POST", "/v2.0/subnets",
                                "{'subnet':{'network_id':'%s','ip_version':4,"
                                "'cidr':'127.82.0.128/25'}}",
                                n.network),
                     400);
    assert_string_equal(type(c), "InvalidInput");
    assert_int_equal(call_id(c, "DELETE", "networks", n.network, NULL), 409);
    assert_string_equal(type(c), "NetworkInUse");
    assert_int_equal(call_id(c, "DELETE", "subnets", n.subnet, NULL), 409);
    assert_string_equal(type(c), "SubnetInUse");
    call_id(c, "GET", "ports", port, NULL);
    _cleanup_free_ char *group =
        xstrdup(json_string_value(json_array_get(json_at(c->answer, "port.security_groups"), 0)));
    c->as = &c->admin; /* may remove `default`, but not while a port has it */
    assert_int_equal(call_id(c, "DELETE", "security-groups", group, NULL), 409);
    assert_string_equal(type(c), "SecurityGroupInUse");
    c->as = &c->user;
    assert_int_equal(call_id(c, "DELETE", "ports", port, NULL), 204);
    /* A network takes its subnets along. */
    assert_int_equal(call_id(c, "DELETE", "networks", n.network, NULL), 204);
    assert_int_equal(call_id(c, "GET", "subnets", n.subnet, NULL), 404);
    assert_string_equal(type(c), "SubnetNotFound");
    net_clear(&n);
}

static void test_revisions(void **state)
{
    Cloud *c = *state;
    Net n = net_new(c, "c", "127.83.0.0/24");
    int64_t before = revision(c, "networks", "network", n.network);
    assert_true(before > 1); /* its subnet raised it */
    assert_int_equal(call_id(c, "PUT", "networks", n.network, "{'network':{'name':'c'}}"), 200);
    before++; /* although nothing changed */
    assert_int_equal(revision(c, "networks", "network", n.network), before);

    c->if_match = "revision_number=1";
    assert_int_equal(call_id(c, "PUT", "networks", n.network, "{'network':{'name':'d'}}"), 412);
    assert_string_equal(type(c), "RevisionNumberConstraintFailed");
    _cleanup_free_ char *right = xasprintf("revision_number=%lld", (long long)before);
    c->if_match = right;
    assert_int_equal(call_id(c, "PUT", "networks", n.network, "{'network':{'name':'d'}}"), 200);
    assert_int_equal(json_int(c->answer, "network.revision_number", 0), before + 1);
    c->if_match = right;
    assert_int_equal(call_id(c, "DELETE", "networks", n.network, NULL), 412);

    _cleanup_free_ char *tags = xasprintf("%s/tags", n.network);
    cloud_now += 5 * SECOND;
    assert_int_equal(call_id(c, "PUT", "networks", tags, "{'tags':['red','blue']}"), 200);
    assert_int_equal(revision(c, "networks", "network", n.network), before + 2);
    assert_string_not_equal(cloud_text(c, "network.updated_at"),
                            cloud_text(c, "network.created_at"));
    assert_int_equal(call_id(c, "PUT", "networks", tags, "{'tags':'red'}"), 400);
    _cleanup_free_ char *subnet_tags = xasprintf("%s/tags", n.subnet);
    assert_int_equal(call_id(c, "PUT", "subnets", subnet_tags, "{'tags':['red']}"), 200);
    assert_int_equal(revision(c, "networks", "network", n.network), before + 3);
    net_clear(&n);
}

static void test_filters(void **state)
{
    Cloud *c = *state;
    static const char *const made[] = {
        "{'network':{'name':'f1','description':'atoll:reef'}}",
        "{'network':{'name':'f2','description':'atoll:reef','admin_state_up':false}}",
        "{'network':{'name':'f3','description':'atoll:reef '}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        _cleanup_free_ char *id = cloud_make(c, N, "/v2.0/networks", "network", "%s", made[i]);
        _cleanup_free_ char *tags = xasprintf("%s/tags", id);
        call_id(c, "PUT", "networks", tags, i == 0 ? "{'tags':['x','y']}" : "{'tags':['x']}");
    }
    static const struct {
        const char *query;
        int want; /* networks, or minus the status */
    } rows[] = {
        {"description=atoll%3Areef", 2},
        {"description=atoll%3Areef%20", 1},
        {"description=atoll", 0},
        {"name=f1", 1},
        {"name=f1&name=f2", 2},
        {"name=F1", 0},
        {"description=atoll%3Areef&admin_state_up=False", 1},
        {"description=atoll%3Areef&admin_state_up=true", 1},
        {"tags=x,y", 1},
        {"tags=x&description=atoll%3Areef", 2},
        {"tags-any=x,y&description=atoll%3Areef", 2},
        {"not-tags=x,y&description=atoll%3Areef", 1},
        {"not-tags-any=x,y&description=atoll%3Areef", 0},
        {"router:external=True", 1},
        {"router%3Aexternal=false&name=f1", 1},
        {"colour=red", -400},
        {"limit=2&description=atoll%3Areef", 2},
        {"limit=none", -400},
        {"marker=nowhere", -404},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *path = xasprintf("/v2.0/networks?%s", rows[i].query);
        int status = cloud_get(c, N, path);
        int got = status == 200 ? (int)cloud_count(c, "networks") : -status;
        if (got != rows[i].want)
            fail_msg("%s: %d, not %d", rows[i].query, got, rows[i].want);
    }
    assert_int_equal(
        cloud_get(c, N, "/v2.0/networks?tags=x&sort_key=name&sort_dir=desc&fields=name"), 200);
    assert_string_equal(cloud_nth(c, "networks", 0, "name"), "f3");
    assert_int_equal(json_object_size(json_array_get(json_object_get(c->answer, "networks"), 0)),
                     1);
    /* Page after page. */
    assert_int_equal(cloud_get(c, N, "/v2.0/networks?tags=x&limit=2"), 200);
    const char *next = cloud_nth(c, "networks_links", 0, "href");
    _cleanup_free_ char *path = xstrdup(strstr(next, "/v2.0"));
    assert_int_equal(cloud_get(c, N, path), 200);
    assert_int_equal(cloud_count(c, "networks"), 1);
    assert_string_equal(cloud_nth(c, "networks", 0, "name"), "f3");
}

static void test_projects(void **state)
{
    Cloud *c = *state;
    Net n = net_new(c, "mine", "127.84.0.0/24");
    c->as = &c->other;
    assert_int_equal(call_id(c, "GET", "networks", n.network, NULL), 404);
    assert_int_equal(call_id(c, "DELETE", "networks", n.network, NULL), 404);
    assert_int_equal(cloud_get(c, N, "/v2.0/networks"), 200);
    assert_int_equal(cloud_count(c, "networks"), 1); /* public */
    _cleanup_free_ char *public = xstrdup(cloud_nth(c, "networks", 0, "id"));
    assert_int_equal(call_id(c, "DELETE", "networks", public, NULL), 403);
    assert_int_equal(cloud_send(c, N, "POST", "/v2.0/networks", "{'network':{'shared':true}}"),
                     403);
    assert_int_equal(
        cloud_send(c, N, "POST", "/v2.0/networks", "{'network':{'project_id':'project-demo'}}"),
        400);
    c->as = &c->admin;
    assert_int_equal(call_id(c, "GET", "networks", n.network, NULL), 200);
    c->as = &c->user;
    net_clear(&n);
}

static void test_quota(void **state)
{
    Cloud *c = *state;
    Net n = net_new(c, "q", "127.85.0.0/24");
    c->as = &c->admin;
    assert_int_equal(cloud_send(c, N, "PUT", "/v2.0/quotas/project-demo", "{'quota':{'port':1}}"),
                     200);
    assert_int_equal(cloud_send(c, N, "PUT", "/v2.0/quotas/project-demo", "{'quota':{'prot':1}}"),
                     400);
    c->as = &c->user;
    assert_int_equal(cloud_get(c, N, "/v2.0/ports?network_id=none"), 200);
    cloud_get(c, N, "/v2.0/quotas/project-demo/details.json");
    assert_int_equal(json_int(c->answer, "quota.port.limit", 0), 1);
    int64_t used = json_int(c->answer, "quota.port.used", -1);
    if (used == 0)
        free(port_new(c, &n));
    assert_int_equal(
        cloud_send(c, N, "POST", "/v2.0/ports", "{'port':{'network_id':'%s'}}", n.network), 409);
    assert_string_equal(type(c), "OverQuota");
    assert_string_equal(cloud_text(c, "NeutronError.message"),
                        "Quota exceeded for resources: ['port'].");
    assert_int_equal(cloud_get(c, N, "/v2.0/quotas/project-jo"), 403);
    c->as = &c->admin;
    assert_int_equal(cloud_call(c, N, "DELETE", "/v2.0/quotas/project-demo", NULL), 204);
    c->as = &c->user;
    free(port_new(c, &n));
    net_clear(&n);
}

static void test_router(void **state)
{
    Cloud *c = *state;
    Net n = net_new(c, "r", "127.86.0.0/24");
    _cleanup_free_ char *port = port_new(c, &n);
    cloud_get(c, N, "/v2.0/networks?router:external=true");
    _cleanup_free_ char *public = xstrdup(cloud_nth(c, "networks", 0, "id"));
    _cleanup_free_ char *router =
        cloud_make(c, N, "/v2.0/routers", "router",
                   "{'router':{'name':'r','external_gateway_info':{'network_id':'%s'}}}", public);
    _cleanup_free_ char *fip = cloud_make(
        c, N, "/v2.0/floatingips", "floatingip",
        "{'floatingip':{'floating_network_id':'%s','description':'atoll:reef'}}", public);
    assert_string_equal(cloud_text(c, "floatingip.status"), "DOWN");
    assert_true(starts_with(cloud_text(c, "floatingip.floating_ip_address"), "127."));
    _cleanup_free_ char *to_port = xasprintf("{'floatingip':{'port_id':'%s'}}", port);
    /* Not reachable before the router has the subnet. */
    assert_int_equal(call_id(c, "PUT", "floatingips", fip, to_port), 404);
    assert_string_equal(type(c), "ExternalGatewayForFloatingIPNotFound");

    _cleanup_free_ char *add = xasprintf("%s/add_router_interface", router);
    _cleanup_free_ char *remove = xasprintf("%s/remove_router_interface", router);
    _cleanup_free_ char *by_subnet = xasprintf("{'subnet_id':'%s'}", n.subnet);
    assert_int_equal(call_id(c, "PUT", "routers", add, by_subnet), 200);
    _cleanup_free_ char *interface = xstrdup(cloud_text(c, "port_id"));
    assert_int_equal(call_id(c, "PUT", "routers", add, by_subnet), 400);
    assert_string_equal(type(c), "BadRequest");
    assert_int_equal(call_id(c, "GET", "ports", interface, NULL), 200);
    assert_string_equal(fixed(c), "127.86.0.1");
    assert_int_equal(call_id(c, "DELETE", "ports", interface, NULL), 409);
    assert_string_equal(type(c), "ServicePortInUse");

    assert_int_equal(call_id(c, "PUT", "floatingips", fip, to_port), 200);
    assert_string_equal(cloud_text(c, "floatingip.status"), "ACTIVE");
    assert_string_equal(cloud_text(c, "floatingip.router_id"), router);
    assert_string_equal(cloud_text(c, "floatingip.fixed_ip_address"), "127.86.0.2");
    assert_int_equal(call_id(c, "PUT", "routers", remove, by_subnet), 409);
    assert_string_equal(type(c), "RouterInterfaceInUseByFloatingIP");
    assert_int_equal(call_id(c, "DELETE", "routers", router, NULL), 409);
    assert_string_equal(type(c), "RouterInUse");
    assert_int_equal(
        call_id(c, "PUT", "routers", router, "{'router':{'external_gateway_info':null}}"), 409);
    assert_string_equal(type(c), "RouterExternalGatewayInUseByFloatingIp");

    /* The port's end frees the address. */
    assert_int_equal(call_id(c, "DELETE", "ports", port, NULL), 204);
    assert_int_equal(call_id(c, "GET", "floatingips", fip, NULL), 200);
    assert_string_equal(cloud_text(c, "floatingip.status"), "DOWN");
    assert_true(json_is_null(json_at(c->answer, "floatingip.port_id")));
    assert_int_equal(call_id(c, "PUT", "routers", remove, by_subnet), 200);
    assert_int_equal(call_id(c, "PUT", "routers", remove, by_subnet), 404);

    /* With a port of one's own: it keeps its description, and a repeat is a 409. */
    _cleanup_free_ char *own = cloud_make(c, N, "/v2.0/ports", "port",
                                          "{'port':{'network_id':'%s','description':'atoll:reef',"
                                          "'fixed_ips':[{'ip_address':'127.86.0.1'}]}}",
                                          n.network);
    _cleanup_free_ char *by_port = xasprintf("{'port_id':'%s'}", own);
    assert_int_equal(call_id(c, "PUT", "routers", add, by_port), 200);
    assert_int_equal(call_id(c, "PUT", "routers", add, by_port), 409);
    assert_string_equal(type(c), "PortInUse");
    call_id(c, "GET", "ports", own, NULL);
    assert_string_equal(cloud_text(c, "port.description"), "atoll:reef");
    assert_int_equal(call_id(c, "PUT", "routers", remove, by_port), 200);
    assert_int_equal(call_id(c, "DELETE", "routers", router, NULL), 204);
    assert_int_equal(call_id(c, "DELETE", "floatingips", fip, NULL), 204);
    net_clear(&n);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_addresses), TEST(test_in_use), TEST(test_revisions), TEST(test_filters),
        TEST(test_projects),  TEST(test_quota),  TEST(test_router),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
