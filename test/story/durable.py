"""What pocket has answered 2xx lasts, whole, through kill -9; what it has not leaves nothing behind;
and a body of any size needs the memory of one part of it."""
import hashlib
import http.client
import os
import random
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *

SEED = int(os.environ.get("DURABLE_SEED", "20261124"))
ROUNDS = 6
WITHOUT_LIMIT = -1


class Connection:
    """Requests of one login on one kept connection; an answer is (status, headers, body)."""

    def __init__(self, api, service):
        url = urllib.parse.urlparse(api.endpoints[service])
        self.path, self.token = url.path, api.token
        self.http = http.client.HTTPConnection(url.hostname, url.port, timeout=60)

    def call(self, method, path, body=None, **headers):
        headers["X-Auth-Token"] = self.token
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        self.http.request(method, self.path + path, body, headers)
        answer = self.http.getresponse()
        return answer.status, answer.headers, answer.read()


class Writer(threading.Thread):
    """Writes things of one kind until pocket goes away. `kept` is what was answered 2xx, by name;
    `open` the one that was not answered: it may be there or not, but never half."""
    service, cloud = None, "pocket"

    def __init__(self, crash, number):
        super().__init__(name=f"{type(self).__name__} {number}", daemon=True)
        self.crash, self.number = crash, number
        self.random = random.Random(f"{SEED} {self.name}")
        self.count, self.kept, self.open, self.trouble = 0, {}, None, None

    def run(self):
        try:
            connection = Connection(self.crash.apis[self.cloud], self.service)
            while not self.crash.killed.is_set():
                self.count += 1
                self.write(connection)
                self.open = None
                self.crash.answered()
        except (OSError, http.client.HTTPException):
            if not self.crash.killed.is_set():
                self.trouble = traceback.format_exc()
        except Exception:  # shown by the test
            self.trouble = traceback.format_exc()

    def send(self, connection, method, path, body, wanted, **headers):
        status, _, text = connection.call(method, path, body, **headers)
        equal(status, wanted, f"{method} {path}: {text[:200]}")
        return text


class Objects(Writer):
    """New objects, overwritten ones and deleted ones, of 1 byte to 300 kB."""
    service = "object-store"

    def write(self, connection):
        name = f"{self.number}-{self.random.randrange(30)}"
        if name in self.kept and self.random.random() < 0.2:
            self.open = (name, None)
            self.send(connection, "DELETE", f"/box/{name}", None, 204)
            del self.kept[name]
            return
        body = self.random.randbytes(self.random.randrange(1, 300_000))
        md5 = hashlib.md5(body).hexdigest()
        self.open = (name, md5)
        self.send(connection, "PUT", f"/box/{name}", body, 201, ETag=md5)
        self.kept[name] = md5

    def verify(self, connection, listing):
        """Each name has its last answered content, or that of the call that was under way."""
        seen = 0
        for name in {f"{self.number}-{i}" for i in range(30)}:
            status, headers, body = connection.call("GET", f"/box/{name}")
            md5 = hashlib.md5(body).hexdigest() if status == 200 else None
            allowed = [self.kept.get(name)] + ([self.open[1]] if self.open and self.open[0] == name else [])
            check(md5 in allowed, f"{name}: {status} {md5}, allowed {allowed}")
            equal(listing.get(name), md5, f"the listing's hash of {name}")
            if md5:
                equal(headers["Etag"], md5, f"ETag of {name}")
                self.kept[name] = md5
                seen += 1
            else:
                self.kept.pop(name, None)
        return seen


class Rows(Writer):
    """Things with a name that one POST makes. `kept` has the answers, by id."""
    plural = singular = path = None
    status = 201

    def write(self, connection):
        self.open = f"{self.number}-{self.count}"
        text = self.send(connection, "POST", self.path, {self.singular: self.body(self.open)}, self.status)
        row = json.loads(text)[self.singular]
        self.kept[row["id"]] = row

    def verify(self, connection, _):
        for id_, row in self.kept.items():
            status, _, text = connection.call("GET", f"{self.path}/{id_}")
            equal(status, 200, f"{self.singular} {row['name']}")
            self.same(row, json.loads(text)[self.singular])
        return len(self.kept)

    def same(self, before, after):
        equal(after, before, self.singular)


class Ports(Rows):
    service, path, plural, singular = "network", "/v2.0/ports", "ports", "port"

    def body(self, name):
        return {"network_id": self.crash.network, "name": name, "description": name * 10}


