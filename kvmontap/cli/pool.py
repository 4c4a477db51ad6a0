"""`kvmontap pool list` and `pool apply`: the pools of the file beside libvirt's."""

import argparse
import json
import sys

from kvmontap.config import load, path_from_environment
from kvmontap.model import Config, Loaded
from kvmontap.pools.apply import apply, listing
from kvmontap.pools.libvirtd import URI, Libvirt, PoolError


def run(arguments: argparse.Namespace) -> int:
    """1 where somebody has to look at a pool."""
    loaded = load(arguments.config)
    if loaded.broken:
        print(f"left out, since their sections are wrong (run: kvmontap check): {', '.join(loaded.broken)}", file=sys.stderr)
    try:
        with Libvirt(arguments.connect) as connection:
            if arguments.function == "apply":
                # Against another file or another libvirt, what is attached here would look like something that nobody wants any more.
                own = arguments.config == path_from_environment() and arguments.connect == URI
                return _apply(loaded, connection, arguments.json, own)
            return _list(loaded.config, connection, arguments.json)
    except PoolError as error:
        print(f"kvmontap: {error}", file=sys.stderr)
        return 1


def _apply(loaded: Loaded, connection: Libvirt, as_json: bool, own: bool) -> int:
    from kvmontap.pools.detach import detach  # late: nothing else needs systemctl

    changes = (detach(loaded, connection) if own else ()) + apply(loaded.config, connection)
    if as_json:
        _dump([change._asdict() for change in changes])
    for change in changes if not as_json else ():
        print(change, file=sys.stderr if change.wrong else sys.stdout)
    return int(any(change.wrong for change in changes))


def _list(config: Config, connection: Libvirt, as_json: bool) -> int:
    rows = listing(config, connection)
    if as_json:
        _dump([row._asdict() for row in rows])
    else:
        from kvmontap.cli.table import show  # late: --json needs no tables

        flags = {None: "", True: "yes", False: "no"}
        show(("POOL", "TYPE", "TARGET", "STATE", "AUTOSTART", "REMARK"),
             [(row.pool, row.type, row.target, row.state, flags[row.autostart], row.remark) for row in rows])
    return int(any(row.remark for row in rows))


def _dump(value: object) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
