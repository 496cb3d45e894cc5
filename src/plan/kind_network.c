/* Networks, subnets, routers, their interfaces, ports, floating IPs, security groups.
 *
 * In what order they come and go: iac.md 3.1. */
#include "host/mail.h"
#include "host/spec.h"
#include "plan/kind.h"

#define STAY "put it back as it was; a new value needs a new island"

static bool on_network(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    return streq(json_str(r->attrs, "network"), with);
}

static bool on_subnet(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    return streq(json_str(r->attrs, "subnet"), with);
}

/* Network. */

static bool network_leave(Turn *t, const Resource *have)
{
    if (!turn_any(t, RESOURCE_SUBNET, on_network, have->key) &&
        !turn_any(t, RESOURCE_PORT, on_network, have->key) &&
        !turn_any(t, RESOURCE_INTERFACE, on_network, have->key))
        return false;
    turn_blocked(t, have, "something is still on the network");
    return true;
}

const PlanKind plan_network = {.leave = network_leave, .status = "ACTIVE"};

/* Subnet. */

static const char *subnet_blocked(const Turn *t, const Resource *want)
{
    return turn_ready(t, RESOURCE_NETWORK, json_str(want->attrs, "network"))
               ? NULL
               : "its network is not there";
}

static void subnet_differ(Turn *t, const Resource *want, const Resource *have)
{
    static const char *const attrs[] = {"cidr", "gateway", "dns", "dhcp"};

    for (size_t i = 0; i < ARRAY_LEN(attrs); i++) {
        if (!turn_same(t, want, have, attrs[i], STAY))
            return;
    }
}

static bool subnet_leave(Turn *t, const Resource *have)
{
    if (!turn_any(t, RESOURCE_PORT, on_subnet, have->key) &&
        !turn_any(t, RESOURCE_INTERFACE, on_subnet, have->key))
        return false;
    turn_blocked(t, have, "a port is still on the subnet");
    return true;
}

static void subnet_words(const Resource *r, Buf *out)
{
    buf_str(out, json_str(r->attrs, "cidr"));
}

const PlanKind plan_subnet = {.blocked = subnet_blocked,
                              .differ = subnet_differ,
                              .leave = subnet_leave,
                              .status = "",
                              .words = subnet_words};

/* Router. */

static void router_differ(Turn *t, const Resource *want, const Resource *have)
{
    (void)turn_same(t, want, have, "external", STAY);
}

static bool has_router(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    return streq(json_str(r->attrs, "router"), with);
}

static bool router_leave(Turn *t, const Resource *have)
{
    if (!turn_any(t, RESOURCE_INTERFACE, has_router, have->key))
        return false;
    turn_blocked(t, have, "a subnet still hangs on the router");
    return true;
}

const PlanKind plan_router = {.differ = router_differ, .leave = router_leave, .status = "ACTIVE"};

/* Router interface: a port of our own, then plugged into the router (traps.md). */

static const char *interface_blocked(const Turn *t, const Resource *want)
{
    return turn_ready(t, RESOURCE_SUBNET, json_str(want->attrs, "subnet"))
               ? NULL
               : "its subnet is not there";
}

static void interface_differ(Turn *t, const Resource *want, const Resource *have)
{
    const char *router = json_str_or(want->attrs, "router", "");
    const char *now = json_str_or(have->attrs, "router", "");

    if (!turn_same(t, want, have, "subnet", STAY) || !turn_same(t, want, have, "address", STAY))
        return;
    if (streq(router, now))
        return;
    if (now[0])
        turn_stuck(t, have, ERR_PARTIAL, "it hangs on the router %s, which is not the island's",
                   now);
    else if (!json_bool(want->attrs, "foreign", false) && !turn_ready(t, RESOURCE_ROUTER, router))
        turn_blocked(t, have, "its router is not there");
    else
        turn_step(t, KIND_ATTACH, have, NULL, "not on the router yet");
}

static bool has_port(const Turn *t, const Resource *r, const void *with)
{
    const char *port = json_str_or(r->attrs, "port", "");

    (void)t;
    return with ? streq(port, with) : port[0] != '\0';
}

static bool interface_leave(Turn *t, const Resource *have)
{
    if (!json_str_or(have->attrs, "router", "")[0])
        return false;
    if (turn_any(t, RESOURCE_FLOATING_IP, has_port, NULL))
        turn_blocked(t, have, "a floating IP still needs the router");
    else if (turn_any(t, RESOURCE_SERVER, NULL, NULL))
        turn_blocked(t, have, "servers still need the router");
    else
        turn_step(t, KIND_DETACH, have, NULL, "before it is deleted");
    return true;
}

static void interface_made(json_t *attrs)
{
    json_object_set_new(attrs, "router", json_string(""));
}

static void interface_words(const Resource *r, Buf *out)
{
    buf_str(out, json_str(r->attrs, "address"));
}

