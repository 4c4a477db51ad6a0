"""From what a host mounts by hand to one section of [pools]: every option becomes a key, stays in options=, or is told.  Pure."""

from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

from kvmontap.config import parse
from kvmontap.importing import options as sorting
from kvmontap.importing.text import section
from kvmontap.model import NFS, SMB

NFS_TYPES = ("nfs", "nfs4")
SMB_TYPES = ("cifs", "smb3")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


class Entry(NamedTuple):
    """One thing that is mounted, from wherever it is written down."""

    origin: str  # file, or "libvirt"
    line: int  # 1-based, 0 where there is none
    what: str  # "172.21.35.11:/kvmnfs01", "//kvmfs01/kvmsmb01"; several NFS servers with commas between
    where: str
    fstype: str
    options: Tuple[str, ...] = ()
    boot: Tuple[Tuple[str, str], ...] = ()  # keys of [[[boot]]] that the origin itself decides
    pool: Tuple[Tuple[str, str], ...] = ()  # keys of the section that the origin itself decides
    name: str = ""  # of the pool; "" = made from `where`
    notes: Tuple[str, ...] = ()
    instead: str = ""  # what is to be taken away once kvmontap mounts it, a clause


class Draft(NamedTuple):
    """A section that `kvmontap check` finds sound."""

    entry: Entry
    name: str
    keys: Tuple[Tuple[str, str], ...]  # in the order of the key table
    boot: Tuple[Tuple[str, str], ...]
    notes: Tuple[str, ...]  # what is not carried over or changes a little, a clause each


class Left(NamedTuple):
    """What stays where it is."""

    origin: str
    line: int
    what: str
    reason: str  # a clause
    harmless: bool = False  # nothing that a pool could lie on

    def __str__(self) -> str:
        place = f"{self.origin}:{self.line}" if self.line else self.origin
        return f"{place}: {self.what}: {self.reason}"


class Refusal(ValueError):
    """Why an entry cannot become a section, a clause."""


def drafts(entries: Iterable[Entry], names: Dict[str, str], taken: Iterable[str]) -> List[Union[Draft, Left]]:
    """A Draft or a Left for each entry, in order.

    names: {mount point: libvirt's pool there}; taken: names that are used already.
    """
    used = set(taken)
    wheres: Dict[str, int] = {}
    made: List[Union[Draft, Left]] = []
    for entry in entries:
        one = _draft(entry, names, used)
        if isinstance(one, Draft) and wheres.setdefault(entry.where, entry.line) != entry.line:
            one = Left(entry.origin, entry.line, entry.where, f"is mounted by line {wheres[entry.where]} already")
        if isinstance(one, Draft):
            used.add(one.name)
        made.append(one)
    return made


def _draft(entry: Entry, names: Dict[str, str], used: Iterable[str]) -> Union[Draft, Left]:
    shown = f"{entry.where} ({entry.fstype or 'no type'})"
    try:
        if entry.fstype in NFS_TYPES:
            sorted_ = sorting.nfs(entry.options, entry.fstype)
            source = _nfs_source(entry.what)
        elif entry.fstype in SMB_TYPES:
            sorted_ = sorting.smb(entry.options)
            source = _smb_source(entry.what)
        else:
            raise Refusal("is not NFS and not SMB")
    except ValueError as error:
        return Left(entry.origin, entry.line, shown, str(error))
    notes = list(entry.notes) + sorted_.notes
    name = _name(entry.name or names.get(entry.where) or entry.where, used)
    if "credentials" not in sorted_.keys and entry.fstype in SMB_TYPES:
        sorted_.keys["credentials"] = f"/etc/kvmontap/{name}.smb"
        notes.append(f"no credentials file is named: write username= and password= into /etc/kvmontap/{name}.smb, mode 600")
    # One server with trunkdiscovery: mount.nfs asks it for its others, we want them named.
    if sorted_.keys.get("trunking") and len(source.get("server", "").split(",")) < 2:
        del sorted_.keys["trunking"]
        notes.append("trunkdiscovery is not carried: name every LIF in server = and write trunking = yes")
    boot = {**sorted_.boot, **dict(entry.boot)}
    keys = {**source, "target": entry.where, **sorted_.keys, **({"options": ",".join(sorted_.kept)} if sorted_.kept else {}),
            **dict(entry.pool)}
    one = Draft(entry, name, tuple(keys.items()), tuple(boot.items()), tuple(notes))
    problem = _unsound(one)
    return Left(entry.origin, entry.line, shown, problem) if problem else one


def _unsound(one: Draft) -> str:
    """What `kvmontap check` would say of the section, "" where it is content."""
    loaded = parse("\n".join(["[pools]", *section(one.name, one.keys, one.boot, ())]))
    for problem in loaded.problems:
        return f"{problem.key}{' ' if problem.key else ''}{problem.reason}"
    pool = loaded.config.pools.get(one.name)
    # A value that reads back as another one (blanks at its ends go) would be a mount of something else.
    wanted = dict(one.keys)
    same = pool is not None and pool.target == one.entry.where and pool.share == wanted.get("share", "") and \
        pool.export.strip("/") == wanted.get("export", "").strip("/") and pool.credentials == wanted.get("credentials", "")
    return "" if same else "cannot be written so that it reads back the same: a name begins or ends with a blank"


def _nfs_source(what: str) -> Dict[str, str]:
    hosts, colon, path = what.partition(":/")
    if what.startswith("["):  # the colons of an IPv6 address
        hosts, colon, path = what.partition("]:/")
        hosts += "]" if colon else ""
    if not colon or not hosts:
        raise Refusal(f"{what} is no HOST:/PATH")
    servers = [host[1:-1] if host.startswith("[") and host.endswith("]") else host for host in hosts.split(",")]
    return {"protocol": NFS, "server": ", ".join(servers), "export": "/" + path}


def _smb_source(what: str) -> Dict[str, str]:
    parts = what.replace("\\", "/").strip("/").split("/")
    if not what.startswith(("//", "\\\\")) or len(parts) < 2:
        raise Refusal(f"{what} is no //SERVER/SHARE")
    if len(parts) > 2:
        raise Refusal(f"mounts a directory below the share {parts[1]}; make a share of it, or mount the share itself")
    return {"protocol": SMB, "server": parts[0], "share": parts[1]}


def _name(wanted: str, used: Iterable[str]) -> str:
    """A pool's name that is free: the last part of a path, with what a name cannot have left out."""
    base = wanted.rstrip("/").rpartition("/")[2]
    base = "".join(char if char.isascii() and (char in _LETTERS or char in "-+.") else "-" for char in base)[:100].lstrip("-+.") or "pool"
    name, count = base, 1
    while name in used:
        count += 1
        name = f"{base}-{count}"
    return name


def local(entry: Entry) -> Optional[Left]:
    """A Left for what lies on this host itself, None for what may be an array's."""
    if entry.fstype in NFS_TYPES + SMB_TYPES:
        return None
    if entry.fstype == "swap" or not entry.where.startswith("/"):
        return Left(entry.origin, entry.line, entry.what, "is nothing that a pool could lie on", True)
    network = entry.fstype in ("ocfs2", "gfs2") or "_netdev" in entry.options
    reason = ("is a block device: how this host reaches it is not written there; write the section with protocol =, portals = and "
              "wwid = or namespace =" if network else "is local")
    return Left(entry.origin, entry.line, f"{entry.where} ({entry.fstype})", reason, not network)
