"""What lies beneath a block pool: multipathd's opinion, ALUA and ANA, FC ports, the cluster of a shared file system, volume groups.

The trees are made by hand where no recording is named, in the form that the kernel's sources give them.
"""

import contextlib
import json
import os
import shutil
import socket
import struct
import threading
import time

import pytest

from kvmontap import command
from kvmontap.host import block, fabric, groups, multipathd, shared
from kvmontap.model import Pool
from tests.unit.host.test_san import ISCSI, LUN0, NVME, RECORDING, SESSION, codes, write
from tests.unit.host.recorded_sys import plant

OCFS2 = Pool("o", "iscsi", "/mnt/o", wwid=LUN0, filesystem="ocfs2", cluster="kvmcl01")
GFS2 = Pool("g", "iscsi", "/mnt/g", wwid=LUN0, filesystem="gfs2", cluster="c")
FIRST = SESSION.replace("host1", "host0").replace("session2", "session1")


@pytest.fixture
def root(tmp_path):
    plant(RECORDING, tmp_path / "root")
    return str(tmp_path / "root")


def put(root, path, text):
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    write(root, path, text)


# -- multipathd, over its own protocol


@pytest.fixture
def daemon(tmp_path):
    """daemon(reply): a multipathd on a socket of its own that gives one reply; None = it hangs.  Gives the address; asked: its commands."""
    threads, asked, ended = [], [], threading.Event()

    def start(reply):
        address = str(tmp_path / "multipathd")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()

        def serve():
            with listener, listener.accept()[0] as connection:
                size, = struct.unpack("N", connection.recv(8))
                asked.append(connection.recv(size))
                if reply is None:
                    ended.wait(20)
                    return
                text = reply.encode() + b"\0"
                connection.sendall(struct.pack("N", len(text)) + text[:3])
                with contextlib.suppress(BrokenPipeError):  # who was told too little does not wait for the rest
                    connection.sendall(text[3:])

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return address

    start.asked = asked
    yield start
    ended.set()
    for one in threads:
        one.join()


def told(*paths):
    """The part of multipathd's answer that is read, among what is not."""
    return json.dumps({"major_version": 0, "minor_version": 1, "map": {
        "name": "mpatha", "uuid": LUN0, "sysfs": "dm-1", "queueing": "on", "dm_st": "active",
        "path_groups": [{"pri": 50, "dm_st": "active", "paths": [
            {"dev": disk, "dm_st": kernel, "dev_st": "running", "chk_st": checker} for disk, kernel, checker in paths]}]}})


def test_a_path_whose_checker_fails(daemon, root):
    address = daemon(told(("sda", "failed", "faulty"), ("sdc", "active", "ready")))
    found, = block.paths(ISCSI, root, lambda wwid: multipathd.down(wwid, time.monotonic() + 5, address))
    assert found.text == f"1 of 2 paths to {LUN0} are up, missing: 10.9.1.10"
    assert daemon.asked == [f"show map {LUN0} json".encode() + b"\0"]


def test_every_checker_fails_though_the_sessions_are_there(daemon, root):
    """As when the LUN is unmapped, or offline on the array."""
    address = daemon(told(("sda", "failed", "faulty"), ("sdc", "failed", "faulty")))
    found, = block.paths(ISCSI, root, lambda wwid: multipathd.down(wwid, time.monotonic() + 5, address))
    assert found.code == "path.none" and "10.9.1.10:3260 multipath faulty" in found.text


def test_a_multipathd_that_hangs_says_nothing_in_time(daemon):
    address = daemon(None)
    began = time.monotonic()
    assert multipathd.down(LUN0, time.monotonic() + 0.3, address) == {}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("reply", ["fail\n", "", "[]", '{"map": 3}',
                                   '{"map": {"path_groups": [{"paths": [{"dev": 1, "dm_st": "failed"}]}]}}'])
def test_what_multipathd_never_says(reply, daemon):
    assert multipathd.down(LUN0, time.monotonic() + 5, daemon(reply)) == {}


def test_there_is_no_multipathd(tmp_path):
    assert multipathd.down(LUN0, time.monotonic() + 5, str(tmp_path / "nobody")) == {}


# -- ALUA and ANA


