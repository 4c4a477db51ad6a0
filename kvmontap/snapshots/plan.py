"""Which volumes are to have a snapshot for one event.  Pure."""

from types import MappingProxyType
from typing import Iterable, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array.client import Client
from kvmontap.array.state import VolumeLook, VolumeRef
from kvmontap.model import Domain, Finding, Pool
from kvmontap.reasons import finding


class Request(NamedTuple):
    """One pool's wish for a snapshot of its volume."""

    client: Client
    volume: VolumeRef
    pool: Pool
    domain: Domain
    reason: str  # "start", "migrate", ...
    host: str
    images: Tuple[str, ...] = ()  # paths of all that the VM has in the pool; () = not known for certain


class Plan(NamedTuple):
    """What to take, and for which pools nothing can be taken though it is wanted."""

    requests: Tuple[Request, ...] = ()
    findings: Mapping[str, Finding] = {}  # by pool name


def plan(
    reason: str,
    domain: Domain,
    host: str,
    pools: Iterable[Pool],
    looks: Mapping[str, VolumeLook],
    clients: Mapping[str, Client],
    images: Mapping[str, Tuple[str, ...]] = MappingProxyType({}),
) -> Plan:
    """The requests for an event `reason` of `domain`, which touches `pools`.

    `looks` and `images` (see Request) are by pool name, `clients` by array name.  A pool without an array takes none and is no
    cause for complaint, unless its section requires one.
    """
    requests: List[Request] = []
    findings = {}
    for pool in pools:
        if reason not in pool.snapshots.before:
            continue
        client = clients.get(pool.ontap) if pool.ontap else None
        if client is None:
            if pool.snapshots.required or pool.ontap:
                findings[pool.name] = finding("snapshot.no-array", pool=pool.name)
            continue
        seen = looks.get(pool.name)
        if seen is None or seen.ref is None:
            findings[pool.name] = _unknown_volume(pool, seen)
        else:
            requests.append(Request(client, seen.ref, pool, domain, reason, host, images.get(pool.name, ())))
    return Plan(tuple(requests), findings)


def _unknown_volume(pool: Pool, seen: Optional[VolumeLook]) -> Finding:
    first = seen.findings[0] if seen is not None and seen.findings else None
    skipped = seen.skipped[0] if seen is not None and seen.skipped else "it was not looked for"
    return finding(
        "snapshot.failed",
        volume=f"of pool {pool.name}",
        error=first.text if first else skipped,
        fix=first.fix if first else "set volume= in its section",
    )
