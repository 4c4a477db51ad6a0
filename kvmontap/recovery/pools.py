"""libvirt's pools: none is active without its storage, and those that had to wait for it are started when it is there.

hooks/storage decides what must not be active, as any administrator can try by hand.  A pool that somebody stopped while its storage was
there is theirs, and stays as it is until somebody starts it.
"""

import os
import subprocess
import threading
import time
from typing import Callable, Dict, NamedTuple, Optional, Set

from kvmontap.gate import memory, report
from kvmontap.gate.configured import Configured
from kvmontap.gate.report import Line
from kvmontap.model import Pool, PoolHealth
from kvmontap.pools import xml
from kvmontap.pools.apply import apply
from kvmontap.pools.libvirtd import Libvirt, PoolError
from kvmontap.pools.plan import ABSENT, ITSELF, SILENT
from kvmontap.pools.storagehook import concerned
from kvmontap.recovery.decide import Backoff
from kvmontap.recovery.lanes import Lane

HOOK = "/etc/libvirt/hooks/storage.d/50-kvmontap"
HOOK_SECONDS = 60.0  # it looks for five, or as long as an automount takes
FIRST, MOST = 10.0, 300.0  # seconds between two tries
TRIES = 5  # in vain, before a pool is told about and left


class Edges(NamedTuple):
    """What Pools works with."""

    current: Callable[[], Configured]
    there: Callable[[], bool]  # whether there is a connection
    connection: Callable[[], Libvirt]
    lane: Lane
    answers: Callable[[Pool], bool]
    tell: Callable[[Line], None]
    hook: str = HOOK
    conf: str = ""  # the configuration that the hook reads, "" = its own
    clock: Callable[[], float] = time.monotonic


