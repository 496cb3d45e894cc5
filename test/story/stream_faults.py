"""The streaming server and what happens to it: configuration, its sockets, signals, PostgreSQL and Redis that go away,
clients that vanish or don't read, and its bounds. Section 9 of the specification, row by row."""
import os
import selectors
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from stream import *

BASE = "/api/v1/streaming"
GENERIC = "An unexpected error occurred"


def start(t, *options, **more):
    """A server of this test."""
    s = world().server(*options, **more)
    t.processes.append(s)
    return s


def home(w, s, a=None, **more):
    """A client on `user` that gets what is published."""
    a = a or w.account()
    c = Ws(s.address(), "/?stream=user", a.token, **more)
    c.a, c.channel = a, f"timeline:{a.id}"
    return w.flows(c, c.channel)


def public(w, s, **more):
    c = Ws(s.address(), "/?stream=public", w.account().token, **more)
    c.channel = "timeline:public"
    return w.flows(c, c.channel)


def refused(s, reason):
    return s.metrics()[f'atoll_stream_refused_total{{reason="{reason}"}}']


def nothing_left(w, s, channels):
    until("no subscription is left", 15, lambda: not any(w.heard(c) for c in channels))
    until("no client is counted", 15,
          lambda: not any(v for k, v in s.metrics().items() if k.startswith(("connected_", "redis_subscr"))))


# ---- Configuration ----

def configured(t, environment, options=()):
    """Variables with {port}, {redis}, ...: the server starts and delivers."""
    w = world()
    fill = {"pg_port": w.pg.port, "pg_dir": w.pg.dir, "redis": w.redis.port, "redis_socket": w.redis.dir + "/socket",
            "password": urllib.parse.quote(PASSWORD, safe=""), "database": DATABASE}
    s = start(t, *options, **{k: v and v.format(**fill) for k, v in environment.items()})
    home(w, s)


NO_DB = dict.fromkeys(["DB_HOST", "DB_PORT", "DB_USER", "DB_NAME"])
NO_REDIS = dict.fromkeys(["REDIS_HOST", "REDIS_PORT"])
DB = "postgres://mastodon:{password}@127.0.0.1:{pg_port}/{database}"
cases("config", configured, [
    ("DATABASE_URL", {**NO_DB, "DB_PASS": None, "DATABASE_URL": DB}),
    ("DATABASE_URL and DB_PASS", {**NO_DB, "DATABASE_URL": "postgresql://mastodon@127.0.0.1:{pg_port}/{database}"}),
    ("DATABASE_URL wins", {"DATABASE_URL": DB, "DB_HOST": "192.0.2.1", "DB_NAME": "nonsense"}),
    ("DATABASE_URL without TLS", {**NO_DB, "DATABASE_URL": DB + "?sslmode=disable"}),
    ("another NODE_ENV with DATABASE_URL", {**NO_DB, "NODE_ENV": "test", "DATABASE_URL": DB}),
    ("development", {"NODE_ENV": "development"}),
    ("DB_HOST is a folder", {"DB_HOST": "{pg_dir}", "DB_USER": "postgres", "DB_PASS": ""}),
    ("DB_SSLMODE", {"DB_SSLMODE": "disable"}),
    ("DB_POOL of one", {"DB_POOL": "1"}),
    ("REDIS_URL", {**NO_REDIS, "REDIS_URL": "redis://127.0.0.1:{redis}/0"}),
    ("REDIS_URL wins", {"REDIS_URL": "redis://127.0.0.1:{redis}", "REDIS_HOST": "192.0.2.1"}),
    ("REDIS_URL of a socket", {**NO_REDIS, "REDIS_URL": "unix://{redis_socket}"}),
    ("TRUSTED_PROXY_IP", {"TRUSTED_PROXY_IP": "10.0.0.0/8, 127.0.0.1 ::1"}),
])


