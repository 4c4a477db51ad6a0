"""Asks the arrays what the doctor judges.  An edge: reads only; what the account may not read is said, not an error."""

import time
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

from kvmontap.array import ArrayError, Client, Clients, VolumeRef, look, maps, standing
from kvmontap.array.answers import AnswerError, one_line, text
from kvmontap.array.luns import Held, holder
from kvmontap.doctor import onarray
from kvmontap.doctor.advice import Advice
from kvmontap.host import route
from kvmontap.host.identity import Identity, names
from kvmontap.model import DEGRADED, HEALTHS, NFS, NVME, Config, Pool

SIDE = onarray.SIDE
_PATIENCE = 60.0  # seconds for everything that one array is asked
_SETTINGS = ("name", "uuid", "svm.name", "guarantee.type", "autosize.mode", "space.snapshot.autodelete_enabled",
             "space.snapshot.reserve_percent", "snapshot_directory_access_enabled", "nas.security_style",
             "nas.export_policy.name")  # fmt: skip


class Asked(NamedTuple):
    advice: Tuple[Advice, ...]
    skipped: Tuple[str, ...]  # questions that the account may not put, a sentence each


def ask(config: Config, identity: Identity) -> Asked:
    """What is to be said of every array that stands behind a pool."""
    advice: List[Advice] = []
    skipped: List[str] = []
    clients = Clients()
    try:
        for name, array in config.arrays.items():
            pools = [pool for pool in config.pools.values() if pool.ontap == name]
            if pools:
                Inquiry(clients.get(array), pools, identity, advice, skipped).all()
    finally:
        clients.close()
    return Asked(tuple(advice), tuple(dict.fromkeys(skipped)))


class Inquiry:
    """The questions to one array; the answers go into the two lists."""

    def __init__(self, client: Client, pools: Sequence[Pool], identity: Identity, advice: List[Advice], skipped: List[str]) -> None:
        self.client, self.pools, self.identity, self.advice, self.skipped = client, pools, identity, advice, skipped
        self.deadline = time.monotonic() + _PATIENCE

    def all(self) -> None:
        names = tuple(pool.name for pool in self.pools)
        if not self._try("its version", lambda: onarray.version(self.client.record("Cluster", ("version",), self._until()), self.pools),
                         names):
            return
        ahead = self.client.clock()
        if ahead is not None:
            self.advice += onarray.clock(ahead - time.time(), self.client.array.name)
        standings = {self.client.array.name: standing.ask(self.client, self.pools, self._until())}
        self.skipped += standings[self.client.array.name].skipped
        for pool in self.pools:
            seen = look(self.client, pool, self._until())
            self.skipped += seen.skipped
            for found in (*seen.findings, *standing.judge(pool, seen, standings)):
                if HEALTHS.index(found.health) >= HEALTHS.index(DEGRADED):
                    self.advice.append(Advice(SIDE, "array.finding", f"{found.text} [{found.code}]", found.fix, (pool.name,)))
            if seen.ref is not None:
                self.pool(pool, seen.ref)

    def _until(self) -> float:
        return self.client.limit(self.deadline)

    def pool(self, pool: Pool, ref: VolumeRef) -> None:
        """What goes for one pool: its volume's settings, and whether this host is let in."""
        records = []
        self._try(f"the settings of volume {ref.name}", lambda: self._settings(pool, ref, records), (pool.name,))
        if pool.protocol == NFS and records:
            policy = text(records[0], "nas.export_policy.name")
            self._try(f"export policy {policy}", lambda: self._export(pool, ref, policy), (pool.name,))
        if pool.wwid or pool.namespace:
            self._try(f"the maps of pool {pool.name}", lambda: self._maps(pool, ref), (pool.name,))

    def _settings(self, pool: Pool, ref: VolumeRef, records: list) -> Iterator[Advice]:
        records.extend(self.client.records("Volume", _SETTINGS, self._until(), uuid=ref.uuid))
        for record in records[:1]:
            yield from onarray.volume(record, pool)

    def _export(self, pool: Pool, ref: VolumeRef, policy: str) -> Iterator[Advice]:
        filters = {"svm.uuid": ref.svm_uuid} if ref.svm_uuid else {"svm.name": ref.svm}
        for record in self.client.records("ExportPolicy", ("name", "rules", "svm.name"), self._until(), name=policy,
                                          **filters) if policy else ():
            yield from onarray.export(record, pool, route.own_addresses(pool.server), ref.name)

    def _maps(self, pool: Pool, ref: VolumeRef) -> Iterator[Advice]:
        held = holder(self.client, pool, {"svm.name": ref.svm}, self._until())
        if not isinstance(held, Held) or not held.uuid:
            return
        groups = maps.groups(self.client, pool, ref.svm, held.uuid, self._until())
        yield from onarray.maps(groups, names(self.identity, pool.protocol), pool,
                                f"{'namespace' if pool.protocol in NVME else 'LUN'} {held.name}", ref.svm)

    def _try(self, what: str, question: Callable[[], Iterator[Advice]], pools: Tuple[str, ...]) -> bool:
        """False where the array did not answer at all."""
        try:
            self.advice += list(question())
        except ArrayError as error:
            if error.finding.code == "array.rights":
                self.skipped.append(f"{what}: {error.finding.text}")
                return True
            self.advice.append(Advice(SIDE, "array.silent", f"{what}: {error.finding.text}", error.finding.fix, pools))
            return False
        except AnswerError as error:
            self.advice.append(Advice(SIDE, "array.silent", f"{what}: {one_line(str(error))}", "kvmontap status", pools))
        return True
