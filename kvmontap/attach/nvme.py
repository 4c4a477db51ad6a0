"""NVMe over TCP and RDMA: a controller for every portal of a pool's subsystems, and the end of those that we connected."""

import json
import os
from typing import Dict, List, NamedTuple, Sequence, Set, Tuple

from kvmontap.attach import inuse, ledger, nvmekeys
from kvmontap.attach.call import AttachError, Done, call, say
from kvmontap.attach.portals import Portal, answering
from kvmontap.host import san
from kvmontap.host.address import plain
from kvmontap.model import Pool

KIND = "nvme"
NVME = "/usr/sbin/nvme"
MODULES = {"nvme-tcp": "nvme-tcp", "nvme-rdma": "nvme-rdma", "nvme-fc": "nvme-fc"}
# Where a portal names no port: discovery has one of its own by the standard, and ONTAP listens there; Linux's own target only at 4420.
DISCOVERY_PORTS = (8009, 4420)
SECONDS = 30.0  # for one call


class Way(NamedTuple):
    """One controller to be: a subsystem at an address."""

    subsystem: str  # NQN
    address: str
    port: str

    @property
    def key(self) -> str:
        return f"{self.subsystem} {san.endpoint(self.address, self.port)}"


def start(pool: Pool, deadline: float) -> None:
    """Controllers to every portal that answers; AttachError where the pool has none afterwards."""
    if not os.path.exists(NVME):
        raise AttachError("nvme is not installed; install nvme-cli")
    keys = nvmekeys.read(pool)
    transport = pool.protocol.partition("-")[2]
    done = call(("/usr/sbin/modprobe", MODULES[pool.protocol]), SECONDS)
    if done.code:
        raise AttachError(f"the kernel module {MODULES[pool.protocol]} cannot be loaded: {done.why}")
    portals = _portals(pool, transport, deadline)
    ways = _ways(pool, portals, transport)
    problems: List[str] = []
    with ledger.opened(KIND) as book:
        there = {_key(one) for one in san.controllers()}
        for way in ways:
            made = False
            if way.key not in there:
                done = _connect(way, pool, transport, keys)
                if done.code and way.key not in {_key(one) for one in san.controllers()}:
                    problems.append(f"{san.endpoint(way.address, way.port)} ({way.subsystem}): {_refused(done, pool)}")
                    continue
                made = not done.code
            book.use(way.key, pool.name, made)
    if len(problems) == len(ways):
        raise AttachError(f"no connection: {'; '.join(problems)}")
    for problem in problems:
        say(f"pool {pool.name}: no connection to {problem}")


def _connect(way: Way, pool: Pool, transport: str, keys: nvmekeys.Keys) -> Done:
    """One controller; a key goes by a file and not by an argument."""
    options = ["-l", str(pool.ctrl_loss_tmo)] + (["-i", str(pool.io_queues)] if pool.io_queues else [])
    if not any(keys):
        return call([NVME, "connect", "-t", transport, "-a", way.address, "-s", way.port, "-n", way.subsystem, *options], SECONDS)
    # What the file says of ctrl_loss_tmo gives way to connect-all's own default; its arguments do not.
    with nvmekeys.written(nvmekeys.document(keys, transport, way.address, way.port, way.subsystem)) as path:
        done = call([NVME, "connect-all", "-J", path, *options], SECONDS)
    # It exits with 0 for what it could not connect too.
    there = [one.name for one in san.controllers() if _key(one) == way.key]
    for name in there:
        nvmekeys.hide(name)
    return done._replace(code=0 if there else done.code or 1)


def _refused(done: Done, pool: Pool) -> str:
    """nvme's own last words; those about keys are misleading (a wrong secret of ours is told as a missing one of TLS)."""
    if pool.dhchap_file:
        return f"{done.why}; if it refuses the login, check key= and ctrl-key= in {pool.dhchap_file} and this host on the subsystem"
    if pool.tls_key_file:
        return f"{done.why}; check that tlshd runs, and {pool.tls_key_file} against the key of this host on the subsystem"
    return done.why


def stop(name: str) -> None:
    """Disconnect the controllers that only this pool used and that we connected; AttachError where their namespaces are in use."""
    with ledger.opened(KIND) as book:
        keys = set(book.only(name))
        ours = [one for one in san.controllers() if _key(one) in keys]
        subsystems = {one.subsystem for one in ours}
        busy = inuse.disks(san.namespaces(subsystems))
        if busy:
            raise AttachError(f"the NVMe connections of pool {name} stay, because {busy}; stop what uses it, then run: "
                              f"systemctl start kvmontap-nvme@{name} && systemctl stop kvmontap-nvme@{name}")
        problems = []
        for one in ours:
            done = call((NVME, "disconnect", "-d", one.name), SECONDS)
            if one.name in {left.name for left in san.controllers() if _key(left) == _key(one)}:
                problems.append(f"{one.portal}: {done.why}")
                keys.discard(_key(one))
        book.release(name, keys)
    if problems:
        raise AttachError(f"disconnecting failed: {'; '.join(problems)}")


def found(pool: Pool) -> Tuple[str, ...]:
    """The UUIDs of the namespaces that this host has."""
    return san.namespace_uuids()


def _key(one: san.Controller) -> str:
    return f"{one.subsystem} {one.portal}"


def _portals(pool: Pool, transport: str, deadline: float) -> Sequence[Portal]:
    if transport != "tcp":  # nothing that could be asked
        return [Portal(name, *san.split_endpoint(name, 4420)) for name in pool.portals]
    portals, silent = answering(pool.portals, DISCOVERY_PORTS, deadline)
    for name, why in silent.items():
        say(f"pool {pool.name}: portal {name} does not answer ({why}); going on with the others")
    return portals


def _ways(pool: Pool, portals: Sequence[Portal], transport: str) -> List[Way]:
    """Every subsystem of the pool at every portal that answers, as the portals themselves tell it."""
    addresses = {portal.address for portal in portals}
    ways: Dict[str, Way] = {}
    offered: Set[str] = set()
    problems: List[str] = []
    for portal in portals:
        done = call((NVME, "discover", "-t", transport, "-a", portal.address, "-s", str(portal.port), "-o", "json"), SECONDS)
        records = [] if done.code else discovered(done.out)
        if done.code:
            problems.append(f"{portal.endpoint} does not tell its subsystems: {done.why}")
        for way in records:
            offered.add(way.subsystem)
            if way.address in addresses and (not pool.nqn or way.subsystem in pool.nqn):
                ways[way.key] = way
    if ways:
        for problem in problems:
            say(f"pool {pool.name}: {problem}")
        return list(ways.values())
    if offered and pool.nqn and not offered.intersection(pool.nqn):
        raise AttachError(f"the portals offer {', '.join(sorted(offered))}, but not {', '.join(pool.nqn)}; correct nqn =")
    if offered:
        raise AttachError("the portals offer no subsystem at the addresses in portals =")
    raise AttachError("; ".join(problems) or "the portals offer this host no subsystem; check its host NQN on the array")


def discovered(text: str) -> List[Way]:
    """The I/O controllers in the output of `nvme discover -o json`."""
    try:
        records = json.loads(text).get("records", [])
    except (ValueError, AttributeError):
        return []
    return [Way(str(one.get("subnqn", "")), plain(str(one.get("traddr", "")).strip()), str(one.get("trsvcid", "")).strip())
            for one in records if one.get("subtype") == "nvme subsystem" and one.get("subnqn")]
