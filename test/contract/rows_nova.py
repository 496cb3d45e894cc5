"""Nova 2.1: servers, their volumes, actions and groups, as src/cloud/nova*.c asks for them."""
import base64
import re

from rows import Absent, All, AnyOf, Every, Len, No, Not, Row, Scene, Some

CLIENT = "src/cloud/nova.c"
WORLD = "src/cloud/world.c"
FACTS = "src/cloud/facts.c"
API = "Compute API"
HISTORY = "Compute API microversion history"
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
NOT_THERE = "00000000-0000-4000-8000-000000000000"
SERVERS = "compute:/v2.1/servers"
SERVER = SERVERS + "/{server}"
V67 = {"OpenStack-API-Version": "compute 2.67"}
PLAIN = {}


def at(minor):
    return {"OpenStack-API-Version": f"compute 2.{minor}"}


def bad(words=""):
    return {"badRequest": {"code": 400, "message": re.compile(words)}}


def conflict(words=""):
    return {"conflictingRequest": {"code": 409, "message": re.compile(words)}}


def forbidden(words=""):
    return {"forbidden": {"code": 403, "message": re.compile(words)}}


def missing(words=""):
    return {"itemNotFound": {"code": 404, "message": re.compile(words)}}


IMAGE = Row("member", "GET", "image:/v2/images?status=active&sort=created_at:desc",
            answer={"images": Some({"id": str})}, save={"image": "images.0.id"}, source=FACTS,
            says="an image")
FLAVORS = Row("member", "GET", "compute:/v2.1/flavors/detail",
              answer={"flavors": Some({"name": "m1.tiny"})},
              save={"tiny": "flavors.0.id", "small": "flavors.1.id"}, source=FACTS,
              says="flavors")
NETWORK = Row("member", "POST", "network:/v2.0/networks", 201,
              body={"network": {"name": "{scene}", "description": "{scene}"}},
              save={"net": "network.id"}, source=CLIENT, says="a network")
SUBNET = Row("member", "POST", "network:/v2.0/subnets", 201,
             body={"subnet": {"network_id": "{net}", "ip_version": 4, "cidr": "10.30.0.0/24"}},
             save={"sub": "subnet.id"}, source=CLIENT, says="a subnet")


def port(key="port"):
    return Row("member", "POST", "network:/v2.0/ports", 201,
               body={"port": {"name": "p", "description": "{scene}", "network_id": "{net}"}},
               save={key: "port.id"}, source=CLIENT, says="a port")


def volume(key="volume", size=1, name="{scene}"):
    return Row("member", "POST", "volume:/v3/{project_id}/volumes", 202,
               body={"volume": {"size": size, "name": name}}, save={key: "volume.id"},
               source=CLIENT, says="a volume")


def volume_is(status, key="volume", says="the volume is ready", **more):
    return Row("member", "GET", "volume:/v3/{project_id}/volumes/{%s}" % key, until=60,
               answer={"volume": {"status": status, **more}}, source=CLIENT, says=says)


def server(key="server", flavor="{tiny}", networks="none", says="a server", headers=V67, expect=202,
           hints=None, who="member", **more):
    body = {"server": {"name": "{scene}", "flavorRef": flavor, "imageRef": "{image}",
                       "networks": networks, **more}}
    if hints:
        body["os:scheduler_hints"] = hints
    return Row(who, "POST", SERVERS, expect, headers=headers, body=body,
               answer={"server": {"id": str}}, save={key: "server.id"}, source=CLIENT, says=says)


def server_is(status, key="server", says="the server gets there", seconds=90, **more):
    return Row("member", "GET", SERVERS + "/{%s}" % key, headers=V67, until=seconds,
               answer={"server": {"status": status, "OS-EXT-STS:task_state": None, **more}},
               source=CLIENT, says=says)


def action(body, expect=202, says="", headers=V67, answer=None, key="server", who="member",
           has=None):
    return Row(who, "POST", SERVERS + "/{%s}/action" % key, expect, headers=headers, body=body,
               answer=answer, has=has or {}, source=API, says=says)


def refused(says, answer, body, expect=400, headers=V67, who="member", source=CLIENT):
    return Row(who, "POST", SERVERS, expect, headers=headers, body=body, answer=answer,
               source=source, says=says)


def asked(**more):
    """A body that would do, and what is wrong with it."""
    return {"server": {"name": "{scene}", "flavorRef": "{tiny}", "imageRef": "{image}",
                       "networks": "none", **more}}


def delete(key="server", expect=(204, 404)):
    return Row("member", "DELETE", SERVERS + "/{%s}" % key, expect, headers=V67, source=CLIENT,
               says="delete the server")


def gone(key="server"):
    return Row("member", "GET", SERVERS + "/{%s}" % key, 404, headers=V67, until=60,
               answer=missing("Instance {%s} could not be found" % key), source=CLIENT,
               says="a server that is gone is a 404")


def drop_network():
    return Row("member", "DELETE", "network:/v2.0/networks/{net}", (204, 404), until=60)


def drop_port(key="port"):
    return Row("member", "DELETE", "network:/v2.0/ports/{%s}" % key, (204, 404), until=60)


def drop_volume(key="volume"):
    return Row("member", "DELETE", "volume:/v3/{project_id}/volumes/{%s}" % key, (202, 404),
               until=60)


def versioned(asked_for, told, expect=200, answer=None, says="", path="compute:/v2.1/flavors"):
    return Row("member", "GET", path, expect, headers={"OpenStack-API-Version": asked_for},
               has={"OpenStack-API-Version": told, "X-OpenStack-Nova-API-Version": told and
                    told.split()[1]}, answer=answer, source=HISTORY, says=says)


def too_new(words):
    return {"computeFault": {"code": 406, "message": re.compile(words)}}


