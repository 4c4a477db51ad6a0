"""When an earlier snapshot still holds exactly what a VM's images hold now, so that no new one is needed.

The rule.  Before a snapshot S is asked for, the files of its pools are fingerprinted (F1): device, inode, size, mtime and ctime of
each, by path, forced from the server.  At a later start the images of that VM are fingerprinted in the same way (F2).  If F1 has
every one of them and says the same, S serves that start, for `reuse` seconds after F1.

Why that is enough.
1. Order.  F1 was complete before the request for S was sent, and the array made S after it got the request; F2 was begun after
   the start was asked for.  So F1 < S < F2 for every file, by cause and effect: no two clocks are compared, and the time stamps of a
   server or of another host may be off by hours.
2. A trace.  On NFS and SMB it is the server that stamps, and it stamps mtime and ctime at every write and ctime at every other
   change, O_DIRECT included; nobody can set ctime.  A write after S therefore leaves another ctime than F1 saw, unless it falls
   into the same tick of the server's clock as the last change before F1.  Hence TICK: that much time of our own monotonic clock
   passes between the end of F1 and the request for S, and a server whose ticks are longer than that is told by stamps without a
   fraction of a second, which count as doubt.  Once a tick is over, its stamp does not come again.
3. The same file.  Device and inode are equal, and so is the path: a file that was renamed into the image's place is another inode.
   What is reached through a symbolic link is not in F1 at all, nor what lies on another mount below the pool.
4. Fresh.  `stat --cached=never` is statx(2) with AT_STATX_FORCE_SYNC: the NFS and SMB clients flush what this host has written
   and ask the server, whatever they have cached.  Every question has an argument of its own, so none is ever answered with the
   answer to an earlier one.
5. S is there.  What retention deletes has a younger snapshot of the same reason beside it, and while the images have not changed
   since F1 that one holds the same.  (A snapshot that somebody deletes by hand within `reuse` seconds is not missed.)

GFS2 leaves no trace of O_DIRECT writes, OCFS2 has the stamps of the writing hosts' clocks, block devices have none: never there.
Whatever fails, hangs, is late, unusual or unknown is doubt, and doubt is a new snapshot.  Everything is forgotten with the process.
"""

import itertools
import os
import stat
import threading
import time
from typing import Callable, Dict, Hashable, Iterable, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from kvmontap import command
from kvmontap.model import FILE_PROTOCOLS, Pool
from kvmontap.snapshots.plan import Request

TICK = 0.02  # seconds; file servers count in 10 ms or finer
FIND, STAT = "/usr/bin/find", "/usr/bin/stat"
DEEPEST = 4  # directories below the pool
# What a fingerprint may take: of all files before a snapshot, of one VM's images.
ALL_SECONDS, SOME_SECONDS = 2.0, 1.0
_REMEMBERED = 4  # snapshots of a volume: VMs with disks on several volumes need one that all of these have
REST = 600.0  # seconds until a pool is tried again whose files could not be read in time
_FORMAT = "--printf=%d %i %s %.9Y %.9Z %f %n\\0"


class Print(NamedTuple):
    """One file's fingerprint; times as the server stamped them."""

    device: int
    inode: int
    size: int
    mtime: str
    ctime: str


Prints = Mapping[str, Print]


class _Entry(NamedTuple):
    name: str  # of the snapshot
    prints: Prints
    at: float  # when F1 was begun
    what: Tuple[str, str, int]  # its scope, label and lock


