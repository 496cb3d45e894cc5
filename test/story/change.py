"""A running island changes under load: 50 requests a second and 1,000 jobs. Nothing but 2xx, each job
once; and where an outage is announced, it is the outage that is measured."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import *

HEAD = ISLAND_HEAD
DB = "  db: {flavor: c1.c1r1, roles: [postgres, redis], volume: {size: 10GB}}\n"
ONE = "  web: {flavor: c1.c2r2, roles: [edge, web, worker]}\n"
SPLIT = ("  web: {flavor: c1.c2r2, roles: [edge, web]}\n"
         "  jobs: {flavor: c1.c2r2, roles: [worker]}\n")
EDGE = ("  edge: {flavor: c1.c1r1, roles: [edge]}\n"
        "  web: {flavor: c1.c2r2, count: %d, roles: [web, worker]}\n")
MEDIA = "media: {container: user-uploads, cloud: pocket-media}\n"


def start(t, servers):
    t.start_pocket()
    t.island(HEAD + servers + DB + MEDIA)
    t.apply()
    t.ready()
    return f"http://{t.address()}:8080"


def under_load(t, base, words, servers, *options, cut=0):
    """One apply to `servers` under load; the island has to be as the file says afterwards. Where the
    floating IP moves, which the plan says, it cuts what is under way in that moment: `cut` at most."""
    t.write("island.yaml", (HEAD + servers + DB + MEDIA).replace("127.77.0.0/24", t.cidr))
    token = jobs(base, 1000, 20)
    load = Load(base + "/health", 50)
    began = time.monotonic()
    try:
        result = t.apply(*options)
    finally:
        took = time.monotonic() - began
        load.end()
    cuts = [b for b in load.bad if b[1] == CUT]
    if len(cuts) <= cut:
        load.bad = [b for b in load.bad if b not in cuts]
    print(f"# {words}: {took:.1f} s, {load.sent} requests, {len(load.bad)} not 2xx, {len(cuts)} cut by "
          f"the moving IP, longest gap "
          f"between two good answers {load.longest * 1000:.0f} ms", flush=True)
    check(not load.bad, f"{words}: {load.bad[:5]}\n{result}")
    check(load.sent > took * 25, f"{words}: only {load.sent} requests in {took:.0f} s")
    all_ran_once(base, token, 1000, 120)
    plan = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in plan.out, plan)
    return result


def test_workers_are_split_off(t):
    base = start(t, ONE)
    under_load(t, base, "splitting the workers off", SPLIT)
    under_load(t, base, "and putting them back", ONE)


def test_the_edge_gets_a_server_of_its_own(t):
    base = start(t, ONE)
    under_load(t, base, "splitting the edge off", EDGE % 1, cut=2)
    under_load(t, base, "and putting it back", ONE, cut=2)


def test_web_from_one_to_three_to_one(t):
    base = start(t, EDGE % 1)
    under_load(t, base, "web from 1 to 3", EDGE % 3)
    under_load(t, base, "web from 3 to 1", EDGE % 1)


def test_a_web_server_is_replaced(t):
    base = start(t, ONE)
    under_load(t, base, "replacing the web server", ONE, "--replace", "web.0", cut=2)
    names = [n for k, n, b in t.pocket.rows("server")]
    equal(sorted(names), ["reef-db-0", "reef-web-0-g2"], "servers")


def test_the_database_server_is_replaced_around_its_volume(t):
    base = start(t, ONE)
    before = [b["id"] for k, n, b in t.pocket.rows("volume")]
    ready = t.ready()
    load = Load(base + "/ready", 5)
    try:
        plan = t.atoll("plan", "--replace", "db.0", "--json")
        t.apply("--replace", "db.0")
        t.ready(60)
    finally:
        load.end()
    said = plan.events("change_summary")[0]["downtime_s"]
    print(f"# replacing the database server: outage said {said} s, measured {load.longest:.1f} s")
    check(said / 2 <= load.longest <= said * 2,
          f"the plan says {said} s, the outage was {load.longest:.1f} s")
    equal([b["id"] for k, n, b in t.pocket.rows("volume")], before, "the volume")
    check(ready["ready"], ready)


def change(t, words, text, *options):
    """One apply, and the island is as the file says; the plan's events."""
    t.write("island.yaml", text.replace("127.77.0.0/24", t.cidr))
    plan = t.atoll("plan", "--json", *options)
    began = time.monotonic()
    t.apply(*options)
    print(f"# {words}: {time.monotonic() - began:.1f} s", flush=True)
    t.ready(60)
    after = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in after.out, after)
    return [(c["verb"], c["kind"], c["key"]) for c in plan.events("planned_change")]


def test_larger(t):
    base = start(t, ONE)
    token = jobs(base, 50, 5)
    all_ran_once(base, token, 50, 30)
    servers = {n: b["id"] for k, n, b in t.pocket.rows("server")}
    steps = change(t, "flavors, a larger volume, another type",
                   (HEAD + ONE + DB + MEDIA).replace("c1.c2r2", "c1.c4r8").replace("c1.c1r1", "c1.c2r2")
                   .replace("10GB", "20GB, type: pocket-ssd"))
    for step in (("resize", "server", "web.0"), ("confirm", "server", "web.0"),
                 ("resize", "server", "db.0"), ("extend", "volume", "db.0"),
                 ("retype", "volume", "db.0")):
        check(step in steps, f"{step} is not in the plan: {steps}")
    equal({n: b["id"] for k, n, b in t.pocket.rows("server")}, servers, "the servers")
    volume = t.pocket.rows("volume")[0][2]
    equal((volume["size"], volume["volume_type"]), (20, "pocket-ssd"), "the volume")
    # The database is the same: its jobs are still counted.
    all_ran_once(base, token, 50, 30)


def test_another_image(t):
    base = start(t, ONE)
    token = jobs(base, 50, 5)
    all_ran_once(base, token, 50, 30)
    text = (HEAD + ONE + DB + MEDIA).replace("image: debian-12", "image: debian-13")
    t.write("island.yaml", text.replace("127.77.0.0/24", t.cidr))
    plan = t.atoll("plan")
    check("No changes" in plan.out, f"an image is recorded at birth: {plan}")
    steps = change(t, "servers rebuilt from another image", text, "--allow-rebuild")
    check(("rebuild", "server", "web.0") in steps, f"{steps}")
    all_ran_once(base, token, 50, 30)


def test_the_database_moves_to_a_server_of_its_own(t):
    all_in_one = ("  all: {flavor: c1.c2r2, roles: [edge, web, worker, postgres, redis], "
                  "volume: {size: 10GB}}\n")
    t.start_pocket()
    t.island(HEAD + all_in_one + MEDIA)
    t.apply()
    t.ready()
    base = f"http://{t.address()}:8080"
    token = jobs(base, 50, 5)
    all_ran_once(base, token, 50, 30)
    before = [b["id"] for k, n, b in t.pocket.rows("volume")]
    steps = change(t, "the database moves, with its volume",
                   HEAD + "  all: {flavor: c1.c2r2, roles: [edge, web, worker]}\n" + DB + MEDIA
                   + "moved: {db: all}\n")
    check(("rename", "volume", "all.0") in steps, f"{steps}")
    equal([b["id"] for k, n, b in t.pocket.rows("volume")], before, "the volume")
    all_ran_once(base, token, 50, 30)
    # The line may stay in the file, or go.
    after = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in after.out, after)


main()
