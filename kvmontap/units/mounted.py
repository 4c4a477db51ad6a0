"""What a mount unit mounts, and how options of ours give way to the user's.  Pure.  On the boot path."""

from typing import List, NamedTuple, Tuple


class Mounted(NamedTuple):
    """The [Mount] section of a pool, before anything is escaped."""

    what: str
    type: str
    options: str  # with commas, _netdev last
    services: Tuple[str, ...] = ()  # that must run before; wanted, not required
    required: Tuple[str, ...] = ()  # without which there is nothing to mount; they stop after the mount has
    after: Tuple[str, ...] = ()  # that come before where they are started at all


class Owner(NamedTuple):
    """The account that qemu runs under, in numbers."""

    uid: int
    gid: int


def defaults(typed: str, *groups: Tuple[str, ...]) -> List[str]:
    """The first option of each group, unless the user typed one of the group: defaults("soft", ("hard", "soft")) -> []."""
    heads = {option.partition("=")[0] for option in typed.split(",")}
    return [group[0] for group in groups if not any(one.partition("=")[0] in heads for one in group)]
