"""Bad input: the exact words, the hint, the exit code, and pocket's rows as they were before.

test/story/golden/<case>.txt holds what a person sees. ATOLL_RECORD=1 writes the files anew: read the
difference before you commit it.
"""
import datetime
import email.utils
import http.server
import os
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from authority import certificate

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")

# case: (text in the demo's island file, what it becomes)
FILE_CASES = {
    "unknown_key": ("servers:\n  web: {flavor", "servers:\n  web: {flavour"),
    "wrong_unit": ("size: 10GB", "size: 10GiBB"),
    "duplicate_key": ("image: debian-12\n", "image: debian-12\nimage: debian-13\n"),
    "role_nobody_carries": ("roles: [edge, web, stream, worker, redis]", "roles: [edge, web, stream, worker]"),
    "role_twice": ("roles: [postgres]", "roles: [postgres, redis]"),
    "unknown_role": ("roles: [postgres]", "roles: [postgress]"),
    "missing_flavor": ("flavor: c1.c2r2", "flavor: c1.c2r9"),
    "missing_image": ("image: debian-12", "image: debian-21"),
    "missing_volume_type": ("type: b1.sr-r3-nvme-1000", "type: b1.sr-r3-nvme-9000"),
    "missing_external_network": ("external: public", "external: publik"),
    "unknown_cloud": ("cloud: pocket-media", "cloud: pocket-meida"),
    "not_yaml": ("servers:\n", "servers: [\n"),
}


APPLY = ("apply", "-y", "--package", f"{BUILD}/atoll.deb")
QUIET = (*APPLY, "-q")  # where a plan comes first: its numbers are not of today


