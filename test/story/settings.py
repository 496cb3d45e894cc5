"""Other settings reach the servers of a tier one after the other, and bad ones only the first."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from load import *
from deploy import TIERS, start


def set_env(t, text, web=2):
    tiers = TIERS.replace("127.77.0.0/24", t.cidr).replace("count: 2, roles: [edge", f"count: {web}, roles: [edge")
    t.write("island.yaml", tiers.replace("servers:", f"env: {{{text}}}\nservers:"))


def states(t):
    return {r["key"]: r["health"] for r in t.atoll("status", "--json", code=None).events("server")}


def test_one_after_the_other(t):
    base = start(t)
    for server, web in (("mail.reef.example", 2), ("other.reef.example", 3)):
        set_env(t, f"SMTP_SERVER: {server}", web)
        load = Load(base + "/", 50)
        try:
            t.apply()
        finally:
            load.end()
        equal((load.bad, load.sent > 50), ([], True), f"what the world saw, {web} servers")
        print(f"# other settings, {web} servers: {load.sent} requests, longest gap {load.longest * 1000:.0f} ms", flush=True)
        check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan")
    set_env(t, "SMTP_SERVER: other.reef.example")
    t.apply()

    # With this one nothing of Mastodon's starts: one server is lost to it, and the world sees nothing of that either.
    set_env(t, "RUBYOPT: '-rabsent'")
    load = Load(base + "/", 50)
    try:
        process = t.spawn(f"{BUILD}/atoll", "apply", "-y", "--package", f"{BUILD}/atoll.deb")
        until("web.0 begins with it", 60, lambda: states(t)["web.0"] == "starting")
        seen = load.sent
        until("a while", 60, lambda: load.sent > seen + 300)
        process.send_signal(signal.SIGINT)
        process.communicate()
    finally:
        load.end()
    equal(load.bad, [], "what the world saw of bad ones")
    equal((states(t)["web.0"], states(t)["web.1"]), ("starting", "healthy"), "states")

    set_env(t, "SMTP_SERVER: mail.reef.example")
    t.apply()
    t.ready()
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan at the end")


if __name__ == "__main__":
    main()
