"""The edge of an island on pocket, as a stranger has it: over TLS by the domain's name, at the floating
IP; and what must go on while nginx takes another certificate."""
import http.client
import os
import socket
import ssl

from harness import check, equal


class Https(http.client.HTTPSConnection):
    """To the island's address, by the domain's name. `trusts`: a PEM file of who may sign; None: anyone."""

    def __init__(self, t, trusts, *protocols):
        super().__init__("reef.example", 8443, timeout=30)
        self.address, self.tls = t.address(), ssl.create_default_context(cafile=trusts)
        if not trusts:
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.tls.set_alpn_protocols(list(protocols) or ["http/1.1"])

    def connect(self):
        self.sock = self.tls.wrap_socket(socket.create_connection((self.address, 8443), 30),
                                         server_hostname="reef.example")


class Begun:
    """A download and an upload that have begun: end() when nginx has been told of something."""

    def __init__(self, t, trusts, folder):
        self.folder = folder
        self.pid = self.nginx()
        self.content = os.urandom(48 << 20)
        challenges = f"{folder}/acme/.well-known/acme-challenge"
        os.makedirs(challenges, 0o755, exist_ok=True)
        with open(f"{challenges}/large", "wb") as f:
            os.chmod(f.name, 0o644)
            f.write(self.content)
        down = http.client.HTTPConnection(t.address(), 8080, timeout=30)
        down.request("GET", "/.well-known/acme-challenge/large")
        self.download = down.getresponse()
        equal(self.download.status, 200, "the download")
        self.got = self.download.read(1 << 20)
        self.upload = Https(t, trusts)
        self.body = b"n=1&ms=0"
        self.upload.putrequest("POST", "/jobs")
        self.upload.putheader("Content-Type", "application/x-www-form-urlencoded")
        self.upload.putheader("Content-Length", str(len(self.body)))
        self.upload.endheaders(self.body[:3])

    def nginx(self):
        with open(f"{self.folder}/nginx.pid") as f:
            return f.read()

    def end(self):
        self.upload.send(self.body[3:])
        equal(self.upload.getresponse().status, 200, "the upload that had begun before")
        self.got += self.download.read()
        check(self.got == self.content, f"the download has {len(self.got)} bytes of {len(self.content)}")
        equal(self.nginx(), self.pid, "nginx's first process")
