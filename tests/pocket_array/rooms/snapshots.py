"""/api/storage/volumes/{volume.uuid}/snapshots.

What is wrong with the request itself is told at once; what the volume has to say (exists, limit,
offline, locked, owned) comes out of the job, and is only told at once within return_timeout.
"""

from __future__ import annotations

import re
import urllib.parse
import uuid
from datetime import datetime, timezone
from typing import Optional

from ..exchange import Answer, ApiError, invalid_value, no_entry
from ..groupstate import settle
from ..query import Collection, list_answer, one_answer, truth
from ..state import COMMENT_LIMIT, Snapshot, Volume
from . import Call, body_of, job_answer, volumes

_PATH = "/api/storage/volumes/{}/snapshots"
SNAPSHOTS = Collection(
    _PATH,
    ("uuid", "name"),
    frozenset(
        """comment compress_savings create_time dedup_savings delta expiry_time logical_size name
    owners provenance_volume reclaimable_space size snaplock snaplock_expiry_time snapmirror_label state
    svm uuid vbn0_savings version_uuid volume""".split()
    ),
    ("reclaimable_space", "delta.*"),
    lambda row: f"{_PATH.format(row['volume']['uuid'])}/{row['uuid']}",
)
_BODY = {"name", "comment", "expiry_time", "snapmirror_label", "snaplock", "snaplock_expiry_time"}
_RESERVED = ("snapmirror.", "vserverdr.")


def row_of(volume: Volume, snapshot: Snapshot) -> dict:
    row = {
        "uuid": snapshot.uuid,
        "name": snapshot.name,
        "create_time": snapshot.create_time,
        "state": snapshot.state,
        "size": snapshot.size,
        "logical_size": snapshot.size,
        "svm": volume.svm.reference(),
        "volume": volume.reference(),
        "version_uuid": snapshot.uuid,
        "comment": snapshot.comment,
        "expiry_time": snapshot.expiry_time,
        "snapmirror_label": snapshot.snapmirror_label,
        "owners": list(snapshot.owners) or None,
        "snaplock_expiry_time": snapshot.snaplock_expiry_time,
    }
    if snapshot.snaplock_expiry_time:
        row["snaplock"] = {"expiry_time": snapshot.snaplock_expiry_time}
    return {key: value for key, value in row.items() if value is not None}


def _find(call: Call, volume: Volume) -> Optional[Snapshot]:
    return volume.snapshots.get(call.keys["uuid"])


def list_snapshots(call: Call) -> Answer:
    """Of an offline volume no snapshot is seen."""
    volume = volumes.find(call, "volume.uuid")
    with volume.lock:
        rows = [row_of(volume, each) for each in volume.snapshots.values()]
    rows.sort(key=lambda row: (row["create_time"], row["name"]))
    return list_answer(SNAPSHOTS, rows if volume.state == "online" else [], call.request)


def get_snapshot(call: Call) -> Answer:
    volume = volumes.find(call, "volume.uuid")
    snapshot = _find(call, volume)
    if snapshot is None or volume.state != "online":
        raise no_entry()
    return one_answer(SNAPSHOTS, row_of(volume, snapshot), call.request)


def _moment(text: Optional[str], field: str) -> Optional[datetime]:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        raise invalid_value(text, field, "ISO 8601 date and time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def checked(call: Call, body: dict) -> dict:
    """The body, with snaplock.expiry_time (9.15) and snaplock_expiry_time (before) made one."""
    body = dict(body)
    for name in ("name", "comment", "snapmirror_label"):
        if name in body and not isinstance(body[name], str):
            raise invalid_value(body[name], name)
    name = body.get("name")
    if name is not None:
        if name.startswith(_RESERVED):
            raise ApiError(
                400,
                "1638477",
                "User-created snapshot names cannot begin with the specified prefix.",
                "name",
            )
        if not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,254}", name):
            raise ApiError(
                400, "1638518", f'The specified snapshot name "{name}" is invalid.', "name"
            )
    if len(body.get("comment", "")) > COMMENT_LIMIT:
        raise invalid_value(body["comment"], "comment", "at most 255 characters")
    if "snapmirror_label" in body and not 1 <= len(body["snapmirror_label"]) <= 31:
        raise invalid_value(body["snapmirror_label"], "snapmirror_label", "1 to 31 characters")
    nested = body.pop("snaplock", None)
    if nested:
        body["snaplock_expiry_time"] = nested.get("expiry_time")
    for field in ("expiry_time", "snaplock_expiry_time"):
        _moment(body.get(field), field)
    return body


def ready(volume: Volume) -> None:
    if volume.state != "online" or volume.space()[2] <= 0:
        raise ApiError(
            409,
            "524479",
            f'Volume "{volume.name}" is not online or does not have enough '
            "space to create a snapshot.",
        )
    if volume.type != "rw":
        raise ApiError(400, "1638461", "Snapshots can only be created on read/write (RW) volumes.")
    if volume.reverting:
        raise ApiError(
            409,
            "1638532",
            f'Failed to create the snapshot on volume "{volume.name}" because '
            "a revert operation is in progress.",
        )


