"""Two applies at once on an empty real cloud; and applies that are killed at spread-out requests, over
and over, until one is left in peace. Nothing is there twice, counted as the services list it and by
Debian's client; /ready is 200.

ATOLL_KILLS=N kills N times instead of 40.
"""
from proxy import Proxy
from real import *

KILLS = int(os.environ.get("ATOLL_KILLS", "40"))
# What an island of two servers has, as Debian's client lists it. (A port is the router's.)
WHOLE = {"network list": 1, "subnet list": 1, "router list": 1, "port list": 3,
         "security group list": 2, "volume list": 1, "server list": 2, "server group list": 2}


def names(cloud):
    """Every object with our mark or name: twice the same is two objects."""
    found = []
    for kind, name, body in cloud.rows():
        if "reef" in json.dumps([name, body.get("description"), body.get("metadata")]):
            found.append((kind, name or body.get("description")))
    return sorted(found)


def doubled(found):
    return sorted({f for f in found if found.count(f) > 1})


def check_single(found, words):
    equal(doubled(found), [], words)


def both(t, *more):
    """Two runs started together; their exit codes, smaller first."""
    argv = [f"{BUILD}/atoll", "apply", "-y", "--package", f"{BUILD}/atoll.deb", *more]
    runs = [t.spawn(*argv, XDG_CACHE_HOME=f"{t.dir}/cache{i}") for i in range(2)]
    outputs = [r.communicate(timeout=600) for r in runs]
    return sorted(r.returncode for r in runs), b"".join(err for _, err in outputs).decode()


def check_whole(t):
    found = names(t.pocket)
    check_single(found, "there twice")
    check(("security_group", "reef-lease") not in found, "the lease was left behind")
    t.ready()
    check("No changes" in t.atoll("plan").out, "a plan afterwards has changes")


def test_one_works_the_other_leaves(t):
    real(t)
    real_island(t)
    codes, err = both(t)
    equal(codes, [0, 4], f"exit codes, {err}")
    check_whole(t)
    # And on an island that is there: nobody has anything to do, and one may meet the other's lease.
    codes, err = both(t)
    check(codes in ([0, 0], [0, 4]), f"exit codes {codes} of two applies without work, {err}")
    check_whole(t)
    t.atoll("destroy", "--data", "--confirm", "reef", timeout=400)
    equal(names(t.pocket), [], "left")


def killed(t, proxy, at, when):
    """An apply that is killed at request `at` of its own; its exit code and how many arrived."""
    proxy.arm(at, when)
    run = t.spawn(f"{BUILD}/atoll", "apply", "-y", "--package", f"{BUILD}/atoll.deb",
                  OS_CLIENT_CONFIG_FILE=f"{t.dir}/through.yaml")
    proxy.victim = run.pid
    out, err = run.communicate(timeout=300)
    arrived, proxy.at = proxy.arrived, None
    check(run.returncode in (0, -9), f"exit {run.returncode} before request {at}, {when}: {err.decode()}"
                                     f"\n{out.decode()}")
    return run.returncode, arrived


def test_killed_over_and_over(t):
    """Each run dies a little later than the one before, by turns before and after its request's
    effect; every one finds what its forerunners have left, and the lease of one who is dead."""
    cloud = real(t)
    real_island(t)
    proxy = Proxy()
    proxy.clouds(cloud.clouds, f"{t.dir}/through.yaml", lambda name: cloud.api(name).endpoints)
    deaths = 0
    for n in range(KILLS):
        when = ("before", "after")[n % 2]
        code, arrived = killed(t, proxy, 2 + n * 60 // KILLS, when)
        deaths += code == -9
        twice = doubled(names(cloud)) if n % 5 == 4 else []
        if twice:
            # A request of the dead one that landed behind its successor's back: the next that
            # lives removes it, which is what is looked at in the end.
            print(f"# there twice after kill {n + 1}, {when} request {arrived}: {twice}")
    print(f"# {deaths} of {KILLS} applies were killed")
    check(deaths >= KILLS * 3 // 4, f"too few kills: {deaths}")
    t.apply(timeout=400)
    check_whole(t)
    equal(client_counts(t, WHOLE), WHOLE, "by Debian's client")
    t.atoll("destroy", "--data", "--confirm", "reef", timeout=400)
    equal(names(cloud), [], "left")


main()
