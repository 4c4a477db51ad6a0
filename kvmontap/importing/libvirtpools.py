"""libvirt's storage pools as entries: netfs pools tell what they mount, dir pools lie on what something else mounts.  Pure."""

from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kvmontap.host.mountinfo import Mount
from kvmontap.importing.draft import NFS_TYPES, SMB_TYPES, Entry, Left
from kvmontap.pools import xml
from kvmontap.units.mounted import defaults

ORIGIN = "libvirt"
# Of what the kernel shows of a mount: what somebody chose.  The rest are its defaults, addresses and negotiated sizes.
_CHOSEN = ("vers", "nconnect", "sec", "proto", "xprtsec", "soft", "softerr", "softreval", "noatime", "nodiratime", "nolock", "nocto",
           "noac", "ro", "port", "multichannel", "max_channels", "nobrl", "seal")
# The first of each a netfs pool of ours has, unless another of them is typed.
_OURS = (("hard", "soft", "softerr", "softreval"), ("sec=sys",))


class Known(NamedTuple):
    """One pool of libvirt's."""

    name: str
    text: str  # its XML
    autostart: bool


def entries(pools: Iterable[Known], written: Sequence[Entry], mounts: Tuple[Mount, ...]) -> List[Union[Entry, Left]]:
    """An Entry or a Left for each pool.

    written: what fstab and the maps mount, which is believed first; mounts: what is mounted now.
    """
    by_where = {entry.where: entry for entry in written}
    return [_entry(pool, by_where, mounts) for pool in pools]


def _entry(pool: Known, written: Mapping[str, Entry], mounts: Tuple[Mount, ...]) -> Union[Entry, Left]:
    shown = f"pool {pool.name}"
    try:
        form = xml.read(pool.text)
    except ValueError as error:
        return Left(ORIGIN, 0, shown, str(error))
    autostart: Tuple[Tuple[str, str], ...] = () if pool.autostart else (("autostart", "no"),)
    if form.type == xml.NETFS:
        return _netfs(pool, form, autostart)
    if form.type != xml.DIR:
        return Left(ORIGIN, 0, shown, f"is of type {form.type}: how this host reaches its device is not written there; write the section "
                                      "with protocol =, portals = and wwid = or namespace =")
    entry = written.get(form.target) or _mounted(form.target, mounts)
    if entry is not None:
        return entry._replace(name=pool.name, pool=entry.pool + autostart)
    above = next((where for where in [*written, *(mount.where for mount in mounts if mount.fstype in NFS_TYPES + SMB_TYPES)]
                  if form.target.startswith(where.rstrip("/") + "/") and where != "/"), None)
    if above:
        return Left(ORIGIN, 0, shown, f"lies in {form.target}, a directory of what is mounted at {above}; write a section whose export "
                                      "names that directory")
    return Left(ORIGIN, 0, shown, f"is the directory {form.target}, on which no network file system is mounted")


def _netfs(pool: Known, form: xml.Shape, autostart: Tuple[Tuple[str, str], ...]) -> Union[Entry, Left]:
    if form.format not in ("nfs", ""):
        return Left(ORIGIN, 0, f"pool {pool.name}",
                    f"mounts {form.format}, which libvirt does as guest only; write a section with protocol = smb and credentials =")
    if len(form.hosts) != 1:
        return Left(ORIGIN, 0, f"pool {pool.name}", f"names {len(form.hosts)} hosts")
    host = f"[{form.hosts[0]}]" if ":" in form.hosts[0] else form.hosts[0]
    options = ((f"vers={form.version}",) if form.version else ()) + form.options
    missing = defaults(",".join(form.options), *_OURS)
    notes = () if not missing else (
        f"libvirt's pool lacks the options {', '.join(missing)} of ours and stays as it is until it is made anew: virsh pool-destroy "
        f"{pool.name}; virsh pool-undefine {pool.name}; kvmontap pool apply",)
    return Entry(ORIGIN, 0, f"{host}:{form.directory}", form.target, "nfs", options, pool=(("type", "netfs"), *autostart), name=pool.name,
                 notes=notes)


def _mounted(target: str, mounts: Tuple[Mount, ...]) -> Optional[Entry]:
    """What is mounted at `target` now, with the options that somebody chose."""
    found = next((mount for mount in reversed(mounts) if mount.where == target and mount.fstype in NFS_TYPES + SMB_TYPES), None)
    if found is None:
        return None
    options = tuple(dict.fromkeys(option for option in found.options + found.super_options if option.partition("=")[0] in _CHOSEN))
    return Entry(ORIGIN, 0, found.what, target, "nfs" if found.fstype in NFS_TYPES else "cifs", options,
                 notes=("its options are those of the mount as it is now: compare them with what mounts it",),
                 instead=f"find what mounts {target} (systemctl status {target}) and disable it")


def names(pools: Iterable[Known]) -> Dict[str, str]:
    """{target: pool} of the pools that lie in a directory."""
    found: Dict[str, str] = {}
    for pool in pools:
        try:
            form = xml.read(pool.text)
        except ValueError:
            continue
        if form.type in xml.TYPES and form.target:
            found.setdefault(form.target, pool.name)
    return found
