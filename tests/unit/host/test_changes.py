"""Waiting for mounts and devices: the real kernel tells."""

import os
import subprocess
import sys
import threading
import time

import pytest

from kvmontap.host import changes, udev

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# In a mount namespace of its own: a line is said for every thing that has happened.
WATCH = """
import subprocess, sys
from kvmontap.host.changes import Changes
changes = Changes()
for command in ("true", f"mount -t tmpfs none {sys.argv[1]}", "true", f"umount {sys.argv[1]}"):
    subprocess.run(command.split(), check=True)
    print(sorted(changes.wait(0.2)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_mounts_that_come_and_go(tmp_path):
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", WATCH, str(tmp_path)], env={**os.environ, "PYTHONPATH": ROOT},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout == "[]\n['mounts']\n[]\n['mounts']\n", done.stderr


def test_calls_and_time():
    made = changes.Changes()
    assert made.wait(0.05) == set()
    for _ in range(100_000):  # more than a pipe holds
        made.call()
    assert made.wait(None) == {changes.CALLED}
    threading.Timer(0.1, made.call).start()
    began = time.monotonic()
    assert made.wait(20) == {changes.CALLED} and time.monotonic() - began < 10
    made.close()


def uevent():
    """A device of the kernel that anybody can have an event of."""
    for name in sorted(os.listdir("/sys/block")):
        if name.startswith("loop") and os.access(f"/sys/block/{name}/uevent", os.W_OK):
            return f"/sys/block/{name}/uevent"
    return ""


@pytest.mark.skipif(not uevent(), reason="no loop device, or not root")
def test_a_device_that_changes():
    made = changes.Changes(monitor=udev.monitor())
    made.wait(0.1)
    # Ten thousand in a row: some are lost for want of room, and that counts as one more.
    for _ in range(10_000):
        with open(uevent(), "w", encoding="ascii") as stream:
            stream.write("change")
    assert changes.DEVICES in made.wait(20)
    until = time.monotonic() + 20
    while made.wait(0.05):
        assert time.monotonic() < until
    made.close()
