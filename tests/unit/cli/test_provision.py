"""`kvmontap provision` as a user runs it."""

import json

import pytest

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
    assert "a: its protocol is nfs" in kvmontap("provision", "a", "--config", path).stderr
    done = kvmontap("provision", "b", "--config", path)
    assert done.returncode == 1 and f"b: there is no such pool in {path}" in done.stderr
    assert kvmontap("provision", "--config", path).returncode == 2
