/* From an island to its resources: the whole of a small one, and the parts that vary. */
#include "island/want.h"
#include "cloud/kinds.h"
#include <setjmp.h>

#include <cmocka.h>

static const char two_tiers[] =
    "island: reef\n"
    "domain: reef.example\n"
    "cloud: catalyst\n"
    "release: {canary: true}\n"
    "servers:\n"
    "  web: {flavor: small, roles: [edge, web, worker], processes: {worker: 2}}\n"
    "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB, type: nvme}}\n"
    "env: {SMTP_SERVER: mail.example, OTP_SECRET: {secret: secret_key_base}}\n";

static const char facts_text[] =
    "{\"external\": {\"wan\": \"net-1\"}, \"flavors\": {\"small\": {}, \"big\": {}},"
    " \"images\": {\"debian-12\": \"img-1\"}, \"volume_types\": [\"nvme\", \"disk\"]}";

static json_t *facts_new(void)
{
    json_t *facts = json_parse_new(facts_text, strlen(facts_text), NULL);

    assert_non_null(facts);
    return facts;
}

static void parse(const char *text, Island *ret)
{
    _cleanup_(err_clear) Err err = {0};

    if (island_parse("reef.yaml", str_of(text), ret, &err) < 0)
        fail_msg("%s", err.text);
}

static void want_clear(ResourceVec *v)
{
    for (size_t i = 0; i < v->len; i++)
        resource_clear(&v->items[i]);
    vec_clear(v);
}
DEFINE_CLEAR(ResourceVec, want_clear)

static const Resource *find(const ResourceVec *v, ResourceKind kind, const char *key)
{
    for (size_t i = 0; i < v->len; i++) {
        if (v->items[i].kind == kind && streq(v->items[i].key, key))
            return &v->items[i];
    }
    fail_msg("no %s %s", resource_row(kind)->word, key);
    return NULL;
}

static void assert_attrs(const Resource *r, const char *path, const char *expected)
{
    _cleanup_free_ char *text = json_text_new(json_at(r->attrs, path));

    assert_string_equal(text, expected);
}

