"""`atoll backup stream` beside a real PostgreSQL: pieces without a hole, nothing told that is not stored, whoever
is killed or away; synchronous or not; and what it says to somebody whose server is not set up for it. What it
costs and how soon a commit is stored: backup_pace.py."""
import os
import random
import signal
import sys
from urllib.parse import unquote

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

MIB = 1 << 20


def commit(pg, seconds):
    """One commit that writes; None if it wasn't answered in time (it goes on waiting)."""
    process = pg.spawn("psql", "-XqAtc", "INSERT INTO pgbench_history (delta) VALUES (1)")
    start = time.monotonic()
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return process, None
    equal(process.returncode, 0, "a commit")
    return process, time.monotonic() - start


def much(pg):
    """Some 40 MB of log that can't be compressed to less than half."""
    pg.sql("CREATE TABLE much AS SELECT md5(x::text) FROM generate_series(1, 500000) x")


def away(b):
    """The store can't be written: where its folder was is a file."""
    os.rename(f"{b.store}/host", f"{b.store}/host.away")
    with open(f"{b.store}/host", "w"):
        pass


def back(b):
    os.remove(f"{b.store}/host")
    os.rename(f"{b.store}/host.away", f"{b.store}/host")


def test_killed(t):
    """Killed again and again, under load: no gap, and the slot is never beyond what is stored."""
    pg = Cluster(t)
    pgbench_init(pg)
    b = Backup(t, pg)
    bench = load_start(pg, 600, 2)
    chance = random.Random(5)
    for turn in range(20):
        s = b.stream("--make-slot")
        s.flows()
        time.sleep(chance.random() * 2)
        if turn == 12:  # the state is gone too
            shutil.rmtree(f"{t.dir}/state")
        s.kill()
        at = pg_slot(pg)
        check(at <= b.reach(), f"turn {turn}: the slot says {at:x}, stored up to {b.reach():x}")
    bench.kill()
    bench.communicate()
    s = b.stream("--until", format_lsn(pg.lsn()))
    equal(s.process.wait(60), 0, s.words())
    pieces = b.contiguous()
    chain = {}
    for p in sorted(pieces, key=lambda p: (p.facts["run"], p.start)):
        run = p.facts["run"]
        check(run not in chain or p.facts["prev"] == chain[run], f"{p.name}: its prev")
        chain[run] = p.hash
    check(len(chain) >= 8, f"{len(chain)} runs")
    double = sum(p.end - p.start for p in pieces) - (pieces[-1].end - pieces[0].start)
    print(f"# {len(pieces)} pieces of {len(chain)} runs, {double // 1024} kB stored twice")


def test_store_away(t):
    """The primary goes on, nothing is lost, wal_sender_timeout doesn't hit, memory is bounded; it heals."""
    pg = Cluster(t, wal_sender_timeout="2s")
    pgbench_init(pg)
    b = Backup(t, pg)
    s = b.stream("--make-slot")
    s.flows()
    b.catch_up(pg)
    sender = pg.sql("SELECT pid FROM pg_stat_replication")
    away(b)
    beats = len(s.events())
    until("longer than wal_sender_timeout", 20, lambda: commit(pg, 5)[1] and len(s.events()) > beats + 5)
    check("Not a directory" in s.events()[-1]["trouble"], s.events()[-1])
    equal(pg.sql("SELECT pid FROM pg_stat_replication"), sender, "the walsender")
    much(pg)
    until("no more is taken", 10, lambda: s.received() > b.reach(1, "host.away") + 10 * MIB)
    tps = load_finish(load_start(pg, 3))
    until("the walsender is let go", 20, lambda: not s.events()[-1]["connected"])
    memory = private_kb(s.process.pid)
    slot = pg_slot(pg)
    back(b)
    check(slot <= b.reach(), "the slot was ahead of the store")
    b.catch_up(pg, 60)
    pieces = b.contiguous()
    check(all(a.end == z.start for a, z in zip(pieces, pieces[1:])), "no byte twice")
    print(f"# store away: {tps:.0f} transactions a second, {memory} kB of private memory with all it takes")
    if not sanitized():
        check(memory < 64000, f"{memory} kB")

    # A server that is to stop is not kept from it.
    away(b)
    pg.sql("INSERT INTO pgbench_history (delta) VALUES (1)")
    until("it is in trouble", 15, lambda: s.events()[-1]["trouble"])
    pg.stop(seconds=40)
    back(b)
    pg.start()
    b.catch_up(pg, 30)
    equal(s.stop(), 0, s.words())
    b.contiguous()


