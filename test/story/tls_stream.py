"""`atoll stream` over TLS: to Redis (our own socket, hiredis's codec) and to PostgreSQL (libpq), each checked against the
roots that it is given, and refused where they are others. And `atoll scale` to Redis."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from stream import *


def openssl(*argv):
    done = subprocess.run(["/usr/bin/openssl", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    check(done.returncode == 0, done.stdout.decode())


def certificate(t, names):
    """A root, and what it signed for these names: paths of root, certificate, key."""
    d = tempfile.mkdtemp(dir=t.dir)
    ext = t.write(os.path.basename(d) + ".ext", "subjectAltName=" + names)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", f"{d}/ca.key",
            "-out", f"{d}/ca.pem", "-subj", "/CN=root of a test")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{d}/key", "-out", f"{d}/csr",
            "-subj", "/CN=test")
    openssl("x509", "-req", "-in", f"{d}/csr", "-CA", f"{d}/ca.pem", "-CAkey", f"{d}/ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", ext, "-out", f"{d}/pem")
    return f"{d}/ca.pem", f"{d}/pem", f"{d}/key"


def serves(w, s):
    a = w.account()
    c = Ws(s.address(), "/?stream=user", a.token)
    w.flows(c, f"timeline:{a.id}")
    c.close()


def encrypted_redis(t, w, names):
    root, pem, key = certificate(t, names)
    port = free_port()
    w.redis = Redis(t, "--tls-port", str(port), "--tls-cert-file", pem, "--tls-key-file", key, "--tls-ca-cert-file", root,
                    "--tls-auth-clients", "no")
    return root, port


def test_redis(t):
    w = World(t)
    root, port = encrypted_redis(t, w, "DNS:localhost,IP:127.0.0.1")
    for host in ("localhost", "127.0.0.1"):
        s = w.server(REDIS_URL=f"rediss://{host}:{port}/0", NODE_EXTRA_CA_CERTS=root)
        serves(w, s)
        check(s.stop() == 0, s.out())


def test_redis_refused(t):
    w = World(t)
    root, port = encrypted_redis(t, w, "DNS:elsewhere.example")
    other, _, _ = certificate(t, "DNS:localhost")
    for roots, words in ((root, "mismatch"), (other, "certificate")):
        s = w.server(REDIS_URL=f"rediss://localhost:{port}/0", NODE_EXTRA_CA_CERTS=roots)
        until("it says why", SECONDS, lambda: "TLS refused" in s.out())
        check(words in s.out(), s.out())
        check(s.get("/api/v1/streaming/health")[0] == 200, "health")
        check(s.stop() == 0, s.out())


def test_a_scaler(t):
    w = World(t)
    root, port = encrypted_redis(t, w, "DNS:localhost")
    other, _, _ = certificate(t, "DNS:localhost")
    pool = t.write("pool", "#!/bin/sh\n[ $1 = set ] || echo pet0 5\n")
    os.chmod(pool, 0o755)
    t.write("scale.json", json.dumps({"max": 2, "queues": {"default": {"slo": 30}}}))
    # (More than a record of TLS, each way.)
    w.redis("SADD", "queues", "default", *(f"q{n:0200}" for n in range(200)))
    w.redis("LPUSH", "queue:default", json.dumps({"class": "A", "enqueued_at": 1795953600, "args": ["x" * 50000]}))

    def scaler(*more):
        process = t.spawn(f"{BUILD}/atoll", "scale", "--json", "--every", "1s", "--exec", pool, "--config", "scale.json",
                          *more)
        line = process.stdout.readline()
        process.terminate()
        _, err = process.communicate()
        return json.loads(line)["inputs"], err.decode()
    good, said = scaler("--redis", f"localhost:{port}", "--redis-ca", root)
    equal((good["redis_ok"], good["queues"]["default"]["len"]), (True, 1), said)
    for more, words in ((("--redis-ca", other), "certificate"), (("--redis-tls",), "certificate")):
        bad, said = scaler("--redis", f"localhost:{port}", *more)
        check(not bad["redis_ok"] and "TLS with Redis at localhost: TLS refused" in said and words in said, said)
    bad, said = scaler("--redis", f"localhost:{port}", "--redis-ca", t.write("none.pem", "no certificate"))
    check(not bad["redis_ok"] and "cannot set up TLS" in said, said)
    bad, said = scaler("--redis", f"127.0.0.1:{port}", "--redis-ca", root)
    check(not bad["redis_ok"] and "mismatch" in said, said)
    none = t.atoll("scale", "--exec", pool, "--config", "scale.json", "--redis", "localhost", "--redis-ca", "away.pem", code=None)
    check(none.code != 0 and "--redis-ca: cannot read away.pem" in none.err, none)


def test_postgres(t):
    w = World(t)
    root, pem, key = certificate(t, "DNS:localhost")
    other, _, _ = certificate(t, "DNS:localhost")
    w.pg.stop()
    for name, path in (("server.crt", pem), ("server.key", key)):
        with open(path) as f:
            w.pg.write(name, f.read())
        os.chmod(f"{w.pg.data}/{name}", 0o600)
    w.pg.configure(ssl="on")
    w.pg.start()
    w.reconnect()
    for more, encrypted in (({"DB_SSLMODE": "require", "NODE_EXTRA_CA_CERTS": root}, "t"), ({"DB_SSLMODE": "no-verify"}, "t"),
                            ({"DB_SSLMODE": "disable"}, "f"), ({"DB_SSLMODE": "require", "NODE_EXTRA_CA_CERTS": other}, None)):
        s = w.server(DB_HOST="localhost", **more)
        a = w.account()
        if encrypted is None:
            check(s.get("/api/v1/streaming/user", [("Authorization", f"Bearer {a.token}")])[0] == 500, "it is let in")
        else:
            serves(w, s)
            rows = w.sql("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'mastodon'")
            check(rows and all(r == [encrypted] for r in rows), rows)
        check(s.stop() == 0, s.out())


main()
