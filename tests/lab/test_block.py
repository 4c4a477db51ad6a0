"""Block pools from the installed package alone: boot, paths, shutdown, a dead portal, bad input."""

from __future__ import annotations

import json
import time
from typing import Iterator

import pytest

from . import block, order
from .block import CLUSTER_UNIT, GUESTS, LOGINS, MOUNTS, PORTALS, BlockSite
from .order import STOPPED, STOPPING, SUCCESS


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[BlockSite]:
    """host1 after its first boot with three block pools and a running guest on each."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    started = time.monotonic()
    built = block.build(lambda text: terminal.write_line(f"[{time.monotonic() - started:5.0f} s] {text}"))
    try:
        yield built
    finally:
        built.lab.close()


# -- the boot


@pytest.mark.parametrize("pool", MOUNTS)
def test_network_login_cluster_mount_libvirt_guest(site: BlockSite, pool: str) -> None:
    vm = site.host.vm
    online = order.entered(vm, "network-online.target")
    login = order.entered(vm, LOGINS[pool])
    cluster = order.entered(vm, CLUSTER_UNIT) if pool != "kvmxfs01" else login
    mounted = order.entered(vm, MOUNTS[pool])
    libvirtd = order.entered(vm, "libvirtd.service", "InactiveExit")
    name = next(guest for guest, place in GUESTS.items() if place == pool)
    guest = order.entered(vm, order.guest_scope(vm, name), "InactiveExit")
    assert 0 < online <= login <= mounted <= libvirtd <= guest
    assert 0 < cluster <= mounted


def test_nothing_failed(site: BlockSite) -> None:
    assert site.host.run("systemctl --failed --plain --no-legend").out.strip() == ""


def test_a_session_for_each_portal_and_a_map_with_two_paths(site: BlockSite) -> None:
    assert block.sessions(site.host.vm) == sorted(PORTALS), "two pools share the sessions"
    for wwid in (block.LUN0, block.LUN1):
        said = site.host.run(f"multipath -ll {wwid}").out
        assert said.count("active ready running") == 2, said
    assert site.host.run("cat /sys/class/iscsi_session/*/recovery_tmo").out.split() == ["5", "5"]


def test_a_controller_for_each_portal_that_is_never_given_up(site: BlockSite) -> None:
    assert block.controllers(site.host.vm) == [f"{portal} live" for portal in PORTALS]
    assert site.host.run("cat /sys/class/nvme/*/ctrl_loss_tmo").out.split() == ["off", "off"]


def test_the_cluster_is_really_online_with_its_timeouts(site: BlockSite) -> None:
    base = "/sys/kernel/config/cluster/kvmcl01"
    assert site.host.run(f"cat {base}/heartbeat/dead_threshold {base}/node/host1/local").out.split() == ["61", "1"]
    mounts = site.host.run("cat /proc/self/mounts").out
    assert mounts.count(" ocfs2 ") == 2 and " /mnt/kvmxfs01 xfs " in mounts


def test_pools_are_active_and_list_their_volumes(site: BlockSite) -> None:
    for name, pool in GUESTS.items():
        said = site.host.run(f"virsh -q pool-info {pool}; virsh -q vol-list {pool}").out
        assert "running" in said and f"{name}.img" in said, said


def test_status_is_ok_for_every_pool(site: BlockSite) -> None:
    assert healths(site) == dict.fromkeys(MOUNTS, "ok")


def healths(site: BlockSite) -> dict[str, str]:
    """Pool -> health, as `kvmontap status` says now."""
    said = site.host.run("kvmontap status --json", check=False).out
    return {pool["pool"]: pool["health"] for pool in json.loads(said)}


def test_every_start_has_its_snapshot_of_the_volume(site: BlockSite) -> None:
    names = site.array.snapshots(block.VOLUME)
    assert names and all("-start-" in name for name in names), names


def test_a_reload_detaches_nothing_nor_does_a_typo(site: BlockSite) -> None:
    host = site.host
    try:
        host.configure(block.XFS_POOL + block.SHARED.replace("protocol = nvme-tcp", "protocl = nvme-tcp"),
                       block.SECTIONS.replace("host1 = 10.9.0.11", "host1 = not an address"), reload=True)
        assert "mnt-kvmns01.mount" in host.run("systemctl list-dependencies --plain remote-fs.target").out
        units = [*MOUNTS.values(), *LOGINS.values(), CLUSTER_UNIT]
        assert host.run("systemctl is-active " + " ".join(units)).out.split() == ["active"] * len(units)
    finally:
        host.configure(block.XFS_POOL + block.SHARED, block.SECTIONS, reload=True)
    assert all(host.state(name) == "running" for name in GUESTS)
    assert block.sessions(host.vm) == sorted(PORTALS)


def test_a_portal_that_dies_is_told_and_a_start_goes_on(site: BlockSite) -> None:
    site.lab.link("host1", "B", up=False)
    try:
        site.host.vm.wait_for(
            lambda: healths(site) == dict.fromkeys(MOUNTS, "degraded"), 120, "every pool is degraded")
        said = site.host.run("kvmontap status --json", check=False).out
        assert said.count("path.missing") == 3 and "10.9.2.10" in said
        site.host.destroy("vm-xfs")
        assert site.host.start("vm-xfs").ok
    finally:
        site.lab.links_up()
    site.host.vm.wait_for("kvmontap status", 180, "every pool is well again")


# -- bad input, one sentence each


def refused(site: BlockSite, unit: str) -> str:
    """What a unit that cannot start says of itself in the journal."""
    mark = site.host.mark()
    assert not site.host.run(f"systemctl start '{unit}'", check=False, timeout=180).ok
    lines = [line for line in site.host.journal(mark, unit).splitlines() if line.startswith("kvmontap: ")]
    assert lines and not any("Traceback" in line for line in lines)
    return lines[-1]


SHORT = "        [[[boot]]]\n        timeout = 15\n"
BAD = {
    "wrong WWID": (block.XFS_POOL.replace("kvmxfs01", "bad").replace(block.LUN1, block.LUN1[:-1] + "f"), "iscsi",
                   ("no LUN has the WWID", block.LUN1, "check wwid =")),
    "another file system": (block.XFS_POOL.replace("kvmxfs01", "bad").replace("xfs", "ext4"), "iscsi",
                            ("carries xfs", "filesystem = ext4")),
    "a portal that is no target": (block.XFS_POOL.replace("kvmxfs01", "bad").replace(", ".join(PORTALS), "10.9.1.10:22"), "iscsi",
                                   ("10.9.1.10:22",)),
    "a dead portal": (block.XFS_POOL.replace("kvmxfs01", "bad").replace(", ".join(PORTALS), "10.9.1.99"), "iscsi",
                      ("no portal answers", "10.9.1.99")),
    "another target": (block.XFS_POOL.replace("kvmxfs01", "bad") + "    iqn = iqn.x:other\n", "iscsi", (block.IQN, "iqn.x:other")),
    "wrong namespace": (block.NVME_POOL.replace("kvmns01", "bad").replace("00a1", "00a2"), "nvme", ("no NVMe namespace", block.NAMESPACE)),
    "another cluster": (block.NVME_POOL.replace("kvmns01", "bad").replace("kvmcl01", "other"), "nvme", ("cluster kvmcl01, not to other",)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_mounted(site: BlockSite, case: str) -> None:
    pool, kind, words = BAD[case]
    host = site.host
    other = block.CLUSTERS.replace("[clusters]\n", "").replace("kvmcl01", "other")
    try:
        host.configure(pool + SHORT, block.SECTIONS.replace("[clusters]\n", "[clusters]\n" + other), reload=True)
        sentence = refused(site, f"kvmontap-{kind}@bad.service")
        assert all(word in sentence for word in words), sentence
        assert host.mounted("/mnt/bad") == ""
        assert not host.run("systemctl start mnt-bad.mount", check=False, timeout=120).ok
    finally:
        host.configure(block.XFS_POOL + block.SHARED, block.SECTIONS, reload=True)
        host.run("systemctl reset-failed")
    assert block.sessions(host.vm) == sorted(PORTALS)


def test_a_host_that_is_no_node_is_told_so(site: BlockSite) -> None:
    host = site.host
    other = "    [[other]]\n        [[[nodes]]]\n        elsewhere = 10.9.0.77\n"
    try:
        host.configure(block.XFS_POOL + block.SHARED, block.SECTIONS.replace("[clusters]\n", "[clusters]\n" + other), reload=True)
        assert "this host is host1, which is no node of cluster other (elsewhere)" in refused(site, "kvmontap-o2cb@other.service")
    finally:
        host.configure(block.XFS_POOL + block.SHARED, block.SECTIONS, reload=True)
        host.run("systemctl reset-failed")


# -- CHAP; the guests are off from here on


@pytest.fixture(scope="module")
def quiet(site: BlockSite) -> BlockSite:
    """No guest runs and the iSCSI pools are down, by their own units."""
    for name in GUESTS:
        site.host.destroy(name)
    site.host.run("systemctl stop mnt-kvmxfs01.mount mnt-kvmiscsi01.mount", timeout=120)
    return site


def test_sessions_end_with_the_last_pool_that_uses_them(quiet: BlockSite) -> None:
    host = quiet.host
    host.run("systemctl stop kvmontap-iscsi@kvmxfs01", timeout=120)
    assert block.sessions(host.vm) == sorted(PORTALS), "kvmiscsi01 still uses them"
    host.run("systemctl stop kvmontap-iscsi@kvmiscsi01", timeout=120)
    assert block.sessions(host.vm) == []
    assert block.LUN0 not in host.run("dmsetup ls").out
    assert host.mounted("/mnt/kvmns01"), "the other pool is not touched"


def test_a_session_of_somebody_else_is_left_alone(quiet: BlockSite) -> None:
    host = quiet.host
    login = f"iscsiadm -m node -T {block.IQN} -p 10.9.1.10"
    host.run(f"{login} -l", timeout=90)
    host.run("systemctl start mnt-kvmxfs01.mount", timeout=180)
    assert block.sessions(host.vm) == sorted(PORTALS)
    host.run("systemctl stop mnt-kvmxfs01.mount kvmontap-iscsi@kvmxfs01", timeout=120)
    assert block.sessions(host.vm) == ["10.9.1.10"]
    host.run(f"{login} -u", timeout=90)


CHAP_POOL = block.XFS_POOL + "    chap-file = /etc/kvmontap/chap\n"


@pytest.fixture
def chap(quiet: BlockSite) -> Iterator[BlockSite]:
    """The target asks for mutual CHAP, and the pool has a chap-file."""
    quiet.lab.storage.run("block-storage chap kvmuser kvm-secret-0001 array array-secret-0002")
    quiet.host.configure(CHAP_POOL + block.NVME_POOL, block.SECTIONS, reload=True)
    yield quiet
    quiet.lab.storage.run("block-storage nochap")
    quiet.host.run("systemctl stop mnt-kvmxfs01.mount kvmontap-iscsi@kvmxfs01; systemctl reset-failed", timeout=120)
    quiet.host.configure(block.XFS_POOL + block.SHARED, block.SECTIONS, reload=True)


@pytest.mark.parametrize("ours, theirs, words", [
    ("kvm-secret-0009", "array-secret-0002", "refuses the login"),
    ("kvm-secret-0001", "array-secret-0009", "does not prove its own secret"),
])
def test_a_wrong_chap_secret_is_one_sentence(chap: BlockSite, ours: str, theirs: str, words: str) -> None:
    chap.host.vm.put(f"username=kvmuser\npassword={ours}\nusername-in=array\npassword-in={theirs}\n", "/etc/kvmontap/chap", mode=0o600)
    sentence = refused(chap, "kvmontap-iscsi@kvmxfs01.service")
    assert words in sentence and "/etc/kvmontap/chap" in sentence and "secret-0" not in sentence
    assert block.sessions(chap.host.vm) == []


def test_mutual_chap_with_no_secret_in_any_argument_or_open_file(chap: BlockSite) -> None:
    host = chap.host
    host.vm.put("username=kvmuser\npassword=kvm-secret-0001\nusername-in=array\npassword-in=array-secret-0002\n", "/etc/kvmontap/chap",
                mode=0o600)
    # Every execve on the host, by the kernel's own account of arguments.
    watch = "while :; do cat /proc/[0-9]*/cmdline >> /run/args 2>/dev/null; done"
    host.run(f"rm -f /run/args; systemd-run -q --unit=watch-args sh -c '{watch}'")
    host.run("systemctl start mnt-kvmxfs01.mount", timeout=180)
    host.run("systemctl stop watch-args")
    assert block.sessions(host.vm) == sorted(PORTALS)
    assert "iscsiadm" in host.run("tr '\\0' ' ' < /run/args | grep -ao iscsiadm | head -n 1").out
    assert not host.run("grep -aq 'secret-000' /run/args", check=False).ok
    open_files = host.run("grep -rl secret-000 /etc/iscsi /var/lib/iscsi /run/kvmontap /etc/kvmontap | xargs stat -c '%a %n'").out
    assert open_files and all(line.startswith("600 ") for line in open_files.splitlines()), open_files
    assert "secret-000" not in host.journal()


# -- shutdown and a boot with one portal dead


@pytest.fixture(scope="module")
def second(quiet: BlockSite) -> Iterator[tuple[BlockSite, tuple[str, ...], list[order.Event]]]:
    """Rebooted with a running guest on each pool; at the boot one portal of each protocol swallows packets."""
    host = quiet.host
    host.run("systemctl start mnt-kvmxfs01.mount mnt-kvmiscsi01.mount", timeout=240)
    for name in GUESTS:
        started = host.start(name)
        assert started.ok, started.err
        host.wait_guest_up(name)
    scopes = tuple(order.guest_scope(host.vm, name) for name in GUESTS)
    for port in (3260, 4420, 8009):
        quiet.lab.swallow("10.9.1.10", port)
    host.vm.reboot()
    block.wait_booted(quiet)
    yield quiet, scopes, order.events(host.vm, boot=-1)
    quiet.lab.swallow_nothing()


def test_shutdown_stops_guests_unmounts_takes_the_cluster_down_logs_out_then_the_network(second) -> None:
    _, scopes, events = second
    guests = max(order.last(events, scope, SUCCESS, STOPPED) for scope in scopes)
    unmounted = {pool: order.last(events, unit, STOPPED) for pool, unit in MOUNTS.items()}
    logged_out = {pool: order.last(events, unit, STOPPED) for pool, unit in LOGINS.items()}
    offline = order.last(events, CLUSTER_UNIT, STOPPED)
    network = order.last(events, "networking.service", STOPPED)
    assert guests <= order.last(events, "libvirt-guests.service", STOPPED) <= min(unmounted.values())
    assert all(unmounted[pool] <= logged_out[pool] for pool in MOUNTS)
    assert max(unmounted["kvmiscsi01"], unmounted["kvmns01"]) <= offline
    assert max(*logged_out.values(), offline) <= network


def test_nothing_failed_at_shutdown(second) -> None:
    events = second[2]
    began = order.last(events, "libvirt-guests.service", STOPPING)  # before it, logins failed that were meant to
    assert [event.text for event in events if event.what == order.FAILED and event.seconds >= began] == []


def test_with_one_portal_dead_everything_is_up_quickly(second) -> None:
    site = second[0]
    vm = site.host.vm
    assert block.sessions(vm) == ["10.9.2.10"]
    assert block.controllers(vm) == ["10.9.2.10 live"]
    for pool, unit in LOGINS.items():
        took = order.entered(vm, unit) - order.entered(vm, unit, "InactiveExit")
        assert took < 60, f"{unit} took {took:.1f} s"
        assert order.entered(vm, MOUNTS[pool]) <= order.entered(vm, "libvirtd.service", "InactiveExit")
    assert all(site.host.state(name) == "running" for name in GUESTS)
    assert healths(site) == dict.fromkeys(MOUNTS, "degraded")


def test_a_reload_of_the_login_brings_the_portal_back(second) -> None:
    site = second[0]
    site.lab.swallow_nothing()
    site.host.run("systemctl reload " + " ".join(LOGINS.values()), timeout=180)
    assert block.sessions(site.host.vm) == sorted(PORTALS)
    site.host.vm.wait_for("kvmontap status", 180, "every pool is well again")
