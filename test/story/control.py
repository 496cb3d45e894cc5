"""A control server works on its island by itself: it scales a tier, countersigns backups and renews the servers'
addresses, with logins that can't destroy what is stored."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import *

ISLAND = ISLAND_HEAD + """\
  web:     {flavor: c1.c2r2, roles: [edge, web, worker], threads: {worker: 1}}
  worker:  {flavor: c1.c2r2, roles: [worker], scale: {min: 1, max: 2, boot: 5s, queues: {default: 5s}}}
  db:      {flavor: c1.c1r1, roles: [postgres, redis], volume: {size: 1GB}}
  control: {flavor: c1.c1r1, roles: [control]}
backup:    {cloud: pocket-media, every: 1h}
media:     {container: user-uploads, cloud: pocket-media}
control:   {logins: {pocket: lent-island, pocket-media: lent-backup}}
"""
BACKUPS = "/v1/AUTH_{project}/reef-backup"


def lend(t, cloud, name, rules=None):
    """An application credential as an operator makes one, in the test's clouds.yaml."""
    api = Api(t.pocket, cloud)
    body = {"name": name}
    if rules:
        body["access_rules"] = [{"service": "object-store", "method": m, "path": p.format(project=api.project_id)}
                                for m, p in rules]
    made = api.call("identity", "POST", f"/users/{api.user_id}/application_credentials",
                    {"application_credential": body})[2]["application_credential"]
    with open(t.pocket.clouds, "a") as f:
        f.write(f"  {name}:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: {api.auth_url}\n"
                f"      application_credential_id: {made['id']}\n      application_credential_secret: {made['secret']}\n")
    return made


def start(t):
    t.start_pocket()
    lend(t, "pocket", "lent-island")
    reads = [(m, p) for m in ("GET", "HEAD") for p in ("/v1/AUTH_{project}", "/v1/AUTH_{project}/**")]
    rules = reads + [("PUT", BACKUPS + "/catalogue/**"), ("PUT", BACKUPS + "/segment/**")]
    made = lend(t, "pocket-media", "lent-backup", rules)
    t.island(ISLAND)
    t.apply()
    t.ready()
    return made


def control(t):
    rows = {row["key"]: row for row in t.atoll("status", "--json").events("server")}
    return {s["name"]: s["state"] for s in rows["control.0"]["services"]}


def workers(t):
    return [body["name"] for _, _, body in t.pocket.rows("server") if "-worker-" in body["name"]]


def healthy(t):
    states = control(t)
    return states if set(states.values()) == {"healthy"} else None


def test_it_works_by_itself(t):
    made = start(t)
    states = until("all of control is well", 60, lambda: healthy(t))
    equal(sorted(states), ["control-audit", "control-package", "control-renew", "control-scale.worker", "control-settings"], "services")
    t.atoll("plan", "--detailed-exitcode")

    # Backups are countersigned, and nobody of ours has looked.
    t.atoll("backup", "settings")
    until("all that is stored is countersigned", 90, lambda: t.atoll("backup", "verify", code=None).code == 0)
    check(t.atoll("backup", "list", "--json").events("backup"), "a backup is listed")

    # Its login can't take what is there.
    api = Api(t.pocket, "pocket-media")
    name = api.call("object-store", "GET", "/reef-backup?format=json&prefix=host/")[2][0]["name"]
    body = {"auth": {"identity": {"methods": ["application_credential"], "application_credential": {
        "id": made["id"], "secret": made["secret"]}}}}
    token = request("POST", api.auth_url + "/auth/tokens", body)[1]["X-Subject-Token"]
    for method, path in (("DELETE", f"/reef-backup/{name}"), ("POST", f"/reef-backup/{name}"),
                         ("PUT", f"/reef-backup/{name}"), ("DELETE", "/reef-backup"), ("POST", "/reef-backup")):
        got = request(method, api.endpoints["object-store"] + path, b"" if method == "PUT" else None,
                      {"X-Auth-Token": token, "X-Delete-After": "60"})
        # 409: that it has versions is looked at before who asks.
        check(got[0] in (401, 403, 409), f"{method} {path} by control's login: {got[0]}")

    # A burst: the tier grows, and the file's plan has nothing to say to it.
    equal(len(workers(t)), 1, "workers before")
    token = jobs(f"http://{t.address()}:8080", 2000, 100)
    until("two workers", 120, lambda: len(workers(t)) == 2)
    t.atoll("plan", "--detailed-exitcode", "--only", "web")
    check(token and "wanted 2" in t.atoll("logs", "control").out, "it says why")

    # Another file is another control server's, and no other's.
    t.island("# a remark\n" + ISLAND)
    told = re.findall(r"~ host +(\S+)", t.atoll("plan").out)
    equal([h for h in told if h != "worker.1"], ["control.0"], "a remark")


def bundle(t, server):
    """The newest of a server's: (name, content type)."""
    rows = Api(t.pocket, "pocket").call("object-store", "GET", f"/reef-mail?format=json&prefix={server}/")[2]
    found = [r for r in rows if "/in/" in r["name"] and "vnd.atoll.bundle" in r["content_type"]]
    return found[-1]["name"], found[-1]["content_type"]


def age(t, server, days):
    """Its addresses end in so many days: so the listing says, which is what a plan goes by."""
    name, kind = bundle(t, server)
    until_s = int(time.time()) + days * 86400
    Api(t.pocket, "pocket").call("object-store", "POST", f"/reef-mail/{name}", None,
                                 {"Content-Type": re.sub(r"until=\d+", f"until={until_s}", kind)})


def test_it_renews(t):
    start(t)
    until("all of control is well", 60, lambda: healthy(t))
    check("No server's addresses end soon" in t.atoll("renew").out, "nothing to do")
    for server in ("db.0", "control.0"):
        age(t, server, 10)
    check("end in 9 d" in t.atoll("status").err, "status warns")
    before = {s: bundle(t, s)[0] for s in ("web.0", "db.0", "control.0")}

    # By hand; then by control itself, which looks when it starts.
    check("2 servers have new addresses" in t.atoll("renew").out, "by hand")
    after = {s: bundle(t, s)[0] for s in before}
    equal({s: after[s] != before[s] for s in before}, {"web.0": False, "db.0": True, "control.0": True}, "by hand")
    age(t, "db.0", 14)
    check("end in" not in t.atoll("status").err, "status has no reason to warn")
    t.island("# a remark\n" + ISLAND)
    t.apply("--only", "control")
    until("db.0 has new addresses", 60, lambda: bundle(t, "db.0")[0] != after["db.0"])
    equal(bundle(t, "web.0")[0], before["web.0"], "web.0's go on")

    # What is not the file's is a person's to send.
    age(t, "db.0", 10)
    t.island(ISLAND.replace("backup:    {cloud: pocket-media, every: 1h}", "backup:    {cloud: pocket-media, every: 2h}"))
    last = bundle(t, "db.0")[0]
    check("No server's addresses" in t.atoll("renew").out, "another file")
    equal(bundle(t, "db.0")[0], last, "db.0 was left alone")


def test_what_can_not_be_handed_on(t):
    t.start_pocket()
    t.island(ISLAND)
    said = t.atoll("check", code=None)
    check(re.search(r"island\.yaml:\d+:\d+: control\.logins\.pocket", said.out + said.err), said)
    text = ISLAND.replace("control:   {logins: {pocket: lent-island, pocket-media: lent-backup}}\n", "")
    t.island(text)
    said = t.atoll("plan", code=1)
    check("which login may the control server have there?" in said.err, said)


main()
