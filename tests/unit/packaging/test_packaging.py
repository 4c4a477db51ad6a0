"""What the maintainer scripts, the units and the list of bundled libraries must agree on."""

import configparser
import hashlib
import re
import runpy
import subprocess
import zipfile
from pathlib import Path

import pytest

import kvmontap

ROOT = Path(__file__).resolve().parents[3]
DEBIAN = ROOT / "packaging" / "debian"
WHEELS = runpy.run_path(str(ROOT / "packaging" / "wheels"), run_name="wheels")


def installable_units():
    """Names of the units that `systemctl enable` would link somewhere."""
    names = []
    for unit in sorted((ROOT / "units").glob("*.*")):
        if unit.is_file() and unit.suffix != ".catalog":
            parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
            parser.read(unit)
            if parser.has_section("Install"):
                names.append(unit.name)
    return names


def test_the_scripts_enable_every_unit_that_can_be_and_purge_forgets_it():
    units = installable_units()
    assert len(units) >= 2
    enabled = re.search(r'^enabled="([^"]*)"$', (DEBIAN / "kvmontap.postinst").read_text(), re.MULTILINE).group(1).split()
    purged = re.search(r"deb-systemd-helper purge (.*) >", (DEBIAN / "kvmontap.postrm").read_text()).group(1).split()
    assert sorted(enabled) == sorted(purged) == units


def test_no_script_stops_a_mount_or_libvirt():
    for name in ("postinst", "prerm", "postrm"):
        for line in (DEBIAN / f"kvmontap.{name}").read_text().splitlines():
            assert not re.search(r"umount|\.mount\b|virsh|(stop|restart)\b.*(virt\w*d)\b", line.partition("#")[0]), line


SCRIPTS = ("kvmontap.postinst", "kvmontap.prerm", "kvmontap.postrm", "../build", "../install", "../bin/package-script",
           "../arch/kvmontap.install")  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_plain_sh(script):
    done = subprocess.run(["dash", "-n", DEBIAN / script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_changelog_has_the_version_of_the_program():
    assert (DEBIAN / "changelog").read_text().startswith(f"kvmontap ({kvmontap.__version__}) ")


def test_each_bundled_library_is_pinned_and_has_its_terms_told():
    pins = WHEELS["pins"]((ROOT / "packaging" / "vendor.txt").read_text())
    names = {line.split("==")[0].replace("-", "_") for line in pins.values()}
    older = WHEELS["pins"]((ROOT / "packaging" / "vendor-3.9.txt").read_text(), "vendor-3.9.txt")
    assert {line.split("==")[0].replace("-", "_") for line in older.values()} <= names
    assert {"netapp_ontap", "requests", "urllib3", "marshmallow"} <= names
    told = set(re.findall(r"vendor/(\w+)\*", (DEBIAN / "copyright").read_text()))
    assert names == told


def test_a_pin_without_a_hash_is_refused():
    with pytest.raises(SystemExit, match="requests==2.0"):
        WHEELS["pins"]("# comment\n\nrequests==2.0\n")


def test_a_wheel_is_unpacked_without_what_no_program_reads(tmp_path):
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("netapp_ontap/__init__.py", "netapp_ontap/docs/index.html", "netapp_ontap/README.md", "netapp_ontap/py.typed",
                     "x-1.dist-info/RECORD", "x-1.dist-info/licenses/LICENSE", "certifi/cacert.pem"):  # fmt: skip
            archive.writestr(name, "text")
        archive.writestr("x-1.dist-info/METADATA", "Name: x\nVersion: 1\n\nA long story.\n")
    WHEELS["unpack"](wheel, tmp_path / "vendor")
    found = {str(path.relative_to(tmp_path / "vendor")) for path in (tmp_path / "vendor").rglob("*") if path.is_file()}
    assert found == {"netapp_ontap/__init__.py", "x-1.dist-info/METADATA", "x-1.dist-info/licenses/LICENSE", "certifi/cacert.pem"}
    assert (tmp_path / "vendor/x-1.dist-info/METADATA").read_text() == "Name: x\nVersion: 1\n"


def test_a_wheel_with_other_contents_does_not_count_as_there(tmp_path):
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"good")
    assert WHEELS["cached"](tmp_path) == {hashlib.sha256(b"good").hexdigest(): tmp_path / "a-1-py3-none-any.whl"}


@pytest.mark.parametrize("arguments", [[], ["deb"], ["tgz", "/tmp"], ["deb", "a", "b", "c"]])
def test_build_tells_its_usage(arguments):
    done = subprocess.run([ROOT / "packaging" / "build", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("usage: packaging/build deb|rpm|arch OUTDIR")
