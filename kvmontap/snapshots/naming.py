"""Names and comments of our snapshots, and how long they are locked.  Pure: clock and chance are passed in."""

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, NamedTuple, Optional

from kvmontap.model import Domain

PREFIX = "kvmontap"
VERSION = 1
# ONTAP cuts a snapshot's comment there.
COMMENT_LIMIT = 255
_CUT = "~"  # the end of a name that did not fit
_NAME = re.compile(PREFIX + r"-([0-9]{8}T[0-9]{6}Z)-([a-z]{1,16})-[0-9a-f]{4}")
MANUAL = "manual"  # the reason of a snapshot that somebody asked for by hand
CLONE = "clone"  # ... of one that a new VM is made from; it is deleted when that is there
RESTORE = "restore"  # ... of one that keeps what a restore is about to replace


class Told(NamedTuple):
    """What a snapshot of ours says of itself."""

    reason: str
    vm: str  # ends in ~ where it was too long
    uuid: str  # of the VM, "" where it was taken of a pool
    host: str
    more: int = 0  # further VMs that share it
    version: int = VERSION
    volumes: int = 1  # how many have a snapshot of this name for the VM: fewer are a part of it
    group: str = ""  # UUID of the consistency group that it is a snapshot of


def name(now: float, reason: str, chance: int) -> str:
    """kvmontap-YYYYMMDDTHHMMSSZ-REASON-xxxx; `now` = epoch seconds, `chance` = any integer, of which 16 bits count."""
    when = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{PREFIX}-{when}-{reason}-{chance & 0xFFFF:04x}"


def expiry(now: float, days: int) -> str:
    """The end of a lock of that many days, as ONTAP takes it; "" for none."""
    if days <= 0:
        return ""
    return (datetime.fromtimestamp(int(now), timezone.utc) + timedelta(days=days)).isoformat()


def comment(domain: Domain, reason: str, host: str, more: int = 0, volumes: int = 1, group: str = "") -> str:
    """Compact JSON of what the snapshot was taken for, COMMENT_LIMIT characters at most.

    ASCII only, because a volume's language need not be UTF-8.  The UUID is never cut; the VM's name and the host's are,
    and end in ~ then.  `more` = other VMs that share the snapshot, `volumes` = how many get one of this name at the same time,
    `group` = the UUID of the consistency group whose snapshot it is.
    """
    told: Dict[str, Any] = {"kvmontap": VERSION, "uuid": domain.uuid[:36], "reason": reason[:16]}
    if more:
        told["more"] = more
    if volumes > 1:
        told["volumes"] = volumes
    if group:
        told["group"] = group[:36]
    room = COMMENT_LIMIT - len(_json({**told, "host": "", "vm": ""}))
    told["host"] = _cut(host, room // 3)
    told["vm"] = _cut(domain.name, room - _length(told["host"]))
    return _json(told)


def told(name_of: str, comment_of: str) -> Optional[Told]:
    """What a snapshot of that name and comment says of itself, None where it is not one of ours.

    Both must be ours and agree: a snapshot that somebody named like ours has another comment or none.
    """
    matched = _NAME.fullmatch(name_of)
    if matched is None:
        return None
    try:
        known = json.loads(comment_of)
    except (ValueError, RecursionError):
        return None
    if not isinstance(known, dict) or known.get("reason") != matched.group(2):
        return None
    version, more, volumes = known.get(PREFIX), known.get("more", 0), known.get("volumes", 1)
    words = [known.get(key) for key in ("vm", "uuid", "host")] + [known.get("group", "")]
    if not all(type(one) is int for one in (version, more, volumes)) or version < 1 or not all(isinstance(word, str) for word in words):
        return None
    return Told(matched.group(2), words[0], words[1], words[2], more, version, volumes, words[3])


def has_our_form(name_of: str) -> bool:
    """Whether a name is one that name() makes."""
    return _NAME.fullmatch(name_of) is not None


def is_cut(vm: str) -> bool:
    """Whether a VM's name in a comment is only its beginning."""
    return vm.endswith(_CUT)


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
