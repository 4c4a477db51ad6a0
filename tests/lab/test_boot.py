"""What the host's first boot from the installed package must show: order, pools, snapshots, paths."""

from __future__ import annotations

import json

import pytest

from . import order
from .site import GUESTS, Site

MOUNTS = {"kvmnfs01": "mnt-kvmnfs01.mount", "kvmsmb01": "mnt-kvmsmb01.mount"}
AUTOSTARTED = {"kvmnfs01": "vm-nfs", "kvmsmb01": "vm-smb"}


@pytest.mark.parametrize("pool", MOUNTS)
def test_mounted_before_libvirtd_began_and_before_the_autostart_vm(booted: Site, pool: str) -> None:
    vm = booted.host.vm
    online = order.entered(vm, "network-online.target")
    mounted = order.entered(vm, MOUNTS[pool])
    libvirtd = order.entered(vm, "libvirtd.service", "InactiveExit")
    guest = order.entered(vm, order.guest_scope(vm, AUTOSTARTED[pool]), "InactiveExit")
    assert 0 < online <= mounted <= libvirtd <= guest


def test_each_autostart_vm_has_its_snapshot_on_the_array(booted: Site) -> None:
    for pool, guest in AUTOSTARTED.items():
        names = booted.array.snapshots(pool)
        journal = booted.host.journal(unit="kvmontapd") + booted.host.journal(unit="libvirtd")
        assert len(names) == 1, f"{pool}: {names}\n{journal}"
        assert names[0].startswith("kvmontap-") and "-start-" in names[0]
        assert guest in _comments(booted, pool)[names[0]]


def test_the_snapshot_holds_the_disk_of_the_vm(booted: Site) -> None:
    (name,) = booted.array.snapshots("kvmnfs01")
    booted.lab.storage.run(f"cmp /srv/array/snapshots/kvmnfs01/{name}/vm-nfs.img /kvmnfs01/vm-nfs.img")


def test_the_pools_are_in_libvirt(booted: Site) -> None:
    for pool in MOUNTS:
        said = booted.host.run(f"virsh -q pool-info {pool}").out
        info = {key.strip(): value.strip() for key, _, value in
                (line.partition(":") for line in said.splitlines())}
        assert (info["State"], info["Autostart"]) == ("running", "yes"), said
    assert "vm-vol.img" in booted.host.run("virsh -q vol-list kvmnfs01").out


def test_session_trunking_has_a_transport_to_each_address(booted: Site) -> None:
    destinations = booted.host.transports()
    assert set(destinations) == {"10.9.1.10", "10.9.2.10"}
    assert destinations.count("10.9.1.10") == 2, "nconnect = 2 holds for the first address"
    mounts = booted.host.run("cat /proc/self/mounts").out
    assert mounts.count(":/kvmnfs01 ") == 1, "the second mount that made the transport is gone"


def test_smb_multichannel_reaches_the_second_address(booted: Site) -> None:
    said = booted.host.run("cat /proc/fs/cifs/DebugData").out
    assert "Extra Channels" in said and "10.9.2.10" in said, said


def test_the_guests_run_confined(booted: Site) -> None:
    for guest in AUTOSTARTED.values():
        pid = booted.host.run(f"cat /run/libvirt/qemu/{guest}.pid").out.strip()
        label = booted.host.run(f"cat /proc/{pid}/attr/current").out.strip("\0\n ")
        assert label.startswith("libvirt-") and label.endswith("(enforce)"), label


def test_nothing_failed(booted: Site) -> None:
    failed = booted.host.run("systemctl --failed --plain --no-legend").out
    assert failed.strip() == ""


def test_the_configuration_has_no_problem(booted: Site) -> None:
    booted.host.run("kvmontap check")


def test_status_says_ok_for_every_pool(booted: Site) -> None:
    said = json.loads(booted.host.run("kvmontap status --json").out)
    healths = {pool["pool"]: pool["health"] for pool in said}
    assert healths == {"kvmnfs01": "ok", "kvmsmb01": "ok"}


def _comments(site: Site, volume: str) -> dict[str, str]:
    """Snapshot name -> comment, from the books that the array keeps beside the real snapshots."""
    books = json.loads(site.lab.storage.get(f"/srv/array/snapshots/{volume}/.pocket-snapshots.json"))
    return {one["name"]: one["comment"] for one in books}


def test_the_guests_of_the_site_are_all_defined(booted: Site) -> None:
    listed = booted.host.run("virsh -q list --all --name").out.split()
    assert sorted(listed) == sorted(GUESTS)
