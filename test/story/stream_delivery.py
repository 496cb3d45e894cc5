"""What the streaming server delivers: payloads as JavaScript writes them, filters with their matching rules, feed access,
kill, heartbeat keys, metrics. One row a case."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from stream import *


# ---- Payloads ----

def passes(t, raw, wanted):
    """raw: as published on a home timeline. wanted: the payload's text in JSON; None: dropped."""
    w = world()
    a = w.account()
    c, channel = Ws(w.at, "/?stream=user", a.token), f"timeline:{a.id}"
    w.flows(c, channel)
    w.publish(channel, raw)
    w.publish(channel, {"event": "delete", "payload": "end"})
    if wanted is not None:
        equal(c.text(), '{"stream":["user"],"event":"x","payload":' + wanted + "}", "frame")
    equal(c.message()["payload"], "end", "and nothing more")


def of(value):
    """A message whose payload is this JSON text."""
    return '{"event":"x","payload":' + value + "}"


def text_of(value):
    return json.dumps(value, ensure_ascii=False)


def encoded(raw, wanted):
    """Payloads that are objects go as a string of their JSON."""
    return of(raw), text_of(wanted)


LONE = chr(0xd800)
cases("payload", passes, [
    ("string", of('"12"'), '"12"'),
    ("string with JSON", of('"{\\"a\\":1.0}"'), '"{\\"a\\":1.0}"'),
    ("string escapes", of('"\\u003c\\/\\u00e9\\u2028\\n"'), '"<\\/\u00e9\u2028\\n"'.replace("\\/", "/")),
    ("number", of("12"), "12"),
    ("number 1.0", of("1.0"), "1"),
    ("true", of("true"), "true"),
    ("null", of("null"), None),
    ("false", of("false"), None),
    ("zero", of("0"), None),
    ("zero 0.0", of("0.0"), None),
    ("minus zero", of("-0"), None),
    ("empty string", of('""'), None),
    ("missing", '{"event":"x"}', None),
    ("no event", '{"payload":"1"}', None),
    ("null event", '{"event":null,"payload":"1"}', None),
    ("empty event", '{"event":"","payload":"1"}', None),
    ("no JSON", "kill", None),
    ("nothing", "", None),
    ("cut JSON", '{"event":"x","payload":{"a":1}', None),
    ("null message", "null", None),
    ("array message", "[]", None),
    ("number message", "5", None),
    ("queued_at is ignored", '{"event":"x","payload":"1","queued_at":1724230000000}', '"1"'),
    ("keys in any order", '{"payload":"1","event":"x"}', '"1"'),
    ("blanks", ' { "event" : "x" , "payload" : { "a" : [ 1 , 2 ] } } ', text_of('{"a":[1,2]}')),
    ("object", *encoded('{"id":"1","n":null,"t":true,"f":false,"e":{},"l":[]}',
                        '{"id":"1","n":null,"t":true,"f":false,"e":{},"l":[]}')),
    ("array", *encoded('[1,"a",null]', '[1,"a",null]')),
    ("empty object", *encoded("{}", "{}")),
    ("escapes of to_json", *encoded('{"a":"\\u003cp\\u003e\\u0026amp;\\u2028\\u2029"}', '{"a":"<p>&amp;\u2028\u2029"}')),
    ("solidus", *encoded('{"a":"\\/\\/"}', '{"a":"//"}')),
    ("controls", *encoded('{"a":"\\u0000\\u0008\\u0009\\u000a\\u000b\\u000c\\u000d\\u001f\\u007f"}',
                          '{"a":"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\x7f"}')),
    ("quotes", *encoded('{"a\\"":"\\\\\\""}', '{"a\\"":"\\\\\\""}')),
    ("letters as escapes", *encoded('{"\\u00e9":"\\uD83D\\uDC20"}', '{"\u00e9":"\U0001f420"}')),
    ("lone surrogate", *encoded('{"a":"\\uD83D","b":"\\uDC20x"}', '{"a":"\\ud83d","b":"\\udc20x"}')),
    ("floats", *encoded("[1.0,1.50,0.1,-0.0,100.25]", "[1,1.5,0.1,0,100.25]")),
    ("exponents", *encoded("[1e3,1E-7,1e21,1.5e300,123456789012345680000]",
                           "[1000,1e-7,1e+21,1.5e+300,123456789012345680000]")),
    ("small numbers", *encoded("[0.000001,0.0000001,5e-324]", "[0.000001,1e-7,5e-324]")),
    ("large integers", *encoded("[12345678901234567890,9007199254740993,1000000000000000000000]",
                                "[12345678901234567000,9007199254740992,1e+21]")),
    ("infinite", *encoded("[1e400,-1e400,1e-400]", "[null,null,0]")),
    ("shortest digits", *encoded("[0.30000000000000004,1.7976931348623157e308,1.7777777777777777]",
                                 "[0.30000000000000004,1.7976931348623157e+308,1.7777777777777777]")),
    ("two keys", *encoded('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}')),
    ("keys of integers", *encoded('{"b":1,"10":2,"2":3,"a":4,"01":5,"-1":6}', '{"2":3,"10":2,"b":1,"a":4,"01":5,"-1":6}')),
    ("keys of large integers", *encoded('{"a":1,"4294967294":2,"4294967295":3,"0":4}',
                                        '{"0":4,"4294967294":2,"a":1,"4294967295":3}')),
    ("deep", *encoded("[" * 60 + "]" * 60, "[" * 60 + "]" * 60)),
    ("large", *encoded(compact({"content": "ocean " * 20000}), compact({"content": "ocean " * 20000}))),
    ("status as Rails publishes it", *encoded(json.dumps(status(content="<p>\u00e9</p>")), compact(status(content="<p>\u00e9</p>")))),
    ("last of two payloads", '{"event":"x","payload":"1","payload":"2"}', '"2"'),
])


