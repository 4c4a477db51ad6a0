"""What is seen of faults on the way to an NFS or SMB server: code, how soon, what a start and a running VM do, and that it passes.

tests/libvirt/test_health.py has those of the array and of file systems.  A start is libvirt's hook, run as libvirt runs it; a line per
fault is printed: docs/health.md has them in a table.
"""

from __future__ import annotations

import json
import time
from typing import Callable, NamedTuple

import pytest

from .lab import set_clock
from .site import POOLS, Site
from .test_gate import policies
from .vm import Result

EXPORTFS = "/usr/sbin/exportfs"
SECONDS = 180.0


class Fault(NamedTuple):
    """One fault; `refused`: whether a start is, `runs`: a VM that does not mind."""

    name: str
    code: str
    refused: bool
    inject: Callable[[Site], object]
    undo: Callable[[Site], object]
    vm: str = "vm-vol"
    runs: str = "vm-nfs"
    timeout: float = 12.0  # [gate] timeout: an emulated CPU is slow


def on_storage(command: str) -> Callable[[Site], object]:
    return lambda site: site.lab.storage.run(command, timeout=200)


def lif(state: str) -> Callable[[Site], object]:
    return lambda site: site.array.control.change(lifs={"lif_b": {"state": state}})


def clock(hours: int) -> Callable[[Site], object]:
    """The host's clock is that far off, and kvmontapd knows no array yet."""

    def change(site: Site) -> None:
        set_clock(site.host.vm, hours * 3600.0)
        site.host.run("systemctl restart kvmontapd")

    return change


FAULTS = (
    Fault("NFS exports withdrawn", "mount.error", True, on_storage(f"{EXPORTFS} -ua; {EXPORTFS} -f"),
          on_storage(f"{EXPORTFS} -ra; {EXPORTFS} -f")),
    Fault("NFS server dead", "mount.no-answer", True, on_storage("systemctl stop nfs-server"), on_storage("systemctl start nfs-server"),
          timeout=4.0),
    Fault("SMB server dead", "mount.no-answer", True, on_storage("systemctl stop smbd"), on_storage("systemctl start smbd"), "vm-smb",
          "vm-smb", timeout=4.0),
    Fault("data LIF down", "lif.down", False, lif("down"), lif("up")),
    Fault("host clock an hour behind", "array.certificate", False, clock(-1), clock(0)),
)


def statuses(site: Site) -> dict[str, tuple[str, list[str]]]:
    """What `kvmontap status` says: health and codes of each pool."""
    told = json.loads(site.host.run("kvmontap status --json", timeout=120, check=False).out)
    return {pool["pool"]: (pool["health"], [one["code"] for one in pool["findings"]]) for pool in told}


def test_nothing_is_found_where_nothing_is_wrong(site: Site) -> None:
    """The kernel's own word of SMB channels and NFS transports; the host has just booted."""
    assert statuses(site) == {"kvmnfs01": ("ok", []), "kvmsmb01": ("ok", [])}


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    plugins = request.config.pluginmanager
    terminal, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.write_line(f"\n{text}")

    return line


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(site: Site, fault: Fault, tell: Callable[[str], None]) -> None:
    site.host.configure(POOLS, policies(f"[snapshots] before = none\n[gate] timeout = {fault.timeout}"))
    usual = until(site, fault.vm, lambda rc, codes: rc == 0 and not codes).seconds
    fault.inject(site)
    injected = time.monotonic()
    try:
        asked = until(site, fault.vm, lambda rc, codes: fault.code in codes)
        seen = time.monotonic() - injected
        assert asked.rc == int(fault.refused), asked.err
        assert (f"[{fault.code}]" in asked.err) == fault.refused, asked.err
        assert site.host.state(fault.runs) == "running"
    finally:
        fault.undo(site)
    undone = time.monotonic()
    until(site, fault.vm, lambda rc, codes: rc == 0 and not codes)
    assert site.host.state(fault.runs) == "running"
    tell(f"| {fault.name} | `{fault.code}` | {'refused' if fault.refused else 'allowed'} | {seen:.1f} s | {asked.seconds:.1f} s "
         f"({usual:.1f} s) | {time.monotonic() - undone:.1f} s |")


def until(site: Site, name: str, wanted: Callable[[int, set[str]], bool]) -> Result:
    """The first run of the hook whose exit status and codes in the journal are as wanted."""
    end = time.monotonic() + SECONDS
    while True:
        mark = site.host.mark()
        asked = site.host.hook(name)
        codes = site.host.codes(mark, name)
        if wanted(asked.rc, codes):
            return asked
        assert time.monotonic() < end, f"rc {asked.rc}, {sorted(codes)}: {asked.err}"
