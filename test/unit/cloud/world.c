#include "stage.h"

#include "cloud/kinds.h"
#include "io/file.h"

#define NETWORKS "/network/v2.0"
#define ALL ((1u << RESOURCE_HOST) - 1)

/* Small real answers: what is ours, what has our marker and another name, what is another's. */
static StageRule *island_rules(void)
{
    static StageRule rules[32];
    const StageRule all[] = {
        {"GET " NETWORKS "/networks?description=atoll%3Areef",
         {{200, NULL,
           "{\"networks\":[{\"id\":\"n1\",\"name\":\"reef-network-main\",\"description\":"
           "\"atoll:reef\",\"status\":\"ACTIVE\",\"created_at\":\"2026-11-24T10:00:00Z\"},"
           "{\"id\":\"n2\",\"name\":\"reef-network-main\",\"description\":\"atoll:reef\","
           "\"status\":\"ACTIVE\",\"created_at\":\"2026-11-24T10:00:01Z\"},"
           "{\"id\":\"n3\",\"name\":\"holiday\",\"description\":\"atoll:reef\"},"
           "{\"id\":\"n4\",\"name\":\"reef-network-main\",\"description\":\"atoll:reef2\"}]}"}}},
        {"GET " NETWORKS "/networks?router:external=true",
         {{200, NULL, "{\"networks\":[{\"id\":\"x1\",\"name\":\"public\"}]}"}}},
        {"GET " NETWORKS "/subnets",
         {{200, NULL,
           "{\"subnets\":[{\"id\":\"s1\",\"name\":\"reef-subnet-main\",\"description\":"
           "\"atoll:reef\",\"network_id\":\"n1\",\"cidr\":\"10.77.0.0/24\",\"gateway_ip\":"
           "\"10.77.0.1\",\"dns_nameservers\":[\"9.9.9.9\"],\"enable_dhcp\":true}]}"}}},
        {"GET " NETWORKS "/routers",
         {{200, NULL,
           "{\"routers\":[{\"id\":\"r1\",\"name\":\"reef-router-main\",\"description\":"
           "\"atoll:reef\",\"status\":\"ACTIVE\",\"external_gateway_info\":{\"network_id\":\"x1\"}}"
           "]}"}}},
        {"GET " NETWORKS "/security-groups",
         {{200, NULL,
           "{\"security_groups\":[{\"id\":\"g1\",\"name\":\"reef-group-web\",\"description\":"
           "\"atoll:reef\",\"security_group_rules\":[]},{\"id\":\"g2\",\"name\":\"reef-group-db\","
           "\"description\":\"atoll:reef\",\"security_group_rules\":["
           "{\"id\":\"e\",\"direction\":\"egress\",\"ethertype\":\"IPv4\"},"
           "{\"id\":\"a\",\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"tcp\","
           "\"port_range_min\":5432,\"port_range_max\":5432,\"remote_group_id\":\"g1\"},"
           "{\"id\":\"b\",\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"tcp\","
           "\"port_range_min\":22,\"port_range_max\":22,\"remote_group_id\":\"gX\"}]}]}"}}},
        {"GET " NETWORKS "/ports",
         {{200, NULL,
           "{\"ports\":[{\"id\":\"p1\",\"name\":\"reef-port-db-0\",\"description\":\"atoll:reef\","
           "\"network_id\":\"n1\",\"security_groups\":[\"g2\",\"gX\"],\"fixed_ips\":[{"
           "\"subnet_id\":\"s1\",\"ip_address\":\"10.77.0.5\"}],\"device_id\":\"v1\",\"status\":"
           "\"ACTIVE\"},{\"id\":\"i1\",\"name\":\"reef-interface-main\",\"description\":"
           "\"atoll:reef\",\"network_id\":\"n1\",\"security_groups\":[],\"fixed_ips\":[{"
           "\"subnet_id\":\"s1\",\"ip_address\":\"10.77.0.1\"}],\"device_id\":\"r1\",\"status\":"
           "\"ACTIVE\"}]}"}}},
        {"GET " NETWORKS "/floatingips",
         {{200, NULL,
           "{\"floatingips\":[{\"id\":\"f1\",\"description\":\"atoll:reef\",\"status\":\"DOWN\","
           "\"floating_network_id\":\"x1\",\"floating_ip_address\":\"203.0.113.9\",\"port_id\":"
           "\"p1\"}]}"}}},
        {"GET /compute/v2.1/servers/detail?tags=atoll%3Areef",
         {{200, NULL,
           "{\"servers\":[{\"id\":\"v1\",\"name\":\"reef-db-0\",\"status\":\"ERROR\",\"fault\":{"
           "\"message\":\"No valid host\"},\"metadata\":{\"atoll\":\"reef\",\"atoll-boot\":\"b0\"},"
           "\"tags\":[\"atoll:reef\"],\"flavor\":{\"original_name\":\"c1.c1r1\"},\"image\":{\"id\":"
           "\"i9\"},\"created\":\"2026-11-24T10:05:00Z\",\"OS-EXT-STS:task_state\":null,"
           "\"os-extended-volumes:volumes_attached\":[{\"id\":\"vol1\"}],\"addresses\":{}},"
           "{\"id\":\"v2\",\"name\":\"reef-web-0\",\"status\":\"BUILD\",\"metadata\":{},\"tags\":[]"
           ","
           "\"flavor\":{\"original_name\":\"x\"}}]}"}}},
        {"GET /compute/v2.1/os-server-groups?limit=100&offset=1",
         {{200, NULL, "{\"server_groups\":[{\"id\":\"sg2\"}]}"}}},
        {"GET /compute/v2.1/os-server-groups",
         {{200, NULL,
           "{\"server_groups\":[{\"id\":\"sg1\",\"name\":\"reef-servergroup-db\",\"policy\":"
           "\"soft-anti-affinity\",\"members\":[\"v1\"]},{\"id\":\"sg2\",\"name\":\"other\","
           "\"policy\":\"affinity\",\"members\":[]}]}"}}},
        {"GET /compute/v2.1/flavors/detail",
         {{200, NULL,
           "{\"flavors\":[{\"id\":\"f-1\",\"name\":\"c1.c1r1\",\"vcpus\":1,\"ram\":1024}]}"}}},
        {"GET /volume/v3/p1/volumes/detail?metadata=%7B%27atoll%27%3A%27reef%27%7D",
         {{200, NULL,
           "{\"volumes\":[{\"id\":\"vol1\",\"name\":\"reef-volume-db-0\",\"description\":\"mine\","
           "\"metadata\":{\"atoll\":\"reef\"},\"size\":50,\"volume_type\":\"nvme\",\"status\":"
           "\"in-use\",\"created_at\":\"2026-11-24T10:00:00.000000\",\"attachments\":[{"
           "\"server_id\":\"v1\"}]}]}"}}},
        {"GET /volume/v3/p1/types",
         {{200, NULL, "{\"volume_types\":[{\"name\":\"nvme\"},{\"name\":\"hdd\"}]}"}}},
        {"GET /image/v2/images",
         {{200, NULL,
           "{\"images\":[{\"id\":\"i9\",\"name\":\"debian-12\"},{\"id\":\"i8\",\"name\":"
           "\"debian-12\"}]}"}}},
        {"GET /identity/v3/users?domain_id=d1&name=reef-user-media",
         {{200, NULL,
           "{\"users\":[{\"id\":\"u7\",\"name\":\"reef-user-media\",\"description\":\"atoll:reef\"}"
           "],\"links\":{\"next\":null}}"}}},
        {"GET /identity/v3/role_assignments?scope.project.id=p1&include_names=true",
         {{200, NULL,
           "{\"role_assignments\":[{\"user\":{\"id\":\"u1\"},\"role\":{\"name\":\"admin\"},"
           "\"scope\":{}},{\"user\":{\"id\":\"u7\"},\"role\":{\"name\":\"media\"},\"scope\":{}},"
           "{\"user\":{\"id\":\"u7\"},\"role\":{\"name\":\"below\"},\"scope\":{"
           "\"OS-INHERIT:inherited_to\":\"projects\"}},{\"group\":{\"id\":\"u7\"},\"role\":{"
           "\"name\":\"g\"}}],\"links\":{\"next\":null}}"}}},
        {"GET /identity/v3/roles", {{403, NULL, "{\"error\":{\"message\":\"not you\"}}"}}},
        {"HEAD /object/v1/AUTH_p1/reef-vault",
         {{204,
           "X-Container-Meta-Atoll: atoll:reef|X-Versions-Enabled: True|X-Container-Object-Count: "
           "1|X-Container-Bytes-Used: 10",
           NULL}}},
        {"HEAD /object/v1/AUTH_p1/user-uploads",
         {{204,
           "X-Container-Meta-Atoll: atoll:reef|X-Container-Read: .r:*|X-Container-Write: p1:u7, "
           "p1:stranger,p2:u7|X-Container-Meta-Access-Control-Allow-Origin: https://reef.example|"
           "X-Container-Meta-Temp-Url-Key: secret|X-Container-Object-Count: 0",
           NULL}}},
        {"HEAD /object/v1/AUTH_p1/foreign", {{204, "X-Container-Object-Count: 0", NULL}}},
        {"HEAD /object/v1/AUTH_p1/hidden", {{403, NULL, NULL}}},
    };
    memset(rules, 0, sizeof rules);
    memcpy(rules, all, sizeof all);
    return rules;
}

