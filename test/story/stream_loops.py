"""The streaming server on several loops: to clients, to Redis and to PostgreSQL it is one. What else the server does is
asked of several loops by STREAM_LOOPS=2 with the other stories."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from stream import *

BASE = "/api/v1/streaming"
N = 3


def start(t, **more):
    s = world().server(**{"ATOLL_STREAM_LOOPS": str(N), "ATOLL_STREAM_DRAIN": "500ms", **more})
    t.processes.append(s)
    return s


def clients(w, s, count, stream="public", a=None, channel="timeline:public"):
    """That get what is published there: `count` loops have one, as each goes to the loop that has the fewest."""
    made = [Ws(s.address(), f"/?stream={stream}", (a or w.account()).token) for _ in range(count)]
    for c in made:
        w.flows(c, channel)
    w.ends(made, channel)
    return made


def loops(s):
    """Connections of each loop: the descriptors in its epoll set for clients, of which libuv's has none."""
    counts = []
    for fd in os.listdir(f"/proc/{s.process.pid}/fd"):
        try:
            if os.readlink(f"/proc/{s.process.pid}/fd/{fd}") != "anon_inode:[eventpoll]":
                continue
            with open(f"/proc/{s.process.pid}/fdinfo/{fd}") as f:
                sockets = [re.search(r"data: +([0-9a-f]+)", line) for line in f if line.startswith("tfd:")]
        except OSError:
            continue
        # Ours carries a connection's number and generation, libuv's the descriptor alone.
        counts.append(sum(int(m[1], 16) > 0xffffffff for m in sockets))
    return sorted(counts)[-N:]


def threads(s):
    """Of the loops, by number."""
    found = []
    for task in os.listdir(f"/proc/{s.process.pid}/task"):
        with open(f"/proc/{s.process.pid}/task/{task}/comm") as f:
            if f.read().strip() == "loop":
                found.append(int(task))
    return sorted(found)


def test_loops_share_alike(t):
    """Also behind a unix socket; those that leave make room."""
    w = world()
    for more in {}, {"SOCKET": f"{t.dir}/loops", "PORT": None}:
        s = start(t, **more)
        equal(len(threads(s)), N, "threads")
        many = [Conn(s.address()) for _ in range(30 * N)]
        until("each has its share", 10, lambda: loops(s) == [30] * N)
        for c in many[::N]:  # all of one loop
            c.reset()
        until("one has none", 10, lambda: loops(s) == [0, *[30] * (N - 1)])
        many[::N] = [Conn(s.address()) for _ in many[::N]]
        until("it has those that came since", 10, lambda: loops(s) == [30] * N)
        equal(s.metrics()["atoll_stream_connections"], 30 * N + 1, "counted in all")
        equal(s.out().count(READY), 1, "ready, said once")
        equal(s.stop(), 0, "exit status")
        check(not more or not os.path.exists(more["SOCKET"]), "the socket's file is left")


def test_one_subscription_and_one_key(t):
    w = world()
    monitor = socket.create_connection(("127.0.0.1", w.redis.port), 30)
    lines = monitor.makefile("rb")
    monitor.sendall(b"MONITOR\r\n")
    equal(lines.readline(), b"+OK\r\n", "MONITOR")
    s = start(t)
    a = w.account()
    c = clients(w, s, N, "user", a, f"timeline:{a.id}")
    equal(loops(s), [1] * N, "one on each loop")
    names = [f"timeline:{a.id}", f"timeline:{a.id}:notifications", f"timeline:system:{a.id}", f"timeline:access_token:{a.token_id}"]
    equal(w.redis("PUBSUB", "NUMSUB", *names)[1::2], [1] * 4, "subscriptions")
    equal(s.metrics()["redis_subscriptions"], 4, "counted")
    for left in range(N - 1, -1, -1):
        c.pop().reset()
        until("one less", 10, lambda: s.metrics()['connected_clients{type="websocket"}'] == left)
        if left:
            w.flows(c[-1], names[0])
            equal(w.heard(names[0]), 1, f"with {left} left")
    until("nobody listens", 10, lambda: not any(w.heard(n) for n in names))
    w.redis("PING", "the end")
    said = []
    while not said or b'"the end"' not in said[-1]:
        said.append(lines.readline())
    monitor.close()
    for name in names:
        mine = [line.split(b'"')[1] for line in said if b'"' + name.encode() + b'"' in line and b'"PUB' not in line]
        equal(mine, [b"SUBSCRIBE", b"UNSUBSCRIBE"], f"words about {name}")
    for name in names[:2]:
        equal(sum(f'"subscribed:{name}"'.encode() in line for line in said), 1, f"keys of {name}")
    check(not any(b'"subscribed:timeline:system' in line for line in said), "a system channel has a key")


