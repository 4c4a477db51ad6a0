"""VMs: those whose autostart the gate refused are started, those that libvirt paused for an I/O error go on, once their storage is well.

What is to be started is noted by the gate itself (kvmontap.gate.memory.Refusals), in files, so that neither a hook without a daemon nor a
daemon that is restarted forgets it.  What is paused for an I/O error is libvirt's to know.
"""

import time
from typing import Callable, Dict, NamedTuple, Optional, Set, Tuple

from kvmontap.domain import DomainError, parse
from kvmontap.gate import report
from kvmontap.gate.configured import Configured
from kvmontap.gate.memory import Refusals, Refused
from kvmontap.gate.report import Line
from kvmontap.gate.verdict import one_line
from kvmontap.model import Domain, PoolHealth
from kvmontap.pools.libvirtd import PAUSED_FOR_IO, STARTED, UNDEFINED, Libvirt, PoolError
from kvmontap.recovery.decide import Backoff, by_the_gate, fit, gives_up, sound, still_wanted, too_late
from kvmontap.recovery.lanes import Lane

FIRST, MOST = 10.0, 300.0  # seconds between two tries
WAITING = 20.0  # seconds between two looks at storage that a VM waits for; an event comes at once
OLD = 3600.0  # after so long without an error a VM's earlier ones count no more


class Edges(NamedTuple):
    """What Machines works with."""

    current: Callable[[], Configured]
    there: Callable[[], bool]  # whether there is a connection
    connection: Callable[[], Libvirt]
    lane: Lane
    hits: Callable[[Domain, Configured], Tuple]  # as kvmontap.gate.health.Doctor has it
    waiting: Callable[[str], bool]  # whether a pool is still to be started in libvirt
    tell: Callable[[Line], None]
    clock: Callable[[], float] = time.monotonic


class Paused(NamedTuple):
    """A VM that an I/O error has stopped."""

    uuid: str
    name: str
    pools: Optional[Tuple[str, ...]] = None  # of ours, that it lies on; None = not known yet


