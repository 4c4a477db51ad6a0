"""What must hold between the keys of a pool, between a pool and the sections it names, and between pools.

Pure; `tell(section, key, reason, fatal, note)` takes each problem.  On the boot path.
"""

from typing import Callable, Dict, List, Set

from kvmontap.config.table import POOL_TYPES
from kvmontap.model import NFS, SMB, Array, Cluster, Pool

Tell = Callable[..., None]

# The mount options that a key of ours decides: option -> key.
_DECIDED = {
    NFS: {"nconnect": "nconnect", "vers": "version", "nfsvers": "version", "minorversion": "version", "sec": "security",
          "xprtsec": "tls", "proto": "transport", "trunkdiscovery": "trunking", "notrunkdiscovery": "trunking",
          "max_connect": "trunking", "rdma": "transport", "tcp": "transport"},
    SMB: {"credentials": "credentials", "cred": "credentials", "multichannel": "max-channels", "max_channels": "max-channels"},
}


def judge_pool(pool: Pool, arrays: Dict[str, Array], clusters: Dict[str, Cluster], named_arrays: Set[str], tell: Tell) -> bool:
    """Whether `pool` can be used; everything wrong is told.  `named_arrays` has the broken sections of [ontap] too."""
    where = ("pools", pool.name)
    told: List[bool] = []

    def wrong(key: str, reason: str, fatal: bool = True, note: bool = False) -> None:
        told.append(fatal)
        tell(where, key, reason, fatal, note)

    if pool.protocol not in POOL_TYPES[pool.type]:
        wrong("type", f"{pool.type} makes no sense with {pool.protocol}; it works with {', '.join(POOL_TYPES[pool.type])}")
    # The pool can be mounted without its array: only the gate and snapshots miss it, and they say so themselves.
    if pool.ontap and pool.ontap not in named_arrays:
        wrong("ontap", f"names {pool.ontap!r}, but [ontap] has no subsection [[{pool.ontap}]]", False)
    if pool.snapshots.required and not pool.ontap:
        wrong("", "asks for required snapshots but names no array; set ontap = or required = no")
    if pool.snapshot_scope == "consistency-group" and pool.snapshots.lock_days:
        wrong("snapshot-scope", "consistency-group excludes lock-days, since ONTAP locks no snapshot of a group; "
              "set lock-days = 0, or snapshot-scope = volume", False)
    if pool.boot.idle_timeout and pool.boot.mount != "automount":
        wrong("", "sets idle-timeout, which only means something with mount = automount", False)
    for option in filter(None, pool.options.split(",")):
        head = option.partition("=")[0]
        key = _DECIDED.get(pool.protocol, {}).get(head)
        if key:
            wrong("options", f"has {head}, which the key {key} decides")
    if pool.protocol == NFS:
        _nfs(pool, wrong)
    elif pool.protocol == SMB:
        if len(pool.server) > 1:
            wrong("server", "names more than one server; SMB multichannel finds the other addresses itself, so name one")
    else:
        _block(pool, clusters, wrong)
    return not any(told)


def _nfs(pool: Pool, wrong: Callable[..., None]) -> None:
    if pool.trunking and pool.version == "3":
        wrong("trunking", "needs version 4.1 or 4.2; NFS 3 has no sessions")
    if pool.trunking and len(pool.server) < 2:
        wrong("trunking", "needs at least two addresses in server")
    if pool.pnfs and pool.version == "3":
        wrong("pnfs", "needs version 4.1 or 4.2")
    if pool.transport == "rdma" and pool.tls != "no":
        wrong("tls", "works over TCP only; choose transport = tcp or tls = no")
    if pool.type == "netfs":
        for key, used in (("trunking", pool.trunking), ("mount", pool.boot.mount != "boot"), ("second server", len(pool.server) > 1)):
            if used:
                wrong("type", f"netfs is mounted by libvirt itself, which knows no {key}; use type = dir")


