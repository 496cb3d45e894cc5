"""The streaming role of an island: a client through the edge gets statuses live, through a deploy and beyond a restart
of the servers that it is connected to; status and logs know of it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from stream_client import Closed, Sse, Ws, wait_readable

# Streaming on two servers: one with the web server, one alone.
ISLAND = ISLAND_HEAD + """\
  web:  {flavor: m1.small, roles: [edge, web, stream]}
  push: {flavor: m1.small, roles: [stream]}
  db:   {flavor: m1.small, roles: [worker, postgres, redis], volume: {size: 10GB}}
"""
PATH_OF = "/api/v1/streaming"


class Reader:
    """A client as an app is: it comes back when it is sent away. read(): numbers of statuses, as they come."""

    def __init__(self, t, token):
        self.t, self.at, self.token, self.closes = t, (t.address(), 8080), token, []
        self.open()

    def open(self):
        """As soon as somebody answers: while the servers go down the edge may say 502. It is open when a first
        status, of number 1, has come: what is posted before the server has subscribed is nobody's."""
        def ask():
            try:
                return Ws(self.at, f"{PATH_OF}?stream=public", self.token, seconds=30)
            except (Failed, Closed, OSError):
                return None

        def flows():
            post(self.t, "/statuses?n=1")
            return wait_readable([self.ws], 1)
        self.ws = until("the streaming API answers", 60, ask)
        until("statuses come", 30, flows)

    def lives(self):
        """Pings are answered, and statuses posted and read."""
        post(self.t, "/statuses?n=2")
        self.read(2)
        return True

    def until_closed(self):
        end = self.ws.ends()
        self.closes.append(end.code)
        self.ws.close()

    def read(self, last):
        """Those that `/statuses?n=LAST` posted, each once; but for those of number 1."""
        got = []
        while len(got) < last - 1:
            message = self.ws.message()
            equal((message["stream"], message["event"]), (["public"], "update"), "a message")
            status = json.loads(message["payload"])
            equal(status["account"]["acct"], "canary", "the author")
            number = int(re.search(r"\((\d+)\)", status["content"]).group(1))
            got += [number] if number > 1 else []
        equal(sorted(got), list(range(2, last + 1)), "statuses")


def post(t, path):
    return request("POST", f"http://{t.address()}:8080{path}")[2]


def clients(t):
    return t.atoll("status", "--json").events("island")[0]["clients"]


def test_live_through_a_deploy_and_a_restart(t):
    t.start_pocket()
    t.island(ISLAND)
    t.apply()
    t.ready()
    token = post(t, "/token")["access_token"]

    # Live, by both ways; and nobody without a token.
    reader = Reader(t, token)
    sse = Sse((t.address(), 8080), f"{PATH_OF}/public/local", token, seconds=30)
    equal(sse.headers.get("X-Accel-Buffering"), None, "no header asks for what nginx does not do anyway")
    began = time.monotonic()
    post(t, "/statuses?n=4")
    reader.read(4)
    print(f"# four statuses by a job, Redis, atoll and nginx: {(time.monotonic() - began) * 1000:.0f} ms", flush=True)
    equal(sse.event()[0], "update", "an event")
    denied = urllib.request.Request(f"http://{t.address()}:8080{PATH_OF}/public")
    try:
        urllib.request.urlopen(denied, timeout=30)
        check(False, "it is open to everybody")
    except urllib.error.HTTPError as e:
        equal((e.code, json.load(e)["error"]), (401, "Missing access token"), "without a token")
    metrics = f"http://{t.address()}:8080/metrics"
    try:
        urllib.request.urlopen(metrics, timeout=30)
        check(False, "the world reads /metrics")
    except urllib.error.HTTPError as e:
        equal(e.code, 404, "/metrics")

    # It knows how many are connected, within a minute or so of a report.
    rows = {row["key"]: row for row in t.atoll("status", "--json").events("server")}
    equal({s["name"]: s["state"] for s in rows["push.0"]["services"]}, {"stream": "healthy"}, "push.0")
    check("listening on" in t.atoll("logs", "stream").out, "logs")

    # A deploy is no business of atoll's streaming server: its clients stay.
    t.atoll("deploy", "-y", "2")
    post(t, "/statuses?n=3")
    reader.read(3)

    until("status counts the clients", 90, lambda: reader.lives() and (clients(t) or {}).get("websocket") == 1)
    check(re.search(r"^streaming +\d connected \(1 by WebSocket, \d event sources\)$", t.atoll("status").out, re.M),
          "status")

    # Other bounds restart it: who was connected is told to come back, and does.
    t.island(ISLAND + "env: {ATOLL_STREAM_CONNECTIONS: 500}\n")
    t.apply()
    reader.until_closed()
    equal(reader.closes, [1001], "going away")
    reader.open()
    post(t, "/statuses?n=5")
    reader.read(5)


def test_what_is_wrong_is_said_before(t):
    t.start_pocket()
    for text, place, hint in [
            ("env: {ATOLL_STREAM_CONNECTONS: 500}\n", "env.ATOLL_STREAM_CONNECTONS: there is no setting 'connectons'",
             "did you mean connections?"),
            ("env: {ATOLL_STREAM_PING: often}\n", "env.ATOLL_STREAM_PING: ping cannot be 'often'", "from 100"),
            ("env: {ATOLL_STREAM_PING: {secret: db_password}}\n", "env.ATOLL_STREAM_PING is no secret", "")]:
        t.island(ISLAND + text)
        said = t.atoll("check", code=1)
        check(re.search(r"island\.yaml:\d+:\d+: " + re.escape(place), said.err) and hint in said.err, said)
    t.island(ISLAND.replace("{canary: true}", "{canary: true, stream: node}"))
    check("the canary has no streaming server" in t.atoll("check", code=1).err, "node")


main()