class Machines:
    """use() belongs to the keeper's thread, happened() to libvirt's, everything else to the lane."""

    def __init__(self, edges: Edges, refusals: Refusals) -> None:
        self._edges = edges
        self._refusals = refusals
        self._paused: Dict[str, Paused] = {}
        self._tried: Dict[str, Backoff] = {}

    def connected(self) -> None:
        """libvirt is there (again)."""
        self._edges.lane.do("list", self._list)

    def happened(self, uuid: str, name: str, what: str) -> bool:
        """Something became of a VM; whether it is for the keeper to look."""
        if what == PAUSED_FOR_IO:
            self._paused[uuid] = Paused(uuid, name)
            return True
        self._paused.pop(uuid, None)
        if what in (STARTED, UNDEFINED):
            self._refusals.forget(uuid)
        return False

    def use(self, found: Configured, healths: Dict[str, PoolHealth], _: Set[str]) -> Optional[float]:
        """As kvmontap.daemon.keeper wants it."""
        if not self._edges.there():
            return None
        now = self._edges.clock()
        pools = found.config.pools
        self._tried = {uuid: tried for uuid, tried in self._tried.items() if now - tried.due < OLD}
        dues = []
        for one in self._refusals.noted():
            if too_late((pools.get(name) for name in one.pools), now - one.order):
                self._leave(one)
            elif all(fit(healths.get(name), pools.get(name)) and not self._edges.waiting(name) for name in one.pools):
                dues.append(self._when(one.uuid, now, ("start", one.uuid), lambda one=one: self._start(one)))
            else:
                dues.append(WAITING)
        for paused in tuple(self._paused.values()):
            if paused.pools is None:
                self._edges.lane.do(("look", paused.uuid), lambda paused=paused: self._look(paused))
                dues.append(0.0)
            elif all(sound(healths.get(name)) for name in paused.pools if name in pools):
                dues.append(self._when(paused.uuid, now, ("resume", paused.uuid), lambda paused=paused: self._resume(paused)))
            else:
                dues.append(WAITING)
        return min(dues, default=None)

    def _leave(self, refused: Refused) -> None:
        self._refusals.forget(refused.uuid)
        said = (f"VM {refused.name} is no longer started by itself: it may run on another host by now, and no lock on its storage "
                f"would tell; if it does not: virsh start {refused.name}")  # fmt: skip
        fields = {"MESSAGE_ID": report.LEFT, "KVMONTAP_DOMAIN": refused.name, "KVMONTAP_POOL": ", ".join(refused.pools)}
        self._edges.tell(Line(report.WARNING, said, fields))

    def _when(self, uuid: str, now: float, key: Tuple[str, str], job: Callable[[], None]) -> float:
        """Has `job` done where its time has come; seconds until the next look."""
        due = self._tried.get(uuid, Backoff()).due
        if due <= now:
            self._edges.lane.do(key, job)
            return FIRST
        return due - now

    # In the lane.

    def _list(self) -> None:
        for guest in self._edges.connection().paused_for_io():
            self._paused.setdefault(guest.uuid, Paused(guest.uuid, guest.name))

    def _look(self, paused: Paused) -> None:
        """Finds out which pools of ours a paused VM lies on; one on none is none of our business."""
        found = self._edges.current()
        try:
            domain = parse(self._edges.connection().running_xml(paused.uuid).encode("utf-8", "surrogateescape"))
        except DomainError:
            self._paused.pop(paused.uuid, None)
            return
        names = tuple(dict.fromkeys(hit.pool for hit in self._edges.hits(domain, found)))
        if not names:
            self._paused.pop(paused.uuid, None)
        elif paused.uuid in self._paused:
            self._paused[paused.uuid] = paused._replace(pools=names)

    def _resume(self, paused: Paused) -> None:
        connection = self._edges.connection()
        guest = connection.guest(paused.uuid)
        if guest is None or not guest.paused_for_io:
            self._paused.pop(paused.uuid, None)
            return
        self._again(paused.uuid)
        fields = {"KVMONTAP_DOMAIN": guest.name, "KVMONTAP_POOL": ", ".join(paused.pools or ())}
        try:
            connection.resume_machine(guest.uuid, guest.name)
        except PoolError as error:
            self._edges.tell(Line(report.WARNING, f"VM {guest.name}: {error}", {"MESSAGE_ID": report.LEFT, **fields}))
            return
        said = f"VM {guest.name} goes on: its storage is well again after the I/O error for which libvirt had paused it"
        self._edges.tell(Line(report.NOTICE, said, {"MESSAGE_ID": report.VM_RESUMED, **fields}))

    def _start(self, refused: Refused) -> None:
        connection = self._edges.connection()
        guest = connection.guest(refused.uuid)
        if guest is None or not still_wanted(guest):
            self._refusals.forget(refused.uuid)
            return
        fields = {"KVMONTAP_DOMAIN": guest.name, "KVMONTAP_POOL": ", ".join(refused.pools)}
        try:
            connection.start_machine(guest.uuid, guest.name)
        except PoolError as error:
            self._failed(refused, str(error), fields)
            return
        self._refusals.forget(refused.uuid)
        said = f"VM {guest.name} is started: its storage, for which its autostart was refused, is well again"
        self._edges.tell(Line(report.NOTICE, said, {"MESSAGE_ID": report.VM_STARTED, **fields}))

    def _failed(self, refused: Refused, error: str, fields: Dict[str, str]) -> None:
        """A start that failed: the gate's refusal is in the journal already and is not the last word, another error is told."""
        self._again(refused.uuid)
        if by_the_gate(error):
            return
        # The gate let it pass, and has forgotten it.
        last = gives_up(error, refused.others)
        (self._refusals.forget(refused.uuid) if last else self._refusals.keep(refused._replace(others=refused.others + 1)))
        after = "; it is not tried again, start it by hand" if last else ""
        self._edges.tell(Line(report.WARNING, one_line(f"VM {refused.name}: {error}") + after, {"MESSAGE_ID": report.LEFT, **fields}))

    def _again(self, uuid: str) -> None:
        self._tried[uuid] = self._tried.get(uuid, Backoff()).again(self._edges.clock(), FIRST, MOST)
