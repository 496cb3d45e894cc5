"""launch.py MODULE ARGUMENTS: the main() of a service. Debian's packages of the libraries have the
code of every daemon, and only those of the daemons, with libvirt, lvm and tgt behind them, the
programs that call it."""
import importlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.argv = sys.argv[1:]
sys.exit(importlib.import_module(sys.argv[0]).main())