@pytest.mark.parametrize("state, up", [("active/optimized", True), ("active/non-optimized", True), ("standby", False),
                                       ("unavailable", False), ("transitioning", False)])
def test_alua_states(state, up, root):
    write(root, f"{SESSION}/target1:0:0/1:0:0:0/access_state", state)
    found = block.paths(ISCSI, root)
    assert codes(found) == ([] if up else ["path.missing"])
    assert up or "10.9.2.10" in found[0].text


def test_only_the_partner_node_is_left(root):
    for path in (f"{SESSION}/target1:0:0/1:0:0:0", f"{FIRST}/target0:0:0/0:0:0:0"):
        write(root, f"{path}/access_state", "active/non-optimized")
    found, = block.paths(ISCSI, root)
    assert (found.code, found.health) == ("path.not-optimized", "degraded") and "10.9.1.10:3260, 10.9.2.10:3260" in found.text


def test_only_non_optimized_namespaces_are_left(root):
    for number in (0, 1):
        write(root, f"sys/devices/virtual/nvme-fabrics/ctl/nvme{number}/nvme0c{number}n1/ana_state", "non-optimized")
    assert codes(block.paths(NVME, root)) == ["path.not-optimized"]


# -- FC ports


def port(root, number, state, *targets):
    put(root, f"sys/class/fc_host/host{number}/port_state", state)
    put(root, f"sys/class/fc_host/host{number}/port_name", f"0x2100f4c7aa01020{number}")
    for place, target in enumerate(targets):
        where = f"sys/class/fc_remote_ports/rport-{number}:0-{place}"
        put(root, f"{where}/port_state", target)
        put(root, f"{where}/port_name", f"0x200000505600000{place}")
        put(root, f"{where}/roles", "FCP Target")


def test_fc_ports(tmp_path):
    root = str(tmp_path)
    port(root, 5, "Online", "Online", "Online")
    port(root, 6, "Linkdown")  # nobody has ever put a cable in
    assert fabric.ports(root) == ()
    port(root, 6, "Linkdown", "Not Present")
    found, = fabric.ports(root)
    assert (found.code, found.text) == ("port.down", "FC port 21:00:f4:c7:aa:01:02:06 (host6) is linkdown")
    port(root, 6, "Online", "Online")
    port(root, 5, "Online", "Online", "Blocked")
    found, = fabric.ports(root)
    assert found.code == "port.target-lost" and found.text.endswith("has lost the targets 20:00:00:50:56:00:00:01")


# -- OCFS2 and GFS2


@pytest.fixture
def beating(root):
    """host1 of two nodes, both of which beat on dm-1 and are connected."""
    cluster = "sys/kernel/config/cluster/kvmcl01"
    for number, name in enumerate(("host1", "host2")):
        put(root, f"{cluster}/node/{name}/num", str(number))
        put(root, f"{cluster}/node/{name}/local", "1" if name == "host1" else "0")
    put(root, f"{cluster}/heartbeat/dead_threshold", "61")
    put(root, f"{cluster}/heartbeat/mode", "local")
    put(root, f"{cluster}/heartbeat/A1B2/dev", "dm-1")
    put(root, "sys/kernel/debug/o2hb/A1B2/livenodes", "0 1")
    put(root, "sys/kernel/debug/o2hb/A1B2/elapsed_time_in_ms", "1240")
    put(root, "sys/kernel/debug/o2net/connected_nodes", "1")
    return root


def test_both_nodes_beat(beating):
    assert shared.check(OCFS2, "253:1", beating) == ()


def test_a_node_that_beats_and_cannot_be_reached(beating):
    write(beating, "sys/kernel/debug/o2net/connected_nodes", "")
    found, = shared.check(OCFS2, "253:1", beating)
    assert (found.code, found.health) == ("cluster.unconnected", "degraded") and found.text.startswith("host2 of cluster kvmcl01")
    write(beating, "sys/kernel/debug/o2hb/A1B2/livenodes", "0")  # it is off: no fault of this host's storage
    assert shared.check(OCFS2, "253:1", beating) == ()


