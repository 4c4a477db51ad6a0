"""A LUN over Fibre Channel, a namespace over RDMA, a volume group on multipath maps: from /sys of hosts that had them.

fc.txt is of a host whose adapter is Linux's own FCoE on an ordinary NIC, with a LUN of Linux's target behind it; nvme-rdma.txt of soft
RoCE, with an NVMe/TCP subsystem on two IPv6 portals beside it; lvm.txt of four iSCSI sessions.  The kernel's classes are those of real
adapters.
"""

import os

import pytest

from kvmontap.attach import fc, lvm
from kvmontap.host import block, fabric, identity, san
from kvmontap.host.behind import devices
from kvmontap.host.mountinfo import Mount
from kvmontap.model import Pool
from tests.unit.host.recorded_sys import plant

RECORDED = os.path.join(os.path.dirname(__file__), "recorded")
FC_WWID = "3600a09806c616273657269616c303039"
PORT = "sys/devices/pci0000:00/0000:00:05.0/virtio4/net/eth2/ctlr_2/host5"
RDMA_UUID, TCP_UUID = "6c1e5a0e-0000-4000-8000-0000000000c1", "6c1e5a0e-0000-4000-8000-0000000000b1"
VG_WWID, SIX_WWID = "3600a09806c616273657269616c303030", "360014050000000000000000000000b06"


@pytest.fixture
def recorded(tmp_path):
    def make(name):
        plant(os.path.join(RECORDED, name), tmp_path)
        return str(tmp_path)

    return make


def write(root, path, text):
    with open(os.path.join(root, path), "w", encoding="utf-8") as stream:
        stream.write(text + "\n")


# -- Fibre Channel

FC = Pool("kvmfc01", "fc", "/mnt/kvmfc01", wwid=FC_WWID, filesystem="ext4")


def test_the_ports_of_this_host(recorded):
    root = recorded("fc.txt")
    (port,) = identity.read(root).ports
    assert (port.host, port.wwpn, port.wwnn, port.state) == ("host5", "20:00:52:54:00:09:02:11", "10:00:52:54:00:09:02:11", "Online")
    assert fc.adapters(root) == (("host5", "Online"),)
    assert fabric.ports(root) == ()


def test_a_lun_behind_a_remote_port(recorded):
    root = recorded("fc.txt")
    assert fc.disks(root) == ("sdn",) and fc.found(root) == (FC_WWID,)
    assert san.disks_of(FC_WWID, root) == ("sdn",)
    device = san.multipath(FC_WWID, root)
    assert (device.name, device.number) == ("dm-9", "253:9")
    assert [(path.name, path.portal, path.up) for path in device.paths] == [("sdn", "", True)]
    assert block.paths(FC, root) == () and set(devices(FC, root)) == {"253:9", "8:208"}
    assert set(devices(Pool("s", "fc", type="scsi", adapter="scsi_host5"), root)) == {"253:9", "8:208"}
    assert set(devices(Pool("m", "fc", type="mpath"), root)) == {"253:9"}


def test_the_mount_is_of_the_lun(recorded):
    root = recorded("fc.txt")
    assert block.check(FC, Mount("/mnt/kvmfc01", "/dev/dm-9", "ext4", device="253:9"), root) == ()
    (found,) = block.check(FC, Mount("/mnt/kvmfc01", "/dev/vda1", "ext4", device="254:1"), root)
    assert found.code == "mount.wrong-source"


def test_a_lun_that_the_fabric_lost(recorded):
    root = recorded("fc.txt")
    write(root, f"{PORT}/rport-5:0-0/target5:0:0/5:0:0:0/state", "transport-offline")
    (found,) = block.paths(FC, root)
    assert found.code == "path.none" and "sdn transport-offline" in found.text


def test_a_remote_port_that_went_and_a_port_that_is_down(recorded):
    root = recorded("fc.txt")
    write(root, f"{PORT}/rport-5:0-0/fc_remote_ports/rport-5:0-0/port_state", "Not Present")
    (found,) = fabric.ports(root)
    assert found.code == "port.target-lost" and "20:00:52:54:00:09:02:10" in found.text
    write(root, f"{PORT}/fc_host/host5/port_state", "Linkdown")
    (found,) = fabric.ports(root)
    assert found.code == "port.down" and "20:00:52:54:00:09:02:11" in found.text


