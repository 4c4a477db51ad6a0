"""Deleting one snapshot, on its volume or, where it was taken of a consistency group, on all volumes of the group at once.

A part of a group's snapshot is worth nothing, and a volume of the group that no pool lies on is thinned out by nobody else.  So such a
snapshot goes where it has had its time on every volume of the group that holds it, and stays everywhere else.
"""

from typing import Dict, Iterable, Mapping, Optional, Tuple

from kvmontap.array import groups
from kvmontap.array.client import Client
from kvmontap.array.errors import ArrayError
from kvmontap.array.state import VolumeRef
from kvmontap.array.stored import Stored, delete, stored
from kvmontap.model import Pool
from kvmontap.snapshots import naming, retention
from kvmontap.snapshots.retention import Fate, Policy

SCOPE = "consistency-group"


def adopted(client: Client, volume: VolumeRef, found: Iterable[Stored], deadline: float) -> Tuple[Stored, ...]:
    """The snapshots, in which one of our form without a comment has that of its consistency group's snapshot.

    Nothing says that ONTAP hands the comment of a group's snapshot on to those of the volumes; where it did not, they would be foreign
    to retention for ever.
    """
    several = tuple(found)
    bare = {one.uuid for one in several if not one.comment and naming.has_our_form(one.name)}
    if not bare:
        return several
    said: Dict[str, str] = {}
    try:
        for group in groups.groups(client, volume.svm, deadline):
            if group.holds(volume.uuid):
                said.update(groups.comments(client, group.uuid, deadline))
    except ArrayError:
        return several
    return tuple(one._replace(comment=said.get(one.name, "")) if one.uuid in bare else one for one in several)


def remove(client: Client, volume: VolumeRef, snapshot: Stored, told: Optional[naming.Told], deadline: float) -> None:
    """Deletes the snapshot, with those of the same group; raises ArrayError where it stays."""
    if told is not None and told.group and groups.delete(client, told.group, snapshot.name, deadline):
        return
    delete(client, volume, snapshot.uuid, deadline)


def policy(wanted: Policy, pools: Iterable[Pool], array: str) -> Policy:
    """The policy of snapshots of groups: as generous as that of any pool of the array that asks for them, and as `wanted`."""
    several = [wanted] + [retention.policy([pool.snapshots]) for pool in pools if pool.ontap == array and pool.snapshot_scope == SCOPE]
    days = [one.keep_days for one in several]
    return Policy(max(one.keep for one in several), 0 if 0 in days else max(days))


class Others:
    """The other volumes of consistency groups, each looked at once."""

    def __init__(self, client: Client, volume: VolumeRef, wanted: Policy, deadline: float, order: Mapping[str, int]) -> None:
        self._client = client
        self._volume = volume
        self._wanted = wanted
        self._deadline = deadline
        self._order = order
        self._groups: Dict[str, Tuple[VolumeRef, ...]] = {}
        self._fates: Dict[str, Mapping[str, Fate]] = {}

    def need(self, fate: Fate) -> str:
        """Which volume of its group still needs the snapshot, and why, for people; "" for none.  Raises ArrayError."""
        for other in self._members(fate.told.group):
            same = self._on(other).get(fate.snapshot.name)
            if same is not None and not same.goes:
                return f"volume {other.name} of its consistency group needs it ({same.held})"
        return ""

    def _members(self, group: str) -> Tuple[VolumeRef, ...]:
        if group not in self._groups:
            held = groups.held_by(self._client, group, self._deadline) or ()
            self._groups[group] = tuple(
                VolumeRef(uuid, name, self._volume.svm, self._volume.svm_uuid) for uuid, name in sorted(held) if uuid != self._volume.uuid
            )
        return self._groups[group]

    def _on(self, volume: VolumeRef) -> Mapping[str, Fate]:
        if volume.uuid not in self._fates:
            found = adopted(self._client, volume, stored(self._client, volume, self._deadline), self._deadline)
            decided = retention.fates(found, self._wanted, self._client.clock(), self._order)
            self._fates[volume.uuid] = {fate.snapshot.name: fate for fate in decided}
        return self._fates[volume.uuid]
