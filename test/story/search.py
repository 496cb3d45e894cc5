"""A search tier: its server, its index and what a deploy does to that. What runs is the stand-in that comes
with the canary (data/canary/README.md), not a search; all that is said to it goes over HTTP with the password."""
import base64
import glob
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from deploy import releases

TIERS = ISLAND_HEAD.replace("servers:", "owner: {name: admin, email: admin@reef.example}\nservers:") + """\
  web:    {flavor: m1.small, roles: [edge, web, worker]}
  db:     {flavor: m1.small, roles: [postgres, redis], volume: {size: 10GB}}
  find:   {flavor: c1.c1r2, roles: [search], volume: {size: 10GB}}
"""


def start(t):
    t.start_pocket()
    t.island(TIERS)
    return t.apply()


def calls(t):
    """What the stand-in was told to change, oldest first."""
    found = glob.glob(f"{t.pocket.dir}/**/search/calls.jsonl", recursive=True)
    if not found:
        return []
    with open(found[0]) as f:
        return [" ".join(json.loads(line).values()) for line in f]


def made(t):
    return calls(t).count("PUT accounts")


def row(t, key="find.0"):
    return next(r for r in t.atoll("status", "--json").events("server") if r["key"] == key)


def address(t):
    return f"http://{row(t)['address']}:9200"


def process(t):
    """The stand-in's (pid, argv, environment)."""
    # Not ours alone: of this test's pocket.
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                argv = f.read().split("\0")
            with open(f"/proc/{pid}/environ") as f:
                env = dict(v.split("=", 1) for v in f.read().split("\0") if "=" in v)
        except OSError:
            continue
        if any(w.startswith(t.dir) and w.endswith("search/server.rb") for w in argv):
            return int(pid), argv, env
    return None


def words(t):
    """atoll status, for a person: the line that speaks of search."""
    return next((line for line in t.atoll("status").out.splitlines() if line.startswith("search ")), "")


def env_of(t, name):
    """A variable, as web's own commands have it."""
    return t.atoll("exec", "web", "--", "sh", "-c", f'printf %s "${name}"').out


def test_an_island_with_a_search_tier(t):
    first = start(t)
    check("The search indexes are made." in first.out, first)
    check(first.out.index("The owner's account") < first.out.index("search indexes"), "the owner comes first")
    equal(made(t), 1, f"indexes made: {calls(t)}")
    check("PUT accounts/_doc/1" in calls(t), "what is in the database is in the index")
    record = releases(t)[-1]
    check(re.fullmatch(r"[0-9a-f]{16}", record["index"]) and "index-due" not in record, record)
    check(re.match(r"search +docker.elastic.co/elasticsearch/elasticsearch 8\.\S+$", words(t)), words(t))
    again = t.apply()
    check("search" not in again.out and made(t) == 1, again)
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan")

    # Whom it answers, and with what it was started: half of the flavor's memory, and no secret in argv.
    url = address(t)
    equal(request("GET", f"{url}/_cluster/health")[0], 401, "without a password")
    _, argv, env = process(t)
    password = env["ELASTIC_PASSWORD"]
    equal([env_of(t, n) for n in ("ES_ENABLED", "ES_HOST", "ES_PORT", "ES_USER", "ES_PRESET")],
          ["true", row(t)["address"], "9200", "elastic", "single_node_cluster"], "web's environment")
    equal(env_of(t, "ES_PASS"), password, "web's password")
    login = {"Authorization": "Basic " + base64.b64encode(f"elastic:{password}".encode()).decode()}
    equal(request("GET", f"{url}/_cluster/health", headers=login)[2]["status"], "green", "its health")
    equal(env["ES_JAVA_OPTS"], "-Xms1024m -Xmx1024m", "the heap")
    equal(env["http.host"], row(t)["address"], "where it listens")
    check(password not in " ".join(argv), "a password in argv")
    everything = subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE, text=True).stdout
    check(password not in everything, "a password in somebody's argv")
    api = Api(t.pocket, "pocket")
    groups = {g["id"]: g["name"] for g in api.call("network", "GET", "/v2.0/security-groups")[2]["security_groups"]}
    rules = api.call("network", "GET", "/v2.0/security-group-rules?port_range_min=9200")[2]["security_group_rules"]
    equal([(groups[r["security_group_id"]], groups.get(r["remote_group_id"])) for r in rules],
          [("reef-group-find", "reef-group-web")], "who may connect to it")

    # Killed: it is told, it comes back, and has what it had.
    pid = process(t)[0]
    os.kill(pid, signal.SIGSTOP)
    until("status says that it does not answer", 60, lambda: row(t)["health"] != "healthy")
    check("find.0" in t.atoll("status").out and row(t)["why"], "why")
    os.kill(pid, signal.SIGKILL)
    until("it is back", 60, lambda: row(t)["health"] == "healthy")
    check(process(t)[0] != pid, "another process")
    equal(request("GET", f"{url}/accounts/_count", headers=login)[2], {"count": 1}, "its documents")

    # A password that is not its own: the command says so, with the server's answer.
    wrong = t.atoll("exec", "web", "--", "sh", "-c", "ES_PASS=x bin/tootctl search deploy", code=1)
    check("answers 401" in wrong.out + wrong.err, wrong)


