"""Keystone: logins, the catalogue, application credentials, and what a member may not do."""
from functools import partial

from rows import *

API = partial(Row, source="api-ref: identity v3")
LOGIN = partial(Row, source="src/cloud/login.c")
D = partial(Row, source="openstack.md (d)")
TOKENS = "identity:/v3/auth/tokens"
CREDENTIALS = "identity:/v3/users/{member_id}/application_credentials"
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
ID = re.compile(r"^[0-9a-f]{32}$")
NOT_THERE = "0123456789abcdef0123456789abcdef"
DEFAULT = {"name": "Default"}
UNAUTHORIZED = {"error": {"code": 401, "title": "Unauthorized", "message": str}}
FORBIDDEN = {"error": {"code": 403, "title": "Forbidden", "message": re.compile("You are not authorized")}}
MISSING = {"error": {"code": 404, "title": "Not Found", "message": re.compile("Could not find")}}


def password(user, scope=None):
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    return {"auth": dict(auth, **({"scope": scope} if scope else {}))}


def by_id(who="member"):
    return {"id": f"{{{who}_id}}", "password": f"{{{who}_password}}"}


def by_name(who="member", domain=DEFAULT):
    return {"name": f"{{{who}_name}}", "password": f"{{{who}_password}}", "domain": domain}


def token(value, scope=None):
    auth = {"identity": {"methods": ["token"], "token": {"id": value}}}
    return {"auth": dict(auth, **({"scope": scope} if scope else {}))}


def credential(scope=None, **more):
    auth = {"identity": {"methods": ["application_credential"], "application_credential": more}}
    return {"auth": dict(auth, **({"scope": scope} if scope else {}))}


def login(body, expect=201, row=LOGIN, **more):
    return row("anon", "POST", TOKENS, expect, body=body, **more)


def made(body, expect, says, **more):
    """An application credential that the member makes, or may not."""
    return more.pop("row", API)(more.pop("who", "member"), "POST", CREDENTIALS, expect,
                                body={"application_credential": body}, says=says, **more)


HERE = {"project": {"id": "{project_id}"}}
MEMBER = Some({"name": "member", "id": ID})

