#!/usr/bin/python3
"""The contract: what atoll expects of a cloud, asked of pocket and of real services by one table.

    run.py [--build DIR] pocket                     starts an atoll-pocket of its own
    run.py --cloud-file FILE --cloud NAME real      an admin's entry of a clouds.yaml
    run.py ... pocket real                          both; a row that differs shows both answers
    run.py --document                               the page in doc/
    --part swift  only this table;  --scene REGEX  only these scenes ("swift/acl")
    --verbose  every answer

Who asks (all made through Keystone for this run, in projects of their own, and removed):
admin: the cloud's own; member, reader, custom (a role of its own): of the project {project_id};
other: member of another project; nobody: a user without any role, unscoped token; anon: no token;
appcred: the member's application credential; appcred_reader: with role reader only;
appcred_rules: may only PUT below {marker}-rules; appcred_unrestricted.
Values for {}: marker, scene (a marker of its own), auth_url, project_id, project_name, other_project_id, other_project_name,
custom_role, custom_role_id, and of each user WHO_id, WHO_name, WHO_password, WHO_token; of each
credential appcred_id, appcred_secret and so on. Prints TAP.
"""
import argparse
import base64
import concurrent.futures
import datetime
import hashlib
import hmac
import http.client
import importlib
import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.parse
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.modules["run"] = sys.modules[__name__]  # tables may take their words from here too
from rows import *  # noqa: E402, F403
from rows import difference  # noqa: E402

PARTS = ("keystone", "swift", "glance", "neutron", "cinder", "nova")
ALIASES = {"volume": ("volumev3", "block-storage", "volume")}
JOBS = 4
# The parts in the order in which they start: those with the longest scenes first.
LONGEST_FIRST = ("nova", "neutron", "cinder", "keystone", "glance")
# Scenes of this one share an account, whose settings some of them change: one after another.
ONE_BY_ONE = "swift"


class Broken(Exception):
    """The runner itself can't go on: no login, a value that no row saved."""


class Answer:
    def __init__(self, status, headers, data):
        self.status, self.headers, self.data = status, headers, data
        self.text = data.decode(errors="replace")
        try:
            self.json = json.loads(self.text)
        except ValueError:
            self.json = None

    def body(self):
        return self.text if self.json is None else self.json


class Wire(threading.local):
    """Connections of this thread, kept open: most rows take a few milliseconds."""

    def __init__(self):
        self.open = {}

    def ask(self, method, url, headers, data):
        parts = urllib.parse.urlsplit(url)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        for fresh in (False, True):
            kept = None if fresh else self.open.pop(parts.netloc, None)
            line = kept or http.client.HTTPConnection(parts.netloc, timeout=60)
            try:
                return self.once(line, parts.netloc, method, target, headers, data)
            except (http.client.BadStatusLine, ConnectionError, BrokenPipeError):
                line.close()
                if not kept:  # a kept one may have been closed meanwhile; a fresh one may not
                    raise
        raise Broken(f"no answer from {url}")

    def once(self, line, netloc, method, target, headers, data):
        line.putrequest(method, target, skip_accept_encoding=True)
        names = {n.lower() for n in headers}
        chunked = (headers.get("Transfer-Encoding") or "") == "chunked"
        if not chunked and "content-length" not in names and (
                data is not None or method in ("PUT", "POST", "PATCH")):
            line.putheader("Content-Length", str(len(data or b"")))
        for name, value in headers.items():
            if value is not None:
                line.putheader(name, value)
        line.endheaders(data, encode_chunked=chunked)
        got = line.getresponse()
        answer = Answer(got.status, got.headers, got.read())
        if got.will_close or "content-length" in names:  # a length of its own may not fit the body
            line.close()
        else:
            self.open[netloc] = line
        return answer


