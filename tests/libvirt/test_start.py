"""What `virsh start` sees, with kvmontapd and without."""

import json
import re

import pytest

from tests.libvirt.conftest import snapshots
from tests.libvirt.kvmhost import wait

MISSING = "pool kvmnfs01 (disk vda): /mnt/kvmnfs01 is not mounted"


@pytest.fixture(params=["daemon", "no daemon"])
def gate(request, host):
    """The host, with and without kvmontapd."""
    if request.param == "daemon":
        host.start_daemon()
    return host


def test_a_vm_without_a_pool_of_ours_is_untouched(gate, array):
    gate.define("local", gate.image("/var/lib/images/local.img"))
    gate.virsh("start", "local")
    assert gate.state("local") == "running"
    assert gate.operations() == ["local prepare begin -", "local start begin -", "local started begin -"]
    assert not array.log.entries("POST") and not snapshots(array)
    if not gate.daemon:  # which makes its connections when it starts
        assert not array.log.entries()
    if gate.daemon:
        assert "local" not in gate.log()


def test_missing_storage_is_told_in_one_line(gate, array):
    gate.define("g", gate.image("/mnt/kvmnfs01/g.img"))
    refused = gate.virsh("start", "g", check=False)
    assert refused.returncode == 1
    assert re.search(
        r"unexpected exit status 1: kvmontap refuses to start VM g: " + re.escape(MISSING)
        + r"(, first seen [-\d: ]+)?; what to do: systemctl start mnt-kvmnfs01\.mount \[mount\.missing\]\n", refused.stderr,
    ), refused.stderr  # fmt: skip
    assert "Traceback" not in refused.stderr
    assert gate.state("g") == "shut off"
    assert not snapshots(array)


def test_since_when_is_told_by_a_daemon(host):
    """It has looked by itself before anybody asked."""
    host.start_daemon()
    host.define("g", host.image("/mnt/kvmnfs01/g.img"))
    wait(lambda: "[mount.missing]" in host.log())
    assert re.search(r"first seen \d{4}-\d\d-\d\d \d\d:\d\d:\d\d;", host.virsh("start", "g", check=False).stderr)


def test_warn_lets_it_pass_after_a_snapshot(gate, array, configure):
    configure(gate, mode="warn")
    identity = gate.define("g", gate.image("/mnt/kvmnfs01/g.img"))
    gate.virsh("start", "g")
    assert gate.state("g") == "running"
    (made,) = array.volume("kvmnfs01").snapshots.values()
    assert re.fullmatch(r"kvmontap-\d{8}T\d{6}Z-start-[0-9a-f]{4}", made.name)
    told = json.loads(made.comment)
    assert (told["uuid"], told["vm"], told["host"]) == (identity, "g", "kvm01")
    if gate.daemon:
        assert MISSING.replace(" (disk vda)", "") in gate.log() and made.name in gate.log()


def test_a_dead_array_does_not_keep_a_vm_down(gate, array, configure):
    configure(gate, mode="warn", snapshots="timeout = 2")
    array.mute()
    gate.define("g", gate.image("/mnt/kvmnfs01/g.img"))
    gate.virsh("start", "g")
    assert gate.state("g") == "running"
    array.listen()
    assert not snapshots(array)


def test_a_volume_is_resolved_without_libvirt(gate):
    """By our pool's name, and through another pool of libvirt whose target lies in ours; libvirtd is stopped meanwhile."""
    pool = "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>"
    gate.path("/mnt/kvmnfs01/deep").mkdir()
    for name, path in (("kvmnfs01", "/mnt/kvmnfs01"), ("inside", "/mnt/kvmnfs01/deep"), ("else", "/var/lib/else")):
        gate.path(path).mkdir(exist_ok=True)
        gate.put(f"/root/{name}.pool", pool.format(name, path))
        gate.virsh("pool-define", f"/root/{name}.pool")
        gate.virsh("pool-start", name)
        gate.virsh("vol-create-as", name, "v.img", "1M", "--format", "raw")
        gate.define(f"on-{name}", f"pool='{name}' volume='v.img'", kind="volume")
    gate.virsh("start", "on-else")
    refused = gate.virsh("start", "on-inside", check=False)
    assert MISSING in refused.stderr, refused.stderr
    gate.stop_libvirt()
    for name in ("kvmnfs01", "inside"):
        xml = gate.path(f"/root/on-{name}.xml").read_text()
        assert MISSING in gate.hook(f"on-{name}", "prepare", "begin", "-", xml=xml).stderr
    xml = gate.path("/root/on-else.xml").read_text()
    passed = gate.hook("on-else", "prepare", "begin", "-", xml=xml)
    assert (passed.returncode, passed.stderr) == (0, "")


def test_a_backing_image_in_a_pool_counts(gate):
    """The domain names a local overlay only; what lies beneath is on the pool."""
    gate.image("/mnt/kvmnfs01/base.img")
    gate.path("/var/lib/images").mkdir(parents=True, exist_ok=True)
    overlay = "/var/lib/images/top.qcow2"
    gate.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "/mnt/kvmnfs01/base.img", "-F", "raw", overlay)
    gate.define("g", f"file='{overlay}'")
    definition = gate.path("/root/g.xml")
    definition.write_text(definition.read_text().replace("type='raw'", "type='qcow2'"))
    gate.virsh("define", "/root/g.xml")
    refused = gate.virsh("start", "g", check=False)
    assert "pool kvmnfs01 (backing of disk vda): /mnt/kvmnfs01 is not mounted" in refused.stderr, refused.stderr


def test_a_broken_section_is_told_and_a_sound_one_keeps_its_last_text(host):
    host.start_daemon()
    host.define("g", host.image("/mnt/kvmnfs01/g.img"))
    conf = host.path("/etc/kvmontap.conf")
    sound = conf.read_text()
    assert "[mount.missing]" in host.virsh("start", "g", check=False).stderr
    conf.write_text(sound.replace("protocol = nfs", "protocol = nfsd"))
    # The daemon has seen a good text of it: the pool is judged by that.
    assert "[mount.missing]" in host.virsh("start", "g", check=False).stderr
    host.stop_daemon()
    host.start_daemon()
    refused = host.virsh("start", "g", check=False).stderr
    assert "the section of pool kvmnfs01 in /etc/kvmontap.conf is wrong; what to do: run: kvmontap check" in refused, refused
