"""On whose device a VM's disk lies: through multipath, partitions, LVM and mounts, from a recorded /sys and its numbers."""

import os
import shutil

import pytest

from kvmontap.host import match
from kvmontap.host.behind import Behind, devices, node_number
from kvmontap.host.mountinfo import Mount
from kvmontap.model import Config, Domain, Pool, Source
from tests.unit.host.recorded_sys import plant

RECORDED = os.path.join(os.path.dirname(__file__), "recorded")
IQN = "iqn.2003-01.org.lab:array"
PORTALS = ("10.9.1.10", "10.9.2.10")
LUN0, LUN1 = "360014050000000000000000000000a00", "360014050000000000000000000000a01"
UUID = "6c1e5a0e-0000-4000-8000-0000000000a1"
# On the recorded maps: a partition of LUN 0 (253:2) with a volume group on it (253:3, 253:4), as kpartx and LVM stack them.
STACKED = """\
sys/block/dm-2 -> ../devices/virtual/block/dm-2
sys/devices/virtual/block/dm-2/dev = 253:2
sys/devices/virtual/block/dm-2/dm/uuid = part1-mpath-360014050000000000000000000000a00
sys/devices/virtual/block/dm-2/dm/name = 360014050000000000000000000000a00-part1
sys/devices/virtual/block/dm-1/holders/dm-2 -> ../../dm-2
sys/block/dm-3 -> ../devices/virtual/block/dm-3
sys/devices/virtual/block/dm-3/dev = 253:3
sys/devices/virtual/block/dm-3/dm/uuid = LVM-a
sys/devices/virtual/block/dm-3/dm/name = vg_kvm-vm1
sys/devices/virtual/block/dm-2/holders/dm-3 -> ../../dm-3
sys/block/dm-4 -> ../devices/virtual/block/dm-4
sys/devices/virtual/block/dm-4/dev = 253:4
sys/devices/virtual/block/dm-4/dm/uuid = LVM-b
sys/devices/virtual/block/dm-4/dm/name = vg_kvm-files
sys/devices/virtual/block/dm-2/holders/dm-4 -> ../../dm-4
sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1/dev = 259:3
sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1/partition = 1
"""
NODES = {"/dev/dm-3": "253:3", "/dev/dm-1": "253:1", "/dev/dm-0": "253:0", "/dev/sdc": "8:32", "/dev/nvme0n1p1": "259:3",
         "/dev/vda": "254:0"}
LINKS = {"/dev/vg_kvm/vm1": "../dm-3", "/dev/mapper/lun0": "../dm-1", "/images": "/srv/files", "/loop": "/loop"}
ROOT = Mount("/", "/dev/vda1", "ext4", device="254:1", id=1, parent=0)
MOUNTS = (ROOT, Mount("/srv/files", "/dev/mapper/vg_kvm-files", "xfs", device="253:4", id=2, parent=1),
          Mount("/mnt/nfs", "10.0.0.1:/x", "nfs4", device="0:50", id=3, parent=1))
LOGICAL = Pool("lv", "iscsi", type="logical", portals=PORTALS, wwid=LUN0, partition=1, vg="vg_kvm")
WHOLE = Pool("whole", "iscsi", type="disk", portals=PORTALS, wwid=LUN0)
OTHER = Pool("other", "fc", target="/mnt/other", wwid=LUN1, filesystem="xfs")
SPACE = Pool("ns", "nvme-tcp", type="disk", portals=PORTALS, namespace=UUID)
MPATH = Pool("mp", "iscsi", type="mpath", portals=PORTALS)
LIBVIRTS = Pool("lib", "iscsi", type="iscsi", portals=PORTALS[:1], iqn=(IQN,))
HOST1 = Pool("scsi", "iscsi", type="scsi", portals=PORTALS, adapter="scsi_host1")


@pytest.fixture
def root(tmp_path, monkeypatch):
    recording = tmp_path / "recording"
    with open(os.path.join(RECORDED, "iscsi-nvme.txt"), encoding="utf-8") as stream:
        recording.write_text(stream.read() + STACKED)
    plant(recording, tmp_path / "root")
    monkeypatch.setattr(match, "links", lambda mounts: lambda path: LINKS.get(path, ""))
    return str(tmp_path / "root")


def behind(root, *pools):
    return Behind(Config({}, {pool.name: pool for pool in pools}, {}), root, lambda: MOUNTS, lambda path: NODES.get(path, ""))


def block(path):
    return Source("block", "disk vda", path=path)


