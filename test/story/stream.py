"""The streaming server by its specification: routes, errors, handshakes, subscriptions, deliveries. One row a case."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from stream import *

BASE = "/api/v1/streaming"
SSE = ("user", "user/notification", "public", "public/local", "public/remote", "hashtag?tag=a", "hashtag/local?tag=a",
       "list?list=1", "direct")
kept = {}


def patient():
    """Kept open from the start: what comes by itself has come when the last cases ask."""
    if not kept:
        w = world()
        a = w.account()
        kept["quiet"], kept["thumped"] = Ws(w.at, "/?stream=user", a.token), Sse(w.at, f"{BASE}/user", a.token)
    return kept


def test_opens(t):
    patient()


def error(text, code=None):
    return {"error": text} if code is None else {"error": text, "status": code}


UNKNOWN_CHANNEL, MISSING, INVALID = "Unknown channel requested", "Missing access token", "Invalid access token"
SCOPES, NO_TAG, NO_LIST = ("Access token does not have the required scopes", "Missing tag name parameter",
                           "Missing list name parameter")
NOT_MY_LIST, UNKNOWN_STREAM = "Not authorized to stream this list", "Unknown stream type"
UNEXPECTED, NOT_SUBSCRIBED = "An unexpected error occurred", "Error unsubscribing from channel"


# ---- Plain HTTP ----

def common(headers):
    equal(headers.get("X-Powered-By"), "Express", "X-Powered-By")
    equal(headers.get("Access-Control-Allow-Origin"), "*", "Access-Control-Allow-Origin")
    check(UUID4.fullmatch(headers.get("X-Request-Id") or ""), f"X-Request-Id: {headers}")


def has(headers, wanted):
    for name, value in wanted.items():
        got = headers.get(name)
        if isinstance(value, str) or value is None:
            equal(got, value, name)
        else:
            check(value(got or ""), f"{name}: {got}")


def plain(kind):
    return lambda v: v.split(";")[0].lower() == kind


NO_STORE = {"Cache-Control": "private, no-store"}
OK = (200, {"Content-Type": plain("text/plain"), **NO_STORE}, b"OK")
METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE"


def http(t, method, target, headers, wanted, credentials=None):
    w = world()
    if credentials is not None:
        headers = [*headers, *bearer(w.account(**credentials).token)]
    status, got, body = w.s.get(target, headers, method)
    common(got)
    if isinstance(wanted, str):
        wanted = (400 if wanted in (UNKNOWN_CHANNEL, NO_TAG, NO_LIST) else 500 if wanted == UNEXPECTED else 401, wanted)
    equal(status, wanted[0], f"status of {method} {target}, {body}")
    if isinstance(wanted[1], str):
        check(plain("application/json")(got.get("Content-Type") or ""), f"type: {got}")
        equal(body.decode(), compact(error(wanted[1])), "body")
        return
    has(got, wanted[1])
    if isinstance(wanted[2], bytes):
        equal(body, wanted[2], "body")
    else:
        check(wanted[2](body.decode()), f"body: {body[:300]}")


cases("http", http, [
    ("health", "GET", f"{BASE}/health", [], OK),
    ("health HEAD", "HEAD", f"{BASE}/health", [], (200, OK[1], b"")),
    ("health slash", "GET", f"{BASE}/health/", [], OK),
    ("health case", "GET", "/API/v1/Streaming/HEALTH", [], OK),
    ("health query", "GET", f"{BASE}/health?x=1", [], OK),
    ("health asks no token", "GET", f"{BASE}/health", bearer("nonsense"), OK),
    ("metrics", "GET", "/metrics", [], (200, {"Content-Type": lambda v: v.startswith("text/plain; version=0.0.4"), **NO_STORE},
                                        lambda b: "# TYPE connected_clients gauge" in b)),
    ("favicon", "GET", "/favicon.ico", [], (404, {}, b"")),
    ("options", "OPTIONS", f"{BASE}/user", [], (204, {"Access-Control-Allow-Methods": METHODS,
                                                      "Content-Length": "0"}, b"")),
    ("options anywhere", "OPTIONS", "/nowhere", [], (204, {"Access-Control-Allow-Methods": METHODS}, b"")),
    ("options reflects", "OPTIONS", f"{BASE}/user", [("Access-Control-Request-Headers", "authorization, x-a")],
     (204, {"Access-Control-Allow-Headers": "authorization, x-a",
            "Vary": lambda v: "access-control-request-headers" in v.lower()}, b"")),
    ("root", "GET", "/", [], UNKNOWN_CHANNEL),
    ("base", "GET", BASE, [], UNKNOWN_CHANNEL),
    ("unknown", "GET", f"{BASE}/everything", [], UNKNOWN_CHANNEL),
    ("slash", "GET", f"{BASE}/user/", [], UNKNOWN_CHANNEL, {}),
    ("case", "GET", f"{BASE}/USER", [], UNKNOWN_CHANNEL, {}),
    ("websocket's names are not paths", "GET", f"{BASE}/public:local", [], UNKNOWN_CHANNEL, {}),
    ("unknown before token", "GET", f"{BASE}/everything", bearer("nonsense"), UNKNOWN_CHANNEL),
    ("POST", "POST", f"{BASE}/user", [("Content-Length", "0")],
     (404, {"Content-Type": plain("text/html")}, lambda b: f"Cannot POST {BASE}/user" in b), {}),
    ("DELETE", "DELETE", f"{BASE}/public", [],
     (404, {"Content-Type": plain("text/html")}, lambda b: f"Cannot DELETE {BASE}/public" in b), {}),
    ("POST without token", "POST", f"{BASE}/user", [("Content-Length", "0")], MISSING),
    ("request id is ours", "GET", f"{BASE}/health", [("X-Request-Id", "11111111-1111-4111-8111-111111111111")],
     (200, {"X-Request-Id": lambda v: not v.startswith("1111")}, b"OK")),
    *((f"no token {p}", "GET", f"{BASE}/{p}", [], MISSING) for p in SSE),
    *((f"no scope {p}", "GET", f"{BASE}/{p}", [], SCOPES, {"scopes": "write follow"}) for p in SSE),
    *((f"notification scope is not enough {p}", "GET", f"{BASE}/{p}", [], SCOPES, {"scopes": "read:notifications"})
      for p in SSE if p != "user/notification"),
    ("statuses scope is not enough", "GET", f"{BASE}/user/notification", [], SCOPES, {"scopes": "read:statuses"}),
    ("a scope's beginning is no scope", "GET", f"{BASE}/user", [], SCOPES, {"scopes": "read:accounts reader"}),
    ("unknown token", "GET", f"{BASE}/user", bearer("nonsense"), INVALID),
    ("empty bearer", "GET", f"{BASE}/user?access_token=", [], MISSING),
    ("basic", "GET", f"{BASE}/user", [("Authorization", "Basic dG9rZW46")], INVALID),
    ("revoked", "GET", f"{BASE}/user", [], INVALID, {"revoked": True}),
    ("disabled", "GET", f"{BASE}/user", [], INVALID, {"disabled": True}),
    ("suspended", "GET", f"{BASE}/user", [], INVALID, {"suspended": True}),
    ("application only", "GET", f"{BASE}/user", [], INVALID, {"app": True}),
    ("token with a quote", "GET", f"{BASE}/user?access_token=a'b", [], INVALID),
    ("no tag", "GET", f"{BASE}/hashtag", [], NO_TAG, {}),
    ("empty tag", "GET", f"{BASE}/hashtag?tag=", [], NO_TAG, {}),
    ("no tag local", "GET", f"{BASE}/hashtag/local", [], NO_TAG, {}),
    ("two tags", "GET", f"{BASE}/hashtag?tag=a&tag=b", [], UNEXPECTED, {}),
    ("scope before tag", "GET", f"{BASE}/hashtag", [], SCOPES, {"scopes": "write"}),
    ("no list", "GET", f"{BASE}/list", [], NO_LIST, {}),
    ("empty list", "GET", f"{BASE}/list?list=", [], NO_LIST, {}),
    ("another's list", "GET", f"{BASE}/list?list=5001", [], NOT_MY_LIST, {}),
    ("list of words", "GET", f"{BASE}/list?list=abc", [], NOT_MY_LIST, {}),
    ("list too large", "GET", f"{BASE}/list?list=99999999999999999999", [], NOT_MY_LIST, {}),
    ("list with SQL", "GET", f"{BASE}/list?list=1%20OR%201=1", [], NOT_MY_LIST, {}),
    ("header goes before query", "GET", f"{BASE}/user?access_token=nonsense2", bearer("nonsense"), INVALID),
])


def test_http_requests_are_numbered_anew(t):
    s = world().s
    equal(len({s.get(f"{BASE}/health")[1].get("X-Request-Id") for _ in range(20)}), 20, "different request ids")


def test_http_keeps_alive(t):
    c = Conn(world().at)
    for _ in range(3):
        c.send(request("GET", f"{BASE}/health"))
        equal(c.answer()[2], b"OK", "on the same connection")


def test_http_header_token_wins(t):
    w = world()
    Sse(w.at, f"{BASE}/user?access_token=nonsense", w.account().token)


def test_http_expired_token_is_not_looked_at(t):
    w = world()
    Sse(w.at, f"{BASE}/user", w.account(expires_in=60).token)


def test_http_garbage_ends(t):
    """Whatever it answers: it does not hang, and serves on."""
    for junk in (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100 + b"\r\n\r\n"):
        c = Conn(world().at)
        c.send(junk)
        c.sock.shutdown(socket.SHUT_WR)
        c.closes()
    equal(world().s.get(f"{BASE}/health")[2], b"OK", "health afterwards")


# ---- Server-sent events ----

def routes(t, target, channels, scopes="read"):
    """Each channel's events arrive, once each, and nothing of the others."""
    w = world()
    a = w.account(scopes)
    w.sql(f"INSERT INTO lists VALUES ({a.id + 10000}, {a.id})")
    fill = lambda text: text.format(me=a.id, list=a.id + 10000)
    s = Sse(w.at, f"{BASE}/{fill(target)}", a.token)
    has(s.headers, {"Content-Type": plain("text/event-stream"), **NO_STORE})
    common(s.headers)
    for channel in channels:
        w.flows(s, fill(channel))
    for channel in channels:
        w.publish(fill(channel), {"event": "delete", "payload": channel})
    equal([(m["event"], m["payload"]) for m in w.end(s, fill(channels[-1]))], [("delete", c) for c in channels], "events")
    for channel in ("timeline:public", "timeline:public:media", "timeline:{me}", "timeline:{me}:notifications",
                    "timeline:direct:{me}", "timeline:list:{list}", "timeline:hashtag:coral", "timeline:hashtag:coral:local",
                    "timeline:public:local", "timeline:public:remote", f"timeline:{a.id + 1}"):
        if channel not in channels:
            w.publish(fill(channel), {"event": "delete", "payload": channel})
    equal(w.end(s, fill(channels[0])), [], "of other channels")


