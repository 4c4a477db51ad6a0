"""python -m tests.bench [--long] [NAME...]: measure, print the table of budgets, and end with 1 where a bound was missed."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench import everything, measure
from tests.bench.conftest import without_kernel_log
from tests.libvirt import tree


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--long", action="store_true", help="those too that take minutes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join([*everything.SHORT, *everything.LONG])}")
    given = parser.parse_args()
    known = {**everything.SHORT, **everything.LONG}
    for name in given.names:
        if name not in known:
            parser.error(f"no measurement {name}")
    without_kernel_log()
    work, figures = Path(tempfile.mkdtemp(prefix="kvmontap-bench-")), []
    try:
        package = measure.installed(str(everything.room(work, "package")), str(tree.vendor()))
        for name in given.names or (known if given.long else everything.SHORT):
            print(f"measuring {name}", file=sys.stderr, flush=True)
            figures += known[name](package, everything.room(work, name))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(everything.machine() + "\n")
    print(everything.table(figures))
    return 0 if all(figure.passed for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