class Cloud:
    """One target: its identities, tokens and catalogue."""

    def __init__(self, name, file, entry):
        self.name = name
        self.wire = Wire()
        self.values = {"marker": "contract-" + secrets.token_hex(4)}
        self.hidden = []  # never printed
        self.roots = {}
        with open(file) as f:
            found = re.search(rf"^  {re.escape(entry)}:\n((?:    .*\n?)+)", f.read(), re.M)
        if not found:
            raise Broken(f"{file} has no cloud {entry}")
        self.entry = {k: v.strip("'\"") for k, v in
                      re.findall(r"^ +(\w+): *(\S.*?) *$", found.group(1), re.M)}
        self.auth_url = self.entry["auth_url"].rstrip("/")
        if not self.auth_url.endswith("/v3"):
            self.auth_url += "/v3"
        self.values["auth_url"] = self.auth_url

    # --- Keystone, as far as the identities need it ---

    def keystone(self, method, path, body=None, token=None, expect=(200, 201, 204)):
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token is not None:
            headers["X-Auth-Token"] = token
        data = None if body is None else json.dumps(body).encode()
        answer = self.wire.ask(method, self.auth_url + path, headers, data)
        if answer.status not in expect:
            raise Broken(f"{self.name}: {method} {path}: {answer.status} {self.redact(answer.text)}")
        return answer

    def login(self, identity, scope=None):
        auth = {"identity": identity}
        if scope:
            auth["scope"] = scope
        answer = self.keystone("POST", "/auth/tokens", {"auth": auth})
        return self.hide(answer.headers["X-Subject-Token"]), answer.json["token"]

    def login_user(self, user_id, password, project_id):
        return self.login({"methods": ["password"],
                           "password": {"user": {"id": user_id, "password": password}}},
                          {"project": {"id": project_id}} if project_id else None)

    def hide(self, secret):
        self.hidden.append(secret)
        return secret

    def redact(self, text):
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return text

    def admin(self, method, path, body=None, expect=(200, 201, 204)):
        return self.keystone(method, path, body, self.values["admin_token"], expect)

    def prepare(self):
        v, e = self.values, self.entry
        self.hide(e["password"])
        v["admin_token"], token = self.login(
            {"methods": ["password"], "password": {"user": {
                "name": e["username"], "password": e["password"],
                "domain": {"name": e.get("user_domain_name", "Default")}}}},
            {"project": {"name": e["project_name"],
                         "domain": {"name": e.get("project_domain_name", "Default")}}})
        v["admin_id"], v["admin_project_id"] = token["user"]["id"], token["project"]["id"]
        v["domain_id"] = token["user"]["domain"]["id"]
        roles = {r["name"]: r["id"] for r in self.admin("GET", "/roles").json["roles"]}
        v.update({f"{n}_role_id": i for n, i in roles.items() if n in ("admin", "member", "reader")})
        v["custom_role"] = v["marker"] + "-writer"
        v["custom_role_id"] = self.admin("POST", "/roles", {"role": {"name": v["custom_role"]}}
                                         ).json["role"]["id"]
        roles["custom"] = v["custom_role_id"]
        for key, name in (("project", v["marker"]), ("other_project", v["marker"] + "-other")):
            v[key + "_name"] = name
            v[key + "_id"] = self.admin("POST", "/projects", {"project": {
                "name": name, "domain_id": v["domain_id"]}}).json["project"]["id"]
        for who, role, project in (("member", "member", "project_id"), ("reader", "reader", "project_id"),
                                   ("custom", "custom", "project_id"),
                                   ("other", "member", "other_project_id"), ("nobody", None, None)):
            self.user(who, roles.get(role), v[project] if project else None)
        self.credential("appcred", {})
        self.credential("appcred_unrestricted", {"unrestricted": True})
        self.credential("appcred_reader", {"roles": [{"name": "reader"}]})
        self.credential("appcred_rules", {"access_rules": [
            {"service": "object-store", "method": "PUT",
             "path": f"/v1/AUTH_{v['project_id']}/{v['marker']}-rules/**"}]})

    def user(self, who, role_id, project_id):
        v = self.values
        v[who + "_name"] = f"{v['marker']}-{who}"
        v[who + "_password"] = self.hide(secrets.token_hex(12))
        v[who + "_id"] = self.admin("POST", "/users", {"user": {
            "name": v[who + "_name"], "password": v[who + "_password"], "domain_id": v["domain_id"]
        }}).json["user"]["id"]
        if role_id:
            self.admin("PUT", f"/projects/{project_id}/users/{v[who + '_id']}/roles/{role_id}")
        v[who + "_token"], token = self.login_user(v[who + "_id"], v[who + "_password"], project_id)
        if who == "member":
            self.find_roots(token["catalog"])

    def credential(self, who, more):
        v = self.values
        made = self.keystone("POST", f"/users/{v['member_id']}/application_credentials", {
            "application_credential": dict(more, name=f"{v['marker']}-{who}")}, v["member_token"])
        v[who + "_id"] = made.json["application_credential"]["id"]
        v[who + "_secret"] = self.hide(made.json["application_credential"]["secret"])
        v[who + "_token"] = self.login({"methods": ["application_credential"], "application_credential":
                                        {"id": v[who + "_id"], "secret": v[who + "_secret"]}})[0]

    def find_roots(self, catalog):
        for service in catalog:
            for endpoint in service["endpoints"]:
                if endpoint["interface"] != "public" or endpoint["region"] != self.entry.get(
                        "region_name", endpoint["region"]):
                    continue
                url = endpoint["url"].rstrip("/")
                self.roots.setdefault(service["type"], re.sub(r"/v\d.*$", "", url))
                if service["type"] == "object-store":
                    self.roots["object-store"] = url
                    self.roots["object-root"] = re.sub(r"/v1/.*$", "", url)
        for name, types in ALIASES.items():
            found = [self.roots[t] for t in types if t in self.roots]
            if found:
                self.roots[name] = found[0]
        self.roots["identity"] = self.auth_url[:-len("/v3")]
        self.values["account"] = urllib.parse.urlsplit(self.roots.get("object-store", "")).path

    # --- the end ---

    def empty_account(self, who):
        """Everything in a project's Swift account goes, versions too."""
        v = self.values
        root, token = self.roots.get("object-root"), v.get(who + "_token")
        project = v.get("other_project_id" if who == "other" else "project_id")
        if not root or not token or not project:
            return

        def ask(method, path, data=None, **headers):
            return self.wire.ask(method, f"{root}/v1/AUTH_{project}{path}",
                                 dict(headers, **{"X-Auth-Token": token}), data)
        names = ["/" + urllib.parse.quote(c["name"]) for c in ask("GET", "?format=json").json or []]
        lines = []
        for name in names:
            versions = ask("GET", name + "?format=json&versions")
            older = versions.headers.get("X-Versions-Location") or versions.headers.get("X-History-Location")
            if older:  # each DELETE would restore or keep something
                ask("POST", name, **{"X-Remove-Versions-Location": "x", "X-Remove-History-Location": "x"})
            for item in versions.json or []:
                path = name + "/" + urllib.parse.quote(item["name"])
                if item.get("version_id", "null") != "null":
                    ask("DELETE", f"{path}?version-id={item['version_id']}")
                else:
                    lines.append(path)
        for part in (lines, names):
            ask("POST", "?bulk-delete", "\n".join(part).encode(), **{"Content-Type": "text/plain"})

    def finish(self):
        v = self.values
        if "admin_token" not in v:
            return
        steps = [lambda: self.empty_account("member"), lambda: self.empty_account("other")]
        steps += [lambda p=p: self.drop_groups(v[p]) for p in ("project_id", "other_project_id") if p in v]
        for who in ("appcred", "appcred_unrestricted", "appcred_reader", "appcred_rules"):
            if who + "_id" in v:
                steps.append(lambda who=who: self.keystone(
                    "DELETE", f"/users/{v['member_id']}/application_credentials/{v[who + '_id']}",
                    token=v["member_token"], expect=(204, 401, 404)))
        for who in ("member", "reader", "custom", "other", "nobody"):
            if who + "_id" in v:
                steps.append(lambda who=who: self.admin("DELETE", "/users/" + v[who + "_id"]))
        for key, path in (("project_id", "/projects/"), ("other_project_id", "/projects/"),
                          ("custom_role_id", "/roles/")):
            if key in v:
                steps.append(lambda key=key, path=path: self.admin("DELETE", path + v[key]))
        for step in steps:
            try:
                step()
            except (Broken, OSError, http.client.HTTPException) as e:
                print(f"# {self.name}: left behind: {self.redact(str(e))}")

    def drop_groups(self, project_id):
        """Neutron makes a default group per project and keeps it when the project goes."""
        root = self.roots.get("network")
        if not root:
            return
        headers = {"X-Auth-Token": self.values["admin_token"]}
        url = f"{root}/v2.0/security-groups"
        groups = self.wire.ask("GET", f"{url}?project_id={project_id}", headers, None).json or {}
        for group in groups.get("security_groups", []):
            self.wire.ask("DELETE", f"{url}/{group['id']}", headers, None)


