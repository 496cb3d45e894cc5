"""What a streaming server needs around it: PostgreSQL with the tables of Mastodon that it reads, Redis, and the server
itself: the built `atoll stream`, or the command of STREAM_SERVER (for somebody who has the reference).

    w = World(t)                       # PostgreSQL and Redis run
    s = w.server(SOCKET="/path")       # a server, ready
    a = w.account(scopes="read")       # a fresh one with a token: a.id, a.token, a.token_id
    w.publish(f"timeline:{a.id}", {"event": "delete", "payload": "1"})

STREAM_SERVER="node /srv/mastodon/streaming/index.js" is split as a shell would. What only ours promises (bounds,
counters, options) is asked of ours alone: `ours(...)`.
"""
import atexit
import itertools
import shlex

from harness import *
from pg import *
from stream_client import *

FOREIGN = os.environ.get("STREAM_SERVER")
LOOPS = os.environ.get("STREAM_LOOPS")  # of ours: the same stories with several
DATABASE, PASSWORD = "mastodon_streams", "drift 'wood'"
ACCOUNTS = 900
READY = "Streaming API now listening on"

# Only what the specification names, with Mastodon's types.
SCHEMA = """
CREATE TABLE user_roles (id bigserial PRIMARY KEY, name text, permissions bigint NOT NULL DEFAULT 0);
CREATE TABLE accounts (id bigint PRIMARY KEY, username varchar NOT NULL, domain varchar, suspended_at timestamp);
CREATE TABLE users (id bigint PRIMARY KEY, account_id bigint NOT NULL, disabled boolean NOT NULL DEFAULT false,
  chosen_languages varchar[], role_id bigint);
CREATE TABLE oauth_access_tokens (id bigint PRIMARY KEY, token varchar NOT NULL UNIQUE, revoked_at timestamp,
  scopes varchar, resource_owner_id bigint, expires_in int, created_at timestamp NOT NULL DEFAULT now());
CREATE TABLE lists (id bigint PRIMARY KEY, account_id bigint NOT NULL, title varchar NOT NULL DEFAULT '');
CREATE TABLE blocks (id bigserial PRIMARY KEY, account_id bigint NOT NULL, target_account_id bigint NOT NULL);
CREATE UNIQUE INDEX ON blocks (account_id, target_account_id);
CREATE INDEX ON blocks (target_account_id);
CREATE TABLE mutes (id bigserial PRIMARY KEY, account_id bigint NOT NULL, target_account_id bigint NOT NULL,
  hide_notifications boolean NOT NULL DEFAULT true, expires_at timestamp);
CREATE UNIQUE INDEX ON mutes (account_id, target_account_id);
CREATE INDEX ON mutes (target_account_id);
CREATE TABLE account_domain_blocks (id bigserial PRIMARY KEY, account_id bigint, domain varchar);
CREATE UNIQUE INDEX ON account_domain_blocks (account_id, domain);
CREATE TABLE custom_filters (id bigint PRIMARY KEY, account_id bigint NOT NULL, expires_at timestamp, phrase text NOT NULL
  DEFAULT '', context varchar[] NOT NULL DEFAULT '{}', action int NOT NULL DEFAULT 0,
  created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now());
CREATE INDEX ON custom_filters (account_id);
CREATE TABLE custom_filter_keywords (id bigserial PRIMARY KEY, custom_filter_id bigint NOT NULL, keyword text NOT NULL
  DEFAULT '', whole_word boolean NOT NULL DEFAULT true);
CREATE INDEX ON custom_filter_keywords (custom_filter_id);
CREATE TABLE settings (id bigserial PRIMARY KEY, var varchar NOT NULL UNIQUE, value text);
INSERT INTO user_roles VALUES (1, 'Viewer', 1048576), (2, 'Plain', 65536);
INSERT INTO accounts SELECT 1000 + n, 'user' || n FROM generate_series(0, %d) n;
INSERT INTO users SELECT 500000 + n, 1000 + n FROM generate_series(0, %d) n;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO mastodon;
"""


