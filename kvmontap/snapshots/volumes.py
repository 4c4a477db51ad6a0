"""Which volumes stand behind the pools of the configuration: each asked for once, all at the same time."""

from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Iterable, List, Mapping, NamedTuple, Tuple

from kvmontap.array import Clients, VolumeLook, look
from kvmontap.array.client import Client
from kvmontap.array.state import VolumeRef
from kvmontap.model import Array, Finding, Pool
from kvmontap.reasons import finding

_AT_ONCE = 4  # a volume's look-up is a few requests, and an array takes only so many at once


class Target(NamedTuple):
    """One volume and the pools of ours that lie on it."""

    client: Client
    ref: VolumeRef
    pools: Tuple[Pool, ...]


class Targets(NamedTuple):
    """What the look-up gave."""

    volumes: Tuple[Target, ...]
    findings: Mapping[str, Finding]  # by pool name: why its volume is not among them


def targets(pools: Iterable[Pool], arrays: Mapping[str, Array], clients: Clients, deadline: float) -> Targets:
    """The volumes behind `pools`, in their order, each once."""
    wanted = [pool for pool in pools if pool.ontap in arrays]
    missing: Dict[str, Finding] = {
        pool.name: finding("snapshot.no-array", pool=pool.name) for pool in pools if pool.ontap not in arrays
    }
    known = {pool.ontap: clients.get(arrays[pool.ontap]) for pool in wanted}
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        looks = list(workers.map(lambda pool: look(known[pool.ontap], pool, deadline), wanted))
    found: Dict[Tuple[str, str], List] = {}
    for pool, seen in zip(wanted, looks):
        if seen.ref is None:
            missing[pool.name] = _why(pool, seen)
            continue
        entry = found.setdefault((known[pool.ontap].array.address, seen.ref.uuid), [known[pool.ontap], seen.ref, ()])
        entry[2] += (pool,)
    return Targets(tuple(Target(*entry) for entry in found.values()), missing)


def _why(pool: Pool, seen: VolumeLook) -> Finding:
    if seen.findings:
        return seen.findings[0]
    skipped = seen.skipped[0] if seen.skipped else "nothing is known of it"
    return finding("snapshot.failed", volume=f"of pool {pool.name}", error=skipped, fix="set volume= in its section")
