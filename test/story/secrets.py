"""No secret outside its place: everything that leaves the process is decoded and searched for each
secret, raw, base64 at all offsets, hex and URL-quoted."""
import glob
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

# Where a secret may be, and why: (layer, secret), both as regular expressions.
ALLOWED = [
    (r"user_data", r"^boot k ", "the bootstrap key is what user_data is for; dead after the hello"),
    (r"pocket file .*/user_data$", r"^boot k ", "pocket's copy for its metadata service"),
    (r"pocket file pocket\.db", r"^boot k ", "the same row on pocket's disk"),
    (r"row server", r"^boot k ", "the same, as the row that holds user_data"),
]


def forms(secret):
    """The secret as it might be written: raw, hex, URL-quoted, base64 at each of three offsets."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(),
             urllib.parse.quote(secret, safe="").encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            text = encode(b"\0" * offset + secret)
            # Characters that also depend on the neighbours are left out.
            start = (0, 2, 3)[offset]
            end = len(text) - (0, 3, 2)[(len(secret) + offset) % 3] - (0, 1, 1)[0]
            text = text[start:end].rstrip(b"=")
            found.add(text[:-1] if len(text) > 12 else text)
    return {f for f in found if len(f) >= 8}


def unfolded(layer, content, depth=0):
    """The content, and what is inside it: each long base64 text in it, decoded, and so on. A bundle
    is base64 of JSON that holds base64; a secret inside must not be hidden by its wrapping."""
    yield layer, content
    if depth == 4 or len(content) > 1 << 20:
        return
    for text in set(re.findall(rb"[A-Za-z0-9+/_-]{24,}={0,2}", content)):
        try:
            inner = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_" if
                                     re.search(rb"[-_]", text) else None, validate=True)
        except ValueError:
            continue
        yield from unfolded(f"{layer} (inside)", inner, depth + 1)


def leaks(layers, secrets):
    found = []
    for layer, content in (part for l, c in layers for part in unfolded(l, c)):
        for name, secret in secrets:
            if any(form in content for form in forms(secret)):
                found.append((layer, name))
    return found


def allowed(layer, name):
    return any(re.search(l, layer) and re.search(s, name) for l, s, _ in ALLOWED)


def environment(pids):
    """What the processes of the application were given. Each rewrites its title, over the beginning
    of its environment: together they have all of it."""
    found = {}
    for pid in pids:
        with open(f"/proc/{pid}/environ", "rb") as f:
            found.update(e.split(b"=", 1) for e in f.read().split(b"\0") if b"=" in e)
    return found


SECRET_VARIABLES = ["DB_PASS", "REDIS_PASSWORD", "SECRET_KEY_BASE", "SWIFT_PASSWORD",
                    "VAPID_PRIVATE_KEY", "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY",
                    "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY",
                    "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT"]


def gather_secrets(t, pids):
    env = environment(pids)
    secrets = [(name, env[name.encode()]) for name in SECRET_VARIABLES]
    # The host forgets K after its hello, so it comes from the script that brought it.
    for path in glob.glob(f"{t.pocket.dir}/servers/*/user_data"):
        with open(path) as f:
            k = re.search(r'"k": ?"([0-9a-f]{64})"', f.read()).group(1)
        secrets.append((f"boot k {k[:4]}", bytes.fromhex(k)))
    with open(f"{t.dir}/passphrase") as f:
        secrets.append(("passphrase", f.read().strip().encode()))
    with open(f"{t.dir}/recovery") as f:
        secrets.append(("recovery key", f.read().strip().encode()))
    with open(t.pocket.clouds) as f:
        for i, password in enumerate(sorted(set(re.findall(r"^ +password: *(\S+)", f.read(), re.M)))):
            secrets.append((f"cloud password {i}", password.strip("'\"").encode()))
    check(len(secrets) >= 13, f"only {len(secrets)} secrets were gathered")
    return secrets


def gather_layers(t, outputs):
    layers = list(outputs)
    for kind, name, body in t.pocket.rows():
        layers.append((f"row {kind} {name}", json.dumps(body).encode()))
        for key in ("user_data", "OS-EXT-SRV-ATTR:user_data"):
            if body.get(key):
                layers.append((f"user_data of {name}", base64.b64decode(body[key])))
    for folder, _, files in os.walk(t.pocket.dir):
        inside = os.path.relpath(folder, t.pocket.dir)
        on_server = re.match(r"servers/[^/]+/root(/|$)", inside + "/")
        if on_server and "var/log" not in inside:
            continue  # a server's own disk is where its secrets belong; its logs are not
        for name in files:
            path = os.path.join(folder, name)
            if path == t.pocket.clouds or not os.path.isfile(path) or re.match(r"volumes/", inside):
                continue
            with open(path, "rb") as f:
                layers.append((f"pocket file {os.path.join(inside, name)}", f.read()))
    for path in glob.glob(f"{t.dir}/cache/**", recursive=True) + glob.glob(f"{t.dir}/config/**", recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as f:
                layers.append((f"file {os.path.relpath(path, t.dir)}", f.read()))
    with open(t.pocket.dir + ".out", "rb") as f:
        layers.append(("pocket's output", f.read()))
    return layers


class CommandLines(threading.Thread):
    """Every command line that this machine shows while it runs: what `ps` would tell a stranger."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.over = set(), False
        self.start()

    def run(self):
        while not self.over:
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as f:
                        self.seen.add(f.read())
                except OSError:
                    pass  # it has ended

    def end(self):
        self.over = True
        self.join()
        return [("ps", line) for line in sorted(self.seen)]


