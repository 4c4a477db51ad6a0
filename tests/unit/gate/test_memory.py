"""kvmontap.gate.memory: who is arriving, and since when something is wrong."""

import os
import subprocess
import sys
import threading
import time

import pytest

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