def test_a_cluster_that_somebody_else_has_named(beating):
    write(beating, "sys/kernel/debug/o2net/connected_nodes", "")
    found, = shared.check(OCFS2._replace(cluster="other"), "253:1", beating)
    assert found.text.startswith("host2 of cluster kvmcl01")


def test_our_own_heartbeat_is_late(beating):
    write(beating, "sys/kernel/debug/o2hb/A1B2/elapsed_time_in_ms", "61000")
    found, = shared.check(OCFS2, "253:1", beating)
    assert (found.code, found.health) == ("heartbeat.late", "failed") and "for 61 s; after 120 s this host resets itself" in found.text


def test_a_mount_without_heartbeat(beating):
    assert codes(shared.check(OCFS2, "253:0", beating)) == ["heartbeat.none"]
    write(beating, "sys/kernel/config/cluster/kvmcl01/heartbeat/mode", "global")  # one region serves every file system
    assert shared.check(OCFS2, "253:0", beating) == ()
    put(beating, "sys/fs/ocfs2/cluster_stack", "pcmk")  # not o2cb's, so that it has no heartbeat of o2cb's
    shutil.rmtree(os.path.join(beating, "sys/kernel/config/cluster/kvmcl01"))
    assert shared.check(OCFS2, "253:1", beating) == ()
    write(beating, "sys/fs/ocfs2/cluster_stack", "o2cb")
    assert codes(shared.check(OCFS2, "253:1", beating)) == ["heartbeat.none"]
    shutil.rmtree(os.path.join(beating, "sys/kernel/config"))
    assert shared.check(OCFS2, "253:1", beating) == (), "without configfs nobody knows"


def test_gfs2(tmp_path):
    root = str(tmp_path)
    put(root, "sys/fs/gfs2/c:shared/device/dev", "253:1")
    put(root, "sys/fs/gfs2/c:shared/withdraw", "0")
    os.makedirs(tmp_path / "sys/kernel/dlm/shared")
    assert shared.check(GFS2, "253:1", root) == () and shared.check(GFS2._replace(filesystem="xfs"), "253:1", root) == ()
    os.rename(tmp_path / "sys/kernel/dlm/shared", tmp_path / "sys/kernel/dlm/other")
    assert codes(shared.check(GFS2, "253:1", root)) == ["cluster.no-lockspace"]
    write(root, "sys/fs/gfs2/c:shared/withdraw", "1")
    found, = shared.check(GFS2, "253:1", root)
    assert (found.code, found.health) == ("cluster.withdrawn", "failed")
    assert shared.check(GFS2, "253:7", root) == ()


# -- volume groups


def report(missing):
    """As LVM 2.03.16 printed it for a group of two, whole and with one of them gone."""
    row = '{"vg_name":"vg_kvm", "vg_missing_pv_count":"%s", "pv_count":"2"}' % missing
    lines = ["  {", '      "report": [', "          {", '              "vg": [', f"                  {row}"]
    lines += ["              ]", "          }", "      ]", "  }", ""]
    return "\n".join(lines)


@pytest.mark.parametrize("output, error, expected", [
    (report("0"), "", []),
    (report("1"), "  WARNING: Couldn't find device with uuid MZt98v-9f7P-D1V3-GVjY-bDnH-wmTe-i0I9ed.\n"
     "  WARNING: VG vg_kvm is missing PV MZt98v-9f7P-D1V3-GVjY-bDnH-wmTe-i0I9ed (last written to /dev/loop1).\n", ["vg.incomplete"]),
    ('{"report": [{"vg": [ ]}]}', '  Volume group "vg_kvm" not found\n  Cannot process volume group vg_kvm\n', ["vg.missing"]),
    ("", "Cannot process volume group", ["vg.unknown"]),
    (report("?"), "", ["vg.unknown"]),
])
def test_volume_groups(output, error, expected):
    assert codes(groups.judge("vg_kvm", output, error)) == expected


def test_a_host_without_lvm(monkeypatch, tmp_path):
    commands = command.Commands()
    monkeypatch.setattr(groups, "VGS", str(tmp_path / "vgs"))
    found, = groups.check(Pool("l", "iscsi", type="logical", vg="vg_kvm"), commands, time.monotonic() + 5)
    commands.close()
    assert found.code == "vg.unknown" and "cannot be run" in found.text
