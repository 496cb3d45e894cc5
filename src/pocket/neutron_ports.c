/* Ports: addresses, groups, binding to servers. */
#include "io/crypt.h"
#include "pocket/neutron.h"
#include "pocket/neutron_address.h"

static const NeutronAttr attrs[] = {
    {"name", ATTR_TEXT, ON_BOTH, "\"\""},
    {"description", ATTR_TEXT, ON_BOTH, "\"\""},
    {"network_id", ATTR_ID, ON_POST | NEEDED, NULL},
    {"admin_state_up", ATTR_BOOL, ON_BOTH, "true"},
    {"mac_address", ATTR_TEXT, ON_POST, NULL},
    {"fixed_ips", ATTR_LIST, ON_BOTH, NULL},
    {"device_id", ATTR_TEXT, ON_BOTH, "\"\""},
    {"device_owner", ATTR_TEXT, ON_BOTH, "\"\""},
    {"security_groups", ATTR_LIST, ON_BOTH | OR_NULL, NULL},
    {"allowed_address_pairs", ATTR_LIST, ON_BOTH | OR_NULL, "[]"},
    {"extra_dhcp_opts", ATTR_LIST, ON_BOTH | OR_NULL, "[]"},
    {"port_security_enabled", ATTR_BOOL, ON_BOTH, "true"},
    {"binding:vnic_type", ATTR_TEXT, ON_BOTH, "\"normal\""},
    {"binding:profile", ATTR_OBJECT, ON_BOTH | OR_NULL | BY_ADMIN, "{}"},
    {"binding:host_id", ATTR_TEXT, ON_BOTH | OR_NULL | BY_ADMIN, "\"\""},
    {"dns_name", ATTR_TEXT, ON_BOTH, "\"\""},
    {"tags", ATTR_LIST, ON_POST, "[]"},
    {0},
};
static const char *const filters[] = {"ip_allocation", NULL};

const char *neutron_fixed_address(const json_t *port)
{
    return row_get(json_array_get(json_object_get(port, "fixed_ips"), 0), "ip_address");
}

const char *neutron_fixed_subnet(const json_t *port)
{
    return row_get(json_array_get(json_object_get(port, "fixed_ips"), 0), "subnet_id");
}

/* Addresses of a subnet that ports have, but the one named. */
static void used_addresses(Pocket *p, const char *subnet, const char *but_port, Addresses *ret)
{
    _cleanup_json_ json_t *ports = store_list_new(p->store, kind_port.name, NULL);
    size_t i, j;
    json_t *port, *fixed;
    uint32_t a;
    json_array_foreach (ports, i, port) {
        if (streq(row_get(port, "id"), but_port))
            continue;
        json_array_foreach (json_object_get(port, "fixed_ips"), j, fixed) {
            if (streq(row_get(fixed, "subnet_id"), subnet) &&
                address_parse(row_get(fixed, "ip_address"), &a))
                vec_push(ret, a);
        }
    }
}

bool neutron_subnet_used(Pocket *p, const char *subnet)
{
    Addresses used = {0};
    used_addresses(p, subnet, NULL, &used);
    bool any = used.len > 0;
    vec_clear(&used);
    return any;
}

static void pools_of(const json_t *subnet, AddressRanges *ret)
{
    size_t i;
    json_t *pool;
    AddressRange range;
    json_array_foreach (json_object_get(subnet, "allocation_pools"), i, pool) {
        if (address_parse(row_get(pool, "start"), &range.first) &&
            address_parse(row_get(pool, "end"), &range.last))
            vec_push(ret, range);
    }
}

/* The lowest free address of the subnet's pools, or the one asked for (which may be outside the
 * pools; the gateway's address is for its router). */
