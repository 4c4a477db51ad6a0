"""Brings up what lies beneath the pools: logins and mounts that failed, portals that were away; and guards what is no longer mounted."""

import time
from typing import Callable, Dict, List, Optional, Set, Tuple

from kvmontap.gate import report
from kvmontap.gate.configured import Configured
from kvmontap.gate.report import Line
from kvmontap.model import Pool, PoolHealth
from kvmontap.recovery.decide import NOTHING, START, Backoff, Step, Unit, step, units
from kvmontap.recovery.manager import Manager, ManagerError
from kvmontap.units.bundle import attached

GUARD = "kvmontap-mountpoints.service"
FIRST, MOST = 10.0, 120.0  # seconds between two tries
ASK_FIRST, ASK_MOST = 5.0, 30.0  # between two questions whether anything answers
ANYWAY = 600.0  # after so long a unit is started although nothing answers: what we ask may not be what counts
SOON = 10.0  # until the next look at a unit that is on its way
AWAY = frozenset(("mount.missing", "path.none", "path.missing"))


class Storage:
    """For the keeper's thread alone."""

    def __init__(
        self,
        manager: Manager,
        answers: Callable[[Pool], bool],
        tell: Callable[[Line], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._answers = answers
        self._tell = tell
        self._clock = clock
        self._tried: Dict[str, Backoff] = {}
        self._asked: Dict[str, Tuple[Backoff, float]] = {}  # and since when
        self._mounted: Set[str] = set()
        self._said: Dict[str, str] = {}

    def use(self, found: Configured, healths: Dict[str, PoolHealth], _: Set[str]) -> Optional[float]:
        """As kvmontap.daemon.keeper wants it."""
        pools = found.config.pools
        self._guard(pools, healths)
        away = [pool for pool in pools.values() if units(pool) and _codes(healths, pool) & AWAY]
        for known in (self._tried, self._asked, self._said):
            for name in set(known) - {pool.name for pool in away} - {""}:
                del known[name]  # type: ignore[attr-defined]
        now = self._clock()
        todo = [pool for pool in away if self._due(pool) <= now]
        try:
            states = self._manager.states([unit for pool in todo for unit in units(pool)])
            dues = [self._one(pool, healths[pool.name], states) for pool in todo]
        except ManagerError as error:
            self._complain("", str(error))
            return MOST
        dues += [self._due(pool) - now for pool in away if pool not in todo]
        return min((due for due in dues if due is not None), default=None)

    def _due(self, pool: Pool) -> float:
        asked = self._asked.get(pool.name)
        return max(self._tried.get(pool.name, Backoff()).due, asked[0].due if asked else 0.0)

    def _one(self, pool: Pool, health: PoolHealth, states: Dict[str, Unit]) -> Optional[float]:
        """One pool whose turn it is; seconds until it is again, None = nothing of ours is to be done for it."""
        known = [states.get(unit, NOTHING) for unit in units(pool)]
        todo = step(pool, health.findings, known)
        if todo is None:
            return SOON if any(state.job or state.active == "activating" for state in known) else None
        now = self._clock()
        if todo.what == START and not self._answered(pool, now):
            return self._due(pool) - now
        self._take(pool, todo)
        self._tried[pool.name] = self._tried.get(pool.name, Backoff()).again(now, FIRST, MOST)
        return self._due(pool) - now

    def _answered(self, pool: Pool, now: float) -> bool:
        if self._answers(pool):
            self._asked.pop(pool.name, None)
            return True
        backoff, since = self._asked.get(pool.name, (Backoff(), now))
        if now - since >= ANYWAY:
            del self._asked[pool.name]
            return True
        self._asked[pool.name] = (backoff.again(now, ASK_FIRST, ASK_MOST), since)
        return False

    def _take(self, pool: Pool, todo: Step) -> None:
        tries = self._tried.get(pool.name, Backoff()).tries
        said = f"pool {pool.name}: {todo.unit} is {'started' if todo.what == START else 'reloaded'} again"
        fields = {"MESSAGE_ID": report.RETRIED, "KVMONTAP_POOL": pool.name, "KVMONTAP_UNIT": todo.unit}
        self._tell(Line(report.NOTICE, said + (f" (try {tries + 1})" if tries else ""), fields))
        try:
            self._manager.act(todo.what, todo.unit)
        except ManagerError as error:
            self._complain(pool.name, str(error))

    def _guard(self, pools: Dict[str, Pool], healths: Dict[str, PoolHealth]) -> None:
        """What was mounted and no longer is: its directory is to take no file (kvmontap.mountpoint)."""
        ours = [pool for pool in pools.values() if attached(pool) and pool.name in healths]
        mounted = {pool.name for pool in ours if "mount.missing" not in _codes(healths, pool)}
        gone = [pool for pool in ours if pool.name in self._mounted - mounted]
        self._mounted = mounted
        if gone:
            try:
                self._manager.act("reload", GUARD)
            except ManagerError as error:
                self._complain(gone[0].name, f"{gone[0].target} may take files while nothing is mounted on it: {error}")

    def _complain(self, pool: str, text: str) -> None:
        if self._said.get(pool) != text:
            self._said[pool] = text
            fields = {"MESSAGE_ID": report.LEFT, **({"KVMONTAP_POOL": pool} if pool else {})}
            self._tell(Line(report.WARNING, (f"pool {pool}: " if pool else "") + text, fields))


def _codes(healths: Dict[str, PoolHealth], pool: Pool) -> Set[str]:
    health = healths.get(pool.name)
    found: List[str] = [finding.code for finding in health.findings] if health is not None else []
    return set(found)
