"""One snapshot of one volume: asked for once, and known to be there or not at the end, whatever happens to the answers.

Imports no client library: it talks through kvmontap.array.client.
"""

import time
from typing import Any, Dict, NamedTuple

from kvmontap.array.answers import AnswerError, text
from kvmontap.array.client import Client
from kvmontap.array.errors import UNKNOWN_FIELD, ArrayError
from kvmontap.array.jobs import POLL_FIRST, POLL_MOST, follow
from kvmontap.array.state import VolumeRef

EXISTS = "525059"
# The share of the time that is kept for looking whether a snapshot is there after its answer got lost, and its bounds in seconds.
LOOK_SHARE, LOOK_LEAST, LOOK_MOST = 0.25, 0.2, 2.0
# Seconds that the array may take before it hands out a job: a snapshot is normally made within one, and the answer then
# carries the error's code itself.
WAIT = 2


class Wanted(NamedTuple):
    """What the snapshot is to be."""

    name: str  # unique: an answer that got lost is found again by it
    comment: str
    label: str = ""  # SnapMirror label
    expiry: str = ""  # ISO 8601 time until when nobody can delete it; "" = not locked


def body(wanted: Wanted, older: bool = False) -> Dict[str, Any]:
    """The body of the request; `older` = for an ONTAP before 9.15.1, which has the lock's time under another name."""
    made: Dict[str, Any] = {"name": wanted.name, "comment": wanted.comment}
    if wanted.label:
        made["snapmirror_label"] = wanted.label
    if wanted.expiry:
        made.update({"snaplock_expiry_time": wanted.expiry} if older else {"snaplock": {"expiry_time": wanted.expiry}})
    return made


def create(client: Client, volume: VolumeRef, wanted: Wanted, deadline: float) -> None:
    """Makes the snapshot; returns when it is there and raises ArrayError when it is not, or nobody knows, by the deadline.

    EXISTS: there was one of that name before."""
    deadline = client.limit(deadline)
    left = max(0.0, deadline - time.monotonic())
    asking = deadline - min(max(left * LOOK_SHARE, LOOK_LEAST), LOOK_MOST, left / 2)
    try:
        _ask(client, volume, wanted, asking)
        return
    except ArrayError as error:
        failure = error
    if not failure.maybe_done:
        raise failure  # also where the name exists: asked for the first time, it is somebody else's, and older
    # After a lost answer the array may still be at work on it; one that hung up before it answered has most likely heard nothing.
    if _comes(client, volume, wanted, time.monotonic() if failure.hung_up else deadline, deadline):
        return
    if not failure.hung_up or time.monotonic() >= asking:
        raise failure
    try:  # once more: the name makes a second request harmless
        _ask(client, volume, wanted, asking)
    except ArrayError as error:
        if error.ontap_code != EXISTS and not (error.maybe_done and _comes(client, volume, wanted, time.monotonic(), deadline)):
            raise


def _ask(client: Client, volume: VolumeRef, wanted: Wanted, deadline: float) -> None:
    wait = min(WAIT, max(0, int((deadline - time.monotonic()) / 2)))
    try:
        job = client.create_snapshot(volume.uuid, body(wanted, client.older_locks), wait, deadline)
    except ArrayError as error:
        if not wanted.expiry or client.older_locks or error.ontap_code not in UNKNOWN_FIELD:
            raise
        client.older_locks = True
        job = client.create_snapshot(volume.uuid, body(wanted, True), wait, deadline)
    if job:
        follow(client, job, client.where("snapshots", "create"), deadline)


def _comes(client: Client, volume: VolumeRef, wanted: Wanted, until: float, deadline: float) -> bool:
    """Whether a snapshot of that name is there, or comes `until` then; looked for at least once, with answers by `deadline`."""
    pause = POLL_FIRST
    while True:
        try:
            records = client.records("Snapshot", ("name",), deadline, parents=(volume.uuid,), name=wanted.name)
            if any(text(record, "name") == wanted.name for record in records):
                return True
        except (ArrayError, AnswerError):
            pass  # what went wrong first says more
        if time.monotonic() + pause >= until:
            return False
        time.sleep(pause)
        pause = min(pause * 2, POLL_MOST)
