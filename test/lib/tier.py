"""A tier of an island that a scaler keeps: what is there, and what the scaler says."""
import json
import signal
import subprocess
import time

from harness import BUILD, ISLAND_HEAD, Failed, die_with_parent, equal, until

SERVERS = ISLAND_HEAD + """\
  web: {flavor: c1.c2r2, roles: [edge, web, worker], threads: {worker: 2}}
  worker: {flavor: c1.c2r2, roles: [worker], threads: {worker: 5}, scale: {min: 1, max: 3, boot: 5s}}
  db: {flavor: c1.c1r1, roles: [postgres, redis], volume: {size: 10GB}}
media: {container: user-uploads, cloud: pocket-media}
"""
# The law's own times are minutes; those of a test are seconds.
QUICK = {"policy": "depth", "sight_s": 3,
         "depth": {"high": 100, "low": 20, "up": 2, "hold_s": 3, "cool_s": 5}}


def start(t, servers=SERVERS, **depth):
    """An island whose tier `worker` is scaled, and what the scaler is told. Where its web is."""
    t.start_pocket()
    t.island(servers)
    t.apply()
    t.ready()
    t.write("scale.json", json.dumps({**QUICK, "depth": {**QUICK["depth"], **depth}}))
    return f"http://{t.address()}:8080"


class Scaler:
    def __init__(self, t, *more):
        self.path = f"{t.dir}/scale.{len(t.processes)}.log"
        with open(self.path, "w") as log:
            self.process = subprocess.Popen(
                [f"{BUILD}/atoll", "scale", "--json", "--every", "1s", "--config", "scale.json",
                 "--package", f"{BUILD}/atoll.deb", *more],
                cwd=t.dir, env=t.env(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent)
        t.processes.append(self.process)

    def lines(self):
        with open(self.path) as f:
            return [json.loads(line) for line in f if line.startswith("{") and line.endswith("}\n")]

    def did(self, words):
        return [d for line in self.lines() for d in line.get("did", []) if words in d]

    def text(self):
        with open(self.path) as f:
            return f.read()[-6000:]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        until("the scaler looks", 30, self.lines)  # before that it may not hear a signal
        self.process.terminate()
        equal(self.process.wait(30), 0, "the scaler's exit status")


def servers(t, tier):
    return sorted(n for k, n, b in t.pocket.rows("server") if n.startswith(f"reef-{tier}-"))


def workers(t):
    return servers(t, "worker")


def reaches(t, scaler, count, seconds, tier="worker"):
    try:
        until(f"{count} servers of {tier}", seconds, lambda: len(servers(t, tier)) == count)
    except Failed as e:
        raise Failed(f"{e}; there are {servers(t, tier)}\n{scaler.text()}")


def settles(scaler, active, seconds):
    """All of the pool take jobs, and none boots."""
    def is_so():
        last = scaler.lines()[-1:]
        pool = last[0]["inputs"]["pool"] if last else {}
        return pool.get("active") == active and pool.get("booting") == 0
    try:
        until(f"{active} take jobs", seconds, is_so)
    except Failed as e:
        raise Failed(f"{e}\n{scaler.text()}")
