"""The command that is run when a volume goes offline or online (in the lab: withdraw the export)."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ..exchange import ApiError

SECONDS = 30


def run(volume: Any, state: str) -> None:
    """Run `hook... VOLUME STATE`; also POCKET_VOLUME, POCKET_STATE, POCKET_JUNCTION in its environment.

    Nothing where the volume has none. ApiError where it fails or takes longer than 30 s.
    """
    if not volume.hook:
        return
    environment = dict(
        os.environ, POCKET_VOLUME=volume.name, POCKET_STATE=state, POCKET_JUNCTION=volume.path or ""
    )
    try:
        ended = subprocess.run(
            [*volume.hook, volume.name, state],
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApiError(
            500, "917536", f"hook {volume.hook[0]} of volume {volume.name}: {error}"
        ) from None
    if ended.returncode:
        said = " ".join((ended.stderr or ended.stdout).split())[:300]
        raise ApiError(
            500,
            "917536",
            f"hook {volume.hook[0]} of volume {volume.name} failed with {ended.returncode}: {said}",
        )
