"""The device of a clone on this host: found by the identity that the array gave it, mounted read-only beside the file system that it is a
copy of, and taken away without a trace.  An edge: /sys, and the tools of multipath, NVMe and the file systems.

The clone is a copy of a file system that is mounted on this host, taken while it was in use: the same UUID, and journals to be replayed.
The clone is writable and thrown away afterwards, so it is put in order before it is mounted, each in the way of its file system.
"""

import os
import time
from typing import Callable, NamedTuple, Sequence, Tuple

from kvmontap.host import mountinfo, san, wwids
from kvmontap.model import NVME, Pool
from kvmontap.program import Done, call
from kvmontap.units.block import BY_ID

MOUNT, UMOUNT = "/usr/bin/mount", "/usr/bin/umount"
UDEVADM = "/usr/bin/udevadm"
MULTIPATH, MULTIPATHD = "/usr/sbin/multipath", "/usr/sbin/multipathd"
NVME_CLI = "/usr/sbin/nvme"
FSCK_OCFS2, TUNEFS_OCFS2 = "/usr/sbin/fsck.ocfs2", "/usr/sbin/tunefs.ocfs2"
FILESYSTEMS = ("ocfs2", "xfs", "ext4")
APPEARS = 90.0  # seconds until the device is there
MAP = 30.0  # seconds for multipath to make a map of it, before a single path is used
SECONDS = 30.0  # for a tool that only asks or switches
LONG = 1800.0  # for one that reads a file system
STEP = 0.2
NVME_PORT = 4420


class DeviceError(Exception):
    """One sentence."""


class Identity(NamedTuple):
    """What the clone's device is known by; "" for what it is not."""

    wwid: str = ""
    namespace: str = ""
    nqn: str = ""  # of the subsystem that was made for it


def announce(identity: Identity) -> None:
    """To be called before the LUN is mapped: multipath waits for the second path of a LUN that it does not know."""
    if identity.wwid and os.path.exists(MULTIPATH):
        try:
            wwids.add(identity.wwid)
        except OSError as error:
            raise DeviceError(f"{wwids.FILE} cannot be written: {error.strerror}") from None


def appear(pool: Pool, identity: Identity, deadline: float) -> str:
    """The path of the device (of its partition, where the pool is one); DeviceError at `deadline` (time.monotonic())."""
    if pool.protocol in NVME:
        _connect(pool, identity.nqn)
        _until(lambda: san.namespace(identity.namespace) is not None, deadline, f"namespace {identity.namespace}")
        path = f"{BY_ID}/nvme-uuid.{identity.namespace}" + (f"-part{pool.partition}" if pool.partition else "")
        _until(lambda: os.path.exists(path), deadline, path)
        return path
    rescan()
    _until(lambda: bool(san.disks_of(identity.wwid)), deadline, f"LUN {identity.wwid}", rescan)
    if os.path.exists(MULTIPATH) and not call((MULTIPATHD, "show", "status"), SECONDS).code:
        part = f"part{pool.partition}-" if pool.partition else ""
        path = f"{BY_ID}/dm-uuid-{part}mpath-{identity.wwid}"
        try:
            _until(lambda: os.path.exists(path), min(deadline, time.monotonic() + MAP), path)
            return path
        except DeviceError:
            if san.multipath(identity.wwid) is not None:
                raise
    path = f"/dev/{san.disks_of(identity.wwid)[0]}{pool.partition or ''}"
    _until(lambda: os.path.exists(path), deadline, path)
    return path


def rescan(root: str = "/") -> None:
    """Has every adapter, and every iSCSI session, look for new LUNs."""
    hosts = set()
    for kind in ("fc_host", "iscsi_host"):
        try:
            hosts.update(os.listdir(os.path.join(root, "sys/class", kind)))
        except OSError:
            continue
    for name in sorted(hosts):
        try:
            with open(os.path.join(root, "sys/class/scsi_host", name, "scan"), "w", encoding="ascii") as stream:
                stream.write("- - -\n")
        except OSError:
            continue


