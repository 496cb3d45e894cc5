/* Security groups and their rules. */
#include "pocket/neutron.h"
#include "pocket/neutron_address.h"
#include <inttypes.h>

static const NeutronAttr group_attrs[] = {
    {"name", ATTR_TEXT, ON_BOTH, "\"\""},
    {"description", ATTR_TEXT, ON_BOTH, "\"\""},
    {"stateful", ATTR_BOOL, ON_BOTH, "true"},
    {0},
};
static const char *const group_filters[] = {"shared", NULL};
static const NeutronAttr rule_attrs[] = {
    {"description", ATTR_TEXT, ON_POST, "\"\""},
    {"security_group_id", ATTR_ID, ON_POST | NEEDED, NULL},
    {"direction", ATTR_TEXT, ON_POST | NEEDED, NULL},
    {"ethertype", ATTR_TEXT, ON_POST | OR_NULL, "\"IPv4\""},
    {"protocol", ATTR_ANY, ON_POST | OR_NULL, "null"},
    {"port_range_min", ATTR_INT, ON_POST | OR_NULL, "null"},
    {"port_range_max", ATTR_INT, ON_POST | OR_NULL, "null"},
    {"remote_ip_prefix", ATTR_TEXT, ON_POST | OR_NULL, "null"},
    {"remote_group_id", ATTR_ID, ON_POST | OR_NULL, "null"},
    {"remote_address_group_id", ATTR_ID, ON_POST | OR_NULL, "null"},
    {0},
};

/* Names that Neutron knows beside plain numbers (RFC 5237's registry). */
static const struct {
    const char *name;
    int number;
} protocols[] = {{"ah", 51},         {"dccp", 33},       {"egp", 8},        {"esp", 50},
                 {"gre", 47},        {"icmp", 1},        {"igmp", 2},       {"ipip", 4},
                 {"ospf", 89},       {"pgm", 113},       {"rsvp", 46},      {"sctp", 132},
                 {"tcp", 6},         {"udp", 17},        {"udplite", 136},  {"vrrp", 112},
                 {"icmpv6", 58},     {"ipv6-encap", 41}, {"ipv6-frag", 44}, {"ipv6-icmp", 58},
                 {"ipv6-nonxt", 59}, {"ipv6-opts", 60},  {"ipv6-route", 43}};

/* The number, -1 for any, -2 for what is no protocol. */
static int protocol_number(const json_t *protocol)
{
    int64_t n;
    const char *s = json_string_value(protocol);
    if (!protocol || json_is_null(protocol))
        return -1;
    if (json_is_integer(protocol))
        n = json_integer_value(protocol);
    else if (!s)
        return -2;
    else if (strcasecmp(s, "any") == 0)
        return -1;
    else if (!parse_int(s, 0, 255, &n)) {
        for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
            if (strcasecmp(protocols[i].name, s) == 0)
                return protocols[i].number;
        return -2;
    }
    return n >= 0 && n <= 255 ? (int)n : -2;
}

const char *neutron_protocol(const json_t *protocol, char out[static 32])
{
    int n = protocol_number(protocol);
    out[0] = 0;
    if (n < 0)
        return out;
    (void)snprintf(out, 32, "%d", n);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (protocols[i].number == n) {
            (void)snprintf(out, 32, "%s", protocols[i].name);
            break;
        }
    return out;
}

/* As Neutron compares: the description does not count, "from anywhere" has three spellings, a
 * protocol has a name and a number. */
char *neutron_rule_key(const json_t *rule)
{
    char protocol[32];
    const char *prefix = row_get(rule, "remote_ip_prefix");
    if (streq(prefix, "0.0.0.0/0") || streq(prefix, "::/0"))
        prefix = "";
    return xasprintf(
        "%s %s %s %s %" PRId64 " %" PRId64 " %s %s %s", row_get(rule, "security_group_id"),
        row_get(rule, "direction"), row_get(rule, "ethertype"),
        neutron_protocol(json_object_get(rule, "protocol"), protocol),
        json_int(rule, "port_range_min", -1), json_int(rule, "port_range_max", -1), prefix,
        row_get(rule, "remote_group_id"), row_get(rule, "remote_address_group_id"));
}