cases("sse", routes, [
    ("user", "user", ["timeline:{me}", "timeline:{me}:notifications"]),
    ("user of statuses", "user", ["timeline:{me}"], "read:statuses"),
    ("user of both", "user", ["timeline:{me}", "timeline:{me}:notifications"], "read:statuses read:notifications"),
    ("notification", "user/notification", ["timeline:{me}:notifications"], "read:notifications"),
    ("public", "public", ["timeline:public"], "read:statuses"),
    ("local", "public/local", ["timeline:public:local"]),
    ("remote", "public/remote", ["timeline:public:remote"]),
    ("public media", "public?only_media=true", ["timeline:public:media"]),
    ("local media", "public/local?only_media=1", ["timeline:public:local:media"]),
    ("remote media", "public/remote?only_media=yes", ["timeline:public:remote:media"]),
    ("hashtag", "hashtag?tag=Coral", ["timeline:hashtag:coral"]),
    ("hashtag local", "hashtag/local?tag=CORAL", ["timeline:hashtag:coral:local"]),
    ("hashtag only_media means nothing", "hashtag?tag=coral&only_media=true", ["timeline:hashtag:coral"]),
    ("list", "list?list={list}", ["timeline:list:{list}"]),
    ("direct", "direct", ["timeline:direct:{me}"]),
    *((f"only_media {v or 'empty'} is false", f"public?only_media={v}", ["timeline:public"])
      for v in ("", "0", "f", "F", "false", "FALSE", "off", "OFF")),
    *((f"only_media {v} is true", f"public?only_media={v}", ["timeline:public:media"]) for v in ("no", "False", "t")),
])


