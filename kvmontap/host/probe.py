"""Asks, at the level of the mount, whether a pool is there and answers.

What the kernel remembers (mountinfo) is read here; what a server must answer is asked by `stat -f` in a process of its
own (see kvmontap.command), one at a time per mount.  coreutils' stat because it is on every host, starts within two
milliseconds, and makes that one system call and no other on the path.

statfs(2) always asks the server: nfs_statfs() sends FSSTAT (v3) or GETATTR (v4) each time, with no cache in front of it,
and cifs_statfs() a compound of CREATE, QUERY_INFO and CLOSE on SMB 2 and 3 (fs/nfs/super.c, fs/smb/client/smb2ops.c).
A stat(2) of the same path would be answered from the attribute cache.  It also triggers an automount on the way.
"""

import errno
import os
import re
import time
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from kvmontap import command
from kvmontap.host import address, block, fabric, groups, match, mountinfo, multipathd, nfs, shared, smb
from kvmontap.model import FC, NFS, SMB, Finding, Pool
from kvmontap.reasons import finding
from kvmontap.units.block import FILESYSTEMS
from kvmontap.units.escape import path_unit

STAT = "/usr/bin/stat"
GETENT = "/usr/bin/getent"
LOW = 1.5  # times min-free: below that a pool is degraded
_TRIES = 3  # questions to a mount with several transports
_RECONNECTS = (errno.EBADF, errno.EREMCHG, errno.EHOSTDOWN, errno.EAGAIN)  # of cifs, while it has no session
_PAUSE = 1.2  # seconds; a bit longer than an answer is shared for
_TYPES = {NFS: ("nfs", "nfs4"), SMB: ("cifs", "smb3")}
# What a file system shows that its own kernel has given up: no more I/O goes through, though it may still answer statfs.
_SHUT_DOWN = ("shutdown", "emergency_ro")
FABRIC = (FC, "nvme-fc")
_ERRNO = {os.strerror(number): number for number in errno.errorcode}


class Space(NamedTuple):
    """What statfs told, in bytes and inodes; a total of 0 means that the file system does not count them."""

    size: int
    free: int  # for those who are not root
    inodes: int
    inodes_free: int


