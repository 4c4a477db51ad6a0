"""The bench measures our processes, not this machine's serial console: /dev/kmsg is /dev/null for it."""

import ctypes
import os

import pytest

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


@pytest.fixture(scope="session", autouse=True)
def no_kernel_log():
    """The generator tells problems to the kernel log, and the kernel prints each on the console before write(2) returns."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 and libc.unshare(CLONE_NEWNS) == 0:
        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        libc.mount(b"/dev/null", b"/dev/kmsg", None, MS_BIND, None)
