"""`atoll backup export`: what was proven, as an archive that curl (or cat), zstd and tar read, and PostgreSQL starts on;
what is not whole, or did not pass its drill, is no export."""
import hashlib
import os
import signal
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

SUMS = """SELECT (SELECT count(*) || ',' || sum(hashtext(name)) FROM parent), (SELECT sum(n) FROM there),
    (SELECT md5(string_agg(md5(bytes), '' ORDER BY n)) FROM noise)"""


class Exported:
    """A cluster with a table that does not compress and one in a tablespace; its backup, and the log behind it."""

    def __init__(self, t, noise=40):
        self.t, self.pg = t, Cluster(t)
        self.pg.sql("CREATE TABLE parent (id int PRIMARY KEY, name text)")
        self.pg.sql("CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent)")
        self.pg.sql("INSERT INTO parent SELECT n, 'name ' || n FROM generate_series(1, 2000) n")
        self.pg.sql("CREATE TABLE noise (n int, bytes bytea); ALTER TABLE noise ALTER bytes SET STORAGE EXTERNAL")
        self.pg.sql(f"INSERT INTO noise SELECT n, (SELECT string_agg(sha512((n || ' ' || m)::bytea), '') "
                    f"FROM generate_series(1, 1600) m) FROM generate_series(1, {noise}) n")
        os.mkdir(f"{t.dir}/fast")
        pg_own(f"{t.dir}/fast")
        self.pg.sql(f"CREATE TABLESPACE fast LOCATION '{t.dir}/fast'")
        self.pg.sql("CREATE TABLE there TABLESPACE fast AS SELECT n FROM generate_series(1, 5000) n")
        self.backup = Backup(t, self.pg)
        self.backup.stream("--make-slot").flows()
        self.t.atoll("backup", "base", "--settings", self.backup.settings)
        self.pg.sql("INSERT INTO parent SELECT n, 'name ' || n FROM generate_series(2001, 3000) n")
        self.stored()
        self.sums = self.pg.sql(SUMS)

    def stored(self):
        self.backup.catch_up(self.pg)
        self.t.atoll("backup", "audit", "--once", "--settings", self.backup.settings)

    def argv(self, *options):
        return ("backup", "export", "--settings", self.backup.settings, *options)

    def make(self, *options, code=0):
        return self.t.atoll(*self.argv(*options), code=code)

    def sh(self, command, **env):
        """In a folder of PostgreSQL's own user, with Debian's programs alone."""
        home = f"{self.t.dir}/home"
        if not os.path.exists(home):
            os.mkdir(home, 0o700)
            pg_own(home)
        got = subprocess.run(["/bin/sh", "-c", command], cwd=home, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True,
                             **pg_who())
        equal(got.returncode, 0, f"{command}: {got.stderr.decode()}")
        return got.stdout.decode()

    def check_starts(self, folder):
        """PostgreSQL, as it came out of the archive."""
        self.sh(f"{pg_bin()}/pg_ctl -D {folder} -w -l log -o '-k {self.t.dir}/home -p 5999 -c listen_addresses=' start")
        try:
            seen = self.sh(f'psql -h {self.t.dir}/home -p 5999 -U postgres -AtX -c "{SUMS}"')
            equal(seen.strip(), self.sums, "what is in it")
            equal(self.sh(f"psql -h {self.t.dir}/home -p 5999 -U postgres -AtX -c \"SELECT pg_is_in_recovery(), "
                          "pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'\"").split("|")[0], "f", "it is a primary")
        finally:
            self.sh(f"{pg_bin()}/pg_ctl -D {folder} -w -m fast stop")
        self.sh(f"{pg_bin()}/pg_checksums --check -D {folder}")


def check_folder(e, to, event):
    equal(stat.S_IMODE(os.stat(to).st_mode), 0o700, "folder")
    names = sorted(os.listdir(to))
    equal(names, ["README.txt", "SHA256SUMS", "cluster.tar.zst.00000", "manifest.json"], "files")
    check(all(stat.S_IMODE(os.stat(f"{to}/{n}").st_mode) == 0o600 for n in names), "0600")
    with open(f"{to}/manifest.json") as f:
        manifest = json.load(f)
    equal((manifest["restore"], manifest["encrypted"], manifest["drill"]["ok"]), (event["restore"], False, True), "manifest")
    for piece in manifest["pieces"]:
        with open(f"{to}/{piece['name']}", "rb") as f:
            data = f.read()
        equal((len(data), hashlib.sha256(data).hexdigest()), (piece["bytes"], piece["sha256"]), piece["name"])
    equal(sorted(glob.glob(f"{to}*")), [to], "nothing else is left")
    if not os.geteuid():  # they belong to who made them: now somebody else has them
        for path in (to, *(f"{to}/{n}" for n in names)):
            pg_own(path)


