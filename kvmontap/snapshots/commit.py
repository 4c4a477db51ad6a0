"""Taking snapshots with group commit: requests for the same volumes that wait while a snapshot of them is under way share the next.

A snapshot that began before a request came may lack what the VM's disks held when it came, so nobody joins one that is
under way; but once it is there, it serves those who have waited if their images have not changed since before it began
(kvmontap.snapshots.reuse).  What one VM needs on several volumes is one set under one name, new or reused as a whole
(kvmontap.snapshots.together).  Each batch runs in a thread of its own, which outlives a caller whose deadline passes.
"""

import random
import threading
import time
from typing import Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from kvmontap.model import Finding
from kvmontap.snapshots.flush import Flush
from kvmontap.snapshots.plan import Request
from kvmontap.snapshots.reuse import Reuse
from kvmontap.snapshots.together import Before, Chance, Result, Volume, key_of, not_taken, take


class Outcome(NamedTuple):
    """What became of one request."""

    pool: str
    volume: str
    name: str  # of the snapshot; "" where none is known to be there
    finding: Optional[Finding] = None  # why not
    shared: bool = False  # whether other requests have the same snapshot
    reused: bool = False  # whether it had been taken before, and holds what the images hold now
    remark: Optional[Finding] = None  # what the snapshot is not, though it is there


class _Batch:
    """Requests that get one set of snapshots; closed to newcomers as soon as it begins."""

    def __init__(self) -> None:
        self.volumes: Dict[Volume, List[Request]] = {}
        self.deadline = 0.0
        self.done = threading.Event()
        self.results: Dict[Volume, Result] = {}
        self.reused = False


# What makes two callers want the same: for each volume its key, and what its snapshot is to be.
_Set = FrozenSet[Tuple[Volume, str, str, int]]


class _Line(NamedTuple):
    """The waiting line of one set of volumes."""

    waiting: List[_Batch]  # none or one


class Snapshotter:
    """Takes snapshots; thread-safe, one for the whole process."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], int] = lambda: random.getrandbits(16),
        reuse: Optional[Reuse] = None,
        flush: Optional[Flush] = None,
    ) -> None:
        """`reuse`: what remembers which images a snapshot holds, None = each request gets a new one; `flush`: what sends the images of
        block pools to the array first, None = they are there."""
        self._before = Before(Chance(clock, chance), reuse, flush)
        self._reuse = reuse
        self._lock = threading.Lock()
        self._lines: Dict[_Set, _Line] = {}

    def take(self, requests: Iterable[Request], deadline: float) -> Tuple[Outcome, ...]:
        """One outcome for each request, in their order; back at `deadline` (time.monotonic()) at the latest.

        All of them are one set: the same name on every volume, or none of them.
        """
        asked = tuple(requests)
        if not asked:
            return ()
        began = time.monotonic()
        batch = self._join(_by_volume(asked), deadline)
        in_time = batch.done.wait(max(0.0, deadline - time.monotonic()))
        if not in_time:
            late = f"it was not there within {deadline - began:.1f} s"
            return tuple(_outcome(one, Result("", not_taken(one, late, "check the array's management LIF"))) for one in asked)
        return tuple(_outcome(one, batch.results[key_of(one)], batch) for one in asked)

    def _join(self, volumes: Dict[Volume, List[Request]], deadline: float) -> _Batch:
        key = _set_of(volumes)
        with self._lock:
            line = self._lines.get(key)
            if line is not None and line.waiting:
                batch = line.waiting[0]
            else:
                batch = _Batch()
                if line is not None:
                    line.waiting.append(batch)
            for volume, requests in volumes.items():
                batch.volumes.setdefault(volume, []).extend(requests)
            batch.deadline = max(batch.deadline, deadline)
            if line is None:
                self._lines[key] = _Line([])
                self._start(key, batch)
        return batch

    def _start(self, key: _Set, batch: _Batch) -> None:
        worker = threading.Thread(target=self._run, args=(key, batch), name="kvmontap-snapshot", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:  # no thread is to be had; a line that nobody works off would stand for ever
            del self._lines[key]
            batch.results = _failed(batch, error)
            batch.done.set()

    def _run(self, key: _Set, batch: _Batch) -> None:
        """Makes the batch's snapshots, then those of whoever has come meanwhile, until nobody waits."""
        current: Optional[_Batch] = batch
        while current is not None:
            try:
                self._serve(current)
            finally:
                with self._lock:
                    line = self._lines[key]
                    following = line.waiting.pop() if line.waiting else None
                    if following is None:
                        del self._lines[key]
                current.done.set()
            current = following

    def _serve(self, batch: _Batch) -> None:
        """Gives the batch an earlier set that holds all that it needs, else a new one."""
        try:
            name = self._reuse.serving(batch.volumes, batch.deadline) if self._reuse is not None else ""
            batch.reused = bool(name)
            if name:
                batch.results = {volume: Result(name) for volume in batch.volumes}
            else:
                batch.results = take(batch.volumes, self._before, batch.deadline)
        except Exception as error:  # pylint: disable=broad-except  # whoever waits must hear of it
            batch.results = _failed(batch, error)


def _by_volume(requests: Iterable[Request]) -> Dict[Volume, List[Request]]:
    """The requests of one caller by volume, with settings that are one for each volume: it gets one snapshot.

    Of two pools on a volume the first label counts, and the longer lock.
    """
    grouped: Dict[Volume, List[Request]] = {}
    for request in requests:
        grouped.setdefault(key_of(request), []).append(request)
    for volume, several in grouped.items():
        pools = [one.pool for one in several]
        label = next((pool.snapshots.label for pool in pools if pool.snapshots.label), "")
        days = max(pool.snapshots.lock_days for pool in pools)
        grouped[volume] = [
            one._replace(pool=one.pool._replace(snapshots=one.pool.snapshots._replace(label=label, lock_days=days))) for one in several
        ]
    return grouped


def _set_of(volumes: Dict[Volume, List[Request]]) -> _Set:
    firsts = {volume: requests[0].pool for volume, requests in volumes.items()}
    return frozenset(
        (volume, pool.snapshot_scope, pool.snapshots.label, pool.snapshots.lock_days) for volume, pool in firsts.items()
    )


def _outcome(request: Request, result: Result, batch: Optional[_Batch] = None) -> Outcome:
    shared = batch is not None and len(batch.volumes[key_of(request)]) > 1
    reused = batch is not None and batch.reused
    return Outcome(request.pool.name, request.volume.name, result.name, result.finding, shared, reused, result.remark)


def _failed(batch: _Batch, error: BaseException) -> Dict[Volume, Result]:
    return {
        volume: Result("", not_taken(requests[0], f"kvmontap itself failed: {error!r}", "journalctl -u kvmontapd"))
        for volume, requests in batch.volumes.items()
    }
