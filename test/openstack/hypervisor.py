"""The machines behind Nova's fake driver: hypervisor.py CLOUDS-FILE CLOUD PROJECT FOLDER POCKET.

Looks at the servers of one project as the cloud's administrator does. Each that is ACTIVE runs in a
folder of its own, from the user_data that Nova holds, under the same init as a server of the pocket
cloud (POCKET --server-init; src/pocket/server.h says what a boot gets). One that is stopped, deleted,
resized or rebuilt loses its power, and a rebuilt one its disk too. A volume is a folder by its id,
and outlives servers. TCP to a floating address goes to its server's address, on the ports which the
port's security groups open to everybody, as through a router.

    FOLDER/servers/ID/{root/,user_data,boot,console.log,lock}    FOLDER/volumes/ID/

Prints `hypervisor: ready` after the first look. Ends when its standard input ends.
"""
import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

CLOUDS, CLOUD, PROJECT, FOLDER, POCKET = sys.argv[1:6]
PAUSE = 1.0  # second between two looks: Neutron and Nova have others to serve
ANYBODY = (None, "0.0.0.0/0", "::/0")


def log(words):
    print(f"hypervisor: {words}", file=sys.stderr, flush=True)


class Admin:
    """The administrator's view of one project."""

    def __init__(self):
        with open(CLOUDS) as f:
            entry = re.search(rf"^  {CLOUD}:\n((?:    .*\n)+)", f.read(), re.M).group(1)
        self.settings = dict(re.findall(r"^ +(\w+): *(\S.*?) *$", entry, re.M))
        self.login()
        answer = self.get("identity", f"/projects?name={PROJECT}")
        self.project = answer["projects"][0]["id"]

    def login(self):
        s = self.settings
        domain = {"name": "Default"}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": s["username"], "password": s["password"], "domain": domain}}},
            "scope": {"project": {"name": s["project_name"], "domain": domain}}}}
        request = urllib.request.Request(s["auth_url"] + "/auth/tokens", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.token = answer.headers["X-Subject-Token"]
            catalog = json.load(answer)["token"]["catalog"]
        self.urls = {c["type"]: next(e["url"] for e in c["endpoints"] if e["interface"] == "public")
                     for c in catalog}

    def get(self, service, path):
        request = urllib.request.Request(self.urls[service] + path, headers={
            "X-Auth-Token": self.token, "OpenStack-API-Version": "compute 2.60"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def neutron(self, kind):
        return self.get("network", f"/v2.0/{kind}?project_id={self.project}")[kind.replace("-", "_")]

    def look(self):
        servers = self.get("compute", f"/servers/detail?all_tenants=1&project_id={self.project}")
        return servers["servers"], self.neutron("floatingips")

    def routes(self, floating):
        """(floating address, port) -> server's address, where everybody may connect."""
        if not any(f["port_id"] for f in floating):
            return {}
        ports = {p["id"]: p for p in self.neutron("ports")}
        found = {}
        for rule in self.neutron("security-group-rules"):
            if rule["direction"] != "ingress" or rule["protocol"] not in ("tcp", "6") or \
                    rule["remote_group_id"] or rule["remote_ip_prefix"] not in ANYBODY or \
                    rule["port_range_min"] is None or \
                    rule["port_range_min"] != rule["port_range_max"]:
                continue
            for f in floating:
                port = ports.get(f["port_id"], {"security_groups": []})
                if rule["security_group_id"] in port["security_groups"]:
                    found[f["floating_ip_address"], rule["port_range_min"]] = f["fixed_ip_address"]
        return found


class Machine:
    def __init__(self, server):
        self.id, self.name = server["id"], server["name"]
        self.dir = f"{FOLDER}/servers/{self.id}"
        self.init, self.volumes, self.mark = None, None, None

    def make(self, server):
        os.makedirs(f"{self.dir}/root/var/lib/cloud", 0o711)
        os.chmod(self.dir, 0o711)
        text = base64.b64decode(server.get("OS-EXT-SRV-ATTR:user_data") or "")
        self.keep(f"{self.dir}/user_data", text, 0o600)
        if text.startswith(b"#!"):
            self.keep(f"{self.dir}/root/var/lib/cloud/user-data", text, 0o700)

    @staticmethod
    def keep(path, text, mode):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as f:
            f.write(text)

    def plug(self, volumes):
        """Links as udev makes them; what is linked already stays."""
        folder = f"{self.dir}/root/dev/disk/by-id"
        os.makedirs(folder, exist_ok=True)
        wanted = {f"virtio-{v[:20]}": f"{FOLDER}/volumes/{v}" for v in volumes}
        for name in set(os.listdir(folder)) - set(wanted):
            os.unlink(f"{folder}/{name}")
        for name, target in wanted.items():
            os.makedirs(target, 0o711, exist_ok=True)
            if not os.path.lexists(f"{folder}/{name}"):
                os.symlink(target, f"{folder}/{name}")
        self.volumes = volumes

    def on(self, server):
        addresses = [a["addr"] for net in server["addresses"].values() for a in net
                     if a.get("OS-EXT-IPS:type") == "fixed"]
        root = f"{self.dir}/root"
        attached = ":".join(f"{v}={FOLDER}/volumes/{v}" for v in self.volumes)
        self.keep(f"{self.dir}/boot", (
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
            f"HOME={root}\nLANG=C.UTF-8\nATOLL_ROOT={root}\n"
            f"ATOLL_ADDRESS={addresses[0] if addresses else ''}\nATOLL_HOSTNAME={self.name}\n"
            f"ATOLL_VOLUMES={attached}\n").encode(), 0o600)
        with open(f"{self.dir}/console.log", "ab") as console:
            # Power is the pipe: when it ends, for whatever reason, the init takes all down.
            self.init = subprocess.Popen([POCKET, "--server-init", self.id], cwd=self.dir,
                                         stdin=subprocess.PIPE, stdout=console, stderr=console,
                                         env={"LANG": "C.UTF-8"}, start_new_session=True)
        log(f"{self.name} {self.id[:8]} is on, {addresses}")

    def off(self):
        if self.init:
            self.init.stdin.close()
            self.init.wait()
            self.init = None
            log(f"{self.name} {self.id[:8]} is off")

    def remove_disk(self):
        self.off()
        shutil.rmtree(self.dir, ignore_errors=True)

    def follow(self, server):
        """What Nova says about it now, against what it was."""
        image = (server["image"] or {}).get("id")
        mark = (image, server["flavor"].get("original_name"), server["OS-SRV-USG:launched_at"])
        if self.mark is None or self.mark[0] != image:
            self.remove_disk()
            self.make(server)
        elif self.mark != mark:
            self.off()
        self.mark = mark
        volumes = [v["id"] for v in server["os-extended-volumes:volumes_attached"]]
        if volumes != self.volumes or not self.init:
            self.plug(volumes)
        if server["status"] in ("ACTIVE", "VERIFY_RESIZE"):
            if not self.init:
                self.on(server)
        elif server["status"] in ("SHUTOFF", "ERROR", "SUSPENDED", "SHELVED"):
            self.off()


class Forwards:
    """A listener for each route."""

    def __init__(self):
        self.open = {}

    async def copy(self, reader, writer):
        try:
            while data := await reader.read(16384):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.close()

    async def connected(self, to, port, reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection(to, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.copy(reader, inner_writer), self.copy(inner_reader, writer))
        inner_writer.close()
        writer.close()

    async def set(self, routes):
        for route in [r for r in self.open if routes.get(r) != self.open[r][0]]:
            self.open.pop(route)[1].close()
        for (address, port), to in routes.items():
            if (address, port) in self.open:
                continue
            try:
                server = await asyncio.start_server(
                    lambda r, w, to=to, port=port: self.connected(to, port, r, w), address, port)
            except OSError as e:
                log(f"{address}:{port} is not forwarded: {e}")
                continue
            self.open[address, port] = (to, server)


async def run(admin):
    machines, forwards, ready = {}, Forwards(), False
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        try:
            servers, floating = await asyncio.to_thread(admin.look)
            routes = await asyncio.to_thread(admin.routes, floating)
        except urllib.error.HTTPError as e:
            # A volume or server that goes in the middle of a look; a token that has expired.
            log(f"looking: {e}")
            if e.code == 401:
                await asyncio.to_thread(admin.login)
            servers = None
        except OSError as e:
            log(f"looking: {e}")
            servers = None
        if servers is not None:
            for gone in set(machines) - {s["id"] for s in servers}:
                machines.pop(gone).remove_disk()
            for server in servers:
                if server["id"] not in machines and server["status"] != "ACTIVE":
                    continue
                machines.setdefault(server["id"], Machine(server)).follow(server)
            await forwards.set(routes)
            if not ready:
                print("hypervisor: ready", flush=True)
                ready = True
        await asyncio.wait([ended], timeout=PAUSE)
    for machine in machines.values():
        machine.off()


if __name__ == "__main__":
    os.makedirs(f"{FOLDER}/servers", 0o711, exist_ok=True)
    os.makedirs(f"{FOLDER}/volumes", 0o711, exist_ok=True)
    asyncio.run(run(Admin()))
    os._exit(0)  # the thread that reads standard input may still wait
