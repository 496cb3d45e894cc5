"""A small ACME authority (RFC 8555) that Debian's certbot talks to: it stands for a public one.

    ca = Authority(folder, lambda domain: (address, port))

Over TLS, at https://127.0.0.1:<port>/directory, by a certificate of its root (ca.root, a PEM file). It
checks what a real one checks: nonces are taken once, a JWS is the account's and for this very URL, the
challenge http-01 is fetched from the web server, a CSR's names are the order's. Two things are other:
instead of asking the DNS for the domain it connects to what the function says; and how long a
certificate is good is the test's to say. Needs Debian's python3-cryptography, which also checks the
signatures, with no code of certbot's.

ca.counts: accounts made, orders, certificates. ca.refuse: a problem's type and words, for every order.
"""
import base64
import datetime
import hashlib
import http.client
import http.server
import ipaddress
import json
import os
import ssl
import sys
import threading

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def name_of(words):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])


def pem_of(*certificates):
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


class Issuer:
    """A certificate that signs others; `above` None: itself."""

    def __init__(self, words, above=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name_of(words)
        self.above = above
        self.certificate = (above or self).sign(self.key.public_key(), self.name, -DAY, 3650 * DAY,
                                                [(x509.BasicConstraints(True, None), True)])

    def sign(self, public, name, begin, end, extensions):
        """Good from `begin` to `end`, as seen from now."""
        c = x509.CertificateBuilder(issuer_name=self.name, subject_name=name, public_key=public,
                                    serial_number=x509.random_serial_number(),
                                    not_valid_before=now() + begin, not_valid_after=now() + end)
        for extension, critical in extensions:
            c = c.add_extension(extension, critical)
        return c.sign(self.key, hashes.SHA256())


class Problem(Exception):
    """RFC 8555 6.7."""

    def __init__(self, kind, detail, status=400):
        super().__init__(detail)
        self.status = status
        self.body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that went away, or does not trust us: it says so itself."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Authority:
    def __init__(self, folder, where, port=0):
        self.root_issuer = Issuer("root of a test")
        self.issuer = Issuer("authority of a test", self.root_issuer)
        self.root = f"{folder}/acme-root.pem"
        self.pair = f"{folder}/acme-server.pem"
        self.where = where
        self.life = (-DAY / 24, 90 * DAY)
        self.refuse = None
        self.counts = {"accounts": 0, "orders": 0, "certificates": 0}
        self.asked = []  # paths, in order
        self.lock = threading.RLock()
        self.nonces, self.accounts, self.things = set(), {}, {}
        self.write_pair(folder)
        self.port = port
        self.server = None
        self.start()

    def write_pair(self, folder):
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        own = self.root_issuer.sign(key.public_key(), name_of("127.0.0.1"), -DAY, 300 * DAY,
                                    [(x509.SubjectAlternativeName([address]), False)])
        with open(self.root, "wb") as f:
            f.write(pem_of(self.root_issuer.certificate))
        with open(self.pair, "wb") as f:
            f.write(key_pem(key) + pem_of(own))

    def start(self):
        """Also again, at the same port, after it was down."""
        authority = self

        class Handler(AcmeHandler):
            ca = authority
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.pair)
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True,
                                             do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    # What it knows: each thing has a URL of its own.

    def nonce(self):
        nonce = b64(os.urandom(16))
        self.nonces.add(nonce)
        return nonce

    def add(self, kind, thing):
        url = f"{self.url}/{kind}/{os.urandom(8).hex()}"
        thing["url"] = url
        self.things[url] = thing
        return thing

    def find(self, kind, url, account):
        thing = self.things.get(url)
        if not thing or not url.startswith(f"{self.url}/{kind}/"):
            raise Problem("malformed", "no such thing", 404)
        if thing["account"] is not account:
            raise Problem("unauthorized", "it is another account's", 403)
        return thing

    def validate(self, authorization):
        """http-01 (8.3), as a real authority does it, but for where the domain is."""
        domain, challenge = authorization["identifier"]["value"], authorization["challenge"]
        wanted = f"{challenge['token']}.{authorization['account']['thumbprint']}"
        address, port = self.where(domain)
        path = f"/.well-known/acme-challenge/{challenge['token']}"
        try:
            c = http.client.HTTPConnection(address, port, timeout=10)
            c.request("GET", path, headers={"Host": domain})
            answer = c.getresponse()
            got = answer.read(1000).decode("ascii", "replace").rstrip()
            if answer.status != 200 or got != wanted:
                raise Problem("unauthorized", f"Invalid response from http://{domain}{path}: "
                              f"{answer.status}", 403)
        except OSError as e:
            raise Problem("connection", f"Fetching http://{domain}{path}: {e.strerror or e}") from e

    def issue(self, order, csr):
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        got = sorted(names.get_values_for_type(x509.DNSName))
        if not csr.is_signature_valid or got != sorted(i["value"] for i in order["identifiers"]):
            raise Problem("badCSR", f"its names are {got}")
        begin, end = self.life
        leaf = self.issuer.sign(csr.public_key(), name_of(got[0]), begin, end,
                                [(names, False), (x509.BasicConstraints(False, None), True)])
        self.counts["certificates"] += 1
        return leaf


class AcmeHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ca = None
    routes = {}

    def log_message(self, *_):
        pass

    def reply(self, status, body=None, headers=(), kind="application/json"):
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Replay-Nonce", self.ca.nonce())
        self.send_header("Link", f'<{self.ca.url}/directory>;rel="index"')
        self.send_header("Cache-Control", "no-store")
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        with self.ca.lock:
            self.ca.asked.append(self.path)
            if self.path == "/directory":
                self.reply(200, {"newNonce": f"{self.ca.url}/new-nonce",
                                 "newAccount": f"{self.ca.url}/new-account",
                                 "newOrder": f"{self.ca.url}/new-order",
                                 "revokeCert": f"{self.ca.url}/revoke", "keyChange": f"{self.ca.url}/key",
                                 "meta": {"termsOfService": f"{self.ca.url}/terms"}})
            elif self.path == "/new-nonce":
                self.reply(200 if self.command == "HEAD" else 204)
            else:
                self.reply(405)

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"]))
        with self.ca.lock:
            self.ca.asked.append(self.path)
            try:
                if self.headers["Content-Type"] != "application/jose+json":
                    raise Problem("malformed", "the content type", 415)
                head, payload, account = self.jws(json.loads(text))
                kind = self.path.split("/")[1]
                if kind not in ("new-account", "new-order", "account", "authz", "challenge", "order",
                                "finalize", "certificate"):
                    raise Problem("malformed", "no such place", 404)
                getattr(self, "post_" + kind.replace("-", "_"))(head, payload, account)
            except Problem as p:
                self.reply(p.status, p.body, kind="application/problem+json")

    def jws(self, flat):
        """RFC 8555 6.2 to 6.5: (protected header, payload or None, account or None)."""
        head = json.loads(unb64(flat["protected"]))
        if head.get("nonce") not in self.ca.nonces:
            raise Problem("badNonce", "it was used, or is not of here")
        self.ca.nonces.remove(head["nonce"])
        if head.get("url") != self.ca.url + self.path:
            raise Problem("unauthorized", "the signature is for another URL", 403)
        if head.get("alg") != "RS256":
            raise Problem("badSignatureAlgorithm", "RS256")
        new = self.path == "/new-account"
        if new != ("jwk" in head) or new == ("kid" in head):
            raise Problem("malformed", "jwk for a new account, else kid")
        account = None if new else self.ca.accounts.get(head["kid"])
        if not new and not account:
            raise Problem("accountDoesNotExist", "no such account")
        jwk = head["jwk"] if new else account["jwk"]
        number = {k: int.from_bytes(unb64(jwk[k]), "big") for k in ("n", "e")}
        public = rsa.RSAPublicNumbers(number["e"], number["n"]).public_key()
        try:
            public.verify(unb64(flat["signature"]), f"{flat['protected']}.{flat['payload']}".encode(),
                          padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as e:
            raise Problem("unauthorized", "the signature is not the account's", 403) from e
        payload = unb64(flat["payload"])
        return head, json.loads(payload) if payload else None, account

    def post_new_account(self, head, payload, _):
        jwk = {k: head["jwk"][k] for k in ("e", "kty", "n")}  # RFC 7638: sorted, no spaces
        thumbprint = b64(hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest())
        for url, account in self.ca.accounts.items():
            if account["thumbprint"] == thumbprint:
                self.reply(200, account["body"], [("Location", url)])
                return
        if payload.get("onlyReturnExisting"):
            raise Problem("accountDoesNotExist", "no such account")
        if not payload.get("termsOfServiceAgreed"):
            raise Problem("userActionRequired", "the terms", 403)
        url = f"{self.ca.url}/account/{os.urandom(8).hex()}"
        body = {"status": "valid", "contact": payload.get("contact", [])}
        self.ca.accounts[url] = {"jwk": jwk, "thumbprint": thumbprint, "body": body}
        self.ca.counts["accounts"] += 1
        self.reply(201, body, [("Location", url)])

    def post_account(self, _, payload, account):
        if payload:
            account["body"].update({k: payload[k] for k in ("contact",) if k in payload})
        self.reply(200, account["body"])

    def order_body(self, order):
        body = {k: order[k] for k in ("identifiers", "expires", "authorizations", "finalize")}
        valid = all(self.ca.things[u]["status"] == "valid" for u in order["authorizations"])
        broken = any(self.ca.things[u]["status"] == "invalid" for u in order["authorizations"])
        body["status"] = ("valid" if order["certificate"] else "invalid" if broken else
                          "ready" if valid else "pending")
        if order["certificate"]:
            body["certificate"] = order["certificate"]
        return body

    def post_new_order(self, _, payload, account):
        if self.ca.refuse:
            raise Problem(*self.ca.refuse)
        self.ca.counts["orders"] += 1
        expires = (now() + DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
        order = self.ca.add("order", {"account": account, "identifiers": payload["identifiers"],
                                      "expires": expires, "authorizations": [], "certificate": None})
        order["finalize"] = order["url"].replace("/order/", "/finalize/")
        for identifier in payload["identifiers"]:
            a = self.ca.add("authz", {"account": account, "identifier": identifier, "expires": expires,
                                      "status": "pending"})
            a["challenge"] = self.ca.add("challenge", {"account": account, "type": "http-01",
                                                       "token": b64(os.urandom(24)), "of": a,
                                                       "status": "pending"})
            order["authorizations"].append(a["url"])
        self.reply(201, self.order_body(order), [("Location", order["url"])])

    def challenge_body(self, challenge):
        return {k: challenge[k] for k in ("type", "url", "token", "status", "error") if k in challenge}

    def post_authz(self, _, __, account):
        a = self.ca.find("authz", self.ca.url + self.path, account)
        body = {k: a[k] for k in ("identifier", "expires", "status")}
        body["challenges"] = [self.challenge_body(a["challenge"])]
        self.reply(200, body)

    def post_challenge(self, _, payload, account):
        challenge = self.ca.find("challenge", self.ca.url + self.path, account)
        a = challenge["of"]
        if payload is not None and challenge["status"] == "pending":
            try:
                self.ca.validate(a)
                challenge["status"] = a["status"] = "valid"
            except Problem as p:
                challenge["status"] = a["status"] = "invalid"
                challenge["error"] = p.body
        self.reply(200, self.challenge_body(challenge), [("Link", f'<{a["url"]}>;rel="up"')])

    def post_order(self, _, __, account):
        self.reply(200, self.order_body(self.ca.find("order", self.ca.url + self.path, account)))

    def post_finalize(self, _, payload, account):
        order = self.ca.find("order", (self.ca.url + self.path).replace("/finalize/", "/order/"), account)
        if self.order_body(order)["status"] != "ready":
            raise Problem("orderNotReady", "its authorizations are not all valid", 403)
        leaf = self.ca.issue(order, x509.load_der_x509_csr(unb64(payload["csr"])))
        order["certificate"] = self.ca.add("certificate", {"account": account, "leaf": leaf})["url"]
        self.reply(200, self.order_body(order), [("Location", order["url"])])

    def post_certificate(self, _, __, account):
        thing = self.ca.find("certificate", self.ca.url + self.path, account)
        self.reply(200, pem_of(thing["leaf"], self.ca.issuer.certificate),
                   [("Link", f'<{self.ca.url}/authority>;rel="up"')],
                   kind="application/pem-certificate-chain")
