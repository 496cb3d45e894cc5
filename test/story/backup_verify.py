"""A real cluster's stream and backups in a folder; then one thing after the other is spoiled: `backup verify`
names each, a clean store has none, and `backup prune` takes only what it may, wherever it is killed."""
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

FORGE = f"{BUILD}/test/unit/backup/backup_forge"
DAY = 86400


class World:
    """Two backups with log before, between and behind them, countersigned."""

    def __init__(self, t):
        self.t = t
        self.pg = Cluster(t)
        self.b = Backup(t, self.pg, "keep: {daily: 1, weekly: 0, monthly: 0, window: 0s}")
        stream = self.b.stream("--make-slot")
        stream.flows()
        self.pg.sql("CREATE TABLE ledger (id bigserial, filler text)")
        for _ in range(2):
            self.write()
            t.atoll("backup", "base", "--settings", self.b.settings)
            self.write()
        self.b.catch_up(self.pg)
        equal(stream.stop(), 0, "the stream ends")
        self.audit()

    def write(self):
        for _ in range(3):
            self.pg.sql("INSERT INTO ledger (filler) SELECT repeat('x', 100) FROM generate_series(1, 300)")
            self.b.catch_up(self.pg)

    def audit(self):
        self.t.atoll("backup", "audit", "--settings", self.b.settings, "--once")

    def verify(self, *options, code=None):
        result = self.t.atoll("backup", "verify", "--settings", self.b.settings, "--json", *options, code=None)
        found = [(e["kind"], e["name"]) for e in result.events("finding")]
        equal(result.code, 1 if found else 0, f"exit code: {result}")
        for e in result.events("finding"):
            check(e["words"] and e["advice"], f"words: {e}")
        return found

    def all(self):
        return self.verify("--data", "--frames")

    def path(self, name):
        return f"{self.b.store}/{name}"

    def of(self, kind):
        return [n for n in self.b.files() if n.startswith(f"host/{kind}/") and "history" not in n]

    def forge(self, kind, facts, keys=None, system=None):
        out = f"{self.t.dir}/forged"
        system = system or self.pg.sql("SELECT system_identifier FROM pg_control_system()")
        result = self.t.run(FORGE, keys or f"{self.t.dir}/keys", system, kind, json.dumps(facts), out)
        equal(result.code, 0, f"forging: {result}")
        name = result.out.strip()
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        shutil.move(out, self.path(name))
        return name


def needs_tools():
    if not os.path.exists(FORGE):
        raise Skipped("the tool that forges is in the build folder only")


def test_each_finding(t):
    needs_tools()
    w = World(t)
    equal(w.verify(), [], "a clean store, by its listing")
    equal(w.all(), [], "a clean store, all of it")
    shutil.copytree(w.b.store, f"{t.dir}/clean")
    words = t.atoll("backup", "verify", "--settings", w.b.settings).out
    check("all is as it was seen" in words and "--data reads every byte" in words, words)

    def again():
        shutil.rmtree(w.b.store)
        shutil.copytree(f"{t.dir}/clean", w.b.store)

    # A flipped byte, anywhere in any kind of object.
    for kind in ("wal", "pack", "base"):
        for where in (3, 60, -100, -1):
            name = w.of(kind)[0]
            with open(w.path(name), "r+b") as f:
                data = bytearray(f.read())
                data[where] ^= 1
                f.seek(0)
                f.write(data)
            check(("changed", name) in w.all() or ("forged", name) in w.all(), f"{kind} {where} is not named")
            again()
    # Cut short: by the listing.
    for kind in ("wal", "pack", "base"):
        name = w.of(kind)[0]
        os.truncate(w.path(name), os.path.getsize(w.path(name)) - 1)
        check(("changed", name) in w.verify(), f"{kind} cut short")
        again()
    # Two that change places.
    first, second = w.of("wal")[:2]
    os.rename(w.path(first), w.path("x"))
    os.rename(w.path(second), w.path(first))
    os.rename(w.path("x"), w.path(second))
    found = w.all()
    check(("changed", first) in found and ("changed", second) in found, f"swapped: {found}")
    again()
    # Removed.
    for kind in ("wal", "pack", "base"):
        name = w.of(kind)[-1]
        os.unlink(w.path(name))
        check(("missing", name) in w.verify(), f"{kind} removed")
        again()
    os.unlink(w.path("catalogue/0000000001"))
    result = t.atoll("backup", "verify", "--settings", w.b.settings, code=1)
    check("catalogue/0000000001" in result.err, str(result))
    again()
    # Names of nobody.
    for name in ("host/photo.jpg", "host/wal/00000001/readme", "readme"):
        with open(w.path(name), "w") as f:
            f.write("x")
        check(("extra", name) in w.verify(), f"{name} is extra")
    again()


