"""Pocket as other people's programs see it: OpenStack's own command lines, a crash, and faults."""
import hashlib
import http.client
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *


def tool(t, *argv, code=0, **more):
    result = t.run("/usr/bin/" + argv[0], *argv[1:], **more)
    if code is not None and result.code != code:
        raise Failed(f"{' '.join(argv)}: wanted exit {code}, {result}")
    return result.out


def openstack(t, *argv, cloud="pocket", code=0):
    return tool(t, "openstack", "--os-cloud", cloud, *argv, code=code)


def swift_env(t):
    s = Api(t.pocket, "pocket").settings
    return {"ST_AUTH_VERSION": "3", "OS_AUTH_URL": s["auth_url"], "OS_USERNAME": s["username"],
            "OS_PASSWORD": s["password"], "OS_PROJECT_NAME": s["project_name"],
            "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}


def swift(t, *argv, code=0):
    return tool(t, "swift", *argv, code=code, **swift_env(t))


def bodies(pocket):
    return sum(len(files) for _, _, files in os.walk(pocket.dir + "/swift"))


def test_openstack_commands(t):
    p = t.start_pocket("--no-servers")
    equal(oct(os.stat(p.clouds).st_mode & 0o777), "0o600", "mode of clouds.yaml")
    token = json.loads(openstack(t, "token", "issue", "-f", "json"))
    check(token["id"], "no token")
    services = openstack(t, "catalog", "list", "-f", "value", "-c", "Name").split()
    equal(sorted(services), ["cinderv3", "glance", "keystone", "neutron", "nova", "swift"], "catalogue")
    equal(openstack(t, "image", "list", "--status", "active", "-f", "value", "-c", "Name"),
          "debian-12\n", "images")
    check("demo" in openstack(t, "user", "list", "-f", "value", "-c", "Name").split(), "users")
    user = openstack(t, "user", "create", "--domain", "Default", "--password", "pw", "uploader",
                     "-f", "value", "-c", "id").strip()
    openstack(t, "role", "add", "--user", "uploader", "--project", "demo-media", "media")
    equal(openstack(t, "role", "assignment", "list", "--user", user, "--names", "-f", "value", "-c",
                    "Role").split(), ["media"], "roles")
    openstack(t, "role", "add", "--user", "uploader", "--project", "demo-media", "admin", code=1)
    openstack(t, "project", "create", "another", code=1)
    openstack(t, "project", "create", "another", cloud="pocket-admin")
    credential = json.loads(openstack(t, "application", "credential", "create", "ac", "--role",
                                      "reader", "--secret", "chosen", "-f", "json"))
    equal(credential["secret"], "chosen", "secret")
    issued = tool(t, "openstack", "token", "issue", "-f", "value", "-c", "id",
                  OS_AUTH_TYPE="v3applicationcredential", OS_CLIENT_CONFIG_FILE="/nonexistent",
                  OS_AUTH_URL=Api(p, "pocket").auth_url,
                  OS_APPLICATION_CREDENTIAL_ID=credential["id"],
                  OS_APPLICATION_CREDENTIAL_SECRET="chosen")
    check(len(issued) > 20, "no token by application credential")
    openstack(t, "user", "delete", "uploader")
    log = p.log()
    equal([r["n"] for r in log], sorted(r["n"] for r in log), "numbers of a single client")
    text = open(f"{p.dir}/requests.jsonl").read()
    check("chosen" not in text and token["id"] not in text, "a secret in the request log")


def test_swift_commands(t):
    t.start_pocket("--no-servers")
    t.write("hello.txt", "hello\n")
    swift(t, "post", "box")
    swift(t, "upload", "box", "hello.txt")
    equal(swift(t, "list", "box"), "hello.txt\n", "list")
    check("b1946ac92492d2347c6235b4d2611184" in swift(t, "stat", "box", "hello.txt"), "etag")
    equal(swift(t, "download", "box", "hello.txt", "-o", "-"), "hello\n", "download")
    swift(t, "post", "box", "-r", ".r:*", "-H", "X-Container-Meta-Temp-URL-Key: key")
    base = re.search(r"StorageURL: (\S+)", swift(t, "stat", "-v")).group(1)
    host, account = base.split("/v1/")
    for digest in ("sha1", "sha256", "sha512"):
        url = swift(t, "tempurl", "--digest", digest, "GET", "60", f"/v1/{account}/box/hello.txt",
                    "key").strip()
        equal(request("GET", host + url)[::2], (200, b"hello\n"), digest)
        equal(request("GET", host + url.replace("sig=", "sig=0"))[0], 401, "bad signature")
    equal(request("GET", base + "/box/hello.txt")[0], 200, "public object")
    equal(request("GET", base + "/box")[0], 401, "public listing")
    blob = os.urandom(5 << 20)
    with open(t.dir + "/blob", "wb") as f:
        f.write(blob)
    for options in (("--use-slo",), ()):
        swift(t, "upload", "-S", str(2 << 20), *options, "box", "blob")
        swift(t, "download", "box", "blob", "-o", "back")
        equal(hashlib.md5(open(t.dir + "/back", "rb").read()).digest(),
              hashlib.md5(blob).digest(), f"large object {options}")
    openstack(t, "object", "create", "box", "hello.txt")
    check("hello.txt" in openstack(t, "object", "list", "box", "-f", "value"), "object list")
    swift(t, "delete", "box")
    swift(t, "delete", "box_segments")
    equal(swift(t, "list"), "", "all is gone")
    equal(bodies(t.pocket), 0, "files without objects")


def test_second_pocket_is_refused(t):
    p = t.start_pocket("--no-servers")
    second = t.run(f"{BUILD}/atoll-pocket", "--dir", p.dir, "--no-servers")
    equal(second.code, 4, str(second))
    check("another atoll-pocket runs on" in second.err, second.err)
    equal(t.run(f"{BUILD}/atoll-pocket").code, 64, "no --dir")
    equal(t.run(f"{BUILD}/atoll-pocket", "--dir", p.dir + "2", "--port", "1").code, 64, "bad option")
    p.stop()
    equal(p.process.returncode, 0, "exit code after SIGTERM")


def test_crash(t):
    """What was answered 2xx is there after kill -9; what was not is not, and leaves no file."""
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    api.call("object-store", "PUT", "/box")
    done = []
    for i in range(40):
        api.call("object-store", "PUT", f"/box/{i}", b"body %d" % i)
        if i % 4 == 3:
            api.call("object-store", "DELETE", f"/box/{i - 1}")
        done.append(i)
        if i == 25:
            # One that is half way when the end comes.
            url = urllib.parse.urlparse(api.endpoints["object-store"])
            half = http.client.HTTPConnection(url.hostname, url.port)
            half.putrequest("PUT", url.path + "/box/half")
            half.putheader("X-Auth-Token", api.token)
            half.putheader("Content-Length", "1000000")
            half.endheaders()
            half.send(b"x" * 100000)
    until("the half upload is on disk", 10,
          lambda: os.listdir(p.dir + "/swift/tmp"))
    user = api.call("identity", "POST", "/users", {"user": {"name": "kept", "password": "x"}})[2]
    p.kill()
    before = api.endpoints
    p.start()
    api = Api(p, "pocket")
    equal(api.endpoints, before, "URLs after the restart")
    names = api.call("object-store", "GET", "/box")[2].decode().split()
    wanted = sorted(str(i) for i in done if not (i % 4 == 2))
    equal(names, wanted, "objects")
    for name in names:
        equal(api.call("object-store", "GET", f"/box/{name}")[2], b"body " + name.encode(), name)
    equal(bodies(p), len(names), "files")
    api.call("identity", "GET", "/users/" + user["user"]["id"])


def outcome(api, service, method, path, body=None):
    """The status, or how the connection broke."""
    try:
        return api.call(service, method, path, body, ok=False)[0]
    except http.client.IncompleteRead:
        return "cut"
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return "reset"
    except urllib.error.URLError as e:
        return "reset" if isinstance(e.reason, (ConnectionError, socket.error)) else str(e)


def test_faults(t):
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    api.call("object-store", "PUT", "/box")
    cases = [
        # rule, outcome, is the object there afterwards
        ({"n": 1, "do": "reset"}, "reset", False),
        ({"n": 1, "do": "reset", "when": "after"}, "reset", True),
        ({"match": "PUT /v1/", "do": "status", "status": 503, "times": 1}, 503, False),
        ({"service": "swift", "do": "status", "status": 498}, 498, False),
        ({"service": "nova", "do": "reset"}, 201, True),
        ({"n": 1, "do": "delay", "ms": 300}, 201, True),
        ({"n": 2, "do": "reset"}, 201, True),
    ]
    for i, (rule, wanted, there) in enumerate(cases):
        p.fault(rule)
        start = time.monotonic()
        equal(outcome(api, "object-store", "PUT", f"/box/{i}", b"x"), wanted, str(rule))
        check(rule["do"] != "delay" or time.monotonic() - start >= 0.3, "no delay")
        p.fault()
        equal(outcome(api, "object-store", "HEAD", f"/box/{i}"), 200 if there else 404, str(rule))
    p.fault({"match": "GET /v1/*/box/1", "do": "truncate", "bytes": 0})
    check(outcome(api, "object-store", "GET", "/box/1") in ("cut", "reset"), "not cut")
    p.fault({"service": "keystone", "do": "status", "status": 429, "retry_after": 7})
    status, headers, body = api.call("identity", "GET", "/auth/projects", ok=False)
    equal((status, headers["Retry-After"], body["error"]["code"]), (429, "7", 429), "429")
    faults = [(r["status"], r["fault"]) for r in p.log() if "fault" in r]
    equal(faults[:2], [(0, "reset"), (0, "reset")], "log")


def test_fault_kills(t):
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    api.call("object-store", "PUT", "/box")
    for when in ("before", "after"):
        victim = subprocess.Popen(["/bin/sleep", "60"], preexec_fn=die_with_parent)
        t.processes.append(victim)
        pid_file = t.write("victim.pid", f"{victim.pid}\n")
        p.fault({"n": 1, "do": "kill", "when": when, "pid_file": pid_file})
        equal(outcome(api, "object-store", "PUT", f"/box/kill-{when}", b"x"), "reset", when)
        equal(victim.wait(10), -9, "victim")
    p.fault({"n": 1, "do": "stop", "when": "after"})
    equal(outcome(api, "object-store", "PUT", "/box/stop-after", b"x"), "reset", "stop")
    equal(p.process.wait(10), -9, "pocket")
    p.fault()
    p.start()
    api = Api(p, "pocket")
    equal(api.call("object-store", "GET", "/box")[2].decode().split(), ["kill-after", "stop-after"],
          "what took effect")


def test_memory(t):
    """A body of any size needs the memory of a part of it."""
    p = t.start_pocket("--no-servers")
    api = Api(p, "pocket")
    api.call("object-store", "PUT", "/box")
    url = urllib.parse.urlparse(api.endpoints["object-store"])
    block, count, peak = os.urandom(1 << 20), 256, 0

    def private_kb():
        with open(f"/proc/{p.process.pid}/smaps_rollup") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))

    c = http.client.HTTPConnection(url.hostname, url.port)
    c.putrequest("PUT", url.path + "/box/big")
    c.putheader("X-Auth-Token", api.token)
    c.putheader("Content-Length", str(count << 20))
    c.endheaders()
    for _ in range(count):
        c.send(block)
        peak = max(peak, private_kb())
    answer = c.getresponse()
    answer.read()
    equal(answer.status, 201, "PUT")
    digest = hashlib.md5()
    for _ in range(count):
        digest.update(block)
    equal(answer.headers["Etag"], digest.hexdigest(), "etag")
    c.request("GET", url.path + "/box/big", headers={"X-Auth-Token": api.token})
    answer, got = c.getresponse(), hashlib.md5()
    while part := answer.read(1 << 20):
        got.update(part)
        peak = max(peak, private_kb())
    equal(got.hexdigest(), digest.hexdigest(), "GET")
    limit = 64 << 10
    if "ASAN_OPTIONS" not in os.environ:
        check(peak < limit, f"{peak} kB private")


if __name__ == "__main__":
    main()
