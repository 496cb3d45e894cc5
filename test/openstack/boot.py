"""A server that Nova really boots: a container of libvirt's with systemd as PID 1 and a network of its
own, from an image in Glance, with its volume of Cinder's. cloud-init has nothing but the address by
DHCP and user_data from Nova's metadata service at 169.254.169.254. Then a reboot through Nova's API.

The host for it is test/openstack/containers'. The network's bridge is Nova's; what Neutron's agents
would do on it is done here: an address of this machine, dnsmasq, and the way to the metadata service
and to Keystone and Swift, which in region `lab-boot` are at LAB_NET.0.1 (127.0.0.1 would be the server
itself). The image is the root folder of test/lib/machine.py. Skipped, with the reason, where it can't
be.
"""
import contextlib
import ipaddress

from real import *

import machine

IMAGE, REGION = "debian-12-lxc", "lab-boot"
ISLAND = f"""\
island: reef
domain: reef.example
cloud: real
release: {{canary: true}}
image: {IMAGE}
network: {{external: public, cidr: 10.77.0.0/24}}
edge: {{http: 8080}}
servers:
  web: {{flavor: c1.c2r2, roles: [edge, web, worker, postgres, redis], volume: {{size: 2GB}}}}
media: {{container: user-uploads, cloud: real-media, isolation: project}}
"""
PROGRAMS = ("libvirtd", "dnsmasq", "genisoimage", "nft", "losetup", "mkfs.ext4", "nsenter", "sysctl")
IMAGE_MB = 1200
LAB_ENV = {"LAB": LAB, **{k: v for k, v in os.environ.items() if k in ("LAB_PORT", "LAB_NET")}}
# A cloud's image, beside what every machine of the tests has. $1: its files, $2: the image.
MAKE_IMAGE = r"""set -e
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
rm -rf usr/share/doc usr/share/man usr/share/locale var/lib/apt/lists var/cache/apt/*.bin
rm -f etc/apt/sources.list etc/apt/apt.conf.d/01host # all that is installed is here
: >etc/resolv.conf # no nameserver: an answer at once, and not in 30 seconds
sed -i 's/^datasource_list:.*/datasource_list: [OpenStack, None]/' etc/cloud/cloud.cfg.d/99-machine.cfg
printf '[Match]\nName=eth*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n' >etc/systemd/network/eth.network
systemctl --root=. --quiet enable systemd-networkd
truncate -s "$3M" "$2/image"
mkfs.ext4 -q -F -d . "$2/image"
"""


def say(t, words):
    print(f"# {time.monotonic() - t.started:5.1f} s: {words}", flush=True)


def why_not():
    missing = [p for p in PROGRAMS if not shutil.which(p, path=PATH)]
    if missing:
        return f"not installed: {', '.join(missing)} (scripts/deps openstack)"
    return machine.why_not()


