"""Every key of /etc/kvmontap.conf, once.

Validation, the example file, the man page, `kvmontap check` and completion all come from KEYS.  A key says how its text
becomes a value (`kind`, a function in kvmontap.config.values), its default as text, its bounds, its help and which
protocols it belongs to.  On the boot path: imports only `typing` and the records.
"""

from typing import Dict, NamedTuple, Tuple

from kvmontap.model import FC, ISCSI, NFS, NVME, PROTOCOLS, SMB

BLOCK = (ISCSI, FC) + NVME


class Key(NamedTuple):
    """One key.  `default` is text as it would stand in the file; `low`/`high` bound numbers, both included."""

    name: str
    kind: str
    default: str
    help: str
    protocols: Tuple[str, ...] = ()  # () = every protocol
    choices: Tuple[str, ...] = ()
    low: float = 0
    high: float = 0  # 0 = no bound
    needed: Tuple[str, ...] = ()  # the protocols that cannot do without it
    example: str = ""


ONTAP = (
    Key("address", "management", "", "Management LIF of the cluster or the SVM: host or host:port", needed=("*",),
        example="cluster1.example.com"),
    Key("svm", "name", "", "SVM that owns the volumes; needed when the address is the cluster's and two SVMs have a volume of one "
        "name", example="svm_kvm"),
    Key("username", "word", "", "Account on the array, for a password login", example="kvmontap"),
    Key("password-file", "secret", "", "File with the password on its first line, readable by root only; a name without / is a "
        "systemd credential of kvmontapd.service", example="/etc/kvmontap/prod.password"),
    Key("certificate", "path", "", "Client certificate (PEM), instead of a password", example="/etc/kvmontap/prod.pem"),
    Key("key", "secret", "", "Private key (PEM) of that certificate, readable by root only", example="/etc/kvmontap/prod.key"),
    Key("token-file", "secret", "", "File with a bearer token (OAuth 2.0), readable by root only, instead of a password",
        example="/etc/kvmontap/prod.token"),
    Key("ca", "path", "", "Certificate authority that signed the array's certificate (PEM); without it the system's trust store",
        example="/etc/kvmontap/prod-ca.pem"),
    Key("timeout", "seconds", "10", "Time for one whole operation on the array, retries included", low=1, high=120),
)

