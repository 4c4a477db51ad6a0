"""A KVM host in namespaces: an overlay on the cached tree, its own mounts, processes, host name; the machine's loopback."""

import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

from tests.libvirt import tree

ROOT = tree.ROOT
PYTHON_DIR = "usr/lib/python3/dist-packages"
HOOK = "etc/libvirt/hooks/qemu.d/50-kvmontap"
STORAGE_HOOK = "etc/libvirt/hooks/storage.d/50-kvmontap"
CONF = "etc/kvmontap.conf"
QEMU_CONF = """security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
"""
# Runs as the first process in the namespaces, before chroot: $1 tree, $2 work, $3 shared, $4 name.
SETUP = r"""set -e
root=$2/root
mkdir -p $2/up $2/wk $root $3/$4
mount -t overlay overlay -o lowerdir=$1,upperdir=$2/up,workdir=$2/wk $root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t tmpfs run $root/run
mount -t tmpfs dev $root/dev
mkdir -p $root/run/lock $root/run/libvirt $root/dev/pts $root/dev/shm $root/shared
for device in null zero full random urandom tty; do cp -a /dev/$device $root/dev/; done
mount -t devpts -o ptmxmode=666 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
mount --bind $3 $root/shared
hostname $4
exec chroot $root /usr/bin/python3 -c '
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
open("/run/up", "w").close()
while True:
    signal.pause()
'
"""
# Beside ours and before it: tells which operations libvirt ran, in which order, and lets everything pass.
RECORDER = '#!/bin/sh\necho "$1 $2 $3 $4" >> /run/hook.log\n'
DOMAIN = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><on_reboot>destroy</on_reboot>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='{kind}' device='disk'><driver name='qemu' type='raw'/><source {source}/><target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


