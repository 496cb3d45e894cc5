"""TLS at the edge from files: served, renewed without a dropped connection, kept in the vault for a
server that takes another's place, refused in words, and watched."""
import base64
import datetime
import hashlib
import html
import http.client
import os
import shutil
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from authority import certificate
from edge import Begun, Https

FILES = "{certificate: tls/fullchain.pem, key: tls/privkey.pem}"
ISLAND = ISLAND_HEAD.replace("{http: 8080}", "{http: 8080, https: 8443, tls: %s}" % FILES) + """\
  edge: {flavor: c1.c1r1, roles: [edge]}
  web:  {flavor: m1.small, roles: [web, worker, postgres, redis], volume: {size: 1GB}}
"""


def day(n):
    """The moment n days from now, as openssl takes it."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=n)
    return at.strftime("%Y%m%d%H%M%SZ")


def make(t, name, begin, end, domain="reef.example"):
    """A pair for the domain."""
    if not os.path.exists(f"{t.dir}/authority.pem"):
        certificate(t, "authority", None, day(-1000), day(1000))
    return certificate(t, name, "authority", day(begin), day(end), f"DNS:{domain}")


def put(t, name, key=None):
    """The pair becomes what the island file names."""
    os.makedirs(f"{t.dir}/tls", exist_ok=True)
    with open(f"{t.dir}/tls/fullchain.pem", "w") as out:
        for part in (name, "authority"):
            with open(f"{t.dir}/{part}.pem") as f:
                out.write(f.read())
    shutil.copy(f"{t.dir}/{key or name}.key", f"{t.dir}/tls/privkey.pem")


def hash_of(path):
    with open(path) as f:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()


def https(t, *protocols):
    return Https(t, f"{t.dir}/authority.pem", *protocols)


def served(t):
    """The hash of the certificate that a stranger is shown, once it answers."""
    def ask():
        try:
            c = https(t)
            c.connect()
            return hashlib.sha256(c.sock.getpeercert(True)).hexdigest()
        except OSError:
            return None
    return until("TLS at the edge", 30, ask)


def plain(t, path):
    c = http.client.HTTPConnection(t.address(), 8080, timeout=30)
    c.request("GET", path, headers={"Host": "reef.example"})
    r = c.getresponse()
    return r.status, r.headers.get("Location"), r.read()


def servers(t):
    top = f"{t.pocket.dir}/servers"
    return [path for name in os.listdir(top) for path, _, _ in os.walk(f"{top}/{name}")
            if path.endswith("/var/lib/atoll-services/edge")]


def record(t):
    """What the mail container's listing shows of the certificate."""
    names = Api(t.pocket, "pocket").call("object-store", "GET", "/reef-mail?format=json&prefix=tls")[2]
    return [o["content_type"] for o in names]


def start(t):
    t.start_pocket()
    t.island(ISLAND)
    make(t, "first", -20, 70)
    put(t, "first")
    t.first_apply = t.apply("-v")
    equal(served(t), hash_of(f"{t.dir}/first.pem"), "the certificate")


def get(t, path):
    c = https(t)
    c.request("GET", path)
    r = c.getresponse()
    return r, r.read()


def test_served(t):
    start(t)
    r, body = get(t, "/")
    equal(r.status, 200, body)
    check("https://reef.example:8443" in html.unescape(body.decode()), f"what Mastodon is told: {body}")
    equal(r.headers.get_all("Strict-Transport-Security"), ["max-age=63072000; includeSubDomains"],
          "HSTS")
    equal(get(t, "/metrics")[0].status, 404, "/metrics")
    c = https(t, "h2", "http/1.1")
    c.connect()
    equal(c.sock.selected_alpn_protocol(), "h2", "HTTP/2")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = https(t)
        c.tls.minimum_version = c.tls.maximum_version = version
        c.connect()
        equal(c.sock.version(), version.name.replace("_", "."), "TLS")

    equal(plain(t, "/about?x=1")[:2], (301, "https://reef.example:8443/about?x=1"), "plain HTTP")
    equal(plain(t, "/health"), (200, None, b"OK"), "plain /health")
    equal(plain(t, "/.well-known/acme-challenge/none")[0], 404, "a challenge that nobody asked for")

    status = t.atoll("status", "--json")
    equal([e["warning"] for e in status.events("certificate")], [False], status)
    check("No changes" in t.atoll("plan").out, "a plan after it has something to do")

    # The key is where nginx reads it, for root alone, and nowhere else.
    with open(f"{t.dir}/first.key") as f:
        line = f.read().splitlines()[5].encode()
    # (A secret is searched for in what the cloud was told, and in what people see.)
    seen = [base64.b64decode(row.get("user_data") or "") for _, _, row in t.pocket.rows("server")]
    check(len(seen) == 2 and all(seen), "no user_data to look into")
    seen += [text.encode() for run in (t.first_apply, t.atoll("plan", "-v"), status)
             for text in (run.out, run.err)]
    check(not any(line in text for text in seen), "the key is in a user_data or in an output")
    found = []
    for folder, _, names in os.walk(t.dir):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    if line in f.read():
                        found.append(path)
    theirs = {f"{t.dir}/first.key", f"{t.dir}/tls/privkey.pem"}
    equal(sorted(set(found) - theirs), [f"{servers(t)[0]}/key.pem"], "where the key is")
    equal(os.stat(f"{servers(t)[0]}/key.pem").st_mode & 0o777, 0o600, "its mode")


