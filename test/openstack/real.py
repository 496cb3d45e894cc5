"""The harness for a real OpenStack: `real(t)` gives a test the cloud that `up` started, with nothing
of an earlier test in it, and a hypervisor of its own. What it returns stands where a Pocket stands
in the tests of the pocket cloud: clouds, rows(), stop().

The folder of `up` is in ATOLL_LAB, else where `up` puts it by itself.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from harness import *

LAB = os.environ.get("ATOLL_LAB") or \
    os.path.join(os.environ.get("TMPDIR") or "/var/tmp", "atoll-openstack")
PASSPHRASE = "correct horse battery\n"
ISLAND = """\
island: reef
domain: reef.example
cloud: real
release: {canary: true}
image: debian-12
network: {external: public, cidr: 10.77.0.0/24}
edge: {http: 8080}
servers:
  web: {flavor: c1.c2r2, roles: [edge, web, worker, redis], processes: {worker: 2}}
  db: {flavor: c1.c1r1, roles: [postgres], volume: {size: 10GB, type: b1.sr-r3-nvme-1000}}
media: {container: user-uploads, cloud: real-media, isolation: project}
"""
# kind, login, service, path of the list, key of the list. In the order in which they can be deleted.
KINDS = [
    ("server", "real", "compute", "/servers/detail", "servers"),
    ("server_group", "real", "compute", "/os-server-groups", "server_groups"),
    ("keypair", "real", "compute", "/os-keypairs", "keypairs"),
    ("floatingip", "real", "network", "/v2.0/floatingips", "floatingips"),
    ("volume", "real", "volumev3", "/volumes/detail", "volumes"),
    ("port", "real", "network", "/v2.0/ports", "ports"),
    ("router", "real", "network", "/v2.0/routers", "routers"),
    ("subnet", "real", "network", "/v2.0/subnets", "subnets"),
    ("network", "real", "network", "/v2.0/networks", "networks"),
    ("security_group", "real", "network", "/v2.0/security-groups", "security_groups"),
    ("user", "real-media", "identity", "/users", "users"),
    ("container", "real", "object-store", "?format=json", None),
    ("container", "real-media", "object-store", "?format=json", None),
]
SERVICE_USERS = {"admin", "glance", "placement", "nova", "neutron", "cinder", "swift", "heat",
                 "heat_domain_admin", "atoll", "atoll-media", "atoll-backup"}
MICROVERSIONS = {"compute": {"OpenStack-API-Version": "compute 2.60"}}

# Told to end, a test still removes what is its own.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def of_tests(kind, row, project):
    """Not what seed.py made, nor what a cloud gives everybody."""
    if kind == "user":
        return row["name"] not in SERVICE_USERS
    if kind == "network" and row.get("router:external"):
        return False
    if kind == "subnet" and row["project_id"] != project:
        return False
    return not (kind == "security_group" and row["name"] == "default")


class Real:
    def __init__(self, folder, hypervisor=True):
        self.dir = folder
        self.clouds = f"{LAB}/clouds.yaml"
        check(os.path.exists(self.clouds), f"no OpenStack in {LAB}: test/openstack/up starts one")
        open(folder + ".out", "wb").close()
        self.logins, self.process = {}, None
        self.sweep()
        if hypervisor:
            self.start()

    def start(self):
        with open(self.dir + ".out", "ab") as errors:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", f"{SOURCE}/test/openstack/hypervisor.py", self.clouds,
                 "real-admin", "atoll", self.dir, f"{BUILD}/atoll-pocket"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors, preexec_fn=die_with_parent,
                env={"PATH": PATH, "LANG": "C.UTF-8"})
        line = self.process.stdout.readline().decode()
        check(line.startswith("hypervisor: ready"), "the hypervisor did not start")

    def api(self, cloud):
        if cloud not in self.logins:
            self.logins[cloud] = Api(self, cloud)
        return self.logins[cloud]

    def listing(self, cloud, service, path, key):
        _, _, answer = self.api(cloud).call(service, "GET", path,
                                            headers=MICROVERSIONS.get(service))
        return answer[key] if key else answer

    def rows(self, kind=None):
        """(kind, name, body) as the services list them; a port's rules and objects are left out."""
        found = []
        for k, cloud, service, path, key in KINDS:
            if kind not in (None, k):
                continue
            for row in self.listing(cloud, service, path, key or None) or []:
                row = row.get("keypair", row)
                if of_tests(k, row, self.api(cloud).project_id):
                    found.append((k, row.get("name") or "", row))
        return found

    def sweep(self):
        """What a test that failed has left."""
        for kind, cloud, service, path, key in KINDS:
            api = self.api(cloud)
            for row in self.listing(cloud, service, path, key) or []:
                row = row.get("keypair", row)
                if of_tests(kind, row, api.project_id):
                    self.remove(api, kind, service, path, row)
            if kind == "server":
                until("servers are gone", 60, lambda: not self.rows("server"))

    def remove(self, api, kind, service, path, row):
        if kind == "container":
            self.remove_container(api, row["name"])
            return
        path = path.replace("/detail", "") + "/" + (row.get("id") or row["name"])
        if kind == "router":
            ports = self.listing("real", "network", f"/v2.0/ports?device_id={row['id']}", "ports")
            for subnet in {ip["subnet_id"] for p in ports for ip in p["fixed_ips"]}:
                api.call(service, "PUT", path + "/remove_router_interface", {"subnet_id": subnet},
                         ok=False)
        if kind == "volume":
            until(f"volume {row['id']} is free", 60, lambda: self.free(api, path))
        api.call(service, "DELETE", path, ok=False)

    @staticmethod
    def free(api, path):
        status, _, answer = api.call("volumev3", "GET", path, ok=False)
        return status == 404 or answer["volume"]["status"] in ("available", "error")

    @staticmethod
    def remove_container(api, name):
        quoted = "/" + urllib.parse.quote(name)
        api.call("object-store", "POST", quoted, headers={"X-Versions-Enabled": "false"}, ok=False)
        for query in ("versions&format=json", "format=json"):
            while True:
                status, _, rows = api.call("object-store", "GET", f"{quoted}?{query}", ok=False)
                if status != 200 or not rows:
                    break
                for o in rows:
                    version = o.get("version_id")
                    api.call("object-store", "DELETE", f"{quoted}/{urllib.parse.quote(o['name'])}" + (
                        f"?version-id={version}" if version and version != "null" else ""), ok=False)
        api.call("object-store", "DELETE", quoted, ok=False)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


