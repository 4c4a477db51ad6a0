"""A small site in the lab: the array, one KVM host that booted with the built package, and its guests.

Tests and ./demo start from here.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import time
from pathlib import Path
from typing import NamedTuple, Optional

from . import guest, kvmhost, order, package
from .array import Array
from .image import Progress
from .kvmhost import KvmHost
from .lab import Lab

POOLS = kvmhost.NFS_POOL + kvmhost.SMB_POOL
# Emulated CPUs are ten times slower than real ones, and the first VM of a boot also pays for the
# start of kvmontapd and for loading the array's client library.  reuse = 0: one snapshot for each start, which tests count.
POLICIES = """\
[gate]
timeout = 30
[snapshots]
timeout = 40
reuse = 0
"""
#: guests: name -> (source, libvirt pool or "", autostart)
GUESTS = {
    "vm-nfs": ("/mnt/kvmnfs01/vm-nfs.img", "", True),
    "vm-smb": ("/mnt/kvmsmb01/vm-smb.img", "", True),
    "vm-vol": ("vm-vol.img", "kvmnfs01", False),
    "vm-local": ("/var/lib/libvirt/images/vm-local.img", "", False),
}


class Site(NamedTuple):
    """What a test works with."""

    lab: Lab
    host: KvmHost
    array: Array


def build(progress: Progress = print, deb: Optional[Path] = None, pools: str = POOLS,
          policies: str = POLICIES, guests: tuple[str, ...] = tuple(GUESTS)) -> Site:
    """Boot storage and host1, install the package, write the configuration, reboot the host.

    When it returns, the host has booted from the installed package alone and its autostart guests run. The
    caller closes `site.lab`.
    """
    lab = Lab(progress)
    try:
        with concurrent.futures.ThreadPoolExecutor(3) as aside:
            built = aside.submit(lambda: deb or package.build(progress))
            start(lab, deb or package.built())
            host = KvmHost(lab.host1)
            array = aside.submit(lab.start_array)
            install(lab, host, built.result())
            images(lab)
            host.secrets(array.result().ca)
            host.configure(pools, policies)
        for name in guests:
            host.define(name, *GUESTS[name])
        seconds = host.vm.reboot()
        progress(f"site: host1 rebooted with the package in {seconds:.0f} s")
        site = Site(lab, host, array.result())
        wait_autostarted(site, guests)
        return site
    except BaseException:
        lab.close()
        raise


def _label(deb: Path) -> str:
    return "installed" + hashlib.sha256(deb.read_bytes()).hexdigest()[:12]


def start(lab: Lab, deb: Optional[Path]) -> None:
    """Both VMs; host1 with this package in it, where another lab has kept such a state."""
    if deb and lab.kept("host1", _label(deb)):
        lab.start("storage")
        lab.start("host1", label=_label(deb))
    else:
        lab.start("storage", "host1")


def install(lab: Lab, host: KvmHost, deb: Path) -> None:
    """dpkg -i, once per package: the state after it is kept for later labs."""
    if host.run("dpkg-query -W kvmontap 2>/dev/null", check=False).ok:
        return
    started = time.monotonic()
    host.install(deb)
    lab.progress(f"site: package installed in {time.monotonic() - started:.0f} s")
    for old in lab.image.directory.glob(f"installed*-{host.vm.name}-*"):
        old.unlink()
    lab.keep(host.vm.name, _label(deb))


def images(lab: Lab) -> None:
    """Put the guests' disks where they belong; on the array's side, so nothing has to be mounted."""
    for place in ("/kvmnfs01/vm-nfs.img", "/kvmnfs01/vm-vol.img", "/kvmsmb01/vm-smb.img"):
        lab.storage.put(guest.disk(), place, mode=0o666)
    lab.host1.put(guest.disk(), "/var/lib/libvirt/images/vm-local.img", mode=0o666)


def wait_autostarted(site: Site, guests: tuple[str, ...] = tuple(GUESTS)) -> None:
    """Wait until boot is over and every autostart guest runs its boot sector."""
    site.host.vm.wait_for(
        "s=$(systemctl is-system-running); [ $s = running ] || [ $s = degraded ]", 300, "boot is over")
    for name in guests:
        if GUESTS[name][2]:
            site.host.vm.wait_for(lambda name=name: order.guest_scope(site.host.vm, name), 240,
                                  f"guest {name} was started")
            site.host.wait_guest_up(name)


def put_back(site: Site) -> None:
    """Undo what a test did: cables, faults, volumes, configuration, mounts; only autostart guests run."""
    site.lab.links_up()
    site.lab.swallow_nothing()
    site.array.reset()
    site.host.configure(POOLS, POLICIES)
    for name, (_, _, autostart) in GUESTS.items():
        if not autostart:
            site.host.destroy(name)
    site.host.run("for pool in kvmnfs01 kvmsmb01; do systemctl is-active -q mnt-$pool.mount || "
                  "systemctl start mnt-$pool.mount || exit 1; done", timeout=120)