@pytest.mark.parametrize("pool, numbers", [
    (LOGICAL, {"253:2", "253:3", "253:4"}),
    (WHOLE, {"253:1", "253:2", "253:3", "253:4", "8:0", "8:32"}),
    (OTHER, {"253:0", "8:16", "8:48"}),
    (SPACE, {"259:2", "259:3"}),
    (MPATH, {"253:0", "253:1", "253:2", "253:3", "253:4"}),
    (LIBVIRTS, {"8:0", "8:16", "8:32", "8:48", "253:0", "253:1", "253:2", "253:3", "253:4"}),
    (HOST1, {"8:32", "8:48", "253:0", "253:1", "253:2", "253:3", "253:4"}),
    (Pool("f", "fc", wwid="3600a"), set()),
])
def test_what_is_a_pools_device(root, pool, numbers):
    assert set(devices(pool, root)) == numbers


@pytest.mark.parametrize("source, pools", [
    (block("/dev/vg_kvm/vm1"), {"lv"}),  # a logical volume by its link
    (block("/dev/dm-3"), {"lv"}),
    (block("/dev/mapper/lun0"), set()),  # the whole LUN is not the pool's: its partition is
    (block("/dev/dm-0"), {"other"}),
    (block("/dev/nvme0n1p1"), {"ns"}),
    (block("/dev/vda"), set()),
    (block("/dev/none"), set()),
    (Source("file", "disk vda", path="/srv/files/vm.img"), {"lv"}),  # on a file system on a logical volume
    (Source("file", "disk vda", path="/images/vm.img"), {"lv"}),
    (Source("file", "disk vda", path="/dev/dm-3"), {"lv"}),  # a device that is said to be a file
    (Source("file", "disk vda", path="/var/vm.img"), set()),
    (Source("file", "disk vda", path="/mnt/nfs/vm.img"), set()),
    (Source("file", "disk vda", path="/loop/vm.img"), set()),
    (Source("file", "disk vda", path="relative"), set()),
    (Source("volume", "disk vda", pool="p", volume="v"), set()),
])
def test_whose_device_a_disk_lies_on(root, source, pools):
    assert behind(root, LOGICAL, OTHER, SPACE).pools(source) == pools


def test_a_path_of_a_lun_is_the_pools_too(root):
    assert behind(root, WHOLE).pools(block("/dev/sdc")) == {"whole"}
    assert behind(root, WHOLE).pools(block("/dev/vg_kvm/vm1")) == {"whole"}


def test_a_disk_that_qemu_gets_over_iscsi_itself(root):
    source = Source("network", "disk vda", protocol="iscsi", name=f"{IQN}/1")
    assert behind(root, LIBVIRTS).pools(source) == {"lib"}
    assert behind(root, LOGICAL).pools(source) == behind(root, LIBVIRTS).pools(source._replace(protocol="nbd")) == set()


def test_a_host_without_block_pools_is_not_even_looked_at(root):
    pools = {"n": Pool("n", "nfs", "/mnt/n", server=("10.0.0.1",), export="/n")}

    def never(*_):
        raise AssertionError

    assert Behind(Config({}, pools, {}), root, never, never).pools(block("/dev/dm-3")) == set()


def test_mounts_that_cannot_be_read_are_no_pools(root):
    def broken():
        raise OSError

    assert Behind(Config({}, {"lv": LOGICAL}, {}), root, broken, lambda path: "").pools(block("/dev/dm-3")) == set()


def test_a_domain_is_matched_by_name_and_by_device_once(root):
    config = Config({}, {pool.name: pool for pool in (LOGICAL, OTHER)}, {})
    sources = (block("/dev/vg_kvm/vm1"), Source("volume", "disk vdb", pool="lv", volume="vm1"), block("/dev/dm-0"))
    found = match.match(Domain("vm", "u", sources), config, {}, readlink=lambda path: "", behind=behind(root, LOGICAL, OTHER).pools)
    assert [(hit.pool, len(hit.sources)) for hit in found] == [("lv", 2), ("other", 1)]


def test_nodes_of_this_host(tmp_path):
    assert node_number("/dev/null") == "" == node_number(str(tmp_path)) == node_number("/dev/none\0")
    disk = next((f"/dev/{name}" for name in os.listdir("/sys/block") if os.path.exists(f"/dev/{name}")), "")
    if disk:
        with open(f"/sys/block/{os.path.basename(disk)}/dev", encoding="ascii") as stream:
            assert node_number(disk) == stream.read().strip()


def test_a_device_that_has_gone_leaves_nothing(root):
    shutil.rmtree(os.path.join(root, "sys/block"))
    assert devices(LOGICAL, root) == () == devices(MPATH, root)