const PlanKind plan_interface = {.blocked = interface_blocked,
                                 .differ = interface_differ,
                                 .leave = interface_leave,
                                 .made = interface_made,
                                 .status = "ACTIVE",
                                 .words = interface_words};

/* Port. Security groups are on ports only, never on servers. */

static const char *port_blocked(const Turn *t, const Resource *want)
{
    const json_t *groups = json_object_get(want->attrs, "groups"), *g;
    size_t i;

    if (!json_bool(want->attrs, "foreign", false) &&
        !turn_ready(t, RESOURCE_SUBNET, json_str(want->attrs, "subnet")))
        return "its subnet is not there";
    json_array_foreach (groups, i, g) {
        if (!turn_ready(t, RESOURCE_GROUP, json_string_value(g)))
            return "its security group is not there";
    }
    return NULL;
}

bool port_lost(Turn *t, const Resource *port)
{
    const Resource *server = turn_ready_at(t, RESOURCE_SERVER, port->key, port->generation);

    if (!server || !turn_wanted(t, server) || strlist_has(&t->g->replace, server->id))
        return false;
    turn_stuck(
        t, port, ERR_PARTIAL,
        "its server runs without it, as if somebody had deleted or unplugged it: `atoll apply "
        "--replace %s` has the server made anew (volumes stay)",
        port->key);
    return true;
}

static void port_differ(Turn *t, const Resource *want, const Resource *have)
{
    const json_t *wanted = json_object_get(want->attrs, "groups"), *g;
    _cleanup_free_ char *is = NULL, *to_be = NULL;
    size_t i;

    if (!json_str_or(have->attrs, "device", "")[0] && port_lost(t, have))
        return;
    if (!turn_same(t, want, have, "subnet", STAY) ||
        list_same(wanted, json_object_get(have->attrs, "groups")))
        return;
    json_array_foreach (wanted, i, g) {
        if (!turn_ready(t, RESOURCE_GROUP, json_string_value(g))) {
            turn_blocked(t, have, "its security group is not there");
            return;
        }
    }
    is = json_text_new(json_object_get(have->attrs, "groups"));
    to_be = json_text_new(wanted);
    turn_step(t, KIND_CHANGE, have, NULL, "security groups are %s, to be %s", is, to_be);
}

static bool server_on_port(const Turn *t, const Resource *r, const void *with)
{
    const Resource *port = with;

    (void)t;
    return r->generation == port->generation &&
           (streq(r->key, port->key) ||
            json_list_has(json_object_get(r->attrs, "ports"), port->key));
}

static bool has_this_port(const Turn *t, const Resource *r, const void *with)
{
    const Resource *port = with;

    (void)t;
    return streq(linked_id(r, "port"), port->id);
}

static bool port_leave(Turn *t, const Resource *have)
{
    if (turn_any(t, RESOURCE_FLOATING_IP, has_this_port, have))
        turn_blocked(t, have, "the floating IP is still on it");
    else if (turn_any(t, RESOURCE_SERVER, server_on_port, have))
        turn_blocked(t, have, "its server is still there");
    else
        return false;
    return true;
}

static void port_made(json_t *attrs)
{
    json_object_set_new(attrs, "address", json_string("?"));
    json_object_set_new(attrs, "device", json_string(""));
}

static void port_words(const Resource *r, Buf *out)
{
    const json_t *g;
    size_t i;

    json_array_foreach (json_object_get(r->attrs, "groups"), i, g) {
        buf_printf(out, "%s%s", i ? ", " : "group ", json_string_value(g));
    }
}

const PlanKind plan_port = {.blocked = port_blocked,
                            .differ = port_differ,
                            .leave = port_leave,
                            .made = port_made,
                            .status = "DOWN",
                            .words = port_words};

/* Floating IP: allocated early, so that DNS can be set while servers are built. */

static bool is_attached(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    (void)with;
    return json_str_or(r->attrs, "router", "")[0] != '\0';
}

static bool is_healthy(const Turn *t, const char *key)
{
    const Resource *host = turn_find_at(t, RESOURCE_HOST, key, host_current(t->w, key));

    return host && streq(json_str(host->attrs, "state"), "healthy") && !mail_silent(host, t->now);
}

/* It is already what the island file makes it. */
static bool takes_over(Turn *t, const char *key)
{
    const Resource *want = goal_find(t->g, RESOURCE_HOST, key);

    return want && turn_told(t, turn_want(t, want)) && is_healthy(t, key);
}

