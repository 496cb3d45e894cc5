"""Debian's `swift` drives pocket: every byte comes back, listings and large objects are as on a real
Swift, and who may not, may not."""
import filecmp
import hashlib
import hmac
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

PASSWORD = "Upload-0nly-password"


class Swift:
    """`swift` with the login of one of pocket's users."""

    def __init__(self, t, user, password, project):
        self.t, self.env = t, {
            "OS_AUTH_URL": Api(t.pocket, "pocket").settings["auth_url"], "OS_USERNAME": user,
            "OS_PASSWORD": password, "OS_PROJECT_NAME": project, "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3"}

    def run(self, *argv):
        return self.t.run("/usr/bin/swift", *argv, PYTHONWARNINGS="ignore", **self.env)

    def ok(self, *argv):
        result = self.run(*argv)
        check(result.code == 0, f"swift {' '.join(argv)}: {result}")
        return result.out

    def refused(self, words, *argv):
        result = self.run(*argv)
        check(result.code != 0 and words in result.err + result.out,
              f"swift {' '.join(argv)}: wanted a refusal with {words!r}, {result}")

    def stat(self, *argv):
        return dict(line.strip().split(": ", 1) for line in self.ok("stat", *argv).splitlines()
                    if ": " in line)

    def names(self, *argv):
        return self.ok("list", *argv).splitlines()

    def url(self):
        """Of the account."""
        return re.search(r"OS_STORAGE_URL=(\S+)", self.ok("auth")).group(1)


def demo(t):
    s = Api(t.pocket, "pocket").settings
    return Swift(t, s["username"], s["password"], s["project_name"])


def make_files(t):
    """A tree to upload: spaces, other letters and percent signs in names, and an empty file."""
    sizes = {"up/a/big.bin": 3_000_000, "up/a/b/x.txt": 3, "up/empty": 0,
             "up/one two%2Fthree.bin": 70_000, "up/größe.bin": 1}
    for name, size in sizes.items():
        os.makedirs(os.path.dirname(f"{t.dir}/{name}"), exist_ok=True)
        with open(f"{t.dir}/{name}", "wb") as f:
            f.write(os.urandom(size))
    return sizes


def same(t, one, two):
    check(filecmp.cmp(f"{t.dir}/{one}", f"{t.dir}/{two}", shallow=False), f"{two} is not {one}")


def test_every_byte_comes_back(t):
    t.start_pocket("--no-servers")
    swift, sizes = demo(t), make_files(t)
    swift.ok("post", "media", "-m", "colour:blue")
    swift.ok("upload", "media", "up")
    equal(swift.names("media"), sorted(sizes), "names")
    swift.ok("download", "media", "-D", f"{t.dir}/down")
    for name in sizes:
        same(t, name, "down/" + name)
    with open(f"{t.dir}/up/a/big.bin", "rb") as f:
        md5 = hashlib.md5(f.read()).hexdigest()
    stat = swift.stat("media", "up/a/big.bin")
    equal((stat["Content Length"], stat["ETag"]), ("3000000", md5), "stat of an object")
    count, total = str(len(sizes)), str(sum(sizes.values()))
    stat = swift.stat("media")
    equal((stat["Objects"], stat["Bytes"], stat["Meta Colour"]), (count, total, "blue"), "container")
    stat = swift.stat()
    equal((stat["Containers"], stat["Objects"], stat["Bytes"]), ("1", count, total), "account")

    swift.ok("post", "media", "up/empty", "-m", "kind:empty", "-H", "Content-Type: text/x")
    swift.ok("copy", "media", "up/empty", "-d", "/media/copied")
    stat = swift.stat("media", "copied")
    equal((stat["Content Type"], stat["Meta Kind"]), ("text/x", "empty"), "a copy")

    swift.ok("delete", "media", "up/empty")
    swift.refused("404", "delete", "media", "up/empty")
    swift.refused("not found", "download", "media", "up/empty")
    swift.ok("delete", "media")
    equal(swift.names(), [], "containers left")
    stat = swift.stat()
    equal((stat["Objects"], stat["Bytes"]), ("0", "0"), "account at the end")
    swift.refused("not found", "list", "media")
    t.pocket.stop()
    equal(t.pocket.process.returncode, 0, "pocket's exit status at the end")


def test_large_objects(t):
    t.start_pocket("--no-servers")
    swift = demo(t)
    make_files(t)
    for name, more in (("static", ["--use-slo"]), ("dynamic", [])):
        swift.ok("upload", "media", "up/a/big.bin", "--object-name", name, "-S", "1000000", *more)
        swift.ok("download", "media", name, "-o", f"{t.dir}/{name}")
        same(t, "up/a/big.bin", name)
    equal(len(swift.names("media_segments")), 6, "segments")
    swift.ok("delete", "media", "static")
    equal(len(swift.names("media_segments")), 3, "segments behind a deleted static large object")