static const char *const containers[] = {"0:reef-boot", "0:reef-vault", "1:user-uploads", NULL};

static void check(const World *w, ResourceKind kind, const char *key, const char *id,
                  const char *attrs)
{
    const Resource *r = world_find(w, kind, key, 0);

    if (!r)
        fail_msg("no %s %s", resource_row(kind)->word, key);
    _cleanup_json_ json_t *shown = json_deep_copy(r->attrs);
    json_object_del(shown, "ids");
    _cleanup_free_ char *text = json_text_new(shown);
    assert_string_equal(text, attrs);
    assert_string_equal(r->id, id);
}

static void a_look_in_one_wave(void **state)
{
    Stage *s = stage_open(island_rules());
    Clouds clouds = {.of = {s->cloud, s->cloud}, .island = "reef"};
    _cleanup_(world_clear) World w = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    if (world_look(&clouds, ALL, containers, &w, &err) < 0)
        fail_msg("%s", err.text);
    /* 12 lists, 3 containers, 1 login; nothing twice. */
    assert_int_equal(s->log.len, 16);
    assert_int_equal(w.items.len, 15);
    check(&w, RESOURCE_NETWORK, "main", "n1", "{}");
    check(
        &w, RESOURCE_SUBNET, "main", "s1",
        "{\"cidr\":\"10.77.0.0/24\",\"dhcp\":true,\"dns\":[\"9.9.9.9\"],\"gateway\":\"10.77.0.1\","
        "\"network\":\"main\"}");
    check(&w, RESOURCE_ROUTER, "main", "r1", "{\"external\":\"x1\"}");
    check(&w, RESOURCE_GROUP, "db", "g2",
          "{\"rule_ids\":{\"in tcp 22 group:gX\":\"b\",\"in tcp 5432 group:web\":\"a\"},\"rules\":"
          "[\"in tcp 22 group:gX\",\"in tcp 5432 group:web\"]}");
    check(
        &w, RESOURCE_INTERFACE, "main", "i1",
        "{\"address\":\"10.77.0.1\",\"network\":\"main\",\"router\":\"main\",\"subnet\":\"main\"}");
    check(&w, RESOURCE_PORT, "db.0", "p1",
          "{\"address\":\"10.77.0.5\",\"device\":\"v1\",\"groups\":[\"db\",\"gX\"],\"network\":"
          "\"main\",\"subnet\":\"main\"}");
    check(&w, RESOURCE_FLOATING_IP, "main", "f1",
          "{\"address\":\"203.0.113.9\",\"external\":\"x1\",\"port\":\"db.0\"}");
    check(&w, RESOURCE_SERVER_GROUP, "db", "sg1",
          "{\"members\":[\"v1\"],\"policy\":\"soft-anti-affinity\"}");
    check(&w, RESOURCE_VOLUME, "db.0", "vol1",
          "{\"server\":\"v1\",\"size_gb\":50,\"type\":\"nvme\"}");
    check(&w, RESOURCE_USER, "media", "u7", "{\"roles\":[\"media\"]}");
    check(&w, RESOURCE_CONTAINER, "vault", "reef-vault",
          "{\"bytes\":10,\"cors\":\"\",\"objects\":1,\"project\":\"p1\",\"read\":[],\"temp_url\":"
          "false,\"versions\":true,\"write\":[]}");
    check(
        &w, RESOURCE_CONTAINER, "media", "user-uploads",
        "{\"bytes\":0,\"cors\":\"https://reef.example\",\"objects\":0,\"project\":\"p1\",\"read\":"
        "[\".r:*\"],\"temp_url\":true,\"versions\":false,\"write\":[\"media\",\"p1:stranger\","
        "\"p2:u7\"]}");
    check(
        &w, RESOURCE_SERVER, "db.0", "v1",
        "{\"addresses\":[],\"flavor\":\"c1.c1r1\",\"group\":\"db\",\"image\":\"i9\",\"metadata\":{"
        "\"atoll\":\"reef\",\"atoll-boot\":\"b0\"},\"ports\":[\"db.0\"],\"task\":\"\",\"updated\":"
        "0,\"volumes\":"
        "[\"db.0\"]}");
    const Resource *server = world_find(&w, RESOURCE_SERVER, "db.0", 0);
    assert_string_equal(server->fault, "No valid host");
    assert_string_equal(server->status, "ERROR");
    assert_true(server->created_at > 0 && server->used);
    assert_null(world_find(&w, RESOURCE_SERVER, "web.0", 0));
    assert_null(world_find(&w, RESOURCE_CONTAINER, "boot", 0));
    assert_int_equal(world_find(&w, RESOURCE_CONTAINER, "media", 0)->cloud, CLOUD_OF_MEDIA);
    /* Of two with one key, the one that things hang on is used. */
    assert_true(world_find_id(&w, RESOURCE_NETWORK, "n1")->used);
    assert_false(world_find_id(&w, RESOURCE_NETWORK, "n2")->used);
    stage_close_all(s);
}

