"""What is mounted for a pool on a block device: the device's path, the file system, and the units that bring them up.

Pure.  On the boot path.
"""

from typing import Dict, List, Tuple

from kvmontap.model import FC, ISCSI, Pool
from kvmontap.units.escape import instance, path_unit, specifiers
from kvmontap.units.mounted import Mounted

LOCAL = ("xfs", "ext4")
FILESYSTEMS = ("ocfs2", "gfs2") + LOCAL
# Types of libvirt's that have a device of ours beneath them and no mount of ours; `fs` is mounted by libvirt.
DEVICE_TYPES = ("fs", "logical", "disk", "scsi", "mpath")
LIBVIRT_TYPES = ("iscsi", "iscsi-direct")  # libvirt logs in itself, or QEMU does
BY_ID = "/dev/disk/by-id"
CLUSTER = "kvmontap-o2cb@.service"
# The distribution's service unmounts every OCFS2 file system when it stops, and kills what uses one that will not go: it stops after us.
OCFS2 = "ocfs2.service"
DLM = ("dlm.service",)  # which itself requires corosync
COROSYNC = "corosync.service"
HOSTED = "kvmontap-hosted-attach@.service"
ISCSID = "iscsid.service"
LVM = "kvmontap-lvm.service"
EARLY = "sysinit.target.wants"


def device_path(pool: Pool) -> str:
    """Where udev shows the pool's device (the partition, where one is named), whatever the kernel calls it this time; "" for none."""
    if pool.device:
        return pool.device
    if pool.wwid:
        # kpartx names the partitions of a map by their own UUID.
        part = f"part{pool.partition}-" if pool.partition else ""
        return f"{BY_ID}/dm-uuid-{part}mpath-{pool.wwid}"
    part = f"-part{pool.partition}" if pool.partition else ""
    return f"{BY_ID}/nvme-uuid.{pool.namespace}{part}" if pool.namespace else ""


def kind(pool: Pool) -> str:
    """How the pool's device comes up: iscsi, nvme or fc, the word that kvmontap.attach takes."""
    return "iscsi" if pool.protocol == ISCSI else "fc" if pool.protocol in (FC, "nvme-fc") else "nvme"


def attach_unit(pool: Pool) -> str:
    """The unit that brings the pool's device up."""
    return instance(HOSTED if pool.hosted_on else f"kvmontap-{kind(pool)}@.service", pool.name)


def mounted(pool: Pool) -> Mounted:
    """Source, type, options and units of a pool of one of FILESYSTEMS."""
    required, after = _beneath(pool)
    options = ([pool.options] if pool.options else []) + ["_netdev"]
    return Mounted(device_path(pool), pool.filesystem, ",".join(options), required=required, after=after)


def _beneath(pool: Pool) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """(units that the file system needs, units that only come before it where they run at all)."""
    attach = (attach_unit(pool),)
    if pool.filesystem == "ocfs2":
        return attach + (instance(CLUSTER, pool.cluster),), (OCFS2,)
    if pool.filesystem == "gfs2":
        return attach + DLM, (COROSYNC,)
    return attach, ()


def device_timeout(pool: Pool, timeout: str, header: str, source_path: str) -> Dict[str, str]:
    """{path: text} of what goes with the mount: how long its device is waited for, once it has been attached.

    Without the order the time would run from the beginning of the boot, the wait for the network included."""
    unit = path_unit(device_path(pool), "device")
    lines = [f"After={attach_unit(pool)}", f"JobRunningTimeoutSec={timeout}"]
    return {f"{unit}.d/50-kvmontap.conf": _drop_in(header, source_path, lines)}


def device_only(pool: Pool, before: str, wants: str, header: str, source_path: str) -> Dict[str, str]:
    """{path: text} of a pool whose device we bring up and libvirt does the rest with: `before` are libvirt's units.

    libvirt's own mount (type = fs) becomes a unit with a name and no text: the drop-in puts it between the device and libvirt."""
    required, after = _beneath(pool)
    attach, others = required[0], required[1:]
    order = [f"Before={before}", f"Wants={' '.join((wants,) + others)}"]
    order += [f"After={' '.join(others + after)}"] if others + after else []
    files = {f"{attach}.d/50-kvmontap.conf": _drop_in(header, source_path, order)}
    if pool.type == "fs":
        order = [f"After={' '.join(required + after)}", f"Before={before}"]
        files[f"{path_unit(pool.target, 'mount')}.d/50-kvmontap.conf"] = _drop_in(header, source_path, order)
    return files


def _drop_in(header: str, source_path: str, lines: List[str]) -> str:
    return "\n".join([header, "", "[Unit]", f"SourcePath={specifiers(source_path)}", *lines, ""])
