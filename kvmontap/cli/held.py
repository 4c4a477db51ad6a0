"""The snapshots on the volumes behind pools, as the commands look at them."""

import json
import sys
from typing import List, NamedTuple, Optional, Sequence, Tuple

from kvmontap.array import ArrayError, Clients
from kvmontap.array.stored import Stored, stored
from kvmontap.model import Config, Finding, Pool
from kvmontap.snapshots import naming
from kvmontap.snapshots.grouped import adopted
from kvmontap.snapshots.volumes import Target, Targets, targets

SECONDS = 600.0  # for one command; each request has its array's own timeout besides


class Fault(Exception):
    """What ends the command: one sentence, and the exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Row(NamedTuple):
    """One snapshot on one volume."""

    target: Target
    snapshot: Stored
    told: Optional[naming.Told]  # None where it is not ours


def named(config: Config, names: Sequence[str]) -> Tuple[Pool, ...]:
    """The pools of those names; all that have an array where none is named."""
    if not names:
        return tuple(pool for pool in config.pools.values() if pool.ontap)
    for name in names:
        if name not in config.pools:
            raise Fault(f"{config.path} has no pool {name}; there are: {', '.join(config.pools) or 'none'}", 2)
    return tuple(config.pools[name] for name in dict.fromkeys(names))


def found(config: Config, names: Sequence[str], clients: Clients, deadline: float) -> Targets:
    """The volumes behind those pools; what cannot be found is complained about."""
    seen = targets(named(config, names), config.arrays, clients, deadline)
    for pool, finding in seen.findings.items():
        complain(f"pool {pool}", finding)
    return seen


def rows(seen: Targets, deadline: float, everything: bool = False) -> Tuple[List[Row], bool]:
    """The snapshots of all volumes, and whether every volume could be read."""
    all_of_them: List[Row] = []
    whole = not seen.findings
    for target in seen.volumes:
        try:
            held = adopted(target.client, target.ref, stored(target.client, target.ref, deadline), deadline)
        except ArrayError as error:
            complain(f"volume {target.ref.name}", error.finding)
            whole = False
            continue
        told = [Row(target, one, naming.told(one.name, one.comment)) for one in held]
        all_of_them += [row for row in told if row.told is not None or everything]
    return all_of_them, whole


def complain(about: str, finding: Finding) -> None:
    """One finding on stderr."""
    fix = f"; what to do: {finding.fix}" if finding.fix else ""
    print(f"kvmontap: {about}: {finding.text}{fix} [{finding.code}]", file=sys.stderr)


def dump(value: object) -> None:
    """The value as JSON on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
