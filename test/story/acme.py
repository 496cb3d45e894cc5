"""A certificate from an ACME authority: Debian's certbot asks for it, nginx serves it, it is renewed
without a dropped connection, kept in the vault with its account for a server that takes another's place,
and watched. A test authority (lib/acme.py) stands for a public one; instead of asking the DNS for the
domain it connects to the island's edge address."""
import base64
import hashlib
import os
import shutil
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from acme import DAY, Authority
from edge import Begun, Https

WEB = """\
  edge: {flavor: c1.c1r1, roles: [edge]}
  web:  {flavor: m1.small, roles: [web, worker, postgres, redis], volume: {size: 1GB}}
"""


def island_text(ca):
    tls = f"{{acme: ops@reef.example, server: '{ca.url}/directory', ca: acme-root.pem}}"
    return ISLAND_HEAD.replace("{http: 8080}", f"{{http: 8080, https: 8443, tls: {tls}}}") + WEB


def served(t, trust=True):
    """The hash of the certificate that a stranger is shown; None where it is not one that he trusts."""
    try:
        c = Https(t, t.ca.root if trust else None)
        c.connect()
        return hashlib.sha256(c.sock.getpeercert(True)).hexdigest()
    except OSError:
        return None


def wait_served(t, other_than=None, seconds=60):
    return until("a certificate of the authority at the edge", seconds,
                 lambda: (lambda s: s if s != other_than else None)(served(t)))


def folders(t, service):
    """Of a service, on all servers; the newest last."""
    found = [path for path, _, _ in os.walk(f"{t.pocket.dir}/servers")
             if path.endswith(f"/var/lib/atoll-services/{service}")]
    return sorted(found, key=os.path.getctime)


def folder(t):
    """certbot's, on the newest edge."""
    return folders(t, "edge-certbot")[-1]


def state(t):
    """Of the newest certbot's last look."""
    try:
        with open(f"{folder(t)}/state.json") as f:
            return json.load(f)
    except FileNotFoundError:
        return {"asked": 0, "next": 0, "failed": 0, "why": ""}  # it has not looked yet


