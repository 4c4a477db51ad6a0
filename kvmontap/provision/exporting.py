"""The volume and the export policy of an NFS pool that is not there yet: what is missing, and making it.

`plan` is pure.  What is there already is never changed: where it does not fit, kvmontap doctor has the command.
"""

from typing import Any, Dict, List, NamedTuple, Tuple

from kvmontap.array.answers import text
from kvmontap.array.client import Client
from kvmontap.array.jobs import follow
from kvmontap.model import Pool

_WAIT = 15  # seconds that the array may take for a volume before it hands out a job
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
LONGEST = 203  # characters of a volume's name


class There(NamedTuple):
    """What of a pool's things the array has."""

    volume: bool
    policy: bool


class Wish(NamedTuple):
    """What an administrator asks for beside the pool's section."""

    size: int  # bytes
    aggregate: str  # "" = the array is to choose, which only some can
    clients: Tuple[str, ...]  # addresses or networks of the hosts that use the pool


class Make(NamedTuple):
    """One thing to be made."""

    what: str  # "export policy kvmnfs01"
    resource: str  # netapp_ontap's class
    body: Dict[str, Any]
    command: str  # the same in ONTAP's words


def name_of(pool: Pool) -> str:
    """The name of the pool's volume; ValueError (a clause) where it cannot be told."""
    name = pool.volume or pool.export.strip("/")
    if "/" in name:
        raise ValueError(f"export = {pool.export} names a directory below a junction: make the volume by hand, or name it with volume =")
    if not name or not set(name) <= set(_NAME) or name[0].isdigit() or len(name) > LONGEST:
        raise ValueError(f"{name!r} cannot be the name of a volume: letters, digits and _, no digit first")
    return name


def plan(pool: Pool, svm: str, there: There, wish: Wish) -> Tuple[Make, ...]:
    """What is to be made, in this order; ValueError (a clause) where something is missing for it."""
    name = name_of(pool)
    if there.volume:
        return ()
    if not wish.size:
        raise ValueError(f"there is no volume {name} on the array: say how large it is to be with --size")
    made: List[Make] = []
    if not there.policy:
        if not wish.clients:
            raise ValueError("no address of this host leads to the array: name the hosts with --client")
        rule = {"clients": [{"match": client} for client in wish.clients], "protocols": ["nfs"], "ro_rule": [pool.security],
                "rw_rule": [pool.security], "superuser": [pool.security]}
        made.append(Make(f"export policy {name} for {', '.join(wish.clients)}", "ExportPolicy",
                         {"name": name, "svm": {"name": svm}, "rules": [rule]},
                         f"export-policy create -vserver {svm} -policyname {name}; "
                         f"export-policy rule create -vserver {svm} -policyname {name} "
                         f"-clientmatch {','.join(wish.clients)} -protocol nfs -rorule {pool.security} -rwrule {pool.security} "
                         f"-superuser {pool.security}"))
    body: Dict[str, Any] = {
        "name": name, "svm": {"name": svm}, "size": wish.size, "guarantee": {"type": "none"}, "autosize": {"mode": "grow"},
        "nas": {"path": f"/{pool.export.strip('/')}", "security_style": "unix", "export_policy": {"name": name}},
    }
    if wish.aggregate:
        body["aggregates"] = [{"name": wish.aggregate}]
    where = f" -aggregate {wish.aggregate}" if wish.aggregate else ""
    made.append(Make(f"volume {name}, {wish.size >> 20} MiB, thin, on {body['nas']['path']}", "Volume", body,
                     f"volume create -vserver {svm} -volume {name}{where} -size {wish.size >> 20}MB -space-guarantee none "
                     f"-autosize-mode grow "
                     f"-junction-path {body['nas']['path']} -security-style unix -policy {name}"))
    return tuple(made)


def look(client: Client, svm: str, name: str, deadline: float) -> There:
    """Whether the array has a volume and an export policy of that name; raises ArrayError."""
    def has(kind: str) -> bool:
        found = client.records(kind, ("name",), deadline, **{"svm.name": svm, "name": name})
        return any(text(one, "name") == name for one in found)

    return There(has("Volume"), has("ExportPolicy"))


def make(client: Client, one: Make, deadline: float) -> None:
    """Makes it, and returns when it is there; raises ArrayError."""
    wait = min(_WAIT, max(1, int(client.array.timeout / 2))) if one.resource == "Volume" else None
    job = client.create(one.resource, one.body, deadline, wait)
    if job:
        follow(client, job, client.where("volumes" if one.resource == "Volume" else "export policies", "create"), deadline)

