"""Puts the pipeline together from the real parts: what kvmontapd and the hook without a daemon have in common."""

import os
from typing import Callable, Optional, Tuple

from kvmontap.array import Clients, VolumeLook, look
from kvmontap.domain import pooldefs
from kvmontap.gate.configured import Configured
from kvmontap.gate.fresh import Fresh
from kvmontap.gate.health import Doctor
from kvmontap.gate.images import Images, on_this_host, place
from kvmontap.gate.memory import Arrivals, FirstSeen, Refusals
from kvmontap.gate.pipeline import Pipeline, ignored
from kvmontap.gate.standing import Standings
from kvmontap.host.behind import Behind
from kvmontap.host.match import match
from kvmontap.host.probe import Prober
from kvmontap.model import Array, Domain, Pool
from kvmontap.snapshots import Reuse, Snapshotter
from kvmontap.snapshots.flush import Flush


def pipeline(
    current: Callable[[], Configured],
    run_dir: str,
    prober: Prober,
    taken: Callable = ignored,
    reuse: Optional[Reuse] = None,
    lasting: bool = False,
) -> Pipeline:
    """A pipeline over the real host and the real arrays.

    current() gives the configuration to judge by; run_dir is where arrivals are remembered (/run/kvmontap); whoever owns
    the prober closes it; taken: see Pipeline; reuse: what remembers snapshots that serve further starts; lasting: whether the
    process lives long enough to remember the arrays' answers for some seconds.
    """
    clients = Clients()
    arrivals = Arrivals(os.path.join(run_dir, "arrivals"))
    snapshotter = Snapshotter(reuse=reuse, flush=Flush())
    return Pipeline(current, doctor(prober, clients, lasting), clients, snapshotter, arrivals, taken, Refusals(run_dir))


def doctor(prober: Prober, clients: Clients, lasting: bool = False) -> Doctor:
    """Who asks the real host and the real arrays how a pool is; lasting: see pipeline()."""

    def ask(array: Array, pool: Pool, deadline: float) -> VolumeLook:
        return look(clients.get(array), pool, deadline)

    fresh = Fresh(ask) if lasting else None
    return Doctor(
        hits=hits,
        check=prober.check,
        look=fresh.look if fresh is not None else ask,
        fresh=fresh,
        standing=Standings(clients.get) if lasting else None,
        behind=Images(prober.commands).behind,
        place=place,
        on_this_host=on_this_host,
        first_seen=FirstSeen(),
    )


def hits(domain: Domain, found: Configured) -> Tuple:
    """The pools that a domain touches, without those that the domain itself hosts (ONTAP Select in a VM)."""
    pools = found.config.pools
    touched = match(domain, found.config, pooldefs.read(), found.broken, behind=Behind(found.config).pools)
    own = {name for name, pool in pools.items() if pool.hosted_on and pool.hosted_on == domain.name}
    return tuple(hit for hit in touched if hit.pool not in own)
