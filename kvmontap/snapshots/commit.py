"""Taking snapshots with group commit: requests for a volume that wait while a snapshot of it is under way share the next.

A snapshot that began before a request came may lack what the VM's disks held when it came, so nobody joins one that is
under way; but once it is there, it serves those who have waited if their images have not changed since before it began
(kvmontap.snapshots.reuse).  Each batch runs in a thread of its own, which outlives a caller whose deadline passes.
"""

import random
import threading
import time
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from kvmontap.array.errors import NOT_AUTHORISED, ArrayError
from kvmontap.array.snapshot import EXISTS, Wanted, create
from kvmontap.model import Finding
from kvmontap.reasons import finding
from kvmontap.snapshots import naming
from kvmontap.snapshots.plan import Request
from kvmontap.snapshots.reuse import Reuse

# What to do about ONTAP's errors when a snapshot is made; {volume} and {svm} are filled in.
FIXES = {
    "525062": "delete snapshots that nobody needs: volume snapshot show -vserver {svm} -volume {volume}",
    "524479": "bring the volume online, or free space on it",
    "1638461": "take snapshots at the SnapMirror source: this volume is not read-write",
    "1638532": "wait until the revert of the volume is over",
    "1638630": "take snapshots at the other side of the SnapMirror active sync relationship",
    "262325": "have the request approved: security multi-admin-verify request show-pending",
    NOT_AUTHORISED: "give its role that right (kvmontap role)",
}
# Another host may hit upon the same name within one second.
_NAMES = 4


class Outcome(NamedTuple):
    """What became of one request."""

    pool: str
    volume: str
    name: str  # of the snapshot; "" where none is known to be there
    finding: Optional[Finding] = None  # why not
    shared: bool = False  # whether other requests have the same snapshot
    reused: bool = False  # whether it had been taken before, and holds what the images hold now


class _Batch:
    """Requests that get one snapshot; closed to newcomers as soon as it begins."""

    def __init__(self) -> None:
        self.requests: List[Request] = []
        self.deadline = 0.0
        self.done = threading.Event()
        self.name = ""
        self.finding: Optional[Finding] = None
        self.reused = False


_Key = Tuple[str, str, str, int]


class _Line(NamedTuple):
    """The waiting line of one volume."""

    waiting: List[_Batch]  # none or one


class Snapshotter:
    """Takes snapshots; thread-safe, one for the whole process."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], int] = lambda: random.getrandbits(16),
        reuse: Optional[Reuse] = None,
    ) -> None:
        """`reuse`: what remembers which images a snapshot holds; None = each request gets a new one."""
        self._clock = clock
        self._chance = chance
        self._reuse = reuse
        self._lock = threading.Lock()
        self._lines: Dict[_Key, _Line] = {}

    def take(self, requests: Iterable[Request], deadline: float) -> Tuple[Outcome, ...]:
        """One outcome for each request, in their order, all volumes at once; back at `deadline` (time.monotonic()) at the latest."""
        asked = tuple(requests)
        began = time.monotonic()
        grouped: Dict[_Key, List[Request]] = {}
        for request in asked:
            grouped.setdefault(_key(request), []).append(request)
        batches = {key: self._join(key, group, deadline) for key, group in grouped.items()}
        return tuple(_outcome(request, batches[_key(request)], began, deadline) for request in asked)

    def _join(self, key: _Key, requests: List[Request], deadline: float) -> _Batch:
        with self._lock:
            line = self._lines.get(key)
            if line is not None and line.waiting:
                batch = line.waiting[0]
            else:
                batch = _Batch()
                if line is not None:
                    line.waiting.append(batch)
            batch.requests.extend(requests)
            batch.deadline = max(batch.deadline, deadline)
            if line is None:
                self._lines[key] = _Line([])
                self._start(key, batch)
        return batch

    def _start(self, key: _Key, batch: _Batch) -> None:
        worker = threading.Thread(target=self._run, args=(key, batch), name=f"kvmontap-snapshot-{key[1]}", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:  # no thread is to be had; a line that nobody works off would stand for ever
            del self._lines[key]
            batch.finding = _failed(batch.requests[0], f"kvmontap itself failed: {error}", "journalctl -u kvmontapd")
            batch.done.set()

    def _run(self, key: _Key, batch: _Batch) -> None:
        """Makes the batch's snapshot, then that of those who have come meanwhile, until nobody waits."""
        current: Optional[_Batch] = batch
        while current is not None:
            try:
                self._serve(key, current)
            finally:
                with self._lock:
                    line = self._lines[key]
                    following = line.waiting.pop() if line.waiting else None
                    if following is None:
                        del self._lines[key]
                current.done.set()
            current = following

    def _serve(self, key: _Key, batch: _Batch) -> None:
        """Gives the batch an earlier snapshot that holds all that it needs, else a new one."""
        try:
            if self._reuse is None:
                self._make(batch)
                return
            batch.name = self._reuse.serving(key, batch.requests, batch.deadline)
            batch.reused = bool(batch.name)
            if not batch.reused:
                prints = self._reuse.before(key, batch.requests, batch.deadline)
                self._make(batch)
                if batch.name:
                    self._reuse.after(key, batch.name, prints)
        except Exception as error:  # pylint: disable=broad-except  # whoever waits must hear of it
            batch.finding = _failed(batch.requests[0], f"kvmontap itself failed: {error!r}", "journalctl -u kvmontapd")

    def _make(self, batch: _Batch) -> None:
        first = batch.requests[0]
        now = self._clock()
        lock_days = first.pool.snapshots.lock_days if first.volume.locking else 0
        others = {request.domain.uuid for request in batch.requests} - {first.domain.uuid}
        wanted = Wanted(
            "",
            naming.comment(first.domain, first.reason, first.host, len(others)),
            first.pool.snapshots.label,
            naming.expiry(now, lock_days),
        )
        try:
            batch.name = self._create(first, wanted, now, batch.deadline)
        except ArrayError as error:
            batch.finding = failed(first, error)


    def _create(self, first: Request, wanted: Wanted, now: float, deadline: float) -> str:
        """Makes the snapshot under a name that nobody has; the name."""
        for tries in range(_NAMES, 0, -1):
            name = naming.name(now, first.reason, self._chance())
            try:
                create(first.client, first.volume, wanted._replace(name=name), deadline)
                break
            except ArrayError as error:
                if error.ontap_code != EXISTS or tries == 1:
                    raise
        return name


def _key(request: Request) -> _Key:
    settings = request.pool.snapshots
    return request.client.array.address, request.volume.uuid, settings.label, settings.lock_days


def _outcome(request: Request, batch: _Batch, began: float, deadline: float) -> Outcome:
    if not batch.done.wait(max(0.0, deadline - time.monotonic())):
        late = _failed(request, f"it was not there within {deadline - began:.1f} s", "check the array's management LIF")
        return Outcome(request.pool.name, request.volume.name, "", late)
    shared = len(batch.requests) > 1
    return Outcome(request.pool.name, request.volume.name, batch.name, batch.finding, shared, batch.reused)


def failed(request: Request, error: ArrayError) -> Finding:
    """The finding for a snapshot that the array did not make, in the array's own words where it has any."""
    fix = FIXES.get(error.ontap_code, "").format(volume=request.volume.name, svm=request.volume.svm)
    if error.message and error.ontap_code:
        words = f"{error.message} (ONTAP {error.ontap_code})"
    else:
        words = error.finding.text
    return _failed(request, words, fix or error.finding.fix)


def _failed(request: Request, words: str, fix: str) -> Finding:
    return finding("snapshot.failed", volume=request.volume.name, error=words, fix=fix)
