"""One set of snapshots: all volumes that a VM needs, at the same time, under one name; all of them or none.

A name means one state of a VM: `kvmontap snapshot restore --from NAME` finds it on every volume of its disks.  So where one
volume gets no snapshot, those of the others are deleted again, and each caller hears why; where that fails, or this process is killed in
between, what is left bears our name and says in its comment how many it should be, and retention takes it in its turn.
"""

import time
from functools import partial
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kvmontap.array import compliance
from kvmontap.array.errors import NOT_AUTHORISED, ArrayError
from kvmontap.array.groups import Group, covering, groups
from kvmontap.array.groups import create as create_of_group
from kvmontap.array.groups import delete as delete_of_group
from kvmontap.array.snapshot import EXISTS, Wanted, create
from kvmontap.array.state import VolumeRef
from kvmontap.array.stored import delete, stored
from kvmontap.model import Finding
from kvmontap.reasons import finding
from kvmontap.snapshots import naming
from kvmontap.snapshots.flush import Flush
from kvmontap.snapshots.grouped import SCOPE
from kvmontap.snapshots.plan import Request
from kvmontap.snapshots.prune import words
from kvmontap.snapshots.reuse import Reuse

# What to do about ONTAP's errors when a snapshot is made; {volume} and {svm} are filled in.
FIXES = {
    "525059": "start the VM again: another host had the same name within the same second",
    "1520351": "look at what the volume is used for: volume show -vserver {svm} -volume {volume} -fields type,state,vserver-dr-protection",
    "1638477": "update kvmontap: this ONTAP reserves the beginning of its snapshots' names",
    "1638518": "update kvmontap: this ONTAP does not take its snapshots' names",
    "1638537": "look whether it is there: kvmontap snapshot list; and at the volume: volume show -vserver {svm} -volume {volume}",
    "1638574": "set lock-days = 0 for this pool: ONTAP keeps no expiry time on a FlexGroup volume",
    "1638618": "set lock-days = 0, or: volume modify -vserver {svm} -volume {volume} -snapshot-locking-enabled true",
    "2621462": "set svm= of the array to the SVM that owns the volume",
    "92405873": "set before = none for this pool: ONTAP takes no snapshot of an object store volume",
    "525062": "delete snapshots that nobody needs: volume snapshot show -vserver {svm} -volume {volume}",
    "524479": "bring the volume online, or free space on it",
    "1638461": "take snapshots at the SnapMirror source: this volume is not read-write",
    "1638532": "wait until the revert of the volume is over",
    "1638630": "take snapshots at the other side of the SnapMirror active sync relationship",
    "53411918": "wait until the snapshot of the consistency group that is under way is over",
    "53411921": "look at every volume of the consistency group: one that is offline, full or at its limit of snapshots fails it",
    "53411925": "the commit came too late and the array has given the snapshot up: check its load and the network, then start the VM again",
    "262325": "have the request approved: security multi-admin-verify request show-pending",
    NOT_AUTHORISED: "give its role that right (kvmontap role)",
}
# Another host may hit upon the same name within one second.
_NAMES = 4

Volume = Tuple[str, str]  # the array's address, the volume's UUID


class Chance(NamedTuple):
    """What makes a name: clock() in epoch seconds, chance() any integer."""

    clock: Callable[[], float]
    chance: Callable[[], int]


class Before(NamedTuple):
    """What is done before a snapshot is asked for."""

    chance: Chance
    reuse: Optional[Reuse] = None
    flush: Optional[Flush] = None


class Result(NamedTuple):
    """What became of one volume."""

    name: str = ""  # of the snapshot; "" where none is known to be there
    finding: Optional[Finding] = None  # why not
    remark: Optional[Finding] = None  # what the snapshot is not, though it is there


class _Unit(NamedTuple):
    """What one request to an array makes a snapshot of."""

    volumes: Tuple[Volume, ...]
    requests: Tuple[Request, ...]
    group: Optional[Group] = None  # the consistency group that holds the volumes; None = one volume by itself


class _Units(NamedTuple):
    """How a set is to be made."""

    units: Tuple[_Unit, ...]
    remarks: Mapping[Volume, Finding]  # what these volumes' snapshots will not be
    refusals: Mapping[Volume, Finding]  # ... where nothing less than that was asked for


