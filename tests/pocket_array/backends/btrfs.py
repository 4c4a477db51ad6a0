"""A volume that is a btrfs subvolume; its snapshots are read-only btrfs snapshots.

The snapshots lie as directories NAME under `snapshots` (same file system). What btrfs cannot keep
(uuid, comment, label, expiry) stands in .pocket-snapshots.json there, so a restarted array knows it.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from typing import Any, Iterable

from ..exchange import ApiError
from . import hook
from .clone import clone

BOOKS = ".pocket-snapshots.json"
SECONDS = 120


class Btrfs:
    """`subvolume`: the volume's root; `snapshots`: directory for its snapshots, made if missing.

    `btrfs`: the command. `whole`: size is that of the file system instead of the description's.
    """

    def __init__(self, subvolume: str, snapshots: str, btrfs: str = "btrfs", whole: bool = True):
        self.subvolume, self.snapshots, self.btrfs, self.whole = subvolume, snapshots, btrfs, whole
        self.root = subvolume

    def _run(self, *words: str) -> None:
        try:
            ended = subprocess.run(
                [self.btrfs, *words],
                text=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ApiError(500, "1", f"btrfs {' '.join(words[:2])}: {error}") from None
        if ended.returncode:
            said = " ".join((ended.stderr or ended.stdout).split())[:300]
            code = "524479" if "space" in said.lower() else "1"
            raise ApiError(500, code, f"btrfs {' '.join(words[:2])}: {said}")

    def _place(self, name: str) -> str:
        return os.path.join(self.snapshots, name)

    def space(self, volume: Any) -> tuple:
        """From statvfs: free space is what the file system has left for users."""
        try:
            found = os.statvfs(self.subvolume)
        except OSError:
            return volume.size, 0, volume.size
        total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        if self.whole:
            return total, used, free
        return volume.size, used, min(free, max(0, volume.size - used))

    def load(self, volume: Any) -> Iterable:
        from ..state import Snapshot, iso, stable_uuid
        from datetime import datetime, timezone

        os.makedirs(self.snapshots, exist_ok=True)
        try:
            with open(self._place(BOOKS), encoding="utf-8") as books:
                known = {item["name"]: item for item in json.load(books)}
        except FileNotFoundError:
            known = {}
        for entry in sorted(os.scandir(self.snapshots), key=lambda entry: entry.name):
            if not entry.is_dir(follow_symlinks=False):
                continue
            if entry.name in known:
                yield Snapshot(**known[entry.name])
            else:
                made = datetime.fromtimestamp(entry.stat().st_ctime, timezone.utc)
                yield Snapshot(
                    stable_uuid("snapshot", volume.uuid, entry.name), entry.name, iso(made)
                )

    def _keep_books(self, volume: Any, *, plus: Any = None, minus: Any = None) -> None:
        kept = {item.uuid: asdict(item) for item in list(volume.snapshots.values())}
        if plus is not None:
            kept[plus.uuid] = asdict(plus)
        if minus is not None:
            kept.pop(minus.uuid, None)
        draft = self._place(BOOKS + ".new")
        with open(draft, "w", encoding="utf-8") as books:
            json.dump(list(kept.values()), books)
        os.replace(draft, self._place(BOOKS))

    def create(self, volume: Any, snapshot: Any) -> None:
        self._run("subvolume", "snapshot", "-r", self.subvolume, self._place(snapshot.name))
        self._keep_books(volume, plus=snapshot)

    def delete(self, volume: Any, snapshot: Any) -> None:
        if os.path.isdir(self._place(snapshot.name)):
            self._run("subvolume", "delete", self._place(snapshot.name))
        self._keep_books(volume, minus=snapshot)

    def modify(self, volume: Any, snapshot: Any, old_name: str) -> None:
        if old_name != snapshot.name:
            os.rename(self._place(old_name), self._place(snapshot.name))
        self._keep_books(volume, plus=snapshot)

    def clone_volume(self, name: str, snapshot: Any) -> "Btrfs":
        place = os.path.join(os.path.dirname(self.subvolume), name)
        self._run("subvolume", "snapshot", self._place(snapshot.name), place)
        made = Btrfs(place, os.path.join(os.path.dirname(self.snapshots), name), self.btrfs, self.whole)
        os.makedirs(made.snapshots, exist_ok=True)
        return made

    def delete_volume(self) -> None:
        for entry in list(os.scandir(self.snapshots)):
            if entry.is_dir(follow_symlinks=False):
                self._run("subvolume", "delete", entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(self.snapshots)
        if os.path.isdir(self.subvolume):
            self._run("subvolume", "delete", self.subvolume)

    def revert(self, volume: Any, snapshot: Any) -> None:
        """What is shown to hosts goes away and comes back as another subvolume: their open files are stale, as with ONTAP."""
        hook.run(volume, "offline")
        old, new = self.subvolume + ".old", self.subvolume + ".new"
        self._run("subvolume", "snapshot", self._place(snapshot.name), new)
        os.rename(self.subvolume, old)
        os.rename(new, self.subvolume)
        self._run("subvolume", "delete", old)
        hook.run(volume, "online")

    def set_state(self, volume: Any, state: str) -> None:
        hook.run(volume, state)

    def clone_file(self, volume: Any, source: str, destination: str, overwrite: bool) -> None:
        clone(self.subvolume, self.snapshots, source, destination, overwrite)
