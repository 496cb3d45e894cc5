"""The database of a server that boots with systemd is restored in place: a new volume comes while it runs, its units
fill it and go on with it; and back again."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from backup_island import listed
from boot import ONE, boot_island, check_units, ended, ready, say, server, with_evidence


@with_evidence
def test_its_database_is_put_back(t):
    (machine,), address = boot_island(t, ONE, ["reef-web-0"])

    def sql(text):
        return t.atoll("exec", "postgres", "--", "psql", "-AtXc", text, "mastodon_production").out.strip()

    def restore(*more):
        return t.atoll("restore", "--island", *more, code=None, timeout=240)

    ready(address, 30)
    t.atoll("backup", "settings")
    until("a whole copy", 90, lambda: t.atoll("backup", "audit", "--once") and listed(t))
    sql("create table ledger as select generate_series(1, 20) as n")
    moment = sql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
    sql("drop table ledger")
    sql("create table afterwards (n int)")
    until("the log is stored up to the moment", 60, lambda: restore("--at", moment, "--dry-run").code == 0)
    say(t, "there is what to go back to")
    before = {v for v, _ in server(t.pocket, "reef-web-0")[1]}
    process = t.spawn(f"{BUILD}/atoll", "restore", "--island", "--at", moment, "-y")
    t.processes.append(process)
    (new,) = until("it has another volume", 120, lambda: ended(process) or [
        v for v in server(t.pocket, "reef-web-0")[1] if v[0] not in before])
    machine.attach(*new)
    say(t, "the new volume is attached")
    out, err = process.communicate(timeout=240)
    equal(process.returncode, 0, f"{out.decode()}\n{err.decode()}")
    ready(address, 60)
    equal(sql("select count(*) from ledger"), "20", "rows")
    equal(sql("select to_regclass('afterwards') is null"), "t", "what came after")
    check_units(machine)
    say(t, "it is as it was")
    undone = restore("--undo", "-y")
    equal(undone.code, 0, undone)
    ready(address, 60)
    equal(sql("select to_regclass('ledger') is null and to_regclass('afterwards') is not null"), "t", "undone")
    say(t, "and undone")


if __name__ == "__main__":
    main()
