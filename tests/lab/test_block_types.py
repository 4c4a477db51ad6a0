"""Every other way to have block storage on one host: libvirt's pool types, LVM, GFS2, NVMe's keys, IPv6, an array on the host itself."""

from __future__ import annotations

import json
import re
import time
from typing import Iterator

import pytest

from . import block, block_types, order
from .block_types import GUESTS, SECRET_NQN, SECRETS, SIX, V6, TypesSite
from .order import STOPPED, STOPPING, SUCCESS

LOGINS = {name: f"kvmontap-iscsi@{name}.service" for name in ("kvmlv01", "kvmdisk01", "kvmfs01", "kvmgfs01", "kvmmp01", "kvmsix01")}
LOGINS.update((name, f"kvmontap-nvme@{name}.service") for name in ("kvmsec01", "kvmrdma01"))
POOLS = ("kvmlv01", "kvmdisk01", "kvmfs01", "kvmgfs01", "kvmmp01", "kvmlib01", "kvmdirect01", "kvmsix01", "kvmsec01",
         "kvmrdma01", "kvmhosted01")
HOSTED, HOSTED_GUESTS = (f"kvmontap-{name}@vm\\x2dselect.service" for name in ("hosted", "hosted-guests"))


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[TypesSite]:
    """host1 after its first boot with a pool of each kind."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    started = time.monotonic()
    built = block_types.build(lambda text: terminal.write_line(f"[{time.monotonic() - started:5.0f} s] {text}"))
    try:
        built.host.wait_guest_up("vm-lv", 240)
        built.host.wait_guest_up("vm-select", 240)
        yield built
    finally:
        built.lab.close()


# -- the boot


def test_nothing_failed(site: TypesSite) -> None:
    assert site.host.run("systemctl --failed --plain --no-legend").out.strip() == ""


def test_every_pool_is_active_and_autostarts(site: TypesSite) -> None:
    site.host.vm.wait_for(f"systemctl is-active -q '{HOSTED_GUESTS}'", 300, "the hosted pools are up")
    lines = site.host.run("virsh -q pool-list --all").out.splitlines()
    found = {name: (state, auto) for name, state, auto in (line.split() for line in lines)}
    assert found == {name: ("active", "yes") for name in POOLS}
    rows = json.loads(site.host.run("kvmontap pool list --json").out)
    assert {row["pool"]: row["remark"] for row in rows} == dict.fromkeys(POOLS, "")


def test_what_libvirt_attaches_itself_has_no_unit_of_ours(site: TypesSite) -> None:
    units = site.host.run("systemctl list-units --all --plain --no-legend 'kvmontap-*@*'").out
    assert not any(name in units for name in ("kvmlib01", "kvmdirect01"))
    assert sorted(set(re.findall(r"kvmontap-(?:iscsi|nvme|fc)@(\w+)", units))) == sorted(LOGINS)
    assert site.host.run("cat /sys/class/iscsi_session/*/targetname").out.count(block_types.LIBVIRT) == 1


def test_each_kind_lists_its_volumes(site: TypesSite) -> None:
    said = {pool: site.host.run(f"virsh -q pool-refresh {pool} >/dev/null; virsh -q vol-list {pool}").out for pool in POOLS}
    assert "vm-lv " in said["kvmlv01"] and "guest-pv " in said["kvmlv01"]
    assert said["kvmmp01"].count("/dev/mapper/") >= 6, "each LUN of TYPES, and that of SIX"
    assert len(said["kvmdisk01"].splitlines()) == 1, "its partition"
    assert said["kvmlib01"].count("unit:0:0:") == 1 and said["kvmdirect01"].count("unit:0:0:") == 1
    assert "vm-hosted.img" in said["kvmhosted01"]


def test_a_volume_is_made_in_each_kind_that_can(site: TypesSite) -> None:
    for pool in ("kvmlv01", "kvmfs01", "kvmgfs01", "kvmsix01", "kvmsec01", "kvmrdma01"):
        said = site.host.run(f"virsh -q vol-create-as {pool} new1 4M && virsh -q vol-list {pool}", timeout=180).out
        assert "new1 " in said, said


def test_login_device_pools_libvirt(site: TypesSite) -> None:
    vm = site.host.vm
    online = order.entered(vm, "network-online.target")
    libvirtd = order.entered(vm, "libvirtd.service", "InactiveExit")
    for unit in LOGINS.values():
        assert 0 < online <= order.entered(vm, unit) <= libvirtd, unit


def test_a_file_system_pool_is_mounted_by_libvirt_as_one_on_the_network(site: TypesSite) -> None:
    unit = site.host.run("systemctl show -p After,Before,Conflicts,FragmentPath mnt-kvmfs01.mount").out
    assert "kvmontap-iscsi@kvmfs01.service" in unit and "libvirtd.service" in unit and "network.target" in unit
    assert "FragmentPath=\n" in unit or "FragmentPath=/proc/self/mountinfo" in unit, "no text of ours"
    assert "umount.target" in unit and "local-fs.target" not in unit.partition("Before=")[2].partition("\n")[0]


# -- GFS2


def test_gfs2_corosync_dlm_mount_libvirt(site: TypesSite) -> None:
    vm = site.host.vm
    times = [order.entered(vm, unit) for unit in ("corosync.service", "dlm.service", "mnt-kvmgfs01.mount")]
    assert 0 < times[0] <= times[1] <= times[2] <= order.entered(vm, "libvirtd.service", "InactiveExit")
    assert " /mnt/kvmgfs01 gfs2 " in site.host.run("cat /proc/self/mounts").out
    assert site.host.run("dlm_tool ls | grep -c 'name *g1'").out.strip() == "1"


def test_a_lock_table_of_another_cluster_is_one_sentence(site: TypesSite) -> None:
    pool = block_types.POOLS.replace("kvmgfs01", "bad").replace("= kvmgfs", "= other")
    other = "    [[other]]\n    stack = dlm\n        [[[nodes]]]\n        host1 = 10.9.0.11\n"
    try:
        site.host.configure(pool, block_types.SECTIONS.replace("[clusters]\n", "[clusters]\n" + other), reload=True)
        assert "has the lock table kvmgfs:g1, which is of the cluster kvmgfs, not of other" in refused(site, "kvmontap-iscsi@bad.service")
    finally:
        back(site)


# -- LVM


def mapped(site: TypesSite) -> set[str]:
    """The volume groups that are active: what device-mapper has of LVM."""
    said = site.host.run("dmsetup info -c --noheadings -o name,uuid --separator ' '").out
    names = [line.split()[0] for line in said.splitlines() if "LVM-" in line]
    return {re.split(r"(?<!-)-(?!-)", name)[0] for name in names}


def test_only_the_pools_volume_group_is_active(site: TypesSite) -> None:
    """Neither that on a LUN of a guest's own, nor that on a guest's disk in the pool."""
    assert mapped(site) == {"vg_kvm"}


def test_our_rule_is_what_keeps_the_host_from_it(site: TypesSite) -> None:
    """The distribution's rule asks for LVM2_member, which blkid found and ours has taken away."""
    host = site.host
    for lun, path in ((block_types.GUEST, "paths and map"), (block_types.LVM, "paths and map")):
        wwid = block_types.wwid(lun)
        seen = host.run(f"for d in /dev/disk/by-id/dm-uuid-mpath-{wwid} $(multipath -ll {wwid} | grep -o 'sd[a-z]*' | sed s,^,/dev/,); do "
                        "udevadm info -q property $d | grep -E '^(ID_FS_TYPE|KVMONTAP_POOL)=' | sort | tr '\\n' ' '; "
                        "echo $(blkid -p -s TYPE -o value $d); done").out.splitlines()
        assert len(seen) == 3 and all("KVMONTAP_POOL=" in line and "ID_FS_TYPE=LVM2" not in line for line in seen), (path, seen)
        assert any("LVM2_member" in line for line in seen), seen


