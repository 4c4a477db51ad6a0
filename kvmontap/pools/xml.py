"""Storage pool XML: the one we want, and what another differs in.  Pure.

Format: https://libvirt.org/formatstorage.html.
"""

from typing import Dict, NamedTuple, Tuple
from xml.etree import ElementTree

from kvmontap.host.san import ISCSI_PORT, endpoint, split_endpoint
from kvmontap.model import NFS, Pool
from kvmontap.units import block, nfs

DIR = "dir"
NETFS = "netfs"
FS = "fs"
TYPES = (DIR, NETFS, FS, "logical", "disk", "scsi", "iscsi", "iscsi-direct", "mpath")
MADE = (NETFS, FS)  # libvirt mounts them, and may be asked to make the directory
# Where libvirt shows the volumes of a pool that has no directory of its own.
_TARGETS = {"disk": "/dev", "scsi": "/dev/disk/by-path", "iscsi": "/dev/disk/by-path", "mpath": "/dev/mapper"}

_FS_NAMESPACE = "http://libvirt.org/schemas/storagepool/fs/1.0"


class Shape(NamedTuple):
    """What decides where a pool's volumes lie; owner, mode, UUID, capacity do not."""

    type: str
    target: str
    hosts: Tuple[str, ...] = ()
    directory: str = ""
    format: str = ""
    version: str = ""
    options: Tuple[str, ...] = ()
    device: str = ""  # a path, or an IQN; a volume group has none
    name: str = ""  # volume group
    adapter: str = ""


# What an attribute of Shape is called where a user meets it.
_NAMES = {
    "type": "type",
    "target": "target path",
    "hosts": "source host",
    "directory": "source dir",
    "format": "source format",
    "version": "protocol version",
    "options": "mount options",
    "device": "source device",
    "name": "source name",
    "adapter": "source adapter",
}


def shape(pool: Pool) -> Shape:
    """What libvirt is to know of a pool of one of TYPES."""
    if pool.type == DIR:
        return Shape(DIR, pool.target)
    if pool.type != NETFS:
        return _block(pool)
    if pool.protocol != NFS:
        # libvirt mounts CIFS with the option "guest" only, and looks for the share's name as a directory.
        return Shape(NETFS, pool.target, pool.server[:1], pool.share, "cifs", options=_options(pool.options))
    # libvirt knows one host of a netfs pool.  It adds nfsvers=, nodev, nosuid and noexec itself.
    options = tuple(option for option in nfs.mounted(pool._replace(server=pool.server[:1], trunking=False)).options.split(",")
                    if option != "_netdev" and not option.startswith(("vers=", "kvmontap-")))
    return Shape(NETFS, pool.target, pool.server[:1], pool.export, "nfs", pool.version, tuple(sorted(options)))


def _block(pool: Pool) -> Shape:
    device = block.device_path(pool)
    if pool.type == FS:
        # _netdev: systemd then unmounts it before the network goes.
        options = _options(f"{pool.options},_netdev")
        return Shape(FS, pool.target, format=pool.filesystem, device=device, options=options)
    if pool.type == "logical":
        # Without its device: libvirt compares names as text, and LVM has another for it than udev's.
        return Shape("logical", pool.target or f"/dev/{pool.vg}", format="lvm2", name=pool.vg)
    form = Shape(pool.type, pool.target or _TARGETS.get(pool.type, ""))
    if pool.type == "disk":
        return form._replace(format="gpt", device=device)
    if pool.type == "scsi":
        return form._replace(adapter=pool.adapter)
    if pool.type in block.LIBVIRT_TYPES:
        return form._replace(hosts=pool.portals[:1], device=pool.iqn[0])
    return form


def wanted(pool: Pool, initiator: str = "") -> str:
    """The XML that defines a pool of one of TYPES; `initiator`: this host's IQN, which iscsi-direct has to name."""
    return render(pool.name, shape(pool), initiator)


