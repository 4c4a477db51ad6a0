"""What the array knows this host by: iSCSI initiator name, FC port names, NVMe host NQN.  Reads files only.

`root` is the directory that holds etc/ and sys/, "/" on a host; the tests give recorded trees.
"""

import os
from typing import Dict, List, NamedTuple, Tuple

from kvmontap.model import FC, ISCSI

INITIATOR = "etc/iscsi/initiatorname.iscsi"
HOSTNQN = "etc/nvme/hostnqn"
HOSTID = "etc/nvme/hostid"


class Port(NamedTuple):
    """One FC port; names as ONTAP's igroups and `sanlun` write them."""

    host: str  # host7
    wwpn: str  # 21:00:f4:c7:aa:01:02:03
    wwnn: str
    state: str  # Online, Linkdown, ...
    speed: str  # "32 Gbit", "unknown"


class Identity(NamedTuple):
    """The identities of one host; "" and () where it has none."""

    iqn: str
    ports: Tuple[Port, ...]
    nqn: str
    hostid: str  # the UUID beside the NQN; a subsystem takes two hosts with one NQN for one, whatever this says
    missing: Tuple[Tuple[str, str], ...]  # ("iqn" | "wwpn" | "nqn", why there is none and what to do), where there is none


def read(root: str = "/") -> Identity:
    """The identities of the host whose root is `root`."""
    iqn, why_no_iqn = _initiator(_text(root, INITIATOR))
    ports = _ports(root)
    nqn = _first_line(_text(root, HOSTNQN))
    wrong_nqn = bool(nqn) and not nqn.startswith("nqn.")
    missing = []
    if not iqn:
        missing.append(("iqn", why_no_iqn))
    if not ports:
        missing.append(("wwpn", "the kernel shows no FC port in /sys/class/fc_host; check the adapter and its driver"))
    if not nqn or wrong_nqn:
        why = f"/{HOSTNQN} holds {nqn!r}, which is no NQN" if wrong_nqn else f"/{HOSTNQN} is missing or empty"
        missing.append(("nqn", f"{why}; run: nvme gen-hostnqn > /{HOSTNQN}"))
    return Identity(iqn, ports, "" if wrong_nqn else nqn, _first_line(_text(root, HOSTID)), tuple(missing))


def wanted(protocols: Tuple[str, ...]) -> Tuple[str, ...]:
    """Which identities pools of these protocols cannot do without, in the order of Identity.missing."""
    kinds: Dict[str, str] = {ISCSI: "iqn", FC: "wwpn", "nvme-tcp": "nqn", "nvme-rdma": "nqn", "nvme-fc": "nqn"}
    needed = {kinds[protocol] for protocol in protocols if protocol in kinds}
    needed |= {"wwpn"} if "nvme-fc" in protocols else set()
    return tuple(kind for kind in ("iqn", "wwpn", "nqn") if kind in needed)


def names(identity: Identity, protocol: str) -> Tuple[str, ...]:
    """The names by which an array knows the host for pools of that protocol: those that its igroup or subsystem must have."""
    if protocol == FC:
        return tuple(port.wwpn for port in identity.ports)
    found = identity.iqn if protocol == ISCSI else identity.nqn
    return (found,) if found else ()


def _initiator(text: str) -> Tuple[str, str]:
    """(IQN, "") or ("", why not) of the file as iscsid(8) reads it."""
    settings = dict(line.partition("=")[::2] for line in text.splitlines() if not line.lstrip().startswith("#"))
    settings = {key.strip(): value.strip() for key, value in settings.items()}
    name = settings.get("InitiatorName", "")
    if name.startswith(("iqn.", "eui.", "naa.")):
        return name, ""
    if name:
        return "", f"/{INITIATOR} names {name!r}, which is no initiator name; write InitiatorName=$(iscsi-iname) into it"
    if settings.get("GenerateName", "").lower() == "yes":
        # Debian's package leaves it to the first start of the service, so that an image can be cloned.
        return "", f"/{INITIATOR} is to be written at the first start of iSCSI; run: systemctl start open-iscsi"
    return "", f"/{INITIATOR} is missing or names none; run: echo InitiatorName=$(iscsi-iname) > /{INITIATOR}"


def _ports(root: str) -> Tuple[Port, ...]:
    base = os.path.join(root, "sys/class/fc_host")
    try:
        names = sorted(os.listdir(base), key=lambda name: (len(name), name))
    except OSError:
        return ()
    found: List[Port] = []
    for name in names:
        told = {key: _first_line(_text(base, f"{name}/{key}")) for key in ("port_name", "node_name", "port_state", "speed")}
        if told["port_name"]:
            found.append(Port(name, colons(told["port_name"]), colons(told["node_name"]), told["port_state"], told["speed"]))
    return tuple(found)


def colons(name: str) -> str:
    """A world wide name as people and igroups write it: "0x2100f4c7aa010203" -> "21:00:f4:c7:aa:01:02:03"."""
    digits = name[2:] if name.startswith("0x") else name
    return ":".join(digits[place : place + 2] for place in range(0, len(digits), 2)).lower()


def _text(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 16)
    except OSError:
        return ""


def _first_line(text: str) -> str:
    return text.splitlines()[0].strip() if text else ""
