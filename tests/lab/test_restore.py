"""Going back, for real: A is written into a running VM's disk, the next start's snapshot holds it, then B; A comes back byte for byte.

On NFS and SMB by a clone of the file, on OCFS2 over iSCSI by a FlexClone of the volume (a btrfs snapshot that LIO shows with an identity of
its own).  The host is not rebooted: that is other files' business.
"""

from __future__ import annotations

import concurrent.futures
import json
import time
from typing import Iterator, NamedTuple

import pytest

from . import block, guest, kvmhost, package
from .array import Array
from .kvmhost import KvmHost
from .lab import Lab

GUESTS = {"vm-nfs": "kvmnfs01", "vm-smb": "kvmsmb01", "vm-iscsi": "kvmiscsi01"}
POOLS = kvmhost.NFS_POOL + kvmhost.SMB_POOL + block.ISCSI_POOL
VOLUMES = {"kvmnfs01": "kvmnfs01", "kvmsmb01": "kvmsmb01", "kvmiscsi01": block.VOLUME}
# QEMU itself writes, through the device that the guest has.
WRITE = "virsh -q qemu-monitor-command {} --hmp 'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend \"write -P {} 64k 512k\"'"


class Place(NamedTuple):
    lab: Lab
    host: KvmHost
    array: Array


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Storage and host1 with the package and three pools, mounted; a guest on each, off."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    started = time.monotonic()
    lab = Lab(lambda text: terminal.write_line(f"[{time.monotonic() - started:5.0f} s] {text}"))
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as aside:
            built = aside.submit(package.build, lab.progress)
            lab.start("storage", "host1")
            array = block.storage(lab)
            host = block.prepare(lab, "host1", array, built.result(), POOLS)
        host.run("systemctl daemon-reload && systemctl start remote-fs.target && systemctl restart kvmontap-pools libvirtd", timeout=400)
        for name, pool in GUESTS.items():
            host.vm.put(guest.disk(), f"/mnt/{pool}/{name}.img", mode=0o666)
            host.define(name, f"/mnt/{pool}/{name}.img")
        host.run("sync")  # a snapshot holds nothing that is only in this host's memory
        yield Place(lab, host, array)
    finally:
        lab.close()


def digest(place: Place, path: str) -> str:
    return place.host.run(f"sha256sum < {path}").out.split()[0]


def run_and_write(place: Place, name: str, letter: int) -> str:
    """Starts the VM, has its QEMU write, switches it off; the image's digest then."""
    done = place.host.start(name)
    assert done.ok, done.err
    said = place.host.run(WRITE.format(name, letter)).out
    assert said.strip() == "", said  # QEMU prints what it wrote to its own log, and to the monitor only what went wrong
    place.host.destroy(name)
    return digest(place, f"/mnt/{GUESTS[name]}/{name}.img")


def nothing_left(place: Place) -> None:
    """No map, clone, mount, device, journal or temporary file."""
    assert place.host.run("ls /var/lib/kvmontap/work").out == ""
    assert "/run/kvmontap/open" not in place.host.run("cat /proc/self/mounts").out
    assert set(place.host.run("dmsetup ls | cut -f1").out.split()) <= {block.LUN0, block.LUN1}
    assert place.host.run("ls -A /mnt/kvmnfs01 /mnt/kvmsmb01 /mnt/kvmiscsi01").out.count(".kvmontap-restore") == 0
    assert "kvmontap_restore" not in place.lab.storage.run("btrfs subvolume list /srv/array; ls /sys/kernel/config/target/core/*").out
    disks = place.host.run("cat /sys/block/sd*/device/wwid").out.split()
    assert set(disks) <= {f"naa.{block.LUN0[1:]}", f"naa.{block.LUN1[1:]}"}, disks


@pytest.mark.parametrize("name", GUESTS)
def test_a_is_back_byte_for_byte(place: Place, name: str) -> None:
    pool = GUESTS[name]
    image = f"/mnt/{pool}/{name}.img"
    with_a = run_and_write(place, name, 0x41)
    with_b = run_and_write(place, name, 0x42)
    assert with_a != with_b
    snapshot = place.array.snapshots(VOLUMES[pool])[-1]  # of the start before B
    second = place.host.run(f"kvmontap snapshot restore {name} --from {snapshot} --as {name}-old", timeout=400, check=False)
    assert second.ok, second.err
    assert digest(place, image) == with_b and digest(place, f"/mnt/{pool}/{name}-old.img") == with_a
    assert place.host.state(f"{name}-old") == "shut off"
    nothing_left(place)
    done = place.host.run(f"kvmontap snapshot restore {name} --from {snapshot} --yes", timeout=400, check=False)
    assert done.ok, done.err
    assert digest(place, image) == with_a
    nothing_left(place)
    started = place.host.start(name)
    assert started.ok, started.err
    place.host.destroy(name)


def test_killed_with_the_clone_on_this_host_and_tidied(place: Place) -> None:
    """kill -9 while the copy is mounted; the next run takes away mount, map of multipath, disks, igroup and clone volume."""
    image = "/mnt/kvmiscsi01/vm-iscsi.img"
    before, snapshot = digest(place, image), place.array.snapshots(block.VOLUME)[0]
    place.host.run(f"kvmontap snapshot restore vm-iscsi --as vm-never --from {snapshot} >/root/out 2>&1 & "
                   "until grep -q ' /run/kvmontap/open/' /proc/self/mounts; do kill -0 $! || exit 1; sleep 0.05; done; kill -9 $!",
                   timeout=300)
    assert [value["kind"] for value in json.loads(
        "[" + place.host.run("cd /var/lib/kvmontap/work; for one in *.json; do cat $one; echo ,; done").out.rstrip(",\n") + "]")]
    said = place.host.run("kvmontap tidy", timeout=300, check=False)
    assert said.ok and "deleted the clone volume kvmontap_restore_" in said.err, said.err
    nothing_left(place)
    assert digest(place, image) == before and not place.host.run("virsh domstate vm-never", check=False).ok
