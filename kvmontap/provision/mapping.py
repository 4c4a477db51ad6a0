"""Shows a LUN or namespace that no host sees yet to the hosts of its pool: an igroup or subsystem of the pool's name, and the map.

One that is mapped to others already is left alone: whom it is shown to is then somebody's decision, and kvmontap doctor has the command.
"""

from typing import NamedTuple, Optional, Sequence, Tuple

from kvmontap.array import flexclone, maps
from kvmontap.array.answers import text
from kvmontap.array.client import Client
from kvmontap.array.flexclone import Block
from kvmontap.array.luns import Held, holder
from kvmontap.model import FC, NVME, Finding, Pool


class Show(NamedTuple):
    """What is to be done on the array."""

    svm: str
    block: Block
    hosts: Tuple[str, ...]
    what: str
    command: str


def plan(client: Client, pool: Pool, hosts: Sequence[str], deadline: float) -> Optional[Show]:
    """None where it is shown to one of `hosts` already; ValueError (a clause) where it cannot be done here; raises ArrayError."""
    svm = client.array.svm
    held = holder(client, pool, {"svm.name": svm}, deadline)
    if isinstance(held, Finding):
        raise ValueError(f"{held.text}; {held.fix}")
    if not isinstance(held, Held):
        raise ValueError("it names neither a wwid of ONTAP's nor a namespace")
    several = maps.groups(client, pool, svm, held.uuid, deadline)
    if maps.shown(several, hosts, pool):
        return None
    if several:
        names = ", ".join(text(one, "name") for one in several)
        raise ValueError(f"{held.name} is mapped to {names}, without this host; run: kvmontap doctor {pool.name}")
    if not hosts:
        raise ValueError("this host has no name for it; run: kvmontap host-id")
    return Show(svm, Block(held.uuid, held.name), tuple(hosts),
                f"{_kind(pool)} {pool.name} with {', '.join(hosts)}, and {held.name} mapped to it",
                _command(pool, svm, held.name, hosts))


def show(client: Client, pool: Pool, wanted: Show, deadline: float) -> None:
    """Does it; raises ArrayError."""
    flexclone.show(client, pool, wanted.svm, pool.name, wanted.hosts, wanted.block, deadline)


def _kind(pool: Pool) -> str:
    return "subsystem" if pool.protocol in NVME else "igroup"


def _command(pool: Pool, svm: str, name: str, hosts: Sequence[str]) -> str:
    if pool.protocol in NVME:
        lines = [f"vserver nvme subsystem create -vserver {svm} -subsystem {pool.name} -ostype linux"]
        lines += [f"vserver nvme subsystem host add -vserver {svm} -subsystem {pool.name} -host-nqn {host}" for host in hosts]
        return "; ".join([*lines, f"vserver nvme subsystem map add -vserver {svm} -subsystem {pool.name} -path {name}"])
    protocol = "fcp" if pool.protocol == FC else "iscsi"
    return (f"lun igroup create -vserver {svm} -igroup {pool.name} -protocol {protocol} -ostype linux -initiator {','.join(hosts)}; "
            f"lun mapping create -vserver {svm} -path {name} -igroup {pool.name}")
