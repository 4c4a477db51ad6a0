"""python -m tests.lab.shell: the tests' site, kept until Enter is pressed, with an ssh command for each VM."""

from __future__ import annotations

import shlex

from . import site


def main() -> None:
    """Build the site, show how to get in, wait, take it down."""
    place = site.build()
    try:
        for name, vm in place.lab.vms.items():
            print(f"{name:8} {shlex.join(vm.ssh_command())}")
        input("Enter ends the lab. ")
    finally:
        place.lab.close()


if __name__ == "__main__":
    main()
