"""Storage pool XML: the one we want, and what another differs in.  Pure.

Format: https://libvirt.org/formatstorage.html.
"""

from typing import Dict, NamedTuple, Tuple
from xml.etree import ElementTree

from kvmontap.model import NFS, Pool
from kvmontap.units import nfs

DIR = "dir"
NETFS = "netfs"
TYPES = (DIR, NETFS)  # those that this version defines

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


# What an attribute of Shape is called where a user meets it.
_NAMES = {
    "type": "type",
    "target": "target path",
    "hosts": "source host",
    "directory": "source dir",
    "format": "source format",
    "version": "protocol version",
    "options": "mount options",
}


def shape(pool: Pool) -> Shape:
    """What libvirt is to know of a pool of one of TYPES."""
    if pool.type == DIR:
        return Shape(DIR, pool.target)
    if pool.protocol != NFS:
        # libvirt mounts CIFS with the option "guest" only, and looks for the share's name as a directory.
        return Shape(NETFS, pool.target, pool.server[:1], pool.share, "cifs", options=_options(pool.options))
    # libvirt knows one host of a netfs pool.  It adds nfsvers=, nodev, nosuid and noexec itself.
    options = tuple(option for option in nfs.mounted(pool._replace(server=pool.server[:1], trunking=False)).options.split(",")
                    if option != "_netdev" and not option.startswith(("vers=", "kvmontap-")))
    return Shape(NETFS, pool.target, pool.server[:1], pool.export, "nfs", pool.version, tuple(sorted(options)))


def wanted(pool: Pool) -> str:
    """The XML that defines a pool of one of TYPES."""
    return render(pool.name, shape(pool))


def render(name: str, form: Shape) -> str:
    """The XML of a pool."""
    root = ElementTree.Element("pool", {"type": form.type})
    ElementTree.SubElement(root, "name").text = name
    if form.type == NETFS:
        source = ElementTree.SubElement(root, "source")
        for host in form.hosts:
            ElementTree.SubElement(source, "host", {"name": host})
        ElementTree.SubElement(source, "dir", {"path": form.directory})
        ElementTree.SubElement(source, "format", {"type": form.format})
        if form.version:
            ElementTree.SubElement(source, "protocol", {"ver": form.version})
    ElementTree.SubElement(ElementTree.SubElement(root, "target"), "path").text = form.target
    if form.options:
        options = ElementTree.SubElement(root, f"{{{_FS_NAMESPACE}}}mount_opts")
        for option in form.options:
            ElementTree.SubElement(options, f"{{{_FS_NAMESPACE}}}option", {"name": option})
    ElementTree.register_namespace("fs", _FS_NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode")


def read(text: str) -> Shape:
    """The shape of a pool from libvirt's XML; ValueError where it is not well formed."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"libvirt's pool XML is not well formed: {error}") from None
    form = Shape(root.get("type", ""), _path(root.findtext("target/path", "")))
    if form.type != NETFS:
        return form
    return form._replace(
        hosts=tuple(host.get("name", "") for host in root.findall("source/host")),
        directory=_attribute(root, "source/dir", "path"),
        format=_attribute(root, "source/format", "type").replace("auto", "nfs"),
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
    return form._replace(target=_path(form.target), directory=_path(form.directory) if form.format == "nfs" else form.directory)


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
