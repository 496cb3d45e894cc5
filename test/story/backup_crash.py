"""A database dies with its disk, again and again: what was acknowledged more than a second before is in the store,
and nothing is there that was never asked for. A ledger of acknowledged transactions is the judge.

    python3 test/story/backup_crash.py BUILD                 10 deaths
    ATOLL_CRASHES=50 python3 test/story/backup_crash.py BUILD
    ATOLL_CRASHES=50 ATOLL_STRICT=1 ...                      `synchronous: strict`: all that was acknowledged
    ATOLL_SWIFT=pocket ...                                   stored in a container of that cloud, not in a folder
"""
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

CRASHES = int(os.environ.get("ATOLL_CRASHES", "4"))
STRICT = bool(os.environ.get("ATOLL_STRICT"))
SWIFT = os.environ.get("ATOLL_SWIFT")
CLIENTS = 4
BEHIND_S = 1.0  # what was acknowledged so long before the death has to be there


class Client(threading.Thread):
    """Commits rows of its own, one a transaction, and notes which it asked for and when each was acknowledged."""

    def __init__(self, pg, number):
        super().__init__(daemon=True)
        self.number, self.asked, self.acknowledged = number, 0, {}
        self.psql = subprocess.Popen(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], env=pg.env(), text=True, bufsize=1,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def run(self):
        try:
            while True:
                self.asked += 1
                self.psql.stdin.write(f"INSERT INTO ledger VALUES ({self.number}, {self.asked}) RETURNING n;\n")
                if self.psql.stdout.readline() != f"{self.asked}\n":
                    return
                self.acknowledged[self.asked] = time.monotonic()
        except OSError:
            return


def die(pg, stream):
    """The machine is gone: PostgreSQL's processes, its disk, and the stream that ran beside it."""
    at = time.monotonic()
    stream.process.kill()
    pg.kill()
    shutil.rmtree(pg.data)
    return at


def rows(pg):
    text = pg.sql("SELECT client, n FROM ledger")
    return {tuple(int(v) for v in line.split("|")) for line in text.splitlines()}


def test_crashes(t):
    ages, total, kept, invented, times = [], 0, 0, 0, []
    for number in range(CRASHES):
        u = Test(f"crash-{number}")
        try:
            pg = Cluster(u, fsync="on")
            pg.sql("CREATE TABLE ledger (client int, n int)")
            pg.sql("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO backup")
            pg.sql("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO backup")
            if SWIFT:
                u.start_pocket("--no-servers")
            b = Backup(u, pg, *(["synchronous: strict"] if STRICT else []),
                       repository=f"{{cloud: {SWIFT}, container: bk}}" if SWIFT else None)
            s = b.stream("--make-slot")
            s.flows()
            if STRICT:
                until("commits wait", 30, lambda: pg.sql("SELECT sync_state FROM pg_stat_replication") == "sync")
            u.atoll("backup", "base", "--settings", b.settings)
            pg.run("pgbench", "-q", "-i", "-s", "1")
            bench = pg.spawn("pgbench", "-n", "-c", "2", "-T", "60")
            clients = [Client(pg, n) for n in range(CLIENTS)]
            for c in clients:
                c.start()
            time.sleep(random.uniform(0.5, 4))
            death = die(pg, s)
            bench.kill()
            bench.communicate()
            for c in clients:
                c.join(10)
                c.psql.kill()
                c.psql.communicate()
            got = json.loads(u.atoll("restore", "--settings", b.settings, "--to", f"{u.dir}/to", "--json").out
                             .splitlines()[-1])
            times.append(got["query_ms"])
            back = Cluster(u, "back", copy_of=f"{u.dir}/to")
            there = rows(back)
            for c in clients:
                total += len(c.acknowledged)
                for n, at in c.acknowledged.items():
                    if (c.number, n) in there:
                        kept += 1
                    else:
                        ages.append(death - at)
                invented += sum(1 for client, n in there if client == c.number and n > c.asked)
            equal(len(there), len({(c, n) for c, n in there if n <= clients[c].asked}), "rows twice, or never asked for")
        finally:
            u.end()
    old = sorted(a for a in ages if a > BEHIND_S)
    print(f"# {CRASHES} deaths{' in strict' if STRICT else ''}{' on ' + SWIFT if SWIFT else ''}: {total} transactions acknowledged, {kept} there, {len(ages)} lost, the oldest of them "
          f"{max(ages, default=0):.3f} s before its death; first query after {sorted(times)[len(times) // 2]} ms (median)")
    equal(invented, 0, "rows that nobody asked for")
    check(not STRICT or not ages, f"{len(ages)} of {total} were acknowledged in strict, and are lost")
    check(total > (5 if STRICT else 20) * CRASHES, f"only {total} transactions: the load was none")
    check(len(old) <= total / 100, f"{len(old)} of {total} were acknowledged more than {BEHIND_S} s before and are "
                                   f"lost; ages {old[-5:]}")


if __name__ == "__main__":
    main()
