"""Where backups are kept, on real Swift: the tests of the pocket cloud, where the answer is the same; and databases
that die with their disks."""
from real import *

sys.path.insert(0, f"{SOURCE}/test/story")
from backup_store import (Place, test_a_thief_writes_over, test_addresses_end,  # noqa: E402, F401
                          test_addresses_only_put, test_audit, test_container_that_was_there,
                          test_contract_on_swift, test_init, test_list, test_strangers_only,
                          test_two_auditors)

os.environ.setdefault("ATOLL_SWIFT", "real-backup")
os.environ.setdefault("ATOLL_CRASHES", "3")
from backup_crash import test_crashes  # noqa: E402, F401

Place.cloud = "real-backup"
CONTAINERS = ("bk", "old", "older", "plain", "archive")


class Store:
    """Stands where a Pocket does: the project's containers, without any of an earlier test."""

    def __init__(self, folder):
        self.dir, self.clouds = folder, f"{LAB}/clouds.yaml"
        open(folder + ".out", "wb").close()
        self.sweep()

    def call(self, method, path, ok=True):
        return self.api.call("object-store", method, path, ok=ok)

    def rows(self, path):
        status, _, answer = self.call("GET", path, ok=False)
        return answer if status == 200 else []

    def empty(self, name, versioned):
        for row in self.rows(f"/{name}?format=json" + ("&versions=" if versioned else "")):
            version = f"?version-id={row['version_id']}" if versioned else ""
            self.call("DELETE", f"/{name}/{row['name']}{version}", ok=False)
        return self.call("DELETE", f"/{name}", ok=False)[0] in (204, 404)

    def sweep(self):
        self.api = Api(self, Place.cloud)
        for name in CONTAINERS:
            status, headers, _ = self.call("HEAD", f"/{name}", ok=False)
            if status != 404:
                # The old kind would keep what is deleted here.
                self.api.call("object-store", "POST", f"/{name}", headers={
                    "X-Remove-Versions-Location": "x", "X-Remove-History-Location": "x"}, ok=False)
                # What expired is listed until the expirer has been there.
                until(f"{name} is gone", 120, lambda: self.empty(name, "X-Versions-Enabled" in headers))

    def stop(self):
        self.sweep()


def start(t, *_):
    t.pocket = Store(f"{t.dir}/pocket")
    return t.pocket


Test.start_pocket = start
main()
