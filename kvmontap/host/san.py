"""iSCSI sessions, NVMe controllers, disks and multipath maps, as /sys tells them.  Reads only, and never hangs: no device is opened.

`root` is the directory that holds sys/, "/" on a host; the tests give recorded trees.
"""

import os
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from kvmontap.host.address import plain

ISCSI_PORT = 3260
# ALUA states of a path that takes no I/O (scsi_access_state in the kernel's scsi_sysfs.c).
_NO_ACCESS = ("standby", "unavailable", "offline", "transitioning")
INTERFACE = "kvmontap."  # how open-iscsi's records of ours begin; the name of a network interface follows


class Session(NamedTuple):
    """One iSCSI session; open-iscsi makes one for each portal of a target."""

    sid: str  # "3", as `iscsiadm -m session -r` takes it
    target: str  # IQN
    address: str  # of the portal that was logged in to, IPv6 without brackets
    port: int
    state: str  # LOGGED_IN, FAILED, FREE
    disks: Tuple[str, ...] = ()  # sda, sdb
    interface: str = ""  # open-iscsi's record of the network interface that it is bound to, "" = the routing decides

    @property
    def portal(self) -> str:
        return endpoint(self.address, self.port)


class Controller(NamedTuple):
    """One NVMe controller: over fabrics, one connection to one portal of a subsystem."""

    name: str  # nvme0
    transport: str  # tcp, rdma, fc, pcie
    subsystem: str  # NQN
    address: str
    port: str
    state: str  # live, connecting, ...

    @property
    def portal(self) -> str:
        return endpoint(self.address, self.port)


class Path(NamedTuple):
    """One way to a device."""

    name: str  # sda, or nvme0 for the controller
    portal: str  # "10.9.1.10:3260", "" where the transport has none (FC)
    up: bool
    state: str  # in the kernel's words
    optimized: bool = True  # whether it leads to the node that owns the device (ALUA, ANA), as far as the target tells


class Device(NamedTuple):
    """What stands behind a WWID or a namespace's UUID."""

    name: str  # dm-0, nvme0n1, sda
    number: str  # "254:0"
    paths: Tuple[Path, ...] = ()


