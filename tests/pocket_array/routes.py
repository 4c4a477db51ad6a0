"""The table of what is spoken: method, path, handler. A new kind is a room and lines here."""

from __future__ import annotations

import re
import urllib.parse
from typing import Callable, NamedTuple, Optional

from .exchange import ApiError
from .rooms import clones, cluster, files, groups, making, metrocluster, mirrors, network, records, san, snapshots, svm, volumes

_SNAPSHOTS = "/api/storage/volumes/{volume.uuid}/snapshots"
_TRANSFERS = "/api/snapmirror/relationships/{relationship.uuid}/transfers"
_GROUPS = "/api/application/consistency-groups"
_GROUP_SNAPSHOTS = _GROUPS + "/{consistency_group.uuid}/snapshots"


class Route(NamedTuple):
    method: str
    path: str
    handler: Callable


ROUTES = (
    Route("GET", "/api/cluster", cluster.get_cluster),
    Route("GET", "/api/cluster/jobs", cluster.list_jobs),
    Route("GET", "/api/cluster/jobs/{uuid}", cluster.get_job),
    Route("GET", "/api/cluster/metrocluster", metrocluster.get_metrocluster),
    Route("GET", "/api/cluster/mediators", metrocluster.list_mediators),
    Route("GET", "/api/svm/svms", svm.list_svms),
    Route("GET", "/api/svm/svms/{uuid}", svm.get_svm),
    Route("GET", "/api/network/ip/interfaces", network.list_interfaces),
    Route("GET", "/api/network/ip/interfaces/{uuid}", network.get_interface),
    Route("GET", "/api/network/fc/interfaces", network.list_fc_interfaces),
    Route("GET", "/api/storage/aggregates", records.list_aggregates),
    Route("GET", "/api/storage/snaplock/compliance-clocks", records.list_clocks),
    Route("GET", "/api/storage/volumes", volumes.list_volumes),
    Route("GET", "/api/storage/volumes/{uuid}", volumes.get_volume),
    Route("POST", "/api/storage/volumes", making.post_volume),
    Route("PATCH", "/api/storage/volumes/{uuid}", clones.patch_volume),
    Route("DELETE", "/api/storage/volumes/{uuid}", clones.delete_volume),
    Route("GET", _SNAPSHOTS, snapshots.list_snapshots),
    Route("POST", _SNAPSHOTS, snapshots.post_snapshot),
    Route("GET", _SNAPSHOTS + "/{uuid}", snapshots.get_snapshot),
    Route("PATCH", _SNAPSHOTS + "/{uuid}", snapshots.patch_snapshot),
    Route("DELETE", _SNAPSHOTS + "/{uuid}", snapshots.delete_snapshot),
    Route("GET", _GROUPS, groups.list_groups),
    Route("GET", _GROUP_SNAPSHOTS, groups.list_snapshots),
    Route("POST", _GROUP_SNAPSHOTS, groups.post_snapshot),
    Route("GET", _GROUP_SNAPSHOTS + "/{uuid}", groups.get_snapshot),
    Route("PATCH", _GROUP_SNAPSHOTS + "/{uuid}", groups.patch_snapshot),
    Route("DELETE", _GROUP_SNAPSHOTS + "/{uuid}", groups.delete_snapshot),
    Route("POST", "/api/storage/file/clone", files.post_clone),
    Route("GET", "/api/storage/luns", san.list_luns),
    Route("GET", "/api/storage/namespaces", san.list_namespaces),
    Route("GET", "/api/protocols/san/igroups", san.list_igroups),
    Route("POST", "/api/protocols/san/igroups", san.post_igroup),
    Route("DELETE", "/api/protocols/san/igroups/{uuid}", san.delete_igroup),
    Route("GET", "/api/protocols/san/lun-maps", san.list_lun_maps),
    Route("POST", "/api/protocols/san/lun-maps", san.post_lun_map),
    Route("DELETE", "/api/protocols/san/lun-maps/{lun.uuid}/{igroup.uuid}", san.delete_lun_map),
    Route("GET", "/api/protocols/nvme/subsystems", san.list_subsystems),
    Route("POST", "/api/protocols/nvme/subsystems", san.post_subsystem),
    Route("DELETE", "/api/protocols/nvme/subsystems/{uuid}", san.delete_subsystem),
    Route("GET", "/api/protocols/nvme/subsystem-maps", san.list_subsystem_maps),
    Route("POST", "/api/protocols/nvme/subsystem-maps", san.post_subsystem_map),
    Route("GET", "/api/snapmirror/relationships", records.list_relationships),
    Route("POST", _TRANSFERS, mirrors.post_transfer),
    Route("GET", "/api/protocols/nfs/export-policies", records.list_policies),
    Route("POST", "/api/protocols/nfs/export-policies", making.post_policy),
    Route("GET", "/api/protocols/cifs/shares", records.list_shares),
    Route("GET", "/api/protocols/cifs/sessions", records.list_smb_sessions),
    Route("GET", "/api/protocols/nfs/connected-clients", records.list_nfs_clients),
)


def _parts(path: str) -> list:
    return path.strip("/").split("/")


def _keys(pattern: str, path: str) -> Optional[dict]:
    wanted, given = _parts(pattern), _parts(path)
    if len(wanted) != len(given):
        return None
    keys = {}
    for want, part in zip(wanted, given):
        if re.fullmatch(r"\{.*\}", want):
            keys[want[1:-1]] = urllib.parse.unquote(part)
        elif want != part:
            return None
    return keys


def find(method: str, path: str) -> tuple:
    """(handler, keys); ApiError 404 code 3 for an unknown path, 405 for a method it does not have."""
    known = False
    for route in ROUTES:
        keys = _keys(route.path, path)
        if keys is not None and route.method == method:
            return route.handler, keys
        known = known or keys is not None
    if known:
        raise ApiError(405, "3", "Method not allowed.")
    raise ApiError(404, "3", "API not found")
