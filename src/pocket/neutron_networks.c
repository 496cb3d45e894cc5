/* Networks and subnets. */
#include "pocket/neutron.h"
#include "pocket/neutron_address.h"
#include <inttypes.h>

static const NeutronAttr network_attrs[] = {
    {"name", ATTR_TEXT, ON_BOTH, "\"\""},
    {"description", ATTR_TEXT, ON_BOTH, "\"\""},
    {"admin_state_up", ATTR_BOOL, ON_BOTH, "true"},
    {"shared", ATTR_BOOL, ON_BOTH | BY_ADMIN, "false"},
    {"router:external", ATTR_BOOL, ON_BOTH | BY_ADMIN, "false"},
    {"is_default", ATTR_BOOL, ON_BOTH | BY_ADMIN, "false"},
    {"port_security_enabled", ATTR_BOOL, ON_BOTH, "true"},
    {"mtu", ATTR_INT, ON_BOTH, "1500"},
    {"dns_domain", ATTR_TEXT, ON_BOTH, "\"\""},
    {"availability_zone_hints", ATTR_LIST, ON_POST, "[]"},
    {0},
};
static const NeutronAttr subnet_attrs[] = {
    {"name", ATTR_TEXT, ON_BOTH, "\"\""},
    {"description", ATTR_TEXT, ON_BOTH, "\"\""},
    {"network_id", ATTR_ID, ON_POST | NEEDED, NULL},
    {"ip_version", ATTR_INT, ON_POST | NEEDED, NULL},
    {"cidr", ATTR_TEXT, ON_POST | NEEDED, NULL},
    {"gateway_ip", ATTR_TEXT, ON_BOTH | OR_NULL, NULL},
    {"allocation_pools", ATTR_LIST, ON_BOTH, NULL},
    {"enable_dhcp", ATTR_BOOL, ON_BOTH, "true"},
    {"dns_nameservers", ATTR_LIST, ON_BOTH, "[]"},
    {"host_routes", ATTR_LIST, ON_BOTH, "[]"},
    {"service_types", ATTR_LIST, ON_BOTH, "[]"},
    {"ipv6_address_mode", ATTR_TEXT, ON_POST | OR_NULL, "null"},
    {"ipv6_ra_mode", ATTR_TEXT, ON_POST | OR_NULL, "null"},
    {"subnetpool_id", ATTR_ID, ON_POST | OR_NULL, "null"},
    {0},
};
static const char *const network_filters[] = {"subnets", NULL};

static bool network_create(_unused_ Pocket *p, _unused_ const PocketCall *c,
                           _unused_ const json_t *in, json_t *row, _unused_ PocketReply *r)
{
    row_text(row, "status", "ACTIVE");
    json_object_set_new(row, "availability_zones", json_make_new("[s]", "nova"));
    return true;
}

static void network_view(Pocket *p, json_t *row)
{
    _cleanup_json_ json_t *subnets = store_list_new(p->store, kind_subnet.name, NULL);
    json_t *ids = json_array();
    size_t i;
    json_t *s;
    json_array_foreach (subnets, i, s) {
        if (streq(row_get(s, "network_id"), row_get(row, "id")))
            json_array_append(ids, json_object_get(s, "id"));
    }
    json_object_set_new(row, "subnets", ids);
    json_object_set_new(row, "ipv4_address_scope", json_null());
    json_object_set_new(row, "ipv6_address_scope", json_null());
}

static bool network_shared(_unused_ Pocket *p, const json_t *row)
{
    return json_bool(row, "shared", false) || json_is_true(json_object_get(row, "router:external"));
}

bool neutron_network_external(Pocket *p, const char *id)
{
    _cleanup_json_ json_t *row = store_get_new(p->store, kind_network.name, id);
    return json_is_true(json_object_get(row, "router:external"));
}

