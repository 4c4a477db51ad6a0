"""/api/storage/volumes: FlexClones made and deleted, and a volume that goes back to a snapshot."""

from __future__ import annotations

from typing import Any, Optional

from ..exchange import Answer, ApiError
from ..query import truth
from ..state import Volume, stable_uuid
from . import Call, body_of, job_answer, volumes

OWNER = "volume clone"  # of a snapshot that a FlexClone stands on


def _parent(call: Call, told: dict) -> Volume:
    for volume in call.state.volumes.values():
        if told.get("name", volume.name) == volume.name and told.get("uuid", volume.uuid) == volume.uuid and call.sees(volume.svm):
            if told:
                return volume
    raise ApiError(404, "524601", f'Parent volume "{told.get("name", "")}" not found.')


def _snapshot(volume: Volume, told: dict) -> Any:
    for snapshot in volume.snapshots.values():
        if told and told.get("name", snapshot.name) == snapshot.name and told.get("uuid", snapshot.uuid) == snapshot.uuid:
            return snapshot
    return None


def post_volume(call: Call) -> Answer:
    """A FlexClone; nothing else is made here."""
    body = body_of(call, {"name", "svm", "clone", "type", "comment"})
    clone = body.get("clone") or {}
    if not clone.get("is_flexclone"):
        raise ApiError(400, "918233", "The target field cannot be specified for this operation.")
    if not body.get("name"):
        raise ApiError(400, "262188", 'Field "name" is required.', "name")
    if not body.get("svm"):
        raise ApiError(400, "2621707", "No SVM was specified. Either svm.name or svm.uuid must be supplied.")
    name, parent = body["name"], _parent(call, clone.get("parent_volume") or {})
    if not (name[0].isalpha() or name[0] == "_"):
        raise ApiError(400, "917887", "The first character of the volume name must be a letter or underscore.")

    def work() -> None:
        with parent.lock:
            if parent.state != "online":
                raise ApiError(400, "917775", f'Volume "{parent.svm.name}:{parent.name}" is not online.')
            snapshot = _snapshot(parent, clone.get("parent_snapshot") or {})
            if snapshot is None:
                raise ApiError(400, "524819", "Failed to create the clone volume: the parent snapshot does not exist.")
            if any((each.name, each.svm) == (name, parent.svm) for each in call.state.volumes.values()):
                raise ApiError(409, "917526", "The volume name specified is a duplicate.")
            made = call.state.add_volume({"name": name, "svm": parent.svm.name, "path": None, "size": parent.size,
                                          "aggregate": parent.aggregate})
            made.backend = parent.backend.clone_volume(name, snapshot)
            made.parent, made.parent_snapshot = parent, snapshot.name
            made.extra = {"clone": {"is_flexclone": True, "parent_volume": {"name": parent.name, "uuid": parent.uuid},
                                    "parent_snapshot": {"name": snapshot.name, "uuid": snapshot.uuid},
                                    "parent_svm": {"name": parent.svm.name, "uuid": parent.svm.uuid}}}
            if OWNER not in snapshot.owners:
                snapshot.owners = [*snapshot.owners, OWNER]
            with call.state.lock:
                call.state.san.cloned(parent, made)

    job = call.start_job("POST /api/storage/volumes", parent.svm.reference(), work)
    return job_answer(call, job, 201, f"/api/storage/volumes/{stable_uuid('volume', parent.svm.name, name)}")


def delete_volume(call: Call) -> Answer:
    volume = volumes.find(call)
    truth(call.request, "force", False)

    def work() -> None:
        with volume.lock:
            if any(each.parent is volume for each in call.state.volumes.values()):
                raise ApiError(409, "524615", "Failed to delete volume because it has one or more clones.")
            with call.state.lock:
                call.state.san.forget(volume)
                call.state.volumes.pop(volume.uuid, None)
            volume.backend.delete_volume()
        _disown(call, volume)

    job = call.start_job(f"DELETE /api/storage/volumes/{volume.uuid}", volume.svm.reference(), work)
    return job_answer(call, job, 200)


def _disown(call: Call, volume: Volume) -> None:
    """The parent's snapshot has no clone left."""
    parent = volume.parent
    if parent is None or any((each.parent, each.parent_snapshot) == (parent, volume.parent_snapshot)
                             for each in call.state.volumes.values()):
        return
    for snapshot in parent.snapshots.values():
        if snapshot.name == volume.parent_snapshot:
            snapshot.owners = [each for each in snapshot.owners if each != OWNER]


def patch_volume(call: Call) -> Answer:
    """A revert where the query says restore_to, else what rooms/volumes.py does."""
    told = {name: value for name, value in call.request.query if name.startswith("restore_to.")}
    return _revert(call, told) if told else volumes.patch_volume(call)


def _revert(call: Call, told: dict) -> Answer:
    volume = volumes.find(call)
    if set(told) - {"restore_to.snapshot.name", "restore_to.snapshot.uuid", "restore_to.snapshot.force"}:
        raise ApiError(400, "918251", "Specifying a value is not valid for a snapshot restore operation.")
    wanted = {name.rsplit(".", 1)[1]: value for name, value in told.items() if not name.endswith(".force")}

    def work() -> None:
        with volume.lock:
            _reverted(call, volume, _snapshot(volume, wanted))

    job = call.start_job(f"PATCH /api/storage/volumes/{volume.uuid}", volume.svm.reference(), work)
    return job_answer(call, job, 200)


def _reverted(call: Call, volume: Volume, snapshot: Optional[Any]) -> None:
    if volume.state != "online":
        raise ApiError(400, "9437885", "The volume is not online.")
    if snapshot is None:
        raise ApiError(400, "524511", 'Failed to restore snapshot: it does not exist.')
    several = list(volume.snapshots.values())  # in the order in which they were taken
    newer = several[several.index(snapshot) + 1:]
    if any("snapmirror" in each.owners for each in newer):
        raise ApiError(409, "1638480", f'Failed to promote snapshot "{snapshot.name}" because one or more newer snapshots are currently '
                       "used as a reference snapshot for data protection operations.")
    if any(each.snaplock_expiry_time and each.snaplock_expiry_time > call.state.stamp() for each in newer):
        raise ApiError(409, "9437886", "Volume snapshot restore failed because there are newer unexpired locked snapshots in the volume.")
    if any(each.owners for each in newer):
        raise ApiError(409, "524511", f'Failed to restore snapshot "{snapshot.name}": a newer snapshot is in use.')
    volume.reverting = True
    try:
        volume.backend.revert(volume, snapshot)
        for each in newer:
            volume.backend.delete(volume, each)
            del volume.snapshots[each.uuid]
    finally:
        volume.reverting = False