def quoted(value):
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


class Sql:
    """Statements over the cluster's socket: psql costs 30 ms each, there are hundreds."""

    def __init__(self, pg):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(f"{pg.dir}/.s.PGSQL.{pg.port}")
        self.file = self.sock.makefile("rb")
        body = b"\0\3\0\0user\0postgres\0database\0" + DATABASE.encode() + b"\0\0"
        self.sock.sendall(struct.pack(">I", len(body) + 4) + body)
        self.rows()

    def rows(self):
        rows, error = [], None
        while True:
            kind, size = struct.unpack(">cI", self.file.read(5))
            body = self.file.read(size - 4)
            if kind == b"D":
                row, at = [], 2
                for _ in range(struct.unpack(">H", body[:2])[0]):
                    count, = struct.unpack(">i", body[at:at + 4])
                    row.append(None if count < 0 else body[at + 4:at + 4 + count].decode())
                    at += 4 + max(0, count)
                rows.append(row)
            elif kind == b"E":
                error = body.decode(errors="replace")
            elif kind == b"Z":
                check(not error, f"PostgreSQL: {error}")
                return rows

    def __call__(self, text):
        self.sock.sendall(b"Q" + struct.pack(">I", len(text.encode()) + 5) + text.encode() + b"\0")
        return self.rows()


class Redis:
    """A server on a free port and one connection to it."""

    def __init__(self, t, *options):
        self.t, self.port, self.options = t, free_port(), options
        self.dir = f"{t.dir}/redis-{self.port}"
        os.mkdir(self.dir)
        t.processes.append(self)
        self.start()

    def start(self):
        with open(self.dir + ".log", "ab") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir,
                 "--unixsocket", self.dir + "/socket", *self.options], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent)
        self.sock = None
        until("Redis answers", 20, self.answers)

    def answers(self):
        try:
            self.sock = socket.create_connection(("127.0.0.1", self.port), 30)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.file = self.sock.makefile("rb")
            return self("PING") == "PONG"
        except (OSError, ValueError):
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("Redis is gone")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode("utf-8", "surrogateescape")
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        raise ValueError(rest)

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.reply()

    # As harness.Test ends its processes.
    def poll(self):
        return self.process.poll()

    def terminate(self):
        self.process.terminate()

    def wait(self, seconds=None):
        return self.process.wait(seconds)


class Account:
    def __init__(self, number, scopes):
        self.id, self.user_id, self.scopes = 1000 + number, 500000 + number, scopes
        self.token_id, self.token, self.name = 700000 + number, f"token-{number}-{number * 7919}", f"user{number}"


class Server:
    """A process, ready. out(): what it printed; address(): where it listens."""

    def __init__(self, t, env, argv, wait=True):
        self.t, self.env = t, env
        self.log = tempfile.mkstemp(prefix="server-", dir=t.dir)[1]
        with open(self.log, "ab") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen(argv, cwd=t.dir, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            preexec_fn=die_with_parent)
        t.processes.insert(0, self)
        if wait:
            self.ready()

    def ready(self, seconds=60):
        end = time.monotonic() + seconds
        while READY not in self.out():
            check(self.process.poll() is None, f"the server ended with {self.process.poll()}: {self.out()[-3000:]}")
            check(time.monotonic() < end, f"not ready: {self.out()[-3000:]}")
            time.sleep(0.005)
        self.ready_after = elapsed(self.started)

    def out(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def address(self):
        return self.env["SOCKET"] if self.env.get("SOCKET") else ("127.0.0.1", int(self.env["PORT"]))

    def get(self, target, headers=(), method="GET", body=b""):
        c = Conn(self.address())
        c.send(request(method, target, list(headers), body))
        answer = c.answer(method)
        c.close()
        return answer

    def metrics(self):
        """{name or name{labels}: number}"""
        text = self.get("/metrics")[2].decode()
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")}

    def alive(self):
        check(self.process.poll() is None, f"the server ended with {self.process.poll()}: {self.out()[-3000:]}")
        return True

    def stop(self, how=signal.SIGTERM, seconds=30):
        self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"the server did not end in {seconds} s") from None

    def poll(self):
        return self.process.poll()

    def terminate(self):
        self.process.terminate()

    def wait(self, seconds=None):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait(seconds)
        complaint = re.search(r".*(runtime error:|(ERROR|WARNING): \w+Sanitizer)(.|\n){,2000}", self.out())
        if complaint and self not in unsound:
            unsound[self] = complaint[0]
        return code


