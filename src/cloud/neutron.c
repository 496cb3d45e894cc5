/* Neutron v2.0: networks, subnets, routers, ports, floating IPs. */
#include "cloud/kind.h"

static bool read_described(const Look *l, ResourceKind kind, const json_t *item, Resource *ret)
{
    return kind_read(l, kind, item, json_str_or(item, "description", ""), ret);
}

static json_t *named_new(const KindTask *t)
{
    return json_make_new("{s:s, s:s}", "name", t->want->name, "description", t->marker);
}

/* Network */

static json_t *network_body_new(const KindTask *t, Err *err)
{
    (void)err;
    return named_new(t);
}

static bool network_read(const Look *l, const json_t *item, Resource *ret)
{
    if (!read_described(l, RESOURCE_NETWORK, item, ret))
        return false;
    ret->attrs = json_object();
    return true;
}

const KindRow kind_network = {.service = CLOUD_NETWORK,
                              .singular = "network",
                              .collection = "/networks",
                              .body_new = network_body_new,
                              .read = network_read};

/* Subnet */

static json_t *subnet_body_new(const KindTask *t, Err *err)
{
    const json_t *a = t->want->attrs;
    const char *network = kind_attr_id(t, RESOURCE_NETWORK, "network", err);
    const char *gateway = json_str_or(a, "gateway", "");
    json_t *dns = json_object_get(a, "dns");

    if (!network)
        return NULL;
    json_t *body = named_new(t);
    json_object_set_new(body, "network_id", json_string(network));
    json_object_set_new(body, "ip_version", json_integer(4));
    json_object_set_new(body, "cidr", json_string(json_str_or(a, "cidr", "")));
    json_object_set_new(body, "gateway_ip", *gateway ? json_string(gateway) : json_null());
    json_object_set_new(body, "enable_dhcp", json_boolean(json_bool(a, "dhcp", true)));
    if (json_array_size(dns) > 0)
        json_object_set(body, "dns_nameservers", dns);
    return body;
}

static bool subnet_read(const Look *l, const json_t *item, Resource *ret)
{
    if (!read_described(l, RESOURCE_SUBNET, item, ret))
        return false;
    const json_t *dns = json_object_get(item, "dns_nameservers");
    json_t *servers = json_is_array(dns) ? json_copy((json_t *)(uintptr_t)dns) : json_array();
    ret->attrs = json_make_new(
        "{s:s, s:s, s:s, s:o, s:b}", "network", json_str_or(item, "network_id", ""), "cidr",
        json_str_or(item, "cidr", ""), "gateway", json_str_or(item, "gateway_ip", ""), "dns",
        servers, "dhcp", json_bool(item, "enable_dhcp", false));
    return true;
}

const KindRow kind_subnet = {.service = CLOUD_NETWORK,
                             .singular = "subnet",
                             .collection = "/subnets",
                             .body_new = subnet_body_new,
                             .read = subnet_read};

/* Router */

static json_t *router_body_new(const KindTask *t, Err *err)
{
    const char *external = json_str_or(t->want->attrs, "external", "");
    json_t *body = named_new(t);

    (void)err;
    if (*external)
        json_object_set_new(body, "external_gateway_info",
                            json_make_new("{s:s}", "network_id", external));
    return body;
}

static bool router_read(const Look *l, const json_t *item, Resource *ret)
{
    if (!read_described(l, RESOURCE_ROUTER, item, ret))
        return false;
    ret->attrs = json_make_new("{s:s}", "external",
                               json_str_or(item, "external_gateway_info.network_id", ""));
    return true;
}

const KindRow kind_router = {.service = CLOUD_NETWORK,
                             .singular = "router",
                             .collection = "/routers",
                             .body_new = router_body_new,
                             .read = router_read};

/* Ports, of servers and of router interfaces */

static const json_t *first_address(const json_t *port)
{
    return json_array_get(json_object_get(port, "fixed_ips"), 0);
}

/* With its network and a place in its subnet; NULL with *err. Of a network that is only used, the
 * want has the ids themselves; a router's interface is always on our own. */
static json_t *port_on_subnet_new(const KindTask *t, Err *err)
{
    bool foreign = t->kind == RESOURCE_PORT && json_bool(t->want->attrs, "foreign", false);
    const char *network = foreign ? json_str(t->want->attrs, "network")
                                  : kind_attr_id(t, RESOURCE_NETWORK, "network", err);
    const char *subnet = !network  ? NULL
                         : foreign ? json_str(t->want->attrs, "subnet")
                                   : kind_attr_id(t, RESOURCE_SUBNET, "subnet", err);
    const char *address = json_str_or(t->want->attrs, "address", "");

    if (!subnet)
        return NULL;
    json_t *body = named_new(t);
    json_t *place = json_make_new("{s:s}", "subnet_id", subnet);
    if (*address)
        json_object_set_new(place, "ip_address", json_string(address));
    json_object_set_new(body, "network_id", json_string(network));
    json_object_set_new(body, "fixed_ips", json_make_new("[o]", place));
    return body;
}

/* Without groups: rules are not applied to a router's port, and the project's default group, which
 * it would get, is shared with others. */
static json_t *interface_body_new(const KindTask *t, Err *err)
{
    json_t *body = port_on_subnet_new(t, err);
    if (body)
        json_object_set_new(body, "security_groups", json_array());
    return body;
}

/* A port of our own, since one that add_router_interface makes from a subnet has no marker
 * (traps.md). */
