"""Each request of a stream of log, of a base backup and of a restore meets each fault: the connection reset before or
after the effect, half an answer, 503, the quota full, an address or token that has ended, an answer that takes long;
and the program killed before, after, or so that the request lands when it is dead. And a base backup and a restore are
killed at each write to a file: strace does that. Nothing that was acknowledged is lost, a later run heals, `backup
verify` finds nothing, and the primary waits only in `strict`.

Requests are counted as they arrive at pocket. Cases are taken by chance, and none begins once most of a minute is
over; the seed is printed.

    ATOLL_BACKUP_SEED=N    the same cases again
    ATOLL_BACKUP_TORTURE=N N requests of each, and all faults; 0: every request
"""
import concurrent.futures
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

POINTS = os.environ.get("ATOLL_BACKUP_TORTURE")
LANES = 2 if POINTS else 1
SEED = int(os.environ.get("ATOLL_BACKUP_SEED", random.randrange(1 << 32)))
SAMPLE_S = 3  # of cases begun, in each of the tests
LAST_S = 50  # no test begins later
STARTED = time.monotonic()
SLOW_MS = 4000
STALL_S = 3.0  # of one commit, on a machine that does other things too; less than a slow answer takes
FAULTS = {
    "reset before": {"do": "reset"},
    "reset after": {"do": "reset", "when": "after"},
    "half an answer": {"do": "truncate"},
    "503": {"do": "status", "status": 503},
    "quota full": {"do": "status", "status": 413},
    "401": {"do": "status", "status": 401},
    "slow": {"do": "delay", "ms": SLOW_MS},
    "five resets": {"do": "reset", "row": 5},
    "five times 503": {"do": "status", "status": 503, "row": 5},
    "killed before": {"do": "kill"},
    "killed after": {"do": "kill", "when": "after"},
    "killed, then it lands": {"do": "late", "ms": 300},
}
# At the n-th of these of one of its threads the program is killed.
WRITES = ("write,writev,pwrite64,pwritev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
          "mkdir,mkdirat,rmdir")
KILLED = "killed at a write"
ALL_PUTS = "PUT /v1/*/bk/host/*"
BASE_PUTS = "PUT /v1/*/bk/host/[pb]a*"


def in_time():
    if not POINTS and time.monotonic() - STARTED > LAST_S:
        raise Skipped(f"the minute is over (seed {SEED}); ATOLL_BACKUP_TORTURE=0 takes all")