def test_sse_query_token(t):
    w = world()
    a = w.account()
    w.flows(Sse(w.at, f"{BASE}/user?access_token={a.token}"), f"timeline:{a.id}")


def test_sse_text(t):
    """The bytes of an event; a string payload is written raw, newline and all."""
    w = world()
    a = w.account()
    s = w.flows(Sse(w.at, f"{BASE}/user", a.token), f"timeline:{a.id}")
    w.publish(f"timeline:{a.id}", {"event": "delete", "payload": "12\n34"})
    w.publish(f"timeline:{a.id}", '{"event":"update","payload":{"b":1.0,"a":"\\u003cp\\u003e"}}')
    equal([s.line() for _ in range(7)], [b"event: delete", b"data: 12", b"34", b"", b"event: update",
                                         b'data: {"b":1,"a":"<p>"}', b""], "lines")


def test_sse_kill_ends_it(t):
    w = world()
    a = w.account()
    s = w.flows(Sse(w.at, f"{BASE}/user", a.token), f"timeline:{a.id}")
    w.publish(f"timeline:access_token:{a.token_id}", {"event": "kill"})
    try:
        s.message()
        raise Failed("it went on")
    except Closed:
        pass


def test_sse_filters_as_websocket_does(t):
    w = world()
    a = w.account()
    number = w.filter(a, [("shark", True)])
    w.sql(f"INSERT INTO blocks (account_id, target_account_id) VALUES ({a.id}, 9005)")
    s = w.flows(Sse(w.at, f"{BASE}/public", a.token), "timeline:public")
    w.publish("timeline:public", update(author=9005))
    w.publish("timeline:public", update(id="77", content="<p>a Shark</p>"))
    got = w.end(s, "timeline:public")
    equal([(m["event"], json.loads(m["payload"])["id"]) for m in got], [("update", "77")], "what passes")
    equal(json.loads(got[0]["payload"])["filtered"][0]["filter"]["id"], str(number), "the filter")


# ---- WebSocket: the handshake ----