class Volumes(Rows):
    service, path, plural, singular, status = "volumev3", "/volumes", "volumes", "volume", 202

    def body(self, name):
        return {"size": 1, "name": name, "metadata": {"for": name}}

    def same(self, before, after):
        check(os.path.isdir(f"{self.crash.pocket.dir}/volumes/{before['id']}"), "a volume's folder")
        for key in ("name", "size", "metadata", "created_at"):
            equal(after[key], before[key], f"volume {before['name']}: {key}")


class Users(Rows):
    service, path, plural, singular, cloud = "identity", "/users", "users", "user", "pocket-admin"

    def body(self, name):
        return {"name": name, "domain_id": "default", "password": f"password of {name}"}

    def login(self, name):
        return request("POST", self.crash.apis["pocket"].auth_url + "/auth/tokens", {"auth": {"identity": {
            "methods": ["password"], "password": {"user": {
                "name": name, "password": f"password of {name}", "domain": {"id": "default"}}}}}})[0]


class Crash:
    """One pocket, several writers, and the moment at which it is killed."""

    def __init__(self, t):
        self.pocket = t.start_pocket("--no-servers")
        self.apis = {cloud: Api(self.pocket, cloud) for cloud in ("pocket", "pocket-admin")}
        member, admin = self.apis["pocket"], self.apis["pocket-admin"]
        admin.call("network", "PUT", f"/v2.0/quotas/{member.project_id}", {"quota": {"port": WITHOUT_LIMIT}})
        admin.call("volumev3", "PUT", f"/os-quota-sets/{member.project_id}",
                   {"quota_set": {"volumes": WITHOUT_LIMIT, "gigabytes": WITHOUT_LIMIT}})
        _, _, answer = member.call("network", "POST", "/v2.0/networks", {"network": {"name": "net"}})
        self.network = answer["network"]["id"]
        member.call("network", "POST", "/v2.0/subnets", {"subnet": {
            "network_id": self.network, "ip_version": 4, "cidr": "10.8.0.0/16"}})
        member.call("object-store", "PUT", "/box")
        self.random, self.lock, self.killed = random.Random(SEED), threading.Lock(), threading.Event()

    def answered(self):
        """Called by each writer for each answer; the one that makes it `last` kills."""
        with self.lock:
            self.left -= 1
            last = self.left == 0
        if last:
            time.sleep(self.random.uniform(0, 0.01))  # the moment, not a wait for something
            self.killed.set()
            self.pocket.kill()

    def round(self, writers):
        self.left = self.random.randrange(20, 150)
        self.killed.clear()
        for w in writers:
            w.start()
        check(self.killed.wait(60), f"{self.left} answers missing: {[w.trouble for w in writers]}")
        for w in writers:
            w.join(60)
            check(not w.is_alive() and not w.trouble, f"{w.name}: {w.trouble}")
        self.pocket.process.wait(30)
        self.pocket.start()


def body_files(pocket):
    """What is on the disk for Swift: names below its folder, temporary ones too."""
    root = pocket.dir + "/swift"
    return [os.path.relpath(os.path.join(folder, f), root) for folder, _, files in os.walk(root)
            for f in files]


def verify(crash, writers):
    """Everything there, and nothing beside it."""
    member = crash.apis["pocket"]
    _, _, rows = member.call("object-store", "GET", "/box?format=json&limit=10000")
    listing = {r["name"]: r["hash"] for r in rows}
    counts = {}
    for w in writers:
        n = w.verify(Connection(crash.apis[w.cloud], w.service), listing)
        counts[type(w).__name__] = counts.get(type(w).__name__, 0) + n
    equal(len(listing), counts["Objects"], "objects in the listing")
    _, headers, _ = member.call("object-store", "HEAD", "")
    equal((int(headers["X-Account-Object-Count"]), int(headers["X-Account-Bytes-Used"])),
          (len(rows), sum(r["bytes"] for r in rows)), "what the account says")
    files = body_files(crash.pocket)
    equal([f for f in files if f.startswith("tmp/")], [], "temporary files")
    equal(len(files), len(rows), f"files for {len(rows)} objects")
    return counts