static bool choose(Pocket *p, const json_t *subnet, const char *asked, const char *port_id,
                   uint32_t *ret, PocketReply *r)
{
    Cidr cidr;
    Addresses used = {0};
    const char *id = row_get(subnet, "id");
    bool ok = false;
    used_addresses(p, id, port_id, &used);
    BUG_IF(!cidr_parse(row_get(subnet, "cidr"), &cidr));
    if (!asked) {
        AddressRanges pools = {0};
        pools_of(subnet, &pools);
        ok = address_free(&pools, &used, ret);
        vec_clear(&pools);
        if (!ok)
            neutron_fail(r, 409, "IpAddressGenerationFailure",
                         "No more IP addresses available on network %s.",
                         row_get(subnet, "network_id"));
    } else if (!address_parse(asked, ret) || !cidr_has(cidr, *ret)) {
        neutron_fail(r, 400, "InvalidIpForSubnet",
                     "IP address %s is not a valid IP for the specified subnet.", asked);
    } else if (address_in(&used, *ret)) {
        neutron_fail(r, 409, "IpAddressAlreadyAllocated",
                     "IP address %s already allocated in subnet %s", asked, id);
    } else {
        ok = true;
    }
    vec_clear(&used);
    return ok;
}

static bool subnet_fits(const json_t *s, const char *network, const char *subnet,
                        const char *address)
{
    Cidr cidr;
    uint32_t a;
    if (!streq(row_get(s, "network_id"), network) || (subnet && !streq(subnet, row_get(s, "id"))))
        return false;
    if (subnet || !address)
        return true;
    return address_parse(address, &a) && cidr_parse(row_get(s, "cidr"), &cidr) && cidr_has(cidr, a);
}

/* The network's subnet by id, by an address in it, or just the first. NULL: there is none. */
static json_t *subnet_new(Pocket *p, const char *network, const char *subnet, const char *address)
{
    _cleanup_json_ json_t *subnets = store_list_new(p->store, kind_subnet.name, NULL);
    size_t i;
    json_t *s;
    json_array_foreach (subnets, i, s) {
        if (subnet_fits(s, network, subnet, address))
            return json_incref(s);
    }
    return NULL;
}

/* Appends one allocation to `fixed`. */
static bool allocate(Pocket *p, const char *network, const char *subnet, const char *address,
                     const char *port_id, json_t *fixed, PocketReply *r)
{
    uint32_t a;
    char text[ADDRESS_TEXT_MAX];
    _cleanup_json_ json_t *s = subnet_new(p, network, subnet, address);
    if (!s && subnet) {
        _cleanup_json_ json_t *other = store_get_new(p->store, kind_subnet.name, subnet);
        if (other)
            neutron_fail(r, 400, "InvalidInput",
                         "Invalid input for operation: Failed to create port on network %s, "
                         "because fixed_ips included invalid subnet %s.",
                         network, subnet);
        else
            neutron_fail(r, 404, "SubnetNotFound", "Subnet %s could not be found.", subnet);
        return false;
    }
    if (!s) {
        neutron_fail(r, 400, "InvalidIpForNetwork",
                     "IP address %s is not a valid IP for any of the subnets on the specified "
                     "network.",
                     address ? address : "");
        return false;
    }
    if (!choose(p, s, address, port_id, &a, r))
        return false;
    json_array_append_new(fixed, json_make_new("{s:s, s:s}", "subnet_id", row_get(s, "id"),
                                               "ip_address", address_text(a, text)));
    return true;
}

/* Turns what the client asked for into allocations; nothing asked: one of the first subnet. */
static bool set_fixed_ips(Pocket *p, json_t *row, const json_t *asked, PocketReply *r)
{
    const char *network = row_get(row, "network_id"), *id = row_get(row, "id");
    _cleanup_json_ json_t *fixed = json_array();
    size_t i;
    json_t *wish;
    if (!json_is_array(asked)) {
        _cleanup_json_ json_t *s = subnet_new(p, network, NULL, NULL);
        if (s && !allocate(p, network, row_get(s, "id"), NULL, id, fixed, r))
            return false;
    }
    json_array_foreach (asked, i, wish) {
        const char *subnet = json_str(wish, "subnet_id"), *address = json_str(wish, "ip_address");
        if (!subnet && !address) {
            neutron_fail(r, 400, "HTTPBadRequest", "Invalid input for fixed_ips.");
            return false;
        }
        if (!allocate(p, network, subnet, address, id, fixed, r))
            return false;
    }
    json_object_set(row, "fixed_ips", fixed);
    return true;
}

