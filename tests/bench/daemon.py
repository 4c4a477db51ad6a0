"""kvmontapd by hand, as its unit starts it, and hooks that ask it: what a verdict costs, and what the daemon costs at rest."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

from tests.bench.measure import BARE, PYTHON, Figure, compare, figure, in_package, seconds

XML = """<domain type='kvm'><name>{name}</name><uuid>6f1a8a0e-4f7e-4b1e-9d5c-{number:012x}</uuid><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda'/></disk></devices></domain>"""
# The mounts are missing: there is no NFS here.  With mode = warn that is told and the start goes on, after the whole way to a verdict.
POLICY = "[gate]\nmode = {mode}\n[snapshots]\nbefore = {before}\n"
POOL = "[[p{0}]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /p{0}\ntarget = {1}/p{0}\n"
MEGABYTES = 60
AT_ONCE = 50
SETTLED = 10.0  # seconds for the threads of the last verdicts to end


class Daemon(NamedTuple):
    process: subprocess.Popen
    env: Dict[str, str]  # for its hooks
    directory: Path

    def status(self, key: str) -> int:
        """A number of /proc/PID/status."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as lines:
            return int(next(line for line in lines if line.startswith(key + ":")).split()[1])

    def switches(self) -> int:
        """How often its threads have gone to sleep and woken, all of them together."""
        found = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/status", encoding="ascii") as lines:
                found += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
        return found

    def log(self) -> str:
        return (self.directory / "log").read_text()


def configuration(directory: Path, pools: int, before: str = "none", extra: str = "", pool_extra: str = "", mode: str = "warn") -> str:
    """A configuration with that many NFS pools whose mount points are directories below `directory`."""
    for number in range(pools):
        (directory / f"p{number}").mkdir()
    sections = "".join(POOL.format(number, directory) + pool_extra for number in range(pools))
    return extra + "[pools]\n" + sections + POLICY.format(mode=mode, before=before)


@contextmanager
def daemon(package: str, directory: Path, conf: str) -> Iterator[Daemon]:
    """kvmontapd with the configuration `conf` (its text); ends with SIGTERM."""
    (directory / "conf").write_text(conf)
    env = {**os.environ, "KVMONTAP_CONF": str(directory / "conf"), "KVMONTAP_SOCKET": str(directory / "sock"), "MALLOC_ARENA_MAX": "2",
           "PYTHONPATH": package}  # fmt: skip
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen([PYTHON, "-m", "kvmontap.daemon"], env=env, stdin=subprocess.DEVNULL, stderr=log, cwd="/")
    try:
        while not (directory / "sock").exists():
            assert process.poll() is None, (directory / "log").read_text()
            time.sleep(0.02)
        yield Daemon(process, env, directory)
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0, (directory / "log").read_text()


def hook(package: str, directory: Path, name: str = "vm", number: int = 1, image: str = "") -> List[str]:
    """libvirt's call before a start of a VM with one disk, in pool p0 where no image is given."""
    xml = directory / f"{name}.xml"
    xml.write_text(XML.format(name=name, number=number, image=image or f"{directory}/p0/disk.img"))
    ours = in_package(package, "kvmontap.hook", name, "prepare", "begin", "-")
    return ["/bin/sh", "-c", f'exec "$@" < {xml}', "sh", *ours]


def warm_verdict(package: str, work: Path) -> List[Figure]:
    with daemon(package, work, configuration(work, 1)) as running:
        ours = hook(package, work)
        alone = compare("hook, verdict from a warm daemon / python3 -I", ours, BARE, 3.0, running.env)
        assert "[mount.missing]" in running.log(), "the daemon was not asked"
        crowds = [worst(ours, running.env) / worst(BARE) for _ in range(5)]
    return [alone, figure(f"hook, slowest of {AT_ONCE} verdicts at once / of {AT_ONCE} python3 -I at once", crowds, "x", 3.0)]


def worst(command, env=None) -> float:
    """The longest that one of AT_ONCE takes when they start together: their 99th percentile."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return max(threads.map(lambda _: seconds(command, env), range(AT_ONCE)))


def at_rest(package: str, work: Path, pools: int = 200, events: int = 200, watch: float = 10.0) -> List[Figure]:
    """Small with many pools, also after many verdicts, and asleep."""
    with daemon(package, work, configuration(work, pools)) as running:
        command = hook(package, work)
        seconds(command, running.env)  # an answer: it has read its configuration and has the threads that it keeps
        idle, threads = running.status("VmRSS"), running.status("Threads")
        for _ in range(20):
            seconds(command, running.env)
        early = running.status("VmRSS")
        began = time.monotonic()
        for _ in range(events):
            seconds(command, running.env)
        each = (time.monotonic() - began) / events
        until = time.monotonic() + SETTLED
        while running.status("Threads") > threads and time.monotonic() < until:
            time.sleep(0.05)
        late = running.status("VmRSS")
        loop, all_threads = running.status("voluntary_ctxt_switches"), running.switches()
        time.sleep(watch)  # not waiting for anything: this is the time in which little is to happen
        loop, all_threads = running.status("voluntary_ctxt_switches") - loop, running.switches() - all_threads
    return [
        figure(f"daemon, memory with {pools} pools", [idle / 1024], "MiB", MEGABYTES),
        figure(f"daemon, memory after {events} verdicts more", [late / 1024], "MiB", MEGABYTES),
        figure(f"daemon, growth over {events} verdicts", [(late - early) / 1024], "MiB", 2.0),
        figure("daemon, wake-ups of its loop a minute at rest", [loop * 60 / watch], "", 12.0),
        figure("daemon, wake-ups of all its threads a minute at rest", [all_threads * 60 / watch], ""),
        figure("hook, one verdict after another", [each * 1000], "ms"),
    ]

