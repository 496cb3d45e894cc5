"""The canary is deployed with Mastodon's own commands: from a packed tree that its user can't write, with
a real PostgreSQL and Redis, from release 1 to 2 without a break, and into each of the releases that fail."""
import glob
import os
import pwd
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

# What the builds of Debian's packages bring; a machine without one of them can't show this.
NEEDED = ["/usr/bin/bundle", "/usr/bin/puma", "/usr/bin/sidekiq", "/usr/bin/redis-server"]
POST_SKIPPED = {"SKIP_POST_DEPLOYMENT_MIGRATIONS": "true"}
QUEUES = ["-q", "default,8", "-q", "push,6", "-q", "scheduler"]
WORKER = ["bundle", "exec", "sidekiq", "-t", "25", "-c", "3", *QUEUES]
WEB = ["bundle", "exec", "puma", "-C", "config/puma.rb"]


class Canary:
    """Trees of releases beside a database and a Redis, all as an ordinary user where the test is root."""

    def __init__(self, t):
        self.t = t
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        missing = [p for p in NEEDED if not os.path.exists(p)] + ([] if found else ["PostgreSQL"])
        if missing:
            raise Skipped(f"without {', '.join(missing)}")
        self.pg_bin = found[-1]
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.address = t.cidr.replace("0/24", "10")
        self.number = 0
        self.home = self.folder("home")
        self.environment = {
            "PATH": PATH, "HOME": self.home, "TMPDIR": self.home, "LANG": "C.UTF-8",
            "RAILS_ENV": "production", "LOCAL_DOMAIN": "reef.example", "BIND": self.address,
            "DB_HOST": self.address, "DB_USER": "mastodon", "DB_NAME": "postgres",
            "REDIS_HOST": self.address, "SWIFT_ENABLED": "true", "WEB_CONCURRENCY": "1",
            **{name: "x" * 32 for name in (
                "SECRET_KEY_BASE", "VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY",
                "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY",
                "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT",
                "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY")}}
        self.start_stores()

    def folder(self, name):
        path = f"{self.t.dir}/{name}"
        os.mkdir(path, 0o700)
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return path

    def start_stores(self):
        data, redis = self.folder("pg"), self.folder("redis")
        self.finish(self.popen([f"{self.pg_bin}/initdb", "-D", data, "-U", "mastodon", "-A", "trust",
                                "--no-sync", "--locale=C.UTF-8"]), 0)
        self.popen([f"{self.pg_bin}/postgres", "-D", data, "-h", self.address, "-k", "", "-F"],
                   log="postgres")
        self.popen(["redis-server", "--bind", self.address, "--dir", redis, "--save", ""], log="redis")
        for port in (5432, 6379):
            until(f"port {port} is open", 20, lambda: self.open(port))

    def search(self, password):
        """What stands for a search server, and the canary is told of it."""
        self.popen(["ruby", f"{SOURCE}/data/canary/search/server.rb"], log="search", env={
            "PATH": PATH, "LANG": "C.UTF-8", "http.host": self.address, "path.data": self.folder("search"),
            "ELASTIC_PASSWORD": password})
        until("port 9200 is open", 20, lambda: self.open(9200))
        self.environment.update({"ES_ENABLED": "true", "ES_HOST": self.address, "ES_USER": "elastic",
                                 "ES_PASS": password})

    def open(self, port):
        with socket.socket() as s:
            return s.connect_ex((self.address, port)) == 0

    def tree(self, version):
        """The release's source tree, owned by whoever runs the test."""
        path = f"{self.t.dir}/release-{version}"
        if not os.path.exists(path):
            packed = path + ".tar.gz"
            result = self.t.run(f"{SOURCE}/scripts/canary-tree", version, packed)
            equal(result.code, 0, f"canary-tree {version}: {result}")
            os.mkdir(path)
            subprocess.run(["tar", "-xzf", packed, "-C", path], check=True)
        return path

    def popen(self, argv, log=None, **more):
        out = open(f"{self.t.dir}/{log}.log", "ab") if log else subprocess.PIPE
        who = {}
        if self.user:
            who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out,
                                   stderr=subprocess.STDOUT if log else subprocess.PIPE,
                                   preexec_fn=die_with_parent, **who,
                                   **{"cwd": self.t.dir, "env": self.environment, **more})
        if log:
            out.close()
            self.t.processes.insert(0, process)  # the stores are ended last
        return process

    def finish(self, process, code, text=""):
        out, err = process.communicate(text.encode(), timeout=60)
        result = Result(process.returncode, out.decode(), err.decode())
        equal(result.code, code, f"{process.args}: {result}")
        return result

    def run(self, version, *argv, code=0, text="", **environment):
        """One command of a release, in its tree."""
        process = self.popen(list(argv), cwd=self.tree(version),
                             env={**self.environment, **environment})
        return self.finish(process, code, text)

    def rails(self, version, *argv, **more):
        return self.run(version, "bundle", "exec", "bin/rails", *argv, **more)

    def sql(self, text):
        """Whatever the database answers, as text, asked through the canary's own connection."""
        return self.rails("1", "runner", f"puts Database.query({text!r}).values.join(' ')").out.strip()

    def start(self, version, argv, port=None):
        self.number += 1
        name = f"{self.number}-release-{version}"
        process = self.popen(argv, log=name, cwd=self.tree(version),
                             env={**self.environment, "PORT": str(port or 0)})
        process.log = f"{self.t.dir}/{name}.log"
        return process

    def web(self, version, port):
        process = self.start(version, WEB, port)
        until(f"release {version} listens", 30, lambda: self.alive(process) and self.open(port))
        return process

    def worker(self, version):
        process = self.start(version, WORKER)
        until(f"release {version}'s worker has booted", 30,
              lambda: self.alive(process) and "event=worker_boot" in words(process))
        return process

    def alive(self, process):
        check(process.poll() is None, f"{process.args} ended: {words(process)}")
        return True

    def stop(self, process):
        process.terminate()
        process.wait(40)

    def get(self, port, path, method="GET"):
        return request(method, f"http://{self.address}:{port}{path}")

    def jobs(self, port, count):
        """Enqueues and waits; how many were run by which version."""
        status, _, batch = self.get(port, f"/jobs?n={count}&queue=push", "POST")
        equal(status, 200, f"/jobs: {batch}")

        def done():
            status, _, answer = self.get(port, f"/jobs/count?token={batch['token']}")
            equal((status, answer.get("duplicates")), (200, 0), f"/jobs/count: {answer}")
            return answer["missing"] == 0 and answer
        return until("all jobs were run", 20, done)["versions"]