def test_disk_full(t):
    pg = Cluster(t)
    pgbench_init(pg)
    b = Backup(t, pg)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", b.store], capture_output=True).returncode:
        raise Skipped("a tmpfs can't be mounted")
    try:
        s = b.stream("--make-slot")
        much(pg)
        until("it is full", 60, lambda: s.events() and "No space left" in (s.events()[-1]["trouble"] or ""))
        check(pg_slot(pg) <= b.reach(), "nothing was told that is not there")
        subprocess.run(["mount", "-o", "remount,size=200m", b.store], check=True)
        b.catch_up(pg, 60)
        b.contiguous()
        equal(s.stop(), 0, s.words())
    finally:
        subprocess.run(["umount", "-l", b.store], check=True)


def names_in_swift(t, log):
    """What was put, in order, by the requests that went through."""
    return [unquote(r["path"]) for r in log if r["method"] == "PUT" and "/host/" in r["path"] and r["status"] == 201]


def test_swift(t):
    """Through PUT-only addresses, on a cloud that fails now and then: no gap, and idle no request at all."""
    t.start_pocket("--no-servers")
    pg = Cluster(t)
    pgbench_init(pg)
    b = Backup(t, pg, repository="{cloud: pocket, container: bk}")
    result = t.run(f"{BUILD}/atoll", "backup", "audit", "--settings", b.settings, "--once", "--urls", f"{t.dir}/urls")
    equal(result.code, 0, result)
    b.repository = "{urls: urls}"
    b.configure()
    match = "PUT /v1/*/bk/host/*"
    t.pocket.fault({"match": match, "every": 5, "do": "status", "status": 503},
                   {"match": match, "every": 7, "do": "reset", "when": "after"},
                   {"match": match, "every": 11, "do": "delay", "ms": 1500})
    s = b.stream("--make-slot")
    s.flows()
    load_finish(load_start(pg, 4))
    b.catch_up(pg, 60)
    t.pocket.fault()
    pieces = sorted({p.split("/wal/")[1] for p in names_in_swift(t, t.pocket.log())})
    reach = 0
    for name in pieces:
        start, end = (int(v, 16) for v in name.split("/")[1].split("-")[:2])
        check(not reach or start <= reach, f"a hole before {name}")
        reach = max(reach, end)
    check(reach >= pg_slot(pg) > 0, "what was told is stored")

    pg.sql("CHECKPOINT")
    for turn in range(4):
        b.catch_up(pg)
        at, requests, beats = pg.lsn(), len(t.pocket.log()), len(s.events())
        until("four seconds", 20, lambda: len(s.events()) >= beats + 4)
        if pg.lsn() == at and pg_slot(pg) == at and len(t.pocket.log()) == requests:
            break
    else:
        raise Failed(f"never idle: {t.pocket.log()[-3:]}")

    # A commit costs one request. The cloud goes away and comes back.
    for _ in range(4):  # unless PostgreSQL writes log of its own in that moment
        requests = len(t.pocket.log())
        commit(pg, 10)
        b.catch_up(pg)
        cost = len(t.pocket.log()) - requests
        if cost == 1:
            break
    equal(cost, 1, "requests of a commit")
    t.pocket.kill()
    commit(pg, 10)
    until("it says so", 20, lambda: s.events()[-1]["trouble"])
    t.pocket.start()
    b.catch_up(pg, 60)
    equal(s.stop(), 0, s.words())
    check("temp_url_sig" not in s.words() + json.dumps(s.events()), "an address is shown")


def test_server_away(t):
    pg = Cluster(t)
    pgbench_init(pg)
    b = Backup(t, pg)
    s = b.stream("--make-slot")
    s.flows()
    for kill in (pg.kill, pg.stop, lambda: pg.stop(signal.SIGQUIT)):
        bench = load_start(pg, 600, 2)
        until("something more", 20, lambda: s.received() > b.reach() - 1)
        time.sleep(0.5)
        kill()
        bench.kill()
        bench.communicate()
        until("it waits", 10, lambda: not s.events()[-1]["connected"])
        pg.start()
        b.catch_up(pg, 30)
    # A server that isn't there when it begins is waited for too.
    equal(s.stop(), 0, s.words())
    pg.stop()
    s = b.stream()
    until("it waits", 10, lambda: s.events() and "Connection refused" in (s.events()[-1]["trouble"] or ""))
    pg.start()
    b.catch_up(pg, 30)
    pieces = b.contiguous()
    check(all(a.end == z.start for a, z in zip(pieces, pieces[1:])), "no byte twice")


