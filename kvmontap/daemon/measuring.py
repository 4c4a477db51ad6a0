"""Counts what the daemon does, for the metrics."""

import time
from typing import Any, Callable, Iterable

from kvmontap.gate.verdict import Event
from kvmontap.metrics.counting import Counters
from kvmontap.model import Verdict
from kvmontap.snapshots.commit import Outcome


def measured(handle: Callable[..., Verdict], counters: Counters) -> Callable[..., Verdict]:
    """`handle` of kvmontap.gate.pipeline, each verdict counted with the time since the hook came."""

    def handled(event: Event, xml: bytes, started: float, *more: Any) -> Verdict:
        verdict = handle(event, xml, started, *more)
        counters.event(event.op, verdict.allow, verdict.code, time.monotonic() - started)
        return verdict

    return handled


def count_snapshots(outcomes: Iterable[Outcome], counters: Counters) -> None:
    """What became of the requests for snapshots of one event."""
    for one in outcomes:
        result = "failed" if one.finding is not None else "reused" if one.reused else "shared" if one.shared else "taken"
        counters.snapshot(one.pool, result)
