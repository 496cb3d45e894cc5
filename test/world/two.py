"""Two applies at once on an empty cloud: one works, the other leaves with exit 4, nothing is doubled."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *


def names(pocket):
    found = []
    for kind, name, body in pocket.rows():
        if "reef" in json.dumps([name, body.get("description")]) and kind != "security_group_rule":
            found.append((kind, name or body.get("description")))
    return sorted(f for f in found if f[0] not in ("object", "object_version"))


def both(t, *more):
    """Two runs started together; their exit codes, smaller first."""
    argv = [f"{BUILD}/atoll", "apply", "-y", "--package", f"{BUILD}/atoll.deb", *more]
    runs = [t.spawn(*argv, XDG_CACHE_HOME=f"{t.dir}/cache{i}") for i in range(2)]
    outputs = [r.communicate(timeout=180) for r in runs]
    codes = sorted(r.returncode for r in runs)
    return codes, b"".join(err for _, err in outputs).decode()


def check_whole(t):
    found = names(t.pocket)
    equal(len(found), len(set(found)), f"something is there twice: {found}")
    check(("security_group", "reef-lease") not in found, "the lease was left behind")
    t.ready()
    check("No changes" in t.atoll("plan").out, "a plan afterwards has changes")


def test_one_works_the_other_leaves(t):
    t.start_pocket()
    t.island()
    codes, err = both(t)
    equal(codes, [0, 4], f"exit codes, {err}")
    check_whole(t)


def test_released_together(t):
    """A barrier inside pocket lets both go on at the same moment, at each point that matters."""
    t.start_pocket("--no-servers")
    t.island()
    for match in ("GET /v2.0/security-groups", "POST /v2.0/security-groups",
                  "PUT /v2.0/security-groups/*", "DELETE /v2.0/security-groups/*"):
        t.pocket.fault({"match": match, "do": "barrier", "name": match, "parties": 2, "ms": 3000,
                        "times": 2})
        codes, err = both(t, "--no-wait")
        check(codes in ([0, 4], [0, 5], [4, 4], [0, 0]), f"{match}: exit codes {codes}, {err}")
        t.pocket.fault()
        t.apply("--no-wait")
        found = names(t.pocket)
        equal(len(found), len(set(found)), f"{match}: something is there twice: {found}")
        check(("security_group", "reef-lease") not in found, f"{match}: the lease was left behind")
        print(f"# both released at {match}: exit codes {codes}")
        t.atoll("destroy", "--data", "--confirm", "reef")


def test_a_killed_holder_does_not_block_its_machine(t):
    t.start_pocket("--no-servers")
    t.island()
    pid_file = f"{t.dir}/pid"
    t.pocket.fault({"n": 40, "do": "kill", "when": "after", "pid_file": pid_file})
    first = t.run("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', pid_file, f"{BUILD}/atoll", "apply",
                  "-y", "--no-wait", "--package", f"{BUILD}/atoll.deb")
    equal(first.code, -9, "the holder was killed")
    t.pocket.fault()
    check([n for k, n, b in t.pocket.rows("security_group") if n == "reef-lease"], "no lease was left")
    start = time.monotonic()
    t.apply("--no-wait")
    check(time.monotonic() - start < 30, "the next run waited for a dead holder")


def test_with_slow_posts(t):
    """A create that takes a while lets the other run look and decide in the middle of it."""
    t.start_pocket()
    t.island()
    t.pocket.fault({"match": "POST /v2.0/security-groups", "do": "delay", "ms": 700, "times": 6})
    codes, err = both(t)
    check(codes in ([0, 4], [4, 4]), f"exit codes {codes}, {err}")
    t.pocket.fault()
    t.apply()
    check_whole(t)


def test_the_other_may_wait(t):
    t.start_pocket()
    t.island()
    codes, err = both(t, "--lease-wait", "2m")
    # The second one's plan was of an empty cloud: it finds nothing left to do, or says so.
    check(codes in ([0, 0], [0, 5]), f"exit codes {codes}, {err}")
    check_whole(t)


def test_unlock(t):
    t.start_pocket("--no-servers")
    t.island()
    check("nobody" in t.atoll("unlock").out, "unlock on an empty cloud")
    api = Api(t.pocket, "pocket")
    api.call("network", "POST", "/v2.0/security-groups", {"security_group": {
        "name": "reef-lease", "description": "atoll-lease:reef holder=jo@laptop run=m:1:1:n "
        "until=2099-01-01T00:00:00Z"}})
    check("jo@laptop" in t.atoll("unlock").out, "unlock does not say who holds it")
    held = t.atoll("apply", "-y", "--package", f"{BUILD}/atoll.deb", code=4)
    check("jo@laptop" in held.err, held)
    t.atoll("unlock", "--force")
    check("nobody" in t.atoll("unlock").out, "unlock --force left it")


main()
