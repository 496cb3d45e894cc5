"""What a cloud's administrator and its customers would make: seed.py identity|things LAB PORT REGION [heat].

`identity`: the services' users and the catalogue; project atoll with the member atoll, who owns
nothing else; atoll-media and atoll-backup with owners of their own, who may also manage users; and
LAB/clouds.yaml with the logins real, real-media, real-backup and real-admin. `things`: what pocket
has too, by the same names: flavors, an image, an external network, volume types. Idempotent.
"""
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request

STEP, LAB, PORT, REGION = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
HOST = "http://127.0.0.1"
KEYSTONE = f"{HOST}:{PORT}/v3"
# name, type, port behind the first, path
SERVICES = [("swift", "object-store", 1, "/v1/AUTH_%(project_id)s"), ("glance", "image", 2, ""),
            ("placement", "placement", 3, ""), ("nova", "compute", 4, "/v2.1"),
            ("neutron", "network", 5, ""), ("cinder", "volumev3", 6, "/v3/%(project_id)s")]
HEAT = "heat" in sys.argv[5:]
if HEAT:
    SERVICES.append(("heat", "orchestration", 15, "/v1/%(project_id)s"))
# project and user, roles
CUSTOMERS = [("atoll", ["member"]), ("atoll-media", ["member", "manager"]),
             ("atoll-backup", ["member", "manager"])]
# name, cores, memory, disk, id: pocket's, for Nova lists them in the order of their ids
FLAVORS = [("m1.tiny", 1, 512, 1, "1"), ("m1.small", 1, 2048, 20, "2"), ("m1.medium", 2, 4096, 40, "3"),
           ("c1.c1r1", 1, 1024, 10, "28153197-6690-4485-9dbc-fc24489b0683"),
           ("c1.c1r2", 1, 2048, 10, "6371ec4a-47d1-4159-a42f-83b84b80eea7"),
           ("c1.c2r2", 2, 2048, 10, "45060aa3-3400-4da0-bd9d-9559e172f678"),
           ("c1.c4r8", 4, 8192, 10, "88597cff-9503-492c-b005-811056f26bd6")]
IMAGES = ["debian-12", "debian-13"]
VOLUME_TYPES = ["file", "b1.sr-r3-nvme-1000"]
TOKEN = None


def call(method, url, body=None, allowed=(), data=None):
    headers = {"Content-Type": "application/json" if data is None else "application/octet-stream"}
    if TOKEN:
        headers["X-Auth-Token"] = TOKEN
    if body is not None:
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method),
                                    timeout=120) as answer:
            text = answer.read()
            return answer.headers, json.loads(text) if text else None
    except urllib.error.HTTPError as e:
        if e.code in allowed:
            return e.headers, None
        sys.exit(f"{method} {url}: {e.code} {e.read().decode(errors='replace')[:500]}")


