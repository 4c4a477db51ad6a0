"""`kvmontap snapshot list`: when, why, which VMs it can bring back, size, lock, label, replicated or not."""

import argparse
import sys
import time
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from kvmontap.applied import read as applied
from kvmontap.array import ArrayError, Clients
from kvmontap.array.mirror import Mirror, arrived, mirrors
from kvmontap.array.protection import span
from kvmontap.cli import held
from kvmontap.cli.held import Row
from kvmontap.config import load
from kvmontap.domain import DomainError, parse
from kvmontap.gate.assemble import hits
from kvmontap.gate.configured import configured
from kvmontap.host.probe import size_text
from kvmontap.model import Config
from kvmontap.pools.libvirtd import Libvirt, PoolError
from kvmontap.snapshots import naming, retention
from kvmontap.snapshots.prune import clock
from kvmontap.snapshots.volumes import Target

_NAMED = 4  # VMs in one cell of the table


class _Vm(NamedTuple):
    """One VM of this host."""

    name: str
    uuid: str
    pools: FrozenSet[str]


class _Copy(NamedTuple):
    """Where SnapMirror takes a volume, and which snapshots are there."""

    mirror: Mirror
    names: Optional[FrozenSet[str]]  # None where nobody can tell


class _Around(NamedTuple):
    """What is known beside the snapshots themselves."""

    vms: Optional[Tuple[_Vm, ...]]  # None where libvirt does not tell
    copies: Mapping[Tuple[str, str], Tuple[_Copy, ...]]  # by array and volume
    unasked: Tuple[str, ...]  # why an array did not tell what is replicated
    parts: Mapping[str, int]  # on how many volumes a snapshot is, by name; {} where not every volume could be read

    def on(self, target: Target) -> Optional[List[str]]:
        """The VMs with something on the volume."""
        pools = {pool.name for pool in target.pools}
        return None if self.vms is None else sorted(vm.name for vm in self.vms if vm.pools & pools)

    def of(self, target: Target) -> Tuple[_Copy, ...]:
        return self.copies.get(_key(target), ())