def test_payload_event_is_escaped(t):
    w = world()
    c, channel = Ws(w.at, "/?stream=user", (a := w.account()).token), f"timeline:{a.id}"
    w.flows(c, channel)
    w.publish(channel, '{"event":"a\\"\\u003c\\n","payload":"1"}')
    equal(c.text(), '{"stream":["user"],"event":"a\\"<\\n","payload":"1"}', "frame")


def test_payload_label_is_escaped(t):
    w = world()
    c = Ws(w.at, "/", w.account().token)
    c.subscribe("hashtag", tag='Sea"\\\n\u2028')
    w.flows(c, "timeline:hashtag:sea")
    w.publish("timeline:hashtag:sea", {"event": "delete", "payload": "1"})
    equal(c.text(), '{"stream":["hashtag","Sea\\"\\\\\\n\u2028"],"event":"delete","payload":"1"}', "frame")


# ---- Who sees it ----

STREAMS = {"public": "timeline:public", "public:local": "timeline:public:local", "public:remote": "timeline:public:remote",
           "public:media": "timeline:public:media", "public:local:media": "timeline:public:local:media",
           "public:remote:media": "timeline:public:remote:media", "hashtag": "timeline:hashtag:sea",
           "hashtag:local": "timeline:hashtag:sea:local"}


def open_stream(w, a, stream):
    c = Ws(w.at, "/", a.token)
    c.subscribe(stream, tag="sea")
    return w.flows(c, STREAMS[stream])


def sees(t, seen, post, sql="", stream="public", event="update", languages=None, me=None):
    """One viewer, who is {me} in the SQL; the post's author is 9001 unless it says otherwise."""
    w = world()
    a = w.account(languages=languages)
    if sql:
        w.sql(sql.format(me=a.id))
    c = open_stream(w, a, stream)
    payload = post if not isinstance(post, dict) else status(**{"id": "55", **post})
    w.publish(STREAMS[stream], {"event": event, "payload": payload})
    got = w.end(c, STREAMS[stream])
    equal([(m["event"], m["stream"][0]) for m in got], [(event, stream)] if seen else [], "delivered")
    if seen and isinstance(post, dict) and event in ("update", "status.update"):
        equal(got[0]["payload"], compact({**payload, "filtered": payload.get("filtered", [])}), "payload")


def row(table, columns, *values):
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(map(str, values))})"


def pair(table, by, of):
    return row(table, "account_id, target_account_id", by, of)


ME, YES, NO = "{me}", True, False
DOMAIN = "INSERT INTO account_domain_blocks (account_id, domain) VALUES ({me}, '%s')"
cases("sees", sees, [
    ("nobody minds", YES, {}),
    ("local author", YES, {"acct": "coral"}),
    ("status.update", YES, {}, "", "public", "status.update"),
    ("blocked author", NO, {}, pair("blocks", ME, 9001)),
    ("blocked author edits", NO, {}, pair("blocks", ME, 9001), "public", "status.update"),
    ("author blocks", NO, {}, pair("blocks", 9001, ME)),
    ("muted author", NO, {}, pair("mutes", ME, 9001)),
    ("muted until yesterday", NO, {}, row("mutes", "account_id, target_account_id, expires_at", ME, 9001,
                                         "now() - interval '1 day'")),
    ("muted by the author", YES, {}, pair("mutes", 9001, ME)),
    ("blocked mention", NO, {"mentions": [9002, 9003]}, pair("blocks", ME, 9003)),
    ("muted mention", NO, {"mentions": [9002, 9003]}, pair("mutes", ME, 9002)),
    ("a mention blocks", YES, {"mentions": [9002]}, pair("blocks", 9002, ME)),
    ("another is blocked", YES, {"mentions": [9002]}, pair("blocks", ME, 9009)),
    ("another's block", YES, {"mentions": [9002]}, pair("blocks", 4, 9001)),
    ("mentioned oneself", YES, {"mentions": [1000]}),
    ("own post", YES, {"acct": "coral", "author": 1000}),
    ("many mentions", NO, {"mentions": list(range(20000, 20200))}, pair("blocks", ME, 20199)),
    ("domain", NO, {}, DOMAIN % "far.example"),
    ("domain of a local author", YES, {"acct": "coral"}, DOMAIN % "far.example"),
    ("subdomain", YES, {"acct": "coral@deep.far.example"}, DOMAIN % "far.example"),
    ("parent domain", YES, {"acct": "coral@far.example"}, DOMAIN % "deep.far.example"),
    ("case of a domain", YES, {"acct": "coral@Far.example"}, DOMAIN % "far.example"),
    ("domain with a quote", NO, {"acct": "coral@o'far"}, DOMAIN % "o''far"),
    ("local author with a blocked domain elsewhere", YES, {"mentions": [9002], "acct": "coral"}, DOMAIN % "far.example"),
    ("language chosen", YES, {"language": "en"}, "", "public", "update", ["de", "en"]),
    ("language not chosen", NO, {"language": "fr"}, "", "public", "update", ["de", "en"]),
    ("part of a language", NO, {"language": "e"}, "", "public", "update", ["de", "en"]),
    ("region", NO, {"language": "en-GB"}, "", "public", "update", ["en"]),
    ("no language", NO, {"language": None}, "", "public", "update", ["de", "en"]),
    ("language missing", NO, {"language": ...}, "", "public", "update", ["en"]),
    ("no language, all chosen", YES, {"language": None}),
    ("none chosen", NO, {}, "", "public", "update", []),
    ("language edits", NO, {"language": "fr"}, "", "public", "status.update", ["en"]),
    *((f"blocked on {s}", NO, {}, pair("blocks", ME, 9001), s) for s in STREAMS if s != "public"),
    ("delete passes", YES, "55", pair("blocks", ME, 9001), "public", "delete", []),
    ("other events pass", YES, {}, pair("blocks", ME, 9001), "public", "announcement", []),
    ("filtered already", YES, {"filtered": [{"x": 1}]}),
    ("filtered is null", YES, {"filtered": None}),
    ("malformed: no account", NO, {"account": ...}),
    ("malformed: account is null", NO, {"account": None}),
    ("malformed: string", NO, "55"),
    ("malformed: number", NO, 5),
    ("malformed: array", NO, [1]),
    ("malformed: id of words", NO, {"author": "x'y"}),
    ("malformed: account without acct", NO, {"account": {"id": "9001"}}),
])


