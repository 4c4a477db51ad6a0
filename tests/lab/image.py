"""The disk image that every lab VM boots: a Debian tree with a stock kernel, made without a VM.

`build()` returns an `Image`; it is made once per set of inputs (packages, glue files, this code) and
kept in the cache. Making it needs root (mmdebstrap); using it does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

from . import runner

SUITE = "trixie"
HERE = Path(__file__).resolve().parent
KEEP_IMAGES = 2

PACKAGES = (
    # the system
    "systemd systemd-sysv udev dbus openssh-server ifupdown iproute2 iputils-ping procps kmod netbase"
    " ca-certificates openssl apparmor nftables e2fsprogs xfsprogs attr strace"
    # a KVM host
    " libvirt-daemon-system libvirt-clients libvirt-daemon-lock libvirt-daemon-plugin-lockd"
    " qemu-system-x86 qemu-utils seabios netcat-openbsd systemd-container"
    " nfs-common cifs-utils keyutils ktls-utils krb5-user"
    " open-iscsi multipath-tools kpartx nvme-cli ocfs2-tools lvm2 fdisk gfs2-utils dlm-controld corosync"
    " libvirt-daemon-driver-storage-disk libvirt-daemon-driver-storage-iscsi libvirt-daemon-driver-storage-iscsi-direct"
    " libvirt-daemon-driver-storage-logical libvirt-daemon-driver-storage-mpath libvirt-daemon-driver-storage-scsi"
    " python3 python3-libvirt python3-pyudev python3-systemd python3-configobj python3-rich"
    # the array
    " nfs-kernel-server samba targetcli-fb btrfs-progs"
).split()

#: Module folders that no lab VM can use: leaving them out saves time and room.
UNUSED_MODULES = (
    "sound drivers/gpu drivers/media drivers/staging drivers/iio drivers/hid drivers/input drivers/usb"
    " drivers/mmc drivers/mtd drivers/isdn drivers/hwmon drivers/bluetooth drivers/comedi drivers/leds"
    " drivers/power drivers/video drivers/platform drivers/infiniband/hw drivers/infiniband/ulp"
    " drivers/thunderbolt drivers/pinctrl drivers/regulator drivers/mfd drivers/edac drivers/firewire"
    " drivers/gpio drivers/i2c drivers/rtc drivers/extcon drivers/ata drivers/message drivers/parport"
    " drivers/pcmcia drivers/spi drivers/nfc drivers/rapidio drivers/cpufreq drivers/memstick"
    " drivers/bus drivers/accel drivers/phy drivers/net/ethernet drivers/net/wireless drivers/net/usb"
    " drivers/net/phy drivers/net/can drivers/net/hamradio drivers/net/arcnet drivers/net/fddi"
    " drivers/net/ieee802154 drivers/net/wwan drivers/net/dsa drivers/net/ppp drivers/net/plip"
    " net/bluetooth net/mac80211 net/wireless net/nfc net/can net/ieee802154 net/mac802154 net/ax25"
    " net/atm net/tipc"
).split()
INITRD_MODULES = "virtio_pci virtio_blk crc32c ext4 virtio_net".split()

ENABLED = "ssh.service libvirtd.service libvirt-guests.service networking.service lab-storage.service"
#: Services that the tests start where they want them, or that only cost time under emulation.
DISABLED = (
    "smbd.service nmbd.service samba-ad-dc.service winbind.service nfs-server.service"
    " nfs-blkmap.service rtslib-fb-targetctl.service multipathd.service multipathd.socket"
    " open-iscsi.service iscsid.service"
    " iscsid.socket o2cb.service ocfs2.service tlshd.service apt-daily.timer apt-daily-upgrade.timer"
    " e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer man-db.timer"
    " systemd-timesyncd.service nftables.service xfs_scrub_all.timer"
    " nvmf-autoconnect.service nvmefc-boot-connections.service corosync.service dlm.service"
).split()
MASKED = (
    "systemd-hwdb-update.service systemd-pstore.service systemd-binfmt.service getty@tty1.service"
    " serial-getty@ttyS0.service ifupdown-pre.service modprobe@drm.service modprobe@fuse.service"
    " systemd-udev-load-credentials.service rpc-statd-notify.service nvmf-autoconnect.service nvmefc-boot-connections.service"
).split()
#: The other profiles have nothing to confine here, and parsing them all takes 23 s under emulation.
APPARMOR_PROFILES = {"usr.sbin.libvirtd", "usr.lib.libvirt.virt-aa-helper"}

Progress = Callable[[str], None]


class Image(NamedTuple):
    """Files of a built image; `directory` holds them all."""

    directory: Path

    @property
    def disk(self) -> Path:
        """Raw ext4 file system, the backing file of every VM's own disk."""
        return self.directory / "base.ext4"

    @property
    def kernel(self) -> Path:
        """Debian's vmlinuz."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Our initial file system (initrd-init.sh and a few modules)."""
        return self.directory / "initrd.cpio"

    @property
    def ssh_key(self) -> Path:
        """Private key that root of every lab VM accepts."""
        return self.directory / "id_ed25519"


