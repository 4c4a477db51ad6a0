"""What is given up at shutdown: found by /sys as a real host had it.  That it frees what hangs is seen in tests/lab."""

import os

import pytest

from kvmontap.attach import __main__ as main
from kvmontap.attach import lost
from tests.unit.host.recorded_sys import plant
from tests.unit.host.test_san import CONTROLLER, ISCSI, NVME, RECORDING, SESSION, write


@pytest.fixture
def root(tmp_path):
    plant(RECORDING, tmp_path)
    return str(tmp_path)


def test_a_map_and_a_namespace_with_a_path_are_not_lost(root):
    assert lost.look(ISCSI, root) == lost.Lost("dm-1", (), True)
    assert lost.look(NVME, root) == lost.Lost("", ("nvme0", "nvme1"), True)


def test_without_any_path_they_are(root):
    for session in (SESSION, SESSION.replace("host1", "host0").replace("session2", "session1")):
        assert lost.look(ISCSI, root).up
        name = os.path.basename(session)
        write(root, f"{session}/iscsi_session/{name}/state", "FAILED")

    for name in ("nvme0", "nvme1"):
        assert lost.look(NVME, root).up
        write(root, f"{CONTROLLER[:-1]}{name[-1]}/state", "connecting")
    assert lost.look(NVME, root) == lost.Lost("", ("nvme0", "nvme1"), False)


def test_what_is_not_there_is_not_looked_at(tmp_path):
    assert lost.look(ISCSI, str(tmp_path)) is None and lost.look(NVME, str(tmp_path)) is None


def test_the_unit_asks_for_every_pool_that_is_or_was_configured(monkeypatch, tmp_path):
    lun = "[pools]\n[[%s]]\nprotocol = iscsi\nportals = 10.0.0.1\nfilesystem = xfs\nwwid = 3600a098038314c57312b58387638574%s\n"
    (tmp_path / "kvmontap.conf").write_text(lun % ("now", "1"))
    (tmp_path / "applied.conf").write_text(lun % ("before", "2"))
    monkeypatch.setenv("KVMONTAP_CONF", str(tmp_path / "kvmontap.conf"))
    monkeypatch.setenv("KVMONTAP_APPLIED", str(tmp_path / "applied.conf"))
    asked = []
    monkeypatch.setattr(lost, "give_up", asked.extend)
    main.stop("lost", "all")
    assert [pool.name for pool in asked] == ["before", "now"]


def test_nothing_is_given_up_on_a_host_that_runs(monkeypatch):
    """This one does: nobody would run the tests otherwise."""
    monkeypatch.setattr(lost, "_judge", lambda pool: pytest.fail("looked at a device"))
    assert not lost.stopping()
    lost.give_up([ISCSI, NVME])
