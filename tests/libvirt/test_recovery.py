"""When storage returns: a pool on a real file system, a real libvirtd, and nobody who types a command."""

import subprocess
import time

import pytest

from tests.libvirt.kvmhost import CONF, KvmHost, wait

TARGET = "/mnt/blk01"
POOL = """[pools]
[[blk01]]
protocol = fc
device = {device}
filesystem = ext4
target = {target}
[snapshots]
before = none
"""
LIBVIRT_POOL = f"<pool type='dir'><name>blk01</name><target><path>{TARGET}</path></target></pool>"
# Fills its disk, 32 KiB at a time:
WRITER = bytes.fromhex(
    "31c0 8ed8 be207c"  # xor ax, ax; mov ds, ax; mov si, packet
    "b80043 b280 cd13"  # write: mov ax, 4300h; mov dl, 80h; int 13h
    "720d 8306287c40"  # jc done; add word [address], 64
    "73f0 ff062a7c ebea"  # jnc write; inc word [address + 2]; jmp write
    "f4 ebfd"  # done: hlt; jmp done
    "10004000 007c0000 4000000000000000"  # packet: 64 sectors from 0:7c00, their address
)
DISK = 64 << 20


class Site:
    """A host with one pool on a loop device."""

    def __init__(self, host, device):
        self.host, self.device = host, device

    def mount(self):
        self.host.run("mount", self.device, TARGET)

    def unmount(self):
        self.host.run("umount", TARGET)

    def boot_libvirt(self):
        """libvirtd as after a boot: it autostarts."""
        self.host.path("/run/libvirt/qemu/autostarted").unlink(missing_ok=True)
        self.host.run("rm", "-rf", "/run/libvirt/storage/autostarted", "/run/kvmontap/greeted")
        self.host.start_libvirt()

    def guest(self, name, content=b""):
        """A VM on the pool, which is mounted; autostarted."""
        source = self.host.image(f"{TARGET}/{name}.img")
        with open(self.host.path(f"{TARGET}/{name}.img"), "r+b") as image:
            image.write(content.ljust(510, b"\0") + b"\x55\xaa")
            image.truncate(DISK)
        self.host.define(name, source)
        self.host.virsh("autostart", name)

    def noted(self):
        directory = self.host.path("/run/kvmontap/refused")
        return sorted(file.read_text().split("\n")[2] for file in directory.iterdir()) if directory.exists() else []

    def pool(self):
        return "active" if "running" in self.host.virsh("pool-info", "blk01").stdout else "inactive"

    def running(self, name):
        return self.host.state(name) == "running"

    def looked(self, times=2):
        """Lets the daemon look so often at what has become of its storage."""
        for _ in range(times):
            self.host.run("mount", "-t", "tmpfs", "none", "/mnt/kvmnfs01")
            self.host.run("umount", "/mnt/kvmnfs01")
            time.sleep(1.0)


@pytest.fixture
def site(tmp_path, shared):
    image = tmp_path / "pool.img"
    with open(image, "wb") as stream:
        stream.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image], check=True)
    device = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        with KvmHost(tmp_path / "kvm01", shared) as host:
            subprocess.run(["cp", "-a", device, host.path(device)], check=True)
            host.path(TARGET).mkdir(parents=True)
            host.put(CONF, POOL.format(device=device, target=TARGET))
            made = Site(host, device)
            made.mount()
            host.start_libvirt()
            host.put("/root/pool.xml", LIBVIRT_POOL)
            host.virsh("pool-define", "/root/pool.xml")
            host.virsh("pool-autostart", "blk01")
            yield made
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


@pytest.fixture
def booted(site):
    """After a boot at which the storage was not there; two VMs autostart on it, the daemon runs."""
    for name in ("first", "second"):
        site.guest(name)
    site.host.stop_libvirt()
    site.unmount()
    site.host.start_daemon()
    site.boot_libvirt()
    assert site.noted() == ["first", "second"]
    return site