def test_config_ipv6(t):
    w = world()
    s = start(t, BIND="[::1]")
    c = socket.create_connection(("::1", int(s.env["PORT"])), 10)
    c.sendall(request("GET", f"{BASE}/health"))
    check(c.recv(1000).startswith(b"HTTP/1.1 200"), "health over IPv6")
    check("::1" in s.out(), f"where it listens: {s.out()}")
    equal(w.sql("SELECT 1"), [["1"]], "PostgreSQL")


def test_config_redis_db_and_password(t):
    """Keys go to the chosen database; channels have none."""
    w = world()
    w.redis("ACL", "SETUSER", "streamer", "on", ">se cret/", "~*", "&*", "+@all")
    try:
        s = start(t, REDIS_DB="3", REDIS_USER="streamer", REDIS_PASSWORD="se cret/")
        c = home(w, s)
        w.redis("SELECT", 3)
        until("its key", 10, lambda: w.redis("EXISTS", f"subscribed:{c.channel}"))
        w.redis("SELECT", 0)
        equal(w.redis("EXISTS", f"subscribed:{c.channel}"), 0, "key in database 0")
        c.close()
    finally:
        w.redis("SELECT", 0)
        s.stop()
        w.redis("ACL", "DELUSER", "streamer")


def test_config_sentinel(t):
    w = world()
    port = free_port()
    path = t.write("sentinel.conf", f"port {port}\nbind 127.0.0.1\ndir {t.dir}\n"
                                    f"sentinel monitor reef 127.0.0.1 {w.redis.port} 1\n")
    with open(f"{t.dir}/sentinel.log", "wb") as log:
        p = subprocess.Popen(["/usr/bin/redis-server", path, "--sentinel"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                             preexec_fn=die_with_parent)
    t.processes.append(p)
    s = start(t, REDIS_HOST=None, REDIS_PORT=None, REDIS_SENTINELS=f"127.0.0.1:{port}", REDIS_SENTINEL_MASTER="reef")
    home(w, s)


def broken(t, environment, word):
    s = world().server(wait=False, **environment)
    t.processes.append(s)
    check(s.wait(30) not in (0, -9, -11, -6), f"exit {s.poll()}: {s.out()}")
    check(READY not in s.out(), "it says that it listens")
    check(word in s.out(), f"it names {word}: {s.out()}")


cases("startup_error", broken, [
    *((f"{name}", {name: "12x"}, name) for name in ("PORT", "DB_PORT", "DB_POOL", "REDIS_PORT", "REDIS_DB")),
    ("NODE_ENV", {"NODE_ENV": "staging"}, "staging"),
])


def test_startup_error_port_taken(t):
    s = start(t)
    other = world().server(wait=False, PORT=s.env["PORT"])
    t.processes.append(other)
    check(other.wait(30) != 0, "exit status")
    check(READY not in other.out(), "it says that it listens")
    equal(s.get(f"{BASE}/health")[2], b"OK", "the first one")


# ---- Sockets and signals ----

def test_unix_socket(t):
    """All of it over a socket that everybody may use; a stale file is an error."""
    w = world()
    path = f"{t.dir}/socket"
    s = start(t, SOCKET=path)
    equal(oct(os.stat(path).st_mode & 0o777), "0o666", "mode")
    equal(s.get(f"{BASE}/health")[2], b"OK", "health")
    equal(s.get(f"{BASE}/user")[0], 401, "without a token")
    equal(s.get(f"{BASE}/nowhere")[0], 400, "unknown channel")
    equal(s.get("/metrics")[0], 200, "metrics")
    c = home(w, s)
    w.publish(c.channel, {"event": "delete", "payload": "1"})
    equal(c.text(), '{"stream":["user"],"event":"delete","payload":"1"}', "frame")
    e = w.flows(Sse(s.address(), f"{BASE}/public", c.a.token), "timeline:public")
    w.publish("timeline:public", {"event": "delete", "payload": "2"})
    equal(e.message(), {"event": "delete", "payload": "2"}, "event")
    s.process.kill()
    s.process.wait()
    check(os.path.exists(path), "the file is left by kill -9")
    other = w.server(wait=False, SOCKET=path)
    t.processes.append(other)
    check(other.wait(30) != 0 and READY not in other.out(), f"a stale socket: {other.out()}")


def test_ready(t):
    """The line that upstream's tests wait for, and systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{t.dir}/notify")
        notify.settimeout(20)
        s = start(t, NOTIFY_SOCKET=f"{t.dir}/notify")
        line, = [l for l in s.out().splitlines() if READY in l]
        check(s.env["PORT"] in line, f"where: {line}")
        if not FOREIGN:
            check(b"READY=1" in notify.recv(1000), "systemd is told")


def ends(t, how):
    w = world()
    s = start(t)
    c, e = home(w, s), Sse(s.address(), f"{BASE}/user", w.account().token)
    s.process.send_signal(how)
    end = c.ends()
    equal((end.frame, end.code), (True, 1001), "close of a WebSocket")
    e.closes()
    equal(s.wait(30), 0, f"exit status; {s.out()}")
    try:
        Conn(s.address())
        raise Failed("it still accepts")
    except OSError:
        pass


cases("signal", ends, [("TERM", signal.SIGTERM), ("INT", signal.SIGINT)])


def test_a_drain_is_spread(t):
    """Not all come back in one moment; and who is told late still gets what is published."""
    w = world()
    s = start(t, "--set", "drain=8s")
    accounts = [w.account(), w.account()]
    clients = [Ws(s.address(), "/?stream=public", accounts[i % 2].token) for i in range(400)]
    w.flows(clients[-1], "timeline:public")
    for c in clients:
        c.sock.setblocking(False)
    s.process.send_signal(signal.SIGTERM)
    began, told, polls = time.monotonic(), {}, selectors.DefaultSelector()
    for c in clients:
        polls.register(c.sock, selectors.EVENT_READ, c)
    published = False
    while len(told) < len(clients) and elapsed(began) < 20:
        for key, _ in polls.select(1):
            c = key.data
            c.buffer += key.fileobj.recv(1 << 16)
            if b"\x88\x02" + (1001).to_bytes(2, "big") in c.buffer:
                told[c] = elapsed(began)
                polls.unregister(c.sock)
                c.close()
        if not published and len(told) > 100:
            w.publish("timeline:public", update(content="the last"))
            published = True
    equal(len(told), len(clients), "who was told")
    times = sorted(told.values())
    check(times[0] < 1 and 1.5 / int(LOOPS or 1) < times[-1] < 7, f"from {times[0]:.1f} s to {times[-1]:.1f} s")
    late = [b"the last" in c.buffer for c in told if told[c] > times[100] + 0.2]
    check(late and all(late), f"{late.count(False)} of {len(late)} did not hear the last")
    equal(s.wait(30), 0, f"exit status; {s.out()}")


def test_namespace(t):
    """Of Mastodon 4.3 and older: channels and keys."""
    ours()
    w = world()
    s = start(t, "--namespace", "cove")
    a = w.account()
    c = w.flows(Ws(s.address(), "/?stream=user", a.token), f"cove:timeline:{a.id}")
    until("its key", 10, lambda: w.redis("EXISTS", f"cove:subscribed:timeline:{a.id}") or
          w.redis("EXISTS", f"subscribed:cove:timeline:{a.id}"))
    equal(w.redis("EXISTS", f"cove:subscribed:timeline:{a.id}"), 1, "the key's name")
    w.publish(f"timeline:{a.id}", {"event": "delete", "payload": "1"})
    equal(w.end(c, f"cove:timeline:{a.id}"), [], "of the channel without a prefix")
    w.publish(f"cove:timeline:access_token:{a.token_id}", {"event": "kill"})
    c.ends()
    w.redis("DEL", *w.redis("KEYS", "cove:*"))


def logged(t, *options):
    """All that a server said of some clients, at its most talkative."""
    w = world()
    s = start(t, *options, LOG_LEVEL="trace")
    a = w.account()
    Sse(s.address(), f"{BASE}/user?access_token={a.token}")
    home(w, s, a)
    Ws(s.address(), "/?stream=user", headers=[("Sec-WebSocket-Protocol", a.token)])
    s.get(f"{BASE}/user?access_token=wrong-token-1")
    s.get(f"{BASE}/user?access%5Ftoken=wrong-token-2", bearer("wrong-token-3"))
    s.stop()
    for word in (a.token, "wrong-token", PASSWORD):
        check(word not in s.out(), f"{word} is in the log")
    return s.out()


def test_logs_have_no_tokens(t):
    logged(t)


def test_logs_for_a_collector(t):
    """--json: what pino writes."""
    ours()
    lines = [json.loads(line) for line in logged(t, "--json").splitlines()]
    check(READY in lines[0]["msg"] and len(lines) > 3, f"the first line: {lines}")
    equal({(line["name"], tuple(sorted(line))) for line in lines},
          {("streaming", ("hostname", "level", "msg", "name", "pid", "time"))}, "their fields")
    equal({line["level"] for line in lines} - {20, 30, 40, 50}, set(), "levels")


# ---- PostgreSQL ----

def test_postgres_restarts(t):
    """Clients stay; what is filtered afterwards arrives; the next one may come in."""
    w = world()
    s = start(t)
    c, d = home(w, s), public(w, s)
    w.pg.stop(signal.SIGQUIT)
    w.pg.start()
    w.reconnect()
    home(w, s)

    def delivered():
        w.publish("timeline:public", update(id="9"))
        return w.end(d, "timeline:public")
    until("a filtered message arrives", 20, delivered)
    w.publish(c.channel, {"event": "delete", "payload": "1"})
    equal(len(w.end(c, c.channel)), 1, "the client that stayed")


def test_postgres_drops_connections(t):
    """As pgbouncer does with idle ones."""
    w = world()
    s = start(t)
    d = public(w, s)
    for n in range(3):
        w.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'mastodon'")
        until("a filtered message arrives", 20, lambda: (w.publish("timeline:public", update(id=str(n))),
                                                         w.end(d, "timeline:public"))[1])
        home(w, s)


def test_postgres_refuses(t):
    """500 for who comes, health stays 200, the rest goes on; then all is well again."""
    w = world()
    s = start(t)
    c, d, token = home(w, s), public(w, s), w.account().token
    w.pg.stop(signal.SIGINT)
    try:
        w.publish("timeline:public", update(id="1"))
        w.publish("timeline:public", {"event": "delete", "payload": "2"})
        equal([m["event"] for m in w.end(d, "timeline:public")], ["delete"], "what can't be filtered is dropped")
        if not FOREIGN:
            check(refused(s, "filter_failed") >= 1, "and counted")
        n = Conn(s.address(), 40)
        n.send(upgrade("/", bearer(token)))
        status, headers = n.head()
        equal((status, headers.get("X-Error-Message")), (500, GENERIC), "a new WebSocket")
        status, _, body = s.get(f"{BASE}/user", bearer(token))
        equal((status, json.loads(body)), (500, {"error": GENERIC}), "a new event stream")
        c.subscribe("list", list="1")
        check(c.message() in ({"error": "Not authorized to stream this list", "status": 401},), f"a list: {c.last}")
        c.subscribe("public")
        equal(c.message(), {"error": GENERIC, "status": 500}, "a public stream: its feed access can't be read")
        equal(s.get(f"{BASE}/health")[0], 200, "health")
        w.publish(c.channel, {"event": "delete", "payload": "1"})
        equal(len(w.end(c, c.channel)), 1, "home goes on")
    finally:
        w.pg.start()
        w.reconnect()
    until("new clients", 30, lambda: s.get(f"{BASE}/user/notification", bearer("x"))[0] == 401)
    home(w, s)
    until("filtered", 20, lambda: (w.publish("timeline:public", update(id="3")), w.end(d, "timeline:public"))[1])


def test_postgres_away_at_start(t):
    w = world()
    token = w.account().token
    w.pg.stop(signal.SIGINT)
    try:
        s = start(t)
        equal(s.get(f"{BASE}/health")[0], 200, "health")
        equal(s.get(f"{BASE}/user", bearer(token))[0], 500, "a client")
    finally:
        w.pg.start()
        w.reconnect()
    until("clients may come in", 30, lambda: s.get(f"{BASE}/user/notification", bearer("x"))[0] == 401)
    home(w, s)


def test_order_is_kept_behind_a_slow_query(t):
    w = world()
    s = start(t)
    d = public(w, s)
    lock = Sql(w.pg)
    lock("BEGIN; LOCK TABLE blocks IN ACCESS EXCLUSIVE MODE")
    for n in range(5):
        w.publish("timeline:public", update(id=str(n)))
        w.publish("timeline:public", {"event": "delete", "payload": str(n)})
    until("the query waits", 10, lambda: w.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
    lock("COMMIT")
    got = [(m["event"], m["payload"] if m["event"] == "delete" else json.loads(m["payload"])["id"])
           for m in w.end(d, "timeline:public")]
    equal(got, [(e, str(n)) for n in range(5) for e in ("update", "delete")], "order")


# ---- Redis ----

def test_redis_restarts(t):
    """Clients stay and are subscribed again, and their keys are there again."""
    w = world()
    s = start(t)
    c, d = home(w, s), public(w, s)
    w.redis.stop()
    equal(s.get(f"{BASE}/health")[0], 200, "health")
    late = Ws(s.address(), "/?stream=user", (a := w.account()).token)
    w.redis.start()
    for client, channel in ((c, c.channel), (d, d.channel), (late, f"timeline:{a.id}")):
        w.flows(client, channel, 20)
        w.publish(channel, {"event": "delete", "payload": "1"})
        equal(len(w.end(client, channel)), 1, f"once on {channel}")


def test_redis_away_at_start(t):
    w = world()
    w.redis.stop()
    try:
        s = start(t)
        c = Ws(s.address(), "/?stream=user", (a := w.account()).token)
        equal(s.get(f"{BASE}/health")[0], 200, "health")
    finally:
        w.redis.start()
    w.flows(c, f"timeline:{a.id}", 20)
    until("its key", 20, lambda: w.redis("EXISTS", f"subscribed:timeline:{a.id}"))


def test_redis_cuts_the_connection(t):
    w = world()
    s = start(t)
    c = home(w, s)
    w.redis("CLIENT", "KILL", "TYPE", "pubsub")
    w.flows(c, c.channel, 20)
    w.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    d = home(w, s)
    until("its key", 20, lambda: w.redis("EXISTS", f"subscribed:{d.channel}"))


def test_redis_nonsense(t):
    """What nobody should publish is dropped, counted, and hurts nobody."""
    w = world()
    s = start(t)
    c, d = home(w, s), public(w, s)
    before = 0 if FOREIGN else refused(s, "malformed")
    junk = [b"", b"\xff\xfe", b"{", b'{"event":"update","payload":{"account":{}}}', b"[" * 100000, b'{"event":"update","payload":{}}',
            b'{"event":"update","payload":{"account":{"id":"9","acct":5},"mentions":{}}}', b'{"event":"update","payload":[]}',
            b'{"event":"update","payload":{"account":{"id":"9","acct":"a@b","username":"a"},"mentions":[{"id":{}}]}}',
            b'{"event":"update","payload":{"account":{"id":"9","acct":"a@b","username":"a"},"mentions":[null]}}']
    for text in junk:
        w.publish(d.channel, text)
        w.publish(f"timeline:system:{c.a.id}", text)
    equal(w.end(d, d.channel), [], "of these")
    w.flows(c, c.channel)
    if not FOREIGN:
        check(refused(s, "malformed") - before >= len(junk) - 1, f"counted: {refused(s, 'malformed') - before}")


# ---- Clients ----

def vanished(t, table, sent):
    """A client is reset while its query waits for a lock of the table."""
    w = world()
    s = start(t)
    a = w.account()
    w.sql(f"INSERT INTO lists VALUES ({a.id + 10000}, {a.id})")
    channels = [c.format(me=a.id, token=a.token_id, list=a.id + 10000) for c in (
        "timeline:{me}", "timeline:{me}:notifications", "timeline:access_token:{token}", "timeline:system:{me}",
        "timeline:list:{list}", "timeline:hashtag:v{me}", "timeline:public")]
    w.redis("DEL", "subscribed:timeline:public")
    c = Conn(s.address())
    first = sent(a)
    lock = None
    if isinstance(first, tuple):  # after the handshake
        c.send(upgrade("/", bearer(a.token)))
        equal(c.head()[0], 101, "status")
    lock = Sql(w.pg)
    lock(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    c.send(first[0] if isinstance(first, tuple) else first)
    until("its query waits", 10, lambda: w.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
    c.reset()
    lock("ROLLBACK")
    home(w, s).close()
    nothing_left(w, s, channels)
    keys = set(w.redis("KEYS", f"subscribed:*{a.id}*")) | set(w.redis("KEYS", f"subscribed:timeline:list:{a.id + 10000}"))
    equal(keys, set(), "keys")
    equal(w.redis("EXISTS", "subscribed:timeline:public"), 0, "key of the public stream")


def command(stream, **more):
    return frame(TEXT, compact({"type": "subscribe", "stream": stream, **more}).encode())


cases("vanishes", vanished, [
    ("while authenticated", "oauth_access_tokens", lambda a: upgrade("/?stream=user", bearer(a.token))),
    ("while authenticated, events", "oauth_access_tokens", lambda a: request("GET", f"{BASE}/user", bearer(a.token))),
    ("while its list is looked up", "lists", lambda a: (command("list", list=a.id + 10000),)),
    ("while its list is looked up, events", "lists",
     lambda a: request("GET", f"{BASE}/list?list={a.id + 10000}", bearer(a.token))),
    ("while access is looked up", "settings", lambda a: (command("public") + command("hashtag", tag=f"v{a.id}"),)),
    ("while access is looked up, events", "settings", lambda a: request("GET", f"{BASE}/hashtag?tag=v{a.id}", bearer(a.token))),
    ("while access is looked up, initially", "settings", lambda a: upgrade("/?stream=public", bearer(a.token))),
])


def test_vanishes_anywhere(t):
    """Resets behind each byte of what a client says."""
    w = world()
    s = start(t)
    a = w.account()
    said = upgrade(f"/?stream=user", bearer(a.token)) + command("direct") + frame(TEXT, b"{", fin=False) + frame(PING, b"x")
    for at in range(0, len(said), 7):
        c = Conn(s.address())
        c.send(said[:at])
        if at % 2:
            c.reset()
        else:
            c.close()
    home(w, s).close()
    nothing_left(w, s, [f"timeline:{a.id}", f"timeline:direct:{a.id}", f"timeline:system:{a.id}",
                        f"timeline:access_token:{a.token_id}"])
    s.alive()


def test_unsubscribed_while_looked_up(t):
    """Subscribe and unsubscribe of one list, both while the query waits: nothing is left of it."""
    w = world()
    s = start(t)
    c = home(w, s)
    number = c.a.id + 10000
    w.sql(f"INSERT INTO lists VALUES ({number}, {c.a.id})")
    lock = Sql(w.pg)
    lock("BEGIN; LOCK TABLE lists IN ACCESS EXCLUSIVE MODE")
    c.subscribe("list", list=number)
    c.unsubscribe("list", list=number)
    until("the query waits", 10, lambda: w.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
    lock("COMMIT")
    c.subscribe("list", list=1)
    equal(c.message()["status"], 401, "the marker behind them")
    equal(w.heard(f"timeline:list:{number}"), 0, "subscriptions")


def test_slow_reader(t):
    """Bounded, then cut; others are not disturbed; counted."""
    ours("the reference grows without a bound")
    w = world()
    s = start(t)
    c, slow = home(w, s), Ws(s.address(), "/?stream=direct", (a := w.account()).token, receive_bytes=4096)
    w.flows(slow, f"timeline:direct:{a.id}")
    text = compact({"event": "delete", "payload": "x" * 16000})
    before = private_kb(s.process.pid)
    for n in range(2000):
        if not w.publish(f"timeline:direct:{a.id}", text):
            break
        if n % 50 == 0:
            w.flows(c, c.channel)
    check(n < 1999, "the slow one was not cut")
    grown = private_kb(s.process.pid) - before
    check(grown < 2048 or sanitized(), f"grown by {grown} kB")
    equal(refused(s, "queue"), 1, "counted")
    w.flows(c, c.channel)
    nothing_left_of = f"timeline:system:{a.id}"
    until("its subscriptions are gone", 10, lambda: not w.heard(nothing_left_of))


def test_slow_reader_of_events(t):
    ours("the reference grows without a bound")
    w = world()
    s = start(t)
    a = w.account()
    slow = w.flows(Sse(s.address(), f"{BASE}/direct", a.token, receive_bytes=4096), f"timeline:direct:{a.id}")
    text = compact({"event": "delete", "payload": "x" * 16000})
    for n in range(2000):
        if not w.publish(f"timeline:direct:{a.id}", text):
            break
    until("the slow one is cut", 10, lambda: not w.heard(f"timeline:direct:{a.id}"))
    equal(refused(s, "queue"), 1, "counted")


def test_silent_client(t):
    """Who doesn't answer a ping is cut without a close frame; who does stays."""
    ours("the reference takes 60 s")
    w = world()
    s = start(t, ATOLL_STREAM_PING="1s")
    mute, c = Ws(s.address(), "/", w.account().token), home(w, s)

    def cut():
        w.flows(c, c.channel)  # which answers its pings
        return wait_readable([mute], 0) and not mute.more()
    until("it is cut", 20, cut)
    check(mute.buffer in (b"\x89\0", b"\x89\0" * 2), f"pings, no close frame: {mute.buffer}")
    until("the other has seen more pings", 20, lambda: (w.flows(c, c.channel), len(c.pings) > 3)[1])
    equal(refused(s, "ping"), 1, "counted")


def test_handshake_that_never_ends(t):
    ours()
    s = start(t, ATOLL_STREAM_HANDSHAKE="300ms")
    c = Conn(s.address())
    c.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
    c.closes(20)
    d = Conn(s.address())
    d.closes(20)
    check(refused(s, "handshake") >= 1, "counted")


def test_head_that_never_ends(t):
    w = world()
    s = start(t)
    c = Conn(s.address())
    try:
        for n in range(3000):
            c.send(b"X-%d: %s\r\n" % (n, b"y" * 100) if n else b"GET / HTTP/1.1\r\n")
        c.closes()
        raise Failed("300 KB of headers were taken") if not c.ended else Closed()
    except (OSError, Closed):
        pass
    home(w, s)


def test_many_subscriptions(t):
    """100 000 subscribe messages on one connection: bounded, counted, and the others go on."""
    ours("the reference takes them all")
    w = world()
    s = start(t)
    c, d = home(w, s), home(w, s)
    before = private_kb(s.process.pid)
    said = b"".join(command("hashtag", tag=f"tag{n}") for n in range(1000))
    answers = 0
    for _ in range(100):
        c.send(said)
        while wait_readable([c], 0) and c.more():
            answers += len(c.buffer)
            c.buffer = b""
    w.flows(d, d.channel)
    s.alive()
    grown = private_kb(s.process.pid) - before
    check(grown < 4096 or sanitized(), f"grown by {grown} kB")
    check(s.metrics()["redis_subscriptions"] <= 300, "subscriptions")
    check(refused(s, "subscriptions_per_connection") >= 1, "counted")


def test_connections_of_an_account(t):
    ours()
    w = world()
    s = start(t, ATOLL_STREAM_CONNECTIONS_PER_ACCOUNT="2")
    a = w.account()
    c, d = home(w, s, a), home(w, s, a)
    n = Conn(s.address())
    n.send(upgrade("/", bearer(a.token)))
    status, _ = n.head()
    check(status in (429, 503), f"the third: {status}")
    home(w, s)
    equal(refused(s, "connections_per_account"), 1, "counted")
    c.reset()
    until("there is room again", 10, lambda: (x := Conn(s.address()), x.send(upgrade("/", bearer(a.token))), x.head()[0])[2] == 101)
    w.flows(d, d.channel)


def test_connections_of_an_address(t):
    """As nginx tells it; only of a trusted proxy."""
    ours()
    w = world()
    s = start(t, ATOLL_STREAM_CONNECTIONS_PER_ADDRESS="2")
    from_one, kept = [("X-Forwarded-For", "198.51.100.7")], []

    def status(headers):
        c = Conn(s.address())
        c.send(upgrade("/", bearer(w.account().token) + headers))
        kept.append(c)
        return c.head()[0]
    equal([status(from_one) for _ in range(2)], [101, 101], "two")
    check(status(from_one) in (429, 503), "the third")
    equal(status([("X-Forwarded-For", "198.51.100.7, 198.51.100.8")]), 101, "another, told by the same proxy")
    equal(refused(s, "connections_per_address"), 1, "counted")


def test_connections_in_all(t):
    ours()
    w = world()
    s = start(t, ATOLL_STREAM_CONNECTIONS="3")
    kept = [home(w, s) for _ in range(3)]
    c = Conn(s.address())
    try:
        c.send(upgrade("/", bearer(w.account().token)))
        check(b"101" not in c.closes(20)[:20], "the fourth was let in")
    except OSError:
        pass
    w.flows(kept[0], kept[0].channel)
    kept.pop().reset()

    def room():
        try:
            return s.get(f"{BASE}/health")[2] == b"OK"
        except (Closed, OSError):  # it has not seen the reset yet
            return False
    until("there is room again", 10, room)


def test_many_files(t):
    """Out of descriptors: it waits and goes on."""
    ours()
    w = world()
    s = world().server(wait=False)
    t.processes.append(s)
    import resource
    resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (48, 48))
    s.ready()
    many = [Conn(s.address(), 20) for _ in range(80)]
    s.alive()
    for c in many:
        c.reset()
    until("it serves again", 20, lambda: s.get(f"{BASE}/health")[2] == b"OK")
    home(w, s)


