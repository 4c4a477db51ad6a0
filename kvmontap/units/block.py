"""What is mounted for a pool on a block device: the device's path, the file system, and the units that bring them up.

Pure.  On the boot path.
"""

from typing import Dict, Tuple

from kvmontap.model import FC, ISCSI, Pool
from kvmontap.units.escape import instance, path_unit, specifiers
from kvmontap.units.mounted import Mounted

LOCAL = ("xfs", "ext4")
FILESYSTEMS = ("ocfs2",) + LOCAL  # those that this version mounts
BY_ID = "/dev/disk/by-id"
CLUSTER = "kvmontap-o2cb@.service"
# The distribution's service unmounts every OCFS2 file system when it stops, and kills what uses one that will not go: it stops after us.
OCFS2 = "ocfs2.service"


def device_path(pool: Pool) -> str:
    """Where udev shows the pool's device (the partition, where one is named), whatever the kernel calls it this time."""
    if pool.device:
        return pool.device
    if pool.wwid:
        # kpartx names the partitions of a map by their own UUID.
        part = f"part{pool.partition}-" if pool.partition else ""
        return f"{BY_ID}/dm-uuid-{part}mpath-{pool.wwid}"
    part = f"-part{pool.partition}" if pool.partition else ""
    return f"{BY_ID}/nvme-uuid.{pool.namespace}{part}"


def attach_unit(pool: Pool) -> str:
    """The unit that brings the pool's device up."""
    kind = "iscsi" if pool.protocol == ISCSI else "fc" if pool.protocol in (FC, "nvme-fc") else "nvme"
    return instance(f"kvmontap-{kind}@.service", pool.name)


def mounted(pool: Pool) -> Mounted:
    """Source, type, options and units of a pool of one of FILESYSTEMS."""
    required: Tuple[str, ...] = (attach_unit(pool),)
    after: Tuple[str, ...] = ()
    if pool.filesystem == "ocfs2":
        required += (instance(CLUSTER, pool.cluster),)
        after = (OCFS2,)
    options = ([pool.options] if pool.options else []) + ["_netdev"]
    return Mounted(device_path(pool), pool.filesystem, ",".join(options), required=required, after=after)


def drop_ins(pool: Pool, timeout: str, header: str, source_path: str) -> Dict[str, str]:
    """{path: text} of what goes with the mount: how long its device is waited for."""
    unit = path_unit(device_path(pool), "device")
    text = "\n".join([header, "", "[Unit]", f"SourcePath={specifiers(source_path)}", f"JobRunningTimeoutSec={timeout}", ""])
    return {f"{unit}.d/50-kvmontap.conf": text}