static const char *const golden[] = {
    "network main reef-network-main {}",
    "subnet main reef-subnet-main "
    "{\"cidr\":\"10.77.0.0/"
    "24\",\"dhcp\":true,\"dns\":[],\"gateway\":\"10.77.0.1\",\"network\":\"main\"}",
    "router main reef-router-main {\"external\":\"net-1\"}",
    "interface main reef-interface-main "
    "{\"address\":\"10.77.0.1\",\"network\":\"main\",\"router\":\"main\",\"subnet\":\"main\"}",
    "ip main ! {\"external\":\"net-1\",\"port\":\"web.0\"}",
    "group web reef-group-web {\"rules\":[\"in tcp 3000 group:web\",\"in tcp 80 0.0.0.0/0\",\"in "
    "tcp 80 ::/0\"]}",
    "servergroup web reef-servergroup-web {\"policy\":\"soft-anti-affinity\"}",
    "group db reef-group-db {\"rules\":[\"in tcp 5432 group:web\",\"in tcp 6379 group:web\"]}",
    "servergroup db reef-servergroup-db {\"policy\":\"soft-anti-affinity\"}",
    "user media reef-user-media media {\"roles\":[\"media\"]}",
    "container boot reef-boot "
    "{\"cors\":\"\",\"read\":[],\"temp_url\":true,\"versions\":false,\"write\":[]}",
    "container mail reef-mail "
    "{\"cors\":\"\",\"read\":[],\"temp_url\":true,\"versions\":false,\"write\":[]}",
    "container vault reef-vault ! "
    "{\"cors\":\"\",\"read\":[],\"temp_url\":false,\"versions\":true,\"write\":[]}",
    "container media reef-media media ! "
    "{\"cors\":\"https://"
    "reef.example\",\"read\":[\".r:*\"],\"temp_url\":false,\"versions\":false,\"write\":[\"media\"]"
    "}",
    "port web.0 reef-port-web-0 {\"groups\":[\"web\"],\"network\":\"main\",\"subnet\":\"main\"}",
    "server web.0 reef-web-0 "
    "{\"flavor\":\"small\",\"group\":\"web\",\"image\":\"debian-12\",\"ports\":[\"web.0\"],"
    "\"volumes\":[]}",
    "host web.0 {\"domain\":\"reef.example\",\"env\":{\"SMTP_SERVER\":\"mail.example\"},\"env"
    "_secrets\":{\"OTP_SECRET\":\"secret_key_base\"},\"island\":\"reef\",\"listen\":{\"http\""
    ":80,\"https\":0,\"pair\":\"\"},\"media\":{\"container\":\"reef-media\",\"url\":\"\",\"us"
    "er\":\"media\"},\"only_web\":true,\"peers\":{\"postgres\":[\"db.0\"],\"redis\":[\"db.0\""
    "],\"stream\":[],\"web\":[\"web.0\"]},\"prepare\":true,\"processes\":{\"web\":1,\"worker"
    "\":2},\"queues\":[],\"release\":{\"kind\":\"canary\",\"ref\":\"\",\"version\":\"1\"},\"r"
    "oles\":[\"edge\",\"web\",\"worker\"],\"scheduler\":true,\"server\":\"web.0\",\"ssh_keys"
    "\":[],\"threads\":{\"web\":5,\"worker\":5},\"volume\":null}",
    "port db.0 reef-port-db-0 {\"groups\":[\"db\"],\"network\":\"main\",\"subnet\":\"main\"}",
    "volume db.0 reef-volume-db-0 ! {\"size_gb\":50,\"type\":\"nvme\"}",
    "server db.0 reef-db-0 "
    "{\"flavor\":\"big\",\"group\":\"db\",\"image\":\"debian-12\",\"ports\":[\"db.0\"],\"volumes\":"
    "[\"db.0\"]}",
    "host db.0 "
    "{\"domain\":\"reef.example\",\"env\":{},\"env_secrets\":{},\"island\":\"reef\",\"listen\":{"
    "\"http\":0,\"https\":0,\"pair\":\"\"},\"peers\":{},\"prepare\":false,"
    "\"processes\":{},\"queues\":[],\"release\":{\"kind\":\"canary\",\"ref\":\"\","
    "\"version\":\"1\"},\"roles\":[\"redis\",\"postgres\"],\"scheduler\":false,\"server\":\"db.0\","
    "\"ssh_keys\":[],\"threads\":{},\"volume\":\"db.0\",\"volume_gb\":50}",
};

static void whole(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_json_ json_t *facts = facts_new();
    _cleanup_(want_clear) ResourceVec v = {0};

    (void)state;
    parse(two_tiers, &i);
    island_want(&i, facts, &v);
    for (size_t k = 0; k < v.len; k++) {
        const Resource *r = &v.items[k];
        _cleanup_free_ char *attrs = json_text_new(r->attrs), *line = NULL;

        line = xasprintf("%s %s%s%s%s %s", resource_row(r->kind)->prefix, r->key,
                         resource_row(r->kind)->named ? " " : "",
                         resource_row(r->kind)->named ? r->name : "",
                         r->cloud == CLOUD_OF_MEDIA ? (r->protect ? " media !" : " media")
                         : r->protect               ? " !"
                                                    : "",
                         attrs);
        assert_int_equal(r->generation, 1);
        assert_null(r->id);
        assert_true(k < ARRAY_LEN(golden));
        assert_string_equal(line, golden[k]);
    }
    assert_int_equal(v.len, ARRAY_LEN(golden));
}

static const Resource *there(const ResourceVec *v, ResourceKind kind, const char *key)
{
    for (size_t i = 0; i < v->len; i++)
        if (v->items[i].kind == kind && streq(v->items[i].key, key))
            return &v->items[i];
    return NULL;
}

