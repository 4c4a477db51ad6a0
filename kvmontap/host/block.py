"""What /sys says of a block pool: whether the mounted device is the pool's own, and which of its paths are up.

Reads only, opens no device, and so never hangs.  Opposed to that, a file system on a device without paths often still answers statfs from
memory: what is found here counts for itself.
"""

import os
from typing import Callable, List, Mapping, Optional, Set, Tuple

from kvmontap.host import address, san
from kvmontap.host.mountinfo import Mount
from kvmontap.model import ISCSI, Finding, Pool
from kvmontap.reasons import finding
from kvmontap.units.block import attach_unit, device_path
from kvmontap.units.escape import path_unit


# WWID -> {disk: state} of paths that somebody else knows to be down (kvmontap.host.multipathd.down).
Down = Callable[[str], Mapping[str, str]]


def nobody(_: str) -> Mapping[str, str]:
    """Where /sys alone counts."""
    return {}


def check(pool: Pool, mount: Mount, root: str = "/", down: Down = nobody) -> Tuple[Finding, ...]:
    """What is wrong with the device behind a mounted block pool."""
    number = device_number(pool, root)
    # The same device, in its own file system: a bind mount of a directory elsewhere has another root.
    if number and (mount.device != number or mount.root != "/"):
        shown = mount.what + ("" if mount.root == "/" else f" ({mount.root})")
        unit = path_unit(pool.target, "mount")
        return (finding("mount.wrong-source", target=pool.target, found=shown, wanted=device_path(pool), unit=unit),)
    return paths(pool, root, down)


def device_number(pool: Pool, root: str = "/") -> str:
    """major:minor of the pool's device, "" where it is not there."""
    if pool.wwid:
        part = f"part{pool.partition}-" if pool.partition else ""
        return san.mapped(f"{part}mpath-{pool.wwid}", root)
    if pool.namespace:
        device = san.namespace(pool.namespace, root)
        return "" if device is None else san.partition_number(device, pool.partition, root)
    try:
        number = os.stat(os.path.join(root, pool.device.lstrip("/"))).st_rdev
    except OSError:
        return ""
    return f"{os.major(number)}:{os.minor(number)}"


def paths(pool: Pool, root: str = "/", down: Down = nobody) -> Tuple[Finding, ...]:
    """The finding about paths that are down or missing; () too where the device is given as device=, whose paths are not known."""
    if not (pool.wwid or pool.namespace):
        return _sessions(pool, root)
    device = _device(pool, root, down)
    shown = {"device": pool.wwid or pool.namespace, "unit": attach_unit(pool)}
    up = [path for path in device.paths if path.up] if device else []
    if device is None or not up:
        states = ", ".join(f"{path.portal or path.name} {path.state}" for path in device.paths) if device else "the device is not there"
        return (finding("path.none", states=states or "no path at all", **shown),)
    missing = _missing(pool, {path.portal for path in up})
    missing += [f"{path.portal or path.name} {path.state}" for path in device.paths if not path.up and not pool.portals]
    unused = _unused_interfaces(pool, {path.name for path in up}, root)
    if not missing and not unused and not any(path.optimized for path in up):
        names = ", ".join(path.portal or path.name for path in up)
        return (finding("path.not-optimized", device=shown["device"], paths=names),)
    if not missing and not unused:
        return ()
    wanted = len(pool.portals) or len(device.paths)
    shown["missing"] = ", ".join(missing + unused)
    return (finding("path.missing", have=max(0, wanted - len(missing)), wanted=wanted, **shown),)


def _unused_interfaces(pool: Pool, disks: Set[str], root: str) -> List[str]:
    """The interfaces of an iSCSI pool without a path that is up; `disks` are the paths that are."""
    if not pool.interfaces:
        return []
    used = {session.interface for session in san.sessions(root) if disks.intersection(session.disks)}
    return [f"all through {name}" for name in pool.interfaces if san.INTERFACE + name not in used]


def _sessions(pool: Pool, root: str) -> Tuple[Finding, ...]:
    """The finding about a pool of all that its portals show, by the sessions to them."""
    if pool.protocol != ISCSI or pool.device or pool.type == "iscsi-direct":  # QEMU has its own sessions
        return ()
    wanted = pool.portals[:1] if pool.type == "iscsi" else pool.portals  # libvirt uses one
    sessions = [one for one in san.sessions(root) if not pool.iqn or one.target in pool.iqn]
    missing = _missing(pool._replace(portals=wanted), {one.portal for one in sessions if one.state == "LOGGED_IN"})
    if not missing:
        return ()
    shown = {"device": f"the target of pool {pool.name}", "unit": attach_unit(pool)}
    if len(missing) == len(wanted):
        states = ", ".join(f"{one.portal} {one.state.lower()}" for one in sessions) or "no session at all"
        return (finding("path.none", states=states, **shown),)
    return (finding("path.missing", have=len(wanted) - len(missing), wanted=len(wanted), missing=", ".join(missing), **shown),)


def _device(pool: Pool, root: str, down: Down) -> Optional[san.Device]:
    if pool.wwid:
        device = san.multipath(pool.wwid, root)
        known = down(pool.wwid) if device is not None else {}
        if device is None or not known:
            return device
        return device._replace(paths=tuple(
            path._replace(up=False, state=known[path.name]) if path.up and path.name in known else path for path in device.paths))
    return san.namespace(pool.namespace, root) if pool.namespace else None


def _missing(pool: Pool, up: Set[str]) -> list:
    """The portals without a path that is up.

    A name counts for as many paths as it is portals: which address it has is not asked here.  NVMe's portals may name the port of
    discovery, so there the address alone counts."""
    hosts = {san.split_endpoint(one, 0)[0] for one in up}
    named = [one for one in pool.portals if not address.is_address(san.split_endpoint(one, 0)[0])]
    missing = []
    for one in pool.portals:
        if one in named:
            continue
        host, port = san.split_endpoint(one, san.ISCSI_PORT)
        if (san.endpoint(host, port) not in up) if pool.protocol == ISCSI else (host not in hosts):
            missing.append(one)
    others = len(up) - (len(pool.portals) - len(named) - len(missing))
    return missing + named[max(0, others):]