static bool network_remove(Pocket *p, _unused_ const PocketCall *c, const json_t *row,
                           PocketReply *r)
{
    const char *id = row_get(row, "id");
    _cleanup_json_ json_t *ports = store_list_new(p->store, kind_port.name, NULL);
    _cleanup_json_ json_t *subnets = store_list_new(p->store, kind_subnet.name, NULL);
    size_t i;
    json_t *item;
    json_array_foreach (ports, i, item) {
        if (!streq(row_get(item, "network_id"), id))
            continue;
        neutron_fail(r, 409, "NetworkInUse",
                     "Unable to complete operation on network %s. There are one or more ports "
                     "still in use on the network, id for these ports is %s.",
                     id, row_get(item, "id"));
        return false;
    }
    json_array_foreach (subnets, i, item) {
        if (streq(row_get(item, "network_id"), id))
            (void)store_delete(p->store, kind_subnet.name, row_get(item, "id"));
    }
    return true;
}

const NeutronKind kind_network = {
    .name = "network",
    .plural = "networks",
    .path = "networks",
    .first_revision = 1,
    .missing = "NetworkNotFound",
    .missing_before = "Network ",
    .missing_after = " could not be found.",
    .attrs = network_attrs,
    .filters = network_filters,
    .tagged = true,
    .create = network_create,
    .remove = network_remove,
    .view = network_view,
    .shared = network_shared,
};

static bool bad_subnet(PocketReply *r, const char *words, const char *value)
{
    neutron_fail(r, 400, "InvalidInput", "Invalid input for operation: %s: %s.", words, value);
    return false;
}

static bool overlaps(Pocket *p, const char *network, Cidr cidr)
{
    _cleanup_json_ json_t *subnets = store_list_new(p->store, kind_subnet.name, NULL);
    size_t i;
    json_t *s;
    json_array_foreach (subnets, i, s) {
        Cidr other;
        if (streq(row_get(s, "network_id"), network) && cidr_parse(row_get(s, "cidr"), &other) &&
            cidr_overlap(cidr, other))
            return true;
    }
    return false;
}

/* What the client gave, or all hosts but the gateway. */
static bool set_pools(json_t *row, Cidr cidr, PocketReply *r)
{
    uint32_t gateway, first, last;
    if (!address_parse(row_get(row, "gateway_ip"), &gateway))
        gateway = 0; /* null: none is kept free */
    const json_t *given = json_object_get(row, "allocation_pools");
    size_t i;
    json_t *pool;
    json_array_foreach (given, i, pool) {
        if (!address_parse(json_str(pool, "start"), &first) ||
            !address_parse(json_str(pool, "end"), &last) || first > last ||
            !cidr_has(cidr, first) || !cidr_has(cidr, last))
            return bad_subnet(r, "The allocation pool spans beyond the subnet cidr",
                              row_get(row, "cidr"));
        if (gateway >= first && gateway <= last) {
            neutron_fail(r, 409, "GatewayConflictWithAllocationPools",
                         "Gateway ip %s conflicts with allocation pool %s-%s.",
                         row_get(row, "gateway_ip"), json_str(pool, "start"),
                         json_str(pool, "end"));
            return false;
        }
    }
    if (given)
        return true;
    AddressRanges pools = {0};
    cidr_pools(cidr, gateway, &pools);
    json_t *list = json_array();
    char a[ADDRESS_TEXT_MAX], b[ADDRESS_TEXT_MAX];
    for (i = 0; i < pools.len; i++)
        json_array_append_new(list, json_make_new("{s:s, s:s}", "start",
                                                  address_text(pools.items[i].first, a), "end",
                                                  address_text(pools.items[i].last, b)));
    vec_clear(&pools);
    json_object_set_new(row, "allocation_pools", list);
    return true;
}

static bool set_gateway(const json_t *in, json_t *row, Cidr cidr, PocketReply *r)
{
    char text[ADDRESS_TEXT_MAX];
    uint32_t gateway;
    const json_t *given = json_object_get(in, "gateway_ip");
    if (!given) {
        row_text(row, "gateway_ip", address_text(cidr.base + (cidr.bits < 31 ? 1 : 0), text));
        return true;
    }
    if (json_is_null(given))
        return true;
    if (address_parse(row_get(row, "gateway_ip"), &gateway) && cidr_has(cidr, gateway))
        return true;
    return bad_subnet(r, "Gateway is not valid on subnet", row_get(row, "gateway_ip"));
}

