"""`kvmontap snapshot restore`: one VM's disks as they were in a snapshot, in place or as a second VM."""

import argparse
import os
import random
import subprocess
import sys
import time
import uuid as uuids
from typing import Callable, List, NamedTuple, Sequence, Tuple

from kvmontap.array import ArrayError, Clients
from kvmontap.array.fileclone import clone, place
from kvmontap.array.stored import Stored, stored
from kvmontap.cli import vm as vms
from kvmontap.domain import copy
from kvmontap.gate.images import place as path_of
from kvmontap.model import FAILED, FILE_PROTOCOLS, NFS, Config, Domain, Source
from kvmontap.pools.libvirtd import Libvirt, Machine, PoolError
from kvmontap.snapshots import Request, Snapshotter, naming
from kvmontap.snapshots.prune import clock, words
from kvmontap.snapshots.restoring import PLACE, Move, RestoreError, Restoring, in_use, like, temporary
from kvmontap.snapshots.volumes import Target, targets

CLONE_SECONDS = 600.0
APPEARS = 75.0  # seconds until a file that the array made shows on the mount, whatever the client has cached
CP = "/usr/bin/cp"


class File(NamedTuple):
    """One file of the VM that comes back."""

    what: str  # "vda", "nvram", "data file of disk vda"
    path: str
    target: Target  # its volume
    inside: str  # its path within the volume
    snapshot: Stored
    pool_type: str  # protocol of its pool


