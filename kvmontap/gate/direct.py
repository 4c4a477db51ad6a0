"""The hook's own way where no daemon answers: the same work in this process, slower, and nothing remembered but arrivals."""

import os
import time
from typing import Tuple

from kvmontap import applied
from kvmontap.config import load
from kvmontap.service import log_from_hook
from kvmontap.gate import report
from kvmontap.gate.assemble import pipeline
from kvmontap.gate.configured import configured
from kvmontap.gate.verdict import Event
from kvmontap.host.probe import Prober


def decide(
    event: Tuple[str, str, str, str], xml: bytes, conf: str, run_dir: str, started: float, least: float
) -> Tuple[bool, str]:
    """(allow, sentence) for an event.

    started: time.monotonic() when libvirt called; if most of a verdict's time has gone into waiting for a daemon that died,
    at least `least` seconds count as left.
    """
    loaded = load(conf)
    found = configured(loaded, applied.read() if loaded.problems else {}, {})
    shortest = min((pool.gate.timeout for pool in found.config.pools.values()), default=found.config.gate.timeout)
    begun = max(started, time.monotonic() + least - shortest)
    prober = Prober(locks=os.path.join(run_dir, "probes"))
    about = Event(*event)
    try:
        verdict = pipeline(lambda: found, run_dir, prober).handle(about, xml, begun)
    finally:
        prober.close()
    for line in report.lines(about, verdict):
        log_from_hook(line.priority, line.message, **line.fields)
    return verdict.allow, verdict.sentence
