"""The least that an account of ours needs on an array: a table of REST paths, and the commands that make a role of it.

Pure; standard library only.  tests/unit/array/test_role.py holds the table against what our client really asks for.
"""

from typing import Dict, Iterable, List, NamedTuple, Tuple

from kvmontap.model import FC, ISCSI, NFS, NVME, SMB, Array, Config, Pool

NAME = "kvmontap"  # of the role and, unless the file says otherwise, of the account


class Right(NamedTuple):
    """One line of a role."""

    path: str  # "*" stands for one part; the longest path that fits a request decides
    access: str  # none, readonly, read_create (since ONTAP 9.11.1; before: all), all
    features: Tuple[str, ...]  # that need it, see features()
    why: str


ALWAYS, SNAPSHOTS, RESTORE, GROUPS, MIRROR, LOCKS = "array", "snapshots", "restore", "groups", "mirror", "locks"
CLUSTER = "cluster"  # what only an account of the cluster can be given; without it the health of a pool says less
VOLUMES = "volumes"  # restore from block pools and revert: they change whole volumes, so that only --all gives it
_ETHERNET = (NFS, SMB, ISCSI, "nvme-tcp", "nvme-rdma")

RIGHTS: Tuple[Right, ...] = (
    Right("/api/storage/volumes", "readonly", (ALWAYS,), "state, space and settings of the volume behind a pool"),
    # Reading volumes would let the account read files through /files, too.
    Right("/api/storage/volumes/*/files", "none", (ALWAYS,), "what lies in the volumes is not for this account to read"),
    Right("/api/storage/volumes/*/snapshots", "all", (SNAPSHOTS,), "snapshots before a start or a migration, and their retention"),
    Right("/api/storage/snaplock/compliance-clocks", "readonly", (LOCKS,), "by which clock locked snapshots run out"),
    # A role of ONTAP's can name no path below a group.
    Right("/api/application/consistency-groups", "all", (GROUPS,), "snapshots of consistency groups; kvmontap changes no group itself"),
    Right("/api/cluster/jobs", "readonly", (SNAPSHOTS, RESTORE), "how the making of a snapshot or a clone went"),
    Right("/api/storage/file/clone", "read_create", (RESTORE,), "kvmontap snapshot restore"),
    Right("/api/storage/volumes", "all", (VOLUMES,), "kvmontap snapshot revert, and restore from a block pool by a clone of its volume"),
    Right("/api/protocols/san/igroups", "all", (VOLUMES,), "... by an igroup for this host alone"),
    Right("/api/protocols/san/lun-maps", "read_create", (VOLUMES,), "... and the LUN mapped to it"),
    Right("/api/protocols/nvme/subsystems", "all", (VOLUMES,), "... or a subsystem"),
    Right("/api/protocols/nvme/subsystem-maps", "read_create", (VOLUMES,), "... and the namespace mapped to it"),
    Right("/api/protocols/nfs/connected-clients", "readonly", (VOLUMES,), "kvmontap snapshot revert: which other hosts use the volume"),
    Right("/api/protocols/cifs/sessions", "readonly", (VOLUMES,), "... the same over SMB"),
    Right("/api/svm/svms", "readonly", (ALWAYS,), "whether the SVM runs"),
    Right("/api/network/ip/interfaces", "readonly", _ETHERNET, "state, home port and node of the data LIFs"),
    Right("/api/protocols/cifs/shares", "readonly", (SMB,), "which volume a share lies on"),
    Right("/api/storage/luns", "readonly", (ISCSI, FC), "which volume a LUN lies on, and its state"),
    Right("/api/storage/namespaces", "readonly", NVME, "which volume an NVMe namespace lies on, and its state"),
    Right("/api/protocols/nfs/export-policies", "readonly", (NFS,), "kvmontap doctor: whether an export rule names this host"),
    Right("/api/protocols/san/igroups", "readonly", (ISCSI, FC), "whether a LUN is mapped to this host"),
    Right("/api/protocols/san/lun-maps", "readonly", (ISCSI, FC), "kvmontap doctor: to which igroups a LUN is mapped"),
    Right("/api/protocols/nvme/subsystems", "readonly", NVME, "whether a namespace is mapped to this host"),
    Right("/api/protocols/nvme/subsystem-maps", "readonly", NVME, "kvmontap doctor: to which subsystems a namespace is mapped"),
    Right("/api/network/fc/interfaces", "readonly", (FC, "nvme-fc"), "state and node of the FC LIFs"),
    Right("/api/snapmirror/relationships", "readonly", (ALWAYS,), "whether SnapMirror is healthy, and how far it lags behind"),
    # In place of the line before, on any array that may have the destination.
    Right("/api/snapmirror/relationships", "read_create", (MIRROR,), "the same, and SnapMirror updates after a snapshot"),
    Right("/api/storage/aggregates", "readonly", (CLUSTER,), "state and space of what the volumes lie on"),
    Right("/api/cluster/mediators", "readonly", (CLUSTER,), "whether active sync and MetroCluster can fail over by themselves"),
    Right("/api/cluster/metrocluster", "readonly", (CLUSTER,), "the state of a MetroCluster"),
)


