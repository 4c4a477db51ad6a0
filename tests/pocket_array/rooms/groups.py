"""/api/application/consistency-groups: read, and their snapshots in one phase or two.

In two phases POST ?action=start fences the writes of every volume and PATCH ?action=commit makes the snapshots and lets the writes go on.
Without a commit within `action_timeout` the array gives it up by itself: nothing is made, no fence stays.
"""

from __future__ import annotations

import time
import uuid
from typing import Callable, Optional

from ..exchange import Answer, ApiError, invalid_value, no_entry
from ..groupstate import Group, Started, settle
from ..query import Collection, list_answer, one_answer, truth
from ..state import Snapshot
from . import Call, body_of, job_answer, snapshots

_PATH = "/api/application/consistency-groups/{}/snapshots"
GROUPS = Collection(
    "/api/application/consistency-groups",
    ("uuid", "name"),
    frozenset(
        """application clone consistency_groups luns map_to metric name namespaces
    parent_consistency_group provisioning_options qos replicated replication_relationships
    replication_source snapshot_policy space statistics svm tiering uuid vdisk_type volumes""".split()
    ),
    ("luns.*", "namespaces.*", "volumes.*", "consistency_groups.*"),
    lambda row: f"/api/application/consistency-groups/{row['uuid']}",
)
SNAPSHOTS = Collection(
    _PATH,
    ("consistency_group.uuid", "uuid", "name"),
    frozenset(
        """comment consistency_group consistency_type create_time is_partial luns missing_luns
    missing_namespaces missing_volumes name namespaces reclaimable_space restore_size snaplock
    snapmirror_label snapshot_volumes svm uuid write_fence""".split()
    ),
    ("is_partial", "missing_volumes.*"),
    lambda row: f"{_PATH.format(row['consistency_group']['uuid'])}/{row['uuid']}",
)
_BODY = {"name", "comment", "snapmirror_label", "consistency_type", "write_fence"}


def _named(volume: object) -> dict:
    return {"uuid": volume.uuid, "name": volume.name}


def _row(group: Group) -> dict:
    row = {
        "uuid": group.uuid,
        "name": group.name,
        "svm": group.svm.reference(),
        "volumes": [_named(each) for each in group.volumes] or None,
        "consistency_groups": [
            {
                "uuid": each.uuid,
                "name": each.name,
                "volumes": [_named(volume) for volume in each.volumes],
            }
            for each in group.groups
        ]
        or None,
    }
    if group.parent is not None:
        row["parent_consistency_group"] = {"uuid": group.parent.uuid, "name": group.parent.name}
    return {key: value for key, value in row.items() if value is not None}


def list_groups(call: Call) -> Answer:
    with call.state.lock:
        found = [each for each in call.state.groups.values() if call.sees(each.svm)]
    return list_answer(GROUPS, [_row(each) for each in found], call.request)


def _find(call: Call, key: str) -> Group:
    with call.state.lock:
        group = call.state.groups.get(call.keys[key])
    if group is None or not call.sees(group.svm):
        raise no_entry(key)
    settle(call.state)
    return group


def _members(group: Group, name: str) -> list:
    """(volume, its snapshot of that name) for every volume that has one."""
    found = []
    for volume in group.everything():
        found += [(volume, each) for each in list(volume.snapshots.values()) if each.name == name]
    return found


def _snapshot_row(group: Group, snapshot: Snapshot) -> Optional[dict]:
    """None once no volume has it any more."""
    there = _members(group, snapshot.name)
    if not there:
        return None
    missing = [each for each in group.everything() if each not in [volume for volume, _ in there]]
    row = {
        "uuid": snapshot.uuid,
        "name": snapshot.name,
        "create_time": snapshot.create_time,
        "comment": snapshot.comment,
        "snapmirror_label": snapshot.snapmirror_label,
        "consistency_type": "crash",
        "consistency_group": {"uuid": group.uuid, "name": group.name},
        "svm": group.svm.reference(),
        "is_partial": bool(missing),
        "missing_volumes": [_named(each) for each in missing] or None,
        "snapshot_volumes": [
            {"volume": _named(volume), "snapshot": {"uuid": each.uuid, "name": each.name}}
            for volume, each in there
        ],
    }
    return {key: value for key, value in row.items() if value is not None}


def list_snapshots(call: Call) -> Answer:
    group = _find(call, "consistency_group.uuid")
    rows = [_snapshot_row(group, each) for each in list(group.snapshots.values())]
    return list_answer(SNAPSHOTS, [row for row in rows if row], call.request)