def seen(t, result):
    text = f"$ atoll apply -y\n{result.out}{result.err}exit {result.code}\n"
    text = text.replace(t.dir, "DIR")
    text = re.sub(r"it says \d{4}-[0-9T:-]+Z", "it says NOW", text)
    text = re.sub(r"after \d tries", "after N tries", text)
    text = re.sub(r"req-[0-9a-f-]{36}", "req-ID", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    return text


def lasting(pocket):
    """All rows but the tokens of logins."""
    return [r for r in pocket.rows() if r[0] != "token"]


def compare(t, case, result, before):
    path, text = f"{GOLDEN}/{case}.txt", seen(t, result)
    if os.environ.get("ATOLL_RECORD"):
        os.makedirs(GOLDEN, exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
    with open(path) as f:
        equal(text, f.read(), case)
    after = lasting(t.pocket)
    check(after == before, f"{case}: pocket's rows have changed: "
                           f"{[r for r in after if r not in before]}")
    check(result.code != 0, f"{case}: exit 0")


def test_island_file(t):
    t.start_pocket("--no-servers")
    t.island()
    with open(f"{SOURCE}/demo/island.yaml") as f:
        good = f.read()
    t.atoll("plan")  # Neutron makes a project's default group at its first list
    before = lasting(t.pocket)
    for case, (old, new) in FILE_CASES.items():
        check(good.count(old) == 1, f"{case}: {old!r} is not once in the demo's island file")
        t.write("island.yaml", good.replace(old, new))
        compare(t, case, t.atoll("apply", "-y", "--package", f"{BUILD}/atoll.deb", code=None), before)


def test_wrong_password(t):
    t.start_pocket("--no-servers")
    t.island()
    before = lasting(t.pocket)
    with open(t.pocket.clouds) as f:
        text = re.sub(r"(password: *).*", r"\1wrong", f.read())
    clouds = t.write("wrong.yaml", text)
    result = t.atoll("apply", "-y", code=None, OS_CLIENT_CONFIG_FILE=clouds,
                     XDG_CACHE_HOME=f"{t.dir}/cache2")
    compare(t, "wrong_password", result, before)


class Front:
    """Stands before one of pocket's addresses: with a clock of its own, with a certificate, or with
    pages for people instead of answers."""

    def __init__(self, t, to, ahead=0, html=None, tls=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                data = self.rfile.read(size) if size else None
                if html:
                    status, headers, text = html, {"Content-Type": "text/html"}, \
                        b"<html><head><title>Sign in</title></head><body>Welcome</body></html>"
                else:
                    wanted = {k: v for k, v in self.headers.items() if k.lower() not in
                              ("host", "accept-encoding", "connection")}
                    request_ = urllib.request.Request(to + self.path, data=data, headers=wanted,
                                                      method=self.command)
                    try:
                        with urllib.request.urlopen(request_, timeout=60) as a:
                            status, headers, text = a.status, dict(a.headers), a.read()
                    except urllib.error.HTTPError as e:
                        status, headers, text = e.code, dict(e.headers), e.read()
                if ahead:
                    text = re.sub(rb'"(expires|issued)_at": ?"([^"]+)Z"', self.moved, text)
                self.send_response_only(status)
                self.send_header("Date", email.utils.formatdate(time.time() + ahead, usegmt=True))
                for k, v in headers.items():
                    if k.lower() not in ("date", "content-length", "connection", "transfer-encoding"):
                        self.send_header(k, v)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            @staticmethod
            def moved(match):
                at = datetime.datetime.fromisoformat(match.group(2).decode())
                at += datetime.timedelta(seconds=ahead)
                return b'"%s_at":"%sZ"' % (match.group(1), at.isoformat().encode())

            do_GET = do_POST = do_PUT = do_HEAD = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def front(t, case, settings="", **how):
    """What a clouds.yaml says whose Keystone is a Front; a cache of its own."""
    with open(t.pocket.clouds) as f:
        text = f.read()
    keystone = re.search(r"auth_url: (http://127.0.0.1:\d+)/v3", text).group(1)
    text = text.replace(keystone, Front(t, keystone, **how).url)
    text = re.sub(r"^(    region_name:)", settings + r"\1", text, flags=re.M)
    return {"OS_CLIENT_CONFIG_FILE": t.write(case + ".yaml", text),
            "XDG_CACHE_HOME": f"{t.dir}/cache-{case}"}


def first_look(t):
    """Pocket, keys, and rows to compare with: Neutron makes a default group at its first list."""
    t.start_pocket("--no-servers")
    t.island()
    t.atoll("plan")
    return lasting(t.pocket)


def test_wrong_clock(t):
    before = first_look(t)
    endpoints = Api(t.pocket, "pocket").endpoints
    for case, ahead in (("clock_behind", 3600), ("clock_ahead", -3600)):
        # The whole cloud's clock: each service has a Front.
        settings = ""
        for service in ("compute", "network", "image", "volumev3"):
            base, path = re.match(r"(http://[^/]+)(.*)", endpoints[service]).groups()
            path = re.sub(r"/[0-9a-f]{32}$", "", path)  # each login has its own project
            settings += f"    {service}_endpoint_override: {Front(t, base, ahead=ahead).url}{path}\n"
        env = front(t, case, settings=settings, ahead=ahead)
        plan = t.atoll("plan", **env)
        check("this machine's clock is 1 h" in plan.err, plan)
        again = t.atoll("plan", "-v", **env)
        check("auth/tokens" not in again.err, f"the token was taken for expired: {again}")
        compare(t, case, t.atoll(*QUIET, code=None, **env), before)
    equal(lasting(t.pocket), before, "rows")


def test_certificates(t):
    before = first_look(t)
    old, now = ("20200101000000Z", "20210101000000Z"), ("20200101000000Z", "20400101000000Z")
    certificate(t, "authority", None, *now)
    certificate(t, "old-authority", None, *old)
    certificate(t, "old-server", "authority", *old)
    certificate(t, "server", "authority", *now)
    certificate(t, "server-of-old", "old-authority", *now)
    for case, server, authority in (("expired_certificate", "old-server", "authority"),
                                    ("expired_authority", "server-of-old", "old-authority"),
                                    ("unknown_authority", "server", "old-authority")):
        env = front(t, case, settings=f"    cacert: {t.dir}/{authority}.pem\n",
                    tls=(f"{t.dir}/{server}.pem", f"{t.dir}/{server}.key"))
        compare(t, case, t.atoll(*APPLY, code=None, **env), before)
    good = front(t, "good", settings=f"    cacert: {t.dir}/authority.pem\n",
                 tls=(f"{t.dir}/server.pem", f"{t.dir}/server.key"))
    t.atoll("plan", **good)


def test_answers_in_html(t):
    before = first_look(t)
    compare(t, "login_in_html", t.atoll(*APPLY, code=None, **front(t, "login_in_html", html=200)),
            before)
    with open(t.pocket.clouds) as f:
        text = f.read()
    page = Front(t, "", html=200)
    clouds = re.sub(r"^(    region_name:)", f"    network_endpoint_override: {page.url}\n" + r"\1",
                    text, flags=re.M)
    env = {"OS_CLIENT_CONFIG_FILE": t.write("html.yaml", clouds),
           "XDG_CACHE_HOME": f"{t.dir}/cache-html"}
    compare(t, "lists_in_html", t.atoll(*APPLY, code=None, **env), before)


def test_truncated_listing(t):
    before = first_look(t)
    t.pocket.fault({"match": "GET /v2.0/ports", "do": "truncate"})
    compare(t, "truncated_listing", t.atoll(*APPLY, code=None), before)


def test_foreign_container(t):
    before = first_look(t)
    api = Api(t.pocket, "pocket")
    api.call("object-store", "PUT", "/reef-boot")
    before = lasting(t.pocket)
    compare(t, "foreign_container", t.atoll(*APPLY, code=None), before)
    # Neutron's and Nova's names are anybody's: a thing of our name without our marker is not ours.
    network = api.call("network", "POST", "/v2.0/networks",
                       {"network": {"name": "reef-network-main"}})[2]["network"]
    api.call("object-store", "DELETE", "/reef-boot")
    events = t.atoll("plan", "--json").events("planned_change")
    check(("network", "create") in {(e["kind"], e["verb"]) for e in events}, events)
    t.atoll("destroy", "-y")
    equal(api.call("network", "GET", "/v2.0/networks/" + network["id"])[0], 200, "foreign network")


def test_quota(t):
    before = first_look(t)
    admin = Api(t.pocket, "pocket-admin")
    project = Api(t.pocket, "pocket").project_id
    root = admin.endpoints["volumev3"]
    status, _, answer = admin.call("volumev3", "PUT", f"/os-quota-sets/{project}",
                                   {"quota_set": {"volumes": 0, "gigabytes": 5}}, ok=False)
    if status == 404:
        raise Skipped(f"pocket's Cinder has no quotas at {root}")
    equal(status, 200, answer)
    before = lasting(t.pocket)
    compare(t, "quota_too_small", t.atoll(*QUIET, code=None), before)
    plan = t.atoll("plan", code=8)
    check("not there" in plan.out and "needs 1 more volume, 0 are left of 0" in plan.err, plan)


def member(t, name):
    """A login that may make everything but users; its entry of clouds.yaml, added."""
    admin, project = Api(t.pocket, "pocket-admin"), Api(t.pocket, "pocket").project_id
    user = admin.call("identity", "POST", "/users",
                      {"user": {"name": name, "password": "sesame"}})[2]["user"]
    roles = admin.call("identity", "GET", "/roles")[2]["roles"]
    role = next(r["id"] for r in roles if r["name"] == "member")
    admin.call("identity", "PUT", f"/projects/{project}/users/{user['id']}/roles/{role}")
    with open(t.pocket.clouds) as f:
        text = f.read()
    entry = re.search(r"^  pocket:\n((?:    .*\n)+)", text, re.M).group(1)
    entry = re.sub(r"password: .*", "password: sesame", re.sub(r"username: .*", f"username: {name}", entry))
    return t.write("member.yaml", text + f"  pocket-member:\n{entry}")


def test_member_who_may_not_list_users(t):
    first_look(t)
    clouds = member(t, "mel")
    with open(f"{t.dir}/island.yaml") as f:
        text = f.read()
    text = text.replace("cloud: pocket\n", "cloud: pocket-member\n")
    text = re.sub(r"media: .*", "media: {container: user-uploads}", text)
    t.write("island.yaml", text)
    env = {"OS_CLIENT_CONFIG_FILE": clouds}
    before = lasting(t.pocket)
    compare(t, "may_not_list_users", t.atoll(*APPLY, code=None, **env), before)
    # The way out: a user that somebody else has made.
    admin = Api(t.pocket, "pocket-admin")
    given = admin.call("identity", "POST", "/users",
                       {"user": {"name": "uploads", "password": "swordfish"}})[2]["user"]
    t.write("password", "swordfish\n")
    user = f"user: {{name: uploads, id: {given['id']}, password_file: {t.dir}/password}}"
    t.write("island.yaml", text.replace("{container: user-uploads}",
                                        f"{{container: user-uploads, {user}}}"))
    events = t.atoll("plan", "--json", **env).events("planned_change")
    check(not [e for e in events if e["kind"] == "user"], events)
    t.atoll("apply", "-y", "--only", "container.vault", "--only", "container.media", **env)
    head = Api(t.pocket, "pocket").call("object-store", "HEAD", "/user-uploads")[1]
    check(given["id"] in head["X-Container-Write"], head["X-Container-Write"])
    t.atoll("destroy", "-y", "--data", "--confirm", "reef", **env)
    equal(admin.call("identity", "GET", "/users/" + given["id"])[0], 200, "the given user")


def test_catalogue_without_versions(t):
    first_look(t)
    api = Api(t.pocket, "pocket")
    bare = {s: re.match(r"http://[^/]+", api.endpoints[s]).group(0)
            for s in ("compute", "network", "image", "volumev3")}
    lines = "".join(f"    {s}_endpoint_override: {url}\n" for s, url in bare.items())
    with open(t.pocket.clouds) as f:
        text = re.sub(r"^(    region_name:)", lines + r"\1", f.read(), flags=re.M)
    result = t.atoll("plan", OS_CLIENT_CONFIG_FILE=t.write("bare.yaml", text),
                     XDG_CACHE_HOME=f"{t.dir}/cache-bare")
    check("to add" in result.out, result)


def test_wrong_passphrase(t):
    t.start_pocket("--no-servers")
    t.island()
    t.write("other", "not the passphrase\n")
    result = t.atoll("key", "check", code=None, ATOLL_PASSPHRASE_FILE=f"{t.dir}/other")
    check(result.code == 6 and "passphrase" in result.err, result)


main()
