"""A Debian host under a real systemd as PID 1, in systemd-nspawn on an overlay; nothing of it outlives its process.

With a private network, without the kernel's NFS and SMB: stand-ins for mount.nfs and mount.cifs mount a tmpfs, which says what they
were asked for, so that order, options and failures can be seen.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

# The server's address decides what becomes of a mount.
DEAD = "192.0.2.99"
STANDIN = f"""#!/bin/sh
# mount.nfs WHAT WHERE [-o OPTIONS]
case $1 in {DEAD}:*|//{DEAD}/*) echo "mount.nfs: Connection refused for $1" >&2; exit 32;; esac
exec mount -i -t tmpfs -o _netdev,size=1m "$1" "$2"
"""


class Machine:
    """One host: its root while it is off, commands while it is on."""

    def __init__(self, layers: List[Path], work: Path) -> None:
        """`layers`: trees that lie on one another, the lowest first; `work`: an empty directory that goes with the machine."""
        self.work = work
        self.root = work / "root"
        self.process: Optional[subprocess.Popen] = None
        self.leader = 0
        self.binds: List[str] = []  # further options for systemd-nspawn
        self._off_since = 0.0  # CLOCK_MONOTONIC, which a container shares with its host
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "boot-test", work], check=True)
        for name in ("upper", "scratch", "root"):
            (work / name).mkdir()
        lower = ":".join(str(layer) for layer in reversed(layers))
        subprocess.run(["mount", "-t", "overlay", "boot-test", "-o", f"lowerdir={lower},upperdir={work}/upper,workdir={work}/scratch",
                        self.root], check=True)  # fmt: skip

    def close(self) -> None:
        """Power off the hard way, and unmount."""
        if self.process is not None and self.process.poll() is None:
            if self.leader:
                _kill(self.leader)
            self.process.terminate()
            self.process.wait(30)
        subprocess.run(["umount", self.root], check=False)
        subprocess.run(["umount", "-l", self.work], check=False)

    def keep(self, directory: Path) -> None:
        """Copy what was changed on this machine, which must be off, into `directory`: a layer for others."""
        subprocess.run(["cp", "-a", f"{self.work}/upper/.", directory], check=True)

    # Files.

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = Path(f"{self.path(path)}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    def path(self, path: str) -> Path:
        """Where a file of the machine is to be found from outside; its /run and its mounts only while it is on."""
        base = f"/proc/{self.leader}/root" if self.leader else str(self.root)
        return Path(base + path)

    def stand_ins(self) -> None:
        """Replace the mount helpers of NFS and SMB, which need the kernel's help."""
        for name in ("mount.nfs", "mount.cifs"):
            (self.root / "usr/sbin" / name).unlink(missing_ok=True)
            self.write(f"/usr/sbin/{name}", STANDIN, 0o755)

    # On and off.

    def start(self, timeout: float = 60) -> None:
        """Boot, and wait until nothing is left to start."""
        environment = dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1", LC_ALL="C.UTF-8")
        log = open(self.work / "console.log", "ab")  # noqa: SIM115  pylint: disable=consider-using-with
        with log:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", self.root, f"--machine=boot-{os.getpid()}", "--register=no", "--keep-unit",
                 "--private-network", "--bind=/dev/autofs", *self.binds, "--console=pipe", "-b", "systemd.show_status=0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        self.leader = wait(self._find_leader, timeout, self._console)
        wait(lambda: Path(f"/proc/{self.leader}/root/run/systemd/private").exists(), timeout, self._console)
        # 0 running, 1 degraded: both are up.
        state = self.run("systemctl", "is-system-running", "--wait", check=False, timeout=timeout).stdout.strip()
        assert state in ("running", "degraded"), f"{state}\n{self._console()}"

    def power_off(self, timeout: float = 60) -> None:
        """Shut down in order, and wait for the end."""
        assert self.process is not None
        self._off_since = time.monotonic()
        self.run("systemctl", "--no-block", "poweroff")
        assert self.process.wait(timeout) == 0, self._console()
        self.process, self.leader = None, 0

    def _find_leader(self) -> int:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {self.process.returncode}:\n{self._console()}")
        for child in _children(self.process.pid):
            try:
                if Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip() == "systemd":
                    return child
            except OSError:
                pass
        return 0

    def _console(self) -> str:
        return (self.work / "console.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    # Commands.

    def run(self, *command: str, check: bool = True, timeout: float = 60, stdin: str = "") -> subprocess.CompletedProcess:
        """Run a command on the machine, which may be off (then in a chroot)."""
        enter = ["nsenter", "-t", str(self.leader), "-a", "--wdns=/"] if self.leader else ["chroot", str(self.root)]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(enter + list(command), input=stdin, capture_output=True, text=True, check=False, timeout=timeout,
                              env=environment)  # fmt: skip
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def output(self, *command: str, **options) -> str:
        return self.run(*command, **options).stdout.strip()

    def show(self, unit: str, *properties: str) -> Dict[str, str]:
        """Properties of a unit."""
        text = self.output("systemctl", "show", *([unit] if unit else []), f"--property={','.join(properties)}")
        return dict(line.split("=", 1) for line in text.splitlines())

    def state(self, unit: str) -> str:
        return self.show(unit, "ActiveState")["ActiveState"]

    def failed(self) -> List[str]:
        """The units that `systemctl --failed` shows."""
        lines = self.output("systemctl", "--failed", "--no-legend", "--plain").splitlines()
        return [line.split()[0] for line in lines]

    def mounted(self, path: str) -> str:
        """What is mounted on `path`, "" where nothing is."""
        lines = self.run("findmnt", "-n", "-o", "SOURCE", "--mountpoint", path, check=False).stdout.split()
        return lines[-1] if lines else ""

    def install(self, deb: Path) -> str:
        """dpkg -i, by hand."""
        target = f"/root/{deb.name}"
        shutil.copy(deb, self.path(target))
        done = self.output("dpkg", "-i", target, timeout=300)
        self.path(target).unlink()
        return done

    def journal(self, *arguments: str) -> List[dict]:
        """Entries of the journal, oldest first; with the machine off, of every boot."""
        if self.leader:
            self.run("journalctl", "--sync")
        text = self.output("journalctl", "-D", "/var/log/journal", "-o", "json", "--no-pager", *arguments)
        return [json.loads(line) for line in text.splitlines()]

    def stops(self) -> List[Tuple[str, str]]:
        """(unit, message) of every stop job of the last shutdown, in the order in which PID 1 told them."""
        return [(entry["UNIT"], str(entry.get("MESSAGE"))) for entry in self.journal("_PID=1")
                if entry.get("UNIT") and entry.get("JOB_TYPE") == "stop"
                and int(entry["__MONOTONIC_TIMESTAMP"]) >= self._off_since * 1e6]  # fmt: skip


def wait(condition: Callable, timeout: float, explain: Callable[[], str] = str):
    """The first true value of `condition`, asked every few milliseconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {explain()}")
        time.sleep(0.02)


def _children(pid: int) -> List[int]:
    found: List[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text(encoding="utf-8").split()]
    except OSError:
        pass
    return found


def _kill(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], 30)
    except OSError:
        pass
    finally:
        os.close(descriptor)