/* What is there already is named by its id; what belongs to it is not wanted. */
static void used_and_moved(void **state)
{
    static const char used[] =
        "{\"external\": {\"wan\": \"net-1\"}, \"routers\": {\"edge\": \"r-1\"}, \"networks\": "
        "{\"lan\": \"n-1\"}, \"subnets\": {\"lan4\": {\"id\": \"s-1\", \"network\": \"n-1\"}}}";
    static const struct {
        const char *network; /* of the file */
        bool router, subnet, interface;
        const char *of_interface, *of_port; /* attrs */
    } rows[] = {
        {"network: {router: edge}\n", false, true, true,
         "{\"address\":\"10.77.0.1\",\"foreign\":true,\"network\":\"main\",\"router\":\"r-1\","
         "\"subnet\":\"main\"}",
         "{\"groups\":[\"web\"],\"network\":\"main\",\"subnet\":\"main\"}"},
        {"network: {name: lan, subnet: lan4}\n", false, false, false, NULL,
         "{\"foreign\":true,\"groups\":[\"web\"],\"network\":\"n-1\",\"subnet\":\"s-1\"}"},
        {"moved: {db: old}\n", true, true, true, NULL, NULL},
    };
    _cleanup_json_ json_t *facts = json_parse_new(used, strlen(used), NULL);

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        _cleanup_(island_clear) Island i = {0};
        _cleanup_(want_clear) ResourceVec v = {0};
        _cleanup_free_ char *text = xasprintf("%s%s", two_tiers, rows[k].network);

        parse(text, &i);
        island_want(&i, facts, &v);
        const Resource *interface = there(&v, RESOURCE_INTERFACE, "main");
        const Resource *port = find(&v, RESOURCE_PORT, "web.0");
        assert_int_equal(there(&v, RESOURCE_ROUTER, "main") != NULL, rows[k].router);
        assert_int_equal(there(&v, RESOURCE_SUBNET, "main") != NULL, rows[k].subnet);
        assert_int_equal(interface != NULL, rows[k].interface);
        assert_non_null(find(&v, RESOURCE_FLOATING_IP, "main"));
        _cleanup_free_ char *of_interface = interface ? json_text_new(interface->attrs) : NULL;
        _cleanup_free_ char *of_port = json_text_new(port->attrs);
        if (rows[k].of_interface)
            assert_string_equal(of_interface, rows[k].of_interface);
        if (rows[k].of_port)
            assert_string_equal(of_port, rows[k].of_port);
        const char *moved = json_str(find(&v, RESOURCE_VOLUME, "db.0")->attrs, "moved");
        assert_true(streq(moved, k == 2 ? "old.0" : NULL));
    }
}

static const char four_tiers[] =
    "island: reef\n"
    "domain: reef.example\n"
    "cloud: pocket\n"
    "release: {image: m, version: v1}\n"
    "network: {external: dmz, cidr: 10.1.2.0/28, dns: [9.9.9.9]}\n"
    "edge: {http: 8080, tls: {certificate: /c, key: /k}}\n"
    "servers:\n"
    "  edge: {flavor: f, roles: [edge]}\n"
    "  web: {flavor: f, count: 2, roles: [web, worker], threads: {worker: 9}}\n"
    "  db: {flavor: f, roles: [postgres], volume: {size: 1GB}}\n"
    "  redis: {flavor: f, roles: [redis]}\n"
    "  cron: {flavor: f, roles: [worker], queues: [scheduler]}\n"
    "media: {cloud: other, container: up, url: 'https://m.example'}\n"
    "env: {A: b}\n"
    "ssh_keys: ['ssh-ed25519 AAAA jo']\n";

/* Mastodon's own streaming server is of a release: its hosts are told so. */
static void streaming(void **state)
{
    static const char text[] =
        "island: reef\ndomain: reef.example\ncloud: catalyst\n"
        "release: {image: r/mastodon, version: v4.7.6, stream: node}\nservers:\n"
        "  web: {flavor: small, roles: [edge, web, worker]}\n"
        "  push: {flavor: small, roles: [stream], count: 2}\n"
        "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n";
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(want_clear) ResourceVec v = {0};

    (void)state;
    parse(text, &i);
    island_want(&i, NULL, &v);
    assert_attrs(find(&v, RESOURCE_HOST, "push.1"), "streams_node", "true");
    assert_null(json_at(find(&v, RESOURCE_HOST, "web.0")->attrs, "streams_node"));
    assert_attrs(find(&v, RESOURCE_HOST, "web.0"), "peers",
                 "{\"postgres\":[\"db.0\"],\"redis\":[\"db.0\"],\"stream\":[\"push.0\",\"push.1\"],"
                 "\"web\":[\"web.0\"]}");
    assert_attrs(find(&v, RESOURCE_HOST, "push.0"), "peers",
                 "{\"postgres\":[\"db.0\"],\"redis\":[\"db.0\"]}");
    assert_attrs(find(&v, RESOURCE_GROUP, "push"), "rules", "[\"in tcp 4000 group:web\"]");
}

