"""Debian trees to boot, and the package to install in them; both cached by what they are made from.

${KVMONTAP_CACHE:-/var/cache/kvmontap}/boot holds tree-SUITE-KEY (a directory, never written to: tests put an overlay on it), debs-SUITE
(downloaded archives) and packages-KEY.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("bookworm", "trixie")

# The package's Depends and Recommends, and what a KVM host has beside them.
PACKAGES = (
    "systemd systemd-sysv udev dbus iproute2 procps kmod e2fsprogs ca-certificates libvirt-daemon-system libvirt-clients qemu-utils "
    "nfs-common cifs-utils python3 python3-libvirt python3-pyudev python3-systemd python3-configobj python3-rich"
).split()

# What cannot work in a container without kernel modules, and what only costs time.
SETTINGS = """
ln -sf /dev/null "$1"/etc/systemd/system/run-rpc_pipefs.mount
ln -sf /dev/null "$1"/etc/systemd/system/rpcbind.service
ln -sf /dev/null "$1"/etc/systemd/system/rpcbind.socket
mkdir -p "$1"/var/log/journal "$1"/etc/systemd/journald.conf.d
printf '[Journal]\\nStorage=persistent\\nSyncIntervalSec=0\\nRateLimitBurst=0\\n' > "$1"/etc/systemd/journald.conf.d/test.conf
printf 'libvirt-host\\n' > "$1"/etc/hostname
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/etc/machine-id
printf 'uninitialized\\n' > "$1"/etc/machine-id
"""


def cache() -> Path:
    directory = Path(os.environ.get("KVMONTAP_CACHE") or "/var/cache/kvmontap") / "boot"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def _locked(name: str):
    with open(cache() / f"{name}.lock", "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _run(command, **options) -> str:
    done = subprocess.run(["nice", *map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **options)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n" + "\n".join(done.stdout.splitlines()[-25:]))
    return done.stdout


def tree(suite: str) -> Path:
    """A Debian host of that suite with libvirt, made when it is not in the cache (a minute or two)."""
    key = hashlib.sha256("\n".join([suite, *PACKAGES, SETTINGS]).encode()).hexdigest()[:12]
    wanted = cache() / f"tree-{suite}-{key}"
    with _locked(f"tree-{suite}"):
        if not wanted.exists():
            for old in cache().glob(f"tree-{suite}-*"):
                shutil.rmtree(old)
            _make_tree(suite, cache() / f"tree-{suite}-new.{os.getpid()}", wanted)
    return wanted


def _make_tree(suite: str, work: Path, wanted: Path) -> None:
    debs = cache() / f"debs-{suite}"
    debs.mkdir(exist_ok=True)
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    environment.pop("APT_CONFIG", None)
    try:
        _run(
            ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
             "--skip=download/empty,essential/unlink,cleanup/apt", '--aptopt=Apt::Install-Recommends "false"',
             '--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io",
             f'--setup-hook=mkdir -p "$1"/var/cache/apt/archives && cp -a {debs}/. "$1"/var/cache/apt/archives/',
             f'--customize-hook=rm -f {debs}/*.deb && cp -a "$1"/var/cache/apt/archives/*.deb {debs}/',
             f"--customize-hook={SETTINGS}", suite, work],
            env=environment,
        )  # fmt: skip
        os.rename(work, wanted)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@functools.lru_cache(None)
def _sources() -> Path:
    """A copy of what the package is made from, as it was when this run first asked, in a directory named by its contents."""
    parts = ("docs", "generators", "hooks", "kvmontap", "packaging", "units")
    files = [path for part in parts for path in sorted((ROOT / part).rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    contents = {path.relative_to(ROOT): path.read_bytes() for path in files + sorted(ROOT.glob("*.md")) + [ROOT / "LICENSE"]}
    modes = {name: (ROOT / name).stat().st_mode & 0o777 for name in contents}
    digest = hashlib.sha256()
    for name, data in contents.items():
        digest.update(f"{name}\0{modes[name]:o}\0{len(data)}\0".encode() + data)
    wanted = cache() / f"packages-{digest.hexdigest()[:12]}"
    with _locked("packages"):
        if not wanted.exists():
            for old in cache().glob("packages-*/"):
                if time.time() - old.stat().st_mtime > 86400:
                    shutil.rmtree(old)
            work = cache() / f"sources-new.{os.getpid()}"
            for name, data in contents.items():
                (work / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
                (work / "tree" / name).write_bytes(data)
                (work / "tree" / name).chmod(modes[name])
            os.rename(work, wanted)
    return wanted


def package(version: str) -> Path:
    """The .deb of this checkout with that version, built by packaging/build unless a build of the very same files is in the cache."""
    found = _sources() / f"kvmontap_{version}_all.deb"
    with _locked(f"{found.parent.name}-{version}"):
        if not found.exists():
            _run([found.parent / "tree" / "packaging" / "build", "deb", found.parent, version])
    return found
