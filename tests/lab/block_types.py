"""A site of one KVM host with a pool of each type of libvirt's: LVM, GFS2, NVMe's keys, IPv6, an array on the host itself."""

from __future__ import annotations

import base64
import concurrent.futures
import zlib
from typing import NamedTuple

from . import block, guest, package, site as sites
from .array import Array
from .image import Progress
from .kvmhost import KvmHost
from .lab import Lab

TYPES, LIBVIRT, SIX = (f"iqn.2003-01.org.lab:{name}" for name in ("types", "libvirt", "six"))
SECRET_NQN = "nqn.2020-01.org.lab:secret"
SECRET_UUID = "6c1e5a0e-0000-4000-8000-0000000000b1"
RDMA_NQN = "nqn.2020-01.org.lab:rdma"
RDMA_UUID = "6c1e5a0e-0000-4000-8000-0000000000c1"
INITIATOR = "iqn.1993-08.org.debian:01:host1"
HOST_NQN = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000011"
V4, V6 = ("10.9.1.10", "10.9.2.10"), ("fd09:1::10", "fd09:2::10")
LVM, GUEST, DISK, FS, GFS2 = range(5)  # LUNs of TYPES
SIX_WWID = "360014050000000000000000000000b06"


def serial(lun: int) -> str:
    """The serial number of a LUN of TYPES, as ONTAP's have twelve characters."""
    return f"labserial{lun:03d}"


def wwid(lun: int) -> str:
    """What multipath makes of it: NetApp's company number, a zero, the serial number's characters."""
    return "3600a0980" + serial(lun).encode().hex()


def dhchap_key(letter: str) -> str:
    """A key as `nvme gen-dhchap-key` makes one: 32 bytes and their CRC."""
    key = letter.encode() * 32
    return f"DHHC-1:00:{base64.b64encode(key + zlib.crc32(key).to_bytes(4, 'little')).decode()}:"


HOST_KEY, CTRL_KEY = dhchap_key("h"), dhchap_key("c")
SECRETS = (HOST_KEY[10:50], CTRL_KEY[10:50])
_V4 = ", ".join(V4)
# No volume =: LUN and namespace are found by their serial number and UUID.
POOLS = f"""\
    [[kvmlv01]]
    protocol = iscsi
    portals = {_V4}
    iqn = {TYPES}
    type = logical
    wwid = {wwid(LVM)}
    vg = vg_kvm
    ontap = prod
    [[kvmdisk01]]
    protocol = iscsi
    portals = {_V4}
    iqn = {TYPES}
    type = disk
    wwid = {wwid(DISK)}
    ontap = prod
    [[kvmfs01]]
    protocol = iscsi
    portals = {_V4}
    iqn = {TYPES}
    type = fs
    wwid = {wwid(FS)}
    filesystem = ext4
    ontap = prod
    [[kvmgfs01]]
    protocol = iscsi
    portals = {_V4}
    iqn = {TYPES}
    wwid = {wwid(GFS2)}
    filesystem = gfs2
    cluster = kvmgfs
    ontap = prod
    [[kvmmp01]]
    protocol = iscsi
    portals = {_V4}
    iqn = {TYPES}
    type = mpath
    ontap = prod
    volume = {block.VOLUME}
    [[kvmlib01]]
    protocol = iscsi
    portals = {V4[0]}
    iqn = {LIBVIRT}
    type = iscsi
    [[kvmdirect01]]
    protocol = iscsi
    portals = {V4[0]}
    iqn = {LIBVIRT}
    type = iscsi-direct
    [[kvmsix01]]
    protocol = iscsi
    portals = [{V6[0]}], [{V6[1]}]
    iqn = {SIX}
    interfaces = eth1, eth2
    wwid = {SIX_WWID}
    filesystem = ext4
    [[kvmsec01]]
    protocol = nvme-tcp
    portals = [{V6[0]}], [{V6[1]}]
    nqn = {SECRET_NQN}
    dhchap-file = /etc/kvmontap/dhchap
    io-queues = 1
    ctrl-loss-tmo = 1800
    namespace = {SECRET_UUID}
    filesystem = ext4
    ontap = prod
    [[kvmrdma01]]
    protocol = nvme-rdma
    portals = {V4[0]}
    nqn = {RDMA_NQN}
    ctrl-loss-tmo = 900
    namespace = {RDMA_UUID}
    filesystem = ext4
    ontap = prod
    [[kvmhosted01]]
    protocol = nfs
    server = {V4[0]}
    export = /kvmnfs02
    version = 4.2
    hosted-on = vm-select
"""
CLUSTERS = """\
[clusters]
    [[kvmgfs]]
    stack = dlm
        [[[nodes]]]
        host1 = 10.9.0.11
"""
# Six logins and their devices at once are a lot for an emulated CPU.
SECTIONS = CLUSTERS + "[boot]\ntimeout = 300\n" + sites.POLICIES.replace("timeout = 30\n", "timeout = 30\nmin-free = 1M\n", 1)
COROSYNC = """\
totem {
    version: 2
    cluster_name: kvmgfs
    transport: knet
    crypto_cipher: none
    crypto_hash: none
}
nodelist {
    node {
        ring0_addr: 10.9.0.11
        name: host1
        nodeid: 1
    }
}
quorum {
    provider: corosync_votequorum
}
"""
NETWORK = """\
[Service]
ExecStartPost=/bin/sh -c 'for n in 1 2; do echo 0 > /proc/sys/net/ipv6/conf/eth$n/disable_ipv6; \
ip -6 addr replace fd09:$n::11/64 dev eth$n nodad; done; modprobe rdma_rxe && rdma link add rxe1 type rxe netdev eth1'
"""
#: name -> (kind, source, autostart)
GUESTS = {
    "vm-select": ("file", "/var/lib/libvirt/images/vm-select.img", True),
    "vm-lv": ("block", "/dev/vg_kvm/vm-lv", True),
    "vm-hosted": ("file", "/mnt/kvmhosted01/vm-hosted.img", False),
}