POOL = (
    Key("protocol", "choice", "", "How the host reaches the storage", choices=PROTOCOLS, needed=("*",)),
    Key("type", "choice", "dir", "Type of the storage pool in libvirt", choices=("dir", "netfs", "fs", "logical", "disk", "scsi", "iscsi",
        "iscsi-direct", "mpath")),
    Key("target", "target", "", "Where the storage is mounted; /mnt/NAME unless said otherwise"),
    Key("server", "hosts", "", "Addresses of the SVM's data LIFs; the first that answers is mounted", (NFS, SMB), needed=(NFS, SMB),
        example="172.21.35.11, 172.21.36.11"),
    Key("export", "export", "", "Junction path of the volume, or a directory or qtree below it", (NFS,), needed=(NFS,),
        example="/kvmnfs01"),
    Key("version", "choice", "4.1", "Version of the NFS protocol", (NFS,), choices=("3", "4.1", "4.2")),
    Key("nconnect", "integer", "1", "TCP connections to the first address; the first mount of a server decides for all of them",
        (NFS,), low=1, high=16),
    Key("trunking", "flag", "no", "Session trunking: one NFS session over every address of server. More throughput, not failover",
        (NFS,)),
    Key("pnfs", "flag", "no", "For the record: whether the SVM offers parallel NFS. The client uses it wherever it is offered (NFS 4.1 and "
        "newer), there is no mount option for it", (NFS,)),
    Key("security", "choice", "sys", "RPC security: AUTH_SYS, or Kerberos with integrity (i) or privacy (p)", (NFS,),
        choices=("sys", "krb5", "krb5i", "krb5p")),
    Key("tls", "choice", "no", "RPC over TLS; mtls also shows this host's certificate", (NFS,), choices=("no", "tls", "mtls")),
    Key("transport", "choice", "tcp", "What carries NFS on the network", (NFS,), choices=("tcp", "rdma")),
    Key("share", "share", "", "Name of the SMB share", (SMB,), needed=(SMB,), example="kvmsmb01"),
    Key("credentials", "optionpath", "", "Credentials file as mount.cifs(8) reads it, readable by root only", (SMB,), needed=(SMB,),
        example="/root/smbpass"),
    Key("max-channels", "integer", "1", "SMB multichannel: connections to the server; 1 = a single one", (SMB,), low=1, high=16),
    Key("portals", "portals", "", "Addresses of the target portals: host or host:port, IPv6 in brackets",
        (ISCSI, "nvme-tcp", "nvme-rdma"), needed=(ISCSI, "nvme-tcp", "nvme-rdma"), example="172.21.37.14, 172.21.37.15"),
    Key("iqn", "words", "", "iSCSI target names; without it every target that the portals offer", (ISCSI,),
        example="iqn.1992-08.com.netapp:sn.0123456789abcdef:vs.3"),
    Key("interfaces", "words", "", "Network interfaces to log in through: a session for each portal and interface; without it the routing "
        "decides", (ISCSI,), example="ens1f0, ens1f1"),
    Key("nqn", "words", "", "NVMe subsystem names; without it every subsystem that the portals offer", ("nvme-tcp", "nvme-rdma"),
        example="nqn.1992-08.com.netapp:sn.0123456789abcdef:subsystem.kvm"),
    Key("chap-file", "secret", "", "File with username= and password=, and username-in= and password-in= for mutual CHAP, readable "
        "by root only", (ISCSI,), example="/etc/kvmontap/chap"),
    Key("ctrl-loss-tmo", "integer", "-1", "Seconds until an NVMe controller without connection is given up; -1 = never", NVME,
        low=-1, high=86400),
    Key("io-queues", "integer", "0", "I/O queues of an NVMe controller; 0 = one for each CPU", ("nvme-tcp", "nvme-rdma"), low=0, high=1024),
    Key("dhchap-file", "secret", "", "File with key=DHHC-1:..., and ctrl-key=DHHC-1:... where the controller is to prove itself too, "
        "readable by root only: DH-HMAC-CHAP", ("nvme-tcp", "nvme-rdma"), example="/etc/kvmontap/dhchap"),
    Key("tls-key-file", "secret", "", "File with the pre-shared key NVMeTLSkey-1:..., readable by root only: NVMe/TCP over TLS",
        ("nvme-tcp",), example="/etc/kvmontap/nvme.psk"),
    Key("wwid", "wwid", "", "WWID of the LUN, as multipath -ll shows it", (ISCSI, FC), example="3600a098038314c57312b58387638574f"),
    Key("namespace", "uuid", "", "UUID of the NVMe namespace", NVME, example="6c1e5a0e-0000-4000-8000-000000000000"),
    Key("device", "path", "", "Block device, instead of wwid or namespace", BLOCK, example="/dev/disk/by-id/..."),
    Key("partition", "integer", "0", "Partition of that device; 0 = the whole of it", BLOCK, low=0, high=128),
    Key("filesystem", "choice", "none", "File system on the device", BLOCK, choices=("ocfs2", "gfs2", "xfs", "ext4", "none")),
    Key("cluster", "name", "", "Subsection of [clusters] that shares the file system", BLOCK, example="kvmcl01"),
    Key("vg", "name", "", "LVM volume group, for type = logical", BLOCK, example="vg_kvm"),
    Key("adapter", "word", "", "SCSI host of this machine, for type = scsi", (ISCSI, FC), example="scsi_host2"),
    Key("ontap", "name", "", "Subsection of [ontap] that stands behind the pool; without it no array state and no snapshots",
        example="prod"),
    Key("volume", "name", "", "Volume behind the pool; found by junction path, share, WWID or namespace unless said", example="kvmnfs01"),
    Key("options", "options", "", "Further mount options, as typed"),
    Key("autostart", "flag", "yes", "Whether libvirt's pool is started with the host"),
    Key("hosted-on", "name", "", "The VM on this host in which the array itself (ONTAP Select) runs", example="ontap-select-1"),
    Key("snapshot-scope", "choice", "volume", "What one snapshot covers", choices=("volume", "consistency-group")),
)

