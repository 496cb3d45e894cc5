"""PostgreSQL clusters for tests: real servers on loopback, of this test alone, ended with it.

    from pg import *
    pg = Cluster(t)                       # running: wal_level replica, page checksums
    pg.sql("SELECT 1")                    # "1"
    pg.run("pgbench", "-i", "-s", "5")    # any program of PostgreSQL's, with PGHOST, PGPORT, PGUSER
    pg.settings_lines()                   # `postgres:` of a backup.yaml, with the password's file

Roles: postgres (superuser; trusted over the socket), backup (REPLICATION and pg_monitor, by
password, also over TCP). As root all of it runs as Debian's user postgres. Clusters are copies of a
template that initdb made once on this machine; so they have one system identifier, unless `fresh`.
"""
import glob
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time

from harness import *

PG_BINS = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))
PG_PASSWORD = "replicate 'me'"
HBA = """\
local all,replication postgres trust
local all,replication all scram-sha-256
host all,replication all 127.0.0.1/32 scram-sha-256
"""
SETTINGS = {"wal_level": "replica", "max_wal_senders": 10, "max_replication_slots": 10,
            "fsync": "off", "shared_buffers": "32MB", "max_connections": 50,
            "log_line_prefix": "'%m [%p] %a '", "log_replication_commands": "on"}


def pg_bin():
    if not PG_BINS:
        raise Skipped("without PostgreSQL")
    return PG_BINS[-1]


