"""`kvmontap snapshot restore`: one VM's disks as they were in a snapshot, in place or as a second VM."""

import argparse
import os
import sys
import time
from contextlib import contextmanager
from typing import Iterator, List, Sequence, Tuple

from kvmontap.array import ArrayError, Clients
from kvmontap.cli import bringing, second, tidy
from kvmontap.cli import vm as vms
from kvmontap.cli.bringing import File, Wish
from kvmontap.gate.images import place as path_of
from kvmontap.host.cloned import DeviceError
from kvmontap.model import FAILED, SMB, Config, Domain
from kvmontap.pools.libvirtd import Libvirt, Machine, PoolError
from kvmontap.snapshots import Request, Snapshotter, naming
from kvmontap.snapshots.prune import clock, words
from kvmontap.snapshots.restoring import RestoreError, Restoring, in_use
from kvmontap.snapshots.volumes import Target
from kvmontap.snapshots.work import WorkError


class Refused(Exception):
    """It was not done, and that is said already."""


def run(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    """1 where it was refused or failed."""
    try:
        with told(f"VM {arguments.vm} is not restored"):
            tidy.quietly(config, clients, arguments.connect)
            found = vms.find(arguments.vm, arguments.connect, arguments.config)
            with Restoring(found.machine.uuid) as restoring, Libvirt(arguments.connect) as libvirt:
                sound(found)
                if not arguments.new:
                    off(found.machine)
                recovered(found, restoring, libvirt)
                wanted = bringing.chosen(found, config, Wish(tuple(arguments.disk), bool(arguments.new)))
                files = bringing.located(wanted, bringing.volumes(wanted, config, clients), lambda _: arguments.snapshot)
                if arguments.new:
                    made = second.make([arguments.new], found, files, bool(arguments.disk), restoring, libvirt)
                    print(f"VM {arguments.new} is defined, off, with: "
                          + ", ".join(f"{name} {path}" for name, path in made[arguments.new].items()))
                else:
                    _in_place(arguments, found, files, restoring, libvirt)
    except Refused:
        return 1
    return 0


@contextmanager
def told(what: str) -> Iterator[None]:
    """Says in one sentence why `what`, and raises Refused."""
    try:
        yield
        return
    except (vms.VmError, PoolError, WorkError, DeviceError) as error:
        why = str(error)
    except ArrayError as error:
        why = f"{words(error)}; what to do: {error.finding.fix}"
    except OSError as error:
        why = f"{error.filename or 'its storage'}: {error.strerror}"
    except KeyboardInterrupt:
        why = "interrupted; what had been begun is taken back, and what may yet come from the array goes with: kvmontap tidy"
    print(f"kvmontap: {what}: {why}", file=sys.stderr)
    raise Refused


def recovered(found: vms.Vm, restoring: Restoring, libvirt: Libvirt) -> None:
    """Ends what an earlier restore of this VM left."""
    images = [path_of(source) for source in found.domain.sources if path_of(source)]
    for line in restoring.recover(images, lambda name: libvirt.known(name) is not None):
        bringing.say(line)


def sound(found: vms.Vm) -> None:
    """Raises RestoreError where the VM's storage is in no state for a restore."""
    for pool, one in found.findings:
        if one.health == FAILED:
            raise RestoreError(f"pool {pool}: {one.text}; what to do: {one.fix}")


def off(machine: Machine) -> None:
    """Raises RestoreError where the VM is not off."""
    if not machine.off:
        raise RestoreError(f"it is running; shut it down (virsh shutdown {machine.name}), or restore it beside with --as NEWNAME")
    if machine.saved:
        raise RestoreError(f"its memory is saved and would not fit older disks; drop it first: virsh managedsave-remove {machine.name}")


def free(files: Sequence[File], now: str = "") -> None:
    """Raises RestoreError where a QEMU has one of the files open; NFS and OCFS2 carry its locks from host to host."""
    for one in files:
        if in_use(one.path):
            raise RestoreError(f"{one.path} is in use{now}, here or on another host")


def _in_place(
    arguments: argparse.Namespace, found: vms.Vm, files: Sequence[File], restoring: Restoring, libvirt: Libvirt
) -> None:
    free(files)
    for name in dict.fromkeys(one.pool.name for one in files if one.pool.protocol == SMB):
        bringing.say(f"pool {name} is on SMB, where the locks of other hosts are not seen: the VM must run on none of them")
    lines = [f"{one.what}: {one.path} as of {clock(one.snapshot.created) if one.snapshot else 'now'}" for one in files]
    if not arguments.yes:
        _ask(found.machine.name, lines)
    for target, name in keep(found.domain, [one.target for one in files], naming.RESTORE, "the state of now cannot be kept"):
        print(f"volume {target.ref.name}: the state of now is kept in {name}")
    moves = bringing.moves_of([one.path for one in files], restoring.uuid)
    bringing.bring(files, moves, found.machine.name, restoring)
    try:
        off(libvirt.machine(found.machine.uuid))
        free(files, " by now")
    except BaseException:
        restoring.drop(moves)
        raise
    restoring.replace(found.machine.name, moves)
    for line in lines:
        print(f"restored {line}")


def keep(domain: Domain, several: Sequence[Target], reason: str, failed: str) -> List[Tuple[Target, str]]:
    """(volume, name) of a snapshot of each volume as it is now; raises RestoreError, which begins with `failed`."""
    volumes = tuple(dict.fromkeys(several))
    requests = [Request(one.client, one.ref, one.pools[0], domain, reason, os.uname().nodename) for one in volumes]
    timeout = max(max(one.pool.snapshots.timeout, one.client.array.timeout) for one in requests)
    outcomes = Snapshotter().take(requests, time.monotonic() + timeout)
    for outcome in outcomes:
        if outcome.finding is not None:
            raise RestoreError(f"{failed}: {outcome.finding.text}; what to do: {outcome.finding.fix}")
    return [(target, outcome.name) for target, outcome in zip(volumes, outcomes)]


def _ask(vm: str, lines: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise RestoreError("nobody can be asked here; say --yes if these are to be replaced: " + ", ".join(lines))
    print(f"To be replaced in VM {vm}, after a snapshot of the state of now:\n  " + "\n  ".join(lines), file=sys.stderr)
    print("Restore? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RestoreError("nobody said yes")
