"""What shapes a plan: options, and plans in files."""
import json
import os
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

# What needs no server: so that a plan is done in seconds, and whole.
SMALL = [w for k in ("network.main", "subnet.main", "router.main", "interface.main", "group.web",
                     "group.db", "volume.db.0", "container.vault") for w in ("--only", k)]


def keys(result):
    return {f"{e['kind']}.{e['key']}" for e in result.events("planned_change")}


def start(t):
    t.start_pocket("--no-servers")
    t.island()
    t.atoll("plan")
    return [r for r in t.pocket.rows() if r[0] != "token"]


def refused(t, code, words, *argv):
    result = t.atoll(*argv, code=code)
    check(words in result.err, f"{argv}: {words!r} is not in {result}")


def test_only(t):
    before = start(t)
    equal(keys(t.atoll("plan", "--json", *SMALL)),
          {"network.main", "subnet.main", "router.main", "interface.main", "group.web", "group.db",
           "volume.db.0", "container.vault"}, "only")
    refused(t, 64, 'did you mean "web"?', "plan", "--only", "wbe")
    refused(t, 64, "there is: no server at all", "plan", "--replace", "web.0")
    refused(t, 64, "the island file still wants it", "plan", "--delete", "reef-volume-db-0")
    equal([r for r in t.pocket.rows() if r[0] != "token"], before, "rows")
    t.atoll("apply", "-y", *SMALL)
    equal(keys(t.atoll("plan", "--json", *SMALL)), set(), "only, done")
    check("ip.main" in keys(t.atoll("plan", "--json")), "the rest waits")


def test_saved_plan(t):
    before = start(t)
    t.atoll("plan", "--out", "one", *SMALL)
    equal(stat.S_IMODE(os.stat(f"{t.dir}/one").st_mode), 0o600, "mode")
    with open(f"{t.dir}/one") as f:
        text = f.read()
    plan = json.loads(text)
    check("password" not in text and "sesame" not in text, "a secret in the plan")
    t.write("half", text[:len(text) // 2])
    t.write("newer", text.replace('"atoll_plan": 1', '"atoll_plan": 2'))
    t.write("other", "{}\n")
    t.write("elsewhere", text.replace(plan["projects"]["island"], "0" * 32))
    t.write("less", json.dumps(dict(plan, steps=plan["steps"][1:])))
    refused(t, 1, "is no plan, or half of one", "apply", "half")
    refused(t, 1, "(format 2)", "apply", "newer")
    refused(t, 1, "is no plan of atoll", "apply", "other")
    refused(t, 1, "reading the plan", "apply", "gone")
    refused(t, 5, "another project", "apply", "elsewhere")
    refused(t, 5, "it has no: create network main", "apply", "less")
    refused(t, 64, "has its own options", "apply", "one", "--only", "web")
    refused(t, 64, "--destroy is not written to a file", "plan", "--destroy", "--out", "x")
    with open(f"{t.dir}/island.yaml") as f:
        good = f.read()
    t.write("island.yaml", good + "# a word more\n")
    refused(t, 5, "is not what it was when one was made", "apply", "one")
    t.write("island.yaml", good)
    equal([r for r in t.pocket.rows() if r[0] != "token"], before, "rows")
    t.atoll("apply", "one")  # without a question
    t.atoll("apply", "one")  # nothing is left of it to do
    equal(keys(t.atoll("plan", "--json", *SMALL)), set(), "after it")


def test_what_is_kept(t):
    start(t)
    t.atoll("apply", "-y", *SMALL)
    with open(f"{t.dir}/island.yaml") as f:
        text = f.read()
    t.write("island.yaml", text.replace("web: {", "web: {volume: {size: 1GB}, "))
    t.atoll("apply", "-y", "--only", "volume.web.0")
    t.write("island.yaml", text)
    result = t.atoll("plan")
    check("--delete reef-volume-web-0" in result.out, result)
    check("volume.web.0" not in keys(t.atoll("plan", "--json")), "it is not kept")
    result = t.atoll("plan", "--json", "--delete", "reef-volume-web-0")
    gone = [e for e in result.events("planned_change") if e["key"] == "web.0" and e["kind"] == "volume"]
    equal([(e["verb"], e["loss"]) for e in gone], [("delete", "1 GB of data")], "delete")
    t.atoll("apply", "-y", "--delete", "reef-volume-web-0", "--only", "volume.web.0")
    check(len(t.pocket.rows("volume")) == 1, t.pocket.rows("volume"))


main()
