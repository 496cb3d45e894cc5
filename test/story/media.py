"""`atoll media check` without an island: right settings pass; each thing made wrong fails with its
own line, the remedy, and exit 8."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

PASSWORD = "Upload-0nly-password"
ORIGIN = "https://reef.example"


class Media:
    """A container and an upload user, made by hand as the documentation says."""

    owner_cloud, admin_cloud = "pocket-media", "pocket-admin"

    def __init__(self, t, role="media", domain_id="default"):
        self.t = t
        self.owner = Api(t.pocket, self.owner_cloud)
        self.admin = Api(t.pocket, self.admin_cloud)
        _, _, answer = self.admin.call("identity", "POST", "/users", {"user": {
            "name": "uploader", "password": PASSWORD, "domain_id": domain_id}})
        self.user_id = answer["user"]["id"]
        _, _, roles = self.admin.call("identity", "GET", f"/roles?name={role}")
        self.admin.call("identity", "PUT", f"/projects/{self.owner.project_id}/users/{self.user_id}"
                                           f"/roles/{roles['roles'][0]['id']}")
        self.container({"X-Container-Read": ".r:*",
                        "X-Container-Write": f"{self.owner.project_id}:{self.user_id}",
                        "X-Container-Meta-Access-Control-Allow-Origin": ORIGIN}, "PUT")
        self.settings = {
            "SWIFT_ENABLED": "true", "SWIFT_AUTH_URL": self.owner.auth_url,
            "SWIFT_USERNAME": "uploader", "SWIFT_PASSWORD": PASSWORD,
            "SWIFT_PROJECT_ID": self.owner.project_id, "SWIFT_DOMAIN_NAME": "Default",
            "SWIFT_REGION": self.owner.settings["region_name"], "SWIFT_CONTAINER": "uploads",
            "SWIFT_OBJECT_URL": self.owner.endpoints["object-store"] + "/uploads"}

    def container(self, headers, method="POST"):
        self.owner.call("object-store", method, "/uploads", headers=headers)

    def check(self, code, **more):
        self.t.write("env", "".join(f"{k}={v}\n" for k, v in {**self.settings, **more}.items()))
        result = self.t.atoll("media", "check", "--env", "env", "--owner", self.owner_cloud,
                              "--domain", "reef.example", "--fog", f"{SOURCE}/data/fog-login.rb", "--json",
                              code=code)
        check(PASSWORD not in result.out + result.err, "the password is printed")
        return {e["name"]: e for e in result.events("media_check")}

    def failing(self, names, **more):
        lines = self.check(8, **more)
        failed = {n for n, e in lines.items() if e["outcome"] == "failed"}
        check(set(names) <= failed, f"wanted {names} to fail, failed are {failed}: {lines}")
        for n in names:
            check(lines[n]["remedy"], f"no remedy for {n}: {lines[n]}")
        return lines


def test_right_settings_pass(t):
    t.start_pocket("--no-servers")
    lines = Media(t).check(0)
    wanted = {"settings", "login", "region", "write", "read", "public", "cors", "preflight",
              "listing", "delete", "elsewhere", "servers", "isolation", "fog"}
    equal({n for n, e in lines.items() if e["outcome"] == "ok"}, wanted, "lines that are ok")
    left = [n for k, n, _ in t.pocket.rows() if n and "atoll-" in n]
    equal(left, [], "left behind")


def test_listable_container(t):
    t.start_pocket("--no-servers")
    m = Media(t)
    m.container({"X-Container-Read": ".r:*,.rlistings"})
    lines = m.failing(["listing"])
    check(".rlistings" in lines["listing"]["remedy"], lines["listing"])


def test_no_cors(t):
    t.start_pocket("--no-servers")
    m = Media(t)
    m.container({"X-Remove-Container-Meta-Access-Control-Allow-Origin": "x"})
    m.failing(["cors", "preflight"])


def test_write_acl_that_matches_nobody(t):
    t.start_pocket("--no-servers")
    m = Media(t)
    m.container({"X-Container-Write": m.user_id})
    lines = m.failing(["write"])
    check("role" in lines["write"]["remedy"], lines["write"])


def test_acl_with_a_name_in_the_wrong_domain(t):
    t.start_pocket("--no-servers")
    admin = Api(t.pocket, Media.admin_cloud)
    name = f"corp-{random.randrange(1 << 32):08x}"
    _, _, answer = admin.call("identity", "POST", "/domains", {"domain": {"name": name}})
    m = Media(t, domain_id=answer["domain"]["id"])
    m.container({"X-Container-Write": f"{m.owner.project_id}:uploader"})
    lines = m.failing(["write"], SWIFT_DOMAIN_NAME=name)
    # A domain can be deleted once it is disabled; its users go with it.
    path = f"/domains/{answer['domain']['id']}"
    admin.call("identity", "PATCH", path, {"domain": {"enabled": False}}, ok=False)
    admin.call("identity", "DELETE", path, ok=False)
    check("domain" in lines["write"]["remedy"], lines["write"])


def test_user_who_may_create_servers(t):
    t.start_pocket("--no-servers")
    lines = Media(t, role="member").failing(["servers", "elsewhere", "isolation"])
    check("may create servers" in lines["servers"]["words"], lines["servers"])


def test_no_quota_for_servers(t):
    """With old policies every role may create servers: a project that may have none is as good."""
    t.start_pocket("--no-servers")
    m = Media(t, role="member")
    m.admin.call("compute", "PUT", f"/os-quota-sets/{m.owner.project_id}",
                 {"quota_set": {"instances": 0}})
    lines = m.failing(["elsewhere"])
    equal(lines["servers"]["outcome"], "ok", lines["servers"])
    check("quota" in lines["servers"]["words"], lines["servers"])


def test_wrong_region(t):
    t.start_pocket("--no-servers")
    m = Media(t)
    lines = m.failing(["region"], SWIFT_REGION="nz-wlg-2")
    check(m.settings["SWIFT_REGION"] in lines["region"]["words"], lines["region"])


def test_auth_url_with_trailing_slash(t):
    t.start_pocket("--no-servers")
    m = Media(t)
    lines = m.failing(["auth url"], SWIFT_AUTH_URL=m.settings["SWIFT_AUTH_URL"] + "/")
    check("slash" in lines["auth url"]["words"], lines["auth url"])


if __name__ == "__main__":
    main()
