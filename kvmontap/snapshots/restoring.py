"""Bringing files of a VM back, so that a crash at any moment loses nothing and the next run ends clean.  An edge: files only.

Each file comes back beside its place under a temporary name that carries the VM's UUID.  The names are written down before the first is
made (the journal, kvmontap.snapshots.work); only when all are there it is written down that they are moved, and only then the first
is.  So a next run finds either temporary files, which nobody needs, or a journal that it finishes.

journal: {"kind": "restore", "vm": name, "phase": "bringing" | "replacing" | "naming", "as": [new names],
"moves": [[temporary, final], ...], "mounts": [where the file systems of these are mounted, ...]}
"""

import fcntl
import os
import re
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from kvmontap.host import mountinfo
from kvmontap.snapshots.work import Busy, Work, WorkError

KIND = "restore"
_TEMPORARY = ".kvmontap-restore-"
BRINGING, REPLACING, NAMING = "bringing", "replacing", "naming"
# The bytes of an image on which QEMU holds its locks (its documentation: "image locking").
_LOCKS_FROM, _LOCKS = 100, 104


class RestoreError(WorkError):
    """Why it cannot be done, one sentence."""


class Move(NamedTuple):
    """One file that came back and where it belongs."""

    temporary: str
    final: str


def temporary(final: str, uuid: str, chance: int) -> str:
    """The name beside `final` under which it comes back."""
    return os.path.join(os.path.dirname(final), f"{_TEMPORARY}{uuid}-{chance & 0xFFFFFFFF:08x}")


def in_use(path: str) -> bool:
    """Whether a QEMU, on this host or on another one, has the image open: its locks are the file server's."""
    try:
        with open(path, "r+b") as image:
            fcntl.lockf(image, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKS, _LOCKS_FROM)
    except (BlockingIOError, PermissionError):
        return True
    except FileNotFoundError:
        return False
    return False


class Restoring(Work):
    """The restores of one VM, one at a time on this host; `with` holds the lock."""

    def __init__(self, uuid: str, directory: str = "") -> None:
        if not re.fullmatch(r"[0-9a-f-]{36}", uuid):
            raise RestoreError(f"{uuid} is no UUID of a VM")
        super().__init__(uuid, directory)
        self.uuid = uuid

    def __enter__(self) -> "Restoring":
        try:
            super().__enter__()
        except Busy:
            raise RestoreError("another restore of this VM is under way") from None
        return self

    def recover(self, images: Iterable[str], is_defined: Callable[[str], bool]) -> Tuple[str, ...]:
        """Ends what an earlier run left; what was done, a sentence each.

        images: the VM's files, beside which temporary ones may lie; is_defined(name): whether libvirt has that VM.
        """
        done: List[str] = []
        _remove(self.path + ".new")
        begun = self.read()
        if begun is not None:
            done += finish(self, is_defined)
        for directory in sorted({os.path.dirname(path) for path in images}):
            for name in _names(directory):
                if name.startswith(f"{_TEMPORARY}{self.uuid}-"):
                    _remove(os.path.join(directory, name))
                    done.append(f"removed {name} of an interrupted restore from {directory}")
        return tuple(done)

    def bring(self, vm: str, moves: Iterable[Move]) -> None:
        """To be called before the first temporary file is made."""
        self._note(vm, BRINGING, moves)

    def replace(self, vm: str, moves: Iterable[Move]) -> None:
        """Puts each temporary file in the place of the VM's own."""
        several = tuple(moves)
        self._note(vm, REPLACING, several)
        for move in several:
            _replace(move)
        _keep_names(several)
        self.forget()

    def name(
        self, vm: str, new: Sequence[str], moves: Iterable[Move], define: Callable[[], None], is_defined: Callable[[str], bool]
    ) -> None:
        """Gives each temporary file its new name, which must be free, then defines the VMs that use them; of one that is not
        defined, nothing stays.

        `moves` are those of the first of `new`, then those of the second, as many for each.  Where define() fails and is_defined() does
        too, nobody knows whether the VMs have their files: the next run finds out.
        """
        several = tuple(moves)
        for move in several:
            if os.path.lexists(move.final):
                raise RestoreError(f"{move.final} is there already")
        self._note(vm, NAMING, several, new)
        try:
            for move in several:
                os.rename(move.temporary, move.final)
            _keep_names(several)
            define()
        except BaseException:
            finish(self, is_defined)
            raise
        self.forget()

    def drop(self, moves: Iterable[Move], may_come: bool = False) -> None:
        """Removes temporary files that are not wanted after all; `may_come`: one of them may yet appear, so the journal stays."""
        for move in moves:
            _remove(move.temporary)
        if not may_come:
            self.forget()

    def _note(self, vm: str, phase: str, moves: Iterable[Move], new: Sequence[str] = ()) -> None:
        several = [list(move) for move in moves]
        mounts = sorted({_mount_of(os.path.dirname(final)) for _, final in several})
        self.write({"kind": KIND, "vm": vm, "phase": phase, "as": list(new), "moves": several, "mounts": mounts})


