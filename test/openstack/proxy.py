"""Stands between atoll and the services: every connection is passed on, requests are counted over all
services in the order in which they arrive, and at the one that is asked for a process is killed with
kill -9: before the service gets the request, or after the service has answered, before the answer is
passed on.
"""
import os
import re
import signal
import socket
import threading
import urllib.parse

# Service of the catalogue -> the name of its setting in clouds.yaml.
OVERRIDES = {"compute": "compute", "network": "network", "volumev3": "volume", "image": "image",
             "object-store": "object_store", "identity": None}


class Proxy:
    def __init__(self):
        self.lock = threading.Lock()
        self.arrived, self.lines = 0, []
        self.at, self.when, self.victim = None, None, None
        self.ports = {}  # of the service -> ours

    def arm(self, at, when):
        """Counts anew; kill() of the process that `victim` is set to, at request `at`."""
        with self.lock:
            self.arrived, self.lines, self.victim = 0, [], None
            self.at, self.when = at, when

    def listen(self, port):
        """Our port for the service's one."""
        if port not in self.ports:
            listener = socket.create_server(("127.0.0.1", 0))
            self.ports[port] = listener.getsockname()[1]
            threading.Thread(target=self.accept, args=(listener, port), daemon=True).start()
        return self.ports[port]

    def accept(self, listener, port):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self.serve, args=(client, port), daemon=True).start()

    def request(self, data):
        """Counts the request that begins with this; true if it is the one."""
        with self.lock:
            self.arrived += 1
            self.lines.append(data.split(b"\r\n", 1)[0].decode(errors="replace"))
            return self.arrived == self.at

    def kill(self):
        while self.victim is None:  # the one who started it sets it right after
            pass
        os.kill(self.victim, signal.SIGKILL)

    def serve(self, client, port):
        server = socket.create_connection(("127.0.0.1", port))
        state = {"asked": False, "kill": False}
        back = threading.Thread(target=self.answers, args=(client, server, state), daemon=True)
        back.start()
        try:
            # atoll sends a request when it has the answer to the last one of that connection, so
            # the first bytes after an answer begin a new request.
            while data := client.recv(65536):
                if not state["asked"]:
                    state["asked"] = True
                    if self.request(data):
                        if self.when == "before":
                            self.kill()
                            break
                        state["kill"] = True
                server.sendall(data)
        except OSError:
            pass
        try:
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        back.join()
        client.close()
        server.close()

    def answers(self, client, server, state):
        try:
            while data := server.recv(65536):
                state["asked"] = False
                if state["kill"]:
                    state["kill"] = False
                    self.kill()
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def clouds(self, source, target, endpoints):
        """A copy of a clouds.yaml in which every service is reached through the proxy.
        endpoints(cloud) are the addresses in the catalogue for that login."""
        with open(source) as f:
            text = f.read()
        for cloud in ("real", "real-media"):
            lines = "".join(f"    {OVERRIDES[service]}_endpoint_override: {self.through(url)}\n"
                            for service, url in endpoints(cloud).items() if OVERRIDES.get(service))
            text = re.sub(rf"^(  {cloud}:\n(?:    .*\n)+)",
                          lambda m: self.auth_url(m.group(1)) + lines, text, flags=re.M)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(text)

    def through(self, url):
        parts = urllib.parse.urlsplit(url)
        return parts._replace(netloc=f"127.0.0.1:{self.listen(parts.port)}").geturl()

    def auth_url(self, entry):
        return re.sub(r"(auth_url: )(\S+)", lambda m: m.group(1) + self.through(m.group(2)), entry)
