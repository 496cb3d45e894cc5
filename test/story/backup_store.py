"""Where backups are kept: the contract of stores on Swift, PUT-only addresses, countersigning, and
what a thief of the database's host can do to what is stored."""
import hashlib
import os
import signal
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from backup import *

CONTRACT = f"{BUILD}/test/unit/backup/test_backup_store_contract"
PUTTER = f"{BUILD}/test/unit/backup/backup_put"


class Place:
    """The login to the object store; test/openstack/backup.py has a real one."""
    cloud = "pocket"


def settings(t, name="backup.yaml", repository=None, more=""):
    repository = repository or f"{{cloud: {Place.cloud}, container: bk}}"
    return t.write(name, f"repository: {repository}\nkeys: keys\n{more}")


def init(t, path, *more, **how):
    return t.atoll("backup", "init", "--settings", path, "--recovery-file", f"{t.dir}/recovery", *more, **how)


def audit(t, path, *more, **how):
    return t.atoll("backup", "audit", "--settings", path, "--once", *more, **how)


def swift(t):
    return Api(t.pocket, Place.cloud)


def put(t, urls, name, text, code=0, **env):
    """A signed object through the PUT-only addresses, or (text None) just its name."""
    t.write("plain", text)
    result = t.run(PUTTER, urls, f"{t.dir}/keys", name, f"{t.dir}/plain", **env)
    check(result.code == code, f"put {name}: {result}")
    return result.out.strip() or result.err


def address(urls):
    with open(urls) as f:
        line = [l for l in f if not l.startswith("#")][0]
    return line.split()[1]


def url_of(urls, name):
    base, query = address(urls).split("?")
    return base + name + "?" + query


def test_contract_on_swift(t):
    t.start_pocket("--no-servers", "--page-max", "3")
    if not os.path.exists(CONTRACT):
        raise Skipped("the contract's program is in the build folder only")
    init(t, settings(t))
    result = t.run(CONTRACT, ATOLL_TEST_STORE=f"{Place.cloud}/bk", CMOCKA_MESSAGE_OUTPUT="TAP")
    check(result.code == 0, str(result))


def test_init(t):
    t.start_pocket("--no-servers")
    path, api = settings(t), swift(t)
    first = init(t, path)
    check("it keeps versions" in first.out, str(first))
    _, headers, _ = api.call("object-store", "HEAD", "/bk")
    equal(headers["X-Versions-Enabled"], "True", "versions")
    key = headers["X-Container-Meta-Temp-URL-Key"]
    check(len(key) >= 32 and key not in first.out + first.err, "the key is long, and not shown")
    equal(sorted(os.listdir(f"{t.dir}/keys")), ["audit.key", "audit.pub", "drill.key", "host.key", "host.pub", "recipients"], "keys")
    for name in ("audit.key", "drill.key", "host.key"):
        equal(stat.S_IMODE(os.stat(f"{t.dir}/keys/{name}").st_mode), 0o600, name)
    equal(stat.S_IMODE(os.stat(f"{t.dir}/recovery").st_mode), 0o600, "recovery")
    # Again: nothing changes.
    again = t.atoll("backup", "init", "--settings", path)
    equal(again.out.count("kept"), 2, again.out)
    equal(api.call("object-store", "HEAD", "/bk")[1]["X-Container-Meta-Temp-URL-Key"], key, "key")


def test_init_is_not_seen(t):
    """Standard output is no terminal and no file is named: nothing is made."""
    t.start_pocket("--no-servers")
    result = t.atoll("backup", "init", "--settings", settings(t), code=64)
    check("--recovery-file FILE" in result.err, str(result))
    check(not os.path.exists(f"{t.dir}/keys"), "no keys")
    equal(swift(t).call("object-store", "HEAD", "/bk", ok=False)[0], 404, "no container")
    # The file is there already: it is not written over, and no keys are made.
    t.write("recovery", "mine")
    result = init(t, settings(t), code=None)
    check(result.code != 0 and not os.path.exists(f"{t.dir}/keys/recipients"), str(result))
    equal(open(f"{t.dir}/recovery").read(), "mine", "the file")


