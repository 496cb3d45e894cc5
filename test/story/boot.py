"""A real server: Debian with systemd and cloud-init boots from nothing but the user_data that Nova
keeps, while `atoll apply` waits for it. It serves, and comes back from a reboot without a cloud, from a
killed agent and from a power cut. So does a release that is an image, with podman. What is not meant for it is refused, and its user_data is worth
nothing an hour later.

Pocket's own servers are off (--no-servers); the machine is test/lib/machine.py's. Where none can be
booted (not root, no namespaces) that is said, and the tests are skipped.
"""
import base64
import functools
import http.server
import os
import shutil
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from acme import DAY, Authority
from edge import Https
from images import Registry, image_archive
from load import Load, all_ran_once, jobs as enqueue
from machine import Machine, prepare

MEDIA = "media: {container: user-uploads, cloud: pocket-media}\n"
ONE = ISLAND_HEAD.replace("servers:\n", "backup: {}\nservers:\n") + """\
  web: {flavor: c1.c2r2, roles: [edge, web, stream, worker, postgres, redis], volume: {size: 2GB}}
""" + MEDIA
CONTROL = ONE.replace("  web:", "  jobs: {flavor: c1.c1r1, roles: [worker], scale: {min: 0, max: 1}}\n"
                      "  control: {flavor: c1.c1r1, roles: [control]}\n  web:") + \
    "control: {logins: {pocket-media: pocket-media}}\n"
TWO = ISLAND_HEAD + """\
  web: {flavor: c1.c2r2, roles: [edge, web, postgres, redis], volume: {size: 2GB}}
  jobs: {flavor: c1.c1r1, roles: [worker]}
""" + MEDIA


def with_evidence(function):
    """A failure brings the machines' consoles and journals along."""
    @functools.wraps(function)
    def run(t):
        _root, lock = prepare()
        t.started = time.monotonic()
        try:
            function(t)
        except Failed as e:
            machines = [p for p in t.processes if isinstance(p, Machine)]
            raise Failed("\n".join([str(e), *(m.evidence() for m in machines)])) from None
        finally:
            lock.close()
    return run


def say(t, words):
    print(f"# {time.monotonic() - t.started:5.1f} s: {words}", flush=True)


def server(pocket, name):
    """A server as Nova keeps it: (its user_data, its volumes as (id, GB))."""
    for _, _, row in pocket.rows("server"):
        if row["name"] == name and row.get("user_data"):
            sizes = {b["id"]: b["size"] for _, _, b in pocket.rows("volume")}
            return (base64.b64decode(row["user_data"]),
                    [(v["id"], sizes[v["id"]]) for v in row["volumes"]])
    return None


def ended(process):
    """Nothing, while it runs."""
    if process.poll() is not None:
        raise Failed(f"it ended too early: exit {process.returncode}\n"
                     f"{b''.join(process.communicate()).decode()}")


def ready(address, seconds):
    """/ready through nginx; a Job of Sidekiq has written to PostgreSQL and to Swift by then."""
    url = f"http://{address}:8080/ready"

    def ask():
        status, _, got = request("GET", url)
        return got if status == 200 and isinstance(got, dict) else None

    def patient():
        try:
            return ask()
        except OSError:
            return None
    got = until(f"{url} answers 200", seconds, patient)
    check(got["ready"] is True, f"/ready says {got}")
    return got


def boot_island(t, text, names, files=()):
    """An island on machines: those of these names, and the address that the world has of it. `files`:
    (path, text) that each has from the first."""
    pocket = t.start_pocket("--no-servers")
    t.island(text)
    apply = t.spawn(f"{BUILD}/atoll", "apply", "-y", "--package", f"{BUILD}/atoll.deb")
    t.processes.append(apply)
    machines = []
    for name in names:
        made = until(f"apply makes {name}", 60, lambda: server(pocket, name) or ended(apply))
        machines.append(Machine(t, name, *made))
        for path, content in files:
            os.makedirs(os.path.dirname(machines[-1].upper + path), exist_ok=True)
            with open(machines[-1].upper + path, "w") as f:
                f.write(content)
        machines[-1].boot()
        say(t, f"{name} is on")
    try:
        out, err = apply.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        raise Failed("apply did not end in 120 s") from None
    equal(apply.returncode, 0, f"apply's exit\n{out.decode()}\n{err.decode()}")
    say(t, "apply has ended")
    # Pocket forwards floating IPs to servers of its own only.
    address = next(b["fixed_ips"][0]["ip_address"] for _, _, b in pocket.rows("port")
                   if b["name"] == names[0].replace("reef-", "reef-port-"))
    return machines, address