def room(volume: Volume, name: str) -> None:
    """Whether one more of that name may be there."""
    if any(each.name == name for each in volume.snapshots.values()):
        raise ApiError(409, "525059", f'A snapshot with the name "{name}" already exists.')
    if len(volume.snapshots) >= volume.snapshot_limit:
        raise ApiError(
            409,
            "525062",
            f"Cannot exceed maximum number of snapshots "
            f'({volume.snapshot_limit}) on volume "{volume.name}".',
        )


def _locking(volume: Volume, body: dict) -> None:
    if body.get("snaplock_expiry_time") and not volume.snapshot_locking_enabled:
        raise ApiError(
            400,
            "1638618",
            'The property "snaplock_expiry_time" cannot be specified for snapshot create.',
            "snaplock_expiry_time",
        )


def post_snapshot(call: Call) -> Answer:
    volume = volumes.find(call, "volume.uuid")
    body = checked(call, body_of(call, _BODY))
    if not body.get("name"):
        raise ApiError(400, "262188", 'Field "name" is required.', "name")
    made = Snapshot(
        str(uuid.uuid4()),
        body["name"],
        "",
        body.get("comment"),
        body.get("expiry_time"),
        body.get("snapmirror_label"),
        body.get("snaplock_expiry_time"),
    )

    def work() -> None:
        with volume.lock:
            ready(volume)
            _locking(volume, body)
            room(volume, made.name)
            made.create_time = call.state.stamp()
            volume.backend.create(volume, made)
            volume.snapshots[made.uuid] = made

    base = _PATH.format(volume.uuid)
    job = call.start_job(f"POST {base}", volume.svm.reference(), work)
    location = {
        "uuid": f"{base}/{made.uuid}",
        "wrong": f"{base}/",
        "none": "",
        "query": f"{base}?{urllib.parse.urlencode({'name': made.name})}",
    }[call.location]
    answer = job_answer(call, job, 201, location)
    if answer.status == 201 and truth(call.request, "return_records", False):
        answer.body.update(
            num_records=1,
            records=[
                one_answer(SNAPSHOTS, row_of(volume, made), call.request._replace(query=())).body
            ],
        )
    return answer


def patch_snapshot(call: Call) -> Answer:
    """name, comment, snapmirror_label, expiry_time; a lock can only be made longer."""
    volume = volumes.find(call, "volume.uuid")
    body = checked(call, body_of(call, _BODY))

    def work() -> None:
        with volume.lock:
            snapshot = _find(call, volume)
            if snapshot is None:
                raise ApiError(404, "1638600", "The snapshot does not exist.", "uuid")
            if volume.type != "rw":
                raise ApiError(
                    400, "1638522", "Snapshots can only be renamed on read/write (RW) volumes."
                )
            new_name = body.get("name", snapshot.name)
            if any(
                each.name == new_name and each is not snapshot for each in volume.snapshots.values()
            ):
                raise ApiError(
                    409, "525059", f'A snapshot with the name "{new_name}" already exists.'
                )
            old_lock = _moment(snapshot.snaplock_expiry_time, "snaplock_expiry_time")
            new_lock = _moment(body.get("snaplock_expiry_time"), "snaplock_expiry_time")
            if old_lock and new_lock and new_lock < old_lock:
                raise ApiError(400, "1638554", "Failed to set expiry time for the snapshot.")
            old_name = snapshot.name
            for field, value in body.items():
                setattr(snapshot, field, value)
            volume.backend.modify(volume, snapshot, old_name)

    job = call.start_job(f"PATCH {call.request.path}", volume.svm.reference(), work)
    return job_answer(call, job, 200)


def deletable(call: Call, volume: Volume, snapshot: Optional[Snapshot]) -> Snapshot:
    if snapshot is None or volume.state != "online":
        raise ApiError(404, "1638600", "The snapshot does not exist.", "uuid")
    if volume.type != "rw":
        raise ApiError(400, "1638521", "Snapshots can only be deleted on read/write (RW) volumes.")
    settle(call.state)
    if volume.fenced:
        raise ApiError(
            409,
            "524481",
            f'Snapshot "{snapshot.name}" was not deleted because the volume '
            f'"{volume.name}" is locked or fenced.',
        )
    if snapshot.owners:
        raise ApiError(
            409, "1638543", f'Failed to delete snapshot "{snapshot.name}" because it has an owner.'
        )
    for field in ("expiry_time", "snaplock_expiry_time"):
        until = _moment(getattr(snapshot, field), field)
        if until and until > call.state.now():
            raise ApiError(
                409, "1638555", f'Snapshot "{snapshot.name}" has not expired or is locked.'
            )
    return snapshot


def delete_snapshot(call: Call) -> Answer:
    volume = volumes.find(call, "volume.uuid")

    def work() -> None:
        with volume.lock:
            snapshot = deletable(call, volume, _find(call, volume))
            volume.backend.delete(volume, snapshot)
            volume.snapshots.pop(snapshot.uuid, None)

    job = call.start_job(f"DELETE {call.request.path}", volume.svm.reference(), work)
    return job_answer(call, job, 200)