static json_t *rules_of_new(Pocket *p, const char *group)
{
    _cleanup_json_ json_t *rules = store_list_new(p->store, kind_rule.name, NULL);
    json_t *out = json_array();
    size_t i;
    json_t *rule;
    json_array_foreach (rules, i, rule) {
        if (streq(row_get(rule, "security_group_id"), group))
            json_array_append(out, rule);
    }
    return out;
}

/* ---- groups */

static void default_rule(Pocket *p, const json_t *group, const char *direction, const char *type,
                         bool from_itself)
{
    PocketReply ignored = {0};
    _cleanup_json_ json_t *in = json_make_new(
        "{s:s, s:s, s:s, s:s}", "security_group_id", row_get(group, "id"), "direction", direction,
        "ethertype", type, "project_id", row_get(group, "project_id"));
    if (from_itself)
        row_text(in, "remote_group_id", row_get(group, "id"));
    _cleanup_json_ json_t *row = neutron_row_new(p, NULL, &kind_rule, in, &ignored);
    BUG_IF(!row);
    neutron_put(p, &kind_rule, row);
}

static void group_created(Pocket *p, json_t *row)
{
    default_rule(p, row, "egress", "IPv4", false);
    default_rule(p, row, "egress", "IPv6", false);
}

char *neutron_default_group(Pocket *p, const char *project)
{
    _cleanup_json_ json_t *row = store_find_new(p->store, kind_group.name, project, "default");
    if (!row) {
        PocketReply ignored = {0};
        _cleanup_json_ json_t *in =
            json_make_new("{s:s, s:s, s:s}", "name", "default", "description",
                          "Default security group", "project_id", project);
        row = neutron_row_new(p, NULL, &kind_group, in, &ignored);
        BUG_IF(!row);
        neutron_put(p, &kind_group, row);
        group_created(p, row);
        default_rule(p, row, "ingress", "IPv4", true);
        default_rule(p, row, "ingress", "IPv6", true);
    }
    return xstrdup(row_get(row, "id"));
}

char *neutron_find_group(Pocket *p, const char *project, const char *id_or_name)
{
    if (streq(id_or_name, "default"))
        return neutron_default_group(p, project);
    _cleanup_json_ json_t *row = store_get_new(p->store, kind_group.name, id_or_name);
    if (!row || !streq(row_get(row, "project_id"), project)) {
        json_decref(row);
        row = store_find_new(p->store, kind_group.name, project, id_or_name);
    }
    return row ? xstrdup(row_get(row, "id")) : NULL;
}

static bool group_create(Pocket *p, _unused_ const PocketCall *c, _unused_ const json_t *in,
                         json_t *row, PocketReply *r)
{
    free(neutron_default_group(p, row_get(row, "project_id")));
    /* Its two rules for what goes out count too. */
    if (!streq(row_get(row, "name"), "default"))
        return neutron_quota_left(p, &kind_rule, row_get(row, "project_id"), 2, r);
    neutron_fail(r, 409, "SecurityGroupDefaultAlreadyExists",
                 "Default security group already exists.");
    return false;
}

static bool group_update(_unused_ Pocket *p, _unused_ const PocketCall *c, const json_t *in,
                         const json_t *row, _unused_ json_t *next, PocketReply *r)
{
    if (!streq(row_get(row, "name"), "default") || !json_object_get(in, "name"))
        return true;
    neutron_fail(r, 409, "SecurityGroupCannotUpdateDefault",
                 "Updating default security group not allowed.");
    return false;
}

static bool group_in_use(Pocket *p, const char *id)
{
    _cleanup_json_ json_t *ports = store_list_new(p->store, kind_port.name, NULL);
    size_t i;
    json_t *port;
    json_array_foreach (ports, i, port) {
        if (row_matches(json_object_get(port, "security_groups"), id))
            return true;
    }
    return false;
}

