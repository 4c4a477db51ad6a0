"""The kernel's events about devices that storage has: the one module of kvmontap that imports pyudev."""

from typing import Any, Optional

# `block` has device-mapper too: a path that fails or returns is a change of its map.
SUBSYSTEMS = ("block", "nvme", "nvme-subsystem", "fc_host", "fc_remote_ports", "iscsi_session", "scsi")


class Monitor:
    """Events from now on.  Of the kernel itself, not of udevd: what is read afterwards stands in /sys, and a container has no udevd."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    def fileno(self) -> int:
        """Readable while there is something to be drained."""
        return int(self._monitor.fileno())

    def drained(self) -> bool:
        """Whether there was any event; afterwards there is none.  One that was lost for want of room counts."""
        some = False
        while True:
            try:
                if self._monitor.poll(timeout=0) is None:
                    return some
            except OSError:  # ENOBUFS
                pass
            some = True


def monitor() -> Optional[Monitor]:
    """A monitor that listens, None where pyudev or the kernel's socket is not to be had."""
    try:
        import pyudev  # pylint: disable=import-outside-toplevel

        made = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
        for subsystem in SUBSYSTEMS:
            made.filter_by(subsystem)
        made.start()
    except (ImportError, OSError):
        return None
    return Monitor(made)
