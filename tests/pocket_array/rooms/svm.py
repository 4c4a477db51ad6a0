"""/api/svm/svms."""

from __future__ import annotations

from ..exchange import Answer, no_entry
from ..query import Collection, list_answer, one_answer
from ..state import Svm
from . import Call

SVMS = Collection(
    "/api/svm/svms",
    ("uuid", "name"),
    frozenset(
        "aggregates aggregates_delegated anti_ransomware certificate cifs comment dns "
        "fc_interfaces fcp ip_interfaces ipspace iscsi language ldap max_volumes name ndmp nfs "
        "nis nsswitch nvme qos_policy routes s3 san_multipathing snapmirror snapshot_policy "
        "state statistics storage subtype uuid".split()
    ),
    ("snapmirror.*", "statistics.*"),
    lambda row: f"/api/svm/svms/{row['uuid']}",
)


def row_of(svm: Svm, call: Call) -> dict:
    interfaces = [
        {
            "uuid": lif.uuid,
            "name": lif.name,
            "ip": {"address": lif.address},
            "_links": {"self": {"href": f"/api/network/ip/interfaces/{lif.uuid}"}},
        }
        for lif in call.state.lifs.values()
        if lif.svm is svm
    ]
    return {
        "uuid": svm.uuid,
        "name": svm.name,
        "state": svm.state,
        "subtype": "default",
        "language": "c.utf_8",
        "comment": "",
        "ip_interfaces": interfaces,
        "nfs": {"allowed": True, "enabled": True},
        **svm.extra,
    }


def list_svms(call: Call) -> Answer:
    with call.state.lock:
        rows = [row_of(svm, call) for svm in call.state.svms.values() if call.sees(svm)]
    return list_answer(SVMS, rows, call.request)


def get_svm(call: Call) -> Answer:
    with call.state.lock:
        svm = call.state.svms.get(call.keys["uuid"])
        if svm is None or not call.sees(svm):
            raise no_entry()
        row = row_of(svm, call)
    return one_answer(SVMS, row, call.request)