static int interface_call(const KindTask *t, Call *ret, Err *err)
{
    bool attach = t->verb == KIND_ATTACH;
    const char *router;

    if (!attach && t->verb != KIND_DETACH)
        return 1;
    router = json_str_or(attach ? t->want->attrs : t->have->attrs, "router", "");
    /* What is no key of ours is the id of a router that is only used. */
    const Resource *own = t->world ? world_find(t->world, RESOURCE_ROUTER, router, 0) : NULL;
    if (own && own->id)
        router = own->id;
    else if (attach ? !json_bool(t->want->attrs, "foreign", false) : !strchr(router, '-'))
        return err_set(err, ERR_BUG, "the router `%s` is not there yet", router);
    ret->body = json_make_new("{s:s}", "port_id", t->have->id);
    return kind_request(ret, CALL_IDEMPOTENT, "PUT", "/routers/%s/%s_router_interface", router,
                        attach ? "add" : "remove");
}

static bool interface_read(const Look *l, const json_t *item, Resource *ret)
{
    if (!read_described(l, RESOURCE_INTERFACE, item, ret))
        return false;
    const json_t *place = first_address(item);
    ret->attrs = json_make_new(
        "{s:s, s:s, s:s, s:s}", "network", json_str_or(item, "network_id", ""), "subnet",
        json_str_or(place, "subnet_id", ""), "address", json_str_or(place, "ip_address", ""),
        "router", json_str_or(item, "device_id", ""));
    ret->used = *json_str_or(item, "device_id", "") != '\0';
    return true;
}

const KindRow kind_interface = {.service = CLOUD_NETWORK,
                                .singular = "port",
                                .collection = "/ports",
                                .body_new = interface_body_new,
                                .call = interface_call,
                                .read = interface_read};

static json_t *port_groups_new(const KindTask *t, Err *err)
{
    _cleanup_json_ json_t *groups = json_array();
    const json_t *key;
    size_t i;

    json_array_foreach (json_object_get(t->want->attrs, "groups"), i, key) {
        const char *id = kind_id(t, RESOURCE_GROUP, json_string_value(key), err);
        if (!id)
            return NULL;
        json_array_append_new(groups, json_string(id));
    }
    return TAKE(groups);
}

static json_t *port_body_new(const KindTask *t, Err *err)
{
    json_t *groups = port_groups_new(t, err);
    json_t *body = groups ? port_on_subnet_new(t, err) : NULL;

    if (body)
        json_object_set_new(body, "security_groups", groups);
    else
        json_decref(groups);
    return body;
}

static int port_call(const KindTask *t, Call *ret, Err *err)
{
    if (t->verb != KIND_CHANGE)
        return 1;
    json_t *groups = port_groups_new(t, err);
    if (!groups)
        return -ERR_BUG;
    ret->body = json_make_new("{s:{s:o}}", "port", "security_groups", groups);
    return kind_request(ret, CALL_IDEMPOTENT, "PUT", "/ports/%s", t->have->id);
}

static bool port_read(const Look *l, const json_t *item, Resource *ret)
{
    if (!read_described(l, RESOURCE_PORT, item, ret))
        return false;
    const json_t *place = first_address(item);
    ret->attrs = json_make_new(
        "{s:s, s:s, s:o, s:s, s:s}", "network", json_str_or(item, "network_id", ""), "subnet",
        json_str_or(place, "subnet_id", ""), "groups",
        kind_texts_new(json_object_get(item, "security_groups"), ""), "address",
        json_str_or(place, "ip_address", ""), "device", json_str_or(item, "device_id", ""));
    ret->used = *json_str_or(item, "device_id", "") != '\0';
    return true;
}

const KindRow kind_port = {.service = CLOUD_NETWORK,
                           .singular = "port",
                           .collection = "/ports",
                           .body_new = port_body_new,
                           .call = port_call,
                           .read = port_read};

/* Floating IP: it has no name, and one an island; its key is always "main". */

static json_t *floating_ip_body_new(const KindTask *t, Err *err)
{
    (void)err;
    return json_make_new("{s:s, s:s}", "floating_network_id",
                         json_str_or(t->want->attrs, "external", ""), "description", t->marker);
}

static int floating_ip_call(const KindTask *t, Call *ret, Err *err)
{
    const char *port = NULL;

    if (t->verb != KIND_ATTACH && t->verb != KIND_DETACH)
        return 1;
    if (t->verb == KIND_ATTACH && !(port = kind_attr_id(t, RESOURCE_PORT, "port", err)))
        return -ERR_BUG;
    ret->body =
        json_make_new("{s:{s:o}}", "floatingip", "port_id", port ? json_string(port) : json_null());
    return kind_request(ret, CALL_IDEMPOTENT, "PUT", "/floatingips/%s", t->have->id);
}

static bool floating_ip_read(const Look *l, const json_t *item, Resource *ret)
{
    if (!kind_read(l, RESOURCE_FLOATING_IP, item, json_str_or(item, "description", ""), ret))
        return false;
    const char *port = json_str_or(item, "port_id", "");
    ret->attrs =
        json_make_new("{s:s, s:s, s:s}", "external", json_str_or(item, "floating_network_id", ""),
                      "port", port, "address", json_str_or(item, "floating_ip_address", ""));
    ret->used = *port != '\0';
    return true;
}

const KindRow kind_floating_ip = {.service = CLOUD_NETWORK,
                                  .singular = "floatingip",
                                  .collection = "/floatingips",
                                  .body_new = floating_ip_body_new,
                                  .call = floating_ip_call,
                                  .read = floating_ip_read};
