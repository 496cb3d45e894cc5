"""An island is closed for maintenance and opened again: what the world sees, what goes on meanwhile."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import *
from deploy import TIERS, releases, start


def closed(url, method="GET", body=None):
    """True if the edge says that it is closed; a check that it says it properly."""
    status, headers, text = request(method, url, body)
    if status != 503:
        return False
    equal(headers["Retry-After"], "120", f"{method} {url}")
    check(headers["Content-Type"].startswith("text/html"), headers["Content-Type"])
    check(b"reef.example is being worked on" in text and b"</html>" in text, text)
    return True


def is_open(url):
    return request("GET", url)[0] == 200


def masters(t):
    """nginx's first processes: another one is a restart."""
    left = subprocess.run(["ps", "-eo", "pid,args"], stdout=subprocess.PIPE, text=True).stdout
    return sorted(line.split()[0] for line in left.splitlines()
                  if "nginx: master" in line and f"{t.dir}/" in line)


def webs(t):
    """Both web servers, behind the edge's back."""
    rows = t.atoll("status", "--json").events("server")
    return [f"http://{r['address']}:3000" for r in rows if "web" in r["roles"].split()]


def maintained(t):
    return "maintenance" in releases(t)[-1]


def test_closed_and_open(t):
    t.start_pocket()
    t.island(TIERS)
    early = t.atoll("maintenance", "on", code=8)
    check("not installed yet" in early.err, early)
    t.apply()
    t.ready()
    base = f"http://{t.address()}:8080"
    for words in ([], ["maybe"]):
        bad = t.atoll("maintenance", *words, code=64)
        check("is told on or off" in bad.err, bad)
    before, number = masters(t), len(releases(t))
    equal(len(before), 2, "edges")
    token = jobs(base, 40, 500)

    began = time.monotonic()
    result = t.atoll("maintenance", "on")
    until("the edge is closed", 10, lambda: closed(base + "/"))
    print(f"# closed after {time.monotonic() - began:.1f} s", flush=True)
    check("closed for maintenance" in result.out, result)
    check(closed(base + "/@admin/1?x=%27$y"), "a page")
    check(closed(base + "/inbox", "POST", {"type": "Create"}), "what other servers send")
    check(closed(base + "/api/v2/media", "POST", b"x" * 3_000_000), "an upload")
    equal(request("GET", base + "/health")[0], 200, "/health")
    equal(request("GET", base + "/metrics")[0], 404, "/metrics")
    check(not closed(base + "/.well-known/acme-challenge/x"), "what a certificate is renewed with")
    check(maintained(t), releases(t)[-1])
    equal(len(releases(t)), number + 1, "one record")

    # Web servers and workers go on.
    for web in webs(t):
        check(is_open(web + "/health"), web)
    all_ran_once(webs(t)[0], token, 40, 60)
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan")
    check("No changes" in t.apply().out, "apply")
    check("is already closed" in t.atoll("maintenance", "on").out, "a second time")
    equal(len(releases(t)), number + 1, "nothing was written")

    # A deploy meanwhile: the world sees nothing of it, and it opens nothing.
    load = Load(base + "/", 20)
    try:
        t.atoll("deploy", "-y", "2")
    finally:
        load.end()
    others = [bad for bad in load.bad if bad[1] != 503]
    equal((others[:5], len(load.bad)), ([], load.sent), "what the world saw")
    check(maintained(t) and releases(t)[-1]["now"] == "canary,2,", releases(t)[-1])
    for web in webs(t):
        equal(request("GET", web + "/ready")[2]["version"], "2", web)
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan after the deploy")

    result = t.atoll("maintenance", "off", "--json")
    row, = result.events("maintenance")
    equal((row["on"], row["was"]), (False, True), result)
    until("the edge is open", 10, lambda: is_open(base + "/"))
    equal(t.ready()["version"], "2", "the release")
    check(not maintained(t), releases(t)[-1])
    equal(masters(t), before, "nginx was not restarted")
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan at the end")


def test_another_change_waits_and_a_killed_run_is_finished(t):
    base = start(t)
    number, grown = len(releases(t)), ("count: 2, roles: [worker]", "count: 3, roles: [worker]")
    text = TIERS.replace("127.77.0.0/24", t.cidr)
    # What the file has meanwhile of the edge or of further servers is a plan's business.
    for edit, words in ((grown, "no server jobs.2"),
                        (("edge: {http: 8080}", "edge: {http: 8081}"), "host web.0")):
        t.write("island.yaml", text.replace(*edit))
        result = t.atoll("maintenance", "on", code=8)
        check("is otherwise not what the island file says: " + words in result.err, result)
        check(is_open(base + "/"), "nothing was done")
        equal(len(releases(t)), number, "nothing was written")
    t.write("island.yaml", text)
    process = t.spawn(f"{BUILD}/atoll", "maintenance", "on")
    until("the record says it", 60, lambda: maintained(t) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    t.atoll("maintenance", "on")
    until("the edge is closed", 10, lambda: closed(base + "/"))
    # A server is added meanwhile: the edge stays closed.
    t.write("island.yaml", text.replace(*grown))
    t.apply()
    check(closed(base + "/") and maintained(t), "apply opened it")
    t.atoll("maintenance", "off")
    until("the edge is open", 10, lambda: is_open(base + "/"))
    t.ready()


if __name__ == "__main__":
    main()