def finish(work: Work, is_defined: Callable[[str], bool]) -> Tuple[str, ...]:
    """Ends what the journal, held by the caller, tells of; what was done, a sentence each.  is_defined(name): as for recover()."""
    begun = work.read()
    if begun is None:
        return ()
    done = _end(begun, is_defined)
    work.forget()
    return done


def _end(begun: Dict[str, Any], is_defined: Callable[[str], bool]) -> Tuple[str, ...]:
    moves = [Move(*one) for one in begun["moves"]]
    missing = _unmounted(moves, begun.get("mounts", []))
    if missing:  # under it there is nothing to be found, which says nothing
        raise RestoreError(f"{missing} is not mounted; bring the pool up, then try again")
    if begun["phase"] == REPLACING:
        for move in moves:
            if os.path.lexists(move.temporary):
                _replace(move)
        _keep_names(moves)
        return (f"finished the restore of VM {begun['vm']} that was interrupted",)
    if begun["phase"] == BRINGING:
        gone = [move.temporary for move in moves if os.path.lexists(move.temporary)]
        for path in gone:
            _remove(path)
        return tuple(f"removed {os.path.basename(path)} of an interrupted restore from {os.path.dirname(path)}" for path in gone)
    # Where some of the new VMs are defined, these have their files; the moves of each stand together.
    several, each = begun["as"], len(moves) // max(1, len(begun["as"]))
    lost = [(new, moves[number * each: (number + 1) * each]) for number, new in enumerate(several) if not is_defined(new)]
    for _, of_one in lost:
        for move in of_one:
            _remove(move.temporary)
            _remove(move.final)
    return tuple(f"took back what an interrupted restore had made for VM {new}" for new, _ in lost)


def _keep_names(moves: Iterable[Move]) -> None:
    """The new names are on the disk before the journal goes that tells of them; SMB has no such thing for a directory."""
    for directory in sorted({os.path.dirname(move.final) for move in moves}):
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            os.fsync(descriptor)
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _mount_of(directory: str) -> str:
    above = os.path.realpath(directory)
    return max((one.where for one in mountinfo.read() if mountinfo.is_below(above, one.where)), key=len, default="/")


def _unmounted(moves: Sequence[Move], mounts: Sequence[str]) -> str:
    """A mount point of the journal on which nothing is mounted, "" where all are."""
    for directory in {os.path.dirname(move.final) for move in moves}:
        _names(directory)  # has autofs mount it
    there = {one.where for one in mountinfo.read() if one.fstype != "autofs"}
    return next((where for where in mounts if where not in there), "")


def _replace(move: Move) -> None:
    like(move.temporary, move.final)
    os.rename(move.temporary, move.final)


def like(path: str, model: str) -> None:
    """Gives `path` the owner and mode of `model` as far as the server lets us; libvirt sets the owner again at the start."""
    try:
        wanted = os.stat(model)
        os.chmod(path, wanted.st_mode & 0o7777)
        os.chown(path, wanted.st_uid, wanted.st_gid)
    except OSError:
        return


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
