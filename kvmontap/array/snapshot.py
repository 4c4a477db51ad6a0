"""One snapshot of one volume: asked for once, and known to be there or not at the end, whatever happens to the answers.

Imports no client library: it talks through kvmontap.array.client.
"""

import time
from typing import Any, Dict, Mapping, NamedTuple

from kvmontap.array.answers import AnswerError, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import UNKNOWN_FIELD, ArrayError, ontap_error, refused
from kvmontap.array.state import VolumeRef
from kvmontap.reasons import finding

EXISTS = "525059"
# The share of the time that is kept for looking whether a snapshot is there after its answer got lost, and its bounds in seconds.
LOOK_SHARE, LOOK_LEAST, LOOK_MOST = 0.25, 0.2, 2.0
# Seconds that the array may take before it hands out a job: a snapshot is normally made within one, and the answer then
# carries the error's code itself.
WAIT = 2
POLL_FIRST, POLL_MOST = 0.05, 1.0
_GOING = ("queued", "running", "paused", "pausing", "quitting", "rescheduled")
_FAILED = ("failure", "error", "cancelled", "expired", "dead")


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
    """Makes the snapshot; returns when it is there and raises ArrayError when it is not, or nobody knows, by the deadline."""
    deadline = client.limit(deadline)
    left = max(0.0, deadline - time.monotonic())
    asking = deadline - min(max(left * LOOK_SHARE, LOOK_LEAST), LOOK_MOST, left / 2)
    try:
        _ask(client, volume, wanted, asking)
        return
    except ArrayError as error:
        failure = error
    if failure.ontap_code == EXISTS:
        return  # nobody else has our name: an earlier request of ours has made it
    if not failure.maybe_done:
        raise failure
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
        _follow(client, job, deadline)


def _follow(client: Client, uuid: str, deadline: float) -> None:
    """Waits for the job; raises what it failed with, with its code."""
    where = client.where("snapshots", "create")
    pause = POLL_FIRST
    while True:
        try:
            job = client.job(uuid, deadline)
            state = text(job, "state")
        except (ArrayError, AnswerError) as error:
            # The job has made the snapshot or not; a role without a right to read jobs only hides which.
            words = error.finding.text if isinstance(error, ArrayError) else one_line(str(error))
            raise _unknown(client, f"its job cannot be followed: {words}") from None
        if state == "success":
            return
        if state in _FAILED:
            raise refused(0, job_error(job), where)
        if state not in _GOING:
            raise _unknown(client, f"its job is {one_line(state) or 'in no state'}")
        if time.monotonic() + pause >= deadline:
            raise _unknown(client, f"its job is still {state} when the time is over")
        time.sleep(pause)
        pause = min(pause * 2, POLL_MOST)


def job_error(job: Mapping[str, Any]) -> Dict[str, Any]:
    """An ONTAP error body from a failed job: its `error`, or `code` and `message` as older systems tell it."""
    code, message = ontap_error(job)
    if not code:
        code = text(job, "code") if text(job, "code") != "0" else ""
    return {"error": {"code": code, "message": message or text(job, "message") or f"its job ended as {text(job, 'state')}"}}


def _unknown(client: Client, words: str) -> ArrayError:
    where = client.where("snapshots", "create")
    told = finding("array.error", array=where.array, address=where.address, doing=where.doing, what=where.what, error=words)
    return ArrayError(told, maybe_done=True)


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