def test_order_and_each_once(t):
    """Two channels with listeners on all loops, filtered messages among them; one that only one loop has."""
    w = world()
    s = start(t)
    c = clients(w, s, 4 * N)
    d = clients(w, s, 1, "hashtag&tag=kelp", None, "timeline:hashtag:kelp")
    for n in range(600):
        w.publish("timeline:public", update(id=str(n)) if n % 7 == 0 else {"event": "delete", "payload": str(n)})
        if n % 3 == 0:
            w.publish("timeline:hashtag:kelp", {"event": "delete", "payload": str(n)})
    number = lambda m: m["payload"] if m["event"] == "delete" else json.loads(m["payload"])["id"]
    equal([number(m) for m in w.end(d[0], "timeline:hashtag:kelp")], [str(n) for n in range(0, 600, 3)], "of the tag")
    for got in w.ends(c, "timeline:public"):
        equal([number(m) for m in got], [str(n) for n in range(600)], "order")


def test_limits_are_of_all_loops(t):
    w = world()
    s = start(t, ATOLL_STREAM_CONNECTIONS_PER_ACCOUNT="2", ATOLL_STREAM_CONNECTIONS_PER_ADDRESS="4", ATOLL_STREAM_CONNECTIONS="12")
    kept = []

    def status(a, headers=()):
        c = Conn(s.address())
        c.send(upgrade("/", bearer(a.token) + list(headers)))
        kept.append(c)
        return c.head()[0]
    a = w.account()
    equal([status(a) for _ in range(3)], [101, 101, 429], "of an account")
    kept.pop(0).reset()
    until("there is room again", 10, lambda: status(a) == 101)
    for c in kept:
        c.reset()
    until("nobody is left", 10, lambda: s.metrics()["atoll_stream_connections"] == 1)
    far = [("X-Forwarded-For", "198.51.100.7")]
    equal([status(w.account(), far) for _ in range(5)], [101] * 4 + [429], "of an address")
    equal(status(w.account(), [("X-Forwarded-For", "198.51.100.8")]), 101, "of another")
    metrics = s.metrics()
    check(metrics['atoll_stream_refused_total{reason="connections_per_account"}'] >= 1, "counted: account")
    equal(metrics['atoll_stream_refused_total{reason="connections_per_address"}'], 1, "counted: address")
    until("the refused one is gone", 10, lambda: s.metrics()["atoll_stream_connections"] == 6)
    many = [Conn(s.address()) for _ in range(20)]

    def ended():
        return sum(wait_readable([c], 0) for c in many)
    until("all but seven of the twenty are closed", 10, lambda: ended() >= 13)
    for c in many:
        c.reset()
    until("counted: in all", 10, lambda: room(s) and s.metrics()['atoll_stream_refused_total{reason="connections"}'] >= 13)


def room(s):
    try:
        return s.get(f"{BASE}/health")[2] == b"OK"
    except (Closed, OSError):
        return False


def test_numbers_are_of_all_loops(t):
    """Whichever loop answers: each of these questions goes to another one."""
    w = world()
    s = start(t, DB_POOL="2")
    c = clients(w, s, 2 * N)
    before = s.metrics()
    for _ in range(10):
        w.publish("timeline:public", update())
    w.ends(c, "timeline:public")
    asked = [Conn(s.address()) for _ in range(N)]  # kept: they are on all loops
    for x in asked:
        x.send(request("GET", f"{BASE}/health"))
        equal(x.answer()[2], b"OK", "health")

    def says(x):
        x.send(request("GET", "/metrics"))
        m = {k: float(v) for k, v in (l.rsplit(" ", 1) for l in x.answer()[2].decode().splitlines() if l[0] != "#")}
        return [m['connected_clients{type="websocket"}'], m['connected_channels{type="websocket",channel="public"}'],
                m["redis_messages_received_total"] - before["redis_messages_received_total"],
                m['messages_sent_total{type="websocket"}'] - before['messages_sent_total{type="websocket"}'],
                m["atoll_stream_connections"]]
    wanted = [2 * N, 2 * N, 11, 11 * 2 * N, 3 * N]  # ten messages and a mark
    until("the first question's connection is gone", 10, lambda: says(asked[0])[-1] == 3 * N)
    for x in asked:
        equal(says(x), wanted, "numbers")
    equal(w.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mastodon' AND query LIKE '%blocks%'")[0][0] <= str(N), True,
          "one connection to PostgreSQL each at most")


