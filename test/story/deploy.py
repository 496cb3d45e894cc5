"""Releases: a change of version under load, one that fails its gate, one whose last migration fails,
one that is held and taken back, and an operator whose machine dies at each step."""
import http.client
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import *

TIERS = ISLAND_HEAD + """\
  web:    {flavor: m1.small, count: 2, roles: [edge, web]}
  jobs:   {flavor: m1.small, count: 2, roles: [worker]}
  db:     {flavor: m1.small, roles: [postgres, redis], volume: {size: 10GB}}
"""
# Two waves only: for what is tried many times.
SMALL = ISLAND_HEAD + """\
  web:    {flavor: m1.small, count: 2, roles: [edge, web, worker]}
  db:     {flavor: m1.small, roles: [postgres, redis], volume: {size: 10GB}}
"""
# One of everything, as most islands are.
ONE = ISLAND_HEAD + """\
  all:    {flavor: m1.small, roles: [edge, web, worker, postgres, redis], volume: {size: 10GB}}
"""
PHASES = ["fetch", "pre", "roll", "post"]


def start(t, text=TIERS):
    t.start_pocket()
    t.island(text)
    t.apply()
    equal(t.ready()["version"], "1", "the release")
    return f"http://{t.address()}:8080"


def releases(t):
    """What the record in the cloud says, oldest first."""
    cloud = Api(t.pocket, "pocket")
    names = cloud.call("object-store", "GET", "/reef-mail?format=json&prefix=release/")[2]
    return [dict(p.strip().replace('"', "").split("=", 1) for p in o["content_type"].split(";")[1:])
            for o in sorted(names, key=lambda o: o["name"])]


def servers(t):
    top = f"{t.pocket.dir}/servers"
    return [f"{top}/{name}/{sub}" if sub else f"{top}/{name}"
            for name in os.listdir(top) for sub in ("root", "")
            if os.path.isdir(f"{top}/{name}/{sub}")]


class Kept:
    """One connection through the edge that is kept open, as a streaming client's is, and asked over it
    now and then. It has to live through a whole deploy."""

    def __init__(self, base):
        self.host = base.split("//")[1]
        self.asked, self.why, self.done = 0, None, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.connect()
            socket = connection.sock
            while not self.done:
                connection.request("GET", "/health")
                answer = connection.getresponse()
                answer.read()
                check(answer.status == 200, f"status {answer.status}")
                check(connection.sock is socket, "the edge closed it")
                self.asked += 1
                time.sleep(0.5)
        except (OSError, http.client.HTTPException, Failed) as e:
            self.why = repr(e)
        finally:
            connection.close()

    def end(self):
        self.done = True
        self.thread.join()
        check(self.why is None and self.asked > 3, f"after {self.asked} answers: {self.why}")


def long_jobs(base):
    """1,000 jobs of 1 to 20 s: most are short, as in life; with 2 x 5 threads that is some minutes."""
    return [(jobs(base, n, ms), n) for n, ms in ((940, 50), (40, 1000), (15, 5000), (5, 20000))]


def test_the_owners_account(t):
    base = SMALL.replace("servers:", "owner: {name: admin, email: admin@reef.example}\nservers:")
    t.start_pocket()
    t.island(base)
    first = t.apply()
    found = re.search(r"admin@reef.example, password (\S{16,})", first.out)
    check(found, f"no password in {first}")
    equal(database(t, "SELECT username, email, role, approved FROM accounts"),
          ["admin|admin@reef.example|Owner|t"], "the account")
    check("password" not in t.apply().out, "it is made and shown once")
    equal(releases(t)[-1]["owner"], "1", "the record")
    # A run that died after it was made: the account is there, and nobody has seen its password.
    t.write("island.yaml", base.replace("127.77.0.0/24", t.cidr).replace("admin", "second"))
    made = t.atoll("tootctl", "accounts", "create", "second", "--email", "second@reef.example",
                   "--confirmed", "--role", "Owner")
    Api(t.pocket, "pocket").call("object-store", "DELETE", "/reef-mail/release/00000002")
    again = re.search(r"second@reef.example, password (\S{16,})", t.apply().out)
    check(again and again.group(1) not in made.out, "another password")