# Of the database, whichever driver runs it: the same one has the same.
IDENTITY = ("runuser", "-u", "postgres", "--", "psql", "-h", "/run/atoll-postgres", "-Atc",
            "select system_identifier from pg_control_system()")


def invocation(machine):
    """Another one with each start of the agent (systemd.exec(5))."""
    return machine.run("systemctl", "show", "-P", "InvocationID", "atoll-host").out.strip()


EXPOSURE = 3.0
# The agent is root and may do all that makes a server: what it never needs is closed.
AGENT_EXPOSURE = 7.2


def check_units(machine, limit=lambda unit: EXPOSURE, one="atoll-web.service"):
    """`one` is among them; and each service's unit is as closed as systemd itself measures it, and has no word that systemd
    does not know. (verify exits 0 where it warns.)"""
    rows = machine.run("systemctl", "list-units", "--plain", "--no-legend", "--all", "--type=service",
                       "atoll-*").out
    units = [r.split()[0] for r in rows.splitlines()]
    scores = {u: float(re.search(r"exposure level for \S+: ([0-9.]+)", machine.run(
        "systemd-analyze", "security", "--no-pager", u).out).group(1)) for u in units}
    print("# systemd-analyze security: " + ", ".join(f"{u} {v}" for u, v in scores.items()), flush=True)
    check(all(v <= (AGENT_EXPOSURE if u == "atoll-host.service" else limit(u)) for u, v in scores.items()),
          f"more exposed than they may be: {scores}")
    check(one in units, f"no {one}: {rows}")
    equal(machine.run("systemd-analyze", "verify", "--man=no", *units).err, "", "systemd-analyze verify")


def deploy_under_load(t, base, version):
    """Its one web server restarts, and whoever asks meanwhile waits for the new one."""
    load = Load(base + "/health", 20)
    try:
        result = t.atoll("deploy", "-y", version, timeout=300)
    finally:
        load.end()
    check(not load.bad, f"{load.bad[:5]}\n{result}")
    say(t, f"deployed {version}: {load.sent} requests, {len(load.bad)} not 2xx, "
           f"longest gap {load.longest * 1000:.0f} ms")


METADATA = "169.254.169.254"


class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def check_metadata(machine):
    """The address where user_data is read answers root and nobody else. (The network is the test's own:
    test/lib/machine.py.)"""
    subprocess.run(["ip", "address", "replace", f"{METADATA}/32", "dev", "lo"], check=True,
                   env={"PATH": PATH})
    service = http.server.HTTPServer((METADATA, 80), Metadata)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    ask = ("curl", "--silent", "--fail", "--max-time", "5", "--output", "/dev/null", f"http://{METADATA}/")
    machine.run(*ask)
    for user in ("mastodon", "postgres", "redis", "www-data"):
        # 7: the connection is refused (curl(1)).
        machine.run("runuser", "-u", user, "--", *ask, code=7)
    service.shutdown()
    service.server_close()


def check_backup(t):
    """What was written after the reboot comes back from what the units of the backup have stored."""
    t.atoll("exec", "postgres", "--", "psql", "-c", "create table kept as select 42 as n",
            "mastodon_production")
    want = t.atoll("exec", "postgres", "--", "psql", "-AtXc", "select pg_current_wal_flush_lsn()").out
    t.atoll("backup", "settings")

    def stored():
        t.atoll("backup", "audit", "--once")
        return t.atoll("restore", "--at", want.strip(), "--to", f"{t.dir}/back", code=None).code == 0
    until("the log is stored up to the table", 60, stored)
    say(t, "restored what the units have stored")