SCENES = [
    Scene("versions", [
        API("anon", "GET", "identity:/v3", 200, says="the version document", answer={"version": {
            "id": re.compile(r"^v3\.\d+$"), "status": "stable", "links": Some({"rel": "self"})}}),
        API("anon", "GET", "identity:/v3/", 200, says="with a slash too", answer={"version": {"id": str}}),
        API("anon", "GET", "identity:/", 300, says="the choice of one version", has={"Location": re.compile("/v3/$")},
            answer={"versions": {"values": Some({"id": re.compile(r"^v3\."), "status": "stable"})}}),
        API("anon", "GET", "identity:/v3/nosuch", 404, says="a path of nothing"),
        API("anon", "GET", "identity:/v3//users", 308, has={"Location": re.compile("/v3/users$")}, only="real",
            reason="pocket takes two slashes for one; atoll never sends them", says="two slashes are redirected"),
        API("member", "GET", "identity:/v3/nosuch", 404, says="with a token too"),
        API("anon", "GET", "identity:/v3/users", 401, says="anything else needs a token", answer=UNAUTHORIZED,
            has={"WWW-Authenticate": re.compile("^Keystone uri=")}),
        API("anon", "GET", "identity:/v3/users", 401, headers={"X-Auth-Token": "garbage"}, answer=UNAUTHORIZED,
            says="a good one"),
    ]),
    Scene("logins with a password", [
        login(password(by_name(), {"project": {"name": "{project_name}", "domain": DEFAULT}}),
              has={"X-Subject-Token": str, "Vary": re.compile("X-Auth-Token"), "X-Openstack-Request-Id": re.compile("^req-")},
              answer={"token": {"methods": ["password"], "user": {"id": "{member_id}", "name": "{member_name}",
                      "domain": {"id": "default", "name": "Default"}, "password_expires_at": None},
                      "project": {"id": "{project_id}", "name": "{project_name}", "domain": {"id": "default"}},
                      "roles": All(MEMBER, Some({"name": "reader"})), "expires_at": TIME, "issued_at": TIME,
                      "audit_ids": [str], "is_domain": False, "catalog": list}},
              save={"token": "header:X-Subject-Token"}, says="names and domains: a project's token"),
        login(password(by_id(), HERE), says="ids", answer={"token": {"roles": MEMBER}}),
        login(password(by_name(domain={"id": "default"}), {"project": {"name": "{project_name}", "domain": {"id": "default"}}}),
              says="a domain by its id"),
        login(password(by_id()), says="no scope: a token without project and catalogue", answer={"token": {
            "project": Absent, "catalog": Absent, "roles": Absent, "user": {"id": "{member_id}"}}}),
        login(password(by_id("nobody")), says="a user without any role gets one too", answer={"token": {"project": Absent}}),
        login(password(by_id("nobody"), HERE), 401, says="but none for a project", answer=UNAUTHORIZED),
        login(password(by_id("other"), HERE), 401, says="nor has a member of another one", answer=UNAUTHORIZED),
        login(password(by_id("custom"), HERE), says="a role of its own is enough",
              answer={"token": {"roles": [{"name": "{custom_role}"}]}}),
        login(password({"id": "{member_id}", "password": "wrong"}, HERE), 401, answer=UNAUTHORIZED,
              has={"WWW-Authenticate": re.compile("^Keystone uri="), "X-Subject-Token": None}, says="a wrong password"),
        login(password({"name": "{marker}-nosuch", "password": "x", "domain": DEFAULT}, HERE), 401, answer=UNAUTHORIZED,
              says="an unknown user: the same words"),
        login(password(by_id(), {"project": {"id": NOT_THERE}}), 401, answer=UNAUTHORIZED, says="an unknown project: the same"),
        login(password(by_id(), {"project": {"name": "{marker}-nosuch", "domain": DEFAULT}}), 401, answer=UNAUTHORIZED,
              says="by name"),
        login(password(by_name(domain={"name": "nosuch"}), HERE), 401, says="an unknown domain"),
        login(password({"name": "{member_name}", "password": "{member_password}"}, HERE), 400, says="a name without its domain",
              answer={"error": {"code": 400, "title": "Bad Request"}}),
        login({"auth": {}}, 400, says="no identity", answer={"error": {"code": 400}}),
        login({"auth": {"identity": {"methods": ["password"]}}}, 400, says="no password"),
        login({"auth": {"identity": {"methods": ["carrier_pigeon"], "carrier_pigeon": {}}}}, 401, says="an unknown method"),
        LOGIN("anon", "POST", TOKENS, 400, body="{", headers={"Content-Type": "application/json"}, says="no JSON"),
        API("anon", "POST", TOKENS + "?nocatalog", 201, body=password(by_id(), HERE),
            answer={"token": {"catalog": Absent, "project": {"id": "{project_id}"}}}, says="without the catalogue"),
    ]),
    Scene("the catalogue", [
        login(password(by_id(), HERE), says="every service with its public, internal and admin address", answer={"token": {
            "catalog": All(*[Some({"type": t, "name": str, "id": ID, "endpoints": Some({
                "interface": "public", "region": str, "region_id": str, "url": re.compile("^http"), "id": ID})})
                for t in ("identity", "compute", "network", "image", "object-store")],
                Some({"type": re.compile("^(volumev3|block-storage)$")}))}}),
        login(password(by_id(), HERE), says="the object store's address ends in the project",
              answer={"token": {"catalog": Some({"type": "object-store", "endpoints": Some(
                  {"interface": "public", "url": re.compile("/v1/AUTH_{project_id}$")})})}}),
        API("member", "GET", "identity:/v3/auth/catalog", 200, says="the same on its own", answer={
            "catalog": Some({"type": "object-store"}), "links": {"self": re.compile("/auth/catalog$")}}),
        API("nobody", "GET", "identity:/v3/auth/catalog", 403, says="not for a token without a project"),
        API("member", "GET", "identity:/v3/auth/projects", 200, answer={"projects": [{"id": "{project_id}", "name": "{project_name}",
            "enabled": True, "domain_id": "default"}], "links": {"next": None}}, says="the projects one may enter"),
        API("nobody", "GET", "identity:/v3/auth/projects", 200, answer={"projects": []}, says="none"),
    ]),
    Scene("tokens", [
        login(password(by_id(), HERE), save={"t": "header:X-Subject-Token"}, says="a token"),
        API("anon", "GET", TOKENS, 200, headers={"X-Auth-Token": "{t}", "X-Subject-Token": "{t}"}, has={"X-Subject-Token": "{t}"},
            answer={"token": {"user": {"id": "{member_id}"}, "roles": MEMBER, "catalog": list, "expires_at": TIME}},
            says="shows itself"),
        API("anon", "HEAD", TOKENS, 200, headers={"X-Auth-Token": "{t}", "X-Subject-Token": "{t}"}, says="or only that it is good"),
        API("admin", "GET", TOKENS, 200, headers={"X-Subject-Token": "{t}"}, says="an admin validates any"),
        API("other", "GET", TOKENS, 403, headers={"X-Subject-Token": "{t}"}, says="another member does not", answer=FORBIDDEN),
        API("admin", "GET", TOKENS, 404, headers={"X-Subject-Token": "garbage"}, says="a token that is none"),
        login(token("{t}", HERE), answer={"token": {"methods": Some("token"), "project": {"id": "{project_id}"}}},
              says="a token buys another one"),
        login(token("{t}"), answer={"token": {"project": Absent}}, says="unscoped too"),
        login(token("{t}", {"project": {"id": "{other_project_id}"}}), 401, says="not for a foreign project"),
        login(token("garbage", HERE), 404, says="garbage buys nothing; it is 404, not 401", answer={"error": {"code": 404}}),
        API("anon", "DELETE", TOKENS, 204, headers={"X-Auth-Token": "{t}", "X-Subject-Token": "{t}"}, says="it is revoked"),
        API("anon", "GET", TOKENS, 401, headers={"X-Auth-Token": "{t}", "X-Subject-Token": "{t}"}, says="and is none any more"),
        API("admin", "GET", TOKENS, 404, headers={"X-Subject-Token": "{t}"}, says="for the admin neither"),
        login(token("{t}", HERE), 404, says="and buys nothing"),
    ]),
    Scene("a token that ends mid-run", [
        login(password(by_id(), HERE), save={"t": "header:X-Subject-Token"}, says="a token"),
        API("anon", "GET", "network:/v2.0/networks?limit=1", 200, headers={"X-Auth-Token": "{t}"}, says="is good for Neutron"),
        API("anon", "GET", "object-store:", (200, 204), headers={"X-Auth-Token": "{t}"}, says="and Swift"),
        API("anon", "DELETE", TOKENS, 204, headers={"X-Auth-Token": "{t}", "X-Subject-Token": "{t}"}, says="it is revoked"),
        login(password(by_id(), HERE), save={"t2": "header:X-Subject-Token"}, says="the next login"),
        API("anon", "GET", "network:/v2.0/networks?limit=1", 200, headers={"X-Auth-Token": "{t2}"}, says="goes on"),
        API("anon", "GET", "network:/v2.0/networks", 401, headers={"X-Auth-Token": "garbage"}, says="Neutron says 401 to a bad one"),
        API("anon", "GET", "compute:/v2.1/servers", 401, headers={"X-Auth-Token": "garbage"}, says="Nova too"),
        API("anon", "GET", "volume:/v3/{project_id}/volumes", 401, headers={"X-Auth-Token": "garbage"}, says="Cinder too"),
        API("anon", "GET", "image:/v2/images", 401, headers={"X-Auth-Token": "garbage"}, says="Glance too"),
    ]),
    Scene("application credentials", [
        login(credential(id="{appcred_id}", secret="{appcred_secret}"), answer={"token": {"methods": ["application_credential"],
              "project": {"id": "{project_id}"}, "roles": MEMBER, "catalog": list, "application_credential": {
                  "id": "{appcred_id}", "name": str, "restricted": True}}}, says="by id: it brings its project"),
        login(credential(name="{marker}-appcred", user={"id": "{member_id}"}, secret="{appcred_secret}"), says="by name and user id"),
        login(credential(name="{marker}-appcred", user={"name": "{member_name}", "domain": DEFAULT}, secret="{appcred_secret}"),
              says="by name and user name"),
        login(credential(id="{appcred_id}", secret="{appcred_secret}", scope=HERE), (201, 401),
              says="naming a scope is an error on newer ones"),
        login(credential(id="{appcred_id}", secret="wrong"), 401, answer=UNAUTHORIZED, says="a wrong secret"),
        login(credential(id=NOT_THERE, secret="x"), 404, says="an unknown id is 404", answer={"error": {"code": 404}}),
        login(credential(name="{marker}-nosuch", user={"id": "{member_id}"}, secret="x"), (401, 404), says="an unknown name"),
        login(credential(id="{appcred_reader_id}", secret="{appcred_reader_secret}"),
              answer={"token": {"roles": [{"name": "reader"}]}}, says="with role reader only"),
        login(credential(id="{appcred_rules_id}", secret="{appcred_rules_secret}"), answer={"token": {"application_credential": {
            "access_rules": [{"service": "object-store", "method": "PUT", "path": str}]}}}, says="with access rules"),
        made({"name": "{marker}-x", "secret": "chosen-by-the-client-0123456789", "description": "{marker}", "roles": [{"name": "reader"}]},
             201, "the client may choose the secret", save={"x": "application_credential.id"}, answer={"application_credential": {
                 "id": ID, "name": "{marker}-x", "secret": "chosen-by-the-client-0123456789", "description": "{marker}",
                 "project_id": "{project_id}", "roles": [{"name": "reader", "id": ID}], "expires_at": None, "unrestricted": AnyOf(None, False)}}),
        login(credential(id="{x}", secret="chosen-by-the-client-0123456789"), says="and log in with it"),
        made({"name": "{marker}-x"}, 409, "the name is taken", answer={"error": {"code": 409, "title": "Conflict"}}),
        API("member", "GET", CREDENTIALS + "/{x}", 200, answer={"application_credential": {"id": "{x}", "secret": Absent,
            "name": "{marker}-x"}}, says="the secret is told once"),
        API("member", "GET", CREDENTIALS + "?name={marker}-x", 200, answer={"application_credentials": [{"id": "{x}", "secret": Absent}]},
            says="found by name"),
        API("member", "GET", CREDENTIALS + "?name={marker}-nosuch", 200, answer={"application_credentials": []}, says="none of that name"),
        API("member", "GET", CREDENTIALS, 200, answer={"application_credentials": All(Some({"id": "{appcred_id}"}), Some({"id": "{x}"}))},
            says="all of them"),
        API("other", "GET", CREDENTIALS, 403, answer=FORBIDDEN, says="nobody else lists them"),
        API("member", "DELETE", CREDENTIALS + "/{x}", 204, says="removed"),
        API("member", "GET", CREDENTIALS + "/{x}", 404, answer=MISSING, says="gone"),
        API("member", "DELETE", CREDENTIALS + "/{x}", 404, says="once"),
        login(credential(id="{x}", secret="chosen-by-the-client-0123456789"), 404, says="its login ends with it"),
        made({"name": "{marker}-y", "roles": [{"name": "admin"}]}, 400, "a role that the member has not"),
        made({"name": "{marker}-y", "expires_at": "2001-01-01T00:00:00"}, 400, "an expiry in the past"),
        made({"name": "{marker}-y", "expires_at": "soon"}, 400, "an expiry that is no time"),
        made({"roles": []}, 400, "no name"),
        made({"name": "{marker}-z", "expires_at": "2099-01-01T00:00:00"}, 201, "an expiry to come", save={"z": "application_credential.id"},
             answer={"application_credential": {"expires_at": re.compile("^2099-01-01T00:00:00")}}),
        API("member", "DELETE", CREDENTIALS + "/{z}", 204, says="removed"),
    ], cleanup=[Row("member", "DELETE", CREDENTIALS + "/{x}", 204), Row("member", "DELETE", CREDENTIALS + "/{z}", 204)]),
    Scene("what a stolen credential can do", [
        made({"name": "{marker}-more"}, 403, "no further credential", who="appcred", row=D, answer={"error": {
            "code": 403, "message": re.compile("application_credential")}}),
        D("appcred", "DELETE", CREDENTIALS + "/{appcred_reader_id}", 403, says="nor remove one"),
        D("appcred", "POST", "identity:/v3/users/{member_id}/password", 401, body={"user": {"original_password": "guess",
          "password": "new"}}, says="nor change the password without the old one"),
        made({"name": "{marker}-more"}, 201, "an unrestricted one can", who="appcred_unrestricted", row=D,
             save={"more": "application_credential.id"}),
        D("appcred_unrestricted", "DELETE", CREDENTIALS + "/{more}", 204, says="and remove"),
        D("appcred", "GET", CREDENTIALS + "/{appcred_id}", 200, says="it may look at itself"),
        D("appcred_rules", "GET", "identity:/v3/users/{member_id}", 200, says="Keystone itself does not look at access rules"),
        D("appcred_rules", "GET", "network:/v2.0/networks", 401, says="nor anything of Neutron"),
        D("appcred_rules", "GET", "compute:/v2.1/servers", 401, says="nor of Nova"),
        login(token("{appcred_token}", HERE), (401, 403), row=D, says="nor buy a wider token"),
    ], cleanup=[Row("member", "DELETE", CREDENTIALS + "/{more}", 204)]),
    Scene("a credential's life", [
        API("admin", "POST", "identity:/v3/users", 201, body={"user": {"name": "{marker}-life", "password": "first-password-1",
            "domain_id": "default"}}, save={"life": "user.id"}, says="a user"),
        API("admin", "PUT", "identity:/v3/projects/{project_id}/users/{life}/roles/{member_role_id}", 204, says="is a member"),
        login(password({"id": "{life}", "password": "first-password-1"}, HERE), save={"t": "header:X-Subject-Token"}, says="logs in"),
        D("anon", "POST", "identity:/v3/users/{life}/application_credentials", 201, headers={"X-Auth-Token": "{t}"},
          body={"application_credential": {"name": "{marker}-life", "secret": "life-secret-0123456789"}},
          save={"ac": "application_credential.id"}, says="makes a credential"),
        D("admin", "PATCH", "identity:/v3/users/{life}", 200, body={"user": {"password": "second-password-2"}},
          answer={"user": {"id": "{life}", "password": Absent}}, says="its password changes"),
        D("anon", "GET", "identity:/v3/users/{life}", 401, headers={"X-Auth-Token": "{t}"}, says="the old token ends at once"),
        D("anon", "POST", TOKENS, 401, body=password({"id": "{life}", "password": "first-password-1"}, HERE), says="the old password too"),
        D("anon", "POST", TOKENS, 201, body=credential(id="{ac}", secret="life-secret-0123456789"),
          says="the credential does not"),
        D("admin", "PATCH", "identity:/v3/users/{life}", 200, body={"user": {"enabled": False}}, says="the user is disabled"),
        D("anon", "POST", TOKENS, 401, body=credential(id="{ac}", secret="life-secret-0123456789"), says="the credential sleeps"),
        D("admin", "PATCH", "identity:/v3/users/{life}", 200, body={"user": {"enabled": True}}, says="enabled again"),
        D("anon", "POST", TOKENS, 201, body=credential(id="{ac}", secret="life-secret-0123456789"), says="it lives again"),
        D("admin", "DELETE", "identity:/v3/projects/{project_id}/users/{life}/roles/{member_role_id}", 204, says="the role is taken"),
        D("anon", "POST", TOKENS, (401, 404), body=credential(id="{ac}", secret="life-secret-0123456789"), says="the credential is dead"),
        API("admin", "DELETE", "identity:/v3/users/{life}", 204, says="the user goes"),
        API("admin", "GET", "identity:/v3/users/{life}", 404, answer=MISSING, says="is gone"),
    ], cleanup=[Row("admin", "DELETE", "identity:/v3/users/{life}", 204)]),
    Scene("passwords", [
        API("admin", "POST", "identity:/v3/users", 201, body={"user": {"name": "{marker}-pw", "password": "first-password-1",
            "domain_id": "default", "description": "{marker}", "options": {"lock_password": True}}}, save={"pw": "user.id"},
            answer={"user": {"id": ID, "name": "{marker}-pw", "enabled": True, "description": "{marker}", "domain_id": "default",
                    "options": {"lock_password": True}, "password": Absent}}, says="a user whose password is locked"),
        D("anon", "POST", "identity:/v3/users/{pw}/password", (400, 401), body={"user": {"original_password": "first-password-1",
          "password": "second-password-2"}}, says="can't change it"),
        D("admin", "PATCH", "identity:/v3/users/{pw}", 200, body={"user": {"options": {"lock_password": False}}}, says="unlocked"),
        login(password({"id": "{pw}", "password": "first-password-1"}), save={"t": "header:X-Subject-Token"}, says="a login"),
        D("anon", "POST", "identity:/v3/users/{pw}/password", 204, headers={"X-Auth-Token": "{t}"}, body={"user": {
          "original_password": "first-password-1", "password": "second-password-2"}}, says="it can"),
        D("anon", "POST", "identity:/v3/users/{pw}/password", 401, body={"user": {"original_password": "first-password-1",
          "password": "x"}}, says="not with an old one"),
        login(password({"id": "{pw}", "password": "second-password-2"}), says="the new one is it"),
        API("admin", "POST", "identity:/v3/users", 409, body={"user": {"name": "{marker}-pw", "domain_id": "default"}},
            answer={"error": {"code": 409, "title": "Conflict"}}, says="a name is taken once a domain"),
        API("admin", "GET", "identity:/v3/users?name={marker}-pw", 200, answer={"users": [{"id": "{pw}", "description": "{marker}"}],
            "links": {"next": None}}, says="found by name"),
        API("admin", "GET", "identity:/v3/users?name={marker}-nosuch", 200, answer={"users": []}, says="none of that name"),
    ], cleanup=[Row("admin", "DELETE", "identity:/v3/users/{pw}", 204)]),
    Scene("a member's rights", [
        API("member", "GET", "identity:/v3/users", 403, answer=FORBIDDEN, says="does not list users"),
        API("member", "GET", "identity:/v3/users?name={member_name}", 403, says="nor by name"),
        API("member", "GET", "identity:/v3/users/{member_id}", 200, answer={"user": {"id": "{member_id}", "name": "{member_name}"}},
            says="but sees itself"),
        API("member", "GET", "identity:/v3/users/{other_id}", 403, says="nobody else"),
        D("member", "POST", "identity:/v3/users", 403, body={"user": {"name": "{marker}-no", "password": "x"}}, answer=FORBIDDEN,
          says="makes no user"),
        D("member", "POST", "identity:/v3/roles", 403, body={"role": {"name": "{marker}-no"}}, says="nor a role"),
        API("member", "GET", "identity:/v3/roles", 403, answer=FORBIDDEN, says="does not list roles"),
        API("member", "GET", "identity:/v3/roles?name=reader", 403, says="nor by name"),
        API("member", "GET", "identity:/v3/role_assignments?scope.project.id={project_id}", 403, says="nor who has them"),
        API("member", "GET", "identity:/v3/projects", 403, says="nor projects"),
        API("member", "GET", "identity:/v3/projects/{project_id}", 200, answer={"project": {"id": "{project_id}", "name": "{project_name}"}},
            says="but sees its own"),
        API("member", "GET", "identity:/v3/projects/{other_project_id}", 403, says="not another"),
        API("member", "GET", "identity:/v3/users/{member_id}/projects", 200, answer={"projects": [{"id": "{project_id}"}]},
            says="and its list"),
        API("member", "GET", "identity:/v3/domains", 403, says="no domains"),
        API("member", "PUT", "identity:/v3/projects/{project_id}/users/{other_id}/roles/{member_role_id}", 403, says="grants nothing"),
        API("member", "DELETE", "identity:/v3/users/{other_id}", 403, says="deletes nobody"),
        API("member", "PATCH", "identity:/v3/users/{member_id}", 403, body={"user": {"description": "x"}}, says="nor changes itself"),
    ]),
    Scene("an admin's rights", [
        API("admin", "GET", "identity:/v3/roles?name=reader", 200, answer={"roles": [{"name": "reader", "id": ID}]}, says="a role by name"),
        API("admin", "GET", "identity:/v3/roles?name={marker}-nosuch", 200, answer={"roles": []}, says="none of that name"),
        API("admin", "GET", "identity:/v3/roles", 200, answer={"roles": All(Some({"name": "admin"}), Some({"name": "member"}),
            Some({"name": "reader"}))}, says="all roles"),
        API("admin", "POST", "identity:/v3/roles", 201, body={"role": {"name": "{marker}-spare"}}, save={"spare": "role.id"},
            answer={"role": {"id": ID, "name": "{marker}-spare"}}, says="a new role"),
        API("admin", "POST", "identity:/v3/roles", 409, body={"role": {"name": "{marker}-spare"}}, says="its name is taken"),
        API("admin", "PUT", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles/{spare}", 204, says="a grant"),
        API("admin", "PUT", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles/{spare}", 204, says="again: the same"),
        API("admin", "HEAD", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles/{spare}", 204, says="is there"),
        API("admin", "GET", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles", 200, answer={"roles": [{"id": "{spare}"}]},
            says="is listed"),
        API("admin", "GET", "identity:/v3/role_assignments?scope.project.id={project_id}&include_names=true", 200, answer={
            "role_assignments": All(Every({"scope": {"project": {"id": "{project_id}", "name": "{project_name}"}}}),
            Some({"user": {"id": "{nobody_id}", "name": "{nobody_name}"}, "role": {"id": "{spare}", "name": "{marker}-spare"}}))},
            says="all of a project, with names"),
        API("admin", "GET", "identity:/v3/role_assignments?user.id={nobody_id}", 200, answer={"role_assignments": [
            {"role": {"id": "{spare}", "name": Absent}, "user": {"id": "{nobody_id}"}, "scope": {"project": {"id": "{project_id}"}}}]},
            says="all of a user"),
        API("admin", "GET", "identity:/v3/role_assignments?user.id={member_id}&effective", 200, answer={"role_assignments": All(
            Some({"role": {"id": "{member_role_id}"}}), Some({"role": {"id": "{reader_role_id}"}}))}, says="with implied roles"),
        API("admin", "DELETE", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles/{spare}", 204, says="taken away"),
        API("admin", "DELETE", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles/{spare}", 404, says="once"),
        API("admin", "HEAD", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles/{spare}", 404, says="is gone"),
        API("admin", "PUT", "identity:/v3/projects/{project_id}/users/{nobody_id}/roles/" + NOT_THERE, 404, says="an unknown role"),
        API("admin", "DELETE", "identity:/v3/roles/{spare}", 204, says="the role goes"),
        API("admin", "DELETE", "identity:/v3/roles/{spare}", 404, says="once"),
        API("admin", "GET", "identity:/v3/users/" + NOT_THERE, 404, answer=MISSING, says="an unknown user"),
        API("admin", "GET", "identity:/v3/projects/" + NOT_THERE, 404, answer=MISSING, says="an unknown project"),
        API("admin", "GET", "identity:/v3/projects?name={project_name}", 200, answer={"projects": [{"id": "{project_id}", "enabled": True}]},
            says="a project by name"),
        API("admin", "POST", "identity:/v3/projects", 409, body={"project": {"name": "{project_name}", "domain_id": "default"}},
            says="its name is taken"),
        API("admin", "GET", "identity:/v3/domains?name=Default", 200, answer={"domains": [{"id": "default", "enabled": True}]},
            says="the domain by name"),
    ], cleanup=[Row("admin", "DELETE", "identity:/v3/roles/{spare}", 204)]),
]