class Pools:
    """use() belongs to the keeper's thread, happened() to libvirt's, everything else to the lane."""

    def __init__(self, edges: Edges, run_dir: str) -> None:
        self._edges = edges
        self._lock = threading.Lock()
        self._away_file, self._left_file = (os.path.join(run_dir, name) for name in ("pools-away", "pools-left"))
        self._away: Set[str] = set(memory.read(self._away_file).split())  # had no storage, and were not started since it is back
        self._left: Set[str] = set(memory.read(self._left_file).split())  # were stopped by somebody while their storage was there
        self._healths: Dict[str, PoolHealth] = {}
        self._tried: Dict[str, Backoff] = {}
        self._ours: Set[str] = set()  # those that we are stopping
        self._others: Dict[str, str] = {}  # of other names, that lie on a pool of ours and that we stopped: the name of that

    def waiting(self, name: str) -> bool:
        """Whether a pool is still to be started in libvirt."""
        return name in self._away and name not in self._left

    def connected(self) -> None:
        """libvirt is there (again): pools that it has started meanwhile are looked at."""
        self._edges.lane.do("list", self._list)

    def happened(self, name: str, active: bool) -> None:
        """A pool was started or stopped."""
        if active:
            self._note(self._left, name, False)
            self._edges.lane.do(("judge", name), lambda: self._judge(name))
        elif name in self._ours:
            self._ours.discard(name)
        elif not self._is_away(name):
            self._edges.lane.do(("left", name), lambda: self._was_left(name))

    def use(self, found: Configured, healths: Dict[str, PoolHealth], _: Set[str]) -> Optional[float]:
        """As kvmontap.daemon.keeper wants it."""
        self._healths = healths
        now = self._edges.clock()
        dues = []
        for pool in found.config.pools.values():
            away = self._is_away(pool.name)
            if away:
                self._note(self._away, pool.name, True)
            if not self.waiting(pool.name) or (away and pool.type not in ITSELF) or not self._edges.there():
                continue
            due = self._tried.get(pool.name, Backoff()).due
            if due <= now:
                self._edges.lane.do(("start", pool.name), lambda pool=pool: self._start(pool))
                due = now + FIRST
            dues.append(due - now)
        return min(dues, default=None)

    def _is_away(self, name: str) -> bool:
        health = self._healths.get(name)
        return health is not None and any(finding.code in ABSENT + SILENT for finding in health.findings)

    def _note(self, names: Set[str], name: str, flag: bool) -> None:
        with self._lock:
            if flag != (name in names):
                (names.add if flag else names.discard)(name)
                memory.write(self._away_file if names is self._away else self._left_file, "\n".join(sorted(names)))

    # In the lane.

    def _list(self) -> None:
        connection = self._edges.connection()
        ours = self._edges.current().config.pools.values()
        for name, state in connection.pools().items():
            if state.active and concerned(xml.read(state.xml), ours) is not None:
                self._judge(name)

    def _judge(self, name: str) -> None:
        """Has the hook decide about an active pool, and stops it where it says so."""
        connection = self._edges.connection()
        text = connection.pool_now(name)
        pool = concerned(xml.read(text), self._edges.current().config.pools.values())
        if pool is None:
            return
        status, said = self._ask_hook(name, text)
        if not status and not said:
            self._note(self._away, name, self._is_away(name))
            return
        fields = {"MESSAGE_ID": report.POOL_STOPPED, "KVMONTAP_POOL": pool.name}
        if status != 1:
            self._edges.tell(Line(report.WARNING, said, {**fields, "MESSAGE_ID": report.LEFT}))
            return
        self._ours.add(name)
        try:
            connection.stop(name)
        except PoolError:
            self._ours.discard(name)
            raise
        self._note(self._away, pool.name, True)
        if name != pool.name:
            self._others[name] = pool.name
        self._edges.tell(Line(report.WARNING, f"libvirt's pool {name} is stopped; {said}", fields))

    def _was_left(self, name: str) -> None:
        """A pool was stopped whose storage was there a moment ago: by somebody, or by libvirt because it could not read it any more."""
        pool = self._edges.current().config.pools.get(name)
        if pool is None:
            return
        lost = pool.type in ITSELF and not self._edges.answers(pool)
        self._note(self._away if lost else self._left, name, True)

    def _ask_hook(self, name: str, text: str) -> "tuple[int, str]":
        environment = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        if self._edges.conf:
            environment["KVMONTAP_CONF"] = self._edges.conf
        try:
            done = subprocess.run((self._edges.hook, name, "started", "begin", "-"), input=text.encode("utf-8", "surrogateescape"),
                                  capture_output=True, timeout=HOOK_SECONDS, check=False, env=environment)  # fmt: skip
        except subprocess.TimeoutExpired:
            return 0, f"{self._edges.hook} has not said within {HOOK_SECONDS:.0f} s whether pool {name} may be active"
        except OSError as error:
            return 0, f"{self._edges.hook} cannot be run, so pool {name} is not checked: {error.strerror}"
        return done.returncode, " ".join(done.stderr.decode("utf-8", "replace").split())

    def _start(self, pool: Pool) -> None:
        """Starts a pool whose storage is back, as the configuration and libvirt's own autostart flag have it."""
        connection = self._edges.connection()
        if connection.pool(pool.name) is None:  # kvmontap-pools.service defines it, or somebody took it away
            self._note(self._away, pool.name, False)
            return
        if pool.type in ITSELF and not self._edges.answers(pool):
            self._again(pool.name)
            return
        config = self._edges.current().config
        changes = apply(config._replace(pools={pool.name: pool}), connection, lambda _: ())
        wrong = [change for change in changes if change.what == "error"]
        started = any(change.what == "start" for change in changes)
        if wrong and self._again(pool.name) < TRIES:
            return
        self._tried.pop(pool.name, None)
        self._note(self._away, pool.name, False)
        fields = {"MESSAGE_ID": report.POOL_STARTED, "KVMONTAP_POOL": pool.name}
        if started:
            self._edges.tell(Line(report.NOTICE, f"pool {pool.name} is started in libvirt: its storage is back", fields))
        for name in [name for name, ours in self._others.items() if ours == pool.name]:
            del self._others[name]
            state = connection.pool(name)
            if state is not None and not state.active:
                connection.start(name)
        for change in wrong:
            self._edges.tell(Line(report.WARNING, str(change), {**fields, "MESSAGE_ID": report.LEFT}))

    def _again(self, name: str) -> int:
        self._tried[name] = self._tried.get(name, Backoff()).again(self._edges.clock(), FIRST, MOST)
        return self._tried[name].tries
