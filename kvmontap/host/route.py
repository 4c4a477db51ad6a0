"""By which of its own addresses this host reaches a server, as its routing has it; nothing is sent."""

import socket
from typing import Dict, Sequence, Tuple


def own_addresses(servers: Sequence[str]) -> Tuple[str, ...]:
    """The addresses by which this host reaches each of `servers`; a name that has no address here counts for nothing."""
    found: Dict[str, None] = {}
    for server in servers:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(server, 2049, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind, proto) as probe:
                probe.connect(address)
                found[probe.getsockname()[0]] = None
        except (OSError, UnicodeError):
            continue
    return tuple(found)
