"""Sessions, controllers, maps and paths from /sys as a real host had it: one target and one subsystem on two portals each."""

import os
import shutil

import pytest

from kvmontap.host import block, san
from kvmontap.host.mountinfo import Mount
from kvmontap.model import Pool
from tests.unit.host.recorded_sys import plant

RECORDING = os.path.join(os.path.dirname(__file__), "recorded", "iscsi-nvme.txt")
IQN = "iqn.2003-01.org.lab:array"
LUN0, LUN1 = "360014050000000000000000000000a00", "360014050000000000000000000000a01"
UUID = "6c1e5a0e-0000-4000-8000-0000000000a1"
PORTALS = ("10.9.1.10", "10.9.2.10")
ISCSI = Pool("i", "iscsi", "/mnt/i", portals=PORTALS, wwid=LUN0, filesystem="ocfs2", cluster="c")
NVME = Pool("n", "nvme-tcp", "/mnt/n", portals=PORTALS, namespace=UUID, filesystem="ocfs2", cluster="c")
SESSION = "sys/devices/platform/host1/session2"
CONTROLLER = "sys/devices/virtual/nvme-fabrics/ctl/nvme1"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded")
    plant(RECORDING, root)
    return root


@pytest.fixture
def root(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "root", symlinks=True)
    return str(tmp_path / "root")


def write(root, path, text):
    with open(os.path.join(root, path), "w", encoding="utf-8") as stream:
        stream.write(text + "\n")


def codes(findings):
    return [one.code for one in findings]


def test_sessions_by_portal(root):
    assert san.sessions(root) == (
        san.Session("1", IQN, "10.9.1.10", 3260, "LOGGED_IN", ("sda", "sdb")),
        san.Session("2", IQN, "10.9.2.10", 3260, "LOGGED_IN", ("sdc", "sdd")),
    )
    assert san.luns(["sda", "sdb", "sdc"], root) == (LUN0, LUN1)
    assert san.disks_of(LUN1, root) == ("sdb", "sdd")


def test_controllers_by_portal(root):
    nqn = "nqn.2020-01.org.lab:array"
    assert san.controllers(root) == (
        san.Controller("nvme0", "tcp", nqn, "10.9.1.10", "4420", "live"),
        san.Controller("nvme1", "tcp", nqn, "10.9.2.10", "4420", "live"),
    )
    assert san.namespaces([nqn], root) == ("nvme0n1",) and san.namespaces(["nqn.other"], root) == ()
    assert san.namespace_uuids(root) == (UUID,)


def test_maps_and_what_is_built_on_disks(root):
    device = san.multipath(LUN0, root)
    assert (device.name, device.number) == ("dm-1", "253:1")
    assert device.paths == (san.Path("sda", "10.9.1.10:3260", True, "running"), san.Path("sdc", "10.9.2.10:3260", True, "running"))
    assert san.maps_of("sda", root) == (("dm-1", f"mpath-{LUN0}"),)
    assert set(san.numbers("sda", root)) == {"8:0", "253:1"}
    assert san.multipath(LUN0[:-1] + "9", root) is None
    assert san.mapped(f"part1-mpath-{LUN0}", root) == ""


def test_whose_device_is_mounted(root):
    assert block.device_number(ISCSI, root) == "253:1"
    assert block.device_number(NVME, root) == "259:2"
    assert block.check(ISCSI, Mount("/mnt/i", "/dev/mapper/x", "ocfs2", device="253:1"), root) == ()
    (found,) = block.check(ISCSI, Mount("/mnt/i", "/dev/mapper/y", "ocfs2", device="253:0"), root)
    assert found.code == "mount.wrong-source" and "/dev/mapper/y" in found.text and LUN0 in found.text
    (found,) = block.check(ISCSI, Mount("/mnt/i", "/dev/mapper/x", "ocfs2", root="/inner", device="253:1"), root)
    assert found.code == "mount.wrong-source"


def test_all_paths_are_up(root):
    assert block.paths(ISCSI, root) == () and block.paths(NVME, root) == ()
    assert block.paths(ISCSI._replace(wwid="", device="/dev/x"), root) == ()