def test_another_version_under_load(t):
    base = start(t)
    tokens = long_jobs(base)
    load, kept = Load(base + "/health", 50), Kept(base)
    began = time.monotonic()
    try:
        result = t.atoll("deploy", "-y", "2")
    finally:
        took = time.monotonic() - began
        load.end()
    kept.end()
    print(f"# 1 to 2 under load: {took:.1f} s, {load.sent} requests, {len(load.bad)} not 2xx, longest gap "
          f"{load.longest * 1000:.0f} ms, {kept.asked} answers over one connection", flush=True)
    check(not load.bad, f"{load.bad[:5]}\n{result}")
    check(load.sent > took * 25, f"only {load.sent} requests in {took:.0f} s")
    for token, n in tokens:
        all_ran_once(base, token, n, 180)
    equal(t.ready()["version"], "2", "the release")
    equal(database(t, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'runs' "
                      "AND column_name = 'queue' AND is_nullable = 'NO'"), ["1"],
          "the migration after the restart ran")
    equal([r["phase"] for r in releases(t)],
          ["done", "fetch", "pre", "roll", "roll", "roll", "roll", "post", "done"], "the steps")
    equal(releases(t)[-1]["now"], "canary,2,", "what runs")
    # No process of the old release is left.
    left = subprocess.run(["ps", "-eo", "pid,args"], stdout=subprocess.PIPE, text=True).stdout
    old = [line for line in left.splitlines() if f"{t.dir}/" in line and "canary-1" in line]
    equal(old, [], "old processes")
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan after a deploy")
    check("runs canary 2 already" in t.atoll("deploy", "2").out, "a second time")
    # The file still says 1: what runs is not its business, and a plan says so.
    late = t.atoll("rollback", "-y", code=None)
    check(late.code != 0 and "no change of release is under way" in late.err, late)


def test_one_web_server_under_load(t):
    """Its socket is kept while its release changes: who asks meanwhile waits, and is answered."""
    base = start(t, ONE)
    for argv, version in ((["deploy", "-y", "2", "--hold"], "2"), (["rollback", "-y"], "1"),
                          (["deploy", "-y", "2"], "2")):
        load = Load(base + "/health", 50)
        began = time.monotonic()
        try:
            result = t.atoll(*argv)
        finally:
            took = time.monotonic() - began
            load.end()
        print(f"# one web server, {argv[0]} to {version}: {took:.1f} s, {load.sent} requests, "
              f"{len(load.bad)} not 2xx, longest gap {load.longest * 1000:.0f} ms", flush=True)
        check(not load.bad, f"{load.bad[:5]}\n{result}")
        equal(t.ready()["version"], version, "the release")


def fails(t, base, version, words, code=9, gate="15s"):
    """A deploy that has to come back by itself."""
    token = jobs(base, 200, 20)
    # Pages: what users ask for. That /health fails is what one of these releases is about.
    load = Load(base + "/", 20)
    try:
        result = t.atoll("deploy", "-y", version, "--gate", gate, code=code)
    finally:
        load.end()
    check(not load.bad, f"to {version}: {load.bad[:5]}\n{result}")
    check(words in result.err, f"to {version}, wanted '{words}': {result}")
    all_ran_once(base, token, 200, 60)
    equal(t.ready(60)["version"], "1", "the release after a deploy that failed")
    equal(releases(t)[-1]["phase"], "done", "the record")
    equal(releases(t)[-1]["now"], "canary,1,", "what runs")
    return result


def test_what_fails_goes_back(t):
    base = start(t, SMALL)
    ways = (("3", "/health answers 500"), ("6", "exit status 1"), ("5", "prepare: exit status 1"),
            ("77", "the canary has no version 77"))
    for version, words in ways[:1] if sanitized() else ways:
        began = time.monotonic()
        fails(t, base, version, words)
        print(f"# {version} failed and went back: {time.monotonic() - began:.1f} s", flush=True)
    # After all that it can go on.
    t.atoll("deploy", "-y", "2")
    equal(t.ready()["version"], "2", "the release")


