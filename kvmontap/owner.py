"""The account that qemu runs under, read from files as they stand on the disk.

A generator must not look names up (nss-systemd asks PID 1, which waits for us), so /etc/passwd and /etc/group are read here.
On the boot path, for SMB pools only.
"""

import re
from typing import Optional, Tuple

from kvmontap.units.mounted import Owner

QEMU_CONF = "etc/libvirt/qemu.conf"
ACCOUNTS = ("libvirt-qemu", "qemu")  # Debian and Arch; Fedora and RHEL


def qemu_owner(root: str = "/") -> Optional[Owner]:
    """Who owns what libvirt's qemu is to write, on the host whose root is `root`; None where no such account is known."""
    base = root.rstrip("/") + "/"
    user, group = _configured(_text(base + QEMU_CONF))
    passwd, groups = _text(base + "etc/passwd"), _text(base + "etc/group")
    for name in (user,) if user else ACCOUNTS:
        number = _number(name)
        account = _fields(passwd, name)
        uid = number if number is not None else account[0] if account else None
        if uid is None:
            continue
        wanted = group or name
        found = _fields(groups, wanted)
        gid = _number(wanted) if _number(wanted) is not None else found[0] if found else None
        if gid is None:
            gid = account[1] if account and account[1] is not None else uid
        return Owner(uid, gid)
    return None


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read(1 << 20)
    except OSError:
        return ""


def _configured(text: str) -> Tuple[str, str]:
    """The values of `user` and `group` in qemu.conf; "" where they are not set."""
    found = dict(re.findall(r'^\s*(user|group)\s*=\s*"([^"\n]*)"', text, re.MULTILINE))
    return found.get("user", ""), found.get("group", "")


def _number(name: str) -> Optional[int]:
    # qemu.conf: "+123" is a number even where an account of that name exists; a bare number is one where none does.
    return int(name.lstrip("+")) if re.fullmatch(r"\+?[0-9]{1,10}", name) else None


def _fields(text: str, name: str) -> Optional[Tuple[int, Optional[int]]]:
    """(uid, gid) of a passwd line, or (gid, None) of a group line."""
    found = re.search(rf"^{re.escape(name)}:[^:\n]*:([0-9]+):([0-9]*)", text, re.MULTILINE)
    return (int(found.group(1)), int(found.group(2)) if found.group(2) else None) if found else None
