"""The bench measures our processes, not this machine's serial console: /dev/kmsg is /dev/null for it.  Its table ends the run."""

import ctypes
import os

import pytest

from tests.bench import everything, measure
from tests.libvirt import tree

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
found = []


def without_kernel_log():
    """The generator tells problems to the kernel log, and the kernel prints each on the console before write(2) returns."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 and libc.unshare(CLONE_NEWNS) == 0:
        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        libc.mount(b"/dev/null", b"/dev/kmsg", None, MS_BIND, None)


@pytest.fixture(scope="session", autouse=True)
def no_kernel_log():
    without_kernel_log()


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    return measure.installed(str(tmp_path_factory.mktemp("package")), str(tree.vendor()))


@pytest.fixture
def measured(package, tmp_path):
    """measured(measurement): its figures, which the table at the end shows too."""

    def run(measurement):
        figures = measurement(package, tmp_path)
        found.extend(figures)
        return figures

    return run


def pytest_terminal_summary(terminalreporter):
    if found:
        terminalreporter.write_line(f"\n{everything.machine()}\n\n{everything.table(found)}")
