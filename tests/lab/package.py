"""The package under test: built from this tree, once per state of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Optional

from . import runner
from .image import Progress
from .vm import LabError

ROOT = Path(__file__).resolve().parent.parent.parent
#: Neither the tests nor version control end up in the package.
_OUTSIDE = {".git", ".ci", "tests", "__pycache__"}
KEEP = 3


def built() -> Optional[Path]:
    """The .deb for the tree as it is now, where it has been built already."""
    return next((runner.cache_directory() / "packages" / _key()).glob("kvmontap_*.deb"), None)


def build(progress: Progress = print) -> Path:
    """Path of the .deb for the tree as it is now."""
    packages = runner.cache_directory() / "packages"
    packages.mkdir(exist_ok=True)
    wanted = packages / _key()
    if not wanted.exists():
        progress("package: packaging/build deb")
        work = Path(tempfile.mkdtemp(prefix="new-", dir=packages))
        try:
            done = subprocess.run(["nice", ROOT / "packaging/build", "deb", work], text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode:
                raise LabError(f"packaging/build deb failed with {done.returncode}:\n{done.stdout}")
            os.rename(work, wanted)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    os.utime(wanted)
    _forget_old(packages)
    (deb,) = wanted.glob("kvmontap_*.deb")
    return deb


def _forget_old(packages: Path) -> None:
    built = [path for path in packages.iterdir() if not path.name.startswith("new-")]
    for path in sorted(built, key=lambda one: one.stat().st_mtime, reverse=True)[KEEP:]:
        shutil.rmtree(path, ignore_errors=True)


def _key() -> str:
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - _OUTSIDE)
        for name in sorted(files):
            path = Path(folder) / name
            if path.suffix == ".pyc" or not path.is_file():
                continue
            digest.update(f"{path.relative_to(ROOT)} {path.stat().st_mode & 0o111:o}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
