/* Routers: their gateway and their interfaces. */
#include "pocket/neutron.h"
#include "pocket/neutron_address.h"

#define OWNER_INTERFACE "network:router_interface"
#define OWNER_GATEWAY "network:router_gateway"

static const NeutronAttr attrs[] = {
    {"name", ATTR_TEXT, ON_BOTH, "\"\""},
    {"description", ATTR_TEXT, ON_BOTH, "\"\""},
    {"admin_state_up", ATTR_BOOL, ON_BOTH, "true"},
    {"external_gateway_info", ATTR_OBJECT, ON_BOTH | OR_NULL, "null"},
    {"distributed", ATTR_BOOL, ON_BOTH | BY_ADMIN, "false"},
    {"ha", ATTR_BOOL, ON_BOTH | BY_ADMIN, "false"},
    {"routes", ATTR_LIST, ON_PUT | OR_NULL, "[]"},
    {"availability_zone_hints", ATTR_LIST, ON_POST, "[]"},
    {"flavor_id", ATTR_ID, ON_POST | OR_NULL, "null"},
    {0},
};

static bool bad_router(PocketReply *r, const char *words, const char *id)
{
    neutron_fail(r, 400, "BadRequest", "Bad router request: %s %s.", words, id);
    return false;
}

/* Gives the router an address on the external network and says so in external_gateway_info. */
static bool gateway_set(Pocket *p, json_t *row, const json_t *info, PocketReply *r)
{
    const char *network = row_get(info, "network_id");
    const json_t *wish = json_array_get(json_object_get(info, "external_fixed_ips"), 0);
    if (!neutron_network_external(p, network))
        return bad_router(r, "Network is not an external network:", network);
    /* The port is the cloud's, not the project's: nobody but admin sees it. */
    PortWish w = {.project = "",
                  .network = network,
                  .subnet = json_str(wish, "subnet_id"),
                  .address = json_str(wish, "ip_address"),
                  .owner = OWNER_GATEWAY,
                  .device = row_get(row, "id"),
                  .status = "ACTIVE"};
    _cleanup_json_ json_t *port = neutron_port_new(p, &w, r);
    if (!port)
        return false;
    json_object_set_new(row, "external_gateway_info",
                        json_make_new("{s:s, s:b, s:O}", "network_id", network, "enable_snat",
                                      json_bool(info, "enable_snat", true), "external_fixed_ips",
                                      json_object_get(port, "fixed_ips")));
    return true;
}

static void gateway_drop(Pocket *p, const char *router)
{
    _cleanup_json_ json_t *ports = neutron_ports_of_new(p, router, OWNER_GATEWAY);
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        neutron_forget_port(p, row_get(port, "id"));
    }
}

static bool router_create(Pocket *p, _unused_ const PocketCall *c, const json_t *in, json_t *row,
                          PocketReply *r)
{
    const json_t *info = json_object_get(in, "external_gateway_info");
    row_text(row, "status", "ACTIVE");
    json_object_set_new(row, "availability_zones", json_make_new("[s]", "nova"));
    if (json_object_size(info) > 0) {
        /* Neutron sets it in a second step, and counts that one and the port's. */
        json_object_set_new(row, "revision_number", json_integer(kind_router.first_revision + 2));
        return gateway_set(p, row, info, r);
    }
    json_object_set_new(row, "external_gateway_info", json_null());
    return true;
}

static bool router_update(Pocket *p, _unused_ const PocketCall *c, const json_t *in,
                          const json_t *row, json_t *next, PocketReply *r)
{
    const json_t *info = json_object_get(in, "external_gateway_info");
    const json_t *old = json_object_get(row, "external_gateway_info");
    const char *id = row_get(row, "id"), *network = row_get(info, "network_id");
    if (!info)
        return true;
    if (json_object_size(info) > 0 && streq(network, row_get(old, "network_id"))) {
        json_object_set_new(next, "external_gateway_info", json_deep_copy(old));
        return true;
    }
    if (json_is_object(old) && neutron_floating_uses(p, "router_id", id)) {
        neutron_fail(r, 409, "RouterExternalGatewayInUseByFloatingIp",
                     "Gateway cannot be updated for router %s, since a gateway to external network "
                     "%s is required by one or more floating IPs.",
                     id, row_get(old, "network_id"));
        return false;
    }
    gateway_drop(p, id);
    json_object_set_new(next, "external_gateway_info", json_null());
    return json_object_size(info) == 0 || gateway_set(p, next, info, r);
}

