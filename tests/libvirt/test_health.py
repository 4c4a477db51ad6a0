"""Faults injected and taken away again: code, how soon it is seen, what `virsh start` and a running VM do, and what is over afterwards.

The pool is a real ext4 on a loop device, mounted in the host's namespaces; libvirtd, hook and kvmontapd are the real ones.  A line per
fault is printed (-s): docs/health.md has them in a table.
"""

import json
import os
import subprocess
import time
from typing import Callable, NamedTuple

import pytest

from tests.libvirt.kvmhost import CONF, KvmHost
from tests.pocket_array import PocketArray

TARGET = "/mnt/kvmblk01"
DESCRIPTION = {
    "svms": [{"name": "svm_kvm"}],
    "volumes": [{"name": "kvmblk01", "svm": "svm_kvm"}],
    "relationships": [{"uuid": "b597650e-1112-11ee-a4a2-0050569c9f4e", "state": "snapmirrored", "healthy": True, "lag_time": "PT20M",
                       "source": {"path": "svm_kvm:kvmblk01"}, "destination": {"path": "svm_dr:kvmblk01"}}],
    "users": [{"name": "kvmontap", "password": "secret-1"}],
}
POOL = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = /etc/kvmontap/prod.password
ca = /shared/{ca}/ca.pem
[pools]
[[kvmblk01]]
protocol = fc
device = {device}
filesystem = ext4
volume = kvmblk01
ontap = prod
[gate]
timeout = 3
[snapshots]
before = none
rpo = 1h
"""
SECONDS = 60.0


class Site:
    """A host with its pool, the array, and another one whose certificate has expired."""

    def __init__(self, host: KvmHost, array: PocketArray, expired: PocketArray, device: str) -> None:
        self.host, self.array, self.expired, self.device = host, array, expired, device

    def configure(self, expired: bool = False) -> None:
        array, ca = (self.expired, "expired") if expired else (self.array, "ca")
        self.host.put(CONF, POOL.format(address=array.host, ca=ca, device=self.device))

    def fill(self, free: int) -> None:
        """Leave so many percent of the pool free."""
        seen = os.statvfs(self.host.path(TARGET))
        size = (seen.f_bavail - seen.f_blocks * free // 100) * seen.f_frsize
        # The last blocks go to the file's own extents: writing ends with an error at the very end, as it does for a guest.
        self.host.run("dd", "if=/dev/zero", f"of={TARGET}/filler", "bs=4096", f"count={size // 4096}", check=bool(free))

    def volume(self, **values: object) -> None:
        self.array.change(volumes={"kvmblk01": values})


class Fault(NamedTuple):
    name: str
    code: str
    refused: bool
    inject: Callable[[Site], object]
    undo: Callable[[Site], object]


def delete(site: Site) -> None:
    with site.array.state.lock:
        site.gone = site.array.state.volumes.copy()
        site.array.state.volumes.clear()


def restore(site: Site) -> None:
    with site.array.state.lock:
        site.array.state.volumes.update(site.gone)


def unfill(site: Site) -> None:
    site.host.run("rm", "-f", f"{TARGET}/filler")


FAULTS = (
    Fault("pool 96 % full", "space.full", True, lambda site: site.fill(4), unfill),
    Fault("pool 100 % full", "space.full", True, lambda site: site.fill(0), unfill),
    Fault("volume offline", "volume.offline", True, lambda site: site.volume(state="offline"), lambda site: site.volume(state="online")),
    Fault("volume restricted", "volume.offline", True, lambda site: site.volume(state="restricted"),
          lambda site: site.volume(state="online")),
    Fault("volume deleted", "volume.unknown", True, delete, restore),
    Fault("snapshot limit near", "snapshot.many", False, lambda site: site.volume(extra={"snapshot_count": 900}),
          lambda site: site.volume(extra={})),
    Fault("management LIF refuses", "array.no-answer", False, lambda site: site.array.refuse(), lambda site: site.array.listen()),
    Fault("management LIF hangs", "array.no-answer", False, lambda site: site.array.mute(), lambda site: site.array.listen()),
    Fault("array certificate expired", "array.certificate", False, lambda site: site.configure(expired=True),
          lambda site: site.configure()),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    work = tmp_path_factory.mktemp("health")
    for name in ("ca", "expired"):
        (work / "shared" / name).mkdir(parents=True)
    image = work / "pool.img"
    with open(image, "wb") as stream:
        stream.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    device = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        with PocketArray(DESCRIPTION, directory=str(work / "shared/ca")) as array, \
                PocketArray(DESCRIPTION, directory=str(work / "shared/expired"), certificate="expired") as expired, \
                KvmHost(work / "kvm01", work / "shared") as host:
            made = Site(host, array, expired, device)
            host.run("mknod", device, "b", *(str(part(os.stat(device).st_rdev)) for part in (os.major, os.minor)))
            host.run("mkdir", "-p", TARGET)
            host.run("mount", "-o", "errors=remount-ro", device, TARGET)
            host.put("/etc/kvmontap/prod.password", "secret-1\n", 0o600)
            made.configure()
            host.start_libvirt()
            host.start_daemon()
            for name in ("runs", "starts"):
                host.define(name, host.image(f"{TARGET}/{name}.img"))
            host.virsh("start", "runs")
            yield made
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def started(site: Site):
    """`virsh start` of the VM that is off: (completed process, seconds, codes that kvmontapd told of it)."""
    before, began = len(site.host.log()), time.monotonic()
    done = site.host.virsh("start", "starts", check=False)
    seconds = time.monotonic() - began
    if done.returncode == 0:
        site.host.virsh("destroy", "starts")
    told = [line for line in site.host.log()[before:].splitlines() if "KVMONTAP_DOMAIN=starts" in line]
    return done, seconds, {word.strip("()").partition("=")[2] for line in told for word in line.split() if "KVMONTAP_CODE=" in word}


def until(site: Site, wanted):
    """The first start that is as wanted."""
    end = time.monotonic() + SECONDS
    while True:
        done, seconds, codes = started(site)
        if wanted(done, codes):
            return done, seconds
        assert time.monotonic() < end, f"{sorted(codes)}: {done.stderr}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(site, fault):
    _, usual = until(site, lambda done, codes: done.returncode == 0 and not codes)
    fault.inject(site)
    injected = time.monotonic()
    try:
        done, seconds = until(site, lambda done, codes: fault.code in codes)
        seen = time.monotonic() - injected
        assert done.returncode == int(fault.refused), done.stderr
        assert (f"[{fault.code}]" in done.stderr) == fault.refused, done.stderr
        assert site.host.state("runs") == "running"
    finally:
        fault.undo(site)
    undone = time.monotonic()
    until(site, lambda done, codes: done.returncode == 0 and not codes)
    verdict = "refused" if fault.refused else "allowed"
    print(f"\n| {fault.name} | `{fault.code}` | {verdict} | {seen:.1f} s | {seconds:.1f} s ({usual:.1f} s) | "
          f"{time.monotonic() - undone:.1f} s |")


def test_snapmirror_is_told_by_status_and_keeps_no_vm_down(site):
    def told():
        done = site.host.run("python3", "-m", "kvmontap", "status", "--json", check=False)
        return {one["code"]: one["health"] for one in json.loads(done.stdout)[0]["findings"]}

    uuid = DESCRIPTION["relationships"][0]["uuid"]
    assert told() == {}
    site.array.change(relationships={uuid: {"healthy": False, "lag_time": "P1D"}})
    assert told() == {"snapmirror.unhealthy": "degraded", "snapmirror.lag": "degraded"}
    assert started(site)[0].returncode == 0
    site.array.change(relationships={uuid: {"healthy": True, "lag_time": "PT20M"}})
    assert told() == {}


def test_a_file_system_that_the_kernel_has_given_up(site):
    """The last one: the file system is not mended."""
    with open(f"/sys/fs/ext4/{os.path.basename(site.device)}/trigger_fs_error", "w", encoding="ascii") as trigger:
        trigger.write("1")
    shown, = [line for line in site.host.path("/proc/1/mountinfo").read_text().splitlines() if f" {TARGET} " in line]
    code = "mount.shut-down" if "emergency_ro" in shown else "mount.read-only"
    done, _ = until(site, lambda done, codes: code in codes)
    assert done.returncode == 1 and f"[{code}]" in done.stderr
    assert site.host.state("runs") == "running"
