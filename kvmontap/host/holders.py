"""Which processes have something open below a mount point, by /proc alone: the mount itself is not touched, so nothing here hangs."""

import os
from typing import List, NamedTuple, Tuple

from kvmontap.host.mountinfo import is_below


class Holder(NamedTuple):
    """One process."""

    pid: int
    name: str  # as ps -o comm shows it


def below(target: str, root: str = "/") -> Tuple[Holder, ...]:
    """The processes that have a file open, a directory as theirs, or a program running at or below `target`, by pid."""
    found = []
    for name in sorted(filter(str.isdigit, _names(os.path.join(root, "proc"))), key=int):
        process = os.path.join(root, "proc", name)
        if any(is_below(place, target) for place in _places(process)):
            found.append(Holder(int(name), _comm(process)))
    return tuple(found)


def _places(process: str) -> List[str]:
    files = [os.path.join(process, "fd", name) for name in _names(os.path.join(process, "fd"))]
    found = []
    for link in [os.path.join(process, "cwd"), os.path.join(process, "exe"), *files]:
        try:
            found.append(os.readlink(link))
        except OSError:  # it has ended, or it is a thread of the kernel
            pass
    return found


def _comm(process: str) -> str:
    try:
        with open(os.path.join(process, "comm"), encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _names(directory: str) -> List[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
