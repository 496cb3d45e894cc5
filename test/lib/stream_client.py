"""A client of the streaming protocol that can send wrong bytes: HTTP/1.1, server-sent events and WebSocket (RFC 6455)
written out by hand over TCP or a unix socket.

    c = Conn(("127.0.0.1", 4000)); c.send(request("GET", "/health")); c.answer()    # (status, headers, body)
    s = Sse(address, "/api/v1/streaming/user", token)                               # 200, first bytes seen
    w = Ws(address, "/?stream=user", token); w.say({"type": "subscribe", ...}); w.message()

Nothing here waits longer than its deadline (SECONDS, more under sanitizers), and nothing sleeps.
"""
import base64
import hashlib
import json
import os
import re
import socket
import struct
import time

from harness import Failed, check, equal

SECONDS = float(os.environ.get("STREAM_DEADLINE", "10"))  # seconds that an answer may take
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the one of the RFC
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Closed(Exception):
    """The other side has ended it: code and reason of its close frame, None without one."""

    def __init__(self, code=None, reason=b"", frame=False):
        super().__init__(f"closed: {code} {reason!r}" if frame else "ended without a close frame")
        self.code, self.reason, self.frame = code, reason, frame


def request(method, target, headers=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers)]
    if not any(k.lower() == "host" for k, _ in headers):
        lines.insert(1, "Host: stream.example")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def upgrade(target="/", headers=(), key=KEY, version="13", method="GET", protocol="websocket"):
    given = [("Connection", "Upgrade"), ("Upgrade", protocol), ("Sec-WebSocket-Key", key),
             ("Sec-WebSocket-Version", version)]
    return request(method, target, [(k, v) for k, v in given if v is not None] + list(headers))


def bearer(token):
    return [("Authorization", f"Bearer {token}")] if token else []


class Headers(list):
    """Pairs in the order they came."""

    def get(self, name):
        found = [v for k, v in self if k.lower() == name.lower()]
        check(len(found) < 2, f"{name} twice: {found}")
        return found[0] if found else None


