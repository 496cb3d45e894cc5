"""A thief has everything of the database's host, then everything of `control`: what was countersigned before
restores, nothing of it is destroyed, and `backup verify` names each thing that was tried."""
import hashlib
import hmac
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *
from harness import *
from pg import *

FORGE = f"{BUILD}/test/unit/backup/backup_forge"


class World:
    """A cluster that streams through PUT-only addresses; the owner's settings are elsewhere."""

    def __init__(self, t):
        if not os.path.exists(FORGE):
            raise Skipped("the tool that forges is in the build folder only")
        self.t = t
        t.start_pocket("--no-servers")
        self.api = Api(t.pocket, "pocket")
        self.pg = Cluster(t)
        self.urls = f"{t.dir}/urls"
        self.b = Backup(t, self.pg, repository="{cloud: pocket, container: bk}")
        self.owner = t.write("owner.yaml", "repository: {cloud: pocket, container: bk}\n"
                             f"keys: {t.dir}/keys\nprograms: {pg_bin()}\n")
        t.atoll("backup", "audit", "--settings", self.owner, "--once", "--urls", self.urls)
        self.b.repository = f"{{urls: {self.urls}}}"
        self.b.configure()
        stream = self.b.stream("--make-slot")
        stream.flows()
        self.pg.sql("CREATE TABLE ledger AS SELECT generate_series(1, 2000) AS id")
        t.atoll("backup", "base", "--settings", self.b.settings)
        self.pg.sql("INSERT INTO ledger SELECT generate_series(2001, 3000)")
        self.b.catch_up(self.pg)
        equal(stream.stop(), 0, "the stream ends")
        self.audit()
        self.names = [o["name"] for o in self.listing()]
        equal(self.verify(), [], "before the theft")

    def audit(self):
        self.t.atoll("backup", "audit", "--settings", self.owner, "--once")

    def listing(self, query=""):
        return self.api.call("object-store", "GET", f"/bk?format=json{query}")[2]

    def first_version(self, name):
        return min((o for o in self.listing("&versions=true&prefix=" + name)), key=lambda o: o["last_modified"])["version_id"]

    def verify(self):
        result = self.t.atoll("backup", "verify", "--settings", self.owner, "--json", "--data", "--frames", code=None)
        found = [(e["kind"], e["name"]) for e in result.events("finding")]
        equal(result.code, 1 if found else 0, f"exit code: {result}")
        return found

    def of(self, kind):
        return [n for n in self.names if n.startswith(f"host/{kind}/") and "history" not in n]

    def url(self, name):
        with open(self.urls) as f:
            line = [l for l in f if not l.startswith("#")][0]
        base, query = line.split()[1].split("?")
        return base + name[len("host/"):] + "?" + query

    def forge(self, kind, facts):
        out = f"{self.t.dir}/forged"
        system = self.pg.sql("SELECT system_identifier FROM pg_control_system()")
        result = self.t.run(FORGE, f"{self.t.dir}/keys", system, kind, json.dumps(facts), out)
        equal(result.code, 0, f"forging: {result}")
        with open(out, "rb") as f:
            return result.out.strip(), f.read()

    def restores(self, lsn, to="restored", said=()):
        """All that was there before the theft, exactly."""
        result = self.t.atoll("restore", "--settings", self.owner, "--to", f"{self.t.dir}/{to}", "--at", lsn)
        for words in said:
            check(words in result.err, f"not said: {words}: {result}")
        opened = Cluster(self.t, to + "-open", copy_of=f"{self.t.dir}/{to}")
        equal(opened.sql("SELECT count(*), sum(id) FROM ledger"), "3000|4501500", "the ledger")
        opened.kill()