static void floating_ip_differ(Turn *t, const Resource *want, const Resource *have)
{
    const char *port = json_str_or(want->attrs, "port", "");
    const char *now = json_str_or(have->attrs, "port", "");
    const char *at = linked_id(have, "port");
    const Resource *serves = turn_ready_at(t, RESOURCE_PORT, port, host_current(t->w, port));
    Step *s;

    if (!turn_same(t, want, have, "external", STAY) ||
        (streq(port, now) && (!serves || !at[0] || streq(serves->id, at))))
        return;
    if (!serves) {
        turn_blocked(t, have, "its port is not there");
    } else if (goal_find(t->g, RESOURCE_INTERFACE, "main") &&
               !turn_any(t, RESOURCE_INTERFACE, is_attached, NULL)) {
        turn_blocked(t, have, "the router does not reach its port");
    } else if (!streq(now, port) && turn_ready(t, RESOURCE_SERVER, now) && !takes_over(t, port)) {
        turn_blocked(t, have, "the server that it goes to does not serve yet");
    } else {
        s = turn_step(t, KIND_ATTACH, have, NULL, "on %s, to be on port %s%s",
                      now[0] ? now : "no port", port, streq(now, port) ? " of the new server" : "");
        s->downtime_s = now[0] ? 2 : 0;
    }
}

static bool floating_ip_leave(Turn *t, const Resource *have)
{
    if (!json_str_or(have->attrs, "port", "")[0])
        return false;
    turn_step(t, KIND_DETACH, have, NULL, "its port goes");
    return true;
}

static void floating_ip_made(json_t *attrs)
{
    json_object_set_new(attrs, "port", json_string(""));
    json_object_set_new(attrs, "address", json_string("?"));
}

static void floating_ip_words(const Resource *r, Buf *out)
{
    buf_str(out, json_str(r->attrs, "address"));
}

const PlanKind plan_floating_ip = {.differ = floating_ip_differ,
                                   .leave = floating_ip_leave,
                                   .made = floating_ip_made,
                                   .status = "DOWN",
                                   .words = floating_ip_words};

/* Security group: empty first, since rules name other groups. */

static bool port_in_group(const Turn *t, const Resource *r, const void *with)
{
    (void)t;
    return json_list_has(json_object_get(r->attrs, "groups"), with);
}

/* Servers are to reach what they use until they have been told to use something else; those of a
 * tier that goes, to their last moment. */
static bool still_needed(const Turn *t, const char *rule)
{
    const char *group = rule_group(rule);

    return !turn_all_told(t, NULL) || (group && !goal_find(t->g, RESOURCE_GROUP, group) &&
                                       turn_any(t, RESOURCE_PORT, port_in_group, group));
}

static void group_differ(Turn *t, const Resource *want, const Resource *have)
{
    const json_t *wanted = json_object_get(want->attrs, "rules");
    const json_t *there = json_object_get(have->attrs, "rules"), *v;
    _cleanup_(buf_clear) Buf missing = BUF_INIT(BUF_MAX_LINE);
    bool ready = true;
    size_t i;

    json_array_foreach (wanted, i, v) {
        const char *rule = json_string_value(v), *group = rule_group(rule);

        if (json_list_has(there, rule))
            continue;
        buf_printf(&missing, "%s%s", missing.len ? "; " : "", rule);
        ready = ready && (!group || turn_ready(t, RESOURCE_GROUP, group));
    }
    if (missing.len && ready)
        turn_step(t, KIND_RULES, have, NULL, "rules missing: %s", missing.p);
    else if (missing.len)
        turn_blocked(t, have, "a group that its rules name is not there");
    json_array_foreach (there, i, v) {
        const char *rule = json_string_value(v);

        if (json_list_has(wanted, rule))
            continue;
        if (still_needed(t, rule))
            turn_blocked(t, have, "a rule still serves somebody");
        else
            turn_step(t, KIND_UNRULE, have, rule, "a rule too many: %s", rule);
    }
}

/* A group that stays and lets this one in: its rule goes first, by its own step. */
static bool group_names(const Turn *t, const Resource *r, const void *with)
{
    const json_t *v;
    size_t i;

    if (streq(r->key, with) || !turn_wanted(t, r))
        return false;
    json_array_foreach (json_object_get(r->attrs, "rules"), i, v) {
        if (streq(rule_group(json_string_value(v)), with))
            return true;
    }
    return false;
}

static bool group_leave(Turn *t, const Resource *have)
{
    if (turn_any(t, RESOURCE_PORT, port_in_group, have->key))
        turn_blocked(t, have, "a port is still in the group");
    else if (turn_any(t, RESOURCE_GROUP, group_names, have->key))
        turn_blocked(t, have, "another group's rule still names it");
    else
        return false;
    return true;
}

static void group_made(json_t *attrs)
{
    json_object_set_new(attrs, "rules", json_array());
    json_object_set_new(attrs, "rule_ids", json_object());
}

static void group_words(const Resource *r, Buf *out)
{
    size_t n = json_array_size(json_object_get(r->attrs, "rules"));

    buf_printf(out, "%zu rule%s", n, n == 1 ? "" : "s");
}

const PlanKind plan_group = {.differ = group_differ,
                             .leave = group_leave,
                             .made = group_made,
                             .status = "",
                             .words = group_words};
