"""Fibre Channel: nothing to log in to.  The fabric brings the LUNs; the host is only asked to look again."""

import os
import time
from typing import Tuple

from kvmontap.attach.call import AttachError, say
from kvmontap.host import san
from kvmontap.model import Pool

FC_HOSTS = "sys/class/fc_host"
STEP = 0.5
NVME_DISCOVERY = "sys/class/fc/fc_udev_device/nvme_discovery"


def start(pool: Pool, deadline: float, root: str = "/") -> None:
    """AttachError where this host has no adapter by `deadline` (time.monotonic()); one with its link down is only told.

    At boot the adapter's driver is loaded beside us, and some take half a minute to show their ports."""
    hosts = adapters(root)
    while not hosts and time.monotonic() < deadline:
        time.sleep(STEP)
        hosts = adapters(root)
    if not hosts:
        raise AttachError("this host has no Fibre Channel adapter (nothing in /sys/class/fc_host)")
    for name, state in hosts:
        if state != "Online":
            say(f"pool {pool.name}: adapter {name} is {state.lower() or 'in no state'}")


def adapters(root: str = "/") -> Tuple[Tuple[str, str], ...]:
    """(name, port state) of each adapter: ("host1", "Online")."""
    base = os.path.join(root, FC_HOSTS)
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return ()
    return tuple((name, _read(os.path.join(base, name, "port_state"))) for name in names)


def rescan(root: str = "/") -> None:
    """Have every adapter look for new LUNs, and udev for NVMe subsystems, which it then connects by the distribution's own rules."""
    for name, _ in adapters(root):
        _write(os.path.join(root, "sys/class/scsi_host", name, "scan"), "- - -\n")
    _write(os.path.join(root, NVME_DISCOVERY), "add\n")


def found(root: str = "/") -> Tuple[str, ...]:
    """The WWIDs that this host sees over Fibre Channel."""
    return san.luns(disks(root), root)


def disks(root: str = "/") -> Tuple[str, ...]:
    """The disks behind the ports of a fabric: sda, sdb."""
    base = os.path.join(root, "sys/block")
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return ()
    return tuple(name for name in names if name.startswith("sd") and "/rport-" in os.path.realpath(os.path.join(base, name)))


def _write(path: str, text: str) -> None:
    """What the kernel does not have, or does not take, is not asked for."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # sysfs lets nobody read these, and nothing is to be made
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
    except OSError:
        pass


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""
