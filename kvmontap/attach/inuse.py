"""Whether disks are in use, asked before the last way to them is taken down; and the flushing of multipath maps."""

from typing import Iterable, List, Sequence

from kvmontap.attach.call import call
from kvmontap.host import mountinfo, san

MULTIPATH = "/usr/sbin/multipath"
_OWN = ("mpath-", "part")  # device-mapper names of what goes away with its disk by itself


def disks(names: Iterable[str]) -> str:
    """What still uses the disks, as a clause ("/mnt/x is mounted from them"), "" where nothing does."""
    numbers = {number for name in names for number in san.numbers(name)}
    mounted = [mount.where for mount in mountinfo.read() if mount.device in numbers]
    if mounted:
        return f"{' and '.join(sorted(set(mounted)))} is mounted from them"
    for name in names:
        for holder, uuid in _above(name):
            if not uuid.startswith(_OWN):
                return f"{holder} ({uuid or 'a device of its own'}) is built on them"
    return ""


def flush_maps(going: Sequence[str], staying: Iterable[str] = ()) -> str:
    """Flush the multipath maps whose every path is among `going`: without paths they would hold back whatever touches them.

    What is still in use is told as a clause: a map that a VM has open cannot be flushed."""
    left = set(staying)
    maps = {holder: uuid for disk in going for holder, uuid in san.maps_of(disk) if uuid.startswith("mpath-")}
    for uuid in maps.values():
        found = san.multipath(uuid[len("mpath-"):])
        if found is not None and not left.intersection(path.name for path in found.paths):
            call((MULTIPATH, "-f", uuid[len("mpath-"):]), 20.0)
            if san.multipath(uuid[len("mpath-"):]) is not None:
                return f"the multipath map {uuid[len('mpath-'):]} is in use"
    return ""


def _above(name: str) -> List:
    """Every device-mapper device that is built on a disk, however many layers up."""
    found: List = []
    todo = [name]
    while todo:
        for holder, uuid in san.maps_of(todo.pop()):
            if (holder, uuid) not in found:
                found.append((holder, uuid))
                todo.append(holder)
    return found
