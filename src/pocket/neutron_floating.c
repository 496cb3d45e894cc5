/* Floating IPs, and what forwarding they ask for. */
#include "base/log.h"
#include "pocket/netns.h"
#include "pocket/neutron.h"
#include "pocket/neutron_forward.h"

static const NeutronAttr attrs[] = {
    {"description", ATTR_TEXT, ON_BOTH, "\"\""},
    {"floating_network_id", ATTR_ID, ON_POST | NEEDED, NULL},
    {"floating_ip_address", ATTR_TEXT, ON_POST | OR_NULL | BY_ADMIN, "null"},
    {"subnet_id", ATTR_ID, ON_POST | OR_NULL, "null"},
    {"port_id", ATTR_ID, ON_BOTH | OR_NULL, "null"},
    {"fixed_ip_address", ATTR_TEXT, ON_BOTH | OR_NULL, "null"},
    {"dns_name", ATTR_TEXT, ON_POST, "\"\""},
    {"dns_domain", ATTR_TEXT, ON_POST, "\"\""},
    {0},
};
static const char *const filters[] = {"router_id", NULL};

/* Frees it from its port. */
static void disassociate(json_t *row)
{
    row_text(row, "port_id", NULL);
    row_text(row, "fixed_ip_address", NULL);
    row_text(row, "router_id", NULL);
    row_text(row, "status", "DOWN");
}

bool neutron_floating_uses(Pocket *p, const char *key, const char *value)
{
    _cleanup_json_ json_t *list = store_list_new(p->store, kind_floating.name, NULL);
    size_t i;
    json_t *f;
    json_array_foreach (list, i, f) {
        if (streq(row_get(f, key), value))
            return true;
    }
    return false;
}

void neutron_floating_release(Pocket *p, const char *port_id)
{
    _cleanup_json_ json_t *list = store_list_new(p->store, kind_floating.name, NULL);
    size_t i;
    json_t *f;
    json_array_foreach (list, i, f) {
        if (!streq(row_get(f, "port_id"), port_id))
            continue;
        disassociate(f);
        neutron_bump(p, &kind_floating, f);
    }
}

/* An address that the port has: the one named or its first. */
static const char *port_address(const json_t *port, const char *named)
{
    size_t i;
    json_t *fixed;
    json_array_foreach (json_object_get(port, "fixed_ips"), i, fixed) {
        if (!named || streq(named, row_get(fixed, "ip_address")))
            return row_get(fixed, "ip_address");
    }
    return NULL;
}

static bool associate(Pocket *p, const PocketCall *c, json_t *row, PocketReply *r)
{
    const char *id = row_get(row, "port_id"), *external = row_get(row, "floating_network_id");
    _cleanup_json_ json_t *port = neutron_get_new(p, c, &kind_port, id, r);
    if (!port)
        return false;
    const char *fixed = port_address(port, json_str(row, "fixed_ip_address"));
    if (!fixed) {
        neutron_fail(r, 400, "BadRequest",
                     "Bad floatingip request: Cannot add floating IP to port %s that has no such "
                     "fixed IPv4 address.",
                     id);
        return false;
    }
    _cleanup_json_ json_t *router = neutron_route_new(p, neutron_fixed_subnet(port), external);
    if (!router) {
        neutron_fail(r, 404, "ExternalGatewayForFloatingIPNotFound",
                     "External network %s is not reachable from subnet %s.  Therefore, cannot "
                     "associate Port %s with a Floating IP.",
                     external, neutron_fixed_subnet(port), id);
        return false;
    }
    _cleanup_json_ json_t *list = store_list_new(p->store, kind_floating.name, NULL);
    size_t i;
    json_t *f;
    json_array_foreach (list, i, f) {
        if (!streq(row_get(f, "port_id"), id) || !streq(row_get(f, "fixed_ip_address"), fixed) ||
            streq(row_get(f, "id"), row_get(row, "id")))
            continue;
        neutron_fail(r, 409, "FloatingIPPortAlreadyAssociated",
                     "Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that "
                     "fixed IP already has a floating IP on external network %s.",
                     row_get(row, "floating_ip_address"), row_get(row, "id"), id, fixed, external);
        return false;
    }
    row_text(row, "fixed_ip_address", fixed);
    row_text(row, "router_id", row_get(router, "id"));
    row_text(row, "status", "ACTIVE");
    return true;
}

static bool floating_create(Pocket *p, const PocketCall *c, _unused_ const json_t *in, json_t *row,
                            PocketReply *r)
{
    const char *network = row_get(row, "floating_network_id");
    _cleanup_json_ json_t *net = neutron_get_new(p, c, &kind_network, network, r);
    if (!net)
        return false;
    if (!neutron_network_external(p, network)) {
        neutron_fail(r, 400, "BadRequest",
                     "Bad floatingip request: Network %s is not a valid external network.",
                     network);
        return false;
    }
    PortWish w = {.project = "",
                  .network = network,
                  .subnet = json_str(row, "subnet_id"),
                  .address = json_str(row, "floating_ip_address"),
                  .owner = "network:floatingip",
                  .device = row_get(row, "id"),
                  .status = "N/A"};
    _cleanup_json_ json_t *port = neutron_port_new(p, &w, r);
    if (!port)
        return false;
    row_text(row, "floating_ip_address", neutron_fixed_address(port));
    json_object_del(row, "subnet_id"); /* asked for, but no attribute of the result */
    if (json_str(row, "port_id"))
        return associate(p, c, row, r);
    disassociate(row);
    return true;
}