def test_forged(t):
    """Objects with a good name: signed by nobody, by the host's stolen key with lies in them."""
    needs_tools()
    w = World(t)
    os.makedirs(f"{t.dir}/other")
    other = t.write("other.yaml", f"repository: {{folder: {t.dir}/other-store}}\nkeys: {t.dir}/other\n")
    t.atoll("backup", "init", "--settings", other, "--recovery-file", f"{t.dir}/other-recovery")
    last = max(w.b.pieces(), key=lambda p: p.end)
    prev = w.b.pieces()[-1].hash

    def wal(start, end, prev="", run="feed"):
        return {"tli": 1, "start": format_lsn(start), "end": format_lsn(end), "prev": prev, "run": run, "sent": 0}
    base = {"id": "20261129T013000Z-0123456789abcdef", "tli": 1, "start": format_lsn(last.start),
            "stop": format_lsn(last.end), "packs": [["host/pack/0123456789abcdef-000001-" + "0" * 32, 1, ""]]}
    stranger = w.forge("wal", wal(last.end, last.end + 6), keys=f"{t.dir}/other")
    manifest = w.forge("base", base, keys=f"{t.dir}/other")
    cluster = w.forge("wal", wal(last.end, last.end + 6), system="7000000000000000007")
    w.audit()
    found = w.all()
    for name in (stranger, manifest, cluster):
        check(("forged", name) in found, f"{name} is not named: {found}")
    for name in (stranger, manifest, cluster):
        os.unlink(w.path(name))
    # With the host's own key.
    manifest = w.forge("base", base)
    check(("missing", base["packs"][0][0]) in w.verify(), "a manifest of packs that nobody saw")
    os.unlink(w.path(manifest))
    reordered = w.forge("wal", wal(last.end, last.end + 6, prev=w.b.pieces()[0].hash))
    orphan = w.forge("wal", wal(last.end + 6, last.end + 12, prev="ab" * 32))
    found = w.verify("--data")
    check(("chain", reordered) in found and ("chain", orphan) in found, f"chain: {found}")
    twice = w.forge("wal", wal(last.end, last.end + 6, prev=w.b.pieces()[0].hash))
    found = w.verify("--data")
    check({("fork", twice), ("fork", reordered)} & set(found), f"two that follow one piece: {found}")
    # Which of the two is told of is up to their names, and these have a hash in them.
    found = w.all()
    check({(kind, name) for kind in ("fork", "changed") for name in (twice, reordered)} & set(found), f"overlap: {found}")
    for name in (reordered, orphan, twice):
        os.unlink(w.path(name))
    beyond = w.forge("wal", wal(last.end + 1000, last.end + 1006))
    check(("gap", beyond) in w.verify(), f"a hole: {prev}")


def test_late(t):
    """What nobody countersigned, and where nobody does."""
    needs_tools()
    w = World(t)
    late = w.forge("pack", {"run": "0123456789abcdef", "number": 1})
    equal(w.verify(), [], "a moment ago")
    os.utime(w.path(late), (time.time() - 300,) * 2)
    equal(w.verify(), [("late", late)], "five minutes ago")
    shutil.rmtree(w.path("catalogue"))
    check(("late", "") in w.verify(), "nobody countersigns")


