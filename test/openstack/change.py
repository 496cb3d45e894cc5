"""One island on real services is changed step by step. After each step: a plan has no changes, /ready
is 200, Debian's client counts what there should be, and the security rules that Neutron gives back
let through what the roles need, and nothing else."""
from real import *
import reach

HEAD = ISLAND.split("servers:")[0]
MEDIA = ISLAND[ISLAND.index("media:"):]
FIRST = """\
servers:
  edge: {flavor: c1.c1r1, roles: [edge, redis]}
  web: {flavor: c1.c1r1, roles: [web, worker]}
  db: {flavor: c1.c1r1, roles: [postgres], volume: {size: 1GB, type: b1.sr-r3-nvme-1000}}
"""
LARGER = FIRST.replace("roles: [web, worker]", "count: 2, roles: [web, worker]").replace("1GB", "2GB")
SPLIT = LARGER.replace("[web, worker]}\n", "[web]}\n  worker: {flavor: c1.c1r1, roles: [worker]}\n")
FASTER = SPLIT.replace("worker: {flavor: c1.c1r1", "worker: {flavor: c1.c2r2")
# What Mastodon needs, by hand: see reach.SMALL.
SMALL = {(reach.WORLD, "edge"): {8080}, ("edge", "web"): {3000}, ("web", "edge"): {6379},
         ("web", "db"): {5432}}
WORKERS = {**SMALL, ("worker", "edge"): {6379}, ("worker", "db"): {5432}}


def counts(tiers, servers):
    """What there is of each: a group for the tier, and another one against common hosts."""
    return {"network list": 1, "subnet list": 1, "router list": 1, "port list": servers + 1,
            "security group list": tiers, "volume list": 1, "server list": servers,
            "server group list": tiers}


def same_matrix(t, servers, table, words):
    """web-1-g2, the second server in the place of web.1, may what web-1 may."""
    got = {tuple(re.sub(r"-g\d+$", "", end) for end in pair): ports
           for pair, ports in reach.matrix(t.pocket.api("real"), "reef-").items()}
    wrong = reach.difference(got, reach.wanted(servers, table))
    check(not wrong, words + ":\n" + "\n".join(wrong))


def step(t, words, text, servers, table, *options, image="debian-12"):
    """One apply; the plan's steps as (verb, kind, key)."""
    t.write("island.yaml", (HEAD + text + MEDIA).replace("10.77.0.0/24", t.cidr)
            .replace("debian-12", image))
    began = time.monotonic()
    done = t.atoll("apply", "-y", "--json", "--package", f"{BUILD}/atoll.deb", *options, timeout=400)
    took = time.monotonic() - began
    after = t.atoll("plan", "--detailed-exitcode", *(o for o in options if o == "--allow-rebuild"))
    check("No changes" in after.out, f"{words}: {after}")
    t.ready(60)
    wanted = counts(len(servers), sum(servers.values()))
    equal(client_counts(t, wanted), wanted, f"{words}, by Debian's client")
    same_matrix(t, servers, table, words)
    print(f"# {words}: {took:.1f} s, and {time.monotonic() - began - took:.1f} s to look at it",
          flush=True)
    return [(c["verb"], c["kind"], c["key"]) for c in done.events("planned_change")]


def rule_by_hand(t):
    """Someone opens the database to the world; the matrix shows it."""
    api = t.pocket.api("real")
    group = [p for p in reach.peers(api, "reef-") if p.name == "db-0"][0].groups[0]
    api.call("network", "POST", "/v2.0/security-group-rules", {"security_group_rule": {
        "security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_range_min": 5432, "port_range_max": 5433, "remote_ip_prefix": "0.0.0.0/0"}})
    opened = reach.matrix(api, "reef-").get((reach.WORLD, "db-0"))
    equal(opened, {"tcp 5432-5433"}, "the rule by hand")


def servers_of(t):
    return {n: b["id"] for k, n, b in t.pocket.rows("server")}


def test_an_island_changes(t):
    real(t)
    real_island(t)
    small, split = {"edge": 1, "web": 2, "db": 1}, {"edge": 1, "web": 2, "worker": 1, "db": 1}
    step(t, "three servers", FIRST, {"edge": 1, "web": 1, "db": 1}, SMALL)
    steps = step(t, "web 1 -> 2, the volume 1 -> 2 GB", LARGER, small, SMALL)
    check(("extend", "volume", "db.0") in steps, f"{steps}")
    rule_by_hand(t)
    step(t, "workers get a tier of their own", SPLIT, split, WORKERS)
    before = servers_of(t)
    steps = step(t, "a larger flavor for the worker", FASTER, split, WORKERS)
    check({("resize", "server", "worker.0"), ("confirm", "server", "worker.0")} <= set(steps), f"{steps}")
    equal(servers_of(t), before, "servers by id after a resize")
    step(t, "web.1 is replaced", FASTER, split, WORKERS, "--replace", "web.1")
    replaced = servers_of(t)
    equal(sorted(set(replaced) - set(before)), ["reef-web-1-g2"], "new servers")
    steps = step(t, "another image for all five", FASTER, split, WORKERS, "--allow-rebuild",
                 image="debian-13")
    check(("rebuild", "server", "db.0") in steps, f"{steps}")
    equal(servers_of(t), replaced, "servers by id after a rebuild")
    t.atoll("destroy", "--data", "--confirm", "reef", timeout=400)
    equal([(k, n) for k, n, _ in t.pocket.rows()], [], "destroy --data left")


main()
