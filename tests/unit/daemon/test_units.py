"""units/kvmontapd.*: as systemd itself reads them."""

import os
import subprocess

from kvmontap.gate import catalog, report

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SERVICE, SOCKET = (os.path.join(ROOT, "units", name) for name in ("kvmontapd.service", "kvmontapd.socket"))


def test_hardened_to_three_or_better():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", SERVICE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "Overall exposure level" in done.stdout, done.stdout + done.stderr


def test_nothing_in_them_is_unknown_to_systemd():
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", SOCKET, SERVICE], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "kvmontapd" in line]
    assert done.returncode == 0 and not ours, done.stderr


def test_nothing_makes_a_mount_look_other_than_it_is():
    """Each of these remounts or hides what lies below / in the service's own namespace."""
    with open(SERVICE, encoding="utf-8") as lines:
        settings = dict(line.strip().split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert settings["ProtectSystem"] == "full" and settings["ProtectHome"] == settings["PrivateTmp"] == "no"
    assert not {"ReadOnlyPaths", "InaccessiblePaths", "TemporaryFileSystem", "RootDirectory", "MountFlags", "PrivateMounts"} & set(settings)


def test_the_catalog_is_made_from_the_reason_codes_and_systemd_reads_it(tmp_path):
    with open(os.path.join(ROOT, "units/kvmontapd.catalog"), encoding="utf-8") as stream:
        assert stream.read() == catalog.text(), "run: python3 -m kvmontap.gate.catalog > units/kvmontapd.catalog"
    place = tmp_path / "usr/lib/systemd/catalog"
    place.mkdir(parents=True)
    (place / "kvmontapd.catalog").write_text(catalog.text(), encoding="utf-8")
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    for action in (["--update-catalog"], ["--list-catalog"]):
        done = subprocess.run(["journalctl", f"--root={tmp_path}", *action], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for identity in (report.REFUSED, report.LET_THROUGH, report.SNAPSHOT, report.FAULT, report.CONFIGURATION):
        assert f"{identity} kvmontap: " in done.stdout