def handshake(t, raw, wanted, credentials={}):
    """raw: of the account, the request. wanted: status and headers, or the message of a 401."""
    w = world()
    a = w.account(**credentials)
    c = Conn(w.at)
    c.send(raw(a))
    status, headers = c.head()
    if isinstance(wanted, str):
        equal((status, c.words.strip()), (401, "Unauthorized"), "status")
        equal(sorted(k for k, _ in headers), sorted(["Connection", "Content-Type", "Content-Length", "X-Request-Id",
                                                     "X-Error-Message"]), "headers")
        has(headers, {"Connection": "close", "Content-Type": "text/plain", "Content-Length": "0",
                      "X-Request-Id": UUID4.fullmatch, "X-Error-Message": wanted})
        equal(c.closes(), b"", "nothing more")
        return
    equal(status, wanted[0], f"status; {headers}")
    has(headers, wanted[1])
    if status == 101:
        has(headers, {"Upgrade": lambda v: v.lower() == "websocket", "Connection": lambda v: v.lower() == "upgrade",
                      "X-Request-Id": UUID4.fullmatch, "Sec-WebSocket-Extensions": None, "X-Powered-By": None,
                      "Access-Control-Allow-Origin": None})
        c.send(frame(PING, b"there?"))
        equal(c.take(8), b"\x8a\x06there?", "it speaks")
    else:
        length = int(headers.get("Content-Length"))
        text = c.take(length).decode()
        check(wanted[2] in text, f"body: {text}")
        c.closes()


def by(target):
    return lambda a: upgrade(target, bearer(a.token))


PROTOCOL = "Sec-WebSocket-Protocol"
SWITCH = (101, {"Sec-WebSocket-Accept": ACCEPT, PROTOCOL: None})
cases("handshake", handshake, [
    ("header", lambda a: upgrade("/", bearer(a.token)), SWITCH),
    ("query", lambda a: upgrade(f"/?access_token={a.token}"), SWITCH),
    ("subprotocol", lambda a: upgrade("/", [(PROTOCOL, a.token)]), (101, {PROTOCOL: lambda v: v.startswith("token-")})),
    ("path of the API", by(BASE), SWITCH),
    ("path with slash", by(f"{BASE}/"), SWITCH),
    ("any path", by("/x/y/z?q"), SWITCH),
    ("path of health", by(f"{BASE}/health"), SWITCH),
    ("no scope is needed", by("/"), SWITCH, {"scopes": "write"}),
    ("expired", by("/"), SWITCH, {"expires_in": 1}),
    ("header before query", lambda a: upgrade("/?access_token=nonsense", bearer(a.token)), SWITCH),
    ("bad header before good query", lambda a: upgrade(f"/?access_token={a.token}", bearer("nonsense")), INVALID),
    ("query before subprotocol", lambda a: upgrade(f"/?access_token={a.token}", [(PROTOCOL, "nonsense")]),
     (101, {PROTOCOL: "nonsense"})),
    ("first subprotocol is echoed", lambda a: upgrade("/", bearer(a.token) + [(PROTOCOL, "one, two")]),
     (101, {PROTOCOL: "one"})),
    ("list of subprotocols is no token", lambda a: upgrade("/", [(PROTOCOL, f"{a.token}, two")]), INVALID),
    ("no token", lambda a: upgrade("/"), MISSING),
    ("unknown token", lambda a: upgrade("/", bearer("nonsense")), INVALID),
    ("other scheme", lambda a: upgrade("/", [("Authorization", f"Token {a.token}")]), INVALID),
    ("revoked", by("/"), INVALID, {"revoked": True}),
    ("disabled", by("/"), INVALID, {"disabled": True}),
    ("suspended", by("/"), INVALID, {"suspended": True}),
    ("application only", by("/"), INVALID, {"app": True}),
    ("version 8", lambda a: upgrade("/", bearer(a.token), version="8"), SWITCH),
    ("version 7", lambda a: upgrade("/", bearer(a.token), version="7"), (400, {"Sec-WebSocket-Version": "13, 8"}, "")),
    ("no version", lambda a: upgrade("/", bearer(a.token), version=None), (400, {"Sec-WebSocket-Version": "13, 8"}, "")),
    ("no key", lambda a: upgrade("/", bearer(a.token), key=None),
     (400, {"Content-Type": plain("text/html")}, "Missing or invalid Sec-WebSocket-Key header")),
    ("short key", lambda a: upgrade("/", bearer(a.token), key="c2hvcnQ="),
     (400, {}, "Missing or invalid Sec-WebSocket-Key header")),
    ("key of no base64", lambda a: upgrade("/", bearer(a.token), key="!" * 22 + "=="),
     (400, {}, "Missing or invalid Sec-WebSocket-Key header")),
    ("POST", lambda a: upgrade("/", bearer(a.token), method="POST"), (405, {}, "Invalid HTTP method")),
    ("other protocol", lambda a: upgrade("/", bearer(a.token), protocol="h2c"), (400, {}, "Invalid Upgrade header")),
    ("case of the protocol", lambda a: upgrade("/", bearer(a.token), protocol="WebSocket"), SWITCH),
    ("token before version", lambda a: upgrade("/", bearer("nonsense"), version="7"), INVALID),
    ("token before method", lambda a: upgrade("/", method="POST"), MISSING),
    ("extensions are not taken", lambda a: upgrade("/", bearer(a.token) + [
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]), SWITCH),
    ("frame with the request", lambda a: upgrade("/", bearer(a.token)) + frame(PONG, b""), SWITCH),
    ("any origin", lambda a: upgrade("/", bearer(a.token) + [("Origin", "https://elsewhere.example")]), SWITCH),
])