static bool set_groups(Pocket *p, const PocketCall *c, json_t *row, PocketReply *r)
{
    json_t *groups = json_object_get(row, "security_groups");
    size_t i;
    json_t *item;
    if (!json_is_array(groups)) {
        bool none = json_is_false(json_object_get(row, "port_security_enabled")) ||
                    starts_with(row_get(row, "device_owner"), "network:");
        _cleanup_free_ char *id =
            none ? NULL : neutron_default_group(p, row_get(row, "project_id"));
        json_object_set_new(row, "security_groups", id ? json_make_new("[s]", id) : json_array());
        return true;
    }
    json_array_foreach (groups, i, item) {
        const char *id = json_string_value(item);
        _cleanup_json_ json_t *group = neutron_get_new(p, c, &kind_group, id ? id : "", r);
        if (!group)
            return false;
    }
    return true;
}

static bool mac_used(Pocket *p, const char *network, const char *mac)
{
    _cleanup_json_ json_t *ports = store_list_new(p->store, kind_port.name, NULL);
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        if (streq(row_get(port, "network_id"), network) &&
            strcasecmp(row_get(port, "mac_address"), mac) == 0)
            return true;
    }
    return false;
}

static bool set_mac(Pocket *p, json_t *row, PocketReply *r)
{
    const char *network = row_get(row, "network_id"), *asked = json_str(row, "mac_address");
    if (asked && mac_used(p, network, asked)) {
        neutron_fail(r, 409, "MacAddressInUse",
                     "Unable to complete operation for network %s. The mac address %s is in use.",
                     network, asked);
        return false;
    }
    while (!json_str(row, "mac_address")) {
        unsigned char b[3];
        crypt_random(b, sizeof b);
        _cleanup_free_ char *mac = xasprintf("fa:16:3e:%02x:%02x:%02x", b[0], b[1], b[2]);
        if (!mac_used(p, network, mac))
            row_text(row, "mac_address", mac);
    }
    return true;
}

static bool port_create(Pocket *p, const PocketCall *c, const json_t *in, json_t *row,
                        PocketReply *r)
{
    _cleanup_json_ json_t *net =
        neutron_get_new(p, c, &kind_network, row_get(row, "network_id"), r);
    if (!net || !set_mac(p, row, r) ||
        !set_fixed_ips(p, row, json_object_get(in, "fixed_ips"), r) || !set_groups(p, c, row, r))
        return false;
    row_text(row, "status", "DOWN");
    /* Taken and dropped, as where no extension for tags at the creation is configured. */
    json_object_set_new(row, "tags", json_array());
    return true;
}

static bool port_update(Pocket *p, const PocketCall *c, const json_t *in, const json_t *row,
                        json_t *next, PocketReply *r)
{
    const json_t *fixed = json_object_get(in, "fixed_ips");
    if (fixed && !json_equal(fixed, json_object_get(row, "fixed_ips")) &&
        !set_fixed_ips(p, next, fixed, r))
        return false;
    return set_groups(p, c, next, r);
}

static bool port_remove(Pocket *p, _unused_ const PocketCall *c, const json_t *row, PocketReply *r)
{
    static const char *const routers[] = {"network:router_interface", "network:router_gateway",
                                          "network:floatingip"};
    for (size_t i = 0; i < ARRAY_LEN(routers); i++) {
        if (!streq(routers[i], row_get(row, "device_owner")))
            continue;
        neutron_fail(r, 409, "ServicePortInUse",
                     "Port %s cannot be deleted directly via the port API: has device owner %s.",
                     row_get(row, "id"), routers[i]);
        return false;
    }
    neutron_floating_release(p, row_get(row, "id"));
    return true;
}