# -- the gate


def healths(site: TypesSite) -> dict[str, str]:
    """Pool -> health, as `kvmontap status` says now."""
    return {pool["pool"]: pool["health"] for pool in json.loads(site.host.run("kvmontap status --json", check=False).out)}


def test_every_pool_is_well(site: TypesSite) -> None:
    assert healths(site) == dict.fromkeys(POOLS, "ok")


def test_a_vm_on_a_logical_volume_has_its_snapshot(site: TypesSite) -> None:
    """Its disk is a block device; volume = stands nowhere, so the array was asked for the LUN."""
    names = site.array.snapshots(block.VOLUME)
    assert len(names) == 1 and "-start-" in names[0], names
    for source, kind in (("vm-lv", "volume"), ("/dev/disk/by-id/dm-name-vg_kvm-vm--lv", "block"), ("/dev/mapper/vg_kvm-vm--lv", "block")):
        site.host.destroy("vm-lv")
        pool = "kvmlv01" if kind == "volume" else ""
        site.host.define("vm-lv", source, pool=pool, kind=kind, autostart=True)
        assert (done := site.host.start("vm-lv")).ok, done.err
        names.append(site.array.snapshots(block.VOLUME)[-1])
    assert len(set(names)) == 4, names


def test_a_vm_on_it_is_refused_while_the_volume_is_offline(site: TypesSite) -> None:
    site.host.destroy("vm-lv")
    site.array.set_volume(block.VOLUME, state="offline")
    try:
        done = site.host.start("vm-lv")
        assert not done.ok and "pool kvmlv01" in done.err and f"volume {block.VOLUME} is offline" in done.err, done.err
    finally:
        site.array.set_volume(block.VOLUME, state="online")
    assert site.host.start("vm-lv").ok
    site.host.wait_guest_up("vm-lv")