def test_keys_are_renewed(t):
    ours("the reference takes 360 s")
    w = world()
    s = start(t, ATOLL_STREAM_BEAT="300ms")
    c, d = home(w, s), public(w, s)
    keys = [f"subscribed:{c.channel}", f"subscribed:{c.channel}:notifications", "subscribed:timeline:public"]
    for _ in range(2):
        w.redis("DEL", *keys)
        until("the keys are back", 10, lambda: all(w.redis("EXISTS", k) for k in keys))
    c.reset()
    until("it is gone", 10, lambda: not w.heard(c.channel))
    w.redis("DEL", *keys)
    until("the public one is back", 10, lambda: w.redis("EXISTS", keys[2]))
    equal(w.redis("EXISTS", keys[0]), 0, "key of who is gone")
    w.flows(d, d.channel)


def test_revoked_meanwhile(t):
    """Rails says so with kill; before, and without it, the connection lives on; the token opens no other."""
    w = world()
    s = start(t)
    c = home(w, s)
    w.sql(f"UPDATE oauth_access_tokens SET revoked_at = now() WHERE id = {c.a.token_id}")
    w.flows(c, c.channel)
    equal(s.get(f"{BASE}/user", bearer(c.a.token))[0], 401, "another one")
    w.publish(f"timeline:access_token:{c.a.token_id}", {"event": "kill"})
    equal(c.ends().code, None, "close")


def test_zzz_sound(t):
    sound()


main()
