"""A file of a snapshot brought back as a new file of the same volume, by the array itself: no data is copied.

Imports no client library: it talks through kvmontap.array.client.
"""

import os
from typing import Mapping

from kvmontap.array.answers import AnswerError, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import unusable
from kvmontap.array.jobs import follow
from kvmontap.array.state import VolumeRef
from kvmontap.model import NFS, Pool

_WAIT = 5  # seconds that the array may take before it hands out a job


def clone(client: Client, volume: VolumeRef, snapshot: str, path: str, destination: str, deadline: float) -> None:
    """`destination` becomes a clone of what `path` was in the snapshot, or where that is "" of what it is (paths within the volume).

    Raises ArrayError.  The destination must not be there.  Sent once: where `maybe_done` is set, the file may appear, or not.
    """
    body = {
        "volume": {"uuid": volume.uuid, "name": volume.name},
        "source_path": f".snapshot/{snapshot}/{path}" if snapshot else path,
        "destination_path": destination,
    }
    job = client.clone_file(body, min(_WAIT, max(0, int(client.array.timeout / 2))), deadline)
    if job:
        follow(client, job, client.where("file clones", "create"), deadline)


def place(client: Client, pool: Pool, volume: VolumeRef, deadline: float) -> str:
    """Where the pool's root lies within its volume, "" for the volume's own root; raises ArrayError."""
    found = client.records("Volume", ("name", "nas.path"), deadline, uuid=volume.uuid)
    junction = _text(client, found[0] if found else {}, "nas.path")
    if pool.protocol == NFS:
        shown = pool.export
    else:
        svm = {"svm.uuid": volume.svm_uuid} if volume.svm_uuid else {"svm.name": volume.svm}
        share, _, below = pool.share.strip("/\\").replace("\\", "/").partition("/")
        shares = client.records("CifsShare", ("name", "path"), deadline, name=share, **svm)
        shown = os.path.join(_text(client, shares[0] if shares else {}, "path"), below)
    if not junction or not (os.path.normpath(shown) + "/").startswith(junction.rstrip("/") + "/"):
        raise unusable(client.where("volumes"), one_line(f"volume {volume.name} is mounted at {junction or 'no path'}, not above {shown}"))
    inside = os.path.relpath(os.path.normpath(shown), junction)
    return "" if inside == "." else inside


def _text(client: Client, record: Mapping, path: str) -> str:
    try:
        return text(record, path)
    except AnswerError as error:
        raise unusable(client.where("volumes"), one_line(str(error))) from None

