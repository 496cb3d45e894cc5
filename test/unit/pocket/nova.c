#include "cloud.h"
#include "pocket/cinder.h"

#define A POCKET_NOVA

#define KEY                                                                                        \
    "ssh-ed25519 "                                                                                 \
    "AAAAC3NzaC1lZDI1NTE5AAAAIEvGhGhZFfcGLNqVHBO3cKCGSD3ZlZbWoG4HmRXiqDqf test"

static char *network_new(Cloud *c)
{
    char *id =
        cloud_make(c, POCKET_NEUTRON, "/v2.0/networks", "network", "{'network':{'name':'main'}}");
    free(cloud_make(c, POCKET_NEUTRON, "/v2.0/subnets", "subnet",
                    "{'subnet':{'network_id':'%s','ip_version':4,'cidr':'127.87.0.0/24'}}", id));
    return id;
}

static char *port_new(Cloud *c, const char *network)
{
    return cloud_make(c, POCKET_NEUTRON, "/v2.0/ports", "port",
                      "{'port':{'network_id':'%s','name':'p'}}", network);
}

static char *server_new(Cloud *c, const char *name, const char *port, const char *more)
{
    return cloud_make(c, A, "/v2.1/servers", "server",
                      "{'server':{'name':'%s','flavorRef':'2','imageRef':'image-1',"
                      "'networks':[{'port':'%s'}]%s}}",
                      name, port, more);
}

static int call_server(Cloud *c, const char *method, const char *id, const char *rest,
                       const char *body)
{
    _cleanup_free_ char *path = xasprintf("/v2.1/servers/%s%s", id, rest);
    return cloud_call(c, A, method, path, body);
}

static const char *status_of(Cloud *c, const char *id)
{
    int status = call_server(c, "GET", id, "", NULL);
    return status == 200 ? cloud_text(c, "server.status") : status == 404 ? "404" : "?";
}

static const char *port_text(Cloud *c, const char *port, const char *key)
{
    _cleanup_free_ char *path = xasprintf("/v2.0/ports/%s", port);
    _cleanup_free_ char *at = xasprintf("port.%s", key);
    return cloud_get(c, POCKET_NEUTRON, path) == 200 ? cloud_text(c, at) : "404";
}