def runner(t):
    """The pid of `atoll certbot`."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if words[1:3] == [b"certbot", folder(t).encode()]:
            return int(pid)
    return None


def look_again(t):
    os.kill(until("`atoll certbot` runs", 30, lambda: runner(t)), signal.SIGHUP)


def letters(t):
    names = Api(t.pocket, "pocket").call("object-store", "GET", "/reef-mail?format=json")[2]
    return [o["name"] for o in names if "/out/tls-" in o["name"]]


def authority(t):
    ca = Authority(t.dir, lambda domain: (t.address(), 8080))
    t.ca = ca
    return ca


def start(t):
    t.start_pocket()
    ca = authority(t)
    t.island(island_text(ca))
    t.runs = [t.apply("-v")]
    t.first = wait_served(t)
    until("its letter", 30, lambda: letters(t))
    return ca


def private_lines(text):
    return [line for line in text.splitlines() if len(line) == 64 and "CERT" not in line]


def test_first(t):
    """From nothing to https with a certificate, and into the vault with the next apply."""
    ca = start(t)
    equal(ca.counts, {"accounts": 1, "orders": 1, "certificates": 1}, "what was asked for")
    c = Https(t, t.ca.root)
    c.request("GET", "/health")
    equal(c.getresponse().status, 200, "/health over TLS")
    status = t.atoll("status")
    check("certificate until 20" in status.out, status)
    check("gets no new certificate" not in status.err, status)
    equal([e["warning"] for e in t.atoll("status", "--json").events("certificate")], [False], "JSON")
    check("the edge asks https://127.0.0.1:" in t.atoll("check").out, "check")

    plan = t.atoll("plan", "--detailed-exitcode", code=2)
    check("edge.0" in plan.out and "web.0" not in plan.out, plan)
    t.runs += [plan, t.apply("-v"), t.atoll("plan", "-v"), status]
    check("No changes" in t.runs[-2].out, "a plan after it has something to do")
    equal(served(t), t.first, "the certificate after the vault has it")
    equal(ca.counts, {"accounts": 1, "orders": 1, "certificates": 1}, "asked for by then")

    # Keys are where certbot and nginx have them, for root alone, and in no output.
    with open(f"{folder(t)}/conf/live/reef.example/privkey.pem") as f:
        lines = private_lines(f.read())
    account = [os.path.join(d, n) for d, _, names in os.walk(f"{folder(t)}/conf/accounts") for n in names
               if n == "private_key.json"]
    with open(account[0]) as f:
        lines.append(json.load(f)["d"])
    equal(len(account), 1, "accounts")
    equal(os.stat(folder(t)).st_mode & 0o777, 0o700, "the mode of certbot's folder")
    seen = [text for run in t.runs for text in (run.out, run.err)]
    seen += [base64.b64decode(row.get("user_data") or "").decode() for _, _, row in t.pocket.rows("server")]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                seen.append(f.read().decode(errors="replace"))
        except OSError:
            pass
    check(lines and not any(line in text for line in lines for text in seen), "a key is in an output")
    found = set()
    for top, _, names in os.walk(t.pocket.dir):
        for path in (os.path.join(top, n) for n in names):
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    text = f.read()
                if any(line.encode() in text for line in lines):
                    found.add(path.split("/atoll-services/")[-1])
    equal({p.split("/")[0] for p in found}, {"edge-certbot", "edge"}, f"where keys are: {sorted(found)}")


def test_replaced(t):
    """Neither certificate nor account is lost with the server, whether an apply came before or not."""
    ca = start(t)
    t.apply("--replace", "edge.0")
    equal(wait_served(t), t.first, "the certificate of the second server")
    # certbot there has looked, with what the first had, and had nothing to ask for.
    until("certbot has looked", 60, lambda: state(t)["asked"])
    equal(state(t)["why"], "", "certbot's words")
    equal(ca.counts, {"accounts": 1, "orders": 1, "certificates": 1}, "what was asked for")
    check("No changes" in t.atoll("plan").out, "a plan after it has something to do")

    # A disk that lost what certbot knows: it takes what the vault had.
    shutil.rmtree(f"{folder(t)}/conf/live")
    os.unlink(f"{folder(t)}/conf/renewal/reef.example.conf")
    look_again(t)
    until("certbot has taken what the vault had", 60,
          lambda: os.path.exists(f"{folder(t)}/conf/live/reef.example/fullchain.pem"))
    equal(served(t), t.first, "the certificate of the second server")
    equal(ca.counts, {"accounts": 1, "orders": 1, "certificates": 1}, "what was asked for")


def test_renewed(t):
    """A third of its life before its end another one is fetched. What had begun goes on."""
    t.start_pocket()
    ca = authority(t)
    ca.life = (-41 * DAY, 19 * DAY)
    t.island(island_text(ca))
    t.apply()
    first = wait_served(t)
    begun = Begun(t, ca.root, folders(t, "edge")[-1])
    orders = ca.counts["orders"]
    ca.life = (-40 * DAY, 19 * DAY)
    look_again(t)
    second = wait_served(t, first)
    equal(ca.counts["orders"], orders + 1, "orders")
    begun.end()

    # The renewed one too is for the vault, and for who comes next; who has it renewed, as it is due
    # again, with the account of the first server.
    until("its letter", 30, lambda: len(letters(t)) == 2)
    ca.life = (-DAY / 24, 90 * DAY)
    t.apply("--replace", "edge.0")
    look_again(t)
    third = until("the second server has it renewed", 60,
                  lambda: (lambda s: s if s not in (first, second) else None)(served(t)))
    equal((ca.counts["accounts"], ca.counts["certificates"]), (1, orders + 2), "asked for")
    # It looks as soon as it is there; before the address is its own, that first order comes to nothing.
    asked = ca.counts["orders"]
    check(asked - (orders + 2) in (0, 1), f"{asked} orders")
    # Now nothing is due: another look asks for nothing.
    look_again(t)
    until("certbot has looked once more", 60, lambda: state(t)["next"] > (time.time() + 11 * 3600) * 1000)
    equal(ca.counts["orders"], asked, "orders after another look")
    equal(served(t), third, "the certificate after another look")


def test_refused(t):
    """An authority that refuses or is away: the old pair goes on serving, and status says why."""
    t.start_pocket()
    ca = authority(t)
    ca.refuse = ("rateLimited", "too many certificates (5) already issued for reef.example", 429)
    t.island(island_text(ca))
    t.apply()
    # Before the first one nginx serves one that signs itself, and the island is well.
    until("TLS at the edge", 30, lambda: served(t, trust=False))
    equal(served(t), None, "a stranger's trust")
    words = until("status says why", 60, lambda: (lambda s: s if "too many certificates (5)" in s.err
                                                  else None)(t.atoll("status")))
    check("edge.0 gets no new certificate" in words.err and "no certificate yet" in words.out, words)
    check("as the file says" in words.out, words)
    check("No changes" in t.atoll("plan").out, "a plan has something to do")
    equal(state(t)["failed"], 1, "failures")
    wait = state(t)["next"] / 1000 - time.time()
    check(200 < wait <= 300, f"it asks again in {wait} s")

    logs = t.atoll("logs", "edge-certbot").out
    check("no certificate: " in logs and "too many certificates (5)" in logs, logs)

    # The challenge can't be fetched: the authority's words.
    ca.refuse = None
    good, ca.where = ca.where, lambda domain: (t.address(), 9)
    look_again(t)
    until("status has the authority's words", 60,
          lambda: "Fetching http://reef.example/.well-known/acme-challenge/" in t.atoll("status").err)
    ca.where, ca.life = good, (-80 * DAY, 10 * DAY)
    look_again(t)
    first = wait_served(t)
    until("status says no more of it", 60, lambda: "gets no new" not in t.atoll("status").err)

    # It is due, and the authority is away.
    t.apply()
    ca.stop()
    look_again(t)
    until("status says that it is away", 60, lambda: "Connection refused" in t.atoll("status").err)
    status, plan = t.atoll("status"), t.atoll("plan")
    for result in (status, plan):
        check(re.search(r"the certificate ends in (9|10) days", result.err), result)
    equal(served(t), first, "the certificate meanwhile")
    # An edge that is killed meanwhile, and comes again, serves it too, and waits its turn.
    asked = len(ca.asked)
    before = state(t)
    pid = runner(t)
    os.kill(pid, signal.SIGKILL)
    until("it runs again", 30, lambda: runner(t) not in (None, pid))
    equal(served(t), first, "the certificate after a kill")
    equal(state(t), before, "its plans after a kill")
    ca.start()
    equal(len(ca.asked), asked, "requests after a kill")
    ca.life = (-DAY / 24, 90 * DAY)
    look_again(t)
    wait_served(t, first)


def test_killed(t):
    """certbot killed in the middle, and a letter that is somebody else's."""
    t.start_pocket()
    ca = authority(t)
    slow = threading.Event()
    good = ca.where

    def where(domain):
        slow.set()
        time.sleep(1)  # certbot waits, and is killed in this time
        return good(domain)
    ca.where = where
    t.island(island_text(ca))
    t.apply()
    check(slow.wait(60), "certbot has not asked")
    os.kill(runner(t), signal.SIGKILL)
    ca.where = good
    wait_served(t)
    equal(ca.counts["accounts"], 1, "accounts")
    name = until("its letter", 30, lambda: letters(t))[0]
    api = Api(t.pocket, "pocket")
    text = api.call("object-store", "GET", f"/reef-mail/{name}")[2]
    forged = dict(text, mac="0" * 64)
    api.call("object-store", "PUT", f"/reef-mail/{name}", forged)
    vault = api.call("object-store", "GET", "/reef-vault?format=json")[2]
    result = t.apply(code=None)
    check(result.code != 0 and "does not come from an edge of this island" in result.err, result)
    equal(api.call("object-store", "GET", "/reef-vault?format=json")[2], vault, "the vault")
    api.call("object-store", "PUT", f"/reef-mail/{name}", text)
    t.apply()
    check("No changes" in t.atoll("plan").out, "a plan after it has something to do")


