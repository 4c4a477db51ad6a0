"""The whole lab: a storage VM and KVM hosts on networks made of QEMU's own sockets.

No bridge, tap or network namespace: the storage VM's QEMU holds one hub per network, each host's QEMU
is joined to it by a Unix socket, and QMP switches links. ssh goes through a user-mode NIC per VM.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Optional

from . import accel, image as images, runner
from .array import CONTROL_PORT, Array
from .image import Progress
from .vm import VM, LabError, Machine, mac

#: network -> third byte of its addresses, 10.9.N.VM; also the order of the NICs (eth0, eth1, eth2).
NETWORKS = {"mgmt": 0, "A": 1, "B": 2}
#: VM -> (last byte of its addresses, MiB of memory)
VMS = {"storage": (10, 640), "host1": (11, 1024), "host2": (12, 1024)}
HOSTS = ("host1", "host2")
ARRAY_DISK_BYTES = 4 << 30
STATE = "ready"  # saved by save(), for resume()
FRESH = "fresh"  # label of a VM after its first boot, kept beside the image for every lab
KEPT = "kept"
#: One image serves all; what only a KVM host needs is left out of the storage VM's boot.
NOT_ON_STORAGE = ("libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket",
                  "libvirt-guests.service", "virtlogd.socket", "virtlogd-admin.socket",
                  "virtlockd.socket", "virtlockd-admin.socket", "systemd-machined.service",
                  "apparmor.service")


class Lab:
    """Context manager around the VMs. Leaves no process and no file behind, even when killed.

    >>> with Lab() as lab:
    ...     lab.start("storage", "host1")
    ...     lab.host1.run("uname -r")
    """

    def __init__(self, progress: Progress = print, image: Optional[images.Image] = None) -> None:
        self.progress = progress
        self.image = image or images.build(progress)
        self.accelerator = accel.choose(self.image)
        self.vms: dict[str, VM] = {}
        self.array: Optional[Array] = None
        runs = runner.cache_directory() / "run"
        runs.mkdir(exist_ok=True)
        _sweep(runs)
        self.directory = Path(tempfile.mkdtemp(prefix="lab-", dir=runs))
        self._lock = open(self.directory / "lock", "w", encoding="utf-8")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # socket paths are limited to 107 bytes, and the cache may lie anywhere
        self.sockets = Path(tempfile.mkdtemp(prefix="kvl-"))
        self._lock.write(str(self.sockets))
        self._lock.flush()
        self._down: set[str] = set()
        atexit.register(self.close)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def storage(self) -> VM:
        """The storage VM: NFS, SMB, and the pocket array on 10.9.0.10:443."""
        return self.vms["storage"]

    @property
    def host1(self) -> VM:
        """The first KVM host."""
        return self.vms["host1"]

    @property
    def host2(self) -> VM:
        """The second KVM host."""
        return self.vms["host2"]

    def start(self, *names: str, label: str = FRESH) -> None:
        """Boot VMs at the same time and wait until commands can be run in each.

        The storage VM holds the networks: it is started with or before the hosts. Where a state of that label was
        kept, a VM goes on from there and boots otherwise; see `kept` and `keep`.
        """
        started = time.monotonic()
        booting = []
        for name in sorted(names, key=list(VMS).index):
            if name != "storage" and "storage" not in self.vms:
                raise LabError("the storage VM holds the networks: start it with or before the hosts")
            vm = self._vm(name)
            if not self._take(vm, label):
                self._make_disks(name)
                vm.start()
                booting.append(name)
        if booting:
            self.progress(f"lab: {', '.join(booting)} booting ({self.accelerator})")
        for name in names:
            self.vms[name].wait_up()
            how = "up" if name in booting else "resumed"
            self.progress(f"lab: {name} {how} after {time.monotonic() - started:.0f} s")
        for name in names:
            if name in booting:
                self.keep(name)
            else:
                set_clock(self.vms[name])

    def stop(self, name: str) -> None:
        """Pull the plug of one VM and forget its disks."""
        vm = self.vms.pop(name)
        vm.kill()
        for path in self.directory.glob(f"{name}.*"):
            path.unlink()

    def close(self) -> None:
        """End every process of the lab and remove its files."""
        atexit.unregister(self.close)
        for vm in self.vms.values():
            vm.kill()
        self.vms.clear()
        shutil.rmtree(self.sockets, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()

    def start_array(self, blocks: tuple[str, ...] = (), san: Optional[dict] = None) -> Array:
        """Start the pocket array in the storage VM; also `self.array` from then on."""
        self.array = Array(self.storage, blocks, san).start()
        return self.array

    # -- links ---------------------------------------------------------------------------------

    def link(self, vm: str, net: str, up: bool) -> None:
        """Switch the cable between one host and the hub of one network ("mgmt", "A" or "B").

        The host's NIC keeps its carrier: packets simply vanish, both ways, as behind a dead switch.
        """
        if vm not in HOSTS:
            raise LabError("links are switched at a host's end; use silence() for the storage VM")
        self.storage.qmp("set_link", name=f"{net}-{vm}-hub", up=up)
        (self._down.discard if up else self._down.add)(f"{net}-{vm}-hub")

    def silence(self, net: str, silent: bool = True) -> None:
        """Cut (or restore) one network for every host: the storage VM does not answer there."""
        for host in HOSTS:
            self.link(host, net, not silent)

    def links_up(self) -> None:
        """Put every cable back."""
        for name in sorted(self._down):
            self.storage.qmp("set_link", name=name, up=True)
        self._down.clear()

    def swallow(self, address: str, port: int) -> None:
        """The storage VM drops what comes to one address and port: no refusal, no answer, ARP works."""
        self.storage.run(
            "nft add table ip lab; nft 'add chain ip lab input { type filter hook input priority 0; }'; "
            f"nft add rule ip lab input ip daddr {address} tcp dport {port} drop")

    def swallow_nothing(self) -> None:
        """End every `swallow`."""
        self.storage.run("nft delete table ip lab", check=False)

    # -- saved state ---------------------------------------------------------------------------

    def save(self) -> None:
        """Save all VMs together, memory included; they run on afterwards.

        Only `resume` brings the state back, in fresh QEMU processes: loading it into a running one makes
        the guest's clock jump.
        """
        for vm in self.vms.values():
            vm.qmp("stop")
        for vm in self.vms.values():
            said = vm.qmp.monitor(f"savevm {STATE}")
            if said.strip():
                raise LabError(f"{vm.name}: savevm: {said.strip()}")
        for vm in self.vms.values():
            vm.qmp("cont")

    def resume(self) -> None:
        """Throw away what happened since `save` and go on from there, in fresh processes.

        The guests' clocks are set to now; TCP connections of the ssh kind are new, those between the VMs are
        as they were saved.
        """
        names = [name for name in VMS if name in self.vms]
        for name in names:
            self.vms[name].kill()
        self._down.clear()
        for name in names:
            self.vms[name].start(resume=STATE, paused=True)
        for name in names:
            self.vms[name].qmp("cont")
        for name in names:
            self.vms[name].wait_up(120)
            set_clock(self.vms[name])
        if self.array:
            self.array.attach()

    def kept(self, name: str, label: str = FRESH) -> bool:
        """Whether `start` would find a state of that label for a VM."""
        return self._place(self.vms.get(name) or self._describe(name), label).exists()

    def keep(self, name: str, label: str = FRESH) -> None:
        """Keep a VM's state, memory included, so that later labs go on from it; it runs on.

        To be called while it has nothing open on another VM. Only where the CPU is emulated: a state saved under
        KVM is bound to the machine's CPU, and booting is quick there.
        """
        if self.accelerator == "kvm":
            return
        vm = self.vms[name]
        vm.wait_for("s=$(systemctl is-system-running); [ $s = running ] || [ $s = degraded ]", 300,
                    "boot is over")
        place = self._place(vm, label)
        disks = _disks(self.directory, name)
        vm.run("sync")
        vm.qmp("stop")
        try:
            said = vm.qmp.monitor(f"savevm {KEPT}").strip()
            if said:
                raise LabError(f"{name}: savevm: {said}")
            # the main disk last: with it, the state is there
            for disk, target in reversed(list(zip(disks, _beside(place, len(disks))))):
                draft = target.with_name(f"new-{os.getpid()}-{target.name}")
                subprocess.run(["cp", "--sparse=always", "--reflink=auto", disk, draft], check=True)
                os.rename(draft, target)
        finally:
            vm.qmp("cont")

    def _place(self, vm: VM, label: str) -> Path:
        """Where the state of a VM is kept: QEMU, its command line and the image decide whether it fits."""
        version = subprocess.run(["qemu-system-x86_64", "--version"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
        argv = "\0".join(vm.argv).replace(str(self.directory), "").replace(str(self.sockets), "")
        key = hashlib.sha256(f"{version}\0{argv}".encode()).hexdigest()[:16]
        return self.image.directory / f"{label}-{vm.name}-{key}.qcow2"

    def _take(self, vm: VM, label: str) -> bool:
        """Go on from the state that another lab kept; False where there is none."""
        place = self._place(vm, label)
        disks = _disks(self.directory, vm.name)
        try:
            for disk, source in zip(disks, _beside(place, len(disks))):
                subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, disk], check=True,
                               stderr=subprocess.DEVNULL)
            vm.start(resume=KEPT)
        except (subprocess.CalledProcessError, LabError):
            return False
        return True

    # -- making VMs ----------------------------------------------------------------------------

    def _make_disks(self, name: str) -> None:
        disk, *array = _disks(self.directory, name)
        for path in (disk, *array):
            path.unlink(missing_ok=True)
        _qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.image.disk, disk)
        for path in array:
            _qemu_img("create", "-q", "-f", "qcow2", path, ARRAY_DISK_BYTES)

    def _vm(self, name: str) -> VM:
        self.vms[name] = self._describe(name)
        return self.vms[name]

    def _describe(self, name: str) -> VM:
        number, memory = VMS[name]
        return VM(Machine(
            name, number, memory, tuple(self._qemu(name, number, memory)), self.directory,
            self.sockets, self.image.ssh_key, (CONTROL_PORT,) if name == "storage" else ()))

    def _qemu(self, name: str, number: int, memory: int) -> list[str]:
        # emulated svm would only have libvirt ask QEMU everything twice, for KVM too
        cpu = "host" if self.accelerator == "kvm" else "qemu64,-svm"
        accelerator = "kvm" if self.accelerator == "kvm" else "tcg,thread=multi,tb-size=256"
        append = ("console=ttyS0 net.ifnames=0 quiet mitigations=off nokaslr panic=5"
                  f" systemd.show_status=0 lab={name} lab.number={number}")
        if name == "storage":
            append += "".join(f" systemd.mask={unit}" for unit in NOT_ON_STORAGE)
        if self.accelerator == "tcg":
            append += " tsc=reliable no_timer_check"
        argv = ["qemu-system-x86_64", "-name", name, "-nodefaults", "-no-user-config",
                "-machine", "q35,hpet=off", "-accel", accelerator, "-cpu", cpu, "-smp", "2",
                "-m", str(memory), "-kernel", str(self.image.kernel),
                "-initrd", str(self.image.initrd), "-append", append, "-display", "none",
                "-serial", f"file:{self.directory / name}.console", "-device", "virtio-rng-pci"]
        for index, disk in enumerate(_disks(self.directory, name)):
            argv += ["-drive", f"file={disk},if=none,id=disk{index},cache=unsafe,discard=unmap",
                     "-device", f"virtio-blk-pci,drive=disk{index}"]
        for net, byte in NETWORKS.items():
            argv += self._hub(net, byte) if name == "storage" else self._cable(net, name)
            argv += ["-device", f"virtio-net-pci,netdev={net},id=nic-{net},romfile=,"
                                f"mac={mac(byte, number)}"]
        return argv

    def _hub(self, net: str, byte: int) -> list[str]:
        argv = ["-netdev", f"hubport,id={net},hubid={byte}"]
        for host in HOSTS:
            argv += ["-netdev", f"stream,id={net}-{host},server=on,addr.type=unix,"
                                f"addr.path={self.sockets}/{net}-{host}",
                     "-netdev", f"hubport,id={net}-{host}-hub,hubid={byte},netdev={net}-{host}"]
        return argv

    def _cable(self, net: str, name: str) -> list[str]:
        return ["-netdev", f"stream,id={net},server=off,addr.type=unix,"
                           f"addr.path={self.sockets}/{net}-{name}"]


def _disks(directory: Path, name: str) -> list[Path]:
    disks = [directory / f"{name}.qcow2"]
    return [*disks, directory / f"{name}.array.qcow2"] if name == "storage" else disks


def _beside(kept: Path, count: int) -> list[Path]:
    return [kept, *(kept.with_suffix(f".{number}.qcow2") for number in range(1, count))]


def set_clock(vm: VM, off: float = 0.0) -> None:
    """A resumed VM believes that it is still the time of the save; `off`: seconds by which its clock is to be wrong."""
    vm.run(f"date -s @{time.time() + off:.2f}")


def _qemu_img(*argv: object) -> None:
    subprocess.run(["qemu-img", *map(str, argv)], check=True, stdout=subprocess.DEVNULL)


def _sweep(runs: Path) -> None:
    """Remove the files of labs that were killed: nobody holds their lock any more."""
    for directory in runs.glob("lab-*"):
        try:
            with open(directory / "lock", "r+", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                sockets = Path(lock.read() or "/nonexistent")
                if sockets.name.startswith("kvl-"):
                    shutil.rmtree(sockets, ignore_errors=True)
                shutil.rmtree(directory, ignore_errors=True)
        except FileNotFoundError:
            if time.time() - os.stat(directory).st_mtime > 60:
                shutil.rmtree(directory, ignore_errors=True)
        except BlockingIOError:
            pass
