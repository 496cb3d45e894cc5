/* Security groups as nftables' rules. */
#include "pocket/netns.h"
#include "pocket/neutron.h"
#include <inttypes.h>

/* Protocols that nft knows by a word without asking a file. */
static bool protocol_known(const char *name)
{
    static const char *const names[] = {"tcp",  "udp",     "icmp", "sctp",
                                        "dccp", "udplite", "esp",  "ah"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (streq(names[i], name))
            return true;
    return *name && strspn(name, "0123456789") == strlen(name);
}

/* " ip saddr { 10.0.0.2, 10.0.0.3 }": addresses of the ports in that group. False: it has none. */
static bool add_members(Buf *b, const char *side, const char *group, const json_t *ports)
{
    size_t i, n = 0;
    json_t *port;
    json_array_foreach (ports, i, port) {
        const char *address = neutron_fixed_address(port);
        if (!*address || strchr(address, ':') ||
            !row_matches(json_object_get(port, "security_groups"), group))
            continue;
        if (n++ == 0)
            buf_printf(b, " ip %s { %s", side, address);
        else
            buf_printf(b, ", %s", address);
    }
    if (n > 0)
        buf_str(b, " }");
    return n > 0;
}

/* What the rule lets through, as a condition; false: nothing, or nothing that is here. */
static bool add_condition(Buf *b, const json_t *rule, bool in, const json_t *ports)
{
    char name[32];
    const char *protocol = neutron_protocol(json_object_get(rule, "protocol"), name);
    const char *prefix = row_get(rule, "remote_ip_prefix"), *side = in ? "saddr" : "daddr";
    const char *group = row_get(rule, "remote_group_id");
    int64_t min = json_int(rule, "port_range_min", -1), max = json_int(rule, "port_range_max", -1);
    if (!streq(row_get(rule, "ethertype"), "IPv4") || *row_get(rule, "remote_address_group_id") ||
        (*protocol && !protocol_known(protocol)))
        return false;
    if (*group && !add_members(b, side, group, ports))
        return false;
    if (*prefix && !ends_with(prefix, "/0"))
        buf_printf(b, " ip %s %s", side, prefix);
    if (!*protocol)
        return true;
    if (min < 0)
        buf_printf(b, " meta l4proto %s", protocol);
    else if (streq(protocol, "icmp"))
        buf_printf(b, " icmp type %" PRId64, min);
    else
        buf_printf(b, " %s dport %" PRId64 "-%" PRId64, protocol, min, max < 0 ? min : max);
    return true;
}

static void add_port(Buf *b, const NetnsPort *own, bool in, const json_t *rules,
                     const json_t *ports)
{
    const char *way = in ? "iifname" : "oifname";
    size_t i;
    json_t *rule;
    if (!json_bool(own->port, "port_security_enabled", true)) {
        buf_printf(b, "    %s \"%s\" accept\n", way, own->interface);
        return;
    }
    json_array_foreach (rules, i, rule) {
        _cleanup_(buf_clear) Buf condition = BUF_INIT(BUF_MAX_BODY);
        if (streq(row_get(rule, "direction"), in ? "ingress" : "egress") &&
            row_matches(json_object_get(own->port, "security_groups"),
                        row_get(rule, "security_group_id")) &&
            add_condition(&condition, rule, in, ports))
            buf_printf(b, "    %s \"%s\"%s accept\n", way, own->interface,
                       condition.len ? condition.p : "");
    }
}

void netns_rules(const NetnsPort *own, size_t n, const json_t *rules, const json_t *ports, Buf *ret)
{
    /* The first line is there so that the second finds something to delete. */
    buf_str(ret, "table inet pocket {}\ndelete table inet pocket\ntable inet pocket {\n");
    for (int in = 1; in >= 0; in--) {
        const char *hook = in ? "input" : "output";
        buf_printf(ret,
                   "  chain %s {\n    type filter hook %s priority 0; policy drop;\n"
                   "    %s \"lo\" accept\n    ct state established,related accept\n",
                   hook, hook, in ? "iif" : "oif");
        for (size_t i = 0; i < n; i++)
            add_port(ret, &own[i], in, rules, ports);
        buf_str(ret, "  }\n");
    }
    buf_str(ret, "}\n");
}
