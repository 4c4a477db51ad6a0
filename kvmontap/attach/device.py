"""The device of a block pool: where it appears, waiting for it, and whether it carries what the configuration says.  Never formats."""

import os
import time
from typing import Callable, Sequence, Tuple

from kvmontap.attach.call import AttachError, call, say
from kvmontap.host import san, wwids
from kvmontap.model import Pool
from kvmontap.units.block import device_path

BLKID = "/usr/sbin/blkid"
MOUNTED_OCFS2 = "/usr/sbin/mounted.ocfs2"
MULTIPATH = "/usr/sbin/multipath"
MULTIPATHD = "/usr/sbin/multipathd"
COROSYNC = "/etc/corosync/corosync.conf"
STEP = 0.2
FIRST = 3.0  # seconds for udev and multipathd to do by themselves what they do
RESCAN = 10.0  # seconds between two rescans while a device is not there


def announce(pool: Pool) -> None:
    """Tell multipath that this LUN is its own, even while there is only one path: by itself it waits for the second one."""
    if pool.wwid and os.path.exists(MULTIPATH):
        _enter(pool.name, pool.wwid)
        # One that is there already, as over Fibre Channel, it has left alone, and does not look at again.
        map_all(pool, san.disks_of(pool.wwid))


def map_all(pool: Pool, disks: Sequence[str]) -> None:
    """Have multipath map every LUN of these disks: it leaves those alone that it has never mapped before."""
    for disk in disks if os.path.exists(MULTIPATH) else ():
        wwid = san.wwid_of(disk)
        if wwid and san.multipath(wwid) is None:
            _enter(pool.name, wwid)
            call((MULTIPATH, "-v0", f"/dev/{disk}"), 40.0)


def _enter(pool: str, wwid: str) -> None:
    """Enter a LUN into multipath's list of those that it has mapped before; multipath itself locks it in the same way."""
    try:
        wwids.add(wwid)
    except OSError as error:
        say(f"pool {pool}: {wwids.FILE} cannot be written ({error.strerror}); with a single path multipath may not take the LUN")


def wait(pool: Pool, deadline: float, rescan: Callable[[], None], found: Callable[[], Tuple[str, ...]]) -> str:
    """The path of the pool's device once it is there, "" for a pool without a device of its own.

    AttachError at `deadline` (time.monotonic()), with what is there instead."""
    path = device_path(pool)
    if not path:  # a pool of whatever its portals or adapter show
        rescan()
        return ""
    again = time.monotonic() + FIRST
    while not os.path.exists(path):
        now = time.monotonic()
        if now >= deadline:
            raise AttachError(_missing(pool, path, found()))
        if now >= again:
            rescan()
            _claim(pool)
            again = now + RESCAN
        time.sleep(STEP)
    return path


def _claim(pool: Pool) -> None:
    """Have multipathd look again at the disks of a LUN that it has passed over: those that were there before it was announced.

    So it is with every LUN of an adapter, and of a session that somebody else began: with find_multipaths strict (Debian) the paths to a
    LUN that multipath does not know are left alone for good, however many there are."""
    if pool.wwid and san.multipath(pool.wwid) is None:
        for disk in san.disks_of(pool.wwid):
            call((MULTIPATHD, "add", "path", disk), 20.0)


def _missing(pool: Pool, path: str, there: Tuple[str, ...]) -> str:
    shown = f"this host sees {', '.join(there)}" if there else "this host sees no such device at all"
    if pool.wwid and san.disks_of(pool.wwid):
        if san.multipath(pool.wwid) is None:
            disk = san.disks_of(pool.wwid)[0]
            return f"LUN {pool.wwid} is there, but multipathd has made no map of it; look at: multipath -v3 /dev/{disk}"
        return f"LUN {pool.wwid} is there, but {path} is not; {_late(pool)}"
    if pool.wwid:
        return f"no LUN has the WWID {pool.wwid} ({shown}); check wwid = and the LUN's mapping on the array"
    if pool.namespace:
        if san.namespace(pool.namespace) is not None:
            return f"namespace {pool.namespace} is there, but {path} is not; {_late(pool)}"
        return f"no NVMe namespace has the UUID {pool.namespace} ({shown}); check namespace = and its mapping on the array"
    return f"{path} is not there; check device ="


