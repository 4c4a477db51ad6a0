"""What this host has written to an image on a block pool and keeps in its page cache: sent to the array before the snapshot.

Closing a file on OCFS2, GFS2, XFS or ext4 writes nothing to the device, so that the snapshot of an image which was copied there a
moment ago would lack most of it.  fsync(2) of each image, in a process of its own, since it waits for the device.  NFS and SMB send what
was written when a file is closed.  Other hosts of a cluster file system have done so when they closed QEMU's image, which flushes it.
"""

import time
from typing import Iterable, Optional

from kvmontap import command
from kvmontap.model import FILE_PROTOCOLS
from kvmontap.snapshots.plan import Request

SYNC = "/usr/bin/sync"
SHARE = 0.5  # of the time that is left: the snapshot itself needs some, too


class Flush:
    """Flushes images; thread-safe, one for the process."""

    def __init__(self, commands: Optional[command.Commands] = None) -> None:
        """`commands`: must not share the answer of an earlier flush; its own unless given."""
        self._commands = commands or command.Commands(fresh=0.0)

    def __call__(self, requests: Iterable[Request], deadline: float) -> str:
        """"" once none of it is in a cache of this host only, else why that is not known."""
        told = ""
        for request in requests:
            if request.pool.protocol in FILE_PROTOCOLS or not request.pool.target or not request.images:
                continue
            left = max(0.0, deadline - time.monotonic()) * SHARE
            key = ("flush", request.pool.target)
            answer = self._commands.run(key, (SYNC, "--", *request.images), time.monotonic() + left, left)
            if answer.state == command.HANGS:
                told = f"{request.pool.target} was still writing after {left:.1f} s"
            elif answer.state == command.BROKEN or answer.status:
                told = answer.error.strip().splitlines()[-1] if answer.error.strip() else f"sync ended with {answer.status}"
        return told
