"""The channels of an SMB session, from /proc/fs/cifs/DebugData, which the kernel writes from memory: reading it asks no server.

A text for people whose layout has changed over the years; what is used of it has stayed: "Hostname:" and "TCP status:" of a connection,
"Address:" of a session, its "Channel:"s each with a "TCP status:" and the words DISCONNECTED and RECONNECTING, and the names of its shares.
"""

import os
import re
from typing import List, NamedTuple, Tuple

from kvmontap.host.address import plain
from kvmontap.model import Finding, Pool
from kvmontap.reasons import finding

PATH = "proc/fs/cifs/DebugData"
_GOOD = "1"  # CifsGood
_SERVER = re.compile(r"\d+\) (?:ConnectionId: \S+|Name: \S+)")
_HOSTNAME = re.compile(r"Hostname: (\S+)")
_ADDRESS = re.compile(r"\d+\) (?:Address|Name): (\S+) (?:Domain: .*?)?Uses: \d+")
_CHANNEL = re.compile(r"Channel: \d+")
_STATUS = re.compile(r"TCP status: (\d+)")
_SHARE = re.compile(r"\d+\) (\\\\.+?) Mounts: \d+")


class Session(NamedTuple):
    """One SMB session and the channels that carry it."""

    hostname: str
    address: str
    up: int  # channels that work
    channels: int
    shares: Tuple[str, ...]  # "\\\\server\\share" as it was mounted


class _Reading:
    """One session while its lines come in."""

    def __init__(self, hostname: str, address: str, status: str) -> None:
        self.hostname = hostname
        self.address = address
        self.states: List[bool] = [status == _GOOD]  # the first is the connection's own
        self.shares: List[str] = []
        self.listing = False  # what follows is about its shares, which have a DISCONNECTED of their own

    def made(self) -> Session:
        return Session(self.hostname, self.address, sum(self.states), len(self.states), tuple(self.shares))


def sessions(text: str) -> Tuple[Session, ...]:
    """Every session in the text.  Pure."""
    found: List[_Reading] = []
    hostname, status, inside = "", "", False
    for line in text.split("\n"):
        address = _ADDRESS.search(line)
        if _SERVER.search(line) and not (address and inside):
            hostname, status, inside = "", "", False
        name = _HOSTNAME.search(line)
        if name and not inside:
            hostname = name.group(1)
        if line.strip().startswith("Sessions:"):
            inside = True
        if address and inside:
            found.append(_Reading(hostname, address.group(1), status))
            continue
        tcp = _STATUS.search(line)
        if tcp and not inside:
            status = tcp.group(1)
        elif found and inside:
            _within(found[-1], line, tcp.group(1) if tcp else "")
    return tuple(one.made() for one in found)


def _within(session: _Reading, line: str, status: str) -> None:
    """A line of a session's own."""
    session.listing = session.listing or line.strip().startswith("Shares:")
    share = _SHARE.search(line)
    if share:
        session.shares.append(share.group(1))
    if session.listing:
        return
    if _CHANNEL.search(line) and "Primary" not in line:
        session.states.append(True)
    if status:
        session.states[-1] = status == _GOOD
    if "DISCONNECTED" in line or "[RECONNECTING]" in line:
        session.states[0 if "Primary" in line else -1] = False


def read(root: str = "/") -> Tuple[Session, ...]:
    """The sessions of this host; () where the kernel tells none."""
    try:
        with open(os.path.join(root, PATH), encoding="utf-8", errors="replace") as stream:
            return sessions(stream.read(4 << 20))
    except OSError:
        return ()


def channels(pool: Pool, root: str = "/") -> Tuple[Finding, ...]:
    """The finding about channels without connection, or about a single one where several are asked for.

    max-channels is no more than a bound: the kernel opens one channel to an interface of the server that does not do RSS.  () for a
    pool without multichannel, and where the kernel tells nothing of its share."""
    if pool.max_channels < 2:
        return ()
    ours = [one for one in read(root) if any(_is_ours(share, pool) for share in one.shares)]
    best = max(ours, key=lambda one: one.up, default=None)
    if best is None or 1 < best.channels == best.up:
        return ()
    wanted = best.channels if best.channels > 1 else pool.max_channels
    return (finding("channel.missing", server=best.hostname or best.address, have=best.up, wanted=wanted),)


def _is_ours(share: str, pool: Pool) -> bool:
    host, _, name = share.strip("\\").partition("\\")
    wanted = pool.share.strip("/\\").replace("/", "\\").partition("\\")[0]
    return plain(host) in {plain(one) for one in pool.server} and name.partition("\\")[0].lower() == wanted.lower()
