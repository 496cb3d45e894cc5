"""`atoll backup base` beside a real PostgreSQL: whole, small the second time, taken up after a kill, loud about
damage. What was stored is rebuilt by test/lib/backup_reader.py, which has none of atoll's code, and judged by
PostgreSQL's own pg_verifybackup."""
import os
import random
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backup_reader
from backup import *
from harness import *
from pg import *

MB = 1000 * 1000


def base(b, *options, code=0, **more):
    return b.t.atoll("backup", "base", "--settings", b.settings, "--json", "--wait", "0s", *options, code=code, **more)


def result_of(run):
    return run.events("base")[0]


def pack_bytes(b):
    return sum(os.stat(f"{b.store}/{n}").st_size for n in b.files() if n.startswith("host/pack/"))


def keys_of(b):
    secret = backup_reader.public_lines(f"{b.t.dir}/keys/drill.key")[0][:32]
    return secret, backup_reader.public_lines(f"{b.t.dir}/keys/host.pub")


def rebuild(b, name, to="rebuilt"):
    """The files again, checked by PostgreSQL. The manifest's facts."""
    folder = f"{b.t.dir}/{to}"
    shutil.rmtree(folder, ignore_errors=True)
    facts = backup_reader.rebuild(b.store, *keys_of(b), name, folder)
    seen = b.t.run(f"{pg_bin()}/pg_verifybackup", "-n", folder)
    equal(seen.code, 0, f"pg_verifybackup: {seen}")
    return facts


def fill(pg, scale):
    """pgbench's tables, and text like statuses."""
    pgbench_init(pg, scale)
    pg.sql("CREATE TABLE statuses AS SELECT i, md5(i::text) || repeat(' toot', (i % 50)::int) AS words "
           f"FROM generate_series(1, {scale * 20000}) i")
    pg.sql("VACUUM")
    pg.sql("CHECKPOINT")


def test_full_then_little(t):
    pg = Cluster(t, fresh=True)
    fill(pg, 10)
    b = Backup(t, pg)
    process = b.t.spawn(f"{BUILD}/atoll", "backup", "base", "--settings", b.settings, "--json", "--wait", "0s")
    peak, looks = 0, 0
    while process.poll() is None:
        try:
            peak, looks = max(peak, private_kb(process.pid)), looks + 1
        except OSError:
            break
        time.sleep(0.05)
    out, err = process.communicate()
    first = Result(process.returncode, out.decode(), err.decode())
    equal(first.code, 0, str(first))
    check(looks > 2 and (sanitized() or peak < 64 * 1024), f"{peak} kB of private memory")
    one = result_of(first)
    equal((one["checksums"], one["reused"], one["warnings"]), ("verified", 0, []))
    equal(pack_bytes(b), one["stored"])
    rebuild(b, one["name"])

    # Nothing changed but what a server does by itself.
    two = result_of(base(b))
    check(two["stored"] < one["stored"] / 20, f"{two['stored']} bytes again, of {one['stored']}")
    rebuild(b, two["name"])

    # One row in each of 5 % of the pages, anywhere.
    pages = int(pg.sql("SELECT pg_relation_size('pgbench_accounts') / 8192"))
    chosen = random.sample(range(pages), pages // 20)
    pg.sql("UPDATE pgbench_accounts SET filler = md5(random()::text) WHERE ctid = ANY (ARRAY["
           + ",".join(f"'({p},1)'" for p in chosen) + "]::tid[])")
    pg.sql("CHECKPOINT")
    three = result_of(base(b))
    share = three["stored"] / one["stored"]
    print(f"# a full: {one['bytes'] / MB:.0f} MB of files, {one['stored'] / MB:.1f} MB stored, {peak / 1000:.0f} MB "
          f"private; with 5 % of the table's pages changed: {three['stored'] / MB:.1f} MB, {100 * share:.1f} %; "
          f"{(three['bytes'] - three['reused']) / MB:.1f} MB before compression")
    check(three["bytes"] - three["reused"] < 0.2 * three["bytes"], "more than a fifth of the pages went again")
    rebuild(b, three["name"])
    # Each is a full one: the first two still are what they were, and the third needs no manifest but its own.
    for name in (one["name"], two["name"]):
        os.rename(f"{b.store}/{name}", f"{t.dir}/aside")
        rebuild(b, three["name"])
        os.rename(f"{t.dir}/aside", f"{b.store}/{name}")
        rebuild(b, name)
    # All of it again when asked for.
    four = result_of(base(b, "--full"))
    check(four["stored"] > 0.9 * one["stored"] and four["reused"] == 0, f"--full: {four}")


def test_killed_and_taken_up(t):
    pg = Cluster(t, fresh=True)
    pg.sql("CREATE TABLE noise AS SELECT md5(i::text) || md5((-i)::text) AS words FROM generate_series(1, 900000) i")
    pg.sql("VACUUM")
    b = Backup(t, pg)

    def noted():
        """Packs that journals know to be stored."""
        found = 0
        for name in os.listdir(f"{t.dir}/state"):
            if re.fullmatch(r"pages\.\d+", name):
                with open(f"{t.dir}/state/{name}", "rb") as f:
                    found = max(found, f.read().count(b"host/pack/"))
        return found
    # Slow enough to be killed in the middle, twice.
    os.mkdir(f"{t.dir}/state")
    for part in (1, 2):
        process = t.spawn(f"{BUILD}/atoll", "backup", "base", "--settings", b.settings, "--rate", "15MB", "--wait", "0s")
        until("packs are noted", 60, lambda: noted() >= 2 * part or process.poll() is not None)
        check(process.poll() is None, "the backup was over before it could be killed")
        process.kill()
        process.wait()
    before = pack_bytes(b)
    check(before > 30 * MB, f"only {before} bytes were stored before the kills")
    last = result_of(base(b))
    rebuild(b, last["name"])
    whole = result_of(base(b, "--full"))["stored"]
    print(f"# stored before two kills: {before / MB:.1f} MB; after: {last['stored'] / MB:.1f} MB; a full: {whole / MB:.1f} MB")
    # A pack may have been stored just when the kill came, unknown to the journal.
    check(before + last["stored"] < whole + 9 * MB, f"{before} + {last['stored']} bytes, a full one has {whole}")
    journals = [n for n in os.listdir(f"{t.dir}/state") if re.fullmatch(r"pages\.\d+", n)]
    equal(journals, [], "journals are gone after a clean run")


def test_map_lost_or_damaged(t):
    pg = Cluster(t)
    fill(pg, 2)
    b = Backup(t, pg)
    one = result_of(base(b))
    path = f"{t.dir}/state/pages"

    def again(words):
        run = base(b)
        got = result_of(run)
        check(got["stored"] > 0.8 * one["stored"], f"{words}: not sent in full: {got}")
        check(any("all pages are sent" in w for w in got["warnings"]), f"{words}: not a word about it: {got}")
        check("all pages are sent" in run.err, f"not said: {run.err}")
        rebuild(b, got["name"])

    os.remove(path)
    again("lost")
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))
    again("a bit")
    with open(path, "r+b") as f:
        f.truncate(os.path.getsize(path) - 100)
    again("cut")
    # Another repository: the pages are not there.
    os.rename(b.store, b.store + ".old")
    b.store += ".new"
    b.repository = f"{{folder: {b.store}}}"
    b.configure()
    again("another repository")
    # Both gone: the next is a first one.
    shutil.rmtree(f"{t.dir}/state")
    got = result_of(base(b))
    equal(got["warnings"], [])
    rebuild(b, got["name"])


