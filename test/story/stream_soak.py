"""An hour (SOAK_SECONDS) of churn on the streaming server, with Redis and PostgreSQL restarted again and again: `make soak`.
Without SOAK_SECONDS two minutes of it. See test/bench/stream_soak.c for what the clients do.

SOAK_CONNECTIONS (10 000; 1 000 in the short one), SOAK_SEED, STREAM_LOOPS (else the seed says: one to three). Asked of ours alone: pings, keys and their lives are shortened.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from stream import *

LONG = "SOAK_SECONDS" in os.environ
LENGTH = int(os.environ.get("SOAK_SECONDS", "120"))
CONNECTIONS = int(os.environ.get("SOAK_CONNECTIONS", "10000" if LONG else "1000"))
STAYERS = min(500, CONNECTIONS // 5)
USERS = CONNECTIONS * 2
PAUSE = min(180, LENGTH / 7)  # between restarts
GROWTH_KB = 1024


SEED = int(os.environ.get("SOAK_SEED", random.randrange(1 << 30)))
LOOPS = os.environ.get("STREAM_LOOPS", str(1 + SEED % 3))


class Soak:
    def __init__(self, t, w, s):
        self.t, self.w, self.s, self.memory = t, w, s, []
        self.random = random.Random(SEED)
        self.process = subprocess.Popen(
            [f"{BUILD}/test/bench/stream-soak", "--server", f"127.0.0.1:{s.env['PORT']}", "--redis", f"127.0.0.1:{w.redis.port}",
             "--connections", str(CONNECTIONS), "--stayers", str(STAYERS), "--users", str(USERS), "--seconds", str(LENGTH),
             "--births", str(CONNECTIONS // 8), "--rate", "100", "--seed", str(SEED)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(f"{t.dir}/soak.err", "wb"), preexec_fn=die_with_parent)
        t.processes.insert(0, self.process)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text, self.last = b"", {}

    def words(self):
        with open(f"{self.t.dir}/soak.err") as f:
            metrics = {k: v for k, v in self.s.metrics().items() if "refused" in k and v}
            return f"seed {SEED}, {LOOPS} loops; {self.last}; {metrics}; {f.read()[:1000]}; {self.s.out()[-1000:]}"

    def look(self):
        """Reads what it reports; the server lives."""
        self.s.alive()
        self.text += self.process.stdout.read() or b""
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            self.last = json.loads(line)
            if self.last["event"] == "soak":
                self.memory.append(private_kb(self.s.process.pid))
                print(f"# {line.decode()} private {self.memory[-1]} kB", flush=True)
        return self.last.get("event")

    def tell(self, words):
        try:
            self.process.stdin.write(words.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has come to its end meanwhile; how, is looked at then
            pass

    def wait(self, seconds):
        """False when it has ended meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.look() == "end" or self.process.poll() is not None:
                return False
            time.sleep(0.1)
        return True

    def restart_redis(self):
        self.w.redis.stop()
        self.wait(self.random.choice([0, 0.2, 3]))
        self.w.redis.start()

    def restart_postgres(self):
        self.tell("postgres down")
        self.wait(0.3)
        self.w.pg.stop(self.random.choice([signal.SIGINT, signal.SIGQUIT]))
        self.wait(self.random.choice([0, 0.2, 3]))
        self.w.pg.start()
        self.tell("postgres up")


def median(values):
    return sorted(values)[len(values) // 2]


def test_soak(t):
    ours()
    w = World(t, accounts=USERS)
    w.sql(f"INSERT INTO oauth_access_tokens (id, token, scopes, resource_owner_id) "
          f"SELECT 700000 + n, 'bench-' || n, 'read', 500000 + n FROM generate_series(0, {USERS}) n")
    s = w.server(ATOLL_STREAM_BEAT="2s", ATOLL_STREAM_BEAT_LIFE="6s", ATOLL_STREAM_PING="30s" if LONG else "8s", ATOLL_STREAM_THUMP="2s",
                 ATOLL_STREAM_HANDSHAKE="5s", ATOLL_STREAM_LOOPS=LOOPS, LOG_LEVEL="error")
    soak = Soak(t, w, s)
    until("it begins", 90, lambda: soak.look() or soak.process.poll() is not None)
    restarts = 0
    while soak.wait(PAUSE * soak.random.uniform(0.7, 1.3)):
        (soak.restart_redis, soak.restart_postgres)[restarts % 2]()
        restarts += 1
    until("it ends", 120, lambda: soak.process.poll() is not None)
    soak.look()
    equal(soak.process.returncode, 0, f"lost, doubled or cut; {soak.words()}")
    check(soak.last["due"] > LENGTH * 100 and soak.last["born"] > LENGTH * 5, f"hardly anything was done: {soak.words()}")
    check(restarts >= 4 and soak.last["redis_restarts"] >= 2, f"{restarts} restarts; {soak.words()}")
    print(f"# {LOOPS} loops, {soak.last}, {restarts} restarts, memory {soak.memory} kB")

    # Nothing is left of anybody.
    until("clients are gone", 30, lambda: not any(v for k, v in s.metrics().items() if k.startswith("connected_")))
    until("no subscription is left", 10, lambda: s.metrics()["redis_subscriptions"] == 0)
    until("Redis has no channel", 10, lambda: not w.redis("PUBSUB", "CHANNELS", "*"))
    until("no key is renewed", 20, lambda: not w.redis("KEYS", "subscribed:*"))
    equal(w.redis("KEYS", "*"), [], "keys")
    if not sanitized() and len(soak.memory) >= 9:
        third = len(soak.memory) // 3
        first, last = median(soak.memory[third:2 * third]), median(soak.memory[-third:])
        check(last <= first * 1.1 + GROWTH_KB, f"memory grew from {first} to {last} kB: {soak.memory}")
    equal(s.stop(), 0, f"exit status; {s.out()[-2000:]}")


main()