# -- IPv6 and interfaces


def test_sessions_over_ipv6_through_each_interface(site: TypesSite) -> None:
    said = site.host.run("for s in /sys/class/iscsi_session/session*; do "
                         "echo $(cat $s/targetname $s/ifacename $s/device/connection*/iscsi_connection/*/persistent_address); done").out
    ours = {tuple(line.split()[1:]) for line in said.splitlines() if line.startswith(SIX)}
    assert ours == {("kvmontap.eth1", V6[0]), ("kvmontap.eth2", V6[1])}


def test_an_interface_that_dies_is_told(site: TypesSite) -> None:
    site.lab.link("host1", "B", up=False)
    try:
        site.host.vm.wait_for(lambda: healths(site).get("kvmsix01") == "degraded", 120, "kvmsix01 is degraded")
        said = site.host.run("kvmontap status --json kvmsix01", check=False).out
        assert V6[1] in said and "all through eth2" in said, said
    finally:
        site.lab.links_up()
    site.host.vm.wait_for("kvmontap status kvmsix01", 180, "both interfaces are used again")


# -- NVMe with keys


def test_controllers_over_ipv6_with_their_queues_and_their_patience(site: TypesSite) -> None:
    assert secret(site) == [f"{portal} live 2 1800" for portal in V6], "one I/O queue beside the admin queue"


def test_a_controller_over_rdma(site: TypesSite) -> None:
    """Soft RoCE: the kernel's own rdma transport on an ordinary NIC."""
    assert controllers(site, block_types.RDMA_NQN) == ["10.9.1.10 live 3 900"]
    assert site.host.run("cat /sys/class/nvme/*/transport").out.split().count("rdma") == 1
    assert " /mnt/kvmrdma01 ext4 " in site.host.run("cat /proc/self/mounts").out


def controllers(site: TypesSite, nqn: str) -> list[str]:
    """"ADDRESS STATE QUEUES CTRL_LOSS_TMO" of each controller of a subsystem, sorted."""
    address = "sed 's/.*traddr=\\([^,]*\\).*/\\1/' $c/address"
    said = site.host.run(f"for c in /sys/class/nvme/nvme*; do grep -qx '{nqn}' $c/subsysnqn && "
                         f"echo $({address}) $(cat $c/state $c/queue_count $c/ctrl_loss_tmo); done; true").out
    return sorted(said.splitlines())


def secret(site: TypesSite) -> list[str]:
    """The controllers of the subsystem that asks for keys."""
    return controllers(site, SECRET_NQN)


def test_no_key_in_any_argument_or_open_file(site: TypesSite) -> None:
    host = site.host
    host.run("umount /mnt/kvmsec01 && systemctl stop kvmontap-nvme@kvmsec01", timeout=120)
    assert secret(site) == []
    watch = "while :; do cat /proc/[0-9]*/cmdline >> /run/args 2>/dev/null; done"
    host.run(f"rm -f /run/args; systemd-run -q --unit=watch-args sh -c '{watch}'")
    host.run("systemctl start mnt-kvmsec01.mount", timeout=180)
    host.run("systemctl stop watch-args")
    assert len(secret(site)) == 2
    assert host.run("tr '\\0' ' ' < /run/args | grep -ao connect-all | head -n 1").out == "connect-all\n"
    words = "|".join(re.escape(word) for word in SECRETS)
    assert not host.run(f"grep -aqE '{words}' /run/args", check=False).ok
    places = "/etc /run /var/lib /sys/class/nvme/*/"
    shown = host.run(f"grep -rlE '{words}' {places} 2>/dev/null | grep -v ^/run/args | xargs stat -L -c '%a %n'",
                     check=False).out
    assert shown and all(line.startswith(("600 ", "400 ")) for line in shown.splitlines()), shown
    assert not any(word in host.journal() for word in SECRETS)