def test_a_migration_after_the_restart_fails(t):
    start(t, SMALL)
    result = t.atoll("deploy", "-y", "4", code=9)
    check("prepare: exit status 1" in result.err and "tries them again" in result.err, result)
    equal(t.ready()["version"], "4", "the release that runs meanwhile")
    equal(releases(t)[-1]["phase"], "post", "the record")
    late = t.atoll("rollback", "-y", code=None)
    check(late.code != 0 and "have begun" in late.err and "restore the database" in late.err, late)
    other = t.atoll("deploy", "-y", "2", code=None)
    check(other.code != 0 and "a deploy of canary 4 is under way" in other.err, other)
    equal(t.atoll("deploy", "-y", code=9).code, 9, "it fails again")
    database(t, "INSERT INTO consents (name) VALUES ('check_batches')")
    t.atoll("deploy", "-y")
    equal(releases(t)[-1]["phase"], "done", "the record")
    equal(t.ready()["version"], "4", "the release")


def not_twice():
    """The same code under sanitizers is run by the others here."""
    if sanitized():
        raise Skipped("once is enough, without sanitizers")


def test_held_and_taken_back(t):
    not_twice()
    start(t, SMALL)
    result = t.atoll("deploy", "-y", "2", "--hold")
    check("atoll rollback" in result.out, result)
    check("pending: 1 migrations before the restart, 1 after it" in result.out, result)
    equal(t.ready()["version"], "2", "the release while it is held")
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan while it is held")
    t.atoll("rollback", "-y")
    equal(t.ready()["version"], "1", "the release after the way back")
    equal(database(t, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'runs' "
                      "AND column_name = 'queue' AND is_nullable = 'YES'"), ["1"],
          "the migration after the restart did not run")
    t.atoll("deploy", "-y", "2", "--hold")
    t.atoll("deploy", "-y")
    equal(t.ready()["version"], "2", "the release")
    equal(releases(t)[-1]["phase"], "done", "the record")


def test_a_dry_run_and_a_file_that_differs(t):
    start(t)
    before = releases(t)
    result = t.atoll("deploy", "--dry-run", "2")
    check(re.search(r"disk free: db\.0 [\d.]+ GB", result.out), result)
    check("from canary 1 to canary 2" in result.out and "jobs.1, then jobs.0" in result.out, result)
    equal(releases(t), before, "a dry run writes nothing")
    bad = t.atoll("deploy", "-y", "2", "--from", "canary.tar.gz", code=64)
    check("its kind is canary" in bad.err, bad)
    bad = t.atoll("deploy", "-y", "v4 7", code=64)
    check("is no version" in bad.err, bad)
    # Somebody wants something else at the same time: that is a plan's business.
    t.write("island.yaml", TIERS.replace("count: 2, roles: [worker]", "count: 3, roles: [worker]")
            .replace("127.77.0.0/24", t.cidr))
    result = t.atoll("deploy", "-y", "2", code=8)
    check("atoll apply" in result.err, result)
    equal(releases(t), before, "nothing was begun")


def kill_at(t, phase):
    """Runs a deploy until its record in the cloud has that phase; kill -9."""
    process = t.spawn(f"{BUILD}/atoll", "deploy", "-y", *(["2"] if phase == "fetch" else []))
    until(f"the record says {phase}", 90,
          lambda: releases(t)[-1]["phase"] == phase or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    equal(releases(t)[-1]["phase"], phase, "where it died")


def test_the_operators_machine_dies(t):
    """In every phase of one deploy; each time another run goes on from there."""
    not_twice()
    base = start(t, SMALL)
    token = jobs(base, 1000, 20)
    load = Load(base + "/health", 50)
    try:
        for phase in PHASES:
            kill_at(t, phase)
        t.atoll("deploy", "-y")
    finally:
        load.end()
    check(not load.bad, f"{load.bad[:5]}")
    all_ran_once(base, token, 1000, 60)
    equal(t.ready()["version"], "2", "the release")
    equal(releases(t)[-1]["phase"], "done", "the record")
    # Nobody tried migrations again that had not failed: a second attempt ends the first.
    equal({r["try"] for r in releases(t)}, {"1"}, "attempts")
    # And on the way back.
    process = t.spawn(f"{BUILD}/atoll", "deploy", "-y", "3", "--gate", "5s")
    until("it is on the way back", 60, lambda: releases(t)[-1]["phase"] == "back")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    t.atoll("rollback", "-y")
    equal(t.ready(60)["version"], "2", "the release after the way back")


if __name__ == "__main__":
    main()
