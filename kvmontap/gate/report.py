"""A verdict as journal lines: one of a kind per line, with the fields that a search or an alert needs.  Pure.

The message ids are stable; units/kvmontapd.catalog explains each.
"""

from typing import Dict, List, NamedTuple, Optional

from kvmontap.gate.verdict import Event, told
from kvmontap.model import OK, PoolHealth, Verdict

REFUSED = "d86dc2dbea904c8f8e2177f550a75e21"
LET_THROUGH = "d09609aafd9a4219a94c5c345b78bc37"
SNAPSHOT = "050349c11e5446b9ad7a70279220a751"
FAULT = "dfe68f58f3d1407b8eec39323222839c"
CONFIGURATION = "9636d84700ef42b68f4ceee66a991879"
RETENTION = "5a3f0d1f7bd64a0f9f6d0a4a1c8ce2b7"
HEALTH = "67e03b7051d14708b0fd3e9d804c8a5a"
RETRIED = "cffe5ed3274e4d0d94404870f5df3b52"
POOL_STARTED = "fd99c62c792249d5aa6bef1b47bf78e5"
POOL_STOPPED = "0b0393ba4a4948848a62a96e33ddf119"
VM_STARTED = "f6961c7f3a204f8ca0681240f033fb12"
VM_RESUMED = "2cb76d725c224e1f839b9213fad36026"
LEFT = "ecaf8d354443460995ead6d6fe1648ac"

ERR, WARNING, NOTICE, INFO = 3, 4, 5, 6


class Line(NamedTuple):
    """One line for the journal."""

    priority: int
    message: str
    fields: Dict[str, str]


def lines(event: Event, verdict: Verdict) -> List[Line]:
    """What a verdict leaves in the journal; nothing for a VM that is none of our business."""
    about = {"KVMONTAP_DOMAIN": event.name, "KVMONTAP_OPERATION": event.op}
    made: List[Line] = []
    refused = False
    for health in verdict.healths:
        for finding in health.findings:
            if finding.health == OK:
                continue
            fields = {"KVMONTAP_CODE": finding.code, "KVMONTAP_POOL": health.pool, "KVMONTAP_HEALTH": finding.health, **about}
            if not verdict.allow and finding.code == verdict.code and not refused:
                refused = True
                # What the refusal is for heads the lines, in the words that the user has read.
                made.insert(0, Line(ERR, verdict.sentence, {"MESSAGE_ID": REFUSED, **fields}))
                continue
            message_id = LET_THROUGH if verdict.allow else REFUSED
            text = f"VM {event.name}: {told(health.pool, finding)}"
            made.append(Line(WARNING, text, {"MESSAGE_ID": message_id, **fields}))
    if not verdict.healths:
        for warning in verdict.warnings:
            text = f"VM {event.name} passes unchecked: {warning}"
            made.append(Line(WARNING, text, {"MESSAGE_ID": LET_THROUGH, "KVMONTAP_CODE": verdict.code, **about}))
    for snapshot in verdict.snapshots:
        text = f"VM {event.name}: snapshot before {event.op} of volume {snapshot}"
        made.append(Line(INFO, text, {"MESSAGE_ID": SNAPSHOT, "KVMONTAP_SNAPSHOT": snapshot.partition(" (")[0], **about}))
    return made


def health(before: Optional[PoolHealth], after: PoolHealth) -> List[Line]:
    """What a pool's health leaves in the journal when it has become another one; before: None = nothing is known of it.

    Another figure in the same finding is no news."""
    known = {finding.code for finding in before.findings if finding.health != OK} if before is not None else set()
    said = [finding for finding in after.findings if finding.health != OK]
    about = {"MESSAGE_ID": HEALTH, "KVMONTAP_POOL": after.pool, "KVMONTAP_HEALTH": after.health}
    if not said:
        return [Line(NOTICE, f"pool {after.pool} is well again", about)] if known else []
    return [
        Line(WARNING, told(after.pool, one), {**about, "KVMONTAP_HEALTH": one.health, "KVMONTAP_CODE": one.code})
        for one in said if one.code not in known
    ]  # fmt: skip


def fault(event: Event, error: BaseException) -> Line:
    """A fault of our own, for which a VM was let through unchecked."""
    text = f"VM {event.name} was let through unchecked, kvmontap itself failed: {type(error).__name__}: {error}"
    return Line(ERR, text, {"MESSAGE_ID": FAULT, "KVMONTAP_DOMAIN": event.name, "KVMONTAP_CODE": "gate.error"})