def verify_rows(crash, writers):
    """What was not answered, but is there, is whole too."""
    for w in writers:
        if not isinstance(w, Rows):
            continue
        _, _, answer = crash.apis[w.cloud].call(w.service, "GET", w.path)
        for row in answer[w.plural]:
            if row["id"] not in w.kept and row["name"].startswith(f"{w.number}-"):
                equal(row["name"], w.open, f"a {w.singular} that nobody asked for")
                w.kept[row["id"]] = json.loads(Connection(crash.apis[w.cloud], w.service).call(
                    "GET", f"{w.path}/{row['id']}")[2])[w.singular]
    ports = [p for _, _, p in crash.pocket.rows("port")]
    addresses = [ip["ip_address"] for p in ports for ip in p["fixed_ips"]]
    equal(len(set(addresses)), len(ports), "addresses of the ports")
    volumes = {v["id"] for _, _, v in crash.pocket.rows("volume")}
    equal(set(os.listdir(crash.pocket.dir + "/volumes")), volumes, "folders of volumes")


def test_kill_during_writes(t):
    crash = Crash(t)
    kinds = (Objects, Objects, Objects, Ports, Volumes, Users)
    made = [kind(crash, n) for n, kind in enumerate(kinds)]
    for turn in range(ROUNDS):
        crash.round(made)
        verify_rows(crash, made)
        counts = verify(crash, made)
        for w in made:
            if isinstance(w, Users):
                name = list(w.kept.values())[-1]["name"]
                equal(w.login(name), 201, f"login of {name}")
        print(f"# round {turn}: all there: {counts}", flush=True)
        made = [again(w) for w in made]


def again(old):
    """A writer that goes on where one stopped: a thread can't be started twice."""
    new = type(old)(old.crash, old.number)
    new.random, new.count, new.kept = old.random, old.count, old.kept
    return new


# ---- the order of calls

def trace(t, pocket):
    """strace on the running pocket; (process, file of its lines)"""
    lines = f"{t.dir}/trace"
    with open(f"{t.dir}/strace.err", "wb") as err:
        process = subprocess.Popen(
            ["/usr/bin/strace", "-f", "-y", "-s", "64", "-o", lines, "-e", "trace=fsync,fdatasync,rename,"
             "renameat,renameat2,write,writev,pwrite64,send,sendto,sendmsg,sendmmsg", "-p", str(pocket.process.pid)],
            stderr=err, preexec_fn=die_with_parent)
    t.processes.append(process)

    def attached():
        with open(err.name) as f:
            words = f.read()
        if process.poll() is not None:
            raise Skipped("strace may not look at a process here: " + words.strip().splitlines()[-1])
        return "attached" in words
    until("strace is attached", 20, attached)
    return process, lines


def calls(path):
    """thread -> its system calls in order, each on one line: strace splits those that overlap."""
    threads, parts = {}, {}
    with open(path, errors="replace") as f:
        for line in f:
            thread, text = line.split(None, 1)
            if text.rstrip().endswith("<unfinished ...>"):
                parts[thread] = text.rsplit("<unfinished ...>", 1)[0]
                continue
            resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", text)
            if resumed:
                text = parts.pop(thread) + resumed.group(1)
            threads.setdefault(thread, []).append(text.strip())
    return threads


def in_order(lines, patterns):
    """The first line of each pattern comes behind that of the pattern before."""
    at = -1
    for name, pattern in patterns:
        found = next((i for i, line in enumerate(lines) if i > at and re.search(pattern, line)), None)
        check(found is not None, f"no {name} ({pattern}) behind line {at} of:\n" + "\n".join(lines))
        at = found


def test_order_of_a_put(t):
    pocket = t.start_pocket("--no-servers")
    api = Api(pocket, "pocket")
    api.call("object-store", "PUT", "/box")
    strace, path = trace(t, pocket)
    api.call("object-store", "PUT", "/box/traced", os.urandom(200_000))
    api.call("network", "POST", "/v2.0/networks", {"network": {"name": "traced"}})
    api.call("volumev3", "POST", "/volumes", {"volume": {"name": "traced", "size": 1}})
    strace.terminate()
    strace.wait(20)
    pocket.process.poll()
    root = re.escape(os.path.realpath(pocket.dir))
    wal = ("sync of the database's log", rf"^f(data)?sync\(\d+<{root}/pocket\.db-wal>\) += 0")
    threads = calls(path).values()

    def answers(status, words):
        """Calls of the thread that sent this answer, up to it."""
        for lines in threads:
            for i, line in enumerate(lines):
                if f"HTTP/1.1 {status} " in line and any(words in x for x in lines[:i]):
                    return lines[:i + 1]
        raise Failed(f"no thread answered {status}:\n" + "\n".join("\n".join(x) for x in threads))

    in_order(answers(201, "swift/tmp/"), [
        ("write of the body", rf"^p?write(v|64)?\(\d+<{root}/swift/tmp/[^>]+>"),
        ("fsync of the body", rf"^fsync\(\d+<{root}/swift/tmp/[^>]+>\) += 0"),
        ("rename", rf"^rename\w*\(.*\"{root}/swift/tmp/[^\"]+\", .*\"{root}/swift/[0-9a-f]{{2}}/[^\"]+\".* = 0"),
        ("fsync of the folder", rf"^fsync\(\d+<{root}/swift/[0-9a-f]{{2}}>\) += 0"),
        wal,
        ("answer", r"HTTP/1\.1 201 ")])
    for status in (201, 202):
        in_order([x for x in answers(status, "pocket.db-wal") if "swift" not in x],
                 [wal, ("answer", rf"HTTP/1\.1 {status} ")])