def test_system_messages_reach_all_loops(t):
    w = world()
    s = start(t)
    a = w.account()
    c = clients(w, s, N, a=a)
    w.publish("timeline:public", update(content="<p>kelp</p>"))
    found = lambda: [[f["keyword_matches"] for f in json.loads(got[0]["payload"])["filtered"]] for got in w.ends(c, "timeline:public")]
    equal(found(), [[]] * N, "no filter yet")
    w.filter(a, [("kelp", True)])
    w.publish(f"timeline:system:{a.id}", {"event": "filters_changed"})
    w.publish("timeline:public", update(content="<p>kelp</p>"))
    equal(found(), [[["kelp"]]] * N, "filter")
    w.publish(f"timeline:access_token:{a.token_id}", {"event": "kill"})
    for x in c:
        equal(x.ends().code, None, "close")


def test_drain_and_restarts_reach_all_loops(t):
    w = world()
    redis, w.redis = w.redis, Redis(t)  # of its own: it is restarted
    try:
        s = start(t)
        c = clients(w, s, 2 * N)
        w.redis.stop()
        w.redis.start()
        for x in c:
            w.flows(x, "timeline:public")
        equal(w.heard("timeline:public"), 1, "subscriptions after a restart")
        e = Sse(s.address(), f"{BASE}/public", w.account().token)
        s.process.send_signal(signal.SIGTERM)
        for x in c:
            end = x.ends()
            equal((end.frame, end.code), (True, 1001), "close")
        e.closes()
        e.close()
        equal(s.wait(30), 0, f"exit status; {s.out()}")
    finally:
        w.redis = redis


class Stopped:
    """One thread of another process."""

    def __init__(self, tid):
        self.tid, self.libc = tid, ctypes.CDLL(None, use_errno=True)
        if self.ptrace(0x4206) < 0:  # PTRACE_SEIZE
            raise Skipped(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
        check(self.ptrace(0x4207) == 0, "PTRACE_INTERRUPT")
        os.waitpid(tid, 0x40000000)  # __WALL

    def ptrace(self, what):
        return self.libc.ptrace(what, self.tid, None, None)

    def goes_on(self):
        check(self.ptrace(17) == 0, "PTRACE_DETACH")


def test_a_loop_that_does_not_keep_up(t):
    """Its messages are thrown away and its clients told to come back; the others miss nothing."""
    w = world()
    s = start(t, ATOLL_STREAM_LOOPS="2", ATOLL_STREAM_BACKLOG="1000000", ATOLL_STREAM_QUEUE="100000000")
    c, d = clients(w, s, 2)
    stopped = Stopped(threads(s)[0])
    before, text = private_kb(s.process.pid), "x" * 10000
    w.publish("timeline:public", {"event": "delete", "payload": "0"})
    until("one of them goes on", 10, lambda: wait_readable([c, d], 1))
    if wait_readable([c], 0):
        c, d = d, c
    equal(d.message()["payload"], "0", "the first")
    for n in range(1, 3001):
        w.publish("timeline:public", {"event": "delete", "payload": f"{n} {text}"})
        equal(d.message()["payload"].split(" ")[0], str(n), "order")
    check(not wait_readable([c], 0), "the other loop was not stopped")
    grown = private_kb(s.process.pid) - before
    check(grown < 8192 or sanitized(), f"30 MB were published, memory grew by {grown} kB")
    stopped.goes_on()
    end = c.ends()
    equal((end.frame, end.code), (True, 1001), f"close; {s.out()}")
    until("counted", 10, lambda: s.metrics()['atoll_stream_refused_total{reason="backlog"}'] == 1)
    check("does not keep up with Redis: its 1 clients" in s.out(), f"said: {s.out()}")
    again = w.flows(Ws(s.address(), "/?stream=public", w.account().token), "timeline:public")
    w.ends([d, again], "timeline:public")
    w.publish("timeline:public", {"event": "delete", "payload": "2"})
    equal([[m["payload"] for m in got] for got in w.ends([d, again], "timeline:public")], [["2"]] * 2, "both go on")


def test_settings(t):
    show = lambda *more: subprocess.run([f"{BUILD}/atoll", "stream", "--show-settings", *more], env=world().environment(),
                                        capture_output=True, text=True)
    check(re.search(r"^loops +1 ", show("--set", "loops=1").stdout, re.M), "the default")
    check(re.search(r"^loops +auto ", show("--set", "loops=auto").stdout, re.M), "auto")
    for wrong in "0", "33", "many":
        done = show("--set", f"loops={wrong}")
        check(done.returncode and "from 1 to 32, or auto" in done.stderr, f"{wrong}: {done.stderr}")
    s = start(t, ATOLL_STREAM_LOOPS="auto")
    cores = len(os.sched_getaffinity(0))
    equal(len(threads(s)), cores if cores > 1 else 0, "a thread for each core")


def test_zzz_sound(t):
    sound()


main()
