"""What each kind of pool needs of a host: programs and their packages by distribution, kernel modules, services.  Pure; tables only."""

from typing import Callable, Dict, NamedTuple, Tuple

from kvmontap.model import FC, ISCSI, NFS, NVME, SMB, Pool

DEBIAN, FEDORA, RHEL, ARCH = "debian", "fedora", "rhel", "arch"
INSTALL: Dict[str, str] = {DEBIAN: "apt install", FEDORA: "dnf install", RHEL: "dnf install", ARCH: "pacman -S"}
Wants = Callable[[Pool], bool]


class Program(NamedTuple):
    """A program that a package brings; any of `paths` will do."""

    wanted: Wants
    paths: Tuple[str, ...]
    debian: str
    redhat: str
    arch: str
    what: str

    def package(self, family: str) -> str:
        return {DEBIAN: self.debian, ARCH: self.arch}.get(family, self.redhat)


class Module(NamedTuple):
    wanted: Wants
    names: Tuple[str, ...]  # all of them


def protocol(*names: str) -> Wants:
    return lambda pool: pool.protocol in names


def filesystem(*names: str) -> Wants:
    return lambda pool: pool.filesystem in names


def kind(*names: str) -> Wants:
    return lambda pool: pool.type in names


def _sbin(name: str) -> Tuple[str, ...]:
    return (f"usr/sbin/{name}", f"sbin/{name}", f"usr/bin/{name}")


PROGRAMS: Tuple[Program, ...] = (
    Program(protocol(NFS), _sbin("mount.nfs"), "nfs-common", "nfs-utils", "nfs-utils", "mounting NFS"),
    Program(lambda pool: pool.security != "sys", _sbin("rpc.gssd"), "nfs-common", "nfs-utils", "nfs-utils", "Kerberos for NFS"),
    Program(lambda pool: pool.tls != "no", _sbin("tlshd"), "ktls-utils", "ktls-utils", "ktls-utils", "TLS for NFS"),
    Program(protocol(SMB), _sbin("mount.cifs"), "cifs-utils", "cifs-utils", "cifs-utils", "mounting SMB"),
    Program(protocol(ISCSI), _sbin("iscsiadm"), "open-iscsi", "iscsi-initiator-utils", "open-iscsi", "iSCSI"),
    Program(protocol(ISCSI, FC), _sbin("multipath"), "multipath-tools", "device-mapper-multipath", "multipath-tools", "multipathing"),
    Program(protocol(*NVME), _sbin("nvme"), "nvme-cli", "nvme-cli", "nvme-cli", "NVMe over Fabrics"),
    Program(filesystem("ocfs2"), _sbin("mount.ocfs2"), "ocfs2-tools", "ocfs2-tools", "ocfs2-tools", "OCFS2"),
    Program(filesystem("gfs2"), _sbin("mkfs.gfs2"), "gfs2-utils", "gfs2-utils", "gfs2-utils", "GFS2"),
    Program(filesystem("gfs2"), _sbin("dlm_controld"), "dlm-controld", "dlm", "dlm", "GFS2's lock manager"),
    Program(filesystem("gfs2"), _sbin("corosync"), "corosync", "corosync", "corosync", "GFS2's cluster"),
    Program(filesystem("xfs"), _sbin("mkfs.xfs"), "xfsprogs", "xfsprogs", "xfsprogs", "XFS"),
    Program(kind("logical"), _sbin("vgchange"), "lvm2", "lvm2", "lvm2", "LVM pools"),
    Program(lambda pool: True, ("usr/sbin/libvirtd", "usr/sbin/virtqemud", "usr/bin/libvirtd", "usr/bin/virtqemud"),
            "libvirt-daemon-system", "libvirt-daemon-kvm", "libvirt", "libvirt"),
    Program(lambda pool: True, ("usr/bin/qemu-img",), "qemu-utils", "qemu-img", "qemu-img", "reading image chains"),
)  # fmt: skip

MODULES: Tuple[Module, ...] = (
    Module(protocol(NFS), ("nfs",)),
    Module(lambda pool: pool.protocol == NFS and pool.version == "3", ("nfsv3",)),
    Module(lambda pool: pool.protocol == NFS and pool.version != "3", ("nfsv4",)),
    Module(lambda pool: pool.transport == "rdma", ("rpcrdma",)),
    Module(lambda pool: pool.tls != "no", ("tls",)),
    Module(protocol(SMB), ("cifs",)),
    Module(protocol(ISCSI), ("iscsi_tcp", "dm_multipath")),
    Module(protocol(FC), ("dm_multipath",)),
    Module(protocol("nvme-tcp"), ("nvme_tcp",)),
    Module(protocol("nvme-rdma"), ("nvme_rdma",)),
    Module(protocol("nvme-fc"), ("nvme_fc",)),
    Module(filesystem("ocfs2"), ("ocfs2", "ocfs2_stack_o2cb")),
    Module(filesystem("gfs2"), ("gfs2", "dlm")),
    Module(filesystem("xfs"), ("xfs",)),
)
# Where a distribution's usual kernel is without a module.
KERNELS: Dict[str, str] = {
    DEBIAN: "the cloud kernel lacks many: apt install linux-image-amd64, and boot that",
    FEDORA: "dnf install kernel-modules-extra",
    RHEL: "dnf install kernel-modules-extra; OCFS2 needs Oracle's kernel, GFS2 the Resilient Storage add-on",
    ARCH: "pacman -S linux, and reboot: the modules of the running kernel may have gone with an upgrade",
}

# Services that must not be masked; several names are what distributions call one.
SERVICES: Tuple[Tuple[Wants, Tuple[str, ...]], ...] = (
    (protocol(ISCSI), ("iscsid.service",)),
    (protocol(ISCSI, FC), ("multipathd.service",)),
    (lambda pool: pool.security != "sys", ("rpc-gssd.service",)),
    (lambda pool: pool.tls != "no", ("tlshd.service",)),
    (filesystem("gfs2"), ("corosync.service", "dlm.service")),
    (lambda pool: True, ("kvmontapd.service", "kvmontapd.socket", "kvmontap-pools.service", "remote-fs.target")),
)
CLOCKS = ("chrony.service", "chronyd.service", "systemd-timesyncd.service", "ntpsec.service", "ntpd.service", "ntp.service",
          "openntpd.service")
GUESTS = "libvirt-guests.service"

# multipath.conf: what ONTAP's built-in section of multipath-tools says (hwtable.c), which nothing may override.
MULTIPATH: Dict[str, Tuple[str, ...]] = {
    "no_path_retry": ("queue",),
    "dev_loss_tmo": ("infinity", "2147483647"),
    "fast_io_fail_tmo": ("5",),
    "path_checker": ("tur",),
    "prio": ("alua", "ontap", "sysfs"),
    "path_grouping_policy": ("group_by_prio",),
    "failback": ("immediate",),
    "features": ('2 pg_init_retries 50', "3 queue_if_no_path pg_init_retries 50", "0", "1 queue_if_no_path"),
}
