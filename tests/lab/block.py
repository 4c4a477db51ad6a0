"""A site with block storage: LUNs over iSCSI and a namespace over NVMe/TCP, OCFS2 on both, XFS, one or two KVM hosts."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path
from typing import NamedTuple

from . import guest, kvmhost, package, site as sites
from .array import Array
from .image import Progress
from .kvmhost import KvmHost
from .lab import HOSTS, VMS, Lab
from .vm import VM

HERE = Path(__file__).resolve().parent
VOLUME = "kvmblk01"
PORTALS = ("10.9.1.10", "10.9.2.10")
IQN = "iqn.2003-01.org.lab:array"
# As ONTAP's: its serial number is in the WWID.
SERIALS = ("lab-LUN-0000", "lab-LUN-0001")
LUN0, LUN1 = ("3600a0980" + serial.encode().hex() for serial in SERIALS)
NAMESPACE = "6c1e5a0e-0000-4000-8000-0000000000a1"
ISCSI_POOL = f"""\
    [[kvmiscsi01]]
    protocol = iscsi
    portals = {", ".join(PORTALS)}
    wwid = {LUN0}
    filesystem = ocfs2
    cluster = kvmcl01
    ontap = prod
    volume = {VOLUME}
"""
NVME_POOL = f"""\
    [[kvmns01]]
    protocol = nvme-tcp
    portals = {", ".join(PORTALS)}
    namespace = {NAMESPACE}
    filesystem = ocfs2
    cluster = kvmcl01
    ontap = prod
    volume = {VOLUME}
"""
SAN = {
    "luns": [{"name": f"lun{number}", "volume": VOLUME, "serial": serial} for number, serial in enumerate(SERIALS)],
    "namespaces": [{"name": "ns1", "volume": VOLUME, "uuid": NAMESPACE}],
    "export": ["/usr/local/sbin/block-storage"],
}
# Only for one host: XFS is not shared.
XFS_POOL = f"""\
    [[kvmxfs01]]
    protocol = iscsi
    portals = {", ".join(PORTALS)}
    wwid = {LUN1}
    filesystem = xfs
    ontap = prod
    volume = {VOLUME}
"""
SHARED = ISCSI_POOL + NVME_POOL
#: what two hosts have: each protocol that the lab has machines for
OF_TWO = kvmhost.NFS_POOL + kvmhost.SMB_POOL + SHARED
CLUSTERS = """\
[clusters]
    [[kvmcl01]]
    heartbeat-threshold = 61
        [[[nodes]]]
        host1 = 10.9.0.11
        host2 = 10.9.0.12
