"""kill -9 of `apply` at 20 spread-out requests, before and after the effect, and a rerun: one object
of each key, counted from pocket's rows and with Debian's `openstack` client; /ready is 200. The same
with connections reset, answers cut short, and errors of the service.

ATOLL_KILLS=N takes N points instead of 20.
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


def disturbed_apply(t, n, fault):
    """Runs apply with a fault at arrival n; what came of it."""
    pid_file = f"{t.dir}/apply.pid"
    t.pocket.fault(dict(fault, n=n, pid_file=pid_file))
    result = t.run("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', pid_file, f"{BUILD}/atoll", "apply",
                   "-y", "--package", f"{BUILD}/atoll.deb")
    t.pocket.fault()
    return result


def reference(t):
    """A run that nobody disturbs: its requests, rows and counts."""
    t.start_pocket()
    t.island()
    before = len(t.pocket.log())
    t.apply()
    t.ready()
    return len(t.pocket.log()) - before, island_rows(t.pocket), client_counts(t)


def one_case(n, fault, rows, counts):
    """A disturbed apply and a rerun on a cloud of their own; the disturbed one's exit code."""
    words = f"{fault} at request {n}"
    t = Test(words)
    try:
        t.start_pocket()
        t.island()
        first = disturbed_apply(t, n, fault)
        t.apply()
        equal(island_rows(t.pocket), rows, f"{words}, rows")
        equal(client_counts(t), counts, f"{words}, client")
        t.ready()
        plan = t.atoll("plan", "--detailed-exitcode")
        check("No changes" in plan.out, plan)
        return first.code
    except Failed as e:
        raise Failed(f"{words}: {e}") from e
    finally:
        t.end()


def spread(total, points):
    """So many requests, from the first one on. The last tenth is left out: how often a run polls
    differs, and a request that never comes would disturb nothing."""
    last = total * 9 // 10
    return sorted({1 + i * (last - 1) // max(points - 1, 1) for i in range(points)})


def run_cases(cases, rows, counts):
    with concurrent.futures.ThreadPoolExecutor(LANES) as lanes:
        return list(lanes.map(lambda c: one_case(*c, rows, counts), cases))


def test_kill_and_faults_at_spread_out_requests(t):
    total, rows, counts = reference(t)
    points = spread(total, POINTS)
    for when in ("before", "after"):
        kill = {"do": "kill", "when": when}
        codes = run_cases([(n, kill) for n in points], rows, counts)
        print(f"# {total} requests in an undisturbed apply; kill -9 at {len(points)} of them, {when} "
              f"the effect: {codes.count(-9)} were killed", flush=True)
        check(codes.count(-9) >= len(points) - 1, f"too few kills: {codes}")
    # What a network and a tired cloud do, at other requests: the run itself gets over most of it.
    faults = [{"do": "reset", "when": "before"}, {"do": "reset", "when": "after"},
              {"do": "truncate"}, {"do": "status", "status": 503}, {"do": "status", "status": 500},
              {"do": "status", "status": 429, "retry_after": 1}]
    cases = [(n + 1 + k, fault) for k, fault in enumerate(faults)
             for n in spread(total, max(POINTS // 10, 1))]
    codes = run_cases(cases, rows, counts)
    print(f"# {len(cases)} other faults: {codes.count(0)} runs got over theirs, the rest needed a "
          f"rerun: {sorted(set(codes))}")


main()