@with_evidence
def test_a_server_boots_and_comes_back(t):
    (machine,), address = boot_island(t, ONE, ["reef-web-0"])
    state = machine.run("dpkg-query", "-W", "-f", "${Status}", "atoll").out
    equal(state, "install ok installed", "atoll's package")
    equal(machine.run("systemctl", "is-active", "atoll-host").out.strip(), "active", "atoll-host")
    equal(machine.run("systemctl", "is-enabled", "atoll-host").out.strip(), "enabled", "atoll-host")
    equal(machine.run("findmnt", "-n", "-o", "FSTYPE", "/srv/atoll").out.strip(), "ext4",
          "the volume's file system")
    ready(address, 30)
    plan = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in plan.out, plan)
    database, start = machine.run(*IDENTITY).out, invocation(machine)
    say(t, "/ready")
    check_units(machine)
    check_metadata(machine)

    # A command runs as the role's user in the release's folder; logs are the journal's.
    got = t.atoll("exec", "web", "--", "sh", "-c", "id -un; pwd; exit 5", code=5).out.split()
    check(got[0] == "mastodon" and "/releases/" in got[1], got)
    equal(t.atoll("exec", "postgres", "--", "psql", "-Atc", "select 6 * 7").out, "42\n", "psql")
    got = t.atoll("logs", "-n", "5", "postgres").out
    check(re.search(r"^web.0 postgres +\| .*database system is ready", got, re.M), got)
    say(t, "commands and logs")

    # pg_hba.conf's `samenet` has to know this machine's networks: no line of it is passed over.
    log = machine.run("journalctl", "--no-pager", "--output", "cat", "--unit", "atoll-postgres").out
    check("listening on IPv4 address" in log and "enumerating" not in log, f"PostgreSQL says {log}")

    # A reboot: nothing of the cloud is asked for anything, for pocket is away.
    t.pocket.stop()
    machine.reboot()
    say(t, "rebooted")
    until("/health is 200", 60, lambda: serves(address))
    say(t, "serves without a cloud")
    check(invocation(machine) not in ("", start), "the agent was not started by the reboot")
    equal(machine.run(*IDENTITY).out, database, "the database after the reboot")
    t.pocket.start()
    ready(address, 60)
    check_metadata(machine)
    say(t, "/ready after the reboot")
    check_backup(t)

    # The agent is killed: systemd starts it again, and the services are there again.
    start = invocation(machine)
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "atoll-host")
    until("systemd has started the agent again", 30, lambda: invocation(machine) not in ("", start) and
          machine.run("systemctl", "is-active", "atoll-host", code=None).out == "active\n")
    ready(address, 60)
    say(t, "/ready after the agent was killed")

    # A power cut: what was running has left its sockets and pid files behind.
    machine.power_off_hard()
    machine.boot()
    ready(address, 60)
    equal(machine.run(*IDENTITY).out, database, "the database after the power cut")
    say(t, "/ready after a power cut")
    machine.stop(120)
    say(t, "switched off in order")


def serves(address):
    try:
        return request("GET", f"http://{address}:8080/health")[0] == 200
    except OSError:
        return False


class Mail:
    """The mail container, as whoever may write to the island's project has it."""

    def __init__(self, pocket):
        self.api = Api(pocket, "pocket")

    def names(self, server):
        listing = self.api.call("object-store", "GET", f"/reef-mail?format=json&prefix={server}/")[2]
        return [o["name"] for o in listing]

    def newest(self, server):
        """(name without the number, number, text) of the newest bundle."""
        name = max(n for n in self.names(server) if "/in/" in n)
        return name[:-8], int(name[-8:]), self.api.call("object-store", "GET", "/reef-mail/" + name)[2]

    def put(self, server, text):
        """As the server's next bundle; what it reports of it: (state, report)."""
        base, number, _ = self.newest(server)
        self.api.call("object-store", "PUT", f"/reef-mail/{base}{number + 1:08}",
                      json.dumps(text).encode(), {"Content-Type": "application/octet-stream"})
        report = base.replace("/in/", "/out/") + f"{number + 1:08}-"
        (name,) = until(f"{server} says what it makes of bundle {number + 1}", 30, lambda: [
            n for n in self.names(server) if n.startswith(report)])
        return name[len(report):], self.api.call("object-store", "GET", "/reef-mail/" + name)[2]


