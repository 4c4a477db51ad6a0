"""Which pools of ours a domain's storage lies on.

Pure but for one question, `readlink`.  It is never asked about a path at or below a pool's target, nor (as `links`
answers it) below any other mount whose server may be dead: the matching itself must not hang.  What lies inside a pool is
therefore compared by name: a symbolic link inside a pool that leads out of it is not followed.
What lies on a pool's device in another way (the device itself, a partition, a volume of LVM, a file system mounted elsewhere) is
found by `behind`, by default kvmontap.host.behind.
"""

import functools
import os
from typing import Callable, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from kvmontap.domain.pooldefs import PoolDef, volume_path
from kvmontap.host import mountinfo
from kvmontap.model import Config, Domain, Source

_LINKS = 40  # as many as the kernel follows in one lookup


class Hit(NamedTuple):
    """A pool of ours and what of the domain lies on it."""

    pool: str
    sources: Tuple[Source, ...]
    broken: bool = False  # its section in the configuration cannot be used


def match(
    domain: Domain,
    config: Config,
    pooldefs: Mapping[str, PoolDef],
    broken: Tuple[str, ...] = (),
    readlink: Optional[Callable[[str], str]] = None,
    behind: Optional[Callable[[Source], FrozenSet[str]]] = None,
) -> Tuple[Hit, ...]:
    """The pools that the domain touches, in the order of the configuration, broken ones last.

    `broken` are the names of sections that could not be used (model.Loaded.broken): they match by the name of the
    libvirt pool, by that pool's target in `pooldefs`, and by /mnt/NAME.  `readlink` maps an absolute path to where the
    symbolic link there points, "" where there is none; by default links(mountinfo.read()).  `behind` names the pools on whose
    devices a source lies; of a volume it is asked about the path.
    """
    ask = readlink if readlink is not None else links(mountinfo.read())
    targets = _targets(config, pooldefs, broken)
    known = frozenset(tuple(config.pools) + tuple(broken))
    hits: Dict[str, List[Source]] = {name: [] for name in tuple(config.pools) + tuple(broken)}
    walk = _Walk(targets, ask)
    for source in domain.sources:
        names = _pools_of(source, known, pooldefs, walk)
        if behind is not None:
            names += tuple(name for name in behind(_placed(source, pooldefs)) if name not in names)
        for name in names:
            hits[name].append(source)
    return tuple(
        Hit(name, tuple(sources), name not in config.pools) for name, sources in hits.items() if sources
    )


def links(mounts: Tuple[mountinfo.Mount, ...]) -> Callable[[str], str]:
    """A readlink for `match` that asks the kernel, except at and below mounts that may not answer."""
    avoid = mountinfo.remote(mounts)

    def readlink(path: str) -> str:
        if any(mountinfo.is_below(path, top) for top in avoid):
            return ""
        try:
            return os.readlink(path)
        except (OSError, ValueError):
            return ""

    return readlink


def real(path: str, readlink: Callable[[str], str]) -> str:
    """`path` with the links in front of its last component resolved; the last one itself is not touched."""
    top, name = os.path.split(os.path.normpath(path))
    steps = tuple(_steps(top, readlink))
    return os.path.join(steps[-1] if steps else "/", name)


def hangs_with(path: str) -> Tuple[str, int]:
    """The mount that a file lies on, as something to compare: what hangs on one file of it hangs on all."""
    try:
        mounts = mountinfo.read()
    except OSError:
        return "", 0
    mount = mountinfo.covering(mounts, real(path, links(mounts)))
    return (mount.device, mount.id) if mount is not None else ("", 0)


def _placed(source: Source, pooldefs: Mapping[str, PoolDef]) -> Source:
    """A volume with the path that libvirt opens for it, where that is known."""
    pool = pooldefs.get(source.pool) if source.kind == "volume" else None
    return source if pool is None else source._replace(path=volume_path(pool, source.volume))


def _pools_of(
    source: Source, known: FrozenSet[str], pooldefs: Mapping[str, PoolDef], walk: "_Walk"
) -> Tuple[str, ...]:
    found: Set[str] = set()
    if source.kind == "volume":
        if source.pool in known:
            found.add(source.pool)
        pool = pooldefs.get(source.pool)
        if pool is not None:
            # Where a volume's path does not follow from its name, the pool's own place has to do.
            found |= walk.pools(volume_path(pool, source.volume) or pool.target)
    elif source.path:
        found |= walk.pools(source.path)
    return tuple(found)


def _targets(config: Config, pooldefs: Mapping[str, PoolDef], broken: Tuple[str, ...]) -> Dict[str, Set[str]]:
    """Target path -> names of the pools there."""
    targets: Dict[str, Set[str]] = {}
    for name, pool in config.pools.items():
        if pool.target:
            targets.setdefault(os.path.normpath(pool.target), set()).add(name)
    for name in broken:
        targets.setdefault(os.path.normpath("/mnt/" + name), set()).add(name)
        known = pooldefs.get(name)
        if known is not None and known.target.startswith("/") and known.target.strip("/"):
            targets.setdefault(os.path.normpath(known.target), set()).add(name)
    return targets


class _Walk:
    """Lookups among the same targets."""

    def __init__(self, targets: Mapping[str, Set[str]], readlink: Callable[[str], str]) -> None:
        self._readlink = functools.lru_cache(maxsize=None)(readlink)  # hundreds of pools share their way
        self._targets: Dict[str, Set[str]] = {path: set(names) for path, names in targets.items()}
        # A target that is itself reached through a link goes by its real name too: that is how mountinfo tells it.
        for path, names in targets.items():
            self._targets.setdefault(real(path, self._outside), set()).update(names)

    def _outside(self, path: str) -> str:
        """readlink, for places that are neither a target nor below one."""
        place = path
        while place != "/":
            if place in self._targets:
                return ""
            place = os.path.dirname(place)
        return self._readlink(path)

    def pools(self, path: str) -> Set[str]:
        """Every pool whose target a lookup of `path` passes through; a relative path starts at / as QEMU does."""
        found: Set[str] = set()
        for where in _steps(path, self._outside):
            found |= self._targets.get(where, set())
        return found


def _steps(path: str, readlink: Callable[[str], str]) -> Iterator[str]:
    """Each place that a lookup of `path` comes by, links followed as the kernel does."""
    where = "/"
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    followed = 0
    while todo:
        part = todo.pop()
        if part == "..":
            where = os.path.dirname(where)
            yield where
            continue
        step = where.rstrip("/") + "/" + part
        yield step
        pointed = readlink(step)
        if not pointed or followed == _LINKS:
            where = step
            continue
        followed += 1
        todo.extend(part for part in reversed(pointed.split("/")) if part not in ("", "."))
        if pointed.startswith("/"):
            where = "/"
        yield where
