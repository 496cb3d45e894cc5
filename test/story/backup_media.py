"""`atoll backup media`: a container of media is kept a second time, in the same project, in another one and in another
cloud; whatever goes wrong on the way, the next run finishes it, and nothing is deleted."""
import hashlib
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

FROM = "pocket/media"
# Of two projects of one cloud; test/openstack has others.
CLOUDS = ["pocket", "pocket-media"]


class Side:
    """A container, by its owner's login."""

    def __init__(self, api, container):
        self.api, self.container = api, container

    def call(self, method, name="", body=None, headers=None, ok=True, query=""):
        path = f"/{self.container}" + (f"/{urllib.parse.quote(name)}" if name else "") + query
        return self.api.call("object-store", method, path, body, headers, ok)

    def put(self, name, body, **headers):
        self.call("PUT", name, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def rows(self):
        return {r["name"]: (r.get("slo_etag", r["hash"]), r["bytes"])
                for r in self.call("GET", query="?format=json&limit=10000")[2]}

    def get(self, name):
        """Its bytes and headers (never read as JSON)."""
        url = f"{self.api.endpoints['object-store']}/{self.container}/{urllib.parse.quote(name)}"
        r = urllib.request.Request(url, headers={"X-Auth-Token": self.api.token})
        with urllib.request.urlopen(r, timeout=60) as answer:
            return answer.read(), answer.headers


class Media:
    def __init__(self, t, *options):
        self.t = t
        t.start_pocket("--no-servers", *options)
        self.cloud, self.second = CLOUDS
        self.media = Side(Api(t.pocket, self.cloud), "media")
        self.media.call("PUT")

    def fill(self, n=40):
        """Names in each other's way, other letters, an empty object, and what others' servers have."""
        for i in range(n):
            self.media.put(f"media_attachments/files/{i:09d}/original/{i}.png", os.urandom(1000 + i),
                           Content_Type="image/png", Cache_Control="public, max-age=315576000, immutable")
        for name in ("cache", "cache.png", "cache0", "größe 100%25/a&b+c?.jpg", "a//b", "backups/x.zip"):
            self.media.put(name, name.encode(), X_Object_Meta_Colour="blue")
        self.media.put("empty", b"", Content_Type="application/directory")
        for i in range(10):
            self.media.put(f"cache/media_attachments/{i}.png", b"theirs")
        return n + 7

    def large(self):
        """A static and a dynamic large object, of three segments each; and a static one of a static one."""
        segments = Side(self.media.api, "media_segments")
        segments.call("PUT")
        parts = [os.urandom(700_000) for _ in range(3)]
        rows = []
        for i, part in enumerate(parts):
            for kind in "sd":
                segments.put(f"{kind}/{i}", part)
            rows.append({"path": f"/media_segments/s/{i}", "etag": hashlib.md5(part).hexdigest(), "size_bytes": len(part)})
        for name, what in (("large/static.mp4", rows),
                           ("large/twice.mp4", [{"path": "/media/large/static.mp4"}, {"path": "/media_segments/s/0", "range": "5-99"}])):
            self.media.call("PUT", name, json.dumps(what).encode(), {"Content-Type": "video/mp4"}, query="?multipart-manifest=put")
        self.media.put("large/dynamic.mp4", b"", X_Object_Manifest="media_segments/d/", Content_Type="video/mp4")
        return b"".join(parts)

    def run(self, to, *options, source=None, **how):
        return self.t.atoll("backup", "media", "--from", source or f"{self.cloud}/media", "--to", to, *options, **how)

    def mirror(self, to, *options, **how):
        result = self.run(to, "--json", *options, **how)
        return result.events("mirror")[0]

    def second_cloud(self):
        """Another pocket, in the same clouds.yaml as `other`."""
        self.other = Pocket(f"{self.t.dir}/other", "--no-servers")
        self.t.processes.append(self.other.process)
        with open(self.other.clouds) as f:
            entry = re.search(r"^  pocket:\n((?:    .*\n)+)", f.read(), re.M).group(1)
        with open(self.t.pocket.clouds, "a") as f:
            f.write("  other:\n" + entry)
        return Side(Api(self.t.pocket, "other"), "copy")


def check_same(media, copy, skip="cache/"):
    want = {n: v for n, v in media.rows().items() if not n.startswith(skip)}
    have = copy.rows()
    for name in want:
        if not name.startswith("large/dynamic"):  # a listing shows no bytes of it
            equal(have.get(name), want[name], name)
        got, headers = copy.get(name)
        source, source_headers = media.get(name)
        check(got == source, f"{name} has other bytes")
        for h in ("Content-Type", "Cache-Control", "X-Object-Meta-Colour"):
            equal(headers[h], source_headers[h], f"{h} of {name}")
    equal([n for n in have if n.startswith(skip)], [], "cache/")


def test_same_project(t):
    """The store copies; the next run copies nothing; what goes, stays."""
    m = Media(t, "--page-max", "7")
    n = m.fill()
    whole = m.large()
    dry = m.run(f"{m.cloud}/copy", "--dry-run")
    check(f"would copy cache.png" in dry.out and "cache/" not in dry.out, str(dry))
    equal(m.media.api.call("object-store", "GET", "/copy", ok=False)[0], 404, "a dry run makes nothing")
    first = m.mirror(f"{m.cloud}/copy")
    equal((first["copied"], first["same"], first["failed"], first["made"]), (n + 3, 0, 0, True), str(first))
    equal(first["by_store"], n - 1, "all but the large ones and the empty one")
    copy = Side(m.media.api, "copy")
    check_same(m.media, copy)
    equal(copy.get("large/dynamic.mp4")[0], whole, "dynamic")
    equal(copy.call("HEAD")[1]["X-Versions-Enabled"], "True", "it keeps versions")
    # Nothing of the first side is needed any more.
    check(all(r["name"].startswith("/copy_segments/") for r in copy.call(
        "GET", "large/twice.mp4", query="?multipart-manifest=get")[2]), "segments are the mirror's own")
    before = t.pocket.log()
    second = m.mirror(f"{m.cloud}/copy")
    equal((second["copied"], second["same"]), (0, n + 3), str(second))
    writes = [r for r in t.pocket.log()[len(before):] if r["method"] in ("PUT", "POST", "DELETE") and "/copy" in r["path"]]
    equal(writes, [], "nothing to do")
    stays = t.spawn(f"{BUILD}/atoll", "backup", "media", "--from", f"{m.cloud}/media", "--to", f"{m.cloud}/stays", "--every", "1h", "--json")
    until("it is done once", 20, lambda: stays.stdout.readline().decode().startswith('{"by_store"'))
    stays.terminate()
    equal(stays.wait(20), 0, "--every ends at a signal")
    # One changes, one goes, one comes; a segment of the dynamic one too.
    m.media.put("cache.png", b"another")
    m.media.call("DELETE", "cache0")
    m.media.put("new", b"new")
    Side(m.media.api, "media_segments").put("d/1", b"shorter")
    third = m.mirror(f"{m.cloud}/copy")
    equal((third["copied"], third["kept"]), (3, 1), str(third))
    check_same(m.media, copy)
    equal(copy.get("cache0")[0], b"cache0", "what is gone there stays here")
    told = m.run(f"{m.cloud}/copy").out
    check("1 more are in the mirror alone, and stay" in told and "0 copied" in told, told)
    equal(m.mirror(f"{m.cloud}/all", "--with-cache")["copied"], n + 3 + 10, "with cache/")
    # The way back.
    equal(m.mirror(f"{m.cloud}/back", source=f"{m.cloud}/copy")["failed"], 0, "back")
    check_same(copy, Side(m.media.api, "back"))


def test_other_project(t):
    """The store is the same, its copies are refused: each object goes through here. Then they are allowed."""
    m = Media(t)
    n = m.fill()
    m.large()
    copy = Side(Api(t.pocket, m.second), "copy")
    first = m.mirror(f"{m.second}/copy")
    equal((first["copied"], first["by_store"], first["failed"]), (n + 3, 0, 0), str(first))
    check_same(m.media, copy)
    m.media.call("POST", headers={"X-Container-Read": f"{copy.api.project_id}:*,.rlistings"})
    equal(m.mirror(f"{m.second}/second")["by_store"], n - 1, "by the store")
    check_same(m.media, Side(copy.api, "second"))


def test_other_cloud(t):
    """Through here, in pieces, with little memory, whatever is cut off on the way."""
    m = Media(t)
    n = m.fill()
    m.large()
    big = os.urandom(20 << 20)
    m.media.put("big.mp4", big, Content_Type="video/mp4")
    copy = m.second_cloud()
    # Half answers, resets in the middle of a body and refusals, on both sides.
    t.pocket.fault({"match": "GET /v1/*/media/*", "every": 9, "do": "truncate", "when": "after"},
                   {"match": "GET /v1/*/media/big.mp4", "n": 4, "do": "reset", "when": "before"})
    m.other.fault({"match": "PUT /v1/*/copy/*", "every": 7, "do": "reset", "when": "after"},
                  {"match": "PUT /v1/*/copy/big.mp4", "n": 1, "do": "status", "status": 503})
    first = m.mirror("other/copy")
    equal((first["copied"], first["by_store"], first["failed"]), (n + 4, 0, 0), str(first))
    m.other.fault()
    t.pocket.fault()
    check_same(m.media, copy)
    check(copy.get("big.mp4")[0] == big, "big")
    equal(m.mirror("other/copy")["copied"], 0, "again")
    # Memory does not follow sizes: what it takes for small ones is what it takes for this one.
    if not sanitized():
        process = t.spawn(f"{BUILD}/atoll", "backup", "media", "--from", FROM, "--to", "other/once", "--jobs", "2")
        peak, _ = peak_private_kb(process)
        equal(process.returncode, 0, "big once more")
        check(peak < 40_000, f"{peak} kB of private memory")


def test_killed(t):
    """kill -9 in the middle, and in the middle again: each run goes on where the last one was."""
    m = Media(t)
    n = m.fill()
    m.large()
    copy = m.second_cloud()
    pid_file = f"{t.dir}/pid"
    for match, nth, when in (("copy_segments/*", 2, "before"), ("copy/*", 9, "before"), ("copy/*", 12, "after")):
        m.other.fault({"match": f"PUT /v1/*/{match}", "n": nth, "do": "kill", "pid_file": pid_file, "when": when})
        result = t.run("/bin/sh", "-c", f'echo $$ > {pid_file}; exec "$0" "$@"', f"{BUILD}/atoll", "backup", "media",
                       "--from", FROM, "--to", "other/copy", "--jobs", "3")
        equal(result.code, -signal.SIGKILL, str(result))
    m.other.fault()
    have = len(copy.rows())
    check(15 <= have < n + 3, f"{have} objects after three kills")
    last = m.mirror("other/copy")
    check(last["same"] >= have - 1 and last["failed"] == 0, f"{have} {last}")
    check_same(m.media, copy)


def test_refused(t):
    """What an operator gets wrong, and what a cloud refuses."""
    m = Media(t)
    m.fill(20)
    for to in (FROM, "pocket/media_segments"):
        result = m.run(to, code=64)
        check("one account" in result.err or "segments" in result.err, str(result))
    check("CLOUD/CONTAINER" in m.run("copy", code=64).err, "no cloud")
    result = m.run("pocket/copy", source="pocket/medai", code=None)
    check(result.code == 1 and "medai" in result.err, str(result))
    check("ohter" in m.run("ohter/copy", code=None).err, "no such cloud")
    result = t.atoll("backup", "media", code=64)
    check("--from A/B --to C/D" in result.err, str(result))
    # By settings.
    t.write("backup.yaml", "repository: {folder: x}\n")
    check("has no `media`" in t.atoll("backup", "media", "--settings", "backup.yaml", code=64).err, "no media")
    t.write("backup.yaml", "repository: {folder: x}\nmedia: {from: {cloud: pocket, container: media}, to: {cloud: pocket, container: copy}}\n")
    check("made the container copy" in t.atoll("backup", "media", "--settings", "backup.yaml").out, "by settings")
    # Full: it stops, says so, and goes on when there is room.
    full = Side(m.media.api, "full")
    full.call("PUT", headers={"X-Container-Meta-Quota-Count": "9"})
    theirs = Side(Api(t.pocket, "pocket-media"), "theirs")
    theirs.call("PUT")
    theirs.put("other.png", b"x" * 1000)
    for source in (FROM, "pocket-media/theirs"):
        result = m.run("pocket/full", "--jobs", "1", code=None)
        check(result.code == 8 and "quota" in result.err and "the next run" in result.err, str(result))
    equal(len(full.rows()), 9, "what fits")
    full.call("POST", headers={"X-Container-Meta-Quota-Count": "1000"})
    equal(m.mirror("pocket/full")["same"], 9, "it goes on")
    # A target that may be listed, and not be written.
    user = reader(t)
    with open(t.pocket.clouds, "a") as f:
        f.write(user)
    m.media.api.call("object-store", "PUT", "/readonly")
    result = m.run("reader/readonly", code=None)
    check(result.code == 6 and "list and write readonly" in result.err, str(result))
    result = m.run("reader/notthere", code=None)
    equal(result.code, 6, str(result))


def test_no_versions(t):
    """A cloud that keeps no versions, however it says so: the mirror is made without them."""
    m = Media(t)
    n = m.fill(5)
    for status in (400, 405, 412):
        t.pocket.fault({"match": f"PUT /v1/*/copy{status}", "n": 1, "do": "status", "status": status})
        result = m.mirror(f"pocket/copy{status}")
        equal((result["copied"], result["made"], result["versions"]), (n, True, False), f"{status}: {result}")
        check_same(m.media, Side(m.media.api, f"copy{status}"))


def reader(t):
    """A login of pocket's project without the right to write: an entry of clouds.yaml."""
    admin, project = Api(t.pocket, "pocket-admin"), Api(t.pocket, "pocket").project_id
    user = admin.call("identity", "POST", "/users", {"user": {"name": "reader", "password": "Only-reading-1",
                                                              "domain_id": "default"}})[2]["user"]["id"]
    role = admin.call("identity", "GET", "/roles?name=reader")[2]["roles"][0]["id"]
    admin.call("identity", "PUT", f"/projects/{project}/users/{user}/roles/{role}")
    s = admin.settings
    Api(t.pocket, "pocket").call("object-store", "PUT", "/readonly")
    Api(t.pocket, "pocket").call("object-store", "POST", "/readonly", headers={"X-Container-Read": f"{project}:{user}"})
    Api(t.pocket, "pocket").call("object-store", "POST", "/media", headers={"X-Container-Read": f"{project}:{user}"})
    return (f"  reader:\n    auth:\n      auth_url: {s['auth_url']}\n      username: reader\n      password: Only-reading-1\n"
            "      project_name: demo\n      user_domain_name: Default\n      project_domain_name: Default\n"
            "    region_name: pocket-1\n    identity_api_version: 3\n")


def test_it_changes(t):
    """Objects go away and change while they are copied; an object that can't be read is named, the others come."""
    m = Media(t)
    n = m.fill(10)
    copy = m.second_cloud()
    m.media.put("changing", os.urandom(9 << 20))
    segments = Side(m.media.api, "media_segments")
    segments.call("PUT")
    segments.put("s/0", b"x" * 100)
    m.media.call("PUT", "broken.mp4", json.dumps([{"path": "/media_segments/s/0"}]).encode(), query="?multipart-manifest=put")
    segments.call("DELETE", "s/0")
    # The second part of it is held until another object has its name; the list still has one that is gone.
    t.pocket.fault({"match": "GET /v1/*/media/changing", "n": 2, "do": "barrier", "name": "x", "parties": 2, "ms": 30000},
                   {"match": "HEAD /v1/*/media/go-on", "do": "barrier", "name": "x", "parties": 2, "ms": 30000},
                   {"match": "GET /v1/*/media/cache0", "do": "status", "status": 404})
    process = t.spawn(f"{BUILD}/atoll", "backup", "media", "--from", FROM, "--to", "other/copy", "--json")
    until("it has the first part", 20, lambda: any(r["path"].endswith("/media/changing") and r["method"] == "GET" for r in t.pocket.log()))
    m.media.put("changing", b"short now")
    m.media.call("HEAD", "go-on", ok=False)
    out, err = process.communicate(timeout=60)
    result = Result(process.returncode, out.decode(), err.decode())
    equal(result.code, 3, str(result))
    end = result.events("mirror")[0]
    equal((end["failed"], end["gone"]), (1, 1), str(result))
    told = {e["name"]: e for e in result.events("object")}
    check("broken.mp4" in told["broken.mp4"]["error"], str(told))
    equal(told["cache0"]["outcome"], "gone", str(told))
    equal(copy.get("changing")[0], b"short now", "the one that is there now")
    t.pocket.fault()
    m.media.call("DELETE", "broken.mp4")
    equal(m.mirror("other/copy")["copied"], 1, "the rest")
    check_same(m.media, copy)


if __name__ == "__main__":
    main()