def login(password):
    global TOKEN
    user = {"name": "admin", "domain": {"id": "default"}, "password": password}
    headers, _ = call("POST", f"{KEYSTONE}/auth/tokens", {"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}})
    TOKEN = headers["X-Subject-Token"]


def made(kind, name, query="", **more):
    """The id of the user, project, role or service of that name, made if it is not there."""
    _, answer = call("GET", f"{KEYSTONE}/{kind}s?name={name}{query}")
    if answer[kind + "s"]:
        return answer[kind + "s"][0]["id"]
    _, answer = call("POST", f"{KEYSTONE}/{kind}s", {kind: dict(more, name=name)})
    return answer[kind]["id"]


def grant(project, user, *roles):
    for role in roles:
        call("PUT", f"{KEYSTONE}/projects/{project}/users/{user}/roles/{made('role', role)}")


def endpoints(name, kind, url):
    service = made("service", name, type=kind)
    _, there = call("GET", f"{KEYSTONE}/endpoints?service_id={service}")
    for interface in {"public", "internal", "admin"} - {e["interface"] for e in there["endpoints"]}:
        call("POST", f"{KEYSTONE}/endpoints", {"endpoint": {
            "service_id": service, "interface": interface, "region_id": REGION, "url": url}})


def stacks_domain(password):
    """Where Heat makes users of its own; it makes no stack without."""
    _, answer = call("GET", f"{KEYSTONE}/domains?name=heat")
    domain = (answer["domains"] or [call("POST", f"{KEYSTONE}/domains", {
        "domain": {"name": "heat"}})[1]["domain"]])[0]["id"]
    user = made("user", "heat_domain_admin", f"&domain_id={domain}", domain_id=domain, password=password)
    call("PUT", f"{KEYSTONE}/domains/{domain}/users/{user}/roles/{made('role', 'admin')}")


def identity(password):
    service = made("project", "service", domain_id="default")
    for name, kind, port, path in SERVICES:
        user = made("user", name, "&domain_id=default", domain_id="default", password=password)
        grant(service, user, "admin", "service")
        endpoints(name, kind, f"{HOST}:{PORT + port}{path}")
    if HEAT:
        stacks_domain(password)
    for role in ("manager", "media", "ResellerAdmin"):
        made("role", role)
    logins = {"real-admin": ("admin", password)}
    for name, roles in CUSTOMERS:
        secret = secrets.token_urlsafe(24)
        project = made("project", name, domain_id="default")
        user = made("user", name, "&domain_id=default", domain_id="default", password=secret)
        grant(project, user, *roles)
        logins[name.replace("atoll", "real")] = (name, secret)
    path = f"{LAB}/clouds.yaml"
    if not os.path.exists(path):
        write_clouds(path, logins)


def write_clouds(path, logins):
    text = "# Written by test/openstack/seed.py.\nclouds:\n"
    for cloud, (name, secret) in logins.items():
        text += (f"  {cloud}:\n    auth:\n      auth_url: {KEYSTONE}\n      username: {name}\n"
                 f"      password: {secret}\n      project_name: {name}\n"
                 "      user_domain_name: Default\n      project_domain_name: Default\n"
                 f"    region_name: {REGION}\n    identity_api_version: 3\n")
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def things():
    nova, neutron = f"{HOST}:{PORT + 4}/v2.1", f"{HOST}:{PORT + 5}/v2.0"
    glance = f"{HOST}:{PORT + 2}/v2"
    _, project = call("GET", f"{KEYSTONE}/projects?name=admin")
    cinder = f"{HOST}:{PORT + 6}/v3/{project['projects'][0]['id']}"
    for name, cpus, ram, disk, number in FLAVORS:
        call("POST", f"{nova}/flavors", {"flavor": {"name": name, "vcpus": cpus, "ram": ram,
                                                    "disk": disk, "id": number}}, (409,))
    for name in VOLUME_TYPES:
        call("POST", f"{cinder}/types", {"volume_type": {
            "name": name, "extra_specs": {"volume_backend_name": "file"}}}, (409,))
    for name in IMAGES:
        image_of(glance, name)
    _, networks = call("GET", f"{neutron}/networks?name=public")
    if not networks["networks"]:
        _, network = call("POST", f"{neutron}/networks", {"network": {
            "name": "public", "router:external": True,
            "provider:network_type": "flat", "provider:physical_network": "outside"}})
        # Two labs on one machine must not hand out the same addresses.
        call("POST", f"{neutron}/subnets", {"subnet": {
            "name": "public", "network_id": network["network"]["id"], "ip_version": 4,
            "cidr": f"127.78.{PORT // 15 % 256}.0/24", "enable_dhcp": False}})
    no_servers(nova)
    wait_for_hypervisor(nova)


def image_of(glance, name):
    """An image of an empty disk: Nova's fake driver starts nothing from it."""
    _, images = call("GET", f"{glance}/images?name={name}")
    image = images["images"][0] if images["images"] else call("POST", f"{glance}/images", {
        "name": name, "disk_format": "qcow2", "container_format": "bare",
        "visibility": "public", "os_distro": "debian"})[1]
    if image["status"] == "active":
        return
    path = f"{LAB}/glance/{name}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    with open(path, "rb") as f:
        call("PUT", f"{glance}/images/{image['id']}/file", data=f.read())
    os.unlink(path)


def no_servers(nova):
    """Nova Zed lets every role of a project create servers; in these two projects there may be none."""
    for name in ("atoll-media", "atoll-backup"):
        _, answer = call("GET", f"{KEYSTONE}/projects?name={name}")
        call("PUT", f"{nova}/os-quota-sets/{answer['projects'][0]['id']}", {"quota_set": {
            "instances": 0, "force": True}})


def wait_for_hypervisor(nova):
    end = time.monotonic() + 90
    while True:
        _, answer = call("GET", f"{nova}/os-services?binary=nova-compute")
        if any(s["state"] == "up" for s in answer["services"]):
            return
        if time.monotonic() > end:
            sys.exit("nova-compute did not come up")
        time.sleep(0.5)


with open(f"{LAB}/password") as password_file:
    PASSWORD = password_file.read().strip()
login(PASSWORD)
identity(PASSWORD) if STEP == "identity" else things()