def wait(condition, seconds=30.0):
    """What `condition` gives as soon as it is true; fails after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, f"not within {seconds} s: {condition}"
        time.sleep(0.02)


class KvmHost:
    """One host; use it in `with`."""

    def __init__(self, work: Path, shared: Path, name: str = "kvm01") -> None:
        self.work, self.shared, self.name = work, shared, name
        self.unshare = None
        self.daemon = None
        self.leader = 0

    # -- life

    def __enter__(self) -> "KvmHost":
        self.work.mkdir(parents=True, exist_ok=True)
        self.unshare = subprocess.Popen(
            ["unshare", "-m", "-p", "-u", "-i", "--fork", "--kill-child", "/bin/sh", "-c", SETUP, "sh",
             str(tree.made()), str(self.work), str(self.shared), self.name],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            wait(self._is_up)
            self.install()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _is_up(self) -> bool:
        assert self.unshare.poll() is None, self.unshare.stderr.read().decode()
        children = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text().split()
        if not children:
            return False
        self.leader = int(children[0])
        return os.path.exists(f"/proc/{self.leader}/root/run/up")

    def __exit__(self, *_) -> None:
        # With its first process everything in the namespaces ends; nothing is asked to stop in good order.
        self.unshare.kill()
        self.unshare.wait()
        self.unshare.stderr.close()
        if self.daemon is not None:
            self.daemon.kill()  # nsenter, which stops itself when what it runs is stopped
            self.daemon.wait()
        shutil.rmtree(self.work / "up", ignore_errors=True)

    # -- files and commands inside

    def path(self, inside: str) -> Path:
        """A file of the host as we see it."""
        return Path(f"/proc/{self.leader}/root") / inside.lstrip("/")

    def put(self, inside: str, text: str, mode: int = 0o644) -> None:
        where = self.path(inside)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        where.chmod(mode)

    def inside(self, *argv: str) -> list:
        root = f"/proc/{self.leader}/root"
        return ["nsenter", "-t", str(self.leader), "-m", "-p", "-u", "-i", f"--root={root}", f"--wd={root}",
                "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", *argv]  # fmt: skip

    def run(self, *argv: str, check: bool = True, stdin: str = "", seconds: float = 60.0) -> subprocess.CompletedProcess:
        done = subprocess.run(self.inside(*argv), input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    # -- kvmontap

    def install(self) -> None:
        """What the package installs, as far as a VM's start needs it."""
        for source, target in (("kvmontap", f"{PYTHON_DIR}/kvmontap"), (str(tree.vendor()), "usr/lib/kvmontap/vendor")):
            shutil.copytree(ROOT / source, self.path(target), ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        self.put(HOOK, (ROOT / "hooks/qemu").read_text(), 0o755)
        self.put(STORAGE_HOOK, (ROOT / "hooks/storage").read_text(), 0o755)
        self.put("etc/libvirt/hooks/qemu.d/10-recorder", RECORDER, 0o755)
        self.put("etc/libvirt/qemu.conf", QEMU_CONF)
        self.put(
            "etc/libvirt/libvirtd.conf",
            f'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_dir = "/shared/{self.name}"\nhost_uuid = "{uuid.uuid4()}"\n',
        )
        (self.path("/mnt/kvmnfs01")).mkdir(parents=True, exist_ok=True)

    def start_daemon(self) -> None:
        """kvmontapd, as its unit starts it; its log is in self.log()."""
        with open(self.work / "daemon.log", "ab") as log:
            self.daemon = subprocess.Popen(
                self.inside("sh", "-c", "echo $$ > /run/kvmontapd.pid; exec /usr/bin/python3 -I -m kvmontap.daemon"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait(lambda: self.path("/run/kvmontap/kvmontapd.sock").exists() and "pool" in self.log())

    def stop_daemon(self, how: str = "KILL") -> None:
        self.run("kill", f"-{how}", self.path("/run/kvmontapd.pid").read_text().strip())
        self.daemon.wait()
        self.daemon = None

    def log(self) -> str:
        return (self.work / "daemon.log").read_text()

    def hook(self, *argv: str, xml: str = "<domain/>") -> subprocess.CompletedProcess:
        """The installed hook by hand, as libvirt runs it."""
        return self.run("/" + HOOK, *argv, check=False, stdin=xml)

    def operations(self) -> list:
        """What libvirt ran since the last forget_operations()."""
        log = self.path("/run/hook.log")
        return log.read_text().split("\n")[:-1] if log.exists() else []

    def forget_operations(self) -> None:
        self.path("/run/hook.log").unlink(missing_ok=True)

    # -- libvirt

    def start_libvirt(self) -> None:
        # Where everybody looks for it; /run goes with the namespaces, a short path for migrations does not.
        self.run("ln", "-sfn", f"/shared/{self.name}/libvirt-sock", "/run/libvirt/libvirt-sock")
        self.run("libvirtd", "-d")
        wait(lambda: self.virsh("uri", check=False).returncode == 0)

    def stop_libvirt(self) -> None:
        pid = self.path("/run/libvirtd.pid").read_text().strip()
        self.run("kill", pid)
        wait(lambda: not self.path(f"/proc/{pid}").exists())

    def restart_libvirt(self) -> None:
        self.stop_libvirt()
        self.start_libvirt()

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket=/shared/{self.name}/libvirt-sock"

    def virsh(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.run("virsh", "-q", "-c", self.uri, *argv, check=check)

    def define(self, name: str, source: str, kind: str = "file") -> str:
        """Defines a VM with one raw disk; gives its UUID."""
        identity = str(uuid.uuid4())
        self.put(f"/root/{name}.xml", DOMAIN.format(name=name, uuid=identity, kind=kind, source=source))
        self.virsh("define", f"/root/{name}.xml")
        return identity

    def image(self, inside: str) -> str:
        """An empty raw image; gives the attribute that names it."""
        where = self.path(inside)
        where.parent.mkdir(parents=True, exist_ok=True)
        with open(where, "wb") as image:
            image.truncate(4 << 20)
        return f"file='{inside}'"

    def state(self, name: str) -> str:
        return self.virsh("domstate", name).stdout.strip()
