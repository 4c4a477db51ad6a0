"""The order of the boot, from the units that the generator makes; the shutdown goes the other way.  Pure."""

from typing import Dict, Iterator, List, Tuple

from kvmontap.graph.drawing import Edge, Node, Part, unique
from kvmontap.units.bundle import Bundle
from kvmontap.units.mount import LIBVIRT

NETWORK = "network-online.target"
POOLS = "kvmontap-pools.service"
VMS = "VMs"


def part(bundle: Bundle) -> Part:
    """Units in the order in which they come up; dashed where the one behind does without the one before."""
    edges = [edge for name, text in bundle.files.items() for edge in _unit(name, text)]
    if edges:
        # What the static units say: libvirt, then its pools; libvirt-guests is up before VMs and stops them before libvirt goes.
        edges += [Edge("libvirtd.service", POOLS, dashed=True), Edge("libvirtd.service", VMS), Edge("libvirt-guests.service", VMS,
                                                                                                    dashed=True)]
    names = dict.fromkeys(name for edge in edges for name in (edge.tail, edge.head))
    return unique("boot order (shutdown: the reverse)", (Node(name, "vm" if name == VMS else "unit", name) for name in names), edges)


def _unit(name: str, text: str) -> Iterator[Edge]:
    unit = name.partition(".d/")[0] if ".d/" in name else name
    if unit.startswith("kvmontap-config-error") or not (unit.endswith((".mount", ".automount")) or ".d/" in name):
        return
    if unit.endswith(".device"):
        return  # the unit that brings it up says enough
    said = _settings(text)
    required = set(said.get("Requires", ()))
    for one in said.get("After", ()):
        yield Edge(one, unit, dashed=one not in required)
        if one in required and one.startswith("kvmontap-") and "o2cb" not in one:
            yield Edge(NETWORK, one)
    if not any(one.startswith("kvmontap-") for one in required) and NETWORK not in said.get("After", ()):
        yield Edge(NETWORK, unit)  # which PID 1 adds for _netdev
    for one in said.get("Before", ()):
        # One of libvirt's two forms is enough to see the order.
        if one in LIBVIRT and not one.startswith("virt"):
            yield Edge(unit, one, dashed=True)
        elif one.startswith("kvmontap-"):
            yield Edge(unit, one)


def _settings(text: str) -> Dict[str, Tuple[str, ...]]:
    found: Dict[str, List[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in ("After", "Before", "Requires"):
            found.setdefault(key, []).extend(value.split())
    return {key: tuple(value) for key, value in found.items()}