class Role(NamedTuple):
    """What one array is to be told."""

    array: str
    vserver: str  # where role and account live
    user: str
    login: str  # password, cert, "" for a token, whose account the authorisation server knows
    rights: Tuple[Right, ...]
    left_out: Tuple[Right, ...]  # of the table, since nothing in the file needs them


def features(pools: Iterable[Pool]) -> Tuple[str, ...]:
    """What the pools of an array ask of it."""
    found = [ALWAYS]
    for pool in pools:
        found.append(pool.protocol)
        if pool.snapshots.before:
            found.append(SNAPSHOTS)
            found += [LOCKS] if pool.snapshots.lock_days else []
            found += [GROUPS] if pool.snapshot_scope == "consistency-group" else []
            found += [RESTORE] if pool.protocol in (NFS, SMB) else []
    return tuple(dict.fromkeys(found))


_ACCESS = ("none", "readonly", "read_create", "all")  # from least to most


def _widest(rights: Iterable[Right]) -> List[Right]:
    """Of several for one path, the one that allows most."""
    found: Dict[str, Right] = {}
    for right in rights:
        if right.path not in found or _ACCESS.index(right.access) > _ACCESS.index(found[right.path].access):
            found[right.path] = right
    return list(found.values())


def role(array: Array, config: Config, vserver: str = "", everything: bool = False) -> Role:
    """The role for one array of the configuration; `vserver` overrides the SVM of the section, `everything` = for every feature."""
    used = features(pool for pool in config.pools.values() if pool.ontap == array.name)
    used += (CLUSTER,) if vserver and vserver != array.svm else ()  # somebody names the cluster
    used += (MIRROR,) if any(pool.snapshots.snapmirror_update for pool in config.pools.values()) else ()
    wanted = [right for right in RIGHTS if everything or set(right.features) & set(used)]
    wanted = _widest(wanted)
    left_out = [right for right in RIGHTS if right.path not in {one.path for one in wanted}]
    login = "cert" if array.certificate else "" if array.token_file else "password"
    return Role(array.name, vserver or array.svm, array.username or NAME, login, tuple(wanted), tuple(left_out))


def commands(one: Role) -> Tuple[str, ...]:
    """The ONTAP commands that make role and account; `security login create` asks for the password."""
    where = one.vserver or "VSERVER"
    lines: List[str] = [
        f'security login rest-role create -vserver {where} -role {NAME} -api "{right.path}" -access {right.access}' for right in one.rights]
    # Without this ONTAP answers every request of a role of one's own with 403.
    lines.append(f"vserver services web access create -vserver {where} -name rest -role {NAME}")
    if one.login:
        lines.append(f"security login create -vserver {where} -user-or-group-name {one.user} -application http "
                     f"-authentication-method {one.login} -role {NAME}")
    return tuple(lines)


def notes(one: Role) -> Tuple[str, ...]:
    """What the commands do not say, a sentence each."""
    said = []
    if not one.vserver:
        said.append("put the SVM that owns the volumes in place of VSERVER, or name it with --vserver")
    said.append("an account of an SVM logs in at a management LIF of that SVM; where address = is the cluster's, name the cluster "
                "with --vserver")
    if not one.login:
        said.append(f"the login is a token: have the authorisation server give its holder the role {NAME}")
    if any(right.access == "read_create" for right in one.rights):
        said.append("before ONTAP 9.11.1 write all in place of read_create")
    if any(SNAPSHOTS in right.features and right.path.endswith("snapshots") for right in one.left_out):
        said.append("no pool asks for snapshots, so this role cannot take any; --all gives every right that kvmontap can use")
    if any(CLUSTER in right.features for right in one.left_out):
        said.append("an account of an SVM cannot be asked about aggregates, mediators and MetroCluster, which kvmontap status then leaves "
                    "out; --vserver with the cluster's name gives the role that can")
    return tuple(said)


def body(one: Role) -> dict:
    """The same role as the body of POST /api/security/roles."""
    made: dict = {"name": NAME, "privileges": [{"path": right.path, "access": right.access} for right in one.rights]}
    if one.vserver:
        made["owner"] = {"name": one.vserver}
    return made

