"""Writes the metrics where node_exporter reads them, and asks the arrays for the snapshots.  An edge."""

import os
import threading
import time
from typing import Callable, Dict, Optional, Set, Tuple

from kvmontap.array import ArrayError, Clients, look
from kvmontap.array.stored import Stored, stored
from kvmontap.gate.configured import Configured
from kvmontap.metrics.counting import Counters
from kvmontap.metrics.exposition import text
from kvmontap.metrics.families import Kept, Known, families
from kvmontap.model import PoolHealth
from kvmontap.snapshots.naming import told

NAME = "kvmontap.prom"
SNAPSHOTS_EVERY = 900.0  # seconds between two questions about snapshots: a list of a thousand is no small answer
_PATIENCE = 60.0  # seconds for one volume


class Textfile:
    """The file of one daemon; use() is what kvmontap.daemon.keeper calls."""

    def __init__(self, counters: Counters, clients: Clients, complain: Callable[[str], None]) -> None:
        self._counters = counters
        self._clients = clients
        self._complain = complain
        self._complained = ""
        self._kept: Dict[str, Kept] = {}
        self._asked = float("-inf")
        self._asking: Optional[threading.Thread] = None

    def use(self, found: Configured, healths: Dict[str, PoolHealth], _: Set[str]) -> Optional[float]:
        """Writes what is known now; says once where it cannot."""
        directory = found.config.metrics.textfile_directory
        if not directory:
            return None
        self._snapshots(found)
        kept = {pool: one for pool, one in self._kept.items() if pool in found.config.pools}
        known = Known(time.time(), len(found.problems), healths, self._counters.counted(), kept)
        try:
            write(directory, text(families(known)))
            self._complained = ""
        except OSError as error:
            said = f"the metrics cannot be written to {directory}: {error.strerror}"
            if said != self._complained:
                self._complain(said)
            self._complained = said
        return None

    def _snapshots(self, found: Configured) -> None:
        """Has the arrays asked now and then, beside everything else: nobody waits for it."""
        busy = self._asking is not None and self._asking.is_alive()
        if busy or time.monotonic() - self._asked < SNAPSHOTS_EVERY:
            return
        self._asked = time.monotonic()
        self._asking = threading.Thread(target=self._ask, args=(found,), name="kvmontap-metrics", daemon=True)
        self._asking.start()

    def _ask(self, found: Configured) -> None:
        self._kept = kept(found, self._clients)


def kept(found: Configured, clients: Clients) -> Dict[str, Kept]:
    """The snapshots of each pool's volume, of the arrays that tell them."""
    made: Dict[str, Kept] = {}
    for pool in found.config.pools.values():
        array = found.config.arrays.get(pool.ontap)
        if array is None:
            continue
        client, deadline = clients.get(array), time.monotonic() + _PATIENCE
        ref = look(client, pool, deadline).ref
        try:
            made.update({pool.name: counted(stored(client, ref, deadline))} if ref is not None else {})
        except ArrayError:
            continue  # which the pool's health tells
    return made


def counted(every: Tuple[Stored, ...]) -> Kept:
    """What the metrics tell of a volume's snapshots.  Pure."""
    ours = [(said.reason, one) for said, one in ((told(one.name, one.comment), one) for one in every) if said is not None]
    counts: Dict[str, int] = {}
    for reason, _ in ours:
        counts[reason] = counts.get(reason, 0) + 1
    times = [one.created for _, one in ours if one.created is not None]
    return Kept(counts, max(times, default=None), min(times, default=None), len(every))


def write(directory: str, content: str) -> None:
    """The file, whole or not at all, readable by node_exporter's own account; raises OSError."""
    temporary = os.path.join(directory, f".{NAME}.{os.urandom(6).hex()}")  # the collector reads *.prom only
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
            os.fchmod(descriptor, 0o644)  # whatever the umask
        os.rename(temporary, os.path.join(directory, NAME))
    except BaseException:
        os.unlink(temporary)
        raise