def test_listings(t):
    t.start_pocket("--no-servers")
    swift, owner = demo(t), Api(t.pocket, "pocket")
    swift.ok("post", "media")
    for name in ("a/1", "a/2", "a/b/3", "b", "c/4"):
        owner.call("object-store", "PUT", f"/media/{name}", b"x")
    for wanted, argv in ((["a/", "b", "c/"], ["-d", "/"]),
                         (["a/1", "a/2", "a/b/"], ["-p", "a/", "-d", "/"]),
                         (["a/1", "a/2", "a/b/3"], ["-p", "a/"]), ([], ["-p", "z"])):
        equal(swift.names("media", *argv), wanted, f"swift list media {argv}")
    equal(swift.ok("list", "media", "--long", "--totals").split()[0], "5", "bytes of all")
    capabilities = swift.ok("capabilities")
    for word in ("bulk_delete", "slo", "tempurl", "object_versioning"):
        check(word in capabilities, f"{word} is not in {capabilities}")


def add_user(t, name, project, role):
    """A user whose only role on the project is `role`; its id."""
    admin = Api(t.pocket, "pocket-admin")
    _, _, answer = admin.call("identity", "POST", "/users", {"user": {
        "name": name, "password": PASSWORD, "domain_id": "default"}})
    _, _, roles = admin.call("identity", "GET", f"/roles?name={role}")
    admin.call("identity", "PUT", f"/projects/{project}/users/{answer['user']['id']}/roles/"
                                  f"{roles['roles'][0]['id']}")
    return answer["user"]["id"]


def test_a_second_user(t):
    t.start_pocket("--no-servers")
    project = Api(t.pocket, "pocket").project_id
    grant = f"{project}:{add_user(t, 'uploader', project, 'media')}"
    owner, uploader = demo(t), Swift(t, "uploader", PASSWORD, "demo")
    t.write("file", "words\n")
    owner.ok("upload", "media", "file")
    for argv in (["stat"], ["list"], ["list", "media"], ["stat", "media", "file"], ["post", "mine"],
                 ["post", "media", "-r", ".r:*"], ["delete", "media", "file"]):
        uploader.refused("403", *argv)
    # Write access, and nothing else: not even reading what it wrote. (Without --leave-segments the
    # client looks at what it replaces first, which takes read access.)
    owner.ok("post", "media", "-w", grant)
    uploader.ok("upload", "media", "file", "--object-name", "second", "--leave-segments")
    uploader.refused("403", "list", "media")
    uploader.refused("403", "stat", "media", "second")
    uploader.refused("403", "upload", "other", "file")
    owner.ok("post", "media", "-r", grant)
    equal(uploader.names("media"), ["file", "second"], "with read access")
    check(project not in uploader.stat("media").get("Write ACL", ""), "a guest sees the ACL")
    equal(owner.stat("media")["Write ACL"], grant, "the owner's view of the ACL")
    uploader.refused("403", "post", "media", "-r", ".r:*")
    owner.ok("post", "media", "-r", "", "-w", "")
    uploader.refused("403", "upload", "media", "file", "--object-name", "third")
    owner.refused("400", "post", "media", "-w", ".r:*")


def test_strangers(t):
    t.start_pocket("--no-servers")
    owner = demo(t)
    t.write("file", "words\n")
    owner.ok("upload", "media", "file")
    base = owner.url() + "/media"
    equal(request("GET", base + "/file")[0], 401, "before")
    owner.ok("post", "media", "-r", ".r:*")
    equal(request("GET", base + "/file")[::2], (200, b"words\n"), "a public object")
    equal(request("GET", base)[0], 401, "its listing")
    equal(request("PUT", base + "/new", b"x")[0], 401, "an upload")
    owner.ok("post", "media", "-r", ".r:*,.rlistings")
    equal(request("GET", base)[::2], (200, b"file\n"), "a public listing")


def test_temporary_addresses(t):
    t.start_pocket("--no-servers")
    swift = demo(t)
    base = swift.url()
    host, account = base.split("/v1/")
    t.write("file", "words\n")
    swift.ok("upload", "media", "file")
    swift.ok("post", "-m", "Temp-URL-Key:sesame")

    def address(method, name, key="sesame", *more):
        path = f"/v1/{account}/media/{name}"
        return host + swift.ok("tempurl", *more, method, "600", path, key).strip()
    get, put = address("GET", "file"), address("PUT", "new")
    equal(request("GET", get)[::2], (200, b"words\n"), "GET")
    equal(request("HEAD", get)[0], 200, "HEAD with a signature for GET")
    equal(request("PUT", get, b"x")[0], 401, "PUT with a signature for GET")
    equal(request("GET", get.replace("/file?", "/other?"))[0], 401, "another object")
    equal(request("GET", address("GET", "file", "barley"))[0], 401, "another key")
    equal(request("PUT", put, b"new words")[0], 201, "PUT")
    equal(request("DELETE", put)[0], 401, "DELETE with a signature for PUT")
    equal(swift.names("media"), ["file", "new"], "listing")
    prefix = address("GET", "n", "sesame", "--prefix-based")
    equal(request("GET", prefix.replace("/media/n?", "/media/new?"))[::2], (200, b"new words"), "prefix")
    equal(request("GET", prefix.replace("/media/n?", "/media/file?"))[0], 401, "outside the prefix")
    past = int(time.time()) - 1
    sign = hmac.new(b"sesame", f"GET\n{past}\n/v1/{account}/media/file".encode(), "sha256").hexdigest()
    equal(request("GET", f"{base}/media/file?temp_url_sig={sign}&temp_url_expires={past}")[0], 401,
          "an expired one")


main()
