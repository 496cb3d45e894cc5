"""`backup media` on real Swift: the tests of the pocket cloud, where the answer is the same."""
from store import *

sys.path.insert(0, f"{SOURCE}/test/story")
import backup_media  # noqa: E402
from backup_media import test_other_project, test_same_project  # noqa: E402, F401

backup_media.CLOUDS[:] = ["real-backup", "real-media"]

use(*backup_media.CLOUDS)
main()