static bool group_remove(Pocket *p, const PocketCall *c, const json_t *row, PocketReply *r)
{
    const char *id = row_get(row, "id");
    if (streq(row_get(row, "name"), "default") && !row_admin(c)) {
        neutron_fail(r, 409, "SecurityGroupCannotRemoveDefault",
                     "Insufficient rights for removing default security group.");
        return false;
    }
    if (group_in_use(p, id)) {
        neutron_fail(r, 409, "SecurityGroupInUse", "Security Group %s in use.", id);
        return false;
    }
    /* Its rules, and those of others that let it in, go with it. */
    _cleanup_json_ json_t *rules = store_list_new(p->store, kind_rule.name, NULL);
    size_t i;
    json_t *rule;
    json_array_foreach (rules, i, rule) {
        if (streq(row_get(rule, "security_group_id"), id) ||
            streq(row_get(rule, "remote_group_id"), id))
            (void)store_delete(p->store, kind_rule.name, row_get(rule, "id"));
    }
    return true;
}

static void group_view(Pocket *p, json_t *row)
{
    json_object_set_new(row, "security_group_rules", rules_of_new(p, row_get(row, "id")));
    json_object_set_new(row, "shared", json_false());
}

const NeutronKind kind_group = {
    .name = "security_group",
    .plural = "security_groups",
    .path = "security-groups",
    .first_revision = 1,
    .missing = "SecurityGroupNotFound",
    .missing_before = "Security group ",
    .missing_after = " does not exist",
    .attrs = group_attrs,
    .filters = group_filters,
    .tagged = true,
    .create = group_create,
    .created = group_created,
    .update = group_update,
    .remove = group_remove,
    .view = group_view,
};

/* ---- rules */

static bool bad_rule(PocketReply *r, const char *type, const char *words)
{
    neutron_fail(r, 400, type, "%s", words);
    return false;
}

static bool ports_valid(const json_t *row, PocketReply *r)
{
    int64_t min = json_int(row, "port_range_min", -1), max = json_int(row, "port_range_max", -1);
    int protocol = protocol_number(json_object_get(row, "protocol"));
    if (min < 0 && max < 0)
        return true;
    if (protocol == -1)
        return bad_rule(r, "SecurityGroupProtocolRequiredWithPorts",
                        "Must also specify protocol if port range is given.");
    if (protocol == 1 || protocol == 58)
        return min <= 255 && max <= 255
                   ? true
                   : bad_rule(r, "SecurityGroupInvalidIcmpValue", "Invalid value for ICMP type.");
    if (min < 0 || max < 0 || min > max)
        return bad_rule(r, "SecurityGroupInvalidPortRange",
                        "For TCP/UDP protocols, port_range_min must be <= port_range_max");
    if (min < 1 || max > 65535)
        return bad_rule(r, "SecurityGroupInvalidPortValue", "Invalid value for port");
    return true;
}

static bool remote_valid(const json_t *row, PocketReply *r)
{
    const char *prefix = json_str(row, "remote_ip_prefix");
    int family;
    if (!prefix)
        return true;
    if (json_str(row, "remote_group_id"))
        return bad_rule(r, "SecurityGroupMultipleRemoteEntites", /* so it is spelled */
                        "Only one of remote_ip_prefix or remote_group_id or "
                        "remote_address_group_id may be provided.");
    if (!prefix_parse(prefix, &family))
        return bad_rule(r, "InvalidCIDR", "Invalid CIDR given as IP prefix.");
    if ((family == 4) != streq(row_get(row, "ethertype"), "IPv4")) {
        neutron_fail(r, 400, "SecurityGroupRuleParameterConflict",
                     "Conflicting value ethertype %s for CIDR %s", row_get(row, "ethertype"),
                     prefix);
        return false;
    }
    return true;
}

