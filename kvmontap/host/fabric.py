"""The FC ports of this host that lead to a pool's array, as /sys/class/fc_host and fc_remote_ports tell them.

A port that has never seen a target, such as an uncabled one of a four-port adapter, is no fault.  The kernel remembers the targets that
a port has lost.
"""

import os
from typing import List, Tuple

from kvmontap.host.identity import colons
from kvmontap.model import Finding
from kvmontap.reasons import finding

HOSTS = "sys/class/fc_host"
REMOTES = "sys/class/fc_remote_ports"


def ports(root: str = "/") -> Tuple[Finding, ...]:
    """The findings about ports that are down, and about targets that a port has lost."""
    found: List[Finding] = []
    base = os.path.join(root, HOSTS)
    for host in _names(base):
        targets = _targets(host, root)
        if not targets:
            continue
        state, wwpn = _text(base, host, "port_state"), colons(_text(base, host, "port_name"))
        if state != "Online":
            found.append(finding("port.down", port=wwpn, host=host, state=state.lower() or "gone"))
            continue
        lost = [name for name, how in targets if how != "Online"]
        if lost:
            found.append(finding("port.target-lost", port=wwpn, host=host, targets=", ".join(lost)))
    return tuple(found)


def _targets(host: str, root: str) -> List[Tuple[str, str]]:
    """(WWPN, state) of the SCSI and NVMe targets that a port has seen: rport-HOST:CHANNEL-NUMBER."""
    base = os.path.join(root, REMOTES)
    mine = [name for name in _names(base) if name.startswith(f"rport-{host[len('host'):]}:")]
    return [(colons(_text(base, name, "port_name")), _text(base, name, "port_state")) for name in mine
            if "Target" in _text(base, name, "roles") or "NVMe Discovery" in _text(base, name, "roles")]


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _text(*parts: str) -> str:
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as stream:
            return stream.read(4096).strip()
    except OSError:
        return ""