def test_another_cluster(t):
    pg = Cluster(t)
    fill(pg, 1)
    b = Backup(t, pg)
    base(b)
    pg.stop()
    b.pg = Cluster(t, "other", fresh=True)
    b.configure()
    got = result_of(base(b))
    check(any("another cluster" in w for w in got["warnings"]) and got["reused"] == 0, f"{got}")
    rebuild(b, got["name"])


def test_damaged_page(t):
    pg = Cluster(t)
    fill(pg, 2)
    b = Backup(t, pg)
    good = result_of(base(b))
    path = f"{pg.data}/{pg.sql('SELECT pg_relation_filepath(%s)' % chr(39).join(['', 'statuses', '']))}"
    pg.stop()
    with open(path, "r+b") as f:
        f.seek(5 * 8192 + 4000)
        f.write(b"damage by the disk")
    pg.start()
    run = base(b, code=1)
    got = result_of(run)
    equal(got["checksums"], "failed")
    check("wrong checksums" in run.err and "checksum verification failed" in run.err, f"too quiet: {run.err}")
    facts = rebuild(b, got["name"], "damaged")
    equal(facts["checksums"], "failed")
    rebuild(b, good["name"], "good")
    relative = os.path.relpath(path, pg.data)
    with open(f"{t.dir}/damaged/{relative}", "rb") as now, open(f"{t.dir}/good/{relative}", "rb") as before:
        check(b"damage by the disk" in now.read() and b"damage by the disk" not in before.read(), "which is which?")


