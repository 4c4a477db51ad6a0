"""Volumes and export policies that are made new; a volume that is a FlexClone goes to clones.py."""

from __future__ import annotations

from ..exchange import Answer, ApiError
from ..state import stable_uuid
from . import Call, body_of, clones, job_answer


def post_volume(call: Call) -> Answer:
    if isinstance(call.request.body, dict) and "clone" in call.request.body:
        return clones.post_volume(call)
    body = body_of(call, {"name", "svm", "size", "aggregates", "guarantee", "autosize", "nas", "comment"})
    svm = _svm(call, body)
    name, nas = body.get("name", ""), body.get("nas", {})
    if not body.get("aggregates"):
        raise ApiError(400, "787140", "One of \"aggregates.uuid\", \"aggregates.name\", or \"style\" must be provided.")
    aggregate = body["aggregates"][0]["name"]
    if aggregate not in call.state.aggregates:
        raise ApiError(400, "918236", f'The specified aggregate "{aggregate}" does not exist.')
    policy = nas.get("export_policy", {}).get("name", "default")
    if (svm.uuid, policy) not in known_policies(call):
        raise ApiError(400, "1703954", "Export policy does not exist.")

    def work() -> None:
        with call.state.lock:
            if any((each.name, each.svm) == (name, svm) for each in call.state.volumes.values()):
                raise ApiError(409, "917526", "The volume name specified is a duplicate.")
        call.state.add_volume({
            "name": name, "svm": svm.name, "path": nas.get("path"), "size": body.get("size", 1 << 30), "aggregate": aggregate,
            "export_policy": policy, "extra": {key: body[key] for key in ("guarantee", "autosize") if key in body},
        })

    job = call.start_job("POST /api/storage/volumes", svm.reference(), work)
    return job_answer(call, job, 201, f"/api/storage/volumes/{stable_uuid('volume', svm.name, name)}")


def post_policy(call: Call) -> Answer:
    body = body_of(call, {"name", "svm", "rules"})
    svm, name = _svm(call, body), body.get("name", "")
    with call.state.lock:
        if (svm.uuid, name) in known_policies(call):
            raise ApiError(409, "1703954", "Export policy exists.")
        for rule in body.get("rules", []):
            if not rule.get("clients") or not rule.get("ro_rule") or not rule.get("rw_rule"):
                raise ApiError(400, "262188", "A rule needs clients, ro_rule and rw_rule.")
        rules = [{"index": place, **rule} for place, rule in enumerate(body.get("rules", []), 1)]
        call.state.export_policies[name] = rules
        call.state.made_policies.add((svm.uuid, name))
        row = {"id": len(known_policies(call)), "name": name, "svm": svm.reference(), "rules": rules}
    return Answer(201, {"num_records": 1, "records": [row]}, (("Location", f"/api/protocols/nfs/export-policies/{row['id']}"),))


def known_policies(call: Call) -> set:
    """(SVM, name) of every export policy: those that volumes have, and those that were made."""
    return {(each.svm.uuid, each.export_policy) for each in call.state.volumes.values()} | call.state.made_policies


def _svm(call: Call, body: dict):  # type: ignore[no-untyped-def]
    told = body.get("svm") or {}
    for svm in call.state.svms.values():
        if told and told.get("name", svm.name) == svm.name and told.get("uuid", svm.uuid) == svm.uuid and call.sees(svm):
            return svm
    raise ApiError(400, "2621707", "No SVM was specified. Either svm.name or svm.uuid must be supplied.")