def test_another_authority(t):
    """From one that is for trying out to the one that counts: asked at once, though nothing is due."""
    ca = start(t)
    t.apply()
    os.makedirs(f"{t.dir}/other")
    other = Authority(f"{t.dir}/other", ca.where)
    t.island(island_text(other).replace("acme-root.pem", "other/acme-root.pem"))
    t.apply()
    t.ca = other
    second = wait_served(t)
    check(second != t.first, "the certificate is the first authority's")
    equal(other.counts, {"accounts": 1, "orders": 1, "certificates": 1}, "what the other was asked for")
    equal(ca.counts, {"accounts": 1, "orders": 1, "certificates": 1}, "what the first was asked for")
    until("its letter", 30, lambda: len(letters(t)) == 2)
    t.apply("--replace", "edge.0")
    equal(wait_served(t), second, "the certificate of the second server")
    until("certbot has looked", 60, lambda: state(t)["asked"])
    equal(other.counts, {"accounts": 1, "orders": 1, "certificates": 1}, "what the other was asked for")


def test_bad_input(t):
    t.start_pocket("--no-servers")
    ca = authority(t)
    text = island_text(ca)
    for old, new, words in (
            ("acme: ops@reef.example, ", "", "edge.tls.acme is missing"),
            ("ops@reef.example", "ops", 'edge.tls.acme is "ops"'),
            ("server: 'https", "server: 'http", "it must be https://"),
            ("acme-root.pem", "nothing.pem", "nothing.pem"),
            ("ca: acme-root.pem", "key: k.pem, certificate: c.pem", "both files and acme"),
            (f"server: '{ca.url}/directory', ca: acme-root.pem", "", "port 80 alone"),
            ("https: 8443", "https: 0", "nothing would serve")):
        t.island(text.replace(old, new))
        for verb in (["plan"], ["check"]):
            result = t.atoll(*verb, code=None)
            check(result.code != 0 and words in result.out + result.err, f"{words}: {result}")
    t.island(text)
    t.write("acme-root.pem", "no certificate\n")
    result = t.atoll("plan", code=None)
    check(result.code == 1 and "there is no certificate in it" in result.err, result)


main()
