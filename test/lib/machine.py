"""Real machines for the tests: Debian with systemd as PID 1 and cloud-init, booted by systemd-nspawn
from nothing but its user_data, as Nova boots a server.

    from machine import Machine
    machine = Machine(t, "reef-web-0", user_data)    # Skipped, with the reason, where it can't be
    machine.boot(); machine.run("systemctl", "is-active", "atoll-host"); machine.reboot()

The test, its pocket and its machines share a network namespace that is theirs: pocket's 127.x
addresses are the same inside and outside of a machine, what a machine does to addresses and packet
filters ends with the test, and the way out to Debian's packages is slirp4netns. (A proxy on this
machine's own loopback is out of reach there.) podman runs with --cgroups=disabled --network=host. A
machine's volumes are loop devices on sparse files, blank at first.
Of its disk, files may be put into
`upper` while it is off.

The root folder is made once, with debootstrap and apt from where this machine has its packages
(75 s), and kept in $XDG_CACHE_HOME/atoll/machine (760 MB) until what it is made from changes. Each
machine has an overlay over it, which costs nothing to make (a copy takes 2 s); /var/lib/containers is
a plain folder, since podman can't put its overlays over another one.

Everything ends with the test, however that ends: nspawn is the first process of a PID namespace that
dies with us, and mounts are in a mount namespace of its own. What a killed run leaves (folders,
control groups) is removed by the next one, when nobody holds its lock any more.
"""
import ctypes
import fcntl
import hashlib
import itertools
import os
import platform
import re
import shutil
import subprocess
import time
import urllib.request

from harness import BUILD, PATH, Failed, Result, Skipped, check, die_with_parent, until

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "atoll", "machine")
# What a cloud's image has, what atoll is linked with, and what the roles run.
BASE = "systemd systemd-sysv dbus ca-certificates"
PACKAGES = """cloud-init curl e2fsprogs mount procps iproute2 python3 nftables podman postgresql
    redis-server nginx-light ruby puma ruby-sidekiq ruby-fog-openstack ruby-pg ruby-redis ruby-rack
    bundler unattended-upgrades"""
# A machine starts nothing by itself: what runs is what atoll starts. Timers would fetch packages.
IDLE = """postgresql redis-server nginx podman.service podman.socket podman-auto-update.service
    podman-auto-update.timer podman-restart apt-daily.timer apt-daily-upgrade.timer"""
# The host's interfaces are not cloud-init's to rename.
CLOUD_CFG = """\
datasource_list: [NoCloud, None]
network: {config: disabled}
locale: C.UTF-8
"""
RECIPE = 1  # another number makes the root anew
REBOOTED = 133  # systemd-nspawn(1), --keep-unit
CGROUPS = "/sys/fs/cgroup"
# Arguments: the root below, the machine's folder, its name, the host's name, more options.
NSPAWN = """\
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" || exit 1
root=$1 dir=$2 name=$3 host=$4
shift 4
exec systemd-nspawn --quiet --boot --directory="$dir/root" --machine="$name" --hostname="$host" \
    --register=no --keep-unit --resolv-conf=off --console=pipe \
    --bind="$dir/containers:/var/lib/containers" \
    --capability=all --drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE \
    --system-call-filter="@keyring bpf @mount" "$@"
"""
CLONE_NEWNET = 0x40000000  # unshare(2)
NAMESERVER = "nameserver 10.0.2.3\n"  # slirp4netns'
numbers = itertools.count()
gateway = None


def release():
    with open("/etc/os-release") as f:
        return dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', f.read(), re.M))


def own_groups():
    """Where systemd keeps its processes: the one hierarchy, or its own of the old ones."""
    if os.path.exists(f"{CGROUPS}/cgroup.controllers"):
        return [CGROUPS]
    return [g for g in (f"{CGROUPS}/systemd", f"{CGROUPS}/unified")
            if os.path.exists(f"{g}/cgroup.procs")]


