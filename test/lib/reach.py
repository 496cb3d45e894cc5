"""Who may connect to whom: computed from the security groups, their rules, and each server's ports
as a cloud's API gives them back. It is told nothing of roles, tiers or atoll's tables.

`api` is an Api of the harness, of either cloud. What is computed is what the rules let through, not
whether a route leads there: "world" is an address outside that nobody has given a group.
"""
import ipaddress

WORLD = "world"
OUTSIDE = {4: "203.0.113.77", 6: "2001:db8::77"}


class Peer:
    """A server: its name, and of each port its addresses, its groups and whether it is filtered."""

    def __init__(self, name, ports):
        self.name = name
        self.addresses = [ipaddress.ip_address(ip["ip_address"]) for p in ports for ip in p["fixed_ips"]]
        self.groups = [g for p in ports for g in p["security_groups"]]
        self.open = any(p.get("port_security_enabled") is False for p in ports)


def listing(api, path, key):
    """A list of Neutron's, page by page."""
    found, url = [], path
    while url:
        _, _, answer = api.call("network", "GET", url)
        found += answer[key]
        following = [l["href"] for l in answer.get(f"{key}_links", []) if l["rel"] == "next"]
        url = following[0][following[0].index("/v2.0"):] if following else None
    return found


def peers(api, prefix):
    _, _, answer = api.call("compute", "GET", "/servers/detail")
    ports = listing(api, "/v2.0/ports", "ports")
    return [Peer(s["name"][len(prefix):], [p for p in ports if p["device_id"] == s["id"]])
            for s in answer["servers"] if s["name"].startswith(prefix)]


def ports_of(rule):
    """ "tcp 80", "tcp 80-90", "udp any", "any any" """
    low, high = rule["port_range_min"], rule["port_range_max"]
    protocol = {"6": "tcp", "17": "udp", "1": "icmp"}.get(str(rule["protocol"]), rule["protocol"])
    span = "any" if low is None else str(low) if low == high else f"{low}-{high}"
    return f"{protocol or 'any'} {span}"


def matches(rule, addresses, groups):
    """Whether the other end of a connection is one that the rule names."""
    version = 6 if rule["ethertype"] == "IPv6" else 4
    mine = [a for a in addresses if a.version == version]
    if rule["remote_group_id"]:
        return bool(mine) and rule["remote_group_id"] in groups
    if rule["remote_ip_prefix"]:
        network = ipaddress.ip_network(rule["remote_ip_prefix"])
        return any(a in network for a in mine)
    return bool(mine)


def goes_out(rules, source, target):
    """Some rule lets the source send to the target. atoll's groups let everything out; one that
    does not would show as a connection that is missing."""
    return source.open or any(r["direction"] == "egress" and matches(r, target.addresses, target.groups)
                              for g in source.groups for r in rules[g])


def comes_in(rules, addresses, groups, target):
    if target.open:
        return {"any any"}
    return {ports_of(r) for g in target.groups for r in rules[g]
            if r["direction"] == "ingress" and matches(r, addresses, groups)}


def matrix(api, prefix):
    """{(source, target): {"tcp 3000"}} of every pair that may connect; names behind `prefix`."""
    rules = {g["id"]: g["security_group_rules"]
             for g in listing(api, "/v2.0/security-groups", "security_groups")}
    outside = [ipaddress.ip_address(a) for a in OUTSIDE.values()]
    all_peers, found = peers(api, prefix), {}
    for target in all_peers:
        found[WORLD, target.name] = comes_in(rules, outside, [], target)
        for source in all_peers:
            if source is not target and goes_out(rules, source, target):
                found[source.name, target.name] = comes_in(rules, source.addresses, source.groups,
                                                           target)
    return {pair: ports for pair, ports in found.items() if ports}


def wanted(servers, table):
    """The matrix that a table of tiers means: servers {"web": 2}, table {("edge", "web"): {3000}}.
    Whoever the world may reach, every server may reach too."""
    names = [(tier, f"{tier}-{n}") for tier, count in servers.items() for n in range(count)]
    ends, found = [(WORLD, WORLD)] + names, {}
    for source_tier, source in ends:
        for target_tier, target in names:
            ports = {f"tcp {p}" for p in table.get((source_tier, target_tier), set())
                     | table.get((WORLD, target_tier), set())}
            if ports and source != target:
                found[source, target] = ports
    return found


def difference(got, expected):
    """Lines for a failed test: what is open and should not be, what is closed and should not be."""
    lines = []
    for pair in sorted(set(got) | set(expected)):
        more = got.get(pair, set()) - expected.get(pair, set())
        less = expected.get(pair, set()) - got.get(pair, set())
        lines += [f"{pair[0]} may reach {pair[1]} on {p}, and should not" for p in sorted(more)]
        lines += [f"{pair[0]} can't reach {pair[1]} on {p}" for p in sorted(less)]
    return lines


# What Mastodon needs (its documentation, "Scaling" and ".env.production"), by hand: not made from
# atoll's own table of roles, which it is there to judge.
SPLIT_SERVERS = """\
servers:
  edge: {flavor: c1.c1r1, roles: [edge]}
  web: {flavor: c1.c1r1, count: 2, roles: [web]}
  worker: {flavor: c1.c1r1, count: 2, roles: [worker]}
  redis: {flavor: c1.c1r1, roles: [redis], volume: {size: 1GB}}
  db: {flavor: c1.c1r1, roles: [postgres], volume: {size: 1GB}}
  find: {flavor: c1.c1r1, roles: [search]}
"""
SPLIT = wanted({"edge": 1, "web": 2, "worker": 2, "redis": 1, "db": 1, "find": 1}, {
    (WORLD, "edge"): {8080},
    ("edge", "web"): {3000},
    ("web", "redis"): {6379},
    ("worker", "redis"): {6379},
    ("web", "db"): {5432},
    ("worker", "db"): {5432},
    ("web", "find"): {9200},
    ("worker", "find"): {9200},
})
# The small one: everything but the database on web servers, two of them to see what they may do
# to each other.
SMALL_SERVERS = """\
servers:
  edge: {flavor: c1.c1r1, roles: [edge, redis]}
  web: {flavor: c1.c1r1, count: 2, roles: [web, worker]}
  db: {flavor: c1.c1r1, roles: [postgres], volume: {size: 1GB}}
"""
SMALL = wanted({"edge": 1, "web": 2, "db": 1}, {
    (WORLD, "edge"): {8080},
    ("edge", "web"): {3000},
    ("web", "edge"): {6379},
    ("web", "db"): {5432},
})
