"""Bad input: the exact words, the hint, the exit code, and pocket's rows as they were before.

test/story/golden/<case>.txt holds what a person sees. ATOLL_RECORD=1 writes the files anew: read the
difference before you commit it.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")

# case: (text in the demo's island file, what it becomes)
FILE_CASES = {
    "unknown_key": ("servers:\n  web: {flavor", "servers:\n  web: {flavour"),
    "wrong_unit": ("size: 10GB", "size: 10GiBB"),
    "duplicate_key": ("image: debian-12\n", "image: debian-12\nimage: debian-13\n"),
    "role_nobody_carries": ("roles: [edge, web, worker, redis]", "roles: [edge, web, worker]"),
    "role_twice": ("roles: [postgres]", "roles: [postgres, redis]"),
    "unknown_role": ("roles: [postgres]", "roles: [postgress]"),
    "missing_flavor": ("flavor: c1.c2r2", "flavor: c1.c2r9"),
    "missing_image": ("image: debian-12", "image: debian-21"),
    "missing_volume_type": ("type: b1.sr-r3-nvme-1000", "type: b1.sr-r3-nvme-9000"),
    "missing_external_network": ("external: public", "external: publik"),
    "unknown_cloud": ("cloud: pocket-media", "cloud: pocket-meida"),
    "not_yaml": ("servers:\n", "servers: [\n"),
}


def seen(t, result):
    text = f"$ atoll apply -y\n{result.out}{result.err}exit {result.code}\n"
    text = text.replace(t.dir, "DIR")
    text = re.sub(r"req-[0-9a-f-]{36}", "req-ID", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    return text


def lasting(pocket):
    """All rows but the tokens of logins."""
    return [r for r in pocket.rows() if r[0] != "token"]


def compare(t, case, result, before):
    path, text = f"{GOLDEN}/{case}.txt", seen(t, result)
    if os.environ.get("ATOLL_RECORD"):
        os.makedirs(GOLDEN, exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
    with open(path) as f:
        equal(text, f.read(), case)
    after = lasting(t.pocket)
    check(after == before, f"{case}: pocket's rows have changed: "
                           f"{[r for r in after if r not in before]}")
    check(result.code != 0, f"{case}: exit 0")


def test_island_file(t):
    t.start_pocket("--no-servers")
    t.island()
    with open(f"{SOURCE}/demo/island.yaml") as f:
        good = f.read()
    t.atoll("plan")  # Neutron makes a project's default group at its first list
    before = lasting(t.pocket)
    for case, (old, new) in FILE_CASES.items():
        check(good.count(old) == 1, f"{case}: {old!r} is not once in the demo's island file")
        t.write("island.yaml", good.replace(old, new))
        compare(t, case, t.atoll("apply", "-y", "--package", f"{BUILD}/atoll.deb", code=None), before)


def test_wrong_password(t):
    t.start_pocket("--no-servers")
    t.island()
    before = lasting(t.pocket)
    with open(t.pocket.clouds) as f:
        text = re.sub(r"(password: *).*", r"\1wrong", f.read())
    clouds = t.write("wrong.yaml", text)
    result = t.atoll("apply", "-y", code=None, OS_CLIENT_CONFIG_FILE=clouds,
                     XDG_CACHE_HOME=f"{t.dir}/cache2")
    compare(t, "wrong_password", result, before)


def test_wrong_passphrase(t):
    t.start_pocket("--no-servers")
    t.island()
    t.write("other", "not the passphrase\n")
    result = t.atoll("key", "check", code=None, ATOLL_PASSPHRASE_FILE=f"{t.dir}/other")
    check(result.code == 6 and "passphrase" in result.err, result)


main()
