"""The snapshots that a volume holds: read as typed records, and deleted one at a time.

Imports no client library: it talks through kvmontap.array.client.
"""

import time
from datetime import datetime, timezone
from typing import Any, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array.answers import AnswerError, flag, number, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import NO_ENTRY, UNKNOWN_FIELD, ArrayError, unusable
from kvmontap.array.jobs import follow
from kvmontap.array.state import QUERY_CHARACTERS, VolumeRef

GONE = ("1638600", "1638503", NO_ENTRY)  # the snapshot that is to be deleted is not there
_WAIT = 5  # seconds that the array may take for a deletion before it hands out a job
_MOST = 5000  # five times ONTAP's limit for a volume
_FIELDS = ("name", "uuid", "comment", "create_time", "state", "size", "owners", "snapmirror_label", "expiry_time")
# How a lock is told: since 9.15.1, from 9.12.1 to 9.14.1, and not at all before.
_LOCKS = (("snaplock.expiry_time", "snaplock.expired"), ("snaplock_expiry_time",), ())


class Stored(NamedTuple):
    """One snapshot as the array tells it; times are epoch seconds of the array's clock."""

    name: str
    uuid: str
    comment: str = ""
    created: Optional[float] = None
    state: str = ""  # "valid", ...; "" where it is not told
    size: Optional[int] = None  # bytes
    owners: Tuple[str, ...] = ()  # what on the array needs it: "snapmirror", "volume_clone", ...
    label: str = ""  # SnapMirror label
    expires: Optional[float] = None  # until when retention on the array keeps it
    locked_until: Optional[float] = None  # tamper-proof until then
    lock_over: bool = False  # the array says that the lock has run out


def stored(client: Client, volume: VolumeRef, deadline: float, name: str = "") -> Tuple[Stored, ...]:
    """Every snapshot of the volume, or the one of that name, oldest first; raises ArrayError."""
    filters = {"name": name} if name and not QUERY_CHARACTERS & set(name) else {}
    while True:
        try:
            fields = _FIELDS + _LOCKS[client.lock_fields]
            records = client.records("Snapshot", fields, deadline, most=_MOST, parents=(volume.uuid,), **filters)
            break
        except ArrayError as error:
            if error.ontap_code not in UNKNOWN_FIELD or client.lock_fields + 1 >= len(_LOCKS):
                raise
            client.lock_fields += 1
    try:
        found = [_read(record) for record in records]
    except AnswerError as error:
        raise unusable(client.where("snapshots"), one_line(str(error))) from None
    kept = [one for one in found if not name or one.name == name]
    return tuple(sorted(kept, key=lambda one: (one.created if one.created is not None else float("-inf"), one.name)))


def delete(client: Client, volume: VolumeRef, uuid: str, deadline: float) -> None:
    """Deletes the snapshot; returns when it is gone (also where it was not there), raises ArrayError otherwise.

    Asked once; a second time only where the array closed a kept connection instead of answering.
    """
    for last in (False, True):
        try:
            _delete(client, volume, uuid, deadline)
            return
        except ArrayError as error:
            if error.ontap_code in GONE:
                return
            if last or not error.hung_up or time.monotonic() >= deadline:
                raise


def _delete(client: Client, volume: VolumeRef, uuid: str, deadline: float) -> None:
    job = client.delete_snapshot(volume.uuid, uuid, min(_WAIT, max(0, int(client.array.timeout / 2))), deadline)
    if job:
        follow(client, job, client.where("snapshots", "delete"), client.limit(deadline))


def _read(record: Mapping[str, Any]) -> Stored:
    name, uuid = text(record, "name"), text(record, "uuid")
    if not name or not uuid:
        raise AnswerError("a snapshot has no name or no uuid")
    locked = moment(record, "snaplock.expiry_time")
    return Stored(
        name,
        uuid,
        text(record, "comment"),
        moment(record, "create_time"),
        text(record, "state"),
        number(record, "size"),
        _owners(record),
        text(record, "snapmirror_label"),
        moment(record, "expiry_time"),
        locked if locked is not None else moment(record, "snaplock_expiry_time"),
        bool(flag(record, "snaplock.expired")),
    )


def _owners(record: Mapping[str, Any]) -> Tuple[str, ...]:
    value = record.get("owners")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise AnswerError("owners is not a list")
    owners: List[str] = [one if isinstance(one, str) else repr(one) for one in value]
    return tuple(owners)


def moment(record: Mapping[str, Any], path: str) -> Optional[float]:
    """Epoch seconds of an ISO 8601 time, None where there is none; a time without zone counts as UTC."""
    words = text(record, path)
    if not words:
        return None
    try:
        told = datetime.fromisoformat(words.replace("Z", "+00:00"))
        return (told if told.tzinfo else told.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        # ONTAP tells "infinite" and "indefinite" for some locks.
        return float("inf") if words.lower().startswith(("in", "un")) else _bad(path, words)


def _bad(path: str, words: str) -> float:
    raise AnswerError(f"{path} is no time: {words[:40]}")