class TypesSite(NamedTuple):
    """What a test works with."""

    lab: Lab
    host: KvmHost
    array: Array


def build(progress: Progress = print) -> TypesSite:
    """Storage and host1, rebooted with the package and every type of pool; the caller closes `site.lab`."""
    lab = Lab(progress)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as aside:
            built = aside.submit(package.build, progress)
            sites.start(lab, package.built())
            array = storage(lab)
            host = block.prepare(lab, "host1", array, built.result(), POOLS, SECTIONS)
        host.vm.put(f"key={HOST_KEY}\nctrl-key={CTRL_KEY}\n", "/etc/kvmontap/dhchap", mode=0o600)
        host.vm.put(COROSYNC, "/etc/corosync/corosync.conf")
        host.vm.put(NETWORK, "/etc/systemd/system/networking.service.d/six.conf")
        host.vm.put(guest.disk(), "/var/lib/libvirt/images/vm-select.img", mode=0o666)
        for name, (kind, source, autostart) in GUESTS.items():
            host.define(name, source, autostart=autostart, kind=kind)
        progress(f"types: host1 rebooted in {host.vm.reboot():.0f} s")
        block.wait_over(host)
        return TypesSite(lab, host, array)
    except BaseException:
        lab.close()
        raise


def storage(lab: Lab) -> Array:
    """Targets, subsystem, and the array that knows of them."""
    vm = lab.storage
    vm.run("systemctl is-active -q lab-storage || systemctl start lab-storage", timeout=300)
    vm.put(block.HERE / "types-storage.sh", "/usr/local/sbin/types-storage", mode=0o755)
    vm.put(guest.disk(), "/run/guest-disk")
    vm.put(guest.disk(), "/kvmnfs02/vm-hosted.img", mode=0o666)
    vm.run(f"types-storage {HOST_NQN} {HOST_KEY} {CTRL_KEY} /run/guest-disk", timeout=300)
    names = {LVM: "lvm0", GUEST: "guest0", DISK: "disk0", FS: "fs0", GFS2: "gfs0"}
    spaces = {"sec0": (SECRET_UUID, SECRET_NQN), "rdma0": (RDMA_UUID, RDMA_NQN)}
    return lab.start_array((block.VOLUME,), {
        "luns": [{"name": name, "volume": block.VOLUME, "serial": serial(lun)} for lun, name in names.items()],
        "namespaces": [{"name": name, "volume": block.VOLUME, "uuid": uuid} for name, (uuid, _) in spaces.items()],
        "igroups": [{"name": "cluster", "initiators": [INITIATOR], "maps": list(names.values())}],
        "subsystems": [{"name": name, "hosts": [HOST_NQN], "nqn": nqn, "maps": [name]} for name, (_, nqn) in spaces.items()],
    })
