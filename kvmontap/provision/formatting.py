"""Whether the device of a block pool may be formatted, and with which commands.  Pure."""

import shlex
from typing import NamedTuple, Optional, Tuple

from kvmontap.host.contents import Contents
from kvmontap.model import FC, FILE_PROTOCOLS, ISCSI, NVME, Cluster, Pool
from kvmontap.units.block import FILESYSTEMS, attach_unit, device_path
from kvmontap.units.escape import path_unit

FORMAT = "format"  # it is empty
DONE = "done"  # it holds the file system already
REFUSED = "refused"

SHARED = ("ocfs2", "gfs2")
MOST_SLOTS = 255  # of OCFS2; GFS2 takes more journals, but no cluster has as many nodes
_LOCK_TABLE = 16  # characters of GFS2's name in its cluster
_LABELS = {"ocfs2": 64, "xfs": 12, "ext4": 16}  # bytes


class Step(NamedTuple):
    """One command, and on which hosts it is run."""

    hosts: str  # "one host", "every host"
    argv: Tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(shlex.quote(word) for word in self.argv)


class Plan(NamedTuple):
    """What to do about a pool."""

    pool: str
    state: str  # FORMAT, DONE, REFUSED
    device: str  # "" where the pool has none
    reason: str  # one sentence without a full stop
    steps: Tuple[Step, ...] = ()


def unfit(pool: Pool, cluster: Optional[Cluster], slots: int = 0) -> str:
    """Why nothing can be planned for the pool at all, "" where something can; `slots`: 0 = as many as the cluster has nodes."""
    if pool.protocol not in (ISCSI, FC) + NVME:
        return f"its protocol is {pool.protocol}: only pools on block devices have a file system to make on this side"
    if pool.filesystem not in FILESYSTEMS or not pool.target:
        return f"type = {pool.type}, filesystem = {pool.filesystem or 'none'}: there is no file system that kvmontap mounts for it"
    if pool.filesystem not in SHARED:
        return f"--slots is for ocfs2 and gfs2, not for {pool.filesystem}" if slots else ""
    if cluster is None:
        return f"the cluster {pool.cluster} is not in the file"
    if slots and not len(cluster.nodes) <= slots <= MOST_SLOTS:
        return f"--slots must lie between {max(1, len(cluster.nodes))} (the nodes of {cluster.name}) and {MOST_SLOTS}"
    return ""


def plan(pool: Pool, cluster: Optional[Cluster], found: Contents, slots: int = 0) -> Plan:
    """The steps for a pool that is not unfit(), given what its device holds."""
    device = device_path(pool)
    if found.trouble:
        tail = f"; attach it first: systemctl start {attach_unit(pool)}" if found.missing else ""
        return Plan(pool.name, REFUSED, device, f"cannot be judged: {found.trouble}{tail}")
    kinds = [one.type for one in found.signatures]
    if kinds == [pool.filesystem]:
        label = found.signatures[0].label
        named = f" (label {label})" if label else ""
        return Plan(pool.name, DONE, device, f"holds {pool.filesystem}{named} already, nothing is to be formatted", use_steps(pool))
    if kinds:
        shown = ", ".join(f"{one.type} (label {one.label})" if one.label else one.type for one in found.signatures)
        return Plan(pool.name, REFUSED, device, f"holds {shown}: it is not formatted. Is it the device that you mean?")
    if found.users:
        return Plan(pool.name, REFUSED, device, f"is in use on this host: {', '.join(found.users)}")
    if found.written:
        ends = " and its ".join(found.written)
        return Plan(pool.name, REFUSED, device, f"holds something that no library knows, in its {ends}: those of a new LUN or namespace "
                    "are all zeros")
    reason = f"is empty ({_size(found.size)}): no signature, its first and last MiB are zeros"
    return Plan(pool.name, FORMAT, device, reason,
                (Step("one host", _mkfs(pool, cluster, device, slots)),) + use_steps(pool))


def _mkfs(pool: Pool, cluster: Optional[Cluster], device: str, slots: int) -> Tuple[str, ...]:
    number = str(slots or max(2, len(cluster.nodes))) if cluster is not None else ""
    if pool.filesystem == "gfs2" and cluster is not None:  # its label is the lock table
        return ("mkfs.gfs2", "-p", "lock_dlm", "-t", f"{cluster.name}:{pool.name[:_LOCK_TABLE]}", "-j", number, device)
    # A label that does not fit is left out: cut off, two pools could come to have the same.
    label = ("-L", pool.name) if len(pool.name.encode()) <= _LABELS[pool.filesystem] else ()
    own: Tuple[str, ...] = ()
    # On blocks of 4096 bytes, as namespaces have them, an OCFS2 of smaller ones (mkfs picks 1024 for a small device) cannot be mounted.
    if pool.filesystem == "ocfs2" and cluster is not None:
        own = ("-b", "4096", "-N", number, f"--cluster-stack={cluster.stack}", f"--cluster-name={cluster.name}")
    return (f"mkfs.{pool.filesystem}",) + own + label + (device,)


def use_steps(pool: Pool) -> Tuple[Step, ...]:
    """What mounts a pool and gives it to libvirt."""
    hosts = "every host" if pool.filesystem in SHARED or pool.protocol in FILE_PROTOCOLS else "one host"
    return (Step(hosts, ("systemctl", "daemon-reload")), Step(hosts, ("systemctl", "start", path_unit(pool.target, "mount"))),
            Step(hosts, ("kvmontap", "pool", "apply")))


def _size(size: int) -> str:
    amount, unit = float(size), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, bigger
    return f"{amount:.4g} {unit}"
