"""Load on an island of the tests: steady requests, and jobs that count how often they ran."""
import glob
import http.client
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

from harness import equal, until

CUT = "the connection was reset"


class Load:
    """Requests at a steady rate, each on a connection of its own; what was not 2xx is kept."""

    def __init__(self, url, rate):
        self.url, self.rate, self.bad, self.sent = url, rate, [], 0
        self.gaps, self.last_good, self.longest = [], time.monotonic(), 0.0
        self.lock, self.done = threading.Lock(), False
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(10)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        due = time.monotonic() + number / self.rate
        while not self.done:
            time.sleep(max(0, due - time.monotonic()))
            due += len(self.threads) / self.rate
            start = time.monotonic()
            try:
                with urllib.request.urlopen(self.url, timeout=30) as r:
                    status = r.status
                    r.read()
            except urllib.error.HTTPError as e:
                status = e.code
            except (OSError, http.client.HTTPException) as e:
                broken = isinstance(getattr(e, "reason", e), (ConnectionResetError,
                                                             http.client.IncompleteRead))
                status = CUT if broken else str(e)
            now = time.monotonic()
            with self.lock:
                self.sent += 1
                if isinstance(status, int) and status // 100 == 2:
                    self.longest = max(self.longest, now - self.last_good)
                    self.last_good = now
                else:
                    self.bad.append((round(start, 2), status))

    def end(self):
        self.done = True
        for thread in self.threads:
            thread.join()
        return self


def database(t, sql):
    """What the island's database answers, its words; as the superuser over the socket, as the agent is."""
    folder = (glob.glob(f"{t.pocket.dir}/servers/*/root/run/pg") + glob.glob(f"{t.pocket.dir}/servers/*/run/pg"))[0]
    argv = ["psql", "-qtAX", "-h", folder, "-U", "postgres", "-d", "mastodon_production", "-c", sql]
    if os.geteuid() == 0:
        argv = ["runuser", "-u", "postgres", "--"] + argv
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    equal(r.returncode, 0, f"{sql}: {r.stdout}")
    return r.stdout.split()


def jobs(base, n, ms):
    with urllib.request.urlopen(f"{base}/jobs?n={n}&queue=default&ms={ms}", timeout=60) as r:
        return json.load(r)["token"]


def runs(t, *tokens):
    """The ledger: of each run to the end its job, which is a token and a number, and the process."""
    rows = database(t, "SELECT token, number, worker_pid FROM runs WHERE token IN ('{}')".format("', '".join(tokens)))
    return [((token, int(number)), int(pid)) for token, number, pid in (row.split("|") for row in rows)]


def all_ran_once(base, token, n, seconds):
    def count():
        with urllib.request.urlopen(f"{base}/jobs/count?token={token}", timeout=60) as r:
            got = json.load(r)
        return got if not got["missing"] else None
    got = until(f"{n} jobs are done", seconds, count)
    equal((got["missing"], got["duplicates"]), (0, 0), f"jobs {got}")
