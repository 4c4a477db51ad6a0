"""A Debian tree with libvirt and QEMU, made once and kept: ${KVMONTAP_CACHE:-/var/cache/kvmontap}/libvirt/KEY."""

import fcntl
import hashlib
import os
import runpy
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SUITE = os.environ.get("KVMONTAP_LIBVIRT_SUITE", "trixie")
PACKAGES = (
    "libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-x86", "qemu-utils", "seabios",
    "python3", "python3-systemd", "python3-configobj", "python3-libvirt", "python3-pyudev",
    "procps", "ca-certificates",
)  # fmt: skip
# Storage pools are a package of their own since 13.
MORE = {"trixie": ("libvirt-daemon-driver-storage",)}
LEAVE_OUT = ("doc", "man", "locale", "info")


def cache() -> Path:
    """The directory that all trees share."""
    found = Path(os.environ.get("KVMONTAP_CACHE", "/var/cache/kvmontap")) / "libvirt"
    found.mkdir(parents=True, exist_ok=True)
    return found


def made() -> Path:
    """The tree, as a directory that must not be written to; made first where it is not there (less than a minute)."""
    packages = PACKAGES + MORE.get(SUITE, ())
    key = hashlib.sha256(repr((SUITE, packages, LEAVE_OUT, 1)).encode()).hexdigest()[:16]
    tree = cache() / f"{SUITE}-{key}"
    with open(cache() / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            scratch = cache() / f"new-{key}"
            shutil.rmtree(scratch, ignore_errors=True)
            _bootstrap(scratch, packages)
            scratch.rename(tree)
    return tree


def _bootstrap(target: Path, packages: tuple) -> None:
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEAVE_OUT]
    subprocess.run(
        ["nice", "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=" + ",".join(packages),
         "--aptopt=Apt::Install-Recommends false", "--aptopt=Acquire::Languages none", "--dpkgopt=force-unsafe-io",
         *options, SUITE, str(target)],
        check=True, stdin=subprocess.DEVNULL,
        # A configuration of the machine's own apt is none of the tree's business.
        env={key: value for key, value in os.environ.items() if key != "APT_CONFIG"},
    )  # fmt: skip


def vendor() -> Path:
    """The bundled libraries as the package has them."""
    made_of = b"".join((ROOT / "packaging" / name).read_bytes() for name in ("vendor.txt", "wheels", "trim"))
    said = runpy.run_path(str(ROOT / "packaging/trim"))["words"]()  # which of the client's modules stay depends on them
    wanted = cache() / ("vendor-" + hashlib.sha256(made_of + repr(sorted(said)).encode()).hexdigest()[:16])
    with open(cache() / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            scratch = cache() / "new-vendor"
            shutil.rmtree(scratch, ignore_errors=True)
            subprocess.run([ROOT / "packaging/wheels", scratch], check=True, stdin=subprocess.DEVNULL)
            scratch.rename(wanted)
    return wanted
