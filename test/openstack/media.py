"""`backup media` on real Swift: the tests of the pocket cloud, where the answer is the same."""
from real import *

sys.path.insert(0, f"{SOURCE}/test/story")
import backup_media  # noqa: E402
from backup_media import test_other_project, test_same_project  # noqa: E402, F401

backup_media.CLOUDS[:] = ["real-backup", "real-media"]


class Store:
    """Stands where a Pocket does: two projects' containers, without any of an earlier test."""

    def __init__(self, folder):
        self.dir, self.clouds = folder, f"{LAB}/clouds.yaml"
        open(folder + ".out", "wb").close()
        self.sweep()

    def log(self):
        """What Swift was asked is not known here: the counts of a run have to do."""
        return []

    def sweep(self):
        for cloud in backup_media.CLOUDS:
            api = Api(self, cloud)
            for row in api.call("object-store", "GET", "?format=json")[2]:
                until(f"{row['name']} is gone", 60, lambda: self.empty(api, f"/{row['name']}"))

    def empty(self, api, container):
        for versions in ("&versions=", ""):
            status, _, rows = api.call("object-store", "GET", f"{container}?format=json{versions}", ok=False)
            for row in rows if status == 200 else []:
                version = f"?version-id={row['version_id']}" if versions and row.get("version_id") else ""
                api.call("object-store", "DELETE", f"{container}/{urllib.parse.quote(row['name'])}{version}", ok=False)
        return api.call("object-store", "DELETE", container, ok=False)[0] in (204, 404)

    def stop(self):
        self.sweep()


def start(t, *_):
    t.pocket = Store(f"{t.dir}/pocket")
    return t.pocket


Test.start_pocket = start
main()
