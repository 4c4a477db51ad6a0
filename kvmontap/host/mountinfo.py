"""The mounts of this process's namespace, from /proc/self/mountinfo (proc(5)), which is read without touching a mount.

Reading never hangs, however dead the mounted servers are: the kernel prints what it remembers.
"""

import os
from typing import Dict, List, NamedTuple, Optional, Tuple

# File systems whose daemon or server can leave a system call without an answer.
REMOTE = frozenset(
    "nfs nfs4 cifs smb3 smbfs autofs ceph glusterfs 9p virtiofs ocfs2 gfs2 gpfs lustre afs coda ncpfs fuse fuseblk".split()
)


class Mount(NamedTuple):
    """One line of mountinfo, its escapes undone."""

    where: str  # mount point, absolute
    what: str  # source: device, "host:/export", "//server/share", any text for others
    fstype: str
    options: Tuple[str, ...] = ()  # of this mount: "rw", "relatime"
    root: str = "/"  # the part of the file system that is mounted here
    device: str = "0:0"  # major:minor of the file system
    super_options: Tuple[str, ...] = ()  # of the file system: "rw", "vers=4.1", "addr=..."
    id: int = 0
    parent: int = 0

    def option(self, name: str) -> str:
        """The value of a file system's option, "" where it is not given."""
        start = name + "="
        return next((one[len(start):] for one in self.super_options if one.startswith(start)), "")

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options

    @property
    def remote(self) -> bool:
        return self.fstype in REMOTE or self.fstype.startswith("fuse.")


def read(root: str = "/") -> Tuple[Mount, ...]:
    """Every mount, in the kernel's order; raises OSError when proc is not there."""
    with open(os.path.join(root, "proc/self/mountinfo"), "rb") as file:
        return parse(file.read())


def parse(text: bytes) -> Tuple[Mount, ...]:
    """The mounts in the text of a mountinfo file; a line that is none is passed over."""
    found = (_line(line) for line in text.split(b"\n"))
    return tuple(mount for mount in found if mount is not None)


def _line(line: bytes) -> Optional[Mount]:
    """36 35 98:0 /root /where rw,noatime master:1 - ext3 /dev/root rw,errors=continue"""
    left, dash, right = line.partition(b" - ")
    fields, rest = left.split(b" "), right.split(b" ")
    if not dash or len(fields) < 6 or len(rest) < 2 or not (fields[0].isdigit() and fields[1].isdigit()):
        return None
    return Mount(
        where=_plain(fields[4]),
        what=_plain(rest[1]),
        fstype=_plain(rest[0]),
        options=_options(fields[5]),
        root=_plain(fields[3]),
        device=_plain(fields[2]),
        super_options=_options(rest[2] if len(rest) > 2 else b""),
        id=int(fields[0]),
        parent=int(fields[1]),
    )


def _options(text: bytes) -> Tuple[str, ...]:
    return tuple(_plain(one) for one in text.split(b",") if one)


def _plain(text: bytes) -> str:
    r"""The kernel writes space, tab, newline, backslash and # as \ooo; names are bytes, told as Python tells paths."""
    head, *tails = text.split(b"\\")
    parts = [head]
    for tail in tails:
        digits = tail[:3]
        if len(digits) == 3 and all(48 <= digit <= 55 for digit in digits) and digits < b"400":
            parts.append(bytes((int(digits, 8),)) + tail[3:])
        else:
            parts.append(b"\\" + tail)
    return os.fsdecode(b"".join(parts))


def covering(mounts: Tuple[Mount, ...], path: str) -> Optional[Mount]:
    """The mount that a lookup of `path` ends in, found as the kernel does: from the root, mount by mount.

    So a mount stacked on another counts instead of it, and one that a later mount further up hides does not.  `path`
    is absolute and free of symbolic links.  None where mountinfo shows no root.
    """
    below: Dict[int, List[Mount]] = {}
    shown = {mount.id for mount in mounts}
    current: Optional[Mount] = None
    for mount in mounts:
        below.setdefault(mount.parent, []).append(mount)
        # The root's own parent is not shown; rootfs of an initrd may be below it.
        if current is None and mount.where == "/" and (mount.parent not in shown or mount.parent == mount.id):
            current = mount
    seen = set()
    while current is not None and current.id not in seen:
        seen.add(current.id)
        inside = [m for m in below.get(current.id, ()) if m.id not in seen and is_below(path, m.where)]
        if not inside:
            break
        # Mounts of one parent are met from the top; of two on one place (a race in the listing) the later counts.
        shortest = min(len(m.where) for m in inside)
        current = [m for m in inside if len(m.where) == shortest][-1]
    return current


def at(mounts: Tuple[Mount, ...], path: str) -> Optional[Mount]:
    """The mount that is visible on `path` itself, None when nothing is mounted there."""
    mount = covering(mounts, path)
    return mount if mount is not None and mount.where == path else None


def is_below(path: str, top: str) -> bool:
    """Whether `path` is `top` or lies below it, by name."""
    return path == top or path.startswith(top if top.endswith("/") else top + "/")


def remote(mounts: Tuple[Mount, ...]) -> Tuple[str, ...]:
    """The mount points below which a system call can hang."""
    return tuple(mount.where for mount in mounts if mount.remote)
