"""`atoll backup stream` measured beside a real PostgreSQL: how soon a commit is stored, what it costs the server, and
that idle it writes nothing. Run alone: others would be measured too."""
import bisect
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

MIB = 1 << 20


def test_load(t):
    pg = Cluster(t, fsync="on")
    pgbench_init(pg)
    b = Backup(t, pg)
    s = b.stream("--make-slot")
    s.flows()
    b.catch_up(pg)

    # A client that knows when each of its commits was answered, and where it is in the log.
    probe = subprocess.Popen(["psql", "-XqAt"], env=pg.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             bufsize=1)
    seen, peak = [], 0
    bench = load_start(pg, 8)
    while bench.poll() is None:
        probe.stdin.write("INSERT INTO pgbench_history (delta) VALUES (1);\nSELECT pg_current_wal_flush_lsn();\n")
        lsn = parse_lsn(probe.stdout.readline().strip())
        seen.append((lsn, time.time()))
        peak = max(peak, private_kb(s.process.pid))
        time.sleep(0.02)
    load_finish(bench)
    probe.stdin.close()
    probe.wait()
    b.catch_up(pg)

    pieces = b.contiguous()
    ends, stored, latest = [], [], 0
    for p in pieces:
        latest = max(latest, p.stored)
        ends.append(p.end)
        stored.append(latest)
    took = sorted(stored[bisect.bisect_left(ends, lsn)] - at for lsn, at in seen)
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    print(f"# {len(took)} commits: stored {p50 * 1000:.0f} ms later (p50), {p99 * 1000:.0f} ms (p99), "
          f"{took[-1] * 1000:.0f} ms at most; {len(pieces)} pieces; {peak} kB of private memory")
    check(p99 < 2, f"p99 {p99} s")  # a second, where nobody else wants the processor
    if not sanitized():
        check(peak < 40000, f"{peak} kB")
    check(all(p.end - p.start <= MIB and p.start // MIB == (p.end - 1) // MIB for p in pieces), "a piece in two MiB")
    check(pieces[0].start % (16 * MIB) == 0, "the first segment is whole")

    # Idle: nothing at all. Behind a checkpoint PostgreSQL itself writes hardly anything more.
    pg.sql("CHECKPOINT")
    for turn in range(4):
        b.catch_up(pg)
        before, at, beats = b.files(), pg.lsn(), len(s.events())
        until("four seconds", 20, lambda: len(s.events()) >= beats + 4)
        if pg.lsn() == at and pg_slot(pg) == at and b.files() == before:
            break
    else:
        raise Failed("never idle: objects go on coming")

    # SIGTERM: what has come is stored, the slot knows, and no piece is sent twice by the next run.
    pg.sql("INSERT INTO pgbench_history (delta) VALUES (2)")
    lsn = pg.lsn()
    until("it has come", 10, lambda: s.received() >= lsn)
    equal(s.stop(), 0, f"{s.words()}")
    check(b.contiguous()[-1].end >= lsn and pg_slot(pg) >= lsn, "stored and told before it ended")
    pg.sql("INSERT INTO pgbench_history (delta) VALUES (3)")
    s = b.stream("--until", format_lsn(pg.lsn()))
    equal(s.process.wait(30), 0, s.words())
    pieces = b.contiguous()
    check(all(a.end == z.start for a, z in zip(pieces, pieces[1:])), "no byte twice")
    check(pieces[-1].facts["prev"] == pieces[-2].hash or pieces[-1].facts["run"] == pieces[-2].facts["run"], "chain")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_cost(t):
    """Turns without and with a stream, one behind the other, and the median of their ratios: others use this
    machine too. The processor's time is what doesn't depend on them. The store is in memory: it is another
    machine's disk in life, and the fsyncs of a folder on this one would be measured instead."""
    pg = Cluster(t, fsync="on")
    pgbench_init(pg, 5)
    with tempfile.TemporaryDirectory(prefix="atoll-store-", dir="/dev/shm") as store:
        b = Backup(t, pg, repository=f"{{folder: {store}}}")
        ratios, ours, theirs, log = [], 0.0, 0.0, 0
        for _ in range(6):
            without = load_finish(load_start(pg, 3))
            s = b.stream("--make-slot")
            s.flows()
            b.catch_up(pg, 30)
            sender = int(pg.sql("SELECT pid FROM pg_stat_replication"))
            begun, lsn = (cpu_seconds(s.process.pid), cpu_seconds(sender)), pg.lsn()
            ratios.append(load_finish(load_start(pg, 3)) / without)
            ours += cpu_seconds(s.process.pid) - begun[0]
            theirs += cpu_seconds(sender) - begun[1]
            log += pg.lsn() - lsn
            s.stop()
    ratio = sorted(ratios)[len(ratios) // 2]
    print(f"# transactions a second with a stream to without: {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
          f"processor per GB of log: {ours * 1e9 / log:.1f} s, walsender {theirs * 1e9 / log:.1f} s; "
          f"of one processor under this load {ours / 18 * 100:.1f} %")
    check(ratio > 0.5, f"streaming leaves {ratio}")


main()
