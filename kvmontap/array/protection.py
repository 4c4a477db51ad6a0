"""What SnapMirror, active sync, mediator and MetroCluster records say of a volume's protection.  Pure.

The lag is known to the destination's array only, so the records come from every array of [ontap]; which of them are a volume's is told
here by SVM and path.
"""

import re
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array.answers import AnswerError, flag, one_line, text
from kvmontap.array.state import VolumeRef
from kvmontap.model import Finding
from kvmontap.reasons import finding

Record = Mapping[str, Any]

RELATIONSHIP_FIELDS = (
    "uuid", "state", "healthy", "lag_time", "unhealthy_reason", "group_type", "policy.name", "policy.type", "source.path",
    "source.svm.name", "source.svm.uuid", "source.consistency_group_volumes.name", "destination.path", "consistency_group_failover.state",
)  # fmt: skip
MEDIATOR_FIELDS = ("ip_address", "reachable")
METROCLUSTER_FIELDS = ("local",)

# The policies of SnapMirror active sync: AutomatedFailOver, AutomatedFailOverDuplex.
_ACTIVE_SYNC = "AutomatedFailOver"
_AT_WORK = ("snapmirrored", "in_sync", "expanding", "shrinking")
_DURATION = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?")
_UNITS = (604800, 86400, 3600, 60, 1)


class Protection(NamedTuple):
    """What protects a volume."""

    findings: Tuple[Finding, ...]
    relationships: int  # how many were told of
    active_sync: bool  # whether one of them fails over by itself, with the help of a mediator


def judge_relationships(records: Iterable[Record], ref: VolumeRef, rpo: float, arrays: str) -> Protection:
    """The relationships of which `ref` is the source; `rpo`: seconds, 0 = none is wanted; `arrays`: who was asked, for a sentence."""
    ours = [record for record in records if is_source(record, ref)]
    findings: List[Finding] = []
    for record in ours:
        findings.extend(_relationship(record, ref, rpo))
    if rpo and not ours:
        findings.append(finding("snapmirror.missing", volume=ref.name, arrays=arrays))
    return Protection(tuple(findings), len(ours), any(_is_active_sync(record) for record in ours))


def is_source(record: Record, ref: VolumeRef) -> bool:
    """Whether a relationship's source is the volume, its SVM (SVM DR) or a consistency group that it belongs to."""
    uuid = text(record, "source.svm.uuid")
    if uuid and ref.svm_uuid and uuid != ref.svm_uuid:
        return False
    svm, _, rest = text(record, "source.path").partition(":")
    if svm != ref.svm and text(record, "source.svm.name") != ref.svm:
        return False
    return rest in ("", ref.name) or ref.name in _volumes(record)


def _volumes(record: Record) -> List[str]:
    source = record.get("source")
    members = source.get("consistency_group_volumes") if isinstance(source, Mapping) else None
    if members is None:
        return []
    if not isinstance(members, list):
        raise AnswerError("source.consistency_group_volumes is not a list")
    return [text(one, "name") for one in members if isinstance(one, Mapping)]


def _is_active_sync(record: Record) -> bool:
    return text(record, "policy.name").startswith(_ACTIVE_SYNC)


def _relationship(record: Record, ref: VolumeRef, rpo: float) -> Iterable[Finding]:
    """What is wrong with one relationship."""
    shown = {"volume": ref.name, "destination": one_line(text(record, "destination.path") or "its destination")}
    state = text(record, "state")
    synchronous = text(record, "policy.type") == "sync"
    why = _why(record)
    if synchronous and state and state not in ("in_sync", "expanding", "shrinking"):
        kind = "active sync" if _is_active_sync(record) else "synchronous SnapMirror"
        said = one_line(state.replace("_", " ") + (f": {why}" if why else ""))
        yield finding("snapmirror.not-in-sync", kind=kind, state=said, **shown)
    elif flag(record, "healthy") is False or (state and state not in _AT_WORK):
        words = why or f"its state is {state.replace('_', ' ')}"
        yield finding("snapmirror.unhealthy", why=one_line(words), **shown)
    failover = text(record, "consistency_group_failover.state")
    if failover in ("failed", "vetoed", "completed_with_warnings"):
        yield finding("snapmirror.failover", state=failover.replace("_", " "), **shown)
    lag = duration(text(record, "lag_time"))
    if rpo and not synchronous and lag is not None and lag > rpo:
        yield finding("snapmirror.lag", lag=span(lag), wanted=span(rpo), **shown)


def _why(record: Record) -> str:
    """The array's own reasons, "" where it gives none."""
    reasons = record.get("unhealthy_reason") or []
    if not isinstance(reasons, list):
        raise AnswerError("unhealthy_reason is not a list")
    return "; ".join(filter(None, (text(one, "message") for one in reasons if isinstance(one, Mapping))))


def judge_mediators(records: Iterable[Record], array: str) -> Tuple[Finding, ...]:
    """Mediators that cannot be reached; to be asked where something fails over by itself."""
    return tuple(
        finding("mediator.unreachable", address=one_line(text(record, "ip_address")), array=array)
        for record in records
        if flag(record, "reachable") is False
    )


def in_metrocluster(record: Optional[Record]) -> bool:
    """Whether the cluster is half of a MetroCluster."""
    return record is not None and text(record, "local.configuration_state") not in ("", "not_configured")


def judge_metrocluster(record: Optional[Record], array: str) -> Tuple[Finding, ...]:
    """What the cluster says of its MetroCluster; nothing for a cluster that is in none."""
    if record is None or not in_metrocluster(record):
        return ()
    mode, state = text(record, "local.mode"), text(record, "local.configuration_state")
    if state != "configured":
        return (finding("metrocluster.state", array=array, state=state.replace("_", " ")),)
    if mode not in ("", "normal"):
        return (finding("metrocluster.state", array=array, state=f"in {mode.replace('_', ' ')}"),)
    if flag(record, "local.partner_cluster_reachable") is False:
        return (finding("metrocluster.state", array=array, state="without its partner, which cannot be reached"),)
    return ()


def duration(words: str) -> Optional[float]:
    """Seconds of an ISO 8601 duration ("PT8H35M42S", "P1DT2H"), None for anything else.

    >>> duration("P1DT2H")
    93600.0
    """
    fits = _DURATION.fullmatch(words) if len(words) > 1 else None
    if fits is None:
        return None
    return float(sum(int(part or 0) * unit for part, unit in zip(fits.groups(), _UNITS)))


def span(seconds: float) -> str:
    """Seconds for people: the two largest units.

    >>> span(93720), span(59)
    ('1 d 2 h', '59 s')
    """
    left, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"
