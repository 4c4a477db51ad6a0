"""From the tree of a domain XML to the host storage that the domain depends on.  Pure.

Written after libvirt's "Domain XML format" page and the list in its parser: every element that makes QEMU (or
libvirt on its behalf) open a file, device, directory or remote image of the host.  Not covered because the XML does not
name them: the managed-save directory, `memory_backing_dir` of qemu.conf and lock manager directories.
"""

from typing import Dict, Iterator, Optional, Tuple

from kvmontap.domain.tree import Node, Shape
from kvmontap.model import Source

SHAPE = Shape(
    roots=frozenset(("domain",)),
    elements=frozenset(
        "name uuid os loader nvram varstore kernel initrd shim dtb acpi table sysinfo entry devices emulator disk driver"
        " source target backingStore format dataStore host address filesystem memory path serial console parallel"
        " channel smartcard database log tpm backend device hostdev block interface rom lease pstore audio".split()
    ),
    attributes=frozenset(
        "type device file dev dir path pool volume protocol name template startupPolicy mode namespace domain bus slot"
        " function socket model".split()
    ),
    texts=frozenset(
        "name uuid loader nvram kernel initrd shim dtb table path block emulator device database".split()
    ),
)
# The VM starts without them: libvirt drops the disk when it is not there.
_OPTIONAL = ("optional",)
_CHARACTER = ("serial", "console", "parallel", "channel")
_SWTPM = "/var/lib/libvirt/swtpm"  # libvirt's directory for the state of emulated TPMs, one below it per domain


def named_in(root: Node) -> Tuple[Source, ...]:
    """Every storage that the <domain> names, each once, in the order of the document."""
    found: Dict[Source, Source] = {}
    for source in _all(root):
        found.setdefault(source._replace(what=""), source)
    return tuple(found.values())


def _all(root: Node) -> Iterator[Source]:
    for part in root.children:
        if part.tag == "os":
            yield from _firmware(part)
        elif part.tag == "sysinfo":
            for entry in part.all("entry"):
                yield from _path(entry.get("file"), "sysinfo entry " + entry.get("name", "?"))
        elif part.tag == "devices":
            for device in part.children:
                read = _DEVICES.get(device.tag)
                if read is not None:
                    yield from read(device, root)


def _firmware(os_: Node) -> Iterator[Source]:
    for part in os_.children:
        if part.tag in ("loader", "kernel", "initrd", "shim", "dtb"):
            yield from _path(part.text, part.tag)
        elif part.tag in ("nvram", "varstore"):
            yield from _path(part.text or part.get("path"), part.tag)
            for source in part.all("source"):
                yield from _storage(source, part.tag)
            yield from _path(part.get("template"), f"{part.tag} template")
        elif part.tag == "acpi":
            for table in part.all("table"):
                yield from _path(table.text, "acpi table")


def _disk(disk: Node, _: Node) -> Iterator[Source]:
    """The disk's own source, its data file, and each image of the backing chain as far as the XML tells it."""
    target = disk.first("target")
    label = f"{disk.get('device', 'disk')} {target.get('dev', '?') if target is not None else '?'}"
    level: Optional[Node] = disk
    what = _printable(label)
    while level is not None:
        below = level.first("backingStore")
        source = level.first("source")
        for store in level.all("dataStore") + (source.all("dataStore") if source is not None else ()):
            data = store.first("source")
            if data is not None:
                yield from _storage(data, f"data file of {what}", form=_format(store))
        if source is not None:
            optional = source.get("startupPolicy") in _OPTIONAL
            yield from _storage(source, what, level.get("type"), _format(level), below is not None, optional)
        what = f"backing of {label}"
        level = below


def _format(level: Node) -> str:
    """The image format as the XML tells it ("" = untold): of a disk on its <driver>, below it in <format>."""
    node = level.first("driver") if level.tag == "disk" else level.first("format")
    return node.get("type") if node is not None else ""


def _storage(
    source: Node, what: str, kind: str = "", form: str = "", chained: bool = False, optional: bool = False
) -> Iterator[Source]:
    """A <source> of a disk, an nvram or a data file; which storage it is follows from its attributes."""
    more = {"format": form, "chained": chained, "optional": optional}
    hosts = tuple(filter(None, (host.get("name") or host.get("socket") for host in source.all("host"))))
    if kind == "vhostvdpa":
        yield Source("other", what, path=source.get("dev"), **more)
    elif kind == "vhostuser":
        yield Source("other", what, path=source.get("path"), **more)
    elif kind == "nvme":
        yield Source("nvme", what, name=_pci(source), **more)
    elif source.get("protocol"):
        yield Source(
            "network", what, protocol=source.get("protocol"), name=source.get("name"), hosts=hosts, **more
        )
    elif source.get("pool"):
        yield Source("volume", what, pool=source.get("pool"), volume=source.get("volume"), **more)
    else:
        for attribute, own_kind in (("file", "file"), ("dev", "block"), ("dir", "dir")):
            if source.get(attribute):
                yield Source(own_kind, what, path=source.get(attribute), **more)