def boottime() -> float:
    """Seconds of this boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Reuse:
    """Fingerprints and the snapshots that they stand for; thread-safe, one for the process."""

    def __init__(self, commands: command.Commands, clock: Callable[[], float] = boottime) -> None:
        self._commands = commands
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: Dict[Hashable, Tuple[_Entry, ...]] = {}  # newest first
        self._targets: Dict[Hashable, Set[str]] = {}
        self._tired: Dict[str, float] = {}  # until when a pool is left alone that has too many files, or hangs
        self._numbers = itertools.count(1)

    def serving(self, volumes: Mapping[Hashable, Sequence[Request]], deadline: float) -> str:
        """The name of the snapshot that serves every request on every volume, "" where there is none."""
        candidates = self._common(volumes)
        for volume, requests in volumes.items():
            paths = tuple(dict.fromkeys(path for one in requests for path in one.images))
            candidates = {name: held for name, held in candidates.items() if all(path in held[volume].prints for path in paths)}
            if not candidates:
                return ""
            now = self._ask(requests[0].pool.target, (STAT, "--cached=never", _FORMAT, "--", *paths), deadline, SOME_SECONDS)
            if now is None or any(path not in now for path in paths):
                return ""
            candidates = {
                name: held for name, held in candidates.items() if all(now[path] == held[volume].prints[path] for path in paths)
            }
        return next(iter(candidates), "")

    def _common(self, volumes: Mapping[Hashable, Sequence[Request]]) -> Dict[str, Dict[Hashable, _Entry]]:
        """The snapshots that all of the volumes have and that are young enough for every request, newest first."""
        if not volumes or not all(_may(one) for requests in volumes.values() for one in requests):
            return {}
        found: Dict[str, Dict[Hashable, _Entry]] = {}
        now = self._clock()
        with self._lock:
            for volume, requests in volumes.items():
                oldest = now - min(one.pool.snapshots.reuse for one in requests)
                want = _what(requests[0].pool)
                for entry in self._entries.get(volume, ()):
                    if entry.at >= oldest and entry.what == want:
                        found.setdefault(entry.name, {})[volume] = entry
        return {name: held for name, held in found.items() if len(held) == len(volumes)}

    def before(self, key: Hashable, requests: Sequence[Request], deadline: float) -> Optional[Tuple[Prints, float]]:
        """F1 of the pools on the volume `key`, None where a snapshot could serve nobody else; to be called before the request is sent."""
        with self._lock:
            targets = self._targets.setdefault(key, set())
            targets.update(one.pool.target for one in requests if _can(one.pool))
            several = sorted(targets)
        if not any(_can(one.pool) for one in requests):
            return None
        began = self._clock()
        limit = min(deadline, time.monotonic() + ALL_SECONDS, (time.monotonic() + deadline) / 2)
        prints: Dict[str, Print] = {}
        for target in several:
            if self._tired.get(target, began) > began:
                continue
            found = self._ask(target, _every(target), limit, ALL_SECONDS)
            if found is None:
                self._tired[target] = began + REST
            prints.update(found or {})
        if not prints:
            return None
        time.sleep(TICK)
        return prints, began

    def after(self, key: Hashable, name: str, pool: Pool, taken: Optional[Tuple[Prints, float]]) -> None:
        """The snapshot `name` has been made as `pool` wants it, after before() gave `taken`."""
        if taken is not None:
            prints, began = taken
            with self._lock:
                earlier = self._entries.get(key, ())[: _REMEMBERED - 1]
                kept = _sharing(prints, earlier[0].prints) if earlier else prints
                self._entries[key] = (_Entry(name, kept, began, _what(pool)), *earlier)

    def forget(self, names: Iterable[str]) -> None:
        """These snapshots are gone."""
        gone = set(names)
        with self._lock:
            self._entries = {key: tuple(one for one in held if one.name not in gone) for key, held in self._entries.items()}

    def _ask(self, target: str, argv: Tuple[str, ...], deadline: float, patience: float) -> Optional[Dict[str, Print]]:
        # One at a time for each pool, and each with a number: no answer of an earlier question is ever taken for this one's.
        numbered = _numbered(argv, next(self._numbers))
        key = ("fingerprint", target)
        answer = self._commands.run(key, numbered, min(deadline, time.monotonic() + patience), patience)
        if answer.state == command.HANGS:
            self._commands.kill(key, answer)
        # 1: a file went away meanwhile; those that were read were read.
        return parse(answer.output) if answer.state == command.ANSWERED and answer.status in (0, 1) else None


def _sharing(prints: Prints, earlier: Prints) -> Prints:
    """The same prints, with the objects of `earlier` for what has not changed: of most files nothing has."""
    paths = {path: path for path in earlier}
    return {paths.get(path, path): earlier[path] if earlier.get(path) == one else one for path, one in prints.items()}


def _numbered(argv: Tuple[str, ...], number: int) -> Tuple[str, ...]:
    """The same command with a number in its format: the text after the last NUL, which parse() drops."""
    return tuple(f"{part}#{number}\\0" if part == _FORMAT else part for part in argv)


def _every(target: str) -> Tuple[str, ...]:
    """The command that prints every regular file of a pool, on its mount and without the array's own snapshot directory."""
    only = ("-xdev", "-maxdepth", str(DEEPEST), "-name", ".snapshot", "-prune", "-o", "-name", "~snapshot", "-prune", "-o", "-type", "f")
    return (FIND, target, *only, "-exec", STAT, "--cached=never", _FORMAT, "--", "{}", "+")


def parse(output: str) -> Dict[str, Print]:
    """The fingerprints in what stat printed; without those that are in doubt."""
    found: Dict[str, Print] = {}
    for record in output.split("\0"):
        fields = record.split(" ", 6)
        if len(fields) != 7:
            continue
        device, inode, size, mtime, ctime, mode, path = fields
        try:
            made = Print(int(device), int(inode), int(size), mtime, ctime)
            regular = stat.S_ISREG(int(mode, 16))
        except ValueError:
            continue
        whole = not ctime.partition(".")[2].strip("0")
        if regular and not whole and "\ufffd" not in path:
            found[path] = made
    return found


def _what(pool: Pool) -> Tuple[str, str, int]:
    return pool.snapshot_scope, pool.snapshots.label, pool.snapshots.lock_days


def _can(pool: Pool) -> bool:
    """Whether a pool's files leave a trace of every write."""
    return pool.protocol in FILE_PROTOCOLS and pool.type == "dir" and bool(pool.target) and pool.snapshots.reuse > 0


def _may(request: Request) -> bool:
    """Whether a request can be served by an earlier snapshot: all that the VM has in the pool is known and plain."""
    top = os.path.normpath(request.pool.target) + "/"
    return _can(request.pool) and bool(request.images) and all(
        path.startswith(top) and os.path.normpath(path) == path for path in request.images
    )
