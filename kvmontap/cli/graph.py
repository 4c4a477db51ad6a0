"""`kvmontap graph`: what every VM stands on, down to the volume, and the order of the boot, as DOT or SVG."""

import argparse
import subprocess
import sys
import time
from typing import Dict, List, Mapping, Tuple

from kvmontap.config import load
from kvmontap.config.onhost import under
from kvmontap.generator import units_of
from kvmontap.graph import drawing, order, storage
from kvmontap.model import Config

_PATIENCE = 60.0  # seconds for all arrays
_RENDER = 120.0  # seconds for Graphviz


def run(arguments: argparse.Namespace) -> int:
    """1 where the file has no sound pool or there is no Graphviz for --svg, 2 where a pool is named that the file does not have."""
    loaded = load(under(arguments.root, arguments.config))
    config = loaded.config
    wrong = [name for name in arguments.pool if name not in config.pools]
    if wrong:
        print(f"kvmontap: {arguments.config} has no sound pool {wrong[0]}; there are: {', '.join(config.pools) or 'none'}", file=sys.stderr)
        return 2
    if not config.pools:
        print(f"kvmontap: {arguments.config} has no sound pool; run: kvmontap check", file=sys.stderr)
        return 1
    if arguments.pool:
        config = config._replace(pools={name: pool for name, pool in config.pools.items() if name in arguments.pool})
    missing: List[str] = []
    asks = arguments.root == "/" and not arguments.offline
    vms = _vms(config, arguments.connect, missing) if asks else {}
    behind = _behind(config, missing) if asks else {}
    bundle, _ = units_of(loaded._replace(config=config, problems=()), arguments.root)
    text = drawing.dot([storage.part(config, vms, behind), order.part(bundle)])
    for what in missing:
        print(f"kvmontap: left out: {what}", file=sys.stderr)
    if not arguments.svg:
        print(text, end="")
        return 0
    return _svg(text, arguments.svg)


def _vms(config: Config, uri: str, missing: List[str]) -> Dict[str, Tuple[str, ...]]:
    """{VM: pools that it lies on}."""
    from kvmontap.domain import DomainError, parse, pooldefs  # late: offline nobody is asked
    from kvmontap.host.match import match
    from kvmontap.pools.libvirtd import Libvirt, PoolError

    try:
        with Libvirt(uri) as connection:
            machines = connection.machines()
    except PoolError as error:
        missing.append(f"the VMs: {error}")
        return {}
    defs, found = pooldefs.read(), {}
    for name, machine in machines.items():
        try:
            found[name] = tuple(hit.pool for hit in match(parse(machine.xml.encode()), config, defs))
        except DomainError as error:
            missing.append(f"VM {name}: {error}")
    return found


def _behind(config: Config, missing: List[str]) -> Mapping[str, storage.Behind]:
    """{pool: what its array tells of what stands behind it}."""
    from kvmontap.array import Clients, look, standing

    deadline = time.monotonic() + _PATIENCE
    found: Dict[str, storage.Behind] = {}
    clients = Clients()
    try:
        for name, array in config.arrays.items():
            pools = [pool for pool in config.pools.values() if pool.ontap == name]
            if not pools:
                continue
            client = clients.get(array)
            stands = standing.ask(client, pools, deadline)
            missing += [f"array {name}: {one}" for one in stands.skipped]
            lifs = (*(stands.lifs or ()), *(stands.fc_lifs or ()))
            for pool in pools if stands.lifs or stands.fc_lifs else ():
                ref = look(client, pool, deadline).ref
                if ref is not None:
                    found[pool.name] = storage.Behind(ref.name, ref.svm, tuple(one for one in lifs if storage.of_svm(one, ref.svm)))
    finally:
        clients.close()
    return found


def _svg(text: str, path: str) -> int:
    try:
        done = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=False, timeout=_RENDER)
    except FileNotFoundError:
        print("kvmontap: --svg needs Graphviz, which is not installed (package graphviz); without --svg the graph is printed as DOT",
              file=sys.stderr)
        return 1
    except subprocess.TimeoutExpired:
        print(f"kvmontap: Graphviz was not done in {_RENDER:.0f} s; name some pools", file=sys.stderr)
        return 1
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        print(f"kvmontap: Graphviz failed: {said}", file=sys.stderr)
        return 1
    if path == "-":
        sys.stdout.buffer.write(done.stdout)
        return 0
    try:
        with open(path, "wb") as stream:
            stream.write(done.stdout)
    except OSError as error:
        print(f"kvmontap: {path} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0