class Conn:
    def __init__(self, address, seconds=SECONDS, receive_bytes=None):
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(seconds)
        self.sock.connect(address)
        self.seconds, self.buffer, self.ended, self.asked = seconds, b"", False, b""

    def send(self, data):
        self.asked = self.asked or data.split(b"\r\n")[0][:80]
        self.sock.sendall(data)

    def more(self, seconds=None):
        """One piece more of what comes; False at the end."""
        self.sock.settimeout(max(0.001, self.seconds if seconds is None else seconds))
        try:
            piece = self.sock.recv(1 << 20)
        except ConnectionResetError:
            piece = b""
        except TimeoutError:
            raise Failed(f"nothing for {self.seconds if seconds is None else seconds:.1f} s; "
                         f"{self.asked!r}, unread {self.buffer[:200]!r}") from None
        self.buffer += piece
        self.ended = self.ended or not piece
        return bool(piece)

    def take(self, count):
        while len(self.buffer) < count:
            if not self.more():
                raise Closed()
        piece, self.buffer = self.buffer[:count], self.buffer[count:]
        return piece

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise Closed()
        piece, self.buffer = self.buffer.split(mark, 1)
        return piece

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, self.words = (lines[0] + " ").split(" ", 2)
        equal(version, "HTTP/1.1", "version of the answer")
        return int(status), Headers(tuple(line.split(": ", 1)) for line in lines[1:])

    def answer(self, method="GET"):
        status, headers = self.head()
        length = headers.get("Content-Length")
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif (headers.get("Transfer-Encoding") or "").lower() == "chunked":
            body = b"".join(iter(self.chunk, b""))
        elif length is not None:
            body = self.take(int(length))
        else:
            while self.more():
                pass
            body, self.buffer = self.buffer, b""
        return status, headers, body

    def chunk(self):
        size = int(self.until(b"\r\n").split(b";")[0], 16)
        piece = self.take(size)
        equal(self.take(2), b"\r\n", "end of a chunk")
        return piece

    def closes(self, seconds=None):
        """Waits for the end of the stream; what came before it is returned."""
        while self.more(seconds):
            pass
        piece, self.buffer = self.buffer, b""
        return piece

    def reset(self):
        """Away with RST, as a client whose machine dies."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


class Sse(Conn):
    """An open event stream. event() gives (name, data); comments are kept in self.comments."""

    def __init__(self, address, target, token=None, headers=(), **more):
        super().__init__(address, **more)
        self.send(request("GET", target, bearer(token) + list(headers)))
        self.status, self.headers = self.head()
        if self.status != 200:
            length = int(self.headers.get("Content-Length") or 0)
            raise Failed(f"GET {target}: {self.status} {self.take(length)!r}")
        equal(self.headers.get("Transfer-Encoding"), "chunked", "transfer encoding")
        self.text, self.comments = b"", []
        self.first = self.line()
        equal(self.first, b":)", "first line")

    def line(self):
        while b"\n" not in self.text:
            piece = self.chunk()
            if not piece:
                raise Closed()  # the response has ended normally
            self.text += piece
        line, self.text = self.text.split(b"\n", 1)
        return line

    def event(self):
        """Data may hold newlines: the block ends at an empty line."""
        name = None
        while True:
            line = self.line()
            if line.startswith(b":"):
                self.comments.append(line)
            elif line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"data: "):
                data = line[6:]
                while True:
                    line = self.line()
                    if not line:
                        return name, data.decode("utf-8", "surrogatepass")
                    data += b"\n" + line
            elif line:
                raise Failed(f"no line of an event stream: {line!r}")

    # As Ws.message, without a label.
    def message(self):
        name, data = self.event()
        return {"event": name, "payload": data}


def frame(opcode, payload=b"", fin=True, mask=b"\x12\x34\x56\x78", rsv=0, length=None):
    """length: what the header says, if it is to lie."""
    count = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if count < 126:
        head += bytes([bit | count])
    elif count < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", count)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", count)
    if mask:
        many = mask * (len(payload) // 4 + 1)
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(many[:len(payload)], "big")).to_bytes(len(payload), "big")
        head += mask
    return head + payload


class Ws(Conn):
    def __init__(self, address, target="/", token=None, headers=(), key=None, pong=True, **more):
        super().__init__(address, **more)
        self.pong, self.pings, self.pongs = pong, [], []
        key = key or base64.b64encode(os.urandom(16)).decode()
        self.send(upgrade(target, bearer(token) + list(headers), key))
        self.status, self.headers = self.head()
        if self.status != 101:
            raise Failed(f"upgrade of {target}: {self.status} {self.headers}")
        accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        equal(self.headers.get("Sec-WebSocket-Accept"), base64.b64encode(accept).decode(), "accept")

    def frame(self):
        """(fin, opcode, payload) of the next frame, whatever it is."""
        first, second = self.take(2)
        check(not first & 0x70, f"reserved bits: {first:02x}")
        check(not second & 0x80, "a masked frame of the server")
        count = second & 0x7f
        if count == 126:
            count, = struct.unpack(">H", self.take(2))
        elif count == 127:
            count, = struct.unpack(">Q", self.take(8))
        return bool(first & 0x80), first & 15, self.take(count)

    def text(self):
        """The next text message as it came; pings are answered, a close raises Closed."""
        while True:
            fin, opcode, payload = self.frame()
            if opcode == PING:
                self.pings.append(payload)
                if self.pong:
                    self.send(frame(PONG, payload))
            elif opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) > 1 else None
                raise Closed(code, payload[2:], True)
            else:
                equal((fin, opcode), (True, TEXT), "one unfragmented text frame")
                return payload.decode("utf-8")

    def message(self):
        self.last = self.text()
        return json.loads(self.last)

    def say(self, what, **more):
        text = what if isinstance(what, (str, bytes)) else json.dumps({**what, **more})
        self.send(frame(TEXT, text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text))

    def subscribe(self, stream, **more):
        self.say({"type": "subscribe", "stream": stream, **more})

    def unsubscribe(self, stream, **more):
        self.say({"type": "unsubscribe", "stream": stream, **more})

    def ends(self):
        """How the server ended it: the Closed, answered as a client does; messages before are passed over."""
        try:
            while True:
                self.text()
        except Closed as e:
            try:
                self.send(frame(CLOSE))
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has not waited for the answer
            return e


def wait_readable(conns, seconds):
    """Any of them has something to read, or is at its end."""
    import select
    return bool(select.select([c.sock for c in conns], [], [], max(0, seconds))[0])


UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def elapsed(since):
    return time.monotonic() - since
