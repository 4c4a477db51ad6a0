"""The definition of a second VM from that of a first one.  Pure; the XML is libvirt's own.

What must be its own is made anew: name, UUID, generation id, MAC addresses, the disks' files, firmware variables, and whatever libvirt
gives out itself (paths of sockets, ports).  Everything else stays as the first VM has it.
"""

import xml.etree.ElementTree as ElementTree
from typing import Iterator, List, Mapping, NamedTuple, Sequence, Tuple


class Disk(NamedTuple):
    """One <disk> of a definition."""

    target: str  # vda
    device: str  # disk, cdrom, ...
    read_only: bool  # cdroms are
    shareable: bool


def disks(xml: str) -> Tuple[Disk, ...]:
    """The disks of a definition, in its order."""
    return tuple(_disk(one) for one in _each(ElementTree.fromstring(xml)))


def copied(xml: str, name: str, uuid: str, files: Mapping[str, str], keep: Sequence[str], nvram: str = "") -> str:
    """The definition of the new VM.

    files: the new image of each disk, by target; keep: targets of disks that are used as they are; disks in neither are left
    out.  nvram: the new file of firmware variables, "" = from the template.
    """
    root = ElementTree.fromstring(xml)
    root.attrib.pop("id", None)
    _set(root, "name", name)
    _set(root, "uuid", uuid)
    for genid in root.findall("genid"):
        genid.text = None  # libvirt makes one
    devices = root.find("devices")
    for disk in list(_each(root)):
        target = _disk(disk).target
        if target in files:
            _point(disk, files[target])
        elif target not in keep and devices is not None:
            devices.remove(disk)
    for interface in root.iterfind("devices/interface"):
        _drop(interface, "mac")
        for of_host in interface.findall("target"):
            interface.remove(of_host)
    for channel in root.iterfind("devices/channel"):
        source = channel.find("source")
        if source is not None and channel.get("type") == "unix":
            source.attrib.pop("path", None)
    for graphics in root.iterfind("devices/graphics"):
        if graphics.get("autoport") != "no":
            graphics.attrib.pop("port", None)
    for variables in root.iterfind("os/nvram"):
        variables.text = nvram or None
        variables.attrib.pop("type", None) if not nvram else None
        _drop(variables, "source")
    return ElementTree.tostring(root, encoding="unicode")


def _each(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    return root.iterfind("devices/disk")


def _disk(disk: ElementTree.Element) -> Disk:
    target = disk.find("target")
    device = disk.get("device", "disk")
    read_only = disk.find("readonly") is not None or device == "cdrom"
    return Disk(target.get("dev", "") if target is not None else "", device, read_only, disk.find("shareable") is not None)


def _point(disk: ElementTree.Element, path: str) -> None:
    """The disk's source is the file at `path`; what lies beneath it, the image itself tells."""
    disk.set("type", "file")
    kept: List[ElementTree.Element] = []
    for source in disk.findall("source"):
        kept = [one for one in source if one.tag not in ("slices", "reservations")]
        disk.remove(source)
    source = ElementTree.Element("source", {"file": path})
    source.extend(kept)
    disk.insert(0, source)
    _drop(disk, "backingStore")


def _drop(element: ElementTree.Element, tag: str) -> None:
    for one in element.findall(tag):
        element.remove(one)


def _set(root: ElementTree.Element, tag: str, text: str) -> None:
    found = root.find(tag)
    if found is None:
        found = ElementTree.SubElement(root, tag)
    found.text = text
