"""Which snapshots of a volume have had their time.  Pure.

Only what carries our name and our comment (naming.told) is ever a candidate.  Of these, per reason: the newest `keep` stay while
they are younger than `keep-days`; the newest that can be used stays whatever its age; what is locked, owned or taken by hand
stays.  What stays although it is due does not push out a younger one: it counts for nothing.

Ages are told by the array's clock alone, in both ends: a host with a wrong clock deletes nothing too early.
"""

from types import MappingProxyType
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kvmontap.array.stored import Stored
from kvmontap.model import Snapshots
from kvmontap.snapshots import naming

DAY = 86400.0
# Why one stays although it is due (report) and why one stays because it is not (quiet).
LOCKED, OWNED, APPROVAL, REFUSED, GROUPED = "locked", "owned", "approval", "refused", "group"
YOUNG, LAST, MANUAL, NEWER, UNDATED = "young", "last", "manual", "newer-version", "undated"


class Policy(NamedTuple):
    """How many snapshots of each reason a volume keeps, and for how many days (0 = no limit)."""

    keep: int
    keep_days: int


class Fate(NamedTuple):
    """What is to become of one snapshot of ours."""

    snapshot: Stored
    told: naming.Told
    due: bool  # beyond `keep` or older than `keep-days`
    held: str = ""  # why it stays, one of the words above; "" = it goes

    @property
    def goes(self) -> bool:
        return self.due and not self.held


def policy(settings: Iterable[Snapshots]) -> Policy:
    """The policy of a volume behind pools with these settings: the most generous of each."""
    several = tuple(settings)
    days = [one.keep_days for one in several]
    return Policy(max(one.keep for one in several), 0 if 0 in days else max(days))


def fates(
    snapshots: Sequence[Stored], wanted: Policy, now: Optional[float] = None, order: Mapping[str, int] = MappingProxyType({})
) -> Tuple[Fate, ...]:
    """The fate of each snapshot of ours, oldest first.

    now: the array's clock (epoch seconds); where it is not known, the time of the youngest snapshot of the volume.  order: numbers
    of snapshots by name, rising as they were taken, which decide among those of the same second.
    """
    made = [one.created for one in snapshots if one.created is not None]
    present = now if now is not None else max(made, default=0.0)
    grouped: Dict[str, List[Tuple[Stored, naming.Told]]] = {}
    decided: List[Fate] = []
    for one in snapshots:
        told = naming.told(one.name, one.comment)
        if told is None:
            continue
        if told.version > naming.VERSION:
            decided.append(Fate(one, told, False, NEWER))
        elif told.reason == naming.MANUAL:
            decided.append(Fate(one, told, False, MANUAL))
        elif one.created is None:
            decided.append(Fate(one, told, False, UNDATED))
        else:
            grouped.setdefault(told.reason, []).append((one, told))
    for group in grouped.values():
        group.sort(key=lambda pair: (pair[0].created or 0.0, order.get(pair[0].name, -1), pair[0].name), reverse=True)
        decided.extend(_of_one_reason(group, wanted, present))
    return tuple(sorted(decided, key=lambda fate: (fate.snapshot.created or 0.0, fate.snapshot.name)))


def _of_one_reason(newest_first: Sequence[Tuple[Stored, naming.Told]], wanted: Policy, now: float) -> Iterable[Fate]:
    usable = [one.uuid for one, _ in newest_first if one.state in ("", "valid")]
    last = usable[0] if usable else newest_first[0][0].uuid
    for place, (one, told) in enumerate(newest_first):
        old = wanted.keep_days > 0 and now - (one.created or now) > wanted.keep_days * DAY
        due = place >= wanted.keep or old
        if one.uuid == last:
            yield Fate(one, told, due, LAST)
        elif not due:
            yield Fate(one, told, False, YOUNG)
        else:
            yield Fate(one, told, True, held_by_array(one, now))


def held_by_array(one: Stored, now: float) -> str:
    """LOCKED or OWNED where the array would not let it go, "" otherwise."""
    if one.owners:
        return OWNED
    until = locked_until(one)
    return LOCKED if until is not None and until > now else ""


def locked_until(one: Stored) -> Optional[float]:
    """Until when the array keeps it (its own clock; inf = nobody knows), None where nothing does."""
    lock = None if one.lock_over else one.locked_until
    return max([when for when in (lock, one.expires) if when is not None], default=None)
