"""`-e staging`: another island from the same file, beside the first, and neither touches the other."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

ISLAND = ISLAND_HEAD + """\
  all: {flavor: m1.small, roles: [edge, web, worker, postgres, redis], volume: {size: 10GB}}
media: {container: uploads}
environments:
  staging:
    network: {cidr: OTHER/24}
    servers: {all: {roles: [edge, web, postgres, redis]}, jobs: {flavor: m1.small, roles: [worker]}}
"""


def begin(t):
    t.start_pocket()
    a, b, c, _ = t.cidr.split(".")
    # Addresses that no other test has: the second half of this one's.
    t.island(ISLAND.replace("OTHER/24", f"{a}.{b}.{c}.128/25")
             .replace("127.77.0.0/24", f"{a}.{b}.{c}.0/25"))


def there(t):
    """What the cloud has of the two islands: those of staging, and all others."""
    cloud = Api(t.pocket, "pocket")
    found = [f"container {c['name']}" for c in cloud.call("object-store", "GET", "?format=json")[2]]
    found += [f"{kind} {name}" for kind, name, body in t.pocket.rows()
              if name and name.startswith("reef") and kind not in ("token", "object", "container")]
    found += [f"{kind} {body['description']}" for kind, name, body in t.pocket.rows("floatingip")]
    return {f for f in found if "staging" in f}, {f for f in found if "staging" not in f}


def test_keys_of_its_own_and_names_that_are_not_there(t):
    begin(t)
    missing = t.atoll("check", "-e", "staging", code=None)
    check("`atoll init -e staging` makes them" in missing.out + missing.err, missing)
    early = t.apply("-e", "staging", code=None)
    check(early.code != 0 and "island reef-staging has keys of its own" in early.err
          and "`atoll init -e staging` makes them" in early.err, early)
    typo = t.atoll("plan", "-e", "stagign", code=1)
    check("island.yaml:" in typo.err and 'did you mean "staging"?' in typo.err
          and "there is: staging" in typo.err, typo)
    bad = t.atoll("plan", "-e", "Staging!", code=64)
    check("a letter first, such as staging" in bad.err, bad)
    both = t.atoll("init", "other", "-e", "staging", "--recovery-file", "r2", code=64)
    check("takes the island's name from" in both.err, both)
    result = t.atoll("init", "-e", "staging", "--recovery-file", "recovery-staging")
    check("keys/reef-staging.key" in result.out and "kept  island.yaml" in result.out, result)
    t.atoll("check", "-e", "staging")
    plan = t.atoll("plan", "-e", "staging", "--out", "plan.json")
    check(plan.out.startswith("reef-staging on pocket\n"), plan)
    # A plan of one is none of the other.
    other = t.atoll("apply", "plan.json", "--package", f"{BUILD}/atoll.deb", code=None)
    check(other.code != 0 and "is a plan of the island reef-staging" in other.err, other)
    equal([f for part in there(t) for f in part if not f.startswith("user")], [], "nothing was made")


def test_side_by_side(t):
    begin(t)
    t.atoll("init", "-e", "staging", "--recovery-file", "recovery-staging")
    t.apply()
    t.apply("-e", "staging")
    for more in ((), ("-e", "staging")):
        check("No changes" in t.atoll("plan", "--detailed-exitcode", *more).out, more)

    def web(*more):
        island, = t.atoll("status", "--json", *more).events("island")
        at, = t.atoll("status", "--json", *more).events("addresses")
        return island, at, f"http://{at['floating_ip']}:{at['http']}"
    island, at, url = web()
    equal((island["name"], island["domain"], at["container"]), ("reef", "reef.example", "uploads"), "")
    other, other_at, other_url = web("-e", "staging")
    equal((other["name"], other["domain"], other_at["container"]),
          ("reef-staging", "staging.reef.example", "uploads-staging"), "staging")
    check(url != other_url, url)

    def ready(base):
        return until(f"{base}/ready answers 200", 30, lambda: (
            lambda got: got[0] == 200 and got[2])(request("GET", base + "/ready")))
    check("/uploads/" in ready(url)["object_url"], "the object's address")
    check("/uploads-staging/" in ready(other_url)["object_url"], "that of staging")

    # A release and a maintenance of one are none of the other.
    t.atoll("deploy", "-y", "2", "-e", "staging")
    t.atoll("maintenance", "on", "-e", "staging")
    equal((ready(url)["version"], request("GET", other_url + "/")[0]), ("1", 503), "each its own")
    staging, rest = there(t)
    check(all(any(f.startswith("floatingip ") for f in part) for part in (staging, rest)), "addresses")
    check({"container uploads-staging", "server reef-staging-jobs-0"} <= staging, staging)
    check({"container uploads", "container reef-vault", "server reef-all-0"} <= rest, rest)
    t.atoll("destroy", "--data", "--confirm", "reef-staging", "-e", "staging")
    equal(there(t), (set(), rest), "what is left")
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan of reef")
    check(ready(url)["ready"], "reef")


if __name__ == "__main__":
    main()