def test_made_once_whenever_it_dies(t):
    """kill -9 of the operator's side before, in and after the making of the index."""
    t.start_pocket()
    t.island(TIERS)
    # At what moment: the record before it is there, the index is made, all is written down.
    moments = [lambda: any("owner" in r for r in releases(t)), lambda: made(t),
               lambda: "index" in releases(t)[-1]]
    for number, moment in enumerate(moments, 1):
        p = t.spawn(f"{BUILD}/atoll", "apply", "-y", "--package", f"{BUILD}/atoll.deb")

        def reached():
            try:
                return moment() or p.poll() is not None
            except Failed:  # there is no such container yet
                return p.poll() is not None
        until(f"moment {number}", 90, reached)
        p.send_signal(signal.SIGKILL)
        p.communicate()
    t.apply()
    equal(made(t), 1, f"indexes made: {calls(t)}")
    equal(len([r for r in releases(t) if "index" in r]), 1, "it was written down once")
    equal(words(t).count("not made yet"), 0, words(t))


def test_a_deploy_brings_mappings_up_to_date(t):
    start(t)
    index = releases(t)[-1]["index"]
    # The same definitions: nothing is said to the server.
    before = len(calls(t))
    plain = t.atoll("deploy", "-y", "2")
    check("search:" not in plain.out, plain)
    equal(len(calls(t)), before, "calls of a deploy that changed no definition")
    equal((releases(t)[-1]["index"], releases(t)[-1].get("index-due")), (index, None), "the record")

    changed = t.atoll("deploy", "-y", "7")
    check("tootctl search deploy --only-mapping" in changed.out, changed)
    equal(calls(t)[before:], ["PUT accounts/_mapping", "PUT chewy_specifications/_doc/accounts"],
          "what it was told")
    check(releases(t)[-1]["index"] != index and "index-due" not in releases(t)[-1], "the record")

    # One that can't be mapped: the release runs, it is said what a person has to do, and nothing is lost.
    failed = t.atoll("deploy", "-y", "8", code=3)
    check("answers 400" in failed.err and "atoll tootctl search deploy" in failed.err, failed)
    equal(t.ready()["version"], "8", "the release")
    equal(releases(t)[-1]["index-due"], "1", "the record")
    check("`atoll apply` looks" in words(t), words(t))
    equal(made(t), 1, "no index was thrown away")
    check("accounts: made" in t.atoll("tootctl", "search", "deploy").out, "made anew by hand")
    t.apply()
    check("index-due" not in releases(t)[-1] and "looks" not in words(t), words(t))


def test_added_later_and_taken_away(t):
    t.start_pocket()
    without = "".join(line for line in TIERS.splitlines(True) if "find:" not in line)
    t.island(without)
    first = t.apply()
    check("search" not in first.out and words(t) == "" and "index" not in releases(t)[-1], first)
    equal(env_of(t, "ES_ENABLED"), "", "web's environment")
    t.island(TIERS)
    check("The search indexes are made." in t.apply().out, "made with the tier")
    check("PUT accounts/_doc/1" in calls(t) and env_of(t, "ES_ENABLED") == "true", calls(t))

    # Its server is away when something is due: the rest is done, and the next run does this.
    number = len(releases(t))
    Api(t.pocket, "pocket").call("object-store", "DELETE", f"/reef-mail/release/{number:08}")
    pid = process(t)[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        bad = t.atoll("apply", "-y", code=3)
        check("tootctl search deploy: There was an issue connecting" in bad.err and "again" in bad.err, bad)
    finally:
        os.kill(pid, signal.SIGCONT)
    t.apply()
    equal(made(t), 1, "it was there already")

    t.island(without)
    t.apply()
    check("index" not in releases(t)[-1] and env_of(t, "ES_ENABLED") == "", "nothing is left of it")


def test_killed_before_the_mapping(t):
    start(t)
    p = t.spawn(f"{BUILD}/atoll", "deploy", "-y", "7")
    until("the release runs", 120, lambda: "index-due" in releases(t)[-1] or p.poll() is not None)
    p.send_signal(signal.SIGKILL)
    p.communicate()
    equal(releases(t)[-1].get("index-due"), "1", "where it died")
    t.apply()
    equal(calls(t).count("PUT accounts/_mapping"), 1, calls(t))
    check("index-due" not in releases(t)[-1], releases(t)[-1])


def test_a_wrong_name_has_its_place(t):
    t.start_pocket()
    for key, place, said in (
            ("image: docker.elastic.co/Elasticsearch", "8:17", "an image's name has a-z"),
            ("image: elasticsearch", "8:17", "give it with its registry"),
            ("image: docker.io/x/elasticsearch:8.1", "8:17", "the tag goes into search.version"),
            ("imgae: x", "8:10", 'did you mean "image"?'),
            ("version: 8 19", "8:19", "such as 8.19.17")):
        t.island(TIERS.replace("owner:", f"search: {{{key}}}\nowner:"))
        bad = t.atoll("plan", code=None)
        check(bad.code != 0 and f"island.yaml:{place}" in bad.err and said in bad.err, f"{key}: {bad}")


if __name__ == "__main__":
    main()
