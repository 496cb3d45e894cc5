"""The canary as a container image, and a registry that has it.

    archive = image_archive("1")            # an OCI archive; made once, kept beside machine.py's root
    with Registry(archive) as registry:     # plain HTTP, what `podman pull` asks of one
        registry.ref                        # "127.0.0.1:40123/canary@sha256:..."
        registry.settings                   # for /etc/containers/registries.conf.d
"""
import fcntl
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tarfile
import threading

from harness import PATH, SOURCE, Skipped, check
from machine import CACHE, lock, sources

IMAGES = os.path.join(os.path.dirname(CACHE), "image")


def image_archive(version):
    """Packing takes a minute the first time, then 15 s; again when what it is made from changes.
    Skipped, where it can't be done."""
    for program in ("debootstrap", "podman", "bundle"):
        if not shutil.which(program, path=PATH):
            raise Skipped(f"{program} is not installed (scripts/deps test)")
    files = [f"{SOURCE}/scripts/canary-image", f"{SOURCE}/scripts/canary-tree"]
    for folder, _, names in os.walk(f"{SOURCE}/data/canary"):
        files += [f"{folder}/{name}" for name in names]
    content = hashlib.sha256()
    for name in sorted(files):
        with open(name, "rb") as f:
            content.update(f.read())
    path = f"{IMAGES}/{version}-{content.hexdigest()[:12]}.tar"
    os.makedirs(IMAGES, mode=0o700, exist_ok=True)
    with lock(f"{IMAGES}/lock", fcntl.LOCK_EX):
        if not os.path.exists(path):
            for name in os.listdir(IMAGES):
                if name.startswith(f"{version}-"):
                    os.unlink(f"{IMAGES}/{name}")
            done = subprocess.run([f"{SOURCE}/scripts/canary-image", version, path],
                                  capture_output=True, text=True, env={
                                      **os.environ, "PATH": PATH, "CANARY_CACHE": IMAGES,
                                      "MIRROR": sources("bookworm")[1]})
            check(done.returncode == 0, f"canary-image {version}: {done.stderr}")
    return path


class Registry:
    """Has one image, under the name "canary" (OCI distribution specification, "Pull")."""

    def __init__(self, archive):
        self.tar, self.asked = tarfile.open(archive), []
        (manifest,) = json.loads(self._member("index.json"))["manifests"]
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                kind, _, name = self.path.removeprefix("/v2/canary/").partition("/")
                registry.asked.append(self.path)
                body = b""
                if name.startswith("sha256:"):
                    body = registry._member("blobs/" + name.replace(":", "/"))
                self.send_response(200 if body or self.path == "/v2/" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", manifest["mediaType"] if kind == "manifests" else
                                 "application/octet-stream")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        host = f"127.0.0.1:{self.server.server_port}"
        self.ref = f"{host}/canary@{manifest['digest']}"
        self.settings = f'[[registry]]\nlocation = "{host}"\ninsecure = true\n'

    def _member(self, name):
        return self.tar.extractfile(name).read()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.tar.close()
