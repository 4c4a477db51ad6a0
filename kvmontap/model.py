"""The records that every part of kvmontap passes to every other: immutable, typed, without behaviour.

Imports nothing of ours and only `typing` of the standard library, because the generator and the hook load it.
Attributes are the configuration's keys with `_` for `-`; seconds are float or int, sizes bytes, paths absolute.
"""

from typing import Dict, NamedTuple, Optional, Tuple

NFS = "nfs"
SMB = "smb"
ISCSI = "iscsi"
FC = "fc"
NVME = ("nvme-tcp", "nvme-rdma", "nvme-fc")
FILE_PROTOCOLS = (NFS, SMB)
PROTOCOLS = (NFS, SMB, ISCSI, FC) + NVME

OK = "ok"
DEGRADED = "degraded"
FAILED = "failed"
UNKNOWN = "unknown"
# From best to worst: the health of a pool is the worst of its findings.  `unknown` ranks below `degraded` and above
# `failed`, because a management LIF that does not answer says less than a data path that is known to be gone.
HEALTHS = (OK, DEGRADED, UNKNOWN, FAILED)


class Problem(NamedTuple):
    """One thing that is wrong with the configuration, said so that it can be mended."""

    file: str
    line: int  # 1-based; 0 where no line can be named
    section: str  # "pools/kvmnfs01", "" for the file as a whole
    key: str  # "" for the section as a whole
    reason: str  # what is wrong and what to do, one sentence without a full stop
    fatal: bool = True  # False: the section is used all the same
    note: bool = False  # True: worth knowing, nothing to mend; `check` tells it and still exits 0

    def __str__(self) -> str:
        where = self.file if not self.line else f"{self.file}:{self.line}"
        what = " ".join(part for part in (f"[{self.section}]" if self.section else "", self.key) if part)
        return f"{where}: {what}: {self.reason}" if what else f"{where}: {self.reason}"


class Array(NamedTuple):
    """One subsection of [ontap]: how to reach and log in to a cluster's or an SVM's management."""

    name: str
    address: str  # host or host:port, IPv6 in brackets
    svm: str = ""
    username: str = ""
    password_file: str = ""
    certificate: str = ""
    key: str = ""
    token_file: str = ""
    ca: str = ""  # "" = the system's trust store
    timeout: float = 10.0  # seconds for one whole operation, retries included


class Boot(NamedTuple):
    """[boot]: how a pool is brought up."""

    timeout: float = 90.0
    mount: str = "boot"  # boot, automount, manual
    idle_timeout: float = 0.0  # seconds, automount only; 0 = never unmounted for idleness


class Gate(NamedTuple):
    """[gate]: what a VM start asks for."""

    mode: str = "enforce"  # enforce, warn, off
    array_unknown: str = "allow"  # allow, refuse
    timeout: float = 5.0
    min_free: Tuple[float, str] = (5.0, "%")  # (5.0, "%") or (bytes, "B")


class Snapshots(NamedTuple):
    """[snapshots]: what the array keeps for a VM."""

    before: Tuple[str, ...] = ("start", "migrate")  # () = none
    required: bool = False
    timeout: float = 10.0
    keep: int = 20
    keep_days: int = 14
    reuse: float = 300.0
    label: str = ""
    lock_days: int = 0
    snapmirror_update: bool = False
    rpo: float = 0.0  # seconds that SnapMirror may lag behind, 0 = not judged


class Metrics(NamedTuple):
    """[metrics]: what is written for Prometheus."""

    textfile_directory: str = ""  # "" = nothing


