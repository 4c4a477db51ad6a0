"""`python3 -m kvmontap`: the command line, from the tree or installed."""

import sys

from kvmontap.cli import main

sys.exit(main())
