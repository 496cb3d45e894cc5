"""Packets are filtered: an island whose servers are network namespaces, as root. Who may connect to
whom is the role table's, tried from inside with connections that must be answered, and others that
must get no answer at all. Rules follow the security groups while everything runs.
"""
import collections
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

ISLAND = """
island: reef
domain: reef.example
cloud: pocket
release: {canary: true}
image: debian-12
network: {external: public, cidr: %s}
edge: {http: 8080}
servers:
  web: {flavor: c1.c2r2, roles: [edge, web, redis]}
  work: {flavor: c1.c2r2, roles: [worker], processes: {worker: 1}}
  db: {flavor: c1.c1r1, roles: [postgres], volume: {size: 10GB, type: pocket}}
media: {container: user-uploads, cloud: pocket-media, isolation: project}
"""
OPEN, SILENT = "open", "silent"
PROBE = """
import socket, sys
s = socket.socket()
s.settimeout(1.5)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    print("open")
except TimeoutError:
    print("silent")
except OSError as e:
    print(e)
"""
LISTEN = """
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    s.accept()[0].close()
"""
Place = collections.namedtuple("Place", "space address port group")


def needed():
    """Why this machine can't show it, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("ip", "nft"):
        if not shutil.which(program, path=PATH):
            return f"needs {program} (packages iproute2, nftables)"
    made = subprocess.run(["ip", "netns", "add", f"atoll-probe-{os.getpid()}"], env={"PATH": PATH},
                          capture_output=True, text=True)
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "del", f"atoll-probe-{os.getpid()}"], env={"PATH": PATH})
    return None if made.returncode == 0 else f"this machine makes no network namespaces: {made.stderr}"


def left_over(prefix):
    spaces = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
    return sorted(n for n in spaces + os.listdir("/sys/class/net") if n.startswith(prefix))


def places(pocket):
    """Tier: its namespace, address, port and group."""
    servers = {b["id"]: n for _, n, b in pocket.rows("server")}
    found = {}
    for _, name, body in pocket.rows("port"):
        server = servers.get(body.get("device_id"))
        if server:
            space = next(n for n in os.listdir("/run/netns") if n.endswith(body["device_id"]))
            found[server.split("-")[1]] = Place(space, body["fixed_ips"][0]["ip_address"], body["id"],
                                                body["security_groups"][0])
    return found


def inside(place, *argv):
    """The command's argv in a server's network; outside of all of them for None."""
    prefix = ["ip", "netns", "exec", place.space] if place else []
    return [*prefix, "/usr/bin/python3", "-c", *argv]


def reach(t, source, target, port):
    result = t.run(*inside(source, PROBE, target.address, str(port)), timeout=20)
    return result.out.strip() or result.err


def start(t):
    reason = needed()
    if reason:
        print(f"# skipped: {reason}", flush=True)
        raise Skipped(reason)
    # Namespaces have loopbacks of their own, so the servers' addresses are ordinary ones.
    pocket = t.start_pocket("--namespaces")
    t.island(ISLAND % f"10.{random.randint(64, 250)}.{random.randint(0, 255)}.0/24")
    t.apply()
    return pocket


def test_only_the_role_tables_connections(t):
    pocket = start(t)
    equal(t.ready()["ready"], True, "/ready through the floating IP")
    at = places(pocket)
    equal(sorted(at), ["db", "web", "work"], "servers with a network")
    listener = t.spawn(*inside(at["db"], LISTEN, at["db"].address, "9999"))
    t.processes.append(listener)
    equal(listener.stdout.readline(), b"listening\n", "the listener")
    rows = [("web", "db", 5432, OPEN), ("work", "db", 5432, OPEN), ("work", "web", 6379, OPEN),
            ("work", "web", 8080, OPEN), ("db", "web", 8080, OPEN), ("db", "db", 9999, OPEN),
            ("web", "db", 22, SILENT), ("web", "db", 9999, SILENT), ("work", "db", 9999, SILENT),
            ("work", "web", 3000, SILENT), ("db", "web", 6379, SILENT), ("db", "web", 3000, SILENT),
            ("web", "work", 22, SILENT), ("db", "work", 5432, SILENT),
            # From outside: this machine is the router in front of the island.
            (None, "web", 8080, OPEN), (None, "db", 5432, SILENT), (None, "db", 9999, SILENT),
            (None, "web", 6379, SILENT), (None, "web", 3000, SILENT), (None, "work", 22, SILENT)]
    wrong = []
    for source, target, port, wanted in rows:
        got = reach(t, at.get(source), at[target], port)
        if got != wanted:
            wrong.append(f"{source or 'outside'} to {target}:{port} is {got}, not {wanted}")
    print(f"# {len(rows)} connections tried, {sum(r[3] == SILENT for r in rows)} of them forbidden")
    equal(wrong, [], "connections")
    # The floating IP answers on the world's port and on no other.
    address = t.address()
    floating = at["web"]._replace(address=address)
    equal(reach(t, None, floating, 8080), OPEN, "floating IP")
    check("refused" in reach(t, None, floating, 6379), "the floating IP has more than the edge's port")

    # Rules follow the groups: a rule, a group's new member, and both taken away again.
    api = Api(pocket, "pocket")
    _, _, made = api.call("network", "POST", "/v2.0/security-group-rules", {"security_group_rule": {
        "security_group_id": at["db"].group, "direction": "ingress", "protocol": "tcp",
        "port_range_min": 9999, "port_range_max": 9999, "remote_group_id": at["web"].group}})
    equal(reach(t, at["web"], at["db"], 9999), OPEN, "after the rule came")
    equal(reach(t, at["work"], at["db"], 9999), SILENT, "not a member")
    for groups, wanted in (([at["work"].group, at["web"].group], OPEN), ([at["work"].group], SILENT)):
        api.call("network", "PUT", f"/v2.0/ports/{at['work'].port}", {"port": {"security_groups": groups}})
        equal(reach(t, at["work"], at["db"], 9999), wanted, f"as a member of {len(groups)} groups")
    api.call("network", "DELETE", f"/v2.0/security-group-rules/{made['security_group_rule']['id']}")
    equal(reach(t, at["web"], at["db"], 9999), SILENT, "after the rule went")


def test_a_killed_pocket_leaves_nothing_behind(t):
    pocket = start(t)
    t.ready()
    prefix = next(iter(places(pocket).values())).space.split("-")[0]
    before = left_over(prefix)
    check(len(before) == 7, f"three servers are three namespaces, three wires and a bridge: {before}")
    pocket.kill()
    equal(left_over(prefix), before, "a power cut removes nothing")
    pocket.start()
    t.ready()
    equal(left_over(prefix), before, "made anew, once")
    t.atoll("destroy", "-y")
    equal(left_over(prefix), [], "after destroy")
    pocket.stop()
    equal((pocket.process.returncode, left_over(prefix)), (0, []), "after pocket's end")


def test_without_root_it_says_so(t):
    if os.geteuid() != 0:
        raise Skipped("needs root to become another user")
    os.chmod(t.dir, 0o777)
    result = t.run("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                   f"{BUILD}/atoll-pocket", "--dir", f"{t.dir}/cloud", "--namespaces")
    check(result.code not in (0, None), result)
    check("--namespaces needs root" in result.err, result)
    both = t.run(f"{BUILD}/atoll-pocket", "--dir", f"{t.dir}/cloud", "--namespaces", "--no-servers")
    equal(both.code, 64, str(both))


main()