class Play:
    """A scene on one cloud: the values that its rows saved."""
    ended = threading.Event()  # told to end: only what cleans up is still asked, and once

    def __init__(self, cloud, scene):
        self.cloud, self.scene = cloud, scene
        self.values = dict(cloud.values)
        # Scenes of a part run side by side: what one makes is told apart by this.
        self.values["scene"] = f"{cloud.values['marker']}-{zlib.crc32(scene.name.encode()):08x}"
        self.results = []  # per row: (words of the difference or None, Answer or None)

    def fill(self, x):
        if isinstance(x, str):
            return re.sub(r"\{([a-z_][a-z0-9_]*)([+-]\d+)?\}", self.value, x)
        if isinstance(x, dict):
            return {self.fill(k): self.fill(v) for k, v in x.items()}
        if isinstance(x, list):
            return [self.fill(v) for v in x]
        if isinstance(x, re.Pattern):
            return re.compile(re.sub(r"\{([a-z_][a-z0-9_]*)\}", self.quoted, x.pattern), x.flags)
        if hasattr(x, "item") and not isinstance(x, type):
            return self.refill(x, "item", self.fill(x.item))
        if hasattr(x, "items") and not isinstance(x, type):
            return self.refill(x, "items", [self.fill(v) for v in x.items])
        return x

    @staticmethod
    def refill(x, name, value):
        copy = x.__class__.__new__(x.__class__)
        copy.__dict__.update(x.__dict__, **{name: value})
        return copy

    def value(self, match):
        name = match.group(1)
        if name == "now":
            return str(int(time.time()) + int(match.group(2) or 0))
        if name not in self.values:
            raise Broken(f"no value for {{{name}}}: an earlier row failed")
        return str(self.values[name])

    def quoted(self, match):
        return re.escape(str(self.values[match.group(1)])) if match.group(1) in self.values else match.group(0)

    def url(self, row):
        path = self.fill(row.path)
        service, _, rest = path.partition(":")
        if service not in self.cloud.roots:
            raise Broken(f"the catalogue has no {service}")
        url = self.cloud.roots[service] + rest
        return url + self.signature(row.sign, url) if row.sign else url

    def signature(self, sign, url):
        path = urllib.parse.unquote(self.fill(sign.path) if sign.path else urllib.parse.urlsplit(url).path)
        expires = int(time.time()) + sign.expires
        if sign.prefix is not None:
            path = "prefix:" + "/".join(path.split("/")[:4]) + "/" + sign.prefix
        text = f"{sign.method}\n{expires}\n{path}"
        mac = hmac.new(self.fill(sign.key).encode(), text.encode(), getattr(hashlib, sign.digest))
        signature = mac.hexdigest()
        if sign.form == "base64":
            signature = sign.digest + ":" + base64.urlsafe_b64encode(mac.digest()).decode()
        when = str(expires)
        if sign.form == "iso":
            when = datetime.datetime.utcfromtimestamp(expires).strftime("%Y-%m-%dT%H:%M:%SZ")
        prefix = "" if sign.prefix is None else "&temp_url_prefix=" + urllib.parse.quote(sign.prefix)
        return f"?temp_url_sig={signature}&temp_url_expires={when}{prefix}{self.fill(sign.more)}"

    def ask(self, row):
        headers, data = {"Accept": "application/json"}, row.body
        if row.path.startswith("object"):
            headers = {}
        if isinstance(data, (dict, list)):
            data = json.dumps(self.fill(data)).encode()
            headers["Content-Type"] = "application/json"
        elif isinstance(data, str):
            data = self.fill(data).encode()
        if row.who != "anon":
            if row.who + "_token" not in self.values:
                raise Broken(f"nobody is called {row.who}")
            headers["X-Auth-Token"] = self.values[row.who + "_token"]
        headers.update(self.fill(row.headers))
        try:
            return self.cloud.wire.ask(row.method, self.url(row), headers, data)
        except (http.client.BadStatusLine, ConnectionError):
            if row.method == "POST":
                raise
            time.sleep(1)  # Keystone on SQLite drops a connection when the file is locked
            return self.cloud.wire.ask(row.method, self.url(row), headers, data)

    def compare(self, row, answer):
        wanted = row.expect if isinstance(row.expect, tuple) else (row.expect,)
        if answer.status not in wanted:
            return f"status {answer.status}, wanted {row.expect}"
        for name, want in row.has.items():
            got = ", ".join(answer.headers.get_all(name, [])) if name in answer.headers else None
            if want is None:
                if got is not None:
                    return f"header {name} is there: {got!r}"
            elif got is None:
                return f"header {name} is not there"
            else:
                words = difference(self.fill(want), got, f"header {name}")
                if words:
                    return words
        if row.answer is None:
            return None
        if isinstance(row.answer, bytes):
            return None if row.answer == answer.data else f"body is {answer.data[:200]!r}"
        body = answer.text if isinstance(row.answer, (str, re.Pattern)) else answer.body()
        return difference(self.fill(row.answer), body)

    def keep(self, row, answer):
        for name, where in row.save.items():
            if where.startswith("header:"):
                got = answer.headers.get(where[7:])
            elif where == "body":
                got = answer.text
            else:
                got = answer.json
                for step in where.split("."):
                    try:
                        got = got[int(step)] if isinstance(got, list) else got.get(step)
                    except (IndexError, AttributeError, ValueError):
                        got = None
            if got is None:
                return f"nothing to save as {name}: {where}"
            self.values[name] = got
            if re.search("token|secret|password", name):
                self.cloud.hide(str(got))
        return None

    def row(self, row):
        time.sleep(row.after)
        end, pause = time.monotonic() + row.until, 0.1
        while True:
            try:
                answer = self.ask(row)
                words = self.compare(row, answer) or self.keep(row, answer)
            except (Broken, OSError, http.client.HTTPException) as e:
                return str(e) or repr(e), None
            if words is None or time.monotonic() > end or self.ended.is_set():
                return words, answer
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)  # every look costs the service's time, too

    def run(self):
        begin = time.monotonic()
        try:
            for row in self.scene.rows:
                if self.ended.is_set():
                    break
                if row.only and row.only != self.cloud.name:
                    self.results.append((None, None))
                    continue
                self.results.append(self.row(row))
        finally:
            for row in self.scene.cleanup:
                words, answer = self.row(row)
                if answer is not None and answer.status not in (200, 201, 202, 204, 404, 409) and words:
                    print(f"# {self.cloud.name}: cleanup {row.method} {row.path}: {words}")
            self.seconds = time.monotonic() - begin
        return self