def real(t, hypervisor=True):
    t.pocket = Real(f"{t.dir}/cloud", hypervisor)
    with open(f"{t.dir}/passphrase", "w") as f:
        os.chmod(f.name, 0o600)
        f.write(PASSPHRASE)
    return t.pocket


def real_island(t, text=ISLAND):
    """The demo's island, for the real cloud, and its keys."""
    with open(f"{LAB}/net") as f:
        t.cidr = f"{'.'.join(f.read().split('.')[:2])}.{random.randint(0, 255)}.0/24"
    t.write("island.yaml", text.replace("10.77.0.0/24", t.cidr))
    t.atoll("init", "reef", "-f", "first.yaml", "--cloud", "real", "--recovery-file", "recovery")


def client_counts(t, lists):
    """Debian's client, in one run of it: how many rows of each of the lists bear the island's name."""
    script = "".join(f"{words} -f json\n" for words in lists)
    process = subprocess.run(["/usr/bin/openstack", "--os-cloud", "real"], input=script.encode(),
                             cwd=t.dir, env=t.env(PYTHONWARNINGS="ignore"), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=300)
    text, decoder = process.stdout.decode(), json.JSONDecoder()
    answers = [decoder.raw_decode(text[m.start():])[0]
               for m in re.finditer(r"^\[|(?<=\) )\[", text, re.M)]
    equal(len(answers), len(lists), f"answers of the client: {text} {process.stderr.decode()}")
    return {words: sum("reef-" in json.dumps(row) for row in rows)
            for words, rows in zip(lists, answers)}