def run(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    """1 where a volume could not be read, or nothing is of one of the names that were asked for."""
    deadline = time.monotonic() + held.SECONDS
    rows, whole = held.rows(held.found(config, (), clients, deadline), deadline, arguments.all)
    vms, trouble = _machines(arguments.connect, arguments.config)
    parts: Dict[str, int] = {}
    for row in rows if whole else ():
        parts[row.snapshot.name] = parts.get(row.snapshot.name, 0) + 1
    if arguments.what:
        rows = [row for row in rows if any(_is(row, what, vms or ()) for what in arguments.what)]
        for what in arguments.what:
            if whole and not any(_is(row, what, vms or ()) for row in rows):
                unasked = f" ({trouble})" if trouble else ""
                print(f"kvmontap: no snapshot of a VM or pool {what}, nor one of that name{unasked}", file=sys.stderr)
                whole = False
    copies, unasked = _copies({_key(row.target): row.target for row in rows}, config, clients, deadline)
    around = _Around(vms, copies, unasked, parts)
    if arguments.json:
        held.dump([_plain(row, around) for row in rows])
    elif rows:
        _table(rows, around)
    elif whole:
        print("no snapshots")
    return int(not whole)


def _key(target: Target) -> Tuple[str, str]:
    return target.client.array.name, target.ref.uuid


def _machines(uri: str, conf: str) -> Tuple[Optional[Tuple[_Vm, ...]], str]:
    """The VMs of this host with the pools that their XML touches; None, and why, where libvirt does not tell."""
    loaded = load(conf)
    found = configured(loaded, applied() if loaded.broken else {}, {})
    vms = []
    try:
        with Libvirt(uri) as libvirt:
            machines = libvirt.machines()
    except PoolError as error:
        return None, str(error)
    for machine in machines.values():
        try:
            domain = parse(machine.xml.encode())
        except DomainError:
            continue
        vms.append(_Vm(machine.name, machine.uuid, frozenset(hit.pool for hit in hits(domain, found))))
    return tuple(vms), ""


def _is(row: Row, what: str, vms: Sequence[_Vm]) -> bool:
    """Whether `what` names the row's snapshot, pool, or a VM that it was taken for or that lies on its volume."""
    pools = {pool.name for pool in row.target.pools}
    if what in (row.snapshot.name, row.snapshot.uuid) or what in pools:
        return True
    if any(what in (vm.name, vm.uuid) and vm.pools & pools for vm in vms):
        return True
    if row.told is None:
        return False
    return what in (row.told.vm, row.told.uuid) or (naming.is_cut(row.told.vm) and what.startswith(row.told.vm[:-1]))


def _copies(
    wanted: Mapping[Tuple[str, str], Target], config: Config, clients: Clients, deadline: float
) -> Tuple[Mapping[Tuple[str, str], Tuple[_Copy, ...]], Tuple[str, ...]]:
    """Where SnapMirror takes each volume, and why an array did not tell."""
    every = [clients.get(array) for array in config.arrays.values()]
    found: Dict[Tuple[str, str], Tuple[_Copy, ...]] = {}
    unasked: Dict[str, None] = {}
    for key, target in wanted.items():
        seen = mirrors(every, target.ref, deadline)
        unasked.update(dict.fromkeys(seen.unasked))
        copies = []
        for mirror in seen.known:
            try:
                copies.append(_Copy(mirror, arrived(mirror, deadline)))
            except ArrayError as error:
                copies.append(_Copy(mirror, None))
                unasked[error.finding.text] = None
        found[key] = tuple(copies)
    return found, tuple(unasked)


def _replicated(row: Row, around: _Around) -> Optional[bool]:
    """Whether a destination holds the snapshot; None where no relationship is known, or nobody can tell."""
    known = [row.snapshot.name in copy.names for copy in around.of(row.target) if copy.names is not None]
    return any(known) if known else None


def _complete(row: Row, around: _Around) -> Optional[bool]:
    """Whether every volume that the VM needs has a snapshot of this name; None where nobody can tell."""
    if row.told is None or not around.parts:
        return None
    return around.parts[row.snapshot.name] >= row.told.volumes


def _plain(row: Row, around: _Around) -> Dict[str, Any]:
    one, told = row.snapshot, row.told
    until = retention.locked_until(one)
    return {
        "snapshot": one.name,
        "uuid": one.uuid,
        "pools": [pool.name for pool in row.target.pools],
        "array": row.target.client.array.name,
        "svm": row.target.ref.svm,
        "volume": row.target.ref.name,
        "created": one.created,
        "reason": told.reason if told else None,
        "vm": (told.vm or None) if told else None,
        "vm_uuid": (told.uuid or None) if told else None,
        "host": told.host if told else None,
        "more_vms": told.more if told else None,
        "vms": around.on(row.target),
        "volumes": told.volumes if told else None,
        "complete": _complete(row, around),
        "group": (told.group or None) if told else None,
        "size": one.size,
        "label": one.label or None,
        "locked_until": None if until == float("inf") else until,
        "locked": until is not None,
        "owners": list(one.owners),
        "state": one.state or None,
        "replicated": _replicated(row, around),
        "mirrors": [
            {"destination": one.destination, "state": one.state or None, "healthy": one.healthy, "lag": one.lag}
            for one in (copy.mirror for copy in around.of(row.target))
        ],
        "ours": told is not None,
    }


def _table(rows: Sequence[Row], around: _Around) -> None:
    from kvmontap.cli.table import show  # late: --json needs no tables

    cells = []
    for row in rows:
        one, told = row.snapshot, row.told
        vm = (told.vm + (f" (+{told.more})" if told.more else "")) if told else ""
        vms = around.on(row.target) or []
        beside = ", ".join(vms[:_NAMED]) + (f" and {len(vms) - _NAMED} more" if len(vms) > _NAMED else "")
        size = size_text(one.size) if one.size is not None else ""
        pools = ", ".join(pool.name for pool in row.target.pools)
        when = clock(one.created) if one.created is not None else ""
        cells.append((one.name, pools, when, told.reason if told else "", vm, beside, size, "; ".join(_remarks(row, around))))
    show(("SNAPSHOT", "POOL", "WHEN", "WHY", "VM", "BRINGS BACK", "SIZE", "REMARK"), cells)
    for target in {_key(row.target): row.target for row in rows}.values():
        for copy in around.of(target):
            print(f"SnapMirror {target.ref.name} -> {copy.mirror.destination}: {_standing(copy.mirror)}")
    for sentence in around.unasked:
        print(f"kvmontap: what is replicated is not known: {sentence}", file=sys.stderr)


def _remarks(row: Row, around: _Around) -> List[str]:
    one = row.snapshot
    remarks = [f"label {one.label}"] if one.label else []
    until = retention.locked_until(one)
    remarks += [f"locked until {clock(until)}"] if until is not None else []
    remarks += [f"needed by {', '.join(one.owners)}"] if one.owners else []
    remarks += [f"state {one.state}"] if one.state not in ("", "valid") else []
    replicated = _replicated(row, around)
    remarks += [] if replicated is None else ["replicated" if replicated else "not replicated"]
    if _complete(row, around) is False and row.told is not None:
        remarks.append(f"only a part: on {around.parts[one.name]} of {row.told.volumes} volumes")
    return remarks


def _standing(mirror: Mirror) -> str:
    said = [mirror.state.replace("_", " ") or "state not told"]
    said += [] if mirror.healthy is None else ["healthy" if mirror.healthy else "not healthy"]
    said += [f"lag {span(mirror.lag)}"] if mirror.lag is not None else []
    said += ["transferring"] if mirror.busy else []
    return ", ".join(said)
