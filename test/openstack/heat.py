"""`atoll scale --heat` on real Heat, as Debian has it: of four servers a chosen one, and only it, goes when
its job is done; then the group grows; an update that fails, and one behind whose back a server is
deleted, are said so and gone on from. For both kinds of groups.

Nova's driver starts nothing, so what the servers' Sidekiqs would write into Redis, which is a real one, a
thread of the test writes.
"""
import socket
import threading

from real import *
from tier import QUICK, Scaler

LOOK = 0.5  # seconds from one beat to the next
NAME = "Pool_a"  # no host name, nor are its servers' names
SERVER = {"type": "OS::Nova::Server", "properties": {
    "image": "debian-12", "flavor": "c1.c1r1", "user_data_format": "RAW",
    "networks": [{"allocate_network": "none"}]}}
WORKER = {"heat_template_version": "2018-08-31", "resources": {"server": SERVER}}
SIZE = {"get_param": "size"}
# Of one kind the members are servers, of the other stacks with a server in each.
GROUPS = {
    "OS::Heat::ResourceGroup": {"count": SIZE, "resource_def": SERVER,
                                "removal_policies": [{"resource_list": {"get_param": "victims"}}]},
    "OS::Heat::AutoScalingGroup": {"min_size": SIZE, "max_size": SIZE, "desired_capacity": SIZE,
                                   "resource": {"type": "worker.yaml"}},
}


class Stacks(Real):
    """The cloud, and no stack on it before a test and after it."""

    def stacks(self):
        return self.listing("real", "orchestration", "/stacks", "stacks")

    def sweep(self):
        for s in self.stacks():
            self.api("real").call("orchestration", "DELETE", f"/stacks/{s['stack_name']}/{s['id']}")
        until("stacks are gone", 120, lambda: not self.stacks())
        super().sweep()

    def stop(self):
        self.sweep()

    def servers(self):
        return {s["id"]: s for s in self.listing("real", "compute", "/servers/detail", "servers")}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Redis:
    def __init__(self, port):
        self.port = port
        until("Redis answers", 20, self.open)

    def open(self):
        try:
            self.file = socket.create_connection(("127.0.0.1", self.port), 10).makefile("rwb")
            return self("PING") == "PONG"
        except OSError:
            return False

    def __call__(self, *words):
        words = [str(w).encode() for w in words]
        self.file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self.file.flush()
        line = self.file.readline().decode().rstrip()
        check(line[:1] in "+:$", f"Redis: {line}")
        if line[0] != "$" or line == "$-1":
            return None if line == "$-1" else line[1:]
        return self.file.read(int(line[1:]) + 2)[:-2].decode()


class Sidekiqs:
    """One on each server that is ACTIVE. `busy` has how many jobs one is at; idle ones are at none."""

    def __init__(self, cloud, redis):
        self.cloud, self.redis, self.busy, self.quiet, self.error = cloud, redis, {}, set(), None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.error and not self.ended.wait(LOOK):
            try:
                for s in self.cloud.servers().values():
                    if s["status"] == "ACTIVE":
                        self.beat(s["name"])
            except Exception as e:  # told by stop()
                self.error = e

    def beat(self, server):
        host = server.lower().replace("_", "-")
        identity = f"{host}:10:abc"
        if self.redis("RPOP", f"{identity}-signals") == "TSTP":
            self.quiet.add(server)
        self.redis("SADD", "processes", identity)
        self.redis("HSET", identity, "busy", self.busy.get(server, 0), "beat", f"{time.time():.3f}",
                   "quiet", "true" if server in self.quiet else "false", "rss", 1, "info",
                   json.dumps({"hostname": host, "concurrency": 5, "queues": ["default"]}))
        self.redis("EXPIRE", identity, 60)

    def stop(self):
        self.ended.set()
        self.thread.join()
        check(not self.error, f"the Sidekiqs ended: {self.error!r}")


