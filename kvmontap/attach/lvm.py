"""LVM on what a pool brings up: the host itself activates nothing there, and what libvirt has activated goes before its device does.

A LUN, a namespace or a volume in a pool may hold a volume group that a guest has made on its own disk.  The distribution's udev rule
(69-dm-lvm.rules or 69-lvm.rules) would activate it on every host that sees the LUN: two writers of one piece of metadata.  A rule
of ours between blkid's and that one takes the word "LVM2_member" off the devices of pools.  libvirt activates the volume group of a
`logical` pool itself when it starts the pool, with vgchange -aly, which needs no udev.
"""

import os
from typing import Dict, Iterable, List

from kvmontap.attach import ledger
from kvmontap.attach.call import AttachError, call, say
from kvmontap.host import san
from kvmontap.model import Pool

KIND = "lvm"
RULES = "/run/udev/rules.d/68-kvmontap-lvm.rules"
UDEVADM = "/usr/bin/udevadm"
SECONDS = 30.0
_HEAD = """\
# Written by kvmontap: volume groups on the devices of its pools, a guest's own among them, are not activated by this host.
# libvirt activates those of its pools of type logical.
SUBSYSTEM!="block", GOTO="kvmontap_end"
ENV{ID_FS_TYPE}!="LVM2_member|LVM1_member", GOTO="kvmontap_end"
"""
_TAIL = 'ENV{KVMONTAP_POOL}=="?*", ENV{ID_FS_TYPE}="", ENV{ID_FS_USAGE}=""\nLABEL="kvmontap_end"\n'


def guard(pools: Iterable[Pool]) -> None:
    """Have udev leave the volume groups on these pools' devices alone; called before a device can appear."""
    text = rules(pools)
    if _text(RULES) == text:
        return
    try:
        os.makedirs(os.path.dirname(RULES), mode=0o755, exist_ok=True)
        temporary = f"{RULES}.{os.urandom(6).hex()}"  # not a name that udev reads
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
        os.rename(temporary, RULES)
    except OSError as error:
        say(f"{RULES} cannot be written ({error.strerror}); this host may activate volume groups that belong to guests")
        return
    call((UDEVADM, "control", "--reload"), SECONDS)


def rules(pools: Iterable[Pool]) -> str:
    """The rules for these pools.  Pure."""
    lines: List[str] = []
    for pool in pools:
        lines += [f'{match}, ENV{{KVMONTAP_POOL}}="{pool.name}"' for match in _matches(pool)]
    return _HEAD + "".join(f"{line}\n" for line in lines) + _TAIL


def _matches(pool: Pool) -> List[str]:
    """How udev knows a pool's devices; a partition has its disk's properties."""
    if pool.wwid:
        return [f'ENV{{DM_UUID}}=="mpath-{pool.wwid}|part*-mpath-{pool.wwid}"']
    if pool.namespace:
        return [f'ENV{{ID_WWN}}=="uuid.{pool.namespace.lower()}"']
    if pool.device:
        return [f'ENV{{DEVLINKS}}=="*{pool.device}*"']
    if pool.type == "mpath":  # every LUN with a map is a volume of this pool, and so a guest's
        return ['ENV{DM_UUID}=="mpath-*|part*-mpath-*"']
    if pool.iqn:
        return [f'ENV{{ID_PATH}}=="*-iscsi-{iqn}-lun-*"' for iqn in pool.iqn]
    return []


def used(pool: Pool, path: str) -> None:
    """Note the volume group of a `logical` pool, to be deactivated before its device goes; AttachError where it is another."""
    if pool.type != "logical":
        return
    done = call(("/usr/sbin/pvs", "--noheadings", "-o", "vg_name", "--devices", path, path), SECONDS)
    if done.code == 127:
        raise AttachError("pvs is not installed; install lvm2")
    found = done.out.strip()
    if done.code:
        raise AttachError(f"{path} is no physical volume of LVM ({done.why}); check which device is meant (nothing is ever formatted)")
    if found != pool.vg:
        raise AttachError(f"{path} belongs to the volume group {found or '(none)'}, but vg = {pool.vg}; check which device is meant")
    with ledger.opened(KIND) as book:
        book.use(pool.vg, pool.name, True)


def release(name: str) -> None:
    """Deactivate the volume group that a pool used; AttachError where a volume of it is open."""
    with ledger.opened(KIND) as book:
        for group in book.only(name):
            if not active(group):
                continue
            done = call(("/usr/sbin/vgchange", "-an", group), SECONDS)
            if active(group):
                raise AttachError(f"the volume group {group} stays active: {done.why}; stop what uses it first")
        book.release(name, book.only(name))


def active(group: str, root: str = "/") -> Dict[str, str]:
    """{dm name: dm uuid} of the active volumes of a volume group: device-mapper doubles each "-" of a name."""
    prefix = group.replace("-", "--") + "-"
    return {name: uuid for name, uuid in san.mappings(root).items()
            if uuid.startswith("LVM-") and name.startswith(prefix) and not name[len(prefix):].startswith("-")}


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""