class World:
    """A cluster, its stream through PUT-only addresses, the owner's settings, and a pocket of its own."""

    def __init__(self, words, *lines, rows=0):
        self.t = t = Test(words)
        self.acknowledged, self.stall, self.failed, self.traced = 0, 0.0, False, None
        try:
            t.start_pocket("--no-servers")
            self.api = Api(t.pocket, "pocket")
            self.pg = Cluster(t)
            self.pg.sql("CREATE TABLE ledger (id int); CREATE TABLE filler (x text)")
            self.pg.sql("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO backup")
            self.pg.sql("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO backup")
            if rows:
                self.fill(rows)
            self.b = Backup(t, self.pg, repository="{cloud: pocket, container: bk}")
            self.owner = t.write("owner.yaml", "repository: {cloud: pocket, container: bk}\n"
                                 f"keys: {t.dir}/keys\nprograms: {pg_bin()}\n")
            t.atoll("backup", "audit", "--settings", self.owner, "--once", "--urls", f"{t.dir}/urls")
            self.b.repository = f"{{urls: {t.dir}/urls}}"
            self.b.configure(*lines)
            self.stream = self.b.stream("--make-slot")
            self.stream.flows()
            # A new slot is ahead of what is stored: the log is sent from its segment's beginning.
            at = self.commit()
            until("the first of the log is stored", 30, lambda: self.reach() >= at)
        except BaseException:
            t.end()
            raise

    def fill(self, rows):
        """64 bytes a row that do not compress well."""
        self.pg.sql("INSERT INTO filler SELECT md5(random()::text) || md5(random()::text) "
                    f"FROM generate_series(1, {rows})")

    def commit(self, rows=0):
        """A transaction; when it is answered it counts as acknowledged. A place in the log before its end."""
        start = time.monotonic()
        filler = ("INSERT INTO filler SELECT md5(random()::text) || md5(random()::text) "
                  f"FROM generate_series(1, {rows});") if rows else ""
        at = self.pg.sql(f"BEGIN; INSERT INTO ledger VALUES ({self.acknowledged + 1}); {filler} "
                         "SELECT pg_current_wal_insert_lsn(); COMMIT")
        self.acknowledged += 1
        self.stall = max(self.stall, time.monotonic() - start)
        return parse_lsn(at)

    def reach(self):
        """Up to where the store has the log without a hole."""
        text = self.api.call("object-store", "GET", "/bk?prefix=host/wal/")[2].decode()
        pieces = sorted(tuple(int(v, 16) for v in name.split("/")[3].split("-")[:2])
                        for name in text.split() if "history" not in name)
        end = pieces[0][0] if pieces else 0
        for start, stop in pieces:
            if start <= end:
                end = max(end, stop)
        return end

    def slot_is_stored(self):
        """What PostgreSQL was told is safe is in the store."""
        slot = pg_slot(self.pg)
        reach = self.reach()
        check(not reach or slot <= reach, f"PostgreSQL was told {format_lsn(slot)}, stored up to {format_lsn(reach)}")

    def arm(self, fault, n, match=None, pid=None):
        if fault == KILLED:
            self.traced = ("-o", "/dev/null", "-e", f"inject={WRITES}:signal=KILL:when={n}")
            return
        rule = dict(FAULTS[fault])
        row = rule.pop("row", 1)  # so many requests, one after another
        if match:
            rule["match"] = match
        if "killed" in fault:
            rule["pid_file"] = f"{self.t.dir}/pid"
            if pid:
                self.t.write("pid", f"{pid}\n")
        self.before = len(self.t.pocket.log())
        self.t.pocket.fault(*[dict(rule, n=n + i) for i in range(row)])

    def disarm(self):
        """Did it hit?"""
        if self.traced:
            self.traced = None
            return False  # its exit status says so
        self.t.pocket.fault()
        return any("fault" in r for r in self.t.pocket.log()[self.before:])

    def atoll(self, *argv):
        """One that may be killed: its process has the number in the rule's file."""
        strace, more = (), {}
        if self.traced:
            strace = ("/usr/bin/strace", "-f", "-b", "execve", "-qq", "-e", f"trace={WRITES}", *self.traced)
            more["ASAN_OPTIONS"] = "detect_leaks=0"  # which cannot be while somebody traces
        return self.t.run("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', f"{self.t.dir}/pid", *strace, f"{BUILD}/atoll",
                          *argv, **more)

    def whole(self, *options):
        """Everything is countersigned and nothing is odd."""
        self.t.atoll("backup", "audit", "--settings", self.owner, "--once")
        result = self.t.atoll("backup", "verify", "--settings", self.owner, *options, code=None)
        equal(result.code, 0, f"backup verify: {result}")

    def ledger_of(self, folder):
        """By a server on it, which is gone afterwards."""
        back = Cluster(self.t, f"{folder}-open", copy_of=f"{self.t.dir}/{folder}")
        found = back.sql("SELECT id FROM ledger ORDER BY id").split()
        back.kill()
        self.t.processes.remove(back)
        shutil.rmtree(back.dir)
        shutil.rmtree(f"{self.t.dir}/{folder}")
        return [int(v) for v in found]

    def restores_all(self):
        """All that was acknowledged and nothing else."""
        self.t.atoll("backup", "base", "--settings", self.b.settings)
        self.b.catch_up(self.pg)
        self.t.atoll("restore", "--settings", self.owner, "--to", f"{self.t.dir}/all")
        equal(self.ledger_of("all"), list(range(1, self.acknowledged + 1)), "the ledger")