class Prober:
    """Probes mounts, for any number of threads; see check().  close() it where the process ends soon after."""

    def __init__(
        self,
        root: str = "/",
        commands: Optional[command.Commands] = None,
        mounts: Optional[Callable[[], Tuple[mountinfo.Mount, ...]]] = None,
        patience: float = 5.0,
        locks: str = "",
    ) -> None:
        """`root`: where proc and sys are read; `mounts`: reads the mounts, by default below `root`; `patience`: seconds
        of a mount's silence after which later callers are not kept waiting for it; `locks`: see command.Commands."""
        self._patience = patience
        self.commands = commands if commands is not None else command.Commands(locks=locks)
        self._mounts = mounts if mounts is not None else lambda: mountinfo.read(root)
        self._transports = nfs.Transports(root)
        self._root = root

    def check(self, pool: Pool, deadline: float) -> Tuple[Finding, ...]:
        """What is wrong with the pool's mount, nothing when all is well; by `deadline` (time.monotonic()).

        Bursts share one question to the server: an answer counts for about a second.
        """
        if not known(pool):  # there is no mount
            return self._bare(pool, deadline)
        try:
            mounts = self._mounts()
        except OSError as error:
            return (finding("mount.error", target=pool.target, error=f"mountinfo: {error.strerror}"),)
        target = match.real(pool.target, match.links(mounts))
        mount = mountinfo.covering(mounts, target)
        if mount is not None and mount.fstype == "autofs":
            # Only the automount is there.  Asking mounts it, in the process that asks; then look again.
            asked = self._statfs(target, mount, deadline)
            if asked.state == command.HANGS:
                return (_no_answer(pool, asked),)
            mounts = self._mounts()
            mount = mountinfo.covering(mounts, target)
        if mount is None or mount.where != target or mount.fstype == "autofs":
            return (finding("mount.missing", target=pool.target, unit=path_unit(pool.target, "mount")),)
        answer, stuck = self._tried(pool, target, mount, deadline)
        answer = self._reconnected(pool, target, mount, deadline, answer)
        found = self._mounted(pool, mount, deadline) + _answered(pool, answer)
        if pool.protocol == SMB:
            found += smb.channels(pool, self._root)
        if mount.fstype == "xfs" and answer.state == command.ANSWERED and not answer.status:
            found += self._given_up(pool, target, mount, deadline)
        if pool.protocol == NFS and pool.trunking and answer.state == command.ANSWERED and not answer.status:
            addresses = self._resolve(pool.server, deadline)
            found += self._transports.check(mount, addresses or (), deadline, stuck)
        if pool.protocol == NFS:
            found += nfs.connections(pool, mount)
        return found

    def close(self) -> None:
        """Kills the questions that are still under way."""
        self.commands.close()

    def _mounted(self, pool: Pool, mount: mountinfo.Mount, deadline: float) -> Tuple[Finding, ...]:
        """What is wrong with what is mounted, as mountinfo tells it."""
        fields = {"target": pool.target, "unit": path_unit(pool.target, "mount")}
        types = _TYPES.get(pool.protocol) or (pool.filesystem,)
        if mount.fstype not in types:
            wanted = " or ".join(types)
            return (finding("mount.wrong-type", found=_shown(mount.fstype), wanted=wanted, **fields),)
        found: Tuple[Finding, ...] = () if pool.protocol in _TYPES else self._device(pool, mount, deadline)
        right = self._right_source(pool, mount, deadline) if pool.protocol in _TYPES else True
        if not right:
            code = "mount.wrong-source" if right is False else "mount.unverified"
            shown = _shown(mount.what + ("" if mount.root == "/" else f" ({mount.root})"))
            found += (finding(code, found=shown, wanted=_wanted(pool), **fields),)
        shut = [one for one in _SHUT_DOWN if one in mount.super_options]
        if shut:
            found += (finding("mount.shut-down", how=", ".join(shut), **fields),)
        elif mount.read_only:
            found += (finding("mount.read-only", target=pool.target),)
        return found

    def _given_up(self, pool: Pool, target: str, mount: mountinfo.Mount, deadline: float) -> Tuple[Finding, ...]:
        """Whether the kernel has shut an XFS down: it goes on answering statfs and shows no option, but no inode any more (tried: 6.18)."""
        asked = self.commands.run(("stat", *_key(target, mount)), (STAT, "-c", "%i", "--", target), deadline, self._patience)
        if asked.state != command.ANSWERED or _errno(asked) != errno.EIO:
            return ()
        return (finding("mount.shut-down", target=pool.target, unit=path_unit(pool.target, "mount"), how=os.strerror(errno.EIO).lower()),)

    def _device(self, pool: Pool, mount: mountinfo.Mount, deadline: float) -> Tuple[Finding, ...]:
        """What is wrong beneath a mounted block pool: its device, the paths to it, and the cluster that shares it."""
        found = block.check(pool, mount, self._root, self._down(deadline))
        found += shared.check(pool, mount.device, self._root)
        return found + (fabric.ports(self._root) if pool.protocol in FABRIC else ())

    def _bare(self, pool: Pool, deadline: float) -> Tuple[Finding, ...]:
        """What is wrong with a block pool that has no mount of its own."""
        found = block.paths(pool, self._root, self._down(deadline))
        found += fabric.ports(self._root) if pool.protocol in FABRIC else ()
        if pool.type == "logical" and all(one.code != "path.none" for one in found):  # vgs would hang with the device
            found += groups.check(pool, self.commands, deadline, self._patience)
        return found

    def _down(self, deadline: float) -> block.Down:
        """Whom to ask for paths that /sys takes to be up; multipathd knows of this host only."""
        return (lambda wwid: multipathd.down(wwid, deadline)) if self._root == "/" else block.nobody

    def _right_source(self, pool: Pool, mount: mountinfo.Mount, deadline: float) -> Optional[bool]:
        """Whether the pool's export or share is mounted from one of its servers; None = the resolver does not tell."""
        host, path = address.split(mount.what, pool.protocol)
        if not _same_path(pool, path, mount.root):
            return False
        shown = {address.plain(host), address.plain(mount.option("addr"))} - {""}
        if shown.intersection(address.plain(one) for one in pool.server):
            return True
        # A name on one side and an address on the other: the resolver may know that they are the same.
        known = self._resolve(pool.server, deadline)
        return None if known is None else bool(shown.intersection(known))

    def _resolve(self, names: Tuple[str, ...], deadline: float) -> Optional[Tuple[str, ...]]:
        """The addresses of all names, each once; asked in processes, for a resolver can hang too.  None: no answer."""
        found = []
        for name in names:
            if address.is_address(name):
                found.append(address.plain(name))
                continue
            answer = self.commands.run(("getent", name), (GETENT, "ahosts", "--", name), deadline, self._patience)
            if answer.state != command.ANSWERED or answer.status:
                return None
            found.extend(address.plain(line.split()[0]) for line in answer.output.split("\n") if line.strip())
        return tuple(dict.fromkeys(found))

    def _tried(
        self, pool: Pool, target: str, mount: mountinfo.Mount, deadline: float
    ) -> Tuple[command.Answer, Dict[str, int]]:
        """The server's answer, and the requests that got stuck on the way to it, by address.

        A request that is queued on a dead transport stays there though others work, so the question of a trunked mount
        that gets no answer in its share of the time is taken back and asked anew: the kernel sends it elsewhere.
        """
        stuck: Dict[str, int] = {}
        tries = _TRIES if pool.protocol == NFS and pool.trunking else 1
        while True:
            now = time.monotonic()
            answer = self._statfs(target, mount, min(deadline, now + max(0.0, deadline - now) / tries))
            tries -= 1
            if answer.state != command.HANGS:
                return answer, stuck
            if not tries or answer.seconds >= self._patience:
                return answer, stuck
            stuck.update(self._transports.waiting(mount, pool.server))
            self.commands.kill(_key(target, mount), answer)

    def _reconnected(
        self, pool: Pool, target: str, mount: mountinfo.Mount, deadline: float, answer: command.Answer
    ) -> command.Answer:
        """The first question after a share of SMB has come back ends with an error, and has the client connect anew: it is asked again."""
        for _ in range(2):
            if pool.protocol != SMB or _errno(answer) not in _RECONNECTS or deadline - time.monotonic() < 2 * _PAUSE:
                break
            time.sleep(_PAUSE)
            answer = self._statfs(target, mount, deadline)
        return answer

    def _statfs(self, target: str, mount: mountinfo.Mount, deadline: float) -> command.Answer:
        # A new mount in the place of a dead one (umount -l) is another question: it must not wait for the old one.
        argv = (STAT, "-f", "-c", "%S %b %a %c %d", "--", target)
        return self.commands.run(_key(target, mount), argv, deadline, self._patience)