def test_promoted(t):
    """Its standby takes over on the primary's address: by the server's own answer the stream goes on there."""
    pg = Cluster(t)
    pgbench_init(pg)
    other = pg.standby()
    other.sql("SELECT pg_create_physical_replication_slot('reef', true)")
    b = Backup(t, pg)
    s = b.stream("--make-slot")
    s.flows()
    load_finish(load_start(pg, 2))
    until("the standby has it", 20, lambda: other.sql("SELECT pg_last_wal_replay_lsn()") and
          parse_lsn(other.sql("SELECT pg_last_wal_replay_lsn()")) >= pg.lsn())
    b.catch_up(pg)
    pg.kill()
    other.stop()
    other.port = pg.port
    other.start()
    other.promote()
    load_finish(load_start(other, 2))
    b.catch_up(other, 30)
    history = [f for f in b.files() if "/history-" in f]
    equal(len(history), 1, history)
    check("timeline 1 has ended; 2 follows" in s.words(), s.words())
    switched = parse_lsn(other.sql("SELECT pg_walfile_name(pg_current_wal_lsn())") and
                         re.search(r"^1\t(\S+)", open(f"{other.data}/pg_wal/00000002.history").read(), re.M).group(1))
    first = b.contiguous(2)[0]
    check(first.start <= switched, f"timeline 2 from {first.start:x}, switched at {switched:x}")
    check(b.reach(1) >= switched, "the old timeline up to its end")
    check(os.stat(f"{b.store}/{history[0]}").st_ctime <= min(p.stored for p in b.contiguous(2)), "history first")

    # The old primary comes back: not to be followed.
    equal(s.stop(), 0, s.words())
    other.stop()
    pg.start()
    result = b.run()
    equal(result.code, 1, result)
    check("old primary" in result.err, result)


def test_strict(t):
    pg = Cluster(t)
    pgbench_init(pg)
    b = Backup(t, pg, "synchronous: strict")
    s = b.stream("--make-slot")
    until("it says what it needs", 20, lambda: "GRANT ALTER SYSTEM" in s.words())
    pg.sql("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO backup")
    pg.sql("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO backup")
    until("commits wait", 20, lambda: s.events()[-1]["synchronous"])
    until("PostgreSQL agrees", 10, lambda: pg.sql("SELECT sync_state FROM pg_stat_replication") == "sync")
    took = commit(pg, 20)[1]
    check(b.reach() >= pg_slot(pg), "stored")
    tps = load_finish(load_start(pg, 3, 8))
    print(f"# strict: a commit in {took * 1000:.0f} ms, {tps:.0f} transactions a second of 8 clients")
    away(b)
    process, took = commit(pg, 2)
    equal(took, None, "a commit while the store is away")
    back(b)
    process.communicate(timeout=30)
    equal(process.returncode, 0, "it is answered when the store is back")
    # What was answered is stored, at whatever moment everything dies.
    bench = load_start(pg, 600, 4)
    time.sleep(1)
    s.kill()
    pg.kill()
    bench.communicate()
    pg.start()
    equal(pg.sql("SHOW synchronous_standby_names"), '"reef"', "it stays")
    process, took = commit(pg, 1)
    equal(took, None, "a commit while nobody streams")
    s = b.stream()
    process.communicate(timeout=30)
    equal(process.returncode, 0, "answered")
    equal(s.stop(), 0, s.words())
    check("RESET synchronous_standby_names" in s.words(), s.words())
    b.configure("synchronous: no")
    s = b.stream()
    until("commits are free", 20, lambda: pg.sql("SHOW synchronous_standby_names") == "")
    equal(s.stop(), 0, s.words())

    # The operator's own list is not touched.
    pg.sql("ALTER SYSTEM SET synchronous_standby_names = 'mine'")
    pg.sql("SELECT pg_reload_conf()")
    b.configure("synchronous: strict")
    result = b.run()
    equal(result.code, 1, result)
    check("'mine' already" in result.err, result)


def test_give_up(t):
    pg = Cluster(t)
    pgbench_init(pg)
    pg.sql("ALTER ROLE backup SUPERUSER")
    b = Backup(t, pg, "synchronous: {give_up: 1s}")
    s = b.stream("--make-slot")
    until("commits wait", 20, lambda: s.events() and s.events()[-1]["synchronous"])
    away(b)
    process, took = commit(pg, 15)
    check(took and took >= 0.9, f"answered after {took} s")
    check("no longer wait" in s.words(), s.words())
    took = min(commit(pg, 5)[1] for _ in range(4))  # psql has to start, too
    check(took < 0.9, f"then at once: {took} s")
    back(b)
    until("commits wait again", 30, lambda: s.events()[-1]["synchronous"])
    check("answered before they were stored" in s.words().replace("were answered before", "answered before"), s.words())
    b.catch_up(pg)
    equal(s.stop(), 0, s.words())
    equal(pg.sql("SHOW synchronous_standby_names"), "", "a clean end")


