"""The database of an island is restored in place: to a moment before rows were destroyed, onto a new volume. Whoever
does it is killed at each step, and the same command goes on. The site is up again, the log goes on being stored, the
volume of before is kept, and one command goes back to it; what is stored leads to the truth either way."""
import glob
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from backup_island import ISLAND, listed, sql
from deploy import releases, servers

NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


def unchanged(t):
    got = t.atoll("plan", "--detailed-exitcode", code=None)
    check(got.code == 0 and "No changes" in got.out, got)


def restore(t, *more, code=0):
    return t.atoll("restore", "--island", *more, code=code, timeout=120)


def killed_at(t, phase, *more):
    """The command is killed as soon as the cloud says that it is at that phase."""
    # No phase is over before it was seen, however quick the machine is.
    t.pocket.fault({"match": "PUT /v1/*/reef-mail/release/*", "do": "delay", "ms": 500, "when": "after"})
    process = t.spawn(f"{BUILD}/atoll", "restore", "--island", "-y", *more)
    until(f"it is at {phase}", 60,
          lambda: releases(t)[-1].get("swap") == phase or process.poll() is not None)
    check(process.poll() is None, f"it ended before {phase}")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    t.pocket.fault()


def stored_up_to(t, lsn):
    """The log of the timeline that the database is on is stored up to there, and countersigned."""
    tli = int(timeline(t))

    def there():
        t.atoll("backup", "audit", "--once")
        return any(e["tli"] == tli and int_lsn(e["end"]) >= int_lsn(lsn)
                   for e in t.atoll("backup", "list", "--json").events("log"))
    until(f"the log is stored up to {lsn}", 30, there)


def int_lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def timeline(t):
    return sql(t, "SELECT timeline_id FROM pg_control_checkpoint()")


def up(t):
    return request("GET", f"http://{t.address()}:8080/ready")[0] == 200


def closed(t):
    return request("GET", f"http://{t.address()}:8080/")[0] == 503


def test_back_to_a_moment_and_undone(t):
    t.start_pocket()
    t.island(ISLAND)
    none = restore(t, "--dry-run", code=8)
    check("not installed yet" in none.err, none)
    t.apply()
    t.ready()
    t.atoll("backup", "settings")
    until("a whole copy", 60, lambda: t.atoll("backup", "audit", "--once") and listed(t))
    sql(t, "CREATE TABLE ledger AS SELECT generate_series(1, 20) AS n")
    moment = sql(t, NOW)
    sql(t, "DROP TABLE ledger")
    sql(t, "CREATE TABLE afterwards (n int)")
    check("no volume of before is kept" in restore(t, "--undo", code=1).err, "nothing to undo")
    early = restore(t, "--at", "2001-01-01T00:00:00Z", "-y", code=1)
    check("no backup leads to 2001-01-01T00:00:00Z" in early.err and "what can be had" in early.err, early)
    check("swap" not in releases(t)[-1], "nothing was begun")

    dry = until("the log is stored up to the moment", 30,
                lambda: (got := restore(t, "--at", moment, "--dry-run", code=None)).code == 0 and got)
    for words in (f"as it was at {moment}", "a new volume reef-volume-db-0-g2; reef-volume-db-0 is kept", "loss: all",
                  "downtime: about"):
        check(words in dry.out, dry)
    check("swap" not in releases(t)[-1], "a dry run writes nothing")

    # Whoever does it dies when the site is closed, and when the volumes change.
    killed_at(t, "close", "--at", moment)
    check("`atoll restore --island` goes on" in t.atoll("status").out, "status")
    check("restore of the database is under way" in t.atoll("deploy", "-y", "2", code=1).err, "deploy")
    killed_at(t, "move", "--at", moment)
    check(closed(t), "the edge is open")
    t.apply()  # takes the same steps, and not the next one
    check(closed(t) and releases(t)[-1]["swap"] == "move", "apply has opened it")
    began = time.monotonic()
    done = restore(t, "--at", moment, "-y")
    print(f"# the last part took {time.monotonic() - began:.1f} s", flush=True)
    check("under way: the database as it was at " + moment in done.out and "Done" in done.out, done)
    t.ready()
    equal(sql(t, "SELECT count(*) FROM ledger"), "20", "rows")
    equal(sql(t, "SELECT to_regclass('afterwards') IS NULL"), "t", "what came after")
    equal(timeline(t), "2", "timeline")
    unchanged(t)
    status = t.atoll("status")
    check("kept         reef-volume-db-0:" in status.out and "--undo" in status.out, status)
    event, = t.atoll("status", "--json").events("database")
    equal((event["swap"], event["kept"], event["undo"]), ("none", ["reef-volume-db-0"], True), "status --json")
    # Nothing is left that reads a backup.
    left = [p for d in servers(t) for p in glob.glob(f"{d}/var/lib/atoll-services/postgres-init/kit/*")]
    equal(left, [], "what the server could read with")
    names = Api(t.pocket, "pocket").call("object-store", "GET", "/reef-mail?format=json&prefix=restore/")[2]
    equal(names, [], "kits")

    # The log goes on, and a new whole copy is made.
    sql(t, "CREATE TABLE second AS SELECT 1 AS n")
    stored_up_to(t, sql(t, "SELECT pg_current_wal_flush_lsn()"))
    until("a whole copy of it", 60, lambda: t.atoll("backup", "audit", "--once") and len(listed(t)) > 1)

    killed_at(t, "move", "--undo")
    check("way back" in restore(t, "--at", moment, "-y", code=1).err, "another command")
    done = restore(t, "--undo", "-y")
    t.ready()
    equal(sql(t, "SELECT to_regclass('ledger') IS NULL AND to_regclass('afterwards') IS NOT NULL"), "t", "as before")
    equal(timeline(t), "3", "timeline after the way back")
    unchanged(t)
    # The end of the log is that of what runs now, not of what was given up.
    sql(t, "INSERT INTO afterwards SELECT 1")
    want = sql(t, "SELECT pg_current_wal_flush_lsn()")
    stored_up_to(t, want)
    event, = t.atoll("restore", "--to", f"{t.dir}/back", "--json").events("restored")
    check(event["timeline"] == 4 and int_lsn(event["reached"]) >= int_lsn(want), event)
    t.atoll("backup", "verify", "--data")

    # And to the other again, which can be let go of then.
    restore(t, "--undo", "-y")
    equal(sql(t, "SELECT count(*) FROM second"), "1", "what the restored one had")
    t.apply("--delete", "reef-volume-db-0")
    check("no volume of before is kept" in restore(t, "--undo", code=1).err, "it is gone")
    unchanged(t)


