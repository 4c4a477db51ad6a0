"""The array's compliance clock, by which locks run out: not its own clock, and not ours.

It runs slower than real time while a node is down and cannot be set back, so that it may lag behind by days.  Where nobody may read it
the array's own clock stands in for it.  Imports no client library: it talks through kvmontap.array.client.
"""

import time
from typing import Optional

from kvmontap.array.answers import AnswerError
from kvmontap.array.client import Client
from kvmontap.array.errors import ArrayError
from kvmontap.array.stored import moment

FRESH = 86400.0  # seconds until it is asked again


def now(client: Client, deadline: float, ours: float) -> float:
    """The compliance clock of the array (epoch seconds), of its nodes the one that is furthest; `ours` where it tells no time at all."""
    known = client.compliance
    if known is None or time.monotonic() - known[1] > FRESH:
        client.compliance = known = (_ahead(client, deadline), time.monotonic())
    if known[0] is not None:
        return time.monotonic() + known[0]
    told = client.clock()
    return ours if told is None else told


def _ahead(client: Client, deadline: float) -> Optional[float]:
    """It minus our monotonic clock; None where the array does not tell."""
    try:
        records = client.records("SnaplockComplianceClock", ("time",), deadline)
        times = [when for when in (moment(record, "time") for record in records) if when is not None]
    except (ArrayError, AnswerError):
        return None
    return max(times) - time.monotonic() if times else None
