"""A file of a volume, or of one of its snapshots, cloned within the volume: for back ends that have files."""

from __future__ import annotations

import os
import subprocess

from ..exchange import ApiError

_SECONDS = 600


def clone(root: str, snapshots: str, source: str, destination: str, overwrite: bool) -> None:
    """Paths as ONTAP has them, within the volume; ".snapshot/NAME/..." lies in the snapshots' directory."""
    place = _inside(root, destination)
    parts = source.split("/")
    if parts[0] == ".snapshot" and len(parts) > 2:
        origin = _inside(os.path.join(snapshots, parts[1]), "/".join(parts[2:]))
    else:
        origin = _inside(root, source)
    if not os.path.isfile(origin) or not os.path.isdir(os.path.dirname(place)):
        raise ApiError(400, "917864", "Failed to get the file handle.")
    if os.path.lexists(place) and not overwrite:
        raise ApiError(409, "13565952", "Clone start failed: the destination file exists.")
    ended = subprocess.run(
        ["cp", "-p", "--reflink=auto", "--sparse=always", "--", origin, place],
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
    )
    if ended.returncode:
        raise ApiError(500, "13565952", f"Clone start failed: {ended.stderr.strip()[:200]}")


def _inside(root: str, path: str) -> str:
    made = os.path.normpath(os.path.join(root, path))
    if not made.startswith(os.path.normpath(root) + "/"):
        raise ApiError(400, "917864", "Failed to get the file handle.")
    return made
