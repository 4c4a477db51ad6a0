"""`kvmontap provision`: whether a block pool's device is empty, and the commands that format it.  Changes nothing."""

import argparse
import json
import sys

from kvmontap.config import load
from kvmontap.host import contents
from kvmontap.provision.formatting import REFUSED, Plan, plan, unfit
from kvmontap.units.block import device_path

_PATIENCE = 20.0  # seconds for all reading of the device


def run(arguments: argparse.Namespace) -> int:
    """1 where the device must not be formatted, or nobody can know."""
    loaded = load(arguments.config)
    name = arguments.pool
    pool = loaded.config.pools.get(name)
    if pool is None:
        known = "its section is wrong (run: kvmontap check)" if name in loaded.broken else f"there is no such pool in {arguments.config}"
        print(f"kvmontap: {name}: {known}", file=sys.stderr)
        return 1
    cluster = loaded.config.clusters.get(pool.cluster)
    why = unfit(pool, cluster, arguments.slots)
    if why:
        made = Plan(name, REFUSED, "", why)
    else:
        made = plan(pool, cluster, contents.device(device_path(pool), contents.within(_PATIENCE)), arguments.slots)
    _show(made, arguments.json)
    return int(made.state == REFUSED)


def _show(made: Plan, as_json: bool) -> None:
    if as_json:
        steps = [{"hosts": step.hosts, "argv": list(step.argv)} for step in made.steps]
        json.dump(dict(made._asdict(), steps=steps), sys.stdout, indent=2, ensure_ascii=False)
        print()
        return
    print(f"{made.pool}: {made.device + ' ' if made.device else ''}{made.reason}", file=sys.stderr if made.state == REFUSED else sys.stdout)
    hosts = ""
    for step in made.steps:
        if step.hosts != hosts:
            hosts = step.hosts
            print(f"on {hosts}:")
        print(f"  {step.text}")