static void a_part_is_looked_at_again(void **state)
{
    Stage *s = stage_open(island_rules());
    Clouds clouds = {.of = {s->cloud, s->cloud}, .island = "reef"};
    _cleanup_(world_clear) World w = {0};

    (void)state;
    assert_int_equal(world_look(&clouds, ALL, containers, &w, NULL), 0);
    size_t before = s->log.len, items = w.items.len;
    assert_int_equal(
        world_look(&clouds, 1u << RESOURCE_SERVER | 1u << RESOURCE_VOLUME, containers, &w, NULL),
        0);
    assert_int_equal(s->log.len - before, 2);
    assert_int_equal(w.items.len, items);
    check(
        &w, RESOURCE_SERVER, "db.0", "v1",
        "{\"addresses\":[],\"flavor\":\"c1.c1r1\",\"group\":\"db\",\"image\":\"i9\",\"metadata\":{"
        "\"atoll\":\"reef\",\"atoll-boot\":\"b0\"},\"ports\":[\"db.0\"],\"task\":\"\",\"updated\":"
        "0,\"volumes\":"
        "[\"db.0\"]}");
    /* Ports and interfaces are one list, and each asks for its own. */
    assert_int_equal(world_look(&clouds, 1u << RESOURCE_PORT, NULL, &w, NULL), 0);
    assert_int_equal(w.items.len, items);
    check(
        &w, RESOURCE_INTERFACE, "main", "i1",
        "{\"address\":\"10.77.0.1\",\"network\":\"main\",\"router\":\"main\",\"subnet\":\"main\"}");
    assert_true(world_find_id(&w, RESOURCE_NETWORK, "n1")->used);
    stage_close_all(s);
}

