"""From a configuration to every unit of it.  Pure.  On the boot path."""

from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from kvmontap.model import FILE_PROTOCOLS, NFS, SMB, Config, Pool, Problem
from kvmontap.units import block, errors, hosted, mount, nfs, smb
from kvmontap.units.escape import UNIT_NAME_MAX, path_unit, whole_line
from kvmontap.units.mounted import Mounted, Owner


class Bundle(NamedTuple):
    """What the generator writes below its first directory; mounts come before error units."""

    files: Dict[str, str]  # relative path -> text
    links: Dict[str, str]  # relative path -> target of the symbolic link
    problems: Tuple[Problem, ...] = ()  # those of the configuration, then what was found on the way
    bugs: Tuple[str, ...] = ()  # what went wrong in kvmontap itself, one line each


def bundle(config: Config, problems: Iterable[Problem] = (), owner: Optional[Owner] = None) -> Bundle:
    """Units for the pools of `config` and for what is wrong; a pool that cannot be written takes none of the others with it."""
    files: Dict[str, str] = {}
    links: Dict[str, str] = {}
    told: List[Problem] = list(problems)
    bugs: List[str] = []
    for pool in config.pools.values():
        try:
            reason = refusal(pool)
            if reason:
                told.append(Problem(config.path, 0, f"pools/{pool.name}", *reason))
                continue
            more_files, more_links = _units(pool, config.path, owner)
            files.update(more_files)
            links.update(more_links)
        except Exception as error:  # a bug of ours must not cost the other pools
            bugs.append(f"pool {pool.name}: {type(error).__name__}: {error}")
    files.update(_attached_by_libvirt(config))
    if any(pool.protocol not in FILE_PROTOCOLS for pool in config.pools.values()):
        links[f"{block.EARLY}/{block.LVM}"] = f"/usr/lib/systemd/system/{block.LVM}"
    bugs += _errors(told, files, links)
    return Bundle(files, links, tuple(told), tuple(bugs))


def _units(pool: Pool, source_path: str, owner: Optional[Owner]) -> Tuple[Dict[str, str], Dict[str, str]]:
    """({path: text}, {link: target}) of one pool."""
    if attached(pool):
        files, links = mount.units(pool, mounted(pool, owner), source_path)
        if pool.protocol not in FILE_PROTOCOLS:
            files.update(block.device_timeout(pool, mount.seconds(pool.boot.timeout), mount.HEADER, source_path))
        return files, links
    if pool.protocol in FILE_PROTOCOLS or pool.type not in block.DEVICE_TYPES:
        return {}, {}  # libvirt attaches it
    wanted = "" if pool.boot.mount == "manual" else block.attach_unit(pool)
    if pool.hosted_on:
        return hosted.units(pool, wanted, mount.HEADER, source_path)
    files = block.device_only(pool, mount.BEFORE, " ".join(mount.beside(pool)), mount.HEADER, source_path)
    target = f"/usr/lib/systemd/system/kvmontap-{block.kind(pool)}@.service"
    return files, {f"{mount.WANTED_BY}/{wanted}": target} if wanted else {}


def _errors(problems: List[Problem], files: Dict[str, str], links: Dict[str, str]) -> List[str]:
    try:
        more_files, more_links = errors.units(problems)
    except Exception as error:
        return [f"error units: {type(error).__name__}: {error}"]
    files.update(more_files)
    links.update(more_links)
    return []


def _attached_by_libvirt(config: Config) -> Dict[str, str]:
    """libvirt autostarts the pools that it attaches as soon as it runs, by its own units maybe before the network is online."""
    pools = config.pools.values()
    after = ["network-online.target"] if any(pool.type == "netfs" or pool.type in block.LIBVIRT_TYPES for pool in pools) else []
    if any(pool.type == "iscsi" for pool in pools):
        after.append(block.ISCSID)
    if not after:
        return {}
    text = f"{mount.HEADER}\n\n[Unit]\nAfter={' '.join(after)}\nWants={' '.join(after)}\n"
    return {f"{service}.d/50-kvmontap-network.conf": text for service in ("libvirtd.service", "virtstoraged.service")}


def mounted(pool: Pool, owner: Optional[Owner] = None) -> Mounted:
    """What is mounted for a pool that a unit of ours mounts."""
    if pool.protocol == NFS:
        return nfs.mounted(pool)
    return smb.mounted(pool, owner) if pool.protocol == SMB else block.mounted(pool)


def attached(pool: Pool) -> bool:
    """Whether a unit of ours mounts the pool; libvirt itself mounts those of type netfs and fs."""
    return pool.type == "dir" and (pool.protocol in FILE_PROTOCOLS or pool.filesystem in block.FILESYSTEMS)


def refusal(pool: Pool) -> Optional[Tuple[str, str]]:
    """(key, reason) why no unit can be made for `pool`, None where one can or where none is wanted."""
    if not attached(pool):
        return None
    unit = path_unit(pool.target, "automount")
    if len(unit) > UNIT_NAME_MAX:
        return ("target", f"makes a unit name of {len(unit)} characters, more than the {UNIT_NAME_MAX} of systemd; choose a shorter path")
    # The configuration's own rules refuse these; a unit file must not depend on it.
    if "," in pool.credentials:
        return ("credentials", "must have no comma in it, since it becomes a mount option")
    wanted = mounted(pool)
    source = {NFS: "export", SMB: "share"}.get(pool.protocol, "device")
    for key, value in (("target", mount.where(pool.target)), (source, wanted.what),
                       ("options", wanted.options)):
        if not whole_line(value):
            return (key, "cannot be written into a unit: it has a line break, a control character or a blank at its end")
    return None
