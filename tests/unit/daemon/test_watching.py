"""kvmontapd beside its starts: what it costs while nothing happens, when much does, and when the kernel does not answer."""

import os
import subprocess
import sys
import threading
import time

import pytest

from kvmontap.gate import wire
from tests.unit.daemon.test_daemon import CONF, XML, Daemon, until, verdict

HERE = os.path.dirname(os.path.abspath(__file__))
FUSE = os.path.join(os.path.dirname(HERE), "host/fuse_server.py")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def memory(pid):
    """Resident KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def told(path):
    """A file below /proc, empty where its thread or process has just ended."""
    try:
        with open(path, "rb") as stream:
            return stream.read().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wakes(pid):
    """How often any thread has gone to sleep."""
    lines = [line for task in os.listdir(f"/proc/{pid}/task") for line in told(f"/proc/{pid}/task/{task}/status").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))


def children(pid):
    """The command lines of its processes."""
    words = [word for task in os.listdir(f"/proc/{pid}/task") for word in told(f"/proc/{pid}/task/{task}/children").split()]
    return [line for line in (told(f"/proc/{child}/cmdline").split("\0")[0] for child in words) if line]


@pytest.fixture
def watched(tmp_path):
    """A daemon in a mount namespace of its own, whose pool is below tmp_path."""
    (tmp_path / "pool").mkdir()
    (tmp_path / "conf").write_text(CONF.replace("/mnt/kvmontap-test", str(tmp_path / "pool")) + "[gate]\ntimeout = 3\n")
    with Daemon(tmp_path, "unshare", "-m", "--propagation", "private") as daemon:
        until(lambda: "is not mounted" in daemon.log())
        yield daemon


def start(daemon, tmp_path):
    """What the hook of a VM on the pool is told."""
    xml = XML.replace(b"/mnt/kvmontap-test", os.fsencode(tmp_path / "pool"))
    return verdict(daemon.ask(wire.request("vm1", "prepare", "begin", "-", 10, xml)))


def inside(daemon, *argv):
    subprocess.run(["nsenter", "-t", str(daemon.process.pid), "-m", "--", *argv], check=True)


def test_idle(watched):
    watched.ask()
    time.sleep(3)  # what is left of the first look

    def quiet():
        before = wakes(watched.process.pid)
        time.sleep(12)
        return wakes(watched.process.pid) - before <= 4

    # A device event of somebody else on this machine wakes it too; anything periodic would spoil every one of these.
    assert any(quiet() for _ in range(6))
    assert memory(watched.process.pid) < 60 * 1024


def test_a_change_of_a_mount_is_seen_and_told(watched, tmp_path):
    inside(watched, "mount", "-t", "tmpfs", "none", str(tmp_path / "pool"))
    until(lambda: "[mount.wrong-type]" in watched.log())
    inside(watched, "umount", str(tmp_path / "pool"))
    until(lambda: watched.log().count("[mount.missing]") == 2 and "may take files" in watched.log())
    # Of other mounts nothing is told.
    told = watched.log()
    inside(watched, "mount", "-t", "tmpfs", "none", str(tmp_path))
    inside(watched, "umount", str(tmp_path))
    time.sleep(1)
    assert watched.log() == told


def test_a_days_events_leave_no_trace(watched, tmp_path):
    storm = f"for i in $(seq 400); do mount -t tmpfs none {tmp_path}/pool; umount {tmp_path}/pool; done"
    loop = next((f"/sys/block/{name}/uevent" for name in sorted(os.listdir("/sys/block")) if name.startswith("loop")), "")

    def blow():
        inside(watched, "sh", "-c", storm)
        for _ in range(5_000 if loop else 0):
            with open(loop, "w", encoding="ascii") as stream:
                stream.write("change")

    blow()
    first, lines = memory(watched.process.pid), watched.log().count("\n")
    blow()
    assert memory(watched.process.pid) - first < 2048
    # It looks every two seconds at most, however many there are.
    assert watched.log().count("\n") - lines < 100
    assert start(watched, tmp_path).startswith("refuse")


def test_twenty_starts_on_a_mount_that_hangs(watched, tmp_path):
    server = subprocess.Popen(
        ["nsenter", "-t", str(watched.process.pid), "-m", "--", sys.executable, FUSE, str(tmp_path / "pool")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert server.stdout.readline() == "mounted\n"
        until(lambda: "[mount.wrong-type]" in watched.log())
        server.stdin.write("silent\n")
        server.stdin.flush()
        server.stdout.readline()
        until(lambda: "does not answer" in start(watched, tmp_path))  # an answer from before serves for a second
        time.sleep(1)
        began = time.monotonic()
        start(watched, tmp_path)
        alone = time.monotonic() - began
        first = memory(watched.process.pid)
        said, asked = [], set()
        threads = [threading.Thread(target=lambda: said.append(start(watched, tmp_path))) for _ in range(20)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            asked.add(len(children(watched.process.pid)))
            time.sleep(0.02)
        took = time.monotonic() - began
        assert len(said) == 20 and all("does not answer" in one for one in said), said
        assert max(asked) <= 1 and took < 3 * alone + 3, (asked, took, alone)
        assert memory(watched.process.pid) - first < 4096
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()
    until(lambda: not children(watched.process.pid))
