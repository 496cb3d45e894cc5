"""A worker tier while things break: Redis is killed and loses what it had not written, servers never boot, a job
lasts longer than a drain. Nothing is lost by the scaling; what Redis loses, and what runs again, is counted and
named."""
import collections
import glob
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import *
from tier import *

# Only the scaled tier takes jobs.
PAIR = ISLAND_HEAD + """\
  web: {flavor: c1.c2r2, roles: [edge, web, worker], queues: [scheduler], threads: {worker: 1}}
  worker: {flavor: c1.c2r2, roles: [worker], threads: {worker: 10}, scale: {min: 1, max: 2, boot: 5s}}
  db: {flavor: c1.c1r1, roles: [postgres, redis], volume: {size: 10GB}}
media: {container: user-uploads, cloud: pocket-media}
"""
THREADS = 17  # of tier.SERVERS: two, and three times five


class Redis:
    """The island's own, as it stands; or one on a copy of its folder."""

    def __init__(self, t):
        [path] = glob.glob(f"{t.pocket.dir}/servers/*/root/**/redis.conf", recursive=True)
        with open(path) as f:
            words = dict(line.rstrip("\n").split(" ", 1) for line in f)
        self.t, self.address = t, words["bind"]
        self.password, self.folder = words["requirepass"].strip('"'), words["dir"].strip('"')
        self.find()

    def ask(self, *argv, address=None):
        """The lines of the answer; none if there is no answer."""
        r = subprocess.run(["redis-cli", "--raw", "-h", address or self.address, *argv], capture_output=True,
                           text=True, timeout=30, env=self.t.env(REDISCLI_AUTH=self.password))
        return r.stdout.splitlines() if r.returncode == 0 else []

    def find(self):
        self.pid = int(until("Redis answers", 30, lambda: [
            line.split(":")[1] for line in self.ask("INFO", "server") if line.startswith("process_id:")])[0])
        with open(f"/proc/{self.pid}/stat") as f:
            self.agent = int(f.read().rsplit(")", 1)[1].split()[1])

    def file(self):
        [path] = glob.glob(f"{self.folder}/appendonlydir/*.incr.aof")
        return path

    def kill(self, size=None, unanswered=0):
        """kill -9, and for as long as its host's agent is held nobody starts it again. With a size the file
        ends there, as after a power cut: `everysec` may lose a second. Unanswered are fetches that it has
        written and not answered: where a kill hits between these two, which is too short to be aimed at."""
        os.kill(self.agent, signal.SIGSTOP)
        os.kill(self.pid, signal.SIGKILL)
        until("Redis is gone", 10, lambda: not self.ask("PING"))
        if size is not None:
            os.truncate(self.file(), size)
        with open(self.file(), "ab") as f:
            f.write(unanswered * b"*2\r\n$4\r\nRPOP\r\n$13\r\nqueue:default\r\n")

    def start(self):
        os.kill(self.agent, signal.SIGCONT)
        self.find()

    def kept(self):
        """The jobs that are in its file, however often each is."""
        copy, address = tempfile.mkdtemp(dir=self.t.dir), self.t.cidr.replace("0/24", "250")
        shutil.copytree(f"{self.folder}/appendonlydir", f"{copy}/appendonlydir")
        process = subprocess.Popen(["redis-server", "--bind", address, "--dir", copy, "--save", "", "--appendonly",
                                    "yes", "--protected-mode", "no"], stdout=subprocess.DEVNULL,
                                   preexec_fn=die_with_parent)
        try:
            until("its copy answers", 30, lambda: self.ask("PING", address=address) == ["PONG"])
            equal(self.ask("ZCARD", "retry", address=address), ["0"], "jobs that failed")
            rows = self.ask("LRANGE", "queue:default", "0", "-1", address=address)
        finally:
            process.kill()
            process.wait()
        jobs = [json.loads(row) for row in rows]
        return collections.Counter((j["args"][0], j["args"][1]) for j in jobs if j["class"] == "LoadJob")

    def at_work(self, server):
        """What the processes of a server had in hand at their last beat, and their pids."""
        names = [p for p in self.ask("SMEMBERS", "processes") if p.startswith(f"{server}.")]
        rows = [json.loads(json.loads(row)["payload"]) for p in names for row in self.ask("HVALS", f"{p}:workers")]
        return {(j["args"][0], j["args"][1]) for j in rows}, {int(p.split(":")[1]) for p in names}


