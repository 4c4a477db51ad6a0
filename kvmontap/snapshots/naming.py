"""Names and comments of our snapshots, and how long they are locked.  Pure: clock and chance are passed in."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Dict

from kvmontap.model import Domain

PREFIX = "kvmontap"
VERSION = 1
# ONTAP cuts a snapshot's comment there.
COMMENT_LIMIT = 255
_CUT = "~"  # the end of a name that did not fit


def name(now: float, reason: str, chance: int) -> str:
    """kvmontap-YYYYMMDDTHHMMSSZ-REASON-xxxx; `now` = epoch seconds, `chance` = any integer, of which 16 bits count."""
    when = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{PREFIX}-{when}-{reason}-{chance & 0xFFFF:04x}"


def expiry(now: float, days: int) -> str:
    """The end of a lock of that many days, as ONTAP takes it; "" for none."""
    if days <= 0:
        return ""
    return (datetime.fromtimestamp(int(now), timezone.utc) + timedelta(days=days)).isoformat()


def comment(domain: Domain, reason: str, host: str, more: int = 0) -> str:
    """Compact JSON of what the snapshot was taken for, COMMENT_LIMIT characters at most.

    ASCII only, because a volume's language need not be UTF-8.  The UUID is never cut; the VM's name and the host's are,
    and end in ~ then.  `more` = other VMs that share the snapshot.
    """
    told: Dict[str, Any] = {"kvmontap": VERSION, "uuid": domain.uuid[:36], "reason": reason[:16]}
    if more:
        told["more"] = more
    room = COMMENT_LIMIT - len(_json({**told, "host": "", "vm": ""}))
    told["host"] = _cut(host, room // 3)
    told["vm"] = _cut(domain.name, room - _length(told["host"]))
    return _json(told)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _length(words: str) -> int:
    return len(_json(words)) - 2


def _cut(words: str, room: int) -> str:
    """The words, or as many of their characters as fit into `room` characters of JSON, marked as cut."""
    if _length(words) <= room:
        return words
    kept = words[: max(0, room - len(_CUT))]
    while kept and _length(kept) > room - len(_CUT):
        kept = kept[:-1]
    return kept + _CUT
