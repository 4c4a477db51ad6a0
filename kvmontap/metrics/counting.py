"""What only the running daemon sees: events of VMs and how long they took, snapshots taken.

Thread-safe; begins at nought with the process, as Prometheus expects of a counter."""

import threading
from typing import Dict, List, NamedTuple, Tuple

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class Latency(NamedTuple):
    """A histogram: how many took at most so long, for each bound; all of them, and their sum."""

    buckets: Tuple[int, ...]
    count: int
    seconds: float


class Counted(NamedTuple):
    """A copy of the counters."""

    events: Dict[Tuple[str, str, str], int]  # (op, "allowed" or "refused", reason code) -> how many
    latencies: Dict[str, Latency]  # by op
    snapshots: Dict[Tuple[str, str], int]  # (pool, "taken", "shared", "reused" or "failed") -> how many


class Counters:
    """Counts; any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: Dict[Tuple[str, str, str], int] = {}
        self._buckets: Dict[str, List[int]] = {}
        self._sums: Dict[str, float] = {}
        self._snapshots: Dict[Tuple[str, str], int] = {}

    def event(self, op: str, allowed: bool, code: str, seconds: float) -> None:
        """One verdict, and how long the hook waited for it."""
        key = (op, "allowed" if allowed else "refused", code)
        with self._lock:
            self._events[key] = self._events.get(key, 0) + 1
            buckets = self._buckets.setdefault(op, [0] * (len(BOUNDS) + 1))
            for place, bound in enumerate((*BOUNDS, float("inf"))):
                buckets[place] += seconds <= bound
            self._sums[op] = self._sums.get(op, 0.0) + seconds

    def snapshot(self, pool: str, result: str) -> None:
        """What became of one request for a snapshot."""
        with self._lock:
            self._snapshots[pool, result] = self._snapshots.get((pool, result), 0) + 1

    def counted(self) -> Counted:
        """What there is now."""
        with self._lock:
            latencies = {op: Latency(tuple(buckets[:-1]), buckets[-1], self._sums[op]) for op, buckets in self._buckets.items()}
            return Counted(dict(self._events), latencies, dict(self._snapshots))
