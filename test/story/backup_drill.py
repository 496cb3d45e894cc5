"""Drills: a sound backup is proven, and each kind of damage that a backup faithfully keeps is named."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

MASTODON = """
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('20261101000000');
CREATE TABLE accounts (id bigserial PRIMARY KEY, username varchar NOT NULL, domain varchar, private_key text,
    suspended_at timestamp);
CREATE TABLE users (id bigserial PRIMARY KEY, email varchar NOT NULL, account_id bigint NOT NULL
    REFERENCES accounts (id));
CREATE TABLE statuses (id bigint PRIMARY KEY, uri varchar, account_id bigint NOT NULL REFERENCES accounts (id));
CREATE TABLE tags (id bigserial PRIMARY KEY, name varchar NOT NULL);
INSERT INTO accounts (id, username, private_key) VALUES (-99, 'reef.example', 'key');
INSERT INTO accounts (username, private_key) SELECT 'user' || n, 'key' FROM generate_series(1, 50) n;
INSERT INTO accounts (username, domain) SELECT 'user' || n, 'other.example' FROM generate_series(1, 50) n;
INSERT INTO users (email, account_id) SELECT id || '@x.example', id FROM accounts WHERE domain IS NULL AND id > 0;
INSERT INTO statuses SELECT (extract(epoch FROM now()) * 1000)::bigint << 16 | n, 'uri' || n, 1
    FROM generate_series(1, 500) n;