def image_key() -> str:
    """Hash of everything that decides what the image holds, except the state of the mirror."""
    digest = hashlib.sha256()
    glue = (path for path in (HERE / "glue").rglob("*") if path.is_file())
    for path in sorted([HERE / "image.py", HERE / "initrd-init.sh", *glue]):
        digest.update(f"{path.relative_to(HERE)} {path.stat().st_mode & 0o111:o}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build(progress: Progress = print, force: bool = False) -> Image:
    """The image for today's inputs, from the cache or made now (root, network, about 2 minutes).

    Several callers may ask at once: one builds, the others wait for it.
    """
    images = runner.cache_directory() / "images"
    images.mkdir(exist_ok=True)
    wanted = images / image_key()
    with _locked(images / "lock", progress):
        if force:
            shutil.rmtree(wanted, ignore_errors=True)
        if not wanted.exists():
            _build_into(wanted, progress)
        os.utime(wanted)
        _forget_old(images)
    return Image(wanted)


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with open(path, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("image: another process builds it, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_old(images: Path) -> None:
    built = [path for path in images.iterdir() if path.is_dir() and not path.name.startswith("new-")]
    for path in sorted(built, key=lambda one: one.stat().st_mtime, reverse=True)[KEEP_IMAGES:]:
        shutil.rmtree(path, ignore_errors=True)
    for path in images.glob("new-*"):  # left by a build that was killed; we hold the lock
        shutil.rmtree(path, ignore_errors=True)


def _build_into(wanted: Path, progress: Progress) -> None:
    work = Path(tempfile.mkdtemp(prefix="new-", dir=wanted.parent))
    work.chmod(0o755)
    tree, out = work / "tree", work / "image"
    out.mkdir()
    started = time.monotonic()

    def step(text: str) -> None:
        progress(f"image {time.monotonic() - started:5.0f} s: {text}")

    try:
        step(f"Debian {SUITE}: downloading and unpacking {len(PACKAGES)} packages and what they need")
        _debian_tree(tree)
        step("kernel and modules")
        version = _kernel(tree, out)
        step("settings")
        _keys(tree, out)
        _settings(tree)
        step("initrd and file system")
        _initrd(tree, version, work / "initrd", out / "initrd.cpio")
        _file_system(tree, out / "base.ext4")
        shutil.rmtree(tree)
        os.rename(out, wanted)
        step("done")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _tool(*argv: object, **options: object) -> subprocess.CompletedProcess:
    """Run one program at low priority; on failure raise with the end of what it said."""
    done = subprocess.run(
        ["nice", "-n", "5", *map(str, argv)],
        env=runner.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise RuntimeError(f"lab image: {argv[0]} failed with exit status {done.returncode}:\n{tail}")
    return done


def _debian_tree(tree: Path) -> None:
    debs = runner.cache_directory() / "debs"
    debs.mkdir(exist_ok=True)
    # hard links where the file system allows: the archives are 300 MB
    link_in = f'mkdir -p "$1"/var/cache/apt/archives && cp -alf {debs}/. "$1"/var/cache/apt/archives/'
    copy_in = f'cp -a {debs}/. "$1"/var/cache/apt/archives/'
    # the kernel's package is only unpacked: installing it would pull in and run initramfs-tools
    kernel = (
        'cd "$1"/var/cache/apt/archives && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && '
        "name=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \\(linux-image-[^ ]*\\)/\\1/p'"
        " | head -n 1) && apt-get -qq download \"$name\" && "
        'dpkg-deb -x "$(ls -t "$name"_*.deb | head -n 1)" "$1"')
    keep = (f'cd "$1"/var/cache/apt/archives && rm -rf partial lock && rm -f {debs}/*.deb && '
            f"{{ cp -alf . {debs}/ || cp -af . {debs}/; }} && rm -f *.deb")
    _tool(
        "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
        "--skip=download/empty,essential/unlink,cleanup/apt",
        '--aptopt=Apt::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Sandbox::User "root"',
        "--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in
                                       ("doc", "man", "locale", "info", "qemu/edk2*")),
        f"--setup-hook={link_in} || {copy_in}", f"--customize-hook={kernel}",
        f"--customize-hook={keep}", '--customize-hook=rm -rf "$1"/var/lib/apt/lists/*',
        SUITE, tree)


def _kernel(tree: Path, out: Path) -> str:
    """Trim and unpack the modules; returns the kernel's version."""
    modules = tree / "usr/lib/modules"
    (version,) = [path.name for path in modules.iterdir()]
    kernel = modules / version / "kernel"
    for name in UNUSED_MODULES:
        shutil.rmtree(kernel / name, ignore_errors=True)
    keep = ("device_handler", "iscsi_tcp", "libiscsi", "scsi_", "sd_mod", "sg.", "virtio_scsi",
            "iscsi_boot_sysfs", "ses.")
    for path in (kernel / "drivers/scsi").iterdir():
        if not path.name.startswith(keep):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    packed = [str(path) for path in kernel.rglob("*.ko.xz")]
    listing = subprocess.run(["nice", "xargs", "-0", "-P2", "-n64", "xz", "-d", "-f"], check=True,
                             env=runner.environment(), input="\0".join(packed).encode())
    del listing
    _tool("depmod", "-b", tree, version)
    boot = tree / "boot"
    shutil.copy(boot / f"vmlinuz-{version}", out / "vmlinuz")
    for path in boot.iterdir():  # the VMs are started with -kernel
        path.unlink()
    return version


def _keys(tree: Path, out: Path) -> None:
    host_key = tree / "etc/ssh/ssh_host_ed25519_key"
    for path in host_key.parent.glob("ssh_host_*"):
        path.unlink()
    key = out / "id_ed25519"
    for path in (key, host_key):
        _tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kvmontap-lab", "-f", path)
    ssh = tree / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(out / "id_ed25519.pub", ssh / "authorized_keys")
    # between the VMs: live migration over ssh
    shutil.copy(key, ssh / "id_ed25519")
    public = host_key.with_suffix(".pub").read_text(encoding="ascii")
    names = "storage,host1,host2,10.9.0.10,10.9.0.11,10.9.0.12,10.9.1.*,10.9.2.*"
    (ssh / "known_hosts").write_text(f"{names} {public}", encoding="ascii")
    for path in ssh.iterdir():
        path.chmod(0o600)


def _settings(tree: Path) -> None:
    shutil.copytree(HERE / "glue", tree, dirs_exist_ok=True, symlinks=True)
    (tree / "etc/hosts").write_text(
        "127.0.0.1 localhost\n10.9.0.10 storage array\n10.9.0.11 host1\n10.9.0.12 host2\n"
        "10.9.1.10 nfs-a\n10.9.2.10 nfs-b\n", encoding="ascii")
    (tree / "etc/fstab").write_text("", encoding="ascii")
    (tree / "var/log/journal").mkdir(exist_ok=True)
    systemctl = ("systemctl", f"--root={tree}", "-q")
    _tool(*systemctl, "set-default", "multi-user.target")
    for name in DISABLED:  # one by one: a unit that this release does not have is fine
        with contextlib.suppress(RuntimeError):
            _tool(*systemctl, "disable", name)
    _tool(*systemctl, "mask", *MASKED)
    _tool(*systemctl, "enable", *ENABLED.split())
    profiles = tree / "etc/apparmor.d"
    for path in profiles.iterdir():
        if path.is_file() and path.name not in APPARMOR_PROFILES:
            path.unlink()
    # what ConditionNeedsUpdate= units would do at the first boot, done now at native speed
    _tool("chroot", tree, "ldconfig")
    _tool("chroot", tree, "systemd-sysusers")
    for name in ("etc/.updated", "var/.updated"):
        (tree / name).touch()
    (tree / "usr/lib/systemd/system-generators/systemd-ssh-generator").unlink(missing_ok=True)


def _initrd(tree: Path, version: str, work: Path, target: Path) -> None:
    for name in ("bin", "dev", "proc", "sys", "new", "modules"):
        (work / name).mkdir(parents=True)
    busybox = shutil.which("busybox", path=runner.environment()["PATH"])
    shutil.copy(busybox, work / "bin/busybox")
    (work / "bin/sh").symlink_to("busybox")
    shutil.copy(HERE / "initrd-init.sh", work / "init")
    (work / "init").chmod(0o755)
    order: list[str] = []
    for module in INITRD_MODULES:
        shown = _tool("modprobe", "-d", tree, "-S", version, "--show-depends", module).stdout
        for line in shown.splitlines():
            verb, _, path = line.partition(" ")
            path = path.strip()
            if verb == "insmod" and os.path.basename(path) not in order:
                order.append(os.path.basename(path))
                shutil.copy(path, work / "modules")
    (work / "modules/order").write_text("".join(f"{name}\n" for name in order), encoding="ascii")
    _tool("sh", "-c", 'cd "$0" && find . | cpio -o -H newc --quiet > "$1"', work, target)


def _file_system(tree: Path, target: Path) -> None:
    with open(target, "wb") as disk:
        disk.truncate(4 << 30)
    _tool("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum",
          "-E", "lazy_itable_init=1,nodiscard", "-d", tree, "-F", target)
