"""Commands on servers and their logs, through the mailbox: what comes back, what is refused, what is
written down, and that nothing of it is a change of the island."""
import glob
import hashlib
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *


def up(t):
    t.start_pocket()
    t.island()
    t.apply()
    t.ready()


def hosts(t):
    """Pids of `atoll host` by server key, and their root folders."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                argv = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if len(argv) > 3 and argv[1:3] == ["host", "--root"] and argv[3].startswith(t.dir):
            with open(f"{argv[3]}/etc/atoll/boot.json") as f:
                found[json.load(f)["server"]] = (int(path.split("/")[2]), argv[3])
    return found


def below(folder):
    """The bytes of all files of a folder."""
    for base, _, names in os.walk(folder):
        for name in names:
            path = f"{base}/{name}"
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    yield path, f.read()


def test_commands(t):
    up(t)
    got = t.atoll("exec", "web", "--", "echo", "hello", "there")
    equal((got.out, got.err), ("hello there\n", ""), "echo")
    got = t.atoll("exec", "web.0", "--", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    equal((got.out, got.err), ("out\n", "err\n"), "both streams")
    t.atoll("exec", "web", "--", "sh", "-c", "kill -9 $$", code=128 + 9)
    # All of a large output, in its order; a second one beside it.
    results = {}

    def run(name, *argv):
        results[name] = t.atoll("exec", "web", "--", *argv, code=None)
    threads = [threading.Thread(target=run, args=("large", "seq", "1", "800000")),
               threading.Thread(target=run, args=("small", "sh", "-c", "echo small; exit 3"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(results["large"].code, 0, f"seq: {results['large'].err}")
    check(results["large"].out == "".join(f"{i}\n" for i in range(1, 800001)),
          f"seq gave {len(results['large'].out)} bytes")
    equal((results["small"].code, results["small"].out), (3, "small\n"), "the other one")
    # Input: as it comes, and all of a large one; what was sent for it does not stay.
    api = Api(t.pocket, "pocket")
    sent = asks(api)
    process = subprocess.Popen([f"{BUILD}/atoll", "exec", "-i", "web", "--", "sh", "-c",
                                "while read x; do echo \"<$x>\"; done; exit 6"], cwd=t.dir, env=t.env(),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               preexec_fn=die_with_parent)
    for word in (b"one", b"two", b"three"):
        process.stdin.write(word + b"\n")
        process.stdin.flush()
        equal(process.stdout.readline(), b"<" + word + b">\n", "the answer to a line")
    process.stdin.close()
    equal(process.wait(60), 6, "after the end of its input")
    equal(len(asks(api) - sent), 1, "what is left of what was sent")
    data = random.randbytes(1000000)
    got = subprocess.run([f"{BUILD}/atoll", "exec", "-i", "web", "--", "sha256sum"], cwd=t.dir,
                         env=t.env(), input=data, stdout=subprocess.PIPE, timeout=120)
    equal(got.stdout.split()[0].decode(), hashlib.sha256(data).hexdigest(), "a large input")
    # What it is to have, and that it stays there.
    got = t.atoll("exec", "web", "--", "sh", "-c",
                  'pwd; echo "$RAILS_ENV"; echo "$SECRET_KEY_BASE"; cat; exit 0')
    folder, rails, secret = got.out.splitlines()
    check(os.path.exists(f"{folder}/config/puma.rb"), folder)
    equal((rails, len(secret)), ("production", 128), "the environment")
    got = t.atoll("exec", "postgres", "--", "psql", "-Atc", "select 6 * 7")
    equal(got.out, "42\n", "psql")
    got = t.atoll("exec", "redis", "--", "sh", "-c", 'redis-cli -h "$ATOLL_ADDRESS" ping')
    equal(got.out, "PONG\n", "redis-cli")
    t.atoll("exec", "web", "--", "sh", "-c", "true; #hunter2-in-an-argument")
    servers = hosts(t)
    # Mastodon's own: every word is theirs.
    program = f"{folder}/bin/tootctl"
    with open(program, "w") as f:
        f.write("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
        os.fchmod(f.fileno(), 0o755)
    got = t.atoll("tootctl", "accounts", "create", "-f", "--limit", "x y", "--", "--help")
    equal(got.out.splitlines(), ["accounts", "create", "-f", "--limit", "x y", "--", "--help"],
          "tootctl's words")
    got = t.atoll("exec", "--all", "worker", "--", "echo", "both")
    equal(got.out, "web.0 | both\n", "--all")
    got = t.atoll("exec", "--json", "web", "--", "sh", "-c", "echo a; exit 4", code=4)
    equal([(e["server"], e["stream"], e["text"]) for e in got.events("line")],
          [("web.0", "out", "a")], "--json")
    equal(got.events("exit")[0]["status"], 4, "--json: the end")
    times = []
    for _ in range(5):
        begun = time.monotonic()
        t.atoll("exec", "web", "--", "true")
        times.append(time.monotonic() - begun)
    print("# seconds of `atoll exec web -- true`: " + " ".join(f"{x:.2f}" for x in sorted(times)))
    for _, root in servers.values():
        for path, text in below(f"{root}/var/log"):
            check(secret.encode() not in text, f"{path} has the secret")
            check(b"hunter2" not in text, f"{path} has an argument")
    for path, text in below(f"{t.pocket.dir}"):
        if "/servers/" not in path:
            check(secret.encode() not in text and b"hunter2" not in text, f"{path} has a secret")
    audit = f"{servers['web.0'][1]}/var/log/atoll/audit.log"
    equal(os.stat(audit).st_mode & 0o777, 0o600, "mode of the audit log")
    with open(audit) as f:
        lines = f.read()
    check(re.search(r"^\S+Z ask \d+ of \S+@\S+: exec web: echo: begins$", lines, re.M), lines)
    check(re.search(r": exec: sh: exit status 7 after ", lines), lines)
    # Not one of them is a change.
    plan = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in plan.out, plan)
    # And the next bundle goes behind them.
    with open(f"{t.dir}/island.yaml") as f:
        text = f.read()
    t.write("island.yaml", text + "\nenv: {SOME_SETTING: changed}\n")
    t.apply()
    got = t.atoll("exec", "web", "--", "sh", "-c", 'echo "$SOME_SETTING"')
    equal(got.out, "changed\n", "after a further bundle")
    t.atoll("plan", "--detailed-exitcode")


def test_refusals(t):
    up(t)
    got = t.atoll("exec", "wep", "--", "true", code=None)
    check(got.code == 1 and "did you mean web?" in got.err, got)
    got = t.atoll("exec", "search", "--", "true", code=None)
    check(got.code == 1 and "no server of reef has the role search" in got.err, got)
    got = t.atoll("exec", "web.7", "--", "true", code=None)
    check(got.code == 1 and "web.7" in got.err, got)
    got = t.atoll("exec", "web", "--", "no-such-program", code=None)
    check(got.code == 1 and "no-such-program: not found" in got.err, got)
    got = t.atoll("exec", "--role", "postgres", "web.0", "--", "true", code=None)
    check(got.code == 1 and "does not have the role postgres" in got.err, got)
    got = t.atoll("exec", "--limit", "1s", "web", "--", "sleep", "600", code=128 + 15)
    check("web.0: ended at its limit" in got.err, got)
    # Ctrl-C ends it over there.
    servers = hosts(t)
    mark = f"{t.dir}/runs"
    process = t.spawn(f"{BUILD}/atoll", "exec", "web", "--", "sh", "-c", "echo begun; exec sleep 601")
    equal(process.stdout.readline(), b"begun\n", "begun")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    equal(process.returncode, 130, f"after Ctrl-C: {err}")
    until("the command is ended", 30, lambda: not any(
        argv[:2] == [b"sleep", b"601"] for argv in commands()))
    # The host program is killed, and started again as a service manager would: that is said, and
    # what the command left running is gone.
    process = t.spawn(f"{BUILD}/atoll", "exec", "web", "--", "sh", "-c",
                      "setsid sleep 602 & echo begun; wait")
    equal(process.stdout.readline(), b"begun\n", "begun")
    pid, root = servers["web.0"]
    with open(f"/proc/{pid}/environ") as f:
        env = dict(v.split("=", 1) for v in f.read().split("\0") if v)
    os.kill(pid, signal.SIGKILL)
    until("it is gone", 30, lambda: "web.0" not in hosts(t))
    check(any(argv[:2] == [b"sleep", b"602"] for argv in commands()), "its child went with it")
    with open(f"{t.dir}/host.err", "wb") as log:
        host = subprocess.Popen([f"{root}/usr/bin/atoll", "host", "--root", root], env=env, stderr=log,
                                preexec_fn=die_with_parent)
    t.processes.append(host)
    _, err = process.communicate(timeout=120)
    with open(f"{t.dir}/host.err") as f:
        check(process.returncode == 1 and b"its host program was killed while this ran" in err,
              f"{process.returncode} {err}; the one started again (its exit status {host.poll()}) said: {f.read()[-2000:]}")
    check(not any(argv[:2] == [b"sleep", b"602"] for argv in commands()), "its child runs on")
    equal(t.atoll("exec", "web", "--", "echo", "again").out, "again\n", "after the restart")
    # A host program that is too old to know asks refuses one as it does a bundle.
    api = Api(t.pocket, "pocket")
    pid = hosts(t)["web.0"][0]
    os.kill(pid, signal.SIGSTOP)
    before = asks(api)
    process = t.spawn(f"{BUILD}/atoll", "exec", "web", "--", "true")
    name = until("it is asked", 30, lambda: asks(api) - before).pop()
    api.call("object-store", "PUT", f"/reef-mail/{name.replace('/in/', '/out/')}-refused",
             json.dumps({"why": "its inside is not what atoll writes", "version": "0.0.9"}).encode())
    _, err = process.communicate(timeout=60)
    os.kill(pid, signal.SIGCONT)
    check(process.returncode == 1 and b"runs atoll 0.0.9" in err and b"atoll upgrade" in err, err)
    # A later one waits for nobody, and the refusal is nothing that a plan looks at.
    equal(t.atoll("exec", "web", "--", "echo", "well").out, "well\n", "after a refusal")
    plan = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in plan.out, plan)
    # A server that is off is not waited for.
    server = next(i for i, n in api_servers(api) if n == "reef-db-0")
    api.call("compute", "POST", f"/servers/{server}/action", {"os-stop": None})
    until("the server is off", 30, lambda: api.call(
        "compute", "GET", f"/servers/{server}")[2]["server"]["status"] == "SHUTOFF")
    got = t.atoll("exec", "postgres", "--", "true", code=9)
    check("its server is SHUTOFF" in got.err, got)


def asks(api):
    """Names of all that was sent to web.0."""
    listing = api.call("object-store", "GET", "/reef-mail?format=json&prefix=web.0/")[2]
    return {o["name"] for o in listing if "/in/" in o["name"]}


def api_servers(api):
    return [(s["id"], s["name"]) for s in api.call("compute", "GET", "/servers")[2]["servers"]]


def commands():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                yield f.read().split(b"\0")
        except OSError:
            pass


def test_logs(t):
    up(t)
    url = f"http://{t.address()}:8080"

    def request_line(word):
        try:
            urllib.request.urlopen(f"{url}/{word}", timeout=20).close()
        except urllib.error.HTTPError:
            pass
    request_line("a-first-word")
    got = until("the request is in the log", 30, lambda: (lambda r: r if "/a-first-word" in r.out
                                                         else None)(t.atoll("logs", "edge")))
    check(all(line.startswith("web.0 edge | ") for line in got.out.splitlines()), got)
    got = t.atoll("logs", "-n", "2", "web.0/edge")
    equal(len(got.out.splitlines()), 2, f"-n 2: {got}")
    got = t.atoll("logs", "-n", "3")
    names = {line.split(" | ")[0].rstrip() for line in got.out.splitlines()}
    check({"web.0 web", "web.0 edge", "db.0 postgres"} <= names, names)
    got = t.atoll("logs", "--json", "-n", "1", "postgres")
    check(got.events("line") and all(e["server"] == "db.0" for e in got.events("line")), got)
    got = t.atoll("logs", "nothing", code=1)
    check("no server, role or service 'nothing'" in got.err, got)
    # Followed.
    process = t.spawn(f"{BUILD}/atoll", "logs", "-f", "-n", "1", "edge")
    process.stdout.readline()
    request_line("a-second-word")
    line = process.stdout.readline()
    while b"/a-second-word" not in line:
        check(line, f"the log ended: {process.communicate()}")
        line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    equal(process.returncode, 130, f"after Ctrl-C: {err}")
    until("tail is ended", 30, lambda: not any(
        argv and argv[0] == b"tail" and any(t.dir.encode() in a for a in argv)
        for argv in commands()))
    plan = t.atoll("plan", "--detailed-exitcode")
    check("No changes" in plan.out, plan)


main()
