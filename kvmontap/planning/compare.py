"""What differs between what the file wants and what is there: units, mounts, libvirt's pools.  Pure."""

import difflib
from typing import Iterable, List, Mapping, NamedTuple, Tuple

from kvmontap.host import match, mountinfo
from kvmontap.model import NFS, Config, Finding, Pool
from kvmontap.planning.running import Running
from kvmontap.pools.plan import AUTOSTART, BUILD, DEFINE, START, STOP, Plan
from kvmontap.units.bundle import Bundle, attached, mounted
from kvmontap.units.escape import path_unit

UNIT, MOUNT, POOL = "unit", "mount", "pool"
NEW, GONE, CHANGED = "new", "gone", "changed"
RELOAD = "systemctl daemon-reload"
# Mount options that the kernel shows as they were asked for, with what is in force where it shows none.
_SHOWN = {"vers": "", "nconnect": "1", "sec": "sys", "xprtsec": "none"}
_DOES = {DEFINE: "defined", BUILD: "given its directory", AUTOSTART: "autostarted from now on", START: "started", STOP: "stopped"}


class Difference(NamedTuple):
    """One thing that is not as the file wants it."""

    kind: str  # UNIT, MOUNT, POOL
    name: str  # path of a unit below the generator's directory, mount point, pool
    change: str  # NEW, GONE, CHANGED
    text: str  # a clause
    fix: str = ""  # what brings it about
    lines: Tuple[str, ...] = ()  # of a changed unit: a unified diff


def units(wanted: Bundle, there: Running) -> List[Difference]:
    """Units and links that a daemon-reload would make, change or take away."""
    found = []
    for name in sorted({*wanted.files, *there.files}):
        ours, theirs = wanted.files.get(name), there.files.get(name)
        if theirs is None:
            found.append(Difference(UNIT, name, NEW, "is not there yet", RELOAD))
        elif ours is None:
            found.append(Difference(UNIT, name, GONE, "goes", RELOAD))
        elif ours != theirs:
            lines = difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "running", "configured", lineterm="", n=1)
            found.append(Difference(UNIT, name, CHANGED, "changes", RELOAD, tuple(lines)))
    theirs_links = {path: target for path, target in there.links.items() if path in wanted.links or _ours(path, there.files)}
    for path in sorted({*wanted.links, *theirs_links}):
        if wanted.links.get(path) != theirs_links.get(path):
            change = NEW if path not in theirs_links else GONE if path not in wanted.links else CHANGED
            found.append(Difference(UNIT, path, change, _LINKS[change], RELOAD))
    return found


_LINKS = {NEW: "makes it start at boot", GONE: "no longer starts at boot", CHANGED: "points elsewhere"}


def _ours(path: str, files: Mapping[str, str]) -> bool:
    name = path.rpartition("/")[2]
    return name in files or name.startswith("kvmontap-")


def mounts(config: Config, wanted: Bundle, there: Running, findings: Mapping[str, Tuple[Finding, ...]]) -> List[Difference]:
    """Mounts that are missing, wrong, or mounted with other options, and those whose unit goes.

    findings: what a look at each pool's mount has found; empty where nobody looked (another host's files)."""
    if there.mounts is None:
        return []
    found = []
    for pool in config.pools.values():
        if attached(pool):
            found += _mount(pool, there.mounts, findings.get(pool.name, ()))
    targets = {path_unit(pool.target, "mount") for pool in config.pools.values()}
    for mount in there.mounts:
        unit = path_unit(mount.where, "mount")
        if unit in there.files and unit not in wanted.files and unit not in targets:
            text = "is mounted and no pool of the file any more; it stays until it is taken down"
            found.append(Difference(MOUNT, mount.where, GONE, text, "kvmontap pool apply"))
    return found


def _mount(pool: Pool, there: Tuple[mountinfo.Mount, ...], findings: Tuple[Finding, ...]) -> List[Difference]:
    unit = path_unit(pool.target, "mount")
    bad = next((one for one in findings if one.code.startswith("mount.")), None)
    mount = mountinfo.at(there, match.real(pool.target, match.links(there)))
    if mount is None or mount.fstype == "autofs":
        if pool.boot.mount != "boot":
            return []  # mounted when somebody wants it
        return [Difference(MOUNT, pool.target, NEW, "is not mounted", f"{RELOAD}; systemctl start {unit}")]
    if bad is not None:
        return [Difference(MOUNT, pool.target, CHANGED, bad.text, bad.fix)]
    other = options(pool, mount)
    if not other:
        return []
    return [Difference(MOUNT, pool.target, CHANGED, "; ".join(other), f"stop the VMs on it, then: {RELOAD}; systemctl restart {unit}")]


def options(pool: Pool, mount: mountinfo.Mount) -> Tuple[str, ...]:
    """What an NFS mount has otherwise than a new one would, a clause each; for other types the kernel shows too little."""
    if pool.protocol != NFS:
        return ()
    asked = dict(one.partition("=")[::2] for one in mounted(pool).options.split(","))
    found = []
    for name, silent in _SHOWN.items():
        want, have = asked.get(name) or silent, mount.option(name) or silent
        if want and have and want != have:
            found.append(f"{name} is {have} instead of {want}")
    for flag, other in (("hard", "soft"), ("soft", "hard"), ("softerr", "hard")):
        if flag in asked and other in mount.super_options:
            found.append(f"it is mounted {other} instead of {flag}")
    return tuple(found)


def pools(planned: Mapping[str, Plan]) -> List[Difference]:
    """What kvmontap-pools.service would do to libvirt's pools, and what it would only tell."""
    found = []
    for name, todo in planned.items():
        if todo.steps:
            change = NEW if DEFINE in todo.steps else CHANGED
            text = f"would be {_and(_DOES[step] for step in todo.steps)}"
            found.append(Difference(POOL, name, change, text, "kvmontap pool apply"))
        found += [Difference(POOL, name, CHANGED, remark.text, remark.fix) for remark in todo.remarks]
    return found


def _and(words: Iterable[str]) -> str:
    every = list(words)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"
