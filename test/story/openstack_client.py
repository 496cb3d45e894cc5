"""Debian's `openstack` drives pocket as an ordinary member of a project: what it does on a real cloud
works here, and what a real cloud refuses is refused."""
import os
import select
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

PASSWORD = "Member-0f-atoll"
END = b"END-OF-COMMAND"


class Shell:
    """`openstack` in its interactive mode: one start and one login for many commands."""

    def __init__(self, t, cloud, **more):
        errors = open(f"{t.dir}/{cloud}.errors", "ab")
        self.errors = open(errors.name, "rb")
        self.errors.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            ["/usr/bin/openstack"], cwd=t.dir, bufsize=0, env=t.env(
                OS_CLOUD=cloud, PYTHONUNBUFFERED="1", PYTHONWARNINGS="ignore", **more),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            preexec_fn=die_with_parent)
        errors.close()
        t.processes.append(self.process)

    def run(self, line, seconds=60):
        """(what it printed, what it complained about)"""
        self.process.stdin.write(f"{line}\nshell echo {END.decode()}\n".encode())
        out, end = b"", time.monotonic() + seconds
        while not out.endswith(END + b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            part = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not part:
                raise Failed(f"`openstack {line}` gave no answer: {out.decode()} {self.complaints()}")
            out += part
        return out[:-len(END) - 1].decode(), self.complaints()

    def complaints(self):
        return self.errors.read().decode()

    def ok(self, line):
        out, err = self.run(line)
        check(not err, f"`openstack {line}` failed: {err}")
        return out

    def json(self, line):
        out = self.ok(f"{line} -f json")
        try:
            return json.loads(out)
        except ValueError:
            raise Failed(f"`openstack {line}` printed no JSON: {out!r}")

    def refused(self, line, words):
        _, err = self.run(line)
        check(words in err, f"`openstack {line}`: wanted a refusal with {words!r}, got {err!r}")

    def settles(self, line, field, value):
        """Waits for a state, as `--wait` does with five seconds a turn."""
        until(f"`openstack {line}`: {field} is {value}", 30,
              lambda: self.json(f"{line} -c {field}")[field] == value)


def add_cloud(t, name, entry):
    """A further login in the test's clouds.yaml (JSON is YAML)."""
    with open(t.pocket.clouds, "a") as f:
        f.write(f"  {name}: {json.dumps(entry)}\n")


def make_user(t, admin, name, project, role="member"):
    """What the administrator of a cloud does for a customer; the user's id."""
    user = admin.json(f"user create --domain default --password {PASSWORD} {name}")
    admin.ok(f"role add --user {name} --project {project} {role}")
    settings = Api(t.pocket, "pocket-admin").settings
    add_cloud(t, name, {
        "region_name": settings["region_name"], "identity_api_version": 3, "auth": {
            "auth_url": settings["auth_url"], "username": name, "password": PASSWORD,
            "project_name": project, "user_domain_name": "Default",
            "project_domain_name": "Default"}})
    return user["id"]


def start(t, *options):
    """The administrator's shell, and the id of a project with a member in it."""
    t.start_pocket(*options)
    admin = Shell(t, "pocket-admin")
    project = admin.json("project create --domain default atoll")
    make_user(t, admin, "member", "atoll")
    return admin, project["id"]


def walk_network(sh):
    sh.json("network create smoke")
    equal(sh.json("subnet create --network smoke --subnet-range 10.9.0.0/24 smoke")["cidr"],
          "10.9.0.0/24", "subnet")
    equal([s["Subnet"] for s in sh.json("subnet list") if s["Name"] == "smoke"], ["10.9.0.0/24"],
          "subnets of that name")
    sh.json("router create smoke")
    sh.ok("router set --external-gateway public smoke")
    sh.ok("router add subnet smoke smoke")
    router = sh.json("router show smoke")
    check(router["external_gateway_info"]["external_fixed_ips"], f"no gateway: {router}")
    equal([i["ip_address"] for i in router["interfaces_info"]], ["10.9.0.1"], "router's interfaces")
    group = sh.json("security group create smoke")
    equal([r["direction"] for r in group["rules"]], ["egress", "egress"], "a new group's rules")
    rule = sh.json("security group rule create --proto tcp --dst-port 443 smoke")
    equal([r["Port Range"] for r in sh.json("security group rule list smoke") if r["ID"] == rule["id"]],
          ["443:443"], "the rule in the list")
    sh.refused("security group rule create --proto tcp --dst-port 443 smoke", "409")
    port = sh.json("port create --network smoke --security-group smoke smoke")
    equal((port["status"], port["security_group_ids"]), ("DOWN", [group["id"]]), "port")
    floating = sh.json("floating ip create public")
    equal(floating["status"], "DOWN", "an address without a port")
    sh.ok("network set --tag a --tag b smoke")
    equal([n["Name"] for n in sh.json("network list --tags a,b")], ["smoke"], "networks by tag")
    sh.ok("network set --description words smoke")
    equal(sh.json("network show smoke -c description")["description"], "words", "description")
    return floating["floating_ip_address"]


def walk_volume(sh):
    equal(sh.json("volume create --size 2 smoke -c status")["status"], "creating", "a new volume")
    sh.settles("volume show smoke", "status", "available")
    sh.ok("volume set --name other --description words --property a=b smoke")
    volume = sh.json("volume show other")
    equal((volume["description"], volume["properties"]), ("words", {"a": "b"}), "a changed volume")
    sh.ok("volume set --name smoke other")
    sh.ok("volume set --size 3 smoke")
    sh.settles("volume show smoke", "status", "available")
    equal([(v["Name"], v["Size"]) for v in sh.json("volume list")], [("smoke", 3)], "volumes")
    check("__DEFAULT__" in [v["Name"] for v in sh.json("volume type list")], "no default type")


def make_server(t, sh):
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + os.urandom(32)
    key = t.write("key.pub", f"ssh-ed25519 {base64.b64encode(blob).decode()} tester\n")
    equal(sh.json(f"keypair create --public-key {key} smoke")["name"], "smoke", "keypair")
    equal([k["Name"] for k in sh.json("keypair list")], ["smoke"], "keypairs")
    with open(key) as f:
        equal(sh.ok("keypair show --public-key smoke").split(), f.read().split(), "public key")
    group = sh.json("server group create --policy anti-affinity smoke")["id"]
    equal(sh.json("image show debian-12 -c status")["status"], "active", "image")
    equal(sh.json("flavor show c1.c1r1 -c ram")["ram"], 1024, "flavor")
    t.write("user-data", "#!/bin/sh\necho the user data ran\n")
    server = sh.json(f"server create --flavor c1.c1r1 --image debian-12 --nic port-id=smoke"
                     f" --key-name smoke --user-data {t.dir}/user-data --property role=web"
                     f" --hint group={group} smoke")
    equal(server["status"], "BUILD", "a new server")
    sh.settles("server show smoke", "status", "ACTIVE")
    equal(sh.json("server group show smoke")["members"], [server["id"]], "members of the group")
    until("the console tells what the user data printed", 30,
          lambda: "the user data ran" in sh.ok("console log show smoke"))
    return server["id"]


def walk_server(t, sh, address):
    server = make_server(t, sh)
    shown = sh.json("server show smoke")
    equal((shown["addresses"], shown["key_name"], shown["properties"], shown["security_groups"]),
          ({"smoke": ["10.9.0.2"]}, "smoke", {"role": "web"}, [{"name": "smoke"}]), "server")
    port = sh.json("port show smoke")
    equal((port["status"], port["device_id"], port["device_owner"]), ("ACTIVE", server, "compute:nova"),
          "the server's port")
    sh.ok(f"server add floating ip smoke {address}")
    floating = sh.json(f"floating ip show {address}")
    equal((floating["status"], floating["fixed_ip_address"]), ("ACTIVE", "10.9.0.2"), "floating IP")
    sh.ok("server add volume smoke smoke")
    sh.settles("volume show smoke", "status", "in-use")
    equal(len(sh.json("server volume list smoke")), 1, "volumes of the server")
    sh.ok("server set --property more=1 smoke")
    sh.ok("server unset --property role smoke")
    equal(sh.json("server show smoke -c properties")["properties"], {"more": "1"}, "properties")
    newer = Shell(t, "member", OS_COMPUTE_API_VERSION="2.79")
    newer.ok("server set --tag web smoke")
    equal(newer.json("server show smoke -c tags")["tags"], ["web"], "tags")
    for verb, status in (("stop", "SHUTOFF"), ("start", "ACTIVE"), ("reboot", "ACTIVE")):
        sh.ok(f"server {verb} smoke")
        sh.settles("server show smoke", "status", status)


def refuse_what_is_in_use(sh):
    for line, words in (("network delete smoke", "409"), ("subnet delete smoke", "409"),
                        ("router delete smoke", "409"), ("security group delete smoke", "409"),
                        ("volume delete smoke", "400")):
        sh.refused(line, words)


def take_down(sh, address):
    sh.ok("server remove volume smoke smoke")
    sh.settles("volume show smoke", "status", "available")
    sh.ok("server delete smoke")
    until("the server is gone", 30, lambda: not sh.json("server list"))
    sh.ok("volume delete smoke")
    until("the volume is gone", 30, lambda: not sh.json("volume list"))
    # A port made before the server outlives it.
    equal(sh.json("port show smoke -c status -c device_id"), {"device_id": "", "status": "DOWN"}, "port")
    for line in (f"floating ip delete {address}", "port delete smoke", "router remove subnet smoke smoke",
                 "router delete smoke", "network delete smoke", "security group delete smoke",
                 "keypair delete smoke", "server group delete smoke"):
        sh.ok(line)
    for kind in ("server", "volume", "port", "router", "floating ip", "keypair", "server group"):
        equal(sh.json(f"{kind} list"), [], f"{kind}s left")
    equal([n["Name"] for n in sh.json("network list")], ["public"], "networks left")
    equal([g["Name"] for g in sh.json("security group list")], ["default"], "groups left")


def test_walk_as_a_member(t):
    _, project = start(t)
    sh = Shell(t, "member")
    equal(sh.json("token issue")["project_id"], project, "the token's project")
    equal({c["Type"] for c in sh.json("catalog list")},
          {"identity", "compute", "network", "volumev3", "image", "object-store"}, "catalogue")
    address = walk_network(sh)
    walk_volume(sh)
    walk_server(t, sh, address)
    refuse_what_is_in_use(sh)
    take_down(sh, address)
    for line in ("quota show", "limits show --absolute", "extension list --network", "versions show"):
        check(sh.json(line), f"`openstack {line}` printed nothing")
    equal(sh.json("availability zone list --compute")[0]["Zone Name"], "nova", "zones")
    t.pocket.stop()
    equal(t.pocket.process.returncode, 0, "pocket's exit status at the end")


def test_what_a_real_cloud_refuses(t):
    _, project = start(t, "--no-servers")
    sh = Shell(t, "member")
    sh.json("network create net")
    sh.json("subnet create --network net --subnet-range 10.9.0.0/24 net")
    refusals = (
        ("network create --external x", "403"), ("network create --share x", "403"),
        ("network show nothing", "No Network found"), ("network delete public", "403"),
        ("subnet create --network net --subnet-range 10.9.0.0/25 x", "400"),
        ("subnet create --network net --subnet-range 10.9.0.999/25 x", "400"),
        ("port create --network net --fixed-ip ip-address=10.10.0.1 x", "400"),
        ("volume create --size 100000 x", "413"), ("volume create --size 1 --type nothing x", "404"),
        ("server create --flavor nothing --image debian-12 --network net x", "No flavor"),
        ("server create --flavor c1.c1r1 --image nothing --network net x", "No Image found"),
        ("server create --flavor c1.c1r1 --image debian-12 --network net --key-name nothing x", "400"),
        ("server show nothing", "No server"),
        ("keypair show nothing", "nothing"), ("keypair delete nothing", "nothing"),
        ("quota set --instances 1000 atoll", "40"), ("hypervisor list", "40"),
        ("flavor create --ram 1 --disk 1 --vcpus 1 x", "40"),
        ("user list", "403"), ("user create x", "403"), ("project create x", "403"),
        ("role create x", "403"), ("role assignment list", "403"), ("user show admin", "403"),
        (f"role add --user member --project {project} admin", "40"),
        ("container show nothing", "404"))
    for line, words in refusals:
        sh.refused(line, words)


def test_quotas(t):
    admin, _ = start(t, "--no-servers")
    sh = Shell(t, "member")
    sh.json("network create net")
    sh.json("subnet create --network net --subnet-range 10.9.0.0/24 net")
    admin.ok("quota set --networks 1 --volumes 1 --instances 0 atoll")
    quota = sh.json("quota show")
    equal((quota["networks"], quota["volumes"], quota["instances"]), (1, 1, 0), "quotas")
    sh.refused("network create second", "Quota exceeded")
    sh.json("volume create --size 1 first")
    sh.refused("volume create --size 1 second", "413")
    sh.refused("server create --flavor c1.c1r1 --image debian-12 --network net x", "403")


def test_readers_and_strangers(t):
    admin, _ = start(t, "--no-servers")
    sh = Shell(t, "member")
    network = sh.json("network create net")["id"]
    volume = sh.json("volume create --size 1 first")["id"]
    make_user(t, admin, "reader", "atoll", "reader")
    reader = Shell(t, "reader")
    equal([n["Name"] for n in reader.json("network list --internal")], ["net"], "a reader's networks")
    for line in ("network create x", "network delete net", "volume create --size 1 x",
                 "keypair create x", "container create x"):
        reader.refused(line, "403")
    admin.json("project create --domain default elsewhere")
    make_user(t, admin, "stranger", "elsewhere")
    stranger = Shell(t, "stranger")
    equal(stranger.json("network list --internal"), [], "a stranger's networks")
    equal(stranger.json("volume list"), [], "a stranger's volumes")
    stranger.refused(f"network delete {network}", "No Network found")
    stranger.refused(f"volume show {volume}", "No volume")


def test_application_credentials(t):
    _, project = start(t, "--no-servers")
    sh = Shell(t, "member")
    secret = sh.json("application credential create robot")
    equal((secret["project_id"], secret["roles"].split()[0], secret["unrestricted"]),
          (project, "member", False), "application credential")
    equal([c["Name"] for c in sh.json("application credential list")], ["robot"], "credentials")
    sh.refused("application credential create robot", "409")
    sh.refused("application credential create --role admin second", "40")
    settings = Api(t.pocket, "pocket-admin").settings
    add_cloud(t, "robot", {
        "auth_type": "v3applicationcredential", "region_name": settings["region_name"],
        "identity_api_version": 3, "auth": {
            "auth_url": settings["auth_url"], "application_credential_id": secret["id"],
            "application_credential_secret": secret["secret"]}})
    robot = Shell(t, "robot")
    equal(robot.json("token issue")["project_id"], project, "the credential's project")
    robot.json("network create by-the-robot")
    # It may not make others of its kind, nor remove itself.
    robot.refused("application credential create third", "403")
    robot.refused("application credential delete robot", "403")
    sh.ok("application credential delete robot")
    Shell(t, "robot").refused("token issue", "40")
    equal(sh.json("application credential list"), [], "credentials left")


def test_life_of_a_user(t):
    admin, project = start(t, "--no-servers")
    user = make_user(t, admin, "guest", "atoll", "reader")
    roles = admin.json(f"role assignment list --names --project {project}")
    equal(sorted((r["Role"], r["User"]) for r in roles),
          [("member", "member@Default"), ("reader", "guest@Default")], "roles on the project")
    guest = Shell(t, "guest")
    guest.refused("network create x", "403")
    admin.ok("role add --user guest --project atoll member")
    admin.ok("role remove --user guest --project atoll reader")
    Shell(t, "guest").json("network create by-the-guest")
    admin.ok(f"user set --password another {user}")
    Shell(t, "guest").refused("token issue", "401")
    sh = Shell(t, "member")
    sh.json("network list")
    admin.ok("user set --disable member")
    sh.refused("network list", "401")
    admin.ok("user set --enable member")
    Shell(t, "member").json("token issue")
    admin.ok("user delete guest")
    admin.refused("user show guest", "No user")
    admin.refused("user create --domain default member", "409")
    admin.ok("project delete atoll")
    Shell(t, "member").refused("token issue", "401")


main()