def known(pool: Pool) -> bool:
    """Whether the pool has a mount to be asked: a file protocol's, or one on a file system that we or libvirt mount."""
    return pool.protocol in _TYPES or (pool.type in ("dir", "fs") and pool.filesystem in FILESYSTEMS)


def _key(target: str, mount: mountinfo.Mount) -> Tuple[str, str, int]:
    return target, mount.device, mount.id


def _answered(pool: Pool, answer: command.Answer) -> Tuple[Finding, ...]:
    """What the server's answer, or its silence, means."""
    if answer.state == command.HANGS:
        return (_no_answer(pool, answer),)
    if answer.state == command.BROKEN:
        return (finding("mount.error", target=pool.target, error=f"{STAT} cannot be run: {answer.error}"),)
    space = _space(answer.output) if not answer.status else None
    if space is None:
        return (_error(pool, answer),)
    return judge(pool, space)


def judge(pool: Pool, space: Space) -> Tuple[Finding, ...]:
    """What the space that is left means for the pool.  Pure."""
    amount, unit = pool.gate.min_free
    least = space.size * amount / 100.0 if unit == "%" else amount
    shown = {"target": pool.target, "free": size_text(space.free), "size": size_text(space.size)}
    found: Tuple[Finding, ...] = ()
    if space.size > 0 and space.free < least:
        wanted = f"{amount:g}% ({size_text(least)})" if unit == "%" else size_text(least)
        found += (finding("space.full", wanted=wanted, **shown),)
    elif space.size > 0 and space.free < least * LOW:
        found += (finding("space.low", **shown),)
    if space.inodes > 0 and space.inodes_free <= 0:
        found += (finding("inodes.full", target=pool.target),)
    return found


def size_text(size: float) -> str:
    """Bytes for people: 1536 -> "1.5 KiB"."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024.0
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" or size >= 100 else f"{size:.1f} {units[0]}"


def _space(output: str) -> Optional[Space]:
    fields = output.split()
    if len(fields) != 5 or not all(re.fullmatch(r"-?[0-9]{1,25}", field) for field in fields):
        return None
    unit, blocks, available, inodes, inodes_free = (int(field) for field in fields)
    return Space(blocks * unit, max(0, available) * unit, inodes, inodes_free)


def _said(answer: command.Answer) -> str:
    """The system's words for why stat failed."""
    return answer.error.strip().rpartition(": ")[2].partition(" (os error")[0]


def _errno(answer: command.Answer) -> int:
    return _ERRNO.get(_said(answer), 0) if answer.status else 0


def _error(pool: Pool, answer: command.Answer) -> Finding:
    """stat told an error: "stat: cannot read file system information for 'PATH': TEXT" (in the C locale)."""
    text = _said(answer)
    number = _ERRNO.get(text)
    if number == errno.ESTALE:
        return finding("mount.stale", target=pool.target, unit=path_unit(pool.target, "mount"))
    if number is None:
        text = f"stat -f ended with status {answer.status}" + (f", {_shown(text)}" if text else "")
    return finding("mount.error", target=pool.target, error=text)


def _no_answer(pool: Pool, answer: command.Answer) -> Finding:
    return finding("mount.no-answer", since=answer.since, target=pool.target, seconds=answer.seconds)


def _same_path(pool: Pool, path: str, root: str) -> bool:
    """Whether an NFS export or SMB share, of which `root` is mounted, is the pool's."""
    if pool.protocol == NFS:
        return _clean(path + "/" + root) == _clean(pool.export)
    # cifs tells a path below the share in the source, and again as the root where it shares the superblock.
    wanted = _clean(pool.share.replace("\\", "/")).lower()
    shown = _clean(path).lower()
    return shown == wanted and (root == "/" or wanted.endswith(root.lower()))


def _clean(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _wanted(pool: Pool) -> str:
    if pool.protocol == NFS:
        return " or ".join(f"{address.bracketed(one)}:{pool.export}" for one in pool.server)
    return " or ".join(f"//{one}/{pool.share.strip('/')}" for one in pool.server)


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300])
