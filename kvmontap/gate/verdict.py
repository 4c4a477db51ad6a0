"""From what was seen to what is said: the table of the gate, pure.

Only `mode = enforce` ever refuses; `warn` says in the journal what it would have refused; `off` looks at nothing (and
still takes snapshots).  A fault of our own counts as `unknown`, never as `failed`: it must not keep a host's VMs down.
"""

import time
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from kvmontap.model import DEGRADED, FAILED, HEALTHS, OK, UNKNOWN, Config, Finding, Gate, PoolHealth, Verdict

TOLD = 3  # findings that a refusal names; the journal has them all
LONGEST = 1200  # characters of a sentence


class Event(NamedTuple):
    """What libvirt asked: the hook's four arguments."""

    name: str
    op: str
    subop: str = "begin"
    extra: str = "-"


def judge(event: Event, hits: Sequence, healths: Dict[str, PoolHealth], config: Config) -> Verdict:
    """The verdict on one event.

    hits: what HOST's matching found, each with `.pool` and `.sources`; healths: by pool name, where one was asked for.
    """
    refusals: List[Tuple[str, Finding]] = []
    warnings: List[str] = []
    for hit in hits:
        gate = policy(config, hit.pool)
        health = healths.get(hit.pool)
        for finding in health.findings if health is not None and gate.mode != "off" else ():
            if finding.health == OK:
                continue
            if refuses(finding, gate) and not spared(hit, finding):
                if gate.mode == "enforce":
                    refusals.append((hit.pool, finding))
                    continue
                warnings.append("mode = warn lets it pass: " + told(hit.pool, finding, sources_of(hits, hit.pool)))
            else:
                warnings.append(told(hit.pool, finding, sources_of(hits, hit.pool)))
    known = tuple(healths[hit.pool] for hit in hits if hit.pool in healths)
    if not refusals:
        return Verdict(True, worst_code(known), "", tuple(warnings), known)
    refusals.sort(key=lambda one: HEALTHS.index(one[1].health), reverse=True)
    return Verdict(False, refusals[0][1].code, sentence(event, refusals, hits), tuple(warnings), known)


def refuses(finding: Finding, gate: Gate) -> bool:
    """Whether a pool's policy would keep a VM down for this finding, its mode aside."""
    if finding.health == FAILED:
        return True
    return finding.health == UNKNOWN and gate.array_unknown == "refuse"


def refusing(verdict: Verdict, config: Config) -> Tuple[str, ...]:
    """The pools that a refusal is for."""
    return tuple(
        health.pool for health in verdict.healths if any(refuses(one, policy(config, health.pool)) for one in health.findings)
    )


def spared(hit: object, finding: Finding) -> bool:
    """Whether a VM needs a pool for nothing but disks that libvirt drops when they are not there (startupPolicy=optional).

    A mount that does not answer would hang libvirt's own look at them."""
    return finding.code != "mount.no-answer" and all(source.optional for source in hit.sources)


def policy(config: Config, pool: str) -> Gate:
    """A pool's own [gate]; the general one for a pool whose section is broken."""
    known = config.pools.get(pool)
    return known.gate if known is not None else config.gate


def worst_code(healths: Iterable[PoolHealth]) -> str:
    """The code of the worst finding of all pools, "" where there is none."""
    found = [finding for health in healths for finding in health.findings if finding.health != OK]
    return max(found, key=lambda one: HEALTHS.index(one.health)).code if found else ""


def sentence(event: Event, refusals: Sequence[Tuple[str, Finding]], hits: Sequence) -> str:
    """One line for whoever started the VM: which VM, what is wrong where, since when, what to do."""
    verb = "let VM {} arrive" if event.op == "migrate" else "start VM {}"
    parts = [told(pool, finding, sources_of(hits, pool)) for pool, finding in refusals[:TOLD]]
    if len(refusals) > TOLD:
        parts.append(f"{len(refusals) - TOLD} more, see journalctl -u kvmontapd")
    return one_line(f"kvmontap refuses to {verb.format(event.name)}: " + "; also ".join(parts))


def told(pool: str, finding: Finding, needs: Optional[str] = None) -> str:
    """One finding in words: pool, what is wrong, since when, what to do, and its code."""
    what = f"pool {pool}" + (f" ({needs})" if needs else "")
    since = f", first seen {clock(finding.since)}" if finding.since is not None else ""
    fix = f"; what to do: {finding.fix}" if finding.fix else ""
    return one_line(f"{what}: {finding.text}{since}{fix} [{finding.code}]")


def sources_of(hits: Sequence, pool: str) -> str:
    """What a VM needs a pool for: "disk vda, nvram"; the first few."""
    names = list(dict.fromkeys(source.what for hit in hits if hit.pool == pool for source in hit.sources))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def clock(epoch: float) -> str:
    """Local time, as the host's other logs show it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))


def one_line(text: str) -> str:
    """Without line breaks and control characters, whatever an array or a file name put in; of bounded length."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 3] + "..."


def snapshot_findings(
    outcomes: Sequence, required: Dict[str, bool], missing: Dict[str, Finding]
) -> Dict[str, Tuple[Finding, ...]]:
    """What the snapshots add to each pool's findings: a failure is `failed` where the pool requires a snapshot.

    outcomes: what the Snapshotter answered (`.pool`, `.finding`, `.remark`), a sequence; missing: pools for which none could be asked for.
    """
    found: Dict[str, Tuple[Finding, ...]] = {}
    failures = [(outcome.pool, outcome.finding) for outcome in outcomes if outcome.finding is not None]
    for pool, finding in failures + list(missing.items()):
        health = FAILED if required.get(pool) else DEGRADED
        found[pool] = found.get(pool, ()) + (finding._replace(health=health),)
    for outcome in outcomes:
        if outcome.remark is not None:
            found[outcome.pool] = found.get(outcome.pool, ()) + (outcome.remark,)
    return found
