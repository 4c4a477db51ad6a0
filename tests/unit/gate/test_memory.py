"""kvmontap.gate.memory: who is arriving, and since when something is wrong."""

import os
import subprocess
import sys
import threading
import time

import pytest

from kvmontap.gate import memory
from kvmontap.gate.memory import FRESH, Arrivals, FirstSeen
from kvmontap.reasons import finding

UUID = "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab"
MISSING = finding("mount.missing", target="/mnt/p", unit="mnt-p.mount")
FULL = finding("inodes.full", target="/mnt/p")


def test_an_arrival_is_claimed_once_by_whichever_process(tmp_path):
    arrivals = Arrivals(str(tmp_path / "arrivals"))
    assert not arrivals.claim(UUID)
    arrivals.note(UUID)
    code = "import sys; from kvmontap.gate.memory import Arrivals; sys.exit(Arrivals(sys.argv[1]).claim(sys.argv[2]))"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "arrivals"), UUID], check=False).returncode == 1
    assert not arrivals.claim(UUID)


def test_of_many_claims_at_once_one_wins(tmp_path):
    arrivals = Arrivals(str(tmp_path))
    arrivals.note(UUID)
    won = []
    threads = [threading.Thread(target=lambda: won.append(arrivals.claim(UUID))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 15 + [True]


@pytest.mark.parametrize("age", [FRESH + 1, -5.0])
def test_an_old_mark_or_one_of_another_boot_counts_for_nothing_and_goes(tmp_path, age):
    (tmp_path / UUID).write_text(repr(time.monotonic() - age))
    arrivals = Arrivals(str(tmp_path))
    arrivals.note(UUID.replace("6", "7"))
    assert os.listdir(tmp_path) == [UUID.replace("6", "7")]
    (tmp_path / UUID).write_text(repr(time.monotonic() - age))
    assert not arrivals.claim(UUID) and not (tmp_path / UUID).exists()


@pytest.mark.parametrize("text", ["", "x", "nan", "1e999"])
def test_a_mark_that_cannot_be_read_counts_for_nothing(tmp_path, text):
    (tmp_path / UUID).write_text(text)
    assert not Arrivals(str(tmp_path)).claim(UUID)


@pytest.mark.parametrize("uuid", ["", "../../etc/passwd", "/" + UUID, UUID.upper(), UUID + "\n"])
def test_only_a_uuid_names_a_mark(tmp_path, uuid):
    arrivals = Arrivals(str(tmp_path / "in"))
    arrivals.note(uuid)
    assert not (tmp_path / "in").exists() and not arrivals.claim(uuid)


def test_a_place_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    arrivals = Arrivals(str(tmp_path / "file"))
    arrivals.note(UUID)
    assert not arrivals.claim(UUID)


def test_since_when():
    first_seen = FirstSeen()
    assert [one.since for one in first_seen.fill("p", [MISSING], 100.0)] == [None]
    assert [one.since for one in first_seen.fill("p", [MISSING, FULL], 200.0)] == [100.0, None]
    assert [one.since for one in first_seen.fill("q", [MISSING], 250.0)] == [None]
    assert [one.since for one in first_seen.fill("p", [FULL], 300.0)] == [200.0]
    # It was gone in between: it is new again.
    assert [one.since for one in first_seen.fill("p", [MISSING], 400.0)] == [None]
    assert [one.since for one in first_seen.fill("p", [MISSING._replace(since=7.0)], 500.0)] == [7.0]


@pytest.fixture
def refusals(tmp_path):
    (tmp_path / "libvirtd.pid").write_text(str(os.getpid()))
    return memory.Refusals(str(tmp_path / "run"), str(tmp_path))


U1, U2 = "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab", "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ac"


def test_refusals_of_autostart_are_kept_in_their_order(refusals, tmp_path):
    refusals.note(U2, "zwei, über", ["p1", "p2"])
    refusals.note(U1, "one", ["p1"])
    again = memory.Refusals(str(tmp_path / "run"), str(tmp_path))
    assert [one[:3] for one in again.noted()] == [(U2, "zwei, über", ("p1", "p2")), (U1, "one", ("p1",))]
    again.keep(again.noted()[0]._replace(others=2))
    assert [(one.uuid, one.others) for one in refusals.noted()] == [(U2, 2), (U1, 0)]
    refusals.forget(U2)
    assert [one.uuid for one in again.noted()] == [U1]


def test_a_refusal_of_a_user_is_not_noted(refusals, tmp_path):
    daemon = refusals.running()
    refusals.greet(daemon)
    refusals.note(U1, "one", ["p1"])
    assert refusals.noted() == ()
    # Another life of libvirt: it autostarts before it lets anybody in.
    (tmp_path / "libvirtd.pid").unlink()
    assert refusals.running() == ""
    refusals.note(U1, "one", ["p1"])
    assert refusals.noted() == ()
    (tmp_path / "virtqemud.pid").write_text(str(os.getpid()))
    assert refusals.running() != daemon
    refusals.note(U1, "one", ["p1"])
    assert len(refusals.noted()) == 1


def test_nothing_odd_is_believed(refusals, tmp_path):
    refusals.note("../../etc", "x", [])
    refusals.forget("../greeted")
    (tmp_path / "run/refused").mkdir(parents=True)
    (tmp_path / "run/refused/junk").write_bytes(b"\xff\0")
    (tmp_path / "libvirtd.pid").write_text("0x17")
    assert refusals.noted() == () and refusals.running() == ""
    (tmp_path / "libvirtd.pid").write_text("4194304")  # beyond any process
    assert refusals.running() == ""
