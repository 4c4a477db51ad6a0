"""/api/storage/file/clone: one file of a volume, or of a snapshot of it, as a new file."""

from __future__ import annotations

from ..exchange import Answer, ApiError, no_entry
from . import Call, body_of, job_answer

_BODY = {
    "volume",
    "source_path",
    "destination_path",
    "overwrite_destination",
    "autodelete",
    "is_backup",
    "range",
    "token_uuid",
}


def post_clone(call: Call) -> Answer:
    body = body_of(call, _BODY)
    about = body.get("volume") or {}
    volume = next(
        (
            each
            for each in call.state.volumes.values()
            if about.get("uuid", each.uuid) == each.uuid and call.sees(each.svm)
        ),
        None,
    )
    if volume is None or not about:
        raise no_entry()
    if about.get("name", volume.name) != volume.name:
        raise ApiError(
            400,
            "918236",
            "The specified volume.uuid and volume.name refer to different volumes.",
        )
    source, destination = body.get("source_path"), body.get("destination_path")
    for name, path in (("source_path", source), ("destination_path", destination)):
        if not path:
            raise ApiError(400, "262188", f'Field "{name}" is required.', name)
        if path.startswith("/"):
            raise ApiError(400, "917812", "A relative path must be used.", name)

    def work() -> None:
        with volume.lock:
            if volume.state != "online":
                raise ApiError(400, "917864", "Failed to get the file handle.")
            make = getattr(volume.backend, "clone_file", None)
            if make is None:  # a volume that is only numbers has no files
                raise ApiError(400, "917864", "Failed to get the file handle.")
            make(volume, source, destination, bool(body.get("overwrite_destination")))

    job = call.start_job("POST /api/storage/file/clone", volume.svm.reference(), work)
    return job_answer(call, job, 201, "/api/storage/file/clone")
