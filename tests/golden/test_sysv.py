"""Debian 12 has OCFS2's services as SysV scripts: the units that systemd makes of them are in our order, and there is no cycle."""

import os
import subprocess

import pytest

from kvmontap.config import parse
from kvmontap.units import bundle
from tests.golden.bundles import case_path
from tests.golden.peers import anchored, verify

GENERATOR = next((path for path in ("/usr/lib/systemd/system-generators/systemd-sysv-generator",
                                    "/lib/systemd/system-generators/systemd-sysv-generator") if os.path.exists(path)), "")
# The headers of /etc/init.d in ocfs2-tools 1.8.7.
SCRIPTS = {
    "o2cb": "# Required-Start: $network $local_fs\n# Required-Stop: $local_fs $network\n",
    "ocfs2": "# Required-Start: $network $local_fs o2cb\n# Required-Stop: $network $local_fs o2cb\n",
}


@pytest.fixture
def units(tmp_path):
    """A unit directory with the bundle of the case "block" and the generated services, enabled as the packages enable them."""
    assert GENERATOR, "systemd has no generator for SysV scripts here"
    scripts, made = tmp_path / "init.d", tmp_path / "made"
    (tmp_path / "rc" / "rc2.d").mkdir(parents=True)
    scripts.mkdir()
    made.mkdir()
    for name, header in SCRIPTS.items():
        script = scripts / name
        script.write_text(f"#!/bin/sh\n### BEGIN INIT INFO\n# Provides: {name}\n{header}# Default-Start: 2 3 4 5\n# Default-Stop:\n"
                          f"# Short-Description: {name}\n### END INIT INFO\n")
        script.chmod(0o755)
        (tmp_path / "rc" / "rc2.d" / f"S01{name}").symlink_to(script)
    subprocess.run([GENERATOR, made, made, made], check=True, capture_output=True,
                   env={"PATH": os.environ["PATH"], "SYSTEMD_SYSVINIT_PATH": str(scripts), "SYSTEMD_SYSVRCND_PATH": str(tmp_path / "rc"),
                        "SYSTEMD_LOG_TARGET": "console"})
    with open(case_path("block", "kvmontap.conf"), "rb") as stream:
        loaded = parse(stream.read(), "/etc/kvmontap.conf")
    found = bundle(loaded.config, loaded.problems)
    place = tmp_path / "units"
    place.mkdir()
    anchored(place, found.files, found.links)
    for path in made.rglob("*"):
        where = place / path.relative_to(made)
        if path.is_dir():
            where.mkdir(exist_ok=True)
        elif path.is_symlink():
            where.symlink_to(os.readlink(path))
        else:
            where.write_text(path.read_text())
    return place


def test_our_units_are_ordered_by_the_names_that_debian_12_has(units):
    assert "After=o2cb.service" in (units / "ocfs2.service").read_text()
    assert (units / "multi-user.target.wants" / "ocfs2.service").exists()
    mounts = [path.read_text() for path in units.glob("*.mount") if "Type=ocfs2" in path.read_text()]
    assert mounts and all("ocfs2.service" in text.partition("After=")[2].splitlines()[0] for text in mounts)
    cluster = (units / "kvmontap-o2cb@.service").read_text()
    assert "o2cb.service" in cluster[cluster.index("\nAfter="):].splitlines()[1]
    names = [path.name for path in units.glob("*.mount")]
    assert verify(units, ["multi-user.target", "o2cb.service", "ocfs2.service", *names]) == ""
