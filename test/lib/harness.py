"""What the world and story tests share: a pocket cloud on a temporary folder, the built atoll, and
plain checks. Standard library only.

    from harness import *
    def test_something(t): ...
    main()

Each test_* function of the file gets a Test: a folder of its own, a pocket started on demand, and
everything ended afterwards, also when the test fails. The build folder is argv[1]. Prints TAP.
"""
import base64
import ctypes
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

BUILD = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "build"
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # Debian's programs, whatever else this machine has


def die_with_parent():
    """The tests' servers end with them, whatever happens to the tests."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Failed(Exception):
    pass


class Skipped(Exception):
    """This machine can't show it; the reason."""


def check(condition, words):
    if not condition:
        raise Failed(words)


def equal(got, wanted, words=""):
    if got != wanted:
        raise Failed(f"{words}: got {got!r}, wanted {wanted!r}")


def until(what, seconds, function):
    """Polls until function() is true; its value is returned. A deadline, not a sleep."""
    end = time.monotonic() + seconds
    while True:
        value = function()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    def events(self, name=None):
        rows = [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]
        return [r for r in rows if name is None or r.get("event") == name]


class Pocket:
    def __init__(self, folder, *options):
        self.dir = folder
        self.options = list(options)
        self.fault_file = folder + ".fault"
        self.process = None
        self.start()

    def start(self, *more):
        with open(self.dir + ".out", "ab") as log:
            self.process = subprocess.Popen(
                [f"{BUILD}/atoll-pocket", "--dir", self.dir, "--fault", self.fault_file,
                 *self.options, *more],
                stdout=subprocess.PIPE, stderr=log, preexec_fn=die_with_parent,
                env=dict(os.environ, PATH=PATH))
        line = self.process.stdout.readline().decode()
        if not line.startswith("pocket: ready"):
            raise Failed("pocket did not start: " + line + open(self.dir + ".out").read()[-2000:])
        self.clouds = f"{self.dir}/clouds.yaml"

    def fault(self, *rules):
        """Replaces the fault rules; counting starts anew."""
        temporary = self.fault_file + ".new"
        with open(temporary, "w") as f:
            for rule in rules:
                f.write(json.dumps(rule) + "\n")
        os.rename(temporary, self.fault_file)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def rows(self, kind=None):
        """Rows straight out of pocket's database: (kind, name, body)."""
        db = sqlite3.connect(f"file:{self.dir}/pocket.db?mode=ro", uri=True, timeout=10)
        try:
            found = db.execute("select kind, name, body from object order by seq").fetchall()
        finally:
            db.close()
        return [(k, n, json.loads(b)) for k, n, b in found if kind in (None, k)]

    def log(self):
        with open(f"{self.dir}/requests.jsonl") as f:
            return [json.loads(line) for line in f if line.endswith("\n")]


class Api:
    """Bare requests to pocket with a login of its clouds.yaml: what a test does behind atoll's back."""

    def __init__(self, pocket, cloud):
        with open(pocket.clouds) as f:
            entry = re.search(rf"^  {cloud}:\n((?:    .*\n)+)", f.read(), re.M).group(1)
        self.settings = {k: v.strip("'\"") for k, v in re.findall(r"^ +(\w+): *(\S.*?) *$", entry, re.M)}
        self.auth_url = self.settings["auth_url"].rstrip("/")
        self.login()

    def login(self):
        s = self.settings
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": s["username"], "password": s["password"],
            "domain": {"name": s.get("user_domain_name", "Default")}}}},
            "scope": {"project": {"name": s["project_name"],
                                  "domain": {"name": s.get("project_domain_name", "Default")}}}}}
        status, headers, token = request("POST", self.auth_url + "/auth/tokens", body)
        equal(status, 201, f"login: {token}")
        self.token = headers["X-Subject-Token"]
        self.project_id = token["token"]["project"]["id"]
        self.user_id = token["token"]["user"]["id"]
        self.endpoints = {c["type"]: next(e["url"] for e in c["endpoints"] if e["interface"] == "public")
                          for c in token["token"]["catalog"]}
        for alias, name in (("volumev3", "block-storage"), ("block-storage", "volumev3")):
            if alias in self.endpoints:
                self.endpoints.setdefault(name, self.endpoints[alias])
        self.endpoints["identity"] = self.auth_url

    def call(self, service, method, path, body=None, headers=None, ok=True):
        status, got, answer = request(method, self.endpoints[service] + path, body,
                                      dict(headers or {}, **{"X-Auth-Token": self.token}))
        if ok:
            check(status // 100 == 2, f"{method} {path}: {status} {answer}")
        return status, got, answer


def request(method, url, body=None, headers=None):
    """(status, headers, parsed JSON or bytes)"""
    headers = dict(headers or {})
    data = body
    if isinstance(body, (dict, list)):
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    r = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(r, timeout=60) as answer:
            status, got, text = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as e:
        status, got, text = e.code, e.headers, e.read()
    try:
        return status, got, json.loads(text)
    except ValueError:
        return status, got, text


# Of an island of the tests; its servers follow.
ISLAND_HEAD = """\
island: reef
domain: reef.example
cloud: pocket
image: debian-12
release: {canary: true}
network: {cidr: 127.77.0.0/24}
edge: {http: 8080}
servers:
"""


def private_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(v) for v in re.findall(r"^Private_\w+: +(\d+) kB", f.read(), re.M))