/* The list of server groups is cut at what a cloud likes, and nothing in it says so. */
static void server_groups_that_are_cut(void **state)
{
#define GROUP(n) "{\"id\":\"" n "\",\"name\":\"reef-servergroup-t" n "\",\"members\":[]}"
    StageRule rules[] = {
        {"GET /compute/v2.1/os-server-groups?limit=100&offset=1",
         {{200, NULL, "{\"server_groups\":[" GROUP("2") "," GROUP("3") "]}"}}},
        {"GET /compute/v2.1/os-server-groups?limit=100&offset=2",
         {{200, NULL, "{\"server_groups\":[" GROUP("3") "," GROUP("4") "]}"}}},
        {"GET /compute/v2.1/os-server-groups?limit=100&offset=4",
         {{200, NULL, "{\"server_groups\":[" GROUP("5") "]}"}}},
        {"GET /compute/v2.1/os-server-groups?limit=100&offset=5",
         {{200, NULL, "{\"server_groups\":[]}"}, {500, NULL, "{}"}}},
        {"GET /compute/v2.1/os-server-groups?limit=100",
         {{200, NULL, "{\"server_groups\":[" GROUP("1") "," GROUP("2") "]}"}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    Clouds clouds = {.of = {s->cloud}, .island = "reef"};
    _cleanup_(world_clear) World w = {0};

    (void)state;
    assert_int_equal(world_look(&clouds, 1u << RESOURCE_SERVER_GROUP, NULL, &w, NULL), 0);
    assert_int_equal(w.items.len, 5);
    assert_non_null(world_find(&w, RESOURCE_SERVER_GROUP, "t5", 0));
    stage_close_all(s);
}

static void half_a_look_is_none(void **state)
{
    StageRule rules[] = {
        {"GET " NETWORKS "/networks", {{200, NULL, "{\"networks\":[]}"}}},
        {"GET " NETWORKS "/subnets",
         {{403, NULL, "{\"NeutronError\":{\"type\":\"X\",\"message\":\"No.\"}}"}}},
        {"GET " NETWORKS "/routers", {{200, NULL, "{}"}}},
        {"GET /identity/v3/users", {{403, NULL, "{\"error\":{\"message\":\"not you\"}}"}}},
        {"GET /identity/v3/role", {{403, NULL, "{\"error\":{\"message\":\"not you\"}}"}}},
        {NULL},
    };
    static const struct {
        unsigned mask;
        ErrKind kind;
        const char *text;
    } rows[] = {
        {1u << RESOURCE_NETWORK | 1u << RESOURCE_SUBNET, ERR_DENIED, "listing subnets: No"},
        {1u << RESOURCE_ROUTER, ERR_CORRUPT,
         "listing routers: the answer of the network service has no list `routers`"},
        {1u << RESOURCE_USER, ERR_DENIED, "listing users: not you"},
    };
    Stage *s = stage_open(rules);
    Clouds clouds = {.of = {s->cloud}, .island = "reef"};
    _cleanup_(world_clear) World w = {0};

    (void)state;
    (void)world_add(&w, (Resource){.kind = RESOURCE_SUBNET, .key = xstrdup("main")});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        assert_int_equal(world_look(&clouds, rows[i].mask, NULL, &w, &err), -(int)rows[i].kind);
        assert_string_equal(err.text, rows[i].text);
        assert_int_equal(w.items.len, 1);
    }
    stage_close_all(s);
}

static void foreign_containers(void **state)
{
    Stage *s = stage_open(island_rules());
    Clouds clouds = {.of = {s->cloud}, .island = "reef"};
    _cleanup_(world_clear) World w = {0};
    _cleanup_(err_clear) Err err = {0};
    const char *const foreign[] = {"0:reef-vault", "1:foreign", NULL}, *const hidden[] = {
                                                                           "1:hidden", NULL};

    (void)state;
    assert_int_equal(world_look(&clouds, 1u << RESOURCE_CONTAINER, foreign, &w, &err),
                     -ERR_AMBIGUOUS);
    assert_int_equal(w.items.len, 0);
    assert_int_equal(world_look(&clouds, 1u << RESOURCE_CONTAINER, hidden, &w, &err), -ERR_DENIED);
    stage_close_all(s);
}

static void facts_are_kept_for_an_hour(void **state)
{
    char dir[] = "/tmp/atoll-facts-XXXXXX";
    Stage *s = stage_open(island_rules());
    Clouds clouds = {.of = {s->cloud, s->cloud}, .island = "reef"};
    _cleanup_(world_clear) World w = {0};
    _cleanup_(err_clear) Err err = {0};
    Msec now = 1000 * HOUR;

    (void)state;
    assert_non_null(mkdtemp(dir));
    if (world_facts(&clouds, dir, false, now, &w, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(s->log.len, 6); /* with the login */
    _cleanup_free_ char *expected =
        xasprintf("{\"auth_url\":\"http://127.0.0.1:%d/identity/v3\",\"domain_id\":\"d1\","
                  "\"domain_name\":\"Default\",\"object_url\":\"http://127.0.0.1:%d/object/v1/"
                  "AUTH_p1\",\"project_id\":\"p1\",\"region\":\"one\",\"user_id\":\"u1\"}",
                  s->port, s->port);
    _cleanup_free_ char *island = json_text_new(json_at(w.facts, "clouds.island"));
    _cleanup_free_ char *media = json_text_new(json_at(w.facts, "clouds.media"));
    assert_string_equal(island, expected);
    assert_string_equal(media, expected);
    json_object_del(w.facts, "clouds");
    _cleanup_free_ char *rest = json_text_new(w.facts);
    assert_string_equal(
        rest,
        "{\"asked\":true,\"external\":{\"public\":\"x1\"},\"flavors\":{\"c1.c1r1\":{\"id\":\"f-1\","
        "\"ram_mb\":1024,\"vcpus\":1}},\"images\":{\"debian-12\":\"i9\"},\"roles\":{}"
        ",\"volume_types\":[\"hdd\",\"nvme\"]}");
    assert_int_equal(world_facts(&clouds, dir, false, now + 59 * MINUTE, &w, NULL), 0);
    assert_int_equal(s->log.len, 6);
    assert_string_equal(json_str(w.facts, "external.public"), "x1");
    assert_false(json_bool(w.facts, "asked", true));
    assert_int_equal(world_facts(&clouds, dir, false, now + 61 * MINUTE, &w, NULL), 0);
    assert_int_equal(s->log.len, 11);
    assert_int_equal(world_facts(&clouds, dir, true, now + 61 * MINUTE, &w, NULL), 0);
    assert_int_equal(s->log.len, 16);
    assert_int_equal(file_remove_tree(dir, NULL), 0);
    stage_close_all(s);
}

static void a_container_is_emptied(void **state)
{
    StageRule rules[] = {
        {"GET /object/v1/AUTH_p1/reef-vault?versions=&format=json",
         {{200, "Content-Type: application/json",
           "[{\"name\":\"a b\",\"version_id\":\"1.5\"},{\"name\":\"a "
           "b\",\"version_id\":\"null\"}]"},
          {200, "Content-Type: application/json", "[]"}}},
        {"GET /object/v1/AUTH_p1/reef-boot?format=json",
         {{200, "Content-Type: application/json", "[{\"name\":\"x/y\"}]"},
          {200, "Content-Type: application/json", "[]"}}},
        {"DELETE /object", {{204, NULL, NULL}}},
        {NULL},
    };
    Stage *s = stage_open(rules);
    Clouds clouds = {.of = {s->cloud}, .island = "reef"};
    World w = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        _cleanup_(call_clear) Call call = {0};
        _cleanup_(resource_clear) Resource have = {.kind = RESOURCE_CONTAINER,
                                                   .key = xstrdup(i ? "boot" : "vault"),
                                                   .name = xstrdup(i ? "reef-boot" : "reef-vault"),
                                                   .id = xstrdup("x"),
                                                   .attrs = json_make_new("{s:b}", "versions", !i)};
        if (kind_call(&clouds, &w, RESOURCE_CONTAINER, KIND_EMPTY, NULL, &have, NULL, NULL, &call,
                      &err) < 0)
            fail_msg("%s", err.text);
        assert_string_equal(call.method, "HEAD");
    }
    assert_int_equal(stage_count(s, "DELETE /object/v1/AUTH_p1/reef-vault/a%20b?version-id=1.5"),
                     1);
    assert_int_equal(stage_count(s, "DELETE /object/v1/AUTH_p1/reef-vault/a%20b?version-id=null"),
                     1);
    assert_int_equal(stage_count(s, "DELETE /object/v1/AUTH_p1/reef-boot/x/y"), 1);
    stage_close_all(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_in_one_wave),     cmocka_unit_test(a_part_is_looked_at_again),
        cmocka_unit_test(half_a_look_is_none),    cmocka_unit_test(server_groups_that_are_cut),
        cmocka_unit_test(foreign_containers),     cmocka_unit_test(facts_are_kept_for_an_hour),
        cmocka_unit_test(a_container_is_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
