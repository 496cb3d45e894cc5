"""`atoll media check` on real Keystone, Swift and Nova: the levels of isolation, and each thing made
wrong on purpose fails with its own line. The tests of the pocket cloud, where the answer is the same;
here also what depends on a cloud's policies and quotas."""
from real import *

sys.path.insert(0, f"{SOURCE}/test/story")
from media import (Media, test_acl_with_a_name_in_the_wrong_domain,  # noqa: E402, F401
                   test_auth_url_with_trailing_slash, test_listable_container, test_no_cors,
                   test_right_settings_pass, test_write_acl_that_matches_nobody, test_wrong_region)

Media.owner_cloud, Media.admin_cloud = "real-media", "real-admin"
Test.start_pocket = lambda t, *options: real(t, hypervisor=False)


class Quota:
    """Another quota of servers for a project, for a while."""

    def __init__(self, m, instances):
        self.admin, self.path = m.admin, f"/os-quota-sets/{m.owner.project_id}"
        _, _, answer = self.admin.call("compute", "GET", self.path)
        self.before, self.now = answer["quota_set"]["instances"], instances

    def set(self, instances):
        self.admin.call("compute", "PUT", self.path, {"quota_set": {"instances": instances}})

    def __enter__(self):
        self.set(self.now)

    def __exit__(self, *_):
        self.set(self.before)


def test_own_project_where_servers_may_be_made(t):
    """Zed's Nova lets every role of a project create servers, the spare one too."""
    t.start_pocket()
    m = Media(t)
    with Quota(m, 10):
        lines = m.failing(["servers", "isolation"])
    check("--instances 0" in lines["servers"]["remedy"], lines["servers"])
    equal(lines["elsewhere"]["outcome"], "ok", lines["elsewhere"])


def test_owner_of_a_project_of_its_own(t):
    """The member role owns the account: what the project may not have doesn't help."""
    t.start_pocket()
    lines = Media(t, role="member").failing(["elsewhere", "isolation"])
    equal(lines["servers"]["outcome"], "ok", lines["servers"])


def test_spare_role_in_the_islands_project(t):
    """The island's project must have servers, so with these policies the spare role is not enough."""
    t.start_pocket()
    Media.owner_cloud = "real"
    try:
        lines = Media(t).failing(["servers", "isolation"])
    finally:
        Media.owner_cloud = "real-media"
    equal(lines["elsewhere"]["outcome"], "ok", lines["elsewhere"])
    check(lines["isolation"]["words"].startswith("none"), lines["isolation"])


def test_nothing_at_all(t):
    """The owner's own login as the upload user: nothing is apart from anything."""
    t.start_pocket()
    Media.owner_cloud = "real"
    try:
        m = Media(t, role="member")
        login = m.owner.settings
        lines = m.failing(["servers", "elsewhere", "isolation"], SWIFT_USERNAME=login["username"],
                          SWIFT_PASSWORD=login["password"])
    finally:
        Media.owner_cloud = "real-media"
    check(lines["isolation"]["words"].startswith("none"), lines["isolation"])


def credential(api, role, **more):
    """A token of an application credential that the project's member makes for itself."""
    name = f"writer-{random.randrange(1 << 32):08x}"
    _, _, answer = api.call("identity", "POST", f"/users/{api.user_id}/application_credentials", {
        "application_credential": dict(more, name=name, roles=[{"name": role}])})
    made = answer["application_credential"]
    status, headers, _ = request("POST", api.auth_url + "/auth/tokens", {"auth": {"identity": {
        "methods": ["application_credential"],
        "application_credential": {"id": made["id"], "secret": made["secret"]}}}})
    equal(status, 201, "login with the application credential")
    return made["id"], headers["X-Subject-Token"]


def reached(api, token):
    """What the token may do in a container whose write ACL names its user: verb -> status."""
    base = api.endpoints["object-store"]
    calls = {"write": ("PUT", "/blind/new"), "read": ("GET", "/blind/kept"),
             "delete": ("DELETE", "/blind/gone"), "list": ("GET", "/blind"),
             "elsewhere": ("PUT", "/other/new"), "expire": ("POST", "/blind/kept")}
    return {name: request(method, base + path, b"" if method in ("PUT", "POST") else None,
                          {"X-Auth-Token": token, "Content-Type": "text/plain"})[0]
            for name, (method, path) in calls.items()}


def test_application_credential(t):
    """Without an administrator: the member's own credential, with role reader, a write ACL and an
    access rule. Made wrong: without the rule it deletes, with role member it owns the account."""
    cloud = real(t, hypervisor=False)
    api = cloud.api("real")
    acl = {"X-Container-Write": f"{api.project_id}:{api.user_id}"}
    api.call("object-store", "PUT", "/blind", headers=acl)
    api.call("object-store", "PUT", "/other")
    rule = {"service": "object-store", "method": "PUT",
            "path": f"/v1/AUTH_{api.project_id}/blind/**"}
    # Which statuses, for which credential: role, access rules.
    table = [
        ("reader", [rule], {"write": 201, "read": 401, "delete": 401, "list": 401,
                            "elsewhere": 401, "expire": 401}),
        ("reader", None, {"write": 201, "read": 403, "delete": 204, "list": 403,
                          "elsewhere": 403, "expire": 202}),
        ("member", None, {"write": 201, "read": 200, "delete": 204, "list": 200,
                          "elsewhere": 201, "expire": 202}),
    ]
    for role, rules, wanted in table:
        for name in ("kept", "gone"):
            api.call("object-store", "PUT", f"/blind/{name}", b"x", {"Content-Type": "text/plain"})
        made, token = credential(api, role=role, **({"access_rules": rules} if rules else {}))
        try:
            equal(reached(api, token), wanted, f"role {role}, access rules {rules}")
        finally:
            api.call("identity", "DELETE", f"/users/{api.user_id}/application_credentials/{made}")


main()
