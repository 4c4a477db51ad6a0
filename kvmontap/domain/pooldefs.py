"""libvirt's storage pools as its files on this host tell them, without libvirt: a hook must not call it.

/etc/libvirt/storage/NAME.xml is the definition, /run/libvirt/storage/NAME.xml (or /var/run) the state of a pool
that is active, which counts where both exist.  Both lie on local file systems.
"""

import os
import stat
from typing import Dict, List, NamedTuple, Optional

from kvmontap.domain import tree

DIRECTORIES = ("etc/libvirt/storage", "run/libvirt/storage")  # the later one wins
_SHAPE = tree.Shape(
    roots=frozenset(("pool", "poolstate")),
    elements=frozenset(("pool", "name", "source", "host", "dir", "device", "target", "path")),
    attributes=frozenset(("type", "name", "path")),
    texts=frozenset(("name", "path")),
)
# Pool types whose volumes are entries right below the target path.
_BELOW_TARGET = ("dir", "fs", "netfs", "logical", "vstorage", "disk", "mpath")


class PoolDef(NamedTuple):
    """One storage pool of libvirt."""

    name: str
    type: str  # dir, fs, netfs, logical, iscsi, ...
    target: str  # absolute path, "" where it has none
    source: str = ""  # netfs: "HOST:DIR"; otherwise the device, name or directory that it names


def read(root: str = "/", notes: Optional[List[str]] = None) -> Dict[str, PoolDef]:
    """Every pool that libvirt has defined or active on the host below `root`, by name.

    A file that cannot be read or is no pool is passed over; one sentence about it is added to `notes`.
    """
    found: Dict[str, PoolDef] = {}
    said = notes if notes is not None else []
    for directory in DIRECTORIES:
        where = os.path.join(root, directory)
        try:
            names = sorted(os.listdir(where))
        except FileNotFoundError:
            continue
        except OSError as error:
            said.append(f"{where} cannot be read: {error.strerror}")
            continue
        for name in names:
            if not name.endswith(".xml"):
                continue
            path = os.path.join(where, name)
            try:
                pool = parse(_contents(path))
            except OSError as error:
                said.append(f"{path} is passed over, it cannot be read: {error.strerror}")
            except tree.XmlError as error:
                said.append(f"{path} is passed over: {error}")
            else:
                found[pool.name] = pool
    return found


def parse(xml: bytes) -> PoolDef:
    """The pool of a <pool> or <poolstate> document; raises tree.XmlError."""
    top = tree.read(xml, _SHAPE)
    pool = top if top.tag == "pool" else top.first("pool")
    if pool is None:
        raise tree.XmlError("it holds no <pool>")
    source = pool.first("source")
    # libvirt names a pool without a name after its source.
    name = _text(pool.first("name")) or (_text(source.first("name")) if source is not None else "")
    if not name:
        raise tree.XmlError("its pool has no name")
    return PoolDef(name, pool.get("type"), _text(pool.first("target", "path")), _source(source))


def volume_path(pool: PoolDef, volume: str) -> str:
    """Where a volume of the pool is opened, "" where its path does not follow from its name (iscsi, rbd, ...)."""
    if pool.type not in _BELOW_TARGET or not pool.target.startswith("/") or not volume:
        return ""
    return os.path.join(pool.target, volume.lstrip("/"))


def _source(source: Optional[tree.Node]) -> str:
    if source is None:
        return ""
    host, folder, device = source.first("host"), source.first("dir"), source.first("device")
    if host is not None and folder is not None:
        return f"{host.get('name')}:{folder.get('path')}"
    for node in (device, folder):
        if node is not None and node.get("path"):
            return node.get("path")
    return _text(source.first("name"))


def _text(node: Optional[tree.Node]) -> str:
    return node.text if node is not None else ""


def _contents(path: str) -> bytes:
    """The bytes of a regular file; a pipe or a device put there in its stead must not hold anybody up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file")
        return file.read(tree.LARGEST + 1)