def test_the_database_host(t):
    w = World(t)
    lsn = end_of(w)
    wal, pack, base = w.of("wal")[0], w.of("pack")[0], w.of("base")[0]
    # Read, list, delete, expire what is there: refused.
    for method in ("GET", "DELETE", "POST"):
        equal(request(method, w.url(pack), headers={"X-Delete-After": "1"})[0], 401, method)
    account, query = w.url("host/").split("/host/")
    for where in (account, account + "/", account + "/catalogue/0000000001"):
        for method in ("GET", "PUT", "DELETE", "POST"):
            equal(request(method, where + query, b"x" if method == "PUT" else None)[0], 401, f"{method} {where}")
    # Overwrite, cut short, expire by writing over, swap: taken, as versions.
    tried = []
    equal(request("PUT", w.url(wal), b"rubbish")[0], 201, "overwritten")
    tried.append(("version", wal))
    whole = w.api.call("object-store", "GET", "/bk/" + pack)[2]
    equal(request("PUT", w.url(pack), whole[:-1])[0], 201, "cut short")
    tried.append(("version", pack))
    equal(request("PUT", w.url(base), b"", {"X-Delete-After": "3600"})[0], 201, "expires")
    tried += [("version", base), ("expires", base)]
    other = w.of("wal")[1]
    equal(request("PUT", w.url(other), w.api.call("object-store", "GET", "/bk/" + w.of("wal")[-1])[2])[0], 201, "swapped")
    tried.append(("version", other))
    # Forge: an own backup, an order of pieces, a name of nobody.
    end = end_of(w)
    manifest, body = w.forge("base", {"id": "20261129T013000Z-0123456789abcdef", "tli": 1, "start": end, "stop": end,
                                      "packs": [["host/pack/0123456789abcdef-000001-" + "0" * 32, 1, ""]]})
    equal(request("PUT", w.url(manifest), body)[0], 201, "forged manifest")
    tried.append(("missing", "host/pack/0123456789abcdef-000001-" + "0" * 32))
    # The same of packs that are there: nothing but a restore of it tells.
    real = w.api.call("object-store", "GET", "/bk/" + base + "?version-id=" + w.first_version(base))[2]
    facts = json.loads(real[12:12 + int.from_bytes(real[8:12], "little")])["facts"]
    likely, body = w.forge("base", dict(facts, id="20261129T013001Z-0123456789abcdef", start=end, stop=end))
    equal(request("PUT", w.url(likely), body)[0], 201, "forged manifest of packs that are there")
    after = format_lsn(parse_lsn(end) + 6)
    piece, body = w.forge("wal", {"tli": 1, "start": end, "end": after, "prev": "ab" * 32, "run": "thief", "sent": 0})
    equal(request("PUT", w.url(piece), body)[0], 201, "forged piece")
    tried.append(("chain", piece))
    # Rubbish under names of pieces: behind the log, and over its end.
    rubbish = [f"host/wal/00000001/{start:016x}-{parse_lsn(end) + (64 << 20):016x}-" + "ab" * 16
               for start in (parse_lsn(end), parse_lsn(end) - 100)]
    for name in rubbish:
        equal(request("PUT", w.url(name), b"rubbish")[0], 201, "rubbish as the newest piece")
        tried.append(("changed", name))
    equal(request("PUT", w.url("host/readme"), b"x")[0], 201, "a name of nobody")
    tried.append(("extra", "host/readme"))
    w.audit()
    found = w.verify()
    equal([x for x in tried if x not in found], [], f"not named; found {found}")
    w.restores(lsn, said=["THE BACKUP 20261129T013001Z-0123456789abcdef CAN'T BE RESTORED"])
    # To the very end: the forged piece is no log; the rubbish is told, and is no log either.
    w.restores("latest", "latest", said=[f"RUBBISH: {name}" for name in rubbish])
    # The owner's prune takes nothing of what was there.
    t.atoll("backup", "prune", "--settings", w.owner, "--yes", "--grace", "0s")
    t.atoll("backup", "prune", "--settings", w.owner, "--yes", "--grace", "0s")
    w.restores(lsn, "again")


def end_of(w):
    return format_lsn(max(int(n.split("/")[3].split("-")[1], 16) for n in w.of("wal")))


def test_control(t):
    """The audit key, a login that reads, the container's TempURL key: objects are hidden and written over, and
    all versions are there."""
    w = World(t)
    lsn = end_of(w)
    key = w.api.call("object-store", "HEAD", "/bk")[1]["X-Container-Meta-Temp-URL-Key"]
    base_url = w.api.endpoints["object-store"]
    host, path = base_url[:base_url.index("/v1/")], base_url[base_url.index("/v1/"):]

    def url(method, name):
        expires = str(int(time.time()) + 3600)
        for digest in ("sha256", "sha1"):
            text = f"{method}\n{expires}\n{path}/bk/{name}"
            signature = hmac.new(key.encode(), text.encode(), digest).hexdigest()
            yield f"{host}{path}/bk/{name}?temp_url_sig={signature}&temp_url_expires={expires}"

    def send(method, name, body=None, headers=None):
        return [request(method, u, body, headers)[0] for u in url(method, name)]
    tried = []
    for name in w.of("base") + w.of("pack")[:1] + w.of("wal")[:2]:
        check(204 in send("DELETE", name), f"DELETE {name}")
        tried.append(("missing", name))
    name = w.of("wal")[2]
    check(201 in send("PUT", name, b"rubbish"), "PUT")
    tried.append(("version", name))
    check(201 in send("PUT", "catalogue/0000000002", b"rubbish"), "a note is written over")
    tried.append(("fork", "catalogue/0000000002"))
    for name in ("catalogue/9999999999", "catalogue/0000000004"):
        check(201 in send("PUT", name, b"rubbish"), "a note that is none")
        tried.append(("extra", name))
    found = w.verify()
    equal([x for x in tried if x not in found], [], f"not named; found {found}")
    w.restores(lsn)
    for _ in range(2):
        t.atoll("backup", "prune", "--settings", w.owner, "--yes", "--grace", "0s")
    w.restores(lsn, "again")


if __name__ == "__main__":
    main()