def test_a_wrong_key_is_one_sentence(site: TypesSite) -> None:
    host = site.host
    right = host.run("cat /etc/kvmontap/dhchap").out
    host.run("umount /mnt/kvmsec01 && systemctl stop kvmontap-nvme@kvmsec01", timeout=120)
    try:
        host.vm.put(right.replace(block_types.CTRL_KEY, block_types.dhchap_key("x")), "/etc/kvmontap/dhchap", mode=0o600)
        sentence = refused(site, "kvmontap-nvme@kvmsec01.service")
        assert "check key= and ctrl-key= in /etc/kvmontap/dhchap" in sentence and "DHHC" not in sentence
    finally:
        host.vm.put(right, "/etc/kvmontap/dhchap", mode=0o600)
        host.run("systemctl start mnt-kvmsec01.mount", timeout=180)


def test_a_controller_of_somebody_else_is_left_alone(site: TypesSite) -> None:
    """As nvme-stas, nvmf-autoconnect or an administrator connects one."""
    host = site.host
    host.run("umount /mnt/kvmsec01 && systemctl stop kvmontap-nvme@kvmsec01", timeout=120)
    host.run(f"nvme connect -t tcp -a {V6[0]} -s 4420 -n {SECRET_NQN} -S {block_types.HOST_KEY} -C {block_types.CTRL_KEY}", timeout=60)
    host.run("systemctl start mnt-kvmsec01.mount", timeout=180)
    assert len(secret(site)) == 2
    host.run("umount /mnt/kvmsec01 && systemctl stop kvmontap-nvme@kvmsec01", timeout=120)
    assert [line.split()[0] for line in secret(site)] == [V6[0]]
    host.run(f"nvme disconnect -n {SECRET_NQN} && systemctl start mnt-kvmsec01.mount", timeout=180)


# -- libvirt's own doings


def test_a_stopped_file_system_pool_is_started_by_apply(site: TypesSite) -> None:
    host = site.host
    host.run("virsh -q pool-destroy kvmfs01")
    assert host.mounted("/mnt/kvmfs01") == "" and healths(site)["kvmfs01"] == "failed"
    assert "pool kvmfs01: is started" in host.run("kvmontap pool apply").out
    assert host.mounted("/mnt/kvmfs01") and healths(site)["kvmfs01"] == "ok"


def test_a_pool_that_is_another_in_libvirt_is_reported_and_left(site: TypesSite) -> None:
    host = site.host
    host.run("virsh -q pool-dumpxml --inactive kvmdirect01 > /root/right.xml && virsh -q pool-destroy kvmdirect01 && "
             "sed s/10.9.1.10/10.9.2.10/ /root/right.xml > /root/pool.xml && virsh -q pool-define /root/pool.xml")
    done = host.run("kvmontap pool apply", check=False)
    assert not done.ok and "pool kvmdirect01: libvirt's pool is another, and is left as it is: source host is 10.9.2.10" in done.err
    assert "10.9.2.10" in host.run("virsh -q pool-dumpxml --inactive kvmdirect01").out
    host.run("virsh -q pool-define /root/right.xml && kvmontap pool apply")


def test_a_pool_of_a_scsi_host(site: TypesSite) -> None:
    """Which number the kernel gives the host of a session is only known by then."""
    host = site.host
    found = host.run(f"for s in /sys/class/iscsi_session/session*; do grep -q {block_types.LIBVIRT} $s/targetname && "
                     "realpath $s/device; done").out
    number = re.findall(r"/host(\d+)/", found)[-1]
    pool = f"    [[kvmscsi01]]\n    protocol = iscsi\n    portals = 10.9.1.10\n    iqn = {block_types.LIBVIRT}\n    type = scsi\n" \
           f"    adapter = scsi_host{number}\n"
    try:
        host.configure(block_types.POOLS + pool, block_types.SECTIONS, reload=True)
        host.run("systemctl start kvmontap-iscsi@kvmscsi01 && kvmontap pool apply", timeout=180)
        assert host.run("virsh -q vol-list kvmscsi01").out.count("unit:0:0:5") == 1
        assert [row["remark"] for row in json.loads(host.run("kvmontap pool list --json").out) if row["pool"] == "kvmscsi01"] == [""]
    finally:
        host.run("virsh -q pool-destroy kvmscsi01; virsh -q pool-undefine kvmscsi01; systemctl stop kvmontap-iscsi@kvmscsi01", check=False)
        back(site)
    assert host.run("virsh -q vol-list kvmlib01").out.count("unit:0:0:5") == 1, "libvirt's session is still there"


