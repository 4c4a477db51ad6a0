"""What the lab needs from the machine it runs on, and where it keeps what is slow to make.

Standard library only: `./check` and `./demo` import it before anything is installed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: Debian package -> a program of it that the lab runs.
RUNNER_PACKAGES = {
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "mmdebstrap": "mmdebstrap",
    "e2fsprogs": "mke2fs",
    "kmod": "depmod",
    "busybox-static": "busybox",
    "cpio": "cpio",
    "xz-utils": "xz",
    "openssh-client": "ssh",
    "util-linux": "setpriv",
    "systemd": "systemctl",
    "debian-archive-keyring": "",
}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing_packages() -> list[str]:
    """Debian packages to install before the lab can run; empty when all is there."""
    missing = []
    for package, program in RUNNER_PACKAGES.items():
        there = shutil.which(program, path=_PATH) if program else _KEYRING.exists()
        if not there:
            missing.append(package)
    return missing


def cache_directory() -> Path:
    """Directory for images and .debs; made when missing."""
    base = Path(os.environ.get("KVMONTAP_CACHE") or "/var/cache/kvmontap")
    directory = base / "lab"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def environment() -> dict[str, str]:
    """Environment for the tools: sbin on PATH, C locale, no apt settings of the machine."""
    env = dict(os.environ, PATH=_PATH, LC_ALL="C.UTF-8")
    env.pop("APT_CONFIG", None)
    return env
