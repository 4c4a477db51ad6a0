"""Bringing files of a VM back, so that a crash at any moment loses nothing and the next run ends clean.  An edge: files only.

Each file comes back beside its place under a temporary name that carries the VM's UUID.  Only when all are there, what is to be
moved where is written down (the journal, one file per VM in `directory`), and only then the first is moved.  So a next run finds
either temporary files, which nobody needs, or a journal, and finishes what it says.

journal: {"vm": name, "phase": "replacing" | "naming", "as": new name or "", "moves": [[temporary, final], ...]}
"""

import fcntl
import json
import os
import re
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

PLACE = "/var/lib/kvmontap/restore"
_TEMPORARY = ".kvmontap-restore-"
REPLACING, NAMING = "replacing", "naming"
# The bytes of an image on which QEMU holds its locks (its documentation: "image locking").
_LOCKS_FROM, _LOCKS = 100, 104


class RestoreError(Exception):
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


class Restoring:
    """The restores of one VM, one at a time on this host; `with` holds the lock."""

    def __init__(self, uuid: str, directory: str = PLACE) -> None:
        if not re.fullmatch(r"[0-9a-f-]{36}", uuid):
            raise RestoreError(f"{uuid} is no UUID of a VM")
        self.uuid = uuid
        self._directory = directory
        self._journal = os.path.join(directory, uuid + ".json")
        self._lock = -1

    def __enter__(self) -> "Restoring":
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._lock = os.open(os.path.join(self._directory, self.uuid + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise RestoreError("another restore of this VM is under way") from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def recover(self, images: Iterable[str], is_defined: Callable[[str], bool]) -> Tuple[str, ...]:
        """Ends what an earlier run left; what was done, a sentence each.

        images: the VM's files, beside which temporary ones may lie; is_defined(name): whether libvirt has that VM.
        """
        done: List[str] = []
        _remove(self._journal + ".new")
        begun = self._read()
        if begun is not None:
            moves = [Move(*one) for one in begun["moves"]]
            if begun["phase"] == REPLACING:
                for move in moves:
                    if os.path.lexists(move.temporary):
                        self._replace(move)
                done.append("finished the restore that was interrupted")
            elif not is_defined(begun["as"]):
                for move in moves:
                    _remove(move.final)
                done.append(f"took back what an interrupted restore had made for VM {begun['as']}")
            self._forget()
        for directory in sorted({os.path.dirname(path) for path in images}):
            for name in _names(directory):
                if name.startswith(f"{_TEMPORARY}{self.uuid}-"):
                    _remove(os.path.join(directory, name))
                    done.append(f"removed {name} of an interrupted restore from {directory}")
        return tuple(done)

    def replace(self, vm: str, moves: Iterable[Move]) -> None:
        """Puts each temporary file in the place of the VM's own."""
        several = tuple(moves)
        self._write({"vm": vm, "phase": REPLACING, "as": "", "moves": several})
        for move in several:
            self._replace(move)
        self._forget()

    def name(
        self, vm: str, new: str, moves: Iterable[Move], define: Callable[[], None], is_defined: Callable[[str], bool]
    ) -> None:
        """Gives each temporary file its new name, which must be free, then defines the VM that uses them; all or nothing.

        Where define() fails and is_defined() does too, nobody knows whether the VM has its files: the next run finds out.
        """
        several = tuple(moves)
        for move in several:
            if os.path.lexists(move.final):
                raise RestoreError(f"{move.final} is there already")
        self._write({"vm": vm, "phase": NAMING, "as": new, "moves": several})
        try:
            for move in several:
                os.rename(move.temporary, move.final)
            define()
        except BaseException:
            if not is_defined(new):
                for move in several:
                    if os.path.lexists(move.temporary):
                        _remove(move.temporary)
                    else:
                        _remove(move.final)
            self._forget()
            raise
        self._forget()

    def drop(self, moves: Iterable[Move]) -> None:
        """Removes temporary files that are not wanted after all."""
        for move in moves:
            _remove(move.temporary)

    @staticmethod
    def _replace(move: Move) -> None:
        like(move.temporary, move.final)
        os.rename(move.temporary, move.final)

    def _read(self) -> Optional[Dict]:
        try:
            with open(self._journal, encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RestoreError(f"{self._journal}, which an earlier restore left, cannot be read: {error}") from None

    def _write(self, value: Dict) -> None:
        draft = self._journal + ".new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            json.dump(value, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, self._journal)
        self._settle()

    def _forget(self) -> None:
        _remove(self._journal)
        self._settle()

    def _settle(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
