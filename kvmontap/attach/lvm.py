"""LVM on what a pool brings up: the host itself activates nothing there, and what libvirt has activated goes before its device does.

A LUN, a namespace or a volume in a pool may hold a volume group that a guest has made on its own disk.  The distribution's udev rule
(69-dm-lvm.rules or 69-lvm.rules) would activate it on every host that sees the LUN: two writers of one piece of metadata.  A rule
of ours between blkid's and that one takes the word "LVM2_member" off the devices of pools.  libvirt activates the volume group of a
`logical` pool itself when it starts the pool, with vgchange -aly, which needs no udev.

The rules are written by kvmontap-lvm.service before udev looks at any device (`python3 -m kvmontap.attach.lvm`), since a LUN over Fibre
Channel is there as soon as its driver is; and again before a pool's own device is brought up, for what the configuration says by then.
"""

import os
import sys
from typing import Dict, Iterable, List

from kvmontap.attach import ledger
from kvmontap.attach.call import AttachError, call, say
from kvmontap.config import load, path_from_environment
from kvmontap.host import san
from kvmontap.model import FC, ISCSI, Pool

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
    if write(rules(pools)):
        call((UDEVADM, "control", "--reload"), SECONDS)


def write(text: str, path: str = RULES) -> bool:
    """Whether the rules are others now than they were."""
    if _text(path) == text:
        return False
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        temporary = f"{path}.{os.urandom(6).hex()}"  # not a name that udev reads
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), 0o644)
        os.rename(temporary, path)
        return True
    except OSError as error:
        say(f"{path} cannot be written ({error.strerror}); this host may activate volume groups that belong to guests")
        return False


def rules(pools: Iterable[Pool]) -> str:
    """The rules for these pools.  Pure."""
    lines: List[str] = []
    for pool in pools:
        lines += [f'{match}, ENV{{KVMONTAP_POOL}}="{pool.name}"' for match in _matches(pool)]
    return _HEAD + "".join(f"{line}\n" for line in lines) + _TAIL


def _matches(pool: Pool) -> List[str]:
    """How udev knows a pool's devices, the single paths to them included: multipath may not have taken these yet, or not at all."""
    if pool.wwid:
        return [f'ENV{{DM_UUID}}=="mpath-{pool.wwid}|part*-mpath-{pool.wwid}"', f'ENV{{ID_SERIAL}}=="{pool.wwid}"']
    if pool.namespace:
        return [f'ENV{{ID_WWN}}=="uuid.{pool.namespace.lower()}"']
    if pool.device:
        return [f'ENV{{DEVLINKS}}=="*{name}*"' for name in _plain(pool.device)] + [
            f'ENV{{DEVNAME}}=="{name}|{name}[0-9]*|{name}p[0-9]*"' for name in _plain(pool.device)]
    if pool.adapter:
        return [f'KERNELS=="{name}"' for name in _plain(san.adapter_host(pool.adapter))]
    every = ['ENV{DM_UUID}=="mpath-*|part*-mpath-*"'] if pool.type == "mpath" else []
    if pool.protocol == FC:
        return every + ['ENV{ID_PATH}=="*-fc-*-lun-*"']
    if pool.protocol == ISCSI:
        return every + [f'ENV{{ID_PATH}}=="*-iscsi-{name}-lun-*"' for iqn in pool.iqn or ("*",) for name in _plain(iqn, "*")]
    return []


def _plain(name: str, every: str = "") -> List[str]:
    """The name, where it means nothing but itself inside a rule, or is `every`."""
    return [name] if name == every or all(letter.isalnum() or letter in "/.:_+-@=" for letter in name) else []


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


def main() -> int:
    """What kvmontap-lvm.service runs: udev is not there yet, and must not be waited for."""
    write(rules(load(path_from_environment()).config.pools.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
