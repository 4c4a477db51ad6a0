"""`kvmontap doctor`: what is missing or could be better on this host, on the arrays and in the VMs, each with why and the command."""

import argparse
import json
import sys
from typing import Dict, List, Sequence, Tuple

from kvmontap.config import load
from kvmontap.config.onhost import under
from kvmontap.doctor import look, onhost
from kvmontap.doctor.advice import WRONG, Advice
from kvmontap.model import Config


def run(arguments: argparse.Namespace) -> int:
    """1 where something is wrong (not only better otherwise), 2 where a pool is named that the file does not have."""
    loaded = load(under(arguments.root, arguments.config))
    config = loaded.config
    wrong = [name for name in arguments.pool if name not in config.pools]
    if wrong:
        print(f"kvmontap: {arguments.config} has no sound pool {wrong[0]}; there are: {', '.join(config.pools) or 'none'}", file=sys.stderr)
        return 2
    if arguments.pool:
        config = config._replace(pools={name: pool for name, pool in config.pools.items() if name in arguments.pool})
    host = look.read(arguments.root, config)
    advice, skipped = list(onhost.advice(host, config)), []
    if arguments.root == "/":
        more, skipped = _asked(config, host, arguments.connect)
        advice += more
    else:
        skipped = ["neither the arrays nor libvirt: --root reads files only"]
    problems = [str(problem) for problem in loaded.problems if not problem.note]
    if arguments.json:
        _dump(host, advice, skipped, problems)
    else:
        _show(host, config, advice, skipped, problems)
    return int(bool(problems) or any(one.level == WRONG for one in advice))


def _asked(config: Config, host: look.Host, uri: str) -> Tuple[List[Advice], List[str]]:
    from kvmontap.doctor import asking, guests  # late: offline nobody is asked
    from kvmontap.domain import pooldefs
    from kvmontap.pools.libvirtd import Libvirt, PoolError

    asked = asking.ask(config, host.identity)
    advice, skipped = list(asked.advice), list(asked.skipped)
    if config.pools:
        try:
            with Libvirt(uri) as connection:
                machines = {name: machine.xml for name, machine in connection.machines().items()}
            advice += guests.advice(machines, config, pooldefs.read())
        except PoolError as error:
            advice.append(Advice("libvirt", "libvirt.silent", str(error), "systemctl status libvirtd virtqemud"))
    return advice, skipped


def _show(host: look.Host, config: Config, advice: Sequence[Advice], skipped: Sequence[str], problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"kvmontap: {problem}", file=sys.stderr)
    print(f"{host.name}, {len(config.pools)} pool{'' if len(config.pools) == 1 else 's'}")
    for one in sorted(advice, key=lambda one: one.level != WRONG):
        pools = f" ({', '.join(one.pools)})" if one.pools else ""
        print(f"\n{one.level}: {one.side}: {one.text}{pools}\n    why: {one.why} [{one.check}]\n    do:  {one.fix}")
    print("" if advice else "\nnothing to mend")
    for what in skipped:
        print(f"not checked: {what}")
    if advice:
        count = sum(one.level == WRONG for one in advice)
        print(f"{count} wrong, {len(advice) - count} could be better")


def _dump(host: look.Host, advice: Sequence[Advice], skipped: Sequence[str], problems: Sequence[str]) -> None:
    told: Dict[str, object] = {
        "distribution": host.name,
        "family": host.family,
        "advice": [{"side": one.side, "check": one.check, "level": one.level, "text": one.text, "why": one.why, "fix": one.fix,
                    "pools": list(one.pools)} for one in advice],
        "not_checked": list(skipped),
        "problems": list(problems),
    }
    json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
    print()