def test_what_boot_had_to_refuse_runs_when_its_storage_is_back(booted):
    host = booted.host
    # libvirt has autostarted the pool on the empty directory; the storage hook has the daemon stop it.
    wait(lambda: booted.pool() == "inactive")
    assert "libvirt's pool blk01 is stopped; kvmontap: pool blk01: /mnt/blk01 is not mounted, so the pool must not be active" in host.log()
    booted.mount()
    wait(lambda: booted.running("first") and booted.running("second"), 60)
    assert booted.pool() == "active" and booted.noted() == []
    log = host.log()
    # First the pool, then the VMs in the order in which libvirt had wanted to start them.
    order = sorted(("first", "second"), key=lambda name: log.index(f"refuses to start VM {name}"))
    told = ["pool blk01 is started in libvirt: its storage is back", *(f"VM {name} is started:" for name in order)]
    assert [log.index(line) for line in told] == sorted(log.index(line) for line in told), log
    # What an administrator then stops stays off, whatever becomes of the storage.
    for name in ("first", "second"):
        host.virsh("destroy", name)
    host.virsh("pool-destroy", "blk01")
    left = host.path("/run/kvmontap/pools-left")
    wait(lambda: left.exists() and left.read_text() == "blk01")
    booted.unmount()
    wait(lambda: host.log().count("/mnt/blk01 is not mounted") > log.count("/mnt/blk01 is not mounted"))
    booted.mount()
    wait(lambda: host.log().count("pool blk01 is well again") > log.count("pool blk01 is well again"))
    booted.looked()
    assert (host.state("first"), host.state("second"), booted.pool()) == ("shut off", "shut off", "inactive")


def test_only_what_libvirt_itself_wanted_to_start_is_started(booted):
    host = booted.host
    wait(lambda: host.path("/run/kvmontap/greeted").exists())
    host.virsh("undefine", "second")
    wait(lambda: booted.noted() == ["first"])
    host.virsh("autostart", "--disable", "first")
    host.define("asked", "file='/mnt/blk01/first.img'")
    host.virsh("autostart", "asked")
    refused = host.virsh("start", "asked", check=False)
    assert "[mount.missing]" in refused.stderr and booted.noted() == ["first"]
    booted.mount()
    wait(lambda: booted.noted() == [])
    booted.looked()
    assert (host.state("first"), host.state("asked")) == ("shut off", "shut off")


@pytest.mark.parametrize("libvirt_too", [False, True])
def test_a_daemon_killed_in_between_forgets_nothing(booted, libvirt_too):
    host = booted.host
    wait(lambda: booted.pool() == "inactive")
    host.stop_daemon("KILL")
    if libvirt_too:
        host.restart_libvirt()
    booted.mount()
    host.start_daemon()
    wait(lambda: booted.running("first") and booted.running("second"), 60)
    assert booted.pool() == "active"


def test_a_hook_without_a_daemon_notes_it_too(site):
    site.guest("first")
    site.host.stop_libvirt()
    site.unmount()
    site.boot_libvirt()
    assert site.noted() == ["first"]
    site.mount()
    site.host.start_daemon()
    wait(lambda: site.running("first"), 60)


