"""`kvmontap status`: every pool's health, asked from the host and the arrays now: by the gate's own questions, and by the slow ones."""

import argparse
import json
import sys
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from kvmontap.applied import read as applied
from kvmontap.array import Clients
from kvmontap.config import load
from kvmontap.gate.assemble import doctor
from kvmontap.gate.configured import Configured, configured
from kvmontap.gate.standing import EVERY, Standings
from kvmontap.gate.verdict import clock
from kvmontap.host.probe import Prober
from kvmontap.model import FAILED, OK, UNKNOWN, Pool, PoolHealth, Problem
from kvmontap.reasons import worst

COLUMNS = ("POOL", "PROTOCOL", "TARGET", "HEALTH", "WHY")


class Asked(NamedTuple):
    """One pool: its health, and what could not be asked."""

    health: PoolHealth
    skipped: Tuple[str, ...]


def run(arguments: argparse.Namespace) -> int:
    """1 where a pool is failed or unknown."""
    found, _, names = _read(arguments)
    wrong = [name for name in names if name not in found.config.pools and name not in found.broken]
    if wrong:
        print(f"kvmontap: {arguments.config} has no pool {wrong[0]}; there are: {', '.join(found.config.pools) or 'none'}", file=sys.stderr)
        return 2
    survey = Survey()
    try:
        if arguments.watch is None:
            return _round(arguments, survey)
        return _watch(arguments, survey)
    finally:
        survey.close()


class Survey:
    """Asks the pools; keeps connections between two rounds."""

    def __init__(self) -> None:
        self._prober = Prober()
        self._clients = Clients()
        self._doctor = doctor(self._prober, self._clients)
        self._standings = Standings(self._clients.get)
        self._refreshed: Optional[float] = None

    def close(self) -> None:
        """Ends the questions that are still under way."""
        self._prober.close()

    def ask(self, found: Configured, names: Sequence[str]) -> List[Asked]:
        """Each pool, all at once; one with `mode = off` is looked at all the same."""
        pools: Dict[str, Pool] = {
            name: pool._replace(gate=pool.gate._replace(mode="warn")) for name, pool in found.config.pools.items()}
        looking = found._replace(config=found.config._replace(pools=pools))
        slow = self._slow(found, names)
        answers = self._doctor.ask(names, looking, time.monotonic())
        if slow is not None:
            slow.join()
        asked = []
        for name in names:
            answer, pool = answers[name], pools.get(name)
            findings, skipped = answer.findings, ()
            if pool is not None:
                findings += self._standings.findings(pool, answer.look)
                skipped = (answer.look.skipped if answer.look is not None else ()) + self._standings.skipped(pool.ontap)
            asked.append(Asked(worst(name, findings), skipped))
        return asked

    def _slow(self, found: Configured, names: Sequence[str]) -> Optional[threading.Thread]:
        """The slow questions, under way; None where the last answers will do."""
        if self._refreshed is not None and time.monotonic() - self._refreshed < EVERY:
            return None
        if not any(found.config.pools[name].ontap for name in names if name in found.config.pools):
            return None
        self._refreshed = time.monotonic()
        thread = threading.Thread(target=self._standings.refresh, args=(found.config,), daemon=True)
        thread.start()
        return thread


def _read(arguments: argparse.Namespace) -> Tuple[Configured, Tuple[Problem, ...], List[str]]:
    """What the file says, what is wrong with it, and which pools are asked for."""
    loaded = load(arguments.config)
    found = configured(loaded, applied() if loaded.broken else {}, {})
    return found, loaded.problems, arguments.pool or [*found.config.pools, *found.broken]


def _round(arguments: argparse.Namespace, survey: Survey) -> int:
    found, problems, names = _read(arguments)
    if not names:
        for problem in problems:
            print(f"kvmontap: {problem}", file=sys.stderr)
        print("[]" if arguments.json else f"{arguments.config} has no pools")
        return int(bool(problems))
    # Since when is for those to know who have asked before: for one question it would always be now.
    asked = [one._replace(health=_undated(one.health)) for one in survey.ask(found, names)]
    if arguments.json:
        json.dump(plain(asked, found), sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        from kvmontap.cli.table import show  # late: --json needs no tables

        show(COLUMNS, rows(asked, found))
        for line in notes(asked):
            print(line)
    return code(asked)


def _watch(arguments: argparse.Namespace, survey: Survey) -> int:
    """One round after the other until somebody has seen enough; the exit status is the last round's."""
    from kvmontap.cli.table import Screen

    last = 0
    try:
        with Screen(plain=arguments.json) as screen:
            while True:
                found, _, names = _read(arguments)
                names = [name for name in names if name in found.config.pools or name in found.broken]
                asked = survey.ask(found, names) if names else []
                last = code(asked)
                if arguments.json:
                    screen.line(json.dumps(plain(asked, found), ensure_ascii=False))
                else:
                    title = f"{clock(time.time())}  every {arguments.watch:g} s: {arguments.config}"
                    screen.show(title, COLUMNS, rows(asked, found), notes(asked))
                time.sleep(arguments.watch)
    except KeyboardInterrupt:
        return last


def code(asked: Sequence[Asked]) -> int:
    """The exit status."""
    return int(any(one.health.health in (FAILED, UNKNOWN) for one in asked))


def plain(asked: Sequence[Asked], found: Configured) -> List[Dict[str, Any]]:
    """As kvmontap(8) describes it under JSON."""
    made = []
    for health, skipped in asked:
        pool = found.config.pools.get(health.pool)
        made.append({
            "pool": health.pool,
            "protocol": pool.protocol if pool else None,
            "target": pool.target if pool else None,
            "health": health.health,
            "findings": [finding._asdict() for finding in health.findings],
            "skipped": list(skipped),
        })
    return made


def rows(asked: Sequence[Asked], found: Configured) -> List[Tuple[str, ...]]:
    """One row per pool, and one more for each further finding: what, since when, what to do."""
    made: List[Tuple[str, ...]] = []
    for health, _ in asked:
        pool = found.config.pools.get(health.pool)
        head = (health.pool, pool.protocol if pool else "", pool.target if pool else "", health.health)
        told = [one for one in health.findings if one.health != OK]
        for place, finding in enumerate(told):
            since = f" since {clock(finding.since)}" if finding.since else ""
            said = f"{finding.text}{since} [{finding.code}]" + (f"; what to do: {finding.fix}" if finding.fix else "")
            made.append((*(head if not place else ("", "", "", "")), said))
        if not told:
            made.append((*head, ""))
    return made


def notes(asked: Sequence[Asked]) -> List[str]:
    """What could not be asked, each once."""
    return [f"not known: {line}" for line in dict.fromkeys(line for one in asked for line in one.skipped)]


def _undated(health: PoolHealth) -> PoolHealth:
    return health._replace(findings=tuple(finding._replace(since=None) for finding in health.findings))
