"""/api/snapmirror/relationships/{relationship.uuid}/transfers: an update, which is over at once.

Where source and destination are both volumes of this array, the destination then holds the source's snapshots.
"""

from __future__ import annotations

import copy
import uuid
from typing import Any, Optional

from ..exchange import Answer, ApiError, no_entry
from ..state import Volume
from . import Call, body_of


def _volume(call: Call, path: str) -> Optional[Volume]:
    svm, _, name = path.partition(":")
    found = [
        each for each in call.state.volumes.values() if (each.svm.name, each.name) == (svm, name)
    ]
    return found[0] if found else None


def _relationship(call: Call) -> Any:
    for row in call.state.relationships:
        if row.get("uuid") == call.keys["relationship.uuid"]:
            return row
    raise no_entry("relationship.uuid")


def post_transfer(call: Call) -> Answer:
    body_of(call, {"source_snapshot", "throttle"})
    with call.state.lock:
        row = _relationship(call)
        if row.get("transfer", {}).get("state") in ("queued", "transferring"):
            raise ApiError(
                409, "13303844", "Update operation failed. Reason: Another transfer is in progress."
            )
        if row.get("state") not in ("snapmirrored", "in_sync"):
            raise ApiError(
                409, "13303844", "Update operation failed. Reason: It is not snapmirrored."
            )
        source = _volume(call, row["source"]["path"])
        destination = _volume(call, row["destination"]["path"])
        if source and destination:
            there = {each.name for each in destination.snapshots.values()}
            for each in list(source.snapshots.values()):
                if each.name not in there:
                    destination.snapshots[each.uuid] = copy.copy(each)
        row["lag_time"] = "PT1S"
        row["last_transfer_type"] = "update"
        row["transfer"] = {"state": "success", "end_time": call.state.stamp()}
    place = f"{call.request.path}/{uuid.uuid4()}"
    return Answer(201, None, (("Location", place),))