static bool router_remove(Pocket *p, _unused_ const PocketCall *c, const json_t *row,
                          PocketReply *r)
{
    const char *id = row_get(row, "id");
    _cleanup_json_ json_t *ports = neutron_ports_of_new(p, id, OWNER_INTERFACE);
    if (json_array_size(ports) > 0) {
        neutron_fail(r, 409, "RouterInUse", "Router %s has ports still attached: %s", id,
                     row_get(json_array_get(ports, 0), "id"));
        return false;
    }
    gateway_drop(p, id);
    return true;
}

const NeutronKind kind_router = {
    .name = "router",
    .plural = "routers",
    .path = "routers",
    .first_revision = 1,
    .missing = "RouterNotFound",
    .missing_before = "Router ",
    .missing_after = " could not be found",
    .attrs = attrs,
    .tagged = true,
    .create = router_create,
    .update = router_update,
    .remove = router_remove,
};

json_t *neutron_route_new(Pocket *p, const char *subnet, const char *external)
{
    _cleanup_json_ json_t *routers = store_list_new(p->store, kind_router.name, NULL);
    size_t i, j;
    json_t *router, *port;
    json_array_foreach (routers, i, router) {
        if (!streq(json_str(router, "external_gateway_info.network_id"), external))
            continue;
        _cleanup_json_ json_t *ports =
            neutron_ports_of_new(p, row_get(router, "id"), OWNER_INTERFACE);
        json_array_foreach (ports, j, port) {
            if (streq(neutron_fixed_subnet(port), subnet))
                return json_incref(router);
        }
    }
    return NULL;
}

/* Neither the same subnet twice nor one that overlaps another of the router's. */
static bool subnet_free(Pocket *p, const char *router, const json_t *subnet, PocketReply *r)
{
    _cleanup_json_ json_t *ports = neutron_ports_of_new(p, router, OWNER_INTERFACE);
    Cidr mine, other;
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        const char *id = neutron_fixed_subnet(port);
        if (streq(id, row_get(subnet, "id")))
            return bad_router(r, "Router already has a port on subnet", id);
        _cleanup_json_ json_t *s = store_get_new(p->store, kind_subnet.name, id);
        if (s && cidr_parse(row_get(s, "cidr"), &other) &&
            cidr_parse(row_get(subnet, "cidr"), &mine) && cidr_overlap(mine, other))
            return bad_router(r, "Cidr of the subnet overlaps with that of subnet", id);
    }
    return true;
}

static json_t *add_by_port_new(Pocket *p, const PocketCall *c, const json_t *router, PocketReply *r)
{
    const char *id = json_str_or(c->body, "port_id", "");
    _cleanup_json_ json_t *port = neutron_get_new(p, c, &kind_port, id, r);
    if (!port)
        return NULL;
    if (*row_get(port, "device_id")) {
        neutron_fail(r, 409, "PortInUse",
                     "Unable to complete operation on port %s for network %s. Port already has an "
                     "attached device %s.",
                     id, row_get(port, "network_id"), row_get(port, "device_id"));
        return NULL;
    }
    if (!*neutron_fixed_address(port)) {
        (void)bad_router(r, "A port needs a fixed address to be an interface:", id);
        return NULL;
    }
    _cleanup_json_ json_t *subnet =
        store_get_new(p->store, kind_subnet.name, neutron_fixed_subnet(port));
    if (!subnet_free(p, row_get(router, "id"), subnet, r))
        return NULL;
    row_text(port, "device_id", row_get(router, "id"));
    row_text(port, "device_owner", OWNER_INTERFACE);
    row_text(port, "status", "ACTIVE");
    neutron_bump(p, &kind_port, port);
    return TAKE(port);
}

static json_t *add_by_subnet_new(Pocket *p, const PocketCall *c, const json_t *router,
                                 PocketReply *r)
{
    const char *id = json_str_or(c->body, "subnet_id", "");
    _cleanup_json_ json_t *subnet = neutron_get_new(p, c, &kind_subnet, id, r);
    if (!subnet || !subnet_free(p, row_get(router, "id"), subnet, r))
        return NULL;
    if (!json_str(subnet, "gateway_ip")) {
        (void)bad_router(r, "Subnet for router interface must have a gateway IP:", id);
        return NULL;
    }
    const char *project = row_get(router, "project_id");
    if (!neutron_quota_left(p, &kind_port, project, 1, r))
        return NULL;
    PortWish w = {.project = project,
                  .network = row_get(subnet, "network_id"),
                  .subnet = id,
                  .address = row_get(subnet, "gateway_ip"),
                  .owner = OWNER_INTERFACE,
                  .device = row_get(router, "id"),
                  .status = "ACTIVE"};
    return neutron_port_new(p, &w, r);
}