def test_renewed(t):
    """What had begun before goes on, over TLS and in plain: nginx is told, not started again."""
    start(t)
    folder = servers(t)[0]
    begun = Begun(t, f"{t.dir}/authority.pem", folder)
    make(t, "second", -1, 89)
    put(t, "second")
    plan = t.atoll("plan")
    check("edge.0" in plan.out and "web.0" not in plan.out, plan)
    t.apply()
    until("the renewed certificate is served", 30,
          lambda: served(t) == hash_of(f"{t.dir}/second.pem"))
    begun.end()
    check("No changes" in t.atoll("plan").out, "a plan after it has something to do")

    # Somebody's old files do not undo it.
    put(t, "first")
    plan = t.atoll("plan")
    check("No changes" in plan.out and "issued before" in plan.err, plan)


def test_replaced(t):
    """The vault has it: neither a plan nor a new server needs the files."""
    start(t)
    shutil.rmtree(f"{t.dir}/tls")
    check("No changes" in t.atoll("plan").out, "a plan without the files has something to do")
    before = served(t)
    t.apply("--replace", "edge.0")
    equal(served(t), before, "the certificate of the new server")
    equal(get(t, "/health")[0].status, 200, "/health")
    # A new one reaches it.
    make(t, "second", -1, 10)
    put(t, "second")
    t.apply()
    until("the renewed certificate is served", 30,
          lambda: served(t) == hash_of(f"{t.dir}/second.pem"))
    status = t.atoll("status")
    check(re.search(r"the certificate ends in (9|10) days", status.err), status)
    check("certificate until 20" in status.out, status)
    equal([e["warning"] for e in t.atoll("status", "--json").events("certificate")], [True], "JSON")
    # Days later, as the listing would show it.
    past = re.sub(r"until=\d+", "until=1700000000", record(t)[0])
    Api(t.pocket, "pocket").call("object-store", "PUT", "/reef-mail/tls", b"{}", {"Content-Type": past})
    status = t.atoll("status")
    check("the certificate ended at 2023-11-14" in status.err and "browsers refuse it" in status.err, status)


def test_refused(t):
    t.start_pocket("--no-servers")
    t.island(ISLAND)
    plan = t.atoll("plan", code=None)
    check(plan.code != 0 and "tls/fullchain.pem" in plan.err and "has no certificate yet" in plan.err,
          plan)
    make(t, "good", -20, 70)
    make(t, "other", -20, 70)
    make(t, "old", -100, -10)
    make(t, "early", 2, 90)
    make(t, "stranger", -20, 70, "reef.invalid")
    rows = len(t.pocket.rows())
    for name, key, where, words, hint in (
            ("good", "other", "edge.tls.key", "it is not the key of the certificate", ""),
            ("old", "old", "edge.tls.certificate", "it ended at 20", "renewed"),
            ("early", "early", "edge.tls.certificate", "it does not begin before 20", "clock"),
            ("stranger", "stranger", "edge.tls.certificate", "it is not for reef.example",
             "its names are: reef.invalid")):
        put(t, name, key)
        for verb in (["plan"], ["apply", "-y", "--package", f"{BUILD}/atoll.deb"]):
            result = t.atoll(*verb, code=None)
            check(result.code == 1 and "island.yaml:" in result.err and where in result.err and
                  words in result.err and hint in result.err, f"{name}: {result}")
        check(words in t.atoll("check", code=None).out, f"{name}: check does not say so")
    equal(len(t.pocket.rows()), rows, "rows in the cloud")
    put(t, "good")
    t.atoll("plan")
    check("a certificate for reef.example until 20" in t.atoll("check").out, "check")


def test_cut_off(t):
    """A run that dies between its writes about the certificate: the next one ends it. And the vault
    outlives the island."""
    start(t)
    make(t, "second", -1, 89)
    put(t, "second")
    before = record(t)
    pid_file = f"{t.dir}/pid"
    for match, when in (("PUT /v1/*/reef-vault/tls", "before"), ("PUT /v1/*/reef-vault/tls", "after"),
                        ("PUT /v1/*/reef-mail/tls", "before")):
        if match.endswith("mail/tls"):
            make(t, "third", 0, 88)
            put(t, "third")
        t.pocket.fault({"match": match, "do": "kill", "when": when, "pid_file": pid_file})
        run = t.spawn("sh", "-c", f"echo $$ >{pid_file}; exec {BUILD}/atoll apply -y")
        run.communicate(timeout=60)
        equal(run.returncode, -signal.SIGKILL, f"killed {when} {match}")
        equal(record(t), before, f"the record, {when} {match}")
    t.pocket.fault()
    t.apply()
    until("the renewed certificate is served", 30,
          lambda: served(t) == hash_of(f"{t.dir}/third.pem"))
    check(record(t) != before, "the record is the old one's")
    check("No changes" in t.atoll("plan").out, "a plan after it has something to do")

    # The vault stays when the island goes, and has it when the island comes again.
    t.atoll("destroy", "-y")
    shutil.rmtree(f"{t.dir}/tls")
    t.apply()
    equal(served(t), hash_of(f"{t.dir}/third.pem"), "the certificate of the island that came again")
    check("No changes" in t.atoll("plan").out, "a plan after that has something to do")


main()