static void split(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(want_clear) ResourceVec v = {0};
    const Resource *r;

    (void)state;
    parse(four_tiers, &i);
    /* Without facts the external network stays a name, for island_preflight to speak of. */
    island_want(&i, NULL, &v);
    r = find(&v, RESOURCE_ROUTER, "main");
    assert_attrs(r, "external", "\"dmz\"");
    r = find(&v, RESOURCE_SUBNET, "main");
    assert_attrs(r, "gateway", "\"10.1.2.1\"");
    assert_attrs(r, "dns", "[\"9.9.9.9\"]");
    r = find(&v, RESOURCE_FLOATING_IP, "main");
    assert_attrs(r, "port", "\"edge.0\"");
    r = find(&v, RESOURCE_GROUP, "edge");
    assert_attrs(r, "rules",
                 "[\"in tcp 443 0.0.0.0/0\",\"in tcp 443 ::/0\",\"in tcp 8080 0.0.0.0/0\","
                 "\"in tcp 8080 ::/0\"]");
    assert_attrs(find(&v, RESOURCE_GROUP, "web"), "rules", "[\"in tcp 3000 group:edge\"]");
    assert_attrs(find(&v, RESOURCE_GROUP, "db"), "rules",
                 "[\"in tcp 5432 group:cron\",\"in tcp 5432 group:web\"]");
    assert_attrs(find(&v, RESOURCE_GROUP, "cron"), "rules", "[]");
    /* One host prepares, one process has the schedule. */
    assert_attrs(find(&v, RESOURCE_HOST, "web.0"), "prepare", "true");
    assert_attrs(find(&v, RESOURCE_HOST, "web.1"), "prepare", "false");
    assert_attrs(find(&v, RESOURCE_HOST, "web.0"), "scheduler", "false");
    assert_attrs(find(&v, RESOURCE_HOST, "web.0"), "only_web", "false");
    assert_attrs(find(&v, RESOURCE_HOST, "cron.0"), "scheduler", "true");
    /* Each host knows whom it connects to, and no more. */
    r = find(&v, RESOURCE_HOST, "edge.0");
    assert_attrs(r, "peers", "{\"stream\":[],\"web\":[\"web.0\",\"web.1\"]}");
    assert_attrs(r, "listen", "{\"http\":8080,\"https\":443,\"pair\":\"\"}");
    assert_null(json_at(r->attrs, "media"));
    assert_attrs(r, "env", "{}");
    assert_attrs(r, "ssh_keys", "[\"ssh-ed25519 AAAA jo\"]");
    r = find(&v, RESOURCE_HOST, "web.1");
    assert_attrs(r, "peers", "{\"postgres\":[\"db.0\"],\"redis\":[\"redis.0\"]}");
    assert_attrs(r, "media",
                 "{\"container\":\"up\",\"url\":\"https://m.example\",\"user\":\"media\"}");
    assert_attrs(r, "env", "{\"A\":\"b\"}");
    assert_attrs(r, "threads", "{\"web\":5,\"worker\":9}");
    assert_attrs(r, "listen", "{\"http\":0,\"https\":0,\"pair\":\"\"}");
    assert_attrs(r, "release", "{\"kind\":\"image\",\"ref\":\"m\",\"version\":\"v1\"}");
    r = find(&v, RESOURCE_HOST, "db.0");
    assert_attrs(r, "volume", "\"db.0\"");
    assert_attrs(r, "peers", "{}");
    assert_attrs(find(&v, RESOURCE_SERVER, "redis.0"), "volumes", "[]");
    assert_int_equal(find(&v, RESOURCE_USER, "media")->cloud, CLOUD_OF_MEDIA);
    assert_string_equal(find(&v, RESOURCE_CONTAINER, "media")->name, "up");
}

