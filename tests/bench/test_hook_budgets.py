"""A verdict of a warm daemon, as a ratio to bare Python; and what the daemon itself costs while nobody asks."""

import os
import subprocess
import time

import pytest

from tests.bench.test_budgets import PYTHON, installed, ratio, tell  # noqa: F401

XML = """<domain type='kvm'><name>vm</name><uuid>6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab</uuid><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda'/></disk></devices></domain>"""
MEGABYTES = 60


@pytest.fixture
def daemon(installed, tmp_path):  # noqa: F811
    """kvmontapd with one pool whose mount is missing: the whole way to a verdict but for a server's answer."""
    (tmp_path / "conf").write_text(
        "[pools]\n[[p1]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /p1\ntarget = /mnt/kvmontap-bench\n[gate]\nmode = warn\n"
        "[snapshots]\nbefore = none\n"
    )
    env = {**os.environ, "PYTHONPATH": str(installed), "KVMONTAP_CONF": str(tmp_path / "conf"),
           "KVMONTAP_SOCKET": str(tmp_path / "sock")}  # fmt: skip
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([PYTHON, "-m", "kvmontap.daemon"], env=env, stdin=subprocess.DEVNULL, stderr=log, cwd="/")
    while not (tmp_path / "sock").exists():
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    yield process, env, tmp_path
    process.terminate()
    assert process.wait(10) == 0


def hook(directory, place):
    xml = directory / "xml"
    xml.write_text(XML.format("/mnt/kvmontap-bench/disk.img"))
    shim = f"import sys; sys.path.insert(0, {str(place)!r}); from kvmontap.hook import main; main()"
    return ["/bin/sh", "-c", f'exec "$@" < {xml}', "sh", PYTHON, "-I", "-c", shim, "vm", "prepare", "begin", "-"]


def test_a_verdict_from_a_warm_daemon(daemon, installed, record_property):  # noqa: F811
    _, env, directory = daemon
    figures = ratio(hook(directory, installed), [PYTHON, "-I", "-c", "pass"], env)
    assert "[mount.missing]" in (directory / "log").read_text(), "the daemon was not asked"
    tell(record_property, "hook, verdict from a warm daemon / python3 -I -c pass", figures, 3.0)


def test_the_daemon_at_rest(daemon, installed, record_property):  # noqa: F811
    """Small, also after many verdicts, and asleep: no voluntary wake-up in as long as the budget allows one."""
    process, env, directory = daemon
    command = hook(directory, installed)

    def status(key):
        with open(f"/proc/{process.pid}/status", encoding="ascii") as lines:
            return int(next(line for line in lines if line.startswith(key + ":")).split()[1])

    for _ in range(20):
        subprocess.run(command, env=env, check=True)
    early = status("VmRSS")
    for _ in range(200):
        subprocess.run(command, env=env, check=True)
    late = status("VmRSS")
    while status("Threads") > 1:
        time.sleep(0.05)
    wakes = status("voluntary_ctxt_switches")
    time.sleep(5)  # not waiting for anything: this is the time in which nothing is to happen
    woken = status("voluntary_ctxt_switches") - wakes
    text = f"{late / 1024:.1f} MiB after 220 verdicts, {early / 1024:.1f} after 20; {woken} wake-ups in 5 s"
    record_property("daemon at rest", text)
    print("\ndaemon at rest:", text)
    assert late < MEGABYTES * 1024 and late - early < 2048 and woken == 0