def _late(pool: Pool) -> str:
    """What to do where the device is there, and udev does not show it under its name."""
    return "check partition =" if pool.partition else "udev has not come to it; give it longer with timeout = in [boot]"


def judge(pool: Pool, path: str) -> None:
    """AttachError where the device carries another file system than the pool says, or another cluster's."""
    if pool.filesystem in ("", "none") or not os.path.exists(BLKID):
        return
    done = call((BLKID, "-p", "-s", "TYPE", "-s", "LABEL", "-s", "PTTYPE", "-o", "export", path), 20.0)
    facts = dict(line.partition("=")[::2] for line in done.out.splitlines())
    kind = facts.get("TYPE", "")
    if done.code == 2 and not facts:
        raise AttachError(f"{path} carries no file system; check which device is meant, or make one (nothing is ever formatted)")
    if done.code:
        say(f"pool {pool.name}: {path} cannot be looked into ({done.why})")
        return
    if kind != pool.filesystem:
        if not kind and facts.get("PTTYPE"):
            raise AttachError(f"{path} carries a partition table and no file system; name the partition with partition =")
        raise AttachError(f"{path} carries {kind or 'no file system'}, but filesystem = {pool.filesystem}; check which device is meant")
    if kind == "ocfs2":
        _judge_cluster(pool, path)
    elif kind == "gfs2":
        _judge_lock_table(pool, facts.get("LABEL", ""), path)


def _judge_cluster(pool: Pool, path: str) -> None:
    stack, cluster = ocfs2_cluster(call((MOUNTED_OCFS2, "-d", path), 20.0).out)
    if stack and (stack, cluster) != ("o2cb", pool.cluster):
        raise AttachError(f"{path} belongs to the {stack} cluster {cluster}, not to {pool.cluster}; correct cluster =, or, with the file "
                          f"system mounted nowhere, run: tunefs.ocfs2 --update-cluster-stack {path}")


def _judge_lock_table(pool: Pool, table: str, path: str) -> None:
    """GFS2's lock table is CLUSTER:NAME, and the cluster must be the one that corosync runs."""
    cluster = table.partition(":")[0]
    if table and cluster != pool.cluster:
        raise AttachError(f"{path} has the lock table {table}, which is of the cluster {cluster}, not of {pool.cluster}; correct "
                          f"cluster =, or, with it mounted nowhere, run: tunegfs2 -o locktable={pool.cluster}:{pool.name} {path}")
    running = corosync_cluster(_text(COROSYNC))
    if running and running != pool.cluster:
        raise AttachError(f"corosync on this host runs the cluster {running} ({COROSYNC}), not {pool.cluster}; correct cluster = or "
                          "cluster_name there")


def corosync_cluster(text: str) -> str:
    """cluster_name in the totem section of a corosync.conf, "" where it has none."""
    section = ""
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line.endswith("{"):
            section = line[:-1].strip()
        elif line == "}":
            section = ""
        elif section == "totem" and line.partition(":")[0].strip() == "cluster_name":
            return line.partition(":")[2].strip()
    return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 20)
    except OSError:
        return ""


def ocfs2_cluster(output: str) -> Tuple[str, str]:
    """(stack, cluster) in the output of `mounted.ocfs2 -d`; ("", "") where the file system names none.

    "Device  Stack  Cluster  F  UUID  Label": a file system that was formatted without a cluster shows "None" or nothing."""
    for line in output.splitlines()[1:]:
        words = line.split()
        if len(words) >= 4 and words[1] in ("o2cb", "pcmk", "cman"):
            return words[1], words[2]
    return "", ""
