"""The configuration as the gate uses it: a section that has become broken keeps its last good text.  Pure.

The units of such a pool stay as they were (kvmontap.applied), so its storage is judged as before, with a warning.  Only a pool that
never had a good text on this host is refused.
"""

from typing import Dict, Mapping, NamedTuple, Tuple

from kvmontap.applied import carried
from kvmontap.model import Config, Loaded, Pool, Problem


class Configured(NamedTuple):
    """What an event is judged by."""

    config: Config
    broken: Tuple[str, ...] = ()  # sections that cannot be used and have no last good text
    stale: Tuple[str, ...] = ()  # pools in config.pools whose section is broken now
    problems: Tuple[Problem, ...] = ()  # the fatal ones


def configured(loaded: Loaded, recorded: Mapping[str, Pool], remembered: Mapping[str, Pool]) -> Configured:
    """What to judge by, given the file's text as it is now.

    recorded: what kvmontap-applied.service recorded (without array and policies); remembered: whole pools as this process saw
    them last, which win.  Both are empty where nothing is known.
    """
    old: Dict[str, Pool] = {**recorded, **remembered}
    kept = carried(loaded, old)
    config = loaded.config._replace(pools={**loaded.config.pools, **kept}) if kept else loaded.config
    broken = tuple(name for name in loaded.broken if name not in kept)
    return Configured(config, broken, tuple(kept), tuple(one for one in loaded.problems if one.fatal))


def nothing(path: str) -> Configured:
    """There is no configuration: nothing is ours."""
    return Configured(Config({}, {}, {}, path=path))