def other_number(bundle):
    """The same, claiming to be of a number that is yet to come; the signature stays as it is."""
    inner = json.loads(base64.b64decode(bundle["signed"]))
    inner["number"] += 1
    return dict(bundle, signed=base64.b64encode(json.dumps(inner).encode()).decode())


@with_evidence
def test_a_bundle_that_is_not_meant_is_refused(t):
    (web, _jobs), address = boot_island(t, TWO, ["reef-web-0", "reef-jobs-0"])
    before, start, mail = ready(address, 30), invocation(web), Mail(t.pocket)
    _, number, bundle = mail.newest("web.0")
    for what, text, words in (
            ("an older bundle at the next place", bundle, f"number {number}, and"),
            ("one whose number was changed", other_number(bundle), "is not signed by"),
            ("another host's", mail.newest("jobs.0")[2], "is for the server jobs.0")):
        state, report = mail.put("web.0", text)
        equal(state, "refused", f"{what}: {report}")
        check(words in report["why"], f"{what}: {report}")
        say(t, f"{what}: {report['why']}")
    after = ready(address, 5)
    equal(after["puma_pid"], before["puma_pid"], "Puma's pid after the refused bundles")
    equal(invocation(web), start, "the agent's start")
    # The operator's next apply goes on from there.
    t.apply()
    state = {s["key"]: s["health"] for s in t.atoll("status", "--json").events("server")}
    equal(state, {"web.0": "healthy", "jobs.0": "healthy"}, "status")
    equal(ready(address, 5)["puma_pid"], before["puma_pid"], "Puma's pid after the next apply")


def repacked(t, version, agent=None):
    """atoll's package again, as another version; with another program for `agent`."""
    tree, out = f"{t.dir}/repack", f"{t.dir}/atoll-{version}.deb"
    shutil.rmtree(tree, ignore_errors=True)
    t.run("dpkg-deb", "-R", f"{BUILD}/atoll.deb", tree)
    control = f"{tree}/DEBIAN/control"
    with open(control) as f:
        text = re.sub(r"^Version: .*$", f"Version: {version}", f.read(), flags=re.M)
    with open(control, "w") as f:
        f.write(text)
    if agent:
        with open(f"{tree}/usr/bin/atoll", "w") as f:
            f.write(agent)
    result = t.run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", tree, out)
    equal(result.code, 0, f"dpkg-deb: {result}")
    return out


def version(machine):
    return machine.run("dpkg-query", "-W", "-f", "${Version}", "atoll").out


@with_evidence
def test_atoll_itself_is_upgraded(t):
    (machine,), address = boot_island(t, ONE, ["reef-web-0"])
    before, start, old = ready(address, 30), invocation(machine), version(machine)
    load = Load(f"http://{address}:8080/health", 50)
    t.atoll("upgrade", "-y", "--package", repacked(t, "9.1"))
    say(t, "upgraded")
    equal(version(machine), "9.1", "atoll's version")
    check(invocation(machine) not in ("", start), "the agent is the old one")
    # One that does not come up: the server helps itself.
    result = t.atoll("upgrade", "-y", "--package", repacked(t, "9.2", "#!/bin/sh\nexit 1\n"), code=9)
    check("did not come up; the one before runs" in result.err, result)
    load.end()
    say(t, "a broken one was put back")
    equal(version(machine), "9.1", f"atoll's version, not {old}")
    equal(machine.run("systemctl", "is-active", "atoll-host").out.strip(), "active", "atoll-host")
    check(not load.bad, f"{load.bad[:5]} of {load.sent}")
    equal(ready(address, 30)["puma_master_pid"], before["puma_master_pid"], "Puma ran on")
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan")


