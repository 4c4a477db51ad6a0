"""The SnapMirror relationships of a volume: how they are, what has arrived, and an update asked for.

State, lag and updates are the affair of the destination's array, so every array of [ontap] is asked.  Imports no client library: it talks
through kvmontap.array.client.
"""

from typing import FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from kvmontap.array.answers import AnswerError, flag, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import UNKNOWN_API, ArrayError, unusable
from kvmontap.array.protection import RELATIONSHIP_FIELDS, duration, is_source
from kvmontap.array.state import VolumeRef
from kvmontap.array.stored import stored

_MOST = 10000
_BUSY = ("queued", "transferring")


class Mirror(NamedTuple):
    """One relationship whose source is the volume."""

    client: Client  # of the destination's array
    uuid: str
    svm: str  # of the destination
    volume: str  # "" where a whole SVM or a consistency group is mirrored
    state: str = ""
    healthy: Optional[bool] = None
    lag: Optional[float] = None  # seconds
    busy: bool = False  # a transfer is under way
    synchronous: bool = False  # needs no update

    @property
    def destination(self) -> str:
        return f"{self.svm}:{self.volume}"


class Mirrors(NamedTuple):
    """What the arrays know of a volume's relationships."""

    known: Tuple[Mirror, ...]
    unasked: Tuple[str, ...] = ()  # why an array did not tell, a sentence each


def mirrors(clients: Iterable[Client], volume: VolumeRef, deadline: float) -> Mirrors:
    """The relationships of the volume at every array; never raises for anything that one of them does."""
    found: List[Mirror] = []
    unasked: List[str] = []
    for client in clients:
        try:
            records = client.records(
                "SnapmirrorRelationship", (*RELATIONSHIP_FIELDS, "transfer.state"), deadline, most=_MOST, **{"source.svm.name": volume.svm})
            found += [_read(client, record) for record in records if is_source(record, volume)]
        except AnswerError as error:
            unasked.append(unusable(client.where("SnapMirror relationships"), one_line(str(error))).finding.text)
        except ArrayError as error:
            if error.ontap_code != UNKNOWN_API:
                unasked.append(error.finding.text)
    return Mirrors(tuple(found), tuple(unasked))


def update(mirror: Mirror, deadline: float) -> None:
    """Asks for a transfer now, which then goes on by itself; raises ArrayError."""
    mirror.client.create("SnapmirrorTransfer", {}, deadline, parents=(mirror.uuid,))


def arrived(mirror: Mirror, deadline: float) -> Optional[FrozenSet[str]]:
    """The names of the snapshots that the destination holds, None where nobody can tell; raises ArrayError."""
    if not mirror.volume:
        return None
    records = mirror.client.records(
        "Volume", ("name", "uuid", "svm.name"), deadline, **{"name": mirror.volume, "svm.name": mirror.svm})
    try:
        there = next((VolumeRef(text(one, "uuid"), mirror.volume, mirror.svm, "") for one in records if text(one, "uuid")), None)
    except AnswerError as error:
        raise unusable(mirror.client.where("volumes"), one_line(str(error))) from None
    return frozenset(one.name for one in stored(mirror.client, there, deadline)) if there is not None else None


def _read(client: Client, record: dict) -> Mirror:
    svm, _, volume = text(record, "destination.path").partition(":")
    if not text(record, "uuid"):
        raise AnswerError("a SnapMirror relationship has no uuid")
    return Mirror(
        client,
        text(record, "uuid"),
        svm,
        "" if "/" in volume else volume,
        text(record, "state"),
        flag(record, "healthy"),
        duration(text(record, "lag_time")),
        text(record, "transfer.state") in _BUSY,
        text(record, "policy.type") == "sync",
    )
