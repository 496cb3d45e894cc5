"""The faults that pocket makes on purpose are the ones asked for; a second pocket is refused."""
import concurrent.futures
import http.client
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *


def test_second_pocket_is_refused(t):
    p = t.start_pocket("--no-servers")
    second = t.run(f"{BUILD}/atoll-pocket", "--dir", p.dir, "--no-servers")
    equal(second.code, 4, str(second))
    check("another atoll-pocket runs on" in second.err, second.err)
    equal(t.run(f"{BUILD}/atoll-pocket").code, 64, "no --dir")
    equal(t.run(f"{BUILD}/atoll-pocket", "--dir", p.dir + "2", "--port", "1").code, 64, "bad option")
    p.stop()
    equal(p.process.returncode, 0, "exit code after SIGTERM")


def outcome(api, service, method, path, body=None):
    """The status, or how the connection broke."""
    try:
        return api.call(service, method, path, body, ok=False)[0]
    except http.client.IncompleteRead:
        return "cut"
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return "reset"
    except urllib.error.URLError as e:
        return "reset" if isinstance(e.reason, (ConnectionError, socket.error)) else str(e)


def test_faults(t):
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    api.call("object-store", "PUT", "/box")
    cases = [
        # rule, outcome, is the object there afterwards
        ({"n": 1, "do": "reset"}, "reset", False),
        ({"n": 1, "do": "reset", "when": "after"}, "reset", True),
        ({"match": "PUT /v1/", "do": "status", "status": 503, "times": 1}, 503, False),
        ({"service": "swift", "do": "status", "status": 498}, 498, False),
        ({"service": "nova", "do": "reset"}, 201, True),
        ({"n": 1, "do": "delay", "ms": 300}, 201, True),
        ({"n": 2, "do": "reset"}, 201, True),
    ]
    for i, (rule, wanted, there) in enumerate(cases):
        p.fault(rule)
        start = time.monotonic()
        equal(outcome(api, "object-store", "PUT", f"/box/{i}", b"x"), wanted, str(rule))
        check(rule["do"] != "delay" or time.monotonic() - start >= 0.3, "no delay")
        p.fault()
        equal(outcome(api, "object-store", "HEAD", f"/box/{i}"), 200 if there else 404, str(rule))
    p.fault({"match": "GET /v1/*/box/1", "do": "truncate", "bytes": 0})
    check(outcome(api, "object-store", "GET", "/box/1") in ("cut", "reset"), "not cut")
    p.fault({"service": "keystone", "do": "status", "status": 429, "retry_after": 7})
    status, headers, body = api.call("identity", "GET", "/auth/projects", ok=False)
    equal((status, headers["Retry-After"], body["error"]["code"]), (429, "7", 429), "429")
    faults = [(r["status"], r["fault"]) for r in p.log() if "fault" in r]
    equal(faults[:2], [(0, "reset"), (0, "reset")], "log")


def test_fault_kills(t):
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    api.call("object-store", "PUT", "/box")
    for when in ("before", "after"):
        victim = subprocess.Popen(["/bin/sleep", "60"], preexec_fn=die_with_parent)
        t.processes.append(victim)
        pid_file = t.write("victim.pid", f"{victim.pid}\n")
        p.fault({"n": 1, "do": "kill", "when": when, "pid_file": pid_file})
        equal(outcome(api, "object-store", "PUT", f"/box/kill-{when}", b"x"), "reset", when)
        equal(victim.wait(10), -9, "victim")
    p.fault({"n": 1, "do": "stop", "when": "after"})
    equal(outcome(api, "object-store", "PUT", "/box/stop-after", b"x"), "reset", "stop")
    equal(p.process.wait(10), -9, "pocket")
    p.fault()
    p.start()
    api = Api(p, "pocket")
    equal(api.call("object-store", "GET", "/box")[2].decode().split(), ["kill-after", "stop-after"],
          "what took effect")


def test_fault_late(t):
    """The request lands after its client has died: nobody is there to hear of it. The moment between
    is the rule's, so that somebody else can look first."""
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    api.call("object-store", "PUT", "/box")
    cases = [("object-store", "PUT", "/box/late", b"x", "GET", "/box/late"),
             ("network", "POST", "/v2.0/networks", {"network": {"name": "late"}}, "GET",
              "/v2.0/networks?name=late"),
             ("object-store", "PUT", "/none/late", b"x", "GET", "/box/none")]  # refused at its head
    for service, method, path, body, look, where in cases:
        victim = subprocess.Popen(["/bin/sleep", "60"], preexec_fn=die_with_parent)
        t.processes.append(victim)
        pid_file = t.write("victim.pid", f"{victim.pid}\n")
        p.fault({"match": f"{method} /", "do": "late", "ms": 700, "pid_file": pid_file})
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            answer = other.submit(outcome, api, service, method, path, body)
            equal(victim.wait(10), -9, "victim")
            status, _, found = api.call(service, look, where, ok=False)
            check(status == 404 or found == {"networks": []}, f"{path}: too early: {status} {found}")
            equal(answer.result(), "reset", path)
        status, _, found = api.call(service, look, where, ok=False)
        check(path.startswith("/none") or (status == 200 and found != {"networks": []}),
              f"{path} did not land: {status} {found}")
    equal([r["status"] for r in p.log() if r.get("fault") == "late"], [0, 0, 0], "log")


def test_fault_barrier(t):
    """Requests of several clients go on together; who waits in vain goes on alone."""
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    body = {"security_group": {"name": "x"}}
    p.fault({"match": "POST /v2.0/security-groups", "do": "barrier", "parties": 3, "ms": 20000})
    with concurrent.futures.ThreadPoolExecutor(3) as clients:
        ask = lambda: (api.call("network", "POST", "/v2.0/security-groups", body)[0], time.monotonic())
        first = [clients.submit(ask) for _ in range(2)]
        # Another service goes on meanwhile, and nobody of the two.
        api.call("network", "GET", "/v2.0/security-groups")
        check(not any(f.done() for f in first), "the barrier did not hold")
        released = time.monotonic()
        third = ask()
        times = [f.result() for f in first] + [third]
    equal([status for status, _ in times], [201] * 3, "answers")
    check(all(when > released for _, when in times), "somebody went before the third came")
    p.fault({"match": "POST /v2.0/security-groups", "do": "barrier", "parties": 2, "ms": 300})
    start = time.monotonic()
    equal(ask()[0], 201, "alone")
    check(0.3 <= time.monotonic() - start < 10, "the wait has an end")
    p.fault({"n": 1, "service": "neutron", "do": "barrier", "ms": 60000})
    with concurrent.futures.ThreadPoolExecutor(1) as clients:
        hung = clients.submit(outcome, api, "network", "POST", "/v2.0/security-groups", body)
        until("the request waits", 10, lambda: api.call("compute", "GET", "/flavors") and not hung.done())
        p.stop()
        hung.result(10)
    equal(p.process.returncode, 0, "a barrier does not hold up the end")


main()
