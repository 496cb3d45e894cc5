"""kill -9 of `apply` at 20 spread-out requests, before and after the effect, and a rerun: one object
of each key, counted from pocket's rows and with Debian's `openstack` client; /ready is 200.

ATOLL_KILLS=N takes N points instead of 20 (the sanitizer run samples).
"""
import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

LANES = 3  # cases at a time; most of each is waiting
POINTS = int(os.environ.get("ATOLL_KILLS", "20"))
LISTS = ["network list", "subnet list", "router list", "port list", "security group list",
         "floating ip list", "volume list", "server list", "server group list"]


def island_rows(pocket):
    """Every object with our mark or name, as a sorted list: twice the same is two objects."""
    found = []
    for kind, name, body in pocket.rows():
        mark = json.dumps([name, body.get("description"), body.get("metadata")])
        if "reef" in mark and kind not in ("object", "object_version"):
            found.append(f"{kind} {name or body.get('description')}")
    return sorted(found)


def client_counts(t):
    """The same as Debian's client sees it: rows of each list, in one run of it."""
    script = "\n".join(f"{words} -f json" for words in LISTS) + "\n"
    process = subprocess.run(["/usr/bin/openstack", "--os-cloud", "pocket"], input=script.encode(),
                             cwd=t.dir, env=t.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             timeout=120)
    text = process.stdout.decode()
    answers, decoder = [], json.JSONDecoder()
    for match in re.finditer(r"^\[|(?<=\) )\[", text, re.M):
        answers.append(decoder.raw_decode(text[match.start():])[0])
    equal(len(answers), len(LISTS), f"answers of the openstack client: {text} {process.stderr.decode()}")
    return {words: len(rows) for words, rows in zip(LISTS, answers)}


def killed_apply(t, n, when):
    """Runs apply with a kill at arrival n; returns whether it was killed."""
    pid_file = f"{t.dir}/apply.pid"
    t.pocket.fault({"n": n, "do": "kill", "when": when, "pid_file": pid_file})
    result = t.run("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', pid_file, f"{BUILD}/atoll", "apply",
                   "-y", "--package", f"{BUILD}/atoll.deb")
    t.pocket.fault()
    return result.code == -9


def reference(t):
    """A run that nobody disturbs: its requests, rows and counts."""
    t.start_pocket()
    t.island()
    before = len(t.pocket.log())
    t.apply()
    t.ready()
    return len(t.pocket.log()) - before, island_rows(t.pocket), client_counts(t)


def one_case(name, n, when, rows, counts):
    t = Test(name)
    try:
        t.start_pocket()
        t.island()
        killed = killed_apply(t, n, when)
        t.apply()
        equal(island_rows(t.pocket), rows, f"killed {when} the effect of request {n}, rows")
        equal(client_counts(t), counts, f"killed {when} the effect of request {n}, client")
        t.ready()
        plan = t.atoll("plan", "--detailed-exitcode")
        check("No changes" in plan.out, plan)
        return killed
    finally:
        t.end()


def test_kill_at_spread_out_requests(t):
    total, rows, counts = reference(t)
    points = sorted({1 + i * (total - 1) // max(POINTS - 1, 1) for i in range(POINTS)})
    cases = [(n, when) for n in points for when in ("before", "after")]
    with concurrent.futures.ThreadPoolExecutor(LANES) as lanes:
        killed = sum(lanes.map(lambda c: one_case(f"kill-{c[0]}-{c[1]}", *c, rows, counts), cases))
    print(f"# {total} requests in an undisturbed apply; killed at {len(points)} of them, before and "
          f"after: {killed} kills")
    check(killed >= len(points), f"only {killed} runs were killed")


main()