/* The floating IP's edge asks, and no other; where the file names files, nobody. */
static void one_edge_asks_for_the_certificate(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(want_clear) ResourceVec v = {0};
    static const char text[] =
        "island: reef\ndomain: reef.example\ncloud: c\nrelease: {canary: true}\n"
        "edge: {tls: {acme: a@b.example}}\n"
        "servers:\n  edge: {flavor: f, count: 2, roles: [edge]}\n"
        "  web: {flavor: f, roles: [web, worker, redis, postgres], volume: {size: 1GB}}\n";

    (void)state;
    parse(text, &i);
    assert_int_equal(i.edge.https, 443);
    island_want(&i, NULL, &v);
    assert_attrs(find(&v, RESOURCE_HOST, "edge.0"), "listen.acme",
                 "{\"ca\":\"\",\"email\":\"a@b.example\",\"here\":true,\"server\":\"\"}");
    assert_attrs(find(&v, RESOURCE_HOST, "edge.1"), "listen.acme.here", "false");
    assert_null(json_at(find(&v, RESOURCE_HOST, "web.0")->attrs, "listen.acme"));
}

/* Same text in, same resources out: a plan must not differ by chance. */
static void stable(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(want_clear) ResourceVec a = {0}, b = {0};

    (void)state;
    parse(four_tiers, &i);
    island_want(&i, NULL, &a);
    island_want(&i, NULL, &b);
    assert_int_equal(a.len, b.len);
    for (size_t k = 0; k < a.len; k++) {
        assert_string_equal(a.items[k].key, b.items[k].key);
        assert_true(json_equal(a.items[k].attrs, b.items[k].attrs));
        /* A key is a kind's own, once. */
        for (size_t m = 0; m < k; m++)
            assert_true(a.items[m].kind != a.items[k].kind ||
                        !streq(a.items[m].key, a.items[k].key));
    }
}

static void containers(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(strlist_clear) StrList l = {0};

    (void)state;
    parse(four_tiers, &i);
    island_containers(&i, &l);
    assert_int_equal(l.len, 4);
    assert_string_equal(l.items[0], "0:reef-boot");
    assert_string_equal(l.items[1], "0:reef-mail");
    assert_string_equal(l.items[2], "0:reef-vault");
    assert_string_equal(l.items[3], "1:up");
    assert_null(l.items[4]);
}

static const struct {
    const char *replace, *with; /* in the facts */
    const char *text, *hint;
} lacking[] = {
    {"\"debian-12\"", "\"debian-13\"",
     "reef.yaml: image: the cloud has no image \"debian-12\": did you mean \"debian-13\"?",
     "there is: debian-13"},
    {"\"small\"", "\"c1.c2r2\"",
     "reef.yaml:6:17: servers.web.flavor: the cloud has no flavor \"small\"",
     "there is: big, c1.c2r2"},
    {"\"nvme\"", "\"nvme2\"",
     "reef.yaml:7:74: servers.db.volume.type: the cloud has no volume type \"nvme\": did you mean "
     "\"nvme2\"?",
     "there is: disk, nvme2"},
    {"\"wan\": \"net-1\"", "",
     "reef.yaml: network.external: the cloud has no external network that this login can see",
     NULL},
    {"\"wan\": \"net-1\"", "\"wan\": \"net-1\", \"dmz\": \"net-2\"",
     "reef.yaml: network.external is missing: the cloud has 2 external networks",
     "give one of: dmz, wan"},
    {"{\"debian-12\": \"img-1\"}", "{}", "reef.yaml: image: the cloud has no image \"debian-12\"",
     "there is: none that this login can see"},
};

static void preflight(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_json_ json_t *facts = facts_new();
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    parse(two_tiers, &i);
    assert_int_equal(island_preflight(&i, facts, &err), 0);
    for (size_t k = 0; k < ARRAY_LEN(lacking); k++) {
        const char *at = strstr(facts_text, lacking[k].replace);
        _cleanup_free_ char *text = xasprintf("%.*s%s%s", (int)(at - facts_text), facts_text,
                                              lacking[k].with, at + strlen(lacking[k].replace));
        _cleanup_json_ json_t *less = json_parse_new(text, strlen(text), &err);

        assert_non_null(less);
        assert_int_equal(island_preflight(&i, less, &err), -ERR_PREFLIGHT);
        assert_string_equal(err.text, lacking[k].text);
        if (lacking[k].hint)
            assert_string_equal(err.hint, lacking[k].hint);
        err_clear(&err);
    }
}