class Batches:
    """Jobs of a length that never run out while something is waited for. The ledger has them by token and number."""

    def __init__(self, t, base, scaler, ms):
        self.t, self.base, self.scaler, self.ms, self.sizes, self.at = t, base, scaler, ms, {}, 0

    def add(self, n, ms=None):
        token = jobs(self.base, n, ms or self.ms)
        self.sizes[token] = n
        return {(token, number) for number in range(1, n + 1)}

    def all(self):
        return {(token, number) for token, n in self.sizes.items() for number in range(1, n + 1)}

    def ran(self):
        return collections.Counter(job for job, _ in runs(self.t, *self.sizes))

    def keep(self, least):
        """At least so many wait, as the scaler sees it; once for each time that it looks."""
        line = last(self.scaler)
        if line and line["t"] > self.at and line["inputs"]["queues"].get("default", {"len": least})["len"] < least:
            self.at = line["t"] + 1
            self.add(60)

    def named(self, jobs):
        """By batch, the first is 1: "2: 17-19 30"."""
        words = []
        for batch, (token, n) in enumerate(self.sizes.items(), 1):
            numbers = [number for number in range(1, n + 1) if (token, number) in jobs]
            first = [a for a in numbers if a - 1 not in numbers]
            end = [b for b in numbers if b + 1 not in numbers]
            spans = [str(a) if a == b else f"{a}-{b}" for a, b in zip(first, end)]
            words += [f"{batch}: {' '.join(spans)}"] if spans else []
        return f"{len(jobs)} ({'; '.join(words) or 'none'})"


def last(scaler):
    return (scaler.lines() or [None])[-1]


def active(scaler):
    line = last(scaler)
    return line["inputs"]["pool"]["active"] if line else 0


def more_take_jobs(scaler, batches, count):
    def are():
        batches.keep(60)
        return active(scaler) == count
    until(f"{count} take jobs", 90, are)


def blind(scaler):
    return [line for line in scaler.lines() if not line["inputs"]["redis_ok"]]


def work_ends(scaler):
    """No job waits, and at their last beats no thread had one."""
    def is_so():
        seen = last(scaler)["inputs"]
        return seen["busy"] == 0 and not any(q["len"] for q in seen["queues"].values())
    until("no thread has a job", 120, is_so)


def never_lowered_in_the_dark(scaler):
    """Not while Redis is away, nor until what it tells has been seen for a while."""
    before, since = 0, None
    for line in scaler.lines():
        if not line["inputs"]["redis_ok"]:
            since = None
        elif since is None:
            since = line["t"]
        if since is None or line["t"] - since < QUICK["sight_s"]:
            check(line["desired"] >= before, f"from {before}: {line}")
            check(not [d for d in line["did"] if "told to finish" in d], line)
        before = line["desired"]


def outage(scaler, redis, batches, **how):
    """Redis is away for some of the scaler's turns. What its file has, and what had run to its end by then: jobs
    in hand at the kill have ended meanwhile."""
    seen = len(blind(scaler))
    redis.kill(**how)
    until("the scaler has been blind for a while", 30, lambda: len(blind(scaler)) >= seen + 4)
    kept, ran = redis.kept(), batches.ran()
    equal(blind(scaler)[-1]["desired"], 3, "servers that are wanted")
    redis.start()
    lost, again = batches.all() - set(kept) - set(ran), set(kept) & set(ran)
    print(f"# {how}: lost {batches.named(lost)}, to run again {batches.named(again)}", flush=True)
    return kept, ran, lost, again


def test_redis_is_killed(t):
    """In the middle of the fetching, twice: once with three fetches that nobody got the answer of, once without its
    last moment, in which jobs came and went. The ledger at the end is, job by job, what had run and what Redis still
    had: nothing else is lost, nothing else runs again."""
    base = start(t)
    redis, scaler = Redis(t), Scaler(t)
    batches = Batches(t, base, scaler, 100)
    batches.add(300)
    more_take_jobs(scaler, batches, 3)
    batches.add(700, 200)

    def some_run(n, than):
        until(f"{n} more jobs have run", 30, lambda: sum(batches.ran().values()) >= sum(than.values()) + n)
    some_run(100, batches.ran())
    kept, ran, lost, again = outage(scaler, redis, batches, unanswered=3)
    check(3 <= len(lost) <= 3 + THREADS and len(again) <= THREADS, "a job for each thread that fetches, at most")
    some_run(60, ran)
    size = os.path.getsize(redis.file())
    late = batches.add(40)
    some_run(30, batches.ran())
    kept, ran, lost, again = outage(scaler, redis, batches, size=size)
    check(late - set(ran) <= lost and len(lost) >= 20, "what came last is lost")
    check(len(again) >= 10, "and what was fetched last runs again")
    reaches(t, scaler, 1, 120)
    equal(batches.ran(), kept + ran, "runs of each job")
    equal(redis.ask("LLEN", "queue:default"), ["0"], "jobs that are left")
    never_lowered_in_the_dark(scaler)
    scaler.stop()


