"""Records that are shown as they are described: FC interfaces, mediators, MetroCluster."""

from __future__ import annotations

import uuid
from typing import NamedTuple

_NAMESPACE = uuid.UUID("5d0c1f0e-6e0b-4f5e-9a59-706f636b6574")


def stable_uuid(*parts: str) -> str:
    """The same uuid for the same names, so that a restarted array is the same array."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


class DescriptionError(Exception):
    """The state description is wrong; one sentence."""


class Shown(NamedTuple):
    """FC interfaces by name, mediators by address; the records are changed in place, under the state's lock."""

    fc_lifs: dict
    mediators: dict
    metrocluster: dict

    DESCRIBED = ("fc_lifs", "mediators", "metrocluster")
    CHANGED = ("aggregates", "relationships", "fc_lifs", "mediators", "metrocluster")

    @classmethod
    def from_description(cls, description: dict) -> "Shown":
        return cls(
            _rows(description.get("fc_lifs", []), "name"),
            _rows(description.get("mediators", []), "ip_address"),
            dict(description.get("metrocluster", {})),
        )

    def change(self, changes: dict, others: dict) -> None:
        """Fields in place of others; `others`: {kind: {key: record}} of what is kept elsewhere."""
        self.metrocluster.update(changes.get("metrocluster", {}))
        tables = {"fc_lifs": self.fc_lifs, "mediators": self.mediators, **others}
        for kind, rows in tables.items():
            for key, values in changes.get(kind, {}).items():
                if key not in rows:
                    raise DescriptionError(f"there is no {key} in {kind}.")
                rows[key].update(values)


def _rows(described: list, key: str) -> dict:
    rows = {}
    for item in described:
        rows[item[key]] = {"uuid": stable_uuid(key, item[key]), **item}
    return rows
