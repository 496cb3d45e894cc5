"""Cinder v3: volumes, as src/cloud/cinder.c and world.c ask for them."""
import re

from rows import Absent, All, AnyOf, Every, Len, No, Row, Scene, Some

CLIENT = "src/cloud/cinder.c"
WORLD = "src/cloud/world.c"
FACTS = "src/cloud/facts.c"
API = "Block Storage API v3"
HISTORY = "Block Storage API microversion history"
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$")
NOT_THERE = "00000000-0000-4000-8000-000000000000"
VOLUMES = "volume:/v3/{project_id}/volumes"
VOLUME = VOLUMES + "/{volume}"
METADATA = "/detail?metadata=%7B%27atoll%27%3A%27{scene}%27%7D"


def at(minor):
    return {"OpenStack-API-Version": f"volume 3.{minor}"}


def bad(words=""):
    return {"badRequest": {"code": 400, "message": re.compile(words)}}


def forbidden(words=""):
    return {"forbidden": {"code": 403, "message": re.compile(words)}}


def missing(words=""):
    return {"itemNotFound": {"code": 404, "message": re.compile(words)}}


def over(words):
    return {"overLimit": {"code": 413, "message": re.compile(words), "retryAfter": "0"}}


def volume(key="volume", size=1, after=0, **more):
    return Row("member", "POST", VOLUMES, 202, after=after,
               body={"volume": {"name": "{scene}", "size": size, **more}},
               answer={"volume": {"id": str}}, save={key: "volume.id"}, source=CLIENT,
               says="a volume")


def volume_is(status, key="volume", says="it gets there", **more):
    return Row("member", "GET", VOLUMES + "/{%s}" % key, until=60,
               answer={"volume": {"status": status, **more}}, source=CLIENT, says=says)


def refused(says, answer, body, expect=400, who="member", source=API, path=VOLUMES, has=None):
    return Row(who, "POST", path, expect, body={"volume": body}, answer=answer, has=has or {},
               source=source, says=says)


def action(body, expect=202, says="", answer=None, headers=None, key="volume", who="member",
           has=None):
    return Row(who, "POST", VOLUMES + "/{%s}/action" % key, expect, headers=headers or {},
               body=body, answer=answer, has=has or {}, source=API, says=says)


def delete(key="volume"):
    return Row("member", "DELETE", VOLUMES + "/{%s}" % key, (202, 404), until=60, source=CLIENT,
               says="deleted")


def versioned(asked, told, expect=200, answer=None, says=""):
    return Row("member", "GET", VOLUMES + "?limit=1", expect,
               headers={"OpenStack-API-Version": asked}, has={"OpenStack-API-Version": told},
               answer=answer, source=HISTORY, says=says)