static bool rule_valid(json_t *row, PocketReply *r)
{
    const char *direction = row_get(row, "direction"), *type = row_get(row, "ethertype");
    json_t *protocol = json_object_get(row, "protocol");
    int number = protocol_number(protocol);
    if (!streq(direction, "ingress") && !streq(direction, "egress"))
        return bad_rule(r, "HTTPBadRequest",
                        "Invalid input for direction. Reason: not in ['ingress', 'egress'].");
    if (strcasecmp(type, "IPv4") != 0 && strcasecmp(type, "IPv6") != 0)
        return bad_rule(r, "SecurityGroupRuleInvalidEtherType",
                        "Security group rule for ethertype not supported. Allowed values are "
                        "IPv4 and IPv6.");
    row_text(row, "ethertype", strcasecmp(type, "IPv4") == 0 ? "IPv4" : "IPv6");
    if (number == -2)
        return bad_rule(r, "SecurityGroupRuleInvalidProtocol",
                        "Security group rule protocol not supported. Only protocol names and "
                        "integer representations [0 to 255] are supported.");
    if (number == -1) {
        json_object_set_new(row, "protocol", json_null());
    } else if (json_is_integer(protocol)) {
        _cleanup_free_ char *digits = xasprintf("%d", number);
        row_text(row, "protocol", digits);
    }
    return ports_valid(row, r) && remote_valid(row, r);
}

static bool rule_create(Pocket *p, const PocketCall *c, _unused_ const json_t *in, json_t *row,
                        PocketReply *r)
{
    if (!rule_valid(row, r))
        return false;
    const char *id = row_get(row, "security_group_id"), *remote = json_str(row, "remote_group_id");
    _cleanup_json_ json_t *group = neutron_get_new(p, c, &kind_group, id, r);
    _cleanup_json_ json_t *other =
        group && remote ? neutron_get_new(p, c, &kind_group, remote, r) : NULL;
    if (!group || (remote && !other))
        return false;
    _cleanup_json_ json_t *rules = rules_of_new(p, id);
    _cleanup_free_ char *key = neutron_rule_key(row);
    size_t i;
    json_t *rule;
    json_array_foreach (rules, i, rule) {
        _cleanup_free_ char *its = neutron_rule_key(rule);
        if (!streq(key, its))
            continue;
        neutron_fail(r, 409, "SecurityGroupRuleExists",
                     "Security group rule already exists. Rule id is %s.", row_get(rule, "id"));
        return false;
    }
    return true;
}

static void rule_created(Pocket *p, json_t *row)
{
    neutron_bump_id(p, &kind_group, row_get(row, "security_group_id"));
}

/* One group a request, and no rule twice in it. */
static bool rule_bulk(_unused_ Pocket *p, _unused_ const PocketCall *c, const json_t *many,
                      PocketReply *r)
{
    const char *group = row_get(json_array_get(many, 0), "security_group_id");
    StrList seen = {0};
    bool ok = true;
    size_t i;
    json_t *in;
    json_array_foreach (many, i, in) {
        _cleanup_json_ json_t *rule = json_is_object(in) ? json_deep_copy(in) : json_object();
        if (!json_str(rule, "ethertype"))
            row_text(rule, "ethertype", "IPv4");
        _cleanup_free_ char *key = neutron_rule_key(rule);
        if (!streq(row_get(rule, "security_group_id"), group)) {
            neutron_fail(r, 400, "SecurityGroupNotSingleGroupRules",
                         "Only allowed to update rules for one security profile at a time");
            ok = false;
            break;
        }
        if (strlist_has(&seen, key)) {
            neutron_fail(r, 409, "DuplicateSecurityGroupRuleInPost",
                         "Duplicate Security Group Rule in POST.");
            ok = false;
            break;
        }
        strlist_add(&seen, key);
    }
    strlist_clear(&seen);
    return ok;
}

static bool rule_remove(Pocket *p, _unused_ const PocketCall *c, const json_t *row,
                        _unused_ PocketReply *r)
{
    neutron_bump_id(p, &kind_group, row_get(row, "security_group_id"));
    return true;
}

const NeutronKind kind_rule = {
    .name = "security_group_rule",
    .plural = "security_group_rules",
    .path = "security-group-rules",
    .first_revision = 0,
    .missing = "SecurityGroupRuleNotFound",
    .missing_before = "Security group rule ",
    .missing_after = " does not exist",
    .attrs = rule_attrs,
    .create = rule_create,
    .created = rule_created,
    .bulk = rule_bulk,
    .remove = rule_remove,
};