# --- tables ---

def load(parts):
    """[(part, scene)] of every rows_*.py that is there."""
    scenes = []
    for part in parts:
        if os.path.exists(f"{HERE}/rows_{part}.py"):
            scenes += [(part, s) for s in importlib.import_module("rows_" + part).SCENES]
    for part, scene in scenes:
        for row in scene.rows:
            if not row.source or not row.says:
                raise Broken(f"{part}/{scene.name}: {row.method} {row.path}: no source or no words")
            if row.only and not row.reason:
                raise Broken(f"{part}/{scene.name}: {row.method} {row.path}: only without a reason")
    return scenes


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def short(text):
    return text if len(text) <= 160 else text[:160] + "..."


def code(text):
    return f"`{cell(text)}`" if text else ""


def document(scenes):
    rows = sum(len(s.rows) for _, s in scenes)
    print(f"""<!-- Made by test/contract/run.py --document. Do not edit. -->
# The contract

What atoll expects of an OpenStack, as {rows} requests in {len(scenes)} scenes. `test/contract/run.py` asks
pocket each of them in `make check`, and Debian's Keystone, Swift, Glance, Neutron, Cinder and Nova
(Zed) in `make check-openstack`. A row that one of them answers otherwise fails the check.

`member`, `reader` and `custom` (a role of its own) belong to one project, `other` to another one,
`nobody` to none; `appcred` is an application credential of the member, `appcred_reader` one with
only the role reader, `appcred_rules` one with access rules; `anon` sends no token.
""")
    for part in PARTS:
        mine = [s for p, s in scenes if p == part]
        if not mine:
            continue
        print(f"## {part.capitalize()}: {sum(len(s.rows) for s in mine)} rows\n")
        for scene in mine:
            print(f"### {scene.name}\n\n| who | request | answer | what it says | source |\n|---|---|---|---|---|")
            for row in scene.rows:
                expect = " or ".join(map(str, row.expect)) if isinstance(row.expect, tuple) else row.expect
                told = ", ".join(f"{k}: {v}" for k, v in row.headers.items() if isinstance(v, str))
                request = code(short(f"{row.method} {row.path}")) + (" " + code(short(told)) if told else "")
                print(f"| {row.who} | {request} | {expect} | {cell(row.says)} | {cell(row.source)} |")
            print()
    special = [(p, s, r) for p, s in scenes for r in s.rows if r.only]
    if special:
        print("## Rows of one side only\n\n| row | asked of | why |\n|---|---|---|")
        for part, scene, row in special:
            print(f"| {part}/{scene.name}: {code(row.method + ' ' + row.path)} | {row.only} | {cell(row.reason)} |")


