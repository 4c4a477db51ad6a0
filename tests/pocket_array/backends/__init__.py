"""Where the snapshots of a volume really live.

A back end is an object with
    space(volume) -> (size, used, available), bytes
    load(volume) -> iterable of the snapshots that are there already
    create(volume, snapshot)     may raise ApiError; the snapshot exists when it returns
    delete(volume, snapshot)     may raise ApiError; idempotent
    modify(volume, snapshot, old_name)   name, comment, label or expiry have changed
    set_state(volume, state)     the volume goes online or offline
    clone_volume(name, snapshot) -> back end of a FlexClone of that name; delete_volume(): it goes; revert(volume, snapshot)
    root: where the files are, where there are any
    clone_file(volume, source, destination, overwrite)   may raise ApiError; only where there are files
"""

from __future__ import annotations

from typing import Any


def make(description: dict) -> Any:
    """A back end from {"kind": "memory"}, {"kind": "btrfs", "subvolume": ..., "snapshots": ...} or
    {"kind": "copies", "directory": ..., "snapshots": ...}."""
    from . import btrfs, copies, memory  # they import what imports this

    options = dict(description)
    kind = options.pop("kind", "memory")
    kinds = {"memory": memory.Memory, "btrfs": btrfs.Btrfs, "copies": copies.Copies}
    if kind not in kinds:
        raise ValueError(f"there is no back end {kind}; there are {', '.join(sorted(kinds))}.")
    return kinds[kind](**options)
