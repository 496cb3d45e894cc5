"""An island with backups: the database's server streams into a container that it can only add to, takes whole
copies by itself, and the operator's side countersigns, lists, restores and drills."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

ISLAND = ISLAND_HEAD.replace("servers:\n", "backup: {every: 1h, media: {cloud: pocket-media, container: reef-uploads-copy}}\nservers:\n") + """\
  web: {flavor: m1.small, roles: [edge, web, worker, redis]}
  db:  {flavor: c1.c1r1, roles: [postgres], volume: {size: 1GB}}
"""
PROGRAMS = "/usr/lib/postgresql/15/bin"


def sql(t, statement):
    """On the island's own database, as its superuser."""
    got = t.atoll("exec", "postgres", "--", "psql", "-AtXc", statement, "mastodon_production")
    return got.out.strip()


def listed(t):
    return [e for e in t.atoll("backup", "list", "--json").events() if e["event"] == "backup"]


def test_whole(t):
    t.start_pocket()
    t.island(ISLAND)
    t.apply()
    t.ready()
    api = Api(t.pocket, "pocket")
    t.atoll("backup", "settings")
    until("a whole copy", 60, lambda: t.atoll("backup", "audit", "--once") and listed(t))

    # What is written now is in no copy, only in the log.
    sql(t, "CREATE TABLE ledger (n int, at timestamptz DEFAULT clock_timestamp())")
    for n in range(20):
        sql(t, f"INSERT INTO ledger VALUES ({n})")
    want = sql(t, "SELECT pg_current_wal_flush_lsn()")

    def stored():
        t.atoll("backup", "audit", "--once")
        got = t.atoll("restore", "--at", want, "--to", f"{t.dir}/back", code=None)
        return got if got.code == 0 else None
    until("the log is stored up to the last row", 30, stored)

    # The server has nothing that reads: no login, no secret key but the one it signs with.
    folder = t.atoll("exec", "postgres", "--", "sh", "-c", "ls ../backup").out.split()
    equal(sorted(folder), ["backup.urls", "backup.yaml", "host.key", "recipients"], "all that the server has")
    urls = t.atoll("exec", "postgres", "--", "sh", "-c", "cat ../backup/backup.urls").out.split()[-1]
    base, query = urls.split("?")
    name = listed(t)[0]["name"]
    for method in ("GET", "DELETE", "POST"):
        code = request(method, f"{base}{name[len('host/'):]}?{query}")[0]
        equal(code, 401, f"{method} by the server's address")

    # Its uploads, a second time.
    api.call("object-store", "PUT", "/reef-media/media_attachments/1.png", b"png")
    t.atoll("backup", "media")
    copy = Api(t.pocket, "pocket-media").call("object-store", "GET", "/reef-uploads-copy?format=json")[2]
    check("media_attachments/1.png" in [r["name"] for r in copy], str(copy))

    check("never proven" in t.atoll("status").out, "not proven yet")
    # None was ever held, so it is due at once; then it waits for a week, or a signal.
    drill = t.spawn(f"{BUILD}/atoll", "drill", "--every", "7d", "--scratch", f"{t.dir}/scratch")
    t.processes.append(drill)
    until("the drill is written down", 60, lambda: t.atoll("status", "--json").events("backup")[0]["proven"])
    drill.terminate()
    out, log = drill.communicate(timeout=60)
    check(drill.returncode == 0 and b"NOT" not in out and out.count(b"the backup ") >= 1, f"{out}\n{log}")
    status = t.atoll("status")
    check("log stored" in status.out and "; proven " in status.out, str(status))
    event, = t.atoll("status", "--json").events("backup")
    check(event["proven"] and not event["warning"], str(event))
    check("backup: log stored" in t.atoll("deploy", "--dry-run", "2").out, "deploy says it too")
    t.atoll("backup", "verify", "--data")
    t.atoll("plan", "--detailed-exitcode")

    # An island that goes leaves its backups.
    t.atoll("destroy", "-y", "--data", "--confirm", "reef")
    check(api.call("object-store", "GET", "/reef-backup")[0] == 200, "the container is still there")
    t.atoll("restore", "--to", f"{t.dir}/after")


if __name__ == "__main__":
    main()
