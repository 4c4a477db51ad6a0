"""/api/cluster and its jobs."""

from __future__ import annotations

from ..exchange import Answer, no_entry
from ..query import Collection, list_answer, one_answer
from . import Call

CLUSTER = Collection(
    "/api/cluster",
    ("name",),
    frozenset(
        "_tags auto_enable_activity_tracking auto_enable_analytics certificate contact "
        "dns_domains ha location management_interfaces metric name name_servers nodes "
        "ntp_servers peering_policy san_optimized statistics timezone uuid version".split()
    ),
    ("metric.*", "statistics.*"),
    lambda row: "/api/cluster",
)
JOBS = Collection(
    "/api/cluster/jobs",
    ("uuid",),
    frozenset("code description end_time error message node start_time state svm uuid".split()),
    (),
    lambda row: f"/api/cluster/jobs/{row['uuid']}",
)


def get_cluster(call: Call) -> Answer:
    row = dict(call.state.cluster)
    version = dict(row["version"])
    version.setdefault(
        "full", "NetApp Release {generation}.{major}.{minor}: pocket array".format(**version)
    )
    row["version"] = version
    return one_answer(CLUSTER, row, call.request)


def list_jobs(call: Call) -> Answer:
    return list_answer(JOBS, [job.row() for job in call.jobs.all()], call.request)


def get_job(call: Call) -> Answer:
    job = call.jobs.find(call.keys["uuid"])
    if job is None:
        raise no_entry()
    return one_answer(JOBS, job.row(), call.request)
