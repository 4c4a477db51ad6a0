"""One virtual machine: its QEMU process, and commands in it over ssh."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Union

from . import runner
from .qmp import Qmp

#: kill the child when this process dies, whatever the reason. It goes by the thread that started
#: the child: start VMs and connections from the main thread.
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
Condition = Union[str, Callable[[], object]]


class LabError(RuntimeError):
    """Something in the lab did not do what was asked; the text carries what it said."""


class Result(NamedTuple):
    """Outcome of one command in a VM."""

    rc: int
    out: str
    err: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the command exited with 0."""
        return self.rc == 0


class Machine(NamedTuple):
    """What a VM is made of; the same for a save and its resume."""

    name: str
    number: int
    memory: int
    qemu: tuple[str, ...]
    directory: Path
    sockets: Path
    ssh_key: Path
    forwarded: tuple[int, ...] = ()  # ports of the VM, besides ssh, that this machine wants to reach


class VM:
    """A running lab VM. Made by `Lab`; all its methods may be called from several threads."""

    def __init__(self, machine: Machine) -> None:
        self.name = machine.name
        self._machine = machine
        self._process: Optional[subprocess.Popen] = None
        self._master: Optional[subprocess.Popen] = None
        self._port = 0
        #: port of the VM -> port on 127.0.0.1 here
        self.forwarded: dict[int, int] = {}
        self.qmp: Qmp  # from start() on

    # -- the process ---------------------------------------------------------------------------

    @property
    def argv(self) -> tuple[str, ...]:
        """QEMU's command line, without the parts that differ from start to start."""
        return self._machine.qemu

    @property
    def directory(self) -> Path:
        """Where the lab keeps this run's files."""
        return self._machine.directory

    @property
    def console(self) -> Path:
        """File that the serial console writes to."""
        return self._machine.directory / f"{self.name}.console"

    @property
    def disk(self) -> Path:
        """The VM's own qcow2 disk."""
        return self._machine.directory / f"{self.name}.qcow2"

    @property
    def running(self) -> bool:
        """Whether its QEMU process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, resume: str = "", paused: bool = False) -> None:
        """Start QEMU; `resume` names a saved state in the disk. Returns before the guest is up."""
        qmp = self._machine.sockets / f"{self.name}.qmp"
        extra = ["-loadvm", resume] if resume else []
        if paused:
            extra.append("-S")
        log = self._machine.directory / f"{self.name}.qemu.log"
        for _ in range(5):  # between choosing a free port and binding it somebody may take it
            self._port, *others = _free_ports(1 + len(self._machine.forwarded))
            self.forwarded = dict(zip(self._machine.forwarded, others))
            user = "user,id=ssh,restrict=on,ipv6=off" + "".join(
                f",hostfwd=tcp:127.0.0.1:{here}-:{there}"
                for there, here in [(22, self._port), *self.forwarded.items()])
            qmp.unlink(missing_ok=True)
            with open(log, "wb") as errors:
                self._process = subprocess.Popen(
                    [*_WITH_PARENT, *self._machine.qemu, "-netdev", user, "-device",
                     f"virtio-net-pci,netdev=ssh,id=nic-ssh,romfile=,mac={mac(3, self._machine.number)}",
                     "-qmp", f"unix:{qmp},server=on,wait=off", *extra],
                    env=runner.environment(), stdin=subprocess.DEVNULL, stdout=errors,
                    stderr=errors, start_new_session=True)
            try:
                self.qmp = Qmp(qmp)
                return
            except (OSError, RuntimeError):
                self._process.kill()
                self._process.wait()
                self._process = None
                said = log.read_text(errors="replace").strip()
                if "host forwarding" not in said:
                    break
        raise LabError(f"{self.name}: QEMU did not start: {said or 'no message'}")

    def kill(self) -> None:
        """Pull the plug; nothing of the VM is left running."""
        self._hang_up()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            self.qmp.close()
            self._process = None

    def console_tail(self, lines: int = 25) -> str:
        """The last lines of the serial console."""
        try:
            text = self.console.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    # -- commands in it ------------------------------------------------------------------------

    def wait_up(self, timeout: float = 400.0) -> None:
        """Wait until commands can be run."""
        deadline = time.monotonic() + timeout
        while True:
            if not self.running:
                raise LabError(f"{self.name}: QEMU ended while booting\n{self.console_tail()}")
            if _speaks_ssh(self._port) and self._open_master():
                return
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: no ssh after {timeout:.0f} s\n{self.console_tail()}")
            time.sleep(0.2)

    def run(self, command: str, timeout: float = 120.0, check: bool = True,
            stdin: Optional[bytes] = None) -> Result:
        """Run a shell command as root.

        With `check`, any exit status but 0 raises LabError with all that was said. A command that
        takes longer than `timeout` seconds always raises (what it started may live on in the VM).
        """
        process = self.spawn(command, stdin=subprocess.PIPE if stdin is not None else None)
        started = time.monotonic()
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise LabError(f"{self.name}: no end after {timeout:.0f} s: {command}\n"
                           f"{_text(out)}{_text(err)}\n{self.console_tail()}") from None
        result = Result(process.returncode, _text(out), _text(err), time.monotonic() - started)
        if check and not result.ok:
            raise LabError(f"{self.name}: exit status {result.rc}: {command}\n"
                           f"{result.out}{result.err}")
        return result

    def spawn(self, command: str, stdin: Optional[int] = None) -> subprocess.Popen:
        """Start a shell command as root; its pipes are the Popen's (bytes)."""
        if self._master is None or self._master.poll() is not None:
            self.wait_up()
        return subprocess.Popen(
            ["ssh", "-F", "none", "-S", str(self._control), "-T", "-o", "LogLevel=ERROR", "lab",
             command],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def put(self, content: Union[bytes, str, Path], target: str, mode: int = 0o644) -> None:
        """Write a file in the VM from bytes, text or a local Path; folders on the way are made."""
        if isinstance(content, Path):
            content = content.read_bytes()
        data = content.encode() if isinstance(content, str) else content
        where = shlex.quote(target)
        self.run(f"umask 077 && mkdir -p -m 755 \"$(dirname {where})\" && cat > {where}"
                 f" && chmod {mode:o} {where}", stdin=data, timeout=120)

    def get(self, source: str) -> bytes:
        """Content of a file in the VM."""
        process = self.spawn(f"cat {shlex.quote(source)}")
        data, said = process.communicate(timeout=120)
        if process.returncode:
            raise LabError(f"{self.name}: {_text(said).strip()}")
        return data

    def wait_for(self, condition: Condition, timeout: float = 120.0, what: str = "") -> object:
        """Wait until a shell command in the VM exits with 0, or a callable returns something true.

        Returns what it returned (the Result of a command). Raises LabError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            if callable(condition):
                answer = condition()
                good = bool(answer)
            else:
                answer = self.run(condition, check=False, timeout=max(timeout, 30.0))
                good = answer.ok
            if good:
                return answer
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: after {timeout:.0f} s still not so: {what or condition}"
                               f" (last answer: {answer})")
            time.sleep(0.2)

    def boot_id(self) -> str:
        """The kernel's identifier of this boot."""
        return self.run("cat /proc/sys/kernel/random/boot_id").out.strip()

    def reboot(self, timeout: float = 500.0) -> float:
        """Reboot in an orderly way and wait for ssh; returns the seconds it took."""
        before, started = self.boot_id(), time.monotonic()
        self.run("systemctl reboot", check=False)
        self._hang_up()
        deadline = started + timeout
        while time.monotonic() < deadline:
            try:
                self.wait_up(max(1.0, deadline - time.monotonic()))
                if self.boot_id() != before:
                    return time.monotonic() - started
            except LabError:
                if not self.running:
                    raise
            self._hang_up()
            time.sleep(0.3)
        raise LabError(f"{self.name}: not back {timeout:.0f} s after reboot\n{self.console_tail()}")

    def poweroff(self, timeout: float = 300.0) -> None:
        """Shut down in an orderly way and wait for the end of QEMU."""
        self.run("systemctl poweroff", check=False)
        assert self._process is not None
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(
                f"{self.name}: still on {timeout:.0f} s after poweroff\n{self.console_tail()}") from None
        self.kill()

    # -- ssh -----------------------------------------------------------------------------------

    @property
    def _control(self) -> Path:
        return self._machine.sockets / f"{self.name}.ssh"

    def ssh_command(self) -> list[str]:
        """argv of an ssh of its own to this VM, for a human or another tool."""
        return ["ssh", "-F", "none", "-i", str(self._machine.ssh_key), "-p", str(self._port),
                "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
                "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1"]

    def _open_master(self) -> bool:
        self._hang_up()
        argv = self.ssh_command()
        self._master = subprocess.Popen(
            [*_WITH_PARENT, *argv[:-1], "-M", "-N", "-S", str(self._control), "-o", "ConnectTimeout=20",
             "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8", argv[-1]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        deadline = time.monotonic() + 25
        while self._master.poll() is None and time.monotonic() < deadline:
            if self._control.exists():
                return True
            time.sleep(0.05)
        return False

    def _hang_up(self) -> None:
        if self._master is not None:
            if self._master.poll() is None:
                self._master.kill()
            self._master.wait()
            self._master = None
        self._control.unlink(missing_ok=True)


def mac(net: int, number: int) -> str:
    """Hardware address of VM `number` in network `net`."""
    return f"52:54:00:09:{net:02d}:{number:02d}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as probes:
        found = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in found]


def _speaks_ssh(port: int) -> bool:
    """Whether an ssh server greets there (QEMU itself accepts as soon as it runs)."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.settimeout(2)
            return connection.recv(4).startswith(b"SSH")
    except OSError:
        return False