SCENES = [
    Scene("versions", [
        Row("anon", "GET", "compute:/",
            answer={"versions": Some({"id": "v2.1", "status": "CURRENT", "min_version": "2.1",
                                      "version": re.compile(r"^2\.\d+$"),
                                      "links": [{"rel": "self",
                                                 "href": re.compile("/v2.1/$")}]})},
            source=API, says="its versions, for anybody"),
        Row("anon", "GET", "compute:/v2.1/",
            answer={"version": {"id": "v2.1", "version": "2.93", "min_version": "2.1"}},
            source=API, says="Zed's newest microversion is 2.93"),
        Row("member", "GET", "compute:/v2.1/flavors",
            has={"OpenStack-API-Version": "compute 2.1", "X-OpenStack-Nova-API-Version": "2.1",
                 "Vary": re.compile("OpenStack-API-Version")}, source=HISTORY,
            says="nobody asks: 2.1"),
        versioned("compute 2.1", "compute 2.1", says="the oldest"),
        versioned("compute 2.52", "compute 2.52", says="tags at the create"),
        versioned("compute 2.67", "compute 2.67", says="what atoll asks for"),
        versioned("compute 2.93", "compute 2.93", says="the newest"),
        versioned("compute latest", "compute 2.93", says="whatever is newest"),
        versioned("compute 2.999", "compute 2.999", 406,
                  too_new("Version 2.999 is not supported by the API. Minimum is 2.1 and maximum "
                          "is 2.93"), "a version of the future: 406 and what there is"),
        versioned("compute 1.0", "compute 1.0", 406, too_new("Minimum is 2.1"),
                  "a version of the past"),
        Row("member", "GET", "compute:/v2.1/flavors", 400,
            headers={"OpenStack-API-Version": "compute two"}, answer=bad("invalid format"),
            source=HISTORY, says="no version at all"),
        versioned("volume 3.42", "compute 2.1", says="a version for another service is ignored"),
        Row("member", "GET", "compute:/v2.1/flavors",
            headers={"X-OpenStack-Nova-API-Version": "2.67"},
            has={"OpenStack-API-Version": "compute 2.67"}, source=HISTORY,
            says="the older header does too"),
        Row("anon", "GET", SERVERS, 401, has={"WWW-Authenticate": re.compile("^Keystone uri=")},
            answer={"error": {"code": 401}}, source="keystonemiddleware", says="without a token"),
        Row("member", "GET", "compute:/v2.1/nonsense", 404, source=API,
            says="a collection that does not exist"),
    ]),

    Scene("flavors", [
        Row("member", "GET", "compute:/v2.1/flavors/detail",
            answer={"flavors": Some({"id": str, "name": "m1.tiny", "vcpus": 1, "ram": 512,
                                     "disk": 1, "swap": "", "OS-FLV-EXT-DATA:ephemeral": 0,
                                     "OS-FLV-DISABLED:disabled": False,
                                     "os-flavor-access:is_public": True, "rxtx_factor": 1.0})},
            save={"tiny": "flavors.0.id"}, source=FACTS, says="flavors and what they are"),
        Row("member", "GET", "compute:/v2.1/flavors?limit=1",
            answer={"flavors": Len(1),
                    "flavors_links": [{"rel": "next", "href": re.compile("limit=1.*marker=")}]},
            save={"first": "flavors.0.id"}, source=API, says="in pages"),
        Row("member", "GET", "compute:/v2.1/flavors?limit=1&marker={first}",
            answer={"flavors": All(Len(1), [{"id": Not("{first}")}])}, source=API,
            says="the next page"),
        Row("member", "GET", "compute:/v2.1/flavors?limit=0", answer={"flavors": []},
            source=API, says="a page of nothing"),
        Row("member", "GET", "compute:/v2.1/flavors?limit=-1", 400, answer=bad("limit"),
            source=API, says="a negative limit"),
        Row("member", "GET", "compute:/v2.1/flavors?marker=" + NOT_THERE, 400,
            answer=bad("marker"), source=API, says="a marker that is not there"),
        Row("member", "GET", "compute:/v2.1/flavors/{tiny}",
            answer={"flavor": {"id": "{tiny}", "ram": 512, "extra_specs": Absent,
                               "description": Absent}}, source=API, says="one"),
        Row("member", "GET", "compute:/v2.1/flavors/{tiny}", headers=at(61),
            answer={"flavor": {"extra_specs": {}, "description": None}}, source=HISTORY,
            says="2.55 adds a description, 2.61 the extra specs"),
        Row("member", "GET", "compute:/v2.1/flavors/{tiny}", headers=at(75),
            answer={"flavor": {"swap": 0}}, source=HISTORY, says="2.75: no swap is 0"),
        Row("member", "GET", "compute:/v2.1/flavors/nonsense", 404,
            answer=missing("Flavor nonsense could not be found"), source=API,
            says="one that is not"),
    ]),

    Scene("limits and quotas", [
        Row("member", "GET", "compute:/v2.1/limits",
            answer={"limits": {"rate": [], "absolute": {
                "maxTotalInstances": int, "maxTotalCores": int, "maxTotalRAMSize": int,
                "maxServerMeta": int, "maxTotalKeypairs": int, "maxServerGroups": int,
                "maxServerGroupMembers": int, "totalInstancesUsed": int, "totalCoresUsed": int,
                "totalRAMUsed": int, "totalServerGroupsUsed": int}}}, source="preflight",
            says="what a project may have and has"),
        Row("member", "GET", "compute:/v2.1/os-quota-sets/{project_id}", headers=V67,
            answer={"quota_set": {"id": "{project_id}", "instances": int, "cores": int,
                                  "ram": int, "key_pairs": int, "metadata_items": int,
                                  "server_groups": int, "server_group_members": int}},
            source="preflight", says="its limits"),
        Row("member", "GET", "compute:/v2.1/os-quota-sets/{project_id}/detail", headers=V67,
            answer={"quota_set": {"instances": {"limit": int, "in_use": int, "reserved": int},
                                  "cores": {"limit": int, "in_use": int},
                                  "ram": {"limit": int, "in_use": int}}}, source=API,
            says="and what is used of them"),
        Row("member", "GET", "compute:/v2.1/os-quota-sets/{project_id}/defaults", headers=V67,
            answer={"quota_set": {"instances": int}}, source=API, says="the defaults"),
        Row("member", "GET", "compute:/v2.1/os-quota-sets/{other_project_id}", 403, headers=V67,
            answer=forbidden("os-quota-sets:show"), source=API, says="another's are not shown"),
        Row("member", "PUT", "compute:/v2.1/os-quota-sets/{project_id}", 403, headers=V67,
            body={"quota_set": {"instances": 1000}}, answer=forbidden("^Policy doesn't allow .* to be performed"),
            source=API, says="nor are one's own to change"),
        Row("admin", "PUT", "compute:/v2.1/os-quota-sets/{project_id}", 400, headers=V67,
            body={"quota_set": {"nonsense": 1}}, answer=bad("nonsense"), source=API,
            says="of what is not counted"),
    ]),

    Scene("quotas that are full", [
        Row("other", "GET", "image:/v2/images?status=active", save={"image": "images.0.id"},
            source=FACTS, says="an image"),
        FLAVORS,
        Row("admin", "PUT", "compute:/v2.1/os-quota-sets/{other_project_id}", headers=V67,
            body={"quota_set": {"instances": 0, "server_groups": 0}},
            answer={"quota_set": {"instances": 0, "server_groups": 0}}, source=API,
            says="the admin closes everything"),
        refused("one more server is a 403, not a 413 or 409",
                forbidden(r"^Quota exceeded for instances: Requested 1, but already used 0 of 0 "
                          "instances"), asked(), 403, who="other", source="iac.md 2.6"),
        Row("other", "POST", "compute:/v2.1/os-server-groups", 403, headers=V67,
            body={"server_group": {"name": "g", "policy": "affinity"}},
            answer=forbidden("Quota exceeded, too many server groups"), source="iac.md 2.6",
            says="one more group too"),
        Row("admin", "PUT", "compute:/v2.1/os-quota-sets/{other_project_id}", headers=V67,
            body={"quota_set": {"instances": 5, "cores": 0}}, source=API, says="no cores"),
        refused("no core left", forbidden("^Quota exceeded for cores: Requested 1, but already "
                                          "used 0 of 0 cores"), asked(), 403, who="other",
                source="iac.md 2.6"),
        Row("admin", "PUT", "compute:/v2.1/os-quota-sets/{other_project_id}", headers=V67,
            body={"quota_set": {"cores": 5, "ram": 511, "metadata_items": 1}}, source=API,
            says="not enough memory"),
        refused("no memory left", forbidden("^Quota exceeded for ram: Requested 512, but already "
                                            "used 0 of 511 ram"), asked(), 403, who="other",
                source="iac.md 2.6"),
        refused("too much metadata", forbidden("Quota exceeded for metadata_items|Maximum number "
                                               "of metadata items exceeds 1"),
                asked(metadata={"a": "1", "b": "2"}), 403, who="other", source="iac.md 2.6"),
        Row("admin", "DELETE", "compute:/v2.1/os-quota-sets/{other_project_id}", 202, headers=V67,
            source=API, says="back to the default"),
    ], cleanup=[Row("admin", "DELETE", "compute:/v2.1/os-quota-sets/{other_project_id}", 202)]),

    Scene("servers that are refused", [
        IMAGE, FLAVORS, NETWORK,
        refused("an unknown flavor is a bad request: the probe for who may create",
                bad("Flavor nonsense could not be found"), asked(flavorRef="nonsense"),
                source="design.md, least privilege"),
        Row("reader", "POST", SERVERS, (400, 403), headers=V67, body=asked(flavorRef="nonsense"),
            source="traps.md", says="a reader: 400 with the old default rules (Zed), so it may "
                                    "create; 403 with the new ones"),
        Row("custom", "POST", SERVERS, (400, 403), headers=V67, body=asked(flavorRef="nonsense"),
            source="traps.md", says="a role of the cloud's own: the same"),
        Row("nobody", "POST", SERVERS, (401, 403), headers=V67, body=asked(), source="traps.md",
            says="someone without a project"),
        refused("an unknown image", bad("Image .* could not be found|Can not find requested image"),
                asked(imageRef=NOT_THERE)),
        refused("no image and no volume", bad("imageRef|boot"), asked(imageRef="")),
        refused("no name", bad("name.*required|'name'"), {"server": {"flavorRef": "{tiny}"}}),
        refused("an empty name", bad("name"), asked(name="")),
        refused("no networks since 2.37", bad("'networks' is a required property"),
                {"server": {"name": "x", "flavorRef": "{tiny}", "imageRef": "{image}"}}),
        refused("an unknown property", bad(r"Additional properties are not allowed \('nonsense'"),
                asked(nonsense=1)),
        refused("tags before 2.52", bad(r"'tags' was unexpected|'tags' does not match any"),
                asked(tags=["t"]), headers=at(51)),
        refused("a tag with a slash", bad("^Invalid input for field/attribute"), asked(tags=["a/b"])),
        refused("a tag with a comma", bad("^Invalid input for field/attribute"), asked(tags=["a,b"])),
        refused("a tag of 61 characters", bad("^Invalid input for field/attribute"), asked(tags=["x" * 61])),
        refused("51 tags", bad("tags"), asked(tags=[f"t{i}" for i in range(51)])),
        refused("a metadata value that is no text", bad("^Invalid input for field/attribute"),
                asked(metadata={"a": 1})),
        refused("a metadata value of 256 characters", bad("^Invalid input for field/attribute"),
                asked(metadata={"a": "x" * 256})),
        refused("user_data of more than 65535 characters", bad("user_data"),
                asked(user_data="QUFB" * 16384)),
        refused("user_data that is no base64", bad("^Invalid input for field/attribute"), asked(user_data="QQ")),
        refused("a key pair that is not there", bad("[Kk]ey"), asked(key_name="nonsense")),
        refused("a port that is not there", bad("Port .* could not be found"),
                asked(networks=[{"port": NOT_THERE}])),
        refused("a network that is not there", bad("Network .* could not be found"),
                asked(networks=[{"uuid": NOT_THERE}])),
        refused("a network without a subnet", bad("requires a subnet"),
                asked(networks=[{"uuid": "{net}"}])),
        refused("a volume that is not there", bad("Volume %s could not be found" % NOT_THERE),
                asked(block_device_mapping_v2=[
                    {"boot_index": 0, "uuid": "{image}", "source_type": "image",
                     "destination_type": "local", "delete_on_termination": True},
                    {"boot_index": -1, "uuid": NOT_THERE, "source_type": "volume",
                     "destination_type": "volume", "delete_on_termination": False}])),
        refused("a group that is not there", bad("group|Instance group .* could not be found"),
                {"server": asked()["server"], "os:scheduler_hints": {"group": NOT_THERE}}),
        refused("a hint that is no UUID", bad("group|nonsense"),
                {"server": asked()["server"], "os:scheduler_hints": {"group": "nonsense"}}),
        refused("no server at all", bad("'server' is a required property|server"), {"srv": {}}),
        Row("member", "GET", SERVERS + "?name={scene}", headers=V67, answer={"servers": []},
            source=CLIENT, says="none of them was made"),
    ], cleanup=[drop_network()]),

    Scene("the life of a server", [
        IMAGE, FLAVORS, NETWORK, SUBNET, port(),
        Row("member", "POST", SERVERS, 202, headers=V67,
            body={"server": {"name": "{scene}", "flavorRef": "{tiny}", "imageRef": "{image}",
                             "networks": [{"port": "{port}"}], "tags": ["{scene}"],
                             "metadata": {"atoll": "{scene}", "atoll-key": "web.0"},
                             "config_drive": True,
                             "user_data": base64.b64encode(b"#!/bin/sh\nexit 0\n").decode()}},
            answer={"server": {"id": str, "links": Some({"rel": "self"}), "adminPass": str,
                               "OS-DCF:diskConfig": "MANUAL",
                               "security_groups": [{"name": "default"}], "name": Absent,
                               "status": Absent}},
            has={"Location": re.compile("/servers/")}, save={"server": "server.id"},
            source=CLIENT, says="made; the answer has little more than the id"),
        server_is("ACTIVE", **{"OS-EXT-STS:vm_state": "active", "OS-EXT-STS:power_state": 1}),
        refused("another server with the same port: the natural guard, once the first has it",
                conflict("Port {port} is still in use"), asked(networks=[{"port": "{port}"}]),
                409, source="iac.md 2.4"),
        Row("member", "GET", SERVER, headers=V67,
            answer={"server": {
                "id": "{server}", "name": "{scene}", "tenant_id": "{project_id}", "user_id": str,
                "status": "ACTIVE", "metadata": {"atoll": "{scene}", "atoll-key": "web.0"},
                "tags": ["{scene}"], "config_drive": "True", "key_name": None,
                "flavor": {"original_name": "m1.tiny", "vcpus": 1, "ram": 512, "disk": 1,
                           "id": Absent, "extra_specs": {}},
                "image": {"id": "{image}"}, "created": TIME, "updated": TIME,
                "addresses": {"{scene}": [{"addr": re.compile(r"^10\.30\.0\."), "version": 4,
                                           "OS-EXT-IPS:type": "fixed",
                                           "OS-EXT-IPS-MAC:mac_addr": re.compile("^fa:16:3e")}]},
                "accessIPv4": "", "accessIPv6": "", "hostId": str, "progress": 0,
                "OS-EXT-AZ:availability_zone": "nova", "description": None, "locked": False,
                "os-extended-volumes:volumes_attached": [], "security_groups": [{"name": str}],
                "OS-SRV-USG:terminated_at": None, "OS-SRV-USG:launched_at": str,
                "trusted_image_certificates": None, "OS-EXT-SRV-ATTR:host": Absent,
                "OS-EXT-SRV-ATTR:user_data": Absent, "fault": Absent}},
            source=CLIENT, says="what is told of it at 2.67"),
        Row("member", "GET", SERVER, headers=PLAIN,
            answer={"server": {"flavor": {"id": "{tiny}", "original_name": Absent},
                               "tags": Absent, "description": Absent, "locked": Absent}},
            source=HISTORY, says="at 2.1: the flavor's id, no tags"),
        Row("member", "GET", SERVER, headers=at(71), answer={"server": {"server_groups": []}},
            source=HISTORY, says="2.71 tells its groups"),
        Row("member", "GET", SERVER, headers=at(73), answer={"server": {"locked_reason": None}},
            source=HISTORY, says="2.73 tells why it is locked"),
        Row("admin", "GET", SERVER, headers=V67,
            answer={"server": {"OS-EXT-SRV-ATTR:host": str, "OS-EXT-SRV-ATTR:user_data": str,
                               "OS-EXT-SRV-ATTR:hypervisor_hostname": str,
                               "OS-EXT-SRV-ATTR:instance_name": str,
                               "OS-EXT-SRV-ATTR:root_device_name": str}},
            source=API, says="the admin sees where it is and its user_data"),
        Row("other", "GET", SERVER, 404, headers=V67, answer=missing("could not be found"),
            source=API, says="another project's server does not exist"),
        Row("reader", "GET", SERVER, headers=V67, source=API, says="a reader reads"),
        Row("member", "GET", SERVERS + "/detail?tags={scene}", headers=V67,
            answer={"servers": [{"id": "{server}", "status": "ACTIVE"}],
                    "servers_links": Absent}, source=WORLD, says="found by its marker"),
        Row("member", "GET", SERVERS + "/detail?tags={scene},other", headers=V67,
            answer={"servers": []}, source=API, says="all tags means all"),
        Row("member", "GET", SERVERS + "/detail?tags-any={scene},other", headers=V67,
            answer={"servers": Len(1)}, source=API, says="any of several"),
        Row("member", "GET", SERVERS + "/detail?not-tags={scene}&name={scene}", headers=V67,
            answer={"servers": []}, source=API, says="without it"),
        Row("member", "GET", SERVERS + "?name=^{scene}$", headers=V67,
            answer={"servers": [{"id": "{server}", "name": "{scene}", "status": Absent}]},
            source=API, says="the name is an expression; the short list has id and name"),
        Row("member", "GET", SERVERS + "?name={scene}&status=ACTIVE", headers=V67,
            answer={"servers": Len(1)}, source=API, says="by status"),
        Row("member", "GET", SERVERS + "?name={scene}&status=SHUTOFF", headers=V67,
            answer={"servers": []}, source=API, says="which it has not"),
        Row("member", "GET", SERVERS + "?nonsense=1&name={scene}", headers=V67,
            answer={"servers": Len(1)}, source=HISTORY, says="an unknown filter is ignored"),
        Row("member", "GET", SERVERS + "?nonsense=1", 400, headers=at(75),
            answer=bad("nonsense"), source=HISTORY, says="until 2.75"),
        Row("member", "GET", SERVERS + "?tags={scene}", headers=PLAIN, source=HISTORY,
            says="before 2.26 a filter by tag is ignored"),
        Row("member", "GET", SERVERS + "?marker=" + NOT_THERE, 400, headers=V67,
            answer=bad("marker"), source=API, says="a marker that is not there"),
        Row("member", "GET", SERVERS + "?limit=two", 400, headers=V67, answer=bad("limit"),
            source=API, says="a limit that is no number"),
        Row("member", "GET", SERVER + "/ips", headers=V67,
            answer={"addresses": {"{scene}": [{"version": 4, "addr": str}]}}, source=API,
            says="its addresses"),
        Row("member", "GET", "network:/v2.0/ports/{port}",
            answer={"port": {"device_id": "{server}", "device_owner": re.compile("^compute:"),
                             "status": "ACTIVE", "description": "{scene}"}}, source=CLIENT,
            until=30, says="its port is bound and keeps its marker"),
        Row("member", "PUT", SERVER, headers=V67, body={"server": {"name": "{scene}-b"}},
            answer={"server": {"name": "{scene}-b", "id": "{server}"}}, source=API,
            says="renamed"),
        Row("member", "PUT", SERVER, 400, headers=V67, body={"server": {"status": "ACTIVE"}},
            answer=bad("Additional properties|status"), source=API,
            says="what can't be changed is refused"),
        action({"nonsense": None}, 400, "an action that does not exist",
               answer=bad("There is no such action: nonsense|nonsense")),
        action({"os-getConsoleOutput": {"length": 10}}, 200, "its console",
               answer={"output": str}),
        action({"os-start": None}, 409, "a running server can't be started",
               answer=conflict("Cannot 'start' instance {server} while it is in vm_state active")),
        action({"confirmResize": None}, 409, "nor its resize be confirmed",
               answer=conflict("Cannot 'confirmResize' instance {server} while it is in "
                               "vm_state active")),
        action({"os-stop": None}, 202, "stopped"),
        server_is("SHUTOFF", **{"OS-EXT-STS:vm_state": "stopped", "OS-EXT-STS:power_state": 4}),
        action({"os-stop": None}, 409, "again is a conflict",
               answer=conflict("Cannot 'stop' instance {server} while it is in vm_state stopped")),
        action({"reboot": {"type": "SOFT"}}, 409, "a stopped server isn't rebooted softly",
               answer=conflict("Cannot 'reboot' instance {server} while it is in "
                               "vm_state stopped")),
        action({"os-start": None}, 202, "started"),
        server_is("ACTIVE"),
        action({"reboot": {"type": "SOFT"}}, 202, "rebooted"),
        server_is("ACTIVE"),
        action({"reboot": {"type": "HARD"}}, 202, "the hard way"),
        server_is("ACTIVE"),
        action({"reboot": {"type": "nonsense"}}, 400, "there is no third way",
               answer=bad("nonsense")),
        action({"reboot": {}}, 400, "it has to be said", answer=bad("type")),
        Row("other", "DELETE", SERVER, 404, headers=V67, answer=missing(), source=API,
            says="another project can't delete it"),
        Row("member", "GET", SERVER + "/os-instance-actions", headers=V67,
            answer={"instanceActions": [
                {"action": "reboot", "instance_uuid": "{server}", "user_id": "{member_id}",
                 "project_id": "{project_id}", "message": None, "updated_at": str,
                 "request_id": re.compile("^req-"), "start_time": re.compile(r"\.\d{6}$")},
                {"action": "reboot"}, {"action": "start"}, {"action": "stop"},
                {"action": "create"}]}, save={"request": "instanceActions.0.request_id"},
            source="src/cloud/history.c",
            says="who did what, newest first; what was refused is not there, nor a renaming"),
        Row("reader", "GET", SERVER + "/os-instance-actions", headers=PLAIN,
            answer={"instanceActions": Every({"updated_at": Absent}, 5)}, source=HISTORY,
            says="since 2.51 also when it was done; a reader may see"),
        Row("member", "GET", SERVER + "/os-instance-actions/{request}", headers=V67,
            answer={"instanceAction": {"action": "reboot", "events": list}}, source=API,
            says="one of them"),
        Row("member", "GET", SERVER + "/os-instance-actions/nonsense", 404, headers=V67,
            answer=missing("Action nonsense not found"), source=API, says="one that is not"),
        Row("other", "GET", SERVER + "/os-instance-actions", 404, headers=V67, answer=missing(),
            source=API, says="another project's are not shown"),
        delete(expect=204), gone(),
        Row("member", "GET", SERVER + "/os-instance-actions", headers=V67,
            answer={"instanceActions": All(Len(6), Some({"action": "delete",
                                                         "user_id": "{member_id}"}))},
            source="src/cloud/history.c", says="the history of a server outlives it"),
        Row("member", "DELETE", SERVER, 404, headers=V67,
            answer=missing("Instance {server} could not be found"), source=CLIENT,
            says="deleting again is a 404"),
        action({"os-stop": None}, 404, "and so is an action", answer=missing()),
        Row("member", "GET", "network:/v2.0/ports/{port}", until=30,
            answer={"port": {"device_id": "", "device_owner": "", "status": "DOWN"}},
            source=CLIENT, says="a port of our own outlives it"),
        Row("member", "GET", SERVERS + "/nonsense", 404, headers=V67, answer=missing(),
            source=API, says="an id of another shape"),
    ], cleanup=[delete(), drop_port(), drop_network()]),

    Scene("metadata and tags", [
        IMAGE, FLAVORS,
        server(metadata={"a": "1"}), server_is("ACTIVE"),
        Row("member", "GET", SERVER + "/metadata", headers=V67, answer={"metadata": {"a": "1"}},
            source=API, says="read"),
        Row("member", "POST", SERVER + "/metadata", headers=V67,
            body={"metadata": {"b": "2"}}, answer={"metadata": {"a": "1", "b": "2"}},
            source=CLIENT, says="POST adds"),
        Row("member", "PUT", SERVER + "/metadata", headers=V67,
            body={"metadata": {"c": "3"}}, answer={"metadata": All(Len(1), {"c": "3"})},
            source=API, says="PUT replaces"),
        Row("member", "PUT", SERVER + "/metadata/d", headers=V67, body={"meta": {"d": "4"}},
            answer={"meta": {"d": "4"}}, source=API, says="one"),
        Row("member", "PUT", SERVER + "/metadata/d", 400, headers=V67,
            body={"meta": {"e": "4"}}, answer=bad("mismatch"), source=API,
            says="path and body have to agree"),
        Row("member", "GET", SERVER + "/metadata/d", headers=V67, answer={"meta": {"d": "4"}},
            source=API, says="read one"),
        Row("member", "DELETE", SERVER + "/metadata/d", 204, headers=V67, source=CLIENT,
            says="delete one"),
        Row("member", "DELETE", SERVER + "/metadata/d", 404, headers=V67, answer=missing(),
            source=CLIENT, says="once"),
        Row("member", "GET", SERVER + "/metadata/d", 404, headers=V67,
            answer=missing("Metadata item was not found"), source=API, says="so it is gone"),
        Row("member", "POST", SERVER + "/metadata", 400, headers=V67,
            body={"metadata": {"x": 5}}, answer=bad("^Invalid input for field/attribute"), source=API, says="texts only"),
        Row("member", "POST", SERVER + "/metadata", 400, headers=V67, body={"meta": {}},
            answer=bad("metadata"), source=API, says="the right word"),
        Row("member", "POST", SERVER + "/metadata", 403, headers=V67,
            body={"metadata": {f"k{i}": "x" for i in range(130)}},
            answer=forbidden("Maximum number of metadata items exceeds 128"),
            source="iac.md 2.3", says="128 items at most"),
        Row("member", "PUT", SERVER + "/tags", headers=V67, body={"tags": ["red", "blue"]},
            answer={"tags": Len(2)}, source=API, says="tags are set"),
        Row("member", "GET", SERVER + "/tags", headers=V67,
            answer={"tags": All(Some("red"), Some("blue"))}, source=API, says="read"),
        Row("member", "PUT", SERVER + "/tags/green", 201, headers=V67, source=API,
            says="one more"),
        Row("member", "PUT", SERVER + "/tags/green", 204, headers=V67, source=API,
            says="which is there already"),
        Row("member", "GET", SERVER + "/tags/green", 204, headers=V67, source=API,
            says="is it there"),
        Row("member", "DELETE", SERVER + "/tags/green", 204, headers=V67, source=API,
            says="one less"),
        Row("member", "DELETE", SERVER + "/tags/green", 404, headers=V67,
            answer=missing("no tag 'green'"), source=API, says="once"),
        Row("member", "GET", SERVER + "/tags/green", 404, headers=V67, answer=missing(),
            source=API, says="it is not"),
        Row("member", "PUT", SERVER + "/tags", 400, headers=V67, body={"tags": ["a/b"]},
            answer=bad("^Invalid input for field/attribute"), source=API, says="no slash"),
        Row("member", "DELETE", SERVER + "/tags", 204, headers=V67, source=API, says="none"),
        Row("member", "GET", SERVER + "/tags", headers=V67, answer={"tags": []}, source=API,
            says="so it has none"),
        Row("member", "GET", SERVER + "/tags", 404, headers=at(25), source=HISTORY,
            says="before 2.26 there are no tags"),
    ], cleanup=[delete()]),

    Scene("lists in pages", [
        IMAGE, FLAVORS,
        server("s1", tags=["{scene}"]), server("s2", tags=["{scene}"]),
        server("s3", tags=["{scene}"]),
        server_is("ACTIVE", "s1"), server_is("ACTIVE", "s2"), server_is("ACTIVE", "s3"),
        Row("member", "GET", SERVERS + "/detail?tags={scene}&limit=2&sort_key=created_at&sort_dir=asc",
            headers=V67,
            answer={"servers": Len(2),
                    "servers_links": [{"rel": "next", "href": re.compile("limit=2.*marker=")}]},
            save={"last": "servers.1.id"}, source=WORLD, says="the first page names the next"),
        Row("member", "GET", SERVERS + "/detail?tags={scene}&limit=2&sort_key=created_at&sort_dir=asc"
            "&marker={last}", headers=V67,
            answer={"servers": All(Len(1), No({"id": "{last}"})), "servers_links": Absent},
            source=WORLD, says="the last page names none"),
        Row("member", "GET", SERVERS + "/detail?tags={scene}&limit=3", headers=V67,
            answer={"servers": Len(3), "servers_links": [{"rel": "next"}]},
            save={"last": "servers.2.id"}, source=WORLD,
            says="a page that is just full names a next one"),
        Row("member", "GET", SERVERS + "/detail?tags={scene}&limit=3&marker={last}", headers=V67,
            answer={"servers": [], "servers_links": Absent}, source=WORLD, says="which is empty"),
        Row("member", "GET", SERVERS + "?tags={scene}&sort_key=nonsense", 400, headers=V67,
            answer=bad("sort_key|nonsense"), source=API, says="an unknown key to sort by"),
    ], cleanup=[delete("s1"), delete("s2"), delete("s3")]),

    Scene("volumes of servers", [
        IMAGE, FLAVORS, volume(), volume("volume2"),
        volume_is("available"), volume_is("available", "volume2"),
        server(networks="none", block_device_mapping_v2=[
            {"boot_index": 0, "uuid": "{image}", "source_type": "image",
             "destination_type": "local", "delete_on_termination": True},
            {"boot_index": -1, "uuid": "{volume}", "source_type": "volume",
             "destination_type": "volume", "delete_on_termination": False}],
            says="a server that is born with a volume"),
        server_is("ACTIVE", **{"os-extended-volumes:volumes_attached":
                               [{"id": "{volume}", "delete_on_termination": False}]}),
        volume_is("in-use", attachments=[{"server_id": "{server}", "volume_id": "{volume}",
                                          "device": str, "attachment_id": str}],
                  says="the volume says whose it is"),
        refused("another server with the same volume: the natural guard",
                bad("status must be 'available'|in-use"),
                asked(block_device_mapping_v2=[
                    {"boot_index": 0, "uuid": "{image}", "source_type": "image",
                     "destination_type": "local", "delete_on_termination": True},
                    {"boot_index": -1, "uuid": "{volume}", "source_type": "volume",
                     "destination_type": "volume", "delete_on_termination": False}]),
                source="iac.md 2.4"),
        Row("member", "GET", SERVER + "/os-volume_attachments", headers=V67,
            answer={"volumeAttachments": [{"volumeId": "{volume}", "serverId": "{server}",
                                           "device": str, "id": "{volume}"}]},
            source=API, says="its volumes"),
        Row("member", "GET", SERVER + "/os-volume_attachments/{volume}", headers=at(79),
            answer={"volumeAttachment": {"delete_on_termination": False, "tag": None}},
            source=HISTORY, says="2.79 tells whether a volume goes with the server"),
        Row("member", "POST", SERVER + "/os-volume_attachments", 200, headers=V67,
            body={"volumeAttachment": {"volumeId": "{volume2}"}},
            answer={"volumeAttachment": {"volumeId": "{volume2}", "serverId": "{server}",
                                         "device": str}}, source=CLIENT, says="one more"),
        volume_is("in-use", "volume2"),
        Row("member", "POST", SERVER + "/os-volume_attachments", 400, headers=V67,
            body={"volumeAttachment": {"volumeId": "{volume2}"}},
            answer=bad("status must be available|in-use|already attached"), source=CLIENT,
            says="twice is refused"),
        Row("member", "POST", SERVER + "/os-volume_attachments", 404, headers=V67,
            body={"volumeAttachment": {"volumeId": NOT_THERE}}, answer=missing(NOT_THERE),
            source=API, says="a volume that is not there"),
        Row("member", "POST", SERVER + "/os-volume_attachments", 400, headers=V67,
            body={"volumeAttachment": {}}, answer=bad("volumeId"), source=API, says="which one"),
        Row("member", "DELETE", "volume:/v3/{project_id}/volumes/{volume2}", 400,
            answer=bad("Volume status must be available or error"), source="src/cloud/cinder.c",
            says="a volume in use isn't deleted: 400, not 409"),
        Row("member", "DELETE", SERVER + "/os-volume_attachments/{volume2}", 202, headers=V67,
            source=CLIENT, says="taken off"),
        volume_is("available", "volume2", attachments=[]),
        # Cinder calls it available a moment before Nova has forgotten it; a 400 until then.
        Row("member", "DELETE", SERVER + "/os-volume_attachments/{volume2}", 404, headers=V67,
            until=30, answer=missing(), source=CLIENT, says="once"),
        Row("member", "GET", SERVER + "/os-volume_attachments/{volume2}", 404, headers=V67,
            answer=missing(), source=API, says="so it is off"),
        action({"os-stop": None}, 202, "stopped"), server_is("SHUTOFF"),
        Row("member", "POST", SERVER + "/os-volume_attachments", 200, headers=V67,
            body={"volumeAttachment": {"volumeId": "{volume2}"}}, source=CLIENT,
            says="a stopped server takes a volume too"),
        volume_is("in-use", "volume2"),
        Row("member", "GET", SERVER + "/os-instance-actions", headers=V67,
            answer={"instanceActions": All(Some({"action": "attach_volume"}),
                                           Some({"action": "detach_volume"}))},
            source="src/cloud/history.c", says="volumes are part of its history"),
        delete(expect=204), gone(),
        volume_is("available", attachments=[], says="a volume outlives the server"),
        volume_is("available", "volume2"),
    ], cleanup=[delete(), drop_volume(), drop_volume("volume2")]),

    Scene("resize", [
        IMAGE, FLAVORS, volume(), volume_is("available"),
        server(block_device_mapping_v2=[
            {"boot_index": 0, "uuid": "{image}", "source_type": "image",
             "destination_type": "local", "delete_on_termination": True},
            {"boot_index": -1, "uuid": "{volume}", "source_type": "volume",
             "destination_type": "volume", "delete_on_termination": False}]),
        server_is("ACTIVE"),
        action({"resize": {"flavorRef": "{tiny}"}}, 400, "to the size that it has",
               answer=bad("When resizing, instances must change flavor")),
        action({"resize": {"flavorRef": "nonsense"}}, 400, "to a flavor that is not there",
               answer=bad("nonsense")),
        action({"resize": {}}, 400, "to what", answer=bad("flavorRef")),
        action({"revertResize": None}, 409, "there is nothing to go back to",
               answer=conflict("Cannot 'revertResize' instance {server} while it is in "
                               "vm_state active")),
        action({"resize": {"flavorRef": "{small}"}}, 202, "bigger"),
        server_is("VERIFY_RESIZE", seconds=120, flavor={"original_name": "m1.small"},
                  **{"OS-EXT-STS:vm_state": "resized"}),
        action({"resize": {"flavorRef": "{tiny}"}}, 409, "not twice at once",
               answer=conflict("Cannot 'resize' instance {server} while it is in "
                               "vm_state resized")),
        action({"os-stop": None}, 409, "nor anything else",
               answer=conflict("vm_state resized")),
        Row("member", "POST", SERVER + "/metadata", 409, headers=V67,
            body={"metadata": {"a": "1"}},
            answer=conflict("Cannot 'update metadata' instance {server} while it is in "
                            "vm_state resized"), source=CLIENT,
            says="nor are words for it: what is to be replaced is confirmed first"),
        action({"revertResize": None}, 202, "back"),
        server_is("ACTIVE", seconds=120, flavor={"original_name": "m1.tiny"}),
        volume_is("in-use", says="its volume came along"),
        action({"resize": {"flavorRef": "{small}"}}, 202, "bigger again"),
        server_is("VERIFY_RESIZE", seconds=120),
        action({"confirmResize": None}, 204, "kept: 204, unlike its siblings"),
        server_is("ACTIVE", seconds=120, flavor={"original_name": "m1.small", "ram": 2048}),
        action({"confirmResize": None}, 409, "once", answer=conflict("vm_state active")),
        action({"os-stop": None}, 202, "stopped"), server_is("SHUTOFF"),
        action({"resize": {"flavorRef": "{tiny}"}}, (202, 400), "a stopped server, to less disk"),
    ], cleanup=[delete(), drop_volume()]),

    Scene("resize of a stopped server", [
        IMAGE, FLAVORS, server(), server_is("ACTIVE"),
        action({"os-stop": None}, 202, "stopped"), server_is("SHUTOFF"),
        action({"resize": {"flavorRef": "{small}"}}, 202, "bigger"),
        server_is("VERIFY_RESIZE", seconds=120),
        action({"confirmResize": None}, 204, "kept"),
        server_is("SHUTOFF", seconds=120, flavor={"original_name": "m1.small"},
                  says="it stays stopped"),
    ], cleanup=[delete()]),

    Scene("rebuild", [
        IMAGE, FLAVORS, NETWORK, SUBNET, port(),
        server(networks=[{"port": "{port}"}], metadata={"a": "1"}, tags=["{scene}"]),
        server_is("ACTIVE"),
        action({"rebuild": {"imageRef": NOT_THERE}}, 400, "from an image that is not there",
               answer=bad("image")),
        action({"rebuild": {}}, 400, "from what", answer=bad("imageRef")),
        action({"rebuild": {"imageRef": "{image}", "user_data": "QQ=="}}, 400,
               "new user_data before 2.57", headers=at(56), answer=bad("user_data")),
        action({"rebuild": {"imageRef": "{image}", "metadata": {"b": "2"}, "user_data": "QQ=="}},
               202, "a new disk: the answer shows the server",
               answer={"server": {"id": "{server}", "status": "REBUILD", "adminPass": str,
                                  "image": {"id": "{image}"},
                                  "metadata": All(Len(1), {"b": "2"})}}),
        server_is("ACTIVE", seconds=120, metadata={"b": "2"}, tags=["{scene}"],
                  says="same server, same tags, the new metadata"),
        Row("member", "GET", "network:/v2.0/ports/{port}",
            answer={"port": {"device_id": "{server}", "status": "ACTIVE"}}, source=API, until=30,
            says="same port"),
        Row("admin", "GET", SERVER, headers=V67,
            answer={"server": {"OS-EXT-SRV-ATTR:user_data": "QQ=="}}, source=HISTORY,
            says="and the new user_data"),
        action({"os-stop": None}, 202, "stopped"), server_is("SHUTOFF"),
        action({"rebuild": {"imageRef": "{image}"}}, 202, "a stopped server can be rebuilt"),
        server_is("SHUTOFF", seconds=120, says="and stays stopped"),
    ], cleanup=[delete(), drop_port(), drop_network()]),

    Scene("server groups", [
        Row("member", "POST", "compute:/v2.1/os-server-groups", 200, headers=V67,
            body={"server_group": {"name": "{scene}", "policy": "soft-anti-affinity"}},
            answer={"server_group": {"id": str, "name": "{scene}", "policy": "soft-anti-affinity",
                                     "rules": {}, "members": [], "project_id": str,
                                     "user_id": str, "policies": Absent, "metadata": Absent}},
            save={"group": "server_group.id"}, source=CLIENT, says="2.64: one policy"),
        Row("member", "POST", "compute:/v2.1/os-server-groups", 200, headers=at(63),
            body={"server_group": {"name": "{scene}", "policies": ["affinity"]}},
            answer={"server_group": {"policies": ["affinity"], "metadata": {},
                                     "policy": Absent}},
            save={"group2": "server_group.id"}, source=CLIENT,
            says="before: a list of one; the name is not unique"),
        Row("member", "POST", "compute:/v2.1/os-server-groups", 400, headers=V67,
            body={"server_group": {"name": "x", "policies": ["affinity"]}},
            answer=bad("policy"), source=HISTORY, says="the old word at the new version"),
        Row("member", "POST", "compute:/v2.1/os-server-groups", 400, headers=V67,
            body={"server_group": {"name": "x", "policy": "nonsense"}}, answer=bad("^Invalid input for field/attribute"),
            source=API, says="another policy"),
        Row("member", "POST", "compute:/v2.1/os-server-groups", 400, headers=at(14),
            body={"server_group": {"name": "x", "policies": ["soft-affinity"]}},
            answer=bad("^Invalid input for field/attribute"), source=HISTORY, says="soft ones are since 2.15"),
        Row("member", "POST", "compute:/v2.1/os-server-groups", 400, headers=V67,
            body={"server_group": {"policy": "affinity"}}, answer=bad("name"), source=API,
            says="without a name"),
        Row("member", "GET", "compute:/v2.1/os-server-groups?limit=100", headers=V67,
            answer={"server_groups": All(Some({"id": "{group}"}), Some({"id": "{group2}"})),
                    "server_groups_links": Absent}, source=WORLD, says="all"),
        Row("member", "GET", "compute:/v2.1/os-server-groups?limit=1", headers=V67,
            answer={"server_groups": Len(1), "server_groups_links": Absent},
            save={"first": "server_groups.0.id"}, source=WORLD,
            says="in pages, without links"),
        Row("member", "GET", "compute:/v2.1/os-server-groups?limit=100&offset=1", headers=V67,
            answer={"server_groups": No({"id": "{first}"})}, source=WORLD,
            says="the rest by offset"),
        Row("member", "GET", "compute:/v2.1/os-server-groups?limit=100&offset=1000", headers=V67,
            answer={"server_groups": []}, source=WORLD, says="far behind the end"),
        Row("member", "GET", "compute:/v2.1/os-server-groups?limit=-1", 400, headers=V67,
            answer=bad("limit"), source=API, says="a negative limit"),
        Row("member", "GET", "compute:/v2.1/os-server-groups/{group}", headers=V67,
            answer={"server_group": {"id": "{group}", "members": []}}, source=API, says="one"),
        Row("other", "GET", "compute:/v2.1/os-server-groups/{group}", 404, headers=V67,
            answer=missing(), source=API, says="another project's does not exist"),
        IMAGE, FLAVORS,
        server(hints={"group": "{group}"}, says="a server of the group"),
        server_is("ACTIVE"),
        Row("member", "GET", "compute:/v2.1/os-server-groups/{group}", headers=V67,
            answer={"server_group": {"members": ["{server}"]}}, source=CLIENT,
            says="the group knows it"),
        Row("member", "GET", SERVER, headers=at(71),
            answer={"server": {"server_groups": ["{group}"]}}, source=HISTORY,
            says="and since 2.71 it knows the group"),
        Row("member", "DELETE", "compute:/v2.1/os-server-groups/{group2}", 204, headers=V67,
            source=CLIENT, says="deleted"),
        Row("member", "DELETE", "compute:/v2.1/os-server-groups/{group2}", 404, headers=V67,
            answer=missing("Instance group {group2} could not be found"), source=CLIENT,
            says="once"),
        Row("member", "DELETE", "compute:/v2.1/os-server-groups/{group}", 204, headers=V67,
            source=CLIENT, says="a group with a server can be deleted too"),
    ], cleanup=[delete()] + [Row("member", "DELETE", "compute:/v2.1/os-server-groups/{%s}" % k,
                                 (204, 404)) for k in ("group", "group2")]),

    Scene("anti-affinity on two hosts or one", [
        IMAGE, FLAVORS,
        Row("member", "POST", "compute:/v2.1/os-server-groups", 200, headers=V67,
            body={"server_group": {"name": "{scene}", "policy": "anti-affinity",
                                   "rules": {"max_server_per_host": 1}}},
            answer={"server_group": {"policy": "anti-affinity",
                                     "rules": {"max_server_per_host": 1}}},
            save={"group": "server_group.id"}, source=API, says="strictly apart"),
        server("s1", hints={"group": "{group}"}), server_is("ACTIVE", "s1"),
        server("s2", hints={"group": "{group}"}), server("s3", hints={"group": "{group}"}),
        Row("member", "GET", SERVERS + "/{s3}", headers=V67, until=90,
            answer={"server": {"status": "ERROR", "OS-EXT-STS:vm_state": "error",
                               "fault": {"code": 500, "created": TIME,
                                         "message": re.compile("^No valid host was found")}}},
            source=CLIENT, only="real", reason="each server of pocket has a host of its own",
            says="the third has no host left: accepted, then ERROR with a fault"),
    ], cleanup=[delete("s1"), delete("s2"), delete("s3"),
                Row("member", "DELETE", "compute:/v2.1/os-server-groups/{group}", (204, 404))]),

    Scene("key pairs", [
        Row("member", "POST", "compute:/v2.1/os-keypairs", 201, headers=V67,
            body={"keypair": {"name": "{scene}", "public_key":
                              "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+tIDGfv/NL62YYbDhTTg5shvCVxrDmaF"
                              "A2JAEvjlH5 x"}},
            answer={"keypair": {"name": "{scene}", "fingerprint": str, "public_key": str,
                                "type": "ssh", "user_id": str}}, source=API, says="imported"),
        Row("member", "POST", "compute:/v2.1/os-keypairs", 409, headers=V67,
            body={"keypair": {"name": "{scene}", "public_key":
                              "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+tIDGfv/NL62YYbDhTTg5shvCVxrDmaF"
                              "A2JAEvjlH5 x"}},
            answer=conflict("Key pair '{scene}' already exists"), source=API,
            says="a name is unique for a user"),
        Row("member", "POST", "compute:/v2.1/os-keypairs", 400, headers=V67,
            body={"keypair": {"name": "{scene}-b", "public_key": "nonsense"}},
            answer=bad("[Kk]eypair data is invalid"), source=API, says="what is no key"),
        Row("member", "GET", "compute:/v2.1/os-keypairs", headers=V67,
            answer={"keypairs": Some({"keypair": {"name": "{scene}"}})}, source=API, says="all"),
        Row("other", "GET", "compute:/v2.1/os-keypairs/{scene}", 404, headers=V67,
            answer=missing("not found"), source=API, says="another user does not see it"),
        Row("member", "DELETE", "compute:/v2.1/os-keypairs/{scene}", 204, headers=V67,
            source=API, says="deleted"),
        Row("member", "DELETE", "compute:/v2.1/os-keypairs/{scene}", 404, headers=V67,
            answer=missing("not found"), source=API, says="once"),
    ], cleanup=[Row("member", "DELETE", "compute:/v2.1/os-keypairs/{scene}", (202, 204, 404))]),

    Scene("zones", [
        Row("member", "GET", "compute:/v2.1/os-availability-zone",
            answer={"availabilityZoneInfo": Some({"zoneName": "nova", "hosts": None,
                                                  "zoneState": {"available": True}})},
            source=API, says="where servers can be"),
    ]),
]