def unfiltered(t, query, channel):
    """Home, lists, direct: Rails has filtered already."""
    w = world()
    a = w.account(languages=["xx"])
    w.sql(f"INSERT INTO lists VALUES ({a.id + 10000}, {a.id});" + pair("blocks", a.id, 9001))
    channel = channel.format(me=a.id, list=a.id + 10000)
    c = w.flows(Ws(w.at, "/?stream=" + query.format(list=a.id + 10000), a.token), channel)
    w.publish(channel, update(content="x"))
    got = w.end(c, channel)
    equal([m["payload"] for m in got], [compact(status(content="x"))], "untouched")


cases("unfiltered", unfiltered, [
    ("home", "user", "timeline:{me}"), ("notifications", "user:notification", "timeline:{me}:notifications"),
    ("list", "list&list={list}", "timeline:list:{list}"), ("direct", "direct", "timeline:direct:{me}"),
])


def test_sees_each_for_himself(t):
    """One message, viewers of all kinds: each gets what is his."""
    w = world()
    w.sql("INSERT INTO settings (var, value) VALUES ('unrelated', '--- disabled\n')")
    viewers = {}
    for kind in ("plain", "blocks", "blocked", "mutes", "domain", "language", "filters", "plain too"):
        a = w.account(languages=["de"] if kind == "language" else None)
        if kind == "filters":
            w.filter(a, [("kelp", True)], title="Kelp")
        text = {"blocks": pair("blocks", a.id, 9001), "blocked": pair("blocks", 9001, a.id), "mutes": pair("mutes", a.id, 9001),
                "domain": (DOMAIN % "far.example").format(me=a.id)}.get(kind)
        if text:
            w.sql(text)
        viewers[kind] = open_stream(w, a, "public")
    w.publish("timeline:public", update(id="1", content="<p>kelp</p>"))
    w.publish("timeline:public", update(id="2", author=9002, acct="coral"))
    got = {}
    for kind, c in viewers.items():
        got[kind] = [(p["id"], len(p["filtered"])) for p in (json.loads(m["payload"]) for m in w.end(c, "timeline:public"))]
    second = [("2", 0)]
    equal(got, {"plain": [("1", 0), *second], "blocks": second, "blocked": second, "mutes": second, "domain": second,
                "language": [], "filters": [("1", 1), *second], "plain too": [("1", 0), *second]}, "who saw what")


def test_sees_a_fresh_block(t):
    """Rails publishes nothing when blocks change: the next message knows them."""
    w = world()
    a = w.account()
    c = open_stream(w, a, "public")
    w.publish("timeline:public", update(id="1"))
    equal(len(w.end(c, "timeline:public")), 1, "before")
    w.sql(pair("blocks", a.id, 9001))
    w.publish("timeline:public", update(id="2"))
    equal(w.end(c, "timeline:public"), [], "blocked")
    w.sql(f"DELETE FROM blocks WHERE account_id = {a.id}; " + (DOMAIN % "far.example").format(me=a.id))
    w.publish("timeline:public", update(id="3"))
    equal(w.end(c, "timeline:public"), [], "domain blocked")
    w.sql(f"DELETE FROM account_domain_blocks WHERE account_id = {a.id}")
    w.publish("timeline:public", update(id="4"))
    equal(len(w.end(c, "timeline:public")), 1, "after")