def check_modes(t):
    """What holds secrets on a server's own disk is for its owner alone."""
    found = 0
    for pattern in ("etc/atoll/boot.json", "var/lib/atoll/host.key", "var/lib/atoll/bundle*",
                    "var/lib/atoll-services/*/*.conf", "../user_data", "../console.log"):
        for path in glob.glob(f"{t.pocket.dir}/servers/*/root/{pattern}"):
            found += 1
            check(os.stat(path).st_mode & 0o077 == 0, f"others may read {path}")
    check(found >= 8, f"only {found} files with secrets were found on the servers")


def test_no_secret_outside_its_place(t):
    t.start_pocket()
    t.island()
    outputs, command_lines = [], CommandLines()
    for argv in (["plan", "-v"], ["plan", "--json"], ["apply", "-v", "-y", "--package",
                                                      f"{BUILD}/atoll.deb"],
                 ["status", "-v"], ["media", "check", "-v"], ["media", "check", "--settings"],
                 ["plan", "--json", "--destroy", "--data"], ["key", "check", "-v"]):
        result = t.atoll(*argv)
        outputs.append((f"output of {' '.join(argv[:2])}", (result.out + result.err).encode()))
    ready = t.ready()
    outputs.append(("/ready", json.dumps(ready).encode()))
    secrets = gather_secrets(t, [ready[p] for p in ("puma_pid", "puma_master_pid",
                                                            "worker_pid")])
    layers = gather_layers(t, outputs) + command_lines.end()
    check_modes(t)

    # The search itself works: a planted secret is found in each form.
    planted = b"planted-Secret/with+odd=bytes&\x01\x02"
    for i, form in enumerate([planted, planted.hex().encode(), urllib.parse.quote(planted, safe="").encode(),
                              base64.b64encode(b"x" + planted + b"yy"),
                              base64.b64encode(b"xx" + planted), base64.urlsafe_b64encode(planted)]):
        check(leaks([("planted", b"before " + form + b" after")], [("planted", planted)]),
              f"the search does not find form {i} of a planted secret")
    wrapped = b'{"signed":"' + base64.b64encode(b'{"sealed":{"body":"' + base64.b64encode(
        b'{"db_password":"' + planted.hex().encode() + b'"}') + b'"}}') + b'"}'
    check(leaks([("planted", wrapped)], [("planted", planted)]),
          "the search does not look inside a bundle")
    check(any(b"dpkg-deb" in line or b"apply" in line for _, line in command_lines.end()),
          "the command lines of the run were not seen")
    check(any(l.startswith("user_data of") for l, _ in layers), "user_data was not looked at")
    check(any("pocket.db" in l for l, _ in layers), "pocket's database was not looked at")

    bad = [(l, n) for l, n in leaks(layers, secrets) if not allowed(l, n)]
    equal(bad, [], "secrets found outside their place")
    print(f"# {len(layers)} layers searched for {len(secrets)} secrets")


main()
