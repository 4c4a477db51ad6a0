"""A volume that is only numbers."""

from __future__ import annotations

from typing import Any, Iterable

from . import hook


class Memory:
    """Snapshots are entries in the books and nothing more."""

    def space(self, volume: Any) -> tuple:
        used = volume.size // 10 if volume.used is None else volume.used
        return volume.size, used, max(0, volume.size - used)

    def load(self, volume: Any) -> Iterable:
        return ()

    def create(self, volume: Any, snapshot: Any) -> None:
        snapshot.size = 4096

    def delete(self, volume: Any, snapshot: Any) -> None:
        pass

    def modify(self, volume: Any, snapshot: Any, old_name: str) -> None:
        pass

    def clone_volume(self, name: str, snapshot: Any) -> "Memory":
        return Memory()

    def delete_volume(self) -> None:
        pass

    def revert(self, volume: Any, snapshot: Any) -> None:
        pass

    def set_state(self, volume: Any, state: str) -> None:
        hook.run(volume, state)