SCENES = [
    Scene("versions", [
        Row("anon", "GET", "volume:/", 300,
            answer={"versions": Some({"id": "v3.0", "status": "CURRENT", "version": "3.70",
                                      "min_version": "3.0"})},
            source=API, says="its versions, for anybody, as a choice"),
        Row("member", "GET", "volume:/v3/", 200,
            answer={"versions": Some({"id": "v3.0", "version": "3.70"})}, source=API,
            says="below /v3 only with a token"),
        Row("anon", "GET", "volume:/v3/", 401, source=API, says="none without"),
        Row("member", "GET", VOLUMES + "?limit=1", 200,
            has={"OpenStack-API-Version": "volume 3.0",
                 "Vary": re.compile("OpenStack-API-Version")}, source=HISTORY,
            says="nobody asks: 3.0"),
        versioned("volume 3.42", "volume 3.42", says="what atoll asks for"),
        versioned("volume 3.70", "volume 3.70", says="the newest"),
        versioned("volume latest", "volume 3.70", says="whatever is newest"),
        versioned("volume 3.71", "volume 3.71", 406,
                  {"computeFault": {"code": 406, "message": re.compile(
                      "Version 3.71 is not supported by the API. Minimum is 3.0 and maximum is "
                      "3.70")}}, "a version of the future"),
        versioned("volume 3.70, compute 2.67", "volume 3.70", says="several services at once"),
        versioned("compute 2.67", None, 400, bad(), "a version for another service only: refused, "
                  "where Nova ignores it"),
        versioned("volume two", None, 400, bad("invalid format"), "no version at all"),
        Row("anon", "GET", VOLUMES, 401, has={"WWW-Authenticate": re.compile("^Keystone uri=")},
            answer={"error": {"code": 401}}, source="keystonemiddleware", says="without a token"),
        Row("member", "GET", "volume:/v3/{other_project_id}/volumes", 400,
            answer=bad("Malformed request url"), source=API,
            says="another project in the path"),
        Row("member", "GET", "volume:/v3/volumes", 200, answer={"volumes": list},
            source="Cinder release notes, 3.67", says="no project in the path is fine too"),
        Row("member", "GET", "volume:/v3/{project_id}/nonsense", 404, source=API,
            says="a collection that does not exist"),
    ]),

    Scene("types", [
        Row("member", "GET", "volume:/v3/{project_id}/types",
            answer={"volume_types": All(Some({"name": "file", "id": str, "is_public": True,
                                              "os-volume-type-access:is_public": True}),
                                        Some({"name": "__DEFAULT__"}))},
            source=FACTS, says="what kinds of disk there are"),
        Row("member", "GET", "volume:/v3/{project_id}/types/default",
            answer={"volume_type": {"name": str}}, source=API,
            says="the default one"),
        Row("member", "GET", "volume:/v3/{project_id}/types/nonsense", 404,
            answer=missing("nonsense"), source=API, says="one that is not"),
        Row("member", "GET", "volume:/v3/{project_id}/os-availability-zone",
            answer={"availabilityZoneInfo": Some({"zoneName": "nova",
                                                  "zoneState": {"available": True}})},
            source=API, says="where volumes can be"),
        Row("member", "POST", "volume:/v3/{project_id}/types", 403,
            body={"volume_type": {"name": "{scene}"}}, answer=forbidden(), source=API,
            says="a type is for the admin to make"),
    ]),

    Scene("the life of a volume", [
        Row("member", "POST", VOLUMES, 202,
            body={"volume": {"name": "{scene}", "description": "{scene}", "size": 1,
                             "metadata": {"atoll": "{scene}", "atoll-key": "volume.db"}}},
            answer={"volume": {"id": str, "status": "creating", "name": "{scene}", "size": 1,
                               "description": "{scene}", "created_at": TIME, "updated_at": None,
                               "metadata": {"atoll": "{scene}", "atoll-key": "volume.db"},
                               "attachments": [], "bootable": "false", "encrypted": False,
                               "multiattach": False, "availability_zone": "nova",
                               "snapshot_id": None, "source_volid": None, "user_id": str,
                               "volume_type": str, "replication_status": None,
                               "consistencygroup_id": None}},
            save={"volume": "volume.id"}, source=CLIENT, says="made"),
        volume_is("available", size=1, bootable="false", attachments=[],
                  **{"os-vol-tenant-attr:tenant_id": "{project_id}"}),
        Row("member", "GET", VOLUMES + METADATA, 200,
            answer={"volumes": [{"id": "{volume}", "status": "available"}]}, source=WORLD,
            says="found by its marker: the filter is a Python dict"),
        Row("member", "GET", VOLUMES + METADATA + "&name={scene}", 200,
            answer={"volumes": Len(1), "volumes_links": Absent}, source=WORLD,
            says="and by its name"),
        Row("member", "GET", VOLUMES + "/detail?metadata=%7B%27atoll%27%3A%27{scene}%27%2C%27atoll-key"
            "%27%3A%27volume.db%27%7D", 200, answer={"volumes": Len(1)}, source=API,
            says="two pairs are both asked for"),
        Row("member", "GET", VOLUMES + "/detail?metadata=%7B%27atoll%27%3A%27{scene}%27%2C%27atoll-key"
            "%27%3A%27other%27%7D", 200, answer={"volumes": []}, source=API,
            says="and both have to fit"),
        Row("member", "GET", VOLUMES + "/detail?metadata=%7B%22atoll%22%3A%22{scene}%22%7D", 200,
            answer={"volumes": Len(1)}, source=API, says="double quotes do too"),
        Row("member", "GET", VOLUMES + "?name={scene}", 200,
            answer={"volumes": [{"id": "{volume}", "name": "{scene}", "links": list,
                                 "status": Absent}]}, source=API, says="the short list"),
        Row("member", "GET", VOLUMES + "?name={scene}&status=error", 200,
            answer={"volumes": []}, source=API, says="by a status that it has not"),
        Row("member", "GET", VOLUMES + "?name={scene}&status=available", 200,
            answer={"volumes": Len(1)}, source=API, says="and by the one it has"),
        Row("other", "GET", "volume:/v3/{other_project_id}/volumes/{volume}", 404,
            answer=missing("Volume {volume} could not be found"), source=API,
            says="another project's volume does not exist"),
        Row("reader", "GET", VOLUME, 200, source=API, says="a reader reads"),
        Row("member", "PUT", VOLUME, 200, body={"volume": {"name": "{scene}-b"}},
            answer={"volume": {"name": "{scene}-b"}}, source=API, says="renamed"),
        Row("member", "PUT", VOLUME, 200, body={"volume": {}}, answer={"volume": {}}, source=API,
            says="a change of nothing"),
        Row("member", "PUT", VOLUME, 400, body={"vol": {}}, answer=bad("vol"),
            source=API, says="a body of another kind"),
        Row("member", "PUT", VOLUME, 200, answer={"volume": {
                "name": "n", "description": "d", "metadata": All(Len(1), {"atoll": "x"})}},
            body={"volume": {"name": "n", "description": "d", "metadata": {"atoll": "x"}}},
            source=CLIENT, says="adopted: name, description and metadata in one call, which "
                                "replaces the metadata"),
        Row("member", "DELETE", VOLUME, 202, source=CLIENT, says="deleted"),
        Row("member", "GET", VOLUME, 404, until=60,
            answer=missing("Volume {volume} could not be found"), source=CLIENT,
            says="and gone after a while"),
        Row("member", "DELETE", VOLUME, 404, answer=missing(), source=CLIENT,
            says="deleting again is a 404"),
        Row("member", "GET", VOLUMES + "/nonsense", 404, answer=missing("nonsense"), source=API,
            says="an id of another shape"),
    ], cleanup=[delete()]),

    Scene("volumes that are refused", [
        refused("without a size", bad(), {"name": "x"}),
        refused("a size of 0", bad("size|0"), {"size": 0}),
        refused("a size below 0", bad("size|-1"), {"size": -1}),
        refused("a size that is no number", bad("size|big"), {"size": "big"}),
        refused("a type that is not there", missing("Volume type with name nonsense could not be "
                                                    "found"),
                {"size": 1, "volume_type": "nonsense"}, 404),
        refused("a zone that is not there", bad("nonsense"),
                {"size": 1, "availability_zone": "nonsense"}),
        refused("metadata that is no text", bad("metadata|5"), {"size": 1, "metadata": {"a": 5}}),
        refused("metadata of 256 characters", bad("metadata|too long|x"),
                {"size": 1, "metadata": {"a": "x" * 256}}),
        refused("a name of 256 characters", bad("name|too long|x"), {"size": 1, "name": "x" * 256}),
        Row("member", "POST", VOLUMES, 202,
            body={"volume": {"size": 1, "nonsense": 1, "name": "{scene}"}},
            answer={"volume": {"nonsense": Absent}}, save={"volume": "volume.id"}, source=API,
            says="an unknown property is no reason: it is dropped"),
        Row("member", "POST", VOLUMES, 400, body={"vol": {"size": 1}}, answer=bad("volume"),
            source=API, says="a body of another kind"),
        Row("reader", "POST", VOLUMES, (404, 403), body={"volume": {"size": 1,
                                                                    "volume_type": "nonsense"}},
            source="traps.md", says="a reader may try with the old default rules (Zed: 404, no "
                                    "such type); 403 with the new ones"),
        Row("nobody", "GET", VOLUMES, (400, 401, 403), source=API,
            says="someone without a project"),
        Row("member", "GET", VOLUMES + "/detail?metadata=nonsense", 200, answer={"volumes": []},
            source=API, says="a filter that is no Python dict finds nothing"),
        Row("member", "GET", VOLUMES + "?nonsense=1", 200, source=API,
            says="an unknown filter is ignored"),
        Row("member", "GET", VOLUMES + "?limit=0", 200, answer={"volumes": []}, source=API,
            says="a page of nothing"),
        Row("member", "GET", VOLUMES + "?limit=-1", 400, answer=bad("limit"), source=API,
            says="a negative limit"),
        Row("member", "GET", VOLUMES + "?limit=two", 400, answer=bad("limit"), source=API,
            says="a limit that is no number"),
        Row("member", "GET", VOLUMES + "?marker=" + NOT_THERE, 404, answer=missing(NOT_THERE),
            source=API, says="a marker that is not there: 404 here, 400 in Nova"),
    ], cleanup=[delete()]),

    Scene("in pages", [
        volume("v1", metadata={"atoll": "{scene}"}), volume_is("available", "v1"),
        volume("v2", after=1.1, metadata={"atoll": "{scene}"}), volume_is("available", "v2"),
        volume("v3", after=1.1, metadata={"atoll": "{scene}"}), volume_is("available", "v3"),
        Row("member", "GET", VOLUMES + METADATA + "&limit=2", 200,
            answer={"volumes": [{"id": "{v3}"}, {"id": "{v2}"}],
                    "volumes_links": [{"rel": "next", "href": re.compile("limit=2.*marker={v2}")}]},
            source=WORLD, says="newest first; the first page names the next"),
        Row("member", "GET", VOLUMES + METADATA + "&limit=2&marker={v2}", 200,
            answer={"volumes": [{"id": "{v1}"}], "volumes_links": Absent}, source=WORLD,
            says="the last names none"),
        Row("member", "GET", VOLUMES + METADATA + "&limit=3", 200,
            answer={"volumes": Len(3), "volumes_links": [{"rel": "next"}]}, source=WORLD,
            says="a page that is just full names a next one"),
        Row("member", "GET", VOLUMES + METADATA + "&limit=3&marker={v1}", 200,
            answer={"volumes": [], "volumes_links": Absent}, source=WORLD, says="which is empty"),
        Row("member", "GET", VOLUMES + METADATA + "&limit=2&offset=1", 200,
            answer={"volumes": [{"id": "{v2}"}, {"id": "{v1}"}]}, source=API, says="by offset"),
        Row("member", "GET", VOLUMES + METADATA + "&sort=created_at:asc", 200,
            answer={"volumes": [{"id": "{v1}"}, {"id": "{v2}"}, {"id": "{v3}"}]}, source=API,
            says="oldest first"),
    ], cleanup=[delete("v1"), delete("v2"), delete("v3")]),

    Scene("metadata", [
        volume(metadata={"a": "1"}), volume_is("available"),
        Row("member", "GET", VOLUME + "/metadata", 200, answer={"metadata": {"a": "1"}},
            source=API, says="read"),
        Row("member", "POST", VOLUME + "/metadata", 200, body={"metadata": {"b": "2"}},
            answer={"metadata": {"a": "1", "b": "2"}}, source=CLIENT, says="POST adds"),
        Row("member", "PUT", VOLUME + "/metadata", 200, body={"metadata": {"c": "3"}},
            answer={"metadata": All(Len(1), {"c": "3"})}, source=API, says="PUT replaces"),
        Row("member", "PUT", VOLUME + "/metadata/d", 200, body={"meta": {"d": "4"}},
            answer={"meta": {"d": "4"}}, source=API, says="one"),
        Row("member", "GET", VOLUME + "/metadata/d", 200, answer={"meta": {"d": "4"}},
            source=API, says="read one"),
        Row("member", "DELETE", VOLUME + "/metadata/d", 200, source=CLIENT,
            says="delete one: 200, where Nova has 204"),
        Row("member", "DELETE", VOLUME + "/metadata/d", 404, answer=missing("d"), source=CLIENT,
            says="once"),
        Row("member", "POST", VOLUME + "/metadata", 400, body={"meta": {}}, answer=bad("meta"),
            source=API, says="the right word"),
        Row("member", "POST", VOLUME + "/metadata", 400, body={"metadata": {"x": 5}},
            answer=bad("^Invalid input for field/attribute"), source=API, says="texts only"),
    ], cleanup=[delete()]),

    Scene("bigger", [
        volume(), volume_is("available"),
        action({"os-extend": {"new_size": 2}}, 202, "grown"),
        volume_is("available", size=2),
        action({"os-extend": {"new_size": 1}}, 400, "it never shrinks",
               bad(r"New size for extend must be greater than current size. \(current: 2, "
                   r"extended: 1\)")),
        action({"os-extend": {"new_size": 2}}, 400, "nor stays", bad("must be greater")),
        action({"os-extend": {"new_size": "big"}}, 400, "to a number", bad("new_size|big")),
        action({"os-extend": {}}, 400, "to what", bad("new_size")),
        action({"nonsense": {}}, 400, "an action that does not exist",
               bad("There is no such action: nonsense|nonsense")),
        action({"os-extend": {"new_size": 3}}, 404, "a volume that is not there", missing(),
               key="scene"),
        action({"os-set_bootable": {"bootable": True}}, 200, "bootable"),
        volume_is("available", bootable="true"),
    ], cleanup=[delete()]),

    Scene("bigger while a server has it", [
        Row("member", "GET", "image:/v2/images?status=active", save={"image": "images.0.id"},
            source=FACTS, says="an image"),
        Row("member", "GET", "compute:/v2.1/flavors", save={"tiny": "flavors.0.id"}, source=FACTS,
            says="a flavor"),
        volume(volume_type="file"), volume_is("available"),
        Row("member", "POST", "compute:/v2.1/servers", 202,
            headers={"OpenStack-API-Version": "compute 2.67"},
            body={"server": {"name": "{scene}", "flavorRef": "{tiny}", "imageRef": "{image}",
                             "networks": "none"}}, save={"server": "server.id"}, source=CLIENT,
            says="a server"),
        Row("member", "GET", "compute:/v2.1/servers/{server}", until=90,
            answer={"server": {"status": "ACTIVE", "OS-EXT-STS:task_state": None}}, source=CLIENT,
            says="that runs"),
        Row("member", "POST", "compute:/v2.1/servers/{server}/os-volume_attachments", 200,
            body={"volumeAttachment": {"volumeId": "{volume}"}}, source=CLIENT, says="takes it"),
        volume_is("in-use"),
        action({"os-extend": {"new_size": 2}}, 400, "before 3.42 it can't grow now",
               bad("status must be available|Invalid volume")),
        action({"os-extend": {"new_size": 2}}, 202, "since 3.42 it may", headers=at(42)),
        volume_is("in-use", size=2),
        action({"os-extend": {"new_size": 1}}, 400, "but not shrink", bad("must be greater"),
               headers=at(42)),
        Row("member", "DELETE", VOLUME, 400,
            answer=bad("Volume status must be available or error or error_restoring"),
            source=CLIENT, says="it can't be deleted"),
        action({"os-retype": {"new_type": "file", "migration_policy": "never"}}, 400,
               "and has its type", bad("requested type has to be different")),
    ], cleanup=[Row("member", "DELETE", "compute:/v2.1/servers/{server}", (204, 404)),
                delete()]),

    Scene("another type", [
        volume(volume_type="file"), volume_is("available", volume_type="file"),
        action({"os-retype": {"new_type": "nonsense", "migration_policy": "never"}}, 404,
               "to one that is not there", missing("Volume type with name nonsense")),
        action({"os-retype": {"new_type": "__DEFAULT__", "migration_policy": "nonsense"}}, 400,
               "by a way that is not there", bad("migration_policy|nonsense")),
        action({"os-retype": {"migration_policy": "never"}}, 400, "to which",
               bad("new_type")),
        action({"os-retype": {"new_type": "file", "migration_policy": "never"}}, 400,
               "to the one that it has", bad("requested type has to be different")),
        action({"os-retype": {"new_type": "__DEFAULT__", "migration_policy": "never"}}, 202,
               "to the new one"),
        Row("member", "GET", VOLUME, until=60, source=CLIENT,
            answer={"volume": {"status": "available", "volume_type": AnyOf("__DEFAULT__", "file")}},
            save={"has": "volume.volume_type"},
            says="done, or not: a driver that can't leaves the type as it was and says nothing, so "
                 "it has to be looked at"),
        action({"os-retype": {"new_type": "{has}", "migration_policy": "on-demand"}}, 400,
               "to the one that it has now", bad("requested type has to be different")),
        Row("member", "GET", "volume:/v3/{project_id}/types",
            save={"type": "volume_types.0.id", "name": "volume_types.0.name"}, source=FACTS,
            says="types have ids"),
        Row("member", "POST", VOLUMES, 202,
            body={"volume": {"name": "{scene}", "size": 1, "volume_type": "{type}"}},
            answer={"volume": {"volume_type": "{name}"}}, save={"v2": "volume.id"}, source=API,
            says="a type by its id is shown by its name"),
        volume_is("available", "v2"),
    ], cleanup=[delete(), delete("v2")]),

    Scene("quotas", [
        Row("member", "GET", "volume:/v3/{project_id}/os-quota-sets/{project_id}", 200,
            answer={"quota_set": {"id": "{project_id}", "volumes": int, "gigabytes": int,
                                  "snapshots": int, "per_volume_gigabytes": int}},
            source="preflight", says="what a project may have"),
        Row("member", "GET", "volume:/v3/{project_id}/os-quota-sets/{project_id}?usage=true", 200,
            answer={"quota_set": {"volumes": {"limit": int, "in_use": int, "reserved": int},
                                  "gigabytes": {"limit": int, "in_use": int}}},
            source="preflight", says="and what it has"),
        Row("member", "GET", "volume:/v3/{project_id}/limits", 200,
            answer={"limits": {"rate": [], "absolute": {
                "maxTotalVolumes": int, "maxTotalVolumeGigabytes": int, "totalVolumesUsed": int,
                "totalGigabytesUsed": int, "maxTotalSnapshots": int}}}, source="preflight",
            says="in one answer"),
        Row("member", "GET", "volume:/v3/{project_id}/os-quota-sets/{other_project_id}", 403,
            answer=forbidden("quotas:show"), source=API, says="another's are not shown"),
        Row("member", "PUT", "volume:/v3/{project_id}/os-quota-sets/{project_id}", 403,
            body={"quota_set": {"volumes": 1000}}, answer=forbidden("^Policy doesn't allow .* to be performed"), source=API,
            says="nor are one's own to change"),
        Row("admin", "PUT", "volume:/v3/{admin_project_id}/os-quota-sets/{other_project_id}", 400,
            body={"quota_set": {"nonsense": 1}}, answer=bad("nonsense"), source=API,
            says="of what is not counted"),
        Row("admin", "PUT", "volume:/v3/{admin_project_id}/os-quota-sets/{other_project_id}", 200,
            body={"quota_set": {"volumes": 0}}, answer={"quota_set": {"volumes": 0}}, source=API,
            says="the admin closes everything"),
        refused("one more volume is a 413 that says try again at once: never do",
                over(r"VolumeLimitExceeded: Maximum number of volumes allowed \(0\) exceeded"),
                {"size": 1}, 413, who="other", source="iac.md 2.6", has={"Retry-After": "0"},
                path="volume:/v3/{other_project_id}/volumes"),
        Row("admin", "PUT", "volume:/v3/{admin_project_id}/os-quota-sets/{other_project_id}", 200,
            body={"quota_set": {"volumes": 5, "gigabytes": 1}}, source=API, says="one gigabyte"),
        refused("a gigabyte too much",
                over("VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds "
                     "allowed gigabytes quota. Requested 2G, quota is 1G and 0G has been "
                     "consumed"), {"size": 2}, 413, who="other", source="iac.md 2.6",
                has={"Retry-After": "0"}, path="volume:/v3/{other_project_id}/volumes"),
        Row("other", "POST", "volume:/v3/{other_project_id}/volumes", 202,
            body={"volume": {"size": 1}}, save={"volume": "volume.id"}, source=CLIENT,
            says="the one that fits"),
        Row("other", "GET", "volume:/v3/{other_project_id}/volumes/{volume}", until=60,
            answer={"volume": {"status": "available"}}, source=CLIENT, says="is made"),
        Row("other", "POST", "volume:/v3/{other_project_id}/volumes/{volume}/action", 413,
            body={"os-extend": {"new_size": 2}}, has={"Retry-After": "0"},
            answer=over("VolumeSizeExceedsAvailableQuota"), source="iac.md 2.6",
            says="growing counts too"),
        Row("other", "GET", "volume:/v3/{other_project_id}/volumes/{volume}",
            answer={"volume": {"status": "available", "size": 1}}, source=CLIENT,
            says="and leaves it as it was"),
        Row("admin", "PUT", "volume:/v3/{admin_project_id}/os-quota-sets/{other_project_id}", 200,
            body={"quota_set": {"gigabytes": 100, "per_volume_gigabytes": 3}}, source=API,
            says="no volume above three"),
        refused("a volume above the largest allowed",
                over("VolumeSizeExceedsLimit: Requested volume size 4G is larger than maximum "
                     "allowed limit 3G"), {"size": 4}, 413, who="other", source="iac.md 2.6",
                path="volume:/v3/{other_project_id}/volumes"),
        Row("admin", "DELETE", "volume:/v3/{admin_project_id}/os-quota-sets/{other_project_id}", 200,
            source=API, says="back to the default"),
    ], cleanup=[Row("admin", "DELETE",
                    "volume:/v3/{admin_project_id}/os-quota-sets/{other_project_id}", 200),
                Row("other", "DELETE", "volume:/v3/{other_project_id}/volumes/{volume}",
                    (202, 404), until=60)]),
]
