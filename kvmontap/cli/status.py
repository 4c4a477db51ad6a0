"""`kvmontap status`: every pool's health, asked from the host and the arrays now, by the gate's own questions."""

import argparse
import json
import sys
import time
from typing import Dict, List, Sequence

from kvmontap.applied import read as applied
from kvmontap.array import Clients
from kvmontap.config import load
from kvmontap.gate.assemble import doctor
from kvmontap.gate.configured import Configured, configured
from kvmontap.gate.verdict import clock
from kvmontap.host.probe import Prober
from kvmontap.model import FAILED, OK, UNKNOWN, Pool, PoolHealth
from kvmontap.reasons import worst


def run(arguments: argparse.Namespace) -> int:
    """1 where a pool is failed or unknown."""
    loaded = load(arguments.config)
    found = configured(loaded, applied() if loaded.broken else {}, {})
    names = arguments.pool or [*found.config.pools, *found.broken]
    wrong = [name for name in names if name not in found.config.pools and name not in found.broken]
    if wrong:
        print(f"kvmontap: {arguments.config} has no pool {wrong[0]}; there are: {', '.join(found.config.pools) or 'none'}", file=sys.stderr)
        return 2
    if not names:
        for problem in loaded.problems:
            print(f"kvmontap: {problem}", file=sys.stderr)
        print("[]" if arguments.json else f"{arguments.config} has no pools")
        return int(bool(loaded.problems))
    healths = survey(found, names)
    if arguments.json:
        json.dump([_plain(health, found) for health in healths], sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        _show(healths, found)
    return int(any(health.health in (FAILED, UNKNOWN) for health in healths))


def survey(found: Configured, names: Sequence[str]) -> List[PoolHealth]:
    """The health of each pool, all asked at once; one with `mode = off` is looked at all the same."""
    pools: Dict[str, Pool] = {
        name: pool._replace(gate=pool.gate._replace(mode="warn")) for name, pool in found.config.pools.items()}
    looking = found._replace(config=found.config._replace(pools=pools))
    prober = Prober()
    try:
        answers = doctor(prober, Clients()).ask(names, looking, time.monotonic())
    finally:
        prober.close()
    # When it was first seen is the daemon's to know: for one question it would always be now.
    return [worst(name, [finding._replace(since=None) for finding in answers[name].findings]) for name in names]


def _plain(health: PoolHealth, found: Configured) -> Dict:
    pool = found.config.pools.get(health.pool)
    return {
        "pool": health.pool,
        "protocol": pool.protocol if pool else None,
        "target": pool.target if pool else None,
        "health": health.health,
        "findings": [finding._asdict() for finding in health.findings],
    }


def _show(healths: Sequence[PoolHealth], found: Configured) -> None:
    from kvmontap.cli.table import show  # late: --json needs no tables

    rows = []
    for health in healths:
        pool = found.config.pools.get(health.pool)
        head = (health.pool, pool.protocol if pool else "", pool.target if pool else "", health.health)
        # Each finding on a line of its own: what, since when, what to do.
        for place, finding in enumerate(finding for finding in health.findings if finding.health != OK):
            since = f" since {clock(finding.since)}" if finding.since else ""
            said = f"{finding.text}{since} [{finding.code}]" + (f"; what to do: {finding.fix}" if finding.fix else "")
            rows.append((*(head if not place else ("", "", "", "")), said))
        if health.health == OK:
            rows.append((*head, ""))
    show(("POOL", "PROTOCOL", "TARGET", "HEALTH", "WHY"), rows)