static bool addresses_valid(const json_t *row, PocketReply *r)
{
    size_t i;
    json_t *item;
    int family;
    json_array_foreach (json_object_get(row, "dns_nameservers"), i, item) {
        const char *s = json_string_value(item);
        if (!prefix_parse(s, &family) || strchr(s, '/'))
            return bad_subnet(r, "Error parsing dns address", s ? s : "");
    }
    return true;
}

/* A network inside 127.0.0.0/8 is refused by a real Neutron. Here it is what islands use: a
 * server's address is an address of loopback, where its programs can listen at once. */
static bool subnet_create(Pocket *p, const PocketCall *c, const json_t *in, json_t *row,
                          PocketReply *r)
{
    Cidr cidr;
    char text[ADDRESS_TEXT_MAX];
    const char *network = row_get(row, "network_id");
    if (json_int(row, "ip_version", 0) != 4)
        return bad_subnet(r, "The pocket cloud has subnets of IP version 4 only", "ip_version");
    if (!cidr_parse(row_get(row, "cidr"), &cidr)) {
        neutron_fail(r, 400, "InvalidInput",
                     "Invalid input for operation: %s is not in a CIDR format.",
                     row_get(row, "cidr"));
        return false;
    }
    row_text(row, "cidr", cidr_text(cidr, text));
    if (c) {
        _cleanup_json_ json_t *net = neutron_get_new(p, c, &kind_network, network, r);
        if (!net)
            return false;
        if (!row_own(c, net)) {
            neutron_fail(r, 403, "HTTPForbidden",
                         "Tenant %s not allowed to create subnet on this network",
                         c->user->project_id);
            return false;
        }
    }
    if (overlaps(p, network, cidr)) {
        neutron_fail(r, 400, "InvalidInput",
                     "Invalid input for operation: Requested subnet with cidr: %s for network: %s "
                     "overlaps with another subnet.",
                     text, network);
        return false;
    }
    return set_gateway(in, row, cidr, r) && set_pools(row, cidr, r) && addresses_valid(row, r);
}

static void subnet_created(Pocket *p, json_t *row)
{
    neutron_bump_id(p, &kind_network, row_get(row, "network_id"));
}

static bool subnet_update(Pocket *p, _unused_ const PocketCall *c, const json_t *in,
                          const json_t *row, json_t *next, PocketReply *r)
{
    Cidr cidr;
    BUG_IF(!cidr_parse(row_get(row, "cidr"), &cidr));
    if (json_object_get(in, "gateway_ip") && !set_gateway(in, next, cidr, r))
        return false;
    if (!set_pools(next, cidr, r) || !addresses_valid(next, r))
        return false;
    neutron_bump_id(p, &kind_network, row_get(row, "network_id"));
    return true;
}

static bool subnet_remove(Pocket *p, _unused_ const PocketCall *c, const json_t *row,
                          PocketReply *r)
{
    if (neutron_subnet_used(p, row_get(row, "id"))) {
        neutron_fail(r, 409, "SubnetInUse",
                     "Unable to complete operation on subnet %s: One or more ports have an IP "
                     "allocation from this subnet.",
                     row_get(row, "id"));
        return false;
    }
    neutron_bump_id(p, &kind_network, row_get(row, "network_id"));
    return true;
}

/* As its network, if that is shared; subnets of external networks stay the admin's. */
static bool subnet_shared(Pocket *p, const json_t *row)
{
    _cleanup_json_ json_t *net =
        store_get_new(p->store, kind_network.name, row_get(row, "network_id"));
    return json_bool(net, "shared", false);
}

const NeutronKind kind_subnet = {
    .name = "subnet",
    .plural = "subnets",
    .path = "subnets",
    .first_revision = 0,
    .missing = "SubnetNotFound",
    .missing_before = "Subnet ",
    .missing_after = " could not be found.",
    .attrs = subnet_attrs,
    .tagged = true,
    .create = subnet_create,
    .created = subnet_created,
    .update = subnet_update,
    .remove = subnet_remove,
    .shared = subnet_shared,
};
