"""A client of the streaming API, as an app is one: demo/live.py http://ADDRESS COUNT

Asks the canary for a token, opens the public timeline as server-sent events, has workers post COUNT statuses once the
stream is open, and prints each as it comes with the time that it took."""
import html
import http.client
import json
import re
import sys
import time
import urllib.request

SECONDS = 10


def post(url):
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=SECONDS) as answer:
        return json.load(answer)


def watch(base, token, count):
    """True when so many have come. What is posted before the server has subscribed in Redis is nobody's."""
    connection = http.client.HTTPConnection(base.split("//")[1], timeout=SECONDS)
    connection.request("GET", "/api/v1/streaming/public", headers={"Authorization": f"Bearer {token}"})
    stream = connection.getresponse()
    if stream.status != 200:
        sys.exit(f"the streaming API answers {stream.status}: {stream.read().decode()}")
    print(stream.readline().decode().strip(), flush=True)
    posted, seen = time.monotonic(), 0
    post(f"{base}/statuses?n={count}")
    while seen < count:
        try:
            line = stream.readline().decode()
        except TimeoutError:
            return False
        if line.startswith("data: "):
            status = json.loads(line[6:])
            seen += 1
            print(f"after {(time.monotonic() - posted) * 1000:4.0f} ms  @{status['account']['acct']}: "
                  f"{html.unescape(re.sub('<[^>]*>', '', status['content']))}", flush=True)
        elif not line:
            return False
    connection.close()
    return True


def main(base, count):
    token = post(base + "/token")["access_token"]
    if not any(watch(base, token, count) for _ in range(3)):
        sys.exit("no statuses come")


main(sys.argv[1], int(sys.argv[2]))