"""
# A pool is a few hundred MiB with two journals on it.  On a busy machine an emulated host takes its minutes to log in.
SECTIONS = CLUSTERS + "[boot]\ntimeout = 240\n" + sites.POLICIES.replace("timeout = 30\n", "timeout = 30\nmin-free = 4M\n", 1)
MOUNTS = {name: f"mnt-{name}.mount" for name in ("kvmiscsi01", "kvmns01", "kvmxfs01")}
LOGINS = {"kvmiscsi01": "kvmontap-iscsi@kvmiscsi01.service", "kvmns01": "kvmontap-nvme@kvmns01.service",
          "kvmxfs01": "kvmontap-iscsi@kvmxfs01.service"}
CLUSTER_UNIT = "kvmontap-o2cb@kvmcl01.service"
#: guests of host1: name -> pool
GUESTS = {"vm-iscsi": "kvmiscsi01", "vm-ns": "kvmns01", "vm-xfs": "kvmxfs01"}
# As multipath has it for ONTAP by itself: I/O waits for a path, however long.
QUEUEING = "overrides {\n\tno_path_retry queue\n}\n"


class BlockSite(NamedTuple):
    """What a test works with."""

    lab: Lab
    host: KvmHost
    array: Array


def build(progress: Progress = print) -> BlockSite:
    """Storage and host1, which has the package, its pools and guests, and has been rebooted; the caller closes `site.lab`."""
    lab = Lab(progress)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as aside:
            built = aside.submit(package.build, progress)
            sites.start(lab, package.built())
            array = storage(lab)
            host = prepare(lab, "host1", array, built.result(), XFS_POOL + SHARED)
        host.run("systemctl daemon-reload && systemctl start remote-fs.target", timeout=300)
        for name, pool in GUESTS.items():
            host.vm.put(guest.disk(), f"/mnt/{pool}/{name}.img", mode=0o666)
            host.define(name, f"/mnt/{pool}/{name}.img", autostart=True)
        progress(f"block: host1 rebooted in {host.vm.reboot():.0f} s")
        site = BlockSite(lab, host, array)
        wait_booted(site)
        return site
    except BaseException:
        lab.close()
        raise


def build_two(progress: Progress = print) -> tuple[Lab, KvmHost, KvmHost, Array]:
    """Storage and two hosts that have NFS, SMB, iSCSI and NVMe/TCP pools, both rebooted with the package; the caller closes the lab."""
    lab = Lab(progress)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as aside:
            built = aside.submit(package.build, progress)
            lab.start("storage", "host1", "host2")
            array = storage(lab)
            deb = built.result()
            hosts = list(aside.map(lambda name: prepare(lab, name, array, deb, OF_TWO), HOSTS))
            seconds = list(aside.map(lambda host: host.vm.reboot(), hosts))
        progress(f"block: rebooted in {seconds[0]:.0f} and {seconds[1]:.0f} s")
        for host in hosts:
            wait_over(host)
        return lab, hosts[0], hosts[1], array
    except BaseException:
        lab.close()
        raise


def wait_over(host: KvmHost) -> None:
    """Wait until boot is over."""
    host.vm.wait_for("s=$(systemctl is-system-running); [ $s = running ] || [ $s = degraded ]", 400, "boot is over")


def storage(lab: Lab) -> Array:
    """LUNs, namespace and array."""
    lab.storage.run("systemctl is-active -q lab-storage || systemctl start lab-storage", timeout=300)
    lab.storage.put(HERE / "block-storage.sh", "/usr/local/sbin/block-storage", mode=0o755)
    lab.storage.run("block-storage up", timeout=300)
    return lab.start_array((VOLUME,), SAN)


def prepare(lab: Lab, name: str, array: Array, deb: Path, pools: str, sections: str = SECTIONS) -> KvmHost:
    """A host with the package and its configuration; the image gives all hosts one name as initiator."""
    host = KvmHost(lab.vms[name])
    sites.install(lab, host, deb)
    number = VMS[name][0]
    host.vm.put(f"InitiatorName=iqn.1993-08.org.debian:01:{name}\n", "/etc/iscsi/initiatorname.iscsi", mode=0o600)
    host.vm.put(QUEUEING, "/etc/multipath/conf.d/lab.conf")
    host.vm.put(f"nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-{number:012}\n", "/etc/nvme/hostnqn")
    host.vm.put(f"00000000-0000-4000-8000-{number:012}\n", "/etc/nvme/hostid")
    host.secrets(array.ca)
    host.configure(pools, sections)
    return host


def wait_booted(site: BlockSite, guests: tuple[str, ...] = tuple(GUESTS)) -> None:
    """Wait until boot is over and the guests run their boot sectors."""
    wait_over(site.host)
    for name in guests:
        site.host.wait_guest_up(name, 240)


def sessions(vm: VM) -> list[str]:
    """Portals of the iSCSI sessions of a host, sorted."""
    said = vm.run("cat /sys/class/iscsi_connection/*/persistent_address 2>/dev/null", check=False)
    return sorted(said.out.split())


def controllers(vm: VM) -> list[str]:
    """"ADDRESS STATE" of each NVMe controller of a host, sorted."""
    said = vm.run("for c in /sys/class/nvme/nvme*; do [ -e $c ] && "
                  "echo $(sed 's/.*traddr=\\([^,]*\\).*/\\1/' $c/address) $(cat $c/state); done", check=False)
    return sorted(said.out.splitlines())


