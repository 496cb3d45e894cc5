"""What `atoll status` says of an island that is well, that is busy, that is half changed, that is ill."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import jobs
from deploy import TIERS, start


def look(t):
    result = t.atoll("status", "--json")
    island, = result.events("island")
    return island, {row["key"]: row for row in result.events("server")}


def pids(t, word):
    found = subprocess.run(["ps", "-eo", "pid,args"], stdout=subprocess.PIPE, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if word in line and t.net in line]


def table(t):
    """The lines of the table, with its head; and what stands below it."""
    lines = t.atoll("status").out.splitlines()
    top = next(i for i, line in enumerate(lines) if line.startswith("SERVER"))
    end = top + 6
    return lines[top:end], lines[end:]


def test_well_busy_changing_and_ill(t):
    base = start(t)
    version = t.atoll("--version").out.split()[-1].strip()

    island, rows = look(t)
    equal((island["installed"], island["phase"], island["maintenance"], island["as_file"]),
          (True, "done", False, True), "the island")
    equal(sorted(rows), ["db.0", "jobs.0", "jobs.1", "web.0", "web.1"], "servers")
    for key, row in rows.items():
        equal((row["health"], row["atoll"], row["why"]), ("healthy", version, ""), key)
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["started"]), row)
        check(all(s["state"] == "healthy" for s in row["services"]), row)
        equal(row["release"] and row["release"]["version"], None if key == "db.0" else "1", key)
        check(row["backlog"] is None or key == "db.0", row)
    lines, below = table(t)
    check(max(map(len, lines)) <= 80, lines)
    equal([line.split()[:2] for line in lines[1:]], [[k, "healthy"] for k in rows], lines)
    equal(list(rows), ["web.0", "web.1", "jobs.0", "jobs.1", "db.0"], "the order of the file")
    equal(below, [], "nothing is wrong")
    whole = t.atoll("status", "-l").out
    check(re.search(r"^jobs\.1: ACTIVE, atoll \S+, since \S+\n  worker\.1 +healthy(, started again \d+ times?)?$", whole, re.M), whole)

    # Busy: as counted within the last minutes.
    jobs(base, 300, 4000)

    def busy():
        backlog = look(t)[0]["backlog"]
        return backlog and backlog["queues"].get("default") and backlog["busy"] and backlog
    backlog = until("the backlog is told", 120, busy)
    check(backlog["busy"] <= 10 and backlog["queues"]["default"] < 300, backlog)
    text = t.atoll("status").out
    check(re.search(r"^jobs +\d+ wait \(default \d+.*\), \d+ at work$", text, re.M), text)


def test_half_changed_and_ill(t):
    start(t)
    t.net = t.cidr.rsplit(".", 1)[0]
    version = t.atoll("--version").out.split()[-1].strip()
    t.atoll("deploy", "-y", "2", "--hold")
    t.atoll("maintenance", "on")
    island, rows = look(t)
    equal((island["phase"], island["now"]["version"], island["to"]["version"], island["maintenance"]),
          ("held", "1", "2", True), "held")
    equal(rows["web.1"]["release"]["version"], "2", "what it runs")
    text = t.atoll("status").out
    check("deploy       held, to canary 2: the new release runs; migrations after wait\n" in text, text)
    check("`atoll rollback` goes back" in text and "the edge answers 503" in text, text)

    # Redis hangs: its host says so, and the workers' hosts do.
    redis, = pids(t, "redis-server")
    os.kill(redis, signal.SIGSTOP)
    try:
        until("the host says what is wrong", 60, lambda: "redis" in look(t)[1]["db.0"]["why"])
        lines, below = table(t)
        check(any(re.match(r"db\.0 is \w+: .*redis: ", line) for line in below), (lines, below))
    finally:
        os.kill(redis, signal.SIGCONT)

    # Its report is what it said before it was switched off; the cloud knows better.
    cloud = Api(t.pocket, "pocket")
    server, = [s for s in cloud.call("compute", "GET", "/servers?name=reef-jobs-1")[2]["servers"]]
    cloud.call("compute", "POST", f"/servers/{server['id']}/action", {"os-stop": None})
    until("it is off", 60, lambda: look(t)[1]["jobs.1"]["status"] == "SHUTOFF")
    lines, below = table(t)
    check(any(line.split()[:2] == ["jobs.1", "SHUTOFF"] for line in lines), lines)
    check("jobs.1 is SHUTOFF" in "\n".join(below), below)
    # What it said can't steer a terminal; and another atoll is named.
    said = [o for o in cloud.call("object-store", "GET", "/reef-mail?format=json&prefix=jobs.1/")[2]
            if re.search(r"/out/\d+-", o["name"])]
    cloud.call("object-store", "PUT", "/reef-mail/" + max(said, key=lambda o: o["last_modified"])["name"],
               {"version": "0.0.9", "why": "\x1b[2Jaway", "services": [], "started": "yesterday"})
    lines, below = table(t)
    check("jobs.1 is SHUTOFF: ?[2Jaway" in below, below)
    check(f"jobs.1 has atoll 0.0.9, this is {version}" in below, below)
    # One whose report is gone is no reason to say nothing of the others.
    t.pocket.fault({"match": "GET /v1/*/reef-mail/jobs.0/*/out/*", "do": "status", "status": 403})
    island, rows = look(t)
    equal((rows["jobs.0"]["why"], rows["jobs.0"]["release"]), ("its report can't be read", None), "jobs.0")
    equal(rows["web.0"]["release"]["version"], "2", "web.0")


if __name__ == "__main__":
    main()