def endpoint(address: str, port: object) -> str:
    """"10.9.1.10:3260", "[fd00::1]:3260"."""
    host = plain(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_endpoint(text: str, port: int) -> Tuple[str, int]:
    """(host, port) of "host", "host:port", "[IPv6]" or "[IPv6]:port"; `port` where none is named."""
    host, colon, tail = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, tail = text, ""
    return plain(host), int(tail) if tail else port


def sessions(root: str = "/") -> Tuple[Session, ...]:
    """Every iSCSI session of this host."""
    found = []
    base = os.path.join(root, "sys/class/iscsi_session")
    connections = _connections(root)
    for name in _names(base):
        where = os.path.join(base, name)
        sid = name[len("session"):]
        address, port = connections.get(sid, ("", ""))
        bound = _known(_read(where, "ifacename"))
        found.append(Session(sid, _read(where, "targetname"), plain(address), int(port) if port.isdigit() else ISCSI_PORT,
                             _read(where, "state"), tuple(_disks(os.path.join(where, "device"))), "" if bound == "default" else bound))
    return tuple(found)


def _connections(root: str) -> Dict[str, Tuple[str, str]]:
    """Session -> (address, port) that was asked for: what a redirecting target answers instead is not what we configured."""
    found = {}
    base = os.path.join(root, "sys/class/iscsi_connection")
    for name in _names(base):
        where = os.path.join(base, name)
        sid = name[len("connection"):].partition(":")[0]
        address = _known(_read(where, "persistent_address")) or _known(_read(where, "address"))
        port = _known(_read(where, "persistent_port")) or _known(_read(where, "port"))
        found[sid] = (address, port)
    return found


def _known(text: str) -> str:
    return "" if text in ("(null)", "<NULL>") else text


def _disks(device: str) -> List[str]:
    """The disks of a session: device/targetH:C:T/H:C:T:L/block/sdX."""
    found = []
    for target in _names(device):
        if target.startswith("target"):
            for lun in _names(os.path.join(device, target)):
                found += _names(os.path.join(device, target, lun, "block"))
    return found


def controllers(root: str = "/") -> Tuple[Controller, ...]:
    """Every NVMe controller of this host."""
    base = os.path.join(root, "sys/class/nvme")
    return tuple(_controller(os.path.join(base, name), name) for name in _names(base))


def _controller(where: str, name: str) -> Controller:
    fields = dict(part.partition("=")[::2] for part in _read(where, "address").split(","))
    return Controller(name, _read(where, "transport"), _read(where, "subsysnqn"), plain(fields.get("traddr", "").strip()),
                      fields.get("trsvcid", "").strip(), _read(where, "state"))


def wwid_of(disk: str, root: str = "/") -> str:
    """The WWID of a SCSI disk in multipath's spelling, "" where it has none: sysfs says naa.600a..., multipath 3600a..."""
    text = _read(os.path.join(root, "sys/block", disk, "device"), "wwid")
    kind, dot, rest = text.partition(".")
    digit = {"naa": "3", "eui": "2", "t10": "1"}.get(kind)
    return digit + rest.strip() if dot and digit else ""


def disks_of(wwid: str, root: str = "/") -> Tuple[str, ...]:
    """The SCSI disks that are paths to a LUN."""
    return tuple(name for name in _names(os.path.join(root, "sys/block"))
                 if name.startswith("sd") and wwid_of(name, root).lower() == wwid.lower())


def luns(names: Iterable[str], root: str = "/") -> Tuple[str, ...]:
    """The WWIDs of disks, each once."""
    return tuple(dict.fromkeys(filter(None, (wwid_of(name, root) for name in names))))


def mapped(uuid: str, root: str = "/") -> str:
    """major:minor of the device-mapper device with a UUID, "" where there is none."""
    base = os.path.join(root, "sys/block")
    for name in _names(base):
        if name.startswith("dm-") and _read(os.path.join(base, name), "dm/uuid").lower() == uuid.lower():
            return _read(os.path.join(base, name), "dev")
    return ""


def mappings(root: str = "/") -> Dict[str, str]:
    """{name: UUID} of every device-mapper device: {"vg-lv": "LVM-...", "3600a...": "mpath-3600a..."}."""
    base = os.path.join(root, "sys/block")
    return {_read(os.path.join(base, name), "dm/name"): _read(os.path.join(base, name), "dm/uuid")
            for name in _names(base) if name.startswith("dm-")}


def partition_number(device: Device, partition: int, root: str = "/") -> str:
    """major:minor of a partition of a device that ends in a digit (nvme0n1p1); 0 = the whole device."""
    if not partition:
        return device.number
    return _read(os.path.join(root, "sys/block", device.name, f"{device.name}p{partition}"), "dev")


def multipath(wwid: str, root: str = "/") -> Optional[Device]:
    """The multipath map of a LUN with its paths, None where there is none."""
    base = os.path.join(root, "sys/block")
    for name in _names(base):
        if name.startswith("dm-") and _read(os.path.join(base, name), "dm/uuid").lower() == f"mpath-{wwid}".lower():
            disks = _names(os.path.join(base, name, "slaves"))
            return Device(name, _read(os.path.join(base, name), "dev"), scsi_paths(disks, root))
    return None


def scsi_paths(disks: Iterable[str], root: str = "/") -> Tuple[Path, ...]:
    """The state of SCSI disks and, over iSCSI, of their sessions."""
    owner = {disk: session for session in sessions(root) for disk in session.disks}
    found = []
    for disk in disks:
        session = owner.get(disk)
        device = os.path.join(root, "sys/block", disk, "device")
        state, access = _read(device, "state"), _read(device, "access_state")
        up = state == "running" and access not in _NO_ACCESS
        state = f"ALUA {access}" if state == "running" and not up else state
        if session is not None and session.state != "LOGGED_IN":
            up, state = False, f"session {session.state.lower()}"
        found.append(Path(disk, session.portal if session else "", up, state, "non-optimized" not in access))
    return tuple(found)


def namespace(uuid: str, root: str = "/") -> Optional[Device]:
    """The NVMe namespace of a UUID with its paths, None where there is none.

    With native multipath one block device (nvme0n1) stands for all paths; a path's own nvme0c1n1 is hidden.
    """
    base = os.path.join(root, "sys/block")
    for name in _names(base):
        if name.startswith("nvme") and _is_namespace(os.path.join(base, name), uuid):
            return Device(name, _read(os.path.join(base, name), "dev"), _nvme_paths(name, root))
    return None


def _is_namespace(where: str, uuid: str) -> bool:
    return uuid.lower() in (_read(where, "uuid").lower(), _read(where, "wwid").lower().partition("uuid.")[2]) and \
        not _read(where, "hidden") == "1"


def _nvme_paths(name: str, root: str) -> Tuple[Path, ...]:
    """nvme0n1's device is its subsystem, which holds the controllers; without native multipath it is the controller."""
    device = os.path.join(root, "sys/block", name, "device")
    by_name = {one.name: one for one in controllers(root)}
    number = name.rpartition("n")[2]
    subsystem = _read(device, "subsysnqn")
    found = []
    if os.path.exists(os.path.join(device, "address")):  # a controller
        members = [os.path.basename(os.path.realpath(device))]
    else:
        members = [one for one in _names(device) if one in by_name] or \
            [one.name for one in by_name.values() if one.subsystem == subsystem]
    for member in members:
        controller = by_name.get(member)
        if controller is None:
            continue
        ana = _ana(os.path.join(root, "sys/class/nvme", member), number)
        up = controller.state == "live" and ana in ("", "optimized", "non-optimized")
        state = controller.state if controller.state != "live" or up else f"ANA {ana}"
        found.append(Path(member, controller.portal if controller.address else "", up, state, ana != "non-optimized"))
    return tuple(found)


def _ana(controller: str, number: str) -> str:
    """The ANA state of a controller's path to a namespace, "" where it has none."""
    for name in _names(controller):
        if name.startswith("nvme") and "c" in name and name.rpartition("n")[2] == number:
            return _read(os.path.join(controller, name), "ana_state")
    return ""


def namespaces(subsystems: Iterable[str], root: str = "/") -> Tuple[str, ...]:
    """The block devices of subsystems, paths of native multipath left out."""
    members = {one.name for one in controllers(root) if one.subsystem in set(subsystems)}
    found = []
    for name in _names(os.path.join(root, "sys/block")):
        if name.startswith("nvme") and _read(os.path.join(root, "sys/block", name), "hidden") != "1" and \
                members.intersection(path.name for path in _nvme_paths(name, root)):
            found.append(name)
    return tuple(found)


def namespace_uuids(root: str = "/") -> Tuple[str, ...]:
    """The UUID of every NVMe namespace of this host that has one."""
    base = os.path.join(root, "sys/block")
    found = []
    for name in _names(base):
        if name.startswith("nvme"):
            where = os.path.join(base, name)
            found.append(_read(where, "wwid").partition("uuid.")[2] or _read(where, "uuid"))
    return tuple(dict.fromkeys(filter(None, found)))


def maps_of(disk: str, root: str = "/") -> Tuple[Tuple[str, str], ...]:
    """(name, dm uuid) of what holds a disk: dm-0, "mpath-3600..."."""
    holders = _names(os.path.join(root, "sys/block", disk, "holders"))
    return tuple((name, _read(os.path.join(root, "sys/block", name), "dm/uuid")) for name in holders)


def numbers(device: str, root: str = "/") -> Tuple[str, ...]:
    """major:minor of a block device, its partitions and all that is built on them."""
    found: List[str] = []
    _collect(os.path.join(root, "sys/block", device), root, found)
    return tuple(dict.fromkeys(found))


def numbers_of(number: str, root: str = "/") -> Tuple[str, ...]:
    """major:minor of a device given by its own, and of all that is built on it."""
    found: List[str] = []
    base = os.path.join(root, "sys/block")
    for name in _names(base):
        where = os.path.join(base, name)
        if _read(where, "dev") == number:
            _collect(where, root, found)
            break
        part = next((one for one in _names(where) if one.startswith(name) and _read(os.path.join(where, one), "dev") == number), "")
        if part:
            _collect(os.path.join(where, part), root, found)
            break
    return tuple(found)


def multipath_disks(root: str = "/") -> Tuple[str, ...]:
    """Every multipath map of this host: dm-0, dm-1."""
    base = os.path.join(root, "sys/block")
    maps = (name for name in _names(base) if name.startswith("dm-"))
    return tuple(name for name in maps if _read(os.path.join(base, name), "dm/uuid").startswith("mpath-"))


def adapter_host(adapter: str) -> str:
    """The kernel's name of a SCSI host: libvirt's "scsi_host2" -> "host2"."""
    return adapter[len("scsi_"):] if adapter.startswith("scsi_") else adapter


def behind_adapter(adapter: str, root: str = "/") -> Tuple[str, ...]:
    """The disks of a SCSI host, "host2" or libvirt's "scsi_host2"."""
    host = adapter_host(adapter)
    base = os.path.join(root, "sys/block")
    return tuple(name for name in _names(base) if name.startswith("sd") and f"/{host}/" in os.path.realpath(os.path.join(base, name)))


def _collect(where: str, root: str, found: List[str]) -> None:
    number = _read(where, "dev")
    if not number or number in found:
        return
    found.append(number)
    for name in _names(where):
        if os.path.exists(os.path.join(where, name, "partition")):
            _collect(os.path.join(where, name), root, found)
    for holder in _names(os.path.join(where, "holders")):
        _collect(os.path.join(root, "sys/block", holder), root, found)


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(directory: str, name: str) -> str:
    try:
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as stream:
            return stream.read(4096).strip()
    except OSError:  # it went away, or this kernel does not have it
        return ""
