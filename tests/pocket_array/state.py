"""What the array is made of: SVMs, volumes with their snapshots, LIFs, shares, relationships.

`State.from_description` reads the state file (see README.md). Names are ONTAP's. Everything is
changed under `State.lock`; the slow work of a volume's back end is done under `Volume.lock` only.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Optional

from . import backends, groupstate
from .san import IGROUP, LUN, NAMESPACE, SUBSYSTEM, San
from .shown import DescriptionError, Shown, stable_uuid

SNAPSHOT_LIMIT = 1023
COMMENT_LIMIT = 255


def iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).replace(microsecond=0).isoformat()


@dataclass
class Snapshot:
    uuid: str
    name: str
    create_time: str
    comment: Optional[str] = None
    expiry_time: Optional[str] = None
    snapmirror_label: Optional[str] = None
    snaplock_expiry_time: Optional[str] = None
    owners: list = field(default_factory=list)
    state: str = "valid"
    size: int = 0


@dataclass
class Svm:
    name: str
    uuid: str
    state: str = "running"
    extra: dict = field(default_factory=dict)

    def reference(self) -> dict:
        return {
            "uuid": self.uuid,
            "name": self.name,
            "_links": {"self": {"href": f"/api/svm/svms/{self.uuid}"}},
        }


@dataclass
class Volume:
    """`used` None: what the back end says. `extra`: further ONTAP fields, shown as they are."""

    name: str
    svm: Svm
    uuid: str
    path: Optional[str]
    size: int
    used: Optional[int]
    backend: Any
    state: str = "online"
    type: str = "rw"
    snapshot_limit: int = SNAPSHOT_LIMIT
    snapshot_locking_enabled: bool = False
    anti_ransomware: dict = field(default_factory=lambda: {"state": "disabled"})
    aggregate: str = "aggr1"
    export_policy: str = "default"
    create_time: str = ""
    comment: str = ""
    hook: tuple = ()
    extra: dict = field(default_factory=dict)
    snapshots: dict = field(default_factory=dict)
    fenced: bool = False
    reverting: bool = False
    pending: set = field(default_factory=set)
    parent: Any = None  # of a FlexClone
    parent_snapshot: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def reference(self) -> dict:
        return {
            "uuid": self.uuid,
            "name": self.name,
            "_links": {"self": {"href": f"/api/storage/volumes/{self.uuid}"}},
        }

    def space(self) -> tuple:
        """(size, used, available) in bytes."""
        size, used, available = self.backend.space(self)
        if self.used is not None:
            used, available = self.used, max(0, size - self.used)
        return size, used, available


@dataclass
class Lif:
    name: str
    uuid: str
    address: str
    svm: Optional[Svm] = None
    state: str = "up"
    enabled: bool = True
    netmask: str = "24"
    home_node: str = "node1"
    home_port: str = "e0a"
    node: str = "node1"
    port: str = "e0a"
    failover: str = "home_node_only"
    services: tuple = ("data_core", "data_nfs", "data_cifs")
    extra: dict = field(default_factory=dict)

    @property
    def is_home(self) -> bool:
        return (self.node, self.port) == (self.home_node, self.home_port)


@dataclass
class Share:
    name: str
    svm: Svm
    path: str
    comment: str = ""
    extra: dict = field(default_factory=dict)


_VOLUME_KEYS = {
    "state",
    "type",
    "snapshot_limit",
    "snapshot_locking_enabled",
    "anti_ransomware",
    "aggregate",
    "export_policy",
    "comment",
    "fenced",
    "reverting",
    "size",
    "used",
    "path",
    "extra",
}
_LIF_KEYS = {
    "state",
    "enabled",
    "address",
    "netmask",
    "home_node",
    "home_port",
    "node",
    "port",
    "failover",
    "services",
    "extra",
}
_ARRAY_KEYS = {"job_seconds", "location", "fence_limit", "group_comments", "compliance_lag"}
_SVM_KEYS = {"state", "extra"}
_SNAPSHOT_KEYS = {
    "comment",
    "expiry_time",
    "snapmirror_label",
    "snaplock_expiry_time",
    "owners",
    "state",
    "size",
    "create_time",
}


def _apply(target: Any, values: dict, allowed: set, what: str) -> None:
    wrong = sorted(set(values) - allowed)
    if wrong:
        raise DescriptionError(
            f"{what} has no {', '.join(wrong)}; it has {', '.join(sorted(allowed))}."
        )
    for key, value in values.items():
        setattr(target, key, tuple(value) if key in ("services", "hook") else value)


class State:
    """The whole array. `now`: gives the time as an aware datetime."""

    def __init__(self, now: Callable[[], datetime]):
        self.now = now
        self.lock = threading.RLock()
        self.cluster: dict = {
            "name": "pocket",
            "version": {"generation": 9, "major": 17, "minor": 1},
        }
        self.svms: dict = {}
        self.volumes: dict = {}
        self.lifs: dict = {}
        self.shares: list = []
        self.relationships: list = []
        self.groups: dict = {}
        self.fence_limit: Optional[float] = None
        self.group_comments = True  # whether a volume's snapshot has the comment of its group's
        self.compliance_lag = 0.0
        self.aggregates: dict = {}
        self.made_policies: set = set()  # (UUID of the SVM, name) of those that no volume need have
        self.export_policies: dict = {}  # name -> rules, for those that do not let everybody in
        self.san = San()
        self.nfs_clients: list = []
        self.smb_sessions: list = []
        self.shown = Shown({}, {}, {})
        self.job_seconds = 0.0
        self.location = "uuid"

    def stamp(self) -> str:
        return iso(self.now())

    @classmethod
    def from_description(cls, description: dict, now: Callable[[], datetime]) -> "State":
        state = cls(now)
        known = {
            "cluster",
            "svms",
            "volumes",
            "lifs",
            "shares",
            "relationships",
            "consistency_groups",
            "aggregates",
            "export_policies",
            "luns",
            "namespaces",
            "igroups",
            "subsystems",
            "export",
            "nfs_clients",
            "smb_sessions",
            *Shown.DESCRIBED,
            "users",
            "roles",
            "job_seconds",
            "location",
        }
        wrong = sorted(set(description) - known)
        if wrong:
            raise DescriptionError(f"state description has no {', '.join(wrong)}.")
        state.cluster.update(description.get("cluster", {}))
        state.cluster.setdefault("uuid", stable_uuid("cluster", state.cluster["name"]))
        state.job_seconds = float(description.get("job_seconds", 0))
        state.location = description.get("location", "uuid")
        for item in description.get("svms", [{"name": "svm1"}]):
            state.add_svm(dict(item))
        for item in description.get("volumes", []):
            state.add_volume(dict(item))
        for item in description.get("lifs", []):
            state.add_lif(dict(item))
        for item in description.get("shares", []):
            state.add_share(dict(item))
        for item in description.get("aggregates", []):
            state.add_aggregate(dict(item))
        state.add_san(description)
        state.nfs_clients = list(description.get("nfs_clients", []))
        state.smb_sessions = list(description.get("smb_sessions", []))
        for item in description.get("relationships", []):
            state.relationships.append(dict(item))
        state.export_policies.update(description.get("export_policies", {}))
        state.shown = Shown.from_description(description)
        for item in description.get("consistency_groups", []):
            state.add_group(dict(item))
        for volume in state.volumes.values():
            if volume.aggregate not in state.aggregates:
                state.add_aggregate({"name": volume.aggregate})
        return state

    def svm(self, name: Optional[str]) -> Svm:
        if name is None:
            return next(iter(self.svms.values()))
        for svm in self.svms.values():
            if svm.name == name:
                return svm
        raise DescriptionError(f"there is no SVM {name}.")

    def add_svm(self, item: dict) -> Svm:
        name = item.pop("name")
        svm = Svm(name, item.pop("uuid", stable_uuid("svm", name)))
        _apply(svm, item, _SVM_KEYS, f"SVM {name}")
        with self.lock:
            self.svms[svm.uuid] = svm
        return svm

    def add_volume(self, item: dict) -> Volume:
        name, svm = item.pop("name"), self.svm(item.pop("svm", None))
        volume = Volume(
            name=name,
            svm=svm,
            uuid=item.pop("uuid", stable_uuid("volume", svm.name, name)),
            path=item.pop("path", f"/{name}"),
            size=int(item.pop("size", 100 * 2**30)),
            used=item.pop("used", None),
            hook=tuple(item.pop("hook", ())),
            backend=backends.make(item.pop("backend", {"kind": "memory"})),
            create_time=item.pop("create_time", self.stamp()),
        )
        taken = [dict(each) for each in item.pop("snapshots", [])]
        _apply(volume, item, _VOLUME_KEYS, f"volume {name}")
        for each in volume.backend.load(volume):
            volume.snapshots[each.uuid] = each
        for each in taken:
            self.add_snapshot(volume, each)
        with self.lock:
            self.volumes[volume.uuid] = volume
        return volume

    def add_snapshot(self, volume: Volume, item: dict) -> Snapshot:
        """Put a snapshot into the books without asking the back end, as for owners and old ones."""
        name = item.pop("name")
        snapshot = Snapshot(item.pop("uuid", str(uuid.uuid4())), name, self.stamp())
        _apply(snapshot, item, _SNAPSHOT_KEYS, f"snapshot {name}")
        volume.snapshots[snapshot.uuid] = snapshot
        return snapshot

    def add_lif(self, item: dict) -> Lif:
        name, svm = item.pop("name"), item.pop("svm", None)
        lif = Lif(
            name,
            item.pop("uuid", stable_uuid("lif", name)),
            item.pop("address"),
            self.svm(svm) if svm or self.svms else None,
        )
        for here, home in (("node", "home_node"), ("port", "home_port")):
            item.setdefault(here, item.get(home, getattr(lif, home)))
        _apply(lif, item, _LIF_KEYS, f"LIF {name}")
        with self.lock:
            self.lifs[lif.uuid] = lif
        return lif

    def add_share(self, item: dict) -> Share:
        share = Share(item.pop("name"), self.svm(item.pop("svm", None)), item.pop("path"))
        _apply(share, item, {"comment", "extra"}, f"share {share.name}")
        with self.lock:
            self.shares.append(share)
        return share

    def add_aggregate(self, item: dict) -> None:
        item.setdefault("uuid", stable_uuid("aggregate", item["name"]))
        item.setdefault("state", "online")
        with self.lock:
            self.aggregates[item["name"]] = item

    def add_san(self, description: dict) -> None:
        """luns, namespaces (name, volume, serial or uuid, size), igroups (name, initiators), subsystems (name, hosts), `maps` in each of
        these: names of what is mapped to it already, which runs no command."""
        san = self.san = San(description.get("export", ()))
        for kind, key in ((LUN, "luns"), (NAMESPACE, "namespaces")):
            for item in description.get(key, []):
                volume = self.volume(item["volume"], item.get("svm"))
                san.add_block(kind, volume, item["name"], item.get("uuid"), item.get("serial", ""), int(item.get("size", 0)))
        for kind, key, hosts in ((IGROUP, "igroups", "initiators"), (SUBSYSTEM, "subsystems", "hosts")):
            for item in description.get(key, []):
                more = {"nqn": item["nqn"]} if "nqn" in item else {}
                access = san.add_access(kind, self.svm(item.get("svm")), item["name"], item.get(hosts, []), **more)
                for number, name in enumerate(item.get("maps", [])):
                    block = next(each for each in san.blocks.values() if name in (each.name, each.inside))
                    access.mapped[block.uuid] = number

    def add_group(self, item: dict) -> None:
        groupstate.add(self, item)

    def volume(self, name: str, svm: Optional[str] = None) -> Volume:
        """By name or uuid."""
        with self.lock:
            for volume in self.volumes.values():
                if name in (volume.name, volume.uuid) and svm in (None, volume.svm.name):
                    return volume
        raise DescriptionError(f"there is no volume {name}.")

    def lif(self, name: str) -> Lif:
        """By name, uuid or address."""
        with self.lock:
            for lif in self.lifs.values():
                if name in (lif.name, lif.uuid, lif.address):
                    return lif
        raise DescriptionError(f"there is no LIF {name}.")

    def change(self, changes: dict) -> None:
        """Change the state from outside, e.g. {"volumes": {"v": {"state": "offline"}}}.

        Kinds: volumes, lifs, svms, array (_ARRAY_KEYS), add (lists as in the description); and of what is
        shown as described, fields in place of others: aggregates, relationships, fc_lifs, mediators, metrocluster.
        A volume's new state goes through its hook; `full: true` takes all of its space.
        """
        wrong = sorted(set(changes) - {"volumes", "lifs", "svms", "array", "add"} - set(Shown.CHANGED))
        if wrong:
            raise DescriptionError(f"state has no {', '.join(wrong)} to change.")
        for name, values in changes.get("volumes", {}).items():
            self.change_volume(name, dict(values))
        with self.lock:
            for name, values in changes.get("lifs", {}).items():
                _apply(self.lif(name), values, _LIF_KEYS, f"LIF {name}")
            for name, values in changes.get("svms", {}).items():
                _apply(self.svm(name), values, _SVM_KEYS, f"SVM {name}")
            _apply(self, changes.get("array", {}), _ARRAY_KEYS, "array")
            relationships = {row.get("uuid"): row for row in self.relationships}
            self.shown.change(changes, {"aggregates": self.aggregates, "relationships": relationships})
            add = changes.get("add", {})
            for kind, make in (
                ("svms", self.add_svm),
                ("volumes", self.add_volume),
                ("lifs", self.add_lif),
                ("shares", self.add_share),
                ("consistency_groups", self.add_group),
            ):
                for item in add.get(kind, []):
                    make(dict(item))

    def change_volume(self, name: str, values: dict) -> None:
        volume = self.volume(name)
        with volume.lock:
            if values.pop("full", False):
                values["used"] = volume.space()[0]
            snapshots, gone = values.pop("snapshots", []), values.pop("forget_snapshots", False)
            state = values.pop("state", volume.state)
            _apply(volume, values, _VOLUME_KEYS, f"volume {name}")
            if gone:
                volume.snapshots.clear()
            for item in snapshots:
                self.add_snapshot(volume, dict(item))
            if state != volume.state:
                volume.backend.set_state(volume, state)
                volume.state = state
