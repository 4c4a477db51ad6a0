"""Which pools the keeper looks at: nothing that would mount an automount or keep it from being idle."""

import pytest

from kvmontap.daemon.keeper import meant
from kvmontap.host.mountinfo import Mount
from kvmontap.model import Boot, Pool

ROOT = Mount("/", "/dev/sda", "ext4", id=1, parent=0)
THERE = (ROOT, Mount("/mnt/p", "nas:/p", "nfs4", id=2, parent=1))
ARMED = (ROOT, Mount("/mnt/p", "systemd-1", "autofs", id=2, parent=1))
USED = ARMED + (Mount("/mnt/p", "nas:/p", "nfs4", id=3, parent=2),)


@pytest.mark.parametrize(("mode", "idle", "mounts", "looked"), [
    ("boot", 0, (ROOT,), True), ("boot", 0, THERE, True),
    ("manual", 0, (ROOT,), True), ("manual", 0, THERE, True),
    ("automount", 0, ARMED, False), ("automount", 0, USED, True),
    ("automount", 60, ARMED, False), ("automount", 60, USED, False),
])  # fmt: skip
def test_what_is_looked_at(mode, idle, mounts, looked):
    assert meant(Pool("p", "nfs", "/mnt/p", boot=Boot(mount=mode, idle_timeout=idle)), mounts) == looked


def test_a_pool_without_a_mount_is_looked_at():
    assert meant(Pool("p", "iscsi", type="logical"), (ROOT,))
