"""The client is killed at every request of a first apply, of a change of tiers and of a destroy:
before its effect, after it, and so that it lands when the client is dead. Run again, the cloud is
what an undisturbed run leaves: one object of each key, nothing else; and the upload user's password
is still the vault's. The same with 30 % of the calls answered by 429, and 1 % of them reset.

The servers are hollow (their programs are not run), asynchronous states end after so many lists, and
requests are counted as they arrive at pocket. ATOLL_TORTURE=N takes N points of each run (default 2);
0 takes every one of them.
"""
import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

LANES = 3
POINTS = int(os.environ.get("ATOLL_TORTURE", "2"))
OPTIONS = ["--no-servers", "--settle-lists", "2"]
SMALL = ISLAND_HEAD + """\
  web: {flavor: c1.c2r2, roles: [edge, web, worker]}
  db: {flavor: c1.c1r1, roles: [postgres, redis], volume: {size: 10GB}}
media: {container: user-uploads, cloud: pocket-media}
"""
# Workers get a tier of their own, web a second server, the database a larger volume.
LARGE = (SMALL.replace("roles: [edge, web, worker]}", "roles: [edge, web], count: 2}")
         .replace("  db:", "  jobs: {flavor: c1.c1r1, roles: [worker]}\n  db:")
         .replace("10GB", "20GB"))
APPLY = ["apply", "-y", "--no-wait", "--package", f"{BUILD}/atoll.deb"]
DESTROY = ["destroy", "--data", "--confirm", "reef"]
# What leads to the start, the run that is disturbed, and the island file that it has.
RUNS = {"first apply": ([], SMALL, APPLY), "change of tiers": ([SMALL], LARGE, APPLY),
        "destroy": ([LARGE], LARGE, DESTROY)}


def rows(pocket):
    """Every object with our mark or name; twice the same is two objects."""
    found = []
    for kind, name, body in pocket.rows():
        mark = json.dumps([name, body.get("description"), body.get("metadata")])
        if ("reef" in mark or name == "user-uploads") and kind not in ("object", "object_version"):
            found.append(f"{kind} {name or body.get('description')} {body.get('size', '')}")
    return sorted(found)


def begin(t, run):
    before, text, argv = RUNS[run]
    t.start_pocket(*OPTIONS)
    t.island(before[0] if before else text)
    for _ in before:
        t.atoll(*APPLY)
    t.write("island.yaml", text.replace("127.77.0.0/24", t.cidr))
    return argv


def reference(run):
    t = Test(run)
    try:
        argv = begin(t, run)
        before = len(t.pocket.log())
        t.atoll(*argv)
        return len(t.pocket.log()) - before, rows(t.pocket)
    finally:
        t.end()


def one_case(run, faults, wanted, killed):
    words = f"{run}, {faults}"
    t = Test(words)
    try:
        argv = begin(t, run)
        pid_file = f"{t.dir}/pid"
        t.pocket.fault(*[dict(f, pid_file=pid_file) if killed else f for f in faults])
        first = t.run("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', pid_file, f"{BUILD}/atoll", *argv)
        t.pocket.fault()
        t.atoll(*argv)
        equal(rows(t.pocket), wanted, f"{words}, rows")
        if argv is APPLY:
            # Nothing but to wait for the hosts, and to tell them what to run.
            left = [c for c in t.atoll("plan", "--json").events("planned_change")
                    if c["kind"] != "host"]
            equal(left, [], f"{words}, a plan afterwards")
            # The upload user was made with the password that the vault has.
            t.atoll("media", "check")
        return first.code
    except Failed as e:
        raise Failed(f"{words}: {e}") from e
    finally:
        t.end()


def points(total):
    last = total * 19 // 20 if POINTS else total  # how often a run polls differs
    n = POINTS or total
    return sorted({1 + i * (last - 1) // max(n - 1, 1) for i in range(n)})


def disturbed(run):
    total, wanted = reference(run)
    at = points(total)
    with concurrent.futures.ThreadPoolExecutor(LANES) as lanes:
        for fault in ({"do": "kill", "when": "before"}, {"do": "kill", "when": "after"},
                      {"do": "late", "ms": 700}):
            codes = list(lanes.map(lambda n: one_case(run, [dict(fault, n=n)], wanted, True), at))
            print(f"# {run}: {total} requests; {fault} at {len(at)} of them: {codes.count(-9)} died",
                  flush=True)
            check(codes.count(-9) >= len(at) * 9 // 10, f"too few died: {codes}")
        tired = [[{"chance": 0.3, "seed": seed, "do": "status", "status": 429, "retry_after": 0}]
                 for seed in range(1, 4)]
        torn = [[{"chance": 0.01, "seed": seed, "do": "reset", "when": when}]
                for seed in range(1, 4) for when in ("before", "after")]
        codes = list(lanes.map(lambda f: one_case(run, f, wanted, False), tired + torn))
        print(f"# {run}: 30 % of calls 429, or 1 % reset: exit codes before the rerun {codes}",
              flush=True)


def test_first_apply(t):
    disturbed("first apply")


def test_change_of_tiers(t):
    disturbed("change of tiers")


def test_destroy(t):
    disturbed("destroy")


main()