def test_container_that_was_there(t):
    t.start_pocket("--no-servers")
    api = swift(t)
    for name in ("old", "older", "plain", "archive"):
        api.call("object-store", "PUT", f"/{name}")
    api.call("object-store", "POST", "/old", headers={"X-History-Location": "archive"})
    api.call("object-store", "POST", "/older", headers={"X-Versions-Location": "archive"})
    for name, header in (("old", "X-History-Location"), ("older", "X-Versions-Location")):
        result = init(t, settings(t, repository=f"{{cloud: {Place.cloud}, container: {name}}}"), code=8)
        check(header in result.err and "expire" in result.err, str(result))
        check(not os.path.exists(f"{t.dir}/keys"), "nothing was made")
    # One without versions gets them; what is in it stays.
    api.call("object-store", "PUT", "/plain/mine", b"x")
    init(t, settings(t, repository=f"{{cloud: {Place.cloud}, container: plain}}"))
    equal(api.call("object-store", "HEAD", "/plain")[1]["X-Versions-Enabled"], "True", "versions")
    equal(api.call("object-store", "GET", "/plain/mine")[2], b"x", "object")


def test_settings_of_the_other_side(t):
    t.start_pocket("--no-servers")
    path = settings(t)
    init(t, path)
    audit(t, path, "--urls", f"{t.dir}/urls")
    host = settings(t, "host.yaml", "{urls: urls}")
    for verb in ("init", "audit"):
        result = t.atoll("backup", verb, "--settings", host, code=1)
        check("database's side" in result.err, str(result))
    result = t.atoll("backup", "list", "--settings", host, code=6)
    check("can only be written to, not listed" in result.err, str(result))
    folder = settings(t, "folder.yaml", "{folder: usb}")
    result = audit(t, folder, "--urls", f"{t.dir}/x", code=64)
    check("--urls is for a repository in a cloud" in result.err, str(result))


def test_addresses_only_put(t):
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    result = audit(t, path, "--urls", urls)
    equal(stat.S_IMODE(os.stat(urls).st_mode), 0o600, "mode")
    check("temp_url_sig" not in result.out + result.err, "an address is a secret")
    name = put(t, urls, "pack", "pages")
    for method, status in (("GET", 401), ("DELETE", 401), ("POST", 401), ("PUT", 201), ("HEAD", 200)):
        got, _, _ = request(method, url_of(urls, name[len("host/"):]), b"x" if method == "PUT" else None)
        equal(got, status, method)
    base, query = address(urls).split("?")
    account = base[:-len("/host/")]
    for where in (account, account + "/", account + "/catalogue/0000000001"):
        equal(request("GET", f"{where}?{query}")[0], 401, where)
        equal(request("PUT", f"{where}?{query}", b"x")[0], 401, where)
    equal(request("PUT", f"{account}/catalogue/0000000001?{query}&temp_url_prefix=", b"x")[0], 401, "another prefix")


def test_audit(t):
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    result = audit(t, path, "--urls", urls)
    check("nothing is stored yet" in result.out, str(result))
    first = put(t, urls, "pack", "one")
    put(t, urls, "pack", "two")
    equal(audit(t, path, "--json").events("audit")[0]["seen"], 2, "seen")
    equal(audit(t, path, "--json").events("audit")[0]["seen"], 0, "seen again")
    notes = [json.loads(n.split(b"\n")[0]) for n in all_notes(t)]
    equal([n["kind"] for n in notes], ["begin", "seen"], "notes")
    equal(notes[0]["body"]["system"], "7300000000000000001", "system")
    rows = {r[0]: r for r in notes[1]["body"]["objects"]}
    _, headers, body = swift(t).call("object-store", "GET", "/bk/" + first)
    equal(rows[first][1:3], [len(body), hashlib.md5(body).hexdigest()], "size and etag")
    equal(notes[1]["prev"], hashlib.sha256(all_notes(t)[0].split(b"\n")[0]).hexdigest(), "chain")


