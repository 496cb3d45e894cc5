"""What is there already: handed over to the island (`adopt`), or only used by it (`network.router`,
`network.name`). And the options that shape a plan."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *


def made(api, service, path, singular, **fields):
    return api.call(service, "POST", path, {singular: fields})[2][singular]


def external(api):
    return api.call("network", "GET", "/networks?router:external=true")[2]["networks"][0]["id"]


def network_api(api):
    """Pocket's catalogue has bare addresses, as many clouds' have."""
    if not api.endpoints["network"].endswith("/v2.0"):
        api.endpoints["network"] = api.endpoints["network"].rstrip("/") + "/v2.0"
    return api


def start(t, edit=None):
    t.start_pocket("--no-servers")
    with open(f"{SOURCE}/demo/island.yaml") as f:
        text = f.read()
    t.island(edit(text) if edit else text)
    return network_api(Api(t.pocket, "pocket"))


def refused(t, code, words, *argv):
    result = t.atoll(*argv, code=code)
    check(words in result.err, f"{argv}: {result}")


def test_adopt(t):
    api = start(t)
    out = external(api)
    ip = made(api, "network", "/floatingips", "floatingip", floating_network_id=out,
              description="our old address")
    volume = made(api, "volumev3", "/volumes", "volume", name="old-data", size=10,
                  volume_type="b1.sr-r3-nvme-1000", metadata={"owner": "jo"})
    small = made(api, "volumev3", "/volumes", "volume", name="big", size=20)
    group = made(api, "network", "/security-groups", "security_group", name="web")
    other = made(api, "network", "/security-groups", "security_group", name="x",
                 description="atoll:lagoon")
    refused(t, 64, "can't be adopted", "adopt", "server.web.0", "x", "-y")
    refused(t, 64, "wants no volume web.0", "adopt", "volume.web.0", volume["id"], "-y")
    refused(t, 64, "needs a confirmation", "adopt", "ip", ip["id"])
    refused(t, 7, "belongs to the island lagoon", "adopt", "group.web", other["id"], "-y")
    refused(t, 1, "it does not fit the island file", "adopt", "volume.db.0", small["id"], "-y")
    refused(t, 1, "looking at the volume", "adopt", "volume.db.0", "no-such-id", "-y")
    for what, thing in (("ip", ip), ("volume.db.0", volume), ("group.web", group)):
        result = t.atoll("adopt", what, thing["id"], "-y")
        check("Done" in result.out, result)
    refused(t, 1, "has its floating IP main already", "adopt", "ip", ip["id"], "-y")
    got = api.call("volumev3", "GET", "/volumes/" + volume["id"])[2]["volume"]
    equal((got["name"], got["description"], got["metadata"]),
          ("reef-volume-db-0", "atoll:reef",
           {"atoll": "reef", "atoll-key": "db.0", "owner": "jo"}), "volume")
    events = t.atoll("plan", "--json").events("planned_change")
    made_keys = {(e["kind"], e["key"]) for e in events if e["action"] == "create"}
    check(not made_keys & {("ip", "main"), ("volume", "db.0"), ("group", "web")}, made_keys)
    check(("group", "db") in made_keys, made_keys)


def test_router_that_is_used(t):
    api = start(t, lambda text: text.replace("network: {", "network: {router: edge, "))
    refused(t, 8, 'the cloud has no router "edge"', "plan")
    out = external(api)
    router = made(api, "network", "/routers", "router", name="edge",
                  external_gateway_info={"network_id": out})
    result = t.atoll("plan", "--json")
    kinds = [(e["kind"], e["verb"]) for e in result.events("planned_change")]
    check(("router", "create") not in kinds and ("interface", "attach") in kinds, kinds)
    calls = result.events("change_summary")[0]["calls"]
    check(calls <= 28, f"{calls} calls")
    t.atoll("apply", "-y", "--only", "network.main", "--only", "subnet.main", "--only",
            "interface.main")
    ports = api.call("network", "GET", "/ports?device_id=" + router["id"])[2]["ports"]
    check(any(p["name"] == "reef-interface-main" for p in ports), ports)
    t.atoll("destroy", "-y")
    routers = api.call("network", "GET", "/routers")[2]["routers"]
    equal([r["id"] for r in routers], [router["id"]], "routers")
    equal(api.call("network", "GET", "/networks?description=atoll:reef")[2]["networks"], [], "networks")


def test_network_that_is_used(t):
    used = "network: {external: public, name: lan, subnet: lan4}"
    api = start(t, lambda text: re.sub(r"network: \{.*?\}", used, text))
    out = external(api)
    lan = made(api, "network", "/networks", "network", name="lan")
    subnet = made(api, "network", "/subnets", "subnet", name="lan4", network_id=lan["id"],
                  cidr=t.cidr, ip_version=4)
    router = made(api, "network", "/routers", "router", name="edge",
                  external_gateway_info={"network_id": out})
    api.call("network", "PUT", f"/routers/{router['id']}/add_router_interface",
             {"subnet_id": subnet["id"]})
    kinds = {e["kind"] for e in t.atoll("plan", "--json").events("planned_change")}
    check(not kinds & {"network", "subnet", "router", "interface"}, kinds)
    t.atoll("apply", "-y", "--only", "group.web", "--only", "port.web.0", "--only", "ip.main")
    port = api.call("network", "GET", "/ports?name=reef-port-web-0")[2]["ports"][0]
    equal(port["network_id"], lan["id"], "network of the port")
    t.atoll("destroy", "-y", "--data", "--confirm", "reef")
    equal(len(api.call("network", "GET", "/networks?name=lan")[2]["networks"]), 1, "networks")


main()
