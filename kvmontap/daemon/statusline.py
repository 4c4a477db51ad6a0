"""The unit's status line, as systemctl status shows it: how many pools there are and what is wrong with the others.  Pure."""

from typing import Mapping

from kvmontap.gate.configured import Configured
from kvmontap.model import HEALTHS, OK, PoolHealth

_NAMED = 3  # pools that are named


def line(found: Configured, healths: Mapping[str, PoolHealth]) -> str:
    """"3 pools: 1 failed, 2 ok; kvmnfs01 mount.no-answer"; without healths only what was read."""
    count = len(found.config.pools) + len(found.broken)
    said = f"{count} pool{'' if count == 1 else 's'}"
    order = {health: place for place, health in enumerate(reversed(HEALTHS))}
    known = sorted(healths.values(), key=lambda one: order[one.health])
    if known:
        counts = ((health, sum(one.health == health for one in known)) for health in order)
        said += ": " + ", ".join(f"{number} {health}" for health, number in counts if number)
    wrong = [one for one in known if one.health != OK]
    named = ", ".join(f"{one.pool} {one.findings[0].code}" for one in wrong[:_NAMED])
    if named:
        said += f"; {named}" + (", ..." if len(wrong) > _NAMED else "")
    if found.problems:
        said += f"; {len(found.problems)} problem{'' if len(found.problems) == 1 else 's'} in {found.config.path} (kvmontap check)"
    return said
