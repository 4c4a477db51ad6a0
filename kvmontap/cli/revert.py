"""`kvmontap snapshot revert POOL --to SNAPSHOT`: the whole volume of a pool back to a snapshot.

Everything on the volume goes back, the pools of ours that lie on it together.  They are unmounted first and mounted again after it; what
was stopped for that is written down, so that kvmontap tidy starts it where this was killed.
"""

import argparse
import random
import sys
import time
from typing import Any, Dict, List, Sequence

from kvmontap.array import ArrayError, Clients
from kvmontap.array.revert import FIXES, revert
from kvmontap.array.stored import Stored, stored
from kvmontap.cli import restore, tidy
from kvmontap.cli import vm as vms
from kvmontap.cli.bringing import say
from kvmontap.domain import DomainError, parse
from kvmontap.model import Config
from kvmontap.pools.libvirtd import Libvirt
from kvmontap.snapshots import mounting
from kvmontap.snapshots.elsewhere import users
from kvmontap.snapshots.prune import clock, words
from kvmontap.snapshots.restoring import RestoreError
from kvmontap.snapshots.volumes import Target, targets
from kvmontap.snapshots.work import Work

SECONDS = 3600.0


def run(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    """1 where it was refused or failed."""
    try:
        with restore.told(f"pool {arguments.pool} is not reverted"):
            tidy.quietly(config, clients, arguments.connect)
            _revert(arguments, config, clients)
    except restore.Refused:
        return 1
    return 0


def _revert(arguments: argparse.Namespace, config: Config, clients: Clients) -> None:
    deadline = time.monotonic() + SECONDS
    target = _volume(arguments.pool, config, clients, deadline)
    held = stored(target.client, target.ref, deadline)
    wanted = [one for one in held if one.name == arguments.snapshot]
    if not wanted:
        raise RestoreError(f"volume {target.ref.name} holds no snapshot {arguments.snapshot}; see: kvmontap snapshot list")
    newer = held[held.index(wanted[0]) + 1:]
    with Libvirt(arguments.connect) as libvirt:
        _unused(target, libvirt, arguments.config)
        if not arguments.yes:
            _ask(target, wanted[0], newer)
        with Work(f"{mounting.KIND}-{random.getrandbits(32):08x}") as work:
            active = [name for name, state in libvirt.pools().items() if state.active and name in {pool.name for pool in target.pools}]
            value = mounting.stopping(work, target.pools, active)
            try:
                for name in active:
                    libvirt.stop(name)
                mounting.stop(value)
                elsewhere = users(target.client, target.pools, target.ref, deadline)
                for line in elsewhere.unknown:
                    say(line)
                if elsewhere.found:
                    raise RestoreError(f"other hosts use volume {target.ref.name}: {'; '.join(elsewhere.found)}; unmount it there first")
                _unused(target, libvirt, arguments.config)
                _send(target, arguments.snapshot, deadline)
            finally:
                _again(work, libvirt)
    print(f"volume {target.ref.name} is as of {clock(wanted[0].created)}; {len(newer)} newer snapshots are gone")


def _volume(name: str, config: Config, clients: Clients, deadline: float) -> Target:
    """The pool's volume, with every pool of the file that lies on it; raises RestoreError."""
    if name not in config.pools:
        raise RestoreError(f"{config.path} has no pool {name}; there are: {', '.join(config.pools) or 'none'}")
    same = [pool for pool in config.pools.values() if pool.ontap == config.pools[name].ontap]
    found = targets(same, config.arrays, clients, deadline)
    for pool, finding in found.findings.items():  # one that is not found might lie on the same volume
        raise RestoreError(f"pool {pool}: {finding.text}; what to do: {finding.fix}")
    return next(one for one in found.volumes if name in {pool.name for pool in one.pools})


def _unused(target: Target, libvirt: Libvirt, conf: str) -> None:
    """Raises RestoreError where a VM of this host uses one of the pools."""
    ours = {pool.name for pool in target.pools}
    for machine in libvirt.machines().values():
        if machine.off and not machine.saved:
            continue
        try:
            found = vms.on_pools(machine, parse(machine.xml.encode()), conf)
        except DomainError as error:
            raise RestoreError(f"what VM {machine.name} uses is not known: {error}") from None
        if ours & set(found.pools):
            how = f"is running; shut it down: virsh shutdown {machine.name}" if not machine.off else \
                f"has saved memory that would not fit older disks; drop it: virsh managedsave-remove {machine.name}"
            raise RestoreError(f"VM {machine.name} on pool {', '.join(sorted(ours & set(found.pools)))} {how}")


def _ask(target: Target, wanted: Stored, newer: Sequence[Stored]) -> None:
    pools = ", ".join(pool.name for pool in target.pools)
    if not sys.stdin.isatty():
        raise RestoreError("nobody can be asked here; say --yes if the whole volume is to be reverted")
    print(f"Volume {target.ref.name} (pool {pools}) goes back to {clock(wanted.created)}.\nWhat was written to any VM on it since then is "
          f"lost, and {len(newer)} newer snapshots with it; no snapshot can keep it.", file=sys.stderr)
    for question, good in (("Revert? [y/N] ", ("y", "yes")),
                           (f"Is it unmounted on every other host? Type the name of the volume ({target.ref.name}): ", (target.ref.name,))):
        print(question, end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip() not in good:
            raise RestoreError("nobody said yes")


def _send(target: Target, snapshot: str, deadline: float) -> None:
    try:
        revert(target.client, target.ref, snapshot, deadline)
    except ArrayError as error:
        fix = FIXES.get(error.ontap_code, error.finding.fix)
        doubt = "; whether it has been done is not known: look at kvmontap snapshot list before a VM is started" if error.maybe_done else ""
        raise RestoreError(f"{words(error)}{doubt}; what to do: {fix}") from None


def _again(work: Work, libvirt: Libvirt) -> None:
    """Mounts and starts what was stopped; what fails is told, and stays written down."""
    for line in again(work, libvirt):
        say(line)


def again(work: Work, libvirt: Libvirt) -> List[str]:
    """Brings back the mounts and libvirt pools of the journal; the failures as sentences, and the journal stays with them."""
    value: Dict[str, Any] = work.read() or {}
    failed = mounting.start(value)
    known = libvirt.pools()
    for name in value.get("active", []) if not failed else []:
        if name in known and not known[name].active:
            libvirt.start(name)
    if not failed:
        work.forget()
    return [f"{line}; what to do: kvmontap tidy" for line in failed]
