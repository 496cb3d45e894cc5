"""A backup of a test's cluster: settings, keys, a store in a folder, the stream, and what lies in the store.

    b = Backup(t, pg)                      # t.dir/backup.yaml, keys, store
    s = b.stream("--make-slot"); s.flows()
    b.catch_up(pg); b.contiguous()
"""
import hashlib
import os
import signal
import struct

from harness import *
from pg import *


class Piece:
    """Of WAL, by its name and the head that anybody may read (src/backup/object.h)."""

    def __init__(self, folder, name):
        self.name = name
        tli, rest = name.split("/")[2:]
        start, end, self.identity = rest.split("-")
        self.tli, self.start, self.end = int(tli, 16), int(start, 16), int(end, 16)
        self.stored = os.stat(f"{folder}/{name}").st_ctime  # when it got its name
        with open(f"{folder}/{name}", "rb") as f:
            data = f.read()
        equal(data[:8], b"ATOLLBK1", name)
        head = json.loads(data[12:12 + struct.unpack("<I", data[8:12])[0]])
        self.hash = hashlib.sha256(data[:-64]).hexdigest()  # behind it is the signature
        self.facts = head["facts"]
        check(self.hash.startswith(self.identity), f"{name}: its hash is {self.hash}")
        equal((parse_lsn(self.facts["start"]), parse_lsn(self.facts["end"])), (self.start, self.end), name)


class Stream:
    def __init__(self, backup, options):
        self.backup = backup
        self.base = f"{backup.t.dir}/stream-{len(backup.streams)}"
        with open(self.base + ".out", "wb") as out, open(self.base + ".err", "wb") as err:
            self.process = subprocess.Popen(
                [f"{BUILD}/atoll", "backup", "stream", "--settings", backup.settings, "--json", *options],
                env=backup.t.env(), stdout=out, stderr=err, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        backup.t.processes.append(self)

    def events(self):
        with open(self.base + ".out") as f:
            return [json.loads(line) for line in f if line.endswith("\n") and '"stream"' in line]

    def words(self):
        with open(self.base + ".err") as f:
            return f.read()

    def received(self):
        events = self.events()
        return parse_lsn(events[-1]["received"]) if events else 0

    def flows(self):
        def look():
            check(self.process.poll() is None, f"the stream ended: {self.words()}")
            return "the log comes from" in self.words()
        until("the log comes", 30, look)

    def stop(self):
        self.process.terminate()
        return self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait()

    # As harness.Test ends its processes: at once.
    def poll(self):
        return self.process.poll()

    def terminate(self):
        self.process.kill()

    def wait(self, seconds):
        return self.process.wait(seconds)


class Backup:
    """repository: as in the settings; None: the folder self.store."""

    def __init__(self, t, pg, *lines, repository=None):
        self.t, self.pg, self.streams = t, pg, []
        self.settings, self.store = f"{t.dir}/backup.yaml", f"{t.dir}/store"
        self.repository = repository or f"{{folder: {self.store}}}"
        self.configure(*lines)
        self.make_keys()

    def configure(self, *lines, state=None):
        with open(self.settings, "w") as f:
            f.write(self.pg.settings_lines() + "slot: reef\n" + f"repository: {self.repository}\n"
                    f"keys: {self.t.dir}/keys\nstate: {state or self.t.dir + '/state'}\n"
                    f"programs: {pg_bin()}\n" + "".join(f"{line}\n" for line in lines))

    def make_keys(self):
        result = self.t.run(f"{BUILD}/atoll", "backup", "init", "--settings", self.settings,
                            "--recovery-file", f"{self.t.dir}/recovery")
        equal(result.code, 0, f"backup init: {result}")

    def stream(self, *options):
        s = Stream(self, options)
        self.streams.append(s)
        return s

    def run(self, *options, timeout=60):
        """A stream that is to end by itself."""
        return self.t.run(f"{BUILD}/atoll", "backup", "stream", "--settings", self.settings, *options,
                          timeout=timeout)

    def files(self):
        """Names in the store, without what is half-written."""
        found = []
        for folder, _, names in os.walk(self.store):
            found += [os.path.relpath(f"{folder}/{n}", self.store) for n in names if not n.startswith(".")]
        return sorted(found)

    def names(self, tli=1, host="host"):
        folder = f"{self.store}/{host}/wal/{tli:08x}"
        found = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        return [n for n in found if n[0] != "." and not n.startswith("history")]

    def pieces(self, tli=1):
        return [Piece(self.store, f"host/wal/{tli:08x}/{n}") for n in self.names(tli)]

    def contiguous(self, tli=1):
        """All pieces of a timeline, by start; fails where there is a hole."""
        pieces = self.pieces(tli)
        check(pieces, "nothing is stored")
        reach = pieces[0].start
        for p in pieces:
            check(p.start <= reach, f"a hole of {p.start - reach} bytes before {p.name}")
            reach = max(reach, p.end)
        return pieces

    def reach(self, tli=1, host="host"):
        """How far from the first piece there is no hole."""
        end = 0
        for name in self.names(tli, host):
            start, stop = (int(v, 16) for v in name.split("-")[:2])
            if end and start > end:
                break
            end = max(end, stop)
        return end

    def catch_up(self, pg, seconds=20):
        """Until PostgreSQL was told that all it has is stored."""
        until("all is stored", seconds, lambda: pg_slot(pg) >= pg.lsn())


def pg_slot(pg, name="reef"):
    at = pg.sql(f"SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{name}'")
    return parse_lsn(at) if at else 0
