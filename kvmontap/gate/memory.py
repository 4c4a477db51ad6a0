"""What the gate remembers between two events: VMs that are arriving, VMs that it kept libvirt from autostarting, and since when something
is wrong.

Arrivals and refusals are files, so that a daemon and a hook without one know the same.  Edge: touches its own directory only.
"""

import os
import re
import threading
import time
from typing import Dict, Iterable, List, NamedTuple, Tuple

from kvmontap.model import Finding

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# libvirt runs `prepare` right after `migrate`, within the same call.  An offline migration runs `migrate` alone: the
# mark it leaves must be old by the time somebody starts that VM here.
FRESH = 30.0


class Arrivals:
    """VMs for which `migrate` was answered with yes and whose `prepare` of the same migration is still to come."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def note(self, uuid: str) -> None:
        """Remember that the VM `uuid` is arriving.  Failing to costs one snapshot too many, so it is not told."""
        if not UUID.fullmatch(uuid):
            return
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            self._forget_old()
            with open(os.path.join(self.directory, uuid), "w", encoding="ascii") as mark:
                mark.write(repr(time.monotonic()))
        except OSError:
            return

    def claim(self, uuid: str) -> bool:
        """Whether this `prepare` belongs to a migration that `migrate` has dealt with; true once for each."""
        if not UUID.fullmatch(uuid):
            return False
        path = os.path.join(self.directory, uuid)
        fresh = self._is_fresh(path)
        try:
            os.unlink(path)
        except OSError:
            return False  # somebody else has claimed it
        return fresh

    @staticmethod
    def _is_fresh(path: str) -> bool:
        try:
            with open(path, encoding="ascii") as mark:
                age = time.monotonic() - float(mark.read(64))
        except (OSError, ValueError):
            return False
        return 0.0 <= age <= FRESH

    def _forget_old(self) -> None:
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            if not self._is_fresh(path):
                os.unlink(path)


class Refused(NamedTuple):
    """A VM that libvirt wanted to autostart and we refused."""

    uuid: str
    name: str
    pools: Tuple[str, ...]  # that were not fit for it
    order: float = 0.0  # when: libvirt starts one after the other
    others: int = 0  # failures of later starts that were not ours


class Refusals:
    """The VMs of this boot whose autostart was refused and that nobody has started since.

    libvirt autostarts its VMs before it accepts a client.  So a start that is refused after somebody was let in is one that a user has
    asked for, and has been told about: it is not noted."""

    def __init__(self, run_dir: str, daemons: str = "/run") -> None:
        """`daemons`: where libvirt's daemons have their pid files."""
        self._directory = os.path.join(run_dir, "refused")
        self._greeted = os.path.join(run_dir, "greeted")
        self._daemons = daemons

    def running(self) -> str:
        """The daemon of libvirt that runs VMs now, "" for none: another text for each life of it."""
        for name in ("libvirtd.pid", "virtqemud.pid"):
            path = os.path.join(self._daemons, name)
            try:
                with open(path, encoding="ascii") as stream:
                    pid = int(stream.read(32))
                    seen = os.fstat(stream.fileno())
                os.kill(pid, 0)
            except PermissionError:  # somebody else's, so it runs
                pass
            except (OSError, ValueError):
                continue
            return f"{name} {pid} {seen.st_ino} {seen.st_mtime_ns}"
        return ""

    def greet(self, daemon: str) -> None:
        """`daemon`, as running() told it, has let a client in: its autostart is over."""
        write(self._greeted, daemon)

    def note(self, uuid: str, name: str, pools: Iterable[str]) -> None:
        """The start of a VM was refused; remembered where it was libvirt's own."""
        daemon = self.running()
        if not UUID.fullmatch(uuid) or not daemon or read(self._greeted) == daemon:
            return
        self.keep(Refused(uuid, name, tuple(pools), time.monotonic()))

    def keep(self, refused: Refused) -> None:
        """Remember this; what cannot be written is lost with the process."""
        lines = [repr(refused.order), str(refused.others), refused.name, *refused.pools]
        write(os.path.join(self._directory, refused.uuid), "\n".join(lines))

    def forget(self, uuid: str) -> None:
        """The VM was started, or is gone, or is given up."""
        if UUID.fullmatch(uuid):
            try:
                os.unlink(os.path.join(self._directory, uuid))
            except OSError:
                pass

    def noted(self) -> Tuple[Refused, ...]:
        """All of them, in the order in which libvirt wanted to start them."""
        found: List[Refused] = []
        try:
            names = os.listdir(self._directory)
        except OSError:
            return ()
        for name in names:
            lines = read(os.path.join(self._directory, name)).split("\n")
            try:
                found.append(Refused(name, lines[2], tuple(lines[3:]), float(lines[0]), int(lines[1])))
            except (IndexError, ValueError):
                continue
        return tuple(sorted(found, key=lambda one: one.order))


def write(path: str, text: str) -> None:
    """Write a small file, whole or not at all; what cannot be written is lost with the process."""
    temporary = f"{path}.{os.getpid()}-{threading.get_ident()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            stream.write(text)
        os.rename(temporary, path)
    except OSError:
        return


def read(path: str) -> str:
    """What write() wrote, "" where there is nothing."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            return stream.read()
    except OSError:
        return ""


class FirstSeen:
    """Since when each pool has had each finding, as far as anybody asked."""

    def __init__(self) -> None:
        self._seen: Dict[str, Dict[str, float]] = {}
        self._lock = threading.Lock()

    def fill(self, pool: str, findings: Iterable[Finding], now: float) -> Tuple[Finding, ...]:
        """`findings` with `since` set (epoch seconds) where it has been seen before; a code no longer among them is forgotten."""
        filled = []
        with self._lock:
            before = self._seen.get(pool, {})
            after: Dict[str, float] = {}
            for finding in findings:
                since = before.get(finding.code)
                after[finding.code] = now if since is None else since
                filled.append(finding if finding.since is not None else finding._replace(since=since))
            self._seen[pool] = after
        return tuple(filled)
