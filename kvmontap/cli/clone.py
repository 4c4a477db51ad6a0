"""`kvmontap clone VM NEW`: new VMs from the disks of one, off, as it is or as it was in a snapshot.

As it is: of a VM that is off, its files themselves are cloned; of one that runs, a snapshot is taken first, so that its disks are of one
moment on each volume, and deleted when the clones are there.
"""

import argparse
import time
from typing import Dict, List, Sequence

from kvmontap.array import ArrayError, Clients
from kvmontap.array.stored import delete, stored
from kvmontap.cli import bringing, restore, second, tidy
from kvmontap.cli import vm as vms
from kvmontap.cli.bringing import Wish
from kvmontap.config import load
from kvmontap.model import Config
from kvmontap.pools.libvirtd import Libvirt
from kvmontap.snapshots import naming
from kvmontap.snapshots.prune import words
from kvmontap.snapshots.restoring import Restoring
from kvmontap.snapshots.volumes import Target


def run(arguments: argparse.Namespace) -> int:
    """1 where it was refused or failed."""
    config, clients = load(arguments.config).config, Clients()
    try:
        with restore.told(f"VM {arguments.vm} is not cloned"):
            tidy.quietly(config, clients, arguments.connect)
            _clone(arguments, config, clients)
    except restore.Refused:
        return 1
    finally:
        clients.close()
    return 0


def names(new: str, count: int) -> List[str]:
    """NEW alone, or NEW-1 ... NEW-count."""
    return [f"{new}-{number}" for number in range(1, count + 1)] if count else [new]


def _clone(arguments: argparse.Namespace, config: Config, clients: Clients) -> None:
    found = vms.find(arguments.vm, arguments.connect, arguments.config)
    with Restoring(found.machine.uuid) as restoring, Libvirt(arguments.connect) as libvirt:
        restore.sound(found)
        restore.recovered(found, restoring, libvirt)
        new = names(arguments.new, arguments.count)
        wanted = bringing.chosen(found, config, Wish(tuple(arguments.disk), True))
        several = bringing.volumes(wanted, config, clients)
        taken = _moment(arguments, found, several)
        try:
            files = bringing.located(wanted, several, lambda target: arguments.snapshot or taken.get(target, ""))
            if not arguments.snapshot and not taken:
                restore.free(files)
            made = second.make(new, found, files, bool(arguments.disk), restoring, libvirt)
        finally:
            _drop(taken)
    for name, images in made.items():
        print(f"VM {name} is defined, off, with: " + ", ".join(f"{what} {path}" for what, path in images.items()))


def _moment(arguments: argparse.Namespace, found: vms.Vm, several: Sequence[Target]) -> Dict[Target, str]:
    """The snapshots of now that are cloned from, none where the files themselves are."""
    if arguments.snapshot or found.machine.off:
        return {}
    return dict(restore.keep(found.domain, several, naming.CLONE, "no snapshot of now can be taken"))


def _drop(taken: Dict[Target, str]) -> None:
    """Nobody needs them any more: the array's clones do not stand on them."""
    for target, name in taken.items():
        deadline = time.monotonic() + bringing.CLONE_SECONDS
        try:
            for one in stored(target.client, target.ref, deadline, name):
                delete(target.client, target.ref, one.uuid, deadline)
        except ArrayError as error:
            bringing.say(f"snapshot {name} on volume {target.ref.name} stays, until it has had its time: {words(error)}")
