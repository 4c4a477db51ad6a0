"""A VM arrives: two hosts, two libvirtd, one storage; the array holds exactly one snapshot of it."""

import json

import pytest

from tests.libvirt.conftest import snapshots
from tests.libvirt.kvmhost import KvmHost


@pytest.fixture(params=["daemon", "no daemon"])
def pair(request, tmp_path, shared, configure):
    """Source and destination; the source has no kvmontap configuration, so that every snapshot is the destination's."""
    (shared / "pool").mkdir()
    with KvmHost(tmp_path / "kvm01", shared, "kvm01") as source, KvmHost(tmp_path / "kvm02", shared, "kvm02") as target:
        configure(target, mode="warn")
        for host in (source, target):
            host.run("mount", "--bind", "/shared/pool", "/mnt/kvmnfs01")
            host.start_libvirt()
        if request.param == "daemon":
            target.start_daemon()
        source.define("g", source.image("/mnt/kvmnfs01/g.img"))
        yield source, target


def migrate(source, target, *how):
    return source.virsh(
        "migrate", *how, "--unsafe", "g", target.uri, "--migrateuri", "unix:///shared/migration.sock", check=False
    )


def reasons(array):
    return [json.loads(one.comment)["reason"] for one in array.volume("kvmnfs01").snapshots.values()]


def test_one_snapshot_for_an_arrival(pair, array):
    source, target = pair
    source.virsh("start", "g")
    moved = migrate(source, target, "--live")
    assert moved.returncode == 0, moved.stderr
    assert target.operations() == [f"g {one} begin -" for one in ("migrate", "prepare", "start", "started")]
    assert target.state("g") == "running"
    assert reasons(array) == ["migrate"], snapshots(array)
    # The mark of the arrival is used up: a start is a start again.
    target.virsh("destroy", "g")
    (target.path("/root") / "g.xml").write_text((source.path("/root") / "g.xml").read_text())
    target.virsh("define", "/root/g.xml")
    target.virsh("start", "g")
    assert sorted(reasons(array)) == ["migrate", "start"]


def test_an_offline_migration_has_its_snapshot_too(pair, array):
    source, target = pair
    moved = migrate(source, target, "--offline", "--persistent")
    assert moved.returncode == 0, moved.stderr
    assert target.operations() == ["g migrate begin -"]
    assert reasons(array) == ["migrate"]


def test_a_refused_vm_goes_on_running_where_it_is(pair, array, configure):
    source, target = pair
    configure(target, mode="enforce")
    source.virsh("start", "g")
    moved = migrate(source, target, "--live")
    assert moved.returncode == 1
    assert "kvmontap refuses to let VM g arrive: pool kvmnfs01 (disk vda): /mnt/kvmnfs01 holds a" in moved.stderr
    assert source.state("g") == "running"
    assert reasons(array) == []
