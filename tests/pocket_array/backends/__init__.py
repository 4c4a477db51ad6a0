"""Where the snapshots of a volume really live.

A back end is an object with
    space(volume) -> (size, used, available), bytes
    load(volume) -> iterable of the snapshots that are there already
    create(volume, snapshot)     may raise ApiError; the snapshot exists when it returns
    delete(volume, snapshot)     may raise ApiError; idempotent
    modify(volume, snapshot, old_name)   name, comment, label or expiry have changed
    set_state(volume, state)     the volume goes online or offline
"""

from __future__ import annotations

from typing import Any


def make(description: dict) -> Any:
    """A back end from {"kind": "memory"} or {"kind": "btrfs", "subvolume": ..., "snapshots": ...}."""
    from . import btrfs, memory  # they import what imports this

    options = dict(description)
    kind = options.pop("kind", "memory")
    kinds = {"memory": memory.Memory, "btrfs": btrfs.Btrfs}
    if kind not in kinds:
        raise ValueError(f"there is no back end {kind}; there are {', '.join(sorted(kinds))}.")
    return kinds[kind](**options)