@with_evidence
def test_a_control_server(t):
    """atoll's own verbs as units, closed like all others; what they know is nobody else's to read."""
    (_, machine), _ = boot_island(t, CONTROL, ["reef-web-0", "reef-control-0"])

    def services():
        rows = {r["key"]: r for r in t.atoll("status", "--json").events("server")}
        return {s["name"]: s["state"] for s in rows["control.0"]["services"]}
    until("all of control is well", 60, lambda: set(services().values()) == {"healthy"})
    equal(sorted(services()), ["control-audit", "control-package", "control-renew", "control-scale.jobs",
                               "control-settings"], "services")
    check_units(machine, one="atoll-control-audit.service")
    until("all that is stored is countersigned", 90,
          lambda: t.atoll("backup", "settings") and t.atoll("backup", "verify", code=None).code == 0)
    home = "/var/lib/atoll-services/control"
    equal(machine.run("stat", "-c", "%U %a", home, f"{home}/vault.json").out.split("\n")[:2],
          ["atoll 700", "atoll 600"], "what it holds")
    until("the scaler sees Redis and servers", 60,
          lambda: re.search(r"0, wanted 0: ", t.atoll("logs", "control-scale.jobs").out))
    check(os.access(machine.upper + "/var/lib/atoll-services/control-package/atoll.deb", os.R_OK), "the package")
    say(t, "control works as units")


@with_evidence
def test_a_release_on_real_servers(t):
    (web, jobs), address = boot_island(t, TWO, ["reef-web-0", "reef-jobs-0"])
    base = f"http://{address}:8080"
    equal(ready(address, 30)["version"], "1", "the release")
    tokens = [(enqueue(base, n, ms), n) for n, ms in ((960, 50), (30, 1000), (10, 5000))]
    deploy_under_load(t, base, "2")
    equal(ready(address, 30)["version"], "2", "the release")
    for token, n in tokens:
        all_ran_once(base, token, n, 120)
    for machine, service in ((web, "atoll-web"), (jobs, "atoll-worker.1")):
        where = machine.run("systemctl", "show", "-P", "WorkingDirectory", service).out
        check("canary-2" in where, f"{service} runs in {where}")
        left = [line for line in machine.run("ps", "-eo", "args").out.splitlines() if "canary-1" in line]
        equal(left, [], "old processes")
    result = t.atoll("deploy", "-y", "3", "--gate", "10s", code=9)
    check("/health answers 500" in result.err, result)
    equal(ready(address, 30)["version"], "2", "the release after one that failed")
    say(t, "one that fails its gate went back")


@with_evidence
def test_services_as_units(t):
    """The table of tests of services, by the systemd driver (test/unit/host/turns.h)."""
    program = f"{BUILD}/test/unit/host/test_host_supervisor"
    if not os.path.exists(program):
        raise Skipped("unit tests are not built here")
    linked = t.run("ldd", program).out
    machine = Machine(t, "units", b"#cloud-config\n{}\n")
    os.makedirs(f"{machine.upper}/opt/test")
    for path in [program, *re.findall(r"=> (/\S*libcmocka\S*)", linked)]:
        shutil.copy(path, f"{machine.upper}/opt/test")
    machine.boot()
    result = machine.run("env", "ATOLL_DRIVER=systemd", "CMOCKA_MESSAGE_OUTPUT=TAP",
                         "LD_LIBRARY_PATH=/opt/test", "/opt/test/test_host_supervisor", code=None,
                         timeout=300)
    check(result.code == 0, result)
    say(t, f"{len(re.findall('^ok', result.out, re.M))} tests of services as units")


