"""`atoll backup dump`: what pg_dump writes is whole, of one moment, and read by pg_restore; what is not whole has no
name. Real PostgreSQL, under pgbench."""
import hashlib
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from pg import *

# Whatever moment is seen, these are equal in it.
BALANCES = """SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
    (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"""
ROWS = "SELECT count(*) FROM pgbench_history"


class Dumps:
    """A cluster with pgbench's tables in the database `bench`, and settings whose role may read them."""

    def __init__(self, t, scale=5):
        self.t, self.pg = t, Cluster(t)
        self.pg.sql("CREATE DATABASE bench")
        self.pg.sql("GRANT pg_read_all_data TO backup")
        equal(self.pg.run("pgbench", "-q", "-i", "-s", str(scale), "bench").code, 0, "pgbench -i")
        self.settings = f"{t.dir}/backup.yaml"
        self.configure()
        self.folder = f"{t.dir}/dumps"
        os.mkdir(self.folder, 0o755)

    def configure(self, *lines):
        with open(self.settings, "w") as f:
            f.write(self.pg.settings_lines() + f"repository: {{folder: {self.t.dir}/store}}\n"
                    + "".join(f"{line}\n" for line in lines))

    def argv(self, to, *options):
        return ("backup", "dump", "--settings", self.settings, "--to", f"{self.folder}/{to}", *options)

    def make(self, to, *options, code=0):
        return self.t.atoll(*self.argv(to, *options), code=code)

    def begin(self, to, *options):
        return self.t.spawn(f"{BUILD}/atoll", *self.argv(to, *options))

    def left(self):
        return sorted(os.listdir(self.folder))

    def restore(self, source, into):
        """With PostgreSQL's own program, as a user of it would."""
        self.pg.sql(f"CREATE DATABASE {into}")
        env = self.pg.env()
        seen = subprocess.run([f"{pg_bin()}/pg_restore", "-j", "2", "-d", into, "--no-owner", source], env=env,
                              capture_output=True, cwd="/")
        equal(seen.returncode, 0, f"pg_restore: {seen.stderr.decode()}")


def check_manifest(path, folder):
    with open(path) as f:
        manifest = json.load(f)
    for one in manifest["files"]:
        with open(f"{folder}/{one['name']}", "rb") as f:
            data = f.read()
        equal((len(data), hashlib.sha256(data).hexdigest()), (one["bytes"], one["sha256"]), one["name"])
    return manifest


def workers(pid):
    """pg_dump of that atoll, and the processes that it reads tables with."""
    parents = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) <= pid:
            continue  # a look at all processes of a busy machine takes longer than a dump
        try:
            with open(f"/proc/{int(name)}/stat") as f:
                parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass  # it is gone

    def below(p):
        return [c for c, above in parents.items() if above == p]
    dump = below(pid)
    return dump, [w for d in dump for w in below(d)]


def test_under_load(t):
    d = Dumps(t)
    bench = d.pg.spawn("pgbench", "-n", "-c", "4", "-T", "600", "bench")
    try:
        until("pgbench writes", 30, lambda: int(d.pg.sql(ROWS, "bench")) > 50)
        for to, options in (("folder", ("--jobs", "2", "--check")), ("file.dump", ("--one-file",))):
            first = int(d.pg.sql(ROWS, "bench"))
            made = d.make(to, "--database", "bench", "--json", *options).events("dump")[0]
            last = int(d.pg.sql(ROWS, "bench"))
            path = f"{d.folder}/{to}"
            manifest = check_manifest(made["manifest"], path if to == "folder" else d.folder)
            equal(manifest["database"], "bench", to)
            into = "again_" + to.split(".")[0]
            d.restore(path, into)
            sums = d.pg.sql(BALANCES, into).split("|")
            equal(len(set(sums)), 1, f"{to} is not of one moment: {sums}")
            rows = int(d.pg.sql(ROWS, into))
            check(first <= rows <= last and last > first, f"{to}: {first} <= {rows} <= {last}")
            equal(d.pg.sql("SELECT count(*) FROM pgbench_accounts", into), "500000", to)
            equal(os.stat(path).st_mode & 0o077, 0, f"{to}: others may not read it")
    finally:
        bench.kill()
        bench.communicate()
    equal(d.left(), ["file.dump", "file.dump.json", "folder"], "what is there")
    # What is there is not written over.
    for to, options in (("folder", ()), ("file.dump", ("--one-file",))):
        check("is there already" in d.make(to, "--database", "bench", *options, code=None).err, to)