# Servers of which a sanitizer complained, and what it said.
unsound = {}


class World:
    def __init__(self, t, accounts=ACCOUNTS, **settings):
        self.t = t
        self.pg = Cluster(t, **{"timezone": "'UTC'", "max_connections": 100, **settings})
        self.pg.sql(f"CREATE ROLE mastodon LOGIN PASSWORD {quoted(PASSWORD)}")
        self.pg.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        self.pg.sql(SCHEMA % (accounts, accounts), database=DATABASE)
        self.sql = Sql(self.pg)
        self.redis = Redis(t)
        self.numbers, self.probes, self.servers = itertools.count(1), itertools.count(1), []

    def reconnect(self):
        """After a restart of PostgreSQL."""
        self.sql = Sql(self.pg)

    def environment(self, **more):
        env = self.t.env(NODE_ENV="production", DB_HOST="127.0.0.1", DB_PORT=str(self.pg.port), DB_USER="mastodon",
                         DB_PASS=PASSWORD, DB_NAME=DATABASE, REDIS_HOST="127.0.0.1", REDIS_PORT=str(self.redis.port),
                         BIND="127.0.0.1", PORT=str(free_port()), TZ="UTC", LOG_LEVEL="warn", ATOLL_STREAM_LOOPS=LOOPS)
        if FOREIGN:
            env["PATH"] = os.environ["PATH"]
        env.update(more)
        return {k: v for k, v in env.items() if v is not None}

    def server(self, *options, wait=True, **more):
        argv = shlex.split(FOREIGN) if FOREIGN else [f"{BUILD}/atoll", "stream"]
        return Server(self.t, self.environment(**more), argv + list(options), wait)

    def account(self, scopes="read", languages=None, role=None, disabled=False, suspended=False, revoked=False,
                app=False, expires_in=None):
        a = Account(next(self.numbers), scopes)
        text = (f"INSERT INTO oauth_access_tokens VALUES ({a.token_id}, {quoted(a.token)}, {'now()' if revoked else 'NULL'}, "
                f"{quoted(scopes)}, {'NULL' if app else a.user_id}, {expires_in or 'NULL'}, now() - interval '1 day');")
        if languages is not None:
            text += f"UPDATE users SET chosen_languages = {quoted('{' + ','.join(languages) + '}')} WHERE id = {a.user_id};"
        if role or disabled:
            text += f"UPDATE users SET role_id = {role or 'NULL'}, disabled = {disabled} WHERE id = {a.user_id};"
        if suspended:
            text += f"UPDATE accounts SET suspended_at = now() WHERE id = {a.id};"
        self.sql(text)
        return a

    def filter(self, account, keywords, title="Filter", action=0, expires="NULL", context=("home", "public")):
        """keywords: (text, whole word). Gives its id."""
        number = next(self.numbers)
        self.sql(f"INSERT INTO custom_filters VALUES ({number}, {account.id}, {expires}, {quoted(title)}, "
                 f"{quoted('{' + ','.join(context) + '}')}, {action});" + "".join(
                     f"INSERT INTO custom_filter_keywords (custom_filter_id, keyword, whole_word) "
                     f"VALUES ({number}, {quoted(k)}, {w});" for k, w in keywords))
        return number

    def publish(self, channel, message):
        """How many servers heard it. A string goes as it is."""
        if not isinstance(message, (str, bytes)):
            message = compact(message)
        return self.redis("PUBLISH", channel, message if isinstance(message, bytes) else message.encode())

    def flows(self, client, channel, seconds=SECONDS):
        """Until what is published there arrives at this client: `probe` events, which message() then passes over."""
        end, wait = time.monotonic() + seconds, 0.005
        while True:
            mark = f"probe-{next(self.probes)}"
            self.publish(channel, {"event": "probe", "payload": mark})
            if client.buffer or wait_readable([client], wait):
                got = client.message()
                if got["event"] == "probe":
                    client.flowing = True
                    self.end(client, channel)
                    return client
                raise Failed(f"before the first event: {got}")
            check(time.monotonic() < end, f"nothing of {channel} comes")
            wait = min(0.1, wait * 2)

    def end(self, client, channel):
        """All messages up to here, read by one more event on that channel."""
        return self.ends([client], channel)[0]

    def ends(self, clients, channel):
        """The same of several clients, by one event: afterwards nothing is on its way to any of them."""
        mark, got = f"end-{next(self.probes)}", []
        self.publish(channel, {"event": "probe", "payload": mark})
        for client in clients:
            got.append([])
            while (message := client.message())["payload"] != mark:
                if message["event"] != "probe":
                    got[-1].append(message)
        return got

    def heard(self, channel):
        return self.redis("PUBSUB", "NUMSUB", channel)[1]


