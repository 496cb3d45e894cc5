"""The main job on real services: one file, one command, a running island; nothing to do afterwards;
nothing left."""
import hashlib

from real import *

GOING = {"server", "port", "network", "subnet", "router", "security_group", "server_group", "user"}


def kinds(cloud):
    return {k for k, n, b in cloud.rows() if "reef" in json.dumps([n, b.get("description")])}


def test_island_lives_and_goes(t):
    cloud = real(t)
    real_island(t)
    t.atoll("check")
    t.apply()
    ready = t.ready()
    check(ready["ready"] is True, f"/ready says {ready}")

    # The object a Sidekiq job wrote, from Swift's public address, as a stranger.
    with urllib.request.urlopen(ready["object_url"]) as r:
        equal(hashlib.sha256(r.read()).hexdigest(), ready["sha256"], "the uploaded object's hash")

    for more in (["--no-cache"], []):
        plan = t.atoll("plan", "--detailed-exitcode", *more)
        check("No changes" in plan.out, plan)
    status = t.atoll("status", "--json").events("server")
    equal({s["key"]: s["health"] for s in status}, {"web.0": "healthy", "db.0": "healthy"}, "status")
    t.atoll("media", "check", "--fog", f"{SOURCE}/data/fog-login.rb")

    # Down: what is protected stays, and nothing else.
    check(GOING <= kinds(cloud), f"not there before destroy: {GOING - kinds(cloud)}")
    t.atoll("destroy", "-y")
    left = kinds(cloud)
    check(not left & GOING, f"destroy left {left & GOING}")
    check("volume" in left, f"destroy took the protected volume; left: {left}")
    # And up again on the same data.
    t.apply()
    t.ready()
    t.atoll("destroy", "--data", "--confirm", "reef")
    equal([(k, n) for k, n, _ in cloud.rows()], [], "destroy --data left")


main()
