"""What a plan costs: calls as pocket counts them, wall time when each call takes 50 ms more, memory.
The same with 1 and with 40 web servers, which are hollow here. A build with sanitizers counts the
calls only."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

ISLAND = ISLAND_HEAD + """\
  edge: {flavor: c1.c1r1, roles: [edge]}
  web: {flavor: c1.c2r2, count: %d, roles: [web, worker]}
  db: {flavor: c1.c1r1, roles: [postgres, redis], volume: {size: 10GB}}
media: {container: user-uploads, cloud: pocket-media}
"""
COUNTS = (1, 40)
COLD, WARM = 28, 16
LATENCY = 0.050
PRIVATE_KB = 8192


def calls(t, *argv):
    before = len(t.pocket.log())
    t.atoll("plan", *argv)
    return len(t.pocket.log()) - before


def no_quotas(t):
    """Forty servers are more than an account has by itself."""
    admin = Api(t.pocket, "pocket-admin")
    project = Api(t.pocket, "pocket").project_id
    for service, root, quotas in (
            ("compute", "/os-quota-sets", {"quota_set": {"instances": -1, "cores": -1, "ram": -1,
                                                         "server_group_members": -1}}),
            ("network", "/v2.0/quotas", {"quota": {"port": -1}})):
        admin.call(service, "PUT", f"{root}/{project}", quotas)


def wall(t):
    start = time.monotonic()
    t.atoll("plan")
    return time.monotonic() - start


def test_calls_time_and_memory(t):
    t.start_pocket("--no-servers")
    no_quotas(t)
    found = {}
    for count in COUNTS:
        t.island(ISLAND % count)
        everything = calls(t, "--no-cache")
        t.apply("--no-wait")
        cold = calls(t, "--no-cache")
        check(f"web.{count - 1}" in t.atoll("status", code=None).out, "all servers are there")
        calls(t)
        warm = calls(t)
        found[count] = cold, warm
        print(f"# {count} web servers: {everything} calls for a plan that adds, {cold} cold, {warm} warm",
              flush=True)
        check(everything <= COLD and cold <= COLD and warm <= WARM, "too many calls")
        if sanitized():
            continue
        t.pocket.fault({"every": 1, "do": "delay", "ms": int(LATENCY * 1000)})
        times = sorted(wall(t) for _ in range(7))
        private, samples = peak_private_kb(t.spawn(f"{BUILD}/atoll", "plan"))
        check(samples > 20, f"{samples} samples only")
        t.pocket.fault()
        print(f"# with {LATENCY * 1000:.0f} ms more for each call: {times[0] * 1000:.0f} ms (median "
              f"{times[3] * 1000:.0f}), {private} kB private", flush=True)
        check(times[0] <= 3 * LATENCY + 0.050, f"{times}")
        check(private < PRIVATE_KB, f"{private} kB")
    equal(found[COUNTS[0]], found[COUNTS[1]], "calls, few and many servers")


main()
