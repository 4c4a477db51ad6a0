"""./demo: the main job, told step by step, on a storage VM with the pocket array and one KVM host."""

from __future__ import annotations

import subprocess
import sys
import time

from tests import layers

from . import order, runner, site
from .vm import LabError

VM = "vm-nfs"
VOLUME = "kvmnfs01"


class Teller:
    """Prints what happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._chapter = 0

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:6.0f} s  {text}", flush=True)

    def chapter(self, title: str) -> None:
        self._chapter += 1
        print(f"\n{self._chapter}. {title}", flush=True)

    def shown(self, text: str) -> None:
        """What a command printed, set in."""
        for line in text.strip().splitlines():
            print(f"            {line}", flush=True)


def tell(teller: Teller) -> None:
    """The story; raises LabError where it takes another turn than it should."""
    teller.chapter("A storage VM, and a KVM host that boots with nothing but the package and /etc/kvmontap.conf")
    place = site.build(teller, pools=site.kvmhost.NFS_POOL, guests=(VM,))
    try:
        _boot(place, teller)
        _start(place, teller)
        _offline(place, teller)
        _online(place, teller)
    finally:
        place.lab.close()
    teller("both VMs are gone, nothing is left running")


def _expect(condition: object, what: str) -> None:
    if not condition:
        raise LabError(f"the story took another turn: {what}")


def _boot(place: site.Site, teller: Teller) -> None:
    teller.chapter("Boot: storage before libvirt, libvirt before the VM")
    teller.shown(place.host.run("cat /etc/kvmontap.conf").out)
    vm = place.host.vm
    times = [
        ("the network is online", order.entered(vm, "network-online.target")),
        (f"/mnt/{VOLUME} is mounted", order.entered(vm, f"mnt-{VOLUME}.mount")),
        ("libvirtd begins to start", order.entered(vm, "libvirtd.service", "InactiveExit")),
        (f"{VM} runs (autostart)", order.entered(vm, order.guest_scope(vm, VM))),
    ]
    for text, seconds in times:
        teller.shown(f"{seconds:6.1f} s after power-on: {text}")
    _expect([seconds for _, seconds in times] == sorted(seconds for _, seconds in times), "something came out of order")
    teller.shown(place.host.run(f"grep ' /mnt/{VOLUME} ' /proc/self/mounts; virsh -q pool-list").out)


def _start(place: site.Site, teller: Teller) -> None:
    teller.chapter("A VM start: its storage is checked, and the array takes a snapshot first")
    place.host.destroy(VM)
    before = place.array.snapshots(VOLUME)
    done = place.host.start(VM)
    _expect(done.ok, done.err)
    teller(f"virsh start {VM}: running after {done.seconds:.1f} s")
    new = [name for name in place.array.snapshots(VOLUME) if name not in before]
    _expect(len(new) == 1, f"{len(new)} snapshots instead of one")
    teller("on the array's disk (btrfs subvolume list -s):")
    teller.shown("\n".join(place.array.snapshots(VOLUME)))


def _offline(place: site.Site, teller: Teller) -> None:
    teller.chapter("The volume goes offline: the start is refused, and whoever asked reads why")
    place.host.destroy(VM)
    place.array.set_volume(VOLUME, state="offline")
    done = place.host.start(VM)
    _expect(not done.ok, f"{VM} was started without its storage")
    teller(f"virsh start {VM}: refused after {done.seconds:.1f} s")
    teller.shown(done.err)
    teller("kvmontap status:")
    teller.shown(place.host.run("kvmontap status", check=False, timeout=90).out)


def _online(place: site.Site, teller: Teller) -> None:
    teller.chapter("The volume is back: so is the VM")
    place.array.set_volume(VOLUME, state="online")
    place.host.vm.wait_for("kvmontap status", 90, "the pool is healthy again")
    done = place.host.start(VM)
    _expect(done.ok, done.err)
    teller(f"virsh start {VM}: running after {done.seconds:.1f} s")
    teller.shown(place.host.run("virsh -q list").out)


def main() -> int:
    """Exit 0 when everything happened as told, 1 otherwise."""
    reason = layers.install(tuple(runner.missing_packages())) if runner.missing_packages() else ""
    if reason:
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    try:
        tell(Teller())
    except (LabError, subprocess.SubprocessError, OSError, LookupError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; the VMs are gone", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
