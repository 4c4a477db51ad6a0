"""/api/storage/volumes."""

from __future__ import annotations

from ..exchange import Answer, ApiError, invalid_value, no_entry
from ..query import Collection, list_answer, one_answer
from ..state import COMMENT_LIMIT, Volume, stable_uuid
from . import Call, body_of, job_answer

# What the description of GET /storage/volumes calls expensive, as far as rooms and `extra` show it.
_EXPENSIVE = tuple(
    """is_svm_root aggressive_readahead_mode analytics.by_accessed_time
    analytics.by_modified_time analytics.report_time analytics.supported anti_ransomware.* application.*
    encryption.* queue_for_encryption convert_unicode clone.parent_snapshot clone.parent_svm
    clone.parent_volume clone.split_complete_percent clone.split_estimate clone.split_initiated
    efficiency.* error_state.* files.* max_dir_size nas.export_policy.id nas.gid nas.path
    nas.security_style nas.uid nas.unix_permissions nas.junction_parent snaplock.* quota.* qos.*
    flexcache_endpoint_type space.footprint space.over_provisioned space.metadata
    space.total_footprint space.logical_space space.snapshot space.used_by_afs space.afs_total
    space.available_percent space.full_threshold_percent space.nearly_full_threshold_percent
    space.size_available_for_snapshots space.percent_used space.physical_used
    space.physical_used_percent space.user_data guarantee.* autosize.* movement.* statistics.*
    constituents.* rebalancing.* metric.* cloud_write_enabled""".split()
)
VOLUMES = Collection(
    "/api/storage/volumes",
    ("uuid", "name"),
    frozenset(
        """_tags access_time_enabled activity_tracking aggregates analytics anti_ransomware
    application autosize clone cloud_retrieval_policy cloud_write_enabled comment consistency_group
    constituents convert_unicode create_time efficiency encryption error_state files
    flexcache_endpoint_type flexgroup guarantee is_object_store is_svm_root language max_dir_size
    metric movement msid name nas nodes qos queue_for_encryption quota rebalancing
    scheduled_snapshot_naming_scheme size sizing_method smas_protection snaplock snapmirror
    snapshot_count snapshot_directory_access_enabled snapshot_locking_enabled snapshot_policy space
    state statistics status style svm tiering type uuid""".split()
    ),
    _EXPENSIVE,
    lambda row: f"/api/storage/volumes/{row['uuid']}",
)


def _space(volume: Volume) -> dict:
    """An offline volume tells its size and nothing of what is in it (as recorded from ONTAP)."""
    size, used, available = volume.space()
    if volume.state != "online":
        return {"size": size, "large_size_enabled": False}
    percent = round(100 * used / size) if size else 100
    return {
        "size": size,
        "used": used,
        "available": available,
        "percent_used": percent,
        "available_percent": 100 - percent,
        "afs_total": size,
        "large_size_enabled": False,
        "full_threshold_percent": 98,
        "nearly_full_threshold_percent": 95,
        "size_available_for_snapshots": available,
        "physical_used": used,
        "logical_space": {"used": used, "reporting": False, "enforcement": False},
        "snapshot": {
            "used": sum(s.size for s in list(volume.snapshots.values())),
            "reserve_percent": 0,
            "reserve_size": 0,
            "autodelete_enabled": False,
        },
    }


def merged(base: dict, extra: dict) -> dict:
    """`extra` laid over `base`, dicts into dicts."""
    laid = dict(base)
    for key, value in extra.items():
        both = isinstance(value, dict) and isinstance(laid.get(key), dict)
        laid[key] = merged(laid[key], value) if both else value
    return laid


def row_of(volume: Volume, call: Call) -> dict:
    aggregate = call.state.aggregates.get(volume.aggregate, {})
    online = volume.state == "online"
    space = _space(volume)
    row = {
        "uuid": volume.uuid,
        "name": volume.name,
        "state": volume.state,
        "type": volume.type,
        "style": "flexvol",
        "svm": volume.svm.reference(),
        "size": space["size"],
        "space": space,
        "comment": volume.comment,
        "create_time": volume.create_time,
        "is_svm_root": False,
        "aggregates": [
            {
                "name": volume.aggregate,
                "uuid": aggregate.get("uuid", stable_uuid("aggregate", volume.aggregate)),
            }
        ],
        "nas": {
            "path": volume.path,
            "export_policy": {"name": volume.export_policy},
            "security_style": "unix",
        },
        "snapshot_count": len(volume.snapshots) if online else 0,
        "snapshot_locking_enabled": volume.snapshot_locking_enabled,
        "snapshot_policy": {"name": "none"},
        "anti_ransomware": volume.anti_ransomware,
        "snapmirror": {"is_protected": False},
        "clone": {"is_flexclone": False},
        "snaplock": {"type": "non_snaplock"},
        "guarantee": {"type": "none"},
        "status": [] if online else [f"Volume {volume.name} is not online."],
    }
    return merged(row, volume.extra)


def find(call: Call, key: str = "uuid") -> Volume:
    with call.state.lock:
        volume = call.state.volumes.get(call.keys[key])
    if volume is None or not call.sees(volume.svm):
        if key != "uuid":
            raise ApiError(
                404, "918235", f'A volume with UUID "{call.keys[key]}" was not found.', key
            )
        raise no_entry()
    return volume


def list_volumes(call: Call) -> Answer:
    with call.state.lock:
        volumes = [each for each in call.state.volumes.values() if call.sees(each.svm)]
    volumes.sort(key=lambda each: (each.svm.name, each.name))
    return list_answer(VOLUMES, [row_of(each, call) for each in volumes], call.request)


def get_volume(call: Call) -> Answer:
    return one_answer(VOLUMES, row_of(find(call), call), call.request)


def patch_volume(call: Call) -> Answer:
    """state, comment, size, snapshot_locking_enabled."""
    volume = find(call)
    body = body_of(call, {"state", "comment", "size", "snapshot_locking_enabled"})
    state = body.get("state", volume.state)
    if state not in ("online", "offline", "restricted"):
        raise ApiError(
            400,
            "918652",
            f'"{state}" is an invalid value for field "-state". Valid values '
            'are "online", "offline" and "restricted".',
            "state",
        )
    if len(body.get("comment", "")) > COMMENT_LIMIT:
        raise invalid_value(body["comment"], "comment", "at most 255 characters")

    def work() -> None:
        with volume.lock:
            for name in ("comment", "size", "snapshot_locking_enabled"):
                if name in body:
                    setattr(volume, name, body[name])
            if state != volume.state:
                volume.backend.set_state(volume, state)
                volume.state = state

    job = call.start_job(
        f"PATCH {VOLUMES.href({'uuid': volume.uuid})}", volume.svm.reference(), work
    )
    return job_answer(call, job, 200)