def compact(value):
    """JSON as JavaScript writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def status(id="109", acct="coral@far.example", author=9001, mentions=(), content="<p>Nothing to see</p>", language="en",
           **more):
    """As an anonymous Status of Mastodon; more: keys to set or (with a value of ...) to leave out."""
    value = {"id": id, "created_at": "2026-08-21T10:00:00.000Z", "in_reply_to_id": None, "sensitive": False,
             "spoiler_text": "", "visibility": "public", "language": language, "content": content, "reblog": None,
             "account": {"id": str(author), "username": acct.split("@")[0], "acct": acct, "bot": False},
             "media_attachments": [], "mentions": [{"id": str(m), "username": f"m{m}", "acct": f"m{m}"} for m in mentions],
             "tags": [], "emojis": [], "card": None, "poll": None, **more}
    return {k: v for k, v in value.items() if v is not ...}


def update(**more):
    return {"event": "update", "payload": status(**more)}


shared = {}


def world():
    """One for all cases of a program, with one server: w.s at w.at. Ended with the program."""
    if not shared:
        t = shared["t"] = Test("shared")
        atexit.register(t.end)
        w = World(t)
        # Ours is told to ping and thump sooner, so that no case waits for half a minute; others do at their own times.
        w.s = w.server(ATOLL_STREAM_PING="6s", ATOLL_STREAM_THUMP="4s")
        w.at = w.s.address()
        shared["w"] = w
    check("w" in shared, "there is no server")
    return shared["w"]


def sound():
    """To be the last case: ends the shared server; none of them had a sanitizer's complaint."""
    if "w" in shared:
        equal(shared["w"].s.stop(), 0, "exit status of the shared server")
        shared["w"].s.wait()
    equal(list(unsound.values()), [], "a sanitizer's words")


def ours(words="only ours promises this"):
    if FOREIGN:
        raise Skipped(words)


def cases(prefix, function, rows):
    """One test a row: test_PREFIX_NAME, made of the row's first field; the function gets (t, *rest)."""
    module = sys.modules["__main__"]
    for name, *rest in rows:
        name = f"test_{prefix}_" + re.sub(r"\W+", "_", name).strip("_")
        check(not hasattr(module, name), f"two cases {name}")
        setattr(module, name, lambda t, rest=rest: function(t, *rest))
