#!/usr/bin/python3
"""The second reader of a backup: rebuilds a folder from a manifest by the format alone (src/backup/object.h, base.h),
with none of atoll's code. Python, Debian's python3-nacl and python3-zstandard.

    backup_reader.py STORE SECRET_KEY_FILE SIGNER_FILE MANIFEST TO

STORE: a folder with the repository's objects. MANIFEST: a name in it, host/base/... . SECRET_KEY_FILE: one line of
base64, an X25519 secret key (drill.key). SIGNER_FILE: Ed25519 public keys that are believed, one a line (host.pub).
TO: a folder that is not there. The log is not put in: PostgreSQL's pg_verifybackup -n is satisfied with the result.
"""
import base64
import hashlib
import json
import os
import struct
import sys

import nacl.bindings as sodium
import nacl.exceptions
import zstandard

MAGIC, PAGE = b"ATOLLBK1", 8192


class Bad(Exception):
    """An object is not what it says it is."""


def public_lines(path):
    with open(path) as f:
        return [base64.b64decode(line.split()[0]) for line in f if line.strip()]


class Object:
    """One object, checked: hash in its name, signature by one of the signers."""

    def __init__(self, store, name, signers):
        with open(f"{store}/{name}", "rb") as f:
            data = f.read()
        if data[:8] != MAGIC or len(data) < 12 + 64:
            raise Bad(f"{name}: no object of atoll's")
        head_bytes, = struct.unpack("<I", data[8:12])
        self.name, self.head_hash = name, hashlib.sha256(data[:12 + head_bytes]).hexdigest()
        head = json.loads(data[12:12 + head_bytes])
        self.system, self.kind, self.facts, self.to = (head[k] for k in ("system", "kind", "facts", "to"))
        self.frames = head["frames"]
        self.hash = hashlib.sha256(data[:-64]).hexdigest()
        if not name.endswith("-" + self.hash[:32]):
            raise Bad(f"{name}: its bytes are not those that it was named for")
        if not any(self.signed(data[-64:], key) for key in signers):
            raise Bad(f"{name}: nobody who is believed has signed it")
        self.offsets, at = [], 12 + head_bytes
        for stored, _ in self.frames:
            self.offsets.append(at)
            at += stored
        if at + 64 != len(data):
            raise Bad(f"{name}: {len(data)} bytes, not {at + 64}")
        self.data, self.cache = data, {}

    def signed(self, signature, key):
        message = b"atoll backup object\n" + self.hash.encode()
        try:
            return sodium.crypto_sign_open(signature + message, key) == message
        except nacl.exceptions.BadSignatureError:
            return False

    def open(self, secret):
        """With a recipient's secret key."""
        public = sodium.crypto_scalarmult_base(secret)
        sealed = self.to.get(base64.b64encode(public).decode())
        if sealed is None:
            raise Bad(f"{self.name}: not sealed to this key")
        self.key = sodium.crypto_box_seal_open(base64.b64decode(sealed), public, secret)

    def frame(self, i):
        """The plain bytes of one."""
        if i not in self.cache:
            stored, plain = self.frames[i]
            nonce = struct.pack("<I", i) + bytes(20)
            box = self.data[self.offsets[i]:self.offsets[i] + stored]
            packed = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(box, None, nonce, self.key)
            self.cache = {i: zstandard.ZstdDecompressor().decompress(packed, max_output_size=plain)}
            if len(self.cache[i]) != plain:
                raise Bad(f"{self.name}: frame {i} has {len(self.cache[i])} bytes, not {plain}")
        return self.cache[i]

    def whole(self):
        return b"".join(self.frame(i) for i in range(len(self.frames)))


class Packs:
    """The packs of a manifest; a few are kept open."""

    def __init__(self, store, facts, secret, signers, keep=8):
        self.store, self.rows, self.secret, self.signers, self.keep = store, facts["packs"], secret, signers, keep
        self.opened = {}

    def pages(self, run):
        pack, frame, page, count = run
        if pack < 0:
            return bytes(PAGE * count)
        if pack not in self.opened:
            while len(self.opened) >= self.keep:
                self.opened.pop(next(iter(self.opened)))
            name, size, head_hash = self.rows[pack]
            o = Object(self.store, name, self.signers)
            if o.head_hash != head_hash or len(o.data) != size:
                raise Bad(f"{name}: not the pack that the manifest means")
            o.open(self.secret)
            self.opened[pack] = o
        found = self.opened[pack].frame(frame)[PAGE * page:PAGE * (page + count)]
        if len(found) != PAGE * count:
            raise Bad(f"{self.rows[pack][0]}: frame {frame} has no pages {page} to {page + count}")
        return found


def files(manifest):
    """The lines of a manifest that is open."""
    return [json.loads(line) for line in manifest.whole().decode().splitlines()]


def safe(path):
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise Bad(f"a path that leaves the folder: {path}")
    return path


def rebuild(store, secret, signers, name, to):
    """The manifest's facts. Tablespaces become folders below pg_tblspc."""
    manifest = Object(store, name, signers)
    manifest.open(secret)
    packs = Packs(store, manifest.facts, secret, signers)
    os.makedirs(to, mode=0o700)
    for line in files(manifest):
        path = f"{to}/{safe(line['path'])}"
        if line["kind"] in ("dir", "link"):
            if not line["path"].startswith("pg_tblspc/") and line["kind"] == "link":
                os.symlink(line["target"], path)
            else:
                os.makedirs(path, mode=0o700, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        left = line["size"]
        with open(path, "wb") as f:
            for run in line.get("runs", []):
                data = packs.pages(run)
                if left <= len(data) - PAGE:
                    raise Bad(f"{line['path']}: more pages than its size")
                f.write(data[:left])
                left -= min(left, len(data))
        if left:
            raise Bad(f"{line['path']}: {left} bytes are missing")
        os.chmod(path, line["mode"] & 0o700)
    return manifest.facts


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    store, key, signers, name, to = sys.argv[1:]
    try:
        facts = rebuild(store, public_lines(key)[0], public_lines(signers), name, to)
    except (Bad, nacl.exceptions.CryptoError) as e:
        sys.exit(f"error: {e}")
    print(f"backup {facts['id']}: {facts['bytes']} bytes of files, start {facts['start']}, stop {facts['stop']}")


if __name__ == "__main__":
    main()
