"""The gate on a running host: what starts, what is refused and with which sentence, while things fail."""

from __future__ import annotations

import pytest

from . import guest, kvmhost
from .site import POLICIES, POOLS, Site

SENTENCE = "error: Hook script execution failed"


def refused(site: Site, name: str, code: str) -> str:
    """virsh start must fail with one sentence of ours that carries the code; returns what virsh said."""
    before = site.array.posted()
    result = site.host.start(name)
    assert result.rc == 1, f"{name} started\n{site.host.journal(unit='kvmontapd')}"
    assert f"[{code}]" in result.err, result.err
    assert f"kvmontap refuses to start VM {name}" in result.err
    assert "Traceback" not in result.err and kvmhost.array.PASSWORD not in result.err
    assert site.host.state(name) == "shut off"
    assert site.array.posted() == before, "no snapshot for a VM that does not start"
    return result.err


def allowed(site: Site, name: str) -> None:
    """virsh start must succeed; the guest is switched off again."""
    result = site.host.start(name)
    assert result.ok, result.err + site.host.journal(unit="kvmontapd")
    site.host.destroy(name)


def policies(extra: str) -> str:
    """The lab's policies with some keys replaced: "[gate] key = value" per line."""
    sections = {"gate": {"timeout": "30"}, "snapshots": {"timeout": "40", "reuse": "0"}}
    for line in extra.splitlines():
        section, _, setting = line.strip().partition("] ")
        key, _, value = setting.partition(" = ")
        sections[section.lstrip("[")][key] = value
    return "".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
                   for name, keys in sections.items())


def test_a_start_takes_exactly_one_snapshot(site: Site) -> None:
    before = site.array.snapshots("kvmnfs01")
    allowed(site, "vm-vol")
    after = site.array.snapshots("kvmnfs01")
    assert after[:-1] == before and len(after) == len(before) + 1


def test_one_snapshot_serves_other_vms_until_their_images_change(site: Site) -> None:
    site.host.configure(POOLS, policies("[snapshots] reuse = 600"))
    site.host.destroy("vm-nfs")
    started = site.host.start("vm-nfs")
    assert started.ok, started.err
    site.host.wait_guest_up("vm-nfs")
    before = site.array.snapshots("kvmnfs01")
    allowed(site, "vm-vol")  # its image lies in the snapshot that was just taken, as it is now
    assert site.array.snapshots("kvmnfs01") == before
    # The server writes into the image: nothing on this host has seen it happen.
    site.lab.storage.run("printf x | dd of=/kvmnfs01/vm-vol.img bs=1 seek=4096 conv=notrunc status=none")
    allowed(site, "vm-vol")
    assert len(site.array.snapshots("kvmnfs01")) == len(before) + 1


def test_a_vm_without_a_pool_of_ours_asks_the_array_for_nothing(site: Site) -> None:
    before = site.array.posted()  # the daemon looks at the volumes now and then, whoever starts
    allowed(site, "vm-local")
    assert site.array.posted() == before


def test_volume_offline_refuses_and_online_allows(site: Site) -> None:
    site.array.set_volume("kvmnfs01", state="offline")
    said = refused(site, "vm-vol", "volume.offline")
    assert "volume kvmnfs01 is offline on array prod" in said
    site.array.set_volume("kvmnfs01", state="online")
    allowed(site, "vm-vol")


def test_smb_volume_offline_refuses_and_online_allows(site: Site) -> None:
    site.host.destroy("vm-smb")
    site.array.set_volume("kvmsmb01", state="offline")
    refused(site, "vm-smb", "volume.offline")
    site.array.set_volume("kvmsmb01", state="online")
    result = site.host.start("vm-smb")
    assert result.ok, result.err
    site.host.wait_guest_up("vm-smb")


def test_dead_management_is_a_warning_or_a_refusal_as_configured(site: Site) -> None:
    site.lab.link("host1", "mgmt", up=False)
    site.host.configure(POOLS, policies("[gate] timeout = 6\n[snapshots] timeout = 6"))
    mark = site.host.mark()
    allowed(site, "vm-vol")
    journal = site.host.journal(mark, "kvmontapd")
    assert "[array.no-answer]" in journal, journal
    site.host.configure(POOLS, policies("[gate] timeout = 6\n[gate] array-unknown = refuse"))
    said = refused(site, "vm-vol", "array.no-answer")
    assert "check its management LIF" in said
    site.lab.link("host1", "mgmt", up=True)
    site.host.configure(POOLS, POLICIES)
    allowed(site, "vm-vol")


