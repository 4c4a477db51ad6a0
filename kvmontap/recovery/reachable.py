"""Whether anything answers where a pool's storage is: asked before a unit is started again, which would wait for it and fail loudly."""

import time
from typing import Tuple

from kvmontap.answering import ONE_TRY, PORTS, handshake
from kvmontap.gate.parallel import gather
from kvmontap.host.san import split_endpoint
from kvmontap.model import NFS, Pool


def places(pool: Pool) -> Tuple[Tuple[str, int], ...]:
    """(host, port) of each address that tells by a TCP handshake whether it is there; () where none does.  Pure."""
    if pool.protocol == NFS and pool.transport == "rdma":
        return ()
    ports = PORTS.get(pool.protocol, ())
    return tuple(dict.fromkeys(split_endpoint(one, port) for one in (pool.server or pool.portals) for port in ports))


def answers(pool: Pool) -> bool:
    """Whether one of them answers within some seconds; true where that cannot be found out."""
    asked = places(pool)
    if not asked:
        return True
    until = time.monotonic() + ONE_TRY
    said = gather({place: lambda place=place: handshake(*place, ONE_TRY) for place in asked}, until + 0.5)
    return any(answer.error is None for answer in said.values())
