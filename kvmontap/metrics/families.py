"""From what the daemon knows to metrics.  Pure."""

from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

import kvmontap
from kvmontap.metrics.counting import BOUNDS, Counted
from kvmontap.metrics.exposition import Family, Sample
from kvmontap.model import HEALTHS, PoolHealth


class Kept(NamedTuple):
    """The snapshots of ours on a pool's volume, as its array told them."""

    counts: Mapping[str, int]  # by reason
    newest: Optional[float] = None  # epoch seconds of the array's clock
    oldest: Optional[float] = None
    all: int = 0  # of everybody's


class Known(NamedTuple):
    """What is known at one time."""

    looked: float  # epoch seconds of the last look at the pools
    problems: int  # of the configuration
    healths: Mapping[str, PoolHealth]
    counted: Counted
    kept: Mapping[str, Kept]


def families(known: Known) -> Tuple[Family, ...]:
    """Every metric."""
    return (
        Family("kvmontap_info", "gauge", "Version of kvmontapd.", (Sample((("version", kvmontap.__version__),), 1),)),
        Family("kvmontap_last_look_timestamp_seconds", "gauge", "When the pools were looked at last.", (Sample((), known.looked),)),
        Family("kvmontap_configuration_problems", "gauge", "Problems of the configuration that kvmontap check tells.", (Sample((),
                                                                                                                               known.problems),)),
        *_healths(known.healths),
        *_events(known.counted),
        *_snapshots(known),
    )


def _healths(healths: Mapping[str, PoolHealth]) -> Iterable[Family]:
    states = [Sample((("pool", name), ("health", health)), float(one.health == health)) for name,
              one in healths.items() for health in HEALTHS]
    yield Family("kvmontap_pool_health", "gauge", "Health of a pool as the gate judges it: 1 for the one that it has.", tuple(states))
    found: Dict[Tuple[str, str, str], None] = {}
    for name, one in healths.items():
        found.update(dict.fromkeys((name, finding.code, finding.health) for finding in one.findings))
    labels = ("pool", "code", "health")
    yield Family("kvmontap_pool_finding", "gauge", "What a probe has found, by reason code.",
                 tuple(Sample(tuple(zip(labels, key)), 1) for key in found))


def _events(counted: Counted) -> Iterable[Family]:
    labels = ("op", "result", "code")
    yield Family("kvmontap_events_total", "counter", "Verdicts on starts and migrations of VMs since kvmontapd runs.",
                 tuple(Sample(tuple(zip(labels, key)), count) for key, count in sorted(counted.events.items())))
    samples: List[Sample] = []
    for op, one in sorted(counted.latencies.items()):
        samples += [Sample((("op", op), ("le", f"{bound:g}")), count, "_bucket") for bound, count in zip(BOUNDS, one.buckets)]
        samples += [Sample((("op", op), ("le", "+Inf")), one.count, "_bucket"), Sample((("op", op),), one.seconds, "_sum"),
                    Sample((("op", op),), one.count, "_count")]
    yield Family("kvmontap_event_seconds", "histogram", "How long libvirt's hook waited for a verdict, its snapshot included.",
                 tuple(samples))


def _snapshots(known: Known) -> Iterable[Family]:
    taken = [Sample((("pool", pool), ("result", result)), count) for (pool, result), count in sorted(known.counted.snapshots.items())]
    yield Family("kvmontap_snapshot_requests_total", "counter",
                 "Snapshots asked for before a start or a migration, by what became of them.",
                 tuple(taken))
    own = [Sample((("pool", pool), ("reason", reason)), count) for pool, one in known.kept.items() for reason, count in one.counts.items()]
    yield Family("kvmontap_snapshots", "gauge", "Snapshots of kvmontap's on the volume of a pool.", tuple(own))
    yield Family("kvmontap_volume_snapshots", "gauge", "All snapshots on the volume of a pool; ONTAP allows 1023.",
                 tuple(Sample((("pool", pool),), one.all) for pool, one in known.kept.items()))
    for which, text in (("newest", "newest"), ("oldest", "oldest")):
        stamps = [(pool, getattr(one, which)) for pool, one in known.kept.items()]
        yield Family(f"kvmontap_snapshot_{which}_timestamp_seconds", "gauge", f"When the {text} snapshot of kvmontap's was taken.",
                     tuple(Sample((("pool", pool),), stamp) for pool, stamp in stamps if stamp is not None))