def test_sees_in_order(t):
    """Filtered and unfiltered events of a channel keep their order, whatever the database takes."""
    w = world()
    a = w.account()
    c = open_stream(w, a, "public")
    sent = []
    for n in range(100):
        if n % 3:
            w.publish("timeline:public", {"event": "delete", "payload": str(n)})
        else:
            w.publish("timeline:public", update(id=str(n)))
        sent.append(str(n))
    got = [m["payload"] if m["event"] == "delete" else json.loads(m["payload"])["id"] for m in w.end(c, "timeline:public")]
    equal(got, sent, "order")


# ---- Custom filters ----

def matched(t, keywords, post, wanted):
    """keywords: of one filter. wanted: the match, None for none. The event is delivered in any case."""
    w = world()
    a = w.account()
    w.filter(a, keywords)
    c = open_stream(w, a, "public")
    w.publish("timeline:public", update(**post if isinstance(post, dict) else {"content": post}))
    (message,) = w.end(c, "timeline:public")
    found = [f["keyword_matches"] for f in json.loads(message["payload"])["filtered"]]
    equal(found, [] if wanted is None else [[wanted]], "matches")


def part(*words):
    return [(word, False) for word in words]


def whole(*words):
    return [(word, True) for word in words]


def poll(*titles):
    return {"id": "1", "options": [{"title": title, "votes_count": 0} for title in titles]}


cases("match", matched, [
    ("part", part("fish"), "<p>Goldfish swim</p>", "fish"),
    ("whole word is no part", whole("fish"), "<p>Goldfish swim</p>", None),
    ("whole word", whole("fish"), "<p>A fish!</p>", "fish"),
    ("as written in the post", part("fISh"), "<p>FiSH</p>", "FiSH"),
    ("nothing", part("fish"), "<p>whale</p>", None),
    ("across a tag", whole("goldfish"), "<p>go<b>ld</b>fish</p>", "goldfish"),
    ("attribute", part("fish"), '<p><a href="https://fish.example" title="fish">x</a></p>', None),
    ("tag's name", part("span"), "<p><span>x</span></p>", None),
    ("entity", part("caf\u00e9"), "<p>caf&eacute;</p>", "caf\u00e9"),
    ("ampersand", part("a&b"), "<p>a&amp;b</p>", "a&b"),
    ("number entity", part("fish"), "<p>&#102;&#x69;sh</p>", "fish"),
    ("escaped tag is text", part("<b>"), "<p>&lt;b&gt;</p>", "<b>"),
    ("space of an entity", whole("fish"), "<p>a&nbsp;fish&nbsp;b</p>", "fish"),
    ("entity without semicolon", part("a&b"), "<p>a&ampb</p>", "a&b"),
    ("long entity", part("\u2233"), "<p>&CounterClockwiseContourIntegral;</p>", "\u2233"),
    ("unknown entity", part("&fish;"), "<p>&fish;</p>", "&fish;"),
    ("br", whole("gold"), "<p>gold<br>fish</p>", "gold"),
    ("br parts", part("goldfish"), "<p>gold<br>fish</p>", None),
    ("br is a newline", part("gold\nfish"), "<p>gold<br>fish</p>", "gold\nfish"),
    ("br with slash parts", part("gold\nfish"), "<p>gold<br/>fish</p>", "gold\nfish"),
    ("br with blank and slash parts", part("gold\nfish"), "<p>gold<br />fish</p>", "gold\nfish"),
    ("br of another form vanishes", part("goldfish"), '<p>gold<br class="x">fish</p>', "goldfish"),
    ("paragraphs", part("gold\n\nfish"), "<p>gold</p><p>fish</p>", "gold\n\nfish"),
    ("paragraphs part", part("goldfish"), "<p>gold</p><p>fish</p>", None),
    ("list items do not", part("goldfish"), "<ul><li>gold</li><li>fish</li></ul>", "goldfish"),
    ("comment is no text", part("fish"), "<p>a<!-- fish -->b</p>", None),
    ("across a comment", part("goldfish"), "<p>gold<!-- x -->fish</p>", "goldfish"),
    ("template", part("fish"), "<p>a<template>fish</template></p>", None),
    ("script", part("fish"), "<script>fish</script>", "fish"),
    ("script's tags are text", part("<b>fish"), "<script><b>fish</b></script>", "<b>fish"),
    ("style", part("fish"), "<style>fish</style>", "fish"),
    ("lone less-than", part("1 < 2"), "<p>1 < 2</p>", "1 < 2"),
    ("unclosed", whole("fish"), "<p><b>a fish", "fish"),
    ("cut tag", part("fish"), "<p>a</p><a title=fish", None),
    ("spoiler", part("fish"), {"spoiler_text": "Fish inside"}, "Fish"),
    ("spoiler and content", part("gold\n\nfish"), {"spoiler_text": "gold", "content": "fish"}, "gold\n\nfish"),
    ("spoiler's tags go too", part("goldfish"), {"spoiler_text": "gold<i>fish</i>"}, "goldfish"),
    ("no spoiler", part("fish"), {"spoiler_text": None, "content": "a fish"}, "fish"),
    ("poll", part("fish"), {"poll": poll("whale", "flying fish")}, "fish"),
    ("media", part("fish"), {"media_attachments": [{"id": "1", "description": None}, {"id": "2", "description": "A fish"}]},
     "fish"),
    ("null is no word", part("null"), {"media_attachments": [{"id": "1", "description": None}]}, None),
    ("order of parts", part("b\n\nc\n\nd"), {"spoiler_text": "a", "content": "b", "poll": poll("c"), "media_attachments": [
        {"id": "1", "description": "d"}]}, "b\n\nc\n\nd"),
    ("empty", part("fish"), {"content": ""}, None),
    ("card is not looked at", part("fish"), {"card": {"title": "fish"}}, None),
    ("plus", whole("c++"), "<p>I like c++ code</p>", "c++"),
    ("dot is a dot", part("a.c"), "<p>abc</p>", None),
    ("dot", part("a.c"), "<p>a.c</p>", "a.c"),
    ("metacharacters", part("[x](y)|{z}^$*?\\/-"), "<p>[x](y)|{z}^$*?\\/-</p>", "[x](y)|{z}^$*?\\/-"),
    ("bar is no alternative", part("gold|fish"), "<p>fish</p>", None),
    ("whole after a sign", whole("#fish"), "<p>gold#fish</p>", "#fish"),
    ("whole before a letter behind a sign", whole("#fish"), "<p>#fishes</p>", None),
    ("whole with underscore", whole("fish"), "<p>_fish</p>", None),
    ("whole at a digit", whole("fish"), "<p>fish2</p>", None),
    ("whole with a hyphen", whole("fish"), "<p>gold-fish</p>", "fish"),
    ("accents are no word characters", whole("\u00fcn\u00ef"), "<p>x\u00fcn\u00efx</p>", "\u00fcn\u00ef"),
    ("whole beside an accent", whole("fish"), "<p>\u00e9fish\u00e9</p>", "fish"),
    ("whole of one accent", whole("fish\u00e9"), "<p>xfish\u00e9</p>", None),
    ("japanese", whole("\u9b5a"), "<p>\u91d1\u9b5a\u9262</p>", "\u9b5a"),
    ("leftmost", part("fish", "gold"), "<p>gold fish</p>", "gold"),
    ("first alternative", part("gold", "goldfish"), "<p>goldfish</p>", "gold"),
    ("first alternative, the longer", part("goldfish", "gold"), "<p>goldfish</p>", "goldfish"),
    ("next alternative where the first is no word", whole("gold", "goldfish"), "<p>goldfish</p>", "goldfish"),
    ("second place", whole("fish"), "<p>fishes fish</p>", "fish"),
    ("overlap", part("aab"), "<p>aaab</p>", "aab"),
    ("fold accents", part("\u00c9T\u00c9"), "<p>\u00e9t\u00e9</p>", "\u00e9t\u00e9"),
    ("fold greek", part("\u03c3"), "<p>\u03c2</p>", "\u03c2"),
    ("fold micro", part("\u00b5"), "<p>\u03bc</p>", "\u03bc"),
    ("fold cyrillic", part("\u043c\u043e\u0440\u0435"), "<p>\u041c\u041e\u0420\u0415</p>", "\u041c\u041e\u0420\u0415"),
    ("no fold of sharp s", part("stra\u00dfe"), "<p>STRASSE</p>", None),
    ("no fold of kelvin", part("k"), "<p>\u212a</p>", None),
    ("no fold of long s", part("s"), "<p>\u017f</p>", None),
    ("no fold of deseret", part("\U00010400"), "<p>\U00010428</p>", None),
    ("emoji", part("\U0001f420"), "<p>a\U0001f420b</p>", "\U0001f420"),
    ("no normalisation", part("caf\u00e9"), "<p>cafe\u0301</p>", None),
    ("many keywords", part(*(f"word{n}x" for n in range(300)), "fish"), "<p>fish</p>", "fish"),
])