def why_not():
    """Why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "booting machines needs root"
    if release().get("ID") != "debian":
        return "machines are made from this system's packages, and this is not Debian"
    for program in ("debootstrap", "systemd-nspawn", "slirp4netns", "unshare", "nsenter"):
        if not shutil.which(program, path=PATH):
            return f"{program} is not installed (scripts/deps test)"
    groups = own_groups()
    if not groups or not all(os.access(g, os.W_OK) for g in groups) or "ro," in mount_of(groups[0]):
        return f"{CGROUPS} is not there to be written"
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"],
                           env={"PATH": PATH}, capture_output=True, text=True)
    if probe.returncode != 0:
        return "this machine makes no namespaces: " + probe.stderr.strip()
    with open("/proc/filesystems") as f:
        if "\toverlay\n" not in f.read():
            return "this kernel has no overlayfs"
    for device, what in (("/dev/loop-control", "volumes"), ("/dev/net/tun", "the network")):
        if not os.path.exists(device):
            return f"{device} is not there, for {what}"
    return None


def mount_of(path):
    """The options of the mount at `path`, with a comma at the end."""
    with open("/proc/mounts") as f:
        return next((line.split()[3] + "," for line in f if line.split()[1] == path), "")


# --- locks and leavings ---

def lock(path, how):
    """The open lock file, or None if another process holds it."""
    f = open(path, "a")
    try:
        fcntl.flock(f, how)
        return f
    except BlockingIOError:
        f.close()
        return None


def remove_groups(name):
    """True when they are gone; what still ends in them keeps them."""
    for group in own_groups():
        for folder, _, _ in os.walk(f"{group}/{name}", topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
    return True


def remove_machine(folder):
    name = os.path.basename(folder)
    until(f"nothing runs in {name}", 20, lambda: remove_groups(name))
    for device in attached(f"{folder}/volumes"):
        subprocess.run(["losetup", "--detach", device], env={"PATH": PATH}, check=False)
    shutil.rmtree(f"/run/systemd/nspawn/propagate/{name}", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def attached(folder):
    """The loop devices on the files of a folder."""
    rows = subprocess.run(["losetup", "--noheadings", "--raw", "--list", "--output", "NAME,BACK-FILE"],
                          capture_output=True, text=True, env={"PATH": PATH}).stdout
    return [r.split()[0] for r in rows.splitlines() if r.split()[1:2] and
            os.path.dirname(r.split()[1]) == folder]


def remove_stale():
    """What runs that were killed left. Called with the cache's lock held."""
    for name in os.listdir(CACHE):
        path = f"{CACHE}/{name}"
        if name.startswith("root-") and name.endswith(".new"):
            shutil.rmtree(path)  # who made it held the lock that we have
        elif name.startswith("atoll-") and os.path.isdir(path):
            held = lock(f"{path}/lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            if held:
                try:
                    remove_machine(path)
                except Failed:
                    pass  # something of it has not ended yet: the next run's turn
                held.close()


# --- the root folder ---

def sources(codename):
    """The lines of sources.list that this machine has for its own Debian, whatever its files look
    like, and the first of them as debootstrap wants it."""
    rows = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)|$(CODENAME)|$(COMPONENT)|$(ORIGIN)",
         "Identifier: Packages"], capture_output=True, text=True, env={"PATH": PATH}).stdout
    found, mirror = [], None
    for site, suite, name, component, origin in (r.split("|") for r in rows.splitlines()):
        # Before the first `apt-get update` a field that is not known yet stands there as it is.
        name = suite if name == "$(CODENAME)" else name
        if (component != "main" or origin not in ("Debian", "$(ORIGIN)") or
                not re.fullmatch(codename + "(-updates|-security)?", name)):
            continue
        mirror = mirror or (site if name == codename else None)
        found.append(f"deb {site} {suite} main\n")
    if not mirror:
        raise Skipped(f"apt here has no source of Debian {codename}")
    return "".join(dict.fromkeys(found)), mirror