def to_container(t, e, api):
    """Killed before its manifest, and begun anew over what that left."""
    argv = e.argv("--to-cloud", "pocket/out/2026/reef", "--scratch", f"{t.dir}/scratch")
    t.pocket.fault({"match": "PUT /v1/*/out/2026/reef/manifest.json", "n": 1, "do": "kill", "pid_file": f"{t.dir}/pid", "when": "before"})
    got = t.run("/bin/sh", "-c", f'echo $$ > {t.dir}/pid; exec "$0" "$@"', f"{BUILD}/atoll", *argv)
    equal(got.code, -signal.SIGKILL, str(got))
    rows = api.call("object-store", "GET", "/out?format=json")[2]
    check(rows and not any(r["name"].endswith("manifest.json") for r in rows), "no manifest: no export")
    api.call("object-store", "PUT", "/out/2026/reef/cluster.tar.zst.00009", b"of a longer run")
    t.pocket.fault({"match": "PUT /v1/*/out/*", "every": 2, "do": "reset", "when": "after"})
    made = t.atoll(*argv, "--json").events("export")[0]
    t.pocket.fault()
    check(not os.path.exists(f"{t.dir}/scratch"), "the scratch folder is gone")
    rows = [r["name"].split("/")[-1] for r in api.call("object-store", "GET", "/out?format=json")[2]]
    equal(rows, ["README.txt", "SHA256SUMS", "cluster.tar.zst.00000", "manifest.json"], "objects")
    check("already" in t.atoll(*argv, code=1).err, "never written over")
    return made


def killed_and_full(t, e):
    """A run that is killed while it restores; another one at the same time; and one to a disk that is full."""
    small = f"{t.dir}/small"
    os.mkdir(small, 0o755)
    process = t.spawn(f"{BUILD}/atoll", *e.argv("--to", f"{small}/x"))
    until("it restores", 30, lambda: os.path.exists(f"{small}/x.unfinished/cluster/base"))
    check("another run" in e.make("--to", f"{small}/x", code=4).err, "two at once")
    process.kill()
    process.communicate()
    equal(os.listdir(small), ["x.unfinished"], "not whole: not there")
    shutil.rmtree(f"{small}/x.unfinished", ignore_errors=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small]).returncode:
        return
    try:
        full = e.make("--to", f"{small}/x", "--scratch", f"{t.dir}/scratch", code=8)
        check("No space left" in full.err, str(full))
        equal((os.listdir(small), os.path.exists(f"{t.dir}/scratch")), ([], False), "left")
    finally:
        subprocess.run(["umount", small], check=True)


def test_export(t):
    t.start_pocket("--no-servers")
    e, api, to = Exported(t), Api(t.pocket, "pocket"), f"{t.dir}/reef"
    for options in ((), ("--to", f"{t.dir}/x", "--to-cloud", "a/b/c"), ("--to-cloud", "a/b"), ("--to", f"{t.dir}/x", "--piece", "1")):
        e.make(*options, code=64)
    check("no folder" in e.make("--to", f"{t.dir}/no/x", code=None).err, "folder")
    made = e.make("--to", to, "--json")
    check("NOT ENCRYPTED" in made.err, "loud")
    event = made.events("export")[0]
    check_folder(e, to, event)
    check("is there already" in e.make("--to", to, code=1).err, "never written over")
    stored = to_container(t, e, api)
    api.call("object-store", "PUT", "/public", headers={"X-Container-Read": ".r:*"})
    check("everybody may read" in e.make("--to-cloud", "pocket/public/x", code=6).err, "public")
    killed_and_full(t, e)
    # A row that refers to nothing.
    e.pg.sql("SET session_replication_role = replica; INSERT INTO child (parent) VALUES (99999)")
    e.stored()
    bad = e.make("--to", f"{t.dir}/y", code=1)
    check("THE DRILL FAILED (foreign_keys" in bad.err and "nothing was exported" in bad.err, str(bad))
    equal(glob.glob(f"{t.dir}/y*"), [], "nothing of it")
    # On another day: what it was made of is gone, atoll too.
    e.pg.stop()
    shutil.move(f"{t.dir}/fast", f"{t.dir}/gone")
    for command, folder in ((event["restore"], "from-folder"), (stored["restore"], "from-container")):
        e.sh(f"{command} && mv restored {folder}", OS_TOKEN=api.token)
        e.check_starts(folder)


if __name__ == "__main__":
    main()
