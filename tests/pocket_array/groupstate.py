"""Consistency groups: which volumes they hold, and the fence of a snapshot between its two phases."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Optional

_NAMESPACE = uuid.UUID("5d0c1f0e-6e0b-4f5e-9a59-706f636b6575")


@dataclass
class Started:
    """A snapshot of a group between its two phases; `until` is time.monotonic()."""

    snapshot: Any
    until: float


@dataclass
class Group:
    """A consistency group: of volumes, or of groups."""

    name: str
    uuid: str
    svm: Any
    volumes: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    parent: Optional["Group"] = None
    snapshots: dict = field(default_factory=dict)
    started: Optional[Started] = None

    def everything(self) -> list:
        """Its volumes and those of the groups in it."""
        return self.volumes + [volume for each in self.groups for volume in each.volumes]

    def let_go(self) -> None:
        """No snapshot is under way any more: writes go on."""
        self.started = None
        for volume in self.everything():
            volume.fenced = False


def add(state: Any, item: dict, parent: Optional[Group] = None) -> Group:
    """`volumes` by name, or `groups`: items of the same form."""
    name, svm = item["name"], state.svm(item.get("svm", parent and parent.svm.name))
    group = Group(name, str(uuid.uuid5(_NAMESPACE, f"{svm.name}/{name}")), svm, parent=parent)
    group.volumes = [state.volume(each, svm.name) for each in item.get("volumes", [])]
    group.groups = [add(state, each, group) for each in item.get("groups", [])]
    with state.lock:
        state.groups[group.uuid] = group
    return group


def settle(state: Any) -> None:
    """Gives up every snapshot whose commit did not come in time."""
    with state.lock:
        for group in state.groups.values():
            if group.started is not None and time.monotonic() >= group.started.until:
                group.let_go()


def fenced(state: Any) -> list:
    """The names of the volumes whose writes are held back now."""
    settle(state)
    return [each.name for each in state.volumes.values() if each.fenced]
