"""Images of block pools are flushed before the snapshot is asked for: the real sync, by a script that notes when it was called."""

import os

import pytest

from kvmontap import command
from kvmontap.array import look
from kvmontap.model import Domain, Snapshots
from kvmontap.snapshots import Request, Snapshotter
from kvmontap.snapshots import flush as module
from kvmontap.snapshots.flush import Flush
from tests.unit.array.over_https import soon

VM = Domain("vm1", "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab", ())


@pytest.fixture
def commands():
    made = command.Commands(fresh=0.0)
    yield made
    made.close()


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """What sync was called with."""
    script, log = tmp_path / "sync", tmp_path / "log"
    script.write_text(f"#!/bin/sh\necho \"$@\" >> {log}\nexec {module.SYNC} \"$@\"\n")
    os.chmod(script, 0o755)
    monkeypatch.setattr(module, "SYNC", str(script))
    return lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def started(client, pool, tmp_path, commands):
    """A start of a VM with these images on a block pool; its outcome."""
    ref = look(client, pool, soon()).ref

    def start(*images, seconds=10.0):
        block = pool._replace(protocol="iscsi", filesystem="ocfs2", target=str(tmp_path), snapshots=Snapshots())
        request = Request(client, ref, block, VM, "start", "kvm01", images)
        outcome, = Snapshotter(flush=Flush(commands)).take([request], soon(seconds))
        return outcome

    return start


def test_every_image_before_the_snapshot(started, noted, tmp_path, pocket):
    images = [str(tmp_path / name) for name in ("a.img", "-b two.img")]
    for one in images:
        with open(one, "wb") as stream:
            stream.write(b"A" * 4096)
    for count in (1, 2):
        assert started(*images).remark is None
        assert noted() == [f"-- {images[0]} {images[1]}"] * count  # no answer of an earlier flush counts
    assert len(pocket.volume("kvmnfs01").snapshots) == 2


def test_nothing_where_no_image_is_known(started, noted):
    assert started().finding is None and noted() == []


def test_an_image_that_is_gone_is_a_remark(started, tmp_path):
    outcome = started(str(tmp_path / "none.img"))
    assert outcome.name and outcome.remark.code == "snapshot.not-flushed" and "none.img" in outcome.remark.text


def test_a_device_that_does_not_answer_costs_half_of_the_time(started, noted, tmp_path):
    (tmp_path / "sync").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "a.img").write_bytes(b"A")
    outcome = started(str(tmp_path / "a.img"), seconds=4.0)
    assert outcome.name and "still writing after" in outcome.remark.text
