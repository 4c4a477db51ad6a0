"""On which pools' devices a VM's storage lies: through device-mapper, partitions, LVM and mounts, by the kernel's device numbers.

Reads /sys and mountinfo, and stats nodes in /dev; opens no device, asks no server, and so never hangs.
"""

import os
import stat
from typing import Callable, Dict, FrozenSet, List, Optional, Set, Tuple

from kvmontap.host import block, match, mountinfo, san
from kvmontap.model import FILE_PROTOCOLS, ISCSI, Config, Pool, Source
from kvmontap.units.block import LIBVIRT_TYPES

_NOTHING: FrozenSet[str] = frozenset()
_LINKS = 40  # as many as the kernel follows in one lookup


class Behind:
    """The pools of one configuration, for the sources of one event; what is looked up is kept."""

    def __init__(
        self,
        config: Config,
        root: str = "/",
        mounts: Optional[Callable[[], Tuple[mountinfo.Mount, ...]]] = None,
        node: Optional[Callable[[str], str]] = None,
    ) -> None:
        """`root`: where sys is read; `mounts`: reads the mounts; `node`: "major:minor" of the block device at a path, "" for none."""
        self._pools = [pool for pool in config.pools.values() if pool.protocol not in FILE_PROTOCOLS]
        self._root = root
        self._read = mounts if mounts is not None else lambda: mountinfo.read(root)
        self._node = node if node is not None else node_number
        self._owners: Optional[Dict[str, Set[str]]] = None
        self._mounts: Optional[Tuple[mountinfo.Mount, ...]] = None

    def pools(self, source: Source) -> FrozenSet[str]:
        """The names of the pools whose device the source is, or lies on."""
        if not self._pools:
            return _NOTHING
        if source.kind == "network":
            return self._network(source)
        if not source.path.startswith("/"):
            return _NOTHING
        number = self._number(source)
        if not number or number.startswith("0:"):  # a file system without a block device
            return _NOTHING
        return frozenset(self._owned().get(number, ()))

    def _network(self, source: Source) -> FrozenSet[str]:
        """A disk that QEMU itself gets over iSCSI: name="IQN/LUN"."""
        if source.protocol != "iscsi":
            return _NOTHING
        target = source.name.partition("/")[0]
        return frozenset(pool.name for pool in self._pools if target in pool.iqn)

    def _number(self, source: Source) -> str:
        """The number of the block device that the source is, or of the one that its file system lies on."""
        if self._mounts is None:
            try:
                self._mounts = self._read()
            except OSError:
                return ""
        path = self._followed(source.path)
        if source.kind != "file" or path.startswith("/dev/"):
            number = self._node(path) if path.startswith("/dev/") else ""
            if number:
                return number
        mount = mountinfo.covering(self._mounts, path)
        return mount.device if mount is not None else ""

    def _followed(self, path: str) -> str:
        """Where a path leads, links followed except where looking may hang."""
        readlink = match.links(self._mounts or ())
        for _ in range(_LINKS):
            path = match.real(path, readlink)
            pointed = readlink(path)
            if not pointed:
                break
            path = pointed if pointed.startswith("/") else f"{os.path.dirname(path)}/{pointed}"
        return os.path.normpath(path)

    def _owned(self) -> Dict[str, Set[str]]:
        if self._owners is None:
            self._owners = {}
            for pool in self._pools:
                for number in devices(pool, self._root):
                    self._owners.setdefault(number, set()).add(pool.name)
        return self._owners


def devices(pool: Pool, root: str = "/") -> Tuple[str, ...]:
    """major:minor of every block device that is the pool's: its own, the paths to it, and all that is built on them."""
    number = block.device_number(pool, root) if pool.wwid or pool.namespace or pool.device else ""
    found: List[str] = list(san.numbers_of(number, root)) if number else []
    for disk in _disks(pool, root):
        found += san.numbers(disk, root)
    return tuple(dict.fromkeys(found))


def _disks(pool: Pool, root: str) -> Tuple[str, ...]:
    """The disks that are the pool's as a whole."""
    if pool.wwid and not pool.partition:
        return san.disks_of(pool.wwid, root)
    if pool.wwid or pool.namespace or pool.device:
        return ()
    if pool.type == "mpath":
        return san.multipath_disks(root)
    if pool.type == "scsi":
        return san.behind_adapter(pool.adapter, root)
    if pool.type in LIBVIRT_TYPES and pool.protocol == ISCSI:
        return tuple(disk for session in san.sessions(root) if session.target in pool.iqn for disk in session.disks)
    return ()


def node_number(path: str) -> str:
    """"8:0" for a block device's node, "" for anything else; `path` lies in /dev."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if stat.S_ISBLK(found.st_mode) else ""
