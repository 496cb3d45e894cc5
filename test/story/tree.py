"""Releases that are source trees: installed from an archive, changed by another one, back from one
that is not healthy, and archives that are wrong. The trees are the canary, packed in Mastodon's shape
(scripts/canary-tree)."""
import hashlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

ISLAND = ISLAND_HEAD.replace("{canary: true}", '{tree: trees/canary-1.tar.gz, version: "1"}') + """\
  web:    {flavor: m1.small, count: COUNT, roles: [edge, web, worker]}
  db:     {flavor: m1.small, roles: [postgres, redis], volume: {size: 10GB}}
"""


def pack(t, *versions):
    os.makedirs(f"{t.dir}/trees", exist_ok=True)
    for version in versions:
        subprocess.run([f"{SOURCE}/scripts/canary-tree", version,
                        f"{t.dir}/trees/canary-{version}.tar.gz"], check=True)


def archives(t):
    """Those in the boot container: {name: content type}."""
    objects = Api(t.pocket, "pocket").call("object-store", "GET",
                                           "/reef-boot?format=json&prefix=release-")[2]
    return {o["name"]: o["content_type"] for o in objects}


def island(t, count=1):
    t.island(ISLAND.replace("COUNT", str(count)))


def start(t):
    t.start_pocket()
    pack(t, "1", "2", "3")
    island(t)
    check("ok  release" in t.atoll("check").out, "check speaks of the archive")
    t.apply()
    equal(t.ready(60)["version"], "1", "the release")


def folders(t):
    """Of each server that has any, the releases on its disk."""
    top = f"{t.pocket.dir}/servers"
    found = [f"{top}/{n}/root/opt/atoll/releases" for n in os.listdir(top)]
    return [sorted(n for n in os.listdir(f) if n != ".ran") for f in found if os.path.isdir(f)]


def healed(t):
    """The plan, once nothing in it needs looking at."""
    plan = t.atoll("plan")
    return None if "marked !" in plan.out else plan


def test_a_tree_and_other_versions(t):
    start(t)
    equal(list(archives(t)), ["release-1.tar.gz"], "what was uploaded")
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan after it")
    began = time.monotonic()
    t.atoll("deploy", "-y", "2", "--from", "trees/canary-2.tar.gz")
    print(f"# a tree to another: {time.monotonic() - began:.1f} s", flush=True)
    equal(t.ready()["version"], "2", "the release")
    equal(sorted(archives(t)), ["release-1.tar.gz", "release-2.tar.gz"], "now and the one before")
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan after a deploy")
    result = t.atoll("deploy", "-y", "3", "--from", "trees/canary-3.tar.gz", "--gate", "10s", code=9)
    check("/health answers 500" in result.err, result)
    equal(t.ready(60)["version"], "2", "the release after one that failed")
    equal(sorted(archives(t)), ["release-1.tar.gz", "release-2.tar.gz"], "the failed one's is removed")
    equal(folders(t), [["tree-1", "tree-2", "tree-3"]], "what is on the disk")
    # The file's machine is not needed by then: what is in the cloud is enough.
    os.rename(f"{t.dir}/trees", f"{t.dir}/away")
    island(t, 2)
    t.apply()
    equal([n for n in folders(t) if "tree-3" not in n], [["tree-2"]], "what a new server fetched")


def test_wrong_archives_are_refused(t):
    start(t)
    with open(f"{t.dir}/trees/canary-2.tar.gz", "rb") as whole, open(f"{t.dir}/cut.tar.gz", "wb") as cut:
        cut.write(whole.read()[:-2000])
    with open(f"{t.dir}/large.tar.gz", "wb") as large:
        large.truncate(4_000_000_001)
    for argv, code, words in (
            (("deploy", "2"), 8, "--from FILE.tar.gz gives it"),
            (("deploy", "2", "--from", "gone.tar.gz"), 8, "cannot find the release's archive gone.tar.gz"),
            (("deploy", "2", "--from", "trees"), 8, "is no file"),
            (("deploy", "2", "--from", "large.tar.gz"), 8, "has 4000 MB; Swift takes 5 GB"),
            (("deploy", "1", "--from", "trees/canary-2.tar.gz"), 1, "a version is never changed")):
        result = t.atoll(*argv, "-y", code=code)
        check(words in result.err, f"{argv}: wanted '{words}': {result}")
    equal(list(archives(t)), ["release-1.tar.gz"], "nothing was uploaded")
    result = t.atoll("deploy", "-y", "2", "--from", "cut.tar.gz", code=9)
    check("its archive can't be unpacked" in result.err, result)
    equal(t.ready()["version"], "1", "the release that runs on")
    equal(list(archives(t)), ["release-1.tar.gz"], "the archive that could not be unpacked is removed")


