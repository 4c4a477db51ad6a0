"""Keeps what is known of the pools' health fresh, in a thread of its own: after every event, and once a minute where there was none.

It asks as the gate asks, with the same one question at a time for what can hang.  What it finds serves nobody's start: a start asks for
itself, or shares a question that is under way.  It is told to the journal when it changes, and it is what recovery goes by.
"""

import threading
import time
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

from kvmontap.gate.configured import Configured
from kvmontap.gate.health import Doctor
from kvmontap.host import mountinfo
from kvmontap.host.changes import MOUNTS, Changes
from kvmontap.model import Pool, PoolHealth
from kvmontap.reasons import worst

EVERY = 60.0  # seconds
AT_ONCE = 8  # pools that are asked side by side
GAP = 2.0  # seconds between two looks, whatever happens meanwhile
LEAST = 5.0  # seconds between two looks that no event asks for

# What is done with each look: (configuration, healths by pool, what has happened) -> seconds until it is wanted again, None = any.
Use = Callable[[Configured, Dict[str, PoolHealth], Set[str]], Optional[float]]


class Keeper:
    """The thread; start() it.  healths() gives what it saw last."""

    def __init__(
        self,
        current: Callable[[], Configured],
        doctor: Doctor,
        changes: Changes,
        uses: Sequence[Use],
        fault: Callable[[BaseException], None],
    ) -> None:
        self._current = current
        self._doctor = doctor
        self._changes = changes
        self._uses = tuple(uses)
        self._fault = fault
        self._healths: Dict[str, PoolHealth] = {}
        self._mounts: Dict[str, Optional[mountinfo.Mount]] = {}

    def start(self) -> None:
        """Looks at once, and then for as long as the process lives."""
        threading.Thread(target=self._run, name="kvmontap-keeper", daemon=True).start()

    def healths(self) -> Dict[str, PoolHealth]:
        """Each pool's health at the last look."""
        return self._healths

    def look(self, happened: Set[str]) -> float:
        """One look; seconds until the next one is due."""
        found = self._current()
        healths = examined(self._doctor, found)
        if self._doctor.fresh is not None and _codes(healths) != _codes(self._healths):
            self._doctor.fresh.changed()
        self._healths = healths
        due = EVERY
        for use in self._uses:
            wanted = use(found, self._healths, happened)
            due = min(due, EVERY if wanted is None else max(LEAST, wanted))
        return due

    def _run(self) -> None:
        happened: Set[str] = {MOUNTS}
        due = time.monotonic()
        while True:
            try:
                if self._concerned(happened) or time.monotonic() >= due:
                    due = time.monotonic() + self.look(happened)
                    time.sleep(GAP)
            except Exception as error:  # noqa: BLE001 - a fault in one look must not end all further ones
                self._fault(error)
                due = time.monotonic() + EVERY
            happened = self._changes.wait(due - time.monotonic())

    def _concerned(self, happened: Set[str]) -> bool:
        """Whether what has happened may be about a pool: a host with containers mounts and unmounts all day."""
        if happened != {MOUNTS}:
            return bool(happened)
        mounts = mountinfo.read()
        seen = {pool.target: mountinfo.at(mounts, pool.target) for pool in self._current().config.pools.values() if pool.target}
        changed, self._mounts = seen != self._mounts, seen
        return changed


def _codes(healths: Dict[str, PoolHealth]) -> Dict[str, Set[str]]:
    return {name: {finding.code for finding in health.findings} for name, health in healths.items()}


def meant(pool: Pool, mounts: Tuple[mountinfo.Mount, ...]) -> bool:
    """Whether a pool is looked at by ourselves.  Looking at an automount would mount it, and keep it from being idle."""
    if pool.boot.mount != "automount" or not pool.target:
        return True
    mount = mountinfo.at(mounts, pool.target)
    return mount is not None and mount.fstype != "autofs" and not pool.boot.idle_timeout


def examined(doctor: Doctor, found: Configured) -> Dict[str, PoolHealth]:
    """How every pool is now but an automount that nobody uses; one with `mode = off` is looked at all the same."""
    pools = {name: pool._replace(gate=pool.gate._replace(mode="warn")) for name, pool in found.config.pools.items()}
    looking = found._replace(config=found.config._replace(pools=pools))
    mounts = mountinfo.read()
    names: List[str] = [*(name for name, pool in pools.items() if meant(pool, mounts)), *found.broken]
    healths: Dict[str, PoolHealth] = {}
    for place in range(0, len(names), AT_ONCE):
        asked = doctor.ask(names[place : place + AT_ONCE], looking, time.monotonic())
        healths.update((name, worst(name, health.findings)) for name, health in asked.items())
    return healths
