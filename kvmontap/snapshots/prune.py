"""Thins out the snapshots of one volume, as retention.py decides, and reports what it left and why.

Each deletion is asked for once.  A refusal that concerns one snapshot leaves that one; one that would meet all of them (approval by
several administrators, a missing right, a fenced volume, an array that does not answer) ends the work on the volume.
"""

import time
from typing import Callable, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array.client import Client
from kvmontap.array.errors import NOT_AUTHORISED, ArrayError
from kvmontap.array.state import VolumeRef
from kvmontap.array.stored import Stored, stored
from kvmontap.model import Finding
from kvmontap.reasons import finding
from kvmontap.snapshots import retention
from kvmontap.snapshots.grouped import Others, adopted, remove
from kvmontap.snapshots.retention import APPROVAL, GROUPED, LOCKED, OWNED, REFUSED, Fate, Policy

NEEDS_APPROVAL = "262325"
# Refusals that concern the one snapshot: locked, owned, a reference of SnapMirror.
_HELD = {"1638555": LOCKED, "1638543": OWNED, "1638483": OWNED, "53412007": LOCKED, "53412008": OWNED}
# Other refusals of single snapshots after which a volume is left for this time.
_ENOUGH = 3
_FIXES = {
    NEEDS_APPROVAL: "security multi-admin-verify request show-pending; once it is approved: kvmontap snapshot prune",
    NOT_AUTHORISED: "give its role the right to delete snapshots (kvmontap role)",
    "1638538": "look at the volume: volume show -vserver {svm} -volume {volume}; then: kvmontap snapshot prune",
    "1638644": "delete them with ONTAP's own tools: this platform does not let kvmontap",
    "524481": "find out what has fenced the volume: volume show -vserver {svm} -volume {volume} -fields state",
    "1638521": "thin out the snapshots at the SnapMirror source: this volume is not read-write",
}
_MEANS = {
    LOCKED: "locked until {until}",
    OWNED: "needed by {owners}",
    APPROVAL: "waits for the approval of other administrators",
    retention.LAST: "the last one of its reason",
}


class Left(NamedTuple):
    """One snapshot that is due and stays."""

    name: str
    uuid: str
    why: str  # retention's word
    text: str  # for people


class Report(NamedTuple):
    """What became of one volume's snapshots."""

    array: str
    svm: str
    volume: str
    deleted: Tuple[str, ...] = ()
    left: Tuple[Left, ...] = ()
    kept: int = 0  # of ours that are not due
    foreign: int = 0  # not ours: never looked at twice
    finding: Optional[Finding] = None  # why the work on this volume ended early


def prune(
    client: Client,
    volume: VolumeRef,
    wanted: Policy,
    deadline: float,
    skip: Optional[Mapping[str, Left]] = None,
    dry_run: bool = False,
    order: Optional[Mapping[str, int]] = None,
    groups: Optional[Policy] = None,
    tell: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> Report:
    """Deletes what has had its time; back at `deadline` (time.monotonic()), with the rest left for the next time.

    skip: snapshots, by UUID, that were refused a short while ago and are not asked for again; dry_run: says what would go, and
    deletes nothing; order: see retention.fates; groups: the policy of snapshots of consistency groups, `wanted` unless given;
    tell(done, of how many) is called before each deletion.
    """
    blank = Report(client.array.name, volume.svm, volume.name)
    try:
        found = adopted(client, volume, stored(client, volume, deadline), deadline)
    except ArrayError as error:
        return blank._replace(finding=_told(volume, error))
    now = client.clock()
    fates = retention.fates(found, wanted, now, order or {})
    if groups is not None and groups != wanted:
        kept_longer = retention.fates(found, groups, now, order or {})
        fates = tuple(theirs if ours.told.group else ours for ours, theirs in zip(fates, kept_longer))
    going = [fate for fate in fates if fate.goes]
    left = [_left(fate.snapshot, fate.held) for fate in fates if fate.due and fate.held]
    blank = blank._replace(kept=sum(not fate.due for fate in fates), foreign=len(found) - len(fates))
    if dry_run:
        return blank._replace(deleted=tuple(one.snapshot.name for one in going), left=tuple(left))
    others = Others(client, volume, groups or wanted, deadline, order or {})
    deleted, more, stopped = _delete(client, volume, going, others, deadline, skip or {}, tell)
    return blank._replace(deleted=deleted, left=tuple(left) + more, finding=stopped)


def _delete(
    client: Client, volume: VolumeRef, going: List[Fate], others: Others, deadline: float, skip: Mapping[str, Left],
    tell: Callable[[int, int], None],
) -> Tuple[Tuple[str, ...], Tuple[Left, ...], Optional[Finding]]:
    deleted: List[str] = []
    left: List[Left] = []
    refusals = 0
    for place, fate in enumerate(going):
        one = fate.snapshot
        if one.uuid in skip:
            left.append(skip[one.uuid])
            continue
        tell(place, len(going))
        if time.monotonic() >= deadline:
            late = f"the time was over with {len(going) - place} still to delete"
            return tuple(deleted), tuple(left), finding("retention.failed", volume=volume.name, error=late, fix="kvmontap snapshot prune")
        try:
            needed = others.need(fate) if fate.told.group else ""
            if needed:
                left.append(Left(one.name, one.uuid, GROUPED, needed))
                continue
            remove(client, volume, one, fate.told, deadline)
            deleted.append(one.name)
            continue
        except ArrayError as error:
            failure = error
        if failure.ontap_code in _HELD:
            left.append(_left(one, _HELD[failure.ontap_code]))
            continue
        if failure.ontap_code == NEEDS_APPROVAL:
            left.append(_left(one, APPROVAL))
            return tuple(deleted), tuple(left), _told(volume, failure)
        refusals += 1
        left.append(Left(one.name, one.uuid, REFUSED, words(failure)))
        if not failure.ontap_code or failure.ontap_code in _FIXES or refusals >= _ENOUGH:
            return tuple(deleted), tuple(left), _told(volume, failure)
    return tuple(deleted), tuple(left), None


def _left(one: Stored, why: str) -> Left:
    fields = {"until": clock(retention.locked_until(one)), "owners": ", ".join(one.owners) or "something on the array"}
    return Left(one.name, one.uuid, why, _MEANS[why].format(**fields))


def clock(when: Optional[float]) -> str:
    """A time of the array for people, in UTC like the snapshots' names."""
    if when is None or when == float("inf"):
        return "nobody knows when"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))


def words(error: ArrayError) -> str:
    """The array's own words with its code, or what happened instead of an answer."""
    return f"{error.message} (ONTAP {error.ontap_code})" if error.message and error.ontap_code else error.finding.text


def _told(volume: VolumeRef, error: ArrayError) -> Finding:
    code = "retention.approval" if error.ontap_code == NEEDS_APPROVAL else "retention.failed"
    fix = _FIXES.get(error.ontap_code, "").format(volume=volume.name, svm=volume.svm) or error.finding.fix
    return finding(code, volume=volume.name, error=words(error), fix=fix)