def volume(t):
    """The folder of the database's files, on the volume that its server has mounted."""
    return os.path.dirname(sql(t, "SHOW data_directory").rstrip("/")) + "/pgdata"


def receivers(t):
    """Processes that fill a volume."""
    left = subprocess.run(["ps", "-eo", "pid,args"], stdout=subprocess.PIPE, text=True).stdout
    return [int(line.split()[0]) for line in left.splitlines() if "backup receive" in line and t.dir in line]


def test_after_the_disk_is_ruined(t):
    t.start_pocket()
    t.island(ISLAND)
    t.apply()
    t.ready()
    t.atoll("backup", "settings")
    until("a whole copy", 60, lambda: t.atoll("backup", "audit", "--once") and listed(t))
    sql(t, "CREATE TABLE ledger AS SELECT generate_series(1, 20) AS n")
    stored_up_to(t, sql(t, "SELECT pg_current_wal_flush_lsn()"))
    data = volume(t)
    with open(f"{data}/postmaster.pid") as file:
        postmaster = int(file.readline())
    os.kill(postmaster, signal.SIGKILL)
    os.rename(f"{data}/global", f"{data}/gone")
    until("the site is down", 30, lambda: not up(t))

    # The filling is killed as well; then the same command tries again.
    t.pocket.fault({"match": "GET /v1/*/reef-backup/*", "do": "delay", "ms": 300})
    process = t.spawn(f"{BUILD}/atoll", "restore", "--island", "-y")
    for pid in until("it is being filled", 60, lambda: receivers(t) or process.poll() is not None and [0]):
        check(pid, process.communicate() if not pid else "")
        os.kill(pid, signal.SIGKILL)
    t.pocket.fault()
    out, err = process.communicate(timeout=60)
    equal(process.returncode, 9, f"{out.decode()}\n{err.decode()}")
    check("postgres-init" in err.decode() and "tries again" in err.decode(), err.decode())
    restore(t, "-y")
    t.ready()
    equal(sql(t, "SELECT count(*) FROM ledger"), "20", "rows")
    unchanged(t)

    # One that is given up: what there was is there again, and there is nothing to go back to.
    sql(t, "INSERT INTO ledger VALUES (21)")
    until("a whole copy of it", 60, lambda: t.atoll("backup", "audit", "--once") and len(listed(t)) > 1)
    killed_at(t, "move")
    restore(t, "--undo", "-y")
    equal(sql(t, "SELECT count(*) FROM ledger"), "21", "rows of before")
    check("no volume of before is kept" in restore(t, "--undo", code=1).err, "a half filled one")
    killed_at(t, "close")
    check("given up" in restore(t, "--undo", "-y").out, "nothing was changed")
    t.ready()
    unchanged(t)


if __name__ == "__main__":
    main()