def test_handshake_in_pieces(t):
    w = world()
    c = Conn(w.at)
    c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in upgrade("/", bearer(w.account().token)):
        c.send(bytes([byte]))
    equal(c.head()[0], 101, "status")


# ---- WebSocket: what the client says ----

def commands(t, scopes, said, wanted):
    """said: messages; {list} is one of the account's own. Behind them an unknown stream: its error ends the answers."""
    w = world()
    a = w.account(scopes)
    w.sql(f"INSERT INTO lists VALUES ({a.id + 10000}, {a.id})")
    c = Ws(w.at, "/", a.token)
    for each in said:
        c.say(each.replace("{list}", str(a.id + 10000)) if isinstance(each, str) else each)
    got = [c.text() for _ in wanted]
    equal(got, [compact(each) for each in wanted], "answers")
    c.unsubscribe("the end")
    equal(c.text(), compact(error(NOT_SUBSCRIBED)), "nothing but that")


def sub(stream, **more):
    return {"type": "subscribe", "stream": stream, **more}


def unsub(stream, **more):
    return {"type": "unsubscribe", "stream": stream, **more}


cases("say", commands, [
    ("unknown stream", "read", [sub("everything")], [error(UNKNOWN_STREAM, 400)]),
    ("paths are no streams", "read", [sub("public/local")], [error(UNKNOWN_STREAM, 400)]),
    ("case of a stream", "read", [sub("User")], [error(UNKNOWN_STREAM, 400)]),
    ("no tag", "read", [sub("hashtag")], [error(NO_TAG, 400)]),
    ("empty tag", "read", [sub("hashtag", tag="")], [error(NO_TAG, 400)]),
    ("no tag local", "read", [sub("hashtag:local")], [error(NO_TAG, 400)]),
    ("tag of a number", "read", [sub("hashtag", tag=5)], [error(UNEXPECTED, 500)]),
    ("no list", "read", [sub("list")], [error(NO_LIST, 400)]),
    ("empty list", "read", [sub("list", list="")], [error(NO_LIST, 400)]),
    ("another's list", "read", [sub("list", list="5001")], [error(NOT_MY_LIST, 401)]),
    ("list of words", "read", [sub("list", list="x")], [error(NOT_MY_LIST, 401)]),
    ("list too large", "read", [sub("list", list="99999999999999999999")], [error(NOT_MY_LIST, 401)]),
    ("own list", "read", [sub("list", list="0")] + ['{"type":"subscribe","stream":"list","list":"{list}"}'],
     [error(NOT_MY_LIST, 401)]),
    *((f"no scope {s}", "write", [sub(s, tag="a", list="1")], [error(SCOPES, 401)])
      for s in ("user", "user:notification", "public", "public:local", "public:remote", "public:media", "public:local:media",
                "public:remote:media", "hashtag", "hashtag:local", "list", "direct")),
    ("scope before name", "write", [sub("everything")], [error(SCOPES, 401)]),
    ("scope before tag", "write", [sub("hashtag")], [error(SCOPES, 401)]),
    ("statuses scope", "read:statuses", [sub("user:notification")], [error(SCOPES, 401)]),
    ("notification scope", "read:notifications", [sub("user"), sub("public")], [error(SCOPES, 401)] * 2),
    ("stream as array", "read", [sub(["everything", "user"])], [error(UNKNOWN_STREAM, 400)]),
    ("no JSON", "read", ["subscribe user", "{", "", "{\"type\":\"subscribe\",}"], []),
    ("no object", "read", ["1", "\"subscribe\"", "null", "true", "[]"], []),
    ("unknown type", "read", [{"type": "ping"}, {"stream": "everything"}, {"type": None}, {"type": ["subscribe"]}], []),
    ("unsubscribe unknown", "read", [unsub("everything")], [error(NOT_SUBSCRIBED)]),
    ("unsubscribe without tag", "read", [unsub("hashtag")], [error(NOT_SUBSCRIBED)]),
    ("unsubscribe another's list", "read", [unsub("list", list="5001")], [error(NOT_SUBSCRIBED)]),
    ("unsubscribe what is not subscribed", "read", [unsub("user"), unsub("public"), unsub("hashtag", tag="a")], []),
    ("errors in order", "read", [sub("x"), sub("hashtag"), unsub("x"), sub("list")],
     [error(UNKNOWN_STREAM, 400), error(NO_TAG, 400), error(NOT_SUBSCRIBED), error(NO_LIST, 400)]),
    ("JSON with blanks", "read", [' \n{ "stream" : "x", "type":"subscribe" } \t'], [error(UNKNOWN_STREAM, 400)]),
    ("last of two keys", "read", ['{"type":"subscribe","stream":"user","stream":"x"}'], [error(UNKNOWN_STREAM, 400)]),
    ("escaped", "read", ['{"t\\u0079pe":"\\u0073ubscribe","stream":"x"}'], [error(UNKNOWN_STREAM, 400)]),
])