def test_alarm(t):
    pg = Cluster(t, max_slot_wal_keep_size="96MB", max_wal_size="64MB", min_wal_size="32MB")
    pgbench_init(pg, 1)
    b = Backup(t, pg)
    s = b.stream("--make-slot")
    s.flows()
    b.catch_up(pg)
    s.stop()
    away(b)
    for _ in range(4):
        pg.sql("SELECT pg_switch_wal() FROM (SELECT txid_current()) x")
        pg.sql("INSERT INTO pgbench_history (delta) VALUES (1)")
    s = b.stream()
    until("a warning", 20, lambda: "holds back" in s.words())
    s.kill()
    back(b)
    known = b.reach()
    for _ in range(12):
        pg.sql("SELECT pg_switch_wal() FROM (SELECT txid_current()) x")
        pg.sql("INSERT INTO pgbench_history (delta) VALUES (1)")
    pg.sql("CHECKPOINT")
    pg.sql("CHECKPOINT")
    equal(pg.sql("SELECT wal_status FROM pg_replication_slots"), "lost", "the slot")
    result = b.run()
    equal(result.code, 1, result)
    check(format_lsn(known) in result.err and "new base backup" in result.err, result)


def test_slot_lost_meanwhile(t):
    """The server throws the log away, and is not kept from it by a stream that can't take any more. What the stream
    holds is nowhere else then, and is stored before it ends."""
    pg = Cluster(t, max_slot_wal_keep_size="32MB", max_wal_size="64MB", min_wal_size="32MB")
    pgbench_init(pg, 1)
    b = Backup(t, pg)
    s = b.stream("--make-slot")
    s.flows()
    b.catch_up(pg)
    away(b)
    pg.sql("INSERT INTO pgbench_history (delta) VALUES (1)")
    lsn = pg.lsn()
    until("it has come", 10, lambda: s.received() >= lsn)
    for _ in range(6):
        pg.sql("SELECT pg_switch_wal() FROM (SELECT txid_current()) x")
        pg.sql("INSERT INTO pgbench_history (delta) VALUES (1)")
    for _ in range(2):
        equal(pg.run("psql", "-Xqc", "CHECKPOINT", timeout=30).code, 0, "a checkpoint")
    equal(pg.sql("SELECT wal_status FROM pg_replication_slots"), "lost", "the slot")
    back(b)
    equal(s.process.wait(60), 1, s.words())
    check("new base backup" in s.words(), s.words())
    check(b.contiguous()[-1].end >= lsn, "what it held is stored")


def test_refused(t):
    """What a person reads whose server is not set up for it."""
    pg = Cluster(t)
    b = Backup(t, pg)

    def refused(words, hint, code, *options):
        result = b.run(*options)
        equal(result.code, code, result)
        check(words in result.err and hint in result.err, f"not {words!r} and {hint!r}: {result}")
        check(pg.password not in result.err and "wrong-password" not in result.err, "a password")

    refused("no replication slot reef", "--make-slot", 1)
    with open(pg.password_file, "w") as f:
        f.write("wrong-password\n")
    refused("password authentication failed", "\\password backup", 6)
    with open(pg.password_file, "w") as f:
        f.write(pg.password + "\n")
    pg.sql("ALTER ROLE backup NOREPLICATION")
    refused("", 'ALTER ROLE "backup" REPLICATION', 6)
    pg.sql("ALTER ROLE backup REPLICATION")
    pg.write("pg_hba.conf", "local all postgres trust\nhost postgres all 127.0.0.1/32 scram-sha-256\n")
    pg.sql("SELECT pg_reload_conf()")
    refused("pg_hba.conf", "host replication backup", 6)
    pg.write("pg_hba.conf", HBA)
    pg.sql("SELECT pg_reload_conf()")
    refused("no LSN", "", 64, "--until", "zzz")

    # Only replication is let in: enough, but nobody watches the slot.
    pg.write("pg_hba.conf", "local all postgres trust\nhost replication all 127.0.0.1/32 scram-sha-256\n")
    pg.sql("SELECT pg_reload_conf()")
    s = b.stream("--make-slot")
    s.flows()
    check("is not watched" in s.words(), s.words())
    equal(s.stop(), 0, s.words())
    b.configure("synchronous: strict")
    refused("reading synchronous_standby_names", "", 6)
    b.configure()
    pg.write("pg_hba.conf", HBA)
    pg.sql("SELECT pg_reload_conf()")

    # In use: by another program with the slot, and by another stream with the state.
    s = b.stream("--make-slot")
    s.flows()
    refused("another stream has the state", "", 4)
    b.configure(state=f"{t.dir}/state2")
    refused("is active for PID", "slot of its own", 1)
    equal(s.stop(), 0, s.words())
    b.configure()

    # Another cluster where this one was.
    pg.stop()
    other = Cluster(t, "other", fresh=True, port=pg.port)
    refused("another cluster", "empty repository", 1, "--make-slot")
    other.stop()
    pg.configure(wal_level="minimal", max_wal_senders=0)
    shutil.rmtree(f"{pg.data}/pg_replslot/reef")  # or it would not start without wal_level
    pg.start()
    refused("max_wal_senders", "wal_level = replica", 1)


main()
