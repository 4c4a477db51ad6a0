"""Sleeps until something happens that the health of a pool may depend on: a mount that comes or goes, a path that does.

Mounts are told by poll(2) on mountinfo (proc(5): POLLPRI), devices by the kernel's own events through udev's library.  Nothing is asked for
meanwhile, so that waiting costs nothing.
"""

import os
import select
from typing import Optional, Set

from kvmontap.host.udev import Monitor

MOUNTS, DEVICES, CALLED = "mounts", "devices", "called"
SETTLE = 0.3  # seconds in which what belongs together comes together


class Changes:
    """For one thread that waits, and any that call it."""

    def __init__(self, root: str = "/", monitor: Optional[Monitor] = None) -> None:
        """`root`: where proc is; `monitor`: tells of devices, None = nobody does."""
        self._mounts = os.open(os.path.join(root, "proc/self/mountinfo"), os.O_RDONLY | os.O_CLOEXEC)
        self._heard, self._call = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._monitor = monitor
        self._poll = select.poll()
        self._poll.register(self._mounts, select.POLLPRI)
        self._poll.register(self._heard, select.POLLIN)
        if monitor is not None:
            self._poll.register(monitor.fileno(), select.POLLIN)

    def call(self) -> None:
        """Wakes the one that waits; it never blocks."""
        try:
            os.write(self._call, b"x")
        except BlockingIOError:  # it has been called often enough
            pass

    def wait(self, seconds: Optional[float]) -> Set[str]:
        """What has happened: some of MOUNTS, DEVICES, CALLED; nothing after `seconds` (None: however long it takes)."""
        happened = self._once(seconds)
        if happened & {MOUNTS, DEVICES}:
            # A storm of either is looked at three times a second at most.
            _sleep(SETTLE)
            happened |= self._once(0)
        return happened

    def _once(self, seconds: Optional[float]) -> Set[str]:
        happened = set()
        for number, _ in self._poll.poll(None if seconds is None else max(0.0, seconds) * 1000.0):
            if number == self._mounts:
                happened.add(MOUNTS)
            elif number == self._heard:
                os.read(self._heard, 1 << 16)
                happened.add(CALLED)
            elif self._monitor is not None and self._monitor.drained():
                happened.add(DEVICES)
        return happened

    def close(self) -> None:
        """Gives everything back."""
        for number in (self._mounts, self._heard, self._call):
            os.close(number)


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)