# -- an array on this host


def test_hosted_vm_mount_pool(site: TypesSite) -> None:
    vm = site.host.vm
    libvirtd = order.entered(vm, "libvirtd.service")
    started = order.entered(vm, order.guest_scope(vm, "vm-select"))
    times = [order.entered(vm, unit) for unit in (HOSTED, "mnt-kvmhosted01.mount", HOSTED_GUESTS)]
    assert 0 < libvirtd and 0 < started <= times[0] <= times[1] <= times[2]


def test_the_vm_itself_is_never_gated_by_its_pools_others_are(site: TypesSite) -> None:
    host = site.host
    host.run(f"systemctl stop '{HOSTED_GUESTS}' mnt-kvmhosted01.mount", timeout=120)
    done = host.start("vm-hosted")
    assert not done.ok and "/mnt/kvmhosted01 is not mounted" in done.err, done.err
    host.destroy("vm-select")
    assert (done := host.start("vm-select")).ok, done.err
    host.run(f"systemctl start '{HOSTED_GUESTS}' mnt-kvmhosted01.mount && kvmontap pool apply", timeout=300)
    assert (done := host.start("vm-hosted")).ok, done.err
    for name in GUESTS:
        host.wait_guest_up(name)


# -- shutdown


@pytest.fixture(scope="module")
def second(site: TypesSite) -> tuple[TypesSite, dict[str, str], list[order.Event]]:
    """Rebooted with a running guest on the volume group and on the hosted pool."""
    scopes = {name: order.guest_scope(site.host.vm, name) for name in GUESTS}
    assert all(scopes.values()), scopes
    site.host.vm.reboot()
    block.wait_over(site.host)
    return site, scopes, order.events(site.host.vm, boot=-1)


def test_shutdown_stops_guests_of_the_hosted_array_unmounts_and_only_then_it(second) -> None:
    _, scopes, events = second
    hosted = order.last(events, scopes["vm-hosted"], SUCCESS, STOPPED)
    guests = order.last(events, HOSTED_GUESTS, STOPPED)
    unmounted = order.last(events, "mnt-kvmhosted01.mount", STOPPED)
    array = order.last(events, scopes["vm-select"], SUCCESS, STOPPED)
    assert hosted <= guests <= unmounted <= array <= order.last(events, "libvirt-guests.service", STOPPED)


def test_shutdown_unmounts_and_deactivates_before_it_logs_out(second) -> None:
    _, scopes, events = second
    network = order.last(events, "networking.service", STOPPED)
    for pool in ("kvmfs01", "kvmgfs01", "kvmsix01", "kvmsec01", "kvmrdma01"):
        unmounted = order.last(events, f"mnt-{pool}.mount", STOPPED)
        assert unmounted <= order.last(events, LOGINS[pool], STOPPED) <= network, pool
    assert order.last(events, "mnt-kvmgfs01.mount", STOPPED) <= order.last(events, "dlm.service", STOPPED)
    assert order.last(events, "dlm.service", STOPPED) <= order.last(events, "corosync.service", STOPPED) <= network
    assert order.last(events, scopes["vm-lv"], SUCCESS, STOPPED) <= order.last(events, LOGINS["kvmlv01"], STOPPED) <= network


def test_nothing_failed_at_shutdown_nor_after_it(second) -> None:
    site, _, events = second
    began = order.last(events, "libvirt-guests.service", STOPPING)
    assert [event.text for event in events if event.what == order.FAILED and event.seconds >= began] == []
    site.host.vm.wait_for(f"systemctl is-active -q '{HOSTED_GUESTS}'", 300, "the hosted pools are up")
    assert site.host.run("systemctl --failed --plain --no-legend").out.strip() == ""
    assert mapped(site) == {"vg_kvm"}


def refused(site: TypesSite, unit: str) -> str:
    """What a unit that cannot start says of itself in the journal."""
    mark = site.host.mark()
    assert not site.host.run(f"systemctl start '{unit}'", check=False, timeout=180).ok
    lines = [line for line in site.host.journal(mark, unit).splitlines() if line.startswith("kvmontap: ")]
    assert lines and not any("Traceback" in line for line in lines)
    return lines[-1]


def back(site: TypesSite) -> None:
    """The configuration of the site, and nothing failed."""
    site.host.configure(block_types.POOLS, block_types.SECTIONS, reload=True)
    site.host.run("systemctl reset-failed")
