"""A FlexClone of a volume as it was in a snapshot, and its LUN or namespace shown to one host and to nobody else.

Nothing here is remembered: all is found again by the names that the caller has chosen and written down, so that another process can
take it away.  Imports no client library: it talks through kvmontap.array.client.
"""

import time
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from kvmontap.array.answers import AnswerError, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import NO_ENTRY, ArrayError, unusable
from kvmontap.array.jobs import follow
from kvmontap.array.luns import NETAPP
from kvmontap.array.state import VolumeRef
from kvmontap.model import FC, NVME, Pool

MARK = "kvmontap_"  # every name of ours begins so; nothing else is ever deleted here
_WAIT = 5  # seconds that the array may take before it hands out a job
_GONE = (NO_ENTRY, "918235", "5374852", "72090001")  # it is not there (any more)


class Block(NamedTuple):
    """One LUN or namespace."""

    uuid: str
    name: str  # /vol/VOLUME/...
    serial: str = ""  # of a LUN

    @property
    def inside(self) -> str:
        """Its path within the volume."""
        return self.name.split("/", 3)[-1]

    @property
    def wwid(self) -> str:
        """As multipath spells it, "" for a namespace."""
        return NETAPP + self.serial.encode().hex() if self.serial else ""


class Access(NamedTuple):
    """An igroup or a subsystem."""

    uuid: str
    name: str
    nqn: str = ""  # of a subsystem


def create(client: Client, parent: VolumeRef, snapshot: str, name: str, deadline: float) -> None:
    """The volume `name` becomes a clone of `parent` as it was in the snapshot; raises ArrayError.

    Sent once: where `maybe_done` is set, the clone may appear, or not.
    """
    body = {
        "name": name,
        "svm": {"name": parent.svm},
        "clone": {"is_flexclone": True, "parent_volume": {"uuid": parent.uuid, "name": parent.name}, "parent_snapshot": {"name": snapshot}},
    }
    job = client.create("Volume", body, deadline, min(_WAIT, max(0, int(client.array.timeout / 2))))
    if job:
        follow(client, job, client.where("FlexClones", "create"), deadline)


def find(client: Client, svm: str, name: str, deadline: float) -> Optional[VolumeRef]:
    """The FlexClone of that name, None where there is none; raises ArrayError, also where a volume of that name is no clone."""
    fields = ("name", "uuid", "svm.name", "svm.uuid", "clone.is_flexclone")
    found = [one for one in _read(client, "Volume", fields, deadline, {"svm.name": svm, "name": name}) if one.get("name") == name]
    if not found:
        return None
    if (found[0].get("clone") or {}).get("is_flexclone") is not True:
        raise unusable(client.where("volumes"), one_line(f"volume {name} is no FlexClone"))
    return VolumeRef(_text(client, found[0], "uuid"), name, svm, _text(client, found[0], "svm.uuid"))


def delete(client: Client, svm: str, name: str, deadline: float) -> bool:
    """Deletes the FlexClone of that name; whether there was one."""
    assert name.startswith(MARK)
    found = find(client, svm, name, deadline)
    if found is None:
        return False
    _gone(client, "Volume", found.uuid, deadline, force=True)
    return True


def blocks(client: Client, pool: Pool, volume: VolumeRef, deadline: float) -> Tuple[Block, ...]:
    """The LUNs, or for an NVMe pool the namespaces, of a volume."""
    filters = {"svm.name": volume.svm, "location.volume.name": volume.name}
    if pool.protocol in NVME:
        found = _read(client, "NvmeNamespace", ("name", "uuid"), deadline, filters)
        return tuple(Block(_text(client, one, "uuid"), _text(client, one, "name")) for one in found)
    found = _read(client, "Lun", ("name", "uuid", "serial_number"), deadline, filters)
    return tuple(Block(_text(client, one, "uuid"), _text(client, one, "name"), _text(client, one, "serial_number")) for one in found)


def behind(pool: Pool, several: Sequence[Block]) -> Optional[Block]:
    """The one that the pool is made of, by WWID or UUID; None where it is not among them."""
    for one in several:
        if (one.uuid.lower() == pool.namespace.lower()) if pool.protocol in NVME else (one.wwid.lower() == pool.wwid.lower()):
            return one
    return None


def show(client: Client, pool: Pool, svm: str, name: str, hosts: Sequence[str], block: Block, deadline: float) -> Access:
    """Makes an igroup or subsystem of that name with these initiators or host NQNs only, and maps the block to it.

    An array that knows the name already (its answer got lost) is asked for what it has.
    """
    nvme = pool.protocol in NVME
    kind, initiators = ("NvmeSubsystem", "hosts") if nvme else ("Igroup", "initiators")
    body: Dict[str, Any] = {"name": name, "svm": {"name": svm}, "os_type": "linux",
                            initiators: [{"nqn" if nvme else "name": one} for one in hosts]}
    if not nvme:
        body["protocol"] = "fcp" if pool.protocol == FC else "iscsi"
    client.create(kind, body, deadline)
    made = access(client, pool, svm, name, deadline)
    if made is None:
        raise unusable(client.where("igroups"), one_line(f"{name} was made, and is not there"))
    there = {"svm": {"name": svm}, "namespace" if nvme else "lun": {"uuid": block.uuid},
             "subsystem" if nvme else "igroup": {"uuid": made.uuid}}
    client.create("NvmeSubsystemMap" if nvme else "LunMap", there, deadline)
    return made


def access(client: Client, pool: Pool, svm: str, name: str, deadline: float) -> Optional[Access]:
    """The igroup or subsystem of that name, None where there is none."""
    nvme = pool.protocol in NVME
    fields = ("name", "uuid") + (("target_nqn",) if nvme else ())
    for one in _read(client, "NvmeSubsystem" if nvme else "Igroup", fields, deadline, {"svm.name": svm, "name": name}):
        if one.get("name") == name:
            return Access(_text(client, one, "uuid"), name, _text(client, one, "target_nqn") if nvme else "")
    return None


def hide(client: Client, pool: Pool, svm: str, name: str, deadline: float) -> bool:
    """Deletes the igroup or subsystem with its map; whether there was one."""
    assert name.startswith(MARK)
    found = access(client, pool, svm, name, deadline)
    if found is None:
        return False
    more = {"allow_delete_with_hosts": True} if pool.protocol in NVME else {}
    _gone(client, "NvmeSubsystem" if pool.protocol in NVME else "Igroup", found.uuid, deadline, allow_delete_while_mapped=True, **more)
    return True


def _gone(client: Client, kind: str, uuid: str, deadline: float, **query: Any) -> None:
    """Deletes; a second time only where the array closed a kept connection instead of answering."""
    flags = {key: "true" for key in query}
    for last in (False, True):
        try:
            job = client.remove(kind, uuid, deadline, **flags)
            if job:
                follow(client, job, client.where("FlexClones", "delete"), deadline)
            return
        except ArrayError as error:
            if error.ontap_code in _GONE:
                return
            if last or not error.hung_up or time.monotonic() >= deadline:
                raise


def _read(client: Client, kind: str, fields: Tuple[str, ...], deadline: float, filters: Mapping[str, str]) -> Tuple[Dict[str, Any], ...]:
    return client.records(kind, fields, deadline, most=5000, **filters)


def _text(client: Client, record: Mapping[str, Any], path: str) -> str:
    try:
        return text(record, path)
    except AnswerError as error:
        raise unusable(client.where("volumes"), one_line(str(error))) from None