class Pool(NamedTuple):
    """One subsection of [pools] = one libvirt storage pool of that name; keys of other protocols keep their default."""

    name: str
    protocol: str
    target: str = ""  # where it is mounted; "" for pools without a file system of ours
    type: str = "dir"  # libvirt's pool type
    server: Tuple[str, ...] = ()
    export: str = ""
    version: str = "4.1"
    nconnect: int = 1
    trunking: bool = False
    pnfs: bool = False
    security: str = "sys"
    tls: str = "no"
    transport: str = "tcp"
    share: str = ""
    credentials: str = ""
    max_channels: int = 1  # more than 1 = multichannel
    portals: Tuple[str, ...] = ()
    iqn: Tuple[str, ...] = ()
    chap_file: str = ""
    ctrl_loss_tmo: int = -1
    wwid: str = ""
    namespace: str = ""
    device: str = ""
    partition: int = 0  # 0 = the whole device
    filesystem: str = ""
    cluster: str = ""
    vg: str = ""
    ontap: str = ""
    volume: str = ""
    options: str = ""
    autostart: bool = True
    hosted_on: str = ""
    snapshot_scope: str = "volume"  # volume, consistency-group
    boot: Boot = Boot()
    gate: Gate = Gate()
    snapshots: Snapshots = Snapshots()
    nqn: Tuple[str, ...] = ()
    interfaces: Tuple[str, ...] = ()
    io_queues: int = 0  # 0 = as many as there are CPUs
    dhchap_file: str = ""
    tls_key_file: str = ""
    adapter: str = ""  # type = scsi: scsi_host2


class Node(NamedTuple):
    """One node of a cluster file system's cluster."""

    name: str
    address: str
    port: int = 7777
    number: int = 0


class Cluster(NamedTuple):
    """One subsection of [clusters]."""

    name: str
    stack: str = "o2cb"  # o2cb, dlm
    heartbeat_threshold: int = 31
    nodes: Tuple[Node, ...] = ()


class Config(NamedTuple):
    """The sound part of /etc/kvmontap.conf; dictionaries keep the order of the file and must not be changed."""

    arrays: Dict[str, Array]
    pools: Dict[str, Pool]
    clusters: Dict[str, Cluster]
    boot: Boot = Boot()
    gate: Gate = Gate()
    snapshots: Snapshots = Snapshots()
    path: str = "/etc/kvmontap.conf"
    metrics: Metrics = Metrics()


class Loaded(NamedTuple):
    """What reading the file gave: the part that can be used, and everything that is wrong with the rest."""

    config: Config
    problems: Tuple[Problem, ...]
    broken: Tuple[str, ...] = ()  # names of pools that had a fatal problem and are not in config.pools


class Source(NamedTuple):
    """One piece of host storage that a domain XML names."""

    kind: str  # file, block, dir, network, volume, nvme, other
    what: str  # what it is for: "disk vda", "nvram", "kernel", "filesystem /share", "backing of disk vda"
    path: str = ""  # file, block and dir: absolute path
    pool: str = ""  # volume: libvirt's pool and volume names
    volume: str = ""
    protocol: str = ""  # network: nbd, iscsi, nfs, rbd, ...
    name: str = ""  # network: the name= attribute (image, IQN/LUN, export path)
    hosts: Tuple[str, ...] = ()
    format: str = ""  # image format as the XML tells it, "" = untold
    chained: bool = False  # the XML tells what lies beneath the image (an empty <backingStore/> says: nothing)
    optional: bool = False  # startupPolicy=optional: libvirt starts the VM without it when it is not there


class Domain(NamedTuple):
    """What we need of a libvirt domain."""

    name: str
    uuid: str
    sources: Tuple[Source, ...]


class Finding(NamedTuple):
    """One thing a probe saw: a stable reason code, what it means for health, and one sentence for people."""

    code: str  # "mount.missing", "volume.offline", ...; listed in kvmontap.gate.reasons
    health: str  # one of HEALTHS
    text: str  # what is wrong, where; no full stop
    fix: str = ""  # what to do
    since: Optional[float] = None  # epoch seconds when first seen, None = not known


class PoolHealth(NamedTuple):
    """A pool's health and the findings behind it, worst first."""

    pool: str
    health: str
    findings: Tuple[Finding, ...] = ()


class Verdict(NamedTuple):
    """The gate's answer to one event."""

    allow: bool
    code: str  # "" where nothing is wrong
    sentence: str  # one line for whoever started the VM; "" when allowed
    warnings: Tuple[str, ...] = ()  # for the journal
    healths: Tuple[PoolHealth, ...] = ()  # of every pool of ours that the VM touches
    snapshots: Tuple[str, ...] = ()  # "volume: name" of each snapshot taken for this event
