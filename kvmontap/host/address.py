"""Hosts as mount sources, mount options, /sys and people write them, brought to one form.  Pure.

Imports `socket` for the shape of addresses only; nothing is looked up.
"""

import socket
from typing import Tuple

from kvmontap.model import NFS


def plain(host: str) -> str:
    """One spelling per host: names in lower case without the last dot, addresses without brackets, IPv6 shortened.

    >>> plain("[FD00:0::1]"), plain("Filer1.example.com.")
    ('fd00::1', 'filer1.example.com')
    """
    host = host.strip("\0 \t\r\n").lower()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    bare, percent, zone = host.partition("%")
    if ":" in bare:
        try:
            packed = socket.inet_pton(socket.AF_INET6, bare)
        except (OSError, ValueError):
            return host
        if packed.startswith(b"\0" * 10 + b"\xff\xff"):  # an IPv4 address in IPv6's clothes
            return socket.inet_ntop(socket.AF_INET, packed[12:])
        return socket.inet_ntop(socket.AF_INET6, packed) + percent + zone
    return host[:-1] if host.endswith(".") else host


def is_address(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address and not a name."""
    bare = plain(host).partition("%")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, bare)
        except (OSError, ValueError):
            continue
        return True
    return False


def bracketed(host: str) -> str:
    """The host as it stands in front of a colon: IPv6 addresses in brackets."""
    return f"[{plain(host)}]" if ":" in plain(host) else host


def split(what: str, protocol: str) -> Tuple[str, str]:
    """Host and path of a mount source: "host:/export" and "[fd00::1]:/export", "//host/share/path"; "" where absent."""
    if protocol != NFS:
        host, _, path = what.replace("\\", "/").lstrip("/").partition("/")
        return host, path
    if what.startswith("["):
        host, _, path = what[1:].partition("]:")
        return host, path
    # An IPv6 address may stand there without brackets; the path always starts with a slash.
    place = what.find(":/")
    return (what[:place], what[place + 1 :]) if place >= 0 else ("", what)