def test_a_vm_that_cannot_be_started_for_another_reason_is_told_and_left(booted):
    """Its disk is open elsewhere, as on another host: QEMU's image lock."""
    host = booted.host
    lock = ("import fcntl, struct, sys; f = open(sys.argv[1], 'r+b'); "
            "[fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 100 + n, 1, 0)) for n in (0, 1, 3)] + "
            "[fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 200 + n, 1, 0)) for n in (0, 1, 3)]; "
            "print('held', flush=True); sys.stdin.read()")  # fmt: skip
    host.stop_daemon("KILL")
    booted.mount()
    holder = subprocess.Popen(host.inside("/usr/bin/python3", "-c", lock, f"{TARGET}/first.img"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    with holder:  # which ends with its stdin
        assert holder.stdout.readline() == "held\n"
        host.start_daemon()
        wait(lambda: "it is not tried again, start it by hand" in host.log(), 60)
        wait(lambda: booted.running("second"), 60)
        assert "VM first: libvirt did not start VM first" in host.log()
        assert host.state("first") == "shut off" and booted.noted() == []


@pytest.mark.parametrize("restarted", ["nobody", "libvirtd"])
def test_a_vm_that_ran_out_of_space_goes_on_when_there_is_some(site, restarted):
    host = site.host
    site.guest("writer", WRITER)
    with open(host.path(f"{TARGET}/filler"), "wb") as filler:
        filler.write(b"x" * (24 << 20))
    host.start_daemon()
    host.virsh("start", "writer")
    wait(lambda: host.state("writer") == "paused", 60)
    assert "(I/O error)" in host.virsh("domstate", "--reason", "writer").stdout
    if restarted == "libvirtd":
        host.restart_libvirt()
    wait(lambda: "space.full" in host.log(), 90)
    assert host.state("writer") == "paused"
    host.path(f"{TARGET}/filler").unlink()
    wait(lambda: site.running("writer"), 90)
    assert "VM writer goes on: its storage is well again" in host.log()


def test_a_vm_that_somebody_paused_stays_paused(site):
    host = site.host
    site.guest("held")
    host.start_daemon()
    host.virsh("start", "held")
    host.virsh("suspend", "held")
    site.looked()
    assert host.state("held") == "paused" and "goes on" not in host.log()


def test_a_pool_that_libvirt_mounts_is_told_about_and_left_alone(site):
    """Its stop would unmount what lies there, which is not ours to unmount."""
    host = site.host
    host.put("/usr/sbin/mount.nfs", '#!/bin/sh\nexec mount -i -t tmpfs "$1" "$2"\n', 0o755)  # another file system than the pool's
    host.put(CONF, "[pools]\n[[net01]]\nprotocol = nfs\ntype = netfs\nserver = 192.0.2.1\nexport = /net01\ntarget = /mnt/net01\n")
    host.path("/mnt/net01").mkdir()
    host.put("/root/net.xml", "<pool type='netfs'><name>net01</name><source><host name='192.0.2.1'/><dir path='/net01'/>"
             "<format type='nfs'/></source><target><path>/mnt/net01</path></target></pool>")  # fmt: skip
    host.virsh("pool-define", "/root/net.xml")
    host.start_daemon()
    wait(lambda: host.path("/run/kvmontap/greeted").exists())
    host.virsh("pool-start", "net01")
    wait(lambda: "the pool is left alone, because stopping it would unmount what is there" in host.log())
    assert "running" in host.virsh("pool-info", "net01").stdout and " /mnt/net01 tmpfs " in host.path("/proc/1/mounts").read_text()


@pytest.mark.parametrize(("method", "path"), [("GET", "*/storage/volumes*"), ("POST", "*/snapshots*")])
def test_a_daemon_killed_in_the_middle_of_a_check_or_a_snapshot(host, array, configure, method, path):
    """The hook that waits for it does the work itself: the VM starts, and the array holds a snapshot of before."""
    configure(host, mode="warn\ntimeout = 30", snapshots="timeout = 30")
    host.define("g", host.image("/mnt/kvmnfs01/g.img"))
    fault = array.faults.add("slow", method, path, seconds=60)
    host.start_daemon()
    with subprocess.Popen(host.inside("virsh", "-q", "-c", host.uri, "start", "g"), stdin=subprocess.DEVNULL) as start:
        wait(lambda: fault.hits and "g prepare begin -" in host.operations())
        time.sleep(2)  # the hook asks the daemon
        assert start.poll() is None
        host.stop_daemon("KILL")
        array.faults.clear()
        assert start.wait(90) == 0
    assert host.state("g") == "running"
    made = [one.name for one in array.volume("kvmnfs01").snapshots.values()]
    assert 1 <= len(made) <= 2 and all("-start-" in name for name in made)
    # And the next daemon is none the worse.
    host.start_daemon()
    host.define("h", host.image("/mnt/kvmnfs01/h.img"))
    host.virsh("start", "h")
