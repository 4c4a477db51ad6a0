"""What the gate remembers between two events: VMs that are arriving, and since when something is wrong.

Arrivals are files, so that a daemon and a hook without one know the same.  Edge: touches its own directory only.
"""

import os
import re
import threading
import time
from typing import Dict, Iterable, Tuple

from kvmontap.model import Finding

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# libvirt runs `prepare` right after `migrate`, within the same call.  An offline migration runs `migrate` alone: the
# mark it leaves must be old by the time somebody starts that VM here.
FRESH = 30.0


class Arrivals:
    """VMs for which `migrate` was answered with yes and whose `prepare` of the same migration is still to come."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def note(self, uuid: str) -> None:
        """Remember that the VM `uuid` is arriving.  Failing to costs one snapshot too many, so it is not told."""
        if not UUID.fullmatch(uuid):
            return
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            self._forget_old()
            with open(os.path.join(self.directory, uuid), "w", encoding="ascii") as mark:
                mark.write(repr(time.monotonic()))
        except OSError:
            return

    def claim(self, uuid: str) -> bool:
        """Whether this `prepare` belongs to a migration that `migrate` has dealt with; true once for each."""
        if not UUID.fullmatch(uuid):
            return False
        path = os.path.join(self.directory, uuid)
        fresh = self._is_fresh(path)
        try:
            os.unlink(path)
        except OSError:
            return False  # somebody else has claimed it
        return fresh

    @staticmethod
    def _is_fresh(path: str) -> bool:
        try:
            with open(path, encoding="ascii") as mark:
                age = time.monotonic() - float(mark.read(64))
        except (OSError, ValueError):
            return False
        return 0.0 <= age <= FRESH

    def _forget_old(self) -> None:
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            if not self._is_fresh(path):
                os.unlink(path)


class FirstSeen:
    """Since when each pool has had each finding, as far as anybody asked."""

    def __init__(self) -> None:
        self._seen: Dict[str, Dict[str, float]] = {}
        self._lock = threading.Lock()

    def fill(self, pool: str, findings: Iterable[Finding], now: float) -> Tuple[Finding, ...]:
        """`findings` with `since` set (epoch seconds) where it has been seen before; a code no longer among them is forgotten."""
        filled = []
        with self._lock:
            before = self._seen.get(pool, {})
            after: Dict[str, float] = {}
            for finding in findings:
                since = before.get(finding.code)
                after[finding.code] = now if since is None else since
                filled.append(finding if finding.since is not None else finding._replace(since=since))
            self._seen[pool] = after
        return tuple(filled)