def test_silent_nfs_server_refuses_in_time_and_blocks_nobody(site: Site) -> None:
    timeout = 5.0
    site.host.configure(POOLS, policies(f"[gate] timeout = {timeout}"))
    allowed(site, "vm-vol")  # the daemon is warm and has read the file
    # what virsh, libvirtd and the start of a hook cost here: the same way through, with nothing to ask
    overhead = _seconds(site, "vm-local")
    for net in ("A", "B"):
        site.lab.link("host1", net, up=False)
    waited = _seconds(site, "vm-vol", refused_with="[mount.no-answer]")
    listed = site.host.run("virsh -q list --all")
    assert waited - overhead <= timeout + 0.5, f"{waited:.1f} s, of which {overhead:.1f} s are virsh"
    assert listed.seconds < 5
    stuck = site.host.run("ps -eo stat,args | grep -c '^D.*kvmontap' || true").out.strip()
    assert int(stuck) <= 1, "at most one hanging probe per mount"
    site.lab.links_up()
    site.host.vm.wait_for("timeout 5 stat -f /mnt/kvmnfs01", 90, "NFS answers again")
    allowed(site, "vm-vol")


def _seconds(site: Site, name: str, refused_with: str = "") -> float:
    """Seconds that the hook of one start takes, run as libvirt runs it, process start included."""
    result = site.host.hook(name)
    assert (result.rc == 1) == bool(refused_with), result.err
    assert refused_with in result.err
    return result.seconds


def test_full_volume_refuses(site: Site) -> None:
    free = "df --output=avail -B1 /kvmnfs01 | tail -n 1"
    site.lab.storage.run(f"fallocate -l $(( $({free}) - (64 << 20) )) /kvmnfs01/filler && sync")
    try:
        site.host.vm.wait_for("test $(df --output=pcent /mnt/kvmnfs01 | tail -n 1 | tr -d ' %') -ge 96",
                              60, "the host sees the volume full")
        said = refused(site, "vm-vol", "space.full")
        assert "min-free" in said
    finally:
        site.lab.storage.run("rm -f /kvmnfs01/filler && sync && btrfs filesystem sync /kvmnfs01")
    site.host.vm.wait_for("test $(df --output=pcent /mnt/kvmnfs01 | tail -n 1 | tr -d ' %') -lt 90",
                          60, "the host sees room again")
    allowed(site, "vm-vol")


def test_missing_mount_and_wrong_source_refuse(site: Site) -> None:
    site.host.destroy("vm-nfs")
    site.host.run("systemctl stop mnt-kvmnfs01.mount")
    # a volume disk is looked for in a pool that libvirt still shows as active: the directory is there
    said = refused(site, "vm-nfs", "mount.missing")
    assert "systemctl start mnt-kvmnfs01.mount" in said
    site.host.run("mount -t nfs4 -o vers=4.2 10.9.1.10:/kvmnfs02 /mnt/kvmnfs01")
    site.lab.storage.put(guest.disk(), "/kvmnfs02/vm-nfs.img", mode=0o666)
    said = refused(site, "vm-nfs", "mount.wrong-source")
    assert "10.9.1.10:/kvmnfs02" in said
    site.host.run("umount /mnt/kvmnfs01 && systemctl start mnt-kvmnfs01.mount", timeout=120)
    result = site.host.start("vm-nfs")
    assert result.ok, result.err
    site.host.wait_guest_up("vm-nfs")


def test_read_only_mount_refuses(site: Site) -> None:
    site.host.destroy("vm-smb")  # its open image would keep the mount writable
    site.host.run("mount -o remount,ro /mnt/kvmsmb01")
    refused(site, "vm-smb", "mount.read-only")
    site.host.run("mount -o remount,rw /mnt/kvmsmb01")
    result = site.host.start("vm-smb")
    assert result.ok, result.err
    site.host.wait_guest_up("vm-smb")


@pytest.mark.parametrize("required", ["no", "yes"])
def test_snapshot_limit_reached(site: Site, required: str) -> None:
    site.host.configure(POOLS, policies(f"[snapshots] required = {required}"))
    before = site.array.snapshots("kvmnfs01")
    site.array.set_volume("kvmnfs01", snapshot_limit=len(before))
    try:
        mark = site.host.mark()
        result = site.host.start("vm-vol")
        journal = site.host.journal(mark, "kvmontapd")
        if required == "yes":
            assert result.rc == 1 and "[snapshot.failed]" in result.err, result.err
            assert "maximum number of snapshots" in result.err and "525062" in result.err
        else:
            assert result.ok, result.err
            assert "[snapshot.failed]" in journal and "525062" in journal, journal
        assert site.array.snapshots("kvmnfs01") == before
    finally:
        site.array.set_volume("kvmnfs01", snapshot_limit=1023)