def apt_settings():
    """How this machine fetches packages: proxies, and what it does not check."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True,
                          env={"PATH": PATH}).stdout
    for name in ("http", "https"):
        proxy = os.environ.get(f"{name}_proxy")
        if proxy:
            dump += f'Acquire::{name}::Proxy "{proxy}";\n'
    return dump


def run_in_namespaces(argv, log):
    """Its mounts and processes end with it, and it ends with us."""
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                           "--kill-child=SIGKILL", "--mount-proc", *argv],
                          stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                          preexec_fn=die_with_parent,
                          env={**{k: v for k, v in os.environ.items() if k.endswith("_proxy")},
                               "PATH": PATH, "LC_ALL": "C.UTF-8",
                               "DEBIAN_FRONTEND": "noninteractive"})
    if done.returncode != 0:
        log.seek(0)
        raise Failed(f"making the machines' root: {argv[0]}: {log.read()[-2000:].decode()}")


def put(root, path, text, mode=0o644):
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    with open(root + path, "w") as f:
        f.write(text)
    os.chmod(root + path, mode)


def libraries():
    """That atoll's own package depends on. (A sanitizer's would make a root of their own: apt fetches
    them when the machine boots.)"""
    depends = subprocess.run(["dpkg-deb", "--field", f"{BUILD}/atoll.deb", "Depends"],
                             capture_output=True, text=True, check=True, env={"PATH": PATH}).stdout
    names = {re.split(r"[ (|]", d.strip())[0] for d in depends.split(",")}
    return sorted(n for n in names if re.match(r"lib(?!asan|ubsan|lsan|gcc)", n))


def make_root(root, packages, codename):
    apt, mirror = sources(codename)
    try:
        urllib.request.urlopen(f"{mirror}/dists/{codename}/Release", timeout=30).close()
    except OSError as e:
        raise Skipped(f"Debian's packages are out of reach: {e}") from None
    print(f"# making the machines' root folder of Debian {codename}: a minute or two", flush=True)
    with open(f"{CACHE}/root.log", "w+b") as log:
        run_in_namespaces(["debootstrap", "--variant=minbase", "--include=" + BASE.replace(" ", ","),
                           codename, root, mirror], log)
        put(root, "/etc/apt/sources.list", apt)
        put(root, "/etc/apt/apt.conf.d/01host", apt_settings(), 0o600)
        put(root, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        put(root, "/etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n")
        run_in_namespaces(["chroot", root, "sh", "-c", f"""set -e
            mount -t proc proc /proc
            apt-get -q update
            apt-get -q -y install --no-install-recommends {' '.join(packages)}
            apt-get -q clean
            systemctl disable {' '.join(IDLE.split())}
            rm -f /usr/sbin/policy-rc.d"""], log)
    put(root, "/etc/cloud/cloud.cfg.d/99-machine.cfg", CLOUD_CFG)
    put(root, "/etc/machine-id", "")  # each machine gets its own, without a first boot's presets
    os.makedirs(root + "/var/log/journal", exist_ok=True)


def find_root():
    """The root folder, made if need be; called with the cache's lock held."""
    codename = release()["VERSION_CODENAME"]
    packages = sorted({*PACKAGES.split(), *libraries()})
    text = repr((RECIPE, codename, platform.machine(), BASE, packages, IDLE, CLOUD_CFG))
    root = f"{CACHE}/root-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not os.path.isdir(root):
        start = time.monotonic()
        make_root(root + ".new", packages, codename)
        open(root + ".lock", "a").close()
        os.rename(root + ".new", root)
        print(f"# the root folder took {time.monotonic() - start:.0f} s", flush=True)
    return root


