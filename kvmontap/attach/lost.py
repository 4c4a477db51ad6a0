"""At shutdown, after the VMs and before the unmounts: devices that no path leads to any more are given up, so that the shutdown ends.

A multipath map that queues (no_path_retry queue, as multipath has it for ONTAP) and an NVMe controller that is kept for ever
(ctrl-loss-tmo -1) hold back every write until a path returns.  That is right as long as a VM runs.  Once the VMs have been stopped it
only means that QEMU, the unmount and the logout hang, each until systemd's own deadline.  So a device that answers nothing for
PATIENCE seconds, and that has no path, gets its I/O failed here; and nowhere else.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterable, NamedTuple, Optional, Tuple

from kvmontap.attach.call import call, say
from kvmontap.host import holders, san
from kvmontap.model import FILE_PROTOCOLS, Pool
from kvmontap.units.block import device_path

SYSTEMCTL = "/usr/bin/systemctl"
DD = "/usr/bin/dd"
DMSETUP = "/usr/sbin/dmsetup"
MULTIPATHD = "/usr/sbin/multipathd"
NVME = "/usr/sbin/nvme"
PATIENCE = 30.0  # longer than a LIF takes to move to another node
LEAVE = 20.0  # for what had the file system open to end, now that its I/O does
SECONDS = 15.0  # for one call


class Lost(NamedTuple):
    """A device and the ways to it."""

    map: str  # dm-0, its multipath map; "" for a namespace
    controllers: Tuple[str, ...]  # nvme0, nvme1; of a namespace
    up: bool  # whether the kernel believes in a path to it


def give_up(pools: Iterable[Pool]) -> None:
    """Fail the I/O of the pools' devices that no path leads to; does nothing unless the host is shutting down."""
    blocks = [pool for pool in pools if pool.protocol not in FILE_PROTOCOLS and (pool.wwid or pool.namespace)]
    if not blocks or not stopping():
        return
    with ThreadPoolExecutor(len(blocks)) as threads:
        lost = [pool for pool, gone in zip(blocks, threads.map(_judge, blocks)) if gone]
    deadline = time.monotonic() + LEAVE
    for pool in lost:
        while pool.target and time.monotonic() < deadline and holders.below(pool.target):
            time.sleep(0.2)


def stopping() -> bool:
    """Whether this host is on its way down, by the word of systemd."""
    return call((SYSTEMCTL, "is-system-running"), SECONDS).out.strip() == "stopping"


def _judge(pool: Pool) -> bool:
    """Whether the pool's device had to be given up."""
    path = device_path(pool)
    if look(pool) is None or not os.path.exists(path):
        return False
    # Reading is what tells: a path is believed in until a command on it has timed out.
    if call((DD, f"if={path}", "of=/dev/null", "bs=4096", "count=1", "iflag=direct"), PATIENCE).code != 124:
        return False
    found = look(pool)
    if found is None:
        return False
    if found.up:
        say(f"pool {pool.name}: {path} has not answered for {PATIENCE:.0f} s, but a path to it is up; unmounting it may take long")
        return False
    say(f"pool {pool.name}: no path to {path}, and no answer for {PATIENCE:.0f} s; since this host shuts down, what was still to be "
        "written there is given up")
    fail(found)
    return True


def look(pool: Pool, root: str = "/") -> Optional[Lost]:
    """The pool's device, None where it is not there."""
    device = san.multipath(pool.wwid, root) if pool.wwid else san.namespace(pool.namespace, root)
    if device is None:
        return None
    up = any(path.up for path in device.paths)
    return Lost(device.name, (), up) if pool.wwid else Lost("", tuple(path.name for path in device.paths), up)


def fail(lost: Lost) -> None:
    """Have the kernel answer with an error what waits for the device."""
    if lost.map:
        # multipathd, while it runs, would turn queueing on again by itself.
        call((MULTIPATHD, "disablequeueing", "map", lost.map), SECONDS)
        call((DMSETUP, "message", f"/dev/{lost.map}", "0", "fail_if_no_path"), SECONDS)
    for name in lost.controllers:
        call((NVME, "disconnect", "-d", name), SECONDS)