def all_notes(t):
    api = swift(t)
    _, _, rows = api.call("object-store", "GET", "/bk?format=json&prefix=catalogue/")
    return [api.call("object-store", "GET", "/bk/" + r["name"])[2] for r in rows]


def test_strangers_only(t):
    """Objects that another key signed begin no catalogue."""
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    audit(t, path, "--urls", urls)
    put(t, urls, "pack", "one")
    t.write("keys/host.pub", open(f"{t.dir}/keys/audit.pub").read())
    result = audit(t, path, code=6)
    check("host.pub" in result.err, str(result))


def test_a_thief_writes_over(t):
    """What was put first is what counts: objects and notes."""
    t.start_pocket("--no-servers")
    path, urls, api = settings(t), f"{t.dir}/urls", swift(t)
    init(t, path)
    audit(t, path, "--urls", urls)
    name = put(t, urls, "pack", "the right pages")
    audit(t, path)
    equal(request("PUT", url_of(urls, name[len("host/"):]), b"rubbish")[0], 201, "a thief puts")
    equal(request("PUT", url_of(urls, name[len("host/"):]), b"more", {"X-Delete-After": "1"})[0], 201, "and expires")
    api.call("object-store", "PUT", "/bk/catalogue/0000000002", b"no note")
    api.call("object-store", "DELETE", "/bk/catalogue/0000000001")
    until("it expires", 20, lambda: api.call("object-store", "HEAD", "/bk/" + name, ok=False)[0] == 404)
    equal(audit(t, path, "--json").events("audit")[0]["seen"], 0, "nothing is new")
    result = t.run(PUTTER, "fetch", f"{Place.cloud}/bk", f"{t.dir}/keys", name)
    check(result.code == 0 and "the right pages" in result.out, str(result))


def test_two_auditors(t):
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    audit(t, path, "--urls", urls)
    names = [put(t, urls, "pack", f"{i}") for i in range(8)]
    both = [t.spawn(f"{BUILD}/atoll", "backup", "audit", "--settings", path, "--once", "--json")
            for _ in range(4)]
    outs = [p.communicate(timeout=60) for p in both]
    check(all(p.returncode == 0 for p in both), str(outs))
    notes = [json.loads(n.split(b"\n")[0]) for n in all_notes(t)]
    told = [r[0] for n in notes if n["kind"] == "seen" for r in n["body"]["objects"]]
    equal(sorted(told), sorted(names), "each object is told of once")


def test_addresses_end(t):
    """The words of it."""
    t.start_pocket("--no-servers")
    path, urls, api = settings(t), f"{t.dir}/urls", swift(t)
    init(t, path)
    audit(t, path, "--urls", urls)
    put(t, urls, "pack", "before")
    good = open(urls).read()
    api.call("object-store", "POST", "/bk", headers={"X-Container-Meta-Temp-URL-Key": "another"})
    words = put(t, urls, "pack", "refused", code=1)
    check("refuses the addresses" in words and "backup audit --urls" in words, words)
    check("temp_url_sig" not in words, words)
    ended = re.sub(r"temp_url_expires=\d+", "temp_url_expires=1000000000", good)
    t.write("urls", ended)
    words = put(t, urls, "pack", "refused", code=1)
    check("ended at 2001-09-09T01:46:40Z" in words, words)


def test_a_new_file_of_addresses(t):
    """It is taken without a restart by who waits for as long as it takes, such as the stream."""
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    audit(t, path, "--urls", urls)
    with open(urls) as f:
        ended = re.sub(r"temp_url_expires=\d+", "temp_url_expires=1000000000", f.read())
    t.write("urls", ended)
    t.write("plain", "patient")
    waiting = t.spawn(PUTTER, urls, f"{t.dir}/keys", "pack", f"{t.dir}/plain", ATOLL_TEST_PATIENCE="-1")
    until("it was refused", 20, lambda: sum(r.get("status") == 401 for r in t.pocket.log()) >= 2)
    check(waiting.poll() is None, "it waits")
    audit(t, path, "--urls", urls)
    out, err = waiting.communicate(timeout=60)
    check(waiting.returncode == 0 and b"host/pack" in out, f"{out} {err}")