def remove_old_roots():
    """Those that no test has used for a week; another checkout may have a recipe of its own. A machine
    holds the lock of its root."""
    for name in os.listdir(CACHE):
        path = f"{CACHE}/{name}"
        if (re.fullmatch("root-[0-9a-f]{12}", name) and
                time.time() - os.path.getmtime(path + ".lock") > 7 * 86400):
            held = lock(path + ".lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            if held:
                shutil.rmtree(path, ignore_errors=True)
                os.unlink(path + ".lock")
                held.close()


# --- machines ---

def enter_network():
    """From here on this process and what it starts are in a network namespace of their own."""
    global gateway
    if gateway:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    host = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise Skipped(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, env={"PATH": PATH})

    def in_host_network():
        die_with_parent()
        libc.setns(host, CLONE_NEWNET)

    ready, write = os.pipe()
    gateway = subprocess.Popen(
        ["slirp4netns", "--configure", "--mtu=65520", f"--ready-fd={write}", str(os.getpid()), "tap0"],
        preexec_fn=in_host_network, pass_fds=[write], env={"PATH": PATH}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    check(os.read(ready, 1) == b"1", "slirp4netns did not start")
    os.close(ready)
    os.close(host)


def prepare():
    """Makes the root folder if it is not there, and enters the machines' network: before pocket is
    started. Returns the folder and the lock that keeps it. Skipped, where no machine can be booted."""
    reason = why_not()
    if reason:
        raise Skipped(reason)
    os.makedirs(CACHE, mode=0o700, exist_ok=True)
    with lock(f"{CACHE}/lock", fcntl.LOCK_EX):
        remove_stale()
        root = find_root()
        kept = lock(root + ".lock", fcntl.LOCK_SH)
        os.utime(root + ".lock")
        remove_old_roots()
    enter_network()
    return root, kept


class Machine:
    def __init__(self, test, name, user_data, volumes=()):
        """A machine that is off. `user_data` (bytes) is given to it unchanged; `volumes` are Cinder's
        (id, size in GB)."""
        self.hostname, self.process, self.leader, self.volumes = name, None, None, []
        self.root, self.root_lock = prepare()
        self.name = f"atoll-{os.getpid()}-{next(numbers)}"
        self.dir = f"{CACHE}/{self.name}"
        with lock(f"{CACHE}/lock", fcntl.LOCK_EX):
            os.makedirs(self.dir)
            self.lock = lock(f"{self.dir}/lock", fcntl.LOCK_EX)
        self.upper = f"{self.dir}/upper"
        for folder in ("upper", "work", "root", "containers", "volumes"):
            os.mkdir(f"{self.dir}/{folder}", 0o755)
        put(self.dir, "/console.log", "", 0o600)
        put(self.upper, "/etc/resolv.conf", NAMESERVER)
        seed = "/var/lib/cloud/seed/nocloud"
        put(self.upper, f"{seed}/meta-data", f"instance-id: {self.name}\nlocal-hostname: {name}\n")
        with open(f"{self.upper}{seed}/user-data", "wb") as f:
            os.chmod(f.name, 0o600)
            f.write(user_data)
        test.processes.append(self)
        for volume, size_gb in volumes:
            self._attach(volume, size_gb)

    def _attach(self, volume, size_gb):
        path = f"{self.dir}/volumes/{volume}"
        with open(path, "w") as f:
            f.truncate(size_gb << 30)
        done = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True,
                              env={"PATH": PATH})
        check(done.returncode == 0, f"no loop device: {done.stderr}")
        # udev's name of a virtio disk: the first 20 characters of the volume's id.
        self.volumes.append(f"--bind={done.stdout.strip()}:/dev/disk/by-id/virtio-{volume[:20]}")

    def attach(self, volume, size_gb):
        """While it is on."""
        self._attach(volume, size_gb)
        device, path = self.volumes[-1].removeprefix("--bind=").split(":")
        number = os.stat(device).st_rdev
        self.run("mkdir", "-p", os.path.dirname(path))
        self.run("mknod", path, "b", str(os.major(number)), str(os.minor(number)))

    # What the harness ends: as a Popen.
    def poll(self):
        return None if self.process or os.path.isdir(self.dir) else 0

    def terminate(self):
        self.power_off_hard()
        remove_machine(self.dir)
        self.lock.close()
        self.root_lock.close()

    def wait(self, timeout=None):
        return 0

    def _enter_groups(self):
        die_with_parent()
        for group in own_groups():
            os.makedirs(f"{group}/{self.name}", exist_ok=True)
            with open(f"{group}/{self.name}/cgroup.procs", "w") as f:
                f.write("0")

    def _start(self):
        with open(f"{self.dir}/console.log", "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                 "--kill-child=SIGKILL", "--mount-proc", "sh", "-c", NSPAWN, "nspawn",
                 self.root, self.dir, self.name, self.hostname, *self.volumes],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                # As Debian boots: one hierarchy, also where the host has the old ones.
                env={"PATH": PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                preexec_fn=self._enter_groups)
        self.leader = until(f"{self.name} has a first process", 20, self._find_leader)
        until(f"systemd of {self.name} answers", 30, lambda: self.run(
            "systemctl", "is-system-running", code=None).out.strip() in
            ("initializing", "starting", "running", "degraded"))

    def _find_leader(self):
        """systemd, the child of nspawn, which is the child of unshare. Its root is the machine's by
        then: before, entering it would run the host's programs."""
        self._check_lives()
        pids = [self.process.pid]
        try:
            for _ in range(2):
                with open(f"/proc/{pids[0]}/task/{pids[0]}/children") as f:
                    pids = [int(p) for p in f.read().split()] or [0]
            with open(f"/proc/{pids[0]}/comm") as f:
                return pids[0] if f.read() == "systemd\n" else None
        except OSError:
            return None  # not there yet

    def _check_lives(self):
        code = self.process.poll() if self.process else "nothing"
        if code is not None:
            raise Failed(f"{self.name} is not on (exit {code}): {self.evidence()}")

    def boot(self):
        """On; systemd answers. What user_data does is still going on."""
        check(not self.process, f"{self.name} is on")
        self._start()

    def run(self, *argv, code=0, timeout=60, text=None):
        """A program inside, as root: a Result of the harness."""
        self._check_lives()
        try:
            done = subprocess.run(
                ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", "-r", "-w", *argv],
                input=text, stdin=None if text is not None else subprocess.DEVNULL,
                capture_output=True, text=True, timeout=timeout, errors="replace",
                env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", "TERM": "dumb"})
        except subprocess.TimeoutExpired:
            raise Failed(f"{argv} did not end in {timeout} s\n{self.evidence()}") from None
        result = Result(done.returncode, done.stdout, done.stderr)
        if code is not None and result.code != code:
            raise Failed(f"{' '.join(argv)} in {self.name}: wanted exit {code}, {result}")
        return result

    def _ended(self, seconds):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} is still on after {seconds} s\n{self.evidence()}") from None
        self.process = self.leader = None
        return code

    def reboot(self, seconds=90):
        """From inside, in order: everything is stopped, PID 1 ends, and the same disk is booted."""
        self.run("systemctl", "reboot", code=None)
        code = self._ended(seconds)
        if code != REBOOTED:
            raise Failed(f"{self.name} did not reboot (exit {code}): {self.evidence()}")
        self._start()

    def stop(self, seconds=90):
        """Switched off in order."""
        self.run("systemctl", "poweroff", code=None)
        code = self._ended(seconds)
        check(code == 0, f"{self.name} ended with {code}: {self.evidence()}")

    def power_off_hard(self):
        """A power cut for every process of it (what was written to files is kept)."""
        if self.process:
            self.process.kill()
            self._ended(10)

    def evidence(self, lines=60):
        """The console's end and the journal's, for a failed test."""
        with open(f"{self.dir}/console.log", errors="replace") as f:
            console = f.read()[-2000:]
        journal = subprocess.run(
            ["journalctl", "--directory", f"{self.upper}/var/log/journal", "--no-pager", "--quiet",
             "--lines", str(lines), "--output", "short-monotonic"],
            capture_output=True, text=True, errors="replace", env={"PATH": PATH}).stdout
        return f"--- console\n{console}\n--- journal\n{journal}"
