"""Where backups are kept, on real Swift: the tests of the pocket cloud, where the answer is the same; and databases
that die with their disks."""
from store import *

sys.path.insert(0, f"{SOURCE}/test/story")
from backup_store import (Place, test_a_thief_writes_over, test_addresses_end,  # noqa: E402, F401
                          test_addresses_only_put, test_audit, test_container_that_was_there,
                          test_contract_on_swift, test_init, test_list, test_strangers_only,
                          test_two_auditors)

os.environ.setdefault("ATOLL_SWIFT", "real-backup")
os.environ.setdefault("ATOLL_CRASHES", "3")
from backup_crash import test_crashes  # noqa: E402, F401

Place.cloud = "real-backup"
use(Place.cloud, containers=("bk", "old", "older", "plain", "archive"))
main()
