"""`kvmontap status` as a user runs it: against an array over HTTPS, in a pipe and on a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.pocket_array import PocketArray
from tests.unit.array.over_https import secret

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
DESCRIPTION = {
    "svms": [{"name": "svm_kvm"}],
    "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm"}],
    "lifs": [{"name": "lif_a", "svm": "svm_kvm", "address": "127.0.0.1"}],
    "relationships": [{"uuid": "b597650e-1112-11ee-a4a2-0050569c9f4e", "state": "snapmirrored", "healthy": True, "lag_time": "PT3H",
                       "source": {"path": "svm_kvm:kvmnfs01"}, "destination": {"path": "svm_dr:kvmnfs01"}}],
    "users": [{"name": "kvmontap", "password": "pw-1-status", "role": "svm"}],
    "roles": {"svm": [{"path": path, "access": "readonly"} for path in (
        "/api/storage/volumes", "/api/svm/svms", "/api/network/ip/interfaces", "/api/snapmirror/relationships")]},
}
CONF = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = {password}
ca = {ca}
[pools]
[[a]]
protocol = nfs
server = 127.0.0.1
export = /kvmnfs01
target = /mnt/kvmontap-test-never-mounted
ontap = prod
[gate]
timeout = 20
[snapshots]
rpo = 1h
"""


@pytest.fixture
def conf(authority, judge, tmp_path):
    with PocketArray(DESCRIPTION, directory=authority, observers=(judge,) if judge else ()) as array:
        path = tmp_path / "k.conf"
        path.write_text(CONF.format(address=array.host, password=secret(tmp_path / "password", "pw-1-status"), ca=array.ca))
        yield str(path)


def command(*arguments):
    return [sys.executable, "-m", "kvmontap", "status", *arguments]


def test_what_stands_behind_is_told_and_what_could_not_be_asked_too(conf):
    done = subprocess.run(command("--json", "--config", conf), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1 and done.stderr == ""
    found, = json.loads(done.stdout)
    assert set(found) == {"pool", "protocol", "target", "health", "findings", "skipped"}
    assert [(one["code"], one["health"]) for one in found["findings"]] == [("mount.missing", "failed"), ("snapmirror.lag", "degraded")]
    assert [line.partition(":")[0] for line in found["skipped"]] == ["aggregates", "mediators", "metrocluster"]
    done = subprocess.run(command("--config", conf), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    head, first, second, *below = done.stdout.splitlines()
    assert first.split()[:4] == ["a", "nfs", "/mnt/kvmontap-test-never-mounted", "failed"]
    assert second.startswith(" ") and "is 3 h behind, rpo allows 1 h [snapmirror.lag]" in second
    assert below[0] == "not known: aggregates: array prod does not let kvmontap read aggregates"
    assert "\x1b" not in done.stdout


def until(descriptor, word, seconds=60):
    """What comes from a terminal until the word is in it."""
    seen, end = b"", time.monotonic() + seconds
    while word not in seen:
        assert select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0], seen
        seen += os.read(descriptor, 1 << 16)
    return seen


def test_watch_on_a_terminal(conf):
    """Drawn on a screen of its own, in colour, again and again; Ctrl-C ends it with the last round's status."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    watching = subprocess.Popen(command("--watch", "1", "--config", conf), cwd=ROOT, env=environment,
                                stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        seen = until(ours, b"mount.missing")
        assert b"\x1b[?1049h" in seen and b"\x1b[1;31mfailed" in seen
        until(ours, b"mount.missing")
        watching.send_signal(signal.SIGINT)
        until(ours, b"\x1b[?1049l")
        assert watching.wait(60) == 1
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)


def test_watch_in_a_pipe_gives_a_line_a_round(conf):
    watching = subprocess.Popen(command("--watch", "1", "--json", "--config", conf), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with watching:
        rounds = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
    assert watching.returncode == 1
    assert [each[0]["health"] for each in rounds] == ["failed"] * 3
    assert rounds[0][0]["findings"][0]["since"] is None and rounds[2][0]["findings"][0]["since"] <= time.time()


def test_watch_of_a_pool_that_is_not_there(conf):
    done = subprocess.run(command("--watch", "1", "--config", conf, "b"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "has no pool b; there are: a" in done.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "1e9"])
def test_watch_wants_seconds(seconds):
    done = subprocess.run(command("--watch", seconds), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "is no number of seconds from 1 to 3600" in done.stderr
