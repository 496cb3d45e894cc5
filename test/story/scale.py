"""A worker tier follows its queue: real Sidekiq, real Redis, on the embedded cloud. Every job runs exactly
once, whatever comes and goes."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import *
from tier import *


def test_decide_speaks_lines(t):
    """What the simulator decided in the same process comes out of the pipe, line for line; and lines that
    are none are answered and told of."""
    t.run(f"{BUILD}/test/bench/scale_sim", "--days", "1", "--seed", "5", "--trace", "1", "--chaos", "--policy", "latency",
          "--record", "day.jsonl")
    with open(f"{t.dir}/day.jsonl") as f:
        day = f.read()
    wanted = [json.loads(line)["decided"] for line in day.splitlines()]
    check(len(wanted) > 5000 and len(set(wanted)) > 3, f"a day with changes: {len(wanted)}")

    def decide(text, *more):
        r = subprocess.run([f"{BUILD}/atoll", "scale", "decide", *more], input=text, capture_output=True,
                           text=True, env=t.env(), timeout=60)
        return r, [json.loads(line) for line in r.stdout.splitlines()]
    r, got = decide(day)
    equal((r.returncode, [g["desired"] for g in got]), (0, wanted), "decisions")
    first = day.splitlines()[0]
    r, got = decide(f"{first}\n{{\n[]\n\n{first[:-20]}\n" + first.replace('"t":0.0', '"t":15.0') + "\n")
    check(r.returncode == 1 and "3 lines were no observations" in r.stderr, r)
    equal([("error" in g, g["desired"]) for g in got], [(False, 4)] + 3 * [(True, 4)] + [(False, 4)],
          "answers")
    r, got = decide("", "--policy", "dept")
    check(r.returncode == 64 and "not 'dept'" in r.stderr, r)
    # What is asked for counts over what each line's cfg says.
    r, got = decide(day, "--policy", "depth")
    equal({g["policy"] for g in got}, {"depth"}, "the policy that was asked for")
    check([g["desired"] for g in got] != wanted, "it decides otherwise")
    replay = t.atoll("scale", "replay", "day.jsonl", "--policy", "depth")
    check("observations over" in replay.out and "blind" in replay.out, replay)
    t.atoll("scale", "replay", "none.jsonl", code=1)


EXEC = """#!/usr/bin/python3
import sys
path, (verb, *more) = __file__ + ".pool", sys.argv[1:]
names = open(path).read().split()
if verb == "set":
    names = [n for n in names if n not in more[1:]]
    while len(names) < int(more[0]):
        names.append(f"pet{len(names)}")
    open(path, "w").write(" ".join(names))
for name in names:
    print(name, 5)
