"""One file copied so that as little as possible is moved: shared blocks where the file system has them, by the server itself where it can,
holes left out.  An edge: two files.
"""

import errno
import fcntl
import os
from typing import Callable, Iterator, Tuple

FICLONE = 0x40049409  # _IOW(0x94, 9, int), the same on every architecture of ours
CHUNK = 64 << 20  # bytes between two calls of tell()
BLOCK = 1 << 20
# What copy_file_range(2) and the reflink say where they do not work between these two files.
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EBADF, errno.ETXTBSY, errno.EPERM)


def copy(source: str, target: str, tell: Callable[[int, int], None] = lambda done, size: None) -> bool:
    """Copies `source` to `target`, which must not be there, and has it on the disk; whether the blocks are shared (nothing was copied).

    tell(done, size) in bytes, now and then.  Raises OSError; what was begun stays, for the caller to remove.
    """
    with open(source, "rb", buffering=0) as there, open(target, "xb", buffering=0) as here:
        size = os.fstat(there.fileno()).st_size
        shared = _reflink(there.fileno(), here.fileno())
        if not shared:
            os.truncate(here.fileno(), size)
            ranged = True
            for start, end in _extents(there.fileno(), size):
                for place in range(start, end, CHUNK):
                    tell(place, size)
                    ranged = _piece(there.fileno(), here.fileno(), place, min(CHUNK, end - place), ranged)
        tell(size, size)
        os.fsync(here.fileno())
        found = os.fstat(here.fileno()).st_size
    if found != size:
        raise OSError(errno.EIO, f"the copy has {found} bytes and not {size}", target)
    return shared


def _reflink(there: int, here: int) -> bool:
    try:
        fcntl.ioctl(here, FICLONE, there)
        return True
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False


def _extents(there: int, size: int) -> Iterator[Tuple[int, int]]:
    """(start, end) of what is not a hole."""
    place = 0
    while place < size:
        try:
            start = os.lseek(there, place, os.SEEK_DATA)
            place = os.lseek(there, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            if error.errno != errno.EINVAL:
                raise
            start, place = place, size  # this file system knows no holes
        yield start, min(place, size)


def _piece(there: int, here: int, place: int, count: int, ranged: bool) -> bool:
    """One chunk, inside the kernel or by the server where `ranged` and that works; whether it does."""
    while ranged and count:
        try:
            done = os.copy_file_range(there, here, count, place, place)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            ranged = False
            break
        if not done:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        place, count = place + done, count - done
    while count:
        block = os.pread(there, min(BLOCK, count), place)
        if not block:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        if block.strip(b"\0"):  # zeros are holes already
            written = 0
            while written < len(block):
                written += os.pwrite(here, block[written:], place + written)
        place, count = place + len(block), count - len(block)
    return ranged