def render(name: str, form: Shape, initiator: str = "") -> str:
    """The XML of a pool."""
    root = ElementTree.Element("pool", {"type": form.type})
    ElementTree.SubElement(root, "name").text = name
    if form.type not in (DIR, "mpath"):
        _render_source(ElementTree.SubElement(root, "source"), form, initiator)
    if form.target:
        ElementTree.SubElement(ElementTree.SubElement(root, "target"), "path").text = form.target
    if form.options:
        options = ElementTree.SubElement(root, f"{{{_FS_NAMESPACE}}}mount_opts")
        for option in form.options:
            ElementTree.SubElement(options, f"{{{_FS_NAMESPACE}}}option", {"name": option})
    ElementTree.register_namespace("fs", _FS_NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode")


def _render_source(source: ElementTree.Element, form: Shape, initiator: str) -> None:
    for host in form.hosts:
        address, port = split_endpoint(host, 0)
        ElementTree.SubElement(source, "host", {"name": address, **({"port": str(port)} if port else {})})
    if form.directory:
        ElementTree.SubElement(source, "dir", {"path": form.directory})
    if form.device:
        ElementTree.SubElement(source, "device", {"path": form.device})
    if form.adapter:
        ElementTree.SubElement(source, "adapter", {"type": "scsi_host", "name": form.adapter})
    if form.name:
        ElementTree.SubElement(source, "name").text = form.name
    if initiator and form.type == "iscsi-direct":
        ElementTree.SubElement(ElementTree.SubElement(source, "initiator"), "iqn", {"name": initiator})
    if form.format:
        ElementTree.SubElement(source, "format", {"type": form.format})
    if form.version:
        ElementTree.SubElement(source, "protocol", {"ver": form.version})


def read(text: str) -> Shape:
    """The shape of a pool from libvirt's XML; ValueError where it is not well formed."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"libvirt's pool XML is not well formed: {error}") from None
    form = Shape(root.get("type", ""), _path(root.findtext("target/path", "")))
    if form.type in (DIR, "mpath"):
        return form
    kind = _attribute(root, "source/format", "type")
    return form._replace(
        hosts=tuple(_host(host) for host in root.findall("source/host")),
        directory=_attribute(root, "source/dir", "path"),
        format=kind.replace("auto", "nfs") if form.type == NETFS else "" if form.type in ("iscsi", "scsi", "iscsi-direct") else kind,
        device="" if form.type == "logical" else _attribute(root, "source/device", "path"),
        name=root.findtext("source/name", "") if form.type == "logical" else "",
        adapter=_attribute(root, "source/adapter", "name"),
        version=_attribute(root, "source/protocol", "ver"),
        options=tuple(sorted(option.get("name", "") for option in root.iter(f"{{{_FS_NAMESPACE}}}option"))),
    )


def differences(ours: Shape, theirs: Shape) -> Tuple[str, ...]:
    """What libvirt's pool has otherwise than we want it, one phrase each."""
    said = []
    want: Dict[str, object] = _comparable(ours)._asdict()
    for key, have in _comparable(theirs)._asdict().items():
        if have != want[key]:
            said.append(f"{_NAMES[key]} is {_say(have)} instead of {_say(want[key])}")
        if key == "type" and said:
            break  # a pool of another type has nothing else in common
    return tuple(said)


def _comparable(form: Shape) -> Shape:
    if form.type in ("iscsi", "iscsi-direct"):  # libvirt knows its port by default
        form = form._replace(hosts=tuple(endpoint(*split_endpoint(host, ISCSI_PORT)) for host in form.hosts))
    return form._replace(target=_path(form.target), directory=_path(form.directory) if form.format == "nfs" else form.directory)


def _host(host: ElementTree.Element) -> str:
    name, port = host.get("name", ""), host.get("port", "")
    return endpoint(name, port) if port else name


def _path(path: str) -> str:
    """A path as libvirt stores it: without doubled or trailing slashes."""
    return "/" + "/".join(part for part in path.split("/") if part) if path.startswith("/") else path


def _say(value: object) -> str:
    return (",".join(value) if isinstance(value, tuple) else str(value)) or "not set"


def _attribute(root: ElementTree.Element, path: str, name: str) -> str:
    found = root.find(path)
    return "" if found is None else found.get(name, "")


def _options(typed: str) -> Tuple[str, ...]:
    return tuple(sorted(option for option in typed.split(",") if option))