static bool floating_update(Pocket *p, const PocketCall *c, const json_t *in,
                            _unused_ const json_t *row, json_t *next, PocketReply *r)
{
    const json_t *port = json_object_get(in, "port_id");
    if (json_is_string(port)) {
        if (!json_object_get(in, "fixed_ip_address"))
            row_text(next, "fixed_ip_address", NULL);
        return associate(p, c, next, r);
    }
    /* A PUT of something else leaves the association alone, as since Newton. */
    if (json_is_null(port))
        disassociate(next);
    return true;
}

static bool floating_remove(Pocket *p, _unused_ const PocketCall *c, const json_t *row,
                            _unused_ PocketReply *r)
{
    _cleanup_json_ json_t *ports =
        neutron_ports_of_new(p, row_get(row, "id"), "network:floatingip");
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        (void)store_delete(p->store, kind_port.name, row_get(port, "id"));
    }
    return true;
}

static void floating_view(Pocket *p, json_t *row)
{
    json_t *details = json_null();
    _cleanup_json_ json_t *port = store_get_new(p->store, kind_port.name, row_get(row, "port_id"));
    if (port) {
        static const char *const keys[] = {"name",   "network_id", "mac_address", "admin_state_up",
                                           "status", "device_id",  "device_owner"};
        details = json_object();
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
            json_object_set(details, keys[i], json_object_get(port, keys[i]));
    }
    json_object_set_new(row, "port_details", details);
    json_object_set_new(row, "port_forwardings", json_array());
    json_object_set_new(row, "qos_policy_id", json_null());
}

const NeutronKind kind_floating = {
    .name = "floatingip",
    .plural = "floatingips",
    .path = "floatingips",
    .first_revision = 0,
    .missing = "FloatingIPNotFound",
    .missing_before = "Floating IP ",
    .missing_after = " could not be found",
    .attrs = attrs,
    .filters = filters,
    .tagged = true,
    .create = floating_create,
    .update = floating_update,
    .remove = floating_remove,
    .view = floating_view,
};

/* ---- forwarding */

static Forward *forward; /* pocket's lock guards it; one cloud a process */

/* A rule that lets the whole internet to one TCP port. */
static bool rule_opens(const json_t *rule, int *ret_port)
{
    char protocol[32];
    const char *prefix = row_get(rule, "remote_ip_prefix");
    int64_t min = json_int(rule, "port_range_min", -1);
    bool anywhere = streq(prefix, "0.0.0.0/0") || streq(prefix, "::/0") || !*prefix;
    if (!streq(row_get(rule, "direction"), "ingress") || !anywhere ||
        *row_get(rule, "remote_group_id") || min < 1 || min > 65535 ||
        min != json_int(rule, "port_range_max", -1) ||
        !streq(neutron_protocol(json_object_get(rule, "protocol"), protocol), "tcp"))
        return false;
    *ret_port = (int)min;
    return true;
}

static void add_route(ForwardRoutes *routes, const char *from, const char *to, int port)
{
    for (size_t i = 0; i < routes->len; i++)
        if (routes->items[i].port == port && streq(routes->items[i].from, from))
            return; /* the IPv4 and the IPv6 rule of one port */
    ForwardRoute route = {.port = port};
    (void)snprintf(route.from, sizeof route.from, "%s", from);
    (void)snprintf(route.to, sizeof route.to, "%s", to);
    vec_push(routes, route);
}

static void routes_of(Pocket *p, const json_t *floating, const json_t *rules, ForwardRoutes *routes)
{
    const char *from = row_get(floating, "floating_ip_address");
    const char *to = row_get(floating, "fixed_ip_address");
    /* Servers have addresses of loopback; a connection to any other address would leave this
     * machine for a stranger's, unless the servers' own networks are here. */
    if ((!p->namespaces && !starts_with(to, "127.")) || !starts_with(from, "127."))
        return;
    _cleanup_json_ json_t *port =
        store_get_new(p->store, kind_port.name, row_get(floating, "port_id"));
    size_t i;
    json_t *rule;
    int number;
    json_array_foreach (rules, i, rule) {
        if (row_matches(json_object_get(port, "security_groups"),
                        row_get(rule, "security_group_id")) &&
            rule_opens(rule, &number))
            add_route(routes, from, to, number);
    }
}

void neutron_forward_sync(Pocket *p)
{
    if (!p->servers_run)
        return;
    netns_sync(p);
    ForwardRoutes routes = {0};
    _cleanup_json_ json_t *list = store_list_new(p->store, kind_floating.name, NULL);
    _cleanup_json_ json_t *rules = store_list_new(p->store, kind_rule.name, NULL);
    size_t i;
    json_t *f;
    json_array_foreach (list, i, f) {
        if (json_str(f, "port_id"))
            routes_of(p, f, rules, &routes);
    }
    if (!forward && routes.len > 0) {
        _cleanup_(err_clear) Err err = {0};
        if (forward_open(&forward, &err) < 0) {
            (void)err_wrap(&err, "floating IPs are not forwarded");
            log_err(&err);
        }
    }
    if (forward)
        forward_set(forward, routes.items, routes.len);
    vec_clear(&routes);
}

void neutron_stop(_unused_ Pocket *p)
{
    forward = forward_close(forward);
}