@with_evidence
def test_a_certificate_by_certbot(t):
    """Debian's certbot, installed for it, in its unit: the first certificate, and a renewal."""
    where = ["127.0.0.1"]  # until it is known
    ca = Authority(t.dir, lambda domain: (where[0], 8080))
    ca.life = (-41 * DAY, 19 * DAY)
    tls = f"{{acme: ops@reef.example, server: '{ca.url}/directory', ca: acme-root.pem}}"
    (machine,), address = boot_island(
        t, ONE.replace("{http: 8080}", f"{{http: 8080, https: 8443, tls: {tls}}}"), ["reef-web-0"])
    where[0] = address
    t.address = lambda: address

    def look_again():
        machine.run("systemctl", "kill", "--kill-who=main", "--signal=HUP", "atoll-edge-certbot")

    def served():
        try:
            c = Https(t, ca.root)
            c.connect()
            return c.sock.getpeercert(True)
        except OSError:
            return None
    look_again()
    first = until("the first certificate is served", 60, served)
    say(t, "https")
    equal(machine.run("systemctl", "is-enabled", "certbot.timer", code=None).out.strip(), "masked",
          "Debian's timer")
    check_units(machine)
    ca.life = (-DAY / 24, 90 * DAY)
    look_again()
    until("the renewed certificate is served", 60, lambda: served() not in (None, first))
    equal(ca.counts["accounts"], 1, "accounts")
    say(t, "renewed")
    check("gets no new certificate" not in t.atoll("status").err, "status has something to say")
    log = machine.run("journalctl", "--no-pager", "--output", "cat", "--unit", "atoll-edge-certbot").out
    check("no certificate:" not in log.split("asking")[-1], f"certbot's service says {log}")


@with_evidence
def test_a_replayed_boot_gets_nothing(t):
    pocket = t.start_pocket("--no-servers")
    t.island(ONE)
    t.apply("--no-wait")
    user_data, _ = server(pocket, "reef-web-0")
    text = user_data.decode()
    package = re.search(r"^url='(.*)'$", text, re.M).group(1)
    boot = json.loads(re.search(r"^boot='(.*)'$", text, re.M).group(1))
    # In time the URL is good: what follows is for its age, and nothing else.
    equal(request("GET", package)[0], 200, "the package's URL in time")
    pocket.stop()
    pocket.start("--clock-ahead", "3600")

    thief = Machine(t, "thief", user_data)
    thief.boot()
    say(t, "the thief's machine is on")
    path = urllib.parse.urlsplit(package).path
    # The script tries again, as it would where the network comes late.
    until("the package was refused twice", 60, lambda: [
        r for r in pocket.log() if (r["path"], r["method"], r["status"]) == (path, "GET", 401)][1:])
    say(t, "it was refused the package, twice")
    equal(request("GET", boot["in"].replace("?", "00000001?", 1))[0], 401, "its inbox")
    equal(request("PUT", boot["out"].replace("?", "hello?", 1), b"{}")[0], 401, "its hello")
    check(thief.run("dpkg-query", "-W", "atoll", code=None).code != 0, "atoll is installed")
    check(thief.run("systemctl", "is-active", "atoll-host", code=None).out != "active\n",
          "the agent runs")
    equal([n for n in Mail(pocket).names("web.0") if "/out/" in n], [], "what the thief said")


# podman is root with mounts and namespaces: what it confines the program with is not in this figure.
PODMAN_EXPOSURE = 3.3


def main_process(machine, unit):
    pid = machine.run("systemctl", "show", "-P", "MainPID", unit).out.strip()
    return pid, machine.run("cat", f"/proc/{pid}/comm", code=None).out.strip()


def containers(machine):
    """{name: image} of all that podman knows of, whatever became of them."""
    rows = machine.run("podman", "ps", "--all", "--format", "{{.Names}} {{.Image}}").out
    return dict(r.split() for r in rows.splitlines())


