"""A snapshot of a block pool, opened on this host: a FlexClone of the volume, its LUN or namespace mapped to this host and to nobody
else, mounted read-only at a private place.  And closed again, by whoever opened it or by a later process.

All names are chosen and written down (kvmontap.snapshots.work) before the first request; what only the array knows (the clone's WWID)
is written down before the step that makes it show on this host.  So close() finds everything by what is written.

journal: {"kind": "open", "array", "svm", "clone": name of volume and igroup or subsystem, "protocol", "filesystem", "mount", "wwid",
"namespace", "nqn", "asked": epoch seconds when the clone was asked for, 0 as soon as it is there}
"""

import os
import random
import time
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from kvmontap.array import flexclone
from kvmontap.array.client import Client
from kvmontap.array.errors import ArrayError
from kvmontap.array.flexclone import Block
from kvmontap.array.state import VolumeRef
from kvmontap.host import cloned, identity
from kvmontap.host.cloned import DeviceError
from kvmontap.model import FC, ISCSI, Pool
from kvmontap.snapshots.work import Work, WorkError

KIND = "open"
MOUNTS = "/run/kvmontap/open"
SECONDS = 600.0  # for the array's part
LATE = 900.0  # seconds within which a clone may still appear whose request got no answer


class Wanted(NamedTuple):
    """Which pool as of which snapshot."""

    client: Client
    pool: Pool
    volume: VolumeRef
    snapshot: str


def unfit(pool: Pool) -> str:
    """Why no snapshot of the pool can be opened, "" where it can."""
    if pool.filesystem not in cloned.FILESYSTEMS or pool.type != "dir" or not pool.target:
        return f"files of a pool with filesystem = {pool.filesystem or 'none'} and type = {pool.type} cannot be brought back one by one"
    if pool.protocol == "nvme-fc":
        return "a second subsystem is not connected over NVMe/FC"
    if not (pool.wwid or pool.namespace):
        return "neither wwid = nor namespace = says which LUN or namespace it is"
    return ""


def opened(work: Work, wanted: Wanted, tell: Callable[[str], None]) -> str:
    """The directory that shows the pool's files as they were; `work` must be held and empty.  close() is to follow, whatever happens.

    Raises ArrayError, DeviceError, WorkError."""
    client, pool, volume = wanted.client, wanted.pool, wanted.volume
    why = unfit(pool)
    if why:
        raise WorkError(f"pool {pool.name}: {why}")
    deadline = time.monotonic() + SECONDS
    hosts = _hosts(pool)
    source = flexclone.behind(pool, flexclone.blocks(client, pool, volume, deadline))
    if source is None:
        raise WorkError(f"volume {volume.name} holds no LUN or namespace {pool.wwid or pool.namespace}; check volume = of pool {pool.name}")
    name = f"{flexclone.MARK}restore_{random.getrandbits(32):08x}"
    value = {
        "kind": KIND, "array": client.array.name, "svm": volume.svm, "clone": name, "protocol": pool.protocol,
        "filesystem": pool.filesystem, "mount": os.path.join(MOUNTS, name), "wwid": "", "namespace": "", "nqn": "", "asked": time.time(),
    }  # fmt: skip
    work.write(value)
    tell(f"pool {pool.name}: the array clones volume {volume.name} as of {wanted.snapshot}")
    flexclone.create(client, volume, wanted.snapshot, name, deadline)
    made = flexclone.find(client, volume.svm, name, deadline)
    if made is None:
        raise WorkError(f"the array has made the clone {name}, and does not show it")
    block = _like(source, flexclone.blocks(client, pool, made, deadline))
    value.update({"wwid": block.wwid, "namespace": "" if block.wwid else block.uuid, "asked": 0})
    work.write(value)
    cloned.announce(_identity(value))
    access = flexclone.show(client, pool, volume.svm, name, hosts, block, deadline)
    value["nqn"] = access.nqn
    work.write(value)
    tell(f"pool {pool.name}: its copy comes to this host")
    path = cloned.appear(pool, _identity(value), time.monotonic() + cloned.APPEARS)
    cloned.put_in_order(pool.filesystem, path)
    cloned.mount(pool.filesystem, path, value["mount"])
    return value["mount"]


def close(work: Work, client_of: Callable[[str], Client]) -> Tuple[str, ...]:
    """Takes away all that stands in the journal, as far as it is there; a sentence for each.

    client_of(name): the client of an array.  Raises ArrayError, DeviceError, WorkError; the journal stays then.
    """
    value = work.read()
    if value is None:
        return ()
    client, pool = client_of(value["array"]), Pool("", value["protocol"], filesystem=value["filesystem"])
    name, svm, deadline = value["clone"], value["svm"], time.monotonic() + SECONDS
    done: List[str] = []
    if cloned.unmount(value["mount"]):
        done.append(f"unmounted {value['mount']}")
    if cloned.vanish(_identity(value)):
        done.append(f"removed the device of {name} from this host")
    if flexclone.hide(client, pool, svm, name, deadline):
        done.append(f"unmapped {name}")
    if flexclone.delete(client, svm, name, deadline):
        done.append(f"deleted the clone volume {name}")
    elif value["asked"] and 0 <= time.time() - value["asked"] < LATE:
        raise WorkError(f"whether the array makes the clone volume {name} is not known yet; run kvmontap tidy in a quarter of an hour")
    work.forget()
    return tuple(done)


def _hosts(pool: Pool) -> Tuple[str, ...]:
    """What the array knows this host by; raises WorkError."""
    found = identity.read()
    for kind, why in found.missing:
        if kind in identity.wanted((pool.protocol,)):
            raise WorkError(why)
    if pool.protocol == ISCSI:
        return (found.iqn,)
    return tuple(port.wwpn for port in found.ports) if pool.protocol == FC else (found.nqn,)


def _like(source: Block, several: Tuple[Block, ...]) -> Block:
    for one in several:
        if one.inside == source.inside:
            return one
    raise WorkError(f"the clone holds no {source.inside}: the snapshot is older than this LUN or namespace")


def _identity(value: Dict[str, Any]) -> cloned.Identity:
    return cloned.Identity(value["wwid"], value["namespace"], value["nqn"])


__all__ = ["ArrayError", "DeviceError", "KIND", "Wanted", "close", "opened", "unfit"]
