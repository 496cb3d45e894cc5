#include "cloud/kind.h"
#include "cloud/login.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

static Cloud *logged_in(int minor)
{
    CloudConfig config = {.name = xstrdup("test"), .auth_url = xstrdup("http://k/v3")};
    Cloud *c = cloud_new(&config, &(CloudOptions){.seed = 1});
    c->session = json_make_new("{s:s, s:s, s:s, s:s, s:i}", "project_id", "p1", "user_id", "u1",
                               "domain_id", "d1", "domain_name", "Default", "compute_minor", minor);
    return c;
}

static void add(World *w, ResourceKind kind, const char *key, const char *id, json_t *attrs)
{
    (void)world_add(w, (Resource){.kind = kind,
                                  .key = xstrdup(key),
                                  .name = resource_name("reef", kind, key, 1),
                                  .id = id ? xstrdup(id) : NULL,
                                  .status = xstrdup(""),
                                  .attrs = attrs ? attrs : json_object()});
}

/* What is there: the id of each is the kind's prefix and the key. */
static World full_world(void)
{
    World w = {.facts = json_make_new("{s:{s:{s:s}}, s:{s:s}, s:{s:s}}", "flavors", "c1.c1r1", "id",
                                      "flavor-1", "images", "debian-12", "image-1", "roles",
                                      "media", "role-1")};
    add(&w, RESOURCE_NETWORK, "main", "net-1", NULL);
    add(&w, RESOURCE_SUBNET, "main", "sub-1", NULL);
    add(&w, RESOURCE_ROUTER, "main", "router-1", NULL);
    add(&w, RESOURCE_GROUP, "web", "group-web", json_make_new("{s:{}, s:[]}", "rule_ids", "rules"));
    add(&w, RESOURCE_GROUP, "db", "group-db",
        json_make_new("{s:{s:s, s:s}, s:[]}", "rule_ids", "in tcp 22 0.0.0.0/0", "rule-22",
                      "in tcp 80 ::/0", "rule-80", "rules"));
    add(&w, RESOURCE_INTERFACE, "main", "iface-1", json_make_new("{s:s}", "router", "main"));
    add(&w, RESOURCE_PORT, "db.0", "port-db-0", NULL);
    add(&w, RESOURCE_FLOATING_IP, "main", "fip-1", json_make_new("{s:s}", "port", "db.0"));
    add(&w, RESOURCE_SERVER_GROUP, "db", "sgrp-db", NULL);
    add(&w, RESOURCE_VOLUME, "db.0", "vol-db-0", NULL);
    add(&w, RESOURCE_USER, "media", "user-media", NULL);
    add(&w, RESOURCE_CONTAINER, "media", "user-uploads",
        json_make_new("{s:b, s:b}", "versions", 0, "temp_url", 1));
    add(&w, RESOURCE_SERVER, "db.0", "server-db-0", NULL);
    return w;
}

/* "POST /networks {...}"; headers follow, one a line. */
static char *shown(const Call *c)
{
    static const char *const kinds[] = {"read", "idempotent", "create"};
    Buf b = BUF_INIT(BUF_MAX_BODY);
    buf_printf(&b, "%s %s %s", kinds[c->kind], c->method, c->path);
    if (c->body) {
        _cleanup_free_ char *body = json_text_new(c->body);
        buf_printf(&b, " %s", body);
    }
    for (size_t i = 0; i < c->headers.len; i++)
        buf_printf(&b, "\n%s", c->headers.items[i]);
    return buf_detach(&b);
}

#define MARK "\"description\":\"atoll:reef\""

