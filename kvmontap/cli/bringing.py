"""Files of a VM brought beside their places, as they were in a snapshot or as they are: for `snapshot restore` and `clone`.

On NFS and SMB the array clones the file; where it does not, the file is copied out of the pool's snapshot directory.  On a block pool
the snapshot is opened on this host (kvmontap.snapshots.opened) and the file copied out of it.
"""

import os
import random
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from kvmontap.array import ArrayError, Clients
from kvmontap.array.client import Client
from kvmontap.array.errors import NOT_AUTHORISED
from kvmontap.array.fileclone import clone, place
from kvmontap.array.stored import Stored, stored
from kvmontap.cli import vm as vms
from kvmontap.domain import copy
from kvmontap.gate.images import place as path_of
from kvmontap.host.cloned import DeviceError
from kvmontap.model import FILE_PROTOCOLS, NFS, Config, Pool, Source
from kvmontap.snapshots import opened
from kvmontap.snapshots.copying import copy as copy_file
from kvmontap.snapshots.prune import words
from kvmontap.snapshots.restoring import Move, RestoreError, Restoring, temporary
from kvmontap.snapshots.volumes import Target, targets
from kvmontap.snapshots.work import Work, WorkError

CLONE_SECONDS = 600.0
APPEARS = 75.0  # seconds until a file that the array made shows on the mount, whatever the client has cached


class File(NamedTuple):
    """One file of the VM that comes back, or is cloned."""

    what: str  # "vda", "nvram", "data file of disk vda"
    path: str
    target: Target  # its volume
    inside: str  # its path within the volume; on a block pool, within the file system
    pool: Pool
    snapshot: Optional[Stored] = None  # None: as it is

    @property
    def on_block(self) -> bool:
        return self.pool.protocol not in FILE_PROTOCOLS


class Wish(NamedTuple):
    """What of a VM is wanted."""

    disks: Tuple[str, ...]  # targets; () = all
    whole: bool  # a new VM is made of it, which needs all of its writable disks


def say(line: str) -> None:
    """For people, beside the result."""
    print(f"kvmontap: {line}", file=sys.stderr)


# -- what comes back


def chosen(found: vms.Vm, config: Config, wish: Wish) -> List[Tuple[Source, Pool]]:
    """The sources of the VM that are wanted, each with its pool; tells which disks are left as they are.  Raises RestoreError."""
    disks = {disk.target: disk for disk in copy.disks(found.machine.xml)}
    for name in wish.disks:
        if name not in disks:
            raise RestoreError(f"it has no disk {name}; there are: {', '.join(disks)}")
    wanted: List[Tuple[Source, Pool]] = []
    pools = {source: hit.pool for hit in found.hits for source in hit.sources}
    for source in found.domain.sources:
        name = _name_of(source)
        if not name or (wish.disks and name not in wish.disks) or (name in disks and disks[name].read_only):
            continue
        pool = config.pools.get(pools.get(source, ""))
        why = _unfit(source, pool)
        if pool is None or why:
            if wish.whole and not wish.disks and name != "nvram":
                raise RestoreError(f"{source.what}: {why}; name the disks that the new VM gets with --disk")
            say(f"{source.what} stays as it is: {why}")
            continue
        wanted.append((source, pool))
    if not wanted:
        raise RestoreError("none of its disks is a file on a pool whose files can be brought back")
    return wanted


def _unfit(source: Source, pool: Optional[Pool]) -> str:
    if pool is None or source.kind not in ("file", "volume"):
        return "it is no file on a pool"
    return "" if pool.protocol in FILE_PROTOCOLS else opened.unfit(pool)


def _name_of(source: Source) -> str:
    """"vda" for a disk or its data file, "nvram"; "" for what never comes back (shared images beneath, cdroms, firmware)."""
    for start in ("disk ", "data file of disk "):
        if source.what.startswith(start):
            return source.what[len(start):]
    return "nvram" if source.what == "nvram" else ""


def volumes(wanted: Sequence[Tuple[Source, Pool]], config: Config, clients: Clients) -> Tuple[Target, ...]:
    """The volumes behind the pools; raises RestoreError where one cannot be found."""
    used = list(dict.fromkeys(pool.name for _, pool in wanted))
    seen = targets([config.pools[name] for name in used], config.arrays, clients, time.monotonic() + CLONE_SECONDS)
    for pool, finding in seen.findings.items():
        raise RestoreError(f"pool {pool}: {finding.text}; what to do: {finding.fix}")
    return seen.volumes


