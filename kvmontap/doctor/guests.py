"""The checks of libvirt's VMs: how their disks are attached, and which lie outside every pool.  Pure."""

from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.doctor.advice import Advice
from kvmontap.domain import parse
from kvmontap.domain.pooldefs import PoolDef
from kvmontap.domain.tree import Node, Shape, read
from kvmontap.host.match import match
from kvmontap.model import Config

SIDE = "libvirt"
SAFE = ("none", "directsync")
_FAST = ("virtio", "scsi")
_SHAPE = Shape(frozenset(("domain",)), frozenset("name devices disk driver source target readonly controller".split()),
               frozenset("device type cache file dev pool volume bus index model".split()), frozenset(("name",)))


class Disk(NamedTuple):
    """One writable disk of a VM."""

    target: str  # vda
    bus: str
    cache: str  # "" = QEMU's default, writeback
    where: str  # path or pool/volume


def disks(xml: str) -> Tuple[str, Tuple[Disk, ...]]:
    """(name of the VM, its disks that it can write to)."""
    root = read(xml.encode(), _SHAPE)
    name, devices = root.first("name"), root.first("devices")
    found: List[Disk] = []
    for disk in devices.all("disk") if devices is not None else ():
        source, target, driver = disk.first("source"), disk.first("target"), disk.first("driver")
        if disk.get("device", "disk") != "disk" or source is None or target is None or disk.first("readonly") is not None:
            continue
        where = source.get("file") or source.get("dev") or "/".join(filter(None, (source.get("pool"), source.get("volume"))))
        if where:
            found.append(Disk(target.get("dev"), _bus(target, devices), driver.get("cache") if driver is not None else "", where))
    return (name.text if name is not None else ""), tuple(found)


def _bus(target: Node, devices: Optional[Node]) -> str:
    bus = target.get("bus")
    if bus != "scsi" or devices is None:
        return bus
    models = [one.get("model") for one in devices.all("controller") if one.get("type") == "scsi"]
    return "scsi" if not models or any(model.startswith("virtio") for model in models) else f"scsi ({models[0] or 'emulated'})"


def advice(machines: Mapping[str, str], config: Config, pooldefs: Mapping[str, PoolDef]) -> Tuple[Advice, ...]:
    """What is to be said of the VMs; machines: {name: XML}."""
    return tuple(one for xml in machines.values() for one in _machine(xml, config, pooldefs))


def _machine(xml: str, config: Config, pooldefs: Mapping[str, PoolDef]) -> Iterator[Advice]:
    name, every = disks(xml)
    pools: Dict[str, str] = {}
    for hit in match(parse(xml.encode()), config, pooldefs):
        for source in hit.sources:
            pools.setdefault(source.what.rpartition(" ")[2] if source.what.startswith("disk ") else "", hit.pool)
    for disk in every:
        pool = pools.get(disk.target, "")
        if not pool:
            yield Advice(SIDE, "vm.outside", f"disk {disk.target} of VM {name} is {disk.where}, in no pool of the file",
                         f"virsh blockcopy {name} {disk.target} --dest TARGET/{disk.where.rpartition('/')[2]} --wait --pivot "
                         "--transient-job, or make its directory a pool")
            continue
        if disk.bus not in _FAST:
            yield Advice(SIDE, "vm.bus", f"disk {disk.target} of VM {name} hangs on {disk.bus or 'an unnamed bus'}",
                         f"virt-xml {name} --edit target={disk.target} --disk bus=virtio,target=vd{disk.target[-1:]} "
                         "(the guest needs the driver)",
                         (pool,))
        if disk.cache not in SAFE:
            yield Advice(SIDE, "vm.cache", f"disk {disk.target} of VM {name} has cache = {disk.cache or 'writeback, the default'}",
                         f"virt-xml {name} --edit target={disk.target} --disk cache=none", (pool,))