def initial(t, query, wanted):
    w = world()
    a = w.account()
    c = Ws(w.at, f"/?{query}", a.token)
    if isinstance(wanted, dict):
        equal(c.text(), compact(wanted), "error")
        return
    channel, label = wanted[0].format(me=a.id), wanted[1]
    w.flows(c, channel)
    w.publish(channel, {"event": "delete", "payload": "1"})
    equal(c.text(), compact({"stream": label, "event": "delete", "payload": "1"}), "frame")


cases("initial", initial, [
    ("user", "stream=user", ("timeline:{me}", ["user"])),
    ("first of two", "stream=user&stream=public", ("timeline:{me}", ["user"])),
    ("tag", "stream=hashtag&tag=Reef", ("timeline:hashtag:reef", ["hashtag", "Reef"])),
    ("escaped tag", "stream=hashtag&tag=%C3%89t%C3%A9", ("timeline:hashtag:ete", ["hashtag", "\u00c9t\u00e9"])),
    ("plus is a blank", "stream=hashtag&tag=a+b", ("timeline:hashtag:ab", ["hashtag", "a b"])),
    ("escaped name", "stream=public%3Alocal", ("timeline:public:local", ["public:local"])),
    ("unknown", "stream=everything", error(UNKNOWN_STREAM, 400)),
    ("no tag", "stream=hashtag", error(NO_TAG, 400)),
    ("no list", "stream=list", error(NO_LIST, 400)),
])


def labels(t, stream, more, channels, label):
    """What a subscription of this name delivers, byte for byte, and that unsubscribing ends it."""
    w = world()
    a = w.account()
    number = a.id + 10000
    w.sql(f"INSERT INTO lists VALUES ({number}, {a.id})")
    deep = lambda v: number if v == "{list}" else str(number) if v == "'{list}'" else v
    more, label = {k: deep(v) for k, v in more.items()}, [deep(v) for v in label]
    c = Ws(w.at, "/?stream=direct", a.token)
    c.subscribe(stream, **more)
    for channel in channels:
        channel = channel.format(me=a.id, list=number)
        w.flows(c, channel)
        w.publish(channel, {"event": "delete", "payload": "12"})
        equal(c.text(), compact({"stream": label, "event": "delete", "payload": "12"}), f"frame of {channel}")
    if channels == ["timeline:direct:{me}"]:
        return
    c.unsubscribe(stream, **more)
    until("unsubscribed", 10, lambda: not w.heard(channel))
    w.publish(channel, {"event": "delete", "payload": "13"})
    w.flows(c, f"timeline:direct:{a.id}")


cases("label", labels, [
    ("user", "user", {}, ["timeline:{me}", "timeline:{me}:notifications"], ["user"]),
    ("notification", "user:notification", {}, ["timeline:{me}:notifications"], ["user:notification"]),
    ("public", "public", {}, ["timeline:public"], ["public"]),
    ("local", "public:local", {}, ["timeline:public:local"], ["public:local"]),
    ("remote", "public:remote", {}, ["timeline:public:remote"], ["public:remote"]),
    ("media", "public:media", {}, ["timeline:public:media"], ["public:media"]),
    ("local media", "public:local:media", {}, ["timeline:public:local:media"], ["public:local:media"]),
    ("remote media", "public:remote:media", {}, ["timeline:public:remote:media"], ["public:remote:media"]),
    ("hashtag", "hashtag", {"tag": "Sea"}, ["timeline:hashtag:sea"], ["hashtag", "Sea"]),
    ("hashtag local", "hashtag:local", {"tag": "SEA"}, ["timeline:hashtag:sea:local"], ["hashtag:local", "SEA"]),
    ("list", "list", {"list": "'{list}'"}, ["timeline:list:{list}"], ["list", "'{list}'"]),
    ("list of a number", "list", {"list": "{list}"}, ["timeline:list:{list}"], ["list", "{list}"]),
    ("direct", "direct", {}, ["timeline:direct:{me}"], ["direct"]),
    ("first of an array", ["public:local", "user"], {}, ["timeline:public:local"], ["public:local"]),
])


def tags(t, tag, norm):
    w = world()
    c = Ws(w.at, "/", w.account().token)
    c.subscribe("hashtag", tag=tag)
    w.flows(c, f"timeline:hashtag:{norm}")
    w.publish(f"timeline:hashtag:{norm}", {"event": "delete", "payload": "1"})
    equal(c.message(), {"stream": ["hashtag", tag], "event": "delete", "payload": "1"}, "frame")


