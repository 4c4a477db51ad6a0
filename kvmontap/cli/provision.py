"""`kvmontap provision` of a block pool: whether its device is empty, the commands that format it, and with --do their execution here."""

import argparse
import json
import sys
from typing import Callable, List, Tuple

from kvmontap.config import load
from kvmontap.host import contents
from kvmontap.model import NFS, Pool
from kvmontap.provision.formatting import DONE, FORMAT, REFUSED, SHARED, Plan, plan, unfit
from kvmontap.units.block import device_path

_PATIENCE = 20.0  # seconds for all reading of the device


def run(arguments: argparse.Namespace) -> int:
    """1 where the device must not be formatted, nobody can know, nobody agreed, or a command failed."""
    loaded = load(arguments.config)
    name = arguments.pool
    pool = loaded.config.pools.get(name)
    if pool is None:
        known = "its section is wrong (run: kvmontap check)" if name in loaded.broken else f"there is no such pool in {arguments.config}"
        print(f"kvmontap: {name}: {known}", file=sys.stderr)
        return 1
    if pool.protocol == NFS:
        from kvmontap.cli import nfsprovision  # late: it asks the array

        return nfsprovision.provision(pool, loaded.config, arguments)
    cluster = loaded.config.clusters.get(pool.cluster)
    why = unfit(pool, cluster, arguments.slots)
    if why:
        _show(Plan(name, REFUSED, "", why), arguments.json)
        return 1

    def look() -> contents.Contents:
        return contents.device(device_path(pool), contents.within(_PATIENCE))

    def planned(found: contents.Contents) -> Plan:
        return plan(pool, cluster, found, arguments.slots)

    found = look()
    if found.missing and pool.ontap:
        from kvmontap.cli import mapprovision  # late: it asks the array

        if not mapprovision.provision(pool, loaded.config, arguments):
            return 1
        found = _attached(pool, look) if arguments.do else found
    made = planned(found)
    if not arguments.do or made.state == REFUSED:
        _show(made, arguments.json)
        return int(made.state == REFUSED)
    if not _agreed(made, arguments.yes):
        return 1
    return _do(made, pool, look, planned, arguments.json)


def _attached(pool: Pool, look: Callable[[], contents.Contents]) -> contents.Contents:
    """The device, after its unit has been started: that waits for it."""
    from kvmontap.provision.doing import CannotDo, attach

    try:
        attach(pool)
    except CannotDo as error:
        print(f"kvmontap: {error}", file=sys.stderr)
    return look()


def _agreed(made: Plan, yes: bool) -> bool:
    """Whether somebody has said it a second time, --do being the first; mounting what is formatted already needs no second time."""
    if made.state == DONE or yes:
        return True
    if not sys.stdin.isatty():
        print(f"kvmontap: nobody can be asked here; say --yes if {made.device} is to be formatted", file=sys.stderr)
        return False
    print(f"{made.device} {made.reason}.\nTo be run: {made.steps[0].text}\nWhat another host has on it cannot be seen from here. "
          f"Type the name of the pool ({made.pool}) to format it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == made.pool:
        return True
    print("kvmontap: nothing was formatted", file=sys.stderr)
    return False


def _do(made: Plan, pool: Pool, look: Callable, planned: Callable, as_json: bool) -> int:
    from kvmontap.provision.doing import CannotDo, carry_out  # late: looking runs nothing

    done: List[Tuple[str, str]] = []
    failed = ""
    try:
        for step, said in carry_out(made, pool, look, planned):
            done.append((step.text, said))
            if not as_json:
                print(f"done: {step.text}")
    except CannotDo as error:
        failed = str(error)
    if as_json:
        told = {"pool": made.pool, "state": made.state, "device": made.device, "done": [text for text, _ in done], "failed": failed or None}
        json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
        print()
    elif not failed and made.state == FORMAT and pool.filesystem in SHARED:
        print("on every other host, with the same file:")
        for step in made.steps[1:]:
            print(f"  {step.text}")
    if failed:
        print(f"kvmontap: {failed}", file=sys.stderr)
    return int(bool(failed))


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
