"""A database comes back as it was at any moment: restores of a real PostgreSQL's backup and log, exact to the
transaction, over tablespaces and promotions, with the store away in the middle, killed and run again.

    ATOLL_MOMENTS=50 python3 test/story/backup_restore.py BUILD test_moments    so many random moments (1)
"""
import fcntl
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

MOMENTS = int(os.environ.get("ATOLL_MOMENTS", "1"))
MARKER = "atoll-restore-unfinished"


class Source:
    """A cluster with a ledger of one transaction a row, its stream and its backups."""

    def __init__(self, t, **settings):
        self.t = t
        self.pg = Cluster(t, track_commit_timestamp="on", **settings)
        self.pg.sql("CREATE TABLE ledger (id bigserial PRIMARY KEY, filler text DEFAULT repeat('x', 100))")
        self.backup = Backup(t, self.pg)
        self.stream = self.backup.stream("--make-slot")
        self.stream.flows()

    def rows(self, n):
        """n transactions, some milliseconds apart."""
        text = "INSERT INTO ledger DEFAULT VALUES; SELECT pg_sleep(0.005);\n" * n
        process = subprocess.Popen(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], env=self.pg.env(), text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.communicate(text, timeout=120)
        equal(process.returncode, 0, "psql")

    def ledger(self):
        """(id, commit time in microseconds since the epoch), in the order of the commits."""
        text = self.pg.sql("SELECT id, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint "
                           "FROM ledger ORDER BY pg_xact_commit_timestamp(xmin), id")
        return [tuple(int(v) for v in line.split("|")) for line in text.splitlines()]

    def base(self, *options, code=0):
        result = self.t.atoll("backup", "base", "--settings", self.backup.settings, *options, code=None)
        equal(result.code, code, f"backup base: {result}")

    def stored(self):
        self.backup.catch_up(self.pg)

    def restore(self, to, *options, code=0, kill=None):
        return restore(self.t, self.backup, to, *options, code=code)


def restore(t, backup, to, *options, code=0):
    result = t.atoll("restore", "--settings", backup.settings, "--to", f"{t.dir}/{to}", "--json", *options, code=None)
    equal(result.code, code, f"restore {options}: {result}")
    return result.events("restored")[0] if code == 0 else result


def restored(t, folder, **settings):
    """A server on a restored folder: with settings of its own, as an operator would."""
    names = os.listdir(f"{t.dir}/{folder}")
    for name in (MARKER, "recovery.signal", "standby.signal", "postmaster.pid", "tablespace_map"):
        check(name not in names, f"{name} is left in {folder}")
    return Cluster(t, folder + "-open", copy_of=f"{t.dir}/{folder}", track_commit_timestamp="on", **settings)


def ids(pg):
    text = pg.sql("SELECT id FROM ledger ORDER BY id")
    return [int(line) for line in text.splitlines()]