def words(process):
    with open(process.log) as f:
        return f.read()


def test_from_1_to_2_without_a_break(t):
    c = Canary(t)
    c.rails("1", "db:abort_if_pending_migrations", code=1)
    refused = c.run("1", *WEB, code=1)
    check("bin/rails db:prepare" in refused.out, f"puma says what to do: {refused}")
    c.rails("1", "db:prepare")
    c.rails("1", "db:abort_if_pending_migrations")
    web, worker = c.web("1", 3001), c.worker("1")
    equal(c.jobs(3001, 20), {"1": 20}, "release 1")

    # Not even an empty value brings the post-deployment migration in.
    c.run("2", *WEB, code=1)
    c.rails("2", "db:migrate", SKIP_POST_DEPLOYMENT_MIGRATIONS="")
    c.rails("2", "db:abort_if_pending_migrations", **POST_SKIPPED)
    c.rails("2", "db:abort_if_pending_migrations", code=1)
    equal(c.jobs(3001, 20), {"1": 20}, "release 1 on release 2's schema")

    new_web, new_worker = c.web("2", 3002), c.worker("2")
    c.stop(worker)
    equal(c.jobs(3001, 20), {"2": 20}, "release 1's web with release 2's worker, before the post-migration")
    for port, version in ((3001, "1"), (3002, "2")):
        status, headers, body = c.get(port, "/health")
        equal((status, body, headers["X-Canary-Version"]), (200, b"OK", version), "/health")
    c.stop(web)

    c.rails("2", "db:migrate")
    c.rails("2", "db:abort_if_pending_migrations")
    equal(c.jobs(3002, 20), {"2": 20}, "release 2")
    equal(c.sql("SELECT queue, count(*) FROM runs GROUP BY queue"), "push 80", "old rows have a queue too")
    late = c.rails("1", "runner", "Run.record('t', 1)", code=1)
    check('null value in column "queue"' in late.err, f"no way back after the post-migration: {late}")
    c.stop(new_web)
    c.stop(new_worker)


