"""SnapMirror after a snapshot: every relationship of the volume is asked for an update, where snapmirror-update says so.

Asked once for each snapshot.  A transfer that is under way is left alone: the next update, by schedule or after the next snapshot, takes
what it missed.
"""

from typing import Iterable, List, NamedTuple, Optional, Tuple

from kvmontap.array.client import Client
from kvmontap.array.errors import NOT_AUTHORISED, ArrayError
from kvmontap.array.mirror import mirrors, update
from kvmontap.array.state import VolumeRef
from kvmontap.model import Finding
from kvmontap.reasons import finding
from kvmontap.snapshots.prune import words

_LATER = "nothing: the next update takes what this one did not"
_FIXES = {
    "6619715": _LATER,
    "6619720": _LATER,
    "13303816": _LATER,
    "13304159": _LATER,
    "13303844": "snapmirror show -destination-path {destination} -fields state,status,unhealthy-reason",
    "13303812": "snapmirror initialize -destination-path {destination}",
    "262325": "have the request approved: security multi-admin-verify request show-pending",
    NOT_AUTHORISED: "give its role that right (kvmontap role)",
}


class Updated(NamedTuple):
    """What became of one volume's relationships."""

    volume: str
    begun: Tuple[str, ...] = ()  # destinations, SVM:VOLUME
    busy: Tuple[str, ...] = ()  # ... to which a transfer was under way already
    finding: Optional[Finding] = None  # the first that was not updated, and why


def after_snapshot(clients: Iterable[Client], volume: VolumeRef, deadline: float) -> Updated:
    """Asks for the updates; never raises for anything that an array does."""
    found = mirrors(clients, volume, deadline)
    begun: List[str] = []
    busy: List[str] = []
    failed: Optional[Finding] = None
    for mirror in found.known:
        if mirror.synchronous:
            continue
        if mirror.busy:
            busy.append(mirror.destination)
            continue
        try:
            update(mirror, deadline)
            begun.append(mirror.destination)
        except ArrayError as error:
            fix = _FIXES.get(error.ontap_code, "").format(destination=mirror.destination) or error.finding.fix
            failed = failed or _finding(volume, f"{mirror.destination}: {words(error)}", fix)
    if not found.known:
        why = "; ".join(found.unasked) or "no array of [ontap] knows a relationship of it"
        failed = _finding(volume, why, "name the array of the destination in [ontap], or set snapmirror-update = no")
    return Updated(volume.name, tuple(begun), tuple(busy), failed)


def _finding(volume: VolumeRef, error: str, fix: str) -> Finding:
    return finding("snapmirror.not-updated", volume=volume.name, error=error, fix=fix)
