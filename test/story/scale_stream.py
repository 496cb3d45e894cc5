"""A tier of streaming servers follows its clients: it grows before it is full, and a server goes when fewer have been
enough for a while, with its clients told to come back."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
from stream_client import CLOSE, PING, PONG, Closed, Ws, frame, wait_readable
from tier import Scaler, reaches, servers

ISLAND = ISLAND_HEAD + """\
  web:  {flavor: m1.small, roles: [edge, web, worker]}
  push: {flavor: m1.small, roles: [stream], scale: {min: 1, max: 3, clients: 20}}
  db:   {flavor: m1.small, roles: [postgres, redis], volume: {size: 10GB}}
"""


class Clients:
    """As apps are: one that is sent away comes back. `sent_away`: with which codes."""

    def __init__(self, t, token):
        self.at, self.token = (t.address(), 8080), token
        self.wanted, self.sent_away, self.lock = 0, [], threading.Lock()
        self.threads = []

    def open(self):
        try:
            return Ws(self.at, "/api/v1/streaming?stream=user", self.token, seconds=30)
        except (Failed, Closed, OSError):
            return None

    def live(self, number):
        ws = until("the streaming API answers", 60, self.open)
        while number < self.wanted:
            if not ws.buffer and not wait_readable([ws], 1):
                continue
            try:
                _, opcode, payload = ws.frame()
            except Closed:
                opcode, payload = CLOSE, b""
            if opcode == PING:
                ws.send(frame(PONG, payload))
            if opcode != CLOSE:
                continue
            with self.lock:
                self.sent_away.append(payload[:2])
            ws.close()
            ws = until("the streaming API answers again", 60, self.open)
        ws.close()

    def become(self, n):
        was, self.wanted = self.wanted, n
        for number in range(was, n):
            self.threads.append(threading.Thread(target=self.live, args=(number,), daemon=True))
            self.threads[-1].start()


def test_it_follows_its_clients(t):
    t.start_pocket()
    t.island(ISLAND)
    t.apply()
    t.ready()
    for key, words in (("queues: {push: 1m}", "queues is for tiers of workers"), ("min: 0", "min is at least 1")):
        t.write("bad.yaml", ISLAND.replace("127.77.0.0/24", t.cidr).replace("min: 1", key + (", min: 1" if "queues" in key else "")))
        bad = t.atoll("check", "-f", "bad.yaml", code=1)
        check(words in bad.err and "bad.yaml:" in bad.err, bad)
    check("--policy is for workers" in t.atoll("scale", "--policy", "depth", code=64).err, "--policy")
    token = request("POST", f"http://{t.address()}:8080/token")[2]["access_token"]
    t.write("scale.json", json.dumps({"calm_s": 10}))
    clients = Clients(t, token)
    scaler = Scaler(t)
    try:
        clients.become(18)  # more than three quarters of 20
        reaches(t, scaler, 2, 180, "push")
        try:
            until("plan has no changes", 60, lambda: t.atoll("plan", "--detailed-exitcode", code=None).code == 0)
        except Failed as e:
            raise Failed(f"{e}\n{t.atoll('plan', code=None)}\n{scaler.text()}")
        clients.become(4)
        reaches(t, scaler, 1, 240, "push")
        equal(servers(t, "push"), [f"reef-push-{n}" for n in (0, 1) if f"reef-push-{n}" in servers(t, "push")], "who is left")
        equal(set(clients.sent_away) - {(1001).to_bytes(2, "big")}, set(), "how clients were sent away")
        until("those that were sent away are back", 60, lambda: sum(
            (t.atoll("status", "--json").events("island")[0]["clients"] or {}).values()) >= 4)
        check(scaler.did("1 more to be made") and scaler.did("sends its clients to the others and goes"), scaler.text())
        scaler.stop()
    finally:
        clients.become(0)
    check("No changes" in t.atoll("plan", "--detailed-exitcode").out, "plan at the end")


if __name__ == "__main__":
    main()
