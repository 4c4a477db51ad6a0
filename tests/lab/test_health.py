"""What is seen of faults that test_gate.py does not have: code and health, how soon, what a start and a running VM do, and that it passes.

Each fault is looked at through libvirt's hook, run as libvirt runs it.  A line per fault is printed: docs/health.md has them in a table.
"""

from __future__ import annotations

import json
import time
from typing import Callable, NamedTuple

import pytest

from .array import RELATIONSHIP
from .lab import set_clock
from .site import POOLS, Site
from .test_gate import policies

EXPORTFS = "/usr/sbin/exportfs"
UNIT = "/etc/systemd/system/lab-array.service"


class Fault(NamedTuple):
    """One fault; `refused`: whether a start is, `array_unknown` being allow."""

    name: str
    inject: Callable[[Site], object]
    undo: Callable[[Site], object]
    code: str
    refused: bool
    vm: str = "vm-vol"
    timeout: float = 12.0  # [gate] timeout: an emulated CPU is slow


def on_storage(command: str) -> Callable[[Site], object]:
    return lambda site: site.lab.storage.run(command, timeout=200)


def link(net: str, up: bool) -> Callable[[Site], object]:
    return lambda site: site.lab.link("host1", net, up=up)


def volume(**values: object) -> Callable[[Site], object]:
    return lambda site: site.array.set_volume("kvmnfs01", **values)


def lif(state: str) -> Callable[[Site], object]:
    return lambda site: site.array.control.change(lifs={"lif_b": {"state": state}})


def listener(state: str) -> Callable[[Site], object]:
    return lambda site: site.array.control.listener(state)


def certificate(kind: str) -> Callable[[Site], object]:
    """The array starts again with a certificate of that kind."""

    def change(site: Site) -> None:
        site.lab.storage.run(
            f"sed -i 's/--port 443.* --name 10/--port 443 --certificate {kind} --name 10/' {UNIT}; systemctl daemon-reload; "
            "rm -f /run/lab-array.json; systemctl restart lab-array", timeout=120)
        site.lab.storage.wait_for("test -e /run/lab-array.json", 120, "the array listens")

    return change


def clock(hours: int) -> Callable[[Site], object]:
    """The host's clock is that far off, and kvmontapd knows no array yet."""

    def change(site: Site) -> None:
        set_clock(site.host.vm, hours * 3600.0)
        site.host.run("systemctl restart kvmontapd")

    return change


FAULTS = (
    Fault("exports withdrawn", on_storage(f"{EXPORTFS} -ua; {EXPORTFS} -f"), on_storage(f"{EXPORTFS} -ra; {EXPORTFS} -f"), "mount.stale",
          True),
    Fault("NFS server dead", on_storage("systemctl stop nfs-server"), on_storage("systemctl start nfs-server"), "mount.no-answer", True,
          timeout=4.0),
    Fault("one of two trunk addresses down", link("B", False), link("B", True), "transport.stuck", False),
    Fault("SMB server dead", on_storage("systemctl stop smbd"), on_storage("systemctl start smbd"), "mount.no-answer", True, "vm-smb",
          timeout=4.0),
    Fault("volume restricted", volume(state="restricted"), volume(state="online"), "volume.offline", True),
    Fault("LIF down", lif("down"), lif("up"), "lif.down", False),
    Fault("snapshot limit near", volume(extra={"snapshot_count": 900}), volume(extra={}), "snapshot.many", False),
    Fault("management LIF refuses", listener("refused"), listener("listening"), "array.no-answer", False),
    Fault("management LIF hangs", listener("mute"), listener("listening"), "array.no-answer", False, timeout=4.0),
    Fault("array certificate expired", certificate("expired"), certificate("good"), "array.certificate", False),
    Fault("host clock an hour behind", clock(-1), clock(0), "array.certificate", False),
)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    plugins = request.config.pluginmanager
    terminal, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.write_line(f"\nhealth | {text}")

    return line


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(site: Site, fault: Fault, tell: Callable[[str], None]) -> None:
    site.host.configure(POOLS, policies(f"[snapshots] before = none\n[gate] timeout = {fault.timeout}"))
    assert site.host.hook(fault.vm).rc == 0, "all is well, and the daemon is warm"
    fault.inject(site)
    injected = time.monotonic()
    try:
        asked = until(site, fault.vm, lambda rc, codes: fault.code in codes)
        seen = time.monotonic() - injected
        assert asked.rc == int(fault.refused), asked.err
        assert (f"[{fault.code}]" in asked.err) == fault.refused, asked.err
        running = site.host.state("vm-nfs")
        assert running == "running"
    finally:
        fault.undo(site)
    undone = time.monotonic()
    until(site, fault.vm, lambda rc, codes: rc == 0 and not codes)
    tell(f"{fault.name} | {fault.code} | seen by a start after {seen:.0f} s, which takes {asked.seconds:.1f} s | "
         f"{'refused' if fault.refused else 'allowed'} | {running} | ok again after {time.monotonic() - undone:.0f} s")


def until(site: Site, vm: str, wanted: Callable[[int, set], bool], seconds: float = 150.0):
    """The first run of the hook whose exit status and journal lines are as wanted."""
    end = time.monotonic() + seconds
    while True:
        mark = site.host.mark()
        asked = site.host.hook(vm)
        codes = {code for code, pool, domain in site.host.codes(mark) if domain == vm}
        if wanted(asked.rc, codes):
            return asked
        assert time.monotonic() < end, f"rc {asked.rc}, {sorted(codes)}: {asked.err}"


def test_snapmirror_is_judged_by_status_and_not_by_a_start(site: Site) -> None:
    site.host.configure(POOLS, policies("[snapshots] before = none\n[snapshots] rpo = 1h"))

    def status() -> dict:
        told = json.loads(site.host.run("kvmontap status --json kvmnfs01", timeout=120, check=False).out)
        return {one["code"]: one["health"] for one in told[0]["findings"]}

    assert status() == {}
    site.array.control.change(relationships={RELATIONSHIP: {"healthy": False, "lag_time": "P1D"}})
    assert status() == {"snapmirror.unhealthy": "degraded", "snapmirror.lag": "degraded"}
    assert site.host.hook("vm-vol").rc == 0
