"""Following a job of the array to its end, with its error code kept.  Imports no client library."""

import time
from typing import Any, Dict, Mapping

from kvmontap.array.answers import AnswerError, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import ArrayError, Where, ontap_error, refused
from kvmontap.reasons import finding

POLL_FIRST, POLL_MOST = 0.05, 1.0
_GOING = ("queued", "running", "paused", "pausing", "quitting", "rescheduled")
_FAILED = ("failure", "error", "cancelled", "expired", "dead")


def follow(client: Client, uuid: str, where: Where, deadline: float) -> None:
    """Waits for the job; raises what it failed with, with its code, or an ArrayError with `maybe_done` when nobody knows."""
    pause = POLL_FIRST
    while True:
        try:
            job = client.job(uuid, deadline)
            state = text(job, "state")
        except (ArrayError, AnswerError) as error:
            # The job has done its work or not; a role without a right to read jobs only hides which.
            words = error.finding.text if isinstance(error, ArrayError) else one_line(str(error))
            raise unknown(where, f"its job cannot be followed: {words}") from None
        if state == "success":
            return
        if state in _FAILED:
            raise refused(0, job_error(job), where)
        if state not in _GOING:
            raise unknown(where, f"its job is {one_line(state) or 'in no state'}")
        if time.monotonic() + pause >= deadline:
            raise unknown(where, f"its job is still {state} when the time is over")
        time.sleep(pause)
        pause = min(pause * 2, POLL_MOST)


def job_error(job: Mapping[str, Any]) -> Dict[str, Any]:
    """An ONTAP error body from a failed job: its `error`, or `code` and `message` as older systems tell it."""
    code, message = ontap_error(job)
    if not code:
        code = text(job, "code") if text(job, "code") != "0" else ""
    return {"error": {"code": code, "message": message or text(job, "message") or f"its job ended as {text(job, 'state')}"}}


def unknown(where: Where, words: str) -> ArrayError:
    """The ArrayError for work of which nobody knows whether it was done."""
    told = finding("array.error", array=where.array, address=where.address, doing=where.doing, what=where.what, error=words)
    return ArrayError(told, maybe_done=True)