/* What a real Nova refuses, in its order. */
static void test_refused(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *network = network_new(c);
    _cleanup_free_ char *port = port_new(c, network);
    _cleanup_free_ char *used = port_new(c, network);
    free(server_new(c, "first", used, ""));
    static const struct {
        const char *change; /* of a valid body; '@' is the free port, '#' the used one */
        int status, microversion;
        const char *outer, *words;
    } rows[] = {
        {"{'flavorRef':'99'}", 400, 0, "badRequest", "Flavor 99 could not be found"},
        {"{'flavorRef':'99','imageRef':'none'}", 400, 0, "badRequest", "Flavor"},
        {"{'flavorRef':'99','colour':'red'}", 400, 0, "badRequest", "colour"},
        {"{'imageRef':'none'}", 400, 0, "badRequest", "Image none could not be found"},
        {"{'name':''}", 400, 0, "badRequest", "name"},
        {"{'name':5}", 400, 0, "badRequest", "name"},
        {"{'networks':null}", 202, 0, NULL, NULL},
        {"{'networks':[{'port':'#'}]}", 409, 0, "conflictingRequest", "is still in use"},
        {"{'networks':[{'port':'none'}]}", 400, 0, "badRequest", "Port id none"},
        {"{'networks':[{}]}", 400, 0, "badRequest", "networks"},
        {"{'networks':'auto'}", 400, 0, "badRequest", "automatically"},
        {"{'metadata':{'a':1}}", 400, 0, "badRequest", "metadata"},
        {"{'tags':['a/b']}", 400, 0, "badRequest", "tags"},
        {"{'tags':['a']}", 400, 51, "badRequest", "tags"},
        {"{'description':'x'}", 400, 18, "badRequest", "description"},
        {"{'user_data':'*'}", 400, 0, "badRequest", "base64"},
        {"{'key_name':'none'}", 400, 0, "badRequest", "key_name"},
        {"{'block_device_mapping_v2':[{'uuid':'none','source_type':'volume',"
         "'destination_type':'volume','boot_index':-1}]}",
         400, 0, "badRequest", "Volume none could not be found"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *body =
            json_make_new("{s:{s:s, s:s, s:s, s:[{s:s}]}}", "server", "name", "x", "flavorRef", "2",
                          "imageRef", "image-1", "networks", "port", port);
        _cleanup_free_ char *change = xstrdup(rows[i].change);
        char *at = strchr(change, '#');
        _cleanup_free_ char *full =
            at ? xasprintf("%.*s%s%s", (int)(at - change), change, used, at + 1) : xstrdup(change);
        _cleanup_json_ json_t *more = cloud_json_new(full);
        json_object_update(json_object_get(body, "server"), more);
        _cleanup_free_ char *text = json_text_new(body);
        c->microversion = rows[i].microversion ? rows[i].microversion : POCKET_COMPUTE_MINOR;
        int status = cloud_call(c, A, "POST", "/v2.1/servers", text);
        _cleanup_free_ char *path = xasprintf("%s.message", rows[i].outer ? rows[i].outer : "");
        if (status != rows[i].status ||
            (rows[i].outer && !strstr(cloud_text(c, path), rows[i].words)))
            fail_msg("%s: %d %s", rows[i].change, status, cloud_text(c, path));
    }
    c->microversion = POCKET_COMPUTE_MINOR;
    /* Nothing of all that took the port. */
    assert_string_equal(port_text(c, port, "device_id"), "");
    /* Who may not create is told so before the body is looked at. */
    c->user.roles.items[0][0] = 'x';
    assert_int_equal(cloud_send(c, A, "POST", "/v2.1/servers", "{'server':{'flavorRef':'99'}}"),
                     403);
    c->user.roles.items[0][0] = 'm';
}

static void test_life(void **state)
{
    Cloud *c = *state;
    c->p.settle_lists = 1;
    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    _cleanup_free_ char *volume =
        cloud_make(c, POCKET_CINDER, "/v3/volumes", "volume", "{'volume':{'size':1,'name':'v'}}");
    cloud_get(c, POCKET_CINDER, "/v3/volumes");
    cloud_get(c, POCKET_CINDER, "/v3/volumes"); /* available */
    _cleanup_free_ char *more =
        xasprintf(",'metadata':{'atoll':'reef'},'tags':['reef'],'user_data':'IyEvYmluL3NoCg==',"
                  "'block_device_mapping_v2':[{'uuid':'image-1','source_type':'image',"
                  "'destination_type':'local','boot_index':0},{'uuid':'%s','source_type':'volume',"
                  "'destination_type':'volume','boot_index':-1,'delete_on_termination':false}]",
                  volume);
    _cleanup_free_ char *id = server_new(c, "reef-db-0", port, more);
    assert_string_equal(port_text(c, port, "device_id"), id);
    assert_string_equal(port_text(c, port, "status"), "ACTIVE");

    assert_string_equal(status_of(c, id), "BUILD");
    assert_string_equal(cloud_text(c, "server.OS-EXT-STS:task_state"), "scheduling");
    assert_int_equal(call_server(c, "POST", id, "/action", "{'os-stop':null}"), 409);
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_true(json_is_null(json_at(c->answer, "server.OS-EXT-STS:task_state")));
    assert_string_equal(cloud_text(c, "server.metadata.atoll"), "reef");
    assert_string_equal(cloud_text(c, "server.flavor.original_name"), "m1.small");
    /* user_data is for admin's eyes. */
    assert_null(json_at(c->answer, "server.OS-EXT-SRV-ATTR:user_data"));
    c->as = &c->admin;
    call_server(c, "GET", id, "", NULL);
    assert_string_equal(cloud_text(c, "server.OS-EXT-SRV-ATTR:user_data"), "IyEvYmluL3NoCg==");
    c->as = &c->user;
    const json_t *address = json_array_get(json_at(c->answer, "server.addresses.main"), 0);
    assert_string_equal(json_str(address, "addr"), "127.87.0.2");
    c->microversion = 46;
    call_server(c, "GET", id, "", NULL);
    assert_string_equal(cloud_text(c, "server.flavor.id"), "2");
    c->microversion = POCKET_COMPUTE_MINOR;

    assert_int_equal(call_server(c, "POST", id, "/action", "{'os-stop':null}"), 202);
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_string_equal(cloud_text(c, "server.OS-EXT-STS:task_state"), "powering-off");
    assert_string_equal(status_of(c, id), "SHUTOFF");
    assert_int_equal(call_server(c, "POST", id, "/action", "{'os-stop':null}"), 409);
    assert_non_null(strstr(cloud_text(c, "conflictingRequest.message"), "vm_state stopped"));
    assert_int_equal(call_server(c, "POST", id, "/action", "{'reboot':{'type':'SOFT'}}"), 409);
    assert_int_equal(call_server(c, "POST", id, "/action", "{'reboot':{'type':'HARD'}}"), 202);
    assert_string_equal(status_of(c, id), "HARD_REBOOT");
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_int_equal(call_server(c, "POST", id, "/action", "{'reboot':{'type':'warm'}}"), 400);
    assert_int_equal(call_server(c, "POST", id, "/action", "{'pause':null}"), 501);

    cloud_get(c, POCKET_CINDER, "/v3/volumes/detail");
    assert_string_equal(cloud_nth(c, "volumes", 0, "status"), "in-use");
    assert_int_equal(call_server(c, "DELETE", id, "", NULL), 204);
    assert_string_equal(port_text(c, port, "device_id"), "");
    cloud_get(c, POCKET_CINDER, "/v3/volumes/detail");
    assert_string_equal(cloud_nth(c, "volumes", 0, "status"), "available");
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_string_equal(cloud_text(c, "server.OS-EXT-STS:task_state"), "deleting");
    assert_string_equal(status_of(c, id), "404");
    assert_int_equal(cloud_get(c, A, "/v2.1/servers/detail"), 200);
    assert_int_equal(cloud_count(c, "servers"), 0);
}

static int act(Cloud *c, const char *id, const char *body)
{
    return call_server(c, "POST", id, "/action", body);
}

/* Status, vm_state, flavor, power, as one text; "" when a task is going on behind the status. */
static const char *shown(Cloud *c, const char *id)
{
    static char text[128];
    (void)status_of(c, id);
    (void)snprintf(text, sizeof text, "%s %s %s %d", cloud_text(c, "server.status"),
                   cloud_text(c, "server.OS-EXT-STS:vm_state"),
                   cloud_text(c, "server.flavor.original_name"),
                   (int)json_int(c->answer, "server.OS-EXT-STS:power_state", -1));
    return text;
}

/* As Zed was seen to do it. */
static void test_resize(void **state)
{
    Cloud *c = *state;
    c->p.settle_lists = 1;
    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    _cleanup_free_ char *id = server_new(c, "reef-web-0", port, "");
    assert_int_equal(act(c, id, "{'resize':{'flavorRef':'3'}}"), 409);
    (void)status_of(c, id);
    assert_string_equal(shown(c, id), "ACTIVE active m1.small 1");
    static const struct {
        const char *body;
        int status;
        const char *words;
    } rows[] = {
        {"{'resize':null}", 400, "resize"},
        {"{'resize':{}}", 400, "'flavorRef' is a required property"},
        {"{'resize':{'flavorRef':'3','colour':1}}", 400, "'colour' was unexpected"},
        {"{'resize':{'flavorRef':'99'}}", 400, "Flavor 99 could not be found."},
        {"{'resize':{'flavorRef':'2'}}", 400, "When resizing, instances must change flavor!"},
        {"{'confirmResize':null}", 409, "while it is in vm_state active"},
        {"{'revertResize':null}", 409, "while it is in vm_state active"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = act(c, id, rows[i].body);
        const char *words = json_str_or(c->answer, "badRequest.message",
                                        cloud_text(c, "conflictingRequest.message"));
        if (status != rows[i].status || !strstr(words, rows[i].words))
            fail_msg("%s: %d %s", rows[i].body, status, words);
    }
    assert_int_equal(act(c, id, "{'resize':{'flavorRef':'3'}}"), 202);
    assert_string_equal(shown(c, id), "RESIZE active m1.small 1");
    assert_int_equal(act(c, id, "{'os-stop':null}"), 409);
    assert_non_null(strstr(cloud_text(c, "conflictingRequest.message"), "task_state resize_prep"));
    assert_string_equal(shown(c, id), "VERIFY_RESIZE resized m1.medium 1");
    assert_int_equal(act(c, id, "{'os-stop':null}"), 409);
    assert_int_equal(act(c, id, "{'resize':{'flavorRef':'2'}}"), 409);
    cloud_get(c, A, "/v2.1/limits");
    assert_int_equal(json_int(c->answer, "limits.absolute.totalRAMUsed", 0), 4096);
    assert_int_equal(act(c, id, "{'confirmResize':null}"), 204);
    assert_int_equal(act(c, id, "{'confirmResize':null}"), 400);
    assert_string_equal(shown(c, id), "VERIFY_RESIZE resized m1.medium 1");
    assert_string_equal(shown(c, id), "ACTIVE active m1.medium 1");
    /* Back again, and of one that is shut down. */
    assert_int_equal(act(c, id, "{'os-stop':null}"), 202);
    (void)status_of(c, id);
    (void)status_of(c, id);
    assert_int_equal(act(c, id, "{'resize':{'flavorRef':'2'}}"), 202);
    assert_string_equal(shown(c, id), "RESIZE stopped m1.medium 4");
    assert_string_equal(shown(c, id), "VERIFY_RESIZE resized m1.small 4");
    assert_int_equal(act(c, id, "{'revertResize':null}"), 202);
    assert_string_equal(shown(c, id), "REVERT_RESIZE resized m1.small 4");
    assert_string_equal(shown(c, id), "SHUTOFF stopped m1.medium 4");
    /* Quotas ask for the difference only. */
    c->as = &c->admin;
    assert_int_equal(cloud_send(c, A, "PUT", "/v2.1/os-quota-sets/project-demo",
                                "{'quota_set':{'instances':1,'cores':3,'ram':8192}}"),
                     200);
    c->as = &c->user;
    assert_int_equal(act(c, id, "{'resize':{'flavorRef':'88597cff-9503-492c-b005-811056f26bd6'}}"),
                     403);
    assert_string_equal(cloud_text(c, "forbidden.message"),
                        "Quota exceeded for cores: Requested 2, but already used 2 of 3 cores");
    c->as = &c->admin;
    assert_int_equal(
        cloud_send(c, A, "PUT", "/v2.1/os-quota-sets/project-demo", "{'quota_set':{'ram':100}}"),
        400);
    assert_string_equal(cloud_text(c, "badRequest.message"),
                        "Quota limit 100 for ram must be greater than or equal to already used "
                        "and reserved 4096.");
    assert_int_equal(cloud_send(c, A, "PUT", "/v2.1/os-quota-sets/project-demo",
                                "{'quota_set':{'ram':100,'force':true}}"),
                     200);
    assert_int_equal(
        cloud_send(c, A, "PUT", "/v2.1/os-quota-sets/project-demo", "{'quota_set':{'ram':8192}}"),
        200);
    c->as = &c->user;
    /* No host has room: Nova has promised, and the server stays as it was. */
    assert_int_equal(act(c, id, "{'resize':{'flavorRef':'0f6a3c55-8d0b-4f0e-9d1f-9b1f0a1d7e00'}}"),
                     202);
    assert_string_equal(shown(c, id), "RESIZE stopped m1.medium 4");
    assert_string_equal(shown(c, id), "SHUTOFF stopped m1.medium 4");
}

static void test_rebuild(void **state)
{
    Cloud *c = *state;
    c->p.settle_lists = 1;
    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    _cleanup_free_ char *id = server_new(c, "x", port, ",'user_data':'IyEvYmluL3NoCg=='");
    (void)status_of(c, id);
    (void)status_of(c, id);
    static const struct {
        const char *body;
        int microversion, status;
        const char *words;
    } rows[] = {
        {"{'rebuild':{}}", 93, 400, "'imageRef' is a required property"},
        {"{'rebuild':{'imageRef':'none'}}", 93, 400, "Cannot find image for rebuild"},
        {"{'rebuild':{'imageRef':'image-1','colour':1}}", 93, 400, "'colour' was unexpected"},
        {"{'rebuild':{'imageRef':'image-1','user_data':'eA=='}}", 56, 400, "'user_data' was"},
        {"{'rebuild':{'imageRef':'image-1','name':''}}", 93, 400, "name"},
        {"{'rebuild':{'imageRef':'image-1','key_name':'none'}}", 93, 400, "key_name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        c->microversion = rows[i].microversion;
        int status = act(c, id, rows[i].body);
        if (status != rows[i].status || !strstr(cloud_text(c, "badRequest.message"), rows[i].words))
            fail_msg("%s: %d %s", rows[i].body, status, cloud_text(c, "badRequest.message"));
    }
    c->microversion = POCKET_COMPUTE_MINOR;
    assert_int_equal(act(c, id, "{'rebuild':{'imageRef':'image-1','metadata':{'a':'b'}}}"), 202);
    assert_string_equal(cloud_text(c, "server.status"), "REBUILD");
    assert_string_equal(cloud_text(c, "server.user_data"), "IyEvYmluL3NoCg==");
    assert_string_equal(cloud_text(c, "server.metadata.a"), "b");
    assert_int_not_equal(strlen(cloud_text(c, "server.adminPass")), 0);
    assert_non_null(header_of(&c->headers, "Location"));
    assert_int_equal(act(c, id, "{'rebuild':{'imageRef':'image-1'}}"), 409);
    assert_string_equal(shown(c, id), "REBUILD active m1.small 1");
    assert_string_equal(shown(c, id), "ACTIVE active m1.small 1");
    assert_int_equal(act(c, id, "{'rebuild':{'imageRef':'image-1','user_data':null}}"), 202);
    assert_true(json_is_null(json_at(c->answer, "server.user_data")));
    c->microversion = 74;
    assert_int_equal(act(c, id, "{'rebuild':{'imageRef':'image-1'}}"), 409);
    c->microversion = POCKET_COMPUTE_MINOR;
}

static void test_lists(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *network = network_new(c);
    static const char *const names[] = {"reef-web-0", "reef-web-1", "lagoon-web-0"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_free_ char *port = port_new(c, network);
        free(server_new(c, names[i], port, i < 2 ? ",'tags':['reef','web']" : ",'tags':['web']"));
    }
    static const struct {
        const char *query;
        int microversion, want;
    } rows[] = {
        {"", 0, 3},
        {"tags=reef", 0, 2},
        {"tags=reef,web", 0, 2},
        {"tags-any=reef,web", 0, 3},
        {"not-tags=reef", 0, 1},
        {"not-tags-any=reef,web", 0, 0},
        {"tags=reef", 25, 3}, /* not known yet: ignored */
        {"name=web-0", 0, 2},
        {"name=%5Ereef", 0, 2},
        {"name=REEF-WEB-0%24", 0, 1},
        {"name=%5B", 0, -400},
        {"status=active", 0, 3},
        {"status=ERROR", 0, 0},
        {"flavor=2", 0, 3},
        {"colour=red", 74, 3},
        {"colour=red", 75, -400},
        {"limit=1", 0, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_free_ char *path = xasprintf("/v2.1/servers/detail?%s", rows[i].query);
        c->microversion = rows[i].microversion ? rows[i].microversion : POCKET_COMPUTE_MINOR;
        int status = cloud_get(c, A, path);
        int got = status == 200 ? (int)cloud_count(c, "servers") : -status;
        if (got != rows[i].want)
            fail_msg("%s at 2.%d: %d, not %d", rows[i].query, c->microversion, got, rows[i].want);
    }
    c->microversion = POCKET_COMPUTE_MINOR;
    cloud_get(c, A, "/v2.1/servers?limit=2");
    assert_string_equal(cloud_nth(c, "servers", 0, "name"), "lagoon-web-0"); /* newest first */
    _cleanup_free_ char *next = xstrdup(strstr(cloud_nth(c, "servers_links", 0, "href"), "/v2.1"));
    cloud_get(c, A, next);
    assert_int_equal(cloud_count(c, "servers"), 1);
    assert_string_equal(cloud_nth(c, "servers", 0, "name"), "reef-web-0");
    c->as = &c->other;
    cloud_get(c, A, "/v2.1/servers?all_tenants=1");
    assert_int_equal(cloud_count(c, "servers"), 0);
}

static void test_quota(void **state)
{
    Cloud *c = *state;
    static const struct {
        const char *quota, *words;
    } rows[] = {
        {"{'quota_set':{'instances':0}}",
         "Quota exceeded for instances: Requested 1, but already used 0 of 0 instances"},
        {"{'quota_set':{'instances':5,'ram':2000}}",
         "Quota exceeded for ram: Requested 2048, but already used 0 of 2000 ram"},
        {"{'quota_set':{'cores':0}}",
         "Quota exceeded for cores, ram: Requested 1, 2048, but already used 0, 0 of 0, 2000 "
         "cores, ram"},
    };
    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        c->as = &c->admin;
        assert_int_equal(
            cloud_send(c, A, "PUT", "/v2.1/os-quota-sets/project-demo", "%s", rows[i].quota), 200);
        c->as = &c->user;
        assert_int_equal(cloud_send(c, A, "POST", "/v2.1/servers",
                                    "{'server':{'name':'x','flavorRef':'2','imageRef':'image-1',"
                                    "'networks':[{'port':'%s'}]}}",
                                    port),
                         403);
        assert_string_equal(cloud_text(c, "forbidden.message"), rows[i].words);
    }
    assert_int_equal(cloud_get(c, A, "/v2.1/os-quota-sets/project-demo/detail"), 200);
    assert_int_equal(json_int(c->answer, "quota_set.instances.limit", 0), 5);
    assert_int_equal(cloud_get(c, A, "/v2.1/limits"), 200);
    assert_int_equal(json_int(c->answer, "limits.absolute.maxTotalRAMSize", 0), 2000);
}

/* No host fits: the server is there, in ERROR, and its port is free. */
static void test_fault(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    cloud_get(c, A, "/v2.1/flavors");
    const char *flavor = cloud_nth(c, "flavors", cloud_count(c, "flavors") - 1, "id");
    _cleanup_free_ char *id =
        cloud_make(c, A, "/v2.1/servers", "server",
                   "{'server':{'name':'x','flavorRef':'%s','imageRef':'image-1',"
                   "'networks':[{'port':'%s'}]}}",
                   flavor, port);
    assert_string_equal(status_of(c, id), "ERROR");
    assert_non_null(strstr(cloud_text(c, "server.fault.message"), "No valid host"));
    assert_string_equal(port_text(c, port, "device_id"), "");
    assert_int_equal(call_server(c, "DELETE", id, "", NULL), 204);
    assert_string_equal(status_of(c, id), "404");
}

static void test_labels(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    _cleanup_free_ char *id = server_new(c, "x", port, ",'metadata':{'a':'1'}");
    assert_int_equal(call_server(c, "POST", id, "/metadata", "{'metadata':{'b':'2'}}"), 409);
    assert_int_equal(call_server(c, "DELETE", id, "/metadata/a", NULL), 409);
    assert_string_equal(status_of(c, id), "ACTIVE");
    assert_int_equal(call_server(c, "POST", id, "/metadata", "{'metadata':{'b':'2'}}"), 200);
    assert_string_equal(cloud_text(c, "metadata.a"), "1");
    assert_string_equal(cloud_text(c, "metadata.b"), "2");
    assert_int_equal(call_server(c, "PUT", id, "/metadata", "{'metadata':{'c':'3'}}"), 200);
    assert_null(json_at(c->answer, "metadata.a"));
    assert_int_equal(call_server(c, "POST", id, "/metadata", "{'metadata':{'b':2}}"), 400);
    assert_int_equal(call_server(c, "DELETE", id, "/metadata/c", NULL), 204);
    assert_int_equal(call_server(c, "DELETE", id, "/metadata/c", NULL), 404);
    assert_int_equal(call_server(c, "PUT", id, "/tags", "{'tags':['a','b']}"), 200);
    assert_int_equal(call_server(c, "PUT", id, "/tags/c", NULL), 201);
    assert_int_equal(call_server(c, "PUT", id, "/tags/c", NULL), 204);
    assert_int_equal(call_server(c, "GET", id, "/tags/d", NULL), 404);
    c->microversion = 25;
    assert_int_equal(call_server(c, "GET", id, "/tags", NULL), 404);
    c->microversion = POCKET_COMPUTE_MINOR;
    call_server(c, "GET", id, "", NULL);
    assert_int_equal(json_array_size(json_at(c->answer, "server.tags")), 3);
}

static void test_volumes(void **state)
{
    Cloud *c = *state;
    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    _cleanup_free_ char *id = server_new(c, "x", port, "");
    _cleanup_free_ char *volume =
        cloud_make(c, POCKET_CINDER, "/v3/volumes", "volume", "{'volume':{'size':1}}");
    _cleanup_free_ char *body = xasprintf("{'volumeAttachment':{'volumeId':'%s'}}", volume);
    _cleanup_free_ char *one = xasprintf("/os-volume_attachments/%s", volume);
    status_of(c, id);
    assert_int_equal(call_server(c, "POST", id, "/os-volume_attachments", body), 200);
    assert_string_equal(cloud_text(c, "volumeAttachment.device"), "/dev/vdb");
    assert_int_equal(call_server(c, "POST", id, "/os-volume_attachments", body), 400);
    assert_int_equal(call_server(c, "GET", id, "/os-volume_attachments", NULL), 200);
    assert_int_equal(cloud_count(c, "volumeAttachments"), 1);
    /* Another project's volume is not there. */
    c->as = &c->other;
    _cleanup_free_ char *theirs =
        cloud_make(c, POCKET_CINDER, "/v3/volumes", "volume", "{'volume':{'size':1}}");
    c->as = &c->user;
    _cleanup_free_ char *steal = xasprintf("{'volumeAttachment':{'volumeId':'%s'}}", theirs);
    assert_int_equal(call_server(c, "POST", id, "/os-volume_attachments", steal), 404);
    assert_int_equal(call_server(c, "DELETE", id, one, NULL), 202);
    assert_int_equal(call_server(c, "DELETE", id, one, NULL), 404);
}

static void test_groups_and_keys(void **state)
{
    Cloud *c = *state;
    assert_int_equal(cloud_send(c, A, "POST", "/v2.1/os-server-groups",
                                "{'server_group':{'name':'g','policies':['affinity']}}"),
                     400);
    _cleanup_free_ char *group =
        cloud_make(c, A, "/v2.1/os-server-groups", "server_group",
                   "{'server_group':{'name':'g','policy':'soft-anti-affinity'}}");
    c->microversion = 63;
    free(cloud_make(c, A, "/v2.1/os-server-groups", "server_group",
                    "{'server_group':{'name':'h','policies':['anti-affinity']}}"));
    cloud_get(c, A, "/v2.1/os-server-groups");
    assert_int_equal(cloud_count(c, "server_groups"), 2);
    assert_non_null(json_object_get(json_array_get(json_object_get(c->answer, "server_groups"), 0),
                                    "policies"));
    c->microversion = POCKET_COMPUTE_MINOR;
    cloud_get(c, A, "/v2.1/os-server-groups?limit=1&offset=1");
    assert_int_equal(cloud_count(c, "server_groups"), 1);
    assert_string_equal(cloud_nth(c, "server_groups", 0, "name"), "h");

    _cleanup_free_ char *network = network_new(c), *port = port_new(c, network);
    _cleanup_free_ char *id =
        cloud_make(c, A, "/v2.1/servers", "server",
                   "{'server':{'name':'x','flavorRef':'2','imageRef':'image-1',"
                   "'networks':[{'port':'%s'}]},'os:scheduler_hints':{'group':'%s'}}",
                   port, group);
    cloud_get(c, A, "/v2.1/os-server-groups");
    const json_t *members =
        json_object_get(json_array_get(json_object_get(c->answer, "server_groups"), 0), "members");
    assert_int_equal(json_array_size(members), 1);
    assert_string_equal(json_string_value(json_array_get(members, 0)), id);

    assert_int_equal(cloud_send(c, A, "POST", "/v2.1/os-keypairs",
                                "{'keypair':{'name':'k','public_key':'" KEY "'}}"),
                     201);
    assert_string_equal(cloud_text(c, "keypair.fingerprint"),
                        "c4:2a:95:1d:8e:8f:09:bd:a8:51:cc:23:5b:93:5e:30");
    assert_int_equal(cloud_send(c, A, "POST", "/v2.1/os-keypairs",
                                "{'keypair':{'name':'k','public_key':'" KEY "'}}"),
                     409);
    assert_int_equal(cloud_send(c, A, "POST", "/v2.1/os-keypairs",
                                "{'keypair':{'name':'l','public_key':'ssh-rsa AAAA'}}"),
                     400);
    cloud_get(c, A, "/v2.1/os-keypairs");
    assert_string_equal(cloud_nth(c, "keypairs", 0, "keypair.name"), "k");
    c->as = &c->other; /* keys belong to users */
    assert_int_equal(cloud_get(c, A, "/v2.1/os-keypairs/k"), 404);
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
        TEST(test_refused),         TEST(test_life),   TEST(test_resize),
        TEST(test_rebuild),         TEST(test_lists),  TEST(test_quota),
        TEST(test_fault),           TEST(test_labels), TEST(test_volumes),
        TEST(test_groups_and_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
