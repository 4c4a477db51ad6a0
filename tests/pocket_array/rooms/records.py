"""Kinds that are only read: aggregates, compliance clocks, SnapMirror relationships, export policies, SMB shares."""

from __future__ import annotations

from datetime import timedelta
from typing import Optional
from urllib.parse import quote

from ..exchange import Answer
from ..query import Collection, list_answer
from ..shown import stable_uuid
from ..state import Share, Volume, iso
from . import Call

AGGREGATES = Collection(
    "/api/storage/aggregates",
    ("uuid", "name"),
    frozenset(
        """block_storage cloud_storage create_time data_encryption home_node is_spare_low metric
    name node snaplock_type snapshot space state statistics uuid volume-count""".split()
    ),
    ("metric.*", "statistics.*", "space.footprint", "is_spare_low"),
    lambda row: f"/api/storage/aggregates/{row['uuid']}",
)
RELATIONSHIPS = Collection(
    "/api/snapmirror/relationships",
    ("uuid",),
    frozenset(
        """backoff_level consistency_group_failover destination exported_snapshot group_type
    healthy identity_preservation lag_time last_transfer_type policy preserve
    restore source state throttle total_transfer_bytes total_transfer_duration transfer
    transfer_schedule unhealthy_reason uuid""".split()
    ),
    (),
    lambda row: f"/api/snapmirror/relationships/{row['uuid']}",
)
POLICIES = Collection(
    "/api/protocols/nfs/export-policies",
    ("id", "name"),
    frozenset("are_rules_truncated id name rules svm".split()),
    (),
    lambda row: f"/api/protocols/nfs/export-policies/{row['id']}",
)
SHARES = Collection(
    "/api/protocols/cifs/shares",
    ("svm.uuid", "svm.name", "name"),
    frozenset(
        """access_based_enumeration acls browsable change_notify comment continuously_available
    encryption home_directory name oplocks path show_snapshot svm unix_symlink volume
    vscan_profile""".split()
    ),
    (),
    lambda row: f"/api/protocols/cifs/shares/{row['svm']['uuid']}/{quote(row['name'])}",
)


CLOCKS = Collection(
    "/api/storage/snaplock/compliance-clocks",
    ("node.uuid", "node.name"),
    frozenset("node time".split()),
    (),
    lambda row: f"/api/storage/snaplock/compliance-clocks/{row['node']['uuid']}",
)


def list_clocks(call: Call) -> Answer:
    """One node, whose compliance clock is `compliance_lag` seconds behind."""
    when = iso(call.state.now() - timedelta(seconds=call.state.compliance_lag))
    rows = [{"node": {"name": "node1", "uuid": stable_uuid("node", "node1")}, "time": when}]
    return list_answer(CLOCKS, rows, call.request)


NFS_CLIENTS = Collection(
    "/api/protocols/nfs/connected-clients",
    ("client_ip", "server_ip", "svm.name", "volume.name"),
    frozenset("""client_ip export_policy idle_duration local_request_count node protocol remote_request_count server_ip svm
    trunking_enabled volume""".split()),
    (),
    lambda row: "/api/protocols/nfs/connected-clients",
)
SMB_SESSIONS = Collection(
    "/api/protocols/cifs/sessions",
    ("client_ip", "svm.name"),
    frozenset("authentication client_ip connected_duration idle_duration identifier node protocol server_ip svm user volumes".split()),
    (),
    lambda row: "/api/protocols/cifs/sessions",
)


def list_nfs_clients(call: Call) -> Answer:
    """`nfs_clients` of the description: {"client_ip", "volume"}."""
    return list_answer(NFS_CLIENTS, [
        {"client_ip": each["client_ip"], "server_ip": "192.0.2.1", "protocol": "nfs4.1", "idle_duration": "PT1S",
         "svm": volume.svm.reference(), "volume": volume.reference()}
        for each, volume in _used(call, call.state.nfs_clients)], call.request)


def list_smb_sessions(call: Call) -> Answer:
    """`smb_sessions` of the description: {"client_ip", "volume"}."""
    return list_answer(SMB_SESSIONS, [
        {"client_ip": each["client_ip"], "server_ip": "192.0.2.1", "protocol": "smb3_1", "svm": volume.svm.reference(),
         "volumes": [volume.reference()]}
        for each, volume in _used(call, call.state.smb_sessions)], call.request)


def _used(call: Call, described: list) -> list:
    with call.state.lock:
        return [(each, volume) for each in described for volume in call.state.volumes.values() if each["volume"] == volume.name]


def list_aggregates(call: Call) -> Answer:
    with call.state.lock:
        rows = [dict(each) for each in call.state.aggregates.values()]
    return list_answer(AGGREGATES, rows, call.request)


def list_relationships(call: Call) -> Answer:
    """`list_destinations_only=true` gives those of which this array is the source."""
    with call.state.lock:
        rows = [dict(each) for each in call.state.relationships]
    outward = dict(call.request.query).get("list_destinations_only") == "true"
    rows = [row for row in rows if bool(row.pop("list_destinations_only", False)) == outward]
    query = tuple(item for item in call.request.query if item[0] != "list_destinations_only")
    return list_answer(RELATIONSHIPS, rows, call.request._replace(query=query))


EVERYBODY = {
    "index": 1,
    "clients": [{"match": "0.0.0.0/0"}],
    "protocols": ["any"],
    "ro_rule": ["any"],
    "rw_rule": ["any"],
    "superuser": ["any"],
}


def list_policies(call: Call) -> Answer:
    with call.state.lock:
        names = sorted(
            {
                (each.svm.uuid, each.export_policy)
                for each in call.state.volumes.values()
                if call.sees(each.svm)
            }
            | {(svm, name) for svm, name in call.state.made_policies if call.sees(call.state.svms[svm])}
        )
        rows = [
            {
                "id": number,
                "name": name,
                "svm": call.state.svms[svm].reference(),
                "rules": call.state.export_policies.get(name, [EVERYBODY]),
            }
            for number, (svm, name) in enumerate(names, start=1)
        ]
    return list_answer(POLICIES, rows, call.request)


def _volume_of(share: Share, call: Call) -> Optional[Volume]:
    """The volume whose junction is the longest beginning of the share's path."""
    best = None
    for volume in call.state.volumes.values():
        if volume.path is None or volume.svm is not share.svm:
            continue
        inside = (share.path.rstrip("/") + "/").startswith(volume.path.rstrip("/") + "/")
        if inside and (best is None or len(volume.path) > len(best.path)):
            best = volume
    return best


def _share_row(share: Share, call: Call) -> dict:
    row = {
        "svm": share.svm.reference(),
        "name": share.name,
        "path": share.path,
        "oplocks": True,
        "browsable": True,
    }
    if share.comment:
        row["comment"] = share.comment
    volume = _volume_of(share, call)
    if volume:
        row["volume"] = volume.reference()
    return {**row, **share.extra}


def list_shares(call: Call) -> Answer:
    with call.state.lock:
        rows = [_share_row(each, call) for each in call.state.shares if call.sees(each.svm)]
    return list_answer(SHARES, rows, call.request)