def shown(t, filters, post, wanted):
    """filters: of the viewer, as World.filter's arguments. wanted: with {0}.. as their ids."""
    w = world()
    a = w.account()
    ids = [w.filter(a, **f) for f in filters]
    c = open_stream(w, a, "public")
    w.publish("timeline:public", update(**post))
    equal([m["payload"] for m in w.end(c, "timeline:public")],
          [compact({**status(**post), "filtered": [{**f, "filter": {**f["filter"], "id": str(ids[f["filter"]["id"]])}}
                                                   for f in wanted]})], "payload")


def shows(index, match, title="Filter", context=("home", "public"), expires=None, action="warn"):
    value = {"id": index, "title": title, "context": list(context), "expires_at": expires, "filter_action": action}
    if action is None:
        del value["filter_action"]
    return {"filter": value, "keyword_matches": [match], "status_matches": None}


FISH = {"content": "<p>fish and kelp</p>"}
cases("filtered", shown, [
    ("no filters", [], FISH, []),
    ("no match", [{"keywords": part("shark")}], FISH, []),
    ("no keywords", [{"keywords": []}], FISH, []),
    ("warn", [{"keywords": part("fish"), "title": "Fi\"sh"}], FISH, [shows(0, "fish", "Fi\"sh")]),
    ("hide", [{"keywords": part("fish"), "action": 1}], FISH, [shows(0, "fish", action="hide")]),
    ("blur", [{"keywords": part("fish"), "action": 2}], FISH, [shows(0, "fish", action=None)]),
    ("expires", [{"keywords": part("fish"), "expires": "'2099-01-02 03:04:05.678'"}], FISH,
     [shows(0, "fish", expires="2099-01-02T03:04:05.678Z")]),
    ("expires on the second", [{"keywords": part("fish"), "expires": "'2099-01-02 03:04:05'"}], FISH,
     [shows(0, "fish", expires="2099-01-02T03:04:05.000Z")]),
    ("expired", [{"keywords": part("fish"), "expires": "now() - interval '1 minute'"}], FISH, []),
    ("context is not looked at", [{"keywords": part("fish"), "context": ("notifications",)}], FISH,
     [shows(0, "fish", context=("notifications",))]),
    ("no context", [{"keywords": part("fish"), "context": ()}], FISH, [shows(0, "fish", context=())]),
    ("two filters", [{"keywords": part("kelp"), "title": "B"}, {"keywords": part("fish"), "title": "A"}], FISH,
     [shows(0, "kelp", "B"), shows(1, "fish", "A")]),
    ("one of two", [{"keywords": part("shark")}, {"keywords": part("fish")}], FISH, [shows(1, "fish")]),
    ("first match only", [{"keywords": part("kelp", "fish")}], FISH, [shows(0, "fish")]),
    ("match with a quote", [{"keywords": part('"a"')}], {"content": '"a"'}, [shows(0, '"a"')]),
])


