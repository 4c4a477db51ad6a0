"""The transports of trunked NFS pools, from /sys/kernel/sunrpc, which is READ ONLY here.

Never write there: taking a transport offline and removing it ended in a kernel NULL dereference when its path returned.
Sysfs does not tell which mount uses which switch (a switch is a client's set of transports to one server), so switches
are found by address: of those that hold an address of the pool, the one that holds most counts.  Where two mounts of the
same server differ (NFS 3 beside 4.1), the better one is seen; what is told is never worse than the truth.
"""

import os
import time
from typing import Dict, Mapping, NamedTuple, Optional, Tuple

from kvmontap.host import address, mountinfo
from kvmontap.model import Finding, Pool
from kvmontap.reasons import finding

SWITCHES = "sys/kernel/sunrpc/xprt-switches"
_SETTLE = 1.0  # seconds in which a transport that works gives back at least one of its requests
_STEP = 0.05
_OTHER_PORTS = ("111",)  # rpcbind; 0 is a server's own way back to its client


class Transport(NamedTuple):
    """One connection of a switch."""

    name: str  # "switch-0/xprt-1-tcp"
    address: str
    state: Tuple[str, ...]  # CONNECTED, BOUND, ...; () where it cannot be read
    queued: int  # requests that wait for an answer or for the connection
    last_used: int  # jiffies at which a request was last given back; 0 where the kernel does not tell


class Transports:
    """Looks at the transports below a root."""

    def __init__(self, root: str = "/") -> None:
        self._root = root

    def check(
        self, mount: mountinfo.Mount, addresses: Tuple[str, ...], deadline: float, stuck: Mapping[str, int]
    ) -> Tuple[Finding, ...]:
        """What is missing or stuck; `addresses` are those of the pool's servers, resolved; `stuck` is what waiting() told.

        Nothing is found where the kernel tells nothing.
        """
        wanted = tuple(dict.fromkeys(address.plain(one) for one in addresses))
        best = choose(read(self._root), wanted, address.plain(mount.option("addr")))
        queues = {**stuck, **_queues(self._unmoved(best, deadline))}
        return missing(best, wanted) + tuple(
            finding("transport.stuck", address=host, queued=queued) for host, queued in queues.items()
        )

    def waiting(self, mount: mountinfo.Mount, addresses: Tuple[str, ...]) -> Dict[str, int]:
        """Requests in the queues by address, for a caller who knows that one of them has been there for long."""
        wanted = tuple(address.plain(one) for one in addresses)
        return _queues(choose(read(self._root), wanted, address.plain(mount.option("addr"))))

    def _unmoved(self, transports: Tuple[Transport, ...], deadline: float) -> Tuple[Transport, ...]:
        """Those with requests in their queue that neither give one back nor empty it within a second."""
        until = min(time.monotonic() + _SETTLE, deadline - 2 * _STEP)
        left = tuple(first for first in transports if first.queued)
        while left and time.monotonic() < until:
            time.sleep(_STEP)
            left = tuple(first for first in left if not _moved(first, one(self._root, first.name)))
        return left


def _moved(first: Transport, now: Optional[Transport]) -> bool:
    return now is None or not now.queued or now.last_used != first.last_used


def _queues(transports: Tuple[Transport, ...]) -> Dict[str, int]:
    """Requests in the queues by address, where there are any."""
    found: Dict[str, int] = {}
    for held in transports:
        if held.queued:
            found[held.address] = found.get(held.address, 0) + held.queued
    return found


def read(root: str = "/") -> Dict[str, Tuple[Transport, ...]]:
    """Every switch with its transports; nothing where the kernel has no such directory."""
    top = os.path.join(root, SWITCHES)
    return {
        switch: tuple(
            found
            for found in (one(root, f"{switch}/{name}") for name in _names(os.path.join(top, switch), "xprt-"))
            if found is not None
        )
        for switch in _names(top, "switch-")
    }


def one(root: str, name: str) -> Optional[Transport]:
    """One transport by its name below xprt-switches, None where it is gone or does not lead to an NFS server."""
    where = os.path.join(root, SWITCHES, name)
    host = address.plain(_contents(where, "dstaddr"))
    if not host or host.startswith("<"):
        return None
    info = dict(line.partition("=")[::2] for line in _contents(where, "xprt_info").split("\n"))
    if info.get("dst_port") in _OTHER_PORTS or (name.endswith("-tcp") and info.get("dst_port") == "0"):
        return None
    state = _contents(where, "xprt_state").strip().partition("state=")[2]
    # tasks_queuelen counts the tasks that chose this transport, idle ones of the lease too: only waiting ones count.
    queued = sum(_number(info.get(field, "")) for field in ("pending_q_len", "sending_q_len", "backlog_q_len"))
    return Transport(name, host, tuple(state.split()), queued, _number(info.get("last_used", "")))


def choose(
    switches: Dict[str, Tuple[Transport, ...]], wanted: Tuple[str, ...], mounted: str
) -> Tuple[Transport, ...]:
    """The transports of the switch that serves the pool best, () where none does: the one that holds the address that the
    mount tells, if any does, and most of the wanted ones.  Pure."""

    def rank(transports: Tuple[Transport, ...]) -> Tuple[bool, int]:
        held = {transport.address for transport in transports}
        return mounted in held, len(held.intersection(wanted))

    best = max(switches.values(), key=rank, default=())
    return best if rank(best)[1] else ()


def missing(transports: Tuple[Transport, ...], wanted: Tuple[str, ...]) -> Tuple[Finding, ...]:
    """The finding about addresses without a transport.  Pure."""
    held = {transport.address for transport in transports}
    lost = tuple(host for host in wanted if host not in held)
    if not transports or not lost:
        return ()
    have = len(wanted) - len(lost)
    return (finding("transport.missing", missing=", ".join(lost), have=have, wanted=len(wanted)),)


def connections(pool: Pool, mount: mountinfo.Mount) -> Tuple[Finding, ...]:
    """The finding about a mount with fewer connections than nconnect= asks for.  Pure.

    The first mount of a server decides for all later ones; the mount's own options tell what it got."""
    have = _number(mount.option("nconnect")) or 1
    if have >= pool.nconnect:
        return ()
    return (finding("transport.few", address=mount.option("addr") or mount.what, have=have, wanted=pool.nconnect),)


def _names(directory: str, start: str) -> Tuple[str, ...]:
    try:
        names = os.listdir(directory)
    except OSError:
        return ()
    return tuple(sorted(name for name in names if name.startswith(start)))


def _contents(directory: str, name: str) -> str:
    """The text of a file; kernels end it with a NUL or refuse (ENOTCONN) while there is no connection."""
    try:
        with open(os.path.join(directory, name), "rb") as file:
            return file.read(4096).decode("ascii", "replace").strip("\0\n ")
    except OSError:
        return ""


def _number(text: str) -> int:
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 25 else 0