static void port_view(_unused_ Pocket *p, json_t *row)
{
    json_object_set_new(row, "binding:vif_type", json_string("unbound"));
    json_object_set_new(row, "binding:vif_details", json_object());
    json_object_set_new(row, "qos_policy_id", json_null());
    json_object_set_new(row, "ip_allocation", json_string("immediate"));
    if (*row_get(row, "device_id"))
        json_object_set_new(row, "binding:vif_type", json_string("ovs"));
}

const NeutronKind kind_port = {
    .name = "port",
    .plural = "ports",
    .path = "ports",
    .first_revision = 1,
    .missing = "PortNotFound",
    .missing_before = "Port ",
    .missing_after = " could not be found.",
    .attrs = attrs,
    .filters = filters,
    .tagged = true,
    .create = port_create,
    .update = port_update,
    .remove = port_remove,
    .view = port_view,
};

json_t *neutron_port_new(Pocket *p, const PortWish *w, PocketReply *r)
{
    _cleanup_json_ json_t *in =
        json_make_new("{s:s, s:s, s:s, s:s}", "name", w->name ? w->name : "", "network_id",
                      w->network, "device_owner", w->owner, "device_id", w->device);
    row_text(in, "project_id", w->project);
    _cleanup_json_ json_t *row = neutron_row_new(p, NULL, &kind_port, in, r);
    _cleanup_json_ json_t *wish = NULL;
    if (w->subnet || w->address) {
        wish = json_make_new("[{}]");
        if (w->subnet)
            row_text(json_array_get(wish, 0), "subnet_id", w->subnet);
        if (w->address)
            row_text(json_array_get(wish, 0), "ip_address", w->address);
    }
    if (!row || !set_mac(p, row, r) || !set_fixed_ips(p, row, wish, r))
        return NULL;
    json_object_set_new(row, "security_groups",
                        w->groups ? json_deep_copy(w->groups) : json_array());
    row_text(row, "status", w->status);
    neutron_put(p, &kind_port, row);
    return TAKE(row);
}

json_t *neutron_ports_of_new(Pocket *p, const char *device, const char *owner)
{
    _cleanup_json_ json_t *ports = store_list_new(p->store, kind_port.name, NULL);
    json_t *out = json_array();
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        if (streq(row_get(port, "device_id"), device) &&
            (!owner || streq(row_get(port, "device_owner"), owner)))
            json_array_append(out, port);
    }
    return out;
}

void neutron_forget_port(Pocket *p, const char *port_id)
{
    neutron_floating_release(p, port_id);
    (void)store_delete(p->store, kind_port.name, port_id);
}

const char *neutron_port_address(Pocket *p, const char *port_id)
{
    static char address[ADDRESS_TEXT_MAX]; /* pocket's lock guards it */
    _cleanup_json_ json_t *port = store_get_new(p->store, kind_port.name, port_id);
    uint32_t a;
    return address_parse(neutron_fixed_address(port), &a) ? address_text(a, address) : NULL;
}

bool neutron_bind_port(Pocket *p, const char *port_id, const char *server_id)
{
    _cleanup_json_ json_t *port = store_get_new(p->store, kind_port.name, port_id);
    const char *device = row_get(port, "device_id");
    if (!port || (server_id && *device && !streq(device, server_id)))
        return false;
    row_text(port, "device_id", server_id ? server_id : "");
    row_text(port, "device_owner", server_id ? "compute:nova" : "");
    row_text(port, "binding:host_id", server_id ? "pocket" : "");
    row_text(port, "status", server_id ? "ACTIVE" : "DOWN");
    neutron_bump(p, &kind_port, port);
    return true;
}