def test_filtered_in_order_of_ids(t):
    """Whatever order the rows lie in."""
    w = world()
    a = w.account()
    for number in (900300, 900100, 900200):
        w.sql(row("custom_filters", "id, account_id, phrase", number, a.id, "'x'") + ";" +
              row("custom_filter_keywords", "custom_filter_id, keyword", number, "'fish'"))
    c = open_stream(w, a, "public")
    w.publish("timeline:public", update(**FISH))
    (message,) = w.end(c, "timeline:public")
    equal([f["filter"]["id"] for f in json.loads(message["payload"])["filtered"]], ["900100", "900200", "900300"], "order")


def test_filtered_on_sight_of_another(t):
    """Filters are each viewer's own, on every stream that is filtered."""
    w = world()
    a, b = w.account(), w.account()
    number = w.filter(a, part("fish"))
    c, d = open_stream(w, a, "hashtag"), open_stream(w, b, "hashtag")
    w.publish(STREAMS["hashtag"], {**update(**FISH), "event": "status.update"})
    (one,), (other,) = (w.end(x, STREAMS["hashtag"]) for x in (c, d))
    equal([f["filter"]["id"] for f in json.loads(one["payload"])["filtered"]], [str(number)], "his")
    equal(json.loads(other["payload"])["filtered"], [], "not the other's")


def test_filters_changed(t):
    """Cached per connection until the event; the event itself is not delivered."""
    w = world()
    a = w.account()
    first = w.filter(a, part("fish"))
    c = open_stream(w, a, "public")

    def ids():
        w.publish("timeline:public", update(**FISH))
        (message,) = w.end(c, "timeline:public")
        return [f["filter"]["id"] for f in json.loads(message["payload"])["filtered"]]
    equal(ids(), [str(first)], "before")
    second = w.filter(a, part("kelp"))
    equal(ids(), [str(first)], "cached")
    w.publish(f"timeline:system:{a.id}", {"event": "filters_changed"})
    equal(ids(), [str(first), str(second)], "loaded anew")
    w.sql(f"DELETE FROM custom_filter_keywords WHERE custom_filter_id = {first}")
    w.publish(f"timeline:{a.id}", {"event": "filters_changed"})
    equal(ids(), [str(first), str(second)], "home's event has no payload: dropped")
    w.publish(f"timeline:system:{a.id}", {"event": "filters_changed"})
    equal(ids(), [str(second)], "and again")


def test_filter_that_expires_meanwhile(t):
    w = world()
    a = w.account()
    number = w.filter(a, part("fish"), expires="now() + interval '1500 milliseconds'")
    c = open_stream(w, a, "public")

    def ids():
        w.publish("timeline:public", update(**FISH))
        (message,) = w.end(c, "timeline:public")
        return [f["filter"]["id"] for f in json.loads(message["payload"])["filtered"]]
    equal(ids(), [str(number)], "loaded")
    until("it has expired", 10, lambda: ids() == [])


