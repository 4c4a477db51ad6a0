"""A VM whose disk is a logical volume, from its XML to the snapshot of the right volume: the host is a recorded /sys, the array real HTTPS.

Only the numbers of nodes in /dev are given here, for this machine has no such devices."""

import os
import time

import pytest

from kvmontap.config import parse
from kvmontap.gate.assemble import pipeline
from kvmontap.gate.configured import configured
from kvmontap.gate.verdict import Event
from kvmontap.host.behind import Behind
from kvmontap.host.match import match
from kvmontap.host.mountinfo import Mount
from kvmontap.host.probe import Prober
from tests.pocket_array.san import LUN
from tests.unit.array.over_https import secret
from tests.unit.host.recorded_sys import plant

RECORDING = os.path.join(os.path.dirname(os.path.dirname(__file__)), "host", "recorded", "lvm.txt")
CONF = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = {password}
ca = {ca}
[pools]
[[kvmlv01]]
protocol = iscsi
portals = 10.9.1.10, 10.9.2.10
type = logical
wwid = 3600a09806c616273657269616c303030
vg = vg_kvm
ontap = prod
[[kvmgfs01]]
protocol = iscsi
portals = 10.9.1.10, 10.9.2.10
wwid = 3600a09806c616273657269616c303034
type = disk
ontap = prod
[gate]
timeout = 10
"""
NODES = {"/dev/vg_kvm/vm-lv": "253:4", "/dev/mapper/vg_kvm-new1": "253:8", "/dev/vda": "254:0"}
# A file system on a volume of the group, mounted where no pool has its target.
MOUNTS = (Mount("/", "/dev/vda", "ext4", ("rw",), device="254:0", id=1, parent=0),
          Mount("/srv/files", "/dev/mapper/vg_kvm-new1", "xfs", ("rw",), device="253:8", id=2, parent=1))
XML = "<domain><name>vm1</name><uuid>6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab</uuid><devices>{disk}</devices></domain>"


@pytest.fixture
def ask(tmp_path, pocket):
    """ask(disk): the verdict on a VM with that disk, on the host of the recording."""
    root = str(tmp_path / "root")
    plant(RECORDING, root)
    for volume, name, serial in (("kvmnfs01", "lvm0", "labserial000"), ("kvmnfs02", "gfs0", "labserial004")):
        pocket.state.san.add_block(LUN, pocket.volume(volume), name, serial=serial)
    text = CONF.format(address=pocket.host, ca=pocket.ca, password=secret(tmp_path / "password", "pässword-1"))
    found = configured(parse(text), {}, {})
    prober = Prober(root, mounts=lambda: MOUNTS)
    made = pipeline(lambda: found, str(tmp_path / "run"), prober)
    behind = Behind(found.config, root, lambda: MOUNTS, lambda path: NODES.get(path, ""))
    made = made._replace(doctor=made.doctor._replace(
        hits=lambda domain, now: match(domain, now.config, {}, now.broken, readlink=lambda path: "", behind=behind.pools)))
    yield lambda disk: made.handle(Event("vm1", "prepare"), XML.format(disk=disk).encode(), time.monotonic())
    prober.close()
    made.clients.close()


def disk(kind, path):
    attribute = "dev" if kind == "block" else "file"
    return f"<disk type='{kind}' device='disk'><driver type='raw'/><source {attribute}='{path}'/><target dev='vda'/></disk>"


def taken(pocket):
    return {name: len(pocket.volume(name).snapshots) for name in ("kvmnfs01", "kvmnfs02")}


@pytest.mark.parametrize("kind, path", [("block", "/dev/vg_kvm/vm-lv"), ("file", "/srv/files/vm1.img")])
def test_a_disk_on_the_volume_group_has_its_snapshot(ask, pocket, kind, path):
    said = ask(disk(kind, path))
    assert said.allow, said.sentence
    assert [health.pool for health in said.healths] == ["kvmlv01"]
    assert taken(pocket) == {"kvmnfs01": 1, "kvmnfs02": 0} and said.snapshots[0].startswith("kvmnfs01: kvmontap-")


def test_a_disk_of_nobody_costs_no_question(ask, pocket):
    assert ask(disk("block", "/dev/vda")).allow and taken(pocket) == {"kvmnfs01": 0, "kvmnfs02": 0}
    assert not pocket.log.entries()


def test_its_lun_is_offline(ask, pocket):
    next(block for block in pocket.state.san.blocks.values() if block.serial == "labserial000").state = "offline"
    said = ask(disk("block", "/dev/vg_kvm/vm-lv"))
    assert not said.allow and said.code == "lun.offline"
    assert "pool kvmlv01 (disk vda): /vol/kvmnfs01/lvm0 is offline on array prod" in said.sentence
    assert taken(pocket) == {"kvmnfs01": 0, "kvmnfs02": 0}


def test_the_volume_of_another_pool_that_is_offline_is_none_of_its_business(ask, pocket):
    pocket.change(volumes={"kvmnfs02": {"state": "offline"}})
    assert ask(disk("block", "/dev/vg_kvm/vm-lv")).allow
