"""Whether the cluster beneath a shared file system lives: o2cb's heartbeat for OCFS2, withdrawal and lockspace for GFS2.

Read from configfs, debugfs and sysfs, which answer from the kernel's memory.  Where one of them is not mounted, or a kernel does not have
a file, nothing is found.  A node that is not mounted is no fault: what counts is whether this host still beats, and whether it can talk to
those that beat beside it.
"""

import os
from typing import List, Optional, Tuple

from kvmontap.model import Finding, Pool
from kvmontap.reasons import finding

CONFIG = "sys/kernel/config/cluster"
STACK = "sys/fs/ocfs2/cluster_stack"
BEATS = "sys/kernel/debug/o2hb"
NET = "sys/kernel/debug/o2net"
GFS2 = "sys/fs/gfs2"
LOCKSPACES = "sys/kernel/dlm"
_BEAT = 2.0  # seconds between two heartbeats


def check(pool: Pool, device: str, root: str = "/") -> Tuple[Finding, ...]:
    """What is wrong with the cluster of a mounted pool; `device`: major:minor of what its file system lies on."""
    if pool.filesystem == "ocfs2":
        return _ocfs2(pool, device, root)
    if pool.filesystem == "gfs2":
        return _gfs2(pool, device, root)
    return ()


def _ocfs2(pool: Pool, device: str, root: str) -> Tuple[Finding, ...]:
    if _text(os.path.join(root, STACK)) not in ("o2cb", ""):  # corosync's business
        return ()
    clusters = os.path.join(root, CONFIG)
    if not os.path.isdir(clusters):  # configfs is not to be seen
        return ()
    for name in _names(clusters):
        cluster = os.path.join(clusters, name)
        region = _region(cluster, device, root)
        if region is None:
            continue
        beat = os.path.join(root, BEATS, region)
        threshold = _number(os.path.join(cluster, "heartbeat", "dead_threshold"))
        elapsed = _number(os.path.join(beat, "elapsed_time_in_ms"))
        limit = (threshold - 1) * _BEAT if threshold else 0.0
        if limit and elapsed is not None and elapsed / 1000.0 > limit / 2:
            return (finding("heartbeat.late", cluster=name, target=pool.target, seconds=elapsed / 1000.0, limit=limit),)
        return _unconnected(name, cluster, beat, root)
    return (finding("heartbeat.none", cluster=pool.cluster, target=pool.target),)


def _region(cluster: str, device: str, root: str) -> Optional[str]:
    """The heartbeat region of a file system's device in a cluster; with global heartbeat any region serves all."""
    base = os.path.join(cluster, "heartbeat")
    regions = [name for name in _names(base) if os.path.isdir(os.path.join(base, name))]
    for name in regions:
        if _device_number(_text(os.path.join(base, name, "dev")), root) == device:
            return name
    return regions[0] if regions and _text(os.path.join(base, "mode")) == "global" else None


def _device_number(disk: str, root: str) -> str:
    """major:minor of "dm-0" or of a partition "sda1"; "" where there is none of that name."""
    number = _text(os.path.join(root, "sys/class/block", disk, "dev")) if disk else ""
    return number or _text(os.path.join(root, "sys/block", disk, "dev")) if disk else ""


def _unconnected(name: str, cluster: str, beat: str, root: str) -> Tuple[Finding, ...]:
    """Nodes that beat on the disk and that this host has no connection to: one of the two sides will reset itself."""
    nodes = os.path.join(cluster, "node")
    numbers = {_text(os.path.join(nodes, node, "num")): node for node in _names(nodes)}
    own = [number for number, node in numbers.items() if _text(os.path.join(nodes, node, "local")) == "1"]
    connected = os.path.join(root, NET, "connected_nodes")
    if not own or not os.path.exists(connected):
        return ()
    living = [number for number in _text(os.path.join(beat, "livenodes")).split() if number not in own]
    reached = _text(connected).split()
    lost = [numbers.get(number, f"number {number}") for number in living if number not in reached]
    return (finding("cluster.unconnected", nodes=", ".join(lost), cluster=name),) if lost else ()


def _gfs2(pool: Pool, device: str, root: str) -> Tuple[Finding, ...]:
    base = os.path.join(root, GFS2)
    for name in _names(base):
        if _text(os.path.join(base, name, "device", "dev")) != device:
            continue
        if _text(os.path.join(base, name, "withdraw")) == "1":
            return (finding("cluster.withdrawn", target=pool.target),)
        _, colon, lockspace = name.partition(":")
        spaces = os.path.join(root, LOCKSPACES)
        if colon and os.path.isdir(spaces) and lockspace not in _names(spaces):
            return (finding("cluster.no-lockspace", target=pool.target, lockspace=lockspace),)
    return ()


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(4096).strip("\0\n ")
    except OSError:
        return ""


def _number(path: str) -> Optional[int]:
    text = _text(path)
    return int(text) if text.isdigit() else None