def busy(d, process):
    """Until data are being written."""
    part = f"{d.folder}/x.unfinished/dump"

    def look():
        check(process.poll() is None, "it ended before it could be seen at work")
        dump, parts = workers(process.pid)
        return (dump, parts) if len(parts) == 2 and os.path.isdir(part) and os.listdir(part) else None
    return until("parts work", 30, look)


def test_parts_die(t):
    """The leader or one of its parts: an error, and nothing left."""
    d = Dumps(t, scale=60)
    for which in ("part", "leader"):
        process = d.begin("x", "--jobs", "2")
        dump, parts = busy(d, process)
        os.kill(parts[0] if which == "part" else dump[0], signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        check(process.returncode not in (0, -9) and b"pg_dump" in err, f"{which}: {process.returncode} {err}")
        equal(d.left(), [], which)
        until("no part is left", 10, lambda: not any(os.path.exists(f"/proc/{p}/exe") for p in parts))
    # A person who loses patience.
    process = d.begin("x", "--jobs", "2")
    busy(d, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    check(process.returncode != 0, "interrupted")
    equal(d.left(), [], "interrupted")
    # kill -9 leaves what nobody takes for a dump, and the next run takes it away; two at once don't.
    process = d.begin("x", "--jobs", "2")
    dump, parts = busy(d, process)
    check("another run" in d.make("x", code=None).err, "two at once")
    process.kill()
    process.communicate()
    equal(d.left(), ["x.unfinished"], "killed")
    until("pg_dump is gone", 10, lambda: not any(os.path.exists(f"/proc/{p}/exe") for p in dump + parts))
    d.make("x", "--jobs", "2")
    equal(d.left(), ["x"], "again")


def test_no_space(t):
    d = Dumps(t)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", d.folder]).returncode:
        raise Skipped("may not mount")
    try:
        for options in ((), ("--one-file",)):
            result = d.make("x", *options, code=None)
            check(result.code != 0 and "No space left" in result.err, str(result))
            equal(d.left(), [], str(options))
    finally:
        subprocess.run(["umount", d.folder], check=True)


def test_refused(t):
    """What an operator gets wrong is said, and leaves nothing."""
    d = Dumps(t, scale=1)
    d.pg.sql("REVOKE pg_read_all_data FROM backup")
    result = d.make("x", code=None)
    check(result.code != 0 and "permission denied" in result.err and "GRANT pg_read_all_data" in result.err, str(result))
    d.pg.sql("CREATE DATABASE other")
    result = d.make("x", code=64)
    check("bench, other" in result.err, str(result))
    check(d.make("x", "--database", "bensh", code=None).code != 0, "no such database")
    check("no pg_dump" in d.make("x", "--database", "bench", "--programs", "/nowhere", code=None).err, "programs")
    check("there is no folder" in d.make("no/x", "--database", "bench", code=None).err, "folder")
    with open(d.pg.password_file, "w") as f:
        f.write("wrong-word\n")
    result = d.make("x", "--database", "bench", code=None)
    check(result.code != 0 and "wrong-word" not in result.err + result.out, str(result))
    equal(d.left(), [], "what is left")
    # A folder of somebody's that has the name of an unfinished one is not touched.
    os.mkdir(f"{d.folder}/x.unfinished")
    t.write("dumps/x.unfinished/mine", "x")
    check(d.make("x", "--database", "bench", code=None).code != 0, "not ours")
    equal(os.listdir(f"{d.folder}/x.unfinished"), ["mine"], "not ours")


def test_password_is_not_seen(t):
    d = Dumps(t, scale=20)
    process = d.begin("x", "--jobs", "2")
    dump, parts = busy(d, process)
    for pid in (process.pid, *dump, *parts):
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            check(PG_PASSWORD.encode() not in f.read(), "in argv")
    out, err = process.communicate(timeout=120)
    equal(process.returncode, 0, err.decode())
    check(PG_PASSWORD.encode() not in out + err, "in the output")


main()
