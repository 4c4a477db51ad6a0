"""The mounts of pools stopped for a while, and started again whatever happens in between.  An edge: systemd and /proc.

journal: {"kind": "revert", "targets": mount points that were mounted, "devices": of block pools, "active": libvirt pools that were active}
"""

import os
from typing import Any, Dict, List, Sequence

from kvmontap.host import mountinfo
from kvmontap.model import FILE_PROTOCOLS, Pool
from kvmontap.program import call
from kvmontap.snapshots.work import Work, WorkError
from kvmontap.units.block import device_path
from kvmontap.units.escape import path_unit

KIND = "revert"
SYSTEMCTL = "/usr/bin/systemctl"
BLOCKDEV = "/usr/sbin/blockdev"
SECONDS = 300.0


def stopping(work: Work, pools: Sequence[Pool], active: Sequence[str]) -> Dict[str, Any]:
    """Writes down what is about to be stopped."""
    targets = [pool.target for pool in pools if pool.target and _mounted(pool.target)]
    devices = [device_path(pool) for pool in pools if pool.protocol not in FILE_PROTOCOLS]
    value = {"kind": KIND, "targets": targets, "devices": devices, "active": list(active)}
    work.write(value)
    return value


def stop(value: Dict[str, Any]) -> None:
    """Unmounts, and has the kernel forget what it read of the devices; raises WorkError where something holds a mount."""
    for target in value["targets"]:
        done = call((SYSTEMCTL, "stop", path_unit(target, "automount"), path_unit(target, "mount")), SECONDS)
        if _mounted(target):
            raise WorkError(f"{target} cannot be unmounted ({done.why}); see what uses it: fuser -vm {target}")
    for device in value["devices"]:
        if os.path.exists(device):
            call((BLOCKDEV, "--flushbufs", device), SECONDS)


def start(value: Dict[str, Any]) -> List[str]:
    """Mounts again; a sentence for each that could not be."""
    failed = []
    for device in value.get("devices", []):
        if os.path.exists(device):
            call((BLOCKDEV, "--flushbufs", device), SECONDS)
    for target in value.get("targets", []):
        if _mounted(target):
            continue
        call((SYSTEMCTL, "start", path_unit(target, "automount")), SECONDS)
        done = call((SYSTEMCTL, "start", path_unit(target, "mount")), SECONDS)
        if not _mounted(target):
            failed.append(f"{target} cannot be mounted again ({done.why})")
    return failed


def _mounted(target: str) -> bool:
    return any(one.where == target and one.fstype != "autofs" for one in mountinfo.read())