static void requests(void **state)
{
    static const struct {
        ResourceKind kind;
        KindVerb verb;
        const char *key, *want; /* attrs */
        const char *detail;
        const char *expected;
    } rows[] = {
        {RESOURCE_NETWORK, KIND_CREATE, "main", "{}", NULL,
         "create POST /networks {\"network\":{" MARK ",\"name\":\"reef-network-main\"}}"},
        {RESOURCE_NETWORK, KIND_DELETE, "main", NULL, NULL, "idempotent DELETE /networks/net-1"},
        {RESOURCE_SUBNET, KIND_CREATE, "main",
         "{\"network\":\"main\",\"cidr\":\"10.77.0.0/24\",\"gateway\":\"10.77.0.1\",\"dns\":"
         "[\"9.9.9.9\"],\"dhcp\":true}",
         NULL,
         "create POST /subnets {\"subnet\":{\"cidr\":\"10.77.0.0/24\"," MARK
         ",\"dns_nameservers\":[\"9.9.9.9\"],\"enable_dhcp\":true,\"gateway_ip\":\"10.77.0.1\","
         "\"ip_version\":4,\"name\":\"reef-subnet-main\",\"network_id\":\"net-1\"}}"},
        {RESOURCE_SUBNET, KIND_CREATE, "main",
         "{\"network\":\"main\",\"cidr\":\"10.77.0.0/24\",\"gateway\":\"\",\"dns\":[],\"dhcp\":"
         "false}",
         NULL,
         "create POST /subnets {\"subnet\":{\"cidr\":\"10.77.0.0/24\"," MARK
         ",\"enable_dhcp\":false,\"gateway_ip\":null,\"ip_version\":4,\"name\":"
         "\"reef-subnet-main\",\"network_id\":\"net-1\"}}"},
        {RESOURCE_ROUTER, KIND_CREATE, "main", "{\"external\":\"ext-1\"}", NULL,
         "create POST /routers {\"router\":{" MARK
         ",\"external_gateway_info\":{\"network_id\":\"ext-1\"},\"name\":\"reef-router-main\"}}"},
        {RESOURCE_GROUP, KIND_CREATE, "db", "{\"rules\":[]}", NULL,
         "create POST /security-groups {\"security_group\":{" MARK ",\"name\":\"reef-group-db\"}}"},
        {RESOURCE_GROUP, KIND_RULES, "db",
         "{\"rules\":[\"in icmp * 0.0.0.0/0\",\"in tcp 3000-3010 10.0.0.0/8\",\"in tcp 443 ::/0\","
         "\"in tcp 5432 group:web\",\"in tcp 80 ::/0\"]}",
         NULL,
         "create POST /security-group-rules {\"security_group_rules\":[{" MARK
         ",\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"icmp\","
         "\"remote_ip_prefix\":\"0.0.0.0/0\",\"security_group_id\":\"group-db\"},{" MARK
         ",\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"port_range_max\":3010,"
         "\"port_range_min\":3000,\"protocol\":\"tcp\",\"remote_ip_prefix\":\"10.0.0.0/8\","
         "\"security_group_id\":\"group-db\"},{" MARK
         ",\"direction\":\"ingress\",\"ethertype\":\"IPv6\",\"port_range_max\":443,"
         "\"port_range_min\":443,\"protocol\":\"tcp\",\"remote_ip_prefix\":\"::/0\","
         "\"security_group_id\":\"group-db\"},{" MARK
         ",\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"port_range_max\":5432,"
         "\"port_range_min\":5432,\"protocol\":\"tcp\",\"remote_group_id\":\"group-web\","
         "\"security_group_id\":\"group-db\"}]}"},
        {RESOURCE_GROUP, KIND_UNRULE, "db", NULL, "in tcp 22 0.0.0.0/0",
         "idempotent DELETE /security-group-rules/rule-22"},
        {RESOURCE_INTERFACE, KIND_CREATE, "main",
         "{\"network\":\"main\",\"subnet\":\"main\",\"address\":\"10.77.0.1\",\"router\":\"main\"}",
         NULL,
         "create POST /ports {\"port\":{" MARK
         ",\"fixed_ips\":[{\"ip_address\":\"10.77.0.1\",\"subnet_id\":\"sub-1\"}],\"name\":"
         "\"reef-interface-main\",\"network_id\":\"net-1\",\"security_groups\":[]}}"},
        {RESOURCE_INTERFACE, KIND_ATTACH, "main", "{\"router\":\"main\"}", NULL,
         "idempotent PUT /routers/router-1/add_router_interface {\"port_id\":\"iface-1\"}"},
        {RESOURCE_INTERFACE, KIND_DETACH, "main", NULL, NULL,
         "idempotent PUT /routers/router-1/remove_router_interface {\"port_id\":\"iface-1\"}"},
        {RESOURCE_INTERFACE, KIND_DELETE, "main", NULL, NULL, "idempotent DELETE /ports/iface-1"},
        {RESOURCE_PORT, KIND_CREATE, "db.0",
         "{\"network\":\"main\",\"subnet\":\"main\",\"groups\":[\"db\"]}", NULL,
         "create POST /ports {\"port\":{" MARK
         ",\"fixed_ips\":[{\"subnet_id\":\"sub-1\"}],\"name\":\"reef-port-db-0\",\"network_id\":"
         "\"net-1\",\"security_groups\":[\"group-db\"]}}"},
        {RESOURCE_FLOATING_IP, KIND_CREATE, "main", "{\"external\":\"ext-1\",\"port\":\"db.0\"}",
         NULL,
         "create POST /floatingips {\"floatingip\":{" MARK ",\"floating_network_id\":\"ext-1\"}}"},
        {RESOURCE_FLOATING_IP, KIND_ATTACH, "main", "{\"port\":\"db.0\"}", NULL,
         "idempotent PUT /floatingips/fip-1 {\"floatingip\":{\"port_id\":\"port-db-0\"}}"},
        {RESOURCE_FLOATING_IP, KIND_DETACH, "main", NULL, NULL,
         "idempotent PUT /floatingips/fip-1 {\"floatingip\":{\"port_id\":null}}"},
        {RESOURCE_SERVER_GROUP, KIND_CREATE, "db", "{\"policy\":\"soft-anti-affinity\"}", NULL,
         "create POST /os-server-groups {\"server_group\":{\"name\":\"reef-servergroup-db\","
         "\"policy\":\"soft-anti-affinity\"}}"},
        {RESOURCE_SERVER_GROUP, KIND_DELETE, "db", NULL, NULL,
         "idempotent DELETE /os-server-groups/sgrp-db"},
        {RESOURCE_VOLUME, KIND_CREATE, "db.0", "{\"size_gb\":50,\"type\":\"\"}", NULL,
         "create POST /volumes {\"volume\":{" MARK
         ",\"metadata\":{\"atoll\":\"reef\",\"atoll-key\":\"db.0\"},\"name\":\"reef-volume-db-0\","
         "\"size\":50}}"},
        {RESOURCE_VOLUME, KIND_CREATE, "db.0", "{\"size_gb\":50,\"type\":\"nvme\"}", NULL,
         "create POST /volumes {\"volume\":{" MARK
         ",\"metadata\":{\"atoll\":\"reef\",\"atoll-key\":\"db.0\"},\"name\":\"reef-volume-db-0\","
         "\"size\":50,\"volume_type\":\"nvme\"}}"},
        {RESOURCE_USER, KIND_CREATE, "media", "{\"roles\":[\"media\"]}", NULL,
         "create POST /users {\"user\":{\"default_project_id\":\"p1\"," MARK
         ",\"domain_id\":\"d1\",\"name\":\"reef-user-media\",\"options\":{\"lock_password\":true},"
         "\"password\":\"sesame\"}}"},
        {RESOURCE_USER, KIND_GRANT, "media", NULL, "media",
         "idempotent PUT /projects/p1/users/user-media/roles/role-1"},
        {RESOURCE_USER, KIND_DELETE, "media", NULL, NULL, "idempotent DELETE /users/user-media"},
        {RESOURCE_CONTAINER, KIND_CREATE, "media",
         "{\"read\":[\".r:*\"],\"write\":[\"media\"],\"cors\":\"https://reef.example\","
         "\"versions\":false,\"temp_url\":false}",
         NULL,
         "idempotent PUT /user-uploads\nX-Container-Meta-Atoll: atoll:reef\n"
         "X-Container-Meta-Atoll-Key: media\nX-Container-Read: .r:*\n"
         "X-Container-Write: p1:user-media\n"
         "X-Container-Meta-Access-Control-Allow-Origin: https://reef.example\n"
         "X-Container-Meta-Access-Control-Max-Age: 3600"},
        {RESOURCE_CONTAINER, KIND_CREATE, "media",
         "{\"read\":[],\"write\":[],\"cors\":\"\",\"versions\":true,\"temp_url\":true}", NULL,
         "idempotent PUT /user-uploads\nX-Container-Meta-Atoll: atoll:reef\n"
         "X-Container-Meta-Atoll-Key: media\nX-Container-Meta-Temp-URL-Key: urlkey\n"
         "X-Versions-Enabled: true"},
        {RESOURCE_CONTAINER, KIND_CHANGE, "media",
         "{\"read\":[],\"write\":[],\"cors\":\"\",\"versions\":false,\"temp_url\":false}", NULL,
         "idempotent POST /user-uploads\nX-Container-Meta-Atoll: atoll:reef\n"
         "X-Container-Meta-Atoll-Key: media\nX-Remove-Container-Read: x\n"
         "X-Remove-Container-Write: x\nX-Remove-Container-Meta-Access-Control-Allow-Origin: x\n"
         "X-Remove-Container-Meta-Access-Control-Max-Age: x\n"
         "X-Remove-Container-Meta-Temp-URL-Key: x"},
        {RESOURCE_CONTAINER, KIND_DELETE, "media", NULL, NULL, "idempotent DELETE /user-uploads"},
        {RESOURCE_SERVER, KIND_CREATE, "db.0",
         "{\"flavor\":\"c1.c1r1\",\"image\":\"debian-12\",\"ports\":[\"db.0\"],\"volumes\":"
         "[\"db.0\"],\"group\":\"db\"}",
         NULL,
         "create POST /servers {\"os:scheduler_hints\":{\"group\":\"sgrp-db\"},\"server\":{"
         "\"block_device_mapping_v2\":[{\"boot_index\":0,\"delete_on_termination\":true,"
         "\"destination_type\":\"local\",\"source_type\":\"image\",\"uuid\":\"image-1\"},{"
         "\"boot_index\":-1,\"delete_on_termination\":false,\"destination_type\":\"volume\","
         "\"source_type\":\"volume\",\"uuid\":\"vol-db-0\"}],\"config_drive\":true,\"flavorRef\":"
         "\"flavor-1\",\"imageRef\":\"image-1\",\"metadata\":{\"atoll\":\"reef\",\"atoll-boot\":"
         "\"0123456789abcdef\",\"atoll-group\":\"db\",\"atoll-key\":\"db.0\"},\"name\":"
         "\"reef-db-0\",\"networks\":[{\"port\":\"port-db-0\"}],\"tags\":[\"atoll:reef\"],"
         "\"user_data\":\"IyEvYmluL3NoCg==\"}}"},
        {RESOURCE_SERVER, KIND_CREATE, "db.0",
         "{\"flavor\":\"c9\",\"image\":\"none\",\"ports\":[\"db.0\"],\"volumes\":[],\"group\":"
         "\"\"}",
         NULL,
         "create POST /servers {\"server\":{\"block_device_mapping_v2\":[{\"boot_index\":0,"
         "\"delete_on_termination\":true,\"destination_type\":\"local\",\"source_type\":\"image\","
         "\"uuid\":\"none\"}],\"config_drive\":true,\"flavorRef\":\"c9\",\"imageRef\":\"none\","
         "\"metadata\":{\"atoll\":\"reef\",\"atoll-boot\":\"0123456789abcdef\",\"atoll-key\":"
         "\"db.0\"},\"name\":\"reef-db-0\",\"networks\":[{\"port\":\"port-db-0\"}],\"tags\":"
         "[\"atoll:reef\"],\"user_data\":\"IyEvYmluL3NoCg==\"}}"},
        {RESOURCE_SERVER, KIND_DELETE, "db.0", NULL, NULL,
         "idempotent DELETE /servers/server-db-0"},
    };
    World w = full_world();
    Cloud *cloud = logged_in(67);
    Clouds clouds = {.of = {cloud}, .island = "reef"};
    Secret *password = secret_new("sesame", 6), *url_key = secret_new("urlkey", 6);
    KindSecrets secrets = {password, url_key, "#!/bin/sh\n", "0123456789abcdef"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_(call_clear) Call call = {0};
        Resource want = {.kind = rows[i].kind, .key = xstrdup(rows[i].key), .generation = 1};
        Resource *have = world_find(&w, rows[i].kind, rows[i].key, 0);
        want.name = xstrdup(rows[i].kind == RESOURCE_CONTAINER ? "user-uploads" : have->name);
        if (rows[i].kind == RESOURCE_CONTAINER) {
            free(have->name);
            have->name = xstrdup("user-uploads");
        }
        if (rows[i].want)
            want.attrs = json_parse_new(rows[i].want, strlen(rows[i].want), NULL);
        if (kind_call(&clouds, &w, rows[i].kind, rows[i].verb, rows[i].want ? &want : NULL,
                      rows[i].verb == KIND_CREATE ? NULL : have, rows[i].detail, &secrets, &call,
                      &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        _cleanup_free_ char *text = shown(&call);
        assert_string_equal(text, rows[i].expected);
        assert_ptr_equal(call.cloud, cloud);
        resource_clear(&want);
    }
    secret_free(password);
    secret_free(url_key);
    cloud_free(cloud);
    world_clear(&w);
}

static void an_older_nova_gets_less(void **state)
{
    World w = full_world();
    Cloud *cloud = logged_in(50);
    Clouds clouds = {.of = {cloud}, .island = "reef"};
    Resource want = {.kind = RESOURCE_SERVER_GROUP,
                     .key = xstrdup("db"),
                     .name = xstrdup("reef-servergroup-db"),
                     .attrs = json_make_new("{s:s}", "policy", "soft-anti-affinity")};
    Resource server = {
        .kind = RESOURCE_SERVER,
        .key = xstrdup("db.0"),
        .name = xstrdup("reef-db-0"),
        .attrs = json_make_new("{s:[s], s:[], s:s}", "ports", "db.0", "volumes", "group", "db")};

    (void)state;
    _cleanup_(call_clear) Call call = {0}, boot = {0};
    assert_int_equal(kind_call(&clouds, &w, RESOURCE_SERVER_GROUP, KIND_CREATE, &want, NULL, NULL,
                               NULL, &call, NULL),
                     0);
    _cleanup_free_ char *text = shown(&call);
    assert_string_equal(text, "create POST /os-server-groups {\"server_group\":{\"name\":"
                              "\"reef-servergroup-db\",\"policies\":[\"soft-anti-affinity\"]}}");
    assert_int_equal(kind_call(&clouds, &w, RESOURCE_SERVER, KIND_CREATE, &server, NULL, NULL, NULL,
                               &boot, NULL),
                     0);
    assert_null(json_at(boot.body, "server.tags"));
    resource_clear(&want);
    resource_clear(&server);
    cloud_free(cloud);
    world_clear(&w);
}

static void what_is_not_there_is_our_bug(void **state)
{
    static const struct {
        ResourceKind kind;
        KindVerb verb;
        const char *want;
        bool have;
        const char *detail;
        ErrKind err;
        const char *words;
    } rows[] = {
        {RESOURCE_SUBNET, KIND_CREATE, "{\"network\":\"other\"}", false, NULL, ERR_BUG,
         "the network `other` is not there yet"},
        {RESOURCE_PORT, KIND_CREATE,
         "{\"network\":\"main\",\"subnet\":\"main\",\"groups\":[\"db\",\"nope\"]}", false, NULL,
         ERR_BUG, "the security group `nope` is not there yet"},
        {RESOURCE_GROUP, KIND_RULES, "{\"rules\":[\"in tcp 1 group:nope\"]}", true, NULL, ERR_BUG,
         "the security group `nope` is not there yet"},
        {RESOURCE_GROUP, KIND_RULES, "{\"rules\":[\"out tcp 1 ::/0\"]}", true, NULL, ERR_BUG,
         "a rule that can't be read: out tcp 1 ::/0"},
        {RESOURCE_GROUP, KIND_RULES, "{\"rules\":[\"in tcp x ::/0\"]}", true, NULL, ERR_BUG,
         "a rule that can't be read: in tcp x ::/0"},
        {RESOURCE_GROUP, KIND_UNRULE, NULL, true, "in tcp 1 ::/0", ERR_BUG,
         "the rule is not in the group main: in tcp 1 ::/0"},
        {RESOURCE_USER, KIND_GRANT, NULL, true, "uploader", ERR_PREFLIGHT,
         "the cloud has no role `uploader`, or its login may not see it"},
        {RESOURCE_USER, KIND_CREATE, "{}", false, NULL, ERR_BUG, "no password for the user x"},
        {RESOURCE_CONTAINER, KIND_CREATE, "{\"temp_url\":true}", false, NULL, ERR_BUG,
         "no Temp-URL key for the container x"},
        {RESOURCE_SERVER, KIND_CREATE, "{\"ports\":[\"web.7\"]}", false, NULL, ERR_BUG,
         "the port `web.7` is not there yet"},
        {RESOURCE_SERVER, KIND_GRANT, NULL, true, NULL, ERR_BUG,
         "a server can't be asked to `grant`"},
        {RESOURCE_NETWORK, KIND_DELETE, NULL, false, NULL, ERR_BUG,
         "`delete` without what is there"},
        {RESOURCE_NETWORK, KIND_CREATE, NULL, false, NULL, ERR_BUG,
         "`create` without what is wanted"},
        {RESOURCE_HOST, KIND_SEND, NULL, true, NULL, ERR_BUG, "no cloud call for kind 12"},
    };
    World w = full_world();
    Cloud *cloud = logged_in(67);
    Clouds clouds = {.of = {cloud}, .island = "reef"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_(call_clear) Call call = {0};
        Resource r = {.kind = rows[i].kind, .key = xstrdup("main"), .name = xstrdup("x")};
        Resource have = {.kind = rows[i].kind,
                         .key = xstrdup("main"),
                         .name = xstrdup("x"),
                         .id = xstrdup("1"),
                         .attrs = json_object()};
        if (rows[i].want)
            r.attrs = json_parse_new(rows[i].want, strlen(rows[i].want), NULL);
        assert_int_equal(kind_call(&clouds, &w, rows[i].kind, rows[i].verb,
                                   rows[i].want ? &r : NULL, rows[i].have ? &have : NULL,
                                   rows[i].detail, NULL, &call, &err),
                         -(int)rows[i].err);
        assert_string_equal(err.text, rows[i].words);
        resource_clear(&r);
        resource_clear(&have);
    }
    cloud_free(cloud);
    world_clear(&w);
}

static void rules_in_our_words(void **state)
{
    static const struct {
        const char *rule, *text;
    } rows[] = {
        {"{\"direction\":\"egress\",\"ethertype\":\"IPv4\"}", NULL},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"tcp\","
         "\"port_range_min\":80,\"port_range_max\":80,\"remote_ip_prefix\":\"0.0.0.0/0\"}",
         "in tcp 80 0.0.0.0/0"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"6\","
         "\"port_range_min\":80,\"port_range_max\":80,\"remote_ip_prefix\":null}",
         "in tcp 80 0.0.0.0/0"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv6\",\"protocol\":6,\"port_range_min\":80,"
         "\"port_range_max\":80}",
         "in tcp 80 ::/0"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"udp\","
         "\"port_range_min\":3000,\"port_range_max\":3010,\"remote_ip_prefix\":\"10.0.0.0/8\"}",
         "in udp 3000-3010 10.0.0.0/8"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"icmp\","
         "\"port_range_min\":null,\"port_range_max\":null,\"remote_ip_prefix\":\"0.0.0.0/0\"}",
         "in icmp * 0.0.0.0/0"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"icmp\","
         "\"port_range_min\":8,\"port_range_max\":0}",
         "in icmp 8-0 0.0.0.0/0"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv6\",\"protocol\":\"ipv6-icmp\"}",
         "in icmpv6 * ::/0"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":null,"
         "\"remote_group_id\":\"g7\"}",
         "in any * group:g7"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv6\",\"protocol\":\"tcp\","
         "\"port_range_min\":22,\"port_range_max\":22,\"remote_group_id\":\"g7\"}",
         "in tcp 22 group:g7 ipv6"},
        {"{\"direction\":\"ingress\",\"ethertype\":\"IPv4\",\"protocol\":\"112\","
         "\"remote_address_group_id\":\"a1\"}",
         "in 112 * addresses:a1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *rule = json_parse_new(rows[i].rule, strlen(rows[i].rule), NULL);
        _cleanup_free_ char *text = rule_text_new(rule);
        assert_true(streq(text, rows[i].text));
    }
}

/* Text to Neutron's rule and back: what is made is not seen as a difference afterwards. */
static void rules_round_trip(void **state)
{
    static const char *const texts[] = {
        "in tcp 80 0.0.0.0/0",     "in tcp 80 ::/0",      "in icmp * 0.0.0.0/0",
        "in icmpv6 * ::/0",        "in any * 10.0.0.0/8", "in udp 1-65535 192.0.2.7/32",
        "in tcp 22 2001:db8::/32",
    };
    World w = full_world();
    KindTask t = {.world = &w, .marker = "atoll:reef"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        _cleanup_json_ json_t *body = rule_body_new(&t, "g", texts[i], NULL);
        _cleanup_free_ char *text = rule_text_new(body);
        assert_string_equal(text, texts[i]);
    }
    world_clear(&w);
}

static void what_a_create_answers(void **state)
{
    static const struct {
        ResourceKind kind;
        const char *asked, *answer;
        const char *key, *id, *status;
        int generation;
    } rows[] = {
        {RESOURCE_NETWORK, "{\"network\":{\"name\":\"reef-network-main\"}}",
         "{\"network\":{\"id\":\"n\",\"name\":\"reef-network-main\",\"description\":\"atoll:reef\","
         "\"status\":\"ACTIVE\",\"created_at\":\"2026-11-24T17:31:39Z\"}}",
         "main", "n", "ACTIVE", 1},
        {RESOURCE_FLOATING_IP, "{\"floatingip\":{}}",
         "{\"floatingip\":{\"id\":\"f\",\"description\":\"atoll:reef\",\"status\":\"DOWN\","
         "\"floating_ip_address\":\"203.0.113.7\",\"port_id\":null}}",
         "main", "f", "DOWN", 1},
        /* Nova answers with an id and a password, and the password is not kept. */
        {RESOURCE_SERVER,
         "{\"server\":{\"name\":\"reef-web-1-g2\",\"metadata\":{\"atoll\":\"reef\"},\"flavorRef\":"
         "\"flavor-1\",\"imageRef\":\"image-1\",\"networks\":[{\"port\":\"port-db-0\"}],"
         "\"block_device_mapping_v2\":[{\"source_type\":\"image\",\"uuid\":\"i\"},{"
         "\"source_type\":\"volume\",\"uuid\":\"vol-db-0\"}]}}",
         "{\"server\":{\"id\":\"s\",\"links\":[],\"adminPass\":\"hunter2\"}}", "web.1", "s",
         "BUILD", 2},
        {RESOURCE_SERVER_GROUP, "{\"server_group\":{\"name\":\"reef-servergroup-web\"}}",
         "{\"server_group\":{\"id\":\"g\",\"name\":\"reef-servergroup-web\",\"policy\":\"x\","
         "\"members\":[]}}",
         "web", "g", "", 1},
        {RESOURCE_VOLUME, "{\"volume\":{\"name\":\"reef-volume-db-0\"}}",
         "{\"volume\":{\"id\":\"v\",\"name\":\"reef-volume-db-0\",\"description\":\"atoll:reef\","
         "\"metadata\":{\"atoll\":\"reef\"},\"size\":5,\"status\":\"creating\"}}",
         "db.0", "v", "creating", 1},
        {RESOURCE_USER, "{\"user\":{\"name\":\"reef-user-media\"}}",
         "{\"user\":{\"id\":\"u\",\"name\":\"reef-user-media\",\"description\":\"atoll:reef\"}}",
         "media", "u", "", 1},
    };
    World w = full_world();
    Cloud *cloud = logged_in(67);
    Clouds clouds = {.of = {cloud}, .island = "reef"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(err_clear) Err err = {0};
        _cleanup_(resource_clear) Resource r = {0};
        _cleanup_(call_clear)
            Call call = {.cloud = cloud,
                         .body = json_parse_new(rows[i].asked, strlen(rows[i].asked), NULL),
                         .json = json_parse_new(rows[i].answer, strlen(rows[i].answer), NULL)};
        if (kind_created(&clouds, &w, rows[i].kind, &call, &r, &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_string_equal(r.key, rows[i].key);
        assert_string_equal(r.id, rows[i].id);
        assert_string_equal(r.status, rows[i].status);
        assert_int_equal(r.generation, rows[i].generation);
        _cleanup_free_ char *attrs = json_text_new(r.attrs);
        assert_null(strstr(attrs, "hunter2"));
        if (rows[i].kind == RESOURCE_SERVER) {
            assert_string_equal(json_str(r.attrs, "flavor"), "c1.c1r1");
            assert_string_equal(json_str(r.attrs, "image"), "debian-12");
            assert_string_equal(json_string_value(json_array_get(json_at(r.attrs, "ports"), 0)),
                                "db.0");
            assert_string_equal(json_string_value(json_array_get(json_at(r.attrs, "volumes"), 0)),
                                "db.0");
        }
    }
    _cleanup_(resource_clear) Resource r = {0};
    _cleanup_(call_clear)
        Call call = {.cloud = cloud, .method = "PUT", .path = xstrdup("/my%20pics")};
    strlist_add(&call.headers, "X-Container-Meta-Atoll: atoll:reef");
    strlist_add(&call.headers, "X-Container-Meta-Atoll-Key: media");
    strlist_add(&call.headers, "X-Container-Write: p1:user-media");
    assert_int_equal(kind_created(&clouds, &w, RESOURCE_CONTAINER, &call, &r, NULL), 0);
    assert_string_equal(r.key, "media");
    assert_string_equal(r.id, "my pics");
    assert_string_equal(json_string_value(json_array_get(json_at(r.attrs, "write"), 0)), "media");
    _cleanup_(call_clear) Call empty = {.cloud = cloud};
    _cleanup_(err_clear) Err err = {0};
    Resource none = {0};
    assert_int_equal(kind_created(&clouds, &w, RESOURCE_NETWORK, &empty, &none, &err),
                     -ERR_CORRUPT);
    cloud_free(cloud);
    world_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(an_older_nova_gets_less),
        cmocka_unit_test(what_is_not_there_is_our_bug),
        cmocka_unit_test(rules_in_our_words),
        cmocka_unit_test(rules_round_trip),
        cmocka_unit_test(what_a_create_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