# ---- what was not answered

def begin_put(api, name, size, **more):
    """A PUT of which only the head has been sent."""
    url = urllib.parse.urlparse(api.endpoints["object-store"])
    sock = socket.create_connection((url.hostname, url.port), 30)
    headers = {"Host": url.netloc, "X-Auth-Token": api.token, "Content-Length": size, **more}
    if size is None:
        del headers["Content-Length"]
    sock.sendall(f"PUT {url.path}/box/{name} HTTP/1.1\r\n".encode() +
                 "".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode() + b"\r\n")
    return sock


def temporary_bytes(pocket):
    folder = pocket.dir + "/swift/tmp"
    return sum(os.stat(f"{folder}/{n}").st_size for n in os.listdir(folder))


def is_as_before(pocket, api, objects):
    """`objects`: name -> content. Listing, counters and the folder have these and nothing else."""
    _, _, rows = api.call("object-store", "GET", "/box?format=json")
    equal({r["name"]: r["bytes"] for r in rows}, {n: len(b) for n, b in objects.items()}, "listing")
    total = sum(map(len, objects.values()))
    for path, kind in (("/box", "Container"), ("", "Account")):
        _, headers, _ = api.call("object-store", "HEAD", path)
        equal((int(headers[f"X-{kind}-Object-Count"]), int(headers[f"X-{kind}-Bytes-Used"])),
              (len(objects), total), kind)
    for name, body in objects.items():
        equal(api.call("object-store", "GET", f"/box/{name}")[2], body, name)
    equal(len(body_files(pocket)), len(objects), f"files: {body_files(pocket)}")


def cut(pocket, api, name, reset=False, chunked=False):
    """Half of a body, then the client is gone."""
    half = os.urandom(300_000)
    if chunked:
        sock = begin_put(api, name, None, **{"Transfer-Encoding": "chunked"})
        sock.sendall(b"%x\r\n" % len(half) + half + b"\r\n")
    else:
        sock = begin_put(api, name, 2 * len(half))
        sock.sendall(half)
    until("the half is on the disk", 10, lambda: temporary_bytes(pocket) == len(half))
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    until("its file is gone", 10, lambda: not os.listdir(pocket.dir + "/swift/tmp"))


def test_cut_and_wrong(t):
    pocket = t.start_pocket("--no-servers")
    api = Api(pocket, "pocket")
    api.call("object-store", "PUT", "/box")
    objects = {"old": b"the old content"}
    api.call("object-store", "PUT", "/box/old", objects["old"])
    for name in ("new", "old"):
        for more in ({}, {"reset": True}, {"chunked": True}):
            cut(pocket, api, name, **more)
            is_as_before(pocket, api, objects)
        for etag in ("0" * 32, "nonsense", hashlib.md5(b"another").hexdigest()):
            status, _, _ = api.call("object-store", "PUT", f"/box/{name}", os.urandom(100_000),
                                    {"ETag": etag}, ok=False)
            equal(status, 422, f"PUT with the ETag {etag}")
            is_as_before(pocket, api, objects)
    # A right ETag, with quotes and in capitals, is right.
    body = os.urandom(1000)
    api.call("object-store", "PUT", "/box/old", body, {"ETag": f'"{hashlib.md5(body).hexdigest().upper()}"'})
    objects["old"] = body
    is_as_before(pocket, api, objects)

    # A copy that is refused at its end holds nothing either.
    api.call("object-store", "PUT", "/box/source", b"x")
    status, _, _ = api.call("object-store", "PUT", "/box/old", b"", {
        "X-Copy-From": "/box/source", "If-None-Match": "*"}, ok=False)
    equal(status, 412, "a copy onto what is there")
    api.call("object-store", "DELETE", "/box/source")
    is_as_before(pocket, api, objects)

    # Pocket itself goes away in the middle: by kill -9, and by SIGTERM.
    for end in (pocket.kill, pocket.stop):
        socks = [begin_put(api, name, 600_000) for name in ("new", "old")]
        for sock in socks:
            sock.sendall(os.urandom(300_000))
        until("both halves are on the disk", 10, lambda: temporary_bytes(pocket) == 600_000)
        end()
        equal(pocket.process.returncode, -9 if end == pocket.kill else 0, "pocket's exit status")
        pocket.start()
        for sock in socks:
            sock.close()
        is_as_before(pocket, Api(pocket, "pocket"), objects)