def sh(*argv, ok=True, timeout=120):
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=timeout,
                          stdin=subprocess.DEVNULL, env=dict(LAB_ENV, PATH=PATH, LANG="C.UTF-8"))
    check(not ok or done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def lab_settings():
    """(port, first two bytes of the net, table of nftables): as lab.sh has them."""
    return sh("bash", "-c", f". {SOURCE}/test/openstack/lab.sh; "
              "echo $LAB_PORT $LAB_NET $LAB_TABLE").split()


class Region:
    """The services once more, in a region whose object store and Keystone have an address that servers
    reach, and a clouds.yaml with the logins for it. It ends with the test: others would find both."""

    def __init__(self, cloud, net):
        self.admin = Api(cloud, "real-admin")
        self.admin.call("identity", "POST", "/regions", {"region": {"id": REGION}}, ok=False)
        for row in self.rows():
            if row["region_id"] != REGION and row["interface"] == "public":
                reached = row["url"]
                if "AUTH_" in reached or reached.endswith("/v3"):
                    reached = reached.replace("127.0.0.1", f"{net}.0.1")
                self.admin.call("identity", "POST", "/endpoints", {"endpoint": {
                    "service_id": row["service_id"], "interface": "public", "region_id": REGION,
                    "url": reached}})
        with open(cloud.clouds) as f:
            text = re.sub("region_name: .*", f"region_name: {REGION}", f.read())
        cloud.clouds = f"{os.path.dirname(cloud.dir)}/clouds.yaml"
        with open(os.open(cloud.clouds, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(text.replace("auth_url: http://127.0.0.1", f"auth_url: http://{net}.0.1"))

    def rows(self):
        return self.admin.call("identity", "GET", "/endpoints")[2]["endpoints"]

    def end(self):
        for row in self.rows():
            if row["region_id"] == REGION:
                self.admin.call("identity", "DELETE", f"/endpoints/{row['id']}", ok=False)
        self.admin.call("identity", "DELETE", f"/regions/{REGION}", ok=False)


def upload_image(admin):
    _, _, answer = admin.call("image", "GET", f"/v2/images?name={IMAGE}&status=active")
    if answer["images"]:
        return
    os.makedirs(machine.CACHE, mode=0o700, exist_ok=True)
    with machine.lock(f"{machine.CACHE}/lock", machine.fcntl.LOCK_EX):
        root = machine.find_root()
        kept = machine.lock(root + ".lock", machine.fcntl.LOCK_SH)
    # Beside Glance's own: one file system of the lab.
    with kept, tempfile.TemporaryDirectory(dir=f"{LAB}/nova") as work:
        sh("unshare", "--mount", "--propagation", "private", "sh", "-c", MAKE_IMAGE, "image", root, work,
           str(IMAGE_MB))
        _, _, image = admin.call("image", "POST", "/v2/images", {
            "name": IMAGE, "disk_format": "raw", "container_format": "bare", "visibility": "public",
            "img_hv_type": "lxc", "hw_vm_mode": "exe"})
        with open(f"{work}/image", "rb") as f:
            admin.call("image", "PUT", f"/v2/images/{image['id']}/file", f, {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(os.path.getsize(f.name))})


class Wire:
    """What Neutron's agents do for a host: the way to the metadata service and to the cloud; on a
    network's bridge the router's address, which is this machine, and DHCP."""

    def __init__(self, test):
        self.port, self.net, self.table = lab_settings()
        self.port, self.bridge, self.dnsmasq = int(self.port), None, None
        test.processes.append(self)
        to_here = (f"ip daddr {self.net}.0.1 tcp dport {{ {self.port}, {self.port + 1} }} "
                   "dnat to 127.0.0.1")
        self.nft(f"table ip {self.table}\ndelete table ip {self.table}\ntable ip {self.table} {{\n"
                 "chain arriving {\ntype nat hook prerouting priority -100\n"
                 f'iifname "brq*" ip daddr 169.254.169.254 tcp dport 80 '
                 f"dnat to {self.net}.0.1:{self.port + 4}\n"
                 f'iifname "brq*" {to_here}\n}}\n'
                 f"chain own {{\ntype nat hook output priority -100\n{to_here}\n}}\n}}\n")

    def plug(self, port, subnet):
        address, network = port["fixed_ips"][0]["ip_address"], ipaddress.ip_network(subnet["cidr"])
        self.bridge = f"brq{port['network_id']}"[:14]
        os.makedirs(f"{LAB}/bridges", exist_ok=True)
        open(f"{LAB}/bridges/{self.bridge}", "w").close()  # for `down`
        sh("ip", "link", "add", self.bridge, "type", "bridge", ok=False)  # Nova may have been faster
        sh("ip", "address", "replace", f"{subnet['gateway_ip']}/{network.prefixlen}", "dev", self.bridge)
        sh("ip", "link", "set", self.bridge, "up")
        # `up` has made all addresses of the net this machine's own; this one is not.
        sh("ip", "route", "replace", f"{address}/32", "dev", self.bridge, "table", "local")
        sh("sysctl", "-q", "-w", f"net.ipv4.conf.{self.bridge}.route_localnet=1")
        self.dnsmasq = subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--interface={self.bridge}",
             "--except-interface=lo", "--bind-interfaces", "--port=0", "--user=root", "--leasefile-ro",
             "--dhcp-authoritative", f"--dhcp-option=option:router,{subnet['gateway_ip']}",
             f"--dhcp-range={network.network_address},static,{network.netmask}",
             f"--dhcp-host={port['mac_address']},{address}", "--log-facility=-", "--pid-file="],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": PATH})
        # It takes on a user of its own, and so would outlive us (prctl(2), PR_SET_PDEATHSIG): `down`
        # ends it.
        with open(f"/proc/{self.dnsmasq.pid}/stat") as f:
            started = f.read().rsplit(") ", 1)[1].split()[19]
        with open(f"{LAB}/run/dnsmasq.pid", "w") as f:
            f.write(f"{self.dnsmasq.pid} {started}\n")

    @staticmethod
    def nft(text):
        done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True,
                              env={"PATH": PATH})
        check(done.returncode == 0, f"nft: {done.stderr}")

    # What the harness ends: as a Popen.
    def poll(self):
        return None

    def terminate(self):
        if self.dnsmasq:
            self.dnsmasq.terminate()
            self.dnsmasq.wait()
            os.unlink(f"{LAB}/run/dnsmasq.pid")
        sh("nft", "delete", "table", "ip", self.table, ok=False)
        if self.bridge:
            sh("ip", "link", "delete", self.bridge, ok=False)

    def wait(self, timeout=None):
        return 0


class Guest:
    """Inside the server, as its root: through its first process, the child of libvirt's."""

    def __init__(self, admin, name):
        _, _, answer = admin.call("compute", "GET", f"/servers/detail?all_tenants=1&name={name}",
                                  headers=MICROVERSIONS["compute"])
        (self.row,) = answer["servers"]
        self.domain = self.row["OS-EXT-SRV-ATTR:instance_name"]
        equal(self.row["OS-EXT-SRV-ATTR:host"], "lxc1", "Nova's host")
        with open(f"{LAB}/run/libvirtd.pid") as f:
            self.namespace = os.readlink(f"/proc/{f.read().split()[0]}/ns/pid_for_children")

    def leader(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read()
                if b"libvirt_lxc\0" in words and self.domain.encode() in words and \
                        os.readlink(f"/proc/{pid}/ns/pid") == self.namespace:
                    with open(f"/proc/{pid}/task/{pid}/children") as f:
                        return f.read().split()[0]
            except (OSError, IndexError):
                pass
        return None

    def run(self, *argv, ok=True):
        pid = self.leader()
        check(pid or not ok, "the container does not run")
        try:
            return sh("nsenter", "--target", pid, "--all", "--root", "--wd", *argv, ok=ok,
                      timeout=30) if pid else ""
        except subprocess.TimeoutExpired:
            check(not ok, f"{argv} did not end in 30 s")
            return f"{argv} did not end in 30 s"

    def evidence(self):
        return "\n".join([self.run("systemctl", "--failed", "--no-pager", ok=False),
                          self.run("tail", "-n", "8", "/var/log/cloud-init-output.log", ok=False),
                          self.run("journalctl", "--no-pager", "-n", "60", ok=False)])


def ready(address, seconds):
    """/ready through nginx; a Job of Sidekiq has written to PostgreSQL and to Swift by then."""
    def ask():
        try:
            status, _, got = request("GET", f"http://{address}:8080/ready")
        except OSError:
            return None
        return got if status == 200 and isinstance(got, dict) and got.get("ready") else None
    return until(f"/ready of {address}", seconds, ask)


class Containers:
    """Nova's host for them, which takes servers for as long as the test runs: an image without
    properties would be started there too."""

    def __init__(self, admin):
        self.admin = admin
        sh("bash", f"{SOURCE}/test/openstack/containers")
        row = until("Nova has the host lxc1", 60, self.up)
        self.id = row["id"]
        sh("bash", "-c", f". {SOURCE}/test/openstack/lab.sh; exec nova-manage --config-file "
           f"{LAB}/nova/nova.conf cell_v2 discover_hosts")
        # An earlier run's. (Of one that is just coming up Nova's answer takes more than a minute.)
        if row["status"] == "disabled":
            self.set("enabled")

    def up(self):
        rows = self.admin.call("compute", "GET", "/os-services?host=lxc1",
                               headers=MICROVERSIONS["compute"])[2]["services"]
        return next((s for s in rows if s["state"] == "up"), None)

    def set(self, status):
        self.admin.call("compute", "PUT", f"/os-services/{self.id}", {"status": status},
                        MICROVERSIONS["compute"])

    def end(self):
        self.set("disabled")


def agent(guest):
    """Another one with each start of the agent (systemd.exec(5))."""
    return guest.run("systemctl", "show", "-P", "InvocationID", "atoll-host").strip()


IDENTITY = ("runuser", "-u", "postgres", "--", "psql", "-h", "/run/atoll-postgres", "-Atc",
            "select system_identifier from pg_control_system()")


@contextlib.contextmanager
def with_evidence(guest):
    try:
        yield
    except Failed as e:
        raise Failed(f"{e}\n{guest.evidence()}") from None


def apply_island(t, cloud, wire, admin):
    apply = t.spawn(f"{BUILD}/atoll", "apply", "-y", "--package", f"{BUILD}/atoll.deb")
    t.processes.append(apply)

    def port():
        if apply.poll() is not None:
            raise Failed(f"apply ended too early: {apply.communicate()}")
        return next((b for _, n, b in cloud.rows("port") if n == "reef-port-web-0"), None)
    port = until("apply makes the port", 60, port)
    _, _, subnet = cloud.api("real").call(
        "network", "GET", f"/v2.0/subnets/{port['fixed_ips'][0]['subnet_id']}")
    wire.plug(port, subnet["subnet"])
    say(t, "the network is there")
    try:
        out, err = apply.communicate(timeout=300)
        words = f"apply's exit\n{out.decode()}\n{err.decode()}"
    except subprocess.TimeoutExpired:
        words = "apply did not end in 300 s"
    if apply.returncode != 0:
        with with_evidence(Guest(admin, "reef-web-0")):
            raise Failed(words)
    say(t, "apply has ended")
    return port["fixed_ips"][0]["ip_address"]


def check_boot(guest):
    """It came from Nova's metadata, cloud-init has run it, and the volume is Cinder's."""
    result = json.loads(guest.run("cat", "/run/cloud-init/result.json"))["v1"]
    check("OpenStack" in result["datasource"] and not result["errors"], f"cloud-init: {result}")
    text = base64.b64decode(guest.row["OS-EXT-SRV-ATTR:user_data"]).decode()
    check(guest.run("cat", "/var/lib/cloud/instance/user-data.txt") == text,
          "what cloud-init has is not the user_data that Nova keeps")
    equal(guest.run("dpkg-query", "-W", "-f", "${Status}", "atoll"), "install ok installed", "package")
    (volume,) = (v["id"] for v in guest.row["os-extended-volumes:volumes_attached"])
    equal(guest.run("findmnt", "-n", "-o", "SOURCE,FSTYPE", "/srv/atoll").split(),
          [f"/dev/disk/by-id/virtio-{volume[:20]}", "ext4"], "the volume")


def check_metadata(guest):
    """The metadata address answers root and nobody else."""
    ask = ("curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}",
           "http://169.254.169.254/openstack/latest/user_data")
    equal(guest.run(*ask), "200", "root asks for user_data")
    for user in ("mastodon", "postgres", "www-data"):
        equal(guest.run("runuser", "-u", user, "--", *ask, ok=False), "000", f"{user} asks")


def lives_and_reboots(t, cloud, guest, address):
    ready(address, 60)
    say(t, "/ready")
    check_boot(guest)
    check_metadata(guest)
    plan = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in plan.out, plan)
    first, start, database = guest.leader(), agent(guest), guest.run(*IDENTITY)
    cloud.api("real").call("compute", "POST", f"/servers/{guest.row['id']}/action",
                           {"reboot": {"type": "SOFT"}})
    # From outside: what is entered while it ends or begins may never answer.
    until("the container was started anew", 120, lambda: guest.leader() not in (None, first))
    say(t, "rebooted")
    ready(address, 120)
    check(agent(guest) not in ("", start), "the agent was not started by the reboot")
    equal(guest.run(*IDENTITY), database, "the database after the reboot")
    log = guest.run("journalctl", "--no-pager", "--output", "cat", "--unit", "atoll-postgres")
    check(log.count("database system was shut down at") > 1 and "not properly" not in log,
          f"it was not shut down in order: {log}")
    check_metadata(guest)
    say(t, "/ready after the reboot")


def test_a_server_that_nova_boots(t):
    reason = why_not()
    if reason:
        print(f"# no server is booted: {reason}", flush=True)
        raise Skipped(reason)
    t.started = time.monotonic()
    cloud = real(t, hypervisor=False)
    admin, wire = cloud.api("real-admin"), Wire(t)
    with contextlib.ExitStack() as ends:
        ends.callback(Containers(admin).end)
        say(t, "the host is up")
        upload_image(admin)
        say(t, "the image is in Glance")
        ends.callback(Region(cloud, wire.net).end)
        real_island(t, ISLAND)
        address = apply_island(t, cloud, wire, admin)
        guest = Guest(admin, "reef-web-0")
        with with_evidence(guest):
            lives_and_reboots(t, cloud, guest, address)
        t.atoll("destroy", "--data", "--confirm", "reef")
        equal([(k, n) for k, n, _ in cloud.rows()], [], "destroy --data left")
        say(t, "destroyed")


main()