CLUSTER = (
    Key("stack", "choice", "o2cb", "Cluster stack: o2cb for OCFS2, dlm for GFS2", choices=("o2cb", "dlm")),
    Key("heartbeat-threshold", "integer", "31", "o2cb: missed disk heartbeats until a node is dead, plus one; 61 with multipath",
        low=2, high=1000),
)

BOOT = (
    Key("timeout", "seconds", "90", "How long boot waits for one pool before it goes on without", low=1, high=3600),
    Key("mount", "choice", "boot", "boot = mounted before libvirt starts, automount = at the first access, manual = by hand",
        choices=("boot", "automount", "manual")),
    Key("idle-timeout", "seconds", "0", "automount: unmounted after this long without use; 0 = never", low=0, high=604800),
)

GATE = (
    Key("mode", "choice", "enforce", "enforce = refuse a VM without its storage, warn = say so only, off = do not look",
        choices=("enforce", "warn", "off")),
    Key("array-unknown", "choice", "allow", "What to do when the array's management does not answer (the data path is always checked)",
        choices=("allow", "refuse")),
    Key("timeout", "seconds", "5", "A verdict is there within this time, whatever hangs", low=0.5, high=60),
    Key("min-free", "amount", "5%", "Free space of the pool (5% or 20G) below which a start is refused"),
)

SNAPSHOTS = (
    Key("before", "occasions", "start, migrate", "Before what a snapshot is taken: start, migrate, or none"),
    Key("required", "flag", "no", "yes = no snapshot, no start"),
    Key("timeout", "seconds", "10", "How long a start waits for its snapshot", low=1, high=120),
    Key("keep", "integer", "20", "Snapshots kept per pool and reason", low=1, high=1000),
    Key("keep-days", "integer", "14", "Days after which a snapshot may go; 0 = no limit", low=0, high=3650),
    Key("reuse", "seconds", "300", "How long a snapshot serves further starts while the images are unchanged; 0 = never",
        low=0, high=86400),
    Key("label", "label", "", "SnapMirror label", example="kvm"),
    Key("rpo", "seconds", "0", "How far SnapMirror may lag behind before the pool is degraded (4h, 1d); 0 = not judged. Only the array of "
        "the destination knows: name it in [ontap] too", low=0, high=31536000),
    Key("snapmirror-update", "flag", "no", "yes = after a snapshot its volume's SnapMirror relationships are updated, on whichever array "
        "of [ontap] their destination is"),
    Key("lock-days", "integer", "0", "Days for which a snapshot cannot be deleted, where the volume allows locking", low=0, high=36500),
)

METRICS = (
    Key("textfile-directory", "path", "", "Directory of node_exporter's textfile collector, owned by root, in which kvmontapd keeps "
        "kvmontap.prom; without it there are no metrics", example="/var/lib/prometheus/node-exporter"),
)

POLICIES: Dict[str, Tuple[Key, ...]] = {"boot": BOOT, "gate": GATE, "snapshots": SNAPSHOTS}
KEYS: Dict[str, Tuple[Key, ...]] = {"ontap": ONTAP, "pools": POOL, "clusters": CLUSTER, **POLICIES, "metrics": METRICS}

# Which protocols each libvirt pool type makes sense for.
POOL_TYPES: Dict[str, Tuple[str, ...]] = {
    "dir": PROTOCOLS,
    "netfs": (NFS,),  # libvirt mounts SMB as guest only
    "fs": BLOCK,
    "logical": BLOCK,
    "disk": BLOCK,
    "scsi": (ISCSI, FC),
    "iscsi": (ISCSI,),
    "iscsi-direct": (ISCSI,),
    "mpath": (ISCSI, FC),
}
