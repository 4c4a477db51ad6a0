"""One bundle per case: what the pure part makes, and what systemd says of it."""

import pytest

from kvmontap.config import parse
from kvmontap.units import bundle
from kvmontap.units.mounted import Owner
from tests.golden.bundles import CASES, case_path, text
from tests.golden.peers import anchored, verify

OWNER = Owner(64055, 64055)


def made(case):
    with open(case_path(case, "kvmontap.conf"), "rb") as stream:
        loaded = parse(stream.read(), "/etc/kvmontap.conf")
    found = bundle(loaded.config, loaded.problems, OWNER)
    assert found.bugs == ()
    return found


@pytest.mark.parametrize("case", CASES)
def test_bundle(case, request):
    found = made(case)
    got = text(found.files, found.links)
    if request.config.getoption("--regenerate"):
        with open(case_path(case, "expected.txt"), "w", encoding="utf-8") as stream:
            stream.write(got)
    with open(case_path(case, "expected.txt"), encoding="utf-8") as stream:
        assert got == stream.read()


@pytest.mark.parametrize("case", CASES)
def test_systemd_finds_nothing_wrong(case, tmp_path):
    found = made(case)
    anchored(tmp_path, found.files, found.links)
    units = [name for name in found.files if "/" not in name]
    units += [path.rpartition("/")[2] for path in found.links]
    units = [name for name in units if ":" not in name]  # systemd-analyze takes what follows for another name
    assert verify(tmp_path, ["multi-user.target"] + units) == ""


@pytest.mark.parametrize("change, complaint", [
    (("DefaultDependencies=no\n", ""), "ordering cycle"),
    (("Before=remote-fs.target", "Before=network.target"), "ordering cycle"),
    (("TimeoutIdleSec", "TimeoutIdle"), "Unknown key"),
    (("Where=/mnt", "Where=/mount"), "Where= setting doesn't match"),
])
def test_systemd_would_have_found_it(change, complaint, tmp_path):
    """The check above can fail."""
    found = made("mount-modes")
    files = {path: body.replace(*change) for path, body in found.files.items()}
    assert files != found.files
    anchored(tmp_path, files, found.links)
    assert complaint in verify(tmp_path, ["multi-user.target"])
