"""New VMs from the files of one, defined and off: for `snapshot restore --as` and `clone`."""

import os
import uuid as uuids
from typing import Dict, List, Sequence, Tuple

from kvmontap.cli import bringing
from kvmontap.cli import vm as vms
from kvmontap.cli.bringing import File
from kvmontap.domain import copy
from kvmontap.pools.libvirtd import Libvirt
from kvmontap.snapshots.restoring import RestoreError, Restoring, like


def make(
    new: Sequence[str], found: vms.Vm, files: Sequence[File], partial: bool, restoring: Restoring, libvirt: Libvirt
) -> Dict[str, Dict[str, str]]:
    """New VM -> its files, by what they are; `partial`: only some of the disks were asked for.

    Raises RestoreError, and what bring() does."""
    for name in new:
        if not name.strip() or "/" in name or "\n" in name:
            raise RestoreError(f"{name!r} is no name for a VM")
        if libvirt.known(name) is not None:
            raise RestoreError(f"libvirt has a VM {name} already")
    if any(one.what.startswith("data file") for one in files):
        raise RestoreError("an image with a data file names that file itself, so that a second VM would share it; restore in place")
    images = {name: {one.what: second_path(one.path, found.machine.name, name, one.what) for one in files} for name in new}
    finals = [path for name in new for path in images[name].values()]
    for final in finals:
        if os.path.lexists(final) or finals.count(final) > 1:
            raise RestoreError(f"{final} is there already")
    keep = [disk.target for disk in copy.disks(found.machine.xml) if disk.read_only and not partial]
    texts: List[Tuple[str, str]] = []
    for name, its in images.items():
        texts.append((name, copy.copied(found.machine.xml, name, str(uuids.uuid4()), its, keep, its.get("nvram", ""))))
    moves = bringing.moves_of(finals, restoring.uuid)
    bringing.bring(files, moves, found.machine.name, restoring, quiet=len(new) > 1)
    for number, move in enumerate(moves):
        like(move.temporary, files[number % len(files)].path)

    def define() -> None:
        for name, text in texts:
            libvirt.define_machine(name, text)

    restoring.name(found.machine.name, new, moves, define, lambda name: libvirt.known(name) is not None)
    return images


def second_path(path: str, vm: str, new: str, what: str) -> str:
    """The file of the second VM for the first one's at `path`: named after the VM where the first one's is."""
    directory, name = os.path.split(path)
    if vm in name:
        return os.path.join(directory, name.replace(vm, new, 1))
    return os.path.join(directory, f"{new}-{what}{os.path.splitext(name)[1]}")