cases("tag", tags, [
    ("lower", "CatSofMastodon", "catsofmastodon"),
    ("accents", "\u00c0\u00c9\u00ee\u00f5\u00fc\u0160\u017c", "aeiousz"),
    ("combining accents", "Cafe\u0301", "cafe"),
    ("full width", "\uff33\uff25\uff21", "sea"),
    ("ligature", "\ufb01sh", "fish"),
    ("cyrillic", "\u041c\u043e\u0440\u0435", "\u043c\u043e\u0440\u0435"),
    ("japanese", "\u6d77\u306e\u65e5", "\u6d77\u306e\u65e5"),
    ("half width kana", "\uff76\uff9e", "\u30ac"),
    ("blanks and signs", "#a-b c!", "abc"),
    ("underscore and digits", "a_1", "a_1"),
    ("middle dot", "col\u00b7laborar", "col\u00b7laborar"),
    ("joiner", "a\u200cb", "a\u200cb"),
    ("other digits", "\u0663\u00bd", "\u066312"),
    ("emoji", "\U0001f420sea", "sea"),
    ("nothing remains", "!!!", ""),
    ("astral letters", "\U0001d54a\U0001d556\U0001d552", "sea"),
    ("deseret", "\U00010400", "\U00010428"),
])


def test_subscriptions_are_not_doubled(t):
    """One delivery; the first spelling stays as label; any spelling ends it."""
    w = world()
    c = Ws(w.at, "/?stream=user", (a := w.account()).token)
    for tag in ("Reef", "REEF", "r\u00e9ef"):
        c.subscribe("hashtag", tag=tag)
    w.flows(c, "timeline:hashtag:reef")
    w.publish("timeline:hashtag:reef", {"event": "delete", "payload": "1"})
    equal(w.end(c, "timeline:hashtag:reef"), [{"stream": ["hashtag", "Reef"], "event": "delete", "payload": "1"}], "once")
    c.unsubscribe("hashtag", tag="reEF")
    until("unsubscribed", 10, lambda: not w.heard("timeline:hashtag:reef"))
    w.publish("timeline:hashtag:reef", {"event": "delete", "payload": "2"})
    w.flows(c, f"timeline:{a.id}")


def test_subscription_twice_and_again(t):
    """Subscribed, ended and subscribed again: once."""
    w = world()
    c = Ws(w.at, "/", (a := w.account()).token)
    for _ in range(3):
        c.subscribe("user")
        c.unsubscribe("user")
    c.subscribe("user")
    w.flows(c, f"timeline:{a.id}")
    w.publish(f"timeline:{a.id}", {"event": "delete", "payload": "1"})
    equal(len(w.end(c, f"timeline:{a.id}")), 1, "once")


def test_notification_comes_with_each_label(t):
    w = world()
    c = Ws(w.at, "/?stream=user", (a := w.account()).token)
    channel = f"timeline:{a.id}:notifications"
    w.flows(c, channel)
    c.subscribe("user:notification")

    def labels_of_one():
        w.publish(channel, {"event": "notification", "payload": {"id": "1"}})
        return [m["stream"] for m in w.end(c, f"timeline:{a.id}")]
    # Until the second subscription is made it comes once.
    equal(until("two of one", 10, lambda: (got := labels_of_one())[1:] and got), [["user"], ["user:notification"]], "labels")


# ---- WebSocket: frames ----

def frames(t, sent, code, reason=None, ours_only=False):
    """code: of the close frame that answers; None: a close frame without code; else the frames that come before a ping."""
    if ours_only:
        ours()
    w = world()
    c = Ws(w.at, "/", w.account().token)
    c.send(b"".join(sent))
    if isinstance(code, list):
        c.send(frame(PING, b"end"))
        got = []
        while not got or got[-1] != (True, PONG, b"end"):
            got.append(c.frame())
        equal(got[:-1], code, "frames")
        return
    end = c.ends()
    equal((end.frame, end.code), (True, code), "close")
    if reason is not None:
        equal(end.reason.decode(), reason, "reason")
    equal(c.closes(), b"", "nothing more")