def test_a_session_that_failed(root):
    write(root, f"{SESSION}/iscsi_session/session2/state", "FAILED")
    (found,) = block.paths(ISCSI, root)
    assert (found.code, found.health) == ("path.missing", "degraded")
    assert found.text == f"1 of 2 paths to {LUN0} are up, missing: 10.9.2.10"
    assert "systemctl reload kvmontap-iscsi@i.service" in found.fix
    write(root, f"{SESSION.replace('host1', 'host0').replace('session2', 'session1')}/target0:0:0/0:0:0:0/state", "transport-offline")
    (found,) = block.paths(ISCSI, root)
    assert (found.code, found.health) == ("path.none", "failed")
    assert "10.9.1.10:3260 transport-offline" in found.text and "10.9.2.10:3260 session failed" in found.text


def test_a_session_that_was_never_there(root):
    """The target swallowed the login: there is no path that could be down."""
    os.unlink(os.path.join(root, "sys/class/iscsi_session/session2"))
    os.unlink(os.path.join(root, "sys/devices/virtual/block/dm-1/slaves/sdc"))
    assert codes(block.paths(ISCSI, root)) == ["path.missing"]
    os.unlink(os.path.join(root, "sys/block/dm-1"))
    assert codes(block.paths(ISCSI, root)) == ["path.none"]


@pytest.mark.parametrize("path, text", [(f"{CONTROLLER}/state", "connecting"), (f"{CONTROLLER}/nvme0c1n1/ana_state", "inaccessible")])
def test_an_nvme_path_that_is_down(path, text, root):
    write(root, path, text)
    (found,) = block.paths(NVME, root)
    assert found.code == "path.missing" and found.text.endswith("missing: 10.9.2.10")
    assert codes(block.paths(NVME._replace(portals=("10.9.1.10:8009", "10.9.2.10:8009")), root)) == ["path.missing"]
    write(root, "sys/devices/virtual/nvme-fabrics/ctl/nvme0/state", "connecting")
    assert codes(block.paths(NVME, root)) == ["path.none"]


def test_a_portal_by_name_counts_for_one_path(root):
    named = ISCSI._replace(portals=("array-a", "array-b"))
    assert block.paths(named, root) == ()
    write(root, f"{SESSION}/iscsi_session/session2/state", "FAILED")
    (found,) = block.paths(named, root)
    assert found.text.startswith("1 of 2 paths")


def test_fc_has_disks_and_no_portals(root):
    """Made by hand from the recording, for want of an adapter: the same disks without a session."""
    for name in os.listdir(os.path.join(root, "sys/class/iscsi_session")):
        os.unlink(os.path.join(root, "sys/class/iscsi_session", name))
    fabric = Pool("f", "fc", "/mnt/f", wwid=LUN0, filesystem="xfs")
    assert block.paths(fabric, root) == ()
    write(root, f"{SESSION}/target1:0:0/1:0:0:0/state", "offline")
    (found,) = block.paths(fabric, root)
    assert found.text == f"1 of 2 paths to {LUN0} are up, missing: sdc offline"


def test_nothing_there_is_nothing_found(tmp_path):
    assert san.sessions(str(tmp_path)) == () == san.controllers(str(tmp_path)) == san.namespaces(["x"], str(tmp_path))
    assert san.multipath(LUN0, str(tmp_path)) is None and san.namespace(UUID, str(tmp_path)) is None
    assert codes(block.paths(ISCSI, str(tmp_path))) == ["path.none"]


@pytest.mark.parametrize("text, host, port", [("10.0.0.1", "10.0.0.1", 3260), ("10.0.0.1:3261", "10.0.0.1", 3261),
                                              ("[fd00:0::1]", "fd00::1", 3260), ("[fd00::1]:8009", "fd00::1", 8009), ("name:1", "name", 1)])
def test_portals_as_people_write_them(text, host, port):
    assert san.split_endpoint(text, 3260) == (host, port)
    assert san.split_endpoint(san.endpoint(host, port), 0) == (host, port)
