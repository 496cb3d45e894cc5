"""swift_launch.py FOLDER PROGRAM CONF: Debian's program of Swift, with FOLDER for /etc/swift. The code
reads swift.conf there, whatever the settings say, unless it is told so before anything else."""
import runpy
import sys

from swift.common import utils

utils.set_swift_dir(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