def key_of(request: Request) -> Volume:
    """The volume of a request, whoever asks."""
    return request.client.array.address, request.volume.uuid


def take(volumes: Mapping[Volume, Sequence[Request]], before: Before, deadline: float) -> Dict[Volume, Result]:
    """The result for each volume; never raises for anything that an array does."""
    units, remarks, refusals = _units(volumes, deadline)
    if refusals:
        without = ", ".join(volumes[volume][0].volume.name for volume in refusals)
        other = f"{without} gets none"
        return {volume: Result("", refusals.get(volume) or not_taken(requests[0], other, f"mend volume {without}"))
                for volume, requests in volumes.items()}
    remarks = {**_flushed(volumes, before.flush, deadline), **remarks}
    for tries in range(_NAMES, 0, -1):
        now = before.chance.clock()
        name = naming.name(now, units[0].requests[0].reason, before.chance.chance())
        errors = _at_once(units, partial(_make, name=name, now=now, count=len(volumes), reuse=before.reuse, deadline=deadline))
        failures = [error for error in errors.values() if error is not None]
        if not failures:
            return {volume: Result(name, None, remarks.get(volume)) for volume in volumes}
        stays = _undo(errors, name)
        if tries == 1 or any(error.ontap_code != EXISTS for error in failures):
            break
    return _told(errors, stays, name)


def _units(volumes: Mapping[Volume, Sequence[Request]], deadline: float) -> _Units:
    """What is to be asked for: a consistency group where the scope says so and there is one, else the volume by itself."""
    units: List[_Unit] = []
    remarks: Dict[Volume, Finding] = {}
    by_group: Dict[Tuple[str, str], List[Volume]] = {}
    for volume, requests in volumes.items():
        first = requests[0]
        if any(one.pool.snapshot_scope == SCOPE for one in requests):
            by_group.setdefault((first.client.array.address, first.volume.svm), []).append(volume)
        else:
            units.append(_Unit((volume,), tuple(requests)))
    for wanted in by_group.values():
        firsts = {volume: volumes[volume][0] for volume in wanted}
        pairs, error = _groups(list(firsts.values()), deadline)
        for group, refs in pairs:
            inside = tuple(volume for volume, first in firsts.items() if first.volume in refs)
            units.append(_Unit(inside, tuple(one for volume in inside for one in volumes[volume]), group))
            remarks.update((volume, finding("snapshot.not-locked", volume=firsts[volume].volume.name, group=group.name))
                           for volume in inside if firsts[volume].pool.snapshots.lock_days)
        for volume in set(wanted).difference(*(unit.volumes for unit in units)):
            units.append(_Unit((volume,), tuple(volumes[volume])))
            remarks[volume] = finding("snapshot.no-group", volume=firsts[volume].volume.name, error=error or _why_none(firsts[volume]))
    required = [volume for volume in remarks if any(one.pool.snapshots.required for one in volumes[volume])]
    return _Units(tuple(units), remarks, {volume: _refusal(volumes[volume][0], remarks[volume]) for volume in required})


def _flushed(volumes: Mapping[Volume, Sequence[Request]], flush: Optional[Flush], deadline: float) -> Dict[Volume, Finding]:
    """A remark for each volume whose snapshot may lack what this host has written last."""
    told = {volume: flush(requests, deadline) for volume, requests in volumes.items()} if flush is not None else {}
    names = {volume: requests[0].volume.name for volume, requests in volumes.items()}
    return {volume: finding("snapshot.not-flushed", volume=names[volume], error=said) for volume, said in told.items() if said}


def _groups(firsts: Sequence[Request], deadline: float) -> Tuple[Tuple[Tuple[Group, Tuple[VolumeRef, ...]], ...], str]:
    """The consistency groups for these volumes of one SVM, or why nobody knows."""
    client, svm = firsts[0].client, firsts[0].volume.svm
    try:
        return covering(groups(client, svm, deadline), [one.volume for one in firsts]), ""
    except ArrayError as error:
        return (), words(error)


def _why_none(request: Request) -> str:
    if request.volume.locking:
        return f"none of SVM {request.volume.svm} holds it, since ONTAP takes no volume with locked snapshots into one"
    return f"none of SVM {request.volume.svm} holds it"