def test_an_archive_that_was_changed_in_the_cloud(t):
    start(t)
    cloud, path = Api(t.pocket, "pocket"), "/reef-boot/release-1.tar.gz"
    with open(f"{t.dir}/trees/canary-2.tar.gz", "rb") as f:
        other = f.read()
    cloud.call("object-store", "PUT", path, other,
               {"Content-Type": archives(t)["release-1.tar.gz"]})
    os.rename(f"{t.dir}/trees", f"{t.dir}/away")
    island(t, 2)
    result = t.apply(code=None)
    check(result.code in (3, 9) and "the SHA-256 differs" in result.err, result)
    equal(t.ready()["version"], "1", "the release that runs on")
    equal([n for n in folders(t) if n], [["tree-1"]], "the new server has not unpacked it")
    # A stranger's whole: other bytes, and words of their own.
    cloud.call("object-store", "PUT", path, other, {
        "Content-Type": f"application/vnd.atoll.tree; sha256={hashlib.sha256(other).hexdigest()}; "
                        f"mac={'0' * 64}"})
    result = t.atoll("deploy", "-y", "1", "--from", "away/canary-1.tar.gz", code=None)
    check(result.code != 0 and "was not put there with this island's vault" in result.err, result)
    # As the hint says.
    cloud.call("object-store", "DELETE", path)
    check("runs tree 1 already" in t.atoll("deploy", "-y", "1", "--from", "away/canary-1.tar.gz").out,
          "the archive is put back")
    # The server that waits for it tries again by itself; the one that serves was not told to leave
    # anything to it before it was well: a rerun does.
    until("both have it", 60, lambda: folders(t) == [["tree-1"], ["tree-1"]])
    check("host web.0" in until("it is well", 60, lambda: healed(t)).out, "what is left to do")
    t.apply()
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "the island is well")


def test_the_upload_is_cut_off(t):
    start(t)
    upload, pid_file = "PUT /v1/*/reef-boot/release-2.tar.gz", f"{t.dir}/pid"
    argv = (f"{BUILD}/atoll", "deploy", "-y", "2", "--from", "trees/canary-2.tar.gz")
    for when, there in (("before", ["release-1.tar.gz"]),
                        ("after", ["release-1.tar.gz", "release-2.tar.gz"])):
        t.pocket.fault({"match": upload, "do": "kill", "when": when, "pid_file": pid_file})
        result = t.run("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', pid_file, *argv)
        equal(result.code, -9, f"killed {when} the upload: {result}")
        t.pocket.fault()
        equal(sorted(archives(t)), there, f"killed {when} the upload")
        check("No changes" in t.atoll("plan", "--detailed-exitcode").out, f"killed {when} the upload")
    # What is there counts, although no deploy has come to name it.
    other = t.atoll("deploy", "-y", "2", "--from", "trees/canary-3.tar.gz", code=1)
    check("a version is never changed" in other.err, other)
    Api(t.pocket, "pocket").call("object-store", "DELETE", "/reef-boot/release-2.tar.gz")
    # An answer that is lost: the second try meets what the first has left.
    t.pocket.fault({"match": upload, "do": "reset", "when": "after", "times": 1})
    t.atoll(*argv[1:])
    check([r for r in t.pocket.log() if r.get("fault") == "reset"], "no answer was lost")
    equal(t.ready()["version"], "2", "the release")


if __name__ == "__main__":
    main()
