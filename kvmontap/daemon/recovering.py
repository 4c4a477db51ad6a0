"""Puts recovery together from its parts: systemd, libvirt, the gate's memory and the keeper that calls it."""

from typing import Callable, Tuple

from kvmontap import service
from kvmontap.daemon.keeper import Use
from kvmontap.gate import report
from kvmontap.gate.configured import Configured
from kvmontap.gate.memory import Refusals
from kvmontap.gate.pipeline import Pipeline
from kvmontap.gate.report import Line
from kvmontap.host.changes import Changes
from kvmontap.pools.libvirtd import Listener, PoolError
from kvmontap.recovery import machines, pools
from kvmontap.recovery.lanes import Lane
from kvmontap.recovery.manager import Manager
from kvmontap.recovery.reachable import answers
from kvmontap.recovery.session import Session
from kvmontap.recovery.storage import Storage


class Recovery:
    """start() it once signals are taken as they are meant; `uses` are the keeper's."""

    def __init__(self, current: Callable[[], Configured], line: Pipeline, changes: Changes, run_dir: str, conf: str) -> None:
        self._changes = changes
        self._refusals = line.refusals or Refusals(run_dir)
        listener = Listener(self._pool_happened, self._machine_happened, lambda: None)
        wanted = lambda: bool(current().config.pools)  # noqa: E731
        self._session = Session(self._refusals.running, wanted, listener, self._connected, fault)
        there, connection = self._session.there, self._session.connection
        # One thread for pools and one for VMs: the start of a VM waits for its hook, and for the array's snapshot.
        self._pools = pools.Pools(
            pools.Edges(current, there, connection, Lane("kvmontap-pools", fault), answers, tell, conf=conf), run_dir
        )
        self._machines = machines.Machines(
            machines.Edges(current, there, connection, Lane("kvmontap-vms", fault), line.doctor.hits, self._pools.waiting, tell),
            self._refusals,
        )
        # In this order: a VM waits for its pool, and that for its mount.
        self.uses: Tuple[Use, ...] = (Storage(Manager(), answers, tell).use, self._pools.use, self._machines.use)

    def start(self) -> None:
        """Connects to libvirt when it runs."""
        self._session.start()

    def _connected(self, daemon: str) -> None:
        self._refusals.greet(daemon)
        self._pools.connected()
        self._machines.connected()
        self._changes.call()

    def _pool_happened(self, name: str, active: bool) -> None:
        self._pools.happened(name, active)

    def _machine_happened(self, uuid: str, name: str, what: str) -> None:
        if self._machines.happened(uuid, name, what):
            self._changes.call()


def tell(line: Line) -> None:
    """One line of recovery."""
    service.log(line.priority, line.message, **line.fields)


def fault(error: BaseException) -> None:
    """What libvirt did not do, or a fault of our own; it is tried again."""
    if isinstance(error, PoolError):
        service.log(service.WARNING, str(error), MESSAGE_ID=report.LEFT)
        return
    said = f"recovery failed, by a fault of kvmontap itself: {type(error).__name__}: {error}"
    service.log(service.ERR, said, MESSAGE_ID=report.LEFT, KVMONTAP_CODE="gate.error")