def pg_who():
    """For Popen: PostgreSQL doesn't run as root."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def pg_own(path):
    if not os.geteuid():
        os.chown(path, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pg_initdb(data, *options):
    subprocess.run([f"{pg_bin()}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-k",
                    "--no-sync", "--locale=C.UTF-8", *options], check=True, **pg_who(),
                   stdout=subprocess.DEVNULL, cwd="/", preexec_fn=die_with_parent)


def pg_template():
    """Complete or not there: several tests may want it at once."""
    version = pg_bin().split("/")[4]
    path = f"{tempfile.gettempdir()}/atoll-pg-{version}-{os.geteuid()}"
    if not os.path.exists(f"{path}/data/PG_VERSION"):
        new = tempfile.mkdtemp(prefix="atoll-pg-new-")
        pg_own(new)
        pg_initdb(f"{new}/data")
        try:
            os.rename(new, path)
        except OSError:
            shutil.rmtree(new)  # another test was quicker
    return f"{path}/data"


class Cluster:
    """fresh: by initdb, with an identifier of its own. copy_of: a folder to copy. initdb: options."""

    def __init__(self, t, name="pg", fresh=False, initdb=(), copy_of=None, port=None, start=True,
                 **settings):
        self.t, self.name, self.process = t, name, None
        self.dir = f"{t.dir}/{name}"
        self.data, self.log = f"{self.dir}/data", f"{t.dir}/{name}.log"
        self.host, self.port, self.password = "127.0.0.1", port or free_port(), PG_PASSWORD
        os.mkdir(self.dir, 0o755)
        pg_own(self.dir)
        if fresh or initdb:
            pg_initdb(self.data, *initdb)
        else:
            subprocess.run(["cp", "-a", copy_of or pg_template(), self.data], check=True)
        self.write("pg_hba.conf", HBA)
        self.configure(**{**SETTINGS, **settings})
        self.password_file = f"{t.dir}/{name}.password"
        with open(self.password_file, "w") as f:
            os.chmod(f.name, 0o600)
            f.write(self.password + "\n")
        t.processes.insert(0, self)
        if start:
            self.start()
            self.roles()

    def roles(self):
        quoted = self.password.replace("'", "''")
        if not self.sql("SELECT 1 FROM pg_roles WHERE rolname = 'backup'"):
            self.sql(f"CREATE ROLE backup LOGIN REPLICATION PASSWORD '{quoted}'; "
                     "GRANT pg_monitor TO backup")

    def write(self, name, text, mode="w"):
        with open(f"{self.data}/{name}", mode) as f:
            f.write(text)
        pg_own(f.name)

    def configure(self, **settings):
        """Appended, so the last one counts; takes effect with the next start (or reload)."""
        self.write("postgresql.conf", "".join(f"{k} = {v}\n" for k, v in settings.items()), "a")

    def start(self, seconds=30, ready=True):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [f"{pg_bin()}/postgres", "-D", self.data, "-p", str(self.port), "-h", self.host,
                 "-k", self.dir], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env={"PATH": PATH, "LANG": "C.UTF-8"}, preexec_fn=die_with_parent, **pg_who())
        if ready:
            until(f"{self.name} answers", seconds, self.answers)

    def answers(self):
        check(self.process.poll() is None, f"{self.name} ended: {self.words()}")
        return self.run("pg_isready", "-q").code == 0

    def words(self, lines=20):
        with open(self.log, errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def stop(self, how=signal.SIGINT, seconds=60):
        """SIGINT: fast, with a checkpoint; SIGQUIT: immediate, recovery at the next start."""
        if self.poll() is None:
            self.process.send_signal(how)
            self.process.wait(seconds)

    def kill(self):
        """As a machine that loses power, but for the disk's cache: all its processes at once."""
        group = [self.process.pid] + [int(p) for p in self.children()]
        for pid in group:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        until(f"{self.name}'s processes are gone", 10,
              lambda: not any(os.path.exists(f"/proc/{p}") for p in group))

    def children(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path) as f:
            return f.read().split()

    # As harness.Test ends its processes.
    def poll(self):
        return self.process.poll() if self.process else 0

    def terminate(self):
        self.process.send_signal(signal.SIGQUIT)

    def wait(self, seconds=None):
        return self.process.wait(seconds)

    def env(self, **more):
        return {"PATH": f"{pg_bin()}:{PATH}", "LANG": "C.UTF-8", "HOME": self.dir,
                "PGHOST": self.dir, "PGPORT": str(self.port), "PGUSER": "postgres",
                "PGDATABASE": "postgres", **more}

    def spawn(self, program, *argv, **more):
        return subprocess.Popen([program, *argv], env=self.env(**more), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.dir,
                                preexec_fn=die_with_parent, **pg_who())

    def run(self, program, *argv, timeout=300, **more):
        process = self.spawn(program, *argv, **more)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"{program} {argv} did not end in {timeout} s")
        return Result(process.returncode, out.decode(), err.decode())

    def sql(self, text, database="postgres", **more):
        """Statements as one transaction, but for those that can't be in one: one statement alone."""
        result = self.run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", text,
                          PGDATABASE=database, **more)
        equal(result.code, 0, f"{text}: {result}")
        return result.out.strip()

    def lsn(self):
        """As a number: where the log is flushed to."""
        return parse_lsn(self.sql("SELECT pg_current_wal_flush_lsn()"))

    def settings_lines(self, user="backup"):
        return (f"postgres: {{host: {self.host}, port: {self.port}, user: {user}, "
                f"password_file: {self.password_file}}}\n")

    def standby(self, name="standby", **settings):
        """A streaming standby of this cluster, running. It can be promoted: promote()."""
        folder = f"{self.dir}/{name}-copy"
        result = self.run("pg_basebackup", "-D", folder, "-X", "stream", "-c", "fast", "-N")
        equal(result.code, 0, f"pg_basebackup: {result}")
        other = Cluster(self.t, name, copy_of=folder, start=False, **settings)
        shutil.rmtree(folder)
        other.configure(primary_conninfo=f"'host={self.dir} port={self.port} user=postgres "
                                         f"application_name={name}'")
        other.write("standby.signal", "")
        other.start()
        return other

    def promote(self):
        self.sql("SELECT pg_promote(true, 60)")


def parse_lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(lsn):
    return f"{lsn >> 32:X}/{lsn & 0xffffffff:X}"


def pgbench_init(pg, scale=2):
    equal(pg.run("pgbench", "-q", "-i", "-s", str(scale)).code, 0, "pgbench -i")


def load_start(pg, seconds, clients=4):
    """pgbench's process; load_finish() gives its transactions a second."""
    return pg.spawn("pgbench", "-n", "-c", str(clients), "-T", str(seconds))


def load_finish(process):
    out, err = process.communicate(timeout=120)
    equal(process.returncode, 0, f"pgbench: {err.decode()}")
    return float(re.search(r"tps = ([\d.]+)", out.decode()).group(1))