class Lanes:
    """Cases are taken from one list by several worlds, until it is empty or the time is over."""

    def __init__(self, words, world, case, finish, counted, faults=FAULTS):
        self.words, self.world, self.case, self.finish = words, world, case, finish
        total, self.first = counted
        self.total = total
        seed = random.Random(f"{SEED} {words}")
        at = range(1, total + 1)
        if POINTS and int(POINTS):
            at = sorted({1 + i * (total - 1) // max(int(POINTS) - 1, 1) for i in range(int(POINTS))})
        self.cases = [(n, fault) for n in at for fault in faults]
        seed.shuffle(self.cases)
        self.until = None if POINTS else time.monotonic() + SAMPLE_S
        self.lock, self.done, self.hits, self.killed, self.healed, self.found = threading.Lock(), 0, 0, 0, 0, []
        self.stall = 0.0

    def take(self):
        with self.lock:
            late = self.until and time.monotonic() > self.until and self.done
            return None if late or not self.cases else self.cases.pop()

    def lane(self, number):
        """A case that fails is told, and the next begins in a world that is new."""
        w = self.first if number == 0 else None
        try:
            while (case := self.take()):
                n, fault = case
                words = f"{self.words}, {fault} at request {n}"
                try:
                    w = w or self.world(f"{self.words} {number}")
                    code, hit = self.case(w, n, fault)
                    with self.lock:
                        self.done, self.hits = self.done + 1, self.hits + (hit or code == -9)
                        self.killed, self.healed = self.killed + (code == -9), self.healed + (code not in (0, None))
                except Exception as e:
                    with self.lock:
                        self.found.append(f"{words}: {e if isinstance(e, Failed) else repr(e)}")
                    if w:
                        w.t.end()
                    w = None
            if w:
                self.finish(w)
                self.stall = max(self.stall, w.stall)
        except Exception as e:
            with self.lock:
                self.found.append(f"{self.words}, at the end: {e if isinstance(e, Failed) else repr(e)}")
        finally:
            if w:
                w.t.end()

    def run(self):
        count = len(self.cases)
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(LANES) as lanes:
            list(lanes.map(self.lane, range(LANES)))
        print(f"# {self.words}: {self.total} places, {self.done} of {count} cases run in {time.monotonic() - start:.0f} s: "
              f"{self.hits} met their fault, {self.killed} runs were killed, {self.healed} needed a later run; "
              f"longest commit {self.stall:.2f} s; {len(self.found)} defects; seed {SEED}", flush=True)
        equal(self.found, [], "defects")


def counted(world, work, match):
    """Requests of an undisturbed run, and its world."""
    w = world("reference")
    try:
        before = len(w.t.pocket.log())
        work(w)
        return sum(1 for r in w.t.pocket.log()[before:] if match(r)), w
    except BaseException:
        w.t.end()
        raise


def counted_writes(world, work):
    """Those of the thread that has the most, in an undisturbed run; and its world."""
    if not os.path.exists("/usr/bin/strace"):
        raise Skipped("without strace")
    w = world("reference")
    try:
        w.traced = ("-o", f"{w.t.dir}/writes")
        done = work(w)
        equal(done.code, 0, f"under strace: {done}")
        w.traced = None
        with open(f"{w.t.dir}/writes") as f:
            threads = [line.split()[0] for line in f]
        return max(threads.count(thread) for thread in set(threads)), w
    except BaseException:
        w.t.end()
        raise


def is_host_put(r):
    return r["method"] == "PUT" and "/bk/host/" in r["path"]


def stream_work(w):
    """Two transactions, the first of about three pieces. The exit code of a stream that was killed; None."""
    code = None
    for rows in (15000, 0):
        at = w.commit(rows)
        end = time.monotonic() + 30
        while pg_slot(w.pg) < at:
            w.slot_is_stored()
            check(time.monotonic() < end, f"the log was not stored: {w.stream.words()}")
            if w.stream.poll() is not None:
                code = w.stream.poll()
                w.t.pocket.fault()
                w.stream = w.b.stream()
                w.stream.flows()
    return code


def stream_case(w, n, fault):
    w.stall = 0.0
    w.arm(fault, n, ALL_PUTS, w.stream.process.pid)
    code = stream_work(w)
    hit = w.disarm()
    check(code in (None, -9), f"the stream ended with {code}: {[s.words() for s in w.b.streams[-2:]]}")
    check(w.stall < STALL_S, f"a commit waited {w.stall:.1f} s")
    w.b.catch_up(w.pg, 30)
    w.slot_is_stored()
    w.whole(*(["--data"] if code else []))
    return code, hit


def stream_end(w):
    equal(w.stream.stop(), 0, w.stream.words())
    w.stream = w.b.stream()
    w.stream.flows()
    w.restores_all()
    w.whole("--data", "--frames")


def test_stream(t):
    in_time()
    world = lambda words: World(words)
    Lanes("stream", world, stream_case, stream_end, counted(world, stream_work, is_host_put)).run()


def strict_work(w):
    """A commit that was answered is stored at that moment."""
    code = None
    for rows in (15000, 0):
        done = {}
        client = threading.Thread(target=lambda: done.update(at=w.commit(rows)), daemon=True)
        client.start()
        end = time.monotonic() + 40
        while client.is_alive():
            client.join(0.05)
            check(time.monotonic() < end, f"a commit is never answered: {w.stream.words()}")
            if w.stream.poll() is not None:
                code = w.stream.poll()
                w.t.pocket.fault()
                w.stream = w.b.stream()
                w.stream.flows()
        check(done["at"] <= w.reach(), f"{format_lsn(done['at'])} was acknowledged, and is not stored")
    return code


def strict_world(words):
    w = World(words, "synchronous: strict")
    try:
        until("commits wait", 20, lambda: w.stream.events() and w.stream.events()[-1]["synchronous"])
        until("PostgreSQL agrees", 10, lambda: w.pg.sql("SELECT sync_state FROM pg_stat_replication") == "sync")
    except BaseException:
        w.t.end()
        raise
    return w


def strict_case(w, n, fault):
    w.arm(fault, n, ALL_PUTS, w.stream.process.pid)
    code = strict_work(w)
    hit = w.disarm()
    check(code in (None, -9), f"the stream ended with {code}: {[s.words() for s in w.b.streams[-2:]]}")
    w.b.catch_up(w.pg, 30)
    w.whole(*(["--data"] if code else []))
    return code, hit


def test_stream_strict(t):
    in_time()
    Lanes("strict", strict_world, strict_case, stream_end, counted(strict_world, strict_work, is_host_put)).run()


def base_world(words):
    return World(words, rows=300000)


def base_work(w, full=True):
    w.commit()
    result = w.atoll("backup", "base", "--settings", w.b.settings, *(["--full"] if full else []))
    return result


def base_case(w, n, fault):
    w.stall = 0.0
    if n % 2:
        w.fill(30000)
    w.arm(fault, n, BASE_PUTS)
    result = base_work(w, full=n > 1)
    w.commit()
    hit = w.disarm()
    # Whoever is told that it failed runs it again.
    if result.code:
        again = base_work(w, full=False)
        equal(again.code, 0, f"a later run, after {result}: {again}")
    check(w.stall < STALL_S, f"a commit waited {w.stall:.1f} s")
    w.b.catch_up(w.pg, 30)
    w.whole()
    return result.code, hit


def base_end(w):
    """The newest backup, which others have left their packs to."""
    w.t.atoll("restore", "--settings", w.owner, "--to", f"{w.t.dir}/all")
    equal(w.ledger_of("all"), list(range(1, w.acknowledged + 1)), "the ledger")
    w.whole("--data", "--frames")


def test_base(t):
    in_time()
    packs = lambda r: is_host_put(r) and "/host/wal/" not in r["path"]
    Lanes("base", base_world, base_case, base_end, counted(base_world, base_work, packs)).run()


def test_base_writes(t):
    in_time()
    Lanes("writes of base", base_world, base_case, base_end, counted_writes(base_world, base_work), [KILLED]).run()


def restore_world(words):
    w = World(words)
    try:
        w.commit(20000)
        w.t.atoll("backup", "base", "--settings", w.b.settings)
        w.t.atoll("backup", "audit", "--settings", w.owner, "--once")
        w.commit(20000)
        w.commit()
        w.b.catch_up(w.pg)
        equal(w.stream.stop(), 0, w.stream.words())
        w.t.atoll("backup", "audit", "--settings", w.owner, "--once")
        # Nothing is written any more: only what is restored counts.
        w.pg.stop()
    except BaseException:
        w.t.end()
        raise
    return w


def restore_work(w):
    """From the login on."""
    shutil.rmtree(f"{w.t.dir}/cache", ignore_errors=True)
    if os.path.exists(f"{w.t.dir}/to") and not os.path.exists(f"{w.t.dir}/to/atoll-restore-unfinished"):
        shutil.rmtree(f"{w.t.dir}/to")
    return w.atoll("restore", "--settings", w.owner, "--to", f"{w.t.dir}/to", "--threads", "1")


def restore_case(w, n, fault):
    w.arm(fault, n)
    result = restore_work(w)
    hit = w.disarm()
    for _ in range(2 if result.code else 0):
        again = restore_work(w)
        if again.code == 0:
            break
        # The server of one that was killed may need a moment to go.
    else:
        if result.code:
            raise Failed(f"a later run, after {result}: {again}")
    equal(w.ledger_of("to"), list(range(1, w.acknowledged + 1)), f"the ledger after {result}")
    return result.code, hit


def restore_end(w):
    w.whole("--data", "--frames")


def test_restore(t):
    in_time()
    Lanes("restore", restore_world, restore_case, restore_end, counted(restore_world, restore_work, lambda r: True)).run()


def test_restore_writes(t):
    in_time()
    Lanes("writes of restore", restore_world, restore_case, restore_end, counted_writes(restore_world, restore_work),
          [KILLED]).run()


# In another order each time, so that none is always the one that the minute leaves out.
TESTS = [name for name in globals() if name.startswith("test_")]
for name in random.Random(SEED).sample(TESTS, len(TESTS)):
    globals()[name] = globals().pop(name)
main()