# ---- two gigabytes

BLOCK = 1 << 20
BLOCKS = 2048


class Memory(threading.Thread):
    """The largest private memory of a process, and the largest use of its folder, while it runs."""

    def __init__(self, pocket):
        super().__init__(daemon=True)
        self.pocket, self.end = pocket, threading.Event()
        self.kilobytes = self.disk = self.samples = 0
        self.start()

    def run(self):
        while not self.end.wait(0.02):
            now = private_kb(self.pocket.process.pid)
            self.kilobytes, self.samples = max(self.kilobytes, now), self.samples + 1
            if self.samples % 10 == 0:
                self.disk = max(self.disk, disk_use(self.pocket))

    def stop(self):
        self.end.set()
        self.join()


def disk_use(pocket):
    blocks = {}  # by inode: a file renamed during the walk is met twice
    for folder, _, files in os.walk(pocket.dir + "/swift"):
        for f in files:
            try:
                found = os.lstat(os.path.join(folder, f))
                blocks[found.st_ino] = found.st_blocks
            except FileNotFoundError:
                pass  # renamed meanwhile
    return sum(blocks.values()) * 512


def put_blocks(api):
    """Sends blocks that differ, made as they go; their MD5 and the answer's ETag."""
    block, md5 = bytearray(os.urandom(BLOCK)), hashlib.md5()
    sock = begin_put(api, "big", BLOCK * BLOCKS)
    for i in range(BLOCKS):
        block[:8] = i.to_bytes(8, "big")
        md5.update(block)
        sock.sendall(block)
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    equal(answer.status, 201, f"PUT: {answer.read()}")
    sock.close()
    return md5.hexdigest(), answer.headers["Etag"]


def get_blocks(api):
    url = urllib.parse.urlparse(api.endpoints["object-store"])
    c = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    c.request("GET", url.path + "/box/big", headers={"X-Auth-Token": api.token})
    answer, md5, size = c.getresponse(), hashlib.md5(), 0
    buffer = memoryview(bytearray(BLOCK))
    while n := answer.readinto(buffer):
        md5.update(buffer[:n])
        size += n
    return size, md5.hexdigest()


def test_two_gigabytes(t):
    if shutil.disk_usage(t.dir).free < 3 * BLOCK * BLOCKS:
        raise Skipped("less than 6 GB are free on the disk")
    pocket = t.start_pocket("--no-servers")
    api = Api(pocket, "pocket")
    api.call("object-store", "PUT", "/box")
    memory, start = Memory(pocket), time.monotonic()
    sent, etag = put_blocks(api)
    middle = time.monotonic()
    size, got = get_blocks(api)
    end = time.monotonic()
    memory.stop()
    equal((size, got, etag), (BLOCK * BLOCKS, sent, sent), "what came back")
    use = disk_use(pocket)
    print(f"# 2 GB: PUT {middle - start:.1f} s, GET {end - middle:.1f} s, at most "
          f"{memory.kilobytes / 1024:.1f} MB private in {memory.samples} samples, "
          f"{memory.disk >> 20} MB of disk", flush=True)
    check(memory.samples > 20, "too few samples")
    check(max(use, memory.disk) < BLOCK * BLOCKS + (64 << 20), f"{memory.disk} bytes of disk")
    if not sanitized():  # the sanitizer's own memory is none of pocket's
        check(memory.kilobytes < 64 << 10, f"{memory.kilobytes} kB of private memory")
    api.call("object-store", "DELETE", "/box/big")
    equal(disk_use(pocket), 0, "bytes on the disk behind a DELETE")


main()