def test_filters_changed_while_loading(t):
    """The query waits for a lock; the change arrives meanwhile: both messages are delivered, then the new filters hold."""
    w = world()
    a = w.account()
    w.filter(a, part("fish"))
    c = open_stream(w, a, "public")
    lock = Sql(w.pg)
    lock("BEGIN; LOCK TABLE custom_filters IN ACCESS EXCLUSIVE MODE")
    w.publish("timeline:public", update(id="1", **FISH))
    until("the query waits", 10, lambda: w.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
    lock(row("custom_filters", "id, account_id", 990001, a.id) + ";" +
         row("custom_filter_keywords", "custom_filter_id, keyword", 990001, "'kelp'"))
    w.publish(f"timeline:system:{a.id}", {"event": "filters_changed"})
    w.publish("timeline:public", {"event": "delete", "payload": "7"})
    lock("COMMIT")
    w.publish("timeline:public", update(id="2", **FISH))
    got = w.end(c, "timeline:public")
    equal([m["event"] for m in got], ["update", "delete", "update"], "events")
    equal(len(json.loads(got[2]["payload"])["filtered"]), 2, "filters of the second")


# ---- Feed access ----

def access(t, settings, stream, local, remote, role=None):
    """settings: {var: YAML}. local, remote: whether a local, a remote author's post is delivered."""
    w = world()
    w.sql("DELETE FROM settings WHERE var LIKE '%feed_access'")
    for name, value in settings.items():
        w.sql(row("settings", "var, value", quoted(name), quoted(value)))
    try:
        c = open_stream(w, w.account(role=role), stream)
        for acct in ("coral", "coral@far.example"):
            w.publish(STREAMS[stream], update(id=acct, acct=acct))
        w.publish(STREAMS[stream], {"event": "delete", "payload": "1"})
        got = w.end(c, STREAMS[stream])
        equal([m["event"] if m["event"] == "delete" else json.loads(m["payload"])["id"] for m in got],
              ["coral"] * local + ["coral@far.example"] * remote + ["delete"], "delivered")
    finally:
        w.sql("DELETE FROM settings WHERE var LIKE '%feed_access'")


OFF = "--- disabled\n"
LOCAL, REMOTE = "local_live_feed_access", "remote_live_feed_access"
LOCAL_TOPIC, REMOTE_TOPIC = "local_topic_feed_access", "remote_topic_feed_access"
cases("access", access, [
    ("nothing set", {}, "public", YES, YES),
    ("local off", {LOCAL: OFF}, "public", NO, YES),
    ("remote off", {REMOTE: OFF}, "public", YES, NO),
    ("both off", {LOCAL: OFF, REMOTE: OFF}, "public", NO, NO),
    ("authenticated", {LOCAL: "--- authenticated\n", REMOTE: "--- authenticated\n"}, "public", YES, YES),
    ("another text", {LOCAL: "--- disabled", REMOTE: "disabled\n"}, "public", YES, YES),
    ("null", {LOCAL: None}, "public", YES, YES),
    ("topic's setting is not for public", {LOCAL_TOPIC: OFF, REMOTE_TOPIC: OFF}, "public", YES, YES),
    ("on public:local", {LOCAL: OFF}, "public:local", NO, YES),
    ("on public:remote:media", {REMOTE: OFF}, "public:remote:media", YES, NO),
    ("hashtag local off", {LOCAL_TOPIC: OFF}, "hashtag", NO, YES),
    ("hashtag remote off", {REMOTE_TOPIC: OFF}, "hashtag", YES, NO),
    ("hashtag:local", {LOCAL_TOPIC: OFF}, "hashtag:local", NO, YES),
    ("live's setting is not for hashtags", {LOCAL: OFF, REMOTE: OFF}, "hashtag", YES, YES),
    ("a role may", {LOCAL: OFF, REMOTE: OFF}, "public", YES, YES, 1),
    ("another role may not", {LOCAL: OFF, REMOTE: OFF}, "public", NO, NO, 2),
])


# ---- The system's channels ----

def killed(t, channel, wanted=True, event="kill"):
    w = world()
    a = w.account()
    c = w.flows(Ws(w.at, "/?stream=user", a.token), f"timeline:{a.id}")
    other = w.flows(Ws(w.at, "/?stream=user", (b := w.account()).token), f"timeline:{b.id}")
    w.publish(channel.format(me=a.id, token=a.token_id), {"event": event})
    if wanted:
        end = c.ends()
        equal((end.frame, end.code, end.reason), (True, None, b""), "an empty close frame")
        equal(c.closes(), b"", "and the end")
    else:
        w.flows(c, f"timeline:{a.id}")
    w.flows(other, f"timeline:{b.id}")


cases("kill", killed, [
    ("token", "timeline:access_token:{token}"), ("account", "timeline:system:{me}"),
    ("home is no system channel", "timeline:{me}", NO), ("another event", "timeline:system:{me}", NO, "filter"),
    ("another event of a token", "timeline:access_token:{token}", NO, "filters_changed"),
])


def test_kill_of_one_token(t):
    """Of two sessions of an account one is revoked; then the account is suspended."""
    w = world()
    a = w.account()
    w.sql(f"INSERT INTO oauth_access_tokens (id, token, scopes, resource_owner_id) "
          f"VALUES ({a.token_id + 100000}, 'second-{a.id}', 'read', {a.user_id})")
    one = w.flows(Ws(w.at, "/?stream=user", a.token), f"timeline:{a.id}")
    two = w.flows(Ws(w.at, "/?stream=user", f"second-{a.id}"), f"timeline:{a.id}")
    w.publish(f"timeline:access_token:{a.token_id}", {"event": "kill"})
    one.ends()
    w.flows(two, f"timeline:{a.id}")
    w.publish(f"timeline:system:{a.id}", {"event": "kill", "payload": "x"})
    equal(two.ends().code, None, "close")
    until("nothing is left", 10, lambda: not w.heard(f"timeline:{a.id}") and not w.heard(f"timeline:system:{a.id}") and
          not w.heard(f"timeline:access_token:{a.token_id}"))


def test_kill_without_a_stream(t):
    w = world()
    a = w.account()
    c = Ws(w.at, "/", a.token)
    until("it listens", 10, lambda: w.heard(f"timeline:system:{a.id}"))
    w.publish(f"timeline:system:{a.id}", {"event": "kill"})
    equal(c.ends().code, None, "close")


# ---- Heartbeat keys ----

def beats(t, stream, keys, scopes="read"):
    w = world()
    a = w.account(scopes)
    w.sql(f"INSERT INTO lists VALUES ({a.id + 10000}, {a.id})")
    names = [f"subscribed:{k}".format(me=a.id, list=a.id + 10000) for k in keys]
    before = set(w.redis("KEYS", f"*{a.id}*"))
    for name in names:
        w.redis("DEL", name)
    c = Ws(w.at, "/", a.token)
    c.subscribe(stream, tag=f"H{a.id}", list=a.id + 10000)
    until("keys are set", 10, lambda: all(w.redis("EXISTS", name) for name in names))
    for name in names:
        equal(w.redis("GET", name), "1", name)
        check(1070 <= w.redis("TTL", name) <= 1080, f"{name}: {w.redis('TTL', name)} s")
    if "timeline:public" not in names[0]:
        equal(set(w.redis("KEYS", f"*{a.id}*")) - before, set(names), "no others")
    c.reset()
    until("unsubscribed", 10, lambda: not w.heard(names[-1].removeprefix("subscribed:")))
    equal([w.redis("EXISTS", name) for name in names], [1] * len(names), "left to expire")


cases("beat", beats, [
    ("user", "user", ["timeline:{me}", "timeline:{me}:notifications"]),
    ("user without notifications", "user", ["timeline:{me}"], "read:statuses"),
    ("notification", "user:notification", ["timeline:{me}:notifications"]),
    ("direct", "direct", ["timeline:direct:{me}"]),
    ("list", "list", ["timeline:list:{list}"]),
    ("hashtag", "hashtag", ["timeline:hashtag:h{me}"]),
    ("hashtag local", "hashtag:local", ["timeline:hashtag:h{me}:local"]),
    ("public", "public", ["timeline:public"]),
    ("public remote media", "public:remote:media", ["timeline:public:remote:media"]),
])


def test_beat_of_nothing(t):
    """A connection alone and what was refused set none."""
    w = world()
    a = w.account("read:notifications")
    c = Ws(w.at, "/?stream=user", a.token)
    equal(c.message()["status"], 401, "refused")
    c.subscribe("list", list="5001")
    c.message()
    equal(w.redis("KEYS", f"subscribed:*{a.id}*"), [], "keys")
    equal(w.redis("EXISTS", "subscribed:timeline:list:5001"), 0, "the list's key")


def test_redis_is_left_alone(t):
    """It writes only its heartbeat keys."""
    w = world()
    equal([k for k in w.redis("KEYS", "*") if not k.startswith("subscribed:timeline:")], [], "other keys")


# ---- Metrics ----

def test_metrics(t):
    w = world()
    s = w.server()
    before = s.metrics()
    for type in ("websocket", "eventsource"):
        equal(before.get(f'connected_clients{{type="{type}"}}', 0), 0, type)
        for name in ("system", "user", "user:notification", "list", "direct", "public", "public:media", "public:local",
                     "public:local:media", "public:remote", "public:remote:media", "hashtag", "hashtag:local"):
            equal(before.get(f'connected_channels{{type="{type}",channel="{name}"}}'), 0, f"{type} {name}")
    for name in ("redis_subscriptions", "redis_messages_received_total", "pg_pool_total_connections",
                 "pg_pool_idle_connections", "pg_pool_waiting_queries"):
        check(name in before, f"{name} is missing")
    check(any(k.startswith("process_") for k in before), "process_*")
    a, b = w.account(), w.account()
    c = Ws(s.address(), "/?stream=user", a.token)
    c.subscribe("hashtag", tag="sea")
    c.subscribe("public")
    e = Sse(s.address(), "/api/v1/streaming/public", b.token)
    w.flows(c, f"timeline:{a.id}")
    w.flows(c, "timeline:hashtag:sea")
    w.flows(e, "timeline:public")
    w.flows(c, "timeline:public")
    w.ends([c, e], "timeline:public")
    now = s.metrics()
    equal([now[f'connected_clients{{type="{k}"}}'] for k in ("websocket", "eventsource")], [1, 1], "clients")
    for type, name, count in (("websocket", "system", 2), ("websocket", "user", 1), ("websocket", "hashtag", 1),
                              ("websocket", "public", 1), ("eventsource", "system", 2), ("eventsource", "public", 1),
                              ("eventsource", "user", 0)):
        equal(now[f'connected_channels{{type="{type}",channel="{name}"}}'], count, f"{type} {name}")
    # home and its notifications, hashtag, public, and two system channels of each.
    equal(now["redis_subscriptions"], 8, "subscriptions")
    sent = lambda m: (m["redis_messages_received_total"], m.get('messages_sent_total{type="websocket"}', 0),
                      m.get('messages_sent_total{type="eventsource"}', 0))
    for _ in range(10):
        w.publish("timeline:public", update())
    w.ends([c, e], "timeline:public")
    equal([y - x for x, y in zip(sent(now), sent(s.metrics()))], [11, 11, 11], "ten messages and a mark")
    c.reset()
    e.close()
    until("both are gone", 10, lambda: sum(v for k, v in s.metrics().items() if k.startswith("connected_")) == 0)
    until("no subscription is left", 10, lambda: s.metrics()["redis_subscriptions"] == 0)
    s.stop()


def test_zzz_sound(t):
    sound()


main()