INSERT INTO tags (name) VALUES ('caturday');
"""


class Drilled:
    """A cluster with a database of several kinds of tables, its stream, and drills of it."""

    def __init__(self, t):
        self.t, self.pg = t, Cluster(t, track_commit_timestamp="on")
        self.pg.sql("CREATE TABLE parent (id int PRIMARY KEY, name text)")
        self.pg.sql("CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent, other int)")
        self.pg.sql("INSERT INTO parent SELECT n, 'name ' || n FROM generate_series(1, 2000) n")
        self.pg.sql("INSERT INTO child (parent) SELECT n FROM generate_series(1, 2000) n")
        self.backup = Backup(t, self.pg)
        self.stream = self.backup.stream("--make-slot")
        self.stream.flows()

    def base(self, *options, code=0):
        result = self.t.atoll("backup", "base", "--settings", self.backup.settings, *options, code=None)
        if code is not None:
            equal(result.code, code, f"backup base: {result}")
        self.backup.catch_up(self.pg)
        self.t.atoll("backup", "audit", "--once", "--settings", self.backup.settings)

    def drill(self, *options, code=0):
        before = set(glob.glob("/var/tmp/atoll-drill-*"))
        result = self.t.atoll("drill", "--settings", self.backup.settings, "--json", *options, code=None)
        equal(result.code, code, f"drill {options}: {result}")
        equal(set(glob.glob("/var/tmp/atoll-drill-*")) - before, set(), "the scratch folder is left")
        return [{line[0]: line for line in e["lines"]} | {"event": e} for e in result.events("drill")], result

    def failed(self, *names):
        """Takes a backup, drills it to the end; exactly these lines fail. Their words."""
        (lines,), result = self.drill("--at", "latest", code=1)
        equal(sorted(n for n, line in lines.items() if n != "event" and line[1] == "failed"), sorted(names),
              f"what fails: {result}")
        check("THE DRILL FAILED" in result.err, f"quiet: {result}")
        equal(lines["event"]["ok"], False, "ok")
        return " ".join(lines[n][2] for n in names)


def test_a_sound_backup_is_proven(t):
    d = Drilled(t)
    d.pg.sql("CREATE DATABASE reef")
    d.pg.sql(MASTODON, "reef")
    os.mkdir(f"{t.dir}/fast")
    pg_own(f"{t.dir}/fast")
    d.pg.sql(f"CREATE TABLESPACE fast LOCATION '{t.dir}/fast'")
    d.pg.sql("CREATE TABLE there TABLESPACE fast AS SELECT n FROM generate_series(1, 5000) n")
    d.base()
    d.pg.sql("INSERT INTO parent SELECT n, 'name ' || n FROM generate_series(2001, 3000) n")
    d.pg.sql("SELECT pg_sleep(0.5)")
    d.backup.catch_up(d.pg)
    d.t.atoll("backup", "audit", "--once", "--settings", d.backup.settings)
    # A tablespace elsewhere is as empty afterwards as it was before.
    for _ in range(2):
        d.drill("--at", "latest", "--tablespace", f"{t.dir}/fast={t.dir}/elsewhere")
        equal(os.listdir(f"{t.dir}/elsewhere"), [], "what is left in the tablespace's folder")
    # PostgreSQL writes log of its own while it is idle: what may be missing is told up to the last commit.
    last = time.monotonic()
    d.pg.sql("INSERT INTO parent VALUES (10000, 'the last')")
    d.backup.catch_up(d.pg)
    d.t.atoll("backup", "audit", "--once", "--settings", d.backup.settings)
    idle_ms = (time.monotonic() - last) * 1000
    drills, result = d.drill()
    equal(len(drills), 2, f"the end and a random moment: {result}")
    for lines in drills:
        for name in ("restore", "manifest", "collations", "indexes", "foreign_keys", "mastodon", "checksums"):
            equal(lines[name][1], "ok", f"{name}: {lines[name]}")
        check(lines["event"]["rto_ms"] > 0, f"no RTO: {lines['event']}")
    check(0 <= drills[0]["event"]["rpo_ms"] < idle_ms + 5000, f"RPO: {drills[0]['event']['rpo_ms']} ms, {idle_ms:.0f} idle")
    # It is written down, and shown.
    (shown,) = t.atoll("backup", "list", "--settings", d.backup.settings, "--json").events("backup")
    equal(shown["name"], drills[0]["event"]["base"], "which one")
    check(shown["proven"], f"not shown as proven: {shown}")
    # A scratch folder that is somebody's is not touched; the person's form has marks.
    result = t.atoll("drill", "--settings", d.backup.settings, "--scratch", t.dir, code=1)
    check("is there already" in result.err, str(result))
    result = t.atoll("drill", "--settings", d.backup.settings, "--at", "latest", "--scratch", f"{t.dir}/scratch")
    check("ok  checksums" in result.out and "first query after" in result.out, str(result))
    check(not os.path.exists(f"{t.dir}/scratch"), "the scratch folder is left")


def test_damage_is_named(t):
    d = Drilled(t)
    pg = d.pg

    # An index that lacks entries: rows came while it was not kept up.
    pg.sql("CREATE INDEX lacking ON parent (name)")
    pg.sql("UPDATE pg_index SET indisready = false WHERE indexrelid = 'lacking'::regclass")
    pg.sql("INSERT INTO parent SELECT n, 'unseen ' || n FROM generate_series(5000, 5010) n")
    pg.sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'lacking'::regclass")
    d.base()
    words = d.failed("indexes")
    check("lacking" in words, words)
    pg.sql("DROP INDEX lacking")

    # A row without its parent, which a replica's session may write.
    pg.sql("SET session_replication_role = replica; INSERT INTO child (parent) VALUES (99999)")
    pg.sql("CHECKPOINT")
    d.base()
    words = d.failed("foreign_keys")
    check("child child_parent_fkey: 1 rows" in words, words)
    pg.sql("DELETE FROM child WHERE parent = 99999")

    # An order of text of another library's version.
    pg.sql("CREATE COLLATION other (provider = icu, locale = 'de', version = '1.0')")
    d.base()
    words = d.failed("collations")
    check("other" in words and "1.0" in words, words)
    pg.sql("DROP COLLATION other")

    # A bit that flipped on disk. PostgreSQL says so while it sends; the backup is taken all the same.
    pg.sql("CREATE TABLE flipped AS SELECT n FROM generate_series(1, 10000) n; CHECKPOINT")
    path = f"{pg.data}/" + pg.sql("SELECT pg_relation_filepath('flipped')")
    pg.stop()
    with open(path, "r+b") as f:
        f.seek(3 * 8192 + 5000)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 4]))
    pg.start()
    d.base(code=None)
    words = d.failed("checksums", "indexes")
    check("flipped" in words, words)

    # None of these is shown as proven.
    shown = t.atoll("backup", "list", "--settings", d.backup.settings, "--json").events("backup")
    equal([b.get("proven") or None for b in shown], [None] * len(shown), "proven")


def test_mastodons_rules(t):
    d = Drilled(t)
    d.pg.sql("CREATE DATABASE reef")
    d.pg.sql(MASTODON, "reef")
    faults = {
        "INSERT INTO accounts (username, domain) VALUES ('USER7', 'Other.example')": "accounts twice",
        "INSERT INTO statuses VALUES (1, 'uri7', 1)": "statuses twice",
        "INSERT INTO tags (name) VALUES ('CatUrday')": "tags twice",
        "INSERT INTO users (email, account_id) VALUES ('2@x.example', 3)": "users twice",
        "DELETE FROM accounts WHERE id = -99": "own actor",
        "UPDATE accounts SET private_key = '' WHERE id = 9": "private key",
        "DELETE FROM users WHERE account_id = 11": "without a user",
        "INSERT INTO statuses VALUES ((extract(epoch FROM now() + interval '1 day') * 1000)::bigint << 16, 'f', 1)":
            "future",
        "SELECT setval('tags_id_seq', 1, false)": "sequence of tags.id",
        "DELETE FROM schema_migrations": "schema_migrations",
    }
    for statement in faults:
        d.pg.sql(statement, "reef")
    d.base()
    words = d.failed("mastodon")
    # Five are named, the others counted.
    check("and 5 more" in words, words)
    named = [part for part in faults.values() if part in words]
    equal(len(named), 5, f"named: {words}")


def test_nothing_is_proven_by_what_is_away(t):
    d = Drilled(t)
    d.base()
    pack = next(n for n in d.backup.files() if n.startswith("host/pack/"))
    # Programs that are not there prove nothing; a pack that is not there is a failed drill.
    result = t.atoll("drill", "--settings", d.backup.settings, "--programs", "/nonexistent", code=None)
    check(result.code != 0 and "nothing was proven" in result.err, str(result))
    os.rename(f"{d.backup.store}/{pack}", f"{t.dir}/pack")
    words = d.failed("restore")
    check(pack in words, words)


main()
