"""Host names to addresses within a deadline.

getaddrinfo(3) cannot be given a time limit and waits as long as resolv.conf says, so it runs in a thread of its own: at
most one for a name at a time, which every caller who asks meanwhile shares.  Standard library only.
"""

import socket
import threading
import time
from ipaddress import ip_address
from typing import Dict, List, Optional, Tuple

# What socket.connect() needs: address family and sockaddr.
Address = Tuple[int, tuple]


class _Lookup(threading.Thread):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(name=f"kvmontap-resolve-{host}", daemon=True)
        self.host = host
        self.port = port
        self.done = threading.Event()
        self.found: List[Address] = []
        self.error: Optional[OSError] = None

    def run(self) -> None:
        try:
            answers = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            self.found = [(family, sockaddr) for family, _, _, _, sockaddr in answers]
        except OSError as error:
            self.error = error
        except UnicodeError:  # an IDNA label that is empty or too long
            self.error = socket.gaierror(socket.EAI_NONAME, "not a valid host name")
        finally:
            with _lock:
                _under_way.pop((self.host, self.port), None)
            self.done.set()


_lock = threading.Lock()
_under_way: Dict[Tuple[str, int], _Lookup] = {}


def is_literal(host: str) -> bool:
    """Whether `host` is an address already, IPv6 with or without brackets."""
    try:
        ip_address(host.strip("[]").split("%", 1)[0])
    except ValueError:
        return False
    return True


def resolve(host: str, port: int, deadline: float) -> List[Address]:
    """The addresses of `host` in the resolver's order.

    `deadline` is a time.monotonic() value.  Raises socket.gaierror where the name has none, socket.timeout at the deadline.
    """
    if is_literal(host):
        return [
            (family, sockaddr)
            for family, _, _, _, sockaddr in socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        ]
    with _lock:
        lookup = _under_way.get((host, port))
        if lookup is None:
            lookup = _under_way[(host, port)] = _Lookup(host, port)
            lookup.start()
    if not lookup.done.wait(max(0.0, deadline - time.monotonic())):
        raise socket.timeout(f"the name {host} was not resolved in time")
    if lookup.error is not None:
        raise lookup.error
    return list(lookup.found)
