"""To whom a LUN or namespace is shown: the igroups or subsystems that it is mapped to, and whom they name."""

from typing import Any, List, Mapping, Sequence, Tuple

from kvmontap.array.answers import text
from kvmontap.array.client import Client
from kvmontap.model import NVME, Pool

Record = Mapping[str, Any]


def groups(client: Client, pool: Pool, svm: str, uuid: str, deadline: float) -> Tuple[Record, ...]:
    """The igroups (initiators.name) or subsystems (hosts.nqn) that the LUN or namespace of that UUID is mapped to."""
    nvme = pool.protocol in NVME
    link, owner, key = ("NvmeSubsystemMap", "subsystem", "namespace.uuid") if nvme else ("LunMap", "igroup", "lun.uuid")
    kind, fields = ("NvmeSubsystem", ("name", "hosts.nqn")) if nvme else ("Igroup", ("name", "initiators.name"))
    maps = client.records(link, (f"{owner}.name", f"{owner}.uuid"), deadline, **{key: uuid})
    found: List[Record] = []
    for name in dict.fromkeys(text(one, f"{owner}.name") for one in maps):
        found += client.records(kind, fields, deadline, **{"svm.name": svm, "name": name})
    return tuple(found)


def shown(several: Sequence[Record], names: Sequence[str], pool: Pool) -> bool:
    """Whether one of `names` is in one of the igroups or subsystems.  Pure."""
    key, field = ("hosts", "nqn") if pool.protocol in NVME else ("initiators", "name")
    inside = set()
    for group in several:
        members = group.get(key)
        inside |= {text(one, field).lower() for one in members if isinstance(one, Mapping)} if isinstance(members, list) else set()
    return any(name.lower() in inside for name in names)