static void interface_answer(const json_t *router, const json_t *port, PocketReply *r)
{
    r->status = 200;
    r->json =
        json_make_new("{s:s, s:s, s:s, s:s, s:s, s:[s]}", "id", row_get(router, "id"), "tenant_id",
                      row_get(router, "project_id"), "port_id", row_get(port, "id"), "network_id",
                      row_get(port, "network_id"), "subnet_id", neutron_fixed_subnet(port),
                      "subnet_ids", neutron_fixed_subnet(port));
}

/* The caller's own router, or NULL with a filled reply; also checks the body's shape. */
static json_t *router_of_new(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *router = neutron_get_new(p, c, &kind_router, c->args.items[0], r);
    if (!router)
        return NULL;
    if (json_str(c->body, "port_id") || json_str(c->body, "subnet_id"))
        return TAKE(router);
    (void)bad_router(r, "Either subnet_id or port_id must be specified:", row_get(router, "id"));
    return NULL;
}

void neutron_interface_add(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *router = router_of_new(p, c, r);
    if (!router)
        return;
    if (json_str(c->body, "port_id") && json_str(c->body, "subnet_id")) {
        (void)bad_router(r, "Cannot specify both subnet-id and port-id for router",
                         row_get(router, "id"));
        return;
    }
    _cleanup_json_ json_t *port = json_str(c->body, "port_id") ? add_by_port_new(p, c, router, r)
                                                               : add_by_subnet_new(p, c, router, r);
    if (!port)
        return;
    neutron_bump(p, &kind_router, router);
    interface_answer(router, port, r);
}

/* The router's interface that the body names. */
static json_t *interface_new(Pocket *p, const PocketCall *c, const char *router, PocketReply *r)
{
    const char *port_id = json_str(c->body, "port_id"), *subnet = json_str(c->body, "subnet_id");
    _cleanup_json_ json_t *ports = neutron_ports_of_new(p, router, OWNER_INTERFACE);
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        if ((!port_id || streq(port_id, row_get(port, "id"))) &&
            (!subnet || streq(subnet, neutron_fixed_subnet(port))))
            return json_incref(port);
    }
    if (port_id)
        neutron_fail(r, 404, "RouterInterfaceNotFound",
                     "Router %s does not have an interface with id %s", router, port_id);
    else
        neutron_fail(r, 404, "RouterInterfaceNotFoundForSubnet",
                     "Router %s has no interface on subnet %s", router, subnet);
    return NULL;
}

/* A floating IP whose server is on this subnet is reached through this interface. */
static bool interface_needed(Pocket *p, const char *router, const char *subnet)
{
    _cleanup_json_ json_t *list = store_list_new(p->store, kind_floating.name, NULL);
    size_t i;
    json_t *f;
    json_array_foreach (list, i, f) {
        if (!streq(row_get(f, "router_id"), router))
            continue;
        _cleanup_json_ json_t *port =
            store_get_new(p->store, kind_port.name, row_get(f, "port_id"));
        if (streq(neutron_fixed_subnet(port), subnet))
            return true;
    }
    return false;
}

void neutron_interface_remove(Pocket *p, const PocketCall *c, PocketReply *r)
{
    _cleanup_json_ json_t *router = router_of_new(p, c, r);
    if (!router)
        return;
    const char *id = row_get(router, "id");
    _cleanup_json_ json_t *port = interface_new(p, c, id, r);
    if (!port)
        return;
    const char *subnet = neutron_fixed_subnet(port);
    if (interface_needed(p, id, subnet)) {
        neutron_fail(r, 409, "RouterInterfaceInUseByFloatingIP",
                     "Router interface for subnet %s on router %s cannot be deleted, as it is "
                     "required by one or more floating IPs.",
                     subnet, id);
        return;
    }
    neutron_forget_port(p, row_get(port, "id"));
    neutron_bump(p, &kind_router, router);
    interface_answer(router, port, r);
}
