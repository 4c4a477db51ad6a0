"""What long work has made and what must be taken away again, written down before each step.  An edge: files only.

One file for each piece of work, ID.json in `directory`, which only root can read.  It is there from before the first thing is made
until the last is gone, and whoever is at it holds its lock: a file without a holder is what a run left that was killed, and
`kvmontap tidy` (kvmontap.snapshots.tidy) takes away what it names.
"""

import fcntl
import json
import os
import re
from typing import Any, Dict, Optional, Tuple

PLACE = "/var/lib/kvmontap/work"


def place() -> str:
    """Where the journals of this host are; KVMONTAP_STATE names another directory."""
    return os.environ.get("KVMONTAP_STATE", PLACE)


class WorkError(Exception):
    """Why it cannot be done, one sentence."""


class Busy(WorkError):
    """Somebody is at it."""


class Work:
    """One piece of work, one holder at a time on this host; `with` holds the lock."""

    def __init__(self, id: str, directory: str = "") -> None:
        if not re.fullmatch(r"[0-9a-z]+(-[0-9a-z]+)*", id):
            raise WorkError(f"{id} is no name for a piece of work")
        self.id = id
        self.directory = directory or place()
        self.path = os.path.join(self.directory, id + ".json")
        self._lock = -1

    def __enter__(self) -> "Work":
        os.makedirs(self.directory, 0o700, exist_ok=True)
        lock = os.path.join(self.directory, self.id + ".lock")
        while True:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise Busy("it is under way") from None
            if _same(descriptor, lock):
                break
            os.close(descriptor)  # its last holder has just removed it
        self._lock = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if not os.path.exists(self.path):
            _remove(self.path + ".new")
            _remove(os.path.join(self.directory, self.id + ".lock"))
        os.close(self._lock)

    def read(self) -> Optional[Dict[str, Any]]:
        """What is written down, None where nothing is; raises WorkError where it cannot be read."""
        try:
            with open(self.path, encoding="utf-8") as stream:
                value = json.load(stream)
            if not isinstance(value, dict):
                raise ValueError("it is not an object")
            return value
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise WorkError(f"{self.path}, which an earlier run left, cannot be read: {error}") from None

    def write(self, value: Dict[str, Any]) -> None:
        """Writes down `value` in place of what was there; it is on the disk when this returns."""
        draft = self.path + ".new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            json.dump(value, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, self.path)
        self._settle()

    def forget(self) -> None:
        """Nothing is left to be taken away."""
        _remove(self.path + ".new")
        _remove(self.path)
        self._settle()

    def _settle(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def names(directory: str = "") -> Tuple[str, ...]:
    """The pieces of work that were begun, sorted; of one that was killed in its first moment there is only the lock."""
    try:
        found = os.listdir(directory or place())
    except OSError:
        return ()
    return tuple(sorted({name.split(".")[0] for name in found if name.endswith((".json", ".new", ".lock"))}))


def _same(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
