"""The projects of a real Swift that a test may fill: without any container of an earlier one, before and after."""
from real import *


class Store:
    """Stands where a Pocket does. `containers`: in each of the projects; else all that are there."""

    def __init__(self, folder, logins, containers=None):
        self.dir, self.clouds = folder, f"{LAB}/clouds.yaml"
        open(folder + ".out", "wb").close()
        self.logins, self.containers = logins, containers
        self.sweep()

    def log(self):
        """What Swift was asked is not known: what a run says of itself has to do."""
        return []

    def sweep(self):
        for login in self.logins:
            call = lambda *a, **k: api.call("object-store", *a, ok=False, **k)
            api = Api(self, login)
            for name in self.containers or [row["name"] for row in call("GET", "?format=json")[2]]:
                # The old kind of versions would keep what is deleted here.
                call("POST", f"/{name}", headers={"X-Remove-Versions-Location": "x", "X-Remove-History-Location": "x"})
                # What expired is listed until the expirer has been there.
                until(f"{name} is gone", 120, lambda: empty(call, name))

    def stop(self):
        self.sweep()


def empty(call, name):
    for versions in ("&versions=", ""):
        status, _, rows = call("GET", f"/{name}?format=json{versions}")
        for row in rows if status == 200 else []:
            version = f"?version-id={row['version_id']}" if versions and row.get("version_id") else ""
            call("DELETE", f"/{name}/{urllib.parse.quote(row['name'])}{version}")
    return call("DELETE", f"/{name}")[0] in (204, 404)


def use(*logins, containers=None):
    """For all tests of this program."""
    def start(t, *_):
        t.pocket = Store(f"{t.dir}/pocket", logins, containers)
        return t.pocket
    Test.start_pocket = start
