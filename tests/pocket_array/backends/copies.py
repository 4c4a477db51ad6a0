"""A volume that is a directory; its snapshots are copies of it. For tests without btrfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any, Iterable

from . import hook
from .clone import clone


class Copies:
    """`directory`: the volume's root; `snapshots`: directory for the copies, made if missing."""

    def __init__(self, directory: str, snapshots: str):
        self.directory, self.snapshots = directory, snapshots
        self.root = directory
        os.makedirs(snapshots, exist_ok=True)

    def space(self, volume: Any) -> tuple:
        used = volume.size // 10 if volume.used is None else volume.used
        return volume.size, used, max(0, volume.size - used)

    def load(self, volume: Any) -> Iterable:
        return ()

    def create(self, volume: Any, snapshot: Any) -> None:
        place = os.path.join(self.snapshots, snapshot.name)
        subprocess.run(
            ["cp", "-a", "--reflink=auto", "--", self.directory, place], check=True, timeout=600
        )
        snapshot.size = 4096

    def delete(self, volume: Any, snapshot: Any) -> None:
        shutil.rmtree(os.path.join(self.snapshots, snapshot.name), ignore_errors=True)

    def modify(self, volume: Any, snapshot: Any, old_name: str) -> None:
        if old_name != snapshot.name:
            os.rename(
                os.path.join(self.snapshots, old_name), os.path.join(self.snapshots, snapshot.name)
            )

    def clone_volume(self, name: str, snapshot: Any) -> "Copies":
        place = os.path.join(os.path.dirname(self.directory), name)
        subprocess.run(["cp", "-a", "--reflink=auto", "--", os.path.join(self.snapshots, snapshot.name), place], check=True, timeout=600)
        return Copies(place, os.path.join(self.snapshots + "-of-clones", name))

    def delete_volume(self) -> None:
        for place in (self.directory, self.snapshots):
            shutil.rmtree(place, ignore_errors=True)

    def revert(self, volume: Any, snapshot: Any) -> None:
        """The directory itself stays, since it may be what is shown to hosts."""
        for entry in os.scandir(self.directory):
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
        subprocess.run(["cp", "-a", "--reflink=auto", "--", f"{os.path.join(self.snapshots, snapshot.name)}/.", self.directory],
                       check=True, timeout=600)  # fmt: skip

    def set_state(self, volume: Any, state: str) -> None:
        hook.run(volume, state)

    def clone_file(self, volume: Any, source: str, destination: str, overwrite: bool) -> None:
        clone(self.directory, self.snapshots, source, destination, overwrite)
