"""Every check of the doctor: its stable name, how grave it is, and why anybody should care.  Pure."""

from typing import Dict, NamedTuple, Tuple

WRONG, BETTER = "wrong", "better"  # pools will fail or lose data; works, and another way is better


class Check(NamedTuple):
    level: str
    why: str  # one sentence without a full stop


class Advice(NamedTuple):
    """One thing that a check has found."""

    side: str  # "host", "array", "libvirt"
    check: str  # a name of CHECKS
    text: str  # what is so, a clause
    fix: str  # the command, or what to write where
    pools: Tuple[str, ...] = ()

    @property
    def level(self) -> str:
        return CHECKS[self.check].level

    @property
    def why(self) -> str:
        return CHECKS[self.check].why


CHECKS: Dict[str, Check] = {
    # -- the host
    "package": Check(WRONG, "without this program the pool cannot be attached"),
    "module": Check(WRONG, "the kernel cannot attach the pool without this module"),
    "service.masked": Check(WRONG, "a masked service never starts, and what needs it fails"),
    "service.guests": Check(WRONG, "without libvirt-guests the VMs are killed at shutdown, and their last writes with them"),
    "service.clock": Check(BETTER,
                           "Kerberos, TLS and the ages of snapshots go by the clock, and logs of host and array cannot be compared"),
    "guests.timeout": Check(BETTER, "a VM that has not shut down within this time is killed"),
    "identity": Check(WRONG, "the array knows a host by this name, and maps nothing to one that has none"),
    "keytab": Check(WRONG, "the host mounts with its own Kerberos key"),
    "tlshd.trust": Check(WRONG, "tlshd accepts the array's certificate only where it knows who signed it"),
    "multipath.conf": Check(WRONG, "RHEL and Fedora do not start multipathd without this file; an empty one is enough"),
    "multipath.value": Check(WRONG, "ONTAP's values are built into multipath-tools; another one here gives up or hangs when a path goes"),
    "iscsi.replacement": Check(BETTER, "sessions made by others than kvmontap hold I/O back this long before multipath takes another path"),
    "nvme.multipath": Check(WRONG, "without the kernel's own multipathing every path is a device of its own"),
    "nvme.rules": Check(BETTER, "these udev rules give namespaces of ONTAP the path policy that the vendor asks for"),
    "nvme.policy": Check(BETTER, "the vendor asks for queue-depth (round-robin before Linux 6.11): numa uses one path only"),
    "nvme.loss": Check(BETTER, "a controller that is given up takes the file system's last path with it; -1 never gives up"),
    "ocfs2.threshold": Check(WRONG,
                             "a host fences itself (reboots) when its heartbeat waits longer than this, as it does while multipath changes "
                             "paths"),
    "ocfs2.panic": Check(BETTER, "a host that hangs in an oops holds the locks of the whole cluster; one that reboots gives them back"),
    "ocfs2.node": Check(WRONG, "o2cb knows a host by its name, and a host that the cluster does not name cannot join"),
    "nfs.transports": Check(BETTER, "the first mount of a server decides on nconnect for all of them"),
    # -- the array
    "array.silent": Check(WRONG, "without the array's answers there are no snapshots, and the gate judges by the data path alone"),
    "array.clock": Check(BETTER, "the ages of snapshots go by the array's clock; certificates and Kerberos by both"),
    "array.version": Check(WRONG, "what the pool asks for came with a later ONTAP"),
    "array.rights": Check(BETTER, "what the account may not read cannot be checked, nor judged by the gate"),
    "export.rule": Check(WRONG, "ONTAP refuses a client that no rule of the export policy names"),
    "export.read-only": Check(WRONG, "a rule that gives no writing fails the VMs' disks"),
    "export.root": Check(WRONG, "libvirt makes and chowns images as root, which ONTAP turns into nobody without superuser"),
    "lun.map": Check(WRONG, "a LUN or namespace shows up only on hosts that it is mapped to"),
    "array.finding": Check(WRONG, "this is what the gate judges the pool by, see REASON CODES"),
    "volume.guarantee": Check(BETTER, "a thin volume without autogrow can fill up at any write of a VM"),
    "volume.reserve": Check(BETTER,
                            "snapshots beyond the reserve eat the pool's space; block volumes want none, since the host cannot see it"),
    "volume.autodelete": Check(WRONG, "ONTAP deletes snapshots by itself when space is low, those to go back to among them"),
    "volume.directory": Check(BETTER, "without the .snapshot directory a restore has no second way when the array cannot clone"),
    "volume.style": Check(WRONG, "qemu's account needs UNIX permissions, which an NTFS volume does not keep"),
    # -- libvirt
    "vm.bus": Check(BETTER, "an emulated disk controller is many times slower than virtio, and does not recover from a stall as well"),
    "vm.cache": Check(WRONG,
                      "with the host's page cache in between, live migration is refused or unsafe, and a crash of the host loses writes"),
    "vm.outside": Check(BETTER,
                        "what lies outside every pool is not checked before a start, not in a snapshot, and not there on another host"),
    "libvirt.silent": Check(BETTER, "the VMs cannot be looked at"),
}