def _pci(source: Node) -> str:
    address = source.first("address")
    parts = (address.get(part, "0").replace("0x", "") for part in ("domain", "bus", "slot", "function")) if address else ()
    where = "{}:{}:{}.{}".format(*parts) if address else ""
    return f"{where} namespace {source.get('namespace', '?')}"


def _filesystem(filesystem: Node, _: Node) -> Iterator[Source]:
    target = filesystem.first("target")
    what = "filesystem " + (target.get("dir", "?") if target is not None else "?")
    for source in filesystem.all("source"):
        yield from _storage(source, _printable(what))
        yield from _path(source.get("socket"), _printable(what), "other")


def _memory(memory: Node, _: Node) -> Iterator[Source]:
    """nvdimm and virtio-pmem are backed by a file or a DAX device of the host."""
    path = memory.first("source", "path")
    if path is not None:
        yield from _path(path.text, memory.get("model", "memory"))


def _character(device: Node, _: Node) -> Iterator[Source]:
    source = device.first("source")
    if source is not None and device.get("type") in ("file", "pipe", "dev"):
        yield from _path(source.get("path"), device.tag, "other" if device.get("type") == "dev" else "file")
    log = device.first("log")
    if log is not None:
        yield from _path(log.get("file"), f"log of {device.tag}")


def _tpm(tpm: Node, root: Node) -> Iterator[Source]:
    backend = tpm.first("backend")
    if backend is None:
        return
    source = backend.first("source")
    if source is not None:
        kind = source.get("type", "dir")
        yield from _path(source.get("path"), "tpm", kind if kind in ("file", "dir") else "other")
    elif backend.get("type") == "emulator":
        uuid = root.first("uuid")
        if uuid is not None and uuid.text:
            yield from _path(f"{_SWTPM}/{uuid.text}", "tpm", "dir")
    device = backend.first("device")
    if device is not None:
        yield from _path(device.get("path"), "tpm", "other")


def _hostdev(hostdev: Node, _: Node) -> Iterator[Source]:
    """Only what is storage: iSCSI LUNs handed through by QEMU, block devices handed to containers, option ROMs."""
    source = hostdev.first("source")
    if source is not None:
        if source.get("protocol"):
            yield from _storage(source, "hostdev")
        block = source.first("block")
        if block is not None:
            yield from _path(block.text, "hostdev", "block")
    yield from _rom(hostdev, hostdev)


def _rom(device: Node, _: Node) -> Iterator[Source]:
    rom = device.first("rom")
    if rom is not None:
        yield from _path(rom.get("file"), f"rom of {device.tag}")


def _lease(lease: Node, _: Node) -> Iterator[Source]:
    target = lease.first("target")
    if target is not None:
        yield from _path(target.get("path"), "lease")


def _pstore(pstore: Node, _: Node) -> Iterator[Source]:
    path = pstore.first("path")
    if path is not None:
        yield from _path(path.text, "pstore")


def _audio(audio: Node, _: Node) -> Iterator[Source]:
    if audio.get("type") == "file":
        yield from _path(audio.get("path"), "audio")


def _smartcard(card: Node, _: Node) -> Iterator[Source]:
    database = card.first("database")
    if database is not None:
        yield from _path(database.text, "smartcard database", "dir")


def _emulator(emulator: Node, _: Node) -> Iterator[Source]:
    yield from _path(emulator.text, "emulator")


def _path(path: str, what: str, kind: str = "file") -> Iterator[Source]:
    if path:
        yield Source(kind, _printable(what), path=path)


def _printable(text: str) -> str:
    """The text fit for one line of a log: names in it come from the XML."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])


_DEVICES = {
    "disk": _disk,
    "filesystem": _filesystem,
    "memory": _memory,
    "tpm": _tpm,
    "hostdev": _hostdev,
    "interface": _rom,
    "lease": _lease,
    "pstore": _pstore,
    "audio": _audio,
    "smartcard": _smartcard,
    "emulator": _emulator,
}
_DEVICES.update((tag, _character) for tag in _CHARACTER)