def test_tablespaces_and_unlogged(t):
    pg = Cluster(t)
    for name in ("one", "two"):
        os.mkdir(f"{pg.dir}/{name}")
        pg_own(f"{pg.dir}/{name}")
        pg.sql(f"CREATE TABLESPACE {name} LOCATION '{pg.dir}/{name}'")
        pg.sql(f"CREATE TABLE in_{name} TABLESPACE {name} AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i")
    pg.sql("CREATE UNLOGGED TABLE fleeting AS SELECT md5(i::text) FROM generate_series(1, 20000) i")
    pg.sql("CHECKPOINT")
    fleeting = pg.sql("SELECT pg_relation_filepath('fleeting')")
    b = Backup(t, pg)
    for _ in range(2):
        got = result_of(base(b))
        rebuild(b, got["name"])
        check(not os.path.exists(f"{t.dir}/rebuilt/{fleeting}"), "an unlogged table's pages")
        check(os.path.exists(f"{t.dir}/rebuilt/{fleeting}_init"), "an unlogged table's beginning")
        for name in ("one", "two"):
            path = pg.sql(f"SELECT pg_relation_filepath('in_{name}')")
            with open(f"{pg.data}/{path}", "rb") as there, open(f"{t.dir}/rebuilt/{path}", "rb") as here:
                check(there.read() == here.read(), f"{path} differs")
        manifest = backup_reader.Object(b.store, got["name"], keys_of(b)[1])
        manifest.open(keys_of(b)[0])
        links = {line["target"]: line for line in backup_reader.files(manifest) if line["kind"] == "link"}
        equal(sorted(links), [f"{pg.dir}/one", f"{pg.dir}/two"])
        check(all(line["path"] == f"pg_tblspc/{line['tablespace']}" for line in links.values()), f"{links}")


def test_files_that_shrink_and_grow(t):
    pg = Cluster(t)
    fill(pg, 5)
    b = Backup(t, pg)
    bench = pg.spawn("pgbench", "-n", "-c", "4", "-T", "20")
    for _ in range(3):
        pg.sql("CREATE TABLE IF NOT EXISTS churn (words text)")
        pg.sql("INSERT INTO churn SELECT md5(i::text) FROM generate_series(1, 100000) i")
        process = t.spawn(f"{BUILD}/atoll", "backup", "base", "--settings", b.settings, "--json", "--wait", "0s",
                          "--rate", "60MB")
        while process.poll() is None:
            pg.sql("TRUNCATE churn")
            pg.sql("INSERT INTO churn SELECT md5(i::text) FROM generate_series(1, 30000) i")
            pg.sql("DELETE FROM churn")
            pg.sql("VACUUM churn")
        out, err = process.communicate()
        equal(process.returncode, 0, err.decode())
        rebuild(b, result_of(Result(0, out.decode(), ""))["name"])
    bench.terminate()
    bench.wait()


def test_complete_only_with_the_log(t):
    pg = Cluster(t)
    fill(pg, 1)
    b = Backup(t, pg)
    run = b.t.atoll("backup", "base", "--settings", b.settings, "--wait", "1s", code=3)
    check("can't be restored before the log is" in run.err and "slot" in run.err, f"{run}")
    s = b.stream("--make-slot")
    s.flows()
    run = b.t.atoll("backup", "base", "--settings", b.settings, "--wait", "30s", "--json")
    equal(result_of(run)["log_stored"], True)
    check(b.reach() >= parse_lsn(result_of(run)["stop"]), "the log is not there")
    s.kill()
    # A stream that ended: its slot stays where it was.
    pg.sql("CREATE TABLE later AS SELECT 1")
    run = b.t.atoll("backup", "base", "--settings", b.settings, "--wait", "1s", code=3)
    check("atoll backup stream" in run.err, f"{run}")


def test_refusals(t):
    pg = Cluster(t)
    b = Backup(t, pg)
    equal(base(b, "--rate", "fast", code=64).code, 64)
    equal(base(b, "--rate", "1kB", code=64).code, 64)
    base(b, "--label", "o'clock", "--rate", "auto")
    # Two at once.
    fill(pg, 3)
    process = t.spawn(f"{BUILD}/atoll", "backup", "base", "--settings", b.settings, "--rate", "5MB", "--wait", "0s")
    until("it has begun", 20, lambda: any(n.startswith("pages.1") for n in os.listdir(f"{t.dir}/state")))
    run = base(b, code=4)
    check("another base backup runs" in run.err, f"{run}")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    equal(process.returncode, 130, err.decode())
    # The server dies in the middle, and the store does.
    process = t.spawn(f"{BUILD}/atoll", "backup", "base", "--settings", b.settings, "--rate", "5MB", "--wait", "0s")
    until("it has begun", 20, lambda: pg.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'") == "1")
    pg.kill()
    _, err = process.communicate(timeout=60)
    check(process.returncode == 1 and b"PostgreSQL" in err, f"exit {process.returncode}: {err.decode()}")
    run = base(b, code=None)
    check(run.code not in (0, 3) and "cannot connect" in run.err, f"{run}")
    os.remove(f"{pg.data}/postmaster.pid")
    pg.start()
    got = result_of(base(b))
    rebuild(b, got["name"])
    with open(pg.password_file, "w") as f:
        f.write("wrong\n")
    equal(base(b, code=6).code, 6)


main()
