"""OCFS2 over iSCSI and over NVMe/TCP shared by two hosts: boot, live migration both ways, a refusal, one host without power."""

from __future__ import annotations

import time
from typing import Iterator, NamedTuple

import pytest

from . import block, guest, order
from .array import Array
from .kvmhost import KvmHost
from .lab import Lab

POOLS = ("kvmiscsi01", "kvmns01")
GUESTS = {"vm-iscsi": "kvmiscsi01", "vm-ns": "kvmns01"}
# What a host tells of a boot after which a pool is not mounted.
STORY = ("journalctl -b --no-hostname -o short-monotonic; systemctl list-jobs; systemctl status 'kvmontap*' '*.mount'; "
         "cat /proc/mounts /etc/kvmontap.conf; ls -la /mnt /run/systemd/generator")


class Two(NamedTuple):
    lab: Lab
    one: KvmHost
    other: KvmHost
    array: Array


@pytest.fixture(scope="module")
def two(request: pytest.FixtureRequest) -> Iterator[Two]:
    """Both hosts after a boot from the package; a guest of each pool runs on host1."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    started = time.monotonic()
    built = Two(*block.build_two(lambda text: terminal.write_line(f"[{time.monotonic() - started:5.0f} s] {text}")))
    try:
        for name, pool in GUESTS.items():
            built.one.vm.put(guest.disk(), f"/mnt/{pool}/{name}.img", mode=0o666)
            built.one.define(name, f"/mnt/{pool}/{name}.img")
            started_ = built.one.start(name)
            assert started_.ok, started_.err
            built.one.wait_guest_up(name)
        yield built
    finally:
        built.lab.close()


def test_both_hosts_have_mounted_both_pools_before_libvirt(two: Two) -> None:
    for host in (two.one, two.other):
        assert host.run("systemctl --failed --plain --no-legend").out.strip() == ""
        for pool in POOLS:
            mounted = order.entered(host.vm, f"mnt-{pool}.mount")
            assert 0 < mounted <= order.entered(host.vm, "libvirtd.service", "InactiveExit")
            assert "running" in host.run(f"virsh -q pool-info {pool}").out


def test_what_one_host_writes_the_other_reads(two: Two) -> None:
    for pool in POOLS:
        two.one.run(f"echo from-host1 > /mnt/{pool}/note; sync /mnt/{pool}/note")
        assert two.other.run(f"cat /mnt/{pool}/note").out == "from-host1\n"
        two.other.run(f"echo from-host2 > /mnt/{pool}/note; sync /mnt/{pool}/note")
        assert two.one.run(f"cat /mnt/{pool}/note").out == "from-host2\n"


def migrated(two: Two, source: KvmHost, target: KvmHost, name: str):
    """virsh migrate, and the snapshots that it took."""
    before = set(two.array.snapshots(block.VOLUME))
    done = source.run(f"virsh -q migrate --live --p2p --persistent {name} qemu+ssh://{target.vm.name}/system", check=False, timeout=300)
    return done, [one for one in two.array.snapshots(block.VOLUME) if one not in before]


@pytest.mark.parametrize("name", GUESTS)
def test_live_migration_there_and_back_with_one_snapshot_each(two: Two, name: str) -> None:
    for source, target in ((two.one, two.other), (two.other, two.one)):
        done, snapshots = migrated(two, source, target, name)
        assert done.ok, done.err
        assert target.state(name) == "running" and source.state(name) == "shut off"
        assert len(snapshots) == 1 and "-migrate-" in snapshots[0], snapshots


def test_a_host_without_the_pool_refuses_and_the_guest_goes_on(two: Two) -> None:
    two.other.run("systemctl stop mnt-kvmiscsi01.mount", timeout=120)
    try:
        done, snapshots = migrated(two, two.one, two.other, "vm-iscsi")
        assert not done.ok and "/mnt/kvmiscsi01 is not mounted" in done.err, done.err
        assert two.one.state("vm-iscsi") == "running" and snapshots == []
    finally:
        two.other.run("systemctl start mnt-kvmiscsi01.mount", timeout=240)


def test_one_host_without_power_the_other_goes_on_and_it_comes_back(two: Two) -> None:
    """The dead host's heartbeat is missed for two minutes (threshold 61); until then the survivor waits for its locks."""
    two.other.vm.qmp("system_reset")
    two.one.run("echo still > /mnt/kvmiscsi01/note && sync /mnt/kvmiscsi01/note", timeout=300)
    assert all(two.one.state(name) == "running" for name in GUESTS)
    two.other.vm.wait_up(400)
    block.wait_over(two.other)
    assert two.other.run("systemctl --failed --plain --no-legend").out.strip() == ""
    for pool in POOLS:
        if not two.other.run(f"mountpoint -q /mnt/{pool}", check=False).ok:
            print(two.other.run(STORY, check=False).out)
        two.other.run(f"mountpoint -q /mnt/{pool}")
    assert two.other.run("cat /mnt/kvmiscsi01/note", timeout=240).out == "still\n"
    assert all(two.one.state(name) == "running" for name in GUESTS)