def located(wanted: Sequence[Tuple[Source, Pool]], several: Sequence[Target], named: Callable[[Target], str]) -> List[File]:
    """Where the files lie within their volumes; named(volume) is the snapshot, "" = as they are.  Raises RestoreError, ArrayError."""
    deadline = time.monotonic() + CLONE_SECONDS
    files = []
    for target in several:
        snapshot = named(target)
        held = stored(target.client, target.ref, deadline, snapshot) if snapshot else ()
        if snapshot and not held:
            raise RestoreError(f"volume {target.ref.name} holds no snapshot {snapshot}; see: kvmontap snapshot list")
        for pool in target.pools:
            root = place(target.client, pool, target.ref, deadline) if pool.protocol in FILE_PROTOCOLS else ""
            for source, its in wanted:
                if its.name != pool.name:
                    continue
                path = os.path.normpath(path_of(source))
                below = os.path.relpath(path, os.path.normpath(pool.target))
                if below.startswith("..") or os.path.islink(path) or os.stat(os.path.dirname(path)).st_dev != os.stat(pool.target).st_dev:
                    raise RestoreError(f"{path} is not itself a file of pool {pool.name}")
                what = source.what[5:] if source.what.startswith("disk ") else source.what
                files.append(File(what, path, target, os.path.join(root, below), pool, held[0] if held else None))
    return files


# -- bringing it


def moves_of(finals: Sequence[str], uuid: str) -> List[Move]:
    """A temporary name beside each."""
    return [Move(temporary(final, uuid, random.getrandbits(32)), final) for final in finals]


def bring(files: Sequence[File], moves: Sequence[Move], vm: str, restoring: Restoring, quiet: bool = False) -> None:
    """Every file under its temporary name, as many copies of `files` as there are `moves`; none of them where one fails.

    The first copy is made from the snapshot or the file itself; on block pools the others are made from it, which shares their blocks
    where the file system can.
    """
    restoring.bring(vm, moves)
    may_come = False
    try:
        with ExitStack() as stack:
            roots = _opened(files, stack)
            for number, move in enumerate(moves):
                one = files[number % len(files)]
                if one.on_block:
                    first = moves[number % len(files)].temporary if number >= len(files) else ""
                    _copied(one, first or (os.path.join(roots[one.pool.name], one.inside) if one.snapshot else one.path), move.temporary)
                else:
                    _cloned(one, move.temporary, quiet)
    except ArrayError as error:
        may_come = error.maybe_done  # a file may still come, under a name that is written down
        restoring.drop(moves, may_come)
        raise
    except BaseException as error:
        restoring.drop(moves, isinstance(error, KeyboardInterrupt))
        raise


def _opened(files: Sequence[File], stack: ExitStack) -> Dict[str, str]:
    """Pool -> directory that shows its files as they were, for the block pools; closed again at the end of `stack`."""
    roots: Dict[str, str] = {}
    for one in files:
        if one.on_block and one.snapshot is not None and one.pool.name not in roots:
            wanted = opened.Wanted(one.target.client, one.pool, one.target.ref, one.snapshot.name)
            roots[one.pool.name] = stack.enter_context(_open(wanted))
    return roots


@contextmanager
def _open(wanted: opened.Wanted) -> Iterator[str]:
    def client_of(_: str) -> Client:
        return wanted.client

    with Work(f"{opened.KIND}-{random.getrandbits(32):08x}") as work:
        try:
            yield _allowed(work, wanted)
        finally:
            try:
                opened.close(work, client_of)
            except (ArrayError, DeviceError, WorkError, OSError) as error:
                told = words(error) if isinstance(error, ArrayError) else str(error)
                say(f"the copy of pool {wanted.pool.name} is not wholly taken away: {told}; what to do: kvmontap tidy")


def _allowed(work: Work, wanted: opened.Wanted) -> str:
    try:
        return opened.opened(work, wanted, say)
    except ArrayError as error:
        if error.ontap_code != NOT_AUTHORISED:
            raise
        raise RestoreError(f"{words(error)}; what to do: give the account the rights that kvmontap role --all prints") from None


def _cloned(one: File, where: str, quiet: bool) -> None:
    """The file at `where`: cloned by the array, else copied out of the snapshot's directory."""
    inside = os.path.join(os.path.dirname(one.inside), os.path.basename(where))
    name = one.snapshot.name if one.snapshot else ""
    try:
        clone(one.target.client, one.target.ref, name, one.inside, inside, time.monotonic() + CLONE_SECONDS)
        _wait(lambda: os.path.lexists(where), where)
        if not quiet:
            print(f"{one.what}: cloned on the array")
        return
    except ArrayError as error:
        refusal = error
    if refusal.maybe_done:
        raise refusal
    source = one.path
    if name:
        directory = ".snapshot" if one.pool.protocol == NFS else "~snapshot"
        source = os.path.join(os.path.dirname(one.path), directory, name, os.path.basename(one.path))
    if not os.path.isfile(source):
        raise refusal
    say(f"{one.what}: the array does not clone it ({words(refusal)}); it is copied")
    _copied(one, source, where)


def _copied(one: File, source: str, where: str) -> None:
    from kvmontap.cli.table import progress  # late: most restores copy nothing

    if not os.path.isfile(source):
        raise RestoreError(f"{one.what}: the snapshot holds no {one.inside}")
    with progress(f"{one.what}: copying") as tell:
        copy_file(source, where, tell)


def _wait(condition: Callable[[], bool], where: str) -> None:
    until = time.monotonic() + APPEARS
    while not condition():
        if time.monotonic() > until:
            raise RestoreError(f"the array has made {where}, but it does not show here; is the pool mounted from that volume?")
        time.sleep(0.2)
