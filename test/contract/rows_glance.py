"""Glance v2: images are only found; atoll makes none."""
import re

from rows import Absent, All, AnyOf, Every, Len, No, Not, Row, Scene, Some

FACTS = "src/cloud/facts.c"
API = "Image API v2"
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
NOT_THERE = "00000000-0000-4000-8000-000000000000"
IMAGES = "image:/v2/images"


def failed(status, title, words=""):
    """Glance's errors are web pages, or their parts for who asks for JSON."""
    return {"code": f"{status} {title}", "title": title, "message": re.compile(words)}


def image(key, name="{scene}", expect=201, **more):
    return Row("member", "POST", IMAGES, expect,
               body={"name": name, "disk_format": "raw", "container_format": "bare", **more},
               save={key: "id"}, source=API, says="an image without content")


def drop(key):
    return Row("member", "DELETE", IMAGES + "/{%s}" % key, (204, 404))


SCENES = [
    Scene("versions", [
        Row("anon", "GET", "image:/", 300,
            answer={"versions": All(Some({"id": "v2.15", "status": "CURRENT"}),
                                    Some({"id": "v2.0", "status": "SUPPORTED"}),
                                    Every({"links": [{"rel": "self",
                                                      "href": re.compile("/v2/$")}]}))},
            source=API, says="its versions, for anybody, as a choice"),
        Row("anon", "GET", "image:/versions", 200,
            answer={"versions": Some({"id": "v2.15", "status": "CURRENT"})}, source=API,
            says="and as an answer"),
        Row("anon", "GET", IMAGES, 401, has={"WWW-Authenticate": re.compile("^Keystone uri=")},
            source="keystonemiddleware", says="without a token"),
        Row("member", "GET", "image:/v2/nonsense", 404, answer=failed(404, "Not Found"),
            source=API, says="a collection that does not exist"),
    ]),

    Scene("images", [
        Row("member", "GET", IMAGES + "?status=active&sort=created_at:desc", 200,
            answer={"images": Some({"id": str, "name": "debian-12", "status": "active",
                                    "visibility": "public", "disk_format": "qcow2",
                                    "container_format": "bare", "min_disk": int, "min_ram": int,
                                    "size": int, "owner": str, "tags": [], "protected": False,
                                    "os_hidden": False, "created_at": TIME, "updated_at": TIME,
                                    "checksum": str, "self": re.compile("^/v2/images/"),
                                    "file": re.compile("/file$"),
                                    "schema": "/v2/schemas/image", "os_distro": "debian"}),
                    "schema": "/v2/schemas/images",
                    "first": re.compile(r"^/v2/images\?"), "next": Absent},
            save={"image": "images.0.id"}, source=FACTS, says="all that can be used"),
        Row("member", "GET", IMAGES + "?name=debian-12", 200,
            answer={"images": Some({"name": "debian-12"})}, source=API, says="by name"),
        Row("member", "GET", IMAGES + "?name=in:nonsense,debian-12", 200,
            answer={"images": All(Some({"name": "debian-12"}), Every({"name": "debian-12"}))},
            source="iac.md 2.1", says="by one of several names"),
        Row("member", "GET", IMAGES + "?name=in:%22debian-12%22", 200,
            answer={"images": Some({"name": "debian-12"})}, source="iac.md 2.1",
            says="in quotes, if a name has a comma"),
        Row("member", "GET", IMAGES + "?name=debian", 200, answer={"images": []}, source=API,
            says="a part of a name is not enough"),
        Row("member", "GET", IMAGES + "?visibility=public", 200,
            answer={"images": Every({"visibility": "public"})}, source=API, says="public ones"),
        Row("member", "GET", IMAGES + "?status=queued&name=debian-12", 200,
            answer={"images": []}, source=API, says="by a status that it has not"),
        Row("member", "GET", IMAGES + "?os_distro=debian", 200,
            answer={"images": Some({"os_distro": "debian"})}, source=API,
            says="by a property of its own"),
        Row("member", "GET", IMAGES + "?nonsense=1", 200, answer={"images": []}, source=API,
            says="any other word is a property, that none has: nothing is found"),
        Row("member", "GET", IMAGES + "/{image}", 200,
            answer={"id": "{image}", "status": "active", "name": str}, source=API, says="one"),
        Row("reader", "GET", IMAGES + "/{image}", 200, source=API, says="a reader reads"),
        Row("member", "GET", IMAGES + "/" + NOT_THERE, 404,
            answer=failed(404, "Not Found", "No image found with ID " + NOT_THERE), source=API,
            says="one that is not there"),
        Row("member", "DELETE", IMAGES + "/{image}", 403,
            answer=failed(403, "Forbidden"), source=API, says="a foreign one stays"),
        Row("member", "GET", IMAGES + "?sort=nonsense:desc", 400,
            answer=failed(400, "Bad Request"), source=API, says="an unknown key to sort by"),
        Row("member", "GET", IMAGES + "?limit=two", 400,
            answer=failed(400, "Bad Request", "limit param must be an integer"), source=API,
            says="a limit that is no number"),
        Row("member", "GET", IMAGES + "?limit=-1", 400,
            answer=failed(400, "Bad Request", "limit param must be positive"), source=API,
            says="a negative limit"),
        Row("member", "GET", IMAGES + "?marker=" + NOT_THERE, 400, source=API,
            says="a marker that is not there"),
    ]),

    Scene("in pages", [
        image("i1"), image("i2"), image("i3"),
        Row("member", "GET", IMAGES + "?name={scene}&limit=2&sort=created_at:asc", 200,
            answer={"images": Len(2), "next": re.compile("^/v2/images.*marker="),
                    "first": re.compile(r"^/v2/images\?")}, save={"last": "images.1.id"},
            source=FACTS, says="the first page names the next, as a path"),
        Row("member", "GET", IMAGES + "?name={scene}&limit=2&sort=created_at:asc&marker={last}", 200,
            answer={"images": All(Len(1), No({"id": "{last}"})), "next": Absent}, source=FACTS,
            says="the last names none"),
        Row("member", "GET", IMAGES + "?name={scene}&limit=3", 200,
            answer={"images": Len(3), "next": str}, save={"last": "images.2.id"}, source=FACTS,
            says="a page that is just full names a next one"),
        Row("member", "GET", IMAGES + "?name={scene}&limit=3&marker={last}", 200,
            answer={"images": [], "next": Absent}, source=FACTS, says="which is empty"),
        Row("member", "GET", IMAGES + "?name={scene}&status=active", 200, answer={"images": []},
            source=FACTS, says="images without content are not active"),
        Row("other", "GET", IMAGES + "?name={scene}", 200, answer={"images": []}, source=API,
            says="and are seen by their project only"),
        Row("other", "GET", IMAGES + "/{i1}", 404, answer=failed(404, "Not Found"), source=API,
            says="for others they do not exist"),
    ], cleanup=[drop("i1"), drop("i2"), drop("i3")]),
]
