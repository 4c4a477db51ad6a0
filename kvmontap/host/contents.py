"""What a block device holds, asked without writing to it: before anybody formats it.

A device counts as empty only where three look-outs agree: nothing is mounted from it or built on it, libblkid finds no signature (file
system, RAID, LVM, partition table), and its first and last MiB are zeros, which also catches data that no library knows.  A new LUN or
namespace of ONTAP is thin, and blocks that were never written read as zeros: on it, anything else was written by somebody.

A device without paths can hang whoever reads it, so wipefs and cmp read it, in processes of their own.
"""

import json
import os
import stat
import time
from typing import NamedTuple, Tuple

from kvmontap import command
from kvmontap.host import mountinfo

WIPEFS = "/usr/sbin/wipefs"
CMP = "/usr/bin/cmp"
EDGE = 1024 * 1024  # bytes at either end that must be zeros


class Signature(NamedTuple):
    """One thing that libblkid knows."""

    type: str  # xfs, ocfs2, LVM2_member, gpt, ...
    label: str = ""


class Contents(NamedTuple):
    """What was found; `trouble` says that nobody can know, and then the rest counts for nothing."""

    size: int = 0  # bytes
    signatures: Tuple[Signature, ...] = ()
    written: Tuple[str, ...] = ()  # which ends are not zeros: "first MiB", "last MiB"
    users: Tuple[str, ...] = ()  # what uses it on this host: "mounted on /mnt/x", "dm-3 is built on it"
    missing: bool = False  # there is no such device
    trouble: str = ""  # one clause


def device(path: str, deadline: float, root: str = "/") -> Contents:
    """The contents of a block device, by `deadline` (time.monotonic()); `root`: where proc and sys are read."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return Contents(missing=True, trouble="there is no such device")
    except OSError as error:
        return Contents(trouble=error.strerror or str(error))
    if not stat.S_ISBLK(found.st_mode):
        return Contents(trouble="it is not a block device")
    number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    try:
        with open(os.path.join(root, "sys/dev/block", number, "size"), encoding="ascii") as stream:
            size = int(stream.read()) * 512  # the kernel counts sectors of 512 bytes, whatever the device's own are
        return read(path, size, deadline)._replace(users=users(number, root))
    except (OSError, ValueError) as error:
        return Contents(trouble=f"the kernel does not tell what it is ({error})")


def users(number: str, root: str = "/") -> Tuple[str, ...]:
    """What uses the device major:minor on this host, a clause each.  OSError where /proc or /sys cannot be read."""
    found = [f"mounted on {mount.where}" for mount in mountinfo.read(root) if mount.device == number]
    where = os.path.join(root, "sys/dev/block", number)
    for name in sorted(os.listdir(where)):
        if os.path.exists(os.path.join(where, name, "partition")):
            found.append(f"{name} is a partition of it")
    holders = os.path.join(where, "holders")
    for name in sorted(os.listdir(holders)) if os.path.isdir(holders) else ():
        found.append(f"{name} is built on it")
    return tuple(found)


def read(path: str, size: int, deadline: float) -> Contents:
    """Signatures and written ends of `size` bytes at `path`, by `deadline` (time.monotonic())."""
    if size <= 0:
        return Contents(trouble="its size is 0")
    commands = command.Commands()
    try:
        answer = commands.run("signatures", (WIPEFS, "--no-act", "--json", path), deadline)
        trouble = _trouble(answer, (0,), deadline)
        if trouble:
            return Contents(size, trouble=trouble)
        signatures = _signatures(answer.output)
        edge = min(EDGE, size)
        written = []
        for name, start in (("first MiB", 0), ("last MiB", size - edge)):
            answer = commands.run(name, (CMP, "--silent", f"--ignore-initial={start}:0", f"--bytes={edge}", path, "/dev/zero"), deadline)
            trouble = _trouble(answer, (0, 1), deadline)
            if trouble:
                return Contents(size, trouble=trouble)
            if answer.status:
                written.append(name)
        return Contents(size, signatures, tuple(written))
    except ValueError as error:
        return Contents(size, trouble=f"wipefs says what kvmontap does not understand ({error})")
    finally:
        commands.close()


def _trouble(answer: command.Answer, good: Tuple[int, ...], deadline: float) -> str:
    if answer.state == command.HANGS:
        return f"it does not answer ({max(answer.seconds, 0.0):.0f} s)"
    if answer.state == command.BROKEN:
        return f"wipefs (util-linux) or cmp (diffutils) cannot be run: {answer.error}"
    if answer.status in good:
        return ""
    lines = answer.error.strip().splitlines()
    return lines[-1] if lines else f"it cannot be read (status {answer.status})"


def _signatures(output: str) -> Tuple[Signature, ...]:
    """From wipefs' JSON; it prints nothing at all where it finds nothing.  ValueError for anything else."""
    if not output.strip():
        return ()
    try:
        return tuple(Signature(str(one["type"]), str(one.get("label") or "")) for one in json.loads(output)["signatures"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from None


def within(seconds: float) -> float:
    """The deadline that lies so many seconds ahead."""
    return time.monotonic() + seconds