def test_servers_that_never_boot(t):
    """Nobody can fetch atoll's package, so new servers run and say nothing: they are given up, three of them in a
    row and no more, and the line says why; when boots work again the tier grows."""
    base = start(t)
    scaler = Scaler(t, "--join", "12s", "--retry", "15s")
    batches = Batches(t, base, scaler, 500)

    def made():
        return len([r for r in t.pocket.log()
                    if (r["method"], r["status"]) == ("POST", 202) and r["path"].endswith("/servers")])

    def while_busy(what, seconds, function):
        def ask():
            batches.keep(130)
            return function()
        return until(what, seconds, ask)
    before = made()
    t.pocket.fault({"match": "GET /v1/*/reef-boot/*.deb", "do": "status", "status": 503})
    [line, *_] = while_busy("no more are made", 90, lambda: [
        line for line in scaler.lines() if line["binding"] == "poison"])
    # The fourth may still be waited for.
    check(re.fullmatch(r"new servers do not come up: no more than [12] until one does", line["reason"]), line)
    check(scaler.did("is silent for too long and goes"), scaler.text())
    vain = made() - before
    print(f"# made in vain: {vain}", flush=True)
    check(3 <= vain <= 4, "three, or the one that was made with the third, too")
    while_busy("they are gone", 30, lambda: len(workers(t)) == 1)
    equal(made() - before, vain, "made since")
    t.pocket.fault()
    began = time.monotonic()
    while_busy("three take jobs", 90, lambda: active(scaler) == 3)
    print(f"# three take jobs {time.monotonic() - began:.1f} s after boots work again", flush=True)
    equal(scaler.did("more to be made")[-2:], 2 * ["1 more to be made"], "one is tried, then the other")
    work_ends(scaler)
    scaler.stop()
    equal(batches.ran(), collections.Counter(batches.all()), "runs")


def test_a_job_longer_than_the_drain(t):
    """A server has jobs for longer than --drain: they are put back, run again elsewhere, and each has run to its
    end once."""
    base = start(t, PAIR)
    redis, scaler = Redis(t), Scaler(t, "--drain", "3s")
    batches = Batches(t, base, scaler, 500)
    batches.add(150)
    more_take_jobs(scaler, batches, 2)
    scaler.process.send_signal(signal.SIGSTOP)
    # As many as there are threads, or nearly: of each three in turn one is long, so both servers have long ones.
    until("the queue is empty", 30, lambda: redis.ask("LLEN", "queue:default") == ["0"])
    long = set()
    for _ in range(6):
        long |= batches.add(1, 58000)
        batches.add(2, 2000)
    began = time.monotonic()
    scaler.process.send_signal(signal.SIGCONT)
    until("a server has no more time", 60, lambda: scaler.did("and no more time"))
    [words] = scaler.did("and no more time")
    victim = words.split()[0]
    left, pids = redis.at_work(victim)
    equal(words, f"{victim} has {len(left)} jobs left and no more time: it is stopped, and they are put back", "words")
    check(left and left <= long, f"{left} of {long}")
    print(f"# no more time after {time.monotonic() - began:.1f} s", flush=True)
    reaches(t, scaler, 1, 60)
    print(f"# gone after {time.monotonic() - began:.1f} s", flush=True)
    work_ends(scaler)
    again = {job for job, pid in runs(t, *batches.sizes) if job in left and pid not in pids}
    print(f"# put back, and run again elsewhere: {batches.named(again)}", flush=True)
    equal(again, left, "what ran again")
    equal(batches.ran(), collections.Counter(batches.all()), "runs")
    scaler.stop()


if __name__ == "__main__":
    main()