def test_a_rescan_asks_the_adapters_and_makes_no_file(recorded):
    root = recorded("fc.txt")
    write(root, f"{PORT}/scsi_host/host5/scan", "")
    fc.rescan(root)
    with open(os.path.join(root, f"{PORT}/scsi_host/host5/scan"), encoding="utf-8") as stream:
        assert stream.read() == "- - -\n"
    assert not os.path.exists(os.path.join(root, fc.NVME_DISCOVERY))
    os.makedirs(os.path.dirname(os.path.join(root, fc.NVME_DISCOVERY)))
    write(root, fc.NVME_DISCOVERY, "")
    fc.rescan(root)
    with open(os.path.join(root, fc.NVME_DISCOVERY), encoding="utf-8") as stream:
        assert stream.read() == "add\n"


# -- RDMA

RDMA = Pool("kvmrdma01", "nvme-rdma", "/mnt/kvmrdma01", portals=("10.9.1.10",), namespace=RDMA_UUID, filesystem="ext4")
TCP = Pool("kvmsec01", "nvme-tcp", "/mnt/kvmsec01", portals=("fd09:1::10", "fd09:2::10"), namespace=TCP_UUID, filesystem="ext4")


def test_a_controller_over_rdma_beside_two_over_tcp(recorded):
    root = recorded("nvme-rdma.txt")
    assert san.controllers(root)[0] == san.Controller("nvme0", "rdma", "nqn.2020-01.org.lab:rdma", "10.9.1.10", "4420", "live")
    assert [(one.transport, one.portal) for one in san.controllers(root)[1:]] == [
        ("tcp", "[fd09:1::10]:4420"), ("tcp", "[fd09:2::10]:4420")]
    assert san.namespace(RDMA_UUID, root).number == "259:4" and san.namespace(TCP_UUID, root).number == "259:1"
    assert san.namespaces(["nqn.2020-01.org.lab:rdma"], root) == ("nvme0n1",)
    assert block.paths(RDMA, root) == () == block.paths(TCP, root)


@pytest.mark.parametrize("pool, controller, code, missing", [
    (RDMA, "nvme0", "path.none", "10.9.1.10:4420 connecting"), (TCP, "nvme2", "path.missing", "missing: fd09:2::10"),
])
def test_one_that_lost_its_connection(recorded, pool, controller, code, missing):
    root = recorded("nvme-rdma.txt")
    write(root, f"sys/devices/virtual/nvme-fabrics/ctl/{controller}/state", "connecting")
    (found,) = block.paths(pool, root)
    assert found.code == code and missing in found.text


# -- a volume group on a map

LOGICAL = Pool("kvmlv01", "iscsi", type="logical", portals=("10.9.1.10", "10.9.2.10"), wwid=VG_WWID, vg="vg_kvm")
SIX = Pool("kvmsix01", "iscsi", "/mnt/kvmsix01", portals=("fd09:1::10", "fd09:2::10"), interfaces=("eth1", "eth2"), wwid=SIX_WWID,
           filesystem="ext4")


def test_what_is_built_on_the_map_is_the_pools(recorded):
    root = recorded("lvm.txt")
    volumes = {"vg_kvm-vm--lv": "253:4", "vg_kvm-guest--pv": "253:7", "vg_kvm-new1": "253:8"}
    assert set(lvm.active("vg_kvm", root)) == set(volumes) and lvm.active("vg_guest", root) == {}
    assert set(devices(LOGICAL, root)) == {"253:2", "8:0", "8:80", *volumes.values()}
    assert block.device_number(LOGICAL, root) == "253:2" and block.paths(LOGICAL, root) == ()


def test_a_session_through_each_interface(recorded):
    root = recorded("lvm.txt")
    bound = {(one.portal, one.interface) for one in san.sessions(root) if one.target.endswith(":six")}
    assert bound == {("[fd09:1::10]:3260", "kvmontap.eth1"), ("[fd09:2::10]:3260", "kvmontap.eth2")}
    assert block.paths(SIX, root) == ()
    (found,) = block.paths(SIX._replace(interfaces=("eth1", "eth2", "eth3")), root)
    assert found.code == "path.missing" and found.text.endswith("missing: all through eth3")
