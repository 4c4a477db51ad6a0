"""Where a host keeps what is imported, and the writing of the file.  An edge: reads and writes files below a root."""

import os
import time
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

from kvmontap.config import parse
from kvmontap.config.onhost import under
from kvmontap.host import mountinfo
from kvmontap.importing import autofs, draft, fstab, libvirtpools, text
from kvmontap.importing.draft import Draft, Entry, Left
from kvmontap.importing.libvirtpools import Known

FSTAB, AUTO_MASTER = "/etc/fstab", ("/etc/auto.master", "/etc/autofs/auto.master")  # Arch has the second
STORAGE = "/etc/libvirt/storage"


class CannotImport(Exception):
    """Why nothing can be imported or written, one sentence."""


class Imported(NamedTuple):
    """What was found: sections to be, and what stays where it is."""

    drafts: Tuple[Draft, ...]
    left: Tuple[Left, ...]


def from_fstab(root: str, path: str, conf: str) -> Imported:
    """What the fstab at `path` mounts."""
    return _sorted([one for one in fstab.read(_needed(root, path), path)], root, conf)


def from_autofs(root: str, path: str, conf: str) -> Imported:
    """What the maps of the master map at `path` mount ("" = where the distribution has it)."""
    path = path or next((one for one in AUTO_MASTER if os.path.exists(under(root, one))), AUTO_MASTER[0])
    _needed(root, path)
    return _sorted(autofs.read(path, lambda name: _text(root, name), lambda name: _listed(root, name)), root, conf)


def from_libvirt(root: str, pools: Optional[Sequence[Known]], conf: str) -> Imported:
    """libvirt's pools; `pools` None = as they are written below `root`."""
    found = stored_pools(root) if pools is None else pools
    written = [one for one in fstab.read(_text(root, FSTAB) or "") if isinstance(one, Entry)]
    master = next((one for one in AUTO_MASTER if os.path.exists(under(root, one))), "")
    if master:
        maps = autofs.read(master, lambda name: _text(root, name), lambda name: _listed(root, name))
        written += [one for one in maps if isinstance(one, Entry)]
    try:
        mounts = mountinfo.read(root)
    except OSError:
        mounts = ()  # offline
    return _sorted(libvirtpools.entries(found, written, mounts), root, conf, libvirtpools.names(found))


def _sorted(found: Sequence[Union[Entry, Left]], root: str, conf: str, names: Optional[dict] = None) -> Imported:
    """Drafts of what can be a pool; what the file at `conf` has already stays out."""
    config = parse(_text(root, conf) or "").config
    there = {pool.target: pool.name for pool in config.pools.values()}
    names = libvirtpools.names(stored_pools(root)) if names is None else names
    entries: List[Entry] = []
    left: List[Left] = []
    for one in found:
        if isinstance(one, Left):
            left.append(one)
        elif one.where in there:
            left.append(Left(one.origin, one.line, one.where, f"is pool {there[one.where]} of {conf} already", True))
        else:
            local = draft.local(one)
            left += [local] if local else []
            entries += [] if local else [one]
    made = draft.drafts(entries, names, config.pools)
    left += [one for one in made if isinstance(one, Left)]
    return Imported(tuple(one for one in made if isinstance(one, Draft)), tuple(sorted(left, key=lambda one: (one.origin, one.line))))


def stored_pools(root: str) -> Tuple[Known, ...]:
    """libvirt's pools as its daemon keeps them on disk; none where that cannot be read."""
    found = []
    for name in _listed(root, STORAGE):
        if name.endswith(".xml"):
            told = _text(root, f"{STORAGE}/{name}")
            autostart = os.path.lexists(under(root, f"{STORAGE}/autostart/{name}"))
            found += [Known(name[: -len(".xml")], told, autostart)] if told else []
    return tuple(found)


def sections(found: Imported) -> List[List[str]]:
    """The text of each section, with where it comes from and what it does not carry."""
    made = []
    for one in found.drafts:
        entry = one.entry
        origin = f"imported from {entry.origin}" + (f" line {entry.line}" if entry.line else "")
        made.append(text.section(one.name, one.keys, one.boot, [origin, *one.notes]))
    return made


def write(found: Imported, root: str, conf: str) -> str:
    """Puts the sections into the file and gives the backup's name ("" where there was no file); raises CannotImport."""
    path = under(root, conf)
    if root != "/" and os.path.islink(path):
        raise CannotImport(f"{conf} is a symbolic link, which may lead out of {root}; name the file that it means with --config")
    try:
        before = _bytes(path)
        old = (before or b"").decode("utf-8", "surrogateescape")
        new = text.merged(old, sections(found)).encode("utf-8", "surrogateescape")
        worse = _worse(before or b"", new, [one.name for one in found.drafts])
        if worse:
            raise CannotImport(f"{conf} is left as it is: {worse}; put the sections in by hand")
        backup = "" if before is None else _backup(path, before)
        _replace(path, new)
    except OSError as error:
        raise CannotImport(f"{conf} cannot be written: {error.strerror}") from None
    return backup[len(path) - len(conf):] if backup else ""


def _worse(before: bytes, after: bytes, names: Sequence[str]) -> str:
    """What would be wrong with the new text that was not with the old one, "" for nothing."""
    old, new = parse(before), parse(after)
    known = {(problem.section, problem.key, problem.reason) for problem in old.problems}
    for problem in new.problems:
        if not problem.note and (problem.section, problem.key, problem.reason) not in known:
            return f"[{problem.section}] {problem.key} {problem.reason}".replace("  ", " ")
    lost = [name for name in [*old.config.pools, *names] if name not in new.config.pools]
    return f"pool {lost[0]} would not be read" if lost else ""


def _backup(path: str, data: bytes) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name, count = f"{path}.before-import-{stamp}", 0
    while os.path.lexists(name):
        count += 1
        name = f"{path}.before-import-{stamp}-{count}"
    _new(name, data, os.stat(path))
    return name


def _replace(path: str, data: bytes) -> None:
    # A link stays a link.  Only the file's own: a path through /proc/PID/root would lead out of that root.
    real = os.path.realpath(path) if os.path.islink(path) else path
    temporary = f"{real}.{os.urandom(6).hex()}"
    try:
        _new(temporary, data, os.stat(real) if os.path.exists(real) else None)
        os.rename(temporary, real)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def _new(path: str, data: bytes, like: Optional[os.stat_result]) -> None:
    """A new file, on disk when this returns, with the owner and mode of `like`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fchmod(descriptor, (like.st_mode & 0o7777) if like else 0o644)
        if like and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fsync(descriptor)


def _needed(root: str, path: str) -> str:
    try:
        return (_bytes(under(root, path), True) or b"").decode("utf-8", "surrogateescape")
    except OSError as error:
        raise CannotImport(f"{path} cannot be read: {error.strerror}") from None


def _text(root: str, path: str) -> Optional[str]:
    try:
        data = _bytes(under(root, path))
    except OSError:
        return None
    return None if data is None else data.decode("utf-8", "surrogateescape")


def _bytes(path: str, needed: bool = False) -> Optional[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        if needed:
            raise
        return None


def _listed(root: str, directory: str) -> List[str]:
    try:
        return sorted(os.listdir(under(root, directory)))
    except OSError:
        return []
