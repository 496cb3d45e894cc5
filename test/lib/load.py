"""Load on an island of the tests: steady requests, and jobs that count how often they ran."""
import http.client
import json
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


def jobs(base, n, ms):
    with urllib.request.urlopen(f"{base}/jobs?n={n}&queue=default&ms={ms}", timeout=60) as r:
        return json.load(r)["token"]


def all_ran_once(base, token, n, seconds):
    def count():
        with urllib.request.urlopen(f"{base}/jobs/count?token={token}", timeout=60) as r:
            got = json.load(r)
        return got if not got["missing"] else None
    got = until(f"{n} jobs are done", seconds, count)
    equal((got["missing"], got["duplicates"]), (0, 0), f"jobs {got}")
