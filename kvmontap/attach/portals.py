"""Which portals of a pool answer: a TCP handshake with each, side by side, before any program waits minutes for a dead one."""

import time
from typing import Dict, List, NamedTuple, Sequence, Tuple

from kvmontap.answering import Asking
from kvmontap.attach.call import AttachError
from kvmontap.host.san import endpoint, split_endpoint

GRACE = 4.0  # seconds for the others, once one has answered: one handshake with its repetition


class Portal(NamedTuple):
    """A portal that answers."""

    name: str  # as it is configured
    address: str  # numeric
    port: int

    @property
    def endpoint(self) -> str:
        return endpoint(self.address, self.port)


class _Portals(Asking):
    def __init__(self, places: Dict[str, Tuple[str, int]]) -> None:
        self._places = places
        super().__init__(places, 0)

    def place(self, host: str) -> Tuple[str, int]:
        return self._places[host]


class _Through(Asking):
    def __init__(self, ways: Dict[str, Tuple[Portal, str]]) -> None:
        self._ways = ways
        super().__init__(ways, 0)

    def place(self, host: str) -> Tuple[str, int]:
        return self._ways[host][0].address, self._ways[host][0].port

    def device(self, host: str) -> str:
        return self._ways[host][1]


def unreachable(ways: Dict[str, Tuple[Portal, str]], deadline: float) -> Dict[str, str]:
    """{key: why} of the portals that do not answer through the network interface named beside each."""
    until = min(deadline, time.monotonic() + GRACE)
    with _Through(ways) as asking:
        there = asking.answers(until, GRACE, every=True)
        return {key: asking.error(key) for key in ways if key not in there}


def answering(names: Sequence[str], ports: Tuple[int, ...], deadline: float) -> Tuple[List[Portal], Dict[str, str]]:
    """The portals of `names` that answer, in their order, and why the others do not; AttachError where none does by `deadline`.

    `ports` are tried where a name has none: the first that answers is taken.
    """
    places: Dict[str, Tuple[str, int]] = {}
    for name in names:
        for port in ports:
            host, wanted = split_endpoint(name, port)
            places.setdefault(endpoint(host, wanted), (host, wanted))
    with _Portals(places) as asking:
        asking.answers(deadline, 0.0)
        until = min(deadline, time.monotonic() + GRACE)
        found: Dict[str, Portal] = {}
        while True:
            there = asking.answers(until, 0.0, every=True)
            for name in names:
                if name not in found:
                    key = _first(name, ports, there, asking, time.monotonic() >= until)
                    if key:
                        found[name] = Portal(name, asking.address(key), places[key][1])
            if len(found) == len(names) or time.monotonic() >= until:
                break
            time.sleep(0.05)
        silent = {name: asking.error(endpoint(*split_endpoint(name, ports[0]))) for name in names if name not in found}
    if not found:
        every = "; ".join(f"{name}: {why}" for name, why in silent.items())
        raise AttachError(f"no portal answers on TCP port {' or '.join(map(str, ports))} ({every}); check the network and the SVM's LIFs")
    return [found[name] for name in names if name in found], silent


def _first(name: str, ports: Tuple[int, ...], there: Tuple[str, ...], asking: Asking, late: bool) -> str:
    """The first of the ports that answers; a later one only once those before it have refused, or there is no more time."""
    for port in ports:
        key = endpoint(*split_endpoint(name, port))
        if key in there:
            return key
        if not late and not asking.failed(key):
            return ""
    return ""
