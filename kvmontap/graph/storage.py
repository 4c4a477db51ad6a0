"""What every VM stands on: VM, pool, mount, device or export, paths, LIFs and their nodes, volume.  Pure."""

from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array.answers import text
from kvmontap.graph.drawing import Edge, Node, Part, unique
from kvmontap.model import FILE_PROTOCOLS, NFS, Config, Pool
from kvmontap.units import block
from kvmontap.units.bundle import attached

Record = Mapping[str, Any]


class Behind(NamedTuple):
    """What an array told of what stands behind a pool; None and () where nobody was asked."""

    volume: Optional[str] = None
    svm: str = ""
    lifs: Tuple[Record, ...] = ()  # of that SVM, IP and FC


def of_svm(record: Record, svm: str) -> bool:
    """Whether a LIF belongs to that SVM."""
    return text(record, "svm.name") == svm


def part(config: Config, vms: Mapping[str, Tuple[str, ...]], behind: Mapping[str, Behind]) -> Part:
    """The storage of `config`; vms: {name: its pools}."""
    nodes: List[Node] = [Node(f"vm {name}", "vm", name) for name, pools in vms.items() if set(pools) & set(config.pools)]
    edges: List[Edge] = [Edge(f"vm {name}", f"pool {pool}") for name, pools in vms.items() for pool in pools]
    for pool in config.pools.values():
        for one in _pool(pool, behind.get(pool.name, Behind())):
            (nodes if isinstance(one, Node) else edges).append(one)  # type: ignore[arg-type]
    return unique("storage", nodes, edges)


def _pool(pool: Pool, behind: Behind) -> Iterator[object]:
    yield Node(f"pool {pool.name}", "pool", f"{pool.name}\n{pool.type} pool")
    last = f"pool {pool.name}"
    if pool.target:
        yield Node(f"mount {pool.target}", "mount",
                   f"{pool.target}\n{pool.filesystem if pool.protocol not in FILE_PROTOCOLS else pool.protocol}"
                   + ("" if attached(pool) else ", by libvirt"))
        yield Edge(last, f"mount {pool.target}")
        last = f"mount {pool.target}"
    if pool.protocol in FILE_PROTOCOLS:
        source = f"export {pool.export}" if pool.protocol == NFS else f"share {pool.share}"
    else:
        source = block.device_path(pool) or ", ".join(pool.iqn) or pool.adapter or pool.name
    yield Node(f"source {pool.name}", "device", source)
    yield Edge(last, f"source {pool.name}", pool.cluster and f"cluster {pool.cluster}")
    end = _volume(pool, behind)
    yield from (end,) if end else ()
    yield from _paths(pool, behind, end.id if end else "")


def _volume(pool: Pool, behind: Behind) -> Optional[Node]:
    if behind.volume:
        return Node(f"volume {pool.ontap}/{behind.svm}/{behind.volume}", "volume",
                    f"volume {behind.volume}\n{behind.svm}, array {pool.ontap}")
    return Node(f"volume {pool.ontap}/{pool.name}", "volume", f"array {pool.ontap}") if pool.ontap else None


def _paths(pool: Pool, behind: Behind, end: str) -> Iterator[object]:
    """The ways from a pool's source to its volume."""
    source = f"source {pool.name}"
    lifs: Dict[str, Record] = {text(one, "ip.address"): one for one in behind.lifs if text(one, "ip.address")}
    ways: Iterable[str] = pool.server or pool.portals
    if not ways and pool.protocol in ("fc", "nvme-fc"):
        fabric = [one for one in behind.lifs if text(one, "wwpn")]
        for one in fabric:
            yield from _lif(source, text(one, "wwpn"), one, end)
        if not fabric:
            yield Node(f"path {pool.protocol}", "path", "Fibre Channel")
            yield Edge(source, f"path {pool.protocol}")
            yield Edge(f"path {pool.protocol}", end)
    for way in ways:
        found = lifs.get(way.partition(":")[0] if way.count(":") == 1 else way.strip("[]"))
        if found is not None:
            yield from _lif(source, way, found, end)
        else:
            yield Node(f"path {way}", "path", way)
            yield Edge(source, f"path {way}")
            yield Edge(f"path {way}", end)


def _lif(source: str, way: str, record: Record, end: str) -> Iterator[object]:
    name, state, node = text(record, "name"), text(record, "state"), text(record, "location.node.name")
    yield Node(f"lif {name}", "lif" if state in ("up", "") else "down", f"{way}\nLIF {name}" + (f", {state}" if state not in ("up", "")
                                                                                                else ""))
    yield Edge(source, f"lif {name}")
    if node:
        yield Node(f"node {node}", "node", f"node {node}")
        yield Edge(f"lif {name}", f"node {node}")
        yield Edge(f"node {node}", end)
    else:
        yield Edge(f"lif {name}", end)