def show(cloud, result, verbose):
    words, answer = result
    lines = [f"{cloud.name}: {words or 'as expected'}"]
    if answer is not None:
        lines.append(f"{cloud.name}: HTTP {answer.status}")
        boring = ("date", "connection", "content-length", "x-subject-token", "server")
        lines += [f"{cloud.name}:   {k}: {v}" for k, v in answer.headers.items()
                  if verbose or k.lower() not in boring]
        lines.append(f"{cloud.name}:   {answer.text[:1500]}")
    return ["# " + cloud.redact(line) for text in lines for line in text.splitlines()]


def play(clouds, scenes, verbose):
    failed = number = 0
    print("TAP version 13")
    print(f"1..{sum(len(s.rows) for _, s in scenes)}", flush=True)
    pool = concurrent.futures.ThreadPoolExecutor(JOBS)
    lanes = [concurrent.futures.ThreadPoolExecutor(1) for _ in clouds]
    plays = {}
    try:
        for part in (ONE_BY_ONE,) + LONGEST_FIRST:
            for scene in [s for p, s in scenes if p == part]:
                plays[part, scene.name] = [
                    (lane if part == ONE_BY_ONE else pool).submit(Play(c, scene).run)
                    for c, lane in zip(clouds, lanes)]
        for part, scene in scenes:
            done = [f.result() for f in plays[part, scene.name]]
            if verbose or max(d.seconds for d in done) > 30:
                times = ", ".join(f"{c.name} {d.seconds:.1f} s" for c, d in zip(clouds, done))
                print(f"# {part}/{scene.name}: {times}")
            for index, row in enumerate(scene.rows):
                number += 1
                results = [d.results[index] for d in done]
                good = all(words is None for words, _ in results)
                failed += not good
                skipped = row.only and all(c.name != row.only for c in clouds)
                print(f"{'ok' if good else 'not ok'} {number} - {part}/{scene.name}: "
                      f"{row.who} {row.method} {row.path[:80]}: {row.says}".replace("#", "\\#")
                      + (f" # SKIP {row.reason}" if skipped else ""))
                if not good or verbose:
                    for cloud, result in zip(clouds, results):
                        print("\n".join(show(cloud, result, verbose)))
            sys.stdout.flush()
    except BaseException:
        Play.ended.set()
        raise
    finally:
        for p in [pool] + lanes:
            p.shutdown(wait=False, cancel_futures=True)
        for p in [pool] + lanes:
            p.shutdown()
    return failed