@with_evidence
def test_a_release_that_is_an_image(t):
    archives = {v: image_archive(v) for v in ("1", "2", "6")}
    say(t, f"images of {[os.path.getsize(a) >> 20 for a in archives.values()]} MB")
    text = ONE.replace("{canary: true}", f'{{image: "oci-archive:{archives["1"]}", version: "1"}}')
    (machine,), address = boot_island(t, text, ["reef-web-0"])
    equal(ready(address, 60)["version"], "1", "the version")
    say(t, "/ready")
    check_units(machine, lambda unit: PODMAN_EXPOSURE if re.search("prepare|web|worker", unit) else EXPOSURE)
    ours = "localhost/atoll-archive"
    running = {"atoll-web": f"{ours}:1", "atoll-worker.1": f"{ours}:1"}
    equal(containers(machine), running, "containers")
    secrets = machine.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'").out
    password = re.search(r"^DB_PASS=(.+)$", machine.run("cat", "/run/atoll/web.env").out, re.M).group(1)
    check("atoll-web" in secrets.split() and password not in secrets, "DB_PASS in an argv")
    seen = [machine.run(*by, "grep", "-rlF", "--", password, "/run", "/var/lib", "/etc", "/opt", code=None).out
            for by in ([], ["runuser", "-u", "nobody", "--"])]
    check("/run/atoll/web.env" in seen[0] and not seen[1], f"files with DB_PASS in them: {seen}")
    inside = machine.run("podman", "exec", "atoll-web", "sh", "-c",
                         "id -u; grep CapBnd /proc/self/status; touch /opt/mastodon/x /etc/x; "
                         "touch /opt/mastodon/tmp/x /tmp/x && echo may", code=None)
    check(inside.out.split() == ["991", "CapBnd:", "0" * 16, "may"], f"inside: {inside}")
    check(inside.err.count("Read-only file system") == 2, f"inside: {inside}")

    got = t.atoll("exec", "web", "--", "sh", "-c", "id -u; pwd; cat VERSION; exit 5", code=5).out
    equal(got.split(), ["991", "/opt/mastodon", "1"], "a command in the release")
    equal(containers(machine), running, "containers after a command")

    # Its conmon is killed: nothing of the container stays, and it comes back.
    pid, name = main_process(machine, "atoll-web")
    equal(name, "conmon", "web's main process")
    machine.run("kill", "-9", pid)
    until("another conmon runs", 30, lambda: main_process(machine, "atoll-web")[1] == "conmon" and
          main_process(machine, "atoll-web")[0] != pid)
    check(ready(address, 60)["ready"], "after conmon was killed")
    names = machine.run("ps", "-eo", "comm").out.split()
    equal([names.count(n) for n in ("conmon", "tini")], [2, 2], "conmon and tini, of web and worker")
    equal(containers(machine), running, "containers after a killed conmon")
    say(t, "/ready after a killed conmon")

    # The agent is killed: the next one takes over what runs.
    start, conmon = invocation(machine), main_process(machine, "atoll-worker.1")
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "atoll-host")
    until("the agent was started again", 30, lambda: invocation(machine) not in ("", start))
    until("plan has no changes", 30, lambda: t.atoll("plan", "--detailed-exitcode", code=None).code == 0)
    ready(address, 60)
    equal(main_process(machine, "atoll-worker.1"), conmon, "the worker ran on")

    # What no spec names any more goes with the next fetch; what ran before stays.
    machine.run("podman", "tag", f"{ours}:1", f"{ours}:0")
    machine.run("tee", "/opt/atoll/releases/image-0", text=f"{ours}:0\n")
    base = f"http://{address}:8080"
    token = enqueue(base, 40, 2000)
    with Registry(archives["2"]) as registry:
        machine.run("tee", "/etc/containers/registries.conf.d/test.conf", text=registry.settings)
        t.island(text.replace(f"oci-archive:{archives['1']}", registry.ref))
        deploy_under_load(t, base, "2")
    equal(ready(address, 30)["version"], "2", "the version after the deploy")
    all_ran_once(base, token, 40, 120)
    equal(containers(machine), {n: registry.ref for n in running}, "containers after the deploy")
    for image, code in ((f"{ours}:0", 1), (f"{ours}:1", 0), (registry.ref, 0)):
        equal(machine.run("podman", "image", "exists", image, code=None).code, code,
              f"podman image exists {image}")

    # One whose processes end at once, before systemd may have heard of them.
    t.island(text)
    result = t.atoll("deploy", "-y", "6", "--from", archives["6"], "--gate", "10s", code=9)
    check("did not become healthy" in result.err, result)
    equal(ready(address, 60)["version"], "2", "the version after one that failed")
    equal(containers(machine), {n: registry.ref for n in running}, "containers after one that failed")
    say(t, "6 failed and went back")

    machine.reboot()
    until("/health is 200", 60, lambda: serves(address))
    equal(ready(address, 60)["version"], "2", "the version after the reboot")
    say(t, "/ready after a reboot")
    machine.stop(120)
    say(t, "switched off in order")



