"""`kvmontap plan`: what the file would become, by the generator's own code, and what of it differs from what runs now."""

import argparse
import json
import os
import sys
from typing import Dict, List, Mapping, NamedTuple, Tuple

from kvmontap.config import load
from kvmontap.config.onhost import under
from kvmontap.generator import units_of
from kvmontap.model import Config, Loaded, Pool
from kvmontap.planning import compare, running
from kvmontap.planning.compare import Difference
from kvmontap.pools import plan as planning
from kvmontap.pools import xml
from kvmontap.units import Bundle
from kvmontap.units.bundle import attached


class Planned(NamedTuple):
    """What is to be shown."""

    config: Config
    bundle: Bundle
    units: Mapping[str, Tuple[str, ...]]  # of each pool
    complaints: Tuple[str, ...]  # why something is left out or was not compared
    notes: Tuple[str, ...] = ()


def run(arguments: argparse.Namespace) -> int:
    """1 where the file has a problem, or, with --diff, where anything differs; 2 where a pool is named that it does not have."""
    path = arguments.config
    loaded = load(under(arguments.root, path))
    problems = tuple(problem._replace(file=path) for problem in loaded.problems)
    loaded = loaded._replace(config=loaded.config._replace(path=path), problems=problems)
    wrong = [name for name in arguments.pool if name not in loaded.config.pools and name not in loaded.broken]
    if wrong:
        print(f"kvmontap: {path} has no pool {wrong[0]}; there are: {', '.join(loaded.config.pools) or 'none'}", file=sys.stderr)
        return 2
    made, differences = _planned(loaded, arguments)
    if arguments.pool:
        made, differences = _only(made, differences, arguments.pool)
    if arguments.json:
        _dump(made, differences if arguments.diff else None)
    elif arguments.diff:
        _show_differences(differences)
    else:
        _show(made, arguments.units)
    for complaint in made.complaints + made.notes:
        print(f"kvmontap: {complaint}", file=sys.stderr)
    return int(bool(made.complaints) or (arguments.diff and bool(differences)))


def _planned(loaded: Loaded, arguments: argparse.Namespace) -> Tuple[Planned, List[Difference]]:
    # Without a file the generator does nothing at all.
    there = os.path.lexists(under(arguments.root, loaded.config.path))
    bundle, lost = units_of(loaded, arguments.root) if there else (Bundle({}, {}, loaded.problems), [])
    complaints = lost + [f"{bug}; please report this" for bug in bundle.bugs]
    complaints += [f"left out: {problem}" if problem.fatal else str(problem) for problem in bundle.problems if not problem.note]
    units = {}
    for name, pool in loaded.config.pools.items():
        alone, _ = units_of(Loaded(loaded.config._replace(pools={name: pool}), ()), arguments.root)
        units[name] = tuple(sorted(alone.files))
    differences: List[Difference] = []
    notes: Tuple[str, ...] = ()
    if arguments.diff:
        there = running.read(arguments.root)
        if arguments.root == "/":
            todo, findings, missing = _libvirt(loaded.config, arguments.connect)
            complaints += missing
        else:
            todo, findings = _stored(loaded.config, arguments.root), {}
            notes = ("the host of --root is not asked: nothing is said of what answers there and what is active",)
        now = running.read(arguments.root)
        differences = compare.units(bundle, now) + compare.mounts(loaded.config, bundle, now, findings) + compare.pools(todo)
    return Planned(loaded.config, bundle, units, tuple(complaints), notes), differences


def _libvirt(config: Config, uri: str):  # type: ignore[no-untyped-def]
    """(what would be done to each pool, what a look at each mount has found, what could not be compared)."""
    from kvmontap.pools.apply import look_at_all, planned  # late: offline nothing is asked
    from kvmontap.pools.libvirtd import Libvirt, PoolError

    findings = look_at_all(config)
    try:
        with Libvirt(uri) as connection:
            return planned(config, connection, lambda pool: findings[pool.name]), findings, []
    except PoolError as error:
        return {}, findings, [f"libvirt's pools are not compared: {error}"]


def _stored(config: Config, root: str) -> Dict[str, planning.Plan]:
    from kvmontap.importing.files import stored_pools  # late: only with --root

    states = {known.name: planning.State(known.text, known.autostart, known.autostart) for known in stored_pools(root)}
    return {name: planning.plan(pool, states.get(name), ()) for name, pool in config.pools.items()}


def _only(made: Planned, differences: List[Difference], names: List[str]) -> Tuple[Planned, List[Difference]]:
    pools = {name: pool for name, pool in made.config.pools.items() if name in names}
    targets = {pool.target for pool in pools.values()} - {""}
    units = {unit for name in pools for unit in made.units[name]}
    wanted = {"unit": units, "mount": targets, "pool": set(pools)}
    kept = [one for one in differences if one.name in wanted[one.kind] or one.name.rpartition("/")[2] in units]
    files = {path: text for path, text in made.bundle.files.items() if path in units}
    return made._replace(config=made.config._replace(pools=pools), bundle=made.bundle._replace(files=files)), kept


def _show(made: Planned, texts: bool) -> None:
    for place, (name, pool) in enumerate(made.config.pools.items()):
        print(("\n" if place else "") + f"{name}: {pool.protocol}, {_attached(pool)}")
        for unit in made.units[name]:
            print(f"  {unit}")
        print(f"  libvirt: {_pool(pool)}")
    if not made.config.pools:
        print(f"{made.config.path} has no pools")
    for path, text in sorted(made.bundle.files.items()) if texts else ():
        print(f"\n== {path}\n{text}", end="")


def _attached(pool: Pool) -> str:
    if not attached(pool):
        return "attached by libvirt itself" if pool.type in planning.ITSELF else f"its device for libvirt's pool of type {pool.type}"
    how = {"boot": "mounted before libvirt starts", "automount": "mounted when it is used", "manual": "mounted by hand"}
    return f"{how[pool.boot.mount]} on {pool.target}"


def _pool(pool: Pool) -> str:
    form = xml.shape(pool)
    place = f" on {form.target}" if form.target else ""
    return f"a {form.type} pool{place}, {'started with the host' if pool.autostart else 'started by hand'}"


_SIGNS = {"new": "+", "gone": "-", "changed": "~"}


def _show_differences(differences: List[Difference]) -> None:
    for one in differences:
        print(f"{_SIGNS[one.change]} {one.kind} {one.name}: {one.text}" + (f"; {one.fix}" if one.fix and one.kind != "unit" else ""))
        for line in one.lines[2:]:
            print(f"    {line}")
    if any(one.kind == "unit" for one in differences):
        print(f"units: {compare.RELOAD}, or reboot")
    if not differences:
        print("nothing differs")


def _dump(made: Planned, differences) -> None:  # type: ignore[no-untyped-def]
    told: Dict[str, object] = {
        "pools": [{"pool": name, "protocol": pool.protocol, "target": pool.target or None, "units": list(made.units[name]),
                   "libvirt": xml.wanted(pool)} for name, pool in made.config.pools.items()],
        "units": dict(made.bundle.files),
        "links": dict(made.bundle.links),
        "complaints": list(made.complaints),
    }
    if differences is not None:
        told["differences"] = [one._asdict() for one in differences]
    json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
    print()