def _block(pool: Pool, clusters: Dict[str, Cluster], wrong: Callable[..., None]) -> None:
    names = [key for key, value in (("wwid", pool.wwid), ("namespace", pool.namespace), ("device", pool.device)) if value]
    if len(names) > 1:
        wrong(names[1], f"and {names[0]} both name the device; keep one")
    if pool.ontap and not (pool.volume or pool.wwid or pool.namespace):
        wrong("", "names an array, but neither wwid =, namespace = nor volume =, by which its volume could be found; so there is no array "
              "state and no snapshot", False)
    if pool.device and pool.partition:
        wrong("partition", "means nothing beside device =; name the partition's own device")
    shared = pool.filesystem in ("ocfs2", "gfs2")
    bare = pool.filesystem in ("", "none")
    if pool.type in ("dir", "fs"):
        if bare:
            wrong("filesystem", f"is none, but a pool of type {pool.type} is a directory on a file system; name it, or choose another type")
    elif not bare:
        wrong("filesystem", f"is {pool.filesystem}, but a pool of type {pool.type} has no file system of its own; leave it out")
    if pool.type in ("dir", "fs", "logical", "disk") and not names:
        wrong("", "names no device; give wwid =, namespace = or device =")
    if pool.type != "dir" and pool.boot.mount == "automount":
        wrong("type", f"{pool.type} is not mounted by systemd, so it knows no automount; use mount = boot or manual, or type = dir")
    _libvirts_own(pool, wrong)
    if shared and not pool.cluster:
        wrong("filesystem", f"{pool.filesystem} is shared between hosts; name its cluster with cluster =")
    if pool.cluster and pool.cluster not in clusters:
        wrong("cluster", f"names {pool.cluster!r}, but [clusters] has no sound subsection [[{pool.cluster}]]")
    elif pool.cluster and not shared:
        wrong("cluster", f"means nothing for filesystem = {pool.filesystem}")
    elif pool.cluster and clusters[pool.cluster].stack != {"ocfs2": "o2cb", "gfs2": "dlm"}[pool.filesystem]:
        wrong("cluster", f"{pool.cluster} has stack = {clusters[pool.cluster].stack}, which {pool.filesystem} does not use")
    if pool.type == "logical" and not pool.vg:
        wrong("type", "logical needs vg =, the volume group")
    elif pool.vg and pool.type != "logical":
        wrong("vg", f"means nothing for type = {pool.type}")


def _libvirts_own(pool: Pool, wrong: Callable[..., None]) -> None:
    """Of the types that libvirt attaches itself, or that are no device of their own."""
    if pool.type in ("iscsi", "iscsi-direct"):
        if len(pool.iqn) != 1:
            wrong("iqn", f"must name the one target of a pool of type {pool.type}, since libvirt logs in to it itself")
        if len(pool.portals) > 1:
            wrong("portals", f"has several, of which libvirt uses the first for a pool of type {pool.type}; dir, logical and mpath use "
                  "them all", False)
        if pool.chap_file or pool.interfaces:
            key = "chap-file" if pool.chap_file else "interfaces"
            wrong(key, f"is not used for type = {pool.type}: libvirt logs in itself; choose another type")
    if pool.type == "scsi" and not pool.adapter:
        wrong("type", "scsi needs adapter =, the SCSI host as it stands in /sys/class/scsi_host (scsi_host2 for host2)")
    elif pool.adapter and pool.type != "scsi":
        wrong("adapter", f"means nothing for type = {pool.type}")


def judge_pools(pools: Dict[str, Pool], tell: Tell) -> List[str]:
    """The names of pools that cannot be used beside the others: the later one of two that collide, the inner one of two nested."""
    out: List[str] = []
    owners: Dict[str, str] = {}
    devices: Dict[tuple, str] = {}
    for name, pool in pools.items():
        if pool.target in owners:
            tell(("pools", name), "target", f"is {pool.target}, the target of pool {owners[pool.target]} too; give each its own")
            out.append(name)
        elif pool.target:
            owners[pool.target] = name
        device = (pool.wwid or pool.namespace or pool.device, pool.partition)
        if device[0] and devices.setdefault(device, name) != name:
            tell(("pools", name), "", f"has the same device as pool {devices[device]}; give each its own")
            out.append(name)
    for target, name in owners.items():
        parent = target.rpartition("/")[0]
        while parent:
            if parent in owners:
                tell(("pools", name), "target", f"is {target}, below {parent} of pool {owners[parent]}; put it beside, not inside")
                out.append(name)
            parent = parent.rpartition("/")[0]
    _nconnect(pools, tell)
    return out


def _nconnect(pools: Dict[str, Pool], tell: Tell) -> None:
    """NFS keeps one set of connections per server and version, made by the first mount: nfs(5), nconnect."""
    groups: Dict[tuple, Dict[int, List[str]]] = {}
    for name, pool in pools.items():
        if pool.protocol == NFS:
            for server in pool.server:
                groups.setdefault((server, pool.version), {}).setdefault(pool.nconnect, []).append(name)
    said = set()
    for (server, version), values in groups.items():
        if len(values) < 2:
            continue
        every = ", ".join(f"{name} {value}" for value, names in sorted(values.items()) for name in names)
        for names in values.values():
            for name in names:
                if name not in said:
                    said.add(name)
                    tell(("pools", name), "nconnect",
                         f"differs between pools of {server} (NFS {version}): {every}; the first mount decides for all of them",
                         False, True)