def _refusal(request: Request, remark: Finding) -> Finding:
    return not_taken(request, f"required = yes asks for all that is configured, but {remark.text}", remark.fix)


def _at_once(units: Sequence[_Unit], work: Callable[[_Unit], Optional[ArrayError]]) -> Dict[_Unit, Optional[ArrayError]]:
    if len(units) == 1:
        return {units[0]: work(units[0])}
    from concurrent.futures import ThreadPoolExecutor  # late: most VMs lie on one volume

    with ThreadPoolExecutor(len(units)) as workers:
        return dict(zip(units, workers.map(work, units)))


def _make(unit: _Unit, name: str, now: float, count: int, reuse: Optional[Reuse], deadline: float) -> Optional[ArrayError]:
    first = unit.requests[0]
    prints = [(volume, reuse.before(volume, _of(unit, volume), deadline)) for volume in unit.volumes] if reuse is not None else []
    others = {request.domain.uuid for request in unit.requests} - {first.domain.uuid}
    lock_days = first.pool.snapshots.lock_days if first.volume.locking else 0
    group = unit.group.uuid if unit.group is not None else ""
    # By the array's compliance clock alone: one of a host that is years behind would lock nothing.
    until = naming.expiry(compliance.now(first.client, deadline, now), lock_days) if lock_days else ""
    wanted = Wanted(
        name,
        naming.comment(first.domain, first.reason, first.host, len(others), count, group),
        first.pool.snapshots.label,
        until,
    )
    try:
        if unit.group is not None:
            create_of_group(first.client, unit.group, wanted, deadline)
        else:
            create(first.client, first.volume, wanted, deadline)
    except ArrayError as error:
        return error
    for volume, taken in prints:
        reuse.after(volume, name, first.pool, taken)
    return None


def _of(unit: _Unit, volume: Volume) -> List[Request]:
    return [request for request in unit.requests if key_of(request) == volume]


# -- where one of them failed


def _undo(errors: Mapping[_Unit, Optional[ArrayError]], name: str) -> Dict[_Unit, Optional[ArrayError]]:
    """Deletes what was made; why it stays, for each unit that has or may have a snapshot of that name."""
    doubtful = [unit for unit, error in errors.items() if error is None or error.maybe_done]
    if len(errors) == 1 or not doubtful:
        return {}
    return _at_once(doubtful, partial(_delete, name=name))


def _delete(unit: _Unit, name: str) -> Optional[ArrayError]:
    first = unit.requests[0]
    # The callers have their own deadlines; this is for whoever looks at the volume later.
    deadline = time.monotonic() + first.client.array.timeout
    try:
        if unit.group is not None:
            delete_of_group(first.client, unit.group.uuid, name, deadline)
            return None
        for one in stored(first.client, first.volume, deadline, name):
            delete(first.client, first.volume, one.uuid, deadline)
    except ArrayError as error:
        return error
    return None


def _told(errors: Mapping[_Unit, Optional[ArrayError]], stays: Mapping[_Unit, Optional[ArrayError]], name: str) -> Dict[Volume, Result]:
    results: Dict[Volume, Result] = {}
    without = sorted({one.volume.name for unit, error in errors.items() if error is not None for one in unit.requests})
    for unit, error in errors.items():
        for volume in unit.volumes:
            request = _of(unit, volume)[0]
            if error is not None:
                results[volume] = Result("", failed(request, error))
                continue
            said = f"{', '.join(without)} got none, and a part of a VM is not what {name} should bring back: it is deleted again"
            kept = stays.get(unit)
            if kept is not None:
                said = f"{', '.join(without)} got none, so that {name} is only a part, and it stays: {words(kept)}"
            results[volume] = Result("", not_taken(request, said, f"mend volume {', '.join(without)}; kvmontap status"))
    return results


def failed(request: Request, error: ArrayError) -> Finding:
    """The finding for a snapshot that the array did not make, in the array's own words where it has any."""
    fix = FIXES.get(error.ontap_code, "").format(volume=request.volume.name, svm=request.volume.svm)
    return not_taken(request, words(error), fix or error.finding.fix)


def not_taken(request: Request, error: str, fix: str) -> Finding:
    """The finding for a request that has no snapshot."""
    return finding("snapshot.failed", volume=request.volume.name, error=error, fix=fix)
