"""Consistency groups: which one holds given volumes, and its snapshots.

A snapshot is made in two phases: `start` fences the writes of all volumes, `commit` makes it and lets the writes go on.  The array gives
up by itself what was started and not committed within FENCE seconds, so that nobody who is killed in between leaves a fence.  An array
that knows no phases makes it in one.

Imports no client library: it talks through kvmontap.array.client.
"""

import time
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array.answers import AnswerError, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import NO_ENTRY, UNKNOWN_FIELD, ArrayError, unusable
from kvmontap.array.jobs import follow
from kvmontap.array.snapshot import Wanted, body
from kvmontap.array.state import VolumeRef

FENCE = 7  # seconds that writes are held back at most; ONTAP takes 5 to 120
NOT_STARTED = "53411925"  # what is to be committed is not there: too late, or never begun
_GONE = (NO_ENTRY, "53411842", "53411843", "53411844")
_SNAPSHOT = "ConsistencyGroupSnapshot"
_WAIT = 5
_MOST = 5000
_FIELDS = ("name", "uuid", "svm.name", "volumes.uuid", "volumes.name", "consistency_groups.uuid", "consistency_groups.name",
           "consistency_groups.volumes.uuid", "consistency_groups.volumes.name")  # fmt: skip


class Group(NamedTuple):
    """One consistency group."""

    uuid: str
    name: str
    volumes: FrozenSet[Tuple[str, str]]  # (UUID, name), those of the groups in it included

    def holds(self, uuid: str) -> bool:
        return any(one == uuid for one, _ in self.volumes)


def groups(client: Client, svm: str, deadline: float) -> Tuple[Group, ...]:
    """Every consistency group of the SVM, the smallest first; raises ArrayError."""
    try:
        records = client.records("ConsistencyGroup", _FIELDS, deadline, most=_MOST, **{"svm.name": svm})
        found: Dict[str, Group] = {}
        for record in records:
            for one in (record, *_list(record, "consistency_groups")):
                group = _read(one)
                found.setdefault(group.uuid, group)
    except AnswerError as error:
        raise unusable(client.where("consistency groups"), one_line(str(error))) from None
    return tuple(sorted(found.values(), key=lambda one: (len(one.volumes), one.name)))


def covering(known: Iterable[Group], volumes: Iterable[VolumeRef]) -> Tuple[Tuple[Group, Tuple[VolumeRef, ...]], ...]:
    """The groups for the volumes: the smallest that holds them all, else the smallest of each; without volumes that are in none.  Pure."""
    wanted, several = tuple(volumes), tuple(known)
    whole = next((group for group in several if all(group.holds(one.uuid) for one in wanted)), None)
    if whole is not None:
        return ((whole, wanted),)
    found: Dict[str, Tuple[Group, Tuple[VolumeRef, ...]]] = {}
    for one in wanted:
        group = next((each for each in several if each.holds(one.uuid)), None)
        if group is not None:
            found[group.uuid] = (group, found.get(group.uuid, (group, ()))[1] + (one,))
    return tuple(found.values())


def create(client: Client, group: Group, wanted: Wanted, deadline: float) -> None:
    """Makes a snapshot of the group; returns when it is there and raises ArrayError when it is not, or nobody knows, by the deadline.

    A name that is taken comes back as ONTAP's own error of the group.
    """
    deadline = client.limit(deadline)
    try:
        _make(client, group, body(wanted._replace(expiry="")), deadline)
    except ArrayError as error:
        # After a lost answer to the commit it is there or not; what was only started gives itself up.
        if not error.maybe_done or not _there(client, group, wanted.name, client.limit(time.monotonic() + _WAIT)):
            raise


def _make(client: Client, group: Group, wanted: Mapping[str, Any], deadline: float) -> None:
    where = client.where("consistency group snapshots", "create")
    wait = min(_WAIT, max(0, int((deadline - time.monotonic()) / 2)))
    if not client.one_phase:
        try:
            job, uuid = client.create_group_snapshot(group.uuid, wanted, wait, deadline, FENCE)
        except ArrayError as error:
            if error.ontap_code not in UNKNOWN_FIELD or "action" not in error.message:
                raise
            client.one_phase = True
    if client.one_phase:
        job, _ = client.create_group_snapshot(group.uuid, wanted, wait, deadline, 0)
        if job:
            follow(client, job, where, deadline)
        return
    if job:
        follow(client, job, where, deadline)
    uuid = uuid or _named(client, group.uuid, str(wanted["name"]), deadline)
    if not uuid:
        raise unusable(where, "it does not tell which snapshot it has begun", maybe_done=True)
    job = client.change(_SNAPSHOT, uuid, {"action": "commit"}, wait, deadline, (group.uuid,))
    if job:
        follow(client, job, where, deadline)


def _there(client: Client, group: Group, name: str, deadline: float) -> bool:
    try:
        return bool(_named(client, group.uuid, name, deadline))
    except ArrayError:
        return False  # what went wrong first says more


def delete(client: Client, group: str, name: str, deadline: float) -> bool:
    """Deletes the snapshot of that name from all volumes of the group of that UUID; False where the group or its snapshot is gone.

    Raises ArrayError where it stays.
    """
    try:
        uuid = _named(client, group, name, deadline)
        if not uuid:
            return False
        wait = min(_WAIT, max(0, int(client.array.timeout / 2)))
        job = client.remove(_SNAPSHOT, uuid, deadline, (group,), return_timeout=wait)
        if job:
            follow(client, job, client.where("consistency group snapshots", "delete"), client.limit(deadline))
    except ArrayError as error:
        if error.ontap_code in _GONE:
            return False
        raise
    return True


def _named(client: Client, group: str, name: str, deadline: float) -> str:
    """The UUID of the group's snapshot of that name, "" where there is none."""
    records = client.records(_SNAPSHOT, ("name", "uuid"), deadline, most=_MOST, parents=(group,), name=name)
    try:
        return next((text(record, "uuid") for record in records if text(record, "name") == name), "")
    except AnswerError as error:
        raise unusable(client.where("consistency group snapshots"), one_line(str(error))) from None


def comments(client: Client, group: str, deadline: float) -> Dict[str, str]:
    """The comments of the group's snapshots by name; raises ArrayError."""
    records = client.records(_SNAPSHOT, ("name", "comment"), deadline, most=_MOST, parents=(group,))
    try:
        return {text(record, "name"): text(record, "comment") for record in records}
    except AnswerError as error:
        raise unusable(client.where("consistency group snapshots"), one_line(str(error))) from None


def held_by(client: Client, group: str, deadline: float) -> Optional[FrozenSet[Tuple[str, str]]]:
    """(UUID, name) of the volumes that the group of that UUID holds now, None where it is gone; raises ArrayError."""
    try:
        records = client.records("ConsistencyGroup", _FIELDS, deadline, uuid=group)
        return _read(records[0]).volumes if records else None
    except AnswerError as error:
        raise unusable(client.where("consistency groups"), one_line(str(error))) from None


def _read(record: Mapping[str, Any]) -> Group:
    uuid, name = text(record, "uuid"), text(record, "name")
    if not uuid:
        raise AnswerError("a consistency group has no uuid")
    inner = [volume for one in _list(record, "consistency_groups") for volume in _list(one, "volumes")]
    volumes = _list(record, "volumes") + inner
    return Group(uuid, name, frozenset((text(one, "uuid"), text(one, "name")) for one in volumes))


def _list(record: Mapping[str, Any], key: str) -> List[Mapping[str, Any]]:
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise AnswerError(f"{key} is not a list of objects")
    return value