def peak_private_kb(process):
    """Until it ends: its largest private memory, and how often that was looked at."""
    peak = samples = 0
    while process.poll() is None:
        try:
            peak, samples = max(peak, private_kb(process.pid)), samples + 1
        except OSError:
            break
        time.sleep(0.001)
    process.communicate()
    return peak, samples


def sanitized():
    """A sanitizer's own memory and time are none of ours."""
    with open(f"{BUILD}/atoll-pocket", "rb") as f:
        return re.search(b"__[at]san_init", f.read()) is not None


class Test:
    def __init__(self, name):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix="atoll-test-")
        os.chmod(self.dir, 0o711)
        self.pocket = None
        self.processes = []
        # Other pockets on this machine have islands too: each test has addresses of its own.
        self.cidr = f"127.{random.randint(80, 250)}.{random.randint(0, 255)}.0/24"

    def start_pocket(self, *options):
        self.pocket = Pocket(f"{self.dir}/pocket", *options)
        with open(f"{self.dir}/passphrase", "w") as f:
            os.chmod(f.name, 0o600)
            f.write("correct horse battery\n")
        return self.pocket

    def env(self, **more):
        env = {"PATH": PATH, "HOME": self.dir, "LANG": "C.UTF-8", "USER": "tester",
               "XDG_CONFIG_HOME": f"{self.dir}/config", "XDG_CACHE_HOME": f"{self.dir}/cache",
               "ATOLL_PASSPHRASE_FILE": f"{self.dir}/passphrase"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in os.environ:
                env[name] = os.environ[name]
        if self.pocket:
            env["OS_CLIENT_CONFIG_FILE"] = self.pocket.clouds
        env.update(more)
        return env

    def spawn(self, *argv, **more):
        return subprocess.Popen(argv, cwd=self.dir, env=self.env(**more), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                preexec_fn=die_with_parent)

    def run(self, *argv, timeout=180, **more):
        process = self.spawn(*argv, **more)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Failed(f"{argv} did not end in {timeout} s\n{out.decode()}\n{err.decode()}")
        return Result(process.returncode, out.decode(errors="replace"),
                      err.decode(errors="replace"))

    def atoll(self, *argv, code=0, **more):
        result = self.run(f"{BUILD}/atoll", *argv, **more)
        if code is not None and result.code != code:
            raise Failed(f"atoll {' '.join(argv)}: wanted exit {code}, {result}")
        return result

    def write(self, name, text):
        path = f"{self.dir}/{name}"
        with open(path, "w") as f:
            f.write(text)
        return path

    def island(self, text=None):
        """The demo's island file, in this test's folder, and its keys."""
        if text is None:
            with open(f"{SOURCE}/demo/island.yaml") as f:
                text = f.read()
        self.write("island.yaml", text.replace("127.77.0.0/24", self.cidr))
        if not os.path.exists(f"{self.dir}/config/atoll/keys/reef.key"):
            self.atoll("init", "reef", "-f", "first.yaml", "--cloud", "pocket", "--recovery-file",
                       "recovery")

    def apply(self, *more, **kwargs):
        return self.atoll("apply", "-y", "--package", f"{BUILD}/atoll.deb", *more, **kwargs)

    def address(self):
        rows = self.pocket.rows("floatingip")
        return rows[0][2]["floating_ip_address"]

    def ready(self, seconds=30):
        """/ready through nginx, as JSON."""
        url = f"http://{self.address()}:8080/ready"

        def ask():
            try:
                with urllib.request.urlopen(url, timeout=20) as r:
                    return json.load(r)
            except (OSError, ValueError):
                return None
        return until(f"{url} answers 200", seconds, ask)

    def end(self):
        if self.pocket:
            self.pocket.stop()
        for p in self.processes:
            if p.poll() is None:
                p.terminate()  # nginx's workers outlive a killed master
                p.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    """Runs the file's tests (or those named behind argv[1]); the exit status says whether all passed."""
    module = sys.modules["__main__"]
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    if len(sys.argv) > 2:
        tests = [(n, f) for n, f in tests if n in sys.argv[2:]]
    print("TAP version 13")
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, (name, function) in enumerate(tests, 1):
        t = Test(name)
        start = time.monotonic()
        try:
            function(t)
            print(f"ok {number} - {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Skipped as e:
            print(f"ok {number} - {name} # SKIP {e}", flush=True)
        except Exception as e:  # a test's failure, whatever it is, must not stop the others
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            words = str(e) if isinstance(e, Failed) else traceback.format_exc()
            for line in words.splitlines():
                print(f"# {line}")
            if t.pocket:
                for line in open(t.pocket.dir + ".out", errors="replace").read().splitlines()[-15:]:
                    print(f"# pocket: {line}")
            sys.stdout.flush()
        finally:
            t.end()
    sys.exit(1 if failed else 0)