# And gives a copy of the image's settings their owner.
SEARCH_EXPOSURE = 3.6
SEARCH = ONE.replace("servers:", "search: {image: IMAGE, version: '1'}\nservers:").replace(
    MEDIA, "  find: {flavor: c1.c1r2, roles: [search], volume: {size: 1GB}}\n" + MEDIA)


@with_evidence
def test_a_search_server_is_a_container(t):
    """The image is the stand-in in the shape of Elasticsearch's: none of that can be pulled here."""
    with Registry(image_archive("search")) as registry:
        (web, find), address = boot_island(
            t, SEARCH.replace("IMAGE", registry.ref), ["reef-web-0", "reef-find-0"],
            [("/etc/containers/registries.conf.d/test.conf", registry.settings)])
    ready(address, 60)
    say(t, "/ready")
    check_units(web)
    scores = find.run("systemd-analyze", "security", "--no-pager", "atoll-search").out
    score = float(re.search(r"exposure level for \S+: ([0-9.]+)", scores).group(1))
    print(f"# systemd-analyze security: atoll-search.service {score}", flush=True)
    check(score <= SEARCH_EXPOSURE, f"atoll-search is rated {score}")
    equal(find.run("systemd-analyze", "verify", "atoll-search.service").err, "", "systemd-analyze verify")
    equal(containers(find), {"atoll-search": registry.ref}, "containers")

    # The password is in a file of root's and in what the image made of it, which nobody else can read.
    password = re.search(r"^ELASTIC_PASSWORD=(.+)$", find.run("cat", "/run/atoll/search.env").out, re.M).group(1)
    argv = find.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'").out
    check("atoll-search" in argv and password not in argv, "the password in an argv")
    seen = find.run("runuser", "-u", "nobody", "--", "grep", "-rlF", "--", password, "/run", "/var/lib",
                    "/etc", "/srv", code=None).out
    equal(seen, "", "files with the password in them that anybody can read")
    inside = find.run("podman", "exec", "atoll-search", "bash", "-c",
                      "id -u; grep CapBnd /proc/self/status; touch /usr/share/elasticsearch/x /etc/x; "
                      "ls config; cat logs/gc.log; touch /tmp/x && echo may", code=None)
    equal(inside.out.split(), ["1000", "CapBnd:", "0" * 16, "elasticsearch.keystore", "elasticsearch.yml",
                               "-Xms1024m", "-Xmx1024m", "may"], f"inside: {inside}")
    check(inside.err.count("Read-only file system") == 2, f"inside: {inside}")
    equal(find.run("sed", "-n", "s/vm.max_map_count = //p", "/etc/sysctl.d/60-atoll-search.conf").out,
          "262144\n", "the kernel's setting for the next boot")

    # It listens on the tier's address alone, and web's own command has made its index over HTTP.
    listening = find.run("ss", "-Hltn", "sport = :9200").out.split()
    equal([w for w in listening if w.endswith(":9200")], [f"{find_address(t)}:9200"], "where it listens")
    made = find.run("cat", "/srv/atoll/search/calls.jsonl").out
    equal(made.count('"PUT","path":"accounts"'), 1, made)
    say(t, "its index is on the volume")

    # Its container is killed: it comes back with what it had; so it does from a power cut.
    pid, _ = main_process(find, "atoll-search")
    find.run("kill", "-9", pid)
    until("another conmon runs", 30, lambda: main_process(find, "atoll-search")[0] not in (pid, "0"))
    until("it is healthy", 60, lambda: health(t, "find.0") == "healthy")
    find.power_off_hard()
    find.boot()
    # (What it reported last is no word of now.)
    until("the same index after a power cut", 120, lambda: "accounts: the same" in t.atoll(
        "tootctl", "search", "deploy", code=None).out)
    made = find.run("cat", "/srv/atoll/search/calls.jsonl").out
    equal(made.count('"PUT","path":"accounts"'), 1, made)
    say(t, "the same index after a power cut")


def find_address(t):
    return next(r["address"] for r in t.atoll("status", "--json").events("server") if r["key"] == "find.0")


def health(t, key):
    return next(r["health"] for r in t.atoll("status", "--json").events("server") if r["key"] == key)


if __name__ == "__main__":
    main()
