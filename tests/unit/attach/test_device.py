"""The device of a pool: its path, and what is said when it is not there or carries something else."""

import os
import subprocess
import sys
import time

import pytest

from kvmontap.attach import device, fc, nvme, o2cb
from kvmontap.attach.call import AttachError, call
from kvmontap.model import Cluster, Node, Pool
from kvmontap.units.block import attach_unit, device_path

LUN = Pool("a-b", "iscsi", "/mnt/a", wwid="3600a098038314c57312b58387638574f", filesystem="xfs")

# One Linux partition from sector 2048 on.
MBR = """import sys
entry = bytes((0, 0, 33, 0, 0x83, 0, 0, 0)) + (2048).to_bytes(4, "little") + (8192).to_bytes(4, "little")
with open(sys.argv[1], "r+b") as stream:
    stream.seek(446)
    stream.write(entry + bytes(48) + b"\\x55\\xaa")
"""


def test_where_udev_shows_it():
    assert device_path(LUN) == "/dev/disk/by-id/dm-uuid-mpath-3600a098038314c57312b58387638574f"
    assert device_path(LUN._replace(partition=2)) == "/dev/disk/by-id/dm-uuid-part2-mpath-3600a098038314c57312b58387638574f"
    space = Pool("n", "nvme-tcp", namespace="6c1e5a0e-0000-4000-8000-000000000000", partition=1)
    assert device_path(space) == "/dev/disk/by-id/nvme-uuid.6c1e5a0e-0000-4000-8000-000000000000-part1"
    assert device_path(LUN._replace(wwid="", device="/dev/disk/by-label/x")) == "/dev/disk/by-label/x"
    assert attach_unit(LUN) == "kvmontap-iscsi@a\\x2db.service"
    assert [attach_unit(Pool("x", kind)) for kind in ("fc", "nvme-tcp", "nvme-rdma", "nvme-fc")] == [
        "kvmontap-fc@x.service", "kvmontap-nvme@x.service", "kvmontap-nvme@x.service", "kvmontap-fc@x.service"]


def test_one_that_does_not_come_is_told_with_what_there_is(tmp_path):
    asked = []
    pool = LUN._replace(wwid="", device=str(tmp_path / "none"))
    with pytest.raises(AttachError) as caught:
        device.wait(pool, time.monotonic() + 0.3, lambda: asked.append(1), tuple)
    assert "device =" in str(caught.value)
    with pytest.raises(AttachError) as caught:
        device.wait(LUN, time.monotonic(), lambda: None, lambda: ("36001405aaaa",))
    assert LUN.wwid in str(caught.value) and "36001405aaaa" in str(caught.value)


@pytest.mark.parametrize("make, wanted, said", [
    (("mke2fs", "-q", "-t", "ext4", "-F"), "ext4", ""),
    (("mke2fs", "-q", "-t", "ext4", "-F"), "xfs", "carries ext4"),
    (("mkswap",), "ext4", "carries swap, but filesystem = ext4"),
    ((), "ext4", "no file system"),
    ((sys.executable, "-c", MBR), "ext4", "partition table"),
])
def test_what_a_device_carries(make, wanted, said, tmp_path):
    image = tmp_path / "image"
    with open(image, "wb") as stream:
        stream.truncate(8 << 20)
    if make:
        subprocess.run([*make, str(image)], check=True, capture_output=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    pool = LUN._replace(filesystem=wanted)
    if not said:
        device.judge(pool, str(image))
        return
    with pytest.raises(AttachError, match=said):
        device.judge(pool, str(image))


def test_whose_cluster_a_file_system_is():
    head = "Device                Stack  Cluster  F  UUID                              Label\n"
    assert device.ocfs2_cluster(head + "/dev/dm-0  o2cb   kvmcl01     44C1B7E9D9E3447A9E4C2A2A2A1B1C3B  x\n") == ("o2cb", "kvmcl01")
    assert device.ocfs2_cluster(head + "/dev/dm-0  None   44C1B7E9D9E3447A9E4C2A2A2A1B1C3B  x\n") == ("", "")
    assert device.ocfs2_cluster("") == ("", "")


def test_fc_without_an_adapter_and_with_a_dead_link(tmp_path, capsys):
    with pytest.raises(AttachError, match="no Fibre Channel adapter"):
        fc.start(LUN, time.monotonic(), str(tmp_path))
    for name, state in (("host1", "Online\n"), ("host2", "Linkdown\n")):
        os.makedirs(tmp_path / "sys/class/fc_host" / name)
        (tmp_path / "sys/class/fc_host" / name / "port_state").write_text(state)
        os.makedirs(tmp_path / "sys/class/scsi_host" / name)
        (tmp_path / "sys/class/scsi_host" / name / "scan").write_text("")
    fc.start(LUN, time.monotonic(), str(tmp_path))
    assert "adapter host2 is linkdown" in capsys.readouterr().err
    fc.rescan(str(tmp_path))
    assert (tmp_path / "sys/class/scsi_host/host2/scan").read_text() == "- - -\n"


def test_this_host_must_be_a_node_by_name_and_by_address():
    cluster = Cluster("c", nodes=(Node("kvm01", "10.0.0.1"), Node("kvm02.lab", "10.0.0.2", number=1)))

    def local(hostname, *addresses):
        return o2cb.local_node(cluster, hostname, addresses.__contains__)

    assert local("kvm01.example.com", "10.0.0.1") == "kvm01"
    assert local("kvm02.lab", "10.0.0.2") == "kvm02.lab"
    with pytest.raises(AttachError, match="this host is kvm03, which is no node of cluster c"):
        local("kvm03", "10.0.0.3")
    with pytest.raises(AttachError, match="this host is kvm1, but the node with its address in cluster c is kvm01; .*name"):
        local("kvm1", "10.0.0.1")
    with pytest.raises(AttachError, match="kvm01 of cluster c has the address 10.0.0.1, which no interface of this host has"):
        local("kvm01", "10.0.0.2")


def test_whether_an_address_is_this_hosts():
    assert o2cb.here("127.0.0.1") and not o2cb.here("192.0.2.1")


def test_what_nvme_discovery_prints():
    text = ('{"genctr":2,"records":[{"trtype":"tcp","adrfam":"ipv4","subtype":"current discovery subsystem","portid":1,"trsvcid":"8009",'
            '"subnqn":"nqn.2014-08.org.nvmexpress.discovery","traddr":"10.9.1.10"},{"trtype":"tcp","subtype":"nvme subsystem",'
            '"trsvcid":"4420","subnqn":"nqn.x","traddr":"10.9.1.10"}]}')
    assert nvme.discovered(text) == [nvme.Way("nqn.x", "10.9.1.10", "4420")]
    assert nvme.discovered("Failed to open ctrl") == [] and nvme.discovered("[]") == []


def test_programs_with_a_deadline():
    assert call(("/bin/echo", "hello"), 5.0).out == "hello\n"
    assert call(("/no/such/program",), 5.0).code == 127
    began = time.monotonic()
    late = call(("/bin/sleep", "60"), 0.5)
    assert late.code == 124 and "did not end" in late.why and time.monotonic() - began < 5
    assert call(("/bin/sh", "-c", "echo one >&2; echo 'the reason' >&2; exit 3"), 5.0)[::2] == (3, "one\nthe reason\n")
