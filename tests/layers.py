"""The layers of tests, what each needs of the machine, and how they are run: `python -m tests.layers [LAYER...]`.

A layer that this machine cannot run is skipped with its reason and named in the summary; with CI=true that is a failure.
"""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from typing import Callable, Dict, List, NamedTuple, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Layer(NamedTuple):
    paths: Tuple[str, ...]
    packages: Tuple[str, ...]  # of Debian, installed where missing
    cannot: Callable[[], str]  # why this machine cannot run it, "" when it can
    workers: int = 1  # processes that share the tests


class Result(NamedTuple):
    layer: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reason: str = ""  # why the whole layer did not run


def anywhere() -> str:
    return ""


def needs_root() -> str:
    return "" if os.geteuid() == 0 else "it must be run as root"


def needs_namespaces() -> str:
    if needs_root():
        return needs_root()
    done = subprocess.run(["unshare", "-m", "-p", "-n", "-f", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return "" if done.returncode == 0 else f"namespaces cannot be made here: {done.stderr.decode().strip()}"


MAKE_TREE = ("mmdebstrap", "dpkg-dev", "debhelper", "dh-python", "fakeroot")
# The three families of packages, and what looks into them.
BUILD = ("dpkg-dev", "debhelper", "dh-python", "go-md2man", "python3-pip", "rpm", "rpmlint", "makepkg", "pacman-package-manager",
         "libarchive-tools", "zstd", "fakeroot", "lintian")
LAYERS: Dict[str, Layer] = {
    "unit": Layer(("tests/unit",), ("openssl", "fuse3", "qemu-utils", "btrfs-progs", "e2fsprogs", "autofs", "zsh",
                                   "fish", "prometheus", "graphviz"), anywhere, 2),
    "golden": Layer(("tests/golden",), ("systemd",), anywhere, 2),
    "libvirt": Layer(("tests/libvirt",), MAKE_TREE + ("openssl",), needs_namespaces, 2),
    "boot": Layer(("tests/boot",), MAKE_TREE + ("systemd-container", "dbus"), needs_namespaces),
    "lab": Layer(("tests/lab",), (), needs_root),
    "bench": Layer(("tests/bench",), MAKE_TREE + ("openssl", "systemd"), needs_namespaces),
}


def install(packages: Tuple[str, ...]) -> str:
    """Install what is missing; the reason when that does not work."""
    missing = [name for name in packages if not os.path.exists(f"/var/lib/dpkg/info/{name}.list")]
    if not missing:
        return ""
    if os.geteuid() != 0:
        return f"packages are missing and only root can install them: {' '.join(missing)}"
    print(f"installing {' '.join(missing)}", flush=True)
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "-y", "--no-install-recommends", "install", *missing]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(command[:3])} failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    return ""


def packages_of(name: str) -> Tuple[str, ...]:
    """A layer's packages; the lab names its own, since ./demo needs them too."""
    if name == "lab":
        return tuple(importlib.import_module("tests.lab.runner").RUNNER_PACKAGES)
    return LAYERS[name].packages


def run(name: str) -> Result:
    """Run one layer with pytest in a process of its own."""
    layer = LAYERS[name]
    paths = [path for path in layer.paths if os.path.isdir(os.path.join(ROOT, path))]
    if not paths:
        return Result(name, reason="this tree has no such tests")
    reason = install(packages_of(name)) or layer.cannot()
    if reason:
        return Result(name, reason=reason)
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report.xml")
        shared = ["-n", str(layer.workers)] if layer.workers > 1 else []
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-o", "junit_family=xunit1",
                               "-p", "no:cacheprovider", *shared, *paths], cwd=ROOT, check=False)
        return counted(name, report, done.returncode)._replace(seconds=time.monotonic() - start)


def counted(name: str, report: str, code: int) -> Result:
    """What pytest's report says; a run that broke off or collected nothing counts as one failure."""
    try:
        suite = ElementTree.parse(report).getroot().find("testsuite")
        numbers = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
    except (OSError, ElementTree.ParseError, AttributeError):
        return Result(name, failed=1, reason=f"pytest ended with {code} and left no report")
    failed = numbers["failures"] + numbers["errors"]
    passed = numbers["tests"] - failed - numbers["skipped"]
    if code and not failed:
        failed = 1
    return Result(name, passed, failed, numbers["skipped"])


def main(names: List[str]) -> int:
    """Run the named layers, or all; print what ran; 0 only when nothing failed (and, in CI, nothing was left out)."""
    unknown = [name for name in names if name not in LAYERS]
    if unknown:
        print(f"check: no layer {unknown[0]}; there are: {', '.join(LAYERS)}", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    # A shell that starts us in the background has it ignored, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results = [run(name) for name in names or LAYERS]
    in_ci = os.environ.get("CI") == "true"
    width = min(shutil.get_terminal_size().columns, 120)
    print("\n" + "=" * width)
    for result in results:
        if result.reason and not result.failed:
            print(f"{result.layer:8} {'NOT RUN (a failure in CI)' if in_ci else 'skipped'}: {result.reason}")
        else:
            print(f"{result.layer:8} {result.passed:4} passed {result.failed:3} failed {result.skipped:3} skipped {result.seconds:7.1f} s"
                  + (f"  {result.reason}" if result.reason else ""))
    left_out = [result for result in results if result.reason and not result.failed]
    failed = sum(result.failed for result in results) + (len(left_out) if in_ci else 0)
    print(f"{sum(result.passed for result in results)} passed, {failed} failed, {sum(result.skipped for result in results)} skipped")
    return 1 if failed or not any(result.passed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
