"""The packages of the three families, built twice by packaging/build with the family's own tools, and looked into with them."""

import hashlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {"KVMONTAP_CACHE": "/var/cache/kvmontap", **os.environ, "RPM_TARGETS": "el9:3.9"}
# Where the families put the same things.
PLACES = (
    (r"^/usr/lib/python3\.\d+/site-packages/", "/usr/lib/python3/dist-packages/"),
    (r"^/usr/share/zsh/site-functions/", "/usr/share/zsh/vendor-completions/"),
    (r"^/usr/bin/mount\.", "/usr/sbin/mount."),
    (r"\.gz$", ""),
)
# What one family has and the others have not.
OF_ITS_OWN = re.compile(
    r"^/usr/lib/kvmontap/(vendor/|package-script)|/__pycache__/|^/usr/lib/systemd/system-preset/|^/usr/share/(licenses|lintian|python3/runtime.d)/"
    r"|^/usr/share/doc/kvmontap/(changelog|copyright)|^/\."
)


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """{family: [package of the first build, of the second]}."""
    def build(family, time):
        out = tmp_path_factory.mktemp(f"{family}-{time}")
        done = subprocess.run([ROOT / "packaging/build", family, out], capture_output=True, text=True, check=False, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        (package,) = done.stdout.split()
        return Path(package)

    jobs = [(family, time) for family in ("deb", "rpm", "arch") for time in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda job: build(*job), jobs))
    return {family: [package for (one, _), package in zip(jobs, made) if one == family] for family in ("deb", "rpm", "arch")}


def paths(family, package):
    """What is installed, without directories."""
    if family == "deb":
        return {line.split()[5].lstrip(".") for line in output("dpkg-deb", "-c", package).splitlines() if line[0] != "d"}
    if family == "rpm":
        rows = (line.split(" ", 1) for line in output("rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", package).splitlines())
        return {path for mode, path in rows if mode[0] != "d"}
    return {f"/{line}" for line in output("bsdtar", "-tf", package).splitlines() if not line.endswith("/")}


def alike(found):
    """The paths as Debian has them, without what only one family has."""
    made = set()
    for path in found:
        for pattern, place in PLACES:
            path = re.sub(pattern, place, path)
        if not OF_ITS_OWN.search(path):
            made.add(path)
    return made


def contents(package, into):
    """{path: its hash} of an Arch package; .BUILDINFO names the directory of the build, and .MTREE has the hash of that."""
    into.mkdir()
    subprocess.run(["bsdtar", "-xf", package, "-C", into], check=True)
    files = (path for path in into.rglob("*") if path.is_file() and path.name not in (".BUILDINFO", ".MTREE"))
    return {str(path.relative_to(into)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime) for path in files}


@pytest.mark.parametrize("family", ["deb", "rpm"])
def test_the_same_sources_give_the_same_package(built, family):
    first, second = (hashlib.sha256(package.read_bytes()).hexdigest() for package in built[family])
    assert first == second


def test_the_same_sources_give_the_same_arch_package(built, tmp_path):
    first, second = (contents(package, tmp_path / str(number)) for number, package in enumerate(built["arch"]))
    assert len(first) > 300 and first == second


@pytest.mark.parametrize("family", ["rpm", "arch"])
def test_every_family_installs_the_same(built, family):
    ours, debian = (alike(paths(one, built[one][0])) for one in (family, "deb"))
    assert len(debian) > 150 and (sorted(ours - debian), sorted(debian - ours)) == ([], [])
    assert {"/usr/lib/kvmontap/package-script", "/usr/lib/systemd/system-preset/50-kvmontap.preset"} <= paths(family, built[family][0])


def test_the_rpm_needs_what_the_code_needs_and_offers_nothing_of_the_libraries(built):
    package = built["rpm"][0]
    needs = set(output("rpm", "-qpR", package).splitlines())
    assert {"python(abi) = 3.9", "python3-configobj", "python3-libvirt", "python3-pyudev", "python3-rich", "python3-systemd", "nfs-utils",
            "qemu-img", "ca-certificates"} <= needs  # fmt: skip
    offered = output("rpm", "-qp", "--provides", package)
    assert "bundled(python3-netapp-ontap) = 9.17.1.0" in offered  # the last for Python 3.9
    assert "python3dist(" not in offered.replace("bundled", "") and "kvmontap = " in offered


def test_the_rpm_owns_what_python_will_compile(built):
    found = paths("rpm", built["rpm"][0])
    modules = {path for path in found if path.endswith(".py")}
    compiled = {re.sub(r"([^/]+)\.py$", r"__pycache__/\1.cpython-39.pyc", path) for path in modules}
    assert len(modules) > 300 and sorted(compiled - found) == []


def test_rpmlint_finds_nothing(built):
    command = ["rpmlint", "-r", ROOT / "packaging/rpm/rpmlintrc", built["rpm"][0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert " 0 errors, 0 warnings" in done.stdout, done.stdout + done.stderr


def test_lintian_finds_nothing(built):
    command = ["lintian", "--fail-on", "error,warning", "--allow-root", built["deb"][0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pacman_reads_the_arch_package(built):
    told = output("pacman", "-Qip", built["arch"][0])
    needs = told.split("Depends On", 1)[1].split("Optional Deps", 1)[0].split()
    assert {"python>=3.14", "python<3.15", "python-configobj", "libvirt-python", "nfs-utils"} <= set(needs)
    assert re.search(r"^Install Script +: Yes", told, re.MULTILINE)


@pytest.mark.parametrize("family", ["rpm", "arch"])
def test_no_script_stops_a_mount_a_vm_or_libvirt(built, family):
    package = built[family][0]
    scripts = output("rpm", "-qp", "--scripts", package) if family == "rpm" else output("bsdtar", "-xOf", package, ".INSTALL")
    assert "package-script installed first" in scripts and "package-script removing" in scripts
    for line in (scripts + (ROOT / "packaging/bin/package-script").read_text()).splitlines():
        assert not re.search(r"umount|\.mount\b|virsh|(stop|restart|disable)\b.*virt\w*d\b", line.partition("#")[0]), line