static void preflight_of_the_used(void **state)
{
    static const char used_text[] =
        "{\"external\": {\"wan\": \"net-1\"}, \"flavors\": {\"small\": {}, \"big\": {}}, "
        "\"images\": {\"debian-12\": \"i\"}, \"volume_types\": [\"nvme\"], \"routers\": {\"edge\": "
        "\"r-1\"}, \"networks\": {\"lan\": \"n-1\", \"wan2\": \"n-2\"}, \"subnets\": {\"lan4\": "
        "{\"id\": "
        "\"s-1\", \"network\": \"n-1\"}}}";
    static const struct {
        const char *network, *text; /* NULL: fine */
    } rows[] = {
        {"network: {router: edge}\n", NULL},
        {"network: {router: edg}\n",
         "reef.yaml:9:19: network.router: the cloud has no router \"edg\": did you mean \"edge\"?"},
        {"network: {name: lan, subnet: lan4}\n", NULL},
        {"network: {name: lna, subnet: lan4}\n",
         "network.name: the cloud has no network \"lna\": did you mean \"lan\"?"},
        {"network: {name: lan, subnet: lan6}\n",
         "network.subnet: the cloud has no subnet \"lan6\""},
        {"network: {name: wan2, subnet: lan4}\n",
         "network.subnet: the subnet lan4 is not of the network wan2"},
    };
    _cleanup_json_ json_t *facts = json_parse_new(used_text, strlen(used_text), NULL);

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        _cleanup_(island_clear) Island i = {0};
        _cleanup_(err_clear) Err err = {0};
        _cleanup_free_ char *text = xasprintf("%s%s", two_tiers, rows[k].network);

        parse(text, &i);
        assert_int_equal(island_preflight(&i, facts, &err), rows[k].text ? -ERR_PREFLIGHT : 0);
        if (rows[k].text && !strstr(err.text, rows[k].text))
            fail_msg("row %zu: %s", k, err.text);
    }
}

static void a_search_tier_is_known_to_those_who_ask(void **state)
{
    (void)state;
    _cleanup_(island_clear) Island i = {0};
    _cleanup_json_ json_t *facts = facts_new();
    _cleanup_(want_clear) ResourceVec want = {0};

    json_object_set_new(json_at(facts, "flavors.small"), "ram_mb", json_integer(4096));
    parse("island: reef\ndomain: reef.example\ncloud: catalyst\nrelease: {canary: true}\n"
          "search: {image: docker.io/opensearchproject/opensearch, version: 2.19.0}\nservers:\n"
          "  web: {flavor: small, roles: [edge, web]}\n"
          "  jobs: {flavor: small, roles: [worker]}\n"
          "  find: {flavor: small, roles: [search], volume: {size: 10GB}}\n"
          "  db: {flavor: big, roles: [postgres, redis], volume: {size: 50GB}}\n",
          &i);
    island_want(&i, facts, &want);
    assert_attrs(find(&want, RESOURCE_GROUP, "find"), "rules",
                 "[\"in tcp 9200 group:jobs\",\"in tcp 9200 group:web\"]");
    const Resource *r = find(&want, RESOURCE_HOST, "find.0");
    assert_attrs(r, "search",
                 "{\"heap_mb\":2048,\"kind\":\"search\",\"ref\":"
                 "\"docker.io/opensearchproject/opensearch\",\"version\":\"2.19.0\"}");
    assert_null(json_object_get(r->attrs, "search_user"));
    r = find(&want, RESOURCE_HOST, "jobs.0");
    assert_attrs(r, "peers.search", "[\"find.0\"]");
    assert_string_equal(json_str(r->attrs, "search_user"), "admin");
    assert_null(json_object_get(r->attrs, "search"));
    r = find(&want, RESOURCE_HOST, "db.0");
    assert_null(json_object_get(r->attrs, "search_user"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(used_and_moved),
        cmocka_unit_test(streaming),
        cmocka_unit_test(split),
        cmocka_unit_test(one_edge_asks_for_the_certificate),
        cmocka_unit_test(stable),
        cmocka_unit_test(a_search_tier_is_known_to_those_who_ask),
        cmocka_unit_test(containers),
        cmocka_unit_test(preflight),
        cmocka_unit_test(preflight_of_the_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
