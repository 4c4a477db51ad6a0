"""/api/cluster/metrocluster and /api/cluster/mediators: what watches over two sites."""

from __future__ import annotations

from ..exchange import Answer
from ..query import Collection, list_answer, one_answer
from . import Call

METROCLUSTER = Collection(
    "/api/cluster/metrocluster",
    (),
    frozenset(
        "configuration_type dr_pairs encryption_enabled local mccip_ports mediator partner_cluster remote".split()
    ),
    (),
    lambda row: "/api/cluster/metrocluster",
)
MEDIATORS = Collection(
    "/api/cluster/mediators",
    ("uuid",),
    frozenset(
        """bluexp_org_id connection_type dr_group ip_address local_mediator_connectivity peer_cluster
    peer_mediator_connectivity port reachable strict_cert_validation type use_http_proxy_local
    use_http_proxy_remote user uuid""".split()
    ),
    (),
    lambda row: f"/api/cluster/mediators/{row['uuid']}",
)
# What a cluster tells that is none.
ALONE = {"local": {"configuration_state": "not_configured", "mode": "not_configured"}}


def get_metrocluster(call: Call) -> Answer:
    with call.state.lock:
        row = dict(call.state.shown.metrocluster or ALONE)
    row.setdefault("local", {}).setdefault(
        "cluster", {"uuid": call.state.cluster["uuid"], "name": call.state.cluster["name"]}
    )
    return one_answer(METROCLUSTER, row, call.request)


def list_mediators(call: Call) -> Answer:
    with call.state.lock:
        rows = [dict(each) for each in call.state.shown.mediators.values()]
    answer = list_answer(MEDIATORS, rows, call.request)
    for each in answer.body.get("records", ()):
        each.pop("_links")  # ONTAP's mediators have none
    return answer
