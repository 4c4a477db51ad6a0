"""/api/network/ip/interfaces and /api/network/fc/interfaces: LIFs."""

from __future__ import annotations

from ..exchange import Answer, no_entry
from ..query import Collection, list_answer, one_answer
from ..state import Lif, stable_uuid
from . import Call

INTERFACES = Collection(
    "/api/network/ip/interfaces",
    ("uuid", "name"),
    frozenset(
        "ddns_enabled dns_zone enabled ip ipspace location metric name probe_port rdma_protocols "
        "scope service_policy services state statistics subnet svm uuid vip".split()
    ),
    ("metric.*", "statistics.*"),
    lambda row: f"/api/network/ip/interfaces/{row['uuid']}",
)
FC_INTERFACES = Collection(
    "/api/network/fc/interfaces",
    ("uuid", "name"),
    frozenset(
        "comment data_protocol enabled location metric name port_address state statistics svm uuid wwnn wwpn".split()
    ),
    ("metric.*", "statistics.*"),
    lambda row: f"/api/network/fc/interfaces/{row['uuid']}",
)


def _node(name: str) -> dict:
    return {"uuid": stable_uuid("node", name), "name": name}


def _port(node: str, name: str) -> dict:
    return {"uuid": stable_uuid("port", node, name), "name": name, "node": {"name": node}}


def row_of(lif: Lif) -> dict:
    row = {
        "uuid": lif.uuid,
        "name": lif.name,
        "enabled": lif.enabled,
        "state": lif.state,
        "ip": {
            "address": lif.address,
            "netmask": lif.netmask,
            "family": "ipv6" if ":" in lif.address else "ipv4",
        },
        "scope": "svm" if lif.svm else "cluster",
        "services": list(lif.services),
        "service_policy": {"name": "default-data-files"},
        "ipspace": {"name": "Default"},
        "location": {
            "auto_revert": False,
            "failover": lif.failover,
            "is_home": lif.is_home,
            "home_node": _node(lif.home_node),
            "node": _node(lif.node),
            "home_port": _port(lif.home_node, lif.home_port),
            "port": _port(lif.node, lif.port),
        },
    }
    if lif.svm:
        row["svm"] = lif.svm.reference()
    return {**row, **lif.extra}


def list_interfaces(call: Call) -> Answer:
    with call.state.lock:
        rows = [row_of(lif) for lif in call.state.lifs.values() if call.sees(lif.svm)]
    return list_answer(INTERFACES, rows, call.request)


def get_interface(call: Call) -> Answer:
    with call.state.lock:
        lif = call.state.lifs.get(call.keys["uuid"])
        if lif is None or not call.sees(lif.svm):
            raise no_entry()
        row = row_of(lif)
    return one_answer(INTERFACES, row, call.request)


def list_fc_interfaces(call: Call) -> Answer:
    """Shown as described; `svm` is the name of its SVM there."""
    with call.state.lock:
        rows = []
        for each in call.state.shown.fc_lifs.values():
            svm = call.state.svm(each.get("svm"))
            if call.sees(svm):
                rows.append({**each, "svm": svm.reference()})
    return list_answer(FC_INTERFACES, rows, call.request)