def get_snapshot(call: Call) -> Answer:
    group = _find(call, "consistency_group.uuid")
    snapshot = group.snapshots.get(call.keys["uuid"])
    row = snapshot and _snapshot_row(group, snapshot)
    if not row:
        raise no_entry()
    return one_answer(SNAPSHOTS, row, call.request)


def _action(call: Call, allowed: str) -> str:
    text = dict(call.request.query).get("action", "")
    if text not in ("", allowed):
        raise invalid_value(text, "action", allowed)
    return text


def _seconds(call: Call) -> float:
    text = dict(call.request.query).get("action_timeout", "7")
    if not text.isdigit() or not 5 <= int(text) <= 120:
        raise invalid_value(text, "action_timeout", "5..120")
    limit = call.state.fence_limit
    return float(text) if limit is None else min(float(text), limit)


def _failed(error: ApiError) -> ApiError:
    words = f"Failed to create snapshot for consistency group. Reason: {error.message}"
    return ApiError(409, "53411921", words)


def _ready(group: Group, name: str) -> None:
    if group.started is not None:
        raise ApiError(409, "53411918", "Snapshot operation not permitted.")
    for volume in group.everything():
        try:
            snapshots.ready(volume)
            snapshots.room(volume, name)
        except ApiError as error:
            raise _failed(error) from None


def _make(call: Call, group: Group, made: Snapshot) -> None:
    made.create_time = call.state.stamp()
    for volume in group.everything():
        with volume.lock:
            one = Snapshot(
                str(uuid.uuid4()),
                made.name,
                made.create_time,
                made.comment if call.state.group_comments else None,
                None,
                made.snapmirror_label,
            )
            volume.backend.create(volume, one)
            volume.snapshots[one.uuid] = one
    group.snapshots[made.uuid] = made


def post_snapshot(call: Call) -> Answer:
    group = _find(call, "consistency_group.uuid")
    body = snapshots.checked(call, body_of(call, _BODY))
    start, seconds = _action(call, "start") == "start", _seconds(call)
    if not body.get("name"):
        raise ApiError(400, "262188", 'Field "name" is required.', "name")
    made = Snapshot(
        str(uuid.uuid4()),
        body["name"],
        "",
        body.get("comment"),
        None,
        body.get("snapmirror_label"),
    )

    def work() -> None:
        with call.state.lock:
            _ready(group, made.name)
            if start:
                group.started = Started(made, time.monotonic() + seconds)
                for volume in group.everything():
                    volume.fenced = True
            else:
                _make(call, group, made)

    base = _PATH.format(group.uuid)
    job = call.start_job(f"POST {base}", group.svm.reference(), work)
    answer = job_answer(call, job, 201, f"{base}/{made.uuid}")
    if answer.status != 201:
        return answer
    if not truth(call.request, "return_records", False):
        return answer._replace(body=None)
    records = [{"uuid": made.uuid, "name": made.name}]
    return answer._replace(body={"num_records": 1, "records": records})


def patch_snapshot(call: Call) -> Answer:
    """Only `action=commit`."""
    group = _find(call, "consistency_group.uuid")
    body_of(call, set())
    if _action(call, "commit") != "commit":
        raise ApiError(400, "262188", 'Field "action" is required.', "action")

    def work() -> None:
        with call.state.lock:
            started = group.started
            if started is None or started.snapshot.uuid != call.keys["uuid"]:
                raise ApiError(
                    404,
                    "53411925",
                    "Failed to find a previously initiated two-phase snapshot operation for "
                    "consistency group.",
                )
            try:
                _make(call, group, started.snapshot)
            finally:
                group.let_go()

    return _job(call, group, work)


def _job(call: Call, group: Group, work: Callable) -> Answer:
    path = f"{call.request.method} {call.request.path}"
    return job_answer(call, call.start_job(path, group.svm.reference(), work), 200)


def delete_snapshot(call: Call) -> Answer:
    """On all volumes, or on none."""
    group = _find(call, "consistency_group.uuid")
    snapshot = group.snapshots.get(call.keys["uuid"])
    there = _members(group, snapshot.name) if snapshot else []
    if not there:
        raise no_entry()

    def work() -> None:
        for volume, each in there:
            try:
                snapshots.deletable(call, volume, each)
            except ApiError as error:
                owned = error.code == "1638543"
                code, said = ("53412008", "used as a reference") if owned else ("53412007", "locked")
                raise ApiError(409, code, f"Failed to delete the snapshot: it is {said}.") from None
        for volume, each in there:
            with volume.lock:
                volume.backend.delete(volume, each)
                volume.snapshots.pop(each.uuid, None)
        group.snapshots.pop(snapshot.uuid, None)

    return _job(call, group, work)