BAD = compact(sub("everything")).encode()
ANSWER = (True, TEXT, compact(error(UNKNOWN_STREAM, 400)).encode())
cases("frame", frames, [
    ("binary", [frame(BINARY, b"\0")], 1003, "The mastodon streaming server does not support binary messages"),
    ("binary of text", [frame(BINARY, BAD)], 1003),
    ("fragments", [frame(TEXT, BAD[:5], fin=False), frame(0, BAD[5:9], fin=False), frame(0, BAD[9:])], [ANSWER]),
    ("ping within fragments", [frame(TEXT, BAD[:5], fin=False), frame(PING, b"p"), frame(0, BAD[5:])],
     [(True, PONG, b"p"), ANSWER]),
    ("empty fragments", [frame(TEXT, b"", fin=False), frame(0, b"", fin=False), frame(0, BAD)], [ANSWER]),
    ("character across fragments", [frame(TEXT, '{"x":"\u00e9"'.encode()[:7], fin=False),
                                    frame(0, '{"x":"\u00e9"'.encode()[7:] + b"," + BAD[1:])], [ANSWER]),
    ("no mask key", [frame(TEXT, BAD, mask=b"\0\0\0\0")], [ANSWER]),
    ("ping", [frame(PING, b""), frame(PING, b"x" * 125)], [(True, PONG, b""), (True, PONG, b"x" * 125)]),
    ("pong unasked", [frame(PONG, b"whatever")], []),
    ("long text", [frame(TEXT, BAD[:-1] + b',"x":"' + b"y" * 3900 + b'"}')], [ANSWER]),
    ("two in one piece", [frame(TEXT, BAD), frame(TEXT, BAD)], [ANSWER, ANSWER]),
    ("unmasked", [frame(TEXT, BAD, mask=None)], 1002),
    ("unmasked ping", [frame(PING, b"", mask=None)], 1002),
    ("reserved bit 1", [frame(TEXT, BAD, rsv=4)], 1002),
    ("reserved bit 3", [frame(TEXT, BAD, rsv=1)], 1002),
    ("reserved opcode", [frame(3, b"")], 1002),
    ("reserved control opcode", [frame(11, b"")], 1002),
    ("fragmented ping", [frame(PING, b"", fin=False)], 1002),
    ("long ping", [frame(PING, b"x" * 126)], 1002),
    ("continuation of nothing", [frame(0, BAD)], 1002),
    ("text within fragments", [frame(TEXT, b"{", fin=False), frame(TEXT, BAD)], 1002),
    ("invalid UTF-8", [frame(TEXT, b'{"type":"\xff"}')], 1007),
    ("overlong UTF-8", [frame(TEXT, b"\xc0\x80")], 1007),
    ("surrogate in UTF-8", [frame(TEXT, b"\xed\xa0\x80")], 1007),
    ("cut UTF-8", [frame(TEXT, b"\xe2\x82")], 1007),
    ("invalid UTF-8 across fragments", [frame(TEXT, b"\xe2\x82", fin=False), frame(0, b"x")], 1007),
    ("a petabyte", [frame(TEXT, b"", length=1 << 50)], 1009),
    ("more than we take", [frame(TEXT, b"x" * 5000)], 1009, None, True),
    ("more than we take in fragments", [frame(TEXT, b"x" * 3000, fin=False), frame(0, b"x" * 3000)], 1009, None, True),
    ("length with the highest bit", [frame(TEXT, b"", length=1 << 63)], 1009, None, True),
    ("close", [frame(CLOSE)], None),
    ("close 1000", [frame(CLOSE, struct.pack(">H", 1000))], 1000),
    ("close 1001 with words", [frame(CLOSE, struct.pack(">H", 1001) + b"bye")], 1001),
    ("close 3000", [frame(CLOSE, struct.pack(">H", 3000))], 3000),
    ("close 4999", [frame(CLOSE, struct.pack(">H", 4999))], 4999),
    ("close of one byte", [frame(CLOSE, b"\x03")], 1002),
    *((f"close code {n}", [frame(CLOSE, struct.pack(">H", n))], 1002) for n in (999, 1004, 1005, 1006, 1015, 2999, 5000)),
    ("close with bad words", [frame(CLOSE, struct.pack(">H", 1000) + b"\xff")], 1007),
    ("fragmented close", [frame(CLOSE, b"", fin=False)], 1002),
    ("nothing after close", [frame(CLOSE, struct.pack(">H", 1000)), frame(TEXT, BAD)], 1000),
])


def test_frame_in_single_bytes(t):
    w = world()
    c = Ws(w.at, "/", w.account().token)
    c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in frame(TEXT, BAD):
        c.send(bytes([byte]))
    equal(c.message(), error(UNKNOWN_STREAM, 400), "answer")


def test_deep_json_is_survived(t):
    w = world()
    c = Ws(w.at, "/", w.account().token)
    c.say("[" * 3000)
    c.say("[" * 1500 + "]" * 1500)
    c.say('{"type":' * 400 + "1" + "}" * 400)
    c.say(BAD)
    equal(c.message(), error(UNKNOWN_STREAM, 400), "answer")


# ---- What is alive by itself: the last cases, so that the time has passed ----

def test_zz_thump(t):
    s, end = patient()["thumped"], time.monotonic() + 20
    s.seconds = 20
    while not (line := s.line()).startswith(b":"):
        check(time.monotonic() < end, "no comment within 20 s")
    equal((line, s.line()), (b":thump", b""), "comment and an empty line behind it")


def test_zz_ping(t):
    c = patient()["quiet"]
    c.seconds = 40
    equal(c.frame(), (True, PING, b""), "an empty ping within 30 s")
    c.send(frame(PONG))


def test_zzz_sound(t):
    sound()


main()
