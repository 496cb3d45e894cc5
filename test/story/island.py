"""The main job: one file, one command, a running island; nothing to do afterwards; nothing left."""
import hashlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *


def ancestors(pid):
    while pid > 1:
        with open(f"/proc/{pid}/stat") as f:
            parent = int(f.read().rsplit(")", 1)[1].split()[1])
        with open(f"/proc/{parent}/cmdline", "rb") as f:
            yield parent, f.read().split(b"\0")
        pid = parent


def counted(pocket, function):
    """Calls that arrived at pocket while function ran, but for the hosts' own, and its result."""
    before = len(pocket.log())
    result = function()
    return sum("temp_url" not in json.dumps(call) for call in pocket.log()[before:]), result


GOING = {"server", "port", "network", "subnet", "router", "security_group", "server_group", "user"}


def kinds(pocket):
    """The kinds of which the island has rows."""
    return {k for k, n, b in pocket.rows() if "reef" in json.dumps([n, b.get("description")])}


def test_island_lives_and_goes(t):
    pocket = t.start_pocket()
    t.island()
    t.atoll("check")
    t.apply()
    ready = t.ready()
    check(ready["ready"] is True, f"/ready says {ready}")

    # Puma's master is a descendant of `atoll host`.
    hosts = [argv for _, argv in ancestors(ready["puma_pid"])
             if os.path.basename(argv[0]) == b"atoll" and b"host" in argv]
    check(hosts, f"no `atoll host` above Puma's pid {ready['puma_pid']}")

    # The object a Sidekiq job wrote, from Swift's public address, as a stranger.
    with urllib.request.urlopen(ready["object_url"]) as r:
        equal(hashlib.sha256(r.read()).hexdigest(), ready["sha256"], "the uploaded object's hash")
    check(ready["worker_pid"] != ready["puma_pid"], "the upload was not written by a worker process")

    # A plan right after: nothing to do. Cold (no cache), then warm.
    cold, plan = counted(pocket, lambda: t.atoll("plan", "--detailed-exitcode", "--no-cache"))
    check("No changes" in plan.out, plan)
    warm, plan = counted(pocket, lambda: t.atoll("plan", "--detailed-exitcode"))
    check("No changes" in plan.out, plan)
    print(f"# calls of a plan, counted by pocket: {cold} cold, {warm} warm; cache files: "
          f"{sorted(os.listdir(t.dir + '/cache/atoll'))}")
    check(warm <= 16, f"a warm plan made {warm} calls")
    check(cold <= 28, f"a cold plan made {cold} calls")

    status = t.atoll("status", "--json").events("server")
    equal({s["key"]: s["health"] for s in status}, {"web.0": "healthy", "db.0": "healthy"}, "status")
    t.atoll("media", "check", "--fog", f"{SOURCE}/data/fog-login.rb")

    # Down: what is protected stays, and nothing else.
    check(GOING <= kinds(pocket), f"not there before destroy: {GOING - kinds(pocket)}")
    t.atoll("destroy", "-y")
    left = kinds(pocket)
    check(not left & GOING, f"destroy left {left & GOING}")
    check("volume" in left, f"destroy took the protected volume; left: {left}")
    # And up again on the same data.
    t.apply()
    t.ready()
    t.atoll("destroy", "--data", "--confirm", "reef")
    left = [(k, n) for k, n, b in pocket.rows()
            if "reef" in json.dumps([n, b.get("description"), b.get("metadata")])
            or n == "user-uploads"]
    equal(left, [], "destroy --data left")


main()