def test_trouble_of_the_store(t):
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    audit(t, path, "--urls", urls)
    put_there = {"match": "PUT /v1/*/bk/host/*"}
    t.pocket.fault(dict(put_there, n=1, do="status", status=503), dict(put_there, n=2, do="reset"),
                   dict(put_there, n=3, do="reset", when="after"))
    put(t, urls, "pack", "in the end")
    t.pocket.fault()
    equal(audit(t, path, "--json").events("audit")[0]["seen"], 1, "seen")


def test_audit_is_killed(t):
    """At each of its requests, before and after the effect: the next one goes on, and each object is
    told of once."""
    t.start_pocket("--no-servers")
    path, urls, pid_file = settings(t), f"{t.dir}/urls", f"{t.dir}/pid"
    init(t, path)
    audit(t, path, "--urls", urls)
    names, killed = [put(t, urls, "pack", "first")], 0
    for n in range(1, 40):
        names.append(put(t, urls, "pack", f"{n}"))
        t.pocket.fault({"n": n // 2 + 1, "do": "kill", "pid_file": pid_file, "when": ("before", "after")[n % 2]})
        service = t.spawn("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', pid_file, f"{BUILD}/atoll", "backup",
                          "audit", "--settings", path, "--once", "--no-cache")
        service.communicate(timeout=60)
        if service.returncode == 0:
            break
        equal(service.returncode, -signal.SIGKILL, "how it ended")
        killed += 1
    t.pocket.fault()
    check(killed >= 8, f"killed {killed} times only")
    audit(t, path)
    notes = [json.loads(note.split(b"\n")[0]) for note in all_notes(t)]
    equal([note["number"] for note in notes], list(range(1, len(notes) + 1)), "numbers")
    told = [r[0] for note in notes if note["kind"] == "seen" for r in note["body"]["objects"]]
    equal(sorted(told), sorted(names), "each object is told of once")


def test_two_inits(t):
    """At once: one makes the keys, and its recovery key is the one that reads."""
    t.start_pocket("--no-servers")
    path = settings(t)
    both = [t.spawn(f"{BUILD}/atoll", "backup", "init", "--settings", path, "--recovery-file",
                    f"{t.dir}/recovery{i}") for i in range(3)]
    outs = [p.communicate(timeout=60) for p in both]
    made = [i for i, (out, _) in enumerate(outs) if b"made  keys" in out]
    equal(len(made), 1, str(outs))
    for i, p in enumerate(both):
        check(p.returncode == 0 or b"there are keys already" in outs[i][1] or b"locked by another run" in outs[i][1], str(outs[i]))
    equal([os.path.exists(f"{t.dir}/recovery{i}") for i in range(3)].count(True), 1, "recovery keys")


def test_wrong_login(t):
    t.start_pocket("--no-servers")
    path = settings(t)
    init(t, path)
    with open(t.pocket.clouds) as f:
        text = f.read()
    wrong = t.write("clouds.yaml", re.sub(r"password: .*", "password: wrong", text))
    for verb in (("init",), ("audit", "--once"), ("list",)):
        result = t.atoll("backup", *verb, "--settings", path, "--no-cache", code=None, OS_CLIENT_CONFIG_FILE=wrong)
        check(result.code != 0 and "check the user name, password and domain" in result.err, str(result))
    result = t.atoll("backup", "list", "--settings", settings(t, "x.yaml", "{cloud: pockt, container: bk}"), code=1)
    check("pockt" in result.err and "pocket" in result.err, str(result))
    # The container was taken away.
    swift(t).call("object-store", "DELETE", "/bk")
    result = audit(t, path, code=1)
    check("`atoll backup init` makes the container" in result.err, str(result))


def test_service(t):
    """In the foreground: says that it is ready, outlives the store, ends on SIGTERM."""
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    service = t.spawn(f"{BUILD}/atoll", "backup", "audit", "--settings", path, "--urls", urls)
    until("addresses", 20, lambda: os.path.exists(urls))
    service.send_signal(signal.SIGTERM)
    out, err = service.communicate(timeout=30)
    equal(service.returncode, 0, f"{out} {err}")


def b_names(t):
    """Pieces of the log in the container."""
    text = swift(t).call("object-store", "GET", "/bk?prefix=host/wal/")[2]
    return [line for line in text.decode().split() if "history" not in line]


def test_merge(t):
    """A segment of a real log, once its pieces are old enough, and once only."""
    t.start_pocket("--no-servers")
    pg, repository = Cluster(t), f"{{cloud: {Place.cloud}, container: bk}}"
    b = Backup(t, pg, repository=repository)
    audit(t, b.settings, "--urls", f"{t.dir}/urls")
    b.repository = "{urls: urls}"
    b.configure()
    s = b.stream("--make-slot")
    s.flows()
    pg.sql("CREATE TABLE x AS SELECT generate_series(1, 100000) n")
    pg.sql("SELECT pg_switch_wal()")
    pg.sql("INSERT INTO x VALUES (0)")
    b.catch_up(pg)
    equal(s.stop(), 0, s.words())
    b.repository = repository
    b.configure()
    # Rubbish under a piece's name, in the middle of the segment, stands in nobody's way.
    start = int(b_names(t)[0].split("/")[3].split("-")[0], 16)
    rubbish = f"host/wal/00000001/{start + 500:016x}-{start + 900:016x}-" + "ab" * 16
    swift(t).call("object-store", "PUT", "/bk/" + rubbish, b"rubbish")
    for after, merged in (("1h", 0), ("1ms", 1), ("1ms", 0)):
        got = audit(t, b.settings, "--merge-after", after, "--json").events("audit")[0]["merged"]
        equal(got, merged, f"after {after}")
    note = [n for n in (json.loads(n.split(b"\n")[0]) for n in all_notes(t)) if n["kind"] == "merged"][0]
    api, body = swift(t), note["body"]
    whole = api.call("object-store", "GET", "/bk/" + body["segment"])[2]
    equal(hashlib.sha256(whole).hexdigest(), body["sha256"], "hash")
    equal(b"".join(api.call("object-store", "GET", "/bk/" + name)[2] for name in body["from"]), whole, "pieces")
    check(len(body["from"]) >= 2 and rubbish not in body["from"], str(body))


def test_merge_and_prune(t):
    """What is merged is kept once: the pieces go, all else is as it was, and a restore reads the segments."""
    t.start_pocket("--no-servers")
    pg = Cluster(t)
    b = Backup(t, pg, repository=f"{{cloud: {Place.cloud}, container: bk}}")
    s = b.stream("--make-slot")
    s.flows()
    pg.sql("CREATE TABLE ledger AS SELECT 0 n, repeat('x', 100) words")
    t.atoll("backup", "base", "--settings", b.settings)
    for n in range(1, 4):
        # Two pieces and more in each segment.
        pg.sql(f"INSERT INTO ledger SELECT {n}, md5(i::text) || repeat('y', 80) FROM generate_series(1, 12000) i")
        pg.sql("SELECT pg_switch_wal()")
    pg.sql("INSERT INTO ledger VALUES (4, 'the last')")
    b.catch_up(pg)
    equal(s.stop(), 0, s.words())
    audit(t, b.settings)
    merged = audit(t, b.settings, "--merge-after", "1ms", "--json").events("audit")[0]["merged"]
    check(merged >= 3, f"{merged} segments")

    def prune(code=0):
        return t.atoll("backup", "prune", "--settings", b.settings, "--yes", "--grace", "0s", code=code)

    def wal():
        rows = swift(t).call("object-store", "GET", "/bk?format=json&prefix=host/wal/")[2]
        return {r["name"] for r in rows}
    bodies = [n["body"] for n in (json.loads(n.split(b"\n")[0]) for n in all_notes(t)) if n["kind"] == "merged"]
    from_ = {name for body in bodies for name in body["from"]}
    before = wal()
    check(from_ < before, "they are there")
    # The segments themselves are not countersigned yet by a look of their own.
    audit(t, b.settings)
    prune()
    prune()
    equal(before - wal(), from_, "what a prune took")
    t.atoll("backup", "verify", "--settings", b.settings, "--data", "--frames")
    t.atoll("restore", "--settings", b.settings, "--to", f"{t.dir}/again")
    again = Cluster(t, "open", copy_of=f"{t.dir}/again")
    equal(again.sql("SELECT n, count(*) FROM ledger GROUP BY n ORDER BY n").split(),
          ["0|1", "1|12000", "2|12000", "3|12000", "4|1"], "rows")
    # A segment that is lost is said so, by verify and by a restore.
    api = swift(t)
    api.call("object-store", "DELETE", "/bk/" + bodies[1]["segment"])
    result = t.atoll("backup", "verify", "--settings", b.settings, code=1)
    check(bodies[1]["segment"] in result.out + result.err, str(result))


def test_quiet(t):
    t.start_pocket("--no-servers")
    path, urls = settings(t), f"{t.dir}/urls"
    init(t, path)
    audit(t, path, "--urls", urls)
    put(t, urls, "pack", "x")
    result = audit(t, path, "--alarm-after", "1h")
    check("nothing was stored since" not in result.err, str(result))
    result = until("quiet", 10, lambda: (lambda r: r if "nothing was stored since" in r.err else None)(
        audit(t, path, "--alarm-after", "1ms")))
    check("atoll backup stream" in result.err, str(result))


def test_list(t):
    t.start_pocket("--no-servers")
    path = settings(t)
    result = t.atoll("backup", "list", "--settings", path, code=1)
    check("backup init" in result.err, str(result))
    init(t, path)
    result = t.atoll("backup", "list", "--settings", path)
    check("No backups yet." in result.out and "Nobody countersigns" in result.out, str(result))


def test_list_of_backups(t):
    """Not countersigned, then seen, then proven by a drill; merged segments are no strangers."""
    t.start_pocket("--no-servers")
    pg = Cluster(t)
    b = Backup(t, pg, repository=f"{{cloud: {Place.cloud}, container: bk}}")
    s = b.stream("--make-slot")
    s.flows()
    t.atoll("backup", "base", "--settings", b.settings)
    b.catch_up(pg)

    def listed():
        result = t.atoll("backup", "list", "--settings", b.settings, "--json")
        equal(len(result.events("backup")), 1, str(result))
        check(result.events("log")[0]["first"] <= result.events("log")[0]["last"], str(result))
        return result.events("backup")[0]

    first = listed()
    check(not first["countersigned"] and "proven" not in {k for k, v in first.items() if v}, str(first))
    check(first["bytes"] >= first["stored"] > 0, str(first))
    audit(t, b.settings, "--merge-after", "1ms")
    check(listed()["countersigned"], "seen")
    t.atoll("backup", "verify", "--settings", b.settings)
    t.atoll("drill", "--settings", b.settings)
    check(listed()["proven"] >= first["written"], str(listed()))
    table = t.atoll("backup", "list", "--settings", b.settings).out
    check(first["id"] in table and listed()["proven"] in table, table)
    equal(s.stop(), 0, s.words())


def test_a_wrong_settings_file(t):
    path = t.write("backup.yaml", "repositry: {folder: x}\n")
    for verb in ("init", "audit", "list"):
        result = t.atoll("backup", verb, "--settings", path, code=1)
        check('backup.yaml:1:1: unknown key "repositry": did you mean "repository"?' in result.err, str(result))


if __name__ == "__main__":
    main()
