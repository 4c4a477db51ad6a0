"""Behind the daemon's back, after each snapshot: SnapMirror is asked to take it on and its volume is thinned out; nobody waits for it.

One thread for the whole process, there only while there is something to do, with connections of its own: a hook never stands in
line behind it.  Volumes that are noted while they wait are done once.  What the array refused is not asked for again for a
while, so that a locked snapshot or a missing right costs one request now and then and not one for every start.
"""

import threading
import time
from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from kvmontap.array import Clients, look
from kvmontap.array.client import Client
from kvmontap.array.state import VolumeRef
from kvmontap.model import Array, Config, Pool
from kvmontap.snapshots import grouped, retention
from kvmontap.snapshots.commit import Outcome
from kvmontap.snapshots.mirror import Updated, after_snapshot
from kvmontap.snapshots.plan import Request
from kvmontap.snapshots.prune import Left, Report, prune

WORK = 120.0  # seconds for one volume at a time; the rest goes after the next snapshot
PAUSE = 600.0  # seconds before a volume is tried again that could not be worked on
APPROVAL_PAUSE = 3600.0  # ... where administrators are asked first
REFUSAL = 86400.0  # seconds before a single snapshot that was refused is tried again
_FULL = ("525062", "53411921")  # one snapshot too many on the volume, or on one of its consistency group
_REMEMBERED = 1000  # names of snapshots that this process took

_Key = Tuple[str, str]


class _Work(NamedTuple):
    array: Array
    volume: VolumeRef
    pool: Pool
    config: Config
    mirror: bool = False  # whether SnapMirror is to take the snapshot on


class Housekeeper:
    """Thins out volumes in the background; thread-safe, one for the process.

    tell(report) and mirrored(updated) are called in the background thread for each report that says something new; fault(error) for a
    fault of ours.
    """

    def __init__(
        self,
        tell: Callable[[Report], None],
        fault: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
        mirrored: Callable[[Updated], None] = lambda updated: None,
    ) -> None:
        self._tell = tell
        self._fault = fault
        self._mirrored = mirrored
        self._clock = clock
        self._clients = Clients()
        self._change = threading.Condition()
        self._waiting: Dict[_Key, _Work] = {}
        self._working = False
        self._paused: Dict[_Key, float] = {}
        self._refused: Dict[str, Tuple[Left, float]] = {}
        self._said: Dict[Tuple[str, ...], str] = {}
        self._order: Dict[str, int] = {}  # the array tells whole seconds: who came first within one, we know ourselves
        self._count = 0

    def taken(self, config: Config, requests: Sequence[Request], outcomes: Iterable[Outcome]) -> None:
        """Snapshots have been asked for; returns at once."""
        with self._change:
            for request, outcome in zip(requests, outcomes):
                if outcome.reused:
                    continue
                if outcome.name:
                    self._count += 1
                    self._order.pop(outcome.name, None)
                    self._order[outcome.name] = self._count
                    if len(self._order) > _REMEMBERED:
                        del self._order[next(iter(self._order))]
                # Also where none was made: an old one too many may be why.
                if outcome.finding is None or any(f"(ONTAP {code})" in outcome.finding.text for code in _FULL):
                    key = (request.client.array.name, request.volume.uuid)
                    before = self._waiting.get(key)
                    mirror = bool(before and before.mirror) or bool(outcome.name and request.pool.snapshots.snapmirror_update)
                    self._waiting[key] = _Work(request.client.array, request.volume, request.pool, config, mirror)
            if self._waiting and not self._working:
                self._working = True
                try:
                    threading.Thread(target=self._run, name="kvmontap-retention", daemon=True).start()
                except RuntimeError:  # no thread to be had: after the next snapshot, or the timer
                    self._working = False

    def wait(self, seconds: float) -> bool:
        """Whether there is nothing left to do, waiting for that long."""
        with self._change:
            return self._change.wait_for(lambda: not self._working, seconds)

    def _run(self) -> None:
        while True:
            with self._change:
                if not self._waiting:
                    self._working = False
                    self._change.notify_all()
                    return
                key = next(iter(self._waiting))
                work = self._waiting.pop(key)
            try:
                if work.mirror:
                    self._mirror(key, work)
                self._do(key, work)
            except Exception as error:  # pylint: disable=broad-except  # the thread must live for the other volumes
                self._fault(error)

    def _mirror(self, key: _Key, work: _Work) -> None:
        clients = [self._clients.get(array) for array in work.config.arrays.values()]
        updated = after_snapshot(clients, work.volume, time.monotonic() + WORK)
        said = updated.finding.text if updated.finding is not None else ""
        if updated.begun or said != self._said.get(("mirror", *key), ""):
            self._said[("mirror", *key)] = said
            self._mirrored(updated)

    def _do(self, key: _Key, work: _Work) -> None:
        now = self._clock()
        if self._paused.get(key, now) > now:
            return
        self._refused = {uuid: entry for uuid, entry in self._refused.items() if entry[1] > now}
        deadline = time.monotonic() + WORK
        client = self._clients.get(work.array)
        pools = tuple(work.config.pools.values())
        wanted = policy(client, work.volume, work.pool, pools, deadline)
        with self._change:
            order = dict(self._order)
        skip = {uuid: left for uuid, (left, _) in self._refused.items()}
        of_groups = grouped.policy(wanted, pools, work.array.name)
        report = prune(client, work.volume, wanted, deadline, skip, order=order, groups=of_groups)
        for left in report.left:
            if left.why in (retention.REFUSED, retention.LOCKED, retention.OWNED):
                self._refused.setdefault(left.uuid, (left, now + REFUSAL))
        if report.finding is not None:
            self._paused[key] = now + (APPROVAL_PAUSE if report.finding.code == "retention.approval" else PAUSE)
        said = report.finding.text if report.finding is not None else ""
        if report.deleted or said != self._said.get(key, ""):
            self._said[key] = said
            self._tell(report)


def policy(client: Client, volume: VolumeRef, pool: Pool, pools: Iterable[Pool], deadline: float) -> retention.Policy:
    """The policy of the volume behind `pool`: as generous as that of any other pool of the same array that may lie on it.

    Other pools are looked up on the array only where they would keep more.
    """
    settings: List = [pool.snapshots]
    mine = retention.policy(settings)
    for other in pools:
        if other.ontap != pool.ontap or other.name == pool.name or retention.policy([pool.snapshots, other.snapshots]) == mine:
            continue
        ref = look(client, other, deadline).ref
        if ref is None or ref.uuid == volume.uuid:
            settings.append(other.snapshots)
    return retention.policy(settings)