def put_in_order(filesystem: str, path: str) -> None:
    """Gives the copy an identity of its own where its file system needs one beside the original; raises DeviceError."""
    if filesystem != "ocfs2":
        return
    # -F: the check whether the cluster has it mounted goes by the UUID, which is still the original's.  That it asks about in spite of -y.
    _run((FSCK_OCFS2, "-y", "-F", path), LONG, "its journals cannot be replayed", (0, 1), "y\n")
    _run((TUNEFS_OCFS2, "--yes", "--cloned-volume", path), LONG, "it cannot be given a UUID of its own")


def mount(filesystem: str, path: str, where: str) -> None:
    """Mounts the copy read-only; raises DeviceError."""
    options = {"xfs": "ro,nouuid,nodev,nosuid,noexec"}.get(filesystem, "ro,nodev,nosuid,noexec")
    os.makedirs(where, 0o700, exist_ok=True)
    done = call((MOUNT, "-t", filesystem, "-o", options, path, where), SECONDS * 4)
    if done.code:
        first = next((line for line in done.err.splitlines() if line.strip()), done.why)  # its last one only names dmesg
        raise DeviceError(f"the copy cannot be mounted: {first.strip()}")


def unmount(where: str) -> bool:
    """Unmounts what lies at `where` and removes the directory; whether there was something.  Raises DeviceError."""
    was = False
    for _ in range(8):  # a mount may lie on another
        if not any(one.where == where for one in mountinfo.read()):
            break
        _run((UMOUNT, where), SECONDS * 4, f"{where} cannot be unmounted")
        was = True
    try:
        os.rmdir(where)
    except FileNotFoundError:
        pass
    return was


def vanish(identity: Identity) -> bool:
    """Takes the device away from this host; whether there was one.  Raises DeviceError where something holds it."""
    if identity.nqn:
        there = [one for one in san.controllers() if one.subsystem == identity.nqn]
        if there:
            _run((NVME_CLI, "disconnect", "-n", identity.nqn), SECONDS, f"{identity.nqn} cannot be disconnected")
        return bool(there)
    if not identity.wwid:
        return False
    disks = san.disks_of(identity.wwid)
    found = san.multipath(identity.wwid)
    if found is not None:
        _flush(identity.wwid)
    for disk in disks:
        try:
            with open(f"/sys/block/{disk}/device/delete", "w", encoding="ascii") as stream:
                stream.write("1\n")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DeviceError(f"disk {disk} cannot be removed: {error.strerror}") from None
    try:
        wwids.drop(identity.wwid)
    except OSError as error:
        raise DeviceError(f"{wwids.FILE} cannot be written: {error.strerror}") from None
    return bool(disks) or found is not None


def _flush(wwid: str) -> None:
    """udev may hold the map for a moment after it was unmounted."""
    until = time.monotonic() + SECONDS
    while True:
        call((UDEVADM, "settle", "--timeout=10"), SECONDS)
        done = call((MULTIPATH, "-f", wwid), SECONDS)
        if san.multipath(wwid) is None:
            return
        if time.monotonic() > until:
            raise DeviceError(f"the multipath map of {wwid} stays: {done.why}")
        time.sleep(STEP * 5)


def _connect(pool: Pool, nqn: str) -> None:
    transport = pool.protocol.partition("-")[2]
    problems = []
    for portal in pool.portals:
        address, port = san.split_endpoint(portal, NVME_PORT)
        done = call((NVME_CLI, "connect", "-t", transport, "-a", address, "-s", str(port), "-n", nqn), SECONDS)
        if done.code:
            problems.append(f"{san.endpoint(address, port)}: {done.why}")
    if not any(one.subsystem == nqn for one in san.controllers()):
        raise DeviceError(f"no connection to {nqn}: {'; '.join(problems)}")


def _until(condition: Callable[[], bool], deadline: float, what: str, again: Callable[[], None] = lambda: None) -> None:
    pause = time.monotonic() + 5
    while not condition():
        now = time.monotonic()
        if now > deadline:
            raise DeviceError(f"{what} is not there on this host; look at its map on the array, and at the kernel's log")
        if now > pause:
            again()
            pause = now + 5
        time.sleep(STEP)


def _run(words: Sequence[str], seconds: float, what: str, good: Tuple[int, ...] = (0,), answers: str = "") -> Done:
    done = call(words, seconds, answers)
    if done.code not in good:
        raise DeviceError(f"{what}: {done.why}")
    return done