def run(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    """1 where it was refused or failed."""
    try:
        found = vms.find(arguments.vm, arguments.connect, arguments.config)
        with Restoring(found.machine.uuid, os.environ.get("KVMONTAP_STATE", PLACE)) as restoring, Libvirt(arguments.connect) as libvirt:
            _may(found, arguments)
            images = [path_of(source) for source in found.domain.sources if path_of(source)]
            for line in restoring.recover(images, lambda name: libvirt.known(name) is not None):
                print(f"kvmontap: {line}", file=sys.stderr)
            files, left = _files(arguments, found, config, clients)
            for line in left:
                print(f"kvmontap: {line}", file=sys.stderr)
            if arguments.new:
                _second(arguments, found, files, restoring, libvirt)
            else:
                _in_place(arguments, found, files, restoring, libvirt)
    except (vms.VmError, PoolError, RestoreError) as error:
        print(f"kvmontap: VM {arguments.vm} is not restored: {error}", file=sys.stderr)
        return 1
    except ArrayError as error:
        print(f"kvmontap: VM {arguments.vm} is not restored: {words(error)}; what to do: {error.finding.fix}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"kvmontap: VM {arguments.vm} is not restored: {error.filename or 'its storage'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _may(found: vms.Vm, arguments: argparse.Namespace) -> None:
    """Raises RestoreError where the VM or its storage is in no state for a restore."""
    for pool, one in found.findings:
        if one.health == FAILED:
            raise RestoreError(f"pool {pool}: {one.text}; what to do: {one.fix}")
    if not arguments.new:
        _off(found.machine)


def _off(machine: Machine) -> None:
    if not machine.off:
        raise RestoreError(f"it is running; shut it down (virsh shutdown {machine.name}), or restore it beside with --as NEWNAME")
    if machine.saved:
        raise RestoreError(f"its memory is saved and would not fit older disks; drop it first: virsh managedsave-remove {machine.name}")


# -- what comes back


def _files(arguments: argparse.Namespace, found: vms.Vm, config: Config, clients: Clients) -> Tuple[List[File], List[str]]:
    """The files that come back, and a sentence for each disk that does not."""
    disks = {disk.target: disk for disk in copy.disks(found.machine.xml)}
    for name in arguments.disk:
        if name not in disks:
            raise RestoreError(f"it has no disk {name}; there are: {', '.join(disks)}")
    wanted: List[Tuple[Source, str]] = []
    left: List[str] = []
    pools = {source: hit.pool for hit in found.hits for source in hit.sources}
    for source in found.domain.sources:
        name = _name_of(source)
        if not name or (arguments.disk and name not in arguments.disk):
            continue
        if name in disks and disks[name].read_only:
            continue
        pool = config.pools.get(pools.get(source, ""))
        if pool is None or pool.protocol not in FILE_PROTOCOLS or source.kind not in ("file", "volume"):
            if arguments.new and not arguments.disk and name != "nvram":
                raise RestoreError(f"{source.what} is no file on an NFS or SMB pool; name the disks that the new VM gets with --disk")
            left.append(f"{source.what} stays as it is: it is no file on an NFS or SMB pool")
            continue
        wanted.append((source, pool.name))
    if not wanted:
        raise RestoreError("none of its disks is a file on an NFS or SMB pool")
    return _located(arguments.snapshot, wanted, config, clients), left


def _name_of(source: Source) -> str:
    """"vda" for a disk or its data file, "nvram"; "" for what never comes back (shared images beneath, cdroms, firmware)."""
    for start in ("disk ", "data file of disk "):
        if source.what.startswith(start):
            return source.what[len(start):]
    return "nvram" if source.what == "nvram" else ""


def _located(snapshot: str, wanted: Sequence[Tuple[Source, str]], config: Config, clients: Clients) -> List[File]:
    deadline = time.monotonic() + CLONE_SECONDS
    used = [config.pools[name] for name in dict.fromkeys(name for _, name in wanted)]
    volumes = targets(used, config.arrays, clients, deadline)
    for pool, finding in volumes.findings.items():
        raise RestoreError(f"pool {pool}: {finding.text}; what to do: {finding.fix}")
    files = []
    for target in volumes.volumes:
        held = stored(target.client, target.ref, deadline, snapshot)
        if not held:
            raise RestoreError(f"volume {target.ref.name} holds no snapshot {snapshot}; see: kvmontap snapshot list")
        for pool in target.pools:
            root = place(target.client, pool, target.ref, deadline)
            for source, name in wanted:
                if name != pool.name:
                    continue
                path = os.path.normpath(path_of(source))
                below = os.path.relpath(path, os.path.normpath(pool.target))
                if below.startswith("..") or os.path.islink(path) or os.stat(os.path.dirname(path)).st_dev != os.stat(pool.target).st_dev:
                    raise RestoreError(f"{path} is not itself a file of pool {name}")
                what = source.what[5:] if source.what.startswith("disk ") else source.what
                files.append(File(what, path, target, os.path.join(root, below), held[0], pool.protocol))
    return files


# -- bringing it back


def _in_place(
    arguments: argparse.Namespace, found: vms.Vm, files: Sequence[File], restoring: Restoring, libvirt: Libvirt
) -> None:
    for one in files:
        if in_use(one.path):
            raise RestoreError(f"{one.path} is in use, here or on another host")
    told = [f"{one.what}: {one.path} as of {clock(one.snapshot.created)}" for one in files]
    if not arguments.yes:
        _ask(found.machine.name, told)
    for volume, name in _keep(found.domain, files):
        print(f"volume {volume}: the state of now is kept in {name}")
    moves = _bring(files, [one.path for one in files], restoring)
    try:
        _off(libvirt.machine(found.machine.uuid))
        for one in files:
            if in_use(one.path):
                raise RestoreError(f"{one.path} is in use by now, here or on another host")
    except BaseException:
        restoring.drop(moves)
        raise
    restoring.replace(found.machine.name, moves)
    for line in told:
        print(f"restored {line}")


def _second(arguments: argparse.Namespace, found: vms.Vm, files: Sequence[File], restoring: Restoring, libvirt: Libvirt) -> None:
    new = arguments.new
    if not new.strip() or "/" in new or "\n" in new:
        raise RestoreError(f"{new!r} is no name for a VM")
    if libvirt.known(new) is not None:
        raise RestoreError(f"libvirt has a VM {new} already")
    if any(one.what.startswith("data file") for one in files):
        raise RestoreError("an image with a data file names that file itself, so that a second VM would share it; restore in place")
    finals = [second_path(one.path, found.machine.name, new, one.what) for one in files]
    for final in finals:
        if os.path.lexists(final) or finals.count(final) > 1:
            raise RestoreError(f"{final} is there already")
    images = {one.what: final for one, final in zip(files, finals)}
    keep = [disk.target for disk in copy.disks(found.machine.xml) if disk.read_only and not arguments.disk]
    text = copy.copied(found.machine.xml, new, str(uuids.uuid4()), images, keep, images.get("nvram", ""))
    moves = _bring(files, finals, restoring)
    for one, move in zip(files, moves):
        like(move.temporary, one.path)
    restoring.name(
        found.machine.name, new, moves, lambda: libvirt.define_machine(new, text), lambda name: libvirt.known(name) is not None
    )
    print(f"VM {new} is defined, off, with: " + ", ".join(f"{name} {path}" for name, path in images.items()))


def second_path(path: str, vm: str, new: str, what: str) -> str:
    """The file of the second VM for the first one's at `path`: named after the VM where the first one's is."""
    directory, name = os.path.split(path)
    if vm in name:
        return os.path.join(directory, name.replace(vm, new, 1))
    return os.path.join(directory, f"{new}-{what}{os.path.splitext(name)[1]}")


def _keep(domain: Domain, files: Sequence[File]) -> List[Tuple[str, str]]:
    """(volume, name) of a snapshot of each volume as it is now; raises RestoreError where one cannot be had."""
    requests = [
        Request(target.client, target.ref, target.pools[0], domain, naming.RESTORE, os.uname().nodename)
        for target in dict.fromkeys(one.target for one in files)
    ]
    timeout = max(max(one.pool.snapshots.timeout, one.client.array.timeout) for one in requests)
    outcomes = Snapshotter().take(requests, time.monotonic() + timeout)
    for outcome in outcomes:
        if outcome.finding is not None:
            raise RestoreError(f"the state of now cannot be kept: {outcome.finding.text}; what to do: {outcome.finding.fix}")
    return [(outcome.volume, outcome.name) for outcome in outcomes]


def _bring(files: Sequence[File], finals: Sequence[str], restoring: Restoring) -> List[Move]:
    """Every file under its temporary name; none of them where one fails."""
    moves: List[Move] = []
    try:
        for one, final in zip(files, finals):
            move = Move(temporary(final, restoring.uuid, random.getrandbits(32)), final)
            moves.append(move)
            _one(one, move.temporary)
    except BaseException:
        restoring.drop(moves)
        raise
    return moves


def _one(one: File, where: str) -> None:
    """The file as it was, at `where`: cloned by the array, else copied out of the snapshot's directory."""
    inside = os.path.join(os.path.dirname(one.inside), os.path.basename(where))
    try:
        clone(one.target.client, one.target.ref, one.snapshot.name, one.inside, inside, time.monotonic() + CLONE_SECONDS)
        _wait(lambda: os.path.lexists(where), where)
        print(f"{one.what}: cloned on the array")
        return
    except ArrayError as error:
        refusal = error
    if refusal.maybe_done:
        raise refusal  # it may still come, under a name that the next run knows
    directory = ".snapshot" if one.pool_type == NFS else "~snapshot"
    source = os.path.join(os.path.dirname(one.path), directory, one.snapshot.name, os.path.basename(one.path))
    if not os.path.isfile(source):
        raise refusal
    print(f"{one.what}: the array does not clone it ({words(refusal)}); it is copied", file=sys.stderr)
    _copy(source, where)


def _copy(source: str, where: str) -> None:
    size = os.stat(source).st_size
    command = [CP, "--sparse=always", "--reflink=auto", "--", source, where]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None:
                try:
                    process.wait(1.0)
                except subprocess.TimeoutExpired:
                    _progress(where, size)
        except BaseException:
            process.kill()
            raise
        finally:
            if sys.stderr.isatty():
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        said = (process.stderr.read() if process.stderr else "").strip()
    if process.returncode:
        raise RestoreError(f"the copy failed: {said or process.returncode}")
    descriptor = os.open(where, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _progress(where: str, size: int) -> None:
    if not sys.stderr.isatty():
        return
    try:
        done = os.stat(where).st_size
    except OSError:
        done = 0
    print(f"\r\x1b[Kcopying: {done >> 20} of {size >> 20} MiB", end="", file=sys.stderr, flush=True)


def _wait(condition: Callable[[], bool], where: str) -> None:
    until = time.monotonic() + APPEARS
    while not condition():
        if time.monotonic() > until:
            raise RestoreError(f"the array has made {where}, but it does not show here; is the pool mounted from that volume?")
        time.sleep(0.2)


def _ask(vm: str, told: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise RestoreError("nobody can be asked here; say --yes if these are to be replaced: " + ", ".join(told))
    print(f"To be replaced in VM {vm}, after a snapshot of the state of now:\n  " + "\n  ".join(told), file=sys.stderr)
    print("Restore? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RestoreError("nobody said yes")
