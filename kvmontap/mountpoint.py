"""Keeps the directory under a pool's mount empty: it is immutable, so that no volume is ever created beneath a missing mount.

`python3 -m kvmontap.mountpoint guard` is kvmontap-mountpoints.service, before anything is mounted; `release` undoes it when the package is
removed, also beneath what is mounted then: a package is removed while its pools are in use.  A mount on an immutable directory works
as on any other.  What is mounted is never opened, and a file system that knows no such flag is left as it is.
"""

import ctypes
import errno
import fcntl
import os
import struct
import sys
from typing import Iterable, Tuple

from kvmontap.config import load, path_from_environment
from kvmontap.host import mountinfo
from kvmontap.units.bundle import attached

# <linux/fs.h>; the kernel reads and writes 32 bits, whatever the macros' type says.
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10

# open_tree(2), Linux 5.2; the same number on every architecture that libvirt runs QEMU on.
_SYS_OPEN_TREE = 428
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1

# What a file system (or a container) that has no such flag answers.
_UNKNOWN = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM)


def set_immutable(path: str, flag: bool) -> bool:
    """Make the directory `path` immutable, or no longer so; False where something is mounted on it or its file system cannot.

    OSError where it is not a directory or cannot be opened."""
    # O_PATH asks no server and mounts no automount (with O_DIRECTORY it would).  Opened again through /proc, it is this very directory even
    # if it is mounted over now.
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        above = os.stat(os.path.dirname(path) or "/")
        if os.fstat(place).st_dev != above.st_dev:
            return False  # mounted, or an automount
        return _flag(place, flag)
    finally:
        os.close(place)


def _flag(place: int, flag: bool) -> bool:
    """Set or clear the flag of the directory that the O_PATH descriptor `place` stands for; False where its file system cannot."""
    directory = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = struct.unpack("i", fcntl.ioctl(directory, FS_IOC_GETFLAGS, struct.pack("i", 0)))[0]
        new = old | FS_IMMUTABLE_FL if flag else old & ~FS_IMMUTABLE_FL
        if new != old:
            fcntl.ioctl(directory, FS_IOC_SETFLAGS, struct.pack("i", new))
        return True
    except OSError as error:
        if error.errno in _UNKNOWN:
            return False
        raise
    finally:
        os.close(directory)


def guard(targets: Iterable[str]) -> Tuple[str, ...]:
    """Make each target, and make it immutable; what went wrong, one sentence each."""
    wrong = []
    for target in targets:
        try:
            # mkdir(2) on what is there already would mount an automount: what is there is only looked at.
            if not os.path.lexists(target):
                os.makedirs(target, 0o755, exist_ok=True)
            set_immutable(target, True)
        except OSError as error:
            wrong.append(f"{target} cannot be kept empty while nothing is mounted on it: {error.strerror}")
    return tuple(wrong)


def release(targets: Iterable[str]) -> Tuple[str, ...]:
    """Make each target an ordinary directory again, and remove it where it is empty; what went wrong, one sentence each."""
    wrong = []
    for target in targets:
        try:
            if set_immutable(target, False):
                os.rmdir(target)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
                wrong.append(f"{target} cannot be given back: {error.strerror}; try: chattr -i {target}")
    return tuple(wrong)


def release_beneath(targets: Iterable[str]) -> Tuple[str, ...]:
    """Make the directory under what is mounted on each target an ordinary one again; what went wrong, one sentence each.

    It is not removed, empty or not: where rmdir(2) reaches a directory that is a mount point elsewhere, the kernel unmounts there."""
    wrong = []
    for target in targets:
        above, name = os.path.split(target)
        try:
            tree = _without_mounts(above)
            try:
                place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
            finally:
                os.close(tree)
            try:
                _flag(place, False)
            finally:
                os.close(place)
        except OSError as error:
            wrong.append(f"what lies under {target} cannot be given back: {error.strerror}; once it is unmounted try: chattr -i {target}")
    return tuple(wrong)


def _without_mounts(path: str) -> int:
    """A descriptor of the directory `path` in a copy of its mount that has nothing mounted in it; the copy goes with the descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    tree = libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    if tree < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(tree)


def main(argv: Tuple[str, ...]) -> int:
    """`guard` or `release` the mount points of the configuration."""
    actions = {"guard": guard, "release": release}
    if len(argv) != 1 or argv[0] not in actions:
        print("usage: python3 -m kvmontap.mountpoint guard|release", file=sys.stderr)
        return 2
    os.umask(0o022)
    mounts = mountinfo.read()
    # A mount whose server is dead must not even be looked at.
    targets = [pool.target for pool in load(path_from_environment()).config.pools.values() if attached(pool)]
    wrong = actions[argv[0]](target for target in targets if mountinfo.at(mounts, target) is None)
    if argv[0] == "release":
        # Nor one that a mounted target lies within; that directory is on a server, where we set no flag.
        remote = mountinfo.remote(mounts)
        wrong += release_beneath(
            target for target in targets if mountinfo.at(mounts, target) is not None
            and not any(mountinfo.is_below(os.path.dirname(target), top) for top in remote)
        )  # fmt: skip
    for sentence in wrong:
        print(f"<4>{sentence}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