"""


def test_a_command_has_the_servers(t):
    if not os.path.exists("/usr/bin/redis-server"):
        raise Skipped("without redis-server")
    address = t.cidr.replace("0/24", "9")
    t.processes.append(subprocess.Popen(["/usr/bin/redis-server", "--bind", address, "--dir", t.dir, "--save", ""],
                                        stdout=subprocess.DEVNULL, preexec_fn=die_with_parent))

    def redis(*argv):
        return t.run("/usr/bin/redis-cli", "-h", address, *argv).out.strip()
    until("Redis answers", 20, lambda: redis("PING") == "PONG")
    t.write("scale.json", json.dumps({"min": 0, "max": 4, "threads": 5, "queues": {"default": {"slo": 30}}, **QUICK}))
    command = t.write("pool.py", EXEC)
    os.chmod(command, 0o755)
    t.write("pool.py.pool", "pet0")
    redis("SADD", "queues", "default")
    for _ in range(3):
        redis("LPUSH", "queue:default", *(['{"class":"A","enqueued_at":1795953600}'] * 100))
    argv = ("--exec", command, "--redis", address)
    dry = Scaler(t, *argv, "--dry-run")
    until("it decides", 20, lambda: [d for d in dry.lines() if d["desired"] > 1])
    dry.stop()
    equal(t.run(command, "list").out.split(), ["pet0", "5"], "servers after a dry run")
    equal(redis("KEYS", "atoll*"), "", "what a dry run wrote")
    scaler = Scaler(t, *argv)
    until("three servers", 20, lambda: len(t.run(command, "list").out.splitlines()) == 3)
    equal(redis("GET", "atoll:scale:pool:generation"), "1", "the lease's number")
    scaler.stop()
    equal(redis("EXISTS", "atoll:scale:pool"), "0", "the lease of one that ended")
    t.atoll("scale", "--exec", command, code=64)
    r = t.atoll("scale", "--heat", "workers", "--redis", address, code=64)
    check("--heat needs --config and --redis" in r.err, r)
    t.atoll("scale", *argv, "--heat", "workers", "--config", "scale.json", code=64)


def no_changes(t, while_):
    """What is under way ends, and then a plan has nothing to say."""
    until(f"a plan without changes while {while_}", 60,
          lambda: t.atoll("plan", "--detailed-exitcode", code=None).code == 0)


def test_one_to_three_to_one(t):
    base = start(t)
    equal(workers(t), ["reef-worker-0"], "servers of the least")
    r = t.atoll("scale", "--tier", "web", code=None)
    check(r.code and "servers.web has no `scale`" in r.err, r)
    r = t.atoll("scale", "set", "worker", "0,99", code=64)
    check("'99' is no number of a server" in r.err, r)
    t.write("wrong", "not this one\n")
    r = t.atoll("scale", code=None, ATOLL_PASSPHRASE_FILE=f"{t.dir}/wrong")
    check(r.code and "passphrase" in r.err, r)
    scaler = Scaler(t, "--record", "day.jsonl")
    token = jobs(base, 4000, 20)
    began = time.monotonic()
    reaches(t, scaler, 3, 40)
    settles(scaler, 3, 60)
    print(f"# from 1 to 3 that take jobs: {time.monotonic() - began:.1f} s", flush=True)
    # An operator while three stand; the scaler is held meanwhile, since its queue is empty soon.
    scaler.process.send_signal(signal.SIGSTOP)
    no_changes(t, "three stand")
    equal(len(workers(t)), 3, "workers")
    check("No changes" in t.apply().out, "an operator's apply while three stand")
    equal(len(workers(t)), 3, "workers after an apply")
    scaler.process.send_signal(signal.SIGCONT)
    reaches(t, scaler, 1, 120)
    print(f"# and back to 1: {time.monotonic() - began:.1f} s", flush=True)
    all_ran_once(base, token, 4000, 60)
    check(len(scaler.did("is told to finish")) == 2, scaler.text())
    check(len(scaler.did("has finished and goes")) >= 2, scaler.text())
    no_changes(t, "one stands again")
    memory = private_kb(scaler.process.pid)
    print(f"# private memory of the scaler: {memory / 1024:.1f} MiB", flush=True)
    check(sanitized() or memory < 8 * 1024, f"{memory} kB")
    scaler.stop()
    with open(f"{t.dir}/day.jsonl") as f:
        quotas = {json.loads(line)["cfg"].get("quota") for line in f}
    # Of twenty servers two are other tiers'.
    equal(quotas, {18}, "servers that the project's quotas allow")
    for line in scaler.lines():
        check(line["reason"] and line["binding"] and "terms" in line and "inputs" in line, line)
    replay = t.atoll("scale", "replay", "day.jsonl")
    check("observations over" in replay.out, replay)


def test_killed_in_the_middle_of_a_drain(t):
    """The next one sees in Redis what was begun, while a long job holds the server; another that runs
    beside it only looks on; a Redis that restarts holds the size."""
    base = start(t)
    scaler = Scaler(t)
    token = jobs(base, 1500, 20)
    reaches(t, scaler, 3, 40)
    settles(scaler, 3, 60)
    looker = Scaler(t)
    long = jobs(base, 17, 6000)  # for every thread that there is, and one waits
    until("a server is told to finish", 60, lambda: scaler.did("is told to finish"))
    scaler.kill()
    check(not looker.did(""), f"who has no lease does nothing: {looker.text()}")
    looker.stop()
    scaler = Scaler(t)
    reaches(t, scaler, 1, 120)
    all_ran_once(base, token, 1500, 60)
    all_ran_once(base, long, 17, 60)
    check(scaler.did("has finished and goes"), scaler.text())
    scaler.stop()


def test_the_cloud_refuses(t):
    """Every seventh request is told to come back, every eleventh fails, some answers are lost: the tier comes
    and goes all the same, with one server for each number and nothing left behind."""
    base = start(t)
    scaler = Scaler(t)
    t.pocket.fault({"every": 7, "do": "status", "status": 429, "retry_after": 1},
                   {"every": 11, "do": "status", "status": 500},
                   {"every": 17, "do": "reset", "when": "after"})
    token = jobs(base, 2500, 20)
    reaches(t, scaler, 3, 120)
    settles(scaler, 3, 120)
    reaches(t, scaler, 1, 240)
    t.pocket.fault()
    all_ran_once(base, token, 2500, 60)
    scaler.stop()
    until("nothing is left to do", 60, lambda: t.apply(code=None).code == 0)
    plan = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in plan.out, plan)
    equal(len([1 for k, n, b in t.pocket.rows("port") if "worker" in (n or "")]), 1, "ports of workers")


if __name__ == "__main__":
    main()