def pocket_cloud(build, folder):
    sys.argv = [sys.argv[0], build]
    import harness
    pocket = harness.Pocket(folder + "/pocket")
    return pocket, Cloud("pocket", pocket.clouds, "pocket-admin")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--cloud-file")
    parser.add_argument("--cloud", default="admin")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--scene", default="")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--document", action="store_true")
    parser.add_argument("targets", nargs="*", choices=("pocket", "real", []))
    args = parser.parse_args()
    scenes = load(args.part or PARTS)
    if args.document:
        document(scenes)
        return 0
    scenes = [(p, s) for p, s in scenes if re.search(args.scene, f"{p}/{s.name}")]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the end is tidy
    folder = tempfile.mkdtemp(prefix="atoll-contract-")
    os.chmod(folder, 0o711)
    pocket, clouds = None, []
    try:
        for target in args.targets or ["pocket"]:
            if target == "pocket":
                pocket, cloud = pocket_cloud(args.build, folder)
            elif not args.cloud_file:
                raise Broken("real needs --cloud-file FILE and --cloud NAME")
            else:
                cloud = Cloud("real", args.cloud_file, args.cloud)
            clouds.append(cloud)
            cloud.prepare()
        return 1 if play(clouds, scenes, args.verbose) else 0
    except Broken as e:
        print(f"Bail out! {e}")
        return 1
    finally:
        for cloud in clouds:
            cloud.finish()
        if pocket:
            pocket.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
