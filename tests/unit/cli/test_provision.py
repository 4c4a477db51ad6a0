"""`kvmontap provision` as a user runs it."""

import json
import os
import subprocess

import pytest

from kvmontap.config import parse
from kvmontap.host import contents
from kvmontap.provision.doing import CannotDo, carry_out
from kvmontap.provision.formatting import plan
from tests.unit.cli.test_cli import SOUND, conf, kvmontap  # noqa: F401

LUN = "[pools]\n[[lun]]\nprotocol = iscsi\nportals = 127.0.0.1\ndevice = %s\nfilesystem = xfs\n"


@pytest.mark.parametrize("device,said", [
    ("/dev/kvmontap-test-none", "lun: /dev/kvmontap-test-none cannot be judged: there is no such device; attach it first"),
    ("/dev/null", "lun: /dev/null cannot be judged: it is not a block device"),
])
def test_a_device_that_cannot_be_read_is_refused(conf, device, said):  # noqa: F811
    done = kvmontap("provision", "lun", "--config", conf(LUN % device))
    assert done.returncode == 1 and said in done.stderr and "mkfs" not in done.stdout + done.stderr


def test_json(conf):  # noqa: F811
    done = kvmontap("provision", "lun", "--json", "--config", conf(LUN % "/dev/null"))
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"pool": "lun", "state": "refused", "device": "/dev/null", "steps": [],
                                       "reason": "cannot be judged: it is not a block device"}


def test_pools_that_are_not_for_it(conf):  # noqa: F811
    path = conf(SOUND)
    assert "a: its protocol is nfs, and no ontap = names its array" in kvmontap("provision", "a", "--config", path).stderr
    done = kvmontap("provision", "b", "--config", path)
    assert done.returncode == 1 and f"b: there is no such pool in {path}" in done.stderr
    assert kvmontap("provision", "--config", path).returncode == 2


@pytest.fixture
def loop(tmp_path):
    """An empty loop device."""
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 32 << 20)
    made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=True).stdout.strip()
    yield made
    subprocess.run(["losetup", "-d", made], check=True)


@pytest.fixture
def tools(tmp_path):
    """A PATH on which systemctl and kvmontap note that they were called; mkfs is the real one."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("systemctl", "kvmontap"):
        (directory / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n')
        (directory / name).chmod(0o755)
    return {"PATH": f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"}


EXT4 = LUN.replace("xfs", "ext4")
STEPS = ["systemctl daemon-reload", "systemctl start mnt-lun.mount", "kvmontap pool apply"]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a loop device needs root")


def calls(tmp_path):
    return (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []


def type_of(device):
    return subprocess.run(["blkid", "-p", "-o", "value", "-s", "TYPE", device], capture_output=True, text=True, check=False).stdout.strip()


@AS_ROOT
def test_an_empty_device_is_formatted_after_being_told_twice(conf, loop, tools, tmp_path):  # noqa: F811
    path = conf(EXT4 % loop)
    once = kvmontap("provision", "lun", "--do", "--config", path, **tools)
    assert once.returncode == 1 and f"say --yes if {loop} is to be formatted" in once.stderr
    assert type_of(loop) == "" and calls(tmp_path) == []
    done = kvmontap("provision", "lun", "--do", "--yes", "--config", path, **tools)
    assert done.returncode == 0, done.stderr
    assert type_of(loop) == "ext4" and calls(tmp_path) == STEPS
    assert done.stdout.splitlines() == [f"done: mkfs.ext4 -L lun {loop}"] + [f"done: {step}" for step in STEPS]
    # Again: nothing is formatted, what comes after is.
    with open(loop, "rb") as stream:
        before = stream.read(1 << 20)
    again = kvmontap("provision", "lun", "--do", "--json", "--config", path, **tools)
    assert again.returncode == 0 and json.loads(again.stdout)["done"] == STEPS and calls(tmp_path) == STEPS * 2
    with open(loop, "rb") as stream:
        assert stream.read(1 << 20) == before


@AS_ROOT
def test_a_device_that_holds_anything_is_never_formatted(conf, loop, tools, tmp_path):  # noqa: F811
    with open(loop, "r+b") as stream:
        stream.seek(4096)
        stream.write(b"somebody's")
    held = kvmontap("provision", "lun", "--do", "--yes", "--config", conf(EXT4 % loop), **tools)
    assert held.returncode == 1 and "holds something that no library knows" in held.stderr and calls(tmp_path) == []
    with open(loop, "rb") as stream:
        assert stream.read(8192)[4096:4106] == b"somebody's"


@AS_ROOT
def test_a_failure_ends_it_and_is_told(conf, loop, tools, tmp_path):  # noqa: F811
    (tmp_path / "bin/systemctl").write_text('#!/bin/sh\n[ "$1" = daemon-reload ] || { echo "Job failed." >&2; exit 1; }\n')
    failed = kvmontap("provision", "lun", "--do", "--yes", "--config", conf(EXT4 % loop), **tools)
    assert failed.returncode == 1 and "kvmontap: systemctl start mnt-lun.mount failed: Job failed." in failed.stderr
    assert type_of(loop) == "ext4" and calls(tmp_path) == []


@AS_ROOT
def test_what_has_been_written_meanwhile_is_kept(loop):
    """Between the plan and the command somebody else may have formatted the device."""
    pool = parse(EXT4 % loop).config.pools["lun"]

    def look():
        return contents.device(loop, contents.within(20))

    def planned(found):
        return plan(pool, None, found)

    made = planned(look())
    subprocess.run(["mkfs.ext4", "-q", "-L", "theirs", loop], check=True)
    with pytest.raises(CannotDo, match="is not what it was when you agreed"):
        list(carry_out(made, pool, look, planned))
    label = subprocess.run(["blkid", "-p", "-o", "value", "-s", "LABEL", loop], capture_output=True, text=True, check=True).stdout
    assert label.strip() == "theirs"