def time_text(us):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(us // 1000000)) + f".{us % 1000000 // 1000:03d}Z"


def test_moments(t):
    s = Source(t)
    s.rows(50)
    s.pg.sql("ALTER SYSTEM SET shared_preload_libraries = 'auto_explain'")
    s.base()
    s.rows(200)
    lsn = s.pg.sql("SELECT pg_current_wal_lsn()")
    at_lsn = ids(s.pg)
    s.rows(200)
    # Much log, so that it is read ahead over several segments.
    s.pg.sql("CREATE TABLE much AS SELECT md5(x::text) FROM generate_series(1, 600000) x")
    s.rows(50)
    s.stored()
    ledger = s.ledger()

    # The end.
    got = restore(t, s.backup, "latest")
    pg = restored(t, "latest")
    equal(ids(pg), [i for i, _ in ledger], "latest")
    equal(pg.sql("SELECT count(*), md5(string_agg(md5, '' ORDER BY md5)) FROM much"),
          s.pg.sql("SELECT count(*), md5(string_agg(md5, '' ORDER BY md5)) FROM much"), "the large table")
    equal(got["timeline"], 2, "a timeline of its own")
    equal(got["reached_time"], time_text(ledger[-1][1]), "time of the last transaction")
    check(0 < got["files_ms"] <= got["query_ms"], f"times: {got}")
    equal(pg.sql("SELECT current_setting('fsync') || current_setting('restore_command')"), "off", "settings")
    # Code that the cluster loads is left out only while it is restored.
    equal(pg.sql("SHOW shared_preload_libraries"), "auto_explain", "of the restored cluster")
    pg.stop()

    # Moments: nothing behind them, everything before. In the middle of the run, right at a commit, and at random.
    moments = [ledger[300][1] // 1000 * 1000, ledger[120][1] // 1000 * 1000 + 1000]
    moments += [random.randrange(ledger[60][1], ledger[-60][1]) // 1000 * 1000 for _ in range(MOMENTS)]
    for n, us in enumerate(moments):
        got = restore(t, s.backup, f"time-{n}", "--at", time_text(us))
        pg = restored(t, f"time-{n}")
        equal(ids(pg), sorted(i for i, at in ledger if at <= us), f"at {time_text(us)}")
        pg.stop()
        shutil.rmtree(pg.dir)
        shutil.rmtree(f"{t.dir}/time-{n}")
    print(f"# {len(moments)} moments, each exact to the transaction", flush=True)

    # A place in the log: what was written before it.
    restore(t, s.backup, "lsn", "--at", lsn)
    pg = restored(t, "lsn")
    equal(ids(pg), at_lsn, f"at {lsn}")
    pg.stop()

    # The very end of the log, where no record follows (PostgreSQL writes one by itself now and then, also just now);
    # and a moment behind the last transaction.
    end = s.pg.sql("SELECT pg_current_wal_lsn()")
    s.stored()
    restore(t, s.backup, "end", "--at", end)
    s.pg.sql("SELECT pg_switch_wal()")
    s.stored()
    restore(t, s.backup, "quiet", "--at", time_text(ledger[-1][1] // 1000 * 1000 + 1000))
    for folder in ("end", "quiet"):
        pg = restored(t, folder)
        equal(ids(pg), [i for i, _ in ledger], folder)
        pg.stop()

    # What can't be had: it is said what can.
    for when in ("2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "0/100", "FFFF/0"):
        result = restore(t, s.backup, "none", "--at", when, code=1)
        check("what can be had" in result.err and "--at latest" in result.err, f"{when}: {result}")
        check(not os.path.exists(f"{t.dir}/none"), f"{when}: a folder was made")
    restore(t, s.backup, "none", "--at", "yesterday", code=64)
    result = restore(t, s.backup, "latest", code=1)
    check("is not empty" in result.err, f"a folder that is not empty: {result}")


def test_tablespaces_and_a_promotion(t):
    s = Source(t)
    os.mkdir(f"{t.dir}/fast")
    pg_own(f"{t.dir}/fast")
    s.pg.sql(f"CREATE TABLESPACE fast LOCATION '{t.dir}/fast'")
    s.pg.sql("CREATE TABLE there (v int) TABLESPACE fast; INSERT INTO there SELECT generate_series(1, 10000)")
    s.rows(20)
    s.base()
    s.rows(50)
    # It becomes another timeline, as after a failover; slot and stream go on.
    s.pg.stop()
    s.pg.write("standby.signal", "")
    s.pg.start()
    s.pg.promote()
    s.rows(50)
    s.pg.sql("INSERT INTO there SELECT generate_series(1, 1000)")
    until("the stream is on timeline 2", 30, lambda: s.backup.names(2))
    s.stored()
    ledger = s.ledger()

    got = restore(t, s.backup, "both")
    equal(got["timeline"], 3, "timeline")
    equal(os.readlink(glob.glob(f"{t.dir}/both/pg_tblspc/*")[0]).split("/")[-2], "tablespaces", "where it lies")
    pg = Cluster(t, "both-open", copy_of=f"{t.dir}/both", start=False, track_commit_timestamp="on")
    shutil.rmtree(f"{t.dir}/both-open/data/tablespaces")
    shutil.rmtree(pg.data)
    os.rename(f"{t.dir}/both", pg.data)
    for link in glob.glob(f"{pg.data}/pg_tblspc/*"):
        target = os.readlink(link).replace(f"{t.dir}/both", pg.data)
        os.remove(link)
        os.symlink(target, link)
    pg.write("pg_hba.conf", HBA)
    pg.start()
    equal(ids(pg), [i for i, _ in ledger], "over the promotion")
    equal(pg.sql("SELECT count(*) FROM there"), "11000", "in the tablespace")
    pg.stop()

    # Elsewhere by its old folder; and the timeline that was left, to its end.
    elsewhere = f"{t.dir}/elsewhere"
    restore(t, s.backup, "one", "--timeline", "1", "--tablespace", f"{t.dir}/fast={elsewhere}")
    check(glob.glob(f"{elsewhere}/PG_*"), "the tablespace is not where it was asked for")
    pg = restored(t, "one")
    equal(len(ids(pg)), 70, "what was on timeline 1")
    pg.stop()
    result = restore(t, s.backup, "bad", "--tablespace", "/nowhere=/x", code=64)
    check("no tablespace" in result.err, str(result))
    result = restore(t, s.backup, "two", "--tablespace", f"{t.dir}/fast={elsewhere}", code=1)
    check("is not empty" in result.err, f"a tablespace's folder that is not empty: {result}")


def test_the_store_goes_away(t):
    """What can't be had is an error, and never the end of the log or a file of zeros."""
    s = Source(t)
    s.rows(30)
    s.base()
    s.rows(30)
    s.pg.sql("CREATE TABLE much AS SELECT md5(x::text) FROM generate_series(1, 900000) x")
    s.rows(30)
    s.stored()
    ledger = s.ledger()
    pieces = [f"host/wal/00000001/{n}" for n in s.backup.names()]
    packs = [n for n in s.backup.files() if n.startswith("host/pack/")]
    for to, name in (("packless", random.choice(packs)), ("to", pieces[-3]),
                     ("to", random.choice(pieces[len(pieces) // 2:]))):
        path = f"{s.backup.store}/{name}"
        with open(path, "rb") as f:
            whole = f.read()
        # Half of it, and nothing of it, though the listing still has the name.
        for broken in (whole[:len(whole) // 2], b""):
            with open(path, "wb") as f:
                f.write(broken)
            result = restore(t, s.backup, to, code=1)
            check(os.path.exists(f"{t.dir}/{to}/{MARKER}"), "it is not marked as unfinished")
            check(name in result.err, f"what is missing is not named: {result}")
        with open(path, "wb") as f:
            f.write(whole)
    got = restore(t, s.backup, "to")
    check(got["resumed"], "it began anew")
    pg = restored(t, "to")
    equal(ids(pg), [i for i, _ in ledger], "after the store was back")


def running(folder):
    """Processes of PostgreSQL on a folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd") == folder:
                found.append(pid)
        except OSError:
            pass
    return found


def test_somebody_starts_it_in_between(t):
    """An unfinished folder that is in use is left alone, whatever is to be restored into it."""
    s = Source(t)
    s.rows(30)
    s.base()
    s.rows(30)
    s.stored()
    # As if it had been killed after its server had ended and before the marker went.
    restore(t, s.backup, "to", "--at", s.pg.sql("SELECT pg_current_wal_lsn()"))
    t.write(f"to/{MARKER}", '{"base":"another"}\n')
    os.chmod(f"{t.dir}/to/{MARKER}", 0o600)
    pg = Cluster(t, "used", copy_of=f"{t.dir}/to")
    pg.sql("INSERT INTO ledger DEFAULT VALUES")
    for running in (True, False):
        result = t.atoll("restore", "--settings", s.backup.settings, "--to", pg.data, code=None)
        check(result.code == 1 and ("runs on" if running else "was started on") in result.err, f"{running}: {result}")
        if running:
            pg.sql("INSERT INTO ledger DEFAULT VALUES")
            pg.kill()
    pg.start()
    equal(len(ids(pg)), 62, "what was written in between")
    pg.stop()
    # Nobody was there: it is emptied and made anew.
    restore(t, s.backup, "to")
    pg = restored(t, "to")
    equal(len(ids(pg)), 60, "without anybody in between")


def test_killed_again_and_again(t):
    s = Source(t)
    s.rows(30)
    s.pg.run("pgbench", "-q", "-i", "-s", "5")
    s.base()
    s.pg.sql("CREATE TABLE much AS SELECT md5(x::text) FROM generate_series(1, 900000) x")
    s.rows(30)
    s.stored()
    ledger = s.ledger()
    to, kills = f"{t.dir}/to", 0
    runs = f"{t.dir}/runs"
    os.mkdir(runs)
    os.chmod(runs, 0o1777)
    for n in range(12):
        process = subprocess.Popen([f"{BUILD}/atoll", "restore", "--settings", s.backup.settings, "--to", to],
                                   env=t.env(TMPDIR=runs), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=random.uniform(0.02, 1.5))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        until("its PostgreSQL has gone too", 20, lambda: not running(to))
        # What is not marked is whole: it was killed behind its last step, or what follows here finds it out.
        if os.path.exists(to) and os.listdir(to) and not os.path.exists(f"{to}/{MARKER}"):
            break
    if os.path.exists(f"{to}/{MARKER}") or not os.path.exists(to) or not os.listdir(to):
        restore(t, s.backup, "to")
    pg = restored(t, "to")
    equal(ids(pg), [i for i, _ in ledger], f"after {kills} kills")
    equal(pg.sql("SELECT count(*) FROM much"), "900000", "the large table")
    # What a killed one left in the system's place for such goes with the next, once it is a little old; what is in
    # use, or somebody else's, stays.
    pg.stop()
    for name in ("atoll-restore-killed", "atoll-restore-in-use", "atoll-restore-other", "atoll-restored"):
        os.mkdir(f"{runs}/{name}", 0o700)
    in_use = os.open(f"{runs}/atoll-restore-in-use", os.O_RDONLY)
    fcntl.flock(in_use, fcntl.LOCK_EX)
    wanted = ["atoll-restore-in-use", "atoll-restored"]
    if not os.geteuid():
        os.chown(f"{runs}/atoll-restore-other", 12345, 12345)
        wanted.insert(1, "atoll-restore-other")
    for name in os.listdir(runs):
        os.utime(f"{runs}/{name}", (1, 1))
    t.atoll("restore", "--settings", s.backup.settings, "--to", f"{t.dir}/swept", TMPDIR=runs)
    equal(sorted(os.listdir(runs)), wanted, "folders of killed restores")
    # A restore to another moment takes the place of an unfinished one.
    subprocess.run([f"{BUILD}/atoll", "restore", "--settings", s.backup.settings, "--to", f"{t.dir}/other"],
                   env=t.env(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)


def test_wrong_keys_and_programs(t):
    s = Source(t)
    s.rows(5)
    s.base()
    s.stored()
    # A recovery key of somebody else; the right one.
    result = t.atoll("restore", "--settings", s.backup.settings, "--to", f"{t.dir}/a", "--recovery-file",
                     s.backup.settings, code=None)
    check(result.code not in (0, 139), f"a settings file as recovery key: {result}")
    restore(t, s.backup, "recovered", "--recovery-file", f"{t.dir}/recovery")
    # The keys' folder has another drill key.
    os.rename(f"{t.dir}/keys/drill.key", f"{t.dir}/drill.key")
    result = restore(t, s.backup, "a", code=1)
    check("drill" in result.err and "hint:" in result.err, f"without a drill key: {result}")
    os.rename(f"{t.dir}/drill.key", f"{t.dir}/keys/drill.key")
    # Programs that are none, and those of another version.
    result = t.atoll("restore", "--settings", s.backup.settings, "--to", f"{t.dir}/b", "--programs", "/nonexistent",
                     code=None)
    check(result.code != 0 and "programs" in result.err, f"programs that are not there: {result}")
    os.mkdir(f"{t.dir}/old")
    with open(f"{t.dir}/old/postgres", "w") as f:
        f.write("#!/bin/sh\necho 'postgres (PostgreSQL) 11.3'\n")
    os.chmod(f"{t.dir}/old/postgres", 0o755)
    result = t.atoll("restore", "--settings", s.backup.settings, "--to", f"{t.dir}/b", "--programs", f"{t.dir}/old",
                     code=None)
    check(result.code == 1 and "11" in result.err and "hint:" in result.err, f"another version: {result}")
    check(not os.path.exists(f"{t.dir}/b"), "a folder was made all the same")
    # A role that is not there.
    result = restore(t, s.backup, "c", "--role", "nobody", code=6)
    check("--role" in result.err, str(result))
    # PostgreSQL never runs as root, none of its programs does, and whose the files are is said.
    os.mkdir(f"{t.dir}/spy")
    for name in os.listdir(pg_bin()):
        with open(f"{t.dir}/spy/{name}", "w") as f:
            f.write(f"#!/bin/sh\nid -un >>{t.dir}/spied\nexec {pg_bin()}/{name} \"$@\"\n")
        os.chmod(f.name, 0o755)
    with open(f"{t.dir}/spied", "w") as f:
        os.chmod(f.name, 0o666)
    got = restore(t, s.backup, "spied-on", "--programs", f"{t.dir}/spy")
    me = pwd.getpwuid(os.geteuid()).pw_name
    who = "postgres" if me == "root" else me
    with open(f"{t.dir}/spied") as f:
        equal(set(f.read().split()), {who}, "who ran PostgreSQL's programs")
    equal(got["user"], who, "who is said")
    equal(pwd.getpwuid(os.stat(f"{t.dir}/spied-on/PG_VERSION").st_uid).pw_name, who, "whose the files are")
    if me == "root":
        result = restore(t, s.backup, "root", "--user", "root", code=64)
        check("does not run as root" in result.err and not os.path.exists(f"{t.dir}/root"), str(result))
    # A place that PostgreSQL's user can't enter; no space, on a file system of 8 MB.
    if not os.geteuid():
        os.mkdir(f"{t.dir}/closed", 0o700)
        result = restore(t, s.backup, "closed/to", code=1)
        check("can't reach" in result.err and not os.listdir(f"{t.dir}/closed"), str(result))
        os.mkdir(f"{t.dir}/small")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", f"{t.dir}/small"], check=True)
        try:
            result = t.atoll("restore", "--settings", s.backup.settings, "--to", f"{t.dir}/small/to", code=None)
            check(result.code != 0 and "no space" in result.err, f"no space: {result}")
            # Room for the files, and not for a segment of the log; then for both.
            for megabytes, code in ((got["file_bytes"] // 1000000 + 8, 8), (400, 0)):
                subprocess.run(["mount", "-o", f"remount,size={megabytes}m", f"{t.dir}/small"], check=True)
                result = restore(t, s.backup, "small/to", code=code)
                check(code == 0 or "the log's file" in result.err and "make room" in result.err, str(result))
            check(result["resumed"], "it began anew")
        finally:
            subprocess.run(["umount", f"{t.dir}/small"], check=True)


main()
