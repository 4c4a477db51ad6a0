"""Shutdown and further boots of the host: order, a dead first address, automount, a pool that fails."""

from __future__ import annotations

from typing import Iterator, NamedTuple

import pytest

from . import kvmhost, order
from .order import STARTED, STOPPED, SUCCESS, Event
from .site import POLICIES, Site, wait_autostarted

AUTOMOUNTED = """\
    [[kvmnfs02]]
    protocol = nfs
    server = 10.9.2.10
    export = /kvmnfs02
    ontap = prod
    autostart = no
        [[[boot]]]
        mount = automount
"""
BOOT_TIMEOUT = 25
MOUNTS = ("mnt-kvmnfs01.mount", "mnt-kvmsmb01.mount")
GUESTS = ("vm-nfs", "vm-smb")


class Rebooted(NamedTuple):
    """A second boot, and what is to be compared with the one before."""

    site: Site
    scopes: tuple[str, ...]  # units of the guests that ran at shutdown
    first_boot: float  # seconds until multi-user.target at the boot before
    shutdown: list[Event]  # what systemd said in the boot before


def reboot(site: Site, dead: tuple[str, ...]) -> Rebooted:
    """Shut the host down while its autostart guests run; boot it with NFS addresses that swallow all."""
    vm = site.host.vm
    scopes = tuple(order.guest_scope(vm, name) for name in GUESTS)
    assert all(scopes), "both autostart guests run before the reboot"
    before = order.entered(vm, "multi-user.target")
    vm.poweroff()
    for address in dead:
        site.lab.swallow(address, 2049)
    vm.start()
    vm.wait_up()
    return Rebooted(site, scopes, before, order.events(vm, boot=-1))


@pytest.fixture(scope="module")
def second(saved: Site) -> Iterator[Rebooted]:
    """The first NFS address swallows packets without a word; one more pool is automounted."""
    saved.lab.resume()
    saved.host.configure(kvmhost.NFS_POOL + kvmhost.SMB_POOL + AUTOMOUNTED, POLICIES)
    rebooted = reboot(saved, dead=("10.9.1.10",))
    wait_autostarted(saved)
    yield rebooted
    saved.lab.swallow_nothing()


def test_shutdown_stops_the_vms_then_unmounts_then_takes_the_network_down(second: Rebooted) -> None:
    events = second.shutdown
    guests = order.last(events, "libvirt-guests.service", STOPPED)
    scopes = [order.last(events, scope, SUCCESS, STOPPED) for scope in second.scopes]
    unmounted = [order.last(events, mount, STOPPED) for mount in MOUNTS]
    libvirtd = order.last(events, "libvirtd.service", STOPPED)
    network = order.last(events, "networking.service", STOPPED)
    assert max(scopes) <= guests, "libvirt-guests waited until the guests were off"
    assert max(scopes) <= min(unmounted)
    assert guests <= min(unmounted) and libvirtd <= min(unmounted)
    assert max(unmounted) <= network


def test_no_unmount_failed_at_shutdown(second: Rebooted) -> None:
    failed = [event.text for event in second.shutdown if event.what == order.FAILED]
    assert failed == []


def test_second_address_alone_does_not_delay_the_boot(second: Rebooted) -> None:
    vm = second.site.host.vm
    assert second.site.host.mounted("/mnt/kvmnfs01").startswith("10.9.2.10:")
    took = order.entered(vm, MOUNTS[0]) - order.entered(vm, MOUNTS[0], "InactiveExit")
    whole = order.entered(vm, "multi-user.target")
    assert took < 30, f"{took:.1f} s to mount from the second address"
    assert whole < second.first_boot + 30, f"{whole:.1f} s after {second.first_boot:.1f} s the first time"
    assert order.entered(vm, MOUNTS[0]) <= order.entered(vm, "libvirtd.service", "InactiveExit")


def test_vm_runs_from_the_second_address(second: Rebooted) -> None:
    assert second.site.host.state("vm-nfs") == "running"


def test_automount_waits_before_libvirtd_and_mounts_at_first_access(second: Rebooted) -> None:
    host = second.site.host
    armed = order.entered(host.vm, "mnt-kvmnfs02.automount")
    assert 0 < armed <= order.entered(host.vm, "libvirtd.service", "InactiveExit")
    assert host.mounted("/mnt/kvmnfs02") == "", "nobody asked for it yet"
    host.run("stat /mnt/kvmnfs02/. > /dev/null", timeout=90)
    assert host.mounted("/mnt/kvmnfs02") == "10.9.2.10:/kvmnfs02"


@pytest.fixture(scope="module")
def third(second: Rebooted) -> Iterator[Rebooted]:
    """No NFS address answers at boot; SMB does."""
    site = second.site
    site.host.configure(kvmhost.NFS_POOL + f"        [[[boot]]]\n        timeout = {BOOT_TIMEOUT}\n"
                        + kvmhost.SMB_POOL, POLICIES)
    site.lab.swallow_nothing()
    rebooted = reboot(site, dead=("10.9.1.10", "10.9.2.10"))
    wait_autostarted(site, ("vm-smb",))
    yield rebooted
    site.lab.swallow_nothing()


def test_a_dead_pool_fails_neither_the_boot_nor_the_other_pool(third: Rebooted) -> None:
    host = third.site.host
    failed = host.run("systemctl --failed --plain --no-legend").out
    assert "mnt-kvmnfs01.mount" in failed
    assert host.run("systemctl is-active multi-user.target libvirtd.service").out.split() == ["active"] * 2
    assert host.state("vm-smb") == "running"
    tried = (order.entered(host.vm, "libvirtd.service", "InactiveExit")
             - order.entered(host.vm, "network-online.target"))
    assert tried < BOOT_TIMEOUT + 20, f"libvirt waited {tried:.1f} s"


def test_the_vm_of_the_dead_pool_was_refused_with_a_sentence(third: Rebooted) -> None:
    host = third.site.host
    host.vm.wait_for("journalctl -q -b -u libvirtd -o cat | grep -q 'refuses to start VM vm-nfs'", 60,
                     "libvirtd tells why vm-nfs was not started")
    assert host.state("vm-nfs") == "shut off"
    assert "[mount.missing]" in host.journal(unit="kvmontapd")


def test_it_runs_by_itself_once_the_storage_is_back(third: Rebooted) -> None:
    """Nobody logs in: kvmontapd mounts, starts the pool and then the VM, and says so."""
    host = third.site.host
    assert host.run("virsh -q pool-info kvmnfs01").out.count("inactive") == 1, "no pool is active on an empty directory"
    third.site.lab.swallow_nothing()
    host.vm.wait_for(lambda: order.guest_scope(host.vm, "vm-nfs"), 300, "vm-nfs was started")
    host.wait_guest_up("vm-nfs")
    assert host.mounted("/mnt/kvmnfs01").endswith(":/kvmnfs01")
    assert "running" in host.run("virsh -q pool-info kvmnfs01").out
    journal = host.journal(unit="kvmontapd")
    steps = ("pool kvmnfs01: mnt-kvmnfs01.mount is started again", "pool kvmnfs01 is started in libvirt", "VM vm-nfs is started")
    assert [journal.find(step) for step in steps] == sorted(journal.index(step) for step in steps), journal
    assert order.last(order.events(host.vm), MOUNTS[0], STARTED) > 0