class Scene:
    """A stack of four servers, each at three jobs, but the one that is to be chosen, which is at one: not
    the one that Heat would take by itself, the oldest or the highest."""

    def __init__(self, t, kind):
        t.pocket = self.cloud = Stacks(f"{t.dir}/cloud", hypervisor=False)
        self.t, self.api = t, self.cloud.api("real")
        self.began = time.monotonic()
        template = {"heat_template_version": "2018-08-31", "parameters": {
            "size": {"type": "number", "default": 4},
            "victims": {"type": "comma_delimited_list", "default": []}},
            "resources": {"pool": {"type": kind, "properties": GROUPS[kind]}}}
        self.api.call("orchestration", "POST", "/stacks", {
            "stack_name": NAME, "template": template, "files": {"worker.yaml": json.dumps(WORKER)}})
        port = free_port()
        t.processes.append(subprocess.Popen(
            ["/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""],
            cwd=t.dir, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent))
        self.redis = Redis(port)
        until("the stack", 120, lambda: self.stack()["stack_status"] == "CREATE_COMPLETE")
        self.said("a stack of four")
        self.first = {i: s["name"] for i, s in self.cloud.servers().items()}
        equal(len(self.first), 4, "servers")
        self.victim = self.members()[1]
        self.sidekiqs = Sidekiqs(self.cloud, Redis(port))
        self.sidekiqs.busy.update({n: 1 if i == self.victim else 3 for i, n in self.first.items()})

    def said(self, words):
        print(f"# {words}: {time.monotonic() - self.began:.1f} s", flush=True)
        self.began = time.monotonic()

    def stack(self):
        return self.api.call("orchestration", "GET", f"/stacks?name={NAME}")[2]["stacks"][0]

    def members(self):
        """Ids of the servers, in the order in which Heat would take members: the oldest first."""
        path = f"/stacks/{NAME}/{self.stack()['id']}/resources?nested_depth=2"
        resources = self.api.call("orchestration", "GET", path)[2]["resources"]
        members = sorted((m["creation_time"], m["resource_name"]) for m in resources
                         if m.get("parent_resource") == "pool")
        return [r["physical_resource_id"] for _, name in members for r in resources
                if r["resource_type"] == SERVER["type"] and name in (r["resource_name"], r["parent_resource"])]

    def scaler(self, **bounds):
        self.t.write("scale.json", json.dumps({**QUICK, "threads": 5, "queues": {"default": {"slo": 30}}, **bounds}))
        return Scaler(self.t, "--heat", NAME, "--cloud", "real", "--redis", f"127.0.0.1:{self.redis.port}")

    def jobs(self, n):
        self.redis("SADD", "queues", "default")
        self.redis("DEL", "queue:default")
        if n:
            self.redis("LPUSH", "queue:default", *([f'{{"class":"A","enqueued_at":{time.time()}}}'] * n))

    def until(self, scaler, what, seconds, function):
        try:
            return until(what, seconds, function)
        except Failed as e:
            raise Failed(f"{e}; there are {[s['name'] for s in self.cloud.servers().values()]}, "
                         f"{self.stack()}\n{scaler.text()}")

    def settled(self, scaler, active, seconds=90):
        def is_so():
            pool = (scaler.lines()[-1:] or [{"inputs": {"pool": {}}}])[0]["inputs"]["pool"]
            return pool.get("active") == active and not pool["booting"] and not pool["draining"] and \
                not self.stack()["stack_status"].endswith("IN_PROGRESS")
        self.until(scaler, f"{active} servers that take jobs", seconds, is_so)


def the_chosen_one_goes(scene):
    """It has a job, which is waited for; and no other server is touched, then or later."""
    scaler = scene.scaler(min=3, max=5)
    chosen, host = scene.first[scene.victim], scene.first[scene.victim].lower().replace("_", "-")
    scene.until(scaler, "one is told to finish", 60, lambda: scaler.did("is told to finish"))
    equal(scaler.did("is told to finish"), [f"{host} is told to finish: 1 jobs at work"], "who goes")
    scene.until(scaler, "it is quiet", 30, lambda: chosen in scene.sidekiqs.quiet)
    beats = len(scaler.lines())
    scene.until(scaler, "looks while it is at its job", 30, lambda: len(scaler.lines()) > beats + 4)
    equal(len(scene.cloud.servers()), 4, "servers while it is at its job")
    scene.sidekiqs.busy[chosen] = 0
    scene.until(scaler, "it is gone", 90, lambda: scene.victim not in scene.cloud.servers())
    scene.settled(scaler, 3)
    equal(set(scene.cloud.servers()), set(scene.first) - {scene.victim}, "who stays")
    equal(scaler.did("goes"), [f"{host} has finished and goes"], "what was done")
    equal(scene.stack()["stack_status"], "UPDATE_COMPLETE", "the stack")
    scene.said("the chosen one is gone, and only it")
    return scaler


def grows(scene, scaler, size):
    """Those that boot count: it is asked once, and no more come than were wanted."""
    there = set(scene.cloud.servers())
    scene.jobs(300)
    scene.settled(scaler, size)
    now = set(scene.cloud.servers())
    check(there < now and len(now) == size, f"{there} became {now}")
    equal(scaler.did("more to be made"), ["2 more to be made"], "what was asked for")
    check(any(line["inputs"]["pool"]["booting"] for line in scaler.lines()), "none was seen to boot")
    check("warning" not in scaler.text(), scaler.text())
    scene.said(f"{len(there)} became {size}")


def test_a_resource_group(t):
    scene = Scene(t, "OS::Heat::ResourceGroup")
    scaler = the_chosen_one_goes(scene)
    grows(scene, scaler, 5)
    scaler.stop()
    fails_and_goes_on(scene)
    scene.sidekiqs.stop()


def test_an_autoscaling_group(t):
    scene = Scene(t, "OS::Heat::AutoScalingGroup")
    scaler = the_chosen_one_goes(scene)
    grows(scene, scaler, 5)
    scaler.stop()
    scene.sidekiqs.stop()


def instances(scene, n):
    scene.cloud.api("real-admin").call("compute", "PUT", f"/os-quota-sets/{scene.api.project_id}",
                                       {"quota_set": {"instances": n, "force": True}})


def fails_and_goes_on(scene):
    """A quota lets one server less be than are wanted; then one that stays is deleted in the middle of an
    update."""
    there = set(scene.cloud.servers())
    instances(scene, 5)
    scaler = scene.scaler(min=6, max=6)
    scene.until(scaler, "the update fails", 60, lambda: "UPDATE_FAILED" in scaler.text())
    check("Quota exceeded" in scaler.text() and f"stack {NAME}" in scaler.text(), scaler.text())
    equal(set(scene.cloud.servers()), there, "servers after an update that failed")
    instances(scene, 10)
    scene.until(scaler, "it is tried again", 60, lambda: scene.stack()["stack_status"] == "UPDATE_IN_PROGRESS")
    lost, name = next((i, s["name"]) for i, s in scene.cloud.servers().items() if i in there)
    scene.api.call("compute", "DELETE", f"/servers/{lost}")
    scene.until(scaler, "its loss is said", 60, lambda: f"{name} is gone, and was to stay" in scaler.text())
    scene.said("an update that fails, and one that loses a server")
    scene.settled(scaler, 6)
    now = set(scene.cloud.servers())
    check(there - {lost} < now and len(now) == 6, f"{there} became {now}")
    scene.said("and all are there")
    scaler.stop()


main()