def test_releases_that_fail(t):
    c = Canary(t)
    c.rails("1", "db:prepare")
    c.rails("3", "db:migrate", **POST_SKIPPED)
    web, worker = c.web("3", 3003), c.worker("3")
    status, headers, body = c.get(3003, "/health")
    equal((status, headers["X-Canary-Version"]), (500, "3"), "/health of release 3")
    check(b"never healthy" in body and "event=health" in words(web), f"its reason: {body} {words(web)}")
    equal(c.jobs(3003, 5), {"3": 5}, "its worker works")
    c.stop(web)
    c.stop(worker)

    for command in (WEB, WORKER):
        refused = c.run("6", *command, code=1)
        check("release 6 does not boot" in refused.out, f"why: {refused}")

    failed = c.rails("5", "db:migrate", code=1, **POST_SKIPPED)
    check("20261105090000" not in c.sql("SELECT version FROM schema_migrations"), "5 is not applied")
    check("rename_seconds_of_runs" in failed.out and "seconds" in failed.out,
          f"which and why: {failed}")
    equal(c.sql("SELECT count(*) FROM information_schema.columns WHERE column_name = 'remark'"), "0",
          "what the failed migration had done")

    c.rails("4", "db:migrate", **POST_SKIPPED)
    failed = c.rails("4", "db:migrate", code=1)
    insert = re.search(r"INSERT INTO consents .*\('\w+'\)", failed.out)
    check(insert, f"says what an operator does: {failed}")
    c.rails("4", "db:migrate", code=1)
    c.sql(insert.group(0))
    c.rails("4", "db:migrate")
    c.rails("4", "db:abort_if_pending_migrations")


def test_commands_of_an_operator(t):
    c = Canary(t)
    c.rails("1", "db:prepare")
    owner = ["bin/tootctl", "accounts", "create", "jo", "--email", "jo@reef.example", "--confirmed",
             "--role", "Owner"]
    first = c.run("1", *owner)
    check(re.fullmatch(r"OK\nNew password: [0-9a-f]{32}\n", first.out), f"a password: {first}")
    check("username has already been taken" in c.run("1", *owner, code=1).err, "only once")
    c.run("1", "bin/tootctl", "accounts", "modify", "jo", "--approve")
    c.run("1", "bin/tootctl", "accounts", "modify", "nobody", "--approve", code=1)
    equal(c.sql("SELECT username, email, role, confirmed, approved FROM accounts"),
          "jo jo@reef.example Owner t t", "the account")
    check("not enabled" in c.run("1", "bin/tootctl", "search", "deploy", code=1).err, "search without a server")
    c.search("geheim")
    c.run("1", "bin/tootctl", "search", "deploy")
    c.run("2", "bin/tootctl", "search", "deploy", "--only-mapping", "--only=accounts")
    wrong = c.run("2", "bin/tootctl", "search", "deploy", code=1, ES_PASS="other")
    check("answers 401" in wrong.err, f"a wrong password: {wrong}")
    check("accounts: mapped" in c.run("7", "bin/tootctl", "search", "deploy", "--only-mapping").out, "a field more")
    check("answers 400" in c.run("8", "bin/tootctl", "search", "deploy", "--only-mapping", code=1).err,
          "another type for a field")
    check("accounts: made" in c.run("8", "bin/tootctl", "search", "deploy").out, "made anew")
    equal(c.sql("SELECT version, only_mapping, only_index FROM search_deploys ORDER BY id"),
          "1 f  2 t accounts 7 t  8 f", "search deploy")
    equal(c.run("2", "bin/tootctl", "version").out, "2\n", "version")
    equal(c.run("1", "bin/rails", "runner", "puts 6 * 7").out, "42\n", "runner")
    check("\n42\n" in c.run("1", "bin/rails", "console", text="6 * 7\n").out, "console")
    c.run("1", "bin/rails", "runner", "raise 'no'", code=1)
    for bad in (["bin/rails"], ["bin/rails", "db:drop"], ["bin/tootctl", "accounts", "create", "jo"],
                ["bin/tootctl", "search", "deploy", "--reset"]):
        check("usage:" in c.run("1", *bad, code=1).err, f"{bad} is explained")


main()
