"""`kvmontap provision` of an NFS pool: its export policy and volume on the array, then its mount and libvirt's pool."""

import argparse
import json
import sys
import time
from typing import List, Tuple

from kvmontap.array import ArrayError, Clients
from kvmontap.config.table import Key
from kvmontap.config.values import convert
from kvmontap.host import route
from kvmontap.model import Config, Pool
from kvmontap.provision import exporting
from kvmontap.provision.formatting import DONE, Plan, use_steps

_PATIENCE = 120.0  # seconds for everything that the array is asked


def provision(pool: Pool, config: Config, arguments: argparse.Namespace) -> int:
    """1 where something is missing for it, nobody agreed, or a step failed; nothing that is there is changed."""
    array = config.arrays.get(pool.ontap)
    if array is None or not array.svm:
        return _refused(pool, "its protocol is nfs, and " + (f"[[{pool.ontap}]] names no svm =" if array else "no ontap = names its array"))
    clients = Clients()
    client, deadline = clients.get(array), time.monotonic() + _PATIENCE
    try:
        name = exporting.name_of(pool)
        hosts = tuple(arguments.client) or route.own_addresses(pool.server)
        wish = exporting.Wish(_size(arguments.size), arguments.aggregate, hosts)
        made = exporting.plan(pool, array.svm, exporting.look(client, array.svm, name, deadline), wish)
        if not arguments.do:
            return _show(pool, made, arguments.json)
        if made and not _agreed(pool, made, arguments.yes):
            return 1
        for one in made:
            exporting.make(client, one, deadline)
            print(f"done: {one.what}", file=sys.stderr if arguments.json else sys.stdout)
    except ValueError as error:
        return _refused(pool, str(error))
    except ArrayError as error:
        return _refused(pool, f"{error.finding.text}; {error.finding.fix}")
    finally:
        clients.close()
    return _use(pool, made, arguments.json)


def _size(text: str) -> int:
    """Bytes of "500G", 0 for nothing said; ValueError for what is no size."""
    if not text:
        return 0
    try:
        number, unit = convert(Key("--size", "amount", "", ""), text)  # type: ignore[misc]
    except ValueError:
        unit = "%"
    if unit == "%":
        raise ValueError(f"--size {text} is no size such as 500G")
    return int(number)


def _refused(pool: Pool, why: str) -> int:
    print(f"{pool.name}: {why}", file=sys.stderr)
    return 1


def _agreed(pool: Pool, made: Tuple[exporting.Make, ...], yes: bool) -> bool:
    """Whether somebody has said it a second time, --do being the first."""
    if yes:
        return True
    if not sys.stdin.isatty():
        print(f"kvmontap: nobody can be asked here; say --yes if these are to be made: {'; '.join(one.what for one in made)}",
              file=sys.stderr)
        return False
    print("To be made on the array:\n  " + "\n  ".join(one.what for one in made), file=sys.stderr)
    print(f"Type the name of the pool ({pool.name}): ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == pool.name:
        return True
    print("kvmontap: nothing was made", file=sys.stderr)
    return False


def _show(pool: Pool, made: Tuple[exporting.Make, ...], as_json: bool) -> int:
    steps = use_steps(pool)
    if as_json:
        json.dump({"pool": pool.name, "state": "make" if made else "done", "make": [one._asdict() for one in made],
                   "steps": [{"hosts": step.hosts, "argv": list(step.argv)} for step in steps]}, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    print(f"{pool.name}: " + ("to be made on the array, with --do or by hand:" if made else "its volume is there, nothing is to be made"))
    for one in made:
        print(f"  {one.what}\n    {one.command}")
    print(f"on {steps[0].hosts}:")
    for step in steps:
        print(f"  {step.text}")
    return 0


def _use(pool: Pool, made: Tuple[exporting.Make, ...], as_json: bool) -> int:
    from kvmontap.host.contents import Contents  # late: the plan runs nothing
    from kvmontap.provision.doing import CannotDo, carry_out

    done: List[str] = [one.what for one in made]
    failed = ""
    plan = Plan(pool.name, DONE, "", "is there", use_steps(pool))
    try:
        for step, _ in carry_out(plan, pool, Contents, lambda _: plan):
            done.append(step.text)
            if not as_json:
                print(f"done: {step.text}")
    except CannotDo as error:
        failed = str(error)
        print(f"kvmontap: {failed}", file=sys.stderr)
    if as_json:
        json.dump({"pool": pool.name, "state": "make" if made else "done", "device": "", "done": done, "failed": failed or None},
                  sys.stdout,
                  indent=2, ensure_ascii=False)
        print()
    return int(bool(failed))
