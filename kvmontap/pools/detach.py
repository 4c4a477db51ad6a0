"""Pools that are gone from the configuration and still attached: taken down in order, unless a VM runs on them.

A daemon-reload alone detaches nothing.  `kvmontap pool apply` does: libvirt's pool, the mount, the device, and the cluster after the last
of its file systems.  What each was is known from the record of what was applied.
"""

import subprocess
from typing import Callable, Dict, Iterable, List, Mapping, Tuple

from kvmontap import applied
from kvmontap.domain import DomainError, parse, pooldefs
from kvmontap.host import holders, mountinfo
from kvmontap.host.behind import Behind
from kvmontap.host.match import match
from kvmontap.model import FILE_PROTOCOLS, Config, Loaded, Pool
from kvmontap.pools import xml
from kvmontap.pools.apply import Change
from kvmontap.pools.libvirtd import Libvirt, PoolError
from kvmontap.units import block
from kvmontap.units.bundle import attached
from kvmontap.units.escape import instance, path_unit

SYSTEMCTL = "/usr/bin/systemctl"
SECONDS = 300.0  # for one unit to stop; its own TimeoutStopSec ends it before
AGAIN = "then run: kvmontap pool apply"

# Stops one unit: the reason why it still runs, "" when it is down.
Stop = Callable[[str], str]


def detach(loaded: Loaded, connection: Libvirt, stop: Stop = lambda unit: stopped(unit)) -> Tuple[Change, ...]:
    """Take down every pool that was applied and is no longer configured; what stays, and why, is told."""
    gone = applied.removed(loaded, applied.read())
    if not gone:
        return ()
    users = running_on(gone, connection)
    changes: List[Change] = []
    down: List[str] = []
    for name, pool in gone.items():
        used = _vms(users[name]) if users.get(name) else _held(pool)
        if used:
            changes.append(Change(name, "error", f"is no longer in {loaded.config.path}, but stays, since {used}", f"end that, {AGAIN}"))
            continue
        steps = _libvirts(pool, connection) + _units(pool, stop)
        changes += steps
        if not any(change.wrong for change in steps):
            down.append(name)
    left = [pool for name, pool in {**gone, **loaded.config.pools}.items() if name not in down]
    changes += _clusters([gone[name] for name in down], left, stop)
    applied.forget(down)
    return tuple(changes)


def running_on(pools: Mapping[str, Pool], connection: Libvirt) -> Dict[str, List[str]]:
    """Pool -> names of the VMs that run on it."""
    config = Config({}, dict(pools), {})
    behind, known = Behind(config).pools, pooldefs.read()
    found: Dict[str, List[str]] = {}
    for name, text in connection.running().items():
        try:
            hits = match(parse(text.encode("utf-8", "surrogateescape")), config, known, behind=behind)
        except DomainError as error:
            raise PoolError(f"what VM {name} runs on cannot be told: {error}") from None
        for hit in hits:
            found.setdefault(hit.pool, []).append(name)
    return found


def _vms(names: List[str]) -> str:
    return f"VM {names[0]} runs on it" if len(names) == 1 else f"VMs {', '.join(names)} run on it"


def _held(pool: Pool) -> str:
    """Which processes have something open on its mount, "" for none."""
    if not attached(pool) or mountinfo.at(mountinfo.read(), pool.target) is None:
        return ""
    found = holders.below(pool.target)
    return f"{pool.target} is in use by {', '.join(f'{one.name} (process {one.pid})' for one in found[:5])}" if found else ""


def _libvirts(pool: Pool, connection: Libvirt) -> List[Change]:
    """Stop and forget libvirt's pool, if it is the one that we defined."""
    state = connection.pools().get(pool.name)
    if state is None:
        return []
    try:
        other = xml.differences(xml.shape(pool), xml.read(state.xml))
    except ValueError as error:
        other = (str(error),)
    if other:
        return [Change(pool.name, "flag-differs", f"libvirt's pool is another, and is left as it is: {'; '.join(other)}")]
    try:
        if state.active:
            connection.stop(pool.name)
        if state.persistent:
            connection.undefine(pool.name)
    except PoolError as error:
        return [Change(pool.name, "error", str(error), f"see to it, {AGAIN}")]
    return [Change(pool.name, "stop", "is gone from libvirt")]


def _units(pool: Pool, stop: Stop) -> List[Change]:
    """Unmount it, then take its device down; what fails ends it."""
    done: List[Change] = []
    if attached(pool):
        suffixes = ("automount", "mount") if pool.boot.mount == "automount" else ("mount",)
        for suffix in suffixes:
            why = stop(path_unit(pool.target, suffix))
            if why:
                return [Change(pool.name, "error", f"{pool.target} stays mounted: {why}", f"see to it, {AGAIN}")]
        done.append(Change(pool.name, "stop", f"{pool.target} is unmounted"))
    if pool.protocol not in FILE_PROTOCOLS and pool.type not in block.LIBVIRT_TYPES:
        unit = block.attach_unit(pool)
        why = stop(unit)
        if why:
            return done + [Change(pool.name, "error", f"its device stays: {why}", f"see to it, {AGAIN}")]
        done.append(Change(pool.name, "stop", "its device is detached"))
    return done


def _clusters(down: Iterable[Pool], left: Iterable[Pool], stop: Stop) -> List[Change]:
    """Clusters that no pool uses any more go offline."""
    done = []
    for name in dict.fromkeys(pool.cluster for pool in down if pool.filesystem == "ocfs2"):
        if any(pool.cluster == name for pool in left):
            continue
        why = stop(instance(block.CLUSTER, name))
        last = next(pool.name for pool in down if pool.cluster == name)
        done.append(Change(last, "error", f"cluster {name} stays online: {why}", f"see to it, {AGAIN}") if why else
                    Change(last, "stop", f"cluster {name}, which no pool uses any more, is offline"))
    return done


def stopped(unit: str) -> str:
    """Stop a unit; "" once it is down, otherwise why it is not."""
    try:
        subprocess.run([SYSTEMCTL, "stop", unit], capture_output=True, timeout=SECONDS, check=False)
        shown = subprocess.run([SYSTEMCTL, "show", "-p", "ActiveState", "-p", "Result", unit], capture_output=True, text=True, timeout=30,
                               check=False).stdout.split()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"systemctl stop {unit}: {error}"
    facts = dict(line.partition("=")[::2] for line in shown)
    if facts.get("ActiveState") == "inactive":
        return ""
    return f"{unit} did not stop ({facts.get('Result') or 'no answer'}); look at: journalctl -u '{unit}'"