def prune(w, *options, code=0):
    return w.t.atoll("backup", "prune", "--settings", w.b.settings, *options, code=code)


def age(w, days):
    """The store as it would be so much later: files and notes are `days` older."""
    shutil.rmtree(w.path("catalogue"))
    for name in w.b.files():
        os.utime(w.path(name), (time.time() - days * DAY,) * 2)
    w.audit()


def test_prune(t):
    w = World(t)
    age(w, 40)
    # A third backup, of today.
    stream = w.b.stream()
    stream.flows()
    w.write()
    t.atoll("backup", "base", "--settings", w.b.settings)
    w.b.catch_up(w.pg)
    equal(stream.stop(), 0, "the stream ends")
    w.audit()
    files = w.b.files()
    shown = prune(w, "--dry-run")
    check("the window begins with it" in shown.out and "Will be gone" in shown.out, str(shown))
    equal(w.b.files(), files, "a dry run writes nothing")
    # Nobody answers: nothing.
    prune(w, code=64)
    equal(w.b.files(), files, "no answer")
    plan = prune(w, "--yes", "--json", "--grace", "0s").events("prune")[0]
    check(plan["mark"] and not plan["remove"], f"marked first: {plan}")
    equal([n for n in files if n not in w.b.files()], [], "nothing is gone yet")
    waits = prune(w, "--yes", "--json").events("prune")[0]
    equal((waits["mark"], waits["remove"], waits["waiting"]), ([], [], len(plan["mark"])), "it waits")
    second = prune(w, "--yes", "--json", "--grace", "0s").events("prune")[0]
    equal(sorted(second["remove"]), sorted(plan["mark"]), "removed")
    equal([n for n in plan["mark"] if os.path.exists(w.path(n))], [], "gone")
    last = prune(w, "--yes", "--json", "--grace", "0s").events("prune")[0]
    equal((last["mark"], last["remove"], last["waiting"]), ([], [], 0), "nothing more")
    equal(w.all(), [], "what is left is whole")
    t.atoll("restore", "--settings", w.b.settings, "--to", f"{t.dir}/restored")


def test_prune_is_killed(t):
    """After each of its system calls that changes the store; the next one goes on."""
    w = World(t)
    age(w, 40)
    stream = w.b.stream()
    stream.flows()
    t.atoll("backup", "base", "--settings", w.b.settings)
    w.b.catch_up(w.pg)
    equal(stream.stop(), 0, "the stream ends")
    w.audit()
    prune(w, "--yes", "--grace", "0s")
    left = w.b.files()
    for n in range(60):
        p = t.spawn(f"{BUILD}/atoll", "backup", "prune", "--settings", w.b.settings, "--yes", "--grace", "0s")
        end = time.monotonic() + 30
        while p.poll() is None and w.b.files() == left and time.monotonic() < end:
            pass
        p.kill()
        p.communicate()
        if w.b.files() == left:
            break
        left = w.b.files()
    for _ in range(3):
        prune(w, "--yes", "--grace", "0s")
    last = prune(w, "--yes", "--json", "--grace", "0s").events("prune")[0]
    equal((last["mark"], last["remove"], last["waiting"]), ([], [], 0), "nothing more")
    equal(w.all(), [], "what is left is whole")


def test_unreadable(t):
    """What a manifest that is ruined needs is not known: nothing goes, until its owner gives it up."""
    needs_tools()
    w = World(t)
    age(w, 40)
    result = prune(w, "--yes", "--json", "--grace", "0s")
    kept = [e["name"] for e in result.events("kept")]
    check(kept, "something is kept")
    # What is unreadable and kept stops a prune.
    name = kept[-1]
    with open(w.path(name), "r+b") as f:
        f.write(b"ruined")
    result = prune(w, "--yes", code=1)
    check(name in result.err and "--give-up" in result.err, str(result))
    prune(w, "--dry-run", "--give-up", name)
    prune(w, "--dry-run", "--give-up", "all")


if __name__ == "__main__":
    main()
