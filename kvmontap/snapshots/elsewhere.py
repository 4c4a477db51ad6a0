"""Whether other hosts use a volume, as far as anybody can know: the array's NFS clients and SMB sessions, OCFS2's own slot map.

XFS and ext4 leave no trace of another host.
"""

import os
import socket
import time
from typing import Any, List, Mapping, NamedTuple, Sequence, Set, Tuple

from kvmontap.array import ArrayError
from kvmontap.array.answers import AnswerError, text
from kvmontap.array.client import Client
from kvmontap.array.state import VolumeRef
from kvmontap.model import FILE_PROTOCOLS, NFS, SMB, Pool
from kvmontap.program import call
from kvmontap.units.block import device_path

MOUNTED_OCFS2 = "/usr/sbin/mounted.ocfs2"
SECONDS = 60.0


class Elsewhere(NamedTuple):
    """What was found, and what nobody can know; a clause and a sentence each."""

    found: Tuple[str, ...]
    unknown: Tuple[str, ...]


def users(client: Client, pools: Sequence[Pool], volume: VolumeRef, deadline: float) -> Elsewhere:
    """To be asked while this host itself has the pools unmounted."""
    found: List[str] = []
    unknown: List[str] = []
    if any(pool.protocol in FILE_PROTOCOLS for pool in pools):
        kinds = [("NfsClients", "NFS client", "client_ip", "volume.name")] if any(pool.protocol == NFS for pool in pools) else []
        kinds += [("CifsSession", "SMB client", "client_ip", "volumes")] if any(pool.protocol == SMB for pool in pools) else []
        ours = own_addresses(tuple(server for pool in pools for server in pool.server))
        for kind, shown, address, of in kinds:
            try:
                there = _clients(client, kind, (address, of), volume, min(deadline, time.monotonic() + SECONDS))
            except (ArrayError, AnswerError) as error:
                unknown.append(f"whether other hosts have volume {volume.name} mounted is not known ({error})")
                continue
            found += [f"{shown} {one}" for one in sorted(there - ours)]
    for pool in pools:
        if pool.filesystem == "ocfs2":
            nodes = _slots(device_path(pool))
            found += [f"pool {pool.name} on {node}" for node in nodes]
        elif pool.protocol not in FILE_PROTOCOLS:
            what = pool.filesystem or "what it holds"
            unknown.append(f"whether another host uses pool {pool.name} cannot be seen: {what} leaves no trace of it")
    return Elsewhere(tuple(found), tuple(unknown))


def _clients(client: Client, kind: str, fields: Tuple[str, str], volume: VolumeRef, deadline: float) -> Set[str]:
    """Addresses of the clients of the volume."""
    filters = {"svm.name": volume.svm}
    records = client.records(kind, fields, deadline, most=10000, **filters)
    return {text(one, fields[0]) for one in records if volume.name in _volumes(one)}


def _volumes(record: Mapping[str, Any]) -> Tuple[str, ...]:
    several: Any = record.get("volumes")
    if several is None:
        return (text(record, "volume.name"),)
    return tuple(text(one, "name") for one in several if isinstance(one, dict))


def own_addresses(servers: Sequence[str]) -> Set[str]:
    """The addresses by which this host reaches the servers; nothing is sent for that."""
    found = set()
    for server in servers:
        for family, kind, _, _, there in _resolved(server):
            with socket.socket(family, kind) as probe:
                try:
                    probe.connect(there)
                    found.add(str(probe.getsockname()[0]))
                except OSError:
                    continue
    return found


def _resolved(server: str) -> List[Tuple]:
    try:
        return list(socket.getaddrinfo(server.strip("[]"), 2049, type=socket.SOCK_DGRAM))
    except OSError:
        return []


def _slots(device: str) -> Tuple[str, ...]:
    """The nodes in the slot map of an OCFS2, by name."""
    if not os.path.exists(MOUNTED_OCFS2) or not os.path.exists(device):
        return ()
    return parse_slots(call((MOUNTED_OCFS2, "-f", device), SECONDS).out)


def parse_slots(output: str) -> Tuple[str, ...]:
    """The nodes in what `mounted.ocfs2 -f DEVICE` prints: "Device Stack Cluster F Nodes", or "Not mounted"."""
    head, _, rest = output.partition("\n")
    place = head.find("Nodes")
    for line in rest.splitlines() if place > 0 else ():
        nodes = line[place:].strip()
        if nodes and nodes != "Not mounted":
            return tuple(node.strip() for node in nodes.split(",") if node.strip())
    return ()


